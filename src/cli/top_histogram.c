/* Latencies in buckets. Buckets of several processes are merged by their bounds, which need not be the same. */
#include "top.h"

#include <string.h>

enum { BUCKETS_FIRST = 16, BUCKETS_MOST = 4096 };

static bool grow(arena *memory, top_histogram *h)
{
    if (h->count < h->capacity)
        return true;
    size_t capacity = h->capacity ? 2 * h->capacity : BUCKETS_FIRST;
    struct top_bucket *larger = arena_alloc(memory, capacity * sizeof *larger);
    if (!larger)
        return false;
    if (h->count)
        memcpy(larger, h->buckets, h->count * sizeof *larger);
    h->buckets = larger;
    h->capacity = capacity;
    return true;
}

bool top_histogram_add(arena *memory, top_histogram *h, double bound, double count)
{
    size_t at = h->count;
    if (isnan(bound) || !(count > 0))
        return true;
    while (at && h->buckets[at - 1].bound > bound)
        at--;
    if (at && h->buckets[at - 1].bound == bound) {
        h->buckets[at - 1].count += count;
        return true;
    }
    if (h->count == BUCKETS_MOST) /* no process of ours has so many */
        return true;
    if (!grow(memory, h))
        return false;
    memmove(h->buckets + at + 1, h->buckets + at, (h->count - at) * sizeof *h->buckets);
    h->buckets[at] = (struct top_bucket){bound, count};
    h->count++;
    return true;
}

bool top_histogram_merge(arena *memory, top_histogram *h, const top_histogram *more)
{
    for (size_t i = 0; i < more->count; i++)
        if (!top_histogram_add(memory, h, more->buckets[i].bound, more->buckets[i].count))
            return false;
    return true;
}

double top_percentile(const top_histogram *h, double share)
{
    double total = 0, sum = 0;
    for (size_t i = 0; i < h->count; i++)
        total += h->buckets[i].count;
    for (size_t i = 0; i < h->count; i++) {
        sum += h->buckets[i].count;
        if (sum >= share * total)
            return h->buckets[i].bound;
    }
    return h->count ? h->buckets[h->count - 1].bound : NAN;
}
