/* The client's surface: calls begun and ended in any order, callbacks, cancellation, an event loop of the
 * program's own, many threads, fork, two handles. */
#include "worker.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>

static lb_status twice(lb_request *request, void *data)
{
    shared_add(data, 1);
    return lb_return(request, lb_get_int(request, "n") * 2);
}

static lb_status nap(lb_request *request, void *data)
{
    shared_add(data, 1);
    sleep_ms((int)lb_get_int(request, "ms"));
    return lb_return(request, LB_NULL);
}

static const lb_api math = {
    .name = "math",
    .members = (const lb_member[]){LB_RPC("twice(n: int) -> int", twice), LB_RPC("nap(ms: int)", nap), LB_END},
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    return lb_register(bus, &math, data, error);
}

typedef served fixture;

static int start(void **state) { return served_start(state, setup, sizeof(int), 10000); }

/* True when math.twice answers n × 2; callable from any thread and process. */
static bool doubles(lb_bus *bus, int64_t n)
{
    lb_error error = {0};
    lb_value *result = NULL;
    lb_status status = lb_call(bus, "math.twice", LB_ARGS(LB("n", n)), &result, &error);
    bool right = status == LB_OK && lb_value_int(result) == n * 2;
    if (!right)
        fprintf(stderr, "twice(%lld): %s: %s\n", (long long)n, lb_status_name(status), error.message);
    lb_value_free(result);
    return right;
}

static lb_pending *begin_twice(lb_bus *bus, int64_t n, const lb_call_options *options)
{
    lb_error error = {0};
    lb_pending *call = lb_call_begin(bus, "math.twice", LB_ARGS(LB("n", n)), options, &error);
    if (!call)
        fail_msg("lb_call_begin: %s", error.message);
    return call;
}

/* ---- Begin and end -------------------------------------------------------------------------------------- */

static void calls_end_in_any_order(void **state)
{
    fixture *f = *state;
    enum { COUNT = 300 };
    lb_pending *calls[COUNT];
    for (int i = 0; i < COUNT; i++)
        calls[i] = begin_twice(f->bus, i, NULL);
    for (int i = COUNT - 1; i >= 0; i--) {
        lb_error error = {0};
        lb_value *result = NULL;
        assert_ok(lb_call_end(calls[i], &result, &error), &error);
        assert_int_equal(lb_value_int(result), i * 2);
        lb_value_free(result);
    }
}

static void a_call_that_was_refused_ends_with_its_own_error(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    lb_pending *call = lb_call_begin(f->bus, "math.twice", LB_ARGS(LB("m", 1)), NULL, &error);
    assert_null(call);
    assert_int_equal(error.status, LB_INVALID_ARGUMENTS);
    assert_status(lb_call_end(call, NULL, &error), LB_INVALID_ARGUMENTS, &error);
    assert_contains(error.message, "\"m\"");
    assert_int_equal(lb_call_end(NULL, NULL, NULL), LB_USAGE);
}

static void a_canceled_call_leaves_the_others_alone(void **state)
{
    fixture *f = *state;
    lb_pending *first = begin_twice(f->bus, 1, NULL), *second = begin_twice(f->bus, 2, NULL);
    lb_call_cancel(first);
    lb_error error = {0};
    lb_value *result = NULL;
    assert_ok(lb_call_end(second, &result, &error), &error);
    assert_int_equal(lb_value_int(result), 4);
    lb_value_free(result);

    lb_pending *sleeping = lb_call_begin(f->bus, "math.nap", LB_ARGS(LB("ms", 100)), NULL, &error);
    assert_ok(lb_flush(f->bus, &error), &error);
    lb_call_cancel(sleeping);
    assert_true(doubles(f->bus, 5)); /* the late answer is dropped */
    assert_true(doubles(f->bus, 6));
}

static void two_handles_in_one_process_are_apart(void **state)
{
    fixture *f = *state;
    lb_bus *other = client_open(f->server->unix_url, 10000);
    lb_pending *here = begin_twice(f->bus, 10, NULL), *there = begin_twice(other, 20, NULL);
    lb_error error = {0};
    lb_value *a = NULL, *b = NULL;
    assert_ok(lb_call_end(there, &b, &error), &error);
    assert_ok(lb_call_end(here, &a, &error), &error);
    assert_int_equal(lb_value_int(a), 20);
    assert_int_equal(lb_value_int(b), 40);
    lb_value_free(a);
    lb_value_free(b);
    lb_close(other);
    assert_true(doubles(f->bus, 7));
}

/* ---- Callbacks ------------------------------------------------------------------------------------------ */

typedef struct outcome {
    int runs, ok, canceled, closed, timed_out;
    int64_t sum;
} outcome;

static void note(lb_status status, const lb_value *result, const lb_error *error, void *data)
{
    outcome *o = data;
    o->runs++;
    o->ok += status == LB_OK;
    o->canceled += status == LB_CANCELED;
    o->closed += status == LB_CLOSED;
    o->timed_out += status == LB_TIMEOUT;
    o->sum += lb_value_int(result);
    if (status != LB_OK && (!error || error->status != status))
        o->sum = -1000000;
}

static void callbacks_run_while_another_call_waits(void **state)
{
    fixture *f = *state;
    outcome o = {0};
    for (int i = 1; i <= 10; i++)
        begin_twice(f->bus, i, &(lb_call_options){.callback = note, .data = &o});
    while (o.runs < 10)
        assert_true(doubles(f->bus, 1));
    assert_int_equal(o.ok, 10);
    assert_int_equal(o.sum, 110);
}

static void a_callback_hears_of_cancellation_and_of_closing(void **state)
{
    fixture *f = *state;
    outcome o = {0};
    lb_error error = {0};
    lb_call_options options = {.callback = note, .data = &o};
    lb_call_cancel(lb_call_begin(f->bus, "math.nap", LB_ARGS(LB("ms", 1)), &options, &error));
    assert_int_equal(o.canceled, 1);

    lb_bus *other = client_open(f->server->url, 10000);
    lb_call_begin(other, "math.nap", LB_ARGS(LB("ms", 1)), &options, &error);
    lb_close(other);
    assert_int_equal(o.closed, 1);
    assert_int_equal(o.runs, 2);
}

typedef struct chain {
    lb_bus *bus;
    int left, failures;
} chain;

static void begin_next(lb_status status, const lb_value *result, const lb_error *error, void *data)
{
    chain *c = data;
    (void)error;
    c->failures += status != LB_OK || lb_value_int(result) != 84;
    lb_call_options options = {.callback = begin_next, .data = c};
    if (--c->left > 0 && !lb_call_begin(c->bus, "math.twice", LB_ARGS(LB("n", 42)), &options, NULL))
        c->failures++;
}

/* ---- An event loop of the program's own ----------------------------------------------------------------- */

static void dispatch_until(lb_bus *bus, const int *number, int wanted)
{
    int64_t deadline = support_now_ms() + PATIENCE_MS;
    lb_error error = {0};
    int fd = lb_fd(bus, &error);
    if (fd < 0)
        fail_msg("lb_fd: %s", error.message);
    while (*number != wanted) {
        struct pollfd waits = {fd, POLLIN, 0};
        assert_true(support_now_ms() < deadline);
        assert_true(poll(&waits, 1, PATIENCE_MS) == 1);
        assert_ok(lb_dispatch(bus, &error), &error);
    }
}

static void callbacks_run_in_dispatch(void **state)
{
    fixture *f = *state;
    lb_bus *bus = client_open(f->server->url, 10000);
    lb_error error = {0};
    assert_true(lb_fd(bus, &error) >= 0);
    outcome o = {0};
    for (int i = 1; i <= 100; i++)
        begin_twice(bus, i, &(lb_call_options){.callback = note, .data = &o});
    assert_ok(lb_dispatch(bus, &error), &error); /* sends them */
    dispatch_until(bus, &o.runs, 100);
    assert_int_equal(o.ok, 100);
    assert_int_equal(o.sum, 10100);

    chain c = {.bus = bus, .left = 20}; /* a callback begins the next call */
    begin_twice(bus, 42, &(lb_call_options){.callback = begin_next, .data = &c});
    assert_ok(lb_dispatch(bus, &error), &error);
    dispatch_until(bus, &c.left, 0);
    assert_int_equal(c.failures, 0);
    lb_close(bus);
}

static void s3_a_timeout_makes_the_descriptor_readable(void **state)
{
    fixture *f = *state;
    lb_bus *bus = client_open(f->server->url, 10000);
    outcome o = {0};
    lb_error error = {0};
    assert_true(lb_fd(bus, &error) >= 0);
    lb_call_options options = {.timeout_ms = 200, .callback = note, .data = &o};
    assert_non_null(lb_call_begin(bus, "math.nap", LB_ARGS(LB("ms", 1000)), &options, &error));
    assert_ok(lb_dispatch(bus, &error), &error);
    int64_t begin = support_now_ms();
    dispatch_until(bus, &o.runs, 1);
    assert_int_equal(o.timed_out, 1);
    assert_in_range(support_now_ms() - begin, 0, 200 + SLACK_MS);
    lb_close(bus);
}

/* ---- Threads and fork ----------------------------------------------------------------------------------- */

enum { THREADS = 8 };

typedef struct thread_work {
    lb_bus *bus;
    int first, count, wrong;
} thread_work;

static void *call_many(void *data)
{
    thread_work *w = data;
    for (int i = 0; i < w->count; i++)
        w->wrong += !doubles(w->bus, w->first + i);
    return NULL;
}

static void ten_thousand_calls_from_eight_threads(void **state)
{
    fixture *f = *state;
    pthread_t threads[THREADS];
    thread_work work[THREADS];
    int each = support_scaled(10000 / THREADS);
    for (int i = 0; i < THREADS; i++) {
        work[i] = (thread_work){f->bus, i * 100000, each, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, call_many, &work[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(work[i].wrong, 0);
}

static void *end_one(void *data)
{
    lb_value *result = NULL;
    lb_status status = lb_call_end(data, &result, NULL);
    intptr_t number = status == LB_OK ? (intptr_t)lb_value_int(result) : -1;
    lb_value_free(result);
    return (void *)number;
}

static void a_call_may_end_on_another_thread(void **state)
{
    fixture *f = *state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, end_one, begin_twice(f->bus, i, NULL)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *number = NULL;
        pthread_join(threads[i], &number);
        assert_int_equal((intptr_t)number, 2 * i);
    }
}

static int call_in_child(void *data)
{
    lb_bus *bus = data;
    int wrong = 0;
    for (int i = 0; i < 100; i++)
        wrong += !doubles(bus, 1000 + i);
    lb_close(bus);
    return wrong != 0;
}

static void a_handle_works_on_both_sides_of_a_fork(void **state)
{
    fixture *f = *state;
    assert_true(doubles(f->bus, 1));
    pid_t children[3];
    for (int i = 0; i < 3; i++)
        children[i] = child_start_with_handle(call_in_child, f->bus);
    for (int i = 0; i < 100; i++)
        assert_true(doubles(f->bus, i));
    for (int i = 0; i < 3; i++)
        assert_int_equal(child_wait(children[i], PATIENCE_MS), 0);
    assert_true(doubles(f->bus, 2));
}

static void a_fork_with_a_call_in_flight_answers_the_parent(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    lb_pending *call = lb_call_begin(f->bus, "math.nap", LB_ARGS(LB("ms", 200)), NULL, &error);
    assert_ok(lb_flush(f->bus, &error), &error);
    pid_t child = child_start_with_handle(call_in_child, f->bus);
    assert_ok(lb_call_end(call, NULL, &error), &error);
    assert_int_equal(child_wait(child, PATIENCE_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_end_in_any_order),
        cmocka_unit_test(a_call_that_was_refused_ends_with_its_own_error),
        cmocka_unit_test(a_canceled_call_leaves_the_others_alone),
        cmocka_unit_test(two_handles_in_one_process_are_apart),
        cmocka_unit_test(callbacks_run_while_another_call_waits),
        cmocka_unit_test(a_callback_hears_of_cancellation_and_of_closing),
        cmocka_unit_test(callbacks_run_in_dispatch),
        cmocka_unit_test(s3_a_timeout_makes_the_descriptor_readable),
        cmocka_unit_test(a_handle_works_on_both_sides_of_a_fork),
        cmocka_unit_test(a_fork_with_a_call_in_flight_answers_the_parent),
        cmocka_unit_test(a_call_may_end_on_another_thread),
        cmocka_unit_test(ten_thousand_calls_from_eight_threads),
    };
    return cmocka_run_group_tests(tests, start, served_stop);
}
