/* Casting: whether a JSON value can be read as what a signature declares, beyond what its JSON schema says
 * (strings that are dates, integers of 64 bits, elements of tuples), and the defaults of struct fields. */
#ifndef SCHEMA_CAST_H
#define SCHEMA_CAST_H

#include "signature.h"
#include "validator.h"

/* Whether casting to the type can fail or change a value that fits its JSON schema. */
bool type_casts(const type *t);
/* Whether the value is of the type; `why` (may be NULL) says where not. */
bool type_fits(const type *t, const lb_value *value, violation *why);
/* The value with the defaults of absent struct fields filled in: itself when none is absent, else a new one in
 * `memory`; NULL when memory is short. The value fits the type. */
const lb_value *type_fill(const type *t, const lb_value *value, arena *memory);

#endif
