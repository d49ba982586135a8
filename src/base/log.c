/* Logging to a callback; by default a line on stderr, written with one call so that lines do not mix. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static lb_log_fn log_callback;
static void *log_callback_data;
static int log_level = LB_LOG_INFO;
static char log_prefix[16];

void lb_log_to(lb_log_fn log, void *data)
{
    log_callback = log;
    log_callback_data = data;
}

void lb_log_set_level(lb_log_level level)
{
    if (level != LB_LOG_DEFAULT)
        __atomic_store_n(&log_level, (int)level, __ATOMIC_RELAXED);
}

lb_log_level lb_log_get_level(void) { return (lb_log_level)__atomic_load_n(&log_level, __ATOMIC_RELAXED); }

void log_set_prefix(const char *prefix) { snprintf(log_prefix, sizeof log_prefix, "%s", prefix); }

static void log_to_stderr(lb_log_level level, const char *message)
{
    static const struct {
        const char *name, *colour;
    } look[] = {
        [LB_LOG_DEBUG] = {"DEBUG", "\033[2m"},          [LB_LOG_INFO] = {"INFO", ""},
        [LB_LOG_WARNING] = {"WARNING", "\033[33m"},     [LB_LOG_ERROR] = {"ERROR", "\033[31m"},
        [LB_LOG_CRITICAL] = {"CRITICAL", "\033[1;31m"},
    };
    char when[16];
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(when, sizeof when, "%H:%M:%S", &local);
    const char *colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR") ? look[level].colour : "";
    char line[2048];
    int size =
        snprintf(line, sizeof line, "%s%s.%03d %-7s %s%s%s\n", colour, when, (int)(now.tv_nsec / 1000000),
                 look[level].name, log_prefix, message, *colour ? "\033[0m" : "");
    if (size >= (int)sizeof line) { /* cut, but still a line of its own */
        size = (int)sizeof line;
        line[size - 1] = '\n';
    }
    if (write(STDERR_FILENO, line, (size_t)size) < 0)
        return; /* nowhere left to say so */
}

void lb_log(lb_log_level level, const char *format, ...)
{
    if (level < lb_log_get_level() || level > LB_LOG_CRITICAL)
        return;
    char message[1800];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    for (char *c = message; *c; c++) /* what came over the bus must not forge lines or move the cursor */
        if ((unsigned char)*c < 0x20 && *c != '\t')
            *c = ' ';
    if (log_callback)
        log_callback(level, message, log_callback_data);
    else
        log_to_stderr(level, message);
}
