/* The side that calls: sends calls, takes the results.
 *
 * Results lie under the client's number, in the order of their transactions. Those taken are removed by the
 * client's next write; what it leaves behind expires. Threads: one sends and withdraws, one fetches; `lock`
 * guards what both touch. Invariant: a call is in `pending`, in one thread's queue, or was written in one
 * transaction: it is never written twice. */
#include <errno.h>
#include <lightbus/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "instance.h"

#define RETURN_SCHEME "local:"
enum { MOST_RESULTS = 1024, MOST_TAKEN = 4096 };

typedef struct queued {
    size_t at, size; /* of its record */
    uint64_t api;
} queued;

typedef struct queue {
    buffer bytes;
    queued *items;
    size_t count, capacity;
} queue;

/* A call that was accepted, and refused later. */
typedef struct refusal {
    char *id, *reason;
    size_t id_size;
    lb_status status;
    struct refusal *next;
} refusal;

struct caller {
    local_bus *bus;
    store *store; /* in which the results of this client lie; NULL: none yet */
    uint64_t client;
    char path[sizeof RETURN_SCHEME + 16];
    pthread_mutex_t lock;
    queue pending;
    refusal *refused;
    uint64_t taken[2];  /* the transaction and index of the last result that was taken from the store */
    size_t taken_count; /* results that are still to be removed */
    queue urgent;       /* of the thread that sends */
    queue mine;         /* of the thread that fetches */
    view view;
    wake_set wake;
    arena arena;
    int descriptor; /* -1: nobody polls */
};

/* ---- The store --------------------------------------------------------------------------------------- */

/* Goes over to a store. One that was made again counts its transactions anew, and has no word of who polls. */
static void attach(struct caller *c, store *s)
{
    pthread_mutex_lock(&c->lock);
    if (c->store != s) {
        c->taken[0] = c->taken[1] = c->taken_count = 0;
        if (c->descriptor >= 0)
            atomic_fetch_add(&wake_word_of(s->wake, wake_all_of(c->client))->polled, 1);
        c->store = s;
    }
    pthread_mutex_unlock(&c->lock);
}

static lb_status caller_store(struct caller *c, int64_t deadline_ns, store **s, lb_error *error)
{
    lb_status status = local_store(c->bus, deadline_ns, s, error);
    if (status == LB_OK)
        attach(c, *s);
    return status;
}

/* ---- Queues ----------------------------------------------------------------------------------------- */

static lb_slice record_of(const queue *q, const queued *item)
{
    return (lb_slice){q->bytes.data + item->at, item->size};
}

static void queue_clear(queue *q)
{
    q->count = 0;
    buffer_clear(&q->bytes, KEEP_ARENA);
}

static void queue_free(queue *q)
{
    buffer_free(&q->bytes);
    free(q->items);
}

/* Adds a call; LB_TOO_LARGE, LB_NO_MEMORY: the queue is as before. */
static lb_status queue_add(queue *q, const lb_rpc_message *call, size_t most, lb_error *error)
{
    size_t at = q->bytes.size;
    if (q->count == q->capacity) {
        size_t capacity = q->capacity ? q->capacity * 2 : 16;
        queued *larger = realloc(q->items, capacity * sizeof *larger);
        if (!larger)
            return lb_error_set(error, LB_NO_MEMORY, "out of memory for a call");
        q->items = larger;
        q->capacity = capacity;
    }
    put_call(&q->bytes, call);
    size_t size = q->bytes.size - at;
    if (!q->bytes.failed && size <= most) {
        q->items[q->count++] = (queued){at, size, hash_text(call->api_name)};
        return LB_OK;
    }
    bool failed = q->bytes.failed;
    q->bytes.size = at;
    q->bytes.failed = false;
    if (failed)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a call");
    return lb_error_set(error, LB_TOO_LARGE,
                        "the call of %.*s.%.*s takes %zu bytes, more than max_message_size (%zu)",
                        (int)call->api_name.size, call->api_name.data, (int)call->procedure_name.size,
                        call->procedure_name.data, size, most);
}

/* ---- Calls that are refused after send has returned ------------------------------------------------- */

static void refuse(struct caller *c, lb_slice id, lb_status status, const char *reason)
{
    refusal *r = calloc(1, sizeof *r);
    if (r && (r->id = malloc(id.size + 1)) && (r->reason = strdup(reason))) {
        memcpy(r->id, id.data, id.size);
        r->id_size = id.size;
        r->status = status;
        pthread_mutex_lock(&c->lock);
        r->next = c->refused;
        c->refused = r;
        pthread_mutex_unlock(&c->lock);
        return;
    }
    if (r)
        free(r->id);
    free(r); /* its caller waits until the deadline */
}

static void free_refusals(refusal *list)
{
    while (list) {
        refusal *next = list->next;
        free(list->id);
        free(list->reason);
        free(list);
        list = next;
    }
}

static bool take_refused(struct caller *c, const lb_result_message **results, size_t *count)
{
    pthread_mutex_lock(&c->lock);
    refusal *list = c->refused;
    c->refused = NULL;
    pthread_mutex_unlock(&c->lock);
    size_t n = 0;
    for (refusal *r = list; r; r = r->next)
        n++;
    lb_result_message *messages = n ? arena_alloc(&c->arena, n * sizeof *messages) : NULL;
    for (refusal *r = list; messages && r; r = r->next) {
        const char *id = arena_copy(&c->arena, r->id, r->id_size);
        const char *reason = arena_copy(&c->arena, r->reason, strlen(r->reason));
        if (id && reason)
            messages[(*count)++] =
                (lb_result_message){.rpc_message_id = {id, r->id_size}, .status = r->status, .problem = reason};
    }
    free_refusals(list);
    *results = messages;
    return *count > 0;
}

/* ---- Writing calls ---------------------------------------------------------------------------------- */

/* Removes the results that were taken from the store: *count. */
static int remove_taken(struct caller *c, const store *s, MDB_cursor *cursor, size_t *count)
{
    key prefix = key_1(KEY_RESULT, c->client);
    MDB_val k = key_val(&prefix), v;
    int result = 0;
    uint64_t last[2];
    pthread_mutex_lock(&c->lock);
    memcpy(last, c->taken, sizeof last);
    *count = c->store == s ? c->taken_count : 0;
    pthread_mutex_unlock(&c->lock);
    if (!*count)
        return 0;
    for (int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
         more == 0 && key_within(&k, &prefix) && !result; more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        uint64_t transaction = key_number(&k, 1);
        if (transaction > last[0] || (transaction == last[0] && key_number(&k, 2) > last[1]))
            break;
        result = mdb_cursor_del(cursor, 0);
    }
    return result;
}

static void taken_are_removed(struct caller *c, const store *s, size_t count)
{
    pthread_mutex_lock(&c->lock);
    if (c->store == s)
        c->taken_count -= count;
    pthread_mutex_unlock(&c->lock);
}

static size_t count_taken(struct caller *c)
{
    pthread_mutex_lock(&c->lock);
    size_t count = c->taken_count;
    pthread_mutex_unlock(&c->lock);
    return count;
}

/* How many calls wait for a worker of the API, counted up to a number. */
static size_t count_waiting(MDB_cursor *cursor, uint64_t api, size_t most)
{
    key prefix = key_1(KEY_CALL, api);
    MDB_val k = key_val(&prefix), v;
    int64_t deadline_ns, now = clock_now();
    size_t count = 0;
    for (int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
         more == 0 && key_within(&k, &prefix) && count < most;
         more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        if (v.mv_size < sizeof deadline_ns)
            continue;
        memcpy(&deadline_ns, v.mv_data, sizeof deadline_ns);
        count += deadline_ns > now;
    }
    return count;
}

/* Is there room in the queue for these many calls of an API? */
static bool has_room(MDB_cursor *cursor, uint64_t api, size_t calls, size_t most)
{
    MDB_stat stat;
    if (mdb_stat(mdb_cursor_txn(cursor), mdb_cursor_dbi(cursor), &stat) == 0 && stat.ms_entries + calls < most)
        return true; /* all that there is, of whatever kind, is less */
    return count_waiting(cursor, api, most) + calls <= most;
}

/* Where the run of calls of one API ends that begins here. */
static size_t run_end(const queue *q, size_t start)
{
    size_t end = start + 1;
    while (end < q->count && q->items[end].api == q->items[start].api)
        end++;
    return end;
}

static int put_calls(const queue *q, size_t start, size_t end, transaction *t, MDB_cursor *cursor)
{
    uint64_t number = mdb_txn_id(t->txn);
    int result = 0;
    for (size_t i = start; i < end && result == 0; i++) {
        lb_slice record = record_of(q, &q->items[i]);
        key k = key_3(KEY_CALL, q->items[i].api, number, i);
        MDB_val kv = key_val(&k), v = {record.size, (void *)(uintptr_t)record.data};
        result = mdb_cursor_put(cursor, &kv, &v, 0);
    }
    return result;
}

static void full(const store *s, size_t most, lb_error *error)
{
    lb_error_set(error, LB_BUSY, "%s: %zu calls (max_queue_length) wait for a worker of this API", s->path,
                 most);
}

/* Writes the calls of a queue in one transaction. Those that find their queue full are refused, or, where all
 * must be sent or none (`whole`), fail it all. */
static lb_status write_calls(struct caller *c, queue *q, bool whole, int64_t deadline_ns, lb_error *error)
{
    store *s;
    transaction t;
    MDB_cursor *cursor = NULL;
    size_t most = (size_t)c->bus->options.max_queue_length, taken = 0;
    lb_error busy = {0};
    lb_status status = caller_store(c, deadline_ns, &s, error);
    if (status == LB_OK)
        status = write_begin(s, STORE_CALLS, q->bytes.size + 1, deadline_ns, &t, error);
    if (status != LB_OK)
        return status;
    int result = mdb_cursor_open(t.txn, s->parts[STORE_CALLS].table, &cursor);
    if (result == 0)
        result = remove_taken(c, s, cursor, &taken);
    for (size_t i = 0, end; i < q->count && result == 0; i = end) {
        end = run_end(q, i);
        if (has_room(cursor, q->items[i].api, end - i, most)) {
            result = put_calls(q, i, end, &t, cursor);
            continue;
        }
        full(s, most, &busy);
        if (whole)
            break;
        for (size_t j = i; j < end; j++) {
            refuse(c, call_id(record_of(q, &q->items[j])), LB_BUSY, busy.message);
            q->items[j].size = 0;
        }
    }
    if (cursor)
        mdb_cursor_close(cursor);
    if (whole && busy.status != LB_OK) {
        write_abort(&t);
        if (error)
            *error = busy;
        return LB_BUSY;
    }
    status = write_end(&t, result, "sending calls", error);
    if (status != LB_OK)
        return status;
    taken_are_removed(c, s, taken);
    for (size_t i = 0, end; i < q->count; i = end) {
        end = run_end(q, i);
        wake_some(s->wake, q->items[i].api, (int)(end - i));
    }
    return LB_OK;
}

/* Moves what is pending to an empty queue. */
static void take_pending(struct caller *c, queue *to)
{
    queue_clear(to);
    pthread_mutex_lock(&c->lock);
    queue was = c->pending;
    c->pending = *to;
    *to = was;
    pthread_mutex_unlock(&c->lock);
}

static void refuse_first(struct caller *c, const queue *q, size_t count, lb_status status, const char *reason)
{
    for (size_t i = 0; i < count; i++)
        if (q->items[i].size)
            refuse(c, call_id(record_of(q, &q->items[i])), status, reason);
}

static lb_status add_all(struct caller *c, queue *q, const lb_rpc_message *const *calls, size_t count,
                         lb_error *error)
{
    lb_error why = {0};
    for (size_t i = 0; i < count; i++) {
        lb_status status = queue_add(q, calls[i], (size_t)c->bus->options.max_message_size, &why);
        if (status != LB_OK && count == 1) {
            if (error)
                *error = why;
            return status;
        }
        if (status != LB_OK)
            refuse(c, calls[i]->id, status, why.message);
    }
    return LB_OK;
}

lb_status local_caller_send(void *self, const lb_rpc_message *const *calls, size_t count, bool now,
                            int64_t deadline_ns, lb_error *error)
{
    struct caller *c = ((local_bus *)self)->caller;
    lb_error why = {0};
    if (!now) {
        queue_clear(&c->urgent);
        lb_status status = add_all(c, &c->urgent, calls, count, error);
        pthread_mutex_lock(&c->lock);
        if (status == LB_OK && c->pending.count == 0) {
            queue was = c->pending;
            c->pending = c->urgent;
            c->urgent = was;
            pthread_mutex_unlock(&c->lock);
            return LB_OK;
        }
        pthread_mutex_unlock(&c->lock);
        if (status != LB_OK)
            return status;
    }
    take_pending(c, &c->urgent);
    size_t before = c->urgent.count; /* which send had accepted, whatever is said of the new ones */
    lb_status status = LB_OK, added = add_all(c, &c->urgent, calls, count, error);
    if (c->urgent.count)
        status = write_calls(c, &c->urgent, before == 0, deadline_ns, &why);
    if (status != LB_OK)
        refuse_first(c, &c->urgent, before, status, why.message);
    if (status != LB_OK && added == LB_OK && error)
        *error = why;
    queue_clear(&c->urgent);
    return added == LB_OK ? status : added;
}

/* ---- Withdrawing ------------------------------------------------------------------------------------ */

static bool remove_pending(struct caller *c, lb_slice id)
{
    bool found = false;
    pthread_mutex_lock(&c->lock);
    queue *q = &c->pending;
    for (size_t i = 0; i < q->count && !found; i++)
        if (slice_equal(call_id(record_of(q, &q->items[i])), id)) {
            memmove(&q->items[i], &q->items[i + 1], (--q->count - i) * sizeof *q->items);
            found = true;
        }
    pthread_mutex_unlock(&c->lock);
    return found;
}

static int remove_call(MDB_cursor *cursor, const lb_rpc_message *call)
{
    key prefix = key_1(KEY_CALL, hash_text(call->api_name));
    MDB_val k = key_val(&prefix), v;
    for (int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); more == 0 && key_within(&k, &prefix);
         more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))
        if (slice_equal(call_id((lb_slice){v.mv_data, v.mv_size}), call->id))
            return mdb_cursor_del(cursor, 0);
    return 0;
}

void local_caller_withdraw(void *self, const lb_rpc_message *const *calls, size_t count)
{
    struct caller *c = ((local_bus *)self)->caller;
    store *s;
    transaction t;
    MDB_cursor *cursor;
    lb_error error = {0};
    int64_t deadline = clock_in_ms(TOUCH_MS);
    size_t sent = 0;
    for (size_t i = 0; i < count; i++)
        sent += !remove_pending(c, calls[i]->id);
    if (!sent || caller_store(c, deadline, &s, &error) != LB_OK ||
        write_begin(s, STORE_CALLS, 0, deadline, &t, &error) != LB_OK)
        return; /* they expire */
    int result = mdb_cursor_open(t.txn, s->parts[STORE_CALLS].table, &cursor);
    for (size_t i = 0; i < count && result == 0; i++)
        result = remove_call(cursor, calls[i]);
    if (result == 0)
        mdb_cursor_close(cursor);
    if (write_end(&t, result, "withdrawing calls", &error) != LB_OK)
        lb_log(LB_LOG_DEBUG, "%s", error.message);
}

/* ---- Fetching results ------------------------------------------------------------------------------- */

/* Copies the records that came since the last ones. */
static lb_status read_results(struct caller *c, store *s, lb_slice records[MOST_RESULTS], size_t *count,
                              lb_error *error)
{
    MDB_cursor *cursor;
    size_t bytes = 0;
    uint64_t last[2];
    *count = 0;
    pthread_mutex_lock(&c->lock);
    memcpy(last, c->taken, sizeof last);
    pthread_mutex_unlock(&c->lock);
    key prefix = key_1(KEY_RESULT, c->client), from = key_3(KEY_RESULT, c->client, last[0], last[1] + 1);
    MDB_val k = key_val(&from), v;
    lb_status status = view_begin(&c->view, s, STORE_CALLS, error);
    if (status != LB_OK)
        return status;
    int result = mdb_cursor_open(c->view.txn, s->parts[STORE_CALLS].table, &cursor);
    if (result == 0) {
        int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        for (; more == 0 && key_within(&k, &prefix) && *count < MOST_RESULTS && bytes < MOST_BYTES;
             more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
            records[*count] = copy_value(&c->arena, &v);
            if (!records[*count].data) {
                result = ENOMEM;
                break;
            }
            ++*count;
            bytes += v.mv_size;
            last[0] = key_number(&k, 1);
            last[1] = key_number(&k, 2);
        }
        if (!result && more && more != MDB_NOTFOUND)
            result = more;
        mdb_cursor_close(cursor);
        if (result == 0 && *count) {
            pthread_mutex_lock(&c->lock);
            if (c->store == s) {
                memcpy(c->taken, last, sizeof last);
                c->taken_count += *count;
            }
            pthread_mutex_unlock(&c->lock);
        }
    }
    view_end(&c->view);
    return result ? store_failed(s, STORE_CALLS, result, "taking results", error) : LB_OK;
}

static lb_status decode_results(struct caller *c, const lb_slice *records, size_t count,
                                const lb_result_message **results, lb_error *error)
{
    lb_result_message *list = arena_alloc(&c->arena, count * sizeof *list);
    for (size_t i = 0; i < count && list; i++)
        if (!get_result(&c->arena, records[i], (size_t)c->bus->options.max_message_size, &list[i]))
            list = NULL;
    *results = list;
    return list ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory: %zu results were lost", count);
}

/* Writes the calls that wait, and, once there are many, removes what was taken. */
static void write_pending(struct caller *c, int64_t deadline_ns)
{
    lb_error why = {0};
    take_pending(c, &c->mine);
    if (!c->mine.count && count_taken(c) < MOST_TAKEN)
        return;
    lb_status status = write_calls(c, &c->mine, false, deadline_ns, &why);
    if (status != LB_OK)
        refuse_first(c, &c->mine, c->mine.count, status, why.message);
}

static bool has_pending(struct caller *c)
{
    pthread_mutex_lock(&c->lock);
    bool has = c->pending.count > 0;
    pthread_mutex_unlock(&c->lock);
    return has;
}

static void drain_descriptor(const struct caller *c)
{
    char byte[16];
    while (c->descriptor >= 0 && recv(c->descriptor, byte, sizeof byte, MSG_DONTWAIT) >= 0)
        ;
}

lb_status local_caller_fetch(void *self, int64_t deadline_ns, const lb_result_message **results, size_t *count,
                             lb_error *error)
{
    struct caller *c = ((local_bus *)self)->caller;
    lb_slice records[MOST_RESULTS];
    store *s;
    arena_reset(&c->arena, KEEP_ARENA);
    *count = 0;
    *results = NULL;
    drain_descriptor(c);
    lb_status status;
    while ((status = caller_store(c, deadline_ns, &s, error)) == LB_OK) {
        write_pending(c, deadline_ns);
        if (take_refused(c, results, count))
            return LB_OK;
        wake_set_look(&c->wake, s->wake);
        status = read_results(c, s, records, count, error);
        if (status != LB_OK || *count || clock_now() >= deadline_ns)
            break;
        if (store_sweep_due(s))
            store_sweep(s);
        if (!has_pending(c))
            wake_set_wait(&c->wake, deadline_ns);
    }
    return status == LB_OK && *count ? decode_results(c, records, *count, results, error) : status;
}

lb_slice local_caller_return_path(void *self) { return slice_of(((local_bus *)self)->caller->path); }

/* ---- For programs that poll ------------------------------------------------------------------------- */

/* A socket that the worker's process sends a byte to; it vanishes with its process. */
static socklen_t address_of(uint64_t client, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int size = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "lightbus-%016llx",
                        (unsigned long long)client);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
}

int local_caller_descriptor(void *self)
{
    local_bus *l = self;
    struct caller *c = l->caller;
    struct sockaddr_un address;
    store *s = __atomic_load_n(&l->store, __ATOMIC_ACQUIRE);
    if (c->descriptor >= 0 || !s)
        return c->descriptor;
    attach(c, s);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t size = address_of(c->client, &address);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0) {
        pthread_mutex_lock(&c->lock);
        c->descriptor = fd;
        atomic_fetch_add(&wake_word_of(c->store->wake, wake_all_of(c->client))->polled, 1);
        pthread_mutex_unlock(&c->lock);
        caller_wake(s, c->client); /* something may have come before */
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

void caller_wake(store *s, uint64_t client)
{
    wake_all(s->wake, client);
    if (!atomic_load(&wake_word_of(s->wake, wake_all_of(client))->polled))
        return;
    struct sockaddr_un address;
    socklen_t size = address_of(client, &address);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0)
        lb_log(LB_LOG_DEBUG, "a client that polls was not woken: %s", strerror(errno)); /* full, or another's */
    close(fd);
}

/* ---- Open, close, fork ------------------------------------------------------------------------------ */

uint64_t caller_of_path(lb_slice path)
{
    uint64_t client = 0;
    size_t scheme = strlen(RETURN_SCHEME);
    if (path.size != scheme + 16 || memcmp(path.data, RETURN_SCHEME, scheme) != 0)
        return 0;
    for (const char *at = path.data + scheme; at < path.data + path.size; at++) {
        int digit = *at >= '0' && *at <= '9' ? *at - '0' : *at >= 'a' && *at <= 'f' ? *at - 'a' + 10 : -1;
        if (digit < 0)
            return 0;
        client = client << 4 | (uint64_t)digit;
    }
    return client;
}

static bool begin(struct caller *c)
{
    c->client = unique_number();
    c->store = NULL;
    c->taken[0] = c->taken[1] = c->taken_count = 0;
    c->descriptor = -1;
    snprintf(c->path, sizeof c->path, RETURN_SCHEME "%016llx", (unsigned long long)c->client);
    pthread_mutex_init(&c->lock, NULL);
    return wake_set_init(&c->wake, (uint64_t[]){wake_all_of(c->client)}, 1);
}

struct caller *local_caller_open(local_bus *l)
{
    struct caller *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->bus = l;
    if (begin(c))
        return c;
    local_caller_close(c);
    return NULL;
}

/* Results that nobody takes any more. */
static void remove_results(struct caller *c, store *s)
{
    transaction t;
    MDB_cursor *cursor;
    lb_error error = {0};
    size_t count;
    if (!count_taken(c) || write_begin(s, STORE_CALLS, 0, clock_in_ms(CLOSE_MS), &t, &error) != LB_OK)
        return;
    c->taken[0] = c->taken[1] = UINT64_MAX;
    int result = mdb_cursor_open(t.txn, s->parts[STORE_CALLS].table, &cursor);
    if (result == 0) {
        result = remove_taken(c, s, cursor, &count);
        mdb_cursor_close(cursor);
    }
    write_end(&t, result, "removing results", &error);
}

void local_caller_close(struct caller *c)
{
    if (!c)
        return;
    view_free(&c->view);
    if (c->store) {
        if (!store_gone(c->store))
            remove_results(c, c->store);
        if (c->descriptor >= 0)
            atomic_fetch_sub(&wake_word_of(c->store->wake, wake_all_of(c->client))->polled, 1);
    }
    if (c->descriptor >= 0)
        close(c->descriptor);
    queue_free(&c->pending);
    queue_free(&c->urgent);
    queue_free(&c->mine);
    free_refusals(c->refused);
    wake_set_free(&c->wake);
    arena_free(&c->arena);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* A client of its own: the parent takes its results. */
void local_caller_after_fork(struct caller *c)
{
    if (c->descriptor >= 0)
        close(c->descriptor);
    wake_set_free(&c->wake);
    queue_clear(&c->pending);
    if (!begin(c))
        lb_log(LB_LOG_CRITICAL, "out of memory after fork");
}
