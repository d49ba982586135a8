/* What a program gives us that is wrong: names, arguments, signatures, URLs, credentials. Each is refused with
 * the documented status and a message that names the thing. */
#include "worker.h"

#include <stdio.h>

static lb_status check(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, LB_NULL);
}

static lb_status handle(const lb_event *event, void *data)
{
    (void)event, (void)data;
    return LB_OK;
}

static const lb_api auth = {
    .name = "auth",
    .members =
        (const lb_member[]){
            LB_RPC("check(name: str, age: int, tags: list[str] = [], kind: enum(\"a\", \"b\") = \"a\")", check),
            LB_EVENT("seen(name: str, at: float = 0)"),
            LB_END,
        },
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    return lb_register(bus, &auth, data, error);
}

typedef served fixture;

static int start(void **state) { return served_start(state, setup, 1, 1000); }

/* ---- Calls ---------------------------------------------------------------------------------------------- */

static void expect_call_refused(const fixture *f, const char *name, const lb_arg *args, lb_status expected,
                                const char *part)
{
    lb_error error = {0};
    lb_value *result = NULL;
    int64_t sent = redis_int(f->server, "LLEN", "auth:rpc_queue", NULL);
    assert_status(lb_call(f->bus, name, args, &result, &error), expected, &error);
    assert_null(result);
    assert_int_equal(error.status, expected);
    assert_string_equal(error.type, lb_status_name(expected));
    assert_contains(error.message, part);
    assert_null(strchr(error.message, '\n'));
    assert_int_equal(redis_int(f->server, "LLEN", "auth:rpc_queue", NULL), sent);
}

static void malformed_names_are_refused(void **state)
{
    fixture *f = *state;
    static const char *const names[] = {
        "", ".", "auth", "auth.", ".check", "auth check.x", "auth..check", "a\xff.b", "auth.check()", "auth.*"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lb_error error = {0};
        lb_status status = lb_call(f->bus, names[i], LB_NO_ARGS, NULL, &error);
        if (status != LB_INVALID_NAME && status != LB_UNKNOWN_API && status != LB_UNKNOWN_MEMBER)
            fail_msg("\"%s\": %s: %s", names[i], lb_status_name(status), error.message);
    }
}

static void an_unknown_procedure_is_refused(void **state)
{
    fixture *f = *state;
    expect_call_refused(f, "auth.chekc", LB_NO_ARGS, LB_UNKNOWN_MEMBER, "chekc");
    expect_call_refused(f, "auth.seen", LB_ARGS(LB("name", "x")), LB_UNKNOWN_MEMBER, "seen"); /* an event */
}

static void an_unknown_api_times_out_or_is_refused_when_validation_is_strict(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    assert_status(lb_call(f->bus, "nobody.here", LB_NO_ARGS, NULL, &error), LB_TIMEOUT, &error);
    assert_contains(error.message, "nobody");
    lb_options options = {.url = f->server->url, .flags = LB_OPEN_STRICT_VALIDATION};
    lb_bus *strict = lb_open(&options, &error);
    assert_non_null(strict);
    assert_status(lb_call(strict, "nobody.here", LB_NO_ARGS, NULL, &error), LB_UNKNOWN_API, &error);
    assert_contains(error.message, "nobody");
    assert_ok(lb_call(strict, "auth.check", LB_ARGS(LB("name", "x"), LB("age", 1)), NULL, &error), &error);
    lb_close(strict);
}

static void wrong_arguments_are_named(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    assert_ok(lb_call(f->bus, "auth.check", LB_ARGS(LB("name", "x"), LB("age", 1)), NULL, &error), &error);
    expect_call_refused(f, "auth.check", LB_NO_ARGS, LB_INVALID_ARGUMENTS, "name");
    expect_call_refused(f, "auth.check", LB_ARGS(LB("name", "x")), LB_INVALID_ARGUMENTS, "age");
    expect_call_refused(f, "auth.check", LB_ARGS(LB("name", "x"), LB("age", 1), LB("extra", 1)),
                        LB_INVALID_ARGUMENTS, "extra");
    expect_call_refused(f, "auth.check", LB_ARGS(LB("name", 7), LB("age", 1)), LB_INVALID_ARGUMENTS, "name");
    expect_call_refused(f, "auth.check", LB_ARGS(LB("name", "x"), LB("age", "1")), LB_INVALID_ARGUMENTS, "age");
    expect_call_refused(f, "auth.check", LB_ARGS(LB("name", "x"), LB("age", 1.5)), LB_INVALID_ARGUMENTS, "age");
    expect_call_refused(f, "auth.check", LB_ARGS(LB("name", "x"), LB("age", LB_NULL)), LB_INVALID_ARGUMENTS,
                        "age");
    expect_call_refused(f, "auth.check", LB_ARGS(LB("name", "x"), LB("age", 1), LB("tags", LB_JSON("[1]"))),
                        LB_INVALID_ARGUMENTS, "tags");
    expect_call_refused(f, "auth.check", LB_ARGS(LB("name", "x"), LB("age", 1), LB("kind", "c")),
                        LB_INVALID_ARGUMENTS, "kind");
}

static void arguments_that_cannot_be_encoded_are_refused(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    const lb_arg *const bad[] = {
        LB_ARGS(LB("name", "\xff\xfe"), LB("age", 1)),
        LB_ARGS(LB("name", LB_STRN("a\xc3", 2)), LB("age", 1)),
        LB_ARGS(LB("name", "x"), LB("age", 1), LB("tags", LB_JSON("[1,"))),
        LB_ARGS(LB("name", "x"), LB("age", 1), LB("tags", LB_JSON(""))),
        LB_ARGS(LB("name", "x"), LB("age", 1), LB("tags", LB_JSON("[] , \"metadata\": {}"))),
        LB_ARGS(LB("name", "x"), LB("age", 1), LB("age", 2)),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lb_status status = lb_call(f->bus, "auth.check", bad[i], NULL, &error);
        if (status != LB_INVALID_ARGUMENTS && status != LB_MALFORMED)
            fail_msg("case %d: %s: %s", (int)i, lb_status_name(status), error.message);
    }
    /* the handle is as good as before (Python's is not) */
    assert_ok(lb_call(f->bus, "auth.check", LB_ARGS(LB("name", "x"), LB("age", 1)), NULL, &error), &error);
}

static void s32_a_message_over_the_limit_is_refused(void **state)
{
    fixture *f = *state;
    size_t size = 17u << 20;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'x', size);
    lb_error error = {0};
    assert_status(
        lb_call(f->bus, "auth.check", LB_ARGS(LB("name", LB_STRN(text, size)), LB("age", 1)), NULL, &error),
        LB_TOO_LARGE, &error);
    free(text);
    assert_ok(lb_call(f->bus, "auth.check", LB_ARGS(LB("name", "x"), LB("age", 1)), NULL, &error), &error);
}

static void wrong_events_are_refused(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    assert_ok(lb_fire(f->bus, "auth.seen", LB_ARGS(LB("name", "x")), &error), &error);
    int64_t length = redis_int(f->server, "XLEN", "auth.*:stream", NULL);
    assert_status(lb_fire(f->bus, "auth.sene", LB_NO_ARGS, &error), LB_UNKNOWN_MEMBER, &error);
    assert_contains(error.message, "sene");
    assert_status(lb_fire(f->bus, "auth.check", LB_NO_ARGS, &error), LB_UNKNOWN_MEMBER, &error); /* an RPC */
    assert_status(lb_fire(f->bus, "auth.seen", LB_NO_ARGS, &error), LB_INVALID_ARGUMENTS, &error);
    assert_contains(error.message, "name");
    assert_status(lb_fire(f->bus, "auth.seen", LB_ARGS(LB("name", 1)), &error), LB_INVALID_ARGUMENTS, &error);
    assert_contains(error.message, "name");
    assert_status(lb_fire(f->bus, "auth.seen", LB_ARGS(LB("name", "x"), LB("at", "noon")), &error),
                  LB_INVALID_ARGUMENTS, &error);
    assert_contains(error.message, "at");
    assert_status(lb_fire(f->bus, "auth.seen", LB_ARGS(LB("name", "x"), LB("id", "x")), &error),
                  LB_INVALID_ARGUMENTS, &error);
    assert_contains(error.message, "id");
    assert_status(lb_fire(f->bus, "nobody.seen", LB_NO_ARGS, &error), LB_UNKNOWN_API, &error);
    assert_null(lb_fire_begin(f->bus, "auth.seen", LB_NO_ARGS, &error));
    assert_int_equal(redis_int(f->server, "XLEN", "auth.*:stream", NULL), length);
    assert_int_equal(redis_int(f->server, "EXISTS", "nobody.*:stream", NULL), 0);
}

/* ---- Registration and listening ------------------------------------------------------------------------- */

static void expect_api_refused(const lb_api *api, lb_status expected, const char *part)
{
    lb_error error = {0};
    lb_bus *bus = client_open("redis://127.0.0.1:1/0", 0);
    assert_status(lb_register(bus, api, NULL, &error), expected, &error);
    assert_contains(error.message, part);
    lb_close(bus);
}

static void wrong_apis_are_refused(void **state)
{
    (void)state;
    static const lb_member sound[] = {LB_EVENT("x()"), LB_END};
    static const char *const names[] = {"", ".", "a.", ".a", "a b", "a..b", "default", "a*", "a:b", "\xff"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        expect_api_refused(&(lb_api){.name = names[i], .members = sound}, LB_INVALID_NAME, "name");
    static const char *const signatures[] = {
        "", "x", "x(", "x(a: )", "x(a: str,)", "x(a: strr)", "x() ->", "x(a: str) b", "x(a: str, a: str)"};
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const lb_member members[] = {LB_RPC(signatures[i], check), LB_END};
        lb_error error = {0};
        lb_bus *bus = client_open("redis://127.0.0.1:1/0", 0);
        lb_status status = lb_register(bus, &(lb_api){.name = "a", .members = members}, NULL, &error);
        if (status != LB_INVALID_SIGNATURE)
            fail_msg("\"%s\": %s: %s", signatures[i], lb_status_name(status), error.message);
        lb_close(bus);
    }
    const lb_member twice[] = {LB_EVENT("x()"), LB_EVENT("x(a: int)"), LB_END};
    expect_api_refused(&(lb_api){.name = "a", .members = twice}, LB_DUPLICATE, "x");
}

static void an_api_is_registered_once(void **state)
{
    (void)state;
    lb_error error = {0};
    lb_bus *bus = client_open("redis://127.0.0.1:1/0", 0);
    assert_ok(lb_register(bus, &auth, NULL, &error), &error);
    assert_status(lb_register(bus, &auth, NULL, &error), LB_DUPLICATE, &error);
    assert_contains(error.message, "auth");
    assert_ok(lb_unregister(bus, "auth", &error), &error);
    assert_status(lb_unregister(bus, "auth", &error), LB_UNKNOWN_API, &error);
    assert_ok(lb_register(bus, &auth, NULL, &error), &error);
    lb_close(bus);
}

static void wrong_listeners_are_refused(void **state)
{
    (void)state;
    lb_error error = {0};
    lb_bus *bus = client_open("redis://127.0.0.1:1/0", 0);
    static const char *const events[] = {"", " ", "a", "a.", ".x", "a.x b", "*", "*.x"};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        lb_status status = lb_listen(bus, events[i], "l", handle, NULL, NULL, &error);
        if (status != LB_INVALID_NAME)
            fail_msg("\"%s\": %s", events[i], lb_status_name(status));
    }
    assert_status(lb_listen(bus, "a.x", "", handle, NULL, NULL, &error), LB_INVALID_NAME, &error);
    assert_ok(lb_listen(bus, "a.x", "l", handle, NULL, NULL, &error), &error);
    assert_status(lb_listen(bus, "a.y", "l", handle, NULL, NULL, &error), LB_DUPLICATE, &error);
    const lb_listen_options bad[] = {
        {.flags = 1u << 31}, {.batch_size = -1}, {.max_deliveries = -1}, {.on_error = 17}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_status(lb_listen(bus, "a.x", "other", handle, NULL, &bad[i], &error), LB_CONFIG, &error);
    lb_close(bus);
}

static void a_since_that_is_no_place_is_refused_at_the_start(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    lb_bus *bus = client_open(f->server->url, 0);
    assert_ok(lb_listen(bus, "a.x", "l", handle, NULL, &(lb_listen_options){.since = "yesterday"}, &error),
              &error);
    assert_status(lb_start(bus, &error), LB_CONFIG, &error);
    assert_contains(error.message, "yesterday");
    assert_int_equal(redis_int(f->server, "EXISTS", "a.*:stream", NULL), 0);
    lb_close(bus);
}

/* ---- Opening -------------------------------------------------------------------------------------------- */

static void malformed_urls_and_options_are_refused(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "redis",
        "redis:/",
        "redis://host:port/0",
        "redis://host:99999/0",
        "redis://h/x",
        "redis://h/0?acknowledgement_timeout=soon",
        "redis://h/0?aknowledgement_timeout=1",
        "redis://[::1/0",
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        lb_error error = {0};
        lb_options options = {.url = urls[i]};
        lb_bus *bus = lb_open(&options, &error);
        if (bus || (error.status != LB_CONFIG && error.status != LB_UNSUPPORTED))
            fail_msg("\"%s\": %s: %s", urls[i], lb_status_name(error.status), error.message);
        assert_true(strlen(error.message) > 0);
    }
    lb_error error = {0};
    assert_null(lb_open(&(lb_options){.url = "redis://h/0?aknowledgement_timeout=1"}, &error));
    assert_contains(error.message, "acknowledgement_timeout"); /* S35: the nearest valid one */
    assert_null(lb_open(&(lb_options){.url = "gopher://h/0"}, &error));
    assert_int_equal(error.status, LB_UNSUPPORTED);
    assert_contains(error.message, "gopher");
    assert_null(lb_open(&(lb_options){.flags = 1u << 31}, &error));
    assert_int_equal(error.status, LB_CONFIG);
    assert_null(lb_open(&(lb_options){.rpc_timeout_ms = -1}, &error));
    assert_int_equal(error.status, LB_CONFIG);
    assert_null(lb_open(&(lb_options){.service_name = "{hostnam}"}, &error));
    assert_int_equal(error.status, LB_CONFIG);
    assert_null(lb_open(&(lb_options){.url = "redis://:geheim@h:port/0"}, &error));
    assert_null(strstr(error.message, "geheim")); /* S33 */
}

/* The first use of a handle with this URL fails: the status; *error tells more. */
static lb_status first_use(const char *url, lb_error *error)
{
    lb_options options = {.url = url, .rpc_timeout_ms = 1500, .event_fire_timeout_ms = 1500};
    lb_bus *bus = lb_open(&options, error);
    if (!bus)
        return error->status;
    assert_ok(lb_register(bus, &auth, NULL, error), error);
    int64_t begin = support_now_ms();
    lb_status status = lb_fire(bus, "auth.seen", LB_ARGS(LB("name", "x")), error);
    assert_in_range(support_now_ms() - begin, 0, 1500 + SLACK_MS);
    lb_close(bus);
    return status;
}

static void a_wrong_password_is_no_access(void **state)
{
    (void)state;
    redis_server *server = redis_server_start((const char *const[]){"--requirepass", "geheim", NULL});
    char url[128];
    lb_error error = {0};
    snprintf(url, sizeof url, "redis://:falsch@127.0.0.1:%d/0", server->port);
    assert_status(first_use(url, &error), LB_ACCESS, &error);
    assert_null(strstr(error.message, "falsch"));
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", server->port);
    assert_status(first_use(url, &error), LB_ACCESS, &error);
    snprintf(url, sizeof url, "redis://nobody:geheim@127.0.0.1:%d/0", server->port);
    assert_status(first_use(url, &error), LB_ACCESS, &error);
    snprintf(url, sizeof url, "redis://:geheim@127.0.0.1:%d/0", server->port);
    assert_ok(first_use(url, &error), &error);
    redis_server_stop(server);
}

static void a_refused_port_is_a_transport_error(void **state)
{
    (void)state;
    char url[128], port[16];
    lb_error error = {0};
    snprintf(port, sizeof port, "%d", support_free_port());
    snprintf(url, sizeof url, "redis://127.0.0.1:%s/0", port);
    assert_status(first_use(url, &error), LB_TRANSPORT, &error);
    assert_contains(error.message, port);
    assert_contains(error.message, "refused");
    assert_true(error.retryable);
    assert_status(first_use("redis+unix:///nonexistent/redis.sock?db=0", &error), LB_TRANSPORT, &error);
    assert_contains(error.message, "/nonexistent/redis.sock");
    assert_status(first_use("redis://no-such-host.invalid:6379/0", &error), LB_TRANSPORT, &error);
    assert_contains(error.message, "no-such-host.invalid");
}

static void wrong_tls_is_refused(void **state)
{
    (void)state;
    redis_server *server = redis_server_start_tls();
    char url[512];
    lb_error error = {0};
    snprintf(url, sizeof url, "%s?tls_ca=%s/ca.crt", server->tls_url, server->directory);
    assert_ok(first_use(url, &error), &error);
    assert_status(first_use(server->tls_url, &error), LB_ACCESS, &error); /* its CA is unknown */
    assert_contains(error.message, "certificate");
    snprintf(url, sizeof url, "rediss://127.0.0.2:%d/0?tls_ca=%s/ca.crt", server->tls_port, server->directory);
    lb_status status = first_use(url, &error); /* not a name of the certificate; nor does it listen there */
    assert_true(status == LB_ACCESS || status == LB_TRANSPORT);
    snprintf(url, sizeof url, "%s?tls_verify=false", server->tls_url);
    assert_ok(first_use(url, &error), &error);
    snprintf(url, sizeof url, "rediss://localhost:%d/0", server->port); /* TLS to a plain port */
    status = first_use(url, &error);
    assert_true(status == LB_ACCESS || status == LB_TRANSPORT || status == LB_TIMEOUT);
    snprintf(url, sizeof url, "redis://localhost:%d/0", server->tls_port); /* and the reverse */
    status = first_use(url, &error);
    assert_true(status == LB_TRANSPORT || status == LB_TIMEOUT);
    redis_server_stop(server);
}

static void a_port_where_something_else_answers_is_an_error(void **state)
{
    fixture *f = *state;
    proxy *p = proxy_start(f->server);
    proxy_hold(p, true); /* accepts, and never says a word */
    lb_error error = {0};
    lb_status status = first_use(p->url, &error);
    assert_true(status == LB_TRANSPORT || status == LB_TIMEOUT);
    proxy_stop(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_names_are_refused),
        cmocka_unit_test(an_unknown_procedure_is_refused),
        cmocka_unit_test(an_unknown_api_times_out_or_is_refused_when_validation_is_strict),
        cmocka_unit_test(wrong_arguments_are_named),
        cmocka_unit_test(arguments_that_cannot_be_encoded_are_refused),
        cmocka_unit_test(s32_a_message_over_the_limit_is_refused),
        cmocka_unit_test(wrong_events_are_refused),
        cmocka_unit_test(wrong_apis_are_refused),
        cmocka_unit_test(an_api_is_registered_once),
        cmocka_unit_test(wrong_listeners_are_refused),
        cmocka_unit_test(a_since_that_is_no_place_is_refused_at_the_start),
        cmocka_unit_test(malformed_urls_and_options_are_refused),
        cmocka_unit_test(a_wrong_password_is_no_access),
        cmocka_unit_test(a_refused_port_is_a_transport_error),
        cmocka_unit_test(wrong_tls_is_refused),
        cmocka_unit_test(a_port_where_something_else_answers_is_an_error),
    };
    return cmocka_run_group_tests(tests, start, served_stop);
}
