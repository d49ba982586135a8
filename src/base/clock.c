/* Time and identity. The random generator is xoshiro256** per thread, seeded from the system. */
#include "clock.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

int clock_left_ms(int64_t deadline_ns, int most)
{
    int64_t left = deadline_ns - clock_now();
    if (left <= 0)
        return 0;
    left = left / CLOCK_MS + (left % CLOCK_MS != 0);
    return left < most ? (int)left : most;
}

static unsigned generation;
static pthread_once_t fork_watch = PTHREAD_ONCE_INIT;

static void forked(void) { __atomic_add_fetch(&generation, 1, __ATOMIC_RELAXED); }
static void watch_forks(void) { pthread_atfork(NULL, NULL, forked); }

unsigned fork_generation(void)
{
    pthread_once(&fork_watch, watch_forks);
    return __atomic_load_n(&generation, __ATOMIC_RELAXED);
}

static uint64_t rotate(uint64_t x, int k) { return x << k | x >> (64 - k); }

typedef struct generator {
    uint64_t s[4];
    unsigned seeded; /* fork generation + 1 */
} generator;

static generator *own_generator(void)
{
    static _Thread_local generator own;
    generator *g = &own;
    unsigned now = fork_generation() + 1;
    if (g->seeded == now)
        return g;
    if (getrandom(g->s, sizeof g->s, 0) != (ssize_t)sizeof g->s) { /* an ancient kernel or a seccomp filter */
        uint64_t t = (uint64_t)clock_now() ^ (uint64_t)getpid() << 32 ^ (uint64_t)(uintptr_t)g;
        for (int i = 0; i < 4; i++)
            g->s[i] = t = (t ^ t >> 29) * UINT64_C(0xbf58476d1ce4e5b9) + UINT64_C(0x9e3779b97f4a7c15);
    }
    g->s[0] |= 1;
    g->seeded = now;
    return g;
}

static uint64_t next_u64(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t random_u64(void) { return next_u64(own_generator()->s); }

int64_t backoff_ms(unsigned attempt, int64_t base_ms, int64_t max_ms)
{
    int64_t delay = base_ms;
    while (attempt-- && delay < max_ms)
        delay *= 2;
    if (delay > max_ms)
        delay = max_ms;
    return delay - (int64_t)(random_u64() % (uint64_t)(delay / 2 + 1));
}

/* Eight hexadecimal digits at once: each of the low four bits of a byte becomes one. */
static uint64_t hex_digits(uint64_t bits)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t digits = bits & each * 15, above_9 = (digits + each * 6) >> 4 & each;
    return digits + each * '0' + above_9 * ('a' - '0' - 10);
}

void uuid_text(char out[UUID_TEXT + 1])
{
    uint64_t *s = own_generator()->s, a = next_u64(s), b = next_u64(s);
    uint64_t text[4] = {hex_digits(a), hex_digits(a >> 4), hex_digits(b), hex_digits(b >> 4)};
    const char *digits = (const char *)text;
    memcpy(out, digits, 8);
    memcpy(out + 9, digits + 8, 4);
    memcpy(out + 14, digits + 12, 4);
    memcpy(out + 19, digits + 16, 4);
    memcpy(out + 24, digits + 20, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
    out[14] = '4';           /* version 4 */
    out[19] = "89ab"[b & 3]; /* RFC 4122 variant */
    out[UUID_TEXT] = '\0';
}
