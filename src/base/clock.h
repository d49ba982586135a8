/* Time and identity: monotonic nanoseconds, deadlines, random numbers, UUIDs, fork detection. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_MS     INT64_C(1000000)
#define CLOCK_SECOND INT64_C(1000000000)

static inline int64_t clock_now(void) /* nanoseconds on CLOCK_MONOTONIC */
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * CLOCK_SECOND + t.tv_nsec;
}
static inline int64_t clock_in_ms(int64_t ms) { return clock_now() + ms * CLOCK_MS; } /* a deadline */
/* Milliseconds left until a deadline, rounded up, for poll(): 0 when it has passed, at most `most`. */
int clock_left_ms(int64_t deadline_ns, int most);

/* Random bits, fast, not for secrets; seeded from the system, again after fork. Any thread. */
uint64_t random_u64(void);
/* A delay for the nth retry (from 0): base_ms doubled each time up to max_ms, then a random half taken off. */
int64_t backoff_ms(unsigned attempt, int64_t base_ms, int64_t max_ms);

#define UUID_TEXT 36
void uuid_text(char out[UUID_TEXT + 1]); /* a new random UUID (version 4) as text */

/* Changes in the child of every fork: compare with the number kept. */
unsigned fork_generation(void);

#endif
