/* What the parts of `lightbus inspect` share: inspect_filter.c says which events are wanted, inspect_print.c
 * prints them, cmd_inspect.c goes through them. */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include "cli.h"

#include "../base/arena.h"
#include "../base/buffer.h"
#include "json_path.h"

/* Whether a text is a pattern, and whether a name matches it: * ? [...], where * stands for dots too. */
bool is_pattern(const char *text);
bool pattern_matches(const char *pattern, const char *name);

typedef struct inspect_filter {
    const char *event, *id; /* NULL: all */
    const json_path *path;  /* NULL: none */
    bool by_version;
    comparison version_comparison;
    int64_t version;
} inspect_filter;

/* From the flags. LB_USAGE names the flag that is wrong; what is made lives in `memory`. */
lb_status inspect_filter_read(arena *memory, const invocation *in, inspect_filter *filter, lb_error *error);
/* An event with a problem is only wanted where nothing is asked that it cannot answer. */
bool inspect_filter_takes(const inspect_filter *filter, const lb_event *event, const char *problem);

typedef struct inspect_printer {
    enum { FORMAT_JSON, FORMAT_PRETTY, FORMAT_HUMAN } format;
    bool for_people; /* stdout is a terminal */
    bool validate, show_casting;
    colours colours;
    const lb_value *schemas; /* of all APIs */
    buffer out;
} inspect_printer;

void inspect_format_read(const invocation *in, inspect_printer *printer); /* flags_parse knows the formats */
/* Prints the event last given. False when memory is short. */
bool inspect_print(inspect_printer *printer, lb_history *history, const lb_event *event);

#endif
