/* lb_history and lb_lag: what is stored, and how far listeners are behind, over a real Redis. */
#include "worker.h"

#include <stdio.h>
#include <unistd.h>

/* ---- Storing ---------------------------------------------------------------------------------------- */

/* An entry with an id of our choice; `json` is its only argument, n. */
static void store(const redis_server *server, const char *stream, const char *id, const char *api,
                  const char *event, const char *json)
{
    lb_value_free(redis_command(server, "XADD", stream, id, "id", id, "api_name", api, "event_name", event,
                                "version", "1", ":n", json, NULL));
}

/* `count` events a.x, with n from 1 on and the ids n-0. */
static void store_many(const redis_server *server, int count)
{
    char number[16];
    snprintf(number, sizeof number, "%d", count);
    lb_value_free(redis_command(server, "EVAL",
                                "for n = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], n .. '-0', 'id', "
                                "'id-' .. n, 'api_name', 'a', 'event_name', 'x', 'version', '1', ':n', n, "
                                "':text', '\"' .. string.rep('t', 200) .. '\"') end return 1",
                                "1", "a.*:stream", number, NULL));
}

/* ---- Reading ---------------------------------------------------------------------------------------- */

/* The native ids of all that the history gives, with spaces between. */
static void expect_ids(lb_history *h, const char *expected)
{
    char ids[512] = "";
    for (const lb_event *event; (event = next_of(h));) {
        size_t size = strlen(ids);
        assert_true(size + 64 < sizeof ids);
        snprintf(ids + size, sizeof ids - size, "%s%s", size ? " " : "", lb_event_native_id(event));
    }
    assert_string_equal(ids, expected);
}

static void expect_range(lb_bus *bus, const char *events, const char *from, const char *to, const char *ids)
{
    lb_history *h = open_history(bus, events, from, to, true);
    expect_ids(h, ids);
    lb_history_close(h);
}

/* ---- Order ------------------------------------------------------------------------------------------ */

static void many_pages_in_both_orders(void **state)
{
    enum { COUNT = 5000 };
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    store_many(*state, COUNT);
    for (int oldest_first = 0; oldest_first < 2; oldest_first++) {
        lb_history *h = open_history(bus, "a.x", NULL, NULL, oldest_first);
        for (int i = 1; i <= COUNT; i++) {
            const lb_event *event = next_of(h);
            assert_non_null(event);
            assert_int_equal(lb_get_int(event, "n"), oldest_first ? i : COUNT + 1 - i);
        }
        assert_null(next_of(h));
        assert_null(next_of(h));
        lb_history_close(h);
    }
    lb_close(bus);
}

static void an_event_is_shown_as_it_is_stored(void **state)
{
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    lb_value_free(redis_command(*state, "XADD", "a.*:stream", "7-1", "id", "one", "api_name", "a", "event_name",
                                "x", "version", "3", ":list", "[1, {\"b\": null}]", ":text", "\"t\"", NULL));
    lb_history *h = open_history(bus, "a.x", NULL, NULL, false);
    const lb_event *event = next_of(h);
    assert_non_null(event);
    assert_string_equal(lb_event_id(event), "one");
    assert_string_equal(lb_event_native_id(event), "7-1");
    assert_string_equal(lb_event_api(event), "a");
    assert_string_equal(lb_event_name(event), "x");
    assert_int_equal(lb_event_version(event), 3);
    assert_int_equal(lb_event_deliveries(event), 0);
    assert_false(lb_event_lease_lost(event));
    assert_ptr_equal(lb_event_bus(event), bus);
    assert_string_equal(lb_get_str(event, "text"), "t");
    assert_int_equal(lb_value_count(lb_get(event, "list")), 2);
    assert_null(lb_history_problem(h));
    lb_history_close(h);
    lb_close(bus);
}

static void several_apis_are_merged_in_the_order_of_time(void **state)
{
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    store(*state, "a.*:stream", "1-0", "a", "x", "1");
    store(*state, "b.*:stream", "2-0", "b", "x", "1");
    store(*state, "b.*:stream", "3-0", "b", "y", "1");
    store(*state, "c.*:stream", "3-1", "c", "x", "1");
    store(*state, "a.*:stream", "4-0", "a", "y", "1");
    lb_history *h = open_history(bus, "a.* b.*, c.*", NULL, NULL, false);
    expect_ids(h, "4-0 3-1 3-0 2-0 1-0");
    lb_history_close(h);
    expect_range(bus, "c.* b.* a.*", NULL, NULL, "1-0 2-0 3-0 3-1 4-0");
    expect_range(bus, "a.x b.y", NULL, NULL, "1-0 3-0");
    expect_range(bus, "a.y a.x a.x", NULL, NULL, "1-0 4-0");
    expect_range(bus, "a.nothing nobody.x", NULL, NULL, "");
    lb_close(bus);
}

static void streams_per_event_are_merged_too(void **state)
{
    char url[192];
    snprintf(url, sizeof url, "%s?stream_use=per_event", ((redis_server *)*state)->url);
    lb_bus *bus = client_open(url, 0);
    store(*state, "a.x:stream", "1-0", "a", "x", "1");
    store(*state, "a.y:stream", "2-0", "a", "y", "1");
    store(*state, "a.x:stream", "3-0", "a", "x", "1");
    store(*state, "a.z:stream", "4-0", "a", "z", "1");
    store(*state, "a.sub.x:stream", "5-0", "a.sub", "x", "1");
    store(*state, "a.x:stream:dead", "6-0", "a", "x", "1");
    expect_range(bus, "a.*", NULL, NULL, "1-0 2-0 3-0 4-0");
    expect_range(bus, "a.*, a.x", NULL, NULL, "1-0 2-0 3-0 4-0");
    expect_range(bus, "a.x a.z", NULL, NULL, "1-0 3-0 4-0");
    expect_range(bus, "a.sub.*", NULL, NULL, "5-0");
    lb_close(bus);
}

/* ---- Bounds ----------------------------------------------------------------------------------------- */

static void bounds_are_included(void **state)
{
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    store(*state, "a.*:stream", "1700000000000-0", "a", "x", "1"); /* 2023-11-14T22:13:20Z */
    store(*state, "a.*:stream", "1700000000000-1", "a", "x", "2");
    store(*state, "a.*:stream", "1700000001000-0", "a", "x", "3");
    store(*state, "a.*:stream", "1700000002000-5", "a", "x", "4");
    expect_range(bus, "a.x", "1700000000000-1", "1700000001000-0", "1700000000000-1 1700000001000-0");
    expect_range(bus, "a.x", NULL, "1700000000000", "1700000000000-0 1700000000000-1");
    expect_range(bus, "a.x", "1700000002000", NULL, "1700000002000-5");
    expect_range(bus, "a.x", "2023-11-14T22:13:21Z", NULL, "1700000001000-0 1700000002000-5");
    expect_range(bus, "a.x", "2023-11-14T22:13:20.5Z", "2023-11-14T23:13:21+01:00", "1700000001000-0");
    expect_range(bus, "a.x", "2024-01-01", NULL, "");
    expect_range(bus, "a.x", "1700000002000-0", "1700000000000-0", "");
    lb_history *h = open_history(bus, "a.x", "1700000000000-1", "1700000001000-0", false);
    expect_ids(h, "1700000001000-0 1700000000000-1");
    lb_history_close(h);
    lb_close(bus);
}

static void refused(lb_bus *bus, const char *events, const char *from, const char *to, unsigned flags,
                    lb_status status, const char *message)
{
    lb_error error = {0};
    const lb_history_options options = {from, to, flags};
    assert_null(lb_history_open(bus, events, &options, &error));
    if (error.status != status || !strstr(error.message, message))
        fail_msg("%s: %s, expected %s: %s", lb_status_name(error.status), error.message, lb_status_name(status),
                 message);
}

static void wrong_use_is_refused(void **state)
{
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    refused(bus, "a.x", "yesterday", NULL, 0, LB_CONFIG, "from: expected a native id");
    refused(bus, "a.x", NULL, "1-2-3", 0, LB_CONFIG, "to: expected a native id");
    refused(bus, "a.x", NULL, "$", 0, LB_CONFIG, "to: expected a native id");
    refused(bus, "a.x", "$", NULL, 0, LB_CONFIG, "oldest first");
    refused(bus, "a.x", NULL, NULL, 64, LB_CONFIG, "unknown bits 0x40");
    refused(bus, "", NULL, NULL, 0, LB_INVALID_NAME, "expected events");
    refused(bus, NULL, NULL, NULL, 0, LB_INVALID_NAME, "expected events");
    refused(bus, "a.x nothing", NULL, NULL, 0, LB_INVALID_NAME, "\"nothing\"");
    lb_history_close(NULL);
    lb_close(bus);
}

/* ---- What comes later, what is lost meanwhile ------------------------------------------------------- */

static void what_comes_later_is_found(void **state)
{
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    store(*state, "a.*:stream", "1-0", "a", "x", "1");
    lb_history *all = open_history(bus, "a.* b.*", NULL, NULL, true);
    lb_history *new = open_history(bus, "a.* b.*", "$", NULL, true);
    expect_ids(all, "1-0");
    expect_ids(new, "");
    store(*state, "a.*:stream", "2-0", "a", "x", "1");
    store(*state, "b.*:stream", "2-0", "b", "x", "1");
    expect_ids(all, "2-0 2-0");
    expect_ids(new, "2-0 2-0");
    store(*state, "b.*:stream", "3-0", "b", "x", "1");
    expect_ids(all, "3-0");
    expect_ids(new, "3-0");
    expect_ids(new, "");
    lb_history_close(all);
    lb_history_close(new);
    lb_close(bus);
}

static void broken_connections_lose_and_repeat_nothing(void **state)
{
    enum { COUNT = 3000 };
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    store_many(*state, COUNT);
    lb_history *h = open_history(bus, "a.*", NULL, NULL, true);
    for (int i = 1; i <= COUNT; i++) {
        const lb_event *event = next_of(h);
        assert_non_null(event);
        assert_int_equal(lb_get_int(event, "n"), i);
        if (i % 500 == 0)
            lb_value_free(redis_command(*state, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL));
    }
    assert_null(next_of(h));
    lb_history_close(h);
    lb_close(bus);
}

static void it_goes_on_after_an_outage(void **state)
{
    enum { COUNT = 2000 };
    const lb_event *event;
    lb_error error = {0};
    int n = 0;
    lb_bus *bus = client_open(((redis_server *)*state)->url, 2000);
    store_many(*state, COUNT);
    lb_history *h = open_history(bus, "a.*", NULL, NULL, true);
    assert_int_equal(lb_get_int(next_of(h), "n"), ++n);
    redis_server_down(*state);
    lb_status status;
    while ((status = lb_history_next(h, &event, &error)) == LB_OK && event)
        assert_int_equal(lb_get_int(event, "n"), ++n); /* what was read before */
    assert_int_equal(status, LB_TRANSPORT);
    assert_null(event);
    assert_true(n < COUNT);
    redis_server_up(*state);
    while ((event = next_of(h)))
        assert_int_equal(lb_get_int(event, "n"), ++n);
    assert_int_equal(n, COUNT);
    lb_history_close(h);
    lb_close(bus);
}

static int count_in_a_child(void *data)
{
    lb_history *h = data;
    int count = 0;
    while (next_of(h))
        count++;
    return count;
}

static void a_child_reads_on_with_a_connection_of_its_own(void **state)
{
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    for (char id[8] = "1-0"; *id <= '9'; ++*id)
        store(*state, "a.*:stream", id, "a", "x", "1");
    lb_history *h = open_history(bus, "a.*", NULL, NULL, true);
    assert_int_equal(child_wait(child_start_with_handle(count_in_a_child, h), PATIENCE_MS), 9);
    assert_int_equal(count_in_a_child(h), 9);
    lb_history_close(h);
    lb_close(bus);
}

/* ---- Strange content -------------------------------------------------------------------------------- */

/* S32: one entry that cannot be understood hides no other. */
static void strange_entries(void **state)
{
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    store(*state, "a.*:stream", "1-0", "a", "x", "1");
    lb_value_free(redis_command(*state, "XADD", "a.*:stream", "2-0", "", "", NULL)); /* Python's placeholder */
    store(*state, "a.*:stream", "3-0", "a", "x", "{not json");
    lb_value_free(redis_command(*state, "XADD", "a.*:stream", "4-0", "what", "ever", NULL));
    store(*state, "a.*:stream", "5-0", "other", "x", "1"); /* of another API: not ours to show */
    store(*state, "a.*:stream", "6-0", "a", "x", "1");
    lb_history *h = open_history(bus, "a.*", NULL, NULL, true);
    lb_error error = {0};
    assert_string_equal(lb_event_native_id(next_of(h)), "1-0");
    assert_null(lb_history_problem(h));
    assert_string_equal(lb_event_native_id(next_of(h)), "3-0");
    assert_contains(lb_history_problem(h), "n: ");
    assert_int_equal(lb_history_check(h, NULL, &error), LB_MALFORMED);
    assert_string_equal(lb_event_native_id(next_of(h)), "4-0");
    assert_string_equal(lb_history_problem(h), "no id");
    assert_string_equal(lb_event_native_id(next_of(h)), "6-0");
    assert_null(lb_history_problem(h));
    assert_null(next_of(h));
    assert_int_equal(lb_history_check(h, NULL, &error), LB_USAGE);
    lb_history_close(h);
    expect_range(bus, "a.x", NULL, NULL, "1-0 3-0 6-0"); /* the nameless one was not asked for */
    lb_close(bus);
}

static void what_is_no_stream_is_an_error(void **state)
{
    lb_error error = {0};
    const lb_event *event;
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    lb_value_free(redis_command(*state, "SET", "a.*:stream", "x", NULL));
    store(*state, "b.*:stream", "1-0", "b", "x", "1");
    lb_history *h = open_history(bus, "a.* b.*", NULL, NULL, true);
    assert_true(lb_history_next(h, &event, &error) != LB_OK);
    assert_contains(error.message, "WRONGTYPE");
    lb_value_free(redis_command(*state, "DEL", "a.*:stream", NULL));
    expect_ids(h, "1-0"); /* it goes on when that is put right */
    lb_history_close(h);
    lb_close(bus);
}

/* ---- Effects ---------------------------------------------------------------------------------------- */

static void listeners_notice_nothing(void **state)
{
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    store_many(*state, 10);
    lb_value_free(redis_command(*state, "XGROUP", "CREATE", "a.*:stream", "g", "5-0", NULL));
    lb_value *before = redis_command(*state, "XINFO", "GROUPS", "a.*:stream", NULL);
    lb_history *h = open_history(bus, "a.*", NULL, NULL, false);
    while (next_of(h))
        ;
    lb_history_close(h);
    lb_value *after = redis_command(*state, "XINFO", "GROUPS", "a.*:stream", NULL);
    assert_true(lb_value_equal(before, after));
    assert_int_equal(lb_value_count(after), 1);
    lb_value_free(before);
    lb_value_free(after);
    lb_close(bus);
}

/* The first page is small: what is there at once does not wait for what is stored. */
static void the_first_event_costs_one_small_read(void **state)
{
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    store_many(*state, 20000);
    lb_value_free(redis_command(*state, "CONFIG", "RESETSTAT", NULL));
    lb_history *h = open_history(bus, "a.*", NULL, NULL, false);
    assert_int_equal(lb_get_int(next_of(h), "n"), 20000);
    lb_value *stats = redis_command(*state, "INFO", "commandstats", NULL);
    assert_contains(lb_value_str(stats), "cmdstat_xrevrange:calls=1,");
    lb_value_free(stats);
    stats = redis_command(*state, "INFO", "stats", NULL);
    const char *bytes = strstr(lb_value_str(stats), "total_net_output_bytes:");
    assert_non_null(bytes);
    assert_true(strtol(strchr(bytes, ':') + 1, NULL, 10) < 32 * 1024);
    lb_value_free(stats);
    lb_history_close(h);
    lb_close(bus);
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %ld", &pages), 1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void memory_stays_flat(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)state;
    skip(); /* their own bookkeeping grows */
#else
    enum { COUNT = 100000, SETTLED = 20000 };
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    store_many(*state, COUNT);
    lb_history *h = open_history(bus, "a.*", NULL, NULL, false);
    long before = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_non_null(next_of(h));
        if (i == SETTLED)
            before = resident_kib();
    }
    long grown = resident_kib() - before;
    if (grown > 1024)
        fail_msg("%ld KiB more after %d events than after %d", grown, COUNT, SETTLED);
    lb_history_close(h);
    lb_close(bus);
#endif
}

/* ---- Checking --------------------------------------------------------------------------------------- */

static const lb_member members[] = {LB_EVENT("x(n: int, loud: bool = true)"), LB_END};
static const lb_api a = {.name = "a", .members = members};

static void checking_validates_and_adds_defaults(void **state)
{
    lb_error error = {0};
    bool known = false;
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    assert_ok(lb_register(bus, &a, NULL, &error), &error);
    store(*state, "a.*:stream", "1-0", "a", "x", "5");
    store(*state, "a.*:stream", "2-0", "a", "x", "\"five\"");
    store(*state, "a.*:stream", "3-0", "a", "y", "5");
    store(*state, "b.*:stream", "4-0", "b", "x", "5");
    lb_history *h = open_history(bus, "a.* b.*", NULL, NULL, true);
    const lb_event *event = next_of(h);
    assert_false(lb_has(event, "loud"));
    assert_ok(lb_history_check(h, &known, &error), &error);
    assert_true(known);
    assert_true(lb_get_bool(event, "loud"));
    assert_int_equal(lb_get_int(event, "n"), 5);
    assert_string_equal(lb_args(event)[1].name, "loud");
    next_of(h);
    assert_int_equal(lb_history_check(h, &known, &error), LB_INVALID_ARGUMENTS);
    assert_contains(error.message, "a.x: n: expected int");
    next_of(h);
    assert_int_equal(lb_history_check(h, &known, &error), LB_UNKNOWN_MEMBER);
    assert_non_null(next_of(h));
    assert_ok(lb_history_check(h, &known, &error), &error);
    assert_false(known);
    lb_history_close(h);
    lb_close(bus);
}

/* ---- Lag -------------------------------------------------------------------------------------------- */

static void expect_lag(lb_bus *bus, const char *events, const char *group, const char *json)
{
    lb_value *lag = NULL, *expected = NULL;
    lb_error error = {0};
    assert_ok(lb_lag(bus, events, group, &lag, &error), &error);
    assert_ok(lb_value_parse(json, strlen(json), &expected, &error), &error);
    if (!lb_value_equal(lag, expected))
        fail_msg("%s, expected %s", lb_value_json(lag, NULL), json);
    lb_value_free(lag);
    lb_value_free(expected);
}

static void lag_counts_undelivered_and_pending(void **state)
{
    const redis_server *server = *state;
    lb_bus *bus = client_open(server->url, 0);
    store_many(server, 10);
    lb_value_free(redis_command(server, "XGROUP", "CREATE", "a.*:stream", "s-l", "0", NULL));
    lb_value_free(redis_command(server, "XGROUP", "CREATE", "a.*:stream", "s-m", "$", NULL));
    expect_lag(bus, "a.*", "s-l",
               "[{\"group\":\"s-l\",\"api\":\"a\",\"event\":\"*\",\"undelivered\":10,\"pending\":0,"
               "\"consumers\":0,\"dead_letters\":0,\"lost\":0}]");
    lb_value_free(redis_command(server, "XREADGROUP", "GROUP", "s-l", "p1", "COUNT", "4", "STREAMS",
                                "a.*:stream", ">", NULL));
    lb_value_free(redis_command(server, "XACK", "a.*:stream", "s-l", "1-0", NULL));
    lb_value_free(redis_command(server, "XADD", "a.*:stream:dead", "*", "a", "b", "dead_group", "s-l", NULL));
    lb_value_free(redis_command(server, "XADD", "a.*:stream:dead", "*", "of", "nobody", NULL));
    expect_lag(bus, "a.x a.y", "s-l",
               "[{\"group\":\"s-l\",\"api\":\"a\",\"event\":\"*\",\"undelivered\":6,\"pending\":3,"
               "\"consumers\":1,\"dead_letters\":1,\"lost\":0}]");
    expect_lag(bus, "a.x", "s-m",
               "[{\"group\":\"s-m\",\"api\":\"a\",\"event\":\"*\",\"undelivered\":0,\"pending\":0,"
               "\"consumers\":0,\"dead_letters\":0,\"lost\":0}]");
    expect_lag(bus, "a.x", "nobody", "[]");
    expect_lag(bus, "b.x", NULL, "[]");
    /* what was trimmed cannot be delivered any more */
    lb_value_free(redis_command(server, "XTRIM", "a.*:stream", "MAXLEN", "=", "2", NULL));
    expect_lag(bus, "a.x", "s-l",
               "[{\"group\":\"s-l\",\"api\":\"a\",\"event\":\"*\",\"undelivered\":2,\"pending\":3,"
               "\"consumers\":1,\"dead_letters\":1,\"lost\":4}]");
    lb_value *all = NULL;
    lb_error error = {0};
    assert_ok(lb_lag(bus, "a.*", NULL, &all, &error), &error);
    assert_int_equal(lb_value_count(all), 2);
    lb_value_free(all);
    lb_close(bus);
}

static void lag_per_event(void **state)
{
    char url[192];
    snprintf(url, sizeof url, "%s?stream_use=per_event", ((redis_server *)*state)->url);
    lb_bus *bus = client_open(url, 0);
    store(*state, "a.x:stream", "1-0", "a", "x", "1");
    store(*state, "a.y:stream", "1-0", "a", "y", "1");
    lb_value_free(redis_command(*state, "XGROUP", "CREATE", "a.x:stream", "g", "0", NULL));
    const char *expected = "[{\"group\":\"g\",\"api\":\"a\",\"event\":\"x\",\"undelivered\":1,\"pending\":0,"
                           "\"consumers\":0,\"dead_letters\":0,\"lost\":0}]";
    expect_lag(bus, "a.*", "g", expected);
    expect_lag(bus, "a.x a.*", NULL, expected);
    expect_lag(bus, "a.y", NULL, "[]");
    lb_close(bus);
}

static void expect_streams(lb_bus *bus, const char *events, const char *json)
{
    lb_value *streams = NULL, *expected = NULL;
    lb_error error = {0};
    assert_ok(lb_streams(bus, events, &streams, &error), &error);
    assert_ok(lb_value_parse(json, strlen(json), &expected, &error), &error);
    if (!lb_value_equal(streams, expected))
        fail_msg("%s, expected %s", lb_value_json(streams, NULL), json);
    lb_value_free(streams);
    lb_value_free(expected);
}

/* What was fired is counted beyond what was trimmed, where the server tells (Redis 7 or later). */
static void streams_count_what_was_fired(void **state)
{
    const redis_server *server = *state;
    lb_bus *bus = client_open(server->url, 0);
    expect_streams(bus, "a.*", "[]");
    store_many(server, 10);
    lb_value_free(redis_command(server, "XTRIM", "a.*:stream", "MAXLEN", "=", "2", NULL));
    lb_value_free(redis_command(server, "XADD", "a.*:stream:dead", "*", "a", "b", "dead_group", "h", NULL));
    expect_streams(bus, "a.x",
                   "[{\"api\":\"a\",\"event\":\"*\",\"stored\":2,\"fired\":10,\"dead_letters\":1,"
                   "\"groups\":[]}]");
    lb_value_free(redis_command(server, "XGROUP", "CREATE", "a.*:stream", "g", "$", NULL));
    lb_value_free(redis_command(server, "XGROUP", "CREATE", "a.*:stream", "h", "0", NULL));
    expect_streams(
        bus, "a.x a.y b.*",
        "[{\"api\":\"a\",\"event\":\"*\",\"stored\":2,\"fired\":10,\"dead_letters\":1,\"groups\":["
        "{\"group\":\"g\",\"undelivered\":0,\"pending\":0,\"consumers\":0,\"dead_letters\":0,\"lost\":0},"
        "{\"group\":\"h\",\"undelivered\":2,\"pending\":0,\"consumers\":0,\"dead_letters\":1,\"lost\":0}]}]");
    lb_close(bus);
}

static void streams_per_event(void **state)
{
    char url[192];
    snprintf(url, sizeof url, "%s?stream_use=per_event", ((redis_server *)*state)->url);
    lb_bus *bus = client_open(url, 0);
    store(*state, "a.x:stream", "1-0", "a", "x", "1");
    lb_value_free(redis_command(*state, "XGROUP", "CREATE", "a.x:stream", "g", "0", NULL));
    expect_streams(
        bus, "a.x a.*",
        "[{\"api\":\"a\",\"event\":\"x\",\"stored\":1,\"fired\":1,\"dead_letters\":0,\"groups\":["
        "{\"group\":\"g\",\"undelivered\":1,\"pending\":0,\"consumers\":0,\"dead_letters\":0,\"lost\":0}]}]");
    lb_close(bus);
}

/* Asking again takes the connection that is there. */
static void looking_again_keeps_its_connection(void **state)
{
    const redis_server *server = *state;
    lb_value *streams = NULL;
    lb_error error = {0};
    lb_bus *bus = client_open(server->url, 0);
    assert_ok(lb_streams(bus, "a.*", &streams, &error), &error);
    lb_value_free(streams);
    lb_value *before = redis_command(server, "INFO", "stats", NULL);
    for (int i = 0; i < 5; i++) {
        assert_ok(lb_streams(bus, "a.* b.*", &streams, &error), &error);
        lb_value_free(streams);
    }
    lb_value *after = redis_command(server, "INFO", "stats", NULL);
    static const char field[] = "total_connections_received:";
    const char *from = strstr(lb_value_str(before), field), *to = strstr(lb_value_str(after), field);
    assert_int_equal(atoi(to + strlen(field)) - atoi(from + strlen(field)), 1); /* that of redis_command */
    lb_value_free(before);
    lb_value_free(after);
    lb_close(bus);
}

static void lag_of_wrong_names_is_refused(void **state)
{
    lb_value *lag = NULL;
    lb_error error = {0};
    lb_bus *bus = client_open(((redis_server *)*state)->url, 0);
    assert_int_equal(lb_lag(bus, "nothing", NULL, &lag, &error), LB_INVALID_NAME);
    assert_null(lag);
    lb_close(bus);
    bus = client_open("redis://127.0.0.1:1/0", 300);
    assert_int_equal(lb_lag(bus, "a.x", NULL, &lag, &error), LB_TRANSPORT);
    assert_null(lb_history_open(bus, "a.x", NULL, &error));
    assert_int_equal(error.status, LB_TRANSPORT);
    lb_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(many_pages_in_both_orders),
        server_test(an_event_is_shown_as_it_is_stored),
        server_test(several_apis_are_merged_in_the_order_of_time),
        server_test(streams_per_event_are_merged_too),
        server_test(bounds_are_included),
        server_test(wrong_use_is_refused),
        server_test(what_comes_later_is_found),
        server_test(broken_connections_lose_and_repeat_nothing),
        server_test(it_goes_on_after_an_outage),
        server_test(a_child_reads_on_with_a_connection_of_its_own),
        server_test(strange_entries),
        server_test(what_is_no_stream_is_an_error),
        server_test(listeners_notice_nothing),
        server_test(the_first_event_costs_one_small_read),
        server_test(memory_stays_flat),
        server_test(checking_validates_and_adds_defaults),
        server_test(lag_counts_undelivered_and_pending),
        server_test(lag_per_event),
        server_test(streams_count_what_was_fired),
        server_test(streams_per_event),
        server_test(looking_again_keeps_its_connection),
        server_test(lag_of_wrong_names_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
