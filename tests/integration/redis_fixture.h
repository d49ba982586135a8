/* What the tests of the Redis transport share: a server per program, an instance per test on an empty database,
 * and short ways to send and to take. */
#ifndef REDIS_FIXTURE_H
#define REDIS_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "support.h"
#include "transports/redis/redis.h"

static redis_server *server;

static inline int start_server(void **state)
{
    (void)state;
    server = redis_server_start(NULL);
    return 0;
}

static inline int stop_server(void **state)
{
    (void)state;
    redis_server_stop(server);
    return 0;
}

static inline int64_t in_ms(int64_t ms) { return clock_in_ms(ms); }

typedef struct fixture {
    const lb_transport *t;
    void *self;
    lb_error error;
} fixture;

static inline fixture fixture_on(const char *url)
{
    fixture f = {.t = &redis_transport};
    const lb_transport_config config = {sizeof config, url, "service", "process"};
    assert_ok(f.t->open(&config, &f.self, &f.error), &f.error);
    return f;
}

/* On an emptied server; `query`: options for the URL, or NULL. */
static inline fixture fixture_open(const char *query)
{
    char url[512];
    lb_value_free(redis_command(server, "FLUSHALL", NULL));
    snprintf(url, sizeof url, "%s%s%s", server->url, query ? "?" : "", query ? query : "");
    return fixture_on(url);
}

static inline void fixture_close(fixture *f) { f->t->close(f->self); }

static inline void assert_slice(lb_slice s, const char *text)
{
    char copy[1024];
    assert_true(s.size < sizeof copy);
    memcpy(copy, s.data, s.size);
    copy[s.size] = '\0';
    assert_string_equal(copy, text);
}

static inline lb_slice slice(const char *text) { return slice_of(text); }

/* ---- RPC -------------------------------------------------------------------------------------------- */

static const lb_kwarg call_kwargs[] = {
    {.name = {"username", 8}, .json = {"\"admin\"", 7}},
    {.name = {"number", 6}, .json = {"42", 2}},
};

static inline lb_rpc_message make_call(fixture *f, const char *id, const char *api, const char *procedure,
                                       int64_t ms)
{
    return (lb_rpc_message){.id = slice(id),
                            .api_name = slice(api),
                            .procedure_name = slice(procedure),
                            .return_path = f->t->result->return_path(f->self),
                            .kwargs = call_kwargs,
                            .kwargs_count = 2,
                            .deadline_ns = in_ms(ms)};
}

static inline void send_call(fixture *f, const lb_rpc_message *call, bool now)
{
    assert_ok(f->t->rpc->send(f->self, &call, 1, now, in_ms(2000), &f->error), &f->error);
}

static inline void *open_consumer(fixture *f, const char *api)
{
    void *consumer = NULL;
    assert_ok(f->t->rpc->consumer_open(f->self, &api, 1, in_ms(2000), &consumer, &f->error), &f->error);
    return consumer;
}

/* Exactly `expected` calls, in one fetch. */
static inline const lb_rpc_message *fetch_calls(fixture *f, void *consumer, size_t expected)
{
    const lb_rpc_message *calls = NULL;
    size_t count = 0;
    assert_ok(f->t->rpc->fetch(consumer, 100, in_ms(expected ? 5000 : 100), &calls, &count, &f->error),
              &f->error);
    assert_int_equal(count, expected);
    return calls;
}

static inline void answer_call(fixture *f, void *consumer, const lb_rpc_message *call, const char *json)
{
    lb_result_message result = {.id = {"result-1", 8},
                                .rpc_message_id = call->id,
                                .return_path = call->return_path,
                                .json = slice(json)};
    assert_ok(f->t->result->send(f->self, consumer, &result, 1, in_ms(2000), &f->error), &f->error);
}

static inline const lb_result_message *fetch_results(fixture *f, size_t expected)
{
    const lb_result_message *results = NULL;
    size_t count = 0;
    assert_ok(f->t->result->fetch(f->self, in_ms(expected ? 5000 : 100), &results, &count, &f->error),
              &f->error);
    assert_int_equal(count, expected);
    return results;
}

/* ---- Events ----------------------------------------------------------------------------------------- */

static inline lb_event_message make_event(const char *id, const char *api, const char *event)
{
    return (lb_event_message){.id = slice(id),
                              .api_name = slice(api),
                              .event_name = slice(event),
                              .version = 1,
                              .kwargs = call_kwargs,
                              .kwargs_count = 2};
}

static inline void fire(fixture *f, const char *id, const char *api, const char *name)
{
    lb_event_message event = make_event(id, api, name), *list[] = {&event};
    assert_ok(f->t->event->send(f->self, list, 1, in_ms(2000), &f->error), &f->error);
    assert_int_equal(event.status, LB_OK);
}

/* `events`: "api.event api.event"; API names without dots. */
static inline void *listen_as(fixture *f, const char *group, const char *consumer, const char *events,
                              const char *since)
{
    lb_slice apis[16], names[16];
    size_t count = 0;
    while (*events) {
        size_t size = strcspn(events, " "), api = strcspn(events, ".");
        apis[count] = (lb_slice){events, api};
        names[count++] = (lb_slice){events + api + 1, size - api - 1};
        events += size + (events[size] == ' ');
    }
    const lb_listener_config config = {group, consumer, apis, names, count, since, false, 0};
    void *listener = NULL;
    assert_ok(f->t->event->listen(f->self, &config, in_ms(3000), &listener, &f->error), &f->error);
    return listener;
}

static inline const lb_event_message *fetch_events(fixture *f, void *listener, size_t expected)
{
    const lb_event_message *events = NULL;
    size_t count = 0;
    assert_ok(f->t->event->fetch(listener, 100, in_ms(expected ? 5000 : 100), &events, &count, &f->error),
              &f->error);
    assert_int_equal(count, expected);
    return events;
}

static inline void acknowledge(fixture *f, void *listener, const lb_event_message *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const lb_event_message *event = &events[i];
        assert_ok(f->t->event->acknowledge(listener, &event, 1, &f->error), &f->error);
    }
}

static inline void flush(fixture *f, void *listener)
{
    assert_ok(f->t->event->flush(listener, in_ms(2000), &f->error), &f->error);
}

/* The number of entries pending in a group. */
static inline int64_t pending(const char *stream, const char *group)
{
    lb_value *reply = redis_command(server, "XPENDING", stream, group, NULL);
    int64_t count = lb_value_int(lb_value_at(reply, 0));
    lb_value_free(reply);
    return count;
}

#endif
