/* The calling side: sends calls, takes results.
 *
 * Results of all calls of an instance come to one list, named in `return_path`. Two connections: A belongs to
 * `fetch`, and carries the calls that wait together with the blocking pop of the results, in one write; B
 * carries what has to go out while A is blocked.
 *
 * Invariants: a call leaves `pending` before its bytes may leave the process, and never comes back unless it is
 * certain that none did (S1). A pop that was sent stays outstanding over returns of `fetch` until its reply
 * came or its time is over. What a server refused after `send` had returned is in `refused`, and `wake_fd` says
 * so to a fetch that waits. Locks: b_lock before lock. */
#include <errno.h>
#include <lightbus/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "codec.h"
#include "instance.h"
#include "limit.h"
#include "pop.h"
#include "push.h"

enum { RESULTS_MOST = 256, KEEP_ARENA = 256 * 1024, WITHDRAW_MS = 200, REPLY_OF_SET = 5, REPLY_OF_PUSH = 4 };

#define QUEUE_SUFFIX ":rpc_queue"

typedef struct refusal {
    struct refusal *next;
    lb_status status;
    char reason[256];
    char id[]; /* the call's */
} refusal;

/* Reads the answers to calls that were written: a SET for each, then a push for each run. */
typedef struct answers {
    size_t sets, pushes; /* answered so far: calls by SET, calls by push */
} answers;

typedef struct caller {
    redis *redis;
    char path[sizeof RETURN_SCHEME + 64]; /* return path; the list's name is its end */
    const char *key;
    int wake_fd;

    pthread_mutex_t lock; /* guards the next two */
    push_queue pending;   /* calls that wait for a write */
    refusal *refused;

    conn a; /* the fields from here on belong to fetch */
    push_queue in_flight;
    answers answered;
    lb_error why;                    /* the last refusal of those in flight */
    unsigned pop_replies, pop_index; /* outstanding while pop_index < pop_replies */
    int64_t pop_until_ns;            /* by when it must have been answered */
    arena arena;                     /* the results given out */
    atomic_bool sent_aside;          /* calls went out on B since the last pop: their results come together */

    pthread_mutex_t b_lock; /* guards the next two */
    conn b;
    push_queue urgent;
} caller;

static caller *caller_of(void *self) { return ((redis *)self)->caller; }

static void new_path(caller *c)
{
    char id[UUID_TEXT + 1];
    uuid_text(id);
    snprintf(c->path, sizeof c->path, "%slightbus:results:%s", RETURN_SCHEME, id);
    c->key = c->path + strlen(RETURN_SCHEME);
}

static void caller_init(caller *c, redis *r)
{
    *c = (caller){.redis = r, .wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->b_lock, NULL);
    conn_init(&c->a, &r->options, &r->features, r->tls, c->wake_fd);
    conn_init(&c->b, &r->options, &r->features, r->tls, -1);
    new_path(c);
}

caller *caller_open(redis *r, lb_error *error)
{
    caller *c = calloc(1, sizeof *c);
    if (c)
        caller_init(c, r);
    if (!c || c->wake_fd < 0) {
        lb_error_set(error, LB_NO_MEMORY, "no memory or no descriptor for a transport");
        free(c);
        return NULL;
    }
    return c;
}

static void free_refusals(refusal *list)
{
    while (list) {
        refusal *next = list->next;
        free(list);
        list = next;
    }
}

void caller_close(caller *c)
{
    if (!c)
        return;
    conn_close(&c->a);
    conn_close(&c->b);
    close(c->wake_fd);
    push_free(&c->pending);
    push_free(&c->in_flight);
    push_free(&c->urgent);
    free_refusals(c->refused);
    arena_free(&c->arena);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->b_lock);
    free(c);
}

/* What was in flight is the parent's; see after_fork in redis.c. */
void caller_after_fork(caller *c)
{
    leave_memory_of(c, sizeof *c);
    close(c->wake_fd);
    conn_abandon(&c->a);
    conn_abandon(&c->b);
    caller_init(c, c->redis);
}

lb_slice caller_return_path(void *self) { return slice_of(caller_of(self)->path); }

int caller_descriptor(void *self) { return caller_of(self)->a.fd; }

/* ---- Refusals --------------------------------------------------------------------------------------- */

static void refuse(caller *c, lb_slice id, lb_status status, const char *reason)
{
    const uint64_t one = 1;
    refusal *r = malloc(sizeof *r + id.size + 1);
    if (!r)
        return; /* the caller will see its deadline pass */
    r->status = status;
    snprintf(r->reason, sizeof r->reason, "%s", reason);
    memcpy(r->id, id.data, id.size);
    r->id[id.size] = '\0';
    pthread_mutex_lock(&c->lock);
    r->next = c->refused;
    c->refused = r;
    pthread_mutex_unlock(&c->lock);
    if (write(c->wake_fd, &one, sizeof one) < 0)
        lb_log(LB_LOG_DEBUG, "waking a fetch: errno %d", errno);
}

/* Gives refusals out as results; false when there are none. */
static bool take_refused(caller *c, const lb_result_message **results, size_t *count)
{
    pthread_mutex_lock(&c->lock);
    refusal *list = c->refused;
    c->refused = NULL;
    pthread_mutex_unlock(&c->lock);
    size_t n = 0;
    for (refusal *r = list; r; r = r->next)
        n++;
    lb_result_message *messages = n ? arena_alloc(&c->arena, n * sizeof *messages) : NULL;
    *count = 0;
    for (refusal *r = list; messages && r; r = r->next) {
        const char *id = arena_copy(&c->arena, r->id, strlen(r->id));
        const char *reason = arena_copy(&c->arena, r->reason, strlen(r->reason));
        if (id && reason)
            messages[(*count)++] = (lb_result_message){.id = {"", 0},
                                                       .rpc_message_id = slice_of(id),
                                                       .trace = {"", 0},
                                                       .status = r->status,
                                                       .problem = reason};
    }
    free_refusals(list);
    *results = messages;
    return *count > 0;
}

/* ---- Writing calls and reading the answers ---------------------------------------------------------- */

/* Those whose deadline has passed are not sent (S2). */
static void drop_expired(push_queue *q)
{
    int64_t now = clock_now();
    size_t kept = 0;
    for (size_t i = 0; i < q->count; i++)
        if (q->items[i].deadline_ns > now)
            q->items[kept++] = q->items[i];
    q->count = kept;
}

/* Every call's expiry key first, then the calls: a worker that is fast must find the key. */
static void write_calls(conn *c, const push_queue *q)
{
    int64_t now = clock_now();
    for (size_t i = 0; i < q->count; i++) {
        const push *item = &q->items[i];
        int64_t ms = item->deadline_ns == LB_FOREVER ? 0 : (item->deadline_ns - now + CLOCK_MS - 1) / CLOCK_MS;
        command_begin(&c->out, ms ? 5 : 3);
        command_str(&c->out, "SET");
        command_prefixed(&c->out, EXPIRY_PREFIX, push_id(q, item));
        command_str(&c->out, "1");
        if (ms) {
            command_str(&c->out, "PX");
            command_int(&c->out, ms > 0 ? ms : 1);
        }
        conn_expect(c, REPLY_OF_SET);
    }
    for (size_t i = 0, end; i < q->count; i = end) {
        end = push_run(q, i, q->count);
        push_write(q, &c->out, "RPUSH", i, end);
        conn_expect(c, REPLY_OF_PUSH);
    }
}

static bool all_answered(const answers *a, const push_queue *q) { return a->pushes == q->count; }

/* Notes one answer. A call is refused when its push was, or when its key was and it could be taken out of the
 * queue again; those are told to fetch if `tell`. *why stays from one answer to the next. */
static void note_answer(caller *c, conn *from, push_queue *q, answers *a, const reply *r, bool tell,
                        lb_error *why)
{
    bool pushed = a->sets == q->count;
    size_t start = pushed ? a->pushes : a->sets, end = pushed ? push_run(q, start, q->count) : start + 1;
    *(pushed ? &a->pushes : &a->sets) = end;
    if (reply_is_error(r)) {
        conn_reply_error(from, r, "the call was refused", why);
        for (size_t i = start; i < end; i++)
            q->items[i].refused = true;
    } else if (pushed) {
        limit_enforce(c->redis, q, start, end, reply_integer(r), why);
    }
    for (size_t i = start; pushed && tell && i < end; i++)
        if (q->items[i].refused)
            refuse(c, push_id(q, &q->items[i]), why->status, why->message);
}

static size_t count_refused(const push_queue *q)
{
    size_t refused = 0;
    for (size_t i = 0; i < q->count; i++)
        refused += q->items[i].refused;
    return refused;
}

/* Sends calls on B and waits for the answers. A failure: none was sent, or all were refused. */
static lb_status send_urgent(caller *c, int64_t deadline_ns, lb_error *error)
{
    push_queue *q = &c->urgent;
    answers answered = {0, 0};
    bool started = false;
    lb_error why = {0};
    const reply *r;
    lb_status status = conn_ready(&c->b, deadline_ns, error);
    if (status != LB_OK)
        return status;
    conn_release(&c->b);
    atomic_store(&c->sent_aside, true);
    write_calls(&c->b, q);
    int64_t until = answer_deadline(deadline_ns);
    status = conn_send(&c->b, until, &started, error);
    if (status != LB_OK)
        return started ? LB_OK : status;
    while (status == LB_OK && !all_answered(&answered, q)) {
        status = conn_answer(&c->b, until, &r, &why);
        if (status == LB_OK)
            note_answer(c, &c->b, q, &answered, r, false, &why);
    }
    for (size_t i = answered.pushes; i < q->count; i++)
        q->items[i].refused = false; /* who knows */
    size_t refused = count_refused(q);
    if (refused && refused == q->count) {
        if (error)
            *error = why;
        return why.status;
    }
    for (size_t i = 0; refused && i < q->count; i++)
        if (q->items[i].refused)
            refuse(c, push_id(q, &q->items[i]), why.status, why.message);
    return LB_OK;
}

/* Calls that could not be sent: their senders are told, through fetch. */
static void refuse_all(caller *c, push_queue *q, lb_status status, const char *reason)
{
    for (size_t i = 0; i < q->count; i++)
        refuse(c, push_id(q, &q->items[i]), status, reason);
    push_clear(q);
}

/* Moves what is pending into a queue that is to be written. */
static void take_pending(caller *c, push_queue *to)
{
    push_clear(to);
    pthread_mutex_lock(&c->lock);
    push_swap(&c->pending, to);
    pthread_mutex_unlock(&c->lock);
    drop_expired(to);
}

/* They were not written after all. */
static void put_back(caller *c, push_queue *from)
{
    pthread_mutex_lock(&c->lock);
    if (!push_append(&c->pending, from))
        lb_log(LB_LOG_ERROR, "out of memory: %zu calls were not sent", from->count);
    pthread_mutex_unlock(&c->lock);
}

/* Calls whose sender does not look any more: what the server refused is reported, the rest waits for the next
 * write. */
static void not_sent(caller *c, push_queue *q, lb_status status, const char *reason)
{
    for (size_t i = 0; i < q->count; i++)
        if (q->items[i].refused)
            refuse(c, push_id(q, &q->items[i]), status, reason);
    if (!count_refused(q)) /* all were refused, or none */
        put_back(c, q);
}

static lb_status add_call(caller *c, push_queue *q, const lb_rpc_message *call, lb_error *error)
{
    size_t most = (size_t)c->redis->options.max_message_size;
    push *item = push_begin(q, call->api_name, QUEUE_SUFFIX, call->id);
    if (item) {
        item->deadline_ns = call->deadline_ns;
        encode_call(&q->text, call);
    }
    size_t size = item ? push_end(q, item) : 0;
    if (!size)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a call");
    if (size <= most)
        return LB_OK;
    push_truncate(q, q->count - 1);
    return lb_error_set(error, LB_TOO_LARGE,
                        "the call of %.*s.%.*s takes %zu bytes, more than max_message_size (%zu)",
                        (int)call->api_name.size, call->api_name.data, (int)call->procedure_name.size,
                        call->procedure_name.data, size, most);
}

/* Adds calls to a queue. One that cannot be sent is refused by itself, unless it is alone. */
static lb_status add_calls(caller *c, push_queue *q, const lb_rpc_message *const *calls, size_t count,
                           lb_error *error)
{
    lb_error why = {0};
    for (size_t i = 0; i < count; i++) {
        lb_status status = add_call(c, q, calls[i], count == 1 ? error : &why);
        if (status != LB_OK && count == 1)
            return status;
        if (status != LB_OK)
            refuse(c, calls[i]->id, status, why.message);
    }
    return LB_OK;
}

lb_status caller_send(void *self, const lb_rpc_message *const *calls, size_t count, bool now,
                      int64_t deadline_ns, lb_error *error)
{
    caller *c = caller_of(self);
    lb_error why = {0};
    lb_status status;
    if (!now) {
        push_queue alone = {0};
        pthread_mutex_lock(&c->lock);
        push_swap(&alone, &c->pending); /* refuse() takes the lock */
        pthread_mutex_unlock(&c->lock);
        status = add_calls(c, &alone, calls, count, error);
        put_back(c, &alone);
        push_free(&alone);
        return status;
    }
    pthread_mutex_lock(&c->b_lock);
    take_pending(c, &c->urgent);
    size_t before = c->urgent.count;
    status = add_calls(c, &c->urgent, calls, count, &why);
    if (status == LB_OK && c->urgent.count)
        status = send_urgent(c, deadline_ns, &why);
    if (status != LB_OK) {
        push_truncate(&c->urgent, before); /* send had accepted those before */
        not_sent(c, &c->urgent, status, why.message);
        if (error)
            *error = why;
    }
    push_clear(&c->urgent);
    pthread_mutex_unlock(&c->b_lock);
    return status;
}

/* ---- Withdrawing ------------------------------------------------------------------------------------ */

static bool remove_pending(caller *c, lb_slice id)
{
    bool found = false;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->pending.count && !found; i++) {
        found = slice_equal(push_id(&c->pending, &c->pending.items[i]), id);
        if (found)
            c->pending.items[i].deadline_ns = INT64_MIN; /* as if expired */
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

void caller_withdraw(void *self, const lb_rpc_message *const *calls, size_t count)
{
    caller *c = caller_of(self);
    lb_error error = {0};
    size_t sent = 0;
    int64_t deadline = clock_in_ms(WITHDRAW_MS);
    pthread_mutex_lock(&c->b_lock);
    push_clear(&c->urgent);
    for (size_t i = 0; i < count; i++)
        if (!remove_pending(c, calls[i]->id) && add_call(c, &c->urgent, calls[i], &error) == LB_OK)
            sent++;
    if (sent && conn_ready(&c->b, deadline, &error) == LB_OK) {
        conn_release(&c->b);
        for (size_t i = 0; i < sent; i++) {
            const push *item = &c->urgent.items[i];
            command_begin(&c->b.out, 4);
            command_str(&c->b.out, "LREM");
            command_slice(&c->b.out, push_key(&c->urgent, item));
            command_str(&c->b.out, "1");
            command_arg(&c->b.out, c->urgent.text.data + item->blob, item->blob_size);
            command_begin(&c->b.out, 2);
            command_str(&c->b.out, "DEL");
            command_prefixed(&c->b.out, EXPIRY_PREFIX, push_id(&c->urgent, item));
        }
        if (conn_exchange(&c->b, 2 * sent, "withdrawing calls", deadline, NULL, &error) != LB_OK)
            lb_log(LB_LOG_DEBUG, "%s", error.message);
    }
    push_clear(&c->urgent);
    pthread_mutex_unlock(&c->b_lock);
}

/* ---- Fetching results ------------------------------------------------------------------------------- */

static bool popping(const caller *c) { return c->pop_index < c->pop_replies; }

/* One write: the calls that wait, and the pop. */
static lb_status write_pop(caller *c, int64_t deadline_ns, lb_error *error)
{
    bool started = false;
    int64_t now = clock_now();
    lb_error why = {0};
    lb_status status = conn_ready(&c->a, deadline_ns, &why);
    take_pending(c, &c->in_flight);
    if (status != LB_OK) {
        if (error)
            *error = why;
        if (!c->in_flight.count)
            return status;
        refuse_all(c, &c->in_flight, status, why.message);
        return LB_OK;
    }
    c->answered = (answers){0, 0};
    write_calls(&c->a, &c->in_flight);
    conn_expect(&c->a, 1); /* and something of the pop's reply */
    int64_t block = deadline_ns <= now ? BLOCK_MOST_MS : block_ms(c->redis, deadline_ns);
    size_t most = c->in_flight.count == 1 && !atomic_exchange(&c->sent_aside, false) ? 1 : RESULTS_MOST;
    c->pop_replies = pop_write(&c->a, &c->key, 1, POP_RIGHT, most, block);
    c->pop_index = 0;
    c->pop_until_ns = now + (block + BLOCK_MARGIN_MS) * CLOCK_MS;
    status = conn_send(&c->a, answer_deadline(deadline_ns), &started, error);
    if (status != LB_OK) {
        c->pop_replies = 0;
        if (started)
            push_clear(&c->in_flight); /* they may have arrived: not again (S1) */
        else
            put_back(c, &c->in_flight);
    }
    return status;
}

/* Calls that came while the pop blocks A. */
static lb_status send_aside(caller *c, int64_t deadline_ns)
{
    pthread_mutex_lock(&c->lock);
    bool some = c->pending.count > 0;
    pthread_mutex_unlock(&c->lock);
    if (!some)
        return LB_OK;
    pthread_mutex_lock(&c->b_lock);
    take_pending(c, &c->urgent);
    lb_error why = {0};
    lb_status status = c->urgent.count ? send_urgent(c, deadline_ns, &why) : LB_OK;
    if (status != LB_OK)
        not_sent(c, &c->urgent, status, why.message);
    push_clear(&c->urgent);
    pthread_mutex_unlock(&c->b_lock);
    return LB_OK; /* what was not sent waits for the next fetch, which A will have to reconnect for as well */
}

/* Adds the results in a reply of the pop. */
static lb_status read_results(caller *c, const reply *r, const lb_result_message **results, size_t *count,
                              lb_error *error)
{
    size_t n = 0;
    const reply *messages = pop_messages(r, c->pop_index);
    for (const reply *m = messages; m; m = m->next)
        n++;
    if (!n)
        return LB_OK;
    lb_result_message *list = arena_alloc(&c->arena, (*count + n) * sizeof *list);
    if (list && *count) /* of the reply before */
        memcpy(list, *results, *count * sizeof *list);
    for (const reply *m = messages; m && list; m = m->next) {
        lb_slice text = reply_is_text(m) ? m->as.text : (lb_slice){"", 0};
        if (!decode_result(&c->arena, text, c->a.in.most, &list[*count]))
            list = NULL;
        else
            ++*count;
    }
    *results = list;
    if (list)
        return LB_OK;
    *count = 0;
    return lb_error_set(error, LB_NO_MEMORY, "out of memory for results");
}

/* Reads replies until results came, the pop is over, or the deadline. */
static lb_status read_pop(caller *c, int64_t deadline_ns, const lb_result_message **results, size_t *count,
                          lb_error *error)
{
    const reply *r;
    int64_t until = deadline_ns < c->pop_until_ns ? deadline_ns : c->pop_until_ns;
    while (popping(c)) {
        lb_status status = conn_receive(&c->a, until, &r, error);
        if (status == LB_TIMEOUT && clock_now() >= c->pop_until_ns) {
            conn_drop(&c->a);
            status =
                lb_error_set(error, LB_TRANSPORT, "%s: the server does not answer", c->redis->options.place);
        }
        if (status == LB_TRANSPORT) {
            c->pop_replies = 0;
            push_clear(&c->in_flight);
        }
        if (status != LB_OK)
            return status;
        if (!all_answered(&c->answered, &c->in_flight)) {
            note_answer(c, &c->a, &c->in_flight, &c->answered, r, true, &c->why);
            continue;
        }
        if (reply_is_error(r))
            status = conn_reply_error(&c->a, r, "taking results", error);
        else
            status = read_results(c, r, results, count, error);
        c->pop_index++;
        if (status != LB_OK)
            return status;
    }
    return LB_OK;
}

lb_status caller_fetch(void *self, int64_t deadline_ns, const lb_result_message **results, size_t *count,
                       lb_error *error)
{
    caller *c = caller_of(self);
    bool only_look = deadline_ns <= clock_now();
    int64_t until = only_look || deadline_ns == LB_FOREVER ? deadline_ns : deadline_ns + GRACE_MS * CLOCK_MS;
    lb_status status = LB_OK;
    conn_release(&c->a);
    arena_reset(&c->arena, KEEP_ARENA);
    *count = 0;
    *results = NULL;
    while (status == LB_OK && *count == 0 && !take_refused(c, results, count)) {
        status = popping(c) ? send_aside(c, deadline_ns) : write_pop(c, deadline_ns, error);
        if (status == LB_OK)
            status = read_pop(c, until, results, count, error);
        if (status == LB_CANCELED) {
            uint64_t woken;
            status = read(c->wake_fd, &woken, sizeof woken) < 0 && errno != EAGAIN ? LB_SYSTEM : LB_OK;
        }
        if (!only_look && *count == 0 && clock_now() >= deadline_ns)
            break;
    }
    /* A program with an event loop polls the descriptor next: there must be something to come. */
    if (only_look && status == LB_OK && *count && !popping(c))
        write_pop(c, deadline_ns, NULL);
    return status == LB_TIMEOUT || *count ? LB_OK
                                          : status; /* results come first, the failure will come again */
}
