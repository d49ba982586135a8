/* Transactions: guards, room, syncing, failures; and clearing away what has expired. See store.h. */
#include <errno.h>
#include <fcntl.h>
#include <lightbus/log.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../base/clock.h"
#include "key.h"
#include "store.h"

#define STEP       (UINT64_C(4) << 20)
#define MOST_AHEAD (UINT64_C(64) << 20)
#define TOUCH_NS   (3600 * CLOCK_SECOND)

enum {
    GUARD_LOOK_MS = 20, /* how long a killed holder may go unnoticed */
    SWEEP_MS = 5000,
    SWEEP_MOST = 20000,
};

/* ---- Failures --------------------------------------------------------------------------------------- */

lb_status store_failed(const store *s, store_part part, int result, const char *doing, lb_error *error)
{
    lb_status status = LB_SYSTEM;
    switch (result) {
    case ENOSPC:
    case EDQUOT:
    case MDB_MAP_FULL:
        status = LB_NO_SPACE;
        break;
    case ENOMEM:
        status = LB_NO_MEMORY;
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        status = LB_ACCESS;
        break;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_BAD_VALSIZE:
        status = LB_MALFORMED;
        break;
    case MDB_VERSION_MISMATCH:
        status = LB_UNSUPPORTED;
        break;
    case MDB_READERS_FULL:
        status = LB_BUSY;
        break;
    }
    return lb_error_set(error, status, "%s/%s: %s: %s", s->path, s->parts[part].name, doing,
                        result == MDB_PANIC ? "an earlier write failed halfway: start this process again"
                                            : mdb_strerror(result));
}

/* ---- Keys and numbers ------------------------------------------------------------------------------- */

uint64_t hash_text(lb_slice text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < text.size; i++)
        h = (h ^ (unsigned char)text.data[i]) * UINT64_C(0x100000001b3);
    return h ^ h >> 32;
}

uint64_t unique_number(void)
{
    uint64_t number;
    do
        number = random_u64();
    while (!number);
    return number;
}

/* ---- Guards ----------------------------------------------------------------------------------------- */

/* Tries again after each release. A holder that was killed releases nothing: it is found by trying. */
static int lock_until(store *s, struct guard *g, int64_t until_ns)
{
    int result;
    for (;;) {
        uint32_t seen = atomic_load(&g->released.generation);
        result = pthread_mutex_trylock(&g->mutex);
        int64_t look_again = clock_in_ms(GUARD_LOOK_MS);
        if (result != EBUSY || clock_now() >= until_ns)
            return result;
        wake_word_wait(s->wake, &g->released, seen, look_again < until_ns ? look_again : until_ns);
    }
}

static lb_status guard_lock(store *s, store_part part, int64_t deadline_ns, lb_error *error)
{
    struct guard *g = &s->shared->guards[part];
    int result = pthread_mutex_trylock(&g->mutex);
    if (result == EBUSY) {
        int64_t least = clock_in_ms(GUARD_LEAST_MS), most = clock_in_ms(GUARD_MOST_MS);
        result = lock_until(s, g, deadline_ns < least ? least : deadline_ns > most ? most : deadline_ns);
    }
    if (result == EOWNERDEAD) /* LMDB drops what it had begun */
        result = pthread_mutex_consistent(&g->mutex);
    if (result == EBUSY)
        return lb_error_set(
            error, LB_TRANSPORT,
            "%s/%s: process %d has been writing for too long (is it stopped, or the disk slow?)", s->path,
            s->parts[part].name, (int)atomic_load(&g->holder));
    if (result)
        return lb_error_set(error, LB_SYSTEM, "%s/%s: locking: %s", s->path, s->parts[part].name,
                            strerror(result));
    atomic_store_explicit(&g->holder, getpid(), memory_order_relaxed);
    return LB_OK;
}

static void guard_unlock(store *s, store_part part)
{
    struct guard *g = &s->shared->guards[part];
    pthread_mutex_unlock(&g->mutex);
    wake_word_wake(s->wake, &g->released, 1);
}

/* ---- Removal ---------------------------------------------------------------------------------------- */

static bool is_linked(int fd)
{
    struct stat about;
    return fstat(fd, &about) != 0 || about.st_nlink > 0;
}

/* All of it, and it is made again; or the mapped file alone: then it cannot, since a process may have LMDB's
 * file open only once. */
static void notice_removal(store *s)
{
    if (is_linked(s->wake_fd))
        return;
    if (is_linked(s->parts[STORE_EVENTS].fd)) {
        if (!atomic_exchange(&s->shared->cut_off, true))
            lb_log(LB_LOG_ERROR, "%s/wake was removed while in use: end all processes that use the folder",
                   s->path);
    } else if (!atomic_exchange(&s->shared->gone, true)) {
        lb_log(LB_LOG_ERROR,
               "the folder of the local bus, %s, was removed while in use: it is made again, empty", s->path);
    }
}

/* Seldom: a disk may be asleep. */
static void keep_young(store *s)
{
    static const char *const names[] = {"open", "wake", "events", "events-lock", "calls", "calls-lock"};
    char path[PATH_MAX + 16];
    int64_t now = clock_now(), due = atomic_load(&s->shared->touch_at);
    if (now < due || !atomic_compare_exchange_strong(&s->shared->touch_at, &due, now + TOUCH_NS))
        return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", s->path, names[i]);
        utimensat(AT_FDCWD, path, NULL,
                  AT_SYMLINK_NOFOLLOW); /* fails where it is another user's, who does so */
    }
}

/* ---- Truncation ------------------------------------------------------------------------------------- */

static void note_size(store *s, store_part part, uint64_t size)
{
    uint64_t known = atomic_load(&s->shared->sizes[part]);
    while (size > known && !atomic_compare_exchange_weak(&s->shared->sizes[part], &known, size))
        ;
}

/* Files of the bus only grow: one that is shorter than it was is somebody else's work, and whoever reads the
 * mapped pages that are gone is killed by SIGBUS. Looked at once in some milliseconds, since that takes a
 * system call.
 */
static lb_status check_size(store *s, store_part part, lb_error *error)
{
    database *d = &s->parts[part];
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    int64_t now = (int64_t)t.tv_sec * CLOCK_SECOND + t.tv_nsec;
    if (now == atomic_load_explicit(&d->looked_ns, memory_order_relaxed))
        return LB_OK;
    struct stat about;
    uint64_t known = atomic_load(&s->shared->sizes[part]); /* before looking: it may be growing */
    if (fstat(d->fd, &about) != 0 || about.st_nlink == 0 || atomic_load(&s->shared->cut_off)) {
        notice_removal(s);
        return lb_error_set(error, LB_TRANSPORT, "%s: %s was removed while in use", s->path,
                            atomic_load(&s->shared->cut_off) ? "wake" : d->name);
    }
    if ((uint64_t)about.st_size < known)
        return lb_error_set(error, LB_MALFORMED, "%s/%s: truncated while in use: end all processes that use it",
                            s->path, d->name);
    note_size(s, part, (uint64_t)about.st_size);
    atomic_store_explicit(&d->looked_ns, now, memory_order_relaxed);
    return LB_OK;
}

/* ---- Room ------------------------------------------------------------------------------------------- */

/* Free pages inside the file. */
static uint64_t count_free_pages(MDB_txn *txn)
{
    MDB_cursor *c;
    MDB_val k, v;
    uint64_t total = 0, count;
    if (mdb_cursor_open(txn, 0, &c) != 0)
        return 0;
    for (int more = mdb_cursor_get(c, &k, &v, MDB_FIRST); more == 0;
         more = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        memcpy(&count, v.mv_data, sizeof count);
        total += count;
    }
    mdb_cursor_close(c);
    return total;
}

/* Makes the file longer, by `need` at least, by `wanted` if the disk has as much. In steps: where files are
 * memory, a signal undoes what was just added. 0, or an errno. */
static int lengthen(database *d, uint64_t need, uint64_t wanted)
{
    while (d->allocated < wanted) {
        uint64_t left = wanted - d->allocated, step = left < STEP ? left : STEP;
        if (fallocate(d->fd, 0, (off_t)d->allocated, (off_t)step) == 0)
            d->allocated += step;
        else if (errno != EINTR)
            return d->allocated >= need ? 0 : errno;
    }
    return 0;
}

/* Sees to it that the file has room for so much and the reserve behind its last page, or holds enough free
 * pages. The guard is held. 0, or what is to be said of it. */
static int make_room(store *s, store_part part, MDB_txn *txn, size_t bytes)
{
    database *d = &s->parts[part];
    MDB_envinfo info;
    struct stat about;
    mdb_env_info(d->env, &info);
    uint64_t used = (info.me_last_pgno + 1) * d->page_size, add = 2 * (uint64_t)bytes + STORE_RESERVE,
             need = used + add;
    if (need <= d->allocated)
        return 0;
    if (fstat(d->fd, &about) == 0)
        d->allocated = (uint64_t)about.st_size;
    if (need <= d->allocated)
        return 0;
    int stale, result = MDB_MAP_FULL;
    mdb_reader_check(d->env, &stale); /* one that was killed keeps pages from being used again */
    if (need <= d->map_size) {
        uint64_t more = need / 8 < STORE_RESERVE ? STORE_RESERVE : need / 8;
        uint64_t wanted = need + (more < MOST_AHEAD ? more : MOST_AHEAD);
        result = lengthen(d, need, wanted < d->map_size ? wanted : d->map_size);
        note_size(s, part, d->allocated);
        if (result == EOPNOTSUPP)
            result = 0; /* no reserve then */
    }
    return result && count_free_pages(txn) * d->page_size >= add ? 0 : result;
}

/* ---- Transactions ----------------------------------------------------------------------------------- */

/* What LMDB syncs at a commit: nothing; the data, in order; or all. */
static void set_sync(database *d, bool ordered, bool durably)
{
    mdb_env_set_flags(d->env, MDB_NOSYNC, !ordered);
    mdb_env_set_flags(d->env, MDB_NOMETASYNC, ordered && !durably);
}

lb_status write_begin(store *s, store_part part, size_t room, int64_t deadline_ns, transaction *t,
                      lb_error *error)
{
    database *d = &s->parts[part];
    *t = (transaction){s, part, NULL};
    lb_status status = guard_lock(s, part, deadline_ns, error);
    if (status != LB_OK)
        return status;
    status = check_size(s, part, error);
    if (status != LB_OK) {
        guard_unlock(s, part);
        return status;
    }
    int result = mdb_txn_begin(d->env, NULL, 0, &t->txn);
    if (result == 0 && room) {
        result = make_room(s, part, t->txn, room);
        if (result) {
            mdb_txn_abort(t->txn);
            t->txn = NULL;
        }
    }
    if (result) {
        guard_unlock(s, part);
        return store_failed(s, part, result, "writing", error);
    }
    return LB_OK;
}

static lb_status end(transaction *t, int result, bool durably, const char *doing, lb_error *error)
{
    store *s = t->store;
    if (result == 0) {
        if (t->part == STORE_EVENTS)
            set_sync(&s->parts[t->part], store_durable(s), durably);
        result = mdb_txn_commit(t->txn);
    } else {
        mdb_txn_abort(t->txn);
    }
    t->txn = NULL;
    guard_unlock(s, t->part);
    return result ? store_failed(s, t->part, result, doing, error) : LB_OK;
}

lb_status write_end(transaction *t, int result, const char *doing, lb_error *error)
{
    return end(t, result, false, doing, error);
}

lb_status write_end_durably(transaction *t, int result, const char *doing, lb_error *error)
{
    return end(t, result, true, doing, error);
}

void write_abort(transaction *t)
{
    mdb_txn_abort(t->txn);
    t->txn = NULL;
    guard_unlock(t->store, t->part);
}

/* Ends what it has of another store; what it has of a parent stays, since ending it would touch the parent's
 * slot. */
static void view_drop(view *v)
{
    if (v->txn && v->generation == fork_generation())
        mdb_txn_abort(v->txn);
    else if (v->txn)
        v->inherited = v->txn;
    v->txn = NULL;
}

lb_status view_begin(view *v, store *s, store_part part, lb_error *error)
{
    int result = -1, stale;
    lb_status status = check_size(s, part, error);
    if (status != LB_OK)
        return status;
    if (v->txn && v->store == s && v->generation == fork_generation())
        result = mdb_txn_renew(v->txn);
    if (result)
        view_drop(v);
    for (int attempt = 0; result && attempt < 2; attempt++) {
        *v = (view){s, part, NULL, v->inherited, fork_generation()};
        result = mdb_txn_begin(s->parts[part].env, NULL, MDB_RDONLY, &v->txn);
        if (result == MDB_READERS_FULL)
            mdb_reader_check(s->parts[part].env, &stale);
    }
    if (result)
        v->txn = NULL;
    return result ? store_failed(s, part, result, "reading", error) : LB_OK;
}

void view_end(view *v) { mdb_txn_reset(v->txn); }

void view_free(view *v) { view_drop(v); }

bool store_durable(const store *s) { return atomic_load_explicit(&s->shared->durable, memory_order_relaxed); }

bool store_gone(const store *s) { return atomic_load_explicit(&s->shared->gone, memory_order_relaxed); }

/* ---- Clearing away ---------------------------------------------------------------------------------- */

bool store_sweep_due(store *s)
{
    int64_t now = clock_now(), due = atomic_load_explicit(&s->shared->sweep_at, memory_order_relaxed);
    return now >= due && atomic_compare_exchange_strong(&s->shared->sweep_at, &due, now + SWEEP_MS * CLOCK_MS);
}

/* Every record in `calls` begins with the time when it expires. */
static int sweep_calls(transaction *t)
{
    MDB_cursor *c;
    MDB_val k, v;
    int64_t expires, now = clock_now();
    int result = mdb_cursor_open(t->txn, t->store->parts[STORE_CALLS].table, &c);
    if (result)
        return result;
    key from = t->store->swept.size ? t->store->swept : key_make(0, NULL, 0);
    k = key_val(&from);
    int more = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (int seen = 0; more == 0 && seen < SWEEP_MOST; seen++) {
        bool expired = v.mv_size < sizeof expires;
        if (!expired) {
            memcpy(&expires, v.mv_data, sizeof expires);
            expired = expires < now;
        }
        if (expired && (result = mdb_cursor_del(c, 0)) != 0)
            break;
        more = mdb_cursor_get(c, &k, &v, MDB_NEXT); /* after a deletion too: LMDB stands before the next one */
    }
    t->store->swept.size = 0; /* from the beginning again, or from here */
    if (more == 0 && result == 0 && k.mv_size <= sizeof from.bytes) {
        t->store->swept.size = k.mv_size;
        memcpy(t->store->swept.bytes, k.mv_data, k.mv_size);
    }
    mdb_cursor_close(c);
    return result;
}

void store_sweep(store *s)
{
    transaction t;
    lb_error error = {0};
    int stale;
    notice_removal(s);
    if (store_gone(s))
        return;
    keep_young(s);
    for (int i = 0; i < STORE_PARTS; i++)
        mdb_reader_check(s->parts[i].env, &stale);
    if (write_begin(s, STORE_CALLS, 0, clock_in_ms(GUARD_LEAST_MS), &t, &error) == LB_OK)
        write_end(&t, sweep_calls(&t), "clearing away what has expired", &error);
    if (error.status != LB_OK)
        lb_log(LB_LOG_WARNING, "%s", error.message);
}
