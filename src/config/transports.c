/* Which URL an API uses for what: the selectors of the file, turned into URLs whose query holds the file's
 * options. Options that a URL has already stay as they are there. Kinds of one API that reach the same place
 * take over each other's options, so that their URLs become the same, and one instance serves them all. */
#include "load.h"
#include "options.h"

#include <ctype.h>
#include <stdio.h>

#define MOST_PAIRS 24

const char *const transport_kind_names[TRANSPORT_KINDS] = {"rpc", "result", "event", "schema"};

typedef struct pair {
    const char *name;
    lb_slice value;
} pair;

typedef struct selection {
    const char *base; /* the URL without the file's options */
    bool from_file;   /* `base` is the file's own */
    const char *object;
    pair pairs[MOST_PAIRS]; /* in order of their names */
    size_t count;
} selection;

/* ---- URLs ------------------------------------------------------------------------------------------- */

static bool begins_with(const char *url, const char *scheme)
{
    return strncmp(url, scheme, strlen(scheme)) == 0;
}

static bool is_redis(const char *url)
{
    return begins_with(url, "redis:") || begins_with(url, "rediss:") || begins_with(url, "redis+unix:") ||
           begins_with(url, "unix:");
}

/* Does the URL say this itself? */
static bool has_option(const char *url, const char *name)
{
    const char *rest = strstr(url, "://"), *query = strchr(url, '?');
    const char *path = rest && !strstr(url, "unix:") ? strchr(rest + 3, '/') : NULL;
    size_t size = strlen(name);

    if (strcmp(name, "db") == 0 && path && (!query || path < query) && isdigit((unsigned char)path[1]))
        return true;
    for (const char *at = query; at; at = strchr(at + 1, '&'))
        if (strncmp(at + 1, name, size) == 0 && (at[1 + size] == '=' || !at[1 + size]))
            return true;
    return false;
}

static void add_escaped(buffer *out, lb_slice value)
{
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if (isalnum(c) || strchr("-._~/", c))
            buffer_char(out, (char)c);
        else
            buffer_printf(out, "%%%02X", c);
    }
}

static const char *write_url(const selection *s, arena *memory)
{
    buffer out = {0};
    const char *separator = strchr(s->base, '?') ? "&" : "?";

    if (begins_with(s->base, "unix:")) /* as Python's Redis clients name it */
        buffer_literal(&out, "redis+");
    buffer_str(&out, s->base);
    for (size_t i = 0; i < s->count; i++, separator = "&") {
        buffer_printf(&out, "%s%s=", separator, s->pairs[i].name);
        add_escaped(&out, s->pairs[i].value);
    }
    const char *url = buffer_text(&out) ? arena_copy(memory, out.data, out.size) : NULL;
    buffer_free(&out);
    return url;
}

/* ---- The file --------------------------------------------------------------------------------------- */

static void add_pair(selection *s, const char *name, lb_slice value)
{
    size_t at = 0;

    while (at < s->count && strcmp(s->pairs[at].name, name) < 0)
        at++;
    if (s->count == MOST_PAIRS || (at < s->count && strcmp(s->pairs[at].name, name) == 0))
        return;
    memmove(s->pairs + at + 1, s->pairs + at, (s->count - at) * sizeof *s->pairs);
    s->pairs[at] = (pair){name, value};
    s->count++;
}

/* As a URL says it: whole numbers in decimal, however they were written. data NULL when memory is short. */
static lb_slice text_of(const option *o, const node *n, arena *memory)
{
    switch (n->kind) {
    case NODE_NULL:
        return slice_of("0");
    case NODE_BOOL:
        return slice_of(n->boolean ? "true" : "false");
    case NODE_INT:
        return slice_of(arena_printf(memory, "%lld", (long long)n->integer));
    case NODE_FLOAT:
        return o->kind == OPTION_INT ? slice_of(arena_printf(memory, "%.0f", n->number)) : n->text;
    default:
        return n->text;
    }
}

static bool wanted(const selection *s, const option *o, const node *n)
{
    if (has_option(s->base, o->query) || (n->kind == NODE_NULL && strcmp(o->name, "max_stream_length") != 0))
        return false;
    return s->from_file || begins_with(s->base, "rediss:") || !begins_with(o->query, "tls_");
}

static bool add_options(selection *s, const option *table, const node *dict, arena *memory)
{
    bool ok = true;

    for (const option *o = table->members; dict && o->name && ok; o++) {
        const node *n = node_get(dict, slice_of(o->name));
        if (n && o->kind == OPTION_DICT) {
            ok = add_options(s, o, n, memory);
        } else if (n && o->query && wanted(s, o, n)) {
            lb_slice text = text_of(o, n, memory);
            ok = text.data != NULL;
            add_pair(s, o->query, text);
        }
    }
    return ok;
}

static const node *given(const node *dict, const char *name)
{
    const node *n = node_get(dict, slice_of(name));

    return n && n->kind != NODE_NULL ? n : NULL;
}

/* The selector of the API, or, where that says nothing, of the default section. */
static const node *selector_of(const config *c, transport_kind kind, lb_slice api)
{
    char path[64];
    const node *n;

    if (kind == TRANSPORT_SCHEMA)
        return config_node(c, "bus.schema.transport", api);
    snprintf(path, sizeof path, "apis.*.%s_transport", transport_kind_names[kind]);
    n = config_node(c, path, api);
    return n ? n : config_node(c, path, slice_of("default"));
}

static const char *url_in(const node *transport)
{
    const node *url = given(transport, "url");

    return url ? url->text.data : NULL;
}

static lb_status select_custom(const config *c, const node *custom, selection *s, arena *memory,
                               lb_error *error)
{
    const node *object = given(custom, "object");

    if (!url_in(custom))
        return config_error(error, c->source, custom->at,
                            "custom: expected a url that the transport answers to");
    s->base = url_in(custom);
    s->object = object ? config_path(c, object, memory) : NULL;
    return object && !s->object ? lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus")
                                : LB_OK;
}

static const char *default_url(const option *transport)
{
    const option *o = transport->members;

    while (strcmp(o->name, "url") != 0)
        o++;
    return o->otherwise;
}

static lb_status select_kind(const config *c, transport_kind kind, lb_slice api, const char *forced,
                             const char *otherwise, selection *s, arena *memory, lb_error *error)
{
    const node *selector = selector_of(c, kind, api), *redis = given(selector, "redis");
    const node *local = given(selector, "local"), *custom = given(selector, "custom");
    const option *table = option_at(kind == TRANSPORT_SCHEMA   ? "bus.schema.transport.redis"
                                    : kind == TRANSPORT_RPC    ? "apis.*.rpc_transport.redis"
                                    : kind == TRANSPORT_RESULT ? "apis.*.result_transport.redis"
                                                               : "apis.*.event_transport.redis");

    *s = (selection){.base = otherwise, .from_file = !forced && selector};
    if (forced)
        s->base = forced;
    else if (redis)
        s->base = url_in(redis) ? url_in(redis) : is_redis(otherwise) ? otherwise : default_url(table);
    else if (local)
        s->base = url_in(local) ? url_in(local) : "local:";
    else if (given(selector, "debug"))
        s->base = "debug:";
    else if (custom)
        return select_custom(c, custom, s, memory, error);
    if (is_redis(s->base) && !add_options(s, table, redis, memory))
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    return LB_OK;
}

lb_status config_transports(const config *c, lb_slice api, const char *forced, const char *otherwise,
                            arena *memory, transport_choice choices[TRANSPORT_KINDS], lb_error *error)
{
    selection own[TRANSPORT_KINDS], all;

    for (int kind = 0; kind < TRANSPORT_KINDS; kind++) {
        lb_status status =
            select_kind(c, (transport_kind)kind, api, forced, otherwise, &own[kind], memory, error);
        if (status != LB_OK)
            return status;
    }
    for (int kind = 0; kind < TRANSPORT_KINDS; kind++) {
        all = own[kind];
        for (int other = 0; other < TRANSPORT_KINDS; other++)
            if (strcmp(own[other].base, all.base) == 0)
                for (size_t i = 0; i < own[other].count; i++)
                    add_pair(&all, own[other].pairs[i].name, own[other].pairs[i].value);
        choices[kind] = (transport_choice){write_url(&all, memory), all.object};
        if (!choices[kind].url)
            return lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    }
    return LB_OK;
}
