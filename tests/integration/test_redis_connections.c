/* Getting to a Redis: TCP, unix sockets, TLS, users and passwords, databases; and what is said when one cannot.
 */
#include "redis_fixture.h"

/* One call there and back. */
static void works(fixture *f)
{
    void *consumer = open_consumer(f, "auth");
    lb_rpc_message call = make_call(f, "id", "auth", "check", 5000);
    send_call(f, &call, true);
    const lb_rpc_message *calls = fetch_calls(f, consumer, 1);
    answer_call(f, consumer, calls, "1");
    assert_ok(f->t->rpc->flush(consumer, in_ms(1000), &f->error), &f->error);
    fetch_results(f, 1);
    f->t->rpc->consumer_close(consumer);
}

/* The status of a first use, with its message in f->error. */
static lb_status try_url(const char *url, lb_error *error)
{
    fixture f = fixture_on(url);
    lb_event_message event = make_event("1", "shop", "sold"), *list[] = {&event};
    lb_status status = f.t->event->send(f.self, list, 1, in_ms(2000), &f.error);
    *error = f.error;
    fixture_close(&f);
    return status;
}

static void works_over_tcp_and_a_unix_socket(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    works(&f);
    fixture_close(&f);
    f = fixture_on(server->unix_url);
    works(&f);
    fixture_close(&f);
}

static void keeps_databases_apart(void **state)
{
    (void)state;
    char url[128];
    lb_error error;
    lb_value_free(redis_command(server, "FLUSHALL", NULL));
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/3", server->port);
    assert_int_equal(try_url(url, &error), LB_OK);
    assert_int_equal(redis_int(server, "DBSIZE", NULL), 0);
    snprintf(url, sizeof url, "redis+unix://%s/redis.sock?db=0", server->directory);
    assert_int_equal(try_url(url, &error), LB_OK);
    assert_int_equal(redis_int(server, "DBSIZE", NULL), 1);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/99", server->port);
    assert_int_equal(try_url(url, &error), LB_TRANSPORT);
    assert_false(error.retryable);
    assert_non_null(strstr(error.message, "database"));
}

/* S30 */
static void says_that_nobody_listens(void **state)
{
    (void)state;
    char url[128], text[128];
    lb_error error;
    int port = support_free_port();
    snprintf(url, sizeof url, "redis://user:secret@127.0.0.1:%d", port);
    snprintf(text, sizeof text, "redis://127.0.0.1:%d: connection refused", port);
    assert_int_equal(try_url(url, &error), LB_TRANSPORT);
    assert_true(error.retryable);
    assert_string_equal(error.message, text);
    assert_int_equal(try_url("redis+unix:///nowhere/redis.sock", &error), LB_TRANSPORT);
    assert_string_equal(error.message, "redis+unix:///nowhere/redis.sock: no such file or directory");
}

/* S33: no message shows a password. */
static void checks_users_and_passwords(void **state)
{
    (void)state;
    char url[128];
    lb_error error;
    lb_value_free(redis_command(server, "ACL", "SETUSER", "alice", "on", ">s3/cret", "~*", "+@all", NULL));
    lb_value_free(
        redis_command(server, "ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-client", "-xadd", NULL));
    snprintf(url, sizeof url, "redis://alice:s3%%2Fcret@127.0.0.1:%d/0", server->port);
    assert_int_equal(try_url(url, &error), LB_OK);
    snprintf(url, sizeof url, "redis://alice:wrong-one@127.0.0.1:%d/0", server->port);
    assert_int_equal(try_url(url, &error), LB_ACCESS);
    assert_false(error.retryable);
    assert_null(strstr(error.message, "wrong-one"));
    assert_non_null(strstr(error.message, "WRONGPASS"));
    snprintf(url, sizeof url, "redis://:unneeded@127.0.0.1:%d/0", server->port);
    assert_int_equal(try_url(url, &error), LB_ACCESS);

    /* Without the right to CLIENT it works; what may not be done is told for each event. */
    snprintf(url, sizeof url, "redis://bob:pw@127.0.0.1:%d/0", server->port);
    fixture f = fixture_on(url);
    works(&f);
    lb_event_message event = make_event("1", "shop", "sold"), *list[] = {&event};
    assert_ok(f.t->event->send(f.self, list, 1, in_ms(2000), &f.error), &f.error);
    assert_int_equal(event.status, LB_ACCESS);
    fixture_close(&f);
}

static void tells_that_a_password_is_needed(void **state)
{
    (void)state;
    static const char *const arguments[] = {"--requirepass", "needed", NULL};
    redis_server *own = redis_server_start(arguments);
    char url[128];
    lb_error error;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", own->port);
    assert_int_equal(try_url(url, &error), LB_ACCESS);
    snprintf(url, sizeof url, "redis://:needed@127.0.0.1:%d", own->port);
    assert_int_equal(try_url(url, &error), LB_OK);
    redis_server_stop(own);
}

static void checks_certificates(void **state)
{
    (void)state;
    redis_server *usual = server, *other = redis_server_start_tls();
    server = redis_server_start_tls();
    char url[512];
    lb_error error;
    snprintf(url, sizeof url, "%s?tls_ca=%s/ca.crt", server->tls_url, server->directory);
    fixture f = fixture_on(url);
    works(&f);
    lb_event_message event = make_event("1", "shop", "sold"), *list[] = {&event};
    for (int i = 0; i < 3;
         i++, support_nap()) /* idle between: session tickets must not look like a dead connection */
        assert_ok(f.t->event->send(f.self, list, 1, in_ms(2000), &f.error), &f.error);
    fixture_close(&f);
    snprintf(url, sizeof url, "%s?tls_ca=%s/ca.crt", server->tls_url, other->directory);
    assert_int_equal(try_url(url, &error), LB_ACCESS);
    assert_non_null(strstr(error.message, "certificate"));
    snprintf(url, sizeof url, "%s?tls_verify=false", server->tls_url);
    assert_int_equal(try_url(url, &error), LB_OK);
    snprintf(url, sizeof url, "rediss://[::ffff:127.0.0.1]:%d?tls_ca=%s/ca.crt", server->tls_port,
             server->directory);
    assert_int_equal(try_url(url, &error), LB_ACCESS);                /* another name than the certificate's */
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d", server->port); /* no TLS there */
    assert_int_not_equal(try_url(url, &error), LB_OK);
    redis_server_stop(other);
    redis_server_stop(server);
    server = usual;
}

static void a_ca_file_must_be_there(void **state)
{
    (void)state;
    const lb_transport_config config = {sizeof config, "rediss://localhost?tls_ca=/nowhere/ca.crt", "s", "p"};
    void *self;
    lb_error error = {0};
    assert_int_equal(redis_transport.open(&config, &self, &error), LB_CONFIG);
    assert_null(self);
    assert_non_null(strstr(error.message, "tls_ca"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(works_over_tcp_and_a_unix_socket), cmocka_unit_test(keeps_databases_apart),
        cmocka_unit_test(says_that_nobody_listens),         cmocka_unit_test(checks_users_and_passwords),
        cmocka_unit_test(tells_that_a_password_is_needed),  cmocka_unit_test(checks_certificates),
        cmocka_unit_test(a_ca_file_must_be_there),
    };
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
