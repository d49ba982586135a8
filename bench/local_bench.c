/* The local bus beside its floor (local_floor.h) and, where they are installed, its rivals (rivals.h), in turn,
 * all on one CPU:
 *
 *     local_bench [SECONDS [ROUNDS]]
 *
 * prints `name metric value unit` lines, medians of all rounds, and the ratio to each floor and rival. */
#include "bench.h"
#include "local_floor.h"
#ifdef BENCH_RIVALS
#include "rivals.h"
#endif

#include <lightbus.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IN_FLIGHT = 50, BATCH = 64, MOST_ROUNDS = 25 };

static double seconds = 1;
static char place_for_floor[64], url[160];

static void check(lb_status status, const lb_error *error, const char *what)
{
    if (status != LB_OK)
        die("%s: %s: %s", what, lb_status_name(status), error->message);
}

static lb_status echo(lb_request *request, void *data)
{
    (void)data;
    return lb_get_int(request, "n") > 0 ? lb_return(request, "hello world")
                                        : lb_fail(request, "ValueError", "n is not positive");
}

static lb_status count(const lb_event *event, void *data)
{
    *(int64_t *)data += lb_get_int(event, "n") == 12345;
    return LB_OK;
}

static lb_status ignore(const lb_event *event, void *data)
{
    (void)event;
    (void)data;
    return LB_OK;
}

static const lb_api bench_api = {
    .name = "bench.api",
    .members =
        (const lb_member[]){
            LB_RPC("echo(n: int) -> str", echo),
            LB_EVENT("thing_happened(user: str, n: int, email: str)"),
            LB_END,
        },
};

static lb_bus *bus_open(bool with_api)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = url, .service_name = "bench", .process_name = "{pid}"}, &error);
    if (!bus)
        die("lb_open: %s", error.message);
    if (with_api)
        check(lb_register(bus, &bench_api, NULL, &error), &error, "lb_register");
    return bus;
}

static pid_t start_worker(void)
{
    int ends[2];
    char byte;
    if (pipe(ends) != 0)
        die("pipe");
    pid_t pid = worker_fork();
    if (pid == 0) {
        lb_error error = {0};
        lb_bus *bus = bus_open(true);
        check(lb_listen(bus, "bench.api.thing_happened", "worker", ignore, NULL, NULL, &error), &error,
              "lb_listen");
        check(lb_start(bus, &error), &error, "lb_start");
        if (write(ends[1], "", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], &byte, 1) != 1)
        die("the worker has ended");
    close(ends[0]);
    return pid;
}

static void expect_hello(lb_status status, lb_value *result, const lb_error *error)
{
    check(status, error, "bench.api.echo");
    if (strcmp(lb_value_str(result), "hello world") != 0)
        die("bench.api.echo answered something else");
    lb_value_free(result);
}

static double rpc_one_at_a_time(void)
{
    pid_t worker = start_worker();
    lb_bus *bus = bus_open(false);
    int64_t done = 0, start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    for (; now_ns() < end; done++) {
        lb_error error = {0};
        lb_value *result = NULL;
        lb_status status = lb_call(bus, "bench.api.echo", LB_ARGS(LB("n", 12345)), &result, &error);
        expect_hello(status, result, &error);
    }
    double rate = (double)done * 1e9 / (double)(now_ns() - start);
    lb_close(bus);
    worker_stop(worker, SIGKILL);
    return rate;
}

static double rpc_in_flight(void)
{
    pid_t worker = start_worker();
    lb_bus *bus = bus_open(false);
    lb_pending *calls[IN_FLIGHT];
    lb_error error = {0};
    int64_t done = 0, start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    for (; now_ns() < end; done += IN_FLIGHT) {
        for (int i = 0; i < IN_FLIGHT; i++)
            if (!(calls[i] = lb_call_begin(bus, "bench.api.echo", LB_ARGS(LB("n", 12345)), NULL, &error)))
                die("lb_call_begin: %s", error.message);
        for (int i = 0; i < IN_FLIGHT; i++) {
            lb_value *result = NULL;
            lb_status status = lb_call_end(calls[i], &result, &error);
            expect_hello(status, result, &error);
        }
    }
    double rate = (double)done * 1e9 / (double)(now_ns() - start);
    lb_close(bus);
    worker_stop(worker, SIGKILL);
    return rate;
}

#define EVENT_ARGS LB_ARGS(LB("user", "alice"), LB("n", 12345), LB("email", "alice@example.com"))

static double fire_one_at_a_time(void)
{
    lb_bus *bus = bus_open(true);
    lb_error error = {0};
    int64_t done = 0, start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    for (; now_ns() < end; done++)
        check(lb_fire(bus, "bench.api.thing_happened", EVENT_ARGS, &error), &error, "lb_fire");
    double rate = (double)done * 1e9 / (double)(now_ns() - start);
    lb_close(bus);
    return rate;
}

static double fire_batched(void)
{
    lb_bus *bus = bus_open(true);
    lb_error error = {0};
    lb_pending *fires[BATCH];
    int64_t done = 0, start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    for (; now_ns() < end; done += BATCH) {
        for (int i = 0; i < BATCH; i++)
            if (!(fires[i] = lb_fire_begin(bus, "bench.api.thing_happened", EVENT_ARGS, &error)))
                die("lb_fire_begin: %s", error.message);
        for (int i = 0; i < BATCH; i++)
            check(lb_fire_end(fires[i], &error), &error, "lb_fire_end");
    }
    double rate = (double)done * 1e9 / (double)(now_ns() - start);
    lb_close(bus);
    return rate;
}

/* Fetch, validate, handle and acknowledge events that lie there. */
static double consume(void)
{
    int64_t handled = 0;
    lb_error error = {0};
    fire_batched();
    lb_bus *bus = bus_open(true);
    check(lb_listen(bus, "bench.api.thing_happened", "bench", count, &handled,
                    &(lb_listen_options){.since = "0"}, &error),
          &error, "lb_listen");
    check(lb_start(bus, &error), &error, "lb_start");
    int64_t start = now_ns();
    usleep((useconds_t)(seconds * 5e5));
    int64_t done = __atomic_load_n(&handled, __ATOMIC_RELAXED);
    double rate = (double)done * 1e9 / (double)(now_ns() - start);
    lb_close(bus);
    return rate;
}

/* The CPU time that a worker takes while nothing comes, in us per second. */
static double waiting(void)
{
    const int times = 3; /* it looks around once a second */
    pid_t worker = start_worker();
    int64_t before = cpu_ns(worker), start = now_ns();
    usleep((useconds_t)(seconds * 1e6 * times));
    double taken = (double)(cpu_ns(worker) - before) * 1e6 / (double)(now_ns() - start);
    worker_stop(worker, SIGKILL);
    return taken;
}

static double floor_seq(void) { return floor_rpc(place_for_floor, 1, seconds); }
static double floor_c50(void) { return floor_rpc(place_for_floor, IN_FLIGHT, seconds); }
static double floor_fire(void) { return floor_append(place_for_floor, 1, seconds); }
static double floor_fire_batch(void) { return floor_append(place_for_floor, 100, seconds); }
#ifdef BENCH_RIVALS
static double zeromq_seq(void) { return rival_zeromq(place_for_floor, 1, seconds); }
static double zeromq_c50(void) { return rival_zeromq(place_for_floor, IN_FLIGHT, seconds); }
static double dbus_seq(void) { return rival_dbus(place_for_floor, seconds); }
#endif

/* Each is measured once in a round, in this order. */
static const struct work {
    const char *name, *metric, *unit;
    double (*measure)(void);
} works[] = {
    {"floor.lmdb_rpc_seq@same", "rate", "op/s", floor_seq},
    {"lightbus.local_rpc_seq@same", "rate", "op/s", rpc_one_at_a_time},
    {"floor.lmdb_rpc_c50@same", "rate", "op/s", floor_c50},
    {"lightbus.local_rpc_c50@same", "rate", "op/s", rpc_in_flight},
    {"floor.lmdb_commit_1@same", "rate", "op/s", floor_fire},
    {"lightbus.local_fire@same", "rate", "op/s", fire_one_at_a_time},
    {"floor.lmdb_commit_100@same", "rate", "op/s", floor_fire_batch},
    {"lightbus.local_fire_batch@same", "rate", "op/s", fire_batched},
    {"lightbus.local_consume@same", "rate", "op/s", consume},
#ifdef BENCH_RIVALS
    {"rival.zeromq_ipc_seq@same", "rate", "op/s", zeromq_seq},
    {"rival.zeromq_ipc_c50@same", "rate", "op/s", zeromq_c50},
    {"rival.dbus_daemon_seq@same", "rate", "op/s", dbus_seq},
#endif
    {"lightbus.local_waiting", "cpu", "us/s", waiting},
};
enum { WORKS = sizeof works / sizeof *works };

/* What stands beside what. */
static const struct {
    const char *ours, *beside;
} rows[] = {
    {"lightbus.local_rpc_seq@same", "floor.lmdb_rpc_seq@same"},
    {"lightbus.local_rpc_seq@same", "rival.zeromq_ipc_seq@same"},
    {"lightbus.local_rpc_seq@same", "rival.dbus_daemon_seq@same"},
    {"lightbus.local_rpc_c50@same", "floor.lmdb_rpc_c50@same"},
    {"lightbus.local_rpc_c50@same", "rival.zeromq_ipc_c50@same"},
    {"lightbus.local_fire@same", "floor.lmdb_commit_1@same"},
    {"lightbus.local_fire_batch@same", "floor.lmdb_commit_100@same"},
};

/* In a process of its own, in a new folder. */
static double measured(double (*measure)(void))
{
    int ends[2];
    double rate = 0;
    char folder[] = "/tmp/lightbus-bench-XXXXXX", command[96];
    if (!mkdtemp(folder) || pipe(ends) != 0)
        die("no folder");
    snprintf(url, sizeof url, "local://%s/bus", folder);
    snprintf(place_for_floor, sizeof place_for_floor, "%s", folder);
    pid_t pid = worker_fork();
    if (pid == 0) {
        rate = measure();
        _exit(write(ends[1], &rate, sizeof rate) == sizeof rate ? 0 : 1);
    }
    close(ends[1]);
    if (read(ends[0], &rate, sizeof rate) != sizeof rate)
        die("a measurement failed");
    close(ends[0]);
    worker_stop(pid, SIGKILL);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0)
        die("%s", command);
    return rate;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* -1: it was not measured. */
static int find_work(const char *name)
{
    for (int i = 0; i < WORKS; i++)
        if (strcmp(works[i].name, name) == 0)
            return i;
    return -1;
}

int main(int argc, char **argv)
{
    static double values[WORKS][MOST_ROUNDS];
    seconds = argc > 1 ? atof(argv[1]) : 1;
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    if (seconds <= 0 || rounds < 1 || rounds > MOST_ROUNDS)
        die("usage: local_bench [SECONDS [ROUNDS]]");
    lb_log_set_level(LB_LOG_WARNING);
    place("@same");
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < WORKS; i++)
            values[i][round] = measured(works[i].measure);
    for (int i = 0; i < WORKS; i++) {
        qsort(values[i], (size_t)rounds, sizeof **values, compare);
        emit(works[i].name, works[i].metric, values[i][rounds / 2], works[i].unit);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int a = find_work(rows[i].ours), b = find_work(rows[i].beside);
        if (b >= 0)
            emit(rows[i].ours, "ratio", values[a][rounds / 2] / values[b][rounds / 2], rows[i].beside);
    }
    return 0;
}
