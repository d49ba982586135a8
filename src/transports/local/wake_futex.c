/* Sleeping on the words themselves: futexes in the mapped file. The kernel forgets a waiter that is killed. */
#include "wake_way.h"

#ifdef WAKE_HAS_FUTEX

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* As the kernel wants it (Linux 5.16). */
struct wait_item {
    uint64_t value, address;
    uint32_t flags, reserved;
};
enum { WORD_OF_32_BITS = 2, MOST_WORDS = 128 };

static bool futex_init(wake_table *t)
{
    (void)t;
    return true;
}

static void futex_wake(wake_table *t, wake_word *w, int waiters)
{
    (void)t;
    syscall(SYS_futex, &w->generation, FUTEX_WAKE, waiters, NULL, NULL, 0);
}

static void futex_wait_word(wake_word *w, uint32_t seen, int64_t until_ns)
{
    struct timespec until = wake_timespec(until_ns);
    atomic_fetch_add(&w->waiters, 1);
    syscall(SYS_futex, &w->generation, FUTEX_WAIT_BITSET, seen, &until, NULL, FUTEX_BITSET_MATCH_ANY);
    atomic_fetch_sub(&w->waiters, 1);
}

/* False: this kernel cannot wait for several words, or a filter of system calls does not let it. */
static bool wait_words(wake_set *s, int64_t until_ns)
{
    struct wait_item items[MOST_WORDS];
    struct timespec until = wake_timespec(until_ns);
    for (size_t i = 0; i < s->count; i++) {
        wake_word *w = &s->table->words[s->words[i]];
        items[i] = (struct wait_item){s->seen[i], (uintptr_t)&w->generation, WORD_OF_32_BITS, 0};
        atomic_fetch_add(&w->waiters, 1);
    }
    long woken = syscall(SYS_futex_waitv, items, (unsigned)s->count, 0, &until, CLOCK_MONOTONIC);
    bool known = woken >= 0 || errno == EAGAIN || errno == ETIMEDOUT || errno == EINTR;
    for (size_t i = 0; i < s->count; i++)
        atomic_fetch_sub(&s->table->words[s->words[i]].waiters, 1);
    return known;
}

/* `any` is counted up only while somebody waits for it: what happened before shows in the words themselves. */
static void wait_any(wake_set *s, int64_t until_ns)
{
    wake_word *any = &s->table->any;
    atomic_fetch_add(&any->waiters, 1);
    if (!wake_set_happened(s))
        futex_wait_word(any, s->seen_any, until_ns);
    atomic_fetch_sub(&any->waiters, 1);
}

static void futex_wait(wake_set *s, int64_t until_ns)
{
    if (s->count == 1)
        futex_wait_word(&s->table->words[s->words[0]], s->seen[0], until_ns);
    else if (s->count > MOST_WORDS || s->any)
        wait_any(s, until_ns);
    else
        s->any = !wait_words(s, until_ns);
}

static void futex_leave(wake_set *s) { (void)s; }

const wake_way wake_by_futex = {
    .name = "futex",
    .init = futex_init,
    .wake = futex_wake,
    .wait = futex_wait,
    .wait_word = futex_wait_word,
    .leave = futex_leave,
};

#endif
