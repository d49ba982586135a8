/* Trouble from outside while the local bus is in use: a file that is cut, a file system that is read-only,
 * other users, clocks that are hours off. */
#include "worker.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/local_folder.h"

enum { NOBODY = 65534, USER = 4711, OTHER = 4712, GROUP = 4713, SKIPPED = 77 };

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

/* ---- A clock of one's own --------------------------------------------------------------------------- */

static int skew_s; /* of this process's date */

/* In the place of the C library's, for all that is linked into this program. */
int clock_gettime(clockid_t id, struct timespec *t)
{
    int result = (int)syscall(SYS_clock_gettime, id, t);
    if (id == CLOCK_REALTIME)
        t->tv_sec += skew_s;
    return result;
}

/* ---- A bus ------------------------------------------------------------------------------------------ */

typedef struct heard {
    int count, calls, hold;
    int64_t numbers[64];
    int64_t times_ms[64];
} heard;

static lb_status hear(const lb_event *event, void *data)
{
    heard *h = data;
    int n = h->count;
    h->numbers[n] = lb_get_int(event, "n");
    h->times_ms[n] = atoll(lb_event_native_id(event));
    shared_set(&h->count, n + 1);
    while (shared_get(&h->hold))
        support_nap();
    return LB_OK;
}

static lb_status add(lb_request *request, void *data)
{
    shared_add(&((heard *)data)->calls, 1);
    return lb_return(request, lb_get_int(request, "n") + 1);
}

static const lb_api shop = {
    .name = "shop",
    .members = (const lb_member[]){LB_RPC("add(n: int) -> int", add), LB_EVENT("ordered(n: int)"), LB_END}};

static lb_bus *bus_open(const char *options)
{
    char url[300];
    lb_error error = {0};
    snprintf(url, sizeof url, "local://%s/bus?%s", folder, options);
    lb_bus *bus = lb_open(&(lb_options){.url = url, .service_name = "tests", .rpc_timeout_ms = 20000}, &error);
    if (!bus)
        fail_msg("%s", error.message);
    return bus;
}

/* With the API registered: for firing. */
static lb_bus *shop_open(const char *options, heard *h)
{
    lb_error error = {0};
    lb_bus *bus = bus_open(options);
    assert_ok(lb_register(bus, &shop, h, &error), &error);
    return bus;
}

static lb_bus *serve(const char *options, heard *h)
{
    lb_error error = {0};
    lb_bus *bus = shop_open(options, h);
    assert_ok(lb_listen(bus, "shop.ordered", "stock", hear, h, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    return bus;
}

static lb_status fire(lb_bus *bus, int n, lb_error *error)
{
    return lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", n)), error);
}

static int64_t call_add(lb_bus *bus, int n)
{
    lb_error error = {0};
    lb_value *result = NULL;
    assert_ok(lb_call(bus, "shop.add", LB_ARGS(LB("n", n)), &result, &error), &error);
    int64_t sum = lb_value_int(result);
    lb_value_free(result);
    return sum;
}

/* In a process of its own; 77: it cannot be tried here. */
static void expect_child(int (*body)(void *), void *data)
{
    int code = child_wait(child_start(body, data), PATIENCE_MS);
    if (code == SKIPPED) {
        print_message("skipped: this takes root, and the right to mount\n");
        skip();
    }
    assert_int_equal(code, 0);
}

/* ---- A file that is cut ----------------------------------------------------------------------------- */

static void cut_file(const char *name, double part)
{
    char path[300];
    struct stat about;
    snprintf(path, sizeof path, "%s/bus/%s", folder, name);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(truncate(path, (off_t)((double)about.st_size * part) / 4096 * 4096), 0);
}

/* A worker that is at rest and a client see the file cut: errors that say so, and no SIGBUS. */
static int use_a_cut_file(void *data)
{
    const double part = *(double *)data;
    heard *h = shared_memory(sizeof *h);
    lb_error error = {0};
    lb_bus *worker = serve("", h), *client = shop_open("", h);
    for (int n = 0; n < 50; n++)
        assert_ok(fire(client, n, &error), &error);
    wait_until(shared_get(&h->count) == 50, PATIENCE_MS);
    sleep_ms(50); /* at rest */
    cut_file("events", part);
    cut_file("calls", part);
    sleep_ms(20); /* the size is looked at every few milliseconds */
    for (int n = 0; n < 5; n++) {
        assert_status(fire(client, n, &error), LB_MALFORMED, &error);
        assert_contains(error.message, "truncated while in use");
        assert_true(lb_call(client, "shop.add", LB_ARGS(LB("n", n)), NULL, &error) != LB_OK);
    }
    lb_close(client);
    lb_stop(worker, 5000, &error);
    lb_close(worker);
    return 0;
}

static void a_file_that_is_cut_while_in_use_is_told(void **state)
{
    (void)state;
    static double parts[] = {0, 0.01, 0.5};
    lb_error error = {0};
    buffer json = {0};
    char url[300];
    snprintf(url, sizeof url, "local://%s/bus", folder);
    for (int i = 0; i < 3; i++) {
        expect_child(use_a_cut_file, &parts[i]);
        if (parts[i] > 0 && parts[i] < 0.5)
            assert_status(local_folder_info(url, &json, &error), LB_MALFORMED, &error);
        buffer_free(&json);
        char bus[300];
        snprintf(bus, sizeof bus, "%s/bus", folder);
        remove_directory(bus);
    }
}

/* ---- A read-only file system ------------------------------------------------------------------------ */

static int open_read_only(void *data)
{
    heard *h = shared_memory(sizeof *h);
    lb_error error = {0};
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", data, "tmpfs", 0, "size=16m,mode=0700") != 0)
        return SKIPPED;
    lb_bus *bus = shop_open("", h);
    assert_ok(fire(bus, 1, &error), &error);
    lb_close(bus);
    assert_int_equal(mount("none", data, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    bus = shop_open("", h);
    assert_status(fire(bus, 2, &error), LB_ACCESS, &error);
    assert_contains(error.message, "Read-only file system");
    lb_close(bus);
    return 0;
}

static void a_read_only_file_system_is_told(void **state)
{
    (void)state;
    expect_child(open_read_only, folder);
}

/* ---- Two users -------------------------------------------------------------------------------------- */

typedef struct part {
    heard *h;
    uid_t user;
    gid_t group, other_group; /* 0: it has one alone */
    const char *options;
    int ready, *stop;
} part;

static bool become(const part *p)
{
    return geteuid() == 0 && setgroups(p->other_group != 0, &p->other_group) == 0 && setgid(p->group) == 0 &&
           setuid(p->user) == 0 &&
           prctl(PR_SET_PDEATHSIG, SIGKILL) == 0; /* which the kernel forgets with the user */
}

static int refused_as_other(void *data)
{
    part *p = data;
    lb_error error = {0};
    if (!become(p))
        return SKIPPED;
    lb_bus *bus = shop_open(p->options, p->h);
    assert_status(fire(bus, 1, &error), LB_ACCESS, &error);
    assert_contains(error.message, "/bus");
    lb_close(bus);
    return 0;
}

static void another_user_is_refused(void **state)
{
    (void)state;
    heard *h = shared_memory(sizeof *h);
    part other = {.h = h, .user = NOBODY, .group = NOBODY, .options = ""};
    if (geteuid() != 0)
        skip();
    lb_error error = {0};
    lb_bus *bus = shop_open("", h);
    assert_ok(fire(bus, 1, &error), &error);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(child_wait(child_start(refused_as_other, &other), PATIENCE_MS), 0);
    lb_close(bus);
}

static int serve_as_user(void *data)
{
    part *p = data;
    if (!become(p))
        return SKIPPED;
    lb_bus *bus = serve(p->options, p->h);
    shared_set(p->stop, 1);
    while (shared_get(p->stop))
        support_nap();
    lb_close(bus);
    return 0;
}

static int use_as_other(void *data)
{
    part *p = data;
    lb_error error = {0};
    if (!become(p))
        return SKIPPED;
    lb_bus *bus = shop_open(p->options, p->h);
    for (int n = 0; n < 10; n++) {
        assert_ok(fire(bus, n, &error), &error);
        assert_int_equal(call_add(bus, n), n + 1);
    }
    lb_close(bus);
    return 0;
}

static void two_users_of_a_group_share_a_folder(void **state)
{
    (void)state;
    heard *h = shared_memory(sizeof *h);
    int *stop = shared_memory(sizeof *stop);
    part server = {.h = h, .user = USER, .group = GROUP, .options = "access=group", .stop = stop},
         other = server;
    other.user = OTHER;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(folder, USER, GROUP), 0);
    pid_t pid = child_start(serve_as_user, &server);
    wait_until(shared_get(stop) == 1, PATIENCE_MS);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(child_wait(child_start(use_as_other, &other), PATIENCE_MS), 0);
    wait_until(shared_get(&h->count) == 10, PATIENCE_MS);
    assert_int_equal(shared_get(&h->calls), 10);
    other.user = NOBODY;
    other.group = NOBODY;
    other.other_group = GROUP;
    assert_int_equal(child_wait(child_start(use_as_other, &other), PATIENCE_MS), 0);
    wait_until(shared_get(&h->count) == 20, PATIENCE_MS);
    other.other_group = 0;
    assert_int_equal(child_wait(child_start(refused_as_other, &other), PATIENCE_MS), 0);
    shared_set(stop, 0);
    assert_int_equal(child_wait(pid, PATIENCE_MS), 0);
}

/* ---- Clocks that are hours off ---------------------------------------------------------------------- */

typedef struct skewed {
    heard *h;
    int skew_s, first, last, *stop;
    const char *options;
} skewed;

static int fire_skewed(void *data)
{
    const skewed *s = data;
    lb_error error = {0};
    skew_s = s->skew_s;
    lb_bus *bus = shop_open("", s->h);
    for (int n = s->first; n < s->last; n++) {
        assert_ok(fire(bus, n, &error), &error);
        assert_int_equal(call_add(bus, n), n + 1); /* S2: no deadline is a date */
    }
    lb_close(bus);
    return 0;
}

static int serve_skewed(void *data)
{
    const skewed *s = data;
    skew_s = s->skew_s;
    lb_bus *bus = serve(s->options, s->h);
    shared_set(s->stop, 1);
    while (shared_get(s->stop))
        support_nap();
    lb_close(bus);
    return 0;
}

static pid_t start_skewed(skewed *s)
{
    shared_set(s->stop, 0);
    pid_t pid = child_start(serve_skewed, s);
    wait_until(shared_get(s->stop) == 1, PATIENCE_MS);
    return pid;
}

static void s10_s15_nothing_is_lost_or_out_of_order_when_dates_differ(void **state)
{
    (void)state;
    static const int skews[] = {0, 5 * 3600, -5 * 3600, 0};
    heard *h = shared_memory(sizeof *h);
    int *stop = shared_memory(sizeof *stop);
    skewed worker = {.h = h, .skew_s = 3 * 3600, .stop = stop, .options = ""};
    pid_t pid = start_skewed(&worker);
    for (int i = 0; i < 4; i++) {
        skewed client = {.h = h, .skew_s = skews[i], .first = 4 * i, .last = 4 * i + 4};
        assert_int_equal(child_wait(child_start(fire_skewed, &client), PATIENCE_MS), 0);
    }
    wait_until(shared_get(&h->count) == 16, PATIENCE_MS);
    for (int n = 0; n < 16; n++) {
        assert_int_equal(h->numbers[n], n);
        assert_true(n == 0 || h->times_ms[n] >= h->times_ms[n - 1]); /* times never go back */
    }
    shared_set(stop, 0);
    assert_int_equal(child_wait(pid, PATIENCE_MS), 0);
}

static void s12_a_lease_is_no_date(void **state)
{
    (void)state;
    heard *h = shared_memory(sizeof *h);
    int *stops = shared_memory(2 * sizeof *stops);
    skewed workers[] = {
        {.h = h, .stop = &stops[0], .options = "acknowledgement_timeout=30&reclaim_interval=0.05"},
        {.h = h, .stop = &stops[1], .options = "acknowledgement_timeout=30&reclaim_interval=0.05"}};
    lb_error error = {0};
    shared_set(&h->hold, 1);
    workers[1].skew_s = 24 * 3600;
    pid_t first = start_skewed(&workers[0]);
    lb_bus *bus = shop_open("", h);
    assert_ok(fire(bus, 1, &error), &error);
    wait_until(shared_get(&h->count) == 1, PATIENCE_MS);
    pid_t second = start_skewed(&workers[1]); /* for this one it is tomorrow */
    sleep_ms(500);
    assert_int_equal(shared_get(&h->count), 1);
    shared_set(&h->hold, 0);
    for (int i = 0; i < 2; i++)
        shared_set(&stops[i], 0);
    assert_int_equal(child_wait(first, PATIENCE_MS), 0);
    assert_int_equal(child_wait(second, PATIENCE_MS), 0);
    assert_int_equal(shared_get(&h->count), 1);
    lb_close(bus);
}

int main(void)
{
    lb_log_set_level(LB_LOG_CRITICAL);
    const struct CMUnitTest tests[] = {
        folder_test(a_file_that_is_cut_while_in_use_is_told),
        folder_test(a_read_only_file_system_is_told),
        folder_test(another_user_is_refused),
        folder_test(two_users_of_a_group_share_a_folder),
        folder_test(s10_s15_nothing_is_lost_or_out_of_order_when_dates_differ),
        folder_test(s12_a_lease_is_no_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
