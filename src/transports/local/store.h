/* The folder of a local bus and what is in it, as one process sees it: shared by all its bus handles.
 *
 *     events, events-lock   LMDB: streams, groups, pending entries, dead letters, ids of events
 *     calls, calls-lock     LMDB: calls, results, schemas; forgotten when the machine restarts
 *     wake                  mapped: the guards of the two databases, and what threads sleep on (wake.h)
 *     open                  locked while a process opens the folder
 *
 * Each database is one table; the first byte of a key tells what its record is. Only who holds a database's
 * guard writes to it: a robust mutex that, unlike LMDB's own, can be waited for until a deadline. Invariants: a
 * process has one LMDB environment per file, and after fork the child has none of its parent's; nothing is held
 * while a thread waits for messages. */
#ifndef LOCAL_STORE_H
#define LOCAL_STORE_H

#include <lightbus/error.h>
#include <lightbus/value.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key.h"
#include "url.h"
#include "wake.h"

enum { STORE_FORMAT = 2, WAKE_FORMAT = 3 }; /* of the databases, of the mapped file */
typedef enum store_part { STORE_EVENTS, STORE_CALLS } store_part;
enum { STORE_PARTS = 2 };
#define STORE_RESERVE (UINT64_C(1) << 20) /* bytes kept for those who take away */
/* How long to wait for a guard, whatever the deadline: a short one does not make a busy moment an error. */
enum { GUARD_LEAST_MS = 1000, GUARD_MOST_MS = 10000 };

typedef struct database {
    const char *name; /* the file's */
    MDB_env *env;
    MDB_dbi table;
    int fd;
    size_t page_size;
    uint64_t map_size;
    int stale;                 /* readers of killed processes, cleared away when it was opened */
    uint64_t allocated;        /* bytes of the file known to be there; under the guard */
    _Atomic int64_t looked_ns; /* when its size was looked at last, on the coarse clock */
} database;

struct wake_head {
    char magic[8];
    uint32_t format;
    char boot[40]; /* of the machine's start: times and locks are of that one */
};

/* The mapped file, made anew by whoever opens the folder alone. */
struct wake_file {
    struct wake_head head;
    _Atomic uint32_t durable;
    _Atomic int64_t sweep_at, groups_swept_at, touch_at;
    _Atomic uint64_t sizes[STORE_PARTS]; /* of the files, as seen last */
    atomic_bool gone;                    /* somebody has removed the folder: it is to be opened again */
    atomic_bool cut_off;                 /* somebody has removed this file alone: who comes has another */
    struct guard {
        pthread_mutex_t mutex; /* taken by trying, since waiting must end at a deadline */
        wake_word released;
        _Atomic pid_t holder; /* for messages */
    } guards[STORE_PARTS];
    _Alignas(4096) wake_table table;
};

typedef struct store {
    char path[PATH_MAX];
    dev_t device; /* of the folder */
    ino_t inode;
    unsigned users;
    int wake_fd;
    int opening_fd; /* the locked file `open`, as long as nobody else may open the folder; or -1 */
    struct wake_file *shared;
    wake_table *wake;
    database parts[STORE_PARTS];
    key copies_swept; /* up to where; under the guard of the events */
    key swept;        /* how far the last sweep of the calls came; under their guard */
    struct store *next;
} store;

/* Opens the folder of the options, making it if needed, or shares it with whoever in this process has it open.
 * LB_ACCESS: not ours, or open to others; LB_UNSUPPORTED: another or a newer format; LB_MALFORMED: damaged;
 * LB_NO_SPACE. */
lb_status store_open(const local_options *options, int64_t deadline_ns, store **s, lb_error *error);
void store_close(store *s); /* NULL is allowed */
/* Gives up one whose folder is gone; others of this process may still be using it, so it stays in memory. */
void store_abandon(store *s);
/* The same for work on the files themselves: nobody else has it open, or can open it until store_close.
 * LB_BUSY. */
lb_status store_open_alone(const local_options *options, int64_t deadline_ns, store **s, lb_error *error);
/* Writes the events to a new file without free pages, and puts it in the place of the old one; forgets the
 * calls. Only store_close may follow. */
lb_status store_compact(store *s, lb_error *error);
/* Removes the files. Only store_close may follow. */
lb_status store_remove(store *s, lb_error *error);

/* ---- Transactions. Keys and values that LMDB gives out are valid until the next write or the end. */

typedef struct transaction {
    store *store;
    store_part part;
    MDB_txn *txn;
} transaction;

/* Begins to write. `room`: bytes that are about to be added; LB_NO_SPACE when there is no room for them beyond
 * the reserve that those have who take away (room 0). */
lb_status write_begin(store *s, store_part part, size_t room, int64_t deadline_ns, transaction *t,
                      lb_error *error);
/* `result`: of the LMDB calls since, 0 if all went well: then it commits, else it aborts. */
lb_status write_end(transaction *t, int result, const char *doing, lb_error *error);
/* The same where the caller needs it on the disk, if the folder is for that. */
lb_status write_end_durably(transaction *t, int result, const char *doing, lb_error *error);
void write_abort(transaction *t);

/* A view of what is committed, kept for the next time. One thread uses it. {0} at first. */
typedef struct view {
    store *store;
    store_part part;
    MDB_txn *txn;
    MDB_txn *inherited;  /* after a fork: the parent's, which cannot be ended here */
    unsigned generation; /* fork_generation() of txn */
} view;
lb_status view_begin(view *v, store *s, store_part part, lb_error *error);
void view_end(view *v);
void view_free(view *v);

/* ---- Small things */

/* An error for what an LMDB or system call returned. */
lb_status store_failed(const store *s, store_part part, int result, const char *doing, lb_error *error);
bool store_durable(const store *s);
bool store_gone(const store *s);
/* Makes the folder's fires durable, for all processes from now on. */
lb_status store_set_durable(store *s, lb_error *error);
/* True for one process in SWEEP_MS: it is to clear away what has expired. */
bool store_sweep_due(store *s);
/* Removes stale readers, and expired calls, results and schemas. Notices when the folder is gone, and keeps its
 * files young: what cleans up old ones in /tmp would take those away that are only mapped. */
void store_sweep(store *s);

uint64_t hash_text(lb_slice text);
/* A number that no other thread, process or past start has; never 0. */
uint64_t unique_number(void);

#endif
