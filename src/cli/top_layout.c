/* A table in a width: which columns have room, and how much.
 *
 * Numbers are never cut; where they have no room, whole columns are left out, the least important first. Texts
 * are cut in the middle, where names of a family differ least, down to the column's `least`, and the first
 * column to anything. */
#include "top.h"

#include "text.h"

#include <string.h>

enum { GAP = 2 };
#define UNKNOWN   "\u2013"
#define DOWNWARDS "\u25be"
#define UPWARDS   "\u25b4"

/* ---- Numbers ---------------------------------------------------------------------------------------- */

static void format_large(char *out, double number)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    size_t unit = 0;
    for (; fabs(number) >= 999.5 && unit < 4; unit++)
        number /= 1000;
    snprintf(out, NUMBER_SIZE, "%.*f%s", unit && fabs(number) < 9.95 ? 1 : 0, number, units[unit]);
}

static void format_rate(char *out, double number)
{
    if (number == 0)
        snprintf(out, NUMBER_SIZE, "0");
    else if (fabs(number) < 0.01)
        snprintf(out, NUMBER_SIZE, "<0.01");
    else if (fabs(number) < 0.995)
        snprintf(out, NUMBER_SIZE, "%.2f", number);
    else if (fabs(number) < 9.95)
        snprintf(out, NUMBER_SIZE, "%.1f", number);
    else
        format_large(out, number);
}

static void format_change(char *out, double number)
{
    char amount[NUMBER_SIZE];
    format_rate(amount, fabs(number) < 0.01 ? 0 : fabs(number));
    const char *sign = strcmp(amount, "0") == 0 ? "" : number < 0 ? "-" : "+";
    snprintf(out, NUMBER_SIZE, "%s%.*s", sign, NUMBER_SIZE - 2, amount);
}

static void format_seconds(char *out, double s)
{
    if (isinf(s))
        snprintf(out, NUMBER_SIZE, "long");
    else if (s < 0.0009995)
        snprintf(out, NUMBER_SIZE, "%.0f\u00b5s", s * 1e6);
    else if (s < 0.00995)
        snprintf(out, NUMBER_SIZE, "%.1fms", s * 1e3);
    else if (s < 0.9995)
        snprintf(out, NUMBER_SIZE, "%.0fms", s * 1e3);
    else
        snprintf(out, NUMBER_SIZE, "%.*fs", s < 9.95 ? 1 : 0, s);
}

static void format_age(char *out, double seconds)
{
    long long s = seconds < 0 ? 0 : seconds < 1e12 ? (long long)seconds : 1000000000000;
    if (s < 60)
        snprintf(out, NUMBER_SIZE, "%llds", s);
    else if (s < 3600)
        snprintf(out, NUMBER_SIZE, "%lldm%02llds", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, NUMBER_SIZE, "%lldh%02lldm", s / 3600, s / 60 % 60);
    else
        snprintf(out, NUMBER_SIZE, "%lldd%02lldh", s / 86400, s / 3600 % 24);
}

static void format_bytes(char *out, double bytes)
{
    static const char *const units[] = {"B", "K", "M", "G", "T"};
    size_t unit = 0;
    for (; bytes >= 999.5 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(out, NUMBER_SIZE, "%.*f%s", unit && bytes < 9.95 ? 1 : 0, bytes, units[unit]);
}

const char *top_number(char out[NUMBER_SIZE], top_unit unit, double number)
{
    if (isnan(number))
        return UNKNOWN;
    switch (unit) {
    case UNIT_TEXT:
    case UNIT_NUMBER:
        snprintf(out, NUMBER_SIZE, "%.0f", number);
        break;
    case UNIT_COUNT:
        if (fabs(number) < 99999.5)
            snprintf(out, NUMBER_SIZE, "%.0f", number);
        else
            format_large(out, number);
        break;
    case UNIT_RATE:
        format_rate(out, number);
        break;
    case UNIT_CHANGE:
        format_change(out, number);
        break;
    case UNIT_SECONDS:
        format_seconds(out, number);
        break;
    case UNIT_AGE:
        format_age(out, number);
        break;
    case UNIT_BYTES:
        format_bytes(out, number);
        break;
    case UNIT_SHARE:
        snprintf(out, NUMBER_SIZE, "%.0f%%", number * 100);
        break;
    }
    return out;
}

/* ---- Widths ----------------------------------------------------------------------------------------- */

static const char *cell_text(const top_column *column, const top_cell *cell, char out[NUMBER_SIZE])
{
    return cell->text ? cell->text : top_number(out, column->unit, cell->number);
}

/* What a column takes when there is room for everything. */
static size_t natural_width(const top_table *t, size_t i, bool marked)
{
    char number[NUMBER_SIZE];
    size_t width = strlen(t->columns[i].title) + marked;
    if (t->columns[i].unit != UNIT_TEXT && width < t->columns[i].least)
        width = t->columns[i].least;
    for (size_t row = 0; row < t->row_count; row++) {
        size_t columns = text_columns(cell_text(&t->columns[i], &t->rows[row][i], number));
        width = columns > width ? columns : width;
    }
    return width;
}

static size_t least_width(const top_column *column, size_t natural)
{
    return column->unit == UNIT_TEXT && column->least < natural ? column->least : natural;
}

/* The column to leave out first, of those shown: the least important one, the last of them; 0: the first column
 * alone is left, which stays. */
static size_t least_important(const top_table *t, const bool *shown)
{
    size_t worst = 0;
    for (size_t i = 1; i < t->column_count; i++)
        if (shown[i] && (!worst || t->columns[i].importance >= t->columns[worst].importance))
            worst = i;
    return worst;
}

/* Leaves out columns until the rest fits at its least; returns the room that is left over. */
static size_t choose(const top_table *t, size_t *least, size_t width, bool *shown)
{
    for (;;) {
        size_t needed = least[0], worst = least_important(t, shown);
        for (size_t i = 1; i < t->column_count; i++)
            needed += shown[i] ? GAP + least[i] : 0;
        if (needed <= width)
            return width - needed;
        if (!worst) {
            least[0] = width;
            return 0;
        }
        shown[worst] = false;
    }
}

top_layout top_layout_make(const top_table *t, size_t width, const top_order *order)
{
    top_layout l = {.marked = order != NULL};
    size_t natural[COLUMNS_MOST], least[COLUMNS_MOST], room;
    bool shown[COLUMNS_MOST], narrow = true;
    if (order)
        l.order = *order;
    for (size_t i = 0; i < t->column_count; i++) {
        natural[i] = natural_width(t, i, order && order->column == i);
        least[i] = width ? least_width(&t->columns[i], natural[i]) : natural[i];
        shown[i] = true;
    }
    room = width ? choose(t, least, width, shown) : 0;
    for (size_t i = 0; i < t->column_count; i++)
        l.widths[i] = shown[i] ? least[i] : 0;
    while (room && narrow) { /* what is left over goes to the texts in turn */
        narrow = false;
        for (size_t i = 0; i < t->column_count && room; i++)
            if (l.widths[i] && l.widths[i] < natural[i]) {
                l.widths[i]++;
                room--;
                narrow = true;
            }
    }
    return l;
}

/* ---- Lines ------------------------------------------------------------------------------------------ */

static void pad(buffer *out, size_t columns)
{
    while (columns--)
        buffer_char(out, ' ');
}

/* The last column that is shown: nothing is padded after it. */
static size_t last_of(const top_table *t, const top_layout *l)
{
    size_t last = 0;
    for (size_t i = 0; i < t->column_count; i++)
        if (l->widths[i])
            last = i;
    return last;
}

static void put_cell(buffer *out, const top_column *column, size_t width, bool last, const char *text,
                     const char *style, const char *off)
{
    size_t columns = text_columns(text);
    bool is_text = column->unit == UNIT_TEXT;
    if (!is_text && columns < width)
        pad(out, width - columns);
    buffer_str(out, style);
    columns = text_put(out, text, width, CUT_MIDDLE);
    buffer_str(out, *style ? off : "");
    if (is_text && !last)
        pad(out, width - columns);
    if (!last)
        pad(out, GAP);
}

void top_layout_titles(buffer *out, const top_table *t, const top_layout *l, const colours *c)
{
    size_t last = last_of(t, l);
    for (size_t i = 0; i < t->column_count; i++) {
        char title[NUMBER_SIZE];
        bool downwards = (t->columns[i].unit != UNIT_TEXT) != l->order.reversed;
        if (!l->widths[i])
            continue;
        snprintf(title, sizeof title, "%s%s", t->columns[i].title,
                 !l->marked || l->order.column != i ? ""
                 : downwards                        ? DOWNWARDS
                                                    : UPWARDS);
        put_cell(out, &t->columns[i], l->widths[i], i == last, title, c->bold, c->off);
    }
}

static const char *style_of(const top_column *column, const top_cell *cell, const colours *c)
{
    if (cell->alarm)
        return c->red;
    if (cell->text)
        return "";
    if (isnan(cell->number) || cell->number == 0)
        return c->dim;
    return column->concern == ALARM ? c->red : column->concern == WARNING ? c->yellow : "";
}

void top_layout_row(buffer *out, const top_table *t, const top_layout *l, size_t row, const colours *c)
{
    size_t last = last_of(t, l);
    for (size_t i = 0; i < t->column_count; i++) {
        char number[NUMBER_SIZE];
        const top_cell *cell = &t->rows[row][i];
        if (l->widths[i])
            put_cell(out, &t->columns[i], l->widths[i], i == last, cell_text(&t->columns[i], cell, number),
                     style_of(&t->columns[i], cell, c), c->off);
    }
}
