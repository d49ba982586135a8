/* Entries that were delivered before: this consumer's own of an earlier life or connection (S11), and those
 * that others have let lie past the acknowledgement timeout. Both come in pages; what is in hand is passed
 * over; what has vanished from its stream meanwhile is acknowledged, counted and logged (S16), by a script, so
 * that it is counted once. */
#include <lightbus/log.h>

#include "listener.h"

enum { CLAIM_MOST = 1000 }; /* ids that Lua hands over at once */

/* KEYS: stream, lost. ARGV: group, consumer, milliseconds that they must have lain, ids... Answers: how many of
 * them were pending and are gone from the stream; how many the group has lost in all; those taken over. Since
 * Redis 7 XCLAIM forgets what is gone, without a word. Where there is no memory to count them, they stay. */
static const char claim_script[] =
    "local gone, all, away, there, taken = 0, 0, {}, {}, {} "
    "for i = 4, #ARGV do "
    " local list = #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) > 0 and there or away "
    " list[#list + 1] = ARGV[i] "
    "end "
    "if #away > 0 and type(redis.pcall('HINCRBY', KEYS[2], ARGV[1], 0)) == 'number' then "
    " gone = redis.call('XACK', KEYS[1], ARGV[1], unpack(away)) "
    " all = redis.call('HINCRBY', KEYS[2], ARGV[1], gone) "
    "end "
    "if #there > 0 then taken = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], unpack(there)) end "
    "return {gone, all, taken}";

static void command_after(buffer *b, entry_id id) /* an exclusive start, or the beginning */
{
    char text[ENTRY_ID_TEXT + 1] = "(";
    entry_id_text(text + 1, id);
    command_str(b, id.ms || id.seq ? text : "-");
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

/* Takes over `ids`, but for those that are gone. */
static lb_status claim(listener *l, const stream *s, const entry_id *ids, size_t count, const reply **claimed,
                       lb_error *error)
{
    conn *c = &l->w.conn;
    const reply *r = NULL;
    char text[ENTRY_ID_TEXT];
    int64_t until = clock_in_ms(ANSWER_MS);
    command_begin(&c->out, 8 + count);
    command_str(&c->out, "EVAL");
    command_str(&c->out, claim_script);
    command_str(&c->out, "2");
    command_str(&c->out, s->key);
    command_prefixed(&c->out, s->key, slice_of(LOST_SUFFIX));
    command_str(&c->out, l->group);
    command_str(&c->out, l->consumer);
    command_int(&c->out, c->options->acknowledgement_timeout_ms);
    for (size_t i = 0; i < count; i++)
        command_arg(&c->out, text, entry_id_text(text, ids[i]));
    lb_status status = conn_send(c, until, NULL, error);
    if (status == LB_OK)
        status = answer(l, "taking over events", until, &r, error);
    if (status != LB_OK)
        return status;
    const reply *gone = reply_first(r), *all = gone ? gone->next : NULL;
    *claimed = all ? all->next : NULL;
    if (reply_integer(gone))
        lb_log(LB_LOG_WARNING,
               "%s: %lld events of %s were trimmed or deleted while %s had them pending: lost (%lld in all)",
               c->options->place, (long long)reply_integer(gone), s->key, l->group,
               (long long)reply_integer(all));
    return LB_OK;
}

/* ---- Own -------------------------------------------------------------------------------------------- */

/* Counts what is there by its id alone, unless it is in hand: then its handler may be at it. */
static lb_status count_gone(listener *l, const stream *s, const reply *entries, lb_error *error)
{
    size_t count = 0;
    const reply *none;
    entry_id *ids = arena_alloc(&l->arena, CLAIM_MOST * sizeof *ids);
    if (!ids)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    for (const reply *entry = reply_first(entries); entry && count < CLAIM_MOST; entry = entry->next) {
        const reply *id = reply_first(entry), *body = id ? id->next : NULL;
        if (body && body->type != REDIS_REPLY_ARRAY && !in_hand(l, s, id_of(entry)))
            ids[count++] = id_of(entry);
    }
    return count ? claim(l, s, ids, count, &none, error) : LB_OK;
}

lb_status read_own_page(listener *l, stream *s, size_t max, lb_error *error)
{
    buffer *b = &l->w.conn.out;
    int64_t until = clock_in_ms(ANSWER_MS);
    const reply *read = NULL, *pending = NULL;
    char after[ENTRY_ID_TEXT];
    size_t from = l->event_count;
    if (max > CLAIM_MOST)
        max = CLAIM_MOST;
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
    status = take_entries(l, s, entries, true, error);
    if (status != LB_OK)
        return status;
    note_deliveries(l, from, pending, 0);
    for (const reply *entry = reply_first(entries); entry; entry = entry->next)
        s->own_after = id_of(entry);
    if (reply_count(entries) < max)
        s->own_pending = false;
    return count_gone(l, s, entries, error);
}

/* ---- Others' ---------------------------------------------------------------------------------------- */

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
    size_t from = l->event_count;
    if (max > CLAIM_MOST)
        max = CLAIM_MOST;
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

    size_t listed = reply_count(pending), count = 0;
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
        status = take_entries(l, s, claimed, true, error);
    if (status == LB_OK)
        note_deliveries(l, from, pending, 1);
    return status;
}
