#include "apis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void sleep_seconds(double seconds)
{
    struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)(fmod(seconds, 1) * 1e9)};

    nanosleep(&time, NULL);
}

/* ---- my_company.auth */

static lb_status check_password(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, strcmp(lb_get_str(request, "username"), "admin") == 0 &&
                                  strcmp(lb_get_str(request, "password"), "secret") == 0);
}

static const lb_api auth = {
    .name = "my_company.auth",
    .members =
        (const lb_member[]){
            LB_RPC("check_password(username: str, password: str) -> bool", check_password),
            LB_RPC("check_password_async(username: str, password: str = \"x\") -> bool", check_password),
            LB_EVENT("user_registered(username: str, email: str, is_admin: bool = false)"),
            LB_EVENT("user_deleted(username: str)"),
            LB_EVENT("untyped(a, b)"),
            LB_EVENT("empty()"),
            LB_END,
        },
};

/* ---- my_company.err: the many ways to fail. Where Python raises, C answers with lb_fail; where Python raises
 * what is no answer, C returns a failure; what Python cannot encode is broken JSON here. */

static lb_status ok(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, "ok");
}

static lb_status value_error(lb_request *request, void *data)
{
    (void)data;
    return lb_fail(request, "ValueError", "n must not be %lld – ünïcode", (long long)lb_get_int(request, "n"));
}

static lb_status custom_error(lb_request *request, void *data)
{
    (void)data;
    return lb_fail(request, "CustomError", "custom 'quoted' message");
}

static lb_status chained(lb_request *request, void *data)
{
    (void)data;
    return lb_fail(request, "RuntimeError", "outer");
}

static lb_status fails_without_answer(lb_request *request, void *data)
{
    (void)request;
    (void)data;
    return LB_FAILED;
}

/* A fifth of the time that Python's takes: what matters is which of two ends first. */
static lb_status slow(lb_request *request, void *data)
{
    double seconds = lb_get_float(request, "seconds");
    char text[64];

    (void)data;
    sleep_seconds(seconds / 5);
    snprintf(text, sizeof(text), seconds == floor(seconds) ? "done after %.1f" : "done after %g", seconds);
    return lb_return(request, text);
}

static lb_status wrong_response(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, "not an int");
}

static lb_status broken_json(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, LB_JSON("{\"never\":"));
}

static const lb_api err = {
    .name = "my_company.err",
    .members =
        (const lb_member[]){
            LB_RPC("ok() -> str", ok),
            LB_RPC("value_error(n: int) -> int", value_error),
            LB_RPC("custom_error(n: int) -> int", custom_error),
            LB_RPC("chained() -> int", chained),
            LB_RPC("base_exception() -> int", fails_without_answer),
            LB_RPC("cancelled() -> int", fails_without_answer),
            LB_RPC("slow(seconds: float) -> str", slow),
            LB_RPC("wrong_response() -> int", wrong_response),
            LB_RPC("undeformable()", broken_json),
            LB_RPC("not_json()", broken_json),
            LB_END,
        },
};

/* ---- my_company.nested: a service that calls itself */

static lb_status inner(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, "inner");
}

static lb_status outer(lb_request *request, void *data)
{
    lb_value *result = NULL;
    lb_error error = {0};
    char text[64];

    (void)data;
    if (lb_call(lb_request_bus(request), "my_company.nested.inner", LB_NO_ARGS, &result, &error) != LB_OK)
        return lb_fail(request, error.type, "%s", error.message);
    snprintf(text, sizeof(text), "outer:%s", lb_value_str(result));
    lb_value_free(result);
    return lb_return(request, text);
}

static const lb_api nested = {
    .name = "my_company.nested",
    .members =
        (const lb_member[]){
            LB_RPC("outer() -> str", outer),
            LB_RPC("outer_sync() -> str", outer),
            LB_RPC("inner() -> str", inner),
            LB_END,
        },
};

static const struct {
    const char *class;
    const lb_api *api;
    const char *probe, *kwargs;
} apis[] = {
    {"AuthApi", &auth, "check_password", "{\"username\":\"x\",\"password\":\"x\"}"},
    {"ErrApi", &err, "ok", "{}"},
    {"NestedApi", &nested, "inner", "{}"},
};

const lb_api *api_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof(apis) / sizeof(*apis); i++)
        if (strcmp(name, apis[i].class) == 0 || strcmp(name, apis[i].api->name) == 0)
            return apis[i].api;
    return NULL;
}

const char *api_probe_procedure(const lb_api *api, const char **kwargs)
{
    size_t i = 0;

    while (apis[i].api != api)
        i++;
    *kwargs = apis[i].kwargs;
    return apis[i].probe;
}
