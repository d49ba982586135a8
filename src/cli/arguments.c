/* Arguments from the command line. A shell knows only texts, so the schema of the bus decides what a text
 * means: "7" is a text for a parameter of type string, a number for an integer, and, where nothing is declared,
 * what JSON says. */
#include "arguments.h"

#include "../base/json.h"
#include "cli.h"

#include <string.h>

static lb_status no_memory(lb_error *error) { return lb_error_set(error, LB_NO_MEMORY, "out of memory"); }

static bool has_name(const lb_arg *args, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(args[i].name, name) == 0)
            return true;
    return false;
}

lb_status arguments_split(arena *memory, char *const *words, size_t count, lb_arg **args, lb_error *error)
{
    lb_arg *list = arena_alloc(memory, (count + 1) * sizeof *list);

    if (!list)
        return no_memory(error);
    for (size_t i = 0; i < count; i++) {
        size_t size = strcspn(words[i], "=");
        if (size == 0 || words[i][size] != '=')
            return lb_error_set(error, LB_USAGE, "argument \"%s\": expected NAME=VALUE", words[i]);
        char *name = arena_copy(memory, words[i], size);
        if (!name)
            return no_memory(error);
        if (has_name(list, i, name))
            return lb_error_set(error, LB_USAGE, "argument \"%s\" is given twice", name);
        list[i] = lb_arg_make(name, lb_datum_str(words[i] + size + 1));
    }
    list[count] = lb_arg_make(NULL, lb_datum_null());
    *args = list;
    return LB_OK;
}

lb_status arguments_from_json(arena *memory, const char *json, lb_arg **args, lb_error *error)
{
    const lb_value *value;
    lb_error why = {0};
    lb_value_iterator it;
    lb_arg *list;

    if (json_parse(memory, json, strlen(json), &value, &why) != LB_OK)
        return lb_error_set(error, LB_USAGE, "--json: %s", why.message);
    if (lb_value_type_of(value) != LB_TYPE_DICT)
        return lb_error_set(error, LB_USAGE, "--json: expected an object like {\"name\": value}, got \"%s\"",
                            json);
    list = arena_alloc(memory, (lb_value_count(value) + 1) * sizeof *list);
    if (!list)
        return no_memory(error);
    it = lb_value_iterate(value);
    while (lb_value_next(&it))
        list[it.index] = lb_arg_make(it.name, lb_datum_value(it.value));
    list[lb_value_count(value)] = lb_arg_make(NULL, lb_datum_null());
    *args = list;
    return LB_OK;
}

/* ---- Types ------------------------------------------------------------------------------------------ */

enum { /* the types of JSON as bits */
       IS_NULL = 1,
       IS_BOOL = 2,
       IS_INTEGER = 4,
       IS_FLOAT = 8,
       IS_STRING = 16,
       IS_ARRAY = 32,
       IS_OBJECT = 64,
       IS_ANY = 127,
};

static unsigned type_bit(const lb_value *value)
{
    switch (lb_value_type_of(value)) {
    case LB_TYPE_NULL:
        return IS_NULL;
    case LB_TYPE_BOOL:
        return IS_BOOL;
    case LB_TYPE_INT:
    case LB_TYPE_UINT:
        return IS_INTEGER;
    case LB_TYPE_FLOAT:
        return IS_FLOAT;
    case LB_TYPE_STR:
        return IS_STRING;
    case LB_TYPE_LIST:
        return IS_ARRAY;
    case LB_TYPE_DICT:
        return IS_OBJECT;
    }
    return IS_ANY;
}

static unsigned named_type(const lb_value *name)
{
    static const struct {
        const char *name;
        unsigned bits;
    } types[] = {{"null", IS_NULL},       {"boolean", IS_BOOL}, {"string", IS_STRING},
                 {"integer", IS_INTEGER}, {"array", IS_ARRAY},  {"number", IS_INTEGER | IS_FLOAT},
                 {"object", IS_OBJECT}};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (slice_is(json_slice(name), types[i].name))
            return types[i].bits;
    return IS_ANY;
}

static unsigned admitted(const lb_value *schema, int depth);

/* What the elements of a list admit together. */
static unsigned union_of(const lb_value *list, unsigned (*bits)(const lb_value *element, int depth), int depth)
{
    lb_value_iterator it = lb_value_iterate(list);
    unsigned all = 0;

    while (lb_value_next(&it))
        all |= bits(it.value, depth);
    return all;
}

static unsigned value_bits(const lb_value *value, int depth)
{
    (void)depth;
    return type_bit(value);
}

static unsigned name_bits(const lb_value *name, int depth)
{
    (void)depth;
    return named_type(name);
}

/* The types of JSON that a schema admits at its top; anything, where it does not say. */
static unsigned admitted(const lb_value *schema, int depth)
{
    const lb_value *type = lb_value_get(schema, "type"), *any_of = lb_value_get(schema, "anyOf");
    const lb_value *values = lb_value_get(schema, "enum"), *constant = lb_value_get(schema, "const");

    if (lb_value_type_of(type) == LB_TYPE_STR)
        return named_type(type);
    if (lb_value_count(type))
        return union_of(type, name_bits, 0);
    if (lb_value_count(any_of) && depth < 16)
        return union_of(any_of, admitted, depth + 1);
    if (lb_value_count(values))
        return union_of(values, value_bits, 0);
    return constant ? type_bit(constant) : IS_ANY;
}

static lb_status type_text(arena *memory, unsigned types, lb_arg *arg, lb_error *error)
{
    const char *text = arg->value.as.str;
    const lb_value *value = NULL;
    lb_error why = {0};
    bool parsed;

    if (types == IS_STRING)
        return LB_OK;
    parsed = json_parse(memory, text, strlen(text), &value, &why) == LB_OK;
    if (parsed && ((types & type_bit(value)) || !(types & IS_STRING))) {
        arg->value = lb_datum_value(value);
        return LB_OK;
    }
    if (!parsed && (text[0] == '[' || text[0] == '{') && !(types & IS_STRING))
        return lb_error_set(error, LB_INVALID_ARGUMENTS, "argument \"%s\": %s", arg->name, why.message);
    return LB_OK;
}

lb_status arguments_type(arena *memory, const lb_value *parameters, lb_arg *args, lb_error *error)
{
    const lb_value *properties = lb_value_get(parameters, "properties");

    for (; args->name; args++) {
        lb_status status = type_text(memory, admitted(lb_value_get(properties, args->name), 0), args, error);
        if (status != LB_OK)
            return status;
    }
    return LB_OK;
}

/* ---- Targets ---------------------------------------------------------------------------------------- */

lb_status target_split(arena *memory, const char *name, target *t, lb_error *error)
{
    const char *dot = strrchr(name, '.');

    if (!dot || dot == name || !dot[1])
        return lb_error_set(error, LB_USAGE, "expected API.NAME, like auth.check_password, got \"%s\"", name);
    t->api = arena_copy(memory, name, (size_t)(dot - name));
    t->member = dot + 1;
    return t->api ? LB_OK : no_memory(error);
}

/* "a, b, c", cut short where there are many. */
static void list_names(const lb_value *names, char *out, size_t most)
{
    lb_value_iterator it = lb_value_iterate(names);
    size_t size = 0;

    *out = '\0';
    while (lb_value_next(&it)) {
        if (size + it.name_size + sizeof ", , ..." > most) {
            snprintf(out + size, most - size, "%s...", size ? ", " : "");
            return;
        }
        size += (size_t)snprintf(out + size, most - size, "%s%s", size ? ", " : "", it.name);
    }
}

lb_status target_unknown(lb_error *error, lb_status status, const char *what, const char *wanted,
                         const lb_value *names)
{
    char text[HINT_SIZE], list[256];
    suggestion s = suggestion_for(slice_of(wanted));
    lb_value_iterator it = lb_value_iterate(names);

    while (lb_value_next(&it))
        suggestion_consider(&s, slice_of(it.name));
    if (s.best.size)
        return lb_error_set(error, status, "%s%s", what, hint(&s, text));
    if (!lb_value_count(names))
        return lb_error_set(error, status, "%s; there are none", what);
    list_names(names, list, sizeof list);
    return lb_error_set(error, status, "%s; there %s: %s", what, lb_value_count(names) == 1 ? "is" : "are",
                        list);
}

lb_status target_find(const lb_value *schemas, const target *t, const char *half, const lb_value **member,
                      lb_error *error)
{
    const lb_value *api = lb_value_get(schemas, t->api), *members = lb_value_get(api, half);
    bool rpcs = strcmp(half, "rpcs") == 0;
    char what[256];

    if (!api) {
        snprintf(what, sizeof what, "no API \"%.100s\" is on the bus", t->api);
        return target_unknown(error, LB_UNKNOWN_API, what, t->api, schemas);
    }
    *member = lb_value_get(members, t->member);
    if (*member)
        return LB_OK;
    snprintf(what, sizeof what, "the API \"%.80s\" has no %s \"%.80s\"", t->api, rpcs ? "procedure" : "event",
             t->member);
    if (lb_value_get(lb_value_get(api, rpcs ? "events" : "rpcs"), t->member))
        return lb_error_set(error, LB_UNKNOWN_MEMBER, "%s; it is %s", what, rpcs ? "an event" : "a procedure");
    return target_unknown(error, LB_UNKNOWN_MEMBER, what, t->member, members);
}

lb_status target_find_events(arena *memory, const lb_value *schemas, const char *name, lb_error *error)
{
    const lb_value *member;
    target t;
    lb_status status = target_split(memory, name, &t, error);

    if (status != LB_OK || (strcmp(t.member, "*") == 0 && lb_value_get(schemas, t.api)))
        return status;
    return target_find(schemas, &t, "events", &member, error);
}
