/* Waking across processes, in both ways, and what killed and forked processes leave of themselves. */
#include "worker.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "transports/local/store.h"
#include "transports/local/wake_way.h"

enum { WORD = 7 };

static wake_table *table_of_way(const char *way)
{
    lb_error error = {0};
    wake_table *t = shared_memory(sizeof *t);
    setenv("LIGHTBUS_WAKING", way, 1);
    lb_status status = wake_table_init(t, &error);
    if (status != LB_OK && strcmp(way, "futex") == 0)
        skip(); /* built without */
    assert_ok(status, &error);
    unsetenv("LIGHTBUS_WAKING");
    assert_ok(wake_table_check(t, &error), &error);
    return t;
}

static void set_init(wake_set *s, const uint64_t *what, size_t count)
{
    assert_true(wake_set_init(s, what, count));
}

/* ---- Both ways -------------------------------------------------------------------------------------- */

typedef struct ball {
    wake_table *table;
    uint64_t *words; /* those of this side come first */
    size_t count;
    int *turn, side;
} ball;

enum { THROWS = 2000 };

/* Waits for its turn on many words, and then wakes the other side by its last one. */
static int throw_ball(void *data)
{
    const ball *b = data;
    wake_set s;
    set_init(&s, b->words + (size_t)b->side * b->count, b->count);
    for (int n = 0; n < THROWS; n++) {
        for (;;) {
            wake_set_look(&s, b->table);
            if (shared_get(b->turn) % 2 == b->side)
                break;
            wake_set_wait(&s, clock_in_ms(60000));
        }
        shared_add(b->turn, 1);
        wake_waiters(b->table, b->words[(size_t)(1 - b->side) * b->count + b->count - 1], 1);
    }
    wake_set_free(&s);
    return 0;
}

static void two_processes_wake_each_other(void **state)
{
    static const size_t counts[] = {1, 5, 300}; /* one word, several, more than the kernel takes at once */
    for (size_t i = 0; i < 3; i++) {
        uint64_t words[600];
        for (size_t n = 0; n < 600; n++)
            words[n] = n;
        ball sides[2];
        pid_t players[2];
        wake_table *t = table_of_way(*state);
        int *turn = shared_memory(sizeof *turn);
        for (int side = 0; side < 2; side++) {
            sides[side] = (ball){t, words, counts[i], turn, side};
            players[side] = child_start(throw_ball, &sides[side]);
        }
        for (int side = 0; side < 2; side++)
            assert_int_equal(child_wait(players[side], 60000), 0);
        assert_int_equal(shared_get(turn), 2 * THROWS);
    }
}

typedef struct waiter {
    wake_table *table;
    int *woken;
} waiter;

static int wait_once(void *data)
{
    const waiter *w = data;
    wake_set s;
    set_init(&s, (uint64_t[]){WORD}, 1);
    wake_set_look(&s, w->table);
    while (!wake_set_wait(&s, clock_in_ms(60000)))
        ;
    shared_add(w->woken, 1);
    wake_set_free(&s);
    return 0;
}

static void all_are_woken_at_once(void **state)
{
    enum { MANY = 12 };
    waiter w = {table_of_way(*state), shared_memory(sizeof(int))};
    pid_t children[MANY];
    for (int i = 0; i < MANY; i++)
        children[i] = child_start(wait_once, &w);
    wait_until(atomic_load(&w.table->words[WORD].waiters) == MANY, 10000);
    assert_int_equal(shared_get(w.woken), 0);
    wake_waiters(w.table, WORD, WAKE_ALL);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(child_wait(children[i], 20000), 0);
    assert_int_equal(atomic_load(&w.table->words[WORD].waiters), 0);
}

static void *interrupt_soon(void *data)
{
    wake_set *s = data;
    wait_until(atomic_load(&s->table->words[WORD].waiters) == 1, 10000);
    wake_set_interrupt(s);
    return NULL;
}

static void an_interrupt_ends_a_wait(void **state)
{
    wake_set s;
    pthread_t thread;
    set_init(&s, (uint64_t[]){WORD}, 1);
    wake_set_look(&s, table_of_way(*state));
    pthread_create(&thread, NULL, interrupt_soon, &s);
    while (!wake_set_interrupted(&s))
        wake_set_wait(&s, clock_in_ms(60000));
    pthread_join(thread, NULL);
    assert_false(wake_set_interrupted(&s));
    wake_set_free(&s);
}

/* Any name of an API may share a number with that of a stream. */
static void what_is_for_one_worker_is_taken_by_no_listener(void **state)
{
    wake_table *t = table_of_way(*state);
    for (uint64_t number = 0; number < 2 * WAKE_WORDS; number++) {
        wake_set worker, listener;
        set_init(&worker, (uint64_t[]){wake_some_of(number)}, 1);
        set_init(&listener, (uint64_t[]){wake_all_of(number)}, 1);
        wake_set_look(&worker, t);
        wake_set_look(&listener, t);
        wake_waiters(t, wake_some_of(number), 1);
        assert_true(wake_set_happened(&worker));
        assert_false(wake_set_happened(&listener));
        wake_set_free(&worker);
        wake_set_free(&listener);
    }
}

/* ---- Where the kernel does not let us wait for several words ---------------------------------------- */

#ifdef WAKE_HAS_FUTEX
static int wait_where_it_is_forbidden(void *data)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 449 /* futex_waitv */, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    wake_set s;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 77;
    set_init(&s, (uint64_t[]){WORD, WORD + 1}, 2);
    wake_set_look(&s, data);
    wake_set_wait(&s, clock_in_ms(1));
    assert_true(s.any); /* the next wait does sleep */
    wake_set_free(&s);
    return 0;
}

/* As older container runtimes do, with EPERM: no hot loop (S30). */
static void s30_a_forbidden_system_call_is_done_without(void **state)
{
    (void)state;
    int code = child_wait(child_start(wait_where_it_is_forbidden, table_of_way("futex")), 20000);
    if (code == 77)
        skip();
    assert_int_equal(code, 0);
}
#endif

/* ---- Slots of semaphores ---------------------------------------------------------------------------- */

static void a_killed_waiter_takes_no_wake_up_from_a_living_one(void **state)
{
    (void)state;
    waiter w = {table_of_way("semaphore"), shared_memory(sizeof(int))};
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = child_start(wait_once, &w);
        wait_until(atomic_load(&w.table->slots[i].armed), 10000);
    }
    child_kill(children[0], SIGKILL);
    child_wait(children[0], 10000);
    wake_waiters(w.table, WORD, 1);
    assert_false(atomic_load(&w.table->slots[1].armed)); /* that one was woken */
    assert_int_equal(child_wait(children[1], 10000), 0);
}

static void slots_of_killed_processes_are_used_again(void **state)
{
    (void)state;
    waiter w = {table_of_way("semaphore"), shared_memory(sizeof(int))};
    for (int i = 0; i < 20; i++) {
        pid_t child = child_start(wait_once, &w);
        wait_until(atomic_load(&w.table->slots[0].owner) == child && atomic_load(&w.table->slots[0].armed),
                   10000);
        child_kill(child, SIGKILL);
        child_wait(child, 10000);
    }
    assert_int_equal(atomic_load(&w.table->slots_used), 1);
}

static void more_waiters_than_slots_look_from_time_to_time(void **state)
{
    (void)state;
    wake_table *t = table_of_way("semaphore");
    static wake_set sets[WAKE_SLOTS + 1];
    for (int i = 0; i <= WAKE_SLOTS; i++) {
        set_init(&sets[i], (uint64_t[]){WORD}, 1);
        wake_set_look(&sets[i], t);
        assert_false(wake_set_wait(&sets[i], 0));
    }
    assert_null(sets[WAKE_SLOTS].slot);
    wake_waiters(t, WORD, 1);
    assert_true(wake_set_wait(&sets[WAKE_SLOTS], clock_in_ms(60000)));
    for (int i = 0; i <= WAKE_SLOTS; i++)
        wake_set_free(&sets[i]);
    assert_int_equal(atomic_load(&t->slots[WAKE_SLOTS - 1].owner), 0);
}

static int free_inherited(void *data)
{
    wake_set_free(data);
    return 0;
}

static void the_child_of_a_fork_leaves_its_parents_slot(void **state)
{
    (void)state;
    wake_table *t = table_of_way("semaphore");
    wake_set s;
    set_init(&s, (uint64_t[]){WORD}, 1);
    wake_set_look(&s, t);
    wake_set_wait(&s, 0);
    assert_int_equal(child_wait(child_start(free_inherited, &s), 10000), 0);
    assert_int_equal(atomic_load(&t->slots[0].owner), getpid());
    wake_set_free(&s);
    assert_int_equal(atomic_load(&t->slots[0].owner), 0);
}

/* ---- One way for all -------------------------------------------------------------------------------- */

typedef struct opening {
    const char *folder, *way;
    lb_status expected;
    const char *part;
} opening;

static int open_folder(void *data)
{
    const opening *o = data;
    char url[300];
    local_options options;
    store *s;
    lb_error error = {0};
    if (o->way)
        setenv("LIGHTBUS_WAKING", o->way, 1);
    else
        unsetenv("LIGHTBUS_WAKING");
    snprintf(url, sizeof url, "local://%s/bus", o->folder);
    assert_ok(local_options_parse(&options, url, &error), &error);
    assert_status(store_open(&options, 0, &s, &error), o->expected, &error);
    if (o->part)
        assert_contains(error.message, o->part);
    store_close(s);
    return 0;
}

static void expect_opening(const char *folder, const char *way, lb_status status, const char *part)
{
    opening o = {folder, way, status, part};
    assert_int_equal(child_wait(child_start(open_folder, &o), 20000), 0);
}

static void a_folder_in_use_has_one_way(void **state)
{
    (void)state;
    table_of_way("futex");
    char *folder = temporary_directory(), url[300];
    local_options options;
    store *s;
    lb_error error = {0};
    snprintf(url, sizeof url, "local://%s/bus", folder);
    assert_ok(local_options_parse(&options, url, &error), &error);
    setenv("LIGHTBUS_WAKING", "semaphore", 1);
    assert_ok(store_open(&options, 0, &s, &error), &error);
    expect_opening(folder, NULL, LB_OK, NULL); /* knows both, and joins */
    expect_opening(folder, "futex", LB_UNSUPPORTED, "wake each other by semaphore");
    expect_opening(folder, "bell", LB_CONFIG, "\"bell\"");
    store_close(s);
    expect_opening(folder, "futex", LB_OK, NULL); /* nobody uses it any more */
    unsetenv("LIGHTBUS_WAKING");
    assert_ok(store_open(&options, 0, &s, &error), &error);
    expect_opening(folder, "semaphore", LB_UNSUPPORTED, "wake each other by futex");
    store_close(s);
    remove_directory(folder);
    free(folder);
}

#define both_ways(f)                                                                                           \
    cmocka_unit_test_prestate(f, (void *)(uintptr_t) "futex"),                                                 \
        cmocka_unit_test_prestate(f, (void *)(uintptr_t) "semaphore")

int main(void)
{
    const struct CMUnitTest tests[] = {
        both_ways(two_processes_wake_each_other),
        both_ways(all_are_woken_at_once),
        both_ways(an_interrupt_ends_a_wait),
        both_ways(what_is_for_one_worker_is_taken_by_no_listener),
#ifdef WAKE_HAS_FUTEX
        cmocka_unit_test(s30_a_forbidden_system_call_is_done_without),
#endif
        cmocka_unit_test(a_killed_waiter_takes_no_wake_up_from_a_living_one),
        cmocka_unit_test(slots_of_killed_processes_are_used_again),
        cmocka_unit_test(more_waiters_than_slots_look_from_time_to_time),
        cmocka_unit_test(the_child_of_a_fork_leaves_its_parents_slot),
        cmocka_unit_test(a_folder_in_use_has_one_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
