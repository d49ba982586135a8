/* From signatures to JSON schema (draft-07). The forms are those of Python Lightbus, also where another would
 * do: a default stands in every branch of an anyOf of a parameter, but beside the anyOf in a field of a struct;
 * `prefixItems` is no keyword of draft-07; uuid and bytes are plain strings. One thing differs: an enum of
 * mixed types has no "type" (Python gives that of the first value, which refuses the others). */
#include "json_schema.h"

#include "../base/json.h"
#include "type.h"

#define DRAFT "http://json-schema.org/draft-07/schema#"

/* Inside an object: a comma where one is due, the name, the colon. */
static void key(buffer *out, const char *name)
{
    if (out->size && out->data[out->size - 1] != '{')
        buffer_char(out, ',');
    buffer_char(out, '"');
    buffer_str(out, name);
    buffer_literal(out, "\":");
}

static void text_key(buffer *out, const char *name, const char *value)
{
    key(out, name);
    buffer_json_string(out, value, strlen(value));
}

static void default_key(buffer *out, const lb_value *default_value)
{
    if (!default_value)
        return;
    key(out, "default");
    json_write(out, default_value);
}

static void array_keys(buffer *out, const type *t)
{
    text_key(out, "type", "array");
    if (t->count) {
        key(out, "items");
        json_schema_of_type(out, t->items[0]);
    }
}

static void tuple_keys(buffer *out, const type *t)
{
    text_key(out, "type", "array");
    if (!t->count)
        return;
    key(out, "maxItems");
    buffer_uint(out, t->count);
    key(out, "minItems");
    buffer_uint(out, t->count);
    key(out, "prefixItems");
    buffer_char(out, '[');
    for (size_t i = 0; i < t->count; i++) {
        if (i)
            buffer_char(out, ',');
        json_schema_of_type(out, t->items[i]);
    }
    buffer_char(out, ']');
}

static void dict_keys(buffer *out, const type *t)
{
    text_key(out, "type", "object");
    if (t->count) {
        key(out, "additionalProperties");
        json_schema_of_type(out, t->items[0]);
    }
}

static const char *enum_value_type(const lb_value *value)
{
    switch (lb_value_type_of(value)) {
    case LB_TYPE_BOOL:
        return "boolean";
    case LB_TYPE_INT:
    case LB_TYPE_UINT:
        return "integer";
    case LB_TYPE_FLOAT:
        return "number";
    case LB_TYPE_STR:
        return "string";
    default:
        return "null";
    }
}

static void enum_keys(buffer *out, const type *t)
{
    const char *common = enum_value_type(t->values[0]);

    for (size_t i = 1; common && i < t->count; i++)
        if (strcmp(common, enum_value_type(t->values[i])) != 0)
            common = NULL;
    if (common)
        text_key(out, "type", common);
    key(out, "enum");
    buffer_char(out, '[');
    for (size_t i = 0; i < t->count; i++) {
        if (i)
            buffer_char(out, ',');
        json_write(out, t->values[i]);
    }
    buffer_char(out, ']');
}

/* "properties", "required" and "additionalProperties" of a dict with these members. */
static void properties_keys(buffer *out, const parameter *parameters, size_t count, bool open,
                            void (*write)(buffer *out, const parameter *p))
{
    size_t required = 0;

    text_key(out, "type", "object");
    key(out, "additionalProperties");
    buffer_str(out, open ? "true" : "false");
    key(out, "properties");
    buffer_char(out, '{');
    for (size_t i = 0; i < count; i++) {
        key(out, parameters[i].name.data);
        write(out, &parameters[i]);
    }
    buffer_char(out, '}');
    for (size_t i = 0; i < count; i++) {
        if (parameters[i].default_value)
            continue;
        if (required++ == 0)
            key(out, "required");
        buffer_str(out, required == 1 ? "[\"" : ",\"");
        buffer_add(out, parameters[i].name.data, parameters[i].name.size);
        buffer_char(out, '"');
    }
    if (required)
        buffer_char(out, ']');
}

static void type_keys(buffer *out, const type *t, bool titled);

static void write_field(buffer *out, const parameter *field)
{
    buffer_char(out, '{');
    type_keys(out, field->type, false);
    default_key(out, field->default_value);
    buffer_char(out, '}');
}

/* The keys of a type that is neither union nor optional. `titled`: a title is there already. */
static void plain_keys(buffer *out, const type *t, bool titled)
{
    switch (t->kind) {
    case TYPE_NULL:
        text_key(out, "type", "null");
        return;
    case TYPE_BOOL:
        text_key(out, "type", "boolean");
        return;
    case TYPE_INT:
        text_key(out, "type", "integer");
        return;
    case TYPE_FLOAT:
        text_key(out, "type", "number");
        return;
    case TYPE_STR:
    case TYPE_BYTES:
    case TYPE_UUID:
        text_key(out, "type", "string");
        return;
    case TYPE_DATETIME:
    case TYPE_DATE:
    case TYPE_TIME:
        text_key(out, "type", "string");
        text_key(out, "format",
                 t->kind == TYPE_DATETIME ? "date-time"
                 : t->kind == TYPE_DATE   ? "date"
                                          : "time");
        return;
    case TYPE_DECIMAL:
        text_key(out, "type", "string");
        text_key(out, "pattern", "^-?\\d+(\\.\\d+)?$");
        return;
    case TYPE_LIST:
        array_keys(out, t);
        return;
    case TYPE_TUPLE:
        tuple_keys(out, t);
        return;
    case TYPE_DICT:
        dict_keys(out, t);
        return;
    case TYPE_ENUM:
        enum_keys(out, t);
        return;
    case TYPE_STRUCT:
        if (t->title && !titled)
            text_key(out, "title", t->title);
        properties_keys(out, t->fields, t->count, false, write_field);
        return;
    case TYPE_ANY:
    case TYPE_UNION:
    case TYPE_OPTIONAL:
        return;
    }
}

static void write_branch(buffer *out, const type *t, const lb_value *default_value)
{
    buffer_char(out, '{');
    plain_keys(out, t, false);
    default_key(out, default_value);
    buffer_char(out, '}');
}

static void any_of_key(buffer *out, const type *t, bool with_null, const lb_value *default_value)
{
    const type *const *branches = t->kind == TYPE_UNION || t->kind == TYPE_OPTIONAL ? t->items : &t;
    size_t count = branches == &t ? 1 : t->count;

    key(out, "anyOf");
    buffer_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            buffer_char(out, ',');
        write_branch(out, branches[i], default_value);
    }
    if (with_null) {
        buffer_char(out, ',');
        write_branch(out, type_simple(TYPE_NULL), default_value);
    }
    buffer_char(out, ']');
}

static void type_keys(buffer *out, const type *t, bool titled)
{
    if (t->kind == TYPE_UNION || t->kind == TYPE_OPTIONAL)
        any_of_key(out, t, t->kind == TYPE_OPTIONAL, NULL);
    else
        plain_keys(out, t, titled);
}

/* A default of null shows as a branch for null, also where `any` would take it. */
static void write_parameter(buffer *out, const parameter *p)
{
    bool default_null = p->default_value && lb_value_type_of(p->default_value) == LB_TYPE_NULL;
    bool optional = p->type->kind == TYPE_OPTIONAL;

    if (!optional && p->type->kind != TYPE_UNION && !(default_null && p->type->kind == TYPE_ANY)) {
        write_branch(out, p->type, p->default_value);
        return;
    }
    buffer_char(out, '{');
    any_of_key(out, p->type, optional || p->type->kind == TYPE_ANY, p->default_value);
    buffer_char(out, '}');
}

void json_schema_of_type(buffer *out, const type *t)
{
    buffer_char(out, '{');
    type_keys(out, t, false);
    buffer_char(out, '}');
}

/* {"$schema": ..., "title": "RPC api.name() parameters" and, for the caller to go on, no closing brace. */
static void begin_titled(buffer *out, lb_slice api_name, const signature *s, bool is_event, const char *what)
{
    buffer_char(out, '{');
    text_key(out, "$schema", DRAFT);
    key(out, "title");
    buffer_str(out, is_event ? "\"Event " : "\"RPC ");
    buffer_add(out, api_name.data, api_name.size);
    buffer_char(out, '.');
    buffer_add(out, s->name.data, s->name.size);
    buffer_str(out, is_event ? " " : "() ");
    buffer_str(out, what);
    buffer_char(out, '"');
}

void json_schema_of_member(buffer *out, lb_slice api_name, const signature *s, bool is_event)
{
    buffer_char(out, '{');
    key(out, "parameters");
    begin_titled(out, api_name, s, is_event, "parameters");
    properties_keys(out, s->parameters, s->count, s->open, write_parameter);
    buffer_char(out, '}');
    if (!is_event) {
        key(out, "response");
        begin_titled(out, api_name, s, is_event, "response");
        if (s->result)
            type_keys(out, s->result, true);
        buffer_char(out, '}');
    }
    buffer_char(out, '}');
}
