/* Opening and closing a bus handle. */
#include "bus.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "../config/options.h"

void monotonic_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attributes);
    pthread_condattr_destroy(&attributes);
}

int monotonic_wait(pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline_ns)
{
    if (deadline_ns == LB_FOREVER)
        return pthread_cond_wait(c, m);
    struct timespec until = {deadline_ns / CLOCK_SECOND, deadline_ns % CLOCK_SECOND};
    return pthread_cond_timedwait(c, m, &until);
}

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* The first that says something: what was given, the file, the environment, the default. */
static const char *take_text(const lb_bus *bus, const char *given, const char *path)
{
    const option *o = option_at(path);
    const char *text = given && *given ? given : config_str(bus->config, path, (lb_slice){NULL, 0});
    if (!text)
        text = from_environment(o->environment);
    return text ? text : o->otherwise;
}

static lb_status take_number(const lb_bus *bus, int given, const char *name, const char *path, int *result,
                             lb_error *error)
{
    int64_t otherwise = config_int(bus->config, path, (lb_slice){NULL, 0});
    if (given < 0)
        return lb_error_set(error, LB_CONFIG, "lb_open: %s: expected a positive number or 0 for %d, got %d",
                            name, (int)otherwise, given);
    *result = given ? given : (int)otherwise;
    return LB_OK;
}

static char *take_name(const lb_bus *bus, const char *given, const char *path, bool *is_random, lb_error *error)
{
    const char *pattern = take_text(bus, given, path);
    bool in_file = !(given && *given) && config_says(bus->config, path, (lb_slice){NULL, 0});
    char where[WHERE_SIZE];
    *is_random = strstr(pattern, "{friendly}") || strstr(pattern, "{random");
    return name_expand(pattern, in_file ? config_where(bus->config, path, (lb_slice){NULL, 0}, where) : path,
                       error);
}

static void set_log_level(const lb_bus *bus, lb_log_level given)
{
    static const char *const names[] = {"debug", "info", "warning", "error", "critical"};
    const char *name = config_str(bus->config, "bus.log_level", (lb_slice){NULL, 0});
    for (int i = 0; !given && name && i < 5; i++)
        if (strcmp(name, names[i]) == 0)
            given = (lb_log_level)(LB_LOG_DEBUG + i);
    lb_log_set_level(given);
}

static lb_status take_options(lb_bus *bus, const lb_options *o, lb_error *error)
{
    const unsigned known = LB_OPEN_STRICT_VALIDATION | LB_OPEN_NO_OUTGOING_VALIDATION |
                           LB_OPEN_NO_INCOMING_VALIDATION | LB_OPEN_NO_CASTING;
    bool ignored;
    lb_status status;
    if (o->flags & ~known)
        return lb_error_set(error, LB_CONFIG, "lb_open: unknown bits 0x%x in flags", o->flags & ~known);
    if ((unsigned)o->log_level > LB_LOG_CRITICAL)
        return lb_error_set(error, LB_CONFIG, "lb_open: log_level: expected an LB_LOG_ constant, got %d",
                            (int)o->log_level);
    lb_log_set_level(o->log_level);
    const char *place = o->config && *o->config ? o->config : from_environment("LIGHTBUS_CONFIG");
    if ((status = config_load(place, &bus->config, error)) != LB_OK)
        return status;
    set_log_level(bus, o->log_level);
    if (o->plugins && (status = config_give_plugins(bus->config, o->plugins, error)) != LB_OK)
        return status;
    if ((status =
             take_number(bus, o->schema_ttl_s, "schema_ttl_s", "bus.schema.ttl", &bus->schema_ttl_s, error)) ||
        (status = take_number(bus, o->rpc_concurrency, "rpc_concurrency", "bus.rpc_concurrency",
                              &bus->rpc_concurrency, error)))
        return status;
    if (!(bus->service_name =
              take_name(bus, o->service_name, "service_name", &bus->service_name_is_random, error)) ||
        !(bus->process_name = take_name(bus, o->process_name, "process_name", &ignored, error)))
        return error->status;
    status = routes_open(bus, o, error);
    return status == LB_OK ? plugins_open(bus, error) : status;
}

lb_bus *lb_open(const lb_options *options, lb_error *error)
{
    static const lb_options defaults;
    lb_error ignored;
    if (!error)
        error = &ignored;
    lb_bus *bus = calloc(1, sizeof *bus);
    if (!bus) {
        lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
        return NULL;
    }
    bus->generation = bus->renewing = fork_generation();
    schemas_init(&bus->schemas);
    worker_init(&bus->worker);
    dispatch_init(&bus->dispatch);
    if (take_options(bus, options ? options : &defaults, error) == LB_OK) {
        bus->open = true;
        return bus;
    }
    lb_close(bus);
    return NULL;
}

void lb_close(lb_bus *bus)
{
    if (!bus)
        return;
    bus_check_fork(bus);
    lb_error error = {0};
    if (lb_stop(bus, -1, &error) ==
        LB_TIMEOUT) { /* a handler still runs, and uses the handle: it cannot be freed */
        lb_log(LB_LOG_ERROR, "lb_close: %s; the bus handle is not freed", error.message);
        return;
    }
    bus->closing = true;
    routes_close(bus); /* runs callbacks, which may use all of the handle */
    worker_free(bus);
    plugins_close(bus);
    hooks_free(bus);
    dispatch_free(bus);
    schemas_free(&bus->schemas);
    config_free(bus->config);
    free(bus->masked_url);
    free(bus->service_name);
    free(bus->process_name);
    free(bus);
}

/* In a forked child the locks may be held by threads that no longer exist, and the connections are the
 * parent's: all of it starts anew. What was in flight belongs to the parent and is forgotten here. */
void bus_check_fork(lb_bus *bus)
{
    unsigned now = fork_generation();
    if (__atomic_load_n(&bus->generation, __ATOMIC_ACQUIRE) == now || !bus->schema)
        return;
    unsigned last = __atomic_load_n(&bus->renewing, __ATOMIC_RELAXED);
    if (last != now &&
        __atomic_compare_exchange_n(&bus->renewing, &last, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        routes_after_fork(bus);
        schemas_after_fork(&bus->schemas);
        worker_after_fork(&bus->worker);
        dispatch_free(bus);
        dispatch_init(&bus->dispatch);
        __atomic_store_n(&bus->generation, now, __ATOMIC_RELEASE);
    }
    while (__atomic_load_n(&bus->generation, __ATOMIC_ACQUIRE) != now)
        sched_yield(); /* another thread is at it */
}

const char *lb_service_name(const lb_bus *bus) { return bus->service_name; }
const char *lb_process_name(const lb_bus *bus) { return bus->process_name; }
const char *lb_url(const lb_bus *bus) { return bus->masked_url; }

static bool is_identifier(lb_slice s)
{
    for (const char *c = s.data; c < s.data + s.size; c++)
        if (!isalnum((unsigned char)*c) && *c != '_')
            return false;
    return !isdigit((unsigned char)*s.data);
}

lb_status name_split(const char *name, lb_slice *api, lb_slice *member, lb_error *error)
{
    const char *dot = name ? strrchr(name, '.') : NULL;
    if (!dot || dot == name || !dot[1])
        return lb_error_set(error, LB_INVALID_NAME, "expected \"api.name\", got %s%s%s", name ? "\"" : "",
                            name ? name : "NULL", name ? "\"" : "");
    *api = (lb_slice){name, (size_t)(dot - name)};
    *member = slice_of(dot + 1);
    if (*member->data == '_')
        return lb_error_set(error, LB_INVALID_NAME, "%s: names that begin with \"_\" are not on the bus", name);
    if (!is_identifier(*member) && !slice_is(*member, "*"))
        return lb_error_set(error, LB_INVALID_NAME, "%s: expected letters, digits and \"_\" after the last dot",
                            name);
    return api_name_check(*api, error);
}

lb_status lb_flush(lb_bus *bus, lb_error *error)
{
    bus_check_fork(bus);
    (void)error; /* failures reach the calls and events themselves */
    for (struct client *c = bus->clients; c; c = c->next)
        client_flush(c);
    for (struct fires *f = bus->fires; f; f = f->next)
        fires_flush(f);
    return LB_OK;
}
