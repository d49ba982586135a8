/* internal_state: tells the bus that a worker has started, that it lives, and that it has stopped, with what it
 * serves and has done, as events of the API internal.state. The events are those of Python Lightbus, with
 * `started` and `statistics` besides.
 *
 * That the worker has started is said by its background task: by then all hooks have run, and the listeners
 * that they registered are known. Nothing that goes wrong here fails what the worker does. */
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../base/json.h"
#include "plugins.h"
#include "statistics.h"

/* What Python does not send has a default, so that its events are read too. */
#define WORKER                                                                                                 \
    "(service_name: str, process_name: str, metrics_enabled: bool, api_names: list[str], "                     \
    "listening_for: list[str], timestamp: float, ping_enabled: bool, ping_interval: int, hostname: str, "      \
    "pid: int, max_memory_use: int, started: float? = null, statistics: dict? = null)"

static const lb_member members[] = {
    LB_EVENT_DOC("worker_started" WORKER, "A worker has started."),
    LB_EVENT_DOC("worker_ping" WORKER, "A worker lives."),
    LB_EVENT_DOC("worker_stopped(process_name: str, service_name: str, timestamp: float? = null, "
                 "started: float? = null, statistics: dict? = null)",
                 "A worker has stopped."),
    LB_END,
};

static const lb_api api = {.name = "internal.state", .members = members};

typedef struct state {
    lb_bus *bus;
    bool ping_enabled;
    int64_t ping_interval;
    double started;
    bool announced; /* worker_started was fired; atomic */
    statistics statistics;
} state;

/* ---- Events ----------------------------------------------------------------------------------------- */

/* As JSON lists. */
static void write_api_names(buffer *out, const lb_value *about)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(about, "apis"));
    const char *separator = "";
    buffer_char(out, '[');
    while (lb_value_next(&it)) {
        const lb_value *name = lb_value_get(it.value, "name");
        if (plugin_is_internal(lb_value_str(name)))
            continue;
        buffer_str(out, separator);
        json_write(out, name);
        separator = ",";
    }
    buffer_char(out, ']');
}

static void write_events(buffer *out, const lb_value *about)
{
    lb_value_iterator listener = lb_value_iterate(lb_value_get(about, "listeners"));
    const char *separator = "";
    buffer_char(out, '[');
    while (lb_value_next(&listener)) {
        lb_value_iterator event = lb_value_iterate(lb_value_get(listener.value, "events"));
        for (; lb_value_next(&event); separator = ",") {
            buffer_str(out, separator);
            json_write(out, event.value);
        }
    }
    buffer_char(out, ']');
}

static bool has_plugin(const lb_value *about, const char *name)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(about, "plugins"));
    while (lb_value_next(&it))
        if (strcmp(lb_value_str(it.value), name) == 0)
            return true;
    return false;
}

static void report_failure(const char *event, const lb_error *error)
{
    lb_log(LB_LOG_WARNING, "internal.state.%s could not be fired: %s", event, error->message);
}

static void fire_worker(state *s, const char *event)
{
    buffer apis = {0}, events = {0}, counts = {0};
    char hostname[256] = "", name[64];
    struct rusage usage = {.ru_maxrss = 0};
    lb_error error = {0};
    lb_value *about = lb_describe(s->bus);
    getrusage(RUSAGE_SELF, &usage);
    gethostname(hostname, sizeof hostname - 1);
    write_api_names(&apis, about);
    write_events(&events, about);
    statistics_write(&s->statistics, &counts);
    snprintf(name, sizeof name, "internal.state.%s", event);
    lb_status status = LB_NO_MEMORY;
    if (!about || !buffer_text(&apis) || !buffer_text(&events) || !buffer_text(&counts))
        lb_error_set(&error, status, "out of memory");
    else
        status = lb_fire(s->bus, name,
                         LB_ARGS(LB("process_name", lb_process_name(s->bus)),
                                 LB("service_name", lb_service_name(s->bus)),
                                 LB("metrics_enabled", has_plugin(about, "internal_metrics")),
                                 LB("api_names", LB_JSON(apis.data)), LB("listening_for", LB_JSON(events.data)),
                                 LB("timestamp", plugin_time()), LB("ping_enabled", s->ping_enabled),
                                 LB("ping_interval", s->ping_interval), LB("hostname", (const char *)hostname),
                                 LB("pid", (int64_t)getpid()), LB("max_memory_use", (int64_t)usage.ru_maxrss),
                                 LB("started", s->started), LB("statistics", LB_JSON(counts.data))),
                         &error);
    if (status != LB_OK)
        report_failure(event, &error);
    lb_value_free(about);
    buffer_free(&apis);
    buffer_free(&events);
    buffer_free(&counts);
}

static void fire_stopped(state *s)
{
    buffer counts = {0};
    lb_error error = {0};
    statistics_write(&s->statistics, &counts);
    if (!buffer_text(&counts))
        lb_error_set(&error, LB_NO_MEMORY, "out of memory");
    else
        lb_fire(s->bus, "internal.state.worker_stopped",
                LB_ARGS(LB("process_name", lb_process_name(s->bus)),
                        LB("service_name", lb_service_name(s->bus)), LB("timestamp", plugin_time()),
                        LB("started", s->started), LB("statistics", LB_JSON(counts.data))),
                &error);
    if (error.status != LB_OK)
        report_failure("worker_stopped", &error);
    buffer_free(&counts);
}

/* ---- The worker's life ------------------------------------------------------------------------------ */

static lb_status tell(lb_bus *bus, void *data, lb_error *error)
{
    state *s = data;
    (void)error;
    s->started = plugin_time();
    __atomic_store_n(&s->announced, true, __ATOMIC_RELEASE);
    fire_worker(s, "worker_started");
    while (!lb_wait_stop(bus, s->ping_enabled ? (double)s->ping_interval : -1))
        fire_worker(s, "worker_ping");
    return LB_OK;
}

static lb_status worker_stopped(lb_occasion *occasion, void *data, lb_error *error)
{
    state *s = data;
    (void)occasion, (void)error;
    if (__atomic_exchange_n(&s->announced, false, __ATOMIC_ACQ_REL))
        fire_stopped(s);
    return LB_OK;
}

/* ---- Counting --------------------------------------------------------------------------------------- */

static lb_status count_rpc(lb_occasion *o, void *data, lb_error *error)
{
    state *s = data;
    (void)error;
    if (!plugin_is_internal(lb_occasion_api(o)))
        statistics_rpc(&s->statistics, lb_occasion_api(o), lb_occasion_name(o), lb_occasion_seconds(o),
                       lb_occasion_error(o) != NULL);
    return LB_OK;
}

static lb_status count_fired(lb_occasion *o, void *data, lb_error *error)
{
    state *s = data;
    (void)error;
    if (!plugin_is_internal(lb_occasion_api(o)) && !lb_occasion_error(o))
        statistics_fired(&s->statistics, lb_occasion_api(o), lb_occasion_name(o));
    return LB_OK;
}

static lb_status count_handled(lb_occasion *o, void *data, lb_error *error)
{
    state *s = data;
    (void)error;
    if (!plugin_is_internal(lb_occasion_api(o)))
        statistics_handled(&s->statistics, lb_occasion_api(o), lb_occasion_name(o), lb_occasion_seconds(o),
                           lb_occasion_error(o) != NULL);
    return LB_OK;
}

/* ---- The plugin ------------------------------------------------------------------------------------- */

static lb_status open_state(lb_bus *bus, const lb_plugin_config *config, void **self, lb_error *error)
{
    static const lb_background_options options = {.flags = LB_TASK_ALWAYS, .name = "internal_state"};
    state *s = *self = calloc(1, sizeof *s);
    if (!s)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    statistics_init(&s->statistics);
    s->bus = bus;
    s->ping_enabled = lb_value_bool(lb_value_get(config->options, "ping_enabled"));
    s->ping_interval = lb_value_int(lb_value_get(config->options, "ping_interval"));
    lb_status status = lb_register(bus, &api, NULL, error);
    return status == LB_OK ? lb_background(bus, &options, tell, s, error) : status;
}

static void close_state(void *self)
{
    state *s = self;
    if (!s)
        return;
    statistics_free(&s->statistics);
    free(s);
}

static const lb_plugin_hook hooks[] = {
    {LB_HOOK_AFTER_WORKER_STOPPED, worker_stopped},
    {LB_HOOK_AFTER_RPC_EXECUTION, count_rpc},
    {LB_HOOK_AFTER_EVENT_SENT, count_fired},
    {LB_HOOK_AFTER_EVENT_EXECUTION, count_handled},
    {LB_HOOK_POINTS, NULL},
};

const lb_plugin state_plugin = {
    .abi = LB_PLUGIN_ABI,
    .size = sizeof(lb_plugin),
    .name = "internal_state",
    .priority = 100,
    .hooks = hooks,
    .open = open_state,
    .close = close_state,
};
