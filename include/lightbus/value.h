/* lb_value: an immutable tree of JSON values.
 *
 * A value is either owned (lb_value_parse, the result of lb_call) and freed as a whole with lb_value_free,
 * or borrowed (reached inside another value, a request or an event) and valid as long as that.
 * Reading needs no lock: any number of threads may read one value. Every reader accepts NULL and answers as
 * for null. No function here blocks. */
#ifndef LIGHTBUS_VALUE_H
#define LIGHTBUS_VALUE_H

#include <lightbus/error.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lb_value lb_value;

typedef enum lb_value_type {
    LB_TYPE_NULL,
    LB_TYPE_BOOL,
    LB_TYPE_INT,   /* fits int64_t */
    LB_TYPE_UINT,  /* a whole number above INT64_MAX that fits uint64_t */
    LB_TYPE_FLOAT, /* double, infinities and NaN included (Python sends them as bare words) */
    LB_TYPE_STR,   /* UTF-8; may hold NUL characters, see lb_value_str_size */
    LB_TYPE_LIST,
    LB_TYPE_DICT,
} lb_value_type;

/* Bytes that somebody else owns; not NUL-terminated. */
typedef struct lb_slice {
    const char *data;
    size_t size;
} lb_slice;

/* Parses JSON text (RFC 8259, UTF-8; also NaN, Infinity, -Infinity) of `size` bytes into a new owned value.
 * Errors: LB_MALFORMED with the byte position, or nesting deeper than 512; LB_NO_MEMORY. */
LB_API lb_status lb_value_parse(const char *json, size_t size, lb_value **value, lb_error *error);

/* Frees an owned value and everything reached through it. NULL is allowed; a borrowed value is not. */
LB_API void lb_value_free(lb_value *value);

/* A new owned copy of any value, independent of where it came from; NULL when memory is short. */
LB_API lb_value *lb_value_copy(const lb_value *value);

/* The value as compact JSON text, a new string for free(); NULL when memory is short. `size` (may be NULL)
 * receives its length. lb_value_pretty indents by two spaces. */
LB_API char *lb_value_json(const lb_value *value, size_t *size);
LB_API char *lb_value_pretty(const lb_value *value, size_t *size);

LB_API lb_value_type lb_value_type_of(const lb_value *value);

/* The value in C. A value of another type gives false, 0, 0.0 or NULL; lb_value_float takes whole numbers
 * too; lb_value_int of an LB_TYPE_UINT is INT64_MAX. A string is NUL-terminated and borrowed. */
LB_API bool lb_value_bool(const lb_value *value);
LB_API int64_t lb_value_int(const lb_value *value);
LB_API uint64_t lb_value_uint(const lb_value *value);
LB_API double lb_value_float(const lb_value *value);
LB_API const char *lb_value_str(const lb_value *value);
LB_API size_t lb_value_str_size(const lb_value *value);

/* The number of elements of a list or of members of a dict; 0 for anything else. */
LB_API size_t lb_value_count(const lb_value *value);

/* The element at an index, NULL past the end; O(1) in lists of scalars, O(n) otherwise: iterate instead. */
LB_API const lb_value *lb_value_at(const lb_value *value, size_t index);

/* The member of a dict by name, NULL if it has none. */
LB_API const lb_value *lb_value_get(const lb_value *value, const char *name);

/* Walks a list or a dict in order:
 *     lb_value_iterator it = lb_value_iterate(list);
 *     while (lb_value_next(&it)) use(it.value);        // in a dict it.name is the member's name
 */
typedef struct lb_value_iterator {
    const lb_value *value; /* the current element */
    const char *name;      /* its name in a dict, else NULL; NUL-terminated, borrowed */
    size_t name_size;
    size_t index; /* of the current element */
    const void *next_;
    size_t left_;
} lb_value_iterator;

LB_API lb_value_iterator lb_value_iterate(const lb_value *value);
LB_API bool lb_value_next(lb_value_iterator *iterator);

/* Deep equality as JSON: order of members is irrelevant, 1 equals 1.0. */
LB_API bool lb_value_equal(const lb_value *a, const lb_value *b);

#ifdef __cplusplus
}
#endif
#endif
