/* Firing events: group commit. One thread sends a batch and waits until it is on the bus; those that fire
 * meanwhile make the next batch. An event whose outcome is unknown is sent again with the same id until its
 * deadline (S20): at least once. */
#include "bus.h"

#include <stdio.h>

#define MOST_QUEUED 64  /* events that wait for each other before begin sends them */
#define MOST_SENT   256 /* in one go */

void fires_init(struct fires *f)
{
    *f = (struct fires){.bus = f->bus, .event = f->event, .next = f->next};
    pthread_mutex_init(&f->lock, NULL);
    monotonic_cond_init(&f->done);
}

void fires_after_fork(struct fires *f) /* as client_after_fork */
{
    struct fires old = {.free = NULL};
    if (pthread_mutex_trylock(&f->lock) == 0) {
        old = *f;
        pthread_mutex_unlock(&f->lock);
    }
    fires_init(f);
    f->free = old.free;
    f->free_count = old.free_count;
}

static void fire_failed(lb_pending *p, lb_status status, const char *problem)
{
    lb_error error = {0};
    const lb_event_message *m = &p->message.event;
    lb_error_set(&error, status, "%.*s.%.*s: %s", (int)m->api_name.size, m->api_name.data,
                 (int)m->event_name.size, m->event_name.data, problem ? problem : lb_status_text(status));
    pending_fail(p, status, &error);
}

/* May it be on the bus, and is there time to make sure? */
static bool is_to_be_sent_again(const lb_pending *p, lb_status status, int64_t now)
{
    return (status == LB_TRANSPORT || status == LB_TIMEOUT) && now < p->deadline_ns;
}

/* fires.lock is held and released meanwhile; nobody sends. By the deadline; what is left of a batch then is
 * sent again by those that have more time. */
static void send_batch(struct fires *f, int64_t deadline)
{
    lb_pending *batch[MOST_SENT];
    lb_event_message *messages[MOST_SENT];
    size_t count = 0, again = 0;
    unsigned attempts = 0;
    lb_error error; /* 2 kB: not cleared for each event */
    while (count < MOST_SENT && f->queue.first) {
        lb_pending *p = batch[count] = queue_pop(&f->queue);
        p->state = PENDING_SENT;
        p->in_send = true;
        messages[count++] = &p->message.event;
    }
    if (!count)
        return;
    f->sending = true;
    pthread_mutex_unlock(&f->lock);
    lb_status status = f->event->transport->event->send(f->event->self, messages, count, deadline, &error);
    pthread_mutex_lock(&f->lock);

    pending_queue retry = {0};
    int64_t now = clock_now();
    for (size_t i = 0; i < count; i++) {
        lb_pending *p = batch[i];
        lb_status one = status != LB_OK ? status : p->message.event.status;
        p->in_send = false;
        if (p->orphan) {
            pending_recycle(p, &f->free, &f->free_count);
            continue;
        }
        if (p->state != PENDING_SENT)
            continue;
        if (one == LB_OK)
            p->status = LB_OK; /* at last */
        else
            fire_failed(p, one, status != LB_OK ? error.message : p->message.event.problem);
        if (is_to_be_sent_again(p, one, now)) {
            p->state = PENDING_QUEUED;
            attempts = p->attempts++;
            queue_push(&retry, p);
            again++;
        } else {
            p->state = PENDING_DONE;
        }
    }
    if (again) { /* in front of those that came later, and not at once */
        for (lb_pending *p; (p = queue_pop(&f->queue));)
            queue_push(&retry, p);
        f->queue = retry;
        if (attempts)
            monotonic_wait(&f->done, &f->lock, clock_in_ms(backoff_ms(attempts, 5, 500)));
    }
    f->sending = false;
    pthread_cond_broadcast(&f->done);
}

/* fires.lock is held. It is too late for this event; another thread may be at sending it. Why it was to be sent
 * again says more than that. */
static void give_up(struct fires *f, lb_pending *p)
{
    char problem[80];
    if (p->state == PENDING_QUEUED)
        queue_remove(&f->queue, p);
    snprintf(problem, sizeof problem, "not on the bus within %d ms", p->timeout_ms);
    if (p->status == LB_OK)
        fire_failed(p, LB_TIMEOUT, problem);
    p->state = PENDING_DONE;
}

static void wait_for_fire(struct fires *f, lb_pending *p)
{
    while (p->state != PENDING_DONE)
        if (clock_now() >= p->deadline_ns)
            give_up(f, p);
        else if (f->sending)
            monotonic_wait(&f->done, &f->lock, p->deadline_ns);
        else
            send_batch(f, p->deadline_ns);
}

/* The last one of those that are queued. */
static int64_t last_deadline(const struct fires *f)
{
    int64_t last = 0;
    for (const lb_pending *p = f->queue.first; p; p = p->next)
        last = p->deadline_ns > last ? p->deadline_ns : last;
    return last;
}

void fires_flush(struct fires *f)
{
    pthread_mutex_lock(&f->lock);
    while (f->sending)
        pthread_cond_wait(&f->done, &f->lock);
    if (f->queue.first)
        send_batch(f, last_deadline(f));
    pthread_mutex_unlock(&f->lock);
}

static lb_status prepare(lb_pending *p, const char *name, const lb_arg *args, int64_t now, lb_error *error)
{
    lb_slice api, event;
    lb_kwarg *kwargs;
    size_t count;
    p->timeout_ms = p->route->event_fire_timeout_ms;
    p->deadline_ns = now + p->timeout_ms * CLOCK_MS;
    if (worker_stop_deadline() < p->deadline_ns)
        p->deadline_ns = worker_stop_deadline();
    lb_status status = pending_prepare(p, name, args, true, &api, &event, &kwargs, &count, error);
    if (status != LB_OK)
        return status;
    p->message.event = (lb_event_message){
        .id = {p->id, UUID_TEXT},
        .api_name = api,
        .event_name = event,
        .version = p->member->version,
        .kwargs = kwargs,
        .kwargs_count = count,
    };
    return LB_OK;
}

static lb_pending *begin(lb_bus *bus, const char *name, const lb_arg *args, bool hold, lb_error *error)
{
    const route *route = route_of_name(bus, name);
    struct fires *f = route->fires;
    bus_check_fork(bus);
    pthread_mutex_lock(&f->lock);
    lb_pending *p = pending_new(bus, &f->free, &f->free_count);
    pthread_mutex_unlock(&f->lock);
    if (!p) {
        lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", name);
        return NULL;
    }
    p->kind = PENDING_FIRE;
    p->route = route;
    int64_t now = clock_now();
    schemas_announce(bus, now);
    lb_status status = prepare(p, name, args, now, error);
    if (status == LB_OK && hooks_at(bus, HOOKS_OF_FIRES))
        status = hooks_before_sending(p, error);
    pthread_mutex_lock(&f->lock);
    if (status == LB_OK) {
        queue_push(&f->queue, p);
        if (!hold && f->queue.count >= MOST_QUEUED && !f->sending)
            send_batch(f, last_deadline(f));
    } else {
        pending_recycle(p, &f->free, &f->free_count);
        p = NULL;
    }
    pthread_mutex_unlock(&f->lock);
    return p;
}

lb_pending *lb_fire_begin(lb_bus *bus, const char *name, const lb_arg *args, lb_error *error)
{
    return begin(bus, name, args, false, error);
}

lb_status lb_fire_end(lb_pending *p, lb_error *error)
{
    if (!p)
        return error && error->status != LB_OK ? error->status : LB_USAGE;
    if (p->kind != PENDING_FIRE)
        return lb_error_set(error, LB_USAGE, "lb_fire_end: expected what lb_fire_begin returned");
    struct fires *f = p->route->fires;
    pthread_mutex_lock(&f->lock);
    wait_for_fire(f, p);
    if (p->began) {
        pthread_mutex_unlock(&f->lock);
        hooks_after_sending(p);
        pthread_mutex_lock(&f->lock);
    }
    lb_status status = pending_outcome(p, error);
    if (p->in_send) /* the sender frees it */
        p->orphan = true;
    else
        pending_recycle(p, &f->free, &f->free_count);
    pthread_mutex_unlock(&f->lock);
    return status;
}

lb_status lb_fire(lb_bus *bus, const char *name, const lb_arg *args, lb_error *error)
{
    lb_error own;
    lb_pending *p = begin(bus, name, args, true, error ? error : &own);
    if (!p)
        return error ? error->status : own.status;
    return lb_fire_end(p, error);
}

void fires_free(struct fires *f)
{
    for (lb_pending *p; (p = queue_pop(&f->queue));)
        pending_free(p);
    while (f->free) {
        lb_pending *p = f->free;
        f->free = p->next;
        pending_free(p);
    }
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->done);
}
