/* Entries that were trimmed or deleted before the group read them: nothing on the server tells a reader of it,
 * so it is worked out from the counters of Redis 7 whenever old entries are looked for (S16). Servers before
 * that have no counters. */
#include <lightbus/log.h>

#include "listener.h"

static const reply *own_group(const listener *l, const reply *groups)
{
    for (const reply *group = reply_first(groups); group; group = group->next) {
        const reply *name = reply_field(group, "name");
        if (name && slice_is(reply_text(name), l->group))
            return group;
    }
    return NULL;
}

int64_t stream_trimmed(const reply *about, const reply *group)
{
    const reply *added = reply_field(about, "entries-added"), *length = reply_field(about, "length");
    const reply *first = reply_field(about, "first-entry"), *read = reply_field(group, "entries-read");
    entry_id oldest, last;
    if (!added || !length || !read || read->type != REDIS_REPLY_INTEGER ||
        !entry_id_parse(reply_text(reply_field(group, "last-delivered-id")), &last))
        return 0;
    if (reply_first(first) &&
        (!entry_id_parse(reply_text(reply_first(first)), &oldest) || entry_id_compare(oldest, last) <= 0))
        return 0;
    return reply_integer(added) - reply_integer(read) - reply_integer(length);
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
    const reply *group = status == LB_OK ? own_group(l, groups) : NULL;
    int64_t gone = group ? stream_trimmed(about, group) : 0;
    int64_t last_read = group ? reply_integer(reply_field(group, "entries-read")) : 0;
    if (last_read != s->trimmed_after)
        s->trimmed_told = 0;
    if (gone > s->trimmed_told) {
        l->lost += (uint64_t)(gone - s->trimmed_told);
        lb_log(LB_LOG_WARNING,
               "%s: %lld events of %s were trimmed or deleted before %s had read them: lost (%llu in all); "
               "see max_stream_length",
               c->options->place, (long long)(gone - s->trimmed_told), s->key, l->group,
               (unsigned long long)l->lost);
        s->trimmed_told = gone;
        s->trimmed_after = last_read;
    }
    return status;
}
