/* Rules of what handlers see, through lb_*: the time that their callers have left (S7), the order of events
 * (S15), and where a listener starts, also after its group has vanished (S18). */
#include "conformance.h"

#include <stdio.h>

enum { MOST = 512 };

static pid_t start(const medium *m, const char *options, const char *process, worker_setup setup, void *data,
                   int rpc_timeout_ms)
{
    char url[512];
    snprintf(url, sizeof url, "%s", medium_url(m, options));
    return worker_start(&(worker){
        .url = url, .process = process, .setup = setup, .data = data, .rpc_timeout_ms = rpc_timeout_ms});
}

/* ---- S7 --------------------------------------------------------------------------------------------- */

typedef struct waits {
    int inner_timeout_ms;                 /* in: of the call that the handler makes */
    int left_ms, left_later_ms, inner_ms; /* out: what its caller has left, twice; how long its call took */
    int status;                           /* and how that ended */
} waits;

static lb_status never_answer(lb_request *request, void *data)
{
    (void)data;
    return lb_defer(request) ? LB_OK : LB_NO_MEMORY;
}

static lb_status call_on(lb_request *request, void *data)
{
    waits *w = data;
    lb_error error = {0};
    const lb_call_options options = {.timeout_ms = w->inner_timeout_ms};
    int left = (int)lb_request_time_left_ms(request);
    sleep_ms(100);
    shared_set(&w->left_later_ms, (int)lb_request_time_left_ms(request));
    int64_t start = support_now_ms();
    lb_pending *call = lb_call_begin(lb_request_bus(request), "back.wait", LB_NO_ARGS, &options, &error);
    shared_set(&w->status, (int)lb_call_end(call, NULL, &error));
    shared_set(&w->inner_ms, (int)(support_now_ms() - start));
    shared_set(&w->left_ms, left);
    return LB_OK;
}

static const lb_api back = {.name = "back",
                            .members = (const lb_member[]){LB_RPC("wait()", never_answer), LB_END}};
static const lb_api front = {.name = "front",
                             .members = (const lb_member[]){LB_RPC("call_on()", call_on), LB_END}};

static lb_status serve_back(lb_bus *bus, void *data, lb_error *error)
{
    return lb_register(bus, &back, data, error);
}

static lb_status serve_front(lb_bus *bus, void *data, lb_error *error)
{
    return lb_register(bus, &front, data, error);
}

/* Calls a handler that calls another, which never answers. */
static waits *call_through(const medium *m, int caller_ms, int handler_ms, int inner_ms)
{
    waits *w = shared_memory(sizeof *w);
    lb_error error = {0};
    w->inner_timeout_ms = inner_ms;
    pid_t behind = start(m, "", "p1", serve_back, NULL, 30000), before;
    before = start(m, "", "p2", serve_front, w, handler_ms);
    lb_bus *bus = client_open(m->url, 30000);
    const lb_call_options options = {.timeout_ms = caller_ms};
    lb_pending *call = lb_call_begin(bus, "front.call_on", LB_NO_ARGS, &options, &error);
    assert_non_null(call);
    lb_call_end(call, NULL, &error); /* whether it is in time is not the question */
    wait_until(shared_get(&w->left_ms), PATIENCE_MS);
    lb_close(bus);
    worker_crash(before);
    worker_crash(behind); /* it owes an answer */
    assert_int_equal(w->status, LB_TIMEOUT);
    return w;
}

static void s7_a_handler_knows_how_long_its_caller_waits(void **state)
{
    const waits *w = call_through(*state, 20000, 10000, 100);
    assert_in_range(w->left_ms, 1, 10000);
    assert_in_range(w->left_later_ms, 1, w->left_ms - 100);
}

static void s7_a_handlers_call_ends_with_the_call_that_it_handles(void **state)
{
    const waits *w = call_through(*state, 20000, 1000, 20000);
    assert_in_range(w->left_ms, 1, 1000);
    assert_in_range(w->inner_ms, 1, 1000 + SLACK_MS);
}

static void s7_a_handlers_call_ends_with_its_own_timeout(void **state)
{
    const waits *w = call_through(*state, 20000, 20000, 300);
    assert_in_range(w->inner_ms, 299, 300 + SLACK_MS);
}

static void s7_the_callers_own_timeout_travels(void **state)
{
    skip_without((const medium *)*state, NO_DEADLINES);
    const waits *w = call_through(*state, 1000, 20000, 20000);
    assert_in_range(w->left_ms, 1, 1000);
    assert_in_range(w->inner_ms, 1, 1000 + SLACK_MS);
}

/* ---- S15, S18 --------------------------------------------------------------------------------------- */

typedef struct heard {
    lb_listen_options options; /* in */
    const char *events;
    int fail;                      /* in: the number whose first try fails */
    int hold;                      /* in: handlers wait */
    int begun, count, order[MOST]; /* out */
    int seen[MOST];
} heard;

static lb_status hear(const lb_event *event, void *data)
{
    heard *h = data;
    int n = (int)lb_get_int(event, "n");
    shared_add(&h->begun, 1);
    while (shared_get(&h->hold))
        support_nap();
    if (n && n == shared_get(&h->fail)) {
        shared_set(&h->fail, 0);
        return LB_RETRY;
    }
    int at = shared_get(&h->count);
    if (at < MOST)
        h->order[at] = n;
    shared_add(&h->seen[n], 1);
    shared_set(&h->count, at + 1); /* handlers of a listener do not overlap */
    return LB_OK;
}

static const lb_api shop = {
    .name = "shop",
    .members = (const lb_member[]){LB_EVENT("ordered(n: int)"), LB_EVENT("paid(n: int)"), LB_END}};

static lb_status listen_in(lb_bus *bus, void *data, lb_error *error)
{
    heard *h = data;
    lb_status status = lb_register(bus, &shop, NULL, error);
    return status == LB_OK ? lb_listen(bus, h->events, "stock", hear, h, &h->options, error) : status;
}

static heard *heard_of(const char *events, const char *since)
{
    heard *h = shared_memory(sizeof *h);
    h->events = events;
    h->options.since = since;
    return h;
}

/* A bus that knows the API; it serves nothing. */
static lb_bus *sender_open(const char *url)
{
    lb_error error = {0};
    lb_bus *bus = client_open(url, 0);
    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    return bus;
}

static void fire(lb_bus *bus, const char *name, int n)
{
    lb_error error = {0};
    assert_ok(lb_fire(bus, name, LB_ARGS(LB("n", n)), &error), &error);
}

static void fire_all(lb_bus *bus, int first, int last)
{
    for (int n = first; n < last; n++)
        fire(bus, "shop.ordered", n);
}

static void s15_events_of_an_api_come_in_their_order(void **state)
{
    enum { EVENTS = 300 };
    const medium *m = *state;
    heard *h = heard_of("shop.*", "$");
    h->options.batch_size = 7;
    pid_t pid = start(m, "", "p1", listen_in, h, 0);
    lb_bus *bus = sender_open(m->url);
    for (int n = 0; n < EVENTS; n++)
        fire(bus, n % 3 ? "shop.ordered" : "shop.paid", n);
    wait_until(shared_get(&h->count) == EVENTS, PATIENCE_MS);
    lb_close(bus);
    worker_stop(pid);
    for (int n = 0; n < EVENTS; n++)
        assert_int_equal(h->order[n], n);
}

static void s15_with_a_stream_per_event_each_keeps_its_order(void **state)
{
    enum { EVENTS = 200 };
    const medium *m = *state;
    heard *h = heard_of("shop.ordered shop.paid", "$");
    pid_t pid = start(m, "stream_use=per_event", "p1", listen_in, h, 0);
    lb_bus *bus = sender_open(medium_url(m, "stream_use=per_event"));
    for (int n = 0; n < EVENTS; n++)
        fire(bus, n % 2 ? "shop.ordered" : "shop.paid", n);
    wait_until(shared_get(&h->count) == EVENTS, PATIENCE_MS);
    lb_close(bus);
    worker_stop(pid);
    int last[2] = {-2, -1};
    for (int i = 0; i < EVENTS; i++) {
        int n = h->order[i];
        assert_int_equal(n, last[n % 2] + 2);
        last[n % 2] = n;
    }
}

static void s13_s15_one_that_is_tried_again_holds_up_no_other(void **state)
{
    enum { EVENTS = 50, FAILS = 5 };
    const medium *m = *state;
    heard *h = heard_of("shop.*", "$");
    h->fail = FAILS;
    pid_t pid = start(m, "", "p1", listen_in, h, 0);
    lb_bus *bus = sender_open(m->url);
    fire_all(bus, 0, EVENTS);
    wait_until(shared_get(&h->count) == EVENTS, PATIENCE_MS);
    lb_close(bus);
    worker_stop(pid);
    int next = 0;
    for (int i = 0; i < EVENTS; i++) {
        if (h->order[i] == FAILS)
            continue;
        next += next == FAILS;
        assert_int_equal(h->order[i], next++);
    }
    assert_int_equal(h->seen[FAILS], 1);
}

static void s18_a_listener_starts_where_it_is_told(void **state)
{
    const medium *m = *state;
    char past[32];
    strftime(past, sizeof past, "%Y-%m-%dT%H:%M:%SZ", gmtime(&(time_t){time(NULL) - 3600}));
    const struct {
        const char *since;
        int missed;
    } rows[] = {{NULL, 3}, {"$", 3}, {"0", 0}, {past, 0}};
    lb_bus *bus = sender_open(m->url);
    fire_all(bus, 0, 3);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char service[16];
        snprintf(service, sizeof service, "service-%zu", i);
        heard *h = heard_of("shop.ordered", rows[i].since);
        const worker w = {.url = m->url, .service = service, .setup = listen_in, .data = h};
        pid_t pid = worker_start(&w);
        fire(bus, "shop.ordered", 10 + (int)i);
        wait_until(shared_get(&h->seen[10 + (int)i]) == 1, PATIENCE_MS);
        worker_stop(pid);
        for (int n = 0; n < 3; n++)
            assert_int_equal(h->seen[n], n >= rows[i].missed);
        int before = h->count;
        fire(bus, "shop.ordered", 20 + (int)i);
        h->options.since =
            i % 2 ? "0" : "$"; /* one that is not new goes on where it was, whatever it is told */
        pid = worker_start(&w);
        wait_until(shared_get(&h->seen[20 + (int)i]) == 1, PATIENCE_MS);
        worker_stop(pid);
        assert_int_equal(h->count, before + 1);
    }
    lb_close(bus);
}

/* As if somebody had removed it, or the server had lost it. */
static void take_group_away(const medium *m) { m->kind->drop_group(m->self, "shop", "tests-stock"); }

static void expect_all(const heard *h, int first, int last)
{
    for (int n = first; n < last; n++)
        wait_until(shared_get(&h->seen[n]) > 0, PATIENCE_MS);
}

static void s18_after_its_group_has_vanished_a_listener_goes_on(void **state)
{
    const medium *m = *state;
    heard *h = heard_of("shop.ordered", "$");
    pid_t pid = start(m, "", "p1", listen_in, h, 0);
    lb_bus *bus = sender_open(m->url);
    for (int round = 0; round < 5; round++) {
        fire_all(bus, 20 * round, 20 * round + 10);
        expect_all(h, 20 * round, 20 * round + 10);
        take_group_away(m);
        fire_all(bus, 20 * round + 10, 20 * round + 20);
        expect_all(h, 20 * round + 10, 20 * round + 20);
    }
    lb_close(bus);
    worker_stop(pid);
}

/* What was fetched and not handled when the group vanished, through several renewals of its lease. With
 * `others`, another process makes the group again. */
static void vanish_under_a_handler(const medium *m, bool others)
{
    static const char options[] = "acknowledgement_timeout=0.9&reclaim_interval=0.1";
    heard *h = heard_of("shop.ordered", "0"), *other = heard_of("shop.ordered", "0");
    h->hold = 1;
    lb_bus *bus = sender_open(medium_url(m, options));
    fire_all(bus, 0, 10);
    pid_t pid = start(m, options, "p1", listen_in, h, 0), second = 0;
    wait_until(shared_get(&h->begun) == 1, PATIENCE_MS);
    if (others)
        second = start(m, options, "p2", listen_in, other, 0);
    take_group_away(m);
    fire_all(bus, 10, 20);
    sleep_ms(1500);
    if (others)
        expect_all(other, 10, 20);
    shared_set(&h->hold, 0);
    expect_all(h, 0, others ? 10 : 20);
    for (int n = 0; n < 20 && others; n++)
        if (n != 9) /* where the new group begins: that one may come again */
            assert_int_equal(h->seen[n] + other->seen[n], 1);
    lb_close(bus);
    worker_stop(pid);
    if (others)
        worker_stop(second);
}

static void s10_s18_what_a_listener_has_in_hand_when_its_group_vanishes_is_handled(void **state)
{
    vanish_under_a_handler(*state, false);
}

static void s10_s18_so_it_is_when_another_process_makes_the_group_again(void **state)
{
    vanish_under_a_handler(*state, true);
}

int run_handler_rules(void)
{
    const struct CMUnitTest tests[] = {
        medium_test(s7_a_handler_knows_how_long_its_caller_waits),
        medium_test(s7_a_handlers_call_ends_with_the_call_that_it_handles),
        medium_test(s7_a_handlers_call_ends_with_its_own_timeout),
        medium_test(s7_the_callers_own_timeout_travels),
        medium_test(s15_events_of_an_api_come_in_their_order),
        medium_test(s15_with_a_stream_per_event_each_keeps_its_order),
        medium_test(s13_s15_one_that_is_tried_again_holds_up_no_other),
        medium_test(s18_a_listener_starts_where_it_is_told),
        medium_test(s18_after_its_group_has_vanished_a_listener_goes_on),
        medium_test(s10_s18_what_a_listener_has_in_hand_when_its_group_vanishes_is_handled),
        medium_test(s10_s18_so_it_is_when_another_process_makes_the_group_again),
    };
    return cmocka_run_group_tests_name("handlers", tests, NULL, NULL);
}
