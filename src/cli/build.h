/* Preparing what the workers of a supervisor run. It is done in a child process, so that the supervisor neither
 * waits for a compiler nor opens a bus nor loads a module; the child reports through a pipe. */
#ifndef CLI_BUILD_H
#define CLI_BUILD_H

#include "cli.h"

#include "../base/arena.h"
#include "../base/buffer.h"

/* What was found out. "" is what was not. */
typedef struct built {
    const char *service, *process; /* names, placeholders filled in */
    bool service_is_random;
    const char *module, *object; /* the bus module's file, and the shared object to load */
    const char *identity;        /* another one than before: there is something new to run */
    const char *const *inputs;   /* the files that it is made of, as far as they are known; NULL-terminated */
} built;

/* In the child: checks the configuration, finds the module, compiles it, sees that it can be loaded, and writes
 * the report. The exit code; what is wrong was printed. */
int build_and_report(const invocation *in, int out);
/* Takes a report apart. `b` points into it and `memory`. False: it is incomplete, or memory is short. */
bool build_read(buffer *report, arena *memory, built *b);

#endif
