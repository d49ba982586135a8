/* Running compiled schemas. A check has a budget of work and a bound of depth, since schemas may refer to
 * themselves and be tried in many combinations: what reaches a bound is refused with a reason that says so,
 * whatever the logic around it. There is no violation to fill wherever several branches are tried, so that
 * without references no part of the schema runs more often than it is deep at one place of the value. */
#include "validator_check.h"

#include <math.h>

#include "../base/json.h"

#define LINEAR          8    /* up to so many properties are searched one by one */
#define MOST_UNDECLARED 256  /* keyword arguments that no property declares: they are compared pairwise */
#define MOST_DEPTH      1600 /* checks within checks */
#define MOST_WORK       (INT64_C(1) << 23) /* steps of one check: some 0.1 s */

static bool check(checker *c, const validator *v, const instance *in, const way *at);

/* ---- Types ------------------------------------------------------------------------------------------ */

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

static void refuse_type(const validator *v, const instance *in, const way *at, violation *why)
{
    line l = violation_begin(why, VIOLATION_VALUE, at);

    if (in->kwargs) {
        line_str(&l, "the arguments are not among those allowed");
        return;
    }
    line_str(&l, "expected ");
    line_types(&l, v->types);
    line_str(&l, ", got ");
    line_instance(&l, in);
}

static instance instance_of(const lb_value *value)
{
    return (instance){.value = value, .type = types_of_value(value)};
}

void validator_refuse(const validator *v, const lb_value *value, violation *why)
{
    const instance in = instance_of(value);
    refuse_type(v, &in, NULL, why);
}

/* Most schemas tell no more than types: that needs no instance. */
static bool passes(const validator *v, types type) { return !v || (v->exact && (v->types & type)); }

static bool check_value(checker *c, const validator *v, const lb_value *value, const way *at)
{
    const types type = types_of_value(value);

    if (passes(v, type))
        return true;
    const instance in = {.value = value, .type = type};
    return check(c, v, &in, at);
}

/* Only the answer counts: no violation is filled. */
static bool fits(checker *c, const validator *v, const instance *in, const way *at)
{
    violation *why = c->why;

    c->why = NULL;
    bool result = !v || check(c, v, in, at);
    c->why = c->gave_up ? NULL : why;
    return result;
}

static bool named_violation(checker *c, int kind, const way *at, const char *what, lb_slice name)
{
    if (!c->why)
        return false;
    line l = violation_begin(c->why, kind, at);
    line_str(&l, what);
    line_quoted(&l, name);
    c->why->name = name;
    return false;
}

/* "expected at least 2 items, got 1" */
static bool check_count(checker *c, size_t count, uint64_t least, uint64_t most, const char *what,
                        const way *at)
{
    bool few = count < least;

    if (!few && count <= most)
        return true;
    if (!c->why)
        return false;
    line l = violation_begin(c->why, VIOLATION_VALUE, at);
    line_str(&l, least == most ? "expected " : few ? "expected at least " : "expected at most ");
    line_int(&l, (int64_t)(few ? least : most));
    line_str(&l, what);
    line_int(&l, (int64_t)count);
    return false;
}

/* ---- Lists ------------------------------------------------------------------------------------------ */

static bool check_elements(checker *c, const validator *v, const lb_value *list, const way *at)
{
    lb_value_iterator it = lb_value_iterate(list);
    size_t count = lb_value_count(list);

    if (!check_count(c, count, v->min_items, v->max_items, " items, got ", at))
        return false;
    if (!v->items && !v->items_list_count)
        return true;
    if (!checker_spend(c, at, count / 8))
        return false;
    while (lb_value_next(&it)) {
        const way here = {at, {NULL, 0}, it.index};
        const validator *schema = it.index < v->items_list_count ? v->items_list[it.index] : v->items;
        if (!check_value(c, schema, it.value, &here))
            return false;
    }
    return true;
}

static bool check_contains(checker *c, const list_rules *rules, const lb_value *list, const way *at)
{
    lb_value_iterator it = lb_value_iterate(list);

    while (lb_value_next(&it)) {
        const way here = {at, {NULL, 0}, it.index};
        const instance in = instance_of(it.value);
        if (fits(c, rules->contains, &in, &here) || c->gave_up)
            return !c->gave_up;
    }
    if (!c->why)
        return false;
    line l = violation_begin(c->why, VIOLATION_VALUE, at);
    line_str(&l, "expected an item that fits \"contains\", got ");
    line_int(&l, (int64_t)lb_value_count(list));
    line_str(&l, " items, none of which does");
    return false;
}

static bool check_list(checker *c, const list_rules *rules, const lb_value *list, const way *at)
{
    if (rules->unique && !check_unique(c, list, at))
        return false;
    return !rules->has_contains ||
           (checker_spend(c, at, lb_value_count(list) / 8) && check_contains(c, rules, list, at));
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

/* A walk over the members of a dict, or over keyword arguments. */
typedef struct members {
    const lb_kwarg *kwargs; /* NULL: the members of `dict` */
    size_t count, index;    /* of kwargs */
    lb_value_iterator dict;
    lb_slice name;
    const lb_value *value;
} members;

static members members_of(const instance *in)
{
    members m = {.kwargs = in->kwargs, .count = in->count};

    if (!in->kwargs)
        m.dict = lb_value_iterate(in->value);
    return m;
}

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

static size_t member_count(const instance *in) { return in->kwargs ? in->count : lb_value_count(in->value); }

static bool has_member(const instance *in, lb_slice name)
{
    members m = members_of(in);

    while (next_member(&m))
        if (slice_equal(m.name, name))
            return true;
    return false;
}

static bool missing(checker *c, const validator *v, const property_set *seen, const way *at)
{
    for (size_t i = 0; i < v->property_count; i++)
        if (v->properties[i].required && !property_set_has(seen, i))
            return named_violation(c, VIOLATION_MISSING, at, "missing ", v->properties[i].name);
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

/* By the patterns that its name matches; by additionalProperties if there are none and nothing else names it.
 */
static bool check_patterns(checker *c, const dict_rules *rules, const members *m, bool named, const way *at)
{
    const way here = {at, m->name, 0};

    for (size_t i = 0; i < rules->pattern_count; i++) {
        const pattern_property *p = &rules->patterns[i];
        if (!check_pattern(c, p->pattern, m->name, &here))
            continue;
        named = true;
        if (!check_value(c, p->schema, m->value, &here))
            return false;
    }
    if (c->gave_up)
        return false;
    if (!named && rules->others == &validator_nothing)
        return named_violation(c, VIOLATION_UNEXPECTED, at, "unexpected ", m->name);
    return named || check_value(c, rules->others, m->value, &here);
}

static bool check_undeclared(checker *c, const validator *v, const members *m, size_t count, const way *at)
{
    const way here = {at, m->name, 0};

    if (v->closed)
        return named_violation(c, VIOLATION_UNEXPECTED, at, "unexpected ", m->name);
    if (m->kwargs && count > MOST_UNDECLARED)
        return named_violation(c, VIOLATION_UNEXPECTED, at, "too many undeclared arguments, such as ", m->name);
    if (is_repeated(v, m))
        return named_violation(c, VIOLATION_DUPLICATE, at, "there are two of ", m->name);
    return check_value(c, v->additional, m->value, &here);
}

static bool check_member(checker *c, const validator *v, const property *p, const members *m, const way *at)
{
    const way here = {at, m->name, 0};

    if (!check_value(c, p->schema, m->value, &here))
        return false;
    return !v->dicts || !v->dicts->pattern_count || check_patterns(c, v->dicts, m, p->declared, at);
}

static bool check_members(checker *c, const validator *v, const instance *in, const way *at)
{
    members m = members_of(in);
    property_set seen;
    size_t required = 0, undeclared = 0;

    property_set_clear(&seen, v);
    if (!checker_spend(c, at, member_count(in) / 4))
        return false;
    while (next_member(&m)) {
        const property *p = validator_property(v, m.name);
        if (!p) {
            if (!check_undeclared(c, v, &m, ++undeclared, at))
                return false;
            if (v->dicts && v->dicts->pattern_count && !check_patterns(c, v->dicts, &m, false, at))
                return false;
            continue;
        }
        if (!property_set_add(&seen, (size_t)(p - v->properties)))
            return named_violation(c, VIOLATION_DUPLICATE, at, "there are two of ", m.name);
        required += p->required;
        if (!check_member(c, v, p, &m, at))
            return false;
    }
    return required == v->required_count || missing(c, v, &seen, at);
}

static bool check_names(checker *c, const validator *names, const instance *in, const way *at)
{
    members m = members_of(in);
    char memory[sizeof c->why->reason];

    while (next_member(&m)) {
        const instance name = {.name = m.name.data ? m.name : (lb_slice){"", 0}, .type = TYPES_STRING};
        if (check(c, names, &name, at))
            continue;
        if (!c->why)
            return false;
        memcpy(memory, c->why->reason, sizeof memory);
        line l = violation_begin(c->why, VIOLATION_VALUE, at);
        line_str(&l, "the name ");
        line_quoted(&l, m.name);
        line_str(&l, " is not allowed: ");
        line_str(&l, memory);
        return false;
    }
    return true;
}

static bool check_needed(checker *c, const dependency *d, const instance *in, const way *at)
{
    lb_value_iterator it = lb_value_iterate(d->names);

    while (lb_value_next(&it)) {
        if (!checker_spend(c, at, member_count(in) / 8))
            return false;
        if (has_member(in, json_slice(it.value)))
            continue;
        if (!c->why)
            return false;
        line l = violation_begin(c->why, VIOLATION_VALUE, at);
        line_str(&l, "missing ");
        line_quoted(&l, json_slice(it.value));
        line_str(&l, ", which is needed beside ");
        line_quoted(&l, d->name);
        return false;
    }
    return true;
}

static bool check_dict(checker *c, const dict_rules *rules, const instance *in, const way *at)
{
    if (!check_count(c, member_count(in), rules->min_members, rules->max_members, " members, got ", at))
        return false;
    if (rules->names && !check_names(c, rules->names, in, at))
        return false;
    for (size_t i = 0; i < rules->dependency_count; i++) {
        const dependency *d = &rules->dependencies[i];
        if (!checker_spend(c, at, member_count(in) / 8))
            return false;
        if (!has_member(in, d->name))
            continue;
        if (!check_needed(c, d, in, at) || (d->schema && !check(c, d->schema, in, at)))
            return false;
    }
    return true;
}

/* ---- Logic ------------------------------------------------------------------------------------------ */

/* The branch whose violation tells most: the only one that takes the value's type. */
static const validator *closest_branch(const validator *const *branches, size_t count, types type)
{
    const validator *closest = NULL;

    for (size_t i = 0; i < count; i++) {
        types possible = branches[i] && branches[i]->reference ? branches[i]->reference->types
                         : branches[i]                         ? branches[i]->types
                                                               : TYPES_ALL;
        if (!(possible & type))
            continue;
        if (closest || !branches[i])
            return NULL;
        closest = branches[i];
    }
    return closest;
}

/* None of the branches fits. */
static bool refuse_all(checker *c, const validator *const *branches, size_t count, const instance *in,
                       const way *at)
{
    if (!c->why)
        return false;
    const validator *closest = closest_branch(branches, count, in->type);
    if (closest)
        return check(c, closest, in, at);
    line l = violation_begin(c->why, VIOLATION_VALUE, at);
    if (in->kwargs) {
        line_str(&l, "the arguments fit none of the forms allowed");
        return false;
    }
    line_str(&l, "fits none of the types allowed, got ");
    line_instance(&l, in);
    return false;
}

static bool check_any_of(checker *c, const validator *v, const instance *in, const way *at)
{
    for (size_t i = 0; i < v->any_of_count; i++)
        if (fits(c, v->any_of[i], in, at))
            return true;
    return refuse_all(c, v->any_of, v->any_of_count, in, at);
}

static bool check_one_of(checker *c, const schema_list *branches, const instance *in, const way *at)
{
    size_t first = branches->count;

    for (size_t i = 0; i < branches->count; i++) {
        if (!fits(c, branches->schemas[i], in, at))
            continue;
        if (first == branches->count) {
            first = i;
            continue;
        }
        if (!c->why)
            return false;
        line l = violation_begin(c->why, VIOLATION_VALUE, at);
        line_str(&l, "fits two forms of \"oneOf\", the ");
        line_int(&l, (int64_t)first + 1);
        line_str(&l, ". and the ");
        line_int(&l, (int64_t)i + 1);
        line_str(&l, "., got ");
        line_instance(&l, in);
        return false;
    }
    return first < branches->count || refuse_all(c, branches->schemas, branches->count, in, at);
}

static bool check_not(checker *c, const validator *no, const instance *in, const way *at)
{
    bool fitting = fits(c, no, in, at);

    if (!fitting || !c->why)
        return !fitting && !c->gave_up;
    line l = violation_begin(c->why, VIOLATION_VALUE, at);
    line_str(&l, "fits what \"not\" excludes, got ");
    line_instance(&l, in);
    return false;
}

static bool check_logic(checker *c, const logic_rules *rules, const instance *in, const way *at)
{
    for (size_t i = 0; i < rules->all_of.count; i++)
        if (rules->all_of.schemas[i] && !check(c, rules->all_of.schemas[i], in, at))
            return false;
    if (rules->one_of.count && !check_one_of(c, &rules->one_of, in, at))
        return false;
    if (rules->negated && !check_not(c, rules->no, in, at))
        return false;
    if (!rules->conditional)
        return true;
    const validator *next = fits(c, rules->condition, in, at) ? rules->then : rules->otherwise;
    return !next || check(c, next, in, at);
}

/* ---- Everything ------------------------------------------------------------------------------------- */

static bool check_keywords(checker *c, const validator *v, const instance *in, const way *at)
{
    if (v->enumeration && !check_enum(c, v, in, at))
        return false;
    if (v->constant && !check_const(c, v, in, at))
        return false;
    if (v->numbers && (in->type & TYPES_NUMBER) && !check_number(c, v->numbers, in->value, at))
        return false;
    if (v->strings && in->type == TYPES_STRING && !check_string(c, v->strings, in, at))
        return false;
    if (in->type == TYPES_ARRAY) {
        if (v->elements && !check_elements(c, v, in->value, at))
            return false;
        if (v->lists && !check_list(c, v->lists, in->value, at))
            return false;
    }
    if (in->type == TYPES_OBJECT) {
        if ((v->members || in->kwargs) && !check_members(c, v, in, at))
            return false;
        if (v->dicts && !check_dict(c, v->dicts, in, at))
            return false;
    }
    if (v->logic && !check_logic(c, v->logic, in, at))
        return false;
    return !v->any_of_count || check_any_of(c, v, in, at);
}

static bool check(checker *c, const validator *v, const instance *in, const way *at)
{
    if (v->reference)
        v = v->reference;
    if (!(v->types & in->type)) {
        if (c->why)
            refuse_type(v, in, at, c->why);
        return false;
    }
    if (v->exact && !in->kwargs)
        return true;
    if (!checker_spend(c, at, 1))
        return false;
    if (c->depth == MOST_DEPTH)
        return checker_give_up(c, at, "the schema refers to itself too often to check this");
    c->depth++;
    bool result = check_keywords(c, v, in, at);
    c->depth--;
    return result;
}

/* ---- Entry ------------------------------------------------------------------------------------------ */

static bool run(const validator *v, const instance *in, violation *why)
{
    checker c = {.why = why, .report = why, .work = {.steps = MOST_WORK}};
    bool result = check(&c, v, in, NULL);

    regex_run_end(&c.work);
    return result && !c.gave_up;
}

bool validator_check(const validator *v, const lb_value *value, violation *why)
{
    const instance in = instance_of(value);

    return passes(v, in.type) || run(v, &in, why);
}

bool validator_check_kwargs(const validator *v, const lb_kwarg *kwargs, size_t count, violation *why)
{
    static const lb_kwarg none;
    const instance in = {.kwargs = kwargs ? kwargs : &none, .count = count, .type = TYPES_OBJECT};

    return !v || run(v, &in, why);
}
