/* Arguments from the command line. */
#include "base/arena.h"
#include "cli/arguments.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

static arena memory;

static int clear(void **state)
{
    (void)state;
    arena_free(&memory);
    memory = (arena){0};
    return 0;
}

static lb_value *json(const char *text)
{
    lb_value *value = NULL;
    lb_error error = {0};

    assert_ok(lb_value_parse(text, strlen(text), &value, &error), &error);
    return value;
}

/* What the text becomes as the argument "x" where x has that schema: JSON, or text as it is after a "'". */
static const char *typed(const char *schema, const char *text)
{
    char *word = arena_printf(&memory, "x=%s", text), *parameters, *shown;
    lb_value *tree = NULL;
    lb_error error = {0};
    lb_arg *args;

    if (schema) {
        parameters = arena_printf(&memory, "{\"properties\": {\"x\": %s}}", schema);
        tree = json(parameters);
    }
    assert_ok(arguments_split(&memory, &word, 1, &args, &error), &error);
    if (arguments_type(&memory, tree, args, &error) != LB_OK) {
        lb_value_free(tree);
        return arena_printf(&memory, "error: %s", error.message);
    }
    lb_value_free(tree);
    if (args->value.kind == LB_DATUM_STR)
        return arena_printf(&memory, "'%s", args->value.as.str);
    assert_int_equal(args->value.kind, LB_DATUM_VALUE);
    shown = lb_value_json(args->value.as.value, NULL);
    word = arena_copy(&memory, shown, strlen(shown));
    free(shown);
    return word;
}

static void strings_are_taken_as_they_are(void **state)
{
    (void)state;
    const char *string = "{\"type\": \"string\"}";

    assert_string_equal(typed(string, "admin"), "'admin");
    assert_string_equal(typed(string, "7"), "'7");
    assert_string_equal(typed(string, "null"), "'null");
    assert_string_equal(typed(string, "\"quoted\""), "'\"quoted\"");
    assert_string_equal(typed(string, ""), "'");
    assert_string_equal(typed(string, "a=b"), "'a=b");
    assert_string_equal(typed("{\"enum\": [\"1\", \"2\"]}", "1"), "'1");
    assert_string_equal(typed("{\"const\": \"1\"}", "1"), "'1");
}

static void other_types_are_json(void **state)
{
    (void)state;
    assert_string_equal(typed("{\"type\": \"integer\"}", "7"), "7");
    assert_string_equal(typed("{\"type\": \"number\"}", "7.5"), "7.5");
    assert_string_equal(typed("{\"type\": \"number\"}", "7"), "7");
    assert_string_equal(typed("{\"type\": \"boolean\"}", "true"), "true");
    assert_string_equal(typed("{\"type\": \"array\"}", "[1, \"a\"]"), "[1,\"a\"]");
    assert_string_equal(typed("{\"type\": \"object\"}", "{\"a\": null}"), "{\"a\":null}");
}

static void without_a_type_it_is_what_it_looks_like(void **state)
{
    (void)state;
    assert_string_equal(typed("{}", "7"), "7");
    assert_string_equal(typed("{}", "\"7\""), "\"7\"");
    assert_string_equal(typed("{}", "seven"), "'seven");
    assert_string_equal(typed("true", "null"), "null");
    assert_string_equal(typed(NULL, "[1]"), "[1]");
    assert_string_equal(typed(NULL, "[1"), "'[1");
}

static void unions_take_json_that_they_admit(void **state)
{
    (void)state;
    const char *optional = "{\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"null\"}]}";
    const char *either = "{\"type\": [\"string\", \"integer\"]}";

    assert_string_equal(typed(optional, "null"), "null");
    assert_string_equal(typed(optional, "7"), "'7");
    assert_string_equal(typed(optional, "text"), "'text");
    assert_string_equal(typed(either, "7"), "7");
    assert_string_equal(typed(either, "7.5"), "'7.5");
    assert_string_equal(typed(either, "\"7\""), "\"7\"");
    assert_string_equal(typed("{\"enum\": [1, \"a\"]}", "1"), "1");
}

static void what_does_not_fit_is_left_to_validation(void **state)
{
    (void)state;
    assert_string_equal(typed("{\"type\": \"integer\"}", "seven"), "'seven");
    assert_string_equal(typed("{\"type\": \"integer\"}", "true"), "true");
    assert_string_equal(typed("{\"type\": \"boolean\"}", ""), "'");
}

static void a_broken_list_is_an_error_that_names_the_argument(void **state)
{
    (void)state;
    assert_non_null(strstr(typed("{\"type\": \"array\"}", "[1, "), "error: argument \"x\": "));
    assert_non_null(strstr(typed("{\"type\": \"object\"}", "{a: 1}"), "error: argument \"x\": "));
}

static void a_deep_schema_ends(void **state)
{
    (void)state;
    char schema[4096] = "";

    for (int i = 0; i < 100; i++)
        strcat(schema, "{\"anyOf\": [");
    strcat(schema, "{}");
    for (int i = 0; i < 100; i++)
        strcat(schema, "]}");
    assert_string_equal(typed(schema, "7"), "7");
}

static void malformed_words_are_named(void **state)
{
    (void)state;
    char *words[] = {"a=1", "b", NULL}, *twice[] = {"a=1", "a=2"}, *nameless[] = {"=1"};
    lb_error error = {0};
    lb_arg *args;

    assert_int_equal(arguments_split(&memory, words, 2, &args, &error), LB_USAGE);
    assert_string_equal(error.message, "argument \"b\": expected NAME=VALUE");
    assert_int_equal(arguments_split(&memory, twice, 2, &args, &error), LB_USAGE);
    assert_string_equal(error.message, "argument \"a\" is given twice");
    assert_int_equal(arguments_split(&memory, nameless, 1, &args, &error), LB_USAGE);
    assert_string_equal(error.message, "argument \"=1\": expected NAME=VALUE");
    assert_ok(arguments_split(&memory, words, 0, &args, &error), &error);
    assert_null(args[0].name);
}

static void json_objects(void **state)
{
    (void)state;
    lb_error error = {0};
    lb_arg *args;

    assert_ok(arguments_from_json(&memory, "{\"a\": 1, \"b\": [true]}", &args, &error), &error);
    assert_string_equal(args[0].name, "a");
    assert_int_equal(lb_value_int(args[0].value.as.value), 1);
    assert_string_equal(args[1].name, "b");
    assert_int_equal(lb_value_count(args[1].value.as.value), 1);
    assert_null(args[2].name);
    assert_ok(arguments_from_json(&memory, "{}", &args, &error), &error);
    assert_null(args[0].name);
    assert_int_equal(arguments_from_json(&memory, "[1]", &args, &error), LB_USAGE);
    assert_non_null(strstr(error.message, "expected an object"));
    assert_int_equal(arguments_from_json(&memory, "{\"a\":", &args, &error), LB_USAGE);
    assert_int_equal(arguments_from_json(&memory, "", &args, &error), LB_USAGE);
}

static void targets(void **state)
{
    (void)state;
    const char *const bad[] = {"", "auth", ".x", "auth.", "."};
    lb_error error = {0};
    target t;

    assert_ok(target_split(&memory, "support.case.create", &t, &error), &error);
    assert_string_equal(t.api, "support.case");
    assert_string_equal(t.member, "create");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(target_split(&memory, bad[i], &t, &error), LB_USAGE);
}

static void unknown_targets_are_answered_with_what_there_is(void **state)
{
    (void)state;
    lb_value *schemas = json("{\"auth\": {\"rpcs\": {\"check_password\": {\"a\": 1}}, \"events\": {}},"
                             " \"shop\": {\"rpcs\": {}}, \"broken\": 3}");
    const lb_value *member;
    lb_error error = {0};

    assert_ok(target_find(schemas, &(target){"auth", "check_password"}, "rpcs", &member, &error), &error);
    assert_int_equal(lb_value_int(lb_value_get(member, "a")), 1);
    assert_int_equal(target_find(schemas, &(target){"auht", "x"}, "rpcs", &member, &error), LB_UNKNOWN_API);
    assert_string_equal(error.message, "no API \"auht\" is on the bus; did you mean \"auth\"?");
    assert_int_equal(target_find(schemas, &(target){"invoices", "x"}, "rpcs", &member, &error), LB_UNKNOWN_API);
    assert_string_equal(error.message, "no API \"invoices\" is on the bus; there are: auth, shop, broken");
    assert_int_equal(target_find(schemas, &(target){"auth", "chek_password"}, "rpcs", &member, &error),
                     LB_UNKNOWN_MEMBER);
    assert_string_equal(error.message, "the API \"auth\" has no procedure \"chek_password\"; did you mean "
                                       "\"check_password\"?");
    assert_int_equal(target_find(schemas, &(target){"shop", "sold"}, "events", &member, &error),
                     LB_UNKNOWN_MEMBER);
    assert_string_equal(error.message, "the API \"shop\" has no event \"sold\"; there are none");
    assert_int_equal(target_find(schemas, &(target){"broken", "x"}, "rpcs", &member, &error),
                     LB_UNKNOWN_MEMBER);
    lb_value_free(schemas);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(strings_are_taken_as_they_are, clear),
        cmocka_unit_test_teardown(other_types_are_json, clear),
        cmocka_unit_test_teardown(without_a_type_it_is_what_it_looks_like, clear),
        cmocka_unit_test_teardown(unions_take_json_that_they_admit, clear),
        cmocka_unit_test_teardown(what_does_not_fit_is_left_to_validation, clear),
        cmocka_unit_test_teardown(a_broken_list_is_an_error_that_names_the_argument, clear),
        cmocka_unit_test_teardown(a_deep_schema_ends, clear),
        cmocka_unit_test_teardown(malformed_words_are_named, clear),
        cmocka_unit_test_teardown(json_objects, clear),
        cmocka_unit_test_teardown(targets, clear),
        cmocka_unit_test_teardown(unknown_targets_are_answered_with_what_there_is, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
