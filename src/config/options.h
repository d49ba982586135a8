/* The one table of options: configuration files are read by it, and the help of flags, the JSON schema and the
 * reference page are made from it. */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include "../base/json.h"

typedef enum option_kind {
    OPTION_DICT,    /* of the keys in `members` */
    OPTION_APIS,    /* a dict of names of APIs to what `members` says */
    OPTION_PLUGINS, /* a dict of the keys in `members`, and of others, which the bus checks: see plugins.c */
    OPTION_STR,
    OPTION_INT,
    OPTION_NUMBER,
    OPTION_BOOL,
    OPTION_CHOICE, /* one of `choices` */
} option_kind;

typedef struct option {
    const char *name; /* NULL after the last one of a table */
    option_kind kind;
    const struct option *members; /* of a dict */
    const char *title;            /* of a dict: its name in the JSON schema */
    const char *otherwise;        /* the default as it is written in a file; NULL: none */
    const char *choices;          /* separated by spaces */
    double least, most;           /* of numbers */
    bool nullable;
    bool or_bool;       /* a dict that may be given as one boolean, for all of its members */
    bool one_transport; /* a dict of which one member is given, at most */
    const char *query;  /* the option of a transport's URL that it becomes */
    const char *environment, *flag, *parameter; /* that give it, too; what the help calls the flag's value */
    const char *help;
    const char *ignored; /* understood, and without effect: why */
} option;

extern const option config_options; /* the root: a dict */

/* By its path: "bus.schema.ttl", "apis.*.rpc_timeout". NULL: there is none. */
const option *option_at(const char *path);
/* The one that a flag sets (its name without dashes). NULL: there is none. */
const option *option_of_flag(const char *flag);

extern const option other_plugin_options[]; /* of a plugin that is not built in: `enabled`, `library` */

/* The JSON schema of a configuration, keys in order, as compact JSON; the reference page as Markdown. */
void options_json_schema(buffer *out);
void options_reference(buffer *out);
/* Parts of the reference page: what comes first, and the type of an option that is no dict. `code` is between
 * backquotes. */
extern const char options_introduction[];
void option_kind_text(buffer *out, const option *o);

#endif
