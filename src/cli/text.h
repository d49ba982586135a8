/* Text as terminals show it: in columns, of which a character takes none, one or two. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include "../base/buffer.h"

typedef enum text_cut { CUT_END, CUT_MIDDLE } text_cut;

/* The columns that a text takes when text_put shows it. */
size_t text_columns(const char *text);
/* Appends a text of at most so many columns; what is too long is cut and has an ellipsis there. Control
 * characters and what is not UTF-8 are shown as "?", so that it cannot drive the terminal. Returns the columns
 * taken. */
size_t text_put(buffer *out, const char *text, size_t most, text_cut cut);

#endif
