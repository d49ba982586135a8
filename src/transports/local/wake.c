/* Waking across processes: generations, and what waits for them. See wake.h. */
#include "wake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wake_way.h"

/* By the number in the table. */
static const wake_way *const ways[] = {
#ifdef WAKE_HAS_FUTEX
    [0] = &wake_by_futex,
#endif
    [1] = &wake_by_semaphore,
};
static const char *const way_names[] = {"futex", "semaphore"};
enum { WAYS = 2 };

/* ---- Ways ------------------------------------------------------------------------------------------- */

static const wake_way *way_of(const wake_table *t) { return ways[t->way % WAYS]; }

/* The one that the environment asks for; WAYS: whichever there is. */
static lb_status wanted_way(uint32_t *way, lb_error *error)
{
    const char *name = getenv("LIGHTBUS_WAKING");
    *way = 0;
    while (*way < WAYS && (!name || !ways[*way] || strcmp(name, ways[*way]->name) != 0))
        ++*way;
    return !name || *way < WAYS
               ? LB_OK
               : lb_error_set(error, LB_CONFIG, "LIGHTBUS_WAKING: expected %s\"semaphore\", got \"%.40s\"",
                              ways[0] ? "\"futex\" or " : "", name);
}

lb_status wake_table_init(wake_table *t, lb_error *error)
{
    lb_status status = wanted_way(&t->way, error);
    if (status != LB_OK)
        return status;
    if (t->way == WAYS)
        t->way = ways[0] ? 0 : 1;
    return way_of(t)->init(t) ? LB_OK
                              : lb_error_set(error, LB_UNSUPPORTED, "a %s between processes: %s",
                                             way_of(t)->name, strerror(errno));
}

lb_status wake_table_check(const wake_table *t, lb_error *error)
{
    uint32_t wanted;
    lb_status status = wanted_way(&wanted, error);
    if (status != LB_OK)
        return status;
    if (t->way < WAYS && ways[t->way] && (wanted == WAYS || wanted == t->way))
        return LB_OK;
    return lb_error_set(
        error, LB_UNSUPPORTED,
        "the processes that use it wake each other by %s, this one can do so by %s alone: expected "
        "the same build and the same LIGHTBUS_WAKING for all",
        way_names[t->way % WAYS], way_names[wanted < WAYS ? wanted : 1]);
}

/* ---- Words ------------------------------------------------------------------------------------------ */

void wake_word_wake(wake_table *t, wake_word *w, int waiters)
{
    atomic_fetch_add(&w->generation, 1);
    if (atomic_load(&w->waiters))
        way_of(t)->wake(t, w, waiters);
}

void wake_word_wait(wake_table *t, wake_word *w, uint32_t seen, int64_t until_ns)
{
    way_of(t)->wait_word(w, seen, until_ns);
}

void wake_waiters(wake_table *t, uint64_t what, int waiters)
{
    wake_word_wake(t, wake_word_of(t, what), waiters);
    if (atomic_load(&t->any.waiters))
        wake_word_wake(t, &t->any, WAKE_ALL);
}

/* ---- Sets ------------------------------------------------------------------------------------------- */

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
    return true;
}

void wake_set_free(wake_set *s)
{
    if (s->slot)
        way_of(s->table)->leave(s);
    free(s->words);
    free(s->seen);
    s->words = s->seen = NULL;
}

void wake_set_look(wake_set *s, wake_table *t)
{
    if (s->slot && s->table != t)
        way_of(s->table)->leave(s);
    __atomic_store_n(&s->table, t, __ATOMIC_RELEASE); /* wake_set_interrupt reads it on another thread */
    s->seen_any = atomic_load(&t->any.generation);
    for (size_t i = 0; i < s->count; i++)
        s->seen[i] = atomic_load(&t->words[s->words[i]].generation);
}

bool wake_set_happened(const wake_set *s)
{
    bool changed = s->any && atomic_load(&s->table->any.generation) != s->seen_any;
    for (size_t i = 0; i < s->count && !changed; i++)
        changed = atomic_load(&s->table->words[s->words[i]].generation) != s->seen[i];
    return changed;
}

bool wake_set_wait(wake_set *s, int64_t deadline_ns)
{
    int64_t longest = clock_in_ms(WAKE_LONGEST_MS);
    way_of(s->table)->wait(s, deadline_ns < longest ? deadline_ns : longest);
    return wake_set_happened(s);
}

void wake_set_interrupt(wake_set *s)
{
    int number = errno;
    atomic_store(&s->interrupted, true);
    wake_table *t = __atomic_load_n(&s->table, __ATOMIC_ACQUIRE);
    if (t) {
        wake_word_wake(t, &t->words[s->words[0]], WAKE_ALL);
        if (atomic_load(&t->any.waiters))
            wake_word_wake(t, &t->any, WAKE_ALL);
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
            way_of(s->table)->wake(s->table, w, 1);
    }
}
