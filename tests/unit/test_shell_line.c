/* The shell's language: statements, literals, variables, and the place of what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "cli/shell_line.h"

typedef struct line {
    arena memory;
    shell_statement s;
    lb_status status;
    size_t at;
    lb_error error;
} line;

/* ---- A few variables -------------------------------------------------------------------------------- */

static lb_value *variables;

static int make_variables(void **state)
{
    static const char json[] =
        "{\"x\": 5, \"user\": {\"name\": \"Eve\", \"tags\": [1, [2, 3]], \"a\\u0000b\": 1},"
        " \"_\": [], \"auth\": \"shadow\"}";
    (void)state;
    return lb_value_parse(json, sizeof json - 1, &variables, NULL) == LB_OK ? 0 : -1;
}

static int free_variables(void **state)
{
    (void)state;
    lb_value_free(variables);
    return 0;
}

static const lb_value *get(const void *data, lb_slice name)
{
    char key[64] = "";
    (void)data;
    if (name.size >= sizeof key)
        return NULL;
    memcpy(key, name.data, name.size);
    return lb_value_get(variables, key);
}

static const char *next(const void *data, const char *name)
{
    (void)data;
    lb_value_iterator it = lb_value_iterate(variables);
    for (bool take = !name; lb_value_next(&it); take = take || strcmp(it.name, name) == 0)
        if (take)
            return it.name;
    return NULL;
}

static const shell_scope scope = {get, next, NULL};

/* ---- Expectations ----------------------------------------------------------------------------------- */

static void parse_bytes(line *l, const char *text, size_t size)
{
    char *exact = malloc(size ? size : 1); /* so that a sanitizer sees what is read past the end */
    assert_non_null(exact);
    memcpy(exact, text, size);
    *l = (line){0};
    l->status = shell_parse(&l->memory, exact, size, &scope, &l->s, &l->at, &l->error);
    free(exact);
}

static line parsed(const char *text)
{
    line l;
    parse_bytes(&l, text, strlen(text));
    if (l.status != LB_OK)
        fail_msg("%s: %s at %zu", text, l.error.message, l.at);
    return l;
}

static void is_json(const lb_value *value, const char *json)
{
    char *text = lb_value_json(value, NULL);
    assert_string_equal(text, json);
    free(text);
}

/* The text is a value, that of the JSON. */
static void means(const char *text, const char *json)
{
    line l = parsed(text);
    assert_int_equal(l.s.kind, SHELL_VALUE);
    is_json(l.s.value, json);
    arena_free(&l.memory);
}

/* It is wrong where the mark stands, a "^" that is no part of it; the message begins with `message`. */
static void wrong(const char *marked, const char *message)
{
    line l;
    char text[512];
    size_t at = strcspn(marked, "^"), size = strlen(marked) - 1;
    memcpy(text, marked, at);
    memcpy(text + at, marked + at + 1, size - at);
    parse_bytes(&l, text, size);
    assert_int_equal(l.status, LB_MALFORMED);
    if (l.at != at || strncmp(l.error.message, message, strlen(message)) != 0)
        fail_msg("%s: \"%s\" at %zu, expected \"%s\"", marked, l.error.message, l.at, message);
    arena_free(&l.memory);
}

/* ---- Values ----------------------------------------------------------------------------------------- */

static void literals_of_python_and_json(void **state)
{
    (void)state;
    means("True", "true");
    means("true", "true");
    means(" False # so it is", "false");
    means("false", "false");
    means("None", "null");
    means("null", "null");
    means("\"a\"", "\"a\"");
    means("'a'", "\"a\"");
    means("'say \"hi\"'", "\"say \\\"hi\\\"\"");
    means("\"it's # no comment\"", "\"it's # no comment\"");
    means("''", "\"\"");
    means("[]", "[]");
    means("[ 1 , 'two', [None], ]", "[1,\"two\",[null]]");
    means("{}", "{}");
    means("{'a': 1, \"b\": {'c': [True]},}", "{\"a\":1,\"b\":{\"c\":[true]}}");
    means("()", "[]");
    means("(1)", "1");
    means("((1))", "1");
    means("(1,)", "[1]");
    means("(1, 2)", "[1,2]");
    means("(1, (2,), [()])", "[1,[2],[[]]]");
    means("[1,\n 2, # two\n 3]", "[1,2,3]");
}

static void numbers(void **state)
{
    (void)state;
    means("0", "0");
    means("-0", "0");
    means("42", "42");
    means("-7", "-7");
    means("+7", "7");
    means("9223372036854775807", "9223372036854775807");
    means("-9223372036854775808", "-9223372036854775808");
    means("18446744073709551615", "18446744073709551615");
    means("1.5", "1.5");
    means(".5", "0.5");
    means("-.5", "-0.5");
    means("5.", "5.0");
    means("2.e3", "2000.0");
    means("1e3", "1000.0");
    means("1E-2", "0.01");
    means("NaN", "NaN");
    means("-Infinity", "-Infinity");
    wrong("^007", "a number does not begin with 0");
    wrong("^-01", "a number does not begin with 0");
    wrong("^1e999", "this number is too large");
    wrong("1e^", "expected a digit of the exponent, not the end");
    wrong("1^x", "expected a decimal number");
    wrong("0^x1f", "expected a decimal number");
    wrong("1^_000", "expected a decimal number");
    wrong("1^-2", "expected a decimal number");
    wrong("-^", "expected a digit, not the end");
    wrong("-^x", "expected a digit");
    wrong(".^", "expected a digit");
    wrong("1.5^.2", "expected the end of the line");
    wrong("1 ^+ 2", "expected the end of the line");
}

static void escapes(void **state)
{
    (void)state;
    means("'\\'\\\"\\\\\\/'", "\"'\\\"\\\\/\"");
    means("'\\b\\f\\n\\r\\t'", "\"\\b\\f\\n\\r\\t\"");
    means("'\\a\\v'", "\"\\u0007\\u000B\"");
    means("'\\x41\\xe4'", "\"A\xc3\xa4\"");
    means("'\\u00e4\\u20AC'", "\"\xc3\xa4\xe2\x82\xac\"");
    means("'\\ud83d\\ude00\\U0001F600'", "\"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\"");
    means("'\xc3\xa4'", "\"\xc3\xa4\"");
    means("'\\x00a'", "\"\\u0000a\"");
    means("'a\nb'", "\"a\\nb\"");
    wrong("'a^\\q'", "unknown escape: expected one of");
    wrong("'\\x4^g'", "expected a hexadecimal digit");
    wrong("'\\u12^'", "expected a hexadecimal digit");
    wrong("'^\\ud83d'", "half of a character");
    wrong("'^\\ud83dx'", "half of a character");
    wrong("'^\\ud83d\\u0041'", "half of a character");
    wrong("'^\\ude00'", "half of a character");
    wrong("'^\\U00110000'", "no such character");
    wrong("'^\\U0000d800'", "no such character");
    wrong("^'abc", "this string has no end");
    wrong("^'abc\\'", "this string has no end");
    wrong("^'\\", "this string has no end");
    wrong("['a', ^\"b]", "this string has no end");
    wrong("[^'\xff']", "this string is not UTF-8");
    wrong("^'\xc3'", "this string is not UTF-8");
}

static void nul_characters(void **state)
{
    (void)state;
    line l;
    parse_bytes(&l, "'a\0b'", 5);
    assert_int_equal(l.status, LB_OK);
    assert_int_equal(lb_value_str_size(l.s.value), 3);
    arena_free(&l.memory);
    parse_bytes(&l, "a\0b", 3);
    assert_int_equal(l.status, LB_MALFORMED);
    assert_int_equal(l.at, 1);
    arena_free(&l.memory);
    parse_bytes(&l, "\0", 1);
    assert_int_equal(l.status, LB_MALFORMED);
    assert_int_equal(l.at, 0);
    arena_free(&l.memory);
    means("user['a\\x00b']", "1");
}

static void wrong_values(void **state)
{
    (void)state;
    wrong("[1 ^2]", "expected \",\" or \"]\"");
    wrong("[1, 2^", "expected \",\" or \"]\", not the end");
    wrong("[^,]", "expected a value");
    wrong("[1,^,]", "expected a value");
    wrong("(1 ^2)", "expected \",\" or \")\"");
    wrong("{^1: 2}", "expected a key in quotes");
    wrong("{^a: 2}", "expected a key in quotes");
    wrong("{'a' ^2}", "expected \":\"");
    wrong("{'a'^}", "expected \":\"");
    wrong("{'a': ^}", "expected a value");
    wrong("{'a': 1 ^'b': 2}", "expected \",\" or \"}\"");
    wrong("{^,}", "expected a key in quotes");
    wrong("[1^}", "expected \",\" or \"]\"");
    wrong("^]", "expected a value");
    wrong("^=5", "expected a value");
    wrong("^@", "expected a value");
    wrong("1 ^2", "expected the end of the line");
    wrong("'a' ^'b'", "expected the end of the line");
    wrong("[^Ture]", "no variable \"Ture\"; did you mean \"True\"?");
    wrong("[^foo]", "no variable \"foo\"");
    wrong("[^shop.f()]", "a call stands alone");
    wrong("[^f ()]", "a call stands alone");
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    line l;
    char *text = malloc(200000);
    assert_non_null(text);
    memset(text, '[', 100000);
    memset(text + 100000, ']', 100000);
    parse_bytes(&l, text, 200000);
    assert_int_equal(l.status, LB_MALFORMED);
    assert_int_equal(l.at, 100);
    assert_string_equal(l.error.message, "nested too deeply");
    arena_free(&l.memory);
    parse_bytes(&l, text + 100000 - 100, 200);
    assert_int_equal(l.status, LB_OK);
    arena_free(&l.memory);
    free(text);
}

/* ---- Variables -------------------------------------------------------------------------------------- */

static void variables_and_steps(void **state)
{
    (void)state;
    means("x", "5");
    means("_", "[]");
    means("[x, user['name']]", "[5,\"Eve\"]");
    means("user[\"tags\"][1][0]", "2");
    means("user['tags'][-1]", "[2,3]");
    means("user [ 'tags' ] [ 0 ]", "1");
    means("{'u': user['tags']}", "{\"u\":[1,[2,3]]}");
    means("(x)", "5");
    wrong("user^['nome']", "there is no key \"nome\"");
    wrong("user['tags']^[2]", "there is no element 2: the list has 2");
    wrong("user['tags']^[-3]", "there is no element -3");
    wrong("user^[0]", "this is no list");
    wrong("x^['a']", "this is no dict");
    wrong("x^[0]", "this is no list");
    wrong("user[^]", "expected a key in quotes or a number");
    wrong("user[^x]", "expected a key in quotes or a number");
    wrong("user['tags'^", "expected \"]\", not the end");
    wrong("user['tags'][0^.5]", "expected \"]\"");
    wrong("user[^1234567890123456]", "this index is too large");
    wrong("x^(1)", "expected the end of the line");
}

static void assignments(void **state)
{
    (void)state;
    line l = parsed("y = [x]");
    assert_string_equal(l.s.variable, "y");
    assert_int_equal(l.s.kind, SHELL_VALUE);
    is_json(l.s.value, "[5]");
    arena_free(&l.memory);
    l = parsed("y=auth.f()");
    assert_string_equal(l.s.variable, "y");
    assert_int_equal(l.s.kind, SHELL_CALL);
    assert_string_equal(l.s.path, "auth.f");
    arena_free(&l.memory);
    wrong("y = ^", "expected a value, not the end");
    wrong("y = ^foo", "no variable \"foo\"");
    wrong("y = ^usr", "no variable \"usr\"; did you mean \"user\"?");
    wrong("y = ^auth.f", "no variable \"auth.f\"");
    wrong("^True = 1", "this cannot be the name of a variable");
    wrong("^help = 1", "this cannot be the name of a variable");
    wrong("^a-b = 1", "this cannot be the name of a variable");
    wrong("a.b ^= 1", "expected the end of the line");
    wrong("x =^= 1", "expected a value");
    wrong("y = x ^= 1", "expected the end of the line");
}

/* ---- Calls ------------------------------------------------------------------------------------------ */

static void calls(void **state)
{
    (void)state;
    line l = parsed(" auth.check_password( username = 'admin', password=\"se,)cret\", n=[1], ) ");
    assert_int_equal(l.s.kind, SHELL_CALL);
    assert_null(l.s.variable);
    assert_string_equal(l.s.path, "auth.check_password");
    assert_int_equal(l.s.path_at, 1);
    assert_string_equal(l.s.arguments[0].name, "username");
    is_json(l.s.arguments[0].value.as.value, "\"admin\"");
    is_json(l.s.arguments[1].value.as.value, "\"se,)cret\"");
    is_json(l.s.arguments[2].value.as.value, "[1]");
    assert_null(l.s.arguments[3].name);
    assert_null(l.s.steps);
    arena_free(&l.memory);
    l = parsed("bus . my-shop.\n3d . render ()");
    assert_string_equal(l.s.path, "bus.my-shop.3d.render");
    assert_null(l.s.arguments[0].name);
    arena_free(&l.memory);
    l = parsed("auth.f(a=x)['k'][-1]"); /* auth is a variable here, too */
    assert_int_equal(l.s.kind, SHELL_CALL);
    assert_string_equal(l.s.steps->key.data, "k");
    assert_int_equal(l.s.steps->at, 11);
    assert_null(l.s.steps->next->key.data);
    assert_int_equal(l.s.steps->next->index, -1);
    assert_null(l.s.steps->next->next);
    arena_free(&l.memory);
    wrong("auth.f(^1)", "expected NAME=VALUE");
    wrong("auth.f(^'a')", "expected NAME=VALUE");
    wrong("auth.f(^a)", "expected NAME=VALUE");
    wrong("auth.f(^a == 1)", "expected NAME=VALUE");
    wrong("auth.f(a=^)", "expected a value");
    wrong("auth.f(a=^,)", "expected a value");
    wrong("auth.f(a=1 ^b=2)", "expected \",\" or \")\"");
    wrong("auth.f(a=1, ^a=2)", "this argument is given twice");
    wrong("auth.f(^,)", "expected NAME=VALUE");
    wrong("auth.f(a=1^", "expected \",\" or \")\", not the end");
    wrong("auth.f(^", "expected NAME=VALUE, or \")\", not the end");
    wrong("auth.f(a=1)^)", "expected the end of the line");
    wrong("auth.f(a=^g())", "a call stands alone");
    wrong("auth.^(a=1)", "expected a name after the dot");
    wrong("auth.^", "expected a name after the dot, not the end");
    wrong("auth.^.f()", "expected a name after the dot");
    wrong("auth.f() ^auth.g()", "expected the end of the line");
}

static void names_alone(void **state)
{
    (void)state;
    line l = parsed("shop.orders.place");
    assert_int_equal(l.s.kind, SHELL_NAME);
    assert_string_equal(l.s.path, "shop.orders.place");
    arena_free(&l.memory);
    l = parsed("shop");
    assert_int_equal(l.s.kind, SHELL_NAME);
    assert_string_equal(l.s.path, "shop");
    arena_free(&l.memory);
    wrong("shop ^orders", "expected the end of the line");
    wrong("shop.f^[0]", "expected the end of the line");
}

static void shell_words_(void **state)
{
    (void)state;
    static const char *const texts[] = {"help", " help ", "help()", "help # me"};
    for (int i = 0; i < 4; i++) {
        line l = parsed(texts[i]);
        assert_int_equal(l.s.kind, SHELL_WORD);
        assert_string_equal(l.s.word, "help");
        assert_null(l.s.path);
        arena_free(&l.memory);
    }
    line l = parsed("help auth.check_password");
    assert_string_equal(l.s.path, "auth.check_password");
    assert_int_equal(l.s.path_at, 5);
    arena_free(&l.memory);
    l = parsed("help(auth)");
    assert_string_equal(l.s.path, "auth");
    arena_free(&l.memory);
    l = parsed("exit()");
    assert_string_equal(l.s.word, "exit");
    arena_free(&l.memory);
    l = parsed("help.me()"); /* an API of that name */
    assert_int_equal(l.s.kind, SHELL_CALL);
    assert_string_equal(l.s.path, "help.me");
    arena_free(&l.memory);
    wrong("exit ^now", "expected the end of the line");
    wrong("help(auth^", "expected \")\", not the end");
    wrong("help auth ^shop", "expected the end of the line");
    wrong("help ^7", "expected the end of the line");
}

static void nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"", " \t\r\n ", "# all of it", "  # a\n # b\n"};
    for (int i = 0; i < 4; i++) {
        line l = parsed(texts[i]);
        assert_int_equal(l.s.kind, SHELL_NOTHING);
        assert_null(l.s.word);
        arena_free(&l.memory);
    }
}

/* ---- Lines ------------------------------------------------------------------------------------------ */

static void open_statements(void **state)
{
    (void)state;
    static const char *const open[] = {"f(",    "f(a=[1,", "{",     "'abc", "\"it's",
                                       "'a\\'", "f(')'",   "( # )", "'\\",  "]["};
    static const char *const closed[] = {"",   "f()", "[1]",     "'a'",   "'('",  "# (",
                                         "a)", "])}", "'a\\\\'", "\"'\"", "())()"};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (!shell_is_open(open[i], strlen(open[i])))
            fail_msg("%s", open[i]);
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        if (shell_is_open(closed[i], strlen(closed[i])))
            fail_msg("%s", closed[i]);
}

static void one_line(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"f()", "f()"},
        {"f(\n  a=1, # one\n  b=2)\n", "f(   a=1,    b=2)"},
        {"'a\nb'", "'a\\nb'"},
        {"'#' # gone", "'#'"},
        {"f('a\n", "f('a\\n"},
        {"# only", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *text = shell_one_line(pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(text, pairs[i][1]);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_of_python_and_json),
        cmocka_unit_test(numbers),
        cmocka_unit_test(escapes),
        cmocka_unit_test(nul_characters),
        cmocka_unit_test(wrong_values),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(variables_and_steps),
        cmocka_unit_test(assignments),
        cmocka_unit_test(calls),
        cmocka_unit_test(names_alone),
        cmocka_unit_test(shell_words_),
        cmocka_unit_test(nothing),
        cmocka_unit_test(open_statements),
        cmocka_unit_test(one_line),
    };
    return cmocka_run_group_tests(tests, make_variables, free_variables);
}
