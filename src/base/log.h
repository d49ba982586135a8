/* Inside the logger. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <lightbus/log.h>

/* What the default log writes before each message, such as "[2] "; at most 15 bytes of it. Before threads
 * start. */
void log_set_prefix(const char *prefix);

#endif
