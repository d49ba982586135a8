/* Checks of formats. Each reads its text once, from left to right, and is bounded by it; none allocates but for
 * "regex". The grammars are those of the RFCs that draft-07 names. Internationalised names are checked by the
 * length of their labels in Punycode and by the characters that RFC 5892 names as exceptions and by block, not
 * by the whole table of Unicode. */
#include "validator_format.h"

#include <string.h>

#include "../base/json.h"
#include "validator_address.h"
#include "validator_regex.h"

/* ---- Dates and times -------------------------------------------------------------------------------- */

typedef struct scanner {
    const char *at, *end;
} scanner;

static scanner scan(lb_slice text)
{
    return (scanner){text.data ? text.data : "", (text.data ? text.data : "") + text.size};
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool skip(scanner *s, char c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool take(scanner *s, int digits, int *number)
{
    if (s->end - s->at < digits)
        return false;
    for (*number = 0; digits > 0; digits--, s->at++) {
        if (!is_digit(*s->at))
            return false;
        *number = *number * 10 + (*s->at - '0');
    }
    return true;
}

static bool scan_date(scanner *s)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;

    if (!take(s, 4, &year) || !skip(s, '-') || !take(s, 2, &month) || !skip(s, '-') || !take(s, 2, &day))
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (month == 2 && leap);
}

/* The offset in minutes. */
static bool scan_offset(scanner *s, int *offset)
{
    int hours, minutes;
    bool west;

    *offset = 0;
    if (skip(s, 'Z') || skip(s, 'z'))
        return true;
    west = s->at < s->end && *s->at == '-';
    if (!skip(s, '+') && !skip(s, '-'))
        return false;
    if (!take(s, 2, &hours) || !skip(s, ':') || !take(s, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *offset = (hours * 60 + minutes) * (west ? -1 : 1);
    return true;
}

/* A leap second is one when it is 23:59:60 in UTC. */
static bool scan_time(scanner *s)
{
    int hour, minute, second, offset = 0;

    if (!take(s, 2, &hour) || !skip(s, ':') || !take(s, 2, &minute) || !skip(s, ':') || !take(s, 2, &second))
        return false;
    if (skip(s, '.')) {
        const char *first = s->at;
        while (s->at < s->end && is_digit(*s->at))
            s->at++;
        if (s->at == first)
            return false;
    }
    if (hour > 23 || minute > 59 || second > 60 || !scan_offset(s, &offset))
        return false;
    return second < 60 || ((hour * 60 + minute - offset) % 1440 + 1440) % 1440 == 1439;
}

static bool fits_date_time(lb_slice text)
{
    scanner s = scan(text);
    return scan_date(&s) && (skip(&s, 'T') || skip(&s, 't')) && scan_time(&s) && s.at == s.end;
}

static bool fits_time(lb_slice text)
{
    scanner s = scan(text);
    return scan_time(&s) && s.at == s.end;
}

static bool fits_date(lb_slice text)
{
    scanner s = scan(text);
    return scan_date(&s) && s.at == s.end;
}

/* ---- Pointers, templates, expressions --------------------------------------------------------------- */

static bool fits_json_pointer(lb_slice text)
{
    if (text.size && text.data[0] != '/')
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] == '~' && (i + 1 == text.size || (text.data[i + 1] != '0' && text.data[i + 1] != '1')))
            return false;
    return true;
}

static bool fits_relative_json_pointer(lb_slice text)
{
    size_t digits = 0;

    while (digits < text.size && is_digit(text.data[digits]))
        digits++;
    if (digits == 0 || (digits > 1 && text.data[0] == '0'))
        return false;
    lb_slice rest = {text.data + digits, text.size - digits};
    return slice_is(rest, "#") || fits_json_pointer(rest);
}

static bool is_name_character(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* A variable of a template, with its modifier. */
static bool scan_variable(scanner *s)
{
    const char *first = s->at;

    for (; s->at < s->end; s->at++) {
        if (*s->at == '%' && s->end - s->at >= 3 && address_is_hex(s->at[1]) && address_is_hex(s->at[2]))
            s->at += 2;
        else if (!is_name_character(*s->at) && !(*s->at == '.' && s->at > first))
            break;
    }
    if (s->at == first || s->at[-1] == '.')
        return false;
    if (skip(s, ':')) {
        const char *digits = s->at;
        while (s->at < s->end && is_digit(*s->at))
            s->at++;
        return s->at > digits && s->at - digits <= 4 && *digits != '0';
    }
    skip(s, '*');
    return true;
}

static bool scan_expression(scanner *s)
{
    if (s->at < s->end && *s->at && strchr("+#./;?&=,!@|", *s->at))
        s->at++;
    do
        if (!scan_variable(s))
            return false;
    while (skip(s, ','));
    return skip(s, '}');
}

static bool fits_uri_template(lb_slice text)
{
    scanner s = scan(text);

    while (s.at < s.end) {
        if (skip(&s, '{')) {
            if (!scan_expression(&s))
                return false;
        } else if (*s.at == '%') {
            if (s.end - s.at < 3 || !address_is_hex(s.at[1]) || !address_is_hex(s.at[2]))
                return false;
            s.at += 3;
        } else {
            unsigned char c = (unsigned char)*s.at++;
            if (c <= ' ' || c == 0x7F || strchr("\"'<>\\^`|}", c))
                return false;
        }
    }
    return true;
}

static bool fits_regex(lb_slice text)
{
    arena memory = {0};
    char problem[8];
    bool fits = regex_compile(&memory, text, problem, sizeof problem) != NULL;

    arena_free(&memory);
    return fits;
}

/* ---- Names ------------------------------------------------------------------------------------------ */

static const format formats[] = {
    {"date-time", fits_date_time},
    {"date", fits_date},
    {"time", fits_time},
    {"email", address_is_email},
    {"idn-email", address_is_idn_email},
    {"hostname", address_is_hostname},
    {"idn-hostname", address_is_idn_hostname},
    {"ipv4", address_is_ipv4},
    {"ipv6", address_is_ipv6},
    {"uri", address_is_uri},
    {"uri-reference", address_is_uri_reference},
    {"iri", address_is_iri},
    {"iri-reference", address_is_iri_reference},
    {"uri-template", fits_uri_template},
    {"json-pointer", fits_json_pointer},
    {"relative-json-pointer", fits_relative_json_pointer},
    {"regex", fits_regex},
};

const format *format_find(lb_slice name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (slice_is(name, formats[i].name))
            return &formats[i];
    return NULL;
}
