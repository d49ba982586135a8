/* The keywords of draft-07 and what their messages say. That they are right is shown by the JSON schema test
 * suite (tests/schema-suite) and by the comparison with a second validator (tests/differential). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "validation.h"

/* ---- Numbers ---------------------------------------------------------------------------------------- */

static void test_limits_are_exact(void **state)
{
    (void)state;
    assert_refuses("{\"minimum\": 3}", "2", "", "expected at least 3, got int (2)");
    assert_refuses("{\"exclusiveMinimum\": 3}", "3.0", "", "expected more than 3, got float (3.0)");
    assert_refuses("{\"maximum\": 1.5}", "2", "", "expected at most 1.5, got int (2)");
    assert_refuses("{\"exclusiveMaximum\": 0}", "-0.0", "", "expected less than 0, got float (-0.0)");
    assert_accepts("{\"minimum\": -0.0, \"maximum\": 0}", "-0.0");
    /* beside each other, though doubles cannot tell them apart */
    assert_refuses("{\"maximum\": 9007199254740992.0}", "9007199254740993", "",
                   "expected at most 9007199254740992.0, got int (9007199254740993)");
    assert_refuses("{\"minimum\": 9007199254740993}", "9007199254740992.0", "",
                   "expected at least 9007199254740993, got float (9007199254740992.0)");
    assert_accepts("{\"minimum\": 18446744073709551614}", "18446744073709551615");
    assert_accepts("{\"maximum\": -9223372036854775807}", "-9223372036854775808");
    assert_refuses("{\"minimum\": -9223372036854775807}", "-9223372036854775808", "",
                   "expected at least -9223372036854775807, got int (-9223372036854775808)");
    assert_refuses("{\"maximum\": 1e19}", "18446744073709551615", "",
                   "expected at most 10000000000000000000.0, got int (18446744073709551615)");
    assert_accepts("{\"maximum\": 1e20}", "18446744073709551615");
    assert_accepts("{\"minimum\": -2.5}", "-2");
    assert_refuses("{\"minimum\": -2.5}", "-3", "", "expected at least -2.5, got int (-3)");
    assert_refuses("{\"const\": 9007199254740993}", "9007199254740992.0", "",
                   "expected int (9007199254740993), got float (9007199254740992.0)");
}

static void test_numbers_that_are_none(void **state) /* S32 */
{
    (void)state;
    assert_refuses("{\"minimum\": 0}", "NaN", "", "expected at least 0, got float (NaN)");
    assert_refuses("{\"maximum\": 0}", "NaN", "", "expected at most 0, got float (NaN)");
    assert_refuses("{\"maximum\": 1e308}", "1e400", "", "expected at most 1e308, got float (Infinity)");
    assert_accepts("{\"minimum\": 0}", "1e400");
    assert_refuses("{\"multipleOf\": 1}", "1e400", "", "expected a multiple of 1, got float (Infinity)");
    assert_accepts("{\"enum\": [0]}", "-0.0");
    assert_refuses("{\"uniqueItems\": true}", "[0, -0.0]", "[1]",
                   "expected different items, got again float (-0.0)");
    assert_malformed("{\"minimum\": 1e400}", "malformed JSON schema: \"minimum\" must be a finite number");
    assert_malformed("{\"multipleOf\": NaN}", "malformed JSON schema: \"multipleOf\" must be a finite number");
    assert_malformed("{\"multipleOf\": 0}", "malformed JSON schema: \"multipleOf\" must be a number above 0");
    assert_malformed("{\"maximum\": \"1\"}", "malformed JSON schema: \"maximum\" must be a finite number");
    assert_malformed("{\"exclusiveMaximum\": true}",
                     "malformed JSON schema: \"exclusiveMaximum\" must be a finite number");
}

static void test_multiples_are_exact(void **state)
{
    static const char *const right[][2] = {
        {"0.1", "0.3"}, {"0.01", "4.35"},    {"0.0001", "0.0075"}, {"1e-7", "123.4567891"},
        {"2", "1e300"}, {"0.5", "1e308"},    {"1e20", "3e20"},     {"7", "-14"},
        {"0.3", "0"},   {"1e-300", "1e300"}, {"5e-324", "1e-323"}, {"3", "18446744073709551615"},
    };
    static const char *const wrong[][2] = {
        {"0.1", "0.35"},
        {"7", "1e20"},
        {"0.123456789", "1e308"},
        {"1e20", "1e19"},
        {"2", "18446744073709551615"},
        {"0.2", "0.3"},
        {"1e300", "1"},
    };
    char schema[64];

    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        snprintf(schema, sizeof schema, "{\"multipleOf\": %s}", right[i][0]);
        assert_accepts(schema, right[i][1]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(schema, sizeof schema, "{\"multipleOf\": %s}", wrong[i][0]);
        if (validator_check(compiled(schema), json(wrong[i][1]), NULL))
            fail_msg("%s accepts %s", schema, wrong[i][1]);
    }
    assert_refuses("{\"multipleOf\": 0.1}", "0.25", "", "expected a multiple of 0.1, got float (0.25)");
}

/* ---- Strings, lists, dicts -------------------------------------------------------------------------- */

static void test_strings(void **state)
{
    (void)state;
    assert_refuses("{\"minLength\": 2}", "\"\xf0\x9f\x98\x80\"", "", "expected at least 2 characters, got 1");
    assert_refuses("{\"maxLength\": 2}", "\"abc\"", "", "expected at most 2 characters, got 3");
    assert_refuses("{\"minLength\": 2, \"maxLength\": 2}", "\"a\"", "", "expected 2 characters, got 1");
    assert_refuses("{\"pattern\": \"^a+$\"}", "\"ab\"", "",
                   "expected a match of the pattern \"^a+$\", got str (\"ab\")");
    assert_refuses("{\"format\": \"date\"}", "\"1.1.2020\"", "",
                   "expected the format \"date\", got str (\"1.1.2020\")");
    assert_accepts("{\"pattern\": \"^a+$\", \"minLength\": 9, \"format\": \"date\"}", "3");
    assert_malformed("{\"minLength\": 1.5}",
                     "malformed JSON schema: \"minLength\" must be a whole number, 0 or more");
    assert_malformed("{\"properties\": {\"a\": {\"pattern\": \"a(\"}}}",
                     "malformed JSON schema: \"pattern\" in properties.a must be a regular expression, got "
                     "\"a(\": a \"(\" has no \")\"");
    assert_malformed("{\"pattern\": 1}", "malformed JSON schema: \"pattern\" must be a regular expression");
    assert_malformed("{\"format\": 1}", "malformed JSON schema: \"format\" must be the name of a format");
}

static void test_which_formats_are_checked(void **state)
{
    static const char date[] = "{\"format\": \"date-time\"}", email[] = "{\"format\": \"email\"}";
    static const struct {
        validator_formats formats;
        bool takes_date, takes_email;
    } cases[] = {
        {FORMATS_LIGHTBUS, true, false}, {FORMATS_STRICT, false, false}, {FORMATS_IGNORED, true, true}};
    const validator *v;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(validator_compile_as(&memory, json(date), cases[i].formats, &v, NULL), LB_OK);
        assert_int_equal(validator_check(v, json("\"2020-01-02T03:04:05\""), NULL), cases[i].takes_date);
        assert_int_equal(validator_compile_as(&memory, json(email), cases[i].formats, &v, NULL), LB_OK);
        assert_int_equal(validator_check(v, json("\"x\""), NULL), cases[i].takes_email);
    }
}

static void test_lists(void **state)
{
    (void)state;
    assert_refuses("{\"items\": [{}], \"additionalItems\": {\"type\": \"string\"}}", "[1, \"a\", 2]", "[2]",
                   "expected str, got int (2)");
    assert_accepts("{\"additionalItems\": false}", "[1]");
    assert_accepts("{\"items\": {}, \"additionalItems\": false}", "[1]");
    assert_refuses("{\"contains\": {\"type\": \"string\"}}", "[1, 2]", "",
                   "expected an item that fits \"contains\", got 2 items, none of which does");
    assert_refuses("{\"contains\": true}", "[]", "",
                   "expected an item that fits \"contains\", got 0 items, none of which does");
    assert_refuses("{\"uniqueItems\": true}", "[1, [2], \"a\", [2.0]]", "[3]",
                   "expected different items, got again list");
    assert_refuses("{\"uniqueItems\": true}", "[{\"a\": 1, \"b\": 2}, {\"b\": 2, \"a\": 1}]", "[1]",
                   "expected different items, got again dict");
    assert_accepts("{\"uniqueItems\": true}", "[1, true, \"1\", null, false, 0, \"\", [], {}]");
    assert_malformed("{\"uniqueItems\": 1}", "malformed JSON schema: \"uniqueItems\" must be true or false");
}

static void test_long_lists_are_unique(void **state)
{
    buffer list = {0};
    violation why = {0};

    (void)state;
    for (int i = 0; i < 50000; i++)
        buffer_printf(&list, "%s{\"id\": %d, \"name\": \"n%d\"}", i ? ", " : "[", i, i % 7);
    buffer_char(&list, ']');
    assert_accepts("{\"uniqueItems\": true}", buffer_text(&list));
    list.size--;
    buffer_literal(&list, ", {\"name\": \"n6\", \"id\": 20.0}, {\"name\": \"n6\", \"id\": 2e1}]");
    assert_false(validator_check(compiled("{\"uniqueItems\": true}"), json(buffer_text(&list)), &why));
    assert_string_equal(why.path, "[50000]");
    buffer_free(&list);
}

static void test_dicts(void **state)
{
    (void)state;
    assert_refuses("{\"minProperties\": 2}", "{\"a\": 1}", "", "expected at least 2 members, got 1");
    assert_refuses("{\"maxProperties\": 0}", "{\"a\": 1}", "", "expected 0 members, got 1");
    assert_refuses("{\"patternProperties\": {\"^n\": {\"type\": \"integer\"}}}", "{\"n1\": 1, \"n2\": \"x\"}",
                   "n2", "expected int, got str (\"x\")");
    assert_refuses("{\"patternProperties\": {\"^n\": {}}, \"additionalProperties\": false}",
                   "{\"n1\": 1, \"m\": 2}", "", "unexpected \"m\"");
    assert_accepts("{\"properties\": {\"m\": {}}, \"patternProperties\": {\"^n\": {}}, "
                   "\"additionalProperties\": false}",
                   "{\"n1\": 1, \"m\": 2}");
    assert_accepts(
        "{\"required\": [\"n1\"], \"patternProperties\": {\"^n\": {}}, \"additionalProperties\": false}",
        "{\"n1\": 1}");
    assert_refuses(
        "{\"required\": [\"m\"], \"patternProperties\": {\"^n\": {}}, \"additionalProperties\": false}",
        "{\"m\": 1}", "", "unexpected \"m\"");
    assert_refuses(
        "{\"properties\": {\"n1\": {\"minimum\": 3}}, \"patternProperties\": {\"^n\": {\"maximum\": 5}}}",
        "{\"n1\": 6}", "n1", "expected at most 5, got int (6)");
    assert_refuses("{\"properties\": {\"d\": {\"propertyNames\": {\"maxLength\": 2}}}}",
                   "{\"d\": {\"abc\": 1}}", "d",
                   "the name \"abc\" is not allowed: expected at most 2 characters, got 3");
    assert_refuses("{\"propertyNames\": {\"enum\": [\"a\"]}}", "{\"a\": 1, \"b\": 2}", "",
                   "the name \"b\" is not allowed: expected one of \"a\", got \"b\"");
    assert_refuses("{\"propertyNames\": false}", "{\"\": 1}", "",
                   "the name \"\" is not allowed: expected nothing, got str (\"\")");
    assert_refuses("{\"dependencies\": {\"a\": [\"b\", \"c\"]}}", "{\"a\": 1, \"b\": 1}", "",
                   "missing \"c\", which is needed beside \"a\"");
    assert_refuses("{\"dependencies\": {\"a\": {\"minProperties\": 2}}}", "{\"a\": 1}", "",
                   "expected at least 2 members, got 1");
    assert_malformed("{\"dependencies\": {\"a\": [1]}}",
                     "malformed JSON schema: \"dependencies\" must be a dict of schemas and lists of names");
    assert_malformed(
        "{\"patternProperties\": {\"[\": {}}}",
        "malformed JSON schema: \"patternProperties\" must be a regular expression, got \"[\": a class is "
        "not closed");
}

static void test_logic(void **state)
{
    (void)state;
    assert_refuses("{\"allOf\": [{\"minimum\": 1}, {\"maximum\": 3}]}", "4", "",
                   "expected at most 3, got int (4)");
    assert_refuses("{\"oneOf\": [{\"minimum\": 1}, {}, {\"maximum\": 3}]}", "0", "",
                   "fits two forms of \"oneOf\", the 2. and the 3., got int (0)");
    assert_refuses("{\"oneOf\": [{\"type\": \"string\"}, {\"minimum\": 1, \"type\": \"integer\"}]}", "0", "",
                   "expected at least 1, got int (0)");
    assert_refuses("{\"not\": {\"type\": \"string\"}}", "\"a\"", "",
                   "fits what \"not\" excludes, got str (\"a\")");
    assert_refuses("{\"not\": {}}", "1", "", "fits what \"not\" excludes, got int (1)");
    assert_refuses(
        "{\"if\": {\"type\": \"integer\"}, \"then\": {\"minimum\": 1}, \"else\": {\"minLength\": 1}}", "0", "",
        "expected at least 1, got int (0)");
    assert_refuses(
        "{\"if\": {\"type\": \"integer\"}, \"then\": {\"minimum\": 1}, \"else\": {\"minLength\": 1}}", "\"\"",
        "", "expected at least 1 characters, got 0");
    assert_accepts("{\"then\": false, \"else\": false}", "1");
    assert_malformed("{\"oneOf\": []}", "malformed JSON schema: \"oneOf\" must be a list of schemas");
    assert_malformed("{\"not\": 1}", "malformed JSON schema: \"schema\" in not must be a dict, true or false");
}

static void test_long_enums(void **state)
{
    static const char schema[] =
        "{\"enum\": [1, 2, 3, 4, 5, 6, 7, 8, 9, \"a\", null, [1, {\"x\": 2}], {\"k\": [], "
        "\"l\": 1.5}, true]}";

    (void)state;
    assert_accepts(schema, "9.0");
    assert_accepts(schema, "\"a\"");
    assert_accepts(schema, "[1.0, {\"x\": 2}]");
    assert_accepts(schema, "{\"l\": 1.5, \"k\": []}");
    assert_accepts(schema, "true");
    assert_refuses(
        schema, "10", "",
        "expected one of int (1), int (2), int (3), int (4), int (5), int (6), int (7), int (8), ..., got "
        "int (10)");
    assert_refuses(
        "{\"propertyNames\": {\"enum\": [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]}}",
        "{\"9\": 1, \"10\": 1}", "",
        "the name \"10\" is not allowed: expected one of \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", "
        "\"8\", ..., got \"10\"");
}

/* ---- References ------------------------------------------------------------------------------------- */

static void test_references(void **state)
{
    static const char tree[] =
        "{\"$ref\": \"#/definitions/node\", \"definitions\": {\"node\": {\"properties\": "
        "{\"value\": {\"type\": \"integer\"}, \"children\": {\"items\": {\"$ref\": "
        "\"#/definitions/node\"}}}, \"required\": [\"value\"]}}}";

    (void)state;
    assert_accepts(tree, "{\"value\": 1, \"children\": [{\"value\": 2, \"children\": []}]}");
    assert_refuses(tree, "{\"value\": 1, \"children\": [{\"value\": 2, \"children\": [{}]}]}",
                   "children[0].children[0]", "missing \"value\"");
    assert_refuses("{\"items\": {\"$ref\": \"#name\"}, \"definitions\": {\"x\": {\"$id\": \"#name\", \"type\": "
                   "\"null\"}}}",
                   "[1]", "[0]", "expected null, got int (1)");
    assert_refuses(
        "{\"$id\": \"http://a/b/c.json\", \"items\": {\"$ref\": \"../d.json#/definitions/e\"}, "
        "\"definitions\": {\"x\": {\"$id\": \"/d.json\", \"definitions\": {\"e\": {\"$ref\": \"#f\"}, "
        "\"g\": {\"$id\": \"#f\", \"maximum\": 1}}}}}",
        "[2]", "[0]", "expected at most 1, got int (2)");
    assert_refuses(
        "{\"$defs\": {\"a/b~c %\": {\"minimum\": 3}}, \"items\": {\"$ref\": \"#/$defs/a~1b~0c%20%25\"}}", "[2]",
        "[0]", "expected at least 3, got int (2)");
    assert_refuses(
        "{\"$ref\": \"http://json-schema.org/draft-07/schema#\"}", "{\"type\": \"str\"}", "type",
        "expected one of \"array\", \"boolean\", \"integer\", \"null\", \"number\", \"object\", \"string\", "
        "got \"str\"");
    assert_accepts("{\"items\": {\"$ref\": \"#/definitions/a\", \"maximum\": 1}, \"definitions\": {\"a\": {}}}",
                   "[2]");
}

static void test_references_that_lead_nowhere(void **state) /* S32 */
{
    (void)state;
    assert_malformed(
        "{\"items\": {\"$ref\": \"#/definitions/a\"}}",
        "malformed JSON schema: \"$ref\" in items leads nowhere: there is no \"#/definitions/a\" in this "
        "schema");
    assert_malformed(
        "{\"$ref\": \"http://example.com/s.json#/a\"}",
        "malformed JSON schema: \"$ref\" leads to another document, \"http://example.com/s.json#/a\": "
        "expected a place in this schema");
    assert_malformed(
        "{\"$ref\": \"file:///etc/passwd\"}",
        "malformed JSON schema: \"$ref\" leads to another document, \"file:///etc/passwd\": expected a "
        "place in this schema");
    assert_malformed("{\"$ref\": 1}", "malformed JSON schema: \"$ref\" must be a string");
    assert_malformed("{\"$ref\": \"#/type\", \"type\": \"null\"}",
                     "malformed JSON schema: \"schema\" in #/type must be a dict, true or false");
    assert_malformed("{\"items\": {\"$ref\": \"#/a\"}, \"a\": {\"$ref\": \"#/b\"}, \"b\": {\"$ref\": \"#/a\"}}",
                     "malformed JSON schema: \"$ref\" leads to itself: \"#/a\"");
    assert_malformed(
        "{\"items\": {\"$ref\": \"#/a\"}, \"a\": {\"type\": \"x\"}}",
        "malformed JSON schema: \"type\" in #/a must be the name of a JSON type or a list of different "
        "ones");
    assert_malformed("{\"definitions\": {\"a\": {\"$id\": \"#x\"}, \"b\": {\"$id\": \"#x\"}}}",
                     "malformed JSON schema: \"$id\" is the same in two places");
}

static void test_defaults_by_reference(void **state)
{
    const validator *v = compiled("{\"properties\": {\"a\": {\"allOf\": [{\"$ref\": \"#/definitions/n\"}], "
                                  "\"default\": 1}}, \"definitions\": {\"n\": {\"type\": \"integer\"}}}");

    (void)state;
    assert_true(validator_check(v, json("{\"a\": 3}"), NULL));
    assert_false(validator_check(v, json("{\"a\": \"x\"}"), NULL));
}

/* ---- Keyword arguments ------------------------------------------------------------------------------ */

static bool accepts_kwargs(const char *schema, const char *name, const char *value, violation *why)
{
    const lb_kwarg one = {.name = slice_of(name), .value = json(value)};
    return validator_check_kwargs(compiled(schema), &one, 1, why);
}

static void test_kwargs(void **state)
{
    violation why = {0};

    (void)state;
    assert_true(accepts_kwargs(
        "{\"$ref\": \"#/definitions/a\", \"definitions\": {\"a\": {\"required\": [\"x\"]}}}", "x", "1", &why));
    assert_false(accepts_kwargs("{\"allOf\": [{\"required\": [\"y\"]}]}", "x", "1", &why));
    assert_string_equal(why.reason, "missing \"y\"");
    assert_false(accepts_kwargs("{\"not\": {\"required\": [\"x\"]}}", "x", "1", &why));
    assert_string_equal(why.reason, "fits what \"not\" excludes, got dict");
    assert_false(accepts_kwargs("{\"patternProperties\": {\"x\": {\"type\": \"null\"}}}", "x", "1", &why));
    assert_string_equal(why.path, "x");
    assert_false(accepts_kwargs("{\"minProperties\": 2}", "x", "1", &why));
    assert_string_equal(why.reason, "expected at least 2 members, got 1");
    assert_false(accepts_kwargs("{\"dependencies\": {\"x\": [\"y\"]}}", "x", "1", &why));
    assert_string_equal(why.reason, "missing \"y\", which is needed beside \"x\"");
    assert_false(accepts_kwargs("{\"if\": {\"required\": [\"x\"]}, \"then\": false}", "x", "1", &why));
    assert_string_equal(why.reason, "the arguments are not among those allowed");
    assert_false(accepts_kwargs("{\"oneOf\": [{}, {}]}", "x", "1", &why));
    assert_false(accepts_kwargs("{\"propertyNames\": {\"minLength\": 2}}", "x", "1", &why));
}

int main(void)
{
    formats_checked = FORMATS_STRICT;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_limits_are_exact, empty_memory),
        cmocka_unit_test_teardown(test_numbers_that_are_none, empty_memory),
        cmocka_unit_test_teardown(test_multiples_are_exact, empty_memory),
        cmocka_unit_test_teardown(test_strings, empty_memory),
        cmocka_unit_test_teardown(test_which_formats_are_checked, empty_memory),
        cmocka_unit_test_teardown(test_lists, empty_memory),
        cmocka_unit_test_teardown(test_long_lists_are_unique, empty_memory),
        cmocka_unit_test_teardown(test_dicts, empty_memory),
        cmocka_unit_test_teardown(test_logic, empty_memory),
        cmocka_unit_test_teardown(test_long_enums, empty_memory),
        cmocka_unit_test_teardown(test_references, empty_memory),
        cmocka_unit_test_teardown(test_references_that_lead_nowhere, empty_memory),
        cmocka_unit_test_teardown(test_defaults_by_reference, empty_memory),
        cmocka_unit_test_teardown(test_kwargs, empty_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
