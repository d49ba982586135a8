/* Copies: of several events with one id the group is given the first (S20).
 *
 * A key per group, stream and id holds the native id of the first copy, as long as the window. Whoever finds
 * another's native id there holds a copy, and acknowledges it. That loses nothing (S10): the first one is
 * pending until it is handled or put aside, and when it is put aside its key goes with it; given out again, it
 * finds its own native id. What could not be compared is read again. */
#include "listener.h"

#include <lightbus/log.h>

enum { REPLIES_LEAST = 10 }; /* bytes of both answers */

static bool comparable(const lb_event_message *event)
{
    return !event->problem && event->id.size && event->id.size <= LB_DEDUPLICATED_ID_MOST;
}

bool copies_key(const listener *l, const lb_event_message *event, buffer *key)
{
    static const char ending[] = ":stream";
    const char *stream = l->streams[event->source].key;
    if (!l->deduplicate_ms || !comparable(event))
        return false;
    buffer_clear(key, 4096);
    buffer_literal(key, SEEN_PREFIX);
    buffer_str(key, l->group);
    buffer_char(key, ':');
    buffer_add(key, stream, strlen(stream) + 1 - sizeof ending);
    buffer_char(key, ':');
    buffer_add(key, event->id.data, event->id.size);
    return true;
}

lb_status copies_check(listener *l, int64_t deadline_ns, lb_error *error)
{
    conn *c = &l->w.conn;
    lb_error why = {0};
    if (!l->deduplicate_ms)
        return LB_OK;
    command_of(&c->out, "SET", SEEN_PREFIX, "", "XX", "PX", "1", NULL);
    command_of(&c->out, "GET", SEEN_PREFIX, NULL);
    command_of(&c->out, "DEL", SEEN_PREFIX, NULL);
    lb_status status = conn_exchange(c, 3, "deduplicate_ms: trying a key", deadline_ns, NULL, &why);
    if (status != LB_ACCESS)
        return LB_OK; /* what is wrong now is told where it matters */
    if (error)
        *error = why;
    return status;
}

/* Notes the ids that are new, and asks whose the others are. */
static lb_status ask(listener *l, int64_t until, size_t *asked, lb_error *error)
{
    conn *c = &l->w.conn;
    buffer key = {0};
    *asked = 0;
    for (size_t i = 0; i < l->event_count; i++) {
        if (!copies_key(l, &l->events[i], &key))
            continue;
        command_begin(&c->out, 6);
        command_str(&c->out, "SET");
        command_arg(&c->out, key.data, key.size);
        command_slice(&c->out, l->events[i].native_id);
        command_str(&c->out, "NX");
        command_str(&c->out, "PX");
        command_int(&c->out, l->deduplicate_ms);
        command_begin(&c->out, 2);
        command_str(&c->out, "GET");
        command_arg(&c->out, key.data, key.size);
        ++*asked;
    }
    c->out.failed |= key.failed;
    buffer_free(&key);
    conn_expect(c, *asked * REPLIES_LEAST);
    return *asked ? conn_send(c, until, NULL, error) : LB_OK;
}

/* Is it a copy? An answer that tells nothing makes it none: rather twice than not at all. */
static lb_status judge(listener *l, const lb_event_message *event, int64_t until, bool *copy, lb_error *problem,
                       lb_error *error)
{
    conn *c = &l->w.conn;
    const reply *answers[2] = {NULL, NULL};
    lb_status status = LB_OK;
    *copy = false;
    for (int i = 0; i < 2 && status == LB_OK; i++) {
        status = conn_answer(c, until, &answers[i], error);
        if (status == LB_OK && reply_is_error(answers[i]) && problem->status == LB_OK)
            conn_reply_error(c, answers[i], "comparing the ids of events", problem);
    }
    if (status != LB_OK || answers[1]->type != REDIS_REPLY_STRING)
        return status;
    lb_slice first = reply_text(answers[1]);
    *copy = first.size && !slice_equal(first, event->native_id);
    if (*copy)
        lb_log(LB_LOG_DEBUG, "%s: event %.*s (%.*s of %s) is a copy of %.*s: passed over (%llu in all)",
               l->group, (int)event->id.size, event->id.data, (int)event->native_id.size, event->native_id.data,
               l->streams[event->source].key, (int)(first.size < 60 ? first.size : 60), first.data,
               (unsigned long long)++l->copies);
    return LB_OK;
}

static lb_status acknowledge_copy(listener *l, const lb_event_message *event, lb_error *error)
{
    entry_id id;
    bool good = entry_id_parse(event->native_id, &id) && stream_done(&l->streams[event->source], id);
    return good ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory for acknowledgements");
}

static lb_status compare(listener *l, lb_error *error)
{
    int64_t until = clock_in_ms(ANSWER_MS);
    lb_error problem = {0};
    size_t asked, kept = 0;
    lb_status status = ask(l, until, &asked, error);
    for (size_t i = 0; i < l->event_count && status == LB_OK; i++) {
        bool copy = false;
        if (comparable(&l->events[i]))
            status = judge(l, &l->events[i], until, &copy, &problem, error);
        if (status == LB_OK && copy)
            status = acknowledge_copy(l, &l->events[i], error);
        else if (status == LB_OK)
            l->events[kept++] = l->events[i];
    }
    if (status != LB_OK)
        return status;
    l->event_count = kept;
    if (problem.status != LB_OK)
        lb_log(LB_LOG_WARNING, "%s: copies among %zu events may be handled as well: %s", l->group, asked,
               problem.message);
    return LB_OK;
}

/* The batch is pending, and is read again on the next connection. */
static void put_back(listener *l)
{
    entry_id id;
    for (size_t i = 0; i < l->event_count; i++)
        if (entry_id_parse(l->events[i].native_id, &id))
            drop_from_hand(l, &l->streams[l->events[i].source], id);
    l->event_count = 0;
    conn_drop(&l->w.conn);
    forget_outstanding(l);
}

lb_status copies_drop(listener *l, lb_status status, lb_error *error)
{
    if (!l->deduplicate_ms || !l->event_count)
        return status;
    if (status == LB_OK)
        status = compare(l, error);
    if (status != LB_OK)
        put_back(l);
    return status;
}
