/* Counters and histograms of the plugin internal_state. */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "plugins/statistics.h"

static lb_value *written(statistics *s)
{
    buffer out = {0};
    lb_value *value = NULL;
    lb_error error = {0};

    statistics_write(s, &out);
    assert_false(out.failed);
    assert_ok(lb_value_parse(out.data, out.size, &value, &error), &error);
    buffer_free(&out);
    return value;
}

static void assert_written(statistics *s, const char *expected)
{
    buffer out = {0};

    statistics_write(s, &out);
    assert_string_equal(buffer_text(&out), expected);
    buffer_free(&out);
}

static void what_was_not_seen_is_not_there(void **state)
{
    (void)state;
    statistics s;

    statistics_init(&s);
    assert_written(&s, "{\"rpcs\":{},\"events\":{}}");
    statistics_free(&s);
}

static void calls_and_events_are_counted_apart(void **state)
{
    (void)state;
    statistics s;

    statistics_init(&s);
    statistics_rpc(&s, "auth", "check", 0.25, false);
    statistics_rpc(&s, "auth", "check", 0.5, true);
    statistics_fired(&s, "auth", "check");
    statistics_fired(&s, "auth", "check");
    statistics_handled(&s, "auth", "check", 0, false);
    statistics_handled(&s, "auth", "check", -1, true); /* a clock that runs backwards */
    assert_written(&s, "{\"rpcs\":{\"auth.check\":{\"calls\":2,\"errors\":1,\"busy\":0.75,"
                       "\"latency\":[[0.268435456,1],[0.536870912,1]]}},"
                       "\"events\":{\"auth.check\":{\"fired\":2,\"handled\":1,\"failed\":1,"
                       "\"latency\":[[0.000001024,2]]}}}");
    statistics_free(&s);
}

/* The range that holds a duration ends at it or above, and at most a quarter above. */
static void ranges_are_narrow(void **state)
{
    (void)state;

    for (double seconds = 1.1e-6; seconds < 5000; seconds *= 1.037) {
        statistics s;
        statistics_init(&s);
        statistics_rpc(&s, "a", "b", seconds, false);
        lb_value *value = written(&s);
        const lb_value *latency = lb_value_get(lb_value_get(lb_value_get(value, "rpcs"), "a.b"), "latency");
        assert_int_equal(lb_value_count(latency), 1);
        double bound = lb_value_float(lb_value_at(lb_value_at(latency, 0), 0));
        if (bound < seconds * 0.999999 || bound > seconds * 1.2500001)
            fail_msg("%g s is in the range up to %g s", seconds, bound);
        lb_value_free(value);
        statistics_free(&s);
    }
}

static void the_last_range_has_no_end(void **state)
{
    (void)state;
    statistics s;

    statistics_init(&s);
    statistics_rpc(&s, "a", "b", 1e9, false);
    statistics_rpc(&s, "a", "b", 1e6, false);
    lb_value *value = written(&s);
    const lb_value *latency = lb_value_get(lb_value_get(lb_value_get(value, "rpcs"), "a.b"), "latency");
    assert_int_equal(lb_value_count(latency), 1);
    assert_int_equal(lb_value_int(lb_value_at(lb_value_at(latency, 0), 1)), 2);
    lb_value_free(value);
    statistics_free(&s);
}

static void names_are_bounded(void **state)
{
    (void)state;
    statistics s;
    char name[700];

    statistics_init(&s);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    statistics_fired(&s, "a", name);
    assert_int_equal(s.events.count, 0);
    for (int i = 0; i < 10100; i++) {
        snprintf(name, sizeof name, "n%d", i);
        statistics_fired(&s, "a", name);
    }
    assert_int_equal(s.events.count, 10000);
    statistics_free(&s);
}

static void *count_often(void *data)
{
    char name[16];

    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "n%d", i % 50);
        statistics_rpc(data, "a", name, 1e-5, i % 2);
    }
    return NULL;
}

static void many_threads_count(void **state)
{
    (void)state;
    statistics s;
    pthread_t threads[4];
    int64_t calls = 0, errors = 0;

    statistics_init(&s);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_often, &s), 0);
    for (int i = 0; i < 10; i++)
        lb_value_free(written(&s)); /* meanwhile */
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    lb_value *value = written(&s);
    lb_value_iterator it = lb_value_iterate(lb_value_get(value, "rpcs"));
    while (lb_value_next(&it)) {
        calls += lb_value_int(lb_value_get(it.value, "calls"));
        errors += lb_value_int(lb_value_get(it.value, "errors"));
    }
    assert_int_equal(calls, 20000);
    assert_int_equal(errors, 10000);
    lb_value_free(value);
    statistics_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_seen_is_not_there),
        cmocka_unit_test(calls_and_events_are_counted_apart),
        cmocka_unit_test(ranges_are_narrow),
        cmocka_unit_test(the_last_range_has_no_end),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(many_threads_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
