/* The shell's output and its history: values laid out to a width, the place of an error, the file of lines. */
#include <locale.h>
#include <stdlib.h>

#include "cli/shell.h"
#include "support.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const colours plain = {"", "", "", "", "", "", ""};

/* ---- Values ----------------------------------------------------------------------------------------- */

static void laid_out(const char *json, size_t width, const char *expected)
{
    lb_value *value = NULL;
    lb_error error = {0};
    buffer out = {0};
    assert_ok(lb_value_parse(json, strlen(json), &value, &error), &error);
    shell_format_value(&out, value, width, &plain);
    assert_string_equal(buffer_text(&out), expected);
    buffer_free(&out);
    lb_value_free(value);
}

static void values_fit_the_width(void **state)
{
    (void)state;
    laid_out("null", 80, "null");
    laid_out("\"a\\\"b\\n\"", 80, "\"a\\\"b\\n\"");
    laid_out("[]", 1, "[]");
    laid_out("{}", 1, "{}");
    laid_out("[1,[2,{\"a\":null}]]", 80, "[1, [2, {\"a\": null}]]");
    laid_out("[1,[2,{\"a\":null}]]", 23, "[1, [2, {\"a\": null}]]");
    laid_out("[1,[2,{\"a\":null}]]", 20, "[\n  1,\n  [2, {\"a\": null}]\n]");
    laid_out("{\"key\":[100,200]}", 18, "{\n  \"key\": [\n    100,\n    200\n  ]\n}");
    laid_out("{\"key\":[100,200]}", 20, "{\"key\": [100, 200]}");
    laid_out("[\"as long as it is, a string is never cut\"]", 20,
             "[\n  \"as long as it is, a string is never cut\"\n]");
}

static void values_have_colours(void **state)
{
    (void)state;
    static const colours c = {"B", "D", "R", "G", "Y", "C", "0"};
    lb_value *value = NULL;
    buffer out = {0};
    assert_int_equal(lb_value_parse("{\"k\":[\"s\",1,true,null]}", 23, &value, NULL), LB_OK);
    shell_format_value(&out, value, 80, &c);
    assert_string_equal(buffer_text(&out), "{C\"k\"0: [G\"s\"0, Y10, Ytrue0, Dnull0]}");
    buffer_free(&out);
    lb_value_free(value);
}

/* Deep and wide values: the work is bounded by the size of the value, not its square. */
static void large_values(void **state)
{
    (void)state;
    buffer json = {0}, out = {0};
    lb_value *value = NULL;
    lb_error error = {0};
    for (int i = 0; i < 500; i++)
        buffer_literal(&json, "[");
    for (int i = 0; i < 100000; i++)
        buffer_str(&json, i ? ",12345" : "12345");
    for (int i = 0; i < 500; i++)
        buffer_literal(&json, "]");
    assert_ok(lb_value_parse(json.data, json.size, &value, &error), &error);
    shell_format_value(&out, value, 80, &plain);
    assert_false(out.failed);
    assert_true(out.size > json.size);
    buffer_free(&json);
    buffer_free(&out);
    lb_value_free(value);
}

/* ---- Places ----------------------------------------------------------------------------------------- */

static void place(const char *text, size_t at, int width, const char *expected)
{
    char *printed = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&printed, &size);
    assert_non_null(out);
    shell_print_place(out, text, strlen(text), at, width);
    fclose(out);
    assert_string_equal(printed, expected);
    free(printed);
}

static void places(void **state)
{
    (void)state;
    place("abc", 0, 80, "  abc\n  ^\n");
    place("abc", 2, 80, "  abc\n    ^\n");
    place("abc", 3, 80, "  abc\n     ^\n");
    place("ab\ncd\nef", 4, 80, "  cd\n   ^\n");
    place("ab(\n\n", 5, 80, "  ab(\n     ^\n");
    place("", 0, 80, "  \n  ^\n");
    place("\tx\x01\x7fy", 4, 80, "   x??y\n      ^\n");
    place("'\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x98\x80' x", 12, 80,
          "  '\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x98\x80' x\n          ^\n");
    place("'\xff' x", 4, 80, "  '?' x\n      ^\n");
    place("0123456789012345678901234567890123456789", 35, 24, "  34567890123456789\n              ^\n");
    place("0123456789012345678901234567890123456789", 5, 24, "  01234567890123456789\n       ^\n");
}

/* ---- History ---------------------------------------------------------------------------------------- */

static char *folder, path[128];

static int set_state(void **state)
{
    (void)state;
    folder = temporary_directory();
    setenv("XDG_STATE_HOME", folder, 1);
    snprintf(path, sizeof path, "%s/lightbus/history", folder);
    return 0;
}

static int unset_state(void **state)
{
    (void)state;
    free(folder);
    return 0;
}

static shell_history opened(void)
{
    shell_history h;
    lb_error error = {0};
    assert_ok(shell_history_open(&h, &error), &error);
    return h;
}

static void lines_are_kept(void **state)
{
    (void)state;
    struct stat info;
    shell_history h = opened(), other = opened();
    assert_int_equal(h.count, 0);
    assert_true(shell_history_add(&h, "one"));
    assert_false(shell_history_add(&h, "one"));
    assert_false(shell_history_add(&h, ""));
    assert_false(shell_history_add(&h, " secret"));
    assert_true(shell_history_add(&other, "two")); /* of another shell at the same time */
    assert_true(shell_history_add(&h, "three"));
    assert_true(shell_history_add(&h, "one"));
    shell_history_free(&h);
    shell_history_free(&other);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    h = opened();
    assert_int_equal(h.count, 4);
    assert_string_equal(h.lines[1], "two");
    assert_string_equal(h.lines[3], "one");
    assert_false(shell_history_add(&h, "one"));
    shell_history_free(&h);
}

static void a_file_of_others_is_made_private(void **state)
{
    (void)state;
    struct stat info;
    shell_history h = opened();
    assert_true(shell_history_add(&h, "one"));
    assert_int_equal(chmod(path, 0644), 0);
    assert_true(shell_history_add(&h, "two"));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    shell_history_free(&h);
}

static void the_file_is_bounded(void **state)
{
    (void)state;
    struct stat before, after;
    shell_history h = opened();
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 1; i <= 2500; i++)
        fprintf(file, "line %d\n", i);
    fclose(file);
    assert_int_equal(stat(path, &before), 0);
    shell_history_free(&h);
    h = opened();
    assert_int_equal(h.count, 2500);
    assert_int_equal(stat(path, &after), 0);
    assert_true(after.st_size < before.st_size);
    assert_int_equal(after.st_mode & 0777, 0600);
    shell_history_free(&h);
    h = opened();
    assert_int_equal(h.count, 1000);
    assert_string_equal(h.lines[0], "line 1501");
    assert_string_equal(h.lines[999], "line 2500");
    shell_history_free(&h);
}

static void what_is_no_history(void **state)
{
    (void)state;
    shell_history h = opened();
    lb_error error = {0};
    shell_history_free(&h);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(shell_history_open(&h, &error), LB_SYSTEM);
    assert_true(shell_history_add(&h, "of this session alone"));
    assert_int_equal(h.count, 1);
    shell_history_free(&h);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(shell_history_open(&h, &error), LB_SYSTEM); /* and does not wait for a writer */
    shell_history_free(&h);
    unlink(path);
    snprintf(path, sizeof path, "%s/lightbus", folder);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(shell_history_open(&h, &error), LB_ACCESS);
    assert_non_null(strstr(error.message, "is open to others; expected mode 0700"));
    shell_history_free(&h);
}

#define WITH_STATE(f) cmocka_unit_test_setup_teardown(f, set_state, unset_state)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_fit_the_width),
        cmocka_unit_test(values_have_colours),
        cmocka_unit_test(large_values),
        cmocka_unit_test(places),
        WITH_STATE(lines_are_kept),
        WITH_STATE(a_file_of_others_is_made_private),
        WITH_STATE(the_file_is_bounded),
        WITH_STATE(what_is_no_history),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
