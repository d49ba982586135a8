/* lightbus dumpschema: writes the schemas that are known, as Python's command does. */
#include "cli.h"
#include "module.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../schema/files.h"

int set_up_without_serving(invocation *in, lb_bus *bus)
{
    arena memory = {0};
    lb_setup_fn setup = in->setup;
    const char *module = NULL;
    lb_error error = {0};
    int code = CLI_OK;

    if (!setup && in->bus &&
        (module_find(&memory, in->bus, &module, &error) != LB_OK ||
         module_load(&memory, module, &setup, &error) != LB_OK))
        code = failure(in, &error);
    lb_status status = code == CLI_OK && setup ? setup(bus, &error) : LB_OK;
    if (status != LB_OK)
        code = setup_failure(in, &error, status, "lb_setup failed");
    arena_free(&memory);
    return code;
}

static int write_out(const invocation *in, const lb_value *schemas)
{
    char absolute[PATH_MAX];
    buffer text = {0};
    lb_error error = {0};
    size_t count = lb_value_count(schemas);

    if (!in->out) {
        schema_files_print(&text, schemas);
        if (text.failed)
            lb_error_set(&error, LB_NO_MEMORY, "out of memory");
        else
            fwrite(text.data, 1, text.size, stdout);
        buffer_free(&text);
        return error.status == LB_OK ? finish_output(in) : failure(in, &error);
    }
    if (schema_files_write(in->out, schemas, &error) != LB_OK)
        return failure(in, &error);
    fprintf(stderr, "The schema%s of %zu API%s saved to %s\n", count == 1 ? "" : "s", count,
            count == 1 ? " is" : "s are", realpath(in->out, absolute) ? absolute : in->out);
    return CLI_OK;
}

static int dumpschema(invocation *in)
{
    lb_value *schemas = NULL;
    lb_error error = {0};
    lb_bus *bus;
    int code;

    if (in->count)
        return usage_error(in, "unexpected argument \"%s\"; a file is named with --out", in->arguments[0]);
    if (!in->log_level)
        lb_log_set_level(LB_LOG_WARNING);
    if (!(bus = cli_open(in, (lb_options){0})))
        return CLI_FAILURE;
    code = set_up_without_serving(in, bus);
    if (code == CLI_OK && lb_schema_dump(bus, &schemas, &error) != LB_OK)
        code = failure(in, &error);
    if (code == CLI_OK)
        code = write_out(in, schemas);
    lb_value_free(schemas);
    lb_close(bus);
    return code;
}

static const flag flags[] = {
    {"out", "PATH", "a file, or a folder for a file per API; else stdout", offsetof(invocation, out), 'o',
     false},
    {"bus", "PATH", "with the APIs of this bus module", offsetof(invocation, bus), 'b', true},
    {0},
};

const command cmd_dumpschema = {
    .name = "dumpschema",
    .summary = "Writes the schemas of all APIs on the bus as JSON.",
    .arguments = "",
    .details = "The schemas are those on the bus now, and those of the bus module where one is\n"
               "given. \"lightbus run --schema\" and \"lightbus schema check\" read them.\n",
    .flags = flags,
    .run = dumpschema,
};
