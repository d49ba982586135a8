/* Workers and clients for tests: a worker is a child process that serves until it is told to end. Also the
 * small things that most tests of the bus need. */
#ifndef TESTS_WORKER_H
#define TESTS_WORKER_H

#include "proxy.h"
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* A scheduling delay that a busy machine (and a sanitizer) may add to a deadline. */
enum { SLACK_MS = 2500, PATIENCE_MS = 30000 };

typedef lb_status (*worker_setup)(lb_bus *bus, void *data, lb_error *error);

typedef struct worker {
    const char *url;
    const char *service; /* default "tests" */
    const char *process; /* default "p1" */
    worker_setup setup;  /* registers and listens */
    void *data;          /* for setup */
    int rpc_concurrency;
    int rpc_timeout_ms;
    bool may_die; /* a handler may end the process before it is ready: no failure */
    bool run;     /* serve with lb_run and LB_RUN_SIGNALS; otherwise with lb_start, lb_stop at SIGTERM */
} worker;

/* Starts a worker process and waits until it serves (with `run`: until it is about to). It ends at SIGTERM with
 * 0 after a clean stop, else with 1 (2: it could not start). */
pid_t worker_start(const worker *w);
void worker_stop(pid_t pid);  /* SIGTERM, and it must end with 0 */
void worker_crash(pid_t pid); /* SIGKILL */

lb_bus *client_open(const char *url, int rpc_timeout_ms); /* must succeed */

/* A Redis, a worker that it serves, and a client: what most tests of calls begin with. */
typedef struct served {
    redis_server *server;
    void *shared; /* memory for the worker's handlers and the tests */
    pid_t worker;
    lb_bus *bus;
} served;

int served_start(void **state, worker_setup setup, size_t shared_size, int rpc_timeout_ms);
int served_stop(void **state);

/* A history of events that must open, and its next event. */
lb_history *open_history(lb_bus *bus, const char *events, const char *from, const char *to, bool oldest_first);
const lb_event *next_of(lb_history *history);

/* ---- Numbers in shared memory. */
static inline int shared_get(const int *number) { return __atomic_load_n(number, __ATOMIC_SEQ_CST); }
static inline void shared_set(int *number, int value) { __atomic_store_n(number, value, __ATOMIC_SEQ_CST); }
static inline int shared_add(int *number, int more)
{
    return __atomic_add_fetch(number, more, __ATOMIC_SEQ_CST);
}

void sleep_ms(int ms); /* inside handlers, and where the passing of time is what is tested */
int64_t process_cpu_ms(pid_t pid);
/* That a process which nobody needs comes to rest, and then uses at most so much CPU in such a time. */
void expect_idle(pid_t pid, int window_ms, int most_ms);

/* Setup and teardown of one test: *state is its redis_server. */
int server_setup(void **state);
int server_teardown(void **state);

#define server_test(f) cmocka_unit_test_setup_teardown(f, server_setup, server_teardown)

#define assert_contains(text, part)                                                                            \
    do {                                                                                                       \
        if (!strstr(text, part))                                                                               \
            fail_msg("\"%s\" is not in \"%s\"", part, text);                                                   \
    } while (0)

#define assert_status(call, expected, error)                                                                   \
    do {                                                                                                       \
        lb_status status_ = (call);                                                                            \
        if (status_ != (expected))                                                                             \
            fail_msg("%s: %s instead of %s: %s", #call, lb_status_name(status_), lb_status_name(expected),     \
                     (error)->message);                                                                        \
    } while (0)

#endif
