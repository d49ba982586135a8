/* What the files that run compiled schemas share. */
#ifndef SCHEMA_VALIDATOR_CHECK_H
#define SCHEMA_VALIDATOR_CHECK_H

#include "line.h"
#include "validator_node.h"

typedef struct way { /* into the value, for messages */
    const struct way *up;
    lb_slice name; /* of a member, or, without data, */
    size_t index;  /* of an element */
} way;

/* What is being checked: a value, keyword arguments as the members of one dict, or the name of a member. */
typedef struct instance {
    const lb_value *value;
    const lb_kwarg *kwargs; /* not NULL: arguments */
    size_t count;           /* of kwargs */
    lb_slice name;          /* with data: a name */
    types type;             /* one bit */
} instance;

/* One check, from its beginning to its end. */
typedef struct checker {
    violation *why;    /* NULL: only the answer counts */
    violation *report; /* the caller's */
    bool gave_up;
    int depth;
    regex_run work; /* its steps are the budget */
} checker;

/* Ends the check: the value is refused. */
bool checker_give_up(checker *c, const way *at, const char *reason);
bool checker_is_exhausted(checker *c, const way *at);
/* Counts work; false when there is none left, and the check has given up. */
static inline bool checker_spend(checker *c, const way *at, size_t steps)
{
    if (c->work.steps <= 0 || (uint64_t)c->work.steps <= steps)
        return checker_is_exhausted(c, at);
    c->work.steps -= (int64_t)steps;
    return true;
}

/* Begins the reason of a violation. */
line violation_begin(violation *why, int kind, const way *at);
void line_types(line *l, types set);
/* A string without its type's name: what an enum shows. */
void line_short(line *l, const lb_value *value);
/* What is there instead: `int (3)`. */
void line_instance(line *l, const instance *in);

/* "minimum" and the like; pattern, format and the like. */
bool check_number(checker *c, const number_rules *rules, const lb_value *value, const way *at);
bool check_string(checker *c, const string_rules *rules, const instance *in, const way *at);
bool check_enum(checker *c, const validator *v, const instance *in, const way *at);
bool check_const(checker *c, const validator *v, const instance *in, const way *at);
bool check_unique(checker *c, const lb_value *list, const way *at);
/* Whether the pattern is found in the text; false also when the check has given up. */
bool check_pattern(checker *c, const regex *pattern, lb_slice text, const way *at);

#endif
