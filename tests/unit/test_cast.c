/* Casting: what handlers get of what their signatures declare, and what is refused because it cannot be read so
 * (S4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "schema/schema.h"

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

/* The one RPC of a local API, f(v: TYPE) -> TYPE. */
static const member_schema *of_type(const char *type)
{
    char signature[1000];
    snprintf(signature, sizeof signature, "f(v: %s) -> %s", type, type);
    const lb_member members[] = {LB_RPC(signature, NULL), LB_END};
    const lb_api api = {.name = "a", .members = members};

    api_schema_unref(schema);
    error = (lb_error){0};
    if (api_schema_from_table(&api, &schema, &error) != LB_OK)
        fail_msg("%s", error.message);
    return api_schema_at(schema, 0);
}

/* What the handler of f(v: TYPE) gets for a JSON text; NULL: it is refused, error says why. */
static const char *received(const char *type, const char *json, unsigned how)
{
    lb_kwarg kwarg = {.name = slice_of("v")};
    const lb_kwarg *kwargs = &kwarg;
    const member_schema *member = of_type(type);
    size_t count = 1;
    buffer text = {0};

    assert_int_equal(json_parse(&memory, json, strlen(json), &kwarg.value, NULL), LB_OK);
    if (arguments_accept(slice_of("a"), member, how, &memory, &kwargs, &count, &error) != LB_OK) {
        assert_int_equal(error.status, LB_INVALID_ARGUMENTS);
        return NULL;
    }
    assert_int_equal(count, 1);
    json_write(&text, kwargs[0].value);
    const char *copy = arena_copy(&memory, text.data, text.size);
    buffer_free(&text);
    return copy;
}

static void assert_received(const char *type, const char *json, const char *expected)
{
    const char *got = received(type, json, MARSHAL_VALIDATE | MARSHAL_CAST);

    if (!got)
        fail_msg("%s: %s is refused: %s", type, json, error.message);
    assert_string_equal(got, expected);
}

static void assert_refused(const char *type, const char *json, const char *message)
{
    const char *got = received(type, json, MARSHAL_VALIDATE | MARSHAL_CAST);

    if (got)
        fail_msg("%s: %s is received as %s", type, json, got);
    assert_string_equal(error.message, message);
}

static void test_strings_that_are_none_of_their_type_are_refused_S4(void **state)
{
    (void)state;
    assert_refused("datetime", "\"not a date\"",
                   "a.f: v: expected a datetime like \"2020-01-02T03:04:05+00:00\", got str (\"not a date\")");
    assert_refused("date", "\"2020-02-30\"",
                   "a.f: v: expected a date like \"2020-01-02\", got str (\"2020-02-30\")");
    assert_refused("time", "\"25:00\"", "a.f: v: expected a time like \"03:04:05\", got str (\"25:00\")");
    assert_refused("uuid", "\"x\"",
                   "a.f: v: expected a uuid like \"12345678-1234-5678-1234-567812345678\", got str (\"x\")");
    assert_refused("bytes", "\"YQ\"", "a.f: v: expected bytes as base64, got str (\"YQ\")");
    assert_received("datetime", "\"2020-01-02T03:04:05\"", "\"2020-01-02T03:04:05\"");
    assert_received("bytes", "\"!!\"", "\"!!\"");
    assert_received("decimal", "\"1.10\"", "\"1.10\"");
}

static void test_the_place_is_named(void **state)
{
    (void)state;
    assert_refused("list[date]", "[\"2020-01-02\", \"x\"]",
                   "a.f: v[1]: expected a date like \"2020-01-02\", got str (\"x\")");
    assert_refused("dict[str, { at: date }]", "{\"k\": {\"at\": \"x\"}}",
                   "a.f: v.k.at: expected a date like \"2020-01-02\", got str (\"x\")");
    assert_refused("date?", "\"x\"", "a.f: v: expected a date like \"2020-01-02\", got str (\"x\")");
    assert_received("date?", "null", "null");
}

/* draft-07 does not know prefixItems: the types of a tuple's elements are checked here. */
static void test_elements_of_tuples(void **state)
{
    (void)state;
    assert_received("tuple[int, str]", "[1, \"a\"]", "[1,\"a\"]");
    assert_refused("tuple[int, str]", "[\"a\", 1]", "a.f: v[0]: expected int, got str (\"a\")");
    assert_received("tuple", "[1, null]", "[1,null]");
}

static void test_integers_have_64_bits(void **state)
{
    (void)state;
    assert_received("int", "9223372036854775807", "9223372036854775807");
    assert_received("int", "-9223372036854775808", "-9223372036854775808");
    assert_received("int", "18446744073709551615", "18446744073709551615");
    assert_received("int", "1.0", "1.0");
    assert_refused("int", "1000000000000000000000000000000",
                   "a.f: v: expected an int of 64 bits, got float (1e30)");
    assert_received("float", "1000000000000000000000000000000", "1e30");
    assert_received("any", "1000000000000000000000000000000", "1e30");
}

static void test_unions_take_what_a_branch_takes(void **state)
{
    (void)state;
    assert_received("datetime | str", "\"x\"", "\"x\"");
    assert_received("date | int", "3", "3");
    assert_refused("date | int", "\"x\"", "a.f: v: expected date | int, got str (\"x\")");
    assert_received("list[{ a: int = 1 }] | { b: int = 2 }", "{}", "{\"b\":2}");
}

static void test_absent_fields_of_structs_get_their_defaults(void **state)
{
    (void)state;
    assert_received("Point { x: int, y: float = 1.5 }", "{\"x\": 1}", "{\"x\":1,\"y\":1.5}");
    assert_received("Point { x: int, y: float = 1.5 }", "{\"y\": 2, \"x\": 1}", "{\"y\":2,\"x\":1}");
    assert_received("list[{ a: { b: int = 3, c: str? = null } }]",
                    "[{\"a\": {}}, {\"a\": {\"b\": 1, \"c\": \"\"}}]",
                    "[{\"a\":{\"b\":3,\"c\":null}},{\"a\":{\"b\":1,\"c\":\"\"}}]");
    assert_received("dict[str, { n: int = 0 }?]", "{\"x\": null, \"y\": {}}", "{\"x\":null,\"y\":{\"n\":0}}");
    assert_received("tuple[{ n: int = 0 }, int]", "[{}, 1]", "[{\"n\":0},1]");
}

static void test_without_casting_json_stays_as_it_came(void **state)
{
    (void)state;
    assert_string_equal(received("datetime", "\"not a date\"", MARSHAL_VALIDATE), "\"not a date\"");
    assert_string_equal(received("{ a: int = 1 }", "{}", MARSHAL_VALIDATE), "{}");
    assert_null(received("datetime", "3", MARSHAL_VALIDATE));
    assert_string_equal(received("datetime", "3", 0), "3");
}

static void test_what_is_sent_can_be_read_at_the_other_end(void **state)
{
    const member_schema *m = of_type("list[date]");
    lb_kwarg *kwargs;
    size_t count;
    buffer out = {0};
    lb_datum wrong = LB_JSON("[\"x\"]");

    (void)state;
    assert_int_equal(arguments_encode(slice_of("a"), m, MARSHAL_VALIDATE,
                                      LB_ARGS(LB("v", LB_JSON("[\"2020-01-02\"]"))), &memory, &kwargs, &count,
                                      &error),
                     LB_OK);
    assert_int_equal(arguments_encode(slice_of("a"), m, MARSHAL_VALIDATE, LB_ARGS(LB("v", wrong)), &memory,
                                      &kwargs, &count, &error),
                     LB_INVALID_ARGUMENTS);
    assert_string_equal(error.message, "a.f: v[0]: expected a date like \"2020-01-02\", got str (\"x\")");
    assert_int_equal(result_encode(slice_of("a"), m, MARSHAL_VALIDATE, &wrong, &out, &error),
                     LB_INVALID_RESULT);
    assert_int_equal(out.size, 0);
    assert_int_equal(result_encode(slice_of("a"), m, 0, &wrong, &out, &error), LB_OK);
    buffer_free(&out);
}

/* The values of types.h as arguments. */
static void test_values_are_sent_as_their_texts(void **state)
{
    const lb_uuid uuid = {
        {0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78}};
    const struct {
        const char *type;
        lb_datum datum;
        const char *json;
    } cases[] = {
        {"bytes", LB_DATUM(LB_BYTES("\0\xff", 2)), "\"AP8=\""},
        {"bytes", LB_DATUM(LB_BYTES("", 0)), "\"\""},
        {"datetime", LB_DATUM(LB_DATETIME(2020, 1, 2, 3, 4, 5)), "\"2020-01-02T03:04:05\""},
        {"datetime", LB_DATUM(LB_DATETIME_UTC(2020, 1, 2, 3, 4, 5)), "\"2020-01-02T03:04:05+00:00\""},
        {"datetime", LB_DATUM(LB_DATE(2020, 1, 2)), "\"2020-01-02\""},
        {"date", LB_DATUM(LB_DATE(2020, 1, 2)), "\"2020-01-02\""},
        {"time", LB_DATUM(LB_TIME(1, 2, 3)), "\"01:02:03\""},
        {"decimal", LB_DATUM(LB_DECIMAL("1.10")), "\"1.10\""},
        {"uuid", LB_DATUM(uuid), "\"12345678-1234-5678-1234-567812345678\""},
        {"any", LB_DATUM(uuid), "\"12345678-1234-5678-1234-567812345678\""},
        {"datetime?", LB_NULL, "null"},
    };
    const struct {
        const char *type;
        lb_datum datum;
        const char *message;
    } wrong[] = {
        {"date", LB_DATUM(LB_DATE(2020, 2, 30)), "a.f: v: no such day"},
        {"datetime", LB_DATUM(LB_DATETIME(2020, 1, 2, 24, 0, 0)), "a.f: v: no such point in time"},
        {"time", LB_DATUM(LB_TIME(0, 0, 60)), "a.f: v: no such time of day"},
        {"decimal", LB_DATUM(LB_DECIMAL("1E+3")), "a.f: v: expected a decimal like \"-12.50\""},
        {"decimal", LB_DATUM(LB_DECIMAL(NULL)), "a.f: v: expected a decimal like \"-12.50\""},
        {"int", LB_DATUM(LB_DATE(2020, 1, 2)), "a.f: v: expected int, got str (\"2020-01-02\")"},
    };
    lb_kwarg *kwargs;
    size_t count;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lb_arg args[] = {{"v", cases[i].datum}, {NULL, LB_NULL}};
        if (arguments_encode(slice_of("a"), of_type(cases[i].type), MARSHAL_VALIDATE, args, &memory, &kwargs,
                             &count, &error) != LB_OK)
            fail_msg("%s: %s", cases[i].type, error.message);
        assert_int_equal(kwargs[0].json.size, strlen(cases[i].json));
        assert_memory_equal(kwargs[0].json.data, cases[i].json, kwargs[0].json.size);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const lb_arg args[] = {{"v", wrong[i].datum}, {NULL, LB_NULL}};
        assert_int_equal(arguments_encode(slice_of("a"), of_type(wrong[i].type), MARSHAL_VALIDATE, args,
                                          &memory, &kwargs, &count, &error),
                         LB_INVALID_ARGUMENTS);
        assert_string_equal(error.message, wrong[i].message);
    }
}

#define test(f) cmocka_unit_test_teardown(f, tidy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_strings_that_are_none_of_their_type_are_refused_S4),
        test(test_the_place_is_named),
        test(test_elements_of_tuples),
        test(test_integers_have_64_bits),
        test(test_unions_take_what_a_branch_takes),
        test(test_absent_fields_of_structs_get_their_defaults),
        test(test_without_casting_json_stays_as_it_came),
        test(test_what_is_sent_can_be_read_at_the_other_end),
        test(test_values_are_sent_as_their_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
