/* What programs do with schemas: load, dump, validate by hand. */
#include <stdlib.h>
#include <string.h>

#include "../schema/files.h"
#include "bus.h"

/* ---- Loading ---------------------------------------------------------------------------------------- */

static lb_status no_memory(lb_error *error)
{
    return lb_error_set(error, LB_NO_MEMORY, "out of memory while loading schemas");
}

static lb_status compile(const lb_value *json, lb_slice name, api_schema **schema, lb_error *error)
{
    size_t size;
    char *text = lb_value_json(json, &size);
    lb_status status =
        text ? api_schema_from_json(name, (lb_slice){text, size}, schema, error) : no_memory(error);
    free(text);
    return status;
}

static lb_status compile_all(const lb_value *schemas, map *compiled, lb_error *error)
{
    lb_value_iterator it = lb_value_iterate(schemas);
    lb_status status = LB_OK;
    while (status == LB_OK && lb_value_next(&it)) {
        api_schema *schema = NULL;
        status = compile(it.value, (lb_slice){it.name, it.name_size}, &schema, error);
        if (status == LB_OK && !map_put(compiled, it.name, it.name_size, schema)) {
            api_schema_unref(schema);
            status = no_memory(error);
        }
    }
    return status;
}

/* Moves the compiled schemas into those that are loaded; what stays in `compiled` is to be freed. */
static lb_status take(struct schemas *s, map *compiled, lb_error *error)
{
    lb_status status = LB_OK;
    pthread_rwlock_wrlock(&s->lock);
    for (map_entry *e = NULL; status == LB_OK && (e = map_next(compiled, e));) {
        api_schema *former = map_get(&s->loaded, e->key, e->size);
        if (map_put(&s->loaded, e->key, e->size, e->value))
            e->value = former;
        else
            status = no_memory(error);
    }
    pthread_rwlock_unlock(&s->lock);
    return status;
}

lb_status lb_schema_load(lb_bus *bus, const char *path, lb_error *error)
{
    lb_value *schemas = NULL;
    map compiled = {0};
    if (!path || !*path)
        return lb_error_set(error, LB_USAGE, "lb_schema_load: expected a file, a folder or \"-\"");
    lb_status status = schema_files_read(path, &schemas, error);
    if (status == LB_OK)
        status = compile_all(schemas, &compiled, error);
    if (status == LB_OK)
        status = take(&bus->schemas, &compiled, error);
    for (map_entry *e = NULL; (e = map_next(&compiled, e));)
        api_schema_unref(e->value);
    map_free(&compiled);
    lb_value_free(schemas);
    return status;
}

/* ---- Dumping ---------------------------------------------------------------------------------------- */

static void dump_one(buffer *out, const char *name, const api_schema *schema)
{
    if (out->size > 1)
        buffer_char(out, ',');
    buffer_json_string(out, name, strlen(name));
    buffer_char(out, ':');
    lb_slice json = api_schema_json(schema);
    buffer_add(out, json.data, json.size);
}

static lb_status dump(lb_bus *bus, bool with_remote, lb_value **schemas, lb_error *error)
{
    struct schemas *s = &bus->schemas;
    buffer out = {0};
    buffer_char(&out, '{');
    pthread_rwlock_rdlock(&s->lock);
    for (size_t i = 0; i < s->count; i++)
        dump_one(&out, s->order[i]->api->name, s->order[i]->schema);
    for (map_entry *e = NULL; (e = map_next(&s->loaded, e));)
        if (!map_get(&s->local, e->key, e->size))
            dump_one(&out, e->key, e->value);
    for (map_entry *e = NULL; with_remote && (e = map_next(&s->remote, e));)
        if (!map_get(&s->local, e->key, e->size) && !map_get(&s->loaded, e->key, e->size))
            dump_one(&out, e->key, e->value);
    pthread_rwlock_unlock(&s->lock);
    buffer_char(&out, '}');
    lb_status status = out.failed ? lb_error_set(error, LB_NO_MEMORY, "out of memory while dumping schemas")
                                  : lb_value_parse(out.data, out.size, schemas, error);
    buffer_free(&out);
    return status;
}

lb_status lb_schema_dump(lb_bus *bus, lb_value **schemas, lb_error *error)
{
    *schemas = NULL;
    bus_check_fork(bus);
    lb_status status = schemas_load(bus, clock_in_ms(bus->rpc_timeout_ms), error);
    return status == LB_OK ? dump(bus, true, schemas, error) : status;
}

lb_status lb_schema_dump_local(lb_bus *bus, lb_value **schemas, lb_error *error)
{
    *schemas = NULL;
    return dump(bus, false, schemas, error);
}

/* ---- Validating ------------------------------------------------------------------------------------- */

static lb_status find(lb_bus *bus, const char *name, bool also_events, lb_slice *api, api_schema **schema,
                      const member_schema **member, lb_error *error)
{
    lb_slice last;
    bus_check_fork(bus);
    lb_status status = name_split(name, api, &last, error);
    if (status != LB_OK)
        return status;
    int64_t deadline = clock_in_ms(bus->rpc_timeout_ms);
    status = schemas_find(bus, *api, last, false, true, deadline, schema, member, error);
    if (status == LB_UNKNOWN_MEMBER && also_events &&
        schemas_find(bus, *api, last, true, true, deadline, schema, member, NULL) == LB_OK)
        status = LB_OK;
    return status;
}

lb_status lb_schema_validate_parameters(lb_bus *bus, const char *name, const lb_value *parameters,
                                        lb_error *error)
{
    lb_slice api;
    api_schema *schema = NULL;
    const member_schema *member = NULL;
    arena memory = {0};
    lb_value_iterator it = lb_value_iterate(parameters);
    size_t count = 0;
    if (parameters && lb_value_type_of(parameters) != LB_TYPE_DICT)
        return lb_error_set(error, LB_INVALID_ARGUMENTS, "%s: expected the arguments as a dict", name);
    lb_status status = find(bus, name, true, &api, &schema, &member, error);
    if (status != LB_OK)
        return status;
    lb_kwarg *kwargs = arena_alloc(&memory, (lb_value_count(parameters) + 1) * sizeof *kwargs);
    while (kwargs && lb_value_next(&it))
        kwargs[count++] = (lb_kwarg){.name = {it.name, it.name_size}, .value = it.value};
    const lb_kwarg *list = kwargs;
    status = kwargs
                 ? arguments_accept(api, member, MARSHAL_VALIDATE | MARSHAL_CAST, &memory, &list, &count, error)
                 : no_memory(error);
    arena_free(&memory);
    api_schema_unref(schema);
    return status;
}

lb_status lb_schema_validate_response(lb_bus *bus, const char *name, const lb_value *result, lb_error *error)
{
    lb_slice api;
    api_schema *schema = NULL;
    const member_schema *member = NULL;
    lb_status status = find(bus, name, false, &api, &schema, &member, error);
    if (status == LB_OK)
        status = result_accept(api, member, result, error);
    api_schema_unref(schema);
    return status;
}
