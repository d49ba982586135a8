/* See rivals.h. ZeroMQ carries 208 bytes there and 120 back, as the floor does, and looks at none of them.
 * D-Bus carries what our own call does, an integer there and a text back, and checks their types. */
#include "rivals.h"
#include "bench.h"

#include <dbus/dbus.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

/* A worker says that it is ready with a byte. */
static pid_t fork_ready(void (*serve)(const char *address, int ready), const char *address)
{
    int ends[2];
    char byte;
    if (pipe(ends) != 0)
        die("pipe");
    pid_t pid = worker_fork();
    if (pid == 0) {
        close(ends[0]);
        serve(address, ends[1]);
        _exit(1);
    }
    close(ends[1]);
    if (read(ends[0], &byte, 1) != 1)
        die("what serves %s has ended: is dbus-daemon installed?", address);
    close(ends[0]);
    return pid;
}

static void say_ready(int ready)
{
    if (write(ready, "", 1) != 1)
        _exit(1);
}

/* ---- ZeroMQ ----------------------------------------------------------------------------------------- */

enum { CALL_BYTES = 208, ANSWER_BYTES = 120 };
static const char filler[CALL_BYTES];

static void zeromq_serve(const char *address, int ready)
{
    char call[512];
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_REP);
    if (!socket || zmq_bind(socket, address) != 0)
        die("%s: %s", address, zmq_strerror(zmq_errno()));
    say_ready(ready);
    while (zmq_recv(socket, call, sizeof call, 0) == CALL_BYTES &&
           zmq_send(socket, filler, ANSWER_BYTES, 0) == ANSWER_BYTES)
        ;
}

/* As a REQ socket writes it: an empty part in front. */
static void zeromq_ask(void *socket)
{
    if (zmq_send(socket, "", 0, ZMQ_SNDMORE) != 0 || zmq_send(socket, filler, CALL_BYTES, 0) != CALL_BYTES)
        die("zmq_send: %s", zmq_strerror(zmq_errno()));
}

static void zeromq_take_answer(void *socket)
{
    char answer[512];
    if (zmq_recv(socket, answer, sizeof answer, 0) != 0 ||
        zmq_recv(socket, answer, sizeof answer, 0) != ANSWER_BYTES)
        die("zmq_recv: %s", zmq_strerror(zmq_errno()));
}

double rival_zeromq(const char *folder, int in_flight, double seconds)
{
    char address[128];
    snprintf(address, sizeof address, "ipc://%s/socket", folder);
    pid_t worker = fork_ready(zeromq_serve, address);
    void *context = zmq_ctx_new(), *socket = context ? zmq_socket(context, ZMQ_DEALER) : NULL;
    if (!socket || zmq_connect(socket, address) != 0)
        die("%s: %s", address, zmq_strerror(zmq_errno()));
    for (int i = 1; i < in_flight; i++)
        zeromq_ask(socket);
    int64_t done = 0, start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    for (; now_ns() < end; done++) {
        zeromq_ask(socket);
        zeromq_take_answer(socket);
    }
    double rate = (double)done * 1e9 / (double)(now_ns() - start);
    for (int i = 1; i < in_flight; i++)
        zeromq_take_answer(socket);
    zmq_close(socket);
    zmq_ctx_term(context);
    worker_stop(worker, SIGKILL);
    return rate;
}

/* ---- D-Bus ------------------------------------------------------------------------------------------ */

#define BUS_NAME  "org.lightbus.Bench"
#define BUS_PATH  "/org/lightbus/Bench"
#define INTERFACE "org.lightbus.Bench"

static void check(dbus_bool_t done, const DBusError *error, const char *what)
{
    if (!done)
        die("%s: %s", what, error && dbus_error_is_set(error) ? error->message : "failed");
}

static void write_config(const char *path, const char *folder)
{
    FILE *file = fopen(path, "w");
    if (!file)
        die("%s", path);
    fprintf(file,
            "<busconfig><type>session</type><listen>unix:path=%s/socket</listen><auth>EXTERNAL</auth>"
            "<policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow "
            "own=\"*\"/></policy></busconfig>",
            folder);
    if (fclose(file) != 0)
        die("%s", path);
}

static void daemon_serve(const char *config, int ready)
{
    char option[160], print[48];
    snprintf(option, sizeof option, "--config-file=%s", config);
    snprintf(print, sizeof print, "--print-address=%d", ready);
    int quiet = open("/dev/null", O_WRONLY); /* it complains of limits that it does not need */
    dup2(quiet, STDERR_FILENO);
    execlp("dbus-daemon", "dbus-daemon", option, print, "--nofork", "--nopidfile", "--nosyslog", (char *)NULL);
    _exit(1);
}

static DBusConnection *dbus_connect(const char *address)
{
    DBusError error = DBUS_ERROR_INIT;
    DBusConnection *c = dbus_connection_open_private(address, &error);
    check(c != NULL, &error, address);
    check(dbus_bus_register(c, &error), &error, "Hello");
    return c;
}

static void dbus_answer(DBusConnection *c, DBusMessage *call)
{
    DBusError error = DBUS_ERROR_INIT;
    const char *text = "hello world";
    dbus_int64_t n = 0;
    check(dbus_message_get_args(call, &error, DBUS_TYPE_INT64, &n, DBUS_TYPE_INVALID) && n > 0, &error, "Echo");
    DBusMessage *answer = dbus_message_new_method_return(call);
    check(answer && dbus_message_append_args(answer, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID) &&
              dbus_connection_send(c, answer, NULL),
          NULL, "Echo");
    dbus_message_unref(answer);
}

static void dbus_serve(const char *address, int ready)
{
    DBusError error = DBUS_ERROR_INIT;
    DBusConnection *c = dbus_connect(address);
    int owner = dbus_bus_request_name(c, BUS_NAME, DBUS_NAME_FLAG_DO_NOT_QUEUE, &error);
    check(owner == DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER, &error, BUS_NAME);
    say_ready(ready);
    while (dbus_connection_read_write(c, -1))
        for (DBusMessage *m; (m = dbus_connection_pop_message(c)); dbus_message_unref(m))
            if (dbus_message_is_method_call(m, INTERFACE, "Echo"))
                dbus_answer(c, m);
}

static void dbus_ask(DBusConnection *c)
{
    DBusError error = DBUS_ERROR_INIT;
    dbus_int64_t n = 12345;
    const char *text = NULL;
    DBusMessage *call = dbus_message_new_method_call(BUS_NAME, BUS_PATH, INTERFACE, "Echo");
    check(call && dbus_message_append_args(call, DBUS_TYPE_INT64, &n, DBUS_TYPE_INVALID), NULL, "Echo");
    DBusMessage *answer = dbus_connection_send_with_reply_and_block(c, call, 5000, &error);
    check(answer && dbus_message_get_args(answer, &error, DBUS_TYPE_STRING, &text, DBUS_TYPE_INVALID), &error,
          "Echo");
    if (strcmp(text, "hello world") != 0)
        die("Echo answered something else");
    dbus_message_unref(answer);
    dbus_message_unref(call);
}

double rival_dbus(const char *folder, double seconds)
{
    char config[128], address[128];
    snprintf(config, sizeof config, "%s/config", folder);
    snprintf(address, sizeof address, "unix:path=%s/socket", folder);
    write_config(config, folder);
    pid_t daemon = fork_ready(daemon_serve, config), worker = fork_ready(dbus_serve, address);
    DBusConnection *c = dbus_connect(address);
    int64_t done = 0, start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    for (; now_ns() < end; done++)
        dbus_ask(c);
    double rate = (double)done * 1e9 / (double)(now_ns() - start);
    dbus_connection_close(c);
    dbus_connection_unref(c);
    worker_stop(worker, SIGKILL);
    worker_stop(daemon, SIGKILL);
    return rate;
}
