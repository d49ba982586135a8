/* What a local: URL says: which folder, and the options of its query. */
#ifndef LOCAL_URL_H
#define LOCAL_URL_H

#include <lightbus/error.h>
#include <limits.h>
#include <stdint.h>

typedef struct local_options {
    char folder[PATH_MAX]; /* absolute */
    int64_t acknowledgement_timeout_ms;
    int64_t reclaim_interval_ms;
    int64_t max_stream_length; /* 0: streams are not trimmed */
    int64_t max_queue_length;  /* calls that wait for a worker of one API */
    int64_t max_message_size;  /* bytes */
    int64_t max_size;          /* of the data of a new folder, in bytes */
    int64_t result_ttl_ms;
    int64_t group_ttl_ms; /* how long a group is kept without a listener; 0: for ever */
    int stream_per_event;
    int durable;      /* each fire is on the disk when it returns */
    int group_access; /* the folder is open to its group */
} local_options;

/* Reads a URL. LB_CONFIG names what is wrong and what was expected. */
lb_status local_options_parse(local_options *options, const char *url, lb_error *error);

#endif
