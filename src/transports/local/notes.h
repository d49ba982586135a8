/* What is to be logged of a transaction: when it has ended, since a log may block, and nobody else can write
 * meanwhile; and only if it took place. */
#ifndef LOCAL_NOTES_H
#define LOCAL_NOTES_H

#include <lightbus/log.h>
#include <stdbool.h>

#include "../../base/arena.h"

typedef struct notes {
    struct note *first, *last;
    arena memory;
} notes; /* {0} has none */

void notes_add(notes *n, lb_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Logs them all, if `took_place`, and forgets them. */
void notes_end(notes *n, bool took_place);
void notes_free(notes *n);

#endif
