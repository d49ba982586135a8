/* Every macro of the public headers, as a C++ user writes them. Compiled, not run: that it compiles without a
 * warning in every standard is the test. */
#include <lightbus.h>
#include <lightbus/plugin.h>
#include <lightbus/transport.h>

#include <cstdint>
#include <string>

static lb_status check_password(lb_request *request, void *)
{
    const std::string username = lb_get_str(request, "username");

    if (lb_has(request, "locked") && lb_get_bool(request, "locked"))
        return lb_fail(request, "UserLocked", "%s is locked", username.c_str());
    return lb_return(request, username == "admin" && lb_get_str(request, "password") == std::string("secret"));
}

static lb_status add(lb_request *request, void *)
{
    return lb_return(request, lb_get_int(request, "a") + lb_get_int(request, "b"));
}

static lb_status typed(lb_request *request, void *)
{
    char text[LB_DATETIME_TEXT];

    if (lb_get_bytes(request, "bytes").size &&
        lb_get_date(request, "day").month == lb_get_time(request, "time").hour)
        return lb_return(request, lb_get_uuid(request, "id"));
    if (*lb_datetime_text(lb_get_datetime(request, "at"), text))
        return lb_return(request, text);
    return lb_return(request, lb_get_decimal(request, "price"));
}

static lb_status later(lb_request *request, void *data)
{
    lb_deferred **deferred = static_cast<lb_deferred **>(data);

    *deferred = lb_defer(request);
    return *deferred ? LB_OK : LB_NO_MEMORY;
}

static lb_status greet(const lb_event *event, void *data)
{
    double *total = static_cast<double *>(data);

#ifdef WRONG_SOURCE
    return *lb_get_str("text", "username") ? LB_OK : LB_RETRY;
#endif
#ifdef WRONG_VALUE
    return lb_fire(lb_event_bus(event), "auth.user_left", LB_ARGS(LB("total", total)), nullptr);
#endif
    for (const lb_arg *arg = lb_args(event); arg->name; arg++)
        *total += lb_get_float(event, arg->name);
    return lb_value_type_of(lb_get(event, "tags")) == LB_TYPE_LIST ? LB_OK : LB_REJECT;
}

static lb_status refuse(lb_occasion *occasion, void *, lb_error *error)
{
    if (lb_has(occasion, "amount") && lb_get_float(occasion, "amount") > 5)
        return lb_error_set(error, LB_ACCESS, "%s: too much", lb_occasion_name(occasion));
    return lb_args(occasion)->name ? lb_occasion_set(occasion, LB("checked", true), error) : LB_OK;
}

static lb_status sweep(lb_bus *bus, void *, lb_error *)
{
    return lb_wait_stop(bus, 0.5) || lb_stopping(bus) ? LB_OK : LB_FAILED;
}

static lb_status add_hooks_and_tasks(lb_bus *bus, lb_task_fn task, lb_error *error)
{
    lb_every_options often = lb_every_options();
    often.seconds = 0.5;
    lb_status status = lb_hook(bus, LB_HOOK_BEFORE_RPC_CALL, refuse, nullptr, nullptr, error);
    if (status == LB_OK)
        status = lb_every(bus, &often, task, nullptr, error);
    if (status == LB_OK)
        status = lb_schedule(bus, "@daily", nullptr, task, nullptr, error);
    return status == LB_OK ? lb_background(bus, nullptr, task, nullptr, error) : status;
}

static const lb_member members[] = {
    LB_RPC("check_password(username: str, password: str) -> bool", check_password),
    LB_RPC_DOC("add(a: int, b: int) -> int", add, "Adds two numbers."),
    LB_RPC("later()", later),
    LB_RPC("typed(bytes: bytes, day: date, time: time, id: uuid, at: datetime, price: decimal)", typed),
    LB_EVENT("user_registered(username: str, email: str)"),
    LB_EVENT_DOC("user_left(username: str)", "Somebody has left."),
    LB_END,
};
static const lb_api auth = {"auth", members, 1, nullptr};

static lb_status call_with_everything(lb_bus *bus, lb_value *tree, const lb_value *part, lb_error *error)
{
    char name[] = "admin";
    const char *text = nullptr;
    unsigned char byte = 1;
    char letter = 'a';
    signed char tiny = -1;
    short small = -2;
    unsigned short word = 2;
    unsigned long big = 3;
    float ratio = 0.5f;
    lb_value *result = nullptr;
    lb_status status = lb_call(
        bus, "auth.everything",
        LB_ARGS(LB("name", name), LB("literal", "text"), LB("text", text), LB("byte", byte),
                LB("letter", letter), LB("tiny", tiny), LB("small", small), LB("word", word), LB("int", -1),
                LB("unsigned", 1u), LB("long", 1L), LB("big", big), LB("longlong", 1LL), LB("bigger", 1ULL),
                LB("ratio", ratio), LB("double", 0.25), LB("truth", true), LB("compared", small == 3),
                LB("tree", tree), LB("part", part), LB("i64", std::int64_t{1}), LB("u64", std::uint64_t{1}),
                LB("null", LB_NULL), LB("sized", LB_STRN("a\0b", 3)), LB("json", LB_JSON("[1, 2]")),
                LB("bytes", LB_BYTES("a", 1)), LB("at", lb_datetime_now()), LB("day", LB_DATE(2020, 1, 2)),
                LB("time", LB_TIME(3, 4, 5)), LB("utc", LB_DATETIME_UTC(2020, 1, 2, 3, 4, 5)),
                LB("naive", LB_DATETIME(2020, 1, 2, 3, 4, 5)), LB("price", LB_DECIMAL("9.90")),
                LB("id", lb_uuid())),
        &result, error);

    lb_value_free(result);
    return status ? status : lb_fire(bus, "auth.user_left", LB_NO_ARGS, error);
}

extern "C" lb_status lb_setup(lb_bus *bus, lb_error *error)
{
    static double total;
    lb_listen_options options = {};
    lb_status status = lb_register(bus, &auth, nullptr, error);

    options.since = "0";
    options.on_error = LB_ON_ERROR_SHUTDOWN;
    if (status == LB_OK)
        status = lb_listen(bus, "auth.user_registered", "greeter", greet, &total, &options, error);
    return status;
}

int main()
{
    lb_error error = {};
    lb_options options = {};
    lb_value *value = nullptr;

    options.service_name = "headers";
    lb_bus *bus = lb_open(&options, &error);
    if (!bus || lb_setup(bus, &error) || add_hooks_and_tasks(bus, sweep, &error) ||
        lb_value_parse("{}", 2, &value, &error))
        lb_log(LB_LOG_ERROR, "%s (%s): %s", lb_status_name(error.status), LIGHTBUS_VERSION, error.message);
    else
        call_with_everything(bus, value, lb_value_get(value, "a"), &error);
    lb_value_free(value);
    lb_close(bus);
    return 0;
}
