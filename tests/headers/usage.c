/* Every macro of the public headers, as a C user writes them. Compiled, not run: that it compiles without a
 * warning in every standard is the test. */
#include <lightbus.h>
#include <lightbus/plugin.h>
#include <lightbus/transport.h>
#include <string.h>

static lb_status check_password(lb_request *request, void *data)
{
    const char *username = lb_get_str(request, "username");
    const char *password = lb_get_str(request, "password");

    (void)data;
    if (lb_has(request, "locked") && lb_get_bool(request, "locked"))
        return lb_fail(request, "UserLocked", "%s is locked", username);
    return lb_return(request, strcmp(username, "admin") == 0 && strcmp(password, "secret") == 0);
}

static lb_status add(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_int(request, "a") + lb_get_int(request, "b"));
}

static lb_status typed(lb_request *request, void *data)
{
    char text[LB_DATETIME_TEXT];
    lb_decimal price = lb_get_decimal(request, "price");

    (void)data;
    if (lb_get_bytes(request, "bytes").size &&
        lb_get_date(request, "day").month == lb_get_time(request, "time").hour)
        return lb_return(request, lb_get_uuid(request, "id"));
    return *lb_datetime_text(lb_get_datetime(request, "at"), text) ? lb_return(request, text)
                                                                   : lb_return(request, price);
}

static lb_status later(lb_request *request, void *data)
{
    lb_deferred **deferred = data;

    *deferred = lb_defer(request);
    return *deferred ? LB_OK : LB_NO_MEMORY;
}

static lb_status greet(const lb_event *event, void *data)
{
    double *total = data;

#ifdef WRONG_SOURCE
    return *lb_get_str("text", "username") ? LB_OK : LB_RETRY;
#endif
#ifdef WRONG_VALUE
    return lb_fire(lb_event_bus(event), "auth.user_left", LB_ARGS(LB("total", total)), NULL);
#endif
    for (const lb_arg *arg = lb_args(event); arg->name; arg++)
        *total += lb_get_float(event, arg->name);
    return lb_value_type_of(lb_get(event, "tags")) == LB_TYPE_LIST ? LB_OK : LB_REJECT;
}

static const lb_api auth = {
    .name = "auth",
    .members =
        (const lb_member[]){
            LB_RPC("check_password(username: str, password: str) -> bool", check_password),
            LB_RPC_DOC("add(a: int, b: int) -> int", add, "Adds two numbers."),
            LB_RPC("later()", later),
            LB_RPC("typed(bytes: bytes, day: date, time: time, id: uuid, at: datetime, price: decimal)", typed),
            LB_EVENT("user_registered(username: str, email: str)"),
            LB_EVENT_DOC("user_left(username: str)", "Somebody has left."),
            LB_END,
        },
};

static lb_status call_with_everything(lb_bus *bus, lb_value *tree, const lb_value *part, lb_error *error)
{
    char name[] = "admin";
    const char *text = NULL;
    unsigned char byte = 1;
    short small = -2;
    unsigned long big = 3;
    unsigned long long bigger = 4;
    float ratio = 0.5f;
    lb_uuid uuid = {{1}};
    lb_value *result = NULL;
    lb_status status = lb_call(
        bus, "auth.everything",
        LB_ARGS(LB("name", name), LB("literal", "text"), LB("text", text), LB("byte", byte), LB("small", small),
                LB("int", -1), LB("unsigned", 1u), LB("long", 1L), LB("big", big), LB("longlong", 1LL),
                LB("bigger", bigger), LB("ratio", ratio), LB("double", 0.25), LB("truth", (bool)true),
                LB("compared", small == 3), LB("tree", tree), LB("part", part), LB("null", LB_NULL),
                LB("sized", LB_STRN("a\0b", 3)), LB("json", LB_JSON("[1, 2]")), LB("bytes", LB_BYTES("a", 1)),
                LB("at", lb_datetime_now()), LB("day", LB_DATE(2020, 1, 2)), LB("time", LB_TIME(3, 4, 5)),
                LB("utc", LB_DATETIME_UTC(2020, 1, 2, 3, 4, 5)), LB("naive", LB_DATETIME(2020, 1, 2, 3, 4, 5)),
                LB("price", LB_DECIMAL("9.90")), LB("id", uuid)),
        &result, error);

    lb_value_free(result);
    return status ? status : lb_fire(bus, "auth.user_left", LB_NO_ARGS, error);
}

static lb_status call_many(lb_bus *bus, lb_error *error)
{
    lb_pending *pending[10];
    lb_status status = LB_OK;

    for (int i = 0; i < 10; i++)
        pending[i] = lb_call_begin(bus, "auth.add", LB_ARGS(LB("a", i), LB("b", 1)), NULL, error);
    for (int i = 0; i < 10; i++)
        status = lb_call_end(pending[i], NULL, error);
    return status;
}

static lb_status refuse(lb_occasion *occasion, void *data, lb_error *error)
{
    double *total = data;

    if (lb_has(occasion, "amount") && lb_get_float(occasion, "amount") > *total)
        return lb_error_set(error, LB_ACCESS, "%s.%s: too much", lb_occasion_api(occasion),
                            lb_occasion_name(occasion));
    return lb_args(occasion)->name ? lb_occasion_set(occasion, LB("checked", (bool)true), error) : LB_OK;
}

static lb_status sweep(lb_bus *bus, void *data, lb_error *error)
{
    (void)data;
    return lb_wait_stop(bus, 0.5) || lb_stopping(bus) ? LB_OK : lb_fire(bus, "auth.swept", LB_NO_ARGS, error);
}

static const lb_plugin_option plugin_options[] = {{.name = "most", .kind = LB_PLUGIN_INT, .otherwise = "5"},
                                                  {0}};
static const lb_plugin_hook plugin_hooks[] = {{LB_HOOK_BEFORE_RPC_CALL, refuse}, {0}};
const lb_plugin lb_plugin_export = {
    .abi = LB_PLUGIN_ABI,
    .size = sizeof(lb_plugin),
    .name = "usage",
    .options = plugin_options,
    .hooks = plugin_hooks,
};

static lb_status add_hooks_and_tasks(lb_bus *bus, double *total, lb_error *error)
{
    lb_status status =
        lb_hook(bus, LB_HOOK_ON_START, refuse, total, &(lb_hook_options){.before_plugins = true}, error);

    if (status == LB_OK)
        status = lb_every(bus, &(lb_every_options){.minutes = 1.5}, sweep, NULL, error);
    if (status == LB_OK)
        status = lb_schedule(bus, "@daily", &(lb_schedule_options){.utc = true}, sweep, NULL, error);
    return status == LB_OK ? lb_background(bus, NULL, sweep, NULL, error) : status;
}

lb_status lb_setup(lb_bus *bus, lb_error *error)
{
    static double total;
    lb_status status = lb_register(bus, &auth, NULL, error);

    if (status == LB_OK)
        status = lb_listen(bus, "auth.user_registered", "greeter", greet, &total,
                           &(lb_listen_options){.since = "0", .on_error = LB_ON_ERROR_SHUTDOWN}, error);
    if (status == LB_OK)
        status = add_hooks_and_tasks(bus, &total, error);
    return status;
}

int main(void)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.service_name = "headers"}, &error);
    lb_value *value = NULL;

    if (!bus || lb_setup(bus, &error) || call_many(bus, &error) || lb_value_parse("{}", 2, &value, &error))
        lb_log(LB_LOG_ERROR, "%s (%s): %s", lb_status_name(error.status), LIGHTBUS_VERSION, error.message);
    else
        call_with_everything(bus, value, lb_value_get(value, "a"), &error);
    lb_value_free(value);
    lb_close(bus);
    return 0;
}
