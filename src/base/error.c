/* Statuses and errors. */
#include <lightbus/error.h>
#include <lightbus/version.h>

#include <stdio.h>

#include "buffer.h"

const char *lb_status_name(lb_status status)
{
    switch (status) {
#define ROW(name, number, text)                                                                                \
    case LB_##name:                                                                                            \
        return #name;
        LB_STATUS_MAP(ROW)
#undef ROW
    }
    return "?";
}

const char *lb_status_text(lb_status status)
{
    switch (status) {
#define ROW(name, number, text)                                                                                \
    case LB_##name:                                                                                            \
        return text;
        LB_STATUS_MAP(ROW)
#undef ROW
    }
    return "?";
}

lb_status lb_error_set(lb_error *error, lb_status status, const char *format, ...)
{
    if (!error)
        return status;
    error->status = status;
    error->retryable =
        status == LB_TRANSPORT || status == LB_BUSY || status == LB_TIMEOUT || status == LB_RETRY;
    error->trace[0] = '\0';
    snprintf(error->type, sizeof error->type, "%s", lb_status_name(status));
    va_list args;
    va_start(args, format);
    text_vprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return status;
}

const char *lb_version(void) { return LIGHTBUS_VERSION; }
