/* Leases of events in hand: renewing them (S12), giving them back (S21), burying them (S13). On the control
 * connection, by any thread, with one script per stream: each checks that this consumer still owns the entry
 * before it touches it. */
#include "listener.h"

#include <lightbus/log.h>
#include <stdlib.h>

/* KEYS: stream. ARGV: group, consumer, idle ms, ids... Answers for each id 1 if it was ours, else 0. Where this
 * consumer is not in the group, the group was made again since: what nobody has there is ours still (S18). What
 * is gone from the stream stays as it is, for reclaim.c to count: since Redis 7 XCLAIM forgets it. */
static const char touch_script[] =
    "local ours = {} "
    "local anew "
    "local function is_anew() "
    " for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do "
    "  if c[2] == ARGV[2] then return false end "
    " end "
    " return true "
    "end "
    "for i = 4, #ARGV do "
    " local id = ARGV[i] "
    " local p = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2]) "
    " if #p > 0 then "
    "  if #redis.call('XRANGE', KEYS[1], id, id) > 0 then "
    "   redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'IDLE', ARGV[3], 'JUSTID') "
    "  end "
    "  ours[i - 3] = 1 "
    " else "
    "  if anew == nil then anew = is_anew() end "
    "  ours[i - 3] = 0 "
    "  if anew and #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1) == 0 then "
    "   ours[i - 3] = #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'IDLE', ARGV[3], 'FORCE', "
    "'JUSTID') "
    "  end "
    " end "
    "end "
    "return ours";

/* KEYS: stream, dead letters, and perhaps the one that tells that it was the first of its copies. ARGV: group,
 * consumer, id, reason, deliveries; then 1 and the fields that stand for those of an entry that is gone from
 * the stream, or 0: they are not at hand. Answers 1 if it was ours, 0 if not, 2 when nothing was done for want
 * of fields. More of them than Lua can hand over at once are kept as JSON. */
static const char bury_script[] =
    "local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) "
    "if #p == 0 then return 0 end "
    "local e = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3]) "
    "local f = e[1] and e[1][2] "
    "if not f then "
    " if ARGV[6] == '0' then return 2 end "
    " f = {} for i = 7, #ARGV do f[#f + 1] = ARGV[i] end "
    "end "
    "if #f > 4000 then f = {'dead_fields', cjson.encode(f)} end "
    "local extra = {'dead_id', ARGV[3], 'dead_reason', ARGV[4], 'dead_group', ARGV[1], 'dead_consumer', "
    "ARGV[2], "
    " 'dead_deliveries', ARGV[5]} "
    "for i = 1, #extra do f[#f + 1] = extra[i] end "
    "redis.call('XADD', KEYS[2], '*', unpack(f)) "
    "redis.call('XACK', KEYS[1], ARGV[1], ARGV[3]) "
    "if KEYS[3] and redis.pcall('GET', KEYS[3]) == ARGV[3] then redis.pcall('DEL', KEYS[3]) end "
    "return 1";

static bool find_entry(const listener *l, const lb_event_message *event, entry_id *id)
{
    return event->source >= 0 && (size_t)event->source < l->stream_count &&
           entry_id_parse(event->native_id, id);
}

/* Runs the script on the events of one stream. ours[i] of those is set. */
static lb_status touch_stream(listener *l, conn *c, const stream *s, const lb_event_message *const *events,
                              size_t count, int64_t idle_ms, bool *ours, lb_error *error)
{
    const reply *r = NULL;
    size_t ids = 0;
    int source = (int)(s - l->streams);
    for (size_t i = 0; i < count; i++)
        ids += events[i]->source == source;
    if (!ids)
        return LB_OK;
    command_begin(&c->out, 7 + ids);
    command_str(&c->out, "EVAL");
    command_str(&c->out, touch_script);
    command_str(&c->out, "1");
    command_str(&c->out, s->key);
    command_str(&c->out, l->group);
    command_str(&c->out, l->consumer);
    command_int(&c->out, idle_ms);
    for (size_t i = 0; i < count; i++)
        if (events[i]->source == source)
            command_slice(&c->out, events[i]->native_id);
    lb_status status = conn_exchange(c, 1, "renewing leases", clock_in_ms(ANSWER_MS), &r, error);
    if (status != LB_OK && r && memmem(reply_text(r).data, reply_text(r).size, "NOGROUP", 7)) {
        for (size_t i = 0; i < count; i++) /* the group is gone: nobody else has it */
            ours[i] |= events[i]->source == source;
        return LB_OK;
    }
    const reply *row = status == LB_OK ? reply_first(r) : NULL;
    for (size_t i = 0; i < count && row; i++) {
        if (events[i]->source != source)
            continue;
        ours[i] = reply_integer(row) == 1;
        row = row->next;
    }
    return status;
}

static lb_status touch(listener *l, const lb_event_message *const *events, size_t count, int64_t idle_ms,
                       bool *ours, lb_error *error)
{
    entry_id id;
    for (size_t i = 0; i < count; i++) {
        ours[i] = false;
        if (!find_entry(l, events[i], &id))
            return lb_error_set(error, LB_USAGE, "an event that is not of this listener");
    }
    conn *c = control_lock(l->w.owner, clock_in_ms(ANSWER_MS), error);
    if (!c)
        return error ? error->status : LB_TRANSPORT;
    lb_status status = LB_OK;
    for (stream *s = l->streams; s < l->streams + l->stream_count && status == LB_OK; s++)
        status = touch_stream(l, c, s, events, count, idle_ms, ours, error);
    control_unlock(l->w.owner);
    return status;
}

lb_status lease_renew(void *self, const lb_event_message *const *events, size_t count, bool *lost,
                      lb_error *error)
{
    listener *l = self;
    entry_id id;
    lb_status status = touch(l, events, count, 0, lost, error);
    for (size_t i = 0; i < count; i++) {
        lost[i] = status == LB_OK && !lost[i];
        if (lost[i] && find_entry(l, events[i], &id)) /* it may come back from whoever took it over */
            drop_from_hand(l, &l->streams[events[i]->source], id);
    }
    return status;
}

lb_status lease_give_back(void *self, const lb_event_message *const *events, size_t count, lb_error *error)
{
    listener *l = self;
    bool *ours = calloc(count + 1, sizeof *ours);
    if (!ours)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    lb_status status = touch(l, events, count, given_back_idle_ms(l->w.conn.options), ours, error);
    for (size_t i = 0; i < count && status == LB_OK; i++) {
        entry_id id;
        if (find_entry(l, events[i], &id))
            drop_from_hand(l, &l->streams[events[i]->source], id);
    }
    free(ours);
    return status;
}

/* The fields of an event, as it was understood; of one that was not, there are none. */
static size_t fields_of(const lb_event_message *event)
{
    return event->problem ? 0 : 8 + 2 * event->kwargs_count;
}

static void write_fields(buffer *b, const lb_event_message *event)
{
    buffer json = {0};
    if (event->problem)
        return;
    command_str(b, "id");
    command_slice(b, event->id);
    command_str(b, "api_name");
    command_slice(b, event->api_name);
    command_str(b, "event_name");
    command_slice(b, event->event_name);
    command_str(b, "version");
    command_int(b, event->version);
    for (size_t i = 0; i < event->kwargs_count; i++) {
        json.size = 0;
        json_write(&json, event->kwargs[i].value);
        command_prefixed(b, ":", event->kwargs[i].name);
        command_arg(b, json.data, json.size);
    }
    b->failed |= json.failed;
    buffer_free(&json);
}

/* One try. `whole`: with the fields, which the entry in the stream makes unnecessary. */
static lb_status bury(const listener *l, conn *c, const stream *s, const lb_event_message *event,
                      const char *reason, bool whole, const reply **r, lb_error *error)
{
    buffer seen_key = {0};
    bool seen = copies_key(l, event, &seen_key);
    conn_release(c);
    command_begin(&c->out, 11 + seen + (whole ? fields_of(event) : 0));
    command_str(&c->out, "EVAL");
    command_str(&c->out, bury_script);
    command_str(&c->out, seen ? "3" : "2");
    command_str(&c->out, s->key);
    command_prefixed(&c->out, s->key, (lb_slice){":dead", 5});
    if (seen)
        command_arg(&c->out, seen_key.data, seen_key.size);
    command_str(&c->out, l->group);
    command_str(&c->out, l->consumer);
    command_slice(&c->out, event->native_id);
    command_str(&c->out, reason ? reason : "");
    command_int(&c->out, event->deliveries);
    command_str(&c->out, whole ? "1" : "0");
    if (whole)
        write_fields(&c->out, event);
    c->out.failed |= seen_key.failed;
    buffer_free(&seen_key);
    return conn_exchange(c, 1, "moving an event to the dead letters", clock_in_ms(ANSWER_MS), r, error);
}

lb_status lease_dead_letter(void *self, const lb_event_message *event, const char *reason, lb_error *error)
{
    listener *l = self;
    entry_id id;
    const reply *r = NULL;
    if (!find_entry(l, event, &id))
        return lb_error_set(error, LB_USAGE, "an event that is not of this listener");
    stream *s = &l->streams[event->source];
    conn *c = control_lock(l->w.owner, clock_in_ms(ANSWER_MS), error);
    if (!c)
        return error ? error->status : LB_TRANSPORT;
    lb_status status = bury(l, c, s, event, reason, false, &r, error);
    if (status == LB_OK && reply_integer(r) == 2)
        status = bury(l, c, s, event, reason, true, &r, error);
    if (status == LB_OK && reply_integer(r) == 0)
        lb_log(LB_LOG_WARNING,
               "%s: event %.*s of %s belongs to another consumer now: not moved to the dead letters", l->group,
               (int)event->native_id.size, event->native_id.data, s->key);
    control_unlock(l->w.owner);
    if (status == LB_OK)
        drop_from_hand(l, s, id);
    return status;
}
