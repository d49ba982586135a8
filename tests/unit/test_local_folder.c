/* The folder of a local bus: whose it may be, and what happens when it is foreign, newer, damaged, read-only or
 * full. */
#include "worker.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/local_folder.h"
#include "transports/local/check.h"
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

static const char *in_folder(const char *folder, const char *name)
{
    static char path[4][300];
    static int next;
    char text[300]; /* `folder` may be one of them */
    snprintf(text, sizeof text, "%s/%s", folder, name);
    return memcpy(path[next++ % 4], text, sizeof text);
}

static lb_status try_open(const char *folder, const char *options, store **s, lb_error *error)
{
    char url[400];
    local_options o;
    snprintf(url, sizeof url, "local://%s?%s", folder, options);
    lb_status status = local_options_parse(&o, url, error);
    assert_int_equal(status, LB_OK);
    return store_open(&o, 0, s, error);
}

static void expect_refused(const char *folder, const char *options, lb_status status, const char *part)
{
    store *s;
    lb_error error = {0};
    assert_status(try_open(folder, options, &s, &error), status, &error);
    assert_contains(error.message, part);
    assert_null(s);
}

static const lb_api api = {
    .name = "shop",
    .members = (const lb_member[]){LB_EVENT("ordered(n: int, text: str)"), LB_END},
};

static lb_bus *bus_open(const char *folder, const char *options)
{
    char url[400];
    lb_error error = {0};
    snprintf(url, sizeof url, "local://%s?%s", folder, options);
    lb_bus *bus = client_open(url, 0);
    assert_ok(lb_register(bus, &api, NULL, &error), &error);
    return bus;
}

static lb_status fire(lb_bus *bus, int n, const char *text, lb_error *error)
{
    return lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", n), LB("text", text)), error);
}

/* A bus with some events in it, closed. */
static void make_bus(const char *folder, int events)
{
    lb_error error = {0};
    char text[5000];
    memset(text, 'x', sizeof text);
    lb_bus *bus = bus_open(folder, "");
    for (int n = 0; n < events; n++) {
        text[n % 9 ? 50 : 4999] = '\0';
        assert_ok(fire(bus, n, text, &error), &error);
        text[n % 9 ? 50 : 4999] = 'x';
    }
    lb_close(bus);
}

static char *read_file(const char *path, size_t *size)
{
    struct stat about;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &about) == 0);
    char *data = malloc((size_t)about.st_size + 1);
    assert_int_equal(read(fd, data, (size_t)about.st_size), about.st_size);
    close(fd);
    *size = (size_t)about.st_size;
    return data;
}

static void replace_file(const char *path, const char *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    close(fd);
}

/* ---- Access ----------------------------------------------------------------------------------------- */

static void the_folder_is_private(void **state)
{
    const char *path = in_folder(*state, "a/b/bus");
    store *s;
    lb_error error = {0};
    struct stat about;
    assert_ok(try_open(path, "", &s, &error), &error);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0700);
    assert_int_equal(stat(in_folder(path, "events"), &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    store_close(s);
    chmod(path, 0702);
    expect_refused(path, "", LB_ACCESS, "others can write");
    chmod(path, 0770);
    expect_refused(path, "", LB_ACCESS, "access=group");
    assert_ok(try_open(path, "access=group", &s, &error), &error);
    store_close(s);
}

static void the_folder_of_another_user_is_refused(void **state)
{
    const char *path = in_folder(*state, "bus");
    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chown(path, 4711, 4711), 0);
    expect_refused(path, "", LB_ACCESS, "belongs to user 4711");
}

static int open_read_only(void *data)
{
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 1;
    expect_refused(data, "", LB_ACCESS, "denied");
    return 0;
}

static void a_read_only_folder_is_refused(void **state)
{
    const char *path = in_folder(*state, "bus");
    assert_int_equal(mkdir(path, 0700), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(path, 65534, 65534) + chmod(*state, 0755), 0);
    chmod(path, 0500);
    assert_int_equal(child_wait(child_start(open_read_only, (void *)(uintptr_t)path), 10000), 0);
}

/* ---- Foreign things --------------------------------------------------------------------------------- */

static void a_folder_with_other_things_is_refused(void **state)
{
    write_file(*state, "letter.txt", "dear reader");
    expect_refused(*state, "", LB_CONFIG, "letter.txt");
    assert_int_equal(access(in_folder(*state, "wake"), F_OK), -1);
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    static const char text[] =
        "a text of somebody that happens to be named events, and is as long as a page has to be";
    char page[9000];
    size_t size;
    for (size_t i = 0; i < sizeof page; i++)
        page[i] = text[i % (sizeof text - 1)];
    replace_file(in_folder(*state, "events"), page, sizeof page);
    expect_refused(*state, "", LB_UNSUPPORTED, "no LMDB file");
    char *now = read_file(in_folder(*state, "events"), &size);
    assert_int_equal(size, sizeof page);
    assert_memory_equal(now, page, size);
    free(now);
    replace_file(in_folder(*state, "events"), page, 100);
    expect_refused(*state, "", LB_MALFORMED, "truncated");
}

static void put_record(const char *path, const char *name, const void *data, size_t size)
{
    MDB_env *env;
    MDB_txn *t;
    MDB_dbi table;
    MDB_val k = {strlen(name), (void *)(uintptr_t)name}, v = {size, (void *)(uintptr_t)data};
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &t), 0);
    assert_int_equal(mdb_dbi_open(t, NULL, 0, &table), 0);
    assert_int_equal(mdb_put(t, table, &k, &v, 0), 0);
    assert_int_equal(mdb_txn_commit(t), 0);
    mdb_env_close(env);
}

static void a_foreign_database_is_refused_and_left_as_it_is(void **state)
{
    size_t before, after;
    put_record(in_folder(*state, "events"), "cat", "meow", 4);
    char *was = read_file(in_folder(*state, "events"), &before);
    expect_refused(*state, "", LB_UNSUPPORTED, "none of a local bus");
    char *is = read_file(in_folder(*state, "events"), &after);
    assert_int_equal(before, after);
    assert_memory_equal(was, is, before);
    free(was);
    free(is);
}

static void expect_format_refused(const char *folder, uint32_t format, const char *why)
{
    struct {
        int64_t expires;
        char magic[8];
        uint32_t format, durable;
    } identity = {INT64_MAX, {'l', 'i', 'g', 'h', 't', 'b', 'u', 's'}, format, 0};
    static const char key[9] = {'a'};
    MDB_env *env;
    MDB_txn *t;
    MDB_dbi table;
    MDB_val k = {sizeof key, (void *)(uintptr_t)key}, v = {sizeof identity, &identity};
    size_t before, after;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, in_folder(folder, "events"), MDB_NOSUBDIR, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &t), 0);
    assert_int_equal(mdb_dbi_open(t, NULL, 0, &table), 0);
    assert_int_equal(mdb_put(t, table, &k, &v, 0), 0);
    assert_int_equal(mdb_txn_commit(t), 0);
    mdb_env_close(env);
    char *was = read_file(in_folder(folder, "events"), &before);
    expect_refused(folder, "", LB_UNSUPPORTED, why);
    char *is = read_file(in_folder(folder, "events"), &after);
    assert_memory_equal(was, is, before);
    free(was);
    free(is);
}

static void other_formats_are_refused_and_left_as_they_are(void **state)
{
    make_bus(*state, 3);
    expect_format_refused(*state, STORE_FORMAT + 1, "newer Lightbus");
    expect_format_refused(*state, STORE_FORMAT - 1, "older Lightbus");
}

/* ---- Damage ----------------------------------------------------------------------------------------- */

static void a_truncated_database_is_refused(void **state)
{
    size_t size;
    make_bus(*state, 3000);
    char *data = read_file(in_folder(*state, "events"), &size);
    replace_file(in_folder(*state, "events"), data, 20000);
    expect_refused(*state, "", LB_MALFORMED, "truncated");
    replace_file(in_folder(*state, "events"), data, size);
    store *s;
    lb_error error = {0};
    assert_ok(try_open(*state, "", &s, &error), &error);
    store_close(s);
    free(data);
}

static lb_status ignore(const lb_event *event, void *data)
{
    (void)event;
    shared_add(data, 1);
    return LB_OK;
}

/* 0: refused with an error; 0 as well: everything could be read, or what was damaged was told. A crash is
 * neither. */
static int read_all(void *data)
{
    int *handled = shared_memory(sizeof(int));
    store *s;
    lb_error error = {0};
    lb_log_set_level(LB_LOG_CRITICAL);
    if (try_open(data, "", &s, &error) != LB_OK)
        return error.message[0] ? 0 : 1;
    store_close(s);
    lb_bus *bus = bus_open(data, "");
    if (lb_listen(bus, "shop.ordered", "l", ignore, handled, &(lb_listen_options){.since = "0"}, &error) ==
            LB_OK &&
        lb_start(bus, &error) == LB_OK)
        for (int last = -1; shared_get(handled) != last; sleep_ms(30))
            last = shared_get(handled);
    fire(bus, 1, "one more", &error);
    _exit(0);
}

static void a_damaged_database_crashes_nobody(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    size_t size;
    char *folder = strdup(in_folder(*state, "bus"));
    print_message("seed %u\n", seed);
    make_bus(folder, 400);
    char *data = read_file(in_folder(folder, "events"), &size);
    for (int round = 0; round < support_scaled(60); round++) {
        char *copy = malloc(size);
        memcpy(copy, data, size);
        for (int i = 0; i < 1 + round % 5; i++) {
            size_t within[] = {8192, 120000, size}; /* the pages that tell; most of what is used; all of it */
            copy[(size_t)rand_r(&seed) % within[round % 3] % size] = (char)rand_r(&seed);
        }
        replace_file(in_folder(folder, "events"), copy, size);
        unlink(in_folder(folder, "wake"));
        free(copy);
        assert_int_equal(child_wait(child_start(read_all, folder), 20000), 0);
    }
    free(data);
    free(folder);
}

static uint64_t number_at(const char *data, size_t at)
{
    uint64_t number;
    memcpy(&number, data + at, sizeof number);
    return number;
}

/* What LMDB takes for granted, and ends the process or reads past the file where it is not so. The places are
 * those of its file format, of which check.c knows as much. */
static void damage_that_would_end_the_process_is_refused(void **state)
{
    enum { PAGE = 4096, SIZE_OF_PAGES = 40, FREE_FLAGS = 44, ROOT = 128, TRANSACTION = 144 };
    size_t size;
    if (sysconf(_SC_PAGESIZE) != PAGE)
        skip();
    make_bus(*state, 400);
    char *data = read_file(in_folder(*state, "events"), &size), *copy = malloc(size);
    size_t meta = number_at(data, PAGE + TRANSACTION) > number_at(data, TRANSACTION) ? PAGE : 0,
           root = number_at(data, meta + ROOT) * PAGE;
    const struct {
        size_t at;
        unsigned char flip;
        const char *what;
    } cases[] = {
        {PAGE + SIZE_OF_PAGES + 2, 0x10, "its meta pages differ in the size of a page"},
        {meta + FREE_FLAGS, 0x04, "the free pages are kept in another way"},
        {root + 11, 0x80, "a page is not what its tree says"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(copy, data, size);
        copy[cases[i].at] = (char)(copy[cases[i].at] ^ cases[i].flip);
        replace_file(in_folder(*state, "events"), copy, size);
        expect_refused(*state, "", LB_MALFORMED, cases[i].what);
    }
    memcpy(copy, data, size); /* still the newest, but its number belongs to the other page */
    copy[meta + TRANSACTION] = (char)(copy[meta + TRANSACTION] ^ 1);
    copy[meta + TRANSACTION + 4] = 1;
    replace_file(in_folder(*state, "events"), copy, size);
    expect_refused(*state, "", LB_MALFORMED, "a meta page is in the other's place");
    memcpy(copy, data, size); /* two records of a branch change places */
    memcpy(copy + root + 18, data + root + 20, 2);
    memcpy(copy + root + 20, data + root + 18, 2);
    replace_file(in_folder(*state, "events"), copy, size);
    expect_refused(*state, "", LB_MALFORMED, "keys are not in their order");
    free(copy);
    free(data);
}

static void damaged_calls_begin_anew(void **state)
{
    size_t size;
    make_bus(*state, 10);
    char *data = read_file(in_folder(*state, "calls"), &size);
    memset(data, 0x5a, size / 2);
    replace_file(in_folder(*state, "calls"), data, size);
    free(data);
    lb_log_set_level(LB_LOG_ERROR);
    make_bus(*state, 10);
    lb_log_set_level(LB_LOG_INFO);
}

static void a_damaged_wake_file_is_made_anew(void **state)
{
    char garbage[100000];
    memset(garbage, 0xa5, sizeof garbage);
    make_bus(*state, 10);
    replace_file(in_folder(*state, "wake"), garbage, sizeof garbage);
    make_bus(*state, 10);
}

/* ---- Restarts of the machine ------------------------------------------------------------------------ */

static void leases_end_with_a_restart_of_the_machine(void **state)
{
    const lb_event_transport *t = local_transport.event;
    char url[400];
    void *self, *listener;
    const lb_event_message *events;
    size_t count;
    lb_error error = {0};
    lb_slice name = {"shop", 4}, event = {"ordered", 7};
    lb_listener_config config = {
        .group = "g", .consumer = "a", .api_names = &name, .event_names = &event, .count = 1};
    snprintf(url, sizeof url, "local://%s", (char *)*state);
    lb_transport_config how = {.size = sizeof how, .url = url, .service_name = "tests", .process_name = "a"};
    for (int boot = 0; boot < 2; boot++) {
        assert_ok(local_transport.open(&how, &self, &error), &error);
        config.consumer = boot ? "b" : "a";
        assert_ok(t->listen(self, &config, 0, &listener, &error), &error);
        if (boot == 0) {
            lb_bus *bus = bus_open(*state, "");
            assert_ok(fire(bus, 1, "", &error), &error);
            lb_close(bus);
        }
        assert_ok(t->fetch(listener, 10, 0, &events, &count, &error), &error);
        assert_int_equal(count, 1); /* the second time without waiting for the lease of 60 s */
        assert_int_equal(events[0].deliveries, boot + 1);
        t->unlisten(listener, false);
        local_transport.close(self);
        unlink(in_folder(*state, "wake")); /* as if in a folder that does not survive */
    }
}

/* ---- Holders of the lock ---------------------------------------------------------------------------- */

static int hold_and_stop(void *data)
{
    store *s;
    transaction t;
    lb_error error = {0};
    assert_ok(try_open(data, "", &s, &error), &error);
    assert_ok(write_begin(s, STORE_EVENTS, 0, 0, &t, &error), &error);
    raise(SIGSTOP);
    return 0;
}

static void a_stopped_holder_of_the_lock_is_named_and_a_killed_one_is_forgotten(void **state)
{
    lb_error error = {0};
    store *s;
    transaction t;
    char pid[16];
    pid_t child = child_start(hold_and_stop, *state);
    wait_until(child_is_stopped(child), PATIENCE_MS);
    assert_ok(try_open(*state, "", &s, &error), &error);
    assert_status(write_begin(s, STORE_EVENTS, 0, 0, &t, &error), LB_TRANSPORT, &error);
    snprintf(pid, sizeof pid, "%d", (int)child);
    assert_contains(error.message, pid);
    assert_true(error.retryable);
    child_kill(child, SIGKILL);
    child_wait(child, 10000);
    assert_ok(write_begin(s, STORE_EVENTS, 0, 0, &t, &error), &error);
    assert_ok(write_end(&t, 0, "testing", &error), &error);
    store_close(s);
}

/* ---- A folder that is removed under its users ------------------------------------------------------- */

static void a_folder_that_is_removed_in_use_is_made_again(void **state)
{
    char *folder = strdup(in_folder(*state, "bus"));
    int *handled = shared_memory(sizeof(int));
    lb_error error = {0};
    lb_bus *bus = bus_open(folder, "");
    assert_ok(lb_listen(bus, "shop.ordered", "l", ignore, handled, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    assert_ok(fire(bus, 1, "", &error), &error);
    wait_until(shared_get(handled) == 1, 10000);
    remove_directory(folder);
    wait_until(access(folder, F_OK) == 0, 20000); /* the listener notices */
    lb_bus *other = bus_open(folder, "");
    for (int n = 0; n < 3; n++)
        assert_ok(fire(other, n, "", &error), &error);
    wait_until(shared_get(handled) == 4, 10000);
    lb_close(other);
    lb_close(bus);
    free(folder);
}

/* ---- Full ------------------------------------------------------------------------------------------- */

/* Fires until there is no space; then a listener still gets everything, and acknowledges it. */
static void fill_and_drain(const char *folder, const char *options, int deduplicate_ms)
{
    const lb_listen_options from_the_start = {.since = "0", .deduplicate_ms = deduplicate_ms};
    lb_error error = {0};
    char text[900];
    int fired = 0, *handled = shared_memory(sizeof(int));
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    lb_bus *bus = bus_open(folder, options), *worker = bus_open(folder, options);
    assert_ok(lb_listen(worker, "shop.ordered", "l", ignore, handled, &from_the_start, &error), &error);
    lb_status status;
    while ((status = fire(bus, fired, text, &error)) == LB_OK && fired < 100000)
        fired++;
    assert_status(status, LB_NO_SPACE, &error);
    assert_true(fired > 100);
    assert_ok(lb_start(worker, &error), &error);
    wait_until(shared_get(handled) == fired, 20000);
    assert_status(fire(bus, fired, text, &error), LB_NO_SPACE, &error);
    assert_ok(lb_stop(worker, -1, &error), &error);
    lb_close(worker);
    lb_close(bus);
    assert_ok(check_file(in_folder(folder, "events"), true, &error), &error);
}

static void a_full_map_is_told_and_workers_go_on(void **state)
{
    fill_and_drain(*state, "max_size=6000000", 0);
}

/* There is no room for noting ids: a warning, and no more. */
static void a_full_map_stops_no_listener_that_deduplicates(void **state)
{
    fill_and_drain(*state, "max_size=6000000", 60000);
}

static void trimming_keeps_a_small_folder_going(void **state)
{
    lb_error error = {0};
    char text[900];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    lb_bus *bus = bus_open(*state, "max_size=8000000&max_stream_length=1000");
    for (int n = 0; n < 20000; n++)
        assert_ok(fire(bus, n, text, &error), &error);
    lb_close(bus);
}

static int fill_small_disk(void *data)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return 77;
    if (mount("none", data, "tmpfs", 0, "size=8m,mode=0700") != 0)
        return 77;
    fill_and_drain(in_folder(data, "bus"), "", 0);
    return 0;
}

static void a_full_disk_is_told_and_workers_go_on(void **state)
{
    int code = child_wait(child_start(fill_small_disk, *state), 60000);
    if (code == 77)
        skip();
    assert_int_equal(code, 0);
}

/* ---- lightbus local --------------------------------------------------------------------------------- */

static int64_t number_in(const char *json, const char *name)
{
    const char *at = strstr(json, name);
    assert_non_null(at);
    return atoll(at + strlen(name) + 2);
}

static void a_folder_can_be_looked_at_compacted_and_removed(void **state)
{
    const char *folder = in_folder(*state, "bus");
    int *handled = shared_memory(sizeof(int));
    char url[400];
    buffer json = {0};
    uint64_t before, after;
    lb_error error = {0};
    snprintf(url, sizeof url, "local://%s", folder);
    assert_status(local_folder_info(url, &json, &error), LB_CONFIG, &error);
    assert_contains(error.message, "no local bus");
    assert_int_equal(access(folder, F_OK), -1); /* looking makes nothing */
    lb_bus *bus = bus_open(folder, "");
    assert_ok(lb_listen(bus, "shop.ordered", "l", ignore, handled, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    assert_ok(lb_stop(bus, -1, &error), &error);
    for (int n = 0; n < 50; n++)
        assert_ok(fire(bus, n, "x", &error), &error);
    assert_ok(local_folder_info(url, &json, &error), &error);
    const char *text = buffer_text(&json);
    assert_int_equal(number_in(text, "length"), 50);
    assert_int_equal(number_in(text, "behind"), 50);
    assert_int_equal(number_in(text, "pending"), 0);
    assert_contains(text, "\"client-l\"");
    assert_contains(text, "\"schemas\":[\"shop\"]");
    buffer_free(&json);
    assert_status(local_folder_compact(url, &before, &after, &error), LB_BUSY, &error);
    assert_status(local_folder_remove(url, &error), LB_BUSY, &error);
    lb_close(bus);
    assert_ok(local_folder_compact(url, &before, &after, &error), &error);
    assert_true(after < before);
    bus = bus_open(folder, ""); /* what was there is there */
    assert_ok(lb_listen(bus, "shop.ordered", "l", ignore, handled, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    wait_until(shared_get(handled) == 50, 10000);
    lb_close(bus);
    assert_ok(local_folder_remove(url, &error), &error);
    assert_int_equal(access(folder, F_OK), -1);
}

/* ---- URLs ------------------------------------------------------------------------------------------- */

static void urls_name_folders(void **state)
{
    (void)state;
    local_options o;
    lb_error error = {0};
    assert_ok(local_options_parse(&o, "local:///var/lib/my%20bus?acknowledgement_timeout=2.5&durability=disk",
                                  &error),
              &error);
    assert_string_equal(o.folder, "/var/lib/my bus");
    assert_int_equal(o.acknowledgement_timeout_ms, 2500);
    assert_true(o.durable);
    setenv("XDG_RUNTIME_DIR", "/nowhere", 1); /* not there: not used */
    setenv("XDG_STATE_HOME", "/state", 1);
    assert_ok(local_options_parse(&o, "local:", &error), &error);
    assert_string_equal(o.folder, "/state/lightbus/default");
    assert_ok(local_options_parse(&o, "local:shop-2", &error), &error);
    assert_string_equal(o.folder, "/state/lightbus/shop-2");
    static const char *const wrong[] = {
        "local:../x",        "local:a/b",     "local://host/x",           "local:///",
        "local:///a%0",      "local:.hidden", "local:x?durability=maybe", "local:x?max_size=1",
        "local:x?durability"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_status(local_options_parse(&o, wrong[i], &error), LB_CONFIG, &error);
    assert_status(local_options_parse(&o, "local:?durabilty=disk", &error), LB_CONFIG, &error);
    assert_contains(error.message, "\"durability\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(the_folder_is_private),
        folder_test(the_folder_of_another_user_is_refused),
        folder_test(a_read_only_folder_is_refused),
        folder_test(a_folder_with_other_things_is_refused),
        folder_test(a_file_that_is_no_database_is_refused),
        folder_test(a_foreign_database_is_refused_and_left_as_it_is),
        folder_test(other_formats_are_refused_and_left_as_they_are),
        folder_test(a_truncated_database_is_refused),
        folder_test(a_damaged_database_crashes_nobody),
        folder_test(damage_that_would_end_the_process_is_refused),
        folder_test(damaged_calls_begin_anew),
        folder_test(a_damaged_wake_file_is_made_anew),
        folder_test(leases_end_with_a_restart_of_the_machine),
        folder_test(a_stopped_holder_of_the_lock_is_named_and_a_killed_one_is_forgotten),
        folder_test(a_folder_that_is_removed_in_use_is_made_again),
        folder_test(a_full_map_is_told_and_workers_go_on),
        folder_test(a_full_map_stops_no_listener_that_deduplicates),
        folder_test(trimming_keeps_a_small_folder_going),
        folder_test(a_full_disk_is_told_and_workers_go_on),
        folder_test(a_folder_can_be_looked_at_compacted_and_removed),
        cmocka_unit_test(urls_name_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
