/* S34: what Python Lightbus writes is understood, and what is written here holds nothing that it does not know.
 * The peer is played by plain Redis commands with messages in Python's shape. */
#include "worker.h"

#include <stdio.h>

static lb_status check_password(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, strcmp(lb_get_str(request, "username"), "admin") == 0 &&
                                  strcmp(lb_get_str(request, "password"), "s\xc3\xa9"
                                                                          "cret") == 0);
}

static lb_status refuse(lb_request *request, void *data)
{
    (void)data;
    return lb_fail(request, "Refused", "not \"today\"");
}

typedef struct shared {
    int handled, version, deliveries;
    char id[64], email[64];
    int is_admin;
} shared;

static lb_status greet(const lb_event *event, void *data)
{
    shared *s = data;
    s->version = lb_event_version(event);
    s->deliveries = lb_event_deliveries(event);
    s->is_admin = lb_get_bool(event, "is_admin");
    snprintf(s->id, sizeof s->id, "%s", lb_event_id(event));
    snprintf(s->email, sizeof s->email, "%s", lb_get_str(event, "email"));
    shared_add(&s->handled, 1);
    return LB_OK;
}

static const lb_api auth = {
    .name = "my_company.auth",
    .members =
        (const lb_member[]){
            LB_RPC("check_password(username: str, password: str) -> bool", check_password),
            LB_RPC("refuse()", refuse),
            LB_EVENT("user_registered(username: str, email: str, is_admin: bool = false)"),
            LB_END,
        },
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    lb_status status = lb_register(bus, &auth, data, error);
    return status != LB_OK
               ? status
               : lb_listen(bus, "my_company.auth.user_registered", "greeter", greet, data, NULL, error);
}

static lb_value *parse(const lb_value *text)
{
    lb_value *value = NULL;
    lb_error error = {0};
    assert_ok(lb_value_parse(lb_value_str(text), lb_value_str_size(text), &value, &error), &error);
    return value;
}

/* The dict has exactly these members, in any order. */
static void assert_members(const lb_value *dict, const char *const *names)
{
    size_t count = 0;
    for (; names[count]; count++)
        if (!lb_value_get(dict, names[count]))
            fail_msg("%s lacks %s", lb_value_json(dict, NULL), names[count]);
    if (lb_value_count(dict) != count)
        fail_msg("%s has unknown members", lb_value_json(dict, NULL));
}

static void assert_uuid(const char *text)
{
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    assert_int_equal(strlen(text), sizeof shape - 1);
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == '-' ? text[i] != '-' : !strchr("0123456789abcdef", text[i]))
            fail_msg("%s is no UUID", text);
}

/* ---- RPC: Python calls us ------------------------------------------------------------------------------- */

#define PYTHON_ID "591e868c-e673-11f1-b861-02fc00000001"

/* Writes a call as Python does and returns the result message. */
static lb_value *call_as_python(const redis_server *server, const char *procedure, const char *kwargs)
{
    char blob[1024], result_key[256];
    snprintf(result_key, sizeof result_key, "my_company.auth.%s:result:" PYTHON_ID, procedure);
    snprintf(blob, sizeof blob,
             "{\"kwargs\": %s, \"metadata\": {\"api_name\": \"my_company.auth\", \"id\": \"" PYTHON_ID
             "\", \"procedure_name\": \"%s\", \"return_path\": \"redis+key://%s\"}}",
             kwargs, procedure, result_key);
    lb_value_free(redis_command(server, "SET", "rpc_expiry_key:" PYTHON_ID, "1", "EX", "5", NULL));
    redis_int(server, "RPUSH", "my_company.auth:rpc_queue", blob, NULL);
    wait_until(redis_int(server, "LLEN", result_key, NULL) == 1, PATIENCE_MS);
    wait_until(redis_int(server, "TTL", result_key, NULL) > 0, PATIENCE_MS);
    assert_in_range(redis_int(server, "TTL", result_key, NULL), 1, 60);
    assert_int_equal(redis_int(server, "EXISTS", "rpc_expiry_key:" PYTHON_ID, NULL), 0);
    lb_value *popped = redis_command(server, "LPOP", result_key, NULL);
    lb_value *message = parse(popped);
    lb_value_free(popped);
    return message;
}

static void s34_a_call_from_python_is_answered_in_its_shape(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = worker_start(&(worker){.url = server->url, .setup = setup, .data = s});
    lb_value *message =
        call_as_python(server, "check_password", "{\"password\": \"s\\u00e9cret\", \"username\": \"admin\"}");
    const lb_value *metadata = lb_value_get(message, "metadata"), *kwargs = lb_value_get(message, "kwargs");
    assert_members(message, (const char *const[]){"kwargs", "metadata", NULL});
    assert_members(kwargs, (const char *const[]){"result", NULL});
    assert_members(metadata, (const char *const[]){"error", "id", "rpc_message_id", NULL});
    assert_int_equal(lb_value_type_of(lb_value_get(kwargs, "result")), LB_TYPE_BOOL);
    assert_true(lb_value_bool(lb_value_get(kwargs, "result")));
    assert_int_equal(lb_value_type_of(lb_value_get(metadata, "error")), LB_TYPE_BOOL);
    assert_false(lb_value_bool(lb_value_get(metadata, "error")));
    assert_string_equal(lb_value_str(lb_value_get(metadata, "rpc_message_id")), PYTHON_ID);
    assert_uuid(lb_value_str(lb_value_get(metadata, "id")));
    lb_value_free(message);

    message = call_as_python(server, "refuse", "{}");
    metadata = lb_value_get(message, "metadata");
    for (lb_value_iterator it = lb_value_iterate(metadata); lb_value_next(&it);)
        if (!strstr(" error id rpc_message_id trace ", it.name))
            fail_msg("Python does not know the metadata field %s", it.name);
    assert_true(lb_value_bool(lb_value_get(metadata, "error")));
    assert_int_equal(lb_value_type_of(lb_value_get(lb_value_get(message, "kwargs"), "result")), LB_TYPE_STR);
    lb_value_free(message);
    worker_stop(pid);
}

/* ---- RPC: we call Python -------------------------------------------------------------------------------- */

/* Begins a call that the test, as a Python worker, takes from the queue: the message; *pending is the call. */
static lb_value *take_call(const redis_server *server, lb_bus *bus, const char *name, const lb_arg *args,
                           lb_pending **pending)
{
    lb_error error = {0};
    *pending = lb_call_begin(bus, name, args, NULL, &error);
    if (!*pending)
        fail_msg("lb_call_begin: %s", error.message);
    assert_ok(lb_flush(bus, &error), &error);
    lb_value *popped = redis_command(server, "BLPOP", "my_company.auth:rpc_queue", "5", NULL);
    lb_value *message = parse(lb_value_at(popped, 1));
    lb_value_free(popped);
    return message;
}

/* Answers as Python does; `error` is its part of the metadata. */
static void answer_as_python(const redis_server *server, const lb_value *message, const char *result,
                             const char *error)
{
    const lb_value *metadata = lb_value_get(message, "metadata");
    const char *path = lb_value_str(lb_value_get(metadata, "return_path"));
    const char *id = lb_value_str(lb_value_get(metadata, "id"));
    static const char scheme[] = "redis+key://";
    char key[256], blob[1024];
    assert_int_equal(strncmp(path, scheme, sizeof scheme - 1), 0);
    snprintf(key, sizeof key, "rpc_expiry_key:%s", id);
    assert_int_equal(redis_int(server, "DEL", key, NULL), 1);
    snprintf(blob, sizeof blob,
             "{\"kwargs\": {\"result\": %s}, \"metadata\": {%s, \"id\": \"" PYTHON_ID
             "\", \"rpc_message_id\": \"%s\"}}",
             result, error, id);
    redis_int(server, "LPUSH", path + sizeof scheme - 1, blob, NULL);
    redis_int(server, "EXPIRE", path + sizeof scheme - 1, "60", NULL);
}

static const char SUCCESS[] = "\"error\": false";
static const char FAILURE[] = "\"error\": true, \"trace\": \"Traceback:\\n  line 1\"";

static void s34_a_call_to_python_has_its_shape(void **state)
{
    redis_server *server = *state;
    lb_bus *bus = client_open(server->url, 5000);
    lb_pending *pending = NULL;
    lb_value *message =
        take_call(server, bus, "my_company.auth.check_password",
                  LB_ARGS(LB("username", "admin"), LB("password", "\xc3\xa9\"\\\n\x01")), &pending);
    const lb_value *metadata = lb_value_get(message, "metadata"), *kwargs = lb_value_get(message, "kwargs");
    assert_members(message, (const char *const[]){"kwargs", "metadata", NULL});
    assert_members(kwargs, (const char *const[]){"username", "password", NULL});
    assert_members(metadata, (const char *const[]){"api_name", "id", "procedure_name", "return_path", NULL});
    assert_string_equal(lb_value_str(lb_value_get(kwargs, "password")), "\xc3\xa9\"\\\n\x01");
    assert_string_equal(lb_value_str(lb_value_get(metadata, "api_name")), "my_company.auth");
    assert_string_equal(lb_value_str(lb_value_get(metadata, "procedure_name")), "check_password");
    const char *id = lb_value_str(lb_value_get(metadata, "id"));
    assert_uuid(id);
    char key[128];
    snprintf(key, sizeof key, "rpc_expiry_key:%s", id);
    assert_in_range(redis_int(server, "PTTL", key, NULL), 1, 5000);
    answer_as_python(server, message, "[1, {\"a\": \"\\u00e9\"}]", SUCCESS);
    lb_error error = {0};
    lb_value *result = NULL;
    assert_ok(lb_call_end(pending, &result, &error), &error);
    assert_int_equal(lb_value_int(lb_value_at(result, 0)), 1);
    assert_string_equal(lb_value_str(lb_value_get(lb_value_at(result, 1), "a")), "\xc3\xa9");
    lb_value_free(result);
    lb_value_free(message);
    lb_close(bus);
}

static void s34_an_exception_of_python_is_understood(void **state)
{
    redis_server *server = *state;
    lb_bus *bus = client_open(server->url, 5000);
    lb_pending *pending = NULL;
    lb_value *message = take_call(server, bus, "my_company.auth.refuse", LB_NO_ARGS, &pending);
    answer_as_python(server, message, "\"ValueError('no such user')\"", FAILURE);
    lb_error error = {0};
    assert_status(lb_call_end(pending, NULL, &error), LB_REMOTE_ERROR, &error);
    assert_string_equal(error.type, "ValueError");
    assert_contains(error.message, "no such user");
    assert_contains(error.trace, "line 1");
    lb_value_free(message);
    lb_close(bus);
}

static void s34_results_that_make_no_sense_do_no_harm(void **state)
{
    redis_server *server = *state;
    lb_bus *bus = client_open(server->url, 5000);
    lb_pending *pending = NULL;
    lb_value *message = take_call(server, bus, "my_company.auth.refuse", LB_NO_ARGS, &pending);
    const char *path = lb_value_str(lb_value_get(lb_value_get(message, "metadata"), "return_path"));
    const char *key = path + strlen("redis+key://");
    static const char *const nonsense[] = {
        "",
        "not JSON",
        "[]",
        "{}",
        "{\"kwargs\": 1, \"metadata\": 2}",
        "\xff",
        "{\"kwargs\": {\"result\": 1}, \"metadata\": {\"error\": false, \"id\": \"x\", \"rpc_message_id\": "
        "\"other\"}}",
        "{\"kwargs\": {\"result\": 1}, \"metadata\": {\"error\": false, \"id\": \"x\"}}",
        "{\"kwargs\": {\"result\": 1}, \"metadata\": {\"error\": false, \"id\": \"x\", \"rpc_message_id\": "
        "[1]}}",
    };
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++)
        redis_int(server, "LPUSH", key, nonsense[i], NULL);
    answer_as_python(server, message, "7", SUCCESS);
    lb_error error = {0};
    lb_value *result = NULL;
    assert_ok(lb_call_end(pending, &result, &error), &error);
    assert_int_equal(lb_value_int(result), 7);
    lb_value_free(result);
    lb_value_free(message);
    lb_close(bus);
}

/* ---- Events --------------------------------------------------------------------------------------------- */

static void s34_an_event_from_python_is_understood(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = worker_start(&(worker){.url = server->url, .setup = setup, .data = s});
    lb_value_free(redis_command(server, "XADD", "my_company.auth.*:stream", "MAXLEN", "~", "100000", "*", "id",
                                PYTHON_ID, "api_name", "my_company.auth", "event_name", "user_registered",
                                "version", "3", ":username", "\"a\"", ":email", "\"a@\\u00e9\"", ":is_admin",
                                "true", NULL));
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    assert_int_equal(s->version, 3);
    assert_int_equal(s->deliveries, 1);
    assert_string_equal(s->id, PYTHON_ID);
    assert_string_equal(s->email, "a@\xc3\xa9");
    assert_true(s->is_admin);
    lb_value_free(redis_command(server, "XADD", "my_company.auth.*:stream", "*", "id", "x", "api_name",
                                "my_company.auth", "event_name", "user_registered", "version", "1", ":username",
                                "\"a\"", ":email", "\"b\"", NULL)); /* the default is filled in */
    wait_until(shared_get(&s->handled) == 2, PATIENCE_MS);
    assert_false(s->is_admin);
    worker_stop(pid);
}

static void s34_an_event_has_the_shape_that_python_reads(void **state)
{
    redis_server *server = *state;
    lb_bus *bus = client_open(server->url, 0);
    lb_error error = {0};
    assert_ok(lb_register(bus, &auth, NULL, &error), &error);
    assert_ok(lb_fire(bus, "my_company.auth.user_registered",
                      LB_ARGS(LB("username", "a"), LB("email", "b\n"), LB("is_admin", 1)), &error),
              &error);
    lb_value *entries = redis_command(server, "XRANGE", "my_company.auth.*:stream", "-", "+", NULL);
    const lb_value *fields = lb_value_at(lb_value_at(entries, 0), 1);
    static const char *const expected[] = {
        "id", NULL,        "api_name", "my_company.auth", "event_name", "user_registered", "version",
        "1",  ":username", "\"a\"",    ":email",          "\"b\\n\"",   ":is_admin",       "true",
    };
    assert_int_equal(lb_value_count(entries), 1);
    assert_int_equal(lb_value_count(fields), sizeof expected / sizeof *expected);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (expected[i])
            assert_string_equal(lb_value_str(lb_value_at(fields, i)), expected[i]);
    assert_uuid(lb_value_str(lb_value_at(fields, 1)));
    lb_value_free(entries);
    lb_close(bus);
}

static void s34_groups_and_schemas_are_where_python_looks_for_them(void **state)
{
    redis_server *server = *state;
    shared *s = shared_memory(sizeof *s);
    pid_t pid = worker_start(&(worker){.url = server->url, .setup = setup, .data = s});
    lb_value *consumers =
        redis_command(server, "XINFO", "CONSUMERS", "my_company.auth.*:stream", "tests-greeter", NULL);
    assert_int_equal(lb_value_count(consumers), 1);
    assert_string_equal(lb_value_str(lb_value_at(lb_value_at(consumers, 0), 1)), "p1");
    lb_value_free(consumers);
    assert_int_equal(redis_int(server, "SISMEMBER", "schemas", "my_company.auth", NULL), 1);
    assert_in_range(redis_int(server, "TTL", "schema:my_company.auth", NULL), 1, 60);
    lb_value *text = redis_command(server, "GET", "schema:my_company.auth", NULL);
    lb_value *schema = parse(text);
    assert_members(schema, (const char *const[]){"events", "rpcs", NULL});
    const lb_value *rpc = lb_value_get(lb_value_get(schema, "rpcs"), "check_password");
    assert_members(rpc, (const char *const[]){"parameters", "response", NULL});
    const lb_value *event = lb_value_get(lb_value_get(schema, "events"), "user_registered");
    assert_members(event, (const char *const[]){"parameters", NULL});
    assert_int_equal(lb_value_count(lb_value_get(lb_value_get(rpc, "parameters"), "required")), 2);
    lb_value_free(text);
    lb_value_free(schema);
    worker_stop(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(s34_a_call_from_python_is_answered_in_its_shape),
        server_test(s34_a_call_to_python_has_its_shape),
        server_test(s34_an_exception_of_python_is_understood),
        server_test(s34_results_that_make_no_sense_do_no_harm),
        server_test(s34_an_event_from_python_is_understood),
        server_test(s34_an_event_has_the_shape_that_python_reads),
        server_test(s34_groups_and_schemas_are_where_python_looks_for_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
