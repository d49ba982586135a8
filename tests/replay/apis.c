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

/* ---- my_company.types: every type, handed back as the C value that it was read as */

static lb_status echo(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get(request, "v"));
}

static lb_status echo_bool(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_bool(request, "v"));
}

static lb_status echo_int(lb_request *request, void *data)
{
    (void)data;
    if (lb_value_type_of(lb_get(request, "v")) == LB_TYPE_UINT)
        return lb_return(request, lb_value_uint(lb_get(request, "v")));
    return lb_return(request, lb_get_int(request, "v"));
}

static lb_status echo_float(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_float(request, "v"));
}

static lb_status echo_bytes(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_bytes(request, "v"));
}

static lb_status echo_datetime(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_datetime(request, "v"));
}

static lb_status echo_date(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_date(request, "v"));
}

static lb_status echo_time(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_time(request, "v"));
}

static lb_status echo_decimal(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_decimal(request, "v"));
}

static lb_status echo_uuid(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_uuid(request, "v"));
}

#define PERSON                                                                                                 \
    "Person { addresses: list[Address { street: str, number: int, since: date? = null }], balance: decimal, "  \
    "name: str, id: uuid, favourite: enum(\"red\", \"blue\") = \"red\" }"

static const lb_api types = {
    .name = "my_company.types",
    .version = 3,
    .members =
        (const lb_member[]){
            LB_RPC("defaults(a: int, b: int = 7, c: int? = null, d: str = null, e = \"x\", f: float = 1.0, "
                   "...) -> dict?",
                   echo),
            LB_EVENT("defaulted_event(a: int, b: int = 7, c: int?, d: str = null, e: str = \"untyped\")"),
            LB_RPC("noargs()", echo),
            LB_RPC("sync_proc(a: int) -> int", echo),
            LB_RPC("varargs(a: int) -> int", echo),
            LB_RPC("rpc_any_(v: any) -> any", echo),
            LB_EVENT("ev_any_(v: any)"),
            LB_RPC("rpc_any_hint(v: any) -> any", echo),
            LB_EVENT("ev_any_hint(v: any)"),
            LB_RPC("rpc_bool_(v: bool) -> bool", echo_bool),
            LB_EVENT("ev_bool_(v: bool)"),
            LB_RPC("rpc_bytes_(v: bytes) -> bytes", echo_bytes),
            LB_EVENT("ev_bytes_(v: bytes)"),
            LB_RPC("rpc_complex_(v: str) -> str", echo),
            LB_EVENT("ev_complex_(v: str)"),
            LB_RPC("rpc_custom(v: dict[str, int]) -> dict[str, int]", echo),
            LB_EVENT("ev_custom(v: dict[str, int])"),
            LB_RPC("rpc_dataclass_(v: Address { street: str, number: int, since: date? = null }) -> Address { "
                   "street: str, number: int, since: date? = null }",
                   echo),
            LB_EVENT("ev_dataclass_(v: Address { street: str, number: int, since: date? = null })"),
            LB_RPC("rpc_date_(v: date) -> date", echo_date),
            LB_EVENT("ev_date_(v: date)"),
            LB_RPC("rpc_datetime_(v: datetime) -> datetime", echo_datetime),
            LB_EVENT("ev_datetime_(v: datetime)"),
            LB_RPC("rpc_decimal_(v: decimal) -> decimal", echo_decimal),
            LB_EVENT("ev_decimal_(v: decimal)"),
            LB_RPC("rpc_dict_(v: dict) -> dict", echo),
            LB_EVENT("ev_dict_(v: dict)"),
            LB_RPC("rpc_dict_str_int(v: dict[str, int]) -> dict[str, int]", echo),
            LB_EVENT("ev_dict_str_int(v: dict[str, int])"),
            LB_RPC("rpc_dict_str_uuid(v: dict[str, uuid]) -> dict[str, uuid]", echo),
            LB_EVENT("ev_dict_str_uuid(v: dict[str, uuid])"),
            LB_RPC("rpc_enum_int(v: enum(1, 2)) -> enum(1, 2)", echo),
            LB_EVENT("ev_enum_int(v: enum(1, 2))"),
            LB_RPC("rpc_enum_str(v: enum(\"red\", \"blue\")) -> enum(\"red\", \"blue\")", echo),
            LB_EVENT("ev_enum_str(v: enum(\"red\", \"blue\"))"),
            LB_RPC("rpc_float_(v: float) -> float", echo_float),
            LB_EVENT("ev_float_(v: float)"),
            LB_RPC("rpc_int_(v: int) -> int", echo_int),
            LB_EVENT("ev_int_(v: int)"),
            LB_RPC("rpc_list_(v: list) -> list", echo),
            LB_EVENT("ev_list_(v: list)"),
            LB_RPC("rpc_list_date(v: list[date]) -> list[date]", echo),
            LB_EVENT("ev_list_date(v: list[date])"),
            LB_RPC("rpc_list_int(v: list[int]) -> list[int]", echo),
            LB_EVENT("ev_list_int(v: list[int])"),
            LB_RPC("rpc_namedtuple_(v: Point { x: int, y: float = 1.5 }) -> Point { x: int, y: float = 1.5 }",
                   echo),
            LB_EVENT("ev_namedtuple_(v: Point { x: int, y: float = 1.5 })"),
            LB_RPC("rpc_nested(v: " PERSON ") -> " PERSON "", echo),
            LB_EVENT("ev_nested(v: " PERSON ")"),
            LB_RPC("rpc_none_(v: null) -> null", echo),
            LB_EVENT("ev_none_(v: null)"),
            LB_RPC("rpc_object_(v: any) -> any", echo),
            LB_EVENT("ev_object_(v: any)"),
            LB_RPC("rpc_optional_int(v: int?) -> int?", echo),
            LB_EVENT("ev_optional_int(v: int?)"),
            LB_RPC("rpc_set_int(v: list[int]) -> list[int]", echo),
            LB_EVENT("ev_set_int(v: list[int])"),
            LB_RPC("rpc_str_(v: str) -> str", echo),
            LB_EVENT("ev_str_(v: str)"),
            LB_RPC("rpc_time_(v: time) -> time", echo_time),
            LB_EVENT("ev_time_(v: time)"),
            LB_RPC("rpc_tuple_(v: tuple) -> tuple", echo),
            LB_EVENT("ev_tuple_(v: tuple)"),
            LB_RPC("rpc_tuple_int_str(v: tuple[int, str]) -> tuple[int, str]", echo),
            LB_EVENT("ev_tuple_int_str(v: tuple[int, str])"),
            LB_RPC("rpc_union_int_str(v: int | str) -> int | str", echo),
            LB_EVENT("ev_union_int_str(v: int | str)"),
            LB_RPC("rpc_uuid_(v: uuid) -> uuid", echo_uuid),
            LB_EVENT("ev_uuid_(v: uuid)"),
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
    {"TypesApi", &types, "rpc_any_", "{\"v\":1}"},
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
