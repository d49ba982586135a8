/* What `call` and `fire` have in common: a name and arguments, checked against the schema of the bus. */
#ifndef CLI_OUTGOING_H
#define CLI_OUTGOING_H

#include "../base/arena.h"
#include "cli.h"

typedef struct outgoing {
    arena memory; /* of args */
    lb_bus *bus;
    const char *name;
    lb_arg *args;
} outgoing;

/* Reads the command line, opens the bus and types the arguments by the schema; `half` is "rpcs" or "events". An
 * exit code, with the message printed unless it is CLI_OK. Nothing is sent. outgoing_free is due in any case.
 */
int outgoing_prepare(const invocation *in, const char *half, outgoing *o);
void outgoing_free(outgoing *o);

#endif
