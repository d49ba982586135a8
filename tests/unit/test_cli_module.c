/* Words, child processes, and finding, compiling and loading bus modules, without a bus. */
#include "cli/module.h"
#include "cli/process.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static arena memory;

static int clear(void **state)
{
    (void)state;
    arena_free(&memory);
    memory = (arena){0};
    return 0;
}

/* ---- Words and processes ---------------------------------------------------------------------------- */

static void assert_words(const char *text, const char *const *expected)
{
    words w = {.memory = &memory};
    size_t i = 0;

    words_split(&w, text);
    assert_false(w.failed);
    for (; expected[i]; i++) {
        assert_true(i < w.count);
        assert_string_equal(w.list[i], expected[i]);
    }
    assert_int_equal(w.count, i);
    assert_true(w.count == 0 || w.list[w.count] == NULL);
}
#define ASSERT_WORDS(text, ...) assert_words((text), (const char *const[]){__VA_ARGS__, NULL})

static void words_are_split_as_by_a_shell(void **state)
{
    (void)state;
    ASSERT_WORDS("", NULL);
    ASSERT_WORDS("  \n\t ", NULL);
    ASSERT_WORDS("-I/a  -lb\n", "-I/a", "-lb");
    ASSERT_WORDS("-I/a\\ b", "-I/a b");
    ASSERT_WORDS("'a b' \"c d\" e\"f g\"h", "a b", "c d", "ef gh");
    ASSERT_WORDS("'' x \"\"", "", "x", "");
    ASSERT_WORDS("'a\\b' \"a\\\"b\" \"it's\"", "a\\b", "a\"b", "it's");
    ASSERT_WORDS("$HOME `x` *", "$HOME", "`x`", "*");
    ASSERT_WORDS("a\\", "a\\");
    ASSERT_WORDS("'open", "open");
}

static void a_list_grows(void **state)
{
    (void)state;
    words w = {.memory = &memory}, twice = {.memory = &memory};

    for (int i = 0; i < 100; i++)
        words_add(&w, i % 2 ? "odd" : "even");
    words_add_all(&twice, &w);
    words_add_all(&twice, &w);
    assert_int_equal(twice.count, 200);
    assert_string_equal(twice.list[199], "odd");
    assert_null(twice.list[200]);
}

static void programs_run_without_a_shell(void **state)
{
    (void)state;
    char *echo[] = {"printf", "%s", "a b;$(c)", NULL}, *show[] = {"printenv", "CLI_TEST", NULL};
    char *fail[] = {"false", NULL}, *missing[] = {"no-such-program-here", NULL},
         *die[] = {"sh", "-c", "kill -9 $$", NULL};
    buffer output = {0};
    lb_error error = {0};
    int code = -1;

    assert_ok(process_run(echo, NULL, &output, &code, &error), &error);
    assert_int_equal(code, 0);
    assert_string_equal(buffer_text(&output), "a b;$(c)");
    setenv("CLI_TEST", "old", 1);
    buffer_clear(&output, 0);
    assert_ok(process_run(show, "CLI_TEST=new", &output, &code, &error), &error);
    assert_string_equal(buffer_text(&output), "new\n");
    assert_string_equal(getenv("CLI_TEST"), "old");
    assert_ok(process_run(fail, NULL, NULL, &code, &error), &error);
    assert_int_equal(code, 1);
    assert_ok(process_run(die, NULL, NULL, &code, &error), &error);
    assert_int_equal(code, 128 + 9);
    assert_int_equal(process_run(missing, NULL, &output, &code, &error), LB_SYSTEM);
    assert_non_null(strstr(error.message, "no-such-program-here"));
    buffer_free(&output);
}

/* ---- Finding ---------------------------------------------------------------------------------------- */

static void modules_are_found(void **state)
{
    (void)state;
    char *folder = temporary_directory(), *here = getcwd(NULL, 0);
    const char *path = NULL;
    lb_error error = {0};

    assert_int_equal(chdir(folder), 0);
    unsetenv("LIGHTBUS_MODULE");
    assert_int_equal(module_find(&memory, NULL, &path, &error), LB_CONFIG);
    assert_non_null(strstr(error.message, "LIGHTBUS_MODULE"));
    write_file(folder, "bus.so", "");
    assert_ok(module_find(&memory, NULL, &path, &error), &error);
    assert_string_equal(path, "./bus.so");
    write_file(folder, "bus.c", "");
    assert_ok(module_find(&memory, NULL, &path, &error), &error);
    assert_string_equal(path, "./bus.c");
    assert_ok(module_find(&memory, "bus.so", &path, &error), &error);
    assert_string_equal(path, "bus.so");
    assert_ok(module_find(&memory, folder, &path, &error), &error);
    assert_non_null(strstr(path, "/bus.c"));

    setenv("LIGHTBUS_MODULE", "elsewhere.c", 1);
    assert_int_equal(module_find(&memory, NULL, &path, &error), LB_CONFIG);
    assert_non_null(strstr(error.message, "LIGHTBUS_MODULE: \"elsewhere.c\""));
    assert_ok(module_find(&memory, "bus.so", &path, &error), &error); /* the flag wins */
    setenv("LIGHTBUS_MODULE", "bus.so", 1);
    assert_ok(module_find(&memory, NULL, &path, &error), &error);
    assert_string_equal(path, "bus.so");
    unsetenv("LIGHTBUS_MODULE");

    assert_int_equal(module_find(&memory, "nothing", &path, &error), LB_CONFIG);
    assert_non_null(strstr(error.message, "--bus: \"nothing\": No such file"));
    assert_int_equal(mkdir("empty", 0700), 0);
    assert_int_equal(module_find(&memory, "empty", &path, &error), LB_CONFIG);
    assert_string_equal(error.message, "no bus.c or bus.so in the folder \"empty\"");
    assert_int_equal(chdir(here), 0);
    free(here);
    free(folder);
}

/* ---- The cache -------------------------------------------------------------------------------------- */

static void the_cache_is_the_users_alone(void **state)
{
    (void)state;
    char *folder = temporary_directory(), *expected, *other;
    const char *cache = NULL;
    lb_error error = {0};
    struct stat info;

    setenv("HOME", folder, 1);
    setenv("XDG_CACHE_HOME", "relative/is/ignored", 1);
    assert_ok(module_cache(&memory, &cache, &error), &error);
    expected = arena_printf(&memory, "%s/.cache/lightbus", folder);
    assert_string_equal(cache, expected);
    assert_int_equal(stat(cache, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);

    assert_int_equal(chmod(cache, 0750), 0);
    assert_int_equal(module_cache(&memory, &cache, &error), LB_ACCESS);
    assert_non_null(strstr(error.message, "expected mode 0700"));

    other = arena_printf(&memory, "%s/other/deep", folder);
    setenv("XDG_CACHE_HOME", other, 1);
    assert_ok(module_cache(&memory, &cache, &error), &error);
    assert_int_equal(rmdir(cache), 0);
    assert_int_equal(symlink(folder, cache), 0); /* somebody else's idea of our cache */
    assert_int_equal(module_cache(&memory, &cache, &error), LB_ACCESS);
    assert_int_equal(unlink(cache), 0);
    write_file(other, "lightbus", "");
    assert_int_equal(module_cache(&memory, &cache, &error), LB_ACCESS);

    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_int_equal(module_cache(&memory, &cache, &error), LB_ACCESS);
    assert_non_null(strstr(error.message, "set HOME or XDG_CACHE_HOME"));
    free(folder);
}

/* ---- Loading ---------------------------------------------------------------------------------------- */

static void what_is_no_module_is_refused(void **state)
{
    (void)state;
    char *folder = temporary_directory(), *path, *source, *object;
    lb_setup_fn setup = NULL;
    lb_error error = {0};
    int code;

    write_file(folder, "bus.so", "this is no shared object");
    path = arena_printf(&memory, "%s/bus.so", folder);
    assert_int_equal(module_load(&memory, path, &setup, &error), LB_CONFIG);
    assert_non_null(strstr(error.message, path));
    assert_int_equal(module_load(&memory, "/no/such/bus.so", &setup, &error), LB_CONFIG);
    assert_non_null(strstr(error.message, "/no/such/bus.so"));

    write_file(folder, "empty.c", "int nothing;\n");
    source = arena_printf(&memory, "%s/empty.c", folder);
    object = arena_printf(&memory, "%s/empty.so", folder);
    char *argv[] = {"cc", "-shared", "-fPIC", source, "-o", object, NULL};
    assert_ok(process_run(argv, NULL, NULL, &code, &error), &error);
    assert_int_equal(code, 0);
    assert_int_equal(module_load(&memory, object, &setup, &error), LB_CONFIG);
    assert_non_null(strstr(error.message, "does not define lb_setup, expected: lb_status lb_setup("));
    assert_true(setup == NULL);
    free(folder);
}

static bool lists(const words *w, const char *folder, const char *name)
{
    const char *path = arena_printf(&memory, "%s/%s", folder, name);

    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->list[i], path) == 0)
            return true;
    return false;
}

static void what_a_module_is_made_of(void **state)
{
    (void)state;
    char *folder = temporary_directory(),
         *build = arena_copy(&memory, LIGHTBUS_PROGRAM, strlen(LIGHTBUS_PROGRAM));
    words inputs = {.memory = &memory};
    const char *source = arena_printf(&memory, "%s/bus.c", folder), *object;
    lb_error error = {0};

    *strrchr(build, '/') = '\0';
    setenv("PKG_CONFIG_PATH", build, 1);
    setenv("XDG_CACHE_HOME", folder, 1);
    write_file(folder, "bus.c", "#include <stdio.h>\n#include \"a b.h\"\n#pragma message \"x\"\n");
    write_file(folder, "a b.h", "#pragma once\n#include \"c.h\"\n");
    write_file(folder, "c.h", "int nothing;\n");
    assert_ok(module_build(&memory, source, &inputs, &object, &error), &error);
    assert_true(lists(&inputs, folder, "bus.c"));
    assert_true(lists(&inputs, folder, "a b.h"));
    assert_true(lists(&inputs, folder, "c.h"));
    assert_int_equal(inputs.count, 3); /* each once, and nothing of the system */

    inputs = (words){.memory = &memory};
    write_file(folder, "c.h", "#include \"missing.h\"\n");
    assert_int_equal(module_build(&memory, source, &inputs, &object, &error), LB_CONFIG);
    assert_true(lists(&inputs, folder, "c.h"));
    unsetenv("PKG_CONFIG_PATH");
    unsetenv("XDG_CACHE_HOME");
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(words_are_split_as_by_a_shell, clear),
        cmocka_unit_test_teardown(a_list_grows, clear),
        cmocka_unit_test_teardown(programs_run_without_a_shell, clear),
        cmocka_unit_test_teardown(modules_are_found, clear),
        cmocka_unit_test_teardown(the_cache_is_the_users_alone, clear),
        cmocka_unit_test_teardown(what_is_no_module_is_refused, clear),
        cmocka_unit_test_teardown(what_a_module_is_made_of, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
