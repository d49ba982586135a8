/* internal_metrics: an event on the API internal.metrics about each call and event that this process sends,
 * receives and handles; what Python Lightbus fires, with the real ids of events. Costs a fired event for each:
 * for looking closely, not for always. A report that cannot be fired is logged, and fails nothing. */
#include <stdlib.h>

#include "../base/json.h"
#include "plugins.h"

#define OF_RPC "service_name: str, process_name: str, id: str, api_name: str, procedure_name: str, "
#define OF_EVENT                                                                                               \
    "(service_name: str, process_name: str, event_id: str, api_name: str, event_name: str, kwargs: dict, "     \
    "timestamp: float)"

static const lb_member members[] = {
    LB_EVENT("rpc_call_sent(" OF_RPC "kwargs: dict, timestamp: float)"),
    LB_EVENT("rpc_call_received(" OF_RPC "timestamp: float)"),
    LB_EVENT("rpc_response_sent(" OF_RPC "result: any, timestamp: float)"),
    LB_EVENT("rpc_response_received(" OF_RPC "timestamp: float)"),
    LB_EVENT("event_fired" OF_EVENT),
    LB_EVENT("event_received" OF_EVENT),
    LB_EVENT("event_processed" OF_EVENT),
    LB_END,
};

static const lb_api api = {.name = "internal.metrics", .members = members};

typedef struct metrics {
    bool failing; /* the last report was not fired; atomic */
} metrics;

/* `more` is an argument that this report has besides; without a name: none. */
static void report(metrics *m, lb_occasion *o, const char *what, bool is_event, lb_arg more)
{
    lb_bus *bus = lb_occasion_bus(o);
    lb_error error = {0};
    char name[64];
    snprintf(name, sizeof name, "internal.metrics.%s", what);
    lb_status status =
        lb_fire(bus, name,
                LB_ARGS(LB(is_event ? "event_id" : "id", lb_occasion_id(o)), LB("api_name", lb_occasion_api(o)),
                        LB(is_event ? "event_name" : "procedure_name", lb_occasion_name(o)),
                        LB("timestamp", plugin_time()), LB("service_name", lb_service_name(bus)),
                        LB("process_name", lb_process_name(bus)), more),
                &error);
    bool failed = status != LB_OK, again = __atomic_exchange_n(&m->failing, failed, __ATOMIC_RELAXED);
    if (failed)
        lb_log(again ? LB_LOG_DEBUG : LB_LOG_WARNING, "%s could not be fired: %s", name, error.message);
}

static void report_with_arguments(metrics *m, lb_occasion *o, const char *what, bool is_event)
{
    buffer json = {0};
    buffer_char(&json, '{');
    for (const lb_arg *arg = lb_args(o); arg->name; arg++) {
        if (json.size > 1)
            buffer_char(&json, ',');
        buffer_json_string(&json, arg->name, strlen(arg->name));
        buffer_char(&json, ':');
        json_write(&json, arg->value.as.value);
    }
    buffer_char(&json, '}');
    if (buffer_text(&json))
        report(m, o, what, is_event, LB("kwargs", LB_JSON(json.data)));
    buffer_free(&json);
}

static void report_answer(metrics *m, lb_occasion *o)
{
    const lb_error *error = lb_occasion_error(o);
    char text[sizeof error->type + sizeof error->message + 8];
    if (error)
        snprintf(text, sizeof text, "%s('%s')", error->type, error->message);
    report(m, o, "rpc_response_sent", false,
           error ? LB("result", (const char *)text) : LB("result", lb_occasion_result(o)));
}

/* Was there an answer, though it be an error? */
static bool was_answered(lb_occasion *o)
{
    const lb_error *error = lb_occasion_error(o);
    return !error || error->status == LB_REMOTE_ERROR;
}

static lb_status observe(lb_occasion *o, void *data, lb_error *error)
{
    const lb_arg none = {NULL, LB_NULL};
    metrics *m = data;
    (void)error;
    if (plugin_is_internal(lb_occasion_api(o)))
        return LB_OK;
    switch (lb_occasion_point(o)) {
    case LB_HOOK_BEFORE_RPC_CALL:
        report_with_arguments(m, o, "rpc_call_sent", false);
        break;
    case LB_HOOK_BEFORE_RPC_EXECUTION:
        report(m, o, "rpc_call_received", false, none);
        break;
    case LB_HOOK_AFTER_RPC_EXECUTION:
        report_answer(m, o);
        break;
    case LB_HOOK_AFTER_RPC_CALL:
        if (was_answered(o))
            report(m, o, "rpc_response_received", false, none);
        break;
    case LB_HOOK_AFTER_EVENT_SENT:
        if (!lb_occasion_error(o))
            report_with_arguments(m, o, "event_fired", true);
        break;
    case LB_HOOK_BEFORE_EVENT_EXECUTION:
        report_with_arguments(m, o, "event_received", true);
        break;
    case LB_HOOK_AFTER_EVENT_EXECUTION:
        if (!lb_occasion_error(o))
            report_with_arguments(m, o, "event_processed", true);
        break;
    default:
        break;
    }
    return LB_OK;
}

static lb_status open_metrics(lb_bus *bus, const lb_plugin_config *config, void **self, lb_error *error)
{
    (void)config;
    if (!(*self = calloc(1, sizeof(metrics))))
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    return lb_register(bus, &api, NULL, error);
}

static const lb_plugin_hook hooks[] = {
    {LB_HOOK_BEFORE_RPC_CALL, observe},       {LB_HOOK_AFTER_RPC_CALL, observe},
    {LB_HOOK_BEFORE_RPC_EXECUTION, observe},  {LB_HOOK_AFTER_RPC_EXECUTION, observe},
    {LB_HOOK_AFTER_EVENT_SENT, observe},      {LB_HOOK_BEFORE_EVENT_EXECUTION, observe},
    {LB_HOOK_AFTER_EVENT_EXECUTION, observe}, {LB_HOOK_POINTS, NULL},
};

const lb_plugin metrics_plugin = {
    .abi = LB_PLUGIN_ABI,
    .size = sizeof(lb_plugin),
    .name = "internal_metrics",
    .priority = 110,
    .hooks = hooks,
    .open = open_metrics,
    .close = free,
};
