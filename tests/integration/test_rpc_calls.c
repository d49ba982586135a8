/* What a caller gets: values, named errors, results that break their schema (S5), late answers, nested calls,
 * the deadline that travels (S7). */
#include "worker.h"

#include <pthread.h>

/* ---- The service ---------------------------------------------------------------------------------------- */

typedef struct shared {
    int return_status, time_left_ms, inner_time_left_ms, inner_took_ms;
    int deferred, together; /* so many calls wait for their answers; so many must, before any is answered */
} shared;

static lb_status add(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_int(request, "a") + lb_get_int(request, "b"));
}

static lb_status echo(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get(request, "value"));
}

static lb_status same(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, strcmp(lb_get_str(request, "a"), lb_get_str(request, "b")) == 0);
}

static lb_status find_user(lb_request *request, void *data)
{
    (void)data;
    return lb_fail(request, "UserNotFound", "no user %d in \"%s\"", (int)lb_get_int(request, "id"), "staff");
}

/* More than an error holds, of characters of three bytes. */
static lb_status complain(lb_request *request, void *data)
{
    char text[1024] = "xy";
    (void)data;
    while (strlen(text) < 1000)
        strcat(text, "\xe2\x82\xac");
    return lb_fail(request, "Expensive", "%s", text);
}

static lb_status break_result(lb_request *request, void *data)
{
    shared *s = data;
    lb_status status = lb_return(request, "forty-two");
    shared_set(&s->return_status, status);
    return status;
}

static lb_status answer_nothing(lb_request *request, void *data)
{
    (void)request, (void)data;
    return LB_OK;
}

static lb_status give_up(lb_request *request, void *data)
{
    (void)request, (void)data;
    return LB_FAILED;
}

static lb_status ask_for_wrong_name(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_str(request, "nmae")); /* a programming error */
}

static shared *here;

static void *answer_later(void *data)
{
    while (shared_get(&here->deferred) < shared_get(&here->together))
        sleep_ms(5);
    sleep_ms(50);
    lb_answer((lb_deferred *)data, "later");
    return NULL;
}

static lb_status defer(lb_request *request, void *data)
{
    pthread_t thread;
    lb_deferred *deferred = lb_defer(request);
    (void)data;
    if (!deferred || pthread_create(&thread, NULL, answer_later, deferred) != 0)
        return LB_NO_MEMORY;
    pthread_detach(thread);
    shared_add(&here->deferred, 1);
    return LB_OK;
}

static lb_status defer_failure(lb_request *request, void *data)
{
    (void)data;
    lb_deferred *deferred = lb_defer(request);
    return deferred ? lb_answer_fail(deferred, "TooLate", "after %d s", 3) : LB_NO_MEMORY;
}

static lb_status never_answer(lb_request *request, void *data)
{
    (void)data;
    return lb_defer(request) ? LB_OK : LB_NO_MEMORY;
}

static lb_status factorial(lb_request *request, void *data)
{
    (void)data;
    int64_t n = lb_get_int(request, "n");
    if (n <= 1)
        return lb_return(request, 1);
    lb_error error = {0};
    lb_value *rest = NULL;
    lb_status status =
        lb_call(lb_request_bus(request), "calc.factorial", LB_ARGS(LB("n", n - 1)), &rest, &error);
    if (status != LB_OK)
        return lb_fail(request, error.type, "%s", error.message);
    status = lb_return(request, n * lb_value_int(rest));
    lb_value_free(rest);
    return status;
}

static lb_status inner_wait(lb_request *request, void *data)
{
    shared *s = data;
    shared_set(&s->inner_time_left_ms, (int)lb_request_time_left_ms(request));
    sleep_ms(3000);
    return lb_return(request, LB_NULL);
}

static lb_status outer_wait(lb_request *request, void *data)
{
    shared *s = data;
    shared_set(&s->time_left_ms, (int)lb_request_time_left_ms(request));
    lb_error error = {0};
    int64_t start = support_now_ms();
    lb_status status = lb_call(lb_request_bus(request), "calc.inner_wait", LB_NO_ARGS, NULL, &error);
    shared_set(&s->inner_took_ms, (int)(support_now_ms() - start));
    return status == LB_TIMEOUT ? lb_return(request, LB_NULL) : LB_FAILED;
}

static const lb_api calc = {
    .name = "calc",
    .members =
        (const lb_member[]){
            LB_RPC("add(a: int, b: int = 10) -> int", add),
            LB_RPC("echo(value: any) -> any", echo),
            LB_RPC("same(a: str, b: str) -> bool", same),
            LB_RPC("find_user(id: int) -> str", find_user),
            LB_RPC("complain()", complain),
            LB_RPC("break_result() -> int", break_result),
            LB_RPC("answer_nothing() -> null", answer_nothing),
            LB_RPC("give_up() -> int", give_up),
            LB_RPC("ask_for_wrong_name(name: str) -> str", ask_for_wrong_name),
            LB_RPC("defer() -> str", defer),
            LB_RPC("defer_failure() -> str", defer_failure),
            LB_RPC("never_answer() -> str", never_answer),
            LB_RPC("factorial(n: int) -> int", factorial),
            LB_RPC("inner_wait()", inner_wait),
            LB_RPC("outer_wait()", outer_wait),
            LB_END,
        },
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    here = data;
    return lb_register(bus, &calc, data, error);
}

typedef served fixture;

static int start(void **state) { return served_start(state, setup, sizeof(shared), 0); }

static int64_t call_int(lb_bus *bus, const char *name, const lb_arg *args)
{
    lb_error error = {0};
    lb_value *result = NULL;
    assert_ok(lb_call(bus, name, args, &result, &error), &error);
    assert_int_equal(lb_value_type_of(result), LB_TYPE_INT);
    int64_t number = lb_value_int(result);
    lb_value_free(result);
    return number;
}

/* ---- Values --------------------------------------------------------------------------------------------- */

static void arguments_and_defaults_arrive(void **state)
{
    fixture *f = *state;
    assert_int_equal(call_int(f->bus, "calc.add", LB_ARGS(LB("a", 1), LB("b", 2))), 3);
    assert_int_equal(call_int(f->bus, "calc.add", LB_ARGS(LB("a", 1))), 11);
    assert_int_equal(call_int(f->bus, "calc.add", LB_ARGS(LB("b", INT64_MAX), LB("a", -1))), INT64_MAX - 1);
}

static void a_comparison_is_returned_as_bool(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    lb_value *result = NULL;
    assert_ok(lb_call(f->bus, "calc.same", LB_ARGS(LB("a", "x"), LB("b", "x")), &result, &error), &error);
    assert_int_equal(lb_value_type_of(result), LB_TYPE_BOOL);
    assert_true(lb_value_bool(result));
    lb_value_free(result);
}

static void every_kind_of_value_comes_back_unchanged(void **state)
{
    fixture *f = *state;
    static const char *const texts[] = {
        "null",
        "true",
        "0",
        "-9223372036854775808",
        "18446744073709551615",
        "1.5",
        "1e300",
        "\"\"",
        "\"\\u0000 and \\ud83d\\ude00 and \\\" and \\\\\"",
        "[]",
        "{}",
        "[[[[[[[[1]]]]]]]]",
        "{\"a\":{\"b\":[1,2.5,null,\"\xc3\xa4\"]},\"\":0}",
        "\"}:stream {\\r\\n$5\\r\\n\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        lb_error error = {0};
        lb_value *sent = NULL, *got = NULL;
        assert_ok(lb_value_parse(texts[i], strlen(texts[i]), &sent, &error), &error);
        assert_ok(lb_call(f->bus, "calc.echo", LB_ARGS(LB("value", sent)), &got, &error), &error);
        if (!lb_value_equal(sent, got) || lb_value_type_of(sent) != lb_value_type_of(got))
            fail_msg("%s came back as %s", texts[i], lb_value_json(got, NULL));
        lb_value_free(sent);
        lb_value_free(got);
    }
}

static void a_megabyte_travels_both_ways(void **state)
{
    fixture *f = *state;
    enum { SIZE = 1 << 20 };
    char *text = malloc(SIZE);
    memset(text, 'x', SIZE);
    lb_error error = {0};
    lb_value *got = NULL;
    assert_ok(lb_call(f->bus, "calc.echo", LB_ARGS(LB("value", LB_STRN(text, SIZE))), &got, &error), &error);
    assert_int_equal(lb_value_str_size(got), SIZE);
    assert_memory_equal(lb_value_str(got), text, SIZE);
    lb_value_free(got);
    free(text);
}

static void no_answer_is_null(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    lb_value *result = NULL;
    assert_ok(lb_call(f->bus, "calc.answer_nothing", LB_NO_ARGS, &result, &error), &error);
    assert_int_equal(lb_value_type_of(result), LB_TYPE_NULL);
    lb_value_free(result);
    assert_ok(lb_call(f->bus, "calc.answer_nothing", LB_NO_ARGS, NULL, &error), &error);
}

/* ---- Errors --------------------------------------------------------------------------------------------- */

static void lb_fail_reaches_the_caller_by_name(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    lb_value *result = NULL;
    assert_status(lb_call(f->bus, "calc.find_user", LB_ARGS(LB("id", 7)), &result, &error), LB_REMOTE_ERROR,
                  &error);
    assert_null(result);
    assert_int_equal(error.status, LB_REMOTE_ERROR);
    assert_string_equal(error.type, "UserNotFound");
    assert_string_equal(error.message, "no user 7 in \"staff\"");
}

/* What is too long is cut, and remains readable. */
static void a_long_reason_arrives_cut_between_characters(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    assert_status(lb_call(f->bus, "calc.complain", LB_NO_ARGS, NULL, &error), LB_REMOTE_ERROR, &error);
    assert_string_equal(error.type, "Expensive");
    assert_int_equal(strlen(error.message), 2 + (sizeof error.message - 3) / 3 * 3);
    assert_contains(error.trace, "Expensive: xy\xe2\x82\xac");
}

static void s3_a_handler_that_fails_without_an_answer_is_an_error(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    assert_status(lb_call(f->bus, "calc.give_up", LB_NO_ARGS, NULL, &error), LB_REMOTE_ERROR, &error);
    assert_true(strlen(error.message) > 0);
    error = (lb_error){0};
    assert_status(lb_call(f->bus, "calc.ask_for_wrong_name", LB_ARGS(LB("name", "x")), NULL, &error),
                  LB_REMOTE_ERROR, &error);
    assert_int_equal(call_int(f->bus, "calc.add", LB_ARGS(LB("a", 1), LB("b", 2))), 3);
}

static void s5_a_result_that_breaks_its_schema_is_an_error(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    lb_value *result = NULL;
    lb_status status = lb_call(f->bus, "calc.break_result", LB_NO_ARGS, &result, &error);
    assert_true(status == LB_REMOTE_ERROR || status == LB_INVALID_RESULT);
    assert_null(result);
    assert_contains(error.message, "int");
    assert_int_equal(shared_get(&((shared *)f->shared)->return_status), LB_INVALID_RESULT);
    assert_int_equal(call_int(f->bus, "calc.add", LB_ARGS(LB("a", 1), LB("b", 2))), 3);
    assert_true(child_runs(f->worker));
}

/* ---- Answers from elsewhere ----------------------------------------------------------------------------- */

static void a_deferred_answer_comes_from_another_thread(void **state)
{
    fixture *f = *state;
    enum { COUNT = 20 };
    lb_pending *calls[COUNT];
    lb_error error = {0};
    shared_set(&((shared *)f->shared)->together,
               COUNT); /* the worker's only RPC thread waits for none of them */
    for (int i = 0; i < COUNT; i++)
        assert_non_null(calls[i] = lb_call_begin(f->bus, "calc.defer", LB_NO_ARGS, NULL, &error));
    for (int i = 0; i < COUNT; i++) {
        lb_value *result = NULL;
        assert_ok(lb_call_end(calls[i], &result, &error), &error);
        assert_string_equal(lb_value_str(result), "later");
        lb_value_free(result);
    }
    assert_status(lb_call(f->bus, "calc.defer_failure", LB_NO_ARGS, NULL, &error), LB_REMOTE_ERROR, &error);
    assert_string_equal(error.type, "TooLate");
    assert_string_equal(error.message, "after 3 s");
}

static void s3_an_answer_that_never_comes_times_out(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    redis_server *server = redis_server_start(NULL);
    pid_t pid = worker_start(&(worker){.url = server->url, .setup = setup, .data = f->shared});
    lb_bus *bus = client_open(server->url, 0);
    const lb_call_options hasty = {.timeout_ms = 300};
    lb_pending *call = lb_call_begin(bus, "calc.never_answer", LB_NO_ARGS, &hasty, &error);
    assert_status(lb_call_end(call, NULL, &error), LB_TIMEOUT, &error);
    assert_int_equal(call_int(bus, "calc.add", LB_ARGS(LB("a", 1), LB("b", 2))), 3);
    lb_close(bus);
    worker_stop(pid);
    redis_server_stop(server);
}

static void a_stop_waits_for_owed_answers_as_long_as_somebody_wants_them(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    redis_server *server = redis_server_start(NULL);
    lb_bus *owing = client_open(server->url, 2000), *bus = client_open(server->url, 2000);
    assert_ok(setup(owing, f->shared, &error), &error);
    assert_ok(lb_start(owing, &error), &error);
    lb_pending *call = lb_call_begin(bus, "calc.defer", LB_NO_ARGS, NULL, &error);
    lb_pending *lost = lb_call_begin(bus, "calc.never_answer", LB_NO_ARGS, NULL, &error);
    assert_status(lb_call_end(lost, NULL, &error), LB_TIMEOUT, &error);
    assert_ok(lb_call_end(call, NULL, &error), &error);
    int64_t begin = support_now_ms();
    assert_ok(lb_stop(owing, 60000, &error), &error); /* what is owed still is wanted by nobody */
    assert_true(support_now_ms() - begin < 30000);
    lb_close(bus);
    lb_close(owing);
    redis_server_stop(server);
}

static void a_service_that_calls_itself_gets_its_answer(void **state)
{
    fixture *f = *state;
    assert_int_equal(call_int(f->bus, "calc.factorial", LB_ARGS(LB("n", 12))), 479001600);
}

/* The call waits already when the worker begins: its handler may run before the worker is ready as a whole. */
static void a_service_that_calls_itself_while_it_starts_gets_its_answer(void **state)
{
    (void)state;
    lb_error error = {0};
    redis_server *server = redis_server_start(NULL);
    lb_bus *service = client_open(server->url, 2000), *client = client_open(server->url, 2000);
    assert_ok(lb_register(service, &calc, NULL, &error), &error);
    for (int i = 0; i < 40; i++) {
        lb_value *result = NULL;
        lb_pending *call = lb_call_begin(client, "calc.factorial", LB_ARGS(LB("n", 2)), NULL, &error);
        assert_non_null(call);
        assert_ok(lb_flush(client, &error), &error);
        assert_ok(lb_start(service, &error), &error);
        assert_ok(lb_call_end(call, &result, &error), &error);
        assert_int_equal(lb_value_int(result), 2);
        lb_value_free(result);
        lb_stop(service, PATIENCE_MS, NULL);
    }
    lb_close(client);
    lb_close(service);
    redis_server_stop(server);
}

static void s7_the_deadline_is_passed_on_to_inner_calls(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    lb_call_options options = {.timeout_ms = 800};
    lb_pending *call = lb_call_begin(f->bus, "calc.outer_wait", LB_NO_ARGS, &options, &error);
    assert_non_null(call);
    lb_call_end(call, NULL, &error); /* a race of two timeouts: what counts is below */
    wait_until(shared_get(&((shared *)f->shared)->inner_took_ms) > 0, PATIENCE_MS);
    assert_in_range(shared_get(&((shared *)f->shared)->time_left_ms), 1, 5000);
    assert_in_range(shared_get(&((shared *)f->shared)->inner_time_left_ms), 1,
                    shared_get(&((shared *)f->shared)->time_left_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_and_defaults_arrive),
        cmocka_unit_test(a_comparison_is_returned_as_bool),
        cmocka_unit_test(every_kind_of_value_comes_back_unchanged),
        cmocka_unit_test(a_megabyte_travels_both_ways),
        cmocka_unit_test(no_answer_is_null),
        cmocka_unit_test(lb_fail_reaches_the_caller_by_name),
        cmocka_unit_test(a_long_reason_arrives_cut_between_characters),
        cmocka_unit_test(s3_a_handler_that_fails_without_an_answer_is_an_error),
        cmocka_unit_test(s5_a_result_that_breaks_its_schema_is_an_error),
        cmocka_unit_test(a_deferred_answer_comes_from_another_thread),
        cmocka_unit_test(s3_an_answer_that_never_comes_times_out),
        cmocka_unit_test(a_stop_waits_for_owed_answers_as_long_as_somebody_wants_them),
        cmocka_unit_test(a_service_that_calls_itself_gets_its_answer),
        cmocka_unit_test(a_service_that_calls_itself_while_it_starts_gets_its_answer),
        cmocka_unit_test(s7_the_deadline_is_passed_on_to_inner_calls),
    };
    return cmocka_run_group_tests(tests, start, served_stop);
}
