/* The signature grammar: `name(param: type = default, ...) -> type`, parsed into parameter tables and printed
 * back. Everything of a signature lives in one arena; immutable after parsing, so any thread may read it. */
#ifndef SCHEMA_SIGNATURE_H
#define SCHEMA_SIGNATURE_H

#include <lightbus/api.h>

#include "../base/arena.h"
#include "../base/buffer.h"

typedef enum type_kind {
    TYPE_ANY,
    TYPE_NULL,
    TYPE_BOOL,
    TYPE_INT,
    TYPE_FLOAT,
    TYPE_STR,
    TYPE_BYTES,
    TYPE_DATETIME,
    TYPE_DATE,
    TYPE_TIME,
    TYPE_DECIMAL,
    TYPE_UUID,
    TYPE_LIST,     /* items[0] or nothing */
    TYPE_TUPLE,    /* items[0..count) */
    TYPE_DICT,     /* items[0] (the values' type) or nothing */
    TYPE_UNION,    /* items[0..count): T | U */
    TYPE_OPTIONAL, /* items[0]: T? */
    TYPE_ENUM,     /* values[0..count) */
    TYPE_STRUCT,   /* fields[0..count) */
} type_kind;

typedef struct type type;

typedef struct parameter {         /* of a member, or a field of a struct */
    lb_slice name;                 /* NUL-terminated */
    const type *type;              /* TYPE_ANY when none was written */
    const lb_value *default_value; /* NULL: required */
} parameter;

struct type {
    type_kind kind;
    const char *title; /* of a struct that has a name, else NULL */
    size_t count;
    union {
        const type *const *items;
        const lb_value *const *values;
        const parameter *fields;
    };
};

typedef struct signature {
    arena memory;
    lb_slice name; /* NUL-terminated */
    size_t count;
    const parameter *parameters;
    const type *result; /* NULL: none was written */
    bool open;          /* "...": there may be other arguments too */
} signature;

/* Parses one. A failure is LB_INVALID_SIGNATURE and says where:
 * `auth.check_password: expected a type after "username:" at column 25`. `api_name` is for that message. */
lb_status signature_parse(const char *api_name, const char *text, signature **result, lb_error *error);
/* Prints it in its canonical form; parsing that gives the same signature. */
void signature_print(buffer *out, const signature *s);
void type_print(buffer *out, const type *t);
void signature_free(signature *s);

#endif
