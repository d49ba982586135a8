/* What the bus, and lb_diagnose above all, makes of transports: those that can be asked, those that cannot, and
 * those that are made for another header. */
#include "support.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lightbus/transport.h>

static int instances, diagnosed, loaded;
static int64_t asked_ms;
static bool usable;

/* ---- A transport ------------------------------------------------------------------------------------ */

static lb_status open_instance(const lb_transport_config *config, void **self, lb_error *error)
{
    (void)config;
    (void)error;
    *self = &instances;
    instances++;
    return LB_OK;
}

static void close_instance(void *self) { --*(int *)self; }

static void after_fork(void *self) { (void)self; }

static lb_status store(void *self, const char *const *api_names, const lb_slice *json, size_t count, int ttl_s,
                       int64_t deadline_ns, lb_error *error)
{
    (void)self;
    (void)api_names;
    (void)json;
    (void)count;
    (void)ttl_s;
    (void)deadline_ns;
    (void)error;
    return LB_OK;
}

static lb_status load(void *self, void (*found)(lb_slice api_name, lb_slice json, void *data), void *data,
                      int64_t deadline_ns, lb_error *error)
{
    (void)self;
    (void)deadline_ns;
    (void)error;
    loaded++;
    found((lb_slice){"shop", 4}, (lb_slice){"{", 1}, data);
    return LB_OK;
}

static bool diagnose(void *self, int64_t check_ms, lb_finding_fn found, void *data)
{
    const lb_finding finding = {.level = LB_FINDING_ERROR, .check = "weather", .found = "it rains"};
    assert_ptr_equal(self, &instances);
    diagnosed++;
    asked_ms = check_ms;
    found(&finding, data);
    return usable;
}

static const lb_rpc_transport rpc;
static const lb_result_transport result;
static const lb_event_transport event;
static const lb_schema_transport schema = {.store = store, .load = load};

static lb_transport make(const char *scheme, size_t size)
{
    return (lb_transport){.abi = LB_TRANSPORT_ABI,
                          .size = size,
                          .name = scheme,
                          .schemes = scheme,
                          .open = open_instance,
                          .close = close_instance,
                          .after_fork = after_fork,
                          .rpc = &rpc,
                          .result = &result,
                          .event = &event,
                          .schema = &schema,
                          .diagnose = diagnose,
                          .features = LB_TRANSPORT_DEDUPLICATES};
}

static lb_transport now, earlier, later; /* registered for good */

static int register_all(void **state)
{
    lb_error error = {0};
    (void)state;
    now = make("now", sizeof(lb_transport));
    earlier = make("earlier", offsetof(lb_transport, diagnose)); /* what is behind is not its own */
    later = make("later", sizeof(lb_transport) + 64);
    assert_ok(lb_transport_register(&now, &error), &error);
    assert_ok(lb_transport_register(&earlier, &error), &error);
    assert_ok(lb_transport_register(&later, &error), &error);
    return 0;
}

/* ---- Findings --------------------------------------------------------------------------------------- */

typedef struct seen {
    char text[4000];
} seen;

static void write_down(const lb_finding *f, void *data)
{
    seen *s = data;
    size_t size = strlen(s->text);
    snprintf(s->text + size, sizeof s->text - size, "%d %s %s: %s\n", (int)f->level, f->place ? f->place : "-",
             f->check, f->found);
}

static seen look(const lb_options *options, int check_ms)
{
    seen s = {""};
    lb_error error = {0};
    diagnosed = loaded = 0;
    lb_bus *bus = lb_open(options, &error);
    if (!bus)
        fail_msg("%s", error.message);
    lb_diagnose(bus, check_ms, write_down, &s);
    lb_close(bus);
    assert_int_equal(instances, 0);
    return s;
}

static lb_options at(const char *url)
{
    return (lb_options){.url = url, .service_name = "tests", .process_name = "p1"};
}

static void findings_get_the_place_without_its_password(void **state)
{
    lb_options options = at("now://ann:secret@there");
    (void)state;
    usable = false;
    seen s = look(&options, 77);
    assert_string_equal(s.text, "0 - names: service tests, process p1\n"
                                "3 now://ann:***@there weather: it rains\n");
    assert_int_equal(asked_ms, 77);
    assert_int_equal(loaded, 0); /* there is nothing to go on with */
    look(&options, 0);
    assert_int_equal(asked_ms, 5000);
}

static void schemas_are_looked_at_where_there_is_a_medium(void **state)
{
    lb_options options = at("later:");
    (void)state;
    usable = true;
    seen s = look(&options, 0);
    assert_int_equal(loaded, 1);
    assert_non_null(strstr(s.text, "2 later: schemas: the schema of API shop is not understood"));
}

static void a_transport_that_cannot_be_asked_is_a_note(void **state)
{
    lb_options options = at("earlier:");
    (void)state;
    seen s = look(&options, 0);
    assert_int_equal(diagnosed, 0);
    assert_non_null(
        strstr(s.text, "1 earlier: transport: the transport \"earlier\" has no checks of its own\n"));
    assert_int_equal(loaded, 1);
}

static void a_place_is_looked_at_once(void **state)
{
    char *folder = temporary_directory(), path[200];
    lb_options options = {.config = path, .service_name = "tests"};
    (void)state;
    write_file(
        folder, "a.yaml",
        "bus: {schema: {transport: {custom: {url: 'now:b'}}}}\n"
        "apis:\n"
        "  default: {rpc_transport: {custom: {url: 'now:a'}}, result_transport: {custom: {url: 'now:b'}},\n"
        "            event_transport: {custom: {url: 'now:a'}}}\n");
    snprintf(path, sizeof path, "%s/a.yaml", folder);
    usable = true;
    look(&options, 0);
    assert_int_equal(diagnosed, 2);
    assert_int_equal(loaded, 1);
    free(folder);
}

static void a_random_service_name_is_a_note(void **state)
{
    lb_options options = {.url = "now:", .service_name = "{random4}"};
    (void)state;
    usable = false;
    seen s = look(&options, 0);
    assert_non_null(strstr(s.text, "1 - names: the service name is random ("));
}

/* ---- Registering ------------------------------------------------------------------------------------ */

static void other_contracts_are_refused(void **state)
{
    lb_transport t = make("other", offsetof(lb_transport, schema));
    lb_error error = {0};
    (void)state;
    assert_int_equal(lb_transport_register(&t, &error), LB_UNSUPPORTED);
    assert_non_null(strstr(error.message, "a transport whose lb_transport has "));
    t = make("other", sizeof t);
    t.abi = LB_TRANSPORT_ABI + 1;
    assert_int_equal(lb_transport_register(&t, &error), LB_UNSUPPORTED);
    assert_int_equal(lb_transport_register(&now, &error), LB_DUPLICATE);
}

static lb_status ignore(const lb_event *e, void *data)
{
    (void)e, (void)data;
    return LB_OK;
}

/* S20: what a transport of an earlier header has behind its end is no promise. */
static void the_features_of_an_earlier_transport_are_none(void **state)
{
    static const struct {
        const char *url;
        lb_status expected;
    } rows[] = {{"now://", LB_OK}, {"later://", LB_OK}, {"earlier://", LB_UNSUPPORTED}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lb_error error = {0};
        lb_bus *bus = lb_open(&(lb_options){.url = rows[i].url}, &error);
        assert_non_null(bus);
        lb_status status =
            lb_listen(bus, "a.x", "once", ignore, NULL, &(lb_listen_options){.deduplicate_ms = 1}, &error);
        assert_int_equal(status, rows[i].expected);
        assert_ok(lb_listen(bus, "a.x", "any", ignore, NULL, NULL, &error), &error);
        lb_close(bus);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(findings_get_the_place_without_its_password),
        cmocka_unit_test(schemas_are_looked_at_where_there_is_a_medium),
        cmocka_unit_test(a_transport_that_cannot_be_asked_is_a_note),
        cmocka_unit_test(a_place_is_looked_at_once),
        cmocka_unit_test(a_random_service_name_is_a_note),
        cmocka_unit_test(other_contracts_are_refused),
        cmocka_unit_test(the_features_of_an_earlier_transport_are_none),
    };
    return cmocka_run_group_tests(tests, register_all, NULL);
}
