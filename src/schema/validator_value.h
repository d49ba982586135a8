/* Values as JSON schema compares them: numbers exactly, whether they are whole or not, dicts in any order. Work
 * is counted down in `steps`; at 0 the answer is worthless, and the caller gives up. */
#ifndef SCHEMA_VALIDATOR_VALUE_H
#define SCHEMA_VALIDATOR_VALUE_H

#include <lightbus/value.h>
#include <stdbool.h>

/* -1, 0 or 1; NaN is 2 away from everything. */
int numbers_compare(const lb_value *a, const lb_value *b);
/* Exact on the shortest decimal form of both: 0.3 is a multiple of 0.1. `divisor` > 0. */
bool number_is_multiple(const lb_value *number, const lb_value *divisor);

bool values_equal(const lb_value *a, const lb_value *b, int64_t *steps);
/* Equal values have equal hashes. */
uint64_t value_hash(const lb_value *value, int64_t *steps);
uint64_t text_hash(lb_slice text); /* of a string value */

#endif
