/* What the files that compile schemas share. */
#ifndef SCHEMA_VALIDATOR_COMPILE_H
#define SCHEMA_VALIDATOR_COMPILE_H

#include "../base/map.h"
#include "validator_node.h"

#define MOST_NESTING 200                /* schemas within schemas */
#define MOST_STEPS   (INT64_C(1) << 26) /* of following references: names that are compared */

typedef struct place { /* the way into the schema, for messages */
    const struct place *up;
    const char *keyword;
    lb_slice name; /* after the keyword: a property */
    int depth;
    lb_slice base; /* the URI that "$ref" and "$id" are relative to */
} place;

typedef struct reference_request { /* a "$ref" whose target is to be compiled */
    struct reference_request *next;
    validator *node;
    const lb_value *target;
    lb_slice base;             /* of the target */
    const lb_value *reference; /* as it was written */
} reference_request;

typedef struct default_check { /* properties whose defaults are to be checked */
    struct default_check *next;
    property *properties;
    size_t count;
} default_check;

typedef struct compiler {
    arena *memory;
    lb_error *error;
    validator_formats formats;
    bool short_of_memory;
    int64_t steps; /* of following references and resolving URIs, still to be done at most */
    const lb_value *root;
    lb_slice root_base; /* its own URI, or "" */
    bool refers;        /* there is a "$ref" somewhere: places are remembered */
    map ids;            /* URI -> struct document */
    map places;         /* address of a schema -> its validator */
    reference_request *requests, **next_request;
    default_check *defaults;
} compiler;

static inline place inside(const place *at, const char *keyword, lb_slice name)
{
    return (place){at, keyword, name, at->depth + 1, at->base};
}

lb_status malformed(compiler *c, const place *at, const char *keyword, const char *expected);
lb_status compile_out_of_memory(compiler *c);
/* NULL for a schema that accepts everything. */
lb_status compile_schema(compiler *c, const place *at, const lb_value *schema, const validator **result);
/* A list of schemas; also an empty one. */
lb_status compile_list(compiler *c, const place *at, const char *keyword, const lb_value *schemas,
                       schema_list *result);
lb_status compile_pattern(compiler *c, const place *at, const char *keyword, lb_slice text,
                          const regex **result);

/* A schema in the making: the node, and the groups of rules that it points to once they are in use. */
typedef struct draft {
    validator v;
    number_rules numbers;
    string_rules strings;
    list_rules lists;
    dict_rules dicts;
    logic_rules logic;
    bool has_numbers, has_strings, has_lists, has_dicts, has_logic;
    const validator *additional_items;
} draft;

/* Compiles all keywords of a schema object but those about the members of dicts. */
lb_status compile_keywords(compiler *c, const place *at, const lb_value *schema, draft *d);
/* properties, required, additionalProperties, patternProperties. */
lb_status compile_members(compiler *c, const place *at, const lb_value *schema, draft *d);

/* ---- References ------------------------------------------------------------------------------------- */

/* Notes the "$id"s of a document, and whether it holds a "$ref". */
lb_status references_scan(compiler *c, const lb_value *schema, lb_slice base);
/* The base inside a schema object, which its "$id" may change; data NULL when memory is short. */
lb_slice references_base(compiler *c, const lb_value *schema, lb_slice base);
lb_status references_no_uri(compiler *c); /* why its data is NULL */
/* A node for a "$ref", to be completed by references_complete. */
lb_status references_add(compiler *c, const place *at, const lb_value *reference, const validator **result);
/* Compiles the targets, and those of their references. */
lb_status references_complete(compiler *c);
void references_note(compiler *c, const lb_value *schema, const validator *compiled);

extern const char validator_meta_uri[]; /* of the meta-schema of draft-07 */
extern const char validator_meta_text[];

#endif
