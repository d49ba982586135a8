/* What the parts of `lightbus top` share: top_state.c knows what processes tell of themselves, top_collect.c
 * asks the bus and makes a snapshot of both, top_tables.c makes tables of the snapshot, top_layout.c fits a
 * table into a width, top_view.c composes a screen, top_screen.c has the terminal, cmd_top.c runs it all.
 *
 * A number that is not known is NAN, and shown as such: nothing is guessed. */
#ifndef CLI_TOP_H
#define CLI_TOP_H

#include "cli.h"

#include "../base/arena.h"
#include "../base/buffer.h"

#include <math.h>

/* ---- top_histogram.c: how long things took ---------------------------------------------------------- */

typedef struct top_histogram {
    struct top_bucket {
        double bound, count; /* so many took at most so many seconds, and longer than the bucket before */
    } * buckets;             /* in ascending order */
    size_t count, capacity;
} top_histogram; /* {0} is an empty one */

/* False when memory is short. */
bool top_histogram_add(arena *memory, top_histogram *h, double bound, double count);
bool top_histogram_merge(arena *memory, top_histogram *h, const top_histogram *more);
/* The bound of the bucket that holds the `share` (0.95) of what was counted; NAN when nothing was. */
double top_percentile(const top_histogram *h, double share);

/* ---- top_state.c: processes, from the events of internal.state -------------------------------------- */

typedef struct top_process {
    struct top_process *next;
    char *service, *name, *host; /* host: "" when it is not known */
    double pid, memory, started, ping_interval;
    lb_value *api_names, *listening_for;
    struct top_report {
        double timestamp;     /* seconds, by the clock of the process */
        lb_value *statistics; /* NULL: none */
    } last, before;
    int64_t heard_ns; /* when its last report was fired, by our clock */
} top_process;

typedef struct top_state {
    top_process *processes;
    size_t count;
} top_state;

/* An event of internal.state that was fired then. False when memory is short. */
bool top_state_take(top_state *s, const lb_event *event, int64_t fired_ns);
/* Forgets processes that have been silent for long. */
void top_state_forget(top_state *s, int64_t now_ns);
void top_state_free(top_state *s);
/* A ping is overdue. */
bool top_process_is_silent(const top_process *p, int64_t now_ns);

/* What a process did with an RPC or an event between its last two reports. */
typedef struct top_work {
    const char *name;       /* "api.member" */
    double handled, failed; /* per second: calls answered or events handled, and those that failed of them */
    double fired, busy;     /* per second */
    const lb_value *last, *then; /* latencies, cumulative */
} top_work;

/* Calls `found` for each. False when they cannot be told: no statistics, or not two reports yet. */
bool top_process_work(const top_process *p, const char *kind, void (*found)(const top_work *work, void *data),
                      void *data);
/* The difference of its latencies. False when memory is short. */
bool top_work_latency(arena *memory, const top_work *work, top_histogram *h);

/* ---- top_collect.c: the bus at a point in time ------------------------------------------------------ */

/* Per second, as far as processes tell: of calls, or of handled events. */
typedef struct top_rates {
    double handled, failed, fired, busy;
    top_histogram latency;
} top_rates;

typedef enum top_list {
    TOP_SERVICES,
    TOP_APIS,
    TOP_LISTENERS,
    TOP_RPCS,
    TOP_EVENTS,
    TOP_PROCESSES,
    TOP_LISTS
} top_list;

/* What all elements of a list begin with. */
typedef struct top_item {
    struct top_item *next;
} top_item;

typedef struct top_service {
    top_item item;
    const char *name;
    double processes, memory;
    top_rates calls, events;
} top_service;

typedef struct top_worker {
    top_item item;
    const char *service, *name, *host, *state;
    double pid, memory, uptime, heard, apis, listens;
    bool silent;
    top_rates calls, events;
} top_worker;

typedef struct top_member {
    top_item item;
    const char *name; /* "api.member" */
    double processes; /* those that told of it */
    top_rates rates;
} top_member;

typedef struct top_api {
    top_item item;
    const char *name;
    double rpcs, events; /* how many it has */
    double processes;    /* that serve it */
    double fired;        /* events per second, of all */
    double stored, listeners, lag, pending, dead_letters, lost;
    top_rates calls;
} top_api;

typedef struct top_listener {
    top_item item;
    const char *group, *api, *event;
    double lag, pending, consumers, dead_letters, lost;
    double change; /* of lag and pending together, per second */
} top_listener;

typedef struct top_snapshot {
    arena memory;
    double time; /* seconds since 1970 */
    const char *url;
    top_item *lists[TOP_LISTS]; /* in no order */
    size_t counts[TOP_LISTS];
    top_rates calls;
    double fired, lag, pending, dead_letters, lost;
    bool mute; /* the transport cannot tell what it has stored */
} top_snapshot;

typedef struct top_collector top_collector;

/* `internal`: with the APIs internal.*. NULL when memory is short. */
top_collector *top_collector_new(lb_bus *bus, bool internal);
void top_collector_free(top_collector *c);
/* Asks the bus, which blocks as lb_history_open. Rates are those since the last time. */
lb_status top_collect(top_collector *c, top_snapshot **snapshot, lb_error *error);
void top_snapshot_free(top_snapshot *s); /* NULL is allowed */

/* ---- top_tables.c: a snapshot as tables ------------------------------------------------------------- */

typedef enum top_unit {
    UNIT_TEXT,
    UNIT_NUMBER,
    UNIT_COUNT,
    UNIT_RATE,
    UNIT_CHANGE,
    UNIT_SECONDS,
    UNIT_AGE,
    UNIT_BYTES,
    UNIT_SHARE
} top_unit;

typedef struct top_column {
    const char *key;   /* of JSON */
    const char *title; /* NULL after the last column */
    top_unit unit;
    int importance; /* the columns with the greatest number go first where there is no room */
    size_t least;   /* texts are not cut to less; numbers have at least as much room, so that columns stay */
    enum { CALM, WARNING, ALARM } concern; /* of a number above 0 */
} top_column;

typedef struct top_cell {
    const char *text; /* NULL: a number */
    double number;
    bool alarm;
} top_cell;

typedef struct top_table {
    const char *key, *title;
    const top_column *columns;
    size_t column_count;
    top_cell **rows;
    size_t row_count;
} top_table;

/* Makes it in `memory`, with the rows that hold `filter` in a text (NULL: all), sorted by a column; upwards for
 * texts and downwards for numbers, unless it is reversed. False when memory is short. */
typedef struct top_order {
    size_t column;
    bool reversed;
} top_order;
bool top_table_make(arena *memory, const top_snapshot *s, top_list which, const char *filter, top_order order,
                    top_table *table);
size_t top_table_columns(top_list which);
/* The text of a number, in `out`. */
enum { NUMBER_SIZE = 32 };
const char *top_number(char out[NUMBER_SIZE], top_unit unit, double number);
/* A snapshot as a line of JSON. */
bool top_json(buffer *out, const top_snapshot *s);

/* ---- top_layout.c: a table in a width --------------------------------------------------------------- */

enum { COLUMNS_MOST = 24 };
typedef struct top_layout {
    size_t widths[COLUMNS_MOST]; /* 0: the column is left out */
    top_order order;             /* marked in its title */
    bool marked;
} top_layout;

/* `width` 0: as wide as it is. */
top_layout top_layout_make(const top_table *t, size_t width, const top_order *order);
/* Append a line without its end, at most as wide as the layout. */
void top_layout_titles(buffer *out, const top_table *t, const top_layout *l, const colours *c);
void top_layout_row(buffer *out, const top_table *t, const top_layout *l, size_t row, const colours *c);

/* ---- top_view.c: what is on the screen -------------------------------------------------------------- */

enum { VIEW_COUNT = 5, FILTER_SIZE = 64 };

typedef struct top_ui {
    int view;
    top_order orders[VIEW_COUNT];
    size_t scrolled[VIEW_COUNT];
    char filter[FILTER_SIZE];
    bool typing, help, paused;
    size_t width, height; /* of the terminal */
    size_t page;          /* lines of tables that are seen; set by top_screen_text */
    double interval;      /* seconds */
    char trouble[256];    /* why there is no news, or "" */
    bool coloured;
} top_ui;

top_ui top_ui_start(void);

/* The whole screen: `height` lines with line ends between. False when memory is short. */
bool top_screen_text(buffer *out, const top_snapshot *s, top_ui *ui, const colours *c);
/* All tables below each other, as wide as `width` (0: as they are). */
bool top_plain_text(buffer *out, const top_snapshot *s, size_t width, const colours *c);

typedef enum top_key {
    KEY_UP = 256,
    KEY_DOWN,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_HOME,
    KEY_END,
    KEY_BACK_TAB,
    KEY_ESCAPE
} top_key; /* or a byte */
/* What a key does. False: quit. */
bool top_ui_key(top_ui *ui, int key);

/* ---- top_screen.c: the terminal --------------------------------------------------------------------- */

/* Takes the terminal over, also anew after it was left or the process was stopped; it is given back by
 * top_screen_leave, and when the program crashes. False: stdin or stdout is none. */
bool top_screen_enter(void);
void top_screen_leave(void);
void top_screen_size(size_t *width, size_t *height);
/* Shows a screen: writes the lines that have changed since the last one. */
void top_screen_show(const buffer *text);
/* What was typed: keys, up to `most`, read once. -1: the terminal is gone. */
int top_screen_keys(int *keys, size_t most);

/* ---- top_watch.c: asking the bus on a thread of its own --------------------------------------------- */

typedef struct top_watch top_watch;

/* Begins to ask every so often, for the first time after that. The collector stays the caller's, who leaves it
 * alone until top_watch_end. NULL with *error. */
top_watch *top_watch_begin(top_collector *c, int interval_ms, lb_error *error);
void top_watch_end(top_watch *w);     /* waits for the question that is being asked; NULL is allowed */
int top_watch_fd(const top_watch *w); /* readable when there is news */
/* Takes the news: *snapshot, the caller's now, or NULL with what went wrong in `trouble`. False: there is none.
 */
bool top_watch_take(top_watch *w, top_snapshot **snapshot, char *trouble, size_t size);
void top_watch_pause(top_watch *w, bool paused);

#endif
