/* A configuration as a tree in which every value knows its place, whatever it was written in: YAML or JSON.
 * All of a tree lies in one arena. What an alias names is shared: a tree may be large when it is walked, but
 * never in memory. Readers accept NULL. */
#ifndef CONFIG_TREE_H
#define CONFIG_TREE_H

#include "../base/arena.h"
#include "../base/json.h"
#include "../base/map.h"

#define CONFIG_MOST_BYTES (1 << 20)
#define CONFIG_MOST_DEPTH 32

typedef enum node_kind { NODE_NULL, NODE_BOOL, NODE_INT, NODE_FLOAT, NODE_STR, NODE_LIST, NODE_DICT } node_kind;

typedef struct place {
    int line, column; /* from 1; a column is a character. Line 0: the program gave it, by GIVEN_PLUGINS */
} place;

#define GIVEN_PLUGINS "lb_options.plugins"

typedef struct node {
    node_kind kind;
    place at;
    bool boolean;
    int64_t integer;
    double number; /* of whole ones too */
    lb_slice text; /* of a string; of a number, as it was written. NUL-terminated */
    lb_slice key;  /* its name in a dict */
    place key_at;
    struct node *first, *next; /* its children; the next one of its parent's */
} node;

const node *node_get(const node *dict, lb_slice key);

/* As JSON; stops somewhere past `most` bytes of the buffer. */
void node_write(buffer *out, const node *n, size_t most);

/* Both read a text that is UTF-8. Errors are LB_CONFIG with source, line and column, or LB_NO_MEMORY. */
lb_status yaml_read(arena *memory, const char *source, lb_slice text, node **root, lb_error *error);
lb_status json_read(arena *memory, const char *source, lb_slice text, node **root, lb_error *error);

/* A dict in the making: members in order, each name once. */
typedef struct dict_maker {
    node *dict, **last;
    map names; /* for map_free */
} dict_maker;
lb_status dict_add(dict_maker *m, const char *source, lb_slice key, place key_at, node *value, lb_error *error);

/* "SOURCE:LINE:COLUMN: message" as LB_CONFIG. */
lb_status config_error(lb_error *error, const char *source, place at, const char *format, ...) LB_PRINTF(4, 5);
/* Where a byte of a text is. */
place place_of(lb_slice text, size_t offset);

#endif
