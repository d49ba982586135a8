/* What the benchmarks share: time, placement on CPUs, a Redis server of their own, meters, output. Any failure
 * ends the program with a message: a benchmark that goes on after one measures nothing. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

int64_t now_ns(void);
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints `name metric value unit`. */
void emit(const char *name, const char *metric, double value, const char *unit);

/* A name that ends in "@same" puts this process, and all that it starts from now on, on one CPU. */
void place(const char *name);

/* A redis-server on a free port of 127.0.0.1, without persistence. It ends with this process at the latest. */
typedef struct redis_server {
    pid_t pid;
    int port;
    char directory[64];
    char url[64];
} redis_server;
redis_server *server_start(void);

/* A forked process that is killed when this one ends. Returns 0 in the child. */
pid_t worker_fork(void);
void worker_stop(pid_t worker, int signal);

/* Latencies, in buckets at most 1.6 % wide. */
typedef struct histogram {
    uint64_t count;
    uint32_t buckets[60 * 64];
} histogram;
void histogram_add(histogram *h, int64_t ns);
void histogram_emit(const histogram *h, const char *name); /* p50 and p99 */

/* Measures operations per second, and the CPU time that each takes from the server, this process and the
 * worker. */
int64_t cpu_ns(pid_t pid); /* that a process has taken so far; 0 for no process (pid 0) */
typedef struct meter {
    pid_t server, worker; /* worker 0: none */
    int64_t start_ns, server_ns, client_ns, worker_ns;
} meter;
meter meter_start(const redis_server *server, pid_t worker);
void meter_emit(const meter *m, const char *name, double operations, const char *unit);

#endif
