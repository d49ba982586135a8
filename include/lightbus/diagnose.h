/* Diagnosing: what is wrong with a set-up, and what to do about it. */
#ifndef LIGHTBUS_DIAGNOSE_H
#define LIGHTBUS_DIAGNOSE_H

#include <lightbus/api.h>
#include <lightbus/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum lb_finding_level {
    LB_FINDING_OK = 0,  /* looked at, and well */
    LB_FINDING_NOTE,    /* worth knowing; also: it could not be looked at, since that is not permitted */
    LB_FINDING_WARNING, /* works now, and may fail or lose something later */
    LB_FINDING_ERROR,   /* does not work, or loses something */
} lb_finding_level;

/* One thing that was found. Texts are NUL-terminated and one line each; they may hold names from the bus, so
 * that what shows them on a terminal has to make control characters harmless. */
typedef struct lb_finding {
    lb_finding_level level;
    const char *check;  /* what was looked at, in a word or two: "memory" */
    const char *found;  /* what was found, with figures */
    const char *advice; /* what to do: a sentence, or a command to type; NULL: nothing */
    const char *place;  /* the transport's URL, the password masked; NULL: the process. Set by the bus */
} lb_finding;

/* The finding is borrowed until it returns. It may not use the handle. */
typedef void (*lb_finding_fn)(const lb_finding *finding, void *data);

/* Looks at the transports of this handle and what lies on them, and calls `found`, on this thread, for each
 * thing found, be it good or bad. Nothing on the bus is changed. Each of some dozens of checks may take
 * `check_timeout_ms` (0: 5000); one that cannot be made is a finding itself, and the others are made all the
 * same. Any thread. */
LB_API void lb_diagnose(lb_bus *bus, int check_timeout_ms, lb_finding_fn found, void *data);

#ifdef __cplusplus
}
#endif
#endif
