/* What a list of commands says, free of what may differ: ids, times, how the commands are cut and grouped, the
 * spacing of JSON and the order of its members. A recording and our own run become facts by the same rules, and
 * are compared fact by fact. The rules are those of the README in tests/data/vectors. */
#ifndef REPLAY_FACTS_H
#define REPLAY_FACTS_H

#include "base/buffer.h"
#include "vector.h"

typedef enum fact_kind {
    FACT_SCHEMA,   /* SET schema:A {..}, kept 60000 ms; SADD schemas A */
    FACT_SERVES,   /* pops A:rpc_queue */
    FACT_CALL,     /* RPUSH A:rpc_queue {..}, with its expiry key, its answer awaited where it says */
    FACT_TAKES,    /* DEL rpc_expiry_key:ID -> 1 */
    FACT_RESULT,   /* LPUSH KEY {..}, kept 60000 ms */
    FACT_FIRE,     /* XADD S MAXLEN ~ 100000 * id .. :parameter .. */
    FACT_GROUP,    /* XGROUP CREATE S G $ */
    FACT_READS,    /* XREADGROUP G C S, new or pending entries */
    FACT_CLAIMS,   /* XCLAIM S G C 1000 ID that was granted */
    FACT_HANDLED,  /* a listener was called */
    FACT_ACK,      /* XACK S G ID */
    FACT_CLEANUP,  /* removes a consumer or a group */
    FACT_INTERNAL, /* touches a key of Python's internal APIs, which are not ours */
    FACT_KINDS,
} fact_kind;

typedef struct fact {
    fact_kind kind;
    int number; /* of the command */
    const char *text;
} fact;

typedef struct facts {
    arena memory;
    fact *list;
    size_t count, capacity;
} facts;

/* How to read commands as facts. */
typedef struct reading {
    bool (*includes)(const command *c, const void *data); /* NULL: every command */
    const void *data;
    bool own_error_text;  /* the text of an error result may differ: it is another language's */
    bool once;            /* a call that Python sends twice counts once */
    const int *expiry_ms; /* expiry of the n-th call, 0: as it is; NULL: as they are */
    size_t expiry_count;
} reading;

void facts_read(facts *f, const commands *list, const reading *how);
void facts_add(facts *f, fact_kind kind, int number, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
size_t facts_count(const facts *f, fact_kind kind);
/* Takes away the facts that a text is part of. */
void facts_drop(facts *f, const char *part);
void facts_drop_kind(facts *f, fact_kind kind);
void facts_once(facts *f, fact_kind kind); /* drops repetitions */
void facts_free(facts *f);

/* The fact that a listener was called; arguments at their declared default are left out, since Python's
 * listeners do not see defaults and ours do. */
void facts_add_handled(facts *f, int number, const char *process, const char *listener, const char *event,
                       const char *id, const char *native_id, long long version, const lb_value *kwargs);
/* The fact of a result that the recording lacks; the JSON of its value, or NULL: an error. */
void facts_add_result(facts *f, int number, const char *key, const char *call_id, const char *json);
/* The fact of an event that the recording lacks, on the stream of its API. */
void facts_add_fire(facts *f, int number, const char *name, const lb_value *kwargs);
/* The fact of a listener that reads. */
void facts_add_reads(facts *f, const char *group, const char *consumer, const char *stream, bool is_new);
/* The fact of a call that the recording lacks. */
void facts_add_call(facts *f, int number, const char *name, const lb_value *kwargs, int expiry_ms);

/* Appends a line for each difference; false when there is one. */
bool facts_equal(const facts *expected, const facts *actual, buffer *report);

/* JSON with sorted members, no spaces, and whole numbers without a fraction: one text for equal values. */
void canonical_write(buffer *out, const lb_value *value);

#endif
