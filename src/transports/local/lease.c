/* Leases of events in hand: renewing them (S12), giving them back (S21), burying them (S13). By any thread;
 * each looks first whether the entry is still this listener's. */
#include "listener.h"

#include <errno.h>
#include <lightbus/log.h>
#include <stdio.h>

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
        lost[i] = result == MDB_NOTFOUND;
        if (result == MDB_NOTFOUND) {
            result = 0;
        } else if (result == 0) {
            p.lease_until_ns = until;
            result = pending_put(t.txn, s->parts[STORE_EVENTS].table, &k, &p);
        }
    }
    return write_end(&t, result, "renewing leases", error);
}

/* Tells the group that something can be taken over at once. */
static int reclaim_now(const listener *l, const source *at, transaction *t)
{
    group g;
    MDB_dbi table = t->store->parts[STORE_EVENTS].table;
    int result = group_get(t->txn, table, at->stream, at->group, &g);
    if (result == MDB_NOTFOUND)
        return 0;
    g.reclaim_at_ns = RECLAIM_NOW;
    return result ? result : group_put(t->txn, table, at->stream, at->group, slice_of(l->group), &g);
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
                result = reclaim_now(l, at, &t);
        } else if (result == MDB_NOTFOUND) {
            result = 0; /* another's already */
        }
    }
    status = write_end(&t, result, "giving events back", error);
    for (size_t i = 0; i < count && status == LB_OK; i++)
        wake_up(s->wake, wake_all_of(l->sources[events[i]->source].stream), WAKE_ALL);
    return status;
}

/* What happened to the entry: of which group and consumer it was, where, how often tried, and why it is dead;
 * then its record. */
static void encode_dead(buffer *b, const listener *l, const lb_event_message *event, lb_slice record,
                        const pending *p, const char *reason)
{
    lb_event_message names = *event;
    size_t begin = put_slice_begin(b);
    names.kwargs_count = 0;
    put_slice(b, slice_of(l->group));
    put_slice(b, slice_of(l->consumer));
    put_slice(b, event->native_id);
    put_bytes(b, &p->deliveries, sizeof p->deliveries);
    put_slice(b, slice_of(reason));
    if (record.data)
        buffer_add(b, record.data, record.size);
    else
        put_event(b, &names); /* trimmed meanwhile */
    put_slice_end(b, begin);
}

static int bury(const listener *l, const source *at, transaction *t, const key *k, lb_slice records,
                int64_t time_ms)
{
    MDB_dbi table = t->store->parts[STORE_EVENTS].table;
    native_id id;
    char name[512];
    int size = snprintf(name, sizeof name, "%s:dead", at->name);
    lb_slice dead_name = {name, size < (int)sizeof name ? (size_t)size : sizeof name - 1};
    key copy = *k;
    MDB_val kv = key_val(&copy);
    int result = stream_append(t->txn, table, hash_text(dead_name), dead_name, records, time_ms,
                               (uint64_t)l->bus->options.max_stream_length, &id);
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
    entry dying = {.time_ms = 0};
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
        encode_dead(&dead, l, event, dying.record, &p, reason);
        result = dead.failed ? ENOMEM : bury(l, at, &t, &k, (lb_slice){dead.data, dead.size}, dying.time_ms);
    }
    buffer_free(&dead);
    return write_end_durably(&t, result, "moving an event to the dead letters", error);
}
