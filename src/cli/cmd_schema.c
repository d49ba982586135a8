/* lightbus schema check: says whether a new version of APIs keeps old callers and listeners working. Exit codes
 * for CI: CLI_OK, CLI_FAILURE when something breaks, CLI_USAGE when there was nothing to compare. */
#include "cli.h"
#include "module.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../schema/compatibility.h"
#include "../schema/files.h"

/* One side of the comparison. */
typedef struct side {
    lb_value *schemas;
    bool live; /* from the bus */
} side;

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static bool is_module(const char *path, arena *memory)
{
    struct stat info;
    const char *found;

    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return module_find(memory, path, &found, NULL) == LB_OK;
    return ends_with(path, ".so") || ends_with(path, ".c");
}

static lb_status read_live(const char *url, lb_value **schemas, lb_error *error)
{
    lb_bus *bus = lb_open(&(lb_options){.url = url}, error);
    cli_hide_password(url);
    lb_status status = bus ? lb_schema_dump(bus, schemas, error) : error->status;

    lb_close(bus);
    return status;
}

/* What the module would publish, without a bus. */
static lb_status read_module(arena *memory, const char *path, lb_value **schemas, lb_error *error)
{
    const char *module = NULL;
    lb_setup_fn setup = NULL;
    lb_bus *bus = NULL;
    lb_status status = module_find(memory, path, &module, error);

    if (status == LB_OK)
        status = module_load(memory, module, &setup, error);
    if (status == LB_OK && !(bus = lb_open(&(lb_options){.url = "redis://127.0.0.1"}, error))) /* never used */
        status = error->status;
    if (status == LB_OK && (status = setup(bus, error)) != LB_OK && !error->message[0])
        lb_error_set(error, status, "%s: lb_setup failed: %s", path, lb_status_text(status));
    if (status == LB_OK)
        status = lb_schema_dump_local(bus, schemas, error);
    lb_close(bus);
    return status;
}

static lb_status read_side(const char *origin, side *s, lb_error *error)
{
    arena memory = {0};
    lb_status status;

    s->live = strstr(origin, "://") || strncmp(origin, "local:", 6) == 0;
    if (s->live)
        status = read_live(origin, &s->schemas, error);
    else if (is_module(origin, &memory))
        status = read_module(&memory, origin, &s->schemas, error);
    else
        status = schema_files_read(origin, &s->schemas, error);
    arena_free(&memory);
    return status;
}

static void print_line(void *data, bool breaks, const char *text)
{
    const colours *c = data;

    fprintf(stdout, "%s%s%s ", breaks ? c->red : c->green, breaks ? "BREAKS" : "ok    ", c->off);
    print_safe(stdout, text);
    fputc('\n', stdout);
}

/* A live bus has APIs of many services: those that the new side knows nothing of are not its affair. */
static size_t compare(const side *old, const side *fresh, size_t *compared)
{
    colours c = colours_for(stdout);
    lb_value_iterator it = lb_value_iterate(old->schemas);
    size_t breaks = 0;

    *compared = 0;
    while (lb_value_next(&it)) {
        const lb_value *now = lb_value_get(fresh->schemas, it.name);
        if (!now && old->live)
            continue;
        breaks += compatibility_check((lb_slice){it.name, it.name_size}, it.value, now, print_line, &c);
        ++*compared;
    }
    return breaks;
}

static int check(const invocation *in, const char *old_origin, const char *new_origin)
{
    side old = {0}, fresh = {0};
    lb_error error = {0};
    size_t compared;
    int code = CLI_USAGE;

    if (read_side(old_origin, &old, &error) != LB_OK || read_side(new_origin, &fresh, &error) != LB_OK) {
        failure(in, &error);
        goto out;
    }
    size_t breaks = compare(&old, &fresh, &compared);
    if (!compared)
        fprintf(stderr, "No API of the new side is known on the old one.\n");
    if (breaks)
        fprintf(stderr, "%zu break%s for those who know the old version.\n", breaks, breaks == 1 ? "" : "s");
    code = finish_output(in) != CLI_OK ? CLI_USAGE : breaks ? CLI_FAILURE : CLI_OK;
out:
    lb_value_free(old.schemas);
    lb_value_free(fresh.schemas);
    return code;
}

static int schema(invocation *in)
{
    if (in->count && strcmp(in->arguments[0], "check") != 0)
        return usage_error(in, "unknown action \"%s\"; there is: check", in->arguments[0]);
    if (in->count != 3)
        return usage_error(in, "expected %s", in->command->arguments);
    lb_log_set_level(LB_LOG_WARNING);
    return check(in, in->arguments[1], in->arguments[2]);
}

static const flag flags[] = {{0}};

const command cmd_schema = {
    .name = "schema",
    .summary = "Checks whether new versions of APIs break what knows the old.",
    .arguments = "check OLD NEW",
    .details = "OLD and NEW are each a file or folder of schemas (see dumpschema), a bus.so, a\n"
               "bus.c or a folder with one, or the URL of a bus.\n\n"
               "  lightbus schema check schemas/ bus.c\n"
               "  lightbus schema check redis://127.0.0.1/0 bus.so\n",
    .exit_codes = "0: compatible, 1: something breaks, 2: they could not be compared",
    .flags = flags,
    .offline = true,
    .run = schema,
};
