/* Rules of calls and results, through the contract: a caller's instance and a worker's instance in one process.
 */
#include "conformance.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct pair {
    const medium *m;
    const lb_rpc_transport *rpc;
    const lb_result_transport *result;
    void *caller, *worker;
} pair;

static pair pair_open(void **state, const char *options)
{
    const medium *m = *state;
    return (pair){m, m->kind->transport->rpc, m->kind->transport->result, instance_open(m, options, "caller"),
                  instance_open(m, options, "worker")};
}

static void pair_close(pair *p)
{
    instance_close(p->m, p->caller);
    instance_close(p->m, p->worker);
}

static void *consumer_open(const pair *p, void *instance, const char *const *apis, size_t count)
{
    void *consumer = NULL;
    lb_error error = {0};
    assert_ok(p->rpc->consumer_open(instance, apis, count, in_ms(5000), &consumer, &error), &error);
    return consumer;
}

static void *shop_consumer(const pair *p)
{
    return consumer_open(p, p->worker, (const char *const[]){"shop"}, 1);
}

static lb_status try_send(const pair *p, const char *api, const char *id, int timeout_ms, bool now,
                          lb_error *error)
{
    lb_kwarg kwargs[] = {{.name = slice("n"), .json = slice("[1,{\"a\":\"\\u00e9\"}]")},
                         {.name = slice("na\"me \xc3\xa9"), .json = slice("\"x\\ny\"")}};
    lb_rpc_message call = {.id = slice(id),
                           .api_name = slice(api),
                           .procedure_name = slice("order"),
                           .return_path = p->result->return_path(p->caller),
                           .kwargs = kwargs,
                           .kwargs_count = 2,
                           .deadline_ns = in_ms(timeout_ms)};
    return p->rpc->send(p->caller, (const lb_rpc_message *const[]){&call}, 1, now, in_ms(5000), error);
}

static void send(const pair *p, const char *api, const char *id, int timeout_ms)
{
    lb_error error = {0};
    assert_ok(try_send(p, api, id, timeout_ms, true, &error), &error);
}

/* Calls that come within a time; the number of them. */
static size_t take(const pair *p, void *consumer, size_t max, int64_t ms, const lb_rpc_message **calls)
{
    size_t count = 0;
    lb_error error = {0};
    assert_ok(p->rpc->fetch(consumer, max, in_ms(ms), calls, &count, &error), &error);
    return count;
}

static void answer(const pair *p, void *consumer, const lb_rpc_message *call, const char *json, bool failed)
{
    lb_error error = {0};
    lb_result_message result = {.id = slice("r-1"),
                                .rpc_message_id = call->id,
                                .return_path = call->return_path,
                                .error = failed,
                                .json = slice(json),
                                .trace = slice(failed ? "line 1\nline 2" : "")};
    assert_ok(p->result->send(p->worker, consumer, &result, 1, in_ms(5000), &error), &error);
}

static size_t results(const pair *p, int64_t ms, const lb_result_message **list)
{
    size_t count = 0;
    lb_error error = {0};
    assert_ok(p->result->fetch(p->caller, in_ms(ms), list, &count, &error), &error);
    return count;
}

static void s3_the_result_of_a_call_reaches_its_caller(void **state)
{
    pair p = pair_open(state, "");
    void *c = shop_consumer(&p);
    const lb_rpc_message *calls;
    const lb_result_message *list;
    lb_error error = {0};
    send(&p, "shop", "call-1", 5000);
    assert_int_equal(take(&p, c, 10, 5000, &calls), 1);
    assert_null(calls[0].problem);
    assert_true(is(calls[0].id, "call-1") && is(calls[0].api_name, "shop") &&
                is(calls[0].procedure_name, "order"));
    assert_int_equal(calls[0].kwargs_count, 2);
    assert_true(is(calls[0].kwargs[0].name, "n") && is(calls[0].kwargs[1].name, "na\"me \xc3\xa9"));
    assert_string_equal(lb_value_str(lb_value_get(lb_value_at(calls[0].kwargs[0].value, 1), "a")), "\xc3\xa9");
    assert_string_equal(lb_value_str(calls[0].kwargs[1].value), "x\ny");
    answer(&p, c, &calls[0], "{\"total\":12}", false);
    assert_ok(p.rpc->flush(c, in_ms(1000), &error), &error);
    assert_int_equal(results(&p, 5000, &list), 1);
    assert_true(is(list[0].rpc_message_id, "call-1"));
    assert_false(list[0].error);
    assert_int_equal(list[0].status, LB_OK);
    assert_int_equal(lb_value_int(lb_value_get(list[0].result, "total")), 12);
    assert_int_equal(results(&p, 0, &list), 0);
    p.rpc->consumer_close(c);
    pair_close(&p);
}

static void s5_an_error_reaches_the_caller_with_its_trace(void **state)
{
    pair p = pair_open(state, "");
    void *c = shop_consumer(&p);
    const lb_rpc_message *calls;
    const lb_result_message *list;
    send(&p, "shop", "call-1", 5000);
    assert_int_equal(take(&p, c, 10, 5000, &calls), 1);
    answer(&p, NULL, &calls[0], "\"Oops('no')\"", true); /* no consumer: sent at once */
    assert_int_equal(results(&p, 5000, &list), 1);
    assert_true(list[0].error);
    assert_string_equal(lb_value_str(list[0].result), "Oops('no')");
    assert_true(is(list[0].trace, "line 1\nline 2"));
    p.rpc->consumer_close(c);
    pair_close(&p);
}

static void s1_a_call_is_given_to_one_consumer_once(void **state)
{
    enum { CALLS = 120 };
    pair p = pair_open(state, "");
    void *consumers[] = {shop_consumer(&p), shop_consumer(&p)};
    const lb_rpc_message *calls;
    int seen[CALLS] = {0}, total = 0;
    for (int i = 0; i < CALLS; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        send(&p, "shop", id, 20000);
    }
    for (int round = 0; total < CALLS && round < 2 * CALLS; round++) {
        size_t count = take(&p, consumers[round % 2], 7, 50, &calls);
        assert_true(count <= 7);
        for (size_t i = 0; i < count; i++) {
            char id[16];
            snprintf(id, sizeof id, "%.*s", (int)calls[i].id.size, calls[i].id.data);
            assert_int_equal(seen[atoi(id)]++, 0);
            total++;
        }
    }
    assert_int_equal(total, CALLS);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(take(&p, consumers[i], 7, 30, &calls), 0);
        p.rpc->consumer_close(consumers[i]);
    }
    pair_close(&p);
}

static void calls_come_in_order_and_by_the_priority_of_their_apis(void **state)
{
    pair p = pair_open(state, "");
    void *c = consumer_open(&p, p.worker, (const char *const[]){"first", "second"}, 2);
    const lb_rpc_message *calls;
    static const char *const expected[] = {"b-1", "b-2", "a-1", "a-2"};
    size_t at = 0;
    send(&p, "second", "a-1", 9000);
    send(&p, "second", "a-2", 9000);
    send(&p, "first", "b-1", 9000);
    send(&p, "first", "b-2", 9000);
    send(&p, "third", "c-1", 9000); /* not served here */
    while (at < 4) {
        size_t count = take(&p, c, 10, 5000, &calls);
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++)
            assert_true(is(calls[i].id, expected[at++]));
    }
    assert_int_equal(take(&p, c, 10, 30, &calls), 0);
    p.rpc->consumer_close(c);
    pair_close(&p);
}

static void s2_a_call_whose_deadline_has_passed_is_dropped(void **state)
{
    pair p = pair_open(state, "");
    const lb_rpc_message *calls;
    send(&p, "shop", "late", 60);
    sleep_ms(150);
    send(&p, "shop", "in-time", 9000);
    void *c = shop_consumer(&p);
    assert_int_equal(take(&p, c, 10, 5000, &calls), 1);
    assert_true(is(calls[0].id, "in-time"));
    assert_true(calls[0].deadline_ns > in_ms(0));
    p.rpc->consumer_close(c);
    pair_close(&p);
}

static void s8_a_call_that_was_withdrawn_is_not_taken(void **state)
{
    pair p = pair_open(state, "");
    const lb_rpc_message *calls;
    send(&p, "shop", "keep-1", 9000);
    lb_kwarg kwargs[] = {{.name = slice("n"), .json = slice("1")}};
    lb_rpc_message call = {.id = slice("gone"),
                           .api_name = slice("shop"),
                           .procedure_name = slice("order"),
                           .return_path = p.result->return_path(p.caller),
                           .kwargs = kwargs,
                           .kwargs_count = 1,
                           .deadline_ns = in_ms(9000)};
    const lb_rpc_message *list[] = {&call};
    lb_error error = {0};
    assert_ok(p.rpc->send(p.caller, list, 1, true, in_ms(5000), &error), &error);
    send(&p, "shop", "keep-2", 9000);
    p.rpc->withdraw(p.caller, list, 1);
    void *c = shop_consumer(&p);
    size_t count = 0;
    while (count < 2) {
        size_t more = take(&p, c, 10, 5000, &calls);
        assert_true(more > 0);
        for (size_t i = 0; i < more; i++, count++)
            assert_true(is(calls[i].id, count ? "keep-2" : "keep-1"));
    }
    assert_int_equal(take(&p, c, 10, 30, &calls), 0);
    p.rpc->consumer_close(c);
    pair_close(&p);
}

static void calls_that_wait_go_with_the_next_fetch_of_results(void **state)
{
    pair p = pair_open(state, "");
    void *c = shop_consumer(&p);
    const lb_rpc_message *calls;
    const lb_result_message *list;
    lb_error error = {0};
    assert_ok(try_send(&p, "shop", "call-1", 5000, false, &error), &error);
    assert_ok(try_send(&p, "shop", "call-2", 5000, false, &error), &error);
    assert_int_equal(results(&p, 20, &list), 0);
    size_t count = 0;
    while (count < 2) {
        size_t more = take(&p, c, 10, 5000, &calls);
        assert_true(more > 0);
        count += more;
        for (size_t i = 0; i < more; i++)
            answer(&p, c, &calls[i], "1", false);
    }
    assert_ok(p.rpc->flush(c, in_ms(1000), &error), &error);
    for (count = 0; count < 2;) {
        size_t more = results(&p, 5000, &list);
        assert_true(more > 0);
        count += more;
    }
    p.rpc->consumer_close(c);
    pair_close(&p);
}

static void s6_the_list_of_waiting_calls_is_bounded(void **state)
{
    skip_without((const medium *)*state, NO_QUEUE_LIMIT);
    pair p = pair_open(state, "max_queue_length=5");
    const lb_rpc_message *calls;
    lb_error error = {0};
    for (int i = 0; i < 5; i++)
        send(&p, "shop", (const char *const[]){"0", "1", "2", "3", "4"}[i], 9000);
    assert_status(try_send(&p, "shop", "5", 9000, true, &error), LB_BUSY, &error);
    assert_contains(error.message, "max_queue_length");
    /* one that was accepted first is told of it with its result */
    const lb_result_message *list;
    assert_ok(try_send(&p, "shop", "6", 9000, false, &error), &error);
    assert_int_equal(results(&p, 5000, &list), 1);
    assert_int_equal(list[0].status, LB_BUSY);
    assert_true(is(list[0].rpc_message_id, "6"));
    void *c = shop_consumer(&p);
    assert_true(take(&p, c, 10, 5000, &calls) > 0);
    send(&p, "shop", "7", 9000);
    p.rpc->consumer_close(c);
    pair_close(&p);
}

static void s32_a_call_that_is_too_large_is_refused(void **state)
{
    pair p = pair_open(state, "max_message_size=2000");
    lb_error error = {0};
    char *big = malloc(5000);
    memset(big, 'x', 4999);
    big[4999] = '\0';
    big[0] = big[4998] = '"';
    lb_kwarg kwargs[] = {{.name = slice("n"), .json = slice(big)}};
    lb_rpc_message call = {.id = slice("id"),
                           .api_name = slice("shop"),
                           .procedure_name = slice("order"),
                           .return_path = p.result->return_path(p.caller),
                           .kwargs = kwargs,
                           .kwargs_count = 1,
                           .deadline_ns = in_ms(5000)};
    assert_status(p.rpc->send(p.caller, (const lb_rpc_message *const[]){&call}, 1, true, in_ms(5000), &error),
                  LB_TOO_LARGE, &error);
    assert_contains(error.message, "max_message_size");
    send(&p, "shop", "small", 5000); /* and the next one goes */
    free(big);
    pair_close(&p);
}

static void a_fetch_ends_at_its_deadline(void **state)
{
    pair p = pair_open(state, "");
    void *c = shop_consumer(&p);
    const lb_rpc_message *calls;
    const lb_result_message *list;
    lb_error error = {0};
    send(&p, "shop", "call-1", 5000); /* to have the connections open, for which 120 ms may be short */
    assert_int_equal(take(&p, c, 10, 5000, &calls), 1);
    answer(&p, c, &calls[0], "true", false);
    assert_ok(p.rpc->flush(c, in_ms(5000), &error), &error);
    assert_int_equal(results(&p, 5000, &list), 1);
    int64_t start = support_now_ms();
    assert_int_equal(take(&p, c, 10, 120, &calls), 0);
    assert_int_equal(results(&p, 120, &list), 0);
    int64_t took = support_now_ms() - start;
    assert_true(took >= 200);
    assert_true(took < 240 + 2 * SLACK_MS);
    p.rpc->consumer_close(c);
    pair_close(&p);
}

typedef struct wake {
    const pair *p;
    void *consumer;
} wake;

static void *interrupt_soon(void *data)
{
    const wake *w = data;
    sleep_ms(100);
    w->p->rpc->interrupt(w->consumer);
    return NULL;
}

static void an_interrupt_ends_a_fetch_and_loses_nothing(void **state)
{
    pair p = pair_open(state, "");
    void *c = shop_consumer(&p);
    const lb_rpc_message *calls;
    wake w = {&p, c};
    pthread_t thread;
    int64_t start = support_now_ms();
    pthread_create(&thread, NULL, interrupt_soon, &w);
    assert_int_equal(take(&p, c, 10, 20000, &calls), 0);
    pthread_join(thread, NULL);
    p.rpc->interrupt(c); /* before a fetch */
    assert_int_equal(take(&p, c, 10, 20000, &calls), 0);
    assert_true(support_now_ms() - start < 100 + 2 * SLACK_MS);
    send(&p, "shop", "call-1", 9000);
    p.rpc->interrupt(c);
    size_t count = take(&p, c, 10, 5000, &calls);
    if (!count)
        count = take(&p, c, 10, 5000, &calls);
    assert_int_equal(count, 1);
    p.rpc->consumer_close(c);
    pair_close(&p);
}

static void closing_a_consumer_sends_its_results(void **state)
{
    pair p = pair_open(state, "");
    void *c = shop_consumer(&p);
    const lb_rpc_message *calls;
    const lb_result_message *list;
    send(&p, "shop", "call-1", 5000);
    assert_int_equal(take(&p, c, 10, 5000, &calls), 1);
    answer(&p, c, &calls[0], "true", false);
    p.rpc->consumer_close(c);
    assert_int_equal(results(&p, 5000, &list), 1);
    assert_true(lb_value_bool(list[0].result));
    pair_close(&p);
}

int run_rpc_rules(void)
{
    const struct CMUnitTest tests[] = {
        medium_test(s3_the_result_of_a_call_reaches_its_caller),
        medium_test(s5_an_error_reaches_the_caller_with_its_trace),
        medium_test(s1_a_call_is_given_to_one_consumer_once),
        medium_test(calls_come_in_order_and_by_the_priority_of_their_apis),
        medium_test(s2_a_call_whose_deadline_has_passed_is_dropped),
        medium_test(s8_a_call_that_was_withdrawn_is_not_taken),
        medium_test(calls_that_wait_go_with_the_next_fetch_of_results),
        medium_test(s6_the_list_of_waiting_calls_is_bounded),
        medium_test(s32_a_call_that_is_too_large_is_refused),
        medium_test(a_fetch_ends_at_its_deadline),
        medium_test(an_interrupt_ends_a_fetch_and_loses_nothing),
        medium_test(closing_a_consumer_sends_its_results),
    };
    return cmocka_run_group_tests_name("calls and results", tests, NULL, NULL);
}
