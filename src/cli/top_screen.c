/* The terminal of `lightbus top`: the alternate screen, keys one by one, and all of it given back in the end.
 *
 * Plain escape sequences that every terminal of today knows, no terminal library: what is used of them is ten,
 * and a library would be one more thing to install for those who never watch. Invariant: while the terminal is
 * ours, a crash gives it back before the process ends; what that takes is in static memory and safe in signal
 * handlers. */
#include "top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* The alternate screen, no cursor, no wrapping of what is a column too long. */
static const char enter_sequence[] = "\033[?1049h\033[?25l\033[?7l\033[2J";
static const char leave_sequence[] = "\033[0m\033[?7h\033[?25h\033[?1049l";
/* Terminals that know it show all between at once; others ignore it. */
static const char update_begin[] = "\033[?2026h", update_end[] = "\033[?2026l";

enum { ESCAPE_MS = 50, WRITE_MS = 1000 };

static struct termios before; /* the settings as we found them */
static volatile sig_atomic_t taken;
static buffer shown; /* what is on the screen; empty: not known */

/* ---- Taking and giving back ------------------------------------------------------------------------- */

/* In signal handlers too. Waits a little for a terminal that does not take anything at present. */
static void write_all(const char *data, size_t size)
{
    while (size) {
        ssize_t written = write(STDOUT_FILENO, data, size);
        if (written > 0) {
            data += written;
            size -= (size_t)written;
            continue;
        }
        struct pollfd ready = {.fd = STDOUT_FILENO, .events = POLLOUT};
        if (written < 0 && errno != EINTR && (errno != EAGAIN || poll(&ready, 1, WRITE_MS) != 1))
            return; /* it is gone */
    }
}

static void give_back(void)
{
    if (!taken)
        return;
    taken = 0;
    write_all(leave_sequence, sizeof leave_sequence - 1);
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static void crashed(int signal_number)
{
    give_back();
    raise(signal_number); /* the handler is gone by now: SA_RESETHAND */
}

/* A stack of its own: the crash may be that of the usual one. */
static void catch_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT};
    static char stack[16 * 1024];
    static bool done;
    struct sigaction action = {.sa_handler = crashed, .sa_flags = (int)SA_RESETHAND | SA_NODEFER | SA_ONSTACK};
    if (done)
        return;
    done = true;
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

bool top_screen_enter(void)
{
    static bool known;
    if (!known && (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0))
        return false;
    known = true;
    struct termios keys = before;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    catch_crashes();
    taken = 1;
    tcsetattr(STDIN_FILENO, TCSANOW, &keys);
    write_all(enter_sequence, sizeof enter_sequence - 1);
    shown.size = 0;
    return true;
}

void top_screen_leave(void)
{
    give_back();
    buffer_free(&shown);
}

void top_screen_size(size_t *width, size_t *height)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    *width = known ? size.ws_col : 80;
    *height = known ? size.ws_row : 24;
    shown.size = 0; /* a terminal may move what it shows */
}

/* ---- Showing ---------------------------------------------------------------------------------------- */

static lb_slice next_line(lb_slice *rest)
{
    const char *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;
    lb_slice line = {rest->data, end ? (size_t)(end - rest->data) : rest->size};
    size_t taken_size = line.size + (end ? 1 : 0);
    rest->data += taken_size;
    rest->size -= taken_size;
    return line;
}

void top_screen_show(const buffer *text)
{
    buffer out = {0};
    lb_slice new = {text->data, text->size}, old = {shown.data, shown.size};
    bool all = !shown.size;
    buffer_str(&out, update_begin);
    if (all)
        buffer_literal(&out, "\033[2J");
    for (size_t row = 1; new.size; row++) {
        lb_slice line = next_line(&new), was = next_line(&old);
        if (all ? !line.size : slice_equal(line, was))
            continue;
        buffer_printf(&out, "\033[%zu;1H\033[K", row); /* cleared first: the line may reach the last column */
        buffer_add(&out, line.data, line.size);
    }
    buffer_str(&out, update_end);
    if (!out.failed && out.size > sizeof update_begin + sizeof update_end - 2)
        write_all(out.data, out.size);
    buffer_clear(&shown, SIZE_MAX);
    buffer_add(&shown, text->data, text->size);
    if (out.failed || shown.failed)
        buffer_free(&shown);
    buffer_free(&out);
}

/* ---- Keys ------------------------------------------------------------------------------------------- */

/* The end of an escape sequence at `at`: "[" or "O", parameters, and a letter or "~". NULL: it is not complete.
 */
static const char *sequence_end(const char *at, const char *end)
{
    at += 1;
    if (at == end)
        return NULL;
    if (*at != '[' && *at != 'O')
        return at; /* Escape alone, and then a key */
    for (at++; at < end; at++)
        if (*at >= 0x40 && *at < 0x7f)
            return at + 1;
    return NULL;
}

/* 0: a sequence that means nothing here. */
static int key_of(const char *at, const char *end)
{
    static const struct {
        const char *sequence;
        int key;
    } keys[] = {
        {"A", KEY_UP},       {"B", KEY_DOWN},     {"H", KEY_HOME},       {"F", KEY_END},
        {"Z", KEY_BACK_TAB}, {"5~", KEY_PAGE_UP}, {"6~", KEY_PAGE_DOWN}, {"1~", KEY_HOME},
        {"4~", KEY_END},     {"7~", KEY_HOME},    {"8~", KEY_END},
    };
    if (end - at == 1)
        return KEY_ESCAPE;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (slice_is((lb_slice){at + 2, (size_t)(end - at - 2)}, keys[i].sequence))
            return keys[i].key;
    return 0;
}

/* Reads what there is; the rest of an escape sequence comes at once or not at all. */
static ssize_t read_typed(char *bytes, size_t most)
{
    size_t size = 0;
    for (;;) {
        struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
        ssize_t got = read(STDIN_FILENO, bytes + size, most - size);
        if (got <= 0)
            return got < 0 && errno == EINTR ? (ssize_t)size : -1;
        size += (size_t)got;
        const char *escape = memrchr(bytes, '\033', size);
        if (!escape || sequence_end(escape, bytes + size) || size == most || poll(&ready, 1, ESCAPE_MS) != 1)
            return (ssize_t)size;
    }
}

int top_screen_keys(int *keys, size_t most)
{
    char bytes[64];
    int count = 0;
    ssize_t size = read_typed(bytes, most < sizeof bytes ? most : sizeof bytes);
    if (size < 0)
        return -1;
    for (const char *at = bytes, *end = bytes + size; at < end;) {
        const char *next = *at == '\033' ? sequence_end(at, end) : at + 1;
        next = next ? next : end;
        int key = *at == '\033' ? key_of(at, next) : (unsigned char)*at;
        if (key)
            keys[count++] = key;
        at = next;
    }
    return count;
}
