/* Messages on their way into lists: calls to queues, results to return paths.
 *
 * A queue keeps them until they may be forgotten: a call when it was written (it is never written twice, S1), a
 * result when the server has confirmed it. Neighbours for the same list share one command (a run). */
#ifndef REDIS_PUSH_H
#define REDIS_PUSH_H

#include <lightbus/transport.h>

#include "../../base/buffer.h"

typedef struct push {
    size_t key, key_size; /* places in the queue's text: the list, the call's id, the message */
    size_t id, id_size;
    size_t blob, blob_size;
    int64_t deadline_ns; /* of a call */
    bool refused;
} push;

typedef struct push_queue {
    push *items;
    size_t count, capacity;
    buffer text;
} push_queue; /* {0} is an empty queue */

/* Adds a message; its text is what the caller then appends to q->text before push_end. The list's name is `key`
 * and `suffix` together. NULL when memory is short. */
push *push_begin(push_queue *q, lb_slice key, const char *suffix, lb_slice id);
/* The bytes of the message; 0 when memory was short, and the message is not in the queue then. */
size_t push_end(push_queue *q, push *item);
/* Forgets all after the first `count`. */
void push_truncate(push_queue *q, size_t count);
/* Forgets the first `count`. */
void push_forget(push_queue *q, size_t count);
void push_clear(push_queue *q);
void push_free(push_queue *q);
/* Appends what is in `from` and empties it; false when memory is short (then both are as they were). */
bool push_append(push_queue *q, push_queue *from);
void push_swap(push_queue *a, push_queue *b);

static inline lb_slice push_id(const push_queue *q, const push *item)
{
    return (lb_slice){q->text.data + item->id, item->id_size};
}
static inline lb_slice push_key(const push_queue *q, const push *item)
{
    return (lb_slice){q->text.data + item->key, item->key_size};
}
/* The end of the run that begins at `start`. */
size_t push_run(const push_queue *q, size_t start, size_t end);
/* Writes a run as one command, "LPUSH" or "RPUSH". */
void push_write(const push_queue *q, buffer *out, const char *command, size_t start, size_t end);

#endif
