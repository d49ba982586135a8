/* internal_state and internal_metrics: their events beside those that Python Lightbus was recorded with, their
 * statistics, and what they do when they are switched off or cannot fire. */
#include "worker.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

typedef struct stage {
    redis_server *redis;
    char *folder;
    lb_value *recorded;
    int handled;
} stage;

/* ---- The recorded service ------------------------------------------------------------------------------ */

static lb_status check_password(lb_request *request, void *data)
{
    (void)data;
    const char *username = lb_get_str(request, "username");
    if (strcmp(username, "nobody") == 0)
        return lb_fail(request, "UserNotFound", "no user %s", username);
    if (strcmp(username, "slow") == 0)
        sleep_ms(300);
    return lb_return(request,
                     strcmp(username, "admin") == 0 && strcmp(lb_get_str(request, "password"), "secret") == 0);
}

static lb_status on_reg(const lb_event *event, void *data)
{
    bool fails = strcmp(lb_get_str(event, "username"), "unlucky") == 0;
    shared_add(data, 1);
    return fails ? LB_REJECT : LB_OK;
}

static const lb_member members[] = {
    LB_RPC("check_password(username: str, password: str) -> bool", check_password),
    LB_EVENT("user_registered(username: str, email: str, is_admin: bool = false)"),
    LB_END,
};
static const lb_api auth = {.name = "my_company.auth", .members = members};

/* As in Python: listeners are registered when the worker starts. */
static lb_status listen_at_start(lb_occasion *o, void *data, lb_error *error)
{
    return lb_listen(lb_occasion_bus(o), "my_company.auth.user_registered", "on_reg", on_reg, data, NULL,
                     error);
}

static lb_bus *open_bus(const stage *s, const char *service, const char *process, const char *plugins)
{
    char config[300];
    lb_error error = {0};
    write_file(s->folder, "c.yaml", plugins);
    snprintf(config, sizeof config, "%s/c.yaml", s->folder);
    lb_bus *bus = lb_open(&(lb_options){.url = s->redis->url,
                                        .service_name = service,
                                        .process_name = process,
                                        .config = config,
                                        .rpc_timeout_ms = 3000,
                                        .event_fire_timeout_ms = 2000},
                          &error);
    if (!bus)
        fail_msg("%s", error.message);
    return bus;
}

static lb_bus *open_worker(stage *s, const char *plugins)
{
    lb_error error = {0};
    lb_bus *bus = open_bus(s, "auth", "p1", plugins);
    assert_ok(lb_register(bus, &auth, NULL, &error), &error);
    assert_ok(lb_hook(bus, LB_HOOK_ON_START, listen_at_start, &s->handled, NULL, &error), &error);
    return bus;
}

static void start(lb_bus *bus)
{
    lb_error error = {0};
    assert_ok(lb_start(bus, &error), &error);
}

static void stop(lb_bus *bus)
{
    lb_error error = {0};
    assert_ok(lb_stop(bus, -1, &error), &error);
}

static lb_status check(lb_bus *bus, const char *username)
{
    lb_error error = {0};
    return lb_call(bus, "my_company.auth.check_password",
                   LB_ARGS(LB("username", username), LB("password", "secret")), NULL, &error);
}

static void reg(lb_bus *bus, const char *username)
{
    lb_error error = {0};
    assert_ok(lb_fire(bus, "my_company.auth.user_registered",
                      LB_ARGS(LB("username", username), LB("email", "admin@example.com")), &error),
              &error);
}

/* ---- What was fired ------------------------------------------------------------------------------------ */

/* The stored events of an API, oldest first: [{"event", "version", "arguments"}], as in the recording; owned.
 */
static lb_value *stored(const stage *s, const char *api)
{
    lb_bus *bus = client_open(s->redis->url, 3000);
    lb_error error = {0};
    char events[80], *text = calloc(1, 1 << 18);
    const lb_event *event;
    lb_value *list;
    size_t used = 1;
    snprintf(events, sizeof events, "%s.*", api);
    lb_history *h =
        lb_history_open(bus, events, &(lb_history_options){.flags = LB_HISTORY_OLDEST_FIRST}, &error);
    assert_non_null(h);
    text[0] = '[';
    for (;;) {
        assert_ok(lb_history_next(h, &event, &error), &error);
        if (!event)
            break;
        used += (size_t)sprintf(text + used, "%s{\"event\":\"%s\",\"version\":%d,\"arguments\":{",
                                used > 1 ? "," : "", lb_event_name(event), lb_event_version(event));
        for (const lb_arg *arg = lb_args(event); arg->name; arg++) {
            char *value = lb_value_json(arg->value.as.value, NULL);
            used +=
                (size_t)sprintf(text + used, "%s\"%s\":%s", text[used - 1] == '{' ? "" : ",", arg->name, value);
            free(value);
        }
        used += (size_t)sprintf(text + used, "}}");
    }
    text[used] = ']';
    assert_ok(lb_value_parse(text, used + 1, &list, &error), &error);
    lb_history_close(h);
    lb_close(bus);
    free(text);
    return list;
}

static size_t count_stored(const stage *s, const char *api, const char *event)
{
    lb_value *list = stored(s, api);
    size_t count = 0;
    for (lb_value_iterator it = lb_value_iterate(list); lb_value_next(&it);)
        count += strcmp(lb_value_str(lb_value_get(it.value, "event")), event) == 0;
    lb_value_free(list);
    return count;
}

/* The first event of that name (and process, or NULL) in a list; fails the test if there is none. */
static const lb_value *find(const lb_value *list, const char *event, const char *process)
{
    for (lb_value_iterator it = lb_value_iterate(list); lb_value_next(&it);) {
        const lb_value *arguments = lb_value_get(it.value, "arguments");
        if (strcmp(lb_value_str(lb_value_get(it.value, "event")), event) == 0 &&
            (!process || strcmp(lb_value_str(lb_value_get(arguments, "service_name")), process) == 0))
            return it.value;
    }
    fail_msg("no event %s", event);
    return NULL;
}

static bool is_one_of(const char *name, const char *const *list)
{
    for (; list && *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

static void assert_json(const lb_value *value, const char *expected)
{
    char *text = lb_value_json(value, NULL);
    assert_string_equal(text, expected);
    free(text);
}

/* Each recorded argument is there, of the same type, and equal unless it is in `differing`; others are in
 * `more`. */
static void compare(const lb_value *recorded, const lb_value *ours, const char *const *differing,
                    const char *const *more)
{
    const lb_value *theirs = lb_value_get(recorded, "arguments"), *mine = lb_value_get(ours, "arguments");
    const char *event = lb_value_str(lb_value_get(recorded, "event"));
    assert_string_equal(lb_value_str(lb_value_get(ours, "event")), event);
    assert_true(lb_value_equal(lb_value_get(recorded, "version"), lb_value_get(ours, "version")));
    for (lb_value_iterator it = lb_value_iterate(theirs); lb_value_next(&it);) {
        const lb_value *value = lb_value_get(mine, it.name);
        if (!value)
            fail_msg("%s lacks %s", event, it.name);
        if (lb_value_type_of(value) != lb_value_type_of(it.value))
            fail_msg("%s: %s is of another type", event, it.name);
        if (!is_one_of(it.name, differing) && !lb_value_equal(value, it.value))
            fail_msg("%s: %s is another one", event, it.name);
    }
    for (lb_value_iterator it = lb_value_iterate(mine); lb_value_next(&it);)
        if (!lb_value_get(theirs, it.name) && !is_one_of(it.name, more))
            fail_msg("%s has %s besides", event, it.name);
}

/* ---- internal_state ------------------------------------------------------------------------------------ */

#define STATE "plugins: {internal_state: {enabled: true, ping_interval: 1}}\n"

static void the_state_is_told_as_by_python(void **state)
{
    stage *s = *state;
    static const char *const differing[] = {"timestamp", "hostname", "pid", "max_memory_use", NULL};
    static const char *const at_start[] = {"timestamp",      "hostname",      "pid",
                                           "max_memory_use", "listening_for", NULL};
    static const char *const more[] = {"started", "statistics", NULL};
    static const char *const at_end[] = {"timestamp", "started", "statistics", NULL};
    const lb_value *theirs = lb_value_get(s->recorded, "internal.state");
    lb_bus *bus = open_worker(s, STATE);
    start(bus);
    wait_until(count_stored(s, "internal.state", "worker_ping") >= 2, PATIENCE_MS);
    stop(bus);
    lb_value *ours = stored(s, "internal.state");
    size_t count = lb_value_count(ours);
    for (size_t i = 0; i < count; i++)
        compare(lb_value_at(theirs, i == 0          ? 0
                                    : i < count - 1 ? 1
                                                    : 3),
                lb_value_at(ours, i), i == 0 ? at_start : differing, i < count - 1 ? more : at_end);
    const lb_value *first = lb_value_get(lb_value_at(ours, 0), "arguments");
    const lb_value *last = lb_value_get(lb_value_at(ours, count - 1), "arguments");
    /* Python's list is empty here, since its plugin speaks before the listeners are registered */
    assert_json(lb_value_get(first, "listening_for"), "[\"my_company.auth.user_registered\"]");
    assert_int_equal(lb_value_int(lb_value_get(first, "pid")), getpid());
    assert_true(lb_value_int(lb_value_get(first, "max_memory_use")) > 100);
    double started = lb_value_float(lb_value_get(first, "started")), now = (double)time(NULL);
    assert_true(started > now - 120 && started < now + 2);
    assert_true(lb_value_float(lb_value_get(first, "timestamp")) >= started);
    assert_true(lb_value_float(lb_value_get(last, "timestamp")) > started + 2); /* after two pings */
    assert_true(lb_value_equal(lb_value_get(first, "started"), lb_value_get(last, "started")));
    lb_value_free(ours);
    lb_close(bus);
}

static int64_t total(const lb_value *latency)
{
    int64_t sum = 0;
    double last = 0;
    for (lb_value_iterator it = lb_value_iterate(latency); lb_value_next(&it);) {
        sum += lb_value_int(lb_value_at(it.value, 1));
        assert_true(lb_value_float(lb_value_at(it.value, 0)) > last); /* in order */
        last = lb_value_float(lb_value_at(it.value, 0));
    }
    return sum;
}

static void the_state_tells_what_was_done(void **state)
{
    stage *s = *state;
    lb_bus *bus = open_worker(s, STATE), *client = client_open(s->redis->url, 3000);
    start(bus);
    for (int i = 0; i < 7; i++)
        assert_int_equal(check(client, i < 4 ? "admin" : "nobody"), i < 4 ? LB_OK : LB_REMOTE_ERROR);
    assert_int_equal(check(client, "slow"), LB_OK);
    for (int i = 0; i < 5; i++)
        reg(bus, i < 3 ? "admin" : "unlucky");
    wait_until(shared_get(&s->handled) == 5, PATIENCE_MS);
    stop(bus);
    lb_value *ours = stored(s, "internal.state");
    const lb_value *last = lb_value_get(find(ours, "worker_stopped", NULL), "arguments");
    const lb_value *statistics = lb_value_get(last, "statistics");
    const lb_value *rpc = lb_value_get(lb_value_get(statistics, "rpcs"), "my_company.auth.check_password");
    const lb_value *event = lb_value_get(lb_value_get(statistics, "events"), "my_company.auth.user_registered");
    assert_int_equal(lb_value_count(lb_value_get(statistics, "rpcs")), 1);
    assert_int_equal(lb_value_count(lb_value_get(statistics, "events")), 1); /* its own are left out */
    assert_int_equal(lb_value_int(lb_value_get(rpc, "calls")), 8);
    assert_int_equal(lb_value_int(lb_value_get(rpc, "errors")), 3);
    assert_true(lb_value_float(lb_value_get(rpc, "busy")) >= 0.3);
    assert_int_equal(total(lb_value_get(rpc, "latency")), 8);
    assert_int_equal(lb_value_int(lb_value_get(event, "fired")), 5);
    assert_int_equal(lb_value_int(lb_value_get(event, "handled")), 3);
    assert_int_equal(lb_value_int(lb_value_get(event, "failed")), 2);
    assert_int_equal(total(lb_value_get(event, "latency")), 5);
    lb_value_free(ours);
    lb_close(client);
    lb_close(bus);
}

static void pings_can_be_switched_off(void **state)
{
    stage *s = *state;
    lb_bus *bus =
        open_worker(s, "plugins: {internal_state: {enabled: true, ping_enabled: false, ping_interval: 1}}\n");
    start(bus);
    wait_until(count_stored(s, "internal.state", "worker_started") == 1, PATIENCE_MS);
    sleep_ms(1300); /* longer than an interval */
    stop(bus);      /* which ended Python's worker with an error */
    lb_value *ours = stored(s, "internal.state");
    assert_int_equal(lb_value_count(ours), 2);
    assert_false(lb_value_bool(lb_value_get(lb_value_get(lb_value_at(ours, 0), "arguments"), "ping_enabled")));
    lb_value_free(ours);
    lb_close(bus);
}

static void the_state_is_told_without_tasks_too(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    lb_bus *bus = open_worker(s, STATE);
    assert_ok(lb_start_with(bus, LB_RUN_NO_TASKS, &error), &error);
    wait_until(count_stored(s, "internal.state", "worker_ping") >= 1, PATIENCE_MS);
    stop(bus);
    lb_close(bus);
}

static void a_plugin_alone_is_no_worker(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    lb_bus *bus = open_bus(s, "auth", "p1", STATE);
    assert_status(lb_start(bus, &error), LB_USAGE, &error);
    lb_close(bus);
    assert_int_equal(count_stored(s, "internal.state", "worker_stopped"), 0);
}

/* Its last word would take a minute. */
static void a_dead_server_does_not_keep_a_worker_from_stopping(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    char config[300];
    write_file(s->folder, "c.yaml", STATE);
    snprintf(config, sizeof config, "%s/c.yaml", s->folder);
    lb_bus *bus =
        lb_open(&(lb_options){.url = s->redis->url, .config = config, .event_fire_timeout_ms = 60000}, &error);
    assert_ok(lb_register(bus, &auth, NULL, &error), &error);
    start(bus);
    wait_until(count_stored(s, "internal.state", "worker_started") == 1, PATIENCE_MS);
    redis_server_down(s->redis);
    int64_t began = support_now_ms();
    lb_status status = lb_stop(bus, 3000, &error);
    assert_true(support_now_ms() - began < 3000 + SLACK_MS);
    assert_true(status == LB_OK || status == LB_TIMEOUT);
    lb_close(bus);
}

/* The worker does not fail because of it, and pings again when the server is back. */
static void an_outage_costs_pings_alone(void **state)
{
    stage *s = *state;
    lb_bus *bus = open_worker(s, STATE);
    start(bus);
    wait_until(count_stored(s, "internal.state", "worker_ping") >= 1, PATIENCE_MS);
    redis_server_down(s->redis);
    sleep_ms(1500);
    redis_server_up(s->redis);
    size_t before = count_stored(s, "internal.state", "worker_ping");
    wait_until(count_stored(s, "internal.state", "worker_ping") > before, PATIENCE_MS);
    stop(bus);
    lb_close(bus);
}

/* ---- Beside Python ------------------------------------------------------------------------------------- */

static int warnings;

static void count_warnings(lb_log_level level, const char *message, void *data)
{
    (void)data;
    if (level >= LB_LOG_WARNING) {
        shared_add(&warnings, 1);
        fprintf(stderr, "%s\n", message);
    }
}

static lb_status hear(const lb_event *event, void *data)
{
    (void)event;
    shared_add(data, 1);
    return LB_OK;
}

/* Fires it with exactly its arguments. */
static void fire_recorded(lb_bus *bus, const lb_value *recorded)
{
    char name[80];
    lb_arg args[20];
    size_t count = 0;
    lb_error error = {0};
    snprintf(name, sizeof name, "internal.state.%s", lb_value_str(lb_value_get(recorded, "event")));
    for (lb_value_iterator it = lb_value_iterate(lb_value_get(recorded, "arguments")); lb_value_next(&it);)
        args[count++] = lb_arg_make(it.name, lb_datum_value(it.value));
    args[count] = lb_arg_make(NULL, LB_NULL);
    assert_ok(lb_fire(bus, name, args, &error), &error);
}

/* Another worker is a Python one: its events are understood, and its schema is no cause for a warning. */
static void events_of_python_are_understood(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    int heard = 0;
    const lb_value *theirs = lb_value_get(s->recorded, "internal.state");
    char *schema = lb_value_json(lb_value_get(s->recorded, "internal.state schema"), NULL);
    lb_value_free(redis_command(s->redis, "SET", "schema:internal.state", schema, NULL));
    lb_value_free(redis_command(s->redis, "SADD", "schemas", "internal.state", NULL));
    free(schema);
    lb_bus *bus = open_worker(s, "plugins: {internal_state: {enabled: true}}\n");
    assert_ok(lb_listen(bus, "internal.state.*", "watch", hear, &heard, NULL, &error), &error);
    shared_set(&warnings, 0);
    lb_log_to(count_warnings, NULL);
    start(bus);
    lb_bus *python = lb_open(
        &(lb_options){.url = s->redis->url, .flags = LB_OPEN_NO_OUTGOING_VALIDATION, .service_name = "python"},
        &error);
    for (lb_value_iterator it = lb_value_iterate(theirs); lb_value_next(&it);)
        fire_recorded(python, it.value);
    lb_close(python);
    wait_until(shared_get(&heard) >= 5, PATIENCE_MS); /* four, and our own worker_started */
    stop(bus);
    lb_close(bus);
    lb_log_to(NULL, NULL);
    assert_int_equal(shared_get(&warnings), 0);
}

/* ---- internal_metrics ---------------------------------------------------------------------------------- */

#define METRICS "plugins: {internal_metrics: {enabled: true}}\n"

typedef struct trio {
    lb_bus *worker, *listener, *client;
} trio;

static trio start_trio(stage *s, const char *plugins)
{
    lb_error error = {0};
    trio t = {open_bus(s, "auth", "p1", plugins), open_bus(s, "mailer", "p1", plugins),
              open_bus(s, "client", "c1", plugins)};
    assert_ok(lb_register(t.worker, &auth, NULL, &error), &error);
    assert_ok(
        lb_listen(t.listener, "my_company.auth.user_registered", "on_reg", on_reg, &s->handled, NULL, &error),
        &error);
    start(t.worker);
    start(t.listener);
    return t;
}

static void stop_trio(trio t)
{
    stop(t.listener);
    stop(t.worker);
    lb_close(t.client);
    lb_close(t.listener);
    lb_close(t.worker);
}

static void calls_and_events_are_told_as_by_python(void **state)
{
    stage *s = *state;
    static const char *const differing[] = {"id", "event_id", "timestamp", NULL};
    static const char *const with_defaults[] = {"event_id", "timestamp", "kwargs", NULL};
    static const char kwargs[] = "{\"username\":\"admin\",\"email\":\"admin@example.com\",\"is_admin\":false}";
    const lb_value *theirs = lb_value_get(s->recorded, "internal.metrics");
    lb_value *filled;
    assert_int_equal(lb_value_parse(kwargs, sizeof kwargs - 1, &filled, NULL), LB_OK);
    trio t = start_trio(s, METRICS);
    assert_int_equal(check(t.client, "admin"), LB_OK);
    reg(t.client, "admin");
    wait_until(count_stored(s, "internal.metrics", "event_processed") == 1, PATIENCE_MS);
    stop_trio(t);
    lb_value *ours = stored(s, "internal.metrics");
    assert_int_equal(lb_value_count(ours), lb_value_count(theirs));
    for (lb_value_iterator it = lb_value_iterate(theirs); lb_value_next(&it);) {
        const char *name = lb_value_str(lb_value_get(it.value, "event"));
        const lb_value *event = find(ours, name, NULL);
        bool received = strcmp(name, "event_received") == 0 || strcmp(name, "event_processed") == 0;
        compare(it.value, event, received ? with_defaults : differing, NULL);
        if (received) /* our receivers fill in what is not there */
            assert_true(lb_value_equal(lb_value_get(lb_value_get(event, "arguments"), "kwargs"), filled));
    }
    /* the calls' id ties them together; the events' id is the real one */
    static const char *const calls[] = {"rpc_call_sent", "rpc_call_received", "rpc_response_sent",
                                        "rpc_response_received"};
    const lb_value *id = lb_value_get(lb_value_get(find(ours, calls[0], NULL), "arguments"), "id");
    for (int i = 1; i < 4; i++)
        assert_true(
            lb_value_equal(id, lb_value_get(lb_value_get(find(ours, calls[i], NULL), "arguments"), "id")));
    static const char *const about_events[] = {"event_fired", "event_received", "event_processed"};
    lb_value *raw = redis_command(s->redis, "XRANGE", "my_company.auth.*:stream", "-", "+", NULL);
    const lb_value *fields = NULL; /* of the one event; before it comes the entry that makes the stream */
    for (lb_value_iterator it = lb_value_iterate(raw); lb_value_next(&it);)
        if (lb_value_count(lb_value_at(it.value, 1)) > 2)
            fields = lb_value_at(it.value, 1);
    assert_string_equal(lb_value_str(lb_value_at(fields, 0)), "id");
    for (int i = 0; i < 3; i++) {
        const lb_value *arguments = lb_value_get(find(ours, about_events[i], NULL), "arguments");
        assert_true(lb_value_equal(lb_value_get(arguments, "event_id"), lb_value_at(fields, 1)));
    }
    lb_value_free(raw);
    lb_value_free(filled);
    lb_value_free(ours);
}

static void failures_are_told(void **state)
{
    stage *s = *state;
    trio t = start_trio(s, METRICS);
    assert_int_equal(check(t.client, "nobody"), LB_REMOTE_ERROR);
    reg(t.client, "unlucky");
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    stop_trio(t);
    lb_value *ours = stored(s, "internal.metrics");
    const lb_value *answer = lb_value_get(find(ours, "rpc_response_sent", NULL), "arguments");
    assert_json(lb_value_get(answer, "result"), "\"UserNotFound('no user nobody')\"");
    find(ours, "rpc_response_received", "client"); /* an error is a response, too */
    find(ours, "event_received", "mailer");
    lb_value_free(ours);
    assert_int_equal(count_stored(s, "internal.metrics", "event_processed"), 0);
}

static void a_call_without_an_answer_has_no_response(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    trio t = start_trio(s, METRICS);
    lb_pending *call = lb_call_begin(t.client, "my_company.auth.check_password",
                                     LB_ARGS(LB("username", "slow"), LB("password", "x")),
                                     &(lb_call_options){.timeout_ms = 50}, &error);
    assert_status(lb_call_end(call, NULL, &error), LB_TIMEOUT, &error);
    stop_trio(t);
    assert_int_equal(count_stored(s, "internal.metrics", "rpc_call_sent"), 1);
    assert_int_equal(count_stored(s, "internal.metrics", "rpc_response_received"), 0);
}

static void plugins_do_not_tell_of_each_other(void **state)
{
    stage *s = *state;
    trio t = start_trio(s, "plugins: {internal_metrics: {enabled: true}, internal_state: {enabled: true, "
                           "ping_interval: 1}}\n");
    wait_until(count_stored(s, "internal.state", "worker_ping") >= 2, PATIENCE_MS);
    stop_trio(t);
    lb_value *metrics = stored(s, "internal.metrics"), *states = stored(s, "internal.state");
    assert_int_equal(lb_value_count(metrics), 0);
    assert_true(
        lb_value_bool(lb_value_get(lb_value_get(lb_value_at(states, 0), "arguments"), "metrics_enabled")));
    assert_json(lb_value_get(lb_value_get(find(states, "worker_started", "auth"), "arguments"), "api_names"),
                "[\"my_company.auth\"]"); /* nor of their own APIs */
    lb_value_free(metrics);
    lb_value_free(states);
}

static void nothing_is_told_by_default(void **state)
{
    stage *s = *state;
    trio t = start_trio(s, "plugins: {internal_state: {ping_interval: 1}}\n");
    assert_int_equal(check(t.client, "admin"), LB_OK);
    reg(t.client, "admin");
    wait_until(shared_get(&s->handled) == 1, PATIENCE_MS);
    stop_trio(t);
    lb_value *keys = redis_command(s->redis, "KEYS", "*internal*", NULL);
    assert_int_equal(lb_value_count(keys), 0);
    lb_value_free(keys);
}

/* ---- The program --------------------------------------------------------------------------------------- */

static program *lightbus(const stage *s, const char *const *words)
{
    const char *argv[14] = {LIGHTBUS_PROGRAM};
    char bus[200], cache[300];
    snprintf(bus, sizeof bus, "LIGHTBUS_URL=%s", s->redis->url);
    snprintf(cache, sizeof cache, "XDG_CACHE_HOME=%s/cache", s->folder);
    const char *environment[] = {bus, cache, "NO_COLOR=", NULL};
    for (size_t i = 0; words[i]; i++)
        argv[i + 1] = words[i];
    return program_start(argv, environment, s->folder);
}
#define RUN(s, ...)                                                                                            \
    lightbus((s),                                                                                              \
             (const char *const[]){"run", "--bus", TESTS_DIR "/integration/cli_service", __VA_ARGS__, NULL})

static void assert_usage_error(program *p, const char *message)
{
    assert_int_equal(program_wait(p, PATIENCE_MS), 2);
    assert_contains(p->text, message);
    program_free(p);
}

static void a_flag_switches_pings_on(void **state)
{
    stage *s = *state;
    program *p = RUN(s, "--ping-interval", "1");
    program_expect(p, "plugins    internal_state", PATIENCE_MS);
    program_expect(p, "Ready.", PATIENCE_MS);
    wait_until(count_stored(s, "internal.state", "worker_ping") >= 1, PATIENCE_MS);
    child_kill(p->pid, SIGTERM);
    assert_int_equal(program_wait(p, PATIENCE_MS), 0);
    program_free(p);
    assert_int_equal(count_stored(s, "internal.state", "worker_stopped"), 1);
}

static void a_flag_switches_pings_off(void **state)
{
    stage *s = *state;
    write_file(s->folder, "state.yaml", STATE);
    program *p = RUN(s, "--no-ping", "--config", "state.yaml");
    program_expect(p, "Ready.", PATIENCE_MS);
    wait_until(count_stored(s, "internal.state", "worker_started") == 1, PATIENCE_MS);
    sleep_ms(1300);
    child_kill(p->pid, SIGTERM);
    assert_int_equal(program_wait(p, PATIENCE_MS), 0);
    program_free(p);
    assert_int_equal(count_stored(s, "internal.state", "worker_ping"), 0);
}

/* `lightbus listen` looks on: no worker that others should hear of. */
static void looking_on_tells_nothing(void **state)
{
    stage *s = *state;
    lb_bus *bus = open_worker(s, "{plugins: {}}\n");
    start(bus);
    write_file(s->folder, "both.yaml",
               "plugins: {internal_state: {enabled: true}, internal_metrics: {enabled: true}}\n");
    program *p = lightbus(s, (const char *const[]){"listen", "my_company.auth.*", "--config", "both.yaml",
                                                   "--since", "0", "--count", "1", NULL});
    reg(bus, "admin");
    assert_int_equal(program_wait(p, PATIENCE_MS), 0);
    assert_contains(p->text, "admin@example.com");
    program_free(p);
    stop(bus);
    lb_close(bus);
    assert_int_equal(
        redis_int(s->redis, "EXISTS", "internal.state.*:stream", "internal.metrics.*:stream", NULL), 0);
}

static void flags_of_pings_are_checked(void **state)
{
    stage *s = *state;
    assert_usage_error(RUN(s, "--ping-interval", "0"),
                       "--ping-interval: expected whole seconds from 1 to 31536000, got \"0\"");
    assert_usage_error(RUN(s, "--ping-interval", "1.5"), "got \"1.5\"");
    assert_usage_error(RUN(s, "--ping-interval", "99999999999"), "got \"99999999999\"");
    assert_usage_error(RUN(s, "--ping-interval", "5", "--no-ping"),
                       "--ping-interval and --no-ping exclude each other");
}

/* ---- */

static int open_stage(void **state)
{
    stage *s = *state = calloc(1, sizeof *s);
    lb_error error = {0};
    char *text = calloc(1, 1 << 16);
    FILE *file = fopen(TESTS_DIR "/data/plugins/recorded.json", "r");
    assert_non_null(file);
    size_t size = fread(text, 1, (1 << 16) - 1, file);
    fclose(file);
    assert_ok(lb_value_parse(text, size, &s->recorded, &error), &error);
    free(text);
    s->redis = redis_server_start(NULL);
    s->folder = temporary_directory();
    return 0;
}

static int close_stage(void **state)
{
    stage *s = *state;
    redis_server_stop(s->redis);
    lb_value_free(s->recorded);
    free(s->folder);
    free(s);
    return 0;
}

#define stage_test(f) cmocka_unit_test_setup_teardown(f, open_stage, close_stage)

int main(void)
{
    const struct CMUnitTest tests[] = {
        stage_test(a_flag_switches_pings_on),
        stage_test(a_flag_switches_pings_off),
        stage_test(flags_of_pings_are_checked),
        stage_test(looking_on_tells_nothing),
        stage_test(the_state_is_told_as_by_python),
        stage_test(the_state_tells_what_was_done),
        stage_test(pings_can_be_switched_off),
        stage_test(the_state_is_told_without_tasks_too),
        stage_test(a_plugin_alone_is_no_worker),
        stage_test(a_dead_server_does_not_keep_a_worker_from_stopping),
        stage_test(an_outage_costs_pings_alone),
        stage_test(events_of_python_are_understood),
        stage_test(calls_and_events_are_told_as_by_python),
        stage_test(failures_are_told),
        stage_test(a_call_without_an_answer_has_no_response),
        stage_test(plugins_do_not_tell_of_each_other),
        stage_test(nothing_is_told_by_default),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
