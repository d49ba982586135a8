/* Every value that was recorded with Python Lightbus (tests/data/vectors/t01_types.json, "rows"), through our
 * stages without a bus (S34). The replay plays most of them over Redis; here are also those where we differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "schema/schema.h"

/* What we refuse although Python does not, and why. */
static const struct {
    const char *type, *wire, *reason;
} refused[] = {
    {"int_", "1000000000000000000000000000000", "64 bits"},
    {"int_", "-1000000000000000000000000000000", "64 bits"},
    {"datetime_", "\"not a date\"", "an error with Python too, but one of the handler"},
    {"uuid_", "\"not a uuid\"", "Python hands out the string"},
    {"tuple_int_str", "[\"a\", 1]", "Python makes a str of the 1, and hands out the \"a\" as it is"},
};

static bool is_refused(const char *type, const char *wire)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strcmp(type, refused[i].type) == 0 && strcmp(wire, refused[i].wire) == 0)
            return true;
    return false;
}

static lb_value *rows;
static arena memory;

static int load(void **state)
{
    buffer text = {0};
    lb_error error = {0};
    FILE *file = fopen(TESTS_DIR "/data/vectors/t01_types.json", "r");
    size_t got = 1;

    (void)state;
    assert_non_null(file);
    while (got && buffer_room(&text, 65536)) {
        got = fread(text.data + text.size, 1, 65536, file);
        text.size += got;
    }
    fclose(file);
    if (lb_value_parse(text.data, text.size, &rows, &error) != LB_OK)
        fail_msg("%s", error.message);
    buffer_free(&text);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    lb_value_free(rows);
    arena_free(&memory);
    return 0;
}

static const struct {
    const char *name, *type;
} types[] = {
    {"any_", "any"},
    {"any_hint", "any"},
    {"object_", "any"},
    {"bool_", "bool"},
    {"bytes_", "bytes"},
    {"complex_", "str"},
    {"custom", "dict[str, int]"},
    {"dataclass_", "Address { street: str, number: int, since: date? = null }"},
    {"date_", "date"},
    {"datetime_", "datetime"},
    {"decimal_", "decimal"},
    {"dict_", "dict"},
    {"dict_str_int", "dict[str, int]"},
    {"dict_str_uuid", "dict[str, uuid]"},
    {"enum_int", "enum(1, 2)"},
    {"enum_str", "enum(\"red\", \"blue\")"},
    {"float_", "float"},
    {"int_", "int"},
    {"list_", "list"},
    {"list_date", "list[date]"},
    {"list_int", "list[int]"},
    {"namedtuple_", "Point { x: int, y: float = 1.5 }"},
    {"nested",
     "{ addresses: list[{ street: str, number: int, since: date? = null }], balance: decimal, name: str, "
     "id: uuid, favourite: enum(\"red\", \"blue\") = \"red\" }"},
    {"none_", "null"},
    {"optional_int", "int?"},
    {"set_int", "list[int]"},
    {"str_", "str"},
    {"time_", "time"},
    {"tuple_", "tuple"},
    {"tuple_int_str", "tuple[int, str]"},
    {"union_int_str", "int | str"},
    {"uuid_", "uuid"},
};

static api_schema *api_of(const char *name)
{
    char signature[500] = "";
    api_schema *schema = NULL;
    lb_error error = {0};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            snprintf(signature, sizeof signature, "f(v: %s) -> %s", types[i].type, types[i].type);
    const lb_member members[] = {LB_RPC(signature, NULL), LB_END};
    if (api_schema_from_table(&(lb_api){.name = "a", .members = members}, &schema, &error) != LB_OK)
        fail_msg("%s: %s", name, error.message);
    return schema;
}

/* A value as it was on the wire: taken in, handed back. */
static void check_row(const lb_value *row)
{
    const char *type = lb_value_str(lb_value_get(row, "api_type"));
    const char *wire = lb_value_str(lb_value_get(row, "wire"));
    api_schema *schema = api_of(type);
    const member_schema *member = api_schema_at(schema, 0);
    lb_kwarg kwarg = {.name = slice_of("v")};
    const lb_kwarg *kwargs = &kwarg;
    size_t count = 1;
    lb_error error = {0};
    const unsigned how = MARSHAL_VALIDATE | MARSHAL_CAST;

    if (json_parse(&memory, wire, strlen(wire), &kwarg.value, &error) != LB_OK) {
        if (!strstr(wire, "\\ud800\"")) /* a lone surrogate is no character: refused as no JSON */
            fail_msg("%s: %s: %s", type, wire, error.message);
        assert_int_equal(error.status, LB_MALFORMED);
    } else {
        lb_status status = arguments_accept(slice_of("a"), member, how, &memory, &kwargs, &count, &error);
        if ((status != LB_OK) != is_refused(type, wire))
            fail_msg("%s: %s: %s", type, wire, status == LB_OK ? "is accepted" : error.message);
        if (status == LB_OK && !lb_value_equal(kwarg.value, kwargs[0].value) &&
            strcmp(wire, "{\"x\": 1}") != 0 && strcmp(wire, "NaN") != 0)
            fail_msg("%s: %s was changed", type, wire);
    }
    api_schema_unref(schema);
}

static void test_what_python_sent_is_received_S34(void **state)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(rows, "rows"));
    size_t sent = 0;

    (void)state;
    while (lb_value_next(&it))
        if (lb_value_get(it.value, "wire")) {
            check_row(it.value);
            sent++;
        }
    assert_true(sent > 110);
}

/* Values that Python's sender refuses by the schema are refused by ours. */
static void test_what_python_refuses_to_send_is_refused(void **state)
{
    static const struct {
        const char *type, *json;
    } cases[] = {
        {"int_", "true"},
        {"int_", "\"1\""},
        {"bool_", "1"},
        {"none_", "1"},
        {"decimal_", "1.5"},
        {"decimal_", "\"1E+3\""},
        {"decimal_", "\"NaN\""},
        {"list_int", "[1, \"x\"]"},
        {"tuple_int_str", "[1, \"a\", 2]"},
        {"dict_str_int", "{\"a\": \"x\"}"},
        {"union_int_str", "null"},
        {"enum_str", "\"green\""},
        {"namedtuple_", "{\"x\": 1, \"y\": 2.0, \"z\": 3}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        api_schema *schema = api_of(cases[i].type);
        lb_kwarg *kwargs;
        size_t count;
        lb_error error = {0};
        lb_datum v = LB_JSON(cases[i].json);
        if (arguments_encode(slice_of("a"), api_schema_at(schema, 0), MARSHAL_VALIDATE, LB_ARGS(LB("v", v)),
                             &memory, &kwargs, &count, &error) != LB_INVALID_ARGUMENTS)
            fail_msg("%s: %s is sent", cases[i].type, cases[i].json);
        api_schema_unref(schema);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_python_sent_is_received_S34),
        cmocka_unit_test(test_what_python_refuses_to_send_is_refused),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
