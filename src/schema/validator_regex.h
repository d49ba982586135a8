/* Regular expressions of JSON schemas: ECMA-262, run by PCRE2. They come from other processes, and so do the
 * texts: a match spends from a budget of steps and gives up when it is used up, so that no pattern and no text
 * makes it run away. Where PCRE2 differs from ECMA-262 is told in docs/decisions/005-regular-expressions.md. */
#ifndef SCHEMA_VALIDATOR_REGEX_H
#define SCHEMA_VALIDATOR_REGEX_H

#include <lightbus/value.h>
#include <stdbool.h>

#include "../base/arena.h"
#include "../base/buffer.h"

#define REGEX_MOST_BYTES 65536 /* of a pattern */

typedef struct regex regex; /* immutable: any thread may match with it */

/* Compiles into the arena; there is nothing to free. NULL: `problem` says why, in a few words. */
const regex *regex_compile(arena *memory, lb_slice pattern, char *problem, size_t problem_size);
lb_slice regex_pattern(const regex *r); /* as it was written */

/* What matches share: the work they may still do, and memory kept from one to the next. */
typedef struct regex_run {
    int64_t steps; /* left */
    struct regex_memory *memory;
} regex_run;

typedef enum regex_result { REGEX_MATCHES, REGEX_DIFFERS, REGEX_EXHAUSTED, REGEX_NO_MEMORY } regex_result;

/* Whether the pattern is found anywhere in the text, which is UTF-8. */
regex_result regex_search(const regex *r, lb_slice text, regex_run *run);
void regex_run_end(regex_run *run);

/* Translates a pattern of ECMA-262 to one of PCRE2 with callouts, which count the work. `largest_gap` receives
 * the most bytes of text that are looked at between two callouts. False: `problem` says what is wrong. */
bool regex_translate(lb_slice pattern, buffer *out, size_t *largest_gap, char *problem, size_t problem_size);

#endif
