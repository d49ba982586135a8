/* The side that is called: takes calls from the queues of some APIs, sends the results.
 *
 * The results of the last batch share a transaction with the next take. Invariants: a call is removed in the
 * transaction that takes it, so that it is given out once or not at all (S1); one whose deadline has passed is
 * removed and not given out (S2). */
#include <errno.h>
#include <lightbus/log.h>
#include <stdio.h>
#include <stdlib.h>

#include "instance.h"

enum { MOST_CALLS = 256 };

typedef struct answer {
    size_t at, size; /* of its record */
    uint64_t client;
} answer;

typedef struct answers {
    buffer bytes;
    answer *items;
    size_t count, capacity;
} answers;

typedef struct consumer {
    local_bus *bus;
    char **names;
    uint64_t *apis;
    size_t count;
    answers answers;
    lb_slice taken[MOST_CALLS];
    view view;
    wake_set wake;
    arena arena;
} consumer;

/* ---- Results ---------------------------------------------------------------------------------------- */

static void answers_clear(answers *a)
{
    a->count = 0;
    buffer_clear(&a->bytes, KEEP_ARENA);
}

static void answers_free(answers *a)
{
    buffer_free(&a->bytes);
    free(a->items);
}

/* In the place of a result that is too large, so that the caller learns of it. */
static void encode_too_large(buffer *b, const lb_result_message *result, size_t size, size_t most,
                             int64_t expires_ns)
{
    char text[160];
    snprintf(text, sizeof text, "\"TooLarge('the result takes %zu bytes, more than max_message_size (%zu)')\"",
             size, most);
    lb_result_message instead = *result;
    instead.error = true;
    instead.json = slice_of(text);
    instead.trace = (lb_slice){"", 0};
    put_result(b, &instead, expires_ns);
}

static lb_status answers_add(local_bus *l, answers *a, const lb_result_message *result, lb_error *error)
{
    uint64_t client = caller_of_path(result->return_path);
    size_t at = a->bytes.size, most = (size_t)l->options.max_message_size;
    int64_t expires_ns = clock_in_ms(l->options.result_ttl_ms);
    if (!client)
        return lb_error_set(
            error, LB_MALFORMED, "the result of call %.*s: expected a return path of a local bus, got \"%.*s\"",
            (int)result->rpc_message_id.size, result->rpc_message_id.data,
            (int)(result->return_path.size < 80 ? result->return_path.size : 80), result->return_path.data);
    if (a->count == a->capacity) {
        size_t capacity = a->capacity ? a->capacity * 2 : 16;
        answer *larger = realloc(a->items, capacity * sizeof *larger);
        if (!larger)
            return lb_error_set(error, LB_NO_MEMORY, "out of memory for a result");
        a->items = larger;
        a->capacity = capacity;
    }
    put_result(&a->bytes, result, expires_ns);
    if (!a->bytes.failed && a->bytes.size - at > most) {
        size_t size = a->bytes.size - at;
        a->bytes.size = at;
        encode_too_large(&a->bytes, result, size, most, expires_ns);
    }
    if (a->bytes.failed) {
        a->bytes.size = at;
        a->bytes.failed = false;
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a result");
    }
    a->items[a->count++] = (answer){at, a->bytes.size - at, client};
    return LB_OK;
}

static int put_answers(const answers *a, transaction *t, MDB_cursor *cursor)
{
    uint64_t number = mdb_txn_id(t->txn);
    int result = 0;
    for (size_t i = 0; i < a->count && result == 0; i++) {
        key k = key_3(KEY_RESULT, a->items[i].client, number, i);
        MDB_val kv = key_val(&k), v = {a->items[i].size, a->bytes.data + a->items[i].at};
        result = mdb_cursor_put(cursor, &kv, &v, 0);
    }
    return result;
}

static void wake_clients(const answers *a, store *s)
{
    for (size_t i = 0; i < a->count; i++)
        if (i == 0 || a->items[i].client != a->items[i - 1].client)
            caller_wake(s, a->items[i].client);
}

/* Small ones use the reserve: workers go on when senders find no space. */
static size_t room_for(const answers *a) { return a->bytes.size < KEEP_ARENA ? 0 : a->bytes.size; }

static lb_status write_answers(local_bus *l, answers *a, int64_t deadline_ns, lb_error *error)
{
    store *s;
    transaction t;
    MDB_cursor *cursor;
    if (!a->count)
        return LB_OK;
    lb_status status = local_store(l, deadline_ns, &s, error);
    if (status == LB_OK)
        status = write_begin(s, STORE_CALLS, room_for(a), deadline_ns, &t, error);
    if (status != LB_OK)
        return status;
    int result = mdb_cursor_open(t.txn, s->parts[STORE_CALLS].table, &cursor);
    if (result == 0) {
        result = put_answers(a, &t, cursor);
        mdb_cursor_close(cursor);
    }
    status = write_end(&t, result, "sending results", error);
    if (status != LB_OK)
        return status;
    wake_clients(a, s);
    answers_clear(a);
    return LB_OK;
}

lb_status local_results_send(void *self, void *owner, const lb_result_message *results, size_t count,
                             int64_t deadline_ns, lb_error *error)
{
    local_bus *l = self;
    consumer *c = owner;
    answers alone = {0}, *a = c ? &c->answers : &alone;
    lb_status status = LB_OK;
    for (size_t i = 0; i < count && status == LB_OK; i++)
        status = answers_add(l, a, &results[i], error);
    if (!c && status == LB_OK)
        status = write_answers(l, a, deadline_ns, error);
    answers_free(&alone);
    return status;
}

lb_status local_consumer_flush(void *self, int64_t deadline_ns, lb_error *error)
{
    consumer *c = self;
    return write_answers(c->bus, &c->answers, deadline_ns, error);
}

/* ---- Taking calls ----------------------------------------------------------------------------------- */

/* Is there a call for this consumer? */
static lb_status peek(consumer *c, store *s, bool *found, lb_error *error)
{
    MDB_cursor *cursor = NULL;
    lb_status status = view_begin(&c->view, s, STORE_CALLS, error);
    if (status != LB_OK)
        return status;
    int result = mdb_cursor_open(c->view.txn, s->parts[STORE_CALLS].table, &cursor);
    for (size_t i = 0; i < c->count && result == 0 && !*found; i++) {
        key prefix = key_1(KEY_CALL, c->apis[i]);
        MDB_val k = key_val(&prefix), v;
        result = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        *found = result == 0 && key_within(&k, &prefix);
        result = result == MDB_NOTFOUND ? 0 : result;
    }
    if (cursor)
        mdb_cursor_close(cursor);
    view_end(&c->view);
    return result ? store_failed(s, STORE_CALLS, result, "looking for calls", error) : LB_OK;
}

static bool expired(const MDB_val *v, int64_t now)
{
    int64_t deadline_ns = 0;
    if (v->mv_size >= sizeof deadline_ns)
        memcpy(&deadline_ns, v->mv_data, sizeof deadline_ns);
    return deadline_ns <= now;
}

/* Takes calls of one API. */
static int take_api(consumer *c, size_t api, size_t max, size_t *bytes, size_t *count, MDB_cursor *cursor)
{
    key prefix = key_1(KEY_CALL, c->apis[api]);
    MDB_val k = key_val(&prefix), v;
    int64_t now = clock_now();
    int result = 0, more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && key_within(&k, &prefix) && *count < max && *bytes < MOST_BYTES && result == 0;
         more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        if (!expired(&v, now)) {
            if (!slice_is(call_api((lb_slice){v.mv_data, v.mv_size}), c->names[api]))
                continue; /* of an API whose name has the same number */
            c->taken[*count] = copy_value(&c->arena, &v);
            if (!c->taken[*count].data)
                return ENOMEM;
            ++*count;
            *bytes += v.mv_size;
        }
        result = mdb_cursor_del(cursor, 0);
    }
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

/* One transaction: the results that wait, and up to `max` calls. */
static lb_status exchange(consumer *c, store *s, size_t max, int64_t deadline_ns, size_t *count,
                          lb_error *error)
{
    transaction t;
    MDB_cursor *cursor = NULL;
    size_t bytes = 0, taken = 0;
    lb_status status = write_begin(s, STORE_CALLS, room_for(&c->answers), deadline_ns, &t, error);
    if (status != LB_OK)
        return status;
    int result = mdb_cursor_open(t.txn, s->parts[STORE_CALLS].table, &cursor);
    if (result == 0)
        result = put_answers(&c->answers, &t, cursor);
    for (size_t i = 0; i < c->count && result == 0; i++)
        result = take_api(c, i, max, &bytes, &taken, cursor);
    if (cursor)
        mdb_cursor_close(cursor);
    status = write_end(&t, result, "taking calls", error);
    if (status != LB_OK)
        return status;
    wake_clients(&c->answers, s);
    answers_clear(&c->answers);
    *count = taken;
    return LB_OK;
}

static lb_status decode_calls(consumer *c, size_t count, const lb_rpc_message **calls, lb_error *error)
{
    lb_rpc_message *list = arena_alloc(&c->arena, count * sizeof *list);
    for (size_t i = 0; i < count && list; i++)
        if (!get_call(&c->arena, c->taken[i], (size_t)c->bus->options.max_message_size, &list[i]))
            list = NULL;
        else if (!list[i].problem && !caller_of_path(list[i].return_path))
            list[i].problem = "expected a return path of a local bus"; /* not executed: nobody could be told */
    *calls = list;
    return list ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory: %zu calls were lost", count);
}

lb_status local_consumer_fetch(void *self, size_t max, int64_t deadline_ns, const lb_rpc_message **calls,
                               size_t *count, lb_error *error)
{
    consumer *c = self;
    store *s;
    bool woken = false;
    *calls = NULL;
    *count = 0;
    max = max == 0 ? 1 : max > MOST_CALLS ? MOST_CALLS : max;
    arena_reset(&c->arena, KEEP_ARENA);
    lb_status status;
    while ((status = local_store(c->bus, deadline_ns, &s, error)) == LB_OK) {
        wake_set_look(&c->wake, s->wake);
        bool found = c->answers.count > 0;
        if (!found)
            status = peek(c, s, &found, error);
        if (status == LB_OK && found)
            status = exchange(c, s, max, deadline_ns, count, error);
        if (status != LB_OK || *count)
            break;
        if (wake_set_interrupted(&c->wake) || clock_now() >= deadline_ns)
            break;
        if (store_sweep_due(s))
            store_sweep(s);
        if (woken)
            wake_set_pass_on(&c->wake);
        woken = wake_set_wait(&c->wake, deadline_ns);
    }
    return status == LB_OK && *count ? decode_calls(c, *count, calls, error) : status;
}

void local_consumer_interrupt(void *self) { wake_set_interrupt(&((consumer *)self)->wake); }

/* ---- Open, close ------------------------------------------------------------------------------------ */

static void free_consumer(consumer *c)
{
    view_free(&c->view);
    for (size_t i = 0; c->names && i < c->count; i++)
        free(c->names[i]);
    free(c->names);
    free(c->apis);
    answers_free(&c->answers);
    wake_set_free(&c->wake);
    arena_free(&c->arena);
    free(c);
}

lb_status local_consumer_open(void *self, const char *const *api_names, size_t count, int64_t deadline_ns,
                              void **out, lb_error *error)
{
    local_bus *l = self;
    store *s;
    consumer *c = calloc(1, sizeof *c);
    *out = NULL;
    lb_status status =
        c ? local_store(l, deadline_ns, &s, error) : lb_error_set(error, LB_NO_MEMORY, "out of memory");
    if (status != LB_OK) {
        free(c);
        return status;
    }
    c->bus = l;
    c->count = count;
    c->names = calloc(count + 1, sizeof *c->names);
    c->apis = calloc(count + 1, sizeof *c->apis);
    uint64_t *words = calloc(count + 1, sizeof *words);
    bool ok = c->names && c->apis && words;
    for (size_t i = 0; i < count && ok; i++) {
        c->apis[i] = hash_text(slice_of(api_names[i]));
        words[i] = wake_some_of(c->apis[i]);
        ok = (c->names[i] = strdup(api_names[i])) != NULL;
    }
    ok = ok && wake_set_init(&c->wake, words, count ? count : 1); /* without an API: what nobody sends to */
    free(words);
    if (!ok) {
        free_consumer(c);
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    }
    wake_set_look(&c->wake, s->wake);
    *out = c;
    return LB_OK;
}

void local_consumer_close(void *self)
{
    consumer *c = self;
    lb_error error = {0};
    if (!c)
        return;
    if (local_consumer_flush(c, clock_in_ms(CLOSE_MS), &error) != LB_OK)
        lb_log(LB_LOG_ERROR, "%zu results were not sent: %s", c->answers.count, error.message);
    free_consumer(c);
}
