/* JSON schema, draft-07: compiled once, then run. Checking allocates nothing for what Python Lightbus
 * publishes; "pattern" and "uniqueItems" of long lists take memory for the time of the check. Schemas and
 * values come from other processes: nesting, regular expressions and the work of one check are bounded, and a
 * check that reaches a bound refuses the value and says so. See docs/explanation/validation.md. */
#ifndef SCHEMA_VALIDATOR_H
#define SCHEMA_VALIDATOR_H

#include <lightbus/transport.h>

#include "../base/arena.h"
#include "../base/buffer.h"

typedef struct validator validator;

typedef enum validator_formats {
    FORMATS_LIGHTBUS, /* checked, but for date-time, date and time: Python Lightbus publishes these and does not
                         check them, so that what it sends need not fit; reading it is the cast's business */
    FORMATS_STRICT,   /* all are checked */
    FORMATS_IGNORED,  /* all are annotations */
} validator_formats;

/* Compiles a schema into the arena, with FORMATS_LIGHTBUS. LB_MALFORMED names the keyword and the place in the
 * schema. Nesting is bounded. The schema's tree must live as long as the validator. */
lb_status validator_compile(arena *memory, const lb_value *schema, const validator **result, lb_error *error);
lb_status validator_compile_as(arena *memory, const lb_value *schema, validator_formats formats,
                               const validator **result, lb_error *error);

/* Where a value broke a schema. */
typedef struct violation {
    enum {
        VIOLATION_VALUE,      /* a value of the wrong type or content */
        VIOLATION_MISSING,    /* `name` is required */
        VIOLATION_UNEXPECTED, /* `name` is not declared */
        VIOLATION_DUPLICATE,  /* `name` is there twice */
    } kind;
    char path[128];   /* "email", "tags[3].id", or "" for the value itself */
    char reason[256]; /* "expected str, got int (3)" */
    lb_slice name;    /* borrowed from the schema or the value */
} violation;

/* `why` may be NULL. A NULL validator accepts everything. */
bool validator_check(const validator *v, const lb_value *value, violation *why);
/* Checks keyword arguments as the members of one dict, without making one. */
bool validator_check_kwargs(const validator *v, const lb_kwarg *kwargs, size_t count, violation *why);

#endif
