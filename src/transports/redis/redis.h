/* The Redis transport: RPCs, results, events and schemas over Redis 6.2 or later, as Python Lightbus speaks. */
#ifndef REDIS_REDIS_H
#define REDIS_REDIS_H

#include <lightbus/transport.h>

extern const lb_transport redis_transport;

#endif
