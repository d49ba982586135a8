/* Inside a configuration: what the files of src/config share. */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include "config.h"
#include "tree.h"

struct config {
    arena memory;
    const char *source; /* NULL: no file */
    node *root;         /* NULL: no file */
    const node **apis;  /* the sections with a name of their own, in order, and NULL; or NULL */
    map sections;       /* all sections by their names: a file may have tens of thousands */
};

/* The section of an API, or the default one; NULL: neither is there. */
const node *config_section(const config *c, lb_slice api);
/* What the file says, by path; NULL: nothing, or null. */
const node *config_node(const config *c, const char *path, lb_slice api);

/* A path in the file is relative to the file; in `memory`, NULL when that is short. */
const char *config_path(const config *c, const node *path, arena *memory);

#endif
