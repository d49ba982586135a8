/* What is on the screen: a line about the bus, one of totals, the views, a line for what has to be said, the
 * tables of the view, and the keys. And what the keys do. */
#include "top.h"

#include "text.h"

#include <string.h>
#include <time.h>

enum { HEAD_LINES = 4 };
#define CTRL(letter) ((letter)&0x1f)

typedef struct view {
    const char *title;
    top_list tables[2];
    size_t table_count;
} view;

static const view views[VIEW_COUNT] = {
    {"Overview", {TOP_SERVICES, TOP_APIS}, 2},
    {"Listeners", {TOP_LISTENERS}, 1},
    {"RPCs", {TOP_RPCS}, 1},
    {"Events", {TOP_EVENTS}, 1},
    {"Processes", {TOP_PROCESSES}, 1},
};

/* Listeners are in the order of their lag, RPCs and events of how many there are, all else of its name. */
static const top_order orders[TOP_LISTS] = {[TOP_LISTENERS] = {3, false},
                                            [TOP_RPCS] = {1, false},
                                            [TOP_EVENTS] = {2, false},
                                            [TOP_PROCESSES] = {1, false}};

top_ui top_ui_start(void)
{
    top_ui ui = {0};
    for (int i = 0; i < VIEW_COUNT; i++)
        ui.orders[i] = orders[views[i].tables[views[i].table_count - 1]]; /* of its last table */
    return ui;
}

static const char switch_on[] = "No process tells its state: use lightbus run --ping-interval 5, or in the "
                                "configuration plugins: {internal_state: {enabled: true}}";
static const char mute[] = "The transport cannot tell what it has stored: all there is to see are schemas.";

/* ---- Lines ------------------------------------------------------------------------------------------ */

/* A line of a given width, being filled. */
typedef struct line {
    buffer *out;
    size_t left; /* columns */
} line;

static void put(line *l, const char *style, const char *text, const char *off)
{
    if (!l->left)
        return;
    buffer_str(l->out, style);
    l->left -= text_put(l->out, text, l->left, CUT_END);
    buffer_str(l->out, *style ? off : "");
}

static void put_blanks(line *l, size_t columns)
{
    for (; columns && l->left; columns--, l->left--)
        buffer_char(l->out, ' ');
}

/* At the right end of the line, if there is room for all of it and a gap. */
static void put_right(line *l, const char *style, const char *text, const char *off)
{
    size_t columns = text_columns(text);
    if (!columns || l->left < columns + 2)
        return;
    put_blanks(l, l->left - columns);
    put(l, style, text, off);
}

/* ---- The head --------------------------------------------------------------------------------------- */

static void put_title(buffer *out, const top_snapshot *s, const top_ui *ui, const colours *c)
{
    char clock[32] = "", right[96];
    time_t now = (time_t)s->time;
    struct tm local;
    if (localtime_r(&now, &local))
        strftime(clock, sizeof clock, "%H:%M:%S", &local);
    if (ui->paused)
        snprintf(right, sizeof right, "%s  paused", clock);
    else
        snprintf(right, sizeof right, "%s  every %g s", clock, ui->interval);
    size_t reserved = text_columns(right) + 2;
    reserved = reserved < ui->width ? reserved : 0;
    line l = {out, ui->width - reserved};
    put(&l, c->bold, "lightbus top", c->off);
    put_blanks(&l, 2);
    l.left -= text_put(out, s->url, l.left, CUT_MIDDLE);
    l.left += reserved;
    put_right(&l, ui->paused ? c->yellow : c->dim, right, c->off);
}

typedef struct fact {
    const char *name;
    top_unit unit;
    double number;
    int concern;
} fact;

/* Processes that do not tell of themselves cannot be counted. */
static double told(size_t count) { return count ? (double)count : NAN; }

static const char *plural(double number, const char *one, const char *many) { return number == 1 ? one : many; }

/* Facts from the most to the least important: those that have no room are left out. */
static void put_facts(buffer *out, const top_snapshot *s, size_t width, const colours *c)
{
    double services = told(s->counts[TOP_SERVICES]), processes = told(s->counts[TOP_PROCESSES]),
           apis = (double)s->counts[TOP_APIS], listeners = (double)s->counts[TOP_LISTENERS];
    const fact facts[] = {
        {"calls/s", UNIT_RATE, s->calls.handled, CALM},
        {"errors/s", UNIT_RATE, s->calls.failed, ALARM},
        {"p95", UNIT_SECONDS, top_percentile(&s->calls.latency, 0.95), CALM},
        {"events/s", UNIT_RATE, s->fired, CALM},
        {"lag", UNIT_COUNT, s->lag, WARNING},
        {"dead", UNIT_COUNT, s->dead_letters, ALARM},
        {s->lost > 0 ? "lost" : NULL, UNIT_COUNT, s->lost, ALARM},
        {plural(processes, "process", "processes"), UNIT_COUNT, processes, CALM},
        {plural(apis, "API", "APIs"), UNIT_COUNT, apis, CALM},
        {plural(listeners, "listener", "listeners"), UNIT_COUNT, listeners, CALM},
        {plural(services, "service", "services"), UNIT_COUNT, services, CALM},
    };
    line l = {out, width};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        char number[NUMBER_SIZE];
        if (!facts[i].name) /* rare, and no news */
            continue;
        const char *text = top_number(number, facts[i].unit, facts[i].number);
        size_t columns = text_columns(text) + 1 + strlen(facts[i].name) + (i ? 3 : 0);
        if (columns > l.left)
            break;
        put(&l, "", i ? "   " : "", "");
        bool worrying = facts[i].number > 0;
        put(&l,
            worrying && facts[i].concern == ALARM ? c->red
            : worrying && facts[i].concern        ? c->yellow
                                                  : c->bold,
            text, c->off);
        put(&l, c->dim, " ", c->off);
        put(&l, c->dim, facts[i].name, c->off);
    }
}

static void put_tabs(buffer *out, const top_ui *ui, const colours *c)
{
    line l = {out, ui->width};
    for (int i = 0; i < VIEW_COUNT; i++) {
        char text[32];
        bool chosen = i == ui->view;
        if (ui->coloured)
            snprintf(text, sizeof text, " %d %s ", i + 1, views[i].title);
        else
            snprintf(text, sizeof text, chosen ? "[%d %s]" : " %d %s ", i + 1, views[i].title);
        if (i)
            put_blanks(&l, 1);
        put(&l, chosen && ui->coloured ? "\033[7m" : "", text, c->off);
    }
    if (*ui->filter && !ui->typing) {
        char text[FILTER_SIZE + 16];
        snprintf(text, sizeof text, "filter: %s", ui->filter);
        put_right(&l, c->yellow, text, c->off);
    }
}

/* What has to be said: that the bus is away; else what is not known, and how it could be. */
static const char *note(const top_snapshot *s, const char *trouble)
{
    if (*trouble)
        return trouble;
    return s->mute ? mute : s->counts[TOP_PROCESSES] ? "" : switch_on;
}

/* ---- Tables ----------------------------------------------------------------------------------------- */

/* The tables of a view, below each other. Of a single one the titles stay when it is scrolled. */
typedef struct body {
    top_table tables[2];
    top_layout layouts[2];
    size_t count;
    size_t lines; /* that are scrolled */
} body;

static bool make_body(arena *memory, const top_snapshot *s, const top_ui *ui, body *b)
{
    const view *v = &views[ui->view];
    *b = (body){0};
    for (size_t i = 0; i < v->table_count; i++) {
        bool last = i + 1 == v->table_count;
        const top_order *order = last ? &ui->orders[ui->view] : NULL;
        top_table *t = &b->tables[b->count];
        if (!top_table_make(memory, s, v->tables[i], ui->filter, order ? *order : (top_order){0}, t))
            return false;
        if (!t->row_count && !last)
            continue;
        b->layouts[b->count] = top_layout_make(t, ui->width, order);
        b->lines += b->count ? 2 + t->row_count : t->row_count; /* a blank line and titles between */
        b->count++;
    }
    b->lines += b->count > 1; /* the titles of the first one */
    return true;
}

/* One of the lines that are scrolled. */
static void put_body_line(buffer *out, const body *b, size_t at, const colours *c)
{
    const size_t first = b->tables[0].row_count;
    if (b->count == 1)
        top_layout_row(out, &b->tables[0], &b->layouts[0], at, c);
    else if (at == 0)
        top_layout_titles(out, &b->tables[0], &b->layouts[0], c);
    else if (at <= first)
        top_layout_row(out, &b->tables[0], &b->layouts[0], at - 1, c);
    else if (at == first + 2)
        top_layout_titles(out, &b->tables[1], &b->layouts[1], c);
    else if (at > first + 2)
        top_layout_row(out, &b->tables[1], &b->layouts[1], at - first - 3, c);
}

static const char *const help_lines[] = {
    "1 - 5, Tab        the views: overview, listeners, RPCs, events, processes",
    "Up, Down, PgUp    scroll; Home and End go to the first and to the last row",
    "s, S              sort by the next column, by the one before",
    "r                 the other way round",
    "/                 show rows that hold a text; Escape shows all again",
    "p, Space          pause, and go on",
    "h, ?              this help",
    "q, Ctrl-C         quit",
    "",
    "CALLS, ERRORS, P50 to P99, BUSY, HANDLED and FAILED are what processes tell of",
    "themselves, between their last two reports; \u2013 is what nobody tells. P95 is the",
    "time within which 95 of 100 calls were done. STORED, LAG, PENDING and DEAD are",
    "asked of the bus, and so is FIRED of an API. LAG is what has been given to no",
    "process of the listener yet, PENDING what is in hand.",
};
enum { HELP_LINES = sizeof help_lines / sizeof *help_lines };

static void put_plain(buffer *out, const char *text, size_t width, const char *style, const char *off)
{
    line l = {out, width};
    put(&l, style, text, off);
}

static void put_help(buffer *out, const top_ui *ui, size_t room)
{
    for (size_t i = 0; i < room; i++) {
        put_plain(out, i < HELP_LINES ? help_lines[i] : "", ui->width, "", "");
        buffer_char(out, '\n');
    }
}

static void put_empty(buffer *out, const top_ui *ui, const colours *c)
{
    char text[96];
    if (*ui->filter)
        snprintf(text, sizeof text, "Nothing holds \"%s\".", ui->filter);
    else
        snprintf(text, sizeof text, "Nothing yet.");
    put_plain(out, text, ui->width, c->dim, c->off);
}

/* Exactly `room` lines. */
static void put_body(buffer *out, const body *b, top_ui *ui, size_t room, const colours *c)
{
    size_t *at = &ui->scrolled[ui->view];
    bool fixed = b->count == 1 && room; /* the titles */
    ui->page = room - fixed;
    if (*at + ui->page > b->lines)
        *at = b->lines > ui->page ? b->lines - ui->page : 0;
    if (fixed) {
        top_layout_titles(out, &b->tables[0], &b->layouts[0], c);
        buffer_char(out, '\n');
    }
    for (size_t i = 0; i < ui->page; i++) {
        if (*at + i < b->lines)
            put_body_line(out, b, *at + i, c);
        else if (i == 0)
            put_empty(out, ui, c);
        buffer_char(out, '\n');
    }
}

static void put_foot(buffer *out, const top_ui *ui, const body *b, const colours *c)
{
    line l = {out, ui->width};
    if (ui->typing) {
        put(&l, c->bold, "/", c->off);
        put(&l, "", ui->filter, "");
        put(&l, c->dim, ui->coloured ? "\u2588" : "_", c->off);
        put_right(&l, c->dim, "Enter keeps it, Escape drops it", c->off);
        return;
    }
    char position[64] = "";
    size_t at = ui->scrolled[ui->view];
    if (b->lines > ui->page && !ui->help)
        snprintf(position, sizeof position, "%zu\u2013%zu of %zu", at + 1, at + ui->page, b->lines);
    static const char *const keys[][2] = {{"q", "quit"},    {"h", "help"},   {"Tab", "view"}, {"s", "sort"},
                                          {"r", "reverse"}, {"/", "filter"}, {"p", "pause"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (l.left < strlen(keys[i][0]) + strlen(keys[i][1]) + 3)
            break;
        put(&l, "", i ? "  " : "", "");
        put(&l, c->bold, keys[i][0], c->off);
        put(&l, c->dim, " ", c->off);
        put(&l, c->dim, keys[i][1], c->off);
    }
    put_right(&l, c->dim, position, c->off);
}

bool top_screen_text(buffer *out, const top_snapshot *s, top_ui *ui, const colours *c)
{
    arena memory = {0};
    body b;
    bool good = make_body(&memory, s, ui, &b);
    if (good) {
        size_t room = ui->height > HEAD_LINES + 1 ? ui->height - HEAD_LINES - 1 : 0;
        put_title(out, s, ui, c);
        buffer_char(out, '\n');
        put_facts(out, s, ui->width, c);
        buffer_char(out, '\n');
        put_tabs(out, ui, c);
        buffer_char(out, '\n');
        put_plain(out, note(s, ui->trouble), ui->width, *ui->trouble ? c->red : c->yellow, c->off);
        buffer_char(out, '\n');
        if (ui->help)
            put_help(out, ui, room);
        else
            put_body(out, &b, ui, room, c);
        put_foot(out, ui, &b, c);
    }
    arena_free(&memory);
    return good && !out->failed;
}

/* ---- Plain text ------------------------------------------------------------------------------------- */

bool top_plain_text(buffer *out, const top_snapshot *s, size_t width, const colours *c)
{
    arena memory = {0};
    char clock[32] = "";
    time_t now = (time_t)s->time;
    struct tm local;
    bool good = true;
    const size_t most = width ? width : SIZE_MAX / 4;
    if (localtime_r(&now, &local))
        strftime(clock, sizeof clock, "%Y-%m-%d %H:%M:%S", &local);
    line l = {out, most};
    put(&l, c->bold, "lightbus top", c->off);
    put(&l, "", "  ", "");
    put(&l, "", clock, "");
    put(&l, "", "  ", "");
    l.left -= text_put(out, s->url, l.left, CUT_MIDDLE);
    buffer_char(out, '\n');
    put_facts(out, s, most, c);
    buffer_char(out, '\n');
    if (*note(s, ""))
        buffer_printf(out, "%s\n", note(s, ""));
    for (int i = 0; i < TOP_LISTS && good; i++) {
        top_table t;
        good = top_table_make(&memory, s, (top_list)i, NULL, orders[i], &t);
        if (!good || !t.row_count)
            continue;
        top_layout layout = top_layout_make(&t, width, NULL);
        buffer_char(out, '\n');
        top_layout_titles(out, &t, &layout, c);
        buffer_char(out, '\n');
        for (size_t row = 0; row < t.row_count; row++) {
            top_layout_row(out, &t, &layout, row, c);
            buffer_char(out, '\n');
        }
    }
    arena_free(&memory);
    return good && !out->failed;
}

/* ---- Keys ------------------------------------------------------------------------------------------- */

static void show_view(top_ui *ui, int view)
{
    ui->view = (view + VIEW_COUNT) % VIEW_COUNT;
    ui->help = false;
}

static void scroll(top_ui *ui, int64_t lines)
{
    size_t *at = &ui->scrolled[ui->view];
    if (lines < 0)
        *at = *at > (size_t)-lines ? *at - (size_t)-lines : 0;
    else
        *at += (size_t)lines; /* put_body keeps it within the table */
}

static void sort_by(top_ui *ui, size_t step)
{
    const view *v = &views[ui->view];
    size_t columns = top_table_columns(v->tables[v->table_count - 1]);
    top_order *order = &ui->orders[ui->view];
    *order = (top_order){(order->column + step) % columns, false};
}

/* Drops the last character: its first byte and those that continue it. */
static void erase(char *text)
{
    size_t size = strlen(text);
    while (size && ((unsigned char)text[--size] & 0xc0) == 0x80)
        ;
    text[size] = '\0';
}

static void type_key(top_ui *ui, int key)
{
    size_t size = strlen(ui->filter);
    if (key == '\r' || key == '\n' || key == KEY_ESCAPE)
        ui->typing = false;
    if (key == KEY_ESCAPE || key == CTRL('u'))
        *ui->filter = '\0';
    else if (key == 0x7f || key == '\b')
        erase(ui->filter);
    else if (key >= ' ' && key < 256 && size + 1 < sizeof ui->filter)
        memcpy(ui->filter + size, (const char[]){(char)key, '\0'}, 2);
    ui->scrolled[ui->view] = 0;
}

bool top_ui_key(top_ui *ui, int key)
{
    int64_t page = ui->page > 1 ? (int64_t)ui->page - 1 : 1;
    if (ui->typing) {
        type_key(ui, key);
        return true;
    }
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
        show_view(ui, key - '1');
        break;
    case '\t':
        show_view(ui, ui->view + 1);
        break;
    case KEY_BACK_TAB:
        show_view(ui, ui->view - 1);
        break;
    case 'k':
    case KEY_UP:
        scroll(ui, -1);
        break;
    case 'j':
    case KEY_DOWN:
        scroll(ui, 1);
        break;
    case KEY_PAGE_UP:
        scroll(ui, -page);
        break;
    case KEY_PAGE_DOWN:
        scroll(ui, page);
        break;
    case KEY_HOME:
        ui->scrolled[ui->view] = 0;
        break;
    case KEY_END:
        ui->scrolled[ui->view] = SIZE_MAX / 4;
        break;
    case 's':
        sort_by(ui, 1);
        break;
    case 'S':
        sort_by(ui, top_table_columns(views[ui->view].tables[views[ui->view].table_count - 1]) - 1);
        break;
    case 'r':
        ui->orders[ui->view].reversed = !ui->orders[ui->view].reversed;
        break;
    case 'p':
    case ' ':
        ui->paused = !ui->paused;
        break;
    case '/':
        ui->typing = true;
        ui->help = false;
        break;
    case 'h':
    case '?':
        ui->help = !ui->help;
        break;
    case KEY_ESCAPE:
        ui->help = false;
        *ui->filter = '\0';
        break;
    default:
        break;
    }
    return true;
}
