/* Groups of a local bus that nobody will come back to: they go, those of living and of named listeners stay,
 * and none of them makes the folder grow. */
#include "worker.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/local_folder.h"
#include "transports/local/instance.h"
#include "transports/local/local.h"
#include "transports/local/presence.h"

static const lb_api shop = {.name = "shop",
                            .members = (const lb_member[]){LB_EVENT("ordered(text: str)"), LB_END}};

static char *folder, url[300];

static int folder_setup(void **state)
{
    (void)state;
    folder = temporary_directory();
    snprintf(url, sizeof url, "local://%s/bus?max_stream_length=100", folder);
    return 0;
}

static int folder_teardown(void **state)
{
    (void)state;
    remove_directory(folder);
    free(folder);
    return 0;
}

#define folder_test(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)

static lb_status ignore(const lb_event *event, void *data)
{
    (void)event, (void)data;
    return LB_OK;
}

static lb_status hold(const lb_event *event, void *data)
{
    (void)event;
    shared_set(data, 1);
    while (shared_get(data))
        support_nap();
    return LB_OK;
}

/* A running listener; `service` NULL: of a random name. */
static lb_bus *listen_as(const char *service, lb_event_handler handler, void *data, unsigned flags)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = url, .service_name = service}, &error);
    assert_non_null(bus);
    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    assert_ok(
        lb_listen(bus, "shop.ordered", "stock", handler, data, &(lb_listen_options){.flags = flags}, &error),
        &error);
    assert_ok(lb_start(bus, &error), &error);
    return bus;
}

static void fire(int count)
{
    lb_error error = {0};
    lb_bus *bus = client_open(url, 0);
    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    for (int n = 0; n < count; n++)
        assert_ok(lb_fire(bus, "shop.ordered", LB_ARGS(LB("text", "of some length")), &error), &error);
    lb_close(bus);
}

typedef struct victim {
    const char *service;
    int handling; /* an event is in its hands */
} victim;

static int listen_until_killed(void *data)
{
    victim *v = data;
    listen_as(v->service, hold, &v->handling, 0);
    while (shared_get(&v->handling) >= 0)
        support_nap();
    return 0;
}

/* A listener in a process of its own, with an event in its hands. */
static pid_t start_a_listener(const char *service)
{
    victim *v = shared_memory(sizeof *v);
    v->service = service;
    pid_t pid = child_start(listen_until_killed, v);
    for (int64_t end = support_now_ms() + PATIENCE_MS; !shared_get(&v->handling) && support_now_ms() < end;)
        fire(1);
    assert_int_equal(shared_get(&v->handling), 1);
    return pid;
}

static void kill_listener(pid_t pid)
{
    child_kill(pid, SIGKILL);
    child_wait(pid, 10000);
}

/* What `lightbus local info` says of the stream's groups. */
static lb_value *groups_now(void)
{
    buffer json = {0};
    lb_error error = {0};
    lb_value *info = NULL;
    assert_ok(local_folder_info(url, &json, &error), &error);
    assert_ok(lb_value_parse(json.data, json.size, &info, &error), &error);
    buffer_free(&json);
    return info;
}

static const lb_value *group_at(const lb_value *info, size_t n)
{
    return lb_value_at(lb_value_get(lb_value_at(lb_value_get(info, "streams"), 0), "groups"), n);
}

static size_t count_groups(void)
{
    lb_value *info = groups_now();
    size_t count = 0;
    while (group_at(info, count))
        count++;
    lb_value_free(info);
    return count;
}

static void sweep(int64_t idle_ms, int64_t ttl_ms)
{
    local_options o;
    store *s;
    lb_error error = {0};
    assert_ok(local_options_parse(&o, url, &error), &error);
    assert_ok(store_open(&o, 0, &s, &error), &error);
    assert_ok(presence_sweep(s, false, idle_ms, ttl_ms, &error), &error);
    store_close(s);
}

/* ---- Temporary groups ------------------------------------------------------------------------------- */

static void a_group_of_a_random_service_goes_with_its_process(void **state)
{
    (void)state;
    lb_bus *bus = listen_as(NULL, ignore, NULL, 0);
    lb_value *info = groups_now();
    assert_true(lb_value_bool(lb_value_get(group_at(info, 0), "temporary")));
    assert_int_equal(lb_value_int(lb_value_get(group_at(info, 0), "listeners")), 1);
    lb_value_free(info);
    lb_close(bus);
    assert_int_equal(count_groups(), 0);
}

static void what_killed_processes_leave_is_removed_by_the_living(void **state)
{
    (void)state;
    pid_t living = start_a_listener(NULL), named = start_a_listener("named");
    for (int i = 0; i < 3; i++)
        kill_listener(start_a_listener(NULL));
    assert_int_equal(count_groups(), 5);
    sweep(0, 0);
    assert_int_equal(count_groups(), 2);
    kill_listener(living);
    kill_listener(named);
    assert_int_equal(count_groups(), 1); /* looking opens the folder alone */
}

static void who_opens_the_folder_alone_removes_what_killed_processes_left(void **state)
{
    (void)state;
    uint64_t before, after;
    lb_error error = {0};
    for (int i = 0; i < 3; i++)
        kill_listener(start_a_listener(NULL));
    kill_listener(start_a_listener("named"));
    assert_ok(local_folder_compact(url, &before, &after, &error), &error);
    lb_value *info = groups_now();
    assert_string_equal(lb_value_str(lb_value_get(group_at(info, 0), "name")), "named-stock");
    assert_int_equal(lb_value_int(lb_value_get(group_at(info, 0), "listeners")), 0);
    assert_true(lb_value_int(lb_value_get(group_at(info, 0), "pending")) > 0); /* S11: for its next start */
    assert_null(group_at(info, 1));
    lb_value_free(info);
}

static void a_temporary_listener_of_a_named_service_goes_too(void **state)
{
    (void)state;
    lb_close(listen_as("named", ignore, NULL, LB_LISTEN_TEMPORARY));
    assert_int_equal(count_groups(), 0);
}

/* ---- Groups without a listener ---------------------------------------------------------------------- */

static void a_named_group_is_kept_for_its_time(void **state)
{
    (void)state;
    lb_close(listen_as("named", ignore, NULL, 0));
    sweep(600, 1000);
    assert_int_equal(count_groups(), 1);
    lb_close(listen_as("named", ignore, NULL, 0)); /* from then on it counts anew */
    sweep(600, 1000);
    assert_int_equal(count_groups(), 1);
    sweep(600, 0); /* for ever */
    assert_int_equal(count_groups(), 1);
    sweep(600, 1000);
    assert_int_equal(count_groups(), 0);
}

static char removed[300];

static void keep_removed(lb_log_level level, const char *message, void *data)
{
    (void)level, (void)data;
    if (strstr(message, "is removed"))
        snprintf(removed, sizeof removed, "%s", message);
}

/* S16 */
static void what_goes_with_a_group_is_told(void **state)
{
    (void)state;
    lb_close(listen_as("named", ignore, NULL, 0));
    fire(3);
    lb_log_set_level(LB_LOG_WARNING);
    lb_log_to(keep_removed, NULL);
    lb_log_set_level(LB_LOG_WARNING);
    sweep(2000, 1000);
    lb_log_set_level(LB_LOG_ERROR);
    lb_log_to(NULL, NULL);
    lb_log_set_level(LB_LOG_ERROR);
    assert_int_equal(count_groups(), 0);
    assert_contains(removed, "named-stock is removed");
    assert_contains(removed, "3 events not handled");
}

static void a_listener_that_lives_keeps_its_group(void **state)
{
    (void)state;
    lb_bus *bus = listen_as("named", ignore, NULL, 0), *again = listen_as("named", ignore, NULL, 0);
    lb_close(again);
    sweep(5000, 1000);
    assert_int_equal(count_groups(), 1);
    lb_close(bus);
}

/* ---- Size ------------------------------------------------------------------------------------------- */

/* S16: trimming waits for no group. */
static void groups_that_are_behind_do_not_make_the_folder_grow(void **state)
{
    (void)state;
    char path[300];
    struct stat about;
    lb_bus *named = listen_as("behind", ignore, NULL, 0);
    lb_close(named);
    kill_listener(start_a_listener(NULL));
    fire(3000);
    lb_value *info = groups_now();
    assert_in_range(lb_value_int(lb_value_get(lb_value_at(lb_value_get(info, "streams"), 0), "length")), 100,
                    110);
    lb_value_free(info);
    snprintf(path, sizeof path, "%s/bus/events", folder);
    assert_int_equal(stat(path, &about), 0);
    assert_true(about.st_size < 4 << 20);
}

/* ---- Batches ---------------------------------------------------------------------------------------- */

static void *transport_open(void)
{
    void *self;
    lb_error error = {0};
    lb_transport_config how = {.size = sizeof how, .url = url, .service_name = "tests", .process_name = "p"};
    assert_ok(local_transport.open(&how, &self, &error), &error);
    return self;
}

/* Takes what there is; the size of the largest batch. */
static size_t take_all(void *self, const char *consumer, size_t wanted, void **listener)
{
    const lb_event_transport *t = local_transport.event;
    const lb_event_message *events;
    size_t count, all = 0, most = 0;
    lb_error error = {0};
    lb_slice api = {"shop", 4}, event = {"ordered", 7};
    lb_listener_config config = {
        .group = "g", .consumer = consumer, .api_names = &api, .event_names = &event, .count = 1, .since = "0"};
    assert_ok(t->listen(self, &config, 0, listener, &error), &error);
    while (all < wanted) {
        assert_ok(t->fetch(*listener, 1000, clock_in_ms(PATIENCE_MS), &events, &count, &error), &error);
        assert_true(count > 0);
        all += count;
        most = count > most ? count : most;
    }
    assert_int_equal(all, wanted);
    return most;
}

/* S32: what a process had in hand comes back in batches of some megabytes, too. */
static void s32_large_events_come_back_in_batches(void **state)
{
    (void)state;
    enum { EVENTS = 90, BYTES = 200000 };
    static char text[BYTES];
    void *self, *listeners[3];
    lb_error error = {0};
    memset(text, '1', sizeof text);
    snprintf(url, sizeof url, "local://%s/bus?acknowledgement_timeout=0.05&reclaim_interval=0.01", folder);
    self = transport_open();
    lb_kwarg large = {.name = {"text", 4}, .json = {text, sizeof text}};
    lb_event_message event = {.id = {"1", 1},
                              .api_name = {"shop", 4},
                              .event_name = {"ordered", 7},
                              .kwargs = &large,
                              .kwargs_count = 1};
    for (int n = 0; n < EVENTS; n++)
        assert_ok(local_transport.event->send(self, (lb_event_message *const[]){&event}, 1, 0, &error), &error);
    assert_true(take_all(self, "first", EVENTS, &listeners[0]) < EVENTS / 2);
    assert_true(take_all(self, "first", EVENTS, &listeners[1]) < EVENTS / 2);  /* its own */
    assert_true(take_all(self, "second", EVENTS, &listeners[2]) < EVENTS / 2); /* those of another */
    for (int i = 0; i < 3; i++)
        local_transport.event->unlisten(listeners[i], false);
    local_transport.close(self);
}

/* ---- Logs ------------------------------------------------------------------------------------------- */

typedef struct log_seen {
    store *s;
    int lost, removed, guarded;
} log_seen;

/* A log may block: nobody else could write meanwhile. */
static void look_at_guard(lb_log_level level, const char *message, void *data)
{
    log_seen *seen = data;
    pthread_mutex_t *guard = &seen->s->shared->guards[STORE_EVENTS].mutex;
    (void)level;
    seen->lost += strstr(message, "were lost") != NULL;
    seen->removed += strstr(message, "is removed") != NULL;
    if (pthread_mutex_trylock(guard) == 0)
        pthread_mutex_unlock(guard);
    else
        seen->guarded++;
}

static void nothing_is_logged_in_the_middle_of_a_transaction(void **state)
{
    (void)state;
    void *self = transport_open(), *listener;
    const lb_event_transport *t = local_transport.event;
    const lb_event_message *events;
    size_t count;
    lb_error error = {0};
    lb_slice api = {"shop", 4}, name = {"ordered", 7};
    lb_event_message event = {.id = {"1", 1}, .api_name = api, .event_name = name};
    lb_listener_config config = {
        .group = "g", .consumer = "c", .api_names = &api, .event_names = &name, .count = 1};
    assert_ok(t->listen(self, &config, 0, &listener, &error), &error);
    for (int n = 0; n < 500; n++)
        assert_ok(t->send(self, (lb_event_message *const[]){&event}, 1, 0, &error), &error);
    log_seen seen = {.s = ((local_bus *)self)->store};
    lb_log_set_level(LB_LOG_WARNING);
    lb_log_to(look_at_guard, &seen);
    assert_ok(t->fetch(listener, 10, 0, &events, &count, &error), &error);
    t->unlisten(listener, false);
    assert_ok(presence_sweep(seen.s, false, 1000, 1, &error), &error);
    lb_log_to(NULL, NULL);
    lb_log_set_level(LB_LOG_ERROR);
    assert_int_equal(seen.lost, 1);
    assert_int_equal(seen.removed, 1);
    assert_int_equal(seen.guarded, 0);
    local_transport.close(self);
}

int main(void)
{
    unsetenv("LIGHTBUS_SERVICE_NAME");
    lb_log_set_level(LB_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        folder_test(a_group_of_a_random_service_goes_with_its_process),
        folder_test(what_killed_processes_leave_is_removed_by_the_living),
        folder_test(who_opens_the_folder_alone_removes_what_killed_processes_left),
        folder_test(a_temporary_listener_of_a_named_service_goes_too),
        folder_test(a_named_group_is_kept_for_its_time),
        folder_test(what_goes_with_a_group_is_told),
        folder_test(a_listener_that_lives_keeps_its_group),
        folder_test(groups_that_are_behind_do_not_make_the_folder_grow),
        folder_test(s32_large_events_come_back_in_batches),
        folder_test(nothing_is_logged_in_the_middle_of_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
