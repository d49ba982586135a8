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

/* Takes the refused ones out again. Those that are not there any more are not refused. */
static lb_status take_out(conn *c, push_queue *q, size_t start, size_t end, int64_t deadline_ns,
                          lb_error *error)
{
    const reply *removed, *deleted;
    for (size_t i = start; i < end; i++)
        if (q->items[i].refused)
            write_removal(&c->out, q, &q->items[i]);
    lb_status status = conn_send(c, deadline_ns, NULL, error);
    for (size_t i = start; i < end; i++) {
        if (!q->items[i].refused)
            continue;
        if (status == LB_OK)
            status = conn_answer(c, deadline_ns, &removed, error);
        q->items[i].refused = status == LB_OK && reply_integer(removed) > 0;
        if (status == LB_OK)
            status = conn_answer(c, deadline_ns, &deleted, error);
    }
    return status;
}

void limit_enforce(redis *r, push_queue *q, size_t start, size_t end, int64_t length, lb_error *why)
{
    int64_t most = r->options.max_queue_length;
    size_t over = length > most ? (size_t)(length - most) : 0, refused = 0;
    for (size_t i = start; i < end; i++) {
        if (end - i <= over)
            q->items[i].refused = true;
        refused += q->items[i].refused;
    }
    if (!refused)
        return;
    int64_t deadline = clock_in_ms(LIMIT_MS);
    lb_error error = {0};
    conn *c = control_lock(r, deadline, &error);
    lb_status status = c ? take_out(c, q, start, end, deadline, &error) : LB_TRANSPORT;
    if (c)
        control_unlock(r);
    for (size_t i = start; !c && i < end; i++)
        q->items[i].refused = false;
    if (status != LB_OK)
        lb_log(LB_LOG_WARNING, "calls that were refused could not be taken out of their queue: %s",
               error.message);
    if (over)
        lb_error_set(why, LB_BUSY, "%s: %lld calls (max_queue_length) wait for a worker of this API",
                     r->options.place, (long long)most);
}
