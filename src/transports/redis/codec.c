/* Encoding and decoding of calls, results and events. See codec.h. */
#include "codec.h"

#include <limits.h>
#include <stdlib.h>

#include "../../base/map.h"

/* ---- Out -------------------------------------------------------------------------------------------- */

/* The names and ids were checked to be UTF-8 before they came here; another text is sent as "". */
static void json_text(buffer *b, lb_slice text)
{
    if (!buffer_json_string(b, text.data ? text.data : "", text.size))
        buffer_literal(b, "\"\"");
}

void encode_call(buffer *b, const lb_rpc_message *call)
{
    buffer_literal(b, "{\"metadata\":{\"id\":");
    json_text(b, call->id);
    buffer_literal(b, ",\"api_name\":");
    json_text(b, call->api_name);
    buffer_literal(b, ",\"procedure_name\":");
    json_text(b, call->procedure_name);
    buffer_literal(b, ",\"return_path\":");
    json_text(b, call->return_path);
    buffer_literal(b, "},\"kwargs\":{");
    for (size_t i = 0; i < call->kwargs_count; i++) {
        if (i)
            buffer_char(b, ',');
        json_text(b, call->kwargs[i].name);
        buffer_char(b, ':');
        buffer_add(b, call->kwargs[i].json.data, call->kwargs[i].json.size);
    }
    buffer_literal(b, "}}");
}

void encode_result(buffer *b, const lb_result_message *result)
{
    buffer_literal(b, "{\"metadata\":{\"id\":");
    json_text(b, result->id);
    buffer_literal(b, ",\"rpc_message_id\":");
    json_text(b, result->rpc_message_id);
    if (result->error) {
        buffer_literal(b, ",\"error\":true");
        if (result->trace.size) {
            buffer_literal(b, ",\"trace\":");
            json_text(b, result->trace);
        }
    } else {
        buffer_literal(b, ",\"error\":false");
    }
    buffer_literal(b, "},\"kwargs\":{\"result\":");
    if (result->json.size)
        buffer_add(b, result->json.data, result->json.size);
    else
        buffer_literal(b, "null");
    buffer_literal(b, "}}");
}

size_t event_size(const lb_event_message *event)
{
    size_t size = event->id.size + event->api_name.size + event->event_name.size;
    for (size_t i = 0; i < event->kwargs_count; i++)
        size += event->kwargs[i].name.size + event->kwargs[i].json.size;
    return size;
}

void encode_event(buffer *b, const char *stream, size_t stream_size, int64_t most_length,
                  const lb_event_message *event)
{
    command_begin(b, (most_length ? 6 : 3) + 8 + 2 * event->kwargs_count);
    command_str(b, "XADD");
    command_arg(b, stream, stream_size);
    if (most_length) {
        command_str(b, "MAXLEN");
        command_str(b, "~");
        command_int(b, most_length);
    }
    command_str(b, "*");
    command_str(b, "id");
    command_slice(b, event->id);
    command_str(b, "api_name");
    command_slice(b, event->api_name);
    command_str(b, "event_name");
    command_slice(b, event->event_name);
    command_str(b, "version");
    command_int(b, event->version);
    for (size_t i = 0; i < event->kwargs_count; i++) {
        command_prefixed(b, ":", event->kwargs[i].name);
        command_slice(b, event->kwargs[i].json);
    }
}

/* ---- In: JSON messages ------------------------------------------------------------------------------ */

static const char *const no_memory = "out of memory";

/* Parses a message; NULL with *problem set. */
static const lb_value *parse_message(arena *a, lb_slice text, size_t most, const char **problem)
{
    const lb_value *root = NULL;
    lb_error error = {0};
    if (text.size > most) {
        *problem = arena_printf(a, "a message of %zu bytes, more than max_message_size (%zu)", text.size, most);
        return NULL;
    }
    lb_status status = json_parse(a, text.data, text.size, &root, &error);
    if (status == LB_NO_MEMORY)
        *problem = no_memory;
    else if (status != LB_OK)
        *problem = arena_copy(a, error.message, strlen(error.message));
    else if (lb_value_type_of(root) != LB_TYPE_DICT)
        *problem = "expected a JSON object";
    else
        return root;
    return NULL;
}

/* An id, which may be a number on the wire. */
static lb_slice id_text(arena *a, const lb_value *value)
{
    lb_value_type type = lb_value_type_of(value);
    if (type == LB_TYPE_STR)
        return json_slice(value);
    if (type != LB_TYPE_INT && type != LB_TYPE_UINT)
        return (lb_slice){"", 0};
    const char *text = type == LB_TYPE_INT ? arena_printf(a, "%lld", (long long)lb_value_int(value))
                                           : arena_printf(a, "%llu", (unsigned long long)lb_value_uint(value));
    return slice_of(text ? text : "");
}

static lb_slice text_member(const lb_value *dict, const char *name)
{
    const lb_value *value = lb_value_get(dict, name);
    return lb_value_type_of(value) == LB_TYPE_STR ? json_slice(value) : (lb_slice){"", 0};
}

static bool has_duplicates(const lb_kwarg *kwargs, size_t count)
{
    enum { FEW = 16 };
    bool found = false;
    if (count <= FEW) {
        for (size_t i = 1; i < count; i++)
            for (size_t j = 0; j < i && !found; j++)
                found = slice_equal(kwargs[i].name, kwargs[j].name);
        return found;
    }
    map seen = {0};
    for (size_t i = 0; i < count && !found; i++) {
        found = map_get(&seen, kwargs[i].name.data, kwargs[i].name.size) != NULL;
        if (!found && !map_put(&seen, kwargs[i].name.data, kwargs[i].name.size, &seen))
            found = true;
    }
    map_free(&seen);
    return found;
}

/* The members of `kwargs`; a message without any is fine. */
static const char *read_kwargs(arena *a, const lb_value *dict, lb_rpc_message *call)
{
    lb_value_type type = lb_value_type_of(dict);
    if (type == LB_TYPE_NULL)
        return NULL;
    if (type != LB_TYPE_DICT)
        return "kwargs: expected an object";
    size_t count = lb_value_count(dict), i = 0;
    lb_kwarg *kwargs = arena_alloc(a, (count + 1) * sizeof *kwargs);
    if (!kwargs)
        return no_memory;
    lb_value_iterator it = lb_value_iterate(dict);
    for (; lb_value_next(&it); i++)
        kwargs[i] = (lb_kwarg){.name = {it.name, it.name_size}, .value = it.value};
    if (has_duplicates(kwargs, count))
        return "kwargs: a parameter is there twice";
    call->kwargs = kwargs;
    call->kwargs_count = count;
    return NULL;
}

static const char *missing_from_call(const lb_rpc_message *call)
{
    if (!call->id.size)
        return "metadata: no id";
    if (!call->api_name.size)
        return "metadata: no api_name";
    if (!call->procedure_name.size)
        return "metadata: no procedure_name";
    if (!call->return_path.size)
        return "metadata: no return_path";
    size_t scheme = strlen(RETURN_SCHEME);
    if (call->return_path.size <= scheme || memcmp(call->return_path.data, RETURN_SCHEME, scheme) != 0)
        return "metadata: expected a return_path that begins with " RETURN_SCHEME;
    return NULL;
}

bool decode_call(arena *a, lb_slice text, size_t most, lb_rpc_message *call)
{
    const lb_slice empty = {"", 0};
    *call = (lb_rpc_message){.id = empty,
                             .api_name = empty,
                             .procedure_name = empty,
                             .return_path = empty,
                             .deadline_ns = LB_FOREVER};
    const lb_value *root = parse_message(a, text, most, &call->problem);
    if (!root)
        return call->problem && call->problem != no_memory;
    const lb_value *metadata = lb_value_get(root, "metadata");
    if (lb_value_type_of(metadata) != LB_TYPE_DICT) {
        call->problem = "no metadata";
        return true;
    }
    call->id = id_text(a, lb_value_get(metadata, "id"));
    call->api_name = text_member(metadata, "api_name");
    call->procedure_name = text_member(metadata, "procedure_name");
    call->return_path = text_member(metadata, "return_path");
    call->problem = missing_from_call(call);
    if (!call->problem)
        call->problem = read_kwargs(a, lb_value_get(root, "kwargs"), call);
    return call->problem != no_memory;
}

/* As Python takes a value for true. */
static bool truthy(const lb_value *value)
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

bool decode_result(arena *a, lb_slice text, size_t most, lb_result_message *result)
{
    const lb_slice empty = {"", 0};
    *result = (lb_result_message){.id = empty, .rpc_message_id = empty, .return_path = empty, .trace = empty};
    const lb_value *root = parse_message(a, text, most, &result->problem);
    const lb_value *metadata = lb_value_get(root, "metadata"), *kwargs = lb_value_get(root, "kwargs");
    if (root) {
        result->id = id_text(a, lb_value_get(metadata, "id"));
        result->rpc_message_id = id_text(a, lb_value_get(metadata, "rpc_message_id"));
        result->error = truthy(lb_value_get(metadata, "error"));
        result->trace = text_member(metadata, "trace");
        result->result = lb_value_get(kwargs, "result");
        if (!result->rpc_message_id.size)
            result->problem = "metadata: no rpc_message_id";
        else if (lb_value_type_of(kwargs) != LB_TYPE_DICT && lb_value_type_of(kwargs) != LB_TYPE_NULL)
            result->problem = "kwargs: expected an object";
    }
    if (!root && !result->problem)
        result->problem = no_memory;
    if (result->problem)
        result->status = LB_MALFORMED;
    return result->problem != no_memory;
}

/* ---- In: events ------------------------------------------------------------------------------------- */

static const char *read_version(lb_slice text, int *version)
{
    int64_t number = 0;
    bool negative = text.size > 1 && *text.data == '-';
    size_t i = negative;
    for (; i < text.size && text.data[i] >= '0' && text.data[i] <= '9' && number <= INT_MAX; i++)
        number = number * 10 + (text.data[i] - '0');
    if (!text.size || i < text.size || number > INT_MAX)
        return "version: expected an integer";
    *version = (int)(negative ? -number : number);
    return NULL;
}

/* A field without a colon; unknown ones are ignored. */
static const char *read_metadata(lb_slice name, lb_slice value, lb_event_message *event)
{
    if (slice_is(name, "id"))
        event->id = value;
    else if (slice_is(name, "api_name"))
        event->api_name = value;
    else if (slice_is(name, "event_name"))
        event->event_name = value;
    else if (slice_is(name, "version"))
        return read_version(value, &event->version);
    return NULL;
}

static bool is_utf8(lb_slice text)
{
    const unsigned char *at = (const unsigned char *)text.data, *end = at + text.size;
    while (at < end) {
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        int size = *at < 0x80             ? 1
                   : (*at & 0xe0) == 0xc0 ? 2
                   : (*at & 0xf0) == 0xe0 ? 3
                   : (*at & 0xf8) == 0xf0 ? 4
                                          : 0;
        if (!size || end - at < size)
            return false;
        uint32_t code = size == 1 ? *at : *at & (0x7fu >> size);
        for (int i = 1; i < size; i++) {
            if ((at[i] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (at[i] & 0x3f);
        }
        if (code < least[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return false;
        at += size;
    }
    return true;
}

static const char *read_parameter(arena *a, lb_slice name, lb_slice value, lb_kwarg *kwarg)
{
    lb_error error = {0};
    *kwarg = (lb_kwarg){.name = name, .json = value};
    if (!name.size)
        return "a parameter without a name";
    lb_status status = json_parse(a, value.data, value.size, &kwarg->value, &error);
    if (status == LB_NO_MEMORY)
        return no_memory;
    if (status == LB_OK)
        return is_utf8(name) ? NULL : "the name of a parameter is not UTF-8";
    const char *problem = is_utf8(name) ? arena_printf(a, "%.*s: %s", (int)(name.size < 60 ? name.size : 60),
                                                       name.data, error.message)
                                        : "the name of a parameter is not UTF-8";
    return problem ? problem : no_memory;
}

static const char *missing_from_event(const lb_event_message *event, bool versioned)
{
    if (!event->id.size)
        return "no id";
    if (!event->api_name.size)
        return "no api_name";
    if (!event->event_name.size)
        return "no event_name";
    if (!versioned)
        return "no version";
    if (!is_utf8(event->id) || !is_utf8(event->api_name) || !is_utf8(event->event_name))
        return "metadata that is not UTF-8";
    return has_duplicates(event->kwargs, event->kwargs_count) ? "a parameter is there twice" : NULL;
}

decoded decode_event(arena *a, const reply *fields, size_t most, lb_event_message *event)
{
    const lb_slice empty = {"", 0};
    event->id = event->api_name = event->event_name = empty;
    event->kwargs_count = 0;
    event->version = 0;
    event->problem = NULL;
    size_t parameters = 0, total = 0;
    bool versioned = false;
    for (const reply *f = fields; f && f->next; f = f->next->next) {
        lb_slice name = reply_text(f), value = reply_text(f->next);
        parameters += name.size && *name.data == ':';
        total += name.size + value.size;
        if (!reply_is_kept(f) || !reply_is_kept(f->next)) /* too large */
            total = most + 1;
    }
    if (total > most) {
        event->problem = arena_printf(a, "an event of more than max_message_size (%zu)", most);
        return event->problem ? DECODED : DECODED_NO_MEMORY;
    }
    lb_kwarg *kwargs = arena_alloc(a, (parameters + 1) * sizeof *kwargs);
    if (!kwargs)
        return DECODED_NO_MEMORY;
    event->kwargs = kwargs;
    for (const reply *f = fields; f && f->next; f = f->next->next) {
        lb_slice name = reply_text(f), value = reply_text(f->next);
        const char *problem = NULL;
        if (!name.size && !value.size && f == fields && !f->next->next)
            return DECODED_NOOP;
        if (name.size && *name.data == ':')
            problem = read_parameter(a, (lb_slice){name.data + 1, name.size - 1}, value,
                                     &kwargs[event->kwargs_count++]);
        else
            problem = read_metadata(name, value, event);
        versioned |= slice_is(name, "version");
        if (problem == no_memory)
            return DECODED_NO_MEMORY;
        if (problem && !event->problem)
            event->problem = problem;
    }
    if (!event->problem)
        event->problem = missing_from_event(event, versioned);
    return DECODED;
}

/* ---- In: dead letters ------------------------------------------------------------------------------- */

static bool add_field(arena *a, const reply *field, reply ***end)
{
    reply *copy = arena_alloc(a, sizeof *copy);
    if (!copy)
        return false;
    *copy = *field;
    copy->next = NULL;
    **end = copy;
    *end = &copy->next;
    return true;
}

/* The fields of an event that had too many of them for the script that buried it: a JSON list of texts. */
static bool unpack_fields(arena *a, lb_slice json, reply ***end)
{
    const lb_value *list = NULL;
    lb_error error = {0};
    if (json_parse(a, json.data, json.size, &list, &error) == LB_NO_MEMORY)
        return false;
    for (lb_value_iterator it = lb_value_iterate(list); lb_value_next(&it);) {
        const reply field = {.type = REDIS_REPLY_STRING, .as.text = json_slice(it.value)};
        if (lb_value_type_of(it.value) == LB_TYPE_STR && !add_field(a, &field, end))
            return false;
    }
    return true;
}

/* What the field `name` of a letter says, if it is one of a letter's own. */
static void read_letter(lb_slice name, lb_slice value, lb_event_message *event, lb_dead_letter *letter)
{
    if (slice_is(name, "dead_id"))
        event->native_id = value;
    else if (slice_is(name, "dead_group"))
        letter->group = value;
    else if (slice_is(name, "dead_consumer"))
        letter->consumer = value;
    else if (slice_is(name, "dead_reason"))
        letter->reason = value;
    else if (slice_is(name, "dead_deliveries") && read_version(value, &event->deliveries) != NULL)
        event->deliveries = 0;
}

static bool is_letters(lb_slice name) { return name.size >= 5 && memcmp(name.data, "dead_", 5) == 0; }

/* Puts the fields of the event apart from those of the letter. */
static bool part_fields(arena *a, const reply *fields, lb_event_message *event, lb_dead_letter *letter,
                        const reply **own)
{
    reply *first = NULL, **end = &first;
    bool good = true;
    for (const reply *f = fields; f && f->next && good; f = f->next->next) {
        lb_slice name = reply_text(f), value = reply_text(f->next);
        if (!is_letters(name))
            good = add_field(a, f, &end) && add_field(a, f->next, &end);
        else if (slice_is(name, "dead_fields"))
            good = unpack_fields(a, value, &end);
        else
            read_letter(name, value, event, letter);
    }
    *own = first;
    return good;
}

/* A text as a value; what is not UTF-8 is told to be so. False when memory is short. */
static bool text_value(arena *a, buffer *made, lb_slice text, const lb_value **value)
{
    made->size = 0;
    if (!buffer_json_string(made, text.data, text.size)) {
        made->size = 0;
        buffer_literal(made, "\"(bytes that are not UTF-8)\"");
    }
    return !made->failed && json_parse(a, made->data, made->size, value, NULL) == LB_OK;
}

static bool show_fields(arena *a, const reply *fields, size_t most, lb_event_message *event)
{
    buffer made = {0};
    size_t pairs = 0, total = 0;
    event->kwargs_count = 0;
    for (const reply *f = fields; f && f->next; f = f->next->next, pairs++)
        total += reply_text(f).size + reply_text(f->next).size;
    if (total > most)
        return true;
    lb_kwarg *kwargs = arena_alloc(a, (pairs + 1) * sizeof *kwargs);
    bool good = kwargs != NULL;
    event->kwargs = kwargs;
    for (const reply *f = fields; f && f->next && good; f = f->next->next) {
        lb_kwarg *kwarg = &kwargs[event->kwargs_count++];
        lb_slice name = reply_text(f);
        *kwarg = (lb_kwarg){.name = is_utf8(name) ? name : slice_of("?")};
        good = text_value(a, &made, reply_text(f->next), &kwarg->value);
    }
    buffer_free(&made);
    return good;
}

bool decode_letter(arena *a, const reply *fields, size_t most, lb_event_message *event, lb_dead_letter *letter)
{
    const lb_slice empty = {"", 0};
    const reply *own;
    *letter = (lb_dead_letter){empty, empty, empty, empty};
    event->native_id = empty;
    event->deliveries = 0;
    if (!part_fields(a, fields, event, letter, &own))
        return false;
    decoded kind = decode_event(a, own, most, event);
    if (!own)
        event->problem = "it had gone from its stream when it was given up";
    else if (kind == DECODED_NOOP)
        event->problem = "an entry without an event";
    return kind != DECODED_NO_MEMORY && (!event->problem || show_fields(a, own, most, event));
}
