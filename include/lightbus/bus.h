/* The bus handle: open, register, call, fire, listen, serve.
 *
 * Threads: a handle may be used from any number of threads at once, but for lb_close and for what sets it up
 * (lb_listen, lb_on_ready, lb_hook, the functions of <lightbus/task.h>; lb_fd the first time): these are for
 * one thread, while no other one uses the handle. A handle that only calls and fires starts no thread: the
 * callers do the I/O, one for all. After fork() the child's handle opens connections of its own; a worker
 * (lb_run, lb_start) does not continue in the child, which may start one. A handle is never NULL, but for
 * lb_close. Functions block at most until the deadline that they name. */
#ifndef LIGHTBUS_BUS_H
#define LIGHTBUS_BUS_H

#include <lightbus/api.h>
#include <lightbus/error.h>
#include <lightbus/log.h>
#include <lightbus/schema.h>
#include <lightbus/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How to open a bus. Zero means the default; unknown bits are refused. Strings are copied. */
typedef struct lb_options {
    const char *url;          /* LIGHTBUS_URL, else local:, a bus on this machine. See docs/reference/urls.md */
    const char *service_name; /* LIGHTBUS_SERVICE_NAME, else random: set it, it names the consumer groups */
    const char *process_name; /* LIGHTBUS_PROCESS_NAME, else random. Placeholders in both: {hostname} {pid}
                                 {random4} {random8} {random16} {friendly} */
    int rpc_timeout_ms;       /* 5000: how long a caller waits, and the expiry of the call on the wire */
    int event_fire_timeout_ms; /* 5000: how long firing may take, reconnecting included */
    int schema_ttl_s;          /* 60: life of a published schema; it is renewed after 80 % of it */
    int rpc_concurrency;       /* 1: threads that handle RPCs in a worker */
    unsigned flags;            /* LB_OPEN_... */
    const char *config;     /* LIGHTBUS_CONFIG, else none: a YAML or JSON file, or an http(s) URL. What is given
                               here wins over it. See docs/reference/configuration.md */
    lb_log_level log_level; /* that of the file, else as it was; it is the process's */
    const char *plugins;    /* a JSON object like the file's section `plugins`, laid over it key by key:
                               {"internal_state": {"enabled": true}} */
} lb_options;

/* Flags; for all APIs. Strict: calls and events of an API whose schema is not known are refused, not passed
 * unchecked. No outgoing validation: of arguments that are sent and results of handlers; no incoming one: of
 * arguments that handlers get and results of calls. No casting: handlers get JSON as it came, dates unread,
 * absent fields of structs absent. */
#define LB_OPEN_STRICT_VALIDATION      1u
#define LB_OPEN_NO_OUTGOING_VALIDATION 2u
#define LB_OPEN_NO_INCOMING_VALIDATION 4u
#define LB_OPEN_NO_CASTING             8u

/* Opens a bus. Connects at the first use, not here, but a configuration that is a URL is fetched here, within 5
 * s. `options` may be NULL: file, environment and defaults. Returns NULL on failure: LB_CONFIG for a malformed
 * configuration (file, line and column are named), URL or option, LB_SYSTEM for a file that cannot be read,
 * LB_UNSUPPORTED for an unknown transport, LB_NO_MEMORY. Free it with lb_close. */
LB_API lb_bus *lb_open(const lb_options *options, lb_error *error);

/* Stops a worker that still runs (as lb_stop with the default deadline), closes the connections and frees the
 * handle; a handle whose worker does not stop by then is not freed. Calls in flight end with LB_CLOSED; what
 * their callbacks begin is refused with LB_CLOSED. No other thread may be using the handle, and this one not in
 * a handler, hook, task or callback. NULL is allowed. */
LB_API void lb_close(lb_bus *bus);

LB_API const char *lb_service_name(const lb_bus *bus);
LB_API const char *lb_process_name(const lb_bus *bus);
LB_API const char *lb_url(const lb_bus *bus); /* the password masked */

/* ---- Serving ---------------------------------------------------------------------------------------- */

/* Makes this process an authority over an API: its worker answers the RPCs, publishes the schema. `api` and
 * all it points to must outlive the registration; `data` goes to the handlers. Before the worker starts.
 * Errors: LB_INVALID_NAME, LB_INVALID_SIGNATURE (the message shows the place), LB_DUPLICATE, LB_USAGE (a
 * running worker). */
LB_API lb_status lb_register(lb_bus *bus, const lb_api *api, void *data, lb_error *error);
LB_API lb_status lb_unregister(lb_bus *bus, const char *api_name, lb_error *error);

typedef enum lb_on_error {
    LB_ON_ERROR_RETRY = 0,           /* again with growing delays, after max_deliveries to the dead letters */
    LB_ON_ERROR_SHUTDOWN,            /* stop the worker (exit code 1); the event stays unacknowledged */
    LB_ON_ERROR_ACKNOWLEDGE_AND_LOG, /* give it up */
} lb_on_error;

/* How to listen. Zero means the default. */
typedef struct lb_listen_options {
    lb_on_error on_error;
    const char *since;  /* where a listener that is new to the bus starts: "$" (now, default), "0" (the
                           beginning),  a native id, or a time as ISO 8601 */
    int batch_size;     /* 100: events fetched at once, at most */
    int max_deliveries; /* 10 */
    unsigned flags;     /* LB_LISTEN_... */
    int deduplicate_ms; /* 0: off. Of several events with one id, which a sender makes that tries again, the
                           listener handles one within this time; at most LB_DEDUPLICATE_MOST_MS */
} lb_listen_options;

#define LB_DEDUPLICATE_MOST_MS (7 * 24 * 3600 * 1000) /* a week: what is remembered takes space on the bus */

#define LB_LISTEN_TEMPORARY 1u /* the listener vanishes from the bus when the last worker that has it stops */

/* Listens: `events` is "api.event", several of them with spaces or commas between, or "api.*" for all
 * events of an API. The consumer group on the bus is {service_name}-{listener_name}: each group gets every
 * event, the processes of a group share them. Before the worker starts. Strings are copied.
 * Errors: LB_INVALID_NAME, LB_DUPLICATE (the listener_name is taken in this process), LB_CONFIG (an option),
 * LB_UNSUPPORTED (deduplicate_ms with a transport that does not know it), LB_USAGE. */
LB_API lb_status lb_listen(lb_bus *bus, const char *events, const char *listener_name, lb_event_handler handler,
                           void *data, const lb_listen_options *options, lb_error *error);

/* What a worker leaves out, and how it runs. Without RPCs it takes no calls, without events its listeners are
 * neither on the bus nor fed, without tasks nothing runs in the background. Schemas are published in any case.
 * Dry: says whether there is anything to serve, as starting would, and does nothing. */
#define LB_RUN_SIGNALS   1u /* lb_run alone */
#define LB_RUN_NO_RPCS   2u
#define LB_RUN_NO_EVENTS 4u
#define LB_RUN_NO_TASKS  8u
#define LB_RUN_DRY       16u

/* Serves on the calling thread until lb_stop or, with LB_RUN_SIGNALS, SIGINT or SIGTERM: handles what was
 * fetched, answers it, and returns; a second signal ends the process at once with code 1. Returns LB_OK after
 * a clean stop, else the failure that ended it. `flags`: LB_RUN_... */
LB_API lb_status lb_run(lb_bus *bus, unsigned flags, lb_error *error);

/* Serves on threads of its own, and returns when the worker is ready: connected, schemas published,
 * consumer groups there, RPC queues watched. lb_stop drains it: stops fetching, lets handlers and tasks end,
 * sends what is to be sent, gives the rest back. It returns by `timeout_ms` (-1: 10 s) whatever these do, and
 * what hooks at after_worker_stopped call and fire ends by then too: LB_OK; LB_TIMEOUT when one still ran (call
 * it again); or the failure that had ended the worker before, such as that of a task, or of a listener with
 * LB_ON_ERROR_SHUTDOWN. Not from a handler; lb_stop_request is: it makes lb_run return, and does not wait (any
 * thread, signal handlers too). lb_stop on another thread makes lb_run return as well, and lb_start and lb_run
 * that have not come to an end yet give up, with LB_CLOSED. A worker is started once at a time: LB_USAGE. */
LB_API lb_status lb_start(lb_bus *bus, lb_error *error);
LB_API lb_status lb_start_with(lb_bus *bus, unsigned flags, lb_error *error); /* the same; LB_RUN_NO_..., DRY */
LB_API lb_status lb_stop(lb_bus *bus, int timeout_ms, lb_error *error);
LB_API void lb_stop_request(lb_bus *bus);

/* Has `ready` called whenever the worker has become ready, on the thread that is in lb_run or lb_start: to tell
 * a supervisor, say. It may call and fire. Several are called in the order in which they were added. Before the
 * worker starts. Errors: LB_USAGE (a running worker, NULL), LB_NO_MEMORY. */
LB_API lb_status lb_on_ready(lb_bus *bus, void (*ready)(lb_bus *bus, void *data), void *data, lb_error *error);

/* For programs with an event loop: a descriptor that becomes readable when there is work, and the function
 * that does it without blocking on the network: callbacks of calls, and, when lb_start was called after
 * lb_fd, the handlers, which then run on this thread (one that calls its own service waits in vain: begin the
 * call, with a callback). -1 on failure. The descriptor belongs to the bus. */
LB_API int lb_fd(lb_bus *bus, lb_error *error);
LB_API lb_status lb_dispatch(lb_bus *bus, lb_error *error);

/* ---- Calling RPCs ----------------------------------------------------------------------------------- */

/* Calls "api.procedure" and waits for its result, at most rpc_timeout_ms. `args` is LB_ARGS(...) or LB_NO_ARGS,
 * borrowed. `*result` (may be NULL) receives an owned value on success, else NULL. At most once: a call is
 * never sent twice.
 * Errors: LB_UNKNOWN_API, LB_UNKNOWN_MEMBER, LB_INVALID_ARGUMENTS (nothing was sent); LB_REMOTE_ERROR;
 * LB_TIMEOUT (the message tells whether a worker is known); LB_TRANSPORT, LB_ACCESS; LB_INVALID_RESULT. */
LB_API lb_status lb_call(lb_bus *bus, const char *name, const lb_arg *args, lb_value **result, lb_error *error);

typedef struct lb_pending lb_pending; /* a call or fire in flight */

/* Runs once, when the call has ended: answered, failed, timed out, canceled or closed; on the thread that does
 * the I/O (in lb_dispatch, lb_call_end or lb_call of any thread). `result` and `error` (NULL when the status is
 * LB_OK) are borrowed. It may begin calls and fires; it may neither wait for any nor close the bus. The pending
 * call is freed after it returns: neither lb_call_end nor lb_call_cancel it from then on. */
typedef void (*lb_call_callback)(lb_status status, const lb_value *result, const lb_error *error, void *data);

typedef struct lb_call_options {
    int timeout_ms; /* 0: the bus's rpc_timeout_ms */
    lb_call_callback callback;
    void *data;
    unsigned flags; /* none yet */
} lb_call_options;

/* Begins a call without waiting. It is sent with all others that wait, in one write: by the next lb_call_end,
 * lb_call, lb_dispatch or lb_flush of any thread, or when 64 wait. NULL when it was refused (errors as
 * lb_call's); no callback runs then. */
LB_API lb_pending *lb_call_begin(lb_bus *bus, const char *name, const lb_arg *args,
                                 const lb_call_options *options, lb_error *error);
/* Waits for a call that was begun without a callback, as lb_call, and frees it. After the deadline it still
 * gives an answer that came in time. NULL (lb_call_begin refused it) gives the status in *error, which stays as
 * lb_call_begin has set it. */
LB_API lb_status lb_call_end(lb_pending *call, lb_value **result, lb_error *error);
/* Gives a call up and frees it: its callback runs with LB_CANCELED, a late answer is dropped. A worker that has
 * taken it goes on. NULL is allowed. */
LB_API void lb_call_cancel(lb_pending *call);
/* Sends what waits. Blocks for the write alone. */
LB_API lb_status lb_flush(lb_bus *bus, lb_error *error);

/* ---- Firing events ---------------------------------------------------------------------------------- */

/* Fires "api.event". LB_OK: the event is on the bus, and every listener that exists gets it at least once.
 * Waits for the transport, at most event_fire_timeout_ms, not for listeners. Errors: LB_UNKNOWN_API,
 * LB_UNKNOWN_MEMBER, LB_INVALID_ARGUMENTS (nothing was sent); LB_BUSY (the server is out of memory),
 * LB_TIMEOUT, LB_TRANSPORT: it may or may not be on the bus. */
LB_API lb_status lb_fire(lb_bus *bus, const char *name, const lb_arg *args, lb_error *error);
/* Begins to fire; sent as lb_call_begin's calls are. lb_fire_end waits until it is on the bus and frees it. */
LB_API lb_pending *lb_fire_begin(lb_bus *bus, const char *name, const lb_arg *args, lb_error *error);
LB_API lb_status lb_fire_end(lb_pending *fire, lb_error *error);

/* ---- Looking at the bus ----------------------------------------------------------------------------- */

/* Which stored events to read. Zero means the default. Strings are copied. */
typedef struct lb_history_options {
    const char *from, *to; /* the first and the last in time, both included: a native id, or a time as ISO 8601;
                              NULL: no bound. With LB_HISTORY_OLDEST_FIRST, `from` may be "$": now */
    unsigned flags;        /* LB_HISTORY_... */
} lb_history_options;

#define LB_HISTORY_OLDEST_FIRST 1u /* default: newest first */
#define LB_HISTORY_DEAD_LETTERS 2u /* events that listeners have given up, and not the streams themselves */

/* Reads the events that the bus has stored, whoever has handled them, without any effect on listeners. `events`
 * is as for lb_listen. Several APIs are merged in the order of time. Memory stays flat, whatever is stored.
 * Free it with lb_history_close, before lb_close; one thread at a time. NULL on failure: LB_INVALID_NAME,
 * LB_CONFIG (a bound), LB_UNSUPPORTED (a transport that cannot tell), LB_TRANSPORT, LB_ACCESS. Blocks at most
 * rpc_timeout_ms. */
typedef struct lb_history lb_history;
LB_API lb_history *lb_history_open(lb_bus *bus, const char *events, const lb_history_options *options,
                                   lb_error *error);
/* The next event: LB_OK with *event, borrowed until the next call, or with NULL when there are no more; oldest
 * first, a later call finds those that came meanwhile. Its arguments are as they are stored, not validated: see
 * lb_history_check. Waits at most rpc_timeout_ms for each answer of the transport; after LB_TRANSPORT it can be
 * called again and goes on where it was. */
LB_API lb_status lb_history_next(lb_history *history, const lb_event **event, lb_error *error);
/* Why the event last given cannot be understood (what is known of it is there), or NULL. Borrowed as it is. */
LB_API const char *lb_history_problem(const lb_history *history);
/* Does with the event last given what listening would: validates it against the schema of its API, adds the
 * declared defaults that its arguments lack and casts them to their types, whatever the settings of the API
 * are. LB_OK also where no schema is known, with *known false (may be NULL). LB_UNKNOWN_MEMBER,
 * LB_INVALID_ARGUMENTS; LB_MALFORMED for one with a problem. */
LB_API lb_status lb_history_check(lb_history *history, bool *known, lb_error *error);
LB_API void lb_history_close(lb_history *history); /* NULL is allowed */

/* Dead letters (S13) are a history with LB_HISTORY_DEAD_LETTERS: each event is one that a listener's group has
 * given up, with lb_event_dead_... and the deliveries that it had; in the order of when they were put aside,
 * which the bounds, ids of letters or times, are about. `events` may be NULL: all that there are, also of APIs
 * that nobody serves. One that cannot be understood has its raw fields as arguments, as far as the transport
 * has any.
 *
 * lb_dead_letter_replay takes the one last given from the dead letters and has its group handle the event
 * again, as one that is new to it: both or neither. No other group gets it. On Redis the group looks for it
 * after reclaim_interval. LB_GONE: the letter was replayed or purged by somebody else, or the event is gone
 * from its stream (max_stream_length), or nobody has been that group for so long that it is gone. With
 * LB_REPLAY_FIRE, an event that is gone from its stream is fired anew under its own id: all groups get it, also
 * those that have handled it. LB_MALFORMED: the letter does not tell whose it is, or cannot be fired.
 * lb_dead_letter_purge removes the one last given, also when it is gone by now. Both wait at most
 * rpc_timeout_ms. LB_TRANSPORT: it may have happened or not; LB_ACCESS; LB_USAGE: none was given, or it is no
 * dead letter. */
LB_API lb_status lb_dead_letter_replay(lb_history *history, unsigned flags, lb_error *error);
LB_API lb_status lb_dead_letter_purge(lb_history *history, lb_error *error);
#define LB_REPLAY_FIRE 1u

/* How far listeners are behind, for the `events` as above: an owned list of {"group", "api", "event" ("*":
 * those of the API are counted together), "undelivered" (null: the transport cannot tell), "pending",
 * "consumers", "dead_letters" (the group's, among the newest 1000 of the stream), "lost" (trimmed or deleted
 * before the group had read or acknowledged them; null: the transport cannot tell)}. `group`: this one alone
 * ({service_name}-{listener_name}), NULL: all. Errors and blocking as lb_history_open. */
LB_API lb_status lb_lag(lb_bus *bus, const char *events, const char *group, lb_value **lag, lb_error *error);

/* What is stored of the `events` as above, and who listens: an owned list of {"api", "event" ("*": those of the
 * API are counted together), "stored", "fired" (since the beginning, those included that are gone; null: the
 * transport cannot tell), "dead_letters", "groups": [{"group", "undelivered", "pending", "consumers",
 * "dead_letters", "lost"}]}. What nothing was ever fired of and nobody listens to is not in it. Errors and
 * blocking as lb_history_open. */
LB_API lb_status lb_streams(lb_bus *bus, const char *events, lb_value **streams, lb_error *error);

/* What this handle serves and listens to, an owned dict: {"service", "process", "service_is_random", "url",
 * "transports": {"rpc": NAME, ...}, "apis": [{"name", "members": [{"kind": "rpc" or "event", "signature"}]}],
 * "listeners": [{"name", "group", "events": [NAME...]}], "plugins": [NAME...]}. NULL when memory is short. */
LB_API lb_value *lb_describe(const lb_bus *bus);

#ifdef __cplusplus
}
#endif
#endif
