/* Copies of events. See copies.h.
 *
 * A record's key ends with a hash of the id, and its value with the id: another id of the same hash takes its
 * place, which forgets a copy and never takes a stranger for one. */
#include "copies.h"

#include <lightbus/transport.h>

#include "../../base/clock.h"
#include "../../base/json.h"
#include "key.h"

typedef struct seen {
    uint64_t number;
    int64_t at_ns, window_ns; /* when it was given out, and for how long that counts */
} seen;

static MDB_dbi table_of(const transaction *t) { return t->store->parts[STORE_EVENTS].table; }

static key key_of(const candidate *c) { return key_3(KEY_SEEN, c->stream, c->group, hash_text(c->id)); }

static bool over(const seen *s) { return clock_now() - s->at_ns >= s->window_ns; }

static int get(const transaction *t, const candidate *c, seen *s)
{
    key k = key_of(c);
    MDB_val kv = key_val(&k), v;
    int result = mdb_get(t->txn, table_of(t), &kv, &v);
    if (result)
        return result;
    if (v.mv_size < sizeof *s)
        return MDB_CORRUPTED;
    memcpy(s, v.mv_data, sizeof *s);
    lb_slice id = {(const char *)v.mv_data + sizeof *s, v.mv_size - sizeof *s};
    return slice_equal(id, c->id) ? 0 : MDB_NOTFOUND;
}

static int put(const transaction *t, const candidate *c, const seen *s)
{
    key k = key_of(c);
    MDB_val kv = key_val(&k), v = {sizeof *s + c->id.size, NULL};
    int result = mdb_put(t->txn, table_of(t), &kv, &v, MDB_RESERVE);
    if (result == 0) {
        memcpy(v.mv_data, s, sizeof *s);
        memcpy((char *)v.mv_data + sizeof *s, c->id.data, c->id.size);
    }
    return result;
}

int copies_find(const transaction *t, const candidate *c, int64_t window_ns, bool note, uint64_t *first)
{
    seen s;
    *first = 0;
    if (!c->id.size || c->id.size > LB_DEDUPLICATED_ID_MOST)
        return 0;
    int result = get(t, c, &s);
    if (result == 0 && !over(&s)) {
        *first = s.number == c->number ? 0 : s.number;
        return 0;
    }
    if (result && result != MDB_NOTFOUND)
        return result;
    s = (seen){c->number, clock_now(), window_ns};
    return note ? put(t, c, &s) : 0;
}

int copies_forget(const transaction *t, const candidate *c)
{
    seen s;
    key k = key_of(c);
    MDB_val kv = key_val(&k);
    int result = get(t, c, &s);
    if (result == 0 && s.number == c->number)
        result = mdb_del(t->txn, table_of(t), &kv, NULL);
    return result == MDB_NOTFOUND ? 0 : result;
}

/* ---- All of them ------------------------------------------------------------------------------------ */

int copies_sweep(const transaction *t, size_t most)
{
    MDB_cursor *c;
    key all = key_make(KEY_SEEN, NULL, 0), *at = &t->store->copies_swept;
    if (!at->size)
        *at = all;
    MDB_val k = key_val(at), v;
    seen s;
    int result = mdb_cursor_open(t->txn, table_of(t), &c);
    if (result)
        return result;
    int more = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && result == 0 && most && key_within(&k, &all); most--) {
        if (v.mv_size < sizeof s) {
            result = MDB_CORRUPTED;
            break;
        }
        memcpy(&s, v.mv_data, sizeof s);
        if (over(&s))
            result = mdb_cursor_del(c, 0);
        more = mdb_cursor_get(c, &k, &v, MDB_NEXT); /* after a deletion too: LMDB stands before the next one */
    }
    *at = all;
    if (more == 0 && key_within(&k, &all) && k.mv_size <= sizeof at->bytes) {
        memcpy(at->bytes, k.mv_data, k.mv_size);
        at->size = k.mv_size;
    }
    mdb_cursor_close(c);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

int copies_restart(const transaction *t)
{
    MDB_cursor *c;
    key all = key_make(KEY_SEEN, NULL, 0);
    MDB_val k = key_val(&all), v;
    char record[sizeof(seen) + LB_DEDUPLICATED_ID_MOST];
    seen s;
    int result = mdb_cursor_open(t->txn, table_of(t), &c);
    if (result)
        return result;
    int more = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && result == 0 && key_within(&k, &all); more = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        if (v.mv_size < sizeof s || v.mv_size > sizeof record) {
            result = MDB_CORRUPTED;
            break;
        }
        memcpy(record, v.mv_data, v.mv_size);
        memcpy(&s, record, sizeof s);
        s.at_ns = clock_now();
        memcpy(record, &s, sizeof s);
        MDB_val same = {v.mv_size, record};
        result = mdb_cursor_put(c, &k, &same, MDB_CURRENT);
    }
    mdb_cursor_close(c);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}
