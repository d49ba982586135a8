/* Text as man(7). Invariant: everything that comes from a table goes through roff_text, so that no character of
 * it is taken for a request or an escape. */
#include "man.h"

#include <ctype.h>
#include <lightbus/version.h>
#include <string.h>

static void write_char(buffer *out, char c)
{
    static const struct {
        char c;
        const char *roff;
    } special[] = {{'\\', "\\e"},  {'-', "\\-"},    {'~', "\\(ti"},
                   {'^', "\\(ha"}, {'\'', "\\(aq"}, {'"', "\\(dq"}};

    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (special[i].c == c) {
            buffer_str(out, special[i].roff);
            return;
        }
    if (c == '.' && (!out->size || out->data[out->size - 1] == '\n'))
        buffer_literal(out, "\\&");
    buffer_char(out, c);
}

void roff_text(buffer *out, lb_slice text)
{
    bool code = false;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] != '`') {
            write_char(out, text.data[i]);
            continue;
        }
        code = !code;
        buffer_str(out, code ? "\\fB" : "\\fR");
    }
}

void roff_line(buffer *out, const char *text)
{
    size_t size = strlen(text);

    roff_text(out, (lb_slice){text, size});
    if (size && !strchr(".:", text[size - 1]))
        buffer_char(out, '.');
    buffer_char(out, '\n');
}

static void write_font(buffer *out, char font, lb_slice text)
{
    buffer_printf(out, "\\f%c", font);
    roff_text(out, text);
    buffer_literal(out, "\\fR");
}

void roff_bold(buffer *out, const char *text) { write_font(out, 'B', slice_of(text)); }
void roff_italic(buffer *out, const char *text) { write_font(out, 'I', slice_of(text)); }

void roff_usage(buffer *out, const char *text)
{
    while (*text) {
        size_t size = strcspn(text, "[]|. ");
        if (!size)
            write_char(out, *text);
        else
            write_font(out, isupper((unsigned char)*text) ? 'I' : 'B', (lb_slice){text, size});
        text += size ? size : 1;
    }
}

void roff_section(buffer *out, const char *title)
{
    buffer_literal(out, ".SH \"");
    for (; *title; title++)
        buffer_char(out, (char)toupper((unsigned char)*title));
    buffer_literal(out, "\"\n");
}

void roff_begin(buffer *out, const char *name, int section, const char *summary)
{
    size_t size = strlen(summary);

    buffer_literal(out, ".\\\" Made from the tables of commands and options; do not edit.\n.TH \"");
    for (const char *c = name; *c; c++)
        write_char(out, (char)toupper((unsigned char)*c));
    buffer_printf(out, "\" %d \"\" \"lightbus %s\" Lightbus\n", section, lb_version());
    buffer_literal(out, ".nh\n.ad l\n"); /* names of things are not hyphenated, words not spread */
    roff_section(out, "name");
    roff_text(out, slice_of(name));
    buffer_literal(out, " \\- ");
    if (size && summary[size - 1] == '.')
        size--;
    bool is_word = islower((unsigned char)summary[1]) != 0; /* no abbreviation */
    buffer_char(out, is_word ? (char)tolower((unsigned char)*summary) : *summary);
    roff_text(out, (lb_slice){summary + 1, size - 1});
    buffer_char(out, '\n');
}

void roff_term(buffer *out, const term *t)
{
    buffer_literal(out, ".TP\n");
    roff_bold(out, t->name);
    buffer_char(out, '\n');
    roff_line(out, t->meaning);
}

/* Up to the next empty line, or the end. */
static lb_slice next_paragraph(const char **text)
{
    const char *begin = *text + strspn(*text, "\n"), *end = strstr(begin, "\n\n");
    size_t size = end ? (size_t)(end - begin) : strlen(begin);

    *text = begin + size;
    while (size && begin[size - 1] == '\n')
        size--;
    return (lb_slice){begin, size};
}

/* The first one of a section has begun already. */
static void begin_paragraph(buffer *out)
{
    size_t line = out->size ? out->size - 1 : 0;

    while (line && out->data[line - 1] != '\n')
        line--;
    if (out->size && strncmp(out->data + line, ".SH", 3) != 0)
        buffer_literal(out, ".PP\n");
}

static void write_example(buffer *out, lb_slice text)
{
    begin_paragraph(out);
    buffer_literal(out, ".nf\n.RS 4\n");
    for (size_t at = 0; at < text.size;) {
        const char *line = text.data + at, *end = memchr(line, '\n', text.size - at);
        size_t size = end ? (size_t)(end - line) : text.size - at;
        size_t indent = size >= 2 && line[0] == ' ' && line[1] == ' ' ? 2 : 0;
        roff_text(out, (lb_slice){line + indent, size - indent});
        buffer_char(out, '\n');
        at += size + 1;
    }
    buffer_literal(out, ".RE\n.fi\n");
}

void roff_paragraphs(buffer *out, const char *text, bool examples)
{
    bool led_to = false;

    for (lb_slice p = next_paragraph(&text); p.size; p = next_paragraph(&text)) {
        bool indented = p.size > 2 && p.data[0] == ' ' && p.data[1] == ' ';
        if (indented && examples == !led_to)
            write_example(out, p);
        if (!indented && !examples) {
            begin_paragraph(out);
            roff_text(out, p);
            buffer_char(out, '\n');
        }
        led_to = !indented && p.data[p.size - 1] == ':';
    }
}
