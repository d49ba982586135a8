/* A proxy between our processes and Redis that notes every command with its arguments and its reply, in the
 * form of the recordings (one JSON text per line), in memory that it shares with the test. It is a process of
 * its own, so that the test needs neither locks nor threads.
 *
 * Invariants: a command is noted before Redis sees it, a reply before our process does: whoever knows the
 * outcome of a command finds it in the notes. Replies are matched to commands in order, per connection. */
#ifndef REPLAY_RECORDER_H
#define REPLAY_RECORDER_H

#include <stddef.h>
#include <sys/types.h>

typedef struct recorder recorder;

recorder *recorder_start(int server_port);
int recorder_port(const recorder *r);

/* The notes so far: lines {"seq": n, "t": ms, "conn": n, "args": [..]} and {"seq": n, "t": ms, "reply": ..},
 * with the time since the start. Only grows. */
const char *recorder_notes(const recorder *r, size_t *size);

/* Each returns when it is in effect. */
void recorder_refuse(recorder *r);        /* Redis is unreachable: connections are closed, new ones at once */
int recorder_refusals(const recorder *r); /* connections refused so far */
void recorder_accept(recorder *r);        /* and reachable again */
void recorder_cut(recorder *r);           /* closes all connections, once */
/* Closes the next connection that pushes a call, after Redis has executed it and before the pusher sees a
 * reply. Once. */
void recorder_lose_reply(recorder *r);
void recorder_stop(recorder *r); /* NULL is allowed */

#endif
