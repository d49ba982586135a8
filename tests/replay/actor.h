/* The processes that a replay plays: a worker or a client that uses the library, as a child process that talks
 * to the test by messages (JSON texts) over a socket pair. */
#ifndef REPLAY_ACTOR_H
#define REPLAY_ACTOR_H

#include <lightbus.h>
#include <stdbool.h>

typedef struct actor_setup {
    const char *url, *service_name, *process_name;
    int rpc_timeout_ms, schema_ttl_s; /* 0: the default */
    unsigned flags;                   /* of lb_options */
    const lb_api *apis[4];            /* to register, NULL-terminated */
    const lb_value *listeners; /* a worker's: [{"name": .., "events": [[api, event], ..], "behave": ..}, ..] */
} actor_setup;

typedef struct actor actor;

/* A worker serves until SIGTERM; it sends {"handled": listener, "process": .., "event": .., "id": ..,
 * "native_id": .., "version": .., "kwargs": {..}} when a listener is called. A client does as it is told by
 * actor_tell:
 *     {"begin": name, "kwargs": {..}, "timeout_ms": n}
 *     {"end": n}              -> {"status": .., "type": .., "message": .., "value": ..} of the n-th call
 *     {"fire": name, "kwargs": {..}} -> the same
 * Both send {"log": text} for what the library logs. */
actor *actor_start_worker(const actor_setup *setup);
actor *actor_start_client(const actor_setup *setup);

void actor_tell(actor *a, const char *message);
/* The next message, parsed and owned, or NULL when there is none within the time. */
lb_value *actor_hear(actor *a, int timeout_ms);
bool actor_runs(actor *a); /* false: it has ended by itself, or by actor_end */
void actor_signal(actor *a, int signal);
void actor_dismiss(actor *a); /* tells a client that this was all: it closes its bus and ends */
/* Waits for its end: the exit code, 128 + signal; -1: it runs on, and is killed. */
int actor_end(actor *a, int timeout_ms);
void actor_free(actor *a); /* kills it if it still runs; NULL is allowed */

#endif
