/* Logging: one callback per process, stderr by default. */
#ifndef LIGHTBUS_LOG_H
#define LIGHTBUS_LOG_H

#include <lightbus/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum lb_log_level {
    LB_LOG_DEFAULT = 0, /* as it was: INFO at first */
    LB_LOG_DEBUG,
    LB_LOG_INFO,
    LB_LOG_WARNING,
    LB_LOG_ERROR,
    LB_LOG_CRITICAL,
} lb_log_level;

/* Receives one message without a trailing newline; `message` is borrowed. Called from any thread, several at
 * once; it must not call back into the bus. */
typedef void (*lb_log_fn)(lb_log_level level, const char *message, void *data);

/* Sends the log elsewhere; NULL restores the default: a line on stderr, coloured when that is a terminal
 * and NO_COLOR is unset. Call it before other threads use the library. */
LB_API void lb_log_to(lb_log_fn log, void *data);

/* The least level that is logged. LB_LOG_DEFAULT changes nothing. Any thread. */
LB_API void lb_log_set_level(lb_log_level level);
LB_API lb_log_level lb_log_get_level(void);

/* Logs a printf-style message through the same callback. Passwords in URLs are the caller's to mask.
 * Any thread; does not block beyond the callback. */
LB_API void lb_log(lb_log_level level, const char *format, ...) LB_PRINTF(2, 3);

#ifdef __cplusplus
}
#endif
#endif
