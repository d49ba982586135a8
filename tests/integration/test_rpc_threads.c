/* One handle in many threads at once: calls, batches, callbacks, cancellations, events, forks. */
#include "worker.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { THREADS = 8 };

static lb_status twice(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_int(request, "n") * 2);
}

static lb_status count_event(const lb_event *event, void *data)
{
    (void)event;
    shared_add(data, 1);
    return LB_OK;
}

static const lb_api math = {
    .name = "math",
    .members = (const lb_member[]){LB_RPC("twice(n: int) -> int", twice), LB_EVENT("doubled(n: int)"), LB_END},
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    lb_status status = lb_register(bus, &math, NULL, error);
    return status == LB_OK ? lb_listen(bus, "math.doubled", "l", count_event, data, NULL, error) : status;
}

typedef struct thread_work {
    lb_bus *bus;
    int number, rounds, wrong, fired;
} thread_work;

static void note_callback(lb_status status, const lb_value *result, const lb_error *error, void *data)
{
    int *counts = data; /* ended, canceled, wrong */
    (void)error;
    shared_add(&counts[0], 1);
    shared_add(&counts[1], status == LB_CANCELED);
    shared_add(&counts[2], status != LB_CANCELED && (status != LB_OK || lb_value_int(result) != 14));
}

static void call_one(thread_work *w, int n)
{
    lb_error error = {0};
    lb_value *result = NULL;
    lb_status status = lb_call(w->bus, "math.twice", LB_ARGS(LB("n", n)), &result, &error);
    if (status != LB_OK || lb_value_int(result) != 2 * n) {
        fprintf(stderr, "twice(%d): %s: %s\n", n, lb_status_name(status), error.message);
        w->wrong++;
    }
    lb_value_free(result);
}

static void call_batch(thread_work *w, int n)
{
    enum { BATCH = 20 };
    lb_pending *calls[BATCH];
    for (int i = 0; i < BATCH; i++)
        calls[i] = lb_call_begin(w->bus, "math.twice", LB_ARGS(LB("n", n + i)), NULL, NULL);
    for (int i = 0; i < BATCH; i++) {
        lb_value *result = NULL;
        if (i % 5 == 4)
            lb_call_cancel(calls[i]);
        else if (lb_call_end(calls[i], &result, NULL) != LB_OK || lb_value_int(result) != 2 * (n + i))
            w->wrong++;
        lb_value_free(result);
    }
}

static void call_back(thread_work *w)
{
    int counts[3] = {0};
    lb_call_options options = {.callback = note_callback, .data = counts};
    lb_pending *first = lb_call_begin(w->bus, "math.twice", LB_ARGS(LB("n", 7)), &options, NULL);
    w->wrong += first == NULL || !lb_call_begin(w->bus, "math.twice", LB_ARGS(LB("n", 7)), &options, NULL);
    while (shared_get(&counts[0]) < 2) /* somebody's lb_call_end runs them */
        call_one(w, w->number);
    w->wrong += shared_get(&counts[2]);
}

static void fire_some(thread_work *w)
{
    lb_pending *fires[10];
    for (int i = 0; i < 10; i++)
        fires[i] = lb_fire_begin(w->bus, "math.doubled", LB_ARGS(LB("n", i)), NULL);
    for (int i = 0; i < 10; i++)
        w->fired += lb_fire_end(fires[i], NULL) == LB_OK;
    w->fired += lb_fire(w->bus, "math.doubled", LB_ARGS(LB("n", 10)), NULL) == LB_OK;
}

static void *do_all(void *data)
{
    thread_work *w = data;
    for (int i = 0; i < w->rounds; i++) {
        switch ((i + w->number) % 4) {
        case 0:
            call_one(w, w->number * 1000000 + i);
            break;
        case 1:
            call_batch(w, w->number * 1000000 + i);
            break;
        case 2:
            call_back(w);
            break;
        default:
            fire_some(w);
            lb_flush(w->bus, NULL);
        }
    }
    return NULL;
}

static void run_threads(lb_bus *bus, thread_work *work, pthread_t *threads, int rounds)
{
    for (int i = 0; i < THREADS; i++) {
        work[i] = (thread_work){.bus = bus, .number = i, .rounds = rounds};
        assert_int_equal(pthread_create(&threads[i], NULL, do_all, &work[i]), 0);
    }
}

static int join_threads(thread_work *work, const pthread_t *threads)
{
    int fired = 0;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(work[i].wrong, 0);
        fired += work[i].fired;
    }
    return fired;
}

static lb_bus *math_open(const redis_server *server)
{
    lb_error error = {0};
    lb_bus *bus = client_open(server->url, 20000);
    assert_ok(lb_register(bus, &math, NULL, &error), &error);
    return bus;
}

static void everything_at_once(void **state)
{
    redis_server *server = *state;
    int *events = shared_memory(sizeof *events), rounds = support_scaled(400);
    pid_t pid = worker_start(&(worker){.url = server->url, .setup = setup, .data = events});
    lb_bus *bus = math_open(server);
    thread_work work[THREADS];
    pthread_t threads[THREADS];
    run_threads(bus, work, threads, rounds);
    int fired = join_threads(work, threads);
    assert_int_equal(fired, THREADS * (rounds / 4) * 11);
    wait_until(shared_get(events) == fired, PATIENCE_MS);
    lb_close(bus);
    worker_stop(pid);
}

/* In the worker's own process and with its own handle, while it serves. */
static void everything_at_once_in_a_worker(void **state)
{
    redis_server *server = *state;
    int *events = shared_memory(sizeof *events), rounds = support_scaled(400);
    lb_error error = {0};
    lb_bus *bus = client_open(server->url, 20000);
    assert_ok(setup(bus, events, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    thread_work work[THREADS];
    pthread_t threads[THREADS];
    run_threads(bus, work, threads, rounds);
    int fired = join_threads(work, threads);
    wait_until(shared_get(events) == fired, PATIENCE_MS);
    assert_ok(lb_stop(bus, -1, &error), &error);
    lb_close(bus);
}

/* While one thread dispatches. */
static void everything_at_once_beside_an_event_loop(void **state)
{
    redis_server *server = *state;
    int *events = shared_memory(sizeof *events), rounds = support_scaled(200);
    pid_t pid = worker_start(&(worker){.url = server->url, .setup = setup, .data = events});
    lb_bus *bus = math_open(server);
    lb_error error = {0};
    int fd = lb_fd(bus, &error), counts[3] = {0};
    thread_work work[THREADS];
    pthread_t threads[THREADS];
    run_threads(bus, work, threads, rounds);
    lb_call_options options = {.callback = note_callback, .data = counts};
    for (int i = 1; i <= rounds; i++) {
        assert_non_null(lb_call_begin(bus, "math.twice", LB_ARGS(LB("n", 7)), &options, &error));
        int64_t deadline = support_now_ms() + PATIENCE_MS;
        while (shared_get(&counts[0]) < i) {
            assert_true(support_now_ms() < deadline);
            struct pollfd waits = {fd, POLLIN, 0};
            poll(&waits, 1, 10); /* another thread may have run it */
            assert_ok(lb_dispatch(bus, &error), &error);
        }
    }
    assert_int_equal(shared_get(&counts[2]), 0);
    join_threads(work, threads);
    lb_close(bus);
    worker_stop(pid);
}

/* Ends without the exit handlers: what the parent's threads were using is lost memory here, and a leak to its
 * checker. */
static int call_in_child(void *data)
{
    thread_work w = {.bus = data};
    for (int i = 0; i < 10; i++)
        call_one(&w, i);
    lb_close(data);
    _exit(w.wrong != 0);
}

static void a_fork_amid_the_calls_of_other_threads(void **state)
{
    redis_server *server = *state;
    enum { FORKS = 20 };
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    skip(); /* the one takes the parent's threads for alive, the other leaves its allocator locked by them */
#endif
    int *events = shared_memory(sizeof *events);
    pid_t pid = worker_start(&(worker){.url = server->url, .setup = setup, .data = events});
    lb_bus *bus = math_open(server);
    thread_work work[THREADS];
    pthread_t threads[THREADS];
    run_threads(bus, work, threads, support_scaled(400));
    for (int i = 0; i < FORKS; i++)
        assert_int_equal(child_wait(child_start(call_in_child, bus), PATIENCE_MS), 0);
    join_threads(work, threads);
    lb_close(bus);
    worker_stop(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(everything_at_once),
        server_test(everything_at_once_in_a_worker),
        server_test(everything_at_once_beside_an_event_loop),
        server_test(a_fork_amid_the_calls_of_other_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
