/* A plugin: writes a line about each call that this process has answered to a file.
 *
 *     plugins:
 *       audit: {enabled: true, library: ./audit.so, file: audit.log, slower_than: 0.1}
 */
#include <lightbus.h>
#include <lightbus/plugin.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct audit {
    FILE *file;
    double slower_than;
} audit;

static lb_status answered(lb_occasion *occasion, void *self, lb_error *error)
{
    audit *a = self;
    const lb_error *failure = lb_occasion_error(occasion);

    if (lb_occasion_seconds(occasion) >= a->slower_than)
        fprintf(a->file, "%s.%s %s %.6f s\n", lb_occasion_api(occasion), lb_occasion_name(occasion),
                failure ? failure->type : "ok", lb_occasion_seconds(occasion));
    return LB_OK;
}

static lb_status audit_open(lb_bus *bus, const lb_plugin_config *config, void **self, lb_error *error)
{
    const char *path = lb_value_str(lb_value_get(config->options, "file"));
    audit *a = *self = calloc(1, sizeof *a);

    if (!a)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    if (!path)
        return lb_error_set(error, LB_CONFIG, "%s: expected a file", config->where);
    a->slower_than = lb_value_float(lb_value_get(config->options, "slower_than"));
    a->file = fopen(path, "a");
    if (!a->file)
        return lb_error_set(error, LB_SYSTEM, "%s: %s cannot be written", config->where, path);
    setvbuf(a->file, NULL, _IOLBF, 0);
    return LB_OK;
}

static void audit_close(void *self)
{
    audit *a = self;

    if (a && a->file)
        fclose(a->file);
    free(a);
}

static const lb_plugin_option options[] = {
    {.name = "file", .kind = LB_PLUGIN_STR},
    {.name = "slower_than", .kind = LB_PLUGIN_NUMBER, .otherwise = "0", .least = 0, .most = 3600},
    {0},
};

static const lb_plugin_hook hooks[] = {{LB_HOOK_AFTER_RPC_EXECUTION, answered}, {0}};

const lb_plugin lb_plugin_export = {
    .abi = LB_PLUGIN_ABI,
    .size = sizeof(lb_plugin),
    .name = "audit",
    .options = options,
    .hooks = hooks,
    .open = audit_open,
    .close = audit_close,
};
