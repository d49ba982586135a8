/* Taking dead letters from where they lie: handing their events to their group again, or forgetting them (S13).
 *
 * The script reads the letter itself, so that what it does is about what is there at that moment. A letter is
 * made by the script of lease.c, or by anybody else: nothing in it is relied on. */
#include "listener.h"

/* KEYS: dead letters, stream. ARGV: the letter's id, idle ms, 1: fire what is gone, the stream's length or 0.
 * The event becomes pending again as one that was given back, unless somebody of the group has it. Writes come
 * last, each after all that could fail. */
static const char replay_script[] =
    "local e = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1] "
    "if not e then return 'gone' end "
    "local about, own, f = {}, {}, e[2] "
    "for i = 1, #f - 1, 2 do "
    " if string.sub(f[i], 1, 5) == 'dead_' then about[f[i]] = f[i + 1] "
    " else own[#own + 1] = f[i] own[#own + 1] = f[i + 1] end "
    "end "
    "local id, group = about.dead_id, about.dead_group "
    "if not id or not group or group == '' then return 'malformed' end "
    "local there = redis.pcall('XRANGE', KEYS[2], id, id, 'COUNT', 1) "
    "if there.err then return 'malformed' end "
    "if there[1] then "
    " if there[1][1] ~= id then return 'malformed' end "
    " local p = redis.pcall('XPENDING', KEYS[2], group, id, id, 1) "
    " if p.err then return 'group' end "
    " if #p == 0 then "
    "  redis.call('XCLAIM', KEYS[2], group, about.dead_consumer or 'lightbus', 0, id, 'IDLE', ARGV[2], "
    "   'RETRYCOUNT', 0, 'FORCE', 'JUSTID') "
    " end "
    "elseif ARGV[3] == '0' then return 'trimmed' "
    "elseif #own == 0 or #own > 4000 or about.dead_fields then return 'unfit' "
    "elseif ARGV[4] == '0' then redis.call('XADD', KEYS[2], '*', unpack(own)) "
    "else redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(own)) end "
    "redis.call('XDEL', KEYS[1], ARGV[1]) "
    "return 'done'";

#define TEXT(slice) (int)((slice).size < 100 ? (slice).size : 100), (slice).data

static lb_status tell_outcome(lb_slice outcome, lb_slice key, const lb_event_message *letter, lb_error *error)
{
    const lb_slice id = letter->dead->id, group = letter->dead->group;
    if (slice_is(outcome, "done"))
        return LB_OK;
    if (slice_is(outcome, "gone"))
        return lb_error_set(error, LB_GONE, "dead letter %.*s of %.*s is not there any more", TEXT(id),
                            TEXT(key));
    if (slice_is(outcome, "trimmed"))
        return lb_error_set(error, LB_GONE, "dead letter %.*s: its event %.*s is gone from the stream",
                            TEXT(id), TEXT(letter->native_id));
    if (slice_is(outcome, "group"))
        return lb_error_set(error, LB_GONE, "dead letter %.*s: nobody listens as %.*s any more", TEXT(id),
                            TEXT(group));
    if (slice_is(outcome, "unfit"))
        return lb_error_set(error, LB_MALFORMED, "dead letter %.*s: the event in it cannot be fired again",
                            TEXT(id));
    return lb_error_set(error, LB_MALFORMED, "dead letter %.*s does not tell of which event and group it is",
                        TEXT(id));
}

lb_status letter_replay(conn *c, lb_slice key, const lb_event_message *letter, bool fire, int64_t deadline_ns,
                        lb_error *error)
{
    const lb_slice stream = {key.data, key.size - strlen(DEAD_SUFFIX) + strlen(STREAM_SUFFIX)};
    const reply *r = NULL;
    command_begin(&c->out, 9);
    command_str(&c->out, "EVAL");
    command_str(&c->out, replay_script);
    command_str(&c->out, "2");
    command_slice(&c->out, key);
    command_slice(&c->out, stream);
    command_slice(&c->out, letter->dead->id);
    command_int(&c->out, given_back_idle_ms(c->options));
    command_str(&c->out, fire && !letter->problem ? "1" : "0");
    command_int(&c->out, c->options->max_stream_length);
    lb_status status = conn_exchange(c, 1, "replaying a dead letter", deadline_ns, &r, error);
    return status == LB_OK ? tell_outcome(reply_text(r), key, letter, error) : status;
}

lb_status letter_purge(conn *c, lb_slice key, const lb_event_message *letter, int64_t deadline_ns,
                       lb_error *error)
{
    command_begin(&c->out, 3);
    command_str(&c->out, "XDEL");
    command_slice(&c->out, key);
    command_slice(&c->out, letter->dead->id);
    return conn_exchange(c, 1, "purging a dead letter", deadline_ns, NULL, error);
}
