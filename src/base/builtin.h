/* The transports and the plugins that are built in. src/transports/builtin.c and src/plugins/builtin.c name
 * them and src/bus looks them up, so that neither includes the other. */
#ifndef BASE_BUILTIN_H
#define BASE_BUILTIN_H

#include <lightbus/plugin.h>
#include <lightbus/transport.h>

extern const lb_transport *const builtin_transports[];
extern const size_t builtin_transports_count;
extern const lb_plugin *const builtin_plugins[];
extern const size_t builtin_plugins_count;

#endif
