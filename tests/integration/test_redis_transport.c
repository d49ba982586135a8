/* The Redis transport, function by function, against a real Redis. */
#include "redis_fixture.h"

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
    assert_slice(results[0].rpc_message_id, "call-1");
    assert_true(lb_value_bool(lb_value_get(results[0].result, "ok")));
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
}

static void fires_and_listens(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    fire(&f, "e1", "shop", "sold");
    fire(&f, "e2", "shop", "other");
    const lb_event_message *events = fetch_events(&f, listener, 1);
    assert_null(events[0].problem);
    assert_slice(events[0].id, "e1");
    assert_slice(events[0].event_name, "sold");
    assert_int_equal(events[0].version, 1);
    assert_int_equal(events[0].deliveries, 1);
    assert_slice(events[0].kwargs[0].name, "username");
    assert_string_equal(lb_value_str(events[0].kwargs[0].value), "admin");
    acknowledge(&f, listener, events, 1);
    fetch_events(&f, listener, 0);
    flush(&f, listener);
    assert_int_equal(pending("shop.*:stream", "group"), 0);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_a_call_and_its_result),
        cmocka_unit_test(fires_and_listens),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
