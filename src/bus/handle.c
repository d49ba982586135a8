/* Opening and closing a bus handle. */
#include "bus.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_URL "local:"

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

/* "redis://user:secret@host" -> "redis://user:***@host" (S33) */
static char *mask_password(const char *url)
{
    char *masked = malloc(strlen(url) + sizeof "***");
    if (!masked)
        return NULL;
    const char *authority = strstr(url, "://");
    authority = authority ? authority + 3 : url;
    size_t length = strcspn(authority, "/?#");
    const char *at = NULL, *colon = NULL;
    for (const char *c = authority; c < authority + length; c++)
        if (*c == '@')
            at = c;
    colon = at ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    if (!colon) {
        strcpy(masked, url);
        return masked;
    }
    size_t head = (size_t)(colon + 1 - url);
    memcpy(masked, url, head);
    strcpy(masked + head, "***");
    strcat(masked, at);
    return masked;
}

static const char *first_set(const char *a, const char *environment, const char *otherwise)
{
    const char *from_environment = getenv(environment);
    if (a && *a)
        return a;
    return from_environment && *from_environment ? from_environment : otherwise;
}

static lb_status take_number(int given, int otherwise, const char *name, int *result, lb_error *error)
{
    if (given < 0)
        return lb_error_set(error, LB_CONFIG, "lb_open: %s: expected a positive number or 0 for %d, got %d",
                            name, otherwise, given);
    *result = given ? given : otherwise;
    return LB_OK;
}

static lb_status take_options(lb_bus *bus, const lb_options *o, lb_error *error)
{
    const unsigned known = LB_OPEN_STRICT_VALIDATION | LB_OPEN_NO_OUTGOING_VALIDATION |
                           LB_OPEN_NO_INCOMING_VALIDATION | LB_OPEN_NO_CASTING;
    lb_status status;
    if (o->flags & ~known)
        return lb_error_set(error, LB_CONFIG, "lb_open: unknown bits 0x%x in flags", o->flags & ~known);
    bus->flags = o->flags;
    if ((status = take_number(o->rpc_timeout_ms, 5000, "rpc_timeout_ms", &bus->rpc_timeout_ms, error)) ||
        (status = take_number(o->event_fire_timeout_ms, 5000, "event_fire_timeout_ms",
                              &bus->event_fire_timeout_ms, error)) ||
        (status = take_number(o->schema_ttl_s, 60, "schema_ttl_s", &bus->schema_ttl_s, error)) ||
        (status = take_number(o->rpc_concurrency, 1, "rpc_concurrency", &bus->rpc_concurrency, error)))
        return status;
    const char *service = first_set(o->service_name, "LIGHTBUS_SERVICE_NAME", "{friendly}");
    const char *process = first_set(o->process_name, "LIGHTBUS_PROCESS_NAME", "{random4}");
    bus->service_name_is_random = strstr(service, "{friendly}") || strstr(service, "{random");
    if (!(bus->service_name = name_expand(service, "service_name", error)) ||
        !(bus->process_name = name_expand(process, "process_name", error)))
        return error ? error->status : LB_CONFIG;
    bus->url = strdup(first_set(o->url, "LIGHTBUS_URL", DEFAULT_URL));
    bus->masked_url = bus->url ? mask_password(bus->url) : NULL;
    return bus->masked_url ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
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
    bus->generation = fork_generation();
    schemas_init(&bus->schemas);
    client_init(&bus->client);
    fires_init(&bus->fires);
    worker_init(&bus->worker);
    dispatch_init(&bus->dispatch);
    if (take_options(bus, options ? options : &defaults, error) != LB_OK)
        goto fail;
    bus->transport = transport_find(bus->url, error);
    if (!bus->transport)
        goto fail;
    lb_transport_config config = {sizeof config, bus->url, bus->service_name, bus->process_name};
    if (bus->transport->open(&config, &bus->self, error) != LB_OK)
        goto fail;
    return bus;
fail:
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
    worker_free(bus);
    client_free(bus);
    fires_free(bus);
    dispatch_free(bus);
    if (bus->self)
        bus->transport->close(bus->self);
    schemas_free(&bus->schemas);
    free(bus->url);
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
    unsigned was = __atomic_load_n(&bus->generation, __ATOMIC_ACQUIRE);
    if (was == now || !bus->self)
        return;
    if (!__atomic_compare_exchange_n(&bus->generation, &was, now, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return;
    bus->transport->after_fork(bus->self);
    pthread_rwlock_init(&bus->schemas.lock, NULL);
    pthread_mutex_init(&bus->schemas.loading, NULL);
    listener **listeners = bus->worker.listeners; /* still registered, not running */
    size_t count = bus->worker.listener_count;
    client_after_fork(&bus->client);
    fires_after_fork(&bus->fires);
    worker_init(&bus->worker);
    dispatch_init(&bus->dispatch);
    bus->worker.listeners = listeners;
    bus->worker.listener_count = count;
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
    lb_status status = client_flush(bus, error);
    return status == LB_OK ? fires_flush(bus, error) : status;
}
