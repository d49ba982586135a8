/* The keywords of a schema object, one function for each kind, found by a table. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/json.h"
#include "line.h"
#include "validator_compile.h"
#include "validator_value.h"

#define SHORT_ENUM 8 /* up to so many values are compared one by one */

typedef struct keyword {
    const char *name;
    lb_status (*compile)(compiler *c, const place *at, const struct keyword *k, const lb_value *value,
                         draft *d);
} keyword;

/* ---- Any value -------------------------------------------------------------------------------------- */

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

static lb_status compile_type(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    static const char expected[] = "must be the name of a JSON type or a list of different ones";
    static const size_t most = 7;
    lb_value_iterator it = lb_value_iterate(value);
    types allowed = types_of_name(value);

    if (lb_value_type_of(value) == LB_TYPE_LIST) {
        bool integer = false, number = false; /* these two overlap */
        if (lb_value_count(value) > most)
            return malformed(c, at, k->name, expected);
        while (lb_value_next(&it)) {
            types one = types_of_name(it.value);
            bool seen = one == TYPES_INTEGER ? integer : one == TYPES_NUMBER ? number : (one & allowed) != 0;
            if (!one || seen)
                return malformed(c, at, k->name, expected);
            integer = integer || one == TYPES_INTEGER;
            number = number || one == TYPES_NUMBER;
            allowed |= one;
        }
    }
    if (!allowed)
        return malformed(c, at, k->name, expected);
    d->v.types &= allowed;
    return LB_OK;
}

static int compare_entries(const void *a, const void *b)
{
    uint64_t x = ((const enum_entry *)a)->hash, y = ((const enum_entry *)b)->hash;
    return x < y ? -1 : x > y;
}

static lb_status compile_enum(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    size_t count = lb_value_count(value);
    lb_value_iterator it = lb_value_iterate(value);
    int64_t steps = INT64_MAX; /* hashing is linear */

    if (lb_value_type_of(value) != LB_TYPE_LIST)
        return malformed(c, at, k->name, "must be a list");
    d->v.enumeration = value;
    d->v.enum_count = count;
    if (count <= SHORT_ENUM)
        return LB_OK;
    enum_entry *entries = arena_alloc(c->memory, count * sizeof *entries);
    if (!entries)
        return compile_out_of_memory(c);
    while (lb_value_next(&it))
        entries[it.index] = (enum_entry){value_hash(it.value, &steps), it.value};
    qsort(entries, count, sizeof *entries, compare_entries);
    d->v.enum_sorted = entries;
    return LB_OK;
}

static lb_status compile_const(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    (void)c;
    (void)at;
    (void)k;
    d->v.constant = value;
    return LB_OK;
}

static lb_status compile_count(compiler *c, const place *at, const keyword *k, const lb_value *value,
                               uint64_t *result)
{
    double number = lb_value_float(value);

    if (types_of_value(value) != TYPES_INTEGER || number < 0)
        return malformed(c, at, k->name, "must be a whole number, 0 or more");
    *result = number < 9e18 ? (uint64_t)number : UINT64_MAX;
    return LB_OK;
}

/* ---- Numbers ---------------------------------------------------------------------------------------- */

static lb_status compile_number(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    number_rules *n = &d->numbers;
    const lb_value **rule = strcmp(k->name, "minimum") == 0            ? &n->minimum
                            : strcmp(k->name, "maximum") == 0          ? &n->maximum
                            : strcmp(k->name, "exclusiveMinimum") == 0 ? &n->above
                            : strcmp(k->name, "exclusiveMaximum") == 0 ? &n->below
                                                                       : &n->multiple_of;

    if (!(types_of_value(value) & TYPES_NUMBER) || !isfinite(lb_value_float(value)))
        return malformed(c, at, k->name, "must be a finite number");
    if (rule == &n->multiple_of && !(lb_value_float(value) > 0))
        return malformed(c, at, k->name, "must be a number above 0");
    *rule = value;
    d->has_numbers = true;
    return LB_OK;
}

/* ---- Strings ---------------------------------------------------------------------------------------- */

static lb_status compile_length(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    string_rules *s = &d->strings;

    d->has_strings = true;
    return compile_count(c, at, k, value, strcmp(k->name, "minLength") == 0 ? &s->min_length : &s->max_length);
}

lb_status compile_pattern(compiler *c, const place *at, const char *keyword, lb_slice text,
                          const regex **result)
{
    char problem[120], expected[220];
    line l = line_of(expected, sizeof expected);

    *result = regex_compile(c->memory, text, problem, sizeof problem);
    if (*result)
        return LB_OK;
    line_str(&l, "must be a regular expression, got ");
    line_quoted(&l, text);
    line_str(&l, ": ");
    line_str(&l, problem);
    return malformed(c, at, keyword, expected);
}

static lb_status compile_string_pattern(compiler *c, const place *at, const keyword *k, const lb_value *value,
                                        draft *d)
{
    if (lb_value_type_of(value) != LB_TYPE_STR)
        return malformed(c, at, k->name, "must be a regular expression");
    d->has_strings = true;
    return compile_pattern(c, at, k->name, json_slice(value), &d->strings.pattern);
}

static bool is_of_python(lb_slice name)
{
    return slice_is(name, "date-time") || slice_is(name, "date") || slice_is(name, "time");
}

static lb_status compile_format(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    lb_slice name = json_slice(value);

    if (lb_value_type_of(value) != LB_TYPE_STR)
        return malformed(c, at, k->name, "must be the name of a format");
    if (c->formats == FORMATS_STRICT || (c->formats == FORMATS_LIGHTBUS && !is_of_python(name)))
        d->strings.format = format_find(name);
    d->has_strings = d->has_strings || d->strings.format;
    return LB_OK;
}

/* ---- Lists ------------------------------------------------------------------------------------------ */

lb_status compile_list(compiler *c, const place *at, const char *keyword, const lb_value *schemas,
                       schema_list *result)
{
    size_t size = lb_value_count(schemas);
    const validator **list = arena_alloc(c->memory, (size ? size : 1) * sizeof *list);
    const place here = inside(at, keyword, (lb_slice){NULL, 0});
    lb_value_iterator it = lb_value_iterate(schemas);

    if (!list)
        return compile_out_of_memory(c);
    while (lb_value_next(&it)) {
        lb_status status = compile_schema(c, &here, it.value, &list[it.index]);
        if (status != LB_OK)
            return status;
    }
    *result = (schema_list){list, size};
    return LB_OK;
}

/* "additionalItems" counts only beside a list. */
static lb_status compile_items(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    const place here = inside(at, k->name, (lb_slice){NULL, 0});
    schema_list list;

    d->v.elements = true;
    if (lb_value_type_of(value) != LB_TYPE_LIST)
        return compile_schema(c, &here, value, &d->v.items);
    lb_status status = compile_list(c, at, k->name, value, &list);
    if (status == LB_OK) {
        d->v.items_list = list.schemas;
        d->v.items_list_count = list.count;
    }
    return status;
}

static lb_status compile_additional_items(compiler *c, const place *at, const keyword *k, const lb_value *value,
                                          draft *d)
{
    const place here = inside(at, k->name, (lb_slice){NULL, 0});
    return compile_schema(c, &here, value, &d->additional_items);
}

static lb_status compile_item_count(compiler *c, const place *at, const keyword *k, const lb_value *value,
                                    draft *d)
{
    d->v.elements = true;
    return compile_count(c, at, k, value, strcmp(k->name, "minItems") == 0 ? &d->v.min_items : &d->v.max_items);
}

static lb_status compile_unique(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    if (lb_value_type_of(value) != LB_TYPE_BOOL)
        return malformed(c, at, k->name, "must be true or false");
    d->lists.unique = lb_value_bool(value);
    d->has_lists = d->has_lists || d->lists.unique;
    return LB_OK;
}

static lb_status compile_contains(compiler *c, const place *at, const keyword *k, const lb_value *value,
                                  draft *d)
{
    const place here = inside(at, k->name, (lb_slice){NULL, 0});

    d->has_lists = d->lists.has_contains = true;
    return compile_schema(c, &here, value, &d->lists.contains);
}

/* ---- Dicts ------------------------------------------------------------------------------------------ */

static lb_status compile_member_count(compiler *c, const place *at, const keyword *k, const lb_value *value,
                                      draft *d)
{
    dict_rules *r = &d->dicts;

    d->has_dicts = true;
    return compile_count(c, at, k, value,
                         strcmp(k->name, "minProperties") == 0 ? &r->min_members : &r->max_members);
}

static lb_status compile_names(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    const place here = inside(at, k->name, (lb_slice){NULL, 0});
    lb_status status = compile_schema(c, &here, value, &d->dicts.names);

    d->has_dicts = d->has_dicts || d->dicts.names;
    return status;
}

static lb_status compile_dependency(compiler *c, const place *at, const lb_value *value, dependency *result)
{
    const place here = inside(at, "dependencies", result->name);
    lb_value_iterator it = lb_value_iterate(value);

    if (lb_value_type_of(value) != LB_TYPE_LIST)
        return compile_schema(c, &here, value, &result->schema);
    while (lb_value_next(&it))
        if (lb_value_type_of(it.value) != LB_TYPE_STR)
            return malformed(c, at, "dependencies", "must be a dict of schemas and lists of names");
    result->names = value;
    return LB_OK;
}

static lb_status compile_dependencies(compiler *c, const place *at, const keyword *k, const lb_value *value,
                                      draft *d)
{
    size_t count = lb_value_count(value);
    lb_value_iterator it = lb_value_iterate(value);

    if (lb_value_type_of(value) != LB_TYPE_DICT)
        return malformed(c, at, k->name, "must be a dict of schemas and lists of names");
    if (count == 0)
        return LB_OK;
    dependency *list = arena_alloc(c->memory, count * sizeof *list);
    if (!list)
        return compile_out_of_memory(c);
    for (dependency *one = list; lb_value_next(&it); one++) {
        *one = (dependency){.name = {it.name, it.name_size}};
        lb_status status = compile_dependency(c, at, it.value, one);
        if (status != LB_OK)
            return status;
    }
    d->has_dicts = true;
    d->dicts.dependencies = list;
    d->dicts.dependency_count = count;
    return LB_OK;
}

/* ---- Logic ------------------------------------------------------------------------------------------ */

static lb_status compile_branches(compiler *c, const place *at, const keyword *k, const lb_value *value,
                                  schema_list *list)
{
    if (lb_value_type_of(value) != LB_TYPE_LIST || lb_value_count(value) == 0)
        return malformed(c, at, k->name, "must be a list of schemas");
    return compile_list(c, at, k->name, value, list);
}

static lb_status compile_any_of(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    schema_list list;
    lb_status status = compile_branches(c, at, k, value, &list);
    types possible = 0;

    if (status != LB_OK)
        return status;
    for (size_t i = 0; i < list.count; i++) {
        possible |= list.schemas[i] ? list.schemas[i]->types : TYPES_ALL;
        d->v.exact = d->v.exact && (!list.schemas[i] || list.schemas[i]->exact);
    }
    d->v.any_of = list.schemas;
    d->v.any_of_count = list.count;
    d->v.types &= possible;
    return LB_OK;
}

static lb_status compile_all_of(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    d->has_logic = true;
    return compile_branches(c, at, k, value, &d->logic.all_of);
}

static lb_status compile_one_of(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    d->has_logic = true;
    return compile_branches(c, at, k, value, &d->logic.one_of);
}

static lb_status compile_not(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    const place here = inside(at, k->name, (lb_slice){NULL, 0});

    d->has_logic = d->logic.negated = true;
    return compile_schema(c, &here, value, &d->logic.no);
}

static lb_status compile_if(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    const place here = inside(at, k->name, (lb_slice){NULL, 0});

    d->has_logic = d->logic.conditional = true;
    return compile_schema(c, &here, value, &d->logic.condition);
}

static lb_status compile_then(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    const place here = inside(at, k->name, (lb_slice){NULL, 0});
    return compile_schema(c, &here, value, &d->logic.then);
}

static lb_status compile_else(compiler *c, const place *at, const keyword *k, const lb_value *value, draft *d)
{
    const place here = inside(at, k->name, (lb_slice){NULL, 0});
    return compile_schema(c, &here, value, &d->logic.otherwise);
}

/* ---- The table -------------------------------------------------------------------------------------- */

/* By how common they are in what Lightbus publishes. Those without a function have been compiled before, with
 * the members; all others are annotations. */
static const keyword keywords[] = {
    {"type", compile_type},
    {"anyOf", compile_any_of},
    {"properties", NULL},
    {"required", NULL},
    {"additionalProperties", NULL},
    {"items", compile_items},
    {"format", compile_format},
    {"enum", compile_enum},
    {"const", compile_const},
    {"minItems", compile_item_count},
    {"maxItems", compile_item_count},
    {"additionalItems", compile_additional_items},
    {"uniqueItems", compile_unique},
    {"contains", compile_contains},
    {"minimum", compile_number},
    {"maximum", compile_number},
    {"exclusiveMinimum", compile_number},
    {"exclusiveMaximum", compile_number},
    {"multipleOf", compile_number},
    {"minLength", compile_length},
    {"maxLength", compile_length},
    {"pattern", compile_string_pattern},
    {"patternProperties", NULL},
    {"propertyNames", compile_names},
    {"dependencies", compile_dependencies},
    {"minProperties", compile_member_count},
    {"maxProperties", compile_member_count},
    {"allOf", compile_all_of},
    {"oneOf", compile_one_of},
    {"not", compile_not},
    {"if", compile_if},
    {"then", compile_then},
    {"else", compile_else},
};

static lb_status compile_keyword(compiler *c, const place *at, lb_slice name, const lb_value *value, draft *d,
                                 uint64_t *seen)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        if (!slice_is(name, keywords[i].name))
            continue;
        if (*seen >> i & 1)
            return malformed(c, at, keywords[i].name, "is there twice");
        *seen |= UINT64_C(1) << i;
        return keywords[i].compile ? keywords[i].compile(c, at, &keywords[i], value, d) : LB_OK;
    }
    return LB_OK;
}

lb_status compile_keywords(compiler *c, const place *at, const lb_value *schema, draft *d)
{
    lb_value_iterator it = lb_value_iterate(schema);
    uint64_t seen = 0;

    while (lb_value_next(&it)) {
        lb_status status = compile_keyword(c, at, (lb_slice){it.name, it.name_size}, it.value, d, &seen);
        if (status != LB_OK)
            return status;
    }
    if (d->v.items_list)
        d->v.items = d->additional_items;
    if (!d->logic.conditional)
        d->logic.then = d->logic.otherwise = NULL;
    return LB_OK;
}
