/* Defining APIs, handling their RPCs and events, and passing arguments.
 *
 * An API is a table of members. A member is an RPC or an event, declared by a signature:
 *     check_password(username: str, password: str) -> bool
 *     user_registered(username: str, email: str, is_admin: bool = false)
 * The grammar is in docs/reference/signatures.md. */
#ifndef LIGHTBUS_API_H
#define LIGHTBUS_API_H

#include <lightbus/error.h>
#include <lightbus/types.h>
#include <lightbus/value.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lb_bus lb_bus;           /* a bus handle: <lightbus/bus.h> */
typedef struct lb_request lb_request;   /* an RPC that is being handled */
typedef struct lb_event lb_event;       /* an event that is being handled */
typedef struct lb_occasion lb_occasion; /* what a hook is called for: <lightbus/hook.h> */

/* ---- Arguments -------------------------------------------------------------------------------------- */

typedef enum lb_datum_kind {
    LB_DATUM_NULL,
    LB_DATUM_BOOL,
    LB_DATUM_INT,
    LB_DATUM_UINT,
    LB_DATUM_FLOAT,
    LB_DATUM_STR,   /* NUL-terminated, or NULL for null */
    LB_DATUM_STRN,  /* with a size */
    LB_DATUM_VALUE, /* an lb_value, NULL for null */
    LB_DATUM_JSON,  /* JSON text, checked before it is sent */
    LB_DATUM_BYTES, /* the values of <lightbus/types.h> */
    LB_DATUM_DATETIME,
    LB_DATUM_DATE,
    LB_DATUM_TIME,
    LB_DATUM_DECIMAL, /* in str */
    LB_DATUM_UUID,
} lb_datum_kind;

/* One C value on its way to the bus. Made by LB, LB_STRN, LB_JSON, LB_NULL; not by hand. */
typedef struct lb_datum {
    lb_datum_kind kind;
    union {
        bool boolean;
        int64_t i;
        uint64_t u;
        double f;
        const char *str;
        lb_slice slice;
        const lb_value *value;
        lb_datetime datetime;
        lb_date date;
        lb_time time;
        lb_uuid uuid;
    } as;
} lb_datum;

/* A named argument. A list of them ends with one whose name is NULL; LB_ARGS adds it. */
typedef struct lb_arg {
    const char *name;
    lb_datum value;
} lb_arg;

static inline lb_datum lb_datum_null(void)
{
    lb_datum d = {LB_DATUM_NULL, {0}};
    return d;
}
/* Nothing but what counts is written: clearing the rest first costs more than all of it. */
#define LB_DATUM_FROM_(suffix, type, datum_kind, member)                                                       \
    static inline lb_datum lb_datum_##suffix(type value)                                                       \
    {                                                                                                          \
        lb_datum d;                                                                                            \
        d.kind = datum_kind;                                                                                   \
        d.as.member = value;                                                                                   \
        return d;                                                                                              \
    }
LB_DATUM_FROM_(bool, bool, LB_DATUM_BOOL, boolean)
LB_DATUM_FROM_(int, int64_t, LB_DATUM_INT, i)
LB_DATUM_FROM_(uint, uint64_t, LB_DATUM_UINT, u)
LB_DATUM_FROM_(float, double, LB_DATUM_FLOAT, f)
LB_DATUM_FROM_(str, const char *, LB_DATUM_STR, str)
LB_DATUM_FROM_(value, const lb_value *, LB_DATUM_VALUE, value)
LB_DATUM_FROM_(datetime, lb_datetime, LB_DATUM_DATETIME, datetime)
LB_DATUM_FROM_(date, lb_date, LB_DATUM_DATE, date)
LB_DATUM_FROM_(time, lb_time, LB_DATUM_TIME, time)
LB_DATUM_FROM_(uuid, lb_uuid, LB_DATUM_UUID, uuid)
#undef LB_DATUM_FROM_
static inline lb_datum lb_datum_same(lb_datum value) { return value; }
static inline lb_datum lb_datum_strn(const char *data, size_t size)
{
    lb_datum d;
    d.kind = LB_DATUM_STRN;
    d.as.slice.data = data;
    d.as.slice.size = size;
    return d;
}
static inline lb_datum lb_datum_bytes(lb_bytes value)
{
    lb_datum d = lb_datum_strn((const char *)value.data, value.size);
    d.kind = LB_DATUM_BYTES;
    return d;
}
static inline lb_datum lb_datum_decimal(lb_decimal value)
{
    lb_datum d;
    d.kind = LB_DATUM_DECIMAL;
    d.as.str = value.text;
    return d;
}
static inline lb_datum lb_datum_json(const char *json)
{
    lb_datum d;
    d.kind = LB_DATUM_JSON;
    d.as.str = json;
    return d;
}
static inline lb_arg lb_arg_make(const char *name, lb_datum value)
{
    lb_arg arg = {name, value};
    return arg;
}

#ifdef __cplusplus
} /* overloads instead of _Generic */
inline lb_datum lb_datum_of(bool v) { return lb_datum_bool(v); }
inline lb_datum lb_datum_of(int v) { return lb_datum_int(v); }
inline lb_datum lb_datum_of(long v) { return lb_datum_int(v); }
inline lb_datum lb_datum_of(long long v) { return lb_datum_int(v); }
inline lb_datum lb_datum_of(unsigned v) { return lb_datum_uint(v); }
inline lb_datum lb_datum_of(unsigned long v) { return lb_datum_uint(v); }
inline lb_datum lb_datum_of(unsigned long long v) { return lb_datum_uint(v); }
inline lb_datum lb_datum_of(double v) { return lb_datum_float(v); }
inline lb_datum lb_datum_of(const char *v) { return lb_datum_str(v); }
inline lb_datum lb_datum_of(const lb_value *v) { return lb_datum_value(v); }
inline lb_datum lb_datum_of(lb_bytes v) { return lb_datum_bytes(v); }
inline lb_datum lb_datum_of(lb_datetime v) { return lb_datum_datetime(v); }
inline lb_datum lb_datum_of(lb_date v) { return lb_datum_date(v); }
inline lb_datum lb_datum_of(lb_time v) { return lb_datum_time(v); }
inline lb_datum lb_datum_of(lb_decimal v) { return lb_datum_decimal(v); }
inline lb_datum lb_datum_of(lb_uuid v) { return lb_datum_uuid(v); }
inline lb_datum lb_datum_of(lb_datum v) { return v; }
lb_datum lb_datum_of(const void *) = delete; /* no pointer becomes a bool */
#define LB_DATUM(value) lb_datum_of(value)
template <typename... Arg> struct lb_args_ {
    lb_arg list[sizeof...(Arg) + 1];
    lb_args_(Arg... arg) : list{arg..., lb_arg_make(nullptr, lb_datum_null())} {}
    operator const lb_arg *() const { return list; }
};
template <typename... Arg> inline lb_args_<Arg...> lb_args_of_(Arg... arg) { return lb_args_<Arg...>(arg...); }
/* The list lives until the end of the full expression: pass it straight to a call. */
#define LB_ARGS(...) static_cast<const lb_arg *>(lb_args_of_(__VA_ARGS__))
extern "C" {
#else
#define LB_DATUM(datum)                                                                                        \
    _Generic((datum),                                                                                         \
        bool: lb_datum_bool,                                                                                  \
        char: lb_datum_int,                                                                                   \
        signed char: lb_datum_int,                                                                            \
        unsigned char: lb_datum_uint,                                                                         \
        short: lb_datum_int,                                                                                  \
        unsigned short: lb_datum_uint,                                                                        \
        int: lb_datum_int,                                                                                    \
        unsigned: lb_datum_uint,                                                                              \
        long: lb_datum_int,                                                                                   \
        unsigned long: lb_datum_uint,                                                                         \
        long long: lb_datum_int,                                                                              \
        unsigned long long: lb_datum_uint,                                                                    \
        float: lb_datum_float,                                                                                \
        double: lb_datum_float,                                                                               \
        char *: lb_datum_str,                                                                                 \
        const char *: lb_datum_str,                                                                           \
        lb_value *: lb_datum_value,                                                                           \
        const lb_value *: lb_datum_value,                                                                     \
        lb_bytes: lb_datum_bytes,\
        lb_datetime: lb_datum_datetime,\
        lb_date: lb_datum_date,\
        lb_time: lb_datum_time,\
        lb_decimal: lb_datum_decimal,\
        lb_uuid: lb_datum_uuid,\
        lb_datum: lb_datum_same)(datum)
/* A list of arguments, alive until the end of the enclosing block. Everything in it is borrowed. */
#define LB_ARGS(...) ((const lb_arg[]){__VA_ARGS__, {NULL, {LB_DATUM_NULL, {0}}}})
#endif

/* One argument: LB("username", "admin"). `value` is a bool, a number, a string, an lb_value, a value of
 * <lightbus/types.h>, or one of LB_NULL, LB_STRN, LB_JSON. The declared type decides what is sent: before C23
 * `true` and `a == b` are int to the compiler, and arrive as booleans where the signature says bool. */
#define LB(name, value)     lb_arg_make((name), LB_DATUM(value))
#define LB_NULL             lb_datum_null()
#define LB_STRN(data, size) lb_datum_strn((data), (size)) /* a string with a size; may hold NUL characters */
#define LB_JSON(text)       lb_datum_json(text)           /* JSON text for lists, dicts and structs */
#define LB_NO_ARGS          ((const lb_arg *)0)

/* ---- Members ---------------------------------------------------------------------------------------- */

/* Handles one RPC, on the worker's thread that fetched it. It answers with lb_return, lb_fail or lb_defer
 * exactly once and passes on their status; a handler that returns a failure without answering makes the call
 * fail with that status; one that returns LB_OK without answering returns null. `request` and all that is
 * read from it is borrowed until the handler returns. It may call RPCs and fire events on request's bus. */
typedef lb_status (*lb_rpc_handler)(lb_request *request, void *data);

/* Handles one event, on the listener's thread. LB_OK acknowledges it. LB_RETRY, or any other failure: again
 * later, with growing delays, up to max_deliveries, then to the dead letters. LB_REJECT: to the dead letters
 * at once. `event` and all that is read from it is borrowed until the handler returns. */
typedef lb_status (*lb_event_handler)(const lb_event *event, void *data);

typedef enum lb_member_kind { LB_MEMBER_END, LB_MEMBER_RPC, LB_MEMBER_EVENT } lb_member_kind;

/* A row of an API's table; made by LB_RPC, LB_EVENT, LB_END. */
typedef struct lb_member {
    lb_member_kind kind;
    const char *signature;
    lb_rpc_handler handler; /* NULL for events */
    const char *doc;        /* what people read in `lightbus inspect` and the shell, or NULL */
} lb_member;

/* LB_RPC(signature, handler) and LB_EVENT(signature); LB_RPC_DOC and LB_EVENT_DOC add a line of text. */
/* clang-format off */
#define LB_RPC(signature, handler)          {LB_MEMBER_RPC, signature, handler, NULL}
#define LB_RPC_DOC(signature, handler, doc) {LB_MEMBER_RPC, signature, handler, doc}
#define LB_EVENT(signature)                 {LB_MEMBER_EVENT, signature, NULL, NULL}
#define LB_EVENT_DOC(signature, doc)        {LB_MEMBER_EVENT, signature, NULL, doc}
#define LB_END                              {LB_MEMBER_END, NULL, NULL, NULL}
/* clang-format on */

/* An API: its name on the bus (dotted: letters, digits, "_" and "-" between the dots; not "default") and its
 * members. Usually static const. Zero means the default. */
typedef struct lb_api {
    const char *name;
    const lb_member *members;
    int version; /* sent with each event; 0 means 1 */
    const char *doc;
} lb_api;

/* ---- Reading arguments ------------------------------------------------------------------------------ */

typedef struct lb_message lb_message; /* what a request and an event have in common */
LB_API const lb_message *lb_request_message(const lb_request *request);
LB_API const lb_message *lb_event_message_of(const lb_event *event);
LB_API const lb_message *lb_occasion_message(lb_occasion *occasion);

LB_API bool lb_message_has(const lb_message *message, const char *name);
LB_API const lb_value *lb_message_get(const lb_message *message, const char *name);
LB_API const char *lb_message_str(const lb_message *message, const char *name);
LB_API int64_t lb_message_int(const lb_message *message, const char *name);
LB_API double lb_message_float(const lb_message *message, const char *name);
LB_API bool lb_message_bool(const lb_message *message, const char *name);
LB_API lb_bytes lb_message_bytes(const lb_message *message, const char *name);
LB_API lb_datetime lb_message_datetime(const lb_message *message, const char *name);
LB_API lb_date lb_message_date(const lb_message *message, const char *name);
LB_API lb_time lb_message_time(const lb_message *message, const char *name);
LB_API lb_decimal lb_message_decimal(const lb_message *message, const char *name);
LB_API lb_uuid lb_message_uuid(const lb_message *message, const char *name);
LB_API const lb_arg *lb_message_args(const lb_message *message);

#ifdef __cplusplus
} /* extern "C" */
inline const lb_message *lb_message_of(const lb_request *m) { return lb_request_message(m); }
inline const lb_message *lb_message_of(const lb_event *m) { return lb_event_message_of(m); }
inline const lb_message *lb_message_of(lb_occasion *m) { return lb_occasion_message(m); }
inline const lb_message *lb_message_of(const lb_message *m) { return m; }
extern "C" {
#else
static inline const lb_message *lb_message_same_(const lb_message *message) { return message; }
#define lb_message_of(source)                                                                                  \
    _Generic((source),                                                                                        \
        lb_request *: lb_request_message,                                                                     \
        const lb_request *: lb_request_message,                                                               \
        lb_event *: lb_event_message_of,                                                                      \
        const lb_event *: lb_event_message_of,                                                                \
        lb_occasion *: lb_occasion_message,                                                                   \
        const lb_message *: lb_message_same_)(source)
#endif

/* The arguments of a request, an event or a hook's occasion (nothing else compiles). After validation a
 * declared parameter is present (by the sender or by its default) and of its type, so these return values.
 * Asking for a name that the signature lacks, or for another type, is a programming error: it is logged with
 * the signature, the answer is "", 0, false or NULL, and the handling of this message fails when the handler
 * returns. An optional parameter (T?) that is null reads as "", 0 or false; lb_has tells.
 * What is returned is borrowed until the handler returns. Only the handling thread may call them. */
#define lb_has(source, name)       lb_message_has(lb_message_of(source), (name))
#define lb_get(source, name)       lb_message_get(lb_message_of(source), (name))
#define lb_get_str(source, name)   lb_message_str(lb_message_of(source), (name))
#define lb_get_int(source, name)   lb_message_int(lb_message_of(source), (name))
#define lb_get_float(source, name) lb_message_float(lb_message_of(source), (name))
#define lb_get_bool(source, name)  lb_message_bool(lb_message_of(source), (name))
/* Null, and what was asked for wrongly, reads as no bytes, 0001-01-01, midnight, "0" and zeros. */
#define lb_get_bytes(source, name)    lb_message_bytes(lb_message_of(source), (name))
#define lb_get_datetime(source, name) lb_message_datetime(lb_message_of(source), (name))
#define lb_get_date(source, name)     lb_message_date(lb_message_of(source), (name))
#define lb_get_time(source, name)     lb_message_time(lb_message_of(source), (name))
#define lb_get_decimal(source, name)  lb_message_decimal(lb_message_of(source), (name))
#define lb_get_uuid(source, name)     lb_message_uuid(lb_message_of(source), (name))
/* All arguments, in the order of the message, as a list that ends with a NULL name. */
#define lb_args(source) lb_message_args(lb_message_of(source))

/* ---- Metadata --------------------------------------------------------------------------------------- */

/* Strings are borrowed until the handler returns. */
LB_API lb_bus *lb_request_bus(const lb_request *request);
LB_API const char *lb_request_id(const lb_request *request);
LB_API const char *lb_request_api(const lb_request *request);       /* "auth" */
LB_API const char *lb_request_procedure(const lb_request *request); /* "check_password" */
/* Milliseconds until the caller stops waiting, at most rpc_timeout; the wire tells no more (S7). */
LB_API int64_t lb_request_time_left_ms(const lb_request *request);

LB_API lb_bus *lb_event_bus(const lb_event *event);
LB_API const char *lb_event_id(const lb_event *event); /* made by the sender; the same when redelivered */
LB_API const char *lb_event_native_id(const lb_event *event); /* the transport's: Redis's "1700000000000-0" */
LB_API const char *lb_event_api(const lb_event *event);
LB_API const char *lb_event_name(const lb_event *event);
LB_API int lb_event_version(const lb_event *event);
LB_API int lb_event_deliveries(const lb_event *event);  /* 1 the first time */
LB_API bool lb_event_lease_lost(const lb_event *event); /* another process has taken the event over (S12) */
/* Says why a handler fails, for the log and for whoever looks at the dead letter, and returns `status`:
 *     return lb_event_fail(event, LB_REJECT, "no customer %d", id);
 * Without it the reason is the status's name. On the handler's thread, before it returns. */
LB_API lb_status lb_event_fail(const lb_event *event, lb_status status, const char *format, ...)
    LB_PRINTF(3, 4);
/* Of a dead letter: its own id, which listener's group and which process gave the event up ("": it does not
 * tell), and why. NULL for all other events. See LB_HISTORY_DEAD_LETTERS. */
LB_API const char *lb_event_dead_id(const lb_event *event);
LB_API const char *lb_event_dead_group(const lb_event *event);
LB_API const char *lb_event_dead_consumer(const lb_event *event);
LB_API const char *lb_event_dead_reason(const lb_event *event);

/* ---- Answering -------------------------------------------------------------------------------------- */

/* Answers the request with a value: lb_return(request, a == b). Anything that LB takes. Encoded at once, so
 * the value may be the handler's own. Returns LB_OK, or LB_INVALID_RESULT when the value does not fit the
 * declared result (the caller then gets that error, S5). Only the handling thread, once. */
#define lb_return(request, value) lb_return_datum((request), LB_DATUM(value))
LB_API lb_status lb_return_datum(lb_request *request, lb_datum value);

/* Answers with an error: `type` is its name ("UserNotFound"), the rest a printf-style message; the caller
 * reads both from its lb_error. Returns LB_OK: the call has been answered. */
LB_API lb_status lb_fail(lb_request *request, const char *type, const char *format, ...) LB_PRINTF(3, 4);

/* Lets the handler return (LB_OK) without an answer; lb_answer or lb_answer_fail gives it later, once, from
 * any thread, and frees the token. A token never answered is freed by lb_close, and its caller times out.
 * NULL when memory is short. */
typedef struct lb_deferred lb_deferred;
LB_API lb_deferred *lb_defer(lb_request *request);
#define lb_answer(deferred, value) lb_answer_datum((deferred), LB_DATUM(value))
LB_API lb_status lb_answer_datum(lb_deferred *deferred, lb_datum value);
LB_API lb_status lb_answer_fail(lb_deferred *deferred, const char *type, const char *format, ...)
    LB_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
