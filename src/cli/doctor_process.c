/* What is wrong on this side: the program, its configuration, its environment, the machine's limits and tools.
 */
#include "doctor.h"
#include "module.h"

#include <lightbus/version.h>

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../base/report.h"
#include "../config/config.h"
#include "../config/options.h"

enum { FEW_FILES = 256 };

static void check_version(report *r)
{
    if (strcmp(lb_version(), LIGHTBUS_VERSION) == 0)
        report_tell(r, LB_FINDING_OK, NULL, "%s, the program and the library", LIGHTBUS_VERSION);
    else
        report_tell(r, LB_FINDING_WARNING, "install both from the same version; ldconfig -p | grep lightbus",
                    "the program is made for %s, the library is %s", LIGHTBUS_VERSION, lb_version());
}

/* ---- Configuration ---------------------------------------------------------------------------------- */

static bool check_configuration(report *r, const invocation *in)
{
    const char *environment = getenv("LIGHTBUS_CONFIG");
    bool given = in->config && *in->config;
    const char *place = given ? in->config : environment;
    config *c = NULL;
    lb_error error = {0};
    lb_status status = config_load(place, &c, &error);

    if (status != LB_OK)
        report_tell(r, LB_FINDING_ERROR, "see docs/reference/configuration.md", "%s", error.message);
    else if (config_source(c))
        report_tell(r, LB_FINDING_OK, NULL, "%s, from %s", config_source(c),
                    given ? "--config" : "LIGHTBUS_CONFIG");
    else
        report_tell(r, LB_FINDING_OK, NULL, "no file: flags, environment and defaults");
    config_free(c);
    return status == LB_OK;
}

/* ---- Environment ------------------------------------------------------------------------------------ */

#define PREFIX "LIGHTBUS_"

/* Those of the project's tests and benchmarks are nobody's mistake. */
static const char *const own_prefixes[] = {"LIGHTBUS_TEST_", "LIGHTBUS_BENCH_"};

static void consider_options(suggestion *s, const option *o)
{
    if (o->environment)
        suggestion_consider(s, slice_of(o->environment));
    for (const option *member = o->members; member && member->name; member++)
        consider_options(s, member);
}

/* Those of options, of commands, and the one that says where the options are. */
static void consider_all(suggestion *s)
{
    suggestion_consider(s, slice_of("LIGHTBUS_CONFIG"));
    consider_options(s, &config_options);
    for (const command *const *c = cli_commands; *c; c++)
        for (const term *variable = (*c)->environment; variable && variable->name; variable++)
            suggestion_consider(s, slice_of(variable->name));
}

static void check_variable(report *r, lb_slice name)
{
    char text[HINT_SIZE];
    suggestion s = suggestion_for(name);

    for (size_t i = 0; i < sizeof own_prefixes / sizeof *own_prefixes; i++)
        if (name.size > strlen(own_prefixes[i]) &&
            memcmp(name.data, own_prefixes[i], strlen(own_prefixes[i])) == 0)
            return;
    consider_all(&s);
    if (slice_equal(s.best, name))
        return;
    report_tell(r, LB_FINDING_WARNING, arena_printf(&r->memory, "unset %s", report_word(r, name)),
                "%.*s means nothing to Lightbus%s", (int)name.size, name.data, hint(&s, text));
}

static void check_environment(report *r)
{
    size_t count = 0;

    for (char **e = environ; *e; e++) {
        if (strncmp(*e, PREFIX, sizeof PREFIX - 1) != 0)
            continue;
        check_variable(r, (lb_slice){*e, strcspn(*e, "=")});
        count++;
    }
    if (!r->told)
        report_tell(r, LB_FINDING_OK, NULL, "%zu variable%s LIGHTBUS_*", count, count == 1 ? "" : "s");
}

/* ---- The machine ------------------------------------------------------------------------------------ */

static void check_open_files(report *r)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur == RLIM_INFINITY)
        report_tell(r, LB_FINDING_OK, NULL, "as many as wanted");
    else if (limit.rlim_cur >= FEW_FILES)
        report_tell(r, LB_FINDING_OK, NULL, "up to %llu", (unsigned long long)limit.rlim_cur);
    else
        report_tell(r, LB_FINDING_WARNING, "ulimit -n 1024, or LimitNOFILE=1024 in the systemd unit",
                    "up to %llu: few for a worker with its connections", (unsigned long long)limit.rlim_cur);
}

static void check_tools(report *r)
{
    const char *compiler = NULL;
    lb_error error = {0};

    if (module_tools(&r->memory, &compiler, &error) == LB_OK)
        report_tell(r, LB_FINDING_OK, NULL, "%s, and pkg-config knows lightbus", compiler);
    else
        report_tell(r, LB_FINDING_NOTE,
                    "needed for a bus.c alone, not for a bus.so: apt install gcc pkg-config",
                    "no bus.c can be compiled here: %s", error.message);
}

static void check_cache(report *r)
{
    const char *folder = NULL;
    lb_error error = {0};

    if (module_cache_look(&r->memory, &folder, &error) == LB_OK)
        report_tell(r, LB_FINDING_OK, NULL, "%s%s", folder,
                    access(folder, F_OK) == 0 ? "" : ", made when it is needed");
    else
        report_tell(
            r, LB_FINDING_WARNING,
            folder ? arena_printf(&r->memory, "chmod 700 %s, or remove it", report_word(r, slice_of(folder)))
                   : NULL,
            "no bus.c can be compiled: %s", error.message);
}

bool doctor_check_process(const invocation *in, lb_finding_fn found, void *data)
{
    report r = {.found = found, .data = data};

    report_begin(&r, "version");
    check_version(&r);
    report_begin(&r, "configuration");
    bool good = check_configuration(&r, in);
    report_begin(&r, "environment");
    check_environment(&r);
    report_begin(&r, "open files");
    check_open_files(&r);
    if (!in->setup) { /* a binary of its own compiles nothing */
        report_begin(&r, "compiler");
        check_tools(&r);
        report_begin(&r, "cache");
        check_cache(&r);
    }
    report_free(&r);
    return good;
}
