/* Schemas of APIs: what is published equals what Python Lightbus publishes for the like-typed class (S34), what
 * others publish is read whatever it holds (S32). The files in data/schema were published by Python Lightbus.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "schema/json_schema.h"
#include "schema/schema.h"
#include "schema/validator.h"

/* ---- Helpers ---------------------------------------------------------------------------------------- */

static lb_status answer(lb_request *request, void *data)
{
    (void)request;
    (void)data;
    return LB_OK;
}

static buffer read_file(const char *name)
{
    char path[4096];
    buffer text = {0};

    snprintf(path, sizeof path, "%s/data/schema/%s", TESTS_DIR, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
    for (int c; (c = getc(file)) != EOF;)
        buffer_char(&text, (char)c);
    fclose(file);
    return text;
}

static lb_value *read_json(const char *name)
{
    buffer text = read_file(name);
    lb_value *value = NULL;

    assert_int_equal(lb_value_parse(text.data, text.size, &value, NULL), LB_OK);
    buffer_free(&text);
    return value;
}

/* Equal as JSON, or the test fails and shows both. */
static void assert_json(const char *what, const lb_value *expected, lb_slice text)
{
    lb_value *given = NULL;

    assert_int_equal(lb_value_parse(text.data, text.size, &given, NULL), LB_OK);
    if (!lb_value_equal(expected, given))
        fail_msg("%s:\n%.*s\nexpected:\n%s", what, (int)text.size, text.data, lb_value_json(expected, NULL));
    lb_value_free(given);
}

static api_schema *from_json(const char *json)
{
    api_schema *schema = NULL;
    lb_error error = {0};

    if (api_schema_from_json(slice_of("remote.api"), slice_of(json), &schema, &error) != LB_OK)
        fail_msg("%s: %s", json, error.message);
    return schema;
}

static void assert_prints(const member_schema *member, const char *signature)
{
    buffer out = {0};

    assert_non_null(member);
    member_print(&out, member);
    assert_string_equal(buffer_text(&out), signature);
    buffer_free(&out);
}

/* ---- S34: as Python publishes it --------------------------------------------------------------------- */

static void test_types_are_published_as_python_does(void **state)
{
    lb_value *rows = read_json("python_types.json");
    lb_value_iterator it = lb_value_iterate(rows);
    lb_error error = {0};

    (void)state;
    assert_true(lb_value_count(rows) > 25);
    while (lb_value_next(&it)) {
        const char *type = lb_value_str(lb_value_get(it.value, "type"));
        buffer text = {0}, schema = {0};
        signature *s = NULL;
        buffer_printf(&text, *type ? "f(v: %s) -> %s" : "f(v)", type, type);
        if (signature_parse(NULL, buffer_text(&text), &s, &error) != LB_OK)
            fail_msg("%s", error.message);
        json_schema_of_type(&schema, s->parameters[0].type);
        assert_json(type, lb_value_get(it.value, "parameter"), (lb_slice){schema.data, schema.size});
        if (s->result) {
            buffer_clear(&schema, 0);
            json_schema_of_type(&schema, s->result);
            assert_json(type, lb_value_get(it.value, "response"), (lb_slice){schema.data, schema.size});
        }
        signature_free(s);
        buffer_free(&text);
        buffer_free(&schema);
    }
    lb_value_free(rows);
}

static void test_members_are_published_as_python_does(void **state)
{
    lb_value *rows = read_json("python_members.json");
    lb_value_iterator it = lb_value_iterate(rows);
    lb_error error = {0};

    (void)state;
    while (lb_value_next(&it)) {
        const char *text = lb_value_str(lb_value_get(it.value, "signature"));
        buffer schema = {0};
        signature *s = NULL;
        if (signature_parse(NULL, text, &s, &error) != LB_OK)
            fail_msg("%s", error.message);
        json_schema_of_member(&schema, slice_of("my_company.types"), s,
                              lb_value_bool(lb_value_get(it.value, "event")));
        assert_json(text, lb_value_get(it.value, "schema"), (lb_slice){schema.data, schema.size});
        signature_free(s);
        buffer_free(&schema);
    }
    assert_int_equal(lb_value_count(rows), 4);
    lb_value_free(rows);
}

static const lb_member auth_members[] = {
    LB_EVENT("user_registered(username: str, email: str, is_admin: bool = false)"),
    LB_EVENT("user_deleted(username: str)"),
    LB_EVENT("untyped(a, b)"),
    LB_EVENT("empty()"),
    LB_RPC("check_password(username: str, password: str) -> bool", answer),
    LB_RPC("check_password_async(username: str, password: str = \"x\") -> bool", answer),
    LB_END,
};
static const lb_api auth = {.name = "my_company.auth", .members = auth_members};

static void test_an_api_is_published_as_python_does(void **state)
{
    lb_value *expected = read_json("python_auth.json");
    api_schema *schema = NULL;
    lb_error error = {0};

    (void)state;
    assert_int_equal(api_schema_from_table(&auth, &schema, &error), LB_OK);
    assert_json("my_company.auth", expected, api_schema_json(schema));
    api_schema_unref(schema);
    lb_value_free(expected);
}

/* ---- Tables ----------------------------------------------------------------------------------------- */

static void test_members_are_found(void **state)
{
    api_schema *schema = NULL;

    (void)state;
    assert_int_equal(api_schema_from_table(&auth, &schema, NULL), LB_OK);
    assert_string_equal(api_schema_name(schema).data, "my_company.auth");
    assert_int_equal(api_schema_count(schema), 6);
    const member_schema *m = api_schema_find(schema, slice_of("check_password"), false);
    assert_ptr_equal(m, api_schema_at(schema, 4));
    assert_ptr_equal(m->row, &auth_members[4]);
    assert_non_null(m->declared);
    assert_non_null(m->parameters);
    assert_non_null(m->response);
    assert_false(m->is_event);
    assert_string_equal(m->name.data, "check_password");
    assert_prints(m, "check_password(username: str, password: str) -> bool");
    assert_null(api_schema_find(schema, slice_of("check_password"), true));
    assert_null(api_schema_find(schema, slice_of("check"), false));
    assert_null(api_schema_at(schema, 6));
    assert_true(api_schema_at(schema, 0)->is_event);
    assert_ptr_equal(api_schema_ref(schema), schema);
    api_schema_unref(schema);
    assert_string_equal(m->name.data, "check_password"); /* one reference is left */
    api_schema_unref(schema);
    api_schema_unref(NULL);
}

static void test_an_api_without_members(void **state)
{
    const lb_api nothing = {.name = "nothing"};
    api_schema *schema = NULL;

    (void)state;
    assert_int_equal(api_schema_from_table(&nothing, &schema, NULL), LB_OK);
    assert_string_equal(api_schema_json(schema).data, "{\"events\":{},\"rpcs\":{}}");
    api_schema_unref(schema);
}

static void assert_table_refused(const char *name, const lb_member *members, lb_status status,
                                 const char *message)
{
    const lb_api api = {.name = name, .members = members};
    api_schema *schema = NULL;
    lb_error error = {0};

    assert_int_equal(api_schema_from_table(&api, &schema, &error), status);
    assert_null(schema);
    assert_string_equal(error.message, message);
}

static void test_tables_are_checked(void **state)
{
    const lb_member same_event[] = {LB_EVENT("a()"), LB_EVENT("a(x)"), LB_END};
    const lb_member same_both[] = {LB_RPC("a()", answer), LB_EVENT("a()"), LB_END};
    const lb_member result[] = {LB_EVENT("a() -> int"), LB_END};
    const lb_member no_signature[] = {LB_EVENT(NULL), LB_END};
    const lb_member malformed[] = {LB_EVENT("b()"), LB_RPC("a(x:)", answer), LB_END};

    (void)state;
    assert_table_refused("x", same_event, LB_DUPLICATE, "x.a: there are two members of this name");
    assert_table_refused("x", same_both, LB_DUPLICATE, "x.a: there are two members of this name");
    assert_table_refused("x", result, LB_INVALID_SIGNATURE, "x.a: an event has no result: expected no \"->\"");
    assert_table_refused("x", no_signature, LB_INVALID_SIGNATURE, "x: a member has no signature");
    assert_table_refused("x", malformed, LB_INVALID_SIGNATURE, "x.a: expected a type after \"x:\" at column 5");
}

static void test_api_names(void **state)
{
    static const char *const right[] = {"a",          "auth", "my_company.auth", "A-1.b_2.3", "defaults",
                                        "my.default", "_"};
    const char *dots = " has an empty part: expected names with single dots between";
    const char *letters = " may hold only letters, digits, \"_\", \"-\", and dots between";
    const char *reserved = " is reserved: in the configuration, default stands for all APIs";
    const struct {
        const char *name, *problem;
    } wrong[] = {
        {".", dots},           {"a.", dots},
        {".a", dots},          {"a..b", dots},
        {"a b", letters},      {"a/b", letters},
        {"a:b", letters},      {"\xc3\xa4", letters},
        {"default", reserved}, {"default.x", reserved},
    };

    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        assert_int_equal(api_name_check(slice_of(right[i]), NULL), LB_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char message[300];
        snprintf(message, sizeof message, "the API name \"%s\"%s", wrong[i].name, wrong[i].problem);
        assert_table_refused(wrong[i].name, NULL, LB_INVALID_NAME, message);
    }
    assert_table_refused("", NULL, LB_INVALID_NAME, "the API name \"\" is empty");
    assert_table_refused(NULL, NULL, LB_INVALID_NAME, "the API name \"\" is empty");
    assert_int_equal(api_name_check((lb_slice){"a\0b", 3}, NULL), LB_INVALID_NAME);
}

/* ---- From the bus ----------------------------------------------------------------------------------- */

static void test_what_python_published_is_read(void **state) /* S34 */
{
    buffer text = read_file("python_auth.json");
    api_schema *schema = from_json(buffer_text(&text));

    (void)state;
    assert_int_equal(api_schema_count(schema), 6);
    assert_string_equal(api_schema_name(schema).data, "remote.api");
    assert_memory_equal(api_schema_json(schema).data, text.data, text.size);
    const member_schema *m = api_schema_find(schema, slice_of("check_password"), false);
    assert_prints(m, "check_password(username: str, password: str) -> bool");
    assert_null(m->declared);
    assert_null(m->row);
    assert_prints(api_schema_find(schema, slice_of("user_registered"), true),
                  "user_registered(username: str, email: str, is_admin: bool = false)");
    assert_prints(api_schema_find(schema, slice_of("untyped"), true), "untyped(a: any, b: any)");
    assert_prints(api_schema_find(schema, slice_of("empty"), true), "empty()");
    api_schema_unref(schema);
    buffer_free(&text);
}

static void test_types_of_python_are_shown_as_ours(void **state)
{
    lb_value *rows = read_json("python_types.json");
    lb_value_iterator it = lb_value_iterate(rows);

    (void)state;
    while (lb_value_next(&it)) {
        buffer shown = {0}, schema = {0};
        signature *s = NULL;
        json_schema_print_type(&shown, lb_value_get(it.value, "parameter"));
        char *type = buffer_text(&shown), text[1000];
        /* The form shown stands for the same schema. */
        snprintf(text, sizeof text, "f(v: %s)", type);
        assert_int_equal(signature_parse(NULL, text, &s, NULL), LB_OK);
        json_schema_of_type(&schema, s->parameters[0].type);
        if (!strstr(type, "balance")) /* where `required` is in another order than `properties` */
            assert_json(type, lb_value_get(it.value, "parameter"), (lb_slice){schema.data, schema.size});
        signature_free(s);
        buffer_free(&shown);
        buffer_free(&schema);
    }
    lb_value_free(rows);
}

static void test_foreign_schemas_are_shown(void **state)
{
    api_schema *schema =
        from_json("{\"rpcs\": {\"a\": {}, \"b\": {\"parameters\": true, \"response\": false},"
                  "\"c\": {\"parameters\": {\"properties\": {\"x y\": {\"type\": \"string\"}, \"l\": "
                  "{\"type\": [\"array\", "
                  "\"null\"]}, \"s\": {\"type\": \"object\", \"properties\": {\"-\": {}}}, \"e\": {\"enum\": "
                  "[[1]]}, \"n\": "
                  "{\"not\": {}}}}, \"response\": {\"type\": [\"integer\", \"string\", \"boolean\"]}}}}");

    (void)state;
    assert_prints(api_schema_find(schema, slice_of("a"), false), "a()");
    assert_null(api_schema_find(schema, slice_of("a"), false)->parameters);
    assert_prints(api_schema_find(schema, slice_of("b"), false), "b()");
    assert_prints(api_schema_find(schema, slice_of("c"), false),
                  "c(\"x y\": str, l: list?, s: dict, e: any, n: any) -> int | str | bool");
    api_schema_unref(schema);
}

static void assert_malformed(const char *json, const char *message)
{
    api_schema *schema = NULL;
    lb_error error = {0};

    assert_int_equal(api_schema_from_json(slice_of("remote.api"), slice_of(json), &schema, &error),
                     LB_MALFORMED);
    assert_null(schema);
    assert_string_equal(error.message, message);
}

static void test_malformed_schemas_are_refused(void **state) /* S32 */
{
    lb_error error = {0};
    api_schema *schema = NULL;

    (void)state;
    assert_malformed("", "schema of remote.api: not JSON: it is empty");
    assert_malformed("[]", "schema of remote.api: expected a dict");
    assert_malformed("null", "schema of remote.api: expected a dict");
    assert_malformed("{\"rpcs\": []}", "schema of remote.api: \"rpcs\": expected a dict");
    assert_malformed("{\"events\": null}", "schema of remote.api: \"events\": expected a dict");
    assert_malformed("{\"events\": {\"a\": 1}}", "schema of remote.api: a: expected a dict");
    assert_malformed("{\"events\": {\"\": {}}}", "schema of remote.api: a member has no proper name");
    assert_malformed("{\"events\": {\"a\\nb\": {}}}", "schema of remote.api: a member has no proper name");
    assert_malformed("{\"events\": {\"a\\u0000b\": {}}}", "schema of remote.api: a member has no proper name");
    assert_malformed("{\"events\": {\"a\": {}, \"a\": {}}}", "schema of remote.api: a is there twice");
    assert_malformed(
        "{\"events\": {\"a\": {\"parameters\": 1}}}",
        "remote.api.a: parameters: malformed JSON schema: \"schema\" must be a dict, true or false");
    assert_malformed("{\"rpcs\": {\"a\": {\"response\": {\"$ref\": \"#\"}}}}",
                     "remote.api.a: response: malformed JSON schema: \"$ref\" leads to itself: \"#\"");
    assert_int_equal(api_schema_from_json(slice_of("a b"), slice_of("{}"), &schema, &error), LB_INVALID_NAME);
    assert_int_equal(api_schema_from_json(slice_of("a"), (lb_slice){"{\"rpcs\": \xff}", 11}, &schema, &error),
                     LB_MALFORMED);
    schema = from_json("{}"); /* S34: either half may be absent */
    assert_int_equal(api_schema_count(schema), 0);
    api_schema_unref(schema);
    schema = from_json("{\"rpcs\": {\"a\": {}}, \"events\": {\"a\": {}}, \"more\": 1}");
    assert_int_equal(api_schema_count(schema), 2);
    api_schema_unref(schema);
}

static void test_hostile_sizes_are_refused(void **state) /* S32 */
{
    buffer deep = {0}, many = {0};
    lb_error error = {0};
    api_schema *schema = NULL;

    (void)state;
    for (int i = 0; i < 100000; i++)
        buffer_char(&deep, '[');
    assert_int_equal(api_schema_from_json(slice_of("a"), slice_of(buffer_text(&deep)), &schema, &error),
                     LB_MALFORMED);
    for (int i = 0; i <= 10000; i++)
        buffer_printf(&many, "%s\"m%d\": {}", i ? ", " : "{\"rpcs\": {", i);
    buffer_literal(&many, "}}");
    assert_malformed(buffer_text(&many), "schema of remote.api: more than 10000 members");
    buffer_free(&deep);
    buffer_free(&many);
}

/* A list of types that names one type often, at every level below where nothing is compiled, is printed in no
 * more than the time that its size asks for. */
static void test_printing_does_not_explode(void **state) /* S32 */
{
    buffer json = {0}, out = {0};

    (void)state;
    buffer_literal(&json, "{\"rpcs\": {\"a\": {\"response\": {\"type\": \"array\", \"prefixItems\": [");
    for (int i = 0; i < 100; i++)
        buffer_literal(&json, "{\"type\": [\"array\", \"array\", \"array\"], \"prefixItems\": [");
    for (int i = 0; i < 100; i++)
        buffer_literal(&json, "]}");
    buffer_literal(&json, "]}}}}");
    api_schema *schema = from_json(buffer_text(&json));
    member_print(&out, api_schema_at(schema, 0));
    assert_string_equal(buffer_text(&out), "a() -> tuple[list | list | list]");
    api_schema_unref(schema);
    buffer_free(&json);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_are_published_as_python_does),
        cmocka_unit_test(test_members_are_published_as_python_does),
        cmocka_unit_test(test_an_api_is_published_as_python_does),
        cmocka_unit_test(test_members_are_found),
        cmocka_unit_test(test_an_api_without_members),
        cmocka_unit_test(test_tables_are_checked),
        cmocka_unit_test(test_api_names),
        cmocka_unit_test(test_what_python_published_is_read),
        cmocka_unit_test(test_types_of_python_are_shown_as_ours),
        cmocka_unit_test(test_foreign_schemas_are_shown),
        cmocka_unit_test(test_malformed_schemas_are_refused),
        cmocka_unit_test(test_hostile_sizes_are_refused),
        cmocka_unit_test(test_printing_does_not_explode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
