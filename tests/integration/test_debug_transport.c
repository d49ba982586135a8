/* The debug transport: calls get a made-up result, events go nowhere, nothing comes in; all of it is logged. */
#include "worker.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "transports/debug/debug.h"

/* ---- The log ---------------------------------------------------------------------------------------- */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[1 << 16];

static void keep(lb_log_level level, const char *message, void *data)
{
    (void)data;
    pthread_mutex_lock(&log_lock);
    size_t size = strlen(log_text);
    snprintf(log_text + size, sizeof log_text - size, "%d %s\n", (int)level, message);
    pthread_mutex_unlock(&log_lock);
}

static void assert_logged(lb_log_level level, const char *message)
{
    char line[400];
    snprintf(line, sizeof line, "%d %s\n", (int)level, message);
    pthread_mutex_lock(&log_lock);
    assert_contains(log_text, line);
    pthread_mutex_unlock(&log_lock);
}

static int setup(void **state)
{
    (void)state;
    log_text[0] = '\0';
    lb_log_to(keep, NULL);
    lb_log_set_level(LB_LOG_DEBUG);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lb_log_set_level(LB_LOG_INFO);
    lb_log_to(NULL, NULL);
    return 0;
}
#define debug_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- A service -------------------------------------------------------------------------------------- */

static lb_status never_called(lb_request *request, void *data)
{
    __atomic_add_fetch((int *)data, 1, __ATOMIC_SEQ_CST);
    return lb_return(request, "real");
}

static lb_status never_heard(const lb_event *event, void *data)
{
    (void)event;
    __atomic_add_fetch((int *)data, 1, __ATOMIC_SEQ_CST);
    return LB_OK;
}

static const lb_api auth = {
    .name = "auth",
    .members = (const lb_member[]){LB_RPC("greet(name: str) -> str", never_called),
                                   LB_EVENT("registered(name: str, age: int)"), LB_END},
};

static const lb_api numbers = {
    .name = "numbers",
    .members = (const lb_member[]){LB_RPC("add() -> int", never_called), LB_END},
};

/* ---- Calls ------------------------------------------------------------------------------------------ */

static void a_call_gets_the_fake_result(void **state)
{
    lb_bus *bus = client_open("debug:", PATIENCE_MS);
    lb_error error = {0};
    lb_value *result;
    (void)state;
    assert_ok(lb_call(bus, "shop.buy", LB_ARGS(LB("what", "tea"), LB("n", 2)), &result, &error), &error);
    assert_string_equal(lb_value_str(result), "Fake result");
    lb_value_free(result);
    assert_logged(LB_LOG_DEBUG, "debug: a call goes nowhere: shop.buy(what=\"tea\", n=2)");
    assert_logged(LB_LOG_INFO, "debug: 1 call gets the result \"Fake result\"");
    lb_close(bus);
}

enum { CALLS = 100, THREADS = 4 };

static void *call_many(void *data)
{
    lb_pending *calls[CALLS];
    lb_error error = {0};
    lb_value *result;
    for (int i = 0; i < CALLS; i++)
        calls[i] = lb_call_begin(data, "shop.buy", LB_ARGS(LB("n", i)), NULL, &error);
    for (int i = 0; i < CALLS; i++) {
        if (lb_call_end(calls[i], &result, &error) != LB_OK)
            return "failed";
        lb_value_free(result);
    }
    return NULL;
}

static void many_calls_of_many_threads_get_one_each(void **state)
{
    lb_bus *bus = client_open("debug:", PATIENCE_MS);
    pthread_t threads[THREADS];
    (void)state;
    lb_log_set_level(LB_LOG_WARNING);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_many, bus), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    lb_close(bus);
    assert_string_equal(log_text, "");
}

static void take(lb_status status, const lb_value *result, const lb_error *error, void *data)
{
    (void)error;
    *(bool *)data = status == LB_OK && strcmp(lb_value_str(result), "Fake result") == 0;
}

static void an_event_loop_gets_it_too(void **state)
{
    lb_bus *bus = client_open("debug:", PATIENCE_MS);
    lb_error error = {0};
    bool taken = false;
    struct pollfd p = {.fd = lb_fd(bus, &error), .events = POLLIN};
    (void)state;
    assert_true(p.fd >= 0);
    assert_non_null(lb_call_begin(bus, "shop.buy", LB_NO_ARGS,
                                  &(lb_call_options){.callback = take, .data = &taken}, &error));
    for (int64_t until = support_now_ms() + PATIENCE_MS; !taken && support_now_ms() < until;) {
        poll(&p, 1, 100);
        assert_ok(lb_dispatch(bus, &error), &error);
    }
    assert_true(taken);
    lb_close(bus);
}

static void a_result_is_held_against_the_schema(void **state)
{
    lb_bus *bus = client_open("debug:", PATIENCE_MS);
    lb_error error = {0};
    int called = 0;
    (void)state;
    assert_ok(lb_register(bus, &numbers, &called, &error), &error);
    assert_status(lb_call(bus, "numbers.add", LB_NO_ARGS, NULL, &error), LB_INVALID_RESULT, &error);
    lb_close(bus);
}

static int call_in_child(void *bus)
{
    lb_value *result = NULL;
    lb_error error = {0};
    lb_status status = lb_call(bus, "shop.buy", LB_NO_ARGS, &result, &error);
    lb_value_free(result);
    return status == LB_OK ? 0 : 1;
}

static void a_forked_child_has_a_bus_of_its_own(void **state)
{
    lb_bus *bus = client_open("debug:", PATIENCE_MS);
    lb_error error = {0};
    (void)state;
    lb_pending *ours = lb_call_begin(bus, "shop.buy", LB_NO_ARGS, NULL, &error);
    assert_ok(lb_flush(bus, &error), &error);
    assert_int_equal(child_wait(child_start(call_in_child, bus), PATIENCE_MS), 0);
    assert_ok(lb_call_end(ours, NULL, &error), &error); /* the child has not taken its answer */
    lb_close(bus);
}

/* ---- Events, and a worker --------------------------------------------------------------------------- */

static void an_event_goes_nowhere(void **state)
{
    lb_bus *bus = client_open("debug:", PATIENCE_MS);
    lb_error error = {0};
    int called = 0;
    (void)state;
    assert_ok(lb_register(bus, &auth, &called, &error), &error);
    assert_ok(lb_fire(bus, "auth.registered", LB_ARGS(LB("name", "Ann"), LB("age", 40)), &error), &error);
    assert_logged(LB_LOG_INFO, "debug: an event goes nowhere: auth.registered(name=\"Ann\", age=40)");
    assert_status(lb_fire(bus, "auth.registered", LB_ARGS(LB("name", 1), LB("age", 40)), &error),
                  LB_INVALID_ARGUMENTS, &error);
    assert_null(lb_history_open(bus, "auth.*", NULL, &error));
    assert_int_equal(error.status, LB_UNSUPPORTED);
    lb_close(bus);
}

static void a_worker_serves_nobody_and_stops_at_once(void **state)
{
    lb_bus *bus = client_open("debug:", PATIENCE_MS);
    lb_error error = {0};
    lb_value *result;
    int called = 0;
    (void)state;
    assert_ok(lb_register(bus, &auth, &called, &error), &error);
    assert_ok(lb_listen(bus, "auth.registered", "mail", never_heard, &called, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    assert_ok(lb_fire(bus, "auth.registered", LB_ARGS(LB("name", "Ann"), LB("age", 40)), &error), &error);
    assert_ok(lb_call(bus, "auth.greet", LB_ARGS(LB("name", "Ann")), &result, &error), &error);
    assert_string_equal(lb_value_str(result), "Fake result");
    lb_value_free(result);
    assert_ok(lb_stop(bus, PATIENCE_MS, &error), &error);
    assert_int_equal(called, 0);
    assert_logged(LB_LOG_DEBUG, "debug: waiting for calls of auth: none will come");
    assert_contains(log_text, "-mail listens to auth.registered: none will come\n");
    lb_close(bus);
}

/* ---- Configuration ---------------------------------------------------------------------------------- */

static void a_configuration_chooses_it_for_everything(void **state)
{
    char *folder = temporary_directory(), path[200];
    lb_error error = {0};
    lb_value *result;
    (void)state;
    write_file(folder, "debug.yaml",
               "bus: {schema: {transport: {debug: {}}}}\n"
               "apis:\n"
               "  default: {rpc_transport: {debug: {}}, result_transport: {debug: {}}, event_transport: "
               "{debug: {}}}\n");
    snprintf(path, sizeof path, "%s/debug.yaml", folder);
    lb_bus *bus = lb_open(&(lb_options){.config = path}, &error);
    if (!bus)
        fail_msg("%s", error.message);
    assert_ok(lb_call(bus, "shop.buy", LB_NO_ARGS, &result, &error), &error);
    assert_string_equal(lb_value_str(result), "Fake result");
    lb_value_free(result);
    lb_value *about = lb_describe(bus);
    for (lb_value_iterator it = lb_value_iterate(lb_value_get(about, "transports")); lb_value_next(&it);)
        assert_string_equal(lb_value_str(it.value), "debug");
    lb_value_free(about);
    lb_close(bus);
    free(folder);
}

static void results_from_elsewhere_never_come(void **state)
{
    char *folder = temporary_directory(), path[200], text[400];
    lb_error error = {0};
    (void)state;
    snprintf(text, sizeof text,
             "bus: {url: 'local://%s/bus'}\napis:\n  default: {rpc_transport: {debug: {}}}\n", folder);
    write_file(folder, "half.yaml", text);
    snprintf(path, sizeof path, "%s/half.yaml", folder);
    lb_bus *bus = lb_open(&(lb_options){.config = path, .rpc_timeout_ms = 200}, &error);
    if (!bus)
        fail_msg("%s", error.message);
    assert_status(lb_call(bus, "shop.buy", LB_NO_ARGS, NULL, &error), LB_TIMEOUT, &error);
    lb_close(bus);
    free(folder);
}

static void it_has_no_options(void **state)
{
    static const char *const urls[] = {"debug:x", "debug://host", "debug:?max_queue_length=1"};
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        lb_error error = {0};
        assert_null(lb_open(&(lb_options){.url = urls[i]}, &error));
        assert_int_equal(error.status, LB_CONFIG);
        assert_contains(error.message, "expected debug: alone");
    }
}

/* ---- Schemas ---------------------------------------------------------------------------------------- */

static void note(lb_slice api_name, lb_slice json, void *data)
{
    char *out = data;
    sprintf(out + strlen(out), "%.*s=%.*s;", (int)api_name.size, api_name.data, (int)json.size, json.data);
}

static void schemas_stay_in_the_process(void **state)
{
    const lb_transport_config config = {sizeof config, "debug:", "service", "process"};
    const char *name = "auth";
    char found[100] = "";
    lb_slice old = {"{}", 2}, fresh = {"{\"a\":1}", 7};
    lb_error error = {0};
    void *self;
    (void)state;
    assert_ok(debug_transport.open(&config, &self, &error), &error);
    assert_ok(debug_transport.schema->store(self, &name, &old, 1, 60, LB_FOREVER, &error), &error);
    assert_ok(debug_transport.schema->store(self, &name, &fresh, 1, 60, LB_FOREVER, &error), &error);
    assert_ok(debug_transport.schema->load(self, note, found, LB_FOREVER, &error), &error);
    assert_string_equal(found, "auth={\"a\":1};");
    debug_transport.close(self);
}

/* A call that was given up is not answered. */
static void a_withdrawn_call_is_forgotten(void **state)
{
    const lb_transport_config config = {sizeof config, "debug:", "service", "process"};
    lb_rpc_message a = {.id = {"a", 1}, .api_name = {"x", 1}, .procedure_name = {"y", 1}}, b = a;
    const lb_rpc_message *both[] = {&a, &b}, *last[] = {&b};
    const lb_result_message *results;
    size_t count;
    lb_error error = {0};
    void *self;
    (void)state;
    b.id = (lb_slice){"b", 1};
    assert_ok(debug_transport.open(&config, &self, &error), &error);
    assert_ok(debug_transport.rpc->send(self, both, 2, true, LB_FOREVER, &error), &error);
    debug_transport.rpc->withdraw(self, last, 1);
    assert_ok(debug_transport.result->fetch(self, clock_in_ms(PATIENCE_MS), &results, &count, &error), &error);
    assert_int_equal(count, 1);
    assert_true(slice_is(results[0].rpc_message_id, "a"));
    assert_ok(debug_transport.rpc->send(self, last, 1, true, LB_FOREVER, &error),
              &error); /* the list is whole */
    assert_ok(debug_transport.result->fetch(self, clock_in_ms(PATIENCE_MS), &results, &count, &error), &error);
    assert_int_equal(count, 1);
    assert_ok(debug_transport.result->fetch(self, clock_in_ms(20), &results, &count, &error), &error);
    assert_int_equal(count, 0);
    debug_transport.close(self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        debug_test(a_call_gets_the_fake_result),
        debug_test(many_calls_of_many_threads_get_one_each),
        debug_test(an_event_loop_gets_it_too),
        debug_test(a_result_is_held_against_the_schema),
        debug_test(a_forked_child_has_a_bus_of_its_own),
        debug_test(an_event_goes_nowhere),
        debug_test(a_worker_serves_nobody_and_stops_at_once),
        debug_test(a_configuration_chooses_it_for_everything),
        debug_test(results_from_elsewhere_never_come),
        debug_test(it_has_no_options),
        debug_test(schemas_stay_in_the_process),
        debug_test(a_withdrawn_call_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
