/* What the tests of `lightbus top` share: buses of both kinds, and processes that tell of themselves. */
#ifndef TESTS_TOP_FIXTURE_H
#define TESTS_TOP_FIXTURE_H

#include "worker.h"

#include <stdio.h>

static redis_server *server;
static char *folder;
static char urls[2][160]; /* of the bus that a test uses; emptied before each */

static inline int open_all(void **state)
{
    (void)state;
    server = redis_server_start(NULL);
    folder = temporary_directory();
    return 0;
}

static inline int close_all(void **state)
{
    (void)state;
    redis_server_stop(server);
    free(folder);
    return 0;
}

static inline int empty(void **state)
{
    static int number;
    (void)state;
    lb_value_free(redis_command(server, "FLUSHALL", NULL));
    snprintf(urls[0], sizeof urls[0], "%s", server->url);
    snprintf(urls[1], sizeof urls[1], "local://%s/bus%d", folder, number++);
    return 0;
}

static const lb_member state_members[] = {LB_EVENT("worker_started(...)"), LB_EVENT("worker_ping(...)"),
                                          LB_EVENT("worker_stopped(...)"), LB_END};
static const lb_api state_api = {.name = "internal.state", .members = state_members};

static inline lb_bus *reporter(const char *url)
{
    lb_error error = {0};
    lb_bus *bus = client_open(url, 0);
    assert_ok(lb_register(bus, &state_api, NULL, &error), &error);
    return bus;
}

static inline void tell(lb_bus *bus, const char *event, const char *json)
{
    char name[64];
    lb_error error = {0};
    lb_value *value = NULL;
    lb_arg args[20] = {{0}};
    size_t count = 0;
    snprintf(name, sizeof name, "internal.state.%s", event);
    assert_ok(lb_value_parse(json, strlen(json), &value, &error), &error);
    for (lb_value_iterator it = lb_value_iterate(value); lb_value_next(&it);)
        args[count++] = LB(it.name, it.value);
    assert_ok(lb_fire(bus, name, args, &error), &error);
    lb_value_free(value);
}

/* A ping of a process of service auth; `statistics`: ",\"statistics\": ..." or "". */
static inline void ping(lb_bus *bus, const char *process, double timestamp, const char *statistics)
{
    char json[2048];
    snprintf(
        json, sizeof json,
        "{\"process_name\":\"%s\",\"service_name\":\"auth\",\"metrics_enabled\":false,\"api_names\":[\"auth\"],"
        "\"listening_for\":[\"auth.user_registered\"],\"timestamp\":%.1f,\"ping_enabled\":true,"
        "\"ping_interval\":60,\"hostname\":\"web1\",\"pid\":4711,\"max_memory_use\":2048,\"started\":900.0%s}",
        process, timestamp, statistics);
    tell(bus, "worker_ping", json);
}

#define STATISTICS(calls, errors, busy, latency)                                                               \
    ",\"statistics\":{\"rpcs\":{\"auth.check_password\":{\"calls\":" #calls ",\"errors\":" #errors             \
    ",\"busy\":" #busy ",\"latency\":" latency "}},\"events\":{\"auth.user_registered\":{\"fired\":" #calls    \
    ",\"handled\":" #errors ",\"failed\":0,\"latency\":[]}}}"

/* Two processes of auth: 100 calls per second each. */
static inline void tell_of_two(lb_bus *bus)
{
    ping(bus, "p1", 1000, STATISTICS(100, 1, 1.0, "[[0.001,90],[0.01,10]]"));
    ping(bus, "p2", 5000, STATISTICS(0, 0, 0, "[]"));
    ping(bus, "p1", 1002, STATISTICS(300, 5, 2.0, "[[0.001,180],[0.01,110],[0.5,10]]"));
    ping(bus, "p2", 5001, STATISTICS(100, 0, 0.25, "[[0.002,100]]"));
}

#define TEST(f) cmocka_unit_test_setup(f, empty)

#endif
