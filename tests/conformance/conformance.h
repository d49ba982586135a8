/* One suite for all transports: what docs promise of a bus (S1, S2, ...), through the contract and through
 * lb_*. A transport joins with one line in media.c. */
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include <lightbus/transport.h>
#include <time.h>

#include "worker.h"

/* What a medium does not have. Deadlines: a call that arrives does not say how long its caller waits. */
enum { NO_PROCESSES = 1, NO_QUEUE_LIMIT = 2, NO_PASSWORDS = 4, NO_DEADLINES = 8 };

/* A way in which a medium goes away and comes back. What it keeps it has then. */
typedef struct trouble {
    const char *name;
    void (*begin)(void *medium);
    void (*end)(void *medium);
} trouble;

/* Something that a transport works on: a server, a folder. Functions that a medium has no use for are NULL. */
typedef struct medium_kind {
    const char *name;
    const lb_transport *transport;
    void *(*start)(char url[256]); /* a new one, and its URL */
    void (*stop)(void *medium);
    unsigned without;
    const trouble *troubles; /* up to one without a name; NULL: none */
    /* Foreign bytes, the nth of them: as a call to that API, as an entry of its stream. False: there are not so
     * many. */
    bool (*spoil_queue)(void *medium, const char *api_name, int n);
    bool (*spoil_stream)(void *medium, const char *api_name, int n);
    /* Takes the group away from the stream of an API, whoever listens; NULL: it cannot happen. */
    void (*drop_group)(void *medium, const char *api_name, const char *group);
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

/* A bus on the medium; the test fails if it cannot be opened. */
lb_bus *medium_bus(const medium *m, const char *options, const char *process);

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
int run_copy_rules(const medium_kind *kind);
int run_history_rules(void);
int run_dead_letter_rules(void);
int run_other_rules(void);
int run_handler_rules(void);
int run_process_rules(void);
int run_hostile_rules(void);
int run_trouble_rules(void);

#endif
