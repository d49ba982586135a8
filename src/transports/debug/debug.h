/* The debug transport: logs what it is asked to do, and delivers nothing. No network, no other process. */
#ifndef DEBUG_DEBUG_H
#define DEBUG_DEBUG_H

#include <lightbus/transport.h>

extern const lb_transport debug_transport;

#endif
