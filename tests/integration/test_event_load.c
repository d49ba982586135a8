/* Load: 100,000 events reach both of two services, each of two processes. */
#include "worker.h"

#include <stdio.h>

enum { BATCH = 500, SERVICES = 2, PROCESSES = 2 };

typedef struct shared {
    int count, total, distinct, by_process[PROCESSES];
    unsigned char *seen;
} shared;

typedef struct member {
    shared *shared; /* of its service */
    int process;
} member;

static lb_status handle(const lb_event *event, void *data)
{
    member *m = data;
    shared *s = m->shared;
    int n = (int)lb_get_int(event, "n");
    if (n < 0 || n >= s->count || strcmp(lb_get_str(event, "text"), "some text") != 0)
        return LB_REJECT;
    if (__atomic_exchange_n(&s->seen[n], 1, __ATOMIC_SEQ_CST) == 0)
        shared_add(&s->distinct, 1);
    shared_add(&s->by_process[m->process], 1);
    shared_add(&s->total, 1);
    return LB_OK;
}

static const lb_api load = {
    .name = "load",
    .members = (const lb_member[]){LB_EVENT("tick(n: int, text: str, flag: bool = false)"), LB_END},
};

static lb_status setup(lb_bus *bus, void *data, lb_error *error)
{
    return lb_listen(bus, "load.tick", "counter", handle, data, NULL, error);
}

static void fire_all(lb_bus *bus, int count)
{
    lb_error error = {0};
    for (int start = 0; start < count; start += BATCH) {
        lb_pending *fires[BATCH];
        int size = count - start < BATCH ? count - start : BATCH;
        for (int i = 0; i < size; i++) {
            fires[i] =
                lb_fire_begin(bus, "load.tick", LB_ARGS(LB("n", start + i), LB("text", "some text")), &error);
            if (!fires[i])
                fail_msg("lb_fire_begin: %s", error.message);
        }
        for (int i = 0; i < size; i++)
            assert_ok(lb_fire_end(fires[i], &error), &error);
    }
}

static void a_hundred_thousand_events_reach_two_services(void **state)
{
    redis_server *server = *state;
    static const char *const services[SERVICES] = {"stock", "mail"};
    static const char *const processes[PROCESSES] = {"p1", "p2"};
    int count = support_scaled(100000);
    char url[256];
    snprintf(url, sizeof url, "%s?max_stream_length=0", server->url);
    shared *shared_by[SERVICES];
    member members[SERVICES][PROCESSES];
    pid_t pids[SERVICES][PROCESSES];
    for (int i = 0; i < SERVICES; i++) {
        shared_by[i] = shared_memory(sizeof *shared_by[i]);
        shared_by[i]->count = count;
        shared_by[i]->seen = shared_memory((size_t)count);
        for (int k = 0; k < PROCESSES; k++) {
            members[i][k] = (member){shared_by[i], k};
            pids[i][k] = worker_start(&(worker){.url = url,
                                                .service = services[i],
                                                .process = processes[k],
                                                .setup = setup,
                                                .data = &members[i][k]});
        }
    }
    lb_error error = {0};
    lb_bus *bus = client_open(url, 0);
    assert_ok(lb_register(bus, &load, NULL, &error), &error);
    int64_t begin = support_now_ms();
    fire_all(bus, count);
    int64_t fired = support_now_ms();
    for (int i = 0; i < SERVICES; i++)
        wait_until(shared_get(&shared_by[i]->distinct) == count, 60000);
    print_message("fired in %d ms, handled by all after %d ms\n", (int)(fired - begin),
                  (int)(support_now_ms() - begin));
    lb_close(bus);
    for (int i = 0; i < SERVICES; i++) {
        for (int k = 0; k < PROCESSES; k++)
            worker_stop(pids[i][k]);
        assert_int_equal(shared_by[i]->total, count); /* nothing broke: exactly once */
        for (int k = 0; k < PROCESSES; k++)
            if (count >= 10000)
                assert_true(shared_by[i]->by_process[k] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {server_test(a_hundred_thousand_events_reach_two_services)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
