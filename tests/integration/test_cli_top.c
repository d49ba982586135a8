/* lightbus top over a real Redis and a local bus: its numbers, what it prints and what it costs. Its screen:
 * test_top_terminal.c. */
#include "cli/top.h"
#include "top_fixture.h"

#include "base/clock.h"

#include <unistd.h>

/* ---- A bus with something on it --------------------------------------------------------------------- */

static lb_status check(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, true);
}
static const lb_member auth_members[] = {LB_RPC("check_password(username: str) -> bool", check),
                                         LB_RPC("reset()", check), LB_EVENT("user_registered(n: int)"), LB_END};
static const lb_api auth = {.name = "auth", .members = auth_members};

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

/* As for any program: what was ignored at its start is ignored. */
static void nohup_is_heeded(void **state)
{
    (void)state;
    program *p = program_start((const char *const[]){"nohup", LIGHTBUS_PROGRAM, "top", "--json", "--interval",
                                                     "0.1", "--url", urls[1], NULL},
                               NULL, folder);
    program_expect(p, "}\n{", PATIENCE_MS);
    child_kill(p->pid, SIGHUP);
    program_expect_times(p, "\"time\"", 6, PATIENCE_MS);
    child_kill(p->pid, SIGTERM);
    assert_int_equal(program_wait(p, PATIENCE_MS), 0);
    program_free(p);
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
        TEST(nohup_is_heeded),
        TEST(a_reader_that_goes_away_ends_it),
        TEST(wrong_usage),
        TEST(the_bus_notices_little),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
