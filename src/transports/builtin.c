/* The transports that are built in, in the order in which error messages name them. */
#include "../base/builtin.h"
#include "debug/debug.h"
#include "local/local.h"
#include "redis/redis.h"

const lb_transport *const builtin_transports[] = {&local_transport, &redis_transport, &debug_transport};
const size_t builtin_transports_count = sizeof builtin_transports / sizeof *builtin_transports;
