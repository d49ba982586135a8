#include <lightbus.h>
#include <string.h>

static lb_status check_password(lb_request *request, void *data)
{
    const char *username = lb_get_str(request, "username");
    const char *password = lb_get_str(request, "password");

    return lb_return(request, strcmp(username, "admin") == 0 && strcmp(password, "secret") == 0);
}

static const lb_member members[] = {
    LB_RPC("check_password(username: str, password: str) -> bool", check_password),
    LB_EVENT("user_registered(username: str, email: str)"),
    LB_END,
};

static const lb_api auth = {.name = "auth", .members = members};

/* The entry point that `lightbus run` looks for. */
lb_status lb_setup(lb_bus *bus, lb_error *error)
{
    return lb_register(bus, &auth, NULL, error);
}
