/* The side that is called: takes calls from the queues of some APIs, sends the results.
 *
 * One connection per consumer. The results of the last batch share a write with the next pop. Invariants: one
 * that was popped is given out or dropped, never lost by an interrupt. A result stays in `results` until the
 * server has answered to its push, or to the pop that follows it: a new connection sends it again, which does
 * no harm.
 *
 * A call that may have expired is given out only after its expiry key was deleted by us (S2). No key lives
 * shorter than a millisecond, so a call that was pushed less than that ago lives: its key is deleted with the
 * next write, which saves a round trip. That it is so young follows from `empty_ns`: a pop that took all there
 * was left an empty queue, at the earliest when it was sent; what is in the queue now was pushed after that.
 *
 * Answers to pushes cost the server a write and us a read for each call, and tell nothing unless the push
 * failed. So they are asked for (`quiet` is false) only when the last one is some time ago: that the server is
 * full or forbids it is still seen, a moment later. */
#include <lightbus/log.h>
#include <stdlib.h>

#include "codec.h"
#include "instance.h"
#include "pop.h"
#include "push.h"

enum {
    KEEP_ARENA = 256 * 1024,
    REPLY_LEAST = 4,
    WATCHED_MOST = 16, /* queues; with more, to keep the times costs more than it saves */
};

#define YOUNG_NS CLOCK_MS         /* the shortest life of an expiry key */
#define QUIET_NS (100 * CLOCK_MS) /* so long after a push was answered well, others are not answered */

typedef struct consumer {
    wakeable w;  /* first: interrupt is given a pointer to it */
    char **keys; /* of the queues */
    size_t key_count;
    push_queue results;
    size_t written;  /* results in the write whose answers are outstanding */
    size_t answered; /* of these */
    bool expire_next;
    buffer spent; /* keys to delete with the next write, as arguments of a command */
    size_t spent_count;
    int64_t empty_ns[WATCHED_MOST]; /* of each queue: no call in it was pushed before */
    unsigned empty_on;              /* the connection on which that was seen */
    bool fresh;                     /* the calls popped live: they were pushed a moment ago */
    size_t unasked;                 /* answers in the last write that come only where CLIENT REPLY is refused */
    size_t to_skip;                 /* answers still to come that tell nothing */
    int64_t heard_ns;               /* when a push was last answered well */
    unsigned heard_on;              /* and on which connection */
    unsigned pop_replies, pop_index; /* outstanding while pop_index < pop_replies */
    size_t pop_most;                 /* calls that it asked for */
    int64_t pop_sent_ns, pop_until_ns;
    const reply **popped; /* the blobs of the batch */
    size_t popped_count, popped_capacity;
    arena arena; /* the calls given out */
} consumer;

/* ---- Open and close --------------------------------------------------------------------------------- */

static void free_consumer(consumer *c)
{
    for (size_t i = 0; i < c->key_count; i++)
        free(c->keys[i]);
    free(c->keys);
    free(c->popped);
    push_free(&c->results);
    buffer_free(&c->spent);
    arena_free(&c->arena);
    free(c);
}

lb_status consumer_open(void *self, const char *const *api_names, size_t count, int64_t deadline_ns, void **out,
                        lb_error *error)
{
    consumer *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c || !(c->keys = calloc(count + 1, sizeof *c->keys)))
        goto no_memory;
    for (; c->key_count < count; c->key_count++)
        if (asprintf(&c->keys[c->key_count], "%s:rpc_queue", api_names[c->key_count]) < 0)
            goto no_memory;
    if (!wakeable_init(&c->w, self, error)) {
        free_consumer(c);
        return LB_SYSTEM;
    }
    lb_status status = conn_ready(&c->w.conn, deadline_ns, error);
    if (status != LB_OK) {
        wakeable_free(&c->w);
        free_consumer(c);
        return status;
    }
    *out = c;
    return LB_OK;
no_memory:
    if (c)
        free_consumer(c);
    return lb_error_set(error, LB_NO_MEMORY, "out of memory for a consumer");
}

void consumer_interrupt(void *self) { wakeable_interrupt(&((consumer *)self)->w); }

/* ---- Results ---------------------------------------------------------------------------------------- */

static lb_status add_result(push_queue *q, size_t most, const lb_result_message *result, lb_error *error)
{
    size_t scheme = strlen(RETURN_SCHEME);
    lb_slice path = result->return_path;
    if (path.size <= scheme || memcmp(path.data, RETURN_SCHEME, scheme) != 0)
        return lb_error_set(error, LB_MALFORMED, "call %.*s: expected a return path that begins with %s",
                            (int)result->rpc_message_id.size, result->rpc_message_id.data, RETURN_SCHEME);
    push *item = push_begin(q, (lb_slice){path.data + scheme, path.size - scheme}, "", result->rpc_message_id);
    if (item)
        encode_result(&q->text, result);
    size_t size = item ? push_end(q, item) : 0;
    if (!size)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a result");
    if (size <= most)
        return LB_OK;
    push_truncate(q, q->count - 1);
    return lb_error_set(error, LB_TOO_LARGE,
                        "the result of call %.*s takes %zu bytes, more than max_message_size (%zu)",
                        (int)result->rpc_message_id.size, result->rpc_message_id.data, size, most);
}

static void write_skip(conn *c, bool quiet)
{
    if (quiet)
        command_of(&c->out, "CLIENT", "REPLY", "SKIP", NULL);
}

/* Writes all results: one push and one expiry for each run. Returns the number of replies; when quiet, of those
 * that come where CLIENT REPLY is refused. */
static size_t write_results(conn *c, const push_queue *q, bool quiet)
{
    size_t replies = 0;
    for (size_t i = 0, end; i < q->count; i = end, replies += quiet ? 4 : 2) {
        end = push_run(q, i, q->count);
        write_skip(c, quiet);
        push_write(q, &c->out, "LPUSH", i, end);
        write_skip(c, quiet);
        command_begin(&c->out, 3);
        command_str(&c->out, "PEXPIRE");
        command_slice(&c->out, push_key(q, &q->items[i]));
        command_int(&c->out, c->options->result_ttl_ms);
    }
    return replies;
}

static void log_refused(conn *c, const push_queue *q, size_t start, size_t end, const reply *r)
{
    lb_error why = {0};
    conn_reply_error(c, r, "refused", &why);
    for (size_t i = start; i < end; i++) {
        lb_slice id = push_id(q, &q->items[i]);
        lb_log(LB_LOG_ERROR, "the result of call %.*s was not sent: %s", (int)id.size, id.data, why.message);
    }
}

/* Deletes the keys of calls that were given out. If the connection breaks, they expire. Returns the number of
 * replies, as write_results does. */
static size_t write_spent(consumer *c, conn *to, bool quiet)
{
    size_t replies = 0;
    if (c->spent_count && !c->spent.failed) {
        write_skip(to, quiet);
        command_begin(&to->out, 1 + c->spent_count);
        command_str(&to->out, "DEL");
        buffer_add(&to->out, c->spent.data, c->spent.size);
        replies = quiet ? 2 : 1;
    }
    c->spent.failed = false;
    c->spent_count = 0;
    buffer_clear(&c->spent, KEEP_ARENA);
    return replies;
}

/* Sends results at once, on the control connection; of a consumer, or of any thread (NULL). */
static lb_status send_results_now(redis *r, consumer *of, const push_queue *q, int64_t deadline_ns,
                                  lb_error *error)
{
    int64_t until = answer_deadline(deadline_ns);
    bool some = q->count || (of && of->spent_count);
    conn *c = some ? control_lock(r, deadline_ns, error) : NULL;
    if (!c)
        return some ? (error ? error->status : LB_TRANSPORT) : LB_OK;
    size_t replies = of ? write_spent(of, c, false) : 0;
    replies += write_results(c, q, false);
    lb_status status = conn_exchange(c, replies, "sending a result", until, NULL, error);
    control_unlock(r);
    return status;
}

lb_status results_send(void *self, void *consumer_of_thread, const lb_result_message *results, size_t count,
                       int64_t deadline_ns, lb_error *error)
{
    redis *r = self;
    consumer *c = consumer_of_thread;
    push_queue now = {0}, *q = c ? &c->results : &now;
    lb_error first = {0}, *why = error ? error : &first;
    lb_status failed = LB_OK;
    for (size_t i = 0; i < count; i++) {
        lb_status status = add_result(q, (size_t)r->options.max_message_size, &results[i], why);
        failed = failed == LB_OK ? status : failed;
    }
    if (!c) {
        lb_status status = send_results_now(r, NULL, &now, deadline_ns, why);
        failed = failed == LB_OK ? status : failed;
        push_free(&now);
    }
    return failed;
}

static bool answers_due(const consumer *c) { return c->answered < c->written; }

static void note_heard(consumer *c)
{
    c->heard_ns = clock_now();
    c->heard_on = c->w.conn.serial;
}

/* Whether the server may leave the next pushes unanswered. */
static bool may_be_quiet(const consumer *c)
{
    const conn *k = &c->w.conn;
    return c->heard_on == k->serial && clock_now() - c->heard_ns < QUIET_NS &&
           !__atomic_load_n(&k->features->no_skip, __ATOMIC_RELAXED);
}

/* The server has gone on to what follows the results in the write. */
static void results_passed(consumer *c)
{
    if (c->written)
        push_forget(&c->results, c->written);
    c->written = c->answered = c->unasked = 0;
}

/* True for a reply that tells nothing, or was not to come. */
static bool skip_reply(consumer *c, const reply *r)
{
    if (c->unasked && (reply_is_error_of(r, "NOPERM") || reply_is_error_of(r, "ERR"))) {
        __atomic_store_n(&c->w.conn.features->no_skip, 1, __ATOMIC_RELAXED);
        c->to_skip = c->unasked;
        c->unasked = 0;
    }
    if (!c->to_skip)
        return false;
    c->to_skip--;
    return true;
}

/* One reply of the results that were written: alternately of a push and of its expiry. */
static void note_answer(consumer *c, const reply *r)
{
    size_t end = push_run(&c->results, c->answered, c->written);
    if (c->expire_next)
        c->answered = end;
    else if (reply_is_error(r))
        log_refused(&c->w.conn, &c->results, c->answered, end, r);
    else
        note_heard(c);
    c->expire_next = !c->expire_next;
    if (!answers_due(c)) {
        push_forget(&c->results, c->written);
        c->written = c->answered = 0;
    }
}

lb_status consumer_flush(void *self, int64_t deadline_ns, lb_error *error)
{
    consumer *c = self;
    if (c->written) /* in a write whose answers have not come: the fetch goes on with them */
        return LB_OK;
    lb_status status = send_results_now(c->w.owner, c, &c->results, deadline_ns, error);
    if (status == LB_OK)
        push_clear(&c->results);
    return status;
}

/* ---- Fetching --------------------------------------------------------------------------------------- */

static bool popping(const consumer *c) { return c->pop_index < c->pop_replies; }

static void forget_outstanding(consumer *c)
{
    c->pop_replies = c->pop_index = 0;
    c->written = c->answered = 0;
    c->expire_next = false;
    c->unasked = c->to_skip = 0;
}

/* One write: what is left of the last batch, and the pop. */
static lb_status write_pop(consumer *c, size_t max, int64_t deadline_ns, bool wait, lb_error *error)
{
    conn *k = &c->w.conn;
    lb_status status = conn_ready(k, deadline_ns, error);
    if (status != LB_OK)
        return status;
    bool quiet = may_be_quiet(c);
    size_t deleted = write_spent(c, k, quiet), replies = write_results(k, &c->results, quiet);
    if (!quiet)
        conn_expect(k, (deleted + replies) * REPLY_LEAST);
    conn_expect(k, 1); /* something of the pop's */
    c->unasked = quiet ? deleted + replies : 0;
    c->to_skip = quiet ? 0 : deleted;
    c->written = c->results.count;
    c->answered = quiet ? c->written : 0;
    int64_t now = clock_now(), block = wait ? block_ms(c->w.owner, deadline_ns) : 0;
    if (c->empty_on != k->serial)
        memset(c->empty_ns, 0, sizeof c->empty_ns); /* who knows what happened in between */
    c->empty_on = k->serial;
    c->fresh = false;
    c->pop_most = max;
    c->pop_sent_ns = now;
    c->pop_replies = pop_write(k, (const char *const *)c->keys, c->key_count, POP_LEFT, max, block);
    c->pop_index = 0;
    c->pop_until_ns = now + (block + BLOCK_MARGIN_MS) * CLOCK_MS;
    status = conn_send(k, c->pop_until_ns, NULL, error);
    if (status != LB_OK)
        forget_outstanding(c);
    return status;
}

static bool keep_popped(consumer *c, const reply *messages)
{
    for (const reply *m = messages; m; m = m->next) {
        if (c->popped_count == c->popped_capacity) {
            size_t capacity = c->popped_capacity ? c->popped_capacity * 2 : 64;
            const reply **popped = realloc(c->popped, capacity * sizeof *popped);
            if (!popped)
                return false;
            c->popped = popped;
            c->popped_capacity = capacity;
        }
        c->popped[c->popped_count++] = m;
    }
    return true;
}

/* What the reply of a pop tells: the queues before the one that had calls were empty, and that one is if these
 * were all. */
static void note_empty(consumer *c, const reply *r)
{
    const reply *name = reply_first(r);
    size_t from = 0;
    if (c->key_count > WATCHED_MOST || c->pop_replies != 1)
        return;
    while (from < c->key_count && !(name && slice_equal(reply_text(name), slice_of(c->keys[from]))))
        c->empty_ns[from++] = c->pop_sent_ns;
    if (from == c->key_count)
        return;
    c->fresh = clock_now() - c->empty_ns[from] < YOUNG_NS;
    if (c->popped_count < c->pop_most)
        c->empty_ns[from] = c->pop_sent_ns;
}

/* The pop was refused, and so may be the pushes before it, or what was to leave them unanswered: then there are
 * more answers than expected. The results go again on another connection, where they are answered. */
static lb_status refused_unheard(consumer *c, const reply *r, lb_error *error)
{
    lb_status status = conn_reply_error(&c->w.conn, r, "taking calls", error);
    conn_drop(&c->w.conn);
    forget_outstanding(c);
    return status;
}

/* Reads until the pop has been answered; *woken is set when an interrupt had it end early. */
static lb_status read_pop(consumer *c, int64_t deadline_ns, bool *woken, lb_error *error)
{
    conn *k = &c->w.conn;
    const reply *r;
    while (popping(c)) {
        int64_t late =
            deadline_ns > INT64_MAX - GRACE_MS * CLOCK_MS ? deadline_ns : deadline_ns + GRACE_MS * CLOCK_MS;
        lb_status status = conn_receive(k, late < c->pop_until_ns ? late : c->pop_until_ns, &r, error);
        if (status == LB_TIMEOUT && clock_now() >= c->pop_until_ns) {
            conn_drop(k); /* S31 */
            status = lb_error_set(error, LB_TRANSPORT, "%s: the server does not answer", k->options->place);
        }
        if (status == LB_CANCELED) {
            *woken = true;
            wakeable_forget(&c->w);
            wakeable_unblock(&c->w);
            deadline_ns = c->pop_until_ns - GRACE_MS * CLOCK_MS;
            continue;
        }
        if (status == LB_TRANSPORT)
            forget_outstanding(c);
        if (status != LB_OK)
            return status;
        if (skip_reply(c, r))
            continue;
        if (answers_due(c)) {
            note_answer(c, r);
            continue;
        }
        if (reply_is_error(r) && c->unasked)
            return refused_unheard(c, r, error);
        results_passed(c);
        if (reply_is_error(r))
            status = conn_reply_error(k, r, "taking calls", error);
        else if (!keep_popped(c, pop_messages(r, c->pop_index)))
            status = lb_error_set(error, LB_NO_MEMORY, "out of memory for calls");
        else
            note_empty(c, r);
        c->pop_index++;
        if (status != LB_OK)
            return status;
    }
    return LB_OK;
}

/* The keys of calls that live: they go with the next write. */
static void spend_keys(consumer *c, const lb_rpc_message *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!calls[i].id.size)
            continue;
        command_prefixed(&c->spent, EXPIRY_PREFIX, calls[i].id);
        c->spent_count++;
    }
}

/* Deletes the expiry keys of the calls; those that had none any more are dropped (S2). */
static lb_status claim_calls(consumer *c, lb_rpc_message *calls, size_t *count, lb_error *error)
{
    conn *k = &c->w.conn;
    int64_t until = clock_in_ms(ANSWER_MS);
    size_t asked = 0, kept = 0;
    lb_status status = k->fd < 0 ? conn_ready(k, until, error) : LB_OK; /* it broke after they had come */
    for (size_t i = 0; i < *count; i++) {
        if (!calls[i].id.size)
            continue;
        command_begin(&k->out, 2);
        command_str(&k->out, "DEL");
        command_prefixed(&k->out, EXPIRY_PREFIX, calls[i].id);
        asked++;
    }
    if (!asked)
        return LB_OK;
    if (status == LB_OK)
        status = conn_send(k, until, NULL, error);
    for (size_t i = 0; i < *count && status == LB_OK; i++) {
        const reply *r = NULL;
        if (calls[i].id.size)
            status = conn_answer(k, until, &r, error);
        if (status != LB_OK)
            break;
        if (r && reply_is_error(r)) {
            lb_error why = {0};
            conn_reply_error(k, r, "claiming a call", &why);
            lb_log(LB_LOG_ERROR, "call %.*s was dropped: %s", (int)calls[i].id.size, calls[i].id.data,
                   why.message);
        } else if (r && reply_integer(r) == 0) {
            lb_log(LB_LOG_DEBUG, "call %.*s was dropped: its deadline has passed", (int)calls[i].id.size,
                   calls[i].id.data);
        } else {
            calls[kept++] = calls[i];
        }
    }
    if (status != LB_OK) { /* the keys may be gone: whoever called will see the deadline pass (S1) */
        lb_log(LB_LOG_WARNING, "%zu calls were lost with the connection", *count - kept);
        forget_outstanding(c);
    }
    *count = kept;
    return kept ? LB_OK : status;
}

/* The calls in the batch popped. */
static lb_status decode_calls(consumer *c, const lb_rpc_message **calls, size_t *count, lb_error *error)
{
    size_t n = c->popped_count;
    lb_rpc_message *list = arena_alloc(&c->arena, n * sizeof *list);
    for (size_t i = 0; i < n && list; i++) {
        lb_slice text = reply_is_text(c->popped[i]) ? c->popped[i]->as.text : (lb_slice){"", 0};
        if (!decode_call(&c->arena, text, c->w.conn.in.most, &list[i]))
            list = NULL;
    }
    c->popped_count = 0;
    if (!list)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory: %zu calls were lost", n);
    *calls = list;
    *count = n;
    if (!c->fresh)
        return claim_calls(c, list, count, error);
    spend_keys(c, list, n);
    return LB_OK;
}

lb_status consumer_fetch(void *self, size_t max, int64_t deadline_ns, const lb_rpc_message **calls,
                         size_t *count, lb_error *error)
{
    consumer *c = self;
    bool wait = deadline_ns > clock_now(), woken = wakeable_take(&c->w);
    lb_status status = LB_OK;
    *calls = NULL;
    *count = 0;
    if (!c->popped_count)
        conn_release(&c->w.conn);
    arena_reset(&c->arena, KEEP_ARENA);
    do {
        if (!popping(c))
            status = write_pop(c, max ? max : 1, deadline_ns, wait && !woken, error);
        else if (woken)
            wakeable_unblock(&c->w);
        if (status == LB_OK)
            status = read_pop(c, deadline_ns, &woken, error);
        if (c->popped_count && !popping(c)) /* whatever happened after: these were taken */
            status = decode_calls(c, calls, count, error);
        woken = woken || wakeable_take(&c->w);
    } while (status == LB_OK && *count == 0 && !woken && clock_now() < deadline_ns);
    return status == LB_TIMEOUT ? LB_OK : status;
}

void consumer_close(void *self)
{
    consumer *c = self;
    lb_error error = {0};
    if (!c)
        return;
    /* A pop that is still outstanding may take calls that nobody would run: end it now. */
    if (popping(c)) {
        const lb_rpc_message *calls;
        size_t count;
        wakeable_interrupt(&c->w);
        if (consumer_fetch(c, 1, clock_in_ms(CLOSE_MS), &calls, &count, &error) == LB_OK && count)
            lb_log(LB_LOG_WARNING, "%zu calls came too late for this worker and were dropped", count);
    }
    if (consumer_flush(c, clock_in_ms(CLOSE_MS), &error) != LB_OK)
        lb_log(LB_LOG_ERROR, "%zu results were not sent: %s", c->results.count, error.message);
    wakeable_free(&c->w);
    free_consumer(c);
}
