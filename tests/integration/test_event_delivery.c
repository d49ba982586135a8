/* S10: every event that was fired reaches every listener at least once, although workers are killed, Redis
 * restarts and connections break. S11: acknowledged after the handler, own pending events first. S12: a living
 * handler keeps its event. S21: a clean stop hands back. */
#include "worker.h"

#include <stdio.h>

typedef struct shared {
    int count;           /* events: 0 <= n < count */
    int total, distinct; /* handled */
    int hold;            /* handlers wait while it is set */
    int delay_ms;        /* of every handler */
    int running, redelivered;
    int fired, not_fired;
    int order[64]; /* of the first ones handled */
    int *seen;     /* per event */
    int *ids;      /* per event: a hash of its message id */
    int other_ids; /* came with another one the next time */
} shared;

static shared *new_shared(int count)
{
    shared *s = shared_memory(sizeof *s);
    s->count = count;
    s->seen = shared_memory(sizeof(int) * (size_t)count);
    s->ids = shared_memory(sizeof(int) * (size_t)count);
    return s;
}

static int hash(const char *text)
{
    unsigned h = 2166136261u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return (int)(h | 1); /* never 0 */
}

static void note_id(shared *s, int n, const char *id)
{
    int known = 0, own = hash(id);
    if (!__atomic_compare_exchange_n(&s->ids[n], &known, own, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        shared_add(&s->other_ids, known != own);
}

static lb_status handle(const lb_event *event, void *data)
{
    shared *s = data;
    int n = (int)lb_get_int(event, "n");
    if (n < 0 || n >= s->count)
        return LB_REJECT;
    shared_add(&s->running, 1);
    note_id(s, n, lb_event_id(event));
    shared_add(&s->redelivered, lb_event_deliveries(event) > 1);
    while (shared_get(&s->hold))
        support_nap();
    if (shared_get(&s->delay_ms))
        sleep_ms(shared_get(&s->delay_ms));
    int place = shared_add(&s->total, 1) - 1;
    if (place < 64)
        shared_set(&s->order[place], n);
    if (shared_add(&s->seen[n], 1) == 1)
        shared_add(&s->distinct, 1);
    shared_add(&s->running, -1);
    return LB_OK;
}

static const lb_api shop = {
    .name = "shop",
    .members = (const lb_member[]){LB_EVENT("ordered(n: int)"), LB_END},
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    return lb_listen(bus, "shop.ordered", "stock", handle, data, NULL, error);
}

static lb_bus *shop_open(const char *url)
{
    lb_error error = {0};
    lb_bus *bus = client_open(url, 0);
    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    return bus;
}

static void fire(lb_bus *bus, int first, int last)
{
    lb_error error = {0};
    for (int n = first; n < last; n++)
        assert_ok(lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", n)), &error), &error);
}

static pid_t start_worker(const char *url, const char *process, shared *s)
{
    return worker_start(&(worker){.url = url, .process = process, .setup = setup, .data = s});
}

static int64_t pending(const redis_server *server)
{
    lb_value *summary = redis_command(server, "XPENDING", "shop.*:stream", "tests-stock", NULL);
    int64_t count = lb_value_int(lb_value_at(summary, 0));
    lb_value_free(summary);
    return count;
}

/* ---- S10 ------------------------------------------------------------------------------------------------ */

enum { BATCH = 100 };
static const char RECLAIM[] = "?acknowledgement_timeout=1&reclaim_interval=0.3";

typedef struct firing {
    shared *shared;
    const char *url;
} firing;

/* Fires all events, in batches; in a process of its own, so that the test can break things meanwhile. */
static int fire_all(void *data)
{
    firing *f = data;
    shared *s = f->shared;
    lb_bus *bus = shop_open(f->url);
    for (int start = 0; start < s->count; start += BATCH) {
        lb_pending *fires[BATCH];
        int size = s->count - start < BATCH ? s->count - start : BATCH;
        for (int i = 0; i < size; i++)
            fires[i] = lb_fire_begin(bus, "shop.ordered", LB_ARGS(LB("n", start + i)), NULL);
        for (int i = 0; i < size; i++) {
            lb_error error = {0};
            if (lb_fire_end(fires[i], &error) != LB_OK) {
                fprintf(stderr, "fire %d: %s\n", start + i, error.message);
                shared_add(&s->not_fired, 1);
            }
        }
        shared_add(&s->fired, size);
        while (shared_get(&s->total) + 5000 <
               shared_get(&s->fired)) /* or all is fired before anything breaks */
            support_nap();
    }
    lb_close(bus);
    return 0;
}

static void expect_all_handled(shared *s, pid_t firing_pid)
{
    assert_int_equal(child_wait(firing_pid, 60000), 0);
    assert_int_equal(s->not_fired, 0);
    wait_until(shared_get(&s->distinct) == s->count, 60000);
    print_message("%d events, handled %d times, %d of them redelivered\n", s->count, s->total, s->redelivered);
    assert_int_equal(s->other_ids, 0); /* S20: what was fired again has the same id */
    /* redelivery is for what was in hand when something broke, not a way of life */
    assert_true(s->total < 2 * s->count);
}

static void s10_a_killed_worker_leaves_its_events_to_the_other(void **state)
{
    redis_server *server = *state;
    char url[256];
    snprintf(url, sizeof url, "%s%s", server->url, RECLAIM);
    shared *s = new_shared(support_scaled(20000));
    pid_t first = start_worker(url, "p1", s), second = start_worker(url, "p2", s);
    pid_t pid = child_start(fire_all, &(firing){s, url});
    wait_until(shared_get(&s->total) > s->count / 4, PATIENCE_MS);
    shared_set(&s->hold, 1);
    wait_until(shared_get(&s->running) == 2, PATIENCE_MS); /* both are in the middle of a batch */
    worker_crash(first);
    shared_set(&s->hold, 0);
    expect_all_handled(s, pid);
    assert_true(shared_get(&s->redelivered) > 0);
    wait_until(pending(server) == 0, PATIENCE_MS);
    worker_stop(second);
}

static void s10_events_survive_a_restart_of_redis(void **state)
{
    redis_server *server = *state;
    char url[256];
    snprintf(url, sizeof url, "%s%s", server->url, RECLAIM);
    shared *s = new_shared(support_scaled(20000));
    pid_t first = start_worker(url, "p1", s), second = start_worker(url, "p2", s);
    pid_t pid = child_start(fire_all, &(firing){s, url});
    for (int part = 1; part <= 3; part++) {
        wait_until(shared_get(&s->total) > s->count * part / 4, PATIENCE_MS);
        redis_server_restart(server);
    }
    expect_all_handled(s, pid);
    wait_until(pending(server) == 0, PATIENCE_MS);
    worker_stop(first);
    worker_stop(second);
}

static void s10_events_survive_broken_connections(void **state)
{
    redis_server *server = *state;
    proxy *p = proxy_start(server);
    char url[256];
    snprintf(url, sizeof url, "%s%s", p->url, RECLAIM);
    shared *s = new_shared(support_scaled(20000));
    pid_t first = start_worker(url, "p1", s), second = start_worker(url, "p2", s);
    pid_t pid = child_start(fire_all, &(firing){s, url});
    unsigned random = (unsigned)getpid();
    print_message("seed %u\n", random);
    for (int i = 0; i < 40 && shared_get(&s->distinct) < s->count; i++) {
        random = random * 1664525u + 1013904223u;
        int bytes = 1 + (int)((random >> 8) % 100000);
        proxy_cut_after(p, random >> 31 ? TO_SERVER : TO_CLIENT, bytes);
        sleep_ms(50);
    }
    proxy_cut(p);
    expect_all_handled(s, pid);
    wait_until(pending(server) == 0, PATIENCE_MS);
    worker_stop(first);
    worker_stop(second);
    proxy_stop(p);
}

/* ---- S11 ------------------------------------------------------------------------------------------------ */

static void s11_acknowledged_after_the_handler_and_not_before(void **state)
{
    redis_server *server = *state;
    shared *s = new_shared(8);
    pid_t pid = start_worker(server->url, "p1", s);
    lb_bus *bus = shop_open(server->url);
    shared_set(&s->hold, 1);
    fire(bus, 0, 1);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    assert_int_equal(pending(server), 1);
    sleep_ms(100);
    assert_int_equal(pending(server), 1);
    shared_set(&s->hold, 0);
    wait_until(pending(server) == 0, PATIENCE_MS);
    assert_int_equal(shared_get(&s->total), 1);
    lb_close(bus);
    worker_stop(pid);
}

static void s11_a_restarted_worker_takes_its_own_pending_events_first(void **state)
{
    redis_server *server = *state;
    shared *s = new_shared(8);
    lb_bus *bus = shop_open(server->url);
    worker_stop(start_worker(server->url, "p1", s)); /* the group is there now */
    fire(bus, 0, 5);
    shared_set(&s->hold, 1);
    pid_t pid = start_worker(server->url, "p1", s);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    assert_int_equal(pending(server), 5);
    worker_crash(pid);
    fire(bus, 5, 8);
    shared_set(&s->hold, 0);
    pid = start_worker(server->url, "p1", s); /* the acknowledgement timeout is a minute */
    wait_until(shared_get(&s->total) == 8, PATIENCE_MS);
    for (int i = 0; i < 8; i++)
        assert_int_equal(shared_get(&s->order[i]), i);
    wait_until(pending(server) == 0, PATIENCE_MS);
    lb_close(bus);
    worker_stop(pid);
}

/* ---- S12, S15, S21 -------------------------------------------------------------------------------------- */

static void s12_a_slow_handler_keeps_its_event(void **state)
{
    redis_server *server = *state;
    char url[256];
    snprintf(url, sizeof url, "%s%s", server->url, RECLAIM);
    shared *s = new_shared(8);
    pid_t first = start_worker(url, "p1", s), second = start_worker(url, "p2", s);
    lb_bus *bus = shop_open(url);
    shared_set(&s->delay_ms, 3000);
    fire(bus, 0, 1); /* one of them handles it, the other looks for what lies too long */
    wait_until(shared_get(&s->total) == 1, PATIENCE_MS);
    wait_until(pending(server) == 0, PATIENCE_MS);
    assert_int_equal(shared_get(&s->seen[0]), 1);
    assert_int_equal(shared_get(&s->redelivered), 0);
    assert_int_equal(shared_get(&s->running), 0);
    lb_close(bus);
    worker_stop(first);
    worker_stop(second);
}

static void s12_a_batch_that_waits_behind_slow_handlers_is_kept(void **state)
{
    redis_server *server = *state;
    char url[256];
    snprintf(url, sizeof url, "%s%s", server->url, RECLAIM);
    shared *s = new_shared(10);
    lb_bus *bus = shop_open(url);
    worker_stop(start_worker(url, "p1", s));
    fire(bus, 0, 10);
    shared_set(&s->delay_ms, 300);
    pid_t first = start_worker(url, "p1", s);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    pid_t second = start_worker(url, "p2", s);
    wait_until(shared_get(&s->distinct) == 10, PATIENCE_MS);
    wait_until(pending(server) == 0, PATIENCE_MS);
    assert_int_equal(shared_get(&s->total), 10);
    lb_close(bus);
    worker_stop(first);
    worker_stop(second);
}

static void s15_one_process_gets_events_in_order(void **state)
{
    redis_server *server = *state;
    shared *s = new_shared(64);
    pid_t pid = start_worker(server->url, "p1", s);
    lb_bus *bus = shop_open(server->url);
    fire(bus, 0, 64);
    wait_until(shared_get(&s->total) == 64, PATIENCE_MS);
    for (int i = 0; i < 64; i++)
        assert_int_equal(shared_get(&s->order[i]), i);
    lb_close(bus);
    worker_stop(pid);
}

static void s21_a_clean_stop_hands_unfinished_events_back(void **state)
{
    redis_server *server = *state;
    shared *s = new_shared(10);
    lb_bus *bus = shop_open(server->url);
    worker_stop(start_worker(server->url, "p1", s));
    fire(bus, 0, 10);
    shared_set(&s->delay_ms, 500);
    pid_t pid = start_worker(server->url, "p1", s);
    wait_until(shared_get(&s->running) == 1, PATIENCE_MS);
    worker_stop(pid);
    int handled = shared_get(&s->total);
    assert_in_range(handled, 1, 5);
    shared_set(&s->delay_ms, 0);
    pid = start_worker(server->url, "p2", s); /* the acknowledgement timeout is a minute */
    wait_until(shared_get(&s->distinct) == 10, PATIENCE_MS);
    assert_int_equal(shared_get(&s->total), 10);
    lb_close(bus);
    worker_stop(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(s10_a_killed_worker_leaves_its_events_to_the_other),
        server_test(s10_events_survive_a_restart_of_redis),
        server_test(s10_events_survive_broken_connections),
        server_test(s11_acknowledged_after_the_handler_and_not_before),
        server_test(s11_a_restarted_worker_takes_its_own_pending_events_first),
        server_test(s12_a_slow_handler_keeps_its_event),
        server_test(s12_a_batch_that_waits_behind_slow_handlers_is_kept),
        server_test(s15_one_process_gets_events_in_order),
        server_test(s21_a_clean_stop_hands_unfinished_events_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
