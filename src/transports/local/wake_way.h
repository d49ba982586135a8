/* How a thread sleeps until another process wakes it: one table of functions per way, chosen by whoever makes
 * the folder's mapped file. The generations of words are counted by wake.c; a way is called only to sleep and
 * to wake. */
#ifndef LOCAL_WAKE_WAY_H
#define LOCAL_WAKE_WAY_H

#include "../../base/clock.h"
#include "wake.h"

#if defined(__has_include) && !defined(LIGHTBUS_NO_FUTEX)
#if __has_include(<linux/futex.h>)
#define WAKE_HAS_FUTEX
#endif
#endif

typedef struct wake_way {
    const char *name;
    bool (*init)(wake_table *t); /* of a new table */
    /* Wakes so many who sleep on a word. From signal handlers too. */
    void (*wake)(wake_table *t, wake_word *w, int waiters);
    /* Sleeps until something happened since wake_set_look, or the deadline; may return early. */
    void (*wait)(wake_set *s, int64_t until_ns);
    /* Sleeps while a word's generation is `seen`, on a word that need not be one of the table. */
    void (*wait_word)(wake_word *w, uint32_t seen, int64_t until_ns);
    /* The set will not wait in this table any longer. */
    void (*leave)(wake_set *s);
} wake_way;

extern const wake_way wake_by_futex, wake_by_semaphore;

/* Has something happened since wake_set_look? */
bool wake_set_happened(const wake_set *s);

static inline struct timespec wake_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / CLOCK_SECOND, .tv_nsec = ns % CLOCK_SECOND};
}

#endif
