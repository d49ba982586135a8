/* Who listens: a record for each open listener of a group, by which groups that nobody will come back to are
 * found and removed.
 *
 * A group is temporary when no later process will ask for it: the name of its service is random, or its
 * listener said so. It goes with its last listener, also with one that was killed. Any other group is kept for
 * as long as the options say (`group_ttl`) without a listener. That time is counted while some process has the
 * folder open, on the monotonic clock, so that a wrong date removes nothing. */
#ifndef LOCAL_PRESENCE_H
#define LOCAL_PRESENCE_H

#include "store.h"

/* What is known of the listeners of a group. */
typedef struct presence {
    size_t listeners; /* open ones, of living processes */
    size_t gone;      /* of processes that were killed */
    bool temporary;
    int64_t idle_ms; /* without a listener */
} presence;

/* A listener of the group opens; `owner` is its number. */
int presence_enter(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, uint64_t owner,
                   bool temporary);
/* Is its record there? Not when the group was removed, and made again by another. */
int presence_has(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, uint64_t owner, bool *has);
/* It closes. With the last one a group is removed that is temporary or to be forgotten. */
int presence_leave(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, uint64_t owner,
                   bool forget);
int presence_of(MDB_txn *txn, MDB_dbi table, uint64_t stream_id, uint64_t group_id, presence *p);

/* Removes what killed processes left, and groups that are not wanted any longer. `alone`: no other process has
 * the folder open. `idle_ms`: the time since the last time. */
lb_status presence_sweep(store *s, bool alone, int64_t idle_ms, int64_t group_ttl_ms, lb_error *error);
/* The same when a process has opened the folder alone, if there is anything to remove. */
lb_status presence_begin(store *s, lb_error *error);
/* Does so once in a while, for all processes together. */
void presence_sweep_if_due(store *s, int64_t group_ttl_ms);

#endif
