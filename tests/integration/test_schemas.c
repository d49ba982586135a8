/* Schemas on the bus: what is loaded, validated and published; the settings of validation and casting; a worker
 * that breaks an API that is live. */
#include "worker.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- The service ------------------------------------------------------------------------------------ */

static lb_status buy(lb_request *request, void *data)
{
    char at[LB_DATETIME_TEXT], text[200];

    (void)data;
    if (strcmp(lb_get_decimal(request, "price").text, "0") == 0)
        return lb_return(request, 3); /* of the wrong type */
    lb_datetime_text(lb_get_datetime(request, "at"), at);
    snprintf(text, sizeof text, "%s at %s x%lld", lb_get_decimal(request, "price").text, at,
             (long long)lb_value_int(lb_value_get(lb_get(request, "item"), "count")));
    return lb_return(request, text);
}

static lb_status raw(lb_request *request, void *data)
{
    char *json = lb_value_json(lb_get(request, "v"), NULL);
    lb_status status = lb_return(request, json ? json : "");

    (void)data;
    free(json);
    return status;
}

static const lb_member members[] = {
    LB_RPC("buy(price: decimal, at: datetime, item: { sku: str, count: int = 1 }) -> str", buy),
    LB_RPC("raw(v: { at: date, n: int = 7 }) -> str", raw),
    LB_EVENT("sold(sku: str, day: date)"),
    LB_END,
};
static const lb_api shop = {.name = "shop", .members = members};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    (void)data;
    return lb_register(bus, &shop, NULL, error);
}

static pid_t serve(const redis_server *server)
{
    return worker_start(&(worker){.url = server->url, .setup = setup});
}

static lb_bus *open_with(const redis_server *server, unsigned flags)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = server->url, .flags = flags, .rpc_timeout_ms = 5000}, &error);

    if (!bus)
        fail_msg("%s", error.message);
    return bus;
}

/* ---- Types over the bus ----------------------------------------------------------------------------- */

static void values_arrive_as_what_they_are(void **state)
{
    const redis_server *server = *state;
    pid_t pid = serve(server);
    lb_bus *bus = client_open(server->url, 5000);
    lb_error error = {0};
    lb_value *result = NULL;

    assert_ok(lb_call(bus, "shop.buy",
                      LB_ARGS(LB("price", LB_DECIMAL("9.90")), LB("at", LB_DATETIME_UTC(2020, 1, 2, 3, 4, 5)),
                              LB("item", LB_JSON("{\"sku\": \"a\"}"))),
                      &result, &error),
              &error);
    assert_string_equal(lb_value_str(result), "9.90 at 2020-01-02T03:04:05+00:00 x1");
    lb_value_free(result);
    lb_close(bus);
    worker_stop(pid);
}

static void a_string_that_is_no_date_is_an_error_with_its_place_S4(void **state)
{
    const redis_server *server = *state;
    pid_t pid = serve(server);
    lb_bus *bus = open_with(server, LB_OPEN_NO_OUTGOING_VALIDATION);
    lb_error error = {0};

    assert_status(
        lb_call(bus, "shop.buy",
                LB_ARGS(LB("price", "1.5"), LB("at", "soon"), LB("item", LB_JSON("{\"sku\": \"a\"}"))), NULL,
                &error),
        LB_REMOTE_ERROR, &error);
    assert_string_equal(error.type, "InvalidArguments");
    assert_contains(error.message, "shop.buy: at: expected a datetime like");
    assert_contains(error.message, "got str (\"soon\")");
    lb_close(bus);
    worker_stop(pid);
}

/* cast_values off: JSON as it came. */
static void without_casting_handlers_get_json_as_it_came(void **state)
{
    const redis_server *server = *state;
    lb_bus *bus = open_with(server, LB_OPEN_NO_CASTING | LB_OPEN_NO_OUTGOING_VALIDATION);
    lb_error error = {0};
    lb_value *result = NULL;

    assert_ok(setup(bus, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    assert_ok(lb_call(bus, "shop.raw", LB_ARGS(LB("v", LB_JSON("{\"at\":\"soon\"}"))), &result, &error),
              &error);
    assert_string_equal(lb_value_str(result), "{\"at\":\"soon\"}");
    lb_value_free(result);
    lb_close(bus);
}

/* ---- Settings --------------------------------------------------------------------------------------- */

static void outgoing_validation_can_be_off(void **state)
{
    const redis_server *server = *state;
    pid_t pid = serve(server);
    lb_bus *bus = open_with(server, LB_OPEN_NO_OUTGOING_VALIDATION), *strict = client_open(server->url, 5000);
    lb_error error = {0};

    assert_status(lb_call(strict, "shop.raw", LB_ARGS(LB("v", 3)), NULL, &error), LB_INVALID_ARGUMENTS, &error);
    assert_status(lb_call(bus, "shop.raw", LB_ARGS(LB("v", 3)), NULL, &error), LB_REMOTE_ERROR, &error);
    assert_string_equal(error.type, "InvalidArguments");
    assert_status(lb_call(strict, "shop.steal", LB_NO_ARGS, NULL, &error), LB_UNKNOWN_MEMBER, &error);
    assert_status(lb_call(bus, "shop.steal", LB_NO_ARGS, NULL, &error), LB_REMOTE_ERROR, &error);
    assert_string_equal(error.type, "UnknownProcedure");
    lb_close(strict);
    lb_close(bus);
    worker_stop(pid);
}

/* The worker's handler returns what breaks the schema; it is not checked there, and by the caller only if
 * asked.
 */
static void incoming_validation_can_be_off(void **state)
{
    const redis_server *server = *state;
    lb_bus *service = open_with(server, LB_OPEN_NO_OUTGOING_VALIDATION);
    lb_bus *trusting = open_with(server, LB_OPEN_NO_INCOMING_VALIDATION),
           *strict = client_open(server->url, 5000);
    const lb_arg *args = LB_ARGS(LB("price", LB_DECIMAL("0")), LB("at", LB_DATETIME(2020, 1, 2, 3, 4, 5)),
                                 LB("item", LB_JSON("{\"sku\": \"a\"}")));
    lb_error error = {0};
    lb_value *result = NULL;

    assert_ok(setup(service, NULL, &error), &error);
    assert_ok(lb_start(service, &error), &error);
    assert_status(lb_call(strict, "shop.buy", args, NULL, &error), LB_INVALID_RESULT, &error);
    assert_ok(lb_call(trusting, "shop.buy", args, &result, &error), &error);
    assert_int_equal(lb_value_int(result), 3);
    lb_value_free(result);
    lb_close(strict);
    lb_close(trusting);
    lb_close(service);
}

static void unknown_bits_in_the_flags_are_refused_S35(void **state)
{
    const redis_server *server = *state;
    lb_error error = {0};

    assert_null(lb_open(&(lb_options){.url = server->url, .flags = 1u << 20}, &error));
    assert_int_equal(error.status, LB_CONFIG);
}

/* ---- Files ------------------------------------------------------------------------------------------ */

#define MATH                                                                                                   \
    "{\"math\": {\"events\": {}, \"rpcs\": {\"add\": {\"parameters\": {\"type\": \"object\", \"properties\": " \
    "{\"a\": {\"type\": \"integer\"}}, \"required\": [\"a\"], \"additionalProperties\": false}, "              \
    "\"response\": "                                                                                           \
    "{\"type\": \"integer\"}}}}}"

static lb_value *json(const char *text)
{
    lb_value *value = NULL;

    assert_int_equal(lb_value_parse(text, strlen(text), &value, NULL), LB_OK);
    return value;
}

static void schemas_from_a_file_validate_and_are_never_published(void **state)
{
    const redis_server *server = *state;
    char *folder = temporary_directory(), path[300];
    lb_bus *bus = client_open(server->url, 500);
    lb_error error = {0};
    lb_value *schemas = NULL;

    write_file(folder, "math.json", MATH);
    snprintf(path, sizeof path, "%s/math.json", folder);
    assert_ok(lb_schema_load(bus, path, &error), &error);
    assert_ok(lb_schema_load(bus, folder, &error), &error); /* again: replaced */
    assert_status(lb_call(bus, "math.add", LB_ARGS(LB("a", "1")), NULL, &error), LB_INVALID_ARGUMENTS, &error);
    assert_string_equal(error.message, "math.add: a: expected int, got str (\"1\")");
    assert_status(lb_call(bus, "math.add", LB_ARGS(LB("a", 1)), NULL, &error), LB_TIMEOUT, &error);
    assert_ok(setup(bus, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    assert_ok(lb_schema_dump(bus, &schemas, &error), &error);
    assert_non_null(lb_value_get(schemas, "math"));
    assert_non_null(lb_value_get(schemas, "shop"));
    lb_value_free(schemas);
    assert_int_equal(redis_int(server, "EXISTS", "schema:shop", NULL), 1);
    assert_int_equal(redis_int(server, "EXISTS", "schema:math", NULL), 0);
    assert_int_equal(redis_int(server, "SISMEMBER", "schemas", "math", NULL), 0);
    lb_close(bus);
    free(folder);
}

static void schemas_come_from_standard_input_too(void **state)
{
    const redis_server *server = *state;
    lb_bus *bus = client_open(server->url, 500);
    lb_error error = {0};
    int ends[2], standard_input = dup(STDIN_FILENO);

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], MATH, strlen(MATH)), (ssize_t)strlen(MATH));
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    assert_ok(lb_schema_load(bus, "-", &error), &error);
    assert_status(lb_schema_load(bus, "-", &error), LB_MALFORMED, &error); /* it has been read */
    assert_contains(error.message, "standard input: ");
    dup2(standard_input, STDIN_FILENO);
    close(standard_input);
    assert_status(lb_call(bus, "math.add", LB_NO_ARGS, NULL, &error), LB_INVALID_ARGUMENTS, &error);
    lb_close(bus);
}

static void what_is_wrong_with_a_file_is_said(void **state)
{
    static const struct {
        const char *text, *message;
        lb_status status;
    } cases[] = {
        {"{", "not JSON", LB_MALFORMED},
        {"", "it is empty", LB_MALFORMED},
        {"[]", "expected a dict of API name to schema", LB_MALFORMED},
        {"{\"default\": {}}", "is reserved", LB_INVALID_NAME},
        {"{\"a\": 3}", "schema of a: expected a dict", LB_MALFORMED},
        {"{\"a\": {\"rpcs\": {\"f\": {\"parameters\": {\"type\": \"strnig\"}}}}}",
         "a.f: parameters:", LB_MALFORMED},
        {"{\"math\": {}}", "is in", LB_DUPLICATE},
    };
    const redis_server *server = *state;
    char *folder = temporary_directory();
    lb_bus *bus = client_open(server->url, 500);

    write_file(folder, "a.json", MATH);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lb_error error = {0};
        lb_value *schemas = NULL;
        write_file(folder, "b.json", cases[i].text);
        assert_status(lb_schema_load(bus, folder, &error), cases[i].status, &error);
        assert_contains(error.message, "/b.json: ");
        assert_contains(error.message, cases[i].message);
        assert_ok(lb_schema_dump_local(bus, &schemas, &error), &error);
        assert_int_equal(lb_value_count(schemas), 0); /* nothing was taken */
        lb_value_free(schemas);
    }
    lb_error error = {0};
    assert_status(lb_schema_load(bus, "/nowhere/x.json", &error), LB_SYSTEM, &error);
    assert_contains(error.message, "/nowhere/x.json: No such file");
    assert_status(lb_schema_load(bus, NULL, &error), LB_USAGE, &error);
    lb_close(bus);
    free(folder);
}

static void validation_by_hand(void **state)
{
    const redis_server *server = *state;
    pid_t pid = serve(server);
    lb_bus *bus = client_open(server->url, 5000);
    lb_error error = {0};
    lb_value *good = json("{\"sku\": \"x\", \"day\": \"2020-01-02\"}"),
             *bad = json("{\"sku\": 3, \"day\": \"x\"}");
    lb_value *text = json("\"x\"");

    assert_ok(lb_schema_validate_parameters(bus, "shop.sold", good, &error), &error);
    assert_status(lb_schema_validate_parameters(bus, "shop.sold", bad, &error), LB_INVALID_ARGUMENTS, &error);
    assert_contains(error.message, "shop.sold: sku: expected str, got int (3)");
    assert_status(lb_schema_validate_parameters(bus, "shop.sold", NULL, &error), LB_INVALID_ARGUMENTS, &error);
    assert_status(lb_schema_validate_parameters(bus, "shop.sold", text, &error), LB_INVALID_ARGUMENTS, &error);
    assert_status(lb_schema_validate_parameters(bus, "shop.lost", good, &error), LB_UNKNOWN_MEMBER, &error);
    assert_status(lb_schema_validate_parameters(bus, "nobody.lost", good, &error), LB_UNKNOWN_API, &error);
    assert_ok(lb_schema_validate_response(bus, "shop.buy", text, &error), &error);
    assert_status(lb_schema_validate_response(bus, "shop.buy", good, &error), LB_INVALID_RESULT, &error);
    assert_status(lb_schema_validate_response(bus, "shop.sold", text, &error), LB_UNKNOWN_MEMBER, &error);
    lb_value_free(good);
    lb_value_free(bad);
    lb_value_free(text);
    lb_close(bus);
    worker_stop(pid);
}

/* ---- A worker that breaks what is live -------------------------------------------------------------- */

static struct {
    char text[4000];
    int warnings;
} logged;

static void keep_warnings(lb_log_level level, const char *message, void *data)
{
    (void)data;
    if (level < LB_LOG_WARNING || !strstr(message, "breaks the API that is live"))
        return;
    logged.warnings++;
    strncat(logged.text, message, sizeof logged.text - strlen(logged.text) - 2);
    strcat(logged.text, "\n");
}

static void publish_live(const redis_server *server, const char *schema)
{
    lb_value_free(redis_command(server, "SET", "schema:shop", schema, NULL));
    lb_value_free(redis_command(server, "SADD", "schemas", "shop", NULL));
}

static void start_once(const redis_server *server)
{
    lb_bus *bus = client_open(server->url, 5000);
    lb_error error = {0};

    memset(&logged, 0, sizeof logged);
    lb_log_to(keep_warnings, NULL);
    assert_ok(setup(bus, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    lb_close(bus);
    lb_log_to(NULL, NULL);
}

static void a_worker_that_breaks_a_live_schema_says_so(void **state)
{
    const redis_server *server = *state;

    publish_live(server,
                 "{\"events\": {\"sold\": {\"parameters\": {\"type\": \"object\", \"properties\": {\"sku\": "
                 "{\"type\": \"string\"}}, \"required\": [\"sku\"], \"additionalProperties\": false}}}, "
                 "\"rpcs\": {\"lend\": {\"parameters\": {\"type\": \"object\"}, \"response\": {}}}}");
    start_once(server);
    assert_int_equal(logged.warnings, 2);
    assert_contains(logged.text, "shop.sold: day is new, and old listeners refuse events with it");
    assert_contains(logged.text, "shop.lend: the procedure has gone");
    start_once(server); /* its own schema is live now */
    assert_int_equal(logged.warnings, 0);
}

/* Other people's rubbish on the bus is no reason to stay away. */
static void a_corrupt_live_schema_does_not_stop_a_worker(void **state)
{
    static const char *const texts[] = {"{",
                                        "[]",
                                        "{\"rpcs\": 3}",
                                        "{\"rpcs\": {\"buy\": {\"parameters\": {\"type\": 3}}}}",
                                        "\xff",
                                        "{\"rpcs\": {\"buy\": {\"parameters\": {\"$ref\": \"#\"}}}}"};
    const redis_server *server = *state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        publish_live(server, texts[i]);
        start_once(server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(values_arrive_as_what_they_are),
        server_test(a_string_that_is_no_date_is_an_error_with_its_place_S4),
        server_test(without_casting_handlers_get_json_as_it_came),
        server_test(outgoing_validation_can_be_off),
        server_test(incoming_validation_can_be_off),
        server_test(unknown_bits_in_the_flags_are_refused_S35),
        server_test(schemas_from_a_file_validate_and_are_never_published),
        server_test(schemas_come_from_standard_input_too),
        server_test(what_is_wrong_with_a_file_is_said),
        server_test(validation_by_hand),
        server_test(a_worker_that_breaks_a_live_schema_says_so),
        server_test(a_corrupt_live_schema_does_not_stop_a_worker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
