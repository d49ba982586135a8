/* JSON to a tree: the JSON library reads the text, and a walk along text and values together finds the places.
 */
#include "tree.h"

#include <stdlib.h>

typedef struct walk {
    arena *memory;
    const char *source;
    lb_slice text;
    size_t at; /* in the text */
    place where;
    int depth;
    lb_error *error;
} walk;

/* Steps over what separates values, and notes the place of what comes. */
static place skip_to_token(walk *w)
{
    for (; w->at < w->text.size && strchr(" \t\r\n,:", w->text.data[w->at]); w->at++) {
        if (w->text.data[w->at] == '\n')
            w->where = (place){w->where.line + 1, 1};
        else
            w->where.column++;
    }
    return w->where;
}

static void step(walk *w)
{
    if (((unsigned char)w->text.data[w->at++] & 0xc0) != 0x80)
        w->where.column++;
}

static void skip_string(walk *w)
{
    step(w);
    while (w->text.data[w->at] != '"') {
        if (w->text.data[w->at] == '\\')
            step(w);
        step(w);
    }
    step(w);
}

static void skip_word(walk *w)
{
    while (w->at < w->text.size && !strchr(" \t\r\n,:]}", w->text.data[w->at]))
        step(w);
}

static lb_status read_value(walk *w, const lb_value *value, node **out);

static lb_status no_memory(walk *w)
{
    return lb_error_set(w->error, LB_NO_MEMORY, "%s: out of memory", w->source);
}

static lb_status read_dict(walk *w, const lb_value *value, node *n)
{
    dict_maker maker = {.dict = n};
    lb_value_iterator it = lb_value_iterate(value);
    lb_status status = LB_OK;
    node *child;

    step(w); /* the bracket */
    while (status == LB_OK && lb_value_next(&it)) {
        place key_at = skip_to_token(w);
        lb_slice key = {arena_copy(w->memory, it.name, it.name_size), it.name_size};
        skip_string(w);
        status = key.data ? read_value(w, it.value, &child) : no_memory(w);
        if (status == LB_OK)
            status = dict_add(&maker, w->source, key, key_at, child, w->error);
    }
    skip_to_token(w);
    step(w);
    map_free(&maker.names);
    return status;
}

static lb_status read_list(walk *w, const lb_value *value, node *n)
{
    node **last = &n->first;
    lb_value_iterator it = lb_value_iterate(value);
    lb_status status = LB_OK;

    step(w);
    for (; status == LB_OK && lb_value_next(&it); last = status == LB_OK ? &(*last)->next : last)
        status = read_value(w, it.value, last);
    skip_to_token(w);
    step(w);
    return status;
}

static lb_status read_scalar(walk *w, const lb_value *value, node *n)
{
    size_t began = w->at;
    lb_slice text;

    if (n->kind == NODE_STR) {
        skip_string(w);
        text = json_slice(value);
    } else {
        skip_word(w);
        text = (lb_slice){w->text.data + began, w->at - began};
    }
    char *copy = arena_copy(w->memory, text.data, text.size);
    if (!copy)
        return no_memory(w);
    n->text = (lb_slice){copy, text.size};
    n->boolean = lb_value_bool(value);
    n->integer = lb_value_int(value);
    n->number = lb_value_float(value);
    return LB_OK;
}

static lb_status read_value(walk *w, const lb_value *value, node **out)
{
    static const node_kind kinds[] = {
        [LB_TYPE_NULL] = NODE_NULL, [LB_TYPE_BOOL] = NODE_BOOL,   [LB_TYPE_INT] = NODE_INT,
        [LB_TYPE_UINT] = NODE_INT,  [LB_TYPE_FLOAT] = NODE_FLOAT, [LB_TYPE_STR] = NODE_STR,
        [LB_TYPE_LIST] = NODE_LIST, [LB_TYPE_DICT] = NODE_DICT,
    };
    node *n = arena_alloc(w->memory, sizeof *n);

    if (!n)
        return no_memory(w);
    *n = (node){.kind = kinds[lb_value_type_of(value)], .at = skip_to_token(w)};
    if (++w->depth > CONFIG_MOST_DEPTH)
        return config_error(w->error, w->source, n->at, "nested deeper than %d levels", CONFIG_MOST_DEPTH);
    lb_status status = n->kind == NODE_DICT   ? read_dict(w, value, n)
                       : n->kind == NODE_LIST ? read_list(w, value, n)
                                              : read_scalar(w, value, n);
    w->depth--;
    *out = n;
    return status;
}

/* The message of lb_value_parse ends with the position as "at byte N". */
static lb_status not_json(lb_error *error, const char *source, lb_slice text, const lb_error *why)
{
    const char *at = strstr(why->message, " at byte ");
    size_t offset = at ? strtoull(at + strlen(" at byte "), NULL, 10) : 0;

    if (why->status == LB_NO_MEMORY)
        return lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", source);
    return config_error(error, source, place_of(text, offset), "%.*s",
                        at ? (int)(at - why->message) : (int)sizeof why->message, why->message);
}

lb_status json_read(arena *memory, const char *source, lb_slice text, node **root, lb_error *error)
{
    walk w = {.memory = memory, .source = source, .text = text, .where = {1, 1}, .error = error};
    lb_value *value = NULL;
    lb_error why = {0};

    *root = NULL;
    skip_to_token(&w);
    if (w.at == text.size)
        return LB_OK; /* nothing in it */
    w.at = 0;
    w.where = (place){1, 1};
    if (lb_value_parse(text.data, text.size, &value, &why) != LB_OK)
        return not_json(error, source, text, &why);
    lb_status status = read_value(&w, value, root);
    lb_value_free(value);
    return status;
}
