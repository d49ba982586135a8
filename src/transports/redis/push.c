/* Messages on their way into lists. See push.h. */
#include "push.h"

#include <stdlib.h>

#include "../../base/json.h"
#include "resp.h"

enum { KEEP_TEXT = 256 * 1024 };

push *push_begin(push_queue *q, lb_slice key, const char *suffix, lb_slice id)
{
    if (q->count == q->capacity) {
        size_t capacity = q->capacity ? q->capacity * 2 : 16;
        push *items = realloc(q->items, capacity * sizeof *items);
        if (!items)
            return NULL;
        q->items = items;
        q->capacity = capacity;
    }
    push *item = &q->items[q->count++];
    *item = (push){.key = q->text.size, .key_size = key.size + strlen(suffix)};
    buffer_add(&q->text, key.data, key.size);
    buffer_str(&q->text, suffix);
    item->id = q->text.size;
    item->id_size = id.size;
    buffer_add(&q->text, id.data, id.size);
    item->blob = q->text.size;
    return item;
}

size_t push_end(push_queue *q, push *item)
{
    if (q->text.failed) {
        q->text.failed = false;
        push_truncate(q, q->count - 1);
        return 0;
    }
    item->blob_size = q->text.size - item->blob;
    return item->blob_size;
}

void push_truncate(push_queue *q, size_t count)
{
    if (count < q->count)
        q->text.size = q->items[count].key;
    q->count = count;
}

void push_clear(push_queue *q)
{
    q->count = 0;
    buffer_clear(&q->text, KEEP_TEXT);
}

void push_forget(push_queue *q, size_t count)
{
    if (count >= q->count) {
        push_clear(q);
        return;
    }
    size_t cut = q->items[count].key;
    memmove(q->text.data, q->text.data + cut, q->text.size - cut);
    q->text.size -= cut;
    q->count -= count;
    memmove(q->items, q->items + count, q->count * sizeof *q->items);
    for (push *item = q->items; item < q->items + q->count; item++) {
        item->key -= cut;
        item->id -= cut;
        item->blob -= cut;
    }
}

void push_free(push_queue *q)
{
    free(q->items);
    buffer_free(&q->text);
    *q = (push_queue){0};
}

void push_swap(push_queue *a, push_queue *b)
{
    push_queue old = *a;
    *a = *b;
    *b = old;
}

bool push_append(push_queue *q, push_queue *from)
{
    if (!q->count) {
        push_swap(q, from);
        push_clear(from);
        return true;
    }
    size_t count = q->count;
    for (const push *item = from->items; item < from->items + from->count; item++) {
        push *copy = push_begin(q, push_key(from, item), "", push_id(from, item));
        if (copy) {
            buffer_add(&q->text, from->text.data + item->blob, item->blob_size);
            copy->deadline_ns = item->deadline_ns;
            copy->refused = item->refused;
        }
        if (!copy || !push_end(q, copy)) {
            push_truncate(q, count);
            return false;
        }
    }
    push_clear(from);
    return true;
}

size_t push_run(const push_queue *q, size_t start, size_t end)
{
    size_t at = start + 1;
    while (at < end && slice_equal(push_key(q, &q->items[at]), push_key(q, &q->items[start])))
        at++;
    return at;
}

void push_write(const push_queue *q, buffer *out, const char *command, size_t start, size_t end)
{
    command_begin(out, 2 + end - start);
    command_str(out, command);
    command_slice(out, push_key(q, &q->items[start]));
    for (size_t i = start; i < end; i++)
        command_arg(out, q->text.data + q->items[i].blob, q->items[i].blob_size);
}
