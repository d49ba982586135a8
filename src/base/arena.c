/* Arena. Invariant: `at` is 16-byte aligned and lies in `block`, the newest and largest block. */
#include "arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN      ((size_t)16)
#define FIRST_SIZE ((size_t)1024)

struct arena_block {
    struct arena_block *older;
    size_t size; /* of the bytes after this header */
};
_Static_assert(sizeof(struct arena_block) % 16 == 0, "blocks start aligned");

static char *block_start(struct arena_block *block) { return (char *)(block + 1); }

void *arena_alloc(arena *a, size_t size)
{
    if (size > SIZE_MAX / 4)
        return NULL;
    size = (size + ALIGN - 1) & ~(ALIGN - 1);
    if ((size_t)(a->end - a->at) < size || !a->block) {
        size_t block_size = a->block ? a->block->size * 2 : FIRST_SIZE;
        while (block_size < size)
            block_size *= 2;
        struct arena_block *block = malloc(sizeof *block + block_size);
        if (!block)
            return NULL;
        *block = (struct arena_block){a->block, block_size};
        a->block = block;
        a->at = block_start(block);
        a->end = a->at + block_size;
    }
    void *result = a->at;
    a->at += size;
    return result;
}

char *arena_copy(arena *a, const char *data, size_t size)
{
    char *copy = arena_alloc(a, size + 1);
    if (copy) {
        if (size)
            memcpy(copy, data, size);
        copy[size] = '\0';
    }
    return copy;
}

char *arena_printf(arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = size < 0 ? NULL : arena_alloc(a, (size_t)size + 1);
    if (text) {
        va_start(args, format);
        vsnprintf(text, (size_t)size + 1, format, args);
        va_end(args);
    }
    return text;
}

static void free_blocks(struct arena_block *block)
{
    while (block) {
        struct arena_block *older = block->older;
        free(block);
        block = older;
    }
}

void arena_reset(arena *a, size_t keep)
{
    if (!a->block)
        return;
    free_blocks(a->block->older);
    a->block->older = NULL;
    if (a->block->size > keep) {
        arena_free(a);
        return;
    }
    a->at = block_start(a->block);
}

void arena_free(arena *a)
{
    free_blocks(a->block);
    *a = (arena){0};
}
