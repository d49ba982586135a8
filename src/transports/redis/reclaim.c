/* Entries that were delivered before: this consumer's own of an earlier life or connection (S11), and those
 * that others have let lie past the acknowledgement timeout. Both come in pages; what is in hand is passed
 * over; what has vanished from its stream meanwhile is acknowledged, counted and logged (S16). */
#include <stdlib.h>

#include "listener.h"

static void command_after(buffer *b, entry_id id) /* an exclusive start, or the beginning */
{
    char text[ENTRY_ID_TEXT + 1] = "(";
    entry_id_text(text + 1, id);
    command_str(b, id.ms || id.seq ? text : "-");
}

static size_t count_of(const reply *array)
{
    size_t n = 0;
    for (const reply *r = reply_first(array); r; r = r->next)
        n++;
    return n;
}

static entry_id id_of(const reply *entry)
{
    entry_id id = {0, 0};
    if (!entry_id_parse(reply_text(reply_first(entry)), &id))
        id = (entry_id){0, 0};
    return id;
}

/* An answer that the server owes at once, and that must not be an error: then the connection is dropped with
 * all that is outstanding on it. A group that has vanished is made again on the next one. */
static lb_status answer(listener *l, const char *doing, int64_t deadline_ns, const reply **r, lb_error *error)
{
    conn *c = &l->w.conn;
    lb_status status = conn_answer(c, deadline_ns, r, error);
    if (status == LB_OK && reply_is_error(*r)) {
        status = conn_reply_error(c, *r, doing, error);
        error->retryable |= reply_is_error_of(*r, "NOGROUP");
        conn_drop(c);
    }
    return status;
}

/* ---- Own -------------------------------------------------------------------------------------------- */

lb_status read_own_page(listener *l, stream *s, size_t max, lb_error *error)
{
    buffer *b = &l->w.conn.out;
    int64_t until = clock_in_ms(ANSWER_MS);
    const reply *read = NULL, *pending = NULL;
    char after[ENTRY_ID_TEXT];
    size_t from = l->event_count, lost = 0;
    entry_id_text(after, s->own_after);
    command_begin(b, 9);
    command_str(b, "XREADGROUP");
    command_str(b, "GROUP");
    command_str(b, l->group);
    command_str(b, l->consumer);
    command_str(b, "COUNT");
    command_int(b, (int64_t)max);
    command_str(b, "STREAMS");
    command_str(b, s->key);
    command_str(b, after);
    command_begin(b, 7);
    command_str(b, "XPENDING");
    command_str(b, s->key);
    command_str(b, l->group);
    command_after(b, s->own_after);
    command_str(b, "+");
    command_int(b, (int64_t)max);
    command_str(b, l->consumer);
    lb_status status = send_with_acks(l, until, error);
    if (status == LB_OK)
        status = answer(l, "reading own pending events", until, &read, error);
    if (status == LB_OK)
        status = answer(l, "asking for deliveries", until, &pending, error);
    if (status != LB_OK)
        return status;
    const reply *first = reply_first(reply_first(read)); /* [[key, entries]] */
    const reply *entries = first ? first->next : NULL;
    status = take_entries(l, s, entries, true, &lost, error);
    if (status != LB_OK)
        return status;
    note_deliveries(l, from, pending, 0);
    log_lost(l, s, lost);
    for (const reply *entry = reply_first(entries); entry; entry = entry->next)
        s->own_after = id_of(entry);
    if (count_of(entries) < max)
        s->own_pending = false;
    return LB_OK;
}

/* ---- Others' ---------------------------------------------------------------------------------------- */

/* Claims `ids` and takes what the server gives. */
static lb_status claim(listener *l, stream *s, const entry_id *ids, size_t count, const reply **claimed,
                       lb_error *error)
{
    buffer *b = &l->w.conn.out;
    char text[ENTRY_ID_TEXT];
    int64_t until = clock_in_ms(ANSWER_MS);
    command_begin(b, 5 + count);
    command_str(b, "XCLAIM");
    command_str(b, s->key);
    command_str(b, l->group);
    command_str(b, l->consumer);
    command_int(b, l->w.conn.options->acknowledgement_timeout_ms);
    for (size_t i = 0; i < count; i++)
        command_arg(b, text, entry_id_text(text, ids[i]));
    lb_status status = conn_send(&l->w.conn, until, NULL, error);
    return status == LB_OK ? answer(l, "taking over events", until, claimed, error) : status;
}

static bool among(const reply *entries, entry_id id)
{
    for (const reply *entry = reply_first(entries); entry; entry = entry->next)
        if (entry_id_compare(id_of(entry), id) == 0)
            return true;
    return false;
}

/* What was asked for and not given (or, before Redis 7, given as nil) was taken by another consumer, or has
 * vanished from the stream: those are done. */
static lb_status find_vanished(listener *l, stream *s, const entry_id *ids, size_t count, const reply *claimed,
                               lb_error *error)
{
    conn *c = &l->w.conn;
    size_t vanished = 0;
    char text[ENTRY_ID_TEXT];
    int64_t until = clock_in_ms(ANSWER_MS);
    const reply *r;
    for (size_t i = 0; i < count; i++) {
        if (among(claimed, ids[i]))
            continue;
        entry_id_text(text, ids[i]);
        command_of(&c->out, "XRANGE", s->key, text, text, "COUNT", "1", NULL);
    }
    lb_status status = c->out.size ? conn_send(c, until, NULL, error) : LB_OK;
    for (size_t i = 0; i < count && status == LB_OK; i++) {
        if (among(claimed, ids[i]))
            continue;
        status = answer(l, "looking for an event", until, &r, error);
        if (status == LB_OK && !reply_first(r)) {
            vanished++;
            if (!stream_done(s, ids[i]))
                status = lb_error_set(error, LB_NO_MEMORY, "out of memory");
        }
    }
    log_lost(l, s, vanished);
    return status;
}

/* The candidates in a page of XPENDING: at most `max` ids that are not in hand. */
static size_t candidates(listener *l, stream *s, const reply *pending, entry_id *ids, size_t max)
{
    size_t count = 0;
    for (const reply *entry = reply_first(pending); entry && count < max; entry = entry->next) {
        entry_id id = id_of(entry);
        s->reclaim_after = id;
        if (!in_hand(l, s, id))
            ids[count++] = id;
    }
    return count;
}

lb_status reclaim_page(listener *l, stream *s, size_t max, lb_error *error)
{
    buffer *b = &l->w.conn.out;
    const redis_options *o = l->w.conn.options;
    int64_t until = clock_in_ms(ANSWER_MS);
    const reply *pending = NULL, *claimed = NULL;
    size_t from = l->event_count, lost = 0;
    command_begin(b, 8);
    command_str(b, "XPENDING");
    command_str(b, s->key);
    command_str(b, l->group);
    command_str(b, "IDLE");
    command_int(b, o->acknowledgement_timeout_ms);
    command_after(b, s->reclaim_after);
    command_str(b, "+");
    command_int(b, o->reclaim_batch_size);
    lb_status status = send_with_acks(l, until, error);
    if (status == LB_OK)
        status = answer(l, "looking for events that lie too long", until, &pending, error);
    if (status != LB_OK)
        return status;

    size_t listed = count_of(pending), count = 0;
    entry_id *ids = arena_alloc(&l->arena, (max + 1) * sizeof *ids);
    if (!ids)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    count = candidates(l, s, pending, ids, max);
    if (count < max && (int64_t)listed < o->reclaim_batch_size) { /* that was all */
        s->reclaim = false;
        s->reclaim_after = (entry_id){0, 0};
        status = find_trimmed(l, s, error);
    }
    if (!count || status != LB_OK)
        return status;
    status = claim(l, s, ids, count, &claimed, error);
    if (status == LB_OK)
        status = take_entries(l, s, claimed, true, &lost, error);
    if (status == LB_OK) {
        note_deliveries(l, from, pending, 1);
        status = find_vanished(l, s, ids, count, claimed, error);
    }
    return status;
}
