/* lightbus run: loads the bus module, or takes the program's own lb_setup, and serves until a signal; alone, or
 * as one of a supervisor's workers. */
#include "arguments.h"
#include "banner.h"
#include "cli.h"
#include "features.h"
#include "module.h"
#include "supervisor.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_PROCESSES = 1000 };

int setup_failure(const invocation *in, lb_error *error, lb_status status, const char *what)
{
    if (!error->message[0])
        lb_error_set(error, status, "%s: %s", what, lb_status_text(status));
    return failure(in, error);
}

static int say_stopped(void)
{
    fprintf(stderr, "%sLightbus has stopped.\n", isatty(STDERR_FILENO) ? "\n" : ""); /* below a ^C */
    return CLI_OK;
}

/* ---- A dry run -------------------------------------------------------------------------------------- */

/* What a listener waits for may be unknown here and yet be on the bus: worth a word, no failure. */
static void note_unknown(const lb_value *schemas, const char *listener, const char *name)
{
    arena memory = {0};
    lb_error error = {0};
    lb_status status = target_find_events(&memory, schemas, name, &error);

    if (status == LB_UNKNOWN_API)
        fprintf(stderr, "Note: listener %s: %s is of an API that is neither served here nor in --schema.\n",
                listener, name);
    else if (status != LB_OK)
        fprintf(stderr, "Note: listener %s: %s\n", listener, error.message);
    arena_free(&memory);
}

static int dry_run(const invocation *in, lb_bus *bus, unsigned left_out)
{
    lb_value *schemas = NULL, *about;
    lb_error error = {0};
    lb_status status = lb_run(bus, LB_RUN_DRY | left_out, &error);
    lb_value_iterator listener, event;

    if (status == LB_OK)
        status = lb_schema_dump_local(bus, &schemas, &error);
    if (status != LB_OK)
        return setup_failure(in, &error, status, "the worker could not run");
    about = lb_describe(bus);
    listener = lb_value_iterate(lb_value_get(about, "listeners"));
    while (lb_value_next(&listener)) {
        event = lb_value_iterate(lb_value_get(listener.value, "events"));
        while (lb_value_next(&event))
            note_unknown(schemas, lb_value_str(lb_value_get(listener.value, "name")),
                         lb_value_str(event.value));
    }
    lb_value_free(about);
    lb_value_free(schemas);
    fprintf(stderr, "Dry run: all is well, and nothing was started.\n");
    return CLI_OK;
}

/* ---- A worker --------------------------------------------------------------------------------------- */

static void tell_ready(lb_bus *bus, void *data)
{
    (void)bus;
    role_tell_ready(data);
}

static int serve(const invocation *in, lb_bus *bus, unsigned left_out, role *r)
{
    lb_error error = {0};
    lb_status status = r->number ? lb_on_ready(bus, tell_ready, r, &error) : LB_OK;

    if (status == LB_OK)
        status = lb_run(bus, LB_RUN_SIGNALS | left_out, &error);
    if (status != LB_OK)
        return setup_failure(in, &error, status, "the worker ended");
    return r->number ? CLI_OK : say_stopped(); /* the supervisor says it for all */
}

/* The module that the supervisor has built, as long as the cache keeps it; else what is found now. */
static lb_status load(const invocation *in, arena *memory, role *r, lb_setup_fn *setup, lb_error *error)
{
    lb_status status = r->module ? LB_OK : module_find(memory, in->bus, &r->module, error);

    if (status != LB_OK)
        return status;
    if (r->object && access(r->object, R_OK) == 0)
        return module_open(r->object, r->module, setup, error);
    return module_load(memory, r->module, setup, error);
}

static int work(const invocation *in, arena *memory, unsigned left_out, const char *plugins, role *r)
{
    lb_setup_fn setup = in->setup;
    lb_bus *bus = NULL;
    lb_error error = {0};
    lb_status status = setup ? LB_OK : load(in, memory, r, &setup, &error);
    int code = CLI_FAILURE;

    if (status != LB_OK) {
        failure(in, &error);
        goto out;
    }
    bus = cli_open(in, (lb_options){.plugins = plugins});
    if (!bus)
        goto out;
    status = setup(bus, &error);
    if (status != LB_OK) {
        setup_failure(in, &error, status, "lb_setup failed");
        goto out;
    }
    if (in->schema && lb_schema_load(bus, in->schema, &error) != LB_OK) {
        failure(in, &error);
        goto out;
    }
    if (!r->silent)
        banner_print(stderr, &(banner){.bus = bus,
                                       .module = r->module,
                                       .left_out = left_out,
                                       .pid = r->number ? getppid() : getpid(),
                                       .workers = r->count,
                                       .service_is_random = r->service_is_random});
    code = in->dry_run ? dry_run(in, bus, left_out) : serve(in, bus, left_out, r);
out:
    lb_close(bus);
    return code;
}

/* ---- The command ------------------------------------------------------------------------------------ */

static int read_processes(const invocation *in, int *count)
{
    uint64_t number = 1;

    if (in->processes && (!flags_count(in->processes, &number) || number > MOST_PROCESSES))
        return usage_error(in, "--processes: expected a number from 1 to %d, got \"%s\"", MOST_PROCESSES,
                           in->processes);
    *count = (int)number;
    if ((in->processes || in->reload) && in->schema && strcmp(in->schema, "-") == 0)
        return usage_error(in, "--schema -: each worker reads the schemas, expected a file or a folder");
    return CLI_OK;
}

static int run(invocation *in)
{
    role r = {.ready = -1};
    arena memory = {0};
    unsigned left_out = 0;
    int count = 1, code;
    char ping[PING_SIZE];
    const char *plugins;
    bool supervised = (in->processes || in->reload) && !in->dry_run;

    if (in->count)
        return usage_error(in, "unexpected argument \"%s\"%s", in->arguments[0],
                           in->setup ? "" : "; a bus module is named with --bus");
    if ((code = features_read(in, &left_out)) != CLI_OK || (code = read_processes(in, &count)) != CLI_OK ||
        (code = ping_options(in, ping, &plugins)) != CLI_OK)
        return code;
    setvbuf(stdout, NULL, _IOLBF, 0); /* what handlers print is seen at once, in a pipe too */
    if (supervised)
        code = supervise(in, count, in->reload != NULL, &memory, &r);
    if (code == CLI_OK)
        code = supervised && !r.number ? say_stopped() : work(in, &memory, left_out, plugins, &r);
    arena_free(&memory);
    return code;
}

static const flag flags[] = {
    {"bus", "PATH", "bus.c, bus.so, or their folder (LIGHTBUS_MODULE)", offsetof(invocation, bus), 'b', true},
    {"schema", "PATH", "load schemas: a file, a folder, or - (stdin)", offsetof(invocation, schema), 'm',
     false},
    {"only", "rpcs|events|tasks[,...]", "these features alone (LIGHTBUS_FEATURES)", offsetof(invocation, only),
     'o', false},
    {"skip", "rpcs|events|tasks[,...]", "all features but these", offsetof(invocation, skip), 'k', false},
    {"processes", "N", "N workers; one that ends is replaced", offsetof(invocation, processes), 0, false},
    {"reload", NULL, "start anew when the bus module's files change", offsetof(invocation, reload), 0, true},
    {"dry-run", NULL, "show what would be served, check it, and end", offsetof(invocation, dry_run), 0, false},
    {"ping-interval", "SECONDS", "tell internal.state that it lives, this often",
     offsetof(invocation, ping_interval), 0, false},
    {"no-ping", NULL, "do not tell it regularly", offsetof(invocation, no_ping), 0, false},
    {0},
};

static const term environment[] = {
    {"LIGHTBUS_MODULE", "the bus module, where --bus is not given", true},
    {"LIGHTBUS_FEATURES", "the features, where neither --only nor --skip is given", false},
    {"CC, CFLAGS", "the compiler of a bus.c, and flags for it; cc and none if they are not set", true},
    {"XDG_CACHE_HOME", "the folder in which lightbus/ with the compiled modules is kept; else ~/.cache", true},
    {0},
};
static const term files[] = {
    {"bus.c, bus.so", "the bus module, in the working directory", true},
    {"~/.cache/lightbus/", "compiled bus modules; it may be emptied at any time", true},
    {0},
};

const command cmd_run = {
    .name = "run",
    .summary = "Serves APIs and listens to events until SIGINT or SIGTERM.",
    .arguments = "",
    .details = "With --processes or --reload, SIGHUP starts the workers anew, one after the\n"
               "other; on a terminal it ends them.\n",
    .module_details = "Without --bus: LIGHTBUS_MODULE, else bus.c or bus.so in the working directory.\n"
                      "A bus.c is compiled with cc, or $CC, and $CFLAGS; the result is kept in\n"
                      "~/.cache/lightbus.\n",
    .environment = environment,
    .files = files,
    .flags = flags,
    .run = run,
};
