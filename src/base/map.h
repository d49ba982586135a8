/* Map from byte strings to pointers: open addressing, linear probing, keys copied. Not thread-safe. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct map_entry {
    char *key; /* NUL-terminated; NULL in a free slot */
    size_t size, hash;
    void *value;
} map_entry;

typedef struct map {
    map_entry *entries;
    size_t count, capacity;
} map; /* {0} is an empty map */

void *map_get(const map *m, const char *key, size_t size);       /* NULL: not there */
bool map_put(map *m, const char *key, size_t size, void *value); /* replaces; false when memory is short */
void *map_remove(map *m, const char *key, size_t size);          /* the value that was there, or NULL */
/* for (map_entry *e = NULL; (e = map_next(m, e));) ... in no particular order; no put or remove meanwhile. */
map_entry *map_next(const map *m, map_entry *entry);
void map_free(map *m); /* the values are the caller's */

#endif
