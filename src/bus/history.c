/* Looking at stored events, and at how far listeners are behind, without listening.
 *
 * A history has a part per transport that stores any of its APIs. A transport gives its events in the order of
 * time; the parts are merged by the milliseconds with which native ids begin. */
#include "bus.h"

#include <stdlib.h>
#include <string.h>

#define BATCH       256 /* events taken from the transport at once */
#define KEEP_MEMORY (64 * 1024)

typedef struct part {
    const instance *store;
    void *handle; /* the transport's */
    const lb_event_message *batch;
    size_t count, position;
    bool end; /* no more at present */
} part;

struct lb_history {
    lb_bus *bus;
    char *list;                        /* the events, as they were given */
    lb_slice *api_names, *event_names; /* pairs, slices of `list` */
    size_t pairs;
    part *parts;
    size_t part_count;
    bool oldest_first;
    const lb_event_message *current; /* NULL: none */
    const part *origin;              /* of `current` */
    lb_event event;                  /* of `current` */
    arena memory;                    /* of `event` */
    api_schema *schema;              /* holds the defaults among its arguments, or NULL */
};

/* Where the events of an API are stored; NULL with LB_UNSUPPORTED when that transport cannot tell. */
static const instance *find_store(const lb_bus *bus, lb_slice api_name, lb_error *error)
{
    const instance *store = route_of(bus, api_name)->fires->event;
    if (store->transport->event->history)
        return store;
    lb_error_set(error, LB_UNSUPPORTED, "%.*s: the transport \"%s\" cannot tell what it has stored",
                 (int)api_name.size, api_name.data, store->transport->name);
    return NULL;
}

/* The names in `events`; `list` and the arrays are for free(). */
static lb_status read_events(const char *events, char **list, lb_slice **api_names, lb_slice **event_names,
                             size_t *pairs, lb_error *error)
{
    *list = strdup(events ? events : "");
    if (!*list)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for the names of events");
    lb_status status = names_split(*list, api_names, event_names, pairs, error);
    if (status == LB_OK && !*pairs)
        return lb_error_set(error, LB_INVALID_NAME,
                            "expected events such as \"api.event\" or \"api.*\", got none");
    return status;
}

static lb_status check_options(const lb_history_options *o, lb_error *error)
{
    const unsigned known = LB_HISTORY_OLDEST_FIRST | LB_HISTORY_DEAD_LETTERS;
    if (o->flags & ~known)
        return lb_error_set(error, LB_CONFIG, "lb_history_open: unknown bits 0x%x in flags", o->flags & ~known);
    if (o->from && strcmp(o->from, "$") == 0 && !(o->flags & LB_HISTORY_OLDEST_FIRST))
        return lb_error_set(error, LB_CONFIG, "from: \"$\" is for a history with the oldest first");
    return LB_OK;
}

/* Opens the part of a transport: the pairs whose APIs it stores. */
static lb_status open_part(lb_history *h, part *p, const lb_history_options *o, lb_error *error)
{
    lb_slice *names = calloc(2 * h->pairs + 1, sizeof *names);
    if (!names)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a history");
    lb_history_config config = {.api_names = names,
                                .event_names = names + h->pairs,
                                .from = o->from,
                                .to = o->to,
                                .oldest_first = h->oldest_first,
                                .dead_letters = o->flags & LB_HISTORY_DEAD_LETTERS};
    for (size_t i = 0; i < h->pairs; i++)
        if (route_of(h->bus, h->api_names[i])->fires->event == p->store) {
            names[config.count] = h->api_names[i];
            names[h->pairs + config.count++] = h->event_names[i];
        }
    lb_status status = p->store->transport->event->history(
        p->store->self, &config, clock_in_ms(h->bus->rpc_timeout_ms), &p->handle, error);
    free(names);
    return status;
}

static bool has_part(const lb_history *h, const instance *store)
{
    for (size_t i = 0; i < h->part_count; i++)
        if (h->parts[i].store == store)
            return true;
    return false;
}

static lb_status add_part(lb_history *h, const instance *store, const lb_history_options *o, lb_error *error)
{
    if (has_part(h, store))
        return LB_OK;
    part *larger = realloc(h->parts, (h->part_count + 1) * sizeof *larger);
    if (!larger)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a history");
    h->parts = larger;
    h->parts[h->part_count] = (part){.store = store};
    return open_part(h, &h->parts[h->part_count++], o, error);
}

/* The stores of all APIs, those among them that can tell. */
static lb_status open_all(lb_history *h, const lb_history_options *o, lb_error *error)
{
    lb_status status = LB_OK;
    for (const struct fires *f = h->bus->fires; f && status == LB_OK; f = f->next)
        if (f->event->transport->event->history)
            status = add_part(h, f->event, o, error);
    if (status == LB_OK && !h->part_count)
        return lb_error_set(error, LB_UNSUPPORTED, "the transport \"%s\" cannot tell what it has stored",
                            h->bus->route.fires->event->transport->name);
    return status;
}

static lb_status open_history(lb_history *h, const char *events, const lb_history_options *o, lb_error *error)
{
    lb_status status = check_options(o, error);
    h->oldest_first = o->flags & LB_HISTORY_OLDEST_FIRST;
    if (status == LB_OK && !events && o->flags & LB_HISTORY_DEAD_LETTERS)
        return open_all(h, o, error);
    if (status == LB_OK)
        status = read_events(events, &h->list, &h->api_names, &h->event_names, &h->pairs, error);
    for (size_t i = 0; i < h->pairs && status == LB_OK; i++) {
        const instance *store = find_store(h->bus, h->api_names[i], error);
        status = store ? add_part(h, store, o, error) : LB_UNSUPPORTED;
    }
    return status;
}

lb_history *lb_history_open(lb_bus *bus, const char *events, const lb_history_options *options, lb_error *error)
{
    static const lb_history_options defaults;
    bus_check_fork(bus);
    lb_history *h = calloc(1, sizeof *h);
    if (!h) {
        lb_error_set(error, LB_NO_MEMORY, "out of memory for a history");
        return NULL;
    }
    h->bus = bus;
    if (open_history(h, events, options ? options : &defaults, error) == LB_OK)
        return h;
    lb_history_close(h);
    return NULL;
}

void lb_history_close(lb_history *h)
{
    if (!h)
        return;
    for (part *p = h->parts; p < h->parts + h->part_count; p++)
        if (p->handle)
            p->store->transport->event->history_close(p->handle);
    free(h->parts);
    api_schema_unref(h->schema);
    arena_free(&h->memory);
    free(h->api_names);
    free(h->event_names);
    free(h->list);
    free(h);
}

/* ---- The next one ----------------------------------------------------------------------------------- */

/* A connection that has died while nobody used it is no failure: once more. */
static lb_status fetch(const lb_history *h, part *p, lb_error *error)
{
    const lb_event_transport *t = p->store->transport->event;
    int64_t deadline = clock_in_ms(h->bus->rpc_timeout_ms);
    lb_status status = t->history_fetch(p->handle, BATCH, deadline, &p->batch, &p->count, &p->end, error);
    if (status == LB_TRANSPORT && clock_now() < deadline)
        status = t->history_fetch(p->handle, BATCH, deadline, &p->batch, &p->count, &p->end, error);
    p->position = 0;
    if (status != LB_OK)
        p->count = 0;
    return status;
}

static bool is_used_up(const part *p) { return p->position == p->count; }

/* Two stores may be the same place, with other options: an event is that of the store of its API. */
static bool belongs(const lb_history *h, const part *p, const lb_event_message *m)
{
    return h->pairs || !m->api_name.size || route_of(h->bus, m->api_name)->fires->event == p->store;
}

/* Has the next event of each part at hand, unless there is none at present. */
static lb_status fetch_all(lb_history *h, lb_error *error)
{
    lb_status status = LB_OK;
    bool over = true;
    for (const part *p = h->parts; p < h->parts + h->part_count; p++)
        over = over && p->end && is_used_up(p);
    for (part *p = h->parts; p < h->parts + h->part_count; p++) {
        if (over)
            p->end = !h->oldest_first; /* what came since */
        do {
            if (is_used_up(p) && !p->end)
                status = fetch(h, p, error);
            while (!is_used_up(p) && !belongs(h, p, &p->batch[p->position]))
                p->position++;
        } while (status == LB_OK && is_used_up(p) && !p->end);
    }
    return status;
}

static int64_t time_of(const lb_event_message *m)
{
    const lb_slice id = m->dead ? m->dead->id : m->native_id;
    int64_t ms = 0;
    for (const char *c = id.data; c < id.data + id.size && *c >= '0' && *c <= '9'; c++)
        ms = ms < INT64_MAX / 20 ? ms * 10 + (*c - '0') : ms;
    return ms;
}

static part *foremost(const lb_history *h)
{
    part *best = NULL;
    int64_t best_ms = 0;
    for (part *p = h->parts; p < h->parts + h->part_count; p++) {
        if (is_used_up(p))
            continue;
        int64_t ms = h->part_count > 1 ? time_of(&p->batch[p->position]) : 0;
        if (!best || (h->oldest_first ? ms < best_ms : ms > best_ms)) {
            best = p;
            best_ms = ms;
        }
    }
    return best;
}

static void show(lb_history *h, part *p)
{
    const lb_event_message *m = &p->batch[p->position++];
    static const bool never_lost = false;
    arena_reset(&h->memory, KEEP_MEMORY);
    api_schema_unref(h->schema);
    h->schema = NULL;
    h->current = m;
    h->origin = p;
    h->event = (lb_event){
        .message = {.bus = h->bus,
                    .api_name = m->api_name,
                    .name = m->event_name,
                    .kwargs = m->kwargs,
                    .count = m->kwargs_count,
                    .memory = &h->memory},
        .event = m,
        .deliveries = m->deliveries,
        .lease_lost = &never_lost,
    };
}

lb_status lb_history_next(lb_history *h, const lb_event **event, lb_error *error)
{
    *event = NULL;
    h->current = NULL;
    bus_check_fork(h->bus);
    lb_status status = fetch_all(h, error);
    part *p = status == LB_OK ? foremost(h) : NULL;
    if (!p)
        return status;
    show(h, p);
    *event = &h->event;
    return LB_OK;
}

const char *lb_history_problem(const lb_history *h) { return h->current ? h->current->problem : NULL; }

lb_status lb_history_check(lb_history *h, bool *known, lb_error *error)
{
    const lb_event_message *m = h->current;
    lb_message *message = &h->event.message;
    const member_schema *member = NULL;
    if (known)
        *known = false;
    if (!m)
        return lb_error_set(error, LB_USAGE, "lb_history_check: expected an event to have been given");
    if (m->problem)
        return lb_error_set(error, LB_MALFORMED, "%s", m->problem);
    api_schema_unref(h->schema);
    h->schema = NULL;
    lb_status status = schemas_find(h->bus, m->api_name, m->event_name, true, false,
                                    clock_in_ms(h->bus->rpc_timeout_ms), &h->schema, &member, error);
    if (status == LB_OK && member) {
        if (known)
            *known = true;
        message->args = NULL; /* made anew, with the defaults */
        status = arguments_accept(m->api_name, member, MARSHAL_VALIDATE | MARSHAL_CAST, &h->memory,
                                  &message->kwargs, &message->count, error);
    }
    return status;
}

/* ---- Dead letters ----------------------------------------------------------------------------------- */

static lb_status check_letter(const lb_history *h, const char *doing, lb_error *error)
{
    bus_check_fork(h->bus);
    if (!h->current || !h->current->dead)
        return lb_error_set(error, LB_USAGE, "%s: expected a dead letter to have been given", doing);
    return LB_OK;
}

lb_status lb_dead_letter_replay(lb_history *h, unsigned flags, lb_error *error)
{
    lb_status status = check_letter(h, "lb_dead_letter_replay", error);
    if (status != LB_OK)
        return status;
    if (flags & ~LB_REPLAY_FIRE)
        return lb_error_set(error, LB_CONFIG, "lb_dead_letter_replay: unknown bits 0x%x in flags",
                            flags & ~LB_REPLAY_FIRE);
    return h->origin->store->transport->event->replay(h->origin->handle, h->current, flags & LB_REPLAY_FIRE,
                                                      clock_in_ms(h->bus->rpc_timeout_ms), error);
}

lb_status lb_dead_letter_purge(lb_history *h, lb_error *error)
{
    lb_status status = check_letter(h, "lb_dead_letter_purge", error);
    return status == LB_OK ? h->origin->store->transport->event->purge(
                                 h->origin->handle, h->current, clock_in_ms(h->bus->rpc_timeout_ms), error)
                           : status;
}

/* ---- Lag -------------------------------------------------------------------------------------------- */

typedef struct lags {
    buffer out;
    map seen; /* what is told already: several events may share a stream */
    const char *group;
} lags;

static void write_name(buffer *out, const char *name, lb_slice text)
{
    buffer_printf(out, "\"%s\":", name);
    if (!buffer_json_string(out, text.data, text.size))
        buffer_literal(out, "\"?\""); /* not UTF-8: none of ours */
    buffer_char(out, ',');
}

static void write_number(buffer *out, const char *name, int64_t number)
{
    if (number < 0)
        buffer_printf(out, "\"%s\":null,", name);
    else
        buffer_printf(out, "\"%s\":%lld,", name, (long long)number);
}

static void write_lag(const lb_group_lag *lag, void *data)
{
    lags *l = data;
    if (!lag->group.size || (l->group && !slice_is(lag->group, l->group)))
        return;
    size_t start = l->out.size;
    buffer_str(&l->out, start > 1 ? ",{" : "{");
    size_t name = l->out.size;
    write_name(&l->out, "group", lag->group);
    write_name(&l->out, "api", lag->api_name);
    write_name(&l->out, "event", lag->event_name);
    if (map_get(&l->seen, l->out.data + name, l->out.size - name)) {
        l->out.size = start;
        return;
    }
    if (l->out.failed || !map_put(&l->seen, l->out.data + name, l->out.size - name, l))
        l->out.failed = true;
    write_number(&l->out, "undelivered", lag->undelivered);
    write_number(&l->out, "pending", lag->pending);
    write_number(&l->out, "consumers", lag->consumers);
    write_number(&l->out, "dead_letters", lag->dead_letters);
    write_number(&l->out, "lost", lag->lost);
    if (!l->out.failed)
        l->out.data[l->out.size - 1] = '}';
}

/* Has every store tell about its pairs. */
static lb_status ask_all(lb_bus *bus, const char *events, void (*found)(const lb_group_lag *lag, void *data),
                         void *data, lb_error *error)
{
    char *list = NULL;
    lb_slice *api_names = NULL, *event_names = NULL;
    size_t pairs = 0;
    bus_check_fork(bus);
    int64_t deadline = clock_in_ms(bus->rpc_timeout_ms);
    lb_status status = read_events(events, &list, &api_names, &event_names, &pairs, error);
    for (size_t i = 0; i < pairs && status == LB_OK; i++) {
        const instance *store = find_store(bus, api_names[i], error);
        status = store ? store->transport->event->lag(store->self, api_names[i], event_names[i], found, data,
                                                      deadline, error)
                       : LB_UNSUPPORTED;
    }
    free(list);
    free(api_names);
    free(event_names);
    return status;
}

lb_status lb_lag(lb_bus *bus, const char *events, const char *group, lb_value **result, lb_error *error)
{
    lags l = {.group = group};
    *result = NULL;
    buffer_char(&l.out, '[');
    lb_status status = ask_all(bus, events, write_lag, &l, error);
    buffer_char(&l.out, ']');
    if (status == LB_OK)
        status = l.out.failed ? lb_error_set(error, LB_NO_MEMORY, "out of memory while asking for the lag")
                              : lb_value_parse(l.out.data, l.out.size, result, error);
    buffer_free(&l.out);
    map_free(&l.seen);
    return status;
}

/* ---- Streams ---------------------------------------------------------------------------------------- */

typedef struct streams {
    buffer out;
    map seen;
    bool open; /* the list of its groups has not ended; not so of one that is told already */
} streams;

static void end_stream(streams *s)
{
    if (s->open)
        buffer_literal(&s->out, "]}");
    s->open = false;
}

static void begin_stream(streams *s, const lb_group_lag *lag)
{
    end_stream(s);
    size_t start = s->out.size;
    buffer_str(&s->out, start > 1 ? ",{" : "{");
    size_t name = s->out.size;
    write_name(&s->out, "api", lag->api_name);
    write_name(&s->out, "event", lag->event_name);
    if (map_get(&s->seen, s->out.data + name, s->out.size - name)) {
        s->out.size = start;
        return;
    }
    if (s->out.failed || !map_put(&s->seen, s->out.data + name, s->out.size - name, s))
        s->out.failed = true;
    write_number(&s->out, "stored", lag->stored);
    write_number(&s->out, "fired", lag->fired);
    write_number(&s->out, "dead_letters", lag->dead_letters);
    buffer_literal(&s->out, "\"groups\":[");
    s->open = true;
}

static void write_stream(const lb_group_lag *lag, void *data)
{
    streams *s = data;
    if (!lag->group.size) {
        begin_stream(s, lag);
        return;
    }
    if (!s->open || s->out.failed)
        return;
    buffer_str(&s->out, s->out.data[s->out.size - 1] == '[' ? "{" : ",{");
    write_name(&s->out, "group", lag->group);
    write_number(&s->out, "undelivered", lag->undelivered);
    write_number(&s->out, "pending", lag->pending);
    write_number(&s->out, "consumers", lag->consumers);
    write_number(&s->out, "dead_letters", lag->dead_letters);
    write_number(&s->out, "lost", lag->lost);
    s->out.data[s->out.size - 1] = '}';
}

lb_status lb_streams(lb_bus *bus, const char *events, lb_value **result, lb_error *error)
{
    streams s = {0};
    *result = NULL;
    buffer_char(&s.out, '[');
    lb_status status = ask_all(bus, events, write_stream, &s, error);
    end_stream(&s);
    buffer_char(&s.out, ']');
    if (status == LB_OK)
        status = s.out.failed ? lb_error_set(error, LB_NO_MEMORY, "out of memory while asking for streams")
                              : lb_value_parse(s.out.data, s.out.size, result, error);
    buffer_free(&s.out);
    map_free(&s.seen);
    return status;
}
