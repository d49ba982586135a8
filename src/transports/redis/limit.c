/* The bound on waiting calls. See limit.h. */
#include "limit.h"

#include <lightbus/log.h>

#include "codec.h"

enum { LIMIT_MS = 1000 };

static void write_removal(buffer *out, const push_queue *q, const push *item)
{
    command_begin(out, 4);
    command_str(out, "LREM");
    command_slice(out, push_key(q, item));
    command_str(out, "-1");
    command_arg(out, q->text.data + item->blob, item->blob_size);
    command_begin(out, 2);
    command_str(out, "DEL");
    command_prefixed(out, EXPIRY_PREFIX, push_id(q, item));
}

void limit_enforce(redis *r, push_queue *q, size_t start, size_t end, int64_t length, lb_error *why)
{
    int64_t most = r->options.max_queue_length, deadline = clock_in_ms(LIMIT_MS);
    size_t over = length > most ? (size_t)(length - most) : 0, first = over < end - start ? end - over : start;
    lb_error error = {0};
    conn *c = over ? control_lock(r, deadline, &error) : NULL;
    if (!c) {
        if (over)
            lb_log(LB_LOG_WARNING, "a queue is too long, and could not be made shorter: %s", error.message);
        return;
    }
    lb_error_set(why, LB_BUSY, "%s: %lld calls (max_queue_length) wait for a worker of this API",
                 r->options.place, (long long)most);
    for (size_t i = first; i < end; i++)
        write_removal(&c->out, q, &q->items[i]);
    const reply *removed, *deleted;
    lb_status status = conn_send(c, deadline, NULL, &error);
    for (size_t i = first; i < end && status == LB_OK; i++) {
        status = conn_answer(c, deadline, &removed, &error);
        if (status == LB_OK)
            q->items[i].refused |= reply_integer(removed) > 0;
        if (status == LB_OK)
            status = conn_answer(c, deadline, &deleted, &error);
    }
    if (status != LB_OK)
        lb_log(LB_LOG_WARNING, "a queue is too long, and could not be made shorter: %s", error.message);
    control_unlock(r);
}
