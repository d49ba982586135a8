/* Streams of events and the groups that read them, as records of the database `events`.
 *
 * The entries of a stream are numbered from 1 without gaps; trimming removes them from the front. A group has a
 * cursor, the number of the last entry that was delivered to it, so that what was trimmed before it was read is
 * a matter of subtraction (S16). An entry that was delivered and not yet acknowledged has a pending record,
 * which says whose hands it is in and until when. */
#ifndef LOCAL_STREAM_H
#define LOCAL_STREAM_H

#include "../../base/json.h"
#include "entries.h"
#include "key.h"
#include "store.h"

#define DEAD_SUFFIX ":dead" /* of the names of streams that hold the dead letters of another one */
#define NO_RECLAIM  INT64_MAX
#define RECLAIM_NOW INT64_C(0)
enum { NATIVE_ID_SIZE = 48 };

typedef struct stream {
    uint64_t first, last; /* entries that are there; first = last + 1: none */
    int64_t last_ms;      /* the time of the last one: times never go back */
    uint64_t made;        /* a number of its own: another one of the same name has another */
    bool is_new;          /* it is not in the store yet */
} stream;

typedef struct native_id {
    int64_t time_ms;
    uint64_t number;
} native_id;

typedef struct group {
    uint64_t cursor;
    uint64_t lost;
    int64_t reclaim_at_ns; /* no lease ends before (CLOCK_MONOTONIC) */
} group;

typedef struct pending {
    uint64_t owner; /* a number of the listener that has it; 0: nobody, it was given back */
    int64_t lease_until_ns;
    uint64_t deliveries;
    lb_slice consumer; /* the name of its process */
} pending;

/* All return 0, MDB_NOTFOUND, or what went wrong. A stream that is not there yet is empty. */
int stream_get(MDB_txn *txn, MDB_dbi table, uint64_t id, stream *s);
int stream_put(MDB_txn *txn, MDB_dbi table, uint64_t id, lb_slice name, const stream *s);
/* Whether it is the name of a stream that holds the dead letters of `*living`. */
bool stream_is_dead(lb_slice name, lb_slice *living);
/* The name in its record; data NULL: damaged. */
lb_slice stream_name_of(const MDB_val *v);
/* Appends records, each with its size in front, and removes entries from the front until about `most` are left
 * (0: all). *first: the time of them all, and the number of the first. */
int stream_append(MDB_txn *txn, MDB_dbi table, uint64_t id, lb_slice name, lb_slice records, int64_t now_ms,
                  uint64_t most, native_id *first);
/* Takes an entry out of a stream of dead letters. MDB_NOTFOUND: it is not there any more. */
int stream_take_out(MDB_txn *txn, MDB_dbi table, uint64_t id, lb_slice name, uint64_t number);
/* The cursor of a group that starts there: "$", "0", a native id, or a time. LB_CONFIG: none of these. */
lb_status stream_position(const transaction *t, uint64_t id, const stream *s, const char *since,
                          uint64_t *cursor, lb_error *error);

int group_get(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, group *g);
int group_put(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, lb_slice name,
              const group *g);
int group_count_pending(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, int64_t *count);
/* Tells the group that something can be taken over at once. */
int group_reclaim_now(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, lb_slice name);
/* Removes the group with its pending entries and its listeners' records. */
int group_remove(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id);

/* False: the record is damaged. */
bool pending_read(const MDB_val *v, pending *p);
int pending_put(MDB_txn *txn, MDB_dbi table, const key *k, const pending *p);

int64_t wall_clock_ms(void);

/* The machine has been started again since: all leases are over. */
lb_status streams_end_leases(store *s, lb_error *error);

/* "MILLISECONDS-NUMBER" */
size_t native_id_text(char out[NATIVE_ID_SIZE], int64_t time_ms, uint64_t number);
bool native_id_parse(lb_slice text, int64_t *time_ms, uint64_t *number);

#endif
