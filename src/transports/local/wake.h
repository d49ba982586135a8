/* Waking across processes: a mapped file of futex words. What is waited for (a queue, a stream, a client's
 * results) has a number, which is hashed to a word; a word holds a generation that counts what happened, so
 * that a waiter who looked at it before it looked for work misses nothing. Two things may share a word: a
 * wake-up may be for another, never the other way round.
 *
 * A process may be killed at any instruction: all that stays of a waiter is a count that is too high, which
 * costs the next waker a system call. A waker that is killed between its commit and its wake-up leaves waiters
 * to their own time: none sleeps longer than WAKE_LONGEST_MS. */
#ifndef LOCAL_WAKE_H
#define LOCAL_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WAKE_WORDS = 1024, WAKE_MOST_WORDS = 128, WAKE_LONGEST_MS = 1000, WAKE_ALL = 0x7fffffff };

typedef struct wake_word {
    _Atomic uint32_t generation, waiters;
    _Atomic uint32_t polled; /* somebody polls a descriptor instead, see caller.c */
    char rest[52];
} wake_word;

/* Something happened; wakes so many of those who wait for it. Only async-signal-safe functions are used. */
void wake_word_wake(wake_word *w, int waiters);
/* Waits while the generation is `seen`, until the deadline at most; may return early. */
void wake_word_wait(wake_word *w, uint32_t seen, int64_t deadline_ns);

/* In the mapped file. */
typedef struct wake_table {
    wake_word any; /* for those who wait for more words than the kernel takes at once */
    wake_word words[WAKE_WORDS];
} wake_table;

void wake_up(wake_table *t, uint64_t what, int waiters);
static inline wake_word *wake_word_of(wake_table *t, uint64_t what) { return &t->words[what % WAKE_WORDS]; }

/* What one thread waits for. */
typedef struct wake_set {
    wake_table *table;
    uint32_t *words; /* indexes, each once */
    uint32_t *seen;  /* their generations */
    uint32_t seen_any;
    size_t count;
    bool any; /* there are too many words */
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
