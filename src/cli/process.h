/* Child processes, without a shell: the compiler and pkg-config. */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H

#include <lightbus/error.h>

#include "../base/arena.h"
#include "../base/buffer.h"

/* A list of words that ends with NULL, in an arena. Invariant: when memory is short `failed` is set, and the
 * list stays as it was. */
typedef struct words {
    arena *memory;
    char **list;
    size_t count, capacity;
    bool failed;
} words; /* {memory} is an empty list */

void words_add(words *w, const char *word);
void words_add_all(words *w, const words *more);
/* Splits a text as a shell would: at white space, but for quotes and backslashes; nothing is expanded. */
void words_split(words *w, const char *text);

/* Runs the program argv[0], found in PATH, until it ends, and gives its exit code (128 + signal when it was
 * killed). `setting` ("NAME=value", or NULL) is added to its environment. Its stdout is appended to `output`,
 * or is ours when that is NULL; its stderr is ours. LB_SYSTEM: it could not be run. */
lb_status process_run(char *const *argv, const char *setting, buffer *output, int *exit_code, lb_error *error);

#endif
