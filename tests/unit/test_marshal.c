/* Marshalling: C arguments and results to JSON on the way out, checks and defaults on the way in, and what the
 * errors say (S4, S5, S20: a bad call or event is refused with its reason). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "schema/schema.h"

#define UUID "12345678-1234-5678-1234-567812345678"

/* ---- Helpers ---------------------------------------------------------------------------------------- */

static arena memory;
static api_schema *schema;
static lb_error error;

static int tidy(void **state)
{
    (void)state;
    api_schema_unref(schema);
    schema = NULL;
    arena_free(&memory);
    return 0;
}

/* A local API of one RPC. */
static const member_schema *local(const char *signature)
{
    const lb_member members[] = {LB_RPC(signature, NULL), LB_END};
    const lb_api api = {.name = "auth", .members = members};

    api_schema_unref(schema);
    error = (lb_error){0};
    if (api_schema_from_table(&api, &schema, &error) != LB_OK)
        fail_msg("%s", error.message);
    return api_schema_at(schema, 0);
}

/* One RPC of another process, with these parameters. */
static const member_schema *remote(const char *parameters)
{
    char json[1000];

    api_schema_unref(schema);
    error = (lb_error){0};
    snprintf(json, sizeof json, "{\"rpcs\": {\"f\": {\"parameters\": %s}}}", parameters);
    if (api_schema_from_json(slice_of("auth"), slice_of(json), &schema, &error) != LB_OK)
        fail_msg("%s", error.message);
    return api_schema_at(schema, 0);
}

/* The arguments as one dict. */
static void assert_encodes(const member_schema *member, const lb_arg *args, const char *expected)
{
    lb_kwarg *kwargs = NULL;
    size_t count = 0;
    buffer text = {0};

    if (arguments_encode(slice_of("auth"), member, MARSHAL_VALIDATE, args, &memory, &kwargs, &count, &error) !=
        LB_OK)
        fail_msg("%s", error.message);
    buffer_char(&text, '{');
    for (size_t i = 0; i < count; i++) {
        buffer_printf(&text, "%s\"%.*s\":", i ? "," : "", (int)kwargs[i].name.size, kwargs[i].name.data);
        buffer_add(&text, kwargs[i].json.data, kwargs[i].json.size);
    }
    buffer_char(&text, '}');
    assert_string_equal(buffer_text(&text), expected);
    buffer_free(&text);
}

static void assert_not_encoded(const member_schema *member, const lb_arg *args, const char *message)
{
    lb_kwarg *kwargs;
    size_t count;

    error = (lb_error){0};
    assert_int_equal(
        arguments_encode(slice_of("auth"), member, MARSHAL_VALIDATE, args, &memory, &kwargs, &count, &error),
        LB_INVALID_ARGUMENTS);
    assert_string_equal(error.message, message);
}

/* The keyword arguments of a dict, as a transport gives them. */
static size_t kwargs_of(const char *json, lb_kwarg *kwargs)
{
    const lb_value *dict = NULL;
    size_t count = 0;

    assert_int_equal(json_parse(&memory, json, strlen(json), &dict, NULL), LB_OK);
    for (lb_value_iterator it = lb_value_iterate(dict); lb_value_next(&it);)
        kwargs[count++] = (lb_kwarg){.name = {it.name, it.name_size}, .value = it.value};
    return count;
}

static void assert_accepted(const member_schema *member, const char *json, const char *expected)
{
    lb_kwarg list[16];
    const lb_kwarg *kwargs = list;
    size_t count = kwargs_of(json, list);
    buffer text = {0};

    if (arguments_accept(slice_of("auth"), member, MARSHAL_VALIDATE | MARSHAL_CAST, &memory, &kwargs, &count,
                         &error) != LB_OK)
        fail_msg("%s", error.message);
    buffer_char(&text, '{');
    for (size_t i = 0; i < count; i++) {
        buffer_printf(&text, "%s\"%.*s\":", i ? "," : "", (int)kwargs[i].name.size, kwargs[i].name.data);
        json_write(&text, kwargs[i].value);
    }
    buffer_char(&text, '}');
    assert_string_equal(buffer_text(&text), expected);
    buffer_free(&text);
}

static void assert_not_accepted(const member_schema *member, const char *json, const char *message)
{
    lb_kwarg list[16];
    const lb_kwarg *kwargs = list;
    size_t count = kwargs_of(json, list);

    error = (lb_error){0};
    assert_int_equal(arguments_accept(slice_of("auth"), member, MARSHAL_VALIDATE | MARSHAL_CAST, &memory,
                                      &kwargs, &count, &error),
                     LB_INVALID_ARGUMENTS);
    assert_string_equal(error.message, message);
}

static void assert_result(const member_schema *member, lb_datum value, const char *expected)
{
    buffer out = {0};

    buffer_char(&out, '>');
    if (result_encode(slice_of("auth"), member, MARSHAL_VALIDATE, &value, &out, &error) != LB_OK)
        fail_msg("%s", error.message);
    assert_string_equal(buffer_text(&out) + 1, expected);
    buffer_free(&out);
}

static void assert_no_result(const member_schema *member, lb_datum value, const char *message)
{
    buffer out = {0};

    buffer_char(&out, '>');
    error = (lb_error){0};
    assert_int_equal(result_encode(slice_of("auth"), member, MARSHAL_VALIDATE, &value, &out, &error),
                     LB_INVALID_RESULT);
    assert_string_equal(error.message, message);
    assert_string_equal(buffer_text(&out), ">");
    buffer_free(&out);
}

/* ---- Outbound --------------------------------------------------------------------------------------- */

static void test_scalars_are_encoded(void **state)
{
    const member_schema *m =
        local("f(i: int = 0, b: bool = false, d: float = 0, s: str = \"\", x: any = null)");

    (void)state;
    assert_encodes(m, LB_NO_ARGS, "{}");
    assert_encodes(m, LB_ARGS(LB("i", -1), LB("b", 1), LB("d", 1.5), LB("s", "a"), LB("x", LB_NULL)),
                   "{\"i\":-1,\"b\":true,\"d\":1.5,\"s\":\"a\",\"x\":null}");
    assert_encodes(m, LB_ARGS(LB("i", INT64_MIN), LB("x", UINT64_MAX)),
                   "{\"i\":-9223372036854775808,\"x\":18446744073709551615}");
    assert_encodes(m, LB_ARGS(LB("b", (bool)true), LB("d", 3), LB("x", 1)), "{\"b\":true,\"d\":3,\"x\":1}");
    assert_encodes(m, LB_ARGS(LB("b", 0u), LB("d", 3.0), LB("x", 0.1)), "{\"b\":false,\"d\":3.0,\"x\":0.1}");
    assert_encodes(m, LB_ARGS(LB("s", LB_STRN("a\0b", 3))), "{\"s\":\"a\\u0000b\"}");
    assert_encodes(m, LB_ARGS(LB("s", LB_STRN("", 0))), "{\"s\":\"\"}");
    assert_encodes(m, LB_ARGS(LB("s", "\"\\\n\x01\x7f\xc3\xa4\xf0\x9f\x98\x80")),
                   "{\"s\":\"\\\"\\\\\\n\\u0001\x7f\xc3\xa4\xf0\x9f\x98\x80\"}");
    assert_encodes(m, LB_ARGS(LB("d", 5e-324), LB("x", 1.7976931348623157e308)),
                   "{\"d\":5e-324,\"x\":1.7976931348623157e308}");
}

static void test_long_strings_are_encoded(void **state)
{
    const member_schema *m = local("f(s: str)");
    size_t size = 100000;
    char *text = malloc(size + 1), *expected = malloc(6 * size + 20), *at = expected;

    (void)state;
    at += sprintf(at, "{\"s\":\"");
    for (size_t i = 0; i < size; i++) {
        text[i] = i % 3 ? 'a' : '\x02';
        at += sprintf(at, i % 3 ? "a" : "\\u0002");
    }
    text[size] = '\0';
    strcpy(at, "\"}");
    assert_encodes(m, LB_ARGS(LB("s", text)), expected);
    memset(text, '\x1f', size);
    lb_kwarg *kwargs;
    size_t count;
    assert_int_equal(arguments_encode(slice_of("auth"), m, MARSHAL_VALIDATE, LB_ARGS(LB("s", text)), &memory,
                                      &kwargs, &count, &error),
                     LB_OK);
    assert_int_equal(kwargs[0].json.size, 6 * size + 2);
    free(text);
    free(expected);
}

static void test_the_declared_type_decides(void **state)
{
    (void)state;
    assert_encodes(local("f(b: bool?)"), LB_ARGS(LB("b", 2 > 1)), "{\"b\":true}");
    assert_encodes(local("f(b: bool | str)"), LB_ARGS(LB("b", 0)), "{\"b\":false}");
    assert_encodes(local("f(b: bool | int)"), LB_ARGS(LB("b", 1)), "{\"b\":1}");
    assert_encodes(local("f(b: bool | float)"), LB_ARGS(LB("b", 1)), "{\"b\":1}");
    assert_encodes(local("f(s: str?)"), LB_ARGS(LB("s", (const char *)NULL)), "{\"s\":null}");
    assert_encodes(local("f(c: enum(\"red\", \"blue\"))"), LB_ARGS(LB("c", "red")), "{\"c\":\"red\"}");
    assert_encodes(local("f(t: datetime, u: uuid, d: decimal, b: bytes)"),
                   LB_ARGS(LB("t", "2024-01-01T00:00:00"), LB("u", UUID), LB("d", "1.5"), LB("b", "aGk=")),
                   "{\"t\":\"2024-01-01T00:00:00\",\"u\":\"" UUID "\",\"d\":\"1.5\",\"b\":\"aGk=\"}");
}

static void test_trees_are_encoded(void **state)
{
    const member_schema *m = local("f(l: list[int], s: { id: int, tags: list[str] = [] }?)");
    lb_value *list = NULL;

    (void)state;
    assert_int_equal(lb_value_parse("[1, 2]", 6, &list, NULL), LB_OK);
    assert_encodes(m, LB_ARGS(LB("l", list), LB("s", LB_JSON(" {\"id\": 1} "))),
                   "{\"l\":[1,2],\"s\":{\"id\":1}}");
    assert_encodes(m, LB_ARGS(LB("l", LB_JSON("[]")), LB("s", (lb_value *)NULL)), "{\"l\":[],\"s\":null}");
    assert_not_encoded(m, LB_ARGS(LB("l", LB_JSON("[1, \"2\"]")), LB("s", LB_NULL)),
                       "auth.f: l[1]: expected int, got str (\"2\")");
    assert_not_encoded(m, LB_ARGS(LB("l", list), LB("s", LB_JSON("{\"id\": 1, \"tags\": [null]}"))),
                       "auth.f: s.tags[0]: expected str, got null");
    assert_not_encoded(m, LB_ARGS(LB("l", list), LB("s", LB_JSON("{}"))), "auth.f: s: missing \"id\"");
    assert_not_encoded(m, LB_ARGS(LB("l", LB_JSON("[1"))),
                       "auth.f: l: not JSON: unexpected end of data at byte 2");
    assert_not_encoded(m, LB_ARGS(LB("l", LB_JSON(""))), "auth.f: l: not JSON: it is empty");
    assert_not_encoded(m, LB_ARGS(LB("l", LB_JSON("[NaN]"))),
                       "auth.f: l: holds NaN or an infinity, which JSON has not");
    assert_not_encoded(m, LB_ARGS(LB("l", "[1]")), "auth.f: l: expected list, got str (\"[1]\")");
    lb_value_free(list);
}

static void test_wrong_arguments_are_refused(void **state)
{
    const member_schema *m = local("check_password(username: str, password: str) -> bool");

    (void)state;
    assert_not_encoded(m, LB_ARGS(LB("username", "x"), LB("password", 3)),
                       "auth.check_password: password: expected str, got int (3)");
    assert_not_encoded(m, LB_ARGS(LB("username", (const char *)NULL), LB("password", "y")),
                       "auth.check_password: username: expected str, got null");
    assert_not_encoded(m, LB_ARGS(LB("username", "x")),
                       "auth.check_password: missing argument \"password\"; the signature is "
                       "check_password(username: str, password: str) -> bool");
    assert_not_encoded(m, LB_ARGS(LB("username", "x"), LB("pasword", "y")),
                       "auth.check_password: unexpected argument \"pasword\"; did you mean \"password\"? The "
                       "signature is check_password(username: str, password: str) -> bool");
    assert_not_encoded(m, LB_ARGS(LB("username", "x"), LB("tries", 3)),
                       "auth.check_password: unexpected argument \"tries\"; the signature is "
                       "check_password(username: str, password: str) -> bool");
    assert_not_encoded(m, LB_ARGS(LB("username", "x"), LB("username", "y")),
                       "auth.check_password: username: the argument is there twice");
    assert_not_encoded(m, LB_ARGS(LB("username", "\xff"), LB("password", "y")),
                       "auth.check_password: username: the string is not UTF-8");
    assert_not_encoded(m, LB_ARGS(LB("username", "a\xc3"), LB("password", "y")),
                       "auth.check_password: username: the string is not UTF-8");
}

static void test_wrong_scalars_are_refused(void **state)
{
    const member_schema *m =
        local("f(i: int = 0, b: bool = false, d: float = 0, c: enum(\"a\", \"b\") = \"a\", "
              "o: int? = null)");

    (void)state;
    assert_not_encoded(m, LB_ARGS(LB("i", 3.0)), "auth.f: i: expected int, got float (3.0)");
    assert_not_encoded(m, LB_ARGS(LB("i", (bool)true)), "auth.f: i: expected int, got bool (true)");
    assert_not_encoded(m, LB_ARGS(LB("b", 2)), "auth.f: b: expected bool, got int (2)");
    assert_not_encoded(m, LB_ARGS(LB("b", -1)), "auth.f: b: expected bool, got int (-1)");
    assert_not_encoded(m, LB_ARGS(LB("b", 1.0)), "auth.f: b: expected bool, got float (1.0)");
    assert_not_encoded(m, LB_ARGS(LB("d", "1")), "auth.f: d: expected float, got str (\"1\")");
    assert_not_encoded(m, LB_ARGS(LB("d", (double)NAN)),
                       "auth.f: d: expected a finite number: JSON has neither NaN nor infinities");
    assert_not_encoded(m, LB_ARGS(LB("d", -(double)INFINITY)),
                       "auth.f: d: expected a finite number: JSON has neither NaN nor infinities");
    assert_not_encoded(m, LB_ARGS(LB("c", "c")), "auth.f: c: expected one of \"a\", \"b\", got \"c\"");
    assert_not_encoded(m, LB_ARGS(LB("c", 1)), "auth.f: c: expected str, got int (1)");
    assert_not_encoded(m, LB_ARGS(LB("o", "1")), "auth.f: o: expected int or null, got str (\"1\")");
}

static void test_without_a_schema(void **state)
{
    (void)state;
    assert_encodes(NULL, LB_ARGS(LB("b", 1), LB("s", "x"), LB("l", LB_JSON("[1]"))),
                   "{\"b\":1,\"s\":\"x\",\"l\":[1]}");
    assert_not_encoded(NULL, LB_ARGS(LB("d", (double)NAN)),
                       "auth: d: expected a finite number: JSON has neither NaN nor infinities");
    assert_not_encoded(NULL, LB_ARGS(LB("a", 1), LB("a", 2)), "auth: a: the argument is there twice");
    assert_encodes(remote("{}"), LB_ARGS(LB("b", 1)), "{\"b\":1}");
}

static void test_arguments_of_foreign_schemas(void **state)
{
    const member_schema *m = remote("{\"anyOf\": [{\"required\": [\"a\"]}, {\"required\": [\"b\"]}]}");

    (void)state;
    assert_encodes(m, LB_ARGS(LB("b", 1)), "{\"b\":1}");
    assert_not_encoded(m, LB_ARGS(LB("c", 1)), "auth.f: the arguments fit none of the forms allowed");
    assert_not_encoded(remote("{\"type\": \"string\"}"), LB_ARGS(LB("c", 1)),
                       "auth.f: the arguments are not among those allowed");
    assert_not_encoded(remote("{\"additionalProperties\": {\"type\": \"integer\"}}"), LB_ARGS(LB("c", "1")),
                       "auth.f: c: expected int, got str (\"1\")");
    assert_not_encoded(remote("{\"type\": \"object\"}"), LB_ARGS(LB("c", 1), LB("c", 1)),
                       "auth.f: c: the argument is there twice");
}

/* ---- Results ---------------------------------------------------------------------------------------- */

static void test_results_are_encoded(void **state) /* S5 */
{
    const member_schema *m = local("f() -> bool");

    (void)state;
    assert_result(m, LB_DATUM(2 == 2), "true");
    assert_no_result(m, LB_DATUM("x"), "auth.f: result: expected bool, got str (\"x\")");
    assert_no_result(m, LB_NULL, "auth.f: result: expected bool, got null");
    assert_no_result(m, LB_JSON("{"), "auth.f: result: not JSON: unexpected end of data at byte 1");
    m = local("f() -> list[{ id: int }]");
    assert_result(m, LB_JSON("[{\"id\": 1}]"), "[{\"id\":1}]");
    assert_no_result(m, LB_JSON("[{\"id\": 1}, {}]"), "auth.f: result[1]: missing \"id\"");
    assert_no_result(m, LB_DATUM(1.5), "auth.f: result: expected list, got float (1.5)");
    assert_result(local("f()"), LB_DATUM("anything"), "\"anything\"");
    assert_result(local("f() -> null"), LB_NULL, "null");
    assert_result(NULL, LB_DATUM(1), "1");
    assert_no_result(local("f()"), LB_DATUM("\xff"), "auth.f: result: the string is not UTF-8");
}

static void test_results_are_accepted(void **state)
{
    const member_schema *m = local("f() -> int?");
    lb_value *text = NULL;

    (void)state;
    assert_int_equal(lb_value_parse("\"x\"", 3, &text, NULL), LB_OK);
    assert_int_equal(result_accept(slice_of("auth"), m, NULL, &error), LB_OK);
    assert_int_equal(result_accept(slice_of("auth"), NULL, text, &error), LB_OK);
    assert_int_equal(result_accept(slice_of("auth"), m, text, &error), LB_INVALID_RESULT);
    assert_string_equal(error.message, "auth.f: result: expected int or null, got str (\"x\")");
    lb_value_free(text);
}

/* ---- Inbound ---------------------------------------------------------------------------------------- */

static void test_arguments_are_checked(void **state) /* S4 */
{
    const member_schema *m = local("f(a: int, b: { x: list[str] })");

    (void)state;
    assert_accepted(m, "{\"a\": 1.0, \"b\": {\"x\": []}}", "{\"a\":1.0,\"b\":{\"x\":[]}}");
    assert_not_accepted(m, "{\"a\": \"1\", \"b\": {\"x\": []}}", "auth.f: a: expected int, got str (\"1\")");
    assert_not_accepted(m, "{\"a\": 1, \"b\": {\"x\": [1]}}", "auth.f: b.x[0]: expected str, got int (1)");
    assert_not_accepted(m, "{\"a\": 1, \"b\": {}}", "auth.f: b: missing \"x\"");
    assert_not_accepted(m, "{\"a\": 1, \"b\": {\"x\": [], \"y\": 1}}", "auth.f: b: unexpected \"y\"");
    assert_not_accepted(m, "{\"a\": 1}",
                        "auth.f: missing argument \"b\"; the signature is f(a: int, b: { x: list[str] })");
    assert_not_accepted(m, "{\"a\": 1, \"b\": {\"x\": []}, \"aa\": 1}",
                        "auth.f: unexpected argument \"aa\"; did you mean \"a\"? The signature is "
                        "f(a: int, b: { x: list[str] })");
    assert_not_accepted(m, "{\"a\": 1, \"a\": 1}", "auth.f: a: the argument is there twice");
    assert_accepted(NULL, "{\"z\": 1}", "{\"z\":1}");
}

static void test_absent_arguments_get_their_defaults(void **state)
{
    const member_schema *m = local("f(a: int, b: int = 7, c: str? = null, d: list[int] = [1])");

    (void)state;
    assert_accepted(m, "{\"a\": 1}", "{\"a\":1,\"b\":7,\"c\":null,\"d\":[1]}");
    assert_accepted(m, "{\"c\": \"x\", \"a\": 1, \"d\": []}", "{\"c\":\"x\",\"a\":1,\"d\":[],\"b\":7}");
    assert_accepted(local("f(b: bool = false)"), "{}", "{\"b\":false}");
}

/* What a handler gets fits the schema: defaults that break what it says of the arguments as a whole stay out.
 */
static void test_defaults_that_break_the_whole_stay_out(void **state)
{
    static const char *const properties = "\"properties\": {\"a\": {}, \"b\": {\"default\": 1}}";
    static const char *const wholes[] = {
        "\"maxProperties\": 1", "\"if\": {\"required\": [\"b\"]}, \"then\": false",
        "\"dependencies\": {\"b\": [\"c\"]}", "\"not\": {\"required\": [\"b\"]}"};
    char schema[200];

    (void)state;
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++) {
        snprintf(schema, sizeof schema, "{%s, %s}", properties, wholes[i]);
        assert_accepted(remote(schema), "{\"a\": 2}", "{\"a\":2}");
    }
    snprintf(schema, sizeof schema, "{%s, \"maxProperties\": 2}", properties);
    assert_accepted(remote(schema), "{\"a\": 2}", "{\"a\":2,\"b\":1}");
    snprintf(schema, sizeof schema, "{%s, \"minProperties\": 2}", properties); /* what was sent has to fit */
    assert_not_accepted(remote(schema), "{\"a\": 2}", "auth.f: expected at least 2 members, got 1");
}

static void test_defaults_of_foreign_schemas(void **state)
{
    const member_schema *m =
        remote("{\"properties\": {\"a\": {\"default\": 1}, \"b\": {\"anyOf\": [{\"type\": \"string\", "
               "\"default\": null},"
               "{\"type\": \"null\", \"default\": null}]}, \"c\": {\"type\": \"string\", \"default\": 5}, "
               "\"d\": {\"default\": 1}}, \"required\": [\"d\"]}");

    (void)state;
    /* One that breaks its own schema is not filled in. */
    assert_accepted(m, "{\"d\": 2}", "{\"d\":2,\"a\":1,\"b\":null}");
    assert_not_accepted(
        m, "{}",
        "auth.f: missing argument \"d\"; the signature is f(d: any, a: any = 1, b: str? = null, c: "
        "str = 5)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_scalars_are_encoded, tidy),
        cmocka_unit_test_teardown(test_long_strings_are_encoded, tidy),
        cmocka_unit_test_teardown(test_the_declared_type_decides, tidy),
        cmocka_unit_test_teardown(test_trees_are_encoded, tidy),
        cmocka_unit_test_teardown(test_wrong_arguments_are_refused, tidy),
        cmocka_unit_test_teardown(test_wrong_scalars_are_refused, tidy),
        cmocka_unit_test_teardown(test_without_a_schema, tidy),
        cmocka_unit_test_teardown(test_arguments_of_foreign_schemas, tidy),
        cmocka_unit_test_teardown(test_results_are_encoded, tidy),
        cmocka_unit_test_teardown(test_results_are_accepted, tidy),
        cmocka_unit_test_teardown(test_arguments_are_checked, tidy),
        cmocka_unit_test_teardown(test_absent_arguments_get_their_defaults, tidy),
        cmocka_unit_test_teardown(test_defaults_that_break_the_whole_stay_out, tidy),
        cmocka_unit_test_teardown(test_defaults_of_foreign_schemas, tidy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
