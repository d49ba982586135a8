/* lb_value over yyjson. A borrowed lb_value is a yyjson_val. An owned one begins with a cell of the same shape
 * whose tag is 0 (which no parsed value has) and whose payload is the root: `look` tells them apart, so one
 * pointer type serves both and only lb_value_free needs to know. */
#include "json.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#define MOST_NESTING 512

/* Python writes NaN and Infinity as bare words, and lone surrogates as escapes. */
static const yyjson_read_flag read_flags = YYJSON_READ_ALLOW_INF_AND_NAN;
static const yyjson_write_flag write_flags = YYJSON_WRITE_ALLOW_INF_AND_NAN;

struct owned {
    yyjson_val cell;
    yyjson_doc *doc; /* that the root lies in; NULL: it follows in the same block */
};

static yyjson_val *look(const lb_value *value)
{
    yyjson_val *v = (yyjson_val *)(uintptr_t)value;
    return v && v->tag == 0 ? v->uni.ptr : v;
}

static lb_value *own(yyjson_doc *doc)
{
    struct owned *o = malloc(sizeof *o);
    if (!o) {
        yyjson_doc_free(doc);
        return NULL;
    }
    *o = (struct owned){.cell.uni.ptr = yyjson_doc_get_root(doc), .doc = doc};
    return (lb_value *)o;
}

/* ---- Parsing ---------------------------------------------------------------------------------------- */

/* yyjson itself does not recurse, but those who walk the tree may. A text too short to nest that deep is not
 * looked at. */
static bool nests_too_deep(const char *text, size_t size)
{
    if (size < MOST_NESTING)
        return false;
    int depth = 0;
    for (const char *at = text, *end = text + size; at < end; at++) {
        if (*at == '[' || *at == '{') {
            if (++depth > MOST_NESTING)
                return true;
        } else if (*at == ']' || *at == '}') {
            depth--;
        } else if (*at == '"') {
            for (at++; at < end && *at != '"'; at++)
                if (*at == '\\')
                    at++;
        }
    }
    return false;
}

static lb_status parse_error(lb_error *error, const yyjson_read_err *e)
{
    if (e->code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while parsing JSON");
    return lb_error_set(error, LB_MALFORMED, "not JSON: %s at byte %zu", e->msg, e->pos);
}

static lb_status parse(char *text, size_t size, yyjson_read_flag flags, const yyjson_alc *alc, yyjson_doc **doc,
                       lb_error *error)
{
    yyjson_read_err e = {0};
    if (size == 0)
        return lb_error_set(error, LB_MALFORMED, "not JSON: it is empty");
    if (nests_too_deep(text, size))
        return lb_error_set(error, LB_MALFORMED, "JSON nested deeper than %d levels", MOST_NESTING);
    *doc = yyjson_read_opts(text, size, read_flags | flags, alc, &e);
    return *doc ? LB_OK : parse_error(error, &e);
}

lb_status lb_value_parse(const char *json, size_t size, lb_value **value, lb_error *error)
{
    yyjson_doc *doc = NULL;
    lb_status status = parse((char *)(uintptr_t)json, size, 0, NULL, &doc, error);
    *value = NULL;
    if (status != LB_OK)
        return status;
    *value = own(doc);
    return *value ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory while parsing JSON");
}

static void *alc_malloc(void *ctx, size_t size) { return arena_alloc(ctx, size); }

static void *alc_realloc(void *ctx, void *old, size_t old_size, size_t size)
{
    arena *a = ctx;
    char *old_end = (char *)old + ((old_size + 15) & ~(size_t)15);
    if (old_end == a->at) { /* the newest allocation: move its end */
        size_t rounded = (size + 15) & ~(size_t)15;
        if (rounded <= (size_t)(a->end - (char *)old)) {
            a->at = (char *)old + rounded;
            return old;
        }
    } else if (size <= old_size) {
        return old;
    }
    void *fresh = arena_alloc(a, size);
    if (fresh)
        memcpy(fresh, old, old_size < size ? old_size : size);
    return fresh;
}

static void alc_free(void *ctx, void *old)
{
    (void)ctx;
    (void)old; /* with the arena */
}

lb_status json_parse(arena *a, const char *text, size_t size, const lb_value **value, lb_error *error)
{
    const yyjson_alc alc = {alc_malloc, alc_realloc, alc_free, a};
    yyjson_doc *doc = NULL;
    char *copy = arena_alloc(a, size + YYJSON_PADDING_SIZE);
    if (!copy)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while parsing JSON");
    if (size)
        memcpy(copy, text, size);
    memset(copy + size, 0, YYJSON_PADDING_SIZE);
    lb_status status = parse(copy, size, YYJSON_READ_INSITU, &alc, &doc, error);
    *value = status == LB_OK ? (const lb_value *)yyjson_doc_get_root(doc) : NULL;
    return status;
}

void lb_value_free(lb_value *value)
{
    struct owned *o = (struct owned *)value;
    if (!o)
        return;
    yyjson_doc_free(o->doc);
    free(o);
}

/* The values of a tree lie behind each other and know each other by distance: they and their texts go into one
 * block. */
lb_value *lb_value_copy(const lb_value *value)
{
    yyjson_val null = {.tag = YYJSON_TYPE_NULL}, *from = value ? look(value) : &null;
    size_t count = (size_t)(unsafe_yyjson_get_next(from) - from), text_size = 0;
    for (yyjson_val *v = from; v < from + count; v++)
        if (yyjson_is_str(v))
            text_size += unsafe_yyjson_get_len(v) + 1;
    struct owned *o = malloc(sizeof *o + count * sizeof *from + text_size);
    if (!o)
        return NULL;
    yyjson_val *root = (yyjson_val *)(o + 1);
    char *text = (char *)(root + count);
    memcpy(root, from, count * sizeof *from);
    for (yyjson_val *v = root; v < root + count; v++)
        if (yyjson_is_str(v)) {
            size_t size = unsafe_yyjson_get_len(v) + 1;
            v->uni.str = memcpy(text, v->uni.str, size);
            text += size;
        }
    *o = (struct owned){.cell.uni.ptr = root};
    return (lb_value *)o;
}

/* ---- Writing ---------------------------------------------------------------------------------------- */

static char *write_value(const lb_value *value, yyjson_write_flag flags, size_t *size)
{
    yyjson_val *v = look(value);
    if (v)
        return yyjson_val_write_opts(v, write_flags | flags, NULL, size, NULL);
    if (size)
        *size = 4;
    return strdup("null");
}

char *lb_value_json(const lb_value *value, size_t *size) { return write_value(value, 0, size); }
char *lb_value_pretty(const lb_value *value, size_t *size)
{
    return write_value(value, YYJSON_WRITE_PRETTY_TWO_SPACES, size);
}

void json_write_float(buffer *b, double value)
{
    char memory[512], *text;
    size_t size = 0;
    yyjson_alc pool;
    yyjson_val number = {0};
    number.tag = YYJSON_TYPE_NUM | YYJSON_SUBTYPE_REAL;
    number.uni.f64 = value;
    yyjson_alc_pool_init(&pool, memory, sizeof memory);
    text = yyjson_val_write_opts(&number, write_flags, &pool, &size, NULL);
    if (text)
        buffer_add(b, text, size);
    else
        b->failed = true;
}

void json_write(buffer *b, const lb_value *value)
{
    switch (lb_value_type_of(value)) {
    case LB_TYPE_NULL:
        buffer_literal(b, "null");
        return;
    case LB_TYPE_BOOL:
        buffer_str(b, lb_value_bool(value) ? "true" : "false");
        return;
    case LB_TYPE_INT:
        buffer_int(b, lb_value_int(value));
        return;
    case LB_TYPE_UINT:
        buffer_uint(b, lb_value_uint(value));
        return;
    case LB_TYPE_FLOAT:
        json_write_float(b, lb_value_float(value));
        return;
    case LB_TYPE_STR:
        buffer_json_string(b, lb_value_str(value), lb_value_str_size(value));
        return;
    default:
        break;
    }
    size_t size = 0;
    char *text = lb_value_json(value, &size);
    if (text)
        buffer_add(b, text, size);
    else
        b->failed = true;
    free(text);
}

/* ---- Reading ---------------------------------------------------------------------------------------- */

lb_value_type lb_value_type_of(const lb_value *value)
{
    yyjson_val *v = look(value);
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_BOOL:
        return LB_TYPE_BOOL;
    case YYJSON_TYPE_NUM:
        if (yyjson_is_real(v))
            return LB_TYPE_FLOAT;
        return yyjson_is_uint(v) && yyjson_get_uint(v) > INT64_MAX ? LB_TYPE_UINT : LB_TYPE_INT;
    case YYJSON_TYPE_STR:
        return LB_TYPE_STR;
    case YYJSON_TYPE_ARR:
        return LB_TYPE_LIST;
    case YYJSON_TYPE_OBJ:
        return LB_TYPE_DICT;
    default:
        return LB_TYPE_NULL;
    }
}

bool lb_value_bool(const lb_value *value) { return yyjson_get_bool(look(value)); }

int64_t lb_value_int(const lb_value *value)
{
    yyjson_val *v = look(value);
    return yyjson_is_uint(v) && yyjson_get_uint(v) > INT64_MAX ? INT64_MAX : yyjson_get_sint(v);
}

uint64_t lb_value_uint(const lb_value *value)
{
    yyjson_val *v = look(value);
    return yyjson_is_uint(v) ? yyjson_get_uint(v) : 0;
}

double lb_value_float(const lb_value *value)
{
    yyjson_val *v = look(value);
    return yyjson_is_num(v) ? yyjson_get_num(v) : 0.0;
}

const char *lb_value_str(const lb_value *value) { return yyjson_get_str(look(value)); }

size_t lb_value_str_size(const lb_value *value)
{
    yyjson_val *v = look(value);
    return yyjson_is_str(v) ? yyjson_get_len(v) : 0;
}

size_t lb_value_count(const lb_value *value)
{
    yyjson_val *v = look(value);
    return yyjson_is_ctn(v) ? unsafe_yyjson_get_len(v) : 0;
}

const lb_value *lb_value_at(const lb_value *value, size_t index)
{
    return (const lb_value *)yyjson_arr_get(look(value), index);
}

const lb_value *lb_value_get(const lb_value *value, const char *name)
{
    return (const lb_value *)yyjson_obj_get(look(value), name);
}

lb_value_iterator lb_value_iterate(const lb_value *value)
{
    lb_value_iterator it = {0};
    yyjson_val *v = look(value);
    if (yyjson_is_ctn(v)) {
        it.left_ = unsafe_yyjson_get_len(v);
        it.next_ = unsafe_yyjson_get_first(v);
        it.name = yyjson_is_obj(v) ? "" : NULL; /* non-NULL: there are names */
    }
    return it;
}

bool lb_value_next(lb_value_iterator *it)
{
    if (it->left_ == 0) {
        it->value = NULL;
        return false;
    }
    yyjson_val *v = (yyjson_val *)(uintptr_t)it->next_;
    it->index = it->value ? it->index + 1 : 0;
    if (it->name) {
        it->name = unsafe_yyjson_get_str(v);
        it->name_size = unsafe_yyjson_get_len(v);
        v++;
    }
    it->value = (const lb_value *)v;
    it->next_ = unsafe_yyjson_get_next(v);
    it->left_--;
    return true;
}

/* The member of that name, of any bytes. */
static const lb_value *member(const lb_value *dict, const char *name, size_t size)
{
    return (const lb_value *)yyjson_obj_getn(look(dict), name, size);
}

static bool equal_numbers(const lb_value *a, const lb_value *b)
{
    lb_value_type ta = lb_value_type_of(a), tb = lb_value_type_of(b);
    if (ta == LB_TYPE_FLOAT || tb == LB_TYPE_FLOAT)
        return lb_value_float(a) == lb_value_float(b);
    if (ta != tb)
        return false;
    return ta == LB_TYPE_INT ? lb_value_int(a) == lb_value_int(b) : lb_value_uint(a) == lb_value_uint(b);
}

static bool is_number(lb_value_type t) { return t == LB_TYPE_INT || t == LB_TYPE_UINT || t == LB_TYPE_FLOAT; }

bool lb_value_equal(const lb_value *a, const lb_value *b)
{
    lb_value_type ta = lb_value_type_of(a), tb = lb_value_type_of(b);
    if (is_number(ta) && is_number(tb))
        return equal_numbers(a, b);
    if (ta != tb)
        return false;
    lb_value_iterator i = lb_value_iterate(a), j = lb_value_iterate(b);
    switch (ta) {
    case LB_TYPE_BOOL:
        return lb_value_bool(a) == lb_value_bool(b);
    case LB_TYPE_STR:
        return slice_equal(json_slice(a), json_slice(b));
    case LB_TYPE_LIST:
    case LB_TYPE_DICT:
        if (lb_value_count(a) != lb_value_count(b))
            return false;
        while (lb_value_next(&i)) {
            lb_value_next(&j); /* in dicts, too: their orders are often alike */
            bool aligned =
                !i.name || slice_equal((lb_slice){i.name, i.name_size}, (lb_slice){j.name, j.name_size});
            const lb_value *other = aligned ? j.value : member(b, i.name, i.name_size);
            if (!other || !lb_value_equal(i.value, other))
                return false;
        }
        return true;
    default:
        return true;
    }
}
