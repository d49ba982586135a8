/* Keys: a byte that tells what the record is, and numbers, big-endian, so that records lie in their order. */
#ifndef LOCAL_KEY_H
#define LOCAL_KEY_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    KEY_IDENTITY = 'a',
    /* calls */
    KEY_CALL = 'c',   /* API, transaction, index */
    KEY_RESULT = 'r', /* client, transaction, index */
    KEY_SCHEMA = 's', /* API */
    KEY_FIRE = 'f',   /* ticket, see together.c */
    /* events */
    KEY_FIRED = 'f',    /* ticket, see together.c */
    KEY_GROUP = 'g',    /* stream, group */
    KEY_SEEN = 'i',     /* stream, group, hash of an event's id; see copies.c */
    KEY_LISTENER = 'l', /* stream, group, its owner's number; see presence.c */
    KEY_PENDING = 'p',  /* stream, group, entry */
    KEY_STREAM = 's',   /* stream */
    KEY_ENTRY = 'z',    /* stream, entry; last, so that new ones of the last stream are appended */
};

typedef struct key {
    unsigned char bytes[1 + 3 * 8];
    size_t size;
} key;

static inline key key_make(char tag, const uint64_t *numbers, size_t count)
{
    key k = {.bytes = {(unsigned char)tag}, .size = 1 + 8 * count};
    for (size_t i = 0; i < count; i++) {
        uint64_t big = __builtin_bswap64(numbers[i]);
        memcpy(k.bytes + 1 + 8 * i, &big, 8);
    }
    return k;
}
static inline key key_1(char tag, uint64_t a) { return key_make(tag, (uint64_t[]){a}, 1); }
static inline key key_2(char tag, uint64_t a, uint64_t b) { return key_make(tag, (uint64_t[]){a, b}, 2); }
static inline key key_3(char tag, uint64_t a, uint64_t b, uint64_t c)
{
    return key_make(tag, (uint64_t[]){a, b, c}, 3);
}
static inline MDB_val key_val(key *k) { return (MDB_val){k->size, k->bytes}; }

/* The nth number of a key; 0 past its end. */
static inline uint64_t key_number(const MDB_val *k, size_t n)
{
    uint64_t big = 0;
    if (k->mv_size >= 1 + 8 * (n + 1))
        memcpy(&big, (const char *)k->mv_data + 1 + 8 * n, 8);
    return __builtin_bswap64(big);
}

/* Does the key begin with this one? */
static inline bool key_within(const MDB_val *k, const key *prefix)
{
    return k->mv_size >= prefix->size && memcmp(k->mv_data, prefix->bytes, prefix->size) == 0;
}

#endif
