/* The supervisor of `lightbus run`. It never opens a bus nor loads a module: a child process prepares what is
 * to be run (build.c), and workers are forks, which return from supervise() and go on as if they were alone. It
 * has one thread, sleeps in poll() until something happens, and hears of signals through a descriptor.
 *
 * A worker has a number for life; what runs under it may change. Each build that gives something new to run is
 * a generation; the workers of former ones are replaced one after the other, the next when the one before is
 * ready. Invariant: a slot with a pid is a child that has not been waited for. */
#include "supervisor.h"

#include "../base/clock.h"
#include "../base/log.h"
#include "build.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BACKOFF_MS = 100, /* before a worker that ended is started again; doubled each time, */
    MOST_BACKOFF_MS = 10000,
    RAN_WELL_MS = 10000, /* until it was ready for so long */
    MOST_FAILED_STARTS = 5,
    STOP_MS = 30000,    /* a worker that has not ended by then is killed */
    IMPATIENT_MS = 200, /* signals closer together are one: timeout(1) and shells signal twice */
    SETTLE_MS = 100,    /* files are saved together */
    LOST_MS = 500,      /* looking for a folder that is gone */
};

static const int64_t NEVER = INT64_MAX; /* a deadline */

typedef struct slot {
    int number;
    pid_t pid; /* 0: none runs */
    bool ready, stopping;
    bool ran; /* it is not the first one */
    unsigned generation;
    unsigned failures; /* in a row */
    int64_t ready_at, start_at, kill_at;
} slot;

/* A build, and the memory that it lies in. */
typedef struct program {
    built built;
    buffer report;
    arena memory;
} program;

typedef struct supervisor {
    invocation *in;
    arena *memory; /* of what outlives the supervisor, in a worker */
    bool reload, on_terminal;
    slot *slots;
    int count;
    pid_t pid;
    int signals, ready[2]; /* descriptors */
    sigset_t child_mask;   /* the signals that are blocked in them */
    unsigned generation;   /* of the program that is to run; 0: none yet */
    program program;
    char *service, *process; /* names of the workers */
    pid_t builder;           /* 0: none runs */
    int output;              /* of the builder */
    buffer report;
    bool build_failed;
    bool forced;      /* the workers are to be replaced although nothing is new */
    int64_t build_at; /* when the next build is due */
    watch watch;
    unsigned failed_starts; /* in a row, of all workers */
    int64_t first_signal;   /* when it came; 0: not yet */
    bool draining;
    int code; /* the exit code */
} supervisor;

/* ---- Children --------------------------------------------------------------------------------------- */

/* Returns as fork(). The child ends with the supervisor. */
static pid_t fork_child(const supervisor *s)
{
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != s->pid) /* it died before that */
        _exit(CLI_FAILURE);
    sigprocmask(SIG_SETMASK, &s->child_mask, NULL);
    return 0;
}

static const char *keep(const supervisor *s, const char *text)
{
    return arena_copy(s->memory, text, strlen(text));
}

static bool become_worker(supervisor *s, const slot *worker, role *r)
{
    const built *b = &s->program.built;
    char prefix[16];

    s->in->service_name = keep(s, s->service);
    s->in->process_name =
        s->count > 1 ? arena_printf(s->memory, "%s-%d", s->process, worker->number) : keep(s, s->process);
    *r = (role){
        .number = worker->number,
        .count = s->count,
        .ready = s->ready[1],
        .silent = worker->ran || worker->number > 1,
        .service_is_random = b->service_is_random,
        .module = s->in->setup ? NULL : keep(s, b->module),
        .object = s->in->setup ? NULL : keep(s, b->object),
    };
    s->ready[1] = -1; /* it is the worker's now */
    snprintf(prefix, sizeof prefix, "[%d] ", worker->number);
    if (s->count > 1)
        log_set_prefix(prefix);
    return s->in->process_name && s->in->service_name;
}

void role_tell_ready(const role *r)
{
    pid_t pid = getpid();

    if (r->ready >= 0 && write(r->ready, &pid, sizeof pid) < 0)
        lb_log(LB_LOG_WARNING, "the supervisor was not told that this worker is ready: %s", strerror(errno));
}

/* In the child true. */
static bool start_worker(supervisor *s, slot *worker)
{
    pid_t pid = fork_child(s);

    if (pid == 0)
        return true;
    worker->start_at = NEVER;
    worker->ready = worker->stopping = false;
    worker->generation = s->generation;
    if (pid > 0) {
        worker->pid = pid;
        worker->ran = true;
        return false;
    }
    worker->start_at = clock_in_ms(backoff_ms(worker->failures++, BACKOFF_MS, MOST_BACKOFF_MS));
    lb_log(LB_LOG_ERROR, "worker %d could not be started: %s; trying again", worker->number, strerror(errno));
    return false;
}

static void stop_worker(slot *worker)
{
    if (worker->stopping) /* a second signal would end it at once */
        return;
    kill(worker->pid, SIGTERM);
    worker->kill_at = clock_in_ms(STOP_MS);
    worker->stopping = true;
}

static void close_descriptor(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* ---- Building --------------------------------------------------------------------------------------- */

static void start_build(supervisor *s)
{
    int ends[2] = {-1, -1};
    pid_t pid = pipe2(ends, O_CLOEXEC) == 0 ? fork_child(s) : -1;

    if (pid >= 0)
        setpgid(pid, pid); /* in both; so that its compiler can be ended with it */
    if (pid == 0) {
        signal(SIGTTOU, SIG_IGN); /* its group is in the background: what the compiler says would stop it */
        signal(SIGTTIN, SIG_IGN);
        _exit(build_and_report(s->in, ends[1]));
    }
    close_descriptor(ends[1]);
    if (pid < 0) {
        lb_log(LB_LOG_ERROR, "the bus module could not be looked at: %s; trying again", strerror(errno));
        close_descriptor(ends[0]);
        s->build_at = clock_in_ms(MOST_BACKOFF_MS);
        return;
    }
    s->builder = pid;
    s->output = ends[0];
    s->build_at = NEVER;
}

static void program_free(program *p)
{
    buffer_free(&p->report);
    arena_free(&p->memory);
    *p = (program){0};
}

/* A worker's name stays the same for life, so that the one that is started in its place takes up its events.
 * The service's may change in the configuration, unless it is random. */
static bool keep_names(supervisor *s, const built *b)
{
    if (!s->process)
        s->process = strdup(b->process);
    if (!s->service || !b->service_is_random) {
        free(s->service);
        s->service = strdup(b->service);
    }
    return s->process && s->service;
}

static void run_new_program(supervisor *s, program *p)
{
    program_free(&s->program);
    s->program = *p;
    *p = (program){0};
    if (s->generation++)
        lb_log(LB_LOG_INFO,
               s->count > 1 ? "starting the workers anew, one after the other" : "starting the worker anew");
}

static void start_waiting(supervisor *s)
{
    for (int i = 0; i < s->count; i++)
        if (!s->slots[i].pid && s->slots[i].start_at == NEVER)
            s->slots[i].start_at = clock_now();
}

static void drain(supervisor *s, int code);

static void build_has_failed(supervisor *s, int code)
{
    s->build_failed = true;
    s->forced = false;
    if (!s->generation)
        drain(s, code ? code : CLI_FAILURE);
    else
        lb_log(LB_LOG_WARNING, "what runs goes on as it is");
}

/* The builder has ended with that exit code, 0 to 255. */
static void take_build(supervisor *s, int code)
{
    program p = {.report = s->report};
    bool read = build_read(&p.report, &p.memory, &p.built), more = false;

    s->report = (buffer){0};
    for (const char *const *input = read ? p.built.inputs : NULL; s->reload && input && *input; input++)
        more |= watch_add(&s->watch, *input);
    if (s->draining)
        goto out;
    if (more) /* they may have changed while nobody watched */
        s->build_at = clock_now();
    if (!read || code != 0 || !keep_names(s, &p.built)) {
        build_has_failed(s, code);
        goto out;
    }
    s->build_failed = false;
    if (s->forced || !s->generation || strcmp(p.built.identity, s->program.built.identity) != 0)
        run_new_program(s, &p);
    else
        lb_log(LB_LOG_DEBUG, "there is nothing new to run");
    s->forced = false;
    start_waiting(s);
out:
    program_free(&p);
}

static void read_build(supervisor *s)
{
    char piece[4096];
    ssize_t size = read(s->output, piece, sizeof piece);
    int status;

    if (size > 0) {
        buffer_add(&s->report, piece, (size_t)size);
        return;
    }
    if (size < 0 && errno == EINTR)
        return;
    close(s->output);
    s->output = -1;
    while (waitpid(s->builder, &status, 0) < 0 && errno == EINTR)
        ;
    s->builder = 0;
    take_build(s, WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FAILURE);
}

/* ---- Ends ------------------------------------------------------------------------------------------- */

/* Lets all end. */
static void drain(supervisor *s, int code)
{
    s->draining = true;
    s->code = code;
    s->build_at = NEVER;
    if (s->builder)
        kill(-s->builder, SIGTERM);
    for (int i = 0; i < s->count; i++) {
        s->slots[i].start_at = NEVER;
        if (s->slots[i].pid)
            stop_worker(&s->slots[i]);
    }
}

static void kill_all(supervisor *s)
{
    s->code = CLI_FAILURE;
    if (s->builder)
        kill(-s->builder, SIGKILL);
    for (int i = 0; i < s->count; i++)
        if (s->slots[i].pid)
            kill(s->slots[i].pid, SIGKILL);
}

static void stop(supervisor *s)
{
    if (!s->first_signal) {
        s->first_signal = clock_now();
        drain(s, s->code);
    } else if (clock_now() - s->first_signal > IMPATIENT_MS * CLOCK_MS) {
        kill_all(s);
    }
}

static bool any_ready(const supervisor *s)
{
    for (int i = 0; i < s->count; i++)
        if (s->slots[i].ready)
            return true;
    return false;
}

static void log_end(const slot *worker, pid_t pid, int status, const char *what_next)
{
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    const char *name = WIFSIGNALED(status) ? sigabbrev_np(number) : NULL;
    char how[64] = "ended";

    if (name)
        snprintf(how, sizeof how, "was killed by SIG%s%s", name, WCOREDUMP(status) ? " (core dumped)" : "");
    else if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "was killed by signal %d", number);
    else if (number)
        snprintf(how, sizeof how, "ended with exit code %d", number);
    lb_log(LB_LOG_WARNING, "worker %d (pid %d) %s%s", worker->number, (int)pid, how, what_next);
}

/* It was asked to end: before it has set up its handlers, the signal ends it. */
static bool is_clean(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGTERM;
}

/* A worker that was not asked to has ended. */
static void replace(supervisor *s, slot *worker, pid_t pid, bool was_ready, int status)
{
    bool failed_start = !was_ready && WIFEXITED(status) &&
                        (WEXITSTATUS(status) == CLI_FAILURE || WEXITSTATUS(status) == CLI_USAGE);
    char what_next[80];
    int64_t delay;

    if (was_ready && clock_now() - worker->ready_at > RAN_WELL_MS * CLOCK_MS)
        worker->failures = 0;
    if (failed_start && s->reload && worker->generation == s->generation) {
        log_end(worker, pid, status, "; the next change of a file starts another one");
        return;
    }
    s->failed_starts += failed_start;
    if (failed_start && s->failed_starts >= MOST_FAILED_STARTS && !any_ready(s)) {
        log_end(worker, pid, status, "; as it does not start at all, this is the end");
        drain(s, WEXITSTATUS(status));
        return;
    }
    delay = backoff_ms(worker->failures++, BACKOFF_MS, MOST_BACKOFF_MS);
    worker->start_at = clock_in_ms(delay);
    snprintf(what_next, sizeof what_next, "; restarting in %.1f s", (double)delay / 1000);
    log_end(worker, pid, status, what_next);
}

static void take_end(supervisor *s, slot *worker, int status)
{
    pid_t pid = worker->pid;
    bool was_ready = worker->ready;

    worker->pid = 0;
    worker->ready = false;
    worker->kill_at = NEVER;
    if (!worker->stopping) {
        if (!s->draining)
            replace(s, worker, pid, was_ready, status);
        return;
    }
    if (!is_clean(status) && !s->first_signal)
        log_end(worker, pid, status, "");
    if (s->draining && !is_clean(status) && s->code == CLI_OK)
        s->code = CLI_FAILURE;
    if (!s->draining) {
        worker->failures = 0;
        worker->start_at = clock_now();
    }
}

static void take_ready(supervisor *s)
{
    pid_t pid;

    while (read(s->ready[0], &pid, sizeof pid) == (ssize_t)sizeof pid)
        for (int i = 0; i < s->count; i++)
            if (s->slots[i].pid == pid) {
                s->slots[i].ready = true;
                s->slots[i].ready_at = clock_now();
                s->failed_starts = 0;
            }
}

static void reap(supervisor *s)
{
    int status;

    take_ready(s); /* it may have been ready and have ended */
    for (int i = 0; i < s->count; i++)
        if (s->slots[i].pid && waitpid(s->slots[i].pid, &status, WNOHANG) > 0)
            take_end(s, &s->slots[i], status);
}

/* ---- What happens ----------------------------------------------------------------------------------- */

static void take_signals(supervisor *s)
{
    struct signalfd_siginfo signal;

    while (read(s->signals, &signal, sizeof signal) == (ssize_t)sizeof signal)
        if (signal.ssi_signo == SIGCHLD) {
            reap(s);
        } else if (signal.ssi_signo == SIGHUP && !s->on_terminal) {
            s->forced = true;
            s->build_at = s->draining ? NEVER : clock_now();
        } else {
            stop(s);
        }
}

static void look_at_files(supervisor *s)
{
    bool changed = s->watch.fd >= 0 && watch_changed(&s->watch, s->build_failed);

    if (s->watch.fd >= 0 && watch_has_lost(&s->watch))
        changed |= watch_find_lost(&s->watch);
    if (changed && !s->draining)
        s->build_at = clock_in_ms(SETTLE_MS);
}

/* Replaces a worker of a former generation, when no other one is on its way. */
static void replace_next(supervisor *s)
{
    slot *next = NULL;

    for (int i = 0; i < s->count; i++) {
        slot *worker = &s->slots[i];
        if (worker->generation == s->generation && !worker->ready)
            return;
        if (worker->generation != s->generation && !next)
            next = worker;
    }
    if (next && next->pid)
        stop_worker(next);
}

static void kill_overdue(supervisor *s, int64_t now)
{
    for (int i = 0; i < s->count; i++) {
        slot *worker = &s->slots[i];
        if (worker->pid && worker->kill_at <= now) {
            lb_log(LB_LOG_ERROR, "worker %d (pid %d) does not end; it is killed", worker->number,
                   (int)worker->pid);
            kill(worker->pid, SIGKILL);
            worker->kill_at = NEVER;
        }
    }
}

/* Does what is due. The worker that this process has become, or NULL. */
static slot *do_due(supervisor *s)
{
    int64_t now = clock_now();

    kill_overdue(s, now);
    if (!s->builder && s->build_at <= now)
        start_build(s);
    if (s->generation && !s->draining)
        replace_next(s);
    for (int i = 0; i < s->count; i++)
        if (!s->slots[i].pid && s->slots[i].start_at <= now && start_worker(s, &s->slots[i]))
            return &s->slots[i];
    return NULL;
}

static int64_t next_deadline(const supervisor *s)
{
    int64_t next = s->builder ? NEVER : s->build_at;

    for (int i = 0; i < s->count; i++) {
        const slot *worker = &s->slots[i];
        int64_t at = worker->pid ? worker->kill_at : worker->start_at;
        next = at < next ? at : next;
    }
    if (s->watch.fd >= 0 && watch_has_lost(&s->watch) && clock_in_ms(LOST_MS) < next)
        next = clock_in_ms(LOST_MS);
    return next;
}

static void wait_for_something(supervisor *s)
{
    struct pollfd fds[] = {{.fd = s->signals, .events = POLLIN},
                           {.fd = s->ready[0], .events = POLLIN},
                           {.fd = s->output, .events = POLLIN},
                           {.fd = s->watch.fd, .events = POLLIN}};
    int64_t deadline = next_deadline(s);

    if (poll(fds, 4, deadline == NEVER ? -1 : clock_left_ms(deadline, MOST_BACKOFF_MS)) < 0)
        return;
    if (fds[1].revents)
        take_ready(s);
    if (fds[0].revents)
        take_signals(s);
    if (fds[2].revents)
        read_build(s);
    look_at_files(s);
}

static bool has_ended(const supervisor *s)
{
    if (!s->draining || s->builder)
        return false;
    for (int i = 0; i < s->count; i++)
        if (s->slots[i].pid)
            return false;
    return true;
}

/* ---- From beginning to end -------------------------------------------------------------------------- */

/* They stay blocked in the supervisor to the end: one signal too many must not change its exit code. A terminal
 * signals all of its processes: children leave that to the supervisor, from their first moment on. */
static bool take_over_signals(supervisor *s)
{
    struct sigaction hup;
    sigset_t ours;

    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGCHLD);
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN) /* nohup */
        sigaddset(&ours, SIGHUP);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &ours, &s->child_mask);
    sigaddset(&s->child_mask, SIGINT);
    sigaddset(&s->child_mask, SIGHUP);
    s->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals >= 0;
}

static bool set_up(supervisor *s)
{
    s->slots = calloc((size_t)s->count, sizeof *s->slots);
    if (!s->slots || !take_over_signals(s) || pipe2(s->ready, O_CLOEXEC | O_NONBLOCK) < 0 ||
        (s->reload && !watch_open(&s->watch)))
        return false;
    for (int i = 0; i < s->count; i++)
        s->slots[i] = (slot){.number = i + 1, .start_at = NEVER, .kill_at = NEVER};
    return true;
}

static void tear_down(supervisor *s)
{
    program_free(&s->program);
    buffer_free(&s->report);
    watch_close(&s->watch);
    close_descriptor(s->signals);
    close_descriptor(s->ready[0]);
    close_descriptor(s->ready[1]);
    close_descriptor(s->output);
    free(s->slots);
    free(s->service);
    free(s->process);
}

int supervise(invocation *in, int count, bool reload, arena *memory, role *r)
{
    supervisor s = {
        .in = in,
        .memory = memory,
        .reload = reload,
        .on_terminal = isatty(STDERR_FILENO),
        .count = count,
        .pid = getpid(),
        .signals = -1,
        .ready = {-1, -1},
        .output = -1,
        .watch = {.fd = -1},
        .build_at = clock_now(),
    };
    slot *worker = NULL;
    lb_error error = {0};

    cli_hide_passwords(in, memory);
    if (!set_up(&s)) {
        lb_error_set(&error, LB_SYSTEM, "the workers could not be supervised: %s", strerror(errno));
        s.code = failure(in, &error);
        goto out;
    }
    while (!has_ended(&s)) {
        worker = do_due(&s);
        if (worker)
            break;
        wait_for_something(&s);
    }
    if (worker && !become_worker(&s, worker, r))
        s.code = CLI_FAILURE;
out:
    tear_down(&s);
    return s.code;
}
