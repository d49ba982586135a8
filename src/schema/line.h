/* One line of text in a fixed buffer, for messages: cut at a character when it is full, NUL-terminated at every
 * moment. What comes from the bus is shown, so control characters become '?': a message stays one line. */
#ifndef SCHEMA_LINE_H
#define SCHEMA_LINE_H

#include <lightbus/value.h>

typedef struct line {
    char *start, *at, *end; /* `end` is the place of the last NUL */
} line;

line line_of(char *memory, size_t size); /* size > 0 */
void line_add(line *l, lb_slice text);
void line_str(line *l, const char *text);
void line_int(line *l, int64_t value);
/* The value's type and, where it is short, the value itself: `int (3)`, `str ("abc")`, `null`, `list`. */
void line_value(line *l, const lb_value *value);
/* A string in quotes, cut after a few dozen bytes. */
void line_quoted(line *l, lb_slice text);

#endif
