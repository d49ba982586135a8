/* Schemas of APIs. Both origins take one way: the signatures of a table become the JSON that would be
 * published, and that JSON is compiled like the JSON of another process. Everything lives in the schema's arena
 * but the signatures (which have their own) and the two maps. Immutable once made, but for the count of
 * references. */
#include "schema.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "../base/json.h"
#include "../base/map.h"
#include "cast.h"
#include "json_schema.h"
#include "line.h"
#include "validator.h"

#define MOST_MEMBERS 10000 /* of an API on the bus */
#define MOST_NAME    200   /* bytes of a name */

typedef struct record {
    member_schema member; /* first: a pointer to it is a pointer to the record */
    signature *declared;
    const lb_value *parameters, *response; /* the schemas as JSON; NULL: absent */
} record;

struct api_schema {
    atomic_uint references;
    arena memory;
    lb_slice name, json;
    size_t count;
    record *records;
    map rpcs, events; /* name -> record */
};

/* ---- Names ------------------------------------------------------------------------------------------ */

static lb_status bad_name(lb_error *error, lb_slice name, const char *problem)
{
    char memory[400];
    line l = line_of(memory, sizeof memory);

    line_str(&l, "the API name ");
    line_quoted(&l, name);
    line_str(&l, problem);
    return lb_error_set(error, LB_INVALID_NAME, "%s", memory);
}

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

lb_status api_name_check(lb_slice name, lb_error *error)
{
    static const char reserved[] = "default";
    size_t reserved_size = sizeof reserved - 1;

    if (name.size == 0)
        return bad_name(error, name, " is empty");
    if (name.size > MOST_NAME)
        return bad_name(error, name, " is longer than 200 bytes");
    for (size_t i = 0; i <= name.size; i++) {
        bool ends_part = i == name.size || name.data[i] == '.';
        if (ends_part && (i == 0 || name.data[i - 1] == '.'))
            return bad_name(error, name, " has an empty part: expected names with single dots between");
        if (!ends_part && !is_name_character(name.data[i]))
            return bad_name(error, name, " may hold only letters, digits, \"_\", \"-\", and dots between");
    }
    if (name.size >= reserved_size && memcmp(name.data, reserved, reserved_size) == 0 &&
        (name.size == reserved_size || name.data[reserved_size] == '.'))
        return bad_name(error, name, " is reserved: in the configuration, default stands for all APIs");
    return LB_OK;
}

/* ---- Making ----------------------------------------------------------------------------------------- */

static lb_status no_memory(lb_error *error)
{
    return lb_error_set(error, LB_NO_MEMORY, "out of memory while making a schema");
}

static lb_status reserve_records(api_schema *schema, size_t count, lb_error *error)
{
    schema->records = arena_alloc(&schema->memory, (count ? count : 1) * sizeof *schema->records);
    return schema->records ? LB_OK : no_memory(error);
}

static lb_status api_schema_new(lb_slice name, api_schema **result, lb_error *error)
{
    lb_status status = api_name_check(name, error);
    api_schema *schema = status == LB_OK ? calloc(1, sizeof *schema) : NULL;

    *result = NULL;
    if (status != LB_OK)
        return status;
    if (!schema)
        return no_memory(error);
    atomic_init(&schema->references, 1);
    schema->name = (lb_slice){arena_copy(&schema->memory, name.data, name.size), name.size};
    if (!schema->name.data) {
        api_schema_unref(schema);
        return no_memory(error);
    }
    *result = schema;
    return LB_OK;
}

/* Compiles what was published about a member. Formats are annotations, as they are to Python, which sends a
 * datetime for a "date" and anything for a "date-time": reading such strings is the cast's business. */
static lb_status compile_half(api_schema *schema, record *r, const lb_value *json, const validator **result,
                              const char *what, lb_error *error)
{
    lb_error reason = {0};
    lb_status status = json ? validator_compile(&schema->memory, json, result, &reason) : LB_OK;

    if (status != LB_OK)
        lb_error_set(error, status, "%s.%s: %s: %s", schema->name.data, r->member.name.data, what,
                     reason.message);
    return status;
}

static lb_status compile_record(api_schema *schema, record *r, const lb_value *json, lb_error *error)
{
    lb_status status;

    r->parameters = lb_value_get(json, "parameters");
    r->response = r->member.is_event ? NULL : lb_value_get(json, "response");
    status = compile_half(schema, r, r->parameters, &r->member.parameters, "parameters", error);
    if (status != LB_OK)
        return status;
    return compile_half(schema, r, r->response, &r->member.response, "response", error);
}

/* Takes the next record; it is found by its name from now on. */
static lb_status add_record(api_schema *schema, const record *content, lb_error *error)
{
    map *m = content->member.is_event ? &schema->events : &schema->rpcs;
    lb_slice name = content->member.name;
    record *r = &schema->records[schema->count];

    *r = *content;
    schema->count++;
    return map_put(m, name.data, name.size, r) ? LB_OK : no_memory(error);
}

/* ---- From a table ----------------------------------------------------------------------------------- */

static lb_status add_row(api_schema *schema, const lb_member *row, int version, lb_error *error)
{
    record r = {.member = {.is_event = row->kind == LB_MEMBER_EVENT, .version = version, .row = row}};
    lb_status status;

    if (!row->signature)
        return lb_error_set(error, LB_INVALID_SIGNATURE, "%s: a member has no signature", schema->name.data);
    status = signature_parse(schema->name.data, row->signature, &r.declared, error);
    if (status != LB_OK)
        return status;
    r.member.declared = r.declared;
    r.member.name = r.declared->name;
    for (size_t i = 0; i < r.declared->count; i++)
        r.member.casts = r.member.casts || type_casts(r.declared->parameters[i].type);
    r.member.casts_result = r.declared->result && type_casts(r.declared->result);
    if (map_get(&schema->rpcs, r.member.name.data, r.member.name.size) ||
        map_get(&schema->events, r.member.name.data, r.member.name.size))
        status = lb_error_set(error, LB_DUPLICATE, "%s.%s: there are two members of this name",
                              schema->name.data, r.member.name.data);
    else if (r.member.is_event && r.declared->result)
        status = lb_error_set(error, LB_INVALID_SIGNATURE, "%s.%s: an event has no result: expected no \"->\"",
                              schema->name.data, r.member.name.data);
    if (status != LB_OK) {
        signature_free(r.declared);
        return status;
    }
    return add_record(schema, &r, error);
}

static void write_half(buffer *out, const api_schema *schema, bool events)
{
    bool first = true;

    buffer_str(out, events ? "{\"events\":{" : ",\"rpcs\":{");
    for (size_t i = 0; i < schema->count; i++) {
        const record *r = &schema->records[i];
        if (r->member.is_event != events)
            continue;
        buffer_str(out, first ? "\"" : ",\"");
        buffer_add(out, r->member.name.data, r->member.name.size);
        buffer_literal(out, "\":");
        json_schema_of_member(out, schema->name, r->declared, events);
        first = false;
    }
    buffer_str(out, events ? "}" : "}}");
}

/* The JSON to publish, and the validators compiled from it. */
static lb_status publish(api_schema *schema, lb_error *error)
{
    buffer text = {0};
    const lb_value *root = NULL;
    lb_status status;

    write_half(&text, schema, true);
    write_half(&text, schema, false);
    schema->json.size = text.size;
    schema->json.data = text.failed ? NULL : arena_copy(&schema->memory, text.data, text.size);
    buffer_free(&text);
    if (!schema->json.data)
        return no_memory(error);
    status = json_parse(&schema->memory, schema->json.data, schema->json.size, &root, error);
    for (size_t i = 0; status == LB_OK && i < schema->count; i++) {
        record *r = &schema->records[i];
        const lb_value *half = lb_value_get(root, r->member.is_event ? "events" : "rpcs");
        status = compile_record(schema, r, lb_value_get(half, r->member.name.data), error);
    }
    return status;
}

lb_status api_schema_from_table(const lb_api *api, api_schema **result, lb_error *error)
{
    api_schema *schema = NULL;
    size_t count = 0;
    lb_status status;

    *result = NULL;
    while (api->members && api->members[count].kind != LB_MEMBER_END)
        count++;
    status = api_schema_new(slice_of(api->name), &schema, error);
    if (status == LB_OK)
        status = reserve_records(schema, count, error);
    for (size_t i = 0; status == LB_OK && i < count; i++)
        status = add_row(schema, &api->members[i], api->version ? api->version : 1, error);
    if (status == LB_OK)
        status = publish(schema, error);
    if (status == LB_OK)
        *result = schema;
    else
        api_schema_unref(schema);
    return status;
}

/* ---- From the bus ----------------------------------------------------------------------------------- */

static bool is_member_name(lb_slice name)
{
    for (size_t i = 0; i < name.size; i++)
        if ((unsigned char)name.data[i] <= 0x20 || name.data[i] == 0x7F)
            return false;
    return name.size > 0 && name.size <= MOST_NAME;
}

static lb_status add_published(api_schema *schema, lb_slice name, const lb_value *json, bool is_event,
                               lb_error *error)
{
    record r = {.member = {.name = name, .is_event = is_event, .version = 1}};
    lb_status status;

    if (!is_member_name(name))
        return lb_error_set(error, LB_MALFORMED, "schema of %s: a member has no proper name",
                            schema->name.data);
    if (map_get(is_event ? &schema->events : &schema->rpcs, name.data, name.size))
        return lb_error_set(error, LB_MALFORMED, "schema of %s: %s is there twice", schema->name.data,
                            name.data);
    if (lb_value_type_of(json) != LB_TYPE_DICT)
        return lb_error_set(error, LB_MALFORMED, "schema of %s: %s: expected a dict", schema->name.data,
                            name.data);
    status = compile_record(schema, &r, json, error);
    return status == LB_OK ? add_record(schema, &r, error) : status;
}

static lb_status add_half(api_schema *schema, const lb_value *half, bool is_event, lb_error *error)
{
    lb_value_iterator it = lb_value_iterate(half);
    lb_status status = LB_OK;

    if (half && lb_value_type_of(half) != LB_TYPE_DICT)
        return lb_error_set(error, LB_MALFORMED, "schema of %s: \"%s\": expected a dict", schema->name.data,
                            is_event ? "events" : "rpcs");
    while (status == LB_OK && lb_value_next(&it))
        status = add_published(schema, (lb_slice){it.name, it.name_size}, it.value, is_event, error);
    return status;
}

static lb_status add_members(api_schema *schema, const lb_value *root, lb_error *error)
{
    const lb_value *events = lb_value_get(root, "events"), *rpcs = lb_value_get(root, "rpcs");
    size_t count = lb_value_count(events) + lb_value_count(rpcs);
    lb_status status;

    if (lb_value_type_of(root) != LB_TYPE_DICT)
        return lb_error_set(error, LB_MALFORMED, "schema of %s: expected a dict", schema->name.data);
    if (count > MOST_MEMBERS)
        return lb_error_set(error, LB_MALFORMED, "schema of %s: more than %d members", schema->name.data,
                            MOST_MEMBERS);
    status = reserve_records(schema, count, error);
    if (status == LB_OK)
        status = add_half(schema, events, true, error);
    return status == LB_OK ? add_half(schema, rpcs, false, error) : status;
}

lb_status api_schema_from_json(lb_slice api_name, lb_slice json, api_schema **result, lb_error *error)
{
    api_schema *schema = NULL;
    const lb_value *root = NULL;
    lb_error reason = {0};
    lb_status status = api_schema_new(api_name, &schema, error);

    *result = NULL;
    if (status != LB_OK)
        return status;
    schema->json = (lb_slice){arena_copy(&schema->memory, json.data, json.size), json.size};
    if (!schema->json.data)
        status = no_memory(error);
    else if ((status = json_parse(&schema->memory, json.data, json.size, &root, &reason)) != LB_OK)
        lb_error_set(error, status, "schema of %s: %s", schema->name.data, reason.message);
    else
        status = add_members(schema, root, error);
    if (status == LB_OK)
        *result = schema;
    else
        api_schema_unref(schema);
    return status;
}

/* ---- Reading ---------------------------------------------------------------------------------------- */

api_schema *api_schema_ref(api_schema *schema)
{
    atomic_fetch_add_explicit(&schema->references, 1, memory_order_relaxed);
    return schema;
}

void api_schema_unref(api_schema *schema)
{
    if (!schema || atomic_fetch_sub_explicit(&schema->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < schema->count; i++)
        signature_free(schema->records[i].declared);
    map_free(&schema->rpcs);
    map_free(&schema->events);
    arena_free(&schema->memory);
    free(schema);
}

lb_slice api_schema_name(const api_schema *schema) { return schema->name; }
lb_slice api_schema_json(const api_schema *schema) { return schema->json; }
size_t api_schema_count(const api_schema *schema) { return schema->count; }

const member_schema *api_schema_find(const api_schema *schema, lb_slice name, bool is_event)
{
    const record *r = map_get(is_event ? &schema->events : &schema->rpcs, name.data, name.size);
    return r ? &r->member : NULL;
}

const member_schema *api_schema_at(const api_schema *schema, size_t index)
{
    return index < schema->count ? &schema->records[index].member : NULL;
}

void member_print(buffer *out, const member_schema *member)
{
    const record *r = (const record *)member;

    if (r->declared)
        signature_print(out, r->declared);
    else
        json_schema_print_signature(out, member->name, r->parameters, r->response);
}
