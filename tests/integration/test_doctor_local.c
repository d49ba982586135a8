/* What the doctor finds on a local bus: each thing is made to happen. */
#include "doctor_harness.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/local_folder.h"
#include "transports/local/local.h"
#include "transports/local/store.h"

static int folder_setup(void **state)
{
    *state = temporary_directory();
    return 0;
}
static int folder_teardown(void **state)
{
    remove_directory(*state);
    free(*state);
    return 0;
}
#define folder_test(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)

/* The URL of the folder `bus` in the test's own. */
static const char *url_of(void **state, const char *query)
{
    static char url[400];
    snprintf(url, sizeof url, "local://%s/bus%s%s", (char *)*state, *query ? "?" : "", query);
    return url;
}

static const char *path_of(void **state, const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/bus%s%s", (char *)*state, *name ? "/" : "", name);
    return path;
}

/* ---- A service -------------------------------------------------------------------------------------- */

static lb_status greet(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, "hello");
}

static lb_status hear(const lb_event *event, void *data)
{
    (void)event;
    (void)data;
    return LB_OK;
}

static lb_status reject(const lb_event *event, void *data)
{
    (void)event;
    (void)data;
    return LB_REJECT;
}

static lb_status hang(const lb_event *event, void *data)
{
    (void)event;
    shared_add(data, 1);
    sleep_ms(PATIENCE_MS);
    return LB_OK;
}

static const lb_api shop = {
    .name = "shop",
    .members = (const lb_member[]){LB_RPC("greet() -> str", greet), LB_EVENT("ordered(n: int)"), LB_END},
};

static const lb_api logs = {
    .name = "logs",
    .members = (const lb_member[]){LB_EVENT("line(text: str)"), LB_END},
};

static lb_status serve_with(lb_bus *bus, lb_event_handler handler, void *data, lb_error *error)
{
    lb_status status = lb_register(bus, &shop, NULL, error);
    return status == LB_OK ? lb_listen(bus, "shop.ordered", "mail", handler, data, NULL, error) : status;
}
static lb_status serve(lb_bus *bus, void *data, lb_error *error) { return serve_with(bus, hear, data, error); }
static lb_status serve_rejecting(lb_bus *bus, void *data, lb_error *error)
{
    return serve_with(bus, reject, data, error);
}
static lb_status serve_hanging(lb_bus *bus, void *data, lb_error *error)
{
    return serve_with(bus, hang, data, error);
}

/* A bus with a group that has read nothing, and no process. */
static void make_bus(const char *url)
{
    pid_t pid = worker_start(&(worker){.url = url, .setup = serve});
    worker_stop(pid);
}

static void fire(const char *url, int count)
{
    lb_bus *bus = client_open(url, PATIENCE_MS);
    lb_error error = {0};
    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    for (int i = 0; i < count; i++)
        assert_ok(lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", i)), &error), &error);
    lb_close(bus);
}

static bool is_found(const char *url, lb_finding_level level, const char *check, const char *part)
{
    findings f = diagnose(url, 0);
    bool found = find(&f, level, check, part) != NULL;
    findings_free(&f);
    return found;
}

/* ---- The folder ------------------------------------------------------------------------------------- */

static void a_bus_at_work_has_nothing_wrong(void **state)
{
    static const char *const checks[] = {"folder",    "file system", "files",  "durability", "size",
                                         "processes", "groups",      "queues", "schemas"};
    const char *url = url_of(state, "");
    pid_t pid = worker_start(&(worker){.url = url, .setup = serve});
    fire(url, 10);
    findings f = diagnose(url, 0);
    assert_at_most(&f, LB_FINDING_OK, "file system"); /* it may be one in memory */
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (!find(&f, LB_FINDING_OK, checks[i], "") && strcmp(checks[i], "file system") != 0)
            fail_msg("nothing about %s", checks[i]);
    assert_finding(&f, LB_FINDING_OK, "groups", "1 stream, 1 group", NULL);
    assert_finding(&f, LB_FINDING_OK, "processes", "1 beside this one", NULL);
    findings_free(&f);
    worker_stop(pid);
}

static void no_bus_is_a_note_and_none_is_made(void **state)
{
    expect(url_of(state, ""), LB_FINDING_NOTE, "folder", "there is no bus in", "lightbus run");
    assert_int_equal(access(path_of(state, ""), F_OK), -1);
    assert_int_equal(mkdir(path_of(state, ""), 0700), 0);
    expect(url_of(state, ""), LB_FINDING_NOTE, "files", "there is no bus in", "lightbus run");
    assert_int_equal(rmdir(path_of(state, "")), 0); /* it is empty still */
}

static void a_folder_that_is_open_to_others_is_an_error(void **state)
{
    make_bus(url_of(state, ""));
    chmod(path_of(state, ""), 0777);
    findings f = diagnose(url_of(state, ""), 0);
    const lb_finding *error = assert_finding(&f, LB_FINDING_ERROR, "folder", "others can write", "chmod 700");
    char command[500];
    snprintf(command, sizeof command, "%.*s", (int)strcspn(error->advice, ","), error->advice);
    assert_int_equal(system(command), 0);
    findings_free(&f);
    expect(url_of(state, ""), LB_FINDING_OK, "folder", "mode 0700", NULL);
}

static void a_folder_with_other_things_in_it_is_an_error(void **state)
{
    assert_int_equal(mkdir(path_of(state, ""), 0700), 0);
    write_file(path_of(state, ""), "letter.txt", "Dear Ann");
    expect(url_of(state, ""), LB_FINDING_ERROR, "folder", "holds other things (letter.txt)", "local:///PATH");
}

static void a_damaged_file_is_an_error(void **state)
{
    make_bus(url_of(state, ""));
    int fd = open(path_of(state, "events"), O_WRONLY);
    char garbage[8192];
    memset(garbage, 0x5a, sizeof garbage);
    assert_int_equal(write(fd, garbage, sizeof garbage), sizeof garbage);
    close(fd);
    findings f = diagnose(url_of(state, ""), 0);
    assert_finding(&f, LB_FINDING_ERROR, "files", "events", NULL);
    assert_null(find(&f, LB_FINDING_OK, "groups", ""));
    findings_free(&f);
}

/* A file system of its own, which ends with this process. */
static int diagnose_in_memory(void *data)
{
    char url[400], folder[300];
    snprintf(folder, sizeof folder, "%s/small", (char *)data);
    snprintf(url, sizeof url, "local://%s/bus", folder);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return 77; /* this user may not */
    mkdir(folder, 0700);
    if (mount("none", folder, "tmpfs", 0, "size=600m,mode=0700") != 0)
        return 77;
    make_bus(url);
    bool good = is_found(url, LB_FINDING_NOTE, "file system", "memory (tmpfs)");
    mount("none", folder, "tmpfs", MS_REMOUNT, "size=100m");
    good = good && is_found(url, LB_FINDING_WARNING, "file system", "tmpfs with 9");
    mount("none", folder, "tmpfs", MS_REMOUNT, "size=8m");
    return good && is_found(url, LB_FINDING_ERROR, "file system", "free") ? 0 : 1;
}

static void a_file_system_in_memory_or_without_room_is_told(void **state)
{
    int code = child_wait(child_start(diagnose_in_memory, *state), PATIENCE_MS);
    if (code == 77)
        skip();
    assert_int_equal(code, 0);
}

static void a_full_file_is_told(void **state)
{
    const char *url = url_of(state, "max_size=4194304&max_stream_length=0");
    char text[1001];
    lb_error error = {0};
    lb_status status = LB_OK;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    lb_bus *bus = client_open(url, PATIENCE_MS);
    assert_ok(lb_register(bus, &logs, NULL, &error), &error);
    expect(url, LB_FINDING_NOTE, "folder", "there is no bus", NULL);
    while (status == LB_OK && !is_found(url, LB_FINDING_WARNING, "size", "of at most 3.0 MiB"))
        for (int j = 0; j < 100 && status == LB_OK; j++)
            status = lb_fire(bus, "logs.line", LB_ARGS(LB("text", text)), &error);
    assert_ok(status, &error);
    lb_close(bus);
}

/* ---- Durability ------------------------------------------------------------------------------------- */

static bool is_durable(const char *url)
{
    buffer json = {0};
    lb_error error = {0};
    assert_ok(local_folder_info(url, &json, &error), &error);
    bool durable = strstr(buffer_text(&json), "\"durability\":\"disk\"") != NULL;
    buffer_free(&json);
    return durable;
}

static void a_look_does_not_make_the_folder_durable(void **state)
{
    make_bus(url_of(state, ""));
    expect(url_of(state, "durability=disk"), LB_FINDING_NOTE, "durability", "the folder has process so far",
           NULL);
    assert_false(is_durable(url_of(state, "")));
    make_bus(url_of(state, "durability=disk"));
    expect(url_of(state, ""), LB_FINDING_OK, "durability", "disk", NULL);
}

/* ---- Processes -------------------------------------------------------------------------------------- */

static void a_stopped_process_is_told(void **state)
{
    const char *url = url_of(state, "");
    char command[40];
    pid_t pid = worker_start(&(worker){.url = url, .setup = serve});
    child_kill(pid, SIGSTOP);
    wait_until(child_is_stopped(pid), PATIENCE_MS);
    snprintf(command, sizeof command, "kill -CONT %d", (int)pid);
    expect(url, LB_FINDING_WARNING, "processes", "is stopped", command);
    child_kill(pid, SIGCONT);
    wait_until(!child_is_stopped(pid), PATIENCE_MS);
    expect(url, LB_FINDING_OK, "processes", "1 beside this one", NULL);
    worker_stop(pid);
}

static int hold_and_stop(void *data)
{
    local_options o;
    store *s;
    transaction t;
    lb_error error = {0};
    assert_ok(local_options_parse(&o, data, &error), &error);
    assert_ok(store_open(&o, 0, &s, &error), &error);
    assert_ok(write_begin(s, STORE_EVENTS, 0, 0, &t, &error), &error);
    raise(SIGSTOP);
    return 0;
}

static void a_writer_that_is_stopped_is_told(void **state)
{
    char url[400];
    snprintf(url, sizeof url, "%s", url_of(state, ""));
    make_bus(url);
    pid_t pid = child_start(hold_and_stop, url);
    wait_until(child_is_stopped(pid), PATIENCE_MS);
    expect(url, LB_FINDING_WARNING, "processes", "what it locks is locked", "kill -9");
    child_kill(pid, SIGKILL);
    child_wait(pid, PATIENCE_MS);
}

static void views_of_killed_processes_are_noted(void **state)
{
    const char *url = url_of(state, "");
    pid_t stopped =
              worker_start(&(worker){.url = url, .setup = serve}), /* keeps the file open, and cleans nothing */
        killed = worker_start(&(worker){.url = url, .process = "p2", .setup = serve});
    child_kill(stopped, SIGSTOP);
    wait_until(child_is_stopped(stopped), PATIENCE_MS);
    worker_crash(killed);
    expect(url, LB_FINDING_NOTE, "processes", "of killed processes", NULL);
    child_kill(stopped, SIGCONT);
    worker_stop(stopped);
}

/* ---- Groups ----------------------------------------------------------------------------------------- */

static void unread_events_about_to_be_trimmed_are_told(void **state)
{
    const char *url = url_of(state, "max_stream_length=1000");
    make_bus(url);
    fire(url, 700);
    assert_false(is_found(url, LB_FINDING_WARNING, "groups", "still to read"));
    fire(url, 150);
    expect(url, LB_FINDING_WARNING, "groups", "tests-mail has 850 events still to read", "max_stream_length");
}

/* S16 */
static void events_trimmed_unread_are_told(void **state)
{
    const char *url = url_of(state, "max_stream_length=100");
    make_bus(url);
    fire(url, 2000);
    expect(url, LB_FINDING_ERROR, "groups", "events were trimmed before tests-mail had handled them",
           "max_stream_length");
}

static void events_left_lying_are_told(void **state)
{
    const char *url = url_of(state, "acknowledgement_timeout=0.1");
    int *handling = shared_memory(sizeof *handling);
    pid_t pid = worker_start(&(worker){.url = url, .setup = serve_hanging, .data = handling});
    fire(url, 1);
    wait_until(shared_get(handling) == 1, PATIENCE_MS);
    assert_false(is_found(url, LB_FINDING_WARNING, "groups", "silent")); /* its lease is renewed */
    worker_crash(pid);
    wait_until(is_found(url, LB_FINDING_WARNING, "groups", "1 event is of tests-mail with p1, silent for"),
               PATIENCE_MS);
}

static void random_service_names_are_noted(void **state)
{
    const char *url = url_of(state, "");
    pid_t pid = worker_start(&(worker){.url = url, .service = "{friendly}", .setup = serve});
    expect(url, LB_FINDING_NOTE, "groups", "looks random", "LIGHTBUS_SERVICE_NAME");
    worker_stop(pid);
    assert_false(is_found(url, LB_FINDING_NOTE, "groups", "looks random")); /* it has gone with its listener */
}

/* One that is written out stays. */
static void random_looking_service_names_are_told(void **state)
{
    const char *url = url_of(state, "");
    pid_t pid = worker_start(&(worker){.url = url, .service = "swift-otter-412", .setup = serve});
    expect(url, LB_FINDING_NOTE, "groups", "swift-otter-412-mail has a service name that looks random",
           "LIGHTBUS_SERVICE_NAME");
    worker_stop(pid);
    fire(url, 1);
    expect(url, LB_FINDING_WARNING, "groups", "looks random", NULL);
}

static void groups_that_nobody_reads_are_told(void **state)
{
    const char *url = url_of(state, "");
    make_bus(url);
    expect(url, LB_FINDING_NOTE, "groups", "tests-mail has no consumers, and 0 events to read", NULL);
    fire(url, 3);
    expect(url, LB_FINDING_WARNING, "groups", "tests-mail has no consumers, and 3 events to read",
           "start a worker");
}

static void dead_letters_are_told(void **state)
{
    const char *url = url_of(state, "");
    pid_t pid = worker_start(&(worker){.url = url, .setup = serve_rejecting});
    fire(url, 2);
    wait_until(is_found(url, LB_FINDING_WARNING, "groups", "shop.*: 2 events failed for good"), PATIENCE_MS);
    worker_stop(pid);
}

/* ---- Queues ----------------------------------------------------------------------------------------- */

static void calls_that_nobody_serves_are_told(void **state)
{
    const char *url = url_of(state, "");
    lb_bus *bus = client_open(url, PATIENCE_MS);
    lb_error error = {0};
    lb_pending *calls[3];
    for (int i = 0; i < 3; i++)
        calls[i] = lb_call_begin(bus, i ? "shop.greet" : "bank.pay", LB_NO_ARGS, NULL, &error);
    assert_ok(lb_flush(bus, &error), &error);
    findings f = diagnose(url, 0);
    assert_finding(&f, LB_FINDING_WARNING, "queues", "bank: 1 call waits, and no worker serves the API", NULL);
    assert_finding(&f, LB_FINDING_WARNING, "queues", "shop: 2 calls wait, and no worker serves the API", NULL);
    findings_free(&f);
    for (int i = 0; i < 3; i++)
        lb_call_cancel(calls[i]);
    expect(url, LB_FINDING_OK, "queues", "0 calls wait", NULL);
    lb_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(a_bus_at_work_has_nothing_wrong),
        folder_test(no_bus_is_a_note_and_none_is_made),
        folder_test(a_folder_that_is_open_to_others_is_an_error),
        folder_test(a_folder_with_other_things_in_it_is_an_error),
        folder_test(a_damaged_file_is_an_error),
        folder_test(a_file_system_in_memory_or_without_room_is_told),
        folder_test(a_full_file_is_told),
        folder_test(a_look_does_not_make_the_folder_durable),
        folder_test(a_stopped_process_is_told),
        folder_test(a_writer_that_is_stopped_is_told),
        folder_test(views_of_killed_processes_are_noted),
        folder_test(unread_events_about_to_be_trimmed_are_told),
        folder_test(events_trimmed_unread_are_told),
        folder_test(events_left_lying_are_told),
        folder_test(groups_that_nobody_reads_are_told),
        folder_test(random_looking_service_names_are_told),
        folder_test(random_service_names_are_noted),
        folder_test(dead_letters_are_told),
        folder_test(calls_that_nobody_serves_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
