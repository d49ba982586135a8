/* Listening: opening, fetching, acknowledging.
 *
 * One transaction per fetch writes the acknowledgements that wait and takes the next events. "In hand" is what
 * is pending with this listener's own number as its owner: it is never given out again here, and to others only
 * after its lease has ended or it was given back. */
#include "listener.h"

#include <errno.h>
#include <lightbus/log.h>
#include <stdlib.h>

#include "presence.h"

enum {
    MOST_SCANNED = 4096, /* entries looked at in one transaction, wanted or not */
    ROOM_OF_ID = 512,    /* bytes that noting an event's id takes, at most */
};

static MDB_dbi table_of(const transaction *t) { return t->store->parts[STORE_EVENTS].table; }

static bool wants(const listener *l, lb_slice record)
{
    lb_slice api, event;
    if (!event_names(record, &api, &event))
        return true; /* what cannot be read is to be seen (S14) */
    for (size_t i = 0; i < l->pairs; i++)
        if (slice_equal(l->api_names[i], api) &&
            (slice_is(l->event_names[i], "*") || slice_equal(l->event_names[i], event)))
            return true;
    return false;
}

/* ---- The batch -------------------------------------------------------------------------------------- */

static int batch_add(listener *l, const source *s, const entry *e, uint64_t deliveries)
{
    if (l->batch_count == l->batch_capacity) {
        size_t capacity = l->batch_capacity ? l->batch_capacity * 2 : 64;
        given *larger = realloc(l->batch, capacity * sizeof *larger);
        if (!larger)
            return ENOMEM;
        l->batch = larger;
        l->batch_capacity = capacity;
    }
    lb_slice record = {arena_copy(&l->arena, e->record.data, e->record.size), e->record.size};
    if (!record.data)
        return ENOMEM;
    l->batch[l->batch_count++] = (given){{e->number, e->time_ms, record},
                                         (int)(s - l->sources),
                                         deliveries > INT32_MAX ? INT32_MAX : (int)deliveries};
    l->batch_bytes += record.size;
    return 0;
}

static bool batch_full(const listener *l, size_t max)
{
    return l->batch_count >= max || l->batch_bytes >= MOST_BYTES;
}

static lb_status batch_decode(listener *l, const lb_event_message **events, size_t *count, lb_error *error)
{
    lb_event_message *list = arena_alloc(&l->arena, l->batch_count * sizeof *list);
    for (size_t i = 0; i < l->batch_count && list; i++) {
        const given *g = &l->batch[i];
        char text[NATIVE_ID_SIZE];
        size_t size = native_id_text(text, g->entry.time_ms, g->entry.number);
        const char *id = arena_copy(&l->arena, text, size);
        list[i] = (lb_event_message){.native_id = {id, size}, .source = g->source, .deliveries = g->deliveries};
        if (!id || !get_event(&l->arena, g->entry.record, (size_t)l->bus->options.max_message_size, &list[i]))
            list = NULL;
    }
    *events = list;
    *count = list ? l->batch_count : 0;
    return list ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory for %zu events", l->batch_count);
}

/* ---- Taking ----------------------------------------------------------------------------------------- */

static int64_t lease_until(const listener *l)
{
    return clock_in_ms(l->bus->options.acknowledgement_timeout_ms);
}

static int hold(const listener *l, const source *s, transaction *t, uint64_t number, uint64_t deliveries,
                int64_t until)
{
    key k = key_3(KEY_PENDING, s->stream, s->group, number);
    pending p = {l->owner, until, deliveries, slice_of(l->consumer)};
    return pending_put(t->txn, table_of(t), &k, &p);
}

/* Is it a copy? What it is a copy of is pending, or done: nothing is lost when it is passed over (S10, S20). */
static int find_copy(listener *l, const source *s, const transaction *t, const given *g, bool *copy)
{
    candidate c = {s->stream, s->group, g->entry.number, event_id(g->entry.record)};
    uint64_t first = 0;
    int result = l->deduplicate_ns ? copies_find(t, &c, l->deduplicate_ns, !l->full, &first) : 0;
    *copy = first != 0;
    if (first)
        notes_add(&l->notes, LB_LOG_DEBUG,
                  "%s: event %.*s (entry %llu of %s) is a copy of entry %llu: passed over (%llu in all)",
                  l->group, (int)c.id.size, c.id.data, (unsigned long long)c.number, s->name,
                  (unsigned long long)first, (unsigned long long)++l->copies);
    return result;
}

/* Takes a pending entry over. One that was trimmed is lost (S16). */
static int take_over(listener *l, const source *s, group *g, transaction *t, uint64_t number,
                     uint64_t deliveries, int64_t until)
{
    entry found;
    key k = key_3(KEY_PENDING, s->stream, s->group, number);
    MDB_val kv = key_val(&k);
    bool copy = false;
    int result = entry_get(t->txn, table_of(t), s->stream, number, &found);
    if (result == MDB_NOTFOUND) {
        g->lost++;
        notes_add(&l->notes, LB_LOG_ERROR,
                  "%s: entry %llu of %s was lost: trimmed from the stream before it was handled", l->group,
                  (unsigned long long)number, s->name);
        return mdb_del(t->txn, table_of(t), &kv, NULL);
    }
    if (result == 0)
        result = batch_add(l, s, &found, deliveries + 1);
    if (result == 0)
        result = find_copy(l, s, t, &l->batch[l->batch_count - 1], &copy);
    if (result == 0 && copy) {
        l->batch_count--;
        return mdb_del(t->txn, table_of(t), &kv, NULL);
    }
    return result ? result : hold(l, s, t, number, deliveries + 1, until);
}

typedef struct claim {
    uint64_t number, deliveries;
} claim;

/* Collects pending entries of the source: those of earlier processes of this name, or those whose lease has
 * ended. */
static int collect(listener *l, source *s, bool own, MDB_cursor *cursor, claim *list, size_t most,
                   size_t *count, int64_t *next_ns)
{
    key prefix = key_2(KEY_PENDING, s->stream, s->group),
        from = key_3(KEY_PENDING, s->stream, s->group, own ? s->own_after + 1 : 0);
    MDB_val k = key_val(&from), v;
    int64_t now = clock_now();
    pending p;
    *count = 0;
    *next_ns = NO_RECLAIM;
    int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && key_within(&k, &prefix); more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        if (!pending_read(&v, &p))
            return MDB_CORRUPTED;
        bool others = p.owner != l->owner, ended = p.lease_until_ns <= now;
        if (others && (own ? slice_is(p.consumer, l->consumer) : ended)) {
            if (*count == most) {
                *next_ns = RECLAIM_NOW; /* there are more */
                return 0;
            }
            list[(*count)++] = (claim){key_number(&k, 2), p.deliveries};
        } else {
            int64_t at = ended ? now + l->bus->options.reclaim_interval_ms * CLOCK_MS : p.lease_until_ns;
            *next_ns = at < *next_ns ? at : *next_ns;
        }
        if (own)
            s->own_after = key_number(&k, 2);
    }
    return more == MDB_NOTFOUND ? 0 : more;
}

static int take_pending(listener *l, source *s, group *g, bool own, size_t max, transaction *t,
                        MDB_cursor *cursor)
{
    enum { MOST = 256 };
    claim list[MOST];
    size_t room = max > l->batch_count ? max - l->batch_count : 0, count, i;
    int64_t next_ns, until = lease_until(l);
    int result = collect(l, s, own, cursor, list, room < MOST ? room : MOST, &count, &next_ns);
    for (i = 0; i < count && result == 0 && !batch_full(l, max); i++)
        result = take_over(l, s, g, t, list[i].number, list[i].deliveries, until);
    if (result)
        return result;
    if (i < count) { /* these are large: the rest is for the next batch */
        next_ns = RECLAIM_NOW;
        s->own_after = own ? list[i].number - 1 : s->own_after;
    }
    if (own) {
        s->own = next_ns == RECLAIM_NOW;
        next_ns = g->reclaim_at_ns;
    }
    if (count && until < next_ns)
        next_ns = until;
    g->reclaim_at_ns = next_ns;
    return 0;
}

/* Entries that were trimmed before this group read them. */
static void note_lost(listener *l, const source *s, group *g, const stream *state)
{
    if (g->cursor + 1 >= state->first)
        return;
    uint64_t lost = state->first - g->cursor - 1;
    notes_add(&l->notes, LB_LOG_ERROR,
              "%s: %llu events of %s were lost: trimmed from the stream before they were read", l->group,
              (unsigned long long)lost, s->name);
    g->lost += lost;
    g->cursor = state->first - 1;
}

/* Makes the new ones of the batch pending, but for copies, which leave it. */
static int keep_new(listener *l, const source *s, transaction *t, size_t before, int64_t until)
{
    size_t kept = before;
    int result = 0;
    for (size_t i = before; i < l->batch_count && result == 0; i++) {
        bool copy;
        result = find_copy(l, s, t, &l->batch[i], &copy);
        if (result || copy)
            continue;
        l->batch[kept++] = l->batch[i];
        result = hold(l, s, t, l->batch[i].entry.number, 1, until);
    }
    l->batch_count = kept;
    return result;
}

static int take_new(listener *l, source *s, group *g, size_t max, transaction *t, MDB_cursor *cursor)
{
    stream state;
    int64_t until = lease_until(l);
    size_t scanned = 0, before = l->batch_count;
    int result = stream_get(t->txn, table_of(t), s->stream, &state);
    if (result)
        return result;
    note_lost(l, s, g, &state);
    if (g->cursor >= state.last)
        return 0;
    entries e;
    int more = entries_find(&e, cursor, s->stream, g->cursor + 1);
    for (; more == 0 && !batch_full(l, max) && scanned < MOST_SCANNED; scanned++) {
        g->cursor = e.at.number;
        if (wants(l, e.at.record) && (result = batch_add(l, s, &e.at, 1)) != 0)
            return result;
        more = entries_next(&e);
    }
    if (more && more != MDB_NOTFOUND)
        return more;
    result = keep_new(l, s, t, before, until);
    if (l->batch_count > before && until < g->reclaim_at_ns)
        g->reclaim_at_ns = until;
    return result;
}

static bool reclaim_due(const source *s, const group *g)
{
    int64_t now = clock_now();
    return g->reclaim_at_ns == RECLAIM_NOW || (now >= g->reclaim_at_ns && now >= s->next_reclaim_ns);
}

static int enter(const listener *l, const source *s, transaction *t)
{
    return presence_enter(t->txn, table_of(t), s->stream, s->group, l->owner, l->temporary);
}

/* A group that vanished is made again where this listener stood, or at the start of a stream that is new too
 * (S18). */
static int recreate(listener *l, source *s, group *g, transaction *t)
{
    stream state = {0};
    int result = stream_get(t->txn, table_of(t), s->stream, &state);
    *g = (group){.cursor = s->made == state.made ? s->delivered : 0, .reclaim_at_ns = NO_RECLAIM};
    notes_add(&l->notes, LB_LOG_WARNING, "%s: the group on %s had vanished; it goes on after entry %llu",
              l->group, s->name, (unsigned long long)g->cursor);
    s->made = state.made;
    s->remade = g->cursor;
    if (result == 0) /* it may be new: then it is to be this one */
        result = stream_put(t->txn, table_of(t), s->stream, slice_of(s->name), &state);
    return result ? result : enter(l, s, t);
}

static int take_source(listener *l, source *s, size_t max, transaction *t, MDB_cursor *cursor)
{
    group g, was;
    int result = group_get(t->txn, table_of(t), s->stream, s->group, &g);
    was = g;
    if (result == MDB_NOTFOUND) {
        result = recreate(l, s, &g, t);
        memset(&was, 0xff, sizeof was);
    }
    if (result == 0 && s->own)
        result = take_pending(l, s, &g, true, max, t, cursor);
    if (result == 0 && !batch_full(l, max) && reclaim_due(s, &g)) {
        s->next_reclaim_ns = clock_in_ms(l->bus->options.reclaim_interval_ms);
        result = take_pending(l, s, &g, false, max, t, cursor);
    }
    if (result == 0 && !batch_full(l, max))
        result = take_new(l, s, &g, max, t, cursor);
    if (result == 0 && memcmp(&g, &was, sizeof g) != 0)
        result = group_put(t->txn, table_of(t), s->stream, s->group, slice_of(l->group), &g);
    s->delivered = g.cursor;
    return result;
}

/* ---- Acknowledging ---------------------------------------------------------------------------------- */

static bool has_done(const listener *l)
{
    for (const source *s = l->sources; s < l->sources + l->source_count; s++)
        if (s->done_count)
            return true;
    return false;
}

static int write_done(const listener *l, transaction *t)
{
    for (const source *s = l->sources; s < l->sources + l->source_count; s++)
        for (size_t i = 0; i < s->done_count; i++) {
            key k = key_3(KEY_PENDING, s->stream, s->group, s->done[i]);
            MDB_val kv = key_val(&k);
            int result = mdb_del(t->txn, table_of(t), &kv, NULL);
            if (result && result != MDB_NOTFOUND)
                return result;
        }
    return 0;
}

static void done_written(listener *l)
{
    for (source *s = l->sources; s < l->sources + l->source_count; s++)
        s->done_count = 0;
}

lb_status find_entry(const listener *l, const lb_event_message *event, const source **s, uint64_t *number,
                     lb_error *error)
{
    int64_t ms;
    if (event->source < 0 || (size_t)event->source >= l->source_count ||
        !native_id_parse(event->native_id, &ms, number) || !*number)
        return lb_error_set(error, LB_USAGE, "an event that is not of this listener: \"%.*s\"",
                            (int)(event->native_id.size < 60 ? event->native_id.size : 60),
                            event->native_id.data);
    *s = &l->sources[event->source];
    return LB_OK;
}

static lb_status acknowledge(void *self, const lb_event_message *const *events, size_t count, lb_error *error)
{
    listener *l = self;
    for (size_t i = 0; i < count; i++) {
        const source *found = NULL;
        uint64_t number = 0;
        lb_status status = find_entry(l, events[i], &found, &number, error);
        if (status != LB_OK)
            return status;
        source *s = &l->sources[found - l->sources];
        if (s->done_count == s->done_capacity) {
            size_t capacity = s->done_capacity ? s->done_capacity * 2 : 64;
            uint64_t *larger = realloc(s->done, capacity * sizeof *larger);
            if (!larger)
                return lb_error_set(error, LB_NO_MEMORY, "out of memory for an acknowledgement");
            s->done = larger;
            s->done_capacity = capacity;
        }
        s->done[s->done_count++] = number;
    }
    return LB_OK;
}

static lb_status flush(void *self, int64_t deadline_ns, lb_error *error)
{
    listener *l = self;
    store *s;
    transaction t;
    if (!has_done(l))
        return LB_OK;
    lb_status status = local_store(l->bus, deadline_ns, &s, error);
    if (status == LB_OK)
        status = write_begin(s, STORE_EVENTS, 0, deadline_ns, &t, error);
    if (status == LB_OK)
        status = write_end(&t, write_done(l, &t), "acknowledging events", error);
    if (status == LB_OK)
        done_written(l);
    return status;
}

/* ---- Fetching --------------------------------------------------------------------------------------- */

/* Is there anything to take? *next_ns: when there may be, without a wake-up. */
static lb_status peek(listener *l, store *s, bool *found, int64_t *next_ns, lb_error *error)
{
    MDB_dbi table = s->parts[STORE_EVENTS].table;
    int result = 0;
    *next_ns = LB_FOREVER;
    lb_status status = view_begin(&l->view, s, STORE_EVENTS, error);
    if (status != LB_OK)
        return status;
    for (const source *at = l->sources; at < l->sources + l->source_count && !*found && result == 0; at++) {
        stream state;
        group g;
        result = stream_get(l->view.txn, table, at->stream, &state);
        if (result == 0)
            result = group_get(l->view.txn, table, at->stream, at->group, &g);
        *found = result == MDB_NOTFOUND ||
                 (result == 0 && (at->own || g.cursor < state.last || reclaim_due(at, &g)));
        if (result == 0 && g.reclaim_at_ns != NO_RECLAIM) {
            int64_t due = g.reclaim_at_ns > at->next_reclaim_ns ? g.reclaim_at_ns : at->next_reclaim_ns;
            *next_ns = due < *next_ns ? due : *next_ns;
        }
        result = result == MDB_NOTFOUND ? 0 : result;
    }
    view_end(&l->view);
    return result ? store_failed(s, STORE_EVENTS, result, "looking for events", error) : LB_OK;
}

/* What the sources stand at, for a transaction that fails. */
static void rewind_sources(listener *l, const source *was)
{
    for (size_t i = 0; i < l->source_count; i++) {
        l->sources[i].own = was[i].own;
        l->sources[i].own_after = was[i].own_after;
        l->sources[i].delivered = was[i].delivered;
        l->sources[i].made = was[i].made;
    }
}

/* Where there is no room for noting ids, events are given out all the same. */
static lb_status begin_exchange(listener *l, store *s, size_t max, int64_t deadline_ns, transaction *t,
                                lb_error *error)
{
    size_t room = l->deduplicate_ns ? max * ROOM_OF_ID : 0;
    lb_error why = {0};
    lb_status status = room ? write_begin(s, STORE_EVENTS, room, deadline_ns, t, &why) : LB_NO_SPACE;
    if (room && status == LB_NO_SPACE && !l->full)
        lb_log(LB_LOG_WARNING, "%s: copies of events may be handled as well: %s", l->group, why.message);
    l->full = room && status == LB_NO_SPACE;
    if (status == LB_NO_SPACE)
        return write_begin(s, STORE_EVENTS, 0, deadline_ns, t, error);
    if (status != LB_OK && error)
        *error = why;
    return status;
}

/* One transaction: the acknowledgements that wait, and up to `max` events. */
static lb_status exchange(listener *l, store *s, size_t max, int64_t deadline_ns, lb_error *error)
{
    transaction t;
    MDB_cursor *cursor = NULL;
    source *was = arena_alloc(&l->arena, l->source_count * sizeof *was);
    if (!was)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    memcpy(was, l->sources, l->source_count * sizeof *was);
    l->batch_count = l->batch_bytes = 0;
    lb_status status = begin_exchange(l, s, max, deadline_ns, &t, error);
    if (status != LB_OK)
        return status;
    int result = mdb_cursor_open(t.txn, s->parts[STORE_EVENTS].table, &cursor);
    if (result == 0)
        result = write_done(l, &t);
    for (size_t i = 0; i < l->source_count && result == 0 && !batch_full(l, max); i++)
        result = take_source(l, &l->sources[(l->turn + i) % l->source_count], max, &t, cursor);
    if (cursor)
        mdb_cursor_close(cursor);
    if (result == 0 && l->deduplicate_ns) /* faster than ids are added */
        result = copies_sweep(&t, 2 * l->batch_count + 2);
    status = write_end(&t, result, "taking events", error);
    notes_end(&l->notes, status == LB_OK);
    if (status == LB_OK) {
        done_written(l);
        l->turn = (l->turn + 1) % l->source_count;
    } else {
        rewind_sources(l, was);
        l->batch_count = 0;
    }
    return status;
}

static lb_status fetch(void *self, size_t max, int64_t deadline_ns, const lb_event_message **events,
                       size_t *count, lb_error *error)
{
    listener *l = self;
    store *s;
    int64_t next_ns = LB_FOREVER;
    *events = NULL;
    *count = 0;
    l->batch_count = 0;
    arena_reset(&l->arena, KEEP_ARENA);
    lb_status status;
    while ((status = local_store(l->bus, deadline_ns, &s, error)) == LB_OK) {
        wake_set_look(&l->wake, s->wake);
        bool found = has_done(l);
        if (!found)
            status = peek(l, s, &found, &next_ns, error);
        if (status == LB_OK && found) {
            status = exchange(l, s, max ? max : 1, deadline_ns, error);
            next_ns = 0; /* not known now: look again before waiting */
        }
        if (status != LB_OK || l->batch_count)
            break;
        if (wake_set_interrupted(&l->wake) || clock_now() >= deadline_ns)
            break;
        if (store_sweep_due(s))
            store_sweep(s);
        presence_sweep_if_due(s, l->bus->options.group_ttl_ms);
        if (next_ns)
            wake_set_wait(&l->wake, next_ns < deadline_ns ? next_ns : deadline_ns);
    }
    return status == LB_OK && l->batch_count ? batch_decode(l, events, count, error) : status;
}

static void interrupt(void *self) { wake_set_interrupt(&((listener *)self)->wake); }

static int64_t lease_ms(void *self) { return ((listener *)self)->bus->options.acknowledgement_timeout_ms; }

/* ---- Opening and closing ---------------------------------------------------------------------------- */

static void free_listener(listener *l)
{
    view_free(&l->view);
    for (size_t i = 0; i < l->source_count; i++) {
        free(l->sources[i].name);
        free(l->sources[i].done);
    }
    free(l->sources);
    for (size_t i = 0; i < l->pairs; i++) {
        free((void *)(uintptr_t)l->api_names[i].data);
        free((void *)(uintptr_t)l->event_names[i].data);
    }
    free(l->api_names);
    free(l->event_names);
    free(l->group);
    free(l->consumer);
    free(l->since);
    free(l->batch);
    wake_set_free(&l->wake);
    arena_free(&l->arena);
    notes_free(&l->notes);
    free(l);
}

static bool copy_slice(lb_slice *to, lb_slice from)
{
    *to = (lb_slice){strndup(from.data, from.size), from.size};
    return to->data != NULL;
}

/* The stream of a pair, unless it is there already. */
static bool add_source(listener *l, size_t pair)
{
    lb_slice api = l->api_names[pair], event = l->event_names[pair];
    buffer name = {0};
    buffer_add(&name, api.data, api.size);
    buffer_char(&name, '.');
    if (l->bus->options.stream_per_event)
        buffer_add(&name, event.data, event.size);
    else
        buffer_char(&name, '*');
    const char *text = buffer_text(&name);
    if (!text)
        return false;
    for (size_t i = 0; i < l->source_count; i++)
        if (strcmp(l->sources[i].name, text) == 0) {
            buffer_free(&name);
            return true;
        }
    l->sources[l->source_count++] = (source){
        .name = name.data,
        .stream = hash_text(slice_of(text)),
        .group = hash_text(slice_of(l->group)),
        .own = true,
    };
    return true;
}

static lb_status take_config(listener *l, const lb_listener_config *config, lb_error *error)
{
    l->group = strdup(config->group);
    l->consumer = strdup(config->consumer);
    l->since = strdup(config->since && *config->since ? config->since : "$");
    l->api_names = calloc(config->count + 1, sizeof *l->api_names);
    l->event_names = calloc(config->count + 1, sizeof *l->event_names);
    l->sources = calloc(config->count + 1, sizeof *l->sources);
    uint64_t *words = calloc(config->count + 1, sizeof *words);
    bool ok = l->group && l->consumer && l->since && l->api_names && l->event_names && l->sources && words;
    for (size_t i = 0; i < config->count && ok; i++) {
        l->pairs++;
        ok = copy_slice(&l->api_names[i], config->api_names[i]) &&
             copy_slice(&l->event_names[i], config->event_names[i]) && add_source(l, i);
    }
    for (size_t i = 0; i < l->source_count; i++)
        words[i] = wake_all_of(l->sources[i].stream);
    ok = ok && wake_set_init(&l->wake, words, l->source_count);
    free(words);
    return ok ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory");
}

static lb_status check_config(const local_bus *l, const lb_listener_config *config, lb_error *error)
{
    if (!config->count)
        return lb_error_set(error, LB_USAGE, "%s: expected at least one event to listen to", config->group);
    if (strlen(config->group) > 255 || strlen(config->consumer) > 255)
        return lb_error_set(
            error, LB_CONFIG,
            "%.40s...: the names of services, listeners and processes may have 255 bytes in all",
            config->group);
    for (size_t i = 0; i < config->count && l->options.stream_per_event; i++)
        if (slice_is(config->event_names[i], "*"))
            return lb_error_set(error, LB_CONFIG,
                                "%s: with stream_use=per_event, events are listened to by name, not as %.*s.*",
                                config->group, (int)config->api_names[i].size, config->api_names[i].data);
    return LB_OK;
}

static lb_status create_groups(listener *l, store *s, int64_t deadline_ns, lb_error *error)
{
    transaction t;
    int result = 0;
    size_t room =
        l->source_count < 64 ? 0 : 1024 * l->source_count; /* a worker starts where senders find no space */
    lb_status status = write_begin(s, STORE_EVENTS, room, deadline_ns, &t, error);
    if (status != LB_OK)
        return status;
    for (source *at = l->sources; at < l->sources + l->source_count && status == LB_OK && result == 0; at++) {
        stream state = {0};
        group g = {0};
        result = stream_get(t.txn, table_of(&t), at->stream, &state);
        at->made = state.made;
        if (result == 0)
            result = group_get(t.txn, table_of(&t), at->stream, at->group, &g);
        if (result == MDB_NOTFOUND) {
            g = (group){.reclaim_at_ns = NO_RECLAIM};
            result = 0;
            status = stream_position(&t, at->stream, &state, l->since, &g.cursor, error);
            if (status == LB_OK)
                result = stream_put(t.txn, table_of(&t), at->stream, slice_of(at->name), &state);
            if (result == 0 && status == LB_OK)
                result = group_put(t.txn, table_of(&t), at->stream, at->group, slice_of(l->group), &g);
        }
        if (result == 0 && status == LB_OK)
            result = enter(l, at, &t);
        at->delivered = g.cursor;
    }
    if (status != LB_OK) {
        write_abort(&t);
        return status;
    }
    return write_end_durably(&t, result, "creating groups", error);
}

static lb_status listen(void *self, const lb_listener_config *config, int64_t deadline_ns, void **out,
                        lb_error *error)
{
    local_bus *bus = self;
    store *s;
    *out = NULL;
    lb_status status = check_config(bus, config, error);
    if (status == LB_OK)
        status = local_store(bus, deadline_ns, &s, error);
    if (status != LB_OK)
        return status;
    listener *l = calloc(1, sizeof *l);
    if (!l)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    l->bus = bus;
    l->owner = unique_number();
    l->temporary = config->temporary;
    l->deduplicate_ns = config->deduplicate_ms * CLOCK_MS;
    status = take_config(l, config, error);
    if (status == LB_OK)
        status = create_groups(l, s, deadline_ns, error);
    if (status == LB_OK) {
        wake_set_look(&l->wake, s->wake);
        *out = l;
    } else {
        free_listener(l);
    }
    return status;
}

/* Writes the acknowledgements that wait, and takes this listener from the store, and groups that are not wanted
 * any longer. */
static lb_status leave(listener *l, bool forget, lb_error *error)
{
    store *s = __atomic_load_n(&l->bus->store, __ATOMIC_ACQUIRE);
    transaction t;
    if (!s || store_gone(s))
        return LB_OK;
    lb_status status = write_begin(s, STORE_EVENTS, 0, clock_in_ms(CLOSE_MS), &t, error);
    if (status != LB_OK)
        return status;
    int result = write_done(l, &t);
    for (const source *at = l->sources; at < l->sources + l->source_count && result == 0; at++)
        result = presence_leave(t.txn, table_of(&t), at->stream, at->group, l->owner, forget);
    return write_end(&t, result, "closing a listener", error);
}

static void unlisten(void *self, bool forget)
{
    listener *l = self;
    lb_error error = {0};
    if (!l)
        return;
    if (leave(l, forget, &error) != LB_OK)
        lb_log(LB_LOG_WARNING, "%s: closing: %s", l->group, error.message);
    free_listener(l);
}

const lb_event_transport local_events = {
    .send = local_fire,
    .listen = listen,
    .fetch = fetch,
    .acknowledge = acknowledge,
    .flush = flush,
    .renew = local_renew,
    .give_back = local_give_back,
    .dead_letter = local_dead_letter,
    .interrupt = interrupt,
    .unlisten = unlisten,
    .lease_ms = lease_ms,
    .history = local_history,
    .history_fetch = local_history_fetch,
    .history_close = local_history_close,
    .lag = local_lag,
    .replay = local_history_replay,
    .purge = local_history_purge,
};
