/* Plugins: those that are known to the process, and those that a bus has opened.
 *
 * Invariant: a bus has all the plugins that its configuration enables, or it is not opened. */
#include "../base/builtin.h"
#include "../base/suggest.h"
#include "bus.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PLUGINS     64
#define DEFAULT_PRIORITY 1000

struct open_plugin {
    const lb_plugin *plugin;
    void *self;
    open_plugin *next;
};

/* ---- Known to the process --------------------------------------------------------------------------- */

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static const lb_plugin *registered[MOST_PLUGINS];
static size_t registered_count;

/* The built-in plugins, then the registered ones, then NULL. registry_lock is held. */
static const lb_plugin *nth(size_t i)
{
    if (i < builtin_plugins_count)
        return builtin_plugins[i];
    i -= builtin_plugins_count;
    return i < registered_count ? registered[i] : NULL;
}

/* registry_lock is held */
static const lb_plugin *find_locked(lb_slice name)
{
    const lb_plugin *p;
    for (size_t i = 0; (p = nth(i)); i++)
        if (slice_is(name, p->name))
            return p;
    return NULL;
}

static const lb_plugin *find(lb_slice name)
{
    pthread_mutex_lock(&registry_lock);
    const lb_plugin *p = find_locked(name);
    pthread_mutex_unlock(&registry_lock);
    return p;
}

static bool is_name(const char *name)
{
    size_t size = 0;
    while (name && (isalnum((unsigned char)name[size]) || name[size] == '_' || name[size] == '-'))
        size++;
    return size && size <= 60 && !name[size];
}

static lb_status check_table(const lb_plugin *p, lb_error *error)
{
    for (const lb_plugin_option *o = p->options; o && o->name; o++)
        if (o->kind < LB_PLUGIN_STR || o->kind > LB_PLUGIN_BOOL)
            return lb_error_set(error, LB_USAGE,
                                "plugin %s: option %s: expected one of LB_PLUGIN_STR to LB_PLUGIN_BOOL, got %d",
                                p->name, o->name, (int)o->kind);
    return LB_OK;
}

lb_status lb_plugin_register(const lb_plugin *plugin, lb_error *error)
{
    if (plugin->abi != LB_PLUGIN_ABI || plugin->size != sizeof *plugin)
        return lb_error_set(
            error, LB_UNSUPPORTED,
            "the plugin is made for version %u (size %zu) of the plugin contract, expected %u (%zu)",
            plugin->abi, plugin->size, LB_PLUGIN_ABI, sizeof *plugin);
    if (!is_name(plugin->name))
        return lb_error_set(error, LB_INVALID_NAME,
                            "plugin \"%.60s\": expected a name of letters, digits, \"_\" and \"-\"",
                            plugin->name ? plugin->name : "NULL");
    lb_status status = check_table(plugin, error);
    pthread_mutex_lock(&registry_lock);
    if (status == LB_OK && find_locked(slice_of(plugin->name)))
        status =
            lb_error_set(error, LB_DUPLICATE, "plugin %s: there is one of that name already", plugin->name);
    else if (status == LB_OK && registered_count == MOST_PLUGINS)
        status = lb_error_set(error, LB_NO_SPACE, "plugin %s: %d plugins are registered already", plugin->name,
                              MOST_PLUGINS);
    if (status == LB_OK)
        registered[registered_count++] = plugin;
    pthread_mutex_unlock(&registry_lock);
    return status;
}

/* It stays loaded: its plugin is registered for as long as the process lives. */
static lb_status load(const char *library, lb_slice name, const lb_plugin **plugin, lb_error *error)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return lb_error_set(error, LB_CONFIG, "%s: cannot be loaded: %s", library, dlerror());
    const lb_plugin *p = *plugin = dlsym(handle, "lb_plugin_export");
    if (!p)
        return lb_error_set(error, LB_CONFIG,
                            "%s: is no plugin: expected it to define \"const lb_plugin lb_plugin_export\"",
                            library);
    lb_error why = {0};
    lb_status status = LB_OK;
    const lb_plugin *known = find(name);
    if (known != p)
        status = lb_plugin_register(p, &why);
    if (status != LB_OK)
        return lb_error_set(error, status, "%s: %s", library, why.message);
    if (!slice_is(name, p->name))
        return lb_error_set(error, LB_CONFIG, "%s: is the plugin \"%s\", expected \"%s\"", library, p->name,
                            name.data);
    return LB_OK;
}

static lb_status unknown(const lb_bus *bus, lb_slice name, lb_error *error)
{
    suggestion s = suggestion_for(name);
    char hint[200];
    const lb_plugin *p;
    pthread_mutex_lock(&registry_lock);
    for (size_t i = 0; (p = nth(i)); i++)
        suggestion_consider(&s, slice_of(p->name));
    pthread_mutex_unlock(&registry_lock);
    if (s.best.size)
        snprintf(hint, sizeof hint, "; did you mean \"%.60s\"?", s.best.data);
    else
        snprintf(hint, sizeof hint, "; a plugin that is not built in needs its \"library\"");
    return config_plugin_unknown(bus->config, name, hint, error);
}

/* ---- Opening ---------------------------------------------------------------------------------------- */

static const char *where(const lb_bus *bus, lb_slice name, char out[WHERE_SIZE])
{
    char path[80];
    snprintf(path, sizeof path, "plugins.%.60s", name.data);
    return config_where(bus->config, path, (lb_slice){NULL, 0}, out);
}

/* Says which section a failure is about, unless it does so itself. */
static lb_status locate(const lb_bus *bus, lb_slice name, lb_status status, lb_error *error)
{
    char place[WHERE_SIZE];
    const lb_error found = *error;
    const char *text = found.message[0] ? found.message : lb_status_text(status);
    where(bus, name, place);
    if (strncmp(text, place, strcspn(place, " ")) == 0)
        return status;
    return lb_error_set(error, status, "%s: %s", place, text);
}

static int priority_of(const lb_plugin *p) { return p->priority ? p->priority : DEFAULT_PRIORITY; }

/* Puts it into the list in the order of priority. */
static lb_status add(lb_bus *bus, const lb_plugin *plugin, lb_error *error)
{
    open_plugin **at = &bus->plugins, *p = calloc(1, sizeof *p);
    if (!p)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    while (*at && priority_of((*at)->plugin) <= priority_of(plugin))
        at = &(*at)->next;
    p->plugin = plugin;
    p->next = *at;
    *at = p;
    return LB_OK;
}

/* Finds the plugin of a section, and checks what the section says also if it is not enabled. */
static lb_status take(lb_bus *bus, lb_slice name, arena *memory, lb_error *error)
{
    bool enabled = config_plugin_enabled(bus->config, name);
    const lb_plugin *plugin = find(name);
    const char *library;
    lb_value *values = NULL;
    lb_error why = {0};
    lb_status status = config_plugin_library(bus->config, name, memory, &library, error);
    if (status == LB_OK && !plugin && !library)
        return unknown(bus, name, error);
    if (status == LB_OK && library && enabled && (status = load(library, name, &plugin, &why)) != LB_OK) {
        *error = why;
        return locate(bus, name, status, error);
    }
    if (status == LB_OK && plugin)
        status = config_plugin_values(bus->config, name, plugin->options, &values, error);
    lb_value_free(values);
    return status == LB_OK && enabled ? add(bus, plugin, error) : status;
}

static lb_status open_one(lb_bus *bus, open_plugin *p, lb_error *error)
{
    const lb_slice name = slice_of(p->plugin->name);
    char place[WHERE_SIZE];
    lb_value *values = NULL;
    lb_error why = {0};
    lb_status status = config_plugin_values(bus->config, name, p->plugin->options, &values, &why);
    const lb_plugin_config config = {sizeof config, where(bus, name, place), values};
    if (status == LB_OK && p->plugin->open)
        status = p->plugin->open(bus, &config, &p->self, &why);
    for (const lb_plugin_hook *h = p->plugin->hooks; status == LB_OK && h && h->run; h++)
        status = hooks_add(bus, h->point, priority_of(p->plugin), h->run, p->self, &why);
    lb_value_free(values);
    if (status == LB_OK)
        return LB_OK;
    *error = why;
    return locate(bus, name, status, error);
}

static void close_one(open_plugin *p)
{
    if (p->plugin->close)
        p->plugin->close(p->self);
    free(p);
}

lb_status plugins_open(lb_bus *bus, lb_error *error)
{
    arena memory = {0};
    lb_slice name;
    lb_status status = LB_OK;
    for (size_t i = 0; status == LB_OK && (name = config_plugin(bus->config, i)).data; i++)
        status = take(bus, name, &memory, error);
    arena_free(&memory);
    open_plugin *waiting = bus->plugins, **last = &bus->plugins;
    *last = NULL;
    while (waiting) { /* only what was opened is closed */
        open_plugin *p = waiting;
        waiting = p->next;
        if (status != LB_OK) {
            free(p);
            continue;
        }
        p->next = NULL;
        *last = p;
        last = &p->next;
        status = open_one(bus, p, error);
    }
    return status;
}

void plugins_close(lb_bus *bus)
{
    while (bus->plugins) {
        open_plugin *p = bus->plugins;
        bus->plugins = p->next;
        close_one(p);
    }
}

void plugins_describe(const lb_bus *bus, buffer *out)
{
    for (const open_plugin *p = bus->plugins; p; p = p->next) {
        if (p != bus->plugins)
            buffer_char(out, ',');
        buffer_json_string(out, p->plugin->name, strlen(p->plugin->name));
    }
}
