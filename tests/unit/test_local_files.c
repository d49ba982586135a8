/* The files of a local bus: full disks, signals, compaction, forks, and what is no file. */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/local_folder.h"
#include "transports/local/listener.h"
#include "transports/local/local.h"

enum { SKIPPED = 77 };

static char *folder;

static int folder_setup(void **state)
{
    (void)state;
    folder = temporary_directory();
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

static const char *bus_file(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/bus/%s", folder, name);
    return path;
}

static lb_status try_open(const char *options, store **s, lb_error *error)
{
    char url[400];
    local_options o;
    snprintf(url, sizeof url, "local://%s/bus?%s", folder, options);
    assert_ok(local_options_parse(&o, url, error), error);
    return store_open(&o, 0, s, error);
}

static store *must_open(const char *options)
{
    store *s;
    lb_error error = {0};
    assert_ok(try_open(options, &s, &error), &error);
    return s;
}

static lb_status compact(const char *options, lb_error *error)
{
    char url[400];
    uint64_t before, after;
    snprintf(url, sizeof url, "local://%s/bus?%s", folder, options);
    return local_folder_compact(url, &before, &after, error);
}

/* ---- In the place of the C library's, for all that is linked into this program ----------------------- */

static int signals_to_come; /* calls of fallocate that a signal ends */
static int *folders_synced; /* calls of fsync on a folder */

int fallocate(int fd, int mode, off_t at, off_t size)
{
    if (signals_to_come > 0) {
        signals_to_come--;
        errno = EINTR;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, at, size);
}

static bool metas_fail; /* writes to the first two pages of LMDB's files */

#define TAKES_THE_PLACE_OF(name) __asm__(name) __attribute__((visibility("default")))
ssize_t failing_pwrite(int fd, const void *data, size_t size, off_t at) TAKES_THE_PLACE_OF("pwrite");

ssize_t failing_pwrite(int fd, const void *data, size_t size, off_t at)
{
    if (metas_fail && at < 8192) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, size, at);
}

int fsync(int fd)
{
    struct stat about;
    if (folders_synced && fstat(fd, &about) == 0 && S_ISDIR(about.st_mode))
        ++*folders_synced;
    return (int)syscall(SYS_fsync, fd);
}

/* ---- Full disks ------------------------------------------------------------------------------------- */

static bool mount_memory(const char *size)
{
    char options[64];
    snprintf(options, sizeof options, "size=%s,mode=0700", size);
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", folder, "tmpfs", 0, options) == 0;
}

static int open_on_a_small_disk(void *data)
{
    char size[16];
    store *s;
    lb_error error = {0};
    snprintf(size, sizeof size, "%dk", *(int *)data);
    if (!mount_memory(size))
        return SKIPPED;
    assert_status(try_open("", &s, &error), LB_NO_SPACE, &error);
    return 0;
}

/* A transaction that writes something. */
static lb_status write_once(store *s, lb_error *error)
{
    transaction t;
    key k = key_1(KEY_PENDING, 1);
    MDB_val kv = key_val(&k), v = {1, "x"};
    lb_status status = write_begin(s, STORE_EVENTS, 0, 0, &t, error);
    return status == LB_OK
               ? write_end(&t, mdb_put(t.txn, s->parts[STORE_EVENTS].table, &kv, &v, 0), "testing", error)
               : status;
}

static void expect_no_signal(int (*body)(void *), void *data)
{
    int code = child_wait(child_start(body, data), PATIENCE_MS);
    if (code == SKIPPED)
        skip();
    assert_int_equal(code, 0);
}

static void a_disk_too_small_for_the_files_is_told(void **state)
{
    (void)state;
    for (int kib = 8; kib < 400; kib += 4)
        expect_no_signal(open_on_a_small_disk, &kib);
}

/* Each takes a place in LMDB's table of readers. */
static int read_on_a_full_disk(void *data)
{
    enum { VIEWS = 1000 };
    static view views[VIEWS];
    static char zeros[1 << 16];
    char path[300];
    lb_error error = {0};
    (void)data;
    if (!mount_memory("8m"))
        return SKIPPED;
    store *s = must_open("");
    snprintf(path, sizeof path, "%s/filler", folder);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    while (write(fd, zeros, sizeof zeros) > 0)
        ;
    close(fd);
    for (int i = 0; i < VIEWS; i++)
        assert_ok(view_begin(&views[i], s, STORE_EVENTS, &error), &error);
    for (int i = 0; i < VIEWS; i++)
        view_free(&views[i]);
    store_close(s);
    return 0;
}

static void readers_go_on_where_the_disk_is_full(void **state)
{
    (void)state;
    expect_no_signal(read_on_a_full_disk, NULL);
}

/* LMDB goes on with no database of which it cannot say in which state it is. */
static int write_to_a_broken_disk(void *data)
{
    lb_error error = {0};
    store *s = must_open("");
    (void)data;
    metas_fail = true;
    assert_true(write_once(s, &error) != LB_OK);
    metas_fail = false;
    assert_status(write_once(s, &error), LB_SYSTEM, &error);
    assert_contains(error.message, "start this process again");
    return 0;
}

static void a_disk_that_fails_halfway_is_told(void **state)
{
    (void)state;
    expect_no_signal(write_to_a_broken_disk, NULL);
    lb_error error = {0};
    store *s = must_open("");
    assert_ok(write_once(s, &error), &error);
    store_close(s);
}

/* ---- Signals ---------------------------------------------------------------------------------------- */

static void a_signal_does_not_keep_a_file_from_growing(void **state)
{
    (void)state;
    transaction t;
    lb_error error = {0};
    store *s = must_open("");
    for (int megabytes = 1; megabytes < 20; megabytes++) {
        signals_to_come = 3;
        assert_ok(write_begin(s, STORE_EVENTS, (size_t)megabytes << 20, 0, &t, &error), &error);
        write_abort(&t);
    }
    signals_to_come = 0;
    store_close(s);
}

/* ---- Compaction ------------------------------------------------------------------------------------- */

static void expect_mode(const char *name, mode_t mode)
{
    struct stat about;
    assert_int_equal(stat(bus_file(name), &about), 0);
    assert_int_equal(about.st_mode & 07777, mode);
}

static void a_compacted_folder_is_as_open_as_before(void **state)
{
    (void)state;
    lb_error error = {0};
    static const char *const names[] = {"events", "events-lock", "calls", "calls-lock", "wake", "open"};
    mode_t mask = umask(077);
    store_close(must_open("access=group"));
    assert_ok(compact("access=group", &error), &error);
    store *s = must_open("access=group");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        expect_mode(names[i], 0660);
    store_close(s);
    umask(mask);
}

static void what_a_killed_compaction_left_goes(void **state)
{
    (void)state;
    lb_error error = {0};
    store_close(must_open(""));
    for (int again = 0; again < 2; again++) {
        write_file(folder, "bus/events-new", "half of it");
        if (again)
            assert_ok(compact("", &error), &error);
        else
            store_close(must_open(""));
        assert_int_equal(access(bus_file("events-new"), F_OK), -1);
    }
    store_close(must_open(""));
}

static int compact_until_killed(void *data)
{
    lb_error error = {0};
    (void)data;
    while (compact("", &error) == LB_OK)
        ;
    fail_msg("%s", error.message);
    return 1;
}

static void fire_events(int count)
{
    static char text[20000];
    void *self;
    char url[300];
    lb_error error = {0};
    memset(text, '1', sizeof text);
    lb_kwarg large = {.name = {"text", 4}, .json = {text, sizeof text}};
    lb_event_message event = {.id = {"1", 1},
                              .api_name = {"shop", 4},
                              .event_name = {"ordered", 7},
                              .kwargs = &large,
                              .kwargs_count = 1};
    snprintf(url, sizeof url, "local://%s/bus", folder);
    lb_transport_config how = {.size = sizeof how, .url = url, .service_name = "tests", .process_name = "p"};
    assert_ok(local_transport.open(&how, &self, &error), &error);
    for (int n = 0; n < count; n++)
        assert_ok(local_transport.event->send(self, (lb_event_message *const[]){&event}, 1, 0, &error), &error);
    local_transport.close(self);
}

/* S10 */
static void s10_a_compaction_may_be_killed_at_any_moment(void **state)
{
    (void)state;
    enum { EVENTS = 100 };
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    fire_events(EVENTS);
    for (int round = 0; round < support_scaled(40); round++) {
        lb_error error = {0};
        pid_t child = child_start(compact_until_killed, NULL);
        usleep((useconds_t)rand_r(&seed) % 15000);
        child_kill(child, SIGKILL);
        assert_int_equal(child_wait(child, PATIENCE_MS), 128 + SIGKILL);
        stream stored;
        view v = {0};
        store *s = must_open("");
        assert_ok(view_begin(&v, s, STORE_EVENTS, &error), &error);
        assert_int_equal(
            stream_get(v.txn, s->parts[STORE_EVENTS].table, hash_text((lb_slice){"shop.*", 6}), &stored), 0);
        assert_int_equal(stored.last + 1 - stored.first, EVENTS);
        view_free(&v);
        store_close(s);
        assert_int_equal(access(bus_file("events-new"), F_OK), -1);
    }
    fire_events(1);
}

/* S10: what a name in a folder leads to is on the disk only when the folder is, too. */
static void s10_the_folder_is_synced_with_its_files(void **state)
{
    (void)state;
    lb_error error = {0};
    int made = 0, compacted = 0;
    folders_synced = &made;
    store_close(must_open("durability=disk"));
    folders_synced = &compacted;
    assert_ok(compact("", &error), &error);
    folders_synced = NULL;
    assert_int_equal(made, 2); /* and the one that it lies in */
    assert_int_equal(compacted, 2);
}

/* ---- Forks ------------------------------------------------------------------------------------------ */

static void wait_to_be_killed(void)
{
    alarm(60); /* if the test fails before */
    for (;;)
        pause();
}

static int open_and_fork(void *data)
{
    store *s = must_open("");
    if (fork() == 0) {
        shared_set(data, getpid());
        wait_to_be_killed();
    }
    wait_until(shared_get(data), PATIENCE_MS);
    store_close(s);
    return 0;
}

static void end(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    waitpid(child, NULL, 0); /* fails where it is another's */
}

static void a_fork_does_not_keep_the_folder_in_use(void **state)
{
    (void)state;
    lb_error error = {0};
    int *child = shared_memory(sizeof *child);
    assert_int_equal(child_wait(child_start(open_and_fork, child), PATIENCE_MS), 0);
    assert_ok(compact("", &error), &error);
    end(shared_get(child));
}

static void *open_and_close(void *stop)
{
    while (!shared_get(stop))
        store_close(must_open(""));
    return NULL;
}

static void a_fork_in_the_middle_of_an_opening_locks_nobody_out(void **state)
{
    (void)state;
    enum { FORKS = 20 };
    int stop = 0;
    pid_t children[FORKS];
    pthread_t thread;
    pthread_create(&thread, NULL, open_and_close, &stop);
    for (int i = 0; i < FORKS; i++) {
        support_nap();
        children[i] = fork();
        if (children[i] == 0)
            wait_to_be_killed();
    }
    shared_set(&stop, 1);
    pthread_join(thread, NULL);
    store_close(must_open(""));
    for (int i = 0; i < FORKS; i++)
        end(children[i]);
}

/* ---- What is no file -------------------------------------------------------------------------------- */

static void a_link_or_a_pipe_is_no_file(void **state)
{
    (void)state;
    static const char *const names[] = {"events", "calls", "events-lock", "wake"};
    store *s;
    lb_error error = {0};
    assert_int_equal(mkdir(bus_file(""), 0700), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(symlink("/dev/null", bus_file(names[i])), 0);
        assert_status(try_open("", &s, &error), LB_ACCESS, &error);
        assert_contains(error.message, names[i]);
        assert_int_equal(unlink(bus_file(names[i])), 0);
        assert_int_equal(mkfifo(bus_file(names[i]), 0600), 0);
        assert_status(try_open("", &s, &error), LB_ACCESS, &error);
        assert_int_equal(unlink(bus_file(names[i])), 0);
    }
    store_close(must_open(""));
}

/* ---- What others left ------------------------------------------------------------------------------- */

static void put_raw(store *s, store_part part, key k, const void *data, size_t size)
{
    transaction t;
    lb_error error = {0};
    MDB_val kv = key_val(&k), v = {size, (void *)(uintptr_t)data};
    assert_ok(write_begin(s, part, size, 0, &t, &error), &error);
    assert_ok(write_end(&t, mdb_put(t.txn, s->parts[part].table, &kv, &v, 0), "testing", &error), &error);
}

/* S32: a batch that another process staged is appended by whoever fires next. */
static void s32_a_damaged_batch_keeps_nobody_from_firing(void **state)
{
    (void)state;
    void *self;
    char url[300];
    lb_error error = {0};
    struct {
        int64_t expires_ns, most;
        uint32_t runs, name_size;
        char name[4];
        uint32_t records_size, record_size;
    } batch = {INT64_MAX, 1000, 1, 4, {'e', 'v', 'i', 'l'}, 4, 1000};
    store *s = must_open("");
    put_raw(s, STORE_CALLS, key_1(KEY_FIRE, 1), "", 1);
    put_raw(s, STORE_CALLS, key_1(KEY_FIRE, 2), &batch, 12);
    put_raw(s, STORE_CALLS, key_1(KEY_FIRE, 3), &batch, 2 * 8 + 3 * 4 + 4 + 4);
    snprintf(url, sizeof url, "local://%s/bus?durability=disk", folder);
    lb_transport_config how = {.size = sizeof how, .url = url, .service_name = "tests", .process_name = "p"};
    assert_ok(local_transport.open(&how, &self, &error), &error);
    lb_event_message fired = {.id = {"1", 1}, .api_name = {"shop", 4}, .event_name = {"ordered", 7}};
    for (int n = 0; n < 3; n++)
        assert_ok(local_transport.event->send(self, (lb_event_message *const[]){&fired}, 1, 0, &error), &error);
    local_transport.close(self);
    store_close(s);
}

/* However long its process would have waited. */
static void a_staged_batch_expires(void **state)
{
    (void)state;
    int64_t expires_ns;
    buffer staged = {0};
    together_begin(&staged, 1000, 1);
    memcpy(&expires_ns, staged.data, sizeof expires_ns);
    assert_true(expires_ns > clock_in_ms(0) && expires_ns < clock_in_ms(60000));
    buffer_free(&staged);
}

static void another_kind_of_database_is_refused(void **state)
{
    (void)state;
    store *s;
    MDB_env *env;
    MDB_txn *t;
    MDB_dbi table;
    lb_error error = {0};
    assert_int_equal(mkdir(bus_file(""), 0700), 0);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, bus_file("events"), MDB_NOSUBDIR, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &t), 0);
    assert_int_equal(mdb_dbi_open(t, NULL, MDB_INTEGERKEY | MDB_CREATE, &table), 0);
    assert_int_equal(mdb_txn_commit(t), 0);
    mdb_env_close(env);
    assert_status(try_open("", &s, &error), LB_UNSUPPORTED, &error);
    assert_contains(error.message, "another kind");
}

/* ---- Files that are removed while in use ------------------------------------------------------------- */

static lb_status try_writing(store *s, lb_error *error)
{
    transaction t;
    sleep_ms(20); /* the files are looked at every few milliseconds */
    lb_status status = write_begin(s, STORE_EVENTS, 0, 0, &t, error);
    if (status == LB_OK)
        write_abort(&t);
    return status;
}

static void a_file_that_is_removed_alone_is_told(void **state)
{
    (void)state;
    static const char *const names[] = {"events", "wake"};
    lb_error error = {0};
    for (int i = 0; i < 2; i++) {
        store *s = must_open("");
        assert_ok(try_writing(s, &error), &error);
        assert_int_equal(unlink(bus_file(names[i])), 0);
        store_sweep(s);
        assert_status(try_writing(s, &error), LB_TRANSPORT, &error);
        assert_contains(error.message, names[i]);
        assert_false(store_gone(s)); /* the rest is still used */
        remove_directory(bus_file(""));
        assert_status(try_writing(s, &error), LB_TRANSPORT, &error);
        assert_true(store_gone(s));
        store_close(s);
    }
}

static void files_in_use_are_not_old(void **state)
{
    (void)state;
    static const char *const names[] = {"open", "wake", "events", "events-lock", "calls", "calls-lock"};
    static const struct timespec old[2] = {{1, 0}, {1, 0}};
    struct stat about;
    store *s = must_open("");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(utimensat(AT_FDCWD, bus_file(names[i]), old, 0), 0);
    store_sweep(s);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(stat(bus_file(names[i]), &about), 0);
        assert_true(about.st_mtime > 1);
        assert_true(about.st_atime > 1);
    }
    store_close(s);
}

/* A long queue of living calls does not keep what lies behind it. */
static void what_has_expired_goes_wherever_it_lies(void **state)
{
    (void)state;
    enum { LIVING = 30000 };
    const int64_t never = INT64_MAX, before = 1;
    transaction t;
    lb_error error = {0};
    store *s = must_open("");
    assert_ok(write_begin(s, STORE_CALLS, 0, 0, &t, &error), &error);
    MDB_dbi table = s->parts[STORE_CALLS].table;
    for (uint64_t n = 0; n < LIVING; n++) {
        key k = key_3(KEY_CALL, 1, n, 0);
        MDB_val kv = key_val(&k), v = {sizeof never, (void *)(uintptr_t)&never};
        assert_int_equal(mdb_put(t.txn, table, &kv, &v, 0), 0);
    }
    assert_ok(write_end(&t, 0, "testing", &error), &error);
    key k = key_3(KEY_RESULT, 1, 1, 1);
    for (int again = 0; again < 2; again++) {
        put_raw(s, STORE_CALLS, k, &before, sizeof before);
        for (int i = 0; i < 3; i++)
            store_sweep(s);
        view v = {0};
        MDB_val kv = key_val(&k), found;
        assert_ok(view_begin(&v, s, STORE_CALLS, &error), &error);
        assert_int_equal(mdb_get(v.txn, table, &kv, &found), MDB_NOTFOUND);
        view_free(&v);
    }
    store_close(s);
}

/* ---- Looking ---------------------------------------------------------------------------------------- */

static void count_schema(lb_slice api_name, lb_slice json, void *data)
{
    (void)api_name, (void)json;
    ++*(int *)data;
}

static void count_lag(const lb_group_lag *lag, void *data)
{
    (void)lag;
    ++*(int *)data;
}

static size_t next_events(void *history, bool *end)
{
    const lb_event_message *events;
    size_t count;
    lb_error error = {0};
    assert_ok(local_transport.event->history_fetch(history, 10, 0, &events, &count, end, &error), &error);
    return count;
}

static void looking_makes_no_bus(void **state)
{
    const char *stream_use = *state;
    char url[300];
    void *self, *histories[2];
    int found = 0;
    bool end;
    lb_error error = {0};
    lb_slice api = {"shop", 4}, event = {"ordered", 7};
    lb_history_config config = {.api_names = &api, .event_names = &event, .count = 1, .oldest_first = true};
    folder = temporary_directory();
    snprintf(url, sizeof url, "local://%s/bus?durability=disk&stream_use=%s", folder, stream_use);
    lb_transport_config how = {.size = sizeof how, .url = url, .service_name = "tests", .process_name = "p"};
    assert_ok(local_transport.open(&how, &self, &error), &error);
    assert_ok(local_transport.schema->load(self, count_schema, &found, 0, &error), &error);
    assert_ok(local_transport.event->lag(self, api, event, count_lag, &found, 0, &error), &error);
    assert_ok(local_transport.event->lag(self, api, (lb_slice){"*", 1}, count_lag, &found, 0, &error), &error);
    assert_int_equal(found, 0);
    for (int i = 0; i < 2; i++) {
        config.from = i ? "$" : NULL;
        assert_ok(local_transport.event->history(self, &config, 0, &histories[i], &error), &error);
        assert_int_equal(next_events(histories[i], &end), 0);
        assert_true(end);
    }
    assert_int_equal(access(bus_file(""), F_OK), -1);
    lb_event_message fired = {.id = {"1", 1}, .api_name = api, .event_name = event};
    assert_ok(local_transport.event->send(self, (lb_event_message *const[]){&fired}, 1, 0, &error), &error);
    for (int i = 0; i < 2; i++) { /* what came since is found */
        assert_int_equal(next_events(histories[i], &end), 1);
        local_transport.event->history_close(histories[i]);
    }
    local_transport.close(self);
    remove_directory(folder);
    free(folder);
}

static void looking_makes_no_folder_durable(void **state)
{
    (void)state;
    char url[300];
    buffer json = {0};
    lb_error error = {0};
    store_close(must_open(""));
    snprintf(url, sizeof url, "local://%s/bus?durability=disk", folder);
    assert_ok(local_folder_info(url, &json, &error), &error);
    assert_contains(buffer_text(&json), "\"durability\":\"process\"");
    buffer_free(&json);
}

int main(void)
{
    lb_log_set_level(LB_LOG_CRITICAL);
    const struct CMUnitTest tests[] = {
        folder_test(a_disk_too_small_for_the_files_is_told),
        folder_test(readers_go_on_where_the_disk_is_full),
        folder_test(a_disk_that_fails_halfway_is_told),
        folder_test(a_signal_does_not_keep_a_file_from_growing),
        folder_test(a_compacted_folder_is_as_open_as_before),
        folder_test(what_a_killed_compaction_left_goes),
        folder_test(s10_a_compaction_may_be_killed_at_any_moment),
        folder_test(s10_the_folder_is_synced_with_its_files),
        folder_test(a_fork_does_not_keep_the_folder_in_use),
        folder_test(a_fork_in_the_middle_of_an_opening_locks_nobody_out),
        folder_test(a_link_or_a_pipe_is_no_file),
        cmocka_unit_test_prestate(looking_makes_no_bus, (void *)(uintptr_t) "per_api"),
        cmocka_unit_test_prestate(looking_makes_no_bus, (void *)(uintptr_t) "per_event"),
        folder_test(a_file_that_is_removed_alone_is_told),
        folder_test(files_in_use_are_not_old),
        folder_test(what_has_expired_goes_wherever_it_lies),
        folder_test(looking_makes_no_folder_durable),
        folder_test(s32_a_damaged_batch_keeps_nobody_from_firing),
        folder_test(a_staged_batch_expires),
        folder_test(another_kind_of_database_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
