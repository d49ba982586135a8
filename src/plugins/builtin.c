/* The plugins that are built in. */
#include "../base/builtin.h"
#include "plugins.h"

const lb_plugin *const builtin_plugins[] = {&state_plugin, &metrics_plugin};
const size_t builtin_plugins_count = sizeof builtin_plugins / sizeof *builtin_plugins;
