/* Map. Removal closes the gap by moving later entries of the run back, so there are no tombstones.
 * Invariant: capacity is 0 or a power of two, and at most 3/4 of it is used. */
#include "map.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

static uint64_t fold(uint64_t h)
{
    h *= UINT64_C(0x9fb21c651e98df25);
    return h ^ h >> 32;
}

/* Eight bytes at a time, multiplied and folded, with a seed per process: others choose some of the keys. */
static size_t hash_of(const char *key, size_t size)
{
    static size_t seed;
    size_t s = __atomic_load_n(&seed, __ATOMIC_RELAXED);
    if (!s) {
        size_t fresh = (size_t)random_u64() | 1;
        if (__atomic_compare_exchange_n(&seed, &s, fresh, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            s = fresh;
    }
    const char *end = key + size;
    uint64_t h = s ^ size, word = 0;
    for (; end - key > 8; key += 8) {
        memcpy(&word, key, 8);
        h = fold(h ^ word);
    }
    if (size >= 8) /* the last eight, some of them again */
        memcpy(&word, end - 8, 8);
    else
        while (key < end)
            word = word << 8 | (unsigned char)*key++;
    return (size_t)fold(fold(h ^ word));
}

static map_entry *slot_of(const map *m, const char *key, size_t size, size_t hash)
{
    size_t mask = m->capacity - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        map_entry *e = &m->entries[i];
        if (!e->key || (e->hash == hash && e->size == size && memcmp(e->key, key, size) == 0))
            return e;
    }
}

void *map_get(const map *m, const char *key, size_t size)
{
    return m->count ? slot_of(m, key, size, hash_of(key, size))->value : NULL;
}

static bool map_grow(map *m)
{
    map larger = {.capacity = m->capacity ? m->capacity * 2 : 16, .count = m->count};
    larger.entries = calloc(larger.capacity, sizeof *larger.entries);
    if (!larger.entries)
        return false;
    for (map_entry *e = NULL; (e = map_next(m, e));)
        *slot_of(&larger, e->key, e->size, e->hash) = *e;
    free(m->entries);
    *m = larger;
    return true;
}

bool map_put(map *m, const char *key, size_t size, void *value)
{
    if ((m->count + 1) * 4 > m->capacity * 3 && !map_grow(m))
        return false;
    size_t hash = hash_of(key, size);
    map_entry *e = slot_of(m, key, size, hash);
    if (!e->key) {
        char *copy = malloc(size + 1);
        if (!copy)
            return false;
        memcpy(copy, key, size);
        copy[size] = '\0';
        *e = (map_entry){.key = copy, .size = size, .hash = hash};
        m->count++;
    }
    e->value = value;
    return true;
}

void *map_remove(map *m, const char *key, size_t size)
{
    if (!m->count)
        return NULL;
    map_entry *e = slot_of(m, key, size, hash_of(key, size));
    if (!e->key)
        return NULL;
    void *value = e->value;
    free(e->key);
    m->count--;
    size_t mask = m->capacity - 1, gap = (size_t)(e - m->entries);
    for (size_t i = (gap + 1) & mask; m->entries[i].key; i = (i + 1) & mask) {
        size_t home = m->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) { /* it may live at the gap */
            m->entries[gap] = m->entries[i];
            gap = i;
        }
    }
    m->entries[gap] = (map_entry){0};
    return value;
}

map_entry *map_next(const map *m, map_entry *entry)
{
    size_t i = entry ? (size_t)(entry - m->entries) + 1 : 0;
    while (i < m->capacity && !m->entries[i].key)
        i++;
    return i < m->capacity ? &m->entries[i] : NULL;
}

void map_free(map *m)
{
    for (map_entry *e = NULL; (e = map_next(m, e));)
        free(e->key);
    free(m->entries);
    *m = (map){0};
}
