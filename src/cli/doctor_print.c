/* How findings look: a line or more each, within 80 columns, by place. What repeats itself is cut short, but in
 * JSON. */
#include "doctor.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WIDTH = 79, INDENT = 27, ADVICE = 12, ALIKE_MOST = 5 }; /* columns; findings */

static const char *const level_names[] = {"ok", "note", "warning", "error"};

/* ---- Text ------------------------------------------------------------------------------------------- */

/* Continues at `column`, and begins further lines at `indent`. */
static void print_wrapped(const char *text, size_t column, size_t indent)
{
    bool first = true;
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t size = strcspn(text, " ");
        char *word = strndup(text, size);
        size_t width = text_columns(word ? word : "?");
        if (!first && column + 1 + width > WIDTH) {
            printf("\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            putchar(' ');
            column++;
        }
        print_safe_line(stdout, word ? word : "?");
        free(word);
        column += width;
        text += size;
        first = false;
    }
    putchar('\n');
}

static bool locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

/* ---- Lines ------------------------------------------------------------------------------------------ */

static void print_mark(const doctor_printer *p, lb_finding_level level)
{
    static const char *const plain[] = {"+", "-", "!", "x"}, *const pretty[] = {"✓", "•", "!", "✗"};
    const colours *c = &p->colours;
    const char *const shades[] = {c->green, c->cyan, c->yellow, c->red};
    printf("  %s%s %-7s%s ", shades[level], p->utf8 ? pretty[level] : plain[level], level_names[level], c->off);
}

static void end_of_alike(doctor_printer *p)
{
    if (p->hidden)
        printf("%*sand %zu more like these: --json shows all\n", INDENT, "", p->hidden);
    p->alike = p->hidden = 0;
}

static void print_place(doctor_printer *p, const char *place)
{
    if (p->place && strcmp(p->place, place) == 0)
        return;
    printf("%s%s", p->begun ? "\n" : "", p->colours.bold);
    print_safe_line(stdout, *place ? place : "This process");
    printf("%s\n", p->colours.off);
    free(p->place);
    p->place = strdup(place);
}

static void print_finding(doctor_printer *p, const lb_finding *f)
{
    const char *place = f->place ? f->place : "";
    bool alike = p->begun && p->place && strcmp(p->place, place) == 0 && strcmp(p->check, f->check) == 0 &&
                 p->level == f->level;
    if (!alike)
        end_of_alike(p);
    print_place(p, place);
    snprintf(p->check, sizeof p->check, "%s", f->check);
    p->level = f->level;
    if (++p->alike > ALIKE_MOST) {
        p->hidden++;
        return;
    }
    print_mark(p, f->level);
    printf("%-14s ", f->check);
    print_wrapped(f->found, INDENT, INDENT);
    if (f->advice) {
        printf("%*s%s", ADVICE, "", p->utf8 ? "→ " : "> ");
        print_wrapped(f->advice, ADVICE + 2, ADVICE + 2);
    }
}

static void add_text(buffer *out, const char *name, const char *text)
{
    buffer_printf(out, ",\"%s\":", name);
    if (!text)
        buffer_literal(out, "null");
    else if (!buffer_json_string(out, text, strlen(text)))
        buffer_literal(out, "\"?\"");
}

static void add_json(doctor_printer *p, const lb_finding *f)
{
    buffer_printf(&p->out, "%s{\"level\":\"%s\"", p->begun ? "," : "", level_names[f->level]);
    add_text(&p->out, "check", f->check);
    add_text(&p->out, "found", f->found);
    add_text(&p->out, "advice", f->advice);
    add_text(&p->out, "place", f->place);
    buffer_char(&p->out, '}');
}

void doctor_print(const lb_finding *finding, void *printer)
{
    doctor_printer *p = printer;
    lb_finding f = *finding;
    if ((unsigned)f.level > LB_FINDING_ERROR) /* of a transport from elsewhere */
        f.level = LB_FINDING_ERROR;
    p->counts[f.level]++;
    if (p->json)
        add_json(p, &f);
    else
        print_finding(p, &f);
    p->begun = true;
    if (!p->json)
        fflush(stdout);
}

/* ---- Begin and end ---------------------------------------------------------------------------------- */

void doctor_printer_open(doctor_printer *p, bool json)
{
    *p = (doctor_printer){.json = json, .colours = colours_for(stdout)};
    p->utf8 = isatty(STDOUT_FILENO) && locale_is_utf8();
    buffer_literal(&p->out, "{\"findings\":[");
}

static int print_json_end(doctor_printer *p, const invocation *in)
{
    lb_value *all = NULL;
    lb_error error = {.status = LB_NO_MEMORY};
    buffer_printf(&p->out, "],\"errors\":%zu,\"warnings\":%zu,\"notes\":%zu}", p->counts[LB_FINDING_ERROR],
                  p->counts[LB_FINDING_WARNING], p->counts[LB_FINDING_NOTE]);
    bool good = !p->out.failed && lb_value_parse(p->out.data, p->out.size, &all, &error) == LB_OK;
    int code = good ? print_result(in, all) : failure(in, &error);
    lb_value_free(all);
    return code;
}

static void print_count(size_t count, const char *what, const char *shade, const doctor_printer *p, bool *first)
{
    if (!count)
        return;
    printf("%s%s%zu %s%s%s", *first ? "" : ", ", shade, count, what, count == 1 ? "" : "s", p->colours.off);
    *first = false;
}

static void print_summary(doctor_printer *p)
{
    bool first = true;
    end_of_alike(p);
    putchar('\n');
    print_count(p->counts[LB_FINDING_ERROR], "error", p->colours.red, p, &first);
    print_count(p->counts[LB_FINDING_WARNING], "warning", p->colours.yellow, p, &first);
    if (first)
        printf("%sNothing is wrong%s", p->colours.green, p->colours.off);
    first = false;
    print_count(p->counts[LB_FINDING_NOTE], "note", p->colours.cyan, p, &first);
    printf(".\n");
}

int doctor_printer_close(doctor_printer *p, const invocation *in)
{
    int code;
    if (p->json) {
        code = print_json_end(p, in);
    } else {
        print_summary(p);
        code = finish_output(in);
    }
    bool wrong = p->counts[LB_FINDING_ERROR] || p->counts[LB_FINDING_WARNING];
    buffer_free(&p->out);
    free(p->place);
    return code == CLI_OK && wrong ? CLI_FAILURE : code;
}
