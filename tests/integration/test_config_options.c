/* What options of a configuration do, each by itself: those that no other test sets by a file. */
#include "support.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_MS 20000

static redis_server *server;

/* ---- Helpers ---------------------------------------------------------------------------------------- */

/* A bus on the server, with this configuration. */
static lb_bus *open_with(const char *config)
{
    char *folder = temporary_directory(), path[300];
    lb_error error = {0};

    write_file(folder, "lightbus.yaml", config);
    snprintf(path, sizeof path, "%s/lightbus.yaml", folder);
    setenv("LIGHTBUS_URL", server->url, 1);
    lb_bus *bus = lb_open(&(lb_options){.config = path}, &error);
    unsetenv("LIGHTBUS_URL");
    free(folder);
    if (!bus)
        fail_msg("%s: %s", config, error.message);
    return bus;
}

static lb_bus *open_client(void)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = server->url, .flags = LB_OPEN_NO_OUTGOING_VALIDATION}, &error);

    if (!bus)
        fail_msg("%s", error.message);
    return bus;
}

static lb_status show(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_str(request, "at"));
}

static const lb_api shop = {
    .name = "shop",
    .members = (const lb_member[]){LB_RPC("show(at: datetime) -> str", show), LB_EVENT("sold(n: int)"), LB_END},
};

static lb_status count_event(const lb_event *event, void *data)
{
    (void)event;
    __atomic_add_fetch((int *)data, 1, __ATOMIC_SEQ_CST);
    return LB_OK;
}

static void start(lb_bus *bus)
{
    lb_error error = {0};

    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
}

static void fire(lb_bus *bus, int count)
{
    lb_error error = {0};

    for (int i = 0; i < count; i++)
        assert_ok(lb_fire(bus, "shop.sold", LB_ARGS(LB("n", i)), &error), &error);
}

/* ---- Names ------------------------------------------------------------------------------------------ */

static size_t letters(const char *text)
{
    size_t count = 0;

    while (islower((unsigned char)text[count]))
        count++;
    return count;
}

static void placeholders_are_filled_in(void **state)
{
    (void)state;
    char expected[400], host[256] = "";
    lb_bus *bus =
        open_with("service_name: 'a-{hostname}-{pid}-b'\nprocess_name: '{random4}.{random8}.{random16}'\n");

    gethostname(host, sizeof host - 1);
    for (char *c = host; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    snprintf(expected, sizeof expected, "a-%s-%d-b", host, (int)getpid());
    assert_string_equal(lb_service_name(bus), expected);
    const char *name = lb_process_name(bus);
    assert_int_equal(strlen(name), 4 + 1 + 8 + 1 + 16);
    assert_int_equal(letters(name), 4);
    assert_int_equal(letters(name + 5), 8);
    assert_int_equal(letters(name + 14), 16);
    lb_close(bus);

    bus = open_with("service_name: '{friendly}'\n");
    name = lb_service_name(bus);
    size_t adjective = letters(name), noun = letters(name + adjective + 1);
    assert_true(adjective > 0 && name[adjective] == '-' && noun > 0 && name[adjective + 1 + noun] == '-');
    const char *number = name + adjective + 1 + noun + 1;
    assert_true(*number && strspn(number, "0123456789") == strlen(number) && strlen(number) <= 3);
    lb_close(bus);
}

static void consumers_have_the_name_of_their_transport(void **state)
{
    (void)state;
    int seen = 0;
    lb_error error = {0};
    lb_bus *bus = open_with("service_name: house\nprocess_name: process\n"
                            "apis: {default: {event_transport: {redis: {consumer_name: till-1}}}}\n");

    assert_ok(lb_listen(bus, "shop.sold", "ears", count_event, &seen, NULL, &error), &error);
    start(bus);
    fire(bus, 1);
    wait_until(__atomic_load_n(&seen, __ATOMIC_SEQ_CST) == 1, DEADLINE_MS);
    lb_value *consumers = redis_command(server, "XINFO", "CONSUMERS", "shop.*:stream", "house-ears", NULL);
    assert_int_equal(lb_value_count(consumers), 1);
    assert_string_equal(lb_value_str(lb_value_at(lb_value_at(consumers, 0), 1)), "till-1");
    lb_value_free(consumers);
    lb_close(bus);
}

/* ---- Schemas ---------------------------------------------------------------------------------------- */

static void schemas_live_as_long_as_configured(void **state)
{
    (void)state;
    lb_bus *bus = open_with("bus: {schema: {ttl: 500, human_readable: true}}\n");

    start(bus);
    assert_in_range(redis_int(server, "TTL", "schema:shop", NULL), 100, 500);
    lb_value *text = redis_command(server, "GET", "schema:shop", NULL);
    assert_null(strchr(lb_value_str(text), '\n')); /* human_readable is without effect */
    lb_value_free(text);
    lb_close(bus);
}

/* ---- Times ------------------------------------------------------------------------------------------ */

static void firing_ends_when_configured(void **state)
{
    (void)state;
    lb_error error = {0};
    lb_bus *bus = open_with("apis: {default: {event_fire_timeout: 6}}\n");

    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    fire(bus, 1);
    redis_server_pause(server);
    int64_t began = support_now_ms();
    lb_status status = lb_fire(bus, "shop.sold", LB_ARGS(LB("n", 1)), &error);
    redis_server_resume(server);
    assert_int_not_equal(status, LB_OK);
    assert_true(support_now_ms() - began >= 5900); /* the default is 5 s */
    lb_close(bus);
}

/* ---- Values ----------------------------------------------------------------------------------------- */

static void values_are_cast_unless_configured_otherwise(void **state)
{
    (void)state;
    static const char *const configs[] = {"apis: {default: {cast_values: true}}\n",
                                          "apis: {default: {cast_values: false}}\n"};
    lb_bus *client = open_client();

    for (int i = 0; i < 2; i++) {
        lb_bus *bus = open_with(configs[i]);
        lb_value *result = NULL;
        lb_error error = {0};
        start(bus);
        lb_status status = lb_call(client, "shop.show", LB_ARGS(LB("at", "soon")), &result, &error);
        assert_int_equal(status, i == 0 ? LB_REMOTE_ERROR : LB_OK);
        if (i == 0)
            assert_string_equal(error.type, "InvalidArguments");
        else
            assert_string_equal(lb_value_str(result), "soon");
        lb_value_free(result);
        lb_close(bus);
    }
    lb_close(client);
}

/* ---- Redis ------------------------------------------------------------------------------------------ */

static void a_database_by_its_number(void **state)
{
    (void)state;
    char config[300];

    snprintf(config, sizeof config,
             "apis: {default: {event_transport: {redis: {url: 'redis://127.0.0.1:%d', connection_parameters: "
             "{db: 3, timeout: 2.5}}}}}\n",
             server->port);
    lb_bus *bus = open_with(config);
    start(bus);
    fire(bus, 1);
    assert_int_equal(redis_int(server, "EXISTS", "shop.*:stream", NULL), 0);
    assert_int_equal(redis_int(server, "MOVE", "schema:shop", "3", NULL), 1); /* it was in 0 */
    lb_value_free(redis_command(server, "SWAPDB", "0", "3", NULL));
    assert_int_equal(redis_int(server, "XLEN", "shop.*:stream", NULL), 1);
    lb_close(bus);
}

static void streams_are_as_configured(void **state)
{
    (void)state;
    lb_bus *bus = open_with(
        "apis: {default: {event_transport: {redis: {stream_use: per_event, max_stream_length: 100}}}}\n");

    start(bus);
    fire(bus, 1000);
    assert_in_range(redis_int(server, "XLEN", "shop.sold:stream", NULL), 100, 400);
    assert_int_equal(redis_int(server, "EXISTS", "shop.*:stream", NULL), 0);
    lb_close(bus);
}

typedef struct gate {
    int begun, open;
} gate;

static lb_status wait_at_gate(const lb_event *event, void *data)
{
    gate *g = data;
    (void)event;
    __atomic_add_fetch(&g->begun, 1, __ATOMIC_SEQ_CST);
    wait_until(__atomic_load_n(&g->open, __ATOMIC_SEQ_CST), DEADLINE_MS);
    return LB_OK;
}

static int64_t pending(const char *group)
{
    lb_value *summary = redis_command(server, "XPENDING", "shop.*:stream", group, NULL);
    int64_t count = lb_value_int(lb_value_at(summary, 0));

    lb_value_free(summary);
    return count;
}

static void a_listener_fetches_as_many_as_configured(void **state)
{
    (void)state;
    gate g = {0};
    lb_error error = {0};
    lb_bus *bus =
        open_with("service_name: house\napis: {default: {event_transport: {redis: {batch_size: 3}}}}\n");

    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    fire(bus, 10);
    assert_ok(lb_listen(bus, "shop.sold", "ears", wait_at_gate, &g, &(lb_listen_options){.since = "0"}, &error),
              &error);
    assert_ok(lb_start(bus, &error), &error);
    wait_until(__atomic_load_n(&g.begun, __ATOMIC_SEQ_CST) == 1, DEADLINE_MS);
    assert_int_equal(pending("house-ears"), 3);
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    wait_until(__atomic_load_n(&g.begun, __ATOMIC_SEQ_CST) == 10, DEADLINE_MS);
    lb_close(bus);
}

static int start_server(void **state)
{
    (void)state;
    server = redis_server_start(NULL);
    return 0;
}

static int empty_server(void **state)
{
    (void)state;
    lb_value_free(redis_command(server, "FLUSHALL", NULL));
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_server_stop(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(placeholders_are_filled_in, empty_server),
        cmocka_unit_test_setup(consumers_have_the_name_of_their_transport, empty_server),
        cmocka_unit_test_setup(schemas_live_as_long_as_configured, empty_server),
        cmocka_unit_test_setup(firing_ends_when_configured, empty_server),
        cmocka_unit_test_setup(values_are_cast_unless_configured_otherwise, empty_server),
        cmocka_unit_test_setup(a_database_by_its_number, empty_server),
        cmocka_unit_test_setup(streams_are_as_configured, empty_server),
        cmocka_unit_test_setup(a_listener_fetches_as_many_as_configured, empty_server),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
