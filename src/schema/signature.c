/* Parsing signatures: recursive descent over a C string, everything allocated in the signature's arena. The
 * result is normal: a union holds neither unions nor optionals nor one type twice, `T | null` is `T?`, a
 * parameter whose default is null takes null, one without a type has that of its default. So the printed form
 * is canonical. Invariant of the parser: the first failure sets `status` and the error; whoever sees a failure
 * returns at once. */
#include "signature.h"

#include <stdlib.h>

#include "../base/json.h"
#include "json_schema.h"
#include "line.h"
#include "type.h"
#include "validator.h"

#define MOST_NESTING 64
#define MOST_ITEMS   1000 /* parameters, fields, types of a union or tuple, values of an enum */

typedef struct parser {
    arena *memory;
    const char *api_name;
    const char *text, *at;
    lb_slice name;                   /* of the member, once it is known */
    const char *before, *before_end; /* what was understood last, for "expected X after Y" */
    int nesting;
    bool open; /* "..." ended the parameters */
    lb_status status;
    lb_error *error;
} parser;

static const type *parse_type(parser *p);

/* ---- Failures --------------------------------------------------------------------------------------- */

static line begin_message(const parser *p, char *memory, size_t size)
{
    line l = line_of(memory, size);

    if (p->api_name && *p->api_name)
        line_str(&l, p->api_name);
    if (p->name.size) {
        if (l.at > l.start)
            line_str(&l, ".");
        line_add(&l, p->name);
    }
    if (l.at > l.start)
        line_str(&l, ": ");
    return l;
}

static void end_message(parser *p, line *l, const char *place)
{
    line_str(l, " at column ");
    line_int(l, place - p->text + 1);
}

static void give_up(parser *p, const line *l)
{
    p->status = lb_error_set(p->error, LB_INVALID_SIGNATURE, "%s", l->start);
}

/* "expected `what` after "..." at column N", at the parser's place. */
static void *expected(parser *p, const char *what)
{
    char memory[400];
    line l = begin_message(p, memory, sizeof memory);

    line_str(&l, "expected ");
    line_str(&l, what);
    if (p->before) {
        line_str(&l, " after \"");
        line_add(&l, (lb_slice){p->before, (size_t)(p->before_end - p->before)});
        line_str(&l, "\"");
    }
    end_message(p, &l, p->at);
    give_up(p, &l);
    return NULL;
}

/* "`what` "word" at column N". */
static void *wrong(parser *p, const char *what, lb_slice word, const char *place)
{
    char memory[400];
    line l = begin_message(p, memory, sizeof memory);

    line_str(&l, what);
    if (word.size) {
        line_str(&l, " ");
        line_quoted(&l, word);
    }
    end_message(p, &l, place);
    give_up(p, &l);
    return NULL;
}

static void *no_memory(parser *p)
{
    p->status = lb_error_set(p->error, LB_NO_MEMORY, "out of memory while parsing a signature");
    return NULL;
}

static void *allocate(parser *p, size_t size)
{
    void *memory = arena_alloc(p->memory, size);
    return memory ? memory : no_memory(p);
}

/* An array with room for one more item: it moves whenever its size is a power of two. */
static void *room(parser *p, const void *items, size_t count, size_t size)
{
    if (count == MOST_ITEMS)
        return wrong(p, "more than 1000 items", (lb_slice){0}, p->at);
    if (count & (count - 1))
        return (void *)(uintptr_t)items;
    void *larger = allocate(p, (count ? count * 2 : 1) * size);
    if (larger && count)
        memcpy(larger, items, count * size);
    return larger;
}

/* ---- Tokens ----------------------------------------------------------------------------------------- */

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static char peek(parser *p)
{
    while (is_space(*p->at))
        p->at++;
    return *p->at;
}

static bool take(parser *p, const char *token)
{
    size_t size = strlen(token);

    if (peek(p) == '\0' || strncmp(p->at, token, size) != 0)
        return false;
    p->before = p->at;
    p->before_end = p->at += size;
    return true;
}

static lb_slice take_word(parser *p)
{
    lb_slice word = {NULL, 0};

    if (!is_letter(peek(p)))
        return word;
    word.data = p->before = p->at;
    while (is_letter(*p->at) || is_digit(*p->at))
        p->at++;
    p->before_end = p->at;
    word.size = (size_t)(p->at - word.data);
    return word;
}

/* ---- JSON literals ---------------------------------------------------------------------------------- */

static const char *skip_string(const char *at)
{
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at++;
    return *at ? at + 1 : at;
}

/* Where the literal that starts here ends; whether it is JSON is found out by parsing it. */
static const char *literal_end(const char *at)
{
    int nesting = 0;

    if (*at != '[' && *at != '{' && *at != '"') {
        while (is_letter(*at) || is_digit(*at) || (*at && strchr("+-.", *at)))
            at++;
        return at;
    }
    do {
        if (*at == '"') {
            at = skip_string(at);
            continue;
        }
        if (*at == '[' || *at == '{')
            nesting++;
        else if (*at == ']' || *at == '}')
            nesting--;
        at++;
    } while (*at && nesting > 0);
    return at;
}

static const lb_value *parse_literal(parser *p)
{
    const lb_value *value = NULL;

    peek(p);
    const char *end = literal_end(p->at);
    if (end == p->at || json_parse(p->memory, p->at, (size_t)(end - p->at), &value, NULL) != LB_OK ||
        !json_is_finite(value))
        return expected(p, "a JSON value");
    p->before = p->at;
    p->before_end = p->at = end;
    return value;
}

/* ---- Types ------------------------------------------------------------------------------------------ */

static const type *new_type(parser *p, type_kind kind, size_t count, const void *content)
{
    type *t = allocate(p, sizeof *t);

    if (t)
        *t = (type){.kind = kind, .count = count, .items = content};
    return t;
}

static const type *new_optional(parser *p, const type *t)
{
    const type **items;

    if (t->kind == TYPE_NULL || t->kind == TYPE_OPTIONAL)
        return t;
    items = allocate(p, sizeof *items);
    if (!items)
        return NULL;
    items[0] = t;
    return new_type(p, TYPE_OPTIONAL, 1, items);
}

static bool union_add(parser *p, const type ***items, size_t *count, const type *t)
{
    for (size_t i = 0; i < *count; i++)
        if (type_equal((*items)[i], t))
            return true;
    *items = room(p, *items, *count, sizeof **items);
    if (!*items)
        return false;
    (*items)[(*count)++] = t;
    return true;
}

/* The same with an optional taken apart. */
static bool union_add_flat(parser *p, const type ***items, size_t *count, const type *t)
{
    if (t->kind != TYPE_OPTIONAL)
        return union_add(p, items, count, t);
    return union_add(p, items, count, t->items[0]) && union_add(p, items, count, type_simple(TYPE_NULL));
}

static const type *union_of(parser *p, const type **items, size_t count)
{
    if (count == 1)
        return items[0];
    if (count == 2 && items[1]->kind == TYPE_NULL)
        return new_optional(p, items[0]);
    return new_type(p, TYPE_UNION, count, items);
}

/* The type that takes null besides. */
static const type *with_null(parser *p, const type *t)
{
    const type **items = NULL;
    size_t count = 0;

    if (type_takes_null(t))
        return t;
    if (t->kind != TYPE_UNION)
        return new_optional(p, t);
    for (size_t i = 0; i < t->count; i++)
        if (!union_add(p, &items, &count, t->items[i]))
            return NULL;
    return union_add(p, &items, &count, type_simple(TYPE_NULL)) ? union_of(p, items, count) : NULL;
}

static const type *one_item(parser *p, type_kind kind, const type *item)
{
    const type **items = item ? allocate(p, sizeof *items) : NULL;

    if (!items)
        return NULL;
    items[0] = item;
    return new_type(p, kind, 1, items);
}

static const type *parse_list(parser *p)
{
    const type *item;

    if (!take(p, "["))
        return type_simple(TYPE_LIST);
    if (!(item = parse_type(p)))
        return NULL;
    return take(p, "]") ? one_item(p, TYPE_LIST, item) : expected(p, "\"]\"");
}

static const type *parse_dict(parser *p)
{
    const type *item;

    if (!take(p, "["))
        return type_simple(TYPE_DICT);
    peek(p);
    const char *place = p->at, *before = p->before, *before_end = p->before_end;
    if (!slice_is(take_word(p), "str")) {
        p->at = place;
        p->before = before;
        p->before_end = before_end;
        return expected(p, "\"str\" (keys are strings)");
    }
    if (!take(p, ","))
        return expected(p, "\",\"");
    if (!(item = parse_type(p)))
        return NULL;
    return take(p, "]") ? one_item(p, TYPE_DICT, item) : expected(p, "\"]\"");
}

static const type *parse_tuple(parser *p)
{
    const type **items = NULL;
    size_t count = 0;

    if (!take(p, "["))
        return type_simple(TYPE_TUPLE);
    do {
        const type *item = parse_type(p);
        if (!item || !(items = room(p, items, count, sizeof *items)))
            return NULL;
        items[count++] = item;
    } while (take(p, ","));
    return take(p, "]") ? new_type(p, TYPE_TUPLE, count, items) : expected(p, "\",\" or \"]\"");
}

static const lb_value *parse_enum_value(parser *p, const lb_value **values, size_t count)
{
    peek(p);
    const char *place = p->at;
    const lb_value *value = parse_literal(p);

    if (!value)
        return NULL;
    lb_slice word = {place, (size_t)(p->at - place)};
    if (lb_value_type_of(value) == LB_TYPE_LIST || lb_value_type_of(value) == LB_TYPE_DICT)
        return wrong(p, "an enum holds strings and numbers, not", word, place);
    for (size_t i = 0; i < count; i++)
        if (lb_value_equal(values[i], value))
            return wrong(p, "the enum holds one value twice:", word, place);
    return value;
}

static const type *parse_enum(parser *p)
{
    const lb_value **values = NULL;
    size_t count = 0;

    if (!take(p, "("))
        return expected(p, "\"(\"");
    do {
        const lb_value *value = parse_enum_value(p, values, count);
        if (!value || !(values = room(p, values, count, sizeof *values)))
            return NULL;
        values[count++] = value;
    } while (take(p, ","));
    return take(p, ")") ? new_type(p, TYPE_ENUM, count, values) : expected(p, "\",\" or \")\"");
}

static const type *unknown_type(parser *p, lb_slice word)
{
    char memory[400];
    line l = begin_message(p, memory, sizeof memory);
    lb_slice nearest = type_suggest(word);

    line_str(&l, "unknown type ");
    line_quoted(&l, word);
    end_message(p, &l, word.data);
    if (nearest.size) {
        line_str(&l, "; did you mean ");
        line_quoted(&l, nearest);
        line_str(&l, "?");
    }
    give_up(p, &l);
    return NULL;
}

static const type *parse_struct(parser *p, const char *title);

static const type *parse_named(parser *p, lb_slice word)
{
    type_kind kind;

    if (!type_kind_of(word, &kind)) {
        if (!take(p, "{"))
            return unknown_type(p, word);
        const char *title = arena_copy(p->memory, word.data, word.size);
        return title ? parse_struct(p, title) : no_memory(p);
    }
    switch (kind) {
    case TYPE_LIST:
        return parse_list(p);
    case TYPE_TUPLE:
        return parse_tuple(p);
    case TYPE_DICT:
        return parse_dict(p);
    case TYPE_ENUM:
        return parse_enum(p);
    default:
        return type_simple(kind);
    }
}

static const parameter *parse_parameters(parser *p, const char *close, size_t *count);

static const type *parse_struct(parser *p, const char *title)
{
    size_t count = 0;
    const parameter *fields = parse_parameters(p, "}", &count);
    type *t = p->status == LB_OK ? allocate(p, sizeof *t) : NULL;

    if (t)
        *t = (type){.kind = TYPE_STRUCT, .title = title, .count = count, .fields = fields};
    return t;
}

/* A type without unions: a name, a struct, and any number of "?". */
static const type *parse_primary(parser *p)
{
    const type *t;

    if (take(p, "{")) {
        t = parse_struct(p, NULL);
    } else {
        lb_slice word = take_word(p);
        t = word.size ? parse_named(p, word) : expected(p, "a type");
    }
    while (t && take(p, "?"))
        t = new_optional(p, t);
    return t;
}

static const type *parse_union(parser *p)
{
    const type **items = NULL;
    size_t count = 0;

    do {
        const type *t = parse_primary(p);
        if (!t || !union_add_flat(p, &items, &count, t))
            return NULL;
    } while (take(p, "|"));
    return union_of(p, items, count);
}

static const type *parse_type(parser *p)
{
    peek(p);
    if (p->nesting == MOST_NESTING)
        return wrong(p, "types nested deeper than 64 levels", (lb_slice){0}, p->at);
    p->nesting++;
    const type *t = parse_union(p);
    p->nesting--;
    return t;
}

/* ---- Parameters ------------------------------------------------------------------------------------- */

static const type *type_of_default(const lb_value *value)
{
    switch (lb_value_type_of(value)) {
    case LB_TYPE_BOOL:
        return type_simple(TYPE_BOOL);
    case LB_TYPE_INT:
    case LB_TYPE_UINT:
        return type_simple(TYPE_INT);
    case LB_TYPE_FLOAT:
        return type_simple(TYPE_FLOAT);
    case LB_TYPE_STR:
        return type_simple(TYPE_STR);
    case LB_TYPE_LIST:
        return type_simple(TYPE_LIST);
    case LB_TYPE_DICT:
        return type_simple(TYPE_DICT);
    default:
        return type_simple(TYPE_ANY);
    }
}

static bool default_fits(parser *p, const parameter *given, const char *place)
{
    char memory[500];
    violation why;
    lb_status status = type_check(given->type, given->default_value, &why);

    if (status == LB_OK)
        return true;
    if (status == LB_NO_MEMORY)
        return no_memory(p);
    line l = begin_message(p, memory, sizeof memory);
    line_str(&l, "the default of ");
    line_quoted(&l, given->name);
    end_message(p, &l, place);
    line_str(&l, " does not fit: ");
    if (why.path[0]) {
        line_str(&l, why.path);
        line_str(&l, ": ");
    }
    line_str(&l, why.reason);
    give_up(p, &l);
    return false;
}

static bool parse_default(parser *p, parameter *given)
{
    peek(p);
    const char *place = p->at;

    given->default_value = parse_literal(p);
    if (!given->default_value)
        return false;
    if (!given->type)
        given->type = type_of_default(given->default_value);
    else if (lb_value_type_of(given->default_value) == LB_TYPE_NULL)
        given->type = with_null(p, given->type);
    return given->type && default_fits(p, given, place);
}

static bool parse_name(parser *p, lb_slice *name)
{
    lb_slice word = take_word(p);

    if (!word.size)
        return expected(p, "a name");
    name->size = word.size;
    name->data = arena_copy(p->memory, word.data, word.size);
    return name->data || no_memory(p);
}

static bool parse_parameter(parser *p, const parameter *others, size_t count, parameter *result)
{
    parameter parsed = {0};

    if (!parse_name(p, &parsed.name))
        return false;
    const char *place = p->before;
    for (size_t i = 0; i < count; i++)
        if (slice_equal(others[i].name, parsed.name))
            return wrong(p, "there are two of the name", parsed.name, place);
    if (take(p, ":")) {
        p->before = place; /* "username:" says more than ":" */
        if (!(parsed.type = parse_type(p)))
            return false;
    }
    if (take(p, "=") && !parse_default(p, &parsed))
        return false;
    if (!parsed.type)
        parsed.type = type_simple(TYPE_ANY);
    *result = parsed;
    return true;
}

/* Those after the opening bracket, and the closing one. */
static const parameter *parse_parameters(parser *p, const char *close, size_t *count)
{
    parameter *parameters = NULL;

    if (take(p, close))
        return NULL;
    do {
        if (*close == ')' && take(p, "...")) {
            p->open = true;
            break;
        }
        parameter *larger = room(p, parameters, *count, sizeof *parameters);
        if (!larger || !parse_parameter(p, parameters, *count, &larger[*count]))
            return NULL;
        parameters = larger;
        (*count)++;
    } while (take(p, ","));
    if (!take(p, close))
        return expected(p, *close == ')' ? "\",\" or \")\"" : "\",\" or \"}\"");
    return parameters;
}

static void parse_signature(parser *p, signature *s)
{
    if (peek(p) == '_') {
        wrong(p, "a name that does not start with \"_\" is expected", (lb_slice){0}, p->at);
        return;
    }
    if (!parse_name(p, &s->name))
        return;
    p->name = s->name;
    if (!take(p, "(")) {
        expected(p, "\"(\"");
        return;
    }
    s->parameters = parse_parameters(p, ")", &s->count);
    s->open = p->open;
    if (p->status == LB_OK && take(p, "->"))
        s->result = parse_type(p);
    if (p->status == LB_OK && peek(p) != '\0')
        expected(p, s->result ? "the end" : "\"->\" or the end");
}

lb_status signature_parse(const char *api_name, const char *text, signature **result, lb_error *error)
{
    signature *s = calloc(1, sizeof *s);

    *result = NULL;
    if (!s)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while parsing a signature");
    parser p = {.memory = &s->memory, .api_name = api_name, .text = text, .at = text, .error = error};
    parse_signature(&p, s);
    if (p.status == LB_OK)
        *result = s;
    else
        signature_free(s);
    return p.status;
}

void signature_free(signature *s)
{
    if (!s)
        return;
    arena_free(&s->memory);
    free(s);
}
