/* Byte buffer: grows at its end. Invariant: when an allocation fails, `failed` is set, and what did not fit is
 * missing, whatever is appended later: check once, at the end. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct buffer {
    char *data;
    size_t size, capacity;
    bool failed;
} buffer; /* {0} is an empty buffer */

bool buffer_grow(buffer *b, size_t more); /* makes room for `more` bytes */
void buffer_free(buffer *b);

static inline bool buffer_room(buffer *b, size_t more)
{
    return b->capacity - b->size >= more || buffer_grow(b, more);
}
static inline void buffer_add(buffer *b, const void *data, size_t size)
{
    if (size && buffer_room(b, size)) {
        memcpy(b->data + b->size, data, size);
        b->size += size;
    }
}
static inline void buffer_char(buffer *b, char c)
{
    if (buffer_room(b, 1))
        b->data[b->size++] = c;
}
#define buffer_literal(b, literal) buffer_add((b), "" literal, sizeof(literal) - 1)
static inline void buffer_str(buffer *b, const char *text) { buffer_add(b, text, strlen(text)); }
void buffer_int(buffer *b, int64_t value);
void buffer_uint(buffer *b, uint64_t value);
void buffer_printf(buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends a JSON string literal with its quotes. False (nothing appended) when the text is not UTF-8. */
bool buffer_json_string(buffer *b, const char *data, size_t size);
/* The length of the well-formed UTF-8 sequence at `at`, of `left` bytes, 0 if there is none. */
size_t utf8_sequence(const unsigned char *at, size_t left);
/* vsnprintf that cuts no character of UTF-8 in two. */
void text_vprintf(char *out, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
void text_printf(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* NUL-terminates (the NUL is not counted) and returns the text; NULL after a failure. */
char *buffer_text(buffer *b);
/* Empties it; gives the memory back when it holds more than `keep` bytes. */
void buffer_clear(buffer *b, size_t keep);

#endif
