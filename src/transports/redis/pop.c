/* Blocking pops. See pop.h. */
#include "pop.h"

#include <stdio.h>

static bool has_multi_pop(const conn *c)
{
    return __atomic_load_n(&c->features->multi_pop, __ATOMIC_RELAXED) > 0;
}

static void add_seconds(buffer *b, int64_t ms)
{
    char text[32];
    int size = snprintf(text, sizeof text, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
    command_arg(b, text, (size_t)size);
}

static void multi_pop(buffer *b, const char *const *keys, size_t count, pop_end end, size_t max,
                      int64_t timeout_ms)
{
    command_begin(b, count + 5 + (timeout_ms > 0));
    command_str(b, timeout_ms > 0 ? "BLMPOP" : "LMPOP");
    if (timeout_ms > 0)
        add_seconds(b, timeout_ms);
    command_int(b, (int64_t)count);
    for (size_t i = 0; i < count; i++)
        command_str(b, keys[i]);
    command_str(b, end == POP_LEFT ? "LEFT" : "RIGHT");
    command_str(b, "COUNT");
    command_int(b, (int64_t)max);
}

unsigned pop_write(conn *c, const char *const *keys, size_t count, pop_end end, size_t max, int64_t timeout_ms)
{
    buffer *b = &c->out;
    if (has_multi_pop(c) && (max > 1 || timeout_ms <= 0)) { /* BLPOP costs the server less */
        multi_pop(b, keys, count, end, max, timeout_ms);
        return 1;
    }
    command_begin(b, count + 2);
    command_str(b, end == POP_LEFT ? "BLPOP" : "BRPOP");
    for (size_t i = 0; i < count; i++)
        command_str(b, keys[i]);
    add_seconds(b, timeout_ms > 0 ? timeout_ms : 1); /* 0 would be for ever */
    if (count > 1 || max < 2)
        return 1;
    command_begin(b, 3);
    command_str(b, end == POP_LEFT ? "LPOP" : "RPOP");
    command_str(b, keys[0]);
    command_int(b, (int64_t)max - 1);
    return 2;
}

/* The replies: [key, [message...]] of BLMPOP, [key, message] of BLPOP; then [message...] of LPOP. */
const reply *pop_messages(const reply *r, unsigned index)
{
    const reply *first = reply_first(r), *second = first ? first->next : NULL;
    if (index > 0)
        return first;
    return second && second->type == REDIS_REPLY_ARRAY ? reply_first(second) : second;
}
