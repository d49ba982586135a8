/* Conditions on the content of an event. A path is a list of steps; a value is followed along all ways that the
 * steps allow until one of them ends at a value that fulfils the condition. */
#include "json_path.h"

#include "../base/json.h"

#include <string.h>

typedef struct step {
    enum { STEP_NAME, STEP_INDEX, STEP_ANY } kind;
    bool deep; /* at any depth below */
    lb_slice name;
    size_t index;
    struct step *next;
} step;

struct json_path {
    step *first;
    comparison comparison;
    lb_slice text;         /* the value, as texts are compared with it */
    const lb_value *value; /* the same as JSON; NULL: it is none */
    bool quoted;           /* it is a text even if it looks like a number */
};

/* ---- Comparisons ------------------------------------------------------------------------------------ */

bool comparison_read(const char **at, comparison *result)
{
    static const struct {
        const char *text;
        comparison comparison;
    } all[] = {{"<=", AT_MOST}, {">=", AT_LEAST}, {"!=", DIFFERENT}, {"==", EQUAL},
               {"<", LESS},     {">", GREATER},   {"=", EQUAL}}; /* the longer ones first */
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strncmp(*at, all[i].text, strlen(all[i].text)) == 0) {
            *result = all[i].comparison;
            *at += strlen(all[i].text);
            return true;
        }
    return false;
}

bool comparison_holds(comparison c, int order)
{
    switch (c) {
    case EQUAL:
        return order == 0;
    case DIFFERENT:
        return order != 0;
    case LESS:
        return order < 0;
    case AT_MOST:
        return order <= 0;
    case GREATER:
        return order > 0;
    default:
        return order >= 0;
    }
}

/* ---- Reading ---------------------------------------------------------------------------------------- */

typedef struct reader {
    arena *memory;
    const char *text, *at;
    lb_error *error;
} reader;

static lb_status expected(const reader *r, const char *what)
{
    return lb_error_set(r->error, LB_USAGE, "\"%.200s\": expected %s at column %zu", r->text, what,
                        (size_t)(r->at - r->text) + 1);
}

static lb_status no_memory(const reader *r) { return lb_error_set(r->error, LB_NO_MEMORY, "out of memory"); }

static bool ends_name(char c) { return c == '\0' || strchr(".[]=!<>\"' \t", c); }

/* NAME or "*", after a dot or at the beginning. */
static lb_status read_name(reader *r, step *s)
{
    const char *start = r->at;
    while (!ends_name(*r->at))
        r->at++;
    s->name = (lb_slice){start, (size_t)(r->at - start)};
    s->kind = slice_is(s->name, "*") ? STEP_ANY : STEP_NAME;
    return s->name.size ? LB_OK : expected(r, "a name");
}

static lb_status read_quoted(reader *r, step *s)
{
    const char quote = *r->at++, *end = strchr(r->at, quote);
    if (!end)
        return expected(r, "a name that ends with the quote it began with");
    s->kind = STEP_NAME;
    s->name = (lb_slice){r->at, (size_t)(end - r->at)};
    r->at = end + 1;
    return LB_OK;
}

/* What stands between brackets: a number, a quoted name or "*". */
static lb_status read_bracket(reader *r, step *s)
{
    lb_status status = LB_OK;
    if (*r->at == '*') {
        s->kind = STEP_ANY;
        r->at++;
    } else if (*r->at == '"' || *r->at == '\'') {
        status = read_quoted(r, s);
    } else if (*r->at >= '0' && *r->at <= '9') {
        s->kind = STEP_INDEX;
        for (; *r->at >= '0' && *r->at <= '9'; r->at++)
            s->index = s->index < SIZE_MAX / 20 ? s->index * 10 + (size_t)(*r->at - '0') : SIZE_MAX / 20;
    } else {
        status = expected(r, "a number, * or a name in quotes");
    }
    if (status == LB_OK && *r->at != ']')
        return expected(r, "\"]\"");
    r->at += status == LB_OK;
    return status;
}

static lb_status read_steps(reader *r, step **first)
{
    bool begun = *r->at == '$';
    r->at += begun;
    for (step **link = first; *r->at == '.' || *r->at == '[' || !begun; begun = true) {
        step *s = arena_alloc(r->memory, sizeof *s);
        if (!s)
            return no_memory(r);
        *s = (step){.kind = STEP_NAME};
        *link = s;
        link = &s->next;
        s->deep = strncmp(r->at, "..", 2) == 0;
        r->at += s->deep;
        bool bracket = s->deep ? r->at[1] == '[' : *r->at == '[';
        r->at += *r->at == '.';
        r->at += bracket;
        lb_status status = bracket ? read_bracket(r, s) : read_name(r, s);
        if (status != LB_OK)
            return status;
    }
    return *first ? LB_OK : expected(r, "a name after \"$\"");
}

static void skip_spaces(reader *r) { r->at += strspn(r->at, " \t"); }

static lb_status read_value(reader *r, json_path *p)
{
    skip_spaces(r);
    p->text = slice_of(r->at);
    while (p->text.size && strchr(" \t", p->text.data[p->text.size - 1]))
        p->text.size--;
    lb_status status = json_parse(r->memory, p->text.data, p->text.size, &p->value, NULL);
    if (status == LB_NO_MEMORY)
        return no_memory(r);
    if (status != LB_OK)
        p->value = NULL; /* a word */
    p->quoted = p->value && lb_value_type_of(p->value) == LB_TYPE_STR;
    if (p->quoted)
        p->text = json_slice(p->value);
    return LB_OK;
}

lb_status json_path_parse(arena *memory, const char *text, const json_path **path, lb_error *error)
{
    reader r = {memory, text, text, error};
    json_path *p = arena_alloc(memory, sizeof *p);
    if (!p)
        return no_memory(&r);
    *p = (json_path){.first = NULL};
    skip_spaces(&r);
    lb_status status = read_steps(&r, &p->first);
    skip_spaces(&r);
    if (status == LB_OK && !comparison_read(&r.at, &p->comparison))
        status = expected(&r, "one of = != < <= > >=");
    if (status == LB_OK)
        status = read_value(&r, p);
    *path = status == LB_OK ? p : NULL;
    return status;
}

/* ---- Comparing -------------------------------------------------------------------------------------- */

static bool is_number(const lb_value *v)
{
    lb_value_type type = lb_value_type_of(v);
    return type == LB_TYPE_INT || type == LB_TYPE_UINT || type == LB_TYPE_FLOAT;
}

/* Wide enough for all 64-bit integers, where the machine has such a type. */
static long double number(const lb_value *v)
{
    switch (lb_value_type_of(v)) {
    case LB_TYPE_INT:
        return (long double)lb_value_int(v);
    case LB_TYPE_UINT:
        return (long double)lb_value_uint(v);
    default:
        return (long double)lb_value_float(v);
    }
}

static bool numbers_match(const json_path *p, const lb_value *v)
{
    long double a = number(v), b = number(p->value);
    if (a != a || b != b) /* NaN */
        return p->comparison == DIFFERENT;
    return comparison_holds(p->comparison, (a > b) - (a < b));
}

static bool texts_match(const json_path *p, lb_slice text)
{
    size_t common = text.size < p->text.size ? text.size : p->text.size;
    int order = common ? memcmp(text.data, p->text.data, common) : 0;
    return comparison_holds(p->comparison,
                            order ? order : (text.size > p->text.size) - (text.size < p->text.size));
}

static bool fulfils(const json_path *p, const lb_value *v)
{
    if (is_number(v) && p->value && is_number(p->value))
        return numbers_match(p, v);
    if (lb_value_type_of(v) == LB_TYPE_STR)
        return texts_match(p, json_slice(v));
    if (p->comparison == EQUAL)
        return p->value && lb_value_equal(v, p->value);
    return p->comparison == DIFFERENT && !(p->value && lb_value_equal(v, p->value));
}

/* ---- Following -------------------------------------------------------------------------------------- */

static bool follow(const json_path *p, const step *s, const lb_value *v);

/* The values of JSON are nested 512 deep at most, so this ends. */
static bool follow_elements(const json_path *p, const step *s, const lb_value *v)
{
    lb_value_type type = lb_value_type_of(v);
    if (type != LB_TYPE_DICT && type != LB_TYPE_LIST)
        return false;
    lb_value_iterator it = lb_value_iterate(v);
    for (size_t index = 0; lb_value_next(&it); index++) {
        bool taken =
            s->kind == STEP_ANY || (s->kind == STEP_INDEX && !it.name && index == s->index) ||
            (s->kind == STEP_NAME && it.name && slice_equal((lb_slice){it.name, it.name_size}, s->name));
        if ((taken && follow(p, s->next, it.value)) || (s->deep && follow_elements(p, s, it.value)))
            return true;
    }
    return false;
}

static bool follow(const json_path *p, const step *s, const lb_value *v)
{
    return s ? follow_elements(p, s, v) : fulfils(p, v);
}

bool json_path_matches(const json_path *p, const lb_arg *args)
{
    const step *s = p->first;
    for (const lb_arg *arg = args; arg->name; arg++) {
        const lb_value *v = arg->value.as.value;
        bool taken = s->kind == STEP_ANY || (s->kind == STEP_NAME && slice_is(s->name, arg->name));
        if ((taken && follow(p, s->next, v)) || (s->deep && follow_elements(p, s, v)))
            return true;
    }
    return false;
}
