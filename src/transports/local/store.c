/* Opening and sharing the folder, transactions, room, failures. See store.h. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <lightbus/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../base/clock.h"
#include "check.h"
#include "folder.h"
#include "key.h"
#include "stream.h"

enum {
    MOST_READERS = 4096,
    GUARD_LEAST_MS = 1000, /* a short deadline does not make a busy moment an error */
    GUARD_MOST_MS = 10000,
    GUARD_LOOK_MS = 20, /* how long a killed holder may go unnoticed */
    SWEEP_MS = 5000,
    SWEEP_MOST = 20000,
};
#define CALLS_MOST    (INT64_C(1) << 30)
#define RESERVE       (UINT64_C(1) << 20) /* bytes kept for those who take away */
#define CHECK_AT_ONCE (64 << 20)          /* a file up to this size is looked through whenever we are alone */

struct wake_head {
    char magic[8];
    uint32_t format;
    char boot[40]; /* of the machine's start: times and locks are of that one */
};

/* The mapped file, made anew by whoever opens the folder alone. */
struct wake_file {
    struct wake_head head;
    _Atomic uint32_t durable;
    _Atomic int64_t sweep_at;
    struct guard {
        pthread_mutex_t mutex; /* taken by trying, since waiting must end at a deadline */
        wake_word released;
        _Atomic pid_t holder; /* for messages */
    } guards[STORE_PARTS];
    _Alignas(4096) wake_table table;
};

static const char wake_magic[8] = "lb-wake";
static pthread_mutex_t stores_lock = PTHREAD_MUTEX_INITIALIZER;
static store *stores;    /* those that this process has open */
static store *inherited; /* those that its parent had: they cannot be closed here */

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
                        mdb_strerror(result));
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

/* ---- Databases -------------------------------------------------------------------------------------- */

static void file_path(const store *s, const char *name, char out[PATH_MAX + 32])
{
    snprintf(out, PATH_MAX + 32, "%s/%s", s->path, name);
}

static void close_database(database *d)
{
    if (d->env)
        mdb_env_close(d->env);
    d->env = NULL;
}

/* The record that says whose database it is. */
typedef struct identity {
    int64_t expires_ns; /* never; in `calls` every record begins so */
    char magic[8];
    uint32_t format, durable;
} identity;

static lb_status check_identity(store *s, store_part part, const MDB_val *v, lb_error *error)
{
    identity id;
    const database *d = &s->parts[part];
    if (!v || v->mv_size != sizeof id || memcmp((char *)v->mv_data + 8, "lightbus", 8) != 0)
        return lb_error_set(error, LB_UNSUPPORTED, "%s/%s: a database, but none of a local bus", s->path,
                            d->name);
    memcpy(&id, v->mv_data, sizeof id);
    if (id.format > STORE_FORMAT)
        return lb_error_set(error, LB_UNSUPPORTED,
                            "%s/%s: made by a newer Lightbus (format %u; this one knows %d)", s->path, d->name,
                            id.format, STORE_FORMAT);
    if (id.format < 1)
        return lb_error_set(error, LB_MALFORMED, "%s/%s: damaged: format %u", s->path, d->name, id.format);
    if (part == STORE_EVENTS && id.durable)
        atomic_store(&s->shared->durable, 1);
    return LB_OK;
}

static int put_identity(const store *s, MDB_txn *txn, MDB_dbi table)
{
    identity id = {
        .expires_ns = INT64_MAX, .format = STORE_FORMAT, .durable = atomic_load(&s->shared->durable)};
    memcpy(id.magic, "lightbus", 8);
    key k = key_1(KEY_IDENTITY, 0);
    MDB_val kv = key_val(&k), v = {sizeof id, &id};
    return mdb_put(txn, table, &kv, &v, 0);
}

/* Looks whose database it is. Reading alone: a stopped writer must not keep others from opening. */
static lb_status identify(store *s, store_part part, bool *is_new, lb_error *error)
{
    database *d = &s->parts[part];
    MDB_txn *txn = NULL;
    MDB_stat stat = {0};
    key k = key_1(KEY_IDENTITY, 0);
    MDB_val kv = key_val(&k), v;
    lb_status status = LB_OK;
    int result = mdb_txn_begin(d->env, NULL, MDB_RDONLY, &txn);
    if (result == 0)
        result = mdb_dbi_open(txn, NULL, 0, &d->table);
    if (result == 0)
        result = mdb_stat(txn, d->table, &stat);
    *is_new = stat.ms_entries == 0;
    if (result == 0 && !*is_new) {
        result = mdb_get(txn, d->table, &kv, &v);
        status = check_identity(s, part, result == 0 ? &v : NULL, error);
        result = result == MDB_NOTFOUND ? 0 : result;
    }
    if (txn)
        mdb_txn_abort(txn);
    return status == LB_OK && result ? store_failed(s, part, result, "opening", error) : status;
}

/* Marks a new database as ours. */
static lb_status mark(store *s, store_part part, lb_error *error)
{
    transaction t;
    lb_status status = write_begin(s, part, 1, clock_in_ms(GUARD_MOST_MS), &t, error);
    return status == LB_OK
               ? write_end_durably(&t, put_identity(s, t.txn, s->parts[part].table), "opening", error)
               : status;
}

static void note_assertion(MDB_env *env, const char *message)
{
    (void)env;
    lb_log(LB_LOG_CRITICAL, "the local bus's database is damaged: %s", message);
}

static lb_status open_database(store *s, store_part part, const local_options *o, lb_error *error)
{
    database *d = &s->parts[part];
    char path[PATH_MAX + 32], lock[PATH_MAX + 40];
    struct stat about;
    int stale;
    file_path(s, d->name, path);
    snprintf(lock, sizeof lock, "%s-lock", path);
    bool is_new = stat(path, &about) != 0 || about.st_size == 0;
    int64_t most = part == STORE_CALLS && o->max_size > CALLS_MOST ? CALLS_MOST : o->max_size;
    int result = mdb_env_create(&d->env);
    if (result == 0)
        result = mdb_env_set_maxreaders(d->env, MOST_READERS);
    if (result == 0 && is_new)
        result = mdb_env_set_mapsize(d->env, (size_t)(most / 65536 * 65536));
    if (result == 0) {
        mdb_env_set_assert(d->env, note_assertion);
        result =
            mdb_env_open(d->env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOTLS, o->group_access ? 0660 : 0600);
    }
    if (result == 0 && is_new && o->group_access) {
        chmod(path, 0660);
        chmod(lock, 0660);
    }
    if (result == 0)
        result = mdb_env_get_fd(d->env, &d->fd);
    if (result)
        return store_failed(s, part, result, "opening", error);
    MDB_envinfo info;
    MDB_stat stat_of_env;
    mdb_env_info(d->env, &info);
    mdb_env_stat(d->env, &stat_of_env);
    d->map_size = info.me_mapsize;
    d->page_size = stat_of_env.ms_psize;
    mdb_reader_check(d->env, &stale);
    bool empty = false;
    lb_status status = identify(s, part, &empty, error);
    return status == LB_OK && empty ? mark(s, part, error) : status;
}

/* ---- The mapped file -------------------------------------------------------------------------------- */

static void read_boot(char out[40])
{
    memset(out, 0, 40);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, out, 36) < 0)
        out[0] = '?';
    if (fd >= 0)
        close(fd);
}

static lb_status make_guards(struct wake_file *w, lb_error *error)
{
    pthread_mutexattr_t a;
    int result = pthread_mutexattr_init(&a);
    if (result == 0)
        result = pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    if (result == 0)
        result = pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    for (int i = 0; i < STORE_PARTS && result == 0; i++)
        result = pthread_mutex_init(&w->guards[i].mutex, &a);
    pthread_mutexattr_destroy(&a);
    return result ? lb_error_set(error, LB_SYSTEM, "a mutex between processes: %s", strerror(result)) : LB_OK;
}

/* Maps it. We are alone, or it was written by somebody of the same format. */
static lb_status map_wake_file(store *s, bool alone, lb_error *error)
{
    struct stat about;
    if (alone && ftruncate(s->wake_fd, sizeof(struct wake_file)) != 0)
        return lb_error_set(error, errno == ENOSPC ? LB_NO_SPACE : LB_SYSTEM, "%s/wake: %s", s->path,
                            strerror(errno));
    if (alone && posix_fallocate(s->wake_fd, 0, sizeof(struct wake_file)) == ENOSPC)
        return lb_error_set(error, LB_NO_SPACE, "%s/wake: no space left", s->path);
    if (fstat(s->wake_fd, &about) != 0 || about.st_size != sizeof(struct wake_file))
        return lb_error_set(error, LB_UNSUPPORTED, "%s/wake: of another format, and in use", s->path);
    void *at = mmap(NULL, sizeof(struct wake_file), PROT_READ | PROT_WRITE, MAP_SHARED, s->wake_fd, 0);
    if (at == MAP_FAILED)
        return lb_error_set(error, LB_SYSTEM, "%s/wake: mmap: %s", s->path, strerror(errno));
    s->shared = at;
    s->wake = &s->shared->table;
    if (!alone && (memcmp(s->shared->head.magic, wake_magic, 8) != 0 || s->shared->head.format != STORE_FORMAT))
        return lb_error_set(error, LB_UNSUPPORTED, "%s/wake: of format %u, and in use; this Lightbus knows %d",
                            s->path, s->shared->head.format, STORE_FORMAT);
    return LB_OK;
}

static bool same_boot(const store *s, const char boot[40])
{
    struct wake_head head;
    return pread(s->wake_fd, &head, sizeof head, 0) == (ssize_t)sizeof head &&
           memcmp(head.magic, wake_magic, 8) == 0 && memcmp(head.boot, boot, 40) == 0;
}

/* ---- Opening alone ---------------------------------------------------------------------------------- */

static void forget_calls(const store *s)
{
    char path[PATH_MAX + 32];
    file_path(s, "calls", path);
    unlink(path);
    file_path(s, "calls-lock", path);
    unlink(path);
}

/* Nobody else has the folder open: looks at the files before LMDB maps them, and begins a new wake file. */
static lb_status prepare_alone(store *s, bool *rebooted, lb_error *error)
{
    char path[PATH_MAX + 32], boot[40];
    struct stat about;
    lb_error why = {0};
    read_boot(boot);
    *rebooted = !same_boot(s, boot);
    if (*rebooted)
        forget_calls(s);
    file_path(s, "events", path);
    bool whole = *rebooted || (stat(path, &about) == 0 && about.st_size <= CHECK_AT_ONCE);
    lb_status status = check_file(path, whole, error);
    if (status != LB_OK)
        return status;
    file_path(s, "calls", path);
    if (check_file(path, true, &why) != LB_OK) {
        lb_log(LB_LOG_WARNING, "%s; calls, results and schemas begin anew", why.message);
        forget_calls(s);
    }
    status = map_wake_file(s, true, error);
    if (status != LB_OK)
        return status;
    memset(s->shared, 0, sizeof *s->shared);
    memcpy(s->shared->head.boot, boot, 40);
    s->shared->head.format = STORE_FORMAT;
    status = make_guards(s->shared, error);
    memcpy(s->shared->head.magic, wake_magic, 8);
    return status;
}

static lb_status check_in_use(store *s, lb_error *error)
{
    char path[PATH_MAX + 32];
    lb_status status = map_wake_file(s, false, error);
    for (int i = 0; i < STORE_PARTS && status == LB_OK; i++) {
        file_path(s, s->parts[i].name, path);
        status = check_file(path, false, error);
    }
    return status;
}

/* ---- Opening ---------------------------------------------------------------------------------------- */

static int open_file(const store *s, const char *name, const local_options *o, lb_error *error)
{
    char path[PATH_MAX + 32];
    file_path(s, name, path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, o->group_access ? 0660 : 0600);
    if (fd < 0) {
        bool access = errno == EACCES || errno == EROFS || errno == EPERM;
        lb_error_set(error,
                     access            ? LB_ACCESS
                     : errno == ENOSPC ? LB_NO_SPACE
                                       : LB_SYSTEM,
                     "%s: %s", path, strerror(errno));
    } else if (o->group_access) {
        fchmod(fd, 0660); /* fails when it is another user's, who has done it */
    }
    return fd;
}

/* Others hold it for the moment that they need to open the folder. */
static lb_status lock_opening(const store *s, int fd, int64_t deadline_ns, lb_error *error)
{
    int64_t least = clock_in_ms(GUARD_LEAST_MS), most = clock_in_ms(GUARD_MOST_MS);
    int64_t until = deadline_ns < least ? least : deadline_ns > most ? most : deadline_ns;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return lb_error_set(error, LB_SYSTEM, "%s/open: flock: %s", s->path, strerror(errno));
        if (clock_now() >= until)
            return lb_error_set(
                error, LB_TRANSPORT,
                "%s: another process has been opening this folder for too long (is it stopped?)", s->path);
        nanosleep(&(struct timespec){0, 2 * CLOCK_MS}, NULL);
    }
    return LB_OK;
}

static void free_store(store *s)
{
    for (int i = 0; i < STORE_PARTS; i++)
        close_database(&s->parts[i]);
    if (s->shared)
        munmap(s->shared, sizeof *s->shared);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    free(s);
}

static lb_status open_files(store *s, const local_options *o, lb_error *error)
{
    bool rebooted = false;
    if ((s->wake_fd = open_file(s, "wake", o, error)) < 0)
        return error ? error->status : LB_SYSTEM;
    bool alone = flock(s->wake_fd, LOCK_EX | LOCK_NB) == 0;
    lb_status status = alone ? prepare_alone(s, &rebooted, error) : check_in_use(s, error);
    for (int i = 0; i < STORE_PARTS && status == LB_OK; i++)
        status = open_database(s, i, o, error);
    if (status == LB_OK && o->durable)
        status = store_set_durable(s, error);
    if (status == LB_OK && rebooted)
        status = streams_end_leases(s, error);
    if (status == LB_OK && flock(s->wake_fd, LOCK_SH) != 0)
        status = lb_error_set(error, LB_SYSTEM, "%s/wake: flock: %s", s->path, strerror(errno));
    return status;
}

static lb_status open_new(const local_options *o, const struct stat *about, int64_t deadline_ns, store **out,
                          lb_error *error)
{
    store *s = calloc(1, sizeof *s);
    if (!s)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    *s = (store){.device = about->st_dev,
                 .inode = about->st_ino,
                 .wake_fd = -1,
                 .parts = {[STORE_EVENTS] = {.name = "events"}, [STORE_CALLS] = {.name = "calls"}}};
    snprintf(s->path, sizeof s->path, "%s", o->folder);
    int fd = open_file(s, "open", o, error);
    lb_status status = fd < 0 ? (error ? error->status : LB_SYSTEM) : lock_opening(s, fd, deadline_ns, error);
    if (status == LB_OK)
        status = open_files(s, o, error);
    if (fd >= 0)
        close(fd);
    if (status != LB_OK) {
        free_store(s);
        s = NULL;
    }
    *out = s;
    return status;
}

/* In the child of a fork. The parent's environments stay where they are: closing one here would release locks
 * of ours on the same files. */
static void forget_stores(void)
{
    pthread_mutex_init(&stores_lock, NULL);
    store **at = &inherited;
    while (*at)
        at = &(*at)->next;
    *at = stores;
    stores = NULL;
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_stores); }

lb_status store_open(const local_options *options, int64_t deadline_ns, store **out, lb_error *error)
{
    struct stat about;
    lb_error local = {0};
    lb_status status = folder_prepare(options, &about, error ? error : &local);
    *out = NULL;
    if (status != LB_OK)
        return status;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&stores_lock);
    store *s = stores;
    while (s && (s->device != about.st_dev || s->inode != about.st_ino))
        s = s->next;
    if (!s) {
        status = open_new(options, &about, deadline_ns, &s, error ? error : &local);
        if (s) {
            s->next = stores;
            stores = s;
        }
    } else if (options->durable) {
        status = store_set_durable(s, error);
    }
    if (s && status == LB_OK) {
        s->users++;
        *out = s;
    }
    pthread_mutex_unlock(&stores_lock);
    return status;
}

void store_close(store *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&stores_lock);
    if (--s->users == 0) {
        store **at = &stores;
        while (*at != s)
            at = &(*at)->next;
        *at = s->next;
        mdb_env_sync(s->parts[STORE_EVENTS].env, 1);
        free_store(s);
    }
    pthread_mutex_unlock(&stores_lock);
}

/* ---- Guards ----------------------------------------------------------------------------------------- */

/* Tries again after each release. A holder that was killed releases nothing: it is found by trying. */
static int lock_until(struct guard *g, int64_t until_ns)
{
    int result;
    for (;;) {
        uint32_t seen = atomic_load(&g->released.generation);
        result = pthread_mutex_trylock(&g->mutex);
        int64_t look_again = clock_in_ms(GUARD_LOOK_MS);
        if (result != EBUSY || clock_now() >= until_ns)
            return result;
        wake_word_wait(&g->released, seen, look_again < until_ns ? look_again : until_ns);
    }
}

static lb_status guard_lock(store *s, store_part part, int64_t deadline_ns, lb_error *error)
{
    struct guard *g = &s->shared->guards[part];
    int result = pthread_mutex_trylock(&g->mutex);
    if (result == EBUSY) {
        int64_t least = clock_in_ms(GUARD_LEAST_MS), most = clock_in_ms(GUARD_MOST_MS);
        result = lock_until(g, deadline_ns < least ? least : deadline_ns > most ? most : deadline_ns);
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
    wake_word_wake(&g->released, 1);
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

/* Sees to it that the file has room for so much and the reserve behind its last page, or holds enough free
 * pages. The guard is held. 0, or what is to be said of it. */
static int make_room(database *d, MDB_txn *txn, size_t bytes)
{
    MDB_envinfo info;
    struct stat about;
    mdb_env_info(d->env, &info);
    uint64_t used = (info.me_last_pgno + 1) * d->page_size, add = 2 * (uint64_t)bytes + RESERVE,
             need = used + add;
    if (need <= d->allocated)
        return 0;
    if (fstat(d->fd, &about) == 0)
        d->allocated = (uint64_t)about.st_size;
    if (need <= d->allocated)
        return 0;
    int result = MDB_MAP_FULL;
    if (need <= d->map_size) {
        uint64_t more = need / 8 < RESERVE ? RESERVE : need / 8, target = need + more;
        if (target > d->map_size)
            target = d->map_size;
        result = fallocate(d->fd, 0, (off_t)d->allocated, (off_t)(target - d->allocated)) == 0 ? 0 : errno;
        if (result == 0)
            d->allocated = target;
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
    int result = mdb_txn_begin(d->env, NULL, 0, &t->txn);
    if (result == 0 && room) {
        result = make_room(d, t->txn, room);
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

lb_status view_begin(view *v, store *s, store_part part, lb_error *error)
{
    int result = -1, stale;
    if (v->txn && v->store == s) {
        result = mdb_txn_renew(v->txn);
        if (result)
            view_free(v);
    }
    for (int attempt = 0; result && attempt < 2; attempt++) {
        *v = (view){s, part, NULL, v->inherited};
        result = mdb_txn_begin(s->parts[part].env, NULL, MDB_RDONLY, &v->txn);
        if (result == MDB_READERS_FULL)
            mdb_reader_check(s->parts[part].env, &stale);
    }
    if (result)
        v->txn = NULL;
    return result ? store_failed(s, part, result, "reading", error) : LB_OK;
}

void view_end(view *v) { mdb_txn_reset(v->txn); }

void view_free(view *v)
{
    if (v->txn)
        mdb_txn_abort(v->txn);
    v->txn = NULL;
}

/* ---- Durability ------------------------------------------------------------------------------------- */

bool store_durable(const store *s) { return atomic_load_explicit(&s->shared->durable, memory_order_relaxed); }

/* From now on, for all processes: the strictest that any of them asked for. */
lb_status store_set_durable(store *s, lb_error *error)
{
    transaction t;
    if (store_durable(s))
        return LB_OK;
    lb_status status = write_begin(s, STORE_EVENTS, 0, clock_in_ms(GUARD_MOST_MS), &t, error);
    if (status != LB_OK)
        return status;
    atomic_store(&s->shared->durable, 1);
    return write_end_durably(&t, put_identity(s, t.txn, s->parts[STORE_EVENTS].table), "making it durable",
                             error);
}

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
    int more = mdb_cursor_get(c, &k, &v, MDB_FIRST);
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
    mdb_cursor_close(c);
    return result;
}

void store_sweep(store *s)
{
    transaction t;
    lb_error error = {0};
    int stale;
    for (int i = 0; i < STORE_PARTS; i++)
        mdb_reader_check(s->parts[i].env, &stale);
    if (write_begin(s, STORE_CALLS, 0, clock_in_ms(GUARD_LEAST_MS), &t, &error) == LB_OK)
        write_end(&t, sweep_calls(&t), "clearing away what has expired", &error);
    if (error.status != LB_OK)
        lb_log(LB_LOG_WARNING, "%s", error.message);
}
