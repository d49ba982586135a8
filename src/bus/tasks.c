/* Tasks: what a worker runs at intervals, at times, and in the background. Each has a thread, which waits for
 * the worker's end whenever it waits for anything.
 *
 * Invariants. The list changes only while the worker is stopped. A time of a schedule counts once, however the
 * system's clock is set meanwhile: the next one is looked for after it. */
#include "bus.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cron.h"

#define MOST_SECONDS 3e9                 /* of an interval; a century */
#define LOOK_AGAIN   (60 * CLOCK_SECOND) /* at the system's clock, which may be set */

struct task {
    lb_bus *bus;
    char *name;
    lb_task_fn run;
    void *data;
    unsigned flags;
    bool of_plugin;
    void (*loop)(task *t);
    bool at_once;        /* also when the worker starts */
    int64_t interval_ns; /* of lb_every */
    cron times;          /* of lb_schedule */
    bool utc;
    pthread_t thread;
    bool started;
    task *next;
};

/* ---- Running ---------------------------------------------------------------------------------------- */

static void take_failure(task *t, lb_status status, lb_error *error)
{
    bool stops = !(t->flags & LB_TASK_LOG_ERRORS) && !worker_stopping(t->bus);
    if (!error->message[0])
        lb_error_set(error, status, "%s", lb_status_text(status));
    error->status = status;
    lb_log(LB_LOG_ERROR, "task \"%s\" failed%s: %s", t->name, stops ? ", the worker stops" : "",
           error->message);
    if (stops)
        worker_fail(t->bus, status, error);
}

static void run_now(void *argument)
{
    task *t = argument;
    lb_error error = {0};
    lb_status status = t->run(t->bus, t->data, &error);
    if (status != LB_OK)
        take_failure(t, status, &error);
}

/* Waits until then; false: the worker stops. */
static bool pause_until(lb_bus *bus, int64_t deadline_ns)
{
    struct worker *w = &bus->worker;
    pthread_mutex_lock(&w->lock);
    while (!worker_stopping(bus) && monotonic_wait(&w->changed, &w->lock, deadline_ns) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&w->lock);
    return !worker_stopping(bus);
}

static void loop_every(task *t)
{
    int64_t due = clock_now() + (t->at_once ? 0 : t->interval_ns);
    while (pause_until(t->bus, due)) {
        int64_t began = clock_now();
        worker_run(t->bus, run_now, t);
        due = began + t->interval_ns;
    }
}

/* By time(), which is what tasks look at, and which may be some milliseconds late. */
static bool wait_for_time(lb_bus *bus, int64_t second)
{
    while (time(NULL) < second) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t left = (second - now.tv_sec) * CLOCK_SECOND - now.tv_nsec;
        left = second - now.tv_sec > 60 ? LOOK_AGAIN : left > CLOCK_MS ? left : CLOCK_MS;
        if (!pause_until(bus, clock_now() + left))
            return false;
    }
    return !worker_stopping(bus);
}

static void loop_schedule(task *t)
{
    int64_t last = 0, next;
    if (t->at_once)
        worker_run(t->bus, run_now, t);
    for (;;) {
        int64_t now = (int64_t)time(NULL);
        if (!cron_next(&t->times, t->utc, now > last ? now : last, &next)) {
            lb_log(LB_LOG_WARNING, "task \"%s\": there is no such time any more", t->name);
            return;
        }
        if (!wait_for_time(t->bus, next))
            return;
        last = next;
        worker_run(t->bus, run_now, t);
    }
}

static void loop_background(task *t) { run_now(t); }

/* What a task fires reaches the listeners of its own worker, new ones too. */
static void wait_until_ready(lb_bus *bus)
{
    struct worker *w = &bus->worker;
    pthread_mutex_lock(&w->lock);
    while (w->not_ready && !worker_stopping(bus))
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

static void *task_main(void *argument)
{
    task *t = argument;
    worker_ready(t->bus);
    wait_until_ready(t->bus);
    t->loop(t);
    worker_thread_ends(t->bus);
    return NULL;
}

/* ---- For the worker --------------------------------------------------------------------------------- */

bool tasks_start(lb_bus *bus)
{
    for (task *t = bus->worker.tasks; t; t = t->next)
        if ((bus->features & FEATURE_TASKS || t->flags & LB_TASK_ALWAYS) &&
            !(t->started = worker_spawn(bus, &t->thread, task_main, t)))
            return false;
    return true;
}

void tasks_after_fork(task *first)
{
    for (task *t = first; t; t = t->next)
        t->started = false;
}

void tasks_join(lb_bus *bus)
{
    for (task *t = bus->worker.tasks; t; t = t->next) {
        if (t->started)
            pthread_join(t->thread, NULL);
        t->started = false;
    }
}

bool tasks_wanted(const lb_bus *bus)
{
    for (const task *t = bus->worker.tasks; t; t = t->next)
        if (!t->of_plugin)
            return true;
    return false;
}

static void task_free(task *t)
{
    if (!t)
        return;
    free(t->name);
    free(t);
}

void tasks_free(lb_bus *bus)
{
    while (bus->worker.tasks) {
        task *t = bus->worker.tasks;
        bus->worker.tasks = t->next;
        task_free(t);
    }
}

/* ---- The public functions --------------------------------------------------------------------------- */

/* A new task, not in the list yet; NULL: refused. */
static task *task_new(lb_bus *bus, const char *what, const char *name, unsigned flags, lb_task_fn run,
                      void *data, lb_error *error)
{
    const unsigned known = LB_TASK_LOG_ERRORS | LB_TASK_ALWAYS;
    if (!run) {
        lb_error_set(error, LB_USAGE, "%s: expected a function, got NULL", what);
        return NULL;
    }
    if (flags & ~known) {
        lb_error_set(error, LB_CONFIG, "%s: unknown bits 0x%x in flags", what, flags & ~known);
        return NULL;
    }
    if (!worker_registering(bus, what, error))
        return NULL;
    task *t = calloc(1, sizeof *t);
    if (!t || !(t->name = strdup(name))) {
        task_free(t);
        lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", what);
        return NULL;
    }
    t->bus = bus;
    t->run = run;
    t->data = data;
    t->flags = flags;
    t->of_plugin = !bus->open;
    return t;
}

static lb_status add(lb_bus *bus, task *t)
{
    task **last = &bus->worker.tasks;
    while (*last)
        last = &(*last)->next;
    *last = t;
    return LB_OK;
}

lb_status lb_every(lb_bus *bus, const lb_every_options *o, lb_task_fn run, void *data, lb_error *error)
{
    static const lb_every_options nothing;
    lb_error own = {0};
    char name[64];
    if (!o)
        o = &nothing;
    double seconds = o->seconds + 60 * o->minutes + 3600 * o->hours + 86400 * o->days;
    if (!(seconds > 0 && seconds <= MOST_SECONDS))
        return lb_error_set(error, LB_CONFIG,
                            "lb_every: expected an interval above 0 s and up to %.0f s, got %g s", MOST_SECONDS,
                            seconds);
    snprintf(name, sizeof name, "every %.15g s", seconds);
    if (!error)
        error = &own;
    task *t = task_new(bus, "lb_every", o->name ? o->name : name, o->flags, run, data, error);
    if (!t)
        return error->status;
    t->loop = loop_every;
    t->at_once = o->also_run_immediately;
    t->interval_ns = seconds * 1e9 < 1 ? 1 : (int64_t)(seconds * 1e9);
    return add(bus, t);
}

lb_status lb_schedule(lb_bus *bus, const char *expression, const lb_schedule_options *o, lb_task_fn run,
                      void *data, lb_error *error)
{
    static const lb_schedule_options defaults;
    lb_error own = {0};
    cron times;
    if (!o)
        o = &defaults;
    if (!error)
        error = &own;
    lb_status status = cron_parse(expression, &times, error);
    if (status != LB_OK)
        return status;
    task *t = task_new(bus, "lb_schedule", o->name ? o->name : expression, o->flags, run, data, error);
    if (!t)
        return error->status;
    t->loop = loop_schedule;
    t->at_once = o->also_run_immediately;
    t->times = times;
    t->utc = o->utc;
    return add(bus, t);
}

lb_status lb_background(lb_bus *bus, const lb_background_options *o, lb_task_fn run, void *data,
                        lb_error *error)
{
    static const lb_background_options defaults;
    lb_error own = {0};
    if (!o)
        o = &defaults;
    if (!error)
        error = &own;
    task *t =
        task_new(bus, "lb_background", o->name ? o->name : "in the background", o->flags, run, data, error);
    if (!t)
        return error->status;
    t->loop = loop_background;
    return add(bus, t);
}

bool lb_stopping(const lb_bus *bus) { return __atomic_load_n(&bus->worker.stopping, __ATOMIC_ACQUIRE); }

bool lb_wait_stop(lb_bus *bus, double seconds)
{
    bool for_ever = !(seconds >= 0 && seconds <= MOST_SECONDS);
    return !pause_until(bus, for_ever ? LB_FOREVER : clock_now() + (int64_t)(seconds * 1e9));
}
