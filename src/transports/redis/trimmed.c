/* Entries that were trimmed or deleted before the group read them (S16). Nothing on the server tells a reader
 * of it, so it is worked out from the counters of Redis 7: when old entries are looked for, and before a stream
 * is read on that may have been trimmed since it was last read to its end. Servers before that have no
 * counters.
 *
 * What was found is added to the group's field of the hash {stream}:lost and, in the same script, the group is
 * told what it has passed over: so each entry is counted once, by whichever process sees it first. */
#include <lightbus/log.h>

#include "listener.h"

static const int64_t fill_us = 10; /* no sender fills a stream faster, per event */
enum { SURE_LEAST_MS = 10, SURE_MOST_MS = 1000 };

/* KEYS: stream, lost. ARGV: group, last delivered, entries read, what that should be, how many are lost.
 * Answers how many are lost in all; 0: the group has moved on, or another process was first. */
static const char note_script[] =
    "for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do "
    " local f = {} "
    " for i = 1, #g, 2 do f[g[i]] = g[i + 1] end "
    " if f['name'] == ARGV[1] and f['last-delivered-id'] == ARGV[2] and f['entries-read'] == tonumber(ARGV[3]) "
    " then "
    "  local all = redis.call('HINCRBY', KEYS[2], ARGV[1], ARGV[5]) "
    "  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2], 'ENTRIESREAD', ARGV[4]) "
    "  return all "
    " end "
    "end "
    "return 0";

static const reply *own_group(const listener *l, const reply *groups)
{
    for (const reply *group = reply_first(groups); group; group = group->next) {
        const reply *name = reply_field(group, "name");
        if (name && slice_is(reply_text(name), l->group))
            return group;
    }
    return NULL;
}

/* Where the group stands: has it read nothing of what is there, or all of it? *next: it is given this one next.
 */
static bool reads_at_an_end(const reply *about, const reply *group, entry_id *at, bool *at_start)
{
    const reply *first = reply_first(reply_field(about, "first-entry"));
    entry_id oldest, newest;
    if (!entry_id_parse(reply_text(reply_field(group, "last-delivered-id")), at))
        return false;
    *at_start = !first || (entry_id_parse(reply_text(first), &oldest) && entry_id_compare(oldest, *at) > 0);
    return *at_start || (entry_id_parse(reply_text(reply_field(about, "last-generated-id")), &newest) &&
                         entry_id_compare(*at, newest) >= 0);
}

bool server_counts(const reply *about) { return reply_field(about, "entries-added") != NULL; }

int64_t stream_trimmed(const reply *about, const reply *group)
{
    const reply *read = reply_field(group, "entries-read");
    int64_t passed = reply_integer(reply_field(about, "entries-added"));
    entry_id at;
    bool at_start;
    if (!server_counts(about) || !read || read->type != REDIS_REPLY_INTEGER ||
        !reads_at_an_end(about, group, &at, &at_start))
        return 0;
    if (at_start)
        passed -= reply_integer(reply_field(about, "length"));
    return passed > reply_integer(read) ? passed - reply_integer(read) : 0;
}

static void log_trimmed(const listener *l, const stream *s, int64_t gone, int64_t all)
{
    lb_log(LB_LOG_WARNING,
           "%s: %lld events of %s were trimmed or deleted before %s had read them: lost (%lld in all); see "
           "max_stream_length",
           l->w.conn.options->place, (long long)gone, s->key, l->group, (long long)all);
}

static lb_status note_trimmed(listener *l, const stream *s, const reply *group, int64_t gone, lb_error *error)
{
    conn *c = &l->w.conn;
    const reply *r;
    int64_t read = reply_integer(reply_field(group, "entries-read")), until = clock_in_ms(ANSWER_MS);
    command_begin(&c->out, 10);
    command_str(&c->out, "EVAL");
    command_str(&c->out, note_script);
    command_str(&c->out, "2");
    command_str(&c->out, s->key);
    command_prefixed(&c->out, s->key, slice_of(LOST_SUFFIX));
    command_str(&c->out, l->group);
    command_slice(&c->out, reply_text(reply_field(group, "last-delivered-id")));
    command_int(&c->out, read);
    command_int(&c->out, read + gone);
    command_int(&c->out, gone);
    lb_status status = conn_send(c, until, NULL, error);
    if (status == LB_OK)
        status = conn_answer(c, until, &r, error);
    if (status != LB_OK)
        return status;
    if (reply_is_error(r)) { /* it is told all the same, and again at the next look */
        lb_error why = {0};
        conn_reply_error(c, r, "counting lost events", &why);
        lb_log(LB_LOG_WARNING, "%s", why.message);
    }
    if (reply_is_error(r) || reply_integer(r))
        log_trimmed(l, s, gone, reply_is_error(r) ? gone : reply_integer(r));
    return LB_OK;
}

/* A server without counters: that there is a gap can be seen, and not how large it is. */
static void tell_gap(const listener *l, stream *s, const reply *about, const reply *group)
{
    entry_id at;
    bool at_start;
    if (!reply_first(reply_field(about, "first-entry")) || !reads_at_an_end(about, group, &at, &at_start) ||
        !at_start || !(at.ms || at.seq) || entry_id_compare(at, s->gap_told) == 0)
        return;
    s->gap_told = at;
    lb_log(
        LB_LOG_WARNING,
        "%s: events of %s may have been trimmed before %s had read them: lost; servers before Redis 7 cannot "
        "tell how many; see max_stream_length",
        l->w.conn.options->place, s->key, l->group);
}

lb_status find_trimmed(listener *l, stream *s, lb_error *error)
{
    conn *c = &l->w.conn;
    const reply *about = NULL, *groups = NULL;
    int64_t until = clock_in_ms(ANSWER_MS);
    command_of(&c->out, "XINFO", "STREAM", s->key, NULL);
    command_of(&c->out, "XINFO", "GROUPS", s->key, NULL);
    lb_status status = conn_send(c, until, NULL, error);
    if (status == LB_OK)
        status = conn_answer(c, until, &about, error);
    if (status == LB_OK)
        status = conn_answer(c, until, &groups, error);
    if (status != LB_OK)
        return status;
    s->sure_ns = clock_now();
    const reply *group = own_group(l, groups);
    if (!group || reply_is_error(about))
        return LB_OK;
    int64_t gone = stream_trimmed(about, group);
    if (!server_counts(about))
        tell_gap(l, s, about, group);
    return gone ? note_trimmed(l, s, group, gone, error) : LB_OK;
}

stream *next_unsure(listener *l)
{
    int64_t most = l->w.conn.options->max_stream_length, ms = SURE_MOST_MS, now = clock_now();
    if (most && most < SURE_MOST_MS * 1000 / fill_us)
        ms = most * fill_us / 1000 > SURE_LEAST_MS ? most * fill_us / 1000 : SURE_LEAST_MS;
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++)
        if (now - s->sure_ns > ms * CLOCK_MS)
            return s;
    return NULL;
}
