/* The APIs of the recordings in C: signature for signature, behaviour for behaviour. */
#ifndef REPLAY_APIS_H
#define REPLAY_APIS_H

#include <lightbus.h>

/* By the name of the API on the bus ("my_company.auth") or of its Python class ("AuthApi"); NULL: not known. */
const lb_api *api_by_name(const char *name);

/* A call that an API answers at once and an event that it has, to ask a worker whether it is still there. */
const char *api_probe_procedure(const lb_api *api, const char **kwargs);

#endif
