/* Records, native ids and streams of the local bus. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transports/local/record.h"
#include "transports/local/stream.h"

static void native_ids_are_read_as_they_are_written(void **state)
{
    (void)state;
    char text[NATIVE_ID_SIZE];
    int64_t ms;
    uint64_t number;
    static const struct {
        int64_t ms;
        uint64_t number;
    } rows[] = {{0, 1}, {1700000000123, 42}, {INT64_MAX, UINT64_MAX / 20}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size = native_id_text(text, rows[i].ms, rows[i].number);
        assert_int_equal(size, strlen(text));
        assert_true(native_id_parse((lb_slice){text, size}, &ms, &number));
        assert_true(ms == rows[i].ms && number == rows[i].number);
    }
    static const char *const wrong[] = {
        "", "-", "1-", "-1", "1-2-3", "a", "1-b", "99999999999999999999999-1", " 1-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(native_id_parse(slice_of(wrong[i]), &ms, &number));
}

/* Every front of a record, and every record with one wrong byte: understood, or told as a problem. */
static void damaged_records_are_told(void **state)
{
    (void)state;
    arena a = {0};
    buffer records[3] = {{0}, {0}, {0}};
    lb_kwarg kwargs[] = {{.name = {"n", 1}, .json = {"[1,2]", 5}}};
    put_call(&records[0], &(lb_rpc_message){.id = {"id", 2},
                                            .api_name = {"api", 3},
                                            .procedure_name = {"do", 2},
                                            .return_path = {"local:1", 7},
                                            .kwargs = kwargs,
                                            .kwargs_count = 1});
    put_result(&records[1],
               &(lb_result_message){.id = {"id", 2}, .rpc_message_id = {"call", 4}, .json = {"{\"a\":1}", 7}},
               1);
    put_event(&records[2], &(lb_event_message){.id = {"id", 2},
                                               .api_name = {"api", 3},
                                               .event_name = {"ev", 2},
                                               .kwargs = kwargs,
                                               .kwargs_count = 1});
    for (int kind = 0; kind < 3; kind++)
        for (size_t cut = 0; cut <= records[kind].size; cut++)
            for (int wrong = 0; wrong < 40; wrong++) {
                char *copy = malloc(cut + 1); /* exactly as large as it says, for ASan */
                memcpy(copy, records[kind].data, cut);
                if (wrong && cut)
                    copy[(size_t)(wrong * 7919) % cut] = (char)(wrong * 37);
                lb_slice record = {copy, cut};
                const char *problem = NULL;
                if (kind == 0) {
                    lb_rpc_message call;
                    assert_true(get_call(&a, record, 1 << 20, &call));
                    problem = call.problem;
                } else if (kind == 1) {
                    lb_result_message result;
                    assert_true(get_result(&a, record, 1 << 20, &result));
                    problem = result.problem;
                } else {
                    lb_event_message event = {0};
                    assert_true(get_event(&a, record, 1 << 20, &event));
                    problem = event.problem;
                }
                if (!wrong)
                    assert_true((problem == NULL) == (cut == records[kind].size));
                free(copy);
                arena_reset(&a, 65536);
            }
    for (int kind = 0; kind < 3; kind++)
        buffer_free(&records[kind]);
    arena_free(&a);
}

static void a_record_that_is_too_large_is_told(void **state)
{
    (void)state;
    arena a = {0};
    buffer record = {0};
    lb_rpc_message call;
    put_call(&record, &(lb_rpc_message){.id = {"id", 2}, .api_name = {"api", 3}, .procedure_name = {"do", 2}});
    assert_true(get_call(&a, (lb_slice){record.data, record.size}, 10, &call));
    assert_non_null(strstr(call.problem, "max_message_size"));
    buffer_free(&record);
    arena_free(&a);
}

/* The wall clock goes back and forth: the times of a stream's entries do not, and positions are found by them.
 */
static void times_never_go_back(void **state)
{
    (void)state;
    char *folder = temporary_directory(), url[300];
    local_options o;
    store *s;
    transaction t;
    stream stream;
    native_id id;
    lb_error error = {0};
    buffer record = {0};
    static const int64_t clock[] = {1000, 2000, 500, 1999, 3000, 100, 3000};
    put_slice(&record, slice_of("an event"));
    snprintf(url, sizeof url, "local://%s/bus", folder);
    assert_ok(local_options_parse(&o, url, &error), &error);
    assert_ok(store_open(&o, 0, &s, &error), &error);
    assert_ok(write_begin(s, STORE_EVENTS, 1000, 0, &t, &error), &error);
    MDB_dbi table = s->parts[STORE_EVENTS].table;
    int64_t last = 0;
    for (size_t i = 0; i < sizeof clock / sizeof *clock; i++) {
        lb_slice records = {record.data, record.size};
        assert_int_equal(stream_append(t.txn, table, 7, slice_of("s"), records, clock[i], 0, &id), 0);
        assert_true(id.time_ms >= last && id.number == i + 1);
        last = id.time_ms;
    }
    assert_int_equal(stream_get(t.txn, table, 7, &stream), 0);
    assert_true(stream.last_ms == last);
    static const struct {
        const char *since;
        uint64_t cursor;
    } rows[] = {{"$", 7},
                {"0", 0},
                {"999-0", 0},
                {"1001", 1},
                {"2000-3", 3},
                {"2500-0", 4},
                {"3000-0", 4},
                {"9999-0", 7},
                {"1970-01-01T00:00:02Z", 1},
                {"1970-01-01T01:00:03+01:00", 4},
                {"1970-01-01", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t at = 99;
        assert_ok(stream_position(&t, 7, &stream, rows[i].since, &at, &error), &error);
        assert_int_equal(at, rows[i].cursor);
    }
    static const char *const wrong[] = {"",  "x", "1970-13-01", "1970-01-01T25:00", "1970-01-01T00:00:00ZZ",
                                        "1-"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t at;
        assert_int_equal(stream_position(&t, 7, &stream, wrong[i], &at, &error), LB_CONFIG);
    }
    write_abort(&t);
    store_close(s);
    buffer_free(&record);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native_ids_are_read_as_they_are_written),
        cmocka_unit_test(damaged_records_are_told),
        cmocka_unit_test(a_record_that_is_too_large_is_told),
        cmocka_unit_test(times_never_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
