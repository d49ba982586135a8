/* Leaders, followers and senders among the threads that call, on a transport whose every step the test decides.
 */
#include "support.h"

#include <lightbus/transport.h>

#include <pthread.h>
#include <string.h>

/* The medium: calls are answered with their number of arrival; `hold_send` and `hold_fetch` stop its functions.
 */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char answers[16][37]; /* ids of the calls that fetch is to answer */
    size_t answer_count;
    int sends, in_send, fetches, in_fetch;
    bool hold_send, answer_at_once, away;
    lb_result_message results[16];
    char ids[16][37];
} medium = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static lb_value *answer; /* what every call is answered with */

static lb_status medium_open(const lb_transport_config *config, void **self, lb_error *error)
{
    (void)config;
    (void)error;
    *self = &medium;
    return LB_OK;
}
static void medium_close(void *self) { (void)self; }

static lb_status medium_send(void *self, const lb_rpc_message *const *calls, size_t count, bool now,
                             int64_t deadline_ns, lb_error *error)
{
    (void)self, (void)now, (void)deadline_ns, (void)error;
    pthread_mutex_lock(&medium.lock);
    medium.sends++;
    medium.in_send++;
    if (medium.answer_at_once)
        for (size_t i = 0; i < count; i++)
            memcpy(medium.answers[medium.answer_count++], calls[i]->id.data, 36);
    pthread_cond_broadcast(&medium.changed);
    while (medium.hold_send)
        pthread_cond_wait(&medium.changed, &medium.lock);
    medium.in_send--;
    pthread_mutex_unlock(&medium.lock);
    return LB_OK;
}
static void medium_withdraw(void *self, const lb_rpc_message *const *calls, size_t count)
{
    (void)self, (void)calls, (void)count;
}

static lb_slice medium_return_path(void *self)
{
    (void)self;
    return (lb_slice){"medium:", 7};
}

static lb_status medium_fetch(void *self, int64_t deadline_ns, const lb_result_message **results, size_t *count,
                              lb_error *error)
{
    (void)self;
    struct timespec nap;
    pthread_mutex_lock(&medium.lock);
    medium.fetches++;
    if (medium.away) {
        pthread_mutex_unlock(&medium.lock);
        return lb_error_set(error, LB_TRANSPORT, "the medium is away");
    }
    medium.in_fetch++;
    int64_t until = support_now_ms() + 20000;
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &nap);
        if (medium.answer_count || nap.tv_sec * INT64_C(1000000000) + nap.tv_nsec >= deadline_ns ||
            support_now_ms() > until)
            break;
        clock_gettime(CLOCK_REALTIME, &nap);
        nap.tv_nsec += 5000000;
        if (nap.tv_nsec >= 1000000000) {
            nap.tv_sec++;
            nap.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&medium.changed, &medium.lock, &nap);
    }
    *count = medium.answer_count;
    for (size_t i = 0; i < *count; i++) {
        memcpy(medium.ids[i], medium.answers[i], 37);
        medium.results[i] =
            (lb_result_message){.id = {"x", 1}, .rpc_message_id = {medium.ids[i], 36}, .result = answer};
    }
    medium.answer_count = 0;
    medium.in_fetch--;
    *results = medium.results;
    pthread_mutex_unlock(&medium.lock);
    return LB_OK;
}

static lb_status medium_load(void *self, void (*found)(lb_slice, lb_slice, void *), void *data,
                             int64_t deadline_ns, lb_error *error)
{
    (void)self, (void)found, (void)data, (void)deadline_ns, (void)error;
    return LB_OK;
}

static void medium_after_fork(void *self) { (void)self; }

static const lb_transport transport = {
    .abi = LB_TRANSPORT_ABI,
    .size = sizeof(lb_transport),
    .name = "medium",
    .schemes = "medium",
    .open = medium_open,
    .close = medium_close,
    .after_fork = medium_after_fork,
    .rpc = &(const lb_rpc_transport){.send = medium_send, .withdraw = medium_withdraw},
    .result = &(const lb_result_transport){.return_path = medium_return_path, .fetch = medium_fetch},
    .schema = &(const lb_schema_transport){.load = medium_load},
};

static int seen(const int *counter)
{
    pthread_mutex_lock(&medium.lock);
    int value = *counter;
    pthread_mutex_unlock(&medium.lock);
    return value;
}

static void set(bool *flag, bool value)
{
    pthread_mutex_lock(&medium.lock);
    *flag = value;
    pthread_cond_broadcast(&medium.changed);
    pthread_mutex_unlock(&medium.lock);
}

typedef struct caller {
    lb_bus *bus;
    pthread_t thread;
    lb_status status;
    bool ended;
} caller;

static void *call(void *data)
{
    caller *c = data;
    lb_error error = {0};
    lb_status status = lb_call(c->bus, "api.procedure", LB_NO_ARGS, NULL, &error);
    pthread_mutex_lock(&medium.lock);
    c->status = status;
    c->ended = true;
    pthread_mutex_unlock(&medium.lock);
    return NULL;
}

static void begin(caller *c, lb_bus *bus)
{
    *c = (caller){.bus = bus};
    assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
}

static bool has_ended(const caller *c)
{
    pthread_mutex_lock(&medium.lock);
    bool ended = c->ended;
    pthread_mutex_unlock(&medium.lock);
    return ended;
}

static lb_bus *open_bus(int timeout_ms)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = "medium:", .rpc_timeout_ms = timeout_ms}, &error);
    if (!bus)
        fail_msg("%s", error.message);
    return bus;
}

/* One thread leads, one sends and gets its answer while it still sends, a third has queued its call meanwhile:
 * the sender must see to it that the third one's call is sent, though its own has ended. */
static void a_call_queued_behind_a_sender_is_sent(void **state)
{
    (void)state;
    lb_bus *bus = open_bus(10000);
    caller leader, sender, third;
    begin(&leader, bus); /* never answered at first: it stays in fetch */
    wait_until(seen(&medium.in_fetch) == 1, 5000);
    set(&medium.answer_at_once, true);
    set(&medium.hold_send, true);
    begin(&sender, bus);
    wait_until(seen(&medium.in_send) == 1, 5000);
    wait_until(seen(&medium.in_fetch) == 1 && seen(&medium.fetches) >= 2, 5000); /* its answer was taken */
    begin(&third, bus);
    for (int i = 0; i < 10; i++) /* let it queue its call and follow */
        support_nap();
    assert_int_equal(seen(&medium.sends), 2);
    set(&medium.hold_send, false);
    wait_until(seen(&medium.sends) == 3, 5000);
    wait_until(has_ended(&third), 5000);
    assert_int_equal(third.status, LB_OK);
    pthread_join(third.thread, NULL);
    pthread_join(sender.thread, NULL);
    assert_int_equal(sender.status, LB_OK);
    pthread_join(leader.thread, NULL); /* by its deadline */
    assert_int_equal(leader.status, LB_TIMEOUT);
    lb_close(bus);
}

/* S3: a send that hangs does not keep a caller past its deadline. */
static void a_hanging_send_ends_at_the_deadline(void **state)
{
    (void)state;
    lb_bus *bus = open_bus(300);
    caller first, second;
    set(&medium.answer_at_once, false);
    begin(&first, bus);
    wait_until(seen(&medium.in_fetch) == 1, 5000);
    set(&medium.hold_send, true);
    begin(&second, bus); /* its send hangs */
    wait_until(seen(&medium.in_send) == 1, 5000);
    wait_until(has_ended(&first), 5000);
    assert_int_equal(first.status, LB_TIMEOUT);
    set(&medium.hold_send, false);
    pthread_join(first.thread, NULL);
    pthread_join(second.thread, NULL);
    assert_int_equal(second.status, LB_TIMEOUT);
    lb_close(bus);
}

static lb_pending *begin_and_pass_deadline(lb_bus *bus, int timeout_ms)
{
    lb_error error = {0};
    const lb_call_options options = {.timeout_ms = timeout_ms};
    lb_pending *p = lb_call_begin(bus, "api.procedure", LB_NO_ARGS, &options, &error);
    int64_t began = support_now_ms();
    assert_non_null(p);
    assert_int_equal(lb_flush(bus, &error), LB_OK);
    wait_until(support_now_ms() > began + timeout_ms + 10, 5000);
    return p;
}

/* A thread that comes for its answer after the deadline gets it if it came in time. */
static void s3_an_answer_waits_for_a_thread_that_comes_late(void **state)
{
    (void)state;
    lb_bus *bus = open_bus(10000);
    lb_error error = {0};
    lb_value *result = NULL;
    set(&medium.answer_at_once, true);
    assert_int_equal(lb_call_end(begin_and_pass_deadline(bus, 800), &result, &error), LB_OK);
    assert_int_equal(lb_value_int(result), 1);
    lb_value_free(result);
    lb_close(bus);
}

/* One look is enough for all calls that a thread comes late for. */
static void s3_late_calls_without_an_answer_end_after_one_look(void **state)
{
    (void)state;
    enum { CALLS = 16 };
    lb_bus *bus = open_bus(10000);
    lb_pending *calls[CALLS];
    lb_error error = {0};
    set(&medium.answer_at_once, false);
    for (int i = 0; i < CALLS; i++)
        calls[i] = begin_and_pass_deadline(bus, 20);
    int before = seen(&medium.fetches);
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(lb_call_end(calls[i], NULL, &error), LB_TIMEOUT);
    assert_int_equal(seen(&medium.fetches), before + 1);
    lb_close(bus);
}

/* ... also where looking fails: not every one of them tries for as long again. */
static void s3_late_calls_end_after_one_look_when_the_bus_is_away(void **state)
{
    (void)state;
    enum { CALLS = 16 };
    lb_bus *bus = open_bus(10000);
    lb_pending *calls[CALLS];
    lb_error error = {0};
    set(&medium.answer_at_once, false);
    set(&medium.away, true);
    for (int i = 0; i < CALLS; i++)
        calls[i] = begin_and_pass_deadline(bus, 20);
    assert_int_equal(lb_call_end(calls[0], NULL, &error), LB_TIMEOUT);
    int before = seen(&medium.fetches);
    for (int i = 1; i < CALLS; i++)
        assert_int_equal(lb_call_end(calls[i], NULL, &error), LB_TIMEOUT);
    assert_int_equal(seen(&medium.fetches), before);
    set(&medium.away, false);
    lb_close(bus);
}

static int set_up(void **state)
{
    (void)state;
    lb_error error = {0};
    return lb_transport_register(&transport, &error) || lb_value_parse("1", 1, &answer, &error);
}

static int tear_down(void **state)
{
    (void)state;
    lb_value_free(answer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_queued_behind_a_sender_is_sent),
        cmocka_unit_test(a_hanging_send_ends_at_the_deadline),
        cmocka_unit_test(s3_an_answer_waits_for_a_thread_that_comes_late),
        cmocka_unit_test(s3_late_calls_without_an_answer_end_after_one_look),
        cmocka_unit_test(s3_late_calls_end_after_one_look_when_the_bus_is_away),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
