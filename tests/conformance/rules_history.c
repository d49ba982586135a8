/* Rules of what is stored, through lb_history and lb_lag: for transports that can tell. */
#include "conformance.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"

static const lb_member members[] = {LB_EVENT("x(n: int)"), LB_EVENT("y(n: int)"), LB_END};
static const lb_api apis[] = {{.name = "a", .members = members},
                              {.name = "a.sub", .members = members},
                              {.name = "b", .members = members}};

static bool can_tell(const medium *m) { return m->kind->transport->event->history != NULL; }
#define skip_mute(m)                                                                                           \
    do {                                                                                                       \
        if (!can_tell(m))                                                                                      \
            skip();                                                                                            \
    } while (0)

static lb_bus *open_bus(const medium *m, const char *options)
{
    lb_error error = {0};
    lb_bus *bus = client_open(medium_url(m, options), 5000);
    for (size_t i = 0; i < sizeof apis / sizeof *apis; i++)
        assert_ok(lb_register(bus, &apis[i], NULL, &error), &error);
    return bus;
}

static void fire(lb_bus *bus, const char *name, int n)
{
    lb_error error = {0};
    assert_ok(lb_fire(bus, name, LB_ARGS(LB("n", n)), &error), &error);
    sleep_ms(2); /* events of several streams are in order by their time, in milliseconds */
}

/* The n of all that the history gives, a digit each. */
static void expect(lb_history *h, const char *digits)
{
    char got[64] = "";
    for (const lb_event *event; (event = next_of(h));)
        got[strlen(got)] = (char)('0' + lb_get_int(event, "n"));
    assert_string_equal(got, digits);
}

static void expect_all(lb_bus *bus, const char *events, const char *from, const char *to, bool oldest_first,
                       const char *digits)
{
    lb_history *h = open_history(bus, events, from, to, oldest_first);
    expect(h, digits);
    lb_history_close(h);
}

static void a_transport_that_cannot_tell_says_so(void **state)
{
    const medium *m = *state;
    lb_error error = {0};
    lb_value *lag = NULL;
    if (can_tell(m))
        skip();
    lb_bus *bus = open_bus(m, "");
    assert_null(lb_history_open(bus, "a.x", NULL, &error));
    assert_int_equal(error.status, LB_UNSUPPORTED);
    assert_status(lb_lag(bus, "a.x", NULL, &lag, &error), LB_UNSUPPORTED, &error);
    assert_status(lb_streams(bus, "a.x", &lag, &error), LB_UNSUPPORTED, &error);
    lb_close(bus);
}

static void many_in_both_orders(void **state)
{
    enum { COUNT = 6000 };
    skip_mute((medium *)*state);
    lb_error error = {0};
    lb_bus *bus = open_bus(*state, "");
    lb_pending *fires[COUNT];
    for (int i = 0; i < COUNT; i++)
        fires[i] = lb_fire_begin(bus, i % 3 ? "a.x" : "a.y", LB_ARGS(LB("n", i)), &error);
    for (int i = 0; i < COUNT; i++)
        assert_ok(lb_fire_end(fires[i], &error), &error);
    for (int oldest_first = 0; oldest_first < 2; oldest_first++) {
        lb_history *h = open_history(bus, "a.*", NULL, NULL, oldest_first);
        for (int i = 0; i < COUNT; i++) {
            const lb_event *event = next_of(h);
            assert_non_null(event);
            assert_int_equal(lb_get_int(event, "n"), oldest_first ? i : COUNT - 1 - i);
        }
        assert_null(next_of(h));
        lb_history_close(h);
        h = open_history(bus, "a.y", NULL, NULL, oldest_first);
        for (int i = 0; i < COUNT / 3; i++)
            assert_int_equal(lb_get_int(next_of(h), "n"), oldest_first ? i * 3 : COUNT - 3 - i * 3);
        assert_null(next_of(h));
        lb_history_close(h);
    }
    lb_close(bus);
}

static void check_merging(lb_bus *bus)
{
    fire(bus, "a.x", 1);
    fire(bus, "b.x", 2);
    fire(bus, "a.sub.x", 3);
    fire(bus, "b.y", 4);
    fire(bus, "a.y", 5);
    fire(bus, "a.x", 6);
    expect_all(bus, "a.* b.* a.sub.*", NULL, NULL, false, "654321");
    expect_all(bus, "a.* b.* a.sub.*", NULL, NULL, true, "123456");
    expect_all(bus, "a.*", NULL, NULL, false, "651");
    expect_all(bus, "a.*, a.x a.y", NULL, NULL, false, "651");
    expect_all(bus, "a.x b.y", NULL, NULL, true, "146");
    expect_all(bus, "a.sub.*", NULL, NULL, true, "3");
    expect_all(bus, "a.z c.*", NULL, NULL, true, "");
}

static void several_apis_are_merged(void **state)
{
    skip_mute((medium *)*state);
    lb_bus *bus = open_bus(*state, "");
    check_merging(bus);
    lb_close(bus);
}

static void streams_per_event_are_merged(void **state)
{
    skip_mute((medium *)*state);
    lb_bus *bus = open_bus(*state, "stream_use=per_event");
    check_merging(bus);
    lb_close(bus);
}

static void bounds_are_included(void **state)
{
    skip_mute((medium *)*state);
    char ids[5][64], ms[64];
    lb_bus *bus = open_bus(*state, "");
    for (int i = 0; i < 5; i++)
        fire(bus, i % 2 ? "b.x" : "a.x", i);
    lb_history *h = open_history(bus, "a.* b.*", NULL, NULL, true);
    for (int i = 0; i < 5; i++)
        snprintf(ids[i], sizeof ids[i], "%s", lb_event_native_id(next_of(h)));
    lb_history_close(h);
    expect_all(bus, "a.* b.*", ids[1], ids[3], true, "123");
    expect_all(bus, "a.* b.*", ids[1], ids[3], false, "321");
    expect_all(bus, "a.*", ids[2], ids[2], false, "2");
    expect_all(bus, "a.* b.*", ids[3], ids[1], false, "");
    snprintf(ms, sizeof ms, "%.*s", (int)strcspn(ids[3], "-"), ids[3]);
    expect_all(bus, "a.* b.*", ms, NULL, true, "34");
    expect_all(bus, "a.* b.*", NULL, ms, true, "0123"); /* all of that millisecond */
    expect_all(bus, "a.* b.*", "2020-01-01", "2020-01-02T12:00:00+01:00", true, "");
    expect_all(bus, "a.* b.*", "2020-01-01", NULL, false, "43210");
    expect_all(bus, "a.* b.*", NULL, "2020-01-01", true, "");
    lb_close(bus);
}

/* A time to come: until then nothing is given, and then what is fired. */
static void from_may_be_to_come(void **state)
{
    skip_mute((medium *)*state);
    char from[32];
    struct timespec now;
    lb_bus *bus = open_bus(*state, "");
    fire(bus, "a.x", 1);
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t until = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + 300;
    snprintf(from, sizeof from, "%lld", (long long)until);
    lb_history *h = open_history(bus, "a.*", from, NULL, true);
    expect(h, "");
    fire(bus, "a.x", 2);
    expect(h, "");
    do {
        sleep_ms(20);
        clock_gettime(CLOCK_REALTIME, &now);
    } while ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 <= until);
    fire(bus, "a.x", 3);
    expect(h, "3");
    lb_history_close(h);
    lb_close(bus);
}

static void wrong_bounds_are_refused(void **state)
{
    skip_mute((medium *)*state);
    static const lb_history_options rows[] = {
        {"noon", NULL, 0}, {NULL, "1-2-3", 0}, {NULL, "$", 0}, {"$", NULL, 0}, {NULL, NULL, 8}};
    lb_bus *bus = open_bus(*state, "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lb_error error = {0};
        assert_null(lb_history_open(bus, "a.x", &rows[i], &error));
        assert_int_equal(error.status, LB_CONFIG);
    }
    lb_close(bus);
}

static void what_comes_later_is_found(void **state)
{
    skip_mute((medium *)*state);
    lb_bus *bus = open_bus(*state, ""), *other = open_bus(*state, "");
    fire(other, "a.x", 1);
    lb_history *all = open_history(bus, "a.* b.*", NULL, NULL, true);
    lb_history *new = open_history(bus, "a.* b.*", "$", NULL, true);
    lb_history *old = open_history(bus, "a.* b.*", NULL, NULL, false);
    expect(all, "1");
    expect(new, "");
    expect(old, "1");
    fire(other, "b.x", 2);
    fire(other, "a.x", 3);
    expect(all, "23");
    expect(new, "23");
    expect(old, "");
    fire(other, "a.y", 4);
    expect(new, "4");
    expect(all, "4");
    lb_history_close(all);
    lb_history_close(new);
    lb_history_close(old);
    lb_close(other);
    lb_close(bus);
}

static int count_in_a_child(void *data)
{
    int count = 0;
    while (next_of(data))
        count++;
    return count;
}

static void a_child_reads_on_by_itself(void **state)
{
    skip_mute((medium *)*state);
    skip_without((medium *)*state, NO_PROCESSES);
    lb_bus *bus = open_bus(*state, "");
    for (int i = 0; i < 5; i++)
        fire(bus, "a.x", i);
    lb_history *h = open_history(bus, "a.*", NULL, NULL, true);
    assert_int_equal(child_wait(child_start_with_handle(count_in_a_child, h), PATIENCE_MS), 5);
    assert_int_equal(count_in_a_child(h), 5);
    lb_history_close(h);
    lb_close(bus);
}

/* One group's lag, as numbers. */
static void expect_lag(lb_bus *bus, const char *events, const char *group, int undelivered, int pending,
                       int dead)
{
    lb_value *lag = NULL;
    lb_error error = {0};
    assert_ok(lb_lag(bus, events, group, &lag, &error), &error);
    assert_int_equal(lb_value_count(lag), 1);
    const lb_value *row = lb_value_at(lag, 0);
    assert_string_equal(lb_value_str(lb_value_get(row, "group")), group);
    assert_string_equal(lb_value_str(lb_value_get(row, "api")), "a");
    assert_string_equal(lb_value_str(lb_value_get(row, "event")), "*");
    assert_int_equal(lb_value_int(lb_value_get(row, "undelivered")), undelivered);
    assert_int_equal(lb_value_int(lb_value_get(row, "pending")), pending);
    assert_int_equal(lb_value_int(lb_value_get(row, "dead_letters")), dead);
    assert_non_null(lb_value_get(row, "consumers"));
    lb_value_free(lag);
}

static void lag_counts_undelivered_pending_and_dead(void **state)
{
    const medium *m = *state;
    skip_mute(m);
    const lb_event_transport *t = m->kind->transport->event;
    const lb_slice api = {"a", 1}, event = {"*", 1};
    const lb_listener_config config = {"tests-l", "p", &api, &event, 1, "0", false, 0};
    const lb_event_message *events, *first, *second;
    void *self = instance_open(m, "", "p"), *listener = NULL;
    lb_error error = {0};
    size_t count;
    lb_value *none = NULL;
    lb_bus *bus = open_bus(m, "");
    for (int i = 0; i < 5; i++)
        fire(bus, "a.x", i);
    assert_ok(lb_lag(bus, "a.x", NULL, &none, &error), &error);
    assert_int_equal(lb_value_count(none), 0);
    lb_value_free(none);
    assert_ok(t->listen(self, &config, clock_in_ms(5000), &listener, &error), &error);
    expect_lag(bus, "a.*", "tests-l", 5, 0, 0);
    assert_ok(t->fetch(listener, 3, clock_in_ms(5000), &events, &count, &error), &error);
    assert_int_equal(count, 3);
    expect_lag(bus, "a.x a.y", "tests-l", 2, 3, 0);
    first = &events[0];
    second = &events[1];
    assert_ok(t->acknowledge(listener, &first, 1, &error), &error);
    assert_ok(t->dead_letter(listener, second, "no good", &error), &error);
    assert_ok(t->flush(listener, clock_in_ms(5000), &error), &error);
    expect_lag(bus, "a.*", "tests-l", 2, 1, 1);
    t->unlisten(listener, false);
    instance_close(m, self);
    lb_close(bus);
}

static void streams_tell_what_is_stored_and_who_listens(void **state)
{
    const medium *m = *state;
    skip_mute(m);
    const lb_event_transport *t = m->kind->transport->event;
    const lb_slice api = {"a", 1}, event = {"*", 1};
    const lb_listener_config config = {"tests-l", "p", &api, &event, 1, "0", false, 0};
    void *self = instance_open(m, "", "p"), *listener = NULL;
    lb_error error = {0};
    lb_value *streams = NULL;
    lb_bus *bus = open_bus(m, "");
    for (int i = 0; i < 5; i++)
        fire(bus, i % 2 ? "a.y" : "a.x", i);
    for (int groups = 0; groups < 2; groups++) {
        assert_ok(lb_streams(bus, "a.* b.* a.x", &streams, &error), &error);
        assert_int_equal(lb_value_count(streams), 1);
        const lb_value *row = lb_value_at(streams, 0), *list = lb_value_get(row, "groups");
        assert_string_equal(lb_value_str(lb_value_get(row, "api")), "a");
        assert_string_equal(lb_value_str(lb_value_get(row, "event")), "*");
        assert_int_equal(lb_value_int(lb_value_get(row, "stored")), 5);
        assert_int_equal(lb_value_int(lb_value_get(row, "fired")), 5);
        assert_int_equal(lb_value_int(lb_value_get(row, "dead_letters")), 0);
        assert_int_equal(lb_value_count(list), groups);
        if (groups) {
            assert_string_equal(lb_value_str(lb_value_get(lb_value_at(list, 0), "group")), "tests-l");
            assert_int_equal(lb_value_int(lb_value_get(lb_value_at(list, 0), "undelivered")), 5);
            assert_int_equal(lb_value_int(lb_value_get(lb_value_at(list, 0), "pending")), 0);
        } else {
            assert_ok(t->listen(self, &config, clock_in_ms(5000), &listener, &error), &error);
        }
        lb_value_free(streams);
    }
    t->unlisten(listener, false);
    instance_close(m, self);
    lb_close(bus);
}

static void who_listens_is_told_before_anything_is_fired(void **state)
{
    const medium *m = *state;
    skip_mute(m);
    const lb_event_transport *t = m->kind->transport->event;
    const lb_slice api = {"a", 1}, event = {"*", 1};
    const lb_listener_config config = {"tests-l", "p", &api, &event, 1, "$", false, 0};
    void *self = instance_open(m, "", "p"), *listener = NULL;
    lb_error error = {0};
    lb_value *streams = NULL;
    lb_bus *bus = open_bus(m, "");
    assert_ok(t->listen(self, &config, clock_in_ms(5000), &listener, &error), &error);
    assert_ok(lb_streams(bus, "a.*", &streams, &error), &error);
    const lb_value *row = lb_value_at(streams, 0);
    assert_int_equal(lb_value_int(lb_value_get(row, "stored")), 0);
    assert_int_equal(lb_value_count(lb_value_get(row, "groups")), 1);
    lb_value_free(streams);
    t->unlisten(listener, false);
    instance_close(m, self);
    lb_close(bus);
}

int run_history_rules(void)
{
    const struct CMUnitTest tests[] = {
        medium_test(a_transport_that_cannot_tell_says_so),
        medium_test(many_in_both_orders),
        medium_test(several_apis_are_merged),
        medium_test(streams_per_event_are_merged),
        medium_test(bounds_are_included),
        medium_test(from_may_be_to_come),
        medium_test(wrong_bounds_are_refused),
        medium_test(what_comes_later_is_found),
        medium_test(a_child_reads_on_by_itself),
        medium_test(lag_counts_undelivered_pending_and_dead),
        medium_test(streams_tell_what_is_stored_and_who_listens),
        medium_test(who_listens_is_told_before_anything_is_fired),
    };
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
