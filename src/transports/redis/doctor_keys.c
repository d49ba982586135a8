/* What lies on the server: streams and the groups that read them, dead letters, queues of calls, schemas. */
#include "doctor.h"

#include <stdlib.h>

enum { MOST_KEYS = 5000, TIMEOUTS_PASSED = 3, OVERDUE_MOST = 100, LONG_QUEUE = 1000 };

/* ---- Finding keys ----------------------------------------------------------------------------------- */

static bool key_list_has(const key_list *list, lb_slice key)
{
    for (size_t i = 0; i < list->count; i++)
        if (slice_equal(list->items[i], key))
            return true;
    return false;
}

static bool key_list_add(doctor *d, key_list *list, lb_slice key)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        lb_slice *larger = realloc(list->items, capacity * sizeof *larger);
        if (!larger)
            return false;
        list->items = larger;
        list->capacity = capacity;
    }
    const char *copy = arena_copy(&d->memory, key.data, key.size);
    if (copy)
        list->items[list->count++] = (lb_slice){copy, key.size};
    return copy != NULL;
}

static bool ends_with(lb_slice key, const char *end)
{
    size_t size = strlen(end);
    return key.size > size && memcmp(key.data + key.size - size, end, size) == 0;
}

/* Of "api:rpc_queue". */
static lb_slice api_of(lb_slice queue) { return (lb_slice){queue.data, queue.size - strlen(":rpc_queue")}; }

/* SCAN may give a key twice. */
static bool take_key(doctor *d, lb_slice key)
{
    bool queue = ends_with(key, ":rpc_queue"), stream = ends_with(key, ":stream");
    key_list *list = queue ? &d->queues : stream ? &d->streams : ends_with(key, ":dead") ? &d->dead : NULL;
    if (!list || key_list_has(list, key))
        return true;
    if (list->count == MOST_KEYS) {
        d->keys_cut = true;
        return true;
    }
    return key_list_add(d, list, key);
}

/* ":stream", ":stream:dead" and ":rpc_queue" in one pattern. Half of the time is left for what is found. */
static lb_status scan_keys(doctor *d, lb_error *error)
{
    char cursor[24] = "0";
    int64_t now = clock_now(), until = now + (d->deadline_ns - now) / 2;
    do {
        const reply *answer;
        command_of(&d->conn.out, "SCAN", cursor, "MATCH", "*:[sr][tp][rc]*", "COUNT", "1000", NULL);
        lb_status status = doctor_ask(d, "looking for keys", &answer, error);
        if (status != LB_OK)
            return status;
        lb_slice next = reply_text(reply_first(answer));
        if (!next.size || next.size >= sizeof cursor)
            return lb_error_set(error, LB_MALFORMED, "looking for keys: expected a cursor");
        memcpy(cursor, next.data, next.size);
        cursor[next.size] = '\0';
        for (const reply *key = reply_first(reply_first(answer)->next); key; key = key->next)
            if (!take_key(d, reply_text(key)))
                return lb_error_set(error, LB_NO_MEMORY, "out of memory for keys");
        if (clock_now() > until)
            d->keys_cut = true;
    } while (strcmp(cursor, "0") != 0 && !d->keys_cut);
    return LB_OK;
}

/* All names that were ever published. */
static lb_status list_apis(doctor *d, lb_error *error)
{
    const reply *answer;
    bool good = true;
    d->apis.count = 0;
    command_of(&d->conn.out, "SMEMBERS", "schemas", NULL);
    lb_status status = doctor_ask(d, "listing schemas", &answer, error);
    for (const reply *name = reply_first(answer); status == LB_OK && name && good; name = name->next)
        good = key_list_add(d, &d->apis, reply_text(name));
    return good ? status : lb_error_set(error, LB_NO_MEMORY, "out of memory for schemas");
}

/* Those whose schema has not expired. */
static lb_status list_schemas(doctor *d, lb_error *error)
{
    const reply *answer;
    bool good = true;
    d->schemas.count = 0;
    command_begin(&d->conn.out, d->apis.count + 1);
    command_str(&d->conn.out, "MGET");
    for (size_t i = 0; i < d->apis.count; i++)
        command_prefixed(&d->conn.out, "schema:", d->apis.items[i]);
    lb_status status = doctor_ask(d, "loading schemas", &answer, error);
    const reply *text = status == LB_OK ? reply_first(answer) : NULL;
    for (size_t i = 0; i < d->apis.count && text && good; i++, text = text->next)
        good = !reply_is_text(text) || key_list_add(d, &d->schemas, d->apis.items[i]);
    return good ? status : lb_error_set(error, LB_NO_MEMORY, "out of memory for schemas");
}

lb_status doctor_find_apis(doctor *d, lb_error *error)
{
    if (d->apis_known)
        return LB_OK;
    lb_status status = list_apis(d, error);
    if (status == LB_OK && d->apis.count)
        status = list_schemas(d, error);
    d->apis_known = status == LB_OK;
    return status;
}

/* Looks for the keys of the bus, once. */
static lb_status find_keys(doctor *d, lb_error *error)
{
    if (d->keys_known)
        return LB_OK;
    d->keys_cut = false;
    lb_status status = scan_keys(d, error);
    d->keys_known = status == LB_OK;
    return status;
}

static void tell_cut(doctor *d)
{
    if (d->keys_cut)
        report_tell(&d->report, LB_FINDING_NOTE, "give it more time with --timeout",
                    "there are more than were looked at: %zu streams and %zu queues", d->streams.count,
                    d->queues.count);
}

/* ---- Groups ----------------------------------------------------------------------------------------- */

#define TEXT(slice) (int)(slice).size, (slice).data

typedef struct found_group {
    group_facts facts;
    int64_t pending;
    struct found_group *next;
} found_group;

static lb_slice copy(arena *a, lb_slice text)
{
    return (lb_slice){arena_copy(a, text.data, text.size), text.size};
}

/* The groups of a stream, copied: their replies go with the next question. */
static lb_status groups_of(doctor *d, lb_slice key, found_group **first, lb_error *error)
{
    const reply *answers[ABOUT_ALL] = {NULL};
    lb_status status = stream_ask(&d->conn, key, answers, d->deadline_ns, error);
    *first = NULL;
    if (status == LB_OK && reply_is_error(answers[ABOUT_STREAM]))
        return reply_is_error_of(answers[ABOUT_STREAM], "ERR no such key")
                   ? LB_OK
                   : conn_reply_error(&d->conn, answers[ABOUT_STREAM], "asking about a stream", error);
    for (const reply *group = reply_first(answers[ABOUT_GROUPS]); status == LB_OK && group;
         group = group->next) {
        found_group *g = arena_alloc(&d->report.memory, sizeof *g);
        if (!g)
            return lb_error_set(error, LB_NO_MEMORY, "out of memory for groups");
        lb_slice name = copy(&d->report.memory, reply_text(reply_field(group, "name")));
        *g = (found_group){.pending = reply_integer(reply_field(group, "pending")), .next = *first};
        g->facts = (group_facts){
            .stream = key,
            .group = name,
            .length = reply_integer(reply_field(answers[ABOUT_STREAM], "length")),
            .most = d->redis->options.max_stream_length,
            .undelivered = stream_undelivered(answers[ABOUT_STREAM], group),
            .lost = stream_lost(answers, group),
            .consumers = reply_integer(reply_field(group, "consumers")),
            .forget = doctor_command(d, "HDEL %s" LOST_SUFFIX " %s", report_word(&d->report, key),
                                     report_word(&d->report, name)),
            .remove = doctor_command(d, "XGROUP DESTROY %s %s", report_word(&d->report, key),
                                     report_word(&d->report, name)),
        };
        *first = g;
    }
    return status;
}

/* What a living handler holds is renewed, and what a dead one held is taken over by its group. */
static lb_status find_overdue(doctor *d, group_facts *g, lb_error *error)
{
    const reply *answer;
    conn *c = &d->conn;
    command_begin(&c->out, 8);
    command_str(&c->out, "XPENDING");
    command_slice(&c->out, g->stream);
    command_slice(&c->out, g->group);
    command_str(&c->out, "IDLE");
    command_int(&c->out, TIMEOUTS_PASSED * d->redis->options.acknowledgement_timeout_ms);
    command_str(&c->out, "-");
    command_str(&c->out, "+");
    command_int(&c->out, OVERDUE_MOST);
    lb_status status = doctor_ask(d, "XPENDING", &answer, error);
    for (const reply *entry = reply_first(answer); status == LB_OK && entry; entry = entry->next) {
        const reply *id = reply_first(entry), *consumer = id ? id->next : NULL;
        const reply *idle = consumer ? consumer->next : NULL;
        g->overdue++;
        if (idle && reply_integer(idle) > g->overdue_ms) {
            g->overdue_ms = reply_integer(idle);
            g->holder = copy(&d->report.memory, reply_text(consumer));
        }
    }
    return status;
}

lb_status check_groups(doctor *d, lb_error *error)
{
    size_t groups = 0, looked_at = 0;
    lb_status status = find_keys(d, error);
    for (; looked_at < d->streams.count && status == LB_OK && clock_now() < d->deadline_ns; looked_at++) {
        found_group *first;
        status = groups_of(d, d->streams.items[looked_at], &first, error);
        for (found_group *g = first; g && status == LB_OK; g = g->next, groups++) {
            if (g->pending)
                status = find_overdue(d, &g->facts, error);
            report_group(&d->report, &g->facts);
        }
    }
    if (status != LB_OK)
        return status;
    if (looked_at < d->streams.count)
        d->keys_cut = true;
    tell_cut(d);
    if (!d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%zu stream%s, %zu group%s, none left alone", looked_at,
                    looked_at == 1 ? "" : "s", groups, groups == 1 ? "" : "s");
    return LB_OK;
}

/* ---- Dead letters ----------------------------------------------------------------------------------- */

static lb_status length_of(doctor *d, const char *command, lb_slice key, int64_t *length, lb_error *error)
{
    const reply *answer;
    command_begin(&d->conn.out, 2);
    command_str(&d->conn.out, command);
    command_slice(&d->conn.out, key);
    lb_status status = doctor_ask(d, command, &answer, error);
    *length = reply_integer(answer);
    return status;
}

lb_status check_dead_letters(doctor *d, lb_error *error)
{
    lb_status status = find_keys(d, error);
    for (size_t i = 0; i < d->dead.count && status == LB_OK; i++) {
        int64_t length = 0;
        lb_slice key = d->dead.items[i];
        status = length_of(d, "XLEN", key, &length, error);
        report_dead_letters(&d->report, (lb_slice){key.data, key.size - 5}, length);
    }
    if (status == LB_OK && !d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "none");
    return status;
}

/* ---- Queues ----------------------------------------------------------------------------------------- */

lb_status check_queues(doctor *d, lb_error *error)
{
    int64_t waiting = 0;
    lb_status status = find_keys(d, error);
    if (status == LB_OK)
        status = doctor_find_apis(d, error);
    for (size_t i = 0; i < d->queues.count && status == LB_OK; i++) {
        int64_t length = 0;
        lb_slice api = api_of(d->queues.items[i]);
        status = length_of(d, "LLEN", d->queues.items[i], &length, error);
        waiting += length;
        if (length && !key_list_has(&d->schemas, api))
            report_tell(&d->report, LB_FINDING_WARNING,
                        "start a worker of this API; calls that have expired meanwhile it passes over",
                        "%.*s: %lld call%s, and no worker serves the API", TEXT(api), (long long)length,
                        length == 1 ? " waits" : "s wait");
        else if (length >= LONG_QUEUE)
            report_tell(&d->report, LB_FINDING_WARNING, "start more workers of this API",
                        "%.*s: %lld calls wait: its workers do not keep up", TEXT(api), (long long)length);
    }
    if (status == LB_OK && !d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%lld call%s for workers", (long long)waiting,
                    waiting == 1 ? " waits" : "s wait");
    return status;
}

/* ---- Schemas ---------------------------------------------------------------------------------------- */

lb_status check_published(doctor *d, lb_error *error)
{
    lb_status status = doctor_find_apis(d, error);
    for (size_t i = 0; i < d->apis.count && status == LB_OK; i++)
        if (!key_list_has(&d->schemas, d->apis.items[i]))
            report_tell(
                &d->report, LB_FINDING_NOTE,
                arena_printf(&d->report.memory, "if it is gone for good: %s",
                             doctor_command(d, "SREM schemas %s", report_word(&d->report, d->apis.items[i]))),
                "%.*s: no process serves it, one did before", TEXT(d->apis.items[i]));
    if (status == LB_OK && !d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%zu served", d->schemas.count);
    return status;
}
