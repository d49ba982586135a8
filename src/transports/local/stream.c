/* Streams, groups and pending entries. See stream.h. */
#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../base/clock.h"
#include "../../base/date.h"
#include "copies.h"
#include "record.h"

/* ---- Native ids ------------------------------------------------------------------------------------- */

static char *digits(char *end, uint64_t number)
{
    do
        *--end = (char)('0' + number % 10);
    while (number /= 10);
    return end;
}

size_t native_id_text(char out[NATIVE_ID_SIZE], int64_t time_ms, uint64_t number)
{
    char *end = out + NATIVE_ID_SIZE - 1, *at = digits(end, number);
    *--at = '-';
    at = digits(at, (uint64_t)time_ms);
    size_t size = (size_t)(end - at);
    memmove(out, at, size);
    out[size] = '\0';
    return size;
}

static bool read_number(const char **at, const char *end, uint64_t *number)
{
    const char *start = *at;
    *number = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at) {
        if (*number > (UINT64_MAX - 9) / 10)
            return false;
        *number = *number * 10 + (uint64_t)(**at - '0');
    }
    return *at > start;
}

bool native_id_parse(lb_slice text, int64_t *time_ms, uint64_t *number)
{
    const char *at = text.data, *end = text.data + text.size;
    uint64_t ms;
    *number = 0;
    if (!read_number(&at, end, &ms) || ms > INT64_MAX)
        return false;
    *time_ms = (int64_t)ms;
    return at == end || (*at++ == '-' && read_number(&at, end, number) && at == end);
}

/* ---- Streams ---------------------------------------------------------------------------------------- */

static int put_named(MDB_txn *txn, MDB_dbi table, key *k, const void *head, size_t size, lb_slice name)
{
    MDB_val kv = key_val(k), v = {size + name.size, NULL};
    int result = mdb_put(txn, table, &kv, &v, MDB_RESERVE);
    if (result == 0) {
        memcpy(v.mv_data, head, size);
        if (name.size)
            memcpy((char *)v.mv_data + size, name.data, name.size);
    }
    return result;
}

static int get_head(MDB_txn *txn, MDB_dbi table, key *k, void *head, size_t size)
{
    MDB_val kv = key_val(k), v;
    int result = mdb_get(txn, table, &kv, &v);
    if (result == 0 && v.mv_size < size)
        return MDB_CORRUPTED;
    if (result == 0)
        memcpy(head, v.mv_data, size);
    return result;
}

/* What is kept of a stream: not its end, which its last entry tells, so that a fire writes to one place. */
typedef struct stream_record {
    uint64_t first, made;
} stream_record;

int stream_get(MDB_txn *txn, MDB_dbi table, uint64_t id, stream *s)
{
    key k = key_1(KEY_STREAM, id);
    stream_record r = {1, 0};
    int result = get_head(txn, table, &k, &r, sizeof r);
    *s = (stream){.first = r.first, .made = r.made, .is_new = result == MDB_NOTFOUND};
    if (s->is_new) {
        s->made = unique_number();
        return 0;
    }
    if (result == 0)
        result = entries_end(txn, table, id, &s->last, &s->last_ms);
    if (result == MDB_NOTFOUND)
        result = 0;
    if (result == 0 && (s->first == 0 || s->first > s->last + 1))
        return MDB_CORRUPTED;
    return result;
}

int stream_put(MDB_txn *txn, MDB_dbi table, uint64_t id, lb_slice name, const stream *s)
{
    const stream_record r = {s->first, s->made};
    key k = key_1(KEY_STREAM, id);
    return put_named(txn, table, &k, &r, sizeof r, name);
}

lb_slice stream_name_of(const MDB_val *v)
{
    if (v->mv_size < sizeof(stream_record))
        return (lb_slice){NULL, 0};
    return (lb_slice){(const char *)v->mv_data + sizeof(stream_record), v->mv_size - sizeof(stream_record)};
}

bool stream_is_dead(lb_slice name, lb_slice *living)
{
    static const size_t suffix = sizeof DEAD_SUFFIX - 1;
    *living = (lb_slice){name.data, name.size > suffix ? name.size - suffix : 0};
    return living->size && memcmp(name.data + living->size, DEAD_SUFFIX, suffix) == 0;
}

/* What is trimmed is trimmed in blocks, and not at each fire. */
static uint64_t slack_of(uint64_t most) { return most / 10 < 1000 ? most / 10 : 1000; }

static uint64_t most_in_block(uint64_t most)
{
    uint64_t slack = slack_of(most);
    return !most ? UINT64_MAX : slack ? slack : 1;
}

int stream_append(MDB_txn *txn, MDB_dbi table, uint64_t id, lb_slice name, lb_slice records, int64_t now_ms,
                  uint64_t most, native_id *first)
{
    MDB_cursor *cursor;
    stream s;
    int result = stream_get(txn, table, id, &s);
    uint64_t was_first = s.first;
    if (result == 0)
        result = mdb_cursor_open(txn, table, &cursor);
    if (result)
        return result;
    s.last_ms = now_ms > s.last_ms ? now_ms : s.last_ms;
    *first = (native_id){s.last_ms, s.last + 1};
    result = entries_append(cursor, id, records, s.last_ms, most_in_block(most), &s.last);
    if (result == 0 && most && s.last + 1 - s.first > most + slack_of(most))
        result = entries_trim(cursor, id, most, s.last, &s.first);
    mdb_cursor_close(cursor);
    if (result == 0 && (s.is_new || s.first != was_first))
        result = stream_put(txn, table, id, name, &s);
    return result;
}

int stream_take_out(MDB_txn *txn, MDB_dbi table, uint64_t id, lb_slice name, uint64_t number)
{
    MDB_cursor *cursor;
    stream s;
    int result = stream_get(txn, table, id, &s);
    uint64_t was_first = s.first;
    if (result == 0)
        result = mdb_cursor_open(txn, table, &cursor);
    if (result)
        return result;
    result = entries_empty(cursor, id, number, s.last, &s.first);
    mdb_cursor_close(cursor);
    return result == 0 && s.first != was_first ? stream_put(txn, table, id, name, &s) : result;
}

/* ---- Positions -------------------------------------------------------------------------------------- */

static int entry_time(const transaction *t, uint64_t id, uint64_t number, int64_t *ms)
{
    entry found = {.time_ms = 0};
    int result = entry_get(t->txn, t->store->parts[STORE_EVENTS].table, id, number, &found);
    *ms = found.time_ms;
    return result;
}

/* The number of the last entry before a time. */
static int search_time(const transaction *t, uint64_t id, const stream *s, int64_t ms, uint64_t *before)
{
    uint64_t low = s->first, high = s->last + 1; /* the first entry not before it is in [low, high] */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int64_t at;
        int result = entry_time(t, id, middle, &at);
        if (result)
            return result;
        if (at < ms)
            low = middle + 1;
        else
            high = middle;
    }
    *before = low - 1;
    return 0;
}

lb_status stream_position(const transaction *t, uint64_t id, const stream *s, const char *since,
                          uint64_t *cursor, lb_error *error)
{
    int64_t ms, at;
    uint64_t number = 0;
    int result = 0;
    if (strcmp(since, "$") == 0) {
        *cursor = s->last;
    } else if (strcmp(since, "0") == 0) {
        *cursor = s->first - 1;
    } else if (native_id_parse(slice_of(since), &ms, &number) || iso8601_ms(since, &ms)) {
        bool is_entry =
            number >= s->first && number <= s->last && entry_time(t, id, number, &at) == 0 && at == ms;
        if (is_entry)
            *cursor = number;
        else
            result = search_time(t, id, s, ms, cursor);
    } else {
        return lb_error_set(
            error, LB_CONFIG,
            "since: expected \"$\", \"0\", a native id or a time such as 2026-11-22T14:00:00Z, got "
            "\"%.60s\"",
            since);
    }
    return result ? store_failed(t->store, STORE_EVENTS, result, "looking for a position", error) : LB_OK;
}

/* ---- Groups ----------------------------------------------------------------------------------------- */

int group_get(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, group *g)
{
    key k = key_2(KEY_GROUP, stream_id, group_id);
    return get_head(txn, table, &k, g, sizeof *g);
}

int group_put(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, lb_slice name, const group *g)
{
    key k = key_2(KEY_GROUP, stream_id, group_id);
    return put_named(txn, table, &k, g, sizeof *g, name);
}

int group_count_pending(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, int64_t *count)
{
    MDB_cursor *cursor;
    key prefix = key_2(KEY_PENDING, stream_id, group_id);
    MDB_val k = key_val(&prefix), v;
    int result = mdb_cursor_open(txn, table, &cursor);
    if (result)
        return result;
    *count = 0;
    result = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; result == 0 && key_within(&k, &prefix); result = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
        ++*count;
    mdb_cursor_close(cursor);
    return result == MDB_NOTFOUND ? 0 : result;
}

static int remove_within(MDB_txn *txn, MDB_dbi table, key prefix)
{
    MDB_cursor *cursor;
    MDB_val k = key_val(&prefix), v;
    int result = mdb_cursor_open(txn, table, &cursor);
    if (result)
        return result;
    for (int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
         more == 0 && result == 0 && key_within(&k, &prefix); more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
        result = mdb_cursor_del(cursor, 0);
    mdb_cursor_close(cursor);
    return result;
}

int group_reclaim_now(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, lb_slice name)
{
    group g;
    int result = group_get(txn, table, stream_id, hash_text(name), &g);
    g.reclaim_at_ns = RECLAIM_NOW;
    return result ? result : group_put(txn, table, stream_id, hash_text(name), name, &g);
}

int group_remove(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id)
{
    int result = remove_within(txn, table, key_2(KEY_GROUP, stream_id, group_id));
    if (result == 0)
        result = remove_within(txn, table, key_2(KEY_LISTENER, stream_id, group_id));
    return result ? result : remove_within(txn, table, key_2(KEY_PENDING, stream_id, group_id));
}

/* ---- Pending entries -------------------------------------------------------------------------------- */

enum { PENDING_HEAD = 3 * 8 };

bool pending_read(const MDB_val *v, pending *p)
{
    if (v->mv_size < PENDING_HEAD)
        return false;
    const char *at = v->mv_data;
    memcpy(&p->owner, at, 8);
    memcpy(&p->lease_until_ns, at + 8, 8);
    memcpy(&p->deliveries, at + 16, 8);
    p->consumer = (lb_slice){at + PENDING_HEAD, v->mv_size - PENDING_HEAD};
    return true;
}

/* `p->consumer` may point into the record that is replaced. */
int pending_put(MDB_txn *txn, MDB_dbi table, const key *k, const pending *p)
{
    char record[PENDING_HEAD + 256];
    size_t name = p->consumer.size < 256 ? p->consumer.size : 256;
    memcpy(record, &p->owner, 8);
    memcpy(record + 8, &p->lease_until_ns, 8);
    memcpy(record + 16, &p->deliveries, 8);
    if (name)
        memcpy(record + PENDING_HEAD, p->consumer.data, name);
    key copy = *k;
    MDB_val kv = key_val(&copy), v = {PENDING_HEAD + name, record};
    return mdb_put(txn, table, &kv, &v, 0);
}

int64_t wall_clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / CLOCK_MS;
}

/* ---- After a restart of the machine ----------------------------------------------------------------- */

static int end_leases(transaction *t, MDB_cursor *cursor)
{
    key groups = key_make(KEY_GROUP, NULL, 0);
    MDB_val k = key_val(&groups), v;
    group g;
    for (int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); more == 0 && key_within(&k, &groups);
         more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        if (v.mv_size < sizeof g || v.mv_size > sizeof g + 1024)
            return MDB_CORRUPTED;
        char record[sizeof g + 1024];
        memcpy(record, v.mv_data, v.mv_size);
        memcpy(&g, record, sizeof g);
        g.reclaim_at_ns = RECLAIM_NOW;
        memcpy(record, &g, sizeof g);
        MDB_val same = {v.mv_size, record};
        int result = mdb_cursor_put(cursor, &k, &same, MDB_CURRENT);
        if (result)
            return result;
    }
    key all = key_make(KEY_PENDING, NULL, 0);
    k = key_val(&all);
    for (int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); more == 0 && key_within(&k, &all);
         more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        pending p;
        key own = {.size = k.mv_size};
        if (!pending_read(&v, &p) || k.mv_size > sizeof own.bytes)
            return MDB_CORRUPTED;
        memcpy(own.bytes, k.mv_data, k.mv_size);
        p.lease_until_ns = 0;
        int result = pending_put(t->txn, t->store->parts[STORE_EVENTS].table, &own, &p);
        if (result)
            return result;
    }
    return 0;
}

lb_status streams_end_leases(store *s, lb_error *error)
{
    transaction t;
    MDB_cursor *cursor;
    lb_status status = write_begin(s, STORE_EVENTS, 0, clock_in_ms(1000), &t, error);
    if (status != LB_OK)
        return status;
    int result = mdb_cursor_open(t.txn, s->parts[STORE_EVENTS].table, &cursor);
    if (result == 0) {
        result = end_leases(&t, cursor);
        mdb_cursor_close(cursor);
    }
    if (result == 0)
        result = copies_restart(&t);
    return write_end(&t, result, "ending leases", error);
}
