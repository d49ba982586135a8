/* Copies of events on the wire (S20): the keys that tell them, and what goes wrong while they are asked. */
#include "redis_fixture.h"

#include "proxy.h"
#include "worker.h"

#define STREAM "shop.*:stream"
#define SEEN   "lightbus:seen:group:shop.*:"
enum { WINDOW_MS = 60000 };

static lb_status try_to_listen(fixture *f, int window_ms, void **listener)
{
    lb_slice api = slice("shop"), name = slice("sold");
    const lb_listener_config config = {.group = "group",
                                       .consumer = "p1",
                                       .api_names = &api,
                                       .event_names = &name,
                                       .count = 1,
                                       .since = "$",
                                       .deduplicate_ms = window_ms};
    return f->t->event->listen(f->self, &config, in_ms(3000), listener, &f->error);
}

static void *listen_once(fixture *f)
{
    void *listener = NULL;
    assert_ok(try_to_listen(f, WINDOW_MS, &listener), &f->error);
    return listener;
}

static size_t count_keys(const char *pattern)
{
    lb_value *keys = redis_command(server, "KEYS", pattern, NULL);
    size_t count = lb_value_count(keys);
    lb_value_free(keys);
    return count;
}

static char logged[4096];
static void keep_warnings(lb_log_level level, const char *message, void *data)
{
    (void)data;
    if (level >= LB_LOG_WARNING)
        snprintf(logged, sizeof logged, "%s", message);
}

static void a_key_per_id_with_a_time_to_live(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_once(&f);
    assert_int_equal(count_keys("lightbus:*"), 0);
    fire(&f, "first", "shop", "sold");
    fire(&f, "first", "shop", "sold");
    fire(&f, "second", "shop", "sold");
    fire(&f, "third", "shop", "returned"); /* not wanted, so not of interest */
    const lb_event_message *events = fetch_events(&f, listener, 2);
    assert_int_equal(pending(STREAM, "group"), 4);
    assert_int_equal(count_keys("*seen*"), 2);
    int64_t left = redis_int(server, "PTTL", SEEN "first", NULL);
    assert_true(left > 0 && left <= WINDOW_MS);
    lb_value *first = redis_command(server, "GET", SEEN "first", NULL);
    assert_slice(events[0].native_id, lb_value_str(first));
    lb_value_free(first);
    acknowledge(&f, listener, events, 2);
    flush(&f, listener);
    assert_int_equal(pending(STREAM, "group"), 0);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

static void no_key_without_it(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    fire(&f, "first", "shop", "sold");
    acknowledge(&f, listener, fetch_events(&f, listener, 1), 1);
    flush(&f, listener);
    assert_int_equal(count_keys("*seen*"), 0);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* Takes what comes until the event of this id is there; no other may come. */
static void expect_only(fixture *f, void *listener, const char *id)
{
    int64_t until = support_now_ms() + 10000;
    for (;;) {
        const lb_event_message *events = NULL;
        size_t count = 0;
        lb_status status = f->t->event->fetch(listener, 10, in_ms(1000), &events, &count, &f->error);
        if (status != LB_OK)
            assert_status(status, LB_TRANSPORT, &f->error);
        for (size_t i = 0; i < count; i++) {
            assert_slice(events[i].id, id);
            assert_int_equal(lb_value_int(events[i].kwargs[1].value), 42);
        }
        assert_true(count <= 1);
        acknowledge(f, listener, events, count);
        if (count)
            return;
        if (support_now_ms() > until)
            fail_msg("%s did not come", id);
    }
}

/* S10, S20: the connection breaks after any number of bytes, in either direction. */
static void a_broken_connection_loses_nothing_and_lets_no_copy_through(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    proxy *p = proxy_start(server);
    fixture broken = fixture_on(p->url);
    void *listener = listen_once(&broken);
    char id[32];
    for (int bytes = 1; bytes < 700; bytes += 11)
        for (int direction = TO_SERVER; direction <= TO_CLIENT; direction++) {
            snprintf(id, sizeof id, "event-%d-%d", bytes, direction);
            fire(&f, id, "shop", "sold");
            fire(&f, id, "shop", "sold");
            proxy_cut_after(p, (proxy_direction)direction, bytes);
            expect_only(&broken, listener, id);
        }
    assert_true(proxy_connections(p) > 50);
    broken.t->event->unlisten(listener, false);
    fixture_close(&broken);
    proxy_stop(p);
    fixture_close(&f);
}

/* S10: what cannot be noted is handled all the same. */
static void a_full_server_makes_copies_events_like_others(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_once(&f);
    fire(&f, "first", "shop", "sold");
    fire(&f, "first", "shop", "sold");
    lb_value_free(redis_command(server, "CONFIG", "SET", "maxmemory", "1", NULL));
    logged[0] = '\0';
    lb_log_to(keep_warnings, NULL);
    acknowledge(&f, listener, fetch_events(&f, listener, 2), 2);
    lb_log_to(NULL, NULL);
    lb_value_free(redis_command(server, "CONFIG", "SET", "maxmemory", "0", NULL));
    assert_contains(logged, "OOM");
    fire(&f, "second", "shop", "sold");
    fire(&f, "second", "shop", "sold");
    acknowledge(&f, listener, fetch_events(&f, listener, 1), 1);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* S32: something else lies where an id is to be noted. */
static void a_foreign_key_stops_nothing(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_once(&f);
    lb_value_free(redis_command(server, "LPUSH", SEEN "first", "x", NULL));
    lb_value_free(redis_command(server, "SET", SEEN "second", "", NULL));
    fire(&f, "first", "shop", "sold");
    fire(&f, "second", "shop", "sold");
    logged[0] = '\0';
    lb_log_to(keep_warnings, NULL);
    const lb_event_message *events = fetch_events(&f, listener, 2);
    lb_log_to(NULL, NULL);
    assert_contains(logged, "WRONGTYPE");
    for (int i = 0; i < 2; i++)
        assert_ok(f.t->event->dead_letter(listener, &events[i], "enough", &f.error), &f.error);
    assert_int_equal(redis_int(server, "XLEN", STREAM ":dead", NULL), 2);
    assert_int_equal(pending(STREAM, "group"), 0);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

static void without_the_right_to_the_keys_it_is_refused(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    lb_value_free(redis_command(server, "ACL", "SETUSER", "narrow", "on", ">pw", "~*:stream", "+@all", NULL));
    char url[200];
    void *listener = NULL;
    snprintf(url, sizeof url, "redis://narrow:pw@127.0.0.1:%d/0", server->port);
    fixture narrow = fixture_on(url);
    assert_status(try_to_listen(&narrow, WINDOW_MS, &listener), LB_ACCESS, &narrow.error);
    assert_null(listener);
    assert_contains(narrow.error.message, "deduplicate_ms");
    assert_ok(try_to_listen(&narrow, 0, &listener), &narrow.error);
    narrow.t->event->unlisten(listener, false);
    fixture_close(&narrow);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_per_id_with_a_time_to_live),
        cmocka_unit_test(no_key_without_it),
        cmocka_unit_test(a_broken_connection_loses_nothing_and_lets_no_copy_through),
        cmocka_unit_test(a_full_server_makes_copies_events_like_others),
        cmocka_unit_test(a_foreign_key_stops_nothing),
        cmocka_unit_test(without_the_right_to_the_keys_it_is_refused),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
