/* Byte buffer. See buffer.h. */
#include "buffer.h"

#include <stdio.h>
#include <stdlib.h>

bool buffer_grow(buffer *b, size_t more)
{
    if (b->failed)
        return false;
    size_t capacity = b->capacity ? b->capacity : 256;
    while (capacity - b->size < more) {
        if (capacity > SIZE_MAX / 2) {
            b->failed = true;
            return false;
        }
        capacity *= 2;
    }
    char *data = realloc(b->data, capacity);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void buffer_free(buffer *b)
{
    free(b->data);
    *b = (buffer){0};
}

void buffer_clear(buffer *b, size_t keep)
{
    if (b->capacity > keep)
        buffer_free(b);
    b->size = 0;
    b->failed = false;
}

void buffer_uint(buffer *b, uint64_t value)
{
    char digits[20];
    char *at = digits + sizeof digits;
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    buffer_add(b, at, (size_t)(digits + sizeof digits - at));
}

void buffer_int(buffer *b, int64_t value)
{
    if (value < 0)
        buffer_char(b, '-');
    buffer_uint(b, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void buffer_printf(buffer *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0) {
        b->failed = true;
        return;
    }
    if (!buffer_room(b, (size_t)size + 1))
        return;
    va_start(args, format);
    vsnprintf(b->data + b->size, (size_t)size + 1, format, args);
    va_end(args);
    b->size += (size_t)size;
}

char *buffer_text(buffer *b)
{
    if (!buffer_room(b, 1) || b->failed)
        return NULL;
    b->data[b->size] = '\0';
    return b->data;
}

/* Unicode table 3-7 */
size_t utf8_sequence(const unsigned char *at, size_t left)
{
    unsigned char c = at[0];
    size_t length = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((c == 0xE0 && at[1] < 0xA0) || (c == 0xED && at[1] > 0x9F) || (c == 0xF0 && at[1] < 0x90) ||
        (c == 0xF4 && at[1] > 0x8F))
        return 0;
    return length;
}

/* Takes off a character at the end that is not all there. */
static void trim(char *text)
{
    size_t size = strlen(text), start = size;
    while (start && size - start < 3 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (!start)
        return;
    unsigned char c = (unsigned char)text[--start];
    size_t whole = c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (size - start < whole)
        text[start] = '\0';
}

void text_vprintf(char *out, size_t size, const char *format, va_list args)
{
    vsnprintf(out, size, format, args);
    trim(out);
}

void text_printf(char *out, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_vprintf(out, size, format, args);
    va_end(args);
}

static bool plain(unsigned char c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

#define EACH_BYTE(c) (UINT64_C(0x0101010101010101) * (c))

/* The high bit of each byte that is below `c`, and perhaps of bytes after such a one. */
static uint64_t bytes_below(uint64_t bytes, unsigned char c) { return (bytes - EACH_BYTE(c)) & ~bytes; }

/* Where a run of plain characters ends; eight at a time while all of them are. */
static const unsigned char *plain_end(const unsigned char *at, const unsigned char *end)
{
    uint64_t bytes;
    for (; end - at >= 8; at += 8) {
        memcpy(&bytes, at, 8);
        uint64_t special = bytes | bytes_below(bytes, 0x20) | bytes_below(bytes ^ EACH_BYTE('"'), 1) |
                           bytes_below(bytes ^ EACH_BYTE('\\'), 1);
        if (special & EACH_BYTE(0x80))
            break;
    }
    while (at < end && plain(*at))
        at++;
    return at;
}

static void escape(buffer *b, unsigned char c)
{
    static const char short_form[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    for (const char *s = short_form; *s; s += 2)
        if (c == (unsigned char)*s) {
            buffer_char(b, '\\');
            buffer_char(b, s[1]);
            return;
        }
    buffer_printf(b, "\\u%04x", c);
}

static bool add_plain_string(buffer *b, const char *data, size_t size)
{
    const unsigned char *at = (const unsigned char *)data;
    if (plain_end(at, at + size) != at + size || !buffer_room(b, size + 2))
        return false;
    char *out = b->data + b->size;
    *out = '"';
    if (size)
        memcpy(out + 1, data, size);
    out[size + 1] = '"';
    b->size += size + 2;
    return true;
}

bool buffer_json_string(buffer *b, const char *data, size_t size)
{
    if (add_plain_string(b, data, size))
        return true;
    size_t before = b->size;
    const unsigned char *at = (const unsigned char *)data, *end = at + size;
    buffer_char(b, '"');
    while (at < end) {
        const unsigned char *run = at;
        at = plain_end(at, end);
        buffer_add(b, run, (size_t)(at - run));
        if (at == end)
            break;
        size_t length = utf8_sequence(at, (size_t)(end - at));
        if (length == 0) {
            b->size = before;
            return false;
        }
        if (length == 1)
            escape(b, *at);
        else
            buffer_add(b, at, length);
        at += length;
    }
    buffer_char(b, '"');
    return true;
}
