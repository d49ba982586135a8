/* YAML to a tree, by libyaml's events. Plain scalars mean what they mean to Python Lightbus, which reads YAML
 * 1.1: `yes` and `off` are booleans, 0x1f is a number. Aliases and merge keys work; one that contains itself is
 * refused, and so are tags, several documents and a key that is given twice. */
#include "tree.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "../base/number.h"

#define MOST_MERGED                                                                                            \
    100000 /* keys that "<<" may go through, in a whole file: a small file could ask for billions */

typedef struct anchor {
    node *value;
    bool complete; /* false: its value is being read */
} anchor;

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the present one */
    arena *memory;
    const char *source;
    lb_slice text;
    map anchors; /* by their names */
    int depth;
    int merged;
    lb_error *error;
} reader;

static place place_at(yaml_mark_t mark) { return (place){(int)mark.line + 1, (int)mark.column + 1}; }

static lb_status no_memory(reader *r)
{
    return lb_error_set(r->error, LB_NO_MEMORY, "%s: out of memory", r->source);
}

static lb_status not_yaml(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    place at = place_at(p->problem_mark);
    char more[160] = "";

    if (p->error == YAML_MEMORY_ERROR)
        return no_memory(r);
    if (p->error == YAML_READER_ERROR) /* it marks no place */
        at = place_of(r->text, p->problem_offset);
    else if (p->problem_mark.index < r->text.size && r->text.data[p->problem_mark.index] == '\t')
        snprintf(more, sizeof more, "; YAML indents with spaces, and here is a tab");
    else if (p->context)
        snprintf(more, sizeof more, ", %s that begins in line %d", p->context, (int)p->context_mark.line + 1);
    return config_error(r->error, r->source, at, "not YAML: %s%s",
                        p->problem ? p->problem : "it cannot be read", more);
}

static lb_status advance(reader *r)
{
    yaml_event_delete(&r->event);
    return yaml_parser_parse(&r->parser, &r->event) ? LB_OK : not_yaml(r);
}

/* ---- Scalars ---------------------------------------------------------------------------------------- */

static bool is_one_of(lb_slice text, const char *const *words)
{
    for (; *words; words++)
        if (slice_is(text, *words))
            return true;
    return false;
}

/* Whole numbers of YAML 1.1: decimal, 0x, 0b, octal with a leading 0; "_" between digits. */
static bool read_whole(const char *digits, int64_t *value)
{
    const char *at = digits + (*digits == '-' || *digits == '+');
    char plain[72], *end;
    int base = 10, size = 0;

    if (at[0] == '0' && (at[1] == 'x' || at[1] == 'b'))
        base = at[1] == 'x' ? 16 : 2;
    else if (at[0] == '0' && at[1])
        base = 8;
    at += base == 10 || base == 8 ? 0 : 2;
    if (*at == '_' || !*at)
        return false;
    if (*digits == '-')
        plain[size++] = '-';
    for (; *at && size < (int)sizeof plain - 1; at++)
        if (*at != '_')
            plain[size++] = *at;
    plain[size] = '\0';
    if (*at || strspn(plain, "-0123456789abcdefABCDEF") != (size_t)size)
        return false;
    errno = 0;
    *value = strtoll(plain, &end, base);
    return !errno && !*end;
}

static bool read_float(const char *text, double *value)
{
    static const char *const infinite[] = {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", NULL};
    static const char *const minus_infinite[] = {"-.inf", "-.Inf", "-.INF", NULL};
    static const char *const none[] = {".nan", ".NaN", ".NAN", NULL};
    char *end;

    if (is_one_of(slice_of(text), infinite) || is_one_of(slice_of(text), minus_infinite)) {
        *value = *text == '-' ? -HUGE_VAL : HUGE_VAL;
        return true;
    }
    if (is_one_of(slice_of(text), none)) {
        *value = NAN;
        return true;
    }
    if (!strpbrk(text, "0123456789") || strspn(text, "+-.0123456789eE") != strlen(text))
        return false;
    *value = number_read(text, &end);
    return !*end;
}

static void resolve_plain(node *n)
{
    static const char *const yes[] = {"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL};
    static const char *const no[] = {"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", NULL};
    static const char *const null[] = {"", "~", "null", "Null", "NULL", NULL};

    if (strlen(n->text.data) != n->text.size)
        return;
    if (is_one_of(n->text, null)) {
        n->kind = NODE_NULL;
    } else if (is_one_of(n->text, yes) || is_one_of(n->text, no)) {
        n->kind = NODE_BOOL;
        n->boolean = is_one_of(n->text, yes);
    } else if (read_whole(n->text.data, &n->integer)) {
        n->kind = NODE_INT;
        n->number = (double)n->integer;
    } else if (read_float(n->text.data, &n->number)) {
        n->kind = NODE_FLOAT;
    }
}

/* ---- Values ----------------------------------------------------------------------------------------- */

static lb_status read_value(reader *r, node **value);

static lb_status read_scalar(reader *r, node *n)
{
    const yaml_event_t *e = &r->event;
    const char *tag = (const char *)e->data.scalar.tag;
    char *copy = arena_copy(r->memory, (const char *)e->data.scalar.value, e->data.scalar.length);

    if (!copy)
        return no_memory(r);
    n->kind = NODE_STR;
    n->text = (lb_slice){copy, e->data.scalar.length};
    if (tag && strcmp(tag, "!") != 0 && strcmp(tag, YAML_STR_TAG) != 0)
        return config_error(r->error, r->source, n->at, "the tag %.80s is not understood; leave it out", tag);
    if (e->data.scalar.plain_implicit && !tag)
        resolve_plain(n);
    return LB_OK;
}

/* The members of a dict that is merged in count where the dict itself does not have them. */
static lb_status merge_from(reader *r, dict_maker *m, const node *from)
{
    lb_status status = LB_OK;

    if (from->kind != NODE_DICT)
        return config_error(r->error, r->source, from->at,
                            "expected a mapping, or a list of them, after \"<<\"");
    for (const node *n = from->first; n && status == LB_OK; n = n->next) {
        if (++r->merged > MOST_MERGED)
            return config_error(r->error, r->source, from->at, "\"<<\" merges more than %d keys", MOST_MERGED);
        if (map_get(&m->names, n->key.data, n->key.size))
            continue;
        node *copy = arena_alloc(r->memory, sizeof *copy);
        if (!copy)
            return no_memory(r);
        *copy = *n;
        copy->next = NULL;
        status = dict_add(m, r->source, n->key, n->key_at, copy, r->error);
    }
    return status;
}

static lb_status merge(reader *r, dict_maker *m, const node *from)
{
    lb_status status = LB_OK;

    if (from->kind != NODE_LIST)
        return merge_from(r, m, from);
    for (const node *n = from->first; n && status == LB_OK; n = n->next)
        status = merge_from(r, m, n);
    return status;
}

static lb_status read_key(reader *r, lb_slice *key, place *at, bool *is_merge)
{
    const yaml_event_t *e = &r->event;

    *at = place_at(e->start_mark);
    if (e->type != YAML_SCALAR_EVENT)
        return config_error(r->error, r->source, *at, "expected a name as key");
    key->data = arena_copy(r->memory, (const char *)e->data.scalar.value, e->data.scalar.length);
    key->size = e->data.scalar.length;
    if (!key->data)
        return no_memory(r);
    *is_merge = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && slice_is(*key, "<<");
    return advance(r);
}

static lb_status read_dict(reader *r, node *dict)
{
    dict_maker maker = {.dict = dict};
    node *value, *merged = NULL;
    lb_slice key;
    place at;
    bool is_merge = false;
    lb_status status = advance(r);

    dict->kind = NODE_DICT;
    while (status == LB_OK && r->event.type != YAML_MAPPING_END_EVENT) {
        status = read_key(r, &key, &at, &is_merge);
        if (status == LB_OK)
            status = read_value(r, &value);
        if (status == LB_OK && is_merge)
            merged = value;
        else if (status == LB_OK)
            status = dict_add(&maker, r->source, key, at, value, r->error);
        if (status == LB_OK)
            status = advance(r);
    }
    if (status == LB_OK && merged)
        status = merge(r, &maker, merged);
    map_free(&maker.names);
    return status;
}

static lb_status read_list(reader *r, node *list)
{
    node **last = &list->first;
    lb_status status = advance(r);

    list->kind = NODE_LIST;
    while (status == LB_OK && r->event.type != YAML_SEQUENCE_END_EVENT) {
        status = read_value(r, last);
        if (status == LB_OK) {
            last = &(*last)->next;
            status = advance(r);
        }
    }
    return status;
}

static lb_status read_alias(reader *r, node *n)
{
    const char *name = (const char *)r->event.data.alias.anchor;
    const anchor *a = map_get(&r->anchors, name, strlen(name));
    place at = n->at;

    if (!a)
        return config_error(r->error, r->source, at, "the alias *%.80s names no anchor before it", name);
    if (!a->complete)
        return config_error(r->error, r->source, at, "the alias *%.80s contains itself", name);
    *n = *a->value;
    n->next = NULL;
    return LB_OK;
}

static lb_status remember(reader *r, const yaml_char_t *name, node *value, anchor **result)
{
    *result = NULL;
    if (!name)
        return LB_OK;
    anchor *a = *result = arena_alloc(r->memory, sizeof *a);
    if (!a || !map_put(&r->anchors, (const char *)name, strlen((const char *)name), a))
        return no_memory(r);
    *a = (anchor){value, false};
    return LB_OK;
}

static const yaml_char_t *anchor_name(const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return e->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return e->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return e->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

/* Reads the value that begins with the present event, up to its last event. */
static lb_status read_value(reader *r, node **value)
{
    node *n = *value = arena_alloc(r->memory, sizeof *n);
    anchor *a;

    if (!n)
        return no_memory(r);
    *n = (node){.at = place_at(r->event.start_mark)};
    if (++r->depth > CONFIG_MOST_DEPTH)
        return config_error(r->error, r->source, n->at, "nested deeper than %d levels", CONFIG_MOST_DEPTH);
    lb_status status = remember(r, anchor_name(&r->event), n, &a);
    if (status != LB_OK)
        return status;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        status = read_scalar(r, n);
        break;
    case YAML_MAPPING_START_EVENT:
        status = read_dict(r, n);
        break;
    case YAML_SEQUENCE_START_EVENT:
        status = read_list(r, n);
        break;
    case YAML_ALIAS_EVENT:
        status = read_alias(r, n);
        break;
    default:
        status = config_error(r->error, r->source, n->at, "expected a value");
    }
    if (a)
        a->complete = true;
    r->depth--;
    return status;
}

static lb_status read_stream(reader *r, node **root)
{
    lb_status status = advance(r); /* the stream's start */

    if (status == LB_OK)
        status = advance(r);
    if (status != LB_OK || r->event.type == YAML_STREAM_END_EVENT)
        return status; /* nothing in it: *root stays NULL */
    if ((status = advance(r)) == LB_OK && (status = read_value(r, root)) == LB_OK)
        status = advance(r); /* the document's end */
    if (status == LB_OK)
        status = advance(r);
    if (status == LB_OK && r->event.type != YAML_STREAM_END_EVENT)
        return config_error(r->error, r->source, place_at(r->event.start_mark),
                            "expected one YAML document, and here begins a second one");
    return status;
}

lb_status yaml_read(arena *memory, const char *source, lb_slice text, node **root, lb_error *error)
{
    reader r = {.memory = memory, .source = source, .text = text, .error = error};

    *root = NULL;
    if (!yaml_parser_initialize(&r.parser))
        return no_memory(&r);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.data, text.size);
    lb_status status = read_stream(&r, root);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    map_free(&r.anchors);
    return status;
}
