/* Whether a new version of an API keeps old callers and listeners working. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "schema/compatibility.h"
#include "schema/schema.h"

static buffer report;

static int tidy(void **state)
{
    (void)state;
    buffer_free(&report);
    report = (buffer){0};
    return 0;
}

static void note(void *data, bool breaks, const char *text)
{
    (void)data;
    if (breaks)
        buffer_printf(&report, "%s%s", report.size ? "\n" : "", text);
}

static lb_value *schema_of(const char *signature, bool is_event)
{
    const lb_member members[] = {{is_event ? LB_MEMBER_EVENT : LB_MEMBER_RPC, signature, NULL, NULL}, LB_END};
    const lb_api api = {.name = "a", .members = signature ? members : members + 1};
    api_schema *schema;
    lb_error error = {0};
    lb_value *value = NULL;

    if (api_schema_from_table(&api, &schema, &error) != LB_OK)
        fail_msg("%s", error.message);
    lb_slice json = api_schema_json(schema);
    assert_int_equal(lb_value_parse(json.data, json.size, &value, NULL), LB_OK);
    api_schema_unref(schema);
    return value;
}

static void compare(lb_value *old, lb_value *fresh, const char *expected)
{
    buffer_clear(&report, 0);
    size_t breaks = compatibility_check(slice_of("a"), old, fresh, note, NULL);
    const char *text = report.size ? buffer_text(&report) : "";

    assert_int_equal(breaks > 0, report.size > 0);
    if (strcmp(text, expected) != 0)
        fail_msg("expected:\n%s\ngot:\n%s", expected, text);
    lb_value_free(old);
    lb_value_free(fresh);
}
#define RPC(old, fresh, expected)   compare(schema_of(old, false), schema_of(fresh, false), expected)
#define EVENT(old, fresh, expected) compare(schema_of(old, true), schema_of(fresh, true), expected)

/* Two schemas of a parameter "v" from elsewhere. */
static void schemas(const char *old, const char *fresh, const char *expected)
{
    lb_value *sides[2];
    const char *parts[] = {old, fresh};

    for (int i = 0; i < 2; i++) {
        buffer json = {0};
        buffer_printf(&json,
                      "{\"rpcs\": {\"f\": {\"parameters\": {\"type\": \"object\", \"properties\": {\"v\": %s}, "
                      "\"required\": [\"v\"], \"additionalProperties\": false}}}}",
                      parts[i]);
        assert_int_equal(lb_value_parse(json.data, json.size, &sides[i], NULL), LB_OK);
        buffer_free(&json);
    }
    compare(sides[0], sides[1], expected);
}

static void test_what_keeps_working(void **state)
{
    (void)state;
    RPC("f(x: int) -> int", "f(x: int) -> int", "");
    RPC("f(x: int)", "f(x: int, y: int = 3)", "");
    RPC("f(x: int)", "f(x: int?)", "");
    RPC("f(x: int)", "f(x: int | str)", "");
    RPC("f(x: int)", "f(x: float)", "");
    RPC("f(x: int)", "f(x: int = 3)", "");
    RPC("f(x: int = 3)", "f(x: int = 4)", "");
    RPC("f(x: date)", "f(x: str)", "");
    RPC("f(x: decimal)", "f(x: str)", "");
    RPC("f(x: int)", "f(x)", "");
    RPC("f(x: int, y: int)", "f(x: int, ...)", "");
    RPC("f(x: enum(\"a\"))", "f(x: enum(\"a\", \"b\"))", "");
    RPC("f(x: enum(\"a\"))", "f(x: str)", "");
    RPC("f(x: { a: int })", "f(x: { a: int, b: str = \"\" })", "");
    RPC("f() -> int?", "f() -> int", "");
    RPC("f() -> int | str", "f() -> str", "");
    RPC("f() -> float", "f() -> int", "");
    RPC("f()", "f() -> int", "");
    RPC("f() -> { a: int = 1, b: int? }", "f() -> { a: int, b: int }", "");
    EVENT("e(x: int)", "e(x: int)", "");
    EVENT("e(x: int?)", "e(x: int)", "");
    EVENT("e(x: int = 3)", "e(x: int)", "");
    EVENT("e(x: int, y: int = 3)", "e(x: int)", "");
    RPC(NULL, "f()", "");
}

static void test_what_old_callers_send(void **state)
{
    (void)state;
    RPC("f(x: int)", "f(x: int, y: int)",
        "a.f: y is required now, and old callers do not send it; give it a default");
    RPC("f(x: int, y: int)", "f(x: int)",
        "a.f: y has gone, and calls with it are refused; keep it, with a default, and ignore it");
    RPC("f(x: int = 1)", "f(x: int)",
        "a.f: x is required now, and old callers do not send it; give it a default");
    RPC("f(x: int | str)", "f(x: int)",
        "a.f: x was int | str, is int: old callers send what is refused now; accept what was accepted");
    RPC("f(x: int?)", "f(x: int)",
        "a.f: x was int?, is int: old callers send what is refused now; accept what was accepted");
    RPC("f(x)", "f(x: int)",
        "a.f: x was any, is int: old callers send what is refused now; accept what was accepted");
    RPC("f(x: str)", "f(x: date)",
        "a.f: x was str, is date: old callers send what is refused now; accept what was accepted");
    RPC("f(x: str)", "f(x: decimal)",
        "a.f: x was str, is decimal: old callers send what is refused now; accept what was accepted");
    RPC("f(x: enum(\"a\", \"b\"))", "f(x: enum(\"a\"))",
        "a.f: x was enum(\"a\", \"b\"), is enum(\"a\"): old callers send what is refused now; accept what was "
        "accepted");
    RPC("f(x: str)", "f(x: enum(\"a\"))",
        "a.f: x was str, is enum(\"a\"): old callers send what is refused now; accept what was accepted");
    RPC("f(x: list[int])", "f(x: list[str])",
        "a.f: x[] was int, is str: old callers send what is refused now; accept what was accepted");
    RPC("f(x: dict[str, { a: int }])", "f(x: dict[str, { a: str }])",
        "a.f: x was dict[str, { a: int }], is dict[str, { a: str }]: old callers send what is refused now; "
        "accept "
        "what was accepted");
    RPC("f(x: { a: int, b: int })", "f(x: { a: int })",
        "a.f: x.b has gone, and calls with it are refused; keep it, with a default, and ignore it");
    RPC("f(x: tuple[int, int])", "f(x: tuple[int, str])",
        "a.f: x[] was int, is str: old callers send what is refused now; accept what was accepted");
    RPC("f(x: int, ...)", "f(x: int)",
        "a.f: the arguments: \"additionalProperties\" has changed: old callers send what is refused now; "
        "accept what "
        "was accepted");
    RPC("f()", NULL, "a.f: the procedure has gone, and callers call it; keep it until none does");
}

static void test_what_old_callers_get(void **state)
{
    (void)state;
    RPC("f() -> int", "f() -> int?",
        "a.f: result was int, is int?: old callers get what they do not know; add another procedure for the "
        "new "
        "result");
    RPC("f() -> int", "f() -> float",
        "a.f: result was int, is float: old callers get what they do not know; add another procedure for the "
        "new "
        "result");
    RPC("f() -> int", "f()",
        "a.f: result was int, is any: old callers get what they do not know; add another procedure for the new "
        "result");
    RPC("f() -> { a: int }", "f() -> { a: int, b: int }",
        "a.f: b is new in the result, and old callers refuse it; add another procedure");
    RPC("f() -> { a: int, b: int }", "f() -> { a: int }",
        "a.f: b may be missing from the result now, and old callers need it; go on returning it");
    RPC("f() -> list[enum(1)]", "f() -> list[enum(1, 2)]",
        "a.f: result[] was enum(1), is enum(1, 2): old callers get what they do not know; add another "
        "procedure for "
        "the new result");
}

/* The roles are swapped: old listeners must accept what the new sender sends. */
static void test_what_old_listeners_get(void **state)
{
    (void)state;
    EVENT("e(x: int)", "e(x: int, y: int = 3)",
          "a.e: y is new, and old listeners refuse events with it; fire another event besides this one");
    EVENT("e(x: int, y: int)", "e(x: int)",
          "a.e: y is not sent any more, and old listeners need it; go on sending it");
    EVENT("e(x: int)", "e(x: int = 3)",
          "a.e: x is not sent any more, and old listeners need it; go on sending it");
    EVENT("e(x: int)", "e(x: int | str)",
          "a.e: x was int, is int | str: old listeners get what they do not know; fire another event besides "
          "this one");
    EVENT("e()", NULL, "a.e: the event has gone, and listeners wait for it; go on firing it");
}

static void test_several_breaks_are_all_reported(void **state)
{
    (void)state;
    RPC("f(x: int, y: int) -> int", "f(x: str, z: int) -> str",
        "a.f: x was int, is str: old callers send what is refused now; accept what was accepted\n"
        "a.f: y has gone, and calls with it are refused; keep it, with a default, and ignore it\n"
        "a.f: z is required now, and old callers do not send it; give it a default\n"
        "a.f: result was int, is str: old callers get what they do not know; add another procedure for the new "
        "result");
}

static void test_keywords_of_other_origins(void **state)
{
#define KEYWORD(name)                                                                                          \
    "a.f: v: \"" name "\" has changed: old callers send what is refused now; accept what was accepted"
    (void)state;
    schemas("{\"type\": \"integer\", \"maximum\": 5}", "{\"type\": \"integer\", \"maximum\": 6}", "");
    schemas("{\"type\": \"integer\", \"maximum\": 6}", "{\"type\": \"integer\", \"maximum\": 5}",
            KEYWORD("maximum"));
    schemas("{\"type\": \"integer\"}", "{\"type\": \"integer\", \"minimum\": 0}", KEYWORD("minimum"));
    schemas("{\"type\": \"string\", \"maxLength\": 5}", "{\"type\": \"string\"}", "");
    schemas("{\"type\": \"string\", \"pattern\": \"a\"}", "{\"type\": \"string\", \"pattern\": \"b\"}",
            KEYWORD("pattern"));
    schemas("{\"enum\": [1, 2]}", "{\"type\": \"integer\", \"minimum\": 1}", "");
    schemas(
        "{\"enum\": [0, \"1\"]}", "{\"type\": \"integer\"}",
        "a.f: v was enum(0, \"1\"), is int: old callers send what is refused now; accept what was accepted");
    schemas("{\"const\": 3}", "{\"type\": \"number\"}", "");
    schemas("{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"null\"}]}",
            "{\"anyOf\": [{\"type\": \"number\"}, {\"type\": \"null\"}]}", "");
    schemas("{\"type\": [\"integer\", \"null\"]}", "{\"type\": \"integer\"}",
            "a.f: v was int?, is int: old callers send what is refused now; accept what was accepted");
    schemas("{\"type\": \"integer\"}", "{\"allOf\": [{\"type\": \"number\"}, {\"minimum\": 0}]}",
            KEYWORD("minimum"));
    schemas("true", "{}", "");
    schemas("false", "{\"type\": \"integer\"}", "");
    schemas("{}", "false",
            "a.f: v was any, is nothing: old callers send what is refused now; accept what was accepted");
    schemas("{\"description\": \"a\", \"type\": \"null\"}", "{\"description\": \"b\", \"type\": \"null\"}", "");
}

/* Bad input: a bounded answer. */
static void test_hostile_schemas(void **state)
{
    buffer deep = {0}, wide = {0};

    (void)state;
    schemas("{\"$ref\": \"#\"}", "{\"type\": \"integer\"}",
            "a.f: v was { v: any }, is int: old callers send what is refused now; accept what was accepted");
    schemas("{\"$ref\": \"#/properties/v\"}", "{\"$ref\": \"#/properties/v\"}", "");
    compare(schema_of("f(x: int)", false), NULL,
            "a.f: the procedure has gone, and callers call it; keep it until none does");
    buffer_literal(&wide, "{\"anyOf\": [");
    for (int i = 0; i < 60; i++)
        buffer_printf(&wide, "%s{\"items\": {}}", i ? "," : "");
    buffer_literal(&wide, "]}");
    for (int i = 0; i < 100; i++)
        buffer_literal(&deep, "{\"items\":");
    buffer_literal(&deep, "{}");
    for (int i = 0; i < 100; i++)
        buffer_char(&deep, '}');
    schemas(buffer_text(&wide), "{\"type\": \"object\"}",
            "a.f: v was any | any | any | any | any | any | any | any | any | any | any | any | any | an..., "
            "is dict: "
            "old callers send what is refused now; accept what was accepted");
    schemas(buffer_text(&deep), buffer_text(&deep), "");
    buffer_free(&wide);
    buffer_free(&deep);
}

/* {"not": {"const": a dict}}, whose members stand in one order or the other. */
static void write_large(buffer *out, bool reversed)
{
    enum { MEMBERS = 300000 };
    buffer_literal(out, "{\"not\": {\"const\": {");
    for (int i = 0; i < MEMBERS; i++)
        buffer_printf(out, "%s\"%d\": 1", i ? "," : "", reversed ? MEMBERS - 1 - i : i);
    buffer_literal(out, "}}}");
}

/* Values that cost more to compare than a schema is worth count as different: it would take minutes. */
static void test_large_values(void **state)
{
    buffer one = {0}, other = {0};

    (void)state;
    write_large(&one, false);
    write_large(&other, true);
    schemas(buffer_text(&one), one.data, "");
    schemas(one.data, buffer_text(&other), KEYWORD("not"));
    buffer_free(&one);
    buffer_free(&other);
}

#define test(f) cmocka_unit_test_teardown(f, tidy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_what_keeps_working),
        test(test_what_old_callers_send),
        test(test_what_old_callers_get),
        test(test_what_old_listeners_get),
        test(test_several_breaks_are_all_reported),
        test(test_keywords_of_other_origins),
        test(test_hostile_schemas),
        test(test_large_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
