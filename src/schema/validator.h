/* JSON schema (draft-07): compiled once, then run without allocation. Knows at present what Python Lightbus
 * publishes: boolean schemas, type, properties, required, additionalProperties, items (one schema or a list),
 * prefixItems (ignored, as draft-07 does), anyOf, enum, const, minItems, maxItems; $ref is refused. Other
 * keywords are ignored. */
#ifndef SCHEMA_VALIDATOR_H
#define SCHEMA_VALIDATOR_H

#include <lightbus/transport.h>

#include "../base/arena.h"
#include "../base/buffer.h"

typedef struct validator validator;

/* Compiles a schema into the arena. LB_MALFORMED names the keyword and the place in the schema. Nesting is
 * bounded. The schema's tree must live as long as the validator. */
lb_status validator_compile(arena *memory, const lb_value *schema, const validator **result, lb_error *error);

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
