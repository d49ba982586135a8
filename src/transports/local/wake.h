/* Waking across processes: a mapped file of words. What is waited for (a queue, a stream, a client's results)
 * has a number, which is hashed to a word; a word holds a generation that counts what happened, so that a
 * waiter who looked at it before it looked for work misses nothing. Two things may share a word: a wake-up may
 * be for another, never the other way round. What wakes everybody has words of its own: a listener does not
 * pass on a wake-up that it took from the one worker for whom it was.
 *
 * How a thread sleeps is the table's way, the same for all processes of a folder: on the word itself where
 * there are futexes (wake_futex.c), else on a semaphore of its own (wake_semaphore.c).
 *
 * A process may be killed at any instruction: all that stays of a waiter is a count that is too high, and a
 * semaphore that its successor takes over, which cost the next waker a system call. A waker that is killed
 * between its commit and its wake-up leaves waiters to their own time: none sleeps longer than WAKE_LONGEST_MS.
 */
#ifndef LOCAL_WAKE_H
#define LOCAL_WAKE_H

#include <lightbus/error.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { WAKE_WORDS = 1024, WAKE_SLOTS = 512, WAKE_LONGEST_MS = 1000, WAKE_ALL = 0x7fffffff };

typedef struct wake_word {
    _Atomic uint32_t generation, waiters;
    _Atomic uint32_t polled; /* somebody polls a descriptor instead, see caller.c */
    char rest[52];
} wake_word;

/* A thread that waits, where there are no futexes. */
typedef struct wake_slot {
    _Atomic pid_t owner; /* its process; 0: free */
    atomic_bool armed;   /* it is about to sleep or sleeps, and nobody has woken it yet */
    sem_t woken;
    _Atomic uint64_t words[WAKE_WORDS / 64]; /* what it waits for, a bit for each word */
} wake_slot;

/* In the mapped file. */
typedef struct wake_table {
    wake_word any; /* for those who wait for more words than the kernel takes at once */
    wake_word words[WAKE_WORDS];
    uint32_t way;                /* how those who wait sleep, see wake_way.h */
    _Atomic uint32_t slots_used; /* those behind were never taken */
    wake_slot slots[WAKE_SLOTS];
} wake_table;

/* For who makes the file: a table, all zeroes before, of the way that suits this process. LB_CONFIG: the
 * environment ($LIGHTBUS_WAKING) asks for one that there is not. */
lb_status wake_table_init(wake_table *t, lb_error *error);
/* For who finds it: LB_UNSUPPORTED, when this process cannot wait in its way, or was told not to. */
lb_status wake_table_check(const wake_table *t, lb_error *error);

/* The number to wait for: of calls, which wake so many workers of their API, or of what wakes all who wait. */
static inline uint64_t wake_some_of(uint64_t api) { return api & ~UINT64_C(1); }
static inline uint64_t wake_all_of(uint64_t what) { return what | 1; }

/* Something happened; wakes so many of those who wait for it. Only async-signal-safe functions are used. */
void wake_waiters(wake_table *t, uint64_t what, int waiters);
static inline void wake_some(wake_table *t, uint64_t api, int waiters)
{
    wake_waiters(t, wake_some_of(api), waiters);
}
static inline void wake_all(wake_table *t, uint64_t what) { wake_waiters(t, wake_all_of(what), WAKE_ALL); }
static inline wake_word *wake_word_of(wake_table *t, uint64_t what) { return &t->words[what % WAKE_WORDS]; }

/* The same for a word that is none of the table's, but is slept on in its way. Waits while the generation is
 * `seen`, until the deadline at most; may return early. */
void wake_word_wake(wake_table *t, wake_word *w, int waiters);
void wake_word_wait(wake_table *t, wake_word *w, uint32_t seen, int64_t deadline_ns);

/* What one thread waits for. */
typedef struct wake_set {
    wake_table *table;
    uint32_t *words; /* indexes, each once */
    uint32_t *seen;  /* their generations */
    uint32_t seen_any;
    size_t count;
    bool any;                 /* there are too many words */
    wake_slot *slot;          /* NULL: none yet */
    unsigned slot_generation; /* fork_generation() of its owner */
    atomic_bool interrupted;
} wake_set;

/* `what` has at least one number. False when memory is short. wake_set_free is due in either case. */
bool wake_set_init(wake_set *s, const uint64_t *what, size_t count);
void wake_set_free(wake_set *s);
/* Notes the generations. To be called before looking for work. */
void wake_set_look(wake_set *s, wake_table *t);
/* Waits until something happened since wake_set_look (true), or the deadline. */
bool wake_set_wait(wake_set *s, int64_t deadline_ns);
/* Ends the present or else the next wait. Any thread, signal handlers. */
void wake_set_interrupt(wake_set *s);
/* Was it interrupted? Forgets it. */
bool wake_set_interrupted(wake_set *s);
/* Something had happened, and it found nothing for itself: the wake-up may have been meant for another. Each
 * waiter passes a generation on once, so this comes to an end. */
void wake_set_pass_on(wake_set *s);

#endif
