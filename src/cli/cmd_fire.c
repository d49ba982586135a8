/* lightbus fire: fires an event. */
#include "outgoing.h"

static int fire(invocation *in)
{
    outgoing o = {0};
    lb_error error = {0};
    int code = outgoing_prepare(in, "events", &o);

    if (code == CLI_OK && lb_fire(o.bus, o.name, o.args, &error) != LB_OK)
        code = failure(in, &error);
    outgoing_free(&o);
    return code;
}

static const flag flags[] = {
    {"json", "OBJECT", "the arguments as one JSON object", offsetof(invocation, json), 0, false},
    {"timeout", "SECONDS", "how long firing may take (5)", offsetof(invocation, timeout), 0, false},
    {0},
};

const command cmd_fire = {
    .name = "fire",
    .summary = "Fires an event.",
    .arguments = "API.EVENT [NAME=VALUE ...]",
    .details = "A value is read by the type that the event declares: a string as it is,\n"
               "anything else is JSON. The event is on the bus when the command ends with 0.\n\n"
               "  lightbus fire auth.user_registered username=adam email=adam@example.com\n"
               "  lightbus fire auth.user_registered --json '{\"username\": \"adam\", ...}'\n",
    .flags = flags,
    .run = fire,
};
