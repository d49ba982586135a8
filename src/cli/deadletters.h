/* What the parts of `lightbus deadletters` share: cmd_deadletters.c finds and acts, deadletters_list.c prints
 * the table. Letters are read one by one, twice where something has to be known of all of them before, so that
 * memory stays flat. */
#ifndef CLI_DEADLETTERS_H
#define CLI_DEADLETTERS_H

#include "cli.h"

typedef struct dead_letters {
    const invocation *in;
    lb_bus *bus;
    char to[32]; /* milliseconds: none that was put aside later; "": no bound */
} dead_letters;

/* What is there, measured for a table. */
typedef struct dead_survey {
    size_t count;
    size_t id, event, group; /* columns that the widest one takes */
} dead_survey;

/* The letters that the flags ask for; oldest first. NULL: an error. */
lb_history *dead_letters_open(const dead_letters *d, const char *from, const char *to, unsigned flags,
                              lb_error *error);
/* The next of them. NULL: no more. */
lb_status dead_letters_next(const dead_letters *d, lb_history *history, const lb_event **event,
                            lb_error *error);
/* Counts them, and sets the bound so that the next look finds the same ones, and not what comes meanwhile. */
lb_status dead_letters_survey(dead_letters *d, dead_survey *survey, lb_error *error);

/* deadletters_list.c */
lb_status dead_letters_list(dead_letters *d, lb_error *error);

#endif
