/* Hooks: the functions of programs and plugins around calls, events and the worker.
 *
 * Invariants. The lists change only while no other thread uses the handle, so they are read without a lock; no
 * lock is held while a hook runs. What began with its hooks ends with its hooks: `began` of a call, a fire or a
 * request is the time when it passed the first ones, 0 when it passed none. */
#include "bus.h"

#include <stdlib.h>
#include <string.h>

struct hook {
    int64_t order; /* of plugins: their priority */
    lb_hook_fn run;
    void *data;
    hook *next;
};

struct lb_occasion {
    lb_hook_point point;
    lb_bus *bus;
    lb_message *message;
    lb_message none;  /* at the points that are about no message */
    arena own_memory; /* of that */
    bool texts;       /* the arguments are texts as yet */
    bool changed;     /* an argument is */
    lb_slice id;
    const char *id_text, *api, *name; /* as C strings, made when asked for */
    lb_slice result_json;             /* of an answer that is not sent yet */
    const lb_value *result;
    const lb_error *error;
    int64_t began;
};

static _Thread_local int inside; /* a hook */

bool hooks_running(void) { return inside > 0; }

static const char *const names[] = {
#define HOOK_NAME(point, name) name,
    LB_HOOK_MAP(HOOK_NAME)
#undef HOOK_NAME
};

const char *lb_hook_name(lb_hook_point point) { return (unsigned)point < LB_HOOK_POINTS ? names[point] : "?"; }

/* ---- Registration ----------------------------------------------------------------------------------- */

lb_status hooks_add(lb_bus *bus, lb_hook_point point, int64_t order, lb_hook_fn run, void *data,
                    lb_error *error)
{
    if ((unsigned)point >= LB_HOOK_POINTS || !run)
        return lb_error_set(error, LB_USAGE, "lb_hook: expected an LB_HOOK_ constant and a function, got %d%s",
                            (int)point, run ? "" : " and NULL");
    if (!worker_registering(bus, "lb_hook", error))
        return LB_USAGE;
    hook *h = malloc(sizeof *h), **at = &bus->hooks.first[point];
    if (!h)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a hook");
    while (*at && (*at)->order <= order)
        at = &(*at)->next;
    *h = (hook){.order = order, .run = run, .data = data, .next = *at};
    *at = h;
    bus->hooks.points |= 1u << point;
    return LB_OK;
}

lb_status lb_hook(lb_bus *bus, lb_hook_point point, lb_hook_fn run, void *data, const lb_hook_options *options,
                  lb_error *error)
{
    return hooks_add(bus, point, options && options->before_plugins ? INT64_MIN : INT64_MAX, run, data, error);
}

void hooks_free(lb_bus *bus)
{
    for (int point = 0; point < LB_HOOK_POINTS; point++)
        for (hook *h = bus->hooks.first[point], *next; h; h = next) {
            next = h->next;
            free(h);
        }
    bus->hooks = (struct hooks){0};
}

/* ---- Running ---------------------------------------------------------------------------------------- */

static bool is_before(lb_hook_point point)
{
    return point == LB_HOOK_BEFORE_WORKER_START || point == LB_HOOK_BEFORE_RPC_CALL ||
           point == LB_HOOK_BEFORE_RPC_EXECUTION || point == LB_HOOK_BEFORE_EVENT_SENT ||
           point == LB_HOOK_BEFORE_EVENT_EXECUTION;
}

/* What was given, or made up. */
static lb_status take_failure(const lb_occasion *o, lb_status status, const lb_error *why, lb_error *error)
{
    if (why->message[0])
        *error = *why;
    else
        lb_error_set(error, status, "%.*s%s%.*s: a hook at %s failed: %s", (int)o->message->api_name.size,
                     o->message->api_name.data, o->message->name.size ? "." : "", (int)o->message->name.size,
                     o->message->name.data, lb_hook_name(o->point), lb_status_text(status));
    error->status = status;
    return status;
}

static lb_status run_one(const hook *h, lb_occasion *o, lb_error *why)
{
    *why = (lb_error){.status = LB_OK};
    inside++;
    lb_status status = h->run(o, h->data, why);
    inside--;
    if (status == LB_OK && o->message->misuse.status != LB_OK) {
        *why = o->message->misuse;
        status = LB_USAGE;
    }
    o->message->misuse.status = LB_OK;
    return status;
}

/* *error is filled when the answer is not LB_OK. */
static lb_status run(lb_occasion *o, lb_error *error)
{
    lb_status status = LB_OK;
    lb_error why;
    if (!o->message) {
        o->none.memory = &o->own_memory;
        o->message = &o->none;
    }
    o->message->misuse.status = LB_OK; /* that of a handler has been dealt with */
    for (const hook *h = o->bus->hooks.first[o->point]; h; h = h->next) {
        lb_status one = run_one(h, o, &why);
        if (one != LB_OK && status == LB_OK)
            status = take_failure(o, one, &why, error);
        if (status != LB_OK && is_before(o->point))
            break;
    }
    arena_free(&o->own_memory);
    return status;
}

/* ---- Arguments -------------------------------------------------------------------------------------- */

/* Gives texts their trees, in a copy. False when memory is short. */
static bool read_texts(lb_occasion *o)
{
    lb_message *m = o->message;
    lb_kwarg *read = arena_alloc(m->memory, (m->count + 1) * sizeof *read);
    if (!read)
        return false;
    for (size_t i = 0; i < m->count; i++) {
        read[i] = m->kwargs[i];
        if (json_parse(m->memory, read[i].json.data, read[i].json.size, &read[i].value, NULL) != LB_OK)
            return false;
    }
    m->kwargs = read;
    o->texts = false;
    return true;
}

const lb_message *lb_occasion_message(lb_occasion *o)
{
    if (o->texts && !read_texts(o) && o->message->misuse.status == LB_OK) {
        lb_error_set(&o->message->misuse, LB_NO_MEMORY, "out of memory while reading the arguments for a hook");
        o->message->count = 0;
    }
    return o->message;
}

/* A copy of the arguments with one replaced or added. */
static lb_status put(lb_message *m, const lb_kwarg *kwarg, lb_error *error)
{
    lb_kwarg *copy = arena_alloc(m->memory, (m->count + 1) * sizeof *copy);
    size_t at = 0;
    if (!copy)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while changing an argument");
    if (m->count)
        memcpy(copy, m->kwargs, m->count * sizeof *copy);
    while (at < m->count && !slice_equal(copy[at].name, kwarg->name))
        at++;
    copy[at] = *kwarg;
    m->kwargs = copy;
    m->count += at == m->count;
    m->args = NULL;
    return LB_OK;
}

lb_status lb_occasion_set(lb_occasion *o, lb_arg argument, lb_error *error)
{
    lb_message *m = o->message;
    lb_kwarg *kwarg;
    size_t count;
    if (!is_before(o->point) || m == &o->none || !argument.name)
        return lb_error_set(
            error, LB_USAGE,
            "lb_occasion_set: expected a named argument, before a call, an event or a handler; this is %s",
            lb_hook_name(o->point));
    lb_status status =
        arguments_encode(m->api_name, m->member, 0, LB_ARGS(argument), m->memory, &kwarg, &count, error);
    if (status == LB_OK)
        status = json_parse(m->memory, kwarg->json.data, kwarg->json.size, &kwarg->value, error);
    if (status == LB_OK)
        status = put(m, kwarg, error);
    o->changed = o->changed || status == LB_OK;
    return status;
}

/* Hooks have changed arguments: they have to fit the signature still. */
static lb_status check_changes(lb_occasion *o, unsigned how, lb_error *error)
{
    lb_message *m = o->message;
    if (o->changed && o->texts && !read_texts(o))
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while changing an argument");
    return o->changed && (how & MARSHAL_VALIDATE)
               ? arguments_accept(m->api_name, m->member, how, m->memory, &m->kwargs, &m->count, error)
               : LB_OK;
}

/* ---- What hooks read -------------------------------------------------------------------------------- */

lb_hook_point lb_occasion_point(const lb_occasion *o) { return o->point; }
lb_bus *lb_occasion_bus(const lb_occasion *o) { return o->bus; }

static const char *text_of(const lb_occasion *o, const char *const *cache, lb_slice s)
{
    const char **made = (const char **)(uintptr_t)cache; /* a cache: the occasion is ours to write to */
    if (!*made && !(*made = arena_copy(o->message->memory, s.data ? s.data : "", s.size)))
        return "";
    return *made;
}

const char *lb_occasion_api(const lb_occasion *o) { return text_of(o, &o->api, o->message->api_name); }
const char *lb_occasion_name(const lb_occasion *o) { return text_of(o, &o->name, o->message->name); }
const char *lb_occasion_id(const lb_occasion *o) { return text_of(o, &o->id_text, o->id); }
const lb_error *lb_occasion_error(lb_occasion *o) { return o->error; }

const lb_value *lb_occasion_result(lb_occasion *o)
{
    if (!o->result && o->result_json.size && !o->error)
        json_parse(o->message->memory, o->result_json.data, o->result_json.size, &o->result, NULL);
    return o->result;
}

double lb_occasion_seconds(const lb_occasion *o)
{
    return o->began ? (double)(clock_now() - o->began) / (double)CLOCK_SECOND : 0;
}

/* ---- Calls and fires -------------------------------------------------------------------------------- */

static lb_message message_of_pending(lb_pending *p)
{
    const lb_rpc_message *rpc = &p->message.rpc;
    const lb_event_message *event = &p->message.event;
    bool is_call = p->kind == PENDING_CALL;
    return (lb_message){
        .bus = p->bus,
        .api_name = is_call ? rpc->api_name : event->api_name,
        .name = is_call ? rpc->procedure_name : event->event_name,
        .member = p->member,
        .kwargs = is_call ? rpc->kwargs : event->kwargs,
        .count = is_call ? rpc->kwargs_count : event->kwargs_count,
        .memory = &p->memory,
    };
}

/* Changed arguments, as texts; defaults that were added on the way are left to the receiver. */
static void take_changes(lb_pending *p, const lb_message *m, size_t count)
{
    if (p->kind == PENDING_CALL) {
        p->message.rpc.kwargs = m->kwargs;
        p->message.rpc.kwargs_count = count;
    } else {
        p->message.event.kwargs = m->kwargs;
        p->message.event.kwargs_count = count;
    }
}

lb_status hooks_before_sending(lb_pending *p, lb_error *error)
{
    lb_error ignored;
    lb_message m = message_of_pending(p);
    lb_occasion o = {.point = p->kind == PENDING_CALL ? LB_HOOK_BEFORE_RPC_CALL : LB_HOOK_BEFORE_EVENT_SENT,
                     .bus = p->bus,
                     .message = &m,
                     .texts = true,
                     .id = {p->id, UUID_TEXT}};
    if (hooks_running())
        return LB_OK;
    p->began = clock_now();
    lb_status status = run(&o, error ? error : &ignored);
    size_t count = m.count;
    if (status == LB_OK)
        status = check_changes(&o, bus_settings(p->bus, m.api_name).outgoing, error);
    if (status == LB_OK && o.changed)
        take_changes(p, &m, count);
    return status;
}

void hooks_after_sending(lb_pending *p)
{
    lb_error error = {0}, own = {0};
    lb_message m = message_of_pending(p);
    lb_occasion o = {.point = p->kind == PENDING_CALL ? LB_HOOK_AFTER_RPC_CALL : LB_HOOK_AFTER_EVENT_SENT,
                     .bus = p->bus,
                     .message = &m,
                     .texts = true,
                     .id = {p->id, UUID_TEXT},
                     .result = p->status == LB_OK ? p->result : NULL,
                     .began = p->began};
    if (p->status != LB_OK) {
        pending_outcome(p, &own);
        o.error = &own;
    }
    lb_status status = run(&o, &error);
    if (status == LB_OK)
        return;
    if (p->kind == PENDING_CALL && p->status == LB_OK)
        pending_fail(p, status, &error);
    else
        lb_log(LB_LOG_ERROR, "a hook at %s failed: %s", lb_hook_name(o.point), error.message);
}

/* ---- Handlers --------------------------------------------------------------------------------------- */

bool hooks_before_execution(lb_request *r)
{
    lb_error error = {0};
    lb_message *m = &r->message;
    lb_occasion o = {.point = LB_HOOK_BEFORE_RPC_EXECUTION, .bus = m->bus, .message = m, .id = r->rpc->id};
    r->began = clock_now();
    lb_status status = run(&o, &error);
    if (status == LB_OK)
        status = check_changes(&o, bus_settings(m->bus, m->api_name).incoming, &error);
    if (status != LB_OK)
        lb_fail(r, error.type, "%s", error.message);
    return status == LB_OK;
}

void hooks_after_execution(lb_request *r)
{
    lb_error error = {0}, own = {0};
    const lb_value *text = NULL;
    lb_message *m = &r->message;
    const buffer *out = r->out;
    lb_occasion o = {.point = LB_HOOK_AFTER_RPC_EXECUTION,
                     .bus = m->bus,
                     .message = m,
                     .id = r->rpc->id,
                     .result_json = {out->data, out->failed ? 0 : out->size},
                     .began = r->began};
    if (r->failed) {
        json_parse(m->memory, o.result_json.data, o.result_json.size, &text, NULL);
        error_text_read(text, r->trace, &own);
        o.error = &own;
    }
    if (run(&o, &error) != LB_OK && !r->failed)
        request_fail(r, error.type, error.message, error.message);
    else if (error.status != LB_OK)
        lb_log(LB_LOG_ERROR, "a hook at %s failed: %s", lb_hook_name(o.point), error.message);
}

lb_status hooks_before_event(lb_event *e, int64_t *began, lb_error *error)
{
    lb_message *m = &e->message;
    lb_occasion o = {.point = LB_HOOK_BEFORE_EVENT_EXECUTION, .bus = m->bus, .message = m, .id = e->event->id};
    *began = clock_now();
    lb_status status = run(&o, error);
    return status == LB_OK ? check_changes(&o, bus_settings(m->bus, m->api_name).incoming, error) : status;
}

void hooks_after_event(lb_event *e, int64_t began, const lb_error *outcome)
{
    lb_error error = {0};
    lb_occasion o = {.point = LB_HOOK_AFTER_EVENT_EXECUTION,
                     .bus = e->message.bus,
                     .message = &e->message,
                     .id = e->event->id,
                     .error = outcome->status == LB_OK ? NULL : outcome,
                     .began = began};
    if (run(&o, &error) != LB_OK)
        lb_log(LB_LOG_ERROR, "a hook at %s failed: %s", lb_hook_name(o.point), error.message);
}

/* ---- The worker ------------------------------------------------------------------------------------- */

lb_status hooks_of_worker(lb_bus *bus, lb_hook_point point, const lb_error *why, lb_error *error)
{
    lb_error own = {0};
    lb_occasion o = {.point = point, .bus = bus, .error = why && why->status != LB_OK ? why : NULL};
    lb_status status = run(&o, &own);
    if (status != LB_OK && error)
        *error = own;
    else if (status != LB_OK)
        lb_log(LB_LOG_ERROR, "a hook at %s failed: %s", lb_hook_name(point), own.message);
    return status;
}
