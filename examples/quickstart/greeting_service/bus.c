#include <lightbus.h>
#include <stdio.h>

/* Returning LB_OK acknowledges the event. LB_RETRY: again, later. LB_REJECT: to the dead letters. */
static lb_status greet(const lb_event *event, void *data)
{
    printf("A new user: %s <%s>\n", lb_get_str(event, "username"), lb_get_str(event, "email"));
    return LB_OK;
}

lb_status lb_setup(lb_bus *bus, lb_error *error)
{
    return lb_listen(bus, "auth.user_registered", "print_on_new_registration", greet, NULL, NULL, error);
}
