/* The table of options. Names, types and defaults are those of Lightbus; what is ours besides is marked so in
 * the reference by standing in no documentation of Python Lightbus. Seconds are seconds everywhere. */
#include "options.h"

#include <string.h>

#define YEAR          (365 * 86400.0)
#define MOST_TIMEOUT  2000000.0 /* seconds; fits the milliseconds of an int */
#define DEFAULT_REDIS "redis://127.0.0.1:6379/0"
#define NO_POOL       "there is no pool: a bus needs a handful of connections"
#define RECONNECTS    "a lost connection is made again with growing delays of up to a second"
#define ONE_TIMEOUT   "the rpc_timeout of the API is the expiry of a call as well"

/* ---- Transports ------------------------------------------------------------------------------------- */

static const option connection_parameters[] = {
    {.name = "db",
     .kind = OPTION_INT,
     .most = 1e6,
     .query = "db",
     .help = "database number, where the URL has none"},
    {.name = "maxsize",
     .kind = OPTION_INT,
     .least = 1,
     .most = 1e6,
     .otherwise = "100",
     .nullable = true,
     .help = "most connections of the pool",
     .ignored = NO_POOL},
    {.name = "minsize",
     .kind = OPTION_INT,
     .most = 1e6,
     .nullable = true,
     .help = "connections to open at once",
     .ignored = NO_POOL},
    {.name = "timeout",
     .kind = OPTION_NUMBER,
     .least = 0.05,
     .most = 3600,
     .otherwise = "5",
     .nullable = true,
     .query = "connect_timeout",
     .help = "seconds that a connection may take, TLS and login included"},
    {0},
};

#define REDIS_URL                                                                                              \
    {                                                                                                          \
        .name = "url", .kind = OPTION_STR, .otherwise = DEFAULT_REDIS,                                         \
        .help = "the server: `redis://`, `rediss://`, `redis+unix://` or `unix://`; see urls.md. Without it, " \
                "`LIGHTBUS_URL` or `bus.url` count if they name a Redis"                                       \
    }
#define REDIS_CONNECTION                                                                                       \
    {.name = "connection_parameters",                                                                          \
     .kind = OPTION_DICT,                                                                                      \
     .members = connection_parameters,                                                                         \
     .help = "of the connections"},                                                                            \
        {.name = "max_message_size",                                                                           \
         .kind = OPTION_INT,                                                                                   \
         .least = 1024,                                                                                        \
         .most = 512 * 1024 * 1024,                                                                            \
         .otherwise = "16777216",                                                                              \
         .query = "max_message_size",                                                                          \
         .help = "bytes of a message; larger ones are "                                                        \
                 "refused on both sides"},                                                                     \
        {.name = "tls_ca",                                                                                     \
         .kind = OPTION_STR,                                                                                   \
         .query = "tls_ca",                                                                                    \
         .help = "`rediss` only: a PEM file with the certificates to trust; without it, the system's"},        \
        {.name = "tls_cert",                                                                                   \
         .kind = OPTION_STR,                                                                                   \
         .query = "tls_cert",                                                                                  \
         .help = "`rediss` only: a PEM file with this client's certificate"},                                  \
        {.name = "tls_key",                                                                                    \
         .kind = OPTION_STR,                                                                                   \
         .query = "tls_key",                                                                                   \
         .help = "`rediss` only: a PEM file with the key to it"},                                              \
    {                                                                                                          \
        .name = "tls_verify", .kind = OPTION_BOOL, .otherwise = "true", .query = "tls_verify",                 \
        .help = "`rediss` only: `false` accepts any certificate"                                               \
    }
#define SERIALIZERS(family)                                                                                    \
    {.name = "serializer",                                                                                     \
     .kind = OPTION_CHOICE,                                                                                    \
     .choices = "lightbus.serializers." family "MessageSerializer",                                            \
     .otherwise = "lightbus.serializers." family "MessageSerializer",                                          \
     .help = "how messages are written; there is the default one"},                                            \
    {                                                                                                          \
        .name = "deserializer", .kind = OPTION_CHOICE,                                                         \
        .choices = "lightbus.serializers." family "MessageDeserializer",                                       \
        .otherwise = "lightbus.serializers." family "MessageDeserializer",                                     \
        .help = "how messages are read; there is the default one"                                              \
    }
#define RESTART_DELAY                                                                                          \
    {                                                                                                          \
        .name = "consumption_restart_delay", .kind = OPTION_INT, .most = YEAR, .otherwise = "5",               \
        .help = "seconds between attempts to read on", .ignored = RECONNECTS                                   \
    }
#define TRANSPORT_RPC_TIMEOUT(what)                                                                            \
    {                                                                                                          \
        .name = "rpc_timeout", .kind = OPTION_INT, .least = 1, .most = MOST_TIMEOUT, .otherwise = "5",         \
        .help = what, .ignored = ONE_TIMEOUT                                                                   \
    }

static const option redis_rpc[] = {
    REDIS_URL,
    {.name = "batch_size",
     .kind = OPTION_INT,
     .least = 1,
     .most = 10000,
     .otherwise = "10",
     .help = "calls fetched at once",
     .ignored = "a worker takes more at once while its handlers are quick"},
    SERIALIZERS("Blob"),
    TRANSPORT_RPC_TIMEOUT("seconds until a call expires"),
    {.name = "rpc_retry_delay",
     .kind = OPTION_INT,
     .most = YEAR,
     .otherwise = "1",
     .help = "seconds between attempts to call",
     .ignored = "a call is never sent twice"},
    {.name = "max_queue_length",
     .kind = OPTION_INT,
     .least = 1,
     .most = 1e9,
     .otherwise = "100000",
     .query = "max_queue_length",
     .help = "calls that may wait for workers of one API; past that a caller gets LB_BUSY at once"},
    RESTART_DELAY,
    REDIS_CONNECTION,
    {0},
};

static const option redis_result[] = {
    REDIS_URL,
    {.name = "result_ttl",
     .kind = OPTION_INT,
     .least = 1,
     .most = YEAR,
     .otherwise = "60",
     .query = "result_ttl",
     .help = "seconds that a result waits for its caller"},
    SERIALIZERS("Blob"),
    TRANSPORT_RPC_TIMEOUT("seconds of one blocking read"),
    REDIS_CONNECTION,
    {0},
};

static const option redis_event[] = {
    REDIS_URL,
    {.name = "service_name",
     .kind = OPTION_STR,
     .nullable = true,
     .help = "of listeners, instead of the root's `service_name`"},
    {.name = "consumer_name",
     .kind = OPTION_STR,
     .nullable = true,
     .help = "of listeners, instead of the root's `process_name`"},
    {.name = "batch_size",
     .kind = OPTION_INT,
     .least = 1,
     .most = 10000,
     .otherwise = "100",
     .help = "events that a listener fetches at once, at most"},
    {.name = "acknowledgement_timeout",
     .kind = OPTION_NUMBER,
     .least = 0.05,
     .most = YEAR,
     .otherwise = "60",
     .query = "acknowledgement_timeout",
     .help = "seconds that an event may stay with a process that has gone silent"},
    {.name = "reclaim_interval",
     .kind = OPTION_NUMBER,
     .least = 0.05,
     .most = YEAR,
     .nullable = true,
     .query = "reclaim_interval",
     .help = "seconds between looks for such events; null: the `acknowledgement_timeout`"},
    {.name = "reclaim_batch_size",
     .kind = OPTION_INT,
     .least = 1,
     .most = 10000,
     .nullable = true,
     .query = "reclaim_batch_size",
     .help = "how many to look at in one step; null: 100"},
    {.name = "max_stream_length",
     .kind = OPTION_INT,
     .most = 1e15,
     .otherwise = "100000",
     .nullable = true,
     .query = "max_stream_length",
     .help = "about how many events a stream keeps, whoever has read them; null or 0: all of them"},
    {.name = "stream_use",
     .kind = OPTION_CHOICE,
     .choices = "per_api per_event",
     .otherwise = "per_api",
     .query = "stream_use",
     .help = "one stream for all events of an API, or one for each event; the same in all processes of a bus"},
    SERIALIZERS("ByField"),
    RESTART_DELAY,
    {.name = "consumer_ttl",
     .kind = OPTION_INT,
     .most = 10 * YEAR,
     .otherwise = "2592000",
     .help = "seconds after which a silent consumer is removed",
     .ignored = "consumers are not removed by others: their pending events would go with them"},
    REDIS_CONNECTION,
    {0},
};

static const option redis_schema[] = {
    REDIS_URL,
    REDIS_CONNECTION,
    {0},
};

static const option debug_transport[] = {{0}};

static const option local_transport[] = {
    {.name = "url",
     .kind = OPTION_STR,
     .otherwise = "local:",
     .help = "the folder, as `local:NAME` or `local:///path`, with its options in the query; see urls.md"},
    {0},
};

static const option custom_transport[] = {
    {.name = "object",
     .kind = OPTION_STR,
     .help = "the shared object of the transport (lightbus/transport.h); a relative path begins at the "
             "configuration file. Without it, the program registers the transport"},
    {.name = "url", .kind = OPTION_STR, .help = "a URL that the transport answers to"},
    {0},
};

#define SELECTOR(table, family)                                                                                \
    static const option table##_selector[] = {                                                                 \
        {.name = "redis",                                                                                      \
         .kind = OPTION_DICT,                                                                                  \
         .members = redis_##table,                                                                             \
         .title = "Redis" family "TransportConfig",                                                            \
         .nullable = true,                                                                                     \
         .help = "Redis"},                                                                                     \
        {.name = "debug",                                                                                      \
         .kind = OPTION_DICT,                                                                                  \
         .members = debug_transport,                                                                           \
         .title = "Debug" family "TransportConfig",                                                            \
         .nullable = true,                                                                                     \
         .help = "logs what it is asked to do, and delivers nothing; see urls.md"},                            \
        {.name = "local",                                                                                      \
         .kind = OPTION_DICT,                                                                                  \
         .members = local_transport,                                                                           \
         .title = "Local" family "TransportConfig",                                                            \
         .nullable = true,                                                                                     \
         .help = "a folder on this machine"},                                                                  \
        {.name = "custom",                                                                                     \
         .kind = OPTION_DICT,                                                                                  \
         .members = custom_transport,                                                                          \
         .title = "Custom" family "TransportConfig",                                                           \
         .nullable = true,                                                                                     \
         .help = "one of your own"},                                                                           \
        {0},                                                                                                   \
    }

SELECTOR(rpc, "Rpc");
SELECTOR(result, "Result");
SELECTOR(event, "Event");
SELECTOR(schema, "Schema");

/* ---- Everything else -------------------------------------------------------------------------------- */

static const option schema_options[] = {
    {.name = "human_readable",
     .kind = OPTION_BOOL,
     .otherwise = "true",
     .help = "indent the published schemas",
     .ignored = "schemas are published as compact JSON, which reads the same"},
    {.name = "ttl",
     .kind = OPTION_INT,
     .least = 1,
     .most = YEAR,
     .otherwise = "60",
     .help = "seconds that a published schema lives; it is renewed after 80 % of them"},
    {.name = "transport",
     .kind = OPTION_DICT,
     .members = schema_selector,
     .title = "SchemaTransportSelector",
     .nullable = true,
     .one_transport = true,
     .help = "where schemas are published"},
    {0},
};

static const option bus_options[] = {
    {.name = "url",
     .kind = OPTION_STR,
     .otherwise = "local:",
     .environment = "LIGHTBUS_URL",
     .flag = "url",
     .parameter = "URL",
     .help = "the bus: local:NAME, redis://HOST/DB"},
    {.name = "log_level",
     .kind = OPTION_CHOICE,
     .choices = "debug info warning error critical",
     .otherwise = "info",
     .flag = "log-level",
     .parameter = "LEVEL",
     .help = "debug, info, warning, error or critical"},
    {.name = "rpc_concurrency",
     .kind = OPTION_INT,
     .least = 1,
     .most = 64,
     .otherwise = "1",
     .help = "threads of a worker that handle RPCs"},
    {.name = "schema",
     .kind = OPTION_DICT,
     .members = schema_options,
     .title = "SchemaConfig",
     .help = "how the schemas of APIs are published"},
    {0},
};

static const option validate_options[] = {
    {.name = "outgoing",
     .kind = OPTION_BOOL,
     .otherwise = "true",
     .help = "arguments that are sent, and results of handlers"},
    {.name = "incoming",
     .kind = OPTION_BOOL,
     .otherwise = "true",
     .help = "arguments that handlers get, and results of calls"},
    {0},
};

static const option api_options[] = {
    {.name = "rpc_timeout",
     .kind = OPTION_INT,
     .least = 1,
     .most = MOST_TIMEOUT,
     .otherwise = "5",
     .help = "seconds that a caller waits; a call that is older is not begun"},
    {.name = "event_fire_timeout",
     .kind = OPTION_INT,
     .least = 1,
     .most = MOST_TIMEOUT,
     .otherwise = "5",
     .help = "seconds that firing may take, reconnecting included"},
    {.name = "event_listener_setup_timeout",
     .kind = OPTION_INT,
     .most = MOST_TIMEOUT,
     .otherwise = "1",
     .help = "seconds that setting up a listener may take",
     .ignored = "Python Lightbus never read it either"},
    {.name = "validate",
     .kind = OPTION_DICT,
     .members = validate_options,
     .title = "ApiValidationConfig",
     .or_bool = true,
     .nullable = true,
     .help = "check messages against the schema; a boolean is for both ways"},
    {.name = "strict_validation",
     .kind = OPTION_BOOL,
     .otherwise = "false",
     .help = "refuse what belongs to an API whose schema is not known"},
    {.name = "cast_values",
     .kind = OPTION_BOOL,
     .otherwise = "true",
     .help = "give handlers values of the declared types; without it, JSON as it came"},
    {.name = "rpc_transport",
     .kind = OPTION_DICT,
     .members = rpc_selector,
     .title = "RpcTransportSelector",
     .nullable = true,
     .one_transport = true,
     .help = "where calls go"},
    {.name = "result_transport",
     .kind = OPTION_DICT,
     .members = result_selector,
     .title = "ResultTransportSelector",
     .nullable = true,
     .one_transport = true,
     .help = "where results go"},
    {.name = "event_transport",
     .kind = OPTION_DICT,
     .members = event_selector,
     .title = "EventTransportSelector",
     .nullable = true,
     .one_transport = true,
     .help = "where events go"},
    {0},
};

#define PLUGIN_ENABLED                                                                                         \
    {                                                                                                          \
        .name = "enabled", .kind = OPTION_BOOL, .otherwise = "false", .help = "whether to load it"             \
    }

static const option state_options[] = {
    PLUGIN_ENABLED,
    {.name = "ping_enabled",
     .kind = OPTION_BOOL,
     .otherwise = "true",
     .help = "whether a worker says regularly that it lives. Flag: `lightbus run --no-ping`"},
    {.name = "ping_interval",
     .kind = OPTION_INT,
     .least = 1,
     .most = YEAR,
     .otherwise = "60",
     .help = "seconds between those. Flag: `lightbus run --ping-interval`"},
    {0},
};

static const option metrics_options[] = {PLUGIN_ENABLED, {0}};

const option other_plugin_options[] = {
    PLUGIN_ENABLED,
    {.name = "library",
     .kind = OPTION_STR,
     .help = "the shared object of the plugin (lightbus/plugin.h); a relative path begins at the configuration "
             "file. Without it, the program registers the plugin"},
    {0},
};

static const option plugin_options[] = {
    {.name = "internal_state",
     .kind = OPTION_DICT,
     .members = state_options,
     .title = "StatePluginConfig",
     .nullable = true,
     .help = "events about the states of workers, on the API `internal.state`"},
    {.name = "internal_metrics",
     .kind = OPTION_DICT,
     .members = metrics_options,
     .title = "MetricsPluginConfig",
     .nullable = true,
     .help = "an event about each call and event, on the API `internal.metrics`"},
    {0},
};

static const option root_options[] = {
    {.name = "service_name",
     .kind = OPTION_STR,
     .otherwise = "{friendly}",
     .environment = "LIGHTBUS_SERVICE_NAME",
     .flag = "service-name",
     .parameter = "NAME",
     .help = "of this service; it names the groups of its listeners"},
    {.name = "process_name",
     .kind = OPTION_STR,
     .otherwise = "{random4}",
     .environment = "LIGHTBUS_PROCESS_NAME",
     .flag = "process-name",
     .parameter = "NAME",
     .help = "of this process"},
    {.name = "bus",
     .kind = OPTION_DICT,
     .members = bus_options,
     .title = "BusConfig",
     .help = "the bus as a whole"},
    {.name = "apis",
     .kind = OPTION_APIS,
     .members = api_options,
     .title = "ApiConfig",
     .help = "by the names of APIs; `default` is for all others"},
    {.name = "plugins",
     .kind = OPTION_PLUGINS,
     .members = plugin_options,
     .title = "PluginSelector",
     .help = "plugins, built in or of your own: see ../how-to/write-a-plugin.md"},
    {0},
};

const option config_options = {.name = "", .kind = OPTION_DICT, .members = root_options, .title = "RootConfig"};

/* ---- Looking up ------------------------------------------------------------------------------------- */

static const option *member_of(const option *dict, lb_slice name)
{
    for (const option *o = dict->members; o && o->name; o++)
        if (slice_is(name, o->name))
            return o;
    return NULL;
}

const option *option_at(const char *path)
{
    const option *o = &config_options, *apis = NULL;

    while (o && *path) {
        size_t size = strcspn(path, ".");
        if (o->kind == OPTION_APIS && o != apis) /* the name of an API, or "*": the section is its own row */
            apis = o;
        else
            o = member_of(o, (lb_slice){path, size});
        path += size + (path[size] == '.');
    }
    return o;
}

static const option *find_flag(const option *dict, const char *flag)
{
    const option *found = NULL;

    for (const option *o = dict->members; o && o->name && !found; o++)
        found = o->flag && strcmp(o->flag, flag) == 0 ? o : find_flag(o, flag);
    return found;
}

const option *option_of_flag(const char *flag) { return find_flag(&config_options, flag); }
