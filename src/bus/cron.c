/* Schedules: parsing, and the next time that matches.
 *
 * A time is looked for on the clock's face (year to minute), by stepping over whole years, months and days that
 * do not match, and then turned into a moment. Where the clock is put forward or back, the two differ: see
 * moment_of. */
#include "cron.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "../base/json.h"
#include "../base/suggest.h"

#define YEARS_AHEAD 40 /* as long as a 29 February that is a Sunday may take */

typedef struct field {
    const char *name;
    int least, most;
    const char *const *names; /* of the numbers from `least` on, or NULL */
} field;

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                     "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const field fields[] = {
    {"minute", 0, 59, NULL},
    {"hour", 0, 23, NULL},
    {"day of the month", 1, 31, NULL},
    {"month", 1, 12, months},
    {"day of the week", 0, 7, weekdays},
};

/* ---- Parsing ---------------------------------------------------------------------------------------- */

typedef struct reader {
    const char *expression, *at;
    const field *field;
    lb_error *error;
} reader;

static lb_status wrong(const reader *r, const char *at, const char *expected)
{
    int size = (int)strcspn(at, " \t");
    return lb_error_set(r->error, LB_CONFIG, "schedule \"%.100s\": %s: expected %s at \"%.*s\" (column %d)",
                        r->expression, r->field->name, expected, size < 40 ? size : 40, at,
                        (int)(at - r->expression) + 1);
}

static lb_status wrong_value(const reader *r, const char *at)
{
    char expected[80];
    int most = r->field->most == 7 ? 6 : r->field->most;
    snprintf(expected, sizeof expected, "%d to %d%s%s%s%s", r->field->least, r->field->most,
             r->field->names ? " or a name, " : "", r->field->names ? r->field->names[0] : "",
             r->field->names ? " to " : "", r->field->names ? r->field->names[most - r->field->least] : "");
    return wrong(r, at, expected);
}

/* A number of at most four digits; false: there is none. */
static bool read_number(reader *r, int *value)
{
    const char *begin = r->at;
    *value = 0;
    while (isdigit((unsigned char)*r->at) && r->at - begin < 4)
        *value = *value * 10 + (*r->at++ - '0');
    return r->at > begin;
}

static bool read_name(reader *r, int *value)
{
    size_t size = 0;
    while (isalpha((unsigned char)r->at[size]))
        size++;
    for (int i = 0; size && r->field->names && r->field->names[i]; i++)
        if (size == 3 && strncasecmp(r->at, r->field->names[i], 3) == 0) {
            *value = r->field->least + i;
            r->at += size;
            return true;
        }
    return false;
}

static lb_status read_value(reader *r, int *value)
{
    const char *begin = r->at;
    if ((read_number(r, value) || read_name(r, value)) && *value >= r->field->least && *value <= r->field->most)
        return LB_OK;
    return wrong_value(r, begin);
}

static bool is_end(char c) { return c == '\0' || c == ' ' || c == '\t'; }

/* "*", "5", "1-5", each perhaps with a step: "1-23/2". A single number with a step goes on to the end. */
static lb_status read_range(reader *r, uint64_t *set)
{
    int first = r->field->least, last = r->field->most == 7 ? 6 : r->field->most, step = 1;
    const char *begin = r->at;
    bool single = *r->at != '*';
    lb_status status = LB_OK;
    if (!single)
        r->at++;
    else if ((status = read_value(r, &first)) != LB_OK)
        return status;
    if (single && *r->at == '-') {
        r->at++;
        single = false;
        if ((status = read_value(r, &last)) != LB_OK)
            return status;
        if (r->field->most == 7 && last == 0) /* Sunday ends a week, too */
            last = 7;
        if (last < first)
            return wrong(r, begin, "a range that goes up");
    }
    if (*r->at == '/') {
        const char *at = ++r->at;
        if (!read_number(r, &step) || step < 1)
            return wrong(r, at, "a step of at least 1");
    } else if (single) {
        last = first;
    }
    if (!is_end(*r->at) && *r->at != ',')
        return wrong(r, r->at, "\",\", \"-\", \"/\" or the end");
    for (int i = first; i <= last; i += step)
        *set |= UINT64_C(1) << (r->field->most == 7 ? i % 7 : i);
    return LB_OK;
}

static lb_status read_field(reader *r, uint64_t *set)
{
    lb_status status;
    *set = 0;
    r->at += strspn(r->at, " \t");
    if (!*r->at)
        return lb_error_set(
            r->error, LB_CONFIG,
            "schedule \"%.100s\": expected five fields (minute, hour, day of the month, month, day "
            "of the week), the %s is missing",
            r->expression, r->field->name);
    do {
        r->at += *r->at == ',';
        if ((status = read_range(r, set)) != LB_OK)
            return status;
    } while (*r->at == ',');
    return LB_OK;
}

static const struct {
    const char *name, *expression;
} nicknames[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {NULL, NULL},
};

static lb_status parse_nickname(const char *name, cron *c, lb_error *error)
{
    suggestion s = suggestion_for(slice_of(name));
    for (int i = 0; nicknames[i].name; i++) {
        if (strcasecmp(name, nicknames[i].name) == 0)
            return cron_parse(nicknames[i].expression, c, error);
        suggestion_consider(&s, slice_of(nicknames[i].name));
    }
    return lb_error_set(error, LB_CONFIG, "schedule \"%.100s\": there is no such word; %s%s%s", name,
                        s.best.size ? "did you mean \""
                                    : "there are @hourly, @daily, @weekly, @monthly and @yearly",
                        s.best.size ? s.best.data : "", s.best.size ? "\"?" : "");
}

static int days_of(int month, int year)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool has(uint64_t set, int value) { return set >> value & 1; }

/* Does any of the months have any of the days? */
static bool possible(const cron *c)
{
    for (int month = 1; month <= 12; month++)
        for (int day = 1; has(c->months, month) && day <= days_of(month, 2000); day++)
            if (has(c->days, day))
                return true;
    return !c->any_weekday && c->weekdays && c->months;
}

lb_status cron_parse(const char *expression, cron *c, lb_error *error)
{
    uint64_t *sets[] = {&c->minutes, &c->hours, &c->days, &c->months, &c->weekdays};
    reader r = {.expression = expression, .at = expression, .error = error};
    *c = (cron){0};
    if (!expression)
        return lb_error_set(error, LB_CONFIG, "schedule: expected an expression, got NULL");
    r.at += strspn(r.at, " \t");
    if (*r.at == '@')
        return parse_nickname(r.at, c, error);
    for (int i = 0; i < 5; i++) {
        r.field = &fields[i];
        const char *begin = r.at + strspn(r.at, " \t");
        lb_status status = read_field(&r, sets[i]);
        if (status != LB_OK)
            return status;
        c->any_day = c->any_day || (i == 2 && *begin == '*');
        c->any_weekday = c->any_weekday || (i == 4 && *begin == '*');
    }
    r.at += strspn(r.at, " \t");
    if (*r.at)
        return lb_error_set(error, LB_CONFIG,
                            "schedule \"%.100s\": expected the end after five fields, got \"%.40s\"",
                            expression, r.at);
    c->every_hour = c->hours == (UINT64_C(1) << 24) - 1;
    if (!possible(c))
        return lb_error_set(error, LB_CONFIG, "schedule \"%.100s\": no such month has such a day", expression);
    return LB_OK;
}

/* ---- The clock's face ------------------------------------------------------------------------------- */

typedef struct face {
    int year, month, day, hour, minute;
} face;

/* Days since 1970-01-01, of the proleptic Gregorian calendar. */
static int64_t day_number(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int weekday_of(const face *f)
{
    int64_t days = day_number(f->year, f->month, f->day);
    return (int)(((days + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
}

/* What the face shows, as if it were UTC. */
static int64_t face_seconds(const face *f)
{
    return day_number(f->year, f->month, f->day) * 86400 + f->hour * 3600 + f->minute * 60;
}

/* Of both days, if both are named, one is enough: as everywhere where crontabs are read. */
static bool day_matches(const cron *c, const face *f)
{
    bool day = has(c->days, f->day), weekday = has(c->weekdays, weekday_of(f));
    return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

/* The lowest number in the set that is not below; -1: there is none. */
static int lowest(uint64_t set, int from)
{
    for (int i = from; i < 64; i++)
        if (has(set, i))
            return i;
    return -1;
}

static void next_day(face *f)
{
    *f = (face){f->year, f->month, f->day + 1, 0, 0};
    if (f->day <= days_of(f->month, f->year))
        return;
    f->day = 1;
    if (++f->month > 12) {
        f->month = 1;
        f->year++;
    }
}

/* The first hour and minute that match, from those on; false: none on this day any more. */
static bool next_time_of_day(const cron *c, face *f)
{
    int hour = lowest(c->hours, f->hour);
    int minute = hour == f->hour ? lowest(c->minutes, f->minute) : -1;
    if (hour == f->hour && minute < 0)
        hour = lowest(c->hours, f->hour + 1);
    if (hour < 0)
        return false;
    f->minute = minute >= 0 ? minute : lowest(c->minutes, 0);
    f->hour = hour;
    return true;
}

/* Moves on to the first matching face, from *f on. */
static bool next_face(const cron *c, face *f)
{
    for (int last = f->year + YEARS_AHEAD; f->year <= last;) {
        if (!has(c->months, f->month))
            *f = f->month == 12 ? (face){f->year + 1, 1, 1, 0, 0} : (face){f->year, f->month + 1, 1, 0, 0};
        else if (day_matches(c, f) && next_time_of_day(c, f))
            return true;
        else
            next_day(f);
    }
    return false;
}

/* ---- Moments ---------------------------------------------------------------------------------------- */

/* Seconds east of UTC at a moment. */
static int64_t offset_at(int64_t moment, bool utc)
{
    time_t t = (time_t)moment;
    struct tm local;
    return !utc && localtime_r(&t, &local) ? local.tm_gmtoff : 0;
}

static face face_at(int64_t moment, bool utc)
{
    time_t t = (time_t)(moment + offset_at(moment, utc));
    struct tm tm = {0};
    gmtime_r(&t, &tm);
    return (face){tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min};
}

/* The first moment after `early`, up to `late`, at which the offset is that of `late`. */
static int64_t change_between(int64_t early, int64_t late, bool utc)
{
    int64_t offset = offset_at(late, utc);
    while (late - early > 1) {
        int64_t middle = early + (late - early) / 2;
        if (offset_at(middle, utc) == offset)
            late = middle;
        else
            early = middle;
    }
    return late;
}

/* When the clock shows that: the first time if it does so twice; when it is put forward, if that skips it. */
static int64_t moment_of(const face *f, bool utc)
{
    int64_t shown = face_seconds(f);
    int64_t before = offset_at(shown - 86400, utc), after = offset_at(shown + 86400, utc);
    if (offset_at(shown - before, utc) == before)
        return shown - before;
    if (offset_at(shown - after, utc) == after)
        return shown - after;
    return change_between(shown - after, shown - before, utc);
}

/* Of a schedule for every hour: the hours that the clock shows twice count twice. */
static bool next_of_every_hour(const cron *c, bool utc, int64_t after, int64_t *next)
{
    for (int64_t at = after - after % 60 + 60, last = at + 86400; at < last; at += 60) {
        face f = face_at(at, utc);
        if (has(c->months, f.month) && day_matches(c, &f) && has(c->minutes, f.minute)) {
            *next = at;
            return true;
        }
    }
    return false;
}

bool cron_next(const cron *c, bool utc, int64_t after, int64_t *next)
{
    if (c->every_hour && next_of_every_hour(c, utc, after, next))
        return true;
    face f = face_at(after, utc);
    for (f.minute++; next_face(c, &f); f.minute++) { /* 60 matches nothing: on to the next hour */
        *next = moment_of(&f, utc);
        if (*next > after)
            return true;
    }
    return false;
}
