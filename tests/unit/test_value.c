/* lb_value: parsing, reading, copying, writing, comparing. */
#include "support.h"

#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char document[] = "{\"n\": null, \"t\": true, \"i\": -3, \"big\": 18446744073709551615, \"f\": "
                               "2.5, \"s\": \"x\\u0000\\u00e9\","
                               " \"list\": [1, [2, 3], {\"a\": 4}], \"dict\": {\"b\": {}}}";

static lb_value *parsed(const char *text)
{
    lb_value *value = NULL;
    lb_error error = {0};
    assert_ok(lb_value_parse(text, strlen(text), &value, &error), &error);
    return value;
}

static void check_document(const lb_value *v)
{
    assert_int_equal(lb_value_type_of(v), LB_TYPE_DICT);
    assert_int_equal(lb_value_count(v), 8);
    assert_int_equal(lb_value_type_of(lb_value_get(v, "n")), LB_TYPE_NULL);
    assert_true(lb_value_bool(lb_value_get(v, "t")));
    assert_int_equal(lb_value_int(lb_value_get(v, "i")), -3);
    assert_int_equal(lb_value_type_of(lb_value_get(v, "big")), LB_TYPE_UINT);
    assert_true(lb_value_uint(lb_value_get(v, "big")) == UINT64_MAX);
    assert_true(lb_value_int(lb_value_get(v, "big")) == INT64_MAX);
    assert_true(lb_value_float(lb_value_get(v, "f")) == 2.5);
    assert_int_equal(lb_value_str_size(lb_value_get(v, "s")), 4);
    assert_memory_equal(lb_value_str(lb_value_get(v, "s")), "x\0\xc3\xa9", 5);
    const lb_value *list = lb_value_get(v, "list");
    assert_int_equal(lb_value_int(lb_value_at(lb_value_at(list, 1), 1)), 3);
    assert_int_equal(lb_value_int(lb_value_get(lb_value_at(list, 2), "a")), 4);
    assert_null(lb_value_at(list, 3));
    assert_null(lb_value_get(v, "absent"));
}

static void test_reads_and_copies(void **state)
{
    (void)state;
    lb_value *v = parsed(document), *copy = lb_value_copy(v), *part = lb_value_copy(lb_value_get(v, "list"));
    check_document(v);
    lb_value_free(v);
    check_document(copy);
    lb_value_free(copy);
    char *text = lb_value_json(part, NULL);
    assert_string_equal(text, "[1,[2,3],{\"a\":4}]");
    free(text);
    lb_value_free(part);
}

static void test_parses_into_an_arena(void **state)
{
    (void)state;
    arena a = {0};
    const lb_value *v;
    lb_error error = {0};
    for (int i = 0; i < 100; i++) {
        assert_ok(json_parse(&a, document, strlen(document), &v, &error), &error);
        check_document(v);
        if (i % 10 == 0)
            arena_reset(&a, 1 << 16);
    }
    arena_free(&a);
}

static void test_null_is_readable(void **state)
{
    (void)state;
    assert_int_equal(lb_value_type_of(NULL), LB_TYPE_NULL);
    assert_false(lb_value_bool(NULL));
    assert_int_equal(lb_value_int(NULL), 0);
    assert_null(lb_value_str(NULL));
    assert_int_equal(lb_value_count(NULL), 0);
    lb_value_free(NULL);
    lb_value *copy = lb_value_copy(NULL);
    assert_int_equal(lb_value_type_of(copy), LB_TYPE_NULL);
    char *text = lb_value_json(copy, NULL);
    assert_string_equal(text, "null");
    free(text);
    lb_value_free(copy);
}

static void test_iterates_in_order(void **state)
{
    (void)state;
    lb_value *v = parsed("{\"a\": [10], \"b\": 1, \"c\": \"z\"}");
    const char *names = "abc";
    size_t n = 0;
    for (lb_value_iterator it = lb_value_iterate(v); lb_value_next(&it); n++) {
        assert_int_equal(it.index, n);
        assert_int_equal(it.name_size, 1);
        assert_int_equal(it.name[0], names[n]);
    }
    assert_int_equal(n, 3);
    lb_value_iterator none = lb_value_iterate(lb_value_get(v, "b"));
    assert_false(lb_value_next(&none));
    lb_value_free(v);
}

static void test_hostile_text_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         " ",   "{",         "[1,]", "{\"a\":}",   "nul",
                                      "\"\xff\"", "1 2", "{\"a\" 1}", "'a'",  "\"\\ud800\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lb_value *v = (lb_value *)1;
        lb_error error = {0};
        assert_int_equal(lb_value_parse(bad[i], strlen(bad[i]), &v, &error), LB_MALFORMED);
        assert_null(v);
        assert_non_null(strstr(error.message, "not JSON"));
    }
}

static void test_nesting_is_bounded(void **state)
{
    (void)state;
    char text[20001];
    lb_value *v;
    lb_error error = {0};
    for (int depth = 511; depth <= 10000; depth = depth == 511 ? 512 : depth == 512 ? 513 : depth + 9487) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        lb_status status = lb_value_parse(text, 2 * (size_t)depth, &v, &error);
        assert_int_equal(status, depth <= 512 ? LB_OK : LB_MALFORMED);
        lb_value_free(v);
    }
    assert_string_equal(error.message, "JSON nested deeper than 512 levels");
    memset(text, '[', sizeof text); /* brackets in a string do not nest */
    text[0] = text[sizeof text - 1] = '"';
    assert_ok(lb_value_parse(text, sizeof text, &v, &error), &error);
    lb_value_free(v);
}

static void test_reads_what_python_writes(void **state)
{
    (void)state;
    lb_value *v = parsed("[NaN, Infinity, -Infinity, 1e+16, \"\\ud83d\\ude00\"]");
    assert_true(isnan(lb_value_float(lb_value_at(v, 0))));
    assert_true(isinf(lb_value_float(lb_value_at(v, 1))));
    assert_true(lb_value_float(lb_value_at(v, 3)) == 1e16);
    assert_string_equal(lb_value_str(lb_value_at(v, 4)), "\xf0\x9f\x98\x80");
    lb_value_free(v);
}

static void test_equality_is_that_of_json(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"{\"a\": 1, \"b\": [2]}", "{\"b\": [2.0], \"a\": 1}", true},
        {"[1, 2]", "[2, 1]", false},
        {"true", "1", false},
        {"\"1\"", "1", false},
        {"18446744073709551615", "18446744073709551614", false},
        {"{\"a\": null}", "{\"b\": null}", false},
        {"[]", "{}", false},
        {"-1", "18446744073709551615", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lb_value *a = parsed(cases[i].a), *b = parsed(cases[i].b);
        assert_int_equal(lb_value_equal(a, b), cases[i].equal);
        assert_int_equal(lb_value_equal(b, a), cases[i].equal);
        lb_value_free(a);
        lb_value_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_and_copies),         cmocka_unit_test(test_parses_into_an_arena),
        cmocka_unit_test(test_null_is_readable),         cmocka_unit_test(test_iterates_in_order),
        cmocka_unit_test(test_hostile_text_is_refused),  cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_reads_what_python_writes), cmocka_unit_test(test_equality_is_that_of_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
