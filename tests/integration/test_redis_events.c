/* Events over a real Redis: firing, consumer groups, and all that may happen to an event on its way. */
#include <pthread.h>

#include "proxy.h"
#include "redis_fixture.h"

#define STREAM "shop.*:stream"

static int64_t redis_now_pending(void) { return pending(STREAM, "group"); }

static void add_raw(const char *const *fields)
{
    const char *a[10] = {NULL};
    for (size_t i = 0; fields[i]; i++)
        a[i] = fields[i];
    lb_value_free(redis_command(server, "XADD", STREAM, "*", a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7],
                                a[8], a[9], NULL));
}

static void sends_what_python_sends(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    lb_event_message event = make_event("e1", "shop", "sold"), *list[] = {&event};
    assert_ok(f.t->event->send(f.self, list, 1, in_ms(2000), &f.error), &f.error);
    lb_value *entries = redis_command(server, "XRANGE", STREAM, "-", "+", NULL);
    const lb_value *entry = lb_value_at(entries, 0), *fields = lb_value_at(entry, 1);
    static const char *const expected[] = {"id",      "e1", "api_name",  "shop",      "event_name", "sold",
                                           "version", "1",  ":username", "\"admin\"", ":number",    "42"};
    assert_slice(event.native_id, lb_value_str(lb_value_at(entry, 0)));
    assert_int_equal(lb_value_count(fields), 12);
    for (size_t i = 0; i < 12; i++)
        assert_string_equal(lb_value_str(lb_value_at(fields, i)), expected[i]);
    lb_value_free(entries);
    fixture_close(&f);
}

static void trims_streams_as_told(void **state)
{
    (void)state;
    fixture f = fixture_open("max_stream_length=100");
    for (int i = 0; i < 500; i++)
        fire(&f, "e", "shop", "sold");
    assert_in_range(redis_int(server, "XLEN", STREAM, NULL), 100, 250);
    fixture_close(&f);
    f = fixture_open("max_stream_length=0");
    for (int i = 0; i < 500; i++)
        fire(&f, "e", "shop", "sold");
    assert_int_equal(redis_int(server, "XLEN", STREAM, NULL), 500);
    fixture_close(&f);
}

/* S19 */
static void delivers_the_pairs_and_no_others(void **state)
{
    (void)state;
    for (int per_event = 0; per_event < 2; per_event++) {
        fixture f = fixture_open(per_event ? "stream_use=per_event" : NULL);
        void *listener = listen_as(&f, "group", "p1", "a.x b.y", "$");
        fire(&f, "1", "a", "y");
        fire(&f, "2", "a", "x");
        fire(&f, "3", "b", "x");
        fire(&f, "4", "b", "y");
        const lb_event_message *events;
        size_t count;
        int seen = 0;
        while (seen < 2) {
            assert_ok(f.t->event->fetch(listener, 100, in_ms(3000), &events, &count, &f.error), &f.error);
            assert_true(count > 0);
            for (size_t i = 0; i < count; i++, seen++)
                assert_true(slice_is(events[i].id, "2") || slice_is(events[i].id, "4"));
            acknowledge(&f, listener, events, count);
        }
        fetch_events(&f, listener, 0);
        flush(&f, listener);
        assert_int_equal(pending(per_event ? "a.x:stream" : "a.*:stream", "group"), 0);
        f.t->event->unlisten(listener, false);
        fixture_close(&f);
    }
}

static void all_events_of_an_api(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "group", "p1", "shop.*", "$");
    fire(&f, "1", "shop", "sold");
    fire(&f, "2", "shop", "bought");
    fetch_events(&f, listener, 2);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
    f = fixture_open("stream_use=per_event");
    const lb_slice api = slice("shop"), all = slice("*");
    const lb_listener_config config = {"group", "p1", &api, &all, 1, "$", false, 0};
    assert_int_equal(f.t->event->listen(f.self, &config, in_ms(1000), &listener, &f.error), LB_CONFIG);
    assert_non_null(strstr(f.error.message, "per_event"));
    fixture_close(&f);
}

/* S18 */
static void starts_where_since_says(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    lb_value_free(redis_command(server, "XADD", STREAM, "1000-0", "id", "old", "api_name", "shop", "event_name",
                                "sold", "version", "1", NULL));
    lb_value_free(redis_command(server, "XADD", STREAM, "1704067200000-0", "id", "new", "api_name", "shop",
                                "event_name", "sold", "version", "1", NULL)); /* 2024-01-01 */
    static const struct {
        const char *since;
        size_t expected;
    } cases[] = {{"$", 0},
                 {"0", 2},
                 {"1000-0", 1},
                 {"2023-12-31", 1},
                 {"2024-01-01T00:00:00.001Z", 0},
                 {"2024-01-01T00:59:59+01:00", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char group[32];
        snprintf(group, sizeof group, "group-%zu", i);
        void *listener = listen_as(&f, group, "p1", "shop.sold", cases[i].since);
        fetch_events(&f, listener, cases[i].expected);
        f.t->event->unlisten(listener, true);
    }
    static const char *const bad[] = {"yesterday", "2024-13-01", "2024-01-01T25:00", "1-x", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const lb_slice api = slice("shop"), sold = slice("sold");
        const lb_listener_config config = {"group", "p1", &api, &sold, 1, bad[i], false, 0};
        void *listener;
        assert_int_equal(f.t->event->listen(f.self, &config, in_ms(1000), &listener, &f.error), LB_CONFIG);
    }
    fixture_close(&f);
}

/* S14 */
static void gives_out_poison_with_its_problem(void **state)
{
    (void)state;
    static const struct {
        const char *fields[11], *problem;
    } bad[] = {
        {{"id", "x", "api_name", "shop", "event_name", "sold", NULL}, "version"},
        {{"id", "x", "api_name", "shop", "event_name", "sold", "version", "1.5", NULL}, "version"},
        {{"api_name", "shop", "event_name", "sold", "version", "1", NULL}, "no id"},
        {{"id", "x", "event_name", "sold", "version", "1", NULL}, "no api_name"},
        {{"id", "x", "api_name", "shop", "event_name", "sold", "version", "1", ":a", "{", NULL}, "not JSON"},
        {{"id", "x", "api_name", "shop", "event_name", "sold", "version", "1", ":", "1", NULL},
         "without a name"},
    };
    static const char *const noop[] = {"", "", NULL};
    static const char *const extra[] = {"id",      "x", "api_name", "shop", "event_name", "sold",
                                        "version", "2", "more",     "y",    NULL};
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    add_raw(noop);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        add_raw(bad[i].fields);
        const lb_event_message *events = fetch_events(&f, listener, 1);
        assert_non_null(events[0].problem);
        if (!strstr(events[0].problem, bad[i].problem))
            fail_msg("\"%s\" does not say \"%s\"", events[0].problem, bad[i].problem);
        assert_ok(f.t->event->dead_letter(listener, &events[0], events[0].problem, &f.error), &f.error);
    }
    assert_int_equal(redis_int(server, "XLEN", STREAM ":dead", NULL), 6);
    add_raw(extra);
    const lb_event_message *events = fetch_events(&f, listener, 1);
    assert_null(events[0].problem);
    assert_int_equal(events[0].version, 2);
    acknowledge(&f, listener, events, 1);
    flush(&f, listener);
    assert_int_equal(redis_now_pending(), 0);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* S13 */
static void buries_an_event_with_its_fields(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    fire(&f, "e1", "shop", "sold");
    const lb_event_message *events = fetch_events(&f, listener, 1);
    assert_ok(f.t->event->dead_letter(listener, &events[0], "why", &f.error), &f.error);
    assert_int_equal(redis_now_pending(), 0);
    lb_value *dead = redis_command(server, "XRANGE", STREAM ":dead", "-", "+", NULL);
    const lb_value *fields = lb_value_at(lb_value_at(dead, 0), 1);
    static const char *const expected[][2] = {{"id", "e1"},
                                              {":number", "42"},
                                              {"dead_reason", "why"},
                                              {"dead_group", "group"},
                                              {"dead_consumer", "p1"},
                                              {"dead_deliveries", "1"}};
    for (size_t e = 0; e < sizeof expected / sizeof *expected; e++) {
        bool found = false;
        for (size_t i = 0; i < lb_value_count(fields); i += 2)
            found |= strcmp(lb_value_str(lb_value_at(fields, i)), expected[e][0]) == 0 &&
                     strcmp(lb_value_str(lb_value_at(fields, i + 1)), expected[e][1]) == 0;
        if (!found)
            fail_msg("%s is not %s", expected[e][0], expected[e][1]);
    }
    lb_value_free(dead);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* S11: in pages, before new ones, with the count of deliveries. */
static void takes_up_its_own_pending_events_first(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    char id[16];
    for (int i = 0; i < 250; i++) {
        snprintf(id, sizeof id, "e%d", i);
        fire(&f, id, "shop", "sold");
    }
    const lb_event_message *events;
    size_t count, total = 0;
    while (total < 250) {
        assert_ok(f.t->event->fetch(listener, 100, in_ms(3000), &events, &count, &f.error), &f.error);
        total += count;
    }
    f.t->event->unlisten(listener, false);
    fire(&f, "new", "shop", "sold");
    listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    for (total = 0; total < 250; total += count) {
        assert_ok(f.t->event->fetch(listener, 100, in_ms(3000), &events, &count, &f.error), &f.error);
        assert_in_range(count, 1, 100);
        for (size_t i = 0; i < count; i++) {
            snprintf(id, sizeof id, "e%zu", total + i);
            assert_slice(events[i].id, id);
            assert_int_equal(events[i].deliveries, 2);
        }
        acknowledge(&f, listener, events, count);
    }
    events = fetch_events(&f, listener, 1);
    assert_slice(events[0].id, "new");
    assert_int_equal(events[0].deliveries, 1);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* S11: a consumer that died; S12: not before the acknowledgement timeout. */
static void takes_over_from_a_dead_consumer(void **state)
{
    (void)state;
    fixture f = fixture_open("acknowledgement_timeout=0.4&reclaim_interval=0.1&reclaim_batch_size=7");
    void *dead = listen_as(&f, "group", "dead", "shop.sold", "$");
    int64_t start = support_now_ms();
    for (int i = 0; i < 30; i++)
        fire(&f, "e", "shop", "sold");
    fetch_events(&f, dead, 30);
    f.t->event->unlisten(dead, false);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    const lb_event_message *events;
    size_t count, total = 0;
    while (total < 30) {
        assert_ok(f.t->event->fetch(listener, 4, in_ms(3000), &events, &count, &f.error), &f.error);
        assert_in_range(count, 1, 4);
        assert_true(support_now_ms() - start >= 390);
        assert_int_equal(events[0].deliveries, 2);
        acknowledge(&f, listener, events, count);
        total += count;
    }
    flush(&f, listener);
    assert_int_equal(redis_now_pending(), 0);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* S12: what a living handler holds is renewed, and given to nobody, itself included. */
static void renews_what_is_in_hand(void **state)
{
    (void)state;
    fixture f = fixture_open("acknowledgement_timeout=1.5&reclaim_interval=0.1");
    void *a = listen_as(&f, "group", "a", "shop.sold", "$"), *b = listen_as(&f, "group", "b", "shop.sold", "$");
    fire(&f, "e1", "shop", "sold");
    const lb_event_message *events = fetch_events(&f, a, 1);
    char native[64];
    snprintf(native, sizeof native, "%.*s", (int)events[0].native_id.size, events[0].native_id.data);
    lb_event_message copy = {.native_id = slice(native), .source = events[0].source};
    const lb_event_message *held = &copy;
    bool lost;
    for (int64_t end = support_now_ms() + 3500; support_now_ms() < end;) {
        assert_ok(f.t->event->renew(a, &held, 1, &lost, &f.error), &f.error);
        assert_false(lost);
        fetch_events(&f, b, 0);
        fetch_events(&f, a, 0);
    }
    events = fetch_events(&f, b, 1); /* not renewed any longer */
    assert_int_equal(events[0].deliveries, 2);
    assert_ok(f.t->event->renew(a, &held, 1, &lost, &f.error), &f.error);
    assert_true(lost);
    assert_ok(f.t->event->dead_letter(a, held, "not mine", &f.error), &f.error);
    assert_int_equal(redis_int(server, "EXISTS", STREAM ":dead", NULL), 0);
    f.t->event->unlisten(a, false);
    f.t->event->unlisten(b, false);
    fixture_close(&f);
}

/* S21 */
static void gives_back_at_once(void **state)
{
    (void)state;
    fixture f = fixture_open("acknowledgement_timeout=60&reclaim_interval=0.1");
    void *a = listen_as(&f, "group", "a", "shop.sold", "$"), *b = listen_as(&f, "group", "b", "shop.sold", "$");
    fire(&f, "e1", "shop", "sold");
    const lb_event_message *events = fetch_events(&f, a, 1), *one = &events[0];
    fetch_events(&f, b, 0);
    assert_ok(f.t->event->give_back(a, &one, 1, &f.error), &f.error);
    events = fetch_events(&f, b, 1);
    assert_slice(events[0].id, "e1");
    f.t->event->unlisten(a, false);
    f.t->event->unlisten(b, false);
    fixture_close(&f);
}

typedef struct reader {
    fixture *f;
    void *listener;
    pthread_t thread;
    lb_status status;
    int seen;
    bool stop;
} reader;

static void *reader_main(void *data)
{
    reader *r = data;
    lb_error error = {0};
    while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
        const lb_event_message *events;
        size_t count;
        if (r->f->t->event->fetch(r->listener, 50, in_ms(60000), &events, &count, &error) != LB_OK)
            continue;
        for (size_t i = 0; i < count; i++) {
            const lb_event_message *event = &events[i];
            r->f->t->event->acknowledge(r->listener, &event, 1, &error);
            __atomic_add_fetch(&r->seen, 1, __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void reader_start(reader *r, fixture *f)
{
    *r = (reader){.f = f, .listener = listen_as(f, "group", "p1", "shop.sold", "$")};
    assert_int_equal(pthread_create(&r->thread, NULL, reader_main, r), 0);
}

static int reader_seen(reader *r) { return __atomic_load_n(&r->seen, __ATOMIC_RELAXED); }

static void reader_stop(reader *r)
{
    __atomic_store_n(&r->stop, true, __ATOMIC_RELAXED);
    r->f->t->event->interrupt(r->listener);
    pthread_join(r->thread, NULL);
    r->f->t->event->unlisten(r->listener, false);
}

/* A listener blocked in its read: killed, its stream deleted, interrupted. */
static void a_blocked_listener_goes_on(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    reader r;
    reader_start(&r, &f);
    fire(&f, "1", "shop", "sold");
    wait_until(reader_seen(&r) == 1, 3000);
    lb_value_free(redis_command(server, "CLIENT", "KILL", "TYPE", "normal", NULL));
    support_nap(); /* a connection used a moment ago is not looked at before it is used again */
    fire(&f, "2", "shop", "sold");
    wait_until(reader_seen(&r) == 2, 5000);
    lb_value_free(redis_command(server, "DEL", STREAM, NULL));
    support_nap();
    fire(&f, "3", "shop", "sold");
    wait_until(reader_seen(&r) == 3, 5000);
    int64_t start = support_now_ms();
    reader_stop(&r);
    assert_true(support_now_ms() - start < 20000); /* it would read for a minute */
    assert_int_equal(redis_now_pending(), 0);
    fixture_close(&f);
}

/* S10, S15: pages and batches, in order, each once. */
static void delivers_ten_thousand_in_order(void **state)
{
    (void)state;
    enum { EVENTS = 10000, BATCH = 500 };
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    static lb_event_message events[BATCH];
    static lb_event_message *list[BATCH];
    static char ids[BATCH][16];
    for (int at = 0; at < EVENTS; at += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            snprintf(ids[i], sizeof ids[i], "e%d", at + i);
            events[i] = make_event(ids[i], "shop", "sold");
            list[i] = &events[i];
        }
        assert_ok(f.t->event->send(f.self, list, BATCH, in_ms(5000), &f.error), &f.error);
        for (int i = 0; i < BATCH; i++)
            assert_int_equal(events[i].status, LB_OK);
    }
    int seen = 0;
    while (seen < EVENTS) {
        const lb_event_message *fetched;
        size_t count;
        assert_ok(f.t->event->fetch(listener, 100, in_ms(5000), &fetched, &count, &f.error), &f.error);
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++, seen++) {
            char id[16];
            snprintf(id, sizeof id, "e%d", seen);
            assert_slice(fetched[i].id, id);
            assert_null(fetched[i].problem);
        }
        acknowledge(&f, listener, fetched, count);
    }
    f.t->event->unlisten(listener, false);
    assert_int_equal(redis_now_pending(), 0);
    fixture_close(&f);
}

/* S20: the answer is lost. The event may be there; it is not sent again here. */
static void an_unknown_outcome_is_told(void **state)
{
    (void)state;
    fixture direct = fixture_open(NULL);
    proxy *p = proxy_start(server);
    fixture f = fixture_on(p->url);
    fire(&f, "1", "shop", "sold");
    proxy_cut_after(p, TO_CLIENT, 1);
    lb_event_message event = make_event("2", "shop", "sold"), *list[] = {&event};
    assert_ok(f.t->event->send(f.self, list, 1, in_ms(2000), &f.error), &f.error);
    assert_int_equal(event.status, LB_TRANSPORT);
    assert_non_null(strstr(event.problem, "unknown"));
    assert_int_equal(redis_int(server, "XLEN", STREAM, NULL), 2);
    fire(&f, "3", "shop", "sold"); /* and it comes back */
    proxy_refuse(p, true);
    assert_int_equal(f.t->event->send(f.self, list, 1, in_ms(500), &f.error), LB_TRANSPORT);
    assert_true(f.error.retryable);
    fixture_close(&f);
    fixture_close(&direct);
    proxy_stop(p);
}

/* An acknowledgement that did not get through is not forgotten: the event is not given out again (S11). */
static void acknowledgements_outlive_the_connection(void **state)
{
    (void)state;
    fixture direct = fixture_open(NULL);
    proxy *p = proxy_start(server);
    fixture f = fixture_on(p->url);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    fire(&direct, "1", "shop", "sold");
    acknowledge(&f, listener, fetch_events(&f, listener, 1), 1);
    proxy_cut(p);
    const lb_event_message *events;
    size_t count = 0;
    for (int i = 0; i < 3; i++) {
        f.t->event->fetch(listener, 10, in_ms(100), &events, &count, &f.error);
        assert_int_equal(count, 0);
    }
    assert_int_equal(redis_now_pending(), 0);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
    fixture_close(&direct);
    proxy_stop(p);
}

/* What is in hand while the connection is made anew is not given out twice (S12). */
static void what_is_in_hand_survives_a_reconnect(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    fire(&f, "1", "shop", "sold");
    fetch_events(&f, listener, 1);
    lb_value_free(redis_command(server, "CLIENT", "KILL", "TYPE", "normal", NULL));
    support_nap(); /* a connection used a moment ago is not looked at before it is used again */
    fire(&f, "2", "shop", "sold");
    const lb_event_message *events = fetch_events(&f, listener, 1);
    assert_slice(events[0].id, "2");
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

static void tells_per_event_that_memory_is_short(void **state)
{
    (void)state;
    fixture f = fixture_open("max_message_size=1024");
    char large[1100];
    memset(large, '1', sizeof large);
    lb_kwarg kwarg = {.name = slice("a"), .json = {large, sizeof large}};
    lb_event_message small = make_event("1", "shop", "sold"), big = make_event("2", "shop", "sold"),
                     *list[] = {&big, &small};
    big.kwargs = &kwarg;
    big.kwargs_count = 1;
    assert_ok(f.t->event->send(f.self, list, 2, in_ms(2000), &f.error), &f.error);
    assert_int_equal(big.status, LB_TOO_LARGE);
    assert_int_equal(small.status, LB_OK);
    lb_value_free(redis_command(server, "CONFIG", "SET", "maxmemory", "1", NULL));
    assert_ok(f.t->event->send(f.self, list, 2, in_ms(2000), &f.error), &f.error);
    assert_int_equal(small.status, LB_BUSY);
    assert_non_null(strstr(small.problem, "OOM"));
    lb_value_free(redis_command(server, "CONFIG", "SET", "maxmemory", "0", NULL));
    fixture_close(&f);
}

static void count_schema(lb_slice api, lb_slice json, void *data)
{
    assert_true(slice_is(api, "a") || slice_is(api, "b"));
    assert_slice(json, "{\"rpcs\":{}}");
    ++*(int *)data;
}

static void stores_and_loads_schemas(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    const char *names[] = {"a", "b"};
    const lb_slice json[] = {slice("{\"rpcs\":{}}"), slice("{\"rpcs\":{}}")};
    int found = 0;
    assert_ok(f.t->schema->load(f.self, count_schema, &found, in_ms(1000), &f.error), &f.error);
    assert_int_equal(found, 0);
    assert_ok(f.t->schema->store(f.self, names, json, 2, 60, in_ms(1000), &f.error), &f.error);
    assert_in_range(redis_int(server, "TTL", "schema:a", NULL), 55, 60);
    lb_value_free(redis_command(server, "SADD", "schemas", "gone", NULL));
    assert_ok(f.t->schema->load(f.self, count_schema, &found, in_ms(1000), &f.error), &f.error);
    assert_int_equal(found, 2);
    fixture_close(&f);
}

/* To look for what others have let lie takes longer here than the time to the next such look: new events are
 * read all the same. */
static void a_slow_connection_does_not_keep_new_events_back(void **state)
{
    (void)state;
    proxy *p = proxy_start(server);
    char url[160];
    lb_value_free(redis_command(server, "FLUSHALL", NULL));
    snprintf(url, sizeof url, "%s?reclaim_interval=0.05", p->url);
    fixture f = fixture_on(url);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    proxy_delay(p, 40);
    fire(&f, "e", "shop", "sold");
    fetch_events(&f, listener, 1);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
    proxy_stop(p);
}

/* ---- Servers in trouble ----------------------------------------------------------------------------- */

/* S30: what a replica refused to acknowledge is acknowledged when it is a primary again, and not handled twice.
 */
static void acknowledgements_outlive_a_failover(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    const lb_event_message *events;
    size_t count;
    void *listener = listen_as(&f, "g", "c", "shop.sold", "$");
    fire(&f, "1", "shop", "sold");
    acknowledge(&f, listener, fetch_events(&f, listener, 1), 1);
    lb_value_free(redis_command(server, "REPLICAOF", "127.0.0.1", "1", NULL));
    assert_int_equal(f.t->event->fetch(listener, 100, in_ms(500), &events, &count, &f.error), LB_TRANSPORT);
    assert_int_equal(pending("shop.*:stream", "g"), 1);
    lb_value_free(redis_command(server, "REPLICAOF", "NO", "ONE", NULL));
    fetch_events(&f, listener, 0);
    assert_int_equal(pending("shop.*:stream", "g"), 0);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* A failover may lose what the group was given: what is in hand is not given out again all the same. */
static void what_is_in_hand_survives_a_group_that_is_set_back(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "g", "c", "shop.sold", "$");
    fire(&f, "1", "shop", "sold");
    fire(&f, "2", "shop", "sold");
    lb_event_message first = fetch_events(&f, listener, 2)[0];
    char id[48];
    snprintf(id, sizeof id, "%.*s", (int)first.native_id.size, first.native_id.data);
    first.native_id = slice(id);
    lb_value_free(redis_command(server, "XGROUP", "SETID", "shop.*:stream", "g", "0", NULL));
    fire(&f, "3", "shop", "sold");
    assert_slice(fetch_events(&f, listener, 1)->id, "3");
    acknowledge(&f, listener, &first, 1);
    flush(&f, listener);
    assert_int_equal(pending("shop.*:stream", "g"), 2);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* S30: a server whose memory is full makes no groups, but gives out what there is. */
static void a_full_server_still_delivers_after_a_reconnect(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    const lb_event_message *events;
    size_t count;
    void *listener = listen_as(&f, "g", "c", "shop.sold", "$");
    fire(&f, "1", "shop", "sold");
    lb_value_free(redis_command(server, "CONFIG", "SET", "maxmemory", "1", NULL));
    lb_value_free(redis_command(server, "CLIENT", "KILL", "TYPE", "normal", NULL));
    lb_status status = LB_TRANSPORT; /* the first time it may find that the connection is gone */
    for (int tries = 0; tries < 2 && status == LB_TRANSPORT; tries++)
        status = f.t->event->fetch(listener, 100, in_ms(5000), &events, &count, &f.error);
    lb_value_free(redis_command(server, "CONFIG", "SET", "maxmemory", "0", NULL));
    assert_int_equal(status, LB_OK);
    assert_int_equal(count, 1);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* S10: an event that was taken over is not in hand any longer, so that it can be taken back from the dead. */
static void what_was_lost_can_come_back(void **state)
{
    (void)state;
    fixture f = fixture_open("acknowledgement_timeout=0.1&reclaim_interval=0.05");
    bool lost = false;
    void *first = listen_as(&f, "g", "a", "shop.sold", "$");
    fire(&f, "1", "shop", "sold");
    lb_event_message event = fetch_events(&f, first, 1)[0];
    const lb_event_message *in_hand = &event;
    char id[48];
    snprintf(id, sizeof id, "%.*s", (int)event.native_id.size, event.native_id.data);
    event.native_id = slice(id);
    void *second = listen_as(&f, "g", "b", "shop.sold", "$");
    fetch_events(&f, second, 1);
    assert_ok(f.t->event->renew(first, &in_hand, 1, &lost, &f.error), &f.error);
    assert_true(lost);
    f.t->event->unlisten(second, false);
    assert_slice(fetch_events(&f, first, 1)->id, "1");
    f.t->event->unlisten(first, false);
    fixture_close(&f);
}

/* S21: however long others may keep theirs. */
static void gives_back_at_once_with_a_timeout_of_days(void **state)
{
    (void)state;
    fixture f = fixture_open("acknowledgement_timeout=172800&reclaim_interval=0.05");
    void *first = listen_as(&f, "g", "a", "shop.sold", "$"),
         *second = listen_as(&f, "g", "b", "shop.sold", "$");
    fire(&f, "1", "shop", "sold");
    const lb_event_message *event = fetch_events(&f, first, 1);
    assert_ok(f.t->event->give_back(first, &event, 1, &f.error), &f.error);
    assert_slice(fetch_events(&f, second, 1)->id, "1");
    f.t->event->unlisten(first, false);
    f.t->event->unlisten(second, false);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_outcome_is_told),
        cmocka_unit_test(acknowledgements_outlive_the_connection),
        cmocka_unit_test(sends_what_python_sends),
        cmocka_unit_test(trims_streams_as_told),
        cmocka_unit_test(delivers_the_pairs_and_no_others),
        cmocka_unit_test(all_events_of_an_api),
        cmocka_unit_test(starts_where_since_says),
        cmocka_unit_test(gives_out_poison_with_its_problem),
        cmocka_unit_test(buries_an_event_with_its_fields),
        cmocka_unit_test(takes_up_its_own_pending_events_first),
        cmocka_unit_test(takes_over_from_a_dead_consumer),
        cmocka_unit_test(renews_what_is_in_hand),
        cmocka_unit_test(gives_back_at_once),
        cmocka_unit_test(a_blocked_listener_goes_on),
        cmocka_unit_test(delivers_ten_thousand_in_order),
        cmocka_unit_test(what_is_in_hand_survives_a_reconnect),
        cmocka_unit_test(tells_per_event_that_memory_is_short),
        cmocka_unit_test(stores_and_loads_schemas),
        cmocka_unit_test(a_slow_connection_does_not_keep_new_events_back),
        cmocka_unit_test(acknowledgements_outlive_a_failover),
        cmocka_unit_test(what_is_in_hand_survives_a_group_that_is_set_back),
        cmocka_unit_test(a_full_server_still_delivers_after_a_reconnect),
        cmocka_unit_test(gives_back_at_once_with_a_timeout_of_days),
        cmocka_unit_test(what_was_lost_can_come_back),
    };
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
