/* What the parts of the local transport share: one instance per bus handle. */
#ifndef LOCAL_INSTANCE_H
#define LOCAL_INSTANCE_H

#include <lightbus/transport.h>
#include <pthread.h>

#include "../../base/arena.h"
#include "../../base/buffer.h"
#include "../../base/clock.h"
#include "../../base/json.h"
#include "key.h"
#include "record.h"
#include "store.h"
#include "url.h"

enum {
    KEEP_ARENA = 1 << 18, /* bytes kept for the next batch */
    MOST_BYTES = 4 << 20, /* of a batch, unless one message is larger */
    CLOSE_MS = 1000,      /* for flushing at close */
    TOUCH_MS = 2000,      /* what has no deadline of its own */
};

struct caller;

typedef struct local_bus {
    local_options options;
    pthread_mutex_t lock; /* for opening the store */
    store *store;         /* NULL until it is needed first */
    struct caller *caller;
    buffer native_ids, encoded; /* of event->send */
} local_bus;

/* Opens the folder at its first use. */
lb_status local_store(local_bus *l, int64_t deadline_ns, store **s, lb_error *error);
/* The same for who only looks, and makes nothing: *s is NULL when there is no bus yet. */
lb_status local_store_if_any(local_bus *l, int64_t deadline_ns, store **s, lb_error *error);

/* Copies a value that LMDB gave out; data NULL when memory is short. */
static inline lb_slice copy_value(arena *a, const MDB_val *v)
{
    return (lb_slice){arena_copy(a, v->mv_data, v->mv_size), v->mv_size};
}

/* caller.c */
struct caller *local_caller_open(local_bus *l);
void local_caller_close(struct caller *c);
void local_caller_after_fork(struct caller *c);
lb_status local_caller_send(void *self, const lb_rpc_message *const *calls, size_t count, bool now,
                            int64_t deadline_ns, lb_error *error);
void local_caller_withdraw(void *self, const lb_rpc_message *const *calls, size_t count);
lb_slice local_caller_return_path(void *self);
lb_status local_caller_fetch(void *self, int64_t deadline_ns, const lb_result_message **results, size_t *count,
                             lb_error *error);
int local_caller_descriptor(void *self);
/* The client that a return path names; 0: none. */
uint64_t caller_of_path(lb_slice return_path);
/* Wakes a client that has results. */
void caller_wake(store *s, uint64_t client);

/* consumer.c */
lb_status local_consumer_open(void *self, const char *const *api_names, size_t count, int64_t deadline_ns,
                              void **consumer, lb_error *error);
lb_status local_consumer_fetch(void *consumer, size_t max, int64_t deadline_ns, const lb_rpc_message **calls,
                               size_t *count, lb_error *error);
lb_status local_consumer_flush(void *consumer, int64_t deadline_ns, lb_error *error);
void local_consumer_interrupt(void *consumer);
void local_consumer_close(void *consumer);
lb_status local_results_send(void *self, void *consumer, const lb_result_message *results, size_t count,
                             int64_t deadline_ns, lb_error *error);

extern const lb_event_transport local_events;   /* fire.c, listener.c, lease.c */
extern const lb_schema_transport local_schemas; /* schema.c */

#endif
