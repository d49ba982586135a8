/* One line of text in a fixed buffer. See line.h. */
#include "line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/json.h"

#define MOST_QUOTED 40 /* bytes of a string shown */

line line_of(char *memory, size_t size)
{
    memory[0] = '\0';
    return (line){memory, memory, memory + size - 1};
}

/* The most bytes, up to `most`, that end at the end of a UTF-8 character. */
static size_t whole_characters(lb_slice text, size_t most)
{
    if (text.size <= most)
        return text.size;
    while (most > 0 && ((unsigned char)text.data[most] & 0xC0) == 0x80)
        most--;
    return most;
}

void line_add(line *l, lb_slice text)
{
    size_t room = (size_t)(l->end - l->at);
    size_t size = whole_characters(text, room);

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        *l->at++ = c < 0x20 || c == 0x7F ? '?' : (char)c;
    }
    if (size < text.size)
        l->end = l->at; /* nothing more is added after a cut */
    *l->at = '\0';
}

void line_str(line *l, const char *text) { line_add(l, slice_of(text)); }

void line_int(line *l, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    line_str(l, digits);
}

void line_quoted(line *l, lb_slice text)
{
    size_t shown = whole_characters(text, MOST_QUOTED);

    line_str(l, "\"");
    line_add(l, (lb_slice){text.data, shown});
    line_str(l, shown < text.size ? "...\"" : "\"");
}

static void number(line *l, const lb_value *value)
{
    buffer text = {0};

    json_write(&text, value);
    if (!text.failed)
        line_add(l, (lb_slice){text.data, text.size});
    buffer_free(&text);
}

void line_value(line *l, const lb_value *value)
{
    switch (lb_value_type_of(value)) {
    case LB_TYPE_NULL:
        line_str(l, "null");
        return;
    case LB_TYPE_BOOL:
        line_str(l, lb_value_bool(value) ? "bool (true)" : "bool (false)");
        return;
    case LB_TYPE_INT:
    case LB_TYPE_UINT:
    case LB_TYPE_FLOAT:
        line_str(l, lb_value_type_of(value) == LB_TYPE_FLOAT ? "float (" : "int (");
        number(l, value);
        line_str(l, ")");
        return;
    case LB_TYPE_STR:
        line_str(l, "str (");
        line_quoted(l, json_slice(value));
        line_str(l, ")");
        return;
    case LB_TYPE_LIST:
        line_str(l, "list");
        return;
    case LB_TYPE_DICT:
        line_str(l, "dict");
        return;
    }
}
