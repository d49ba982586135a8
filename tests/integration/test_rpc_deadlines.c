/* S2: an expired call is not executed. S3: the caller has an answer by its deadline, whatever is dead. S8: a
 * call that nobody waits for any longer leaves nothing behind. */
#include "worker.h"

typedef struct shared {
    int running;
    int executed[16];
} shared;

static lb_status work(lb_request *request, void *data)
{
    shared *s = data;
    shared_add(&s->executed[lb_get_int(request, "id") & 15], 1);
    int64_t ms = lb_get_int(request, "ms");
    shared_add(&s->running, 1);
    sleep_ms((int)ms);
    shared_add(&s->running, -1);
    return lb_return(request, LB_NULL);
}

static const lb_api jobs = {
    .name = "jobs",
    .members = (const lb_member[]){LB_RPC("work(id: int, ms: int = 0)", work), LB_END},
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    return lb_register(bus, &jobs, data, error);
}

static pid_t start_worker(const char *url, shared *s)
{
    return worker_start(&(worker){.url = url, .setup = setup, .data = s});
}

static lb_pending *begin_work(lb_bus *bus, int id, int ms, int timeout_ms)
{
    lb_error error = {0};
    lb_call_options options = {.timeout_ms = timeout_ms};
    lb_pending *call = lb_call_begin(bus, "jobs.work", LB_ARGS(LB("id", id), LB("ms", ms)), &options, &error);
    if (!call)
        fail_msg("lb_call_begin: %s", error.message);
    lb_flush(bus, NULL);
    return call;
}

/* Ends a call that cannot be answered: it fails, times out not too early, and ends not long after its timeout.
 */
static void expect_failure(lb_pending *call, int64_t begun_ms, int timeout_ms, lb_error *error)
{
    lb_value *result = NULL;
    lb_status status = lb_call_end(call, &result, error);
    int64_t took = support_now_ms() - begun_ms;
    if (status != LB_TIMEOUT && status != LB_TRANSPORT)
        fail_msg("ended with %s: %s", lb_status_name(status), error->message);
    if (status == LB_TIMEOUT && took < timeout_ms - 50)
        fail_msg("timed out after %d ms instead of %d", (int)took, timeout_ms);
    if (took > timeout_ms + SLACK_MS)
        fail_msg("ended after %d ms instead of %d", (int)took, timeout_ms);
    assert_null(result);
    assert_true(strlen(error->message) > 0);
}

static void expect_works(lb_bus *bus, int id)
{
    lb_error error = {0};
    assert_ok(lb_call_end(begin_work(bus, id, 0, 10000), NULL, &error), &error);
}

/* ---- S2 ------------------------------------------------------------------------------------------------- */

static void s2_a_call_that_expired_in_the_queue_is_not_executed(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    lb_bus *bus = client_open(server->url, 0);
    lb_error error = {0};
    assert_status(lb_call_end(begin_work(bus, 1, 0, 200), NULL, &error), LB_TIMEOUT, &error);
    pid_t pid = start_worker(server->url, s);
    expect_works(bus, 2);
    assert_int_equal(shared_get(&s->executed[2]), 1);
    assert_int_equal(shared_get(&s->executed[1]), 0);
    lb_close(bus);
    worker_stop(pid);
}

static void s2_a_call_that_expired_behind_a_slow_one_is_not_executed(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = start_worker(server->url, s);
    lb_bus *bus = client_open(server->url, 0);
    lb_error error = {0};
    lb_pending *slow = begin_work(bus, 1, 2500, 0);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    assert_status(lb_call_end(begin_work(bus, 2, 0, 200), NULL, &error), LB_TIMEOUT, &error);
    assert_ok(lb_call_end(slow, NULL, &error), &error);
    expect_works(bus, 3);
    assert_int_equal(shared_get(&s->executed[1]), 1);
    assert_int_equal(shared_get(&s->executed[2]), 0);
    lb_close(bus);
    worker_stop(pid);
}

/* Sends a call and dies before it could take it back. */
static int call_and_die(void *data)
{
    const redis_server *server = data;
    begin_work(client_open(server->url, 0), 1, 0, 1000);
    raise(SIGKILL);
    return 0;
}

static void s2_a_call_that_outlived_its_caller_is_not_executed(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    assert_int_equal(child_wait(child_start(call_and_die, server), PATIENCE_MS), 128 + SIGKILL);
    assert_int_equal(redis_int(server, "LLEN", "jobs:rpc_queue", NULL), 1);
    wait_until(redis_int(server, "DBSIZE", NULL) == 1, PATIENCE_MS); /* its expiry key is gone */
    pid_t pid = start_worker(server->url, s);
    lb_bus *bus = client_open(server->url, 0);
    expect_works(bus, 2);
    assert_int_equal(shared_get(&s->executed[1]), 0);
    lb_close(bus);
    worker_stop(pid);
}

static void s2_a_call_without_an_expiry_key_is_not_executed(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = start_worker(server->url, s);
    redis_int(
        server, "RPUSH", "jobs:rpc_queue",
        "{\"kwargs\": {\"id\": 1}, \"metadata\": {\"api_name\": \"jobs\", \"id\": \"abc\", \"procedure_name\": "
        "\"work\", \"return_path\": \"redis+key://result\"}}",
        NULL);
    lb_bus *bus = client_open(server->url, 0);
    expect_works(bus, 2);
    assert_int_equal(shared_get(&s->executed[1]), 0);
    lb_close(bus);
    worker_stop(pid);
}

/* ---- S3 ------------------------------------------------------------------------------------------------- */

static void s3_nobody_serves(void **state)
{
    redis_server *server = *state;
    lb_bus *bus = client_open(server->url, 1000);
    lb_error error = {0};
    int64_t begun = support_now_ms();
    expect_failure(begin_work(bus, 1, 0, 0), begun, 1000, &error);
    assert_int_equal(error.status, LB_TIMEOUT);
    assert_contains(error.message, "jobs");
    assert_contains(error.message, "no worker");
    lb_close(bus);
}

static void s3_the_worker_is_killed_in_the_middle(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = start_worker(server->url, s);
    lb_bus *bus = client_open(server->url, 2000);
    lb_error error = {0};
    int64_t begun = support_now_ms();
    lb_pending *call = begin_work(bus, 1, 60000, 0);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    worker_crash(pid);
    expect_failure(call, begun, 2000, &error);
    assert_int_equal(error.status, LB_TIMEOUT);
    assert_contains(error.message, "jobs");
    if (strstr(error.message, "no worker")) /* its schema is still there: one is known */
        fail_msg("a worker was known: %s", error.message);
    lb_close(bus);
}

static void s3_redis_stops_in_the_middle(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = start_worker(server->url, s);
    lb_bus *bus = client_open(server->url, 1000);
    lb_error error = {0};
    expect_works(bus, 1);
    int64_t begun = support_now_ms();
    lb_pending *call = begin_work(bus, 2, 1500, 0); /* no answer in time, however late the next line is */
    redis_server_pause(server);
    expect_failure(call, begun, 1000, &error);
    begun = support_now_ms(); /* and one that is begun when it has stopped */
    expect_failure(begin_work(bus, 3, 0, 0), begun, 1000, &error);
    lb_bus *other = client_open(server->url, 500); /* and a connection that is made then */
    begun = support_now_ms();
    lb_status status = lb_call(other, "jobs.work", LB_ARGS(LB("id", 4)), NULL, &error);
    assert_true(status == LB_TIMEOUT || status == LB_TRANSPORT);
    assert_in_range(support_now_ms() - begun, 0, 500 + SLACK_MS);
    redis_server_resume(server);
    expect_works(bus, 5);
    expect_works(other, 6);
    lb_close(other);
    lb_close(bus);
    worker_stop(pid);
}

static void s3_redis_goes_away(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = start_worker(server->url, s);
    lb_bus *bus = client_open(server->url, 800);
    lb_error error = {0};
    expect_works(bus, 1);
    int64_t begun = support_now_ms();
    lb_pending *call = begin_work(bus, 2, 1300, 0);
    redis_server_down(server);
    expect_failure(call, begun, 800, &error);
    begun = support_now_ms();
    lb_status status = lb_call(bus, "jobs.work", LB_ARGS(LB("id", 3)), NULL, &error);
    assert_true(status == LB_TIMEOUT || status == LB_TRANSPORT);
    assert_in_range(support_now_ms() - begun, 0, 800 + SLACK_MS);
    redis_server_up(server);
    lb_call_options patient = {.timeout_ms = 10000}; /* the worker's reconnection may take its time */
    lb_pending *again = lb_call_begin(bus, "jobs.work", LB_ARGS(LB("id", 4)), &patient, &error);
    assert_ok(lb_call_end(again, NULL, &error), &error);
    lb_close(bus);
    worker_stop(pid);
}

static void s3_a_thousand_calls_that_nobody_answers_end_together(void **state)
{
    redis_server *server = *state;
    enum { COUNT = 1000, TIMEOUT = 500 };
    lb_bus *bus = client_open(server->url, TIMEOUT);
    lb_error error = {0};
    lb_pending *calls[COUNT];
    int64_t begun = support_now_ms();
    for (int i = 0; i < COUNT; i++)
        assert_non_null(calls[i] = lb_call_begin(bus, "jobs.work", LB_ARGS(LB("id", i)), NULL, &error));
    for (int i = 0; i < COUNT; i++)
        assert_status(lb_call_end(calls[i], NULL, &error), LB_TIMEOUT, &error);
    assert_in_range(support_now_ms() - begun, TIMEOUT - 50, TIMEOUT + SLACK_MS);
    lb_close(bus);
}

/* ---- S8 ------------------------------------------------------------------------------------------------- */

static void s8_timed_out_and_canceled_calls_leave_no_key_without_ttl(void **state)
{
    redis_server *server = *state;
    lb_bus *bus = client_open(server->url, 200);
    lb_error error = {0};
    assert_status(lb_call_end(begin_work(bus, 1, 0, 0), NULL, &error), LB_TIMEOUT, &error);
    lb_call_cancel(begin_work(bus, 2, 0, 0));
    lb_call_cancel(NULL);
    assert_ok(lb_flush(bus, &error), &error);
    lb_close(bus);
    wait_until(redis_int(server, "LLEN", "jobs:rpc_queue", NULL) == 0, PATIENCE_MS);
    lb_value *keys = redis_command(server, "KEYS", "*", NULL);
    for (lb_value_iterator it = lb_value_iterate(keys); lb_value_next(&it);) {
        int64_t ttl = redis_int(server, "TTL", lb_value_str(it.value), NULL);
        if (ttl == -1)
            fail_msg("the key %s was left without a TTL", lb_value_str(it.value));
    }
    lb_value_free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(s2_a_call_that_expired_in_the_queue_is_not_executed),
        server_test(s2_a_call_that_expired_behind_a_slow_one_is_not_executed),
        server_test(s2_a_call_that_outlived_its_caller_is_not_executed),
        server_test(s2_a_call_without_an_expiry_key_is_not_executed),
        server_test(s3_nobody_serves),
        server_test(s3_the_worker_is_killed_in_the_middle),
        server_test(s3_redis_stops_in_the_middle),
        server_test(s3_redis_goes_away),
        server_test(s3_a_thousand_calls_that_nobody_answers_end_together),
        server_test(s8_timed_out_and_canceled_calls_leave_no_key_without_ttl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
