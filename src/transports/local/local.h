/* The local transport: a bus in a folder of this machine, without a server.
 * URLs: local:, local:NAME, local:///path, with options in the query; see docs/explanation/local-bus.md. */
#ifndef LOCAL_LOCAL_H
#define LOCAL_LOCAL_H

#include <lightbus/transport.h>

extern const lb_transport local_transport;

#endif
