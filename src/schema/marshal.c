/* Marshalling: C values to JSON texts on the way out, checks and defaults on the way in. A scalar is compared
 * with the set of types that its parameter takes and written at once; a tree is made only for what a set of
 * types does not decide (lists, dicts, enums) and for messages. Invariant: the memory for a scalar's text is
 * taken from the arena at its full size beforehand, so the buffer over it never grows. */
#include <math.h>

#include "../base/json.h"
#include "../base/suggest.h"
#include "cast.h"
#include "line.h"
#include "scalars.h"
#include "schema.h"
#include "type.h"
#include "validator_node.h"

typedef struct subject { /* whose argument or result is at hand */
    lb_slice api_name;
    const member_schema *member; /* may be NULL */
    lb_status status;            /* of a refusal: LB_INVALID_ARGUMENTS or LB_INVALID_RESULT */
    bool validates;
    lb_error *error;
} subject;

/* ---- Messages --------------------------------------------------------------------------------------- */

static line begin_message(const subject *s, char *memory, size_t size)
{
    line l = line_of(memory, size);

    line_add(&l, s->api_name);
    if (s->member) {
        line_str(&l, ".");
        line_add(&l, s->member->name);
    }
    line_str(&l, ": ");
    return l;
}

static void line_signature(line *l, const subject *s, const char *lead)
{
    buffer text = {0};

    if (!s->member)
        return;
    member_print(&text, s->member);
    if (!text.failed) {
        line_str(l, lead);
        line_add(l, (lb_slice){text.data, text.size});
    }
    buffer_free(&text);
}

/* "auth.check_password: password: expected str, got int (3)". */
static lb_status refuse(const subject *s, lb_slice name, const char *path, const char *reason)
{
    char memory[sizeof s->error->message];
    line l = begin_message(s, memory, sizeof memory);

    line_add(&l, name);
    if (name.size && path[0] && path[0] != '[')
        line_str(&l, ".");
    line_str(&l, path);
    if (name.size || path[0])
        line_str(&l, ": ");
    line_str(&l, reason);
    return lb_error_set(s->error, s->status, "%s", memory);
}

static lb_status refuse_missing(const subject *s, lb_slice name)
{
    char memory[sizeof s->error->message];
    line l = begin_message(s, memory, sizeof memory);

    line_str(&l, "missing argument ");
    line_quoted(&l, name);
    line_signature(&l, s, "; the signature is ");
    return lb_error_set(s->error, s->status, "%s", memory);
}

static lb_status refuse_unexpected(const subject *s, lb_slice name)
{
    char memory[sizeof s->error->message];
    line l = begin_message(s, memory, sizeof memory);
    suggestion nearest = suggestion_for(name);
    const validator *v = s->member->parameters;

    for (size_t i = 0; i < v->property_count; i++)
        suggestion_consider(&nearest, v->properties[i].name);
    line_str(&l, "unexpected argument ");
    line_quoted(&l, name);
    if (nearest.best.size) {
        line_str(&l, "; did you mean ");
        line_quoted(&l, nearest.best);
        line_str(&l, "?");
    }
    line_signature(&l, s, nearest.best.size ? " The signature is " : "; the signature is ");
    return lb_error_set(s->error, s->status, "%s", memory);
}

static lb_status refuse_duplicate(const subject *s, lb_slice name)
{
    return refuse(s, name, "", "the argument is there twice");
}

static lb_status refuse_violation(const subject *s, lb_slice name, const violation *why)
{
    if (why->path[0] == '\0' && name.size == 0) {
        if (why->kind == VIOLATION_MISSING)
            return refuse_missing(s, why->name);
        if (why->kind == VIOLATION_UNEXPECTED)
            return refuse_unexpected(s, why->name);
        if (why->kind == VIOLATION_DUPLICATE)
            return refuse_duplicate(s, why->name);
    }
    return refuse(s, name, why->path, why->reason);
}

static lb_status no_memory(const subject *s)
{
    return lb_error_set(s->error, LB_NO_MEMORY, "out of memory while encoding");
}

/* ---- One value -------------------------------------------------------------------------------------- */

static bool is_plain_scalar(const lb_datum *d) { return d->kind < LB_DATUM_VALUE; }

/* Of a scalar. A double counts as a fraction even when it is whole: its JSON form is 3.0. */
static types types_of_datum(const lb_datum *d)
{
    switch (d->kind) {
    case LB_DATUM_BOOL:
        return TYPES_BOOL;
    case LB_DATUM_INT:
    case LB_DATUM_UINT:
        return TYPES_INTEGER;
    case LB_DATUM_FLOAT:
        return TYPES_FRACTION;
    case LB_DATUM_STR:
        return d->as.str ? TYPES_STRING : TYPES_NULL;
    case LB_DATUM_STRN:
        return TYPES_STRING;
    default:
        return TYPES_NULL;
    }
}

/* Before C23 `true` is an int: 0 and 1 are booleans where a boolean is taken and no number is. */
static bool is_hidden_bool(const validator *v, const lb_datum *d)
{
    return v && (v->types & TYPES_BOOL) && !(v->types & TYPES_NUMBER) &&
           (d->kind == LB_DATUM_INT || d->kind == LB_DATUM_UINT) && d->as.u <= 1;
}

/* Whether the schema takes all values of that type. */
static bool takes(const validator *v, types type) { return !v || (v->exact && (v->types & type)); }

static lb_slice datum_text(const lb_datum *d)
{
    return d->kind == LB_DATUM_STR ? slice_of(d->as.str) : d->as.slice;
}

/* Whether a byte in the word is one that JSON escapes, or not ASCII. The highest bit of a byte tells. */
static bool has_special(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    uint64_t quotes = word ^ ones * '"', slashes = word ^ ones * '\\';

    return ((word | (word - ones * 0x20) | (quotes - ones) | (slashes - ones)) & high) != 0;
}

/* Whether the text is its own JSON form, but for the quotes. */
static bool is_plain(lb_slice text)
{
    size_t i = 0;

    for (; i + 8 <= text.size; i += 8) {
        uint64_t word;
        memcpy(&word, text.data + i, sizeof word);
        if (has_special(word))
            return false;
    }
    for (; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            return false;
    }
    return true;
}

/* The most bytes that writing the scalar takes, the room that printing an escape asks for included. */
static size_t most_bytes(const lb_datum *d)
{
    size_t escapes = 0;

    if (types_of_datum(d) != TYPES_STRING)
        return 40;
    lb_slice text = datum_text(d);
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        escapes += (size_t)((c < 0x20) | (c == '"') | (c == '\\'));
    }
    return text.size + 5 * escapes + 16;
}

/* Appends the JSON text of a scalar. False: a string that is not UTF-8. */
static bool write_scalar(buffer *out, const lb_datum *d)
{
    switch (d->kind) {
    case LB_DATUM_BOOL:
        buffer_str(out, d->as.boolean ? "true" : "false");
        return true;
    case LB_DATUM_INT:
        buffer_int(out, d->as.i);
        return true;
    case LB_DATUM_UINT:
        buffer_uint(out, d->as.u);
        return true;
    case LB_DATUM_FLOAT:
        json_write_float(out, d->as.f);
        return true;
    default:
        if (types_of_datum(d) == TYPES_STRING) {
            lb_slice text = datum_text(d);
            return buffer_json_string(out, text.data, text.size);
        }
        buffer_literal(out, "null");
        return true;
    }
}

/* Checks what has been written from `start` on, as a tree. `mismatch`: the types have been found not to fit. */
static lb_status check_text(const subject *s, lb_slice name, const validator *v, const buffer *out,
                            size_t start, bool mismatch)
{
    arena memory = {0};
    const lb_value *value = NULL;
    violation why;
    lb_status status;

    if (out->failed)
        return no_memory(s);
    status = json_parse(&memory, out->data + start, out->size - start, &value, s->error);
    if (status == LB_OK && mismatch) {
        validator_refuse(v, value, &why);
        status = refuse_violation(s, name, &why);
    } else if (status == LB_OK && !validator_check(v, value, &why)) {
        status = refuse(s, name, why.path, why.reason);
    }
    arena_free(&memory);
    return status;
}

static lb_status encode_scalar(const subject *s, lb_slice name, const validator *v, const lb_datum *given,
                               buffer *out)
{
    size_t start = out->size;
    const lb_datum *d = given;
    lb_datum boolean;

    if (is_hidden_bool(v, given)) {
        boolean = lb_datum_bool(given->as.u != 0);
        d = &boolean;
    }
    if (d->kind == LB_DATUM_FLOAT && !isfinite(d->as.f))
        return refuse(s, name, "", "expected a finite number: JSON has neither NaN nor infinities");
    if (!write_scalar(out, d))
        return refuse(s, name, "", "the string is not UTF-8");
    if (!s->validates || takes(v, types_of_datum(d)))
        return out->failed ? no_memory(s) : LB_OK;
    return check_text(s, name, v, out, start, !(v->types & types_of_datum(d)));
}

static lb_status encode_value(const subject *s, lb_slice name, const validator *v, const lb_value *value,
                              buffer *out)
{
    violation why;

    if (!json_is_finite(value))
        return refuse(s, name, "", "holds NaN or an infinity, which JSON has not");
    if (s->validates && !validator_check(v, value, &why))
        return refuse(s, name, why.path, why.reason);
    json_write(out, value);
    return out->failed ? no_memory(s) : LB_OK;
}

static lb_status encode_json(const subject *s, lb_slice name, const validator *v, const char *json, buffer *out)
{
    arena memory = {0};
    const lb_value *value = NULL;
    lb_error reason = {0};
    lb_status status = LB_OK;

    if (json)
        status = json_parse(&memory, json, strlen(json), &value, &reason);
    if (status == LB_OK)
        status = encode_value(s, name, v, value, out);
    else
        status = status == LB_NO_MEMORY ? no_memory(s) : refuse(s, name, "", reason.message);
    arena_free(&memory);
    return status;
}

static lb_status encode(const subject *s, lb_slice name, const validator *v, const lb_datum *d, buffer *out);

/* One of the values of types.h goes on as its text. */
static lb_status encode_typed(const subject *s, lb_slice name, const validator *v, const lb_datum *d,
                              buffer *out)
{
    buffer text = {0};
    const char *problem = scalar_write(&text, d);
    lb_datum str = lb_datum_strn(text.data ? text.data : "", text.size);
    lb_status status = text.failed ? no_memory(s)
                       : problem   ? refuse(s, name, "", problem)
                                   : encode(s, name, v, &str, out);

    buffer_free(&text);
    return status;
}

static lb_status encode(const subject *s, lb_slice name, const validator *v, const lb_datum *d, buffer *out)
{
    if (datum_is_scalar(d))
        return encode_typed(s, name, v, d, out);
    if (d->kind == LB_DATUM_VALUE)
        return encode_value(s, name, v, d->as.value, out);
    if (d->kind == LB_DATUM_JSON)
        return encode_json(s, name, v, d->as.str, out);
    return encode_scalar(s, name, v, d, out);
}

/* ---- Arguments, outbound ---------------------------------------------------------------------------- */

/* Most arguments: a string that needs nothing but quotes, for a parameter that takes any string. */
static bool encode_plain_string(const validator *v, const lb_datum *d, arena *memory, lb_kwarg *kwarg)
{
    if (types_of_datum(d) != TYPES_STRING || !takes(v, TYPES_STRING))
        return false;
    lb_slice text = datum_text(d);
    char *json = is_plain(text) ? arena_alloc(memory, text.size + 2) : NULL;
    if (!json)
        return false;
    json[0] = '"';
    if (text.size)
        memcpy(json + 1, text.data, text.size);
    json[text.size + 1] = '"';
    kwarg->json = (lb_slice){json, text.size + 2};
    return true;
}

static lb_status encode_argument(const subject *s, const validator *v, const lb_datum *d, arena *memory,
                                 lb_kwarg *kwarg)
{
    buffer out = {0};
    lb_status status;

    if (encode_plain_string(v, d, memory, kwarg))
        return LB_OK;
    if (is_plain_scalar(d)) {
        out.capacity = most_bytes(d);
        out.data = arena_alloc(memory, out.capacity);
        if (!out.data)
            return no_memory(s);
        status = encode_scalar(s, kwarg->name, v, d, &out);
        kwarg->json = (lb_slice){out.data, out.size};
        return status;
    }
    status = encode(s, kwarg->name, v, d, &out);
    if (status == LB_OK) {
        kwarg->json = (lb_slice){arena_copy(memory, out.data, out.size), out.size};
        status = kwarg->json.data ? LB_OK : no_memory(s);
    }
    buffer_free(&out);
    return status;
}

static bool is_repeated(const lb_kwarg *kwargs, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (slice_equal(kwargs[i].name, kwargs[index].name))
            return true;
    return false;
}

/* Finds the name and the schema of an argument, and refuses those that should not be there. */
static lb_status argument_schema(const subject *s, const validator *v, property_set *seen, const char *text,
                                 arena *memory, lb_kwarg *kwargs, size_t index, const validator **schema)
{
    lb_slice name = slice_of(text);
    const property *p = v ? validator_property(v, name) : NULL;

    *schema = p ? p->schema : v ? v->additional : NULL;
    kwargs[index] = (lb_kwarg){.name = p ? p->name : name};
    if (p)
        return property_set_add(seen, (size_t)(p - v->properties)) ? LB_OK : refuse_duplicate(s, name);
    kwargs[index].name.data = arena_copy(memory, name.data, name.size);
    if (!kwargs[index].name.data)
        return no_memory(s);
    if (v && v->closed && s->validates)
        return refuse_unexpected(s, name);
    return is_repeated(kwargs, index) ? refuse_duplicate(s, name) : LB_OK;
}

static lb_status check_required(const subject *s, const validator *v, const property_set *seen)
{
    for (size_t i = 0; v && i < v->property_count; i++)
        if (v->properties[i].required && !property_set_has(seen, i))
            return refuse_missing(s, v->properties[i].name);
    return LB_OK;
}

/* Schemas of other origin may say more of the arguments as a whole than which there are. */
static lb_status check_whole(const subject *s, const validator *v, lb_kwarg *kwargs, size_t count,
                             arena *memory)
{
    violation why;

    if (!v || !v->whole)
        return LB_OK;
    for (size_t i = 0; i < count; i++) {
        lb_status status =
            json_parse(memory, kwargs[i].json.data, kwargs[i].json.size, &kwargs[i].value, s->error);
        if (status != LB_OK)
            return status;
    }
    return validator_check_kwargs(v, kwargs, count, &why) ? LB_OK
                                                          : refuse_violation(s, (lb_slice){NULL, 0}, &why);
}

/* What the receiver will not be able to read as its type is refused here already. */
static lb_status check_cast(const subject *s, lb_slice name, const type *t, lb_slice json)
{
    arena memory = {0};
    const lb_value *value = NULL;
    violation why;
    lb_status status = json_parse(&memory, json.data, json.size, &value, s->error);

    if (status == LB_OK && !type_fits(t, value, &why))
        status = refuse(s, name, why.path, why.reason);
    arena_free(&memory);
    return status;
}

/* Most arguments are given in the order of the parameters: `likely` is tried first. */
static const parameter *find_parameter(const signature *declared, lb_slice name, size_t likely)
{
    if (likely < declared->count && slice_equal(declared->parameters[likely].name, name))
        return &declared->parameters[likely];
    for (size_t i = 0; i < declared->count; i++)
        if (slice_equal(declared->parameters[i].name, name))
            return &declared->parameters[i];
    return NULL;
}

static lb_status check_casts(const subject *s, const lb_arg *args, const lb_kwarg *kwargs, size_t count)
{
    lb_status status = LB_OK;

    for (size_t i = 0; status == LB_OK && i < count; i++) {
        const parameter *p = find_parameter(s->member->declared, kwargs[i].name, i);
        bool is_int = args[i].value.kind == LB_DATUM_INT || args[i].value.kind == LB_DATUM_UINT;
        if (p && type_casts(p->type) && !(is_int && p->type->kind == TYPE_INT))
            status = check_cast(s, kwargs[i].name, p->type, kwargs[i].json);
    }
    return status;
}

lb_status arguments_encode(lb_slice api_name, const member_schema *member, unsigned how, const lb_arg *args,
                           arena *memory, lb_kwarg **kwargs, size_t *count, lb_error *error)
{
    const subject s = {api_name, member, LB_INVALID_ARGUMENTS, how & MARSHAL_VALIDATE, error};
    const validator *v = member ? member->parameters : NULL;
    property_set seen;
    size_t size = 0;
    lb_status status = LB_OK;

    while (args && args[size].name)
        size++;
    lb_kwarg *list = arena_alloc(memory, (size ? size : 1) * sizeof *list);
    if (!list)
        return no_memory(&s);
    if (v)
        property_set_clear(&seen, v);
    for (size_t i = 0; status == LB_OK && i < size; i++) {
        const validator *schema;
        status = argument_schema(&s, v, &seen, args[i].name, memory, list, i, &schema);
        if (status == LB_OK)
            status = encode_argument(&s, schema, &args[i].value, memory, &list[i]);
    }
    if (status == LB_OK && s.validates)
        status = check_required(&s, v, &seen);
    if (status == LB_OK && s.validates)
        status = check_whole(&s, v, list, size, memory);
    if (status == LB_OK && s.validates && member && member->casts)
        status = check_casts(&s, args, list, size);
    *kwargs = list;
    *count = size;
    return status;
}

/* ---- Results, and inbound --------------------------------------------------------------------------- */

lb_status result_encode(lb_slice api_name, const member_schema *member, unsigned how, const lb_datum *value,
                        buffer *out, lb_error *error)
{
    const subject s = {api_name, member, LB_INVALID_RESULT, how & MARSHAL_VALIDATE, error};
    const lb_slice name = slice_of("result");
    size_t before = out->size;
    lb_status status = encode(&s, name, member ? member->response : NULL, value, out);
    bool is_int = value->kind == LB_DATUM_INT || value->kind == LB_DATUM_UINT;

    if (status == LB_OK && s.validates && member && member->casts_result && !is_int)
        status =
            check_cast(&s, name, member->declared->result, (lb_slice){out->data + before, out->size - before});

    if (status != LB_OK)
        out->size = before;
    return status;
}

static bool is_filled(const property *p) { return p->default_value && !p->required; }

/* The arguments and, after them, the defaults of those that are absent. A schema may say something of the
 * arguments as a whole that these break: then they stay absent, so that what a handler gets is always valid. */
static lb_status fill_defaults(const subject *s, arena *memory, const lb_kwarg **kwargs, size_t *count)
{
    const validator *v = s->member->parameters;
    property_set seen;
    size_t size = *count;
    violation why;

    property_set_clear(&seen, v);
    for (size_t i = 0; i < size; i++) {
        const property *p = validator_property(v, (*kwargs)[i].name);
        if (p)
            property_set_add(&seen, (size_t)(p - v->properties));
    }
    lb_kwarg *filled = arena_alloc(memory, (size + v->property_count) * sizeof *filled);
    if (!filled)
        return no_memory(s);
    if (size)
        memcpy(filled, *kwargs, size * sizeof *filled);
    for (size_t i = 0; i < v->property_count; i++)
        if (is_filled(&v->properties[i]) && !property_set_has(&seen, i))
            filled[size++] = (lb_kwarg){.name = v->properties[i].name, .value = v->properties[i].default_value};
    if (s->validates && v->whole && !validator_check_kwargs(v, filled, size, &why))
        return LB_OK;
    *kwargs = filled;
    *count = size;
    return LB_OK;
}

/* A copy of the arguments is made when one of them is replaced. */
static lb_status cast_arguments(const subject *s, arena *memory, const lb_kwarg **kwargs, size_t count)
{
    lb_kwarg *copy = NULL;
    violation why;

    for (size_t i = 0; i < count; i++) {
        const lb_kwarg *kwarg = &(*kwargs)[i];
        const parameter *p = find_parameter(s->member->declared, kwarg->name, i);
        if (!p || !type_casts(p->type))
            continue;
        if (!type_fits(p->type, kwarg->value, &why))
            return refuse(s, kwarg->name, why.path, why.reason);
        const lb_value *filled = type_fill(p->type, kwarg->value, memory);
        if (!filled || (filled != kwarg->value && !copy && !(copy = arena_alloc(memory, count * sizeof *copy))))
            return no_memory(s);
        if (filled == kwarg->value)
            continue;
        if (*kwargs != copy)
            memcpy(copy, *kwargs, count * sizeof *copy);
        copy[i].value = filled;
        *kwargs = copy;
    }
    return LB_OK;
}

lb_status arguments_accept(lb_slice api_name, const member_schema *member, unsigned how, arena *memory,
                           const lb_kwarg **kwargs, size_t *count, lb_error *error)
{
    const subject s = {api_name, member, LB_INVALID_ARGUMENTS, how & MARSHAL_VALIDATE, error};
    const validator *v = member ? member->parameters : NULL;
    lb_status status = LB_OK;
    violation why;

    if (s.validates && !validator_check_kwargs(v, *kwargs, *count, &why))
        return refuse_violation(&s, (lb_slice){NULL, 0}, &why);
    if (v && v->defaults)
        status = fill_defaults(&s, memory, kwargs, count);
    if (status == LB_OK && how & MARSHAL_CAST && member && member->casts)
        status = cast_arguments(&s, memory, kwargs, *count);
    return status;
}

lb_status result_accept(lb_slice api_name, const member_schema *member, const lb_value *result, lb_error *error)
{
    const subject s = {api_name, member, LB_INVALID_RESULT, true, error};
    violation why;

    if (!member || validator_check(member->response, result, &why))
        return LB_OK;
    return refuse(&s, slice_of("result"), why.path, why.reason);
}
