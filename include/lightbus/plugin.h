/* Writing a plugin: hooks, tasks and APIs that a configuration switches on, without a change to the services.
 *
 *     plugins:
 *       audit: {enabled: true, library: ./audit.so, file: /var/log/audit}
 *
 * A plugin is one `lb_plugin`. It is built in, registered by the program (lb_plugin_register), or found in the
 * shared object that `library` names (a relative path begins at the configuration file). lb_open opens those
 * that are enabled, in the order of their priority, each with the keys of its section; when one fails, lb_open
 * does. See docs/how-to/write-a-plugin.md. */
#ifndef LIGHTBUS_PLUGIN_H
#define LIGHTBUS_PLUGIN_H

#include <lightbus/hook.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LB_PLUGIN_ABI 1u

typedef enum lb_plugin_option_kind {
    LB_PLUGIN_STR = 1,
    LB_PLUGIN_INT,
    LB_PLUGIN_NUMBER, /* a whole one or not */
    LB_PLUGIN_BOOL,
} lb_plugin_option_kind;

/* A key of the plugin's section. A table ends with a row whose name is NULL. */
typedef struct lb_plugin_option {
    const char *name;
    lb_plugin_option_kind kind;
    const char *otherwise; /* the default, as it is written in a file; NULL: none, the key is absent */
    double least, most;    /* of numbers; both 0: any */
} lb_plugin_option;

/* A point and the function that is called there; `data` is the plugin's `self`. A table ends with a row without
 * a function. */
typedef struct lb_plugin_hook {
    lb_hook_point point;
    lb_hook_fn run;
} lb_plugin_hook;

typedef struct lb_plugin_config {
    size_t size;             /* of this struct, as the bus knows it */
    const char *where;       /* of the section, for messages: "lightbus.yaml:3:3: plugins.audit" */
    const lb_value *options; /* a dict: what the section says (but `enabled` and `library`), and defaults */
} lb_plugin_config;

typedef struct lb_plugin {
    unsigned abi; /* LB_PLUGIN_ABI */
    size_t size;  /* sizeof(lb_plugin) */
    const char *name;
    int priority;                    /* lower ones come first; 0 means 1000 */
    const lb_plugin_option *options; /* other keys, types and numbers are refused before `open`, with their
                                        place; NULL: nothing is, and `open` checks */
    const lb_plugin_hook *hooks;     /* or NULL */
    /* Gives `self`; may register APIs, listeners, hooks and tasks on the bus, which is not connected yet. The
     * config is borrowed until it returns. Optional. */
    lb_status (*open)(lb_bus *bus, const lb_plugin_config *config, void **self, lb_error *error);
    /* In lb_close, after the last hook has run, and also after `open` failed (self is what it was set to, else
     * NULL). Optional. */
    void (*close)(void *self);
} lb_plugin;

/* Makes a plugin known to this process, for configurations to enable by its name. It must outlive all handles.
 * LB_UNSUPPORTED for another ABI, LB_DUPLICATE for a name that is taken, LB_INVALID_NAME. Any thread. */
LB_API lb_status lb_plugin_register(const lb_plugin *plugin, lb_error *error);

/* A shared object that a configuration names as `library` defines this. It is loaded once and never unloaded.
 */
extern LB_API const lb_plugin lb_plugin_export;

#ifdef __cplusplus
}
#endif
#endif
