/* lightbus run --processes: workers that end are replaced, and all end together. */
#include "run_harness.h"

static program *start_workers(int count)
{
    char number[8];
    const char *words[] = {"run", "--processes", number, "-s", "ours", "-p", "web", NULL};
    program *p;

    snprintf(number, sizeof number, "%d", count);
    p = cli_start(&c, NULL, words);
    for (int i = 1; i <= count; i++) {
        char ready[32];
        snprintf(ready, sizeof ready, count > 1 ? "[%d] Ready." : "Ready.", i);
        program_expect(p, ready, DEADLINE_MS);
    }
    return p;
}

static void expect_gone(const answer *workers, int count)
{
    for (int i = 0; i < count; i++)
        wait_until(is_gone(workers[i].pid), DEADLINE_MS);
}

static const answer *named(const answer *workers, int count, const char *process)
{
    for (int i = 0; i < count; i++)
        if (strcmp(workers[i].process, process) == 0)
            return &workers[i];
    fail_msg("no worker is named %s", process);
    return NULL;
}

static void nobody_waits(lb_status status, const lb_value *result, const lb_error *error, void *data)
{
    (void)status;
    (void)result;
    (void)error;
    (void)data;
}

/* Makes a call whose answer nobody waits for. */
static void tell(const char *name)
{
    lb_call_options options = {.callback = nobody_waits};
    lb_error error = {0};

    assert_non_null(lb_call_begin(client, name, LB_NO_ARGS, &options, &error));
    assert_ok(lb_flush(client, &error), &error);
}

/* ---- All together ----------------------------------------------------------------------------------- */

static void all_workers_serve_under_names_of_their_own(void **state)
{
    (void)state;
    answer workers[3];
    program *p;

    write_service(1, "");
    p = start_workers(3);
    find_workers(workers, 3, 0);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(workers[i].service, "ours");
        assert_int_not_equal(workers[i].pid, p->pid);
    }
    named(workers, 3, "web-1");
    named(workers, 3, "web-2");
    named(workers, 3, "web-3");
    assert_contains(p->text, "processes  web-1 to web-3\n");
    assert_true(file_exists("ready")); /* who else waits for it is told as well */
    assert_int_equal(count_of(p->text, "API test.run"), 1);
    child_kill(p->pid, SIGTERM);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_int_equal(count_of(p->text, "Lightbus has stopped."), 1);
    assert_null(strstr(p->text, "WARNING"));
    expect_gone(workers, 3);
    program_free(p);
}

static void a_random_service_is_one_service(void **state)
{
    (void)state;
    answer workers[2];
    program *p;

    write_service(1, "");
    p = START(&c, "run", "--processes=2");
    program_expect(p, "Hint: the service name is random", DEADLINE_MS);
    find_workers(workers, 2, 0);
    assert_string_equal(workers[0].service, workers[1].service);
    assert_string_not_equal(workers[0].process, workers[1].process);
    cli_stop(p);
}

static void what_is_begun_is_finished(void **state)
{
    (void)state;
    lb_error error = {0};
    lb_pending *call;
    lb_value *result = NULL;
    program *p;

    write_service(1, "");
    p = start_workers(2);
    call = lb_call_begin(client, "test.run.hold", LB_NO_ARGS, NULL, &error);
    assert_non_null(call);
    assert_ok(lb_flush(client, &error), &error);
    wait_until(file_exists("holding"), DEADLINE_MS);
    child_kill(p->pid, SIGTERM);
    write_file(c.folder, "go", "");
    assert_ok(lb_call_end(call, &result, &error), &error);
    assert_true(lb_value_bool(result));
    lb_value_free(result);
    cli_ends(p, 0, "Lightbus has stopped.");
}

static void a_second_signal_ends_at_once(void **state)
{
    (void)state;
    answer workers[2];
    program *p;

    write_service(1, "");
    p = start_workers(2);
    find_workers(workers, 2, 0);
    tell("test.run.hold");
    wait_until(file_exists("holding"), DEADLINE_MS);
    for (int64_t deadline = support_now_ms() + DEADLINE_MS; child_runs(p->pid); support_nap()) {
        assert_true(support_now_ms() < deadline);
        child_kill(p->pid, SIGINT);
    }
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    program_free(p);
    expect_gone(workers, 2);
}

static void workers_leave_signals_of_the_terminal_to_the_supervisor(void **state)
{
    (void)state;
    answer workers[2], after[2];
    program *p;

    write_service(1, "");
    p = start_workers(2);
    find_workers(workers, 2, 0);
    for (int i = 0; i < 2; i++) {
        kill(workers[i].pid, SIGINT);
        kill(workers[i].pid, SIGHUP);
    }
    find_workers(after, 2, 0);
    assert_true(is_among(workers, 2, after[0].pid) && is_among(workers, 2, after[1].pid));
    child_kill(p->pid, SIGINT);
    cli_ends(p, 0, "Lightbus has stopped.");
}

static void workers_end_with_a_supervisor_that_is_killed(void **state)
{
    (void)state;
    answer workers[3];
    program *p;

    write_service(1, "");
    p = start_workers(3);
    find_workers(workers, 3, 0);
    child_kill(p->pid, SIGKILL);
    assert_int_equal(program_wait(p, DEADLINE_MS), 128 + SIGKILL);
    program_free(p);
    expect_gone(workers, 3);
}

/* ---- Workers that end ------------------------------------------------------------------------------- */

static void a_worker_that_is_killed_is_replaced(void **state)
{
    (void)state;
    answer before[2], after[2];
    char line[100];
    program *p;

    write_service(1, "");
    p = start_workers(2);
    find_workers(before, 2, 0);
    kill(named(before, 2, "web-2")->pid, SIGKILL);
    find_workers(after, 2, named(before, 2, "web-2")->pid); /* all calls are answered meanwhile */
    assert_int_equal(named(after, 2, "web-1")->pid, named(before, 2, "web-1")->pid);
    assert_int_not_equal(named(after, 2, "web-2")->pid, named(before, 2, "web-2")->pid);
    snprintf(line, sizeof line, "worker 2 (pid %d) was killed by SIGKILL; restarting in 0.1 s\n",
             (int)named(before, 2, "web-2")->pid);
    program_expect(p, line, DEADLINE_MS);
    cli_stop(p);
}

static void a_crash_and_an_exit_are_told(void **state)
{
    (void)state;
    answer worker, next;
    program *p;

    write_service(1, "");
    p = start_workers(1);
    find_workers(&worker, 1, 0);
    assert_string_equal(worker.process, "web");
    kill(worker.pid, SIGSEGV);
    program_expect(p, "was killed by SIGSEGV", DEADLINE_MS);
    find_workers(&next, 1, worker.pid);
    tell("test.run.leave");
    program_expect(p, "ended with exit code 3; restarting in", DEADLINE_MS);
    find_workers(&worker, 1, next.pid);
    kill(worker.pid, SIGTERM);
    program_expect(p, ") ended; restarting in", DEADLINE_MS);
    find_workers(&next, 1, worker.pid);
    cli_stop(p);
}

static void s11_the_next_one_takes_up_its_events(void **state)
{
    (void)state;
    lb_error error = {0};
    program *p;

    write_service(1, "");
    write_file(c.folder, "crash", "");
    p = START(&c, "run", "--processes", "2", "-s", "ours"); /* names are random, and yet stay the same */
    program_expect_times(p, "Ready.", 2, DEADLINE_MS);
    assert_ok(lb_fire(client, "test.run.said", LB_ARGS(LB("text", "hello")), &error), &error);
    program_expect(p, "was killed by SIGKILL", DEADLINE_MS);
    wait_until(file_exists("heard"), DEADLINE_MS); /* less than the acknowledgement timeout */
    cli_stop(p);
}

/* The announced delay of each start. */
static void assert_growing_delays(const char *output, int count)
{
    static const char before[] = "restarting in ";
    const char *at = output;
    double most = 0.1;

    for (int i = 0; i < count; i++, most *= 2) {
        double delay;
        at = strstr(at, before);
        assert_non_null(at);
        at += strlen(before);
        delay = strtod(at, NULL);
        if (delay > most + 0.051 || delay < most / 2 - 0.051) /* it is rounded */
            fail_msg("delay %d is %.1f s, expected %.2f to %.2f", i, delay, most / 2, most);
    }
}

static void a_crash_loop_slows_down(void **state)
{
    (void)state;
    program *p;

    write_service(1, "raise(SIGSEGV)");
    p = START(&c, "run", "--processes", "1");
    program_expect_times(p, "was killed by SIGSEGV", 5, DEADLINE_MS);
    assert_growing_delays(p->text, 5);
    assert_int_equal(starts(), 5);
    child_kill(p->pid, SIGTERM);
    cli_ends(p, 0, "Lightbus has stopped.");
}

static void what_never_starts_ends(void **state)
{
    (void)state;
    program *p;

    write_service(1, "return lb_error_set(error, LB_CONFIG, \"the shop is closed\")");
    p = START(&c, "run", "--processes", "1");
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    assert_int_equal(count_of(p->text, "lightbus run: error: the shop is closed"), 5);
    assert_contains(p->text, "ended with exit code 1; as it does not start at all, this is the end\n");
    assert_int_equal(starts(), 5);
    program_free(p);
    p = START(&c, "run", "--processes", "3");
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    assert_in_range(starts() - 5, 5, 7);
    program_free(p);
}

static void one_that_does_not_start_leaves_the_others_alone(void **state)
{
    (void)state;
    answer before[2], after[2];
    char path[200];
    program *p;

    write_service(1, "if (access(\"closed\", F_OK) == 0) return LB_FAILED");
    p = start_workers(2);
    find_workers(before, 2, 0);
    write_file(c.folder, "closed", "");
    kill(before[0].pid, SIGKILL);
    program_expect_times(p, "ended with exit code 1; restarting in", 6, DEADLINE_MS);
    assert_int_equal(ask().pid, before[1].pid);
    snprintf(path, sizeof path, "%s/closed", c.folder);
    assert_int_equal(unlink(path), 0);
    find_workers(after, 2, before[0].pid);
    assert_true(is_among(after, 2, before[1].pid));
    cli_stop(p);
}

static void what_cannot_run_is_not_tried(void **state)
{
    (void)state;
    program *p;

    RUN(&c, 1, "lightbus run: error: no bus.c or bus.so here", "run", "--processes", "2");
    write_file(c.folder, "bus.c", "int nothing;\n");
    RUN(&c, 1, "does not define lb_setup", "run", "--processes", "2");
    write_service(1, "");
    p = START(&c, "run", "--processes", "2", "--url", "nonsense");
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    assert_int_equal(count_of(p->text, "error"), 1);
    program_free(p);
    assert_int_equal(starts(), 0);
}

static void wrong_numbers_are_refused(void **state)
{
    (void)state;
    write_service(1, "");
    RUN(&c, 2, "--processes: expected a number from 1 to 1000, got \"0\"", "run", "--processes", "0");
    RUN(&c, 2, "got \"-1\"", "run", "--processes", "-1");
    RUN(&c, 2, "got \"1001\"", "run", "--processes", "1001");
    RUN(&c, 2, "got \"two\"", "run", "--processes", "two");
    RUN(&c, 2, "got \"99999999999999999999\"", "run", "--processes", "99999999999999999999");
    RUN(&c, 2, "--schema -: each worker reads the schemas", "run", "--processes", "2", "--schema", "-");
    assert_int_equal(starts(), 0);
}

/* ---- Starting anew ---------------------------------------------------------------------------------- */

static void sighup_replaces_one_after_the_other(void **state)
{
    (void)state;
    answer before[3], after[3];
    program *p;

    write_service(1, "");
    p = start_workers(3);
    find_workers(before, 3, 0);
    write_service(2, "");
    child_kill(p->pid, SIGHUP);
    program_expect(p, "starting the workers anew, one after the other", DEADLINE_MS);
    program_expect_times(p, "Ready.", 6, DEADLINE_MS); /* nobody has ended otherwise */
    find_workers(after, 3, 0);
    for (int i = 0; i < 3; i++) {
        assert_false(is_among(before, 3, after[i].pid));
        assert_int_equal(ask_version(), 2);
    }
    assert_null(strstr(p->text, "WARNING"));
    cli_stop(p);
}

static void sighup_without_a_change_replaces_too(void **state)
{
    (void)state;
    answer before, after;
    program *p;

    write_service(1, "");
    p = start_workers(1);
    find_workers(&before, 1, 0);
    child_kill(p->pid, SIGHUP);
    find_workers(&after, 1, before.pid);
    write_file(c.folder, "bus.c", "nonsense\n");
    child_kill(p->pid, SIGHUP);
    program_expect(p, "bus.c\" does not compile", DEADLINE_MS);
    program_expect(p, "what runs goes on as it is", DEADLINE_MS);
    assert_int_equal(ask().pid, after.pid);
    cli_stop(p);
}

static void a_crash_brings_back_what_ran_before(void **state)
{
    (void)state;
    answer before, after;
    program *p;

    write_service(1, "");
    p = start_workers(1);
    find_workers(&before, 1, 0);
    write_service(2, "");
    kill(before.pid, SIGKILL);
    find_workers(&after, 1, before.pid);
    assert_int_equal(ask_version(), 1);
    cli_stop(p);
}

/* ---- Other modules ---------------------------------------------------------------------------------- */

static void s33_no_process_shows_the_password(void **state)
{
    (void)state;
    redis_server *redis = redis_server_start((const char *[]){"--requirepass", "s3cret", NULL});
    lb_options options = {.rpc_timeout_ms = DEADLINE_MS};
    lb_error error = {0};
    answer workers[2];
    char url[200];
    program *p;

    snprintf(url, sizeof url, "redis://:s3cret@127.0.0.1:%d/0", redis->port);
    options.url = url;
    lb_close(client);
    client = lb_open(&options, &error);
    assert_non_null(client);
    write_service(1, "");
    p = START(&c, "run", "--processes", "2", "--url", url);
    program_expect(p, "[1] Ready.", DEADLINE_MS);
    program_expect(p, "[2] Ready.", DEADLINE_MS);
    find_workers(workers, 2, 0);
    cli_hides(p->pid, "s3cret");
    cli_hides(workers[0].pid, "s3cret");
    cli_hides(workers[1].pid, "s3cret");
    kill(workers[0].pid, SIGKILL);
    program_expect_times(p, "Ready.", 3, DEADLINE_MS); /* until then, a call could be the dead one's */
    find_workers(workers, 2, workers[0].pid);          /* the new one knows the password, too */
    assert_null(strstr(p->text, "s3cret"));
    cli_stop(p);
    redis_server_stop(redis);
}

static lb_status own_who(lb_request *request, void *data)
{
    char text[200];

    (void)data;
    snprintf(text, sizeof text, "%d %s %s", (int)getpid(), lb_process_name(lb_request_bus(request)),
             lb_service_name(lb_request_bus(request)));
    return lb_return(request, (const char *)text);
}

static lb_status own_setup(lb_bus *bus, lb_error *error)
{
    static const lb_member members[] = {LB_RPC("who() -> str", own_who), LB_END};
    static const lb_api api = {.name = "test.run", .members = members};
    return lb_register(bus, &api, NULL, error);
}

static int own_main(void *argv) { return cli_own_main(&c, argv, own_setup); }

static void a_binary_of_its_own_has_workers(void **state)
{
    (void)state;
    char *argv[] = {"own", "run", "--processes", "2", NULL}, *reload[] = {"own", "run", "--reload", NULL};
    answer workers[2], after[2];
    pid_t pid = child_start(own_main, argv);

    find_workers(workers, 2, 0);
    kill(workers[0].pid, SIGKILL);
    find_workers(after, 2, workers[0].pid);
    child_kill(pid, SIGTERM);
    assert_int_equal(child_wait(pid, DEADLINE_MS), 0);
    expect_gone(after, 2);
    assert_int_equal(child_wait(child_start(own_main, reload), DEADLINE_MS), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        service_test(all_workers_serve_under_names_of_their_own),
        service_test(a_random_service_is_one_service),
        service_test(what_is_begun_is_finished),
        service_test(a_second_signal_ends_at_once),
        service_test(workers_leave_signals_of_the_terminal_to_the_supervisor),
        service_test(workers_end_with_a_supervisor_that_is_killed),
        service_test(a_worker_that_is_killed_is_replaced),
        service_test(a_crash_and_an_exit_are_told),
        service_test(s11_the_next_one_takes_up_its_events),
        service_test(a_crash_loop_slows_down),
        service_test(what_never_starts_ends),
        service_test(one_that_does_not_start_leaves_the_others_alone),
        service_test(what_cannot_run_is_not_tried),
        service_test(wrong_numbers_are_refused),
        service_test(sighup_replaces_one_after_the_other),
        service_test(sighup_without_a_change_replaces_too),
        service_test(a_crash_brings_back_what_ran_before),
        service_test(s33_no_process_shows_the_password),
        service_test(a_binary_of_its_own_has_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
