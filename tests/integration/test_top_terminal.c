/* lightbus top on a terminal: its screen, its keys, and the terminal as it was at every end. */
#include "terminal.h"
#include "top_fixture.h"

static terminal *screen(int columns, int rows, const char *url)
{
    return terminal_open(
        columns, rows, (const char *const[]){LIGHTBUS_PROGRAM, "top", "--interval", "0.2", "--url", url, NULL},
        NULL, folder);
}

/* Ends the program, and the terminal is as it was. */
static void ends(terminal *t, int code)
{
    assert_int_equal(terminal_wait_exit(t, PATIENCE_MS), code);
    terminal_assert_restored(t);
    terminal_wait_gone(t, "lightbus top", PATIENCE_MS); /* the alternate screen */
    terminal_close(t);
}

static size_t lines_of(const char *text)
{
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void a_screen(lb_bus *bus, int columns, int rows, const char *url, const char *rpc)
{
    tell_of_two(bus);
    terminal *t = screen(columns, rows, url);
    terminal_wait_for(t, "\nauth ", PATIENCE_MS);
    terminal_wait_for(t, "\n 1 Overview   2 Listeners   3 RPCs   4 Events   5 Processes\n", PATIENCE_MS);
    terminal_wait_for(t, "200 calls/s   2.0 errors/s   10ms p95", PATIENCE_MS);
    terminal_wait_for(t, "q quit  h help  Tab view  s sort  r reverse  / filter  p pause", PATIENCE_MS);
    terminal_key(t, "3");
    terminal_wait_for(t, rpc, PATIENCE_MS);
    assert_true(lines_of(terminal_screen(t)) <= (size_t)rows);
    assert_non_null(strstr(terminal_screen_styled(t), "\033[7m 3 RPCs "));
    terminal_key(t, "q");
    ends(t, 0);
}

static void screens_of_two_sizes(void **state)
{
    (void)state;
    static const char rpc[] =
        "\nRPC                  CALLS/S\u25be  ERRORS/S    P50    P95    P99  BUSY  PROCS\n"
        "auth.check_password       200       2.0  2.0ms   10ms  500ms   75%      2\n";
    for (int i = 0; i < 2; i++) {
        lb_bus *bus = reporter(urls[i]);
        a_screen(bus, i ? 200 : 80, i ? 50 : 24, urls[i], rpc);
        lb_close(bus);
    }
}

static void keys_choose_and_filter(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    tell_of_two(bus);
    terminal *t = screen(80, 24, urls[1]);
    terminal_wait_for(t, "SERVICE", PATIENCE_MS);
    terminal_key(t, "5");
    terminal_wait_for(t, "\nPROCESS  SERVICE\u25b4  STATE", PATIENCE_MS);
    terminal_type(t, "S");
    terminal_wait_for(t, "\nPROCESS\u25b4  SERVICE  STATE", PATIENCE_MS);
    terminal_type(t, "r");
    terminal_wait_for(t, "\nPROCESS\u25be  SERVICE  STATE  HOST      PID  UPTIME  MEMORY  CALLS/S  BUSY\np2 ",
                      PATIENCE_MS);
    terminal_type(t, "/P1");
    terminal_wait_for(t, "\n/P1\u2588  ", PATIENCE_MS);
    terminal_wait_for(t, "  Enter keeps it, Escape drops it", PATIENCE_MS);
    terminal_wait_gone(t, "\np2 ", PATIENCE_MS);
    terminal_key(t, "Enter");
    terminal_wait_for(t, "filter: P1", PATIENCE_MS);
    terminal_key(t, "Escape");
    terminal_wait_for(t, "\np2 ", PATIENCE_MS);
    terminal_key(t, "BTab");
    terminal_wait_for(t, "\nEVENT", PATIENCE_MS);
    terminal_key(t, "Tab");
    terminal_wait_for(t, "\nPROCESS", PATIENCE_MS);
    terminal_type(t, "?");
    terminal_wait_for(t, "q, Ctrl-C         quit", PATIENCE_MS);
    terminal_type(t, "?p");
    terminal_wait_for(t, "  paused\n", PATIENCE_MS);
    ping(bus, "p3", 1000, "");
    terminal_type(t, "p");
    terminal_wait_for(t, "\np3 ", PATIENCE_MS);
    terminal_type(t, "q");
    ends(t, 0);
    lb_close(bus);
}

static void long_tables_scroll(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    for (int i = 0; i < 30; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%02d", i);
        ping(bus, name, 1000, "");
    }
    terminal *t = screen(80, 24, urls[1]);
    terminal_type(t, "5");
    terminal_wait_for(t, "\np17 ", PATIENCE_MS);
    terminal_wait_for(t, "1\u201318 of 30\n", PATIENCE_MS);
    terminal_key(t, "Down");
    terminal_wait_for(t, "2\u201319 of 30\n", PATIENCE_MS);
    terminal_key(t, "NPage");
    terminal_wait_for(t, "13\u201330 of 30\n", PATIENCE_MS);
    terminal_wait_for(t, "\np29 ", PATIENCE_MS);
    terminal_key(t, "PPage");
    terminal_key(t, "Up");
    terminal_wait_for(t, "1\u201318 of 30\n", PATIENCE_MS);
    terminal_key(t, "End");
    terminal_wait_for(t, "13\u201330 of 30\n", PATIENCE_MS);
    terminal_key(t, "Home");
    terminal_wait_for(t, "1\u201318 of 30\n", PATIENCE_MS);
    terminal_key(t, "C-c");
    ends(t, 0);
    lb_close(bus);
}

static void the_screen_follows_the_size(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    tell_of_two(bus);
    terminal *t = screen(80, 24, urls[1]);
    terminal_type(t, "5");
    terminal_wait_for(t, "  CALLS/S  BUSY\n", PATIENCE_MS);
    assert_null(strstr(terminal_screen(t), "ERRORS/S"));
    terminal_resize(t, 200, 50);
    terminal_wait_for(t, "  CALLS/S  ERRORS/S    P50    P95    P99  BUSY  HANDLED/S  FAILED/S  APIS  LISTENS\n",
                      PATIENCE_MS);
    terminal_wait_last_line(t, "q quit  h help  Tab view  s sort  r reverse  / filter  p pause", PATIENCE_MS);
    terminal_resize(t, 40, 12);
    terminal_wait_for(t, "\nPROCESS  SERVICE\u25b4  STATE  CALLS/S\n", PATIENCE_MS);
    terminal_key(t, "C-c");
    ends(t, 0);
    lb_close(bus);
}

/* Only what changes is written. */
static void a_screen_that_stays_is_not_written(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    tell_of_two(bus);
    terminal *t = screen(200, 50, urls[1]);
    terminal_wait_for(t, "\nauth ", PATIENCE_MS);
    terminal_type(t, "5");
    terminal_wait_output(t, "PROCESS", PATIENCE_MS); /* the record comes after the screen */
    size_t size = strlen(terminal_output(t));
    char before[64];
    snprintf(before, sizeof before, "%.60s", strchr(terminal_screen(t), '\n') - 40);
    terminal_wait_gone(t, before, PATIENCE_MS); /* the clock has gone on */
    assert_true(strlen(terminal_output(t)) - size < 4000);
    terminal_type(t, "q");
    ends(t, 0);
    lb_close(bus);
}

static void signals_give_the_terminal_back(void **state)
{
    (void)state;
    const int signals[] = {SIGTERM, SIGHUP, SIGSEGV, SIGABRT, SIGBUS, SIGQUIT};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        terminal *t = screen(80, 24, urls[1]);
        terminal_wait_for(t, "q quit", PATIENCE_MS);
        child_kill(terminal_pid(t), signals[i]);
        ends(t, i < 2 ? 0 : 128 + signals[i]);
    }
}

static void it_stops_and_goes_on(void **state)
{
    (void)state;
    char command[400];
    terminal *t = terminal_open(80, 24, (const char *const[]){"bash", "--norc", "-i", NULL},
                                (const char *const[]){"PS1=$ ", NULL}, folder);
    snprintf(command, sizeof command, "stty -a >before; '%s' top --url '%s'", LIGHTBUS_PROGRAM, urls[1]);
    terminal_wait_last_line(t, "$", PATIENCE_MS);
    terminal_line(t, command);
    for (int i = 0; i < 2; i++) {
        terminal_wait_for(t, "q quit", PATIENCE_MS);
        terminal_key(t, "C-z");
        terminal_wait_for(t, "Stopped", PATIENCE_MS);
        terminal_wait_last_line(t, "$", PATIENCE_MS);
        terminal_line(t, "clear; stty -a >now; cmp before now && echo \"as \"it was; fg");
    }
    terminal_wait_for(t, "q quit", PATIENCE_MS);
    terminal_key(t, "q");
    terminal_wait_for(t, "as it was", PATIENCE_MS);
    terminal_wait_last_line(t, "$", PATIENCE_MS);
    terminal_line(t, "exit $?");
    assert_int_equal(terminal_wait_exit(t, PATIENCE_MS), 0);
    terminal_close(t);
}

static void an_outage_is_said_and_passes(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[0]);
    tell_of_two(bus);
    lb_close(bus);
    terminal *t = screen(80, 24, urls[0]);
    terminal_wait_for(t, "\nauth ", PATIENCE_MS);
    redis_server_down(server);
    terminal_wait_for(t, "\nTrying again: redis://127.0.0.1:", PATIENCE_MS);
    terminal_wait_for(t, "\nauth ", PATIENCE_MS); /* what was last known */
    terminal_type(t, "5");
    terminal_wait_for(t, "\nPROCESS", PATIENCE_MS);
    redis_server_up(server);
    terminal_wait_gone(t, "Trying again", PATIENCE_MS);
    bus = reporter(urls[0]);
    ping(bus, "p3", 1000, "");
    terminal_wait_for(t, "\np3 ", PATIENCE_MS);
    redis_server_pause(server); /* half open: keys are answered nevertheless */
    terminal_type(t, "3");
    terminal_wait_for(t, "\nRPC ", PATIENCE_MS);
    terminal_wait_for(t, "\nTrying again: ", PATIENCE_MS);
    redis_server_resume(server);
    terminal_wait_gone(t, "Trying again", PATIENCE_MS);
    terminal_type(t, "q");
    ends(t, 0);
    lb_close(bus);
}

static void updates_are_counted(void **state)
{
    (void)state;
    terminal *t = terminal_open(80, 24,
                                (const char *const[]){LIGHTBUS_PROGRAM, "top", "--count", "3", "--interval",
                                                      "0.1", "--url", urls[1], NULL},
                                NULL, folder);
    ends(t, 0);
}

/* A snapshot on a terminal is as wide as that, and stays there. */
static void once_on_a_terminal(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    tell_of_two(bus);
    terminal *t = terminal_open(
        80, 50,
        (const char *const[]){LIGHTBUS_PROGRAM, "top", "--once", "--interval", "0.1", "--url", urls[1], NULL},
        NULL, folder);
    assert_int_equal(terminal_wait_exit(t, PATIENCE_MS), 0);
    terminal_wait_for(t,
                      "\nPROCESS  SERVICE  STATE  HOST      PID  UPTIME  MEMORY  CALLS/S  BUSY  HANDLED/S\np1 ",
                      PATIENCE_MS);
    terminal_wait_output(t, "\033[1mPROCESS", PATIENCE_MS);
    assert_null(strstr(terminal_output(t), "\033[?1049h"));
    terminal_close(t);
    lb_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(screens_of_two_sizes),
        TEST(keys_choose_and_filter),
        TEST(long_tables_scroll),
        TEST(the_screen_follows_the_size),
        TEST(a_screen_that_stays_is_not_written),
        TEST(signals_give_the_terminal_back),
        TEST(it_stops_and_goes_on),
        TEST(an_outage_is_said_and_passes),
        TEST(updates_are_counted),
        TEST(once_on_a_terminal),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
