/* Ids of stream entries: text, order, and a set of them. */
#include <inttypes.h>
#include <stdlib.h>

#include "listener.h"

static bool digits(const char **at, const char *end, uint64_t *number)
{
    const char *start = *at;
    uint64_t n = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at) {
        uint64_t digit = (uint64_t)(**at - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *number = n;
    return *at > start;
}

bool entry_id_parse(lb_slice text, entry_id *id)
{
    const char *at = text.data, *end = text.data + text.size;
    id->seq = 0;
    if (!digits(&at, end, &id->ms))
        return false;
    return at == end || (*at++ == '-' && digits(&at, end, &id->seq) && at == end);
}

size_t entry_id_text(char out[ENTRY_ID_TEXT], entry_id id)
{
    char *at = out + ENTRY_ID_TEXT, *end = at;
    do
        *--at = (char)('0' + id.seq % 10);
    while (id.seq /= 10);
    *--at = '-';
    do
        *--at = (char)('0' + id.ms % 10);
    while (id.ms /= 10);
    memmove(out, at, (size_t)(end - at));
    out[end - at] = '\0';
    return (size_t)(end - at);
}

/* ---- Set -------------------------------------------------------------------------------------------- */

static bool is_free(entry_id id) { return id.ms == 0 && id.seq == 0; }

static size_t home(const id_set *s, entry_id id)
{
    uint64_t hash = (id.ms * UINT64_C(0x9e3779b97f4a7c15)) ^ (id.seq * UINT64_C(0xc2b2ae3d27d4eb4f));
    return (size_t)(hash ^ hash >> 29) & (s->capacity - 1);
}

/* Its slot, or the free one where it belongs. */
static size_t find(const id_set *s, entry_id id)
{
    size_t i = home(s, id);
    while (!is_free(s->slots[i]) && entry_id_compare(s->slots[i], id) != 0)
        i = (i + 1) & (s->capacity - 1);
    return i;
}

bool id_set_has(const id_set *s, entry_id id) { return s->count && !is_free(s->slots[find(s, id)]); }

static bool grow(id_set *s)
{
    id_set larger = {.capacity = s->capacity ? s->capacity * 2 : 64};
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < s->capacity; i++)
        if (!is_free(s->slots[i]))
            larger.slots[find(&larger, s->slots[i])] = s->slots[i];
    larger.count = s->count;
    free(s->slots);
    *s = larger;
    return true;
}

bool id_set_add(id_set *s, entry_id id)
{
    if (is_free(id)) /* whoever says so: it is none */
        return true;
    if (s->count * 2 >= s->capacity && !grow(s))
        return false;
    size_t i = find(s, id);
    s->count += is_free(s->slots[i]);
    s->slots[i] = id;
    return true;
}

void id_set_remove(id_set *s, entry_id id)
{
    if (!id_set_has(s, id))
        return;
    size_t hole = find(s, id), mask = s->capacity - 1;
    for (size_t i = (hole + 1) & mask; !is_free(s->slots[i]); i = (i + 1) & mask) {
        size_t from_home = (i - home(s, s->slots[i])) & mask, from_hole = (i - hole) & mask;
        if (from_home >= from_hole) { /* it may move back into the hole */
            s->slots[hole] = s->slots[i];
            hole = i;
        }
    }
    s->slots[hole] = (entry_id){0, 0};
    s->count--;
}

void id_set_free(id_set *s)
{
    free(s->slots);
    *s = (id_set){0};
}
