/* What the parts of the Redis transport share: one instance per URL.
 *
 * Connections of an instance: two for calls (A and B, see caller.c), one for firing, one for control (schemas,
 * leases, waking blocked readers: short commands of any thread, under a mutex), one for asking about groups,
 * and one of its own per consumer and listener. */
#ifndef REDIS_INSTANCE_H
#define REDIS_INSTANCE_H

#include <lightbus/transport.h>
#include <pthread.h>
#include <stdatomic.h>

#include "conn.h"

enum {
    BLOCK_MOST_MS = 5000,  /* no blocking read is longer (S31) */
    BLOCK_SHORT_MS = 1000, /* where CLIENT UNBLOCK is refused */
    BLOCK_LEAST_MS = 10,
    BLOCK_MARGIN_MS = 2000, /* how long after its end a blocking read may be answered (S31) */
    ANSWER_MS = 2000,       /* how long a command may take whose caller gives no deadline */
    ANSWER_LEAST_MS = 200,  /* what a command gets that has to be sent although the deadline is near */
    GRACE_MS = 20,          /* a blocking read that ends at the deadline is answered a little after it */
    CLOSE_MS = 1000,        /* for flushing at close */
};

struct caller;

typedef struct redis {
    redis_options options;
    server_features features;
    SSL_CTX *tls;
    pthread_mutex_t control_lock;
    conn control;
    conn fire;   /* event->send alone */
    conn looker; /* event->lag, of one thread at a time; others open their own */
    atomic_flag looking;
    struct caller *caller;
    struct wakeable *wakeables; /* consumers and listeners, for after_fork */
    pthread_mutex_t wakeables_lock;
} redis;

/* A connection that blocks in reads and can be woken: of a consumer or a listener. */
typedef struct wakeable {
    redis *owner;
    conn conn;
    atomic_bool woken;
    struct wakeable *next;
} wakeable;

bool wakeable_init(wakeable *w, redis *owner, lb_error *error);
void wakeable_free(wakeable *w);
void wakeable_interrupt(wakeable *w); /* any thread, signal handlers */
bool wakeable_take(wakeable *w);      /* was it interrupted? Forgets it */
void wakeable_forget(wakeable *w);    /* after LB_CANCELED */
/* Makes the server end the blocking command of this connection. The reply comes as usual. */
void wakeable_unblock(wakeable *w);
/* How long a blocking read may take that must end by a deadline. */
int64_t block_ms(const redis *r, int64_t deadline_ns);
/* `deadline_ns`, or ANSWER_LEAST_MS from now if that is later, or ANSWER_MS if that is earlier. */
int64_t answer_deadline(int64_t deadline_ns);

/* The control connection, locked and connected; NULL (and not locked) on failure. */
conn *control_lock(redis *r, int64_t deadline_ns, lb_error *error);
void control_unlock(redis *r);
/* Sends what is in c->out and reads `count` answers; the first error reply gives the status. The last answer is
 * left in *last (may be NULL) until control_unlock. */
lb_status conn_exchange(conn *c, size_t count, const char *doing, int64_t deadline_ns, const reply **last,
                        lb_error *error);

/* caller.c: the side that calls */
struct caller *caller_open(redis *r, lb_error *error);
void caller_close(struct caller *c);
void caller_after_fork(struct caller *c);
lb_status caller_send(void *self, const lb_rpc_message *const *calls, size_t count, bool now,
                      int64_t deadline_ns, lb_error *error);
void caller_withdraw(void *self, const lb_rpc_message *const *calls, size_t count);
lb_slice caller_return_path(void *self);
lb_status caller_fetch(void *self, int64_t deadline_ns, const lb_result_message **results, size_t *count,
                       lb_error *error);
int caller_descriptor(void *self);

/* consumer.c: the side that is called */
lb_status consumer_open(void *self, const char *const *api_names, size_t count, int64_t deadline_ns,
                        void **consumer, lb_error *error);
lb_status consumer_fetch(void *consumer, size_t max, int64_t deadline_ns, const lb_rpc_message **calls,
                         size_t *count, lb_error *error);
lb_status consumer_flush(void *consumer, int64_t deadline_ns, lb_error *error);
void consumer_interrupt(void *consumer);
void consumer_close(void *consumer);
lb_status results_send(void *self, void *consumer, const lb_result_message *results, size_t count,
                       int64_t deadline_ns, lb_error *error);

extern const lb_event_transport redis_events;   /* fire.c, listener.c, lease.c */
extern const lb_schema_transport redis_schemas; /* schema.c */

#endif
