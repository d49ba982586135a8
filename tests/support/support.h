/* What tests share: a real Redis of their own, child processes, waits with a deadline. Every function fails the
 * running test (cmocka) with a message instead of returning an error, unless it says otherwise. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lightbus.h>
#include <sys/types.h>

/* ---- A Redis server on 127.0.0.1 with a free port and a temporary directory, ended by its process id (also
 * when the test process dies: PR_SET_PDEATHSIG). */
typedef struct redis_server {
    pid_t pid;
    int port, tls_port; /* tls_port: 0 without TLS */
    char directory[64]; /* temporary: redis.log, redis.sock, and ca.crt, server.crt, server.key with TLS */
    char url[128];      /* redis://127.0.0.1:PORT/0 */
    char unix_url[160]; /* redis+unix://DIRECTORY/redis.sock?db=0 */
    char tls_url[160];  /* rediss://localhost:TLS_PORT/0 */
} redis_server;

/* Starts it and waits until it answers. `arguments`: more redis-server arguments, NULL-terminated, or NULL.
 * redis_server_start_tls makes a CA and certificates with the openssl program first. */
redis_server *redis_server_start(const char *const *arguments);
redis_server *redis_server_start_tls(void);
void redis_server_down(redis_server *server);    /* saves and ends it; the directory stays */
void redis_server_up(redis_server *server);      /* starts it again: same port, same data */
void redis_server_restart(redis_server *server); /* down and up */
void redis_server_pause(redis_server *server);   /* SIGSTOP: a half-open connection */
void redis_server_resume(redis_server *server);
void redis_server_stop(redis_server *server); /* and remove its directory; NULL is allowed */

/* Sends one command on a connection of its own and returns the reply as an lb_value (strings, numbers, lists,
 * null; an error reply is the string "-ERR ..."; a byte that is not UTF-8 reads as the character of that
 * number); owned. The last argument is NULL. A password given with --requirepass is used. */
lb_value *redis_command(const redis_server *server, ...);
int64_t redis_int(const redis_server *server, ...); /* the same, for a number */

/* ---- Child processes: run `body` in a fork, its exit code is what body returns; a failed assertion in it
 * aborts it (128 + SIGABRT). Killed with the parent. Start them before threads: a child of a process with
 * threads cannot start any under TSan. */
pid_t child_start(int (*body)(void *data), void *data);
/* A child that goes on with a handle of this process. What the parent's threads may have been using is lost
 * memory there, so that it ends without a look for leaks. */
pid_t child_start_with_handle(int (*body)(void *data), void *data);
void child_kill(pid_t pid, int signal);
int child_wait(pid_t pid,
               int timeout_ms);   /* exit code; 128 + signal when killed; fails the test at the deadline */
bool child_runs(pid_t pid);       /* it has not ended yet; child_wait is still needed */
bool child_is_stopped(pid_t pid); /* by a signal: SIGSTOP takes effect a little after it was sent */
/* A program with its output captured. argv ends with NULL; environment entries "NAME=value" are added. */
typedef struct program {
    pid_t pid;
    int output; /* read end of its stdout and stderr together */
    char *text; /* what was read so far, NUL-terminated */
    size_t size;
} program;
program *program_start(const char *const *argv, const char *const *environment, const char *directory);
void program_expect(program *p, const char *text, int timeout_ms); /* reads until its output holds `text` */
void program_expect_times(program *p, const char *text, int times, int timeout_ms); /* that often */
int program_wait(program *p, int timeout_ms); /* reads the rest; the exit code */
void program_free(program *p);                /* kills it if it still runs */

/* ---- Counters shared between forked processes (an anonymous shared mapping), and waits. */
void *shared_memory(size_t size); /* zeroed; inherited by children; never freed */
/* Waits until `condition` is true, polling with short naps; fails at the deadline and names what it waited for.
 */
#define wait_until(condition, timeout_ms)                                                                      \
    do {                                                                                                       \
        int64_t wait_deadline_ = support_now_ms() + (timeout_ms);                                              \
        while (!(condition)) {                                                                                 \
            if (support_now_ms() > wait_deadline_)                                                             \
                fail_msg("waited %d ms for: %s", (int)(timeout_ms), #condition);                               \
            support_nap();                                                                                     \
        }                                                                                                      \
    } while (0)
int64_t support_now_ms(void);
int support_scaled(int count); /* count × LIGHTBUS_TEST_SCALE (default 1), at least 1 */
int support_free_port(
    void);              /* a TCP port of 127.0.0.1, this process's own, outside the range of outgoing ones */
void support_nap(void); /* 2 ms */
char *temporary_directory(void); /* new, for free(); removed at exit of the process that made it */
void write_file(const char *directory, const char *name, const char *text);
void remove_directory(const char *path); /* with all that is in it */

/* LB_OK, or the test fails with the error's message. */
#define assert_ok(call, error)                                                                                 \
    do {                                                                                                       \
        lb_status status_ = (call);                                                                            \
        if (status_ != LB_OK)                                                                                  \
            fail_msg("%s: %s: %s", #call, lb_status_name(status_), (error)->message);                          \
    } while (0)

#endif
