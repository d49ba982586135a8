/* Rules of what is wrong on the bus: calls, results and events that are bad, or no messages at all (S4, S5,
 * S14, S32), and secrets (S33). A worker serves on threads of this process. What lb_* would not send goes
 * through the contract, and bytes that are no message by way of the medium. */
#include "conformance.h"

#include <stdio.h>

typedef struct counts {
    int added, handled;
} counts;

static lb_status add(lb_request *request, void *data)
{
    shared_add(&((counts *)data)->added, 1);
    return lb_return(request, lb_get_int(request, "n") + 1);
}

static lb_status lie(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, "not a number");
}

static lb_status handle(const lb_event *event, void *data)
{
    (void)event;
    shared_add(&((counts *)data)->handled, 1);
    return LB_OK;
}

static const lb_api shop = {
    .name = "shop",
    .members = (const lb_member[]){LB_RPC("add(n: int) -> int", add), LB_RPC("lie(n: int) -> int", lie),
                                   LB_EVENT("ordered(n: int)"), LB_END},
};

typedef struct scene {
    const medium *m;
    counts seen;
    lb_bus *worker, *client;
    void *stranger; /* an instance of the transport: it sends what it likes */
} scene;

static void quiet(lb_log_level level, const char *message, void *data)
{
    (void)level, (void)message, (void)data;
}

static void scene_open(scene *s, void **state)
{
    lb_error error = {0};
    *s = (scene){.m = *state};
    lb_log_to(quiet, NULL); /* all of this is worth a warning */
    s->worker = medium_bus(s->m, "", "worker");
    assert_ok(lb_register(s->worker, &shop, &s->seen, &error), &error);
    assert_ok(lb_listen(s->worker, "shop.ordered", "stock", handle, &s->seen, NULL, &error), &error);
    assert_ok(lb_start(s->worker, &error), &error);
    s->client = medium_bus(s->m, "", "client");
    s->stranger = instance_open(s->m, "", "stranger");
}

static void scene_close(scene *s)
{
    lb_error error = {0};
    instance_close(s->m, s->stranger);
    lb_close(s->client);
    assert_ok(lb_stop(s->worker, 20000, &error), &error);
    lb_close(s->worker);
    lb_log_to(NULL, NULL);
}

/* The worker is there, and has executed nothing since but this one call. */
static void expect_that_it_goes_on(scene *s)
{
    lb_error error = {0};
    lb_value *result = NULL;
    shared_set(&s->seen.added, 0);
    assert_ok(lb_call(s->client, "shop.add", LB_ARGS(LB("n", 1)), &result, &error), &error);
    assert_int_equal(lb_value_int(result), 2);
    lb_value_free(result);
    assert_int_equal(shared_get(&s->seen.added), 1);
}

static void send_call(const scene *s, const char *procedure, const char *json, const char *return_path)
{
    const lb_transport *t = s->m->kind->transport;
    lb_error error = {0};
    lb_kwarg kwarg = {.name = slice("n"), .json = slice(json)};
    lb_rpc_message call = {.id = slice("strange"),
                           .api_name = slice("shop"),
                           .procedure_name = slice(procedure),
                           .return_path =
                               return_path ? slice(return_path) : t->result->return_path(s->stranger),
                           .kwargs = &kwarg,
                           .kwargs_count = 1,
                           .deadline_ns = in_ms(20000)};
    assert_ok(t->rpc->send(s->stranger, (const lb_rpc_message *const[]){&call}, 1, true, in_ms(5000), &error),
              &error);
}

/* The answer to the stranger's call; NULL: none within a time. */
static const lb_result_message *answer(const scene *s, int ms)
{
    const lb_result_message *list = NULL;
    size_t count = 0;
    lb_error error = {0};
    assert_ok(s->m->kind->transport->result->fetch(s->stranger, in_ms(ms), &list, &count, &error), &error);
    assert_true(count <= 1);
    return count ? &list[0] : NULL;
}

static void s4_a_bad_call_is_answered_with_an_error(void **state)
{
    static const struct {
        const char *procedure, *json, *part;
    } rows[] = {
        {"nothing", "1", "nothing"}, {"__class__", "1", "__class__"},
        {"ordered", "1", "ordered"}, /* an event */
        {"add", "\"text\"", "n"},    {"add", "null", "n"},
        {"add", "[1]", "n"},         {"add", "1e300", "n"},
    };
    scene s;
    scene_open(&s, state);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        send_call(&s, rows[i].procedure, rows[i].json, NULL);
        const lb_result_message *r = answer(&s, 10000);
        if (!r || !r->error || !is(r->rpc_message_id, "strange"))
            fail_msg("%s(%s) has no answer", rows[i].procedure, rows[i].json);
        assert_contains(lb_value_str(r->result), rows[i].part);
        assert_int_equal(shared_get(&s.seen.added), i ? 1 : 0);
        expect_that_it_goes_on(&s);
    }
    lb_error error = {0};
    assert_int_not_equal(lb_call(s.client, "shop.nothing", LB_NO_ARGS, NULL, &error), LB_OK);
    assert_int_not_equal(lb_call(s.client, "shop.add", LB_ARGS(LB("n", "text")), NULL, &error), LB_OK);
    expect_that_it_goes_on(&s);
    scene_close(&s);
}

/* JSON of that depth, for free(). */
static char *nested(size_t depth)
{
    char *json = calloc(2 * depth + 1, 1);
    memset(json, '[', depth);
    memset(json + depth, ']', depth);
    return json;
}

static void s4_s32_a_call_that_is_no_message_does_no_harm(void **state)
{
    static const char *const broken[] = {"not JSON", "{\"a\":",     "\"\xff\xfe\"",
                                         "1e9999",   "1,\"n\":2}}", "\"\\ud800\""};
    static const char *const nowhere[] = {"http://example.com/", "x", "redis+key://", "local:", "memory:"};
    scene s;
    scene_open(&s, state);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        send_call(&s, "add", broken[i], NULL);
        const lb_result_message *r = answer(&s, 300); /* an error, if the call's id can be read */
        if (r && !r->error)
            fail_msg("add(%s) is no call, and was executed", broken[i]);
        expect_that_it_goes_on(&s);
    }
    char *deep = nested(50000);
    send_call(&s, "add", deep, NULL);
    const lb_result_message *r = answer(&s, 300);
    assert_true(!r || r->error);
    free(deep);
    expect_that_it_goes_on(&s);
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        send_call(&s, "add", "1", nowhere[i]);
        expect_that_it_goes_on(&s);
    }
    for (int n = 0; s.m->kind->spoil_queue && s.m->kind->spoil_queue(s.m->self, "shop", n); n++)
        expect_that_it_goes_on(&s);
    scene_close(&s);
}

static void s5_a_result_that_breaks_its_schema_is_an_error(void **state)
{
    scene s;
    lb_error error = {0};
    lb_value *result = NULL;
    scene_open(&s, state);
    for (int i = 0; i < 3; i++) {
        lb_status status = lb_call(s.client, "shop.lie", LB_ARGS(LB("n", 1)), &result, &error);
        assert_true(status == LB_REMOTE_ERROR || status == LB_INVALID_RESULT);
        assert_null(result);
        assert_contains(error.message, "int");
        expect_that_it_goes_on(&s);
    }
    scene_close(&s);
}

static void send_event(const scene *s, const char *json)
{
    lb_error error = {0};
    lb_kwarg kwarg = {.name = slice("n"), .json = slice(json)};
    lb_event_message m = {.id = slice("strange"),
                          .api_name = slice("shop"),
                          .event_name = slice("ordered"),
                          .version = 1,
                          .kwargs = &kwarg,
                          .kwargs_count = 1};
    lb_event_message *list[] = {&m};
    assert_ok(s->m->kind->transport->event->send(s->stranger, list, 1, in_ms(5000), &error), &error);
    assert_int_equal(m.status, LB_OK);
}

/* -1: the transport cannot tell. */
static int dead_letters(const scene *s)
{
    lb_error error = {0};
    lb_value *streams = NULL;
    if (!s->m->kind->transport->event->lag)
        return -1;
    assert_ok(lb_streams(s->client, "shop.*", &streams, &error), &error);
    int count = (int)lb_value_int(lb_value_get(lb_value_at(streams, 0), "dead_letters"));
    lb_value_free(streams);
    return count;
}

static void expect_that_it_listens(scene *s, int dead)
{
    int before = shared_get(&s->seen.handled);
    send_event(s, "1");
    wait_until(shared_get(&s->seen.handled) == before + 1, PATIENCE_MS);
    wait_until(dead_letters(s) == dead || dead_letters(s) == -1, PATIENCE_MS);
}

static void s14_s32_an_event_that_cannot_be_decoded_goes_to_the_dead_letters(void **state)
{
    static const char *const broken[] = {"not JSON", "{\"a\":", "\"\xff\xfe\"", "1e9999", "", "\"\\ud800\""};
    scene s;
    int dead = 0;
    scene_open(&s, state);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        send_event(&s, broken[i]);
        expect_that_it_listens(&s, ++dead);
    }
    char *deep = nested(50000);
    send_event(&s, deep);
    free(deep);
    expect_that_it_listens(&s, ++dead);
    for (int n = 0; s.m->kind->spoil_stream && s.m->kind->spoil_stream(s.m->self, "shop", n); n++)
        expect_that_it_listens(&s, ++dead);
    scene_close(&s);
}

static void s14_an_event_that_breaks_its_schema_goes_to_the_dead_letters(void **state)
{
    scene s;
    scene_open(&s, state);
    send_event(&s, "\"text\"");
    expect_that_it_listens(&s, 1);
    scene_close(&s);
}

/* ---- Secrets ---------------------------------------------------------------------------------------- */

static int leaks;

static void look_for_secret(lb_log_level level, const char *message, void *data)
{
    (void)level, (void)data;
    if (strstr(message, "geheim"))
        shared_add(&leaks, 1);
}

static void note_finding(const lb_finding *f, void *data)
{
    (void)data;
    const char *texts[] = {f->found, f->advice, f->place};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_true(!texts[i] || !strstr(texts[i], "geheim"));
}

static void try_all(const char *url)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = url, .service_name = "tests", .rpc_timeout_ms = 300}, &error);
    assert_null(strstr(error.message, "geheim"));
    if (!bus)
        return;
    assert_null(strstr(lb_url(bus), "geheim"));
    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", 1)), &error);
    assert_null(strstr(error.message, "geheim"));
    lb_call(bus, "shop.add", LB_ARGS(LB("n", 1)), NULL, &error);
    assert_null(strstr(error.message, "geheim"));
    lb_start(bus, &error);
    assert_null(strstr(error.message, "geheim"));
    lb_diagnose(bus, 1000, note_finding, NULL);
    lb_stop(bus, 5000, &error);
    lb_close(bus);
}

static void s33_a_password_is_in_no_error_and_no_log(void **state)
{
    static const char *const options[] = {"",
                                          "?acknowledgement_timeout=5&max_stream_length=10",
                                          "?acknowledgement_timeout=soon",
                                          "?no_such_option=1",
                                          "?password=geheim",
                                          "?acknowledgement_timeout=5&passwort=geheim"};
    const medium *m = *state;
    skip_without(m, NO_PASSWORDS);
    const char *at = strstr(m->url, "//") + 2;
    leaks = 0;
    lb_log_to(look_for_secret, NULL);
    lb_log_set_level(LB_LOG_DEBUG);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        char url[512];
        snprintf(url, sizeof url, "%.*suser:geheim@%s%s", (int)(at - m->url), m->url, at, options[i]);
        try_all(url);
        snprintf(url, sizeof url, "%.*suser:geheim@nowhere.invalid:x%s", (int)(at - m->url), m->url,
                 options[i]);
        try_all(url);
    }
    lb_log_to(NULL, NULL);
    lb_log_set_level(LB_LOG_INFO);
    assert_int_equal(leaks, 0);
}

int run_hostile_rules(void)
{
    const struct CMUnitTest tests[] = {
        medium_test(s4_a_bad_call_is_answered_with_an_error),
        medium_test(s4_s32_a_call_that_is_no_message_does_no_harm),
        medium_test(s5_a_result_that_breaks_its_schema_is_an_error),
        medium_test(s14_s32_an_event_that_cannot_be_decoded_goes_to_the_dead_letters),
        medium_test(s14_an_event_that_breaks_its_schema_goes_to_the_dead_letters),
        medium_test(s33_a_password_is_in_no_error_and_no_log),
    };
    return cmocka_run_group_tests_name("what is wrong", tests, NULL, NULL);
}
