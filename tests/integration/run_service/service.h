/* The service that the tests of `lightbus run` serve. The bus.c that includes it defines VERSION, what
 * version() returns, and SETUP, what lb_setup does first; it runs in the test's folder. */
#include <lightbus.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static lb_status who(lb_request *request, void *data)
{
    const lb_bus *bus = lb_request_bus(request);
    char text[200];

    (void)data;
    snprintf(text, sizeof text, "%d %s %s", (int)getpid(), lb_process_name(bus), lb_service_name(bus));
    return lb_return(request, (const char *)text);
}

static lb_status version(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, VERSION);
}

static lb_status leave(lb_request *request, void *data)
{
    (void)request;
    (void)data;
    _exit(3);
}

static void leave_mark(const char *name)
{
    int file = open(name, O_WRONLY | O_CREAT | O_APPEND, 0600);

    if (file < 0 || write(file, "x", 1) != 1)
        abort();
    close(file);
}

/* Runs until there is a file "go". */
static lb_status hold(lb_request *request, void *data)
{
    (void)data;
    leave_mark("holding");
    while (access("go", F_OK) != 0)
        usleep(2000);
    return lb_return(request, true);
}

/* Ends the worker, once, if there is a file "crash". */
static lb_status heard(const lb_event *event, void *data)
{
    (void)event;
    (void)data;
    if (unlink("crash") == 0)
        raise(SIGKILL);
    leave_mark("heard");
    return LB_OK;
}

static const lb_member members[] = {
    LB_RPC("who() -> str", who),    LB_RPC("version() -> int", version), LB_RPC("leave()", leave),
    LB_RPC("hold() -> bool", hold), LB_EVENT("said(text: str)"),         LB_END,
};

static const lb_api api = {.name = "test.run", .members = members};

static lb_status work(lb_bus *bus, void *data)
{
    (void)bus;
    (void)data;
    leave_mark("worked");
    return LB_OK;
}

static void tell_ready(lb_bus *bus, void *data)
{
    (void)bus;
    (void)data;
    leave_mark("ready");
}

lb_status lb_setup(lb_bus *bus, lb_error *error)
{
    lb_status status;

    signal(SIGSEGV, SIG_DFL); /* not a sanitizer's */
    leave_mark("starts");
    SETUP;
    status = lb_on_ready(bus, tell_ready, NULL, error);
    if (status == LB_OK)
        status = lb_every(bus, &(lb_every_options){.seconds = 0.01}, work, NULL, error);
    if (status == LB_OK)
        status = lb_register(bus, &api, NULL, error);
    return status == LB_OK ? lb_listen(bus, "test.run.said", "ear", heard, NULL, NULL, error) : status;
}
