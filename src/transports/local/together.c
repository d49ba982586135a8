/* Firing together, where each fire must be on the disk: one sync for all processes that fire meanwhile.
 *
 * A batch is staged in `calls`, which is not synced, under a ticket. Then its process waits for the guard of
 * `events`, as all others do. Whoever gets it appends all batches that are staged, and in the same transaction,
 * the one that is synced, notes under their tickets what became of them; those who come after find their work
 * done. Invariants: a batch is appended once, since its note is written with it; a note outlives its batch in
 * `calls`, and is removed by a later transaction. The batch of a process that was killed is appended as well,
 * or expires. */
#include <errno.h>
#include <lightbus/log.h>
#include <stdlib.h>

#include "listener.h"

enum {
    MOST_OTHERS = 16 << 20, /* bytes of others that are appended along */
    /* A batch that nobody took back expires; its process waits for two guards and a sync. */
    LINGER_MS = 2 * GUARD_MOST_MS + 10000,
};

typedef struct batch {
    uint64_t ticket;
    lb_slice record;
} batch;

typedef struct batches {
    batch *list;
    size_t count, bytes;
    arena memory;
} batches;

/* ---- Staging ---------------------------------------------------------------------------------------- */

static lb_status stage(store *s, uint64_t ticket, const buffer *staged, int64_t deadline_ns, lb_error *error)
{
    transaction t;
    key k = key_1(KEY_FIRE, ticket);
    MDB_val kv = key_val(&k), v = {staged->size, staged->data};
    lb_status status = write_begin(s, STORE_CALLS, staged->size, deadline_ns, &t, error);
    return status == LB_OK
               ? write_end(&t, mdb_put(t.txn, s->parts[STORE_CALLS].table, &kv, &v, 0), "staging events", error)
               : status;
}

static void unstage(store *s, uint64_t ticket)
{
    transaction t;
    lb_error error = {0};
    key k = key_1(KEY_FIRE, ticket);
    MDB_val kv = key_val(&k);
    if (write_begin(s, STORE_CALLS, 0, clock_in_ms(TOUCH_MS), &t, &error) == LB_OK)
        write_end(&t, mdb_del(t.txn, s->parts[STORE_CALLS].table, &kv, NULL), "taking staged events away",
                  &error);
    if (error.status != LB_OK)
        lb_log(LB_LOG_DEBUG, "%s", error.message); /* it expires */
}

/* Copies what others have staged, behind what is in the list. */
static int read_staged(const view *v, MDB_dbi table, batches *b)
{
    MDB_cursor *cursor;
    key prefix = key_make(KEY_FIRE, NULL, 0);
    MDB_val k = key_val(&prefix), value;
    size_t capacity = b->count;
    uint64_t own = b->list[0].ticket;
    int result = mdb_cursor_open(v->txn, table, &cursor);
    if (result)
        return result;
    int more = mdb_cursor_get(cursor, &k, &value, MDB_SET_RANGE);
    for (; more == 0 && key_within(&k, &prefix) && b->bytes < MOST_OTHERS && result == 0;
         more = mdb_cursor_get(cursor, &k, &value, MDB_NEXT)) {
        if (key_number(&k, 0) == own)
            continue;
        if (b->count == capacity) {
            capacity = capacity * 2;
            batch *larger = realloc(b->list, capacity * sizeof *larger);
            if (!larger)
                result = ENOMEM;
            else
                b->list = larger;
        }
        if (result == 0) {
            lb_slice record = copy_value(&b->memory, &value);
            b->list[b->count++] = (batch){key_number(&k, 0), record};
            b->bytes += record.size;
            result = record.data ? 0 : ENOMEM;
        }
    }
    mdb_cursor_close(cursor);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

static lb_status look(store *s, batches *b, lb_error *error)
{
    view v = {0};
    lb_status status = view_begin(&v, s, STORE_CALLS, error);
    if (status != LB_OK)
        return status;
    int result = read_staged(&v, s->parts[STORE_CALLS].table, b);
    view_free(&v);
    return result ? store_failed(s, STORE_CALLS, result, "reading staged events", error) : LB_OK;
}

static void batches_free(batches *b)
{
    free(b->list);
    arena_free(&b->memory);
}

/* What others staged may be anything. */
static bool is_sound(lb_slice record)
{
    int64_t numbers[2];
    uint32_t runs;
    cut c = cut_of(record);
    cut_bytes(&c, numbers, sizeof numbers);
    cut_bytes(&c, &runs, sizeof runs);
    for (uint32_t i = 0; i < runs && !c.bad; i++) {
        cut_slice(&c);
        cut records = cut_of(cut_slice(&c));
        while (!records.bad && records.at < records.end)
            cut_slice(&records);
        c.bad |= records.bad;
    }
    return !c.bad;
}

/* ---- Appending -------------------------------------------------------------------------------------- */

/* Appends the events of a batch; what became of them goes to `note`. */
static int append_batch(transaction *t, lb_slice record, buffer *note)
{
    MDB_dbi table = t->store->parts[STORE_EVENTS].table;
    int64_t expires_ns, most, now_ms = wall_clock_ms();
    uint32_t runs;
    cut c = cut_of(record);
    int result = 0;
    cut_bytes(&c, &expires_ns, sizeof expires_ns);
    cut_bytes(&c, &most, sizeof most);
    cut_bytes(&c, &runs, sizeof runs);
    for (uint32_t i = 0; i < runs && result == 0; i++) {
        native_id first;
        lb_slice name = cut_slice(&c), records = cut_slice(&c);
        if (c.bad)
            return MDB_CORRUPTED;
        result = stream_append(t->txn, table, hash_text(name), name, records, now_ms, (uint64_t)most, &first);
        if (result == 0)
            put_bytes(note, &first, sizeof first);
    }
    return result ? result : note->failed ? ENOMEM : 0;
}

static int find_note(transaction *t, uint64_t ticket, MDB_val *v)
{
    key k = key_1(KEY_FIRED, ticket);
    MDB_val kv = key_val(&k);
    return mdb_get(t->txn, t->store->parts[STORE_EVENTS].table, &kv, v);
}

static bool is_staged(const batches *b, uint64_t ticket)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->list[i].ticket == ticket)
            return true;
    return false;
}

/* Notes whose batches are gone. */
static int remove_notes(MDB_cursor *cursor, const batches *b)
{
    key prefix = key_make(KEY_FIRED, NULL, 0);
    MDB_val k = key_val(&prefix), v;
    int result = 0, more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && key_within(&k, &prefix) && result == 0; more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
        if (!is_staged(b, key_number(&k, 0)))
            result = mdb_cursor_del(cursor, 0);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

static int append_all(transaction *t, MDB_cursor *cursor, const batches *b)
{
    buffer note = {0};
    int result =
        b->bytes < MOST_OTHERS ? remove_notes(cursor, b) : 0; /* else not all that is staged is known */
    for (size_t i = 0; i < b->count && result == 0; i++) {
        MDB_val v;
        if (i > 0 && !is_sound(b->list[i].record))
            continue;
        result = find_note(t, b->list[i].ticket, &v);
        if (result != MDB_NOTFOUND)
            continue;
        note.size = 0;
        result = append_batch(t, b->list[i].record, &note);
        key k = key_1(KEY_FIRED, b->list[i].ticket);
        MDB_val kv = key_val(&k);
        v = (MDB_val){note.size, note.data};
        if (result == 0)
            result = mdb_put(t->txn, t->store->parts[STORE_EVENTS].table, &kv, &v, 0);
    }
    buffer_free(&note);
    return result;
}

/* The guard is held: what is staged by now is appended, unless that has been done with this batch already. */
static lb_status append_staged(transaction *t, batch own, native_id *ids, size_t runs, lb_error *error)
{
    store *s = t->store;
    MDB_cursor *cursor = NULL;
    MDB_val v;
    batches b = {.list = malloc(sizeof own), .count = 1, .bytes = own.record.size};
    int result = b.list ? find_note(t, own.ticket, &v) : ENOMEM;
    bool done = result == 0;
    if (result == MDB_NOTFOUND) {
        b.list[0] = own;
        lb_status status = look(s, &b, error);
        result = status == LB_OK ? mdb_cursor_open(t->txn, s->parts[STORE_EVENTS].table, &cursor) : 0;
        if (status != LB_OK) {
            write_abort(t);
            batches_free(&b);
            return status;
        }
        if (result == 0)
            result = append_all(t, cursor, &b);
        if (cursor)
            mdb_cursor_close(cursor);
        if (result == 0)
            result = find_note(t, own.ticket, &v);
    }
    batches_free(&b);
    if (result == 0 && v.mv_size != runs * sizeof *ids)
        result = MDB_CORRUPTED;
    if (result == 0)
        memcpy(ids, v.mv_data, v.mv_size);
    if (result == 0 && done) {
        write_abort(t);
        return LB_OK;
    }
    return write_end_durably(t, result, "firing events", error);
}

void together_begin(buffer *staged, int64_t most_length, uint32_t runs)
{
    int64_t expires_ns = clock_in_ms(LINGER_MS);
    put_bytes(staged, &expires_ns, sizeof expires_ns);
    put_bytes(staged, &most_length, sizeof most_length);
    put_bytes(staged, &runs, sizeof runs);
}

lb_status together_fire(store *s, const buffer *staged, native_id *ids, size_t runs, int64_t deadline_ns,
                        lb_error *error)
{
    transaction t;
    uint64_t ticket = unique_number();
    lb_status status = stage(s, ticket, staged, deadline_ns, error);
    if (status != LB_OK)
        return status;
    status = write_begin(s, STORE_EVENTS, staged->size, deadline_ns, &t, error);
    if (status == LB_OK)
        status = append_staged(&t, (batch){ticket, {staged->data, staged->size}}, ids, runs, error);
    unstage(s, ticket);
    return status;
}
