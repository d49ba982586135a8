/* The functions of the local transport that carry calls and results, as the bus uses them. */
#include "worker.h"

#include <poll.h>
#include <stdio.h>

#include "base/clock.h"
#include "transports/local/instance.h"
#include "transports/local/local.h"

static const lb_rpc_transport *rpc;
static const lb_result_transport *result;

typedef struct side {
    char *folder;
    void *self, *consumer;
} side;

static int side_setup(void **state)
{
    side *s = calloc(1, sizeof *s);
    char url[300];
    lb_error error = {0};
    s->folder = temporary_directory();
    snprintf(url, sizeof url, "local://%s/bus?max_message_size=10000", s->folder);
    lb_transport_config how = {.size = sizeof how, .url = url, .service_name = "tests", .process_name = "p"};
    rpc = local_transport.rpc;
    result = local_transport.result;
    assert_ok(local_transport.open(&how, &s->self, &error), &error);
    assert_ok(rpc->consumer_open(s->self, (const char *const[]){"shop"}, 1, 0, &s->consumer, &error), &error);
    *state = s;
    return 0;
}

static int side_teardown(void **state)
{
    side *s = *state;
    rpc->consumer_close(s->consumer);
    local_transport.close(s->self);
    remove_directory(s->folder);
    free(s->folder);
    free(s);
    return 0;
}

#define side_test(f) cmocka_unit_test_setup_teardown(f, side_setup, side_teardown)

static int64_t patience(void) { return clock_in_ms(PATIENCE_MS); }

static lb_status send_call(const side *s, const char *id, lb_slice argument, bool now, lb_error *error)
{
    lb_kwarg kwarg = {.name = {"n", 1}, .json = argument};
    lb_rpc_message call = {.id = slice_of(id),
                           .api_name = {"shop", 4},
                           .procedure_name = {"add", 3},
                           .return_path = result->return_path(s->self),
                           .kwargs = &kwarg,
                           .kwargs_count = 1,
                           .deadline_ns = patience()};
    return rpc->send(s->self, (const lb_rpc_message *const[]){&call}, 1, now, patience(), error);
}

/* The next call must be this one; it is answered. */
static void answer(const side *s, const char *id)
{
    const lb_rpc_message *calls;
    size_t count;
    lb_error error = {0};
    assert_ok(rpc->fetch(s->consumer, 1, patience(), &calls, &count, &error), &error);
    assert_int_equal(count, 1);
    assert_true(slice_is(calls->id, id));
    lb_result_message answer = {
        .id = {"r", 1}, .rpc_message_id = calls->id, .return_path = calls->return_path, .json = {"1", 1}};
    assert_ok(result->send(s->self, s->consumer, &answer, 1, patience(), &error), &error);
    assert_ok(rpc->flush(s->consumer, patience(), &error), &error);
}

static void expect_result(const side *s, const char *id)
{
    const lb_result_message *results;
    size_t count;
    lb_error error = {0};
    assert_ok(result->fetch(s->self, patience(), &results, &count, &error), &error);
    assert_int_equal(count, 1);
    assert_int_equal(results->status, LB_OK);
    assert_true(slice_is(results->rpc_message_id, id));
}

static void call(const side *s, const char *id)
{
    lb_error error = {0};
    assert_ok(send_call(s, id, (lb_slice){"1", 1}, true, &error), &error);
    answer(s, id);
}

/* The call that waits to share a write was accepted, and is as good as before. */
static void a_call_that_is_too_large_takes_no_other_with_it(void **state)
{
    const side *s = *state;
    char text[20000];
    lb_error error = {0};
    memset(text, '1', sizeof text);
    assert_ok(send_call(s, "small", (lb_slice){"1", 1}, false, &error), &error);
    assert_status(send_call(s, "large", (lb_slice){text, sizeof text}, true, &error), LB_TOO_LARGE, &error);
    answer(s, "small");
    expect_result(s, "small");
}

/* Its transactions begin at 1 again: later than none that this client has seen. */
static void s3_results_come_after_the_folder_was_made_again(void **state)
{
    const side *s = *state;
    char id[16], folder[300];
    for (int n = 0; n < 30; n++) {
        snprintf(id, sizeof id, "before%d", n);
        call(s, id);
        expect_result(s, id);
    }
    int fd = result->descriptor(s->self);
    assert_true(fd >= 0);
    snprintf(folder, sizeof folder, "%s/bus", s->folder);
    remove_directory(folder);
    store_sweep(((local_bus *)s->self)->store); /* which notices it, in its time */
    call(s, "after");
    expect_result(s, "after");
    call(s, "again"); /* who polls is told, too */
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    expect_result(s, "again");
}

int main(void)
{
    lb_log_set_level(LB_LOG_CRITICAL);
    const struct CMUnitTest tests[] = {
        side_test(a_call_that_is_too_large_takes_no_other_with_it),
        side_test(s3_results_come_after_the_folder_was_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
