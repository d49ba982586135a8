/* lightbus call: calls an RPC and prints its result as JSON. */
#include "outgoing.h"

#include <string.h>

/* An error of the procedure itself: its type, its message, and its trace where that is wanted. */
static int remote_failure(const invocation *in, const lb_error *error)
{
    colours c = colours_for(stderr);
    const char *name = in->arguments[0];
    size_t size = strlen(error->trace);

    fprintf(stderr, "%s %s: %s failed: %s", in->program, in->command->name, name, c.red);
    print_safe(stderr, error->type);
    fprintf(stderr, "%s: ", c.off);
    print_safe(stderr, error->message);
    fputc('\n', stderr);
    if (in->trace && size) {
        print_safe(stderr, error->trace);
        fputs(error->trace[size - 1] == '\n' ? "" : "\n", stderr);
    } else if (in->trace) {
        fputs("(it came without a trace)\n", stderr);
    }
    return CLI_FAILURE;
}

static int call(invocation *in)
{
    outgoing o = {0};
    lb_value *result = NULL;
    lb_error error = {0};
    int code = outgoing_prepare(in, "rpcs", &o);

    if (code != CLI_OK)
        goto out;
    if (lb_call(o.bus, o.name, o.args, &result, &error) == LB_OK)
        code = print_result(in, result);
    else
        code = error.status == LB_REMOTE_ERROR ? remote_failure(in, &error) : failure(in, &error);
out:
    lb_value_free(result);
    outgoing_free(&o);
    return code;
}

static const flag flags[] = {
    {"json", "OBJECT", "the arguments as one JSON object", offsetof(invocation, json), 0, false},
    {"timeout", "SECONDS", "how long to wait for the result (5)", offsetof(invocation, timeout), 0, false},
    {"trace", NULL, "with a remote error, show its trace", offsetof(invocation, trace), 0, false},
    {0},
};

const command cmd_call = {
    .name = "call",
    .summary = "Calls an RPC and prints its result as JSON.",
    .arguments = "API.PROCEDURE [NAME=VALUE ...]",
    .details = "A value is read by the type that the procedure declares: a string as it is,\n"
               "anything else is JSON.\n\n"
               "  lightbus call auth.check_password username=admin password=secret\n"
               "  lightbus call image.resize 'size={\"width\": 640}' keep_ratio=true\n"
               "  lightbus call image.resize --json '{\"size\": {\"width\": 640}}'\n",
    .flags = flags,
    .run = call,
};
