/* A Redis server for a test, and commands to it. The server's process id is its handle: nothing is found by
 * name. Ports come from below the range that the system gives to outgoing connections, so that a port stays
 * free while the server is down and a client cannot connect to itself. A port belongs to the test process that
 * asked for it until that ends: no test gets a port that another one is about to use, or to use again. */
#include "support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_MS = 20000, MOST_ARGUMENTS = 64 };

/* What redis_server hides: how to start it again. */
typedef struct server {
    redis_server shown; /* first: a redis_server * points here */
    bool tls;
    const char *password; /* in arguments, or NULL */
    char *arguments[MOST_ARGUMENTS + 1];
    size_t count;
} server;

static server *server_of(const redis_server *shown) { return (server *)(uintptr_t)shown; }

/* ---- Ports ---------------------------------------------------------------------------------------------- */

static bool port_is_free(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    bool is_free = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return is_free;
}

/* Other tests know a port that is ours by a socket of this name, which ends with the process. Its descriptor is
 * not closed. */
static bool reserve_port(int port)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX}; /* begins with NUL: in no folder */
    snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "lightbus-test-port-%d", port);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof name) == 0)
        return true;
    close(fd);
    return false;
}

int support_free_port(void)
{
    static unsigned state;
    if (state == 0) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        state = (unsigned)now.tv_nsec ^ (unsigned)getpid() * 2654435761u;
    }
    for (int tries = 0; tries < 1000; tries++) {
        state = state * 1664525u + 1013904223u;
        int port = 10000 + (int)((state >> 8) % 22000);
        if (reserve_port(port) && port_is_free(port))
            return port;
    }
    fail_msg("no free TCP port between 10000 and 32000");
    return 0;
}

/* ---- The process ---------------------------------------------------------------------------------------- */

static _Noreturn void exec_redis(const server *s, pid_t parent)
{
    char port[16], tls_port[16], socket[96], log[96], certificate[96], key[96], ca[96];
    const redis_server *shown = &s->shown;
    snprintf(port, sizeof port, "%d", shown->port);
    snprintf(tls_port, sizeof tls_port, "%d", shown->tls_port);
    snprintf(socket, sizeof socket, "%s/redis.sock", shown->directory);
    snprintf(log, sizeof log, "%s/redis.log", shown->directory);
    snprintf(certificate, sizeof certificate, "%s/server.crt", shown->directory);
    snprintf(key, sizeof key, "%s/server.key", shown->directory);
    snprintf(ca, sizeof ca, "%s/ca.crt", shown->directory);
    const char *base[] = {
        "redis-server", "--save", "",      "--appendonly",   "no",        "--bind", "127.0.0.1", "--port", port,
        "--unixsocket", socket,   "--dir", shown->directory, "--logfile", log,      NULL};
    const char *tls[] = {"--tls-port",
                         tls_port,
                         "--tls-cert-file",
                         certificate,
                         "--tls-key-file",
                         key,
                         "--tls-ca-cert-file",
                         ca,
                         "--tls-auth-clients",
                         "no",
                         NULL};
    const char *argv[MOST_ARGUMENTS + 32];
    size_t count = 0;
    for (size_t i = 0; base[i]; i++)
        argv[count++] = base[i];
    for (size_t i = 0; s->tls && tls[i]; i++)
        argv[count++] = tls[i];
    for (size_t i = 0; i < s->count; i++)
        argv[count++] = s->arguments[i];
    argv[count] = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static redisContext *connect_to(const server *s)
{
    char path[96];
    snprintf(path, sizeof path, "%s/redis.sock", s->shown.directory);
    redisContext *c = redisConnectUnixWithTimeout(path, (struct timeval){10, 0});
    if (c && c->err == 0) {
        redisSetTimeout(c, (struct timeval){30, 0});
        if (s->password)
            freeReplyObject(redisCommand(c, "AUTH %s", s->password));
    }
    return c;
}

static bool answers(const server *s)
{
    redisContext *c = connect_to(s);
    redisReply *reply = c && c->err == 0 ? redisCommand(c, "PING") : NULL;
    bool ok = reply && (reply->type == REDIS_REPLY_STATUS || strncmp(reply->str, "LOADING", 7) != 0);
    freeReplyObject(reply);
    redisFree(c);
    return ok;
}

/* Starts the process and waits until it answers; false when it ended instead (its port was taken). */
static bool try_start(server *s)
{
    char socket[96];
    snprintf(socket, sizeof socket, "%s/redis.sock", s->shown.directory);
    unlink(socket);
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        exec_redis(s, parent);
    if (pid < 0)
        fail_msg("fork: %s", strerror(errno));
    s->shown.pid = pid;
    int64_t deadline = support_now_ms() + START_MS;
    while (!answers(s)) {
        if (waitpid(pid, NULL, WNOHANG) == pid) {
            s->shown.pid = 0;
            return false;
        }
        if (support_now_ms() > deadline)
            fail_msg("redis-server did not answer in %d ms; see %s/redis.log", START_MS, s->shown.directory);
        support_nap();
    }
    return true;
}

static void print_log(const server *s)
{
    char path[96], line[512];
    snprintf(path, sizeof path, "%s/redis.log", s->shown.directory);
    FILE *log = fopen(path, "r");
    while (log && fgets(line, sizeof line, log))
        print_error("redis: %s", line);
    if (log)
        fclose(log);
}

/* ---- Certificates --------------------------------------------------------------------------------------- */

static void openssl(const char *directory, const char *const *argv)
{
    program *p = program_start(argv, NULL, directory);
    int code = program_wait(p, 30000);
    if (code != 0)
        fail_msg("openssl ended with %d: %s", code, p->text);
    program_free(p);
}

static void make_certificates(const char *directory)
{
    openssl(directory,
            (const char *const[]){"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                                  "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key", "-out",
                                  "ca.crt", "-days", "2", "-subj", "/CN=Lightbus test CA", NULL});
    openssl(directory, (const char *const[]){"openssl",
                                             "req",
                                             "-x509",
                                             "-newkey",
                                             "ec",
                                             "-pkeyopt",
                                             "ec_paramgen_curve:prime256v1",
                                             "-nodes",
                                             "-CA",
                                             "ca.crt",
                                             "-CAkey",
                                             "ca.key",
                                             "-keyout",
                                             "server.key",
                                             "-out",
                                             "server.crt",
                                             "-days",
                                             "2",
                                             "-subj",
                                             "/CN=localhost",
                                             "-addext",
                                             "subjectAltName=DNS:localhost,IP:127.0.0.1",
                                             "-addext",
                                             "basicConstraints=critical,CA:FALSE",
                                             NULL});
}

/* ---- The server ----------------------------------------------------------------------------------------- */

static void choose_ports(server *s)
{
    redis_server *shown = &s->shown;
    shown->port = support_free_port();
    shown->tls_port = s->tls ? support_free_port() : 0;
    snprintf(shown->url, sizeof shown->url, "redis://127.0.0.1:%d/0", shown->port);
    snprintf(shown->unix_url, sizeof shown->unix_url, "redis+unix://%s/redis.sock?db=0", shown->directory);
    if (s->tls)
        snprintf(shown->tls_url, sizeof shown->tls_url, "rediss://localhost:%d/0", shown->tls_port);
}

static redis_server *start(const char *const *arguments, bool tls)
{
    server *s = calloc(1, sizeof *s);
    assert_non_null(s);
    char *directory = temporary_directory();
    snprintf(s->shown.directory, sizeof s->shown.directory, "%s", directory);
    free(directory);
    s->tls = tls;
    for (size_t i = 0; arguments && arguments[i]; i++) {
        assert_true(s->count < MOST_ARGUMENTS);
        s->arguments[s->count++] = strdup(arguments[i]);
        if (i > 0 && strcmp(arguments[i - 1], "--requirepass") == 0)
            s->password = s->arguments[i];
    }
    if (tls)
        make_certificates(s->shown.directory);
    for (int tries = 0; tries < 5; tries++) {
        choose_ports(s);
        if (try_start(s))
            return &s->shown;
    }
    print_log(s);
    fail_msg("redis-server does not start (is it installed?)");
    return NULL;
}

redis_server *redis_server_start(const char *const *arguments) { return start(arguments, false); }

redis_server *redis_server_start_tls(void) { return start(NULL, true); }

void redis_server_down(redis_server *shown)
{
    server *s = server_of(shown);
    redisContext *c = connect_to(s);
    freeReplyObject(c && c->err == 0 ? redisCommand(c, "SHUTDOWN SAVE") : NULL);
    redisFree(c);
    child_wait(shown->pid, START_MS);
    shown->pid = 0;
}

void redis_server_up(redis_server *shown)
{
    int64_t deadline = support_now_ms() + START_MS;
    while (!try_start(server_of(shown))) {
        if (support_now_ms() > deadline)
            fail_msg("redis-server does not start again; see %s/redis.log", shown->directory);
        support_nap();
    }
}

void redis_server_restart(redis_server *shown)
{
    redis_server_down(shown);
    redis_server_up(shown);
}

void redis_server_pause(redis_server *shown)
{
    child_kill(shown->pid, SIGSTOP);
    wait_until(child_is_stopped(shown->pid), START_MS);
}

void redis_server_resume(redis_server *shown) { kill(shown->pid, SIGCONT); }

void redis_server_stop(redis_server *shown)
{
    if (!shown)
        return;
    server *s = server_of(shown);
    if (shown->pid > 0) {
        kill(shown->pid, SIGKILL);
        child_wait(shown->pid, START_MS);
    }
    remove_directory(shown->directory);
    for (size_t i = 0; i < s->count; i++)
        free(s->arguments[i]);
    free(s);
}

/* ---- Commands ------------------------------------------------------------------------------------------- */

static bool is_utf8(const unsigned char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t more = text[i] < 0x80                      ? 0
                      : text[i] >= 0xc2 && text[i] < 0xe0 ? 1
                      : text[i] >= 0xe0 && text[i] < 0xf0 ? 2
                      : text[i] >= 0xf0 && text[i] < 0xf5 ? 3
                                                          : size;
        if (more >= size - i)
            return false;
        for (size_t k = 1; k <= more; k++)
            if ((text[i + k] & 0xc0) != 0x80)
                return false;
        i += more + 1;
    }
    return true;
}

static void write_string(FILE *out, const char *prefix, const char *data, size_t size)
{
    const unsigned char *text = (const unsigned char *)data;
    bool raw = is_utf8(text, size);
    fprintf(out, "\"%s", prefix);
    for (size_t i = 0; i < size; i++) {
        if (text[i] < 0x20 || text[i] == '"' || text[i] == '\\' || (text[i] >= 0x80 && !raw))
            fprintf(out, "\\u%04x", text[i]);
        else
            fputc(text[i], out);
    }
    fputc('"', out);
}

static void write_reply(FILE *out, const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        fprintf(out, "%lld", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        fputs("null", out);
        break;
    case REDIS_REPLY_ARRAY:
        fputc('[', out);
        for (size_t i = 0; i < reply->elements; i++) {
            if (i > 0)
                fputc(',', out);
            write_reply(out, reply->element[i]);
        }
        fputc(']', out);
        break;
    default:
        write_string(out, reply->type == REDIS_REPLY_ERROR ? "-" : "", reply->str, reply->len);
    }
}

static lb_value *send_command(const redis_server *shown, va_list list)
{
    enum { MOST = 64 };
    const char *argv[MOST];
    int argc = 0;
    for (const char *argument; (argument = va_arg(list, const char *));) {
        assert_true(argc < MOST);
        argv[argc++] = argument;
    }
    redisContext *c = connect_to(server_of(shown));
    redisReply *reply = c && c->err == 0 ? redisCommandArgv(c, argc, argv, NULL) : NULL;
    if (!reply)
        fail_msg("redis %s: %s", argv[0], c ? c->errstr : "out of memory");
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    write_reply(out, reply);
    fclose(out);
    freeReplyObject(reply);
    redisFree(c);
    lb_value *value = NULL;
    lb_error error = {0};
    assert_ok(lb_value_parse(text, size, &value, &error), &error);
    free(text);
    return value;
}

lb_value *redis_command(const redis_server *server, ...)
{
    va_list list;
    va_start(list, server);
    lb_value *value = send_command(server, list);
    va_end(list);
    return value;
}

int64_t redis_int(const redis_server *server, ...)
{
    va_list list;
    va_start(list, server);
    lb_value *value = send_command(server, list);
    va_end(list);
    if (lb_value_type_of(value) != LB_TYPE_INT)
        fail_msg("redis answered with %s, not a number", lb_value_json(value, NULL));
    int64_t number = lb_value_int(value);
    lb_value_free(value);
    return number;
}
