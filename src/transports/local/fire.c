/* Firing: a batch of events is appended to its streams in one transaction. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "listener.h"

static int64_t wall_clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Where in the batch's buffers the text of an event lies. */
typedef struct fired {
    size_t at, size; /* of its record; size 0: refused */
    size_t name_at, name_size;
    uint64_t stream;
} fired;

/* The name of the event's stream, appended to `names`. */
static void put_name(buffer *names, const local_bus *l, const lb_event_message *e)
{
    buffer_add(names, e->api_name.data, e->api_name.size);
    buffer_char(names, '.');
    if (l->options.stream_per_event)
        buffer_add(names, e->event_name.data, e->event_name.size);
    else
        buffer_char(names, '*');
}

static lb_status encode(local_bus *l, lb_event_message *const *events, size_t count, fired *list, buffer *names,
                        lb_error *error)
{
    size_t most = (size_t)l->options.max_message_size;
    buffer_clear(&l->encoded, 1 << 20);
    for (size_t i = 0; i < count; i++) {
        list[i] = (fired){.at = l->encoded.size, .name_at = names->size};
        put_name(names, l, events[i]);
        put_event(&l->encoded, events[i], 0);
        list[i].size = l->encoded.size - list[i].at;
        list[i].name_size = names->size - list[i].name_at;
        events[i]->status = LB_OK;
        events[i]->problem = NULL;
        if (list[i].size > most) {
            l->encoded.size = list[i].at;
            list[i].size = 0;
            events[i]->status = LB_TOO_LARGE;
            events[i]->problem = "the event is larger than max_message_size";
        }
    }
    if (l->encoded.failed || names->failed)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for %zu events", count);
    for (size_t i = 0; i < count; i++)
        list[i].stream = hash_text((lb_slice){names->data + list[i].name_at, list[i].name_size});
    return LB_OK;
}

/* Appends the run of events of one stream that begins at `start`; its end is *end. */
static int append_run(local_bus *l, transaction *t, MDB_cursor *cursor, lb_event_message *const *events,
                      const fired *list, size_t count, size_t start, const buffer *names, size_t *end)
{
    MDB_dbi table = t->store->parts[STORE_EVENTS].table;
    uint64_t id = list[start].stream;
    int64_t now_ms = wall_clock_ms();
    char text[NATIVE_ID_SIZE];
    stream s;
    size_t i = start;
    int result = stream_get(t->txn, table, id, &s);
    for (; i < count && list[i].stream == id && result == 0; i++) {
        if (!list[i].size)
            continue;
        result = stream_append(cursor, id, &s, (lb_slice){l->encoded.data + list[i].at, list[i].size}, now_ms);
        events[i]->native_id.size = native_id_text(text, s.last_ms, s.last);
        buffer_add(&l->native_ids, text, events[i]->native_id.size);
    }
    *end = i;
    if (result == 0)
        result = stream_trim(cursor, id, &s, (uint64_t)l->options.max_stream_length);
    if (result == 0)
        result = stream_put(t->txn, table, id,
                            (lb_slice){names->data + list[start].name_at, list[start].name_size}, &s);
    return result;
}

static lb_status append(local_bus *l, store *s, lb_event_message *const *events, const fired *list,
                        size_t count, const buffer *names, int64_t deadline_ns, lb_error *error)
{
    transaction t;
    MDB_cursor *cursor = NULL;
    buffer_clear(&l->native_ids, 1 << 16);
    lb_status status = write_begin(s, STORE_EVENTS, l->encoded.size + 1, deadline_ns, &t, error);
    if (status != LB_OK)
        return status;
    int result = mdb_cursor_open(t.txn, s->parts[STORE_EVENTS].table, &cursor);
    for (size_t i = 0; i < count && result == 0;)
        result = append_run(l, &t, cursor, events, list, count, i, names, &i);
    if (cursor)
        mdb_cursor_close(cursor);
    if (result == 0 && l->native_ids.failed)
        result = ENOMEM;
    return write_end_durably(&t, result, "firing events", error);
}

lb_status local_fire(void *self, lb_event_message *const *events, size_t count, int64_t deadline_ns,
                     lb_error *error)
{
    local_bus *l = self;
    store *s;
    buffer names = {0};
    fired *list = malloc((count + 1) * sizeof *list);
    lb_status status =
        list ? local_store(l, deadline_ns, &s, error) : lb_error_set(error, LB_NO_MEMORY, "out of memory");
    if (status == LB_OK)
        status = encode(l, events, count, list, &names, error);
    if (status == LB_OK && l->encoded.size)
        status = append(l, s, events, list, count, &names, deadline_ns, error);
    if (status == LB_OK) {
        const char *at = l->native_ids.data;
        for (size_t i = 0; i < count; i++) {
            if (!list[i].size)
                continue;
            events[i]->native_id.data = at;
            at += events[i]->native_id.size;
            if (i == 0 || list[i].stream != list[i - 1].stream)
                wake_up(s->wake, list[i].stream, WAKE_ALL);
        }
    }
    buffer_free(&names);
    free(list);
    return status;
}
