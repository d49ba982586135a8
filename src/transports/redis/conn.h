/* One connection to a Redis server: made when it is needed, with a deadline on every operation.
 *
 * A connection is used by one thread at a time. Whenever a function returns LB_TRANSPORT or LB_ACCESS the
 * connection has been dropped: its unsent commands and outstanding replies are gone. */
#ifndef REDIS_CONN_H
#define REDIS_CONN_H

#include <openssl/ssl.h>

#include "../../base/clock.h"
#include "resp.h"
#include "url.h"

/* What the server can do; asked by the first connection that gets through. */
typedef struct server_features {
    int multi_pop;  /* BLMPOP and LMPOP are there: 1; not: -1; not known yet: 0. Atomic. */
    int no_unblock; /* CLIENT UNBLOCK or CLIENT ID was refused once. Atomic. */
    int no_skip;    /* CLIENT REPLY was refused once. Atomic. */
} server_features;

typedef struct conn {
    const redis_options *options;
    server_features *features;
    SSL_CTX *tls; /* NULL: plain */
    SSL *ssl;
    int fd;      /* -1: not connected */
    int wake_fd; /* an eventfd that ends a wait with LB_CANCELED, or -1 */
    buffer out;  /* commands not yet sent */
    reply_parser in;
    int64_t client_id; /* 0: not known */
    int64_t used_ns;   /* when bytes last went over it */
    bool unfit;        /* the server is not fit for use: the next conn_ready connects again */
    unsigned serial;   /* counts the connections made */
    int low_water;     /* SO_RCVLOWAT as it is set */
    size_t expected;   /* bytes that come at least before a wait is over: a wake-up saved */
} conn;

void conn_init(conn *c, const redis_options *options, server_features *features, SSL_CTX *tls, int wake_fd);
void conn_close(conn *c); /* and frees what it holds */
void conn_drop(conn *c);  /* without a word to the server; the next conn_ready connects again */
/* In a forked child, of a connection that a thread of the parent may have been using: all that it holds but the
 * descriptor is left as it is, and made anew. */
void conn_abandon(conn *c);
/* The memory that an object points to is left alone for good, where leak checkers see that it is not lost. */
void leave_memory_of(const void *object, size_t size);

/* Connects if it must, also when the connection has died while it was idle. Only while no reply is outstanding.
 * Everything in `out` was lost with the old connection: fill it afterwards. */
lb_status conn_ready(conn *c, int64_t deadline_ns, lb_error *error);
/* Writes what is in `out`. *started (may be NULL) tells whether any byte left. */
lb_status conn_send(conn *c, int64_t deadline_ns, bool *started, lb_error *error);
/* The next reply. LB_TIMEOUT at the deadline and LB_CANCELED when woken (both without a message): the reply is
 * still outstanding and the connection is as it was. The reply lives until conn_release. */
lb_status conn_receive(conn *c, int64_t deadline_ns, const reply **r, lb_error *error);
/* The same for a reply that the server owes at once: at the deadline the connection is dropped. */
lb_status conn_answer(conn *c, int64_t deadline_ns, const reply **r, lb_error *error);
/* Gives back the replies received so far. */
static inline void conn_release(conn *c) { parser_release(&c->in); }
/* The next wait need not end before so many more bytes are there: at least as many must be certain to come. */
static inline void conn_expect(conn *c, size_t bytes) { c->expected += bytes; }
/* The status that an error reply stands for, with a message that begins with the server's place. When the
 * server is not fit for use (loading, read-only, losing its role), the next conn_ready connects again; what is
 * outstanding can be read before. */
lb_status conn_reply_error(conn *c, const reply *r, const char *doing, lb_error *error);

/* An SSL_CTX for the options: NULL with LB_CONFIG or LB_NO_MEMORY in *error when a file cannot be used. */
SSL_CTX *tls_context(const redis_options *options, lb_error *error);

#endif
