/* Output of the shell: values laid out for people, and the place of an error. Everything from elsewhere is made
 * harmless for the terminal on its way out. */
#include "shell.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "../base/json.h"

int shell_width(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

/* ---- Values ----------------------------------------------------------------------------------------- */

typedef struct layout {
    buffer *out;
    const colours *c;
    size_t width;
} layout;

static void add_value(const layout *l, const lb_value *value, size_t indent, size_t used);

static void add_coloured(const layout *l, const char *colour, const lb_value *value)
{
    buffer_str(l->out, colour);
    json_write(l->out, value);
    buffer_str(l->out, l->c->off);
}

static void add_scalar(const layout *l, const lb_value *value)
{
    switch (lb_value_type_of(value)) {
    case LB_TYPE_STR:
        add_coloured(l, l->c->green, value);
        break;
    case LB_TYPE_NULL:
        add_coloured(l, l->c->dim, value);
        break;
    default:
        add_coloured(l, l->c->yellow, value);
    }
}

/* The width of a value in one line, or `most` + 1 when it is wider. Bytes count, which is too much for what is
 * not ASCII. */
static size_t line_width(const lb_value *value, size_t most)
{
    lb_value_iterator it = lb_value_iterate(value);
    size_t width = 2;
    if (lb_value_type_of(value) != LB_TYPE_LIST && lb_value_type_of(value) != LB_TYPE_DICT) {
        buffer text = {0};
        if (lb_value_str_size(value) <= most)
            json_write(&text, value);
        width = lb_value_str_size(value) <= most ? text.size : most + 1;
        buffer_free(&text);
        return width <= most ? width : most + 1;
    }
    while (width <= most && lb_value_next(&it)) {
        width += (it.index ? 2 : 0) + (it.name ? it.name_size + 4 : 0);
        width += width <= most ? line_width(it.value, most - width) : 0;
    }
    return width <= most ? width : most + 1;
}

static void add_break(const layout *l, size_t indent)
{
    buffer_char(l->out, '\n');
    for (size_t i = 0; i < indent; i++)
        buffer_char(l->out, ' ');
}

static size_t add_name(const layout *l, const lb_value_iterator *it)
{
    if (!it->name)
        return 0;
    buffer_str(l->out, l->c->cyan);
    buffer_json_string(l->out, it->name, it->name_size);
    buffer_str(l->out, l->c->off);
    buffer_literal(l->out, ": ");
    return it->name_size + 4;
}

/* The elements in one line, or one below the other. */
static void add_elements(const layout *l, const lb_value *value, size_t indent, bool in_one_line)
{
    lb_value_iterator it = lb_value_iterate(value);
    while (lb_value_next(&it)) {
        if (it.index)
            buffer_str(l->out, in_one_line ? ", " : ",");
        if (!in_one_line)
            add_break(l, indent + 2);
        size_t used = indent + 2 + add_name(l, &it);
        add_value(l, it.value, indent + 2, in_one_line ? 0 : used);
    }
    if (!in_one_line)
        add_break(l, indent);
}

/* `used` columns of the line are taken. */
static void add_value(const layout *l, const lb_value *value, size_t indent, size_t used)
{
    bool is_list = lb_value_type_of(value) == LB_TYPE_LIST;
    size_t room = l->width > used + 1 ? l->width - used - 1 : 0; /* a comma may follow */
    if (!is_list && lb_value_type_of(value) != LB_TYPE_DICT) {
        add_scalar(l, value);
        return;
    }
    bool in_one_line = !lb_value_count(value) || line_width(value, room) <= room;
    buffer_char(l->out, is_list ? '[' : '{');
    add_elements(l, value, indent, in_one_line);
    buffer_char(l->out, is_list ? ']' : '}');
}

void shell_format_value(buffer *out, const lb_value *value, size_t width, const colours *c)
{
    add_value(&(layout){out, c, width}, value, 0, 0);
}

/* Keeps the escape sequences of our own colours: the values themselves hold no control characters but C1 and
 * DEL, which JSON does not escape. */
static void print_keeping_colours(const char *text)
{
    for (const char *escape; (escape = strchr(text, '\033')); text = escape) {
        size_t size = strcspn(escape, "m") + 1;
        char *before = strndup(text, (size_t)(escape - text));
        if (before)
            print_safe(stdout, before);
        free(before);
        fwrite(escape, 1, size, stdout);
        escape += size;
    }
    print_safe(stdout, text);
}

void shell_print_value(const shell *s, const lb_value *value)
{
    if (!isatty(STDOUT_FILENO)) {
        print_result(s->in, value);
        return;
    }
    buffer text = {0};
    shell_format_value(&text, value, (size_t)shell_width(), &s->colours);
    print_keeping_colours(buffer_text(&text) ? text.data : "(out of memory)");
    putchar('\n');
    buffer_free(&text);
}

/* ---- Places ----------------------------------------------------------------------------------------- */

/* The size of the character at `text` and its width on a terminal. What is none, or cannot be shown, is one
 * byte that is shown as "?". */
static size_t character(const char *text, size_t size, int *width)
{
    mbstate_t state = {0};
    wchar_t c;
    size_t taken = mbrtowc(&c, text, size, &state);
    if (taken == 0 || taken > size) {
        *width = 1;
        return 1;
    }
    *width = wcwidth(c);
    if (*width < 0)
        *width = 1;
    return taken;
}

static int columns(const char *text, size_t size)
{
    int all = 0, width;
    for (size_t at = 0; at < size; at += character(text + at, size - at, &width), all += width)
        ;
    return all;
}

/* Drops characters from the left until no more than `most` columns are before `at`. */
static size_t cut_left(const char *text, size_t at, int most)
{
    size_t start = 0;
    int left = columns(text, at), width;
    while (left > most) {
        start += character(text + start, at - start, &width);
        left -= width;
    }
    return start;
}

static void print_character(FILE *out, const char *text, size_t size)
{
    bool shown = size > 1 || ((unsigned char)*text >= ' ' && (unsigned char)*text < 0x7f);
    char copy[MB_LEN_MAX + 1] = "";
    memcpy(copy, text, size < MB_LEN_MAX ? size : 1);
    if (*text == '\t')
        fputc(' ', out);
    else
        print_safe(out, shown ? copy : "?");
}

void shell_print_place(FILE *out, const char *text, size_t size, size_t at, int width)
{
    size_t start, end;
    int used = 0, most = width - 4, wide;
    while (at && at == size && strchr(" \t\r\n", text[at - 1])) /* the end is that of the last word */
        at = --size;
    start = end = at;
    while (start && text[start - 1] != '\n')
        start--;
    while (end < size && text[end] != '\n')
        end++;
    start += cut_left(text + start, at - start, most - 8);
    fputs("  ", out);
    for (size_t i = start, step; i < end; i += step) {
        step = character(text + i, end - i, &wide);
        used += wide;
        if (used > most)
            break;
        print_character(out, text + i, step);
    }
    fprintf(out, "\n  %*s^\n", columns(text + start, at - start), "");
}
