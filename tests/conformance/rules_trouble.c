/* Rules of what happens to a bus meanwhile: consumers that go (S17), a medium that goes away and comes back
 * (S30), one that does not answer (S31). */
#include "conformance.h"

#include <pthread.h>
#include <stdio.h>

/* ---- Consumers that go ------------------------------------------------------------------------------ */

typedef struct scene {
    const medium *m;
    const lb_event_transport *t;
    void *a, *b;
} scene;

static scene scene_open(void **state, const char *options)
{
    const medium *m = *state;
    return (scene){m, m->kind->transport->event, instance_open(m, options, "a"),
                   instance_open(m, options, "b")};
}

static void scene_close(scene *s)
{
    instance_close(s->m, s->a);
    instance_close(s->m, s->b);
}

static void *listen_as(const scene *s, void *instance, const char *group, const char *consumer)
{
    void *listener = NULL;
    lb_error error = {0};
    lb_slice api = slice("shop"), event = slice("ordered");
    lb_listener_config config = {.group = group,
                                 .consumer = consumer,
                                 .api_names = &api,
                                 .event_names = &event,
                                 .count = 1,
                                 .since = "$"};
    assert_ok(s->t->listen(instance, &config, in_ms(5000), &listener, &error), &error);
    return listener;
}

static void fire(const scene *s, int first, int last)
{
    for (int n = first; n < last; n++) {
        char id[32], json[16];
        lb_error error = {0};
        snprintf(id, sizeof id, "id-%d", n);
        snprintf(json, sizeof json, "%d", n);
        lb_kwarg kwarg = {.name = slice("n"), .json = slice(json)};
        lb_event_message m = {.id = slice(id),
                              .api_name = slice("shop"),
                              .event_name = slice("ordered"),
                              .version = 1,
                              .kwargs = &kwarg,
                              .kwargs_count = 1};
        lb_event_message *list[] = {&m};
        assert_ok(s->t->send(s->a, list, 1, in_ms(5000), &error), &error);
        assert_int_equal(m.status, LB_OK);
    }
}

enum { EVENTS = 400 };

/* Takes up to `max` events and notes them in `seen`; how many came. */
static size_t take(const scene *s, void *listener, size_t max, int ms, bool done, int seen[EVENTS])
{
    const lb_event_message *list;
    size_t count = 0;
    lb_error error = {0};
    assert_ok(s->t->fetch(listener, max, in_ms(ms), &list, &count, &error), &error);
    for (size_t i = 0; i < count; i++) {
        const lb_event_message *m = &list[i];
        assert_null(m->problem);
        int n = (int)lb_value_int(m->kwargs[0].value);
        assert_in_range(n, 0, EVENTS - 1);
        if (seen)
            seen[n]++;
        if (done)
            assert_ok(s->t->acknowledge(listener, &m, 1, &error), &error);
    }
    return count;
}

static int different(const int seen[EVENTS])
{
    int count = 0;
    for (int n = 0; n < EVENTS; n++)
        count += seen[n] > 0;
    return count;
}

/* Takes as many different events; with `seen`, they are acknowledged and noted there. */
static void take_all(const scene *s, void *listener, int count, int seen[EVENTS])
{
    int got[EVENTS] = {0}, *noted = seen ? seen : got;
    int64_t end = support_now_ms() + PATIENCE_MS;
    while (different(noted) < count && support_now_ms() < end)
        take(s, listener, 100, 200, seen != NULL, noted);
    assert_int_equal(different(noted), count);
}

/* A consumer that goes, kept or forgotten, leaves what it has in hand to the others of its group, and has
 * nothing to do with the groups of others. */
static void s17_a_consumer_that_goes_drops_nothing(void **state)
{
    for (int forget = 0; forget < 2; forget++) {
        scene s = scene_open(state, "acknowledgement_timeout=0.4&reclaim_interval=0.1");
        char group[16], other[16];
        int seen[EVENTS] = {0}, theirs[EVENTS] = {0};
        snprintf(group, sizeof group, "tests-%d", forget);
        snprintf(other, sizeof other, "other-%d", forget);
        void *a = listen_as(&s, s.a, group, "a"), *b = listen_as(&s, s.b, group, "b");
        void *stranger = listen_as(&s, s.b, other, "c");
        fire(&s, 0, 6);
        take_all(&s, stranger, 6, NULL);
        take_all(&s, a, 6, NULL);
        fire(&s, 6, 12);
        take_all(&s, b, 6, seen);
        s.t->unlisten(a, forget);
        take_all(&s, b, 12, seen);
        s.t->unlisten(b, true); /* now the group goes */
        s.t->unlisten(stranger, false);
        stranger = listen_as(&s, s.b, other, "c");
        take_all(&s, stranger, 12, theirs);
        s.t->unlisten(stranger, false);
        scene_close(&s);
    }
}

typedef struct churn {
    const scene *s;
    int stop;
    int turns;
} churn;

/* Consumers come, take something, and go for good. */
static void *come_and_go(void *data)
{
    churn *c = data;
    while (!shared_get(&c->stop)) {
        char name[24];
        snprintf(name, sizeof name, "c%d", shared_add(&c->turns, 1));
        void *listener = listen_as(c->s, c->s->b, "tests-g", name);
        take(c->s, listener, 3, 5, false, NULL);
        c->s->t->unlisten(listener, true);
    }
    return NULL;
}

static void s17_events_that_become_pending_while_consumers_go_are_kept(void **state)
{
    scene s = scene_open(state, "acknowledgement_timeout=0.3&reclaim_interval=0.1");
    churn c = {.s = &s};
    int seen[EVENTS] = {0};
    pthread_t thread;
    void *a = listen_as(&s, s.a, "tests-g", "a");
    pthread_create(&thread, NULL, come_and_go, &c);
    for (int n = 0; n < EVENTS; n += 4) {
        fire(&s, n, n + 4);
        take(&s, a, 2, 1, true, seen);
    }
    wait_until(shared_get(&c.turns) > 20, PATIENCE_MS);
    shared_set(&c.stop, 1);
    pthread_join(thread, NULL);
    take_all(&s, a, EVENTS, seen);
    s.t->unlisten(a, false);
    scene_close(&s);
}

/* ---- A medium that goes away ------------------------------------------------------------------------ */

static lb_status add(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_int(request, "n") + 1);
}

static lb_status handle(const lb_event *event, void *data)
{
    int *handled = data;
    shared_add(&handled[lb_get_int(event, "n")], 1);
    return LB_OK;
}

static const lb_api shop = {
    .name = "shop",
    .members = (const lb_member[]){LB_RPC("add(n: int) -> int", add), LB_EVENT("ordered(n: int)"), LB_END},
};

static lb_bus *serve(const medium *m, int *handled)
{
    lb_error error = {0};
    lb_bus *bus = medium_bus(m, "", "worker");
    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    assert_ok(lb_listen(bus, "shop.ordered", "stock", handle, handled, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    return bus;
}

static lb_status call(lb_bus *bus, int ms)
{
    lb_error error = {0};
    lb_pending *pending =
        lb_call_begin(bus, "shop.add", LB_ARGS(LB("n", 1)), &(lb_call_options){.timeout_ms = ms}, &error);
    return pending ? lb_call_end(pending, NULL, &error) : error.status;
}

static bool fires(lb_bus *bus, int n)
{
    lb_error error = {0};
    return lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", n)), &error) == LB_OK;
}

static void quiet(lb_log_level level, const char *message, void *data)
{
    (void)level, (void)message, (void)data;
}

static const trouble *troubles_of(const medium *m)
{
    static const trouble none[] = {{0}};
    return m->kind->troubles ? m->kind->troubles : none;
}

/* S10 too: what was fired before and after is handled. */
static void s10_s30_a_bus_goes_on_when_its_medium_comes_back(void **state)
{
    const medium *m = *state;
    if (!m->kind->troubles)
        skip();
    int *handled = calloc(EVENTS, sizeof *handled), n = 0;
    lb_log_to(quiet, NULL);
    lb_bus *worker = serve(m, handled), *client = medium_bus(m, "", "client");
    for (const trouble *t = troubles_of(m); t->name; t++) {
        print_message("%s\n", t->name);
        assert_int_equal(call(client, 10000), LB_OK);
        for (int i = 0; i < 20; i++)
            assert_true(fires(client, n++));
        t->begin(m->self);
        int64_t start = support_now_ms();
        call(client, 500); /* whatever it is, it comes in time */
        assert_true(support_now_ms() - start < 500 + 2000 + SLACK_MS);
        t->end(m->self);
        wait_until(call(client, 2000) == LB_OK, PATIENCE_MS);
        wait_until(fires(client, n), PATIENCE_MS);
        n++;
        for (int i = 0; i < n; i++)
            wait_until(shared_get(&handled[i]) > 0, PATIENCE_MS);
    }
    lb_error error = {0};
    lb_close(client);
    assert_ok(lb_stop(worker, 20000, &error), &error);
    lb_close(worker);
    lb_log_to(NULL, NULL);
    free(handled);
}

/* ---- Waiting ---------------------------------------------------------------------------------------- */

typedef struct waiter {
    scene s;
    const lb_transport *t;
    void *consumer, *listener;
} waiter;

static void fetch_all(const waiter *w, int64_t deadline_ns, int what)
{
    const lb_rpc_message *calls;
    const lb_result_message *results;
    const lb_event_message *events;
    size_t count;
    lb_error error = {0};
    if (what == 0)
        w->t->rpc->fetch(w->consumer, 1, deadline_ns, &calls, &count, &error);
    else if (what == 1)
        w->t->event->fetch(w->listener, 1, deadline_ns, &events, &count, &error);
    else
        w->t->result->fetch(w->s.b, deadline_ns, &results, &count, &error);
}

static void *interrupt_soon(void *data)
{
    const waiter *w = data;
    sleep_ms(100);
    w->t->rpc->interrupt(w->consumer);
    w->t->event->interrupt(w->listener);
    return NULL;
}

static void expect_that_waiting_ends(const waiter *w)
{
    for (int what = 0; what < 3; what++) {
        int64_t start = support_now_ms();
        fetch_all(w, in_ms(300), what);
        assert_true(support_now_ms() - start < 300 + 2000 + SLACK_MS);
    }
    for (int what = 0; what < 2; what++) { /* without a deadline, and interrupted */
        pthread_t thread;
        int64_t start = support_now_ms();
        pthread_create(&thread, NULL, interrupt_soon, (void *)(uintptr_t)w);
        fetch_all(w, LB_FOREVER, what);
        assert_true(support_now_ms() - start < 5000 + 2000 + SLACK_MS);
        pthread_join(thread, NULL);
    }
}

static void s31_no_fetch_waits_much_longer_than_its_deadline(void **state)
{
    const medium *m = *state;
    static const char *const apis[] = {"shop"};
    lb_error error = {0};
    waiter w = {.s = scene_open(state, ""), .t = m->kind->transport};
    int seen[EVENTS] = {0};
    lb_log_to(quiet, NULL);
    assert_ok(w.t->rpc->consumer_open(w.s.a, apis, 1, in_ms(5000), &w.consumer, &error), &error);
    w.listener = listen_as(&w.s, w.s.a, "tests-g", "a");
    expect_that_waiting_ends(&w);
    for (const trouble *t = troubles_of(m); t->name; t++) {
        print_message("%s\n", t->name);
        t->begin(m->self);
        expect_that_waiting_ends(&w);
        t->end(m->self);
    }
    int64_t end = support_now_ms() + PATIENCE_MS;
    lb_event_message probe = {
        .id = slice("x"), .api_name = slice("shop"), .event_name = slice("ordered"), .version = 1};
    lb_kwarg kwarg = {.name = slice("n"), .json = slice("7")};
    probe.kwargs = &kwarg;
    probe.kwargs_count = 1;
    lb_event_message *list[] = {&probe};
    while (w.t->event->send(w.s.b, list, 1, in_ms(1000), &error) != LB_OK && support_now_ms() < end)
        support_nap();
    assert_int_equal(probe.status, LB_OK);
    while (!seen[7] && support_now_ms() < end) {
        const lb_event_message *events;
        size_t count = 0;
        w.t->event->fetch(w.listener, 1, in_ms(500), &events, &count, &error);
        seen[7] += count > 0;
    }
    assert_true(seen[7] > 0);
    w.t->event->unlisten(w.listener, false);
    w.t->rpc->consumer_close(w.consumer);
    scene_close(&w.s);
    lb_log_to(NULL, NULL);
}

int run_trouble_rules(void)
{
    const struct CMUnitTest tests[] = {
        medium_test(s17_a_consumer_that_goes_drops_nothing),
        medium_test(s17_events_that_become_pending_while_consumers_go_are_kept),
        medium_test(s10_s30_a_bus_goes_on_when_its_medium_comes_back),
        medium_test(s31_no_fetch_waits_much_longer_than_its_deadline),
    };
    return cmocka_run_group_tests_name("trouble", tests, NULL, NULL);
}
