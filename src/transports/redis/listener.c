/* Listening to events: consumer groups over streams. See listener.h for the parts.
 *
 * A fetch gives out, in this order: own entries of an earlier life, entries that others let lie, new ones.
 * Acknowledgements share the write of the next read. Invariants: an id stays in hand until the server has
 * confirmed its acknowledgement; acknowledgements not confirmed are sent again on the next connection, before
 * own pending entries are read there. A read that was sent stays outstanding over returns of fetch until its
 * reply came or its time is over. */
#include "listener.h"

#include <lightbus/log.h>
#include <stdlib.h>

enum { KEEP_ARENA = 512 * 1024, RECREATED_MOST = 3, ACK_REPLY_LEAST = 4 };

/* ---- In hand, done ---------------------------------------------------------------------------------- */

bool in_hand(listener *l, const stream *s, entry_id id)
{
    pthread_mutex_lock(&l->lock);
    bool has = id_set_has(&s->in_hand, id);
    pthread_mutex_unlock(&l->lock);
    return has;
}

void drop_from_hand(listener *l, stream *s, entry_id id)
{
    pthread_mutex_lock(&l->lock);
    id_set_remove(&s->in_hand, id);
    pthread_mutex_unlock(&l->lock);
}

bool stream_done(stream *s, entry_id id)
{
    if (s->done_count == s->done_capacity) {
        size_t capacity = s->done_capacity ? s->done_capacity * 2 : 64;
        entry_id *done = realloc(s->done, capacity * sizeof *done);
        if (!done)
            return false;
        s->done = done;
        s->done_capacity = capacity;
    }
    s->done[s->done_count++] = id;
    return true;
}

static size_t write_acks(listener *l, buffer *b)
{
    size_t commands = 0;
    char text[ENTRY_ID_TEXT];
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++) {
        if (!s->done_count)
            continue;
        command_begin(b, 3 + s->done_count);
        command_str(b, "XACK");
        command_str(b, s->key);
        command_str(b, l->group);
        for (size_t i = 0; i < s->done_count; i++)
            command_arg(b, text, entry_id_text(text, s->done[i]));
        commands++;
    }
    return commands;
}

/* Acknowledgements are on their way: their replies come in the order of the streams. */
static void acks_written(listener *l)
{
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++) {
        s->done_written = s->done_count;
        l->acks_written += s->done_written > 0;
    }
}

/* The server has confirmed the acknowledgements written of the first stream that has any. */
static void ack_confirmed(listener *l, const reply *r)
{
    stream *s = l->streams;
    while (!s->done_written)
        s++;
    if (r && reply_is_error(r)) {
        lb_error why = {0};
        conn_reply_error(&l->w.conn, r, "acknowledging", &why);
        lb_log(LB_LOG_ERROR, "%zu events of %s: %s", s->done_written, s->key, why.message);
        if (why.retryable || why.status == LB_NO_SPACE) { /* with the next write */
            s->done_written = 0;
            l->acks_written--;
            return;
        }
    }
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < s->done_written; i++)
        id_set_remove(&s->in_hand, s->done[i]);
    pthread_mutex_unlock(&l->lock);
    s->done_count -= s->done_written;
    memmove(s->done, s->done + s->done_written, s->done_count * sizeof *s->done);
    s->done_written = 0;
    l->acks_written--;
}

void forget_outstanding(listener *l)
{
    l->reading = false;
    l->acks_written = 0;
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++)
        s->done_written = 0;
}

lb_status send_with_acks(listener *l, int64_t deadline_ns, lb_error *error)
{
    conn *c = &l->w.conn;
    buffer rest = c->out;
    c->out = (buffer){0};
    size_t acks = write_acks(l, &c->out);
    buffer_add(&c->out, rest.data, rest.size);
    c->out.failed |= rest.failed;
    buffer_free(&rest);
    acks_written(l);
    lb_status status = conn_send(c, deadline_ns, NULL, error);
    for (size_t i = 0; i < acks && status == LB_OK; i++) {
        const reply *r;
        status = conn_answer(c, deadline_ns, &r, error);
        if (status == LB_OK)
            ack_confirmed(l, r);
    }
    if (status != LB_OK)
        forget_outstanding(l);
    return status;
}

/* ---- The batch -------------------------------------------------------------------------------------- */

static bool wanted(const stream *s, const lb_event_message *event)
{
    if (event->problem && (!event->api_name.size || !event->event_name.size))
        return true; /* nobody can tell: it is for the dead letters */
    for (size_t i = 0; i < s->wanted; i++)
        if (slice_equal(s->api_names[i], event->api_name) &&
            (slice_is(s->event_names[i], "*") || slice_equal(s->event_names[i], event->event_name)))
            return true;
    return false;
}

static lb_event_message *new_event(listener *l)
{
    if (l->event_count == l->event_capacity) {
        size_t capacity = l->event_capacity ? l->event_capacity * 2 : 128;
        lb_event_message *events = realloc(l->events, capacity * sizeof *events);
        if (!events)
            return NULL;
        l->events = events;
        l->event_capacity = capacity;
    }
    lb_event_message *event = &l->events[l->event_count];
    *event = (lb_event_message){.deliveries = 1};
    return event;
}

/* Tells one event's id from another's (FNV-1a). */
static uint64_t mark_of(lb_slice id)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < id.size; i++)
        h = (h ^ (unsigned char)id.data[i]) * UINT64_C(1099511628211);
    return h;
}

/* Adds one entry [id, fields] to the batch if it is wanted. */
static lb_status take_entry(listener *l, stream *s, const reply *entry, bool pending)
{
    const reply *name = reply_first(entry), *body = name ? name->next : NULL;
    entry_id id;
    if (!body || !entry_id_parse(reply_text(name), &id) || (pending && id_set_has(&s->in_hand, id)))
        return LB_OK;
    if (body->type != REDIS_REPLY_ARRAY) /* it was trimmed while it was pending: reclaim.c sees to it */
        return LB_OK;
    if (!pending && entry_id_compare(id, s->last) < 0 && id_set_has(&s->in_hand, id))
        return LB_OK; /* the group was set back, as by a failover */
    bool last_again =
        !pending && entry_id_compare(id, s->last) == 0; /* a group that was made again asks for it */
    if (!pending && entry_id_compare(id, s->last) > 0)
        s->last = id;
    lb_event_message *event = new_event(l);
    decoded kind =
        event ? decode_event(&l->arena, reply_first(body), l->w.conn.in.most, event) : DECODED_NO_MEMORY;
    if (kind == DECODED_NO_MEMORY)
        return LB_NO_MEMORY;
    uint64_t mark = mark_of(event->id);
    last_again = last_again && mark == s->last_mark;
    s->last_mark = pending ? s->last_mark : mark;
    if (last_again && id_set_has(&s->in_hand, id))
        return LB_OK;
    if (last_again || kind == DECODED_NOOP || !wanted(s, event))
        return stream_done(s, id) ? LB_OK : LB_NO_MEMORY;
    event->native_id = reply_text(name);
    event->source = (int)(s - l->streams);
    l->event_count++;
    return id_set_add(&s->in_hand, id) ? LB_OK : LB_NO_MEMORY;
}

lb_status take_entries(listener *l, stream *s, const reply *entries, bool pending, lb_error *error)
{
    lb_status status = LB_OK;
    pthread_mutex_lock(&l->lock);
    for (const reply *entry = reply_first(entries); entry && status == LB_OK; entry = entry->next)
        status = take_entry(l, s, entry, pending);
    pthread_mutex_unlock(&l->lock);
    if (status != LB_OK) {
        conn_drop(&l->w.conn); /* what could not be taken is pending, and will be read again */
        forget_outstanding(l);
        lb_error_set(error, status, "out of memory for events");
    }
    return status;
}

void note_deliveries(listener *l, size_t from, const reply *pending, int more)
{
    const reply *row = reply_first(pending); /* [id, consumer, idle, deliveries], in the order of ids */
    for (size_t i = from; i < l->event_count; i++) {
        for (const reply *at = row; at; at = at->next) {
            const reply *id = reply_first(at);
            const reply *count = id && id->next && id->next->next ? id->next->next->next : NULL;
            if (!count || !slice_equal(reply_text(id), l->events[i].native_id))
                continue;
            int64_t before = reply_integer(count), most = INT32_MAX - 1;
            before = before < 0 ? 0 : before > most ? most : before;
            l->events[i].deliveries = before + more < 1 ? 1 : (int)before + more;
            row = at->next;
            break;
        }
    }
}

/* ---- Fetching --------------------------------------------------------------------------------------- */

/* A connection with the groups there. On a new one, own pending entries are read again. */
static lb_status ready(listener *l, int64_t deadline_ns, lb_error *error)
{
    conn *c = &l->w.conn;
    lb_status status = conn_ready(c, deadline_ns, error);
    if (status != LB_OK || l->serial == c->serial)
        return status;
    forget_outstanding(l);
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++) {
        s->own_pending = true;
        s->own_after = (entry_id){0, 0};
    }
    return l->streams->group_seen ? groups_recreate(l, answer_deadline(deadline_ns), error)
                                  : groups_create(l, answer_deadline(deadline_ns), error);
}

/* One write: acknowledgements, and the read of new entries, which blocks if it is to wait. */
static lb_status write_read(listener *l, size_t max, int64_t deadline_ns, bool wait, lb_error *error)
{
    conn *c = &l->w.conn;
    int64_t now = clock_now(), block = 0;
    if (wait)
        block = block_ms(l->w.owner, deadline_ns < l->reclaim_at_ns ? deadline_ns : l->reclaim_at_ns);
    conn_expect(c, write_acks(l, &c->out) * ACK_REPLY_LEAST + 1); /* and something of the read's */
    acks_written(l);
    command_begin(&c->out, 7 + 2 * (wait ? 1 : 0) + 2 * l->stream_count);
    command_str(&c->out, "XREADGROUP");
    command_str(&c->out, "GROUP");
    command_str(&c->out, l->group);
    command_str(&c->out, l->consumer);
    command_str(&c->out, "COUNT");
    command_int(&c->out, (int64_t)max);
    if (wait) {
        command_str(&c->out, "BLOCK");
        command_int(&c->out, block);
    }
    command_str(&c->out, "STREAMS");
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++)
        command_str(&c->out, s->key);
    for (size_t i = 0; i < l->stream_count; i++)
        command_str(&c->out, ">");
    l->read_until_ns = now + (block + BLOCK_MARGIN_MS) * CLOCK_MS;
    l->has_read = true;
    l->asked_for = max;
    lb_status status = conn_send(c, l->read_until_ns, NULL, error);
    if (status == LB_OK)
        l->reading = true;
    else
        forget_outstanding(l);
    return status;
}

/* [[key, entries]...], in the order of our streams. */
static lb_status take_new(listener *l, const reply *r, lb_error *error)
{
    stream *s = l->streams, *end = s + l->stream_count;
    int64_t now = clock_now();
    lb_status status = LB_OK;
    for (const reply *part = reply_first(r); part && status == LB_OK; part = part->next) {
        const reply *key = reply_first(part);
        while (s < end && !slice_is(reply_text(key), s->key))
            s++->sure_ns = now;
        if (s == end || !key->next)
            break;
        if (reply_count(key->next) < l->asked_for)
            s->sure_ns = now;
        status = take_entries(l, s++, key->next, false, error);
    }
    for (; s < end && status == LB_OK; s++)
        s->sure_ns = now;
    l->recreated = 0;
    return status;
}

static bool group_is_gone(const reply *r)
{
    return reply_is_error_of(r, "NOGROUP") || reply_is_error_of(r, "UNBLOCKED the stream key no longer exists");
}

/* The reply of the read. */
static lb_status read_replied(listener *l, const reply *r, lb_error *error)
{
    conn *c = &l->w.conn;
    l->reading = false;
    if (r->type == REDIS_REPLY_NIL) /* nothing to do: time to look for what others have given back (S21) */
        l->reclaim_at_ns = clock_now();
    if (!reply_is_error(r))
        return take_new(l, r, error);
    if (!group_is_gone(r) || ++l->recreated > RECREATED_MOST)
        return conn_reply_error(c, r, "reading events", error);
    lb_slice text = reply_text(r);
    lb_log(LB_LOG_WARNING, "%s: %.*s", c->options->place, (int)text.size, text.data);
    return groups_recreate(l, clock_in_ms(ANSWER_MS), error);
}

/* Reads until the read has been answered; *woken is set when an interrupt had it end early. LB_TIMEOUT: it is
 * still outstanding. */
static lb_status finish_read(listener *l, int64_t deadline_ns, bool *woken, lb_error *error)
{
    conn *c = &l->w.conn;
    const reply *r;
    while (l->reading) {
        int64_t late =
            deadline_ns > INT64_MAX - GRACE_MS * CLOCK_MS ? deadline_ns : deadline_ns + GRACE_MS * CLOCK_MS;
        lb_status status = conn_receive(c, late < l->read_until_ns ? late : l->read_until_ns, &r, error);
        if (status == LB_TIMEOUT && clock_now() >= l->read_until_ns) {
            conn_drop(c); /* S31 */
            status = lb_error_set(error, LB_TRANSPORT, "%s: the server does not answer", c->options->place);
        }
        if (status == LB_CANCELED) {
            *woken = true;
            wakeable_forget(&l->w);
            wakeable_unblock(&l->w);
            deadline_ns = l->read_until_ns - GRACE_MS * CLOCK_MS;
            continue;
        }
        if (status == LB_OK && l->acks_written) {
            ack_confirmed(l, r);
            continue;
        }
        if (status == LB_OK)
            status = read_replied(l, r, error);
        if (status != LB_OK && c->fd < 0)
            forget_outstanding(l);
        if (status != LB_OK)
            return status;
    }
    return LB_OK;
}

static stream *next_own(listener *l)
{
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++)
        if (s->own_pending)
            return s;
    return NULL;
}

static stream *next_reclaim(listener *l)
{
    int64_t now = clock_now();
    if (now >= l->reclaim_at_ns && l->has_read) {
        l->has_read = false;
        l->reclaim_at_ns = now + l->w.conn.options->reclaim_interval_ms * CLOCK_MS;
        for (stream *s = l->streams; s < l->streams + l->stream_count; s++)
            s->reclaim = true;
    }
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++)
        if (s->reclaim)
            return s;
    return NULL;
}

/* One step: a page of old entries, or the read of new ones. */
static lb_status step(listener *l, size_t max, int64_t deadline_ns, bool wait, bool *woken, lb_error *error)
{
    stream *s;
    lb_status status = LB_OK;
    if (!l->reading) {
        status = ready(l, deadline_ns, error);
        if (status != LB_OK)
            return status;
        if ((s = next_own(l)))
            status = read_own_page(l, s, max, error);
        else if ((s = next_reclaim(l)))
            status = reclaim_page(l, s, max, error);
        else if ((s = next_unsure(l)))
            status = find_trimmed(l, s, error);
        else
            status = write_read(l, max, deadline_ns, wait && !*woken, error);
    }
    return status == LB_OK ? finish_read(l, deadline_ns, woken, error) : status;
}

static lb_status listener_fetch(void *self, size_t max, int64_t deadline_ns, const lb_event_message **events,
                                size_t *count, lb_error *error)
{
    listener *l = self;
    bool wait = deadline_ns > clock_now(), woken = wakeable_take(&l->w);
    lb_error why = {0};
    lb_status status = LB_OK;
    conn_release(&l->w.conn);
    arena_reset(&l->arena, KEEP_ARENA);
    l->event_count = 0;
    if (woken && l->reading)
        wakeable_unblock(&l->w);
    do {
        status = copies_drop(l, step(l, max ? max : 1, deadline_ns, wait && !woken, &woken, &why), &why);
        woken = woken || wakeable_take(&l->w);
    } while (status == LB_OK && l->event_count == 0 && !woken && clock_now() < deadline_ns);
    *events = l->events;
    *count = l->event_count;
    if (status == LB_OK || status == LB_TIMEOUT ||
        *count) /* what was taken comes first; the failure will come again */
        return LB_OK;
    if (error)
        *error = why;
    return status;
}

static lb_status listener_acknowledge(void *self, const lb_event_message *const *events, size_t count,
                                      lb_error *error)
{
    listener *l = self;
    for (size_t i = 0; i < count; i++) {
        entry_id id;
        if (events[i]->source < 0 || (size_t)events[i]->source >= l->stream_count ||
            !entry_id_parse(events[i]->native_id, &id))
            return lb_error_set(error, LB_USAGE, "an event that is not of this listener");
        if (!stream_done(&l->streams[events[i]->source], id))
            return lb_error_set(error, LB_NO_MEMORY, "out of memory for acknowledgements");
    }
    return LB_OK;
}

/* On the control connection, because the listener's own may be blocked in a read. */
static lb_status listener_flush(void *self, int64_t deadline_ns, lb_error *error)
{
    listener *l = self;
    bool some = false;
    for (stream *s = l->streams; s < l->streams + l->stream_count; s++)
        some |= s->done_count > 0;
    conn *c = some ? control_lock(l->w.owner, deadline_ns, error) : NULL;
    if (!c)
        return some ? (error ? error->status : LB_TRANSPORT) : LB_OK;
    size_t commands = write_acks(l, &c->out);
    lb_status status = conn_exchange(c, commands, "acknowledging", answer_deadline(deadline_ns), NULL, error);
    control_unlock(l->w.owner);
    if (status == LB_OK && !l->acks_written) {
        acks_written(l);
        while (l->acks_written)
            ack_confirmed(l, NULL);
    }
    return status;
}

static void listener_interrupt(void *self) { wakeable_interrupt(&((listener *)self)->w); }

static int64_t listener_lease_ms(void *self)
{
    return ((listener *)self)->w.conn.options->acknowledgement_timeout_ms;
}

/* ---- Listen and unlisten ---------------------------------------------------------------------------- */

static void free_listener(listener *l)
{
    for (size_t i = 0; i < l->stream_count; i++) {
        free(l->streams[i].key);
        free(l->streams[i].done);
        id_set_free(&l->streams[i].in_hand);
    }
    for (size_t i = 0; i < l->pairs; i++) {
        free((char *)(uintptr_t)l->api_names[i].data);
        free((char *)(uintptr_t)l->event_names[i].data);
    }
    free(l->streams);
    free(l->api_names);
    free(l->event_names);
    free(l->group);
    free(l->consumer);
    free(l->since);
    free(l->events);
    arena_free(&l->arena);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static bool copy_slice(lb_slice *to, lb_slice from)
{
    *to = (lb_slice){strndup(from.data, from.size), from.size};
    return to->data != NULL;
}

/* The pairs, those of one stream side by side. */
static bool copy_pairs(listener *l, const lb_listener_config *config, bool per_event)
{
    bool *taken = calloc(config->count + 1, sizeof *taken), good = taken != NULL;
    l->api_names = calloc(config->count + 1, sizeof *l->api_names);
    l->event_names = calloc(config->count + 1, sizeof *l->event_names);
    l->streams = calloc(config->count + 1, sizeof *l->streams);
    good = good && l->api_names && l->event_names && l->streams;
    for (size_t i = 0; i < config->count && good; i++) {
        if (taken[i])
            continue;
        stream *s = &l->streams[l->stream_count++];
        s->api_names = l->api_names + l->pairs;
        s->event_names = l->event_names + l->pairs;
        for (size_t j = i; j < config->count && good; j++) {
            if (taken[j] || !slice_equal(config->api_names[i], config->api_names[j]) ||
                (per_event && !slice_equal(config->event_names[i], config->event_names[j])))
                continue;
            taken[j] = true;
            good = copy_slice(&l->api_names[l->pairs], config->api_names[j]) &&
                   copy_slice(&l->event_names[l->pairs], config->event_names[j]);
            l->pairs++;
            s->wanted++;
        }
        good = good && asprintf(&s->key, per_event ? "%s.%s:stream" : "%s.*:stream", s->api_names->data,
                                s->event_names->data) > 0;
    }
    free(taken);
    return good;
}

static lb_status check_config(const redis_options *o, const lb_listener_config *config,
                              char since[ENTRY_ID_TEXT], lb_error *error)
{
    if (!config->count)
        return lb_error_set(error, LB_USAGE, "a listener that wants no event");
    for (size_t i = 0; i < config->count; i++)
        if (o->stream_per_event && slice_is(config->event_names[i], "*"))
            return lb_error_set(error, LB_CONFIG,
                                "%.*s.*: all events of an API cannot be listened to with "
                                "stream_use=per_event: expected the names of events, or stream_use=per_api",
                                (int)config->api_names[i].size, config->api_names[i].data);
    if (!since_id(config->since ? config->since : "$", since))
        return lb_error_set(error, LB_CONFIG,
                            "since: expected \"$\", \"0\", an id or a time as ISO 8601, not \"%.40s\"",
                            config->since);
    return LB_OK;
}

static lb_status listener_listen(void *self, const lb_listener_config *config, int64_t deadline_ns, void **out,
                                 lb_error *error)
{
    redis *r = self;
    char since[ENTRY_ID_TEXT];
    *out = NULL;
    lb_status status = check_config(&r->options, config, since, error);
    if (status != LB_OK)
        return status;
    listener *l = calloc(1, sizeof *l);
    if (!l)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a listener");
    pthread_mutex_init(&l->lock, NULL);
    l->has_read = true; /* old events come first */
    l->deduplicate_ms = config->deduplicate_ms;
    l->group = strdup(config->group);
    l->consumer = strdup(config->consumer);
    l->since = strdup(since);
    if (!l->group || !l->consumer || !l->since || !copy_pairs(l, config, r->options.stream_per_event)) {
        free_listener(l);
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a listener");
    }
    if (!wakeable_init(&l->w, r, error)) {
        free_listener(l);
        return LB_SYSTEM;
    }
    status = ready(l, deadline_ns, error);
    if (status == LB_OK)
        status = copies_check(l, answer_deadline(deadline_ns), error);
    if (status != LB_OK) {
        wakeable_free(&l->w);
        free_listener(l);
        return status;
    }
    *out = l;
    return LB_OK;
}

static void listener_unlisten(void *self, bool forget)
{
    listener *l = self;
    lb_error error = {0};
    if (!l)
        return;
    if (listener_flush(l, clock_in_ms(CLOSE_MS), &error) != LB_OK)
        lb_log(LB_LOG_WARNING, "%s: acknowledgements were not sent, their events will come again: %s", l->group,
               error.message);
    wakeable_free(&l->w); /* and with it a read that is outstanding */
    if (forget)
        groups_forget(l);
    free_listener(l);
}

const lb_event_transport redis_events = {
    .send = fire_events,
    .listen = listener_listen,
    .fetch = listener_fetch,
    .acknowledge = listener_acknowledge,
    .flush = listener_flush,
    .renew = lease_renew,
    .give_back = lease_give_back,
    .dead_letter = lease_dead_letter,
    .interrupt = listener_interrupt,
    .unlisten = listener_unlisten,
    .lease_ms = listener_lease_ms,
    .history = history_open,
    .history_fetch = history_fetch,
    .history_close = history_close,
    .lag = groups_lag,
    .replay = history_replay,
    .purge = history_purge,
};
