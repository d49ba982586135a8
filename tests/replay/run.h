/* One replay while it runs: what replay.c (the walk through the recording), client.c (our clients) and expect.c
 * (what is expected, and whether a worker still works) share. */
#ifndef REPLAY_RUN_H
#define REPLAY_RUN_H

#include "actor.h"
#include "facts.h"
#include "feed.h"
#include "replay.h"

#define PARTS_MAX        16
#define CALLS_MAX        128
#define SHORT_TIMEOUT_MS 500

typedef struct part { /* a process that we play */
    const char *role;
    char service[64], process[64], url[512];
    const lb_api *apis[4];
    lb_value *listeners;
    int rpc_timeout_ms;
    actor *actor; /* NULL: it has ended */
    int begun;    /* a client's calls so far */
} part;

typedef struct call { /* a recorded call that our client made */
    const part *part;
    int index, nth;                 /* among all that its client began; among the recorded ones */
    const char *id, *key;           /* recorded: its id, the key of its answer */
    char our_id[128], our_key[256]; /* and ours */
    lb_value *recorded, *answer;    /* messages; answer is NULL if there is none, or it is no JSON */
} call;

typedef struct run {
    const stage *stage;
    const scenario *scenario;
    enum direction direction;
    buffer *report;
    bool failed;
    vector *vector;
    feed feed;
    const char *password;
    int database, refusals;
    int64_t outage_ends_ms; /* 0: Redis is there */
    commands notes;
    size_t begin, position; /* in the recorder's notes */
    facts handled;
    buffer log;
    part parts[PARTS_MAX];
    size_t part_count;
    call calls[CALLS_MAX];
    size_t call_count;
    size_t pushed;              /* calls of ours on the queues, unrecorded ones included */
    int expiry_ms[CALLS_MAX];   /* of our calls where it is not the recorded one */
    char probes[PARTS_MAX][32]; /* native ids of the events that asked whether a worker is there */
    size_t probe_count;
} run;

bool run_plays(const run *r, const char *role);
void run_look(run *r); /* reads the recorder's notes and what the actors say */

/* The stream of a pair of API and event. */
void stream_name(const run *r, const part *p, const lb_value *pair, char *out, size_t size);

/* client.c */
void client_attempts(run *r, part *p);                /* what the recorded client tried in vain */
void client_play(run *r, part *p, const command *c);  /* a recorded command of a client */
void client_finish(run *r, part *p);                  /* the outcomes of its calls, and its end */
lb_slice client_translate(run *r, lb_slice argument); /* our ids and keys in the place of the recorded ones */

/* expect.c */
void expected_facts(run *r, facts *f);
void forget_facts(run *r, facts *actual); /* drops what is ours alone: probes, what a difference allows */
void worker_probe(run *r);                /* a call and an event for every worker at the end: they are served */

#endif
