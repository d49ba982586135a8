/* The bound on the calls that wait for the workers of an API (S6).
 *
 * A push is answered with the length of the queue, so looking costs nothing. What is found to be too much is
 * taken out again, from the end, where it was put: a call that a worker has taken meanwhile is not. */
#ifndef REDIS_LIMIT_H
#define REDIS_LIMIT_H

#include "instance.h"
#include "push.h"

/* The run of calls from `start` to `end` was pushed, and its queue has `length` calls since. Takes those out
 * that are too many, and those that were refused before, since their key was. Those that were found in the
 * queue are marked as refused; *why says why, if the queue was too long. */
void limit_enforce(redis *r, push_queue *q, size_t start, size_t end, int64_t length, lb_error *why);

#endif
