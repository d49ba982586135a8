/* What `call` and `fire` have in common. Wrong usage is found before the bus is opened; a name or an argument
 * that the bus does not know, before anything is sent. */
#include "outgoing.h"

#include "arguments.h"

static lb_status read_arguments(const invocation *in, outgoing *o, target *t, lb_error *error)
{
    lb_status status = target_split(&o->memory, in->arguments[0], t, error);

    if (status != LB_OK)
        return status;
    o->name = in->arguments[0];
    if (!in->json)
        return arguments_split(&o->memory, in->arguments + 1, in->count - 1, &o->args, error);
    if (in->count > 1)
        return lb_error_set(error, LB_USAGE, "give NAME=VALUE arguments or --json, not both");
    return arguments_from_json(&o->memory, in->json, &o->args, error);
}

static lb_status check_target(const invocation *in, outgoing *o, const target *t, const char *half,
                              lb_error *error)
{
    lb_value *schemas = NULL;
    const lb_value *member = NULL;
    lb_status status = lb_schema_dump(o->bus, &schemas, error);

    if (status == LB_OK)
        status = target_find(schemas, t, half, &member, error);
    if (status == LB_OK && !in->json)
        status = arguments_type(&o->memory, lb_value_get(member, "parameters"), o->args, error);
    lb_value_free(schemas);
    return status;
}

int outgoing_prepare(const invocation *in, const char *half, outgoing *o)
{
    lb_options options = {.flags = LB_OPEN_STRICT_VALIDATION, .log_level = LB_LOG_WARNING};
    lb_error error = {0};
    target t;

    if (in->count == 0)
        return usage_error(in, "expected %s", in->command->arguments);
    if (read_arguments(in, o, &t, &error) != LB_OK)
        return usage_error(in, "%s", error.message);
    if (in->timeout && !flags_seconds(in->timeout, &options.rpc_timeout_ms))
        return usage_error(in, "--timeout: expected seconds above 0, like 2.5, got \"%s\"", in->timeout);
    options.event_fire_timeout_ms = options.rpc_timeout_ms;
    o->bus = cli_open(in, options);
    if (!o->bus)
        return CLI_FAILURE;
    if (check_target(in, o, &t, half, &error) != LB_OK)
        return failure(in, &error);
    return CLI_OK;
}

void outgoing_free(outgoing *o)
{
    lb_close(o->bus);
    arena_free(&o->memory);
}
