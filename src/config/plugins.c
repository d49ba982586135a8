/* The sections of plugins. Those that are built in have their keys in the table of options; of others the bus
 * knows `enabled` and `library`, and the plugin has a table of its own, or none. */
#include <stdio.h>

#include "check.h"
#include "load.h"

#define MOST_WHOLE 1e15  /* as far as doubles count whole numbers */
#define MOST       1e308 /* no bound */

static const node *section_of(const config *c, lb_slice name)
{
    const node *n = node_get(node_get(c->root, slice_of("plugins")), name);

    return n && n->kind != NODE_NULL ? n : NULL;
}

/* By what the program gave: see lay_over. */
static bool is_shadowed(const node *dict, const node *n) { return node_get(dict, n->key) != n; }

lb_slice config_plugin(const config *c, size_t index)
{
    const node *plugins = node_get(c->root, slice_of("plugins"));

    for (const node *n = plugins ? plugins->first : NULL; n; n = n->next)
        if (n->kind != NODE_NULL && !is_shadowed(plugins, n) && index-- == 0)
            return n->key;
    return (lb_slice){NULL, 0};
}

bool config_plugin_enabled(const config *c, lb_slice name)
{
    const node *enabled = node_get(section_of(c, name), slice_of("enabled"));

    return enabled && enabled->boolean;
}

lb_status config_plugin_library(const config *c, lb_slice name, arena *memory, const char **library,
                                lb_error *error)
{
    const node *path = node_get(section_of(c, name), slice_of("library"));

    *library = path ? config_path(c, path, memory) : NULL;
    return path && !*library ? lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus") : LB_OK;
}

lb_status config_plugin_unknown(const config *c, lb_slice name, const char *hint, lb_error *error)
{
    return config_error(error, c->source, section_of(c, name)->key_at, "unknown key \"%.60s\" in plugins%s",
                        name.data, hint);
}

/* ---- Values ----------------------------------------------------------------------------------------- */

static option option_from(const lb_plugin_option *from)
{
    static const option_kind kinds[] = {[LB_PLUGIN_STR] = OPTION_STR,
                                        [LB_PLUGIN_INT] = OPTION_INT,
                                        [LB_PLUGIN_NUMBER] = OPTION_NUMBER,
                                        [LB_PLUGIN_BOOL] = OPTION_BOOL};
    bool bounded = from->least != 0 || from->most != 0;
    double most = from->kind == LB_PLUGIN_INT ? MOST_WHOLE : MOST;

    return (option){.name = from->name,
                    .kind = kinds[from->kind],
                    .otherwise = from->otherwise,
                    .least = bounded ? from->least : -most,
                    .most = bounded ? from->most : most};
}

/* The plugin's table and the bus's own keys, in `memory`; NULL when that is short. */
static const option *table_from(const lb_plugin_option *from, arena *memory)
{
    size_t count = 0, own = 0;

    while (from[count].name)
        count++;
    while (other_plugin_options[own].name)
        own++;
    option *table = arena_alloc(memory, (own + count + 1) * sizeof *table);
    if (!table)
        return NULL;
    memcpy(table, other_plugin_options, own * sizeof *table);
    for (size_t i = 0; i < count; i++)
        table[own + i] = option_from(&from[i]);
    table[own + count] = (option){0};
    return table;
}

static bool is_own(const char *name)
{
    for (const option *o = other_plugin_options; o->name; o++)
        if (strcmp(o->name, name) == 0)
            return true;
    return false;
}

static void write_key(buffer *out, const char *name)
{
    if (out->size > 1)
        buffer_char(out, ',');
    buffer_json_string(out, name, strlen(name));
    buffer_char(out, ':');
}

static void write_default(buffer *out, const option *o)
{
    if (o->kind == OPTION_STR || o->kind == OPTION_CHOICE)
        buffer_json_string(out, o->otherwise, strlen(o->otherwise));
    else
        buffer_str(out, o->otherwise);
}

static void write_by_table(buffer *out, const node *section, const option *table)
{
    for (const option *o = table; o->name; o++) {
        const node *n = node_get(section, slice_of(o->name));
        if (is_own(o->name) || (!n && !o->otherwise))
            continue;
        write_key(out, o->name);
        if (n)
            node_write(out, n, CONFIG_MOST_BYTES);
        else
            write_default(out, o);
    }
}

static void write_all(buffer *out, const node *section)
{
    for (const node *n = section->first; n && out->size <= CONFIG_MOST_BYTES; n = n->next) {
        if (is_own(n->key.data) || is_shadowed(section, n))
            continue;
        write_key(out, n->key.data);
        node_write(out, n, CONFIG_MOST_BYTES);
    }
}

lb_status config_plugin_values(const config *c, lb_slice name, const lb_plugin_option *own, lb_value **values,
                               lb_error *error)
{
    char path[80];
    arena memory = {0};
    buffer json = {0};
    const node *section = section_of(c, name);
    lb_status status = LB_OK;

    snprintf(path, sizeof path, "plugins.%.60s", name.data);
    const option *built_in = option_at(path);
    const option *table = built_in ? built_in->members : own ? table_from(own, &memory) : NULL;
    const option dict = {.kind = OPTION_DICT, .members = table};
    *values = NULL;
    if (own && !table)
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    else if (own)
        status = config_check_part(c->source, path, &dict, section, error);
    buffer_char(&json, '{');
    if (table)
        write_by_table(&json, section, table);
    else
        write_all(&json, section);
    buffer_char(&json, '}');
    if (status == LB_OK && json.failed)
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    else if (status == LB_OK && json.size > CONFIG_MOST_BYTES)
        status =
            config_error(error, c->source, section->at, "%s: larger than %d bytes", path, CONFIG_MOST_BYTES);
    else if (status == LB_OK)
        status = lb_value_parse(json.data, json.size, values, error);
    buffer_free(&json);
    arena_free(&memory);
    return status;
}

/* ---- What the program gives ------------------------------------------------------------------------- */

static void forget_places(node *n)
{
    n->at = n->key_at = (place){0, 0};
    for (node *child = n->first; child; child = child->next)
        forget_places(child);
}

static node *dict_named(arena *memory, node *parent, const char *name)
{
    node *n = arena_alloc(memory, sizeof *n);

    if (!n)
        return NULL;
    *n = (node){.kind = NODE_DICT, .key = slice_of(name), .next = parent ? parent->first : NULL};
    if (parent)
        parent->first = n;
    return n;
}

static node *writable(const node *n) { return (node *)(uintptr_t)n; } /* the tree is ours */

/* Puts a node into a dict, in front of the one of its name, which then is shadowed: what an alias shares stays
 * as it is. Two dicts are laid over each other, down to that depth. */
static void lay_over(node *dict, node *n, int depth)
{
    node *old = writable(node_get(dict, n->key));

    if (depth && old && old->kind == NODE_DICT && n->kind == NODE_DICT) {
        for (node *child = n->first, *next; child; child = next) {
            next = child->next;
            lay_over(old, child, depth - 1);
        }
    } else {
        n->next = dict->first;
        dict->first = n;
    }
}

lb_status config_give_plugins(config *c, const char *json, lb_error *error)
{
    const lb_slice text = slice_of(json);
    node *given, *plugins;
    lb_status status = json_read(&c->memory, GIVEN_PLUGINS, text, &given, error);

    if (status == LB_OK)
        status = config_check_part(GIVEN_PLUGINS, "plugins", option_at("plugins"), given, error);
    if (status != LB_OK)
        return status;
    forget_places(given);
    if (!c->root || c->root->kind != NODE_DICT)
        c->root = dict_named(&c->memory, NULL, "");
    plugins = c->root ? writable(node_get(c->root, slice_of("plugins"))) : NULL;
    if (c->root && !plugins)
        plugins = dict_named(&c->memory, c->root, "plugins");
    if (!plugins)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    for (node *n = given->first, *next; n; n = next) {
        next = n->next;
        lay_over(plugins, n, 1);
    }
    return LB_OK;
}
