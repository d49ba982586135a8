/* Types of signatures: names, questions, and printing. One table names the words of the grammar. */
#include "type.h"

#include <math.h>
#include <strings.h>

#include "../base/json.h"
#include "../base/suggest.h"
#include "cast.h"
#include "json_schema.h"

static const char *const words[] = {
    [TYPE_ANY] = "any",     [TYPE_NULL] = "null",   [TYPE_BOOL] = "bool",   [TYPE_INT] = "int",
    [TYPE_FLOAT] = "float", [TYPE_STR] = "str",     [TYPE_BYTES] = "bytes", [TYPE_DATETIME] = "datetime",
    [TYPE_DATE] = "date",   [TYPE_TIME] = "time",   [TYPE_UUID] = "uuid",   [TYPE_DECIMAL] = "decimal",
    [TYPE_LIST] = "list",   [TYPE_TUPLE] = "tuple", [TYPE_DICT] = "dict",   [TYPE_UNION] = NULL,
    [TYPE_OPTIONAL] = NULL, [TYPE_ENUM] = "enum",
};
#define WORDS (sizeof words / sizeof *words)

/* What people write who come from elsewhere. */
static const char *const foreign[][2] = {
    {"string", "str"},   {"text", "str"},     {"integer", "int"},  {"long", "int"},
    {"number", "float"}, {"double", "float"}, {"boolean", "bool"}, {"object", "dict"},
    {"map", "dict"},     {"array", "list"},   {"none", "null"},    {"set", "list"},
};

const type *type_simple(type_kind kind)
{
    static const type simple[] = {
        [TYPE_ANY] = {.kind = TYPE_ANY},         [TYPE_NULL] = {.kind = TYPE_NULL},
        [TYPE_BOOL] = {.kind = TYPE_BOOL},       [TYPE_INT] = {.kind = TYPE_INT},
        [TYPE_FLOAT] = {.kind = TYPE_FLOAT},     [TYPE_STR] = {.kind = TYPE_STR},
        [TYPE_BYTES] = {.kind = TYPE_BYTES},     [TYPE_DATETIME] = {.kind = TYPE_DATETIME},
        [TYPE_DATE] = {.kind = TYPE_DATE},       [TYPE_TIME] = {.kind = TYPE_TIME},
        [TYPE_DECIMAL] = {.kind = TYPE_DECIMAL}, [TYPE_UUID] = {.kind = TYPE_UUID},
        [TYPE_LIST] = {.kind = TYPE_LIST},       [TYPE_TUPLE] = {.kind = TYPE_TUPLE},
        [TYPE_DICT] = {.kind = TYPE_DICT},
    };
    return &simple[kind];
}

bool type_kind_of(lb_slice word, type_kind *kind)
{
    for (size_t i = 0; i < WORDS; i++)
        if (words[i] && slice_is(word, words[i])) {
            *kind = (type_kind)i;
            return true;
        }
    return false;
}

lb_slice type_suggest(lb_slice word)
{
    suggestion s = suggestion_for(word);

    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (word.size == strlen(foreign[i][0]) && strncasecmp(word.data, foreign[i][0], word.size) == 0)
            return slice_of(foreign[i][1]);
    for (size_t i = 0; i < WORDS; i++)
        if (words[i])
            suggestion_consider(&s, slice_of(words[i]));
    return s.best;
}

bool type_equal(const type *a, const type *b)
{
    buffer left = {0}, right = {0};

    if (a == b || a->kind != b->kind)
        return a == b;
    type_print(&left, a);
    type_print(&right, b);
    bool equal = !left.failed && !right.failed && left.size == right.size &&
                 memcmp(left.data, right.data, left.size) == 0;
    buffer_free(&left);
    buffer_free(&right);
    return equal;
}

bool type_takes_null(const type *t)
{
    switch (t->kind) {
    case TYPE_ANY:
    case TYPE_NULL:
    case TYPE_OPTIONAL:
        return true;
    case TYPE_UNION:
        for (size_t i = 0; i < t->count; i++)
            if (type_takes_null(t->items[i]))
                return true;
        return false;
    case TYPE_ENUM:
        for (size_t i = 0; i < t->count; i++)
            if (lb_value_type_of(t->values[i]) == LB_TYPE_NULL)
                return true;
        return false;
    default:
        return false;
    }
}

lb_status type_check(const type *t, const lb_value *value, violation *why)
{
    arena memory = {0};
    buffer text = {0};
    const lb_value *schema = NULL;
    const validator *compiled = NULL;
    lb_status status = LB_NO_MEMORY;

    json_schema_of_type(&text, t);
    if (text.failed || (status = json_parse(&memory, text.data, text.size, &schema, NULL)) != LB_OK)
        goto out;
    if ((status = validator_compile_as(&memory, schema, FORMATS_IGNORED, &compiled, NULL)) != LB_OK)
        goto out;
    status = validator_check(compiled, value, why) && type_fits(t, value, why) ? LB_OK : LB_INVALID_ARGUMENTS;
out:
    buffer_free(&text);
    arena_free(&memory);
    return status;
}

bool json_is_finite(const lb_value *value)
{
    lb_value_iterator it = lb_value_iterate(value);

    if (lb_value_type_of(value) == LB_TYPE_FLOAT)
        return isfinite(lb_value_float(value));
    while (lb_value_next(&it))
        if (!json_is_finite(it.value))
            return false;
    return true;
}

/* ---- Printing --------------------------------------------------------------------------------------- */

static void print_items(buffer *out, const type *t, const char *separator)
{
    for (size_t i = 0; i < t->count; i++) {
        if (i)
            buffer_str(out, separator);
        type_print(out, t->items[i]);
    }
}

static void print_parameters(buffer *out, const parameter *parameters, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const parameter *p = &parameters[i];
        if (i)
            buffer_literal(out, ", ");
        buffer_add(out, p->name.data, p->name.size);
        buffer_literal(out, ": ");
        type_print(out, p->type);
        if (p->default_value) {
            buffer_literal(out, " = ");
            json_write(out, p->default_value);
        }
    }
}

static void print_enum(buffer *out, const type *t)
{
    buffer_literal(out, "enum(");
    for (size_t i = 0; i < t->count; i++) {
        if (i)
            buffer_literal(out, ", ");
        json_write(out, t->values[i]);
    }
    buffer_char(out, ')');
}

void type_print(buffer *out, const type *t)
{
    switch (t->kind) {
    case TYPE_UNION:
        print_items(out, t, " | ");
        return;
    case TYPE_OPTIONAL:
        print_items(out, t, "");
        buffer_char(out, '?');
        return;
    case TYPE_ENUM:
        print_enum(out, t);
        return;
    case TYPE_STRUCT:
        if (t->title) {
            buffer_str(out, t->title);
            buffer_char(out, ' ');
        }
        buffer_str(out, t->count ? "{ " : "{");
        print_parameters(out, t->fields, t->count);
        buffer_str(out, t->count ? " }" : "}");
        return;
    default:
        buffer_str(out, words[t->kind]);
    }
    if (t->count) {
        buffer_str(out, t->kind == TYPE_DICT ? "[str, " : "[");
        print_items(out, t, ", ");
        buffer_char(out, ']');
    }
}

void signature_print(buffer *out, const signature *s)
{
    buffer_add(out, s->name.data, s->name.size);
    buffer_char(out, '(');
    print_parameters(out, s->parameters, s->count);
    if (s->open)
        buffer_str(out, s->count ? ", ..." : "...");
    buffer_char(out, ')');
    if (s->result) {
        buffer_literal(out, " -> ");
        type_print(out, s->result);
    }
}
