/* Our clients: they make the recorded calls, fire the recorded events, and must have the recorded outcomes. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "run.h"

#define HEAR_MS 8000

/* The next outcome; what the library logs is kept for the report. Owned. */
static lb_value *hear_outcome(run *r, part *p)
{
    lb_value *message;

    while ((message = actor_hear(p->actor, HEAR_MS)) != NULL && lb_value_get(message, "log")) {
        buffer_printf(&r->log, "    %s: %s\n", p->role, lb_value_str(lb_value_get(message, "log")));
        lb_value_free(message);
    }
    return message;
}

static void tell(part *p, const char *what, const char *name, const lb_value *kwargs, int timeout_ms)
{
    buffer order = {0};

    buffer_printf(&order, "{\"%s\":\"%s\",\"timeout_ms\":%d,\"kwargs\":", what, name, timeout_ms);
    json_write(&order, kwargs);
    buffer_char(&order, '}');
    actor_tell(p->actor, buffer_text(&order));
    buffer_free(&order);
}

static void disagree(run *r, const part *p, const char *what, const char *expected, const lb_value *outcome)
{
    char *actual = lb_value_json(outcome, NULL);

    buffer_printf(r->report, "  %s: %s\n    expected: %s\n    actual:   %s\n", p->role, what, expected,
                  outcome ? actual : "no outcome");
    free(actual);
    r->failed = true;
}

static bool has_status(const lb_value *outcome, lb_status status)
{
    const char *name = lb_value_str(lb_value_get(outcome, "status"));

    return name && strcmp(name, lb_status_name(status)) == 0;
}

/* ---- Attempts that leave no command in the recording */

static const attempt *find_attempt(const run *r, const part *p, int call)
{
    for (const attempt *a = r->stage->attempts; a->vector; a++)
        if (a->call == call && strcmp(a->vector, r->vector->name) == 0 && strcmp(a->role, p->role) == 0)
            return a;
    return NULL;
}

static void end_call(part *p, int index)
{
    char order[64];

    snprintf(order, sizeof(order), "{\"end\":%d}", index);
    actor_tell(p->actor, order);
}

void client_attempts(run *r, part *p)
{
    for (const attempt *a = r->stage->attempts; a->vector; a++) {
        lb_value *kwargs = NULL, *outcome;
        if (a->call >= 0 || strcmp(a->vector, r->vector->name) != 0 || strcmp(a->role, p->role) != 0)
            continue;
        lb_value_parse(a->kwargs, strlen(a->kwargs), &kwargs, NULL);
        tell(p, a->call == ATTEMPT_FIRE ? "fire" : "begin", a->name, kwargs, SHORT_TIMEOUT_MS);
        if (a->call == ATTEMPT_CALL)
            end_call(p, p->begun++);
        outcome = hear_outcome(r, p);
        if (!has_status(outcome, a->status))
            disagree(r, p, a->name, lb_status_name(a->status), outcome);
        r->pushed += a->status == LB_TIMEOUT;
        lb_value_free(outcome);
        lb_value_free(kwargs);
    }
}

/* ---- Calls */

static bool was_made(const run *r, const char *id)
{
    for (size_t i = 0; i < r->call_count; i++)
        if (strcmp(r->calls[i].id, id) == 0)
            return true;
    return false;
}

/* The number of the command that came when a process had ended. */
static int end_of(const run *r, const char *role)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(r->vector->document, "timeline"));

    while (lb_value_next(&it)) {
        const char *whose = lb_value_str(lb_value_get(it.value, "role"));
        if (whose && strcmp(whose, role) == 0 &&
            strcmp(lb_value_str(lb_value_get(it.value, "what")), "exit") == 0)
            return (int)lb_value_int(lb_value_get(it.value, "after_seq"));
    }
    return INT_MAX;
}

/* The recorded answer to a call: what another process pushed to its key while the caller was there. */
static const command *find_answer(const run *r, const part *p, const char *key)
{
    int end = end_of(r, p->role);

    for (size_t i = 0; i < r->vector->commands.count; i++) {
        const command *c = &r->vector->commands.list[i];
        if (command_is(c, "LPUSH") && strcmp(argument_text(c, 1), key) == 0 && c->number < end)
            return c;
    }
    return NULL;
}

/* Reads the id and the key that our library gave to the call which it has just pushed. A command is noted
 * before it is passed on, so only its reply tells that the call is there for a worker to take. */
static bool learn_ours(run *r, call *one)
{
    int64_t deadline = support_now_ms() + 5000;
    const command *push = NULL;
    const lb_value *metadata;
    lb_value *message = NULL;

    while (!push && support_now_ms() < deadline) {
        size_t seen = 0;
        run_look(r);
        for (size_t i = 0; i < r->notes.count && !push; i++)
            if (command_is(&r->notes.list[i], "RPUSH") && seen++ == r->pushed && r->notes.list[i].reply)
                push = &r->notes.list[i];
        if (!push)
            support_nap();
    }
    if (!push || lb_value_parse(push->arguments[2].data, push->arguments[2].size, &message, NULL) != LB_OK)
        return false;
    metadata = lb_value_get(message, "metadata");
    if (lb_value_str(lb_value_get(metadata, "id")) && lb_value_str(lb_value_get(metadata, "return_path"))) {
        const char *key = strstr(lb_value_str(lb_value_get(metadata, "return_path")), "://");
        snprintf(one->our_id, sizeof(one->our_id), "%s", lb_value_str(lb_value_get(metadata, "id")));
        snprintf(one->our_key, sizeof(one->our_key), "%s", key ? key + 3 : "");
    }
    lb_value_free(message);
    r->pushed++;
    return *one->our_id && *one->our_key;
}

static int choose_timeout(const run *r, bool answered)
{
    if (r->scenario->timeout_ms)
        return r->scenario->timeout_ms;
    return answered || (r->scenario->differences & FULL_TIMEOUT) ? 0 : SHORT_TIMEOUT_MS;
}

static void play_call(run *r, part *p, const command *c)
{
    lb_value *message = NULL;
    const lb_value *metadata;
    const command *answer;
    const attempt *other;
    char name[256];
    call *one = &r->calls[r->call_count];
    int timeout_ms;

    if (r->call_count == CALLS_MAX ||
        lb_value_parse(c->arguments[2].data, c->arguments[2].size, &message, NULL) != LB_OK)
        fail_msg("%s, command %d: not a call that a client can make", r->vector->name, c->number);
    metadata = lb_value_get(message, "metadata");
    if (was_made(r, lb_value_str(lb_value_get(metadata, "id")))) { /* Python sends it again (S1: we do not) */
        lb_value_free(message);
        return;
    }
    *one = (call){.part = p, .index = p->begun++, .recorded = message};
    for (size_t i = 0; i < r->call_count; i++)
        one->nth += r->calls[i].part == p;
    one->id = lb_value_str(lb_value_get(metadata, "id"));
    one->key = lb_value_str(lb_value_get(metadata, "return_path")) + strlen("redis+key://");
    answer = find_answer(r, p, one->key);
    if (answer)
        lb_value_parse(answer->arguments[2].data, answer->arguments[2].size, &one->answer, NULL);
    other = find_attempt(r, p, one->nth);
    timeout_ms = choose_timeout(r, one->answer && !(other && other->status == LB_TIMEOUT));
    r->expiry_ms[r->call_count] = timeout_ms                                 ? timeout_ms
                                  : (r->scenario->differences & OWN_TIMEOUT) ? p->rpc_timeout_ms
                                                                             : 0;
    r->call_count++;
    snprintf(name, sizeof(name), "%s.%s", lb_value_str(lb_value_get(metadata, "api_name")),
             lb_value_str(lb_value_get(metadata, "procedure_name")));
    tell(p, "begin", name, lb_value_get(message, "kwargs"), timeout_ms);
    if (!learn_ours(r, one)) {
        lb_value *outcome;
        end_call(p, one->index);
        outcome = hear_outcome(r, p);
        disagree(r, p, name, "the call is pushed", outcome);
        lb_value_free(outcome);
    }
}

/* ---- Events */

static void play_fire(run *r, part *p, const command *c)
{
    const char *api = "", *event = "";
    buffer json = {0};
    lb_value *kwargs = NULL, *outcome;
    char name[256];
    size_t i = 2;

    while (i < c->count && !argument_is(c, i, "*"))
        i++;
    buffer_char(&json, '{');
    for (i++; i + 1 < c->count; i += 2) {
        const char *field = argument_text(c, i), *value = argument_text(c, i + 1);
        if (strcmp(field, "api_name") == 0)
            api = value;
        if (strcmp(field, "event_name") == 0)
            event = value;
        if (*field == ':')
            buffer_printf(&json, "%s\"%s\":%s", json.size > 1 ? "," : "", field + 1, value);
    }
    buffer_char(&json, '}');
    if (lb_value_parse(json.data, json.size, &kwargs, NULL) != LB_OK)
        fail_msg("%s, command %d: not an event that a client can fire", r->vector->name, c->number);
    snprintf(name, sizeof(name), "%s.%s", api, event);
    tell(p, "fire", name, kwargs, 0);
    outcome = hear_outcome(r, p);
    if (!has_status(outcome, LB_OK))
        disagree(r, p, name, "it is fired", outcome);
    lb_value_free(outcome);
    lb_value_free(kwargs);
    buffer_free(&json);
}

void client_play(run *r, part *p, const command *c)
{
    if (command_is(c, "RPUSH"))
        play_call(r, p, c);
    if (command_is(c, "XADD"))
        play_fire(r, p, c);
}

/* ---- Outcomes */

static bool is_truthy(const lb_value *value)
{
    switch (lb_value_type_of(value)) {
    case LB_TYPE_NULL:
        return false;
    case LB_TYPE_BOOL:
        return lb_value_bool(value);
    case LB_TYPE_STR:
        return lb_value_str_size(value) > 0;
    case LB_TYPE_LIST:
    case LB_TYPE_DICT:
        return lb_value_count(value) > 0;
    default:
        return lb_value_float(value) != 0;
    }
}

/* A remote error carries the recorded text, or the name and the message that Python's repr() makes that text
 * of. */
static bool is_remote_error(const lb_value *outcome, const lb_value *result)
{
    const char *text = lb_value_str(result);
    const char *type = lb_value_str(lb_value_get(outcome, "type"));
    const char *message = lb_value_str(lb_value_get(outcome, "message"));

    return has_status(outcome, LB_REMOTE_ERROR) && text && *message &&
           (strstr(message, text) || (text_starts(text, type) && strstr(text, message)));
}

/* What the recorded answer makes of a call: its value, or its error. */
static void check_outcome(run *r, const call *one, const lb_value *outcome)
{
    const lb_value *metadata = lb_value_get(one->answer, "metadata");
    const lb_value *result = lb_value_get(lb_value_get(one->answer, "kwargs"), "result");
    const attempt *other = find_attempt(r, one->part, one->nth);
    const char *name = lb_value_str(lb_value_get(lb_value_get(one->recorded, "metadata"), "procedure_name"));

    if (other) {
        if (!has_status(outcome, other->status))
            disagree(r, one->part, name, lb_status_name(other->status), outcome);
    } else if (!one->answer) {
        if (!has_status(outcome, LB_TIMEOUT))
            disagree(r, one->part, name, lb_status_name(LB_TIMEOUT), outcome);
    } else if (is_truthy(lb_value_get(metadata, "error"))) {
        if (!is_remote_error(outcome, result))
            disagree(r, one->part, name, lb_value_str(result), outcome);
    } else if (!has_status(outcome, LB_OK) || !lb_value_equal(lb_value_get(outcome, "value"), result)) {
        char *json = lb_value_json(result, NULL);
        disagree(r, one->part, name, result ? json : "null", outcome);
        free(json);
    }
}

void client_finish(run *r, part *p)
{
    int code;

    if (!p->actor)
        return;
    for (size_t i = 0; i < r->call_count; i++) {
        call *one = &r->calls[i];
        if (one->part == p && *one->our_key) {
            lb_value *outcome;
            end_call(p, one->index);
            outcome = hear_outcome(r, p);
            check_outcome(r, one, outcome);
            lb_value_free(outcome);
        }
        if (one->part == p) {
            lb_value_free(one->recorded);
            lb_value_free(one->answer);
            *one = (call){.part = p, .id = "", .key = ""};
        }
    }
    actor_dismiss(p->actor);
    code = actor_end(p->actor, 5000);
    if (code != 0) {
        buffer_printf(r->report, "  %s ended with %d\n    expected: exit code 0\n", p->role, code);
        r->failed = true;
    }
    actor_free(p->actor);
    p->actor = NULL;
}

/* ---- Translation */

lb_slice client_translate(run *r, lb_slice argument)
{
    for (size_t i = 0; i < r->call_count; i++) {
        call *one = &r->calls[i];
        const char *at = *one->id ? strstr(argument.data, one->id) : NULL;
        char *text;
        size_t before, after;
        if (*one->key && strcmp(argument.data, one->key) == 0)
            return (lb_slice){one->our_key, strlen(one->our_key)};
        if (!at)
            continue;
        before = (size_t)(at - argument.data);
        after = argument.size - before - strlen(one->id);
        text = arena_alloc(&r->notes.memory, argument.size + strlen(one->our_id) + 1);
        memcpy(text, argument.data, before);
        strcpy(text + before, one->our_id);
        memcpy(text + before + strlen(one->our_id), at + strlen(one->id), after + 1);
        return (lb_slice){text, before + strlen(one->our_id) + after};
    }
    return argument;
}
