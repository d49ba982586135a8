/* The client side of RPCs: leader and followers.
 *
 * No thread is ours. Every thread in lb_call_end looks whether its call has ended; if not, it does what nobody
 * is doing: it sends what is queued (one thread at a time), or it leads: takes results for everybody (one
 * thread at a time); else it follows: sleeps until its call has ended or the lead is free. A leader whose own
 * call has ended hands the lead to a follower.
 *
 * Invariant: a call is in client.in_flight from its begin until it is DONE. Whoever sets DONE removes it there.
 */
#include "bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_QUEUED 64  /* calls that wait for each other before begin sends them */
#define MOST_SENT   256 /* in one go */
#define WITHDRAW_MS 100 /* how long a call that timed out waits for others to be sent, to withdraw */
#define LOOK_MS     100 /* how long a thread that comes after the deadline looks for an answer that is there */

void client_init(struct client *c)
{
    *c = (struct client){
        .bus = c->bus,
        .rpc = c->rpc,
        .result = c->result,
        .next = c->next,
        .next_callback_timeout = LB_FOREVER,
    };
    pthread_mutex_init(&c->lock, NULL);
    monotonic_cond_init(&c->send_free);
}

/* In a forked child, where threads of the parent may have died with the lock: what was in flight is the
 * parent's, and free memory is kept when no thread was at it. */
void client_after_fork(struct client *c)
{
    struct client old = {.free = NULL};
    if (pthread_mutex_trylock(&c->lock) == 0) {
        old = *c;
        map_free(&old.in_flight);
        pthread_mutex_unlock(&c->lock);
    }
    client_init(c);
    c->free = old.free;
    c->free_count = old.free_count;
}

/* ---- Ends of calls ---------------------------------------------------------------------------------- */

/* client.lock is held. Wakes its waiter, or puts it on `callbacks` for run_callbacks. */
static void tell_end(struct client *c, lb_pending *p, pending_queue *callbacks)
{
    p->state = PENDING_DONE;
    if (p->callback) {
        c->callbacks--;
        queue_push(callbacks, p);
    } else if (p->waiter) {
        pthread_cond_signal(p->waiter);
    }
}

/* client.lock is held. */
static void call_done(struct client *c, lb_pending *p, pending_queue *callbacks)
{
    if (p->state == PENDING_QUEUED)
        queue_remove(&c->queue, p);
    map_remove(&c->in_flight, p->id, UUID_TEXT);
    tell_end(c, p, callbacks);
}

/* client.lock is held. Ends all calls in flight, in one pass: there may be very many. With `discard` those that
 * nobody is told of are freed. */
static void end_all(struct client *c, lb_status status, const lb_error *error, bool discard,
                    pending_queue *callbacks)
{
    c->queue = (pending_queue){0};
    for (map_entry *e = NULL; (e = map_next(&c->in_flight, e));) {
        lb_pending *p = e->value;
        pending_fail(p, status, error);
        tell_end(c, p, callbacks);
        if (discard && !p->callback)
            pending_free(p);
    }
    map_free(&c->in_flight);
}

/* client.lock is held: waits until no thread that sends it still reads its message. */
static void wait_until_sent(struct client *c, const lb_pending *p)
{
    while (p->in_send)
        pthread_cond_wait(&c->send_free, &c->lock);
}

/* client.lock is held and released meanwhile. The call has ended. */
static void run_hooks(struct client *c, lb_pending *p)
{
    pthread_mutex_unlock(&c->lock);
    hooks_after_sending(p);
    pthread_mutex_lock(&c->lock);
}

/* No lock is held. */
static void run_callbacks(struct client *c, pending_queue *callbacks)
{
    for (lb_pending *p; (p = queue_pop(callbacks));) {
        if (p->began)
            hooks_after_sending(p);
        lb_error error; /* 2 kB: not touched where all is well */
        if (p->status != LB_OK) {
            error = (lb_error){0};
            pending_outcome(p, &error);
        }
        p->callback(p->status, p->result, p->status == LB_OK ? NULL : &error, p->data);
        pthread_mutex_lock(&c->lock);
        wait_until_sent(c, p);
        pending_recycle(p, &c->free, &c->free_count);
        pthread_mutex_unlock(&c->lock);
    }
}

static void set_timeout(lb_pending *p)
{
    lb_error error = {0};
    lb_slice api = p->message.rpc.api_name, procedure = p->message.rpc.procedure_name;
    bool known = schemas_knows(p->bus, api);
    lb_error_set(&error, LB_TIMEOUT, "%.*s.%.*s: no answer within %d ms; %s", (int)api.size, api.data,
                 (int)procedure.size, procedure.data, p->timeout_ms,
                 known ? "a worker of the API is known: it is busy, slow or gone"
                       : "no worker of the API is known (its schema is not on the bus)");
    pending_fail(p, LB_TIMEOUT, &error);
}

/* client.lock is held */
static void time_out_callbacks(struct client *c, pending_queue *callbacks, lb_pending **late)
{
    int64_t now = clock_now();
    if (!c->callbacks || now < c->next_callback_timeout)
        return;
    c->next_callback_timeout = LB_FOREVER;
    size_t count = 0;
    for (map_entry *e = NULL; (e = map_next(&c->in_flight, e));) {
        lb_pending *p = e->value;
        if (!p->callback)
            continue;
        if (p->deadline_ns <= now && count < MOST_SENT)
            late[count++] = p;
        else if (p->deadline_ns < c->next_callback_timeout)
            c->next_callback_timeout = p->deadline_ns;
    }
    for (size_t i = 0; i < count; i++) {
        set_timeout(late[i]);
        call_done(c, late[i], callbacks);
    }
}

static void take_result(struct client *c, const lb_result_message *r, pending_queue *callbacks)
{
    lb_pending *p =
        r->rpc_message_id.size == UUID_TEXT ? map_get(&c->in_flight, r->rpc_message_id.data, UUID_TEXT) : NULL;
    lb_error error = {0};
    if (!p) {
        lb_log(LB_LOG_DEBUG, "a result for call %.*s came after its caller had gone%s%s",
               (int)r->rpc_message_id.size, r->rpc_message_id.data, r->problem ? ": " : "",
               r->problem ? r->problem : "");
        return;
    }
    lb_slice api = p->message.rpc.api_name;
    if (r->status != LB_OK || r->problem) {
        lb_status status = r->status != LB_OK ? r->status : LB_MALFORMED;
        pending_fail(p, status,
                     (lb_error_set(&error, status, "%.*s.%.*s: %s", (int)api.size, api.data,
                                   (int)p->message.rpc.procedure_name.size, p->message.rpc.procedure_name.data,
                                   r->problem ? r->problem : lb_status_text(status)),
                      &error));
    } else if (r->error) {
        error_text_read(r->result, r->trace, &error);
        pending_fail(p, LB_REMOTE_ERROR, &error);
    } else {
        lb_status status = p->member && bus_settings(p->bus, api).incoming & MARSHAL_VALIDATE
                               ? result_accept(api, p->member, r->result, &error)
                               : LB_OK;
        if (status != LB_OK)
            pending_fail(p, status, &error);
        else if (!(p->result = lb_value_copy(r->result)))
            pending_fail(p, LB_NO_MEMORY,
                         (lb_error_set(&error, LB_NO_MEMORY, "out of memory for a result"), &error));
    }
    call_done(c, p, callbacks);
}

/* ---- Sending ---------------------------------------------------------------------------------------- */

/* client.lock is held. No thread sends any longer; if calls were queued meanwhile, a thread that waits for one
 * of them goes on with that, or the program's event loop does. */
static void sending_ends(struct client *c)
{
    c->sending = false;
    pthread_cond_broadcast(&c->send_free);
    for (lb_pending *p = c->queue.first; p; p = p->next)
        if (p->waiter) {
            pthread_cond_signal(p->waiter);
            break;
        }
    if (c->queue.first && c->bus->dispatch.event >= 0)
        dispatch_wake(c->bus);
}

/* client.lock is held and released meanwhile; client.sending is false. Without `now`, the caller holds the lead
 * and fetches next. */
static void send_queued(struct client *c, bool now, pending_queue *callbacks)
{
    lb_pending *batch[MOST_SENT];
    const lb_rpc_message *messages[MOST_SENT];
    size_t count = 0;
    int64_t deadline = 0;
    lb_error error = {0};
    while (count < MOST_SENT && c->queue.first) {
        lb_pending *p = batch[count] = queue_pop(&c->queue);
        p->state = PENDING_SENT;
        p->in_send = true;
        messages[count++] = &p->message.rpc;
        if (p->deadline_ns > deadline)
            deadline = p->deadline_ns;
    }
    if (!count)
        return;
    c->sending = true;
    pthread_mutex_unlock(&c->lock);
    lb_status status = c->rpc->transport->rpc->send(c->rpc->self, messages, count, now || c->rpc != c->result,
                                                    deadline, &error);
    pthread_mutex_lock(&c->lock);
    sending_ends(c);
    for (size_t i = 0; i < count; i++) {
        batch[i]->in_send = false;
        if (batch[i]->orphan)
            pending_recycle(batch[i], &c->free, &c->free_count);
        else if (status != LB_OK && batch[i]->state != PENDING_DONE) {
            pending_fail(batch[i], status, &error);
            call_done(c, batch[i], callbacks);
        }
    }
}

static void wait_for_sender(struct client *c)
{
    while (c->sending)
        pthread_cond_wait(&c->send_free, &c->lock);
}

/* client.lock is held and released meanwhile. The call has ended without an answer: take it from the queue on
 * the bus, so that nothing of it stays there (S8). */
static void withdraw(struct client *c, lb_pending *p)
{
    const lb_rpc_message *message = &p->message.rpc;
    int64_t patience = clock_in_ms(WITHDRAW_MS);
    while (c->sending && monotonic_wait(&c->send_free, &c->lock, patience) != ETIMEDOUT)
        ;
    if (c->sending || c->failures)
        return;
    c->sending = true;
    pthread_mutex_unlock(&c->lock);
    c->rpc->transport->rpc->withdraw(c->rpc->self, &message, 1);
    pthread_mutex_lock(&c->lock);
    sending_ends(c);
}

void client_flush(struct client *c)
{
    pending_queue callbacks = {0};
    pthread_mutex_lock(&c->lock);
    while (c->queue.first) {
        wait_for_sender(c);
        send_queued(c, true, &callbacks);
    }
    pthread_mutex_unlock(&c->lock);
    run_callbacks(c, &callbacks);
}

/* ---- Leading ---------------------------------------------------------------------------------------- */

static void hand_over_lead(struct client *c)
{
    if (c->followers)
        pthread_cond_signal(&c->followers->wake);
}

/* client.lock is held and released meanwhile. Sends what is queued, if no other thread is sending (that one
 * sees to the rest). The leader's own call must be on its way before it waits: false if it is not by the
 * deadline. */
static bool send_before_fetch(struct client *c, const lb_pending *own, int64_t deadline_ns,
                              pending_queue *callbacks)
{
    if (!c->sending)
        send_queued(c, false, callbacks);
    while (own && own->state == PENDING_QUEUED) {
        if (!c->sending)
            send_queued(c, false, callbacks);
        else if (monotonic_wait(&c->send_free, &c->lock, deadline_ns) == ETIMEDOUT && c->sending)
            return false;
    }
    return true;
}

/* client.lock is held and released meanwhile; nobody leads. Sends what is queued and takes results once. `own`
 * is the leader's own call, or NULL. */
static void lead(struct client *c, const lb_pending *own, int64_t deadline_ns, pending_queue *callbacks)
{
    const lb_result_message *results;
    size_t count = 0;
    lb_error error = {0};
    c->fetching = true;
    if (!send_before_fetch(c, own, deadline_ns, callbacks)) {
        c->fetching = false;
        return;
    }
    if (c->callbacks && c->next_callback_timeout < deadline_ns)
        deadline_ns = c->next_callback_timeout;
    lb_status status = LB_OK;
    if (c->in_flight.count) {
        pthread_mutex_unlock(&c->lock);
        status = c->result->transport->result->fetch(c->result->self, deadline_ns, &results, &count, &error);
        pthread_mutex_lock(&c->lock);
    }
    if (status == LB_OK) {
        c->failures = 0;
        if (!count)
            c->nothing_at_ns = clock_now();
        for (size_t i = 0; i < count; i++)
            take_result(c, &results[i], callbacks);
    } else if (status == LB_ACCESS || status == LB_CONFIG) { /* waiting is no use */
        end_all(c, status, &error, false, callbacks);
    } else { /* what is in flight may still be answered: try again, but not at once */
        lb_log(c->failures++ ? LB_LOG_DEBUG : LB_LOG_WARNING, "waiting for results: %s", error.message);
        int64_t pause = clock_in_ms(backoff_ms(c->failures, 10, 1000));
        monotonic_wait(&c->send_free, &c->lock, pause < deadline_ns ? pause : deadline_ns);
    }
    c->fetching = false;
    lb_pending *late[MOST_SENT];
    time_out_callbacks(c, callbacks, late);
}

static void follow(struct client *c, struct waiting *w, int64_t deadline_ns)
{
    w->next = c->followers;
    c->followers = w;
    monotonic_wait(&w->wake, &c->lock, deadline_ns);
    for (struct waiting **at = &c->followers; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            break;
        }
}

/* client.lock is held and released meanwhile, also for callbacks. A thread that did something else until the
 * deadline had passed gets the answer that came in time, unless somebody has looked since. */
static void wait_for_call(struct client *c, lb_pending *p)
{
    struct waiting self = {0};
    bool look = p->state == PENDING_SENT && clock_now() >= p->deadline_ns && c->nothing_at_ns < p->deadline_ns;
    int64_t until = look ? clock_in_ms(LOOK_MS) : p->deadline_ns;
    monotonic_cond_init(&self.wake);
    p->waiter = &self.wake;
    while (p->state != PENDING_DONE) {
        pending_queue callbacks = {0};
        if (clock_now() >= until) {
            bool sent = p->state == PENDING_SENT;
            if (look)
                c->nothing_at_ns = until;
            set_timeout(p);
            call_done(c, p, &callbacks);
            if (sent)
                withdraw(c, p);
        } else if (!c->fetching) {
            lead(c, p, until, &callbacks);
        } else if (c->queue.first && !c->sending) {
            send_queued(c, true, &callbacks);
        } else {
            follow(c, &self, until);
        }
        if (callbacks.first) {
            pthread_mutex_unlock(&c->lock);
            run_callbacks(c, &callbacks);
            pthread_mutex_lock(&c->lock);
        }
    }
    if (!c->fetching)
        hand_over_lead(c);
    p->waiter = NULL;
    pthread_cond_destroy(&self.wake);
}

/* ---- The public functions --------------------------------------------------------------------------- */

static lb_status prepare(lb_pending *p, const char *name, const lb_arg *args, const lb_call_options *options,
                         lb_error *error)
{
    static const lb_call_options defaults;
    const instance *result = p->route->client->result;
    lb_slice api, procedure;
    if (!options)
        options = &defaults;
    if (options->flags || options->timeout_ms < 0)
        return lb_error_set(error, LB_USAGE,
                            "%s: lb_call_options: expected timeout_ms >= 0 and no flags, got %d and 0x%x", name,
                            options->timeout_ms, options->flags);
    p->timeout_ms = options->timeout_ms ? options->timeout_ms : p->route->rpc_timeout_ms;
    p->callback = options->callback;
    p->data = options->data;
    p->deadline_ns = clock_in_ms(p->timeout_ms);
    if (handler_deadline() < p->deadline_ns) /* S7 */
        p->deadline_ns = handler_deadline();
    lb_kwarg *kwargs;
    size_t count;
    lb_status status = pending_prepare(p, name, args, false, &api, &procedure, &kwargs, &count, error);
    if (status != LB_OK)
        return status;
    p->message.rpc = (lb_rpc_message){
        .id = {p->id, UUID_TEXT},
        .api_name = api,
        .procedure_name = procedure,
        .return_path = result->transport->result->return_path(result->self),
        .kwargs = kwargs,
        .kwargs_count = count,
        .deadline_ns = p->deadline_ns,
    };
    return LB_OK;
}

/* NULL: refused. With `hold` the call waits for lb_call_end even when many are queued. */
static lb_pending *begin(lb_bus *bus, const char *name, const lb_arg *args, const lb_call_options *options,
                         bool hold, lb_error *error)
{
    const route *route = route_of_name(bus, name);
    struct client *c = route->client;
    bus_check_fork(bus);
    pthread_mutex_lock(&c->lock);
    lb_pending *p = pending_new(bus, &c->free, &c->free_count);
    pthread_mutex_unlock(&c->lock);
    if (!p) {
        lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", name);
        return NULL;
    }
    p->kind = PENDING_CALL;
    p->route = route;
    lb_status status = prepare(p, name, args, options, error);
    if (status == LB_OK && hooks_at(bus, HOOKS_OF_CALLS))
        status = hooks_before_sending(p, error);
    pthread_mutex_lock(&c->lock);
    if (status == LB_OK && !map_put(&c->in_flight, p->id, UUID_TEXT, p))
        status = lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", name);
    if (status != LB_OK) {
        pending_recycle(p, &c->free, &c->free_count);
        pthread_mutex_unlock(&c->lock);
        return NULL;
    }
    queue_push(&c->queue, p);
    if (p->callback) {
        c->callbacks++;
        if (p->deadline_ns < c->next_callback_timeout)
            c->next_callback_timeout = p->deadline_ns;
    }
    pending_queue callbacks = {0};
    if (!hold && c->queue.count >= MOST_QUEUED && !c->sending)
        send_queued(c, true, &callbacks);
    pthread_mutex_unlock(&c->lock);
    run_callbacks(c, &callbacks);
    if (bus->dispatch.event >= 0)
        dispatch_wake(bus);
    return p;
}

lb_pending *lb_call_begin(lb_bus *bus, const char *name, const lb_arg *args, const lb_call_options *options,
                          lb_error *error)
{
    return begin(bus, name, args, options, false, error);
}

lb_status lb_call_end(lb_pending *p, lb_value **result, lb_error *error)
{
    if (result)
        *result = NULL;
    if (!p)
        return error && error->status != LB_OK ? error->status : LB_USAGE;
    lb_bus *bus = p->bus;
    struct client *c = p->route->client;
    if (p->kind != PENDING_CALL || p->callback)
        return lb_error_set(error, LB_USAGE, "lb_call_end: expected a call that was begun without a callback");
    rpc_thread_waits(bus);
    pthread_mutex_lock(&c->lock);
    wait_for_call(c, p);
    if (p->began)
        run_hooks(c, p);
    lb_status status = pending_outcome(p, error);
    if (result && status == LB_OK) {
        *result = p->result;
        p->result = NULL;
    }
    if (p->in_send) /* its deadline has passed in the middle of a write: the sender frees it */
        p->orphan = true;
    else
        pending_recycle(p, &c->free, &c->free_count);
    pthread_mutex_unlock(&c->lock);
    rpc_thread_goes_on(bus);
    return status;
}

lb_status lb_call(lb_bus *bus, const char *name, const lb_arg *args, lb_value **result, lb_error *error)
{
    lb_error own = {0};
    if (result)
        *result = NULL;
    lb_pending *p = begin(bus, name, args, NULL, true, error ? error : &own);
    if (!p)
        return error ? error->status : own.status;
    return lb_call_end(p, result, error);
}

void lb_call_cancel(lb_pending *p)
{
    if (!p || p->kind != PENDING_CALL)
        return;
    struct client *c = p->route->client;
    pending_queue callbacks = {0};
    lb_error error = {0};
    pthread_mutex_lock(&c->lock);
    wait_until_sent(c, p);
    if (p->state != PENDING_DONE) {
        bool sent = p->state == PENDING_SENT;
        pending_fail(p, LB_CANCELED, (lb_error_set(&error, LB_CANCELED, "the call was canceled"), &error));
        call_done(c, p, &callbacks);
        if (sent)
            withdraw(c, p);
    }
    if (!p->callback) {
        if (p->began)
            run_hooks(c, p);
        pending_recycle(p, &c->free, &c->free_count);
    }
    pthread_mutex_unlock(&c->lock);
    run_callbacks(c, &callbacks);
}

/* ---- For lb_dispatch and lb_close ------------------------------------------------------------------- */

void client_dispatch(struct client *c)
{
    pending_queue callbacks = {0};
    pthread_mutex_lock(&c->lock);
    if (!c->fetching) {
        lead(c, NULL, clock_now(), &callbacks);
        hand_over_lead(c);
    }
    pthread_mutex_unlock(&c->lock);
    run_callbacks(c, &callbacks);
}

int64_t client_next_timeout(struct client *c)
{
    pthread_mutex_lock(&c->lock);
    int64_t at = c->callbacks ? c->next_callback_timeout : LB_FOREVER;
    pthread_mutex_unlock(&c->lock);
    return at;
}

void client_free(struct client *c)
{
    pending_queue callbacks = {0};
    lb_error error = {0};
    lb_error_set(&error, LB_CLOSED, "the bus was closed");
    end_all(c, LB_CLOSED, &error, true, &callbacks);
    run_callbacks(c, &callbacks);
    while (c->free) {
        lb_pending *p = c->free;
        c->free = p->next;
        pending_free(p);
    }
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->send_free);
}
