/* Arguments from the command line: NAME=VALUE words and JSON, made into what lb_call and lb_fire take. */
#ifndef CLI_ARGUMENTS_H
#define CLI_ARGUMENTS_H

#include <lightbus/api.h>

#include "../base/arena.h"

/* Splits the words into arguments that are texts, for arguments_type; the list ends with a NULL name, and it
 * and all in it lives in `memory`. LB_USAGE names the word that is no NAME=VALUE, or a name that came twice. */
lb_status arguments_split(arena *memory, char *const *words, size_t count, lb_arg **args, lb_error *error);
/* The members of a JSON object as arguments. LB_USAGE says what it is instead. */
lb_status arguments_from_json(arena *memory, const char *json, lb_arg **args, lb_error *error);

/* Gives the texts the types that `parameters` (a JSON schema of an object, or NULL) declares: a string is taken
 * as it is, anything else is read as JSON. What fits no declared type stays what it looks like, for the
 * validation to name. LB_INVALID_ARGUMENTS for a list or dict that is no JSON. */
lb_status arguments_type(arena *memory, const lb_value *parameters, lb_arg *args, lb_error *error);

/* "auth.check_password" as its two parts, in `memory`: the name of an API may have dots itself. */
typedef struct target {
    const char *api, *member;
} target;
lb_status target_split(arena *memory, const char *name, target *t, lb_error *error);
/* The schema of that member in a dump of the bus; `half` is "rpcs" or "events". LB_UNKNOWN_API or
 * LB_UNKNOWN_MEMBER names the nearest one, or all that there are. */
lb_status target_find(const lb_value *schemas, const target *t, const char *half, const lb_value **member,
                      lb_error *error);
/* The same for "api.event" or "api.*", of which only is asked whether they are there. */
lb_status target_find_events(arena *memory, const lb_value *schemas, const char *name, lb_error *error);
/* `what` is wrong with a name: says which of `names`, the keys of a dict, was probably meant, or which there
 * are. Returns the status. */
lb_status target_unknown(lb_error *error, lb_status status, const char *what, const char *wanted,
                         const lb_value *names);

#endif
