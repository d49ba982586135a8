/* Writing a transport: how a bus reaches the other processes.
 *
 * A transport is one `lb_transport` with up to four kinds of function tables: RPC, result, event, schema. The
 * bus opens one instance per URL and hands `self` to every function, so that the kinds can share connections.
 * Functions are plain blocking code on batches: they block up to an absolute deadline (nanoseconds on
 * CLOCK_MONOTONIC; LB_FOREVER: none) and never longer.
 *
 * Threads. The bus calls, for one instance: `rpc->send` and `rpc->withdraw` from one thread at a time,
 * `result->fetch` from one at a time (while another may be in `send`), `event->send` from one at a time, the
 * schema functions from one at a time; these four groups run at the same time as each other. A consumer and a
 * listener belong to the thread that opened them, but for `interrupt` (any thread, and from signal handlers)
 * and `renew`, `give_back` (the bus's timer thread, at the same time as `fetch`). A history belongs to whoever
 * opened it; `history`, `lag` and `diagnose` are called by any thread.
 *
 * Memory. What goes in is borrowed until the function returns. Messages that `fetch` gives out belong to the
 * transport and stay valid until the next `fetch` on the same instance, consumer or listener.
 *
 * Errors. LB_TRANSPORT with error->retryable: the connection is lost, and the next call of the function makes
 * a new one; the bus waits in between, with growing delays. LB_ACCESS and LB_CONFIG: trying again is no use.
 * LB_BUSY, LB_NO_SPACE: the medium is full. A message that cannot be understood is no error of `fetch`: it is
 * given out with `problem` set. */
#ifndef LIGHTBUS_TRANSPORT_H
#define LIGHTBUS_TRANSPORT_H

#include <lightbus/diagnose.h>
#include <lightbus/error.h>
#include <lightbus/value.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LB_TRANSPORT_ABI 1u
#define LB_FOREVER       INT64_MAX

/* A keyword argument of a message. The sender gives its value as compact JSON text, the receiver as a tree. */
typedef struct lb_kwarg {
    lb_slice name;
    lb_slice json;         /* sending */
    const lb_value *value; /* receiving */
} lb_kwarg;

typedef struct lb_rpc_message {
    lb_slice id;
    lb_slice api_name;
    lb_slice procedure_name;
    lb_slice return_path;
    const lb_kwarg *kwargs;
    size_t kwargs_count;
    int64_t deadline_ns; /* sending: when the caller stops waiting. Received: a guess, or LB_FOREVER */
    const char *problem; /* received: why it cannot be understood; the fields known are set, others empty */
} lb_rpc_message;

typedef struct lb_result_message {
    lb_slice id;
    lb_slice rpc_message_id; /* the call's id */
    lb_slice return_path;    /* sending: the call's */
    bool error;              /* the procedure failed; the result is then a text that describes it */
    lb_slice json;           /* sending: the result as JSON text */
    const lb_value *result;  /* receiving */
    lb_slice trace;          /* of an error, or empty */
    lb_status status;        /* received: not LB_OK when the medium refused the call after send had returned */
    const char *problem;     /* received: the reason for `status`, or why the result cannot be understood */
} lb_result_message;

/* Where an event lies that a group gave up: among the dead letters of its stream. */
typedef struct lb_dead_letter {
    lb_slice id; /* of the letter, the medium's own; begins with milliseconds as a native id does */
    lb_slice group, consumer; /* that gave it up; empty: the letter does not tell */
    lb_slice reason;
} lb_dead_letter;

typedef struct lb_event_message {
    lb_slice id;
    lb_slice api_name;
    lb_slice event_name;
    int version;
    const lb_kwarg *kwargs;
    size_t kwargs_count;
    lb_slice native_id;  /* the medium's own; set by `send` (valid until the next send), and when received */
    int source;          /* received: the transport's own note of where it came from */
    int deliveries;      /* received: how often it was delivered, this time included */
    lb_status status;    /* set by `send`, per event */
    const char *problem; /* set by `send` for a failed one; received: why it cannot be understood */
    const lb_dead_letter *dead; /* of a history of dead letters; else NULL */
} lb_event_message;

typedef struct lb_rpc_transport {
    /* Sends calls. With `now` they are on their way when it returns; without, they may wait for the next
     * result->fetch or send with `now` on this instance, to share its write. LB_OK: they were sent, or may have
     * been (the caller waits for its result either way; a call is never sent twice). A failure: none was sent.
     */
    lb_status (*send)(void *self, const lb_rpc_message *const *calls, size_t count, bool now,
                      int64_t deadline_ns, lb_error *error);
    /* The callers of these do not wait any longer: remove what can be removed. Best effort. */
    void (*withdraw)(void *self, const lb_rpc_message *const *calls, size_t count);

    /* A consumer takes calls of some APIs, in that order of priority; one per worker thread. */
    lb_status (*consumer_open)(void *self, const char *const *api_names, size_t count, int64_t deadline_ns,
                               void **consumer, lb_error *error);
    /* Takes up to `max` calls whose deadline has not passed; each is given to one consumer only, once. LB_OK
     * with *count == 0 when the deadline came, or interrupt did. */
    lb_status (*fetch)(void *consumer, size_t max, int64_t deadline_ns, const lb_rpc_message **calls,
                       size_t *count, lb_error *error);
    /* Sends the results that wait. */
    lb_status (*flush)(void *consumer, int64_t deadline_ns, lb_error *error);
    /* Makes the present or else the next fetch return soon, losing nothing. */
    void (*interrupt)(void *consumer);
    void (*consumer_close)(void *consumer); /* flushes first, for at most a second */
} lb_rpc_transport;

typedef struct lb_result_transport {
    /* Where the result of a call is to go; kept by the transport, valid as long as the instance. */
    lb_slice (*return_path)(void *self);
    /* Sends results. With the consumer of this same instance on whose thread it is called, they may wait for
     * its next fetch or flush, to share its write; NULL (any thread): now. */
    lb_status (*send)(void *self, void *consumer, const lb_result_message *results, size_t count,
                      int64_t deadline_ns, lb_error *error);
    /* Takes results that came for this process, in any order; waits until there is at least one. Unknown
     * ids are the bus's business. */
    lb_status (*fetch)(void *self, int64_t deadline_ns, const lb_result_message **results, size_t *count,
                       lb_error *error);
    /* Optional: a descriptor to poll for reading, for programs with an event loop: fetch with a deadline of
     * now has something to do when it is readable. -1: none yet, call fetch first. */
    int (*descriptor)(void *self);
} lb_result_transport;

/* What a listener wants. */
typedef struct lb_listener_config {
    const char *group;         /* the consumer group: {service_name}-{listener_name} */
    const char *consumer;      /* the process name */
    const lb_slice *api_names; /* pairs of API and event; "*" for all events of the API */
    const lb_slice *event_names;
    size_t count;
    const char *since;  /* "$", "0", a native id, or ISO 8601; for a group that is new */
    bool temporary;     /* no other process will ask for the group later: it may go with its last listener, also
                           with one that was killed */
    int deduplicate_ms; /* not 0: fetch gives out one copy of an event, see there */
} lb_listener_config;

/* Events with a longer id than this are not compared with others. */
#define LB_DEDUPLICATED_ID_MOST 255

/* Which stored events are wanted, and in which order. Of dead letters, the time is that at which they were put
 * aside, and their own ids are the bounds. */
typedef struct lb_history_config {
    const lb_slice *api_names; /* pairs of API and event; "*" for all events of the API */
    const lb_slice *event_names;
    size_t count;          /* 0: of dead letters, those of all streams */
    const char *from, *to; /* the first and the last in time, both included: a native id or ISO 8601; NULL: no
                              bound. `from` may be "$": what is fired from now on */
    bool oldest_first;
    bool dead_letters; /* these, not the streams themselves */
} lb_history_config;

/* How many dead letters of a stream are looked through to tell whose they are. */
#define LB_DEAD_LETTERS_SEEN 1000

/* How far a consumer group is behind, and what there is to read. */
typedef struct lb_group_lag {
    lb_slice group;                /* empty: nobody's, what is stored alone */
    lb_slice api_name, event_name; /* of the events that share the count; "*": all of the API */
    int64_t undelivered;           /* stored, and given to no consumer of the group yet; -1: not known */
    int64_t pending;               /* given to a consumer, and not acknowledged */
    int64_t consumers;             /* -1: not known */
    int64_t dead_letters; /* of the stream; with a group, how many of the newest LB_DEAD_LETTERS_SEEN are
                             its own; -1: not known */
    int64_t stored;       /* events that are there */
    int64_t fired;        /* since the beginning, those included that are gone; -1: not known */
    int64_t lost;         /* trimmed or deleted before the group had read or acknowledged them; -1: not known */
} lb_group_lag;

typedef struct lb_event_transport {
    /* Fires events, in order. LB_OK: look at each event's status. A failure (no connection): none was sent. */
    lb_status (*send)(void *self, lb_event_message *const *events, size_t count, int64_t deadline_ns,
                      lb_error *error);

    lb_status (*listen)(void *self, const lb_listener_config *config, int64_t deadline_ns, void **listener,
                        lb_error *error);
    /* Takes up to about `max` events: first those that this consumer had not acknowledged when it ended, then
     * those that others have let lie past the acknowledgement timeout, then new ones. LB_OK with *count == 0 at
     * the deadline or after interrupt. An event in hand (given out, and neither acknowledged, given back nor
     * dead) is not given out again.
     * With deduplicate_ms: when the group was given another event of the same id from the same stream within
     * that time, this one is acknowledged, counted and logged instead. What was given out before comes again as
     * ever: an event is no copy of itself. A dead one is forgotten: a copy that comes later is given out. So is
     * what has no id that can be read, or one of more than LB_DEDUPLICATED_ID_MOST bytes. */
    lb_status (*fetch)(void *listener, size_t max, int64_t deadline_ns, const lb_event_message **events,
                       size_t *count, lb_error *error);
    /* These events are done. May wait for the next fetch or flush, to share its write. They are matched by
     * native_id and source: copies will do. */
    lb_status (*acknowledge)(void *listener, const lb_event_message *const *events, size_t count,
                             lb_error *error);
    lb_status (*flush)(void *listener, int64_t deadline_ns, lb_error *error);
    /* Keeps these events in this consumer's hands for another lease; `lost[i]` tells which ones were taken
     * over. */
    lb_status (*renew)(void *listener, const lb_event_message *const *events, size_t count, bool *lost,
                       lb_error *error);
    /* Lets others have these events at once. */
    lb_status (*give_back)(void *listener, const lb_event_message *const *events, size_t count,
                           lb_error *error);
    /* Moves an event to the dead letters and acknowledges it, both or neither. */
    lb_status (*dead_letter)(void *listener, const lb_event_message *event, const char *reason,
                             lb_error *error);
    void (*interrupt)(void *listener);
    /* Flushes first, for at most a second. `forget`: the group goes too, unless others listen in it; with it
     * what is pending. */
    void (*unlisten)(void *listener, bool forget);
    /* How long an event may stay in a consumer's hands without renew, in milliseconds. */
    int64_t (*lease_ms)(void *listener);

    /* Looking at what is stored, whoever has read it. Optional: NULL, all of the following or none. A history
     * is used by one thread at a time, histories and `lag` by any number at once. */
    lb_status (*history)(void *self, const lb_history_config *config, int64_t deadline_ns, void **history,
                         lb_error *error);
    /* The next events in the order of time, up to about `max`, valid until the next history_fetch. With *end
     * there are no more at present; oldest first, a later call finds those that came meanwhile. LB_OK with
     * *count == 0 and not *end: none of those looked at was wanted. After a failure it goes on where it was.
     * Of a dead letter, `deliveries` and `native_id` are those of the event when it was given up; one that
     * cannot be understood has the raw fields of the medium, if it has any, as arguments that are texts. */
    lb_status (*history_fetch)(void *history, size_t max, int64_t deadline_ns, const lb_event_message **events,
                               size_t *count, bool *end, lb_error *error);
    void (*history_close)(void *history);
    /* Calls `found` for what is stored of an event ("*": of any event) of an API, with an empty group, and then
     * for every group that listens to it; not at all where there is neither. */
    lb_status (*lag)(void *self, lb_slice api_name, lb_slice event_name,
                     void (*found)(const lb_group_lag *lag, void *data), void *data, int64_t deadline_ns,
                     lb_error *error);
    /* Takes a dead letter that this history gave out from where it lies and gives its event back to the group
     * that gave it up, and to no other, as one that was not delivered yet: both or neither. If somebody of the
     * group has the event by now, it stays as it is. With `fire`, an event that its stream does not hold any
     * longer is fired anew, under its own id, for all groups. LB_GONE: the letter is not there any more, the
     * event is gone from its stream, or the group from the bus. LB_MALFORMED: the letter does not tell of which
     * group or event it is. */
    lb_status (*replay)(void *history, const lb_event_message *letter, bool fire, int64_t deadline_ns,
                        lb_error *error);
    /* Removes a dead letter; LB_OK also when it is not there any more. */
    lb_status (*purge)(void *history, const lb_event_message *letter, int64_t deadline_ns, lb_error *error);
} lb_event_transport;

typedef struct lb_schema_transport {
    /* Publishes schemas (JSON texts) for `ttl_s` seconds. */
    lb_status (*store)(void *self, const char *const *api_names, const lb_slice *json, size_t count, int ttl_s,
                       int64_t deadline_ns, lb_error *error);
    /* Calls `found` for every API that has a schema at present. */
    lb_status (*load)(void *self, void (*found)(lb_slice api_name, lb_slice json, void *data), void *data,
                      int64_t deadline_ns, lb_error *error);
} lb_schema_transport;

typedef struct lb_transport_config {
    size_t size; /* of this struct, as the bus knows it */
    const char *url;
    const char *service_name;
    const char *process_name;
} lb_transport_config;

typedef struct lb_transport {
    unsigned abi; /* LB_TRANSPORT_ABI */
    size_t size;  /* sizeof(lb_transport), as the transport knows it: members after it are taken as NULL */
    const char *name;
    const char *schemes; /* URL schemes that it answers to, separated by spaces */
    /* Checks the configuration; does not connect. LB_CONFIG names the option and what was expected. */
    lb_status (*open)(const lb_transport_config *config, void **self, lb_error *error);
    void (*close)(void *self); /* consumers and listeners are closed before */
    /* In the child of a fork, with no other thread running: drop connections without a word on them. Threads of
     * the parent may have been in any other function of this instance, with its locks: what they may have been
     * changing is best left as it is, and made anew. */
    void (*after_fork)(void *self);
    const lb_rpc_transport *rpc;
    const lb_result_transport *result;
    const lb_event_transport *event;
    const lb_schema_transport *schema;
    /* Optional: looks at the medium and tells what it finds, the good and the bad, in an order that a person
     * reads well. Each check may take `check_ms`; one that cannot be made is a finding, too. Changes nothing on
     * the medium, and does not make one. False: there is none to be looked at further. */
    bool (*diagnose)(void *self, int64_t check_ms, lb_finding_fn found, void *data);
    unsigned features; /* LB_TRANSPORT_...: what is optional and has no function of its own */
} lb_transport;

#define LB_TRANSPORT_DEDUPLICATES 1u /* listeners know deduplicate_ms; without it the bus refuses such */

/* Makes a transport known to this process, for lb_open to find by the scheme of its URL. It must outlive all
 * handles. LB_UNSUPPORTED for another ABI, or without name, schemes, open, close or after_fork; LB_DUPLICATE
 * for a scheme that is taken. What is added to lb_transport goes to its end and is optional, so that transports
 * made for an earlier or a later header of the same ABI are taken, too. Any thread. */
LB_API lb_status lb_transport_register(const lb_transport *transport, lb_error *error);

/* A shared object that a configuration names (`custom: {object: ./mine.so, url: mine://here}`) defines this. It
 * is loaded once, registered and never unloaded. */
extern LB_API const lb_transport lb_transport_export;

#ifdef __cplusplus
}
#endif
#endif
