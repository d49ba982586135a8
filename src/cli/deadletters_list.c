/* Dead letters as a table: cut to the width of a terminal, whole in a pipe. */
#include "deadletters.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "inspect.h"
#include "text.h"

enum { GAP = 2, AGE = 5, TRIES = 5, REASON_WANTED = 30, REASON_LEAST = 12, NAME_LEAST = 16 };

typedef struct table {
    size_t id, event, group, reason; /* columns */
    int64_t now_ms;
    colours colours;
    buffer line;
} table;

/* Takes as many columns of a name as are wanted and can be spared. */
static size_t narrow(size_t *width, size_t wanted)
{
    size_t spare = *width > NAME_LEAST ? *width - NAME_LEAST : 0, taken = spare < wanted ? spare : wanted;
    *width -= taken;
    return taken;
}

/* The reason gets what is left; where that is little, the names are cut. */
static void fit(table *t, size_t width)
{
    size_t needed = AGE + t->id + t->event + t->group + TRIES + 5 * GAP + REASON_WANTED;
    if (needed > width)
        needed -= narrow(&t->event, needed - width);
    if (needed > width)
        needed -= narrow(&t->group, needed - width);
    t->reason = needed < width + REASON_WANTED - REASON_LEAST ? width + REASON_WANTED - needed : REASON_LEAST;
}

static table table_for(const dead_survey *survey)
{
    struct winsize size;
    table t = {.id = survey->id,
               .event = survey->event,
               .group = survey->group,
               .reason = SIZE_MAX,
               .colours = colours_for(stdout)};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    t.now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (isatty(STDOUT_FILENO))
        fit(&t, ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80);
    return t;
}

static void put_cell(table *t, const char *colour, const char *text, size_t width)
{
    buffer_str(&t->line, colour);
    size_t taken = text_put(&t->line, text, width, CUT_MIDDLE);
    if (*colour)
        buffer_str(&t->line, t->colours.off);
    buffer_printf(&t->line, "%*s", (int)(width - taken + GAP), "");
}

/* The reason may have several lines: text_put makes each of their ends a "?". */
static bool put_row(table *t, const char *const cells[6], const colours *c)
{
    const size_t widths[] = {AGE, t->id, t->event, t->group, TRIES};
    const char *const in[] = {c->dim, c->cyan, c->bold, c->off, c->off};
    buffer_clear(&t->line, 4096);
    for (size_t i = 0; i < 5; i++)
        put_cell(t, in[i], cells[i], widths[i]);
    text_put(&t->line, cells[5], t->reason, CUT_END);
    buffer_char(&t->line, '\n');
    if (!t->line.failed)
        fwrite(t->line.data, 1, t->line.size, stdout);
    return !t->line.failed;
}

static void write_age(int64_t ms, char out[24])
{
    const long long seconds = ms > 0 ? ms / 1000 : 0;
    if (seconds < 100)
        snprintf(out, 24, "%llds", seconds);
    else if (seconds < 100 * 60)
        snprintf(out, 24, "%lldm", seconds / 60);
    else if (seconds < 48 * 3600)
        snprintf(out, 24, "%lldh", seconds / 3600);
    else
        snprintf(out, 24, "%lldd", seconds / 86400);
}

static bool print_letter(table *t, const lb_event *event)
{
    char age[24], tries[16];
    const char *id = lb_event_dead_id(event);
    buffer name = {0};
    if (*lb_event_api(event) || *lb_event_name(event))
        buffer_printf(&name, "%s.%s", lb_event_api(event), lb_event_name(event));
    else
        buffer_char(&name, '?'); /* it cannot be read */
    snprintf(tries, sizeof tries, "%d", lb_event_deliveries(event));
    write_age(t->now_ms - strtoll(id, NULL, 10), age);
    const char *text = buffer_text(&name);
    bool good = text && put_row(t,
                                (const char *const[]){age, id, text, lb_event_dead_group(event), tries,
                                                      lb_event_dead_reason(event)},
                                &t->colours);
    buffer_free(&name);
    return good;
}

static bool print_head(table *t)
{
    const char *bold = t->colours.bold;
    const colours head = {bold, bold, bold, bold, bold, bold, bold};
    return put_row(t, (const char *const[]){"AGE", "ID", "EVENT", "GROUP", "TRIES", "REASON"}, &head);
}

static lb_status print_all(const dead_letters *d, table *t, inspect_printer *json, lb_error *error)
{
    const lb_event *event = NULL;
    lb_history *h = dead_letters_open(d, NULL, d->to, LB_HISTORY_OLDEST_FIRST, error);
    lb_status status = h ? LB_OK : error->status;
    while (status == LB_OK && (status = dead_letters_next(d, h, &event, error)) == LB_OK && event &&
           !ferror(stdout))
        if (json ? !inspect_print(json, h, event) : !print_letter(t, event))
            status = lb_error_set(error, LB_NO_MEMORY, "out of memory");
    lb_history_close(h);
    return status;
}

lb_status dead_letters_list(dead_letters *d, lb_error *error)
{
    dead_survey survey;
    inspect_printer json = {.format = FORMAT_JSON, .for_people = isatty(STDOUT_FILENO)};
    lb_status status = dead_letters_survey(d, &survey, error);
    if (status != LB_OK)
        return status;
    if (!survey.count) {
        if (!d->in->json)
            fprintf(stderr, "There are no dead letters.\n");
        return LB_OK;
    }
    table t = table_for(&survey);
    if (!d->in->json && !print_head(&t))
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory");
    if (status == LB_OK)
        status = print_all(d, &t, d->in->json ? &json : NULL, error);
    buffer_free(&t.line);
    buffer_free(&json.out);
    return status;
}
