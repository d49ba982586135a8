/* Every allocation of the library fails once, each in a process of its own: what a program does with a bus may
 * fail then, but it neither crashes nor hangs, and (under AddressSanitizer) nothing leaks. The linker has the
 * library's allocations come here first. Processes run side by side, since they wait most of the time. */
#include "support.h"

#include <lightbus/hook.h>
#include <lightbus/task.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REACHED = 0, NOT_REACHED = 42, PATIENCE_MS = 60000, SIDE_BY_SIDE = 8 };

static int left; /* allocations until the one that fails; atomic */

static bool fails(void)
{
    if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) != 0)
        return false;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return fails() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *block, size_t size) { return fails() ? NULL : __real_realloc(block, size); }
char *__wrap_strdup(const char *text) { return fails() ? NULL : __real_strdup(text); }

/* ---- A program -------------------------------------------------------------------------------------- */

static void be_quiet(lb_log_level level, const char *message, void *data)
{
    (void)level, (void)message, (void)data;
}

static lb_status add(lb_request *request, void *data)
{
    (void)data;
    lb_date day = lb_get_date(request, "day");
    lb_args(request);
    return lb_return(request, lb_get_int(request, "a") + lb_get_int(request, "b") + day.day);
}

static lb_status later(lb_request *request, void *data)
{
    (void)data;
    return lb_answer(lb_defer(request), LB_JSON("{\"name\": \"x\", \"tags\": [\"y\"]}"));
}

static lb_status refuse(lb_request *request, void *data)
{
    (void)data;
    lb_get_str(request, "nothing of that name");
    return lb_fail(request, "Refused", "call %s of %s.%s", lb_request_id(request), lb_request_api(request),
                   lb_request_procedure(request));
}

static int heard; /* atomic */

/* Takes each event at the second attempt. */
static lb_status hear(const lb_event *event, void *data)
{
    (void)data;
    lb_get_bytes(event, "bytes");
    lb_event_id(event);
    if (lb_event_deliveries(event) < 2)
        return LB_RETRY;
    __atomic_add_fetch(&heard, 1, __ATOMIC_SEQ_CST);
    return LB_OK;
}

static lb_status change(lb_occasion *occasion, void *data, lb_error *error)
{
    (void)data;
    lb_occasion_id(occasion);
    return lb_has(occasion, "a") ? lb_occasion_set(occasion, LB("a", 2), error) : LB_OK;
}

static lb_status look(lb_occasion *occasion, void *data, lb_error *error)
{
    (void)data, (void)error;
    lb_occasion_result(occasion);
    return LB_OK;
}

static lb_status tick(lb_bus *bus, void *data, lb_error *error)
{
    (void)bus, (void)data, (void)error;
    return LB_OK;
}

static void end(lb_status status, const lb_value *result, const lb_error *error, void *data)
{
    (void)status, (void)result, (void)error;
    ++*(int *)data;
}

static const lb_api math = {
    .name = "math",
    .members =
        (const lb_member[]){LB_RPC("add(a: int, b: int = 3, day: date = \"2020-01-02\") -> int", add),
                            LB_RPC("later() -> { name: str, tags: list[str] = [], more: int = 1 }", later),
                            LB_RPC("refuse()", refuse),
                            LB_EVENT("added(bytes: bytes, kind: enum(\"a\", \"b\") = \"a\")"), LB_END},
};
static const lb_api other = {.name = "other",
                             .members = (const lb_member[]){LB_EVENT("said(text: str)"), LB_END}};

typedef struct place {
    char config[160], schemas[160];
    int fail_at;
} place;

static void set_up(lb_bus *bus)
{
    const lb_every_options often = {.seconds = 0.001, .name = "often"};
    lb_register(bus, &math, NULL, NULL);
    lb_register(bus, &other, NULL, NULL);
    lb_register(bus, &(lb_api){.name = "gone", .members = other.members}, NULL, NULL);
    lb_unregister(bus, "gone", NULL);
    lb_listen(bus, "math.added other.*", "ear", hear, NULL, NULL, NULL);
    lb_hook(bus, LB_HOOK_BEFORE_RPC_CALL, change, NULL, NULL, NULL);
    lb_hook(bus, LB_HOOK_BEFORE_RPC_EXECUTION, change, NULL, NULL, NULL);
    lb_hook(bus, LB_HOOK_AFTER_RPC_EXECUTION, look, NULL, NULL, NULL);
    lb_hook(bus, LB_HOOK_AFTER_RPC_CALL, look, NULL, NULL, NULL);
    lb_hook(bus, LB_HOOK_BEFORE_EVENT_EXECUTION, change, NULL, NULL, NULL);
    lb_every(bus, &often, tick, NULL, NULL);
    lb_schedule(bus, "0 0 1 1 *", NULL, tick, NULL, NULL);
    lb_background(bus, NULL, tick, NULL, NULL);
}

/* True: all that should succeed did. */
static bool use(lb_bus *bus, const char *schemas)
{
    lb_error error = {0};
    lb_value *value = NULL;
    static int ended; /* a call may end in lb_close */
    const lb_call_options options = {.callback = end, .data = &ended};
    const lb_event *event = NULL;
    bool ok =
        lb_call(bus, "math.add", LB_ARGS(LB("a", 1), LB("day", LB_DATE(2020, 1, 4))), &value, &error) == LB_OK;
    ok = lb_value_int(value) == 2 + 3 + 4 && ok; /* a hook has changed "a" */
    lb_value_free(value);
    ok = lb_call(bus, "math.later", LB_NO_ARGS, &value, &error) == LB_OK && ok;
    lb_value_free(value);
    ok = lb_call(bus, "math.refuse", LB_NO_ARGS, NULL, &error) == LB_REMOTE_ERROR && ok;
    ok = lb_call(bus, "math.add", LB_ARGS(LB("b", "wrong")), NULL, &error) == LB_INVALID_ARGUMENTS && ok;
    ok = lb_call(bus, "math.ad", LB_NO_ARGS, NULL, &error) == LB_UNKNOWN_MEMBER && ok;
    ok = lb_call_begin(bus, "math.add", LB_ARGS(LB("a", 1)), &options, &error) && ok;
    lb_call_cancel(lb_call_begin(bus, "math.add", LB_ARGS(LB("a", 1)), NULL, &error));
    bool fired = lb_fire(bus, "math.added", LB_ARGS(LB("bytes", LB_BYTES("xyz", 3))), &error) == LB_OK;
    fired = lb_fire(bus, "other.said", LB_ARGS(LB("text", "\xc3\xa9\n")), &error) == LB_OK && fired;
    ok = lb_fire(bus, "nobody.said", LB_NO_ARGS, &error) == LB_UNKNOWN_API && ok;
    ok = lb_schema_load(bus, schemas, &error) == LB_OK && ok;
    ok = lb_schema_dump(bus, &value, &error) == LB_OK && ok;
    lb_value_free(value);
    ok = lb_lag(bus, "math.*", NULL, &value, &error) == LB_OK && lb_value_count(value) == 1 && ok;
    lb_value_free(value);
    ok = lb_streams(bus, "math.* other.said", &value, &error) == LB_OK && lb_value_count(value) == 2 && ok;
    lb_value_free(value);
    value = lb_describe(bus);
    ok = value && ok;
    lb_value_free(value);
    lb_history *history = lb_history_open(bus, "math.*, other.*", NULL, &error);
    int stored = 0;
    while (history && lb_history_next(history, &event, &error) == LB_OK && event)
        stored += lb_history_check(history, NULL, &error) == LB_OK;
    lb_history_close(history);
    int64_t until = support_now_ms() + 500; /* both events come a second time, unless one fell to the failure */
    while (fired && __atomic_load_n(&heard, __ATOMIC_SEQ_CST) < 2 && support_now_ms() < until)
        support_nap();
    return ok && fired && stored >= 2 && __atomic_load_n(&heard, __ATOMIC_SEQ_CST) >= 2;
}

static int run(void *data)
{
    const place *p = data;
    bool all_went_well = false;
    lb_log_to(be_quiet, NULL);
    __atomic_store_n(&left, p->fail_at, __ATOMIC_SEQ_CST);
    lb_bus *bus = lb_open(&(lb_options){.config = p->config,
                                        .plugins = "{\"internal_metrics\": {\"enabled\": true}}",
                                        .process_name = "{random4}",
                                        .rpc_timeout_ms = 300},
                          NULL);
    if (bus) {
        set_up(bus);
        all_went_well = lb_start(bus, NULL) == LB_OK && use(bus, p->schemas);
        lb_close(bus);
    }
    if (!p->fail_at)
        return all_went_well ? 0 : 1;
    return __atomic_load_n(&left, __ATOMIC_SEQ_CST) > 0 ? NOT_REACHED : REACHED;
}

static void make_place(place *p, const char *folder, int number)
{
    char text[400], name[40];
    snprintf(text, sizeof text,
             "service_name: service\nbus: {url: \"local://%s/bus%d\"}\napis:\n  other:\n    event_transport: "
             "{local: {url: \"local://%s/other%d\"}}\n",
             folder, number, folder, number);
    snprintf(name, sizeof name, "bus%d.yaml", number);
    write_file(folder, name, text);
    write_file(folder, "schemas.json",
               "{\"foreign\": {\"rpcs\": {\"f\": {\"parameters\": {\"properties\": {\"a\": {\"pattern\": "
               "\"^x\", \"default\": \"x\"}}, \"maxProperties\": 1}, \"response\": {\"enum\": [1, \"2\"]}}}}}");
    snprintf(p->config, sizeof p->config, "%s/%s", folder, name);
    snprintf(p->schemas, sizeof p->schemas, "%s/schemas.json", folder);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    char *folder = temporary_directory();
    place places[SIDE_BY_SIDE];
    pid_t children[SIDE_BY_SIDE];
    int failed = 0, reached;
    for (int i = 0; i < SIDE_BY_SIDE; i++)
        make_place(&places[i], folder, i);
    places[0].fail_at = 0; /* none */
    assert_int_equal(child_wait(child_start(run, &places[0]), PATIENCE_MS), 0);
    do {
        reached = 0;
        for (int i = 0; i < SIDE_BY_SIDE; i++) {
            places[i].fail_at = ++failed;
            children[i] = child_start(run, &places[i]);
        }
        for (int i = 0; i < SIDE_BY_SIDE; i++) {
            int code = child_wait(children[i], PATIENCE_MS);
            if (code != REACHED && code != NOT_REACHED)
                fail_msg("allocation %d failed: exit code %d", places[i].fail_at, code);
            reached += code == REACHED;
        }
    } while (reached);
    assert_true(failed > 300); /* they do come here */
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
