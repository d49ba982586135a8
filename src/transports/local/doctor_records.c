/* What lies in the folder: streams and the groups that read them, dead letters, calls that wait. */
#include "doctor.h"
#include "presence.h"

enum { LEASES_PASSED = 2 }; /* times that an event may have been taken over and was not */

/* ---- Groups ----------------------------------------------------------------------------------------- */

typedef struct walk {
    doctor *doctor;
    MDB_txn *txn;
    MDB_dbi table;
    size_t streams, groups;
} walk;

/* Entries whose lease ended long ago. One that was given back has no lease, and waits for a worker. */
static int find_overdue(const walk *w, uint64_t stream_id, uint64_t group_id, group_facts *g)
{
    MDB_cursor *c;
    key prefix = key_2(KEY_PENDING, stream_id, group_id);
    MDB_val k = key_val(&prefix), v;
    int64_t lease_ms = w->doctor->options->acknowledgement_timeout_ms, now = clock_now();
    int result = mdb_cursor_open(w->txn, w->table, &c);
    if (result)
        return result;
    int more = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && key_within(&k, &prefix); more = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        pending p;
        if (!pending_read(&v, &p)) {
            result = MDB_CORRUPTED;
            break;
        }
        int64_t late_ms = (now - p.lease_until_ns) / CLOCK_MS;
        if (!p.owner || p.lease_until_ns == RECLAIM_NOW || late_ms < LEASES_PASSED * lease_ms)
            continue;
        g->overdue++;
        if (late_ms + lease_ms > g->overdue_ms) {
            g->overdue_ms = late_ms + lease_ms;
            g->holder = p.consumer;
        }
    }
    mdb_cursor_close(c);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

static int tell_group(walk *w, lb_slice name, uint64_t stream_id, const stream *s, const MDB_val *k,
                      const MDB_val *v)
{
    group g;
    if (v->mv_size < sizeof g)
        return MDB_CORRUPTED;
    memcpy(&g, v->mv_data, sizeof g);
    presence p;
    int result = presence_of(w->txn, w->table, stream_id, key_number(k, 1), &p);
    if (result)
        return result;
    uint64_t unread_and_gone = s->first > g.cursor + 1 ? s->first - g.cursor - 1 : 0;
    uint64_t delivered = g.cursor + unread_and_gone;
    group_facts facts = {
        .stream = name,
        .group = {(const char *)v->mv_data + sizeof g, v->mv_size - sizeof g},
        .length = (int64_t)(s->last + 1 - s->first),
        .most = w->doctor->options->max_stream_length,
        .undelivered = s->last > delivered ? (int64_t)(s->last - delivered) : 0,
        .lost = (int64_t)(g.lost + unread_and_gone),
        .consumers = (int64_t)p.listeners,
    };
    result = find_overdue(w, stream_id, key_number(k, 1), &facts);
    if (result == 0)
        report_group(&w->doctor->report, &facts);
    w->groups++;
    return result;
}

static int tell_stream(walk *w, lb_slice name, uint64_t id)
{
    MDB_cursor *c;
    lb_slice living;
    stream s;
    key prefix = key_1(KEY_GROUP, id);
    MDB_val k = key_val(&prefix), v;
    int result = stream_get(w->txn, w->table, id, &s);
    if (result == 0 && stream_is_dead(name, &living)) {
        int64_t count;
        result = entries_count(w->txn, w->table, id, s.first, &count);
        if (result == 0)
            report_dead_letters(&w->doctor->report, living, count);
        return result;
    }
    w->streams++;
    if (result == 0)
        result = mdb_cursor_open(w->txn, w->table, &c);
    if (result)
        return result;
    int more = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && result == 0 && key_within(&k, &prefix); more = mdb_cursor_get(c, &k, &v, MDB_NEXT))
        result = tell_group(w, name, id, &s, &k, &v);
    mdb_cursor_close(c);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

static int tell_streams(walk *w)
{
    MDB_cursor *c;
    key prefix = key_make(KEY_STREAM, NULL, 0);
    MDB_val k = key_val(&prefix), v;
    int result = mdb_cursor_open(w->txn, w->table, &c);
    if (result)
        return result;
    int more = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && result == 0 && key_within(&k, &prefix); more = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        lb_slice name = stream_name_of(&v);
        result = name.data ? tell_stream(w, name, key_number(&k, 0)) : MDB_CORRUPTED;
    }
    mdb_cursor_close(c);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

lb_status local_check_groups(doctor *d, lb_error *error)
{
    view v = {0};
    lb_status status = view_begin(&v, d->store, STORE_EVENTS, error);
    if (status != LB_OK)
        return status;
    walk w = {.doctor = d, .txn = v.txn, .table = d->store->parts[STORE_EVENTS].table};
    int result = tell_streams(&w);
    view_free(&v);
    if (result)
        return store_failed(d->store, STORE_EVENTS, result, "reading", error);
    if (!d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%zu stream%s, %zu group%s, nothing lost or left lying",
                    w.streams, w.streams == 1 ? "" : "s", w.groups, w.groups == 1 ? "" : "s");
    return LB_OK;
}

/* ---- Queues ----------------------------------------------------------------------------------------- */

static bool lives(const MDB_val *v)
{
    int64_t expires_ns;
    cut c = cut_of((lb_slice){v->mv_data, v->mv_size});
    cut_bytes(&c, &expires_ns, sizeof expires_ns);
    return !c.bad && expires_ns > clock_now();
}

static bool is_served(const walk *w, uint64_t api)
{
    key k = key_1(KEY_SCHEMA, api);
    MDB_val kv = key_val(&k), v;
    return mdb_get(w->txn, w->table, &kv, &v) == 0 && lives(&v);
}

static void tell_unserved(doctor *d, lb_slice api, int64_t count)
{
    if (count)
        report_tell(&d->report, LB_FINDING_WARNING, "start a worker of this API",
                    "%.*s: %lld call%s, and no worker serves the API", (int)api.size, api.data,
                    (long long)count, count == 1 ? " waits" : "s wait");
}

/* The calls of an API lie together. */
static int tell_queues(walk *w, int64_t *waiting)
{
    MDB_cursor *c;
    key prefix = key_make(KEY_CALL, NULL, 0);
    MDB_val k = key_val(&prefix), v;
    uint64_t api = 0;
    lb_slice name = {"", 0};
    int64_t unserved = 0;
    int result = mdb_cursor_open(w->txn, w->table, &c);
    if (result)
        return result;
    int more = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && key_within(&k, &prefix); more = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        if (!lives(&v))
            continue;
        ++*waiting;
        if (key_number(&k, 0) != api) {
            tell_unserved(w->doctor, name, unserved);
            unserved = 0;
            api = key_number(&k, 0);
            name = call_api((lb_slice){v.mv_data, v.mv_size});
        }
        unserved += !is_served(w, api);
    }
    tell_unserved(w->doctor, name, unserved);
    mdb_cursor_close(c);
    return more == MDB_NOTFOUND ? 0 : more;
}

lb_status local_check_queues(doctor *d, lb_error *error)
{
    view v = {0};
    int64_t waiting = 0;
    lb_status status = view_begin(&v, d->store, STORE_CALLS, error);
    if (status != LB_OK)
        return status;
    walk w = {.doctor = d, .txn = v.txn, .table = d->store->parts[STORE_CALLS].table};
    int result = tell_queues(&w, &waiting);
    view_free(&v);
    if (result)
        return store_failed(d->store, STORE_CALLS, result, "reading", error);
    if (!d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%lld call%s for workers", (long long)waiting,
                    waiting == 1 ? " waits" : "s wait");
    return LB_OK;
}
