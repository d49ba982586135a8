/* Sleeping on semaphores, where there are no futexes: each thread that waits has a slot in the mapped file,
 * which says for which words it waits, and holds a semaphore that nobody else waits for.
 *
 * A waiter arms its slot, looks whether something happened meanwhile, and sleeps; a waker counts the generation
 * up, looks for armed slots, disarms one and posts. So one of the two always sees the other, and a semaphore is
 * posted at most once per sleep. There is nothing that a killed process could leave locked: its slot stays
 * taken, and is taken over by who needs one; armed, it is found by the next waker who wants to wake one thread
 * only, and not counted. A process-shared condition variable would not do: in the C libraries it has a lock of
 * its own inside, which a waker that is killed never gives back. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "wake_way.h"

#define NAP (2 * CLOCK_MS) /* between looks, where there is nothing to sleep on */

static bool semaphore_init(wake_table *t)
{
    bool ok = true;
    for (int i = 0; i < WAKE_SLOTS && ok; i++)
        ok = sem_init(&t->slots[i].woken, 1, 0) == 0;
    return ok;
}

static bool is_gone(pid_t process) { return kill(process, 0) != 0 && errno == ESRCH; }

/* ---- Slots ------------------------------------------------------------------------------------------ */

static bool has_slot(const wake_set *s) { return s->slot && s->slot_generation == fork_generation(); }

static bool take_slot(wake_slot *slot)
{
    pid_t owner = atomic_load(&slot->owner);
    return (owner == 0 || is_gone(owner)) && atomic_compare_exchange_strong(&slot->owner, &owner, getpid());
}

/* Looks for one that is free, or whose process is gone. */
static bool find_slot(wake_set *s)
{
    wake_table *t = s->table;
    uint32_t i = 0, used = atomic_load(&t->slots_used);
    while (i < WAKE_SLOTS && !take_slot(&t->slots[i]))
        i++;
    if (i == WAKE_SLOTS)
        return false;
    s->slot = &t->slots[i];
    s->slot_generation = fork_generation();
    atomic_store(&s->slot->armed, false);
    for (size_t n = 0; n < WAKE_WORDS / 64; n++)
        atomic_store(&s->slot->words[n], 0);
    for (size_t n = 0; n < s->count; n++)
        atomic_fetch_or(&s->slot->words[s->words[n] / 64], UINT64_C(1) << s->words[n] % 64);
    while (used <= i && !atomic_compare_exchange_weak(&t->slots_used, &used, i + 1))
        ;
    return true;
}

static void semaphore_leave(wake_set *s)
{
    if (has_slot(s)) {
        atomic_store(&s->slot->armed, false);
        atomic_store(&s->slot->owner, 0);
    }
    s->slot = NULL;
}

/* ---- Waking and waiting ----------------------------------------------------------------------------- */

static void semaphore_wake(wake_table *t, wake_word *w, int waiters)
{
    size_t word = (size_t)(w - t->words);
    uint32_t used = atomic_load(&t->slots_used);
    for (uint32_t i = 0; i < used && waiters > 0; i++) {
        wake_slot *slot = &t->slots[i];
        if (!(atomic_load(&slot->words[word / 64]) >> word % 64 & 1) || !atomic_exchange(&slot->armed, false))
            continue;
        if (waiters < WAKE_ALL && is_gone(atomic_load(&slot->owner)))
            continue;
        sem_post(&slot->woken);
        waiters--;
    }
}

static void nap(int64_t until_ns)
{
    int64_t left = until_ns - clock_now();
    struct timespec time = wake_timespec(left < 0 ? 0 : left < NAP ? left : NAP);
    nanosleep(&time, NULL);
}

static void count_waiters(const wake_set *s, uint32_t more)
{
    for (size_t i = 0; i < s->count; i++)
        atomic_fetch_add(&s->table->words[s->words[i]].waiters, more);
}

static void semaphore_wait(wake_set *s, int64_t until_ns)
{
    struct timespec until = wake_timespec(until_ns);
    if (!has_slot(s) && !find_slot(s)) {
        nap(until_ns);
        return;
    }
    while (sem_trywait(&s->slot->woken) == 0)
        ; /* of a wake-up that came when it had stopped waiting */
    count_waiters(s, 1);
    atomic_store(&s->slot->armed, true);
    if (!wake_set_happened(s))
        sem_clockwait(&s->slot->woken, CLOCK_MONOTONIC, &until);
    atomic_store(&s->slot->armed, false);
    count_waiters(s, UINT32_MAX);
}

/* Guards are waited for seldom, and never long. */
static void semaphore_wait_word(wake_word *w, uint32_t seen, int64_t until_ns)
{
    if (atomic_load(&w->generation) == seen)
        nap(until_ns);
}

const wake_way wake_by_semaphore = {
    .name = "semaphore",
    .init = semaphore_init,
    .wake = semaphore_wake,
    .wait = semaphore_wait,
    .wait_word = semaphore_wait_word,
    .leave = semaphore_leave,
};
