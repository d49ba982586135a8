/* The tables of `lightbus top`: which columns there are, what they are called on the screen and in JSON, and
 * how they are filled from a snapshot. The screen, plain text and JSON are all made from these. */
#include "top.h"

#include "../base/json.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- Cells ------------------------------------------------------------------------------------------ */

static top_cell text_cell(const char *text) { return (top_cell){.text = text}; }
static top_cell number_cell(double number) { return (top_cell){.number = number}; }

/* Three columns, in this order. */
static void latency_cells(top_cell *cells, const top_rates *rates)
{
    cells[0] = number_cell(top_percentile(&rates->latency, 0.50));
    cells[1] = number_cell(top_percentile(&rates->latency, 0.95));
    cells[2] = number_cell(top_percentile(&rates->latency, 0.99));
}
#define LATENCY_COLUMNS(importance)                                                                            \
    {"p50", "P50", UNIT_SECONDS, (importance) + 1, 5, CALM},                                                   \
        {"p95", "P95", UNIT_SECONDS, (importance), 5, CALM},                                                   \
    {                                                                                                          \
        "p99", "P99", UNIT_SECONDS, (importance) + 2, 5, CALM                                                  \
    }

/* ---- Services --------------------------------------------------------------------------------------- */

static const top_column service_columns[] = {
    {"service", "SERVICE", UNIT_TEXT, 0, 16, CALM},
    {"processes", "PROCS", UNIT_COUNT, 0, 5, CALM},
    {"calls_per_second", "CALLS/S", UNIT_RATE, 0, 7, CALM},
    {"failed_calls_per_second", "ERRORS/S", UNIT_RATE, 1, 8, ALARM},
    LATENCY_COLUMNS(3),
    {"busy", "BUSY", UNIT_SHARE, 4, 4, CALM},
    {"events_handled_per_second", "HANDLED/S", UNIT_RATE, 1, 9, CALM},
    {"events_failed_per_second", "FAILED/S", UNIT_RATE, 2, 8, ALARM},
    {"events_fired_per_second", "FIRED/S", UNIT_RATE, 6, 7, CALM},
    {"memory", "MEMORY", UNIT_BYTES, 7, 6, CALM},
    {0},
};

static void fill_service(top_cell *cells, const void *item)
{
    const top_service *s = item;
    cells[0] = text_cell(s->name);
    cells[1] = number_cell(s->processes);
    cells[2] = number_cell(s->calls.handled);
    cells[3] = number_cell(s->calls.failed);
    latency_cells(cells + 4, &s->calls);
    cells[7] = number_cell(s->calls.busy);
    cells[8] = number_cell(s->events.handled);
    cells[9] = number_cell(s->events.failed);
    cells[10] = number_cell(s->events.fired);
    cells[11] = number_cell(s->memory);
}

/* ---- APIs ------------------------------------------------------------------------------------------- */

static const top_column api_columns[] = {
    {"api", "API", UNIT_TEXT, 0, 18, CALM},
    {"processes", "PROCS", UNIT_COUNT, 5, 5, CALM},
    {"rpcs", "RPCS", UNIT_COUNT, 8, 4, CALM},
    {"events", "EVENTS", UNIT_COUNT, 8, 6, CALM},
    {"calls_per_second", "CALLS/S", UNIT_RATE, 0, 7, CALM},
    {"failed_calls_per_second", "ERRORS/S", UNIT_RATE, 2, 8, ALARM},
    LATENCY_COLUMNS(2),
    {"events_fired_per_second", "FIRED/S", UNIT_RATE, 0, 7, CALM},
    {"stored", "STORED", UNIT_COUNT, 6, 6, CALM},
    {"listeners", "LISTEN", UNIT_COUNT, 4, 6, CALM},
    {"lag", "LAG", UNIT_COUNT, 1, 5, WARNING},
    {"pending", "PENDING", UNIT_COUNT, 3, 7, CALM},
    {"dead_letters", "DEAD", UNIT_COUNT, 1, 4, ALARM},
    {"lost", "LOST", UNIT_COUNT, 3, 4, ALARM},
    {0},
};

static void fill_api(top_cell *cells, const void *item)
{
    const top_api *a = item;
    cells[0] = text_cell(a->name);
    cells[1] = number_cell(a->processes);
    cells[2] = number_cell(a->rpcs);
    cells[3] = number_cell(a->events);
    cells[4] = number_cell(a->calls.handled);
    cells[5] = number_cell(a->calls.failed);
    latency_cells(cells + 6, &a->calls);
    cells[9] = number_cell(a->fired);
    cells[10] = number_cell(a->stored);
    cells[11] = number_cell(a->listeners);
    cells[12] = number_cell(a->lag);
    cells[13] = number_cell(a->pending);
    cells[14] = number_cell(a->dead_letters);
    cells[15] = number_cell(a->lost);
}

/* ---- Listeners -------------------------------------------------------------------------------------- */

static const top_column listener_columns[] = {
    {"group", "LISTENER", UNIT_TEXT, 0, 16, CALM},
    {"api", "API", UNIT_TEXT, 2, 8, CALM},
    {"event", "EVENT", UNIT_TEXT, 3, 5, CALM},
    {"lag", "LAG", UNIT_COUNT, 0, 6, WARNING},
    {"change_per_second", "CHANGE/S", UNIT_CHANGE, 2, 8, CALM},
    {"pending", "PENDING", UNIT_COUNT, 0, 7, CALM},
    {"dead_letters", "DEAD", UNIT_COUNT, 0, 5, ALARM},
    {"lost", "LOST", UNIT_COUNT, 0, 5, ALARM},
    {"consumers", "CONSUMERS", UNIT_COUNT, 1, 9, CALM},
    {0},
};

static void fill_listener(top_cell *cells, const void *item)
{
    const top_listener *l = item;
    cells[0] = text_cell(l->group);
    cells[1] = text_cell(l->api);
    cells[2] = text_cell(l->event);
    cells[3] = number_cell(l->lag);
    cells[4] = number_cell(l->change);
    cells[5] = number_cell(l->pending);
    cells[6] = number_cell(l->dead_letters);
    cells[7] = number_cell(l->lost);
    cells[8] = number_cell(l->consumers);
}

/* ---- RPCs and events -------------------------------------------------------------------------------- */

static const top_column rpc_columns[] = {
    {"rpc", "RPC", UNIT_TEXT, 0, 16, CALM},
    {"calls_per_second", "CALLS/S", UNIT_RATE, 0, 7, CALM},
    {"failed_calls_per_second", "ERRORS/S", UNIT_RATE, 0, 8, ALARM},
    LATENCY_COLUMNS(1),
    {"busy", "BUSY", UNIT_SHARE, 4, 4, CALM},
    {"processes", "PROCS", UNIT_COUNT, 5, 5, CALM},
    {0},
};

static void fill_rpc(top_cell *cells, const void *item)
{
    const top_member *m = item;
    cells[0] = text_cell(m->name);
    cells[1] = number_cell(m->rates.handled);
    cells[2] = number_cell(m->rates.failed);
    latency_cells(cells + 3, &m->rates);
    cells[6] = number_cell(m->rates.busy);
    cells[7] = number_cell(m->processes);
}

static const top_column event_columns[] = {
    {"event", "EVENT", UNIT_TEXT, 0, 16, CALM},
    {"fired_per_second", "FIRED/S", UNIT_RATE, 0, 7, CALM},
    {"handled_per_second", "HANDLED/S", UNIT_RATE, 0, 9, CALM},
    {"failed_per_second", "FAILED/S", UNIT_RATE, 0, 8, ALARM},
    LATENCY_COLUMNS(1),
    {"processes", "PROCS", UNIT_COUNT, 5, 5, CALM},
    {0},
};

static void fill_event(top_cell *cells, const void *item)
{
    const top_member *m = item;
    cells[0] = text_cell(m->name);
    cells[1] = number_cell(m->rates.fired);
    cells[2] = number_cell(m->rates.handled);
    cells[3] = number_cell(m->rates.failed);
    latency_cells(cells + 4, &m->rates);
    cells[7] = number_cell(m->processes);
}

/* ---- Processes -------------------------------------------------------------------------------------- */

static const top_column process_columns[] = {
    {"process", "PROCESS", UNIT_TEXT, 0, 12, CALM},
    {"service", "SERVICE", UNIT_TEXT, 1, 10, CALM},
    {"state", "STATE", UNIT_TEXT, 1, 6, CALM},
    {"heard", "HEARD", UNIT_AGE, 6, 5, CALM},
    {"host", "HOST", UNIT_TEXT, 3, 8, CALM},
    {"pid", "PID", UNIT_NUMBER, 2, 7, CALM},
    {"uptime", "UPTIME", UNIT_AGE, 2, 6, CALM},
    {"memory", "MEMORY", UNIT_BYTES, 3, 6, CALM},
    {"calls_per_second", "CALLS/S", UNIT_RATE, 1, 7, CALM},
    {"failed_calls_per_second", "ERRORS/S", UNIT_RATE, 7, 8, ALARM},
    LATENCY_COLUMNS(5),
    {"busy", "BUSY", UNIT_SHARE, 4, 4, CALM},
    {"events_handled_per_second", "HANDLED/S", UNIT_RATE, 4, 9, CALM},
    {"events_failed_per_second", "FAILED/S", UNIT_RATE, 7, 8, ALARM},
    {"apis", "APIS", UNIT_COUNT, 8, 4, CALM},
    {"listens", "LISTENS", UNIT_COUNT, 9, 7, CALM},
    {0},
};

static void fill_process(top_cell *cells, const void *item)
{
    const top_worker *w = item;
    cells[0] = text_cell(w->name);
    cells[1] = text_cell(w->service);
    cells[2] = (top_cell){.text = w->state, .number = NAN, .alarm = w->silent};
    cells[3] = number_cell(w->heard);
    cells[4] = (top_cell){.text = *w->host ? w->host : NULL, .number = NAN};
    cells[5] = number_cell(w->pid);
    cells[6] = number_cell(w->uptime);
    cells[7] = number_cell(w->memory);
    cells[8] = number_cell(w->calls.handled);
    cells[9] = number_cell(w->calls.failed);
    latency_cells(cells + 10, &w->calls);
    cells[13] = number_cell(w->calls.busy);
    cells[14] = number_cell(w->events.handled);
    cells[15] = number_cell(w->events.failed);
    cells[16] = number_cell(w->apis);
    cells[17] = number_cell(w->listens);
}

/* ---- Making tables ---------------------------------------------------------------------------------- */

static const struct kind {
    const char *key, *title;
    const top_column *columns;
    void (*fill)(top_cell *cells, const void *item);
} kinds[TOP_LISTS] = {
    [TOP_SERVICES] = {"services", "Services", service_columns, fill_service},
    [TOP_APIS] = {"apis", "APIs", api_columns, fill_api},
    [TOP_LISTENERS] = {"listeners", "Listeners", listener_columns, fill_listener},
    [TOP_RPCS] = {"rpcs", "RPCs", rpc_columns, fill_rpc},
    [TOP_EVENTS] = {"events", "Events", event_columns, fill_event},
    [TOP_PROCESSES] = {"processes", "Processes", process_columns, fill_process},
};

size_t top_table_columns(top_list which)
{
    size_t count = 0;
    while (kinds[which].columns[count].title)
        count++;
    return count;
}

static bool holds(const top_cell *cells, size_t count, const char *filter)
{
    for (size_t i = 0; i < count; i++)
        if (cells[i].text && strcasestr(cells[i].text, filter))
            return true;
    return false;
}

static int compare_texts(const char *a, const char *b)
{
    int result = strcasecmp(a ? a : "", b ? b : "");
    return result ? result : strcmp(a ? a : "", b ? b : "");
}

/* Unknown numbers come last, whichever way. */
static int compare_cells(const top_column *column, const top_cell *a, const top_cell *b, bool reversed)
{
    int result;
    if (column->unit == UNIT_TEXT)
        result = compare_texts(a->text, b->text);
    else if (isnan(a->number) || isnan(b->number))
        return isnan(a->number) - isnan(b->number);
    else
        result = (a->number < b->number) - (a->number > b->number);
    return reversed ? -result : result;
}

typedef struct sorting {
    const top_table *table;
    top_order order;
} sorting;

/* Rows that are equal there are in the order of their names. */
static int compare_rows(const void *a, const void *b, void *data)
{
    const top_cell *left = *(top_cell *const *)a, *right = *(top_cell *const *)b;
    const sorting *s = data;
    size_t column = s->order.column;
    int result = compare_cells(&s->table->columns[column], &left[column], &right[column], s->order.reversed);
    for (size_t i = 0; !result && i < s->table->column_count && s->table->columns[i].unit == UNIT_TEXT; i++)
        result = compare_texts(left[i].text, right[i].text);
    return result;
}

bool top_table_make(arena *memory, const top_snapshot *s, top_list which, const char *filter, top_order order,
                    top_table *t)
{
    const struct kind *kind = &kinds[which];
    size_t columns = top_table_columns(which);
    *t = (top_table){kind->key, kind->title, kind->columns, columns, NULL, 0};
    t->rows = arena_alloc(memory, (s->counts[which] + 1) * sizeof *t->rows);
    if (!t->rows)
        return false;
    for (const top_item *item = s->lists[which]; item; item = item->next) {
        top_cell *cells = arena_alloc(memory, columns * sizeof *cells);
        if (!cells)
            return false;
        kind->fill(cells, item);
        if (!filter || !*filter || holds(cells, columns, filter))
            t->rows[t->row_count++] = cells;
    }
    sorting by = {t, order};
    qsort_r(t->rows, t->row_count, sizeof *t->rows, compare_rows, &by);
    return true;
}

/* ---- JSON ------------------------------------------------------------------------------------------- */

static void write_string(buffer *out, const char *text)
{
    if (!buffer_json_string(out, text, strlen(text)))
        buffer_literal(out, "\"?\"");
}

/* What is not known is null; so is a latency beyond the last bucket, which JSON has no number for. */
static void write_number(buffer *out, double number)
{
    if (!isfinite(number))
        buffer_literal(out, "null");
    else if (number == floor(number) && fabs(number) < 1e15)
        buffer_int(out, (int64_t)number);
    else
        json_write_float(out, number);
}

static void write_table(buffer *out, const top_table *t)
{
    buffer_printf(out, ",\"%s\":[", t->key);
    for (size_t row = 0; row < t->row_count; row++) {
        for (size_t i = 0; i < t->column_count; i++) {
            const top_cell *cell = &t->rows[row][i];
            buffer_printf(out, "%s\"%s\":", i ? "," : row ? ",{" : "{", t->columns[i].key);
            if (cell->text)
                write_string(out, cell->text);
            else
                write_number(out, cell->number);
        }
        buffer_char(out, '}');
    }
    buffer_char(out, ']');
}

bool top_json(buffer *out, const top_snapshot *s)
{
    arena memory = {0};
    bool good = true;
    buffer_literal(out, "{\"time\":");
    json_write_float(out, s->time);
    buffer_literal(out, ",\"url\":");
    write_string(out, s->url);
    for (int which = 0; which < TOP_LISTS && good; which++) {
        top_table t;
        good = top_table_make(&memory, s, (top_list)which, NULL, (top_order){0}, &t);
        if (good)
            write_table(out, &t);
    }
    buffer_char(out, '}');
    arena_free(&memory);
    return good && !out->failed;
}
