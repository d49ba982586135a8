/* Entries of the local bus's streams: what is appended in blocks is found one by one, trimmed, and told when it
 * is damaged. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transports/local/entries.h"
#include "transports/local/stream.h"

enum { STREAM = 7, BEHIND = 8 };

/* A transaction in a folder of its own, which is never committed. */
typedef struct place {
    char *folder;
    store *s;
    transaction t;
    MDB_dbi table;
} place;

static place place_open(void)
{
    place p = {.folder = temporary_directory()};
    char url[300];
    local_options o;
    lb_error error = {0};
    snprintf(url, sizeof url, "local://%s/bus", p.folder);
    assert_ok(local_options_parse(&o, url, &error), &error);
    assert_ok(store_open(&o, 0, &p.s, &error), &error);
    assert_ok(write_begin(p.s, STORE_EVENTS, 1000, 0, &p.t, &error), &error);
    p.table = p.s->parts[STORE_EVENTS].table;
    return p;
}

static void place_close(place *p)
{
    write_abort(&p->t);
    store_close(p->s);
    free(p->folder);
}

/* Of entry n: its number, and as many more bytes as make sizes vary. */
static size_t record_of(uint64_t n, char record[20000])
{
    size_t size = sizeof n + (n % 97 == 0 ? 15000 : n % 10 == 0 ? 3000 : n % 5 * 60);
    memset(record, (int)n, size);
    memcpy(record, &n, sizeof n);
    return size;
}

static void append(place *p, uint64_t stream, uint64_t first, uint64_t count, uint64_t most)
{
    char record[20000];
    buffer records = {0};
    native_id id;
    for (uint64_t n = first; n < first + count; n++)
        put_slice(&records, (lb_slice){record, record_of(n, record)});
    assert_int_equal(stream_append(p->t.txn, p->table, stream, slice_of("s"),
                                   (lb_slice){records.data, records.size}, (int64_t)first, most, &id),
                     0);
    assert_true(id.number == first && id.time_ms == (int64_t)first);
    buffer_free(&records);
}

static void expect_entry(const entry *e, uint64_t number)
{
    char record[20000];
    size_t size = record_of(number, record);
    assert_true(e->number == number);
    assert_int_equal(e->record.size, size);
    assert_memory_equal(e->record.data, record, size);
}

static void fill(place *p)
{
    append(p, BEHIND, 1, 3, 0); /* so that new entries are not the last records */
    append(p, STREAM, 1, 1, 0);
    append(p, STREAM, 2, 300, 0);
    append(p, BEHIND, 4, 1, 0);
    append(p, STREAM, 302, 2, 0);
    append(p, STREAM, 304, 1, 0);
}

static void entries_are_found_by_number(void **state)
{
    (void)state;
    place p = place_open();
    entry found;
    fill(&p);
    for (uint64_t n = 1; n <= 304; n++) {
        assert_int_equal(entry_get(p.t.txn, p.table, STREAM, n, &found), 0);
        expect_entry(&found, n);
        assert_true(found.time_ms == (n < 2 ? 1 : n < 302 ? 2 : n < 304 ? 302 : 304));
    }
    assert_int_equal(entry_get(p.t.txn, p.table, STREAM, 305, &found), MDB_NOTFOUND);
    assert_int_equal(entry_get(p.t.txn, p.table, STREAM, 0, &found), MDB_NOTFOUND);
    assert_int_equal(entry_get(p.t.txn, p.table, STREAM - 1, 1, &found), MDB_NOTFOUND);
    assert_int_equal(entry_get(p.t.txn, p.table, BEHIND, 4, &found), 0);
    place_close(&p);
}

static void entries_follow_each_other(void **state)
{
    (void)state;
    place p = place_open();
    MDB_cursor *cursor;
    entries e;
    fill(&p);
    assert_int_equal(mdb_cursor_open(p.t.txn, p.table, &cursor), 0);
    for (uint64_t first = 1; first <= 304; first += 101) {
        assert_int_equal(entries_find(&e, cursor, STREAM, first), 0);
        for (uint64_t n = first; n <= 304; n++) {
            expect_entry(&e.at, n);
            assert_int_equal(entries_next(&e), n < 304 ? 0 : MDB_NOTFOUND);
        }
    }
    mdb_cursor_close(cursor);
    place_close(&p);
}

static void a_stream_knows_its_end(void **state)
{
    (void)state;
    place p = place_open();
    stream s;
    assert_int_equal(stream_get(p.t.txn, p.table, STREAM, &s), 0);
    assert_true(s.is_new && s.first == 1 && s.last == 0 && s.made != 0);
    assert_int_equal(stream_put(p.t.txn, p.table, STREAM, slice_of("s"), &s), 0);
    uint64_t made = s.made;
    assert_int_equal(stream_get(p.t.txn, p.table, STREAM, &s), 0);
    assert_true(!s.is_new && s.first == 1 && s.last == 0 && s.made == made);
    fill(&p);
    assert_int_equal(stream_get(p.t.txn, p.table, STREAM, &s), 0);
    assert_true(s.first == 1 && s.last == 304 && s.last_ms == 304 && s.made == made);
    assert_int_equal(stream_get(p.t.txn, p.table, BEHIND, &s), 0);
    assert_true(s.first == 1 && s.last == 4 && s.last_ms == 4);
    place_close(&p);
}

/* `most` are left, and at most a tenth more, whether they come one by one or all together; of 10 or less, none
 * more. */
static void streams_are_trimmed(void **state)
{
    (void)state;
    static const struct {
        uint64_t most, together;
    } rows[] = {{1, 1}, {1, 30}, {5, 7}, {10, 100}, {100, 1}, {100, 64}, {300, 1000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        place p = place_open();
        stream s;
        entry found;
        uint64_t most = rows[i].most, n = 1;
        append(&p, BEHIND, 1, 3, 0);
        for (; n < 4 * most || n < 200; n += rows[i].together) {
            append(&p, STREAM, n, rows[i].together, most);
            assert_int_equal(stream_get(p.t.txn, p.table, STREAM, &s), 0);
            assert_true(s.last == n + rows[i].together - 1);
            assert_true(s.last + 1 - s.first <= most + most / 10);
            assert_true(s.last < most || s.last + 1 - s.first >= most);
        }
        for (n = s.first; n <= s.last; n++) {
            assert_int_equal(entry_get(p.t.txn, p.table, STREAM, n, &found), 0);
            expect_entry(&found, n);
        }
        assert_int_equal(entry_get(p.t.txn, p.table, STREAM, s.first - 1, &found), MDB_NOTFOUND);
        place_close(&p);
    }
}

static void put_damaged(place *p, const char *data, size_t size)
{
    key k = key_2(KEY_ENTRY, STREAM, 2);
    MDB_val kv = key_val(&k), v = {size, (void *)(uintptr_t)data};
    assert_int_equal(mdb_put(p->t.txn, p->table, &kv, &v, 0), 0);
}

/* Every front of a block, and wrong counts and sizes. */
static void damaged_blocks_are_told(void **state)
{
    (void)state;
    place p = place_open();
    entry found;
    char block[12 + 2 * (4 + 3)] = {0};
    uint32_t count = 2, size = 3;
    memcpy(block + 8, &count, 4);
    memcpy(block + 12, &size, 4);
    memcpy(block + 19, &size, 4);
    put_damaged(&p, block, sizeof block);
    assert_int_equal(entry_get(p.t.txn, p.table, STREAM, 2, &found), 0);
    for (size_t cut = 0; cut < sizeof block; cut++) {
        put_damaged(&p, block, cut);
        assert_int_equal(entry_get(p.t.txn, p.table, STREAM, 2, &found), MDB_CORRUPTED);
    }
    for (uint32_t wrong = 0; wrong < 4; wrong++) {
        static const uint32_t counts[] = {0, 3, 0x80000000, UINT32_MAX};
        memcpy(block + 8, &counts[wrong], 4);
        put_damaged(&p, block, sizeof block);
        assert_int_equal(entry_get(p.t.txn, p.table, STREAM, 2, &found), MDB_CORRUPTED);
    }
    memcpy(block + 8, &count, 4);
    size = UINT32_MAX;
    memcpy(block + 12, &size, 4);
    put_damaged(&p, block, sizeof block);
    assert_int_equal(entry_get(p.t.txn, p.table, STREAM, 1, &found), MDB_CORRUPTED);
    place_close(&p);
}

static void damaged_lists_are_refused(void **state)
{
    (void)state;
    place p = place_open();
    native_id id;
    static const char list[] = "\3\0\0\0abc\11\0\0\0too short";
    for (size_t size = 1; size < sizeof list - 1; size++)
        if (size != 7)
            assert_int_equal(
                stream_append(p.t.txn, p.table, STREAM, slice_of("s"), (lb_slice){list, size}, 1, 0, &id),
                MDB_CORRUPTED);
    place_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found_by_number), cmocka_unit_test(entries_follow_each_other),
        cmocka_unit_test(a_stream_knows_its_end),      cmocka_unit_test(streams_are_trimmed),
        cmocka_unit_test(damaged_blocks_are_told),     cmocka_unit_test(damaged_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
