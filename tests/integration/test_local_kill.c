/* Workers and clients of a local bus, killed with SIGKILL at random moments and started again (S1, S10): every
 * event that was fired with LB_OK is handled by each listener, no call is executed twice, nobody hangs, and the
 * folder is sound and small afterwards. 6 seconds each; LIGHTBUS_KILL_SECONDS makes it longer,
 * LIGHTBUS_KILL_TEST (a pattern of names) chooses. */
#include "worker.h"

#include <lmdb.h>
#include <stdio.h>
#include <time.h>

#include "transports/local/check.h"

enum { WORKERS = 4, CLIENTS = 4, LISTENERS = 2, MOST = 4 << 20 };

typedef struct shared {
    int next_event, next_call, answered, paused, alive[WORKERS + CLIENTS];
    int64_t progress_ms[CLIENTS];
    unsigned char fired[MOST], executed[MOST], handled[LISTENERS][MOST];
} shared;

typedef struct role {
    shared *s;
    int number;
    char url[256];
} role;

typedef struct hearing {
    shared *s;
    int listener;
} hearing;

static lb_status add(lb_request *request, void *data)
{
    role *r = data;
    int64_t n = lb_get_int(request, "n");
    __atomic_add_fetch(&r->s->executed[n], 1, __ATOMIC_SEQ_CST);
    return lb_return(request, n + 1);
}

static lb_status hear(const lb_event *event, void *data)
{
    hearing *h = data;
    __atomic_store_n(&h->s->handled[h->listener][lb_get_int(event, "n")], 1, __ATOMIC_SEQ_CST);
    return LB_OK;
}

static const lb_api api = {
    .name = "shop",
    .members = (const lb_member[]){LB_RPC("add(n: int) -> int", add), LB_EVENT("ordered(n: int)"), LB_END},
};

static lb_bus *bus_open(const role *r)
{
    char name[16];
    lb_error error = {0};
    snprintf(name, sizeof name, "p%d", r->number);
    lb_bus *bus = lb_open(
        &(lb_options){.url = r->url, .service_name = "tests", .process_name = name, .rpc_timeout_ms = 1500},
        &error);
    if (!bus || lb_register(bus, &api, (void *)(uintptr_t)r, &error) != LB_OK)
        fail_msg("%s", error.message);
    return bus;
}

static int work(void *data)
{
    role *r = data;
    lb_error error = {0};
    hearing hearings[LISTENERS];
    lb_bus *bus = bus_open(r);
    for (int i = 0; i < LISTENERS; i++) {
        hearings[i] = (hearing){r->s, i};
        assert_ok(lb_listen(bus, "shop.ordered", i ? "second" : "first", hear, &hearings[i],
                            &(lb_listen_options){.max_deliveries = 1000000, .since = "0"}, &error),
                  &error);
    }
    shared_set(&r->s->alive[r->number], 1);
    if (lb_run(bus, LB_RUN_SIGNALS, &error) != LB_OK)
        fail_msg("the worker ended: %s", error.message);
    lb_close(bus);
    return 0;
}

static int ask(void *data)
{
    role *r = data;
    shared *s = r->s;
    lb_bus *bus = bus_open(r);
    shared_set(&s->alive[r->number], 1);
    for (;;) {
        lb_error error = {0};
        __atomic_store_n(&s->progress_ms[r->number - WORKERS], support_now_ms(), __ATOMIC_SEQ_CST);
        if (shared_get(&s->paused)) {
            support_nap();
            continue;
        }
        int n = shared_add(&s->next_event, 1);
        if (n >= MOST)
            return 0;
        if (lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", n)), &error) == LB_OK)
            __atomic_store_n(&s->fired[n], 1, __ATOMIC_SEQ_CST);
        else
            fail_msg("fire: %s", error.message);
        lb_value *result = NULL;
        n = shared_add(&s->next_call, 1);
        lb_status status = n < MOST ? lb_call(bus, "shop.add", LB_ARGS(LB("n", n)), &result, &error) : LB_OK;
        /* S3: that nobody could write for as long is an answer, too, where the disk makes a writer wait. */
        bool slow = status == LB_TRANSPORT && strstr(error.message, "has been writing for too long");
        if (status != LB_OK && status != LB_TIMEOUT && !slow)
            fail_msg("call: %s: %s", lb_status_name(status), error.message);
        if (status == LB_OK && n < MOST)
            shared_add(&s->answered, lb_value_int(result) == n + 1);
        lb_value_free(result);
    }
}

static pid_t start(role *r)
{
    shared_set(&r->s->alive[r->number], 0);
    return child_start(r->number < WORKERS ? work : ask, r);
}

static void kill_one(role *roles, pid_t *pids, int i)
{
    if (!child_runs(pids[i]))
        fail_msg("process %d ended by itself with %d", i, child_wait(pids[i], 1000));
    child_kill(pids[i], SIGKILL);
    assert_int_equal(child_wait(pids[i], PATIENCE_MS), 128 + SIGKILL);
    pids[i] = start(&roles[i]);
}

static int not_handled(const shared *s)
{
    int missing = 0;
    for (int n = 0; n < MOST && n <= s->next_event; n++)
        for (int i = 0; i < LISTENERS; i++)
            missing += s->fired[n] && !s->handled[i][n];
    return missing;
}

/* What is kept in a database, without the pages that are free to be used again. How many of those there are
 * depends on how long the machine made a reader wait in the middle of a look. */
static int64_t bytes_kept(const char *path)
{
    MDB_env *env;
    MDB_stat stat;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0), 0);
    assert_int_equal(mdb_env_stat(env, &stat), 0);
    mdb_env_close(env);
    return (int64_t)((stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize);
}

static void kill_at_random(const char *options)
{
    const char *wanted = getenv("LIGHTBUS_KILL_SECONDS");
    int64_t end = support_now_ms() + 1000 * (wanted ? atoi(wanted) : 6);
    char *folder = temporary_directory(), path[300];
    shared *s = shared_memory(sizeof *s);
    role roles[WORKERS + CLIENTS];
    pid_t pids[WORKERS + CLIENTS];
    unsigned seed = (unsigned)time(NULL);
    int kills = 0;
    print_message("seed %u\n", seed);
    for (int i = 0; i < WORKERS + CLIENTS; i++) {
        roles[i] = (role){.s = s, .number = i};
        snprintf(roles[i].url, sizeof roles[i].url,
                 "local://%s/bus?acknowledgement_timeout=1&reclaim_interval=0.2&max_stream_length=10000000%s",
                 folder, options);
        pids[i] = start(&roles[i]);
    }
    wait_until(shared_get(&s->answered) > 0, PATIENCE_MS);
    while (support_now_ms() < end) {
        kill_one(roles, pids, rand_r(&seed) % (WORKERS + CLIENTS));
        kills++;
        sleep_ms(rand_r(&seed) % 60);
    }
    int64_t now = support_now_ms();
    for (int i = 0; i < CLIENTS; i++) /* nobody hangs */
        wait_until(__atomic_load_n(&s->progress_ms[i], __ATOMIC_SEQ_CST) >= now, 10000);
    shared_set(&s->paused, 1);
    for (int i = 0; i < WORKERS; i++)
        wait_until(shared_get(&s->alive[i]), PATIENCE_MS);
    wait_until(not_handled(s) == 0, PATIENCE_MS);
    for (int n = 0; n < MOST; n++)
        assert_true(s->executed[n] <= 1);
    for (int i = 0; i < WORKERS; i++) {
        child_kill(pids[i], SIGTERM);
        assert_int_equal(child_wait(pids[i], PATIENCE_MS), 0);
    }
    for (int i = WORKERS; i < WORKERS + CLIENTS; i++) {
        child_kill(pids[i], SIGKILL);
        child_wait(pids[i], PATIENCE_MS);
    }
    print_message("%d kills, %d events, %d calls, %d answered\n", kills, s->next_event, s->next_call,
                  s->answered);
    assert_true(s->answered > s->next_call / 2);

    lb_error error = {0};
    snprintf(path, sizeof path, "%s/bus/events", folder);
    assert_ok(check_file(path, true, &error), &error);
    assert_true(bytes_kept(path) < (4 << 20) + (int64_t)s->next_event * 300);
    snprintf(path, sizeof path, "%s/bus/calls", folder);
    assert_ok(check_file(path, true, &error), &error);
    assert_true(bytes_kept(path) < 4 << 20);
    lb_bus *bus = bus_open(&roles[0]);
    assert_ok(lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", 0)), &error), &error);
    lb_close(bus);
    free(folder);
}

static void s1_s10_processes_may_be_killed_at_any_moment(void **state)
{
    (void)state;
    kill_at_random("");
}

static void s1_s10_also_where_each_fire_is_synced(void **state)
{
    (void)state;
    kill_at_random("&durability=disk");
}

static void s1_s10_also_where_there_are_no_futexes(void **state)
{
    (void)state;
    setenv("LIGHTBUS_WAKING", "semaphore", 1);
    kill_at_random("");
    unsetenv("LIGHTBUS_WAKING");
}

int main(void)
{
    lb_log_set_level(LB_LOG_ERROR);
    cmocka_set_test_filter(getenv("LIGHTBUS_KILL_TEST")); /* one of them, for long runs */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s1_s10_processes_may_be_killed_at_any_moment),
        cmocka_unit_test(s1_s10_also_where_each_fire_is_synced),
        cmocka_unit_test(s1_s10_also_where_there_are_no_futexes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
