/* Schedules: expressions that are read and refused, and the times that match, clocks put forward and back
 * included. */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bus/cron.h"

/* ---- Helpers ---------------------------------------------------------------------------------------- */

static cron parse(const char *expression)
{
    cron c;
    lb_error error = {0};

    assert_ok(cron_parse(expression, &c, &error), &error);
    return c;
}

/* "2026-11-22T16:58:06Z" or with an offset, as seconds since 1970. */
static int64_t at(const char *text)
{
    lb_datetime datetime;
    lb_error error = {0};

    assert_ok(lb_datetime_parse(text, &datetime, &error), &error);
    return lb_datetime_unix_us(datetime) / 1000000;
}

static void in_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

#define NEW_YORK  "EST5EDT,M3.2.0,M11.1.0"
#define LORD_HOWE "LHST-10:30LHDT-11,M10.1.0,M4.1.0" /* half an hour */

/* The times that follow on each other after `from`; the last one is NULL. */
static void assert_times(const char *expression, bool utc, const char *from, ...)
{
    cron c = parse(expression);
    int64_t after = at(from);
    const char *expected;
    va_list list;

    va_start(list, from);
    while ((expected = va_arg(list, const char *))) {
        int64_t next;
        char text[LB_DATETIME_TEXT];
        assert_true(cron_next(&c, utc, after, &next));
        if (next != at(expected))
            fail_msg("%s after %s: expected %s, got %s", expression, from, expected,
                     lb_datetime_text(lb_datetime_from_unix_us(next * 1000000), text));
        after = next;
    }
    va_end(list);
}
#define assert_utc(expression, from, ...)   assert_times(expression, true, from, __VA_ARGS__, NULL)
#define assert_local(expression, from, ...) assert_times(expression, false, from, __VA_ARGS__, NULL)

static void assert_refused(const char *expression, const char *message)
{
    cron c;
    lb_error error = {0};

    assert_int_equal(cron_parse(expression, &c, &error), LB_CONFIG);
    assert_string_equal(error.message, message);
}

/* ---- Expressions ------------------------------------------------------------------------------------ */

static void fields_are_numbers_ranges_steps_lists_and_names(void **state)
{
    (void)state;

    assert_utc("* * * * *", "2026-11-22T16:58:06Z", "2026-11-22T16:59:00Z", "2026-11-22T17:00:00Z");
    assert_utc("*/20 * * * *", "2026-11-22T23:30:00Z", "2026-11-22T23:40:00Z", "2026-11-23T00:00:00Z");
    assert_utc("5/20 3 * * *", "2026-11-22T16:00:00Z", "2026-11-23T03:05:00Z", "2026-11-23T03:25:00Z",
               "2026-11-23T03:45:00Z", "2026-11-24T03:05:00Z");
    assert_utc("10-30/10,59 4 * * *", "2026-11-22T04:09:59Z", "2026-11-22T04:10:00Z", "2026-11-22T04:20:00Z",
               "2026-11-22T04:30:00Z", "2026-11-22T04:59:00Z", "2026-11-23T04:10:00Z");
    assert_utc("0 0 1 jan,JUL *", "2026-11-22T00:00:00Z", "2027-01-01T00:00:00Z", "2027-07-01T00:00:00Z");
    assert_utc("0 9 * * mon-fri", "2026-11-20T10:00:00Z", "2026-11-23T09:00:00Z"); /* over a weekend */
    assert_utc("0 9 * * fri-sun", "2026-11-20T10:00:00Z", "2026-11-21T09:00:00Z", "2026-11-22T09:00:00Z",
               "2026-11-27T09:00:00Z");
    assert_utc("0 9 * * 7", "2026-11-20T10:00:00Z", "2026-11-22T09:00:00Z", "2026-11-29T09:00:00Z");
    assert_utc("0 9 * * 0", "2026-11-20T10:00:00Z", "2026-11-22T09:00:00Z");
    assert_utc(" 0\t9  * * *  ", "2026-11-20T10:00:00Z", "2026-11-21T09:00:00Z");
}

static void words_stand_for_expressions(void **state)
{
    (void)state;

    assert_utc("@hourly", "2026-12-31T23:30:00Z", "2027-01-01T00:00:00Z", "2027-01-01T01:00:00Z");
    assert_utc("@daily", "2026-12-31T23:30:00Z", "2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z");
    assert_utc("@weekly", "2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z");
    assert_utc("@Monthly", "2026-11-20T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_utc("@yearly", "2026-11-20T00:00:00Z", "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z");
}

static void either_day_counts_when_both_are_named(void **state)
{
    (void)state;

    assert_utc("0 0 13 * fri", "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z",
               "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z",
               "2026-12-13T00:00:00Z"); /* a Sunday */
    assert_utc("0 0 */2 * sun", "2026-11-01T00:00:00Z", "2026-11-15T00:00:00Z", "2026-11-29T00:00:00Z");
}

static void rare_days_are_found(void **state)
{
    (void)state;

    assert_utc("0 12 29 2 *", "2026-11-22T00:00:00Z", "2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z");
    assert_utc("0 12 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T12:00:00Z"); /* 2100 has none */
    assert_utc("0 12 29 2 */7", "2026-11-22T00:00:00Z", "2032-02-29T12:00:00Z", "2060-02-29T12:00:00Z");
    assert_utc("59 23 31 12 *", "2026-12-31T23:58:59Z", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z");
    assert_utc("0 0 31 * *", "2026-08-31T00:00:00Z", "2026-10-31T00:00:00Z", "2026-12-31T00:00:00Z");
    assert_utc("30 6 1 3 *", "1900-03-01T06:30:00Z", "1901-03-01T06:30:00Z");
}

static void malformed_expressions_are_refused_with_their_place(void **state)
{
    (void)state;

    assert_refused(
        "", "schedule \"\": expected five fields (minute, hour, day of the month, month, day of the week), "
            "the minute is missing");
    assert_refused("* * * *",
                   "schedule \"* * * *\": expected five fields (minute, hour, day of the month, month, day of "
                   "the week), the day of the week is missing");
    assert_refused("* * * * * *", "schedule \"* * * * * *\": expected the end after five fields, got \"*\"");
    assert_refused("60 * * * *", "schedule \"60 * * * *\": minute: expected 0 to 59 at \"60\" (column 1)");
    assert_refused("* 24 * * *", "schedule \"* 24 * * *\": hour: expected 0 to 23 at \"24\" (column 3)");
    assert_refused("* * 0 * *",
                   "schedule \"* * 0 * *\": day of the month: expected 1 to 31 at \"0\" (column 5)");
    assert_refused(
        "* * * foo *",
        "schedule \"* * * foo *\": month: expected 1 to 12 or a name, jan to dec at \"foo\" (column 7)");
    assert_refused("* * * * mond", "schedule \"* * * * mond\": day of the week: expected 0 to 7 or a name, sun "
                                   "to sat at \"mond\" (column 9)");
    assert_refused("* * * * 1,",
                   "schedule \"* * * * 1,\": day of the week: expected 0 to 7 or a name, sun to sat at "
                   "\"\" (column 11)");
    assert_refused("5-3 * * * *",
                   "schedule \"5-3 * * * *\": minute: expected a range that goes up at \"5-3\" (column 1)");
    assert_refused("*/0 * * * *",
                   "schedule \"*/0 * * * *\": minute: expected a step of at least 1 at \"0\" (column 3)");
    assert_refused("*/ * * * *",
                   "schedule \"*/ * * * *\": minute: expected a step of at least 1 at \"\" (column 3)");
    assert_refused(
        "*5 * * * *",
        "schedule \"*5 * * * *\": minute: expected \",\", \"-\", \"/\" or the end at \"5\" (column 2)");
    assert_refused("-5 * * * *", "schedule \"-5 * * * *\": minute: expected 0 to 59 at \"-5\" (column 1)");
    assert_refused(
        "99999999999999999999 * * * *",
        "schedule \"99999999999999999999 * * * *\": minute: expected 0 to 59 at \"99999999999999999999\" "
        "(column 1)");
    assert_refused("0 0 30 2 *", "schedule \"0 0 30 2 *\": no such month has such a day");
    assert_refused("0 0 31 4,6,9,11 *", "schedule \"0 0 31 4,6,9,11 *\": no such month has such a day");
    assert_refused("@dayly", "schedule \"@dayly\": there is no such word; did you mean \"@daily\"?");
    assert_refused("@reboot",
                   "schedule \"@reboot\": there is no such word; there are @hourly, @daily, @weekly, "
                   "@monthly and @yearly");
    assert_refused(NULL, "schedule: expected an expression, got NULL");
}

/* ---- Clocks that are put forward and back ----------------------------------------------------------- */

static void local_time_is_that_of_the_zone(void **state)
{
    (void)state;

    in_zone(NEW_YORK);
    assert_local("0 9 * * *", "2026-01-10T00:00:00Z", "2026-01-10T14:00:00Z", "2026-01-11T14:00:00Z");
    assert_local("0 9 * * *", "2026-07-10T00:00:00Z", "2026-07-10T13:00:00Z");
    assert_utc("0 9 * * *", "2026-07-10T00:00:00Z", "2026-07-10T09:00:00Z");
    assert_local("0 20 31 12 *", "2026-11-10T00:00:00Z", "2027-01-01T01:00:00Z"); /* another year in UTC */
}

/* 2026-03-08: 02:00 EST is 03:00 EDT, 07:00 UTC. */
static void a_time_that_is_skipped_counts_when_the_clock_is_put_forward(void **state)
{
    (void)state;

    in_zone(NEW_YORK);
    assert_local("30 2 * * *", "2026-03-07T12:00:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z");
    assert_local("30 2 * * *", "2026-03-08T06:59:30Z", "2026-03-08T07:00:00Z"); /* the last minute before */
    assert_local("30 2,3 * * *", "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z", "2026-03-08T07:30:00Z");
    assert_local("15,45 2 * * *", "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z",
                 "2026-03-09T06:15:00Z"); /* both are that moment: once */
    assert_local("*/30 * * * *", "2026-03-08T06:00:00Z", "2026-03-08T06:30:00Z", "2026-03-08T07:00:00Z",
                 "2026-03-08T07:30:00Z");
}

/* 2026-11-01: 02:00 EDT is 01:00 EST, 06:00 UTC. */
static void a_time_that_comes_twice_counts_once(void **state)
{
    (void)state;

    in_zone(NEW_YORK);
    assert_local("30 1 * * *", "2026-11-01T00:00:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z");
    assert_local("30 1 * * *", "2026-11-01T06:10:00Z", "2026-11-02T06:30:00Z"); /* asked in the second hour */
    assert_local("0,30 0-2 * * *", "2026-11-01T04:10:00Z", "2026-11-01T04:30:00Z", "2026-11-01T05:00:00Z",
                 "2026-11-01T05:30:00Z", "2026-11-01T07:00:00Z");
    /* but what is for every hour has no gap */
    assert_local("*/30 * * * *", "2026-11-01T05:00:00Z", "2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z",
                 "2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z");
    assert_local("0 * 1 11 *", "2026-10-01T00:00:00Z", "2026-11-01T04:00:00Z", "2026-11-01T05:00:00Z",
                 "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z");
}

static void half_an_hour_is_a_change_too(void **state)
{
    (void)state;

    in_zone(LORD_HOWE); /* 2026-10-04 02:00 is 02:30, 15:30 UTC of the day before; 2026-04-05 02:00 is 01:30 */
    assert_local("15 2 * * *", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z");
    assert_local("45 1 * * *", "2026-04-04T12:00:00Z", "2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z");
}

/* Whatever the expression, the next time is later, on a full minute, and nothing is passed over. */
static void times_only_go_on(void **state)
{
    (void)state;
    static const char *const expressions[] = {"*/7 * * * *", "17 */5 * * *", "0 2 * * *", "*/13 1-3 * * sun",
                                              "0 0 1 * *"};

    in_zone(NEW_YORK);
    for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++) {
        cron c = parse(expressions[i]);
        int64_t end = at("2027-01-01T00:00:00Z"), next;
        for (int64_t after = at("2026-01-01T00:00:30Z"); after < end; after = next) {
            assert_true(cron_next(&c, false, after, &next));
            assert_true(next > after && next % 60 == 0);
            int64_t again; /* from any moment before, the same one */
            assert_true(cron_next(&c, false, next - 1, &again));
            assert_int_equal(again, next);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_numbers_ranges_steps_lists_and_names),
        cmocka_unit_test(words_stand_for_expressions),
        cmocka_unit_test(either_day_counts_when_both_are_named),
        cmocka_unit_test(rare_days_are_found),
        cmocka_unit_test(malformed_expressions_are_refused_with_their_place),
        cmocka_unit_test(local_time_is_that_of_the_zone),
        cmocka_unit_test(a_time_that_is_skipped_counts_when_the_clock_is_put_forward),
        cmocka_unit_test(a_time_that_comes_twice_counts_once),
        cmocka_unit_test(half_an_hour_is_a_change_too),
        cmocka_unit_test(times_only_go_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
