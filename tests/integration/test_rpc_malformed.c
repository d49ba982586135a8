/* S4: whatever lies in its queue, a worker goes on, and a call that can be answered gets an error as its
 * answer. S32: sizes and nesting are bounded. The messages are written here byte by byte, as a foreign peer
 * would. */
#include "worker.h"

#include <stdio.h>

static lb_status add(lb_request *request, void *data)
{
    int *executed = data;
    shared_add(executed, 1);
    return lb_return(request, lb_get_int(request, "a") + lb_get_int(request, "b"));
}

static lb_status nothing(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, LB_NULL);
}

static const lb_api calc = {
    .name = "calc",
    .members =
        (const lb_member[]){
            LB_RPC("add(a: int, b: int) -> int", add),
            LB_RPC("nothing()", nothing),
            LB_END,
        },
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    return lb_register(bus, &calc, data, error);
}

typedef served fixture;

static int start(void **state)
{
    return served_start(state, setup, sizeof(int), 80000 /* 100 MB under a sanitizer on a busy machine */);
}

static void push(const fixture *f, const char *message)
{
    redis_int(f->server, "RPUSH", "calc:rpc_queue", message, NULL);
}

static void expect_that_the_worker_goes_on(const fixture *f)
{
    lb_error error = {0};
    lb_value *result = NULL;
    assert_ok(lb_call(f->bus, "calc.add", LB_ARGS(LB("a", 1), LB("b", 2)), &result, &error), &error);
    assert_int_equal(lb_value_int(result), 3);
    lb_value_free(result);
    assert_true(child_runs(f->worker));
}

/* The answer to the call with the id "the-id" that names redis+key://the-result, and nothing else remains. */
static lb_value *answer_to(const fixture *f, const char *message)
{
    lb_value_free(redis_command(f->server, "DEL", "the-result", NULL));
    lb_value_free(redis_command(f->server, "SET", "rpc_expiry_key:the-id", "1", "EX", "10", NULL));
    push(f, message);
    lb_value *popped = redis_command(f->server, "BLPOP", "the-result", "10", NULL);
    if (lb_value_type_of(popped) != LB_TYPE_LIST)
        fail_msg("no answer to %s", message);
    const lb_value *text = lb_value_at(popped, 1);
    lb_value *answer = NULL;
    lb_error error = {0};
    assert_ok(lb_value_parse(lb_value_str(text), lb_value_str_size(text), &answer, &error), &error);
    lb_value_free(popped);
    return answer;
}

static const lb_value *metadata_of(const lb_value *answer) { return lb_value_get(answer, "metadata"); }

static void expect_error_answer(const fixture *f, const char *message, const char *part)
{
    lb_value *answer = answer_to(f, message);
    const lb_value *metadata = metadata_of(answer);
    const char *result = lb_value_str(lb_value_get(lb_value_get(answer, "kwargs"), "result"));
    if (!lb_value_bool(lb_value_get(metadata, "error")) || !result || !strstr(result, part))
        fail_msg("%s is answered with %s", message, lb_value_json(answer, NULL));
    assert_string_equal(lb_value_str(lb_value_get(metadata, "rpc_message_id")), "the-id");
    assert_true(lb_value_str_size(lb_value_get(metadata, "id")) > 0);
    lb_value_free(answer);
    expect_that_the_worker_goes_on(f);
}

#define METADATA(procedure)                                                                                    \
    "\"metadata\": {\"api_name\": \"calc\", \"id\": \"the-id\", \"procedure_name\": \"" procedure              \
    "\", \"return_path\": \"redis+key://the-result\"}"
#define ADD(kwargs) "{\"kwargs\": " kwargs ", " METADATA("add") "}"

/* ---- Messages that nobody can answer -------------------------------------------------------------------- */

static void s4_unanswerable_messages_are_passed_over(void **state)
{
    fixture *f = *state;
    static const char *const messages[] = {
        "",
        " ",
        "not JSON",
        "\xff\xfe\x00",
        "{\"kwargs\": {\"a\": \"\xff\xc3\x28\"}, " METADATA("add") "}",
        "[1, 2, 3]",
        "\"text\"",
        "17",
        "null",
        "true",
        "{}",
        "{\"kwargs\": {}}",
        "{\"kwargs\": {}, \"metadata\": null}",
        "{\"kwargs\": {}, \"metadata\": []}",
        "{\"kwargs\": {}, \"metadata\": \"x\"}",
        "{\"kwargs\": {}, \"metadata\": {}}",
        "{\"kwargs\": {\"a\": 1, \"b\": 2}, " METADATA("add"),
        ADD("{\"a\": 1, \"b\": 2}") "}",
        ADD("{\"a\": 1, \"b\": 2}") ADD("{\"a\": 1, \"b\": 2}"),
        /* no id */
        "{\"kwargs\": {}, \"metadata\": {\"api_name\": \"calc\", \"procedure_name\": \"add\", \"return_path\": "
        "\"redis+key://r\"}}",
        /* an empty id */
        "{\"kwargs\": {}, \"metadata\": {\"api_name\": \"calc\", \"id\": \"\", \"procedure_name\": \"add\", "
        "\"return_path\": \"redis+key://r\"}}",
        /* no return path, an empty one, one that is a list, a foreign scheme, no key */
        "{\"kwargs\": {\"a\": 1, \"b\": 1}, \"metadata\": {\"api_name\": \"calc\", \"id\": \"the-id\", "
        "\"procedure_name\": \"add\"}}",
        "{\"kwargs\": {\"a\": 1, \"b\": 1}, \"metadata\": {\"api_name\": \"calc\", \"id\": \"the-id\", "
        "\"procedure_name\": \"add\", \"return_path\": \"\"}}",
        "{\"kwargs\": {\"a\": 1, \"b\": 1}, \"metadata\": {\"api_name\": \"calc\", \"id\": \"the-id\", "
        "\"procedure_name\": \"add\", \"return_path\": [1]}}",
        "{\"kwargs\": {\"a\": 1, \"b\": 1}, \"metadata\": {\"api_name\": \"calc\", \"id\": \"the-id\", "
        "\"procedure_name\": \"add\", \"return_path\": \"http://example.com/\"}}",
        "{\"kwargs\": {\"a\": 1, \"b\": 1}, \"metadata\": {\"api_name\": \"calc\", \"id\": \"the-id\", "
        "\"procedure_name\": \"add\", \"return_path\": \"redis+key://\"}}",
    };
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        lb_value_free(redis_command(f->server, "SET", "rpc_expiry_key:the-id", "1", "EX", "10", NULL));
        shared_set(f->shared, 0);
        push(f, messages[i]);
        expect_that_the_worker_goes_on(f);
        if (shared_get(f->shared) != 1) /* by expect_that_the_worker_goes_on */
            fail_msg("executed: %s", messages[i]);
    }
}

static void s4_many_malformed_messages_at_once(void **state)
{
    fixture *f = *state;
    enum { COUNT = 50 };
    for (int i = 0; i < COUNT; i++) {
        push(f, i % 2 ? "not JSON" : "{\"kwargs\": 1, \"metadata\": 2}");
    }
    expect_that_the_worker_goes_on(f);
}

static void s4_a_queue_of_another_type_does_no_harm(void **state)
{
    fixture *f = *state;
    lb_error error = {0};
    wait_until(redis_int(f->server, "LLEN", "calc:rpc_queue", NULL) == 0, PATIENCE_MS);
    lb_value_free(redis_command(f->server, "SET", "calc:rpc_queue", "text", NULL));
    lb_call_options options = {.timeout_ms = 1000};
    lb_pending *call = lb_call_begin(f->bus, "calc.nothing", LB_NO_ARGS, &options, &error);
    lb_status status = lb_call_end(call, NULL, &error);
    assert_true(status == LB_TRANSPORT || status == LB_TIMEOUT);
    assert_true(child_runs(f->worker));
    lb_value_free(redis_command(f->server, "DEL", "calc:rpc_queue", NULL));
    expect_that_the_worker_goes_on(f);
}

/* ---- Messages that can be answered ---------------------------------------------------------------------- */

static void s4_bad_calls_are_answered_with_an_error(void **state)
{
    fixture *f = *state;
    expect_error_answer(f, "{\"kwargs\": {}, " METADATA("subtract") "}", "subtract");
    expect_error_answer(f, "{\"kwargs\": {}, " METADATA("__init__") "}", "__init__");
    expect_error_answer(f, ADD("{\"a\": 1}"), "b");
    expect_error_answer(f, ADD("{}"), "a");
    expect_error_answer(f, ADD("{\"a\": 1, \"b\": \"two\"}"), "b");
    expect_error_answer(f, ADD("{\"a\": 1, \"b\": 2.5}"), "b");
    expect_error_answer(f, ADD("{\"a\": 1, \"b\": null}"), "b");
    expect_error_answer(f, ADD("{\"a\": 1, \"b\": 2, \"c\": 3}"), "c");
    expect_error_answer(f, ADD("[1, 2]"), "kwargs");
    expect_error_answer(f, ADD("\"text\""), "kwargs");
}

static void s4_an_api_that_is_not_served_here_is_an_error(void **state)
{
    fixture *f = *state;
    expect_error_answer(f,
                        "{\"kwargs\": {}, \"metadata\": {\"api_name\": \"other\", \"id\": \"the-id\", "
                        "\"procedure_name\": \"add\", \"return_path\": \"redis+key://the-result\"}}",
                        "other");
}

static void expect_sum(const fixture *f, const char *message, int64_t sum)
{
    lb_value *answer = answer_to(f, message);
    const lb_value *result = lb_value_get(lb_value_get(answer, "kwargs"), "result");
    if (lb_value_bool(lb_value_get(metadata_of(answer), "error")) || lb_value_int(result) != sum)
        fail_msg("%s is answered with %s", message, lb_value_json(answer, NULL));
    lb_value_free(answer);
}

static void s34_odd_but_sound_messages_are_understood(void **state)
{
    fixture *f = *state;
    expect_sum(f, ADD("{\"b\":2,\"a\":1}"), 3);
    expect_sum(f, " \r\n\t" ADD("{\"\\u0061\": 1, \"b\" : 2}") "\n", 3);
    expect_sum(f,
               "{\"metadata\": {\"return_path\": \"redis+key://the-result\", \"id\": \"the-id\", \"extra\": 1, "
               "\"procedure_name\": \"add\", \"api_name\": \"calc\"}, \"other\": [], \"kwargs\": {\"a\": 3, "
               "\"b\": 4}}",
               7);
    lb_value *answer = answer_to(f, "{" METADATA("nothing") "}"); /* no kwargs */
    assert_false(lb_value_bool(lb_value_get(metadata_of(answer), "error")));
    lb_value_free(answer);
}

/* ---- S32 ------------------------------------------------------------------------------------------------ */

static char *nested(int depth)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    fputs("{\"kwargs\": {\"a\": ", out);
    for (int i = 0; i < depth; i++)
        fputc('[', out);
    for (int i = 0; i < depth; i++)
        fputc(']', out);
    fputs(", \"b\": 1}, " METADATA("add") "}", out);
    fclose(out);
    return text;
}

static void s32_deep_nesting_is_refused(void **state)
{
    fixture *f = *state;
    for (int depth = 100; depth <= 1000000; depth *= 100) {
        char *message = nested(depth);
        lb_value_free(redis_command(f->server, "SET", "rpc_expiry_key:the-id", "1", "EX", "10", NULL));
        push(f, message);
        expect_that_the_worker_goes_on(f);
        free(message);
    }
}

static void s32_a_hundred_megabytes_are_refused(void **state)
{
    fixture *f = *state;
    size_t size = 100u << 20;
    char *message = malloc(size + 1);
    assert_non_null(message);
    memset(message, ' ', size);
    static const char head[] = "{\"kwargs\": {\"a\": 1, \"b\": 1, \"c\": \"";
    static const char tail[] = "\"}, " METADATA("add") "}";
    memcpy(message, head, sizeof head - 1);
    memcpy(message + size - (sizeof tail - 1), tail, sizeof tail);
    lb_value_free(redis_command(f->server, "SET", "rpc_expiry_key:the-id", "1", "EX", "60", NULL));
    push(f, message);
    free(message);
    expect_that_the_worker_goes_on(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s4_unanswerable_messages_are_passed_over),
        cmocka_unit_test(s4_many_malformed_messages_at_once),
        cmocka_unit_test(s4_a_queue_of_another_type_does_no_harm),
        cmocka_unit_test(s4_bad_calls_are_answered_with_an_error),
        cmocka_unit_test(s4_an_api_that_is_not_served_here_is_an_error),
        cmocka_unit_test(s34_odd_but_sound_messages_are_understood),
        cmocka_unit_test(s32_deep_nesting_is_refused),
        cmocka_unit_test(s32_a_hundred_megabytes_are_refused),
    };
    return cmocka_run_group_tests(tests, start, served_stop);
}
