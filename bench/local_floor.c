/* See local_floor.h. Pages are not synced; calls have 208 bytes, answers 120, events 250. */
#include "local_floor.h"
#include "bench.h"

#include <linux/futex.h>
#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct words {
    _Alignas(64) _Atomic unsigned to_worker;
    _Alignas(64) _Atomic unsigned to_client;
} words;

typedef struct database {
    MDB_env *env;
    MDB_dbi calls, answers;
} database;

static const char filler[256];

static void check(int result, const char *what)
{
    if (result)
        die("%s: %s", what, mdb_strerror(result));
}

static MDB_txn *begin(MDB_env *env, unsigned flags)
{
    MDB_txn *t;
    check(mdb_txn_begin(env, NULL, flags, &t), "mdb_txn_begin");
    return t;
}

static database open_database(const char *folder)
{
    database d;
    check(mdb_env_create(&d.env), "mdb_env_create");
    check(mdb_env_set_mapsize(d.env, (size_t)4 << 30), "mdb_env_set_mapsize");
    check(mdb_env_set_maxdbs(d.env, 2), "mdb_env_set_maxdbs");
    check(mdb_env_open(d.env, folder, MDB_NOSYNC, 0600), folder);
    MDB_txn *t = begin(d.env, 0);
    check(mdb_dbi_open(t, "calls", MDB_CREATE | MDB_INTEGERKEY, &d.calls), "calls");
    check(mdb_dbi_open(t, "answers", MDB_CREATE | MDB_INTEGERKEY, &d.answers), "answers");
    check(mdb_txn_commit(t), "mdb_txn_commit");
    return d;
}

static void wake(_Atomic unsigned *word)
{
    atomic_fetch_add(word, 1);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void sleep_on(_Atomic unsigned *word, unsigned seen)
{
    while (atomic_load(word) == seen)
        syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void put(MDB_txn *t, MDB_dbi table, size_t id, size_t size, unsigned flags)
{
    MDB_val key = {sizeof id, &id}, value = {size, (void *)(uintptr_t)filler};
    check(mdb_put(t, table, &key, &value, flags), "mdb_put");
}

static void delete (MDB_txn *t, MDB_dbi table, size_t id)
{
    MDB_val key = {sizeof id, &id};
    check(mdb_del(t, table, &key, NULL), "mdb_del");
}

_Noreturn static void answer_calls(const char *folder, words *w)
{
    enum { MOST = 64 };
    database d = open_database(folder);
    for (;;) {
        size_t ids[MOST];
        int n = 0;
        unsigned seen = atomic_load(&w->to_worker);
        MDB_cursor *c;
        MDB_val key, value;
        MDB_txn *t = begin(d.env, 0);
        check(mdb_cursor_open(t, d.calls, &c), "mdb_cursor_open");
        while (n < MOST && mdb_cursor_get(c, &key, &value, n ? MDB_NEXT : MDB_FIRST) == 0)
            memcpy(&ids[n++], key.mv_data, sizeof *ids);
        mdb_cursor_close(c);
        for (int i = 0; i < n; i++) {
            delete (t, d.calls, ids[i]);
            put(t, d.answers, ids[i], 120, 0);
        }
        if (n) {
            check(mdb_txn_commit(t), "mdb_txn_commit");
            wake(&w->to_client);
        } else {
            mdb_txn_abort(t);
            sleep_on(&w->to_worker, seen);
        }
    }
}

static bool answered(const database *d, size_t id)
{
    MDB_val key = {sizeof id, &id}, value;
    MDB_txn *t = begin(d->env, MDB_RDONLY);
    int result = mdb_get(t, d->answers, &key, &value);
    mdb_txn_abort(t);
    return result == 0;
}

double floor_rpc(const char *folder, int in_flight, double seconds)
{
    words *w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t worker = worker_fork();
    if (worker == 0)
        answer_calls(folder, w);
    database d = open_database(folder);
    size_t last = 0, batch = (size_t)in_flight;
    int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    while (now_ns() < end) {
        MDB_txn *t = begin(d.env, 0);
        for (size_t i = 0; i < batch; i++) {
            put(t, d.calls, ++last, 208, MDB_APPEND);
            if (last > batch)
                delete (t, d.answers, last - batch);
        }
        check(mdb_txn_commit(t), "mdb_txn_commit");
        wake(&w->to_worker);
        for (unsigned seen = atomic_load(&w->to_client); !answered(&d, last); seen = atomic_load(&w->to_client))
            sleep_on(&w->to_client, seen);
    }
    double rate = (double)last * 1e9 / (double)(now_ns() - start);
    worker_stop(worker, SIGKILL);
    mdb_env_close(d.env);
    munmap(w, sizeof *w);
    return rate;
}

double floor_append(const char *folder, int batch, double seconds)
{
    database d = open_database(folder);
    size_t last = 0;
    int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    while (now_ns() < end) {
        MDB_txn *t = begin(d.env, 0);
        for (int i = 0; i < batch; i++)
            put(t, d.calls, ++last, 250, MDB_APPEND);
        check(mdb_txn_commit(t), "mdb_txn_commit");
    }
    double rate = (double)last * 1e9 / (double)(now_ns() - start);
    mdb_env_close(d.env);
    return rate;
}
