/* A worker process tells through a pipe that it serves, and waits for SIGTERM, which it blocks before it starts
 * any thread. */
#include "worker.h"

#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

typedef struct start {
    const worker *worker;
    int ready; /* write end */
} start;

static int report(const char *doing, const lb_error *error)
{
    fprintf(stderr, "worker: %s: %s: %s\n", doing, lb_status_name(error->status), error->message);
    return 2;
}

static int serve_with_run(lb_bus *bus, int ready, lb_error *error)
{
    if (write(ready, "", 1) != 1)
        return 2;
    return lb_run(bus, LB_RUN_SIGNALS, error) == LB_OK ? 0 : 1;
}

static int serve_with_start(lb_bus *bus, int ready, lb_error *error)
{
    sigset_t end;
    int signal;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, NULL);
    int64_t deadline = support_now_ms() + PATIENCE_MS;
    while (lb_start(bus, error) != LB_OK) {
        if (!error->retryable || support_now_ms() > deadline)
            return report("lb_start", error);
        sleep_ms(20);
    }
    if (write(ready, "", 1) != 1)
        return 2;
    sigwait(&end, &signal);
    return lb_stop(bus, -1, error) == LB_OK ? 0 : 1;
}

static int serve(void *data)
{
    const start *s = data;
    const worker *w = s->worker;
    lb_error error = {0};
    lb_options options = {.url = w->url,
                          .service_name = w->service ? w->service : "tests",
                          .process_name = w->process ? w->process : "p1",
                          .rpc_concurrency = w->rpc_concurrency,
                          .rpc_timeout_ms = w->rpc_timeout_ms};
    lb_bus *bus = lb_open(&options, &error);
    if (!bus)
        return report("lb_open", &error);
    if (w->setup(bus, w->data, &error) != LB_OK)
        return report("setup", &error);
    int code = w->run ? serve_with_run(bus, s->ready, &error) : serve_with_start(bus, s->ready, &error);
    lb_close(bus);
    close(s->ready);
    return code;
}

pid_t worker_start(const worker *w)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    start s = {w, ends[1]};
    pid_t pid = child_start(serve, &s);
    close(ends[1]);
    struct pollfd ready = {ends[0], POLLIN, 0};
    ssize_t got = poll(&ready, 1, PATIENCE_MS) == 1 ? read(ends[0], &byte, 1) : -1;
    if (got != 1 && !(got == 0 && w->may_die))
        fail_msg("the worker %s did not start", w->process ? w->process : "p1");
    close(ends[0]);
    return pid;
}

void worker_stop(pid_t pid)
{
    child_kill(pid, SIGTERM);
    assert_int_equal(child_wait(pid, PATIENCE_MS), 0);
}

void worker_crash(pid_t pid)
{
    child_kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, PATIENCE_MS), 128 + SIGKILL);
}

lb_bus *client_open(const char *url, int rpc_timeout_ms)
{
    lb_error error = {0};
    lb_options options = {
        .url = url, .service_name = "client", .process_name = "c1", .rpc_timeout_ms = rpc_timeout_ms};
    lb_bus *bus = lb_open(&options, &error);
    if (!bus)
        fail_msg("lb_open %s: %s", url, error.message);
    return bus;
}

void sleep_ms(int ms)
{
    struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0)
        ;
}

int64_t process_cpu_ms(pid_t pid)
{
    char path[64], text[1024] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    const char *line = file ? fgets(text, sizeof text, file) : NULL;
    const char *after_name = line ? strrchr(line, ')') : NULL;
    unsigned long long user = 0, system = 0;
    if (!after_name ||
        sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        fail_msg("no process %d", (int)pid);
    fclose(file);
    return (int64_t)((user + system) * 1000 / (unsigned long long)sysconf(_SC_CLK_TCK));
}

void expect_idle(pid_t pid, int window_ms, int most_ms)
{
    int64_t deadline = support_now_ms() + PATIENCE_MS, used;
    do {
        int64_t before = process_cpu_ms(pid);
        sleep_ms(window_ms);
        used = process_cpu_ms(pid) - before;
    } while (used > most_ms && support_now_ms() < deadline);
    if (used > most_ms)
        fail_msg("process %d used %d ms of CPU in %d ms", (int)pid, (int)used, window_ms);
}

int server_setup(void **state)
{
    *state = redis_server_start(NULL);
    return 0;
}

int server_teardown(void **state)
{
    redis_server_stop(*state);
    return 0;
}

int served_start(void **state, worker_setup setup, size_t shared_size, int rpc_timeout_ms)
{
    served *s = calloc(1, sizeof *s);
    s->server = redis_server_start(NULL);
    s->shared = shared_memory(shared_size);
    s->worker = worker_start(&(worker){.url = s->server->url, .setup = setup, .data = s->shared});
    s->bus = client_open(s->server->url, rpc_timeout_ms);
    *state = s;
    return 0;
}

int served_stop(void **state)
{
    served *s = *state;
    lb_close(s->bus);
    worker_stop(s->worker);
    redis_server_stop(s->server);
    free(s);
    return 0;
}

lb_history *open_history(lb_bus *bus, const char *events, const char *from, const char *to, bool oldest_first)
{
    lb_error error = {0};
    const lb_history_options options = {from, to, oldest_first ? LB_HISTORY_OLDEST_FIRST : 0};
    lb_history *h = lb_history_open(bus, events, &options, &error);
    if (!h)
        fail_msg("%s: %s", lb_status_name(error.status), error.message);
    return h;
}

const lb_event *next_of(lb_history *history)
{
    lb_error error = {0};
    const lb_event *event;
    assert_ok(lb_history_next(history, &event, &error), &error);
    return event;
}
