/* The transports that are built in. src/transports/builtin.c names them and src/bus looks them up, so that
 * neither includes the other. */
#ifndef BASE_BUILTIN_H
#define BASE_BUILTIN_H

#include <lightbus/transport.h>

extern const lb_transport *const builtin_transports[];
extern const size_t builtin_transports_count;

#endif
