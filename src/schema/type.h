/* Types of signatures: their names, and what can be asked of one. */
#ifndef SCHEMA_TYPE_H
#define SCHEMA_TYPE_H

#include "signature.h"
#include "validator.h"

/* The type of a kind that needs no content: all but unions, optionals, enums and structs. */
const type *type_simple(type_kind kind);
/* The kind that a word of the grammar stands for. */
bool type_kind_of(lb_slice word, type_kind *kind);
/* The nearest such word, also for what other languages call it; empty when there is none. */
lb_slice type_suggest(lb_slice word);

bool type_equal(const type *a, const type *b);
bool type_takes_null(const type *t);
/* LB_OK when the value is of the type; LB_INVALID_ARGUMENTS fills *why; LB_NO_MEMORY. */
lb_status type_check(const type *t, const lb_value *value, violation *why);

/* Whether it holds no NaN and no infinity, at any depth: JSON has neither. */
bool json_is_finite(const lb_value *value);

#endif
