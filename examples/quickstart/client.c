/* A program that is no worker: it calls an RPC and fires an event. */
#include <lightbus.h>
#include <stdio.h>

int main(void)
{
    lb_error error = {0};
    lb_value *valid = NULL;
    lb_bus *bus = lb_open(NULL, &error); /* NULL: configured by the environment */
    int code = 1;

    if (!bus)
        goto out;
    if (lb_call(bus, "auth.check_password", LB_ARGS(LB("username", "admin"), LB("password", "secret")), &valid,
                &error) != LB_OK)
        goto out;
    puts(lb_value_bool(valid) ? "Password valid!" : "Oops, bad username or password");

    if (lb_fire(bus, "auth.user_registered", LB_ARGS(LB("username", "adam"), LB("email", "adam@example.com")),
                &error) != LB_OK)
        goto out;
    code = 0;
out:
    if (code)
        fprintf(stderr, "%s: %s\n", error.type, error.message);
    lb_value_free(valid);
    lb_close(bus);
    return code;
}
