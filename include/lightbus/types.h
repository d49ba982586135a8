/* The values that JSON has no type for: bytes, dates and times, decimals, UUIDs. On the wire they are strings,
 * as Python Lightbus writes them; here they are plain C values, passed and returned by value.
 *
 * LB takes them as it takes numbers: LB("born", LB_DATE(1970, 1, 1)), LB("price", LB_DECIMAL("9.90")).
 * No function here blocks; any thread may call them. */
#ifndef LIGHTBUS_TYPES_H
#define LIGHTBUS_TYPES_H

#include <lightbus/error.h>
#include <lightbus/value.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed bytes; base64 on the wire. */
typedef struct lb_bytes {
    const void *data;
    size_t size;
} lb_bytes;

/* A day of the Gregorian calendar, years 1 to 9999; "2020-01-02" on the wire. */
typedef struct lb_date {
    int16_t year;
    uint8_t month, day; /* from 1 */
} lb_date;

/* A time of day; "01:02:03", "01:02:03.000004+02:00". Without an offset it is naive: whose time it is remains
 * unsaid. */
typedef struct lb_time {
    uint8_t hour, minute, second; /* no leap seconds, as in Python */
    bool has_offset;
    int32_t microsecond;
    int32_t offset_s; /* of the local time from UTC, in seconds, less than a day; 0 when there is none */
} lb_time;

/* A point in time, or, without an offset, what a calendar and a clock show somewhere. Naive stays naive on its
 * way, microseconds are written when there are any: "2020-01-02T03:04:05", "2020-01-02T03:04:05.678901+00:00".
 */
typedef struct lb_datetime {
    int16_t year;
    uint8_t month, day, hour, minute, second;
    bool has_offset;
    int32_t microsecond;
    int32_t offset_s;
} lb_datetime;

/* A decimal number as its exact text, such as "-12.50": an optional "-", digits, and optionally "." and digits.
 * Borrowed, NUL-terminated. */
typedef struct lb_decimal {
    const char *text;
} lb_decimal;

/* "12345678-1234-5678-1234-567812345678" on the wire. */
typedef struct lb_uuid {
    uint8_t bytes[16];
} lb_uuid;

/* ---- Making them ------------------------------------------------------------------------------------ */

static inline lb_bytes lb_bytes_make(const void *data, size_t size)
{
    lb_bytes b = {data, size};
    return b;
}
static inline lb_date lb_date_make(int year, int month, int day)
{
    lb_date d = {(int16_t)year, (uint8_t)month, (uint8_t)day};
    return d;
}
static inline lb_time lb_time_make(int hour, int minute, int second)
{
    lb_time t = {(uint8_t)hour, (uint8_t)minute, (uint8_t)second, false, 0, 0};
    return t;
}
static inline lb_datetime lb_datetime_make(int year, int month, int day, int hour, int minute, int second,
                                           bool utc)
{
    lb_datetime d = {(int16_t)year,
                     (uint8_t)month,
                     (uint8_t)day,
                     (uint8_t)hour,
                     (uint8_t)minute,
                     (uint8_t)second,
                     utc,
                     0,
                     0};
    return d;
}
static inline lb_decimal lb_decimal_make(const char *text)
{
    lb_decimal d = {text};
    return d;
}

#define LB_BYTES(data, size)                lb_bytes_make((data), (size))
#define LB_DATE(year, month, day)           lb_date_make((year), (month), (day))
#define LB_TIME(hour, minute, second)       lb_time_make((hour), (minute), (second))
#define LB_DATETIME(y, mo, d, h, mi, s)     lb_datetime_make((y), (mo), (d), (h), (mi), (s), false) /* naive */
#define LB_DATETIME_UTC(y, mo, d, h, mi, s) lb_datetime_make((y), (mo), (d), (h), (mi), (s), true)
#define LB_DECIMAL(text)                    lb_decimal_make(text)

/* ---- Texts ------------------------------------------------------------------------------------------ */

#define LB_DATE_TEXT     16
#define LB_TIME_TEXT     40
#define LB_DATETIME_TEXT 64
#define LB_UUID_TEXT     37
#define LB_DECIMAL_TEXT  32 /* for lb_decimal_of_int */

/* The text on the wire (Python's isoformat), in `out`, which is returned. Fields out of range give "". */
LB_API const char *lb_date_text(lb_date date, char out[LB_DATE_TEXT]);
LB_API const char *lb_time_text(lb_time time, char out[LB_TIME_TEXT]);
LB_API const char *lb_datetime_text(lb_datetime datetime, char out[LB_DATETIME_TEXT]);
LB_API const char *lb_uuid_text(lb_uuid uuid, char out[LB_UUID_TEXT]);

/* From a text. Dates and times: ISO 8601, extended or basic, with "T" or a space between, "Z" or an offset,
 * fractions cut to microseconds; a date alone is that midnight, a date takes the day of a datetime. UUIDs: with
 * or without dashes, in braces, after "urn:uuid:". LB_MALFORMED says what was expected. */
LB_API lb_status lb_date_parse(const char *text, lb_date *date, lb_error *error);
LB_API lb_status lb_time_parse(const char *text, lb_time *time, lb_error *error);
LB_API lb_status lb_datetime_parse(const char *text, lb_datetime *datetime, lb_error *error);
LB_API lb_status lb_uuid_parse(const char *text, lb_uuid *uuid, lb_error *error);
LB_API lb_status lb_decimal_parse(const char *text, lb_decimal *decimal,
                                  lb_error *error); /* borrows the text */

/* ---- Conversions ------------------------------------------------------------------------------------ */

/* Microseconds since 1970-01-01T00:00:00 UTC; a naive datetime is taken as UTC. */
LB_API int64_t lb_datetime_unix_us(lb_datetime datetime);
/* The point in time in UTC; years past 1 to 9999 are cut to those. lb_datetime_now is the present. */
LB_API lb_datetime lb_datetime_from_unix_us(int64_t microseconds);
LB_API lb_datetime lb_datetime_now(void);

/* The nearest double. */
LB_API double lb_decimal_float(lb_decimal decimal);
/* The number times 10^scale, as for money in cents with scale 2. LB_MALFORMED: it is no decimal; LB_TOO_LARGE:
 * that is no whole number that fits (more digits after the point than `scale`, or beyond 64 bits). */
LB_API lb_status lb_decimal_int(lb_decimal decimal, int scale, int64_t *result, lb_error *error);
/* The other way round: 1250 with scale 2 is "12.50", in `out`. `scale` is 0 to 18. */
LB_API lb_decimal lb_decimal_of_int(int64_t digits, int scale, char out[LB_DECIMAL_TEXT]);

/* ---- From values ------------------------------------------------------------------------------------ */

/* A string value as one of these; false when it is none. A decimal is borrowed from the value. */
LB_API bool lb_value_date(const lb_value *value, lb_date *date);
LB_API bool lb_value_time(const lb_value *value, lb_time *time);
LB_API bool lb_value_datetime(const lb_value *value, lb_datetime *datetime);
LB_API bool lb_value_uuid(const lb_value *value, lb_uuid *uuid);
LB_API bool lb_value_decimal(const lb_value *value, lb_decimal *decimal);
/* The bytes of a base64 string, as lenient as Python: characters that are none of base64 are skipped. A new
 * block for free(), never NULL on success. LB_MALFORMED, LB_NO_MEMORY. */
LB_API lb_status lb_value_bytes(const lb_value *value, void **data, size_t *size, lb_error *error);

#ifdef __cplusplus
}
#endif
#endif
