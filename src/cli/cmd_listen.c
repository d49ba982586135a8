/* lightbus listen: prints events as they come, through a group of its own that vanishes with it, so that no
 * service misses one. Handlers of one listener run on one thread, so what they share needs no lock. */
#include "arguments.h"
#include "cli.h"
#include "event_print.h"

#include "../base/clock.h"
#include "../base/json.h"

#include <lightbus/task.h>

#include <string.h>
#include <unistd.h>

typedef struct printing {
    const invocation *in;
    colours colours;
    bool for_people;
    uint64_t left;   /* events still to print; UINT64_MAX: no end */
    int write_error; /* errno of a write that failed */
} printing;

static lb_status print_event(const lb_event *event, void *data)
{
    printing *p = data;

    if (p->left == 0 || p->write_error)
        return LB_OK;
    if (p->for_people)
        event_print_for_people(event, &p->colours);
    else if (!event_print_line(event))
        return LB_RETRY; /* memory is short */
    p->write_error = output_flush();
    if (p->left != UINT64_MAX)
        p->left--;
    if (p->left == 0 || p->write_error)
        lb_stop_request(lb_event_bus(event));
    return LB_OK;
}

/* What is printed next would find nobody: it may be long in coming. */
static lb_status stop_without_reader(lb_bus *bus, void *data, lb_error *error)
{
    (void)data;
    (void)error;
    if (!output_has_reader())
        lb_stop_request(bus);
    return LB_OK;
}

/* Names that the bus does not know at present are worth a word; they may come later. */
static lb_status note_unknown(const invocation *in, lb_bus *bus, lb_error *error)
{
    lb_value *schemas = NULL;
    arena memory = {0};
    lb_status status = lb_schema_dump(bus, &schemas, error);

    for (size_t i = 0; status == LB_OK && i < in->count; i++) {
        lb_error why = {0};
        if (strpbrk(in->arguments[i], ", ") || /* several in one word */
            target_find_events(&memory, schemas, in->arguments[i], &why) == LB_OK)
            continue;
        fprintf(stderr, "%s %s: at present ", in->program, in->command->name);
        print_safe(stderr, why.message);
        fputc('\n', stderr);
    }
    arena_free(&memory);
    lb_value_free(schemas);
    return status;
}

static int listen_and_print(const invocation *in, lb_bus *bus, printing *p)
{
    lb_listen_options options = {
        .on_error = LB_ON_ERROR_ACKNOWLEDGE_AND_LOG, .since = in->since, .flags = LB_LISTEN_TEMPORARY};
    const lb_every_options look = {.seconds = 0.2, .name = "the reader of the output"};
    char listener_name[64];
    buffer events = {0};
    lb_error error = {0};
    lb_status status;

    for (size_t i = 0; i < in->count; i++)
        buffer_printf(&events, "%s%s", i ? " " : "", in->arguments[i]);
    snprintf(listener_name, sizeof listener_name, "listen-%016llx", (unsigned long long)random_u64());
    if (!buffer_text(&events))
        status = lb_error_set(&error, LB_NO_MEMORY, "out of memory");
    else
        status = lb_listen(bus, events.data, listener_name, print_event, p, &options, &error);
    buffer_free(&events);
    if (status == LB_INVALID_NAME)
        return usage_error(in, "%s", error.message);
    if (status == LB_OK)
        status = lb_every(bus, &look, stop_without_reader, NULL, &error);
    if (status == LB_OK)
        status = note_unknown(in, bus, &error);
    if (status == LB_OK && isatty(STDERR_FILENO))
        fprintf(stderr, "Listening. Ctrl-C ends it.\n");
    if (status == LB_OK)
        status = lb_run(bus, LB_RUN_SIGNALS, &error);
    if (status == LB_CONFIG && strncmp(error.message, "since:", 6) == 0)
        return usage_error(in, "--%s", error.message);
    if (status == LB_OK)
        status = output_status(p->write_error, &error);
    return status == LB_OK ? CLI_OK : failure(in, &error);
}

static int listen_command(invocation *in)
{
    /* it looks on: it is no worker of which others should hear, whatever the configuration says */
    static const char silent[] =
        "{\"internal_state\": {\"enabled\": false}, \"internal_metrics\": {\"enabled\": false}}";
    printing p = {
        .in = in, .colours = colours_for(stdout), .for_people = isatty(STDOUT_FILENO), .left = UINT64_MAX};
    lb_bus *bus;
    int code;

    if (in->count == 0)
        return usage_error(in, "expected %s", in->command->arguments);
    if (in->events_count && !flags_count(in->events_count, &p.left))
        return usage_error(in, "--count: expected a whole number above 0, got \"%s\"", in->events_count);
    bus =
        cli_open(in, (lb_options){.service_name = "lightbus", .log_level = LB_LOG_WARNING, .plugins = silent});
    if (!bus)
        return CLI_FAILURE;
    code = listen_and_print(in, bus, &p);
    lb_close(bus);
    return code;
}

static const flag flags[] = {
    {"count", "N", "end after N events", offsetof(invocation, events_count), 0, false},
    {"since", "WHEN", "$ (now), 0 (the beginning), an id, an ISO 8601 time", offsetof(invocation, since), 0,
     false},
    {0},
};

const command cmd_listen = {
    .name = "listen",
    .summary = "Prints events as they come, one JSON object per line.",
    .arguments = "API.EVENT ...",
    .details = "API.* is all events of an API. The services that listen miss nothing: this is a\n"
               "listener of its own, and it vanishes when the command ends.\n\n"
               "  lightbus listen 'auth.*'\n"
               "  lightbus listen auth.user_registered --since 0 --count 10 | jq .arguments\n",
    .flags = flags,
    .run = listen_command,
};
