/* What the benchmarks share; see bench.h. The server inherits the placement of the process that starts it, so
 * that
 * "@same" holds for all of its threads too. */
#include "bench.h"
#include "resp.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SUB_BUCKETS = 64 };

int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void die(const char *format, ...)
{
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (saved)
        fprintf(stderr, " (%s)", strerror(saved));
    fputc('\n', stderr);
    exit(1);
}

void emit(const char *name, const char *metric, double value, const char *unit)
{
    printf("%s %s %.6g %s\n", name, metric, value, unit);
    fflush(stdout);
}

void place(const char *name)
{
    const char *suffix = strrchr(name, '@');
    if (!suffix || strcmp(suffix, "@same") != 0)
        return;
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        die("sched_getaffinity");
    int cpu = 1; /* CPU 0 often takes the interrupts */
    if (!CPU_ISSET(cpu, &allowed))
        for (cpu = 0; !CPU_ISSET(cpu, &allowed); cpu++)
            ;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0)
        die("sched_setaffinity");
}

pid_t worker_fork(void)
{
    pid_t parent = getpid();
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

void worker_stop(pid_t worker, int signal)
{
    kill(worker, signal);
    while (waitpid(worker, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* ---- The server -------------------------------------------------------------------------------------- */

static redis_server running;
static pid_t owner;

static void server_stop(void)
{
    if (getpid() != owner)
        return; /* the exit of a forked worker */
    worker_stop(running.pid, SIGTERM);
    rmdir(running.directory);
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        die("no free port on 127.0.0.1");
    close(fd);
    return ntohs(address.sin_port);
}

static pid_t server_exec(const redis_server *server)
{
    pid_t pid = worker_fork();
    if (pid != 0)
        return pid;
    char port[16];
    snprintf(port, sizeof port, "%d", server->port);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly",
           "no", "--dir", server->directory, NULL);
    fprintf(stderr, "bench: cannot run redis-server (%s)\n", strerror(errno));
    _exit(127);
}

/* Waits until the server answers; false when it has ended instead, as it does when its port was taken
 * meanwhile. */
static bool server_ready(redis_server *server)
{
    int64_t deadline = now_ns() + INT64_C(10000000000);
    while (!resp_ping(server->port)) {
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid)
            return false;
        if (now_ns() > deadline)
            die("redis-server on port %d does not answer", server->port);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}

redis_server *server_start(void)
{
    const char *base = getenv("TMPDIR");
    int length =
        snprintf(running.directory, sizeof running.directory, "%s/lightbus-bench-XXXXXX", base ? base : "/tmp");
    if (length >= (int)sizeof running.directory || !mkdtemp(running.directory))
        die("cannot make a directory like %s", running.directory);
    for (int attempt = 0; attempt < 5; attempt++) {
        running.port = free_port();
        running.pid = server_exec(&running);
        if (server_ready(&running)) {
            owner = getpid();
            atexit(server_stop);
            snprintf(running.url, sizeof running.url, "redis://127.0.0.1:%d/0", running.port);
            return &running;
        }
    }
    rmdir(running.directory);
    die("redis-server does not start");
}

/* ---- Meters ------------------------------------------------------------------------------------------ */

/* Bucket 64 * s + m, with m in 64..127 (in 0..127 for s = 0), holds the values m << s up to ((m + 1) << s) - 1.
 */
void histogram_add(histogram *h, int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    int shift = value < SUB_BUCKETS ? 0 : 63 - __builtin_clzll(value) - 6;
    h->buckets[(uint64_t)shift * SUB_BUCKETS + (value >> shift)]++;
    h->count++;
}

static double histogram_quantile(const histogram *h, double quantile)
{
    uint64_t rank = (uint64_t)(quantile * (double)(h->count - 1)), seen = 0;
    unsigned i = 0;
    while ((seen += h->buckets[i]) <= rank)
        i++;
    unsigned shift = i < 2 * SUB_BUCKETS ? 0 : i / SUB_BUCKETS - 1;
    return (double)((uint64_t)(i - shift * SUB_BUCKETS) << shift);
}

void histogram_emit(const histogram *h, const char *name)
{
    if (h->count == 0)
        die("%s: nothing was measured", name);
    emit(name, "p50", histogram_quantile(h, 0.5) / 1e3, "us");
    emit(name, "p99", histogram_quantile(h, 0.99) / 1e3, "us");
}

int64_t cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (pid == 0)
        return 0;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        die("process %d has ended", (int)pid);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

meter meter_start(const redis_server *server, pid_t worker)
{
    meter m = {.server = server->pid, .worker = worker};
    m.server_ns = cpu_ns(server->pid);
    m.worker_ns = cpu_ns(worker);
    m.client_ns = cpu_ns(getpid());
    m.start_ns = now_ns();
    return m;
}

void meter_emit(const meter *m, const char *name, double operations, const char *unit)
{
    int64_t elapsed = now_ns() - m->start_ns;
    if (operations < 1)
        die("%s: nothing was measured", name);
    emit(name, "rate", operations * 1e9 / (double)elapsed, unit);
    emit(name, "server_cpu", (double)(cpu_ns(m->server) - m->server_ns) / 1e3 / operations, "us/op");
    emit(name, "client_cpu", (double)(cpu_ns(getpid()) - m->client_ns) / 1e3 / operations, "us/op");
    if (m->worker)
        emit(name, "worker_cpu", (double)(cpu_ns(m->worker) - m->worker_ns) / 1e3 / operations, "us/op");
}
