/* Tasks: at intervals, at times, in the background; when they run, when they stop, and what their failures do.
 * Nothing here depends on how long something takes: a task is observed by what it counts. */
#include "worker.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

typedef struct stage {
    char url[160];
    char *folder;
    lb_bus *bus;
} stage;

typedef struct job {
    int runs, stopped, fails;     /* `fails`: so many times from now on */
    int64_t began[64], ended[64]; /* milliseconds */
    int sleeps_ms;
} job;

static int open_stage(void **state)
{
    stage *s = *state = calloc(1, sizeof *s);
    lb_error error = {0};
    s->folder = temporary_directory();
    snprintf(s->url, sizeof s->url, "local://%s/bus", s->folder);
    s->bus = lb_open(&(lb_options){.url = s->url, .service_name = "tasks", .process_name = "p"}, &error);
    if (!s->bus)
        fail_msg("%s", error.message);
    return 0;
}

static int close_stage(void **state)
{
    stage *s = *state;
    lb_close(s->bus);
    remove_directory(s->folder);
    free(s->folder);
    free(s);
    return 0;
}

static lb_status work(lb_bus *bus, void *data, lb_error *error)
{
    job *j = data;
    (void)bus;
    int run = shared_get(&j->runs) < 63 ? shared_get(&j->runs) : 63; /* the last place is for the rest */
    j->began[run] = support_now_ms();
    if (j->sleeps_ms)
        sleep_ms(j->sleeps_ms);
    j->ended[run] = support_now_ms();
    shared_add(&j->runs, 1);
    if (!shared_get(&j->fails))
        return LB_OK;
    shared_add(&j->fails, -1);
    return lb_error_set(error, LB_NO_SPACE, "the disk is full");
}

static void every(stage *s, lb_every_options options, job *j)
{
    lb_error error = {0};
    assert_ok(lb_every(s->bus, &options, work, j, &error), &error);
}

static void start(stage *s)
{
    lb_error error = {0};
    assert_ok(lb_start(s->bus, &error), &error);
}

static void stop(stage *s)
{
    lb_error error = {0};
    assert_ok(lb_stop(s->bus, -1, &error), &error);
}

/* ---- Intervals ------------------------------------------------------------------------------------------ */

static void tasks_run_while_the_worker_does(void **state)
{
    stage *s = *state;
    job j = {0};
    every(s, (lb_every_options){.seconds = 0.01}, &j);
    assert_int_equal(shared_get(&j.runs), 0);
    start(s);
    wait_until(shared_get(&j.runs) >= 5, PATIENCE_MS);
    stop(s);
    int runs = shared_get(&j.runs);
    start(s); /* and again */
    wait_until(shared_get(&j.runs) >= runs + 2, PATIENCE_MS);
    stop(s);
    runs = shared_get(&j.runs);
    sleep_ms(50);
    assert_int_equal(shared_get(&j.runs), runs);
}

static void the_first_run_is_after_the_interval_or_at_once(void **state)
{
    stage *s = *state;
    job at_once = {0}, later = {0}, probe = {0};
    every(s, (lb_every_options){.hours = 1, .also_run_immediately = true}, &at_once);
    every(s, (lb_every_options){.days = 1}, &later);
    every(s, (lb_every_options){.seconds = 0.02}, &probe);
    start(s);
    wait_until(shared_get(&at_once.runs) == 1 && shared_get(&probe.runs) >= 3, PATIENCE_MS);
    stop(s); /* does not wait for the hour to end */
    assert_int_equal(shared_get(&at_once.runs), 1);
    assert_int_equal(shared_get(&later.runs), 0);
}

/* From one start to the next it is never less than the interval, and the run is part of it. What a run notes of
 * its start may be late, but the start lies behind the end of the run before. */
static void the_interval_counts_from_start_to_start(void **state)
{
    stage *s = *state;
    job j = {.sleeps_ms = 30}, slow = {.sleeps_ms = 30};
    every(s, (lb_every_options){.seconds = 0.1, .also_run_immediately = true}, &j);
    every(s, (lb_every_options){.seconds = 0.001}, &slow); /* takes longer than its interval */
    start(s);
    wait_until(shared_get(&j.runs) >= 5 && shared_get(&slow.runs) >= 5, PATIENCE_MS);
    stop(s);
    for (int i = 2; i < 5; i++)
        assert_true(j.began[i] - j.ended[i - 2] >= 99);
    for (int i = 1; i < 5; i++)
        assert_true(slow.began[i] >= slow.ended[i - 1]); /* never two at once */
}

static void intervals_that_are_none_are_refused(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    const double wrong[] = {0, -1, -0.0, 1e300, NAN};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_status(lb_every(s->bus, &(lb_every_options){.seconds = wrong[i]}, work, NULL, &error), LB_CONFIG,
                      &error);
    assert_status(lb_every(s->bus, NULL, work, NULL, &error), LB_CONFIG, &error);
    assert_string_equal(error.message,
                        "lb_every: expected an interval above 0 s and up to 3000000000 s, got 0 s");
    assert_status(lb_every(s->bus, &(lb_every_options){.seconds = 1}, NULL, NULL, &error), LB_USAGE, &error);
    assert_status(lb_every(s->bus, &(lb_every_options){.seconds = 1, .flags = 64}, work, NULL, &error),
                  LB_CONFIG, &error);
    assert_status(lb_every(s->bus, &(lb_every_options){.minutes = 1, .seconds = -60}, work, NULL, NULL),
                  LB_CONFIG, &error);
    assert_status(lb_start(s->bus, &error), LB_USAGE, &error); /* there is nothing to do */
}

static void tasks_are_registered_before_the_worker_starts(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    job j = {0};
    every(s, (lb_every_options){.hours = 1}, &j);
    start(s);
    assert_status(lb_every(s->bus, &(lb_every_options){.seconds = 1}, work, &j, &error), LB_USAGE, &error);
    assert_status(lb_schedule(s->bus, "* * * * *", NULL, work, &j, &error), LB_USAGE, &error);
    assert_status(lb_background(s->bus, NULL, work, &j, &error), LB_USAGE, &error);
}

static lb_status fire_once(lb_bus *bus, void *data, lb_error *error)
{
    (void)data;
    return lb_fire(bus, "weather.changed", LB_NO_ARGS, error);
}

static lb_status hear(const lb_event *event, void *data)
{
    (void)event;
    shared_add(data, 1);
    return LB_OK;
}

/* S10: although they are new to the bus. */
static void what_a_task_fires_at_once_reaches_listeners_of_its_worker(void **state)
{
    stage *s = *state;
    static const lb_member members[] = {LB_EVENT("changed()"), LB_END};
    static const lb_api weather = {.name = "weather", .members = members};
    const lb_every_options at_once = {.hours = 1, .also_run_immediately = true};
    lb_error error = {0};
    char name[8];
    int heard = 0;
    assert_ok(lb_every(s->bus, &at_once, fire_once, NULL, &error), &error);
    assert_ok(lb_register(s->bus, &weather, NULL, &error), &error);
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "l%d", i);
        assert_ok(lb_listen(s->bus, "weather.changed", name, hear, &heard, NULL, &error), &error);
    }
    start(s);
    wait_until(shared_get(&heard) == 8, PATIENCE_MS);
    stop(s);
}

/* ---- Failures ------------------------------------------------------------------------------------------- */

static void a_failure_stops_the_worker(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    job failing = {.fails = 1}, other = {0};
    every(s, (lb_every_options){.seconds = 0.01}, &failing);
    every(s, (lb_every_options){.seconds = 0.01}, &other);
    assert_status(lb_run(s->bus, 0, &error), LB_NO_SPACE, &error);
    assert_string_equal(error.message, "the disk is full");
    assert_int_equal(shared_get(&failing.runs), 1);
    start(s); /* as good as new */
    wait_until(shared_get(&failing.runs) >= 3, PATIENCE_MS);
    stop(s);
}

static void a_failure_is_logged_where_that_is_wanted(void **state)
{
    stage *s = *state;
    job j = {.fails = 3};
    every(s, (lb_every_options){.seconds = 0.01, .flags = LB_TASK_LOG_ERRORS, .name = "sweep"}, &j);
    start(s);
    wait_until(shared_get(&j.runs) >= 6, PATIENCE_MS);
    stop(s);
}

static lb_status fail_without_words(lb_bus *bus, void *data, lb_error *error)
{
    (void)bus, (void)data, (void)error;
    return LB_BUSY;
}

static lb_status note_exception(lb_occasion *o, void *data, lb_error *error)
{
    (void)error;
    const lb_error *why = lb_occasion_error(o);
    shared_add(data,
               why && why->status == LB_BUSY && strcmp(why->message, "full or overloaded") == 0 ? 1 : 100);
    return LB_OK;
}

static void a_failure_without_words_is_described(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    int exceptions = 0;
    assert_ok(lb_background(s->bus, NULL, fail_without_words, NULL, &error), &error);
    assert_ok(lb_hook(s->bus, LB_HOOK_EXCEPTION, note_exception, &exceptions, NULL, &error), &error);
    assert_status(lb_run(s->bus, 0, &error), LB_BUSY, &error);
    assert_string_equal(error.message, "full or overloaded");
    assert_int_equal(shared_get(&exceptions), 1);
}

/* The program ends with exit code 1. */
static lb_status set_up_failing(lb_bus *bus, void *data, lb_error *error)
{
    return lb_every(bus, &(lb_every_options){.seconds = 0.01}, work, data, error);
}

static void a_process_whose_task_fails_ends_with_1(void **state)
{
    stage *s = *state;
    job *j = shared_memory(sizeof *j);
    j->fails = 1;
    pid_t pid = worker_start(&(worker){.url = s->url, .setup = set_up_failing, .data = j, .run = true});
    assert_int_equal(child_wait(pid, PATIENCE_MS), 1);
    assert_int_equal(shared_get(&j->runs), 1);
}

/* ---- In the background ---------------------------------------------------------------------------------- */

static lb_status until_stopped(lb_bus *bus, void *data, lb_error *error)
{
    job *j = data;
    (void)error;
    shared_add(&j->runs, 1);
    while (!lb_wait_stop(bus, 0.005))
        ;
    shared_set(&j->stopped, lb_stopping(bus));
    return shared_get(&j->fails) ? LB_FAILED : LB_OK;
}

static void the_background_runs_until_it_is_asked_to_stop(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    job patient = {0}, sulky = {.fails = 1};
    assert_ok(lb_background(s->bus, NULL, until_stopped, &patient, &error), &error);
    assert_ok(lb_background(s->bus, &(lb_background_options){.name = "sulky"}, until_stopped, &sulky, &error),
              &error);
    assert_false(lb_stopping(s->bus));
    start(s);
    wait_until(shared_get(&patient.runs) == 1 && shared_get(&sulky.runs) == 1, PATIENCE_MS);
    assert_false(lb_stopping(s->bus));
    stop(s); /* a failure by now is no failure of the worker */
    assert_int_equal(shared_get(&patient.stopped), 1);
    assert_int_equal(shared_get(&sulky.stopped), 1);
}

static lb_status wait_for_ever(lb_bus *bus, void *data, lb_error *error)
{
    (void)error;
    shared_add(data, 1);
    assert_true(lb_wait_stop(bus, -1));
    return LB_OK;
}

static lb_status end_at_once(lb_bus *bus, void *data, lb_error *error)
{
    (void)bus, (void)error;
    shared_add(data, 1);
    return LB_OK;
}

static void the_background_may_end_by_itself(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    int ended = 0, waiting = 0;
    assert_ok(lb_background(s->bus, NULL, end_at_once, &ended, &error), &error);
    assert_ok(lb_background(s->bus, NULL, wait_for_ever, &waiting, &error), &error);
    start(s);
    wait_until(shared_get(&ended) == 1 && shared_get(&waiting) == 1, PATIENCE_MS);
    assert_false(lb_wait_stop(s->bus, 0.01)); /* the worker goes on */
    stop(s);
    assert_int_equal(shared_get(&ended), 1);
}

static lb_status ignore_the_stop(lb_bus *bus, void *data, lb_error *error)
{
    (void)bus, (void)error;
    shared_add(data, 1);
    while (shared_get(data) < 2)
        sleep_ms(2);
    return LB_OK;
}

static void a_task_that_does_not_end_is_reported(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    int phase = 0;
    assert_ok(lb_background(s->bus, NULL, ignore_the_stop, &phase, &error), &error);
    start(s);
    wait_until(shared_get(&phase) == 1, PATIENCE_MS);
    assert_status(lb_stop(s->bus, 20, &error), LB_TIMEOUT, &error);
    assert_string_equal(error.message,
                        "the worker did not stop within 20 ms: a handler, a task or the transport still runs");
    shared_set(&phase, 2);
    stop(s);
}

/* ---- Times ---------------------------------------------------------------------------------------------- */

static void a_schedule_is_checked_when_it_is_registered(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    assert_status(lb_schedule(s->bus, "* * * * moon", NULL, work, NULL, &error), LB_CONFIG, &error);
    assert_string_equal(error.message,
                        "schedule \"* * * * moon\": day of the week: expected 0 to 7 or a name, sun to "
                        "sat at \"moon\" (column 9)");
    assert_status(lb_schedule(s->bus, "@daily", NULL, NULL, NULL, &error), LB_USAGE, &error);
    assert_status(lb_schedule(s->bus, "@daily", &(lb_schedule_options){.flags = 4}, work, NULL, NULL),
                  LB_CONFIG, &error);
}

static void a_schedule_waits_for_its_time(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    job at_once = {0}, later = {0};
    time_t far = time(NULL) - 7200; /* 22 hours from now */
    struct tm tm;
    char expression[32];
    gmtime_r(&far, &tm);
    snprintf(expression, sizeof expression, "%d %d * * *", tm.tm_min, tm.tm_hour);
    const lb_schedule_options now = {.utc = true, .also_run_immediately = true}, then = {.utc = true};
    assert_ok(lb_schedule(s->bus, expression, &now, work, &at_once, &error), &error);
    assert_ok(lb_schedule(s->bus, expression, &then, work, &later, &error), &error);
    start(s);
    wait_until(shared_get(&at_once.runs) == 1, PATIENCE_MS);
    stop(s);
    assert_int_equal(shared_get(&later.runs), 0);
}

/* The clock on the wall goes ahead of the system's by so much: this program is linked with --wrap. */
static time_t ahead;

time_t __real_time(time_t *now);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
time_t __wrap_time(time_t *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

time_t __wrap_time(time_t *now)
{
    time_t shifted = __real_time(NULL) + ahead;
    if (now)
        *now = shifted;
    return shifted;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = __real_clock_gettime(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += ahead;
    return result;
}

/* It waits for the clock, which is set to shortly before the minute. */
static void a_schedule_runs_at_the_full_minute(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    job j = {0};
    ahead = 58 - time(NULL) % 60;
    time_t minute = time(NULL) / 60;
    assert_ok(lb_schedule(s->bus, "* * * * *", NULL, work, &j, &error), &error);
    start(s);
    wait_until(shared_get(&j.runs) == 1, 60000 + PATIENCE_MS); /* two seconds, unless they were over already */
    assert_true(time(NULL) / 60 > minute);
    stop(s);
    assert_int_equal(shared_get(&j.runs), 1);
    ahead = 0;
}

/* ---- What a worker leaves out --------------------------------------------------------------------------- */

static void tasks_can_be_left_out(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    job left_out = {0}, always = {0};
    every(s, (lb_every_options){.seconds = 0.01, .also_run_immediately = true}, &left_out);
    every(s, (lb_every_options){.seconds = 0.01, .flags = LB_TASK_ALWAYS}, &always);
    assert_ok(lb_start_with(s->bus, LB_RUN_NO_TASKS, &error), &error);
    wait_until(shared_get(&always.runs) >= 3, PATIENCE_MS);
    stop(s);
    assert_int_equal(shared_get(&left_out.runs), 0);
}

static void a_task_alone_makes_a_worker(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    job j = {0};
    every(s, (lb_every_options){.seconds = 0.01, .flags = LB_TASK_ALWAYS}, &j);
    assert_ok(lb_start_with(s->bus, LB_RUN_NO_TASKS, &error), &error);
    wait_until(shared_get(&j.runs) >= 1, PATIENCE_MS);
    stop(s);
}

/* ---- Event loops ---------------------------------------------------------------------------------------- */

typedef struct threads {
    pthread_t dispatching;
    int here, elsewhere;
} threads;

static lb_status compare_thread(lb_bus *bus, void *data, lb_error *error)
{
    threads *t = data;
    (void)bus, (void)error;
    shared_add(pthread_equal(pthread_self(), t->dispatching) ? &t->here : &t->elsewhere, 1);
    return LB_OK;
}

static void with_an_event_loop_tasks_run_on_its_thread(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    threads timed = {.dispatching = pthread_self()}, background = timed;
    assert_true(lb_fd(s->bus, &error) >= 0);
    assert_ok(lb_every(s->bus, &(lb_every_options){.seconds = 0.01}, compare_thread, &timed, &error), &error);
    assert_ok(lb_background(s->bus, NULL, compare_thread, &background, &error), &error);
    start(s);
    wait_until(
        (lb_dispatch(s->bus, &error), shared_get(&timed.here) >= 3 && shared_get(&background.elsewhere) == 1),
        PATIENCE_MS);
    stop(s);
    assert_int_equal(shared_get(&timed.elsewhere), 0);
    assert_int_equal(shared_get(&background.here), 0);
}

#define stage_test(f) cmocka_unit_test_setup_teardown(f, open_stage, close_stage)

int main(void)
{
    const struct CMUnitTest tests[] = {
        stage_test(a_process_whose_task_fails_ends_with_1), /* forks: before there are threads */
        stage_test(tasks_run_while_the_worker_does),
        stage_test(the_first_run_is_after_the_interval_or_at_once),
        stage_test(the_interval_counts_from_start_to_start),
        stage_test(intervals_that_are_none_are_refused),
        stage_test(tasks_are_registered_before_the_worker_starts),
        stage_test(what_a_task_fires_at_once_reaches_listeners_of_its_worker),
        stage_test(a_failure_stops_the_worker),
        stage_test(a_failure_is_logged_where_that_is_wanted),
        stage_test(a_failure_without_words_is_described),
        stage_test(the_background_runs_until_it_is_asked_to_stop),
        stage_test(the_background_may_end_by_itself),
        stage_test(a_task_that_does_not_end_is_reported),
        stage_test(a_schedule_is_checked_when_it_is_registered),
        stage_test(a_schedule_waits_for_its_time),
        stage_test(a_schedule_runs_at_the_full_minute),
        stage_test(tasks_can_be_left_out),
        stage_test(a_task_alone_makes_a_worker),
        stage_test(with_an_event_loop_tasks_run_on_its_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
