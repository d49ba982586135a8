/* What a worker leaves out, the dry start, and being told that it is ready; on a local bus, within this
 * process. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEADLINE_MS = 20000 };

typedef struct fixture {
    char *folder, url[160];
    lb_bus *bus;
    int heard, ready;
    int64_t answer; /* to the call that `told` makes */
} fixture;

static lb_status one(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, 1);
}

static lb_status heard(const lb_event *event, void *data)
{
    (void)event;
    __atomic_add_fetch((int *)data, 1, __ATOMIC_SEQ_CST);
    return LB_OK;
}

static void told(lb_bus *bus, void *data)
{
    fixture *f = data;
    lb_value *value = NULL;
    lb_error error = {0};

    f->ready++;
    assert_ok(lb_call(bus, "ours.one", LB_NO_ARGS, &value, &error), &error);
    f->answer = lb_value_int(value);
    lb_value_free(value);
}

/* Comes after `told`, at its third time. */
static void told_next(lb_bus *bus, void *data)
{
    fixture *f = data;

    (void)bus;
    assert_int_equal(f->ready, 3);
    f->ready += 100;
}

static const lb_member members[] = {LB_RPC("one() -> int", one), LB_EVENT("said()"), LB_END};
static const lb_api ours = {.name = "ours", .members = members};

static int open_bus(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    lb_error error = {0};

    f->folder = temporary_directory();
    snprintf(f->url, sizeof f->url, "local://%s/bus", f->folder);
    f->bus = lb_open(&(lb_options){.url = f->url, .service_name = "service"}, &error);
    if (!f->bus)
        fail_msg("lb_open: %s", error.message);
    *state = f;
    return 0;
}

static int close_bus(void **state)
{
    fixture *f = *state;

    lb_close(f->bus);
    free(f->folder);
    free(f);
    return 0;
}

static void serve_and_listen(fixture *f)
{
    lb_error error = {0};

    assert_ok(lb_register(f->bus, &ours, NULL, &error), &error);
    assert_ok(lb_listen(f->bus, "ours.said", "ear", heard, &f->heard, NULL, &error), &error);
}

static lb_status call(fixture *f, int timeout_ms)
{
    lb_call_options options = {.timeout_ms = timeout_ms};

    return lb_call_end(lb_call_begin(f->bus, "ours.one", LB_NO_ARGS, &options, NULL), NULL, NULL);
}

static size_t groups(fixture *f)
{
    lb_value *lag = NULL;
    lb_error error = {0};
    size_t count;

    assert_ok(lb_lag(f->bus, "ours.said", NULL, &lag, &error), &error);
    count = lb_value_count(lag);
    lb_value_free(lag);
    return count;
}

static void each_start_says_what_it_leaves_out(void **state)
{
    fixture *f = *state;
    lb_error error = {0};

    serve_and_listen(f);
    assert_ok(lb_start_with(f->bus, LB_RUN_NO_RPCS | LB_RUN_NO_EVENTS | LB_RUN_NO_TASKS, &error), &error);
    assert_int_equal(call(f, 200), LB_TIMEOUT);
    assert_int_equal(groups(f), 0);
    assert_ok(lb_stop(f->bus, -1, &error), &error);

    assert_ok(lb_start_with(f->bus, LB_RUN_NO_EVENTS, &error), &error);
    assert_int_equal(call(f, DEADLINE_MS), LB_OK);
    assert_int_equal(groups(f), 0);
    assert_ok(lb_stop(f->bus, -1, &error), &error);

    assert_ok(lb_start_with(f->bus, LB_RUN_NO_RPCS, &error), &error);
    assert_int_equal(groups(f), 1);
    assert_ok(lb_fire(f->bus, "ours.said", LB_NO_ARGS, &error), &error);
    wait_until(__atomic_load_n(&f->heard, __ATOMIC_SEQ_CST) == 1, DEADLINE_MS);
    assert_int_equal(call(f, 200), LB_TIMEOUT);
    assert_ok(lb_stop(f->bus, -1, &error), &error);

    assert_ok(lb_start(f->bus, &error), &error);
    assert_int_equal(call(f, DEADLINE_MS), LB_OK);
}

static void unknown_bits_are_refused(void **state)
{
    fixture *f = *state;
    lb_error error = {0};

    serve_and_listen(f);
    assert_int_equal(lb_start_with(f->bus, 1u << 20, &error), LB_USAGE);
    assert_string_equal(error.message, "lb_start: unknown bits 0x100000 in flags");
    assert_int_equal(lb_start_with(f->bus, LB_RUN_SIGNALS, &error), LB_USAGE);
    assert_int_equal(lb_run(f->bus, 1u << 20 | LB_RUN_SIGNALS, &error), LB_USAGE);
    assert_string_equal(error.message, "lb_run: unknown bits 0x100000 in flags");
}

static void a_dry_start_only_looks(void **state)
{
    fixture *f = *state;
    char path[200];
    lb_error error = {0};

    assert_int_equal(lb_run(f->bus, LB_RUN_DRY, &error), LB_USAGE);
    assert_non_null(strstr(error.message, "there is nothing to serve"));
    serve_and_listen(f);
    assert_ok(lb_on_ready(f->bus, told, f, &error), &error);
    assert_ok(lb_run(f->bus, LB_RUN_DRY | LB_RUN_SIGNALS | LB_RUN_NO_TASKS, &error), &error);
    assert_ok(lb_start_with(f->bus, LB_RUN_DRY, &error), &error);
    assert_int_equal(f->ready, 0);
    snprintf(path, sizeof path, "%s/bus", f->folder);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_ok(lb_start(f->bus, &error), &error);
    assert_int_equal(lb_start_with(f->bus, LB_RUN_DRY, &error), LB_USAGE);
}

static void readiness_is_told_at_each_start(void **state)
{
    fixture *f = *state;
    lb_error error = {0};

    serve_and_listen(f);
    assert_ok(lb_on_ready(f->bus, told, f, &error), &error);
    assert_ok(lb_start(f->bus, &error), &error);
    assert_int_equal(f->ready, 1);
    assert_int_equal(f->answer, 1);
    assert_int_equal(lb_on_ready(f->bus, told, f, &error), LB_USAGE);
    assert_non_null(strstr(error.message, "lb_on_ready: the worker runs already"));
    assert_ok(lb_stop(f->bus, -1, &error), &error);
    assert_int_equal(lb_on_ready(f->bus, NULL, NULL, &error), LB_USAGE);
    assert_ok(lb_start(f->bus, &error), &error);
    assert_int_equal(f->ready, 2);
    assert_ok(lb_stop(f->bus, -1, &error), &error);
    assert_ok(lb_on_ready(f->bus, told_next, f, &error), &error);
    assert_ok(lb_start(f->bus, &error), &error);
    assert_int_equal(f->ready, 103);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_start_says_what_it_leaves_out, open_bus, close_bus),
        cmocka_unit_test_setup_teardown(unknown_bits_are_refused, open_bus, close_bus),
        cmocka_unit_test_setup_teardown(a_dry_start_only_looks, open_bus, close_bus),
        cmocka_unit_test_setup_teardown(readiness_is_told_at_each_start, open_bus, close_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
