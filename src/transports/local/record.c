/* Messages as records. See record.h. */
#include "record.h"

#include "../../base/json.h"

static const char *const no_memory = "out of memory";
static const char *const damaged = "the record is damaged";

void put_bytes(buffer *b, const void *data, size_t size) { buffer_add(b, data, size); }

void put_slice(buffer *b, lb_slice text)
{
    uint32_t size = (uint32_t)text.size;
    if (!buffer_room(b, sizeof size + text.size))
        return;
    memcpy(b->data + b->size, &size, sizeof size);
    if (text.size)
        memcpy(b->data + b->size + sizeof size, text.data, text.size);
    b->size += sizeof size + text.size;
}

size_t put_slice_begin(buffer *b)
{
    static const uint32_t not_known = 0;
    buffer_add(b, &not_known, sizeof not_known);
    return b->size;
}

void put_slice_end(buffer *b, size_t begin)
{
    uint32_t size = (uint32_t)(b->size - begin);
    if (!b->failed)
        memcpy(b->data + begin - sizeof size, &size, sizeof size);
}

void cut_bytes(cut *c, void *out, size_t size)
{
    if (c->bad || (size_t)(c->end - c->at) < size) {
        c->bad = true;
        memset(out, 0, size);
        return;
    }
    memcpy(out, c->at, size);
    c->at += size;
}

lb_slice cut_slice(cut *c)
{
    uint32_t size;
    cut_bytes(c, &size, sizeof size);
    if (c->bad || (size_t)(c->end - c->at) < size) {
        c->bad = true;
        return (lb_slice){"", 0};
    }
    lb_slice text = {c->at, size};
    c->at += size;
    return text;
}

/* ---- Out -------------------------------------------------------------------------------------------- */

static void put_kwargs(buffer *b, const lb_kwarg *kwargs, size_t count)
{
    size_t begin = put_slice_begin(b);
    buffer_char(b, '{');
    for (size_t i = 0; i < count; i++) {
        if (i)
            buffer_char(b, ',');
        if (!buffer_json_string(b, kwargs[i].name.data, kwargs[i].name.size))
            buffer_literal(b, "\"\"");
        buffer_char(b, ':');
        buffer_add(b, kwargs[i].json.data, kwargs[i].json.size);
    }
    buffer_char(b, '}');
    put_slice_end(b, begin);
}

void put_call(buffer *b, const lb_rpc_message *call)
{
    put_bytes(b, &call->deadline_ns, sizeof call->deadline_ns);
    put_slice(b, call->id);
    put_slice(b, call->api_name);
    put_slice(b, call->procedure_name);
    put_slice(b, call->return_path);
    put_kwargs(b, call->kwargs, call->kwargs_count);
}

void put_result(buffer *b, const lb_result_message *result, int64_t expires_ns)
{
    uint32_t error = result->error;
    put_bytes(b, &expires_ns, sizeof expires_ns);
    put_bytes(b, &error, sizeof error);
    put_slice(b, result->id);
    put_slice(b, result->rpc_message_id);
    put_slice(b, result->trace);
    put_slice(b, result->json);
}

void put_event(buffer *b, const lb_event_message *event)
{
    int32_t version = event->version;
    put_bytes(b, &version, sizeof version);
    put_slice(b, event->api_name);
    put_slice(b, event->event_name);
    put_slice(b, event->id);
    put_kwargs(b, event->kwargs, event->kwargs_count);
}

void put_letter(buffer *b, const lb_dead_letter *letter, lb_slice native_id, uint64_t deliveries,
                lb_slice record)
{
    put_slice(b, letter->group);
    put_slice(b, letter->consumer);
    put_slice(b, native_id);
    put_bytes(b, &deliveries, sizeof deliveries);
    put_slice(b, letter->reason);
    buffer_add(b, record.data, record.size);
}

/* ---- In --------------------------------------------------------------------------------------------- */

static const lb_value *parse(arena *a, lb_slice json, const char **problem)
{
    const lb_value *value = NULL;
    lb_error error = {0};
    lb_status status = json_parse(a, json.data, json.size, &value, &error);
    if (status == LB_NO_MEMORY)
        *problem = no_memory;
    else if (status != LB_OK)
        *problem = arena_copy(a, error.message, strlen(error.message));
    if (status != LB_OK && !*problem)
        *problem = no_memory;
    return value;
}

/* The problem, or NULL. */
static const char *parse_kwargs(arena *a, lb_slice json, const lb_kwarg **out, size_t *count)
{
    const char *problem = NULL;
    const lb_value *dict = parse(a, json, &problem);
    if (problem)
        return problem;
    if (lb_value_type_of(dict) != LB_TYPE_DICT)
        return damaged;
    lb_kwarg *kwargs = arena_alloc(a, (lb_value_count(dict) + 1) * sizeof *kwargs);
    if (!kwargs)
        return no_memory;
    *count = 0;
    for (lb_value_iterator it = lb_value_iterate(dict); lb_value_next(&it);)
        kwargs[(*count)++] = (lb_kwarg){.name = {it.name, it.name_size}, .value = it.value};
    *out = kwargs;
    return NULL;
}

static const char *too_large(arena *a, size_t size, size_t most)
{
    const char *text = arena_printf(a, "a message of %zu bytes, more than max_message_size (%zu)", size, most);
    return text ? text : no_memory;
}

bool get_call(arena *a, lb_slice record, size_t most, lb_rpc_message *call)
{
    cut c = cut_of(record);
    *call = (lb_rpc_message){.deadline_ns = LB_FOREVER};
    cut_bytes(&c, &call->deadline_ns, sizeof call->deadline_ns);
    call->id = cut_slice(&c);
    call->api_name = cut_slice(&c);
    call->procedure_name = cut_slice(&c);
    call->return_path = cut_slice(&c);
    lb_slice kwargs = cut_slice(&c);
    if (c.bad || !call->id.size || !call->api_name.size || !call->procedure_name.size)
        call->problem = damaged;
    else if (record.size > most)
        call->problem = too_large(a, record.size, most);
    else
        call->problem = parse_kwargs(a, kwargs, &call->kwargs, &call->kwargs_count);
    return call->problem != no_memory;
}

bool get_result(arena *a, lb_slice record, size_t most, lb_result_message *result)
{
    cut c = cut_of(record);
    int64_t expires_ns;
    uint32_t error;
    *result = (lb_result_message){.status = LB_OK};
    cut_bytes(&c, &expires_ns, sizeof expires_ns);
    cut_bytes(&c, &error, sizeof error);
    result->error = error != 0;
    result->id = cut_slice(&c);
    result->rpc_message_id = cut_slice(&c);
    result->trace = cut_slice(&c);
    lb_slice json = cut_slice(&c);
    if (c.bad)
        result->problem = damaged;
    else if (record.size > most)
        result->problem = too_large(a, record.size, most);
    else
        result->result = parse(a, json.size ? json : (lb_slice){"null", 4}, &result->problem);
    if (result->problem)
        result->status = LB_MALFORMED;
    return result->problem != no_memory;
}

bool get_event(arena *a, lb_slice record, size_t most, lb_event_message *event)
{
    cut c = cut_of(record);
    int32_t version;
    cut_bytes(&c, &version, sizeof version);
    event->version = version;
    event->api_name = cut_slice(&c);
    event->event_name = cut_slice(&c);
    event->id = cut_slice(&c);
    lb_slice kwargs = cut_slice(&c);
    event->kwargs_count = 0;
    if (c.bad || !event->id.size || !event->api_name.size || !event->event_name.size)
        event->problem = damaged;
    else if (record.size > most)
        event->problem = too_large(a, record.size, most);
    else
        event->problem = parse_kwargs(a, kwargs, &event->kwargs, &event->kwargs_count);
    return event->problem != no_memory;
}

bool get_letter(lb_slice text, lb_dead_letter *letter, lb_event_message *event, lb_slice *record)
{
    uint64_t deliveries;
    cut c = cut_of(text);
    letter->group = cut_slice(&c);
    letter->consumer = cut_slice(&c);
    event->native_id = cut_slice(&c);
    cut_bytes(&c, &deliveries, sizeof deliveries);
    letter->reason = cut_slice(&c);
    event->deliveries = deliveries > INT32_MAX ? INT32_MAX : (int)deliveries;
    *record = (lb_slice){c.at, (size_t)(c.end - c.at)};
    return !c.bad;
}

bool event_names(lb_slice record, lb_slice *api_name, lb_slice *event_name)
{
    int32_t version;
    cut c = cut_of(record);
    cut_bytes(&c, &version, sizeof version);
    *api_name = cut_slice(&c);
    *event_name = cut_slice(&c);
    return !c.bad;
}

lb_slice event_id(lb_slice record)
{
    int32_t version;
    cut c = cut_of(record);
    cut_bytes(&c, &version, sizeof version);
    cut_slice(&c);
    cut_slice(&c);
    return cut_slice(&c);
}

lb_slice call_id(lb_slice record)
{
    int64_t deadline_ns;
    cut c = cut_of(record);
    cut_bytes(&c, &deadline_ns, sizeof deadline_ns);
    return cut_slice(&c);
}

lb_slice call_api(lb_slice record)
{
    int64_t deadline_ns;
    cut c = cut_of(record);
    cut_bytes(&c, &deadline_ns, sizeof deadline_ns);
    cut_slice(&c);
    return cut_slice(&c);
}
