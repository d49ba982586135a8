/* What the shell knows of a text before it is parsed: where words, strings and comments end, and whether the
 * statement does. A text may hold anything, NUL characters too, and may be unfinished. */
#include "shell_line.h"

#include <string.h>

#include "../base/buffer.h"

bool shell_is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           (unsigned char)c >= 0x80;
}

bool shell_is_quote(char c) { return c == '"' || c == '\''; }

size_t shell_string_end(const char *text, size_t size, size_t at)
{
    char quote = text[at++];
    while (at < size && text[at] != quote)
        at += text[at] == '\\' ? 2 : 1;
    return at < size ? at + 1 : size + 1;
}

size_t shell_comment_end(const char *text, size_t size, size_t at)
{
    while (at < size && text[at] != '\n')
        at++;
    return at;
}

bool shell_is_open(const char *text, size_t size)
{
    size_t depth = 0;
    for (size_t at = 0; at < size;) {
        if (shell_is_quote(text[at])) {
            at = shell_string_end(text, size, at);
            if (at > size)
                return true;
            continue;
        }
        if (text[at] == '#') {
            at = shell_comment_end(text, size, at);
            continue;
        }
        if (text[at] && strchr("([{", text[at]))
            depth++;
        else if (text[at] && strchr(")]}", text[at]) && depth)
            depth--;
        at++;
    }
    return depth > 0;
}

/* A line break in a string becomes its escape; elsewhere white space, for which comments have to go. */
char *shell_one_line(const char *text, size_t size)
{
    buffer out = {0};
    for (size_t at = 0; at < size;) {
        if (text[at] == '#') {
            at = shell_comment_end(text, size, at);
            continue;
        }
        size_t end = shell_is_quote(text[at]) ? shell_string_end(text, size, at) : at + 1;
        bool in_string = end > at + 1;
        for (; at < end && at < size; at++) {
            if (text[at] != '\n')
                buffer_char(&out, text[at]);
            else
                buffer_str(&out, in_string ? "\\n" : " ");
        }
    }
    while (out.size && strchr(" \t\r", out.data[out.size - 1]))
        out.size--;
    if (buffer_text(&out))
        return out.data;
    buffer_free(&out);
    return NULL;
}
