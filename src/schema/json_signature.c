/* From JSON schema back to signatures, for people: what another process published is shown in our grammar.
 * Schemas come from the bus, so nothing is taken for granted, but their nesting has been bounded before (they
 * have been compiled). What has no form in the grammar is `any`, or `dict`. */
#include "json_schema.h"

#include "../base/json.h"
#include "type.h"
#include "validator_node.h"

typedef const lb_value value;

static bool is_dict(value *v) { return v && lb_value_type_of(v) == LB_TYPE_DICT; }
static bool is_list(value *v) { return v && lb_value_type_of(v) == LB_TYPE_LIST; }
static bool is_str(value *v) { return v && lb_value_type_of(v) == LB_TYPE_STR; }
static bool is_text(value *v, const char *text) { return is_str(v) && slice_is(json_slice(v), text); }

static bool is_identifier(lb_slice name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i && c >= '0' && c <= '9'))
            return false;
    }
    return name.size > 0;
}

/* Of a struct: no word of the grammar. */
static bool is_type_name(lb_slice name)
{
    type_kind kind;

    return is_identifier(name) && !type_kind_of(name, &kind);
}

static bool lists(value *names, lb_slice name)
{
    lb_value_iterator it = lb_value_iterate(names);

    while (is_list(names) && lb_value_next(&it))
        if (is_str(it.value) && slice_equal(json_slice(it.value), name))
            return true;
    return false;
}

/* The default of a parameter stands in the branches of its anyOf. */
static value *default_of(value *schema)
{
    value *found = lb_value_get(schema, "default");

    return found ? found : lb_value_get(lb_value_at(lb_value_get(schema, "anyOf"), 0), "default");
}

static value *member_of(value *dict, lb_slice name)
{
    lb_value_iterator it = lb_value_iterate(dict);

    while (is_dict(dict) && lb_value_next(&it))
        if (slice_equal((lb_slice){it.name, it.name_size}, name))
            return it.value;
    return NULL;
}

static void print_parameter(buffer *out, lb_slice name, value *schema, bool required, bool *first)
{
    if (!*first)
        buffer_literal(out, ", ");
    *first = false;
    if (is_identifier(name))
        buffer_add(out, name.data, name.size);
    else
        buffer_json_string(out, name.data, name.size);
    buffer_literal(out, ": ");
    json_schema_print_type(out, schema);
    if (!required && default_of(schema)) {
        buffer_literal(out, " = ");
        json_write(out, default_of(schema));
    }
}

/* Python sorts `properties`, while `required` keeps the order of the declaration: so that comes first. */
static void print_parameters(buffer *out, value *schema)
{
    value *properties = lb_value_get(schema, "properties"), *required = lb_value_get(schema, "required");
    lb_value_iterator it = lb_value_iterate(required);
    bool first = true;

    while (is_list(required) && lb_value_next(&it)) {
        value *property = member_of(properties, json_slice(it.value));
        if (property)
            print_parameter(out, json_slice(it.value), property, true, &first);
    }
    it = lb_value_iterate(properties);
    while (is_dict(properties) && lb_value_next(&it))
        if (!lists(required, (lb_slice){it.name, it.name_size}))
            print_parameter(out, (lb_slice){it.name, it.name_size}, it.value, false, &first);
}

static bool has_struct_form(value *schema)
{
    value *properties = lb_value_get(schema, "properties");
    lb_value_iterator it = lb_value_iterate(properties);

    if (!is_dict(properties) || lb_value_count(properties) > VALIDATOR_MOST_PROPERTIES ||
        lb_value_count(lb_value_get(schema, "required")) > VALIDATOR_MOST_PROPERTIES)
        return false;
    while (lb_value_next(&it))
        if (!is_identifier((lb_slice){it.name, it.name_size}))
            return false;
    return true;
}

static void print_object(buffer *out, value *schema)
{
    value *additional = lb_value_get(schema, "additionalProperties");
    value *properties = lb_value_get(schema, "properties");

    if (has_struct_form(schema)) {
        value *title = lb_value_get(schema, "title");
        if (is_str(title) && is_type_name(json_slice(title))) {
            buffer_str(out, lb_value_str(title));
            buffer_char(out, ' ');
        }
        buffer_str(out, lb_value_count(properties) ? "{ " : "{");
        print_parameters(out, schema);
        buffer_str(out, lb_value_count(properties) ? " }" : "}");
        return;
    }
    buffer_literal(out, "dict");
    if (is_dict(additional)) {
        buffer_literal(out, "[str, ");
        json_schema_print_type(out, additional);
        buffer_char(out, ']');
    }
}

static void print_array(buffer *out, value *schema)
{
    value *prefix = lb_value_get(schema, "prefixItems"), *items = lb_value_get(schema, "items");
    lb_value_iterator it = lb_value_iterate(prefix);

    if (is_list(prefix) && lb_value_count(prefix)) {
        for (buffer_literal(out, "tuple["); lb_value_next(&it);) {
            if (it.index)
                buffer_literal(out, ", ");
            json_schema_print_type(out, it.value);
        }
        buffer_char(out, ']');
        return;
    }
    buffer_literal(out, "list");
    if (is_dict(items)) {
        buffer_char(out, '[');
        json_schema_print_type(out, items);
        buffer_char(out, ']');
    }
}

static void print_string(buffer *out, value *schema)
{
    value *format = lb_value_get(schema, "format");

    if (is_text(format, "date-time"))
        buffer_literal(out, "datetime");
    else if (is_text(format, "date") || is_text(format, "time"))
        buffer_str(out, lb_value_str(format));
    else if (is_text(lb_value_get(schema, "pattern"), "^-?\\d+(\\.\\d+)?$"))
        buffer_literal(out, "decimal");
    else
        buffer_literal(out, "str");
}

static bool has_enum_form(value *values)
{
    lb_value_iterator it = lb_value_iterate(values);

    while (is_list(values) && lb_value_next(&it))
        if (is_list(it.value) || is_dict(it.value))
            return false;
    return is_list(values) && lb_value_count(values) > 0;
}

static void print_enum(buffer *out, value *values)
{
    lb_value_iterator it = lb_value_iterate(values);

    for (buffer_literal(out, "enum("); lb_value_next(&it);) {
        if (it.index)
            buffer_literal(out, ", ");
        json_write(out, it.value);
    }
    buffer_char(out, ')');
}

static void print_of_type(buffer *out, value *schema, value *name)
{
    if (is_text(name, "string"))
        print_string(out, schema);
    else if (is_text(name, "object"))
        print_object(out, schema);
    else if (is_text(name, "array"))
        print_array(out, schema);
    else if (is_text(name, "integer"))
        buffer_literal(out, "int");
    else if (is_text(name, "number"))
        buffer_literal(out, "float");
    else if (is_text(name, "boolean"))
        buffer_literal(out, "bool");
    else if (is_text(name, "null"))
        buffer_literal(out, "null");
    else
        buffer_literal(out, "any");
}

static bool is_null_schema(value *schema)
{
    return is_text(schema, "null") || is_text(lb_value_get(schema, "type"), "null");
}

/* Alternatives: the schemas of an anyOf, or the names in a list of types (without what they contain: a hostile
 * list names one type many times, at every level). */
static void print_union(buffer *out, value *alternatives, bool names)
{
    lb_value_iterator it = lb_value_iterate(alternatives);
    bool optional = lb_value_count(alternatives) == 2 && is_null_schema(lb_value_at(alternatives, 1));

    while (lb_value_next(&it)) {
        if (optional && it.index == 1)
            break;
        if (it.index)
            buffer_literal(out, " | ");
        if (names)
            print_of_type(out, NULL, it.value);
        else
            json_schema_print_type(out, it.value);
    }
    if (optional)
        buffer_char(out, '?');
}

void json_schema_print_type(buffer *out, const lb_value *schema)
{
    value *any_of = lb_value_get(schema, "anyOf"), *type = lb_value_get(schema, "type");
    value *values = lb_value_get(schema, "enum");

    if (has_enum_form(values))
        print_enum(out, values);
    else if (is_list(any_of) && lb_value_count(any_of))
        print_union(out, any_of, false);
    else if (is_list(type) && lb_value_count(type))
        print_union(out, type, true);
    else
        print_of_type(out, schema, type);
}

void json_schema_print_signature(buffer *out, lb_slice name, const lb_value *parameters,
                                 const lb_value *response)
{
    buffer_add(out, name.data, name.size);
    buffer_char(out, '(');
    print_parameters(out, parameters);
    if (lb_value_bool(lb_value_get(parameters, "additionalProperties")))
        buffer_str(out, lb_value_count(lb_value_get(parameters, "properties")) ? ", ..." : "...");
    buffer_char(out, ')');
    if (lb_value_get(response, "type") || lb_value_get(response, "anyOf") || lb_value_get(response, "enum")) {
        buffer_literal(out, " -> ");
        json_schema_print_type(out, response);
    }
}
