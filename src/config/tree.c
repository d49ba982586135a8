/* What the readers of configuration share. */
#include "tree.h"

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
