/* The signature grammar: what it accepts, how it prints, and what its errors say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/json.h"
#include "schema/signature.h"

/* ---- Helpers ---------------------------------------------------------------------------------------- */

static signature *parse(const char *text)
{
    signature *s = NULL;
    lb_error error = {0};

    if (signature_parse("auth", text, &s, &error) != LB_OK)
        fail_msg("%s: %s", text, error.message);
    return s;
}

static char *printed(const char *text)
{
    signature *s = parse(text);
    buffer out = {0};

    signature_print(&out, s);
    signature_free(s);
    return buffer_text(&out); /* for free() */
}

static void assert_prints(const char *text, const char *canonical)
{
    char *first = printed(text), *second = printed(first);

    assert_string_equal(first, canonical);
    assert_string_equal(second, canonical);
    free(first);
    free(second);
}

static void assert_refused(const char *text, const char *message)
{
    signature *s = NULL;
    lb_error error = {0};

    assert_int_equal(signature_parse("auth", text, &s, &error), LB_INVALID_SIGNATURE);
    assert_null(s);
    assert_int_equal(error.status, LB_INVALID_SIGNATURE);
    assert_string_equal(error.message, message);
}

/* ---- Accepted --------------------------------------------------------------------------------------- */

static void test_members_are_read(void **state)
{
    signature *s = parse("check_password(username: str, tries: int = 3) -> bool");

    (void)state;
    assert_string_equal(s->name.data, "check_password");
    assert_int_equal(s->name.size, 14);
    assert_int_equal(s->count, 2);
    assert_string_equal(s->parameters[0].name.data, "username");
    assert_int_equal(s->parameters[0].type->kind, TYPE_STR);
    assert_null(s->parameters[0].default_value);
    assert_int_equal(s->parameters[1].type->kind, TYPE_INT);
    assert_int_equal(lb_value_int(s->parameters[1].default_value), 3);
    assert_int_equal(s->result->kind, TYPE_BOOL);
    signature_free(s);
}

static void test_without_parameters_and_result(void **state)
{
    signature *s = parse("ping()");

    (void)state;
    assert_int_equal(s->count, 0);
    assert_null(s->result);
    signature_free(s);
    signature_free(NULL);
}

static void test_every_type_prints(void **state)
{
    static const char *const types[] = {
        "any",
        "null",
        "bool",
        "int",
        "float",
        "str",
        "bytes",
        "datetime",
        "date",
        "time",
        "decimal",
        "uuid",
        "list",
        "list[int]",
        "tuple",
        "tuple[int]",
        "dict",
        "tuple[int, str?, list[dict]]",
        "int?",
        "dict[str, dict[str, float]]",
        "int | str",
        "int | str | null",
        "{}",
        "{ id: int, name: str, tags: list[str] = [] }",
        "any?",
        "enum(\"a\", \"b\", 1)",
        "{ a: { b: { c: int }? } }",
    };

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char text[200];
        snprintf(text, sizeof text, "f(x: %s) -> %s", types[i], types[i]);
        assert_prints(text, text);
    }
}

static void test_forms_become_canonical(void **state)
{
    (void)state;
    assert_prints(" f ( a ,b\n\t:int=1 )->str ? ", "f(a: any, b: int = 1) -> str?");
    assert_prints("f(a: int | null)", "f(a: int?)");
    assert_prints("f(a: int? ?)", "f(a: int?)");
    assert_prints("f(a: null?)", "f(a: null)");
    assert_prints("f(a: int | int)", "f(a: int)");
    assert_prints("f(a: int? | str?)", "f(a: int | null | str)");
    assert_prints("f(a: null | int)", "f(a: null | int)");
    assert_prints("f(a: list[int] | str | list[int])", "f(a: list[int] | str)");
    assert_prints("f(a: {x:int,y:{}})", "f(a: { x: int, y: {} })");
    assert_prints("f(a: Point{x:int,y:Empty{}}?)", "f(a: Point { x: int, y: Empty {} }?)");
    assert_prints("f(a: Point {x: int} | { x: int })", "f(a: Point { x: int } | { x: int })");
    assert_prints("f(...)", "f(...)");
    assert_prints("f(a: int,... ) -> int", "f(a: int, ...) -> int");
    assert_prints("f(a: enum(\"\\u0061\", 1.0))", "f(a: enum(\"a\", 1.0))");
}

static void test_defaults(void **state)
{
    (void)state;
    assert_prints("f(a = \"x\", b = 1, c = 1.5, d = true, e = [], g = {}, h = null)",
                  "f(a: str = \"x\", b: int = 1, c: float = 1.5, d: bool = true, e: list = [], g: dict = {}, "
                  "h: any = null)");
    assert_prints("f(a: str = null, b: int | str = null)", "f(a: str? = null, b: int | str | null = null)");
    assert_prints("f(a: { x: date = null })", "f(a: { x: date? = null })");
    assert_prints("f(a: float = 1)", "f(a: float = 1)");
    assert_prints("f(a: dict = { \"k\" : [ 1 , \"]}\\\"\" ] })", "f(a: dict = {\"k\":[1,\"]}\\\"\"]})");
    assert_prints("f(a: int = 18446744073709551615)", "f(a: int = 18446744073709551615)");
    assert_prints("f(a: int = -9223372036854775808)", "f(a: int = -9223372036854775808)");
    assert_prints("f(a: any = 5)", "f(a: any = 5)");
    assert_prints("f(a: str = \"\xc3\xa4\")", "f(a: str = \"\xc3\xa4\")");
    assert_prints("f(a: { x: int } = {\"x\": 1})", "f(a: { x: int } = {\"x\":1})");
}

/* ---- Refused ---------------------------------------------------------------------------------------- */

static void test_errors_show_the_place(void **state)
{
    (void)state;
    assert_refused("check_password(username:, password: str)",
                   "auth.check_password: expected a type after \"username:\" at column 25");
    assert_refused("check_password(username :  )",
                   "auth.check_password: expected a type after \"username :\" at column 28");
    assert_refused("f(a: string)", "auth.f: unknown type \"string\" at column 6; did you mean \"str\"?");
    assert_refused("f(username: str, p: Boolean)",
                   "auth.f: unknown type \"Boolean\" at column 21; did you mean \"bool\"?");
    assert_refused("f(a: lisst[int])", "auth.f: unknown type \"lisst\" at column 6; did you mean \"list\"?");
    assert_refused("f(a: xyzzy)", "auth.f: unknown type \"xyzzy\" at column 6");
    assert_refused("", "auth: expected a name at column 1");
    assert_refused("  ", "auth: expected a name at column 3");
    assert_refused("1f()", "auth: expected a name at column 1");
    assert_refused("_f()", "auth: a name that does not start with \"_\" is expected at column 1");
    assert_refused("f", "auth.f: expected \"(\" after \"f\" at column 2");
    assert_refused("f(", "auth.f: expected a name after \"(\" at column 3");
    assert_refused("f(a", "auth.f: expected \",\" or \")\" after \"a\" at column 4");
    assert_refused("f(..., a)", "auth.f: expected \",\" or \")\" after \"...\" at column 6");
    assert_refused("f(..)", "auth.f: expected a name after \"(\" at column 3");
    assert_refused("f(a: { x: int, ... })", "auth.f: expected a name after \",\" at column 16");
    assert_refused("f(a: str { x: int })", "auth.f: expected \",\" or \")\" after \"str\" at column 10");
    assert_refused(
        "f(a: date = \"soon\")",
        "auth.f: the default of \"a\" at column 13 does not fit: expected a date like \"2020-01-02\", got str "
        "(\"soon\")");
    assert_refused("f(a,)", "auth.f: expected a name after \",\" at column 5");
    assert_refused("f(a b)", "auth.f: expected \",\" or \")\" after \"a\" at column 5");
    assert_refused("f(a: int, a: str)", "auth.f: there are two of the name \"a\" at column 11");
    assert_refused("f(s: { x, x })", "auth.f: there are two of the name \"x\" at column 11");
    assert_refused("f(s: { x", "auth.f: expected \",\" or \"}\" after \"x\" at column 9");
    assert_refused("f() -> ", "auth.f: expected a type after \"->\" at column 8");
    assert_refused("f() bool", "auth.f: expected \"->\" or the end after \")\" at column 5");
    assert_refused("f() -> bool x", "auth.f: expected the end after \"bool\" at column 13");
    assert_refused("f(a: list[int)", "auth.f: expected \"]\" after \"int\" at column 14");
    assert_refused("f(a: list[])", "auth.f: expected a type after \"[\" at column 11");
    assert_refused("f(a: tuple[])", "auth.f: expected a type after \"[\" at column 12");
    assert_refused("f(a: tuple[int str])", "auth.f: expected \",\" or \"]\" after \"int\" at column 16");
    assert_refused("f(a: dict[int, str])",
                   "auth.f: expected \"str\" (keys are strings) after \"[\" at column 11");
    assert_refused("f(a: dict[str])", "auth.f: expected \",\" after \"str\" at column 14");
    assert_refused("f(a: enum)", "auth.f: expected \"(\" after \"enum\" at column 10");
    assert_refused("f(a: enum())", "auth.f: expected a JSON value after \"(\" at column 11");
    assert_refused("f(a: enum([1]))", "auth.f: an enum holds strings and numbers, not \"[1]\" at column 11");
    assert_refused("f(a: enum(1, 1.0))", "auth.f: the enum holds one value twice: \"1.0\" at column 14");
    assert_refused("f(a: int |)", "auth.f: expected a type after \"|\" at column 11");
    assert_refused("f(a: ?)", "auth.f: expected a type after \"a:\" at column 6");
    assert_refused("f(\xc3\xa4: int)", "auth.f: expected a name after \"(\" at column 3");
}

static void test_defaults_must_be_json_and_fit(void **state)
{
    (void)state;
    assert_refused("f(a: int = )", "auth.f: expected a JSON value after \"=\" at column 12");
    assert_refused("f(a: bool = True)", "auth.f: expected a JSON value after \"=\" at column 13");
    assert_refused("f(a: any = None)", "auth.f: expected a JSON value after \"=\" at column 12");
    assert_refused("f(a: str = 'x')", "auth.f: expected a JSON value after \"=\" at column 12");
    assert_refused("f(a: str = \"x)", "auth.f: expected a JSON value after \"=\" at column 12");
    assert_refused("f(a: list = [1, 2)", "auth.f: expected a JSON value after \"=\" at column 13");
    assert_refused("f(a: float = NaN)", "auth.f: expected a JSON value after \"=\" at column 14");
    assert_refused("f(a: list = [Infinity])", "auth.f: expected a JSON value after \"=\" at column 13");
    assert_refused("f(a: int = \"x\")",
                   "auth.f: the default of \"a\" at column 12 does not fit: expected int, got str (\"x\")");
    assert_refused("f(a: int = 1.5)",
                   "auth.f: the default of \"a\" at column 12 does not fit: expected int, got float (1.5)");
    assert_refused("f(a: bool = 1)",
                   "auth.f: the default of \"a\" at column 13 does not fit: expected bool, got int (1)");
    assert_refused(
        "f(a: list[int] = [1, \"x\"])",
        "auth.f: the default of \"a\" at column 18 does not fit: [1]: expected int, got str (\"x\")");
    assert_refused("f(a: enum(\"b\") = \"c\")",
                   "auth.f: the default of \"a\" at column 18 does not fit: expected one of \"b\", got \"c\"");
    assert_refused("f(s: { n: int = \"x\" })",
                   "auth.f: the default of \"n\" at column 17 does not fit: expected int, got str (\"x\")");
}

static char *nested(const char *open, const char *close, int depth)
{
    buffer out = {0};

    buffer_literal(&out, "f(a: ");
    for (int i = 0; i < depth; i++)
        buffer_str(&out, open);
    buffer_literal(&out, "int");
    for (int i = 0; i < depth; i++)
        buffer_str(&out, close);
    buffer_char(&out, ')');
    return buffer_text(&out);
}

static void test_nesting_is_bounded(void **state)
{
    char *deepest = nested("list[", "]", 63), *too_deep = nested("list[", "]", 64);
    char *structs = nested("{ x: dict[str, ", "]? }", 20000);

    (void)state;
    signature_free(parse(deepest));
    assert_refused(too_deep, "auth.f: types nested deeper than 64 levels at column 326");
    assert_refused(structs, "auth.f: types nested deeper than 64 levels at column 486");
    free(deepest);
    free(too_deep);
    free(structs);
}

static void test_the_number_of_parameters_is_bounded(void **state)
{
    buffer out = {0};
    lb_error error = {0};
    signature *s = NULL;

    (void)state;
    buffer_literal(&out, "f(p");
    for (int i = 1; i <= 1000; i++)
        buffer_printf(&out, ", p%d", i);
    buffer_char(&out, ')');
    assert_int_equal(signature_parse("auth", buffer_text(&out), &s, &error), LB_INVALID_SIGNATURE);
    assert_non_null(strstr(error.message, "more than 1000 items at column "));
    buffer_free(&out);
}

static void test_a_message_stays_one_line(void **state)
{
    (void)state;
    assert_refused("f(user\n:,", "auth.f: expected a type after \"user?:\" at column 9");
}

/* ---- Property: what parses prints a form that parses and prints the same ------------------------------ */

static uint64_t random_state;

static unsigned pick(unsigned below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(random_state >> 33) % below;
}

static void random_parameters(buffer *out, int depth);

static void random_type(buffer *out, int depth)
{
    static const char *const scalars[] = {"any",   "null",     "bool", "int",           "float",   "str",
                                          "bytes", "datetime", "date", "time",          "decimal", "uuid",
                                          "list",  "tuple",    "dict", "enum(\"a\", 2)"};
    switch (depth > 0 ? pick(9) : 8) {
    case 0:
        buffer_literal(out, "list[");
        random_type(out, depth - 1);
        buffer_literal(out, "]");
        break;
    case 1:
        buffer_literal(out, "dict [ str,");
        random_type(out, depth - 1);
        buffer_literal(out, "]");
        break;
    case 2:
        buffer_literal(out, "tuple[");
        random_type(out, depth - 1);
        buffer_literal(out, ",\n");
        random_type(out, depth - 1);
        buffer_literal(out, "]");
        break;
    case 3:
        buffer_literal(out, "{");
        random_parameters(out, depth - 1);
        buffer_literal(out, "}");
        break;
    case 4:
    case 5:
        random_type(out, depth - 1);
        buffer_literal(out, " | ");
        random_type(out, depth - 1);
        break;
    default:
        buffer_str(out, scalars[pick(sizeof scalars / sizeof *scalars)]);
    }
    if (pick(4) == 0)
        buffer_literal(out, "?");
}

static void random_parameters(buffer *out, int depth)
{
    unsigned count = pick(4);

    for (unsigned i = 0; i < count; i++) {
        buffer_printf(out, "%sp%u", i ? ", " : "", i);
        if (pick(5) == 0) {
            buffer_str(out, pick(2) ? " = 1.5e3" : " = [\"x\", {}]");
            continue;
        }
        buffer_literal(out, ": ");
        random_type(out, depth);
        if (pick(3) == 0)
            buffer_literal(out, "=null");
    }
}

static void test_random_signatures_print_canonically(void **state)
{
    uint64_t seed = (uint64_t)time(NULL);

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    random_state = seed;
    for (int round = 0; round < 2000; round++) {
        buffer text = {0};
        buffer_literal(&text, "f(");
        random_parameters(&text, 4);
        buffer_str(&text, ") -> ");
        random_type(&text, 3);
        char *first = printed(buffer_text(&text)), *second = printed(first);
        assert_string_equal(first, second);
        free(first);
        free(second);
        buffer_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_read),
        cmocka_unit_test(test_without_parameters_and_result),
        cmocka_unit_test(test_every_type_prints),
        cmocka_unit_test(test_forms_become_canonical),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_errors_show_the_place),
        cmocka_unit_test(test_defaults_must_be_json_and_fit),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_the_number_of_parameters_is_bounded),
        cmocka_unit_test(test_a_message_stays_one_line),
        cmocka_unit_test(test_random_signatures_print_canonically),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
