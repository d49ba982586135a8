/* Tasks: what a worker does besides answering calls and handling events: at intervals, at times, or all the
 * time. They belong to a bus and run while its worker does, in every process of the service that has one; the
 * first time when it is ready, so that what they fire reaches its listeners.
 *
 * Each task has a thread of its own. In a program with an event loop (lb_fd) what lb_every and lb_schedule run
 * runs in lb_dispatch, as handlers do. A task may block, call and fire, but not lb_stop. */
#ifndef LIGHTBUS_TASK_H
#define LIGHTBUS_TASK_H

#include <lightbus/api.h>
#include <lightbus/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A failure stops the worker, which ends with that error (exit code 1); it is only logged when the worker is
 * stopping already. *error may be left unset. */
typedef lb_status (*lb_task_fn)(lb_bus *bus, void *data, lb_error *error);

/* Flags. Log errors: a failure is logged, the worker goes on, and the task is due again as usual. Always: it
 * runs also in a worker that was told to leave tasks out (`lightbus run --skip tasks`). */
#define LB_TASK_LOG_ERRORS 1u
#define LB_TASK_ALWAYS     2u

/* The functions below are for before the worker starts (before_worker_start hooks included), while no other
 * thread uses the handle. Strings are copied; `data` goes to the task. They do not block. Errors of all:
 * LB_USAGE (no function, a running worker), LB_CONFIG (an option), LB_NO_MEMORY. */

typedef struct lb_every_options {
    double seconds, minutes, hours, days; /* the interval is their sum */
    bool also_run_immediately;            /* when the worker starts, too */
    unsigned flags;                       /* LB_TASK_... */
    const char *name;                     /* for messages; NULL: "every 5 s" */
} lb_every_options;

/* Runs a function at intervals. The time that it takes is part of the interval; when it takes longer, it runs
 * again at once, and what was missed is not made up for. LB_CONFIG for an interval that is not above 0. */
LB_API lb_status lb_every(lb_bus *bus, const lb_every_options *options, lb_task_fn run, void *data,
                          lb_error *error);

typedef struct lb_schedule_options {
    bool utc;                  /* the expression is in UTC; else in local time (TZ) */
    bool also_run_immediately; /* when the worker starts, too */
    unsigned flags;            /* LB_TASK_... */
    const char *name;          /* for messages; NULL: the expression */
} lb_schedule_options;

/* Runs a function at times given as in a crontab: minute, hour, day of the month, month, day of the week; or
 * @hourly, @daily, @weekly, @monthly, @yearly. See docs/how-to/run-tasks.md. `options` may be NULL. Times that
 * pass while it still runs are not made up for. LB_CONFIG says what is wrong with the expression, and where. */
LB_API lb_status lb_schedule(lb_bus *bus, const char *expression, const lb_schedule_options *options,
                             lb_task_fn run, void *data, lb_error *error);

typedef struct lb_background_options {
    unsigned flags;   /* LB_TASK_... */
    const char *name; /* for messages; NULL: "in the background" */
} lb_background_options;

/* Runs a function once, from the start of the worker on, on a thread of its own. It has to return when
 * lb_stopping says so; stopping the worker waits for it. `options` may be NULL. */
LB_API lb_status lb_background(lb_bus *bus, const lb_background_options *options, lb_task_fn run, void *data,
                               lb_error *error);

/* Is the worker being stopped? Any thread. */
LB_API bool lb_stopping(const lb_bus *bus);
/* Waits until the worker is being stopped (true), or until that many seconds have passed (false); negative:
 * for ever. Any thread, but not from signal handlers. */
LB_API bool lb_wait_stop(lb_bus *bus, double seconds);

#ifdef __cplusplus
}
#endif
#endif
