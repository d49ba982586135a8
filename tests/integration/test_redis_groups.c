/* Consumer groups over a real Redis: what they have lost to trimming, and what becomes of them when they vanish
 * or are not wanted any longer. */
#include "proxy.h"
#include "redis_fixture.h"

#define STREAM "shop.*:stream"

/* S16 */
static void acknowledges_and_counts_what_was_trimmed(void **state)
{
    (void)state;
    fixture f = fixture_open("acknowledgement_timeout=0.1&reclaim_interval=0.05");
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    for (int i = 0; i < 3; i++)
        fire(&f, "e", "shop", "sold");
    fetch_events(&f, listener, 3);
    f.t->event->unlisten(listener, false);
    lb_value_free(redis_command(server, "XTRIM", STREAM, "MAXLEN", "1", NULL));
    listener = listen_as(&f, "group", "p1", "shop.sold", "$"); /* own */
    fetch_events(&f, listener, 1);
    f.t->event->unlisten(listener, false);
    lb_value_free(redis_command(server, "XTRIM", STREAM, "MAXLEN", "0", NULL));
    listener = listen_as(&f, "group", "p2", "shop.sold", "$"); /* another's */
    wait_until((fetch_events(&f, listener, 0), pending(STREAM, "group")) == 0, 3000);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

static void add_lost(const lb_group_lag *lag, void *data)
{
    if (slice_is(lag->group, "group"))
        *(int64_t *)data = lag->lost;
}

/* As lb_lag tells it. */
static int64_t lost_of(fixture *f)
{
    int64_t lost = -2;
    assert_ok(f->t->event->lag(f->self, slice("shop"), slice("*"), add_lost, &lost, in_ms(2000), &f->error),
              &f->error);
    return lost;
}

static char logged[4096];

static void keep_log(lb_log_level level, const char *message, void *data)
{
    (void)level, (void)data;
    size_t used = strlen(logged);
    snprintf(logged + used, sizeof logged - used, "%s\n", message);
}

/* S16: nobody is told by Redis when unread entries go; we tell once. */
static void tells_of_what_was_trimmed_unread(void **state)
{
    (void)state;
    fixture f = fixture_open("reclaim_interval=0.05");
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    fire(&f, "0", "shop", "sold");
    acknowledge(&f, listener, fetch_events(&f, listener, 1), 1);
    f.t->event->unlisten(listener, false);
    for (int i = 0; i < 7; i++)
        fire(&f, "e", "shop", "sold");
    lb_value_free(redis_command(server, "XTRIM", STREAM, "MAXLEN", "2", NULL));
    logged[0] = '\0';
    lb_log_to(keep_log, NULL);
    listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    acknowledge(&f, listener, fetch_events(&f, listener, 2), 2);
    for (int i = 0; i < 3; i++)
        fetch_events(&f, listener, 0);
    lb_log_to(NULL, NULL);
    const char *told = strstr(logged, "5 events of " STREAM " were trimmed");
    assert_non_null(told);
    assert_null(strstr(strchr(told, '\n'), "lost"));
    assert_int_equal(redis_int(server, "HINCRBY", STREAM ":lost", "group", "0", NULL), 5);
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* S16: whoever of a group sees it first counts it, and it stays counted. */
static void counts_what_was_lost_once_for_all_processes(void **state)
{
    (void)state;
    fixture f = fixture_open("reclaim_interval=0.05&acknowledgement_timeout=0.1");
    void *a = listen_as(&f, "group", "a", "shop.sold", "$"), *b = listen_as(&f, "group", "b", "shop.sold", "$");
    fire(&f, "0", "shop", "sold");
    acknowledge(&f, a, fetch_events(&f, a, 1), 1);
    for (int i = 0; i < 10; i++)
        fire(&f, "e", "shop", "sold");
    lb_value_free(redis_command(server, "XTRIM", STREAM, "MAXLEN", "3", NULL));
    assert_int_equal(lost_of(&f), 7); /* before anybody has noted it */
    acknowledge(&f, a, fetch_events(&f, a, 3), 3);
    for (int i = 0; i < 4; i++) {
        fetch_events(&f, a, 0);
        fetch_events(&f, b, 0);
    }
    assert_int_equal(lost_of(&f), 7);
    /* while they are in hand, and their process is gone; and again unread */
    for (int i = 0; i < 4; i++)
        fire(&f, "e", "shop", "sold");
    fetch_events(&f, a, 4);
    f.t->event->unlisten(a, false);
    for (int i = 0; i < 6; i++)
        fire(&f, "e", "shop", "sold");
    lb_value_free(redis_command(server, "XTRIM", STREAM, "MAXLEN", "1", NULL));
    const lb_event_message *events = fetch_events(&f, b, 1);
    acknowledge(&f, b, events, 1);
    a = listen_as(&f, "group", "a", "shop.sold", "$");
    for (int i = 0; i < 4; i++) {
        fetch_events(&f, b, 0); /* with its acknowledgements */
        fetch_events(&f, a, 0);
    }
    assert_int_equal(lost_of(&f), 7 + 4 + 5);
    assert_int_equal(pending(STREAM, "group"), 0);
    f.t->event->unlisten(b, true);
    f.t->event->unlisten(a, true);
    assert_int_equal(redis_int(server, "EXISTS", STREAM ":lost", NULL), 0);
    fixture_close(&f);
}

/* S16: entries that a stream lost and the group then read past, before anybody looked. */
static void counts_what_the_group_has_read_past(void **state)
{
    (void)state;
    fixture f = fixture_open("reclaim_interval=60");
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    fire(&f, "0", "shop", "sold");
    acknowledge(&f, listener, fetch_events(&f, listener, 1), 1);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++)
            fire(&f, "e", "shop", "sold");
        lb_value_free(redis_command(server, "XTRIM", STREAM, "MAXLEN", "4", NULL));
        acknowledge(&f, listener, fetch_events(&f, listener, 4), 4);
        assert_int_equal(lost_of(&f), 6 * (round + 1));
    }
    f.t->event->unlisten(listener, false);
    fixture_close(&f);
}

/* S16: since Redis 7, XCLAIM forgets a pending entry that is gone; it must be counted before. */
static void renewing_does_not_hide_what_was_trimmed(void **state)
{
    (void)state;
    fixture f = fixture_open("reclaim_interval=0.05&acknowledgement_timeout=0.1");
    void *a = listen_as(&f, "group", "a", "shop.sold", "$");
    fire(&f, "0", "shop", "sold");
    const lb_event_message *event = fetch_events(&f, a, 1);
    bool lost = true;
    lb_value_free(redis_command(server, "XTRIM", STREAM, "MAXLEN", "0", NULL));
    assert_ok(f.t->event->renew(a, &event, 1, &lost, &f.error), &f.error);
    assert_false(lost);
    assert_ok(f.t->event->give_back(a, &event, 1, &f.error), &f.error);
    assert_int_equal(pending(STREAM, "group"), 1);
    f.t->event->unlisten(a, false);
    void *b = listen_as(&f, "group", "b", "shop.sold", "$");
    wait_until((fetch_events(&f, b, 0), pending(STREAM, "group")) == 0, 3000);
    assert_int_equal(lost_of(&f), 1);
    f.t->event->unlisten(b, false);
    fixture_close(&f);
}

/* S18: the stream or the group vanishes. What comes after is delivered, what was before is not again. */
static void makes_a_vanished_group_again(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    fire(&f, "1", "shop", "sold");
    acknowledge(&f, listener, fetch_events(&f, listener, 1), 1);
    lb_value_free(redis_command(server, "XGROUP", "DESTROY", STREAM, "group", NULL));
    fire(&f, "2", "shop", "sold");
    const lb_event_message *events = fetch_events(&f, listener, 1);
    assert_slice(events[0].id, "2");
    acknowledge(&f, listener, events, 1);
    lb_value_free(redis_command(server, "FLUSHALL", NULL));
    support_nap(); /* or the new entry may get the very id of the old one */
    fire(&f, "3", "shop", "sold");
    events = fetch_events(&f, listener, 1);
    assert_slice(events[0].id, "3");
    lb_value_free(redis_command(server, "DEL", STREAM, NULL)); /* and a stream with older ids */
    lb_value_free(redis_command(server, "XADD", STREAM, "5-5", "id", "4", "api_name", "shop", "event_name",
                                "sold", "version", "1", NULL));
    events = fetch_events(&f, listener, 1);
    assert_slice(events[0].id, "4");
    f.t->event->unlisten(listener, true);
    lb_value *groups = redis_command(server, "XINFO", "GROUPS", STREAM, NULL);
    assert_int_equal(lb_value_count(groups), 0);
    lb_value_free(groups);
    fixture_close(&f);
}

/* What a server tells of a group, as text. */
static char *told_of_group(const char *group)
{
    lb_value *consumers = redis_command(server, "XINFO", "CONSUMERS", STREAM, group, NULL);
    lb_value *pending = redis_command(server, "XPENDING", STREAM, group, NULL);
    char *text = NULL, *names = NULL;
    for (size_t i = 0; i < lb_value_count(consumers); i++) {
        char *more = NULL;
        const lb_value *c = lb_value_at(consumers, i); /* name, NAME, pending, COUNT, idle, ... */
        assert_true(asprintf(&more, "%s%s:%lld ", names ? names : "", lb_value_str(lb_value_at(c, 1)),
                             (long long)lb_value_int(lb_value_at(c, 3))) > 0);
        free(names);
        names = more;
    }
    char *json = lb_value_json(pending, NULL);
    assert_true(asprintf(&text, "%s%s", names ? names : "", json) > 0);
    free(json);
    free(names);
    lb_value_free(consumers);
    lb_value_free(pending);
    return text;
}

/* S17: a Python service's group and its consumers' pending entries stay as they are, whatever ours do: listen,
 * take over in their own group, lose, go for good. In our group, a Python consumer that has something stays. */
static void leaves_other_services_groups_alone(void **state)
{
    (void)state;
    fixture f = fixture_open("acknowledgement_timeout=0.05&reclaim_interval=0.05");
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    lb_value_free(redis_command(server, "XGROUP", "CREATE", STREAM, "python-default", "$", NULL));
    lb_value_free(redis_command(server, "XGROUP", "CREATECONSUMER", STREAM, "python-default", "idle", NULL));
    for (int i = 0; i < 5; i++)
        fire(&f, "e", "shop", "sold");
    lb_value_free(redis_command(server, "XREADGROUP", "GROUP", "python-default", "quick-cat", "COUNT", "3",
                                "STREAMS", STREAM, ">", NULL));
    lb_value_free(redis_command(server, "XREADGROUP", "GROUP", "group", "slow-dog", "COUNT", "2", "STREAMS",
                                STREAM, ">", NULL));
    char *before = told_of_group("python-default");
    assert_non_null(strstr(before, "idle:0 quick-cat:3"));
    int seen = 0;
    for (int i = 0; i < 50 && seen < 5; i++) { /* also what lies with slow-dog */
        const lb_event_message *events;
        size_t count;
        assert_ok(f.t->event->fetch(listener, 10, in_ms(100), &events, &count, &f.error), &f.error);
        acknowledge(&f, listener, events, count);
        seen += (int)count;
    }
    assert_int_equal(seen, 5);
    lb_value_free(redis_command(server, "XTRIM", STREAM, "MAXLEN", "1", NULL));
    for (int i = 0; i < 3; i++)
        fetch_events(&f, listener, 0);
    char *ours = told_of_group("group");
    assert_non_null(strstr(ours, "slow-dog:0"));
    f.t->event->unlisten(listener, true);
    char *after = told_of_group("python-default");
    assert_string_equal(after, before);
    free(before);
    free(after);
    free(ours);
    fixture_close(&f);
}

/* S17: a temporary listener that goes while a Python consumer of its group holds an event. */
static void a_group_stays_while_others_listen_in_it(void **state)
{
    (void)state;
    fixture f = fixture_open(NULL);
    void *listener = listen_as(&f, "group", "p1", "shop.sold", "$");
    fire(&f, "e", "shop", "sold");
    lb_value_free(redis_command(server, "XREADGROUP", "GROUP", "group", "slow-dog", "COUNT", "2", "STREAMS",
                                STREAM, ">", NULL));
    f.t->event->unlisten(listener, true);
    char *left = told_of_group("group");
    assert_non_null(strstr(left, "slow-dog:1"));
    assert_null(strstr(left, "p1"));
    free(left);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledges_and_counts_what_was_trimmed),
        cmocka_unit_test(tells_of_what_was_trimmed_unread),
        cmocka_unit_test(counts_what_was_lost_once_for_all_processes),
        cmocka_unit_test(counts_what_the_group_has_read_past),
        cmocka_unit_test(renewing_does_not_hide_what_was_trimmed),
        cmocka_unit_test(makes_a_vanished_group_again),
        cmocka_unit_test(leaves_other_services_groups_alone),
        cmocka_unit_test(a_group_stays_while_others_listen_in_it),
    };
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
