/* Firing: XADD for each event, all in one write. An event whose reply did not come may or may not be on the
 * stream; it is never sent again here: that is for the bus, with the same id (S20). */
#include "listener.h"

static void add_event(redis *r, const lb_event_message *event, buffer *key)
{
    conn *c = &r->fire;
    buffer_clear(key, 4096);
    buffer_add(key, event->api_name.data, event->api_name.size);
    if (r->options.stream_per_event) {
        buffer_char(key, '.');
        buffer_add(key, event->event_name.data, event->event_name.size);
    } else {
        buffer_literal(key, ".*");
    }
    buffer_literal(key, ":stream");
    encode_event(&c->out, key->data, key->size, r->options.max_stream_length, event);
}

/* Writes all events that are not too large; *sent tells how many. */
static lb_status write_events(redis *r, lb_event_message *const *events, size_t count, size_t *sent,
                              int64_t deadline_ns, bool *started, lb_error *error)
{
    buffer key = {0};
    *started = false;
    *sent = 0;
    lb_status status = conn_ready(&r->fire, deadline_ns, error);
    if (status != LB_OK)
        return status;
    conn_release(&r->fire);
    for (size_t i = 0; i < count; i++) {
        events[i]->native_id = (lb_slice){"", 0};
        events[i]->problem = NULL;
        events[i]->status = LB_OK;
        if (event_size(events[i]) > (size_t)r->options.max_message_size) {
            events[i]->status = LB_TOO_LARGE;
            events[i]->problem = "the event is larger than max_message_size";
            continue;
        }
        add_event(r, events[i], &key);
        ++*sent;
    }
    bool failed = key.failed;
    buffer_free(&key);
    if (failed) {
        conn_drop(&r->fire);
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for events");
    }
    return conn_send(&r->fire, deadline_ns, started, error);
}

static void read_outcomes(redis *r, lb_event_message *const *events, size_t count, int64_t deadline_ns)
{
    conn *c = &r->fire;
    lb_error why;
    for (size_t i = 0; i < count; i++) {
        const reply *answer;
        if (events[i]->status != LB_OK)
            continue;
        if (c->fd < 0 || conn_answer(c, deadline_ns, &answer, &why) != LB_OK) {
            events[i]->status = LB_TRANSPORT;
            events[i]->problem = "outcome unknown: the connection broke before the server's answer";
        } else if (reply_is_error(answer)) {
            events[i]->status = conn_reply_error(c, answer, "firing", &why);
            events[i]->problem = arena_copy(&c->in.arena, why.message, strlen(why.message));
        } else {
            events[i]->native_id = reply_text(answer);
        }
    }
}

lb_status fire_events(void *self, lb_event_message *const *events, size_t count, int64_t deadline_ns,
                      lb_error *error)
{
    enum { REPLY_LEAST = 8 };
    redis *r = self;
    bool started;
    size_t sent;
    lb_status status = write_events(r, events, count, &sent, deadline_ns, &started, error);
    if (status == LB_TRANSPORT && !started && clock_now() < deadline_ns) /* an idle connection that had died */
        status = write_events(r, events, count, &sent, deadline_ns, &started, error);
    if (status != LB_OK && !started)
        return status;
    conn_expect(&r->fire, sent * REPLY_LEAST);
    read_outcomes(r, events, count, answer_deadline(deadline_ns));
    return LB_OK;
}
