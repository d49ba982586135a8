/* lightbus run: features, and the dry run. */
#include "run_harness.h"

#include <dirent.h>

static bool call_is_answered(void)
{
    lb_call_options options = {.timeout_ms = 300}; /* of an RPC that nobody handles: it ends with LB_TIMEOUT */
    lb_error error = {0};
    lb_status status =
        lb_call_end(lb_call_begin(client, "test.run.who", LB_NO_ARGS, &options, &error), NULL, &error);

    assert_true(status == LB_OK || status == LB_TIMEOUT);
    return status == LB_OK;
}

static size_t groups(void)
{
    lb_value *lag = NULL;
    lb_error error = {0};
    size_t count;

    assert_ok(lb_lag(client, "test.run.said", NULL, &lag, &error), &error);
    count = lb_value_count(lag);
    lb_value_free(lag);
    return count;
}

static void fire(void)
{
    lb_error error = {0};

    assert_ok(lb_fire(client, "test.run.said", LB_ARGS(LB("text", "hello")), &error), &error);
}

static program *start(const char *setting, const char *flag, const char *features)
{
    const char *const words[] = {"run", "-s", "ours", flag, features, NULL};
    program *p = cli_start(&c, setting, words);

    program_expect(p, "Ready.", DEADLINE_MS);
    return p;
}

/* ---- Features --------------------------------------------------------------------------------------- */

static void a_worker_without_rpcs_takes_no_calls(void **state)
{
    (void)state;
    program *without, *with;

    write_service(1, "");
    without = start(NULL, "--skip", "rpcs");
    assert_contains(without->text, "left out   rpcs\n");
    assert_false(call_is_answered());
    with = start(NULL, "--only", "rpcs");
    assert_contains(with->text, "left out   events, tasks\n");
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask().pid, with->pid);
    assert_int_equal(groups(), 1); /* of the one that listens */
    cli_stop(with);
    cli_stop(without);
}

static void a_worker_without_events_makes_no_group(void **state)
{
    (void)state;
    program *p;

    write_service(1, "");
    p = start(NULL, "-o", "rpcs, tasks");
    ask();
    assert_int_equal(groups(), 0);
    cli_stop(p);
    p = start(NULL, "-k", "tasks");
    assert_int_equal(groups(), 1);
    fire();
    wait_until(file_exists("heard"), DEADLINE_MS);
    cli_stop(p);
}

static void a_worker_without_tasks_runs_none(void **state)
{
    (void)state;
    program *p;

    write_service(1, "");
    p = start(NULL, "--skip", "tasks");
    fire(); /* the time that this takes is enough for many a task */
    wait_until(file_exists("heard"), DEADLINE_MS);
    cli_stop(p);
    assert_false(file_exists("worked"));
    p = start(NULL, "--only", "tasks");
    wait_until(file_exists("worked"), DEADLINE_MS);
    assert_false(call_is_answered());
    cli_stop(p);
}

static void the_environment_counts_without_flags(void **state)
{
    (void)state;
    const char *const words[] = {"run", NULL};
    program *p;

    write_service(1, "");
    p = cli_start(&c, "LIGHTBUS_FEATURES=events,tasks", words);
    program_expect(p, "Ready.", DEADLINE_MS);
    assert_contains(p->text, "left out   rpcs\n");
    assert_false(call_is_answered());
    cli_stop(p);
    p = start("LIGHTBUS_FEATURES=nonsense", "--skip", "tasks");
    assert_contains(p->text, "left out   tasks\n");
    assert_true(call_is_answered());
    cli_stop(p);
    p = cli_start(&c, "LIGHTBUS_FEATURES=", words);
    program_expect(p, "Ready.", DEADLINE_MS);
    assert_null(strstr(p->text, "left out"));
    cli_stop(p);
}

static void skip_takes_from_only(void **state)
{
    (void)state;
    write_service(1, "");
    RUN(&c, 0, "left out   events, tasks\n", "run", "--dry-run", "--only", "rpcs,events", "--skip", "events");
    RUN(&c, 2, "--skip leaves nothing to run", "run", "--only", "rpcs", "--skip", "rpcs");
    RUN(&c, 2, "--skip leaves nothing to run", "run", "--skip", "tasks,rpcs,events");
}

static void unknown_features_are_refused(void **state)
{
    (void)state;
    const char *const words[] = {"run", NULL};

    write_service(1, "");
    RUN(&c, 2, "--only: unknown feature \"rpc\"; did you mean \"rpcs\"?", "run", "--only", "rpc");
    RUN(&c, 2, "--skip: unknown feature \"evnets\"; did you mean \"events\"?", "run", "--skip", "tasks,evnets");
    RUN(&c, 2, "--only: unknown feature \"everything\"; there are rpcs, events, tasks", "run", "-o",
        "everything");
    RUN(&c, 2, "--only: unknown feature \"\"", "run", "--only", "");
    RUN(&c, 2, "--skip: unknown feature \"\"", "run", "--skip", "rpcs,");
    RUN(&c, 2, "--only needs a value", "run", "--only");
    cli_ends(cli_start(&c, "LIGHTBUS_FEATURES=rpcs,task", words), 2,
             "LIGHTBUS_FEATURES: unknown feature \"task\"; did you mean \"tasks\"?");
    assert_int_equal(starts(), 0);
}

/* ---- A dry run -------------------------------------------------------------------------------------- */

/* Names, sizes and times of what is in the bus's folder. */
static char *listing(void)
{
    static char text[8192];
    char path[200];
    struct dirent **entries;
    size_t size = 0;
    int count;

    snprintf(path, sizeof path, "%s/bus", c.folder);
    count = scandir(path, &entries, NULL, alphasort);
    assert_true(count > 2);
    for (int i = 0; i < count; i++) {
        char file[600];
        struct stat info;
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (strcmp(entries[i]->d_name, "..") != 0 && stat(file, &info) == 0)
            size +=
                (size_t)snprintf(text + size, sizeof text - size, "%s %lld %lld.%ld\n", entries[i]->d_name,
                                 (long long)info.st_size, (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
        free(entries[i]);
    }
    free(entries);
    return strdup(text);
}

static void a_dry_run_shows_what_would_be_served(void **state)
{
    (void)state;
    const char *const parts[] = {"service    ours\n", "API test.run\n", "rpc    who() -> str\n",
                                 "Listener ear\n", "Dry run: all is well, and nothing was started.\n"};
    program *p;

    write_service(1, "");
    p = START(&c, "run", "--dry-run", "-s", "ours", "--processes", "3", "--reload");
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_contains(p->text, parts[i]);
    assert_null(strstr(p->text, "Note"));
    program_free(p);
    assert_int_equal(starts(), 1);
}

static void a_dry_run_leaves_no_trace(void **state)
{
    (void)state;
    char *before, *after;
    program *p;

    write_service(1, "");
    RUN(&c, 0, "nothing was started", "run", "--dry-run", "-s", "ours");
    assert_false(file_exists("bus"));
    p = start(NULL, "--skip", "tasks");
    cli_stop(p);
    write_service(2, "");
    before = listing();
    RUN(&c, 0, "nothing was started", "run", "--dry-run", "-s", "theirs");
    after = listing();
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void a_dry_run_needs_no_server(void **state)
{
    (void)state;
    write_service(1, "");
    RUN(&c, 0, "nothing was started", "run", "--dry-run", "--url", "redis://127.0.0.1:1/0");
}

static void what_listeners_wait_for_is_looked_up(void **state)
{
    (void)state;
    write_service(1,
                  "lb_listen(bus, \"shop.sold test.run.siad test.run.*\", \"nose\", heard, NULL, NULL, NULL)");
    RUN(&c, 0,
        "Note: listener nose: shop.sold is of an API that is neither served here nor in --schema.\n"
        "Note: listener nose: the API \"test.run\" has no event \"siad\"; did you mean \"said\"?\n"
        "Dry run: all is well",
        "run", "--dry-run");
    write_file(c.folder, "shop.json",
               "{\"shop\": {\"events\": {\"bought\": {\"parameters\": {}}}, \"rpcs\": {}}}");
    RUN(&c, 0, "Note: listener nose: the API \"shop\" has no event \"sold\"", "run", "--dry-run", "--schema",
        "shop.json");
}

static void a_dry_run_fails_where_a_run_would(void **state)
{
    (void)state;
    RUN(&c, 1, "no bus.c or bus.so here", "run", "--dry-run");
    write_file(c.folder, "bus.c",
               "#include <lightbus.h>\nlb_status lb_setup(lb_bus *b, lb_error *e) { retrun; }\n");
    RUN(&c, 1, "bus.c\" does not compile", "run", "--dry-run");
    write_file(c.folder, "bus.c",
               "#include <lightbus.h>\nlb_status lb_setup(lb_bus *b, lb_error *e) { return LB_OK; }\n");
    RUN(&c, 1, "there is nothing to serve", "run", "--dry-run");
    write_service(1, "return lb_error_set(error, LB_CONFIG, \"the shop is closed\")");
    RUN(&c, 1, "lightbus run: error: the shop is closed\n", "run", "--dry-run");
    write_service(1, "static const lb_member m[] = {LB_EVENT(\"e(a: itn)\"), LB_END};"
                     "static const lb_api a = {.name = \"a\", .members = m};"
                     "if ((status = lb_register(bus, &a, NULL, error)) != LB_OK) return status");
    RUN(&c, 1, "itn", "run", "--dry-run");
    write_service(1, "");
    RUN(&c, 1, "no.json", "run", "--dry-run", "--schema", "no.json");
    RUN(&c, 1, "lightbus run: error: ", "run", "--dry-run", "--url", "nonsense");
    write_file(c.folder, "wrong.yaml", "bus:\n  log_levle: debug\n");
    RUN(&c, 1, "did you mean \"log_level\"?", "run", "--dry-run", "--config", "wrong.yaml");
    assert_false(file_exists("bus"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        service_test(a_worker_without_rpcs_takes_no_calls),
        service_test(a_worker_without_events_makes_no_group),
        service_test(a_worker_without_tasks_runs_none),
        service_test(the_environment_counts_without_flags),
        service_test(skip_takes_from_only),
        service_test(unknown_features_are_refused),
        service_test(a_dry_run_shows_what_would_be_served),
        service_test(a_dry_run_leaves_no_trace),
        service_test(a_dry_run_needs_no_server),
        service_test(what_listeners_wait_for_is_looked_up),
        service_test(a_dry_run_fails_where_a_run_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
