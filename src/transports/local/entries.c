/* Entries in blocks. See entries.h. */
#include "entries.h"

#include "key.h"

typedef struct block_head {
    int64_t time_ms;
    uint32_t count;
} block_head;
enum { HEAD_BYTES = 8 + 4 };

/* ---- Reading ---------------------------------------------------------------------------------------- */

/* Stands before the first entry of the block that the cursor is at. */
static int open_block(entries *e, const MDB_val *k, const MDB_val *v)
{
    const key prefix = key_1(KEY_ENTRY, e->stream);
    block_head head;
    if (!key_within(k, &prefix))
        return MDB_NOTFOUND;
    e->last = key_number(k, 1);
    e->rest = cut_of((lb_slice){v->mv_data, v->mv_size});
    cut_bytes(&e->rest, &head.time_ms, sizeof head.time_ms);
    cut_bytes(&e->rest, &head.count, sizeof head.count);
    if (e->rest.bad || head.count == 0 || head.count > e->last)
        return MDB_CORRUPTED;
    e->at = (entry){.number = e->last - head.count, .time_ms = head.time_ms};
    return 0;
}

static int next_in_block(entries *e)
{
    e->at.number++;
    e->at.record = cut_slice(&e->rest);
    return e->rest.bad ? MDB_CORRUPTED : 0;
}

int entries_next(entries *e)
{
    MDB_val k, v;
    int result = 0;
    if (e->at.number == e->last) {
        result = mdb_cursor_get(e->cursor, &k, &v, MDB_NEXT);
        if (result == 0)
            result = open_block(e, &k, &v);
    }
    return result ? result : next_in_block(e);
}

int entries_find(entries *e, MDB_cursor *cursor, uint64_t stream, uint64_t number)
{
    key from = key_2(KEY_ENTRY, stream, number);
    MDB_val k = key_val(&from), v;
    *e = (entries){.cursor = cursor, .stream = stream};
    int result = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    if (result == 0)
        result = open_block(e, &k, &v);
    if (result == 0)
        result = next_in_block(e);
    while (result == 0 && e->at.number < number)
        result = next_in_block(e);
    return result;
}

/* Goes to the last record before the key, whatever it is of. */
static int seek_before(MDB_cursor *cursor, key *k, MDB_val *found, MDB_val *v)
{
    *found = key_val(k);
    int result = mdb_cursor_get(cursor, found, v, MDB_SET_RANGE);
    return mdb_cursor_get(cursor, found, v, result == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
}

int entries_end(MDB_txn *txn, MDB_dbi table, uint64_t stream, uint64_t *last, int64_t *last_ms)
{
    entries e = {.stream = stream};
    key behind = key_2(KEY_ENTRY, stream, UINT64_MAX);
    MDB_val k, v;
    int result = mdb_cursor_open(txn, table, &e.cursor);
    if (result)
        return result;
    result = seek_before(e.cursor, &behind, &k, &v);
    if (result == 0)
        result = open_block(&e, &k, &v);
    mdb_cursor_close(e.cursor);
    if (result == 0) {
        *last = e.last;
        *last_ms = e.at.time_ms;
    }
    return result;
}

int entry_get(MDB_txn *txn, MDB_dbi table, uint64_t stream, uint64_t number, entry *found)
{
    entries e;
    MDB_cursor *cursor;
    int result = mdb_cursor_open(txn, table, &cursor);
    if (result)
        return result;
    result = entries_find(&e, cursor, stream, number);
    mdb_cursor_close(cursor);
    if (result == 0 && e.at.number != number)
        result = MDB_NOTFOUND;
    if (result == 0)
        *found = e.at;
    return result;
}

/* ---- Writing ---------------------------------------------------------------------------------------- */

static int put_block(MDB_cursor *cursor, uint64_t stream, uint64_t last, const block_head *head,
                     lb_slice records)
{
    key k = key_2(KEY_ENTRY, stream, last);
    MDB_val kv = key_val(&k), v = {HEAD_BYTES + records.size, NULL};
    int result = mdb_cursor_put(cursor, &kv, &v, MDB_APPEND | MDB_RESERVE);
    if (result == MDB_KEYEXIST) { /* entries of another stream lie behind */
        v = (MDB_val){HEAD_BYTES + records.size, NULL};
        result = mdb_cursor_put(cursor, &kv, &v, MDB_RESERVE);
    }
    if (result)
        return result;
    char *at = v.mv_data;
    memcpy(at, &head->time_ms, sizeof head->time_ms);
    memcpy(at + sizeof head->time_ms, &head->count, sizeof head->count);
    memcpy(at + HEAD_BYTES, records.data, records.size);
    return 0;
}

/* Cuts off the records that the next block takes; *count of them. */
static lb_slice cut_block(cut *rest, uint64_t most, uint32_t *count)
{
    lb_slice block = {rest->at, 0};
    *count = 0;
    do {
        cut next = *rest;
        cut_slice(&next);
        size_t size = (size_t)(next.at - block.data);
        if (*count && HEAD_BYTES + size > BLOCK_BYTES)
            break;
        *rest = next;
        block.size = size;
        ++*count;
    } while (!rest->bad && rest->at < rest->end && *count < most);
    return block;
}

int entries_append(MDB_cursor *cursor, uint64_t stream, lb_slice records, int64_t time_ms, uint64_t most,
                   uint64_t *last)
{
    cut rest = cut_of(records);
    int result = 0;
    while (rest.at < rest.end && result == 0) {
        block_head head = {.time_ms = time_ms};
        lb_slice block = cut_block(&rest, most, &head.count);
        if (rest.bad)
            return MDB_CORRUPTED;
        *last += head.count;
        result = put_block(cursor, stream, *last, &head, block);
    }
    return result;
}

int entries_trim(MDB_cursor *cursor, uint64_t stream, uint64_t most, uint64_t last, uint64_t *first)
{
    key prefix = key_1(KEY_ENTRY, stream), from = key_2(KEY_ENTRY, stream, *first);
    MDB_val k = key_val(&from), v;
    int result = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    while (result == 0 && key_within(&k, &prefix) && last - key_number(&k, 1) >= most) {
        *first = key_number(&k, 1) + 1;
        result = mdb_cursor_del(cursor, 0);
        if (result == 0) /* LMDB stands before the next one */
            result = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    return result == MDB_NOTFOUND ? 0 : result;
}

int entries_empty(MDB_cursor *cursor, uint64_t stream, uint64_t number, uint64_t last, uint64_t *first)
{
    static const uint32_t no_bytes = 0;
    const lb_slice none = {(const char *)&no_bytes, sizeof no_bytes};
    entries e;
    int result = entries_find(&e, cursor, stream, number);
    if (result || e.at.number != number || !e.at.record.size)
        return result ? result : MDB_NOTFOUND;
    if (e.last != number || e.rest.at != e.rest.end)
        return MDB_CORRUPTED;
    result = put_block(cursor, stream, number, &(block_head){e.at.time_ms, 1}, none);
    if (result == 0)
        result = entries_find(&e, cursor, stream, *first);
    while (result == 0 && !e.at.record.size && e.at.number < last) {
        *first = e.at.number + 1;
        result = mdb_cursor_del(cursor, 0);
        if (result == 0)
            result = entries_find(&e, cursor, stream, *first);
    }
    return result;
}

int entries_count(MDB_txn *txn, MDB_dbi table, uint64_t stream, uint64_t first, int64_t *count)
{
    MDB_cursor *cursor;
    entries e;
    *count = 0;
    int result = mdb_cursor_open(txn, table, &cursor);
    if (result)
        return result;
    for (result = entries_find(&e, cursor, stream, first); result == 0; result = entries_next(&e))
        *count += e.at.record.size > 0;
    mdb_cursor_close(cursor);
    return result == MDB_NOTFOUND ? 0 : result;
}
