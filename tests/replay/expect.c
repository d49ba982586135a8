/* What is expected of our side: what Python sent, and where ours differs on purpose, what it sends instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apis.h"
#include "run.h"

#define PROBE_ID  "replay-probe"
#define PROBE_KEY "replay-probe:result"

static bool is_ours(const command *c, const void *data) { return run_plays(data, c->role); }

/* ---- RPC */

static bool knows(const facts *f, fact_kind kind, const char *one, const char *two)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].kind == kind && strstr(f->list[i].text, one) && strstr(f->list[i].text, two))
            return true;
    return false;
}

/* The calls of the others that Python's worker takes without a word. */
static void expect_answers(run *r, facts *f)
{
    if (r->scenario->result) /* instead of what Python says */
        facts_drop_kind(f, FACT_RESULT);
    for (size_t i = 0; i < r->vector->commands.count; i++) {
        const command *c = &r->vector->commands.list[i];
        const lb_value *metadata;
        const char *path, *id;
        lb_value *message = NULL;
        if (!command_is(c, "RPUSH") || run_plays(r, c->role))
            continue;
        lb_value_parse(c->arguments[2].data, c->arguments[2].size, &message, NULL);
        metadata = lb_value_get(message, "metadata");
        path = lb_value_str(lb_value_get(metadata, "return_path"));
        id = lb_value_str(lb_value_get(metadata, "id"));
        if (id && !knows(f, FACT_TAKES, id, ""))
            facts_add(f, FACT_TAKES, c->number, "DEL rpc_expiry_key:%s -> 1", id);
        if (path && id && text_starts(path, "redis+key://") && !knows(f, FACT_RESULT, id, ""))
            facts_add_result(f, c->number, path + strlen("redis+key://"), id, r->scenario->result);
        lb_value_free(message);
    }
}

/* What a recorded client tried in vain, and ours does. */
static void expect_attempts(run *r, facts *f)
{
    for (const attempt *a = r->stage->attempts; a->vector; a++) {
        lb_value *kwargs = NULL;
        bool called = a->call == ATTEMPT_CALL && a->status == LB_TIMEOUT;
        bool fired = a->call == ATTEMPT_FIRE && a->status == LB_OK;
        if (!(called || fired) || strcmp(a->vector, r->vector->name) != 0)
            continue;
        lb_value_parse(a->kwargs, strlen(a->kwargs), &kwargs, NULL);
        if (called)
            facts_add_call(f, 0, a->name, kwargs, SHORT_TIMEOUT_MS);
        else
            facts_add_fire(f, 0, a->name, kwargs);
        lb_value_free(kwargs);
    }
}

/* ---- Events */

static void expect_received(run *r, facts *f)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(r->vector->document, "received"));

    while (lb_value_next(&it)) {
        const lb_value *e = it.value;
        if (!text_starts(lb_value_str(lb_value_get(e, "what")), "called"))
            continue;
        facts_add_handled(f, (int)it.index,
                          r->scenario->differences & HANDLED_ONCE ? "-"
                                                                  : lb_value_str(lb_value_get(e, "process")),
                          lb_value_str(lb_value_get(e, "listener")), lb_value_str(lb_value_get(e, "event")),
                          lb_value_str(lb_value_get(e, "id")), lb_value_str(lb_value_get(e, "native_id")),
                          lb_value_get(e, "version") ? (long long)lb_value_int(lb_value_get(e, "version")) : 1,
                          lb_value_get(e, "kwargs"));
    }
}

typedef struct fired { /* an event that another process fired */
    int number;
    const char *stream, *native_id, *api, *event, *id;
    long long version;
    lb_value *kwargs;
} fired;

static bool read_fired(const command *c, fired *e)
{
    buffer json = {0};
    size_t i = 2;

    *e = (fired){
        .number = c->number, .stream = argument_text(c, 1), .native_id = lb_value_str(c->reply), .api = ""};
    if (!command_is(c, "XADD") || !e->native_id)
        return false;
    while (i < c->count && !argument_is(c, i, "*"))
        i++;
    buffer_char(&json, '{');
    for (i++; i + 1 < c->count; i += 2) {
        const char *field = argument_text(c, i), *value = argument_text(c, i + 1);
        if (*field == ':')
            buffer_printf(&json, "%s\"%s\":%s", json.size > 1 ? "," : "", field + 1, value);
        else if (strcmp(field, "api_name") == 0)
            e->api = value;
        else if (strcmp(field, "event_name") == 0)
            e->event = value;
        else if (strcmp(field, "id") == 0)
            e->id = value;
        else if (strcmp(field, "version") == 0)
            e->version = argument_int(c, i + 1);
    }
    buffer_char(&json, '}');
    lb_value_parse(json.data, json.size, &e->kwargs, NULL);
    buffer_free(&json);
    return *e->api && e->event && e->id;
}

static bool wants(const lb_value *listener, const fired *e)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(listener, "events"));

    while (lb_value_next(&it)) {
        const char *event = lb_value_str(lb_value_at(it.value, 1));
        if (strcmp(lb_value_str(lb_value_at(it.value, 0)), e->api) == 0 &&
            (strcmp(event, "*") == 0 || strcmp(event, e->event) == 0))
            return true;
    }
    return false;
}

static void expect_survival_of(facts *f, const part *p, const lb_value *listener, const fired *e)
{
    const char *name = lb_value_str(lb_value_get(listener, "name"));
    char process[160], group[160], ack[512], event[256];

    snprintf(process, sizeof(process), "%s/%s", p->service, p->process);
    snprintf(group, sizeof(group), "%s-%s", p->service, name);
    snprintf(event, sizeof(event), "%s.%s", e->api, e->event);
    snprintf(ack, sizeof(ack), "XACK %s %s %s", e->stream, group, e->native_id);
    if (!knows(f, FACT_HANDLED, name, e->native_id) || !knows(f, FACT_HANDLED, p->service, e->native_id))
        facts_add_handled(f, e->number, process, name, event, e->id, e->native_id, e->version, e->kwargs);
    if (!knows(f, FACT_ACK, ack, ""))
        facts_add(f, FACT_ACK, e->number, "%s", ack);
}

static void expect_survival(run *r, facts *f)
{
    for (size_t i = 0; i < r->part_count; i++)
        for (const lb_api *const *api = r->parts[i].apis; *api; api++)
            facts_add(f, FACT_SERVES, 0, "%s:rpc_queue", (*api)->name);
    for (size_t i = 0; i < r->vector->commands.count; i++) {
        const command *c = &r->vector->commands.list[i];
        fired e = {.kwargs = NULL};
        if (!run_plays(r, c->role) && read_fired(c, &e))
            for (size_t k = 0; k < r->part_count; k++) {
                lb_value_iterator it = lb_value_iterate(r->parts[k].listeners);
                while (lb_value_next(&it))
                    if (wants(it.value, &e))
                        expect_survival_of(f, &r->parts[k], it.value, &e);
            }
        lb_value_free(e.kwargs);
    }
}

/* ---- All */

void expected_facts(run *r, facts *f)
{
    unsigned differences = r->scenario->differences;
    reading how = {
        .includes = is_ours,
        .data = r,
        .own_error_text = (differences & (OWN_ERROR_TEXT | ANSWERED)) != 0,
        .once = (differences & REPLIES_LOST) != 0,
        .expiry_ms = r->expiry_ms,
        .expiry_count = r->direction == AS_CLIENT ? r->call_count : 0,
    };

    facts_read(f, &r->vector->commands, &how);
    if (r->direction == AS_CLIENT) {
        expect_attempts(r, f);
    } else {
        expect_received(r, f);
        if (differences & ANSWERED)
            expect_answers(r, f);
        if (differences & SURVIVES)
            expect_survival(r, f);
    }
    if (differences & OTHERS_UNTOUCHED)
        facts_drop_kind(f, FACT_CLEANUP);
    if (differences & HANDLED_ONCE) {
        facts_drop_kind(f, FACT_CLAIMS);
        facts_once(f, FACT_HANDLED);
        facts_once(f, FACT_ACK);
    }
    for (size_t i = 0; r->stage->corrupt && i < f->count; i++) {
        char *at = strstr((char *)(uintptr_t)f->list[i].text, r->stage->corrupt);
        if (at)
            *at ^= 1;
    }
}

void forget_facts(run *r, facts *actual)
{
    facts_drop(actual, PROBE_ID);
    if (r->direction == AS_CLIENT) /* a caller that waits no longer withdraws its call (S8) */
        facts_drop_kind(actual, FACT_TAKES);
    for (size_t i = 0; i < r->probe_count; i++)
        facts_drop(actual, r->probes[i]);
    if (!(r->scenario->differences & BURIED))
        return;
    for (size_t i = 0; i < r->vector->commands.count; i++) { /* acknowledged when they were buried */
        const command *c = &r->vector->commands.list[i];
        size_t kept = 0;
        if (!command_is(c, "XADD") || run_plays(r, c->role) || !lb_value_str(c->reply))
            continue;
        for (size_t k = 0; k < actual->count; k++)
            if (actual->list[k].kind != FACT_ACK || !strstr(actual->list[k].text, lb_value_str(c->reply)))
                actual->list[kept++] = actual->list[k];
        actual->count = kept;
    }
}

/* ---- Probes */

static void disappoint(run *r, const part *p, const char *what)
{
    buffer_printf(r->report, "  %s does not %s at the end\n", p->role, what);
    r->failed = true;
}

static void probe_call(run *r, const part *p)
{
    const char *kwargs, *procedure = api_probe_procedure(p->apis[0], &kwargs);
    redisReply *reply;
    char message[512];

    snprintf(message, sizeof(message),
             "{\"metadata\":{\"id\":\"" PROBE_ID "\",\"api_name\":\"%s\",\"procedure_name\":\"%s\","
             "\"return_path\":\"redis+key://" PROBE_KEY "\"},\"kwargs\":%s}",
             p->apis[0]->name, procedure, kwargs);
    freeReplyObject(feed_command(&r->feed, "SET rpc_expiry_key:" PROBE_ID " 1 EX 10"));
    freeReplyObject(feed_command(&r->feed, "RPUSH %s:rpc_queue %s", p->apis[0]->name, message));
    reply = feed_command(&r->feed, "BLPOP " PROBE_KEY " 8");
    if (reply->type != REDIS_REPLY_ARRAY || !strstr(reply->element[1]->str, "\"error\":false"))
        disappoint(r, p, "answer");
    freeReplyObject(reply);
}

void stream_name(const run *r, const part *p, const lb_value *pair, char *out, size_t size)
{
    const char *use = lb_value_str(vector_option(r->vector, p->role, "event_transport", "stream_use"));
    bool per_event = use && strcmp(use, "per_event") == 0;

    snprintf(out, size, "%s.%s:stream", lb_value_str(lb_value_at(pair, 0)),
             per_event ? lb_value_str(lb_value_at(pair, 1)) : "*");
}

/* Whether a group has read up to an entry and acknowledged all. */
static bool has_done(run *r, const char *stream, const char *group, const char *native_id)
{
    redisReply *groups = feed_command(&r->feed, "XINFO GROUPS %s", stream);
    bool done = false;

    for (size_t i = 0; i < groups->elements; i++) {
        redisReply **e = groups->element[i]->element; /* name n consumers n pending n last-delivered-id id .. */
        done =
            done || (strcmp(e[1]->str, group) == 0 && e[5]->integer == 0 && strcmp(e[7]->str, native_id) == 0);
    }
    freeReplyObject(groups);
    return done;
}

static bool is_probed(const lb_value *listener)
{
    const char *behave = lb_value_str(lb_value_get(listener, "behave"));

    return !behave || text_starts(behave, "sleep") || lb_value_get(listener, "on_error");
}

static void probe_listener(run *r, const part *p, const lb_value *listener)
{
    const lb_value *first = lb_value_at(lb_value_get(listener, "events"), 0);
    const char *api = lb_value_str(lb_value_at(first, 0)), *event = lb_value_str(lb_value_at(first, 1));
    int64_t deadline = support_now_ms() + 8000;
    char stream[256], group[256], *native_id = r->probes[r->probe_count++];
    redisReply *reply;

    stream_name(r, p, first, stream, sizeof(stream));
    snprintf(group, sizeof(group), "%s-%s", p->service, lb_value_str(lb_value_get(listener, "name")));
    if (strcmp(event, "user_deleted") == 0)
        reply = feed_command(&r->feed,
                             "XADD %s * id " PROBE_ID " api_name %s event_name %s version 1 :username \"x\"",
                             stream, api, event);
    else
        reply = feed_command(&r->feed,
                             "XADD %s * id " PROBE_ID " api_name %s event_name user_registered version 1"
                             " :username \"x\" :email \"x\"",
                             stream, api);
    snprintf(native_id, sizeof(r->probes[0]), "%s", reply->str);
    freeReplyObject(reply);
    while (!has_done(r, stream, group, native_id)) {
        run_look(r);
        if (support_now_ms() > deadline) {
            disappoint(r, p, "handle an event");
            return;
        }
        support_nap();
    }
}

/* Whether the dead letters of a stream hold one of its entries. */
static bool is_buried(run *r, const char *stream, const char *native_id)
{
    redisReply *letters = feed_command(&r->feed, "XRANGE %s:dead - +", stream);
    bool buried = false;

    for (size_t i = 0; i < letters->elements; i++) {
        redisReply *fields = letters->element[i]->element[1];
        for (size_t k = 0; k + 1 < fields->elements; k += 2)
            buried = buried || (strcmp(fields->element[k]->str, "dead_id") == 0 &&
                                strcmp(fields->element[k + 1]->str, native_id) == 0);
    }
    freeReplyObject(letters);
    return buried;
}

/* An event that is not understood is not lost (S14), unless it was trimmed before. */
static void probe_buried(run *r)
{
    for (size_t i = 0; i < r->vector->commands.count; i++) {
        const command *c = &r->vector->commands.list[i];
        const char *native_id = lb_value_str(c->reply);
        redisReply *entry;
        if (!command_is(c, "XADD") || run_plays(r, c->role) || !native_id)
            continue;
        entry = feed_command(&r->feed, "XRANGE %s %s %s", argument_text(c, 1), native_id, native_id);
        if (entry->elements && !is_buried(r, argument_text(c, 1), native_id)) {
            buffer_printf(r->report, "  command %d: %s\n    expected: it is among the dead letters\n",
                          c->number, native_id);
            r->failed = true;
        }
        freeReplyObject(entry);
    }
}

void worker_probe(run *r)
{
    for (size_t i = 0; i < r->part_count && !r->failed; i++) {
        const part *p = &r->parts[i];
        lb_value_iterator it = lb_value_iterate(p->listeners);
        if (p->actor && p->apis[0])
            probe_call(r, p);
        while (p->actor && !r->failed && lb_value_next(&it))
            if (is_probed(it.value))
                probe_listener(r, p, it.value);
    }
    if (!r->failed && (r->scenario->differences & BURIED))
        probe_buried(r);
}
