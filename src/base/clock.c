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

uint64_t random_u64(void)
{
    static _Thread_local uint64_t s[4];
    static _Thread_local unsigned seeded; /* fork generation + 1 */
    unsigned now = fork_generation() + 1;
    if (seeded != now) {
        if (getrandom(s, sizeof s, 0) != (ssize_t)sizeof s) { /* only an ancient kernel or a seccomp filter */
            uint64_t t = (uint64_t)clock_now() ^ (uint64_t)getpid() << 32 ^ (uint64_t)(uintptr_t)s;
            for (int i = 0; i < 4; i++)
                s[i] = t = (t ^ t >> 29) * UINT64_C(0xbf58476d1ce4e5b9) + UINT64_C(0x9e3779b97f4a7c15);
        }
        s[0] |= 1;
        seeded = now;
    }
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

int64_t backoff_ms(unsigned attempt, int64_t base_ms, int64_t max_ms)
{
    int64_t delay = base_ms;
    while (attempt-- && delay < max_ms)
        delay *= 2;
    if (delay > max_ms)
        delay = max_ms;
    return delay - (int64_t)(random_u64() % (uint64_t)(delay / 2 + 1));
}

void uuid_text(char out[UUID_TEXT + 1])
{
    static const char hex[] = "0123456789abcdef";
    uint64_t bits[2] = {random_u64(), random_u64()};
    unsigned char b[16];
    memcpy(b, bits, 16);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40); /* version 4 */
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80); /* RFC 4122 variant */
    char *at = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = hex[b[i] >> 4];
        *at++ = hex[b[i] & 15];
    }
    *at = '\0';
}
