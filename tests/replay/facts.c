#include "facts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "support.h"

#define EXPIRY_PREFIX "rpc_expiry_key:"

static const struct {
    const char *name;
    bool sorted; /* the order does not matter */
    bool merged; /* doing it again is the same */
} kinds[FACT_KINDS] = {
    [FACT_SCHEMA] = {"publishes", true, true},  [FACT_SERVES] = {"serves", false, true},
    [FACT_CALL] = {"calls", false, false},      [FACT_TAKES] = {"takes", false, false},
    [FACT_RESULT] = {"answers", false, false},  [FACT_FIRE] = {"fires", false, false},
    [FACT_GROUP] = {"creates", true, true},     [FACT_READS] = {"reads", true, true},
    [FACT_CLAIMS] = {"claims", true, false},    [FACT_HANDLED] = {"handles", true, false},
    [FACT_ACK] = {"acknowledges", true, false}, [FACT_CLEANUP] = {"cleans up", true, true},
    [FACT_INTERNAL] = {"touches", true, true},
};

/* ---- Canonical JSON */

/* Gives the text that stands for a member whose content may differ, or NULL. */
typedef const char *(*mask_fn)(const char *path, const lb_value *value);

static int by_name(const void *a, const void *b)
{
    return strcmp(((const lb_value_iterator *)a)->name, ((const lb_value_iterator *)b)->name);
}

static void write_masked(buffer *out, const lb_value *value, const char *path, mask_fn mask);

static void write_dict(buffer *out, const lb_value *value, const char *path, mask_fn mask)
{
    size_t count = lb_value_count(value);
    lb_value_iterator it = lb_value_iterate(value), *members = calloc(count + 1, sizeof(*members));
    char inner[256];

    for (size_t i = 0; lb_value_next(&it); i++)
        members[i] = it;
    qsort(members, count, sizeof(*members), by_name);
    buffer_char(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i)
            buffer_char(out, ',');
        buffer_json_string(out, members[i].name, members[i].name_size);
        buffer_char(out, ':');
        snprintf(inner, sizeof(inner), "%s%s%s", path, *path ? "." : "", members[i].name);
        write_masked(out, members[i].value, inner, mask);
    }
    buffer_char(out, '}');
    free(members);
}

static void write_list(buffer *out, const lb_value *value, const char *path, mask_fn mask)
{
    lb_value_iterator it = lb_value_iterate(value);

    buffer_char(out, '[');
    while (lb_value_next(&it)) {
        if (it.index)
            buffer_char(out, ',');
        write_masked(out, it.value, path, mask);
    }
    buffer_char(out, ']');
}

static void write_masked(buffer *out, const lb_value *value, const char *path, mask_fn mask)
{
    const char *text = mask ? mask(path, value) : NULL;
    double number = lb_value_float(value);

    if (text)
        buffer_str(out, text);
    else if (lb_value_type_of(value) == LB_TYPE_DICT)
        write_dict(out, value, path, mask);
    else if (lb_value_type_of(value) == LB_TYPE_LIST)
        write_list(out, value, path, mask);
    else if (lb_value_type_of(value) == LB_TYPE_FLOAT && fabs(number) < 1e15 && number == floor(number))
        buffer_int(out, (int64_t)number);
    else
        json_write(out, value);
}

void canonical_write(buffer *out, const lb_value *value) { write_masked(out, value, "", NULL); }

static bool has_text(const lb_value *value) { return lb_value_str_size(value) > 0; }

static const char *mask_call(const char *path, const lb_value *value)
{
    if (strcmp(path, "metadata.id") == 0 && has_text(value))
        return "<id>";
    if (strcmp(path, "metadata.return_path") == 0 && has_text(value) &&
        text_starts(lb_value_str(value), "redis+key://"))
        return "<return path>";
    return NULL;
}

static const char *mask_result(const char *path, const lb_value *value)
{
    if (strcmp(path, "metadata.id") == 0 && has_text(value))
        return "<id>";
    if (strcmp(path, "metadata.trace") == 0 && lb_value_type_of(value) == LB_TYPE_STR)
        return "<trace>";
    return NULL;
}

static const char *mask_error(const char *path, const lb_value *value)
{
    if (strcmp(path, "kwargs.result") == 0 && has_text(value))
        return "<error>";
    return mask_result(path, value);
}

/* The JSON of a message, masked; the bytes themselves when they are no JSON. */
static void write_message(buffer *out, lb_slice message, mask_fn mask)
{
    lb_value *value = NULL;

    if (lb_value_parse(message.data, message.size, &value, NULL) == LB_OK)
        write_masked(out, value, "", mask);
    else
        buffer_printf(out, "not JSON: %s", message.data);
    lb_value_free(value);
}

/* ---- Lists of facts */

static void add(facts *f, fact_kind kind, int number, const char *text, size_t size)
{
    if (f->count == f->capacity) {
        f->capacity = f->capacity ? 2 * f->capacity : 64;
        f->list = realloc(f->list, f->capacity * sizeof(fact));
    }
    f->list[f->count++] = (fact){kind, number, arena_copy(&f->memory, text, size)};
}

static void add_buffer(facts *f, fact_kind kind, int number, buffer *text)
{
    const char *made = buffer_text(text);

    if (!made)
        fail_msg("out of memory");
    add(f, kind, number, made, text->size);
    buffer_free(text);
}

void facts_add(facts *f, fact_kind kind, int number, const char *format, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        fail_msg("out of memory");
    va_end(args);
    add(f, kind, number, text, strlen(text));
    free(text);
}

size_t facts_count(const facts *f, fact_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < f->count; i++)
        count += f->list[i].kind == kind;
    return count;
}

static void keep(facts *f, bool (*wanted)(const fact *one, const void *data), const void *data)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->count; i++)
        if (wanted(&f->list[i], data))
            f->list[kept++] = f->list[i];
    f->count = kept;
}

static bool lacks(const fact *one, const void *part) { return strstr(one->text, part) == NULL; }
static bool is_other(const fact *one, const void *kind) { return one->kind != *(const fact_kind *)kind; }
void facts_drop(facts *f, const char *part) { keep(f, lacks, part); }
void facts_drop_kind(facts *f, fact_kind kind) { keep(f, is_other, &kind); }

void facts_once(facts *f, fact_kind kind)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->count; i++) {
        bool again = false;
        for (size_t k = 0; k < kept && f->list[i].kind == kind; k++)
            again = again || (f->list[k].kind == kind && strcmp(f->list[k].text, f->list[i].text) == 0);
        if (!again)
            f->list[kept++] = f->list[i];
    }
    f->count = kept;
}

void facts_free(facts *f)
{
    free(f->list);
    arena_free(&f->memory);
    *f = (facts){0};
}

/* ---- RPC */

typedef struct scan { /* a list of commands on its way to facts */
    facts *facts;
    const commands *commands;
    const reading *how;
    size_t calls; /* so far */
} scan;

static bool included(const scan *s, const command *c)
{
    return !s->how->includes || s->how->includes(c, s->how->data);
}

/* How long a key that is written by command `from` lives, by EX or PX of a SET, or by EXPIRE or PEXPIRE near
 * it: in milliseconds, rounded to half a second, since a deadline is a little nearer when it is sent. -1: for
 * ever. */
static long long life_ms(const scan *s, size_t from, const char *key)
{
    for (size_t i = from; i < s->commands->count; i++) {
        const command *c = &s->commands->list[i];
        long long ms = -1;
        if (!included(s, c) || strcmp(argument_text(c, 1), key) != 0)
            continue;
        if (command_is(c, "SET") && c->count >= 5)
            ms = argument_is(c, 3, "EX") ? 1000 * argument_int(c, 4) : argument_int(c, 4);
        else if (command_is(c, "EXPIRE"))
            ms = 1000 * argument_int(c, 2);
        else if (command_is(c, "PEXPIRE"))
            ms = argument_int(c, 2);
        if (ms >= 0)
            return (ms + 250) / 500 * 500;
    }
    return -1;
}

/* Whether some command waits on the list that a return path names. */
static bool awaits(const scan *s, const char *return_path)
{
    const char *key = return_path ? strstr(return_path, "://") : NULL;

    for (size_t i = 0; key && i < s->commands->count; i++) {
        const command *c = &s->commands->list[i];
        if (!included(s, c) || !(command_is(c, "BLPOP") || command_is(c, "BRPOP") || command_is(c, "BLMPOP")))
            continue;
        for (size_t k = 1; k < c->count; k++)
            if (strcmp(c->arguments[k].data, key + 3) == 0)
                return true;
    }
    return false;
}

static void write_call(buffer *out, const char *queue, lb_slice message, const char *expiry, long long ms)
{
    buffer_printf(out, "RPUSH %s ", queue);
    write_message(out, message, mask_call);
    buffer_printf(out, ", SET rpc_expiry_key:<id> %s for %lld ms", expiry, ms);
}

static void read_call(scan *s, const command *c, lb_slice message)
{
    const lb_value *metadata, *id;
    const char *expiry = "(missing)";
    long long ms = -1;
    char key[256] = "";
    lb_value *value = NULL;
    buffer text = {0};

    lb_value_parse(message.data, message.size, &value, NULL);
    metadata = lb_value_get(value, "metadata");
    id = lb_value_get(metadata, "id");
    snprintf(key, sizeof(key), "rpc_expiry_key:%s", has_text(id) ? lb_value_str(id) : "");
    for (size_t i = 0; i < s->commands->count; i++) {
        const command *set = &s->commands->list[i];
        if (included(s, set) && command_is(set, "SET") && strcmp(argument_text(set, 1), key) == 0) {
            expiry = argument_text(set, 2);
            ms = life_ms(s, i, key);
            break;
        }
    }
    if (s->calls < s->how->expiry_count && s->how->expiry_ms[s->calls])
        ms = s->how->expiry_ms[s->calls];
    write_call(&text, argument_text(c, 1), message, expiry, ms);
    if (!*c->role && /* Python's are on a key of their own */
        !awaits(s, lb_value_str(lb_value_get(metadata, "return_path"))))
        buffer_str(&text, ", and its answer is not awaited");
    add_buffer(s->facts, FACT_CALL, c->number, &text);
    lb_value_free(value);
    s->calls++;
}

static bool is_error_result(lb_slice message)
{
    lb_value *value = NULL;
    bool error;

    lb_value_parse(message.data, message.size, &value, NULL);
    error = lb_value_bool(lb_value_get(lb_value_get(value, "metadata"), "error"));
    lb_value_free(value);
    return error;
}

static void read_result(scan *s, size_t index, const command *c, lb_slice message)
{
    bool own_text = s->how->own_error_text && is_error_result(message);
    buffer text = {0};

    buffer_printf(&text, "LPUSH %s ", argument_text(c, 1));
    write_message(&text, message, own_text ? mask_error : mask_result);
    buffer_printf(&text, " for %lld ms", life_ms(s, index, argument_text(c, 1)));
    add_buffer(s->facts, FACT_RESULT, c->number, &text);
}

/* Whether a call was pushed by one of these commands: a service that calls itself. Its id is its own. */
static bool is_own_call(const scan *s, const char *id)
{
    for (size_t i = 0; *id && i < s->commands->count; i++) {
        const command *c = &s->commands->list[i];
        if (included(s, c) && command_is(c, "RPUSH") && strstr(argument_text(c, 2), id))
            return true;
    }
    return false;
}

static bool answers_own_call(const scan *s, lb_slice message)
{
    lb_value *value = NULL;
    const char *id;
    bool own;

    lb_value_parse(message.data, message.size, &value, NULL);
    id = lb_value_str(lb_value_get(lb_value_get(value, "metadata"), "rpc_message_id"));
    own = id && is_own_call(s, id);
    lb_value_free(value);
    return own;
}

/* Whether an earlier command has pushed these same bytes. */
static bool pushed_before(const scan *s, size_t index)
{
    const command *c = &s->commands->list[index];

    for (size_t i = 0; i < index; i++) {
        const command *other = &s->commands->list[i];
        if (included(s, other) && command_is(other, "RPUSH") &&
            strcmp(argument_text(other, 2), argument_text(c, 2)) == 0)
            return true;
    }
    return false;
}

/* Calls taken. One key alone is deleted to see whether the call has expired; of calls that surely live, the
 * keys are deleted together, and no answer is asked for. */
static void read_taken(scan *s, const command *c)
{
    bool asked = c->count == 2 && c->reply;

    for (size_t i = 1; i < c->count; i++) {
        const char *key = argument_text(c, i);
        if (text_starts(key, EXPIRY_PREFIX) && !is_own_call(s, key + strlen(EXPIRY_PREFIX)))
            facts_add(s->facts, FACT_TAKES, c->number, "DEL %s -> %lld", key,
                      asked ? (long long)lb_value_int(c->reply) : 1LL);
    }
}

static void read_rpc(scan *s, size_t index, const command *c)
{
    if (command_is(c, "RPUSH") && !(s->how->once && pushed_before(s, index)))
        for (size_t i = 2; i < c->count; i++)
            read_call(s, c, c->arguments[i]);
    if (command_is(c, "LPUSH"))
        for (size_t i = 2; i < c->count; i++)
            if (!answers_own_call(s, c->arguments[i]))
                read_result(s, index, c, c->arguments[i]);
    if (command_is(c, "DEL"))
        read_taken(s, c);
    if (command_is(c, "BLPOP") || command_is(c, "BLMPOP") || command_is(c, "LMPOP"))
        for (size_t i = 1; i < c->count; i++)
            if (text_ends(argument_text(c, i), ":rpc_queue") && !text_starts(argument_text(c, i), "internal."))
                facts_add(s->facts, FACT_SERVES, c->number, "%s", argument_text(c, i));
}

static void read_schema(scan *s, size_t index, const command *c)
{
    const char *key = argument_text(c, 1);
    buffer text = {0};

    if (command_is(c, "SET") && text_starts(key, "schema:") && !text_starts(key, "schema:internal.")) {
        buffer_printf(&text, "SET %s ", key);
        write_message(&text, c->arguments[2], NULL);
        buffer_printf(&text, " for %lld ms", life_ms(s, index, key));
        add_buffer(s->facts, FACT_SCHEMA, c->number, &text);
    }
    if (command_is(c, "SADD") && strcmp(key, "schemas") == 0)
        for (size_t i = 2; i < c->count; i++)
            if (!text_starts(argument_text(c, i), "internal."))
                facts_add(s->facts, FACT_SCHEMA, c->number, "SADD schemas %s", argument_text(c, i));
}

/* ---- Events */

/* XADD: an event, unless it is the entry without a name that Python makes a stream with. Metadata are plain
 * strings, parameters JSON. */
static void read_fire(scan *s, const command *c)
{
    buffer text = {0};
    size_t i = 2;

    buffer_printf(&text, "XADD %s", argument_text(c, 1));
    for (; i < c->count && !argument_is(c, i, "*"); i++)
        buffer_printf(&text, " %s", argument_text(c, i));
    for (i++; i + 1 < c->count; i += 2) {
        const char *name = argument_text(c, i);
        buffer_printf(&text, " %s=", name);
        if (*name == ':')
            write_message(&text, c->arguments[i + 1], NULL);
        else
            buffer_str(&text,
                       strcmp(name, "id") == 0 && c->arguments[i + 1].size ? "<id>" : argument_text(c, i + 1));
    }
    if (text_ends(argument_text(c, 1), ":stream") && c->arguments[c->count - 2].size)
        add_buffer(s->facts, FACT_FIRE, c->number, &text);
    buffer_free(&text);
}

static void add_reads(facts *f, int number, const char *group, const char *consumer, const char *stream,
                      bool is_new)
{
    facts_add(f, FACT_READS, number, "XREADGROUP GROUP %s %s STREAMS %s, %s entries", group, consumer, stream,
              is_new ? "new" : "pending");
}

static void read_reads(scan *s, const command *c)
{
    size_t streams = 4, count;

    while (streams < c->count && !argument_is(c, streams, "STREAMS"))
        streams++;
    streams++;
    count = streams < c->count ? (c->count - streams) / 2 : 0;
    for (size_t i = streams; i < streams + count; i++)
        add_reads(s->facts, c->number, argument_text(c, 2), argument_text(c, 3), argument_text(c, i),
                  argument_is(c, i + count, ">"));
}

/* Our claim is a script, which leaves out what is gone: its keys are the stream and another. */
static bool is_scripted_claim(const command *c)
{
    return command_is(c, "EVAL") && c->count > 8 && strstr(argument_text(c, 1), "return {gone, all, taken}");
}

/* XCLAIM and XAUTOCLAIM: the entries that were granted. A lease renewed by XCLAIM .. JUSTID claims nothing. */
static void read_claims(scan *s, const command *c)
{
    bool scripted = is_scripted_claim(c);
    size_t stream = scripted ? 3 : 1, group = scripted ? 5 : 2;
    const lb_value *granted = scripted                      ? lb_value_at(c->reply, 2)
                              : command_is(c, "XAUTOCLAIM") ? lb_value_at(c->reply, 1)
                                                            : c->reply;
    lb_value_iterator it = lb_value_iterate(granted);

    while (lb_value_next(&it)) {
        const char *id = lb_value_str(lb_value_at(it.value, 0));
        if (lb_value_type_of(granted) == LB_TYPE_LIST && id)
            facts_add(s->facts, FACT_CLAIMS, c->number, "XCLAIM %s %s %s %s %s", argument_text(c, stream),
                      argument_text(c, group), argument_text(c, group + 1), argument_text(c, group + 2), id);
    }
}

/* A group is made again after the connection was lost: from where it was, with us. */
static bool was_created(const scan *s, const command *c)
{
    for (const command *other = s->commands->list; other < c; other++)
        if (included(s, other) && command_is(other, "XGROUP") && argument_is(other, 1, "CREATE") &&
            strcmp(argument_text(other, 2), argument_text(c, 2)) == 0 &&
            strcmp(argument_text(other, 3), argument_text(c, 3)) == 0)
            return true;
    return false;
}

static void read_event(scan *s, const command *c)
{
    if (command_is(c, "XADD") && c->count >= 5)
        read_fire(s, c);
    if (command_is(c, "XGROUP") && argument_is(c, 1, "CREATE") && !was_created(s, c))
        facts_add(s->facts, FACT_GROUP, c->number, "XGROUP CREATE %s %s %s", argument_text(c, 2),
                  argument_text(c, 3), argument_text(c, 4));
    if (command_is(c, "XGROUP") && (argument_is(c, 1, "DELCONSUMER") || argument_is(c, 1, "DESTROY")))
        facts_add(s->facts, FACT_CLEANUP, c->number, "XGROUP %s %s %s %s", argument_text(c, 1),
                  argument_text(c, 2), argument_text(c, 3), argument_text(c, 4));
    if (command_is(c, "XREADGROUP"))
        read_reads(s, c);
    if (command_is(c, "XCLAIM") || command_is(c, "XAUTOCLAIM") || is_scripted_claim(c))
        read_claims(s, c);
    if (command_is(c, "XACK"))
        for (size_t i = 3; i < c->count; i++)
            facts_add(s->facts, FACT_ACK, c->number, "XACK %s %s %s", argument_text(c, 1), argument_text(c, 2),
                      argument_text(c, i));
}

/* Only our own notes are asked: Python uses these keys in every recording. */
static void read_internal(scan *s, const command *c)
{
    for (size_t i = 1; i < c->count && !*c->role; i++)
        if (text_starts(argument_text(c, i), "internal.") ||
            text_starts(argument_text(c, i), "schema:internal."))
            facts_add(s->facts, FACT_INTERNAL, c->number, "%s %s", argument_text(c, 0), argument_text(c, i));
}

void facts_read(facts *f, const commands *list, const reading *how)
{
    scan s = {.facts = f, .commands = list, .how = how};

    for (size_t i = 0; i < list->count; i++) {
        const command *c = &list->list[i];
        if (!included(&s, c))
            continue;
        read_rpc(&s, i, c);
        read_schema(&s, i, c);
        read_event(&s, c);
        read_internal(&s, c);
    }
}

/* ---- Facts that are not commands */

static bool is_default(const lb_value_iterator *member)
{
    return strcmp(member->name, "is_admin") == 0 && lb_value_type_of(member->value) == LB_TYPE_BOOL &&
           !lb_value_bool(member->value);
}

void facts_add_handled(facts *f, int number, const char *process, const char *listener, const char *event,
                       const char *id, const char *native_id, long long version, const lb_value *kwargs)
{
    lb_value_iterator it = lb_value_iterate(kwargs);
    buffer text = {0};

    buffer_printf(&text, "%s %s: %s %s version %lld id %s", process, listener, native_id, event, version, id);
    while (lb_value_next(&it)) {
        if (is_default(&it))
            continue;
        buffer_printf(&text, " %s=", it.name);
        canonical_write(&text, it.value);
    }
    add_buffer(f, FACT_HANDLED, number, &text);
}

void facts_add_result(facts *f, int number, const char *key, const char *call_id, const char *json)
{
    facts_add(f, FACT_RESULT, number,
              "LPUSH %s {\"kwargs\":{\"result\":%s},\"metadata\":{\"error\":%s,\"id\":<id>,"
              "\"rpc_message_id\":\"%s\"%s}} for 60000 ms",
              key, json ? json : "<error>", json ? "false" : "true", call_id, json ? "" : ",\"trace\":<trace>");
}

void facts_add_fire(facts *f, int number, const char *name, const lb_value *kwargs)
{
    int api = (int)(strrchr(name, '.') - name);
    lb_value_iterator it = lb_value_iterate(kwargs);
    buffer text = {0};

    buffer_printf(&text, "XADD %.*s.*:stream MAXLEN ~ 100000 id=<id> api_name=%.*s event_name=%s version=1",
                  api, name, api, name, name + api + 1);
    while (lb_value_next(&it)) {
        buffer_printf(&text, " :%s=", it.name);
        canonical_write(&text, it.value);
    }
    add_buffer(f, FACT_FIRE, number, &text);
}

void facts_add_reads(facts *f, const char *group, const char *consumer, const char *stream, bool is_new)
{
    add_reads(f, 0, group, consumer, stream, is_new);
}

void facts_add_call(facts *f, int number, const char *name, const lb_value *kwargs, int expiry_ms)
{
    int api = (int)(strrchr(name, '.') - name);
    char queue[256];
    buffer message = {0}, text = {0};

    snprintf(queue, sizeof(queue), "%.*s:rpc_queue", api, name);
    buffer_str(&message, "{\"kwargs\":");
    json_write(&message, kwargs);
    buffer_printf(&message,
                  ",\"metadata\":{\"api_name\":\"%.*s\",\"id\":\"x\",\"procedure_name\":\"%s\","
                  "\"return_path\":\"redis+key://x\"}}",
                  api, name, name + api + 1);
    write_call(&text, queue, (lb_slice){buffer_text(&message), message.size}, "1", expiry_ms);
    add_buffer(f, FACT_CALL, number, &text);
    buffer_free(&message);
}

/* ---- Comparison */

static int by_text(const void *a, const void *b)
{
    return strcmp(((const fact *)a)->text, ((const fact *)b)->text);
}

/* The facts of one kind, in the order in which they are compared. */
static fact *select_kind(const facts *f, fact_kind kind, size_t *count)
{
    fact *list = calloc(f->count + 1, sizeof(fact));

    *count = 0;
    for (size_t i = 0; i < f->count; i++) {
        bool again = false;
        if (f->list[i].kind != kind)
            continue;
        for (size_t k = 0; kinds[kind].merged && k < *count; k++)
            again = again || strcmp(list[k].text, f->list[i].text) == 0;
        if (!again)
            list[(*count)++] = f->list[i];
    }
    if (kinds[kind].sorted)
        qsort(list, *count, sizeof(fact), by_text);
    return list;
}

static void report_difference(buffer *report, fact_kind kind, const fact *expected, const fact *actual)
{
    buffer_printf(report, "  it %s, command %d\n", kinds[kind].name,
                  expected ? expected->number : actual->number);
    buffer_printf(report, "    expected: %s\n", expected ? expected->text : "nothing");
    if (actual)
        buffer_printf(report, "    actual:   %s (our command %d)\n", actual->text, actual->number);
    else
        buffer_str(report, "    actual:   nothing\n");
}

static bool kind_equal(const facts *expected, const facts *actual, fact_kind kind, buffer *report)
{
    size_t e = 0, a = 0, expected_count, actual_count;
    fact *wanted = select_kind(expected, kind, &expected_count),
         *got = select_kind(actual, kind, &actual_count);
    bool equal = true;

    while (e < expected_count || a < actual_count) {
        const fact *x = e < expected_count ? &wanted[e] : NULL, *y = a < actual_count ? &got[a] : NULL;
        int order = !x ? 1 : !y ? -1 : strcmp(x->text, y->text);
        if (order && kinds[kind].sorted) { /* step on with the smaller one */
            if (order > 0)
                x = NULL;
            else
                y = NULL;
        }
        if (order) {
            report_difference(report, kind, x, y);
            equal = false;
        }
        e += x != NULL;
        a += y != NULL;
    }
    free(wanted);
    free(got);
    return equal;
}

bool facts_equal(const facts *expected, const facts *actual, buffer *report)
{
    bool equal = true;

    for (fact_kind kind = 0; kind < FACT_KINDS; kind++)
        equal = kind_equal(expected, actual, kind, report) && equal;
    return equal;
}
