/* The debug transport, for trying out a configuration or a program without a bus: every call gets the result
 * "Fake result", events are dropped, no calls and no events ever come in; schemas stay in the process. What
 * Python's debug transports log is logged here, at the same levels.
 *
 * Invariant: `wake_fd` is readable while there are calls to be answered. */
#include "debug.h"

#include <errno.h>
#include <fcntl.h>
#include <lightbus/log.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../../base/clock.h"
#include "../../base/json.h"
#include "../../base/map.h"
#include "../../base/report.h"

#define FAKE_RESULT "\"Fake result\""
#define TEXT(slice) (int)(slice).size, (slice).data

enum { LONGEST_POLL_MS = 60 * 1000, KEEP_ARENA = 1 << 16, LEASE_MS = 60 * 1000 };

typedef struct fake_call {
    struct fake_call *next;
    size_t size;
    char id[];
} fake_call;

typedef struct debug_bus {
    pthread_mutex_t lock;
    fake_call *first, **last; /* calls that wait for their result */
    size_t waiting;
    int wake_fd;
    arena results; /* given out by the last fetch */
    char (*native_ids)[24];
    uint64_t fired;
    map schemas; /* API -> schema, a string of our own */
} debug_bus;

/* Who waits for calls, or for events: none come, so it only has to be woken. */
typedef struct waiter {
    int wake_fd;
} waiter;

/* ---- Waking ----------------------------------------------------------------------------------------- */

/* Async-signal-safe. */
static void wake(int fd)
{
    const uint64_t one = 1;
    int number = errno;
    if (write(fd, &one, sizeof one) < 0)
        errno = 0; /* the counter is full: it is awake */
    errno = number;
}

static void wait_for(int fd, int64_t deadline_ns)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int ready = 0;
    while (ready == 0 && clock_now() < deadline_ns)
        ready = poll(&p, 1,
                     deadline_ns == LB_FOREVER ? LONGEST_POLL_MS : clock_left_ms(deadline_ns, LONGEST_POLL_MS));
}

static void forget_wake(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof count) < 0)
        return; /* nobody has woken it */
}

static lb_status waiter_open(void **out, lb_error *error)
{
    waiter *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->wake_fd < 0) {
        free(w);
        return lb_error_set(error, LB_SYSTEM, "eventfd: errno %d", errno);
    }
    *out = w;
    return LB_OK;
}

static void waiter_wait(waiter *w, int64_t deadline_ns)
{
    wait_for(w->wake_fd, deadline_ns);
    forget_wake(w->wake_fd);
}

static void waiter_interrupt(void *self) { wake(((waiter *)self)->wake_fd); }

static void waiter_close(void *self)
{
    waiter *w = self;
    close(w->wake_fd);
    free(w);
}

/* ---- Log -------------------------------------------------------------------------------------------- */

static void log_message(lb_log_level level, const char *what, lb_slice api, lb_slice member,
                        const lb_kwarg *kwargs, size_t count)
{
    buffer text = {0};
    if (level < lb_log_get_level())
        return;
    for (size_t i = 0; i < count; i++)
        buffer_printf(&text, "%s%.*s=%.*s", i ? ", " : "", TEXT(kwargs[i].name), TEXT(kwargs[i].json));
    lb_log(level, "debug: %s %.*s.%.*s(%s)", what, TEXT(api), TEXT(member),
           buffer_text(&text) ? text.data : "");
    buffer_free(&text);
}

/* ---- Calls ------------------------------------------------------------------------------------------ */

static bool remember(debug_bus *d, lb_slice id)
{
    fake_call *call = malloc(sizeof *call + id.size);
    if (!call)
        return false;
    *call = (fake_call){.size = id.size};
    memcpy(call->id, id.data, id.size);
    *d->last = call;
    d->last = &call->next;
    d->waiting++;
    return true;
}

static lb_status rpc_send(void *self, const lb_rpc_message *const *calls, size_t count, bool now,
                          int64_t deadline_ns, lb_error *error)
{
    debug_bus *d = self;
    size_t taken = 0;
    (void)now;
    (void)deadline_ns;
    pthread_mutex_lock(&d->lock);
    while (taken < count && remember(d, calls[taken]->id))
        taken++;
    wake(d->wake_fd);
    pthread_mutex_unlock(&d->lock);
    if (!taken && count)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for calls");
    for (size_t i = 0; i < taken; i++)
        log_message(LB_LOG_DEBUG, "a call goes nowhere:", calls[i]->api_name, calls[i]->procedure_name,
                    calls[i]->kwargs, calls[i]->kwargs_count);
    return LB_OK;
}

static void forget(debug_bus *d, lb_slice id)
{
    for (fake_call **link = &d->first; *link; link = &(*link)->next) {
        fake_call *call = *link;
        if (!slice_equal((lb_slice){call->id, call->size}, id))
            continue;
        *link = call->next;
        if (!*link)
            d->last = link;
        d->waiting--;
        free(call);
        return;
    }
}

static void rpc_withdraw(void *self, const lb_rpc_message *const *calls, size_t count)
{
    debug_bus *d = self;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < count; i++)
        forget(d, calls[i]->id);
    pthread_mutex_unlock(&d->lock);
}

static lb_status consumer_open(void *self, const char *const *api_names, size_t count, int64_t deadline_ns,
                               void **consumer, lb_error *error)
{
    (void)self;
    (void)deadline_ns;
    for (size_t i = 0; i < count; i++)
        lb_log(LB_LOG_DEBUG, "debug: waiting for calls of %s: none will come", api_names[i]);
    return waiter_open(consumer, error);
}

static lb_status rpc_fetch(void *consumer, size_t max, int64_t deadline_ns, const lb_rpc_message **calls,
                           size_t *count, lb_error *error)
{
    (void)max;
    (void)error;
    *calls = NULL;
    *count = 0;
    waiter_wait(consumer, deadline_ns);
    return LB_OK;
}

static lb_status nothing_to_flush(void *consumer, int64_t deadline_ns, lb_error *error)
{
    (void)consumer;
    (void)deadline_ns;
    (void)error;
    return LB_OK;
}

/* ---- Results ---------------------------------------------------------------------------------------- */

static lb_slice return_path(void *self)
{
    (void)self;
    return slice_of("debug://foo"); /* as Python's */
}

static lb_status result_send(void *self, void *consumer, const lb_result_message *results, size_t count,
                             int64_t deadline_ns, lb_error *error)
{
    (void)self;
    (void)consumer;
    (void)deadline_ns;
    (void)error;
    for (size_t i = 0; i < count; i++)
        lb_log(LB_LOG_INFO, "debug: a result goes nowhere: %.*s", TEXT(results[i].json));
    return LB_OK;
}

/* The lock is held. */
static lb_status answer_all(debug_bus *d, const lb_result_message **results, size_t *count, lb_error *error)
{
    const lb_value *value = NULL;
    lb_result_message *list = arena_alloc(&d->results, d->waiting * sizeof *list);
    lb_status status = list ? json_parse(&d->results, FAKE_RESULT, sizeof FAKE_RESULT - 1, &value, error)
                            : lb_error_set(error, LB_NO_MEMORY, "out of memory for results");
    size_t answered = 0;
    for (fake_call *call; status == LB_OK && (call = d->first);) {
        const char *id = arena_copy(&d->results, call->id, call->size);
        if (!id)
            return lb_error_set(error, LB_NO_MEMORY, "out of memory for results");
        list[answered++] = (lb_result_message){.rpc_message_id = {id, call->size}, .result = value};
        forget(d, (lb_slice){id, call->size});
    }
    *results = list;
    *count = answered;
    return status;
}

static lb_status result_fetch(void *self, int64_t deadline_ns, const lb_result_message **results, size_t *count,
                              lb_error *error)
{
    debug_bus *d = self;
    lb_status status = LB_OK;
    *count = 0;
    wait_for(d->wake_fd, deadline_ns);
    pthread_mutex_lock(&d->lock);
    forget_wake(d->wake_fd);
    arena_reset(&d->results, KEEP_ARENA);
    if (d->waiting)
        status = answer_all(d, results, count, error);
    pthread_mutex_unlock(&d->lock);
    if (*count)
        lb_log(LB_LOG_INFO, "debug: %zu call%s the result " FAKE_RESULT, *count,
               *count == 1 ? " gets" : "s get");
    return status;
}

static int descriptor(void *self) { return ((debug_bus *)self)->wake_fd; }

/* ---- Events ----------------------------------------------------------------------------------------- */

static lb_status event_send(void *self, lb_event_message *const *events, size_t count, int64_t deadline_ns,
                            lb_error *error)
{
    debug_bus *d = self;
    (void)deadline_ns;
    void *ids = realloc(d->native_ids, (count ? count : 1) * sizeof *d->native_ids);
    if (!ids)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for events");
    d->native_ids = ids;
    for (size_t i = 0; i < count; i++) {
        lb_event_message *e = events[i];
        int size = snprintf(d->native_ids[i], sizeof *d->native_ids, "%llu", (unsigned long long)++d->fired);
        log_message(LB_LOG_INFO, "an event goes nowhere:", e->api_name, e->event_name, e->kwargs,
                    e->kwargs_count);
        e->native_id = (lb_slice){d->native_ids[i], (size_t)size};
        e->status = LB_OK;
    }
    return LB_OK;
}

static lb_status event_listen(void *self, const lb_listener_config *config, int64_t deadline_ns,
                              void **listener, lb_error *error)
{
    (void)self;
    (void)deadline_ns;
    for (size_t i = 0; i < config->count; i++)
        lb_log(LB_LOG_INFO, "debug: %s listens to %.*s.%.*s: none will come", config->group,
               TEXT(config->api_names[i]), TEXT(config->event_names[i]));
    return waiter_open(listener, error);
}

static lb_status event_fetch(void *listener, size_t max, int64_t deadline_ns, const lb_event_message **events,
                             size_t *count, lb_error *error)
{
    (void)max;
    (void)error;
    *events = NULL;
    *count = 0;
    waiter_wait(listener, deadline_ns);
    return LB_OK;
}

/* No event is ever in hand: nobody has a reason to call the next three. */
static lb_status event_done(void *listener, const lb_event_message *const *events, size_t count,
                            lb_error *error)
{
    (void)listener;
    (void)events;
    return count ? lb_error_set(error, LB_USAGE, "debug: no such event was given out") : LB_OK;
}

static lb_status event_renew(void *listener, const lb_event_message *const *events, size_t count, bool *lost,
                             lb_error *error)
{
    (void)lost;
    return event_done(listener, events, count, error);
}

static lb_status event_dead_letter(void *listener, const lb_event_message *event, const char *reason,
                                   lb_error *error)
{
    (void)reason;
    return event_done(listener, &event, 1, error);
}

static void event_unlisten(void *listener, bool forget_group)
{
    (void)forget_group;
    waiter_close(listener);
}

static int64_t event_lease_ms(void *listener)
{
    (void)listener;
    return LEASE_MS;
}

/* ---- Schemas ---------------------------------------------------------------------------------------- */

static lb_status schema_store(void *self, const char *const *api_names, const lb_slice *json, size_t count,
                              int ttl_s, int64_t deadline_ns, lb_error *error)
{
    debug_bus *d = self;
    (void)deadline_ns;
    for (size_t i = 0; i < count; i++) {
        char *copy = strndup(json[i].data, json[i].size), *former;
        lb_log(LB_LOG_DEBUG, "debug: the schema of %s (for %d s) goes nowhere: %.*s", api_names[i], ttl_s,
               TEXT(json[i]));
        former = map_get(&d->schemas, api_names[i], strlen(api_names[i]));
        if (!copy || !map_put(&d->schemas, api_names[i], strlen(api_names[i]), copy)) {
            free(copy);
            return lb_error_set(error, LB_NO_MEMORY, "out of memory for schemas");
        }
        free(former);
    }
    return LB_OK;
}

static lb_status schema_load(void *self, void (*found)(lb_slice api_name, lb_slice json, void *data),
                             void *data, int64_t deadline_ns, lb_error *error)
{
    const debug_bus *d = self;
    (void)deadline_ns;
    (void)error;
    for (map_entry *e = NULL; (e = map_next(&d->schemas, e));)
        found((lb_slice){e->key, e->size}, slice_of(e->value), data);
    return LB_OK;
}

/* ---- The instance ----------------------------------------------------------------------------------- */

static void close_instance(void *self)
{
    debug_bus *d = self;
    if (!d)
        return;
    while (d->first)
        forget(d, (lb_slice){d->first->id, d->first->size});
    for (map_entry *e = NULL; (e = map_next(&d->schemas, e));)
        free(e->value);
    map_free(&d->schemas);
    arena_free(&d->results);
    free(d->native_ids);
    if (d->wake_fd >= 0)
        close(d->wake_fd);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static lb_status open_instance(const lb_transport_config *config, void **self, lb_error *error)
{
    debug_bus *d = NULL;
    *self = NULL;
    if (strcmp(config->url, "debug:") != 0)
        return lb_error_set(error, LB_CONFIG, "expected debug: alone, which has no options, got \"%.100s\"",
                            config->url);
    d = calloc(1, sizeof *d);
    if (!d)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    pthread_mutex_init(&d->lock, NULL);
    d->last = &d->first;
    d->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (d->wake_fd < 0) {
        close_instance(d);
        return lb_error_set(error, LB_SYSTEM, "eventfd: errno %d", errno);
    }
    *self = d;
    return LB_OK;
}

/* The descriptor is shared with the parent: this process gets one of its own, under the same number. */
static void after_fork(void *self)
{
    debug_bus *d = self;
    pthread_mutex_init(&d->lock, NULL);
    while (d->first)
        forget(d, (lb_slice){d->first->id, d->first->size});
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd >= 0) {
        dup3(fd, d->wake_fd, O_CLOEXEC);
        close(fd);
    }
}

static bool diagnose(void *self, int64_t check_ms, lb_finding_fn found, void *data)
{
    report r = {.found = found, .data = data};
    (void)self;
    (void)check_ms;
    report_begin(&r, "transport");
    report_tell(&r, LB_FINDING_WARNING, "for a bus that delivers: local: or redis://HOST",
                "the debug transport: events are dropped, and calls get made-up results");
    report_free(&r);
    return true;
}

static const lb_rpc_transport debug_rpc = {
    .send = rpc_send,
    .withdraw = rpc_withdraw,
    .consumer_open = consumer_open,
    .fetch = rpc_fetch,
    .flush = nothing_to_flush,
    .interrupt = waiter_interrupt,
    .consumer_close = waiter_close,
};

static const lb_result_transport debug_results = {
    .return_path = return_path,
    .send = result_send,
    .fetch = result_fetch,
    .descriptor = descriptor,
};

static const lb_event_transport debug_events = {
    .send = event_send,
    .listen = event_listen,
    .fetch = event_fetch,
    .acknowledge = event_done,
    .flush = nothing_to_flush,
    .renew = event_renew,
    .give_back = event_done,
    .dead_letter = event_dead_letter,
    .interrupt = waiter_interrupt,
    .unlisten = event_unlisten,
    .lease_ms = event_lease_ms,
};

static const lb_schema_transport debug_schemas = {.store = schema_store, .load = schema_load};

const lb_transport debug_transport = {
    .abi = LB_TRANSPORT_ABI,
    .size = sizeof(lb_transport),
    .name = "debug",
    .schemes = "debug",
    .open = open_instance,
    .close = close_instance,
    .after_fork = after_fork,
    .rpc = &debug_rpc,
    .result = &debug_results,
    .event = &debug_events,
    .schema = &debug_schemas,
    .diagnose = diagnose,
    .features = LB_TRANSPORT_DEDUPLICATES, /* no event comes, so none comes twice */
};
