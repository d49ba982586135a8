/* The service that the tests of the command line talk to. */
#include <lightbus.h>

#include <stdio.h>

static lb_status add(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_int(request, "a") + lb_get_int(request, "b"));
}

static lb_status echo(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get(request, "value"));
}

static lb_status shout(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_str(request, "text"));
}

static lb_status find_user(lb_request *request, void *data)
{
    (void)data;
    return lb_fail(request, "UserNotFound", "no user %d", (int)lb_get_int(request, "id"));
}

static lb_status heard(const lb_event *event, void *data)
{
    (void)data;
    printf("heard %s\n", lb_get_str(event, "text"));
    return LB_OK;
}

static const lb_member members[] = {
    LB_RPC("add(a: int, b: int = 1) -> int", add),
    LB_RPC("echo(value)", echo),
    LB_RPC("shout(text: str) -> str", shout),
    LB_RPC("find_user(id: int)", find_user),
    LB_EVENT("said(text: str, loud: bool = false)"),
    LB_EVENT("left(user_id: int)"),
    LB_END,
};

static const lb_api api = {.name = "test.talk", .members = members};

lb_status lb_setup(lb_bus *bus, lb_error *error)
{
    lb_status status = lb_register(bus, &api, NULL, error);

    return status == LB_OK ? lb_listen(bus, "test.talk.said", "ears", heard, NULL, NULL, error) : status;
}
