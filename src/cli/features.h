/* The features of a worker: what --only, --skip and LIGHTBUS_FEATURES say. */
#ifndef CLI_FEATURES_H
#define CLI_FEATURES_H

#include "cli.h"

/* What they leave out, as flags of lb_run. CLI_OK, or CLI_USAGE with the message printed. */
int features_read(const invocation *in, unsigned *left_out);
/* "events, tasks", or "" when nothing is left out. */
#define FEATURES_SIZE 32
const char *features_text(unsigned left_out, char out[FEATURES_SIZE]);

#endif
