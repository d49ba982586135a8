/* RPCs and results over a real Redis: the calling and the called side, and what may go wrong between them. */
#include <poll.h>
#include <pthread.h>

#include "proxy.h"
#include "redis_fixture.h"

static void push_raw(const char *blob, const char *id)
{
    char key[128];
    snprintf(key, sizeof key, "rpc_expiry_key:%s", id);
    lb_value_free(redis_command(server, "SET", key, "1", NULL));
    lb_value_free(redis_command(server, "RPUSH", "auth:rpc_queue", blob, NULL));
}

static void sends_a_call_and_its_result(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *consumer = open_consumer(&f, "auth");
    lb_rpc_message call = make_call(&f, "call-1", "auth", "check", 5000);
    send_call(&f, &call, true);
    const lb_rpc_message *calls = fetch_calls(&f, consumer, 1);
    assert_null(calls[0].problem);
    assert_slice(calls[0].id, "call-1");
    assert_slice(calls[0].api_name, "auth");
    assert_slice(calls[0].procedure_name, "check");
    assert_int_equal(calls[0].kwargs_count, 2);
    assert_slice(calls[0].kwargs[0].name, "username");
    assert_string_equal(lb_value_str(calls[0].kwargs[0].value), "admin");
    assert_int_equal(lb_value_int(calls[0].kwargs[1].value), 42);
    answer_call(&f, consumer, &calls[0], "{\"ok\":true}");
    assert_ok(f.t->rpc->flush(consumer, in_ms(2000), &f.error), &f.error);
    const lb_result_message *results = fetch_results(&f, 1);
    assert_int_equal(results[0].status, LB_OK);
    assert_false(results[0].error);
    assert_slice(results[0].rpc_message_id, "call-1");
    assert_true(lb_value_bool(lb_value_get(results[0].result, "ok")));
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
}

/* A server takes calls in a thread of its own until it is stopped, each answered with its own arguments. */
typedef struct echo {
    fixture *f;
    void *consumer;
    pthread_t thread;
    bool stop;
    int handled;
} echo;

static void *echo_main(void *data)
{
    echo *e = data;
    lb_error error = {0};
    while (!__atomic_load_n(&e->stop, __ATOMIC_RELAXED)) {
        const lb_rpc_message *calls;
        size_t count;
        if (e->f->t->rpc->fetch(e->consumer, 64, in_ms(60000), &calls, &count, &error) != LB_OK)
            continue;
        for (size_t i = 0; i < count; i++) {
            lb_result_message result = {.id = calls[i].id,
                                        .rpc_message_id = calls[i].id,
                                        .return_path = calls[i].return_path,
                                        .json = slice("[1,2]")};
            e->f->t->result->send(e->f->self, e->consumer, &result, 1, in_ms(1000), &error);
            __atomic_add_fetch(&e->handled, 1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void echo_start(echo *e, fixture *f)
{
    *e = (echo){.f = f, .consumer = open_consumer(f, "auth")};
    assert_int_equal(pthread_create(&e->thread, NULL, echo_main, e), 0);
}

static void echo_stop(echo *e)
{
    __atomic_store_n(&e->stop, true, __ATOMIC_RELAXED);
    e->f->t->rpc->interrupt(e->consumer);
    pthread_join(e->thread, NULL);
    e->f->t->rpc->consumer_close(e->consumer);
}

static void call_many(fixture *f, int rounds, int batch, bool now)
{
    int answered = 0;
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < batch; i++) {
            char id[32];
            snprintf(id, sizeof id, "call-%d-%d", round, i);
            lb_rpc_message call = make_call(f, id, "auth", "check", 5000);
            send_call(f, &call, now);
        }
        while (answered < (round + 1) * batch) {
            const lb_result_message *results;
            size_t count;
            assert_ok(f->t->result->fetch(f->self, in_ms(5000), &results, &count, &f->error), &f->error);
            assert_true(count > 0);
            for (size_t i = 0; i < count; i++) {
                assert_null(results[i].problem);
                assert_int_equal(lb_value_count(results[i].result), 2);
            }
            answered += (int)count;
        }
    }
    assert_int_equal(answered, rounds * batch);
}

static void carries_many_calls_together(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    echo e;
    echo_start(&e, &f);
    call_many(&f, 100, 1, false);
    call_many(&f, 20, 50, false);
    call_many(&f, 5, 20, true);
    assert_int_equal(__atomic_load_n(&e.handled, __ATOMIC_RELAXED), 100 + 1000 + 100);
    echo_stop(&e);
    assert_int_equal(redis_int(server, "DBSIZE", NULL), 0); /* S8: nothing is left behind */
    fixture_close(&f);
}

/* S2 */
static void drops_a_call_whose_deadline_has_passed(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    lb_rpc_message call = make_call(&f, "late", "auth", "check", 20);
    send_call(&f, &call, true);
    wait_until(redis_int(server, "EXISTS", "rpc_expiry_key:late", NULL) == 0, 3000);
    void *consumer = open_consumer(&f, "auth");
    fetch_calls(&f, consumer, 0);
    assert_int_equal(redis_int(server, "LLEN", "auth:rpc_queue", NULL), 0);
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
}

/* S2: a call that may have waited longer than any key lives is given out only while its key is there. One that
 * cannot have is given out at once, and its key is deleted with the next write. */
static void asks_for_the_keys_of_calls_that_may_have_waited(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *consumer = open_consumer(&f, "auth");
    for (int i = 0; i < 200; i++) {
        char id[16], blob[160];
        snprintf(id, sizeof id, "call-%d", i);
        snprintf(blob, sizeof blob,
                 "{\"kwargs\":{},\"metadata\":{\"id\":\"%s\",\"api_name\":\"auth\",\"procedure_name\":\"p\","
                 "\"return_path\":\"redis+key://r\"}}",
                 id);
        push_raw(blob, id);
        assert_slice(fetch_calls(&f, consumer, 1)->id, id);
    }
    assert_ok(f.t->rpc->flush(consumer, in_ms(2000), &f.error), &f.error);
    assert_int_equal(redis_int(server, "DBSIZE", NULL), 0);
    support_nap(); /* longer than a key lives at least */
    lb_value_free(redis_command(server, "RPUSH", "auth:rpc_queue", "{\"metadata\":{\"id\":\"old\"}}", NULL));
    fetch_calls(&f, consumer, 0);
    assert_int_equal(redis_int(server, "LLEN", "auth:rpc_queue", NULL), 0);
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
}

/* S2: the expiry on the wire is what is left of the call's own deadline. */
static void sets_the_expiry_of_the_call(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    lb_rpc_message call = make_call(&f, "timed", "auth", "check", 1234);
    send_call(&f, &call, true);
    int64_t ttl = redis_int(server, "PTTL", "rpc_expiry_key:timed", NULL);
    assert_in_range(ttl, 200, 1234);
    fixture_close(&f);
}

/* S8 */
static void withdraws_calls(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    lb_rpc_message sent = make_call(&f, "sent", "auth", "check", 5000),
                   waiting = make_call(&f, "w", "auth", "check", 5000);
    const lb_rpc_message *both[] = {&sent, &waiting};
    send_call(&f, &sent, true);
    send_call(&f, &waiting, false);
    f.t->rpc->withdraw(f.self, both, 2);
    assert_int_equal(redis_int(server, "DBSIZE", NULL), 0);
    fetch_results(&f, 0); /* would have sent the one that waited */
    assert_int_equal(redis_int(server, "DBSIZE", NULL), 0);
    fixture_close(&f);
}

/* S4: they come out with a problem, answerable where an id and a return path could be read. */
static void gives_out_malformed_calls_with_their_problem(void **state)
{
    (void)state;
    static const struct {
        const char *blob, *problem;
    } bad[] = {
        {"not json", "not JSON"},
        {"[1]", "expected a JSON object"},
        {"{}", "no metadata"},
        {"{\"metadata\":{}}", "no id"},
        {"{\"metadata\":{\"id\":\"x\"}}", "no api_name"},
        {"{\"metadata\":{\"id\":\"x\",\"api_name\":\"auth\"}}", "no procedure_name"},
        {"{\"metadata\":{\"id\":\"x\",\"api_name\":\"auth\",\"procedure_name\":\"p\",\"return_path\":\"\"}}",
         "no return_path"},
        {"{\"metadata\":{\"id\":\"x\",\"api_name\":\"auth\",\"procedure_name\":\"p\",\"return_path\":\"http://"
         "x\"}}",
         "redis+key://"},
        {"{\"kwargs\":[],\"metadata\":{\"id\":\"x\",\"api_name\":\"auth\",\"procedure_name\":\"p\",\"return_"
         "path\":\"redis+key://r\"}}",
         "kwargs"},
        {"{\"kwargs\":{\"a\":1,\"a\":2},\"metadata\":{\"id\":\"x\",\"api_name\":\"auth\",\"procedure_name\":"
         "\"p\",\"return_path\":\"redis+key://r\"}}",
         "twice"},
        {"{\"metadata\":{\"id\":\"\xff\"}}", "not JSON"},
    };
    fixture f = fixture_open(NULL);
    void *consumer = open_consumer(&f, "auth");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        push_raw(bad[i].blob, "x");
        const lb_rpc_message *calls = fetch_calls(&f, consumer, 1);
        assert_non_null(calls[0].problem);
        if (!strstr(calls[0].problem, bad[i].problem))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].blob, calls[0].problem, bad[i].problem);
        assert_ok(f.t->rpc->flush(consumer, in_ms(2000), &f.error), &f.error); /* they share an id */
    }
    push_raw("{\"kwargs\":{\"a\":1},\"metadata\":{\"id\":7,\"api_name\":\"auth\",\"procedure_name\":\"p\","
             "\"return_path\":\"redis+key://r\",\"more\":1}}",
             "7");
    const lb_rpc_message *calls = fetch_calls(&f, consumer, 1);
    assert_null(calls[0].problem);
    assert_slice(calls[0].id, "7");
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
}

/* S32 */
static void refuses_large_messages_on_both_sides(void **state)
{
    (void)state;
    fixture f = fixture_open("max_message_size=2000");
    char *large = malloc(4001);
    memset(large, 'x', 4000);
    large[0] = large[3999] = '"';
    large[4000] = '\0';
    lb_kwarg kwarg = {.name = slice("a"), .json = slice(large)};
    lb_rpc_message call = make_call(&f, "large", "auth", "check", 5000),
                   small = make_call(&f, "s", "auth", "check", 5000);
    call.kwargs = &kwarg;
    call.kwargs_count = 1;
    const lb_rpc_message *alone[] = {&call}, *both[] = {&call, &small};
    assert_int_equal(f.t->rpc->send(f.self, alone, 1, true, in_ms(1000), &f.error), LB_TOO_LARGE);
    assert_non_null(strstr(f.error.message, "max_message_size"));
    assert_ok(f.t->rpc->send(f.self, both, 2, true, in_ms(1000), &f.error), &f.error);
    assert_int_equal(redis_int(server, "LLEN", "auth:rpc_queue", NULL), 1);
    const lb_result_message *results = fetch_results(&f, 1);
    assert_slice(results[0].rpc_message_id, "large");
    assert_int_equal(results[0].status, LB_TOO_LARGE);
    void *consumer = open_consumer(&f, "auth");
    fetch_calls(&f, consumer, 1);
    push_raw(large, "large");
    const lb_rpc_message *calls = fetch_calls(&f, consumer, 1);
    assert_non_null(strstr(calls[0].problem, "max_message_size"));
    f.t->rpc->consumer_close(consumer);
    free(large);
    fixture_close(&f);
}

/* S30: the server refuses writes when its memory is full. */
static void tells_that_the_server_is_out_of_memory(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    lb_value_free(redis_command(server, "CONFIG", "SET", "maxmemory", "1", NULL));
    lb_rpc_message call = make_call(&f, "oom", "auth", "check", 5000);
    const lb_rpc_message *list[] = {&call};
    assert_int_equal(f.t->rpc->send(f.self, list, 1, true, in_ms(2000), &f.error), LB_BUSY);
    assert_true(f.error.retryable);
    assert_non_null(strstr(f.error.message, "OOM"));
    send_call(&f, &call, false);
    const lb_result_message *results = fetch_results(&f, 1);
    assert_slice(results[0].rpc_message_id, "oom");
    assert_int_equal(results[0].status, LB_BUSY);
    lb_value_free(redis_command(server, "CONFIG", "SET", "maxmemory", "0", NULL));
    send_call(&f, &call, true);
    fixture_close(&f);
}

static void interrupt_ends_a_fetch_at_once_and_once(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *consumer = open_consumer(&f, "auth");
    const lb_rpc_message *calls;
    size_t count;
    f.t->rpc->interrupt(consumer);
    int64_t start = support_now_ms();
    assert_ok(f.t->rpc->fetch(consumer, 10, in_ms(20000), &calls, &count, &f.error), &f.error);
    assert_int_equal(count, 0);
    assert_true(support_now_ms() - start < 15000);
    fetch_calls(&f, consumer, 0); /* the interrupt is used up: this one waits for its deadline */
    f.t->rpc->consumer_close(consumer);
    echo e;
    echo_start(&e, &f);
    call_many(&f, 1, 1, false); /* then it blocks again */
    start = support_now_ms();
    echo_stop(&e);
    assert_true(support_now_ms() - start < 15000);
    fixture_close(&f);
}

static void kill_all_connections(void)
{
    lb_value_free(redis_command(server, "CLIENT", "KILL", "TYPE", "normal", NULL));
}

/* S30 */
static void comes_back_when_its_connection_is_killed(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *consumer = open_consumer(&f, "auth");
    const lb_rpc_message *calls;
    size_t count;
    fetch_calls(&f, consumer, 0);
    kill_all_connections();
    lb_rpc_message call = make_call(&f, "after", "auth", "check", 5000);
    send_call(&f, &call, true);
    lb_status status = f.t->rpc->fetch(consumer, 10, in_ms(3000), &calls, &count, &f.error);
    if (status == LB_TRANSPORT) {
        assert_true(f.error.retryable);
        status = f.t->rpc->fetch(consumer, 10, in_ms(3000), &calls, &count, &f.error);
    }
    assert_int_equal(status, LB_OK);
    assert_int_equal(count, 1);
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
}

/* A consumer blocked in its pop, and its connection killed there. */
static void survives_a_kill_in_a_blocked_fetch(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    echo e;
    echo_start(&e, &f);
    call_many(&f, 1, 1, false);
    kill_all_connections();
    lb_rpc_message call = make_call(&f, "after", "auth", "check", 5000);
    send_call(&f, &call, true);
    wait_until(__atomic_load_n(&e.handled, __ATOMIC_RELAXED) == 2, 5000);
    echo_stop(&e);
    fixture_close(&f);
}

/* S1: the connection breaks when the call has arrived, before the answer: it is there once. */
static void sends_no_call_twice(void **state)
{
    (void)state;
    fixture direct = fixture_open(NULL);
    proxy *p = proxy_start(server);
    fixture f = fixture_on(p->url);
    lb_rpc_message warm = make_call(&f, "warm", "auth", "check", 5000),
                   call = make_call(&f, "once", "auth", "check", 5000);
    send_call(&f, &warm, true);
    proxy_cut_after(p, TO_CLIENT, 1); /* the answers to the next write do not come through */
    const lb_rpc_message *list[] = {&call};
    assert_int_equal(f.t->rpc->send(f.self, list, 1, true, in_ms(2000), &f.error),
                     LB_OK); /* it may have been sent */
    assert_int_equal(redis_int(server, "LLEN", "auth:rpc_queue", NULL), 2);
    fetch_results(&f, 0);
    assert_int_equal(redis_int(server, "LLEN", "auth:rpc_queue", NULL), 2);
    send_call(&f, &warm, false);
    proxy_cut_after(p, TO_CLIENT, 1);
    const lb_result_message *results;
    size_t count;
    for (int i = 0; i < 5; i++) /* the first may fail; those after it connect again and do not send the call */
        f.t->result->fetch(f.self, in_ms(50), &results, &count, &f.error);
    assert_in_range(redis_int(server, "LLEN", "auth:rpc_queue", NULL), 2, 3); /* it may be lost, not doubled */
    fixture_close(&f);
    fixture_close(&direct);
    proxy_stop(p);
}

/* S30, S31: half-open. Nothing waits past its deadline by more than the margin. */
static void keeps_deadlines_when_the_server_is_silent(void **state)
{
    (void)state;
    fixture f = fixture_open("connect_timeout=0.3");
    void *consumer = open_consumer(&f, "auth");
    const lb_rpc_message *calls;
    const lb_result_message *results;
    size_t count;
    redis_server_pause(server);
    int64_t start = support_now_ms();
    f.t->rpc->fetch(consumer, 10, in_ms(200), &calls, &count, &f.error);
    f.t->result->fetch(f.self, in_ms(200), &results, &count, &f.error);
    lb_rpc_message call = make_call(&f, "x", "auth", "check", 5000);
    const lb_rpc_message *list[] = {&call};
    f.t->rpc->send(f.self, list, 1, true, in_ms(200), &f.error);
    assert_true(support_now_ms() - start < 6000);
    redis_server_resume(server);
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
}

static void works_after_a_restart_of_the_server(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *consumer = open_consumer(&f, "auth");
    lb_rpc_message call = make_call(&f, "a", "auth", "check", 20000);
    send_call(&f, &call, true);
    redis_server_restart(server);
    call.id = slice("b");
    send_call(&f, &call, true);
    size_t total = 0;
    for (int i = 0; i < 20 && total < 2; i++) {
        const lb_rpc_message *calls;
        size_t count = 0;
        if (f.t->rpc->fetch(consumer, 10, in_ms(500), &calls, &count, &f.error) == LB_OK)
            total += count;
    }
    assert_int_equal(total, 2);
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
}

/* Servers before 7.0 */
static void works_without_blmpop(void **state)
{
    (void)state;
    static const char *const arguments[] = {
        "--rename-command", "BLMPOP", "", "--rename-command", "LMPOP", "", NULL};
    redis_server *usual = server;
    server = redis_server_start(arguments);
    fixture f = fixture_open(NULL);
    echo e;
    echo_start(&e, &f);
    call_many(&f, 10, 1, false);
    call_many(&f, 5, 20, false);
    echo_stop(&e);
    assert_int_equal(redis_int(server, "DBSIZE", NULL), 0);
    fixture_close(&f);
    redis_server_stop(server);
    server = usual;
}

/* Results go where the call says, also to the list of a Python client, with a time to live. */
static void answers_on_any_key(void **state)
{
    (void)state;
    fixture f = fixture_open("result_ttl=30");
    void *consumer = open_consumer(&f, "auth");
    push_raw("{\"kwargs\":{},\"metadata\":{\"id\":\"x\",\"api_name\":\"auth\",\"procedure_name\":\"p\","
             "\"return_path\":\"redis+key://auth.p:result:x\"}}",
             "x");
    const lb_rpc_message *calls = fetch_calls(&f, consumer, 1);
    lb_result_message result = {.id = slice("r"),
                                .rpc_message_id = calls[0].id,
                                .return_path = calls[0].return_path,
                                .error = true,
                                .json = slice("\"ValueError('no')\""),
                                .trace = slice("line 1\nline 2")};
    assert_ok(f.t->result->send(f.self, NULL, &result, 1, in_ms(1000), &f.error), &f.error);
    assert_in_range(redis_int(server, "TTL", "auth.p:result:x", NULL), 25, 30);
    lb_value *text = redis_command(server, "RPOP", "auth.p:result:x", NULL), *blob = NULL;
    assert_ok(lb_value_parse(lb_value_str(text), lb_value_str_size(text), &blob, &f.error), &f.error);
    const lb_value *metadata = lb_value_get(blob, "metadata");
    assert_true(lb_value_bool(lb_value_get(metadata, "error")));
    assert_string_equal(lb_value_str(lb_value_get(metadata, "rpc_message_id")), "x");
    assert_string_equal(lb_value_str(lb_value_get(metadata, "trace")), "line 1\nline 2");
    assert_int_equal(lb_value_count(metadata), 4); /* S34: Python refuses others */
    assert_string_equal(lb_value_str(lb_value_get(lb_value_get(blob, "kwargs"), "result")), "ValueError('no')");
    lb_value_free(text);
    lb_value_free(blob);
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
}

/* What Python takes for a result, and what nobody does. */
static void reads_foreign_results(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    const char *key = f.t->result->return_path(f.self).data + strlen("redis+key://");
    lb_value_free(redis_command(server, "LPUSH", key,
                                "{\"metadata\": {\"rpc_message_id\": \"a\", \"id\": \"1\", \"error\": 1, "
                                "\"trace\": \"t\"}, \"kwargs\": {\"result\": \"no\"}}",
                                NULL));
    lb_value_free(redis_command(server, "LPUSH", key,
                                "{\"metadata\": {\"rpc_message_id\": \"b\", \"id\": \"1\"}, \"kwargs\": {}}",
                                NULL));
    lb_value_free(redis_command(server, "LPUSH", key, "{", NULL));
    lb_value_free(redis_command(server, "LPUSH", key,
                                "{\"metadata\": {\"rpc_message_id\": \"d\"}, \"kwargs\": 1}", NULL));
    const lb_result_message *r = fetch_results(&f, 4);
    assert_slice(r[0].rpc_message_id, "a");
    assert_true(r[0].error);
    assert_slice(r[0].trace, "t");
    assert_false(r[1].error);
    assert_int_equal(lb_value_type_of(r[1].result), LB_TYPE_NULL);
    assert_int_equal(r[2].status, LB_MALFORMED);
    assert_int_equal(r[3].status, LB_MALFORMED);
    assert_slice(r[3].rpc_message_id, "d");
    fixture_close(&f);
}

/* For programs with an event loop: fetch with a deadline of now leaves something to wait for. */
static void descriptor_tells_of_results(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    const lb_result_message *results;
    size_t count;
    for (int round = 0; round < 3; round++) {
        assert_ok(f.t->result->fetch(f.self, 0, &results, &count, &f.error), &f.error);
        assert_int_equal(count, 0);
        struct pollfd p = {.fd = f.t->result->descriptor(f.self), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 0), 0);
        lb_value_free(
            redis_command(server, "LPUSH", f.t->result->return_path(f.self).data + strlen("redis+key://"),
                          "{\"metadata\":{\"rpc_message_id\":\"a\"},\"kwargs\":{\"result\":1}}", NULL));
        assert_int_equal(poll(&p, 1, 3000), 1);
        assert_ok(f.t->result->fetch(f.self, 0, &results, &count, &f.error), &f.error);
        assert_int_equal(count, 1);
    }
    fixture_close(&f);
}

/* Also of the end of a pop that brought nothing, although it is shorter than the replies to a call. */
static void descriptor_tells_that_the_pop_is_over(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    const lb_result_message *results;
    size_t count;
    lb_rpc_message call = make_call(&f, "id", "auth", "check", 5000);
    send_call(&f, &call, false);
    wait_until((f.t->result->fetch(f.self, 0, &results, &count, &f.error),
                redis_int(server, "LLEN", "auth:rpc_queue", NULL)) == 1,
               3000);
    support_nap();
    assert_ok(f.t->result->fetch(f.self, 0, &results, &count, &f.error),
              &f.error); /* takes the replies to the call */
    struct pollfd p = {.fd = f.t->result->descriptor(f.self), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    lb_value *clients = redis_command(server, "CLIENT", "LIST", NULL);
    const char *blocked = strstr(lb_value_str(clients), "cmd=brpop");
    assert_non_null(blocked);
    while (blocked > lb_value_str(clients) && blocked[-1] != '\n')
        blocked--;
    char id[16];
    assert_int_equal(sscanf(blocked, "id=%15[0-9]", id), 1);
    lb_value_free(clients);
    assert_int_equal(redis_int(server, "CLIENT", "UNBLOCK", id, NULL), 1);
    assert_int_equal(poll(&p, 1, 3000), 1);
    fixture_close(&f);
}

static int child_body(void *data)
{
    fixture *f = data;
    lb_slice before = f->t->result->return_path(f->self);
    char path[128];
    snprintf(path, sizeof path, "%.*s", (int)before.size, before.data);
    f->t->after_fork(f->self);
    if (slice_is(f->t->result->return_path(f->self), path))
        return 1;
    lb_rpc_message call = make_call(f, "child", "auth", "check", 5000);
    const lb_rpc_message *list[] = {&call};
    return f->t->rpc->send(f->self, list, 1, true, in_ms(2000), &f->error) == LB_OK ? 0 : 2;
}

static void child_of_a_fork_has_connections_of_its_own(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    lb_rpc_message call = make_call(&f, "parent", "auth", "check", 5000);
    send_call(&f, &call, true);
    assert_int_equal(child_wait(child_start_with_handle(child_body, &f), 5000), 0);
    send_call(&f, &call, true);
    assert_int_equal(redis_int(server, "LLEN", "auth:rpc_queue", NULL), 3);
    fixture_close(&f);
}

/* A run of six calls where five may wait: the last one is taken out again, with its key. What fits in comes
 * through in the end, and once a worker has taken calls there is room again. */
static void s6_a_full_queue_keeps_what_fits(void **state)
{
    (void)state;
    fixture f = fixture_open("max_queue_length=5");
    lb_rpc_message calls[6];
    const lb_rpc_message *list[6];
    static const char *const ids[] = {"call-0", "call-1", "call-2", "call-3", "call-4", "call-5"};
    for (int i = 0; i < 6; i++) {
        calls[i] = make_call(&f, ids[i], "auth", "check", 20000);
        list[i] = &calls[i];
    }
    assert_ok(f.t->rpc->send(f.self, list, 6, true, in_ms(2000), &f.error), &f.error);
    const lb_result_message *refused = fetch_results(&f, 1);
    assert_int_equal(refused[0].status, LB_BUSY);
    assert_slice(refused[0].rpc_message_id, "call-5");
    assert_non_null(strstr(refused[0].problem, "5 calls (max_queue_length)"));
    assert_int_equal(redis_int(server, "LLEN", "auth:rpc_queue", NULL), 5);
    assert_int_equal(redis_int(server, "EXISTS", "rpc_expiry_key:call-5", NULL), 0);
    assert_int_equal(redis_int(server, "EXISTS", "rpc_expiry_key:call-4", NULL), 1);
    assert_int_equal(f.t->rpc->send(f.self, &list[5], 1, true, in_ms(2000), &f.error), LB_BUSY);
    lb_rpc_message other = make_call(&f, "call-6", "shop", "check", 20000);
    send_call(&f, &other, true); /* each API has a queue of its own */
    void *consumer = open_consumer(&f, "auth");
    const lb_rpc_message *taken = fetch_calls(&f, consumer, 5);
    assert_slice(taken[4].id, "call-4");
    send_call(&f, &calls[5], true);
    assert_slice(fetch_calls(&f, consumer, 1)[0].id, "call-5");
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
}

/* S1: a call whose key was refused is taken out of its queue again before its sender is told. */
static void a_call_without_its_key_is_not_left_behind(void **state)
{
    (void)state;
    char url[128];
    lb_value_free(redis_command(server, "FLUSHALL", NULL));
    lb_value_free(
        redis_command(server, "ACL", "SETUSER", "carol", "on", ">pw", "~auth:*", "~lightbus:*", "+@all", NULL));
    snprintf(url, sizeof url, "redis://carol:pw@127.0.0.1:%d/0", server->port);
    fixture f = fixture_on(url);
    lb_rpc_message call = make_call(&f, "call-1", "auth", "check", 5000);
    const lb_rpc_message *list[] = {&call};
    assert_int_equal(f.t->rpc->send(f.self, list, 1, true, in_ms(2000), &f.error), LB_ACCESS);
    assert_int_equal(redis_int(server, "LLEN", "auth:rpc_queue", NULL), 0);
    send_call(&f, &call, false);
    const lb_result_message *refused = fetch_results(&f, 1);
    assert_int_equal(refused->status, LB_ACCESS);
    assert_int_equal(redis_int(server, "LLEN", "auth:rpc_queue", NULL), 0);
    fixture_close(&f);
}

/* The administrator has taken CLIENT away: answers that were not asked for come all the same, and a fetch
 * cannot be woken, so that it has to be short. */
static void works_without_client(void **state)
{
    (void)state;
    static const char *const without[] = {"--rename-command", "CLIENT", "", NULL};
    redis_server *usual = server;
    server = redis_server_start(without);
    fixture f = fixture_on(server->url);
    echo e;
    echo_start(&e, &f);
    call_many(&f, 100, 1, false);
    call_many(&f, 10, 50, false);
    int64_t start = support_now_ms();
    echo_stop(&e);
    assert_true(support_now_ms() - start < 3500);
    fixture_close(&f);
    redis_server_stop(server);
    server = usual;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_a_call_and_its_result),
        cmocka_unit_test(child_of_a_fork_has_connections_of_its_own),
        cmocka_unit_test(sends_no_call_twice),
        cmocka_unit_test(s6_a_full_queue_keeps_what_fits),
        cmocka_unit_test(carries_many_calls_together),
        cmocka_unit_test(drops_a_call_whose_deadline_has_passed),
        cmocka_unit_test(asks_for_the_keys_of_calls_that_may_have_waited),
        cmocka_unit_test(sets_the_expiry_of_the_call),
        cmocka_unit_test(withdraws_calls),
        cmocka_unit_test(gives_out_malformed_calls_with_their_problem),
        cmocka_unit_test(refuses_large_messages_on_both_sides),
        cmocka_unit_test(tells_that_the_server_is_out_of_memory),
        cmocka_unit_test(interrupt_ends_a_fetch_at_once_and_once),
        cmocka_unit_test(comes_back_when_its_connection_is_killed),
        cmocka_unit_test(survives_a_kill_in_a_blocked_fetch),
        cmocka_unit_test(keeps_deadlines_when_the_server_is_silent),
        cmocka_unit_test(works_after_a_restart_of_the_server),
        cmocka_unit_test(works_without_blmpop),
        cmocka_unit_test(works_without_client),
        cmocka_unit_test(a_call_without_its_key_is_not_left_behind),
        cmocka_unit_test(answers_on_any_key),
        cmocka_unit_test(reads_foreign_results),
        cmocka_unit_test(descriptor_tells_of_results),
        cmocka_unit_test(descriptor_tells_that_the_pop_is_over),
    };
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
