/* Opening and sharing the folder. See store.h. */
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
#include "presence.h"
#include "stream.h"

enum { MOST_READERS = 4096, LOCK_BYTES = MOST_READERS * 64 + 4096 }; /* of LMDB's lock files */
#define CALLS_MOST    (INT64_C(1) << 30)
#define CHECK_AT_ONCE (64 << 20) /* a file up to this size is looked through whenever we are alone */

static const char wake_magic[8] = "lb-wake";
static pthread_mutex_t stores_lock = PTHREAD_MUTEX_INITIALIZER;
static store *stores;    /* those that this process has open */
static store *inherited; /* those that its parent had, or whose folders are gone: they are never closed */

/* ---- Databases -------------------------------------------------------------------------------------- */

static void file_path(const store *s, const char *name, char out[PATH_MAX + 32])
{
    snprintf(out, PATH_MAX + 32, "%s/%s", s->path, name);
}

static void forget_file(const store *s, const char *name)
{
    char path[PATH_MAX + 32];
    file_path(s, name, path);
    unlink(path);
}

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
                     : errno == ENOENT ? LB_TRANSPORT /* the folder was removed this very moment */
                                       : LB_SYSTEM,
                     "%s: %s", path, strerror(errno));
    } else if (o->group_access) {
        fchmod(fd, 0660); /* fails when it is another user's, who has done it */
    }
    return fd;
}

/* The space of a file that is mapped for writing: a full disk is an error now, and no SIGBUS later. */
static lb_status reserve_file(const store *s, const char *name, int fd, off_t size, lb_error *error)
{
    int result;
    do
        result = posix_fallocate(fd, 0, size);
    while (result == EINTR);
    if (result == 0 || result == EOPNOTSUPP || result == EINVAL)
        return LB_OK;
    return lb_error_set(error, result == ENOSPC || result == EDQUOT ? LB_NO_SPACE : LB_SYSTEM, "%s/%s: %s",
                        s->path, name, strerror(result));
}

/* What was made, renamed and removed in the folder, and the folder itself, is on the disk. 0, or an errno. */
static int sync_folder(const store *s)
{
    static const char *const names[] = {".", ".."};
    char path[PATH_MAX + 32];
    int result = 0;
    for (int i = 0; i < 2 && result == 0; i++) {
        file_path(s, names[i], path);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL)
            result = errno;
        if (fd >= 0)
            close(fd);
    }
    return result;
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
    if (id.format < STORE_FORMAT)
        return lb_error_set(
            error, LB_UNSUPPORTED,
            "%s/%s: made by an older Lightbus (format %u; this one knows %d): remove the folder", s->path,
            d->name, id.format, STORE_FORMAT);
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

/* From now on, for all processes: the strictest that any of them asked for. */
lb_status store_set_durable(store *s, lb_error *error)
{
    transaction t;
    if (store_durable(s))
        return LB_OK;
    int result = sync_folder(s);
    if (result)
        return store_failed(s, STORE_EVENTS, result, "making it durable", error);
    lb_status status = write_begin(s, STORE_EVENTS, 0, clock_in_ms(GUARD_MOST_MS), &t, error);
    if (status != LB_OK)
        return status;
    atomic_store(&s->shared->durable, 1);
    return write_end_durably(&t, put_identity(s, t.txn, s->parts[STORE_EVENTS].table), "making it durable",
                             error);
}

static void note_assertion(MDB_env *env, const char *message)
{
    (void)env;
    lb_log(LB_LOG_CRITICAL, "the local bus's database is damaged: %s", message);
}

/* LMDB would make it as long, without the space for it. */
static lb_status make_lock_file(const store *s, store_part part, const local_options *o, lb_error *error)
{
    static const char *const names[] = {[STORE_EVENTS] = "events-lock", [STORE_CALLS] = "calls-lock"};
    int fd = open_file(s, names[part], o, error);
    if (fd < 0)
        return error->status;
    lb_status status = reserve_file(s, names[part], fd, LOCK_BYTES, error);
    close(fd);
    return status;
}

static lb_status open_database(store *s, store_part part, const local_options *o, bool alone, lb_error *error)
{
    database *d = &s->parts[part];
    char path[PATH_MAX + 32];
    struct stat about;
    lb_status status = alone ? make_lock_file(s, part, o, error) : LB_OK;
    if (status != LB_OK)
        return status;
    file_path(s, d->name, path);
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
    if (result == 0 && is_new && o->group_access)
        chmod(path, 0660);
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
    mdb_reader_check(d->env, &d->stale);
    bool empty = false;
    status = identify(s, part, &empty, error);
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

static lb_status check_way(const store *s, lb_error *error)
{
    lb_error why = {0};
    lb_status status = wake_table_check(s->wake, &why);
    return status == LB_OK ? LB_OK : lb_error_set(error, status, "%s: %s", s->path, why.message);
}

/* By a descriptor of its own: a mapping that a forked child has would hold the lock of wake_fd. */
static void *map_apart(const store *s)
{
    char path[PATH_MAX + 32];
    file_path(s, "wake", path);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return MAP_FAILED;
    void *at = mmap(NULL, sizeof(struct wake_file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int number = errno;
    close(fd);
    errno = number;
    return at;
}

/* Maps it. We are alone, or it was written by somebody of the same format. */
static lb_status map_wake_file(store *s, bool alone, lb_error *error)
{
    struct stat about;
    lb_status status = LB_OK;
    if (alone && ftruncate(s->wake_fd, sizeof(struct wake_file)) != 0)
        return lb_error_set(error, errno == ENOSPC ? LB_NO_SPACE : LB_SYSTEM, "%s/wake: %s", s->path,
                            strerror(errno));
    if (alone)
        status = reserve_file(s, "wake", s->wake_fd, sizeof(struct wake_file), error);
    if (status != LB_OK)
        return status;
    if (fstat(s->wake_fd, &about) != 0 || about.st_size != sizeof(struct wake_file))
        return lb_error_set(error, LB_UNSUPPORTED, "%s/wake: of another format, and in use", s->path);
    void *at = map_apart(s);
    if (at == MAP_FAILED)
        return lb_error_set(error, LB_SYSTEM, "%s/wake: mmap: %s", s->path, strerror(errno));
    s->shared = at;
    s->wake = &s->shared->table;
    if (!alone && (memcmp(s->shared->head.magic, wake_magic, 8) != 0 || s->shared->head.format != WAKE_FORMAT))
        return lb_error_set(error, LB_UNSUPPORTED, "%s/wake: of format %u, and in use; this Lightbus knows %d",
                            s->path, s->shared->head.format, WAKE_FORMAT);
    return alone ? LB_OK : check_way(s, error);
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
    forget_file(s, "calls");
    forget_file(s, "calls-lock");
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
    forget_file(s, "events-new"); /* of a compaction that was killed */
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
    s->shared->head.format = WAKE_FORMAT;
    s->shared->groups_swept_at = clock_now();
    status = make_guards(s->shared, error);
    if (status == LB_OK)
        status = wake_table_init(s->wake, error);
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

/* Others hold it for the moment that they need to open the folder. */
static lb_status wait_for_opening(const store *s, int fd, int64_t deadline_ns, lb_error *error)
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

/* Whoever had it locked may have removed it with the folder: then it is another one that is to be locked. */
static lb_status lock_opening(store *s, const local_options *o, int64_t deadline_ns, lb_error *error)
{
    struct stat about = {.st_nlink = 0};
    lb_status status = LB_OK;
    while (status == LB_OK && about.st_nlink == 0) {
        if (s->opening_fd >= 0)
            close(s->opening_fd);
        s->opening_fd = open_file(s, "open", o, error);
        status = s->opening_fd < 0 ? error->status : wait_for_opening(s, s->opening_fd, deadline_ns, error);
        if (status == LB_OK && fstat(s->opening_fd, &about) != 0)
            status = lb_error_set(error, LB_SYSTEM, "%s/open: %s", s->path, strerror(errno));
    }
    return status;
}

static void close_locks(store *s)
{
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    if (s->opening_fd >= 0)
        close(s->opening_fd);
    s->wake_fd = s->opening_fd = -1;
}

static void free_store(store *s)
{
    for (int i = 0; i < STORE_PARTS; i++)
        close_database(&s->parts[i]);
    if (s->shared)
        munmap(s->shared, sizeof *s->shared);
    close_locks(s);
    free(s);
}

static lb_status open_files(store *s, const local_options *o, bool must_be_alone, lb_error *error)
{
    bool rebooted = false;
    if ((s->wake_fd = open_file(s, "wake", o, error)) < 0)
        return error->status;
    bool alone = flock(s->wake_fd, LOCK_EX | LOCK_NB) == 0;
    if (must_be_alone && !alone)
        return lb_error_set(error, LB_BUSY, "%s is in use by another process", s->path);
    lb_status status = alone ? prepare_alone(s, &rebooted, error) : check_in_use(s, error);
    for (int i = 0; i < STORE_PARTS && status == LB_OK; i++)
        status = open_database(s, i, o, alone, error);
    if (status == LB_OK && o->durable)
        status = store_set_durable(s, error);
    if (status == LB_OK && rebooted)
        status = streams_end_leases(s, error);
    if (status == LB_OK && alone)
        status = presence_begin(s, error);
    if (status == LB_OK && flock(s->wake_fd, LOCK_SH) != 0)
        status = lb_error_set(error, LB_SYSTEM, "%s/wake: flock: %s", s->path, strerror(errno));
    return status;
}

static lb_status open_new(const local_options *o, const struct stat *about, bool alone, int64_t deadline_ns,
                          store **out, lb_error *error)
{
    store *s = calloc(1, sizeof *s);
    if (!s)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    *s = (store){.device = about->st_dev,
                 .inode = about->st_ino,
                 .wake_fd = -1,
                 .opening_fd = -1,
                 .parts = {[STORE_EVENTS] = {.name = "events"}, [STORE_CALLS] = {.name = "calls"}}};
    snprintf(s->path, sizeof s->path, "%s", o->folder);
    lb_status status = lock_opening(s, o, deadline_ns, error);
    if (status == LB_OK)
        status = open_files(s, o, alone, error);
    if (status == LB_OK && !alone) {
        close(s->opening_fd);
        s->opening_fd = -1;
    }
    if (status != LB_OK) {
        free_store(s);
        s = NULL;
    }
    *out = s;
    return status;
}

/* A fork waits until no folder is being opened. */
static void before_fork(void) { pthread_mutex_lock(&stores_lock); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&stores_lock); }

/* The parent's environments stay where they are: closing one here would release locks of ours on the same
 * files. Its own locks are the parent's as long as a copy of their descriptors is open anywhere. */
static void after_fork_in_child(void)
{
    store **at = &inherited;
    while (*at)
        at = &(*at)->next;
    *at = stores;
    stores = NULL;
    for (store *s = inherited; s; s = s->next)
        close_locks(s);
    pthread_mutex_unlock(&stores_lock);
}

static void watch_forks(void) { pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

/* Opens the folder, or shares it with whoever in this process has it open, unless it is wanted `alone`. */
static lb_status open_or_share(const local_options *options, bool alone, int64_t deadline_ns, store **out,
                               lb_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct stat about;
    lb_status status = folder_prepare(options, &about, error);
    *out = NULL;
    if (status != LB_OK)
        return status;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&stores_lock);
    store *s = stores;
    while (s && (s->device != about.st_dev || s->inode != about.st_ino))
        s = s->next;
    if (s && alone) {
        status = lb_error_set(error, LB_BUSY, "%s is in use by this process", s->path);
    } else if (s && options->durable) {
        status = store_set_durable(s, error);
    } else if (!s) {
        status = open_new(options, &about, alone, deadline_ns, &s, error);
        if (s) {
            s->next = stores;
            stores = s;
        }
    }
    if (s && status == LB_OK) {
        s->users++;
        *out = s;
    }
    pthread_mutex_unlock(&stores_lock);
    return status;
}

lb_status store_open(const local_options *options, int64_t deadline_ns, store **s, lb_error *error)
{
    lb_error why = {0};
    return open_or_share(options, false, deadline_ns, s, error ? error : &why);
}

lb_status store_open_alone(const local_options *options, int64_t deadline_ns, store **s, lb_error *error)
{
    lb_error why = {0};
    return open_or_share(options, true, deadline_ns, s, error ? error : &why);
}

void store_close(store *s)
{
    if (s && store_gone(s)) {
        store_abandon(s);
        return;
    }
    if (!s)
        return;
    pthread_mutex_lock(&stores_lock);
    if (--s->users == 0) {
        store **at = &stores;
        while (*at != s)
            at = &(*at)->next;
        *at = s->next;
        if (s->parts[STORE_EVENTS].env)
            mdb_env_sync(s->parts[STORE_EVENTS].env, 1);
        free_store(s);
    }
    pthread_mutex_unlock(&stores_lock);
}

void store_abandon(store *s)
{
    pthread_mutex_lock(&stores_lock);
    store **at = &stores;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at) {
        *at = s->next;
        s->next = inherited;
        inherited = s;
    }
    pthread_mutex_unlock(&stores_lock);
}

/* ---- Work on the files ------------------------------------------------------------------------------ */

/* The new file is nobody else's to read before it has the mode of the old one. */
static int copy_compacted(const store *s, const char *path)
{
    const database *d = &s->parts[STORE_EVENTS];
    struct stat about;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int result = mdb_env_copyfd2(d->env, fd, MDB_CP_COMPACT);
    if (result == 0 && (fstat(d->fd, &about) != 0 || fchmod(fd, about.st_mode & 0777) != 0 || fsync(fd) != 0))
        result = errno;
    close(fd);
    return result;
}

lb_status store_compact(store *s, lb_error *error)
{
    char path[PATH_MAX + 32], compact[PATH_MAX + 32];
    file_path(s, "events", path);
    file_path(s, "events-new", compact);
    int result = copy_compacted(s, compact);
    if (result == 0 && rename(compact, path) != 0)
        result = errno;
    if (result == 0)
        result = sync_folder(s);
    if (result) {
        unlink(compact);
        return store_failed(s, STORE_EVENTS, result, "compacting", error);
    }
    for (int i = 0; i < STORE_PARTS; i++)
        close_database(&s->parts[i]);
    forget_file(s, "events-lock");
    forget_calls(s);
    return LB_OK;
}

lb_status store_remove(store *s, lb_error *error)
{
    static const char *const names[] = {"events",     "events-lock", "events-new", "calls",
                                        "calls-lock", "wake",        "open"};
    for (int i = 0; i < STORE_PARTS; i++)
        close_database(&s->parts[i]);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        forget_file(s, names[i]);
    return rmdir(s->path) == 0
               ? LB_OK
               : lb_error_set(error, LB_SYSTEM, "%s cannot be removed: %s", s->path, strerror(errno));
}
