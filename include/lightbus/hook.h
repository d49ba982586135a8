/* Hooks: functions that the bus calls around what it does, for all APIs: to count, trace, authorise, refuse,
 * change.
 *
 * When nothing is hooked in at a point, passing it costs one branch. The hooks of a point run in this order:
 * those with `before_plugins`, those of plugins by their priority, all others; within these, in the order of
 * registration. A hook may block, call and fire; what a hook itself calls and fires passes no hooks. */
#ifndef LIGHTBUS_HOOK_H
#define LIGHTBUS_HOOK_H

#include <lightbus/api.h>
#include <lightbus/error.h>
#include <lightbus/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One row per point: its constant, its name in Lightbus. When, and on which thread:
 *
 *   before_worker_start     in lb_start or lb_run, before anything is fetched; it may still register APIs,
 *                           listeners and tasks. A failure keeps the worker from starting
 *   after_worker_stopped    in lb_stop, lb_run or lb_close, when no handler or task runs any more, or when the
 *                           start failed after before_worker_start. A failure is that of lb_stop
 *   before_rpc_call         in lb_call or lb_call_begin; the arguments are checked, nothing is sent
 *   after_rpc_call          where the call's end is learned of: lb_call, lb_call_end, lb_call_cancel, or before
 *                           its callback; whatever came of it. A failure takes the place of a result
 *   before_rpc_execution    on the thread of the handler, before it. A failure is the answer to the call, under
 *                           its error's type, and the handler does not run
 *   after_rpc_execution     the same thread, before the answer is sent (of a deferred answer: the thread that
 *                           gives it; the arguments are gone then). A failure takes the place of the answer
 *   before_event_sent       in lb_fire or lb_fire_begin; the arguments are checked, nothing is sent
 *   after_event_sent        in lb_fire or lb_fire_end: it is on the bus, or firing failed. A failure is logged
 *   before_event_execution  on the thread of the handler, before it. A failure counts as the handler's
 *   after_event_execution   the same thread, before the event is acknowledged. A failure is logged
 *   exception               on the thread that ends the worker because of an error. A failure is logged */
#define LB_HOOK_MAP(X)                                                                                         \
    X(BEFORE_WORKER_START, "before_worker_start")                                                              \
    X(AFTER_WORKER_STOPPED, "after_worker_stopped")                                                            \
    X(BEFORE_RPC_CALL, "before_rpc_call")                                                                      \
    X(AFTER_RPC_CALL, "after_rpc_call")                                                                        \
    X(BEFORE_RPC_EXECUTION, "before_rpc_execution")                                                            \
    X(AFTER_RPC_EXECUTION, "after_rpc_execution")                                                              \
    X(BEFORE_EVENT_SENT, "before_event_sent")                                                                  \
    X(AFTER_EVENT_SENT, "after_event_sent")                                                                    \
    X(BEFORE_EVENT_EXECUTION, "before_event_execution")                                                        \
    X(AFTER_EVENT_EXECUTION, "after_event_execution")                                                          \
    X(EXCEPTION, "exception")

typedef enum lb_hook_point {
#define LB_HOOK_ROW(point, name) LB_HOOK_##point,
    LB_HOOK_MAP(LB_HOOK_ROW)
#undef LB_HOOK_ROW
        LB_HOOK_POINTS /* how many there are */
} lb_hook_point;

#define LB_HOOK_ON_START LB_HOOK_BEFORE_WORKER_START
#define LB_HOOK_ON_STOP  LB_HOOK_AFTER_WORKER_STOPPED

/* A static string, "?" for an unknown number. Any thread. */
LB_API const char *lb_hook_name(lb_hook_point point);

/* LB_OK goes on. Anything else fails what is going on, as the table above says, with that status and *error
 * (made up when it was not set); of a before_ point the hooks after it do not run then, of an after_ point all
 * run and the first failure counts. `occasion` and all that is read from it is borrowed until the hook returns,
 * and for the calling thread alone. */
typedef lb_status (*lb_hook_fn)(lb_occasion *occasion, void *data, lb_error *error);

typedef struct lb_hook_options {
    bool before_plugins;
} lb_hook_options;

/* Hooks a function in at a point; `options` may be NULL. Before the worker starts, and while no other thread
 * uses the handle; it stays until lb_close. Hooks run on any thread, several at once; `data` goes to them.
 * Does not block. Errors: LB_USAGE (no such point, no function, a running worker), LB_NO_MEMORY. */
LB_API lb_status lb_hook(lb_bus *bus, lb_hook_point point, lb_hook_fn run, void *data,
                         const lb_hook_options *options, lb_error *error);

/* ---- What a hook sees ------------------------------------------------------------------------------- */

LB_API lb_hook_point lb_occasion_point(const lb_occasion *occasion);
LB_API lb_bus *lb_occasion_bus(const lb_occasion *occasion);
/* Of the call or event: "auth", "check_password", its id. "" where there is none. */
LB_API const char *lb_occasion_api(const lb_occasion *occasion);
LB_API const char *lb_occasion_name(const lb_occasion *occasion);
LB_API const char *lb_occasion_id(const lb_occasion *occasion);
/* Its arguments are read as in a handler: lb_get_str(occasion, "username"), lb_args(occasion). A hook for all
 * APIs asks lb_has first: to read what is not there fails what is going on. */

/* After an RPC: what it returned. NULL when it failed, and at all other points. */
LB_API const lb_value *lb_occasion_result(lb_occasion *occasion);
/* At the after_ points and `exception`: what went wrong; NULL: nothing. */
LB_API const lb_error *lb_occasion_error(lb_occasion *occasion);
/* At the after_ points: how long it took since the hooks before it, in seconds; else 0. */
LB_API double lb_occasion_seconds(const lb_occasion *occasion);

/* Changes an argument, or adds one: lb_occasion_set(occasion, LB("user", name)). At the four before_ points of
 * calls and events; LB_USAGE at others. Copied. When the hooks of the point have run, the arguments are
 * validated again, where the API's are. LB_INVALID_ARGUMENTS: no JSON. */
LB_API lb_status lb_occasion_set(lb_occasion *occasion, lb_arg argument, lb_error *error);

#ifdef __cplusplus
}
#endif
#endif
