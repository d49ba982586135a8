/* The entries of a stream: events as records, numbered from 1 without gaps. Of dead letters, those that were
 * taken out are empty.
 *
 * Entries that are appended together lie in blocks, one record of LMDB each, since LMDB takes longer for a
 * record than for the bytes of an event. A block's key ends with the number of its last entry, so that the
 * block of a number is the first one at or behind it. Its value: the time of all its entries, their count, and
 * each with its size in front. A block that is larger than BLOCK_BYTES has one entry. */
#ifndef LOCAL_ENTRIES_H
#define LOCAL_ENTRIES_H

#include <lmdb.h>

#include "record.h"

enum { BLOCK_BYTES = 4080 }; /* a page of LMDB, less its head: then no page is left half full */

typedef struct entry {
    uint64_t number;
    int64_t time_ms;
    lb_slice record;
} entry;

/* A place in a stream. What it gives out is valid until the next write, or the end of the transaction. */
typedef struct entries {
    MDB_cursor *cursor;
    uint64_t stream;
    uint64_t last; /* of the block */
    cut rest;      /* of the block */
    entry at;
} entries;

/* All return 0, MDB_NOTFOUND, or what went wrong. */

/* Goes to the first entry with this number or a higher one. */
int entries_find(entries *e, MDB_cursor *cursor, uint64_t stream, uint64_t number);
int entries_next(entries *e);
/* The end of a stream: the number of its last entry and its time. */
int entries_end(MDB_txn *txn, MDB_dbi table, uint64_t stream, uint64_t *last, int64_t *last_ms);
/* One entry. */
int entry_get(MDB_txn *txn, MDB_dbi table, uint64_t stream, uint64_t number, entry *found);
/* Appends records, each with its size in front (put_slice), behind entry *last, which becomes the last of them;
 * with at most `most` in a block. */
int entries_append(MDB_cursor *cursor, uint64_t stream, lb_slice records, int64_t time_ms, uint64_t most,
                   uint64_t *last);
/* Makes an entry that is alone in its block empty, and removes empty ones from the front, but not the last
 * entry of the stream, which keeps the numbers going; *first: the first that is left. MDB_NOTFOUND: it is empty
 * already. */
int entries_empty(MDB_cursor *cursor, uint64_t stream, uint64_t number, uint64_t last, uint64_t *first);
/* How many entries there are that are not empty. */
int entries_count(MDB_txn *txn, MDB_dbi table, uint64_t stream, uint64_t first, int64_t *count);
/* Removes blocks from the front, as long as `most` entries are left; *first: the first that is left then. */
int entries_trim(MDB_cursor *cursor, uint64_t stream, uint64_t most, uint64_t last, uint64_t *first);

#endif
