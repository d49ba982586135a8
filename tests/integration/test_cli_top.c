/* lightbus top over a real Redis and a local bus: its numbers, what it costs, its screen, its end. */
#include "cli/top.h"
#include "terminal.h"
#include "worker.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

static redis_server *server;
static char *folder;
static char urls[2][160]; /* of the bus that a test uses; emptied before each */

static int open_all(void **state)
{
    (void)state;
    server = redis_server_start(NULL);
    folder = temporary_directory();
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    redis_server_stop(server);
    free(folder);
    return 0;
}

static int empty(void **state)
{
    static int number;
    (void)state;
    lb_value_free(redis_command(server, "FLUSHALL", NULL));
    snprintf(urls[0], sizeof urls[0], "%s", server->url);
    snprintf(urls[1], sizeof urls[1], "local://%s/bus%d", folder, number++);
    return 0;
}

/* ---- A bus with something on it --------------------------------------------------------------------- */

static const lb_member state_members[] = {LB_EVENT("worker_started(...)"), LB_EVENT("worker_ping(...)"),
                                          LB_EVENT("worker_stopped(...)"), LB_END};
static const lb_api state_api = {.name = "internal.state", .members = state_members};

static lb_status check(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, true);
}
static const lb_member auth_members[] = {LB_RPC("check_password(username: str) -> bool", check),
                                         LB_RPC("reset()", check), LB_EVENT("user_registered(n: int)"), LB_END};
static const lb_api auth = {.name = "auth", .members = auth_members};

static lb_bus *reporter(const char *url)
{
    lb_error error = {0};
    lb_bus *bus = client_open(url, 0);
    assert_ok(lb_register(bus, &state_api, NULL, &error), &error);
    return bus;
}

static void tell(lb_bus *bus, const char *event, const char *json)
{
    char name[64];
    lb_error error = {0};
    lb_value *value = NULL;
    lb_arg args[20] = {{0}};
    size_t count = 0;
    snprintf(name, sizeof name, "internal.state.%s", event);
    assert_ok(lb_value_parse(json, strlen(json), &value, &error), &error);
    for (lb_value_iterator it = lb_value_iterate(value); lb_value_next(&it);)
        args[count++] = LB(it.name, it.value);
    assert_ok(lb_fire(bus, name, args, &error), &error);
    lb_value_free(value);
}

/* A ping of a process of service auth; `statistics`: ",\"statistics\": ..." or "". */
static void ping(lb_bus *bus, const char *process, double timestamp, const char *statistics)
{
    char json[2048];
    snprintf(
        json, sizeof json,
        "{\"process_name\":\"%s\",\"service_name\":\"auth\",\"metrics_enabled\":false,\"api_names\":[\"auth\"],"
        "\"listening_for\":[\"auth.user_registered\"],\"timestamp\":%.1f,\"ping_enabled\":true,"
        "\"ping_interval\":60,\"hostname\":\"web1\",\"pid\":4711,\"max_memory_use\":2048,\"started\":900.0%s}",
        process, timestamp, statistics);
    tell(bus, "worker_ping", json);
}

#define STATISTICS(calls, errors, busy, latency)                                                               \
    ",\"statistics\":{\"rpcs\":{\"auth.check_password\":{\"calls\":" #calls ",\"errors\":" #errors             \
    ",\"busy\":" #busy ",\"latency\":" latency "}},\"events\":{\"auth.user_registered\":{\"fired\":" #calls    \
    ",\"handled\":" #errors ",\"failed\":0,\"latency\":[]}}}"

/* Two processes of auth: 100 calls per second each. */
static void tell_of_two(lb_bus *bus)
{
    ping(bus, "p1", 1000, STATISTICS(100, 1, 1.0, "[[0.001,90],[0.01,10]]"));
    ping(bus, "p2", 5000, STATISTICS(0, 0, 0, "[]"));
    ping(bus, "p1", 1002, STATISTICS(300, 5, 2.0, "[[0.001,180],[0.01,110],[0.5,10]]"));
    ping(bus, "p2", 5001, STATISTICS(100, 0, 0.25, "[[0.002,100]]"));
}

static lb_status reject_odd(const lb_event *event, void *data)
{
    (void)data;
    return lb_get_int(event, "n") % 2 ? LB_REJECT : LB_OK;
}

static lb_status serve_auth(lb_bus *bus, void *data, lb_error *error)
{
    lb_status status = lb_register(bus, &auth, NULL, error);
    (void)data;
    return status == LB_OK ? lb_listen(bus, "auth.*", "box", reject_odd, NULL, NULL, error) : status;
}

static pid_t start_auth(const char *url)
{
    return worker_start(&(worker){.url = url, .service = "mail", .setup = serve_auth});
}

static void fire_auth(lb_bus *bus, int count, int n)
{
    lb_error error = {0};
    for (int i = 0; i < count; i++)
        assert_ok(lb_fire(bus, "auth.user_registered", LB_ARGS(LB("n", n)), &error), &error);
}

/* ---- Running ---------------------------------------------------------------------------------------- */

static program *start(const char *const *words)
{
    const char *argv[16] = {LIGHTBUS_PROGRAM, "top"};
    for (size_t i = 0; words[i]; i++)
        argv[i + 2] = words[i];
    return program_start(argv, (const char *const[]){"NO_COLOR=", NULL}, folder);
}
#define TOP(...) start((const char *const[]){__VA_ARGS__, NULL})

/* The first line of its output from `from` on, as JSON. */
static lb_value *json_line(const char *from)
{
    lb_value *value = NULL;
    lb_error error = {0};
    assert_ok(lb_value_parse(from, strcspn(from, "\n"), &value, &error), &error);
    return value;
}

static lb_value *snapshot_of(const char *url)
{
    program *p = TOP("--url", url, "--json", "--once", "--interval", "0.1");
    assert_int_equal(program_wait(p, PATIENCE_MS), 0);
    lb_value *snapshot = json_line(p->text);
    program_free(p);
    return snapshot;
}

/* The row of a table whose `key` is `name`; NULL: there is none. */
static const lb_value *row(const lb_value *snapshot, const char *table, const char *key, const char *name)
{
    for (lb_value_iterator it = lb_value_iterate(lb_value_get(snapshot, table)); lb_value_next(&it);)
        if (strcmp(lb_value_str(lb_value_get(it.value, key)), name) == 0)
            return it.value;
    return NULL;
}

static void assert_number(const lb_value *row, const char *key, double expected)
{
    const lb_value *value = lb_value_get(row, key);
    if (!value || lb_value_type_of(value) == LB_TYPE_NULL || fabs(lb_value_float(value) - expected) > 1e-6)
        fail_msg("%s: expected %g in %s", key, expected, lb_value_json(row, NULL));
}

static void assert_unknown(const lb_value *row, const char *key)
{
    const lb_value *value = lb_value_get(row, key);
    if (!value || lb_value_type_of(value) != LB_TYPE_NULL)
        fail_msg("%s: expected null in %s", key, lb_value_json(row, NULL));
}

/* ---- Numbers ---------------------------------------------------------------------------------------- */

static void rates_are_between_two_reports(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        lb_bus *bus = reporter(urls[i]);
        pid_t pid = start_auth(urls[i]);
        tell_of_two(bus);
        lb_value *s = snapshot_of(urls[i]);
        const lb_value *rpc = row(s, "rpcs", "rpc", "auth.check_password");
        assert_number(rpc, "calls_per_second", 200);
        assert_number(rpc, "failed_calls_per_second", 2);
        assert_number(rpc, "busy", 0.75);
        assert_number(rpc, "p50", 0.002);
        assert_number(rpc, "p95", 0.01);
        assert_number(rpc, "p99", 0.5);
        assert_number(rpc, "processes", 2);
        rpc = row(s, "rpcs", "rpc", "auth.reset"); /* nobody called it */
        assert_number(rpc, "calls_per_second", 0);
        assert_unknown(rpc, "p95");
        const lb_value *event = row(s, "events", "event", "auth.user_registered");
        assert_number(event, "fired_per_second", 200);
        assert_number(event, "handled_per_second", 2);
        const lb_value *service = row(s, "services", "service", "auth");
        assert_number(service, "processes", 2);
        assert_number(service, "calls_per_second", 200);
        assert_number(service, "memory", 2 * 2048 * 1024);
        const lb_value *process = row(s, "processes", "process", "p1");
        assert_number(process, "pid", 4711);
        assert_number(process, "calls_per_second", 100);
        assert_number(process, "p50", 0.01);
        assert_true(lb_value_float(lb_value_get(process, "uptime")) >= 102);
        assert_string_equal(lb_value_str(lb_value_get(process, "host")), "web1");
        assert_string_equal(lb_value_str(lb_value_get(process, "state")), "up");
        const lb_value *api = row(s, "apis", "api", "auth");
        assert_number(api, "processes", 2);
        assert_number(api, "rpcs", 2);
        assert_number(api, "calls_per_second", 200);
        assert_number(api, "p99", 0.5);
        assert_null(row(s, "apis", "api", "internal.state"));
        lb_value_free(s);
        worker_stop(pid);
        lb_close(bus);
    }
}

/* Python's processes tell no statistics; one that began anew has no rates yet; who has stopped is gone. */
static void what_is_not_told_is_not_known(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    ping(bus, "python", 1000, "");
    ping(bus, "python", 1001, "");
    ping(bus, "once", 1000, STATISTICS(100, 1, 1.0, "[]"));
    ping(bus, "anew", 1000, STATISTICS(100, 1, 1.0, "[]"));
    ping(bus, "anew", 1001, STATISTICS(5, 0, 0.1, "[]"));
    ping(bus, "still", 1000, STATISTICS(100, 1, 1.0, "[]"));
    ping(bus, "still", 1000, STATISTICS(200, 1, 1.0, "[]")); /* no time has passed */
    ping(bus, "gone", 1000, "");
    tell(bus, "worker_stopped", "{\"process_name\":\"gone\",\"service_name\":\"auth\"}");
    lb_value *s = snapshot_of(urls[1]);
    static const char *const names[] = {"python", "once", "anew", "still"};
    for (int i = 0; i < 4; i++) {
        const lb_value *process = row(s, "processes", "process", names[i]);
        assert_non_null(process);
        assert_unknown(process, "calls_per_second");
        assert_unknown(process, "p95");
    }
    assert_null(row(s, "processes", "process", "gone"));
    assert_unknown(row(s, "services", "service", "auth"), "calls_per_second");
    lb_value_free(s);
    lb_close(bus);
}

/* S32: whatever somebody puts there. */
static void broken_reports_do_no_harm(void **state)
{
    (void)state;
    static const char *const reports[] = {
        "{}",
        "{\"process_name\":7}",
        "{\"process_name\":\"x\",\"statistics\":7,\"timestamp\":\"now\",\"api_names\":\"auth\"}",
        "{\"process_name\":\"x\",\"statistics\":{\"rpcs\":[1],\"events\":{\"\":null}},\"timestamp\":1}",
        "{\"process_name\":\"x\",\"statistics\":{\"rpcs\":{\"a\":1,\"..\":{},\"b.c\":{\"calls\":[],\"latency\":"
        "7}},"
        "\"events\":{\"b.d\":{\"latency\":[[],[1],[null,3],[2,\"x\"],7]}}},\"timestamp\":2,"
        "\"api_names\":[1,\"\",\"a "
        "b\",\"x.*\",\"..\",null],\"listening_for\":[{},\"nodot\",\".\"],\"pid\":1e300}",
        "{\"process_name\":\"\\u001b[31mred\",\"hostname\":\"\\n\",\"ping_interval\":-5,\"started\":-1e308}",
    };
    for (int i = 0; i < 2; i++) {
        lb_bus *bus = reporter(urls[i]);
        for (int times = 0; times < 2; times++)
            for (size_t r = 0; r < sizeof reports / sizeof *reports; r++)
                tell(bus, "worker_ping", reports[r]);
        tell(bus, "worker_stopped", "{\"process_name\":null}");
        program *p = TOP("--url", urls[i], "--once", "--interval", "0.1");
        assert_int_equal(program_wait(p, PATIENCE_MS), 0);
        assert_contains(p->text, "?[31mred");
        assert_null(strchr(p->text, '\033'));
        program_free(p);
        lb_value_free(snapshot_of(urls[i]));
        lb_close(bus);
    }
}

static void dead_letters(lb_bus *bus, int count)
{
    lb_value *streams = NULL;
    lb_error error = {0};
    int64_t deadline = support_now_ms() + PATIENCE_MS;
    for (bool there = false; !there; support_nap()) {
        assert_ok(lb_streams(bus, "auth.*", &streams, &error), &error);
        there = lb_value_int(lb_value_get(lb_value_at(streams, 0), "dead_letters")) == count;
        lb_value_free(streams);
        assert_true(there || support_now_ms() < deadline);
    }
}

static void listeners_have_their_lag(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        lb_error error = {0};
        lb_bus *bus = client_open(urls[i], 0);
        assert_ok(lb_register(bus, &auth, NULL, &error), &error);
        pid_t pid = start_auth(urls[i]);
        fire_auth(bus, 2, 1);
        fire_auth(bus, 2, 2);
        dead_letters(bus, 2);
        worker_stop(pid);
        fire_auth(bus, 7, 2);
        lb_value *s = snapshot_of(urls[i]);
        const lb_value *listener = row(s, "listeners", "group", "mail-box");
        assert_number(listener, "lag", 7);
        assert_number(listener, "pending", 0);
        assert_number(listener, "dead_letters", 2);
        assert_number(listener, "change_per_second", 0);
        assert_string_equal(lb_value_str(lb_value_get(listener, "api")), "auth");
        const lb_value *api = row(s, "apis", "api", "auth");
        assert_number(api, "stored", 11);
        assert_number(api, "lag", 7);
        assert_number(api, "dead_letters", 2);
        assert_number(api, "listeners", 1);
        assert_number(api, "events_fired_per_second", 0);
        assert_unknown(api, "calls_per_second"); /* nobody tells */
        lb_value_free(s);
        lb_close(bus);
    }
}

static const top_api *api_of(const top_snapshot *s)
{
    assert_int_equal(s->counts[TOP_APIS], 1);
    return (const top_api *)(const void *)s->lists[TOP_APIS];
}

/* Between the least and the most time that can have passed between the two looks. */
static void events_per_second(void **state)
{
    (void)state;
    enum { EVENTS = 200 };
    for (int i = 0; i < 2; i++) {
        lb_error error = {0};
        lb_bus *bus = client_open(urls[i], 0);
        top_snapshot *before, *after;
        pid_t pid = start_auth(urls[i]);
        assert_ok(lb_register(bus, &auth, NULL, &error), &error);
        fire_auth(bus, 3, 2);
        top_collector *c = top_collector_new(bus, false);
        int64_t longest = clock_now();
        assert_ok(top_collect(c, &before, &error), &error);
        int64_t shortest = clock_now();
        assert_true(isnan(api_of(before)->fired));
        fire_auth(bus, EVENTS, 2);
        shortest = clock_now() - shortest;
        assert_ok(top_collect(c, &after, &error), &error);
        longest = clock_now() - longest;
        double rate = api_of(after)->fired / CLOCK_SECOND;
        if (!(rate >= (double)EVENTS / (double)longest && rate <= (double)EVENTS / (double)shortest))
            fail_msg("%g events per second", api_of(after)->fired);
        top_snapshot_free(before);
        top_snapshot_free(after);
        top_collector_free(c);
        worker_stop(pid);
        lb_close(bus);
    }
}

/* ---- A worker that tells of itself ------------------------------------------------------------------- */

static int call_on_and_on(void *url)
{
    lb_bus *bus = client_open(url, 0);
    for (int64_t end = support_now_ms() + 4 * PATIENCE_MS; support_now_ms() < end; support_nap()) {
        lb_error error = {0};
        lb_call(bus, "test.talk.add", LB_ARGS(LB("a", 1)), NULL, &error);
    }
    lb_close(bus);
    return 0;
}

static double rate_of(const lb_value *snapshot)
{
    const lb_value *rpc = row(snapshot, "rpcs", "rpc", "test.talk.add");
    return lb_value_float(lb_value_get(rpc, "calls_per_second"));
}

/* What lightbus run tells with --ping-interval is what top shows. */
static void a_worker_is_watched(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        char host[256] = "";
        lb_value *s = NULL;
        int64_t deadline = support_now_ms() + PATIENCE_MS;
        program *p = program_start((const char *const[]){LIGHTBUS_PROGRAM, "run", "--ping-interval", "1",
                                                         "--bus", TESTS_DIR "/integration/cli_service", "-s",
                                                         "talker", "-p", "t1", "--url", urls[i], NULL},
                                   (const char *const[]){"NO_COLOR=", NULL}, folder);
        program_expect(p, "Ready.", PATIENCE_MS);
        pid_t caller = child_start(call_on_and_on, urls[i]);
        do {
            lb_value_free(s);
            s = snapshot_of(urls[i]);
            assert_true(support_now_ms() < deadline);
        } while (!(rate_of(s) > 0));
        gethostname(host, sizeof host - 1);
        const lb_value *process = row(s, "processes", "process", "t1");
        assert_number(process, "pid", p->pid);
        assert_string_equal(lb_value_str(lb_value_get(process, "service")), "talker");
        assert_string_equal(lb_value_str(lb_value_get(process, "host")), host);
        assert_string_equal(lb_value_str(lb_value_get(process, "state")), "up");
        assert_number(process, "calls_per_second", rate_of(s));
        assert_number(process, "failed_calls_per_second", 0);
        assert_true(lb_value_float(lb_value_get(process, "p95")) > 0);
        assert_true(lb_value_float(lb_value_get(process, "memory")) > 1e6);
        assert_true(lb_value_float(lb_value_get(process, "uptime")) > 0);
        assert_number(process, "listens", 1);
        assert_number(row(s, "apis", "api", "test.talk"), "processes", 1);
        lb_value_free(s);
        child_kill(caller, SIGKILL);
        child_wait(caller, PATIENCE_MS);
        child_kill(p->pid, SIGTERM);
        assert_int_equal(program_wait(p, PATIENCE_MS), 0);
        program_free(p);
        s = snapshot_of(urls[i]);
        assert_null(row(s, "processes", "process", "t1"));
        lb_value_free(s);
    }
}

/* ---- What it prints --------------------------------------------------------------------------------- */

static void text_has_no_escapes(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    tell_of_two(bus);
    program *p = TOP("--url", urls[1], "--count", "2", "--interval", "0.1");
    assert_int_equal(program_wait(p, PATIENCE_MS), 0);
    assert_null(strchr(p->text, '\033'));
    const char *second = strstr(p->text + 1, "lightbus top  ");
    assert_non_null(second);
    assert_contains(second, "\nauth.check_password      200       2.0  2.0ms   10ms  500ms   75%      2\n");
    assert_string_equal(p->text + p->size - 1, "\n");
    program_free(p);
    lb_close(bus);
}

static void how_to_switch_it_on_is_said(void **state)
{
    (void)state;
    program *p = TOP("--url", urls[1], "--once", "--interval", "0.1");
    assert_int_equal(program_wait(p, PATIENCE_MS), 0);
    assert_contains(p->text, "No process tells its state: use lightbus run --ping-interval 5");
    program_free(p);
}

static void it_goes_on_until_a_signal(void **state)
{
    (void)state;
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++) {
        program *p = TOP("--url", urls[i % 2], "--json", "--interval", "0.1");
        program_expect(p, "}\n{", PATIENCE_MS);
        child_kill(p->pid, signals[i]);
        assert_int_equal(program_wait(p, PATIENCE_MS), 0);
        assert_string_equal(p->text + p->size - 2, "}\n"); /* a whole line */
        program_free(p);
    }
}

static void a_reader_that_goes_away_ends_it(void **state)
{
    (void)state;
    char command[400];
    snprintf(command, sizeof command,
             "'%s' top --json --interval 0.1 --url '%s' | head -n 1; echo \"${PIPESTATUS[0]}\"",
             LIGHTBUS_PROGRAM, urls[1]);
    program *p = program_start((const char *const[]){"bash", "-c", command, NULL}, NULL, folder);
    assert_int_equal(program_wait(p, PATIENCE_MS), 0);
    assert_contains(p->text, "}\n0\n");
    program_free(p);
}

static void ends_with(program *p, int code, const char *part)
{
    int got = program_wait(p, PATIENCE_MS);
    if (got != code)
        fail_msg("exit code %d, expected %d: %s", got, code, p->text);
    assert_contains(p->text, part);
    program_free(p);
}

static void wrong_usage(void **state)
{
    (void)state;
    ends_with(TOP("--interval", "0"), 2, "--interval: expected seconds, at least 0.1, got \"0\"");
    ends_with(TOP("--interval", "0.05"), 2, "--interval: expected seconds, at least 0.1");
    ends_with(TOP("--interval", "soon"), 2, "--interval: expected seconds");
    ends_with(TOP("--count", "0"), 2, "--count: expected a whole number above 0");
    ends_with(TOP("--count", "2", "--once"), 2, "give --once or --count, not both");
    ends_with(TOP("everything"), 2, "unexpected argument \"everything\"");
    ends_with(TOP("--jsn"), 2, "unknown flag \"--jsn\"");
    ends_with(TOP("--help"), 0, "Usage: lightbus top [FLAGS]\n");
    ends_with(TOP("--url", "redis://127.0.0.1:1/0", "--once"), 1, "lightbus top: error: redis://127.0.0.1:1: ");
}

/* ---- What it costs ---------------------------------------------------------------------------------- */

static int64_t commands_of(const redis_server *s)
{
    static const char field[] = "total_commands_processed:";
    lb_value *info = redis_command(s, "INFO", "stats", NULL);
    int64_t count = atoll(strstr(lb_value_str(info), field) + strlen(field));
    lb_value_free(info);
    return count;
}

static void runs(const char *url, const char *count)
{
    program *p = TOP("--url", url, "--json", "--interval", "0.1", "--count", count);
    assert_int_equal(program_wait(p, PATIENCE_MS), 0);
    program_free(p);
}

/* A few commands per look, and nothing is left behind. */
static void the_bus_notices_little(void **state)
{
    enum { LOOKS = 20, COMMANDS = 6 }; /* for one API: the stream, its groups, the dead letters, new reports */
    (void)state;
    lb_bus *bus = reporter(urls[0]);
    tell_of_two(bus);
    lb_value *before = redis_command(server, "KEYS", "*", NULL);
    int64_t start = commands_of(server);
    runs(urls[0], "2");
    int64_t few = commands_of(server) - start;
    runs(urls[0], "22");
    int64_t many = commands_of(server) - start - few;
    if (many - few > LOOKS * COMMANDS)
        fail_msg("%d commands for %d looks", (int)(many - few), LOOKS);
    lb_value *after = redis_command(server, "KEYS", "*", NULL);
    lb_value *groups = redis_command(server, "XINFO", "GROUPS", "internal.state.*:stream", NULL);
    assert_int_equal(lb_value_count(after), lb_value_count(before));
    assert_int_equal(lb_value_count(groups), 0);
    lb_value_free(groups);
    lb_value_free(before);
    lb_value_free(after);
    lb_close(bus);
}

/* ---- On a terminal ---------------------------------------------------------------------------------- */

static terminal *screen(int columns, int rows, const char *url)
{
    return terminal_open(
        columns, rows, (const char *const[]){LIGHTBUS_PROGRAM, "top", "--interval", "0.2", "--url", url, NULL},
        NULL, folder);
}

/* Ends the program, and the terminal is as it was. */
static void ends(terminal *t, int code)
{
    assert_int_equal(terminal_wait_exit(t, PATIENCE_MS), code);
    terminal_assert_restored(t);
    terminal_wait_gone(t, "lightbus top", PATIENCE_MS); /* the alternate screen */
    terminal_close(t);
}

static size_t lines_of(const char *text)
{
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void a_screen(lb_bus *bus, int columns, int rows, const char *url, const char *rpc)
{
    tell_of_two(bus);
    terminal *t = screen(columns, rows, url);
    terminal_wait_for(t, "\nauth ", PATIENCE_MS);
    terminal_wait_for(t, "\n 1 Overview   2 Listeners   3 RPCs   4 Events   5 Processes\n", PATIENCE_MS);
    terminal_wait_for(t, "200 calls/s   2.0 errors/s   10ms p95", PATIENCE_MS);
    terminal_wait_for(t, "q quit  h help  Tab view  s sort  r reverse  / filter  p pause", PATIENCE_MS);
    terminal_key(t, "3");
    terminal_wait_for(t, rpc, PATIENCE_MS);
    assert_true(lines_of(terminal_screen(t)) <= (size_t)rows);
    assert_non_null(strstr(terminal_screen_styled(t), "\033[7m 3 RPCs "));
    terminal_key(t, "q");
    ends(t, 0);
}

static void screens_of_two_sizes(void **state)
{
    (void)state;
    static const char rpc[] =
        "\nRPC                  CALLS/S\u25be  ERRORS/S    P50    P95    P99  BUSY  PROCS\n"
        "auth.check_password       200       2.0  2.0ms   10ms  500ms   75%      2\n";
    for (int i = 0; i < 2; i++) {
        lb_bus *bus = reporter(urls[i]);
        a_screen(bus, i ? 200 : 80, i ? 50 : 24, urls[i], rpc);
        lb_close(bus);
    }
}

static void keys_choose_and_filter(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    tell_of_two(bus);
    terminal *t = screen(80, 24, urls[1]);
    terminal_wait_for(t, "SERVICE", PATIENCE_MS);
    terminal_key(t, "5");
    terminal_wait_for(t, "\nPROCESS  SERVICE\u25b4  STATE", PATIENCE_MS);
    terminal_type(t, "S");
    terminal_wait_for(t, "\nPROCESS\u25b4  SERVICE  STATE", PATIENCE_MS);
    terminal_type(t, "r");
    terminal_wait_for(t, "\nPROCESS\u25be  SERVICE  STATE  HOST      PID  UPTIME  MEMORY  CALLS/S  BUSY\np2 ",
                      PATIENCE_MS);
    terminal_type(t, "/P1");
    terminal_wait_for(t, "\n/P1\u2588  ", PATIENCE_MS);
    terminal_wait_for(t, "  Enter keeps it, Escape drops it", PATIENCE_MS);
    terminal_wait_gone(t, "\np2 ", PATIENCE_MS);
    terminal_key(t, "Enter");
    terminal_wait_for(t, "filter: P1", PATIENCE_MS);
    terminal_key(t, "Escape");
    terminal_wait_for(t, "\np2 ", PATIENCE_MS);
    terminal_key(t, "BTab");
    terminal_wait_for(t, "\nEVENT", PATIENCE_MS);
    terminal_key(t, "Tab");
    terminal_wait_for(t, "\nPROCESS", PATIENCE_MS);
    terminal_type(t, "?");
    terminal_wait_for(t, "q, Ctrl-C         quit", PATIENCE_MS);
    terminal_type(t, "?p");
    terminal_wait_for(t, "  paused\n", PATIENCE_MS);
    ping(bus, "p3", 1000, "");
    terminal_type(t, "p");
    terminal_wait_for(t, "\np3 ", PATIENCE_MS);
    terminal_type(t, "q");
    ends(t, 0);
    lb_close(bus);
}

static void long_tables_scroll(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    for (int i = 0; i < 30; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%02d", i);
        ping(bus, name, 1000, "");
    }
    terminal *t = screen(80, 24, urls[1]);
    terminal_type(t, "5");
    terminal_wait_for(t, "\np17 ", PATIENCE_MS);
    terminal_wait_for(t, "1\u201318 of 30\n", PATIENCE_MS);
    terminal_key(t, "Down");
    terminal_wait_for(t, "2\u201319 of 30\n", PATIENCE_MS);
    terminal_key(t, "NPage");
    terminal_wait_for(t, "13\u201330 of 30\n", PATIENCE_MS);
    terminal_wait_for(t, "\np29 ", PATIENCE_MS);
    terminal_key(t, "PPage");
    terminal_key(t, "Up");
    terminal_wait_for(t, "1\u201318 of 30\n", PATIENCE_MS);
    terminal_key(t, "End");
    terminal_wait_for(t, "13\u201330 of 30\n", PATIENCE_MS);
    terminal_key(t, "Home");
    terminal_wait_for(t, "1\u201318 of 30\n", PATIENCE_MS);
    terminal_key(t, "C-c");
    ends(t, 0);
    lb_close(bus);
}

static void the_screen_follows_the_size(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    tell_of_two(bus);
    terminal *t = screen(80, 24, urls[1]);
    terminal_type(t, "5");
    terminal_wait_for(t, "  CALLS/S  BUSY\n", PATIENCE_MS);
    assert_null(strstr(terminal_screen(t), "ERRORS/S"));
    terminal_resize(t, 200, 50);
    terminal_wait_for(t, "  CALLS/S  ERRORS/S    P50    P95    P99  BUSY  HANDLED/S  FAILED/S  APIS  LISTENS\n",
                      PATIENCE_MS);
    terminal_wait_last_line(t, "q quit  h help  Tab view  s sort  r reverse  / filter  p pause", PATIENCE_MS);
    terminal_resize(t, 40, 12);
    terminal_wait_for(t, "\nPROCESS  SERVICE\u25b4  STATE  CALLS/S\n", PATIENCE_MS);
    terminal_key(t, "C-c");
    ends(t, 0);
    lb_close(bus);
}

/* Only what changes is written. */
static void a_screen_that_stays_is_not_written(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    tell_of_two(bus);
    terminal *t = screen(200, 50, urls[1]);
    terminal_wait_for(t, "\nauth ", PATIENCE_MS);
    terminal_type(t, "5");
    terminal_wait_output(t, "PROCESS", PATIENCE_MS); /* the record comes after the screen */
    size_t size = strlen(terminal_output(t));
    char before[64];
    snprintf(before, sizeof before, "%.60s", strchr(terminal_screen(t), '\n') - 40);
    terminal_wait_gone(t, before, PATIENCE_MS); /* the clock has gone on */
    assert_true(strlen(terminal_output(t)) - size < 4000);
    terminal_type(t, "q");
    ends(t, 0);
    lb_close(bus);
}

static void signals_give_the_terminal_back(void **state)
{
    (void)state;
    const int signals[] = {SIGTERM, SIGHUP, SIGSEGV, SIGABRT, SIGBUS, SIGQUIT};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        terminal *t = screen(80, 24, urls[1]);
        terminal_wait_for(t, "q quit", PATIENCE_MS);
        child_kill(terminal_pid(t), signals[i]);
        ends(t, i < 2 ? 0 : 128 + signals[i]);
    }
}

static void it_stops_and_goes_on(void **state)
{
    (void)state;
    char command[400];
    terminal *t = terminal_open(80, 24, (const char *const[]){"bash", "--norc", "-i", NULL},
                                (const char *const[]){"PS1=$ ", NULL}, folder);
    snprintf(command, sizeof command, "stty -a >before; '%s' top --url '%s'", LIGHTBUS_PROGRAM, urls[1]);
    terminal_wait_last_line(t, "$", PATIENCE_MS);
    terminal_line(t, command);
    for (int i = 0; i < 2; i++) {
        terminal_wait_for(t, "q quit", PATIENCE_MS);
        terminal_key(t, "C-z");
        terminal_wait_for(t, "Stopped", PATIENCE_MS);
        terminal_wait_last_line(t, "$", PATIENCE_MS);
        terminal_line(t, "clear; stty -a >now; cmp before now && echo \"as \"it was; fg");
    }
    terminal_wait_for(t, "q quit", PATIENCE_MS);
    terminal_key(t, "q");
    terminal_wait_for(t, "as it was", PATIENCE_MS);
    terminal_wait_last_line(t, "$", PATIENCE_MS);
    terminal_line(t, "exit $?");
    assert_int_equal(terminal_wait_exit(t, PATIENCE_MS), 0);
    terminal_close(t);
}

static void an_outage_is_said_and_passes(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[0]);
    tell_of_two(bus);
    lb_close(bus);
    terminal *t = screen(80, 24, urls[0]);
    terminal_wait_for(t, "\nauth ", PATIENCE_MS);
    redis_server_down(server);
    terminal_wait_for(t, "\nTrying again: redis://127.0.0.1:", PATIENCE_MS);
    terminal_wait_for(t, "\nauth ", PATIENCE_MS); /* what was last known */
    terminal_type(t, "5");
    terminal_wait_for(t, "\nPROCESS", PATIENCE_MS);
    redis_server_up(server);
    terminal_wait_gone(t, "Trying again", PATIENCE_MS);
    bus = reporter(urls[0]);
    ping(bus, "p3", 1000, "");
    terminal_wait_for(t, "\np3 ", PATIENCE_MS);
    redis_server_pause(server); /* half open: keys are answered nevertheless */
    terminal_type(t, "3");
    terminal_wait_for(t, "\nRPC ", PATIENCE_MS);
    terminal_wait_for(t, "\nTrying again: ", PATIENCE_MS);
    redis_server_resume(server);
    terminal_wait_gone(t, "Trying again", PATIENCE_MS);
    terminal_type(t, "q");
    ends(t, 0);
    lb_close(bus);
}

static void updates_are_counted(void **state)
{
    (void)state;
    terminal *t = terminal_open(80, 24,
                                (const char *const[]){LIGHTBUS_PROGRAM, "top", "--count", "3", "--interval",
                                                      "0.1", "--url", urls[1], NULL},
                                NULL, folder);
    ends(t, 0);
}

/* A snapshot on a terminal is as wide as that, and stays there. */
static void once_on_a_terminal(void **state)
{
    (void)state;
    lb_bus *bus = reporter(urls[1]);
    tell_of_two(bus);
    terminal *t = terminal_open(
        80, 50,
        (const char *const[]){LIGHTBUS_PROGRAM, "top", "--once", "--interval", "0.1", "--url", urls[1], NULL},
        NULL, folder);
    assert_int_equal(terminal_wait_exit(t, PATIENCE_MS), 0);
    terminal_wait_for(t,
                      "\nPROCESS  SERVICE  STATE  HOST      PID  UPTIME  MEMORY  CALLS/S  BUSY  HANDLED/S\np1 ",
                      PATIENCE_MS);
    terminal_wait_output(t, "\033[1mPROCESS", PATIENCE_MS);
    assert_null(strstr(terminal_output(t), "\033[?1049h"));
    terminal_close(t);
    lb_close(bus);
}

#define TEST(f) cmocka_unit_test_setup(f, empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rates_are_between_two_reports),
        TEST(what_is_not_told_is_not_known),
        TEST(broken_reports_do_no_harm),
        TEST(listeners_have_their_lag),
        TEST(events_per_second),
        TEST(a_worker_is_watched),
        TEST(text_has_no_escapes),
        TEST(how_to_switch_it_on_is_said),
        TEST(it_goes_on_until_a_signal),
        TEST(a_reader_that_goes_away_ends_it),
        TEST(wrong_usage),
        TEST(the_bus_notices_little),
        TEST(screens_of_two_sizes),
        TEST(keys_choose_and_filter),
        TEST(long_tables_scroll),
        TEST(the_screen_follows_the_size),
        TEST(a_screen_that_stays_is_not_written),
        TEST(signals_give_the_terminal_back),
        TEST(it_stops_and_goes_on),
        TEST(an_outage_is_said_and_passes),
        TEST(updates_are_counted),
        TEST(once_on_a_terminal),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
