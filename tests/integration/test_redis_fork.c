/* Forks of a process whose other threads are in the midst of calls: the child's instance works, whatever they
 * were doing. */
#include <pthread.h>
#include <unistd.h>

#include "redis_fixture.h"

enum { LARGE = 300 * 1024 }; /* past what buffers keep, so that they are made and freed all the time */

typedef struct load {
    fixture f;
    bool stop;
    char *large; /* a JSON text */
} load;

static bool stopped(const load *l) { return __atomic_load_n(&l->stop, __ATOMIC_RELAXED); }

static lb_kwarg large_kwarg(const load *l, int round)
{
    return (lb_kwarg){.name = slice("text"), .json = round % 4 ? slice("\"\"") : (lb_slice){l->large, LARGE}};
}

static void *call_and_withdraw(void *data)
{
    load *l = data;
    lb_error error = {0};
    for (int round = 0; !stopped(l); round++) {
        lb_kwarg kwarg = large_kwarg(l, round);
        lb_rpc_message call = make_call(&l->f, "call-of-a-thread", "shop", "check", 5000);
        const lb_rpc_message *list[] = {&call};
        call.kwargs = &kwarg;
        call.kwargs_count = 1;
        l->f.t->rpc->send(l->f.self, list, 1, round % 2, in_ms(2000), &error);
        l->f.t->rpc->withdraw(l->f.self, list, 1);
    }
    return NULL;
}

static void *fetch_answers(void *data)
{
    load *l = data;
    lb_error error = {0};
    const lb_result_message *results;
    size_t count;
    while (!stopped(l))
        l->f.t->result->fetch(l->f.self, in_ms(2), &results, &count, &error);
    return NULL;
}

static void *fire_events(void *data)
{
    load *l = data;
    lb_error error = {0};
    for (int round = 0; !stopped(l); round++) {
        lb_kwarg kwarg = large_kwarg(l, round);
        lb_event_message event = make_event("event-of-a-thread", "shop", "sold"), *list[] = {&event};
        event.kwargs = &kwarg;
        event.kwargs_count = 1;
        l->f.t->event->send(l->f.self, list, 1, in_ms(2000), &error);
    }
    return NULL;
}

static void ignore_schema(lb_slice api, lb_slice json, void *data) { (void)api, (void)json, (void)data; }

/* Whatever opens and closes connections, and what is short and of any thread. */
static void *open_and_close(void *data)
{
    load *l = data;
    lb_error error = {0};
    const char *api = "shop";
    while (!stopped(l)) {
        lb_slice json = {l->large, LARGE};
        void *consumer = NULL;
        l->f.t->schema->store(l->f.self, &api, &json, 1, 60, in_ms(2000), &error);
        l->f.t->schema->load(l->f.self, ignore_schema, NULL, in_ms(2000), &error);
        if (l->f.t->rpc->consumer_open(l->f.self, &api, 1, in_ms(2000), &consumer, &error) == LB_OK)
            l->f.t->rpc->consumer_close(consumer);
    }
    return NULL;
}

/* A call to itself and its result, an event, a listener. The code says what went wrong; what the parent's
 * threads were using is lost memory here, so that no leak may be looked for. */
static int child_body(void *data)
{
    fixture *f = &((load *)data)->f;
    alarm(20);
    f->t->after_fork(f->self);
    void *consumer = open_consumer(f, "own");
    char id[32];
    snprintf(id, sizeof id, "call-%d", (int)getpid());
    lb_rpc_message call = make_call(f, id, "own", "check", 10000);
    send_call(f, &call, true);
    const lb_rpc_message *calls = fetch_calls(f, consumer, 1);
    answer_call(f, consumer, calls, "1");
    assert_ok(f->t->rpc->flush(consumer, in_ms(2000), &f->error), &f->error);
    assert_slice(fetch_results(f, 1)->rpc_message_id, id);
    f->t->rpc->consumer_close(consumer);
    void *listener = listen_as(f, id, "c", "own.done", "$");
    fire(f, id, "own", "done");
    const lb_event_message *event = fetch_events(f, listener, 1);
    assert_slice(event->id, id);
    acknowledge(f, listener, event, 1);
    f->t->event->unlisten(listener, true);
    _exit(0);
}

static void a_child_works_whatever_the_threads_were_doing(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    skip(); /* the one takes the parent's threads for alive, the other leaves its allocator locked by them */
#endif
    enum { THREADS = 4 };
    void *(*const bodies[THREADS])(void *) = {call_and_withdraw, fetch_answers, fire_events, open_and_close};
    pthread_t threads[THREADS];
    load l = {.f = fixture_open("max_stream_length=10"), .large = malloc(LARGE)};
    memset(l.large, ' ', LARGE);
    memcpy(l.large, "\"a\"", 3);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], &l), 0);
    for (int i = 0; i < support_scaled(300); i++)
        assert_int_equal(child_wait(child_start(child_body, &l), 30000), 0);
    __atomic_store_n(&l.stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    fixture_close(&l.f);
    free(l.large);
}

static int fire_in_child(void *data)
{
    fixture *f = data;
    f->t->after_fork(f->self);
    fire(f, "child", "shop", "sold");
    _exit(0);
}

/* The child of a client over TLS shakes hands anew, and leaves its parent's connection as it was. */
static void a_child_has_a_tls_connection_of_its_own(void **state)
{
    (void)state;
    redis_server *usual = server;
    char url[512];
    server = redis_server_start_tls();
    snprintf(url, sizeof url, "%s?tls_ca=%s/ca.crt", server->tls_url, server->directory);
    fixture f = fixture_on(url);
    fire(&f, "before", "shop", "sold");
    int64_t made = redis_int(server, "XLEN", "shop.*:stream", NULL);
    assert_int_equal(child_wait(child_start(fire_in_child, &f), 20000), 0);
    fire(&f, "after", "shop", "sold");
    assert_int_equal(redis_int(server, "XLEN", "shop.*:stream", NULL), made + 2);
    fixture_close(&f);
    redis_server_stop(server);
    server = usual;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_works_whatever_the_threads_were_doing),
        cmocka_unit_test(a_child_has_a_tls_connection_of_its_own),
    };
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
