/* The worker side of events: a thread per listener fetches, handles, acknowledges.
 *
 * An event is "in hand" from fetch until it is acknowledged, given back or dead. In hand are: the rest of the
 * batch in work, and the events held for another try. The timer renews the leases of all of them; `lock` guards
 * the lists against it, and `handle` against lb_stop. What fails is tried again here, with growing delays,
 * under its lease, and goes to the dead letters after max_deliveries. */
#include "bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_HELD  1000           /* events held for another try; no new ones are fetched beyond */
#define HOLD_BACK  (5 * CLOCK_MS) /* acknowledgements wait for each other so long, at most */
#define RETRY_MS   100            /* the first delay; doubled each time */
#define RETRY_MOST 30000

/* An event that waits for another try: a copy with all it needs. */
typedef struct held {
    arena memory;
    lb_event_message event;
    unsigned failures;
    int64_t due;
    bool lost;
    struct held *next;
} held;

typedef enum outcome { OUTCOME_DONE, OUTCOME_RETRY, OUTCOME_DEAD, OUTCOME_STOP } outcome;

struct listener {
    lb_bus *bus;
    const instance *event; /* where all of its APIs' events are */
    const char *consumer;
    char *name, *group, *since, *specification;
    lb_slice *api_names, *event_names; /* pairs, slices of `specification` */
    size_t count;
    lb_event_handler handler;
    void *data;
    lb_listen_options options;
    bool temporary; /* its group is wanted by no later process */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;
    void *handle; /* the transport's; NULL when it is not open */
    const lb_event_message *batch;
    size_t batch_count, position; /* batch[position..batch_count) is in hand */
    bool *lost;                   /* of each in the batch */
    size_t lost_capacity;
    held *retries;
    held *current;      /* the one that is being tried */
    size_t retry_count; /* in `retries` */
    int64_t lease_ns, next_renewal;

    arena memory;       /* of the event that is handled */
    api_schema *schema; /* of the last event: the next one is often alike */
    const member_schema *member;
    int64_t flushed;
    lb_error reason; /* why the last event failed */
};

static const lb_event_transport *transport(const listener *l) { return l->event->transport->event; }

/* ---- Registration ----------------------------------------------------------------------------------- */

void listener_free(listener *l)
{
    if (!l)
        return;
    free(l->name);
    free(l->group);
    free(l->since);
    free(l->specification);
    free(l->api_names);
    free(l->event_names);
    free(l->lost);
    arena_free(&l->memory);
    api_schema_unref(l->schema);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* What the parent's thread had in hand is the parent's. It may have been interrupted anywhere: what it alone
 * used is not touched, not even to free it. */
void listener_after_fork(listener *l)
{
    pthread_mutex_init(&l->lock, NULL);
    l->started = false;
    l->handle = NULL;
    l->batch = NULL;
    l->batch_count = l->position = 0;
    l->lost = NULL;
    l->lost_capacity = 0;
    l->retries = l->current = NULL;
    l->retry_count = 0;
    l->memory = (arena){0};
    l->schema = NULL;
    l->member = NULL;
}

static lb_status parse_events(listener *l, lb_error *error)
{
    lb_status status = names_split(l->specification, &l->api_names, &l->event_names, &l->count, error);
    if (status == LB_OK && !l->count)
        return lb_error_set(error, LB_INVALID_NAME,
                            "listener %s: expected events such as \"api.event\" or \"api.*\", got \"\"",
                            l->name);
    return status;
}

static lb_status take_listen_options(listener *l, const route *r, const lb_listen_options *o, lb_error *error)
{
    if (o->flags & ~LB_LISTEN_TEMPORARY)
        return lb_error_set(error, LB_CONFIG, "listener %s: unknown bits 0x%x in flags", l->name,
                            o->flags & ~LB_LISTEN_TEMPORARY);
    if (o->batch_size < 0 || o->max_deliveries < 0 || (unsigned)o->on_error > LB_ON_ERROR_ACKNOWLEDGE_AND_LOG)
        return lb_error_set(
            error, LB_CONFIG,
            "listener %s: expected batch_size >= 0, max_deliveries >= 0 and a known on_error, got %d, %d, %d",
            l->name, o->batch_size, o->max_deliveries, (int)o->on_error);
    if (o->deduplicate_ms < 0 || o->deduplicate_ms > LB_DEDUPLICATE_MOST_MS)
        return lb_error_set(error, LB_CONFIG, "listener %s: expected deduplicate_ms from 0 (off) to %d, got %d",
                            l->name, LB_DEDUPLICATE_MOST_MS, o->deduplicate_ms);
    if (o->deduplicate_ms && !transport_has(l->event->transport, LB_TRANSPORT_DEDUPLICATES))
        return lb_error_set(error, LB_UNSUPPORTED, "listener %s: deduplicate_ms: the transport %s cannot do it",
                            l->name, l->event->transport->name);
    l->options = *o;
    l->options.batch_size = o->batch_size ? o->batch_size : r->batch_size;
    l->options.max_deliveries = o->max_deliveries ? o->max_deliveries : 10;
    l->since = strdup(o->since && *o->since ? o->since : "$");
    return l->since ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "listener %s: out of memory", l->name);
}

static lb_status check_name(lb_bus *bus, const char *name, lb_error *error)
{
    if (!name || !*name)
        return lb_error_set(error, LB_INVALID_NAME, "lb_listen: expected a listener_name, got %s",
                            name ? "\"\"" : "NULL");
    for (size_t i = 0; i < bus->worker.listener_count; i++)
        if (strcmp(bus->worker.listeners[i]->name, name) == 0)
            return lb_error_set(
                error, LB_DUPLICATE,
                "there is a listener named \"%s\" already: each needs a listener_name of its own", name);
    return LB_OK;
}

/* Do listeners of both share a consumer? */
static bool same_place(const route *a, const route *b)
{
    return a->fires == b->fires && strcmp(a->service_name, b->service_name) == 0 &&
           strcmp(a->consumer_name, b->consumer_name) == 0;
}

/* Keeps the events that are at the place of the first one; the others are written to `rest`. */
static void keep_first_place(listener *l, const route *first, buffer *rest)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (same_place(route_of(l->bus, l->api_names[i]), first)) {
            l->api_names[kept] = l->api_names[i];
            l->event_names[kept++] = l->event_names[i];
        } else {
            buffer_printf(rest, "%.*s.%.*s ", (int)l->api_names[i].size, l->api_names[i].data,
                          (int)l->event_names[i].size, l->event_names[i].data);
        }
    }
    l->count = kept;
}

static lb_status take_place(listener *l, const lb_listen_options *options, buffer *rest, lb_error *error)
{
    const route *first = route_of(l->bus, l->api_names[0]);
    buffer group = {0};
    keep_first_place(l, first, rest);
    buffer_printf(&group, "%s-%s", first->service_name, l->name);
    l->group = buffer_text(&group);
    l->event = first->fires->event;
    l->consumer = first->consumer_name;
    l->temporary = (options->flags & LB_LISTEN_TEMPORARY) ||
                   (first->service_name == l->bus->service_name && l->bus->service_name_is_random);
    if (!l->group || (rest->size && !buffer_text(rest))) {
        buffer_free(&group);
        l->group = NULL;
        return lb_error_set(error, LB_NO_MEMORY, "listener %s: out of memory", l->name);
    }
    return take_listen_options(l, first, options, error);
}

static lb_status add_listener(lb_bus *bus, listener *l, lb_error *error)
{
    struct worker *w = &bus->worker;
    listener **larger = realloc(w->listeners, (w->listener_count + 1) * sizeof *larger);
    if (!larger)
        return lb_error_set(error, LB_NO_MEMORY, "listener %s: out of memory", l->name);
    w->listeners = larger;
    w->listeners[w->listener_count++] = l;
    return LB_OK;
}

/* Makes a listener for the events at the place of the first one, and the listeners for the others. */
static lb_status listen_to(lb_bus *bus, const char *events, const listener *model,
                           const lb_listen_options *options, lb_error *error)
{
    listener *l = calloc(1, sizeof *l);
    buffer rest = {0};
    if (!l)
        return lb_error_set(error, LB_NO_MEMORY, "listener %s: out of memory", model->name);
    pthread_mutex_init(&l->lock, NULL);
    l->bus = bus;
    l->handler = model->handler;
    l->data = model->data;
    l->name = strdup(model->name);
    l->specification = strdup(events);
    lb_status status = l->name && l->specification
                           ? parse_events(l, error)
                           : lb_error_set(error, LB_NO_MEMORY, "listener %s: out of memory", model->name);
    if (status == LB_OK)
        status = take_place(l, options, &rest, error);
    if (status == LB_OK)
        status = add_listener(bus, l, error);
    if (status != LB_OK)
        listener_free(l);
    else if (rest.size)
        status = listen_to(bus, rest.data, model, options, error);
    buffer_free(&rest);
    return status;
}

lb_status lb_listen(lb_bus *bus, const char *events, const char *listener_name, lb_event_handler handler,
                    void *data, const lb_listen_options *options, lb_error *error)
{
    static const lb_listen_options defaults;
    if (!handler || !events)
        return lb_error_set(error, LB_USAGE, "lb_listen: expected events and a handler, got NULL");
    if (!worker_registering(bus, "lb_listen", error))
        return LB_USAGE;
    lb_status status = check_name(bus, listener_name, error);
    if (status != LB_OK)
        return status;
    const listener model = {.name = (char *)(uintptr_t)listener_name, .handler = handler, .data = data};
    struct worker *w = &bus->worker;
    size_t before = w->listener_count;
    status = listen_to(bus, events, &model, options ? options : &defaults, error);
    while (status != LB_OK && w->listener_count > before) /* all of its places, or none */
        listener_free(w->listeners[--w->listener_count]);
    return status;
}

void listener_describe(const listener *l, buffer *out)
{
    buffer_literal(out, "{\"name\":");
    buffer_json_string(out, l->name, strlen(l->name));
    buffer_literal(out, ",\"group\":");
    buffer_json_string(out, l->group, strlen(l->group));
    buffer_literal(out, ",\"events\":[");
    for (size_t i = 0; i < l->count; i++) {
        if (i)
            buffer_char(out, ',');
        buffer_json_string(out, l->api_names[i].data, l->api_names[i].size + 1 + l->event_names[i].size);
    }
    buffer_literal(out, "]}");
}

/* ---- Events held for another try -------------------------------------------------------------------- */

static bool keep(held *h, lb_slice from, lb_slice *to)
{
    *to = (lb_slice){arena_copy(&h->memory, from.data, from.size), from.size};
    return to->data != NULL;
}

static void held_free(held *h)
{
    arena_free(&h->memory);
    free(h);
}

/* A copy that outlives the batch: the trees are copied by way of their text. */
static held *held_copy(const lb_event_message *e)
{
    held *h = calloc(1, sizeof *h);
    buffer json = {0};
    lb_kwarg *kwargs = h ? arena_alloc(&h->memory, e->kwargs_count * sizeof *kwargs + 1) : NULL;
    bool ok = kwargs != NULL;
    for (size_t i = 0; ok && i < e->kwargs_count; i++) {
        json.size = 0;
        json_write(&json, e->kwargs[i].value);
        ok = keep(h, e->kwargs[i].name, &kwargs[i].name) && !json.failed &&
             json_parse(&h->memory, json.data, json.size, &kwargs[i].value, NULL) == LB_OK;
    }
    buffer_free(&json);
    if (ok) {
        h->event = *e;
        h->event.kwargs = kwargs;
        h->event.problem = e->problem ? arena_copy(&h->memory, e->problem, strlen(e->problem)) : NULL;
        ok = keep(h, e->id, &h->event.id) && keep(h, e->api_name, &h->event.api_name) &&
             keep(h, e->event_name, &h->event.event_name) && keep(h, e->native_id, &h->event.native_id) &&
             (h->event.problem || !e->problem);
    }
    if (ok || !h)
        return h;
    held_free(h);
    return NULL;
}

/* Puts it into the list in the order of time. */
static void hold(listener *l, held *h)
{
    h->due = clock_in_ms(backoff_ms(h->failures, RETRY_MS, RETRY_MOST));
    h->failures++;
    pthread_mutex_lock(&l->lock);
    held **at = &l->retries;
    while (*at && (*at)->due <= h->due)
        at = &(*at)->next;
    h->next = *at;
    *at = h;
    l->retry_count++;
    pthread_mutex_unlock(&l->lock);
}

/* The next one that is due, from the list to `current`; NULL: none. */
static held *take_due(listener *l)
{
    pthread_mutex_lock(&l->lock);
    held *h = l->retries;
    if (h && h->due <= clock_now()) {
        l->retries = h->next;
        l->retry_count--;
        l->current = h;
    } else {
        h = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    return h;
}

/* `current` is settled, or goes back into the list. */
static void put_due(listener *l, bool settled)
{
    pthread_mutex_lock(&l->lock);
    held *h = l->current;
    l->current = NULL;
    pthread_mutex_unlock(&l->lock);
    if (settled)
        held_free(h);
    else
        hold(l, h);
}

/* ---- One event -------------------------------------------------------------------------------------- */

static const char *event_text(const lb_event_message *e, char out[200])
{
    snprintf(out, 200, "event %.*s.%.*s %.*s (%.*s)", (int)e->api_name.size, e->api_name.data,
             (int)e->event_name.size, e->event_name.data, (int)e->id.size, e->id.data, (int)e->native_id.size,
             e->native_id.data);
    return out;
}

static bool same_member(const listener *l, const lb_event_message *e)
{
    return l->schema && l->member && slice_equal(api_schema_name(l->schema), e->api_name) &&
           slice_equal(l->member->name, e->event_name);
}

static lb_status find_member(listener *l, const lb_event_message *e, lb_error *error)
{
    api_schema_unref(l->schema);
    l->schema = NULL;
    bool strict = bus_settings(l->bus, e->api_name).strict_validation;
    return schemas_find(l->bus, e->api_name, e->event_name, true, strict, clock_in_ms(l->bus->rpc_timeout_ms),
                        &l->schema, &l->member, error);
}

/* Validates against the schema known; when that fails, against what is on the bus by now: the event may be
 * newer than the schema that we have, however young that is. */
static lb_status accept(listener *l, const lb_event_message *e, lb_message *m, lb_error *error)
{
    const unsigned how = bus_settings(l->bus, e->api_name).incoming;
    lb_status status = LB_OK;
    if (!same_member(l, e))
        status = find_member(l, e, error);
    if (status == LB_UNKNOWN_MEMBER) {
        schemas_refresh(l->bus);
        status = find_member(l, e, error);
    }
    if (status == LB_UNKNOWN_MEMBER && !(how & MARSHAL_VALIDATE))
        status = LB_OK; /* then nothing is known of it */
    if (status == LB_OK && l->member) {
        status = arguments_accept(e->api_name, l->member, how, m->memory, &m->kwargs, &m->count, error);
        if (status != LB_OK && !l->member->row) {
            schemas_refresh(l->bus);
            if (find_member(l, e, error) == LB_OK && l->member)
                status = arguments_accept(e->api_name, l->member, how, m->memory, &m->kwargs, &m->count, error);
        }
    }
    m->member = l->member;
    return status;
}

static bool permanent(lb_status status)
{
    return status == LB_INVALID_ARGUMENTS || status == LB_UNKNOWN_MEMBER || status == LB_MALFORMED;
}

static void name_reason(listener *l, lb_status status)
{
    if (status != LB_OK && l->reason.status == LB_OK)
        lb_error_set(&l->reason, status, "the handler returned %s", lb_status_name(status));
}

static outcome failed(listener *l, const lb_event_message *e, lb_status status, int deliveries)
{
    char text[200];
    bool final = status == LB_REJECT || permanent(status) || deliveries >= l->options.max_deliveries;
    name_reason(l, status);
    switch (l->options.on_error) {
    case LB_ON_ERROR_ACKNOWLEDGE_AND_LOG:
        lb_log(LB_LOG_ERROR, "listener %s: %s is given up: %s", l->name, event_text(e, text),
               l->reason.message);
        return OUTCOME_DONE;
    case LB_ON_ERROR_SHUTDOWN:
        if (status != LB_REJECT && !permanent(status)) {
            lb_log(LB_LOG_ERROR, "listener %s: %s failed, the worker stops: %s", l->name, event_text(e, text),
                   l->reason.message);
            worker_fail(l->bus, LB_FAILED, &l->reason);
            return OUTCOME_STOP;
        }
        return OUTCOME_DEAD;
    default:
        lb_log(final ? LB_LOG_ERROR : LB_LOG_WARNING, "listener %s: %s failed (delivery %d of %d): %s", l->name,
               event_text(e, text), deliveries, l->options.max_deliveries, l->reason.message);
        return final ? OUTCOME_DEAD : OUTCOME_RETRY;
    }
}

static lb_status run_handler(listener *l, lb_event *event)
{
    lb_status status = l->handler(event, l->data);
    if (status != LB_OK)
        l->reason = event->why;
    if (event->message.misuse.status == LB_OK)
        return status;
    l->reason = event->message.misuse;
    return LB_FAILED;
}

static lb_status run_with_hooks(listener *l, lb_event *event)
{
    int64_t began;
    lb_status status = hooks_before_event(event, &began, &l->reason);
    if (status != LB_OK)
        return status;
    status = run_handler(l, event);
    name_reason(l, status);
    hooks_after_event(event, began, &l->reason);
    return status;
}

static outcome handle(listener *l, const lb_event_message *e, unsigned failures, const bool *lost)
{
    int deliveries = e->deliveries + (int)failures;
    l->reason.status = LB_OK;
    if (__atomic_load_n(lost, __ATOMIC_RELAXED))
        return OUTCOME_STOP; /* another consumer's now */
    if (e->problem) {
        lb_error_set(&l->reason, LB_MALFORMED, "%s", e->problem);
        return failed(l, e, LB_MALFORMED, deliveries);
    }
    if (deliveries > l->options.max_deliveries) { /* its handler may be what killed those before us */
        lb_error_set(&l->reason, LB_REJECT, "delivered %d times without success", deliveries - 1);
        return failed(l, e, LB_REJECT, deliveries);
    }
    arena_reset(&l->memory, 65536);
    lb_event event = {
        .message = {.bus = l->bus,
                    .api_name = e->api_name,
                    .name = e->event_name,
                    .kwargs = e->kwargs,
                    .count = e->kwargs_count,
                    .memory = &l->memory},
        .event = e,
        .deliveries = deliveries,
        .lease_lost = lost,
    };
    lb_status status = accept(l, e, &event.message, &l->reason);
    if (status != LB_OK)
        return failed(l, e, status, deliveries);
    status = hooks_at(l->bus, HOOKS_OF_EVENT_HANDLERS) ? run_with_hooks(l, &event) : run_handler(l, &event);
    return status == LB_OK ? OUTCOME_DONE : failed(l, e, status, deliveries);
}

/* Does with an event what its outcome says. False: it is still to be tried again. */
static bool settle(listener *l, const lb_event_message *e, unsigned failures, outcome o)
{
    lb_event_message dead = *e;
    lb_error error = {0};
    lb_status status = LB_OK;
    if (o == OUTCOME_DONE)
        status = transport(l)->acknowledge(l->handle, &e, 1, &error);
    else if (o == OUTCOME_DEAD) {
        dead.deliveries += (int)failures;
        status = transport(l)->dead_letter(l->handle, &dead, l->reason.message, &error);
    }
    if (status != LB_OK)
        lb_log(LB_LOG_WARNING, "listener %s: %s", l->name, error.message);
    return o != OUTCOME_RETRY && status == LB_OK;
}

static void flush_if_late(listener *l)
{
    lb_error error = {0};
    int64_t now = clock_now();
    if (now - l->flushed < HOLD_BACK)
        return;
    if (transport(l)->flush(l->handle, clock_in_ms(5000), &error) != LB_OK)
        lb_log(LB_LOG_WARNING, "listener %s: acknowledging: %s", l->name, error.message);
    l->flushed = now;
}

static void handle_batch(void *argument)
{
    listener *l = argument;
    l->flushed = clock_now();
    while (l->position < l->batch_count && !worker_stopping(l->bus)) {
        const lb_event_message *e = &l->batch[l->position];
        outcome o = handle(l, e, 0, &l->lost[l->position]);
        if (o == OUTCOME_STOP && worker_stopping(l->bus))
            return; /* it stays pending, for this process's next start */
        if (!settle(l, e, 0, o)) {
            held *h = held_copy(e);
            if (h)
                hold(l, h);
            else
                lb_log(LB_LOG_ERROR, "listener %s: out of memory: an event waits for its redelivery", l->name);
        }
        __atomic_store_n(&l->position, l->position + 1, __ATOMIC_RELEASE);
        if (l->position < l->batch_count)
            flush_if_late(l);
    }
}

static void handle_due(void *argument)
{
    listener *l = argument;
    l->flushed = clock_now();
    for (held *h; !worker_stopping(l->bus) && (h = take_due(l));) {
        outcome o = handle(l, &h->event, h->failures, &h->lost);
        put_due(l, (o != OUTCOME_STOP || !worker_stopping(l->bus)) && settle(l, &h->event, h->failures, o));
        flush_if_late(l);
    }
}

/* ---- The thread ------------------------------------------------------------------------------------- */

static lb_status open_listener(listener *l, lb_error *error)
{
    lb_listener_config config = {
        .group = l->group,
        .consumer = l->consumer,
        .api_names = l->api_names,
        .event_names = l->event_names,
        .count = l->count,
        .since = l->since,
        .temporary = l->temporary,
        .deduplicate_ms = l->options.deduplicate_ms,
    };
    void *handle = NULL;
    lb_status status =
        transport(l)->listen(l->event->self, &config, clock_in_ms(l->bus->rpc_timeout_ms), &handle, error);
    pthread_mutex_lock(&l->lock);
    l->handle = handle;
    if (handle) {
        l->lease_ns = transport(l)->lease_ms(handle) * CLOCK_MS;
        l->next_renewal = clock_now() + l->lease_ns / 3;
    }
    pthread_mutex_unlock(&l->lock);
    return status;
}

static bool set_batch(listener *l, const lb_event_message *events, size_t count)
{
    bool ok = true;
    pthread_mutex_lock(&l->lock);
    if (count > l->lost_capacity) {
        bool *larger = realloc(l->lost, count * sizeof *larger);
        if (larger) {
            l->lost = larger;
            l->lost_capacity = count;
        }
        ok = larger != NULL;
    }
    if (ok && count)
        memset(l->lost, 0, count * sizeof *l->lost);
    l->batch = events;
    l->batch_count = ok ? count : 0;
    l->position = 0;
    pthread_mutex_unlock(&l->lock);
    return ok;
}

static void give_back(listener *l)
{
    lb_error error = {0};
    lb_status status = LB_OK; /* after a failure the acknowledgement timeout does it */
    pthread_mutex_lock(&l->lock);
    for (size_t i = l->position; i < l->batch_count && status == LB_OK; i++) {
        const lb_event_message *e = &l->batch[i];
        if (!l->lost[i])
            status = transport(l)->give_back(l->handle, &e, 1, &error);
    }
    l->batch_count = 0;
    while (l->retries) {
        held *h = l->retries;
        const lb_event_message *e = &h->event;
        l->retries = h->next;
        if (!h->lost && status == LB_OK)
            status = transport(l)->give_back(l->handle, &e, 1, &error);
        held_free(h);
    }
    l->retry_count = 0;
    pthread_mutex_unlock(&l->lock);
}

static int64_t next_due(listener *l)
{
    pthread_mutex_lock(&l->lock);
    int64_t due = l->retries ? l->retries->due : LB_FOREVER;
    pthread_mutex_unlock(&l->lock);
    return due;
}

static void listen_loop(listener *l)
{
    lb_bus *bus = l->bus;
    unsigned failures = 0;
    while (!worker_stopping(bus)) {
        lb_error error = {0};
        const lb_event_message *events = NULL;
        size_t count = 0;
        int64_t due = next_due(l);
        if (due <= clock_now())
            worker_run(bus, handle_due, l);
        if (l->retry_count >= MOST_HELD) {
            worker_pause(bus, 0);
            continue;
        }
        lb_status status =
            transport(l)->fetch(l->handle, (size_t)l->options.batch_size, next_due(l), &events, &count, &error);
        if (status != LB_OK) {
            lb_log(failures ? LB_LOG_DEBUG : LB_LOG_WARNING,
                   "listener %s: waiting for events: %s; trying again", l->name, error.message);
            worker_pause(bus, failures++);
            continue;
        }
        if (failures) {
            lb_log(LB_LOG_INFO, "listener %s: waiting for events again", l->name);
            failures = 0;
        }
        if (!count)
            continue;
        if (!set_batch(l, events, count)) {
            worker_pause(bus, failures++); /* out of memory: they stay pending */
            continue;
        }
        worker_run(bus, handle_batch, l);
        if (l->position < l->batch_count)
            return; /* stopping: the rest is given back */
        set_batch(l, NULL, 0);
    }
}

static void *listener_main(void *argument)
{
    listener *l = argument;
    lb_bus *bus = l->bus;
    lb_error error = {0};
    lb_status status = open_listener(l, &error);
    if (status != LB_OK)
        worker_fail(bus, status, &error);
    worker_ready(bus);
    if (status == LB_OK) {
        listen_loop(l);
        give_back(l);
        pthread_mutex_lock(&l->lock);
        void *handle = l->handle;
        l->handle = NULL;
        pthread_mutex_unlock(&l->lock);
        transport(l)->unlisten(handle, l->options.flags & LB_LISTEN_TEMPORARY);
    }
    worker_thread_ends(bus);
    return NULL;
}

bool listener_start(listener *l) { return l->started = worker_spawn(l->bus, &l->thread, listener_main, l); }

void listener_join(listener *l)
{
    if (l->started)
        pthread_join(l->thread, NULL);
    l->started = false;
}

void listener_interrupt(listener *l)
{
    pthread_mutex_lock(&l->lock);
    if (l->handle)
        transport(l)->interrupt(l->handle);
    pthread_mutex_unlock(&l->lock);
}

/* ---- Leases ----------------------------------------------------------------------------------------- */

/* listener.lock is held. Renews what is in hand; what was taken over meanwhile is marked as lost (S12). */
static void renew(listener *l)
{
    size_t first = __atomic_load_n(&l->position, __ATOMIC_ACQUIRE);
    size_t in_batch = l->batch_count > first ? l->batch_count - first : 0;
    size_t count = in_batch + l->retry_count + (l->current != NULL);
    if (!count)
        return;
    const lb_event_message **events = malloc(count * sizeof *events);
    bool **marks = malloc(count * sizeof *marks), *lost = calloc(count, sizeof *lost);
    lb_error error = {0};
    if (events && marks && lost) {
        size_t n = 0;
        for (; n < in_batch; n++) {
            events[n] = &l->batch[first + n];
            marks[n] = &l->lost[first + n];
        }
        for (held *h = l->current ? l->current : l->retries; h;
             h = h == l->current ? l->retries : h->next, n++) {
            events[n] = &h->event;
            marks[n] = &h->lost;
        }
        if (transport(l)->renew(l->handle, events, n, lost, &error) != LB_OK)
            lb_log(LB_LOG_WARNING, "listener %s: leases could not be renewed: %s", l->name, error.message);
        else
            for (size_t i = 0; i < n; i++)
                if (lost[i])
                    __atomic_store_n(marks[i], true, __ATOMIC_RELAXED);
    }
    free(events);
    free(marks);
    free(lost);
}

int64_t listener_tick(listener *l, int64_t now)
{
    pthread_mutex_lock(&l->lock);
    if (l->handle && now >= l->next_renewal) {
        renew(l);
        l->next_renewal = clock_now() + l->lease_ns / 3;
    }
    int64_t next = l->handle ? l->next_renewal : now + CLOCK_SECOND;
    pthread_mutex_unlock(&l->lock);
    return next;
}
