#include "actor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "support.h"

#define CALLS_MAX     128
#define LISTENERS_MAX 8
#define MESSAGE_MAX   (1 << 17)

struct actor {
    pid_t pid;
    int socket;
    bool ended;
    int code;
};

/* ---- The child */

typedef struct listener { /* what its handler knows */
    const char *name, *process, *behave;
} listener;

static int parent = -1; /* the child's end of the socket pair */

static void say(buffer *message)
{
    const char *text = buffer_text(message);

    if (!text || send(parent, text, message->size, MSG_NOSIGNAL) < 0)
        _exit(4); /* the test has ended */
    buffer_free(message);
}

static void write_string(buffer *b, const char *text)
{
    if (!buffer_json_string(b, text, strlen(text)))
        buffer_literal(b, "\"(not UTF-8)\"");
}

static void say_log(lb_log_level level, const char *message, void *data)
{
    buffer text = {0};

    (void)data;
    if (level < LB_LOG_INFO)
        return;
    buffer_literal(&text, "{\"log\":");
    write_string(&text, message);
    buffer_char(&text, '}');
    say(&text);
}

static void say_handled(const listener *l, const lb_event *event)
{
    const lb_arg *args = lb_args(event);
    buffer text = {0};

    buffer_literal(&text, "{\"handled\":");
    write_string(&text, l->name);
    buffer_literal(&text, ",\"process\":");
    write_string(&text, l->process);
    buffer_printf(&text, ",\"event\":\"%s.%s\",\"id\":", lb_event_api(event), lb_event_name(event));
    write_string(&text, lb_event_id(event));
    buffer_printf(&text, ",\"native_id\":\"%s\",\"version\":%d,\"kwargs\":{", lb_event_native_id(event),
                  lb_event_version(event));
    for (size_t i = 0; args && args[i].name; i++) {
        if (i)
            buffer_char(&text, ',');
        write_string(&text, args[i].name);
        buffer_char(&text, ':');
        json_write(&text, lb_get(event, args[i].name));
    }
    buffer_literal(&text, "}}");
    say(&text);
}

static lb_status handle(const lb_event *event, void *data)
{
    const listener *l = data;
    double seconds = 0;

    say_handled(l, event);
    if (!l->behave)
        return LB_OK;
    if (strcmp(l->behave, "raise") == 0)
        return LB_FAILED;
    if (strcmp(l->behave, "hang") == 0)
        for (;;)
            pause();
    if (sscanf(l->behave, "sleep:%lf", &seconds) == 1) {
        struct timespec time = {.tv_sec = (time_t)seconds,
                                .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
        while (nanosleep(&time, &time) < 0 && errno == EINTR)
            ;
    }
    return LB_OK;
}

static lb_status listen_as(lb_bus *bus, const lb_value *spec, listener *l, lb_error *error)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(spec, "events"));
    const char *on_error = lb_value_str(lb_value_get(spec, "on_error"));
    lb_listen_options options = {.on_error = LB_ON_ERROR_SHUTDOWN}; /* Python's default */
    buffer events = {0};
    lb_status status;

    l->name = lb_value_str(lb_value_get(spec, "name"));
    l->behave = lb_value_str(lb_value_get(spec, "behave"));
    options.since = lb_value_str(lb_value_get(lb_value_get(spec, "options"), "since"));
    if (on_error && strcmp(on_error, "log") == 0)
        options.on_error = LB_ON_ERROR_ACKNOWLEDGE_AND_LOG;
    while (lb_value_next(&it))
        buffer_printf(&events, "%s%s.%s", it.index ? " " : "", lb_value_str(lb_value_at(it.value, 0)),
                      lb_value_str(lb_value_at(it.value, 1)));
    status = lb_listen(bus, buffer_text(&events), l->name, handle, l, &options, error);
    buffer_free(&events);
    return status;
}

static lb_bus *open_as(const actor_setup *setup, lb_error *error)
{
    lb_options options = {
        .url = setup->url,
        .service_name = setup->service_name,
        .process_name = setup->process_name,
        .rpc_timeout_ms = setup->rpc_timeout_ms,
        .schema_ttl_s = setup->schema_ttl_s,
        .flags = setup->flags,
    };
    lb_bus *bus;

    lb_log_to(say_log, NULL);
    bus = lb_open(&options, error);
    for (size_t i = 0; bus && setup->apis[i]; i++)
        if (lb_register(bus, setup->apis[i], NULL, error) != LB_OK) {
            lb_close(bus);
            return NULL;
        }
    return bus;
}

static int play_worker(const actor_setup *setup)
{
    listener listeners[LISTENERS_MAX] = {0};
    lb_value_iterator it = lb_value_iterate(setup->listeners);
    lb_status status = LB_FAILED;
    lb_error error = {0};
    char process[256];
    lb_bus *bus = open_as(setup, &error);

    snprintf(process, sizeof(process), "%s/%s", setup->service_name, setup->process_name);
    while (bus && lb_value_next(&it) && it.index < LISTENERS_MAX) {
        listeners[it.index].process = process;
        if (listen_as(bus, it.value, &listeners[it.index], &error) != LB_OK)
            goto out;
    }
    if (bus)
        status = lb_run(bus, LB_RUN_SIGNALS, &error);
out:
    if (status != LB_OK)
        lb_log(LB_LOG_ERROR, "the worker ends: %s: %s", lb_status_name(status), error.message);
    lb_close(bus);
    return status == LB_OK ? 0 : 1;
}

static lb_arg *make_args(const lb_value *kwargs)
{
    lb_value_iterator it = lb_value_iterate(kwargs);
    lb_arg *args = calloc(lb_value_count(kwargs) + 1, sizeof(lb_arg));

    while (lb_value_next(&it))
        args[it.index] = LB(it.name, it.value);
    return args;
}

static void say_outcome(lb_status status, const lb_value *value, const lb_error *error)
{
    buffer text = {0};

    buffer_printf(&text, "{\"status\":\"%s\",\"message\":", lb_status_name(status));
    write_string(&text, status == LB_OK ? "" : error->message);
    buffer_literal(&text, ",\"type\":");
    write_string(&text, status == LB_OK ? "" : error->type);
    buffer_literal(&text, ",\"value\":");
    json_write(&text, value);
    buffer_char(&text, '}');
    say(&text);
}

/* A call that is refused at once has its outcome kept for "end". */
typedef struct begun {
    lb_pending *pending;
    lb_error error;
} begun;

static void begin(lb_bus *bus, const lb_value *order, begun *call)
{
    lb_call_options options = {.timeout_ms = (int)lb_value_int(lb_value_get(order, "timeout_ms"))};
    lb_arg *args = make_args(lb_value_get(order, "kwargs"));
    lb_error error = {0};

    call->pending =
        lb_call_begin(bus, lb_value_str(lb_value_get(order, "begin")), args, &options, &call->error);
    if (call->pending)
        lb_flush(bus, &error);
    free(args);
}

static void end(begun *call)
{
    lb_value *value = NULL;
    lb_status status = call->pending ? lb_call_end(call->pending, &value, &call->error) : call->error.status;

    say_outcome(status, value, &call->error);
    lb_value_free(value);
}

static void fire(lb_bus *bus, const lb_value *order)
{
    lb_arg *args = make_args(lb_value_get(order, "kwargs"));
    lb_error error = {0};
    lb_status status = lb_fire(bus, lb_value_str(lb_value_get(order, "fire")), args, &error);

    say_outcome(status, NULL, &error);
    free(args);
}

static int play_client(const actor_setup *setup)
{
    static char message[MESSAGE_MAX];
    begun calls[CALLS_MAX] = {0};
    size_t begun_count = 0;
    lb_error error = {0};
    lb_bus *bus = open_as(setup, &error);
    ssize_t size;

    if (!bus) {
        say_outcome(error.status, NULL, &error);
        return 1;
    }
    while ((size = recv(parent, message, sizeof(message), 0)) > 0) {
        lb_value *order = NULL;
        if (lb_value_parse(message, (size_t)size, &order, &error) != LB_OK)
            return 2;
        if (lb_value_get(order, "begin") && begun_count < CALLS_MAX)
            begin(bus, order, &calls[begun_count++]);
        else if (lb_value_get(order, "end"))
            end(&calls[lb_value_int(lb_value_get(order, "end"))]);
        else
            fire(bus, order);
        lb_value_free(order);
    }
    lb_close(bus);
    return 0;
}

/* ---- The test's side */

static actor *start(int (*play)(const actor_setup *), const actor_setup *setup)
{
    actor *a = calloc(1, sizeof(*a));
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        fail_msg("socketpair: %s", strerror(errno));
    fflush(NULL);
    a->pid = fork();
    if (a->pid < 0)
        fail_msg("fork: %s", strerror(errno));
    if (a->pid == 0) {
        free(a);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        parent = pair[1];
        exit(play(setup));
    }
    close(pair[1]);
    a->socket = pair[0];
    return a;
}

actor *actor_start_worker(const actor_setup *setup) { return start(play_worker, setup); }
actor *actor_start_client(const actor_setup *setup) { return start(play_client, setup); }

void actor_tell(actor *a, const char *message)
{
    if (send(a->socket, message, strlen(message), MSG_NOSIGNAL) < 0)
        fail_msg("the actor has ended, and cannot be told %s", message);
}

lb_value *actor_hear(actor *a, int timeout_ms)
{
    static char message[MESSAGE_MAX];
    struct pollfd fd = {.fd = a->socket, .events = POLLIN};
    lb_value *value = NULL;
    lb_error error = {0};
    ssize_t size;

    if (poll(&fd, 1, timeout_ms) <= 0)
        return NULL;
    size = recv(a->socket, message, sizeof(message), 0);
    if (size <= 0)
        return NULL;
    if (lb_value_parse(message, (size_t)size, &value, &error) != LB_OK)
        fail_msg("an actor said %.*s: %s", (int)size, message, error.message);
    return value;
}

bool actor_runs(actor *a)
{
    int status;

    if (!a->ended && waitpid(a->pid, &status, WNOHANG) == a->pid) {
        a->ended = true;
        a->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return !a->ended;
}

void actor_signal(actor *a, int signal)
{
    if (actor_runs(a))
        kill(a->pid, signal);
}

void actor_dismiss(actor *a) { shutdown(a->socket, SHUT_WR); }

int actor_end(actor *a, int timeout_ms)
{
    int64_t deadline = support_now_ms() + timeout_ms;

    while (actor_runs(a) && support_now_ms() < deadline)
        support_nap();
    if (!a->ended) {
        kill(a->pid, SIGKILL);
        waitpid(a->pid, NULL, 0);
        a->ended = true;
        a->code = -1;
    }
    return a->code;
}

void actor_free(actor *a)
{
    if (!a)
        return;
    actor_end(a, 0);
    close(a->socket);
    free(a);
}
