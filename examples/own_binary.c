/* A service that is a binary of its own instead of a bus module: lb_main gives it the command line of
 * `lightbus`.
 *     ./own_binary run
 *     ./own_binary call clock.now format=%H:%M */
#include <lightbus.h>
#include <time.h>

static lb_status now(lb_request *request, void *data)
{
    char text[128];
    time_t seconds = time(NULL);
    struct tm utc;

    if (!gmtime_r(&seconds, &utc) || !strftime(text, sizeof text, lb_get_str(request, "format"), &utc))
        return lb_fail(request, "BadFormat", "cannot format the time as \"%s\"", lb_get_str(request, "format"));
    return lb_return(request, text);
}

static const lb_member members[] = {
    LB_RPC_DOC("now(format: str = \"%H:%M:%S\") -> str", now, "The time in UTC, formatted as by strftime."),
    LB_END,
};

static const lb_api clock_api = {.name = "clock", .members = members};

lb_status lb_setup(lb_bus *bus, lb_error *error)
{
    return lb_register(bus, &clock_api, NULL, error);
}

int main(int argc, char **argv)
{
    return lb_main(argc, argv, lb_setup);
}
