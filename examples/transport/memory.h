/* An example of a transport: a bus inside one process. docs/how-to/write-a-transport.md walks through it. */
#ifndef MEMORY_H
#define MEMORY_H

#include <lightbus/transport.h>

/* memory:NAME; register it with lb_transport_register. */
extern const lb_transport memory_transport;

#endif
