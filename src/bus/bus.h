/* Inside the bus handle: what the files of src/bus share.
 *
 *   handle.c      lb_open, lb_close, names, fork           schemas.c   local and remote schemas
 *   settings.c    what is done with an API's messages      schema_api.c  what programs do with schemas
 *   routes.c      what is configured for an API, and its transports
 *   transports.c  the registry of transports               call.c      the client side of RPCs
 *   fire.c        firing events                            message.c   what handlers read and answer
 *   worker.c      threads, timers, start and stop          rpcs.c      the worker side of RPCs
 *   listeners.c   the worker side of events                dispatch.c  lb_fd and lb_dispatch
 *   names.c       placeholders, lists of events            history.c   stored events, lag of listeners
 *   diagnose.c    what is wrong with the set-up
 *   hooks.c       what programs and plugins hook in        tasks.c     intervals, schedules, the background
 *   plugins.c     the registry of plugins, opening them    cron.c      expressions of schedules
 *
 * Locks, in the order in which they may be taken: worker.lock, listener.lock, client.lock, fires.lock,
 * schemas.lock. None is held while a handler or a callback runs, nor while a transport function does, but for
 * listener.lock (renew, give_back, interrupt) and worker.lock (interrupt). */
#ifndef BUS_BUS_H
#define BUS_BUS_H

#include <lightbus/bus.h>
#include <lightbus/hook.h>
#include <lightbus/plugin.h>
#include <lightbus/task.h>
#include <lightbus/transport.h>
#include <pthread.h>

#include "../base/arena.h"
#include "../base/buffer.h"
#include "../base/clock.h"
#include "../base/json.h"
#include "../base/map.h"
#include "../config/config.h"
#include "../schema/schema.h"

typedef struct local_api {
    const lb_api *api;
    void *data;
    api_schema *schema;
} local_api;

struct schemas {
    pthread_rwlock_t lock;
    map local;         /* API name -> local_api */
    map loaded;        /* API name -> api_schema, by lb_schema_load */
    map remote;        /* API name -> api_schema */
    local_api **order; /* of registration */
    size_t count;
    pthread_mutex_t gate; /* to the transport's schema functions: schemas_enter */
    pthread_cond_t left;
    bool entered;
    int64_t loaded_at;   /* 0: never; atomic */
    int64_t looked_at;   /* the same, also of a load that failed; atomic */
    lb_error failure;    /* of the last load, or LB_OK; for the one who has entered */
    int64_t announce_at; /* when a process without a worker publishes its schemas (again); atomic */
};

/* A call or a fire in flight. It belongs to whoever began it, or, with a callback, to the bus. */
struct lb_pending {
    lb_bus *bus;
    const struct route *route; /* of its API */
    enum { PENDING_CALL, PENDING_FIRE } kind;
    enum { PENDING_QUEUED, PENDING_SENT, PENDING_DONE } state;
    bool in_send; /* a thread that sends it reads its message */
    bool orphan;  /* nobody waits for it: that thread frees it */
    arena memory; /* of the message */
    char id[UUID_TEXT + 1];
    union {
        lb_rpc_message rpc;
        lb_event_message event;
    } message;
    api_schema *schema; /* NULL: not known, nothing is validated */
    const member_schema *member;
    int64_t deadline_ns;
    int timeout_ms;
    unsigned attempts; /* fires that were tried again */
    int64_t began;     /* when it passed the hooks before it; 0: it passed none */
    lb_call_callback callback;
    void *data;
    lb_status status;
    lb_value *result;
    lb_error *error;        /* allocated when it fails */
    pthread_cond_t *waiter; /* of the thread that waits for it */
    lb_pending *next;       /* in a queue or in the list of free ones */
};

typedef struct pending_queue {
    lb_pending *first, **last;
    size_t count;
} pending_queue;

/* An open transport. What reaches the same place with the same options shares it. */
typedef struct instance {
    const lb_transport *transport;
    void *self;
    char *key;
    char *place; /* its URL, without a password */
    struct instance *next;
} instance;

/* RPCs through one pair of transports, which nobody else uses for RPCs and results. */
struct client {
    lb_bus *bus;
    const instance *rpc, *result; /* the same one, unless the configuration says otherwise */
    struct client *next;
    size_t rpc_count, rpc_waiting; /* threads that serve RPCs; those of them that wait in a call of their own.
                                      Guarded by worker.lock */
    pthread_mutex_t lock;
    map in_flight; /* id -> lb_pending, queued ones included */
    pending_queue queue;
    bool sending;          /* a thread is in rpc->send or rpc->withdraw */
    bool fetching;         /* a thread is in result->fetch: the leader */
    int64_t nothing_at_ns; /* when somebody last looked for results and found none */
    pthread_cond_t send_free;
    struct waiting { /* threads in lb_call_end that could lead */
        pthread_cond_t wake;
        struct waiting *next;
    } * followers;
    size_t callbacks;              /* calls in flight that nobody waits for */
    int64_t next_callback_timeout; /* no callback times out before */
    unsigned failures;             /* of result->fetch in a row */
    lb_pending *free;
    size_t free_count;
};

/* Events on their way out through one transport. */
struct fires {
    lb_bus *bus;
    const instance *event;
    struct fires *next;
    pthread_mutex_t lock;
    pthread_cond_t done; /* a batch has ended */
    pending_queue queue;
    bool sending;
    lb_pending *free;
    size_t free_count;
};

/* What is configured for an API. Immutable once the bus is open. */
typedef struct route {
    int rpc_timeout_ms, event_fire_timeout_ms;
    int batch_size;                           /* of listeners; 0: not configured */
    unsigned flags;                           /* LB_OPEN_... */
    const char *service_name, *consumer_name; /* of listeners */
    struct client *client;
    struct fires *fires;
} route;

typedef struct listener listener;
typedef struct rpc_thread rpc_thread;
typedef struct hook hook;
typedef struct task task;
typedef struct open_plugin open_plugin;

struct hooks {
    unsigned points; /* a bit for each point that has hooks */
    hook *first[LB_HOOK_POINTS];
};

/* Work that consumer threads hand to lb_dispatch. */
typedef struct work {
    void (*run)(void *argument);
    void *argument;
    bool done;
    struct work *next;
} work;

/* Who is told that a worker is ready. */
struct ready {
    void (*tell)(lb_bus *bus, void *data);
    void *data;
    struct ready *next;
};

/* What a worker does, as lb_run and lb_start were told. */
enum { FEATURE_RPCS = 1, FEATURE_EVENTS = 2, FEATURE_TASKS = 4 };

struct worker {
    pthread_mutex_t lock;
    pthread_t timer;
    pthread_cond_t changed; /* any field below, and threads that end */
    enum {
        WORKER_STOPPED,
        WORKER_PREPARING, /* lb_start runs hooks and publishes schemas: it has no threads yet */
        WORKER_STARTING,
        WORKER_RUNNING,
        WORKER_STOPPING
    } state;
    bool stopping;       /* atomic; what loops look at */
    size_t threads;      /* that have not ended, the timer included */
    size_t not_ready;    /* of those */
    size_t became_ready; /* how many did, since the handle was opened */
    lb_status failure;   /* why it stops, or LB_OK */
    lb_error failure_error;
    rpc_thread *rpcs; /* list */
    listener **listeners;
    size_t listener_count;
    task *tasks;                  /* list */
    bool dispatched;              /* handlers run in lb_dispatch: lb_fd was called before the start */
    int stop_event;               /* eventfd that lb_run waits for, until lb_close; -1; atomic */
    bool stop_requested;          /* atomic */
    struct lb_deferred *deferred; /* list of answers owed */
    size_t deferred_count;
};

struct dispatch {
    int epoll, event, timer; /* -1 until lb_fd */
    work *first, **last;     /* guarded by worker.lock */
};

struct lb_bus {
    char *masked_url, *service_name, *process_name;
    bool service_name_is_random;
    int rpc_timeout_ms, schema_ttl_s, rpc_concurrency;
    unsigned generation; /* fork_generation() when its locks and connections were made; atomic ... */
    unsigned renewing;   /* ... and that for which a thread is making them anew */
    config *config;
    instance *instances;    /* list */
    const instance *schema; /* where schemas are */
    struct client *clients; /* list; the first one is that of the default route */
    struct fires *fires;    /* as clients */
    route route;            /* of all APIs without one of their own */
    map routes;             /* API name -> route */
    struct schemas schemas;
    struct hooks hooks;
    open_plugin *plugins; /* list, in the order of opening */
    bool open;            /* lb_open has ended: what is registered from now on is the program's */
    bool closing;         /* in lb_close: nothing is begun any more */
    unsigned features;    /* FEATURE_...; set before the worker's threads start */
    struct ready *ready;  /* list of those that are told */
    struct worker worker;
    struct dispatch dispatch;
};

/* handle.c */
void bus_check_fork(lb_bus *bus);            /* first thing in every public function that does I/O */
void monotonic_cond_init(pthread_cond_t *c); /* whose timed waits take clock_now() times */
int monotonic_wait(pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline_ns);
/* "api.member", or "api.*", to its parts; LB_INVALID_NAME. */
lb_status name_split(const char *name, lb_slice *api, lb_slice *member, lb_error *error);

/* transports.c */
const lb_transport *transport_find(const char *url, lb_error *error);
bool transport_has(const lb_transport *t, unsigned feature); /* LB_TRANSPORT_... */
/* Loads a transport from a shared object, and registers it; once, however often it is named. */
lb_status transport_load(const char *object, lb_error *error);

/* routes.c: opens the transports of the configuration. `options` win over the file. routes_close is due in
 * either case. */
lb_status routes_open(lb_bus *bus, const lb_options *options, lb_error *error);
void routes_close(lb_bus *bus);
void routes_after_fork(lb_bus *bus);
const route *route_of(const lb_bus *bus, lb_slice api_name);
/* The same for "api.member"; of a malformed name, any. */
const route *route_of_name(const lb_bus *bus, const char *name);

/* names.c: placeholders filled in; a new string. NULL: unknown placeholder (LB_CONFIG) or no memory. */
char *name_expand(const char *pattern, const char *what, lb_error *error);
/* "a.x, b.*" as pairs in new arrays, for free() also after a failure. The slices point into `list`, where
 * separators become NULs. */
lb_status names_split(char *list, lb_slice **api_names, lb_slice **event_names, size_t *count, lb_error *error);

/* settings.c: what is done with the messages of an API */
typedef struct api_settings {
    bool strict_validation;
    unsigned outgoing, incoming; /* MARSHAL_... */
} api_settings;
api_settings bus_settings(const lb_bus *bus, lb_slice api_name);

/* schemas.c */
void schemas_init(struct schemas *s);
void schemas_free(struct schemas *s);
void schemas_after_fork(struct schemas *s);
const local_api *schemas_local(lb_bus *bus, lb_slice api_name);
/* The member, local or remote, with a reference on its schema; looks on the bus again when it is unknown, until
 * the deadline. LB_OK with *schema NULL: the API is unknown, and that is allowed. */
lb_status schemas_find(lb_bus *bus, lb_slice api_name, lb_slice name, bool is_event, bool api_required,
                       int64_t deadline_ns, api_schema **schema, const member_schema **member, lb_error *error);
bool schemas_knows(lb_bus *bus, lb_slice api_name); /* without looking on the bus */
bool schemas_serve(const lb_bus *bus);              /* an API is registered, those of plugins apart */
bool api_is_internal(lb_slice api_name);            /* "internal.": of plugins */
/* One thread at a time calls the transport's schema functions: between these two. False: another one was there
 * until the deadline. */
bool schemas_enter(struct schemas *s, int64_t deadline_ns);
void schemas_leave(struct schemas *s);
lb_status schemas_load(lb_bus *bus, int64_t deadline_ns, lb_error *error);
/* The same; a failure is logged. */
void schemas_refresh(lb_bus *bus);
/* Logs every way in which a schema of this process breaks those who know the one that is live on the bus. */
void schemas_compare_with_live(lb_bus *bus);
lb_status schemas_store(lb_bus *bus, int64_t deadline_ns, lb_error *error);
/* Publishes the schemas of a process that fires without a worker to do it, when that is due. A failure is
 * logged: the event matters more. */
void schemas_announce(lb_bus *bus, int64_t now);

/* pending.c */
lb_pending *pending_new(lb_bus *bus, lb_pending **free_list, size_t *free_count);
void pending_recycle(lb_pending *p, lb_pending **free_list, size_t *free_count);
void pending_free(lb_pending *p);
/* Splits the name, finds the member, encodes the arguments, makes an id: all in the pending's memory. By the
 * pending's deadline. */
lb_status pending_prepare(lb_pending *p, const char *name, const lb_arg *args, bool api_required, lb_slice *api,
                          lb_slice *member, lb_kwarg **kwargs, size_t *count, lb_error *error);
/* The status, and the error in full for the caller. */
lb_status pending_outcome(const lb_pending *p, lb_error *error);
void pending_fail(lb_pending *p, lb_status status,
                  const lb_error *error); /* sets status and a copy of the error */
void queue_push(pending_queue *q, lb_pending *p);
lb_pending *queue_pop(pending_queue *q);
void queue_remove(pending_queue *q, lb_pending *p);

/* call.c, fire.c */
void client_init(struct client *c);
void client_after_fork(struct client *c);
void client_free(struct client *c);
void client_dispatch(struct client *c); /* without waiting: sends, takes results, times out, runs callbacks */
int64_t client_next_timeout(struct client *c);
void client_flush(struct client *c); /* failures reach the calls themselves */
void fires_init(struct fires *f);
void fires_after_fork(struct fires *f);
void fires_free(struct fires *f);
void fires_flush(struct fires *f); /* failures reach the events themselves */

/* message.c */
struct lb_message {
    lb_bus *bus;
    lb_slice api_name, name;
    const member_schema *member; /* NULL: no schema */
    const lb_kwarg *kwargs;
    size_t count;
    arena *memory;
    lb_arg *args;    /* made when asked for */
    lb_error misuse; /* of the accessors, status LB_OK: none */
};
struct lb_request {
    lb_message message;
    const lb_rpc_message *rpc;
    const char *id, *api, *procedure; /* as C strings, made when asked for */
    buffer *out;                      /* the result's JSON */
    api_schema *schema;
    bool answered, failed, deferred;
    lb_slice trace;
    int64_t deadline_ns;
    int64_t began; /* as a call's */
};
struct lb_event {
    lb_message message;
    const lb_event_message *event;
    const char *id, *native_id, *api, *name; /* as C strings, made when asked for */
    const char *dead_id, *dead_group, *dead_consumer, *dead_reason;
    int deliveries;
    const bool *lease_lost;
    lb_error why; /* it failed, as its handler says; status LB_OK: it does not say */
};
/* The text of an error result, as Python's repr writes an exception, so that each side can read the other's. */
void error_text_write(buffer *out, const char *type, const char *message);
void error_text_read(const lb_value *result, lb_slice trace, lb_error *error);
void request_fail(lb_request *request, const char *type, const char *message, const char *trace);
void deferred_free_all(lb_bus *bus);
/* Until when somebody waits for one of the answers owed. worker.lock is held. */
int64_t deferred_wanted_until(const lb_bus *bus);

/* rpcs.c, listeners.c: bodies of threads */
struct rpc_thread {
    lb_bus *bus;
    struct client *client; /* whose transports it uses */
    pthread_t thread;
    bool extra; /* started later than the others, by rpc_thread_waits */
    void *consumer;
    buffer out;
    arena memory;
    const lb_rpc_message *calls; /* the batch in work */
    size_t count;
    rpc_thread *next;
};
bool rpc_threads_start(lb_bus *bus); /* worker.lock is held */
/* An RPC handler's thread is about to wait in a call of its own: another one may be needed. */
void rpc_thread_waits(lb_bus *bus);
void rpc_thread_goes_on(lb_bus *bus);
int64_t handler_deadline(void); /* of the request that this thread handles, of lb_stop, or LB_FOREVER */

bool listener_start(listener *l); /* worker.lock is held */
void listener_join(listener *l);
void listener_free(listener *l);
void listener_after_fork(listener *l);
void listener_interrupt(listener *l);
/* Renews the leases of what it holds, when it is time; returns when it is next. */
int64_t listener_tick(listener *l, int64_t now);
void listener_describe(const listener *l, buffer *out);

/* worker.c */
void worker_init(struct worker *w);
void worker_after_fork(struct worker *w); /* what is registered stays, and does not run */
void worker_free(lb_bus *bus);
bool worker_stopping(lb_bus *bus);
/* By when what hooks at after_worker_stopped call, fire and publish on this thread must end; else LB_FOREVER.
 */
int64_t worker_stop_deadline(void);
bool worker_spawn(lb_bus *bus, pthread_t *thread, void *(*body)(void *),
                  void *argument);                                      /* worker.lock is held */
void worker_ready(lb_bus *bus);                                         /* a thread is */
void worker_fail(lb_bus *bus, lb_status status, const lb_error *error); /* stop, because of this */
void worker_thread_ends(lb_bus *bus);
/* Waits in a retry loop; false when the worker stops. */
bool worker_pause(lb_bus *bus, unsigned attempt);
/* Runs it here, or in lb_dispatch when the program has an event loop, and waits for its end. */
void worker_run(lb_bus *bus, void (*run)(void *), void *argument);
bool worker_runs(lb_bus *bus); /* it has its threads, or is about to make them */
bool worker_registering(lb_bus *bus, const char *what, lb_error *error); /* false: the worker runs already */

/* hooks.c */
enum {
    HOOKS_OF_CALLS = 1u << LB_HOOK_BEFORE_RPC_CALL | 1u << LB_HOOK_AFTER_RPC_CALL,
    HOOKS_OF_FIRES = 1u << LB_HOOK_BEFORE_EVENT_SENT | 1u << LB_HOOK_AFTER_EVENT_SENT,
    HOOKS_OF_RPC_HANDLERS = 1u << LB_HOOK_BEFORE_RPC_EXECUTION | 1u << LB_HOOK_AFTER_RPC_EXECUTION,
    HOOKS_OF_EVENT_HANDLERS = 1u << LB_HOOK_BEFORE_EVENT_EXECUTION | 1u << LB_HOOK_AFTER_EVENT_EXECUTION,
};
/* Is anything hooked in at one of these points? */
static inline bool hooks_at(const lb_bus *bus, unsigned points)
{
    return __builtin_expect((bus->hooks.points & points) != 0, 0);
}
/* `order` sorts the hooks of a point. */
lb_status hooks_add(lb_bus *bus, lb_hook_point point, int64_t order, lb_hook_fn run, void *data,
                    lb_error *error);
void hooks_free(lb_bus *bus);
/* Around a call or a fire. What is not LB_OK refuses it; the hooks after it may turn its result into a failure.
 * After it only if `began` is set. */
lb_status hooks_before_sending(lb_pending *p, lb_error *error);
void hooks_after_sending(lb_pending *p);
/* Around an RPC's handler. False: the request has been answered with what a hook said. */
bool hooks_before_execution(lb_request *r);
void hooks_after_execution(lb_request *r);
/* Around an event's handler; `outcome` has the status LB_OK after success. */
lb_status hooks_before_event(lb_event *e, int64_t *began, lb_error *error);
void hooks_after_event(lb_event *e, int64_t began, const lb_error *outcome);
/* The worker's points, and `exception`, which is about `why`. A failure is written to *error, or logged where
 * that is NULL. */
lb_status hooks_of_worker(lb_bus *bus, lb_hook_point point, const lb_error *why, lb_error *error);

/* tasks.c */
bool tasks_start(lb_bus *bus); /* worker.lock is held */
void tasks_after_fork(task *first);
void tasks_join(lb_bus *bus);
void tasks_free(lb_bus *bus);
bool tasks_wanted(const lb_bus *bus); /* are there any, those of plugins apart? */

/* plugins.c: opens what the configuration enables. plugins_close is due in either case. */
lb_status plugins_open(lb_bus *bus, lb_error *error);
void plugins_close(lb_bus *bus);
void plugins_describe(const lb_bus *bus, buffer *out);

/* dispatch.c */
void dispatch_init(struct dispatch *d);
void dispatch_free(lb_bus *bus);
void dispatch_wake(lb_bus *bus);
bool dispatch_run_work(lb_bus *bus); /* worker.lock is held; false: there was none */

#endif
