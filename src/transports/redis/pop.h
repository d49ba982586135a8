/* Taking messages out of lists, blocking: BLMPOP, or what does the same on servers before 7.0. */
#ifndef REDIS_POP_H
#define REDIS_POP_H

#include "conn.h"

typedef enum pop_end { POP_LEFT, POP_RIGHT } pop_end;

/* Appends the command that takes up to `max` messages from the first of the lists that has any, and waits for
 * one at most `timeout_ms` (0: does not wait). Without BLMPOP it takes one, and from a single list the rest
 * follows by a command of its own in the same write. Returns the number of replies that will come. */
unsigned pop_write(conn *c, const char *const *keys, size_t count, pop_end end, size_t max, int64_t timeout_ms);
/* The first of the messages in a reply, the `index`th of those that pop_write announced; NULL: none. */
const reply *pop_messages(const reply *r, unsigned index);

#endif
