/* lightbus top: texts in columns, numbers for people, latencies, tables in a width, the screen, what keys do.
 */
#include "cli/text.h"
#include "cli/top.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

/* ---- Texts ------------------------------------------------------------------------------------------ */

static void put(const char *text, size_t most, text_cut cut, const char *expected, size_t columns)
{
    buffer out = {0};
    assert_int_equal(text_put(&out, text, most, cut), columns);
    assert_string_equal(buffer_text(&out), expected);
    assert_int_equal(text_columns(expected), columns);
    buffer_free(&out);
}

static void texts_are_measured_in_columns(void **state)
{
    (void)state;
    assert_int_equal(text_columns(""), 0);
    assert_int_equal(text_columns("auth.check"), 10);
    assert_int_equal(text_columns("gr\u00fc\u00dfe"), 5);
    assert_int_equal(text_columns("\u5a92\u4f53"), 4);
    assert_int_equal(text_columns("e\u0301"), 1); /* a letter with a combining accent */
    assert_int_equal(text_columns("\xff\x80"), 2);
    assert_int_equal(text_columns("\033[1m"), 4);
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    put("auth", 4, CUT_END, "auth", 4);
    put("auth.check", 5, CUT_END, "auth\u2026", 5);
    put("auth.check", 5, CUT_MIDDLE, "au\u2026ck", 5);
    put("auth.check", 4, CUT_MIDDLE, "au\u2026k", 4);
    put("auth.check", 1, CUT_MIDDLE, "\u2026", 1);
    put("auth.check", 0, CUT_MIDDLE, "", 0);
    put("\u5a92\u4f53\u670d\u52a1", 8, CUT_END, "\u5a92\u4f53\u670d\u52a1", 8);
    put("\u5a92\u4f53\u670d\u52a1", 7, CUT_END, "\u5a92\u4f53\u670d\u2026", 7);
    put("\u5a92\u4f53\u670d\u52a1", 6, CUT_END, "\u5a92\u4f53\u2026", 5); /* half a character is none */
    put("\u5a92\u4f53\u670d\u52a1", 7, CUT_MIDDLE, "\u5a92\u2026\u52a1", 5);
}

static void texts_cannot_drive_the_terminal(void **state)
{
    (void)state;
    put("a\033[31mb\n\x7f", 80, CUT_END, "a?[31mb??", 9);
    put("a\xc2\x9b"
        "b",
        80, CUT_END, "a?b", 3); /* C1, as UTF-8 */
    put("a\xff"
        "b\xe5\xaa",
        80, CUT_END, "a?b??", 5);
}

/* ---- Numbers ---------------------------------------------------------------------------------------- */

static void numbers_are_short(void **state)
{
    (void)state;
    static const struct {
        top_unit unit;
        double number;
        const char *text;
    } rows[] = {
        {UNIT_COUNT, 0, "0"},
        {UNIT_COUNT, 99999, "99999"},
        {UNIT_COUNT, 100000, "100k"},
        {UNIT_COUNT, 1250000, "1.2M"},
        {UNIT_COUNT, 999960, "1.0M"},
        {UNIT_COUNT, NAN, "\u2013"},
        {UNIT_NUMBER, 4194304, "4194304"},
        {UNIT_RATE, 0, "0"},
        {UNIT_RATE, 0.001, "<0.01"},
        {UNIT_RATE, 0.25, "0.25"},
        {UNIT_RATE, 9.94, "9.9"},
        {UNIT_RATE, 9.96, "10"},
        {UNIT_RATE, 999.4, "999"},
        {UNIT_RATE, 1234, "1.2k"},
        {UNIT_RATE, 123456, "123k"},
        {UNIT_RATE, NAN, "\u2013"},
        {UNIT_CHANGE, 0, "0"},
        {UNIT_CHANGE, 5, "+5.0"},
        {UNIT_CHANGE, -1234, "-1.2k"},
        {UNIT_SECONDS, 0.000012, "12\u00b5s"},
        {UNIT_SECONDS, 0.0012, "1.2ms"},
        {UNIT_SECONDS, 0.035, "35ms"},
        {UNIT_SECONDS, 1.25, "1.2s"},
        {UNIT_SECONDS, 60, "60s"},
        {UNIT_SECONDS, INFINITY, "long"},
        {UNIT_AGE, 59.9, "59s"},
        {UNIT_AGE, 61, "1m01s"},
        {UNIT_AGE, 7500, "2h05m"},
        {UNIT_AGE, 100000, "1d03h"},
        {UNIT_AGE, -5, "0s"},
        {UNIT_BYTES, 512, "512B"},
        {UNIT_BYTES, 1048576, "1.0M"},
        {UNIT_BYTES, 50.0 * 1048576, "50M"},
        {UNIT_SHARE, 0.126, "13%"},
        {UNIT_SHARE, 2, "200%"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[NUMBER_SIZE];
        assert_string_equal(top_number(out, rows[i].unit, rows[i].number), rows[i].text);
    }
}

/* S32: reports may hold any number. */
static void the_largest_numbers_have_room(void **state)
{
    (void)state;
    for (int unit = UNIT_NUMBER; unit <= UNIT_SHARE; unit++)
        for (int sign = -1; sign <= 1; sign += 2) {
            char out[NUMBER_SIZE + 1];
            out[NUMBER_SIZE] = '!';
            assert_true(strlen(top_number(out, (top_unit)unit, sign * 1e300)) < NUMBER_SIZE);
            assert_int_equal(out[NUMBER_SIZE], '!');
        }
}

/* ---- Latencies -------------------------------------------------------------------------------------- */

static void percentiles_are_bounds_of_buckets(void **state)
{
    (void)state;
    arena memory = {0};
    top_histogram h = {0}, more = {0};
    assert_true(isnan(top_percentile(&h, 0.5)));
    assert_true(top_histogram_add(&memory, &h, 0.4, 5));
    assert_true(top_histogram_add(&memory, &h, 0.1, 90));
    assert_true(top_histogram_add(&memory, &h, 0.2, 5));
    assert_true(top_percentile(&h, 0.5) == 0.1);
    assert_true(top_percentile(&h, 0.9) == 0.1);
    assert_true(top_percentile(&h, 0.95) == 0.2);
    assert_true(top_percentile(&h, 0.99) == 0.4);
    assert_true(top_histogram_add(&memory, &h, 0.3, 0)); /* nothing */
    assert_true(top_histogram_add(&memory, &h, NAN, 7));
    assert_int_equal(h.count, 3);
    assert_true(top_histogram_add(&memory, &more, 0.1, 10)); /* another process, other buckets */
    assert_true(top_histogram_add(&memory, &more, INFINITY, 90));
    assert_true(top_histogram_merge(&memory, &h, &more));
    assert_int_equal(h.count, 4);
    assert_true(top_percentile(&h, 0.5) == 0.1);
    assert_true(isinf(top_percentile(&h, 0.99)));
    for (int i = 0; i < 100; i++)
        assert_true(top_histogram_add(&memory, &h, 100 - i, 1));
    assert_int_equal(h.count, 104);
    for (size_t i = 1; i < h.count; i++)
        assert_true(h.buckets[i - 1].bound < h.buckets[i].bound);
    arena_free(&memory);
}

/* ---- The screen ------------------------------------------------------------------------------------- */

static const colours plain = {"", "", "", "", "", "", ""};

static void enlist(top_snapshot *s, top_list list, top_item *item)
{
    item->next = s->lists[list];
    s->lists[list] = item;
    s->counts[list]++;
}

static top_rates rates(double handled, double failed, double latency)
{
    static arena memory; /* of this program */
    top_rates r = {.handled = handled, .failed = failed, .fired = NAN, .busy = handled * latency};
    top_histogram_add(&memory, &r.latency, latency, handled);
    return r;
}

/* A bus with two services, two APIs, two listeners; what is not set is not known. */
typedef struct bus_picture {
    top_snapshot s;
    top_service services[2];
    top_api apis[2];
    top_listener listeners[2];
    top_member rpcs[2], event;
    top_worker workers[2];
} bus_picture;

static void draw(bus_picture *b)
{
    *b = (bus_picture){
        .s = {.time = 1700000000,
              .url = "redis://localhost:6379/0",
              .fired = 12,
              .lag = 7,
              .dead_letters = 1,
              .lost = 4},
        .services = {{.name = "auth", .processes = 2, .memory = 50e6}, {.name = "shop", .processes = 1}},
        .apis = {{.name = "auth",
                  .rpcs = 2,
                  .events = 1,
                  .processes = 2,
                  .fired = 12,
                  .stored = 1000,
                  .listeners = 2,
                  .lag = 7,
                  .pending = 3,
                  .dead_letters = 1,
                  .lost = 4},
                 {.name = "shop.orders",
                  .rpcs = NAN,
                  .events = NAN,
                  .processes = NAN,
                  .fired = 0,
                  .stored = 20,
                  .listeners = NAN,
                  .lag = NAN,
                  .pending = NAN,
                  .dead_letters = 0,
                  .lost = NAN}},
        .listeners = {{.group = "mailer-default",
                       .api = "auth",
                       .event = "*",
                       .lag = 7,
                       .pending = 3,
                       .consumers = 2,
                       .dead_letters = 1,
                       .lost = 4,
                       .change = -2.5},
                      {.group = "stats-main",
                       .api = "auth",
                       .event = "*",
                       .consumers = NAN,
                       .dead_letters = 1,
                       .change = NAN}},
        .rpcs = {{.name = "auth.check_password", .processes = 2}, {.name = "auth.reset", .processes = 1}},
        .event = {.name = "auth.user_registered", .processes = 1},
        .workers = {{.service = "auth",
                     .name = "quirky-otter-71",
                     .host = "web1",
                     .state = "up",
                     .pid = 4194304,
                     .memory = 50e6,
                     .uptime = 7500,
                     .heard = 1,
                     .apis = 1,
                     .listens = 0},
                    {.service = "shop",
                     .name = "p2",
                     .host = "",
                     .state = "silent",
                     .silent = true,
                     .pid = NAN,
                     .memory = NAN,
                     .uptime = NAN,
                     .heard = 90,
                     .apis = 1,
                     .listens = NAN}},
    };
    b->s.calls = b->services[0].calls = b->apis[0].calls = rates(120, 0.5, 0.0025);
    b->services[0].events = b->event.rates = rates(4, 0, 0.01);
    b->services[1].calls = b->services[1].events = b->apis[1].calls = b->workers[1].calls =
        b->workers[1].events = (top_rates){NAN, NAN, NAN, NAN, {0}};
    b->rpcs[0].rates = b->workers[0].calls = b->workers[0].events = rates(110, 0.5, 0.0025);
    b->rpcs[1].rates = rates(10, 0, 0.0025);
    for (int i = 0; i < 2; i++) {
        enlist(&b->s, TOP_SERVICES, &b->services[i].item);
        enlist(&b->s, TOP_APIS, &b->apis[i].item);
        enlist(&b->s, TOP_LISTENERS, &b->listeners[i].item);
        enlist(&b->s, TOP_RPCS, &b->rpcs[i].item);
        enlist(&b->s, TOP_PROCESSES, &b->workers[i].item);
    }
    enlist(&b->s, TOP_EVENTS, &b->event.item);
}

static top_ui ui_of(size_t width, size_t height)
{
    top_ui ui = top_ui_start();
    ui.width = width;
    ui.height = height;
    ui.interval = 1;
    return ui;
}

static char *screen(const top_snapshot *s, top_ui *ui)
{
    buffer out = {0};
    assert_true(top_screen_text(&out, s, ui, &plain));
    return buffer_text(&out);
}

/* From the tabs on: what comes before holds the time of this place. */
static void expect_screen(const top_snapshot *s, top_ui *ui, const char *expected)
{
    char *text = screen(s, ui);
    const char *from = strchr(strchr(text, '\n') + 1, '\n') + 1;
    assert_string_equal(from, expected);
    free(text);
}

static void keys(top_ui *ui, const char *typed)
{
    for (; *typed; typed++)
        assert_true(top_ui_key(ui, (unsigned char)*typed));
}

static void the_overview_at_80_columns(void **state)
{
    (void)state;
    bus_picture b;
    top_ui ui = ui_of(80, 13);
    draw(&b);
    expect_screen(
        &b.s, &ui,
        "[1 Overview]  2 Listeners   3 RPCs   4 Events   5 Processes \n"
        "\n"
        "SERVICE  PROCS  CALLS/S  ERRORS/S    P50    P95  BUSY  HANDLED/S  FAILED/S\n"
        "auth         2      120      0.50  2.5ms  2.5ms   30%        4.0         0\n"
        "shop         1        \u2013         \u2013      \u2013      \u2013     \u2013          \u2013        "
        " \u2013\n"
        "\n"
        "API\u25b4         CALLS/S  ERRORS/S    P50    P95  FIRED/S    LAG  PENDING  DEAD\n"
        "auth             120      0.50  2.5ms  2.5ms       12      7        3     1\n"
        "shop.orders        \u2013         \u2013      \u2013      \u2013        0      \u2013        \u2013   "
        "  0\n"
        "\n"
        "q quit  h help  Tab view  s sort  r reverse  / filter  p pause");
    char *text = screen(&b.s, &ui);
    assert_non_null(strstr(text, "lightbus top  redis://localhost:6379/0  "));
    assert_non_null(strstr(
        text,
        "  every 1 s\n120 calls/s   0.50 errors/s   2.5ms p95   12 events/s   7 lag   1 dead   4 lost\n"));
    free(text);
}

static void other_views(void **state)
{
    (void)state;
    bus_picture b;
    top_ui ui = ui_of(100, 9);
    draw(&b);
    keys(&ui, "2");
    expect_screen(&b.s, &ui,
                  " 1 Overview  [2 Listeners]  3 RPCs   4 Events   5 Processes \n"
                  "\n"
                  "LISTENER        API   EVENT    LAG\u25be  CHANGE/S  PENDING   DEAD   LOST  CONSUMERS\n"
                  "mailer-default  auth  *           7      -2.5        3      1      4          2\n"
                  "stats-main      auth  *           0         \u2013        0      1      0          \u2013\n"
                  "\n"
                  "q quit  h help  Tab view  s sort  r reverse  / filter  p pause");
    keys(&ui, "3");
    expect_screen(&b.s, &ui,
                  " 1 Overview   2 Listeners  [3 RPCs]  4 Events   5 Processes \n"
                  "\n"
                  "RPC                  CALLS/S\u25be  ERRORS/S    P50    P95    P99  BUSY  PROCS\n"
                  "auth.check_password       110      0.50  2.5ms  2.5ms  2.5ms   28%      2\n"
                  "auth.reset                 10         0  2.5ms  2.5ms  2.5ms    2%      1\n"
                  "\n"
                  "q quit  h help  Tab view  s sort  r reverse  / filter  p pause");
    keys(&ui, "\t");
    expect_screen(&b.s, &ui,
                  " 1 Overview   2 Listeners   3 RPCs  [4 Events]  5 Processes \n"
                  "\n"
                  "EVENT                 FIRED/S  HANDLED/S\u25be  FAILED/S    P50    P95    P99  PROCS\n"
                  "auth.user_registered        \u2013         4.0         0   10ms   10ms   10ms      1\n"
                  "\n\n"
                  "q quit  h help  Tab view  s sort  r reverse  / filter  p pause");
    keys(&ui, "\t");
    expect_screen(
        &b.s, &ui,
        " 1 Overview   2 Listeners   3 RPCs   4 Events  [5 Processes]\n"
        "\n"
        "PROCESS          SERVICE\u25b4  STATE   HOST      PID  UPTIME  MEMORY  CALLS/S    P95  BUSY  "
        "HANDLED/S\n"
        "quirky-otter-71  auth      up      web1  4194304   2h05m     48M      110  2.5ms   28%        110\n"
        "p2               shop      silent  \u2013           \u2013       \u2013       \u2013        \u2013    "
        " "
        " \u2013     \u2013          \u2013\n"
        "\n"
        "q quit  h help  Tab view  s sort  r reverse  / filter  p pause");
}

/* Whatever the size: so many lines, none of them wider, in all views, and nothing that drives the terminal. */
static void every_size_is_kept(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 5, 17, 40, 79, 80, 81, 120, 200, 400}, heights[] = {1, 4, 5, 6, 24, 60};
    bus_picture b;
    draw(&b);
    b.services[1].name = "\u5a92\u4f53\u670d\u52a1-\u5909\u63db";
    b.apis[1].name =
        "a.very.long.name.of.an.api.that.goes.on.and.on.for.more.than.eighty.columns.and.then.some";
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t h = 0; h < sizeof heights / sizeof *heights; h++)
            for (int view = 0; view < 2 * VIEW_COUNT; view++) {
                top_ui ui = ui_of(widths[w], heights[h]);
                size_t lines = 0;
                ui.view = view / 2;
                ui.help = view % 2;
                char *text = screen(&b.s, &ui);
                for (char *line = text, *end; line; line = end ? end + 1 : NULL, lines++) {
                    if ((end = strchr(line, '\n')))
                        *end = '\0';
                    assert_null(strchr(line, '\033'));
                    if (text_columns(line) > widths[w])
                        fail_msg("%zu columns in %zu: %s", text_columns(line), widths[w], line);
                }
                if (heights[h] > 4)
                    assert_int_equal(lines, heights[h]);
                free(text);
            }
}

/* A long name gives way, in its middle, before a column of numbers does. */
static void names_are_cut_in_their_middle(void **state)
{
    (void)state;
    bus_picture b;
    top_ui ui = ui_of(60, 8);
    draw(&b);
    keys(&ui, "3");
    b.rpcs[0].name = "a.very.long.name.of.an.api.that.goes.on.and.on.check_password";
    char *text = screen(&b.s, &ui);
    assert_non_null(strstr(text, "\na.very.lo\u2026_password       110      0.50  2.5ms  2.5ms  2.5ms\n"));
    free(text);
}

static void no_state_is_said_in_a_line(void **state)
{
    (void)state;
    bus_picture b;
    top_ui ui = ui_of(80, 12);
    draw(&b);
    b.s.counts[TOP_PROCESSES] = 0;
    char *text = screen(&b.s, &ui);
    assert_non_null(strstr(text, "\nNo process tells its state: use lightbus run --ping-interval 5, or"));
    free(text);
    snprintf(ui.trouble, sizeof ui.trouble, "Trying again: connection refused");
    text = screen(&b.s, &ui);
    assert_non_null(strstr(text, "\nTrying again: connection refused\n"));
    assert_null(strstr(text, "No process"));
    free(text);
}

static void colours_tell_what_is_wrong(void **state)
{
    (void)state;
    static const colours marks = {"<b>", "<d>", "<red>", "<g>", "<yellow>", "<c>", "</>"};
    bus_picture b;
    buffer out = {0};
    draw(&b);
    assert_true(top_plain_text(&out, &b.s, 0, &marks));
    const char *text = buffer_text(&out);
    assert_non_null(strstr(text, "    <yellow>7</>        3     <red>1</>     <red>4</>\n"));
    assert_non_null(strstr(text, "<d>\u2013</>"));
    assert_non_null(strstr(text, "<red>silent</>"));
    assert_non_null(strstr(text, "<red>0.50</>"));
    buffer_free(&out);
}

static void plain_text_has_all_columns(void **state)
{
    (void)state;
    bus_picture b;
    buffer out = {0};
    draw(&b);
    assert_true(top_plain_text(&out, &b.s, 0, &plain));
    const char *text = buffer_text(&out);
    assert_non_null(strstr(
        text, "\n\nAPI          PROCS  RPCS  EVENTS  CALLS/S  ERRORS/S    P50    P95    P99  FIRED/S  STORED  "
              "LISTEN    LAG  PENDING  DEAD  LOST\nauth             2     2       1      120"));
    assert_non_null(strstr(text, "\n\nLISTENER"));
    assert_non_null(strstr(text, "\n\nRPC "));
    assert_non_null(strstr(text, "\n\nEVENT "));
    assert_non_null(strstr(text, "\n\nPROCESS "));
    assert_null(strchr(text, '\033'));
    buffer_free(&out);
}

static void json_has_null_for_what_is_not_known(void **state)
{
    (void)state;
    bus_picture b;
    buffer out = {0};
    lb_value *value = NULL;
    lb_error error = {0};
    draw(&b);
    assert_true(top_json(&out, &b.s));
    assert_ok(lb_value_parse(out.data, out.size, &value, &error), &error);
    assert_true(lb_value_float(lb_value_get(value, "time")) == 1700000000);
    const lb_value *api = lb_value_at(lb_value_get(value, "apis"), 1);
    assert_string_equal(lb_value_str(lb_value_get(api, "api")), "shop.orders");
    assert_non_null(lb_value_get(api, "lag"));
    assert_int_equal(lb_value_type_of(lb_value_get(api, "lag")), LB_TYPE_NULL);
    assert_int_equal(lb_value_int(lb_value_get(api, "stored")), 20);
    const lb_value *rpc = lb_value_at(lb_value_get(value, "rpcs"), 0);
    assert_true(lb_value_float(lb_value_get(rpc, "p95")) == 0.0025);
    assert_null(memchr(out.data, '\n', out.size));
    lb_value_free(value);
    buffer_free(&out);
}

/* ---- Keys ------------------------------------------------------------------------------------------- */

static void the_first_cell_is(const top_snapshot *s, top_ui *ui, const char *name)
{
    char *text = screen(s, ui);
    const char *row = text;
    for (int i = 0; i < 5; i++)
        row = strchr(row, '\n') + 1;
    if (strncmp(row, name, strlen(name)) != 0)
        fail_msg("expected %s first: %s", name, text);
    free(text);
}

static void sorting(void **state)
{
    (void)state;
    bus_picture b;
    top_ui ui = ui_of(120, 20);
    draw(&b);
    keys(&ui, "2");
    the_first_cell_is(&b.s, &ui, "mailer-default");
    keys(&ui, "r");
    the_first_cell_is(&b.s, &ui, "stats-main");
    keys(&ui, "r");
    keys(&ui, "s"); /* by the change: what is not known comes last */
    the_first_cell_is(&b.s, &ui, "mailer-default");
    keys(&ui, "r");
    the_first_cell_is(&b.s, &ui, "mailer-default");
    keys(&ui, "SSSS"); /* by name */
    the_first_cell_is(&b.s, &ui, "mailer-default");
    keys(&ui, "r");
    the_first_cell_is(&b.s, &ui, "stats-main");
    keys(&ui, "SsssssssssSSSSSSS"); /* round and round */
    assert_true(ui.orders[1].column < top_table_columns(TOP_LISTENERS));
}

static void filtering(void **state)
{
    (void)state;
    bus_picture b;
    top_ui ui = ui_of(120, 20);
    draw(&b);
    keys(&ui, "2/STAx\x7f");
    assert_true(ui.typing);
    char *text = screen(&b.s, &ui);
    assert_non_null(strstr(text, "\nstats-main"));
    assert_null(strstr(text, "mailer"));
    assert_non_null(strstr(text, "\n/STA_"));
    free(text);
    keys(&ui, "q\r"); /* a letter of the filter */
    assert_string_equal(ui.filter, "STAq");
    text = screen(&b.s, &ui);
    assert_non_null(strstr(text, "Nothing holds \"STAq\"."));
    assert_non_null(strstr(text, "filter: STAq\n"));
    free(text);
    keys(&ui, "/\x15g\xc3\xbc\x7f"); /* Ctrl-U; a letter of two bytes */
    assert_string_equal(ui.filter, "g");
    assert_true(top_ui_key(&ui, KEY_ESCAPE));
    assert_string_equal(ui.filter, "");
    assert_false(ui.typing);
    keys(&ui, "/");
    for (int i = 0; i < 200; i++)
        keys(&ui, "x");
    assert_int_equal(strlen(ui.filter), FILTER_SIZE - 1);
}

static void scrolling(void **state)
{
    (void)state;
    enum { ROWS = 100 };
    static top_member members[ROWS];
    static char names[ROWS][16];
    top_snapshot s = {.url = "local:"};
    top_ui ui = ui_of(80, 15);
    for (int i = 0; i < ROWS; i++) {
        snprintf(names[i], sizeof names[i], "a.rpc%02d", i);
        members[i] = (top_member){.name = names[i], .rates = {.handled = 0}};
        enlist(&s, TOP_RPCS, &members[i].item);
    }
    keys(&ui, "3");
    the_first_cell_is(&s, &ui, "a.rpc00");
    assert_int_equal(ui.page, 9);
    assert_true(top_ui_key(&ui, KEY_DOWN));
    the_first_cell_is(&s, &ui, "a.rpc01");
    assert_true(top_ui_key(&ui, KEY_PAGE_DOWN));
    the_first_cell_is(&s, &ui, "a.rpc09");
    assert_true(top_ui_key(&ui, KEY_END));
    the_first_cell_is(&s, &ui, "a.rpc91");
    char *text = screen(&s, &ui);
    assert_non_null(strstr(text, "92\u2013100 of 100"));
    free(text);
    assert_true(top_ui_key(&ui, KEY_DOWN));
    the_first_cell_is(&s, &ui, "a.rpc91"); /* that was the end */
    assert_true(top_ui_key(&ui, KEY_UP));
    the_first_cell_is(&s, &ui, "a.rpc90");
    assert_true(top_ui_key(&ui, KEY_PAGE_UP));
    the_first_cell_is(&s, &ui, "a.rpc82");
    assert_true(top_ui_key(&ui, KEY_HOME));
    assert_true(top_ui_key(&ui, KEY_UP));
    the_first_cell_is(&s, &ui, "a.rpc00");
    keys(&ui, "jjk");
    the_first_cell_is(&s, &ui, "a.rpc01");
    ui.height = 200; /* a larger terminal shows all */
    the_first_cell_is(&s, &ui, "a.rpc00");
}

static void helping_pausing_quitting(void **state)
{
    (void)state;
    bus_picture b;
    top_ui ui = ui_of(80, 24);
    draw(&b);
    keys(&ui, "h");
    char *text = screen(&b.s, &ui);
    assert_non_null(strstr(text, "\nq, Ctrl-C         quit\n"));
    assert_null(strstr(text, "SERVICE"));
    free(text);
    keys(&ui, "?p");
    assert_true(ui.paused);
    text = screen(&b.s, &ui);
    assert_non_null(strstr(text, "  paused\n"));
    assert_non_null(strstr(text, "SERVICE"));
    free(text);
    keys(&ui, " ");
    assert_false(ui.paused);
    assert_true(top_ui_key(&ui, KEY_BACK_TAB));
    assert_int_equal(ui.view, VIEW_COUNT - 1);
    keys(&ui, "\t");
    assert_int_equal(ui.view, 0);
    keys(&ui, "z\001"); /* nothing */
    assert_false(top_ui_key(&ui, 'q'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_measured_in_columns),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(texts_cannot_drive_the_terminal),
        cmocka_unit_test(numbers_are_short),
        cmocka_unit_test(the_largest_numbers_have_room),
        cmocka_unit_test(percentiles_are_bounds_of_buckets),
        cmocka_unit_test(the_overview_at_80_columns),
        cmocka_unit_test(other_views),
        cmocka_unit_test(every_size_is_kept),
        cmocka_unit_test(names_are_cut_in_their_middle),
        cmocka_unit_test(no_state_is_said_in_a_line),
        cmocka_unit_test(colours_tell_what_is_wrong),
        cmocka_unit_test(plain_text_has_all_columns),
        cmocka_unit_test(json_has_null_for_what_is_not_known),
        cmocka_unit_test(sorting),
        cmocka_unit_test(filtering),
        cmocka_unit_test(scrolling),
        cmocka_unit_test(helping_pausing_quitting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
