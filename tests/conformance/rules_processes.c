/* Rules that show between processes: workers and clients through lb_*, killed and stopped and forked. */
#include "conformance.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

typedef struct shared {
    int executed[512], handled[512]; /* per number */
    int calls, events, hold, running;
    int holder; /* the worker's number that waits in its handler */
} shared;

typedef struct role {
    shared *s;
    int number;
} role;

static lb_status handle_call(lb_request *request, void *data)
{
    role *r = data;
    int n = (int)lb_get_int(request, "n");
    shared_add(&r->s->executed[n], 1);
    shared_add(&r->s->calls, 1);
    while (shared_get(&r->s->hold)) {
        shared_set(&r->s->holder, r->number);
        support_nap();
    }
    return lb_return(request, n + 1);
}

static lb_status handle_event(const lb_event *event, void *data)
{
    role *r = data;
    int n = (int)lb_get_int(event, "n");
    shared_add(&r->s->running, 1);
    while (shared_get(&r->s->hold)) {
        shared_set(&r->s->holder, r->number);
        support_nap();
    }
    if (shared_add(&r->s->handled[n], 1) == 1)
        shared_add(&r->s->events, 1);
    return LB_OK;
}

static const lb_api shop = {
    .name = "shop",
    .members =
        (const lb_member[]){LB_RPC("add(n: int) -> int", handle_call), LB_EVENT("ordered(n: int)"), LB_END},
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    lb_status status = lb_register(bus, &shop, data, error);
    return status == LB_OK ? lb_listen(bus, "shop.ordered", "stock", handle_event, data, NULL, error) : status;
}

static pid_t start_worker(const medium *m, const char *options, role *r)
{
    char url[512], process[16];
    snprintf(url, sizeof url, "%s", medium_url(m, options));
    snprintf(process, sizeof process, "p%d", r->number);
    return worker_start(&(worker){.url = url, .process = process, .setup = setup, .data = r});
}

static int call(lb_bus *bus, int n, lb_status expected)
{
    lb_error error = {0};
    lb_value *result = NULL;
    assert_status(lb_call(bus, "shop.add", LB_ARGS(LB("n", n)), &result, &error), expected, &error);
    int sum = (int)lb_value_int(result);
    lb_value_free(result);
    return sum;
}

static void fire(lb_bus *bus, int first, int last)
{
    lb_error error = {0};
    for (int n = first; n < last; n++)
        assert_ok(lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", n)), &error), &error);
}

static void s1_s3_calls_go_through_to_several_workers(void **state)
{
    const medium *m = *state;
    shared *s = shared_memory(sizeof *s);
    role roles[] = {{s, 1}, {s, 2}};
    pid_t workers[] = {start_worker(m, "", &roles[0]), start_worker(m, "", &roles[1])};
    lb_bus *bus = client_open(m->url, 0);
    for (int n = 0; n < 200; n++)
        assert_int_equal(call(bus, n, LB_OK), n + 1);
    for (int n = 0; n < 200; n++)
        assert_int_equal(s->executed[n], 1);
    lb_pending *calls[100];
    lb_error error = {0};
    for (int n = 0; n < 100; n++)
        assert_non_null(calls[n] = lb_call_begin(bus, "shop.add", LB_ARGS(LB("n", 200 + n)), NULL, &error));
    for (int n = 0; n < 100; n++) {
        lb_value *result;
        assert_ok(lb_call_end(calls[n], &result, &error), &error);
        assert_int_equal(lb_value_int(result), 201 + n);
        lb_value_free(result);
        assert_int_equal(s->executed[200 + n], 1);
    }
    lb_close(bus);
    worker_stop(workers[0]);
    worker_stop(workers[1]);
}

static void s1_s3_a_worker_that_is_killed_executes_nothing_twice(void **state)
{
    const medium *m = *state;
    shared *s = shared_memory(sizeof *s);
    role roles[] = {{s, 1}, {s, 2}};
    s->hold = 1;
    pid_t first = start_worker(m, "", &roles[0]);
    lb_bus *bus = client_open(m->url, 1500);
    lb_error error = {0};
    lb_pending *pending = lb_call_begin(bus, "shop.add", LB_ARGS(LB("n", 1)), NULL, &error);
    assert_non_null(pending);
    assert_ok(lb_flush(bus, &error), &error);
    wait_until(shared_get(&s->calls) == 1, 10000);
    worker_crash(first);
    shared_set(&s->hold, 0);
    pid_t second = start_worker(m, "", &roles[1]);
    int64_t start = support_now_ms();
    assert_status(lb_call_end(pending, NULL, &error), LB_TIMEOUT, &error);
    assert_true(support_now_ms() - start < 1500 + 2 * SLACK_MS);
    assert_int_equal(call(bus, 2, LB_OK), 3);
    assert_int_equal(s->executed[1], 1);
    lb_close(bus);
    worker_stop(second);
}

static void s10_s11_a_killed_worker_leaves_its_events_to_the_others(void **state)
{
    const medium *m = *state;
    static const char options[] = "acknowledgement_timeout=1&reclaim_interval=0.2";
    shared *s = shared_memory(sizeof *s);
    role roles[] = {{s, 1}, {s, 2}};
    s->hold = 1;
    pid_t first = start_worker(m, options, &roles[0]);
    lb_bus *bus = client_open(medium_url(m, options), 0);
    fire(bus, 0, 50);
    wait_until(shared_get(&s->running) == 1, 10000);
    worker_crash(first);
    shared_set(&s->hold, 0);
    pid_t second = start_worker(m, options, &roles[1]);
    wait_until(shared_get(&s->events) == 50, 20000);
    lb_close(bus);
    worker_stop(second);
}

static void s12_a_slow_handler_keeps_its_event(void **state)
{
    const medium *m = *state;
    static const char options[] = "acknowledgement_timeout=1.5&reclaim_interval=0.2";
    shared *s = shared_memory(sizeof *s);
    role roles[] = {{s, 1}, {s, 2}};
    s->hold = 1;
    pid_t workers[] = {start_worker(m, options, &roles[0]), start_worker(m, options, &roles[1])};
    lb_bus *bus = client_open(medium_url(m, options), 0);
    fire(bus, 0, 1);
    sleep_ms(4000); /* longer than two leases */
    assert_int_equal(shared_get(&s->running), 1);
    shared_set(&s->hold, 0);
    wait_until(shared_get(&s->events) == 1, 10000);
    lb_close(bus);
    worker_stop(workers[0]);
    worker_stop(workers[1]);
    assert_int_equal(s->handled[0], 1);
}

static void s21_a_worker_that_stops_hands_its_events_back(void **state)
{
    const medium *m = *state;
    shared *s = shared_memory(sizeof *s);
    role roles[] = {{s, 1}, {s, 2}};
    s->hold = 1;
    pid_t first = start_worker(m, "", &roles[0]); /* the acknowledgement timeout is 60 s */
    lb_bus *bus = client_open(m->url, 0);
    fire(bus, 0, 20);
    wait_until(shared_get(&s->running) == 1, 10000);
    pid_t second = start_worker(m, "", &roles[1]);
    child_kill(first, SIGTERM);
    sleep_ms(50);
    shared_set(&s->hold, 0);
    assert_int_equal(child_wait(first, PATIENCE_MS), 0);
    wait_until(shared_get(&s->events) == 20, 15000);
    lb_close(bus);
    worker_stop(second);
}

static int call_in_child(void *data)
{
    lb_bus *bus = data;
    for (int n = 0; n < 20; n++)
        if (call(bus, n, LB_OK) != n + 1)
            return 1;
    fire(bus, 0, 1);
    lb_close(bus);
    return 0;
}

static void a_handle_goes_on_in_the_child_of_a_fork(void **state)
{
    const medium *m = *state;
    shared *s = shared_memory(sizeof *s);
    role r = {s, 1};
    pid_t serving = start_worker(m, "", &r);
    lb_bus *bus = client_open(m->url, 0);
    assert_int_equal(call(bus, 1, LB_OK), 2);
    pid_t child = child_start_with_handle(call_in_child, bus);
    for (int n = 100; n < 120; n++)
        assert_int_equal(call(bus, n, LB_OK), n + 1);
    assert_int_equal(child_wait(child, PATIENCE_MS), 0);
    assert_int_equal(call(bus, 1, LB_OK), 2);
    wait_until(shared_get(&s->events) == 1, 10000);
    lb_close(bus);
    worker_stop(serving);
}

static void note_result(lb_status status, const lb_value *result, const lb_error *error, void *data)
{
    (void)error;
    int *sum = data;
    if (status == LB_OK)
        *sum += (int)lb_value_int(result);
}

static void a_program_with_an_event_loop_gets_its_results(void **state)
{
    const medium *m = *state;
    shared *s = shared_memory(sizeof *s);
    role r = {s, 1};
    pid_t serving = start_worker(m, "", &r);
    lb_bus *bus = client_open(m->url, 8000);
    lb_error error = {0};
    int sum = 0, expected = 0, fd = lb_fd(bus, &error);
    assert_true(fd >= 0);
    int64_t start = support_now_ms();
    for (int n = 0; n < 10; n++) {
        lb_call_options options = {.callback = note_result, .data = &sum};
        assert_non_null(lb_call_begin(bus, "shop.add", LB_ARGS(LB("n", n)), &options, &error));
        expected += n + 1;
        while (sum != expected && support_now_ms() - start < 20000) {
            struct pollfd ready = {fd, POLLIN, 0};
            poll(&ready, 1, 5000);
            assert_ok(lb_dispatch(bus, &error), &error);
        }
        assert_int_equal(sum, expected);
    }
    assert_true(support_now_ms() - start < 5000); /* none waited for its timeout */
    lb_close(bus);
    worker_stop(serving);
}

static void *call_from_thread(void *data)
{
    for (int n = 0; n < 50; n++)
        if (call(data, n, LB_OK) != n + 1)
            return data;
    return NULL;
}

static void threads_share_a_handle(void **state)
{
    const medium *m = *state;
    shared *s = shared_memory(sizeof *s);
    role r = {s, 1};
    pid_t serving = start_worker(m, "", &r);
    lb_bus *bus = client_open(m->url, 0);
    pthread_t threads[4];
    void *wrong;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, call_from_thread, bus);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(shared_get(&s->calls), 200);
    lb_close(bus);
    worker_stop(serving);
}

static void a_waiting_worker_uses_no_cpu(void **state)
{
    const medium *m = *state;
    shared *s = shared_memory(sizeof *s);
    role r = {s, 1};
    pid_t serving = start_worker(m, "", &r);
    expect_idle(serving, 2000, 50);
    worker_stop(serving);
}

int run_process_rules(void)
{
    const struct CMUnitTest tests[] = {
        medium_test(s1_s3_calls_go_through_to_several_workers),
        medium_test(s1_s3_a_worker_that_is_killed_executes_nothing_twice),
        medium_test(s10_s11_a_killed_worker_leaves_its_events_to_the_others),
        medium_test(s12_a_slow_handler_keeps_its_event),
        medium_test(s21_a_worker_that_stops_hands_its_events_back),
        medium_test(a_handle_goes_on_in_the_child_of_a_fork),
        medium_test(a_program_with_an_event_loop_gets_its_results),
        medium_test(threads_share_a_handle),
        medium_test(a_waiting_worker_uses_no_cpu),
    };
    return cmocka_run_group_tests_name("processes", tests, NULL, NULL);
}
