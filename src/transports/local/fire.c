/* Firing: a batch of events is appended to its streams in one transaction. */
#include <errno.h>
#include <stdlib.h>

#include "listener.h"

/* Events of one stream, one after the other. Their records lie in bus->encoded, the name of the stream in
 * `names`. */
typedef struct run {
    size_t events; /* refused ones too */
    size_t at, size;
    size_t name_at, name_size;
    uint64_t stream;
    native_id first;
} run;

typedef struct batch {
    local_bus *bus;
    lb_event_message *const *events;
    run *runs;
    size_t count, run_count;
    buffer names;
} batch;

static lb_slice records_of(const batch *b, const run *r)
{
    return (lb_slice){b->bus->encoded.data + r->at, r->size};
}
static lb_slice name_of(const batch *b, const run *r)
{
    return (lb_slice){b->names.data + r->name_at, r->name_size};
}

/* ---- Encoding --------------------------------------------------------------------------------------- */

/* The name of the event's stream. */
static void put_name(buffer *names, const local_bus *l, const lb_event_message *e)
{
    buffer_add(names, e->api_name.data, e->api_name.size);
    buffer_char(names, '.');
    if (l->options.stream_per_event)
        buffer_add(names, e->event_name.data, e->event_name.size);
    else
        buffer_char(names, '*');
}

static bool same_stream(const local_bus *l, const lb_event_message *a, const lb_event_message *b)
{
    return slice_equal(a->api_name, b->api_name) &&
           (!l->options.stream_per_event || slice_equal(a->event_name, b->event_name));
}

static void encode_event(local_bus *l, lb_event_message *e)
{
    size_t begin = put_slice_begin(&l->encoded);
    put_event(&l->encoded, e);
    e->status = LB_OK;
    e->problem = NULL;
    if (l->encoded.size - begin > (size_t)l->options.max_message_size) {
        e->status = LB_TOO_LARGE;
        e->problem = "the event is larger than max_message_size";
        l->encoded.size = begin - sizeof(uint32_t);
    } else {
        put_slice_end(&l->encoded, begin);
    }
}

static lb_status encode(batch *b, lb_error *error)
{
    local_bus *l = b->bus;
    run *r = NULL;
    buffer_clear(&l->encoded, 1 << 20);
    for (size_t i = 0; i < b->count; i++) {
        lb_event_message *e = b->events[i];
        if (!r || !same_stream(l, e, b->events[i - 1])) {
            r = &b->runs[b->run_count++];
            *r = (run){.at = l->encoded.size, .name_at = b->names.size};
            put_name(&b->names, l, e);
            r->name_size = b->names.size - r->name_at;
        }
        encode_event(l, e);
        r->events++;
        r->size = l->encoded.size - r->at;
    }
    if (l->encoded.failed || b->names.failed)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for %zu events", b->count);
    for (r = b->runs; r < b->runs + b->run_count; r++)
        r->stream = hash_text(name_of(b, r));
    return LB_OK;
}

/* ---- Appending -------------------------------------------------------------------------------------- */

static lb_status append(const batch *b, store *s, int64_t deadline_ns, lb_error *error)
{
    transaction t;
    int64_t most = b->bus->options.max_stream_length, now_ms;
    int result = 0;
    lb_status status = write_begin(s, STORE_EVENTS, b->bus->encoded.size, deadline_ns, &t, error);
    if (status != LB_OK)
        return status;
    now_ms = wall_clock_ms();
    for (run *r = b->runs; r < b->runs + b->run_count && result == 0; r++)
        if (r->size)
            result = stream_append(t.txn, s->parts[STORE_EVENTS].table, r->stream, name_of(b, r),
                                   records_of(b, r), now_ms, (uint64_t)most, &r->first);
    return write_end_durably(&t, result, "firing events", error);
}

/* With a sync that is shared by all who fire meanwhile. */
static lb_status append_together(const batch *b, store *s, int64_t deadline_ns, lb_error *error)
{
    buffer staged = {0};
    uint32_t runs = 0;
    native_id *ids = malloc((b->run_count + 1) * sizeof *ids);
    for (const run *r = b->runs; r < b->runs + b->run_count; r++)
        runs += r->size > 0;
    together_begin(&staged, b->bus->options.max_stream_length, runs);
    for (const run *r = b->runs; r < b->runs + b->run_count; r++)
        if (r->size) {
            put_slice(&staged, name_of(b, r));
            put_slice(&staged, records_of(b, r));
        }
    lb_status status = ids && !staged.failed
                           ? together_fire(s, &staged, ids, runs, deadline_ns, error)
                           : lb_error_set(error, LB_NO_MEMORY, "out of memory for %zu events", b->count);
    for (size_t i = 0, n = 0; i < b->run_count && status == LB_OK; i++)
        if (b->runs[i].size)
            b->runs[i].first = ids[n++];
    buffer_free(&staged);
    free(ids);
    return status;
}

/* ---- The function of the contract ------------------------------------------------------------------- */

/* In a run the ids differ in their numbers alone. */
static void put_ids(const batch *b, buffer *texts)
{
    lb_event_message *const *e = b->events;
    for (const run *r = b->runs; r < b->runs + b->run_count; r++) {
        char text[NATIVE_ID_SIZE];
        uint64_t number = r->first.number;
        native_id_text(text, r->first.time_ms, 0);
        size_t time_size = strlen(text) - 1;
        for (size_t i = 0; i < r->events; i++, e++) {
            size_t before = texts->size;
            if ((*e)->status == LB_OK) {
                buffer_add(texts, text, time_size);
                buffer_uint(texts, number++);
            }
            (*e)->native_id.size = texts->size - before;
        }
    }
}

static lb_status give_ids(const batch *b, lb_error *error)
{
    buffer *texts = &b->bus->native_ids;
    buffer_clear(texts, 1 << 16);
    put_ids(b, texts);
    if (texts->failed)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for the ids of %zu events", b->count);
    const char *at = texts->data;
    for (size_t i = 0; i < b->count; at += b->events[i++]->native_id.size)
        b->events[i]->native_id.data = at;
    return LB_OK;
}

lb_status local_fire(void *self, lb_event_message *const *events, size_t count, int64_t deadline_ns,
                     lb_error *error)
{
    local_bus *l = self;
    store *s;
    batch b = {.bus = l, .events = events, .count = count, .runs = malloc((count + 1) * sizeof *b.runs)};
    lb_status status =
        b.runs ? local_store(l, deadline_ns, &s, error) : lb_error_set(error, LB_NO_MEMORY, "out of memory");
    if (status == LB_OK)
        status = encode(&b, error);
    if (status == LB_OK && l->encoded.size)
        status =
            store_durable(s) ? append_together(&b, s, deadline_ns, error) : append(&b, s, deadline_ns, error);
    for (size_t i = 0; i < b.run_count && status == LB_OK; i++)
        if (b.runs[i].size)
            wake_all(s->wake, b.runs[i].stream);
    if (status == LB_OK)
        status = give_ids(&b, error);
    buffer_free(&b.names);
    free(b.runs);
    return status;
}
