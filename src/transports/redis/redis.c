/* The instance of the Redis transport: options, shared connections, waking blocked readers, forks. */
#include "redis.h"

#include <errno.h>
#include <lightbus/log.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "doctor.h"
#include "instance.h"

enum { UNBLOCK_AGAIN_MS = 2, UNBLOCK_TRIES = 50 };

/* ---- Open, close, fork ------------------------------------------------------------------------------ */

static void close_instance(void *self)
{
    redis *r = self;
    if (!r)
        return;
    caller_close(r->caller);
    conn_close(&r->control);
    conn_close(&r->fire);
    conn_close(&r->looker);
    pthread_mutex_destroy(&r->control_lock);
    pthread_mutex_destroy(&r->wakeables_lock);
    SSL_CTX_free(r->tls);
    redis_url_free(&r->options);
    free(r);
}

static lb_status open_instance(const lb_transport_config *config, void **self, lb_error *error)
{
    redis *r = calloc(1, sizeof *r);
    if (!r)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    pthread_mutex_init(&r->control_lock, NULL);
    pthread_mutex_init(&r->wakeables_lock, NULL);
    r->control.fd = r->fire.fd = r->looker.fd = -1;
    atomic_flag_clear(&r->looking);
    lb_status status = redis_url_parse(&r->options, config->url, error);
    if (status == LB_OK && r->options.tls && !(r->tls = tls_context(&r->options, error)))
        status = LB_CONFIG;
    if (status == LB_OK) {
        conn_init(&r->control, &r->options, &r->features, r->tls, -1);
        conn_init(&r->fire, &r->options, &r->features, r->tls, -1);
        conn_init(&r->looker, &r->options, &r->features, r->tls, -1);
        r->caller = caller_open(r, error);
        status = r->caller ? LB_OK : LB_NO_MEMORY;
    }
    if (status != LB_OK) {
        close_instance(r);
        r = NULL;
    }
    *self = r;
    return status;
}

/* OpenSSL's locks in the old context may be held for ever by a thread that is not here. */
static void renew_tls(redis *r)
{
    lb_error error = {0};
    SSL_CTX *context = r->tls ? tls_context(&r->options, &error) : NULL;
    if (context)
        r->tls = context;
    else if (r->tls)
        lb_log(LB_LOG_WARNING, "after a fork: %s; the parent's context is used on", error.message);
}

static void abandon(redis *r, conn *c)
{
    conn_abandon(c);
    c->tls = r->tls;
}

/* A thread of the parent may have been anywhere in what it was using, with its lock. So nothing of that is read
 * or freed but the descriptors, which must be closed, since the server would take a dead parent's connections
 * for alive: the memory is left to itself, and all is made anew. Options and features do not change but in one
 * step. Consumers, listeners and histories stay in their list, for those whose thread has forked and goes on.
 */
static void after_fork(void *self)
{
    redis *r = self;
    pthread_mutex_init(&r->control_lock, NULL);
    pthread_mutex_init(&r->wakeables_lock, NULL);
    renew_tls(r);
    abandon(r, &r->control);
    abandon(r, &r->fire);
    abandon(r, &r->looker);
    atomic_flag_clear(&r->looking);
    caller_after_fork(r->caller);
    for (wakeable *w = r->wakeables; w; w = w->next) {
        close(w->conn.wake_fd);
        w->conn.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        abandon(r, &w->conn);
    }
}

/* ---- Waking ----------------------------------------------------------------------------------------- */

bool wakeable_init(wakeable *w, redis *owner, lb_error *error)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        lb_error_set(error, LB_SYSTEM, "eventfd: errno %d", errno);
        return false;
    }
    w->owner = owner;
    atomic_init(&w->woken, false);
    conn_init(&w->conn, &owner->options, &owner->features, owner->tls, fd);
    pthread_mutex_lock(&owner->wakeables_lock);
    w->next = owner->wakeables;
    __atomic_store_n(&owner->wakeables, w, __ATOMIC_RELEASE); /* a fork finds a whole list at any moment */
    pthread_mutex_unlock(&owner->wakeables_lock);
    return true;
}

void wakeable_free(wakeable *w)
{
    pthread_mutex_lock(&w->owner->wakeables_lock);
    wakeable **link = &w->owner->wakeables;
    while (*link != w)
        link = &(*link)->next;
    __atomic_store_n(link, w->next, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&w->owner->wakeables_lock);
    close(w->conn.wake_fd);
    conn_close(&w->conn);
}

void wakeable_interrupt(wakeable *w)
{
    const uint64_t one = 1;
    int number = errno;
    atomic_store(&w->woken, true);
    if (write(w->conn.wake_fd, &one, sizeof one) < 0)
        errno = 0; /* the counter is full: it is awake */
    errno = number;
}

void wakeable_forget(wakeable *w)
{
    uint64_t count;
    atomic_store(&w->woken, false);
    if (read(w->conn.wake_fd, &count, sizeof count) < 0)
        return; /* the interrupt is between its two steps: the next fetch ends early, which does no harm */
}

bool wakeable_take(wakeable *w)
{
    if (!atomic_load_explicit(&w->woken, memory_order_relaxed))
        return false;
    wakeable_forget(w);
    return true;
}

/* True when there is no more to do: it was blocked and is not any longer, or the server cannot be asked. */
static bool unblock(wakeable *w)
{
    redis *r = w->owner;
    const reply *answer = NULL;
    lb_error error = {0};
    bool done = true;
    int64_t deadline = clock_in_ms(CLOSE_MS);
    if (w->conn.fd < 0 || !w->conn.client_id || __atomic_load_n(&r->features.no_unblock, __ATOMIC_RELAXED))
        return true;
    conn *c = control_lock(r, deadline, &error);
    if (!c)
        return true;
    command_begin(&c->out, 3);
    command_str(&c->out, "CLIENT");
    command_str(&c->out, "UNBLOCK");
    command_int(&c->out, w->conn.client_id);
    lb_status status = conn_exchange(c, 1, "CLIENT UNBLOCK", deadline, &answer, &error);
    if (status == LB_OK) {
        done = reply_integer(answer) != 0;
    } else if (status == LB_BUSY) { /* a script is running */
        done = false;
    } else if (answer && !error.retryable) {
        __atomic_store_n(&r->features.no_unblock, 1, __ATOMIC_RELAXED);
        lb_log(LB_LOG_WARNING, "%s; blocking reads are now short instead", error.message);
    }
    control_unlock(r);
    return done;
}

/* The order can overtake the blocking read that it is to end, since they come on two connections: again, then,
 * unless the read has been answered. */
void wakeable_unblock(wakeable *w)
{
    struct pollfd answered = {.fd = w->conn.fd, .events = POLLIN};
    for (int tries = 0; !unblock(w) && tries < UNBLOCK_TRIES; tries++)
        if (poll(&answered, 1, UNBLOCK_AGAIN_MS) != 0)
            return;
}

int64_t block_ms(const redis *r, int64_t deadline_ns)
{
    bool shortly = __atomic_load_n(&r->features.no_unblock, __ATOMIC_RELAXED);
    int left = clock_left_ms(deadline_ns, shortly ? BLOCK_SHORT_MS : BLOCK_MOST_MS);
    return left < BLOCK_LEAST_MS ? BLOCK_LEAST_MS : left;
}

int64_t answer_deadline(int64_t deadline_ns)
{
    int64_t now = clock_now(), least = now + ANSWER_LEAST_MS * CLOCK_MS, most = now + ANSWER_MS * CLOCK_MS;
    return deadline_ns < least ? least : deadline_ns > most ? most : deadline_ns;
}

/* ---- Control ---------------------------------------------------------------------------------------- */

/* Waits for a lock until a deadline, by the wall clock: TSan does not know pthread_mutex_clocklock. Should that
 * clock be set meanwhile, those who hold the lock have deadlines of their own. */
static bool lock_by(pthread_mutex_t *lock, int64_t deadline_ns)
{
    struct timespec end;
    int64_t left = deadline_ns - clock_now();
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += left / CLOCK_SECOND;
    end.tv_nsec += left % CLOCK_SECOND;
    if (end.tv_nsec >= CLOCK_SECOND) {
        end.tv_sec++;
        end.tv_nsec -= CLOCK_SECOND;
    }
    return pthread_mutex_timedlock(lock, &end) == 0;
}

conn *control_lock(redis *r, int64_t deadline_ns, lb_error *error)
{
    int64_t least = clock_in_ms(ANSWER_LEAST_MS);
    if (!lock_by(&r->control_lock, deadline_ns < least ? least : deadline_ns)) {
        lb_error_set(error, LB_TRANSPORT, "%s: others wait for the server's answer", r->options.place);
        return NULL;
    }
    if (conn_ready(&r->control, deadline_ns, error) == LB_OK)
        return &r->control;
    pthread_mutex_unlock(&r->control_lock);
    return NULL;
}

void control_unlock(redis *r)
{
    conn_release(&r->control);
    pthread_mutex_unlock(&r->control_lock);
}

lb_status conn_exchange(conn *c, size_t count, const char *doing, int64_t deadline_ns, const reply **last,
                        lb_error *error)
{
    const reply *answer = NULL;
    lb_status first = LB_OK, status = conn_send(c, deadline_ns, NULL, error);
    for (size_t i = 0; i < count && status == LB_OK; i++) {
        status = conn_answer(c, deadline_ns, &answer, error);
        if (status == LB_OK && reply_is_error(answer) && first == LB_OK)
            first = conn_reply_error(c, answer, doing, error);
    }
    if (last)
        *last = answer;
    return status == LB_OK ? first : status;
}

/* ---- The table -------------------------------------------------------------------------------------- */

static const lb_rpc_transport redis_rpc = {
    .send = caller_send,
    .withdraw = caller_withdraw,
    .consumer_open = consumer_open,
    .fetch = consumer_fetch,
    .flush = consumer_flush,
    .interrupt = consumer_interrupt,
    .consumer_close = consumer_close,
};

static const lb_result_transport redis_results = {
    .return_path = caller_return_path,
    .send = results_send,
    .fetch = caller_fetch,
    .descriptor = caller_descriptor,
};

const lb_transport redis_transport = {
    .abi = LB_TRANSPORT_ABI,
    .size = sizeof(lb_transport),
    .name = "redis",
    .schemes = "redis rediss redis+unix",
    .open = open_instance,
    .close = close_instance,
    .after_fork = after_fork,
    .rpc = &redis_rpc,
    .result = &redis_results,
    .event = &redis_events,
    .schema = &redis_schemas,
    .diagnose = doctor_diagnose,
    .features = LB_TRANSPORT_DEDUPLICATES,
};
