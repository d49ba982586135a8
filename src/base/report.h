/* Findings in the making: what is told, check by check, and how bad it was. Not thread-safe. */
#ifndef BASE_REPORT_H
#define BASE_REPORT_H

#include <lightbus/diagnose.h>
#include <lightbus/value.h>
#include <stdint.h>

#include "arena.h"

typedef struct report {
    lb_finding_fn found;
    void *data;
    const char *check; /* the one at work */
    size_t told;       /* in this check */
    arena memory;      /* for texts of this check */
} report;              /* {found, data} is one before its first check */

/* The next check begins; what was in `memory` is gone. */
void report_begin(report *r, const char *check);
/* Tells one finding of the present check. `advice` may be NULL. */
void report_tell(report *r, lb_finding_level level, const char *advice, const char *format, ...)
    LB_PRINTF(4, 5);
/* The check could not be made: a note where it is not permitted, else a warning. */
void report_unchecked(report *r, const lb_error *error);
void report_free(report *r);
/* A word of a command to type, in quotes where the shell needs them: it may come from a stranger. In `memory`.
 */
const char *report_word(report *r, lb_slice word);

/* ---- What all transports judge in the same way */

/* A consumer group of a stream. */
typedef struct group_facts {
    lb_slice stream, group;
    int64_t length, most; /* of the stream; most 0: it is not trimmed */
    int64_t undelivered;  /* -1: not known */
    int64_t lost;         /* trimmed before the group had handled them; -1: not known */
    int64_t consumers;    /* -1: not known */
    int64_t overdue;      /* given to processes that have been silent since, and taken over by nobody ... */
    int64_t overdue_ms;   /* ... for so long */
    lb_slice holder;      /* one of these processes */
    const char *forget;   /* the command that sets `lost` back to 0; NULL: there is none */
    const char *remove;   /* the command that removes the group; NULL: there is none */
} group_facts;
void report_group(report *r, const group_facts *g);
/* Events of a stream in the dead letters. */
void report_dead_letters(report *r, lb_slice stream, int64_t count);
/* Is the group's service name one that was made up at the start of a process, as "swift-otter-412"? */
bool is_random_group(lb_slice group);

/* "16.0 MiB", in `out`, which is returned. */
#define BYTES_TEXT 24
const char *bytes_text(int64_t bytes, char out[BYTES_TEXT]);
/* "1.5 s", "12 min", "3 days", in `out`, which is returned. */
#define DURATION_TEXT 24
const char *duration_text(int64_t ms, char out[DURATION_TEXT]);

#endif
