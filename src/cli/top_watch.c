/* Asking the bus on a thread of its own, so that keys are answered while the bus is slow or away.
 *
 * The thread owns the collector; what it finds is handed over under the lock. However slow the answers are, it
 * asks for a fifth of the time at most. */
#include "top.h"

#include "../base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { REST = 4 }; /* times as long as the answer took */

struct top_watch {
    top_collector *collector;
    int64_t interval_ns;
    int fd; /* an eventfd */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock: */
    bool ending, paused;
    top_snapshot *fresh;
    lb_error trouble; /* LB_OK: none */
    bool news;
};

static struct timespec time_at(int64_t ns)
{
    return (struct timespec){(time_t)(ns / CLOCK_SECOND), (long)(ns % CLOCK_SECOND)};
}

/* False: it is over. */
static bool wait_until_due(top_watch *w, int64_t due_ns)
{
    struct timespec due = time_at(due_ns);
    pthread_mutex_lock(&w->lock);
    while (!w->ending && (w->paused || clock_now() < due_ns)) {
        if (w->paused)
            pthread_cond_wait(&w->changed, &w->lock);
        else
            pthread_cond_timedwait(&w->changed, &w->lock, &due);
    }
    bool goes_on = !w->ending;
    pthread_mutex_unlock(&w->lock);
    return goes_on;
}

static void hand_over(top_watch *w, top_snapshot *snapshot, const lb_error *trouble)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&w->lock);
    top_snapshot_free(w->fresh);
    w->fresh = snapshot;
    w->trouble = *trouble;
    w->news = true;
    pthread_mutex_unlock(&w->lock);
    if (write(w->fd, &one, sizeof one) < 0)
        return; /* its counter is full: it is readable */
}

static void *watch(void *data)
{
    top_watch *w = data;
    for (int64_t due = clock_now() + w->interval_ns; wait_until_due(w, due);) {
        top_snapshot *snapshot;
        lb_error error = {0};
        int64_t start = clock_now();
        if (top_collect(w->collector, &snapshot, &error) == LB_OK)
            error.status = LB_OK;
        hand_over(w, snapshot, &error);
        int64_t end = clock_now(), rested = end + REST * (end - start);
        due = start + w->interval_ns > rested ? start + w->interval_ns : rested;
    }
    return NULL;
}

static void free_watch(top_watch *w)
{
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    top_snapshot_free(w->fresh);
    close(w->fd);
    free(w);
}

top_watch *top_watch_begin(top_collector *c, int interval_ms, lb_error *error)
{
    pthread_condattr_t monotonic;
    top_watch *w = calloc(1, sizeof *w);
    if (!w) {
        lb_error_set(error, LB_NO_MEMORY, "out of memory");
        return NULL;
    }
    w->collector = c;
    w->interval_ns = interval_ms * CLOCK_MS;
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int result = w->fd < 0 ? errno : pthread_create(&w->thread, NULL, watch, w);
    if (!result)
        return w;
    lb_error_set(error, LB_SYSTEM, "cannot start a thread that watches the bus: %s", strerror(result));
    free_watch(w);
    return NULL;
}

static void change(top_watch *w, bool *what, bool to)
{
    pthread_mutex_lock(&w->lock);
    *what = to;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void top_watch_end(top_watch *w)
{
    if (!w)
        return;
    change(w, &w->ending, true);
    pthread_join(w->thread, NULL);
    free_watch(w);
}

void top_watch_pause(top_watch *w, bool paused) { change(w, &w->paused, paused); }

int top_watch_fd(const top_watch *w) { return w->fd; }

bool top_watch_take(top_watch *w, top_snapshot **snapshot, char *trouble, size_t size)
{
    uint64_t count;
    if (read(w->fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return false;
    pthread_mutex_lock(&w->lock);
    bool news = w->news;
    *snapshot = w->fresh;
    if (news)
        snprintf(trouble, size, "%s", w->trouble.status == LB_OK ? "" : w->trouble.message);
    w->fresh = NULL;
    w->news = false;
    pthread_mutex_unlock(&w->lock);
    return news;
}
