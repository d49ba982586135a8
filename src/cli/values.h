/* The words that stand for values in the tables of flags and commands (see cli.h), and what they mean for the
 * completion of shells. */
#ifndef CLI_VALUES_H
#define CLI_VALUES_H

#include "cli.h"

typedef enum value_kind {
    VALUE_OTHER, /* anything */
    VALUE_WORDS, /* one of `text`, which are separated by spaces */
    VALUE_LIST,  /* several of them, with commas between */
    VALUE_FILE,
    VALUE_FOLDER,
    VALUE_NAME, /* a name on the bus; `text` is the word itself, which says of what */
} value_kind;

typedef struct value_word {
    value_kind kind;
    char word[64];  /* as in the help */
    char text[512]; /* for VALUE_WORDS, VALUE_LIST, VALUE_NAME */
} value_word;

value_word value_of_flag(const flag *f); /* of one that is no switch */
/* Of the argument at `place`, from 1; the last one may stand for all from its place on (*repeats). False: the
 * command takes no argument there. */
bool value_of_argument(const command *c, size_t place, value_word *value, bool *repeats);

#endif
