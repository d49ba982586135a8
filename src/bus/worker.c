/* The worker: its threads, its timer, starting, draining and stopping. */
#include "bus.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STOP_TIMEOUT_MS 10000

void worker_init(struct worker *w)
{
    *w = (struct worker){.stop_event = -1};
    pthread_mutex_init(&w->lock, NULL);
    monotonic_cond_init(&w->changed);
}

void worker_after_fork(struct worker *w)
{
    struct worker old = *w;
    if (old.stop_event >= 0)
        close(old.stop_event);
    worker_init(w);
    w->listeners = old.listeners;
    w->listener_count = old.listener_count;
    w->tasks = old.tasks;
    for (size_t i = 0; i < w->listener_count; i++)
        listener_after_fork(w->listeners[i]);
    tasks_after_fork(w->tasks);
}

void worker_free(lb_bus *bus)
{
    struct worker *w = &bus->worker;
    for (size_t i = 0; i < w->listener_count; i++)
        listener_free(w->listeners[i]);
    free(w->listeners);
    tasks_free(bus);
    for (struct ready *r = bus->ready, *next; r; r = next) {
        next = r->next;
        free(r);
    }
    deferred_free_all(bus);
    if (w->stop_event >= 0)
        close(w->stop_event);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
}

/* ---- What its threads use --------------------------------------------------------------------------- */

bool worker_stopping(lb_bus *bus) { return __atomic_load_n(&bus->worker.stopping, __ATOMIC_ACQUIRE); }

static _Thread_local int64_t stop_deadline = LB_FOREVER;

int64_t worker_stop_deadline(void) { return stop_deadline; }

bool worker_runs(lb_bus *bus)
{
    pthread_mutex_lock(&bus->worker.lock);
    bool runs = bus->worker.state > WORKER_PREPARING;
    pthread_mutex_unlock(&bus->worker.lock);
    return runs;
}

static lb_status runs_already(const char *what, lb_error *error)
{
    return lb_error_set(error, LB_USAGE, "%s: the worker runs already; expected this before lb_run or lb_start",
                        what);
}

bool worker_registering(lb_bus *bus, const char *what, lb_error *error)
{
    bus_check_fork(bus);
    return !worker_runs(bus) || runs_already(what, error) == LB_OK;
}

bool worker_spawn(lb_bus *bus, pthread_t *thread, void *(*body)(void *), void *argument)
{
    struct worker *w = &bus->worker;
    errno = pthread_create(thread, NULL, body, argument);
    if (errno)
        return false;
    w->threads++;
    w->not_ready++;
    return true;
}

void worker_ready(lb_bus *bus)
{
    pthread_mutex_lock(&bus->worker.lock);
    bus->worker.not_ready--;
    bus->worker.became_ready++;
    pthread_cond_broadcast(&bus->worker.changed);
    pthread_mutex_unlock(&bus->worker.lock);
}

void worker_thread_ends(lb_bus *bus)
{
    pthread_mutex_lock(&bus->worker.lock);
    bus->worker.threads--;
    pthread_cond_broadcast(&bus->worker.changed);
    pthread_mutex_unlock(&bus->worker.lock);
}

/* worker.lock is held. Makes all loops end. */
static void stop_loops(lb_bus *bus)
{
    struct worker *w = &bus->worker;
    __atomic_store_n(&w->stopping, true, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&w->changed);
    for (rpc_thread *t = w->rpcs; t; t = t->next)
        if (t->consumer)
            t->client->rpc->transport->rpc->interrupt(t->consumer);
    for (size_t i = 0; i < w->listener_count; i++)
        listener_interrupt(w->listeners[i]);
}

void worker_fail(lb_bus *bus, lb_status status, const lb_error *error)
{
    struct worker *w = &bus->worker;
    pthread_mutex_lock(&w->lock);
    if (w->failure == LB_OK) {
        w->failure = status;
        w->failure_error = *error;
        w->failure_error.status = status;
    }
    stop_loops(bus);
    pthread_mutex_unlock(&w->lock);
    lb_stop_request(bus);
    if (hooks_at(bus, 1u << LB_HOOK_EXCEPTION))
        hooks_of_worker(bus, LB_HOOK_EXCEPTION, error, NULL);
}

bool worker_pause(lb_bus *bus, unsigned attempt)
{
    struct worker *w = &bus->worker;
    int64_t until = clock_in_ms(backoff_ms(attempt, 50, 1000));
    pthread_mutex_lock(&w->lock);
    while (!worker_stopping(bus) && monotonic_wait(&w->changed, &w->lock, until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&w->lock);
    return !worker_stopping(bus);
}

void worker_run(lb_bus *bus, void (*run)(void *), void *argument)
{
    struct worker *w = &bus->worker;
    struct dispatch *d = &bus->dispatch;
    if (!w->dispatched) {
        run(argument);
        return;
    }
    work item = {.run = run, .argument = argument};
    pthread_mutex_lock(&w->lock);
    if (!d->first)
        d->last = &d->first;
    *d->last = &item;
    d->last = &item.next;
    pthread_cond_broadcast(&w->changed); /* lb_stop may be waiting on the dispatching thread */
    dispatch_wake(bus);
    while (!item.done)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

/* ---- The timer -------------------------------------------------------------------------------------- */

static int64_t refresh_schemas(lb_bus *bus, unsigned *failures)
{
    lb_error error = {0};
    lb_status status = schemas_store(bus, clock_in_ms(bus->rpc_timeout_ms), &error);
    if (status == LB_OK)
        status = schemas_load(bus, clock_in_ms(bus->rpc_timeout_ms), &error);
    if (status == LB_OK) {
        *failures = 0;
        return clock_in_ms((int64_t)bus->schema_ttl_s * 800); /* 80 % of the TTL, as Python does */
    }
    lb_log(*failures ? LB_LOG_DEBUG : LB_LOG_WARNING, "the schemas could not be refreshed: %s; trying again",
           error.message);
    return clock_in_ms(backoff_ms((*failures)++, 200, 5000));
}

static void *timer_main(void *argument)
{
    lb_bus *bus = argument;
    struct worker *w = &bus->worker;
    unsigned failures = 0;
    int64_t refresh = clock_in_ms((int64_t)bus->schema_ttl_s * 800);
    worker_ready(bus);
    while (!worker_stopping(bus)) {
        int64_t now = clock_now(), next;
        pthread_mutex_lock(&w->lock);
        size_t ready = w->became_ready; /* a listener that opens has leases: their renewal may be due first */
        pthread_mutex_unlock(&w->lock);
        if (now >= refresh)
            refresh = refresh_schemas(bus, &failures);
        next = refresh;
        for (size_t i = 0; i < w->listener_count; i++) {
            int64_t tick = listener_tick(w->listeners[i], now);
            next = tick < next ? tick : next;
        }
        pthread_mutex_lock(&w->lock);
        while (!worker_stopping(bus) && w->became_ready == ready &&
               monotonic_wait(&w->changed, &w->lock, next) != ETIMEDOUT)
            ;
        pthread_mutex_unlock(&w->lock);
    }
    worker_thread_ends(bus);
    return NULL;
}

/* ---- Starting --------------------------------------------------------------------------------------- */

/* worker.lock is held */
static bool start_threads(lb_bus *bus)
{
    struct worker *w = &bus->worker;
    if (!worker_spawn(bus, &w->timer, timer_main, bus))
        return false;
    if ((bus->features & FEATURE_RPCS) && !rpc_threads_start(bus))
        return false;
    for (size_t i = 0; (bus->features & FEATURE_EVENTS) && i < w->listener_count; i++)
        if (!listener_start(w->listeners[i]))
            return false;
    return tasks_start(bus);
}

static lb_status publish(lb_bus *bus, lb_error *error)
{
    schemas_compare_with_live(bus);
    lb_status status = schemas_store(bus, clock_in_ms(bus->rpc_timeout_ms), error);
    return status == LB_OK ? schemas_load(bus, clock_in_ms(bus->rpc_timeout_ms), error) : status;
}

/* What starting would refuse, before it touches the bus. */
static lb_status check_start(lb_bus *bus, const char *what, unsigned flags, unsigned known, lb_error *error)
{
    if (flags & ~known)
        return lb_error_set(error, LB_USAGE, "%s: unknown bits 0x%x in flags", what, flags & ~known);
    if (!worker_registering(bus, what, error))
        return LB_USAGE;
    if (!schemas_serve(bus) && !bus->worker.listener_count && !tasks_wanted(bus) &&
        !hooks_at(bus, 1u << LB_HOOK_BEFORE_WORKER_START))
        return lb_error_set(error, LB_USAGE,
                            "there is nothing to serve: expected lb_register, lb_listen or a task before");
    return LB_OK;
}

/* From here on no other thread starts this worker. */
static lb_status claim(lb_bus *bus, const char *what, lb_error *error)
{
    struct worker *w = &bus->worker;
    pthread_mutex_lock(&w->lock);
    bool claimed = w->state == WORKER_STOPPED;
    if (claimed) {
        w->state = WORKER_PREPARING;
        w->failure = LB_OK;
        w->dispatched = bus->dispatch.event >= 0;
        __atomic_store_n(&w->stopping, false, __ATOMIC_RELEASE);
        __atomic_store_n(&w->stop_requested, false, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&w->lock);
    return claimed ? LB_OK : runs_already(what, error);
}

static lb_status stopped_meanwhile(lb_error *error)
{
    return lb_error_set(error, LB_CLOSED, "the worker was stopped while it started");
}

/* worker.lock is held and released meanwhile. The state stays WORKER_STARTING after a failure, unless another
 * thread is stopping the worker. */
static lb_status start_and_wait(lb_bus *bus, lb_error *error)
{
    struct worker *w = &bus->worker;
    if (worker_stopping(bus))
        return stopped_meanwhile(error);
    w->state = WORKER_STARTING;
    bool started = start_threads(bus);
    int why = errno;
    while (w->not_ready)
        pthread_cond_wait(&w->changed, &w->lock);
    if (w->failure != LB_OK) {
        *error = w->failure_error;
        return w->failure;
    }
    if (!started)
        return lb_error_set(error, LB_SYSTEM, "the worker's threads could not be started: %s", strerror(why));
    if (w->state != WORKER_STARTING)
        return stopped_meanwhile(error);
    w->state = WORKER_RUNNING;
    return LB_OK;
}

static lb_status give_up(lb_bus *bus, lb_status status)
{
    pthread_mutex_lock(&bus->worker.lock);
    bus->worker.state = WORKER_STOPPED;
    pthread_mutex_unlock(&bus->worker.lock);
    return status;
}

/* The worker is claimed. */
static lb_status start(lb_bus *bus, unsigned flags, lb_error *error)
{
    struct worker *w = &bus->worker;
    lb_status status = hooks_of_worker(bus, LB_HOOK_BEFORE_WORKER_START, NULL, error);
    if (status != LB_OK)
        return give_up(bus, status);
    status = publish(bus, error);
    bus->features = (flags & LB_RUN_NO_RPCS ? 0 : FEATURE_RPCS) |
                    (flags & LB_RUN_NO_EVENTS ? 0 : FEATURE_EVENTS) |
                    (flags & LB_RUN_NO_TASKS ? 0 : FEATURE_TASKS);
    pthread_mutex_lock(&w->lock);
    if (status == LB_OK)
        status = start_and_wait(bus, error);
    bool no_threads = w->state == WORKER_PREPARING;
    bool ours_to_stop = status != LB_OK && w->state == WORKER_STARTING;
    pthread_mutex_unlock(&w->lock);
    if (no_threads) {
        hooks_of_worker(bus, LB_HOOK_AFTER_WORKER_STOPPED, error, NULL);
        return give_up(bus, status);
    }
    if (ours_to_stop)
        lb_stop(bus, -1, NULL);
    if (status != LB_OK)
        return status;
    lb_log(LB_LOG_INFO, "Ready.");
    for (const struct ready *r = bus->ready; r; r = r->next)
        r->tell(bus, r->data);
    return LB_OK;
}

#define START_FLAGS (LB_RUN_NO_RPCS | LB_RUN_NO_EVENTS | LB_RUN_NO_TASKS | LB_RUN_DRY)

lb_status lb_start_with(lb_bus *bus, unsigned flags, lb_error *error)
{
    lb_error own = {0};
    if (!error)
        error = &own;
    lb_status status = check_start(bus, "lb_start", flags, START_FLAGS, error);
    if (status == LB_OK && !(flags & LB_RUN_DRY) && (status = claim(bus, "lb_start", error)) == LB_OK)
        status = start(bus, flags, error);
    return status;
}

lb_status lb_start(lb_bus *bus, lb_error *error) { return lb_start_with(bus, 0, error); }

lb_status lb_on_ready(lb_bus *bus, void (*ready)(lb_bus *bus, void *data), void *data, lb_error *error)
{
    struct ready **last = &bus->ready;
    if (!worker_registering(bus, "lb_on_ready", error))
        return LB_USAGE;
    if (!ready)
        return lb_error_set(error, LB_USAGE, "lb_on_ready: expected a function");
    while (*last)
        last = &(*last)->next;
    if (!(*last = malloc(sizeof **last)))
        return lb_error_set(error, LB_NO_MEMORY, "lb_on_ready: out of memory");
    **last = (struct ready){ready, data, NULL};
    return LB_OK;
}

/* ---- Stopping --------------------------------------------------------------------------------------- */

/* worker.lock is held. No thread of the worker is left. */
static void join_threads(lb_bus *bus)
{
    struct worker *w = &bus->worker;
    if (w->timer)
        pthread_join(w->timer, NULL);
    w->timer = 0;
    for (rpc_thread *t = w->rpcs, *next; t; t = next) {
        next = t->next;
        pthread_join(t->thread, NULL);
        buffer_free(&t->out);
        arena_free(&t->memory);
        free(t);
    }
    w->rpcs = NULL;
    for (size_t i = 0; i < w->listener_count; i++)
        listener_join(w->listeners[i]);
    tasks_join(bus);
}

/* The failure that had ended the worker counts before that of a hook. */
static lb_status run_stop_hooks(lb_bus *bus, lb_status status, const lb_error *why, int64_t deadline,
                                lb_error *error)
{
    bool failed = status != LB_OK;
    stop_deadline = deadline;
    lb_status hooks =
        hooks_of_worker(bus, LB_HOOK_AFTER_WORKER_STOPPED, failed ? why : NULL, failed ? NULL : error);
    stop_deadline = LB_FOREVER;
    return failed ? status : hooks;
}

lb_status lb_stop(lb_bus *bus, int timeout_ms, lb_error *error)
{
    struct worker *w = &bus->worker;
    if (timeout_ms < 0)
        timeout_ms = STOP_TIMEOUT_MS;
    int64_t deadline = clock_in_ms(timeout_ms);
    lb_error why;
    bus_check_fork(bus);
    pthread_mutex_lock(&w->lock);
    if (w->state == WORKER_PREPARING)
        stop_loops(bus); /* lb_start sees to the rest */
    if (w->state <= WORKER_PREPARING) {
        pthread_mutex_unlock(&w->lock);
        return LB_OK;
    }
    w->state = WORKER_STOPPING;
    stop_loops(bus);
    lb_stop_request(bus); /* to a thread in lb_run */
    bool ended = false;
    lb_status status = LB_OK;
    while (w->threads || w->deferred_count) {
        if (dispatch_run_work(bus))
            continue;
        int64_t wanted = w->threads ? deadline : deferred_wanted_until(bus), now = clock_now();
        if (now >= deadline || now >= wanted) {
            status = w->threads ? LB_TIMEOUT : LB_OK; /* answers that are owed still may come: by lb_close */
            break;
        }
        monotonic_wait(&w->changed, &w->lock, wanted < deadline ? wanted : deadline);
    }
    if (status != LB_OK) {
        lb_error_set(error, status,
                     "the worker did not stop within %d ms: a handler, a task or the transport still runs",
                     timeout_ms);
    } else {
        join_threads(bus);
        ended = w->state != WORKER_STOPPED; /* by this thread, if several stop it */
        w->state = WORKER_STOPPED;
        why = w->failure_error;
        if ((status = w->failure) != LB_OK && error)
            *error = why;
        w->failure = LB_OK;
    }
    pthread_mutex_unlock(&w->lock);
    if (ended)
        status = run_stop_hooks(bus, status, &why, deadline, error);
    return status;
}

void lb_stop_request(lb_bus *bus)
{
    uint64_t one = 1;
    __atomic_store_n(&bus->worker.stop_requested, true, __ATOMIC_RELEASE);
    int event = __atomic_load_n(&bus->worker.stop_event, __ATOMIC_ACQUIRE);
    if (event >= 0 && write(event, &one, sizeof one) < 0)
        return; /* the counter is full: it is readable all the same */
}

/* ---- lb_run ----------------------------------------------------------------------------------------- */

#define IMPATIENT (CLOCK_SECOND / 5) /* signals closer together are one: timeout(1) and shells signal twice */

static _Atomic int64_t first_signal; /* when it came, 0: not yet */
static int signal_event = -1;

static void on_signal(int number)
{
    int saved = errno;
    uint64_t one = 1;
    (void)number;
    int64_t now = clock_now(), first = 0;
    if (!atomic_compare_exchange_strong(&first_signal, &first, now)) {
        if (now - first > IMPATIENT)
            _exit(1); /* a second one: at once */
    } else if (write(signal_event, &one, sizeof one) < 0) {
        _exit(1);
    }
    errno = saved;
}

static void wait_for_stop(lb_bus *bus, int event)
{
    struct pollfd fds[2] = {{.fd = event, .events = POLLIN}, {.fd = bus->dispatch.epoll, .events = POLLIN}};
    while (!__atomic_load_n(&bus->worker.stop_requested, __ATOMIC_ACQUIRE)) {
        if (poll(fds, bus->dispatch.epoll >= 0 ? 2 : 1, -1) < 0 && errno != EINTR)
            return;
        if (fds[1].revents & POLLIN)
            lb_dispatch(bus, NULL);
        if (fds[0].revents & POLLIN)
            return;
    }
}

/* It stays open until lb_close: another thread may be in lb_stop_request, about to write to it. */
static int open_stop_event(struct worker *w)
{
    int event = __atomic_load_n(&w->stop_event, __ATOMIC_ACQUIRE);
    uint64_t earlier;
    if (event < 0)
        event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    else if (read(event, &earlier, sizeof earlier) < 0 && errno != EAGAIN)
        return -1;
    __atomic_store_n(&w->stop_event, event, __ATOMIC_RELEASE);
    return event;
}

lb_status lb_run(lb_bus *bus, unsigned flags, lb_error *error)
{
    struct worker *w = &bus->worker;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old_int, old_term;
    lb_error own = {0};
    if (!error)
        error = &own;
    lb_status status = check_start(bus, "lb_run", flags, START_FLAGS | LB_RUN_SIGNALS, error);
    if (status != LB_OK || (flags & LB_RUN_DRY))
        return status;
    status = claim(bus, "lb_run", error);
    if (status != LB_OK)
        return status;
    int event = open_stop_event(w);
    if (event < 0)
        return give_up(bus, lb_error_set(error, LB_SYSTEM, "lb_run: eventfd: %s", strerror(errno)));
    if (flags & LB_RUN_SIGNALS) {
        signal_event = event;
        atomic_store(&first_signal, 0);
        sigaction(SIGINT, &action, &old_int);
        sigaction(SIGTERM, &action, &old_term);
    }
    status = start(bus, flags, error);
    if (status == LB_OK) {
        wait_for_stop(bus, event);
        status = lb_stop(bus, -1, error);
    }
    if (flags & LB_RUN_SIGNALS) {
        sigaction(SIGINT, &old_int, NULL);
        sigaction(SIGTERM, &old_term, NULL);
    }
    return status;
}

/* ---- For people ------------------------------------------------------------------------------------- */

static void describe_api(buffer *out, const local_api *local)
{
    buffer signature = {0};
    buffer_literal(out, "{\"name\":");
    buffer_json_string(out, local->api->name, strlen(local->api->name));
    buffer_literal(out, ",\"members\":[");
    for (size_t i = 0; i < api_schema_count(local->schema); i++) {
        const member_schema *m = api_schema_at(local->schema, i);
        signature.size = 0;
        member_print(&signature, m);
        buffer_printf(out, "%s{\"kind\":\"%s\",\"signature\":", i ? "," : "", m->is_event ? "event" : "rpc");
        buffer_json_string(out, signature.data, signature.size);
        buffer_char(out, '}');
    }
    buffer_literal(out, "]}");
    buffer_free(&signature);
}

static void describe_text(buffer *out, const char *name, const char *text)
{
    buffer_json_string(out, name, strlen(name));
    buffer_char(out, ':');
    if (!buffer_json_string(out, text, strlen(text)))
        buffer_literal(out, "null");
}

lb_value *lb_describe(const lb_bus *bus)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)(uintptr_t)&bus->schemas.lock; /* it is ours */
    buffer out = {0};
    lb_value *value = NULL;
    buffer_char(&out, '{');
    describe_text(&out, "service", bus->service_name);
    buffer_char(&out, ',');
    describe_text(&out, "process", bus->process_name);
    buffer_printf(&out, ",\"service_is_random\":%s,", bus->service_name_is_random ? "true" : "false");
    describe_text(&out, "url", bus->masked_url);
    buffer_literal(&out, ",\"transports\":{");
    const instance *const used[TRANSPORT_KINDS] = {
        [TRANSPORT_RPC] = bus->route.client->rpc,
        [TRANSPORT_RESULT] = bus->route.client->result,
        [TRANSPORT_EVENT] = bus->route.fires->event,
        [TRANSPORT_SCHEMA] = bus->schema,
    };
    for (int i = 0; i < TRANSPORT_KINDS; i++) {
        if (i)
            buffer_char(&out, ',');
        describe_text(&out, transport_kind_names[i], used[i]->transport->name);
    }
    buffer_literal(&out, "},\"apis\":[");
    pthread_rwlock_rdlock(lock);
    for (size_t i = 0; i < bus->schemas.count; i++) {
        if (i)
            buffer_char(&out, ',');
        describe_api(&out, bus->schemas.order[i]);
    }
    pthread_rwlock_unlock(lock);
    buffer_literal(&out, "],\"listeners\":[");
    for (size_t i = 0; i < bus->worker.listener_count; i++) {
        if (i)
            buffer_char(&out, ',');
        listener_describe(bus->worker.listeners[i], &out);
    }
    buffer_literal(&out, "],\"plugins\":[");
    plugins_describe(bus, &out);
    buffer_literal(&out, "]}");
    if (!out.failed)
        lb_value_parse(out.data, out.size, &value, NULL);
    buffer_free(&out);
    return value;
}
