/* Consumer groups of a listener's streams: making them, and making them again after a flush or a failover
 * (S18). */
#include <lightbus/log.h>
#include <stdio.h>

#include "../../base/date.h"
#include "listener.h"

/* KEYS: stream, lost. ARGV: group, consumer, milliseconds. The group goes, with what is counted of it, unless
 * another consumer was there within that time: then what is pending has to stay (S17), and our consumer goes if
 * it has nothing. */
static const char forget_script[] = "local others, pending = false, 0 "
                                    "local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1]) "
                                    "if consumers['err'] then return 0 end "
                                    "for _, c in ipairs(consumers) do "
                                    " local f = {} "
                                    " for i = 1, #c, 2 do f[c[i]] = c[i + 1] end "
                                    " if f['name'] == ARGV[2] then pending = f['pending'] "
                                    " elseif f['idle'] < tonumber(ARGV[3]) then others = true end "
                                    "end "
                                    "if not others then "
                                    " redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1]) "
                                    " redis.call('HDEL', KEYS[2], ARGV[1]) "
                                    "elseif pending == 0 then "
                                    " redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) "
                                    "end "
                                    "return 1";

bool since_id(const char *since, char out[ENTRY_ID_TEXT])
{
    entry_id id = {0, 0};
    if (strcmp(since, "$") == 0) {
        strcpy(out, "$");
        return true;
    }
    if (!entry_id_parse((lb_slice){since, strlen(since)}, &id)) {
        int64_t ms;
        if (!iso8601_ms(since, &ms))
            return false;
        id = (entry_id){(uint64_t)ms, 0};
    }
    entry_id_text(out, id);
    return true;
}

/* The id before: a group that begins there is given the entry of this id. */
static entry_id entry_id_before(entry_id id)
{
    if (id.seq)
        id.seq--;
    else if (id.ms)
        id = (entry_id){id.ms - 1, UINT64_MAX};
    return id;
}

/* A group that was seen before starts where this process last knew it, a new one at `since`. The last entry
 * known is asked for again: a stream that was deleted and written in the same millisecond has a new one of its
 * id. */
static void write_creation(listener *l, const stream *s, buffer *b)
{
    char start[ENTRY_ID_TEXT];
    if (s->group_seen)
        entry_id_text(start, entry_id_before(s->last));
    else
        snprintf(start, sizeof start, "%s", l->since);
    command_of(b, "XGROUP", "CREATE", s->key, l->group, start, "MKSTREAM", NULL);
    command_of(b, "XGROUP", "CREATECONSUMER", s->key, l->group, l->consumer, NULL);
    command_of(b, "XINFO", "GROUPS", s->key, NULL);
}

/* The last id delivered to our group, from an XINFO GROUPS: a list of lists of names and values. False: there
 * is no such group. */
static bool learn_position(const listener *l, stream *s, const reply *info)
{
    bool found = false;
    for (const reply *group = reply_first(info); group; group = group->next) {
        bool ours = false;
        entry_id last = {0, 0};
        for (const reply *f = reply_first(group); f && f->next; f = f->next->next) {
            if (slice_is(reply_text(f), "name"))
                ours = slice_is(reply_text(f->next), l->group);
            else if (slice_is(reply_text(f), "last-delivered-id") &&
                     !entry_id_parse(reply_text(f->next), &last))
                ours = false;
        }
        found |= ours;
        if (ours && entry_id_compare(last, s->last) > 0)
            s->last = last;
    }
    return found;
}

/* The three answers about a stream. Where the group is there, it is no failure that there is no memory to make
 * one: events are read and acknowledged all the same. */
static lb_status read_creation(listener *l, stream *s, lb_status *failed, int64_t deadline_ns, lb_error *error)
{
    conn *c = &l->w.conn;
    lb_error why = {0};
    const reply *r;
    for (int i = 0; i < 3; i++) {
        lb_status status = conn_answer(c, deadline_ns, &r, error);
        if (status != LB_OK)
            return status;
        if (i == 0 && !reply_is_error(r) && s->group_seen) {
            lb_log(LB_LOG_WARNING, "%s: the group %s of %s had vanished and was made again", c->options->place,
                   l->group, s->key);
            s->made_again = true;
        }
        if (i < 2 && reply_is_error(r) && !reply_is_error_of(r, "BUSYGROUP") && why.status == LB_OK)
            conn_reply_error(c, r, i ? "making a consumer" : "making a consumer group", &why);
        if (i == 2 && learn_position(l, s, r) && why.status == LB_BUSY)
            why.status = LB_OK;
    }
    s->group_seen |= why.status == LB_OK;
    if (why.status != LB_OK && *failed == LB_OK) {
        *failed = why.status;
        if (error)
            *error = why;
    }
    return LB_OK;
}

/* What this consumer has in hand is pending in the group that was made again. */
static lb_status claim_in_hand(listener *l, stream *s, int64_t deadline_ns, lb_error *error)
{
    conn *c = &l->w.conn;
    char text[ENTRY_ID_TEXT];
    pthread_mutex_lock(&l->lock);
    size_t count = s->in_hand.count;
    if (count) {
        command_begin(&c->out, 7 + count);
        command_str(&c->out, "XCLAIM");
        command_str(&c->out, s->key);
        command_str(&c->out, l->group);
        command_str(&c->out, l->consumer);
        command_str(&c->out, "0");
        for (size_t i = 0; i < s->in_hand.capacity; i++)
            if (s->in_hand.slots[i].ms || s->in_hand.slots[i].seq)
                command_arg(&c->out, text, entry_id_text(text, s->in_hand.slots[i]));
        command_str(&c->out, "FORCE");
        command_str(&c->out, "JUSTID");
    }
    pthread_mutex_unlock(&l->lock);
    lb_status status = count ? conn_exchange(c, 1, "keeping events in hand", deadline_ns, NULL, error) : LB_OK;
    s->made_again = status != LB_OK;
    return status;
}

lb_status groups_create(listener *l, int64_t deadline_ns, lb_error *error)
{
    conn *c = &l->w.conn;
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++)
        write_creation(l, s, &c->out);
    lb_status status = conn_send(c, deadline_ns, NULL, error), failed = LB_OK;
    for (stream *s = l->streams; s < l->streams + l->stream_count && status == LB_OK; s++)
        status = read_creation(l, s, &failed, deadline_ns, error);
    for (stream *s = l->streams; s < l->streams + l->stream_count && status == LB_OK && failed == LB_OK; s++)
        if (s->made_again)
            status = claim_in_hand(l, s, deadline_ns, error);
    if (status == LB_OK && failed == LB_OK)
        l->serial = c->serial;
    return status == LB_OK ? failed : status;
}

lb_status groups_recreate(listener *l, int64_t deadline_ns, lb_error *error)
{
    conn *c = &l->w.conn;
    const reply *r;
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++)
        command_of(&c->out, "XREVRANGE", s->key, "+", "-", "COUNT", "1", NULL);
    lb_status status = conn_send(c, deadline_ns, NULL, error);
    for (stream *s = l->streams; s < l->streams + l->stream_count && status == LB_OK; s++) {
        entry_id newest = {0, 0};
        status = conn_answer(c, deadline_ns, &r, error);
        if (status != LB_OK || reply_is_error(r))
            continue;
        const reply *entry = reply_first(r);
        if (entry && !entry_id_parse(reply_text(reply_first(entry)), &newest))
            continue;
        if (entry_id_compare(newest, s->last) < 0) /* another stream under the old name: all of it is new */
            s->last = (entry_id){0, 0};
    }
    return status == LB_OK ? groups_create(l, deadline_ns, error) : status;
}

void groups_forget(const listener *l)
{
    lb_error error = {0};
    int64_t deadline = clock_in_ms(CLOSE_MS);
    conn *c = control_lock(l->w.owner, deadline, &error);
    lb_status status = LB_TRANSPORT;
    if (c) {
        for (const stream *s = l->streams; s < l->streams + l->stream_count; s++) {
            command_begin(&c->out, 8);
            command_str(&c->out, "EVAL");
            command_str(&c->out, forget_script);
            command_str(&c->out, "2");
            command_str(&c->out, s->key);
            command_prefixed(&c->out, s->key, slice_of(LOST_SUFFIX));
            command_str(&c->out, l->group);
            command_str(&c->out, l->consumer);
            /* a living one reads, or renews what it has in hand, more often than that */
            command_int(&c->out,
                        l->w.owner->options.acknowledgement_timeout_ms + BLOCK_MOST_MS + BLOCK_MARGIN_MS);
        }
        status = conn_exchange(c, l->stream_count, "removing a consumer group", deadline, NULL, &error);
        control_unlock(l->w.owner);
    }
    if (status != LB_OK)
        lb_log(LB_LOG_WARNING, "the group %s is still there: %s", l->group, error.message);
}
