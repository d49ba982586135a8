/* Replays a recording: our library takes the part of the recorded clients or of the recorded workers, everybody
 * else's commands are sent as they were recorded, and what our side sends is compared with what Python sent.
 *
 * The recorded commands and the timeline set the pace: a process starts, is signalled or cut off where it was
 * then; nothing waits for the times of the recording. Events keep their recorded native ids, calls their ids.
 */
#ifndef REPLAY_REPLAY_H
#define REPLAY_REPLAY_H

#include <lightbus.h>

#include "base/buffer.h"
#include "recorder.h"
#include "support.h"

enum direction { AS_CLIENT = 1, AS_WORKER = 2, AS_BOTH = 3 };

/* What our side does differently on purpose, beyond what the facts leave out. */
enum difference {
    OWN_ERROR_TEXT = 1 << 0, /* an error result says it in other words than Python's repr() */
    ANSWERED =
        1 << 1, /* Python's worker dies or stays silent; ours answers, with an error or `result` (S4, S5) */
    BURIED = 1 << 2,   /* Python's listener dies of the event; ours puts it to the dead letters (S14) */
    SURVIVES = 1 << 3, /* Python's listener dies; ours goes on, and handles what was fired (S10, S18, S30) */
    HANDLED_ONCE = 1 << 4,     /* Python's listeners handle an event twice (S12) */
    OTHERS_UNTOUCHED = 1 << 5, /* Python removes consumers and groups of others (S17) */
    STOPS = 1 << 6,            /* the worker ends with exit code 1, as Python's does */
    REPLIES_LOST = 1 << 7,     /* the connection breaks before the caller sees that its call was pushed (S1) */
    OWN_TIMEOUT = 1 << 8,      /* Python's timeouts differ from each other; ours are one number (S2) */
    FULL_TIMEOUT = 1 << 9, /* wait for the recorded timeout; otherwise an unanswered call gets a short one */
};

typedef struct scenario {
    const char *vector;
    unsigned directions;
    unsigned differences;
    int timeout_ms;     /* of each call; 0: as recorded */
    const char *result; /* with ANSWERED: the JSON of the result; NULL: an error */
    const char *reason; /* why it is not replayed, if it is not */
} scenario;

/* What a client of a recording tried that left no command there, or whose outcome is another one with us. */
typedef struct attempt {
    const char *vector, *role;
    int call;         /* the outcome of this recorded call (from 0), or ATTEMPT_CALL, ATTEMPT_FIRE */
    const char *name; /* attempts: "api.member" */
    const char *kwargs;
    lb_status status; /* what it must end with */
} attempt;

enum { ATTEMPT_CALL = -1, ATTEMPT_FIRE = -2 };

typedef struct stage {     /* what replays share */
    const char *directory; /* of the recordings */
    redis_server *server;
    recorder *recorder;
    const attempt *attempts; /* ends with a NULL vector */
    const char *corrupt;     /* self-test: a text that is changed in the expected facts, or NULL */
} stage;

/* One direction of one recording. True when it agreed; else `report` says what did not. */
bool replay(const stage *stage, const scenario *scenario, enum direction direction, buffer *report);

#endif
