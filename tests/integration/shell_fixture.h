/* What the tests of `lightbus shell` share: a service on a bus of either kind, and the shell on it. */
#ifndef SHELL_FIXTURE_H
#define SHELL_FIXTURE_H

#include <stdio.h>

#include "worker.h"

typedef enum bus_kind { LOCAL_BUS, REDIS_BUS } bus_kind;

typedef struct shell_fixture {
    redis_server *redis; /* NULL: a local bus */
    char *folder;        /* of the shell: its working directory, and its history */
    char url[160], url_setting[180], state_setting[160];
    pid_t worker;
    int *calls_hang; /* shared: while it is not 0, hang() does not answer */
    int *hanging;    /* shared: so many calls of it are being handled */
} shell_fixture;

static lb_status shell_check_password(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, strcmp(lb_get_str(request, "username"), "admin") == 0 &&
                                  strcmp(lb_get_str(request, "password"), "secret") == 0);
}

static lb_status shell_find_user(lb_request *request, void *data)
{
    (void)data;
    if (lb_get_int(request, "id") != 7)
        return lb_fail(request, "UserNotFound", "no user %d", (int)lb_get_int(request, "id"));
    return lb_return(request, LB_JSON("{\"id\":7,\"name\":\"\xc3\x84nne\",\"tags\":[\"new\",\"vip\"]}"));
}

static lb_status shell_echo(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get(request, "value"));
}

static lb_status shell_hang(lb_request *request, void *data)
{
    const shell_fixture *f = data;
    shared_add(f->hanging, 1);
    while (shared_get(f->calls_hang))
        sleep_ms(5);
    shared_add(f->hanging, -1);
    return lb_return(request, LB_NULL);
}

static lb_status shell_set_up(lb_bus *bus, void *data, lb_error *error)
{
    static const lb_member members[] = {
        LB_RPC("check_password(username: str, password: str) -> bool", shell_check_password),
        LB_RPC("find_user(id: int)", shell_find_user),
        LB_RPC("echo(value, level: enum(\"low\", \"high\") = \"low\", loud: bool = false)", shell_echo),
        LB_RPC("hang()", shell_hang),
        LB_EVENT("user_registered(username: str, email: str)"),
        LB_END,
    };
    static const lb_api auth = {.name = "auth", .members = members};
    static const lb_member others[] = {LB_RPC("place(count: int = 1)", shell_echo), LB_END};
    static const lb_api orders = {.name = "shop.orders", .members = others};
    lb_status status = lb_register(bus, &auth, data, error);
    return status == LB_OK ? lb_register(bus, &orders, data, error) : status;
}

static inline void shell_serve(shell_fixture *f)
{
    const worker w = {.url = f->url, .setup = shell_set_up, .data = f};
    f->worker = worker_start(&w);
}

static inline shell_fixture *shell_fixture_open(bus_kind kind)
{
    shell_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->calls_hang = shared_memory(sizeof *f->calls_hang);
    f->hanging = shared_memory(sizeof *f->hanging);
    f->folder = temporary_directory();
    if (kind == REDIS_BUS) {
        f->redis = redis_server_start(NULL);
        snprintf(f->url, sizeof f->url, "%s", f->redis->url);
    } else {
        snprintf(f->url, sizeof f->url, "local://%s/bus", f->folder);
    }
    snprintf(f->url_setting, sizeof f->url_setting, "LIGHTBUS_URL=%s", f->url);
    snprintf(f->state_setting, sizeof f->state_setting, "XDG_STATE_HOME=%s/state", f->folder);
    shell_serve(f);
    return f;
}

static inline void shell_fixture_close(shell_fixture *f)
{
    shared_set(f->calls_hang, 0);
    worker_stop(f->worker);
    redis_server_stop(f->redis);
    free(f->folder);
    free(f);
}

static inline int local_setup(void **state)
{
    *state = shell_fixture_open(LOCAL_BUS);
    return 0;
}

static inline int redis_setup(void **state)
{
    *state = shell_fixture_open(REDIS_BUS);
    return 0;
}

static inline int close_fixture(void **state)
{
    shell_fixture_close(*state);
    return 0;
}

#endif
