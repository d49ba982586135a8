/* lightbus run: loads the bus module, or takes the program's own lb_setup, and serves until a signal. */
#include "banner.h"
#include "cli.h"
#include "module.h"

#include <unistd.h>

int setup_failure(const invocation *in, lb_error *error, lb_status status, const char *what)
{
    if (!error->message[0])
        lb_error_set(error, status, "%s: %s", what, lb_status_text(status));
    return failure(in, error);
}

static int serve(const invocation *in, lb_bus *bus)
{
    lb_error error = {0};
    lb_status status = lb_run(bus, LB_RUN_SIGNALS, &error);

    if (status != LB_OK)
        return setup_failure(in, &error, status, "the worker ended");
    fprintf(stderr, "%sLightbus has stopped.\n", isatty(STDERR_FILENO) ? "\n" : ""); /* below a ^C */
    return CLI_OK;
}

static int run(invocation *in)
{
    lb_setup_fn setup = in->setup;
    const char *module = NULL;
    lb_bus *bus = NULL;
    arena memory = {0};
    lb_error error = {0};
    lb_status status;
    int code = CLI_FAILURE;

    if (in->count)
        return usage_error(in, "unexpected argument \"%s\"%s", in->arguments[0],
                           in->setup ? "" : "; a bus module is named with --bus");
    setvbuf(stdout, NULL, _IOLBF, 0); /* what handlers print is seen at once, in a pipe too */
    if (!setup && (module_find(&memory, in->bus, &module, &error) != LB_OK ||
                   module_load(&memory, module, &setup, &error) != LB_OK)) {
        failure(in, &error);
        goto out;
    }
    bus = cli_open(in, (lb_options){0});
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
    banner_print(stderr, bus, module);
    code = serve(in, bus);
out:
    lb_close(bus);
    arena_free(&memory);
    return code;
}

static const flag flags[] = {
    {"bus", "PATH", "bus.c, bus.so, or their folder (LIGHTBUS_MODULE)", offsetof(invocation, bus), 'b', true},
    {"schema", "PATH", "load schemas: a file, a folder, or - (stdin)", offsetof(invocation, schema), 'm',
     false},
    {0},
};

static const term environment[] = {
    {"LIGHTBUS_MODULE", "the bus module, where --bus is not given", true},
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
    .module_details = "Without --bus: LIGHTBUS_MODULE, else bus.c or bus.so in the working directory.\n"
                      "A bus.c is compiled with cc, or $CC, and $CFLAGS; the result is kept in\n"
                      "~/.cache/lightbus.\n",
    .environment = environment,
    .files = files,
    .flags = flags,
    .run = run,
};
