/* Bytes, decimals and UUIDs as texts, and one door to all scalars that are strings on the wire. */
#include "scalars.h"

#include <stdio.h>
#include <stdlib.h>

#include "../base/json.h"

/* ---- base64 ----------------------------------------------------------------------------------------- */

static int base64_digit(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* A group of four digits that "=" completes ends the text: what follows is not looked at. */
bool base64_decode(lb_slice text, unsigned char *out, size_t *size)
{
    unsigned group = 0, digits = 0, pads = 0;
    size_t used = 0;

    for (size_t i = 0; i < text.size; i++) {
        int digit = base64_digit((unsigned char)text.data[i]);
        if (text.data[i] == '=' && digits >= 2 && digits + ++pads >= 4) {
            digits = 0;
            break;
        }
        if (digit < 0)
            continue;
        pads = 0;
        group = group << 6 | (unsigned)digit;
        digits = (digits + 1) % 4;
        if (digits != 1)
            out[used++] = (unsigned char)(group >> (digits == 0 ? 0 : digits == 2 ? 4 : 2));
    }
    *size = used;
    return digits == 0;
}

void base64_encode(buffer *out, const void *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = data;

    if (!buffer_room(out, (size + 2) / 3 * 4))
        return;
    for (size_t i = 0; i < size; i += 3) {
        unsigned group = (unsigned)in[i] << 16 | (i + 1 < size ? (unsigned)in[i + 1] << 8 : 0) |
                         (i + 2 < size ? in[i + 2] : 0);
        char four[4] = {digits[group >> 18], digits[group >> 12 & 63], digits[group >> 6 & 63],
                        digits[group & 63]};
        if (i + 2 >= size)
            four[3] = '=';
        if (i + 1 >= size)
            four[2] = '=';
        buffer_add(out, four, 4);
    }
}

lb_status lb_value_bytes(const lb_value *value, void **data, size_t *size, lb_error *error)
{
    lb_slice text = json_slice(value);

    *data = NULL;
    *size = 0;
    if (lb_value_type_of(value) != LB_TYPE_STR)
        return lb_error_set(error, LB_MALFORMED, "expected bytes as base64");
    unsigned char *block = malloc(base64_most(text.size));
    if (!block)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while decoding base64");
    if (!base64_decode(text, block, size)) {
        free(block);
        *size = 0;
        return lb_error_set(error, LB_MALFORMED, "expected bytes as base64, the padding is wrong");
    }
    *data = block;
    return LB_OK;
}

/* ---- Decimals --------------------------------------------------------------------------------------- */

static size_t count_digits(lb_slice text, size_t at)
{
    size_t start = at;
    while (at < text.size && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    return at - start;
}

bool decimal_is(lb_slice text)
{
    size_t at = text.size && text.data[0] == '-', digits = count_digits(text, at);

    at += digits;
    if (!digits || at == text.size)
        return digits > 0;
    size_t fraction = count_digits(text, at + 1);
    return text.data[at] == '.' && fraction && at + 1 + fraction == text.size;
}

lb_status lb_decimal_parse(const char *text, lb_decimal *decimal, lb_error *error)
{
    *decimal = lb_decimal_make("0");
    if (!text || !decimal_is(slice_of(text)))
        return lb_error_set(error, LB_MALFORMED, "expected a decimal like \"-12.50\", got \"%.60s\"",
                            text ? text : "");
    *decimal = lb_decimal_make(text);
    return LB_OK;
}

/* Read as JSON, which knows no locale, and no leading zeros. */
double lb_decimal_float(lb_decimal decimal)
{
    lb_slice text = slice_of(decimal.text ? decimal.text : "");
    lb_value *number = NULL;
    double result;
    size_t sign = text.size && text.data[0] == '-';

    if (!decimal_is(text))
        return 0;
    while (text.size > sign + 1 && text.data[sign] == '0' && text.data[sign + 1] != '.') {
        text.data++;
        text.size--;
        sign = 0;
    }
    if (lb_value_parse(text.data, text.size, &number, NULL) != LB_OK)
        return 0;
    result = lb_value_float(number);
    lb_value_free(number);
    return __builtin_copysign(result, decimal.text[0] == '-' ? -1 : 1);
}

lb_status lb_decimal_int(lb_decimal decimal, int scale, int64_t *result, lb_error *error)
{
    const char *text = decimal.text ? decimal.text : "";
    bool negative = text[0] == '-', after_point = false;
    int64_t value = 0; /* negative: that side has one number more */
    int left = scale;

    *result = 0;
    if (!decimal_is(slice_of(text)) || scale < 0 || scale > 18)
        return lb_error_set(error, LB_MALFORMED, "expected a decimal like \"-12.50\", got \"%.60s\"", text);
    for (const char *c = text + negative; *c || left > 0; c += *c != '\0') {
        int digit = *c >= '0' ? *c - '0' : 0;
        if (*c == '.') {
            after_point = true;
            continue;
        }
        if ((after_point || !*c) && left-- <= 0) {
            if (digit)
                return lb_error_set(error, LB_TOO_LARGE, "\"%.60s\" has more than %d digits after the point",
                                    text, scale);
            continue;
        }
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value))
            return lb_error_set(error, LB_TOO_LARGE, "\"%.60s\" does not fit 64 bits", text);
    }
    if (!negative && value == INT64_MIN)
        return lb_error_set(error, LB_TOO_LARGE, "\"%.60s\" does not fit 64 bits", text);
    *result = negative ? value : -value;
    return LB_OK;
}

lb_decimal lb_decimal_of_int(int64_t digits, int scale, char out[LB_DECIMAL_TEXT])
{
    uint64_t rest = digits < 0 ? 0 - (uint64_t)digits : (uint64_t)digits;
    scale = scale < 0 ? 0 : scale > 18 ? 18 : scale; /* no more has room */
    char *at = out + LB_DECIMAL_TEXT - 1;

    *at = '\0';
    for (int written = 0; rest || written <= scale; written++) {
        if (written == scale && scale > 0)
            *--at = '.';
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    }
    if (digits < 0)
        *--at = '-';
    memmove(out, at, (size_t)(out + LB_DECIMAL_TEXT - at));
    return lb_decimal_make(out);
}

/* ---- UUIDs ------------------------------------------------------------------------------------------ */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uuid_read(lb_slice text, lb_uuid *uuid)
{
    size_t digits = 0;

    if (text.size > 9 && memcmp(text.data, "urn:uuid:", 9) == 0)
        text = (lb_slice){text.data + 9, text.size - 9};
    if (text.size > 2 && text.data[0] == '{' && text.data[text.size - 1] == '}')
        text = (lb_slice){text.data + 1, text.size - 2};
    for (size_t i = 0; i < text.size; i++) {
        int digit = hex_digit(text.data[i]);
        if (text.data[i] == '-')
            continue;
        if (digit < 0 || digits == 32)
            return false;
        uint8_t *byte = &uuid->bytes[digits / 2];
        *byte = (uint8_t)(digits % 2 ? *byte << 4 | digit : digit);
        digits++;
    }
    return digits == 32;
}

lb_status lb_uuid_parse(const char *text, lb_uuid *uuid, lb_error *error)
{
    return text && uuid_read(slice_of(text), uuid)
               ? LB_OK
               : lb_error_set(error, LB_MALFORMED, "expected %s, got \"%.60s\"", scalar_example(TYPE_UUID),
                              text ? text : "");
}

const char *lb_uuid_text(lb_uuid uuid, char out[LB_UUID_TEXT])
{
    static const char hex[] = "0123456789abcdef";
    char *at = out;

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = hex[uuid.bytes[i] >> 4];
        *at++ = hex[uuid.bytes[i] & 15];
    }
    *at = '\0';
    return out;
}

/* ---- All -------------------------------------------------------------------------------------------- */

bool scalar_has_form(type_kind kind) { return kind >= TYPE_BYTES && kind <= TYPE_UUID; }

const char *scalar_example(type_kind kind)
{
    switch (kind) {
    case TYPE_BYTES:
        return "bytes as base64";
    case TYPE_DATETIME:
        return "a datetime like \"2020-01-02T03:04:05+00:00\"";
    case TYPE_DATE:
        return "a date like \"2020-01-02\"";
    case TYPE_TIME:
        return "a time like \"03:04:05\"";
    case TYPE_DECIMAL:
        return "a decimal like \"-12.50\"";
    case TYPE_UUID:
        return "a uuid like \"12345678-1234-5678-1234-567812345678\"";
    default:
        return "a string";
    }
}

static bool is_base64(lb_slice text)
{
    size_t digits = 0, pads = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '=' && digits % 4 >= 2 && digits % 4 + ++pads >= 4)
            return true;
        if (base64_digit((unsigned char)text.data[i]) >= 0) {
            pads = 0;
            digits++;
        }
    }
    return digits % 4 == 0;
}

bool scalar_reads(type_kind kind, lb_slice text)
{
    lb_datetime datetime;
    lb_time time;
    lb_uuid uuid;

    switch (kind) {
    case TYPE_BYTES:
        return is_base64(text);
    case TYPE_DATETIME:
    case TYPE_DATE:
        return datetime_read(text, &datetime);
    case TYPE_TIME:
        return time_read(text, &time);
    case TYPE_DECIMAL:
        return decimal_is(text);
    case TYPE_UUID:
        return uuid_read(text, &uuid);
    default:
        return true;
    }
}

static const char *write_text(buffer *out, const char *text, const char *problem)
{
    buffer_str(out, text);
    return *text ? NULL : problem;
}

const char *scalar_write(buffer *out, const lb_datum *d)
{
    char text[LB_DATETIME_TEXT];

    switch (d->kind) {
    case LB_DATUM_BYTES:
        base64_encode(out, d->as.slice.data, d->as.slice.size);
        return NULL;
    case LB_DATUM_DATETIME:
        return write_text(out, lb_datetime_text(d->as.datetime, text), "no such point in time");
    case LB_DATUM_DATE:
        return write_text(out, lb_date_text(d->as.date, text), "no such day");
    case LB_DATUM_TIME:
        return write_text(out, lb_time_text(d->as.time, text), "no such time of day");
    case LB_DATUM_UUID:
        return write_text(out, lb_uuid_text(d->as.uuid, text), "");
    default:
        if (!d->as.str || !decimal_is(slice_of(d->as.str)))
            return "expected a decimal like \"-12.50\"";
        buffer_str(out, d->as.str);
        return NULL;
    }
}

bool lb_value_date(const lb_value *value, lb_date *date)
{
    return lb_value_type_of(value) == LB_TYPE_STR && date_read(json_slice(value), date);
}

bool lb_value_time(const lb_value *value, lb_time *time)
{
    return lb_value_type_of(value) == LB_TYPE_STR && time_read(json_slice(value), time);
}

bool lb_value_datetime(const lb_value *value, lb_datetime *datetime)
{
    return lb_value_type_of(value) == LB_TYPE_STR && datetime_read(json_slice(value), datetime);
}

bool lb_value_uuid(const lb_value *value, lb_uuid *uuid)
{
    return lb_value_type_of(value) == LB_TYPE_STR && uuid_read(json_slice(value), uuid);
}

bool lb_value_decimal(const lb_value *value, lb_decimal *decimal)
{
    if (lb_value_type_of(value) != LB_TYPE_STR || !decimal_is(json_slice(value)))
        return false;
    *decimal = lb_decimal_make(lb_value_str(value));
    return true;
}
