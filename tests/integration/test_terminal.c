/* The tests' own terminal: what is typed, what is seen, sizes, exit codes, settings. */
#include "terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 20000 };

#define OPEN(...) terminal_open(80, 24, (const char *const[]){__VA_ARGS__, NULL}, NULL, NULL)

static void keys_arrive_and_the_screen_is_seen(void **state)
{
    (void)state;
    terminal *t = OPEN("sh", "-c", "printf '\\033[31mr\xc3\xb6t\\033[0m\\n'; read x; echo \"<$x>\"");
    terminal_wait_for(t, "r\xc3\xb6t\n", WAIT_MS);
    assert_non_null(strstr(terminal_screen_styled(t), "\033[31mr\xc3\xb6t"));
    terminal_type(t, "-l a; b\xc3\xa4x");
    terminal_key(t, "BSpace");
    terminal_key(t, "Enter");
    terminal_wait_for(t, "\n<-l a; b\xc3\xa4>\n", WAIT_MS);
    terminal_wait_last_line(t, "<-l a; b\xc3\xa4>", WAIT_MS);
    terminal_wait_gone(t, "x", WAIT_MS);
    assert_int_equal(terminal_wait_exit(t, WAIT_MS), 0);
    terminal_wait_output(t, "\033[31mr\xc3\xb6t\033[0m\r\n", WAIT_MS);
    terminal_assert_restored(t);
    terminal_close(t);
}

static void the_size_is_as_given(void **state)
{
    (void)state;
    terminal *t = terminal_open(
        200, 50,
        (const char *const[]){"sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do read x; done", NULL},
        NULL, NULL);
    terminal_wait_for(t, "ready\n", WAIT_MS);
    terminal_resize(t, 100, 30);
    terminal_wait_for(t, "30 100\n", WAIT_MS);
    terminal_close(t);
    t = terminal_open(200, 50, (const char *const[]){"stty", "size", NULL}, NULL, NULL);
    terminal_wait_for(t, "50 200\n", WAIT_MS);
    terminal_close(t);
}

static void environment_and_folder(void **state)
{
    (void)state;
    char *folder = temporary_directory();
    terminal *t = terminal_open(80, 24, (const char *const[]){"sh", "-c", "echo $X; pwd; echo $TERM", NULL},
                                (const char *const[]){"X=a b", "TERM=dumb", NULL}, folder);
    terminal_wait_for(t, "a b\n", WAIT_MS);
    terminal_wait_for(t, folder, WAIT_MS);
    terminal_close(t);
    free(folder);
}

static void ends_are_told(void **state)
{
    (void)state;
    terminal *t = OPEN("sh", "-c", "exit 7");
    assert_int_equal(terminal_wait_exit(t, WAIT_MS), 7);
    terminal_close(t);
    t = OPEN("cat");
    terminal_line(t, "echoed");
    terminal_wait_for(t, "echoed\nechoed\n", WAIT_MS);
    terminal_key(t, "C-c");
    assert_int_equal(terminal_wait_exit(t, WAIT_MS), 128 + SIGINT);
    terminal_close(t);
    t = OPEN("sleep", "1000");
    child_kill(terminal_pid(t), SIGSEGV);
    assert_int_equal(terminal_wait_exit(t, WAIT_MS), 128 + SIGSEGV);
    terminal_close(t);
}

static void what_runs_ends_with_the_terminal(void **state)
{
    (void)state;
    terminal *t = OPEN("sleep", "1000");
    pid_t pid = terminal_pid(t);
    terminal_close(t);
    wait_until(kill(pid, 0) != 0, WAIT_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_arrive_and_the_screen_is_seen),
        cmocka_unit_test(the_size_is_as_given),
        cmocka_unit_test(environment_and_folder),
        cmocka_unit_test(ends_are_told),
        cmocka_unit_test(what_runs_ends_with_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
