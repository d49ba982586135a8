/* Lightbus for C: RPCs and events between services. This header is the whole API but for writing transports
 * (<lightbus/transport.h>) and plugins (<lightbus/plugin.h>). */
#ifndef LIGHTBUS_H
#define LIGHTBUS_H

#include <lightbus/api.h>
#include <lightbus/bus.h>
#include <lightbus/diagnose.h>
#include <lightbus/error.h>
#include <lightbus/hook.h>
#include <lightbus/log.h>
#include <lightbus/main.h>
#include <lightbus/schema.h>
#include <lightbus/task.h>
#include <lightbus/types.h>
#include <lightbus/value.h>
#include <lightbus/version.h>

#endif
