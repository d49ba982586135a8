/* What a redis:// URL says: where the server is, how to get in, and the options of its query. */
#ifndef REDIS_URL_H
#define REDIS_URL_H

#include <lightbus/error.h>
#include <stdint.h>

typedef struct redis_options {
    char place[300]; /* for messages: the URL's scheme, host and port, nothing secret */
    char host[256];  /* a host name or address; empty when `path` is set */
    char port[8];
    char path[108]; /* of a unix socket */
    char user[256]; /* empty: none */
    char *password; /* NULL: none */
    int db;         /* -1: none given */
    bool tls, tls_verify;
    char *tls_ca, *tls_cert, *tls_key; /* files, or NULL */
    int64_t result_ttl_ms;
    int64_t acknowledgement_timeout_ms;
    int64_t reclaim_interval_ms;
    int64_t reclaim_batch_size;
    int64_t max_stream_length; /* 0: streams are not trimmed */
    bool stream_per_event;
    int64_t max_message_size; /* bytes */
    int64_t max_queue_length; /* calls that wait for a worker of one API */
    int64_t connect_timeout_ms;
} redis_options;

/* Reads a URL. LB_CONFIG names what is wrong and what was expected; never a password (S33).
 * redis_url_free is due in either case. */
lb_status redis_url_parse(redis_options *options, const char *url, lb_error *error);
void redis_url_free(redis_options *options);

#endif
