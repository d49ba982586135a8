/* A compiled schema: one node per schema object, with the keywords present. Shared by the compiler, the checker
 * and the marshalling, which looks parameters up by itself. NULL stands for a schema that accepts everything.
 */
#ifndef SCHEMA_VALIDATOR_NODE_H
#define SCHEMA_VALIDATOR_NODE_H

#include "validator.h"
#include "validator_format.h"
#include "validator_regex.h"

/* Sets of JSON types. A number is an integer (1 and 1.0 are) or a fraction. */
enum {
    TYPES_NULL = 1,
    TYPES_BOOL = 2,
    TYPES_INTEGER = 4,
    TYPES_FRACTION = 8,
    TYPES_NUMBER = TYPES_INTEGER | TYPES_FRACTION,
    TYPES_STRING = 16,
    TYPES_ARRAY = 32,
    TYPES_OBJECT = 64,
    TYPES_ALL = 127,
};
typedef uint8_t types;

#define VALIDATOR_MOST_PROPERTIES                                                                              \
    1024 /* of one object: the checker marks those seen in a bit set on its stack */

typedef struct property {
    lb_slice name;
    const validator *schema;       /* NULL: anything */
    const lb_value *default_value; /* NULL: none, or one that breaks the schema itself */
    bool required;
    bool declared; /* in "properties"; else only required */
} property;

typedef struct number_rules {
    const lb_value *minimum, *above, *maximum, *below; /* NULL: absent; above is exclusiveMinimum */
    const lb_value *multiple_of;
} number_rules;

typedef struct string_rules {
    uint64_t min_length, max_length; /* in characters */
    const regex *pattern;
    const format *format;
} string_rules;

typedef struct list_rules {
    bool unique;
    bool has_contains;
    const validator *contains;
} list_rules;

typedef struct pattern_property {
    const regex *pattern;
    const validator *schema;
} pattern_property;

typedef struct dependency { /* of the other members on the presence of one */
    lb_slice name;
    const lb_value *names;   /* NULL: a schema */
    const validator *schema; /* for the whole dict */
} dependency;

typedef struct dict_rules {
    uint64_t min_members, max_members;
    const validator *names; /* propertyNames */
    const pattern_property *patterns;
    size_t pattern_count;
    const validator *others; /* of members that neither a property nor a pattern names, if there are patterns */
    const dependency *dependencies;
    size_t dependency_count;
} dict_rules;

typedef struct schema_list {
    const validator *const *schemas;
    size_t count;
} schema_list;

typedef struct logic_rules {
    schema_list all_of, one_of;
    bool negated; /* there is a `no` */
    const validator *no;
    bool conditional; /* there is an `if` */
    const validator *condition, *then, *otherwise;
} logic_rules;

typedef struct enum_entry {
    uint64_t hash;
    const lb_value *value;
} enum_entry;

struct validator {
    types types;   /* what can pass at all: narrowed by the branches of anyOf too */
    bool exact;    /* `types` says it all: no other keyword restricts */
    bool closed;   /* additionalProperties is false, and there are no patternProperties */
    bool members;  /* any keyword about members of dicts is present */
    bool elements; /* any keyword about elements of lists is present */
    bool defaults; /* any property has a default */
    bool whole;    /* more is said of a dict than properties, required and additionalProperties tell */

    const property *properties; /* sorted by size, then bytes */
    size_t property_count, required_count;
    const validator *additional; /* the schema of other members, if there are no patterns */

    const validator *items; /* of every element past items_list */
    const validator *const *items_list;
    size_t items_list_count;
    uint64_t min_items, max_items;

    const validator *const *any_of;
    size_t any_of_count;

    const lb_value *enumeration;   /* the list of enum; NULL: absent */
    const enum_entry *enum_sorted; /* by hash; NULL when the list is short */
    size_t enum_count;
    const lb_value *constant;

    const validator *reference;  /* $ref: nothing else counts then */
    const number_rules *numbers; /* from here on NULL: no such keyword */
    const string_rules *strings;
    const list_rules *lists;
    const dict_rules *dicts;
    const logic_rules *logic;
};

extern const validator validator_nothing;    /* the schema `false` */
extern const validator validator_everything; /* `true`, where a node is needed */

types types_of_value(const lb_value *value);
/* The order of properties. */
static inline int compare_names(lb_slice a, lb_slice b)
{
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return a.size ? memcmp(a.data, b.data, a.size) : 0;
}
/* The property of a name; NULL when there is none. */
const property *validator_property(const validator *v, lb_slice name);

typedef struct property_set {
    uint64_t words[VALIDATOR_MOST_PROPERTIES / 64];
} property_set; /* which properties have been seen: only the words that the node needs are in use */

static inline void property_set_clear(property_set *set, const validator *v)
{
    for (size_t i = 0; i * 64 < v->property_count; i++)
        set->words[i] = 0;
}
/* Adds it; false when it was there. */
static inline bool property_set_add(property_set *set, size_t index)
{
    uint64_t bit = UINT64_C(1) << index % 64;
    bool fresh = !(set->words[index / 64] & bit);
    set->words[index / 64] |= bit;
    return fresh;
}
static inline bool property_set_has(const property_set *set, size_t index)
{
    return set->words[index / 64] >> index % 64 & 1;
}

/* The violation of a value that is of none of the accepted types. */
void validator_refuse(const validator *v, const lb_value *value, violation *why);

#endif
