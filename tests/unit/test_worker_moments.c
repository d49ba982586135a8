/* Starting, stopping, forking and closing at the moments when something else is going on, on a transport whose
 * every step the test decides. */
#include "support.h"

#include <lightbus/hook.h>
#include <lightbus/task.h>
#include <lightbus/transport.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEADLINE_MS = 20000 };

/* The medium: calls and events that a test puts there are fetched once each; `hold_listen` and `hold_load` stop
 * its functions. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold_listen, hold_load, hold_send, interrupted, fail_open;
    int in_listen, loads, opens, calls, events, ready, in_send, sent;
    lb_rpc_message call;
    lb_event_message event;
} medium;

static void reset(void)
{
    memset(&medium, 0, sizeof medium);
    pthread_mutex_init(&medium.lock, NULL);
    pthread_cond_init(&medium.changed, NULL);
}

static int seen(const int *counter)
{
    pthread_mutex_lock(&medium.lock);
    int value = *counter;
    pthread_mutex_unlock(&medium.lock);
    return value;
}

static void set(bool *flag, bool value)
{
    pthread_mutex_lock(&medium.lock);
    *flag = value;
    pthread_cond_broadcast(&medium.changed);
    pthread_mutex_unlock(&medium.lock);
}

static void put(int *counter)
{
    pthread_mutex_lock(&medium.lock);
    ++*counter;
    pthread_cond_broadcast(&medium.changed);
    pthread_mutex_unlock(&medium.lock);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* medium.lock is held. Waits a little for a change. */
static void nap(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 5000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&medium.changed, &medium.lock, &until);
}

/* Takes one of `counter`, or none at the deadline and after an interruption. */
static size_t take(int *counter, int64_t deadline_ns)
{
    pthread_mutex_lock(&medium.lock);
    while (!*counter && !medium.interrupted && now_ns() < deadline_ns)
        nap();
    size_t taken = *counter > 0;
    *counter -= (int)taken;
    pthread_mutex_unlock(&medium.lock);
    return taken;
}

static lb_status medium_open(const lb_transport_config *config, void **self, lb_error *error)
{
    (void)config, (void)error;
    *self = &medium;
    return LB_OK;
}
static void medium_close(void *self) { (void)self; }
static void medium_after_fork(void *self)
{
    (void)self;
    reset();
}
static void medium_interrupt(void *self)
{
    (void)self;
    set(&medium.interrupted, true);
}

static lb_status medium_send(void *self, const lb_rpc_message *const *calls, size_t count, bool now,
                             int64_t deadline_ns, lb_error *error)
{
    (void)self, (void)calls, (void)count, (void)now, (void)deadline_ns, (void)error;
    return LB_OK;
}
static void medium_withdraw(void *self, const lb_rpc_message *const *calls, size_t count)
{
    (void)self, (void)calls, (void)count;
}
static lb_status medium_consumer_open(void *self, const char *const *api_names, size_t count,
                                      int64_t deadline_ns, void **consumer, lb_error *error)
{
    (void)self, (void)api_names, (void)count, (void)deadline_ns;
    pthread_mutex_lock(&medium.lock);
    bool fails = medium.fail_open;
    medium.opens++;
    pthread_mutex_unlock(&medium.lock);
    *consumer = fails ? NULL : &medium;
    return fails ? lb_error_set(error, LB_TRANSPORT, "the medium is away") : LB_OK;
}
static lb_status medium_fetch_calls(void *self, size_t max, int64_t deadline_ns, const lb_rpc_message **calls,
                                    size_t *count, lb_error *error)
{
    (void)self, (void)max, (void)error;
    *count = take(&medium.calls, deadline_ns);
    medium.call = (lb_rpc_message){.id = {"1", 1},
                                   .api_name = {"api", 3},
                                   .procedure_name = {"handled", 7},
                                   .return_path = {"medium:", 7},
                                   .deadline_ns = LB_FOREVER};
    *calls = &medium.call;
    return LB_OK;
}
static lb_status medium_flush(void *self, int64_t deadline_ns, lb_error *error)
{
    (void)self, (void)deadline_ns, (void)error;
    return LB_OK;
}

static lb_slice medium_return_path(void *self)
{
    (void)self;
    return (lb_slice){"medium:", 7};
}
static lb_status medium_send_results(void *self, void *consumer, const lb_result_message *results, size_t count,
                                     int64_t deadline_ns, lb_error *error)
{
    (void)self, (void)consumer, (void)results, (void)count, (void)deadline_ns, (void)error;
    return LB_OK;
}
static lb_status medium_fetch_results(void *self, int64_t deadline_ns, const lb_result_message **results,
                                      size_t *count, lb_error *error)
{
    (void)self, (void)results, (void)error;
    pthread_mutex_lock(&medium.lock);
    while (now_ns() < deadline_ns)
        nap();
    pthread_mutex_unlock(&medium.lock);
    *count = 0;
    return LB_OK;
}

/* With hold_send it hangs until its deadline. Counts what it is given. */
static lb_status medium_send_events(void *self, lb_event_message *const *events, size_t count,
                                    int64_t deadline_ns, lb_error *error)
{
    (void)self, (void)events;
    pthread_mutex_lock(&medium.lock);
    medium.in_send++;
    bool hangs = medium.hold_send;
    while (medium.hold_send && now_ns() < deadline_ns)
        nap();
    medium.in_send--;
    if (!hangs)
        medium.sent += (int)count;
    pthread_mutex_unlock(&medium.lock);
    for (size_t i = 0; i < count; i++)
        events[i]->status = LB_OK;
    return hangs ? lb_error_set(error, LB_TIMEOUT, "no answer") : LB_OK;
}
static lb_status medium_listen(void *self, const lb_listener_config *config, int64_t deadline_ns,
                               void **listener, lb_error *error)
{
    (void)self, (void)config, (void)deadline_ns, (void)error;
    pthread_mutex_lock(&medium.lock);
    medium.in_listen++;
    while (medium.hold_listen)
        nap();
    medium.in_listen--;
    pthread_mutex_unlock(&medium.lock);
    *listener = &medium;
    return LB_OK;
}
static lb_status medium_fetch_events(void *self, size_t max, int64_t deadline_ns,
                                     const lb_event_message **events, size_t *count, lb_error *error)
{
    (void)self, (void)max, (void)error;
    *count = take(&medium.events, deadline_ns);
    medium.event = (lb_event_message){
        .id = {"1", 1}, .api_name = {"api", 3}, .event_name = {"said", 4}, .native_id = {"1-0", 3}};
    *events = &medium.event;
    return LB_OK;
}
static lb_status medium_acknowledge(void *self, const lb_event_message *const *events, size_t count,
                                    lb_error *error)
{
    (void)self, (void)events, (void)count, (void)error;
    return LB_OK;
}
static lb_status medium_renew(void *self, const lb_event_message *const *events, size_t count, bool *lost,
                              lb_error *error)
{
    (void)self, (void)events, (void)count, (void)lost, (void)error;
    return LB_OK;
}
static void medium_unlisten(void *self, bool forget) { (void)self, (void)forget; }
static int64_t medium_lease_ms(void *self)
{
    (void)self;
    return 60000;
}

static lb_status medium_store(void *self, const char *const *api_names, const lb_slice *json, size_t count,
                              int ttl_s, int64_t deadline_ns, lb_error *error)
{
    (void)self, (void)api_names, (void)json, (void)count, (void)ttl_s, (void)deadline_ns, (void)error;
    return LB_OK;
}
/* With hold_load it hangs until its deadline, as a server that does not answer. */
static lb_status medium_load(void *self, void (*found)(lb_slice, lb_slice, void *), void *data,
                             int64_t deadline_ns, lb_error *error)
{
    (void)self, (void)found, (void)data;
    pthread_mutex_lock(&medium.lock);
    medium.loads++;
    bool hangs = medium.hold_load;
    while (medium.hold_load && now_ns() < deadline_ns)
        nap();
    pthread_mutex_unlock(&medium.lock);
    return hangs ? lb_error_set(error, LB_TRANSPORT, "no answer") : LB_OK;
}

static const lb_transport transport = {
    .abi = LB_TRANSPORT_ABI,
    .size = sizeof(lb_transport),
    .name = "medium",
    .schemes = "medium",
    .open = medium_open,
    .close = medium_close,
    .after_fork = medium_after_fork,
    .rpc = &(const lb_rpc_transport){.send = medium_send,
                                     .withdraw = medium_withdraw,
                                     .consumer_open = medium_consumer_open,
                                     .fetch = medium_fetch_calls,
                                     .flush = medium_flush,
                                     .interrupt = medium_interrupt,
                                     .consumer_close = medium_close},
    .result = &(const lb_result_transport){.return_path = medium_return_path,
                                           .send = medium_send_results,
                                           .fetch = medium_fetch_results},
    .event = &(const lb_event_transport){.send = medium_send_events,
                                         .listen = medium_listen,
                                         .fetch = medium_fetch_events,
                                         .acknowledge = medium_acknowledge,
                                         .give_back = medium_acknowledge,
                                         .flush = medium_flush,
                                         .renew = medium_renew,
                                         .interrupt = medium_interrupt,
                                         .unlisten = medium_unlisten,
                                         .lease_ms = medium_lease_ms},
    .schema = &(const lb_schema_transport){.store = medium_store, .load = medium_load},
};

/* ---- The bus ---------------------------------------------------------------------------------------- */

static int handled, heard; /* read and written with __atomic */
static pthread_t handler_thread;

static lb_status handle(lb_request *request, void *data)
{
    (void)data;
    handler_thread = pthread_self();
    __atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
    return lb_return(request, 1);
}

/* Calls another service, which does not answer. */
static lb_status handle_and_call(lb_request *request, void *data)
{
    (void)data;
    const lb_call_options patience = {.timeout_ms = 300};
    lb_pending *p = lb_call_begin(lb_request_bus(request), "other.one", LB_NO_ARGS, &patience, NULL);
    assert_int_equal(lb_call_end(p, NULL, NULL), LB_TIMEOUT);
    return handle(request, NULL);
}

static lb_status hear(const lb_event *event, void *data)
{
    (void)event, (void)data;
    __atomic_add_fetch(&heard, 1, __ATOMIC_SEQ_CST);
    return LB_OK;
}

static lb_status run_task(lb_bus *bus, void *data, lb_error *error)
{
    (void)bus, (void)data, (void)error;
    return LB_OK;
}

static const lb_api api = {
    .name = "api",
    .members = (const lb_member[]){LB_RPC("handled()", handle), LB_EVENT("said()"), LB_END},
};
static const lb_api calling_api = {
    .name = "api",
    .members = (const lb_member[]){LB_RPC("handled()", handle_and_call), LB_END},
};

static int count_of(const int *counter) { return __atomic_load_n(counter, __ATOMIC_SEQ_CST); }

static lb_bus *open_bus(int timeout_ms)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(
        &(lb_options){.url = "medium:", .service_name = "service", .rpc_timeout_ms = timeout_ms}, &error);
    if (!bus)
        fail_msg("%s", error.message);
    return bus;
}

static lb_bus *open_service(void)
{
    lb_bus *bus = open_bus(DEADLINE_MS);
    lb_error error = {0};
    assert_ok(lb_register(bus, &api, NULL, &error), &error);
    assert_ok(lb_listen(bus, "api.said", "ear", hear, NULL, NULL, &error), &error);
    return bus;
}

/* lb_start or lb_run on a thread of its own. */
typedef struct starter {
    lb_bus *bus;
    lb_status (*start)(lb_bus *bus, unsigned flags, lb_error *error);
    pthread_t thread;
    lb_status status;
    lb_error error;
} starter;

static void *start_main(void *data)
{
    starter *s = data;
    s->status = s->start(s->bus, 0, &s->error);
    return NULL;
}

static void begin(starter *s, lb_bus *bus, lb_status (*start)(lb_bus *bus, unsigned flags, lb_error *error))
{
    *s = (starter){.bus = bus, .start = start};
    assert_int_equal(pthread_create(&s->thread, NULL, start_main, s), 0);
}

static void assert_serves(lb_bus *bus)
{
    lb_error error = {0};
    int before = count_of(&handled);
    set(&medium.interrupted, false);
    assert_ok(lb_start(bus, &error), &error);
    put(&medium.calls);
    wait_until(count_of(&handled) == before + 1, DEADLINE_MS);
    assert_ok(lb_stop(bus, -1, &error), &error);
}

/* ---- Stopping --------------------------------------------------------------------------------------- */

static void note_ready(lb_bus *bus, void *data)
{
    (void)bus;
    put(data);
}

static void lb_stop_on_another_thread_ends_lb_run(void **state)
{
    (void)state;
    lb_bus *bus = open_service();
    lb_error error = {0};
    starter s;
    assert_ok(lb_on_ready(bus, note_ready, &medium.ready, &error), &error);
    for (int round = 1; round <= 2; round++) {
        set(&medium.interrupted, false);
        begin(&s, bus, lb_run);
        wait_until(seen(&medium.ready) == round, DEADLINE_MS);
        assert_ok(lb_stop(bus, -1, &error), &error);
        pthread_join(s.thread, NULL);
        assert_int_equal(s.status, LB_OK);
    }
    lb_close(bus);
}

static int stop_hooks;

static lb_status stop_in_hook(lb_occasion *occasion, void *data, lb_error *error)
{
    (void)data, (void)error;
    if (stop_hooks < 0)
        return LB_OK;
    if (lb_occasion_point(occasion) == LB_HOOK_ON_START)
        return lb_stop(lb_occasion_bus(occasion), -1, error);
    stop_hooks++;
    return LB_OK;
}

/* A worker that is told to stop before it has threads does not start. */
static void lb_stop_before_there_are_threads_keeps_them_from_starting(void **state)
{
    (void)state;
    lb_bus *bus = open_service();
    lb_error error = {0};
    stop_hooks = 0;
    assert_ok(lb_hook(bus, LB_HOOK_ON_START, stop_in_hook, NULL, NULL, &error), &error);
    assert_ok(lb_hook(bus, LB_HOOK_ON_STOP, stop_in_hook, NULL, NULL, &error), &error);
    assert_int_equal(lb_start(bus, &error), LB_CLOSED);
    assert_int_equal(stop_hooks, 1);
    assert_int_equal(lb_run(bus, 0, &error), LB_CLOSED);
    assert_int_equal(stop_hooks, 2);
    stop_hooks = -1;
    assert_serves(bus);
    lb_close(bus);
}

static void *stop_main(void *data)
{
    starter *s = data;
    s->status = lb_stop(s->bus, -1, &s->error);
    return NULL;
}

/* ... and one that is told so while its threads get ready ends, and says so. */
static void lb_stop_while_threads_get_ready_ends_them(void **state)
{
    (void)state;
    lb_bus *bus = open_service();
    lb_error error = {0};
    starter starting, stopping = {.bus = bus};
    set(&medium.hold_listen, true);
    begin(&starting, bus, lb_start_with);
    wait_until(seen(&medium.in_listen) == 1, DEADLINE_MS);
    assert_int_equal(pthread_create(&stopping.thread, NULL, stop_main, &stopping), 0);
    wait_until(lb_stopping(bus), DEADLINE_MS);
    set(&medium.hold_listen, false);
    pthread_join(starting.thread, NULL);
    pthread_join(stopping.thread, NULL);
    assert_int_equal(starting.status, LB_CLOSED);
    assert_int_equal(stopping.status, LB_OK);
    assert_ok(lb_unregister(bus, "api", &error), &error); /* it is as before the start */
    assert_ok(lb_register(bus, &api, NULL, &error), &error);
    assert_serves(bus);
    lb_close(bus);
}

static void of_two_that_start_at_once_one_does(void **state)
{
    (void)state;
    lb_bus *bus = open_service();
    lb_error error = {0};
    starter first;
    set(&medium.hold_listen, true);
    begin(&first, bus, lb_start_with);
    wait_until(seen(&medium.in_listen) == 1, DEADLINE_MS);
    assert_int_equal(lb_start(bus, &error), LB_USAGE);
    assert_int_equal(lb_run(bus, 0, &error), LB_USAGE);
    set(&medium.hold_listen, false);
    pthread_join(first.thread, NULL);
    assert_int_equal(first.status, LB_OK);
    assert_ok(lb_stop(bus, -1, &error), &error);
    lb_close(bus);
}

/* A start within a hook at before_worker_start would be one within another. */
static lb_status start_in_hook(lb_occasion *occasion, void *data, lb_error *error)
{
    *(lb_status *)data = lb_start(lb_occasion_bus(occasion), error);
    return LB_OK;
}

static void a_start_within_a_start_is_refused(void **state)
{
    (void)state;
    lb_bus *bus = open_service();
    lb_error error = {0};
    lb_status inner = LB_OK;
    assert_ok(lb_hook(bus, LB_HOOK_ON_START, start_in_hook, &inner, NULL, &error), &error);
    assert_serves(bus);
    assert_int_equal(inner, LB_USAGE);
    lb_close(bus);
}

/* ---- A worker that runs ----------------------------------------------------------------------------- */

/* S30: the thread that a handler's own call brings along does not stop the worker when it cannot connect. */
static void s30_an_extra_thread_that_cannot_connect_stops_nothing(void **state)
{
    (void)state;
    lb_bus *bus = open_bus(1000);
    lb_error error = {0};
    int before = count_of(&handled);
    assert_ok(lb_register(bus, &calling_api, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    set(&medium.fail_open, true);
    put(&medium.calls);
    wait_until(seen(&medium.opens) >= 3, DEADLINE_MS); /* it tries again */
    wait_until(count_of(&handled) == before + 1, DEADLINE_MS);
    assert_false(lb_stopping(bus));
    put(&medium.calls);
    wait_until(count_of(&handled) == before + 2, DEADLINE_MS);
    assert_ok(lb_stop(bus, -1, &error), &error);
    lb_close(bus);
}

/* lb_fd decides where handlers run only when it is called before the start. */
static void a_descriptor_asked_for_later_leaves_handlers_on_their_threads(void **state)
{
    (void)state;
    lb_bus *bus = open_service();
    lb_error error = {0};
    int before = count_of(&handled);
    assert_ok(lb_start(bus, &error), &error);
    assert_true(lb_fd(bus, &error) >= 0);
    put(&medium.calls);
    wait_until(count_of(&handled) == before + 1, DEADLINE_MS); /* without lb_dispatch */
    assert_false(pthread_equal(handler_thread, pthread_self()));
    assert_ok(lb_stop(bus, -1, &error), &error);
    lb_close(bus);
}

/* ---- Forks ------------------------------------------------------------------------------------------ */

static int serve_in_child(void *data)
{
    lb_bus *bus = data;
    lb_error error = {0};
    int before = count_of(&heard);
    for (unsigned flags = 0; flags <= (LB_RUN_NO_EVENTS | LB_RUN_NO_TASKS);
         flags += LB_RUN_NO_EVENTS | LB_RUN_NO_TASKS) {
        /* the one without events and tasks comes first: it has threads of the parent's to leave alone */
        unsigned left_out = (LB_RUN_NO_EVENTS | LB_RUN_NO_TASKS) - flags;
        if (flags) /* before the first start the medium's lock is as the parent's threads have left it */
            set(&medium.interrupted, false);
        assert_ok(lb_start_with(bus, left_out, &error), &error);
        if (!left_out) {
            put(&medium.events);
            wait_until(count_of(&heard) == before + 1, DEADLINE_MS);
        }
        assert_ok(lb_stop(bus, -1, &error), &error);
    }
    lb_close(bus);
    _exit(0); /* what the parent's threads had in hand is forgotten here, not freed: no leak to be told of */
}

/* A worker does not continue in the child of a fork, but the child may start one of its own. */
static void the_child_of_a_worker_may_start_its_own(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* a child of a process with threads cannot start any */
#endif
    lb_bus *bus = open_service();
    lb_error error = {0};
    int before = count_of(&heard);
    assert_ok(lb_background(bus, NULL, run_task, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    put(&medium.events);
    wait_until(count_of(&heard) == before + 1, DEADLINE_MS);
    assert_int_equal(child_wait(child_start(serve_in_child, bus), DEADLINE_MS), 0);
    assert_ok(lb_stop(bus, -1, &error), &error);
    lb_close(bus);
}

/* ---- Closing ---------------------------------------------------------------------------------------- */

typedef struct chain {
    lb_bus *bus;
    int ended;
    bool begun;
    lb_status why;
} chain;

/* Begins the next call whenever one has ended. */
static void begin_again(lb_status status, const lb_value *result, const lb_error *error, void *data)
{
    chain *c = data;
    lb_error own = {0};
    (void)result, (void)error;
    c->ended++;
    c->why = status;
    c->begun = lb_call_begin(c->bus, "other.one", LB_NO_ARGS,
                             &(lb_call_options){.callback = begin_again, .data = c}, &own) != NULL;
    assert_int_equal(own.status, LB_CLOSED);
    assert_int_equal(lb_fire(c->bus, "api.said", LB_NO_ARGS, &own), LB_CLOSED);
}

static void nothing_is_begun_while_the_bus_is_closed(void **state)
{
    (void)state;
    lb_bus *bus = open_service();
    chain c = {.bus = bus};
    lb_error error = {0};
    assert_non_null(lb_call_begin(bus, "other.one", LB_NO_ARGS,
                                  &(lb_call_options){.callback = begin_again, .data = &c}, &error));
    lb_close(bus);
    assert_int_equal(c.ended, 1);
    assert_int_equal(c.why, LB_CLOSED);
    assert_false(c.begun);
}

/* ---- Deadlines -------------------------------------------------------------------------------------- */

static void *call_unknown(void *data)
{
    starter *s = data;
    s->status = lb_call(s->bus, "other.one", LB_NO_ARGS, NULL, &s->error);
    return NULL;
}

/* S3: threads that want to know of an API while the bus does not answer wait at the same time, not one after
 * another: the test would take 16 times as long. */
static void s3_threads_wait_for_schemas_at_the_same_time(void **state)
{
    (void)state;
    enum { CALLERS = 16, PATIENCE_MS = 1000 };
    lb_bus *bus = open_bus(PATIENCE_MS);
    starter callers[CALLERS];
    set(&medium.hold_load, true);
    int64_t began = support_now_ms();
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (starter){.bus = bus};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_unknown, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_true(callers[i].status == LB_TRANSPORT || callers[i].status == LB_TIMEOUT);
    }
    assert_in_range(support_now_ms() - began, PATIENCE_MS / 2, CALLERS * PATIENCE_MS / 2);
    set(&medium.hold_load, false);
    lb_close(bus);
}

/* The patience of a call counts from its beginning, the search for the API included. */
static void s3_the_search_for_an_api_ends_with_the_call(void **state)
{
    (void)state;
    lb_bus *bus = open_bus(60000);
    lb_error error = {0};
    const lb_call_options patience = {.timeout_ms = 50};
    set(&medium.hold_load, true);
    int64_t began = support_now_ms();
    assert_null(lb_call_begin(bus, "other.one", LB_NO_ARGS, &patience, &error));
    assert_int_equal(error.status, LB_TRANSPORT);
    assert_in_range(support_now_ms() - began, 0, 30000);
    set(&medium.hold_load, false);
    lb_close(bus);
}

static void *fire(void *data)
{
    starter *s = data;
    s->status = lb_fire(s->bus, "api.said", LB_NO_ARGS, &s->error);
    return NULL;
}

/* An API whose events are in a hurry, and one whose events are not, through one transport. */
static lb_bus *open_with_two_patiences(char **folder)
{
    char path[160];
    lb_error error = {0};
    *folder = temporary_directory();
    write_file(*folder, "bus.yaml", "apis: {api: {event_fire_timeout: 60}, hasty: {event_fire_timeout: 1}}\n");
    snprintf(path, sizeof path, "%s/bus.yaml", *folder);
    lb_bus *bus = lb_open(&(lb_options){.url = "medium:", .config = path}, &error);
    if (!bus)
        fail_msg("%s", error.message);
    assert_ok(lb_register(bus, &api, NULL, &error), &error);
    assert_ok(lb_register(bus, &(lb_api){.name = "hasty", .members = api.members}, NULL, &error), &error);
    return bus;
}

/* What is fired ends by its own deadline, also behind another event that may take longer, and one that is left
 * half way does not keep those with more time from arriving. */
static void an_event_ends_by_its_own_deadline(void **state)
{
    (void)state;
    char *folder;
    lb_bus *bus = open_with_two_patiences(&folder);
    lb_error error = {0};
    starter patient = {.bus = bus};
    int64_t began = support_now_ms();
    set(&medium.hold_send, true);
    assert_int_equal(pthread_create(&patient.thread, NULL, fire, &patient), 0);
    wait_until(seen(&medium.in_send) == 1, DEADLINE_MS);
    assert_int_equal(lb_fire(bus, "hasty.said", LB_NO_ARGS, &error), LB_TIMEOUT); /* behind the other one */
    assert_in_range(support_now_ms() - began, 900, 30000);
    set(&medium.hold_send, false);
    pthread_join(patient.thread, NULL);
    assert_int_equal(patient.status, LB_OK);
    assert_int_equal(seen(&medium.sent), 1);

    lb_pending *slow = lb_fire_begin(bus, "api.said", LB_NO_ARGS, &error);
    began = support_now_ms();
    set(&medium.hold_send, true);
    assert_int_equal(lb_fire(bus, "hasty.said", LB_NO_ARGS, &error), LB_TIMEOUT); /* with the other one */
    assert_in_range(support_now_ms() - began, 900, 30000);
    set(&medium.hold_send, false);
    assert_int_equal(lb_fire_end(slow, &error), LB_OK);
    assert_int_equal(seen(&medium.sent), 2);
    lb_close(bus);
    free(folder);
}

/* ---- Wrong use -------------------------------------------------------------------------------------- */

static void one_procedure_or_event_at_a_time(void **state)
{
    (void)state;
    lb_bus *bus = open_service();
    lb_error error = {0};
    assert_int_equal(lb_call(bus, "other.*", LB_NO_ARGS, NULL, &error), LB_INVALID_NAME);
    assert_int_equal(lb_fire(bus, "api.*", LB_NO_ARGS, &error), LB_INVALID_NAME);
    assert_int_equal(lb_unregister(bus, NULL, &error), LB_USAGE);
    lb_close(bus);
}

static int set_up_all(void **state)
{
    (void)state;
    lb_error error = {0};
    return lb_transport_register(&transport, &error);
}

static int set_up(void **state)
{
    (void)state;
    reset();
    return 0;
}

#define moment(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        moment(lb_stop_on_another_thread_ends_lb_run),
        moment(lb_stop_before_there_are_threads_keeps_them_from_starting),
        moment(lb_stop_while_threads_get_ready_ends_them),
        moment(of_two_that_start_at_once_one_does),
        moment(a_start_within_a_start_is_refused),
        moment(s30_an_extra_thread_that_cannot_connect_stops_nothing),
        moment(a_descriptor_asked_for_later_leaves_handlers_on_their_threads),
        moment(the_child_of_a_worker_may_start_its_own),
        moment(nothing_is_begun_while_the_bus_is_closed),
        moment(s3_threads_wait_for_schemas_at_the_same_time),
        moment(s3_the_search_for_an_api_ends_with_the_call),
        moment(an_event_ends_by_its_own_deadline),
        moment(one_procedure_or_event_at_a_time),
    };
    return cmocka_run_group_tests(tests, set_up_all, NULL);
}
