/* What a process has done since it started: counts and times of each procedure and event. Any thread. */
#ifndef PLUGINS_STATISTICS_H
#define PLUGINS_STATISTICS_H

#include <pthread.h>

#include "../base/buffer.h"
#include "../base/map.h"

typedef struct statistics {
    pthread_rwlock_t lock; /* of the maps; the counters in them are atomic */
    map rpcs, events;      /* "api.member" -> counters */
} statistics;

void statistics_init(statistics *s);
void statistics_free(statistics *s);

/* An RPC was answered; an event was fired; an event was handled. Lost when memory is short. */
void statistics_rpc(statistics *s, const char *api, const char *name, double seconds, bool failed);
void statistics_fired(statistics *s, const char *api, const char *name);
void statistics_handled(statistics *s, const char *api, const char *name, double seconds, bool failed);

/* {"rpcs": {NAME: {"calls", "errors", "busy", "latency"}}, "events": {NAME: {"fired", "handled", "failed",
 * "latency"}}}. A latency is [[UPPER BOUND IN SECONDS, COUNT], ...], empty ranges left out. */
void statistics_write(statistics *s, buffer *out);

#endif
