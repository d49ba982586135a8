/* What tests of the validator share. All of a test lies in one arena. */
#ifndef TESTS_VALIDATION_H
#define TESTS_VALIDATION_H

#include "support.h"

#include "base/json.h"
#include "schema/validator.h"

extern arena memory;                      /* of one test */
extern validator_formats formats_checked; /* how `compiled` takes formats: FORMATS_LIGHTBUS unless set */

int empty_memory(void **state); /* a teardown */
const lb_value *json(const char *text);
const validator *compiled(const char *schema);
void assert_accepts(const char *schema, const char *value);
void assert_refuses(const char *schema, const char *value, const char *path, const char *reason);
void assert_malformed(const char *schema, const char *message);

#endif
