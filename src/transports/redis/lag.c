/* How far the consumer groups of an API's streams are behind: from XINFO, which servers since Redis 7 answer
 * with counters. Their `lag` counts trimmed entries too, so it is held against what is there; where it is
 * missing, two cases can still be told, and the rest is not known. */
#include "listener.h"

typedef struct stream_names {
    arena memory;
    struct stream_name {
        lb_slice key, event_name;
        struct stream_name *next;
    } * first;
} stream_names;

static bool is_known(const stream_names *names, lb_slice key)
{
    for (const struct stream_name *s = names->first; s; s = s->next)
        if (slice_equal(s->key, key))
            return true;
    return false;
}

static bool collect(lb_slice key, lb_slice event_name, void *data)
{
    stream_names *names = data;
    if (is_known(names, key))
        return true;
    struct stream_name *one = arena_alloc(&names->memory, sizeof *one);
    if (!one)
        return false;
    one->key = (lb_slice){arena_copy(&names->memory, key.data, key.size), key.size};
    one->event_name = (lb_slice){arena_copy(&names->memory, event_name.data, event_name.size), event_name.size};
    one->next = names->first;
    names->first = one;
    return one->key.data && one->event_name.data;
}

int64_t stream_undelivered(const reply *about, const reply *group)
{
    const reply *lag = reply_field(group, "lag"), *first = reply_first(reply_field(about, "first-entry"));
    int64_t length = reply_integer(reply_field(about, "length"));
    entry_id delivered, newest, oldest;
    if (!length)
        return 0;
    if (entry_id_parse(reply_text(reply_field(group, "last-delivered-id")), &delivered)) {
        if (entry_id_parse(reply_text(reply_field(about, "last-generated-id")), &newest) &&
            entry_id_compare(delivered, newest) >= 0)
            return 0;
        if (entry_id_parse(reply_text(first), &oldest) && entry_id_compare(delivered, oldest) < 0)
            return length;
    }
    if (!lag || lag->type != REDIS_REPLY_INTEGER)
        return -1;
    return reply_integer(lag) < length ? reply_integer(lag) : length;
}

/* What HINCRBY has made; 0 for anything else. */
static int64_t count_in(lb_slice text)
{
    int64_t count = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || count > (INT64_MAX - 9) / 10)
            return 0;
        count = count * 10 + (text.data[i] - '0');
    }
    return count;
}

int64_t stream_lost(const reply *const answers[ABOUT_ALL], const reply *group)
{
    if (!server_counts(answers[ABOUT_STREAM]) || reply_is_error(answers[ABOUT_LOST]))
        return -1;
    int64_t noted = 0, unnoted = stream_trimmed(answers[ABOUT_STREAM], group);
    lb_slice name = reply_text(reply_field(group, "name"));
    for (const reply *field = reply_first(answers[ABOUT_LOST]); field && field->next; field = field->next->next)
        if (slice_equal(reply_text(field), name))
            noted = count_in(reply_text(field->next));
    return noted > INT64_MAX - unnoted ? INT64_MAX : noted + unnoted;
}

lb_status stream_ask(conn *c, lb_slice key, const reply *answers[ABOUT_ALL], int64_t deadline_ns,
                     lb_error *error)
{
    conn_release(c);
    for (int i = 0; i < 2; i++) {
        command_begin(&c->out, 3);
        command_str(&c->out, "XINFO");
        command_str(&c->out, i ? "GROUPS" : "STREAM");
        command_slice(&c->out, key);
    }
    command_begin(&c->out, 2);
    command_str(&c->out, "XLEN");
    command_prefixed(&c->out, key.data, (lb_slice){":dead", 5});
    command_begin(&c->out, 2);
    command_str(&c->out, "HGETALL");
    command_prefixed(&c->out, key.data, slice_of(LOST_SUFFIX));
    lb_status status = conn_send(c, deadline_ns, NULL, error);
    for (int i = 0; i < ABOUT_ALL && status == LB_OK; i++)
        status = conn_answer(c, deadline_ns, &answers[i], error);
    return status;
}

/* KEYS: dead letters. ARGV: how many of the newest. Answers a list of groups, each with its number behind. */
static const char whose_script[] =
    "local count, list = {}, {} "
    "for _, e in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])) do "
    " local f = e[2] "
    " for i = #f - 1, 1, -2 do "
    "  if f[i] == 'dead_group' then count[f[i + 1]] = (count[f[i + 1]] or 0) + 1 break end "
    " end "
    "end "
    "for group, n in pairs(count) do list[#list + 1] = group list[#list + 1] = n end "
    "return list";

/* Whose the dead letters of a stream are. *whose is NULL where there are none. */
static lb_status ask_whose(conn *c, lb_slice key, const reply *count, const reply **whose, int64_t deadline_ns,
                           lb_error *error)
{
    char most[16];
    *whose = NULL;
    if (reply_integer(count) == 0)
        return LB_OK;
    snprintf(most, sizeof most, "%d", LB_DEAD_LETTERS_SEEN);
    command_begin(&c->out, 5);
    command_str(&c->out, "EVAL");
    command_str(&c->out, whose_script);
    command_str(&c->out, "1");
    command_prefixed(&c->out, key.data, (lb_slice){":dead", 5});
    command_str(&c->out, most);
    lb_status status = conn_send(c, deadline_ns, NULL, error);
    return status == LB_OK ? conn_answer(c, deadline_ns, whose, error) : status;
}

static int64_t dead_letters_of(const reply *whose, lb_slice group)
{
    if (whose && reply_is_error(whose))
        return -1;
    for (const reply *name = reply_first(whose); name && name->next; name = name->next->next)
        if (slice_equal(reply_text(name), group))
            return reply_integer(name->next);
    return 0;
}

static lb_status tell(conn *c, lb_slice api_name, const struct stream_name *stream,
                      void (*found)(const lb_group_lag *lag, void *data), void *data, int64_t deadline_ns,
                      lb_error *error)
{
    const reply *answers[ABOUT_ALL] = {NULL};
    lb_status status = stream_ask(c, stream->key, answers, deadline_ns, error);
    if (status != LB_OK)
        return status;
    if (reply_is_error(answers[ABOUT_STREAM]))
        return reply_is_error_of(answers[ABOUT_STREAM], "ERR no such key")
                   ? LB_OK
                   : conn_reply_error(c, answers[ABOUT_STREAM], "asking about a stream", error);
    const reply *fired = reply_field(answers[ABOUT_STREAM], "entries-added"), *whose;
    status = ask_whose(c, stream->key, answers[ABOUT_DEAD], &whose, deadline_ns, error);
    if (status != LB_OK)
        return status;
    lb_group_lag lag = {
        .api_name = api_name,
        .event_name = stream->event_name,
        .consumers = -1,
        .dead_letters = reply_integer(answers[ABOUT_DEAD]),
        .stored = reply_integer(reply_field(answers[ABOUT_STREAM], "length")),
        .fired = fired && fired->type == REDIS_REPLY_INTEGER ? reply_integer(fired) : -1,
    };
    found(&lag, data);
    for (const reply *group = reply_first(answers[ABOUT_GROUPS]); group; group = group->next) {
        lag.group = reply_text(reply_field(group, "name"));
        lag.undelivered = stream_undelivered(answers[ABOUT_STREAM], group);
        lag.pending = reply_integer(reply_field(group, "pending"));
        lag.consumers = reply_integer(reply_field(group, "consumers"));
        lag.dead_letters = dead_letters_of(whose, lag.group);
        lag.lost = stream_lost(answers, group);
        found(&lag, data);
    }
    return LB_OK;
}

static lb_status look(redis *r, conn *c, lb_slice api_name, lb_slice event_name,
                      void (*found)(const lb_group_lag *lag, void *data), void *data, int64_t deadline_ns,
                      lb_error *error)
{
    stream_names names = {0};
    lb_slice shared = r->options.stream_per_event ? event_name : (lb_slice){"*", 1};
    lb_status status = conn_ready(c, deadline_ns, error);
    if (status == LB_OK)
        status = streams_of(r, c, api_name, shared, STREAM_SUFFIX, collect, &names, deadline_ns, error);
    for (const struct stream_name *s = names.first; s && status == LB_OK; s = s->next)
        status = tell(c, api_name, s, found, data, deadline_ns, error);
    conn_release(c);
    arena_free(&names.memory);
    return status;
}

/* Looking for streams may take long, so that nobody waits for the connection that others use: one more is
 * opened then. */
lb_status groups_lag(void *self, lb_slice api_name, lb_slice event_name,
                     void (*found)(const lb_group_lag *lag, void *data), void *data, int64_t deadline_ns,
                     lb_error *error)
{
    redis *r = self;
    lb_status status;
    if (!atomic_flag_test_and_set(&r->looking)) {
        status = look(r, &r->looker, api_name, event_name, found, data, deadline_ns, error);
        atomic_flag_clear(&r->looking);
        return status;
    }
    conn c;
    conn_init(&c, &r->options, &r->features, r->tls, -1);
    status = look(r, &c, api_name, event_name, found, data, deadline_ns, error);
    conn_close(&c);
    return status;
}
