/* Checks that need no recursion into schemas: numbers, strings, enum, const, uniqueItems. And the words of
 * violations. */
#include <math.h>
#include <stdlib.h>

#include "../base/json.h"
#include "validator_check.h"
#include "validator_value.h"

#define MOST_VALUES_SHOWN 8  /* of an enum */
#define FEW_ITEMS         16 /* up to so many are compared pairwise */

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

line violation_begin(violation *why, int kind, const way *at)
{
    line path = line_of(why->path, sizeof why->path);

    why->kind = kind;
    why->name = (lb_slice){NULL, 0};
    line_way(&path, at);
    return line_of(why->reason, sizeof why->reason);
}

void line_types(line *l, types set)
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

void line_short(line *l, const lb_value *value)
{
    if (lb_value_type_of(value) == LB_TYPE_STR)
        line_quoted(l, json_slice(value));
    else
        line_value(l, value);
}

void line_instance(line *l, const instance *in)
{
    if (in->name.data) {
        line_str(l, "str (");
        line_quoted(l, in->name);
        line_str(l, ")");
    } else if (in->kwargs) {
        line_str(l, "dict");
    } else {
        line_value(l, in->value);
    }
}

static void line_short_instance(line *l, const instance *in)
{
    if (in->name.data)
        line_quoted(l, in->name);
    else if (in->kwargs)
        line_str(l, "dict");
    else
        line_short(l, in->value);
}

/* ---- Bounds ----------------------------------------------------------------------------------------- */

bool checker_give_up(checker *c, const way *at, const char *reason)
{
    if (!c->gave_up && c->report) {
        line l = violation_begin(c->report, VIOLATION_VALUE, at);
        line_str(&l, reason);
    }
    c->gave_up = true;
    c->why = NULL;
    c->work.steps = 0;
    return false;
}

bool checker_is_exhausted(checker *c, const way *at)
{
    return checker_give_up(c, at, "takes too much work to check against its schema");
}

/* ---- Numbers ---------------------------------------------------------------------------------------- */

static bool refuse_number(checker *c, const char *expected, const lb_value *limit, const lb_value *value,
                          const way *at)
{
    char memory[64];
    buffer text = {.data = memory, .capacity = sizeof memory};

    if (!c->why)
        return false;
    line l = violation_begin(c->why, VIOLATION_VALUE, at);
    json_write(&text, limit);
    line_str(&l, expected);
    line_add(&l, (lb_slice){memory, text.size});
    line_str(&l, ", got ");
    line_value(&l, value);
    return false;
}

bool check_number(checker *c, const number_rules *n, const lb_value *value, const way *at)
{
    int order;

    if (n->minimum && (order = numbers_compare(value, n->minimum)) != 0 && order != 1)
        return refuse_number(c, "expected at least ", n->minimum, value, at);
    if (n->above && numbers_compare(value, n->above) != 1)
        return refuse_number(c, "expected more than ", n->above, value, at);
    if (n->maximum && (order = numbers_compare(value, n->maximum)) != 0 && order != -1)
        return refuse_number(c, "expected at most ", n->maximum, value, at);
    if (n->below && numbers_compare(value, n->below) != -1)
        return refuse_number(c, "expected less than ", n->below, value, at);
    if (n->multiple_of && !number_is_multiple(value, n->multiple_of))
        return refuse_number(c, "expected a multiple of ", n->multiple_of, value, at);
    return true;
}

/* ---- Strings ---------------------------------------------------------------------------------------- */

bool check_pattern(checker *c, const regex *pattern, lb_slice text, const way *at)
{
    char memory[160];
    line l;

    if (c->gave_up)
        return false;
    switch (regex_search(pattern, text, &c->work)) {
    case REGEX_MATCHES:
        return true;
    case REGEX_DIFFERS:
        return false;
    case REGEX_NO_MEMORY:
        return checker_give_up(c, at, "there is no memory to match a pattern");
    case REGEX_EXHAUSTED:
        break;
    }
    l = line_of(memory, sizeof memory);
    line_str(&l, "takes too much work to match with the pattern ");
    line_quoted(&l, regex_pattern(pattern));
    return checker_give_up(c, at, memory);
}

static size_t characters(lb_slice text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.size; i++)
        count += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return count;
}

static bool check_length(checker *c, const string_rules *s, lb_slice text, const way *at)
{
    size_t count = characters(text);
    bool few = count < s->min_length;

    if (!few && count <= s->max_length)
        return true;
    if (!c->why)
        return false;
    line l = violation_begin(c->why, VIOLATION_VALUE, at);
    line_str(&l, s->min_length == s->max_length ? "expected "
                 : few                          ? "expected at least "
                                                : "expected at most ");
    line_int(&l, (int64_t)(few ? s->min_length : s->max_length));
    line_str(&l, " characters, got ");
    line_int(&l, (int64_t)count);
    return false;
}

static bool refuse_text(checker *c, const char *expected, lb_slice what, const instance *in, const way *at)
{
    if (!c->why)
        return false;
    line l = violation_begin(c->why, VIOLATION_VALUE, at);
    line_str(&l, expected);
    line_quoted(&l, what);
    line_str(&l, ", got ");
    line_instance(&l, in);
    return false;
}

bool check_string(checker *c, const string_rules *s, const instance *in, const way *at)
{
    lb_slice text = in->name.data ? in->name : json_slice(in->value);

    if (!checker_spend(c, at, text.size / 16))
        return false;
    if ((s->min_length || s->max_length != UINT64_MAX) && !check_length(c, s, text, at))
        return false;
    if (s->pattern && !check_pattern(c, s->pattern, text, at))
        return refuse_text(c, "expected a match of the pattern ", regex_pattern(s->pattern), in, at);
    if (s->format && !s->format->fits(text))
        return refuse_text(c, "expected the format ", slice_of(s->format->name), in, at);
    return true;
}

/* ---- enum, const ------------------------------------------------------------------------------------ */

/* Whether the arguments are those members. */
static bool kwargs_equal(checker *c, const instance *in, const lb_value *dict)
{
    if (lb_value_type_of(dict) != LB_TYPE_DICT || lb_value_count(dict) != in->count)
        return false;
    for (size_t i = 0; i < in->count; i++) {
        lb_value_iterator it = lb_value_iterate(dict);
        bool found = false;
        while (!found && lb_value_next(&it))
            found = slice_equal((lb_slice){it.name, it.name_size}, in->kwargs[i].name) &&
                    values_equal(it.value, in->kwargs[i].value, &c->work.steps);
        if (!found || !checker_spend(c, NULL, in->count))
            return false;
    }
    return true;
}

static bool equals(checker *c, const lb_value *listed, const instance *in)
{
    if (in->kwargs)
        return kwargs_equal(c, in, listed);
    if (in->name.data)
        return lb_value_type_of(listed) == LB_TYPE_STR && slice_equal(json_slice(listed), in->name);
    return values_equal(listed, in->value, &c->work.steps);
}

static bool is_listed(checker *c, const validator *v, const instance *in)
{
    lb_value_iterator it = lb_value_iterate(v->enumeration);

    if (v->enum_sorted && !in->kwargs) {
        uint64_t hash = in->name.data ? text_hash(in->name) : value_hash(in->value, &c->work.steps);
        size_t low = 0, high = v->enum_count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (v->enum_sorted[middle].hash < hash)
                low = middle + 1;
            else
                high = middle;
        }
        for (; low < v->enum_count && v->enum_sorted[low].hash == hash && c->work.steps > 0; low++)
            if (equals(c, v->enum_sorted[low].value, in))
                return true;
        return false;
    }
    while (lb_value_next(&it) && c->work.steps > 0)
        if (equals(c, it.value, in))
            return true;
    return false;
}

bool check_enum(checker *c, const validator *v, const instance *in, const way *at)
{
    lb_value_iterator it = lb_value_iterate(v->enumeration);

    if (is_listed(c, v, in))
        return true;
    if (!checker_spend(c, at, 0) || !c->why)
        return false;
    line l = violation_begin(c->why, VIOLATION_VALUE, at);
    if (in->kwargs) {
        line_str(&l, "the arguments are not among those allowed");
        return false;
    }
    line_str(&l, lb_value_count(v->enumeration) ? "expected one of " : "expected nothing");
    while (it.index < MOST_VALUES_SHOWN && lb_value_next(&it)) {
        if (it.index)
            line_str(&l, ", ");
        if (it.index == MOST_VALUES_SHOWN)
            line_str(&l, "...");
        else
            line_short(&l, it.value);
    }
    line_str(&l, ", got ");
    line_short_instance(&l, in);
    return false;
}

bool check_const(checker *c, const validator *v, const instance *in, const way *at)
{
    if (equals(c, v->constant, in))
        return true;
    if (!checker_spend(c, at, 0) || !c->why)
        return false;
    line l = violation_begin(c->why, VIOLATION_VALUE, at);
    if (in->kwargs) {
        line_str(&l, "the arguments are not among those allowed");
        return false;
    }
    line_str(&l, "expected ");
    line_short(&l, v->constant);
    line_str(&l, ", got ");
    line_short_instance(&l, in);
    return false;
}

/* ---- uniqueItems ------------------------------------------------------------------------------------ */

static bool refuse_repeated(checker *c, const lb_value *value, size_t index, const way *at)
{
    const way here = {at, {NULL, 0}, index};

    if (!c->why)
        return false;
    line l = violation_begin(c->why, VIOLATION_VALUE, &here);
    line_str(&l, "expected different items, got again ");
    line_value(&l, value);
    return false;
}

static bool check_few(checker *c, const lb_value *list, const way *at)
{
    for (lb_value_iterator i = lb_value_iterate(list); lb_value_next(&i);)
        for (lb_value_iterator j = lb_value_iterate(list); lb_value_next(&j) && j.index < i.index;)
            if (values_equal(i.value, j.value, &c->work.steps))
                return refuse_repeated(c, i.value, i.index, at);
    return true;
}

typedef struct hashed_item {
    uint64_t hash;
    size_t index;
    const lb_value *value;
} hashed_item;

static int compare_items(const void *a, const void *b)
{
    const hashed_item *x = a, *y = b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool check_sorted(checker *c, const hashed_item *items, size_t count, const way *at)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = i; j-- > 0 && items[j].hash == items[i].hash && c->work.steps > 0;)
            if (values_equal(items[i].value, items[j].value, &c->work.steps))
                return refuse_repeated(c, items[i].value, items[i].index, at);
    return true;
}

static bool check_many(checker *c, const lb_value *list, size_t count, const way *at)
{
    lb_value_iterator it = lb_value_iterate(list);

    if (!checker_spend(c, at, count))
        return false;
    hashed_item *items = malloc(count * sizeof *items);
    if (!items)
        return checker_give_up(c, at, "there is no memory to compare its items");
    while (lb_value_next(&it))
        items[it.index] = (hashed_item){value_hash(it.value, &c->work.steps), it.index, it.value};
    qsort(items, count, sizeof *items, compare_items);
    bool unique = check_sorted(c, items, count, at);
    free(items);
    return unique;
}

bool check_unique(checker *c, const lb_value *list, const way *at)
{
    size_t count = lb_value_count(list);
    bool unique = count <= FEW_ITEMS ? check_few(c, list, at) : check_many(c, list, count, at);

    return checker_spend(c, at, 0) && unique;
}
