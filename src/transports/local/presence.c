/* Who listens. See presence.h. */
#include "presence.h"

#include <errno.h>
#include <lightbus/log.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../base/clock.h"
#include "copies.h"
#include "notes.h"
#include "stream.h"

/* groups and ids looked at in one transaction */
enum { SWEEP_MS = 60000, MOST_GROUPS = 4096, MOST_IDS = 16384 };

/* The record of a listener, under its owner's number; under 0 that of a group without one. */
typedef struct listener_record {
    int64_t idle_ms;
    int32_t process; /* 0: none */
    uint32_t temporary;
} listener_record;

typedef struct group_name {
    uint64_t stream, group;
} group_name;

static int put_record(MDB_txn *txn, MDB_dbi table, group_name g, uint64_t owner, const listener_record *r)
{
    key k = key_3(KEY_LISTENER, g.stream, g.group, owner);
    MDB_val kv = key_val(&k), v = {sizeof *r, (void *)(uintptr_t)r};
    return mdb_put(txn, table, &kv, &v, 0);
}

static int remove_record(MDB_txn *txn, MDB_dbi table, group_name g, uint64_t owner)
{
    key k = key_3(KEY_LISTENER, g.stream, g.group, owner);
    MDB_val kv = key_val(&k);
    int result = mdb_del(txn, table, &kv, NULL);
    return result == MDB_NOTFOUND ? 0 : result;
}

int presence_enter(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, uint64_t owner,
                   bool temporary)
{
    group_name g = {stream_id, group_id};
    listener_record own = {.process = (int32_t)getpid(), .temporary = temporary};
    int result = remove_record(txn, table, g, 0);
    return result ? result : put_record(txn, table, g, owner, &own);
}

int presence_has(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, uint64_t owner, bool *has)
{
    key k = key_3(KEY_LISTENER, stream_id, group_id, owner);
    MDB_val kv = key_val(&k), v;
    int result = mdb_get(txn, table, &kv, &v);
    *has = result == 0;
    return result == MDB_NOTFOUND ? 0 : result;
}

static bool is_gone(int32_t process) { return kill(process, 0) != 0 && errno == ESRCH; }

/* What is known of a group. Where it may write, it removes the records of those that are gone: of `owner`, of
 * killed processes, or (`alone`) of all. */
static int look(MDB_txn *txn, MDB_dbi table, group_name g, bool clean, bool alone, uint64_t owner, presence *p)
{
    MDB_cursor *cursor;
    key prefix = key_2(KEY_LISTENER, g.stream, g.group);
    MDB_val k = key_val(&prefix), v;
    listener_record r;
    *p = (presence){0};
    int result = mdb_cursor_open(txn, table, &cursor);
    if (result)
        return result;
    int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    p->temporary = more == 0 && key_within(&k, &prefix);
    for (; more == 0 && result == 0 && key_within(&k, &prefix);
         more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        if (v.mv_size != sizeof r) {
            result = MDB_CORRUPTED;
            break;
        }
        memcpy(&r, v.mv_data, sizeof r);
        bool closed = owner && key_number(&k, 2) == owner;
        bool gone = r.process && (closed || alone || is_gone(r.process));
        p->idle_ms = r.idle_ms > p->idle_ms ? r.idle_ms : p->idle_ms;
        p->temporary = p->temporary && r.temporary;
        p->listeners += r.process && !gone;
        p->gone += gone && !closed;
        if (gone && clean)
            result = mdb_cursor_del(cursor, 0);
    }
    mdb_cursor_close(cursor);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

int presence_of(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, presence *p)
{
    return look(txn, table, (group_name){stream_id, group_id}, false, false, 0, p);
}

int presence_leave(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, uint64_t owner,
                   bool forget)
{
    presence p;
    int result = look(txn, table, (group_name){stream_id, group_id}, true, false, owner, &p);
    return result == 0 && (p.temporary || forget) && !p.listeners
               ? group_remove(txn, table, stream_id, group_id)
               : result;
}

/* ---- Sweeping --------------------------------------------------------------------------------------- */

/* Also how many events it had not handled: they go with it (S16). */
static void tell(notes *told, MDB_txn *txn, MDB_dbi table, group_name g, const presence *p)
{
    group state;
    stream s = {0};
    int64_t pending = 0;
    key k = key_2(KEY_GROUP, g.stream, g.group);
    MDB_val kv = key_val(&k), v;
    if (stream_get(txn, table, g.stream, &s) != 0 ||
        group_count_pending(txn, table, g.stream, g.group, &pending) != 0 ||
        mdb_get(txn, table, &kv, &v) != 0 || v.mv_size < sizeof state)
        return;
    memcpy(&state, v.mv_data, sizeof state);
    notes_add(told, p->temporary ? LB_LOG_DEBUG : LB_LOG_WARNING,
              "the group %.*s is removed: %s; %llu events not handled", (int)(v.mv_size - sizeof state),
              (const char *)v.mv_data + sizeof state,
              p->temporary ? "it was temporary, and its process is gone"
                           : "nobody listened for longer than group_ttl",
              (unsigned long long)(s.last > state.cursor ? s.last - state.cursor : 0) +
                  (unsigned long long)pending);
}

static int sweep_group(notes *told, MDB_txn *txn, MDB_dbi table, group_name g, bool alone, int64_t idle_ms,
                       int64_t ttl_ms)
{
    presence p;
    int result = look(txn, table, g, true, alone, 0, &p);
    if (result || p.listeners)
        return result;
    listener_record nobody = {.idle_ms = p.idle_ms + idle_ms};
    if (p.temporary || (ttl_ms && nobody.idle_ms > ttl_ms)) {
        tell(told, txn, table, g, &p);
        return group_remove(txn, table, g.stream, g.group);
    }
    return put_record(txn, table, g, 0, &nobody);
}

/* Collects the groups behind `after`, up to MOST_GROUPS. */
static int read_groups(MDB_txn *txn, MDB_dbi table, group_name after, group_name *list, size_t *count)
{
    MDB_cursor *cursor;
    key prefix = key_make(KEY_GROUP, NULL, 0), from = key_2(KEY_GROUP, after.stream, after.group);
    MDB_val k = key_val(&from), v;
    *count = 0;
    int result = mdb_cursor_open(txn, table, &cursor);
    if (result)
        return result;
    int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && *count < MOST_GROUPS && key_within(&k, &prefix);
         more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        group_name g = {key_number(&k, 0), key_number(&k, 1)};
        if (g.stream != after.stream || g.group != after.group)
            list[(*count)++] = g;
    }
    mdb_cursor_close(cursor);
    return more == MDB_NOTFOUND ? 0 : more;
}

/* One transaction for so many groups: nobody has to wait for long. */
static lb_status sweep_some(store *s, bool alone, int64_t idle_ms, int64_t ttl_ms, group_name *list,
                            size_t *count, lb_error *error)
{
    transaction t;
    notes told = {0};
    MDB_dbi table = s->parts[STORE_EVENTS].table;
    group_name after = *count ? list[*count - 1] : (group_name){0, 0};
    lb_status status = write_begin(s, STORE_EVENTS, 0, clock_in_ms(GUARD_LEAST_MS), &t, error);
    if (status != LB_OK)
        return status;
    int result = read_groups(t.txn, table, after, list, count);
    for (size_t i = 0; i < *count && result == 0; i++)
        result = sweep_group(&told, t.txn, table, list[i], alone, idle_ms, ttl_ms);
    if (result == 0)
        result = copies_sweep(&t, MOST_IDS);
    status = write_end(&t, result, "removing groups", error);
    notes_end(&told, status == LB_OK);
    notes_free(&told);
    return status;
}

lb_status presence_sweep(store *s, bool alone, int64_t idle_ms, int64_t group_ttl_ms, lb_error *error)
{
    group_name *list = malloc(MOST_GROUPS * sizeof *list);
    size_t count = 0;
    if (!list)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    lb_status status;
    do
        status = sweep_some(s, alone, idle_ms, group_ttl_ms, list, &count, error);
    while (status == LB_OK && count == MOST_GROUPS);
    free(list);
    return status;
}

static int any_listener(MDB_txn *txn, MDB_dbi table, bool *found)
{
    MDB_cursor *cursor;
    key prefix = key_make(KEY_LISTENER, NULL, 0);
    MDB_val k = key_val(&prefix), v;
    int result = mdb_cursor_open(txn, table, &cursor);
    if (result)
        return result;
    int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && !*found && key_within(&k, &prefix); more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
        *found = key_number(&k, 2) != 0;
    mdb_cursor_close(cursor);
    return more == MDB_NOTFOUND ? 0 : more;
}

lb_status presence_begin(store *s, lb_error *error)
{
    view v = {0};
    bool found = false;
    lb_status status = view_begin(&v, s, STORE_EVENTS, error);
    if (status != LB_OK)
        return status;
    int result = any_listener(v.txn, s->parts[STORE_EVENTS].table, &found);
    view_free(&v);
    if (result)
        return store_failed(s, STORE_EVENTS, result, "looking for listeners", error);
    return found ? presence_sweep(s, true, 0, 0, error) : LB_OK;
}

void presence_sweep_if_due(store *s, int64_t group_ttl_ms)
{
    lb_error error = {0};
    int64_t now = clock_now(), last = atomic_load_explicit(&s->shared->groups_swept_at, memory_order_relaxed);
    if (now - last < SWEEP_MS * CLOCK_MS ||
        !atomic_compare_exchange_strong(&s->shared->groups_swept_at, &last, now))
        return;
    int64_t idle_ms = (now - last) / CLOCK_MS;
    if (presence_sweep(s, false, idle_ms, group_ttl_ms, &error) != LB_OK)
        lb_log(LB_LOG_WARNING, "%s", error.message);
}
