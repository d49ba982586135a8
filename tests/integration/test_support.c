/* The tests' own tools: the server, its restart, child processes, programs, the proxy. */
#include "proxy.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void commands_reply_as_values(void **state)
{
    (void)state;
    redis_server *server = redis_server_start(NULL);
    assert_int_equal(redis_int(server, "RPUSH", "list", "one", "\xff\x01\"", NULL), 2);
    lb_value *list = redis_command(server, "LRANGE", "list", "0", "-1", NULL);
    assert_string_equal(lb_value_str(lb_value_at(list, 0)), "one");
    assert_string_equal(lb_value_str(lb_value_at(list, 1)), "\xc3\xbf\x01\"");
    lb_value_free(list);
    lb_value *nil = redis_command(server, "GET", "nothing", NULL);
    assert_int_equal(lb_value_type_of(nil), LB_TYPE_NULL);
    lb_value_free(nil);
    lb_value *wrong = redis_command(server, "GET", "list", NULL);
    assert_int_equal(strncmp(lb_value_str(wrong), "-WRONGTYPE", 10), 0);
    lb_value_free(wrong);
    redis_server_stop(server);
}

static void a_restart_keeps_port_and_data(void **state)
{
    (void)state;
    redis_server *server = redis_server_start((const char *const[]){"--requirepass", "secret", NULL});
    int port = server->port;
    redis_int(server, "RPUSH", "list", "kept", NULL);
    redis_server_restart(server);
    assert_int_equal(server->port, port);
    assert_int_equal(redis_int(server, "LLEN", "list", NULL), 1);
    redis_server_down(server);
    redisContext *c = redisConnect("127.0.0.1", port);
    assert_true(c && c->err != 0);
    redisFree(c);
    redis_server_stop(server);
}

static void a_tls_server_starts(void **state)
{
    (void)state;
    redis_server *server = redis_server_start_tls();
    char file[128];
    snprintf(file, sizeof file, "%s/ca.crt", server->directory);
    char port[16];
    snprintf(port, sizeof port, "%d", server->tls_port);
    program *p = program_start((const char *const[]){"redis-cli", "-h", "localhost", "-p", port, "--tls",
                                                     "--cacert", file, "PING", NULL},
                               NULL, NULL);
    program_expect(p, "PONG", 10000);
    assert_int_equal(program_wait(p, 10000), 0);
    program_free(p);
    redis_server_stop(server);
}

static int add_one(void *data)
{
    __atomic_add_fetch((int *)data, 1, __ATOMIC_SEQ_CST);
    return 7;
}

static int fail_an_assertion(void *data)
{
    (void)data;
    assert_int_equal(1, 2);
    return 0;
}

static int sleep_long(void *data)
{
    (void)data;
    for (int i = 0; i < 30000; i++)
        support_nap();
    return 0;
}

static void children_end_with_their_code(void **state)
{
    (void)state;
    int *counter = shared_memory(sizeof *counter);
    pid_t pid = child_start(add_one, counter);
    wait_until(__atomic_load_n(counter, __ATOMIC_SEQ_CST) == 1, 10000);
    assert_int_equal(child_wait(pid, 10000), 7);
    pid = child_start(sleep_long, NULL);
    assert_true(child_runs(pid));
    child_kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 10000), 128 + SIGKILL);
    assert_int_equal(child_wait(child_start(fail_an_assertion, NULL), 10000), 128 + SIGABRT);
}

enum { PORTS = 20 };

typedef struct ports {
    int taken[PORTS], done, compared;
} ports;

static int take_ports(void *data)
{
    ports *p = data;
    for (int i = 0; i < PORTS; i++)
        p->taken[i] = support_free_port();
    __atomic_store_n(&p->done, 1, __ATOMIC_SEQ_CST);
    wait_until(__atomic_load_n(&p->compared, __ATOMIC_SEQ_CST), 10000);
    return 0;
}

/* A fork would choose the very same ones. */
static void a_port_belongs_to_one_process(void **state)
{
    (void)state;
    ports *p = shared_memory(sizeof *p);
    support_free_port();
    pid_t pid = child_start(take_ports, p);
    wait_until(__atomic_load_n(&p->done, __ATOMIC_SEQ_CST), 10000);
    for (int i = 0; i < PORTS; i++) {
        int port = support_free_port();
        for (int k = 0; k < PORTS; k++)
            assert_int_not_equal(port, p->taken[k]);
    }
    __atomic_store_n(&p->compared, 1, __ATOMIC_SEQ_CST);
    assert_int_equal(child_wait(pid, 10000), 0);
}

static void programs_are_read(void **state)
{
    (void)state;
    char *directory = temporary_directory();
    write_file(directory, "text", "hello");
    program *p = program_start((const char *const[]){"sh", "-c", "cat text; echo $NAME >&2; exit 3", NULL},
                               (const char *const[]){"NAME=value", NULL}, directory);
    program_expect(p, "hello", 10000);
    assert_int_equal(program_wait(p, 10000), 3);
    assert_string_equal(p->text, "hellovalue\n");
    program_free(p);
    free(directory);
}

static redisContext *connect_through(const proxy *p)
{
    redisContext *c = redisConnectWithTimeout("127.0.0.1", p->port, (struct timeval){5, 0});
    assert_true(c && c->err == 0);
    redisSetTimeout(c, (struct timeval){20, 0});
    return c;
}

static bool pings(redisContext *c)
{
    redisReply *reply = redisCommand(c, "PING");
    freeReplyObject(reply);
    return reply != NULL;
}

static void the_proxy_breaks_connections(void **state)
{
    (void)state;
    redis_server *server = redis_server_start(NULL);
    proxy *p = proxy_start(server);

    redisContext *c = connect_through(p);
    assert_true(pings(c));
    proxy_cut(p);
    assert_false(pings(c));
    redisFree(c);

    c = connect_through(p);
    proxy_hold(p, true);
    redisSetTimeout(c, (struct timeval){0, 300000});
    assert_false(pings(c)); /* no answer in time */
    redisFree(c);
    proxy_hold(p, false);

    c = connect_through(p);
    proxy_delay(p, 50);
    int64_t start = support_now_ms();
    assert_true(pings(c));
    assert_true(support_now_ms() - start >= 100);
    proxy_delay(p, 0);

    proxy_cut_after(p, TO_CLIENT, 3); /* "$2\r" of the reply, after the server did the work */
    freeReplyObject(redisCommand(c, "SET key value"));
    assert_int_not_equal(c->err, 0);
    redisFree(c);
    assert_int_equal(redis_int(server, "EXISTS", "key", NULL), 1);

    c = connect_through(p);
    proxy_cut_after(p, TO_SERVER, 10); /* half a command */
    freeReplyObject(redisCommand(c, "SET other value"));
    assert_int_not_equal(c->err, 0);
    redisFree(c);
    assert_int_equal(redis_int(server, "EXISTS", "other", NULL), 0);

    proxy_refuse(p, true);
    c = redisConnect("127.0.0.1", p->port);
    assert_true(c && c->err != 0);
    redisFree(c);
    proxy_refuse(p, false);
    c = connect_through(p);
    assert_true(pings(c));
    redisFree(c);
    proxy_stop(p);
    redis_server_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_reply_as_values),
        cmocka_unit_test(a_restart_keeps_port_and_data),
        cmocka_unit_test(a_tls_server_starts),
        cmocka_unit_test(children_end_with_their_code),
        cmocka_unit_test(programs_are_read),
        cmocka_unit_test(the_proxy_breaks_connections),
        cmocka_unit_test(a_port_belongs_to_one_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
