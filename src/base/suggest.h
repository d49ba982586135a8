/* "did you mean": the nearest of a few names to a misspelt one. */
#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

#include <lightbus/value.h>

/* Feed it candidates one by one; `best` is the nearest so far, or empty when none is near enough. */
typedef struct suggestion {
    lb_slice word; /* what was written */
    lb_slice best;
    size_t distance; /* of `best` */
} suggestion;

suggestion suggestion_for(lb_slice word);
void suggestion_consider(suggestion *s, lb_slice candidate);

#endif
