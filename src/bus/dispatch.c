/* For programs with an event loop of their own: one epoll descriptor over what the bus waits for: results on
 * the way in, the next timeout of a call, and batches that consumer threads hand over to be handled here. */
#include "bus.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

void dispatch_init(struct dispatch *d) { *d = (struct dispatch){.epoll = -1, .event = -1, .timer = -1}; }

static void close_descriptor(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void dispatch_free(lb_bus *bus)
{
    close_descriptor(&bus->dispatch.epoll);
    close_descriptor(&bus->dispatch.event);
    close_descriptor(&bus->dispatch.timer);
}

static bool watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST;
}

int lb_fd(lb_bus *bus, lb_error *error)
{
    struct dispatch *d = &bus->dispatch;
    bus_check_fork(bus);
    if (d->epoll >= 0)
        return d->epoll;
    d->epoll = epoll_create1(EPOLL_CLOEXEC);
    d->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (d->epoll < 0 || d->event < 0 || d->timer < 0 || !watch(d->epoll, d->event) ||
        !watch(d->epoll, d->timer)) {
        lb_error_set(error, LB_SYSTEM, "lb_fd: %s", strerror(errno));
        dispatch_free(bus);
    }
    return d->epoll;
}

void dispatch_wake(lb_bus *bus)
{
    uint64_t one = 1;
    if (write(bus->dispatch.event, &one, sizeof one) < 0)
        return; /* the counter is full: it is readable all the same */
}

bool dispatch_run_work(lb_bus *bus)
{
    struct worker *w = &bus->worker;
    work *item = bus->dispatch.first;
    if (!item)
        return false;
    bus->dispatch.first = item->next;
    pthread_mutex_unlock(&w->lock);
    item->run(item->argument);
    pthread_mutex_lock(&w->lock);
    item->done = true;
    pthread_cond_broadcast(&w->changed);
    return true;
}

static void drain(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof count) < 0)
        return; /* it was not this one */
}

/* The descriptor of the results may be another one after each reconnection. */
static void watch_results(lb_bus *bus)
{
    for (struct client *c = bus->clients; c; c = c->next) {
        int (*descriptor)(void *) = c->result->transport->result->descriptor;
        int fd = descriptor ? descriptor(c->result->self) : -1;
        if (fd >= 0)
            watch(bus->dispatch.epoll, fd);
    }
}

static int64_t next_timeout(lb_bus *bus)
{
    int64_t next = LB_FOREVER;
    for (struct client *c = bus->clients; c; c = c->next) {
        int64_t at = client_next_timeout(c);
        next = at < next ? at : next;
    }
    return next;
}

static void set_timer(lb_bus *bus)
{
    struct itimerspec at = {{0, 0}, {0, 0}};
    int64_t next = next_timeout(bus);
    if (next != LB_FOREVER) {
        at.it_value.tv_sec = next / CLOCK_SECOND;
        at.it_value.tv_nsec = next % CLOCK_SECOND;
    }
    timerfd_settime(bus->dispatch.timer, TFD_TIMER_ABSTIME, &at, NULL);
}

lb_status lb_dispatch(lb_bus *bus, lb_error *error)
{
    struct worker *w = &bus->worker;
    bus_check_fork(bus);
    if (bus->dispatch.epoll < 0)
        return lb_error_set(error, LB_USAGE, "lb_dispatch: expected lb_fd before");
    drain(bus->dispatch.event);
    drain(bus->dispatch.timer);
    pthread_mutex_lock(&w->lock);
    while (dispatch_run_work(bus))
        ;
    pthread_mutex_unlock(&w->lock);
    for (struct client *c = bus->clients; c; c = c->next)
        client_dispatch(c);
    watch_results(bus);
    set_timer(bus);
    return LB_OK;
}
