/* JSON behind lb_value, inside the library: parsing into an arena, writing into a buffer. The only folder that
 * knows the JSON library (yyjson) is this one. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <lightbus/value.h>

#include "arena.h"
#include "buffer.h"

/* Parses a text into the arena; the tree lives as long as the arena's content. Same rules as lb_value_parse. */
lb_status json_parse(arena *a, const char *text, size_t size, const lb_value **value, lb_error *error);
/* Appends the value as compact JSON text. */
void json_write(buffer *b, const lb_value *value);
/* Appends a finite double with the fewest digits that read back as the same one; at most 32 bytes. */
void json_write_float(buffer *b, double value);
/* The text of a string value, with its size. */
static inline lb_slice json_slice(const lb_value *value)
{
    return (lb_slice){lb_value_str(value), lb_value_str_size(value)};
}
static inline lb_slice slice_of(const char *text) { return (lb_slice){text, text ? strlen(text) : 0}; }
static inline bool slice_is(lb_slice s, const char *text)
{
    return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}
static inline bool slice_equal(lb_slice a, lb_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
