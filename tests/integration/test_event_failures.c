/* S13: failures are retried, given up in the dead letters, or end the worker, as the listener wishes. S14: what
 * cannot be decoded goes to the dead letters and never stops a listener. */
#include "worker.h"

#include <stdio.h>

#define STREAM "shop.*:stream"

typedef struct shared {
    lb_status status; /* what the handler returns while failures > 0 */
    int crash;        /* the handler kills its process */
    int failures, calls, handled, last_n, last_deliveries;
    int64_t at_ms[16]; /* of each call */
    lb_listen_options options;
} shared;

static lb_status handle(const lb_event *event, void *data)
{
    shared *s = data;
    int call = shared_add(&s->calls, 1);
    if (call <= 16)
        s->at_ms[call - 1] = support_now_ms();
    shared_set(&s->last_n, (int)lb_get_int(event, "n"));
    shared_set(&s->last_deliveries, lb_event_deliveries(event));
    if (shared_get(&s->crash))
        raise(SIGKILL);
    if (shared_get(&s->failures) > 0) {
        shared_add(&s->failures, -1);
        return s->status;
    }
    shared_add(&s->handled, 1);
    return LB_OK;
}

static const lb_api shop = {
    .name = "shop",
    .members = (const lb_member[]){LB_EVENT("ordered(n: int)"), LB_END},
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    shared *s = data;
    return lb_listen(bus, "shop.ordered", "stock", handle, s, &s->options, error);
}

/* The same in the process that is the authority over the API, and so knows its schema. */
static lb_status setup_with_schema(lb_bus *bus, void *data, lb_error *error)
{
    lb_status status = lb_register(bus, &shop, NULL, error);
    return status == LB_OK ? setup(bus, data, error) : status;
}

static void fire(const redis_server *server, int n)
{
    lb_error error = {0};
    lb_bus *bus = client_open(server->url, 0);
    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    assert_ok(lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", n)), &error), &error);
    lb_close(bus);
}

static int64_t pending(const redis_server *server)
{
    lb_value *summary = redis_command(server, "XPENDING", STREAM, "tests-stock", NULL);
    int64_t count = lb_value_int(lb_value_at(summary, 0));
    lb_value_free(summary);
    return count;
}

static int64_t dead(const redis_server *server) { return redis_int(server, "XLEN", STREAM ":dead", NULL); }

/* A field of the last dead letter, or NULL; the caller frees it. */
static char *dead_field(const redis_server *server, const char *name)
{
    lb_value *entries = redis_command(server, "XREVRANGE", STREAM ":dead", "+", "-", "COUNT", "1", NULL);
    const lb_value *fields = lb_value_at(lb_value_at(entries, 0), 1);
    char *found = NULL;
    for (size_t i = 0; i + 1 < lb_value_count(fields); i += 2)
        if (strcmp(lb_value_str(lb_value_at(fields, i)), name) == 0)
            found = strdup(lb_value_str(lb_value_at(fields, i + 1)));
    lb_value_free(entries);
    return found;
}

static void expect_dead_field(const redis_server *server, const char *name, const char *expected)
{
    char *text = dead_field(server, name);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static pid_t start_worker(const redis_server *server, shared *s)
{
    return worker_start(&(worker){.url = server->url, .setup = setup, .data = s, .may_die = s->crash});
}

/* ---- S13 ------------------------------------------------------------------------------------------------ */

static void s13_a_failure_is_retried_until_it_succeeds(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    s->status = LB_RETRY;
    s->failures = 3;
    pid_t pid = start_worker(server, s);
    fire(server, 7);
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    wait_until(pending(server) == 0, PATIENCE_MS);
    assert_int_equal(shared_get(&s->calls), 4);
    assert_int_equal(shared_get(&s->last_n), 7);
    assert_int_equal(shared_get(&s->last_deliveries), 4);
    assert_int_equal(dead(server), 0);
    /* exponential: 100, 200 and 400 ms, of which at most a half is left out */
    for (int i = 0; i < 3; i++)
        assert_true(s->at_ms[i + 1] - s->at_ms[i] >= (50 << i) - 1);
    worker_stop(pid);
}

static void s13_other_events_go_on_while_one_is_retried(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    s->status = LB_RETRY;
    s->failures = 1;
    pid_t pid = start_worker(server, s);
    fire(server, 1);
    wait_until(shared_get(&s->calls) == 1, PATIENCE_MS);
    for (int n = 2; n <= 5; n++)
        fire(server, n);
    wait_until(shared_get(&s->handled) == 5, PATIENCE_MS);
    wait_until(pending(server) == 0, PATIENCE_MS);
    assert_int_equal(shared_get(&s->calls), 6);
    worker_stop(pid);
}

static void s13_after_max_deliveries_it_is_a_dead_letter(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    s->status = LB_FAILED;
    s->failures = 3;
    s->options.max_deliveries = 3;
    pid_t pid = start_worker(server, s);
    fire(server, 7);
    wait_until(dead(server) == 1, PATIENCE_MS);
    assert_int_equal(pending(server), 0);
    assert_int_equal(shared_get(&s->calls), 3);
    expect_dead_field(server, ":n", "7");
    expect_dead_field(server, "event_name", "ordered");
    expect_dead_field(server, "dead_group", "tests-stock");
    expect_dead_field(server, "dead_consumer", "p1");
    expect_dead_field(server, "dead_deliveries", "3");
    fire(server, 8);
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    worker_stop(pid);
}

static void s13_an_event_that_kills_its_handler_ends_in_the_dead_letters(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    s->crash = 1;
    s->options.max_deliveries = 3;
    pid_t pid = start_worker(server, s);
    fire(server, 7);
    int lives = 1;
    while (dead(server) == 0) {
        wait_until(!child_runs(pid) || dead(server) == 1, PATIENCE_MS);
        if (child_runs(pid))
            break;
        assert_int_equal(child_wait(pid, PATIENCE_MS), 128 + SIGKILL);
        assert_true(lives++ < 10);
        pid = start_worker(server, s);
    }
    assert_int_equal(shared_get(&s->calls), 3);
    expect_dead_field(server, ":n", "7");
    shared_set(&s->crash, 0);
    fire(server, 8);
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    worker_stop(pid);
}

static void s13_a_rejected_event_is_a_dead_letter_at_once(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    s->status = LB_REJECT;
    s->failures = 1;
    pid_t pid = start_worker(server, s);
    fire(server, 7);
    wait_until(dead(server) == 1, PATIENCE_MS);
    assert_int_equal(pending(server), 0);
    assert_int_equal(shared_get(&s->calls), 1);
    expect_dead_field(server, ":n", "7");
    char *reason = dead_field(server, "dead_reason");
    assert_non_null(reason);
    assert_true(strlen(reason) > 0);
    free(reason);
    fire(server, 8);
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    worker_stop(pid);
}

static void s13_acknowledge_and_log_gives_it_up(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    s->status = LB_FAILED;
    s->failures = 1;
    s->options.on_error = LB_ON_ERROR_ACKNOWLEDGE_AND_LOG;
    pid_t pid = start_worker(server, s);
    fire(server, 7);
    wait_until(shared_get(&s->calls) == 1, PATIENCE_MS);
    fire(server, 8);
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    wait_until(pending(server) == 0, PATIENCE_MS);
    assert_int_equal(shared_get(&s->calls), 2);
    assert_int_equal(dead(server), 0);
    worker_stop(pid);
}

static void s13_shutdown_ends_the_worker_and_keeps_the_event(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    s->status = LB_FAILED;
    s->failures = 1;
    s->options.on_error = LB_ON_ERROR_SHUTDOWN;
    worker w = {.url = server->url, .setup = setup, .data = s, .run = true};
    pid_t pid = worker_start(&w);
    wait_until(redis_int(server, "EXISTS", STREAM, NULL) == 1, PATIENCE_MS);
    fire(server, 7);
    assert_int_equal(child_wait(pid, PATIENCE_MS), 1);
    assert_int_equal(pending(server), 1);
    pid = worker_start(&w);
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    assert_int_equal(shared_get(&s->last_n), 7);
    assert_int_equal(shared_get(&s->last_deliveries), 2);
    worker_stop(pid);
}

/* ---- S14 ------------------------------------------------------------------------------------------------ */

/* Adds an entry with these fields to the stream: name, value, ..., NULL. */
static void add_raw(const redis_server *server, const char *const *fields)
{
    const char *a[16] = {0};
    size_t count = 0;
    while (fields[count]) {
        assert_true(count < 16);
        a[count] = fields[count];
        count++;
    }
    lb_value *id = redis_command(server, "XADD", STREAM, "*", a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7],
                                 a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], NULL);
    assert_true(lb_value_str(id)[0] != '-');
    lb_value_free(id);
}

static void s14_undecodable_events_are_dead_letters(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = start_worker(server, s);
    static const char *const entries[][13] = {
        {"id", "i", "api_name", "shop", "event_name", "ordered", "version", "1", ":n", "not JSON"},
        {"id", "i", "api_name", "shop", "event_name", "ordered", "version", "1", ":n", ""},
        {"id", "i", "api_name", "shop", "event_name", "ordered", "version", "1", ":n", "1 2"},
        {"id", "i", "api_name", "shop", "event_name", "ordered", "version", "1", ":n", "\"\xff\""},
        {"id", "i", "api_name", "shop", "event_name", "ordered", "version", "one", ":n", "1"},
        {"id", "i", "api_name", "shop", "event_name", "ordered", ":n", "1"},
        {"api_name", "shop", "event_name", "ordered", "version", "1", ":n", "1"},
        {"id", "", "api_name", "shop", "event_name", "ordered", "version", "1", ":n", "1"},
        {"id", "i", "event_name", "ordered", "version", "1", ":n", "1"},
        {"id", "i", "api_name", "shop", "version", "1", ":n", "1"},
        {"what", "ever"},
    };
    int count = sizeof entries / sizeof *entries;
    for (int i = 0; i < count; i++) {
        add_raw(server, entries[i]);
        wait_until(dead(server) == i + 1, PATIENCE_MS);
        char *reason = dead_field(server, "dead_reason");
        assert_true(reason && strlen(reason) > 0);
        free(reason);
    }
    fire(server, 5);
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    wait_until(pending(server) == 0, PATIENCE_MS);
    assert_int_equal(shared_get(&s->calls), 1);
    assert_int_equal(shared_get(&s->last_n), 5);
    assert_int_equal(dead(server), count);
    worker_stop(pid);
}

static void s14_events_that_break_the_schema_are_dead_letters(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = worker_start(&(worker){.url = server->url, .setup = setup_with_schema, .data = s});
    static const char *const entries[][11] = {
        {"id", "i", "api_name", "shop", "event_name", "ordered", "version", "1", ":n", "\"one\""},
        {"id", "i", "api_name", "shop", "event_name", "ordered", "version", "1"},
    };
    for (int i = 0; i < 2; i++) {
        add_raw(server, entries[i]);
        wait_until(dead(server) == i + 1, PATIENCE_MS);
        char *reason = dead_field(server, "dead_reason");
        assert_non_null(reason);
        assert_contains(reason, "n");
        free(reason);
    }
    fire(server, 5);
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    assert_int_equal(shared_get(&s->calls), 1);
    worker_stop(pid);
}

static void s34_harmless_oddities_are_no_failures(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = start_worker(server, s);
    add_raw(server, (const char *const[]){"", "", NULL}); /* Python's noop */
    add_raw(server, (const char *const[]){"id", "i", "api_name", "shop", "event_name", "unwanted", "version",
                                          "1", NULL});
    add_raw(server, (const char *const[]){":n", "3", "version", "2", "new_field", "x", "event_name", "ordered",
                                          "api_name", "shop", "id", "i", NULL});
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    assert_int_equal(shared_get(&s->last_n), 3);
    wait_until(pending(server) == 0, PATIENCE_MS);
    assert_int_equal(shared_get(&s->calls), 1);
    assert_int_equal(dead(server), 0);
    worker_stop(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(s13_a_failure_is_retried_until_it_succeeds),
        server_test(s13_other_events_go_on_while_one_is_retried),
        server_test(s13_after_max_deliveries_it_is_a_dead_letter),
        server_test(s13_an_event_that_kills_its_handler_ends_in_the_dead_letters),
        server_test(s13_a_rejected_event_is_a_dead_letter_at_once),
        server_test(s13_acknowledge_and_log_gives_it_up),
        server_test(s13_shutdown_ends_the_worker_and_keeps_the_event),
        server_test(s14_undecodable_events_are_dead_letters),
        server_test(s14_events_that_break_the_schema_are_dead_letters),
        server_test(s34_harmless_oddities_are_no_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
