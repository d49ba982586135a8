/* The plugins that are built in, and what they share. They use what everybody's plugins use. */
#ifndef PLUGINS_PLUGINS_H
#define PLUGINS_PLUGINS_H

#include <lightbus.h>
#include <lightbus/plugin.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

extern const lb_plugin state_plugin, metrics_plugin;

/* Seconds since 1970. */
static inline double plugin_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)(t.tv_nsec / 1000) / 1e6;
}

/* Plugins' own APIs are not reported by plugins. */
static inline bool plugin_is_internal(const char *api_name) { return strncmp(api_name, "internal.", 9) == 0; }

#endif
