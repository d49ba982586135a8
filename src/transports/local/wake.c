/* Waking across processes. See wake.h. */
#include "wake.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../../base/clock.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* As the kernel wants it (Linux 5.16). */
struct wait_item {
    uint64_t value, address;
    uint32_t flags, reserved;
};
enum { WORD_OF_32_BITS = 2 };

void wake_word_wake(wake_word *w, int waiters)
{
    atomic_fetch_add(&w->generation, 1);
    if (atomic_load(&w->waiters))
        syscall(SYS_futex, &w->generation, FUTEX_WAKE, waiters, NULL, NULL, 0);
}

void wake_up(wake_table *t, uint64_t what, int waiters)
{
    wake_word_wake(wake_word_of(t, what), waiters);
    if (atomic_load(&t->any.waiters))
        wake_word_wake(&t->any, WAKE_ALL);
}

bool wake_set_init(wake_set *s, const uint64_t *what, size_t count)
{
    *s = (wake_set){.words = malloc(count * sizeof *s->words), .seen = calloc(count, sizeof *s->seen)};
    atomic_init(&s->interrupted, false);
    if (!s->words || !s->seen)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t word = what[i] % WAKE_WORDS;
        size_t j = 0;
        while (j < s->count && s->words[j] != word)
            j++;
        s->words[j] = word;
        s->count += j == s->count;
    }
    s->any = s->count > WAKE_MOST_WORDS;
    return true;
}

void wake_set_free(wake_set *s)
{
    free(s->words);
    free(s->seen);
    s->words = s->seen = NULL;
}

void wake_set_look(wake_set *s, wake_table *t)
{
    __atomic_store_n(&s->table, t, __ATOMIC_RELEASE); /* wake_set_interrupt reads it on another thread */
    s->seen_any = atomic_load(&t->any.generation);
    for (size_t i = 0; i < s->count; i++)
        s->seen[i] = atomic_load(&t->words[s->words[i]].generation);
}

static struct timespec absolute(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / CLOCK_SECOND, .tv_nsec = ns % CLOCK_SECOND};
}

void wake_word_wait(wake_word *w, uint32_t seen, int64_t until_ns)
{
    struct timespec until = absolute(until_ns);
    atomic_fetch_add(&w->waiters, 1);
    syscall(SYS_futex, &w->generation, FUTEX_WAIT_BITSET, seen, &until, NULL, FUTEX_BITSET_MATCH_ANY);
    atomic_fetch_sub(&w->waiters, 1);
}

/* False: this kernel cannot wait for several words. */
static bool words_wait(wake_set *s, int64_t until_ns)
{
    struct wait_item items[WAKE_MOST_WORDS];
    struct timespec until = absolute(until_ns);
    for (size_t i = 0; i < s->count; i++) {
        wake_word *w = &s->table->words[s->words[i]];
        items[i] = (struct wait_item){s->seen[i], (uintptr_t)&w->generation, WORD_OF_32_BITS, 0};
        atomic_fetch_add(&w->waiters, 1);
    }
    long woken = syscall(SYS_futex_waitv, items, (unsigned)s->count, 0, &until, CLOCK_MONOTONIC);
    bool known = woken >= 0 || errno != ENOSYS;
    for (size_t i = 0; i < s->count; i++)
        atomic_fetch_sub(&s->table->words[s->words[i]].waiters, 1);
    return known;
}

static bool happened(const wake_set *s)
{
    bool changed = s->any && atomic_load(&s->table->any.generation) != s->seen_any;
    for (size_t i = 0; i < s->count && !changed; i++)
        changed = atomic_load(&s->table->words[s->words[i]].generation) != s->seen[i];
    return changed;
}

bool wake_set_wait(wake_set *s, int64_t deadline_ns)
{
    int64_t longest = clock_in_ms(WAKE_LONGEST_MS);
    int64_t until = deadline_ns < longest ? deadline_ns : longest;
    if (!s->any && s->count == 1)
        wake_word_wait(&s->table->words[s->words[0]], s->seen[0], until);
    else if (!s->any)
        s->any = !words_wait(s, until);
    else
        wake_word_wait(&s->table->any, s->seen_any, until);
    return happened(s);
}

void wake_set_interrupt(wake_set *s)
{
    int number = errno;
    atomic_store(&s->interrupted, true);
    wake_table *t = __atomic_load_n(&s->table, __ATOMIC_ACQUIRE);
    if (t) {
        wake_word_wake(&t->words[s->words[0]], WAKE_ALL);
        if (atomic_load(&t->any.waiters))
            wake_word_wake(&t->any, WAKE_ALL);
    }
    errno = number;
}

bool wake_set_interrupted(wake_set *s)
{
    return atomic_load_explicit(&s->interrupted, memory_order_relaxed) &&
           atomic_exchange(&s->interrupted, false);
}

void wake_set_pass_on(wake_set *s)
{
    for (size_t i = 0; i < s->count; i++) {
        wake_word *w = &s->table->words[s->words[i]];
        if (atomic_load(&w->waiters))
            syscall(SYS_futex, &w->generation, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}
