/* `lightbus run --processes` and `--reload`: a supervisor and its worker processes. */
#ifndef CLI_SUPERVISOR_H
#define CLI_SUPERVISOR_H

#include "cli.h"

#include "../base/arena.h"

/* What this process is. Texts lie in the arena given to supervise. */
typedef struct role {
    int number;                  /* of a worker under a supervisor, from 1; 0: there is none */
    int count;                   /* of the workers */
    int ready;                   /* where it tells that it is ready, see role_tell_ready; -1 */
    bool silent;                 /* the banner was shown before */
    bool service_is_random;      /* although it is given to this worker */
    const char *module, *object; /* the bus module's file, and what to load; NULL: not known yet */
} role;

/* Starts `count` workers, and others in place of those that end; with `reload`, anew whenever the bus module's
 * files change. Until SIGTERM or SIGINT. Returns twice: in the supervisor, when all has ended, with the exit
 * code and r->number 0; and in each worker, with *r and with its names in *in. `in` and `r` outlive it. */
int supervise(invocation *in, int count, bool reload, arena *memory, role *r);
void role_tell_ready(const role *r);

#endif
