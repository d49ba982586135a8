/* Routes: what is configured for an API, and through which transports its calls, results and events go.
 *
 * Invariants. Instances are found by URL: what reaches the same place with the same options shares connections.
 * A transport's rpc->send and result->fetch may each be used by one thread at a time, and a client sees to
 * that; so an instance belongs to one client: RPCs and results that go different ways open instances of their
 * own. */
#include "bus.h"

#include <stdlib.h>
#include <string.h>

#include "../config/options.h"

#define MOST_INSTANCES 1000

/* ---- Instances -------------------------------------------------------------------------------------- */

static char *masked(const char *url)
{
    arena memory = {0};
    char *text = url_mask(&memory, url), *copy = text ? strdup(text) : NULL;
    arena_free(&memory);
    return copy;
}

static void free_instance(instance *i)
{
    if (!i)
        return;
    free(i->key);
    free(i->place);
    free(i);
}

/* `key` tells instances apart that have the same URL. */
static instance *open_instance(lb_bus *bus, const transport_choice *choice, const char *key, lb_error *error)
{
    const lb_transport_config config = {sizeof config, choice->url, bus->service_name, bus->process_name};
    size_t count = 0;
    for (instance *i = bus->instances; i; i = i->next, count++)
        if (strcmp(i->key, key) == 0)
            return i;
    if (count == MOST_INSTANCES) {
        lb_error_set(error, LB_CONFIG, "more than %d different URLs of transports", MOST_INSTANCES);
        return NULL;
    }
    if (choice->object && transport_load(choice->object, error) != LB_OK)
        return NULL;
    const lb_transport *transport = transport_find(choice->url, error);
    instance *i = transport ? calloc(1, sizeof *i) : NULL;
    if (!transport)
        return NULL;
    if (!i || !(i->key = strdup(key)) || !(i->place = masked(choice->url))) {
        free_instance(i);
        lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
        return NULL;
    }
    i->transport = transport;
    if (transport->open(&config, &i->self, error) != LB_OK) {
        free_instance(i);
        return NULL;
    }
    i->next = bus->instances;
    bus->instances = i;
    return i;
}

/* Is the transport one for this kind? A program that registers a transport of its own knows what it leaves out;
 * a configuration file is told. */
static bool serves(const lb_bus *bus, const instance *i, transport_kind kind, lb_error *error)
{
    const lb_transport *t = i->transport;
    const void *const tables[TRANSPORT_KINDS] = {t->rpc, t->result, t->event, t->schema};
    if (tables[kind] || !config_source(bus->config))
        return true;
    lb_error_set(error, LB_UNSUPPORTED, "the transport \"%s\" is none for %ss", t->name,
                 transport_kind_names[kind]);
    return false;
}

static const instance *instance_for(lb_bus *bus, const transport_choice *choices, transport_kind kind,
                                    lb_error *error)
{
    const instance *i = open_instance(bus, &choices[kind], choices[kind].url, error);
    return i && serves(bus, i, kind, error) ? i : NULL;
}

/* RPCs and results: one instance, or a pair of its own. */
static bool open_pair(lb_bus *bus, const transport_choice *choices, const instance **rpc,
                      const instance **result, lb_error *error)
{
    const transport_choice *calls = &choices[TRANSPORT_RPC], *results = &choices[TRANSPORT_RESULT];
    buffer key = {0};
    if (strcmp(calls->url, results->url) == 0) {
        *rpc = *result = open_instance(bus, calls, calls->url, error);
    } else {
        buffer_printf(&key, "calls to %s with results from %s", calls->url, results->url);
        *rpc = buffer_text(&key) ? open_instance(bus, calls, key.data, error) : NULL;
        key.size = 0;
        buffer_printf(&key, "results from %s of calls to %s", results->url, calls->url);
        *result = *rpc && buffer_text(&key) ? open_instance(bus, results, key.data, error) : NULL;
        if (key.failed)
            lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    }
    buffer_free(&key);
    return *rpc && *result && serves(bus, *rpc, TRANSPORT_RPC, error) &&
           serves(bus, *result, TRANSPORT_RESULT, error);
}

static struct client *client_for(lb_bus *bus, const transport_choice *choices, lb_error *error)
{
    const instance *rpc, *result;
    struct client **last = &bus->clients;
    if (!open_pair(bus, choices, &rpc, &result, error))
        return NULL;
    for (; *last; last = &(*last)->next)
        if ((*last)->rpc == rpc && (*last)->result == result)
            return *last;
    struct client *c = *last = calloc(1, sizeof *c);
    if (!c) {
        lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
        return NULL;
    }
    c->bus = bus;
    c->rpc = rpc;
    c->result = result;
    client_init(c);
    return c;
}

static struct fires *fires_for(lb_bus *bus, const transport_choice *choices, lb_error *error)
{
    const instance *event = instance_for(bus, choices, TRANSPORT_EVENT, error);
    struct fires **last = &bus->fires;
    if (!event)
        return NULL;
    for (; *last; last = &(*last)->next)
        if ((*last)->event == event)
            return *last;
    struct fires *f = *last = calloc(1, sizeof *f);
    if (!f) {
        lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
        return NULL;
    }
    f->bus = bus;
    f->event = event;
    fires_init(f);
    return f;
}

/* ---- Routes ----------------------------------------------------------------------------------------- */

static lb_status take_timeout(const lb_bus *bus, int given_ms, const char *name, const char *path, lb_slice api,
                              int *result, lb_error *error)
{
    int configured = (int)(config_int(bus->config, path, api) * 1000);
    if (given_ms < 0)
        return lb_error_set(error, LB_CONFIG, "lb_open: %s: expected a positive number or 0 for %d, got %d",
                            name, configured, given_ms);
    *result = given_ms ? given_ms : configured;
    return LB_OK;
}

static lb_status take_settings(lb_bus *bus, const lb_options *o, lb_slice api, route *r, lb_error *error)
{
    /* a transport that the section does not name is that of the default section */
    const lb_slice events = config_says(bus->config, "apis.*.event_transport", api) ? api : slice_of("default");
    const char *service = config_str(bus->config, "apis.*.event_transport.redis.service_name", events);
    const char *consumer = config_str(bus->config, "apis.*.event_transport.redis.consumer_name", events);
    lb_status status = take_timeout(bus, o->rpc_timeout_ms, "rpc_timeout_ms", "apis.*.rpc_timeout", api,
                                    &r->rpc_timeout_ms, error);
    if (status == LB_OK)
        status = take_timeout(bus, o->event_fire_timeout_ms, "event_fire_timeout_ms",
                              "apis.*.event_fire_timeout", api, &r->event_fire_timeout_ms, error);
    r->batch_size = (int)config_int(bus->config, "apis.*.event_transport.redis.batch_size", events);
    r->service_name = service && !(o->service_name && *o->service_name) ? service : bus->service_name;
    r->consumer_name = consumer && !(o->process_name && *o->process_name) ? consumer : bus->process_name;
    r->flags = o->flags |
               (config_bool(bus->config, "apis.*.strict_validation", api) ? LB_OPEN_STRICT_VALIDATION : 0) |
               (config_validates(bus->config, true, api) ? 0 : LB_OPEN_NO_OUTGOING_VALIDATION) |
               (config_validates(bus->config, false, api) ? 0 : LB_OPEN_NO_INCOMING_VALIDATION) |
               (config_bool(bus->config, "apis.*.cast_values", api) ? 0 : LB_OPEN_NO_CASTING);
    return status;
}

static lb_status open_route(lb_bus *bus, const lb_options *o, lb_slice api, const char *otherwise, route *r,
                            lb_error *error)
{
    const char *forced = o->url && *o->url ? o->url : NULL;
    transport_choice choices[TRANSPORT_KINDS];
    arena memory = {0};
    lb_status status = take_settings(bus, o, api, r, error);
    if (status == LB_OK)
        status = config_transports(bus->config, api, forced, otherwise, &memory, choices, error);
    if (status == LB_OK &&
        (!(r->client = client_for(bus, choices, error)) || !(r->fires = fires_for(bus, choices, error)) ||
         (!bus->schema && !(bus->schema = instance_for(bus, choices, TRANSPORT_SCHEMA, error)))))
        status = error->status;
    arena_free(&memory);
    return status;
}

/* Says which part of the file a failure is about. */
static lb_status locate(const lb_bus *bus, lb_slice api, lb_error *error)
{
    const lb_error found = *error;
    const char *source = config_source(bus->config);
    if (!source || strncmp(found.message, source, strlen(source)) == 0 ||
        strncmp(found.message, "lb_open", 7) == 0)
        return found.status;
    return lb_error_set(error, found.status, "%s: the transports of %s%.*s: %s", source,
                        api.size ? "API " : "the default", (int)api.size, api.data ? api.data : "",
                        found.message);
}

static lb_status open_named_route(lb_bus *bus, const lb_options *o, lb_slice api, const char *otherwise,
                                  lb_error *error)
{
    route *r = calloc(1, sizeof *r);
    if (!r || !map_put(&bus->routes, api.data, api.size, r)) {
        free(r);
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    }
    lb_status status = open_route(bus, o, api, otherwise, r, error);
    return status == LB_OK ? LB_OK : locate(bus, api, error);
}

static lb_status take_url(lb_bus *bus, const lb_options *o, const char **otherwise, lb_error *error)
{
    const option *url = option_at("bus.url");
    const char *environment = getenv(url->environment);
    arena memory = {0};
    *otherwise = config_str(bus->config, "bus.url", (lb_slice){NULL, 0});
    if (!*otherwise)
        *otherwise = environment && *environment ? environment : url->otherwise;
    transport_choice choices[TRANSPORT_KINDS];
    lb_status status = config_transports(bus->config, (lb_slice){NULL, 0}, o->url && *o->url ? o->url : NULL,
                                         *otherwise, &memory, choices, error);
    if (status == LB_OK && !(bus->masked_url = masked(choices[TRANSPORT_RPC].url)))
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    arena_free(&memory);
    return status;
}

lb_status routes_open(lb_bus *bus, const lb_options *o, lb_error *error)
{
    const lb_slice none = {NULL, 0};
    const char *otherwise;
    lb_slice api;
    lb_status status = take_url(bus, o, &otherwise, error);
    if (status == LB_OK && (status = open_route(bus, o, none, otherwise, &bus->route, error)) != LB_OK)
        status = locate(bus, none, error);
    for (size_t i = 0; status == LB_OK && (api = config_api(bus->config, i)).data; i++)
        status = open_named_route(bus, o, api, otherwise, error);
    bus->rpc_timeout_ms = bus->route.rpc_timeout_ms;
    return status;
}

const route *route_of(const lb_bus *bus, lb_slice api_name)
{
    const route *r = bus->routes.count ? map_get(&bus->routes, api_name.data, api_name.size) : NULL;
    return r ? r : &bus->route;
}

const route *route_of_name(const lb_bus *bus, const char *name)
{
    const char *dot = bus->routes.count && name ? strrchr(name, '.') : NULL;
    return dot ? route_of(bus, (lb_slice){name, (size_t)(dot - name)}) : &bus->route;
}

void routes_after_fork(lb_bus *bus)
{
    for (instance *i = bus->instances; i; i = i->next)
        i->transport->after_fork(i->self);
    for (struct client *c = bus->clients; c; c = c->next)
        client_after_fork(c);
    for (struct fires *f = bus->fires; f; f = f->next)
        fires_after_fork(f);
}

void routes_close(lb_bus *bus)
{
    while (bus->clients) {
        struct client *c = bus->clients;
        bus->clients = c->next;
        client_free(c);
        free(c);
    }
    while (bus->fires) {
        struct fires *f = bus->fires;
        bus->fires = f->next;
        fires_free(f);
        free(f);
    }
    while (bus->instances) {
        instance *i = bus->instances;
        bus->instances = i->next;
        i->transport->close(i->self);
        free_instance(i);
    }
    for (map_entry *e = NULL; (e = map_next(&bus->routes, e));)
        free(e->value);
    map_free(&bus->routes);
}
