/* What handlers read and answer: arguments, metadata, results, errors, deferred answers. */
#include "bus.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../schema/scalars.h"

/* ---- Arguments -------------------------------------------------------------------------------------- */

const lb_message *lb_request_message(const lb_request *request) { return &request->message; }
const lb_message *lb_event_message_of(const lb_event *event) { return &event->message; }

static const lb_kwarg *find(const lb_message *m, const char *name)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < m->count; i++)
        if (m->kwargs[i].name.size == size && memcmp(m->kwargs[i].name.data, name, size) == 0)
            return &m->kwargs[i];
    return NULL;
}

/* A programming error in a handler: logged with the signature; the message is handled as failed. */
static void misuse(const lb_message *message, const char *name, const char *what)
{
    lb_message *m = (lb_message *)(uintptr_t)message; /* handlers see it as const; it is ours */
    buffer signature = {0};
    if (m->member)
        member_print(&signature, m->member);
    const char *text = buffer_text(&signature);
    lb_error error = {0};
    lb_error_set(&error, LB_USAGE, "%.*s.%.*s: the handler asked for \"%s\", %s; the signature is %s",
                 (int)m->api_name.size, m->api_name.data, (int)m->name.size, m->name.data, name, what,
                 text && *text ? text : "not known");
    buffer_free(&signature);
    lb_log(LB_LOG_ERROR, "%s", error.message);
    if (m->misuse.status == LB_OK)
        m->misuse = error;
}

/* The value of an argument of one of the types (a bit each), NULL for null or after a misuse. */
static const lb_value *typed(const lb_message *m, const char *name, unsigned types, const char *what)
{
    const lb_kwarg *kwarg = find(m, name);
    lb_value_type type = lb_value_type_of(kwarg ? kwarg->value : NULL);
    if (!kwarg)
        misuse(m, name, "which is not an argument");
    else if (type == LB_TYPE_NULL)
        return NULL;
    else if (types & 1u << type)
        return kwarg->value;
    else
        misuse(m, name, what);
    return NULL;
}

bool lb_message_has(const lb_message *m, const char *name)
{
    const lb_kwarg *kwarg = find(m, name);
    return kwarg && lb_value_type_of(kwarg->value) != LB_TYPE_NULL;
}

const lb_value *lb_message_get(const lb_message *m, const char *name)
{
    const lb_kwarg *kwarg = find(m, name);
    if (!kwarg)
        misuse(m, name, "which is not an argument");
    return kwarg ? kwarg->value : NULL;
}

const char *lb_message_str(const lb_message *m, const char *name)
{
    const lb_value *value = typed(m, name, 1u << LB_TYPE_STR, "which is not a str");
    return value ? lb_value_str(value) : "";
}

int64_t lb_message_int(const lb_message *m, const char *name)
{
    const lb_value *value =
        typed(m, name, 1u << LB_TYPE_INT | 1u << LB_TYPE_UINT | 1u << LB_TYPE_FLOAT, "which is not an int");
    if (lb_value_type_of(value) != LB_TYPE_FLOAT)
        return lb_value_int(value);
    double f = lb_value_float(value); /* JSON schema takes 1.0 for an integer */
    if (f >= -9223372036854775808.0 && f < 9223372036854775808.0 && (double)(int64_t)f == f)
        return (int64_t)f;
    misuse(m, name, "which is not an int");
    return 0;
}

double lb_message_float(const lb_message *m, const char *name)
{
    return lb_value_float(
        typed(m, name, 1u << LB_TYPE_INT | 1u << LB_TYPE_UINT | 1u << LB_TYPE_FLOAT, "which is not a float"));
}

bool lb_message_bool(const lb_message *m, const char *name)
{
    return lb_value_bool(typed(m, name, 1u << LB_TYPE_BOOL, "which is not a bool"));
}

/* A string argument that can be read as that kind; NULL for null or after a misuse. */
static const lb_value *scalar(const lb_message *m, const char *name, type_kind kind)
{
    char what[160];
    snprintf(what, sizeof what, "which is not %s", scalar_example(kind));
    const lb_value *value = typed(m, name, 1u << LB_TYPE_STR, what);
    if (value && !scalar_reads(kind, json_slice(value))) {
        misuse(m, name, what);
        return NULL;
    }
    return value;
}

lb_bytes lb_message_bytes(const lb_message *m, const char *name)
{
    const lb_value *value = scalar(m, name, TYPE_BYTES);
    lb_slice text = json_slice(value);
    unsigned char *data = value ? arena_alloc(m->memory, base64_most(text.size)) : NULL;
    size_t size = 0;
    if (data)
        base64_decode(text, data, &size);
    return lb_bytes_make(data ? data : (const void *)"", size);
}

lb_datetime lb_message_datetime(const lb_message *m, const char *name)
{
    lb_datetime result = lb_datetime_make(1, 1, 1, 0, 0, 0, false);
    lb_value_datetime(scalar(m, name, TYPE_DATETIME), &result);
    return result;
}

lb_date lb_message_date(const lb_message *m, const char *name)
{
    lb_date result = lb_date_make(1, 1, 1);
    lb_value_date(scalar(m, name, TYPE_DATE), &result);
    return result;
}

lb_time lb_message_time(const lb_message *m, const char *name)
{
    lb_time result = lb_time_make(0, 0, 0);
    lb_value_time(scalar(m, name, TYPE_TIME), &result);
    return result;
}

lb_decimal lb_message_decimal(const lb_message *m, const char *name)
{
    lb_decimal result = lb_decimal_make("0");
    lb_value_decimal(scalar(m, name, TYPE_DECIMAL), &result);
    return result;
}

lb_uuid lb_message_uuid(const lb_message *m, const char *name)
{
    lb_uuid result = {{0}};
    lb_value_uuid(scalar(m, name, TYPE_UUID), &result);
    return result;
}

const lb_arg *lb_message_args(const lb_message *message)
{
    static const lb_arg none = {NULL, {LB_DATUM_NULL, {0}}};
    lb_message *m = (lb_message *)(uintptr_t)message;
    if (!m->args && (m->args = arena_alloc(m->memory, (m->count + 1) * sizeof *m->args))) {
        for (size_t i = 0; i < m->count; i++) {
            const char *name = arena_copy(m->memory, m->kwargs[i].name.data, m->kwargs[i].name.size);
            m->args[i] = name ? lb_arg_make(name, lb_datum_value(m->kwargs[i].value)) : none;
        }
        m->args[m->count] = none;
    }
    return m->args ? m->args : &none;
}

/* ---- Metadata --------------------------------------------------------------------------------------- */

/* The slice as a C string, made when it is asked for the first time. */
static const char *text_of(const lb_message *m, const char *const *cache, lb_slice s)
{
    const char **made = (const char **)(uintptr_t)cache;
    if (!*made && !(*made = arena_copy(m->memory, s.data, s.size)))
        return "";
    return *made;
}

lb_bus *lb_request_bus(const lb_request *r) { return r->message.bus; }
const char *lb_request_id(const lb_request *r) { return text_of(&r->message, &r->id, r->rpc->id); }
const char *lb_request_api(const lb_request *r) { return text_of(&r->message, &r->api, r->rpc->api_name); }
const char *lb_request_procedure(const lb_request *r)
{
    return text_of(&r->message, &r->procedure, r->rpc->procedure_name);
}

int64_t lb_request_time_left_ms(const lb_request *request)
{
    int64_t left = request->deadline_ns - clock_now();
    return left > 0 ? left / CLOCK_MS : 0;
}

lb_bus *lb_event_bus(const lb_event *e) { return e->message.bus; }
const char *lb_event_id(const lb_event *e) { return text_of(&e->message, &e->id, e->event->id); }
const char *lb_event_native_id(const lb_event *e)
{
    return text_of(&e->message, &e->native_id, e->event->native_id);
}
const char *lb_event_api(const lb_event *e) { return text_of(&e->message, &e->api, e->event->api_name); }
const char *lb_event_name(const lb_event *e) { return text_of(&e->message, &e->name, e->event->event_name); }
int lb_event_version(const lb_event *event) { return event->event->version; }
int lb_event_deliveries(const lb_event *event) { return event->deliveries; }

const char *lb_event_dead_id(const lb_event *e)
{
    const lb_dead_letter *dead = e->event->dead;
    return dead ? text_of(&e->message, &e->dead_id, dead->id) : NULL;
}
const char *lb_event_dead_group(const lb_event *e)
{
    const lb_dead_letter *dead = e->event->dead;
    return dead ? text_of(&e->message, &e->dead_group, dead->group) : NULL;
}
const char *lb_event_dead_consumer(const lb_event *e)
{
    const lb_dead_letter *dead = e->event->dead;
    return dead ? text_of(&e->message, &e->dead_consumer, dead->consumer) : NULL;
}
const char *lb_event_dead_reason(const lb_event *e)
{
    const lb_dead_letter *dead = e->event->dead;
    return dead ? text_of(&e->message, &e->dead_reason, dead->reason) : NULL;
}
lb_status lb_event_fail(const lb_event *event, lb_status status, const char *format, ...)
{
    lb_error *why = (lb_error *)(uintptr_t)&event->why; /* the bus made it, and it is not const there */
    char message[sizeof why->message];
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    return lb_error_set(why, status, "%s", message);
}

bool lb_event_lease_lost(const lb_event *event) { return __atomic_load_n(event->lease_lost, __ATOMIC_RELAXED); }

/* ---- Errors on the wire ----------------------------------------------------------------------------- */

/* An error's result is a text like Python's repr of an exception, UserNotFound('no user 7'), quoted as Python
 * quotes; a Python caller shows it, and we read the name and the message back from it. */
void error_text_write(buffer *out, const char *type, const char *message)
{
    buffer text = {0};
    char quote = strchr(message, '\'') && !strchr(message, '"') ? '"' : '\'';
    buffer_printf(&text, "%s(%c", type, quote);
    for (const char *c = message; *c; c++) {
        if (*c == '\\' || *c == quote)
            buffer_char(&text, '\\');
        if (*c == '\n')
            buffer_literal(&text, "\\n");
        else
            buffer_char(&text, *c);
    }
    buffer_char(&text, quote);
    buffer_char(&text, ')');
    if (text.failed || !buffer_json_string(out, text.data, text.size)) {
        buffer_literal(out, "\"Error('the message is not UTF-8')\"");
    }
    buffer_free(&text);
}

static bool is_identifier(char c) { return isalnum((unsigned char)c) || c == '_' || c == '.'; }

/* The text between the quotes of `Name('...')`, unescaped; false when it is of another form. */
static bool unquote(const char *at, const char *end, char *out, size_t size)
{
    if (end - at < 4 || at[0] != '(' || (at[1] != '\'' && at[1] != '"') || end[-1] != ')' || end[-2] != at[1])
        return false;
    char quote = at[1];
    size_t used = 0;
    for (at += 2, end -= 2; at < end; at++) {
        if (*at == quote)
            return false; /* several arguments */
        char c = *at;
        if (c == '\\' && at + 1 < end) {
            c = *++at;
            if (!strchr("\\'\"n", c))
                return false;
            c = c == 'n' ? '\n' : c;
        }
        if (used + 1 < size)
            out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

void error_text_read(const lb_value *result, lb_slice trace, lb_error *error)
{
    char *other = NULL;
    lb_slice text = json_slice(result);
    if (!text.data) {
        other = lb_value_json(result, NULL);
        text = slice_of(other ? other : "");
    }
    size_t name = 0;
    while (name < text.size && is_identifier(text.data[name]))
        name++;
    lb_error_set(error, LB_REMOTE_ERROR, "%.*s", (int)(text.size < 511 ? text.size : 511), text.data);
    if (name > 0 && name < sizeof error->type && name < text.size && text.data[name] == '(') {
        memcpy(error->type, text.data, name);
        error->type[name] = '\0';
        char message[sizeof error->message];
        if (unquote(text.data + name, text.data + text.size, message, sizeof message))
            text_printf(error->message, sizeof error->message, "%s", message);
    }
    if (trace.data)
        text_printf(error->trace, sizeof error->trace, "%.*s", (int)(trace.size < 1535 ? trace.size : 1535),
                    trace.data);
    free(other);
}

/* ---- Answers ---------------------------------------------------------------------------------------- */

static lb_status answered_twice(const lb_request *r)
{
    lb_log(LB_LOG_ERROR, "%s.%s: the handler answered call %s twice; the first answer counts",
           lb_request_api(r), lb_request_procedure(r), lb_request_id(r));
    return LB_USAGE;
}

void request_fail(lb_request *request, const char *type, const char *message, const char *trace)
{
    request->out->size = 0;
    error_text_write(request->out, type, message);
    request->answered = request->failed = true;
    char *copy = arena_printf(request->message.memory, "%s", trace);
    request->trace = slice_of(copy ? copy : "");
}

static void fail_with(lb_request *request, const char *type, const char *message)
{
    char trace[700];
    text_printf(trace, sizeof trace, "%s: %s\n  in %s.%s, service %s, process %s", type, message,
                lb_request_api(request), lb_request_procedure(request), request->message.bus->service_name,
                request->message.bus->process_name);
    request_fail(request, type, message, trace);
}

lb_status lb_return_datum(lb_request *request, lb_datum value)
{
    lb_error error = {0};
    if (request->answered || request->deferred)
        return answered_twice(request);
    lb_status status = result_encode(request->message.api_name, request->message.member,
                                     bus_settings(request->message.bus, request->message.api_name).outgoing,
                                     &value, request->out, &error);
    request->answered = true;
    if (status != LB_OK) { /* S5: the caller learns of it */
        lb_log(LB_LOG_ERROR, "call %s: %s", lb_request_id(request), error.message);
        fail_with(request, "InvalidResult", error.message);
    }
    return status;
}

lb_status lb_fail(lb_request *request, const char *type, const char *format, ...)
{
    char message[sizeof((lb_error *)0)->message];
    va_list args;
    if (request->answered || request->deferred)
        return answered_twice(request);
    va_start(args, format);
    text_vprintf(message, sizeof message, format, args);
    va_end(args);
    fail_with(request, type && *type ? type : "Error", message);
    return LB_OK;
}

/* ---- Deferred answers ------------------------------------------------------------------------------- */

struct lb_deferred {
    lb_request request; /* a copy; its texts live in `memory` */
    lb_rpc_message rpc;
    arena memory;
    buffer out;
    struct lb_deferred *next, **at; /* in worker.deferred */
};

static bool keep(arena *a, lb_slice from, lb_slice *to)
{
    *to = (lb_slice){arena_copy(a, from.data, from.size), from.size};
    return to->data != NULL;
}

static bool keep_call(lb_deferred *d, const lb_rpc_message *rpc)
{
    return keep(&d->memory, rpc->id, &d->rpc.id) && keep(&d->memory, rpc->api_name, &d->rpc.api_name) &&
           keep(&d->memory, rpc->procedure_name, &d->rpc.procedure_name) &&
           keep(&d->memory, rpc->return_path, &d->rpc.return_path);
}

lb_deferred *lb_defer(lb_request *request)
{
    lb_bus *bus = request->message.bus;
    if (request->answered || request->deferred) {
        answered_twice(request);
        return NULL;
    }
    lb_deferred *d = calloc(1, sizeof *d);
    if (!d || !keep_call(d, request->rpc)) {
        if (d)
            arena_free(&d->memory);
        free(d);
        return NULL;
    }
    d->request = *request;
    d->request.rpc = &d->rpc;
    d->request.id = d->request.api = d->request.procedure = NULL;
    d->request.out = &d->out;
    d->request.schema = request->schema ? api_schema_ref(request->schema) : NULL;
    d->request.message.api_name = d->rpc.api_name;
    d->request.message.name = d->rpc.procedure_name;
    d->request.message.memory = &d->memory;
    d->request.message.kwargs = NULL;
    d->request.message.count = 0;
    d->request.message.args = NULL;
    request->deferred = true;

    struct worker *w = &bus->worker;
    pthread_mutex_lock(&w->lock);
    d->next = w->deferred;
    d->at = &w->deferred;
    if (d->next)
        d->next->at = &d->next;
    w->deferred = d;
    w->deferred_count++;
    pthread_mutex_unlock(&w->lock);
    return d;
}

static void deferred_free(lb_deferred *d)
{
    api_schema_unref(d->request.schema);
    buffer_free(&d->out);
    arena_free(&d->memory);
    free(d);
}

static lb_status deferred_send(lb_deferred *d, lb_status status)
{
    lb_bus *bus = d->request.message.bus;
    struct worker *w = &bus->worker;
    char id[UUID_TEXT + 1];
    lb_error error = {0};
    uuid_text(id);
    if (d->request.began)
        hooks_after_execution(&d->request);
    lb_result_message result = {
        .id = {id, UUID_TEXT},
        .rpc_message_id = d->rpc.id,
        .return_path = d->rpc.return_path,
        .error = d->request.failed,
        .json = {d->out.data, d->out.size},
        .trace = d->request.trace,
    };
    const route *route = route_of(bus, d->rpc.api_name);
    const instance *to = route->client->result;
    lb_status sent =
        to->transport->result->send(to->self, NULL, &result, 1, clock_in_ms(route->rpc_timeout_ms), &error);
    if (sent != LB_OK)
        lb_log(LB_LOG_ERROR, "the deferred result of call %s was not sent: %s", d->rpc.id.data, error.message);
    pthread_mutex_lock(&w->lock);
    *d->at = d->next;
    if (d->next)
        d->next->at = d->at;
    w->deferred_count--;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    deferred_free(d);
    return status != LB_OK ? status : sent;
}

lb_status lb_answer_datum(lb_deferred *d, lb_datum value)
{
    if (!d)
        return LB_USAGE;
    d->request.deferred = false;
    return deferred_send(d, lb_return_datum(&d->request, value));
}

lb_status lb_answer_fail(lb_deferred *d, const char *type, const char *format, ...)
{
    char message[sizeof((lb_error *)0)->message];
    va_list args;
    if (!d)
        return LB_USAGE;
    va_start(args, format);
    text_vprintf(message, sizeof message, format, args);
    va_end(args);
    fail_with(&d->request, type && *type ? type : "Error", message);
    return deferred_send(d, LB_OK);
}

int64_t deferred_wanted_until(const lb_bus *bus)
{
    int64_t until = INT64_MIN;
    for (const lb_deferred *d = bus->worker.deferred; d; d = d->next)
        until = d->request.deadline_ns > until ? d->request.deadline_ns : until;
    return until;
}

void deferred_free_all(lb_bus *bus)
{
    while (bus->worker.deferred) {
        lb_deferred *d = bus->worker.deferred;
        bus->worker.deferred = d->next;
        deferred_free(d);
    }
}
