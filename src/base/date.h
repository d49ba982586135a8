/* Dates that people write, for places in a history. */
#ifndef BASE_DATE_H
#define BASE_DATE_H

#include <stdbool.h>
#include <stdint.h>

/* YYYY-MM-DD[THH:MM[:SS[.fraction]]][Z|+HH:MM|-HH:MM], since 1970, to milliseconds of Unix time; without a zone
 * it is UTC. */
bool iso8601_ms(const char *text, int64_t *ms);

#endif
