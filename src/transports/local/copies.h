/* Copies: which ids a group has been given, so that of several events with one id it handles one (S20).
 *
 * A record per group, stream and id says which entry was the first and when it was given out. The entry itself
 * is pending until it is handled or put aside, so that passing over its copies loses nothing (S10). Records go
 * when their time is over, whether the group is still there or not. */
#ifndef LOCAL_COPIES_H
#define LOCAL_COPIES_H

#include "store.h"

/* An entry that is about to be given out. */
typedef struct candidate {
    uint64_t stream, group, number;
    lb_slice id;
} candidate;

/* All return 0 or what went wrong, inside a transaction on the events. */

/* *first: the entry whose copy it is, or 0. With `note` it is the first one then, for so long from now on. */
int copies_find(const transaction *t, const candidate *c, int64_t window_ns, bool note, uint64_t *first);
/* It was put aside: the next copy is the first. */
int copies_forget(const transaction *t, const candidate *c);
/* Looks at so many records, in turn, and removes those whose time is over. */
int copies_sweep(const transaction *t, size_t most);
/* The machine has been started again: its clock is another one, and all times begin anew. */
int copies_restart(const transaction *t);

#endif
