/* Columns of texts. What a character takes is what the C library says of it, in a UTF-8 locale of our own: that
 * of the user may be another one, and the texts come from the bus. */
#include "text.h"

#include <locale.h>
#include <pthread.h>
#include <wchar.h>

#define ELLIPSIS "\u2026"

static locale_t utf8;
static pthread_once_t utf8_once = PTHREAD_ONCE_INIT;

static void make_utf8(void) { utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0); }

static wchar_t decode(const unsigned char *at, size_t size)
{
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    wchar_t code = at[0] & masks[size];
    for (size_t i = 1; i < size; i++)
        code = code << 6 | (at[i] & 0x3f);
    return code;
}

typedef struct glyph {
    size_t size; /* in bytes */
    size_t columns;
    bool harmless; /* else a "?" stands for it */
} glyph;

static glyph glyph_at(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    if (at[0] >= 0x20 && at[0] < 0x7f)
        return (glyph){1, 1, true};
    size_t size = utf8_sequence(at, strnlen(text, 4));
    if (size < 2)
        return (glyph){1, 1, false};
    pthread_once(&utf8_once, make_utf8);
    locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
    int columns = wcwidth(decode(at, size));
    if (before)
        uselocale(before);
    return columns < 0 ? (glyph){size, 1, false} : (glyph){size, (size_t)columns, true};
}

size_t text_columns(const char *text)
{
    size_t columns = 0;
    for (glyph g; *text; text += g.size) {
        g = glyph_at(text);
        columns += g.columns;
    }
    return columns;
}

/* As much of the text as fits. */
static size_t put_whole(buffer *out, const char *text, size_t most)
{
    size_t columns = 0;
    for (glyph g; *text; text += g.size) {
        g = glyph_at(text);
        if (columns + g.columns > most)
            break;
        buffer_add(out, g.harmless ? text : "?", g.harmless ? g.size : 1);
        columns += g.columns;
    }
    return columns;
}

/* The end of a text of `columns`, at most `most` of them. */
static const char *tail_of(const char *text, size_t columns, size_t most)
{
    while (*text && columns > most) {
        glyph g = glyph_at(text);
        columns -= g.columns;
        text += g.size;
    }
    return text;
}

size_t text_put(buffer *out, const char *text, size_t most, text_cut cut)
{
    size_t columns = text_columns(text);
    if (columns <= most)
        return put_whole(out, text, most);
    if (!most)
        return 0;
    size_t tail = cut == CUT_MIDDLE ? (most - 1) / 2 : 0;
    size_t put = put_whole(out, text, most - 1 - tail);
    buffer_literal(out, ELLIPSIS);
    return put + 1 + put_whole(out, tail_of(text, columns, tail), tail);
}
