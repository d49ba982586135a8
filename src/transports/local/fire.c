/* Firing: a batch of events is appended to its streams in one transaction. */
#include <errno.h>
#include <stdlib.h>

#include "listener.h"

/* An event on its way. Its texts lie in the batch's buffers. */
typedef struct fired {
    size_t at, size; /* of its record; size 0: refused */
    size_t name_at, name_size;
    uint64_t stream;
    native_id id;
} fired;

typedef struct batch {
    local_bus *bus;
    lb_event_message *const *events;
    fired *list;
    size_t count;
    buffer names;
} batch;

static lb_slice record_of(const batch *b, const fired *f)
{
    return (lb_slice){b->bus->encoded.data + f->at, f->size};
}
static lb_slice name_of(const batch *b, const fired *f)
{
    return (lb_slice){b->names.data + f->name_at, f->name_size};
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

static lb_status encode(batch *b, lb_error *error)
{
    local_bus *l = b->bus;
    size_t most = (size_t)l->options.max_message_size;
    buffer_clear(&l->encoded, 1 << 20);
    for (size_t i = 0; i < b->count; i++) {
        lb_event_message *e = b->events[i];
        fired *f = &b->list[i];
        *f = (fired){.at = l->encoded.size, .name_at = b->names.size};
        put_name(&b->names, l, e);
        put_event(&l->encoded, e, 0);
        f->size = l->encoded.size - f->at;
        f->name_size = b->names.size - f->name_at;
        e->status = LB_OK;
        e->problem = NULL;
        if (f->size > most) {
            l->encoded.size = f->at;
            f->size = 0;
            e->status = LB_TOO_LARGE;
            e->problem = "the event is larger than max_message_size";
        }
    }
    if (l->encoded.failed || b->names.failed)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for %zu events", b->count);
    for (size_t i = 0; i < b->count; i++)
        b->list[i].stream = hash_text(name_of(b, &b->list[i]));
    return LB_OK;
}

/* ---- Appending -------------------------------------------------------------------------------------- */

/* Appends the run of events of one stream that begins at `start`; its end is *end. */
static int append_run(const batch *b, transaction *t, MDB_cursor *cursor, size_t start, size_t *end)
{
    MDB_dbi table = t->store->parts[STORE_EVENTS].table;
    uint64_t id = b->list[start].stream;
    int64_t now_ms = wall_clock_ms();
    stream s;
    size_t i = start;
    int result = stream_get(t->txn, table, id, &s);
    for (; i < b->count && b->list[i].stream == id && result == 0; i++) {
        fired *f = &b->list[i];
        if (f->size)
            result = stream_append(cursor, id, &s, record_of(b, f), now_ms);
        f->id = (native_id){s.last_ms, s.last};
    }
    *end = i;
    if (result == 0)
        result = stream_trim(cursor, id, &s, (uint64_t)b->bus->options.max_stream_length);
    return result ? result : stream_put(t->txn, table, id, name_of(b, &b->list[start]), &s);
}

static lb_status append(const batch *b, store *s, int64_t deadline_ns, lb_error *error)
{
    transaction t;
    MDB_cursor *cursor = NULL;
    lb_status status = write_begin(s, STORE_EVENTS, b->bus->encoded.size, deadline_ns, &t, error);
    if (status != LB_OK)
        return status;
    int result = mdb_cursor_open(t.txn, s->parts[STORE_EVENTS].table, &cursor);
    for (size_t i = 0; i < b->count && result == 0;)
        result = append_run(b, &t, cursor, i, &i);
    if (cursor)
        mdb_cursor_close(cursor);
    return write_end_durably(&t, result, "firing events", error);
}

/* With a sync that is shared by all who fire meanwhile. */
static lb_status append_together(const batch *b, store *s, int64_t deadline_ns, lb_error *error)
{
    buffer staged = {0};
    uint32_t accepted = 0;
    native_id *ids = malloc((b->count + 1) * sizeof *ids);
    for (size_t i = 0; i < b->count; i++)
        accepted += b->list[i].size > 0;
    together_begin(&staged, deadline_ns, b->bus->options.max_stream_length, accepted);
    for (size_t i = 0; i < b->count; i++)
        if (b->list[i].size) {
            put_slice(&staged, name_of(b, &b->list[i]));
            put_slice(&staged, record_of(b, &b->list[i]));
        }
    lb_status status = ids && !staged.failed
                           ? together_fire(s, &staged, ids, accepted, deadline_ns, error)
                           : lb_error_set(error, LB_NO_MEMORY, "out of memory for %zu events", b->count);
    for (size_t i = 0, n = 0; i < b->count && status == LB_OK; i++)
        if (b->list[i].size)
            b->list[i].id = ids[n++];
    buffer_free(&staged);
    free(ids);
    return status;
}

/* ---- The function of the contract ------------------------------------------------------------------- */

static lb_status give_ids(const batch *b, lb_error *error)
{
    buffer *texts = &b->bus->native_ids;
    buffer_clear(texts, 1 << 16);
    for (size_t i = 0; i < b->count; i++) {
        char text[NATIVE_ID_SIZE];
        b->events[i]->native_id.size =
            b->list[i].size ? native_id_text(text, b->list[i].id.time_ms, b->list[i].id.number) : 0;
        buffer_add(texts, text, b->events[i]->native_id.size);
    }
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
    batch b = {.bus = l, .events = events, .count = count, .list = malloc((count + 1) * sizeof *b.list)};
    lb_status status =
        b.list ? local_store(l, deadline_ns, &s, error) : lb_error_set(error, LB_NO_MEMORY, "out of memory");
    if (status == LB_OK)
        status = encode(&b, error);
    if (status == LB_OK && l->encoded.size)
        status =
            store_durable(s) ? append_together(&b, s, deadline_ns, error) : append(&b, s, deadline_ns, error);
    for (size_t i = 0; i < count && status == LB_OK; i++)
        if (b.list[i].size && (i == 0 || b.list[i].stream != b.list[i - 1].stream))
            wake_up(s->wake, b.list[i].stream, WAKE_ALL);
    if (status == LB_OK)
        status = give_ids(&b, error);
    buffer_free(&b.names);
    free(b.list);
    return status;
}
