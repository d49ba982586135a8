/* Arena: memory that is given back all at once. Blocks double in size; reset keeps the largest one, so that a
 * steady load allocates nothing. Not thread-safe. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

typedef struct arena {
    struct arena_block *block; /* the newest; it links to the older ones */
    char *at, *end;
} arena; /* {0} is an empty arena */

/* 16-byte aligned, uninitialised; NULL when memory is short. */
void *arena_alloc(arena *a, size_t size);
/* A NUL-terminated copy. */
char *arena_copy(arena *a, const char *data, size_t size);
char *arena_printf(arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Forgets all that was allocated; keeps at most `keep` bytes of blocks. */
void arena_reset(arena *a, size_t keep);
void arena_free(arena *a);

#endif
