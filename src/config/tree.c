/* What the readers of configuration share. */
#include "tree.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

const node *node_get(const node *dict, lb_slice key)
{
    if (!dict || dict->kind != NODE_DICT)
        return NULL;
    for (const node *n = dict->first; n; n = n->next)
        if (slice_equal(n->key, key))
            return n;
    return NULL;
}

static void write_members(buffer *out, const node *n, size_t most)
{
    bool is_dict = n->kind == NODE_DICT;

    buffer_char(out, is_dict ? '{' : '[');
    for (const node *child = n->first; child && out->size <= most; child = child->next) {
        if (child != n->first)
            buffer_char(out, ',');
        if (is_dict) {
            buffer_json_string(out, child->key.data, child->key.size);
            buffer_char(out, ':');
        }
        node_write(out, child, most);
    }
    buffer_char(out, is_dict ? '}' : ']');
}

void node_write(buffer *out, const node *n, size_t most)
{
    switch (n->kind) {
    case NODE_NULL:
        buffer_literal(out, "null");
        break;
    case NODE_BOOL:
        buffer_str(out, n->boolean ? "true" : "false");
        break;
    case NODE_INT:
        buffer_int(out, n->integer);
        break;
    case NODE_FLOAT:
        if (isfinite(n->number))
            json_write_float(out, n->number);
        else
            buffer_str(out, isnan(n->number) ? "NaN" : n->number > 0 ? "Infinity" : "-Infinity");
        break;
    case NODE_STR:
        buffer_json_string(out, n->text.data, n->text.size);
        break;
    default:
        write_members(out, n, most);
    }
}

lb_status dict_add(dict_maker *m, const char *source, lb_slice key, place key_at, node *value, lb_error *error)
{
    const node *before = map_get(&m->names, key.data, key.size);

    if (before)
        return config_error(error, source, key_at, "the key \"%.80s\" is given twice; first in line %d",
                            key.data, before->key_at.line);
    if (!map_put(&m->names, key.data, key.size, value))
        return lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", source);
    value->key = key;
    value->key_at = key_at;
    if (!m->last)
        m->last = &m->dict->first;
    *m->last = value;
    m->last = &value->next;
    return LB_OK;
}

lb_status config_error(lb_error *error, const char *source, place at, const char *format, ...)
{
    char message[sizeof error->message];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (at.line == 0)
        return lb_error_set(error, LB_CONFIG, "%s: %s", GIVEN_PLUGINS, message);
    return lb_error_set(error, LB_CONFIG, "%s:%d:%d: %s", source, at.line, at.column, message);
}

place place_of(lb_slice text, size_t offset)
{
    place at = {1, 1};

    for (size_t i = 0; i < offset && i < text.size; i++) {
        if (text.data[i] == '\n')
            at = (place){at.line + 1, 1};
        else if (((unsigned char)text.data[i] & 0xc0) != 0x80) /* no continuation of a character */
            at.column++;
    }
    return at;
}
