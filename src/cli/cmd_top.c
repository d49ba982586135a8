/* lightbus top: the bus at work, on a screen that is kept up to date, or as text or JSON, a snapshot per
 * interval.
 *
 * It reads only, and leaves nothing behind. Signals are taken while it waits, and nowhere else. */
#include "top.h"

#include "../base/clock.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INTERVAL_MS = 1000, INTERVAL_LEAST_MS = 100, TIMEOUT_MS = 3000, KEYS_MOST = 64 };

typedef struct watching {
    const invocation *in;
    lb_bus *bus;
    top_collector *collector;
    int interval_ms;
    uint64_t left;    /* updates still to show; UINT64_MAX: no end */
    sigset_t waiting; /* the signals that are blocked while it waits: as we found them */
    colours colours;
} watching;

/* ---- Signals ---------------------------------------------------------------------------------------- */

static volatile sig_atomic_t ended, stopped, resumed, resized;

static void note_signal(int number)
{
    if (number == SIGTSTP)
        stopped = 1;
    else if (number == SIGCONT)
        resumed = 1;
    else if (number == SIGWINCH)
        resized = 1;
    else
        ended = 1;
}

/* What was ignored at the start stays so: nohup, or a shell's "&". */
static void catch_signal(int number)
{
    struct sigaction action = {.sa_handler = note_signal}, before;
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
}

/* Blocked but while waiting, so that none comes between a look at the flags and the wait. */
static void catch_signals(watching *w, bool screen)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH};
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < (screen ? 6 : 3); i++) {
        sigaddset(&blocked, signals[i]);
        catch_signal(signals[i]);
    }
    sigprocmask(SIG_BLOCK, &blocked, &w->waiting);
    for (size_t i = 0; i < (screen ? 6 : 3); i++)
        sigdelset(&w->waiting, signals[i]);
}

/* From here on a signal ends the program at once: what is left to wait for is an answer that may not come. */
static void release_signals(const watching *w)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, &w->waiting, NULL);
}

/* ---- Text and JSON ---------------------------------------------------------------------------------- */

/* True when the output has no reader any longer. */
static bool print_snapshot(const watching *w, const top_snapshot *s, lb_error *error)
{
    buffer out = {0};
    size_t width = 0, height;
    if (isatty(STDOUT_FILENO))
        top_screen_size(&width, &height);
    bool good = w->in->json ? top_json(&out, s) : top_plain_text(&out, s, width, &w->colours);
    if (!good) {
        lb_error_set(error, LB_NO_MEMORY, "out of memory");
    } else {
        buffer_char(&out, '\n'); /* the end of the line, or between two snapshots */
        fwrite(out.data, 1, out.size - (!w->in->json && w->left == 1), stdout);
        int code = output_flush();
        good = code == 0;
        output_status(code, error);
    }
    buffer_free(&out);
    return !good;
}

static void wait_for_signals(const watching *w, int64_t until_ns)
{
    for (int64_t left; !ended && (left = until_ns - clock_now()) > 0;) {
        const struct timespec time = {(time_t)(left / CLOCK_SECOND), (long)(left % CLOCK_SECOND)};
        ppoll(NULL, 0, &time, &w->waiting);
    }
}

/* What went wrong is told once; with --once it is a failure. */
static bool goes_on(const watching *w, lb_status status, const lb_error *error, bool *told)
{
    if (status == LB_OK) {
        *told = false;
        return true;
    }
    if (w->in->once)
        return false;
    if (!*told) {
        fprintf(stderr, "%s top: ", w->in->program);
        print_safe(stderr, error->message);
        fputs("; trying again\n", stderr);
    }
    *told = true;
    return true;
}

static int print_snapshots(watching *w)
{
    top_snapshot *s = NULL;
    lb_error error = {0};
    bool told = false;
    catch_signals(w, false);
    lb_status status = top_collect(w->collector, &s, &error); /* what the first one is held against */
    if (status != LB_OK)
        return failure(w->in, &error);
    for (int64_t due = clock_now(); w->left && !ended;) {
        top_snapshot_free(s);
        s = NULL;
        due += w->interval_ms * CLOCK_MS;
        wait_for_signals(w, due);
        if (ended)
            break;
        due = due > clock_now() ? due : clock_now();
        status = top_collect(w->collector, &s, &error);
        if (!goes_on(w, status, &error, &told))
            break;
        if (!s)
            continue;
        error = (lb_error){0};
        if (print_snapshot(w, s, &error)) {
            status = error.status;
            break;
        }
        w->left -= w->left != UINT64_MAX;
    }
    top_snapshot_free(s);
    return status == LB_OK || ended ? CLI_OK : failure(w->in, &error);
}

/* ---- The screen ------------------------------------------------------------------------------------- */

/* A log would be written over it; what goes wrong is shown in a line of its own. */
static void no_log(lb_log_level level, const char *message, void *data)
{
    (void)level;
    (void)message;
    (void)data;
}

/* Stops as any program does, with the terminal as the shell wants it. */
static void stop(void)
{
    sigset_t stop_signal;
    top_screen_leave();
    signal(SIGTSTP, SIG_DFL);
    raise(SIGTSTP);
    sigemptyset(&stop_signal);
    sigaddset(&stop_signal, SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stop_signal, NULL); /* here it stops */
    sigprocmask(SIG_BLOCK, &stop_signal, NULL);
    catch_signal(SIGTSTP);
    resumed = 1;
}

static bool heed_signals(top_ui *ui)
{
    if (stopped) {
        stopped = 0;
        stop();
    }
    if (resumed && !top_screen_enter())
        return false;
    if (resumed || resized)
        top_screen_size(&ui->width, &ui->height);
    resumed = resized = 0;
    return !ended;
}

/* False: quit. */
static bool heed_keys(top_ui *ui, top_watch *watch)
{
    int keys[KEYS_MOST], count = top_screen_keys(keys, KEYS_MOST);
    bool paused = ui->paused;
    if (count < 0)
        return false;
    for (int i = 0; i < count; i++)
        if (!top_ui_key(ui, keys[i]))
            return false;
    if (ui->paused != paused)
        top_watch_pause(watch, ui->paused);
    return true;
}

static void heed_news(watching *w, top_ui *ui, top_watch *watch, top_snapshot **shown)
{
    top_snapshot *fresh;
    char why[sizeof ui->trouble / 2];
    if (!top_watch_take(watch, &fresh, why, sizeof why))
        return;
    ui->trouble[0] = '\0';
    if (*why)
        snprintf(ui->trouble, sizeof ui->trouble, "Trying again: %s", why);
    if (!fresh)
        return;
    top_snapshot_free(*shown);
    *shown = fresh;
    w->left -= w->left != UINT64_MAX;
}

static bool show(const watching *w, const top_snapshot *s, top_ui *ui)
{
    buffer text = {0};
    bool good = top_screen_text(&text, s, ui, &w->colours);
    if (good)
        top_screen_show(&text);
    buffer_free(&text);
    return good;
}

static void run_screen(watching *w, top_snapshot **s, top_watch *watch)
{
    top_ui ui = top_ui_start();
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = top_watch_fd(watch), .events = POLLIN}};
    ui.interval = w->interval_ms / 1000.0;
    ui.coloured = *w->colours.off;
    top_screen_size(&ui.width, &ui.height);
    while (show(w, *s, &ui) && w->left) {
        bool ready = ppoll(fds, 2, NULL, &w->waiting) > 0;
        if (!heed_signals(&ui) || (ready && fds[0].revents && !heed_keys(&ui, watch)))
            break;
        if (ready && fds[1].revents)
            heed_news(w, &ui, watch, s);
    }
}

static int show_screen(watching *w)
{
    top_snapshot *s = NULL;
    lb_error error = {0};
    top_watch *watch = NULL;
    lb_status status = top_collect(w->collector, &s, &error);
    if (status == LB_OK) {
        catch_signals(w, true); /* before the thread is there, which leaves them to us */
        lb_log_to(no_log, NULL);
        if (!(watch = top_watch_begin(w->collector, w->interval_ms, &error)))
            status = error.status;
        else if (top_screen_enter())
            run_screen(w, &s, watch);
        top_screen_leave();
        release_signals(w);
    }
    top_watch_end(watch);
    top_snapshot_free(s);
    return status == LB_OK ? CLI_OK : failure(w->in, &error);
}

/* ---- The command ------------------------------------------------------------------------------------ */

static bool on_screen(const invocation *in)
{
    const char *term = getenv("TERM");
    return !in->once && !in->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term &&
           strcmp(term, "dumb") != 0;
}

static int top(invocation *in)
{
    watching w = {.in = in, .interval_ms = INTERVAL_MS, .left = UINT64_MAX, .colours = colours_for(stdout)};
    int code = CLI_FAILURE;
    if (in->count)
        return usage_error(in, "unexpected argument \"%s\"", in->arguments[0]);
    if (in->interval && (!flags_seconds(in->interval, &w.interval_ms) || w.interval_ms < INTERVAL_LEAST_MS))
        return usage_error(in, "--interval: expected seconds, at least 0.1, got \"%s\"", in->interval);
    if (in->events_count && !flags_count(in->events_count, &w.left))
        return usage_error(in, "--count: expected a whole number above 0, got \"%s\"", in->events_count);
    if (in->once && in->events_count)
        return usage_error(in, "give --once or --count, not both");
    if (in->once)
        w.left = 1;
    w.bus = cli_open(
        in,
        (lb_options){.service_name = "lightbus", .rpc_timeout_ms = TIMEOUT_MS, .log_level = LB_LOG_WARNING});
    if (w.bus && !(w.collector = top_collector_new(w.bus, in->internal)))
        failure(in, &(lb_error){.status = LB_NO_MEMORY, .message = "out of memory"});
    else if (w.bus)
        code = on_screen(in) ? show_screen(&w) : print_snapshots(&w);
    top_collector_free(w.collector);
    lb_close(w.bus);
    return code;
}

#define SLOT(field) offsetof(invocation, field)

static const flag flags[] = {
    {"interval", "SECONDS", "ask the bus so often; 1 if not given", SLOT(interval), 'i', false},
    {"count", "N", "end after N updates", SLOT(events_count), 0, false},
    {"once", NULL, "print one interval as text, and end", SLOT(once), 0, false},
    {"json", NULL, "print a snapshot per interval as a line of JSON", SLOT(json), 0, false},
    {"internal", NULL, "also the APIs internal.*", SLOT(internal), 'I', false},
    {0},
};

const command cmd_top = {
    .name = "top",
    .summary = "Shows the bus at work: calls, events, lag of listeners.",
    .arguments = "",
    .details = "On a terminal it fills the screen: h is help, q quits. Else, and with --once, it\n"
               "prints text. Calls and latencies are what processes tell of themselves, which\n"
               "lightbus run --ping-interval SECONDS switches on.\n\n"
               "  lightbus top\n"
               "  lightbus top --once\n"
               "  lightbus top --json --interval 10 | jq .listeners\n",
    .flags = flags,
    .run = top,
};
