/* Rules of dead letters (S13), through lb_history, lb_dead_letter_... and the contract: for transports that can
 * tell what is stored. */
#include "conformance.h"

#include <signal.h>
#include <stdio.h>

#include "base/clock.h"

#define SOON "acknowledgement_timeout=0.3&reclaim_interval=0.1"

static const lb_member members[] = {LB_EVENT("x(n: int)"), LB_EVENT("y(n: int)"), LB_END};
static const lb_api apis[] = {{.name = "a", .members = members}, {.name = "b", .members = members}};

/* A bus that fires and looks, and an instance that listens. */
typedef struct yard {
    const medium *m;
    const lb_event_transport *t;
    lb_bus *bus;
    void *self;
} yard;

static bool can_tell(const medium *m) { return m->kind->transport->event->history != NULL; }
#define skip_mute(state)                                                                                       \
    do {                                                                                                       \
        if (!can_tell((const medium *)*(state)))                                                               \
            skip();                                                                                            \
    } while (0)

static yard yard_open(void **state, const char *options)
{
    const medium *m = *state;
    lb_error error = {0};
    yard y = {m, m->kind->transport->event, client_open(medium_url(m, options), 5000), NULL};
    for (size_t i = 0; i < sizeof apis / sizeof *apis; i++)
        assert_ok(lb_register(y.bus, &apis[i], NULL, &error), &error);
    y.self = instance_open(m, options, "p");
    return y;
}

static void yard_close(yard *y)
{
    instance_close(y->m, y->self);
    lb_close(y->bus);
}

static void fire(const yard *y, const char *name, int n)
{
    lb_error error = {0};
    assert_ok(lb_fire(y->bus, name, LB_ARGS(LB("n", n)), &error), &error);
}

static void *listen_as(const yard *y, const char *group, const char *api_name, const char *event_name)
{
    const lb_slice api = slice(api_name), event = slice(event_name);
    const lb_listener_config config = {group, "p", &api, &event, 1, "0", false, 0};
    void *listener = NULL;
    lb_error error = {0};
    assert_ok(y->t->listen(y->self, &config, clock_in_ms(5000), &listener, &error), &error);
    return listener;
}

/* The next event that comes to a listener. */
static lb_event_message take(const yard *y, void *listener)
{
    const lb_event_message *events;
    size_t count = 0;
    lb_error error = {0};
    assert_ok(y->t->fetch(listener, 1, clock_in_ms(10000), &events, &count, &error), &error);
    assert_int_equal(count, 1);
    assert_null(events->problem);
    return *events;
}

static int number_of(const lb_event_message *m) { return (int)lb_value_int(m->kwargs[0].value); }

static void expect_nothing(const yard *y, void *listener)
{
    const lb_event_message *events;
    size_t count = 0;
    lb_error error = {0};
    assert_ok(y->t->fetch(listener, 1, clock_in_ms(700), &events, &count, &error), &error);
    assert_int_equal(count, 0);
}

static void acknowledge(const yard *y, void *listener, const lb_event_message *m)
{
    lb_error error = {0};
    assert_ok(y->t->acknowledge(listener, &m, 1, &error), &error);
    assert_ok(y->t->flush(listener, clock_in_ms(5000), &error), &error);
}

/* Takes `count` events, and gives them all up. */
static void bury(const yard *y, void *listener, int count)
{
    char reason[32];
    for (int i = 0; i < count; i++) {
        lb_error error = {0};
        lb_event_message m = take(y, listener);
        m.deliveries += 4; /* by a bus that has tried it again while it was in hand */
        snprintf(reason, sizeof reason, "no good: %d", number_of(&m));
        assert_ok(y->t->dead_letter(listener, &m, reason, &error), &error);
        sleep_ms(2); /* several streams' are in order by their time, in milliseconds */
    }
}

static void refuse(const yard *y, const char *group, const char *api, int count)
{
    void *listener = listen_as(y, group, api, "x");
    bury(y, listener, count);
    y->t->unlisten(listener, false);
}

static lb_history *letters(const yard *y, const char *events, const char *from, const char *to, unsigned flags)
{
    lb_error error = {0};
    const lb_history_options options = {from, to, flags | LB_HISTORY_DEAD_LETTERS};
    lb_history *h = lb_history_open(y->bus, events, &options, &error);
    if (!h)
        fail_msg("%s: %s", lb_status_name(error.status), error.message);
    return h;
}

/* The n of all letters, a digit each. */
static void expect(const yard *y, const char *events, unsigned flags, const char *digits)
{
    char got[64] = "";
    lb_history *h = letters(y, events, NULL, NULL, flags);
    for (const lb_event *event; (event = next_of(h));)
        got[strlen(got)] = (char)('0' + lb_get_int(event, "n"));
    assert_string_equal(got, digits);
    lb_history_close(h);
}

/* A history that stands at the first letter. */
static lb_history *first_letter(const yard *y)
{
    lb_history *h = letters(y, NULL, NULL, NULL, LB_HISTORY_OLDEST_FIRST);
    assert_non_null(next_of(h));
    return h;
}

static void replay(const yard *y, unsigned flags, lb_status expected)
{
    lb_error error = {0};
    lb_history *h = first_letter(y);
    assert_status(lb_dead_letter_replay(h, flags, &error), expected, &error);
    lb_history_close(h);
}

/* ---- Looking ---------------------------------------------------------------------------------------- */

static void s13_dead_letters_tell_whose_they_are_and_why(void **state)
{
    skip_mute(state);
    yard y = yard_open(state, "");
    fire(&y, "a.x", 1);
    refuse(&y, "tests-g", "a", 1);
    lb_history *h = letters(&y, "a.x", NULL, NULL, 0), *all = open_history(y.bus, "a.*", NULL, NULL, false);
    const lb_event *dead = next_of(h), *stored = next_of(all);
    assert_string_equal(lb_event_dead_group(dead), "tests-g");
    assert_string_equal(lb_event_dead_consumer(dead), "p");
    assert_string_equal(lb_event_dead_reason(dead), "no good: 1");
    assert_non_null(strchr(lb_event_dead_id(dead), '-'));
    assert_int_equal(lb_event_deliveries(dead), 5);
    assert_string_equal(lb_event_native_id(dead), lb_event_native_id(stored));
    assert_string_equal(lb_event_id(dead), lb_event_id(stored));
    assert_string_equal(lb_event_api(dead), "a");
    assert_string_equal(lb_event_name(dead), "x");
    assert_int_equal(lb_get_int(dead, "n"), 1);
    assert_null(lb_history_problem(h));
    assert_null(lb_event_dead_id(stored));
    assert_null(lb_event_dead_group(stored));
    assert_null(next_of(h));
    lb_history_close(h);
    lb_history_close(all);
    yard_close(&y);
}

static void check_choice(void **state, const char *options)
{
    yard y = yard_open(state, options);
    for (int i = 1; i <= 3; i++)
        fire(&y, "a.x", i);
    fire(&y, "b.x", 4);
    refuse(&y, "tests-g", "a", 2);
    refuse(&y, "tests-g", "b", 1);
    refuse(&y, "tests-h", "a", 3);
    expect(&y, NULL, LB_HISTORY_OLDEST_FIRST, "124123");
    expect(&y, NULL, 0, "321421");
    expect(&y, "a.*", LB_HISTORY_OLDEST_FIRST, "12123");
    expect(&y, "b.x a.y", 0, "4");
    expect(&y, "a.y", 0, "");
    expect(&y, "c.*", 0, "");
    yard_close(&y);
}

static void s13_dead_letters_are_given_in_the_order_of_when_they_died(void **state)
{
    skip_mute(state);
    check_choice(state, "");
}

static void s13_dead_letters_of_streams_per_event_are_found(void **state)
{
    skip_mute(state);
    check_choice(state, "stream_use=per_event");
}

static void s13_a_dead_letter_is_found_by_its_id(void **state)
{
    skip_mute(state);
    yard y = yard_open(state, "");
    char id[64];
    for (int i = 1; i <= 3; i++)
        fire(&y, "a.x", i);
    refuse(&y, "tests-g", "a", 3);
    lb_history *h = first_letter(&y);
    snprintf(id, sizeof id, "%s", lb_event_dead_id(next_of(h)));
    lb_history_close(h);
    h = letters(&y, NULL, id, id, 0);
    assert_int_equal(lb_get_int(next_of(h), "n"), 2);
    assert_null(next_of(h));
    lb_history_close(h);
    yard_close(&y);
}

static void s13_later_dead_letters_are_found_by_a_history_that_waits(void **state)
{
    skip_mute(state);
    yard y = yard_open(state, "");
    lb_error error = {0};
    for (int i = 1; i <= 3; i++)
        fire(&y, "a.x", i);
    refuse(&y, "tests-g", "a", 2);
    lb_history *h = letters(&y, "a.*", NULL, NULL, LB_HISTORY_OLDEST_FIRST);
    for (int i = 1; i <= 2; i++) {
        assert_int_equal(lb_get_int(next_of(h), "n"), i);
        assert_ok(lb_dead_letter_purge(h, &error), &error); /* the last one too */
    }
    assert_null(next_of(h));
    refuse(&y, "tests-g", "a", 1);
    assert_int_equal(lb_get_int(next_of(h), "n"), 3);
    lb_history_close(h);
    yard_close(&y);
}

/* ---- Replay ----------------------------------------------------------------------------------------- */

static void s13_replay_reaches_the_group_that_gave_up_and_no_other(void **state)
{
    skip_mute(state);
    yard y = yard_open(state, SOON);
    void *g = listen_as(&y, "tests-g", "a", "x"), *h = listen_as(&y, "tests-h", "a", "x");
    fire(&y, "a.x", 1);
    fire(&y, "a.x", 2);
    bury(&y, g, 2);
    for (int i = 0; i < 2; i++) {
        lb_event_message m = take(&y, h);
        acknowledge(&y, h, &m);
    }
    replay(&y, 0, LB_OK);
    expect(&y, NULL, 0, "2");
    lb_event_message again = take(&y, g);
    assert_int_equal(number_of(&again), 1);
    assert_int_equal(again.deliveries, 1); /* they start anew */
    expect_nothing(&y, h);
    acknowledge(&y, g, &again);
    expect_nothing(&y, g);
    y.t->unlisten(g, false);
    y.t->unlisten(h, false);
    yard_close(&y);
}

static void s13_a_replayed_event_may_be_given_up_again(void **state)
{
    skip_mute(state);
    yard y = yard_open(state, SOON);
    void *g = listen_as(&y, "tests-g", "a", "x");
    fire(&y, "a.x", 1);
    for (int i = 0; i < 3; i++) {
        bury(&y, g, 1);
        expect(&y, NULL, 0, "1");
        replay(&y, 0, LB_OK);
        expect(&y, NULL, 0, "");
    }
    y.t->unlisten(g, false);
    yard_close(&y);
}

static void s13_a_letter_is_replayed_once(void **state)
{
    skip_mute(state);
    yard y = yard_open(state, SOON);
    lb_error error = {0};
    fire(&y, "a.x", 1);
    refuse(&y, "tests-g", "a", 1);
    lb_history *one = first_letter(&y), *two = first_letter(&y);
    assert_ok(lb_dead_letter_replay(one, 0, &error), &error);
    assert_status(lb_dead_letter_replay(two, LB_REPLAY_FIRE, &error), LB_GONE, &error);
    assert_status(lb_dead_letter_replay(one, 0, &error), LB_GONE, &error);
    assert_ok(lb_dead_letter_purge(two, &error), &error);
    lb_history_close(one);
    lb_history_close(two);
    void *g = listen_as(&y, "tests-g", "a", "x");
    lb_event_message m = take(&y, g);
    acknowledge(&y, g, &m);
    expect_nothing(&y, g);
    y.t->unlisten(g, false);
    yard_close(&y);
}

static void s13_an_event_that_is_gone_is_fired_again_if_that_is_wanted(void **state)
{
    skip_mute(state);
    yard y = yard_open(state, SOON "&max_stream_length=1");
    char id[64];
    fire(&y, "a.x", 7);
    refuse(&y, "tests-g", "a", 1);
    for (int i = 0; i < 300; i++) /* what is trimmed is trimmed in blocks */
        fire(&y, "a.y", i);
    replay(&y, 0, LB_GONE);
    lb_history *h = letters(&y, NULL, NULL, NULL, 0);
    snprintf(id, sizeof id, "%s", lb_event_id(next_of(h)));
    lb_history_close(h);
    void *others = listen_as(&y, "tests-h", "a", "x"), *g = listen_as(&y, "tests-g", "a", "x");
    replay(&y, LB_REPLAY_FIRE, LB_OK);
    expect(&y, NULL, 0, "");
    lb_event_message first = take(&y, g), second = take(&y, others);
    assert_int_equal(number_of(&first), 7);
    assert_int_equal(number_of(&second), 7);
    assert_true(is(first.id, id) && is(second.id, id));
    y.t->unlisten(g, false);
    y.t->unlisten(others, false);
    yard_close(&y);
}

/* What was in hand is kept as it was understood, though its stream has let it go. */
static void s13_an_event_that_is_trimmed_in_hand_is_a_whole_letter(void **state)
{
    skip_mute(state);
    yard y = yard_open(state, SOON "&max_stream_length=1");
    void *g = listen_as(&y, "tests-g", "a", "x");
    lb_error error = {0};
    fire(&y, "a.x", 7);
    lb_event_message m = take(&y, g);
    for (int i = 0; i < 300; i++)
        fire(&y, "a.y", i);
    assert_ok(y.t->dead_letter(g, &m, "too late", &error), &error);
    lb_history *h = letters(&y, NULL, NULL, NULL, 0);
    const lb_event *letter = next_of(h);
    assert_null(lb_history_problem(h));
    assert_int_equal(lb_get_int(letter, "n"), 7);
    assert_string_equal(lb_event_dead_reason(letter), "too late");
    assert_string_equal(lb_event_name(letter), "x");
    assert_int_equal(lb_event_version(letter), 1);
    assert_ok(lb_dead_letter_replay(h, LB_REPLAY_FIRE, &error), &error);
    lb_history_close(h);
    m = take(&y, g);
    assert_int_equal(number_of(&m), 7);
    expect(&y, NULL, 0, "");
    y.t->unlisten(g, false);
    yard_close(&y);
}

static void s13_a_group_that_is_gone_gets_nothing(void **state)
{
    skip_mute(state);
    yard y = yard_open(state, "");
    fire(&y, "a.x", 1);
    void *g = listen_as(&y, "tests-g", "a", "x");
    bury(&y, g, 1);
    y.t->unlisten(g, true);
    replay(&y, LB_REPLAY_FIRE, LB_GONE);
    expect(&y, NULL, 0, "1");
    yard_close(&y);
}

static int replay_all(void *data)
{
    const yard *y = data;
    lb_error error = {0};
    lb_history *h = letters(y, NULL, NULL, NULL, LB_HISTORY_OLDEST_FIRST);
    while (next_of(h))
        assert_ok(lb_dead_letter_replay(h, 0, &error), &error);
    lb_history_close(h);
    return 0;
}

static int count_letters(const yard *y)
{
    int count = 0;
    lb_history *h = letters(y, NULL, NULL, NULL, 0);
    while (next_of(h))
        count++;
    lb_history_close(h);
    return count;
}

/* Whoever replays is killed at any point: each event is a letter or its group's, and never both or neither. */
static void s13_a_replay_is_whole_or_nothing(void **state)
{
    enum { COUNT = 200 };
    skip_mute(state);
    skip_without((medium *)*state, NO_PROCESSES);
    yard y = yard_open(state, SOON);
    void *g = listen_as(&y, "tests-g", "a", "x");
    bool came[COUNT] = {false};
    for (int i = 0; i < COUNT; i++)
        fire(&y, "a.x", i);
    bury(&y, g, COUNT);
    pid_t child = child_start(replay_all, &y);
    wait_until(count_letters(&y) < COUNT, 10000);
    child_kill(child, SIGKILL);
    child_wait(child, PATIENCE_MS);
    /* LMDB's readers see what a writer committed that was killed in that moment when the next one writes. */
    y.t->unlisten(listen_as(&y, "tests-h", "a", "x"), true);
    int left = count_letters(&y);
    for (int i = 0; i < COUNT - left; i++) {
        lb_event_message m = take(&y, g);
        assert_false(came[number_of(&m)]);
        came[number_of(&m)] = true;
        acknowledge(&y, g, &m);
    }
    expect_nothing(&y, g);
    y.t->unlisten(g, false);
    yard_close(&y);
}

/* ---- Purge ------------------------------------------------------------------------------------------ */

static void expect_lag(const yard *y, int dead)
{
    lb_value *lag = NULL;
    lb_error error = {0};
    assert_ok(lb_lag(y->bus, "a.x", "tests-g", &lag, &error), &error);
    assert_int_equal(lb_value_int(lb_value_get(lb_value_at(lag, 0), "dead_letters")), dead);
    lb_value_free(lag);
    assert_ok(lb_streams(y->bus, "a.x", &lag, &error), &error);
    assert_int_equal(lb_value_int(lb_value_get(lb_value_at(lag, 0), "dead_letters")), dead);
    lb_value_free(lag);
}

static void s13_purged_letters_are_gone_and_counted_no_more(void **state)
{
    static const struct {
        int n;
        const char *left;
    } rows[] = {{3, "1245"}, {5, "124"}, {1, "24"}, {4, "2"}, {2, ""}};
    skip_mute(state);
    yard y = yard_open(state, "");
    lb_error error = {0};
    for (int i = 1; i <= 6; i++)
        fire(&y, "a.x", i);
    refuse(&y, "tests-g", "a", 5);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lb_history *h = letters(&y, "a.*", NULL, NULL, 0);
        const lb_event *event = next_of(h);
        while (lb_get_int(event, "n") != rows[i].n)
            event = next_of(h);
        for (int twice = 0; twice < 2; twice++)
            assert_ok(lb_dead_letter_purge(h, &error), &error);
        lb_history_close(h);
        expect(&y, NULL, LB_HISTORY_OLDEST_FIRST, rows[i].left);
        expect_lag(&y, (int)strlen(rows[i].left));
    }
    refuse(&y, "tests-g", "a", 1);
    expect(&y, NULL, 0, "6");
    expect_lag(&y, 1);
    yard_close(&y);
}

static void wrong_use_is_refused(void **state)
{
    skip_mute(state);
    yard y = yard_open(state, "");
    lb_error error = {0};
    fire(&y, "a.x", 1);
    refuse(&y, "tests-g", "a", 1);
    lb_history *stored = open_history(y.bus, "a.*", NULL, NULL, true);
    assert_status(lb_dead_letter_purge(stored, &error), LB_USAGE, &error);
    assert_non_null(next_of(stored));
    assert_status(lb_dead_letter_purge(stored, &error), LB_USAGE, &error);
    assert_status(lb_dead_letter_replay(stored, 0, &error), LB_USAGE, &error);
    lb_history_close(stored);
    lb_history *h = first_letter(&y);
    assert_status(lb_dead_letter_replay(h, 2, &error), LB_CONFIG, &error);
    assert_null(next_of(h));
    assert_status(lb_dead_letter_replay(h, 0, &error), LB_USAGE, &error);
    lb_history_close(h);
    assert_null(lb_history_open(y.bus, NULL, NULL, &error)); /* all is for dead letters alone */
    assert_int_equal(error.status, LB_INVALID_NAME);
    expect(&y, NULL, 0, "1");
    yard_close(&y);
}

int run_dead_letter_rules(void)
{
    const struct CMUnitTest tests[] = {
        medium_test(s13_dead_letters_tell_whose_they_are_and_why),
        medium_test(s13_dead_letters_are_given_in_the_order_of_when_they_died),
        medium_test(s13_dead_letters_of_streams_per_event_are_found),
        medium_test(s13_a_dead_letter_is_found_by_its_id),
        medium_test(s13_later_dead_letters_are_found_by_a_history_that_waits),
        medium_test(s13_replay_reaches_the_group_that_gave_up_and_no_other),
        medium_test(s13_a_replayed_event_may_be_given_up_again),
        medium_test(s13_a_letter_is_replayed_once),
        medium_test(s13_an_event_that_is_gone_is_fired_again_if_that_is_wanted),
        medium_test(s13_an_event_that_is_trimmed_in_hand_is_a_whole_letter),
        medium_test(s13_a_group_that_is_gone_gets_nothing),
        medium_test(s13_a_replay_is_whole_or_nothing),
        medium_test(s13_purged_letters_are_gone_and_counted_no_more),
        medium_test(wrong_use_is_refused),
    };
    return cmocka_run_group_tests_name("dead letters", tests, NULL, NULL);
}
