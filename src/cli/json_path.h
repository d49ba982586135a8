/* Conditions on events. On their content: "address.city=London", "items[*].price >= 10", "$..id != 7". */
#ifndef CLI_JSON_PATH_H
#define CLI_JSON_PATH_H

#include <lightbus/api.h>

#include "../base/arena.h"

typedef enum comparison { EQUAL, DIFFERENT, LESS, AT_MOST, GREATER, AT_LEAST } comparison;
/* Reads one of = == != < <= > >= and moves *at behind it; false when there is none. */
bool comparison_read(const char **at, comparison *result);
/* Whether it holds between two things of which a comparison gave `order` (below 0, 0, above 0). */
bool comparison_holds(comparison c, int order);

typedef struct json_path json_path;

/* Reads PATH OP VALUE into `memory`. PATH begins with the name of an argument, or "$"; then .NAME ["NAME"]
 * [INDEX] [*] .* and ..NAME (at any depth). OP is one of = != < <= > >=. VALUE is a number, a word or a JSON
 * text; LB_USAGE names the column and what was expected. */
lb_status json_path_parse(arena *memory, const char *text, const json_path **path, lb_error *error);

/* Whether any of the values that the path leads to fulfils the condition. Numbers compare as numbers; strings
 * byte by byte, with VALUE as it is written (its quotes left off); true, false, null, lists and dicts are only
 * equal or not. */
bool json_path_matches(const json_path *path, const lb_arg *args);

#endif
