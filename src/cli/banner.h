/* What `lightbus run` shows when it starts. */
#ifndef CLI_BANNER_H
#define CLI_BANNER_H

#include "cli.h"

/* Who this process is, what it serves and what it listens to. `module`: the bus module's file, or NULL. */
void banner_print(FILE *out, const lb_bus *bus, const char *module);

#endif
