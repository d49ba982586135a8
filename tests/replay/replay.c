#include "replay.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor.h"
#include "apis.h"
#include "facts.h"
#include "feed.h"
#include "run.h"

/* ---- Roles */

static bool has_kind(const run *r, const char *role, const char *kind)
{
    const lb_value *entry = vector_role(r->vector, role);

    return entry && strcmp(lb_value_str(lb_value_get(entry, "kind")), kind) == 0;
}

bool run_plays(const run *r, const char *role)
{
    return has_kind(r, role, r->direction == AS_CLIENT ? "client" : "worker");
}

static part *part_of(run *r, const char *role)
{
    for (size_t i = 0; i < r->part_count; i++)
        if (strcmp(r->parts[i].role, role) == 0)
            return &r->parts[i];
    return NULL;
}

/* The word after `option` in the recorded command line. */
static void read_word(char *out, size_t size, const char *line, const char *option)
{
    const char *at = line ? strstr(line, option) : NULL;

    snprintf(out, size, "%.*s", at ? (int)strcspn(at + strlen(option), " ") : 0, at ? at + strlen(option) : "");
}

/* The options of the recorded event transport that ours has too. */
static void write_url(run *r, const char *role, char *out, size_t size)
{
    static const char *const options[] = {"acknowledgement_timeout", "reclaim_interval", "reclaim_batch_size",
                                          "max_stream_length", "stream_use"};
    const char *recorded = lb_value_str(vector_option(r->vector, role, "rpc_transport", "url"));
    const char *password = recorded && strstr(recorded, ":secret@") ? ":secret@" : "";
    buffer url = {0};
    char separator = '?';

    buffer_printf(&url, "redis://%s127.0.0.1:%d/%d", password, recorder_port(r->stage->recorder), r->database);
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
        const lb_value *value = vector_option(r->vector, role, "event_transport", options[i]);
        if (!value)
            continue;
        buffer_printf(&url, "%c%s=", separator, options[i]);
        if (lb_value_type_of(value) == LB_TYPE_STR)
            buffer_str(&url, lb_value_str(value));
        else
            buffer_printf(&url, "%g", lb_value_float(value));
        separator = '&';
    }
    snprintf(out, size, "%s", buffer_text(&url));
    buffer_free(&url);
}

static void set_up(run *r, part *p, actor_setup *setup)
{
    const lb_value *timeout = vector_option(r->vector, p->role, "", "rpc_timeout");
    const lb_value *ttl = vector_option(r->vector, p->role, "schema", "ttl");

    write_url(r, p->role, p->url, sizeof(p->url));
    *setup = (actor_setup){
        .url = p->url,
        .service_name = p->service,
        .process_name = p->process,
        .rpc_timeout_ms = (int)(1000 * lb_value_float(timeout)),
        .schema_ttl_s = (int)lb_value_int(ttl),
        .flags = lb_value_bool(vector_option(r->vector, p->role, "", "strict_validation"))
                     ? LB_OPEN_STRICT_VALIDATION
                     : 0,
        .listeners = p->listeners,
    };
    p->rpc_timeout_ms = setup->rpc_timeout_ms ? setup->rpc_timeout_ms : 5000;
    memcpy(setup->apis, p->apis, sizeof(p->apis));
}

/* A worker serves the APIs whose schemas it published, a client the ones that the recording names. */
static void find_apis(run *r, part *p)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(vector_role(r->vector, p->role), "apis_registered"));
    size_t count = 0;

    while (lb_value_next(&it))
        p->apis[count++] = api_by_name(lb_value_str(it.value));
    for (size_t i = 0; i < r->vector->commands.count && r->direction == AS_WORKER; i++) {
        const command *c = &r->vector->commands.list[i];
        const lb_api *api = command_is(c, "SET") && text_starts(argument_text(c, 1), "schema:")
                                ? api_by_name(argument_text(c, 1) + strlen("schema:"))
                                : NULL;
        bool known = false;
        for (size_t k = 0; k < count; k++)
            known = known || p->apis[k] == api;
        if (api && !known && strcmp(c->role, p->role) == 0)
            p->apis[count++] = api;
    }
}

static part *part_create(run *r, const char *role)
{
    const lb_value *entry = vector_role(r->vector, role);
    const char *line = lb_value_str(lb_value_get(entry, "command"));
    const char *listen = lb_value_str(lb_value_get(lb_value_get(entry, "env"), "LB_LISTEN"));
    part *p = &r->parts[r->part_count++];

    if (r->part_count > PARTS_MAX)
        fail_msg("%s has too many processes", r->vector->name);
    *p = (part){.role = role};
    if (line) {
        read_word(p->service, sizeof(p->service), line, "--service-name ");
        read_word(p->process, sizeof(p->process), line, "--process-name ");
    } else {
        snprintf(p->service, sizeof(p->service), "%s", lb_value_str(lb_value_get(entry, "service_name")));
        snprintf(p->process, sizeof(p->process), "%s", lb_value_str(lb_value_get(entry, "process_name")));
    }
    if (listen)
        lb_value_parse(listen, strlen(listen), &p->listeners, NULL);
    find_apis(r, p);
    return p;
}

/* ---- What our side did */

static void hear(run *r, part *p)
{
    lb_value *message;

    while (p->actor && r->direction == AS_WORKER && (message = actor_hear(p->actor, 0)) != NULL) {
        const char *listener = lb_value_str(lb_value_get(message, "handled"));
        const char *log = lb_value_str(lb_value_get(message, "log"));
        if (listener)
            facts_add_handled(
                &r->handled, r->notes.count ? r->notes.list[r->notes.count - 1].number : 0,
                r->scenario->differences & HANDLED_ONCE ? "-" : lb_value_str(lb_value_get(message, "process")),
                listener, lb_value_str(lb_value_get(message, "event")),
                lb_value_str(lb_value_get(message, "id")), lb_value_str(lb_value_get(message, "native_id")),
                (long long)lb_value_int(lb_value_get(message, "version")), lb_value_get(message, "kwargs"));
        if (log)
            buffer_printf(&r->log, "    %s: %s\n", p->role, log);
        lb_value_free(message);
    }
}

void run_look(run *r)
{
    notes_read(&r->notes, r->stage->recorder, &r->position);
    for (size_t i = 0; i < r->part_count; i++)
        hear(r, &r->parts[i]);
}

static bool is_recent(const command *c, const void *number) { return c->number >= *(const int *)number; }

static void read_actual(run *r, facts *f, int since)
{
    reading how = {.includes = is_recent,
                   .data = &since,
                   .own_error_text = (r->scenario->differences & (OWN_ERROR_TEXT | ANSWERED)) != 0};

    run_look(r);
    facts_read(f, &r->notes, &how);
}

/* Waits until our side has done all that is in `wanted`, since a note. */
static bool await(run *r, const facts *wanted, int since, int timeout_ms)
{
    int64_t deadline = support_now_ms() + timeout_ms;

    for (;;) {
        facts actual = {0};
        size_t found = 0;
        read_actual(r, &actual, since);
        for (size_t i = 0; i < wanted->count; i++)
            for (size_t k = 0; k < actual.count; k++)
                if (strcmp(wanted->list[i].text, actual.list[k].text) == 0) {
                    found++;
                    break;
                }
        facts_free(&actual);
        if (found == wanted->count || support_now_ms() > deadline)
            return found == wanted->count;
        support_nap();
    }
}

static bool await_handled(run *r, size_t count, int timeout_ms)
{
    int64_t deadline = support_now_ms() + timeout_ms;

    while (run_look(r), facts_count(&r->handled, FACT_HANDLED) < count) {
        if (support_now_ms() > deadline)
            return false;
        support_nap();
    }
    return true;
}

/* ---- Starting and stopping */

static bool is_of_role(const command *c, const void *role) { return strcmp(c->role, role) == 0; }

/* What a worker does once it is ready: it waits for calls and for new events. */
static bool await_ready(run *r, part *p, int since)
{
    lb_value_iterator it = lb_value_iterate(p->listeners);
    facts wanted = {0};
    bool ready;

    for (const lb_api *const *api = p->apis; *api; api++)
        facts_add(&wanted, FACT_SERVES, 0, "%s:rpc_queue", (*api)->name);
    while (lb_value_next(&it)) {
        lb_value_iterator events = lb_value_iterate(lb_value_get(it.value, "events"));
        while (lb_value_next(&events)) {
            char stream[256], group[256];
            stream_name(r, p, events.value, stream, sizeof(stream));
            snprintf(group, sizeof(group), "%s-%s", p->service, lb_value_str(lb_value_get(it.value, "name")));
            facts_add_reads(&wanted, group, p->process, stream, true);
        }
    }
    ready = await(r, &wanted, since, 5000);
    facts_free(&wanted);
    return ready;
}

/* What the recorded worker claimed had lain there for long enough. */
static void await_idle(run *r, const char *role)
{
    int64_t deadline = support_now_ms() + 5000;
    const command *claim = NULL;
    size_t wanted = 0, idle = 0;

    for (size_t i = 0; i < r->vector->commands.count; i++)
        if (command_is(&r->vector->commands.list[i], "XCLAIM") &&
            is_of_role(&r->vector->commands.list[i], role)) {
            claim = &r->vector->commands.list[i];
            wanted++;
        }
    while (claim && idle < wanted && support_now_ms() < deadline) {
        redisReply *pending = feed_command(&r->feed, "XPENDING %s %s IDLE %s - + 100", argument_text(claim, 1),
                                           argument_text(claim, 2), argument_text(claim, 4));
        idle = pending->elements;
        freeReplyObject(pending);
        support_nap();
    }
}

static void stop_worker(run *r, part *p, int signal)
{
    int code;

    actor_signal(p->actor, signal);
    code = actor_end(p->actor, 12000);
    run_look(r);
    if (signal != SIGKILL && code != 0) {
        buffer_printf(r->report, "  %s ended with %d\n    expected: exit code 0\n", p->role, code);
        r->failed = true;
    }
    actor_free(p->actor);
    p->actor = NULL;
}

static void start_part(run *r, const char *role)
{
    actor_setup setup;
    part *p;
    int since = r->notes.count ? r->notes.list[r->notes.count - 1].number + 1 : 0;

    for (size_t i = 0; i < r->part_count; i++) { /* it has died in the recording: ours has not */
        part *former = &r->parts[i];
        const lb_value *entry = vector_role(r->vector, role);
        const char *line = lb_value_str(lb_value_get(entry, "command"));
        char service[64], process[64];
        read_word(service, sizeof(service), line, "--service-name ");
        read_word(process, sizeof(process), line, "--process-name ");
        if (former->actor && r->direction == AS_WORKER && strcmp(former->service, service) == 0 &&
            strcmp(former->process, process) == 0)
            stop_worker(r, former, SIGTERM);
    }
    run_look(r);
    if (r->notes.count)
        since = r->notes.list[r->notes.count - 1].number + 1;
    p = part_create(r, role);
    set_up(r, p, &setup);
    if (r->direction == AS_WORKER && !(r->scenario->differences & HANDLED_ONCE))
        await_idle(r, role);
    p->actor = r->direction == AS_CLIENT ? actor_start_client(&setup) : actor_start_worker(&setup);
    if (r->direction == AS_CLIENT)
        client_attempts(r, p);
    else if (!await_ready(r, p, since)) {
        buffer_printf(r->report, "  %s does not get ready\n", role);
        r->failed = true;
    }
}

/* ---- The timeline */

static size_t handled_before(const run *r, double t)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(r->vector->document, "received"));
    size_t count = 0;

    while (lb_value_next(&it))
        count += text_starts(lb_value_str(lb_value_get(it.value, "what")), "called") &&
                 lb_value_float(lb_value_get(it.value, "t")) < t;
    return count;
}

/* A worker whose schemas live shortly has published them again. */
static void await_renewal(run *r, const part *p)
{
    int64_t deadline = support_now_ms() + 6000;
    size_t sets = 0;

    while (p->apis[0] && vector_option(r->vector, p->role, "schema", "ttl") && sets < 2) {
        run_look(r);
        sets = 0;
        for (size_t i = 0; i < r->notes.count; i++)
            sets += command_is(&r->notes.list[i], "SET") &&
                    text_starts(argument_text(&r->notes.list[i], 1), "schema:");
        if (support_now_ms() > deadline) {
            buffer_printf(r->report, "  %s publishes its schemas once\n    expected: again\n", p->role);
            r->failed = true;
            return;
        }
        support_nap();
    }
}

/* Before a worker is signalled it must be as far as it was in the recording. */
static void catch_up(run *r, int number, double t)
{
    facts expected = {0}, taken = {0};

    expected_facts(r, &expected);
    for (size_t i = 0; i < expected.count; i++)
        if (expected.list[i].kind == FACT_TAKES && expected.list[i].number < number)
            facts_add(&taken, FACT_TAKES, 0, "%s", expected.list[i].text);
    await(r, &taken, 0, 5000);
    await_handled(r, handled_before(r, t), 5000);
    facts_free(&taken);
    facts_free(&expected);
}

static void end_part(run *r, const lb_value *entry, part *p)
{
    if (r->direction == AS_CLIENT) {
        client_finish(r, p);
    } else if (p->actor && (r->scenario->differences & STOPS) &&
               lb_value_int(lb_value_get(entry, "code")) == 1) {
        int code = actor_end(p->actor, 5000);
        run_look(r);
        if (code != 1) {
            buffer_printf(r->report, "  %s ended with %d\n    expected: exit code 1\n", p->role, code);
            r->failed = true;
        }
        actor_free(p->actor);
        p->actor = NULL;
    }
}

/* An outage lasts as long as it did in the recording, and until our side has tried to connect in vain. */
static void begin_outage(run *r, const lb_value *entry, const lb_value *next)
{
    double duration = lb_value_float(lb_value_get(next, "t")) - lb_value_float(lb_value_get(entry, "t"));

    r->refusals = recorder_refusals(r->stage->recorder);
    r->outage_ends_ms = support_now_ms() + (duration > 0 ? (int64_t)(1000 * duration) : 0);
    recorder_refuse(r->stage->recorder);
}

static void end_outage(run *r)
{
    int64_t deadline = r->outage_ends_ms + 5000;

    while (r->outage_ends_ms && support_now_ms() < deadline &&
           (support_now_ms() < r->outage_ends_ms || recorder_refusals(r->stage->recorder) < r->refusals + 2))
        support_nap();
    r->outage_ends_ms = 0;
    recorder_accept(r->stage->recorder);
}

static void follow_timeline(run *r, const lb_value *entry, const lb_value *next)
{
    const char *what = lb_value_str(lb_value_get(entry, "what")),
               *role = lb_value_str(lb_value_get(entry, "role"));
    const char *signal = lb_value_str(lb_value_get(entry, "signal"));
    part *p = role ? part_of(r, role) : NULL;

    if (strcmp(what, "start") == 0 && run_plays(r, role)) {
        start_part(r, role);
    } else if (strcmp(what, "exit") == 0 && p) {
        end_part(r, entry, p);
    } else if (strcmp(what, "signal") == 0 && p && p->actor) {
        catch_up(r, (int)lb_value_int(lb_value_get(entry, "after_seq")),
                 lb_value_float(lb_value_get(entry, "t")));
        await_renewal(r, p);
        stop_worker(r, p, strcmp(signal, "SIGKILL") == 0 ? SIGKILL : SIGTERM);
    } else if (r->direction == AS_CLIENT) {
        return; /* outages are the worker's */
    } else if (text_starts(what, "recorder cuts all")) {
        recorder_cut(r->stage->recorder);
    } else if (text_starts(what, "Redis becomes unreachable")) {
        begin_outage(r, entry, next);
    } else if (text_starts(what, "Redis reachable again")) {
        end_outage(r);
    }
}

/* ---- The other side's commands */

/* A call that came too late in the recording comes without its expiry key: nobody needs to wait for the key's
 * end. */
static bool came_late(const run *r, const char *key)
{
    for (size_t i = 0; i < r->vector->commands.count; i++) {
        const command *c = &r->vector->commands.list[i];
        if (command_is(c, "DEL") && strcmp(argument_text(c, 1), key) == 0 && run_plays(r, c->role))
            return lb_value_int(c->reply) == 0;
    }
    return false;
}

static bool validates(const run *r, const char *role)
{
    const lb_value *validate = vector_option(r->vector, role, "", "validate");

    return !validate || lb_value_bool(validate);
}

/* Whether a client of ours plays one that does not validate: it must not know the schema. */
static bool hides_schemas(const run *r)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(r->vector->document, "python"));

    while (r->direction == AS_CLIENT && lb_value_next(&it)) {
        const char *role = lb_value_str(lb_value_get(it.value, "role"));
        if (run_plays(r, role) && !validates(r, role))
            return true;
    }
    return false;
}

static bool is_one_of(const command *c, const char *const *names)
{
    while (*names && !command_is(c, *names))
        names++;
    return *names != NULL;
}

static bool is_fed(const run *r, const command *c)
{
    static const char *const of_worker[] = {"SET", "EXPIRE", "SADD", "LPUSH", "DEL", NULL};
    static const char *const of_others[] = {"SET",  "EXPIRE", "SADD",  "LPUSH",      "DEL",
                                            "XADD", "RPUSH",  "XTRIM", "XREADGROUP", NULL};

    if (text_starts(argument_text(c, 1), "rpc_expiry_key:") && came_late(r, argument_text(c, 1)))
        return false;
    if (text_starts(argument_text(c, 1), "schema") && hides_schemas(r))
        return false;
    if (command_is(c, "XREADGROUP") && r->direction == AS_CLIENT)
        return false; /* the group is a worker's, which nobody plays */
    return is_one_of(c, has_kind(r, c->role, "worker") ? of_worker : of_others);
}

/* An event keeps its recorded native id. */
static void feed_one(run *r, const command *c)
{
    lb_slice *arguments = calloc(c->count, sizeof(*arguments));
    const char *native_id = lb_value_str(c->reply);

    for (size_t i = 0; i < c->count; i++) {
        arguments[i] = c->arguments[i];
        if (command_is(c, "XADD") && argument_is(c, i, "*") && native_id) {
            arguments[i] = (lb_slice){native_id, strlen(native_id)};
            native_id = NULL;
        }
        if (r->direction == AS_CLIENT)
            arguments[i] = client_translate(r, arguments[i]);
    }
    feed_add(&r->feed, arguments, c->count);
    free(arguments);
}

/* A call that is sent again came after the first one had been taken. */
static bool is_repeated(const run *r, size_t index)
{
    const command *list = r->vector->commands.list;

    for (size_t i = 0; i < index && command_is(&list[index], "RPUSH"); i++)
        if (command_is(&list[i], "RPUSH") &&
            strcmp(argument_text(&list[i], 2), argument_text(&list[index], 2)) == 0)
            return true;
    return false;
}

static bool key_is_gone(run *r, const char *key)
{
    redisReply *reply = feed_command(&r->feed, "EXISTS %s", key);
    bool gone = reply->integer == 0;

    freeReplyObject(reply);
    return gone;
}

/* The key of the first call may still be on its way out: nobody answers for that. */
static void await_taken(run *r, size_t first, size_t last)
{
    for (size_t i = first; i <= last; i++) {
        const char *key = argument_text(&r->vector->commands.list[i], 1);
        if (text_starts(key, "rpc_expiry_key:"))
            wait_until(key_is_gone(r, key), 5000);
    }
}

/* Sends the commands of one recorded write in one write; returns the index of the last. */
static size_t feed_write(run *r, size_t index)
{
    const command *list = r->vector->commands.list, *first = &list[index];
    size_t last = index;
    long long reply;

    while (last + 1 < r->vector->commands.count && list[last + 1].write == first->write &&
           list[last + 1].connection == first->connection && strcmp(list[last + 1].role, first->role) == 0)
        last++;
    if (r->direction == AS_WORKER && is_repeated(r, index)) {
        catch_up(r, first->number, 0);
        await_taken(r, index, last);
    }
    for (size_t i = index; i <= last; i++)
        if (is_fed(r, &list[i]))
            feed_one(r, &list[i]);
    reply = feed_send(&r->feed);
    if (r->direction == AS_CLIENT && text_starts(argument_text(first, 1), "rpc_expiry_key:") &&
        command_is(first, "DEL") && lb_value_int(first->reply) == 1 && reply != 1 &&
        !(r->scenario->differences & REPLIES_LOST)) {
        buffer_printf(r->report, "  command %d: %s\n    expected: the expiry key is there\n", first->number,
                      argument_text(first, 1));
        r->failed = true;
    }
    return last;
}

/* ---- The whole */

static bool open_stage(run *r)
{
    const lb_value *config = lb_value_get(r->vector->document, "config");
    lb_value_iterator it = lb_value_iterate(config);
    const char *url, *slash;

    if (!lb_value_next(&it))
        return false;
    url = lb_value_str(vector_option(r->vector, it.name, "rpc_transport", "url"));
    slash = url ? strrchr(url, '/') : NULL;
    r->database = slash && slash[1] > '0' ? slash[1] - '0' : 0;
    r->password = url && strstr(url, ":secret@") ? "secret" : NULL;
    feed_open(&r->feed, r->stage->server->port, NULL, r->database);
    freeReplyObject(feed_command(&r->feed, "FLUSHALL"));
    if (r->password)
        freeReplyObject(feed_command(&r->feed, "CONFIG SET requirepass %s", r->password));
    recorder_notes(r->stage->recorder, &r->position);
    r->begin = r->position;
    if (r->scenario->differences & REPLIES_LOST && r->direction == AS_CLIENT)
        recorder_lose_reply(r->stage->recorder);
    return true;
}

static void play(run *r)
{
    const commands *list = &r->vector->commands;
    const lb_value *timeline = lb_value_get(r->vector->document, "timeline");
    size_t at = 0, end = lb_value_count(timeline);

    for (size_t i = 0; i < list->count && !r->failed; i++) {
        const command *c = &list->list[i];
        for (; at < end && lb_value_int(lb_value_get(lb_value_at(timeline, at), "after_seq")) <= c->number;
             at++)
            follow_timeline(r, lb_value_at(timeline, at), lb_value_at(timeline, at + 1));
        if (!run_plays(r, c->role))
            i = feed_write(r, i);
        else if (r->direction == AS_CLIENT && part_of(r, c->role) && !r->failed)
            client_play(r, part_of(r, c->role), c);
    }
    for (; at < end && !r->failed; at++)
        follow_timeline(r, lb_value_at(timeline, at), lb_value_at(timeline, at + 1));
}

static bool hangs(const part *p)
{
    lb_value_iterator it = lb_value_iterate(p->listeners);

    while (lb_value_next(&it)) {
        const char *behave = lb_value_str(lb_value_get(it.value, "behave"));
        if (behave && strcmp(behave, "hang") == 0)
            return true;
    }
    return false;
}

static void finish(run *r)
{
    end_outage(r);
    if (!r->failed && r->direction == AS_WORKER) {
        worker_probe(r);
        await_handled(r, handled_before(r, HUGE_VAL), 5000);
    }
    for (size_t i = 0; i < r->part_count; i++)
        if (r->parts[i].actor && r->direction == AS_WORKER)
            stop_worker(r, &r->parts[i], hangs(&r->parts[i]) ? SIGKILL : SIGTERM);
        else if (r->parts[i].actor)
            client_finish(r, &r->parts[i]);
}

static void compare(run *r)
{
    facts expected = {0}, actual = {0};

    expected_facts(r, &expected);
    read_actual(r, &actual, 0);
    for (size_t i = 0; i < r->handled.count; i++)
        facts_add(&actual, FACT_HANDLED, r->handled.list[i].number, "%s", r->handled.list[i].text);
    forget_facts(r, &actual);
    if (!facts_equal(&expected, &actual, r->report))
        r->failed = true;
    facts_free(&expected);
    facts_free(&actual);
}

static void close_stage(run *r)
{
    for (size_t i = 0; i < r->part_count; i++) {
        actor_free(r->parts[i].actor);
        lb_value_free(r->parts[i].listeners);
    }
    if (r->password)
        freeReplyObject(feed_command(&r->feed, "CONFIG SET requirepass %s", ""));
    feed_close(&r->feed);
    facts_free(&r->handled);
    commands_free(&r->notes);
    vector_free(r->vector);
    buffer_free(&r->log);
    free(r);
}

bool replay(const stage *stage, const scenario *scenario, enum direction direction, buffer *report)
{
    run *r = calloc(1, sizeof(*r));
    bool agreed;

    r->stage = stage;
    r->scenario = scenario;
    r->direction = direction;
    r->report = report;
    r->vector = vector_load(stage->directory, scenario->vector);
    if (!open_stage(r))
        fail_msg("%s has no configuration", scenario->vector);
    play(r);
    finish(r);
    compare(r);
    if (r->failed && r->log.size)
        buffer_printf(report, "  the log of our side:\n%s", buffer_text(&r->log));
    if (r->failed && getenv("LIGHTBUS_REPLAY_NOTES")) {
        size_t end;
        const char *notes = recorder_notes(stage->recorder, &end);
        buffer_printf(report, "  the notes of the recorder:\n%.*s", (int)(end - r->begin), notes + r->begin);
    }
    agreed = !r->failed;
    close_stage(r);
    return agreed;
}
