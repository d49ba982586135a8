/* The terminal of terminal.h. The tmux server runs in the foreground as a child of the test (tmux -D), so that
 * it dies with it; every order is a tmux client of its own. In the pane, a small script records the terminal's
 * settings before and after the program, its process id and its exit code, in files beside the socket; it
 * begins when the test writes to a fifo, so that no output is missed. It outlives the program, so that the
 * screen stays. */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ORDER_MS = 20000, MOST_WORDS = 40 };

struct terminal {
    program *server;
    char *folder;
    char socket[96];
    program *last_order; /* its output is what terminal_screen gave */
    char *output;
};

/* $0 is the folder, "$@" the program. The program starts with the signals of a fresh process, while the script
 * survives what the keyboard sends. */
static const char script[] =
    "trap : INT QUIT\n"
    "ulimit -c 0\n"
    "read -r go <\"$0/go\"\n"
    "stty -a | sed 1d >\"$0/before\"\n" /* the first line tells the size, which a test may change */
    "sh -c 'echo $$ >\"$0/pid.new\"; mv \"$0/pid.new\" \"$0/pid\"; exec \"$@\"' \"$0\" \"$@\"\n"
    "code=$?\n"
    "stty -a | sed 1d >\"$0/after\"\n"
    "echo $code >\"$0/code.new\"\n"
    "mv \"$0/code.new\" \"$0/code\"\n"
    "exec sleep 3600\n";

/* ---- Orders to tmux --------------------------------------------------------------------------------- */

/* Runs a tmux client; its output stays until the next order. False when tmux refused. */
static bool try_order(terminal *t, const char *const *words)
{
    const char *argv[MOST_WORDS + 8] = {"tmux", "-u", "-N", "-S", t->socket};
    size_t count = 5;
    for (size_t i = 0; words[i]; i++) {
        assert_true(count < MOST_WORDS);
        argv[count++] = words[i];
    }
    program_free(t->last_order);
    t->last_order = program_start(argv, (const char *const[]){"LC_ALL=C.UTF-8", NULL}, NULL);
    return program_wait(t->last_order, ORDER_MS) == 0;
}

static void order(terminal *t, const char *const *words)
{
    if (!try_order(t, words))
        fail_msg("tmux %s: %s", words[0], t->last_order->text);
}
#define ORDER(t, ...) order((t), (const char *const[]){__VA_ARGS__, NULL})

/* ---- Files of the script ---------------------------------------------------------------------------- */

/* The file's text for free(); NULL if it is not there (yet). */
static char *read_record(const terminal *t, const char *name)
{
    char path[128], chunk[4096], *text = NULL;
    size_t size = 0, got;
    snprintf(path, sizeof path, "%s/%s", t->folder, name);
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    do {
        got = fread(chunk, 1, sizeof chunk, file);
        text = realloc(text, size + got + 1);
        assert_non_null(text);
        memcpy(text + size, chunk, got);
        size += got;
        text[size] = '\0';
    } while (got);
    fclose(file);
    return text;
}

/* The number in a file that the script will write. */
static int wait_for_number(terminal *t, const char *name, int timeout_ms)
{
    int64_t deadline = support_now_ms() + timeout_ms;
    char *text;
    while (!(text = read_record(t, name))) {
        if (support_now_ms() > deadline)
            fail_msg("waited %d ms for the %s of the program; the screen:\n%s", timeout_ms, name,
                     terminal_screen(t));
        support_nap();
    }
    int number = atoi(text);
    free(text);
    return number;
}

/* ---- Opening ---------------------------------------------------------------------------------------- */

static void start_server(terminal *t, const char *const *environment)
{
    const char *argv[MOST_WORDS + 8] = {"env", "-u", "NO_COLOR", "-u", "TMUX", "LC_ALL=C.UTF-8"};
    const char *const server[] = {"tmux", "-u", "-S", t->socket, "-f", "/dev/null", "-D", NULL};
    int64_t deadline = support_now_ms() + ORDER_MS;
    size_t count = 6;
    for (size_t i = 0; environment && environment[i]; i++) {
        assert_true(count < MOST_WORDS);
        argv[count++] = environment[i];
    }
    memcpy(argv + count, server, sizeof server);
    t->server = program_start(argv, NULL, NULL);
    while (!try_order(t, (const char *const[]){"set-option", "-g", "status", "off", NULL})) {
        if (support_now_ms() > deadline || !child_runs(t->server->pid))
            fail_msg("tmux did not start (tools/setup --tests installs it): %s", t->last_order->text);
        support_nap();
    }
    ORDER(t, "set-option", "-g", "escape-time", "0");
}

static void start_pane(terminal *t, int columns, int rows, const char *const *argv, const char *directory)
{
    char width[16], height[16], record[160], here[1024];
    snprintf(width, sizeof width, "%d", columns);
    snprintf(height, sizeof height, "%d", rows);
    assert_non_null(getcwd(here, sizeof here));
    const char *words[MOST_WORDS] = {"new-session", "-d",   "-x",   width,
                                     "-y",          height, "-c",   directory ? directory : here,
                                     "sh",          "-c",   script, t->folder};
    size_t count = 12;
    for (size_t i = 0; argv[i]; i++) {
        assert_true(count < MOST_WORDS - 1);
        words[count++] = argv[i];
    }
    order(t, words);
    snprintf(record, sizeof record, "exec cat >'%s/output'", t->folder);
    ORDER(t, "pipe-pane", "-O", record);
}

/* Lets the script begin. */
static void go(terminal *t)
{
    char path[128];
    snprintf(path, sizeof path, "%s/go", t->folder);
    int fd = open(path, O_RDWR | O_CLOEXEC); /* both ways: it does not wait for the reader */
    if (fd < 0 || write(fd, "\n", 1) != 1)
        fail_msg("%s: %s", path, strerror(errno));
    wait_for_number(t, "pid", ORDER_MS); /* it has been read */
    close(fd);
}

terminal *terminal_open(int columns, int rows, const char *const *argv, const char *const *environment,
                        const char *directory)
{
    char path[128];
    terminal *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->folder = temporary_directory();
    snprintf(t->socket, sizeof t->socket, "%s/tmux", t->folder);
    snprintf(path, sizeof path, "%s/go", t->folder);
    if (mkfifo(path, 0600) != 0)
        fail_msg("mkfifo %s: %s", path, strerror(errno));
    start_server(t, environment);
    start_pane(t, columns, rows, argv, directory);
    go(t);
    return t;
}

void terminal_close(terminal *t)
{
    if (!t)
        return;
    child_kill(t->server->pid, SIGTERM); /* hangs up, and ends what runs in the pane */
    child_wait(t->server->pid, ORDER_MS);
    t->server->pid = 0;
    program_free(t->server);
    program_free(t->last_order);
    free(t->output);
    free(t->folder);
    free(t);
}

/* ---- Using it --------------------------------------------------------------------------------------- */

void terminal_type(terminal *t, const char *text) { ORDER(t, "send-keys", "-l", "--", text); }

void terminal_key(terminal *t, const char *key) { ORDER(t, "send-keys", "--", key); }

void terminal_line(terminal *t, const char *text)
{
    terminal_type(t, text);
    terminal_key(t, "Enter");
}

void terminal_resize(terminal *t, int columns, int rows)
{
    char width[16], height[16];
    snprintf(width, sizeof width, "%d", columns);
    snprintf(height, sizeof height, "%d", rows);
    ORDER(t, "resize-window", "-x", width, "-y", height);
}

const char *terminal_screen(terminal *t)
{
    ORDER(t, "capture-pane", "-p");
    return t->last_order->text;
}

const char *terminal_screen_styled(terminal *t)
{
    ORDER(t, "capture-pane", "-p", "-e");
    return t->last_order->text;
}

const char *terminal_output(terminal *t)
{
    free(t->output);
    t->output = read_record(t, "output");
    return t->output ? t->output : "";
}

static bool last_line_is(const char *screen, const char *text)
{
    size_t size = strlen(screen), start;
    while (size && screen[size - 1] == '\n')
        size--;
    for (start = size; start && screen[start - 1] != '\n'; start--)
        ;
    return size - start == strlen(text) && memcmp(screen + start, text, size - start) == 0;
}

static bool is_there(const char *seen, const char *text) { return strstr(seen, text) != NULL; }

static bool is_gone(const char *seen, const char *text) { return !strstr(seen, text); }

static void wait_until_seen(terminal *t, const char *(*look)(terminal *t),
                            bool (*is_so)(const char *seen, const char *text), const char *what,
                            const char *text, int timeout_ms)
{
    int64_t deadline = support_now_ms() + timeout_ms;
    const char *seen;
    while (!is_so(seen = look(t), text)) {
        if (support_now_ms() > deadline)
            fail_msg("waited %d ms for %s \"%s\"; there is:\n%s", timeout_ms, what, text, seen);
        support_nap();
    }
}

void terminal_wait_for(terminal *t, const char *text, int timeout_ms)
{
    wait_until_seen(t, terminal_screen, is_there, "the screen to show", text, timeout_ms);
}

void terminal_wait_gone(terminal *t, const char *text, int timeout_ms)
{
    wait_until_seen(t, terminal_screen, is_gone, "the screen to lose", text, timeout_ms);
}

void terminal_wait_last_line(terminal *t, const char *text, int timeout_ms)
{
    wait_until_seen(t, terminal_screen, last_line_is, "the last line to be", text, timeout_ms);
}

void terminal_wait_output(terminal *t, const char *text, int timeout_ms)
{
    wait_until_seen(t, terminal_output, is_there, "the output", text, timeout_ms);
}

pid_t terminal_pid(terminal *t) { return wait_for_number(t, "pid", ORDER_MS); }

int terminal_wait_exit(terminal *t, int timeout_ms) { return wait_for_number(t, "code", timeout_ms); }

void terminal_assert_restored(terminal *t)
{
    char *before = read_record(t, "before"), *after = read_record(t, "after");
    assert_non_null(before);
    assert_true(strlen(before) > 100);
    assert_non_null(after);
    assert_string_equal(before, after);
    free(before);
    free(after);
}
