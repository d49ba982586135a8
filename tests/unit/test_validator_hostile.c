/* Schemas and values that want to harm: everything ends in a clear error or in a bounded answer (S32). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "validation.h"

#define MOST_CPU_SECONDS 20 /* of one case under sanitizers; a normal build needs less than one */

static void assert_malformed_soon(const char *schema, const char *part)
{
    const validator *v = NULL;
    lb_error error = {0};
    clock_t start = clock();

    assert_int_equal(validator_compile(&memory, json(schema), &v, &error), LB_MALFORMED);
    if (!strstr(error.message, part) || strchr(error.message, '\n'))
        fail_msg("%s: expected %s", error.message, part);
    assert_true(clock() - start < MOST_CPU_SECONDS * CLOCKS_PER_SEC);
}

static bool answer(const char *schema, const char *value, violation *why)
{
    const validator *v = compiled(schema);
    const lb_value *given = json(value);
    clock_t start = clock();

    *why = (violation){0};
    bool accepted = validator_check(v, given, why);
    assert_true(clock() - start < MOST_CPU_SECONDS * CLOCKS_PER_SEC);
    assert_int_equal(validator_check(v, given, NULL), accepted);
    return accepted;
}

static void assert_gives_up(const char *schema, const char *value, const char *reason)
{
    violation why;

    assert_false(answer(schema, value, &why));
    assert_string_equal(why.reason, reason);
}

static char *repeated(const char *before, const char *text, int count, const char *after)
{
    buffer out = {0};

    buffer_str(&out, before);
    for (int i = 0; i < count; i++)
        buffer_str(&out, text);
    buffer_str(&out, after);
    return buffer_text(&out);
}

static const char too_much[] = "takes too much work to check against its schema";
static const char too_deep[] = "the schema refers to itself too often to check this";

/* ---- References ------------------------------------------------------------------------------------- */

static void test_recursion_without_end(void **state)
{
    violation why;

    (void)state;
    assert_gives_up("{\"allOf\": [{\"$ref\": \"#\"}]}", "1", too_deep);
    assert_gives_up("{\"anyOf\": [{\"$ref\": \"#\"}]}", "1", too_deep);
    assert_gives_up("{\"oneOf\": [{\"$ref\": \"#\"}, {\"$ref\": \"#\"}]}", "1", too_deep);
    assert_gives_up("{\"if\": {\"$ref\": \"#\"}, \"then\": false}", "{}", too_deep);
    assert_gives_up("{\"properties\": {\"a\": {\"dependencies\": {\"b\": {\"$ref\": \"#/properties/a\"}}}}}",
                    "{\"a\": {\"b\": 1}}", too_deep);
    assert_string_equal((answer("{\"items\": {\"allOf\": [{\"$ref\": \"#/items\"}]}}", "[1]", &why), why.path),
                        "[0]");
    /* what would turn a refusal into its opposite does not */
    assert_gives_up("{\"not\": {\"$ref\": \"#\"}}", "1", too_deep);
    assert_gives_up("{\"not\": {\"not\": {\"$ref\": \"#\"}}}", "1", too_deep);
    assert_gives_up("{\"anyOf\": [{\"not\": {\"$ref\": \"#\"}}, true]}", "1", too_deep);
}

static void test_recursion_that_doubles(void **state)
{
    buffer schema = {0};

    (void)state;
    buffer_literal(&schema, "{\"$ref\": \"#/definitions/d0\", \"definitions\": {");
    for (int i = 0; i < 60; i++)
        buffer_printf(
            &schema,
            "\"d%d\": {\"allOf\": [{\"$ref\": \"#/definitions/d%d\"}, {\"$ref\": \"#/definitions/d%d\"}]}, ", i,
            i + 1, i + 1);
    buffer_literal(&schema, "\"d60\": {\"minimum\": 0}}}");
    assert_gives_up(buffer_text(&schema), "1", too_much);
    buffer_free(&schema);
    char *value = repeated("", "[", 100, "");
    char *deep = repeated(value, "]", 100, "");
    assert_gives_up(
        "{\"items\": {\"oneOf\": [{\"$ref\": \"#\"}, {\"type\": \"array\", \"allOf\": [{\"$ref\": \"#\"}]}, "
        "{\"$ref\": \"#\"}]}}",
        deep, too_much);
    free(value);
    free(deep);
}

static void test_recursion_along_the_value(void **state)
{
    char *open = repeated("", "{\"n\": [", 255, "{}"), *value = repeated(open, "]}", 255, "");
    violation why;

    (void)state;
    assert_true(
        answer("{\"type\": \"object\", \"properties\": {\"n\": {\"items\": {\"anyOf\": [{\"type\": \"null\"}, "
               "{\"$ref\": \"#\"}]}}}}",
               value, &why));
    assert_false(answer(
        "{\"maxProperties\": 1, \"properties\": {\"n\": {\"minItems\": 1, \"items\": {\"$ref\": \"#\"}}}, "
        "\"required\": [\"n\"]}",
        value, &why));
    assert_string_equal(why.reason, "missing \"n\"");
    free(open);
    free(value);
}

static void test_many_references(void **state)
{
    buffer schema = {0};
    violation why;

    (void)state;
    buffer_literal(&schema, "{\"items\": {\"$ref\": \"#/definitions/d0\"}, \"definitions\": {");
    for (int i = 0; i < 5000; i++)
        buffer_printf(&schema, "\"d%d\": {\"$ref\": \"#/definitions/d%d\"}, ", i, i + 1);
    buffer_literal(&schema, "\"d5000\": {\"type\": \"null\"}}}");
    assert_true(answer(buffer_text(&schema), "[null]", &why));
    assert_false(answer(schema.data, "[1]", &why));
    assert_string_equal(why.reason, "expected null, got int (1)");
    schema.size -= strlen("{\"type\": \"null\"}}}");
    buffer_literal(&schema, "{\"$ref\": \"#/definitions/d0\"}}}");
    assert_malformed_soon(buffer_text(&schema), "leads to itself");
    buffer_clear(&schema, 0);
    buffer_literal(&schema, "{\"definitions\": {");
    for (int i = 0; i < 10000; i++)
        buffer_printf(&schema, "\"d%d\": {}, ", i);
    buffer_literal(&schema, "\"d\": {}}, \"allOf\": [");
    for (int i = 0; i < 10000; i++)
        buffer_literal(&schema, "{\"$ref\": \"#/definitions/d\"}, ");
    buffer_literal(&schema, "true]}");
    assert_malformed_soon(buffer_text(&schema), "is one of too many: following them all takes too long");
    buffer_free(&schema);
}

/* ---- Regular expressions ---------------------------------------------------------------------------- */

/* Each "$id" of a definition is resolved against the long one of the document, with or without a fragment. */
static void test_long_ids(void **state)
{
    (void)state;
    for (int anchors = 0; anchors < 2; anchors++) {
        char *base = repeated("http://h/", "aaaaaaaaaa", 100000, "/");
        buffer schema = {0};
        buffer_printf(&schema, "{\"$id\": \"%s\", \"definitions\": {", base);
        for (int i = 0; i < 2000; i++)
            buffer_printf(&schema, "%s\"%d\": {\"$id\": \"%s%d\"}", i ? "," : "", i, anchors ? "#" : "", i);
        buffer_literal(&schema, "}}");
        assert_malformed(buffer_text(&schema),
                         "malformed JSON schema: \"$id\" is one of too many, or too long: "
                         "resolving them all takes too long");
        buffer_free(&schema);
        free(base);
    }
}

static void test_catastrophic_patterns(void **state)
{
    static const char *const patterns[] = {
        "^(a+)+$",
        "^(a|aa)+$",
        "^(a|a)*$",
        "(a*)*b",
        "^(a?){60}a{60}$",
        "(?=(a+)+$)b",
        "^(([a-z])+.)+[A-Z]$",
        "(x+x+)+y|(a+a+)+b",
        "^(a*?)*$",
        "^(?:a*)*?$",
        "(a*)*\\\\1b",
        "^(.*)(.*)(.*)(.*)(.*)(.*)b$",
    };
    char *text = repeated("\"", "a", 50000, "!\"");

    (void)state;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char schema[100];
        violation why;
        snprintf(schema, sizeof schema, "{\"pattern\": \"%s\"}", patterns[i]);
        assert_false(answer(schema, text, &why));
        assert_true(strncmp(why.reason, "takes too much work to match with the pattern ", 46) == 0 ||
                    strncmp(why.reason, "expected a match of the pattern ", 32) == 0);
    }
    assert_gives_up("{\"pattern\": \"^(a+)+$\"}", text,
                    "takes too much work to match with the pattern \"^(a+)+$\"");
    assert_gives_up("{\"not\": {\"pattern\": \"^(a+)+$\"}}", text,
                    "takes too much work to match with the pattern \"^(a+)+$\"");
    free(text);
}

static void test_long_texts(void **state)
{
    char *text = repeated("\"", "ab01", 250000, "\""), *digits = repeated("\"", "1", 1000000, "\"");
    violation why;

    (void)state;
    assert_true(answer("{\"pattern\": \"^[a-z0-9]*$\", \"maxLength\": 1000000}", text, &why));
    assert_false(answer("{\"pattern\": \"^[a-z]*$\"}", text, &why));
    assert_string_equal(why.reason, "expected a match of the pattern \"^[a-z]*$\", got str "
                                    "(\"ab01ab01ab01ab01ab01ab01ab01ab01ab01ab01...\")");
    /* quadratic: no start of a match goes far, but there are a million of them */
    assert_gives_up("{\"pattern\": \"[0-9]+[xy]\"}", digits,
                    "takes too much work to match with the pattern \"[0-9]+[xy]\"");
    assert_false(answer("{\"pattern\": \"1{60000}[xy]\"}", digits, &why));
    assert_false(answer("{\"pattern\": \"(1+)\\\\1[xy]\"}", digits, &why));
    free(text);
    free(digits);
}

static void test_many_matches_are_bounded_together(void **state)
{
    char *list = repeated("[", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaa!\", ", 10000, "\"\"]");

    (void)state;
    assert_gives_up("{\"items\": {\"not\": {\"pattern\": \"^(a|a){0,14}[bc]\"}}}", list,
                    "takes too much work to match with the pattern \"^(a|a){0,14}[bc]\"");
    free(list);
}

static void test_large_patterns(void **state)
{
    char *megabyte = repeated("{\"pattern\": \"", "abcdefgh", 131072, "\"}");
    char *deep = repeated("{\"pattern\": \"", "(", 20000, "\"}");
    char *open = repeated("{\"pattern\": \"", "(", 20000, "a");
    char *closed = repeated(open, ")", 20000, "\"}");
    char *branches = repeated("{\"pattern\": \"", "a|", 3000, "b\"}");
    violation why;

    (void)state;
    assert_malformed_soon(megabyte, "it is longer than 65536 bytes");
    assert_malformed_soon(deep, "a \"(\" has no \")\"");
    assert_malformed_soon(closed, "must be a regular expression");
    assert_malformed_soon("{\"pattern\": \"((((a{1000}){1000}){1000}){1000}){1000}\"}",
                          "must be a regular expression");
    assert_malformed_soon("{\"pattern\": \"a{99999999999999999999}\"}", "must be a regular expression");
    assert_true(answer(branches, "\"b\"", &why));
    free(megabyte);
    free(deep);
    free(open);
    free(closed);
    free(branches);
}

static void test_texts_as_expressions(void **state) /* "format": "regex" compiles what the message brings */
{
    char *megabyte = repeated("\"", "(a)", 350000, "\""),
         *list = repeated("[", "\"(a{1000}){60}\", ", 5000, "1]");
    violation why;

    (void)state;
    assert_false(answer("{\"format\": \"regex\"}", megabyte, &why));
    assert_true(why.reason[0]);
    assert_true(answer("{\"items\": {\"format\": \"regex\"}}", list, &why));
    assert_false(answer("{\"format\": \"regex\"}", "\"((((a{1000}){1000}){1000}){1000})\"", &why));
    free(megabyte);
    free(list);
}

/* ---- Sizes ------------------------------------------------------------------------------------------ */

static void test_large_values(void **state)
{
    buffer list = {0}, schema = {0};
    violation why;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        buffer_printf(&list, "%s\"v%d\"", i ? ", " : "[", i);
        if (i < 100000)
            buffer_printf(&schema, "%s\"v%d\"", i ? ", " : "{\"items\": {\"enum\": [", i);
    }
    buffer_char(&list, ']');
    buffer_literal(&schema, "]}, \"uniqueItems\": true}");
    assert_false(answer(buffer_text(&schema), buffer_text(&list), &why));
    assert_string_equal(why.path, "[100000]");
    assert_true(answer("{\"uniqueItems\": true, \"items\": {\"type\": \"string\", \"minLength\": 2}}",
                       list.data, &why));
    buffer_free(&list);
    buffer_free(&schema);
}

static void test_large_dicts_as_constants(void **state)
{
    buffer schema = {0}, value = {0};
    violation why;

    (void)state;
    for (int i = 0; i < 30000; i++) {
        buffer_printf(&schema, "%s\"k%d\": %d", i ? ", " : "{\"const\": {", i, i);
        buffer_printf(&value, "%s\"k%d\": %d", i ? ", " : "{", 29999 - i, 29999 - i);
    }
    buffer_literal(&schema, "}}");
    buffer_char(&value, '}');
    assert_false(answer(buffer_text(&schema), buffer_text(&value), &why)); /* equal, but in the worst order */
    assert_string_equal(why.reason, too_much);
    buffer_free(&schema);
    buffer_free(&value);
}

static void test_many_schemas_for_many_values(void **state)
{
    char *branches = repeated("{\"items\": {\"allOf\": [", "{\"minimum\": 0}, ", 10000, "{}]}}");
    char *list = repeated("[", "1, ", 100000, "1]");

    (void)state;
    assert_gives_up(branches, list, too_much);
    free(branches);
    free(list);
}

/* ---- Form ------------------------------------------------------------------------------------------- */

static void test_contradictions(void **state)
{
    violation why;

    (void)state;
    assert_false(
        answer("{\"type\": \"string\", \"minimum\": 3, \"maxLength\": 1, \"minLength\": 2}", "\"ab\"", &why));
    assert_false(answer("{\"minimum\": 3, \"maximum\": 2}", "2.5", &why));
    assert_false(answer("{\"allOf\": [{\"type\": \"string\"}, {\"type\": \"null\"}]}", "null", &why));
    assert_false(answer("{\"enum\": [1], \"const\": 2}", "1", &why));
    assert_false(answer("{\"required\": [\"a\"], \"properties\": {\"a\": false}}", "{\"a\": 1}", &why));
    assert_false(answer("{\"minItems\": 5, \"maxItems\": 1}", "[1, 2]", &why));
}

static void test_keywords_that_come_twice(void **state)
{
    (void)state;
    assert_malformed_soon("{\"type\": \"string\", \"type\": \"null\"}", "\"type\" is there twice");
    assert_malformed_soon("{\"minimum\": 1, \"minimum\": 2}", "\"minimum\" is there twice");
    assert_malformed_soon("{\"properties\": {\"a\": {\"allOf\": [{}], \"allOf\": [false]}}}",
                          "\"allOf\" in properties.a is there twice");
    assert_malformed_soon("{\"properties\": {}, \"properties\": {}}", "\"properties\" is there twice");
}

static void test_texts_that_are_none(void **state)
{
    const lb_value *value = NULL;
    lb_error error = {0};
    violation why;

    (void)state;
    assert_int_equal(json_parse(&memory, "\"\\ud800\"", 8, &value, &error), LB_MALFORMED);
    assert_int_equal(json_parse(&memory, "\"\xed\xa0\x80\"", 5, &value, &error), LB_MALFORMED);
    /* in a pattern they are escapes, and match nothing */
    assert_false(answer("{\"pattern\": \"\\\\ud800\"}", "\"\xf0\x90\x80\x80\"", &why));
    assert_true(answer("{\"pattern\": \"^[\\\\ud800-\\\\udfff]*$\"}", "\"\"", &why));
    assert_true(answer("{\"pattern\": \"^[^\\\\ud800-\\\\udbff]$\"}", "\"\xf0\x90\x80\x80\"", &why));
    /* NUL is a character like any other */
    assert_true(answer("{\"pattern\": \"^a\\\\0b$\", \"minLength\": 3}", "\"a\\u0000b\"", &why));
    assert_true(answer("{\"pattern\": \"^a\\u0000b$\"}", "\"a\\u0000b\"", &why));
    assert_false(answer("{\"enum\": [\"a\\u0000b\"]}", "\"a\\u0000c\"", &why));
    assert_false(answer("{\"format\": \"uri-template\"}", "\"a\\u0000b\"", &why));
    assert_false(answer("{\"format\": \"email\"}", "\"a\\u0000@b.c\"", &why));
}

int main(void)
{
    formats_checked = FORMATS_STRICT;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_recursion_without_end, empty_memory),
        cmocka_unit_test_teardown(test_recursion_that_doubles, empty_memory),
        cmocka_unit_test_teardown(test_recursion_along_the_value, empty_memory),
        cmocka_unit_test_teardown(test_many_references, empty_memory),
        cmocka_unit_test_teardown(test_long_ids, empty_memory),
        cmocka_unit_test_teardown(test_catastrophic_patterns, empty_memory),
        cmocka_unit_test_teardown(test_long_texts, empty_memory),
        cmocka_unit_test_teardown(test_many_matches_are_bounded_together, empty_memory),
        cmocka_unit_test_teardown(test_large_patterns, empty_memory),
        cmocka_unit_test_teardown(test_texts_as_expressions, empty_memory),
        cmocka_unit_test_teardown(test_large_values, empty_memory),
        cmocka_unit_test_teardown(test_large_dicts_as_constants, empty_memory),
        cmocka_unit_test_teardown(test_many_schemas_for_many_values, empty_memory),
        cmocka_unit_test_teardown(test_contradictions, empty_memory),
        cmocka_unit_test_teardown(test_keywords_that_come_twice, empty_memory),
        cmocka_unit_test_teardown(test_texts_that_are_none, empty_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
