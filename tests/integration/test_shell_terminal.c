/* lightbus shell as a person has it: on terminals of 80x24 and 200x50, with keys, signals and crashes. */
#include "shell_fixture.h"
#include "terminal.h"

#include <sys/stat.h>

enum { DEADLINE_MS = 20000 };

#define PROMPT    "lightbus>"
#define CONTINUED "     ...>"
enum { PROMPT_SIZE = sizeof PROMPT - 1 };

/* ---- Opening ---------------------------------------------------------------------------------------- */

static terminal *open_shell(const shell_fixture *f, int columns, int rows, const char *setting,
                            const char *flag)
{
    const char *const argv[] = {LIGHTBUS_PROGRAM, "shell", flag, NULL};
    const char *const environment[] = {f->url_setting, f->state_setting, "HOME=/nowhere", setting, NULL};
    terminal *t = terminal_open(columns, rows, argv, environment, f->folder);
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    return t;
}

static terminal *open_80(const shell_fixture *f) { return open_shell(f, 80, 24, NULL, NULL); }

/* Types a line behind a prompt. It is on the screen before Enter is pressed, so that a prompt alone that is
 * seen later is a new one. A line that is wider than the terminal cannot be looked for. */
static void type_line(terminal *t, const char *prompt, const char *line)
{
    char shown[128];
    snprintf(shown, sizeof shown, "%s %s", prompt, line);
    terminal_type(t, line);
    if (strlen(shown) < 80)
        terminal_wait_last_line(t, shown, DEADLINE_MS);
    terminal_key(t, "Enter");
}

/* Types a line, and waits for what it prints, and then the prompt. */
static void enter(terminal *t, const char *line, const char *output)
{
    type_line(t, PROMPT, line);
    terminal_wait_for(t, output, DEADLINE_MS);
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
}

static void leave(terminal *t)
{
    terminal_key(t, "C-d");
    int code = terminal_wait_exit(t, DEADLINE_MS);
    if (code != 0)
        fail_msg("exit code %d:\n%s", code, terminal_screen(t));
    terminal_assert_restored(t);
    terminal_close(t);
}

/* ---- Prompt and results ----------------------------------------------------------------------------- */

static void results_are_laid_out(void **state)
{
    static const int sizes[][2] = {{80, 24}, {200, 50}};
    for (int i = 0; i < 2; i++) {
        terminal *t = open_shell(*state, sizes[i][0], sizes[i][1], NULL, NULL);
        terminal_wait_for(t, "\n2 APIs. \"help\" tells more, Tab completes, Ctrl-D leaves.\n", DEADLINE_MS);
        enter(t, "auth.find_user(id=7)",
              "\n{\"id\": 7, \"name\": \"\xc3\x84nne\", \"tags\": [\"new\", \"vip\"]}\n");
        terminal_wait_for(t, " ms\n" PROMPT, DEADLINE_MS);
        terminal_key(t, "C-l");
        enter(t, "{'name': 'a name', 'a list of names': ['one', 'two', 'three'], 'and': {'so': 'on'}}",
              sizes[i][0] == 80
                  ? "\n{\n  \"name\": \"a name\",\n  \"a list of names\": [\"one\", \"two\", \"three\"],\n"
                    "  \"and\": {\"so\": \"on\"}\n}\n"
                  : "\n{\"name\": \"a name\", \"a list of names\": [\"one\", \"two\", \"three\"], "
                    "\"and\": {\"so\": \"on\"}}\n");
        leave(t);
    }
}

static void errors_show_their_place(void **state)
{
    terminal *t = open_80(*state);
    enter(t, "auth.check_password(username=)",
          "error: expected a value\n  auth.check_password(username=)\n                               ^\n");
    enter(t, "auth.find_user(id=8)", "\nUserNotFound: no user 8\n");
    enter(t, "trace", "\n  in auth.find_user, service tests, process p1\n");
    terminal_key(t, "C-l");
    enter(t, "['\xc3\xa4\xe6\xbc\xa2', ]]",
          "\n  ['\xc3\xa4\xe6\xbc\xa2', ]]\n           ^\n"); /* wide characters */
    terminal_key(t, "C-l");
    enter(t,
          "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25 26, 27, "
          "28, "
          "29, 30]",
          "24, 25 26, 27"); /* the line is cut to where it is wrong */
    leave(t);
}

static void colours_are_for_terminals(void **state)
{
    shell_fixture *f = *state;
    terminal *t = open_80(f);
    enter(t, "{'a': ['x', 1, None]}", "\n{\"a\": [\"x\", 1, null]}\n");
    terminal_wait_output(
        t, "\033[36m\"a\"\033[0m: [\033[32m\"x\"\033[0m, \033[33m1\033[0m, \033[2mnull\033[0m]", DEADLINE_MS);
    leave(t);
    t = open_shell(f, 80, 24, "NO_COLOR=1", NULL);
    enter(t, "{'a': ['x', 1, None]}", "\n{\"a\": [\"x\", 1, null]}\n");
    enter(t, "auth.find_user(id=8)", "\nUserNotFound: no user 8\n");
    assert_null(strstr(terminal_output(t), "\033[3"));
    assert_null(strstr(terminal_output(t), "\033[2m"));
    leave(t);
}

/* What comes from elsewhere cannot drive the terminal. */
static void control_characters_are_harmless(void **state)
{
    terminal *t = open_80(*state);
    enter(t, "auth.echo(value='a\\x9b31mb\\x1b[7mc\\x7f')", "\n\"a?31mb\\u001b[7mc?\"\n");
    leave(t);
}

/* ---- Completion ------------------------------------------------------------------------------------- */

static void completion_by_tab(void **state)
{
    terminal *t = open_80(*state);
    terminal_type(t, "au");
    terminal_key(t, "Tab");
    terminal_wait_last_line(t, PROMPT " auth.", DEADLINE_MS);
    terminal_key(t, "Tab");
    terminal_wait_for(t, "\ncheck_password(   echo(             find_user(        hang()\nuser_registered.\n",
                      DEADLINE_MS);
    terminal_wait_last_line(t, PROMPT " auth.", DEADLINE_MS);
    terminal_type(t, "ch");
    terminal_key(t, "Tab");
    terminal_type(t, "us");
    terminal_key(t, "Tab");
    terminal_wait_last_line(t, PROMPT " auth.check_password(username=", DEADLINE_MS);
    terminal_type(t, "'admin', ");
    terminal_key(t, "Tab");
    terminal_wait_last_line(t, PROMPT " auth.check_password(username='admin', password=", DEADLINE_MS);
    terminal_type(t, "'secret')");
    terminal_key(t, "Enter");
    terminal_wait_for(t, "\ntrue\n", DEADLINE_MS);
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    terminal_type(t, "auth.echo(value=1, level=");
    terminal_key(t, "Tab");
    terminal_key(t, "Tab");
    terminal_wait_for(t, "\n\"high\"  \"low\"\n", DEADLINE_MS);
    terminal_type(t, "h");
    terminal_key(t, "Tab");
    terminal_wait_last_line(t, PROMPT " auth.echo(value=1, level=\"high\"", DEADLINE_MS);
    terminal_type(t, ", loud=T");
    terminal_key(t, "Tab");
    terminal_wait_last_line(t, PROMPT " auth.echo(value=1, level=\"high\", loud=True", DEADLINE_MS);
    terminal_key(t, "C-c");
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    leave(t);
}

/* An API that comes to the bus while the shell is open. */
static void completion_knows_what_is_new(void **state)
{
    shell_fixture *f = *state;
    terminal *t = open_80(f);
    terminal_type(t, "auth.f");
    terminal_key(t, "Tab");
    terminal_wait_last_line(t, PROMPT " auth.find_user(", DEADLINE_MS);
    terminal_key(t, "C-c");
    lb_value_free(redis_command(f->redis, "SET", "schema:zoo",
                                "{\"rpcs\":{\"feed\":{\"parameters\":{\"type\":\"object\",\"properties\":{}},"
                                "\"response\":{}}},\"events\":{}}",
                                NULL));
    lb_value_free(redis_command(f->redis, "SADD", "schemas", "zoo", NULL));
    terminal_type(t, "zo");
    wait_until((terminal_key(t, "Tab"), strstr(terminal_screen(t), PROMPT " zoo.feed()")), DEADLINE_MS);
    terminal_key(t, "C-c");
    leave(t);
}

/* ---- History ---------------------------------------------------------------------------------------- */

static void history_outlives_the_shell(void **state)
{
    shell_fixture *f = *state;
    char path[160];
    struct stat info;
    terminal *t = open_80(f);
    enter(t, "'first'", "\n\"first\"\n");
    enter(t, " 'secret'", "\n\"secret\"\n"); /* a space before it: not remembered */
    terminal_line(t, "[1,");
    terminal_wait_last_line(t, CONTINUED, DEADLINE_MS);
    type_line(t, CONTINUED, "2]");
    terminal_wait_for(t, "\n[1, 2]\n", DEADLINE_MS);
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    enter(t, "[1, 2]", "\n[1, 2]\n");
    leave(t);
    snprintf(path, sizeof path, "%s/state/lightbus/history", f->folder);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    t = open_80(f);
    terminal_key(t, "Up");
    terminal_wait_last_line(t, PROMPT " [1, 2]", DEADLINE_MS);
    terminal_key(t, "Up"); /* the same in two lines was the same, so this is the first one */
    terminal_wait_last_line(t, PROMPT " 'first'", DEADLINE_MS);
    terminal_key(t, "Enter");
    terminal_wait_for(t, "\n\"first\"\n", DEADLINE_MS);
    terminal_type(t, "C");
    terminal_key(t, "BSpace");
    terminal_key(t, "C-r");
    terminal_type(t, "1, "); /* a regular expression */
    terminal_wait_for(t, PROMPT " [1, 2]", DEADLINE_MS);
    terminal_key(t, "Enter");
    terminal_wait_for(t, "\n[1, 2]\n", DEADLINE_MS);
    leave(t);
}

static void without_a_history_it_works(void **state)
{
    shell_fixture *f = *state;
    terminal *t = open_shell(f, 80, 24, "XDG_STATE_HOME=/dev/null", NULL);
    terminal_wait_for(t, "No history: ", DEADLINE_MS);
    enter(t, "'first'", "\n\"first\"\n");
    terminal_key(t, "Up");
    terminal_wait_last_line(t, PROMPT " 'first'", DEADLINE_MS);
    terminal_key(t, "C-c");
    leave(t);
}

/* ---- Editing ---------------------------------------------------------------------------------------- */

static void several_lines(void **state)
{
    terminal *t = open_80(*state);
    terminal_line(t, "auth.echo(value={'a': 1,");
    terminal_wait_last_line(t, CONTINUED, DEADLINE_MS);
    terminal_line(t, "'b': 'x");
    terminal_wait_for(t, CONTINUED " 'b': 'x\n" CONTINUED, DEADLINE_MS);
    type_line(t, CONTINUED, "y'})");
    terminal_wait_for(t, "\n{\"a\": 1, \"b\": \"x\\ny\"}\n", DEADLINE_MS);
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    terminal_line(t, "auth.echo(");
    terminal_wait_last_line(t, CONTINUED, DEADLINE_MS);
    terminal_key(t, "C-c"); /* gives all of it up */
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    enter(t, "7", "\n7\n");
    leave(t);
}

static void ctrl_c_clears_the_line(void **state)
{
    terminal *t = open_80(*state);
    terminal_type(t, "nonsense(");
    terminal_wait_last_line(t, PROMPT " nonsense(", DEADLINE_MS);
    terminal_key(t, "C-c");
    terminal_wait_for(t, PROMPT " nonsense(^C\n" PROMPT, DEADLINE_MS);
    enter(t, "7", "\n7\n");
    for (int i = 0; i < 20; i++) { /* what is typed at once behind Ctrl-C begins a new line */
        terminal_type(t, "nonsense(");
        terminal_wait_last_line(t, PROMPT " nonsense(", DEADLINE_MS);
        terminal_key(t, "C-c");
        enter(t, "8", "\n8\n");
        terminal_key(t, "C-l");
        terminal_wait_gone(t, "nonsense", DEADLINE_MS);
    }
    leave(t);
}

static void utf8_is_edited_by_character(void **state)
{
    terminal *t = open_80(*state);
    terminal_type(t, "'\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x98\x80x");
    terminal_key(t, "BSpace");
    terminal_key(t, "BSpace");
    terminal_type(t, "\xe2\x82\xac'");
    terminal_key(t, "Enter");
    terminal_wait_for(t, "\n\"\xc3\xa4\xe6\xbc\xa2\xe2\x82\xac\"\n", DEADLINE_MS);
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    leave(t);
}

static void resizing(void **state)
{
    terminal *t = open_80(*state);
    terminal_type(t, "'some text that is typed'");
    terminal_wait_last_line(t, PROMPT " 'some text that is typed'", DEADLINE_MS);
    terminal_resize(t, 200, 50);
    terminal_wait_last_line(t, PROMPT " 'some text that is typed'", DEADLINE_MS);
    terminal_resize(t, 60, 20);
    terminal_wait_last_line(t, PROMPT " 'some text that is typed'", DEADLINE_MS);
    terminal_key(t, "Enter");
    terminal_wait_for(t, "\n\"some text that is typed\"\n", DEADLINE_MS);
    leave(t);
}

/* A library that cannot be loaded stands in for one that is not there. */
static void without_libedit_it_works(void **state)
{
    shell_fixture *f = *state;
    char setting[160];
    write_file(f->folder, "libedit.so.2", "");
    snprintf(setting, sizeof setting, "LD_LIBRARY_PATH=%s", f->folder);
    terminal *t = open_shell(f, 80, 24, setting, NULL);
    terminal_wait_for(t, "libedit is not on this machine: lines cannot be edited.\n", DEADLINE_MS);
    enter(t, "auth.find_user(id=7)['name']", "\n\"\xc3\x84nne\"\n");
    terminal_line(t, "[1,");
    terminal_wait_last_line(t, CONTINUED, DEADLINE_MS);
    type_line(t, CONTINUED, "2]");
    terminal_wait_for(t, "\n[1, 2]\n", DEADLINE_MS);
    terminal_type(t, "nonsense(");
    terminal_wait_last_line(t, PROMPT " nonsense(", DEADLINE_MS);
    terminal_key(t, "C-c");
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    enter(t, "7", "\n7\n");
    leave(t);
}

/* ---- Ctrl-C ----------------------------------------------------------------------------------------- */

static void ctrl_c_ends_listening(void **state)
{
    shell_fixture *f = *state;
    lb_error error = {0};
    lb_bus *client = client_open(f->url, 5000);
    terminal *t = open_80(f);
    terminal_line(t, "auth.user_registered.listen()");
    terminal_wait_for(t, "Listening to auth.user_registered. Ctrl-C ends it.\n", DEADLINE_MS);
    assert_ok(
        lb_fire(client, "auth.user_registered", LB_ARGS(LB("username", "eve"), LB("email", "e@x")), &error),
        &error);
    terminal_wait_for(t, "  auth.user_registered  ", DEADLINE_MS);
    terminal_wait_for(t, "\n          username \"eve\"\n          email \"e@x\"\n", DEADLINE_MS);
    terminal_key(t, "C-c");
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    enter(t, "auth.user_registered", "nobody at present");
    leave(t);
    lb_close(client);
}

static void ctrl_c_cancels_a_call(void **state)
{
    shell_fixture *f = *state;
    shared_set(f->calls_hang, 1);
    terminal *t = open_shell(f, 80, 24, NULL, "--timeout=600");
    terminal_line(t, "auth.hang()");
    wait_until(shared_get(f->hanging) == 1, DEADLINE_MS);
    terminal_key(t, "C-c");
    terminal_wait_for(t, "error: canceled; a worker that has taken the call goes on\n", DEADLINE_MS);
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    shared_set(f->calls_hang, 0);
    enter(t, "auth.check_password(username='admin', password='secret')", "\ntrue\n");
    leave(t);
}

/* ---- Signals ---------------------------------------------------------------------------------------- */

/* At the prompt the terminal is not as it was; whatever ends the shell, it is so again. */
static void the_terminal_is_restored(void **state)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGQUIT};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        terminal *t = open_80(*state);
        terminal_type(t, "auth.");
        terminal_wait_last_line(t, PROMPT " auth.", DEADLINE_MS);
        child_kill(terminal_pid(t), signals[i]);
        assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 128 + signals[i]);
        terminal_assert_restored(t);
        terminal_close(t);
    }
}

static void the_terminal_is_restored_while_it_waits(void **state)
{
    shell_fixture *f = *state;
    static const int signals[] = {SIGTERM, SIGSEGV};
    for (int i = 0; i < 2; i++) {
        shared_set(f->calls_hang, 1);
        terminal *t = open_shell(f, 80, 24, NULL, "--timeout=600");
        terminal_line(t, "auth.hang()");
        wait_until(shared_get(f->hanging) == 1, DEADLINE_MS);
        child_kill(terminal_pid(t), signals[i]);
        assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 128 + signals[i]);
        terminal_assert_restored(t);
        terminal_close(t);
        shared_set(f->calls_hang, 0);
        wait_until(shared_get(f->hanging) == 0, DEADLINE_MS);
    }
}

static void quit_by_key(void **state)
{
    terminal *t = open_80(*state);
    terminal_key(t, "C-\\");
    assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 128 + SIGQUIT);
    terminal_assert_restored(t);
    terminal_close(t);
    t = open_80(*state);
    terminal_line(t, "exit");
    assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 0);
    terminal_assert_restored(t);
    terminal_close(t);
}

/* Ctrl-Z gives the terminal back, fg takes it again. */
static void suspending(void **state)
{
    shell_fixture *f = *state;
    terminal *t =
        terminal_open(80, 24, (const char *const[]){"bash", "--norc", "--noprofile", "-i", NULL},
                      (const char *const[]){f->url_setting, f->state_setting, "PS1=bash> ", NULL}, f->folder);
    terminal_wait_last_line(t, "bash>", DEADLINE_MS);
    terminal_line(t, LIGHTBUS_PROGRAM " shell");
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    terminal_type(t, "'abc");
    terminal_wait_last_line(t, PROMPT " 'abc", DEADLINE_MS);
    terminal_key(t, "C-z");
    terminal_wait_last_line(t, "bash>", DEADLINE_MS);
    terminal_line(t, "stty -a | grep -o ' icanon'");
    terminal_wait_for(t, "\n icanon\n", DEADLINE_MS);
    terminal_line(t, "fg");
    terminal_wait_last_line(t, PROMPT " 'abc", DEADLINE_MS);
    terminal_type(t, "d'");
    terminal_key(t, "Enter");
    terminal_wait_for(t, "\n\"abcd\"\n", DEADLINE_MS);
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    terminal_line(t, "exit");
    terminal_wait_last_line(t, "bash>", DEADLINE_MS);
    terminal_close(t);
}

/* ---- Outages ---------------------------------------------------------------------------------------- */

static void a_bus_that_goes_away(void **state)
{
    shell_fixture *f = *state;
    terminal *t = open_80(f);
    redis_server_down(f->redis);
    enter(t, "auth.find_user(id=7)", "\nerror: ");
    enter(t, "_ = 3", "\n" PROMPT);
    redis_server_up(f->redis);
    wait_until((terminal_line(t, "auth.find_user(id=7)"), strstr(terminal_screen(t), "\n{\"id\": 7, ")),
               DEADLINE_MS);
    terminal_wait_last_line(t, PROMPT, DEADLINE_MS);
    leave(t);
}

static void no_prompt_without_a_bus(void **state)
{
    char setting[64];
    shell_fixture *f = *state;
    snprintf(setting, sizeof setting, "LIGHTBUS_URL=redis://127.0.0.1:%d/0", support_free_port());
    terminal *t = terminal_open(80, 24, (const char *const[]){LIGHTBUS_PROGRAM, "shell", NULL},
                                (const char *const[]){setting, f->state_setting, NULL}, NULL);
    assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 1);
    terminal_wait_for(t, "lightbus shell: error: ", DEADLINE_MS);
    assert_null(strstr(terminal_screen(t), PROMPT));
    terminal_close(t);
}

/* ---- The documentation ------------------------------------------------------------------------------ */

/* The same text with every time taken ("0.31 ms") as "N ms", for free(). */
static char *without_times(const char *text)
{
    char *copy = strdup(text), *out = copy;
    assert_non_null(copy);
    for (const char *at = text; *at;) {
        size_t digits = strspn(at, "0123456789.");
        if (digits && strncmp(at + digits, " ms\n", 4) == 0) {
            *out++ = 'N';
            at += digits;
        } else {
            *out++ = *at++;
        }
    }
    *out = '\0';
    return copy;
}

static char *read_text(const char *path)
{
    char *text = calloc(1, 65536);
    FILE *file = fopen(path, "r");
    if (!text || !file)
        fail_msg("%s cannot be read", path);
    size_t size = fread(text, 1, 65535, file);
    text[size] = '\0';
    fclose(file);
    return text;
}

/* What docs/how-to/use-the-shell.md shows: typed line by line, the screen then holds the same text. */
static void the_session_of_the_documentation(void **state)
{
    static const char *const prompts[] = {PROMPT, CONTINUED};
    shell_fixture *f = *state;
    char url[160], cache[160];
    char *session = read_text(TESTS_DIR "/../examples/quickstart/shell_session.txt"), *lines = strdup(session);
    snprintf(url, sizeof url, "LIGHTBUS_URL=local://%s/quickstart", f->folder);
    snprintf(cache, sizeof cache, "XDG_CACHE_HOME=%s/cache", f->folder);
    program *service =
        program_start((const char *const[]){LIGHTBUS_PROGRAM, "run", "--bus",
                                            TESTS_DIR "/../examples/quickstart/auth_service", NULL},
                      (const char *const[]){url, cache, NULL}, f->folder);
    program_expect(service, "Ready.", DEADLINE_MS);
    terminal *t = open_shell(f, 120, 60, url, NULL);
    for (char *rest = lines, *line = strtok_r(rest, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *prompt = prompts[strncmp(line, CONTINUED, PROMPT_SIZE) == 0];
        bool goes_on = rest && strncmp(rest, CONTINUED, PROMPT_SIZE) == 0;
        if (strncmp(line, prompt, PROMPT_SIZE) != 0)
            continue;
        type_line(t, prompt, line + PROMPT_SIZE + 1);
        terminal_wait_last_line(t, prompts[goes_on], DEADLINE_MS);
    }
    char *seen = without_times(terminal_screen(t)), *expected = without_times(session);
    if (!strstr(seen, expected))
        fail_msg("the documentation shows:\n%sthe terminal:\n%s", expected, seen);
    leave(t);
    child_kill(service->pid, SIGTERM);
    assert_int_equal(program_wait(service, DEADLINE_MS), 0);
    program_free(service);
    free(seen);
    free(expected);
    free(session);
    free(lines);
}

#define ON_LOCAL(f) cmocka_unit_test_setup_teardown(f, local_setup, close_fixture)
#define ON_REDIS(f) cmocka_unit_test_setup_teardown(f, redis_setup, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_LOCAL(results_are_laid_out),
        ON_LOCAL(errors_show_their_place),
        ON_LOCAL(colours_are_for_terminals),
        ON_LOCAL(control_characters_are_harmless),
        ON_LOCAL(completion_by_tab),
        ON_REDIS(completion_knows_what_is_new),
        ON_LOCAL(history_outlives_the_shell),
        ON_LOCAL(without_a_history_it_works),
        ON_LOCAL(several_lines),
        ON_LOCAL(ctrl_c_clears_the_line),
        ON_LOCAL(utf8_is_edited_by_character),
        ON_LOCAL(resizing),
        ON_LOCAL(without_libedit_it_works),
        ON_LOCAL(ctrl_c_ends_listening),
        ON_REDIS(ctrl_c_ends_listening),
        ON_LOCAL(ctrl_c_cancels_a_call),
        ON_REDIS(ctrl_c_cancels_a_call),
        ON_LOCAL(the_terminal_is_restored),
        ON_LOCAL(the_terminal_is_restored_while_it_waits),
        ON_LOCAL(quit_by_key),
        ON_LOCAL(suspending),
        ON_REDIS(a_bus_that_goes_away),
        ON_LOCAL(no_prompt_without_a_bus),
        ON_LOCAL(the_session_of_the_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
