/* Running compiled schemas. Nothing is allocated, and the recursion is as deep as the schema, which the
 * compiler has bounded. A check runs without a violation to fill wherever several branches are tried, so that
 * no part of the schema runs more than twice at one place of the value. */
#include <math.h>

#include "../base/json.h"
#include "line.h"
#include "validator_node.h"

#define LINEAR            8   /* up to so many properties are searched one by one */
#define MOST_UNDECLARED   256 /* keyword arguments that no property declares: they are compared pairwise */
#define MOST_VALUES_SHOWN 8   /* of an enum */

typedef struct way { /* into the value, for messages */
    const struct way *up;
    lb_slice name; /* of a member, or, without data, */
    size_t index;  /* of an element */
} way;

static bool check(const validator *v, const lb_value *value, const way *at, violation *why);

/* ---- Messages --------------------------------------------------------------------------------------- */

static void line_way(line *l, const way *at)
{
    if (!at)
        return;
    line_way(l, at->up);
    if (at->name.data) {
        if (l->at > l->start)
            line_str(l, ".");
        line_add(l, at->name);
    } else {
        line_str(l, "[");
        line_int(l, (int64_t)at->index);
        line_str(l, "]");
    }
}

static line begin_violation(violation *why, int kind, const way *at)
{
    line path = line_of(why->path, sizeof why->path);

    why->kind = kind;
    why->name = (lb_slice){NULL, 0};
    line_way(&path, at);
    return line_of(why->reason, sizeof why->reason);
}

static bool named_violation(violation *why, int kind, const way *at, const char *what, lb_slice name)
{
    if (!why)
        return false;
    line l = begin_violation(why, kind, at);
    line_str(&l, what);
    line_quoted(&l, name);
    why->name = name;
    return false;
}

static void line_types(line *l, types set)
{
    static const struct {
        types types;
        const char *name;
    } names[] = {
        {TYPES_BOOL, "bool"},  {TYPES_INTEGER, "int"}, {TYPES_NUMBER, "float"}, {TYPES_STRING, "str"},
        {TYPES_ARRAY, "list"}, {TYPES_OBJECT, "dict"}, {TYPES_NULL, "null"},
    };
    bool first = true;

    if (set == 0)
        line_str(l, "nothing");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if ((set & names[i].types) != names[i].types)
            continue;
        if (names[i].types == TYPES_INTEGER && (set & TYPES_FRACTION))
            continue; /* float says it */
        if (!first)
            line_str(l, " or ");
        line_str(l, names[i].name);
        first = false;
    }
}

void validator_refuse(const validator *v, const lb_value *value, violation *why)
{
    line l = begin_violation(why, VIOLATION_VALUE, NULL);

    line_str(&l, "expected ");
    line_types(&l, v->types);
    line_str(&l, ", got ");
    line_value(&l, value);
}

static bool wrong_type(const validator *v, const lb_value *value, const way *at, violation *why)
{
    if (!why)
        return false;
    validator_refuse(v, value, why);
    line path = line_of(why->path, sizeof why->path);
    line_way(&path, at);
    return false;
}

/* A string without its type's name: what an enum shows. */
static void line_short(line *l, const lb_value *value)
{
    if (lb_value_type_of(value) == LB_TYPE_STR)
        line_quoted(l, json_slice(value));
    else
        line_value(l, value);
}

static bool not_listed(const lb_value *listed, const lb_value *value, const way *at, violation *why)
{
    lb_value_iterator it = lb_value_iterate(listed);

    if (!why)
        return false;
    line l = begin_violation(why, VIOLATION_VALUE, at);
    line_str(&l, lb_value_count(listed) ? "expected one of " : "expected nothing");
    while (it.index < MOST_VALUES_SHOWN && lb_value_next(&it)) {
        if (it.index)
            line_str(&l, ", ");
        if (it.index == MOST_VALUES_SHOWN)
            line_str(&l, "...");
        else
            line_short(&l, it.value);
    }
    line_str(&l, ", got ");
    line_short(&l, value);
    return false;
}

/* ---- Types and values ------------------------------------------------------------------------------- */

static bool is_whole(double number)
{
    const double fractions_end = 4503599627370496.0; /* 2^52: doubles have no fractions from here on */

    if (number > -fractions_end && number < fractions_end)
        return (double)(int64_t)number == number;
    return isfinite(number);
}

types types_of_value(const lb_value *value)
{
    switch (lb_value_type_of(value)) {
    case LB_TYPE_NULL:
        return TYPES_NULL;
    case LB_TYPE_BOOL:
        return TYPES_BOOL;
    case LB_TYPE_INT:
    case LB_TYPE_UINT:
        return TYPES_INTEGER;
    case LB_TYPE_FLOAT:
        return is_whole(lb_value_float(value)) ? TYPES_INTEGER : TYPES_FRACTION;
    case LB_TYPE_STR:
        return TYPES_STRING;
    case LB_TYPE_LIST:
        return TYPES_ARRAY;
    case LB_TYPE_DICT:
        return TYPES_OBJECT;
    }
    return 0;
}

static bool check_enum(const validator *v, const lb_value *value, const way *at, violation *why)
{
    lb_value_iterator it = lb_value_iterate(v->enumeration);

    while (lb_value_next(&it))
        if (lb_value_equal(it.value, value))
            return true;
    return not_listed(v->enumeration, value, at, why);
}

static bool check_const(const validator *v, const lb_value *value, const way *at, violation *why)
{
    if (lb_value_equal(v->constant, value))
        return true;
    if (!why)
        return false;
    line l = begin_violation(why, VIOLATION_VALUE, at);
    line_str(&l, "expected ");
    line_short(&l, v->constant);
    line_str(&l, ", got ");
    line_short(&l, value);
    return false;
}

/* ---- Lists ------------------------------------------------------------------------------------------ */

static bool check_size(const validator *v, const lb_value *list, const way *at, violation *why)
{
    size_t count = lb_value_count(list);
    bool few = count < v->min_items;

    if (!few && count <= v->max_items)
        return true;
    if (!why)
        return false;
    line l = begin_violation(why, VIOLATION_VALUE, at);
    line_str(&l, v->min_items == v->max_items ? "expected " : few ? "expected at least " : "expected at most ");
    line_int(&l, (int64_t)(few ? v->min_items : v->max_items));
    line_str(&l, " items, got ");
    line_int(&l, (int64_t)count);
    return false;
}

static bool check_elements(const validator *v, const lb_value *list, const way *at, violation *why)
{
    lb_value_iterator it = lb_value_iterate(list);

    if (!check_size(v, list, at, why))
        return false;
    if (!v->items && !v->items_list_count)
        return true;
    while (lb_value_next(&it)) {
        const way here = {at, {NULL, 0}, it.index};
        const validator *schema = it.index < v->items_list_count ? v->items_list[it.index] : v->items;
        if (!check(schema, it.value, &here, why))
            return false;
    }
    return true;
}

/* ---- Dicts and keyword arguments -------------------------------------------------------------------- */

static const property *search(const validator *v, lb_slice name)
{
    size_t low = 0, high = v->property_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(v->properties[middle].name, name);
        if (order == 0)
            return &v->properties[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const property *validator_property(const validator *v, lb_slice name)
{
    if (v->property_count > LINEAR)
        return search(v, name);
    for (size_t i = 0; i < v->property_count; i++)
        if (slice_equal(v->properties[i].name, name))
            return &v->properties[i];
    return NULL;
}

/* What is being checked: a dict, or keyword arguments in its place. */
typedef struct members {
    const lb_kwarg *kwargs; /* NULL: the members of `dict` */
    size_t count, index;    /* of kwargs */
    lb_value_iterator dict;
    lb_slice name;
    const lb_value *value;
} members;

static bool next_member(members *m)
{
    if (m->kwargs) {
        if (m->index == m->count)
            return false;
        m->name = m->kwargs[m->index].name;
        m->value = m->kwargs[m->index++].value;
        return true;
    }
    if (!lb_value_next(&m->dict))
        return false;
    m->name = (lb_slice){m->dict.name, m->dict.name_size};
    m->value = m->dict.value;
    return true;
}

static bool missing(const validator *v, const property_set *seen, const way *at, violation *why)
{
    for (size_t i = 0; i < v->property_count; i++)
        if (v->properties[i].required && !property_set_has(seen, i))
            return named_violation(why, VIOLATION_MISSING, at, "missing ", v->properties[i].name);
    return false;
}

/* Only arguments are compared: a member of a dict that comes twice is the JSON parser's concern. */
static bool is_repeated(const validator *v, const members *m)
{
    for (size_t i = 0; m->kwargs && i + 1 < m->index; i++)
        if (slice_equal(m->kwargs[i].name, m->name) && !validator_property(v, m->name))
            return true;
    return false;
}

static bool check_undeclared(const validator *v, const members *m, size_t count, const way *at, violation *why)
{
    const way here = {at, m->name, 0};

    if (v->closed)
        return named_violation(why, VIOLATION_UNEXPECTED, at, "unexpected ", m->name);
    if (m->kwargs && count > MOST_UNDECLARED)
        return named_violation(why, VIOLATION_UNEXPECTED, at, "too many undeclared arguments, such as ",
                               m->name);
    if (is_repeated(v, m))
        return named_violation(why, VIOLATION_DUPLICATE, at, "there are two of ", m->name);
    return check(v->additional, m->value, &here, why);
}

static bool check_members(const validator *v, members *m, const way *at, violation *why)
{
    property_set seen;
    size_t required = 0, undeclared = 0;

    property_set_clear(&seen, v);
    while (next_member(m)) {
        const property *p = validator_property(v, m->name);
        if (!p) {
            if (!check_undeclared(v, m, ++undeclared, at, why))
                return false;
            continue;
        }
        const way here = {at, m->name, 0};
        if (!property_set_add(&seen, (size_t)(p - v->properties)))
            return named_violation(why, VIOLATION_DUPLICATE, at, "there are two of ", m->name);
        required += p->required;
        if (!check(p->schema, m->value, &here, why))
            return false;
    }
    return required == v->required_count || missing(v, &seen, at, why);
}

/* ---- anyOf ------------------------------------------------------------------------------------------ */

/* The branch whose violation tells most: the only one that takes the value's type. */
static const validator *closest_branch(const validator *v, types of_value)
{
    const validator *closest = NULL;

    for (size_t i = 0; i < v->any_of_count; i++) {
        if (!(v->any_of[i]->types & of_value))
            continue;
        if (closest)
            return NULL;
        closest = v->any_of[i];
    }
    return closest;
}

static bool check_any_of(const validator *v, const lb_value *value, const way *at, violation *why)
{
    for (size_t i = 0; i < v->any_of_count; i++)
        if (check(v->any_of[i], value, at, NULL))
            return true;
    if (!why)
        return false;
    const validator *closest = closest_branch(v, types_of_value(value));
    if (closest)
        return check(closest, value, at, why);
    line l = begin_violation(why, VIOLATION_VALUE, at);
    line_str(&l, "fits none of the types allowed, got ");
    line_value(&l, value);
    return false;
}

static bool check_any_of_kwargs(const validator *v, const lb_kwarg *kwargs, size_t count, violation *why)
{
    for (size_t i = 0; i < v->any_of_count; i++)
        if (validator_check_kwargs(v->any_of[i], kwargs, count, NULL))
            return true;
    if (!why)
        return false;
    const validator *closest = closest_branch(v, TYPES_OBJECT);
    if (closest)
        return validator_check_kwargs(closest, kwargs, count, why);
    line l = begin_violation(why, VIOLATION_VALUE, NULL);
    line_str(&l, "the arguments fit none of the forms allowed");
    return false;
}

/* ---- Entry ------------------------------------------------------------------------------------------ */

static bool check(const validator *v, const lb_value *value, const way *at, violation *why)
{
    if (!v)
        return true;
    types of_value = types_of_value(value);
    if (!(v->types & of_value))
        return wrong_type(v, value, at, why);
    if (v->exact)
        return true;
    if (v->enumeration && !check_enum(v, value, at, why))
        return false;
    if (v->constant && !check_const(v, value, at, why))
        return false;
    if (v->elements && of_value == TYPES_ARRAY && !check_elements(v, value, at, why))
        return false;
    if (v->members && of_value == TYPES_OBJECT) {
        members m = {.dict = lb_value_iterate(value)};
        if (!check_members(v, &m, at, why))
            return false;
    }
    return !v->any_of_count || check_any_of(v, value, at, why);
}

bool validator_check(const validator *v, const lb_value *value, violation *why)
{
    return check(v, value, NULL, why);
}

/* Whether the arguments are those members. */
static bool kwargs_equal(const lb_kwarg *kwargs, size_t count, const lb_value *dict)
{
    if (lb_value_type_of(dict) != LB_TYPE_DICT || lb_value_count(dict) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        lb_value_iterator it = lb_value_iterate(dict);
        bool found = false;
        while (!found && lb_value_next(&it))
            found = slice_equal((lb_slice){it.name, it.name_size}, kwargs[i].name) &&
                    lb_value_equal(it.value, kwargs[i].value);
        if (!found)
            return false;
    }
    return true;
}

static bool kwargs_listed(const validator *v, const lb_kwarg *kwargs, size_t count)
{
    lb_value_iterator it = lb_value_iterate(v->enumeration);

    if (v->constant && !kwargs_equal(kwargs, count, v->constant))
        return false;
    while (lb_value_next(&it))
        if (kwargs_equal(kwargs, count, it.value))
            return true;
    return !v->enumeration;
}

bool validator_check_kwargs(const validator *v, const lb_kwarg *kwargs, size_t count, violation *why)
{
    static const lb_kwarg none;
    members m = {.kwargs = kwargs ? kwargs : &none, .count = count};

    if (!v)
        return true;
    if (!(v->types & TYPES_OBJECT) || !kwargs_listed(v, kwargs, count)) {
        if (why) {
            line l = begin_violation(why, VIOLATION_VALUE, NULL);
            line_str(&l, "the arguments are not among those allowed");
        }
        return false;
    }
    if (!check_members(v, &m, NULL, why))
        return false;
    return !v->any_of_count || check_any_of_kwargs(v, kwargs, count, why);
}
