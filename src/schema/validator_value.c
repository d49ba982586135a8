/* Comparing and hashing values. See validator_value.h. */
#include "validator_value.h"

#include <math.h>
#include <stdlib.h>

#include "../base/json.h"
#include "validator_node.h"

/* ---- Numbers ---------------------------------------------------------------------------------------- */

static bool is_float(const lb_value *v) { return lb_value_type_of(v) == LB_TYPE_FLOAT; }

static int compare_wholes(const lb_value *a, const lb_value *b)
{
    bool large_a = lb_value_type_of(a) == LB_TYPE_UINT, large_b = lb_value_type_of(b) == LB_TYPE_UINT;

    if (large_a || large_b)
        return large_a && large_b
                   ? (lb_value_uint(a) > lb_value_uint(b)) - (lb_value_uint(a) < lb_value_uint(b))
                   : (large_a ? 1 : -1);
    return (lb_value_int(a) > lb_value_int(b)) - (lb_value_int(a) < lb_value_int(b));
}

/* The largest whole number that is not above it. */
static double floor_of(double number)
{
    const double fractions_end = 9007199254740992.0; /* 2^53 */

    if (number >= fractions_end || number <= -fractions_end)
        return number;
    double whole = (double)(int64_t)number;
    return whole > number ? whole - 1 : whole;
}

/* A whole number beside a double, which has no exact place among the 64-bit numbers or beyond them. */
static int compare_mixed(const lb_value *whole, double number)
{
    const double end_of_uint = 18446744073709551616.0, end_of_int = 9223372036854775808.0;

    if (isnan(number))
        return 2;
    if (number >= end_of_uint)
        return -1;
    if (number < -end_of_int)
        return 1;
    double below = floor_of(number);
    int by_whole;
    if (lb_value_type_of(whole) == LB_TYPE_UINT)
        by_whole = below < end_of_int
                       ? 1
                       : (lb_value_uint(whole) > (uint64_t)below) - (lb_value_uint(whole) < (uint64_t)below);
    else
        by_whole = below >= end_of_int
                       ? -1
                       : (lb_value_int(whole) > (int64_t)below) - (lb_value_int(whole) < (int64_t)below);
    return by_whole == 0 && number > below ? -1 : by_whole;
}

int numbers_compare(const lb_value *a, const lb_value *b)
{
    if (!is_float(a) && !is_float(b))
        return compare_wholes(a, b);
    if (is_float(a) && is_float(b)) {
        double x = lb_value_float(a), y = lb_value_float(b);
        return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
    }
    if (is_float(b))
        return compare_mixed(a, lb_value_float(b));
    int reversed = compare_mixed(b, lb_value_float(a));
    return reversed == 2 ? 2 : -reversed;
}

typedef struct decimal {
    uint64_t digits; /* without trailing zeros */
    int exponent;    /* of ten */
} decimal;

/* The absolute value, in the fewest digits that read back as the same number. */
static decimal decimal_of(const lb_value *number)
{
    char memory[64];
    buffer text = {.data = memory, .capacity = sizeof memory};
    decimal d = {0, 0};
    bool fraction = false;

    json_write(&text, number);
    for (size_t i = 0; i < text.size; i++) {
        char c = memory[i];
        if (c == 'e' || c == 'E') {
            memory[text.size < sizeof memory ? text.size : sizeof memory - 1] = '\0';
            d.exponent += atoi(memory + i + 1);
            break;
        }
        if (c == '.')
            fraction = true;
        if (c < '0' || c > '9')
            continue;
        if (d.digits >
            (UINT64_MAX - (uint64_t)(c - '0')) / 10) { /* only the zeros of a large double are so many */
            d.exponent += !fraction;
            continue;
        }
        d.digits = d.digits * 10 + (uint64_t)(c - '0');
        d.exponent -= fraction;
    }
    while (d.digits && d.digits % 10 == 0) {
        d.digits /= 10;
        d.exponent++;
    }
    return d;
}

static uint64_t multiply(uint64_t a, uint64_t b, uint64_t modulus)
{
    uint64_t product = 0;

    for (a %= modulus; b; b >>= 1) {
        if (b & 1)
            product = product >= modulus - a ? product - (modulus - a) : product + a;
        a = a >= modulus - a ? a - (modulus - a) : a + a;
    }
    return product;
}

bool number_is_multiple(const lb_value *number, const lb_value *divisor)
{
    if (lb_value_type_of(number) == LB_TYPE_INT && lb_value_type_of(divisor) == LB_TYPE_INT)
        return lb_value_int(number) % lb_value_int(divisor) == 0;
    if (!isfinite(lb_value_float(number)))
        return false;
    decimal n = decimal_of(number), d = decimal_of(divisor);
    if (n.digits == 0)
        return true;
    if (n.exponent < d.exponent)
        return false; /* the divisor has a zero at the end that the number has not */
    uint64_t rest = n.digits % d.digits;
    for (int i = d.exponent; i < n.exponent && rest; i++)
        rest = multiply(rest, 10, d.digits);
    return rest == 0;
}

/* ---- Equality --------------------------------------------------------------------------------------- */

static bool is_number(lb_value_type t) { return t == LB_TYPE_INT || t == LB_TYPE_UINT || t == LB_TYPE_FLOAT; }

static bool spend(int64_t *steps, size_t count)
{
    int64_t cost = count < INT64_MAX / 2 ? (int64_t)count : INT64_MAX / 2;

    *steps = *steps > cost ? *steps - cost : 0;
    return *steps > 0;
}

static bool lists_equal(const lb_value *a, const lb_value *b, int64_t *steps)
{
    lb_value_iterator i = lb_value_iterate(a), j = lb_value_iterate(b);

    while (lb_value_next(&i) && lb_value_next(&j))
        if (!values_equal(i.value, j.value, steps))
            return false;
    return true;
}

/* Moves to the member of that name, round the end if need be: dicts written in the same order cost one step
 * each. */
static bool seek(lb_value_iterator *it, const lb_value *dict, lb_slice name, int64_t *steps)
{
    for (size_t i = 0, count = lb_value_count(dict); i < count && spend(steps, 1); i++) {
        if (!lb_value_next(it)) {
            *it = lb_value_iterate(dict);
            lb_value_next(it);
        }
        if (slice_equal((lb_slice){it->name, it->name_size}, name))
            return true;
    }
    return false;
}

static bool dicts_equal(const lb_value *a, const lb_value *b, int64_t *steps)
{
    lb_value_iterator i = lb_value_iterate(a), j = lb_value_iterate(b);

    while (lb_value_next(&i))
        if (!seek(&j, b, (lb_slice){i.name, i.name_size}, steps) || !values_equal(i.value, j.value, steps))
            return false;
    return true;
}

bool values_equal(const lb_value *a, const lb_value *b, int64_t *steps)
{
    lb_value_type type = lb_value_type_of(a), other = lb_value_type_of(b);

    if (!spend(steps, 1))
        return false;
    if (is_number(type) && is_number(other))
        return numbers_compare(a, b) == 0;
    if (type != other)
        return false;
    switch (type) {
    case LB_TYPE_BOOL:
        return lb_value_bool(a) == lb_value_bool(b);
    case LB_TYPE_STR:
        return spend(steps, lb_value_str_size(a) / 64) && slice_equal(json_slice(a), json_slice(b));
    case LB_TYPE_LIST:
        return lb_value_count(a) == lb_value_count(b) && lists_equal(a, b, steps);
    case LB_TYPE_DICT:
        return lb_value_count(a) == lb_value_count(b) && dicts_equal(a, b, steps);
    default:
        return true;
    }
}

/* ---- Hashes ----------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h)
{
    h ^= h >> 31;
    h *= UINT64_C(0x9fb21c651e98df25);
    return h ^ h >> 29;
}

uint64_t text_hash(lb_slice text)
{
    uint64_t h = mix(text.size + LB_TYPE_STR), word;
    size_t i = 0;

    for (; i + 8 <= text.size; i += 8) {
        memcpy(&word, text.data + i, 8);
        h = mix(h ^ word);
    }
    for (word = 0; i < text.size; i++)
        word = word << 8 | (unsigned char)text.data[i];
    return mix(h ^ word);
}

static uint64_t number_hash(const lb_value *value)
{
    double number = lb_value_float(value) + 0.0; /* -0 becomes 0 */
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    return mix(bits + LB_TYPE_FLOAT);
}

uint64_t value_hash(const lb_value *value, int64_t *steps)
{
    lb_value_type type = lb_value_type_of(value);
    lb_value_iterator it = lb_value_iterate(value);
    uint64_t h = mix(type + 1);

    spend(steps, 1);
    switch (type) {
    case LB_TYPE_BOOL:
        return mix(h + lb_value_bool(value));
    case LB_TYPE_INT:
    case LB_TYPE_UINT:
    case LB_TYPE_FLOAT:
        return number_hash(value);
    case LB_TYPE_STR:
        spend(steps, lb_value_str_size(value) / 64);
        return text_hash(json_slice(value));
    case LB_TYPE_LIST:
        while (lb_value_next(&it))
            h = mix(h ^ value_hash(it.value, steps));
        return h;
    case LB_TYPE_DICT: /* in any order */
        while (lb_value_next(&it))
            h += mix(text_hash((lb_slice){it.name, it.name_size}) ^ 3 * value_hash(it.value, steps));
        return h;
    default:
        return h;
    }
}
