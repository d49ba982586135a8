/* One suite for all transports: what docs promise of a bus (S1, S2, ...), through the contract and through
 * lb_*. A transport joins with one line in media.c. */
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include <lightbus/transport.h>
#include <time.h>

#include "worker.h"

enum { NO_PROCESSES = 1, NO_QUEUE_LIMIT = 2 }; /* what a medium does not have */

/* Something that a transport works on: a server, a folder. */
typedef struct medium_kind {
    const char *name;
    const lb_transport *transport;
    void *(*start)(char url[256]); /* a new one, and its URL */
    void (*stop)(void *medium);
    unsigned without;
} medium_kind;

extern const medium_kind media[];
extern const size_t media_count;

typedef struct medium {
    const medium_kind *kind;
    void *self;
    char url[256];
} medium;

/* Setup and teardown: *state is a medium of the kind that the program runs for. */
int medium_setup(void **state);
int medium_teardown(void **state);
#define medium_test(f) cmocka_unit_test_setup_teardown(f, medium_setup, medium_teardown)
#define skip_without(m, what)                                                                                  \
    do {                                                                                                       \
        if ((m)->kind->without & (what))                                                                       \
            skip();                                                                                            \
    } while (0)

/* The medium's URL with options ("a=1&b=2"); valid until the next call. */
const char *medium_url(const medium *m, const char *options);
/* An instance of the transport. Fails the test if it cannot be opened. */
void *instance_open(const medium *m, const char *options, const char *process);
void instance_close(const medium *m, void *instance);

static inline int64_t in_ms(int64_t ms) /* a deadline */
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return ((int64_t)t.tv_sec * 1000 + ms) * 1000000 + t.tv_nsec;
}
static inline lb_slice slice(const char *text) { return (lb_slice){text, strlen(text)}; }
static inline bool is(lb_slice s, const char *text)
{
    return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}

int run_rpc_rules(void);
int run_event_rules(void);
int run_history_rules(void);
int run_dead_letter_rules(void);
int run_other_rules(void);
int run_process_rules(void);

#endif
