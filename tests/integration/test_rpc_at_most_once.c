/* S1: a call is executed once or not at all, while connections are cut at any byte and workers are killed.
 * Every call carries a number of its own; the handler counts executions per number in shared memory, where they
 * outlive it. */
#include "worker.h"

#include <stdio.h>

enum { BATCHES, ONE_BY_ONE, SERVING, SIDES }; /* whose connections: each side has a proxy of its own */
enum { CALLERS = 8, WORKERS = 2, BATCH = 100, TIMEOUT_MS = 200 };

typedef struct shared {
    int calls; /* how many there are */
    int ended, answered, wrong_answers, odd_statuses;
    int callers_done;
    unsigned char *executions, *outcomes; /* per call */
} shared;

enum { NO_OUTCOME, ANSWERED, NOT_ANSWERED };

static lb_status count(lb_request *request, void *data)
{
    shared *s = data;
    int64_t id = lb_get_int(request, "id");
    if (id >= 0 && id < s->calls)
        __atomic_add_fetch(&s->executions[id], 1, __ATOMIC_SEQ_CST);
    return lb_return(request, id);
}

static const lb_api counter = {
    .name = "counter",
    .members = (const lb_member[]){LB_RPC("count(id: int) -> int", count), LB_END},
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    return lb_register(bus, &counter, data, error);
}

/* ---- The callers ---------------------------------------------------------------------------------------- */

typedef struct caller {
    shared *shared;
    const char *url;
    int first, last; /* its calls: first <= id < last */
    int batch;       /* so many at a time */
} caller;

/* `error` is that of lb_call_begin: a call may be refused there, when the schemas could not be loaded. */
static void end_call(shared *s, lb_pending *call, int id, lb_error error)
{
    lb_value *result = NULL;
    lb_status status = lb_call_end(call, &result, &error);
    s->outcomes[id] = status == LB_OK ? ANSWERED : NOT_ANSWERED;
    if (status == LB_OK) {
        shared_add(&s->answered, 1);
        if (lb_value_int(result) != id)
            shared_add(&s->wrong_answers, 1);
    } else if (status != LB_TIMEOUT && status != LB_TRANSPORT) {
        fprintf(stderr, "call %d: %s: %s\n", id, lb_status_name(status), error.message);
        shared_add(&s->odd_statuses, 1);
    }
    shared_add(&s->ended, 1);
    lb_value_free(result);
}

static int call_in_batches(void *data)
{
    caller *c = data;
    lb_bus *bus = client_open(c->url, TIMEOUT_MS);
    for (int start = c->first; start < c->last; start += c->batch) {
        lb_pending *calls[BATCH];
        int size = c->last - start < c->batch ? c->last - start : c->batch;
        lb_error errors[BATCH] = {0};
        for (int i = 0; i < size; i++)
            calls[i] = lb_call_begin(bus, "counter.count", LB_ARGS(LB("id", start + i)), NULL, &errors[i]);
        for (int i = 0; i < size; i++)
            end_call(c->shared, calls[i], start + i, errors[i]);
    }
    lb_close(bus);
    shared_add(&c->shared->callers_done, 1);
    return 0;
}

/* ---- The trouble ---------------------------------------------------------------------------------------- */

typedef struct trouble {
    proxy *sides[SIDES];
    worker workers[WORKERS];
    pid_t pids[WORKERS];
    unsigned random;
    int cuts, kills;
} trouble;

static unsigned next_random(trouble *t, unsigned below)
{
    t->random = t->random * 1664525u + 1013904223u;
    return (t->random >> 8) % below;
}

/* Small numbers as often as large ones: they hit the middle of a command as well as the middle of a batch. */
static int random_bytes(trouble *t) { return 1 + (int)next_random(t, 16u << next_random(t, 12)); }

static void make_trouble(trouble *t)
{
    proxy *side = t->sides[next_random(t, SIDES)];
    unsigned kind = next_random(t, 8), victim = next_random(t, WORKERS);
    if (kind == 0) {
        worker_crash(t->pids[victim]);
        t->pids[victim] = worker_start(&t->workers[victim]);
        t->kills++;
        return;
    }
    if (kind == 1)
        proxy_cut(side);
    else
        proxy_cut_after(side, kind % 2 ? TO_SERVER : TO_CLIENT, random_bytes(t));
    t->cuts++;
}

static void s1_no_call_is_executed_twice(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    s->calls = (support_scaled(10000) + CALLERS - 1) / CALLERS * CALLERS;
    s->executions = shared_memory((size_t)s->calls);
    s->outcomes = shared_memory((size_t)s->calls);

    trouble t = {.random = (unsigned)getpid()};
    for (int i = 0; i < SIDES; i++)
        t.sides[i] = proxy_start(server);
    static const char *const names[WORKERS] = {"p1", "p2"};
    for (int i = 0; i < WORKERS; i++) {
        t.workers[i] = (worker){.url = t.sides[SERVING]->url, .process = names[i], .setup = setup, .data = s};
        t.pids[i] = worker_start(&t.workers[i]);
    }
    print_message("seed %u\n", t.random);

    caller callers[CALLERS];
    pid_t pids[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        int side = i % 2 ? ONE_BY_ONE : BATCHES;
        callers[i] = (caller){s, t.sides[side]->url, s->calls / CALLERS * i, s->calls / CALLERS * (i + 1),
                              side == ONE_BY_ONE ? 1 : BATCH};
        pids[i] = child_start(call_in_batches, &callers[i]);
    }
    int64_t deadline = support_now_ms() + 100000;
    while (shared_get(&s->callers_done) < CALLERS && support_now_ms() < deadline) {
        make_trouble(&t);
        sleep_ms(5 + (int)next_random(&t, 40));
    }
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(child_wait(pids[i], PATIENCE_MS), 0);
    for (int i = 0; i < WORKERS; i++)
        worker_stop(t.pids[i]);
    for (int i = 0; i < SIDES; i++)
        proxy_stop(t.sides[i]);

    int executed = 0;
    for (int id = 0; id < s->calls; id++) {
        if (s->executions[id] > 1)
            fail_msg("call %d was executed %d times", id, s->executions[id]);
        if (s->outcomes[id] == NO_OUTCOME)
            fail_msg("call %d did not end", id);
        if (s->outcomes[id] == ANSWERED && s->executions[id] != 1)
            fail_msg("call %d was answered and executed %d times", id, s->executions[id]);
        executed += s->executions[id];
    }
    print_message("%d calls, %d executed, %d answered; %d cuts, %d workers killed\n", s->calls, executed,
                  s->answered, t.cuts, t.kills);
    assert_int_equal(s->ended, s->calls);
    assert_int_equal(s->wrong_answers, 0);
    assert_int_equal(s->odd_statuses, 0);
    assert_true(s->answered > s->calls / 4); /* or nothing was shown */
    assert_true(t.cuts + t.kills > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {server_test(s1_no_call_is_executed_twice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
