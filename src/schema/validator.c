/* Compiling JSON schemas. They come from other processes: every keyword is checked for its form, the nesting is
 * bounded, and so is the number of properties. A schema that restricts nothing becomes NULL, so that checking
 * it costs nothing. References are completed at the end, and then the defaults are checked. */
#include "validator.h"

#include <stdlib.h>

#include "../base/json.h"
#include "line.h"
#include "validator_compile.h"

const validator validator_nothing = {.types = 0, .exact = true};
const validator validator_everything = {.types = TYPES_ALL, .exact = true};

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

lb_status malformed(compiler *c, const place *at, const char *keyword, const char *expected)
{
    char memory[200];
    line l = line_of(memory, sizeof memory);

    line_place(&l, at);
    return lb_error_set(c->error, LB_MALFORMED, "malformed JSON schema: \"%s\"%s%s %s", keyword,
                        *memory ? " in " : "", memory, expected);
}

lb_status compile_out_of_memory(compiler *c)
{
    return lb_error_set(c->error, LB_NO_MEMORY, "out of memory while compiling a JSON schema");
}

/* ---- Properties ------------------------------------------------------------------------------------- */

static int compare_properties(const void *a, const void *b)
{
    return compare_names(((const property *)a)->name, ((const property *)b)->name);
}

static const lb_value *default_of(const lb_value *schema)
{
    const lb_value *value = lb_value_get(schema, "default");

    return value ? value : lb_value_get(lb_value_at(lb_value_get(schema, "anyOf"), 0), "default");
}

/* The properties declared, then those only required: for these, `additional` holds. */
static lb_status collect(compiler *c, const place *at, const lb_value *declared, const lb_value *required,
                         const validator *additional, property *properties, size_t *count)
{
    lb_value_iterator it = lb_value_iterate(declared);

    while (lb_value_next(&it)) {
        property *p = &properties[(*count)++];
        *p = (property){.name = {it.name, it.name_size}, .declared = true};
        const place here = inside(at, "properties", p->name);
        lb_status status = compile_schema(c, &here, it.value, &p->schema);
        if (status != LB_OK)
            return status;
        p->default_value = default_of(it.value);
    }
    qsort(properties, *count, sizeof *properties, compare_properties);
    size_t sorted = *count;
    it = lb_value_iterate(required);
    while (lb_value_next(&it)) {
        const property key = {.name = json_slice(it.value), .schema = additional, .required = true};
        if (lb_value_type_of(it.value) != LB_TYPE_STR)
            return malformed(c, at, "required", "must be a list of names");
        property *known = sorted ? bsearch(&key, properties, sorted, sizeof key, compare_properties) : NULL;
        if (known && known->required)
            return malformed(c, at, "required", "holds one name twice");
        if (known)
            known->required = true;
        else
            properties[(*count)++] = key;
    }
    return LB_OK;
}

static lb_status remember_defaults(compiler *c, property *properties, size_t count)
{
    default_check *d = arena_alloc(c->memory, sizeof *d);

    if (!d)
        return compile_out_of_memory(c);
    *d = (default_check){c->defaults, properties, count};
    c->defaults = d;
    return LB_OK;
}

static lb_status finish_properties(compiler *c, const place *at, property *properties, validator *v)
{
    qsort(properties, v->property_count, sizeof *properties, compare_properties);
    for (size_t i = 0; i < v->property_count; i++) {
        if (i && compare_properties(&properties[i - 1], &properties[i]) == 0)
            return malformed(c, at, properties[i].required ? "required" : "properties", "holds one name twice");
        v->required_count += properties[i].required;
        v->defaults = v->defaults || (properties[i].default_value && !properties[i].required);
    }
    v->properties = properties;
    v->members = true;
    return remember_defaults(c, properties, v->property_count);
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
        return compile_out_of_memory(c);
    lb_status status = collect(c, at, declared, required, v->additional, properties, &v->property_count);
    if (status != LB_OK)
        return status;
    if (v->property_count > VALIDATOR_MOST_PROPERTIES)
        return malformed(c, at, declared ? "properties" : "required", "has more than 1024 names");
    return finish_properties(c, at, properties, v);
}

static lb_status compile_patterns(compiler *c, const place *at, const lb_value *value, draft *d)
{
    size_t count = lb_value_count(value);
    lb_value_iterator it = lb_value_iterate(value);

    if (lb_value_type_of(value) != LB_TYPE_DICT)
        return malformed(c, at, "patternProperties", "must be a dict of schemas");
    if (count == 0)
        return LB_OK;
    pattern_property *patterns = arena_alloc(c->memory, count * sizeof *patterns);
    if (!patterns)
        return compile_out_of_memory(c);
    for (pattern_property *p = patterns; lb_value_next(&it); p++) {
        const lb_slice name = {it.name, it.name_size};
        const place here = inside(at, "patternProperties", name);
        lb_status status = compile_pattern(c, at, "patternProperties", name, &p->pattern);
        if (status == LB_OK)
            status = compile_schema(c, &here, it.value, &p->schema);
        if (status != LB_OK)
            return status;
    }
    d->has_dicts = true;
    d->dicts.patterns = patterns;
    d->dicts.pattern_count = count;
    return LB_OK;
}

lb_status compile_members(compiler *c, const place *at, const lb_value *schema, draft *d)
{
    const lb_value *additional = lb_value_get(schema, "additionalProperties");
    const lb_value *patterns = lb_value_get(schema, "patternProperties");
    const place here = inside(at, "additionalProperties", (lb_slice){NULL, 0});
    validator *v = &d->v;
    lb_status status = additional ? compile_schema(c, &here, additional, &v->additional) : LB_OK;

    if (status == LB_OK && patterns)
        status = compile_patterns(c, at, patterns, d);
    if (status != LB_OK)
        return status;
    if (d->dicts.pattern_count) {
        d->dicts.others = v->additional;
        v->additional = NULL;
    }
    v->closed = v->additional == &validator_nothing;
    v->members = v->additional || d->dicts.pattern_count;
    return compile_properties(c, at, schema, v);
}

/* ---- Schemas ---------------------------------------------------------------------------------------- */

/* Copies a group of rules into the arena if it is in use. */
static bool keep(compiler *c, bool used, const void *rules, size_t size, const void **kept)
{
    void *copy = used ? arena_alloc(c->memory, size) : NULL;

    *kept = copy;
    if (copy)
        memcpy(copy, rules, size);
    return copy || !used;
}

/* Drops the rules that no value of the types allowed can break. */
static lb_status finish(compiler *c, draft *d, const validator **result)
{
    validator *v = &d->v, *copy;
    const void *kept[5];

    v->members = v->members && (v->types & TYPES_OBJECT);
    v->elements = v->elements && (v->types & TYPES_ARRAY);
    d->has_numbers = d->has_numbers && (v->types & TYPES_NUMBER);
    d->has_strings = d->has_strings && (v->types & TYPES_STRING);
    d->has_lists = d->has_lists && (v->types & TYPES_ARRAY);
    d->has_dicts = d->has_dicts && (v->types & TYPES_OBJECT);
    v->exact = v->exact && !v->members && !v->elements && !v->enumeration && !v->constant && !d->has_numbers &&
               !d->has_strings && !d->has_lists && !d->has_dicts && !d->has_logic;
    v->whole = !(v->types & TYPES_OBJECT) || v->any_of_count || v->enumeration || v->constant || d->has_dicts ||
               d->has_logic;
    if (v->exact && v->types == TYPES_ALL)
        return LB_OK;
    if (!keep(c, d->has_numbers, &d->numbers, sizeof d->numbers, &kept[0]) ||
        !keep(c, d->has_strings, &d->strings, sizeof d->strings, &kept[1]) ||
        !keep(c, d->has_lists, &d->lists, sizeof d->lists, &kept[2]) ||
        !keep(c, d->has_dicts, &d->dicts, sizeof d->dicts, &kept[3]) ||
        !keep(c, d->has_logic, &d->logic, sizeof d->logic, &kept[4]) ||
        !(copy = arena_alloc(c->memory, sizeof *copy)))
        return compile_out_of_memory(c);
    *copy = *v;
    copy->numbers = kept[0];
    copy->strings = kept[1];
    copy->lists = kept[2];
    copy->dicts = kept[3];
    copy->logic = kept[4];
    *result = copy;
    return LB_OK;
}

static lb_status compile_object(compiler *c, const place *at, const lb_value *schema, const validator **result)
{
    draft d = {.v = {.types = TYPES_ALL, .exact = true, .max_items = UINT64_MAX},
               .strings = {.max_length = UINT64_MAX},
               .dicts = {.max_members = UINT64_MAX}};
    const lb_value *reference = c->refers ? lb_value_get(schema, "$ref") : NULL;
    place here = *at;

    if (reference)
        return references_add(c, at, reference, result);
    here.base = references_base(c, schema, at->base);
    if (!here.base.data)
        return references_no_uri(c);
    lb_status status = compile_members(c, &here, schema, &d);
    if (status == LB_OK)
        status = compile_keywords(c, &here, schema, &d);
    return status == LB_OK ? finish(c, &d, result) : status;
}

lb_status compile_schema(compiler *c, const place *at, const lb_value *schema, const validator **result)
{
    lb_status status = LB_OK;

    *result = NULL;
    if (at->depth > MOST_NESTING)
        return malformed(c, NULL, "schema", "is nested deeper than 200 levels");
    switch (lb_value_type_of(schema)) {
    case LB_TYPE_BOOL:
        *result = lb_value_bool(schema) ? NULL : &validator_nothing;
        break;
    case LB_TYPE_DICT:
        status = compile_object(c, at, schema, result);
        break;
    default:
        return malformed(c, at, "schema", "must be a dict, true or false");
    }
    if (status == LB_OK && c->refers)
        references_note(c, schema, *result);
    return status;
}

/* A default that breaks its own schema is none. */
static void check_defaults(compiler *c)
{
    for (default_check *d = c->defaults; d; d = d->next)
        for (property *p = d->properties; p < d->properties + d->count; p++)
            if (p->default_value && !validator_check(p->schema, p->default_value, NULL))
                p->default_value = NULL;
}

lb_status validator_compile_as(arena *memory, const lb_value *schema, validator_formats formats,
                               const validator **result, lb_error *error)
{
    compiler c = {.memory = memory,
                  .error = error,
                  .formats = formats,
                  .root = schema,
                  .steps = MOST_STEPS,
                  .next_request = &c.requests};
    const place root = {.base = {"", 0}};
    lb_status status = references_scan(&c, schema, root.base);

    *result = NULL;
    c.root_base = references_base(&c, schema, root.base);
    if (status == LB_OK)
        status = compile_schema(&c, &root, schema, result);
    if (status == LB_OK)
        status = references_complete(&c);
    if (status == LB_OK) {
        check_defaults(&c);
        if (*result && (*result)->reference)
            *result = (*result)->reference;
        if (*result == &validator_everything)
            *result = NULL;
    }
    map_free(&c.ids);
    map_free(&c.places);
    return status;
}

lb_status validator_compile(arena *memory, const lb_value *schema, const validator **result, lb_error *error)
{
    return validator_compile_as(memory, schema, FORMATS_LIGHTBUS, result, error);
}
