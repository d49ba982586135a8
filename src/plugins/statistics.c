/* Counters by name, and histograms of durations.
 *
 * The ranges of a histogram grow by a quarter of a power of two each, so that a percentile read from it is at
 * most 25 % too high. Range i ends at bound(i) nanoseconds; the first one begins at 0, and the last one has no
 * end. Counters only grow; readers subtract. */
#include "statistics.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/clock.h"
#include "../base/json.h"

#define MOST_NAMES 10000 /* of each kind; what is seen later is not counted */
#define NAME_SIZE  512
#define FIRST_BITS 10  /* the first range ends at 2^10 ns, about a microsecond */
#define RANGES     132 /* the last one begins at almost two hours */

typedef struct counters {
    uint64_t done, failed, fired, busy_ns;
    uint64_t latency[RANGES];
} counters;

static uint64_t bound(size_t range) { return (UINT64_C(4) + range % 4) << (range / 4 + FIRST_BITS - 2); }

static size_t range_of(uint64_t ns)
{
    if (ns <= bound(0))
        return 0;
    int bits = 63 - __builtin_clzll(ns - 1); /* a bound belongs to the range that it ends */
    size_t range = (size_t)(bits - FIRST_BITS) * 4 + ((ns - 1) >> (bits - 2) & 3) + 1;
    return range < RANGES ? range : RANGES - 1;
}

void statistics_init(statistics *s)
{
    *s = (statistics){.rpcs = {0}};
    pthread_rwlock_init(&s->lock, NULL);
}

static void free_all(map *m)
{
    for (map_entry *e = NULL; (e = map_next(m, e));)
        free(e->value);
    map_free(m);
}

void statistics_free(statistics *s)
{
    free_all(&s->rpcs);
    free_all(&s->events);
    pthread_rwlock_destroy(&s->lock);
}

static counters *add(statistics *s, map *m, const char *key, size_t size)
{
    pthread_rwlock_wrlock(&s->lock);
    counters *c = map_get(m, key, size); /* another thread may have been faster */
    if (!c && m->count < MOST_NAMES && (c = calloc(1, sizeof *c)) && !map_put(m, key, size, c)) {
        free(c);
        c = NULL;
    }
    pthread_rwlock_unlock(&s->lock);
    return c;
}

/* They stay where they are until statistics_free. */
static counters *find(statistics *s, map *m, const char *api, const char *name)
{
    char key[NAME_SIZE];
    int size = snprintf(key, sizeof key, "%s.%s", api, name);
    if (size < 0 || size >= NAME_SIZE)
        return NULL;
    pthread_rwlock_rdlock(&s->lock);
    counters *c = map_get(m, key, (size_t)size);
    pthread_rwlock_unlock(&s->lock);
    return c ? c : add(s, m, key, (size_t)size);
}

static void count(uint64_t *counter, uint64_t more) { __atomic_add_fetch(counter, more, __ATOMIC_RELAXED); }
static uint64_t load(const uint64_t *counter) { return __atomic_load_n(counter, __ATOMIC_RELAXED); }

static void count_done(counters *c, double seconds, bool failed)
{
    uint64_t ns = seconds > 0 ? (uint64_t)(seconds * 1e9) : 0;
    count(&c->busy_ns, ns);
    count(&c->latency[range_of(ns)], 1);
    count(&c->done, 1);
    if (failed)
        count(&c->failed, 1);
}

void statistics_rpc(statistics *s, const char *api, const char *name, double seconds, bool failed)
{
    counters *c = find(s, &s->rpcs, api, name);
    if (c)
        count_done(c, seconds, failed);
}

void statistics_fired(statistics *s, const char *api, const char *name)
{
    counters *c = find(s, &s->events, api, name);
    if (c)
        count(&c->fired, 1);
}

void statistics_handled(statistics *s, const char *api, const char *name, double seconds, bool failed)
{
    counters *c = find(s, &s->events, api, name);
    if (c)
        count_done(c, seconds, failed);
}

/* ---- Writing ---------------------------------------------------------------------------------------- */

static void write_latency(buffer *out, const counters *c)
{
    buffer_literal(out, ",\"latency\":[");
    const char *separator = "";
    for (size_t i = 0; i < RANGES; i++) {
        uint64_t in_range = load(&c->latency[i]);
        if (!in_range)
            continue;
        buffer_printf(out, "%s[", separator);
        json_write_float(out, (double)bound(i) / 1e9);
        buffer_char(out, ',');
        buffer_uint(out, in_range);
        buffer_char(out, ']');
        separator = ",";
    }
    buffer_literal(out, "]}");
}

static void write_rpc(buffer *out, const counters *c)
{
    buffer_printf(out, "{\"calls\":%llu,\"errors\":%llu,\"busy\":", (unsigned long long)load(&c->done),
                  (unsigned long long)load(&c->failed));
    json_write_float(out, (double)load(&c->busy_ns) / 1e9);
    write_latency(out, c);
}

/* "handled" counts successes. */
static void write_event(buffer *out, const counters *c)
{
    uint64_t failed = load(&c->failed), done = load(&c->done);
    buffer_printf(out, "{\"fired\":%llu,\"handled\":%llu,\"failed\":%llu", (unsigned long long)load(&c->fired),
                  (unsigned long long)(done > failed ? done - failed : 0), (unsigned long long)failed);
    write_latency(out, c);
}

static void write_map(buffer *out, const map *m, void (*write)(buffer *out, const counters *c))
{
    const char *separator = "{";
    for (map_entry *e = NULL; (e = map_next(m, e)); separator = ",") {
        buffer_str(out, separator);
        buffer_json_string(out, e->key, e->size);
        buffer_char(out, ':');
        write(out, e->value);
    }
    buffer_str(out, m->count ? "}" : "{}");
}

void statistics_write(statistics *s, buffer *out)
{
    pthread_rwlock_rdlock(&s->lock);
    buffer_literal(out, "{\"rpcs\":");
    write_map(out, &s->rpcs, write_rpc);
    buffer_literal(out, ",\"events\":");
    write_map(out, &s->events, write_event);
    buffer_char(out, '}');
    pthread_rwlock_unlock(&s->lock);
}
