/* The values that JSON has no type for: their texts, both ways, and their conversions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lightbus.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- Dates and times -------------------------------------------------------------------------------- */

/* What Python's fromisoformat reads, and what its isoformat then writes. */
static void test_datetimes_are_read_and_written_as_python_does(void **state)
{
    static const char *const texts[][2] = {
        {"2020-01-02T03:04:05", "2020-01-02T03:04:05"},
        {"2020-01-02 03:04:05", "2020-01-02T03:04:05"},
        {"2020-01-02T03:04:05.678901", "2020-01-02T03:04:05.678901"},
        {"2020-01-02T03:04:05.6", "2020-01-02T03:04:05.600000"},
        {"2020-01-02T03:04:05,6", "2020-01-02T03:04:05.600000"},
        {"2020-01-02T03:04:05.1234567899", "2020-01-02T03:04:05.123456"},
        {"2020-01-02T03:04:05.000000", "2020-01-02T03:04:05"},
        {"2020-01-02T03:04:05Z", "2020-01-02T03:04:05+00:00"},
        {"2020-01-02T03:04:05+00:00", "2020-01-02T03:04:05+00:00"},
        {"2020-01-02T03:04:05.000001+02:30", "2020-01-02T03:04:05.000001+02:30"},
        {"2020-01-02T03:04:05-0230", "2020-01-02T03:04:05-02:30"},
        {"2020-01-02T03:04:05-02", "2020-01-02T03:04:05-02:00"},
        {"2020-01-02T03:04:05+01:02:03", "2020-01-02T03:04:05+01:02:03"},
        {"20200102T030405", "2020-01-02T03:04:05"},
        {"20200102T0304Z", "2020-01-02T03:04:00+00:00"},
        {"2020-01-02T03", "2020-01-02T03:00:00"},
        {"2020-01-02T03:04", "2020-01-02T03:04:00"},
        {"2020-01-02", "2020-01-02T00:00:00"},
        {"0001-01-01", "0001-01-01T00:00:00"},
        {"9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"},
        {"2020-02-29", "2020-02-29T00:00:00"},
        {"2020-W01-1", "2019-12-30T00:00:00"},
        {"2020-W53", "2020-12-28T00:00:00"},
        {"2020W537", "2021-01-03T00:00:00"},
    };
    char text[LB_DATETIME_TEXT];

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        lb_datetime d;
        lb_error error = {0};
        if (lb_datetime_parse(texts[i][0], &d, &error) != LB_OK)
            fail_msg("%s: %s", texts[i][0], error.message);
        assert_string_equal(lb_datetime_text(d, text), texts[i][1]);
    }
}

static void test_what_is_no_datetime_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "not a date",
        "2020",
        "2020-01",
        "2020-13-01",
        "2020-00-01",
        "2020-01-00",
        "2020-02-30",
        "2019-02-29",
        "1900-02-29",
        "0000-01-01",
        "2020-1-2",
        "2020-01-02T",
        "2020-01-02T24:00",
        "2020-01-02T03:60",
        "2020-01-02T03:04:60",
        "2020-01-02T03:04:05.",
        "2020-01-02T03:04:05+",
        "2020-01-02T03:04:05+24:00",
        "2020-01-02T03:04:05+1",
        "2020-01-02T03:04:05Zx",
        "2020-01-02x03:04",
        " 2020-01-02",
        "2020-01-02 ",
        "2020-01-02T03:04:05 +00:00",
        "2019-W53-1",
        "2020-W00-1",
        "2020-W01-8",
        "-2020-01-02",
        "2020-0102",
        "\xd9\xa1\xd9\xa2\xd9\xa3\xd9\xa4-01-01",
        "20200102T03:04:5",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        lb_datetime d;
        lb_error error = {0};
        if (lb_datetime_parse(texts[i], &d, &error) != LB_MALFORMED)
            fail_msg("\"%s\" was read as a datetime", texts[i]);
        assert_non_null(strstr(error.message, "expected a datetime like"));
    }
    assert_int_equal(lb_datetime_parse(NULL, &(lb_datetime){0}, NULL), LB_MALFORMED);
}

static void test_dates_and_times(void **state)
{
    lb_date date;
    lb_time time;
    char text[LB_TIME_TEXT];

    (void)state;
    assert_int_equal(lb_date_parse("2020-01-02T03:04:05", &date, NULL), LB_OK); /* Python takes the day of it */
    assert_string_equal(lb_date_text(date, text), "2020-01-02");
    assert_string_equal(lb_date_text(LB_DATE(2020, 2, 30), text), "");
    assert_string_equal(lb_date_text(LB_DATE(0, 1, 1), text), "");
    assert_int_equal(lb_time_parse("01:02:03.5+02:00", &time, NULL), LB_OK);
    assert_string_equal(lb_time_text(time, text), "01:02:03.500000+02:00");
    assert_int_equal(lb_time_parse("23:59", &time, NULL), LB_OK);
    assert_string_equal(lb_time_text(time, text), "23:59:00");
    assert_int_equal(lb_time_parse("25:00", &time, NULL), LB_MALFORMED);
    assert_string_equal(lb_time_text(LB_TIME(24, 0, 0), text), "");
    assert_string_equal(lb_datetime_text(LB_DATETIME(2020, 1, 2, 3, 60, 5), (char[LB_DATETIME_TEXT]){0}), "");
}

static void test_unix_time_and_back(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } times[] = {
        {"1970-01-01T00:00:00+00:00", 0},
        {"1969-12-31T23:59:59.999999+00:00", -1},
        {"2000-02-29T12:00:00+00:00", INT64_C(951825600000000)},
        {"0001-01-01T00:00:00+00:00", INT64_C(-62135596800000000)},
        {"9999-12-31T23:59:59.999999+00:00", INT64_C(253402300799999999)},
    };
    char text[LB_DATETIME_TEXT];
    lb_datetime d;

    (void)state;
    for (size_t i = 0; i < COUNT(times); i++) {
        assert_int_equal(lb_datetime_parse(times[i].text, &d, NULL), LB_OK);
        assert_true(lb_datetime_unix_us(d) == times[i].us);
        assert_string_equal(lb_datetime_text(lb_datetime_from_unix_us(times[i].us), text), times[i].text);
    }
    assert_int_equal(lb_datetime_parse("1970-01-01T02:30:00+02:30", &d, NULL), LB_OK);
    assert_true(lb_datetime_unix_us(d) == 0);
    assert_true(lb_datetime_unix_us(LB_DATETIME(1970, 1, 1, 0, 0, 1)) == 1000000);
    assert_string_equal(lb_datetime_text(lb_datetime_from_unix_us(INT64_MAX), text),
                        "9999-12-31T23:59:59.999999+00:00");
    assert_string_equal(lb_datetime_text(lb_datetime_from_unix_us(INT64_MIN), text),
                        "0001-01-01T00:00:00+00:00");
    assert_true(lb_datetime_now().year >= 2024 && lb_datetime_now().has_offset);
}

static void test_every_day_goes_both_ways(void **state)
{
    char text[LB_DATETIME_TEXT];
    const int64_t day = INT64_C(86400000000);

    (void)state;
    for (int64_t us = INT64_C(-62135596800000000); us < INT64_C(253402300800000000); us += 97 * day + 1234567) {
        lb_datetime d;
        assert_int_equal(lb_datetime_parse(lb_datetime_text(lb_datetime_from_unix_us(us), text), &d, NULL),
                         LB_OK);
        assert_true(lb_datetime_unix_us(d) == us);
    }
}

/* ---- Decimals --------------------------------------------------------------------------------------- */

static void test_decimals_keep_their_text(void **state)
{
    static const char *const good[] = {"0",      "-0",  "1.10",
                                       "-12.50", "007", "123456789012345678901234567890.123456789"};
    static const char *const bad[] = {"",    "-",   "+1", ".5", "5.",  "1e3",  "1E+3",
                                      "NaN", "1,5", " 1", "1 ", "--1", "1.2.3"};
    lb_decimal d;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(lb_decimal_parse(good[i], &d, NULL), LB_OK);
        assert_string_equal(d.text, good[i]);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (lb_decimal_parse(bad[i], &d, NULL) != LB_MALFORMED)
            fail_msg("\"%s\" was read as a decimal", bad[i]);
}

static void test_decimals_as_numbers(void **state)
{
    static const struct {
        const char *text;
        int scale;
        lb_status status;
        int64_t number;
    } cases[] = {
        {"12.50", 2, LB_OK, 1250},
        {"-12.5", 2, LB_OK, -1250},
        {"12", 2, LB_OK, 1200},
        {"12.500", 2, LB_OK, 1250},
        {"12.505", 2, LB_TOO_LARGE, 0},
        {"0.01", 0, LB_TOO_LARGE, 0},
        {"007", 0, LB_OK, 7},
        {"9223372036854775807", 0, LB_OK, INT64_MAX},
        {"-9223372036854775808", 0, LB_OK, INT64_MIN},
        {"9223372036854775808", 0, LB_TOO_LARGE, 0},
        {"922337203685477580.8", 2, LB_TOO_LARGE, 0},
        {"1e3", 0, LB_MALFORMED, 0},
        {"1", 19, LB_MALFORMED, 0},
        {"1", -1, LB_MALFORMED, 0},
    };
    char text[LB_DECIMAL_TEXT];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t number = 77;
        lb_status status = lb_decimal_int(LB_DECIMAL(cases[i].text), cases[i].scale, &number, NULL);
        if (status != cases[i].status || number != cases[i].number)
            fail_msg("%s with scale %d: %s, %lld", cases[i].text, cases[i].scale, lb_status_name(status),
                     (long long)number);
    }
    assert_true(lb_decimal_float(LB_DECIMAL("-12.50")) == -12.5);
    assert_true(lb_decimal_float(LB_DECIMAL("000.1")) == 0.1);
    assert_true(lb_decimal_float(LB_DECIMAL("-0012")) == -12);
    assert_true(signbit(lb_decimal_float(LB_DECIMAL("-0"))));
    assert_true(lb_decimal_float(LB_DECIMAL("1e3")) == 0);
    assert_string_equal(lb_decimal_of_int(1250, 2, text).text, "12.50");
    assert_string_equal(lb_decimal_of_int(-5, 2, text).text, "-0.05");
    assert_string_equal(lb_decimal_of_int(0, 0, text).text, "0");
    assert_string_equal(lb_decimal_of_int(INT64_MIN, 18, text).text, "-9.223372036854775808");
    assert_string_equal(lb_decimal_of_int(1, 99, text).text, "0.000000000000000001"); /* at most 18 */
    assert_string_equal(lb_decimal_of_int(1, -1, text).text, "1");
}

/* ---- Bytes and UUIDs -------------------------------------------------------------------------------- */

static lb_status decode(const char *json, void **data, size_t *size)
{
    lb_value *value = NULL;
    lb_status status = lb_value_parse(json, strlen(json), &value, NULL);

    assert_int_equal(status, LB_OK);
    status = lb_value_bytes(value, data, size, NULL);
    lb_value_free(value);
    return status;
}

/* What Python 3.11's base64.b64decode makes of each. */
static void test_base64_is_read_as_leniently_as_in_python(void **state)
{
    static const char *const texts[][2] = {
        {"\"\"", ""},         {"\"YWJj\"", "abc"},     {"\"YWI=\"", "ab"},    {"\"YQ==\"", "a"},
        {"\"!!\"", ""},       {"\"Y W\\nJj\"", "abc"}, {"\"YQ==YQ==\"", "a"}, {"\"=YWJj\"", "abc"},
        {"\"Y=WJj\"", "abc"}, {"\"YWI==\"", "ab"},     {"\"YQ=!=\"", "a"},
    };
    static const char *const bad[] = {"\"YWI\"", "\"Y\"", "\"YQ=\"", "\"YWJjY\"", "\"YQ=a\"", "3", "null"};
    void *data;
    size_t size;

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (decode(texts[i][0], &data, &size) != LB_OK)
            fail_msg("%s", texts[i][0]);
        assert_int_equal(size, strlen(texts[i][1]));
        assert_memory_equal(data, texts[i][1], size);
        free(data);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (decode(bad[i], &data, &size) != LB_MALFORMED)
            fail_msg("%s was decoded", bad[i]);
}

static void test_uuids(void **state)
{
    static const char *const good[] = {
        "12345678-1234-5678-1234-567812345678", "12345678123456781234567812345678",
        "{12345678-1234-5678-1234-567812345678}", "urn:uuid:12345678-1234-5678-1234-567812345678"};
    static const char *const bad[] = {"", "not a uuid", "12345678-1234-5678-1234-56781234567",
                                      "12345678-1234-5678-1234-5678123456789",
                                      "g2345678123456781234567812345678"};
    char text[LB_UUID_TEXT];
    lb_uuid uuid;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(lb_uuid_parse(good[i], &uuid, NULL), LB_OK);
        assert_string_equal(lb_uuid_text(uuid, text), good[0]);
    }
    assert_int_equal(lb_uuid_parse("ABCDEFab-cdef-ABCD-EFab-CDEFabcdefAB", &uuid, NULL), LB_OK);
    assert_string_equal(lb_uuid_text(uuid, text), "abcdefab-cdef-abcd-efab-cdefabcdefab");
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(lb_uuid_parse(bad[i], &uuid, NULL), LB_MALFORMED);
}

static void test_values_of_other_types_are_none_of_these(void **state)
{
    lb_value *list = NULL;
    lb_decimal decimal;
    lb_datetime datetime;
    lb_date date;
    lb_time time;
    lb_uuid uuid;

    (void)state;
    assert_int_equal(lb_value_parse("[3, null, \"x\", {}]", 18, &list, NULL), LB_OK);
    for (size_t i = 0; i < 5; i++) { /* the last one is past the end: NULL */
        const lb_value *v = lb_value_at(list, i);
        assert_false(lb_value_decimal(v, &decimal) || lb_value_datetime(v, &datetime) ||
                     lb_value_date(v, &date) || lb_value_time(v, &time) || lb_value_uuid(v, &uuid));
    }
    lb_value_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_datetimes_are_read_and_written_as_python_does),
        cmocka_unit_test(test_what_is_no_datetime_is_refused),
        cmocka_unit_test(test_dates_and_times),
        cmocka_unit_test(test_unix_time_and_back),
        cmocka_unit_test(test_every_day_goes_both_ways),
        cmocka_unit_test(test_decimals_keep_their_text),
        cmocka_unit_test(test_decimals_as_numbers),
        cmocka_unit_test(test_base64_is_read_as_leniently_as_in_python),
        cmocka_unit_test(test_uuids),
        cmocka_unit_test(test_values_of_other_types_are_none_of_these),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
