/* What a configuration does to a bus: several servers at once, settings per API, precedence, transports from
 * shared objects, configurations from URLs. */
#include "support.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEADLINE_MS 20000

/* ---- Helpers ---------------------------------------------------------------------------------------- */

/* The path of a new file with that text; for free(). */
static char *file_with(const char *name, const char *format, ...) LB_PRINTF(2, 3);
static char *file_with(const char *name, const char *format, ...)
{
    static char *folder;
    char text[4096];
    va_list args;

    if (!folder)
        folder = temporary_directory();
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    write_file(folder, name, text);
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static lb_bus *open_with(const char *config, lb_options options)
{
    lb_error error = {0};

    options.config = config;
    lb_bus *bus = lb_open(&options, &error);
    if (!bus)
        fail_msg("%s", error.message);
    return bus;
}

static void assert_not_opened(const char *config, lb_status status, const char *part)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.config = config}, &error);

    assert_null(bus);
    if (error.status != status || !strstr(error.message, part))
        fail_msg("expected %s with \"%s\", got %s: %s", lb_status_name(status), part,
                 lb_status_name(error.status), error.message);
}

static lb_status add(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_int(request, "a") + lb_get_int(request, "b"));
}

/* Calls its own API: another thread of the worker must take that. */
static lb_status twice(lb_request *request, void *data)
{
    lb_value *sum = NULL;
    lb_error error = {0};
    lb_status status =
        lb_call(data, "shop.add", LB_ARGS(LB("a", lb_get_int(request, "a")), LB("b", lb_get_int(request, "a"))),
                &sum, &error);
    if (status != LB_OK)
        return lb_fail(request, "Nested", "%s", error.message);
    status = lb_return(request, lb_value_int(sum));
    lb_value_free(sum);
    return status;
}

static const lb_api auth_api = {
    .name = "auth",
    .members = (const lb_member[]){LB_RPC("add(a: int, b: int) -> int", add), LB_EVENT("seen(n: int)"), LB_END},
};
static const lb_api shop_api = {
    .name = "shop",
    .members = (const lb_member[]){LB_RPC("add(a: int, b: int) -> int", add),
                                   LB_RPC("twice(a: int) -> int", twice), LB_EVENT("sold(n: int)"), LB_END},
};

static lb_status count_event(const lb_event *event, void *data)
{
    __atomic_add_fetch((int *)data, (int)lb_get_int(event, "n"), __ATOMIC_SEQ_CST);
    return LB_OK;
}

static void assert_calls(lb_bus *bus, const char *name, int64_t expected)
{
    lb_value *sum = NULL;
    lb_error error = {0};

    if (strstr(name, "twice"))
        assert_ok(lb_call(bus, name, LB_ARGS(LB("a", 4)), &sum, &error), &error);
    else
        assert_ok(lb_call(bus, name, LB_ARGS(LB("a", 3), LB("b", 4)), &sum, &error), &error);
    assert_int_equal(lb_value_int(sum), expected);
    lb_value_free(sum);
}

/* ---- Several servers -------------------------------------------------------------------------------- */

static void apis_live_on_servers_of_their_own(void **state)
{
    (void)state;
    redis_server *one = redis_server_start(NULL), *two = redis_server_start(NULL);
    char *config = file_with("servers.yaml",
                             "service_name: shopper\n"
                             "bus: {schema: {transport: {redis: {url: '%s'}}}}\n"
                             "apis:\n"
                             "  default:\n"
                             "    rpc_transport: {redis: {url: '%s'}}\n"
                             "    result_transport: {redis: {url: '%s'}}\n"
                             "    event_transport: {redis: {url: '%s', service_name: house}}\n"
                             "  auth: {rpc_timeout: 7}\n" /* its transports are those of the default */
                             "  shop:\n"
                             "    rpc_transport: {redis: {url: '%s'}}\n"
                             "    result_transport: {redis: {url: '%s'}}\n"
                             "    event_transport: {redis: {url: '%s', service_name: tills}}\n",
                             one->url, one->url, one->url, one->url, two->url, two->url, two->url);
    lb_bus *worker = open_with(config, (lb_options){0}), *client = open_with(config, (lb_options){0});
    lb_error error = {0};
    lb_pending *calls[64];
    int sum = 0;

    assert_ok(lb_register(worker, &auth_api, worker, &error), &error);
    assert_ok(lb_register(worker, &shop_api, worker, &error), &error);
    assert_ok(lb_listen(worker, "auth.seen, shop.sold", "counter", count_event, &sum, NULL, &error), &error);
    assert_int_equal(lb_listen(worker, "auth.seen", "counter", count_event, &sum, NULL, &error), LB_DUPLICATE);
    assert_ok(lb_start(worker, &error), &error);

    assert_calls(client, "auth.add", 7);
    assert_calls(client, "shop.add", 7);
    assert_calls(client, "shop.twice", 8); /* calls itself, through the second server */
    for (int i = 0; i < 64; i++)           /* in flight on both at once */
        calls[i] = lb_call_begin(client, i % 2 ? "auth.add" : "shop.add", LB_ARGS(LB("a", i), LB("b", 1)), NULL,
                                 &error);
    for (int i = 0; i < 64; i++) {
        lb_value *result = NULL;
        assert_ok(lb_call_end(calls[i], &result, &error), &error);
        assert_int_equal(lb_value_int(result), i + 1);
        lb_value_free(result);
    }
    assert_ok(lb_fire(client, "auth.seen", LB_ARGS(LB("n", 1)), &error), &error);
    assert_ok(lb_fire(client, "shop.sold", LB_ARGS(LB("n", 10)), &error), &error);
    wait_until(__atomic_load_n(&sum, __ATOMIC_SEQ_CST) == 11, DEADLINE_MS);

    assert_int_equal(redis_int(one, "EXISTS", "auth.*:stream", NULL), 1);
    assert_int_equal(redis_int(one, "EXISTS", "shop.*:stream", NULL), 0);
    assert_int_equal(redis_int(two, "EXISTS", "shop.*:stream", NULL), 1);
    assert_int_equal(redis_int(two, "EXISTS", "auth.*:stream", NULL), 0);
    assert_int_equal(redis_int(one, "SCARD", "schemas", NULL), 2);
    assert_int_equal(redis_int(two, "EXISTS", "schemas", NULL), 0);
    /* the group on the second server bears the service_name of its transport */
    assert_int_equal(
        redis_int(two, "XGROUP", "CREATECONSUMER", "shop.*:stream", "tills-counter", "probe", NULL), 1);
    assert_int_equal(
        redis_int(one, "XGROUP", "CREATECONSUMER", "auth.*:stream", "house-counter", "probe", NULL), 1);

    assert_ok(lb_stop(worker, DEADLINE_MS, &error), &error);
    lb_close(client);
    lb_close(worker);
    free(config);
    redis_server_stop(one);
    redis_server_stop(two);
}

static void results_may_take_another_way_than_calls(void **state)
{
    (void)state;
    redis_server *one = redis_server_start(NULL), *two = redis_server_start(NULL);
    char *config =
        file_with("ways.json",
                  "{\"bus\": {\"url\": \"%s\"}, \"apis\": {\"default\": {\"result_transport\": {\"redis\": "
                  "{\"url\": \"%s\"}}}}}",
                  one->url, two->url);
    lb_bus *worker = open_with(config, (lb_options){.rpc_concurrency = 2});
    lb_bus *client = open_with(config, (lb_options){0});
    lb_error error = {0};

    assert_ok(lb_register(worker, &shop_api, worker, &error), &error);
    assert_ok(lb_start(worker, &error), &error);
    for (int i = 0; i < 20; i++)
        assert_calls(client, i % 2 ? "shop.add" : "shop.twice", i % 2 ? 7 : 8);
    assert_ok(lb_stop(worker, DEADLINE_MS, &error), &error);
    lb_close(client);
    lb_close(worker);
    free(config);
    redis_server_stop(one);
    redis_server_stop(two);
}

static void bury(const redis_server *redis, const char *key, const char *api)
{
    lb_value_free(redis_command(redis, "XADD", key, "*", "id", "e", "api_name", api, "event_name", "x",
                                "version", "1", "dead_id", "1-0", "dead_group", "g", NULL));
}

/* One server under two sets of options is looked at once. */
static void s13_dead_letters_of_all_servers_are_found_once(void **state)
{
    (void)state;
    redis_server *one = redis_server_start(NULL), *two = redis_server_start(NULL);
    char *config = file_with("dead.yaml",
                             "bus: {url: '%s'}\n"
                             "apis:\n"
                             "  b: {event_transport: {redis: {url: '%s', acknowledgement_timeout: 5}}}\n"
                             "  c: {event_transport: {redis: {url: '%s'}}}\n",
                             one->url, one->url, two->url);
    lb_bus *bus = open_with(config, (lb_options){0});
    lb_error error = {0};
    char apis[16] = "";

    bury(one, "a.*:stream:dead", "a");
    bury(one, "b.*:stream:dead", "b");
    bury(two, "c.*:stream:dead", "c");
    bury(two, "c.*:stream:dead", ""); /* of no API that can be read */
    lb_history *h = lb_history_open(bus, NULL, &(lb_history_options){.flags = LB_HISTORY_DEAD_LETTERS}, &error);
    assert_non_null(h);
    const lb_event *event;
    while (lb_history_next(h, &event, &error) == LB_OK && event && strlen(apis) < 8)
        strcat(apis, *lb_event_api(event) ? lb_event_api(event) : "?");
    assert_int_equal(strlen(apis), 4);
    for (const char *api = "abc?"; *api; api++)
        assert_non_null(strchr(apis, *api));
    lb_history_close(h);
    lb_close(bus);
    free(config);
    redis_server_stop(one);
    redis_server_stop(two);
}

/* ---- Settings --------------------------------------------------------------------------------------- */

static void settings_are_those_of_the_api(void **state)
{
    (void)state;
    redis_server *redis = redis_server_start(NULL);
    char *config = file_with("settings.yaml", "apis:\n"
                                              "  default: {rpc_timeout: 20}\n"
                                              "  absent: {rpc_timeout: 1}\n"
                                              "  strict: {strict_validation: true, rpc_timeout: 20}\n"
                                              "  shop: {validate: {outgoing: false}}\n");
    lb_bus *worker = open_with(NULL, (lb_options){.url = redis->url});
    lb_bus *client = open_with(config, (lb_options){.url = redis->url});
    lb_error error = {0};

    assert_ok(lb_register(worker, &shop_api, worker, &error), &error);
    assert_ok(lb_register(worker, &auth_api, worker, &error), &error);
    assert_ok(lb_start(worker, &error), &error);
    assert_int_equal(lb_call(client, "absent.thing", LB_NO_ARGS, NULL, &error), LB_TIMEOUT);
    assert_non_null(strstr(error.message, "within 1000 ms"));
    assert_int_equal(lb_call(client, "strict.thing", LB_NO_ARGS, NULL, &error), LB_UNKNOWN_API);
    /* sent as it is, and refused there; refused here */
    assert_int_equal(lb_call(client, "shop.add", LB_ARGS(LB("a", "x"), LB("b", 1)), NULL, &error),
                     LB_REMOTE_ERROR);
    assert_string_equal(error.type, "InvalidArguments");
    assert_int_equal(lb_call(client, "auth.add", LB_ARGS(LB("a", "x"), LB("b", 1)), NULL, &error),
                     LB_INVALID_ARGUMENTS);
    assert_ok(lb_stop(worker, DEADLINE_MS, &error), &error);
    lb_close(client);
    lb_close(worker);
    free(config);
    redis_server_stop(redis);
}

/* The options of lb_open, the file, the environment, the default. */
static void the_first_that_says_it_counts(void **state)
{
    (void)state;
    char *config =
        file_with("names.yaml", "service_name: file\nbus: {url: 'redis://file:1', log_level: error}\n");
    lb_log_level before = lb_log_get_level();
    lb_bus *bus;

    unsetenv("LIGHTBUS_CONFIG");
    unsetenv("LIGHTBUS_SERVICE_NAME");
    unsetenv("LIGHTBUS_PROCESS_NAME");
    unsetenv("LIGHTBUS_URL");
    bus = open_with(NULL, (lb_options){0});
    assert_string_equal(lb_url(bus), "local:");
    assert_int_equal(strlen(lb_process_name(bus)), 4);
    assert_int_equal(lb_log_get_level(), before);
    lb_close(bus);

    setenv("LIGHTBUS_SERVICE_NAME", "environment", 1);
    setenv("LIGHTBUS_PROCESS_NAME", "environment", 1);
    setenv("LIGHTBUS_URL", "redis://environment:1", 1);
    bus = open_with(NULL, (lb_options){0});
    assert_string_equal(lb_service_name(bus), "environment");
    assert_string_equal(lb_url(bus), "redis://environment:1");
    lb_close(bus);

    setenv("LIGHTBUS_CONFIG", config, 1);
    bus = open_with(NULL, (lb_options){0});
    assert_string_equal(lb_service_name(bus), "file");
    assert_string_equal(lb_process_name(bus), "environment");
    assert_string_equal(lb_url(bus), "redis://file:1");
    assert_int_equal(lb_log_get_level(), LB_LOG_ERROR);
    lb_close(bus);

    bus =
        open_with(NULL, (lb_options){.service_name = "option", .url = "redis://option:1", .log_level = before});
    assert_string_equal(lb_service_name(bus), "option");
    assert_string_equal(lb_url(bus), "redis://option:1");
    assert_int_equal(lb_log_get_level(), before);
    lb_close(bus);

    unsetenv("LIGHTBUS_CONFIG");
    unsetenv("LIGHTBUS_SERVICE_NAME");
    unsetenv("LIGHTBUS_PROCESS_NAME");
    unsetenv("LIGHTBUS_URL");
    free(config);
}

static void what_only_the_bus_can_check_names_the_file_too(void **state)
{
    (void)state;
    char *config = file_with("place.yaml", "bus: {}\nservice_name: 'a-{hostnam}'\n");

    assert_not_opened(config, LB_CONFIG, "place.yaml:2:15: service_name: unknown placeholder {hostnam}");
    free(config);
    config = file_with("kafka.yaml", "apis:\n  shop: {event_transport: {custom: {url: 'kafka://x'}}}\n");
    assert_not_opened(config, LB_UNSUPPORTED, "kafka.yaml: the transports of API shop: no transport for URLs");
    free(config);
    config = file_with("secret.yaml", "bus: {url: 'redis://:secret@h:99999999'}\n");
    assert_not_opened(config, LB_CONFIG, "secret.yaml: the transports of the default: ");
    lb_error error = {0};
    assert_null(lb_open(&(lb_options){.config = config}, &error));
    assert_null(strstr(error.message, "secret@")); /* S33 */
    free(config);
}

/* ---- Transports from shared objects ----------------------------------------------------------------- */

static char *object_with(const char *name, const char *text)
{
    char *source = file_with(name, "%s", text), *object = malloc(strlen(source) + 4), command[1200];

    snprintf(object, strlen(source) + 4, "%.*sso", (int)strlen(source) - 1, source);
    snprintf(command, sizeof command, "cc -shared -fPIC -I '%s/../include' '%s' -o '%s'", TESTS_DIR, source,
             object);
    assert_int_equal(system(command), 0);
    free(source);
    return object;
}

static void shared_objects_bring_transports(void **state)
{
    (void)state;
    char *right = object_with(
        "right.c", "#include <lightbus.h>\n#include <lightbus/transport.h>\n"
                   "static lb_status open_it(const lb_transport_config *c, void **self, lb_error *e)\n"
                   "{ (void)self; e->status = LB_ACCESS; e->message[0] = c->url[8]; return LB_ACCESS; }\n"
                   "static void nothing(void *self) { (void)self; }\n"
                   "const lb_transport lb_transport_export = {.abi = LB_TRANSPORT_ABI,\n"
                   " .size = sizeof(lb_transport), .name = \"right\", .schemes = \"right\", .open = open_it,\n"
                   " .close = nothing, .after_fork = nothing};\n");
    char *old = object_with(
        "old.c", "#include <lightbus/transport.h>\n"
                 "const lb_transport lb_transport_export = {.abi = LB_TRANSPORT_ABI + 1, .size = 8,\n"
                 " .name = \"old\", .schemes = \"old\"};\n");
    char *none = object_with("none.c", "int nothing;\n");
    const char *format = "apis: {default: {rpc_transport: {custom: {object: '%s', url: '%s'}}}}\n";

    char *config = file_with("right.yaml", format, "right.so", "right://!");
    for (int i = 0; i < 2; i++) /* registered once */
        assert_not_opened(config, LB_ACCESS, "right.yaml: the transports of the default: !");
    free(config);
    config = file_with("old.yaml", format, old, "old://");
    assert_not_opened(config, LB_UNSUPPORTED, "old.so: a transport made for version 2");
    free(config);
    config = file_with("none.yaml", format, none, "none://");
    assert_not_opened(config, LB_CONFIG, "none.so: is no transport: expected it to define");
    free(config);
    config = file_with("gone.yaml", format, "gone.so", "gone://");
    assert_not_opened(config, LB_CONFIG, "gone.so: cannot be loaded");
    free(config);
    free(right);
    free(old);
    free(none);
}

/* ---- URLs ------------------------------------------------------------------------------------------- */

typedef struct web_server {
    int listening, port;
    const char *answer; /* NULL: it never comes */
    size_t more;        /* so many bytes of a comment follow */
    pthread_t thread;
} web_server;

static void *serve_once(void *argument)
{
    web_server *s = argument;
    int fd = accept(s->listening, NULL, NULL);
    char request[2048];
    ssize_t got = read(fd, request, sizeof request);

    if (got > 0 && s->answer) {
        size_t size = strlen(s->answer);
        bool sent = send(fd, s->answer, size, MSG_NOSIGNAL) == (ssize_t)size;
        memset(request, '#', sizeof request);
        for (size_t i = 0; sent && i < s->more; i += sizeof request)
            sent = send(fd, request, sizeof request, MSG_NOSIGNAL) == (ssize_t)sizeof request;
        shutdown(fd, SHUT_WR);
    }
    while (read(fd, request, sizeof request) > 0)
        ;
    close(fd);
    return NULL;
}

static char *web_url(web_server *s, const char *path)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    char *url = malloc(200);

    s->listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listening, 1), 0);
    assert_int_equal(getsockname(s->listening, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve_once, s), 0);
    snprintf(url, 200, "http://me:secret@127.0.0.1:%d/%s", ntohs(address.sin_port), path);
    return url;
}

/* Opens the bus with what the server answers; *name is its service_name, or "" with the error. */
static lb_status open_url(const char *path, const char *answer, size_t more, char name[64], lb_error *error)
{
    web_server s = {.answer = answer, .more = more};
    char *url = web_url(&s, path);
    lb_bus *bus = lb_open(&(lb_options){.config = url}, error);

    snprintf(name, 64, "%s", bus ? lb_service_name(bus) : "");
    lb_close(bus);
    pthread_join(s.thread, NULL);
    close(s.listening);
    free(url);
    return bus ? LB_OK : error->status;
}

static bool urls_are_known(void)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.config = "http://127.0.0.1:1/"}, &error);

    assert_null(bus);
    assert_non_null(strstr(error.message, "http://127.0.0.1:1/: "));
    assert_true(error.status == LB_SYSTEM || error.status == LB_UNSUPPORTED);
    return error.status == LB_SYSTEM;
}

static void configurations_come_from_urls(void **state)
{
    (void)state;
    char name[64];
    lb_error error = {0};

    if (!urls_are_known())
        skip();
    assert_int_equal(open_url("c", "HTTP/1.0 200 OK\r\n\r\nservice_name: yaml\n", 0, name, &error), LB_OK);
    assert_string_equal(name, "yaml");
    assert_int_equal(
        open_url("c", "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"service_name\": \"json\"}",
                 0, name, &error),
        LB_OK);
    assert_string_equal(name, "json");
    assert_int_equal(open_url("c.json?x=1", "HTTP/1.0 200 OK\r\n\r\nservice_name: yaml\n", 0, name, &error),
                     LB_CONFIG);
    assert_non_null(strstr(error.message, "c.json?x=1:1:1: not JSON"));
    assert_null(strstr(error.message, "secret")); /* S33 */
    assert_int_equal(open_url("c", "HTTP/1.0 404 Not Found\r\n\r\nservice_name: yaml\n", 0, name, &error),
                     LB_SYSTEM);
    assert_non_null(strstr(error.message, "status 404"));
    assert_int_equal(open_url("c", "HTTP/1.0 200 OK\r\n\r\n#", 1100000, name, &error), LB_CONFIG);
    assert_non_null(strstr(error.message, "larger than 1048576 bytes"));
    assert_null(strstr(error.message, "secret"));
}

static void a_url_that_does_not_answer_is_given_up(void **state)
{
    (void)state;
    char name[64];
    lb_error error = {0};

    if (!urls_are_known())
        skip();
    int64_t began = support_now_ms();
    assert_int_equal(open_url("c", NULL, 0, name, &error), LB_SYSTEM);
    assert_non_null(strstr(error.message, "cannot be fetched: "));
    assert_true(support_now_ms() - began < 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(apis_live_on_servers_of_their_own),
        cmocka_unit_test(results_may_take_another_way_than_calls),
        cmocka_unit_test(s13_dead_letters_of_all_servers_are_found_once),
        cmocka_unit_test(settings_are_those_of_the_api),
        cmocka_unit_test(the_first_that_says_it_counts),
        cmocka_unit_test(what_only_the_bus_can_check_names_the_file_too),
        cmocka_unit_test(shared_objects_bring_transports),
        cmocka_unit_test(configurations_come_from_urls),
        cmocka_unit_test(a_url_that_does_not_answer_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
