/* The version. LIGHTBUS_VERSION is the header's, lb_version() the library's that runs. */
#ifndef LIGHTBUS_VERSION_H
#define LIGHTBUS_VERSION_H

#include <lightbus/error.h>

#define LIGHTBUS_VERSION_MAJOR 0
#define LIGHTBUS_VERSION_MINOR 1
#define LIGHTBUS_VERSION_PATCH 0
#define LIGHTBUS_VERSION       "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif
LB_API const char *lb_version(void);
#ifdef __cplusplus
}
#endif
#endif
