/* Findings in the making. See report.h. */
#include "report.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "buffer.h"

enum { NEARLY_TRIMMED = 80 }; /* percent of the stream that a group may be behind before that is told */

void report_begin(report *r, const char *check)
{
    arena_reset(&r->memory, 0);
    r->check = check;
    r->told = 0;
}

void report_tell(report *r, lb_finding_level level, const char *advice, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    text_vprintf(text, sizeof text, format, list);
    va_end(list);
    for (char *c = text; *c; c++) /* of a name from the bus */
        if (*c == '\n' || *c == '\r' || *c == '\t')
            *c = ' ';
    const lb_finding finding = {.level = level, .check = r->check, .found = text, .advice = advice};
    r->told++;
    r->found(&finding, r->data);
}

void report_unchecked(report *r, const lb_error *error)
{
    bool permitted = error->status != LB_ACCESS;
    report_tell(r, permitted ? LB_FINDING_WARNING : LB_FINDING_NOTE, NULL, "not checked: %s",
                error->message[0] ? error->message : lb_status_text(error->status));
}

static bool is_plain(char c) { return isalnum((unsigned char)c) || memchr("_-./:,@%+=", c, 10); }

const char *report_word(report *r, lb_slice word)
{
    buffer b = {0};
    const char *text = NULL;
    bool plain = word.size > 0;
    for (size_t i = 0; i < word.size; i++)
        plain = plain && is_plain(word.data[i]);
    if (!plain)
        buffer_char(&b, '\'');
    for (size_t i = 0; i < word.size; i++)
        if (word.data[i] == '\'')
            buffer_literal(&b, "'\\''");
        else
            buffer_char(&b, word.data[i]);
    if (!plain)
        buffer_char(&b, '\'');
    if (buffer_text(&b))
        text = arena_copy(&r->memory, b.data, b.size);
    buffer_free(&b);
    return text ? text : "?";
}

void report_free(report *r) { arena_free(&r->memory); }

/* ---- Groups ----------------------------------------------------------------------------------------- */

#define TEXT(slice) (int)(slice).size, (slice).data

static size_t skip(lb_slice text, size_t at, int (*is)(int))
{
    while (at < text.size && is((unsigned char)text.data[at]))
        at++;
    return at;
}

bool is_random_group(lb_slice group)
{
    size_t adjective = skip(group, 0, islower);
    if (!adjective || adjective >= group.size || group.data[adjective] != '-')
        return false;
    size_t noun = skip(group, adjective + 1, islower);
    if (noun == adjective + 1 || noun >= group.size || group.data[noun] != '-')
        return false;
    size_t number = skip(group, noun + 1, isdigit);
    return number > noun + 1 && number - noun <= 5 && number < group.size && group.data[number] == '-';
}

static void tell_lag(report *r, const group_facts *g)
{
    const char *more = "start more workers of this listener's service, or raise max_stream_length";
    const char *and_forget =
        g->forget ? arena_printf(&r->memory, "%s; to forget those: %s", more, g->forget) : more;
    if (g->lost > 0)
        report_tell(r, LB_FINDING_ERROR, and_forget,
                    "%.*s: %lld event%s trimmed before %.*s had handled %s: lost", TEXT(g->stream),
                    (long long)g->lost, g->lost == 1 ? " was" : "s were", TEXT(g->group),
                    g->lost == 1 ? "it" : "them");
    if (g->most > 0 && g->undelivered * 100 >= g->most * NEARLY_TRIMMED)
        report_tell(r, LB_FINDING_WARNING, more,
                    "%.*s: %.*s has %lld events still to read, and the stream keeps about %lld: older ones are "
                    "lost unread",
                    TEXT(g->stream), TEXT(g->group), (long long)g->undelivered, (long long)g->most);
}

static void tell_overdue(report *r, const group_facts *g)
{
    char since[DURATION_TEXT];
    if (g->overdue > 0)
        report_tell(
            r, LB_FINDING_WARNING,
            "start a worker of this listener's service: it takes them over; or end a process that hangs",
            "%.*s: %lld event%s of %.*s with %.*s, silent for %s, and nobody takes %s over", TEXT(g->stream),
            (long long)g->overdue, g->overdue == 1 ? " is" : "s are", TEXT(g->group), TEXT(g->holder),
            duration_text(g->overdue_ms, since), g->overdue == 1 ? "it" : "them");
}

static void tell_left_behind(report *r, const group_facts *g)
{
    const char *remove =
        g->remove ? arena_printf(&r->memory, "if the listener is gone for good: %s", g->remove) : NULL;
    bool waiting = g->undelivered > 0;
    if (is_random_group(g->group))
        report_tell(r, g->consumers == 0 && waiting ? LB_FINDING_WARNING : LB_FINDING_NOTE,
                    g->consumers == 0 ? remove : "set LIGHTBUS_SERVICE_NAME for that service",
                    "%.*s: the group %.*s has a service name that looks random: another start of the service "
                    "has another group",
                    TEXT(g->stream), TEXT(g->group));
    else if (g->consumers == 0)
        report_tell(r, waiting ? LB_FINDING_WARNING : LB_FINDING_NOTE,
                    waiting ? "start a worker of this listener's service" : remove,
                    "%.*s: the group %.*s has no consumers, and %lld events to read", TEXT(g->stream),
                    TEXT(g->group), (long long)(waiting ? g->undelivered : 0));
}

void report_group(report *r, const group_facts *g)
{
    tell_lag(r, g);
    tell_overdue(r, g);
    tell_left_behind(r, g);
}

void report_dead_letters(report *r, lb_slice stream, int64_t count)
{
    if (count > 0)
        report_tell(r, LB_FINDING_WARNING, "lightbus deadletters list", "%.*s: %lld event%s failed for good",
                    TEXT(stream), (long long)count, count == 1 ? "" : "s");
}

/* ---- Texts ------------------------------------------------------------------------------------------ */

const char *bytes_text(int64_t bytes, char out[BYTES_TEXT])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double size = (double)bytes;
    int unit = 0;
    for (; size >= 1024 && unit < 4; unit++)
        size /= 1024;
    snprintf(out, BYTES_TEXT, "%.*f %s", unit ? 1 : 0, size, units[unit]);
    return out;
}

const char *duration_text(int64_t ms, char out[DURATION_TEXT])
{
    double seconds = (double)ms / 1000;
    if (seconds < 120)
        snprintf(out, DURATION_TEXT, "%.*f s", seconds < 10 ? 1 : 0, seconds);
    else if (seconds < 2 * 3600)
        snprintf(out, DURATION_TEXT, "%.0f min", seconds / 60);
    else if (seconds < 2 * 86400)
        snprintf(out, DURATION_TEXT, "%.0f hours", seconds / 3600);
    else
        snprintf(out, DURATION_TEXT, "%.0f days", seconds / 86400);
    return out;
}
