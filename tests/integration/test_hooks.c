/* Hooks: when they run and in which order, what they see, refuse and change, on a bus of this machine. */
#include "worker.h"

#include <pthread.h>
#include <stdio.h>

/* ---- A service and a client in one process -------------------------------------------------------------- */

typedef struct stage {
    char url[160];
    char *folder;
    lb_bus *worker, *client;
    lb_deferred *deferred;
    int handled, events;    /* by the handlers */
    int64_t last_a, last_n; /* what the handlers got */
    pthread_mutex_t lock;   /* of the journal */
    char journal[4096];     /* what the hooks note */
} stage;

static void note(stage *s, const char *format, ...) LB_PRINTF(2, 3);
static void note(stage *s, const char *format, ...)
{
    va_list args;
    pthread_mutex_lock(&s->lock);
    size_t used = strlen(s->journal);
    va_start(args, format);
    vsnprintf(s->journal + used, sizeof s->journal - used, format, args);
    va_end(args);
    strncat(s->journal, "\n", sizeof s->journal - strlen(s->journal) - 1);
    pthread_mutex_unlock(&s->lock);
}

static bool noted(stage *s, const char *text)
{
    pthread_mutex_lock(&s->lock);
    bool found = strstr(s->journal, text) != NULL;
    pthread_mutex_unlock(&s->lock);
    return found;
}

static void assert_journal(stage *s, const char *expected)
{
    pthread_mutex_lock(&s->lock);
    assert_string_equal(s->journal, expected);
    s->journal[0] = '\0';
    pthread_mutex_unlock(&s->lock);
}

static lb_status add(lb_request *request, void *data)
{
    stage *s = data;
    __atomic_store_n(&s->last_a, lb_get_int(request, "a"), __ATOMIC_SEQ_CST);
    shared_add(&s->handled, 1);
    if (lb_get_int(request, "a") < 0)
        return lb_fail(request, "Negative", "%d is negative", (int)lb_get_int(request, "a"));
    return lb_return(request, lb_get_int(request, "a") + lb_get_int(request, "b"));
}

static lb_status later(lb_request *request, void *data)
{
    stage *s = data;
    lb_deferred *deferred = lb_defer(request);
    __atomic_store_n(&s->deferred, deferred, __ATOMIC_SEQ_CST);
    return deferred ? LB_OK : LB_NO_MEMORY;
}

static lb_deferred *deferred_of(stage *s) { return __atomic_load_n(&s->deferred, __ATOMIC_SEQ_CST); }

static lb_status handle(const lb_event *event, void *data)
{
    stage *s = data;
    __atomic_store_n(&s->last_n, lb_get_int(event, "n"), __ATOMIC_SEQ_CST);
    shared_add(&s->events, 1);
    return LB_OK;
}

static const lb_member members[] = {
    LB_RPC("add(a: int, b: int = 1) -> int", add),
    LB_RPC("later() -> str", later),
    LB_EVENT("added(n: int, loud: bool = false)"),
    LB_END,
};
static const lb_api calc = {.name = "calc", .members = members};

static lb_bus *open_bus(const stage *s, const char *service)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = s->url, .service_name = service, .process_name = "p"}, &error);
    if (!bus)
        fail_msg("%s", error.message);
    return bus;
}

static int open_stage(void **state)
{
    stage *s = *state = calloc(1, sizeof *s);
    lb_error error = {0};
    s->folder = temporary_directory();
    snprintf(s->url, sizeof s->url, "local://%s/bus", s->folder);
    pthread_mutex_init(&s->lock, NULL);
    s->worker = open_bus(s, "worker");
    s->client = open_bus(s, "client");
    assert_ok(lb_register(s->worker, &calc, s, &error), &error);
    assert_ok(lb_listen(s->worker, "calc.added", "l", handle, s, NULL, &error), &error);
    return 0;
}

static int close_stage(void **state)
{
    stage *s = *state;
    lb_close(s->client);
    lb_close(s->worker);
    remove_directory(s->folder);
    free(s->folder);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return 0;
}

static void start(stage *s)
{
    lb_error error = {0};
    assert_ok(lb_start(s->worker, &error), &error);
}

static void hook(lb_bus *bus, lb_hook_point point, lb_hook_fn run, void *data)
{
    lb_error error = {0};
    assert_ok(lb_hook(bus, point, run, data, NULL, &error), &error);
}

static void assert_sum(stage *s, int a, int b, int expected)
{
    lb_error error = {0};
    lb_value *sum = NULL;
    assert_ok(lb_call(s->client, "calc.add", LB_ARGS(LB("a", a), LB("b", b)), &sum, &error), &error);
    assert_int_equal(lb_value_int(sum), expected);
    lb_value_free(sum);
}

static void fire(stage *s, int n)
{
    lb_error error = {0};
    assert_ok(lb_fire(s->worker, "calc.added", LB_ARGS(LB("n", n)), &error), &error);
}

/* ---- When, and what they see ---------------------------------------------------------------------------- */

/* "POINT API.NAME [ID ARGUMENT RESULT ERROR]" */
static lb_status observe(lb_occasion *o, void *data, lb_error *error)
{
    static const char *const parts[] = {"a", "n"};
    char text[300] = "", id[60] = "", *result = lb_value_json(lb_occasion_result(o), NULL);
    const lb_error *why = lb_occasion_error(o);
    (void)error;
    snprintf(id, sizeof id, "%zu", strlen(lb_occasion_id(o)));
    for (int i = 0; i < 2; i++)
        if (lb_has(o, parts[i]))
            snprintf(text, sizeof text, " %s=%d", parts[i], (int)lb_get_int(o, parts[i]));
    note(data, "%s %s.%s %s%s %s%s%s%s", lb_hook_name(lb_occasion_point(o)), lb_occasion_api(o),
         lb_occasion_name(o), id, text, result, why ? " " : "", why ? why->type : "",
         lb_occasion_seconds(o) > 0 ? " took time" : "");
    free(result);
    return LB_OK;
}

static void calls_pass_four_points(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    for (int point = 0; point < LB_HOOK_POINTS; point++) {
        hook(s->client, (lb_hook_point)point, observe, s);
        hook(s->worker, (lb_hook_point)point, observe, s);
    }
    start(s);
    assert_journal(s, "before_worker_start . 0 null\n");
    assert_sum(s, 3, 4, 7);
    assert_journal(s, "before_rpc_call calc.add 36 a=3 null\n"
                      "before_rpc_execution calc.add 36 a=3 null\n"
                      "after_rpc_execution calc.add 36 a=3 7 took time\n"
                      "after_rpc_call calc.add 36 a=3 7 took time\n");
    assert_status(lb_call(s->client, "calc.add", LB_ARGS(LB("a", -1)), NULL, &error), LB_REMOTE_ERROR, &error);
    assert_journal(s, "before_rpc_call calc.add 36 a=-1 null\n"
                      "before_rpc_execution calc.add 36 a=-1 null\n"
                      "after_rpc_execution calc.add 36 a=-1 null Negative took time\n"
                      "after_rpc_call calc.add 36 a=-1 null Negative took time\n");
    assert_status(lb_call(s->client, "calc.add", LB_ARGS(LB("a", "x")), NULL, &error), LB_INVALID_ARGUMENTS,
                  &error);
    assert_journal(s, ""); /* it was no call */
    assert_ok(lb_stop(s->worker, -1, &error), &error);
    assert_journal(s, "after_worker_stopped . 0 null\n");
}

static void events_pass_four_points(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    for (int point = LB_HOOK_BEFORE_EVENT_SENT; point <= LB_HOOK_AFTER_EVENT_EXECUTION; point++)
        hook(s->worker, (lb_hook_point)point, observe, s);
    start(s);
    fire(s, 5);
    wait_until(noted(s, "after_event_execution"), PATIENCE_MS);
    assert_ok(lb_stop(s->worker, -1, &error), &error);
    assert_true(noted(s, "before_event_sent calc.added 36 n=5 null\n"));
    assert_true(noted(s, "after_event_sent calc.added 36 n=5 null took time\n"));
    assert_true(noted(s, "before_event_execution calc.added 36 n=5 null\n"));
    assert_true(noted(s, "after_event_execution calc.added 36 n=5 null took time\n"));
}

static lb_status sign(lb_occasion *o, void *data, lb_error *error)
{
    void *const *name = data;
    (void)o, (void)error;
    note(name[0], "%s", (const char *)name[1]);
    return LB_OK;
}

static void hooks_run_in_the_order_of_registration_those_before_plugins_first(void **state)
{
    stage *s = *state;
    void *first[] = {s, "first"}, *second[] = {s, "second"}, *third[] = {s, "third"}, *fourth[] = {s, "fourth"};
    static const lb_hook_options before = {.before_plugins = true};
    lb_error error = {0};
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, sign, third);
    assert_ok(lb_hook(s->client, LB_HOOK_BEFORE_RPC_CALL, sign, first, &before, &error), &error);
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, sign, fourth);
    assert_ok(lb_hook(s->client, LB_HOOK_BEFORE_RPC_CALL, sign, second, &before, &error), &error);
    start(s);
    assert_sum(s, 1, 1, 2);
    assert_journal(s, "first\nsecond\nthird\nfourth\n");
}

static lb_status call_again(lb_occasion *o, void *data, lb_error *error)
{
    lb_value *sum = NULL;
    lb_status status = lb_call(lb_occasion_bus(o), "calc.add", LB_ARGS(LB("a", 10), LB("b", 20)), &sum, error);
    note(data, "%d", (int)lb_value_int(sum));
    lb_value_free(sum);
    return status;
}

static void what_a_hook_calls_passes_no_hooks(void **state)
{
    stage *s = *state;
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, call_again, s);
    hook(s->client, LB_HOOK_AFTER_RPC_CALL, call_again, s);
    start(s);
    assert_sum(s, 1, 2, 3);
    assert_journal(s, "30\n30\n");
}

/* ---- Refusing ------------------------------------------------------------------------------------------- */

static lb_status refuse(lb_occasion *o, void *data, lb_error *error)
{
    int *left = data;
    if (!shared_get(left))
        return LB_OK;
    shared_add(left, -1);
    lb_error_set(error, LB_ACCESS, "%s says no to %s", lb_hook_name(lb_occasion_point(o)), lb_occasion_name(o));
    snprintf(error->type, sizeof error->type, "Forbidden");
    return LB_ACCESS;
}

static void assert_refused(stage *s, lb_status status, const char *type, const char *message)
{
    lb_error error = {0};
    lb_value *sum = NULL;
    assert_status(lb_call(s->client, "calc.add", LB_ARGS(LB("a", 1)), &sum, &error), status, &error);
    assert_int_equal(error.status, status);
    assert_string_equal(error.type, type);
    assert_string_equal(error.message, message);
    assert_null(sum);
}

static void a_hook_refuses_a_call(void **state)
{
    stage *s = *state;
    static int once = 1; /* the hook outlives this function */
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, refuse, &once);
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, observe, s); /* does not get to see it */
    hook(s->client, LB_HOOK_AFTER_RPC_CALL, observe, s);
    start(s);
    assert_refused(s, LB_ACCESS, "Forbidden", "before_rpc_call says no to add");
    assert_int_equal(shared_get(&s->handled), 0); /* it was not sent */
    assert_journal(s, "");
    assert_sum(s, 1, 2, 3);
    assert_int_equal(shared_get(&s->handled), 1);
}

static void a_hook_refuses_an_execution(void **state)
{
    stage *s = *state;
    static int once = 1; /* the hook outlives this function */
    hook(s->worker, LB_HOOK_BEFORE_RPC_EXECUTION, refuse, &once);
    hook(s->worker, LB_HOOK_AFTER_RPC_EXECUTION, observe, s);
    start(s);
    assert_refused(s, LB_REMOTE_ERROR, "Forbidden", "before_rpc_execution says no to add");
    assert_int_equal(shared_get(&s->handled), 0);
    assert_journal(s, "");
    assert_sum(s, 1, 2, 3);
}

static void a_hook_takes_the_place_of_an_answer(void **state)
{
    stage *s = *state;
    static int once = 1; /* the hook outlives this function */
    hook(s->worker, LB_HOOK_AFTER_RPC_EXECUTION, refuse, &once);
    hook(s->worker, LB_HOOK_AFTER_RPC_EXECUTION, observe, s); /* runs all the same */
    start(s);
    assert_refused(s, LB_REMOTE_ERROR, "Forbidden", "after_rpc_execution says no to add");
    assert_int_equal(shared_get(&s->handled), 1);
    assert_true(noted(s, "after_rpc_execution calc.add 36 a=1 2"));
    assert_sum(s, 1, 2, 3);
}

static void a_hook_takes_the_place_of_a_result(void **state)
{
    stage *s = *state;
    static int once = 1; /* the hook outlives this function */
    hook(s->client, LB_HOOK_AFTER_RPC_CALL, refuse, &once);
    start(s);
    assert_refused(s, LB_ACCESS, "Forbidden", "after_rpc_call says no to add");
    assert_sum(s, 1, 2, 3);
}

static void a_hook_refuses_an_event(void **state)
{
    stage *s = *state;
    static int once = 1; /* the hook outlives this function */
    lb_error error = {0};
    hook(s->worker, LB_HOOK_BEFORE_EVENT_SENT, refuse, &once);
    start(s);
    assert_status(lb_fire(s->worker, "calc.added", LB_ARGS(LB("n", 1)), &error), LB_ACCESS, &error);
    assert_string_equal(error.message, "before_event_sent says no to added");
    fire(s, 2);
    wait_until(shared_get(&s->events) == 1, PATIENCE_MS);
    assert_int_equal(__atomic_load_n(&s->last_n, __ATOMIC_SEQ_CST), 2);
}

static void what_has_happened_to_an_event_stays(void **state)
{
    stage *s = *state;
    int sent = 1, handled = 1;
    hook(s->worker, LB_HOOK_AFTER_EVENT_SENT, refuse, &sent);
    hook(s->worker, LB_HOOK_AFTER_EVENT_EXECUTION, refuse, &handled);
    start(s);
    fire(s, 1); /* it is on the bus: success */
    wait_until(shared_get(&handled) == 0, PATIENCE_MS);
    fire(s, 2);
    wait_until(shared_get(&s->events) == 2, PATIENCE_MS); /* the first one was not handled again */
    assert_int_equal(__atomic_load_n(&s->last_n, __ATOMIC_SEQ_CST), 2);
    assert_int_equal(shared_get(&sent), 0);
}

/* S13: a failure before the handler is one of the handler. */
static void an_event_that_a_hook_fails_is_handled_again(void **state)
{
    stage *s = *state;
    int twice = 2;
    hook(s->worker, LB_HOOK_BEFORE_EVENT_EXECUTION, refuse, &twice);
    start(s);
    fire(s, 7);
    wait_until(shared_get(&s->events) == 1, PATIENCE_MS);
    assert_int_equal(shared_get(&twice), 0);
    assert_int_equal(__atomic_load_n(&s->last_n, __ATOMIC_SEQ_CST), 7);
}

static lb_status fail_in_silence(lb_occasion *o, void *data, lb_error *error)
{
    (void)o, (void)data, (void)error;
    return LB_NO_SPACE;
}

static lb_status read_what_is_not_there(lb_occasion *o, void *data, lb_error *error)
{
    (void)data, (void)error;
    lb_get_int(o, "zz");
    return LB_OK;
}

static void a_failure_without_words_is_described(void **state)
{
    stage *s = *state;
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, fail_in_silence, NULL);
    start(s);
    assert_refused(s, LB_NO_SPACE, "NO_SPACE", "calc.add: a hook at before_rpc_call failed: no space left");
}

static void reading_what_is_not_there_fails_the_call(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, read_what_is_not_there, NULL);
    start(s);
    assert_status(lb_call(s->client, "calc.add", LB_ARGS(LB("a", 1)), NULL, &error), LB_USAGE, &error);
    assert_contains(error.message, "\"zz\", which is not an argument");
    assert_int_equal(shared_get(&s->handled), 0);
}

/* ---- Changing ------------------------------------------------------------------------------------------- */

static lb_status set_hundred(lb_occasion *o, void *data, lb_error *error)
{
    return lb_occasion_set(o, LB((const char *)data, 100), error);
}

static lb_status set_text(lb_occasion *o, void *data, lb_error *error)
{
    return lb_occasion_set(o, LB((const char *)data, "text"), error);
}

static void hooks_change_arguments(void **state)
{
    stage *s = *state;
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, set_hundred, "a");
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, observe, s);
    hook(s->worker, LB_HOOK_BEFORE_RPC_EXECUTION, set_hundred, "b");
    start(s);
    assert_sum(s, 1, 2, 200);
    assert_journal(s,
                   "before_rpc_call calc.add 36 a=100 null\n"); /* hooks see what those before them changed */
    lb_error error = {0};
    lb_value *sum = NULL;
    assert_ok(lb_call(s->client, "calc.add", LB_ARGS(LB("a", 5)), &sum, &error), &error);
    assert_int_equal(lb_value_int(sum), 200); /* b was not there before */
    lb_value_free(sum);
}

static void hooks_change_events(void **state)
{
    stage *s = *state;
    hook(s->worker, LB_HOOK_BEFORE_EVENT_SENT, set_hundred, "n");
    start(s);
    fire(s, 1);
    wait_until(shared_get(&s->events) == 1, PATIENCE_MS);
    assert_int_equal(__atomic_load_n(&s->last_n, __ATOMIC_SEQ_CST), 100);
}

static void hooks_change_events_before_their_handlers(void **state)
{
    stage *s = *state;
    hook(s->worker, LB_HOOK_BEFORE_EVENT_EXECUTION, set_hundred, "n");
    start(s);
    fire(s, 1);
    wait_until(shared_get(&s->events) == 1, PATIENCE_MS);
    assert_int_equal(__atomic_load_n(&s->last_n, __ATOMIC_SEQ_CST), 100);
}

static void changed_arguments_are_validated_again(void **state)
{
    stage *s = *state;
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, set_text, "b");
    start(s);
    assert_refused(s, LB_INVALID_ARGUMENTS, "INVALID_ARGUMENTS",
                   "calc.add: b: expected int, got str (\"text\")");
    assert_int_equal(shared_get(&s->handled), 0);
}

static void changed_arguments_are_validated_before_the_handler(void **state)
{
    stage *s = *state;
    hook(s->worker, LB_HOOK_BEFORE_RPC_EXECUTION, set_text, "c");
    start(s);
    assert_refused(s, LB_REMOTE_ERROR, "INVALID_ARGUMENTS",
                   "calc.add: unexpected argument \"c\"; the signature is add(a: int, b: int = 1) -> int");
    assert_int_equal(shared_get(&s->handled), 0);
}

static void what_has_happened_cannot_be_changed(void **state)
{
    stage *s = *state;
    hook(s->client, LB_HOOK_AFTER_RPC_CALL, set_hundred, "a");
    start(s);
    assert_refused(s, LB_USAGE, "USAGE",
                   "lb_occasion_set: expected a named argument, before a call, an event or a handler; this is "
                   "after_rpc_call");
}

/* ---- Ends of calls -------------------------------------------------------------------------------------- */

static void on_answer(lb_status status, const lb_value *result, const lb_error *error, void *data)
{
    (void)error;
    note(data, "callback %s %d", lb_status_name(status), (int)lb_value_int(result));
}

static void every_call_has_one_end(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    hook(s->client, LB_HOOK_AFTER_RPC_CALL, observe, s);
    start(s);
    const lb_call_options asynchronous = {.callback = on_answer, .data = s}, hasty = {.timeout_ms = 1000};
    assert_non_null(lb_call_begin(s->client, "calc.add", LB_ARGS(LB("a", 1)), &asynchronous, &error));
    assert_sum(s, 2, 2, 4);
    wait_until((lb_flush(s->client, &error), lb_call(s->client, "calc.add", LB_ARGS(LB("a", 9)), NULL, &error),
                noted(s, "callback OK 2\n")),
               PATIENCE_MS);
    assert_true(noted(s, "after_rpc_call calc.add 36 a=1 2 took time\ncallback OK 2\n"));

    lb_pending *call = lb_call_begin(s->client, "calc.later", LB_NO_ARGS, &hasty, &error);
    assert_status(lb_call_end(call, NULL, &error), LB_TIMEOUT, &error);
    assert_true(noted(s, "after_rpc_call calc.later 36 null TIMEOUT took time\n"));
    lb_call_cancel(lb_call_begin(s->client, "calc.add", LB_ARGS(LB("a", 77)), NULL, &error));
    assert_true(noted(s, "after_rpc_call calc.add 36 a=77 null CANCELED took time\n"));
    wait_until(deferred_of(s), PATIENCE_MS);
    lb_answer(deferred_of(s), "too late");
}

static void a_deferred_answer_ends_when_it_is_given(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    lb_value *result = NULL;
    hook(s->worker, LB_HOOK_AFTER_RPC_EXECUTION, observe, s);
    start(s);
    lb_pending *call = lb_call_begin(s->client, "calc.later", LB_NO_ARGS, NULL, &error);
    assert_non_null(call);
    assert_ok(lb_flush(s->client, &error), &error);
    wait_until(deferred_of(s), PATIENCE_MS);
    assert_journal(s, "");
    assert_ok(lb_answer(deferred_of(s), "now"), &error);
    assert_journal(s, "after_rpc_execution calc.later 36 \"now\" took time\n");
    assert_ok(lb_call_end(call, &result, &error), &error);
    assert_string_equal(lb_value_str(result), "now");
    lb_value_free(result);
}

/* ---- The worker ----------------------------------------------------------------------------------------- */

static lb_status listen_to_more(lb_occasion *o, void *data, lb_error *error)
{
    return lb_listen(lb_occasion_bus(o), "calc.added", "late", handle, data, NULL, error);
}

static void listeners_may_be_registered_at_the_start(void **state)
{
    stage *s = *state;
    hook(s->worker, LB_HOOK_ON_START, listen_to_more, s);
    start(s);
    fire(s, 1);
    wait_until(shared_get(&s->events) == 2, PATIENCE_MS);
}

static void a_worker_that_only_has_hooks_can_start(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    lb_bus *bus = open_bus(s, "other");
    assert_status(lb_start(bus, &error), LB_USAGE, &error);
    hook(bus, LB_HOOK_BEFORE_WORKER_START, listen_to_more, s);
    assert_ok(lb_start(bus, &error), &error);
    assert_ok(lb_stop(bus, -1, &error), &error);
    lb_close(bus);
}

static void a_failure_at_the_start_keeps_the_worker_from_starting(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    static int once = 1; /* the hook outlives this function */
    hook(s->worker, LB_HOOK_BEFORE_WORKER_START, refuse, &once);
    hook(s->worker, LB_HOOK_AFTER_WORKER_STOPPED, observe, s);
    assert_status(lb_start(s->worker, &error), LB_ACCESS, &error);
    assert_string_equal(error.message, "before_worker_start says no to ");
    assert_status(lb_run(s->worker, 1u << 30, &error), LB_USAGE, &error);
    assert_journal(s, "");
    start(s);
    assert_sum(s, 1, 2, 3);
    assert_ok(lb_stop(s->worker, -1, &error), &error);
    assert_ok(lb_stop(s->worker, -1, &error), &error);
    assert_journal(s, "after_worker_stopped . 0 null\n"); /* once */
}

static void a_failure_at_the_end_is_that_of_lb_stop(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    static int once = 1; /* the hook outlives this function */
    hook(s->worker, LB_HOOK_AFTER_WORKER_STOPPED, refuse, &once);
    start(s);
    assert_status(lb_stop(s->worker, -1, &error), LB_ACCESS, &error);
    assert_string_equal(error.message, "after_worker_stopped says no to ");
    start(s); /* and it has stopped */
}

static lb_status fail_event(const lb_event *event, void *data)
{
    (void)event, (void)data;
    return LB_FAILED;
}

static void an_error_that_ends_the_worker_is_an_exception(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    const lb_listen_options options = {.on_error = LB_ON_ERROR_SHUTDOWN};
    assert_ok(lb_listen(s->worker, "calc.added", "failing", fail_event, NULL, &options, &error), &error);
    hook(s->worker, LB_HOOK_EXCEPTION, observe, s);
    hook(s->worker, LB_HOOK_AFTER_WORKER_STOPPED, observe, s);
    start(s);
    fire(s, 1);
    wait_until(noted(s, "exception . 0 null FAILED\n"), PATIENCE_MS);
    assert_status(lb_stop(s->worker, -1, &error), LB_FAILED, &error);
    assert_true(noted(s, "after_worker_stopped . 0 null FAILED\n"));
}

static void hooks_are_registered_before_the_worker_starts(void **state)
{
    stage *s = *state;
    lb_error error = {0};
    assert_status(lb_hook(s->worker, LB_HOOK_POINTS, observe, s, NULL, &error), LB_USAGE, &error);
    assert_status(lb_hook(s->worker, LB_HOOK_EXCEPTION, NULL, s, NULL, &error), LB_USAGE, &error);
    start(s);
    assert_status(lb_hook(s->worker, LB_HOOK_EXCEPTION, observe, s, NULL, &error), LB_USAGE, &error);
    assert_string_equal(lb_hook_name(LB_HOOK_POINTS), "?");
    assert_string_equal(lb_hook_name(LB_HOOK_ON_STOP), "after_worker_stopped");
}

/* Many threads in hooks at once. */
static void *call_often(void *data)
{
    stage *s = data;
    for (int i = 0; i < support_scaled(200); i++)
        assert_sum(s, i, 1, i + 1);
    return NULL;
}

static lb_status count(lb_occasion *o, void *data, lb_error *error)
{
    (void)error;
    if (lb_get_int(o, "a") >= 0 && lb_occasion_seconds(o) >= 0 && *lb_occasion_api(o))
        shared_add(data, 1);
    return LB_OK;
}

static void hooks_run_on_many_threads(void **state)
{
    stage *s = *state;
    pthread_t threads[4];
    int counted = 0;
    hook(s->client, LB_HOOK_BEFORE_RPC_CALL, count, &counted);
    hook(s->client, LB_HOOK_AFTER_RPC_CALL, count, &counted);
    hook(s->worker, LB_HOOK_BEFORE_RPC_EXECUTION, count, &counted);
    hook(s->worker, LB_HOOK_AFTER_RPC_EXECUTION, count, &counted);
    start(s);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, s), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared_get(&counted), 4 * 4 * support_scaled(200));
}

#define stage_test(f) cmocka_unit_test_setup_teardown(f, open_stage, close_stage)

int main(void)
{
    const struct CMUnitTest tests[] = {
        stage_test(calls_pass_four_points),
        stage_test(events_pass_four_points),
        stage_test(hooks_run_in_the_order_of_registration_those_before_plugins_first),
        stage_test(what_a_hook_calls_passes_no_hooks),
        stage_test(a_hook_refuses_a_call),
        stage_test(a_hook_refuses_an_execution),
        stage_test(a_hook_takes_the_place_of_an_answer),
        stage_test(a_hook_takes_the_place_of_a_result),
        stage_test(a_hook_refuses_an_event),
        stage_test(what_has_happened_to_an_event_stays),
        stage_test(an_event_that_a_hook_fails_is_handled_again),
        stage_test(a_failure_without_words_is_described),
        stage_test(reading_what_is_not_there_fails_the_call),
        stage_test(hooks_change_arguments),
        stage_test(hooks_change_events),
        stage_test(hooks_change_events_before_their_handlers),
        stage_test(changed_arguments_are_validated_again),
        stage_test(changed_arguments_are_validated_before_the_handler),
        stage_test(what_has_happened_cannot_be_changed),
        stage_test(every_call_has_one_end),
        stage_test(a_deferred_answer_ends_when_it_is_given),
        stage_test(listeners_may_be_registered_at_the_start),
        stage_test(a_worker_that_only_has_hooks_can_start),
        stage_test(a_failure_at_the_start_keeps_the_worker_from_starting),
        stage_test(a_failure_at_the_end_is_that_of_lb_stop),
        stage_test(an_error_that_ends_the_worker_is_an_exception),
        stage_test(hooks_are_registered_before_the_worker_starts),
        stage_test(hooks_run_on_many_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
