/* What streams hold, over any number of them in the order of time, and how far groups are behind. Each fetch
 * reads one view of the store, so that nothing is kept of what is stored but the place in each stream. */
#include "listener.h"

#include <errno.h>
#include <stdlib.h>

#include "../../base/date.h"
#include "../../base/wanted.h"
#include "presence.h"

enum { MOST_LOOKED_AT = 4096 }; /* entries in one view, wanted or not */

/* A stream and the place in it. */
typedef struct past {
    const wanted_stream *wanted;
    uint64_t id;
    uint64_t made;      /* of the stream that the place is in */
    uint64_t next;      /* the place: the number of the next entry */
    bool begun;         /* `next` is known */
    uint64_t low, high; /* the entries there are, in the present view; low > high: none are left */
    entry head;         /* the next entry, in the present view; number 0: there is none */
} past;

typedef struct history {
    local_bus *bus;
    view view;
    wanted_streams wanted;
    past *streams; /* one for each that is wanted */
    native_id from, to;
    bool oldest_first, dead_letters;
    lb_slice api_name; /* while streams are collected */
    arena batch;
} history;

static MDB_dbi table_of(const history *h) { return h->view.store->parts[STORE_EVENTS].table; }

/* ---- The streams of an API -------------------------------------------------------------------------- */

static bool event_of(lb_slice name, lb_slice api_name, lb_slice *event)
{
    if (name.size <= api_name.size + 1 || memcmp(name.data, api_name.data, api_name.size) != 0 ||
        name.data[api_name.size] != '.')
        return false;
    *event = (lb_slice){name.data + api_name.size + 1, name.size - api_name.size - 1};
    return !slice_is(*event, "*") && !memchr(event->data, '.', event->size) &&
           !memchr(event->data, ':', event->size);
}

/* The streams that hold events of an API one by one, or their dead letters; of all APIs: "*". */
static int search_streams(MDB_txn *txn, MDB_dbi table, lb_slice api_name, bool dead,
                          bool (*found)(lb_slice name, lb_slice event_name, void *data), void *data)
{
    MDB_cursor *cursor;
    key prefix = key_make(KEY_STREAM, NULL, 0);
    MDB_val k = key_val(&prefix), v;
    int result = txn ? mdb_cursor_open(txn, table, &cursor) : MDB_NOTFOUND;
    if (result)
        return result == MDB_NOTFOUND ? 0 : result;
    int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && result == 0 && key_within(&k, &prefix);
         more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        lb_slice event = {"*", 1}, name = stream_name_of(&v), living;
        if (!name.data || stream_is_dead(name, &living) != dead)
            continue;
        if ((slice_is(api_name, "*") || event_of(dead ? living : name, api_name, &event)) &&
            !found(name, event, data))
            result = ENOMEM;
    }
    mdb_cursor_close(cursor);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

/* The streams of an API that hold an event ("*": all of them), or its dead letters: calls `found` with the name
 * of each and that of its event ("*": of all events). ENOMEM when it answers false. */
static int streams_of(const local_bus *l, MDB_txn *txn, MDB_dbi table, lb_slice api_name, lb_slice event_name,
                      bool dead, bool (*found)(lb_slice name, lb_slice event_name, void *data), void *data)
{
    buffer name = {0};
    bool per_event = l->options.stream_per_event;
    if (slice_is(api_name, "*") || (per_event && slice_is(event_name, "*")))
        return search_streams(txn, table, api_name, dead, found, data);
    buffer_add(&name, api_name.data, api_name.size);
    buffer_char(&name, '.');
    if (per_event)
        buffer_add(&name, event_name.data, event_name.size);
    else
        buffer_char(&name, '*');
    if (dead)
        buffer_literal(&name, DEAD_SUFFIX);
    bool good = !name.failed && found((lb_slice){name.data, name.size}, event_name, data);
    buffer_free(&name);
    return good ? 0 : ENOMEM;
}

/* ---- Open and close --------------------------------------------------------------------------------- */

void local_history_close(void *self)
{
    history *h = self;
    if (!h)
        return;
    view_free(&h->view);
    wanted_free(&h->wanted);
    free(h->streams);
    arena_free(&h->batch);
    free(h);
}

static bool add_stream(lb_slice name, lb_slice event_name, void *data)
{
    history *h = data;
    return wanted_add(&h->wanted, name, h->api_name, event_name);
}

/* A time stands for all of its millisecond. */
static lb_status read_bound(const char *text, const char *name, native_id *id, lb_error *error)
{
    bool is_id = native_id_parse(slice_of(text), &id->time_ms, &id->number);
    if (!is_id)
        id->number = 0;
    if (!is_id && !iso8601_ms(text, &id->time_ms))
        return lb_error_set(error, LB_CONFIG, "%s: expected a native id or a time as ISO 8601, not \"%.60s\"",
                            name, text);
    if (strcmp(name, "to") == 0 && !(is_id && strchr(text, '-')))
        id->number = UINT64_MAX;
    return LB_OK;
}

static bool starts_now(const lb_history_config *config)
{
    return config->from && strcmp(config->from, "$") == 0;
}

static lb_status read_config(history *h, const lb_history_config *config, lb_error *error)
{
    lb_status status = LB_OK;
    h->oldest_first = config->oldest_first;
    h->dead_letters = config->dead_letters;
    h->from = (native_id){INT64_MIN, 0};
    h->to = (native_id){INT64_MAX, UINT64_MAX};
    if (config->from && !starts_now(config))
        status = read_bound(config->from, "from", &h->from, error);
    if (status == LB_OK && config->to)
        status = read_bound(config->to, "to", &h->to, error);
    return status;
}

/* With no bus yet (not `any`) the streams are known by their names alone, and empty. */
static int find_streams(history *h, const lb_history_config *config, bool any)
{
    static const lb_slice every = {"*", 1};
    MDB_dbi table = any ? table_of(h) : 0;
    int result = 0;
    bool all = h->dead_letters && !config->count;
    for (size_t i = 0; i < (all ? 1 : config->count) && result == 0; i++) {
        h->api_name = all ? every : config->api_names[i];
        result = streams_of(h->bus, h->view.txn, table, h->api_name, all ? every : config->event_names[i],
                            h->dead_letters, add_stream, h);
    }
    h->streams = calloc(h->wanted.count + 1, sizeof *h->streams);
    if (!h->streams)
        return ENOMEM;
    for (size_t i = 0; i < h->wanted.count; i++)
        h->streams[i] = (past){.wanted = &h->wanted.items[i], .id = hash_text(h->wanted.items[i].name)};
    for (past *s = h->streams; s < h->streams + h->wanted.count && starts_now(config) && result == 0; s++) {
        stream state = {.last = 0};
        if (any)
            result = stream_get(h->view.txn, table, s->id, &state);
        s->made = state.made;
        s->next = state.last + 1;
        s->begun = true;
    }
    return result;
}

/* Begins the view, unless there is no bus (*any) yet. */
static lb_status look(history *h, bool *any, int64_t deadline_ns, lb_error *error)
{
    store *s;
    lb_status status = local_store_if_any(h->bus, deadline_ns, &s, error);
    *any = status == LB_OK && s;
    return *any ? view_begin(&h->view, s, STORE_EVENTS, error) : status;
}

lb_status local_history(void *self, const lb_history_config *config, int64_t deadline_ns, void **out,
                        lb_error *error)
{
    history *h = calloc(1, sizeof *h);
    *out = NULL;
    if (!h)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a history");
    h->bus = self;
    bool any = false;
    lb_status status = read_config(h, config, error);
    if (status == LB_OK)
        status = look(h, &any, deadline_ns, error);
    if (status == LB_OK) {
        int result = find_streams(h, config, any);
        if (any)
            view_end(&h->view);
        if (result)
            status = any ? store_failed(h->view.store, STORE_EVENTS, result, "looking for streams", error)
                         : lb_error_set(error, LB_NO_MEMORY, "out of memory for a history");
    }
    if (status == LB_OK)
        *out = h;
    else
        local_history_close(h);
    return status;
}

/* ---- The place in a stream -------------------------------------------------------------------------- */

static int compare_ids(native_id a, native_id b)
{
    if (a.time_ms != b.time_ms)
        return a.time_ms < b.time_ms ? -1 : 1;
    return (a.number > b.number) - (a.number < b.number);
}

static native_id id_of(const entry *e) { return (native_id){e->time_ms, e->number}; }

/* The number of the first entry after a bound, or (`included`) at or after it. */
static int first_after(const history *h, const past *s, native_id bound, bool included, uint64_t *number)
{
    uint64_t low = s->low, high = s->high + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        entry at;
        int result = entry_get(h->view.txn, table_of(h), s->id, middle, &at);
        if (result)
            return result;
        int order = compare_ids(id_of(&at), bound);
        if (order < 0 || (order == 0 && !included))
            low = middle + 1;
        else
            high = middle;
    }
    *number = low;
    return 0;
}

/* Finds the next entry within the bounds in the present view. */
static int find_head(const history *h, past *s)
{
    s->head.number = 0;
    if (h->oldest_first && s->next < s->low)
        s->next = s->low; /* what was trimmed meanwhile is gone */
    if (s->low > s->high || s->next < s->low || s->next > s->high)
        return 0;
    entry head;
    int result = entry_get(h->view.txn, table_of(h), s->id, s->next, &head);
    if (result)
        return result;
    native_id id = id_of(&head);
    if (compare_ids(id, h->from) >= 0 && compare_ids(id, h->to) <= 0)
        s->head = head;
    else
        s->begun = !h->oldest_first || compare_ids(id, h->from) >= 0; /* `from` is still to come */
    return 0;
}

/* Newest first, a stream that is empty stays so: what comes later is not asked for. */
static int begin(const history *h, past *s)
{
    int result = 0;
    s->next = 0;
    s->head.number = 0;
    if (s->low > s->high && h->oldest_first)
        return 0;
    if (s->low <= s->high)
        result = first_after(h, s, h->oldest_first ? h->from : h->to, h->oldest_first, &s->next);
    if (s->low <= s->high && !h->oldest_first)
        s->next--;
    s->begun = true;
    return result ? result : find_head(h, s);
}

/* The streams in the present view. One that was made anew is read from its beginning. */
static int find_heads(history *h)
{
    int result = 0;
    for (past *s = h->streams; s < h->streams + h->wanted.count && result == 0; s++) {
        stream state;
        result = stream_get(h->view.txn, table_of(h), s->id, &state);
        if (result)
            break;
        s->low = state.first;
        s->high = state.last;
        if (s->made != state.made && s->low <= s->high && h->oldest_first)
            s->begun = false;
        else if (s->made != state.made && s->begun)
            s->next = 0; /* what it was in is gone */
        s->made = state.made;
        if (s->begun)
            result = find_head(h, s);
        else
            result = begin(h, s);
    }
    return result;
}

static past *foremost(const history *h)
{
    past *best = NULL;
    for (past *s = h->streams; s < h->streams + h->wanted.count; s++)
        if (s->head.number && (!best || (h->oldest_first ? s->head.time_ms < best->head.time_ms
                                                         : s->head.time_ms > best->head.time_ms)))
            best = s;
    return best;
}

/* ---- Fetching --------------------------------------------------------------------------------------- */

/* What the head of a stream is about; empty: it cannot be told, or is an empty place. */
static lb_slice event_at(const history *h, const past *s)
{
    lb_dead_letter letter;
    lb_event_message event;
    lb_slice record = s->head.record;
    return h->dead_letters && !get_letter(s->head.record, &letter, &event, &record) ? (lb_slice){"", 0}
                                                                                    : record;
}

static bool wanted(const history *h, const past *s)
{
    lb_slice api, event;
    if (h->dead_letters && !s->head.record.size)
        return false;
    return event_names(event_at(h, s), &api, &event)
               ? wanted_has(s->wanted, api, event)
               : wanted_has(s->wanted, (lb_slice){"", 0}, (lb_slice){"", 0});
}

/* A copy of a dead letter; *record: of its event. */
static bool take_letter(history *h, lb_slice copy, lb_slice id, lb_event_message *event, lb_slice *record)
{
    lb_dead_letter *letter = arena_alloc(&h->batch, sizeof *letter);
    event->dead = letter;
    if (!letter)
        return false;
    if (!get_letter(copy, letter, event, record))
        *record = (lb_slice){"", 0};
    letter->id = id;
    return true;
}

/* The head of a stream as a message; false when memory is short. */
static bool take(history *h, const past *s, lb_event_message *event)
{
    char text[NATIVE_ID_SIZE];
    size_t size = native_id_text(text, s->head.time_ms, s->head.number);
    lb_slice record = {arena_copy(&h->batch, s->head.record.data, s->head.record.size), s->head.record.size};
    lb_slice id = {arena_copy(&h->batch, text, size), size};
    *event = (lb_event_message){.source = (int)(s - h->streams), .native_id = id};
    return record.data && id.data && (!h->dead_letters || take_letter(h, record, id, event, &record)) &&
           get_event(&h->batch, record, (size_t)h->bus->options.max_message_size, event);
}

/* The next events in the present view. */
static int take_batch(history *h, lb_event_message *events, size_t max, size_t *count, bool *end)
{
    size_t bytes = 0;
    int result = find_heads(h);
    for (size_t looked = 0; result == 0 && looked < MOST_LOOKED_AT && *count < max && bytes < MOST_BYTES;
         looked++) {
        past *s = foremost(h);
        *end = !s && *count == 0;
        if (!s)
            break;
        if (wanted(h, s)) {
            bytes += s->head.record.size;
            if (!take(h, s, &events[*count]))
                return ENOMEM;
            ++*count;
        }
        s->next = h->oldest_first ? s->next + 1 : s->next - 1;
        result = find_head(h, s);
    }
    return result;
}

lb_status local_history_fetch(void *self, size_t max, int64_t deadline_ns, const lb_event_message **events,
                              size_t *count, bool *end, lb_error *error)
{
    history *h = self;
    *count = 0;
    *end = false;
    arena_reset(&h->batch, KEEP_ARENA);
    max = max ? max : 1;
    lb_event_message *list = arena_alloc(&h->batch, max * sizeof *list);
    if (!list)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for events");
    *events = list;
    bool any;
    lb_status status = look(h, &any, deadline_ns, error);
    *end = status == LB_OK && !any;
    if (!any || status != LB_OK)
        return status;
    int result = take_batch(h, list, max, count, end);
    view_end(&h->view);
    return result ? store_failed(h->view.store, STORE_EVENTS, result, "reading the history", error) : LB_OK;
}

/* ---- Dead letters ----------------------------------------------------------------------------------- */

static lb_status find_letter(const history *h, const lb_event_message *event, lb_slice *name, lb_error *error)
{
    if (!event->dead || event->source < 0 || (size_t)event->source >= h->wanted.count)
        return lb_error_set(error, LB_USAGE, "a dead letter that is not of this history");
    *name = h->streams[event->source].wanted->name;
    return LB_OK;
}

lb_status local_history_replay(void *self, const lb_event_message *event, bool fire, int64_t deadline_ns,
                               lb_error *error)
{
    history *h = self;
    lb_slice name;
    lb_status status = find_letter(h, event, &name, error);
    return status == LB_OK ? local_letter_replay(h->bus, name, event, fire, deadline_ns, error) : status;
}

lb_status local_history_purge(void *self, const lb_event_message *event, int64_t deadline_ns, lb_error *error)
{
    history *h = self;
    lb_slice name;
    lb_status status = find_letter(h, event, &name, error);
    return status == LB_OK ? local_letter_purge(h->bus, name, event, deadline_ns, error) : status;
}

/* ---- Lag -------------------------------------------------------------------------------------------- */

typedef struct lag_search {
    const local_bus *bus;
    MDB_txn *txn;
    MDB_dbi table;
    lb_slice api_name;
    void (*found)(const lb_group_lag *lag, void *data);
    void *data;
    int result;
} lag_search;

/* The dead letters of a stream. */
typedef struct dead_letters {
    uint64_t id;
    int64_t count;
    uint64_t first, last;
} dead_letters;

static int find_dead(const lag_search *search, lb_slice name, dead_letters *dead)
{
    buffer text = {0};
    stream state;
    buffer_add(&text, name.data, name.size);
    buffer_literal(&text, DEAD_SUFFIX);
    dead->id = text.failed ? 0 : hash_text((lb_slice){text.data, text.size});
    int result = text.failed ? ENOMEM : stream_get(search->txn, search->table, dead->id, &state);
    buffer_free(&text);
    dead->first = state.first;
    dead->last = state.last;
    return result ? result : entries_count(search->txn, search->table, dead->id, dead->first, &dead->count);
}

/* How many of the newest are a group's. */
static int count_dead(const lag_search *search, const dead_letters *dead, lb_slice group, int64_t *count)
{
    MDB_cursor *cursor;
    entries e;
    uint64_t from = dead->first;
    if (dead->last - from >= LB_DEAD_LETTERS_SEEN && dead->count)
        from = dead->last + 1 - LB_DEAD_LETTERS_SEEN;
    *count = 0;
    int result = dead->count ? mdb_cursor_open(search->txn, search->table, &cursor) : MDB_NOTFOUND;
    if (result)
        return result == MDB_NOTFOUND ? 0 : result;
    result = entries_find(&e, cursor, dead->id, from);
    for (; result == 0; result = entries_next(&e)) {
        cut record = cut_of(e.at.record);
        *count += slice_equal(cut_slice(&record), group);
    }
    mdb_cursor_close(cursor);
    return result == MDB_NOTFOUND ? 0 : result;
}

/* One group's record. */
static int tell(const lag_search *search, lb_slice event_name, uint64_t stream_id, const stream *state,
                const dead_letters *dead, const MDB_val *k, const MDB_val *v)
{
    group g;
    if (v->mv_size < sizeof g)
        return MDB_CORRUPTED;
    memcpy(&g, v->mv_data, sizeof g);
    presence p;
    int result = presence_of(search->txn, search->table, stream_id, key_number(k, 1), &p);
    if (result)
        return result;
    uint64_t delivered = g.cursor + 1 < state->first ? state->first - 1 : g.cursor;
    lb_group_lag lag = {
        .group = {(const char *)v->mv_data + sizeof g, v->mv_size - sizeof g},
        .api_name = search->api_name,
        .event_name = event_name,
        .undelivered = state->last > delivered ? (int64_t)(state->last - delivered) : 0,
        .consumers = (int64_t)p.listeners,
        .stored = (int64_t)(state->last + 1 - state->first),
        .fired = (int64_t)state->last,
        .lost = (int64_t)(g.lost + (delivered - g.cursor)),
    };
    result = group_count_pending(search->txn, search->table, stream_id, key_number(k, 1), &lag.pending);
    if (result == 0)
        result = count_dead(search, dead, lag.group, &lag.dead_letters);
    if (result == 0)
        search->found(&lag, search->data);
    return result;
}

static void tell_stored(const lag_search *search, lb_slice event_name, const stream *state, int64_t dead)
{
    const lb_group_lag stored = {
        .api_name = search->api_name,
        .event_name = event_name,
        .consumers = -1,
        .dead_letters = dead,
        .stored = (int64_t)(state->last + 1 - state->first),
        .fired = (int64_t)state->last,
    };
    search->found(&stored, search->data);
}

static int tell_groups(const lag_search *search, lb_slice name, lb_slice event_name)
{
    MDB_cursor *cursor;
    stream state;
    dead_letters dead;
    uint64_t id = hash_text(name);
    key prefix = key_1(KEY_GROUP, id);
    MDB_val k = key_val(&prefix), v;
    int result = stream_get(search->txn, search->table, id, &state);
    if (result == 0)
        result = find_dead(search, name, &dead);
    if (result == 0)
        result = mdb_cursor_open(search->txn, search->table, &cursor);
    if (result)
        return result;
    int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    if (state.last || (more == 0 && key_within(&k, &prefix)))
        tell_stored(search, event_name, &state, dead.count);
    for (; more == 0 && result == 0 && key_within(&k, &prefix); more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
        result = tell(search, event_name, id, &state, &dead, &k, &v);
    mdb_cursor_close(cursor);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

static bool tell_stream(lb_slice name, lb_slice event_name, void *data)
{
    lag_search *search = data;
    search->result = tell_groups(search, name, event_name);
    return search->result == 0;
}

lb_status local_lag(void *self, lb_slice api_name, lb_slice event_name,
                    void (*found)(const lb_group_lag *lag, void *data), void *data, int64_t deadline_ns,
                    lb_error *error)
{
    local_bus *l = self;
    store *s;
    view v = {0};
    lb_status status = local_store_if_any(l, deadline_ns, &s, error);
    if (status == LB_OK && s)
        status = view_begin(&v, s, STORE_EVENTS, error);
    if (status != LB_OK || !s)
        return status;
    lag_search search = {l, v.txn, s->parts[STORE_EVENTS].table, api_name, found, data, 0};
    lb_slice shared = l->options.stream_per_event ? event_name : (lb_slice){"*", 1};
    int result = streams_of(l, v.txn, search.table, api_name, shared, false, tell_stream, &search);
    view_free(&v);
    result = search.result ? search.result : result;
    return result ? store_failed(s, STORE_EVENTS, result, "asking for the lag", error) : LB_OK;
}
