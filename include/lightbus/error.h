/* Statuses and errors.
 *
 * A function that can fail returns an lb_status and fills an lb_error that the caller owns (or NULL).
 * There is no global error state; nothing is printed; the library never aborts. */
#ifndef LIGHTBUS_ERROR_H
#define LIGHTBUS_ERROR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LB_API                 __attribute__((visibility("default")))
#define LB_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))

/* One row per status: name, number, what it means. The numbers are part of the ABI. */
#define LB_STATUS_MAP(X)                                                                                       \
    X(OK, 0, "success")                                                                                        \
    X(RETRY, -1, "to be handled again, later")                                                                 \
    X(REJECT, -2, "not to be handled again")                                                                   \
    X(FAILED, -3, "the handler failed")                                                                        \
    X(REMOTE_ERROR, -4, "the other side answered with an error")                                               \
    X(TIMEOUT, -5, "the deadline has passed")                                                                  \
    X(CANCELED, -6, "canceled")                                                                                \
    X(UNKNOWN_API, -7, "no such API")                                                                          \
    X(UNKNOWN_MEMBER, -8, "the API has no such procedure or event")                                            \
    X(INVALID_ARGUMENTS, -9, "the arguments do not fit the signature")                                         \
    X(INVALID_RESULT, -10, "the result does not fit the signature")                                            \
    X(INVALID_SIGNATURE, -11, "a malformed signature")                                                         \
    X(INVALID_NAME, -12, "a malformed name")                                                                   \
    X(DUPLICATE, -13, "already there")                                                                         \
    X(USAGE, -14, "called in a way that the documentation excludes")                                           \
    X(CONFIG, -15, "wrong configuration")                                                                      \
    X(TRANSPORT, -16, "the transport failed")                                                                  \
    X(ACCESS, -17, "credentials or certificates were refused")                                                 \
    X(BUSY, -18, "full or overloaded")                                                                         \
    X(NO_SPACE, -19, "no space left")                                                                          \
    X(TOO_LARGE, -20, "over a size limit")                                                                     \
    X(MALFORMED, -21, "not what the protocol or format says")                                                  \
    X(NO_MEMORY, -22, "out of memory")                                                                         \
    X(CLOSED, -23, "closed or closing")                                                                        \
    X(UNSUPPORTED, -24, "not supported")                                                                       \
    X(SYSTEM, -25, "an operating system call failed")                                                          \
    X(GONE, -26, "not there any more")

typedef enum lb_status {
#define LB_STATUS_ROW(name, number, text) LB_##name = number,
    LB_STATUS_MAP(LB_STATUS_ROW)
#undef LB_STATUS_ROW
} lb_status;

/* What went wrong. Allocated by the caller, never freed: it owns nothing. Start it as {0}; a function
 * writes it only when it fails. Each text is NUL-terminated UTF-8, cut if it is too long. */
typedef struct lb_error {
    lb_status status;
    bool retryable;    /* the same call may succeed later, unchanged */
    char type[64];     /* the error's name: the remote one ("UserNotFound", "ValueError"), else the status's
                          ("TIMEOUT") */
    char message[512]; /* one line for a person: the thing, the place, what was expected */
    char trace[1536];  /* the remote stack trace, or "" */
} lb_error;

/* The name of a status ("TIMEOUT") and its meaning ("the deadline has passed"); "?" for an unknown number.
 * Static strings; callable from any thread. */
LB_API const char *lb_status_name(lb_status status);
LB_API const char *lb_status_text(lb_status status);

/* Fills *error (which may be NULL) with a status and a printf-style message, and returns the status, so that
 * a handler or transport can write `return lb_error_set(error, LB_CONFIG, "...")`. */
LB_API lb_status lb_error_set(lb_error *error, lb_status status, const char *format, ...) LB_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
