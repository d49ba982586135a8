/* A configuration: what a file or URL gives, checked by the option table, and the table's defaults behind it.
 * Immutable once loaded: any thread may read it. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <lightbus/plugin.h>

#include "../base/arena.h"
#include "../base/json.h"

typedef struct config config;

/* Reads and checks a file, or what an http(s) URL answers within 5 s. `place` NULL or "": there is no file, and
 * all is default. LB_CONFIG: the message begins with the file, the line and the column; LB_SYSTEM: it cannot be
 * read; LB_UNSUPPORTED: a URL, and this build knows none; LB_NO_MEMORY. */
lb_status config_load(const char *place, config **c, lb_error *error);
/* The same from a text in memory; `source` is for messages. */
lb_status config_parse(const char *source, lb_slice text, bool is_json, config **c, lb_error *error);
void config_free(config *c);
const char *config_source(const config *c); /* its file or URL, without a password; NULL: none */

/* The value of an option, by its path in the table: what the file says, else its default. In "apis.*.NAME", "*"
 * is the section of that API, or, where it has none, the section `default`. */
int64_t config_int(const config *c, const char *path, lb_slice api);
bool config_bool(const config *c, const char *path, lb_slice api);
const char *config_str(const config *c, const char *path, lb_slice api); /* NULL where the file says nothing */
bool config_says(const config *c, const char *path, lb_slice api);       /* the file itself, and not null */
bool config_validates(const config *c, bool outgoing, lb_slice api);

/* "lightbus.yaml:3:5: service_name", for messages about a value that is wrong for others than the table; the
 * path alone where the file does not say it. */
#define WHERE_SIZE 300
const char *config_where(const config *c, const char *path, lb_slice api, char out[WHERE_SIZE]);

/* The names of the APIs with a section of their own, `default` left out: from index 0 to the {NULL, 0} at the
 * end.
 */
lb_slice config_api(const config *c, size_t index);

typedef enum transport_kind {
    TRANSPORT_RPC,
    TRANSPORT_RESULT,
    TRANSPORT_EVENT,
    TRANSPORT_SCHEMA,
    TRANSPORT_KINDS,
} transport_kind;
extern const char *const transport_kind_names[TRANSPORT_KINDS]; /* "rpc", "result", ... */

typedef struct transport_choice {
    const char *url;    /* with the options of the file as its query */
    const char *object; /* the shared object that it needs, or NULL */
} transport_choice;

/* What an API uses, in `memory`. `forced` (or NULL) is a URL that wins over the file's, `otherwise` counts
 * where the file has none. Kinds that reach the same place get the same URL, so that they share connections. */
lb_status config_transports(const config *c, lb_slice api, const char *forced, const char *otherwise,
                            arena *memory, transport_choice choices[TRANSPORT_KINDS], lb_error *error);

/* Plugins, by the names of their sections, one by one; {NULL, 0} after the last. A section that is null is left
 * out. */
lb_slice config_plugin(const config *c, size_t index);
bool config_plugin_enabled(const config *c, lb_slice name);
/* The path of its shared object, in `memory`. *library NULL: none is named. LB_NO_MEMORY. */
lb_status config_plugin_library(const config *c, lb_slice name, arena *memory, const char **library,
                                lb_error *error);
/* What its section says, with the defaults of its table: that of a built-in plugin, else `table`, or, when that
 * is NULL, none at all, and all keys are given as they are. An owned dict. Keys and values that the table does
 * not know are LB_CONFIG. */
lb_status config_plugin_values(const config *c, lb_slice name, const lb_plugin_option *table, lb_value **values,
                               lb_error *error);
/* "lightbus.yaml:2:3: unknown plugin ...; " and the hint. */
lb_status config_plugin_unknown(const config *c, lb_slice name, const char *hint, lb_error *error);
/* Lays the sections in a JSON object over those of the file: what it says wins. LB_CONFIG, LB_NO_MEMORY. */
lb_status config_give_plugins(config *c, const char *json, lb_error *error);

/* "redis://user:secret@host" -> "redis://user:***@host", in `memory` (S33). NULL: no memory. */
char *url_mask(arena *memory, const char *url);

#endif
