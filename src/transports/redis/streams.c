/* The streams of an API: one for all its events, or one per event, which have to be looked for when all of them
 * are wanted. Their dead letters lie in streams beside them. */
#include "listener.h"

enum { SCAN_COUNT = 1000 };

static void add_escaped(buffer *pattern, lb_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (memchr("*?[]\\", text.data[i], 5))
            buffer_char(pattern, '\\');
        buffer_char(pattern, text.data[i]);
    }
}

/* The name of the event in "{api}.{event}" and a suffix; false for a key of another form or of an API below. */
static bool event_of(lb_slice key, lb_slice api_name, const char *suffix, lb_slice *event)
{
    const size_t around = api_name.size + 1 + strlen(suffix);
    if (key.size <= around)
        return false;
    *event = (lb_slice){key.data + api_name.size + 1, key.size - around};
    return memcmp(event->data + event->size, suffix, strlen(suffix)) == 0 && !slice_is(*event, "*") &&
           !memchr(event->data, '.', event->size) && !memchr(event->data, ':', event->size);
}

/* One SCAN; the cursor of the next in `cursor`. */
static lb_status scan(conn *c, const buffer *pattern, char cursor[24], const reply **keys, int64_t deadline_ns,
                      lb_error *error)
{
    const reply *answer = NULL;
    conn_release(c);
    command_begin(&c->out, 8);
    command_str(&c->out, "SCAN");
    command_str(&c->out, cursor);
    command_str(&c->out, "MATCH");
    command_arg(&c->out, pattern->data, pattern->size);
    command_str(&c->out, "COUNT");
    command_int(&c->out, SCAN_COUNT);
    command_str(&c->out, "TYPE");
    command_str(&c->out, "stream");
    lb_status status = conn_exchange(c, 1, "looking for streams", deadline_ns, &answer, error);
    const reply *next = reply_first(answer);
    lb_slice text = reply_text(next);
    *keys = next ? reply_first(next->next) : NULL;
    if (status == LB_OK && (!text.size || text.size >= 24))
        return lb_error_set(error, LB_MALFORMED, "looking for streams: expected a cursor");
    if (status == LB_OK) {
        memcpy(cursor, text.data, text.size);
        cursor[text.size] = '\0';
    }
    return status;
}

/* The streams of an API, or ("*") of all. A key may be found twice by SCAN: `found` has to bear it. */
static lb_status scan_streams(conn *c, lb_slice api_name, const char *suffix, stream_found found, void *data,
                              int64_t deadline_ns, lb_error *error)
{
    static const lb_slice any = {"*", 1};
    buffer pattern = {0};
    char cursor[24] = "0";
    const bool all = slice_is(api_name, "*");
    lb_status status;
    if (!all)
        add_escaped(&pattern, api_name);
    buffer_printf(&pattern, "%s*%s", all ? "" : ".", suffix);
    if (pattern.failed) {
        buffer_free(&pattern);
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for streams");
    }
    do {
        const reply *keys;
        lb_slice event = any;
        status = scan(c, &pattern, cursor, &keys, deadline_ns, error);
        for (const reply *key = keys; status == LB_OK && key; key = key->next)
            if ((all || event_of(reply_text(key), api_name, suffix, &event)) &&
                !found(reply_text(key), event, data))
                status = lb_error_set(error, LB_NO_MEMORY, "out of memory for streams");
    } while (status == LB_OK && strcmp(cursor, "0") != 0);
    conn_release(c);
    buffer_free(&pattern);
    return status;
}

lb_status streams_of(redis *r, conn *c, lb_slice api_name, lb_slice event_name, const char *suffix,
                     stream_found found, void *data, int64_t deadline_ns, lb_error *error)
{
    buffer key = {0};
    bool per_event = r->options.stream_per_event;
    if (slice_is(api_name, "*") || (per_event && slice_is(event_name, "*")))
        return scan_streams(c, api_name, suffix, found, data, deadline_ns, error);
    buffer_add(&key, api_name.data, api_name.size);
    buffer_char(&key, '.');
    if (per_event)
        buffer_add(&key, event_name.data, event_name.size);
    else
        buffer_char(&key, '*');
    buffer_str(&key, suffix);
    bool good = !key.failed && found((lb_slice){key.data, key.size}, event_name, data);
    buffer_free(&key);
    return good ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory for streams");
}
