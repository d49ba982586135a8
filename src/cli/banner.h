/* What `lightbus run` shows when it starts. */
#ifndef CLI_BANNER_H
#define CLI_BANNER_H

#include "cli.h"

typedef struct banner {
    const lb_bus *bus;
    const char *module;     /* the bus module's file, or NULL */
    unsigned left_out;      /* LB_RUN_NO_... */
    long pid;               /* to send signals to */
    int workers;            /* 0: this process is all */
    bool service_is_random; /* whatever the bus says */
} banner;

/* Who this process is, what it serves and what it listens to. */
void banner_print(FILE *out, const banner *b);

#endif
