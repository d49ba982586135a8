/* Dates and times: ISO 8601 texts to fields and back, fields to Unix time and back. What is read is a superset
 * of what Python's fromisoformat reads (but for its odd separators), what is written is Python's isoformat.
 * Invariant: a reader moves its slice past what it took; false leaves the result undefined. */
#include "scalars.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_S     86400
#define SECOND_US INT64_C(1000000)

/* ---- The calendar ----------------------------------------------------------------------------------- */

static bool is_leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

static int month_days(int year, int month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days since 1970-01-01. The year begins in March here, so that the leap day is its last. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? month + 9 : month - 3;
    return y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static lb_date date_of_days(int64_t days)
{
    int64_t shifted = days + 719468, era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t of_era = shifted - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t m = (5 * of_year + 2) / 153;
    int month = (int)(m < 10 ? m + 3 : m - 9);
    return lb_date_make((int)(year + era * 400 + (month <= 2)), month, (int)(of_year - (153 * m + 2) / 5 + 1));
}

static bool date_is_valid(int year, int month, int day)
{
    return year >= 1 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= month_days(year, month);
}

static bool time_is_valid(const lb_time *t)
{
    return t->hour < 24 && t->minute < 60 && t->second < 60 && t->microsecond >= 0 &&
           t->microsecond < SECOND_US && t->offset_s > -DAY_S && t->offset_s < DAY_S;
}

/* ---- Reading ---------------------------------------------------------------------------------------- */

static bool take_char(lb_slice *text, char c)
{
    if (!text->size || *text->data != c)
        return false;
    text->data++;
    text->size--;
    return true;
}

static bool take_digits(lb_slice *text, int count, int *number)
{
    *number = 0;
    if (text->size < (size_t)count)
        return false;
    for (int i = 0; i < count; i++) {
        char c = text->data[i];
        if (c < '0' || c > '9')
            return false;
        *number = *number * 10 + (c - '0');
    }
    text->data += count;
    text->size -= (size_t)count;
    return true;
}

/* 2020-W01-4, the Thursday of the year's first week, and 2020W014; the day may be left out. */
static bool take_week(lb_slice *text, int year, bool dashes, lb_date *date)
{
    int week, day = 1;

    if (!take_digits(text, 2, &week) || week < 1 || week > 53)
        return false;
    if (dashes ? take_char(text, '-') : text->size && *text->data >= '0' && *text->data <= '9')
        if (!take_digits(text, 1, &day))
            return false;
    int64_t fourth = days_of(year, 1, 4);                 /* it lies in week 1 */
    int64_t monday = fourth - ((fourth + 3) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
    int64_t next = days_of(year + 1, 1, 4);
    int64_t wanted = monday + (int64_t)(week - 1) * 7 + day - 1;
    if (day < 1 || day > 7 || wanted >= next - ((next + 3) % 7 + 7) % 7)
        return false;
    *date = date_of_days(wanted);
    return date_is_valid(date->year, date->month, date->day);
}

static bool take_date(lb_slice *text, lb_date *date)
{
    int year, month, day;

    if (!take_digits(text, 4, &year) || year < 1)
        return false;
    bool dashes = take_char(text, '-');
    if (take_char(text, 'W'))
        return take_week(text, year, dashes, date);
    if (!take_digits(text, 2, &month) || (dashes && !take_char(text, '-')) || !take_digits(text, 2, &day) ||
        !date_is_valid(year, month, day))
        return false;
    *date = lb_date_make(year, month, day);
    return true;
}

static bool take_fraction(lb_slice *text, int32_t *microsecond)
{
    int32_t value = 0, unit = 100000;
    size_t digits = 0;

    if (!take_char(text, '.') && !take_char(text, ','))
        return true;
    for (; digits < text->size && text->data[digits] >= '0' && text->data[digits] <= '9'; digits++) {
        value += (text->data[digits] - '0') * unit;
        unit /= 10;
    }
    text->data += digits;
    text->size -= digits;
    *microsecond = value;
    return digits > 0;
}

/* 01, 01:02, 01:02:03.5, 0102, 010203 */
static bool take_clock(lb_slice *text, int *hour, int *minute, int *second, int32_t *microsecond)
{
    *minute = *second = 0;
    *microsecond = 0;
    if (!take_digits(text, 2, hour))
        return false;
    bool colons = take_char(text, ':');
    bool more = text->size && *text->data >= '0' && *text->data <= '9';
    if (!colons && !more)
        return true;
    if (!take_digits(text, 2, minute))
        return false;
    more = text->size && *text->data >= '0' && *text->data <= '9';
    if (colons ? !take_char(text, ':') : !more)
        return true;
    return take_digits(text, 2, second) && take_fraction(text, microsecond);
}

static bool take_offset(lb_slice *text, lb_time *t)
{
    int hour, minute, second;
    int32_t fraction;

    if (!text->size)
        return true;
    t->has_offset = true;
    if (take_char(text, 'Z') || take_char(text, 'z'))
        return true;
    bool west = take_char(text, '-');
    if (!west && !take_char(text, '+'))
        return false;
    if (!take_clock(text, &hour, &minute, &second, &fraction) || hour > 23 || minute > 59 || second > 59)
        return false;
    t->offset_s = (hour * 60 + minute) * 60 + second;
    t->offset_s = west ? -t->offset_s : t->offset_s;
    return true;
}

bool time_read(lb_slice text, lb_time *t)
{
    int hour, minute, second;

    *t = lb_time_make(0, 0, 0);
    if (!take_clock(&text, &hour, &minute, &second, &t->microsecond))
        return false;
    t->hour = (uint8_t)hour;
    t->minute = (uint8_t)minute;
    t->second = (uint8_t)second;
    return time_is_valid(t) && take_offset(&text, t) && text.size == 0;
}

bool datetime_read(lb_slice text, lb_datetime *d)
{
    lb_date date;
    lb_time t = lb_time_make(0, 0, 0);

    if (!take_date(&text, &date))
        return false;
    if (text.size) {
        if (!take_char(&text, 'T') && !take_char(&text, 't') && !take_char(&text, ' '))
            return false;
        if (!time_read(text, &t))
            return false;
    }
    *d = lb_datetime_make(date.year, date.month, date.day, t.hour, t.minute, t.second, t.has_offset);
    d->microsecond = t.microsecond;
    d->offset_s = t.offset_s;
    return true;
}

bool date_read(lb_slice text, lb_date *date)
{
    lb_datetime d;

    if (!datetime_read(text, &d))
        return false;
    *date = lb_date_make(d.year, d.month, d.day);
    return true;
}

/* ---- Writing ---------------------------------------------------------------------------------------- */

const char *lb_date_text(lb_date d, char out[LB_DATE_TEXT])
{
    out[0] = '\0';
    if (date_is_valid(d.year, d.month, d.day))
        snprintf(out, LB_DATE_TEXT, "%04d-%02d-%02d", d.year % 10000, d.month % 100, d.day % 100);
    return out;
}

const char *lb_time_text(lb_time t, char out[LB_TIME_TEXT])
{
    int offset = t.offset_s < 0 ? -t.offset_s : t.offset_s;
    int used;

    out[0] = '\0';
    if (!time_is_valid(&t))
        return out;
    used = snprintf(out, LB_TIME_TEXT, "%02d:%02d:%02d", t.hour, t.minute, t.second);
    if (t.microsecond)
        used += snprintf(out + used, (size_t)(LB_TIME_TEXT - used), ".%06d", (int)t.microsecond);
    if (t.has_offset)
        used += snprintf(out + used, (size_t)(LB_TIME_TEXT - used), "%c%02d:%02d", t.offset_s < 0 ? '-' : '+',
                         offset / 3600, offset / 60 % 60);
    if (t.has_offset && offset % 60)
        snprintf(out + used, (size_t)(LB_TIME_TEXT - used), ":%02d", offset % 60);
    return out;
}

static lb_time time_of(lb_datetime d)
{
    lb_time t = {d.hour, d.minute, d.second, d.has_offset, d.microsecond, d.offset_s};
    return t;
}

const char *lb_datetime_text(lb_datetime d, char out[LB_DATETIME_TEXT])
{
    char date[LB_DATE_TEXT], time[LB_TIME_TEXT];

    lb_date_text(lb_date_make(d.year, d.month, d.day), date);
    lb_time_text(time_of(d), time);
    snprintf(out, LB_DATETIME_TEXT, "%s%s%s", date, *date && *time ? "T" : "", time);
    if (!*date || !*time)
        out[0] = '\0';
    return out;
}

/* ---- Public ----------------------------------------------------------------------------------------- */

static lb_slice slice(const char *text) { return (lb_slice){text ? text : "", text ? strlen(text) : 0}; }

static lb_status refuse(type_kind kind, const char *text, lb_error *error)
{
    return lb_error_set(error, LB_MALFORMED, "expected %s, got \"%.60s\"", scalar_example(kind),
                        text ? text : "");
}

lb_status lb_date_parse(const char *text, lb_date *date, lb_error *error)
{
    return date_read(slice(text), date) ? LB_OK : refuse(TYPE_DATE, text, error);
}

lb_status lb_time_parse(const char *text, lb_time *time, lb_error *error)
{
    return time_read(slice(text), time) ? LB_OK : refuse(TYPE_TIME, text, error);
}

lb_status lb_datetime_parse(const char *text, lb_datetime *datetime, lb_error *error)
{
    return datetime_read(slice(text), datetime) ? LB_OK : refuse(TYPE_DATETIME, text, error);
}

int64_t lb_datetime_unix_us(lb_datetime d)
{
    int64_t seconds = d.hour * 3600 + d.minute * 60 + d.second - d.offset_s;
    if (!date_is_valid(d.year, d.month, d.day))
        return 0;
    return (days_of(d.year, d.month, d.day) * DAY_S + seconds) * SECOND_US + d.microsecond;
}

lb_datetime lb_datetime_from_unix_us(int64_t us)
{
    const int64_t first = days_of(1, 1, 1) * DAY_S * SECOND_US;
    const int64_t last = days_of(10000, 1, 1) * DAY_S * SECOND_US - 1;
    us = us < first ? first : us > last ? last : us;
    int64_t days = us / (DAY_S * SECOND_US);
    if (us % (DAY_S * SECOND_US) < 0)
        days--;
    int64_t of_day = us - days * DAY_S * SECOND_US, seconds = of_day / SECOND_US;
    lb_date date = date_of_days(days);
    lb_datetime d = lb_datetime_make(date.year, date.month, date.day, (int)(seconds / 3600),
                                     (int)(seconds / 60 % 60), (int)(seconds % 60), true);
    d.microsecond = (int32_t)(of_day % SECOND_US);
    return d;
}

lb_datetime lb_datetime_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return lb_datetime_from_unix_us((int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000);
}
