/* The library through its public API, doing the work of the floors: JSON, validation and handlers included.
 *
 *     lightbus_bench SECONDS NAME[@same]
 *
 * starts a server of its own and prints `lightbus.NAME metric value unit` lines. Workers are this program again
 * (`lightbus_bench worker URL FD`, `lightbus_bench listener URL FD SECONDS`), so that they carry nothing of the
 * measuring process; they report through the pipe FD by 64-bit numbers: 0 when ready, then what their kind
 * tells. */
#include "bench.h"
#include "resp.h"
#include <dirent.h>
#include <lightbus.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { IN_FLIGHT = 50, BATCH = 64, WARM_UP = 200, STREAM_EVENTS = 200000 };

typedef struct run {
    const char *name; /* as printed */
    const char *seconds;
    int64_t duration_ns;
    redis_server *server;
} run;

static void check(lb_status status, const lb_error *error, const char *what)
{
    if (status != LB_OK)
        die("%s: %s: %s", what, lb_status_name(status), error->message);
}

/* ---- The service ------------------------------------------------------------------------------------- */

static lb_status echo(lb_request *request, void *data)
{
    (void)data;
    if (lb_get_int(request, "n") <= 0)
        return lb_fail(request, "ValueError", "n is not positive");
    return lb_return(request, "hello world");
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

static lb_bus *bus_open(const char *url)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = url, .service_name = "bench", .process_name = "{pid}"}, &error);
    if (!bus)
        die("lb_open: %s", error.message);
    return bus;
}

static lb_bus *bus_open_with_api(const char *url)
{
    lb_error error = {0};
    lb_bus *bus = bus_open(url);
    check(lb_register(bus, &bench_api, NULL, &error), &error, "lb_register");
    return bus;
}

static void report(int fd, int64_t number)
{
    if (write(fd, &number, sizeof number) != sizeof number)
        die("the measuring process is gone");
}

/* Serves until SIGTERM. */
static void serve(lb_bus *bus, int report_fd)
{
    lb_error error = {0};
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL); /* before the worker's threads start: they inherit it */
    check(lb_start(bus, &error), &error, "lb_start");
    report(report_fd, 0);
    sigwait(&stop, &(int){0});
    check(lb_stop(bus, -1, &error), &error, "lb_stop");
    lb_close(bus);
}

static int worker_main(const char *url, int report_fd)
{
    serve(bus_open_with_api(url), report_fd);
    return 0;
}

typedef struct listening {
    int report_fd;
    int64_t count, duration_ns, end_ns;
    bool done;
} listening;

/* Reports 1 at the first event, and the number of events when the time is over or the stream has been read. */
static lb_status take(const lb_event *event, void *data)
{
    listening *l = data;
    if (lb_get_int(event, "n") != 12345 || lb_get_str(event, "user")[0] != 'a' ||
        !strchr(lb_get_str(event, "email"), '@'))
        die("an event arrived changed");
    if (l->count++ == 0) {
        l->end_ns = now_ns() + l->duration_ns;
        report(l->report_fd, 1);
    }
    if (!l->done && l->count % 100 == 0 && (l->count == STREAM_EVENTS || now_ns() > l->end_ns)) {
        l->done = true;
        report(l->report_fd, l->count);
    }
    return LB_OK;
}

static int listener_main(const char *url, int report_fd, double seconds)
{
    lb_error error = {0};
    lb_bus *bus = bus_open_with_api(url);
    listening state = {.report_fd = report_fd, .duration_ns = (int64_t)(seconds * 1e9)};
    check(lb_listen(bus, "bench.api.thing_happened", "bench", take, &state, &(lb_listen_options){.since = "0"},
                    &error),
          &error, "lb_listen");
    serve(bus, report_fd);
    return 0;
}

/* ---- Workers, seen from the measuring process -------------------------------------------------------- */

typedef struct worker {
    pid_t pid;
    int report_fd;
} worker;

static worker worker_start(const run *r, const char *kind)
{
    int ends[2];
    if (pipe(ends) != 0)
        die("pipe");
    worker w = {.pid = worker_fork(), .report_fd = ends[0]};
    if (w.pid == 0) {
        char fd[16];
        snprintf(fd, sizeof fd, "%d", ends[1]);
        execl("/proc/self/exe", "lightbus_bench", kind, r->server->url, fd, r->seconds, NULL);
        _exit(127);
    }
    close(ends[1]);
    return w;
}

static int64_t worker_report(const worker *w)
{
    int64_t number;
    if (read(w->report_fd, &number, sizeof number) != sizeof number)
        die("the worker has ended");
    return number;
}

static worker worker_start_ready(const run *r, const char *kind)
{
    worker w = worker_start(r, kind);
    worker_report(&w);
    return w;
}

/* ---- RPC --------------------------------------------------------------------------------------------- */

static void expect_hello(lb_status status, lb_value *result, const lb_error *error)
{
    check(status, error, "bench.api.echo");
    const char *text = lb_value_str(result);
    if (!text || strcmp(text, "hello world") != 0)
        die("bench.api.echo answered something else");
    lb_value_free(result);
}

static void call_once(lb_bus *bus)
{
    lb_error error = {0};
    lb_value *result = NULL;
    lb_status status = lb_call(bus, "bench.api.echo", LB_ARGS(LB("n", 12345)), &result, &error);
    expect_hello(status, result, &error);
}

static void rpc_seq(const run *r)
{
    worker w = worker_start_ready(r, "worker");
    lb_bus *bus = bus_open(r->server->url);
    for (int i = 0; i < WARM_UP; i++)
        call_once(bus);
    histogram latencies = {0};
    meter m = meter_start(r->server, w.pid);
    int64_t before = m.start_ns, end = before + r->duration_ns;
    while (before < end) {
        call_once(bus);
        int64_t now = now_ns();
        histogram_add(&latencies, now - before);
        before = now;
    }
    meter_emit(&m, r->name, (double)latencies.count, "call/s");
    histogram_emit(&latencies, r->name);
    lb_close(bus);
    worker_stop(w.pid, SIGTERM);
}

/* 999 other APIs are on the bus, and known to both sides: a call's cost does not grow with them. */
static void rpc_seq_1000apis(const run *r)
{
    const char *schema =
        "{\"events\":{\"e\":{\"parameters\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":"
        "\"integer\"}},\"required\":[\"x\"],\"additionalProperties\":false}}},\"rpcs\":{}}";
    resp *c = resp_connect(r->server->port);
    for (int i = 1; i < 1000; i++) {
        char key[40];
        snprintf(key, sizeof key, "schema:other.api%d", i);
        resp_command(c, "SET", key, schema, NULL);
        resp_command(c, "SADD", "schemas", key + strlen("schema:"), NULL);
    }
    resp_flush(c);
    resp_skip(c, 2 * 999);
    resp_close(c);
    rpc_seq(r);
}

typedef struct flight {
    lb_pending *call;
    int64_t begun_ns;
} flight;

static void flight_begin(flight *f, lb_bus *bus)
{
    lb_error error = {0};
    f->begun_ns = now_ns();
    f->call = lb_call_begin(bus, "bench.api.echo", LB_ARGS(LB("n", 12345)), NULL, &error);
    if (!f->call)
        die("lb_call_begin: %s", error.message);
}

static void flight_end(flight *f)
{
    lb_error error = {0};
    lb_value *result = NULL;
    lb_status status = lb_call_end(f->call, &result, &error);
    expect_hello(status, result, &error);
}

/* 50 calls in flight: when the oldest has ended, another begins. */
static void rpc_c50(const run *r)
{
    worker w = worker_start_ready(r, "worker");
    lb_bus *bus = bus_open(r->server->url);
    call_once(bus);
    flight flights[IN_FLIGHT];
    for (int i = 0; i < IN_FLIGHT; i++)
        flight_begin(&flights[i], bus);
    histogram latencies = {0};
    meter m = meter_start(r->server, w.pid);
    int64_t now = m.start_ns, end = now + r->duration_ns;
    for (int oldest = 0; now < end; oldest = (oldest + 1) % IN_FLIGHT) {
        flight_end(&flights[oldest]);
        now = now_ns();
        histogram_add(&latencies, now - flights[oldest].begun_ns);
        flight_begin(&flights[oldest], bus);
    }
    meter_emit(&m, r->name, (double)latencies.count, "call/s");
    histogram_emit(&latencies, r->name);
    for (int i = 0; i < IN_FLIGHT; i++)
        flight_end(&flights[i]);
    lb_close(bus);
    worker_stop(w.pid, SIGTERM);
}

/* ---- Events ------------------------------------------------------------------------------------------ */

#define THING LB_ARGS(LB("user", "admin"), LB("n", 12345), LB("email", "admin@example.com"))

static void fire_once(lb_bus *bus)
{
    lb_error error = {0};
    check(lb_fire(bus, "bench.api.thing_happened", THING, &error), &error, "lb_fire");
}

static void fire_batch(lb_bus *bus)
{
    lb_error error = {0};
    lb_pending *fires[BATCH];
    for (int i = 0; i < BATCH; i++) {
        fires[i] = lb_fire_begin(bus, "bench.api.thing_happened", THING, &error);
        if (!fires[i])
            die("lb_fire_begin: %s", error.message);
    }
    for (int i = 0; i < BATCH; i++)
        check(lb_fire_end(fires[i], &error), &error, "lb_fire_end");
}

static void fire_events(const run *r, void (*fire)(lb_bus *bus), int events)
{
    lb_bus *bus = bus_open_with_api(r->server->url);
    fire(bus);
    histogram latencies = {0};
    meter m = meter_start(r->server, 0);
    int64_t before = m.start_ns, end = before + r->duration_ns;
    while (before < end) {
        fire(bus);
        int64_t now = now_ns();
        histogram_add(&latencies, now - before);
        before = now;
    }
    meter_emit(&m, r->name, (double)latencies.count * events, "event/s");
    histogram_emit(&latencies, r->name);
    lb_close(bus);
}

static void fire_p1(const run *r) { fire_events(r, fire_once, 1); }
static void fire_p64(const run *r) { fire_events(r, fire_batch, BATCH); }

static void fill_stream(const run *r)
{
    resp *c = resp_connect(r->server->port);
    for (int i = 0; i < STREAM_EVENTS; i += 500) {
        for (int j = 0; j < 500; j++)
            resp_command(c, "XADD", "bench.api.*:stream", "*", "id", "b0a1c2d3-0000-4000-8000-000000000000",
                         "api_name", "bench.api", "event_name", "thing_happened", "version", "1", ":user",
                         "\"admin\"", ":n", "12345", ":email", "\"admin@example.com\"", NULL);
        resp_flush(c);
        resp_skip(c, 500);
    }
    resp_close(c);
}

/* A listener on a stream that waits for it: fetched, decoded, validated, handled, acknowledged. */
static void consume(const run *r)
{
    fill_stream(r);
    worker w = worker_start(r, "listener");
    int64_t count = 0;
    while (count != 1) /* the first event may come before lb_start has returned */
        count = worker_report(&w);
    meter m = meter_start(r->server, w.pid);
    while (count <= 1)
        count = worker_report(&w);
    meter_emit(&m, r->name, (double)count, "event/s");
    worker_stop(w.pid, SIGTERM);
}

/* ---- A worker that has nothing to do ----------------------------------------------------------------- */

static long status_field(const char *path, const char *field)
{
    char line[256];
    long value = -1;
    FILE *file = fopen(path, "r");
    if (!file)
        die("%s", path);
    while (value < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0)
            value = strtol(line + strlen(field), NULL, 10);
    fclose(file);
    if (value < 0)
        die("%s has no %s", path, field);
    return value;
}

/* How often the threads of a process have gone to sleep. */
static long naps(pid_t pid)
{
    char path[320];
    long sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        die("%s", path);
    for (struct dirent *task = readdir(tasks); task; task = readdir(tasks)) {
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, task->d_name);
        sum += status_field(path, "voluntary_ctxt_switches:");
    }
    closedir(tasks);
    return sum;
}

static void worker_at_rest(const run *r)
{
    char path[64];
    int64_t begun = now_ns();
    worker w = worker_start_ready(r, "worker");
    emit(r->name, "ready", (double)(now_ns() - begun) / 1e6, "ms");
    long before = naps(w.pid);
    struct timespec rest = {.tv_sec = r->duration_ns / 1000000000, .tv_nsec = r->duration_ns % 1000000000};
    nanosleep(&rest, NULL);
    emit(r->name, "wakeups", (double)(naps(w.pid) - before) * 1e9 / (double)r->duration_ns, "1/s");
    snprintf(path, sizeof path, "/proc/%d/status", (int)w.pid);
    emit(r->name, "threads", (double)status_field(path, "Threads:"), "");
    emit(r->name, "rss", (double)status_field(path, "VmRSS:") / 1024, "MB");
    emit(r->name, "rss_private", (double)status_field(path, "RssAnon:") / 1024, "MB");
    worker_stop(w.pid, SIGTERM);
}

/* ---- */

static const struct work {
    const char *name;
    void (*measure)(const run *r);
} works[] = {
    {"rpc_seq", rpc_seq},
    {"rpc_seq_1000apis", rpc_seq_1000apis},
    {"rpc_c50", rpc_c50},
    {"fire_p1", fire_p1},
    {"fire_p64", fire_p64},
    {"consume", consume},
    {"worker_at_rest", worker_at_rest},
};

static const struct work *find_work(const char *name)
{
    size_t size = strcspn(name, "@");
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (strlen(works[i].name) == size && memcmp(works[i].name, name, size) == 0)
            return &works[i];
    return NULL;
}

static int usage(void)
{
    fputs("usage: lightbus_bench SECONDS NAME[@same]\n", stderr);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        fprintf(stderr, "  %s\n", works[i].name);
    return 2;
}

int main(int argc, char **argv)
{
    lb_log_set_level(LB_LOG_WARNING);
    if (argc == 5 && strcmp(argv[1], "worker") == 0)
        return worker_main(argv[2], atoi(argv[3]));
    if (argc == 5 && strcmp(argv[1], "listener") == 0)
        return listener_main(argv[2], atoi(argv[3]), atof(argv[4]));
    const struct work *work = argc == 3 ? find_work(argv[2]) : NULL;
    double seconds = argc == 3 ? atof(argv[1]) : 0;
    if (!work || seconds <= 0)
        return usage();
    char name[96];
    snprintf(name, sizeof name, "lightbus.%s", argv[2]);
    alarm(60);
    place(argv[2]);
    run r = {
        .name = name, .seconds = argv[1], .duration_ns = (int64_t)(seconds * 1e9), .server = server_start()};
    work->measure(&r);
    return 0;
}
