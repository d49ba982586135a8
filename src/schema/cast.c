/* Casting by the types of signatures. A type nests at most 64 levels deep, and the walk goes no deeper than the
 * type, so it is bounded whatever the value is. */
#include "cast.h"

#include <stdio.h>

#include "../base/json.h"
#include "line.h"
#include "scalars.h"

/* The way from the root to a value, kept on the stack of the walk. */
typedef struct place {
    const struct place *parent;
    lb_slice name; /* of a member; no data: an element */
    size_t index;
} place;

/* ---- Questions about types -------------------------------------------------------------------------- */

static bool struct_casts(const type *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->fields[i].default_value || type_casts(t->fields[i].type))
            return true;
    return false;
}

bool type_casts(const type *t)
{
    switch (t->kind) {
    case TYPE_INT:
        return true;
    case TYPE_TUPLE:
        return t->count > 0;
    case TYPE_STRUCT:
        return struct_casts(t);
    case TYPE_LIST:
    case TYPE_DICT:
    case TYPE_UNION:
    case TYPE_OPTIONAL:
        for (size_t i = 0; i < t->count; i++)
            if (type_casts(t->items[i]))
                return true;
        return false;
    default:
        return scalar_has_form(t->kind);
    }
}

/* ---- Checking --------------------------------------------------------------------------------------- */

static void write_path(line *l, const place *at)
{
    if (!at)
        return;
    write_path(l, at->parent);
    if (at->name.data) {
        if (at->parent)
            line_str(l, ".");
        line_add(l, at->name);
    } else {
        line_str(l, "[");
        line_int(l, (int64_t)at->index);
        line_str(l, "]");
    }
}

static bool refuse(violation *why, const place *at, const type *t, const lb_value *value)
{
    buffer name = {0};

    if (!why)
        return false;
    *why = (violation){.kind = VIOLATION_VALUE};
    line path = line_of(why->path, sizeof why->path), reason = line_of(why->reason, sizeof why->reason);
    write_path(&path, at);
    line_str(&reason, "expected ");
    if (scalar_has_form(t->kind)) {
        line_str(&reason, scalar_example(t->kind));
    } else if (t->kind == TYPE_INT && lb_value_type_of(value) == LB_TYPE_FLOAT) {
        line_str(&reason, "an int of 64 bits");
    } else {
        type_print(&name, t);
        line_add(&reason, (lb_slice){name.data, name.size});
    }
    line_str(&reason, ", got ");
    line_value(&reason, value);
    buffer_free(&name);
    return false;
}

static bool is_int(const lb_value *value)
{
    lb_value_type type = lb_value_type_of(value);
    double f = lb_value_float(value);

    if (type == LB_TYPE_FLOAT) /* 1.0 is an integer to JSON schema */
        return f >= -9223372036854775808.0 && f < 18446744073709551616.0 && f == __builtin_trunc(f);
    return type == LB_TYPE_INT || type == LB_TYPE_UINT;
}

static bool is_one_of(const type *t, const lb_value *value)
{
    for (size_t i = 0; i < t->count; i++)
        if (lb_value_equal(t->values[i], value))
            return true;
    return false;
}

static bool fits(const type *t, const lb_value *value, const place *at, violation *why);

static bool elements_fit(const type *t, const lb_value *value, const place *at, violation *why)
{
    lb_value_iterator it = lb_value_iterate(value);

    while (t->count && lb_value_next(&it)) {
        place here = {at, {it.name, it.name_size}, it.index};
        if (!fits(t->items[t->kind == TYPE_TUPLE ? it.index : 0], it.value, &here, why))
            return false;
    }
    return true;
}

static bool fields_fit(const type *t, const lb_value *value, const place *at, violation *why)
{
    for (size_t i = 0; i < t->count; i++) {
        const parameter *field = &t->fields[i];
        const lb_value *member = lb_value_get(value, field->name.data);
        place here = {at, field->name, 0};
        if (!member && !field->default_value)
            return refuse(why, &here, field->type, member);
        if (member && !fits(field->type, member, &here, why))
            return false;
    }
    return true;
}

static bool any_fits(const type *t, const lb_value *value)
{
    for (size_t i = 0; i < t->count; i++)
        if (fits(t->items[i], value, NULL, NULL))
            return true;
    return false;
}

static bool fits(const type *t, const lb_value *value, const place *at, violation *why)
{
    lb_value_type type = lb_value_type_of(value);
    bool ok = true;

    switch (t->kind) {
    case TYPE_ANY:
        return true;
    case TYPE_NULL:
        ok = type == LB_TYPE_NULL;
        break;
    case TYPE_BOOL:
        ok = type == LB_TYPE_BOOL;
        break;
    case TYPE_INT:
        ok = is_int(value);
        break;
    case TYPE_FLOAT:
        ok = type == LB_TYPE_INT || type == LB_TYPE_UINT || type == LB_TYPE_FLOAT;
        break;
    case TYPE_LIST:
    case TYPE_TUPLE:
        ok = type == LB_TYPE_LIST && (t->kind == TYPE_LIST || !t->count || lb_value_count(value) == t->count);
        return ok ? elements_fit(t, value, at, why) : refuse(why, at, t, value);
    case TYPE_DICT:
        return type == LB_TYPE_DICT ? elements_fit(t, value, at, why) : refuse(why, at, t, value);
    case TYPE_STRUCT:
        return type == LB_TYPE_DICT ? fields_fit(t, value, at, why) : refuse(why, at, t, value);
    case TYPE_OPTIONAL:
        return type == LB_TYPE_NULL || fits(t->items[0], value, at, why);
    case TYPE_UNION:
        ok = any_fits(t, value);
        break;
    case TYPE_ENUM:
        ok = is_one_of(t, value);
        break;
    default:
        ok = type == LB_TYPE_STR && scalar_reads(t->kind, json_slice(value));
    }
    return ok || refuse(why, at, t, value);
}

bool type_fits(const type *t, const lb_value *value, violation *why) { return fits(t, value, NULL, why); }

/* ---- Defaults --------------------------------------------------------------------------------------- */

/* The branch that counts for the value: of a union the first one that fits. */
static const type *branch_of(const type *t, const lb_value *value)
{
    for (size_t i = 0; t->kind == TYPE_UNION && i < t->count; i++)
        if (fits(t->items[i], value, NULL, NULL))
            return t->items[i];
    if (t->kind == TYPE_OPTIONAL)
        return lb_value_type_of(value) == LB_TYPE_NULL ? NULL : t->items[0];
    return t;
}

static bool lacks_defaults(const type *t, const lb_value *value)
{
    lb_value_iterator it = lb_value_iterate(value);
    const type *branch = type_casts(t) ? branch_of(t, value) : NULL;

    if (!branch)
        return false;
    if (branch != t)
        return lacks_defaults(branch, value);
    if (t->kind == TYPE_STRUCT) {
        for (size_t i = 0; i < t->count; i++) {
            const lb_value *member = lb_value_get(value, t->fields[i].name.data);
            if (member ? lacks_defaults(t->fields[i].type, member) : t->fields[i].default_value != NULL)
                return true;
        }
        return false;
    }
    while ((t->kind == TYPE_LIST || t->kind == TYPE_DICT || t->kind == TYPE_TUPLE) && t->count &&
           lb_value_next(&it))
        if (lacks_defaults(t->items[t->kind == TYPE_TUPLE ? it.index : 0], it.value))
            return true;
    return false;
}

static const parameter *field_of(const type *t, lb_slice name)
{
    for (size_t i = 0; i < t->count; i++)
        if (slice_equal(t->fields[i].name, name))
            return &t->fields[i];
    return NULL;
}

static void write_filled(buffer *out, const type *t, const lb_value *value);

static void write_name(buffer *out, lb_slice name)
{
    if (out->size && out->data[out->size - 1] != '{')
        buffer_char(out, ',');
    buffer_json_string(out, name.data, name.size);
    buffer_char(out, ':');
}

static void write_struct(buffer *out, const type *t, const lb_value *value)
{
    lb_value_iterator it = lb_value_iterate(value);

    buffer_char(out, '{');
    while (lb_value_next(&it)) {
        lb_slice name = {it.name, it.name_size};
        const parameter *field = field_of(t, name);
        write_name(out, name);
        write_filled(out, field ? field->type : NULL, it.value);
    }
    for (size_t i = 0; i < t->count; i++) {
        const parameter *field = &t->fields[i];
        if (!field->default_value || lb_value_get(value, field->name.data))
            continue;
        write_name(out, field->name);
        json_write(out, field->default_value);
    }
    buffer_char(out, '}');
}

static void write_elements(buffer *out, const type *t, const lb_value *value)
{
    lb_value_iterator it = lb_value_iterate(value);

    buffer_char(out, t->kind == TYPE_DICT ? '{' : '[');
    while (lb_value_next(&it)) {
        if (t->kind == TYPE_DICT)
            write_name(out, (lb_slice){it.name, it.name_size});
        else if (it.index)
            buffer_char(out, ',');
        write_filled(out, t->items[t->kind == TYPE_TUPLE ? it.index : 0], it.value);
    }
    buffer_char(out, t->kind == TYPE_DICT ? '}' : ']');
}

static void write_filled(buffer *out, const type *t, const lb_value *value)
{
    const type *branch = t && type_casts(t) ? branch_of(t, value) : NULL;

    if (branch && branch != t)
        write_filled(out, branch, value);
    else if (branch && t->kind == TYPE_STRUCT)
        write_struct(out, t, value);
    else if (branch && t->count && (t->kind == TYPE_LIST || t->kind == TYPE_DICT || t->kind == TYPE_TUPLE))
        write_elements(out, t, value);
    else
        json_write(out, value);
}

const lb_value *type_fill(const type *t, const lb_value *value, arena *memory)
{
    const lb_value *filled = NULL;
    buffer text = {0};

    if (!lacks_defaults(t, value))
        return value;
    write_filled(&text, t, value);
    if (text.failed || json_parse(memory, text.data, text.size, &filled, NULL) != LB_OK)
        filled = NULL;
    buffer_free(&text);
    return filled;
}
