/* Leases of events in hand: renewing them (S12), giving them back (S21), burying them (S13). By any thread;
 * each looks first whether the entry is still this listener's. */
#include "listener.h"
#include "presence.h"

#include <errno.h>
#include <lightbus/log.h>

/* The pending record, if it is this listener's; MDB_NOTFOUND if not. */
static int own_pending(const listener *l, const source *s, transaction *t, uint64_t number, key *k, pending *p)
{
    *k = key_3(KEY_PENDING, s->stream, s->group, number);
    MDB_val kv = key_val(k), v;
    int result = mdb_get(t->txn, t->store->parts[STORE_EVENTS].table, &kv, &v);
    if (result == 0 && !pending_read(&v, p))
        return MDB_CORRUPTED;
    return result == 0 && p->owner != l->owner ? MDB_NOTFOUND : result;
}

static lb_status begin(listener *l, store **s, transaction *t, size_t room, lb_error *error)
{
    int64_t deadline = clock_in_ms(TOUCH_MS);
    lb_status status = local_store(l->bus, deadline, s, error);
    return status == LB_OK ? write_begin(*s, STORE_EVENTS, room, deadline, t, error) : status;
}

/* An entry of which there is no pending record of this listener. It is still ours if the group has vanished, or
 * was made again since, and nobody else has it (S18). */
static int keep(listener *l, const source *at, transaction *t, uint64_t number, int64_t until, bool *lost)
{
    MDB_dbi table = t->store->parts[STORE_EVENTS].table;
    source *own = &l->sources[at - l->sources];
    group g;
    key k = key_3(KEY_PENDING, at->stream, at->group, number);
    MDB_val kv = key_val(&k), v;
    bool present = true;
    int result = group_get(t->txn, table, at->stream, at->group, &g);
    *lost = result == 0;
    if (result)
        return result == MDB_NOTFOUND ? 0 : result;
    if ((result = mdb_get(t->txn, table, &kv, &v)) != MDB_NOTFOUND)
        return result; /* another's */
    result = presence_has(t->txn, table, at->stream, at->group, l->owner, &present);
    if (result == 0 && !present) {
        own->remade = g.cursor;
        result = presence_enter(t->txn, table, at->stream, at->group, l->owner, l->temporary);
    }
    *lost = number > own->remade;
    if (result || *lost)
        return result;
    pending p = {l->owner, until, 1, slice_of(l->consumer)};
    return pending_put(t->txn, table, &k, &p);
}

lb_status local_renew(void *self, const lb_event_message *const *events, size_t count, bool *lost,
                      lb_error *error)
{
    listener *l = self;
    store *s;
    transaction t;
    const source *at = NULL;
    uint64_t number = 0;
    int result = 0;
    int64_t until = clock_in_ms(l->bus->options.acknowledgement_timeout_ms);
    lb_status status = LB_OK;
    for (size_t i = 0; i < count && status == LB_OK; i++)
        status = find_entry(l, events[i], &at, &number, error);
    if (status == LB_OK)
        status = begin(l, &s, &t, 0, error);
    if (status != LB_OK)
        return status;
    for (size_t i = 0; i < count && result == 0; i++) {
        key k;
        pending p;
        find_entry(l, events[i], &at, &number, NULL);
        result = own_pending(l, at, &t, number, &k, &p);
        lost[i] = false;
        if (result == MDB_NOTFOUND) {
            result = keep(l, at, &t, number, until, &lost[i]);
        } else if (result == 0) {
            p.lease_until_ns = until;
            result = pending_put(t.txn, s->parts[STORE_EVENTS].table, &k, &p);
        }
    }
    return write_end(&t, result, "renewing leases", error);
}

lb_status local_give_back(void *self, const lb_event_message *const *events, size_t count, lb_error *error)
{
    listener *l = self;
    store *s;
    transaction t;
    const source *at = NULL;
    uint64_t number = 0;
    int result = 0;
    lb_status status = LB_OK;
    for (size_t i = 0; i < count && status == LB_OK; i++)
        status = find_entry(l, events[i], &at, &number, error);
    if (status == LB_OK)
        status = begin(l, &s, &t, 0, error);
    if (status != LB_OK)
        return status;
    for (size_t i = 0; i < count && result == 0; i++) {
        key k;
        pending p;
        find_entry(l, events[i], &at, &number, NULL);
        result = own_pending(l, at, &t, number, &k, &p);
        if (result == 0) {
            p.owner = 0;
            p.lease_until_ns = 0;
            p.consumer = (lb_slice){"", 0};
            result = pending_put(t.txn, s->parts[STORE_EVENTS].table, &k, &p);
            if (result == 0)
                result = group_reclaim_now(t.txn, s->parts[STORE_EVENTS].table, at->stream, slice_of(l->group));
            result = result == MDB_NOTFOUND ? 0 : result;
        } else if (result == MDB_NOTFOUND) {
            result = 0; /* another's already */
        }
    }
    status = write_end(&t, result, "giving events back", error);
    for (size_t i = 0; i < count && status == LB_OK; i++)
        wake_all(s->wake, l->sources[events[i]->source].stream);
    return status;
}

/* The record of an event in hand that is gone from its stream. */
static void put_trimmed(buffer *b, const lb_event_message *event)
{
    arena memory = {0};
    buffer json = {0};
    lb_event_message again = *event;
    lb_kwarg *kwargs = arena_alloc(&memory, (event->kwargs_count + 1) * sizeof *kwargs);
    again.kwargs = kwargs;
    again.kwargs_count = 0;
    for (size_t i = 0; i < event->kwargs_count && kwargs && !event->problem; i++) {
        json.size = 0;
        json_write(&json, event->kwargs[i].value);
        kwargs[again.kwargs_count++] = (lb_kwarg){
            .name = event->kwargs[i].name, .json = {arena_copy(&memory, json.data, json.size), json.size}};
        b->failed |= json.failed || !kwargs[i].json.data;
    }
    if (event->problem)
        again.id = (lb_slice){"", 0}; /* it stays one that cannot be understood */
    b->failed |= !kwargs;
    if (!b->failed)
        put_event(b, &again);
    buffer_free(&json);
    arena_free(&memory);
}

static void encode_dead(buffer *b, const listener *l, const lb_event_message *event, lb_slice record,
                        const char *reason)
{
    const lb_dead_letter letter = {
        .group = slice_of(l->group), .consumer = slice_of(l->consumer), .reason = slice_of(reason)};
    size_t begin = put_slice_begin(b);
    put_letter(b, &letter, event->native_id, (uint64_t)event->deliveries,
               record.data ? record : (lb_slice){"", 0});
    if (!record.data)
        put_trimmed(b, event);
    put_slice_end(b, begin);
}

static int bury(const listener *l, const source *at, transaction *t, const key *k, lb_slice records)
{
    MDB_dbi table = t->store->parts[STORE_EVENTS].table;
    native_id id;
    buffer name = {0};
    key copy = *k;
    MDB_val kv = key_val(&copy);
    buffer_printf(&name, "%s" DEAD_SUFFIX, at->name);
    const lb_slice dead_name = {name.data, name.size};
    int result = name.failed ? ENOMEM
                             : stream_append(t->txn, table, hash_text(dead_name), dead_name, records,
                                             wall_clock_ms(), (uint64_t)l->bus->options.max_stream_length, &id);
    buffer_free(&name);
    return result ? result : mdb_del(t->txn, table, &kv, NULL);
}

lb_status local_dead_letter(void *self, const lb_event_message *event, const char *reason, lb_error *error)
{
    listener *l = self;
    store *s;
    transaction t;
    const source *at = NULL;
    uint64_t number = 0;
    key k;
    pending p;
    entry dying = {.number = 0};
    buffer dead = {0};
    lb_status status = find_entry(l, event, &at, &number, error);
    if (status == LB_OK)
        status = begin(l, &s, &t, 0, error);
    if (status != LB_OK)
        return status;
    int result = own_pending(l, at, &t, number, &k, &p);
    if (result == MDB_NOTFOUND) {
        write_abort(&t);
        lb_log(LB_LOG_WARNING,
               "%s: event %.*s of %s belongs to another consumer now: not moved to the dead letters", l->group,
               (int)event->native_id.size, event->native_id.data, at->name);
        return LB_OK;
    }
    if (result == 0) {
        result = entry_get(t.txn, s->parts[STORE_EVENTS].table, at->stream, number, &dying);
        result = result == MDB_NOTFOUND ? 0 : result;
    }
    if (result == 0) {
        encode_dead(&dead, l, event, dying.record, reason);
        result = dead.failed ? ENOMEM : bury(l, at, &t, &k, (lb_slice){dead.data, dead.size});
    }
    if (result == 0 && l->deduplicate_ns)
        result = copies_forget(&t, &(candidate){at->stream, at->group, number, event->id});
    buffer_free(&dead);
    return write_end_durably(&t, result, "moving an event to the dead letters", error);
}
