/* What streams hold, page by page, over any number of streams in the order of their ids.
 *
 * Each stream has one page in memory: copies of its entries, since the connection's replies go when the next
 * page of another stream is read. Invariants: `after` is the last entry of the page that was taken, so that a
 * broken connection costs nothing but the page that was on its way; a page grows from a few entries, for a
 * first result at once, to what fits its share of PAGE_BYTES. */
#include "listener.h"

#include <stdlib.h>

#include "../../base/wanted.h"

enum { PAGE_FIRST = 8, PAGE_MOST = 1024, PAGE_BYTES = 512 * 1024 };

/* A stream and the place in it. */
typedef struct past {
    const wanted_stream *wanted;
    entry_id after; /* the last entry seen, if any was */
    bool begun, end;
    size_t page; /* how many entries to ask for */
    arena memory;
    lb_event_message *messages; /* of the page */
    size_t count, position;
} past;

typedef struct history {
    wakeable w; /* for its connection, which a fork drops */
    wanted_streams wanted;
    past *streams; /* one for each that is wanted */
    entry_id from, to;
    bool oldest_first, dead_letters;
    lb_slice api_name; /* while streams are collected */
    lb_event_message *batch;
    size_t capacity;
} history;

/* ---- Open and close --------------------------------------------------------------------------------- */

void history_close(void *self)
{
    history *h = self;
    if (!h)
        return;
    for (size_t i = 0; h->streams && i < h->wanted.count; i++)
        arena_free(&h->streams[i].memory);
    if (h->w.owner)
        wakeable_free(&h->w);
    wanted_free(&h->wanted);
    free(h->streams);
    free(h->batch);
    free(h);
}

/* A stream_found. */
static bool add_stream(lb_slice key, lb_slice event_name, void *data)
{
    history *h = data;
    return wanted_add(&h->wanted, key, h->api_name, event_name);
}

/* "$": what is there by now has been seen. */
static lb_status skip_stored(history *h, int64_t deadline_ns, lb_error *error)
{
    conn *c = &h->w.conn;
    const reply *r;
    lb_status failed = LB_OK;
    for (size_t i = 0; i < h->wanted.count; i++) {
        command_begin(&c->out, 6);
        command_str(&c->out, "XREVRANGE");
        command_slice(&c->out, h->streams[i].wanted->name);
        command_str(&c->out, "+");
        command_str(&c->out, "-");
        command_str(&c->out, "COUNT");
        command_str(&c->out, "1");
    }
    lb_status status = conn_send(c, deadline_ns, NULL, error);
    for (past *s = h->streams; s < h->streams + h->wanted.count && status == LB_OK; s++) {
        status = conn_answer(c, deadline_ns, &r, error);
        if (status == LB_OK && reply_is_error(r) && failed == LB_OK)
            failed = conn_reply_error(c, r, "reading the history", error);
        else if (status == LB_OK && reply_first(r))
            s->begun = entry_id_parse(reply_text(reply_first(reply_first(r))), &s->after);
    }
    return status == LB_OK ? failed : status;
}

/* A bound as an id; a time stands for all of its millisecond. */
static lb_status read_bound(const char *text, const char *name, entry_id *id, lb_error *error)
{
    char made[ENTRY_ID_TEXT];
    if (strcmp(text, "$") == 0 || !since_id(text, made) || !entry_id_parse(slice_of(made), id))
        return lb_error_set(error, LB_CONFIG, "%s: expected a native id or a time as ISO 8601, not \"%.60s\"",
                            name, text);
    bool whole = entry_id_parse(slice_of(text), &(entry_id){0, 0}) && strchr(text, '-');
    if (strcmp(name, "to") == 0 && !whole)
        id->seq = UINT64_MAX;
    return LB_OK;
}

static lb_status read_config(history *h, const lb_history_config *config, lb_error *error)
{
    bool now = config->from && strcmp(config->from, "$") == 0;
    lb_status status = LB_OK;
    h->oldest_first = config->oldest_first;
    h->dead_letters = config->dead_letters;
    h->from = (entry_id){0, 0};
    h->to = (entry_id){UINT64_MAX, UINT64_MAX};
    if (config->from && !now)
        status = read_bound(config->from, "from", &h->from, error);
    if (status == LB_OK && config->to)
        status = read_bound(config->to, "to", &h->to, error);
    return status;
}

static lb_status find_streams(history *h, const lb_history_config *config, int64_t deadline_ns, lb_error *error)
{
    static const lb_slice any = {"*", 1};
    const char *suffix = h->dead_letters ? DEAD_SUFFIX : STREAM_SUFFIX;
    bool now = config->from && strcmp(config->from, "$") == 0, all = h->dead_letters && !config->count;
    lb_status status = conn_ready(&h->w.conn, deadline_ns, error);
    for (size_t i = 0; i < (all ? 1 : config->count) && status == LB_OK; i++) {
        h->api_name = all ? any : config->api_names[i];
        status = streams_of(h->w.owner, &h->w.conn, h->api_name, all ? any : config->event_names[i], suffix,
                            add_stream, h, deadline_ns, error);
    }
    if (status == LB_OK && !(h->streams = calloc(h->wanted.count + 1, sizeof *h->streams)))
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory for a history");
    for (size_t i = 0; i < h->wanted.count && status == LB_OK; i++)
        h->streams[i] = (past){.wanted = &h->wanted.items[i], .page = PAGE_FIRST};
    if (status == LB_OK && now)
        status = skip_stored(h, deadline_ns, error);
    return status;
}

lb_status history_open(void *self, const lb_history_config *config, int64_t deadline_ns, void **out,
                       lb_error *error)
{
    history *h = calloc(1, sizeof *h);
    *out = NULL;
    if (!h)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a history");
    lb_status status = read_config(h, config, error);
    if (status == LB_OK && !wakeable_init(&h->w, self, error))
        status = LB_SYSTEM;
    if (status == LB_OK)
        status = find_streams(h, config, deadline_ns, error);
    if (status == LB_OK)
        *out = h;
    else
        history_close(h);
    return status;
}

/* ---- Pages ------------------------------------------------------------------------------------------ */

static void command_bound(buffer *b, const past *s, entry_id bound)
{
    char text[ENTRY_ID_TEXT];
    size_t size = entry_id_text(text, s->begun ? s->after : bound);
    command_prefixed(b, s->begun ? "(" : "", (lb_slice){text, size});
}

static void write_page(history *h, const past *s)
{
    buffer *b = &h->w.conn.out;
    char last[ENTRY_ID_TEXT];
    command_begin(b, 6);
    command_str(b, h->oldest_first ? "XRANGE" : "XREVRANGE");
    command_slice(b, s->wanted->name);
    command_bound(b, s, h->oldest_first ? h->from : h->to);
    command_arg(b, last, entry_id_text(last, h->oldest_first ? h->to : h->from));
    command_str(b, "COUNT");
    command_int(b, (int64_t)s->page);
}

/* A copy of a list of texts, as decode_event takes it; adds its bytes to *total. NULL: memory is short, or
 * there is none. */
static const reply *copy_fields(arena *a, const reply *fields, size_t *total)
{
    reply *first = NULL, **at = &first;
    for (const reply *f = fields; f; f = f->next) {
        reply *copy = arena_alloc(a, sizeof *copy);
        if (!copy)
            return NULL;
        *copy = *f;
        copy->next = NULL;
        *total += sizeof *copy;
        if (reply_is_kept(f)) {
            copy->as.text.data = arena_copy(a, f->as.text.data, f->as.text.size);
            *total += f->as.text.size;
            if (!copy->as.text.data)
                return NULL;
        }
        *at = copy;
        at = &copy->next;
    }
    return first;
}

/* An event, with its id in the stream. */
static decoded take_event(const history *h, past *s, const reply *fields, lb_slice id, lb_event_message *event)
{
    if (h->dead_letters) {
        lb_dead_letter *letter = arena_alloc(&s->memory, sizeof *letter);
        event->dead = letter;
        if (!letter || !decode_letter(&s->memory, fields, h->w.conn.in.most, event, letter))
            return DECODED_NO_MEMORY;
        letter->id = id;
        return DECODED;
    }
    event->native_id = id;
    return decode_event(&s->memory, fields, h->w.conn.in.most, event);
}

/* One entry [id, fields]; false when memory is short. */
static bool take_entry(history *h, past *s, const reply *entry, size_t *total)
{
    const reply *id = reply_first(entry), *body = id ? id->next : NULL;
    lb_event_message *event = &s->messages[s->count];
    lb_slice text = reply_text(id);
    if (!body || !entry_id_parse(text, &s->after))
        return true;
    s->begun = true;
    const reply *fields = copy_fields(&s->memory, reply_first(body), total);
    if (!fields)
        return !reply_first(body);
    text.data = arena_copy(&s->memory, text.data, text.size);
    *event = (lb_event_message){.source = (int)(s - h->streams)};
    decoded kind = text.data ? take_event(h, s, fields, text, event) : DECODED_NO_MEMORY;
    s->count += kind == DECODED && wanted_has(s->wanted, event->api_name, event->event_name);
    return kind != DECODED_NO_MEMORY;
}

static lb_status take_page(history *h, past *s, const reply *page, lb_error *error)
{
    const size_t share = PAGE_BYTES / h->wanted.count;
    const entry_id after = s->after;
    const bool begun = s->begun;
    size_t entries = 0, total = 0;
    for (const reply *entry = reply_first(page); entry; entry = entry->next)
        entries++;
    arena_reset(&s->memory, share * 2);
    s->count = s->position = 0;
    s->messages = arena_alloc(&s->memory, (entries + 1) * sizeof *s->messages);
    bool good = s->messages != NULL;
    for (const reply *entry = reply_first(page); entry && good; entry = entry->next)
        good = take_entry(h, s, entry, &total);
    if (!good) {
        s->count = 0;
        s->after = after;
        s->begun = begun;
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for events");
    }
    s->end = entries < s->page;
    if (total > share && s->page > 1)
        s->page /= 2;
    else if (total < share / 2 && s->page < PAGE_MOST && entries == s->page)
        s->page *= 2;
    return LB_OK;
}

static bool is_due(const past *s) { return s->position == s->count && !s->end; }

/* Reads the next page of every stream whose last one has been given out, in one write. */
static lb_status refill(history *h, int64_t deadline_ns, lb_error *error)
{
    conn *c = &h->w.conn;
    const reply *page;
    past *end = h->streams + h->wanted.count;
    lb_status failed = LB_OK, status = conn_ready(c, deadline_ns, error);
    if (status != LB_OK)
        return status;
    conn_release(c);
    for (past *s = h->streams; s < end; s++)
        if (is_due(s))
            write_page(h, s);
    status = conn_send(c, deadline_ns, NULL, error);
    for (past *s = h->streams; s < end && status == LB_OK; s++) {
        if (!is_due(s))
            continue;
        status = conn_answer(c, deadline_ns, &page, error);
        if (status != LB_OK || failed != LB_OK)
            continue;
        failed = reply_is_error(page) ? conn_reply_error(c, page, "reading the history", error)
                                      : take_page(h, s, page, error);
    }
    conn_release(c);
    return status == LB_OK ? failed : status;
}

/* ---- Fetching --------------------------------------------------------------------------------------- */

static bool any_due(const history *h)
{
    for (size_t i = 0; i < h->wanted.count; i++)
        if (is_due(&h->streams[i]))
            return true;
    return false;
}

static entry_id head_id(const past *s)
{
    const lb_event_message *head = &s->messages[s->position];
    entry_id id = {0, 0};
    entry_id_parse(head->dead ? head->dead->id : head->native_id, &id);
    return id;
}

/* The stream whose next event comes first; NULL: there is none, or it is not known yet. */
static past *foremost(const history *h)
{
    past *best = NULL;
    entry_id best_id = {0, 0};
    for (past *s = h->streams; s < h->streams + h->wanted.count; s++) {
        if (is_due(s))
            return NULL;
        if (s->position == s->count)
            continue;
        entry_id id = head_id(s);
        int order = best ? entry_id_compare(id, best_id) : 0;
        if (!best || (h->oldest_first ? order < 0 : order > 0)) {
            best = s;
            best_id = id;
        }
    }
    return best;
}

static bool room_for(history *h, size_t max)
{
    if (h->capacity >= max)
        return true;
    lb_event_message *batch = realloc(h->batch, max * sizeof *batch);
    if (!batch)
        return false;
    h->batch = batch;
    h->capacity = max;
    return true;
}

/* Nothing is left of what was read: what came since is looked for, but only at the end of time. */
static void look_again(history *h)
{
    for (past *s = h->streams; s < h->streams + h->wanted.count; s++)
        if (s->position < s->count)
            return;
    for (past *s = h->streams; s < h->streams + h->wanted.count; s++)
        s->end = s->end && !h->oldest_first;
}

lb_status history_fetch(void *self, size_t max, int64_t deadline_ns, const lb_event_message **events,
                        size_t *count, bool *end, lb_error *error)
{
    history *h = self;
    past *s;
    *count = 0;
    *end = false;
    max = max ? max : 1;
    if (!room_for(h, max))
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for events");
    if (!any_due(h))
        look_again(h);
    lb_status status = any_due(h) ? refill(h, deadline_ns, error) : LB_OK;
    if (status != LB_OK)
        return status;
    while (*count < max && (s = foremost(h)))
        h->batch[(*count)++] = s->messages[s->position++];
    *events = h->batch;
    *end = *count == 0 && !any_due(h);
    return LB_OK;
}

/* ---- Dead letters ----------------------------------------------------------------------------------- */

/* The key under which a letter of this history lies, with the connection ready. */
static lb_status find_letter(history *h, const lb_event_message *letter, lb_slice *key, int64_t deadline_ns,
                             lb_error *error)
{
    if (!letter->dead || letter->source < 0 || (size_t)letter->source >= h->wanted.count)
        return lb_error_set(error, LB_USAGE, "a dead letter that is not of this history");
    *key = h->streams[letter->source].wanted->name;
    lb_status status = conn_ready(&h->w.conn, deadline_ns, error);
    conn_release(&h->w.conn);
    return status;
}

lb_status history_replay(void *self, const lb_event_message *letter, bool fire, int64_t deadline_ns,
                         lb_error *error)
{
    history *h = self;
    lb_slice key;
    lb_status status = find_letter(h, letter, &key, deadline_ns, error);
    return status == LB_OK ? letter_replay(&h->w.conn, key, letter, fire, deadline_ns, error) : status;
}

lb_status history_purge(void *self, const lb_event_message *letter, int64_t deadline_ns, lb_error *error)
{
    history *h = self;
    lb_slice key;
    lb_status status = find_letter(h, letter, &key, deadline_ns, error);
    return status == LB_OK ? letter_purge(&h->w.conn, key, letter, deadline_ns, error) : status;
}
