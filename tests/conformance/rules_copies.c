/* Copies: events with one id, as a sender makes them that tries again after it got no answer. With
 * deduplicate_ms a listener handles one of them (S20), and loses none that it should have handled (S10). */
#include "conformance.h"

#include <stdio.h>

enum { WINDOW_MS = 60000 };

typedef struct bus {
    const medium *m;
    const lb_event_transport *t;
    void *a, *b; /* two processes */
} bus;

static bus bus_open(void **state, const char *options)
{
    const medium *m = *state;
    return (bus){m, m->kind->transport->event, instance_open(m, options, "a"), instance_open(m, options, "b")};
}

static void bus_close(bus *s)
{
    instance_close(s->m, s->a);
    instance_close(s->m, s->b);
}

/* Fires API.ordered(n: int) as an event of this id. */
static void fire_of(const medium *m, void *instance, const char *api, const char *id, int n)
{
    char json[16];
    lb_error error = {0};
    snprintf(json, sizeof json, "%d", n);
    lb_kwarg kwarg = {.name = slice("n"), .json = slice(json)};
    lb_event_message event = {.id = slice(id),
                              .api_name = slice(api),
                              .event_name = slice("ordered"),
                              .version = 1,
                              .kwargs = &kwarg,
                              .kwargs_count = 1};
    lb_event_message *list[] = {&event};
    assert_ok(m->kind->transport->event->send(instance, list, 1, in_ms(5000), &error), &error);
    assert_int_equal(event.status, LB_OK);
}

static void fire(const bus *s, const char *id, int n) { fire_of(s->m, s->a, "shop", id, n); }

static void *listen_as(const bus *s, void *instance, const char *group, const char *process, int window_ms)
{
    void *listener = NULL;
    lb_error error = {0};
    lb_slice apis[] = {slice("shop"), slice("depot")}, names[] = {slice("ordered"), slice("ordered")};
    lb_listener_config config = {.group = group,
                                 .consumer = process,
                                 .api_names = apis,
                                 .event_names = names,
                                 .count = 2,
                                 .since = "$",
                                 .deduplicate_ms = window_ms};
    assert_ok(s->t->listen(instance, &config, in_ms(5000), &listener, &error), &error);
    return listener;
}

static void *listen_a(const bus *s, int window_ms) { return listen_as(s, s->a, "tests-g", "a", window_ms); }
static void *listen_b(const bus *s, int window_ms) { return listen_as(s, s->b, "tests-g", "b", window_ms); }

static size_t take(const bus *s, void *listener, int64_t ms, const lb_event_message **list)
{
    size_t count = 0;
    lb_error error = {0};
    assert_ok(s->t->fetch(listener, 50, in_ms(ms), list, &count, &error), &error);
    return count;
}

static int number_of(const lb_event_message *m)
{
    assert_null(m->problem);
    return (int)lb_value_int(m->kwargs[0].value);
}

/* The one event that comes, in hand. */
static lb_event_message take_one(const bus *s, void *listener, int n)
{
    const lb_event_message *list;
    assert_int_equal(take(s, listener, 5000, &list), 1);
    assert_int_equal(number_of(&list[0]), n);
    return list[0];
}

static void acknowledge(const bus *s, void *listener, const lb_event_message *m)
{
    lb_error error = {0};
    assert_ok(s->t->acknowledge(listener, &m, 1, &error), &error);
    assert_ok(s->t->flush(listener, in_ms(5000), &error), &error);
}

static void expect(const bus *s, void *listener, int n)
{
    lb_event_message m = take_one(s, listener, n);
    acknowledge(s, listener, &m);
}

static void expect_nothing(const bus *s, void *listener)
{
    const lb_event_message *list;
    assert_int_equal(take(s, listener, 100, &list), 0);
}

/* ---- Through the contract --------------------------------------------------------------------------- */

static void s20_of_two_copies_a_group_handles_one(void **state)
{
    bus s = bus_open(state, "");
    void *one = listen_a(&s, WINDOW_MS), *two = listen_as(&s, s.b, "tests-h", "b", WINDOW_MS);
    const lb_event_message *list;
    fire(&s, "first", 1);
    fire(&s, "first", 2);
    fire(&s, "second", 3);
    for (int round = 0; round < 2; round++) {
        void *l = round ? two : one;
        for (int n = 1; n <= 3;) {
            size_t count = take(&s, l, 5000, &list);
            assert_true(count > 0);
            for (size_t i = 0; i < count; i++, n += 2) {
                assert_int_equal(number_of(&list[i]), n);
                acknowledge(&s, l, &list[i]);
            }
        }
        expect_nothing(&s, l);
    }
    fire(&s, "second", 4);
    expect_nothing(&s, one);
    s.t->unlisten(one, false);
    one =
        listen_a(&s, 0); /* what was passed over is done: it does not come to one that asks for copies either */
    expect_nothing(&s, one);
    s.t->unlisten(one, false);
    s.t->unlisten(two, false);
    bus_close(&s);
}

static void s20_without_it_copies_are_events_like_others(void **state)
{
    bus s = bus_open(state, "");
    void *l = listen_a(&s, 0);
    fire(&s, "first", 1);
    expect(&s, l, 1);
    fire(&s, "first", 2);
    expect(&s, l, 2);
    s.t->unlisten(l, false);
    bus_close(&s);
}

static void s20_processes_of_a_group_share_what_they_have_seen(void **state)
{
    bus s = bus_open(state, "");
    void *a = listen_a(&s, WINDOW_MS), *b = listen_b(&s, WINDOW_MS);
    fire(&s, "first", 1);
    lb_event_message first = take_one(&s, a, 1);
    fire(&s, "first", 2);
    expect_nothing(&s, b); /* while the first one is in hand */
    acknowledge(&s, a, &first);
    fire(&s, "first", 3);
    expect_nothing(&s, b); /* when it is done */
    expect_nothing(&s, a);
    s.t->unlisten(a, false);
    s.t->unlisten(b, false);
    bus_close(&s);
}

static void s20_after_the_window_a_copy_is_handled(void **state)
{
    enum { SHORT_MS = 700 };
    bus s = bus_open(state, "");
    void *l = listen_a(&s, SHORT_MS);
    fire(&s, "first", 1);
    expect(&s, l, 1);
    sleep_ms(SHORT_MS + 50);
    fire(&s, "first", 2);
    expect(&s, l, 2);
    s.t->unlisten(l, false);
    bus_close(&s);
}

static void s20_an_event_is_no_copy_of_itself(void **state)
{
    bus s = bus_open(state, "acknowledgement_timeout=60&reclaim_interval=0.1");
    void *a = listen_a(&s, WINDOW_MS), *b = listen_b(&s, WINDOW_MS);
    lb_error error = {0};
    fire(&s, "first", 1);
    lb_event_message first = take_one(&s, a, 1);
    const lb_event_message *list = &first;
    assert_ok(s.t->give_back(a, &list, 1, &error), &error);
    fire(&s, "first", 2);
    first = take_one(&s, b, 1);
    assert_int_equal(first.deliveries, 2);
    s.t->unlisten(b, false); /* not acknowledged: it comes again under this name */
    b = listen_b(&s, WINDOW_MS);
    first = take_one(&s, b, 1);
    assert_int_equal(first.deliveries, 3);
    acknowledge(&s, b, &first);
    expect_nothing(&s, b);
    expect_nothing(&s, a);
    s.t->unlisten(a, false);
    s.t->unlisten(b, false);
    bus_close(&s);
}

static void s20_what_lies_and_is_a_copy_is_passed_over(void **state)
{
    bus s = bus_open(state, "acknowledgement_timeout=0.3&reclaim_interval=0.1");
    const lb_event_message *list;
    void *a = listen_a(&s, 0), *b = listen_b(&s, WINDOW_MS);
    fire(&s, "first", 1);
    fire(&s, "first", 2);
    for (size_t taken = 0; taken < 2;) /* by a process that does not compare, and dies */
        taken += take(&s, a, 5000, &list);
    expect(&s, b, 1);
    expect_nothing(&s, b);
    sleep_ms(600);
    expect_nothing(&s, b);
    s.t->unlisten(a, false);
    s.t->unlisten(b, false);
    bus_close(&s);
}

static void s13_s20_a_copy_of_a_dead_letter_is_handled(void **state)
{
    bus s = bus_open(state, "");
    void *l = listen_a(&s, WINDOW_MS);
    lb_error error = {0};
    fire(&s, "first", 1);
    lb_event_message first = take_one(&s, l, 1);
    assert_ok(s.t->dead_letter(l, &first, "it cannot be handled", &error), &error);
    fire(&s, "first", 2);
    expect(&s, l, 2);
    fire(&s, "first", 3);
    expect_nothing(&s, l);
    s.t->unlisten(l, false);
    bus_close(&s);
}

static void replay(const medium *m, const char *options)
{
    lb_error error = {0};
    const lb_history_options letters = {.flags = LB_HISTORY_DEAD_LETTERS};
    lb_bus *looking = client_open(medium_url(m, options), 5000);
    lb_history *h = lb_history_open(looking, "shop.*", &letters, &error);
    assert_non_null(h);
    assert_non_null(next_of(h));
    assert_ok(lb_dead_letter_replay(h, 0, &error), &error);
    lb_history_close(h);
    lb_close(looking);
}

static void s13_s20_a_dead_letter_that_is_replayed_is_no_copy(void **state)
{
    static const char options[] = "acknowledgement_timeout=0.3&reclaim_interval=0.1";
    bus s = bus_open(state, options);
    void *l = listen_a(&s, WINDOW_MS), *other = listen_as(&s, s.b, "tests-h", "b", WINDOW_MS);
    lb_error error = {0};
    fire(&s, "first", 1);
    expect(&s, other, 1);
    for (int round = 0; round < 2; round++) {
        lb_event_message first = take_one(&s, l, 1);
        assert_ok(s.t->dead_letter(l, &first, "it cannot be handled", &error), &error);
        replay(s.m, options);
    }
    expect(&s, l, 1);
    expect_nothing(&s, l);
    expect_nothing(&s, other);
    s.t->unlisten(l, false);
    s.t->unlisten(other, false);
    bus_close(&s);
}

static void s20_only_events_of_one_stream_are_copies(void **state)
{
    bus s = bus_open(state, "");
    void *l = listen_a(&s, WINDOW_MS);
    fire_of(s.m, s.a, "shop", "first", 1);
    expect(&s, l, 1);
    fire_of(s.m, s.a, "depot", "first", 2);
    expect(&s, l, 2);
    s.t->unlisten(l, false);
    bus_close(&s);
}

static void s20_s32_only_short_ids_are_compared(void **state)
{
    bus s = bus_open(state, "");
    void *l = listen_a(&s, WINDOW_MS);
    char id[LB_DEDUPLICATED_ID_MOST + 2];
    memset(id, 'x', sizeof id);
    for (int more = 0; more < 2; more++) {
        id[LB_DEDUPLICATED_ID_MOST + more] = '\0';
        fire(&s, id, 1);
        expect(&s, l, 1);
        fire(&s, id, 2);
        if (more)
            expect(&s, l, 2);
        else
            expect_nothing(&s, l);
        id[LB_DEDUPLICATED_ID_MOST] = 'y';
    }
    s.t->unlisten(l, false);
    bus_close(&s);
}

static void s15_s20_of_many_each_comes_once_in_order(void **state)
{
    enum { MANY = 600 };
    bus s = bus_open(state, "");
    void *l = listen_a(&s, WINDOW_MS);
    const lb_event_message *list;
    char id[16];
    for (int n = 0; n < MANY; n++) {
        snprintf(id, sizeof id, "id:%d", n);
        fire(&s, id, n);
        if (n % 3 == 0)
            fire(&s, id, MANY);
        snprintf(id, sizeof id, "id:%d", n / 2);
        fire(&s, id, MANY);
    }
    for (int next = 0; next < MANY;) {
        size_t count = take(&s, l, 5000, &list);
        if (!count)
            fail_msg("no event within 5 s after %d", next);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(number_of(&list[i]), next++);
            acknowledge(&s, l, &list[i]);
        }
    }
    expect_nothing(&s, l);
    s.t->unlisten(l, false);
    bus_close(&s);
}

/* ---- Through lb_* ----------------------------------------------------------------------------------- */

typedef struct shared {
    int handled[16]; /* per number */
    int begun, fail, hold;
} shared;

static lb_status handle(const lb_event *event, void *data)
{
    shared *s = data;
    int n = (int)lb_get_int(event, "n");
    shared_add(&s->begun, 1);
    while (shared_get(&s->hold))
        support_nap();
    if (shared_get(&s->fail) && shared_add(&s->fail, -1) >= 0)
        return LB_RETRY;
    shared_add(&s->handled[n], 1);
    return LB_OK;
}

static const lb_api shop = {.name = "shop",
                            .members = (const lb_member[]){LB_EVENT("ordered(n: int)"), LB_END}};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    const lb_listen_options options = {.deduplicate_ms = WINDOW_MS};
    lb_status status = lb_register(bus, &shop, NULL, error);
    if (status == LB_OK)
        status = lb_listen(bus, "shop.ordered", "once", handle, data, &options, error);
    return status;
}

static pid_t start_worker(const medium *m, const char *options, const char *process, shared *s)
{
    char url[512];
    snprintf(url, sizeof url, "%s", medium_url(m, options));
    return worker_start(&(worker){.url = url, .process = process, .setup = setup, .data = s});
}

static int handled_of_first(shared *s)
{
    int all = 0;
    for (int n = 1; n < 10; n++)
        all += shared_get(&s->handled[n]);
    return all;
}

/* Which copy comes first to a process is not said: two processes fetch at once. */
static void s20_a_handler_runs_once_per_id(void **state)
{
    const medium *m = *state;
    skip_without(m, NO_PROCESSES);
    shared *s = shared_memory(sizeof *s);
    void *sender = instance_open(m, "", "sender");
    pid_t one = start_worker(m, "", "p1", s), two = start_worker(m, "", "p2", s);
    shared_set(&s->fail, 2); /* then it works: what is tried again is no copy of itself */
    for (int n = 1; n < 10; n++)
        fire_of(m, sender, "shop", "first", n);
    fire_of(m, sender, "shop", "second", 10);
    wait_until(handled_of_first(s) && shared_get(&s->handled[10]), 20000);
    instance_close(m, sender);
    worker_stop(one);
    worker_stop(two);
    assert_int_equal(handled_of_first(s), 1);
    assert_int_equal(s->handled[10], 1);
}

static void s10_s20_the_first_copy_outlives_its_process(void **state)
{
    static const char options[] = "acknowledgement_timeout=1&reclaim_interval=0.2";
    const medium *m = *state;
    skip_without(m, NO_PROCESSES);
    shared *s = shared_memory(sizeof *s);
    void *sender = instance_open(m, options, "sender");
    shared_set(&s->hold, 1);
    pid_t first = start_worker(m, options, "p1", s);
    fire_of(m, sender, "shop", "first", 1);
    wait_until(shared_get(&s->begun) == 1, 10000);
    worker_crash(first);
    fire_of(m, sender, "shop", "first", 2);
    shared_set(&s->hold, 0);
    pid_t second = start_worker(m, options, "p2", s);
    wait_until(shared_get(&s->handled[1]) == 1, 20000);
    fire_of(m, sender, "shop", "first", 3);
    fire_of(m, sender, "shop", "last", 4);
    wait_until(shared_get(&s->handled[4]) == 1, 10000);
    instance_close(m, sender);
    worker_stop(second);
    assert_int_equal(s->handled[1], 1);
    assert_int_equal(s->handled[2] + s->handled[3], 0);
}

static void a_transport_that_cannot_compare_refuses_the_listener(void **state)
{
    const medium *m = *state;
    lb_error error = {0};
    lb_bus *bus = client_open(m->url, 0);
    const lb_listen_options options = {.deduplicate_ms = 1000};
    assert_status(lb_listen(bus, "shop.ordered", "once", handle, NULL, &options, &error), LB_UNSUPPORTED,
                  &error);
    assert_contains(error.message, "deduplicate_ms");
    assert_contains(error.message, m->kind->transport->name);
    lb_close(bus);
}

static void s35_a_wrong_window_is_refused(void **state)
{
    static const int wrong[] = {-1, LB_DEDUPLICATE_MOST_MS + 1};
    const medium *m = *state;
    lb_bus *bus = client_open(m->url, 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        lb_error error = {0};
        const lb_listen_options options = {.deduplicate_ms = wrong[i]};
        assert_status(lb_listen(bus, "shop.ordered", "once", handle, NULL, &options, &error), LB_CONFIG,
                      &error);
        assert_contains(error.message, "deduplicate_ms");
    }
    lb_close(bus);
}

int run_copy_rules(const medium_kind *kind)
{
    const struct CMUnitTest tests[] = {
        medium_test(s20_of_two_copies_a_group_handles_one),
        medium_test(s20_without_it_copies_are_events_like_others),
        medium_test(s20_processes_of_a_group_share_what_they_have_seen),
        medium_test(s20_after_the_window_a_copy_is_handled),
        medium_test(s20_an_event_is_no_copy_of_itself),
        medium_test(s20_what_lies_and_is_a_copy_is_passed_over),
        medium_test(s13_s20_a_copy_of_a_dead_letter_is_handled),
        medium_test(s13_s20_a_dead_letter_that_is_replayed_is_no_copy),
        medium_test(s20_only_events_of_one_stream_are_copies),
        medium_test(s20_s32_only_short_ids_are_compared),
        medium_test(s15_s20_of_many_each_comes_once_in_order),
        medium_test(s20_a_handler_runs_once_per_id),
        medium_test(s10_s20_the_first_copy_outlives_its_process),
        medium_test(s35_a_wrong_window_is_refused),
    };
    const struct CMUnitTest without[] = {medium_test(a_transport_that_cannot_compare_refuses_the_listener),
                                         medium_test(s35_a_wrong_window_is_refused)};
    if (kind->transport->features & LB_TRANSPORT_DEDUPLICATES)
        return cmocka_run_group_tests_name("copies", tests, NULL, NULL);
    return cmocka_run_group_tests_name("copies", without, NULL, NULL);
}
