/* Rules of events, through the contract. */
#include "conformance.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

typedef struct events {
    const medium *m;
    const lb_event_transport *t;
    void *a, *b; /* two instances: processes "a" and "b" */
} events;

static events events_open(void **state, const char *options)
{
    const medium *m = *state;
    return (events){m, m->kind->transport->event, instance_open(m, options, "a"),
                    instance_open(m, options, "b")};
}

static void events_close(events *e)
{
    instance_close(e->m, e->a);
    instance_close(e->m, e->b);
}

/* Fires shop.<event>(n: int); the native id goes to `native`, if it is not NULL. */
static void fire_named(const events *e, const char *event, int n, char native[64])
{
    char id[32], json[16];
    lb_error error = {0};
    snprintf(id, sizeof id, "id-%d", n);
    snprintf(json, sizeof json, "%d", n);
    lb_kwarg kwargs[] = {{.name = slice("n"), .json = slice(json)}};
    lb_event_message m = {.id = slice(id),
                          .api_name = slice("shop"),
                          .event_name = slice(event),
                          .version = 3,
                          .kwargs = kwargs,
                          .kwargs_count = 1};
    lb_event_message *list[] = {&m};
    assert_ok(e->t->send(e->a, list, 1, in_ms(5000), &error), &error);
    assert_int_equal(m.status, LB_OK);
    assert_true(m.native_id.size > 0 && m.native_id.size < 64);
    if (native)
        snprintf(native, 64, "%.*s", (int)m.native_id.size, m.native_id.data);
}

static void fire(const events *e, int first, int last)
{
    for (int n = first; n < last; n++)
        fire_named(e, "ordered", n, NULL);
}

static void *listen_to(const events *e, void *instance, const char *group, const char *process,
                       const char *event, const char *since)
{
    void *listener = NULL;
    lb_error error = {0};
    lb_slice api = slice("shop"), name = slice(event);
    lb_listener_config config = {.group = group,
                                 .consumer = process,
                                 .api_names = &api,
                                 .event_names = &name,
                                 .count = 1,
                                 .since = since};
    assert_ok(e->t->listen(instance, &config, in_ms(5000), &listener, &error), &error);
    return listener;
}

static void *listen_a(const events *e) { return listen_to(e, e->a, "tests-g", "a", "ordered", "$"); }
static void *listen_b(const events *e) { return listen_to(e, e->b, "tests-g", "b", "ordered", "$"); }

static size_t take(const events *e, void *listener, size_t max, int64_t ms, const lb_event_message **list)
{
    size_t count = 0;
    lb_error error = {0};
    assert_ok(e->t->fetch(listener, max, in_ms(ms), list, &count, &error), &error);
    return count;
}

static void acknowledge(const events *e, void *listener, const lb_event_message *m)
{
    lb_error error = {0};
    assert_ok(e->t->acknowledge(listener, &m, 1, &error), &error);
}

static void flush(const events *e, void *listener)
{
    lb_error error = {0};
    assert_ok(e->t->flush(listener, in_ms(5000), &error), &error);
}

static int number_of(const lb_event_message *m)
{
    assert_null(m->problem);
    assert_int_equal(m->kwargs_count, 1);
    return (int)lb_value_int(m->kwargs[0].value);
}

/* Takes and acknowledges until `last` events came; they must be first, first + 1, ... */
static void expect_numbers(const events *e, void *listener, int first, int last)
{
    const lb_event_message *list;
    int next = first;
    while (next < last) {
        size_t count = take(e, listener, 50, 5000, &list);
        if (!count)
            fail_msg("no event within 5 s: %d of %d..%d came", next - first, first, last);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(number_of(&list[i]), next++);
            acknowledge(e, listener, &list[i]);
        }
    }
    flush(e, listener);
}

static void expect_nothing(const events *e, void *listener, int64_t ms)
{
    const lb_event_message *list;
    assert_int_equal(take(e, listener, 50, ms, &list), 0);
}

static void s10_s15_every_group_gets_every_event_in_order(void **state)
{
    events e = events_open(state, "");
    void *one = listen_a(&e), *two = listen_to(&e, e.b, "tests-h", "b", "ordered", "$");
    fire(&e, 0, 130);
    expect_numbers(&e, one, 0, 130);
    expect_numbers(&e, two, 0, 130);
    expect_nothing(&e, one, 30);
    e.t->unlisten(one, false);
    e.t->unlisten(two, false);
    events_close(&e);
}

static void an_event_comes_as_it_was_fired(void **state)
{
    events e = events_open(state, "");
    void *l = listen_a(&e);
    const lb_event_message *list;
    char native[64];
    fire_named(&e, "ordered", 7, native);
    assert_int_equal(take(&e, l, 10, 5000, &list), 1);
    assert_true(is(list[0].id, "id-7") && is(list[0].api_name, "shop") && is(list[0].event_name, "ordered"));
    assert_int_equal(list[0].version, 3);
    assert_true(is(list[0].native_id, native));
    assert_int_equal(list[0].deliveries, 1);
    assert_true(is(list[0].kwargs[0].name, "n"));
    e.t->unlisten(l, false);
    events_close(&e);
}

static void s10_members_of_a_group_share_its_events(void **state)
{
    events e = events_open(state, "");
    void *a = listen_a(&e), *b = listen_b(&e);
    const lb_event_message *list;
    int seen[60] = {0}, total = 0;
    fire(&e, 0, 60);
    for (int round = 0; total < 60 && round < 200; round++) {
        void *l = round % 2 ? b : a;
        size_t count = take(&e, l, 5, 100, &list);
        for (size_t i = 0; i < count; i++, total++) {
            assert_int_equal(seen[number_of(&list[i])]++, 0);
            acknowledge(&e, l, &list[i]);
        }
    }
    assert_int_equal(total, 60);
    e.t->unlisten(a, false);
    e.t->unlisten(b, false);
    events_close(&e);
}

static void s11_a_process_takes_up_its_own_events_first(void **state)
{
    events e = events_open(state, "");
    const lb_event_message *list;
    void *l = listen_a(&e);
    fire(&e, 0, 10);
    int got = 0;
    while (got < 10)
        got += (int)take(&e, l, 10, 5000, &list);
    e.t->unlisten(l, false); /* none was acknowledged */
    fire(&e, 10, 12);
    l = listen_a(&e);
    size_t count = take(&e, l, 4, 5000, &list);
    assert_true(count >= 1 && count <= 12);
    assert_int_equal(number_of(&list[0]), 0);
    assert_int_equal(list[0].deliveries, 2);
    int next = 0;
    for (;;) {
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(number_of(&list[i]), next);
            assert_int_equal(list[i].deliveries, next < 10 ? 2 : 1);
            next++;
            acknowledge(&e, l, &list[i]);
        }
        if (next == 12)
            break;
        count = take(&e, l, 4, 5000, &list);
        assert_true(count > 0);
    }
    expect_nothing(&e, l, 30);
    e.t->unlisten(l, false);
    l = listen_a(&e);
    expect_nothing(&e, l, 50); /* what was acknowledged does not come again */
    e.t->unlisten(l, false);
    events_close(&e);
}

static void s12_an_event_in_hand_is_not_given_to_others(void **state)
{
    events e = events_open(state, "acknowledgement_timeout=2&reclaim_interval=0.1");
    void *a = listen_a(&e), *b = listen_b(&e);
    const lb_event_message *list;
    lb_error error = {0};
    fire(&e, 0, 1);
    assert_int_equal(take(&e, a, 10, 5000, &list), 1);
    assert_int_equal(e.t->lease_ms(a), 2000);
    for (int i = 0; i < 16; i++) { /* longer than the lease */
        bool lost = true;
        assert_ok(e.t->renew(a, &list, 1, &lost, &error), &error);
        assert_false(lost);
        expect_nothing(&e, b, 150);
    }
    acknowledge(&e, a, &list[0]);
    flush(&e, a);
    expect_nothing(&e, b, 2300);
    e.t->unlisten(a, false);
    e.t->unlisten(b, false);
    events_close(&e);
}

static void s12_an_event_that_lies_is_taken_over_and_its_lease_is_lost(void **state)
{
    events e = events_open(state, "acknowledgement_timeout=0.3&reclaim_interval=0.1");
    void *a = listen_a(&e), *b = listen_b(&e);
    const lb_event_message *mine, *taken;
    lb_error error = {0};
    bool lost = false;
    fire(&e, 0, 1);
    int64_t before = support_now_ms();
    assert_int_equal(take(&e, a, 10, 5000, &mine), 1);
    assert_int_equal(take(&e, b, 10, 5000, &taken), 1);
    assert_true(support_now_ms() - before >= 290); /* not before the lease ended */
    assert_int_equal(number_of(&taken[0]), 0);
    assert_int_equal(taken[0].deliveries, 2);
    assert_ok(e.t->renew(a, &mine, 1, &lost, &error), &error);
    assert_true(lost);
    acknowledge(&e, b, &taken[0]);
    flush(&e, b);
    expect_nothing(&e, a, 500);
    e.t->unlisten(a, false);
    e.t->unlisten(b, false);
    events_close(&e);
}

static void s10_s12_what_was_lost_to_another_may_come_again(void **state)
{
    events e = events_open(state, "acknowledgement_timeout=0.3&reclaim_interval=0.1");
    void *a = listen_a(&e), *b = listen_b(&e);
    const lb_event_message *mine, *taken;
    lb_error error = {0};
    bool lost = false;
    fire(&e, 0, 1);
    assert_int_equal(take(&e, a, 10, 5000, &mine), 1);
    assert_int_equal(take(&e, b, 10, 5000, &taken), 1);
    assert_ok(e.t->renew(a, &mine, 1, &lost, &error), &error);
    assert_true(lost);
    e.t->unlisten(b, false); /* not handled: nobody else is left to do so */
    expect_numbers(&e, a, 0, 1);
    e.t->unlisten(a, false);
    events_close(&e);
}

static void an_event_in_hand_is_not_given_out_again(void **state)
{
    events e = events_open(state, "acknowledgement_timeout=0.2&reclaim_interval=0.1");
    void *a = listen_a(&e);
    const lb_event_message *list;
    fire(&e, 0, 1);
    assert_int_equal(take(&e, a, 10, 5000, &list), 1);
    expect_nothing(&e, a, 700);
    e.t->unlisten(a, false);
    events_close(&e);
}

static void s13_a_dead_letter_does_not_come_again(void **state)
{
    events e = events_open(state, "acknowledgement_timeout=0.3&reclaim_interval=0.1");
    void *a = listen_a(&e);
    const lb_event_message *list;
    lb_error error = {0};
    fire(&e, 0, 2);
    size_t count = take(&e, a, 1, 5000, &list);
    assert_true(count >= 1);
    assert_ok(e.t->dead_letter(a, &list[0], "it \"cannot\" be handled", &error), &error);
    for (size_t i = 1; i < count; i++)
        acknowledge(&e, a, &list[i]);
    if (count == 1)
        expect_numbers(&e, a, 1, 2);
    e.t->unlisten(a, false);
    a = listen_a(&e);
    expect_nothing(&e, a, 500);
    e.t->unlisten(a, false);
    events_close(&e);
}

static void s18_a_new_listener_starts_where_it_is_told(void **state)
{
    events e = events_open(state, "");
    char native[2][64];
    fire_named(&e, "ordered", 0, NULL);
    fire_named(&e, "ordered", 1, native[0]);
    fire_named(&e, "ordered", 2, native[1]);
    sleep_ms(20);
    time_t now = time(NULL);
    char past[32], future[32];
    strftime(past, sizeof past, "%Y-%m-%dT%H:%M:%SZ", gmtime(&(time_t){now - 3600}));
    strftime(future, sizeof future, "%Y-%m-%dT%H:%M:%S+00:00", gmtime(&(time_t){now + 3600}));
    const struct {
        const char *group, *since;
        int first;
    } rows[] = {{"g-now", "$", 3},           {"g-start", "0", 0}, {"g-after-1", native[0], 2},
                {"g-after-2", native[1], 3}, {"g-past", past, 0}, {"g-future", future, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        void *l = listen_to(&e, e.b, rows[i].group, "b", "ordered", rows[i].since);
        if (rows[i].first < 3)
            expect_numbers(&e, l, rows[i].first, 3);
        else
            expect_nothing(&e, l, 50);
        e.t->unlisten(l, false);
    }
    fire(&e, 3, 5);
    for (size_t i = 0; i < 5; i++) { /* a group that exists goes on where it was */
        void *l = listen_to(&e, e.b, rows[i].group, "b", "ordered", "0");
        expect_numbers(&e, l, 3, 5);
        e.t->unlisten(l, false);
    }
    events_close(&e);
}

static void s18_a_wrong_since_is_refused(void **state)
{
    events e = events_open(state, "");
    void *listener = NULL;
    lb_error error = {0};
    lb_slice api = slice("shop"), name = slice("ordered");
    lb_listener_config config = {.group = "tests-g",
                                 .consumer = "a",
                                 .api_names = &api,
                                 .event_names = &name,
                                 .count = 1,
                                 .since = "yesterday"};
    lb_status status = e.t->listen(e.a, &config, in_ms(5000), &listener, &error);
    assert_status(status, LB_CONFIG, &error);
    assert_contains(error.message, "yesterday");
    assert_null(listener);
    events_close(&e);
}

static void a_group_that_is_forgotten_begins_anew(void **state)
{
    events e = events_open(state, "");
    void *l = listen_a(&e);
    fire(&e, 0, 3);
    e.t->unlisten(l, true);
    l = listen_a(&e);
    expect_nothing(&e, l, 50);
    fire(&e, 3, 4);
    expect_numbers(&e, l, 3, 4);
    e.t->unlisten(l, false);
    events_close(&e);
}

static void s18_a_group_that_vanished_is_made_again(void **state)
{
    if (!((const medium *)*state)->kind->drop_group)
        skip();
    events e = events_open(state, "acknowledgement_timeout=5");
    void *a = listen_a(&e);
    fire(&e, 0, 5);
    expect_numbers(&e, a, 0, 5);
    e.m->kind->drop_group(e.m->self, "shop", "tests-g");
    fire(&e, 5, 8);
    const lb_event_message *list;
    int next = 5;
    for (int round = 0; next < 8 && round < 20; round++) {
        size_t count = take(&e, a, 10, 1000, &list);
        for (size_t i = 0; i < count; i++) {
            int n = number_of(&list[i]);
            assert_true(n <= next); /* those before may come again, none is left out */
            next += n == next;
            acknowledge(&e, a, &list[i]);
        }
    }
    assert_int_equal(next, 8);
    e.t->unlisten(a, false);
    events_close(&e);
}

static void s19_only_what_is_listened_to_comes(void **state)
{
    static const char *const uses[] = {"stream_use=per_api", "stream_use=per_event"};
    for (int use = 0; use < 2; use++) {
        events e = events_open(state, uses[use]);
        char group[16];
        snprintf(group, sizeof group, "tests-%d", use);
        void *l = listen_to(&e, e.a, group, "a", "paid", "$");
        fire_named(&e, "ordered", 1, NULL);
        fire_named(&e, "paid", 2, NULL);
        fire_named(&e, "cancelled", 3, NULL);
        fire_named(&e, "paid", 4, NULL);
        const lb_event_message *list;
        for (int n = 2; n <= 4;) {
            size_t count = take(&e, l, 10, 5000, &list);
            assert_true(count > 0);
            for (size_t i = 0; i < count; i++, n += 2) {
                assert_int_equal(number_of(&list[i]), n);
                acknowledge(&e, l, &list[i]);
            }
        }
        expect_nothing(&e, l, 50);
        e.t->unlisten(l, false);
        events_close(&e);
    }
}

static void s19_a_star_listens_to_all_events_of_the_api(void **state)
{
    events e = events_open(state, "");
    void *l = listen_to(&e, e.a, "tests-g", "a", "*", "$");
    fire_named(&e, "ordered", 0, NULL);
    fire_named(&e, "paid", 1, NULL);
    expect_numbers(&e, l, 0, 2);
    e.t->unlisten(l, false);
    events_close(&e);
}

static void one_listener_hears_several_apis(void **state)
{
    events e = events_open(state, "");
    void *l = NULL;
    lb_error error = {0};
    lb_slice apis[] = {slice("shop"), slice("depot")}, names[] = {slice("ordered"), slice("emptied")};
    lb_listener_config config = {
        .group = "tests-g", .consumer = "a", .api_names = apis, .event_names = names, .count = 2, .since = "$"};
    assert_ok(e.t->listen(e.a, &config, in_ms(5000), &l, &error), &error);
    fire(&e, 0, 3);
    lb_kwarg kwarg = {.name = slice("n"), .json = slice("99")};
    lb_event_message m = {.id = slice("x"),
                          .api_name = slice("depot"),
                          .event_name = slice("emptied"),
                          .version = 1,
                          .kwargs = &kwarg,
                          .kwargs_count = 1};
    lb_event_message *list[] = {&m};
    assert_ok(e.t->send(e.b, list, 1, in_ms(5000), &error), &error);
    const lb_event_message *got;
    int shop = 0, depot = 0;
    while (shop + depot < 4) {
        size_t count = take(&e, l, 10, 5000, &got);
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++) {
            shop += is(got[i].api_name, "shop");
            depot += is(got[i].api_name, "depot");
            acknowledge(&e, l, &got[i]);
        }
    }
    assert_int_equal(depot, 1);
    e.t->unlisten(l, false);
    events_close(&e);
}

static void s21_what_is_given_back_goes_to_others_at_once(void **state)
{
    events e = events_open(state, "acknowledgement_timeout=60&reclaim_interval=0.2");
    void *a = listen_a(&e), *b = listen_b(&e);
    const lb_event_message *list, *taken;
    lb_error error = {0};
    fire(&e, 0, 1);
    assert_int_equal(take(&e, a, 10, 5000, &list), 1);
    expect_nothing(&e, b, 50);
    assert_ok(e.t->give_back(a, &list, 1, &error), &error);
    assert_int_equal(take(&e, b, 10, 5000, &taken), 1);
    assert_int_equal(number_of(&taken[0]), 0);
    acknowledge(&e, b, &taken[0]);
    e.t->unlisten(a, false);
    e.t->unlisten(b, false);
    events_close(&e);
}

static void *interrupt_soon(void *data)
{
    void **both = data;
    sleep_ms(100);
    ((const lb_event_transport *)both[0])->interrupt(both[1]);
    return NULL;
}

static void an_interrupt_ends_a_fetch(void **state)
{
    events e = events_open(state, "");
    void *l = listen_a(&e);
    void *both[] = {(void *)(uintptr_t)e.t, l};
    pthread_t thread;
    int64_t start = support_now_ms();
    pthread_create(&thread, NULL, interrupt_soon, both);
    expect_nothing(&e, l, 20000);
    pthread_join(thread, NULL);
    e.t->interrupt(l);
    expect_nothing(&e, l, 20000);
    assert_true(support_now_ms() - start < 100 + 2 * SLACK_MS);
    fire(&e, 0, 1);
    expect_numbers(&e, l, 0, 1);
    e.t->unlisten(l, false);
    events_close(&e);
}

static void s32_an_event_that_is_too_large_is_refused_by_itself(void **state)
{
    events e = events_open(state, "max_message_size=2000");
    void *l = listen_a(&e);
    lb_error error = {0};
    char *big = malloc(5000);
    memset(big, '1', 4999);
    big[4999] = '\0';
    big[0] = big[4998] = '"';
    lb_kwarg small = {.name = slice("n"), .json = slice("0")}, large = {.name = slice("n"), .json = slice(big)},
             last = {.name = slice("n"), .json = slice("1")};
    lb_event_message m[3];
    lb_kwarg *kwargs[] = {&small, &large, &last};
    lb_event_message *list[3];
    for (int i = 0; i < 3; i++) {
        m[i] = (lb_event_message){.id = slice("x"),
                                  .api_name = slice("shop"),
                                  .event_name = slice("ordered"),
                                  .version = 1,
                                  .kwargs = kwargs[i],
                                  .kwargs_count = 1};
        list[i] = &m[i];
    }
    assert_ok(e.t->send(e.a, list, 3, in_ms(5000), &error), &error);
    assert_int_equal(m[0].status, LB_OK);
    assert_int_equal(m[1].status, LB_TOO_LARGE);
    assert_non_null(m[1].problem);
    assert_int_equal(m[2].status, LB_OK);
    expect_numbers(&e, l, 0, 2);
    free(big);
    e.t->unlisten(l, false);
    events_close(&e);
}

static int lost_lines;
static void count_lost(lb_log_level level, const char *message, void *data)
{
    (void)data;
    if (level >= LB_LOG_WARNING && strstr(message, "lost"))
        __atomic_add_fetch(&lost_lines, 1, __ATOMIC_RELAXED);
}

static void add_lost(const lb_group_lag *lag, void *data)
{
    if (is(lag->group, "tests-g"))
        *(int64_t *)data += lag->lost;
}

/* As it is reported; -1: the transport cannot tell. */
static int64_t lost_of(const events *e)
{
    int64_t lost = 0;
    lb_error error = {0};
    if (!e->t->lag)
        return -1;
    assert_ok(e->t->lag(e->b, slice("shop"), slice("*"), add_lost, &lost, in_ms(5000), &error), &error);
    return lost;
}

/* Each of the 600 is handled, or counted once: those that were in hand and those that nobody had read. */
static void s16_what_is_trimmed_is_not_lost_in_silence(void **state)
{
    events e = events_open(state, "max_stream_length=100");
    void *a = listen_a(&e);
    const lb_event_message *list;
    lost_lines = 0;
    fire(&e, 0, 10);
    assert_true(take(&e, a, 10, 5000, &list) > 0);
    lb_log_to(count_lost, NULL);
    fire(&e, 10, 600); /* what a holds is trimmed, and what it did not read */
    e.t->unlisten(a, false);
    a = listen_a(&e);
    int first = -1, last = -1, total = 0;
    while (last < 599) {
        size_t count = take(&e, a, 50, 5000, &list);
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++) {
            int n = number_of(&list[i]);
            first = first < 0 ? n : first;
            assert_true(n > last);
            last = n;
            total++;
            acknowledge(&e, a, &list[i]);
        }
    }
    lb_log_to(NULL, NULL);
    assert_true(first > 100);
    assert_true(total >= 100 && total <= 400);
    assert_true(lost_lines > 0);
    flush(&e, a);
    if (lost_of(&e) != -1)
        assert_int_equal(lost_of(&e), 600 - total);
    e.t->unlisten(a, true);
    a = listen_a(&e);
    assert_true(lost_of(&e) <= 0); /* the count goes with its group */
    e.t->unlisten(a, false);
    events_close(&e);
}

static void fired_events_have_ids_of_their_own_in_order(void **state)
{
    enum { EVENTS = 200 };
    events e = events_open(state, "");
    lb_error error = {0};
    lb_kwarg kwarg = {.name = slice("n"), .json = slice("1")};
    lb_event_message *list[EVENTS], *m = calloc(EVENTS, sizeof *m);
    for (int i = 0; i < EVENTS; i++) {
        m[i] = (lb_event_message){.id = slice("x"),
                                  .api_name = slice(i % 3 ? "shop" : "depot"),
                                  .event_name = slice("ordered"),
                                  .version = 1,
                                  .kwargs = &kwarg,
                                  .kwargs_count = 1};
        list[i] = &m[i];
    }
    assert_ok(e.t->send(e.a, list, EVENTS, in_ms(5000), &error), &error);
    for (int i = 0; i < EVENTS; i++)
        for (int j = 0; j < i; j++)
            if (i % 3 && j % 3)
                assert_false(m[i].native_id.size == m[j].native_id.size &&
                             memcmp(m[i].native_id.data, m[j].native_id.data, m[i].native_id.size) == 0);
    free(m);
    events_close(&e);
}

int run_event_rules(void)
{
    const struct CMUnitTest tests[] = {
        medium_test(s10_s15_every_group_gets_every_event_in_order),
        medium_test(an_event_comes_as_it_was_fired),
        medium_test(s10_members_of_a_group_share_its_events),
        medium_test(s11_a_process_takes_up_its_own_events_first),
        medium_test(s12_an_event_in_hand_is_not_given_to_others),
        medium_test(s12_an_event_that_lies_is_taken_over_and_its_lease_is_lost),
        medium_test(s10_s12_what_was_lost_to_another_may_come_again),
        medium_test(an_event_in_hand_is_not_given_out_again),
        medium_test(s13_a_dead_letter_does_not_come_again),
        medium_test(s16_what_is_trimmed_is_not_lost_in_silence),
        medium_test(s18_a_new_listener_starts_where_it_is_told),
        medium_test(s18_a_wrong_since_is_refused),
        medium_test(a_group_that_is_forgotten_begins_anew),
        medium_test(s18_a_group_that_vanished_is_made_again),
        medium_test(s19_only_what_is_listened_to_comes),
        medium_test(s19_a_star_listens_to_all_events_of_the_api),
        medium_test(one_listener_hears_several_apis),
        medium_test(s21_what_is_given_back_goes_to_others_at_once),
        medium_test(an_interrupt_ends_a_fetch),
        medium_test(s32_an_event_that_is_too_large_is_refused_by_itself),
        medium_test(fired_events_have_ids_of_their_own_in_order),
    };
    return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
