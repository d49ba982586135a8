/* Compiling JSON schemas. They come from other processes: every keyword is checked for its form, the nesting is
 * bounded, and so is the number of properties. A schema that restricts nothing becomes NULL, so that checking
 * it costs nothing. */
#include "validator.h"

#include <stdlib.h>

#include "../base/json.h"
#include "line.h"
#include "validator_node.h"

#define MOST_NESTING 200 /* schemas within schemas */

typedef struct place { /* the way into the schema, for messages */
    const struct place *up;
    const char *keyword;
    lb_slice name; /* after the keyword: a property */
    int depth;
} place;

typedef struct compiler {
    arena *memory;
    lb_error *error;
} compiler;

static lb_status compile(compiler *c, const place *at, const lb_value *schema, const validator **result);

static const validator nothing = {.types = 0, .exact = true}; /* the schema `false` */

/* ---- Failures --------------------------------------------------------------------------------------- */

static void line_place(line *l, const place *at)
{
    if (!at || !at->keyword)
        return;
    line_place(l, at->up);
    if (at->up && at->up->keyword)
        line_str(l, ".");
    line_str(l, at->keyword);
    if (at->name.size) {
        line_str(l, ".");
        line_add(l, at->name);
    }
}

static lb_status malformed(compiler *c, const place *at, const char *keyword, const char *expected)
{
    char memory[200];
    line l = line_of(memory, sizeof memory);

    line_place(&l, at);
    return lb_error_set(c->error, LB_MALFORMED, "malformed JSON schema: \"%s\"%s%s %s", keyword,
                        *memory ? " in " : "", memory, expected);
}

static lb_status no_memory(compiler *c)
{
    return lb_error_set(c->error, LB_NO_MEMORY, "out of memory while compiling a JSON schema");
}

/* ---- Keywords --------------------------------------------------------------------------------------- */

static types types_of_name(const lb_value *name)
{
    static const struct {
        const char *name;
        types types;
    } known[] = {
        {"null", TYPES_NULL},     {"boolean", TYPES_BOOL}, {"integer", TYPES_INTEGER}, {"number", TYPES_NUMBER},
        {"string", TYPES_STRING}, {"array", TYPES_ARRAY},  {"object", TYPES_OBJECT},
    };

    if (lb_value_type_of(name) != LB_TYPE_STR)
        return 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slice_is(json_slice(name), known[i].name))
            return known[i].types;
    return 0;
}

static lb_status compile_type(compiler *c, const place *at, const lb_value *value, validator *v)
{
    static const char expected[] = "must be the name of a JSON type or a list of different ones";
    lb_value_iterator it = lb_value_iterate(value);
    types allowed = types_of_name(value);

    if (lb_value_type_of(value) == LB_TYPE_LIST) {
        while (lb_value_next(&it)) {
            types one = types_of_name(it.value);
            if (!one || (one & allowed) == one)
                return malformed(c, at, "type", expected);
            allowed |= one;
        }
    }
    if (!allowed)
        return malformed(c, at, "type", expected);
    v->types &= allowed;
    return LB_OK;
}

static lb_status compile_list(compiler *c, const place *at, const char *keyword, const lb_value *schemas,
                              const validator *const **result, size_t *count)
{
    size_t size = lb_value_count(schemas);
    const validator **list = arena_alloc(c->memory, (size ? size : 1) * sizeof *list);
    const place here = {at, keyword, {NULL, 0}, at->depth + 1};
    lb_value_iterator it = lb_value_iterate(schemas);

    if (!list)
        return no_memory(c);
    while (lb_value_next(&it)) {
        lb_status status = compile(c, &here, it.value, &list[it.index]);
        if (status != LB_OK)
            return status;
    }
    *result = list;
    *count = size;
    return LB_OK;
}

static lb_status compile_any_of(compiler *c, const place *at, const lb_value *value, validator *v)
{
    types possible = 0;

    if (lb_value_type_of(value) != LB_TYPE_LIST || lb_value_count(value) == 0)
        return malformed(c, at, "anyOf", "must be a list of schemas");
    lb_status status = compile_list(c, at, "anyOf", value, &v->any_of, &v->any_of_count);
    if (status != LB_OK)
        return status;
    for (size_t i = 0; i < v->any_of_count; i++) {
        possible |= v->any_of[i] ? v->any_of[i]->types : TYPES_ALL;
        v->exact = v->exact && (!v->any_of[i] || v->any_of[i]->exact);
    }
    v->types &= possible;
    return LB_OK;
}

static lb_status compile_items(compiler *c, const place *at, const lb_value *value, validator *v)
{
    const place here = {at, "items", {NULL, 0}, at->depth + 1};

    v->elements = true;
    if (lb_value_type_of(value) == LB_TYPE_LIST)
        return compile_list(c, at, "items", value, &v->items_list, &v->items_list_count);
    return compile(c, &here, value, &v->items);
}

static lb_status compile_count(compiler *c, const place *at, const char *keyword, const lb_value *value,
                               validator *v, uint64_t *result)
{
    double number = lb_value_float(value);

    if (types_of_value(value) != TYPES_INTEGER || number < 0)
        return malformed(c, at, keyword, "must be a whole number, 0 or more");
    v->elements = true;
    *result = number < 9e18 ? (uint64_t)number : UINT64_MAX;
    return LB_OK;
}

/* ---- Properties ------------------------------------------------------------------------------------- */

static int compare_properties(const void *a, const void *b)
{
    return compare_names(((const property *)a)->name, ((const property *)b)->name);
}

static const lb_value *default_of(const lb_value *schema, const validator *compiled)
{
    const lb_value *value = lb_value_get(schema, "default");

    if (!value)
        value = lb_value_get(lb_value_at(lb_value_get(schema, "anyOf"), 0), "default");
    return value && validator_check(compiled, value, NULL) ? value : NULL;
}

/* The properties declared, then those only required: for these, `additional` holds. */
static lb_status collect(compiler *c, const place *at, const lb_value *declared, const lb_value *required,
                         const validator *additional, property *properties, size_t *count)
{
    lb_value_iterator it = lb_value_iterate(declared);

    while (lb_value_next(&it)) {
        property *p = &properties[(*count)++];
        *p = (property){.name = {it.name, it.name_size}};
        const place here = {at, "properties", p->name, at->depth + 1};
        lb_status status = compile(c, &here, it.value, &p->schema);
        if (status != LB_OK)
            return status;
        p->default_value = default_of(it.value, p->schema);
    }
    qsort(properties, *count, sizeof *properties, compare_properties);
    size_t sorted = *count;
    it = lb_value_iterate(required);
    while (lb_value_next(&it)) {
        const property key = {.name = json_slice(it.value), .schema = additional, .required = true};
        if (lb_value_type_of(it.value) != LB_TYPE_STR)
            return malformed(c, at, "required", "must be a list of names");
        property *known = sorted ? bsearch(&key, properties, sorted, sizeof key, compare_properties) : NULL;
        if (known)
            known->required = true;
        else
            properties[(*count)++] = key;
    }
    return LB_OK;
}

static lb_status compile_properties(compiler *c, const place *at, const lb_value *schema, validator *v)
{
    const lb_value *declared = lb_value_get(schema, "properties"), *required = lb_value_get(schema, "required");
    size_t most = (declared ? lb_value_count(declared) : 0) + (required ? lb_value_count(required) : 0);

    if (declared && lb_value_type_of(declared) != LB_TYPE_DICT)
        return malformed(c, at, "properties", "must be a dict of schemas");
    if (required && lb_value_type_of(required) != LB_TYPE_LIST)
        return malformed(c, at, "required", "must be a list of names");
    if (most == 0)
        return LB_OK;
    if (most > 2 * VALIDATOR_MOST_PROPERTIES)
        return malformed(c, at, declared ? "properties" : "required", "has more than 1024 names");
    property *properties = arena_alloc(c->memory, most * sizeof *properties);
    if (!properties)
        return no_memory(c);
    lb_status status = collect(c, at, declared, required, v->additional, properties, &v->property_count);
    if (status != LB_OK)
        return status;
    if (v->property_count > VALIDATOR_MOST_PROPERTIES)
        return malformed(c, at, declared ? "properties" : "required", "has more than 1024 names");
    qsort(properties, v->property_count, sizeof *properties, compare_properties);
    for (size_t i = 0; i < v->property_count; i++) {
        if (i && compare_properties(&properties[i - 1], &properties[i]) == 0)
            return malformed(c, at, properties[i].required ? "required" : "properties", "holds one name twice");
        v->required_count += properties[i].required;
        v->defaults = v->defaults || (properties[i].default_value && !properties[i].required);
    }
    v->properties = properties;
    v->members = true;
    return LB_OK;
}

static lb_status compile_members(compiler *c, const place *at, const lb_value *schema, validator *v)
{
    const lb_value *additional = lb_value_get(schema, "additionalProperties");
    const place here = {at, "additionalProperties", {NULL, 0}, at->depth + 1};
    lb_status status = additional ? compile(c, &here, additional, &v->additional) : LB_OK;

    v->closed = v->additional == &nothing;
    v->members = v->additional;
    return status == LB_OK ? compile_properties(c, at, schema, v) : status;
}

/* ---- Schemas ---------------------------------------------------------------------------------------- */

static lb_status compile_keyword(compiler *c, const place *at, lb_slice name, const lb_value *value,
                                 validator *v)
{
    if (slice_is(name, "type"))
        return compile_type(c, at, value, v);
    if (slice_is(name, "anyOf"))
        return compile_any_of(c, at, value, v);
    if (slice_is(name, "items"))
        return compile_items(c, at, value, v);
    if (slice_is(name, "minItems"))
        return compile_count(c, at, "minItems", value, v, &v->min_items);
    if (slice_is(name, "maxItems"))
        return compile_count(c, at, "maxItems", value, v, &v->max_items);
    if (slice_is(name, "const"))
        v->constant = value;
    if (slice_is(name, "enum")) {
        if (lb_value_type_of(value) != LB_TYPE_LIST)
            return malformed(c, at, "enum", "must be a list");
        v->enumeration = value;
    }
    if (slice_is(name, "$ref"))
        return malformed(c, at, "$ref", "is not supported");
    return LB_OK;
}

static lb_status compile_object(compiler *c, const place *at, const lb_value *schema, const validator **result)
{
    validator v = {.types = TYPES_ALL, .exact = true, .max_items = UINT64_MAX};
    lb_value_iterator it = lb_value_iterate(schema);
    lb_status status = compile_members(c, at, schema, &v);

    while (status == LB_OK && lb_value_next(&it))
        status = compile_keyword(c, at, (lb_slice){it.name, it.name_size}, it.value, &v);
    if (status != LB_OK)
        return status;
    v.members = v.members && (v.types & TYPES_OBJECT);
    v.elements = v.elements && (v.types & TYPES_ARRAY);
    v.exact = v.exact && !v.members && !v.elements && !v.enumeration && !v.constant;
    if (v.exact && v.types == TYPES_ALL)
        return LB_OK;
    validator *copy = arena_alloc(c->memory, sizeof *copy);
    if (!copy)
        return no_memory(c);
    *copy = v;
    *result = copy;
    return LB_OK;
}

static lb_status compile(compiler *c, const place *at, const lb_value *schema, const validator **result)
{
    *result = NULL;
    if (at->depth > MOST_NESTING)
        return malformed(c, NULL, "schema", "is nested deeper than 200 levels");
    switch (lb_value_type_of(schema)) {
    case LB_TYPE_BOOL:
        *result = lb_value_bool(schema) ? NULL : &nothing;
        return LB_OK;
    case LB_TYPE_DICT:
        return compile_object(c, at, schema, result);
    default:
        return malformed(c, at, "schema", "must be a dict, true or false");
    }
}

lb_status validator_compile(arena *memory, const lb_value *schema, const validator **result, lb_error *error)
{
    compiler c = {memory, error};
    const place root = {0};

    return compile(&c, &root, schema, result);
}
