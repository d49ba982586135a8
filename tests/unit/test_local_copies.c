/* The local bus's records of ids that groups were given (S20): whose copy an entry is, how long that counts,
 * and that records do not pile up. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "transports/local/copies.h"
#include "transports/local/stream.h"

#define LONG (3600 * CLOCK_SECOND)
enum { AT_NS = 8 }; /* where a record's time stands: behind the entry's number */

static char *folder;
static store *bus;
static transaction t;

static void begin(void)
{
    lb_error error = {0};
    assert_ok(write_begin(bus, STORE_EVENTS, 1 << 20, clock_in_ms(1000), &t, &error), &error);
}

static void commit(void)
{
    lb_error error = {0};
    assert_ok(write_end(&t, 0, "testing", &error), &error);
}

static int open_folder(void **state)
{
    char url[300];
    local_options o;
    lb_error error = {0};
    (void)state;
    folder = temporary_directory();
    snprintf(url, sizeof url, "local://%s/bus", folder);
    assert_ok(local_options_parse(&o, url, &error), &error);
    assert_ok(store_open(&o, 0, &bus, &error), &error);
    begin();
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    write_abort(&t);
    store_close(bus);
    remove_directory(folder);
    free(folder);
    return 0;
}

#define folder_test(f) cmocka_unit_test_setup_teardown(f, open_folder, close_folder)

static candidate entry_of(uint64_t number, const char *id) { return (candidate){7, 8, number, slice_of(id)}; }

/* The entry whose copy it is, or 0; its id is noted for so long. */
static uint64_t find(candidate c, int64_t window_ns)
{
    uint64_t first = 99;
    assert_int_equal(copies_find(&t, &c, window_ns, true, &first), 0);
    return first;
}

static size_t count_records(void)
{
    MDB_cursor *cursor;
    key all = key_make(KEY_SEEN, NULL, 0);
    MDB_val k = key_val(&all), v;
    size_t count = 0;
    assert_int_equal(mdb_cursor_open(t.txn, bus->parts[STORE_EVENTS].table, &cursor), 0);
    int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && key_within(&k, &all); more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
        count++;
    mdb_cursor_close(cursor);
    return count;
}

/* Changes bytes of the record of an id, or cuts it to `size`. */
static void spoil(const char *id, size_t at, const void *bytes, size_t count, size_t size)
{
    char record[400];
    key k = key_3(KEY_SEEN, 7, 8, hash_text(slice_of(id)));
    MDB_val kv = key_val(&k), v;
    assert_int_equal(mdb_get(t.txn, bus->parts[STORE_EVENTS].table, &kv, &v), 0);
    assert_true(v.mv_size < sizeof record && at + count <= v.mv_size);
    memcpy(record, v.mv_data, v.mv_size);
    memcpy(record + at, bytes, count);
    MDB_val changed = {size ? size : v.mv_size, record};
    assert_int_equal(mdb_put(t.txn, bus->parts[STORE_EVENTS].table, &kv, &changed, 0), 0);
}

static void set_time(const char *id, int64_t at_ns) { spoil(id, AT_NS, &at_ns, sizeof at_ns, 0); }

static void the_first_one_counts(void **state)
{
    (void)state;
    assert_int_equal(find(entry_of(1, "a"), LONG), 0);
    assert_int_equal(find(entry_of(2, "a"), LONG), 1);
    assert_int_equal(find(entry_of(3, "b"), LONG), 0);
    assert_int_equal(find(entry_of(1, "a"), LONG), 0); /* itself */
    candidate other_group = entry_of(4, "a"), other_stream = entry_of(5, "a");
    other_group.group++;
    other_stream.stream++;
    assert_int_equal(find(other_group, LONG), 0);
    assert_int_equal(find(other_stream, LONG), 0);
    assert_int_equal(count_records(), 4);
}

static void after_its_time_another_is_the_first(void **state)
{
    (void)state;
    find(entry_of(1, "a"), LONG);
    set_time("a", clock_now() - LONG);
    assert_int_equal(find(entry_of(2, "a"), LONG), 0);
    assert_int_equal(find(entry_of(1, "a"), LONG), 2);
    assert_int_equal(count_records(), 1);
}

static void without_room_nothing_is_noted_and_what_is_known_counts(void **state)
{
    uint64_t first;
    (void)state;
    find(entry_of(1, "a"), LONG);
    candidate known = entry_of(2, "a"), unknown = entry_of(3, "b");
    assert_int_equal(copies_find(&t, &known, LONG, false, &first), 0);
    assert_int_equal(first, 1);
    assert_int_equal(copies_find(&t, &unknown, LONG, false, &first), 0);
    assert_int_equal(first, 0);
    assert_int_equal(count_records(), 1);
}

static void a_dead_one_is_forgotten_by_itself_alone(void **state)
{
    (void)state;
    find(entry_of(1, "a"), LONG);
    candidate copy = entry_of(2, "a"), first = entry_of(1, "a"), unknown = entry_of(3, "b");
    assert_int_equal(copies_forget(&t, &copy), 0);
    assert_int_equal(copies_forget(&t, &unknown), 0);
    assert_int_equal(count_records(), 1);
    assert_int_equal(copies_forget(&t, &first), 0);
    assert_int_equal(count_records(), 0);
}

/* S32: senders choose ids, and may choose those of one hash. */
static void another_id_of_the_same_hash_is_no_copy(void **state)
{
    (void)state;
    find(entry_of(1, "a"), LONG);
    spoil("a", 24, "b", 1, 0); /* as if the record were of "b" */
    assert_int_equal(find(entry_of(2, "a"), LONG), 0);
    assert_int_equal(find(entry_of(3, "a"), LONG), 2);
    assert_int_equal(count_records(), 1);
}

static void a_damaged_record_is_told(void **state)
{
    uint64_t first;
    (void)state;
    find(entry_of(1, "a"), LONG);
    spoil("a", 0, "", 0, 10);
    candidate c = entry_of(2, "a");
    assert_int_equal(copies_find(&t, &c, LONG, true, &first), MDB_CORRUPTED);
    assert_int_equal(copies_sweep(&t, 10), MDB_CORRUPTED);
    assert_int_equal(copies_restart(&t), MDB_CORRUPTED);
}

static void records_go_when_their_time_is_over(void **state)
{
    enum { MANY = 5000, LASTING = 500 };
    char id[32];
    (void)state;
    for (int n = 0; n < LASTING; n++) {
        snprintf(id, sizeof id, "lasting-%d", n);
        find(entry_of((uint64_t)n + 1, id), LONG);
    }
    for (int n = 0; n < MANY; n++) {
        snprintf(id, sizeof id, "short-%d", n);
        find(entry_of((uint64_t)n + LASTING + 1, id), 1);
        assert_int_equal(copies_sweep(&t, 2), 0);
        assert_true(count_records() <= 2 * LASTING + 10);
    }
    for (int n = 0; n < MANY; n++)
        assert_int_equal(copies_sweep(&t, 2), 0);
    assert_int_equal(count_records(), LASTING);
    assert_int_equal(find(entry_of(9999, "lasting-7"), LONG), 8);
}

/* The clock of the next start of the machine is another one. */
static void after_a_restart_of_the_machine_all_times_begin_anew(void **state)
{
    lb_error error = {0};
    (void)state;
    find(entry_of(1, "past"), LONG);
    find(entry_of(2, "future"), 1000);
    set_time("past", clock_now() - 2 * LONG);
    set_time("future", clock_now() + LONG);
    assert_int_equal(find(entry_of(3, "future"), LONG), 2);
    commit();
    assert_ok(streams_end_leases(bus, &error), &error);
    begin();
    assert_int_equal(find(entry_of(4, "past"), LONG), 1);
    assert_int_equal(find(entry_of(5, "future"), LONG), 0); /* its window of a microsecond is over */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(the_first_one_counts),
        folder_test(after_its_time_another_is_the_first),
        folder_test(without_room_nothing_is_noted_and_what_is_known_counts),
        folder_test(a_dead_one_is_forgotten_by_itself_alone),
        folder_test(another_id_of_the_same_hash_is_no_copy),
        folder_test(a_damaged_record_is_told),
        folder_test(records_go_when_their_time_is_over),
        folder_test(after_a_restart_of_the_machine_all_times_begin_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
