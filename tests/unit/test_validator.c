/* The validator: what it accepts, what its messages say, and which schemas it refuses. S32: schemas and values
 * come from the bus, so both are hostile until proven otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "validation.h"

/* ---- Helpers ---------------------------------------------------------------------------------------- */

static lb_kwarg kwarg(const char *name, const char *value)
{
    return (lb_kwarg){.name = slice_of(name), .value = json(value)};
}

/* ---- Values ----------------------------------------------------------------------------------------- */

static void test_types(void **state)
{
    (void)state;
    assert_accepts("{\"type\": \"null\"}", "null");
    assert_accepts("{\"type\": \"boolean\"}", "false");
    assert_accepts("{\"type\": \"integer\"}", "18446744073709551615");
    assert_accepts("{\"type\": \"integer\"}", "-1");
    assert_accepts("{\"type\": \"integer\"}", "1.0"); /* as Python's jsonschema does */
    assert_accepts("{\"type\": \"integer\"}", "1e300");
    assert_accepts("{\"type\": \"number\"}", "1");
    assert_accepts("{\"type\": \"number\"}", "1.5");
    assert_accepts("{\"type\": \"number\"}", "NaN"); /* Python sends it */
    assert_accepts("{\"type\": \"string\"}", "\"\"");
    assert_accepts("{\"type\": \"array\"}", "[1, \"x\"]");
    assert_accepts("{\"type\": \"object\"}", "{\"a\": 1}");
    assert_accepts("{\"type\": [\"string\", \"null\"]}", "null");
    assert_accepts("{}", "[null]");
    assert_accepts("true", "1");

    assert_refuses("{\"type\": \"string\"}", "3", "", "expected str, got int (3)");
    assert_refuses("{\"type\": \"integer\"}", "true", "", "expected int, got bool (true)");
    assert_refuses("{\"type\": \"number\"}", "false", "", "expected float, got bool (false)");
    assert_refuses("{\"type\": \"boolean\"}", "1", "", "expected bool, got int (1)");
    assert_refuses("{\"type\": \"integer\"}", "1.5", "", "expected int, got float (1.5)");
    assert_refuses("{\"type\": \"integer\"}", "NaN", "", "expected int, got float (NaN)");
    assert_refuses("{\"type\": \"integer\"}", "-Infinity", "", "expected int, got float (-Infinity)");
    assert_refuses("{\"type\": \"null\"}", "[]", "", "expected null, got list");
    assert_refuses("{\"type\": [\"integer\", \"string\"]}", "{}", "", "expected int or str, got dict");
    assert_refuses("{\"type\": [\"integer\", \"number\"]}", "null", "", "expected float, got null");
    assert_refuses("false", "1", "", "expected nothing, got int (1)");
}

static void test_enum_and_const(void **state)
{
    (void)state;
    assert_accepts("{\"enum\": [\"a\", 1, null, [1]]}", "1.0");
    assert_accepts("{\"enum\": [\"a\", 1, null, [1]]}", "[1]");
    assert_accepts("{\"const\": {\"a\": [true]}}", "{\"a\": [true]}");
    assert_refuses("{\"enum\": [\"a\", \"b\"]}", "\"c\"", "", "expected one of \"a\", \"b\", got \"c\"");
    assert_refuses("{\"enum\": [1]}", "true", "", "expected one of int (1), got bool (true)");
    assert_refuses("{\"enum\": []}", "1", "", "expected nothing, got int (1)");
    assert_refuses("{\"const\": 1}", "\"x\"", "", "expected int (1), got \"x\"");
    assert_refuses("{\"enum\": [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\"]}", "\"x\"", "",
                   "expected one of \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", ..., got \"x\"");
}

static void test_lists(void **state)
{
    (void)state;
    assert_accepts("{\"items\": {\"type\": \"integer\"}}", "[1, 2]");
    assert_accepts("{\"items\": {\"type\": \"integer\"}}", "\"no list\"");
    assert_accepts("{\"items\": [{\"type\": \"integer\"}]}", "[1, \"x\"]");
    assert_accepts("{\"minItems\": 2, \"maxItems\": 2.0, \"prefixItems\": [{\"type\": \"integer\"}]}",
                   "[\"x\", 1]");
    assert_refuses("{\"items\": {\"type\": \"string\"}}", "[\"a\", \"b\", \"c\", null]", "[3]",
                   "expected str, got null");
    assert_refuses("{\"items\": [{\"type\": \"integer\"}]}", "[\"x\"]", "[0]", "expected int, got str (\"x\")");
    assert_refuses("{\"items\": false}", "[1]", "[0]", "expected nothing, got int (1)");
    assert_refuses("{\"minItems\": 2, \"maxItems\": 2}", "[1]", "", "expected 2 items, got 1");
    assert_refuses("{\"minItems\": 1}", "[]", "", "expected at least 1 items, got 0");
    assert_refuses("{\"maxItems\": 1}", "[1, 2]", "", "expected at most 1 items, got 2");
}

static void test_dicts(void **state)
{
    static const char user[] = "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}, "
                               "\"tags\": {\"items\": {\"properties\": {\"id\": {\"type\": \"integer\"}}}}}, "
                               "\"required\": [\"name\"], \"additionalProperties\": false}";

    (void)state;
    assert_accepts(user, "{\"name\": \"x\"}");
    assert_accepts(user, "{\"tags\": [{\"id\": 1}, 5], \"name\": \"x\"}");
    assert_accepts("{\"required\": [\"a\"]}", "3");
    assert_refuses(user, "{}", "", "missing \"name\"");
    assert_refuses(user, "{\"name\": \"x\", \"age\": 3}", "", "unexpected \"age\"");
    assert_refuses(user, "{\"name\": \"x\", \"name\": \"y\"}", "", "there are two of \"name\"");
    assert_refuses(user, "{\"name\": 1.5}", "name", "expected str, got float (1.5)");
    assert_refuses(user, "{\"name\": \"x\", \"tags\": [1, {\"id\": \"3\"}]}", "tags[1].id",
                   "expected int, got str (\"3\")");
    assert_accepts("{\"additionalProperties\": {\"type\": \"integer\"}}", "{\"a\": 1, \"b\": 2}");
    assert_refuses("{\"additionalProperties\": {\"type\": \"integer\"}}", "{\"a\": 1, \"b\": \"x\"}", "b",
                   "expected int, got str (\"x\")");
    assert_refuses("{\"required\": [\"a\"], \"additionalProperties\": false}", "{\"a\": 1}", "a",
                   "expected nothing, got int (1)");
    assert_refuses("{\"properties\": {\"\": {\"type\": \"null\"}}, \"required\": [\"\"]}", "{\"\": 1}", "",
                   "expected null, got int (1)");
}

static void test_any_of(void **state)
{
    static const char optional[] = "{\"anyOf\": [{\"type\": \"object\", \"properties\": {\"id\": {\"type\": "
                                   "\"integer\"}}, \"required\": [\"id\"]}, {\"type\": \"null\"}]}";

    (void)state;
    assert_accepts("{\"anyOf\": [{\"type\": \"integer\"}, {\"type\": \"null\"}]}", "null");
    assert_accepts("{\"anyOf\": [{}, {\"type\": \"null\"}]}", "\"x\"");
    assert_accepts(optional, "{\"id\": 1}");
    assert_accepts(optional, "null");
    assert_refuses("{\"anyOf\": [{\"type\": \"integer\"}, {\"type\": \"null\"}]}", "\"x\"", "",
                   "expected int or null, got str (\"x\")");
    assert_refuses(optional, "{\"id\": \"x\"}", "id", "expected int, got str (\"x\")");
    assert_refuses(optional, "{}", "", "missing \"id\"");
    assert_refuses("{\"anyOf\": [{\"enum\": [\"a\"]}, {\"const\": \"b\"}]}", "\"c\"", "",
                   "fits none of the types allowed, got str (\"c\")");
    assert_refuses("{\"type\": \"string\", \"anyOf\": [{\"type\": \"integer\"}]}", "1", "",
                   "expected nothing, got int (1)");
}

static void test_many_properties(void **state)
{
    buffer schema = {0}, value = {0};

    (void)state;
    for (int i = 0; i < 1000; i++) {
        buffer_printf(&schema, "%s\"p%d\": {\"type\": \"integer\"}", i ? ", " : "{\"properties\": {", i);
        buffer_printf(&value, "%s\"p%d\": %d", i ? ", " : "{", i, i);
    }
    buffer_literal(&schema, "}, \"required\": [\"p999\"], \"additionalProperties\": false}");
    buffer_char(&value, '}');
    assert_accepts(buffer_text(&schema), buffer_text(&value));
    assert_refuses(schema.data, "{\"p1\": 1}", "", "missing \"p999\"");
    assert_refuses(schema.data, "{\"p999\": 1, \"q\": 1}", "", "unexpected \"q\"");
    assert_refuses(schema.data, "{\"p999\": 1, \"p500\": \"x\"}", "p500", "expected int, got str (\"x\")");
    buffer_free(&schema);
    buffer_free(&value);
}

static void test_messages_are_one_cut_line(void **state)
{
    char long_text[600] = "\"";
    violation why;

    (void)state;
    assert_refuses("{\"type\": \"integer\"}", "\"a\\nb\\u0001\"", "", "expected int, got str (\"a?b?\")");
    memset(long_text + 1, 'x', 500);
    strcpy(long_text + 501, "\"");
    assert_refuses("{\"type\": \"integer\"}", long_text, "",
                   "expected int, got str (\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\")");
    /* cut between characters: each is two bytes, after one that is one */
    char text[300] = "{\"type\":\"null\",\"properties\":{}}", value[300] = "{\"a";
    for (int i = 0; i < 100; i++)
        strcat(value, "\xc3\xa4");
    strcat(value, "\": 1}");
    strcpy(text, "{\"additionalProperties\": {\"type\": \"null\"}}");
    assert_false(validator_check(compiled(text), json(value), &why));
    assert_int_equal(strlen(why.path), 127);
    assert_string_equal(why.path + 123, "\xc3\xa4\xc3\xa4");
}

/* ---- Keyword arguments ------------------------------------------------------------------------------ */

static void test_kwargs(void **state)
{
    const validator *v = compiled("{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\"}, "
                                  "\"b\": {\"items\": {\"type\": \"integer\"}}}, \"required\": [\"a\"], "
                                  "\"additionalProperties\": false}");
    const lb_kwarg right[] = {kwarg("b", "[1]"), kwarg("a", "\"x\"")};
    const lb_kwarg twice[] = {kwarg("a", "\"x\""), kwarg("a", "\"x\"")};
    const lb_kwarg wrong[] = {kwarg("a", "\"x\""), kwarg("b", "[1, 2, \"3\"]")};
    const lb_kwarg extra[] = {kwarg("a", "\"x\""), kwarg("c", "1")};
    violation why;

    (void)state;
    assert_true(validator_check_kwargs(v, right, 2, &why));
    assert_true(validator_check_kwargs(NULL, right, 2, &why));
    assert_false(validator_check_kwargs(v, NULL, 0, &why));
    assert_int_equal(why.kind, VIOLATION_MISSING);
    assert_memory_equal(why.name.data, "a", 1);
    assert_false(validator_check_kwargs(v, twice, 2, &why));
    assert_int_equal(why.kind, VIOLATION_DUPLICATE);
    assert_false(validator_check_kwargs(v, extra, 2, &why));
    assert_int_equal(why.kind, VIOLATION_UNEXPECTED);
    assert_string_equal(why.reason, "unexpected \"c\"");
    assert_false(validator_check_kwargs(v, wrong, 2, &why));
    assert_int_equal(why.kind, VIOLATION_VALUE);
    assert_string_equal(why.path, "b[2]");
}

static void test_undeclared_kwargs(void **state)
{
    const validator *open = compiled("{\"type\": \"object\"}"), *typed = NULL;
    lb_kwarg kwargs[300];
    char names[300][16];
    violation why;

    (void)state;
    typed = compiled("{\"additionalProperties\": {\"type\": \"integer\"}}");
    for (int i = 0; i < 300; i++) {
        snprintf(names[i], sizeof names[i], "n%d", i);
        kwargs[i] = kwarg(names[i], "1");
    }
    assert_true(validator_check_kwargs(open, kwargs, 256, &why));
    assert_true(validator_check_kwargs(typed, kwargs, 256, &why));
    assert_false(validator_check_kwargs(open, kwargs, 300, &why)); /* S32 */
    kwargs[255].name = kwargs[7].name;
    assert_false(validator_check_kwargs(open, kwargs, 256, &why));
    assert_int_equal(why.kind, VIOLATION_DUPLICATE);
    kwargs[255] = kwarg("x", "\"1\"");
    assert_false(validator_check_kwargs(typed, kwargs, 256, &why));
    assert_string_equal(why.path, "x");
}

static void test_kwargs_as_a_whole(void **state)
{
    const lb_kwarg one[] = {kwarg("a", "1")}, other[] = {kwarg("a", "2")};
    violation why;

    (void)state;
    assert_true(validator_check_kwargs(compiled("{\"const\": {\"a\": 1.0}}"), one, 1, &why));
    assert_false(validator_check_kwargs(compiled("{\"const\": {\"a\": 1.0}}"), other, 1, &why));
    assert_true(validator_check_kwargs(compiled("{\"enum\": [5, {\"a\": 2}]}"), other, 1, &why));
    assert_false(validator_check_kwargs(compiled("{\"enum\": [5, {\"a\": 2}]}"), one, 1, &why));
    assert_false(validator_check_kwargs(compiled("{\"type\": \"string\"}"), one, 1, &why));
    assert_false(validator_check_kwargs(compiled("false"), one, 1, &why));
    assert_true(validator_check_kwargs(
        compiled("{\"anyOf\": [{\"required\": [\"b\"]}, {\"required\": [\"a\"]}]}"), one, 1, &why));
    assert_false(validator_check_kwargs(compiled("{\"anyOf\": [{\"required\": [\"b\"]}]}"), one, 1, &why));
    assert_string_equal(why.reason, "missing \"b\"");
}

/* ---- Schemas that are refused ------------------------------------------------------------------------ */

static void test_malformed_schemas(void **state)
{
    (void)state;
    assert_malformed("3", "malformed JSON schema: \"schema\" must be a dict, true or false");
    assert_malformed("{\"type\": 3}",
                     "malformed JSON schema: \"type\" must be the name of a JSON type or a list of "
                     "different ones");
    assert_malformed("{\"type\": \"str\"}",
                     "malformed JSON schema: \"type\" must be the name of a JSON type or a "
                     "list of different ones");
    assert_malformed("{\"type\": []}",
                     "malformed JSON schema: \"type\" must be the name of a JSON type or a list of "
                     "different ones");
    assert_malformed("{\"type\": [\"null\", \"null\"]}",
                     "malformed JSON schema: \"type\" must be the name of a JSON "
                     "type or a list of different ones");
    assert_malformed("{\"properties\": []}", "malformed JSON schema: \"properties\" must be a dict of schemas");
    assert_malformed("{\"properties\": {\"a\": {\"items\": 3}}}",
                     "malformed JSON schema: \"schema\" in properties.a.items must be a dict, true or false");
    assert_malformed("{\"properties\": {\"a\": {}, \"a\": {}}}",
                     "malformed JSON schema: \"properties\" holds one name twice");
    assert_malformed("{\"required\": \"a\"}", "malformed JSON schema: \"required\" must be a list of names");
    assert_malformed("{\"required\": [1]}", "malformed JSON schema: \"required\" must be a list of names");
    assert_malformed("{\"required\": [\"a\", \"a\"]}",
                     "malformed JSON schema: \"required\" holds one name twice");
    assert_malformed("{\"additionalProperties\": null}",
                     "malformed JSON schema: \"schema\" in additionalProperties must be a dict, true or false");
    assert_malformed("{\"anyOf\": []}", "malformed JSON schema: \"anyOf\" must be a list of schemas");
    assert_malformed("{\"anyOf\": [{\"enum\": 1}]}", "malformed JSON schema: \"enum\" in anyOf must be a list");
    assert_malformed("{\"minItems\": -1}",
                     "malformed JSON schema: \"minItems\" must be a whole number, 0 or more");
    assert_malformed("{\"maxItems\": \"1\"}",
                     "malformed JSON schema: \"maxItems\" must be a whole number, 0 or more");
    assert_malformed("{\"$ref\": \"#\"}", "malformed JSON schema: \"$ref\" leads to itself: \"#\"");
}

static char *nested_schema(int depth, const char *open, const char *close)
{
    buffer out = {0};

    for (int i = 0; i < depth; i++)
        buffer_str(&out, open);
    buffer_literal(&out, "{}");
    for (int i = 0; i < depth; i++)
        buffer_str(&out, close);
    return buffer_text(&out);
}

static void test_nesting_is_bounded(void **state) /* S32 */
{
    char *right = nested_schema(200, "{\"items\":", "}"), *wrong = nested_schema(201, "{\"items\":", "}");
    char *branches = nested_schema(150, "{\"anyOf\":[", "]}");

    (void)state;
    assert_accepts(right, "[[[1]]]");
    assert_malformed(wrong, "malformed JSON schema: \"schema\" is nested deeper than 200 levels");
    assert_accepts(branches, "1");
    free(right);
    free(wrong);
    free(branches);
}

static void test_the_number_of_properties_is_bounded(void **state) /* S32 */
{
    buffer schema = {0};

    (void)state;
    for (int i = 0; i < 1025; i++)
        buffer_printf(&schema, "%s\"p%d\"", i ? ", " : "{\"required\": [", i);
    buffer_literal(&schema, "]}");
    assert_malformed(buffer_text(&schema), "malformed JSON schema: \"required\" has more than 1024 names");
    buffer_free(&schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_types, empty_memory),
        cmocka_unit_test_teardown(test_enum_and_const, empty_memory),
        cmocka_unit_test_teardown(test_lists, empty_memory),
        cmocka_unit_test_teardown(test_dicts, empty_memory),
        cmocka_unit_test_teardown(test_any_of, empty_memory),
        cmocka_unit_test_teardown(test_many_properties, empty_memory),
        cmocka_unit_test_teardown(test_messages_are_one_cut_line, empty_memory),
        cmocka_unit_test_teardown(test_kwargs, empty_memory),
        cmocka_unit_test_teardown(test_undeclared_kwargs, empty_memory),
        cmocka_unit_test_teardown(test_kwargs_as_a_whole, empty_memory),
        cmocka_unit_test_teardown(test_malformed_schemas, empty_memory),
        cmocka_unit_test_teardown(test_nesting_is_bounded, empty_memory),
        cmocka_unit_test_teardown(test_the_number_of_properties_is_bounded, empty_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
