/* Signals and the terminal's settings. Invariant: between shell_signals_begin and shell_signals_end the signals
 * of `awaited` are delivered inside of ppoll alone; those of `fatal` at any time, and the terminal gets its
 * settings back before the process dies of them. */
#include "shell.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

static const int awaited[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT};
enum { AWAITED = sizeof awaited / sizeof *awaited, FATAL = sizeof fatal / sizeof *fatal };

static struct {
    bool terminal; /* standard input is one, and these were its settings */
    struct termios settings;
    sigset_t mask_before;
    struct sigaction before[AWAITED + FATAL];
    stack_t stack_before;
} saved;

static volatile sig_atomic_t interrupted, resized, suspended, ended;

static void note(int number)
{
    if (number == SIGINT)
        interrupted = 1;
    else if (number == SIGWINCH)
        resized = 1;
    else if (number == SIGTSTP)
        suspended = 1;
    else
        ended = number;
}

/* Only what a signal handler may do. SA_RESETHAND has made the signal deadly again. */
static void restore_and_die(int number)
{
    int error = errno;
    if (saved.terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &saved.settings);
    errno = error;
    raise(number);
}

void shell_signals_begin(void)
{
    static char stack[65536]; /* the other one may be what has run out */
    const stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = note};
    sigset_t block;
    saved.terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &saved.settings) == 0;
    sigemptyset(&block);
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < AWAITED; i++)
        sigaddset(&block, awaited[i]);
    pthread_sigmask(SIG_BLOCK, &block, &saved.mask_before);
    for (int i = 0; i < AWAITED; i++)
        if (sigaction(awaited[i], NULL, &saved.before[i]) == 0 && saved.before[i].sa_handler != SIG_IGN)
            sigaction(awaited[i], &action, NULL); /* what is ignored stays so: nohup, or a shell's "&" */
    sigaltstack(&own, &saved.stack_before);
    action.sa_handler = restore_and_die;
    action.sa_flags = (int)(SA_RESETHAND | SA_ONSTACK);
    for (int i = 0; i < FATAL; i++)
        sigaction(fatal[i], &action, &saved.before[AWAITED + i]);
}

void shell_signals_end(void)
{
    for (int i = 0; i < FATAL; i++)
        sigaction(fatal[i], &saved.before[AWAITED + i], NULL);
    sigaltstack(&saved.stack_before, NULL);
    for (int i = 0; i < AWAITED; i++)
        sigaction(awaited[i], &saved.before[i], NULL);
    if (ended) {
        signal(ended, SIG_DFL);
        raise(ended);
    }
    pthread_sigmask(SIG_SETMASK, &saved.mask_before, NULL);
}

/* Ctrl-Z: whoever started the shell gets the terminal as it was, and it gets its own settings back with `fg`.
 */
static void suspend(void)
{
    struct termios now;
    bool changed = saved.terminal && tcgetattr(STDIN_FILENO, &now) == 0;
    if (changed)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &saved.settings);
    raise(SIGSTOP);
    if (changed)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
}

static bool take(volatile sig_atomic_t *flag)
{
    bool was = *flag != 0;
    *flag = 0;
    return was;
}

shell_event shell_wait(int fd, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    struct timespec time = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    sigset_t open = saved.mask_before;
    for (int i = 0; i < AWAITED; i++)
        sigdelset(&open, awaited[i]);
    int ready = ended ? 0 : ppoll(&poll_fd, 1, timeout_ms < 0 ? NULL : &time, &open);
    if (ready > 0) /* signals go first: what is typed after Ctrl-C does not belong to the line before it */
        ppoll(NULL, 0, &(struct timespec){0}, &open);
    if (ended)
        return SHELL_ENDED;
    if (take(&suspended)) {
        suspend();
        return SHELL_RESIZED;
    }
    if (take(&interrupted))
        return SHELL_INTERRUPTED;
    if (take(&resized))
        return SHELL_RESIZED;
    return ready > 0 ? SHELL_READY : SHELL_TIMED_OUT;
}
