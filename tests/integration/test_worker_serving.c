/* Serving: lb_run and signals, lb_start and lb_stop, an event loop of the program's own, concurrency. */
#include "worker.h"

#include <poll.h>
#include <pthread.h>

typedef struct shared {
    int running, finished, together, most_together, handled;
} shared;

static lb_status work(lb_request *request, void *data)
{
    shared *s = data;
    shared_add(&s->running, 1);
    int together = shared_add(&s->together, 1);
    if (together > shared_get(&s->most_together))
        shared_set(&s->most_together, together);
    sleep_ms((int)lb_get_int(request, "ms"));
    shared_add(&s->together, -1);
    shared_add(&s->finished, 1);
    return lb_return(request, "done");
}

static lb_status end(lb_request *request, void *data)
{
    (void)data;
    lb_stop_request(lb_request_bus(request));
    return lb_return(request, LB_NULL);
}

static lb_status handle(const lb_event *event, void *data)
{
    shared *s = data;
    shared_add(&s->running, 1);
    sleep_ms((int)lb_get_int(event, "ms"));
    shared_add(&s->handled, 1);
    return LB_OK;
}

static const lb_api jobs = {
    .name = "jobs",
    .members =
        (const lb_member[]){
            LB_RPC("work(ms: int = 0) -> str", work),
            LB_RPC("end()", end),
            LB_EVENT("started(ms: int)"),
            LB_END,
        },
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    lb_status status = lb_register(bus, &jobs, data, error);
    return status == LB_OK ? lb_listen(bus, "jobs.started", "l", handle, data, NULL, error) : status;
}

static pid_t run_worker(const redis_server *server, shared *s)
{
    return worker_start(&(worker){.url = server->url, .setup = setup, .data = s, .run = true});
}

static lb_pending *begin_work(lb_bus *bus, int ms)
{
    lb_error error = {0};
    lb_pending *call = lb_call_begin(bus, "jobs.work", LB_ARGS(LB("ms", ms)), NULL, &error);
    if (!call)
        fail_msg("lb_call_begin: %s", error.message);
    assert_ok(lb_flush(bus, &error), &error);
    return call;
}

static void expect_done(lb_pending *call)
{
    lb_error error = {0};
    lb_value *result = NULL;
    assert_ok(lb_call_end(call, &result, &error), &error);
    assert_string_equal(lb_value_str(result), "done");
    lb_value_free(result);
}

/* ---- Signals -------------------------------------------------------------------------------------------- */

static void expect_that_it_ends_cleanly(const redis_server *server, int signal)
{
    shared *s = shared_memory(sizeof *s);
    pid_t pid = run_worker(server, s);
    lb_bus *bus = client_open(server->url, 5000);
    lb_pending *call = begin_work(bus, 500);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    child_kill(pid, signal);
    expect_done(call);
    assert_int_equal(child_wait(pid, PATIENCE_MS), 0);
    lb_close(bus);
}

static void sigterm_lets_the_handler_finish(void **state) { expect_that_it_ends_cleanly(*state, SIGTERM); }

static void sigint_lets_the_handler_finish(void **state) { expect_that_it_ends_cleanly(*state, SIGINT); }

static void a_second_signal_ends_it_at_once(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = run_worker(server, s);
    lb_bus *bus = client_open(server->url, 5000);
    lb_pending *call = begin_work(bus, 60000);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    child_kill(pid, SIGTERM);
    sleep_ms(300);
    assert_true(child_runs(pid));
    /* two signals at the same moment may count as one */
    wait_until((child_kill(pid, SIGTERM), sleep_ms(100), !child_runs(pid)), PATIENCE_MS);
    assert_int_equal(child_wait(pid, PATIENCE_MS), 1); /* the handler would take longer */
    lb_call_cancel(call);
    lb_close(bus);
}

static void s21_sigterm_lets_an_event_handler_finish(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    worker_stop(worker_start(&(worker){.url = server->url, .setup = setup, .data = s}));
    lb_bus *bus = client_open(server->url, 5000);
    lb_error error = {0};
    assert_ok(lb_register(bus, &jobs, NULL, &error), &error);
    assert_ok(lb_fire(bus, "jobs.started", LB_ARGS(LB("ms", 500)), &error), &error);
    pid_t pid = run_worker(server, s);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    child_kill(pid, SIGTERM);
    assert_int_equal(child_wait(pid, PATIENCE_MS), 0);
    assert_int_equal(shared_get(&s->handled), 1);
    lb_value *pending = redis_command(server, "XPENDING", "jobs.*:stream", "tests-l", NULL);
    assert_int_equal(lb_value_int(lb_value_at(pending, 0)), 0);
    lb_value_free(pending);
    lb_close(bus);
}

static void an_idle_worker_ends_at_once(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = run_worker(server, s);
    lb_bus *bus = client_open(server->url, 5000);
    expect_done(begin_work(bus, 0)); /* now it waits in a blocking read */
    int64_t begin = support_now_ms();
    worker_stop(pid);
    assert_in_range(support_now_ms() - begin, 0, 4900); /* the read would block for 5 s */
    lb_close(bus);
}

static void a_worker_ends_although_redis_is_gone(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = run_worker(server, s);
    wait_until(redis_int(server, "EXISTS", "jobs.*:stream", NULL) == 1, PATIENCE_MS);
    redis_server_down(server);
    sleep_ms(300); /* let it notice */
    child_kill(pid, SIGTERM);
    int code = child_wait(pid, 10000 + 2 * SLACK_MS); /* the default deadline is 10 s */
    assert_true(code == 0 || code == 1);
}

static void a_handler_may_ask_for_the_end(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = run_worker(server, s);
    lb_bus *bus = client_open(server->url, 5000);
    lb_error error = {0};
    assert_ok(lb_call(bus, "jobs.end", LB_NO_ARGS, NULL, &error), &error);
    assert_int_equal(child_wait(pid, PATIENCE_MS), 0);
    lb_close(bus);
}

/* ---- lb_start and lb_stop, in this process -------------------------------------------------------------- */

static lb_bus *server_open(const redis_server *server, shared *s)
{
    lb_error error = {0};
    lb_options options = {.url = server->url, .service_name = "tests", .process_name = "here"};
    lb_bus *bus = lb_open(&options, &error);
    assert_non_null(bus);
    assert_ok(setup(bus, s, &error), &error);
    return bus;
}

static void lb_stop_waits_for_the_handler_and_sends_its_result(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    lb_bus *serving = server_open(server, s), *calling = client_open(server->url, 5000);
    lb_error error = {0};
    assert_ok(lb_start(serving, &error), &error);
    lb_pending *call = begin_work(calling, 400);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    assert_ok(lb_stop(serving, -1, &error), &error);
    assert_int_equal(shared_get(&s->finished), 1);
    expect_done(call);
    lb_close(calling);
    lb_close(serving);
}

static void lb_stop_returns_by_its_deadline(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    lb_bus *serving = server_open(server, s), *calling = client_open(server->url, 5000);
    lb_error error = {0};
    assert_ok(lb_start(serving, &error), &error);
    lb_pending *call = begin_work(calling, 2000);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    int64_t begin = support_now_ms();
    assert_status(lb_stop(serving, 200, &error), LB_TIMEOUT, &error);
    assert_true(support_now_ms() - begin >= 150);
    assert_int_equal(shared_get(&s->finished), 0);
    lb_call_cancel(call);
    lb_close(calling);
    lb_close(serving); /* waits for the handler */
    assert_int_equal(shared_get(&s->finished), 1);
}

static void a_worker_starts_again_after_it_stopped(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    lb_bus *serving = server_open(server, s), *calling = client_open(server->url, 5000);
    lb_error error = {0};
    for (int i = 0; i < 3; i++) {
        assert_ok(lb_start(serving, &error), &error);
        assert_status(lb_register(serving, &jobs, NULL, &error), LB_USAGE, &error);
        expect_done(begin_work(calling, 0));
        assert_ok(lb_stop(serving, -1, &error), &error);
    }
    lb_close(calling);
    lb_close(serving);
}

static void a_worker_calls_and_fires_like_any_client(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    lb_bus *bus = server_open(server, s);
    lb_error error = {0};
    assert_ok(lb_start(bus, &error), &error);
    for (int i = 0; i < 20; i++) {
        expect_done(begin_work(bus, 0));
        assert_ok(lb_fire(bus, "jobs.started", LB_ARGS(LB("ms", 0)), &error), &error);
    }
    wait_until(shared_get(&s->handled) == 20, PATIENCE_MS);
    lb_close(bus); /* stops it */
}

static void rpc_concurrency_runs_handlers_at_the_same_time(void **state)
{
    redis_server *server = *state;
    enum { TOGETHER = 4 };
    shared *s = shared_memory(sizeof *s);
    pid_t pid =
        worker_start(&(worker){.url = server->url, .setup = setup, .data = s, .rpc_concurrency = TOGETHER});
    lb_bus *bus = client_open(server->url, 5000);
    lb_pending *calls[TOGETHER];
    for (int i = 0; i < TOGETHER; i++)
        calls[i] = begin_work(bus, 1000);
    for (int i = 0; i < TOGETHER; i++)
        expect_done(calls[i]);
    assert_int_equal(shared_get(&s->most_together), TOGETHER);
    worker_stop(pid);

    *s = (shared){0};
    pid = worker_start(&(worker){.url = server->url, .setup = setup, .data = s});
    for (int i = 0; i < TOGETHER; i++)
        calls[i] = begin_work(bus, 100);
    for (int i = 0; i < TOGETHER; i++)
        expect_done(calls[i]);
    assert_int_equal(shared_get(&s->most_together), 1); /* the default is one at a time */
    worker_stop(pid);
    lb_close(bus);
}

/* ---- An event loop of the program's own ----------------------------------------------------------------- */

typedef struct loop_data {
    pthread_t thread;
    int calls, events, elsewhere;
} loop_data;

static lb_status note_call(lb_request *request, void *data)
{
    loop_data *l = data;
    l->calls++;
    l->elsewhere += !pthread_equal(l->thread, pthread_self());
    return lb_return(request, "done");
}

static lb_status note_event(const lb_event *event, void *data)
{
    loop_data *l = data;
    (void)event;
    l->events++;
    l->elsewhere += !pthread_equal(l->thread, pthread_self());
    return LB_OK;
}

static const lb_api loop = {
    .name = "jobs",
    .members = (const lb_member[]){LB_RPC("work(ms: int = 0) -> str", note_call), LB_EVENT("started(ms: int)"),
                                   LB_END},
};

/* Calls and fires from a process of its own; exits with 0 when all was answered. */
static int call_and_fire(void *data)
{
    const redis_server *server = data;
    lb_bus *bus = client_open(server->url, 10000);
    lb_error error = {0};
    assert_ok(lb_register(bus, &loop, NULL, &error), &error);
    for (int i = 0; i < 20; i++) {
        assert_ok(lb_call(bus, "jobs.work", LB_NO_ARGS, NULL, &error), &error);
        assert_ok(lb_fire(bus, "jobs.started", LB_ARGS(LB("ms", 0)), &error), &error);
    }
    lb_close(bus);
    return 0;
}

static void handlers_run_in_dispatch(void **state)
{
    redis_server *server = *state;
    loop_data l = {.thread = pthread_self()};
    pid_t caller = child_start(call_and_fire, server); /* before there are threads; its call waits */
    lb_error error = {0};
    lb_options options = {.url = server->url, .service_name = "tests", .process_name = "here"};
    lb_bus *bus = lb_open(&options, &error);
    assert_ok(lb_register(bus, &loop, &l, &error), &error);
    assert_ok(lb_listen(bus, "jobs.started", "l", note_event, &l, &(lb_listen_options){.since = "0"}, &error),
              &error);
    int fd = lb_fd(bus, &error);
    assert_true(fd >= 0);
    assert_ok(lb_start(bus, &error), &error);
    int64_t deadline = support_now_ms() + PATIENCE_MS;
    while (l.calls < 20 || l.events < 20) {
        assert_true(support_now_ms() < deadline);
        struct pollfd waits = {fd, POLLIN, 0};
        if (poll(&waits, 1, 100) == 1)
            assert_ok(lb_dispatch(bus, &error), &error);
    }
    assert_int_equal(l.elsewhere, 0);
    assert_ok(lb_stop(bus, -1, &error), &error);
    assert_int_equal(child_wait(caller, PATIENCE_MS), 0);
    lb_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(sigterm_lets_the_handler_finish),
        server_test(sigint_lets_the_handler_finish),
        server_test(a_second_signal_ends_it_at_once),
        server_test(s21_sigterm_lets_an_event_handler_finish),
        server_test(an_idle_worker_ends_at_once),
        server_test(a_worker_ends_although_redis_is_gone),
        server_test(a_handler_may_ask_for_the_end),
        server_test(rpc_concurrency_runs_handlers_at_the_same_time),
        server_test(lb_stop_waits_for_the_handler_and_sends_its_result),
        server_test(lb_stop_returns_by_its_deadline),
        server_test(a_worker_starts_again_after_it_stopped),
        server_test(a_worker_calls_and_fires_like_any_client),
        server_test(handlers_run_in_dispatch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
