/* Configurations: what is read, what is refused and how, and what is made from the table of options. */
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/options.h"
#include <lightbus/log.h>

#define DATA TESTS_DIR "/data/config/"

static const lb_slice no_api = {NULL, 0};

/* ---- Helpers ---------------------------------------------------------------------------------------- */

static config *parse(const char *text, bool is_json)
{
    config *c = NULL;
    lb_error error = {0};

    if (config_parse("test", slice_of(text), is_json, &c, &error) != LB_OK)
        fail_msg("%s: %s", text, error.message);
    return c;
}

static config *yaml(const char *text) { return parse(text, false); }

static void assert_refused(const char *text, const char *message)
{
    config *c = NULL;
    lb_error error = {0};

    assert_int_equal(config_parse("test", slice_of(text), false, &c, &error), LB_CONFIG);
    assert_null(c);
    assert_string_equal(error.message, message);
}

static char *contents(const char *path)
{
    FILE *file = fopen(path, "r");
    buffer text = {0};
    char piece[4096];
    size_t got;

    if (!file)
        fail_msg("%s cannot be opened", path);
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        buffer_add(&text, piece, got);
    fclose(file);
    return buffer_text(&text); /* for free() */
}

/* ---- Wrong files ------------------------------------------------------------------------------------ */

/* Each file in data/config/wrong gets the line in wrong.expected that begins with its name. */
static void wrong_files_are_refused_with_their_place(void **state)
{
    (void)state;
    char *expected = contents(DATA "wrong.expected"), *rest = expected, *line;
    size_t count = 0;

    assert_int_equal(chdir(DATA "wrong"), 0);
    while ((line = strsep(&rest, "\n")) && *line) {
        char name[80];
        config *c = NULL;
        lb_error error = {0};
        snprintf(name, sizeof name, "%.*s", (int)strcspn(line, ":"), line);
        assert_int_equal(config_load(name, &c, &error), LB_CONFIG);
        assert_null(c);
        assert_string_equal(error.message, line);
        assert_int_equal(error.status, LB_CONFIG);
        count++;
    }
    assert_true(count >= 50);
    free(expected);
}

static void places_that_cannot_be_read(void **state)
{
    (void)state;
    config *c = NULL;
    lb_error error = {0};
    char *folder = temporary_directory();
    char path[300], expected[400];

    snprintf(path, sizeof path, "%s/none.yaml", folder);
    snprintf(expected, sizeof expected, "%s: cannot be opened: No such file or directory", path);
    assert_int_equal(config_load(path, &c, &error), LB_SYSTEM);
    assert_string_equal(error.message, expected);

    snprintf(expected, sizeof expected, "%s: cannot be read: Is a directory", folder);
    assert_int_equal(config_load(folder, &c, &error), LB_SYSTEM);
    assert_string_equal(error.message, expected);

    snprintf(path, sizeof path, "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(config_load(path, &c, &error), LB_CONFIG); /* nobody writes: it does not wait */
    assert_non_null(strstr(error.message, "is empty"));

    assert_int_equal(config_load("/dev/zero", &c, &error), LB_CONFIG);
    assert_string_equal(error.message, "/dev/zero: larger than 1048576 bytes");
    assert_null(c);
    free(folder);
}

static void many_keys_and_aliases_take_no_long(void **state)
{
    (void)state;
    buffer text = {0};
    config *c = NULL;
    lb_error error = {0};

    buffer_literal(&text, "apis:\n");
    for (int i = 0; i < 40000; i++)
        buffer_printf(&text, "  api%d: {}\n", i);
    assert_int_equal(config_parse("test", (lb_slice){text.data, text.size}, false, &c, &error), LB_OK);
    config_free(c);

    text.size = 0; /* a billion of values, were they copied */
    buffer_literal(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 20; i++)
        buffer_printf(&text, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1,
                      i - 1, i - 1, i - 1);
    assert_int_equal(config_parse("test", (lb_slice){text.data, text.size}, false, &c, &error), LB_CONFIG);
    assert_non_null(strstr(error.message, "test:1:1: unknown key \"a0\""));
    buffer_free(&text);
}

/* ---- Right ones ------------------------------------------------------------------------------------- */

static int warnings;

static void count_warnings(lb_log_level level, const char *message, void *data)
{
    (void)message;
    (void)data;
    warnings += level >= LB_LOG_WARNING;
}

static int notes;

static void count_notes(lb_log_level level, const char *message, void *data)
{
    (void)level;
    (void)data;
    notes += strstr(message, "has no effect") != NULL;
}

static void every_documented_key_loads(void **state)
{
    (void)state;
    config *c = NULL;
    lb_error error = {0};

    warnings = 0;
    lb_log_to(count_warnings, NULL);
    if (config_load(DATA "every_key.yaml", &c, &error) != LB_OK)
        fail_msg("%s", error.message);
    lb_log_to(NULL, NULL);
    assert_int_equal(warnings, 0);
    assert_string_equal(config_source(c), DATA "every_key.yaml");
    assert_string_equal(config_str(c, "service_name", no_api), "shop-{hostname}");
    assert_int_equal(config_int(c, "bus.schema.ttl", no_api), 90);
    assert_int_equal(config_int(c, "apis.*.rpc_timeout", slice_of("auth")), 10);
    assert_int_equal(config_int(c, "apis.*.rpc_timeout", slice_of("other")), 5);
    assert_false(config_validates(c, true, slice_of("auth")));
    assert_true(config_validates(c, true, slice_of("other")));
    assert_true(slice_is(config_api(c, 0), "auth"));
    assert_null(config_api(c, 1).data);
    config_free(c);
}

static void the_example_loads(void **state)
{
    (void)state;
    config *c = NULL;
    lb_error error = {0};
    arena memory = {0};
    transport_choice choices[TRANSPORT_KINDS];

    if (config_load(TESTS_DIR "/../docs/reference/lightbus.yaml", &c, &error) != LB_OK ||
        config_transports(c, slice_of("images"), NULL, "redis:", &memory, choices, &error) != LB_OK)
        fail_msg("%s", error.message);
    assert_string_equal(choices[TRANSPORT_RPC].url, "redis://images.example.org/0");
    assert_string_equal(choices[TRANSPORT_RESULT].url, "redis://images.example.org/0");
    assert_string_equal(choices[TRANSPORT_EVENT].url,
                        "redis://redis.example.org/0?acknowledgement_timeout=60&max_stream_length=1000000");
    assert_int_equal(config_int(c, "apis.*.rpc_timeout", slice_of("images")), 120);
    assert_false(config_validates(c, false, slice_of("images")));
    arena_free(&memory);
    config_free(c);
}

static void nothing_is_all_default(void **state)
{
    (void)state;
    config *c = NULL;
    lb_error error = {0};

    assert_int_equal(config_load(NULL, &c, &error), LB_OK);
    assert_null(config_source(c));
    assert_int_equal(config_int(c, "apis.*.rpc_timeout", slice_of("auth")), 5);
    assert_int_equal(config_int(c, "bus.schema.ttl", no_api), 60);
    assert_true(config_bool(c, "apis.*.cast_values", no_api));
    assert_false(config_bool(c, "apis.*.strict_validation", no_api));
    assert_true(config_validates(c, false, no_api));
    assert_null(config_str(c, "service_name", no_api));
    assert_false(config_says(c, "bus.schema.ttl", no_api));
    config_free(c);
}

static void yaml_means_what_python_reads(void **state)
{
    (void)state;
    config *c = yaml("\xef\xbb\xbfservice_name: '12'\n"
                     "process_name: !!str 34\n"
                     "bus: {log_level: 'error', schema: {ttl: 0x1F, human_readable: off}}\n"
                     "apis:\n"
                     "  default: &base\n"
                     "    rpc_timeout: 1_000\n"
                     "    strict_validation: Yes\n"
                     "    event_transport: {redis: {acknowledgement_timeout: 2.5, max_stream_length: ~}}\n"
                     "  auth:\n"
                     "    <<: *base\n"
                     "    rpc_timeout: 010\n"
                     "  other: *base\n");

    assert_string_equal(config_str(c, "service_name", no_api), "12");
    assert_string_equal(config_str(c, "process_name", no_api), "34");
    assert_int_equal(config_int(c, "bus.schema.ttl", no_api), 31);
    assert_int_equal(config_int(c, "apis.*.rpc_timeout", no_api), 1000);
    assert_int_equal(config_int(c, "apis.*.rpc_timeout", slice_of("auth")), 8); /* octal, as PyYAML */
    assert_int_equal(config_int(c, "apis.*.rpc_timeout", slice_of("other")), 1000);
    assert_true(config_bool(c, "apis.*.strict_validation", slice_of("auth")));
    config_free(c);
}

static void json_is_read_with_places(void **state)
{
    (void)state;
    config *c =
        parse("\n\t{\"service_name\": \"\\u00e9\\ud83d\\ude00\\\"}\",\n \"apis\": {\"a.b\": {\"validate\": "
              "{\"incoming\": false}, \"rpc_timeout\": 7}}}",
              true);
    char where[WHERE_SIZE];

    assert_string_equal(config_str(c, "service_name", no_api), "é😀\"}");
    assert_string_equal(config_where(c, "apis.*.rpc_timeout", slice_of("a.b"), where),
                        "test:3:67: apis.*.rpc_timeout");
    assert_false(config_validates(c, false, slice_of("a.b")));
    assert_true(config_validates(c, true, slice_of("a.b")));
    assert_true(config_validates(c, false, slice_of("a")));
    config_free(c);
}

static void sections_do_not_mix(void **state)
{
    (void)state;
    config *c =
        yaml("apis:\n  default: {rpc_timeout: 9, event_fire_timeout: 8}\n  auth: {event_fire_timeout: 7}\n");

    assert_int_equal(config_int(c, "apis.*.rpc_timeout", slice_of("auth")), 5); /* the table's default */
    assert_int_equal(config_int(c, "apis.*.event_fire_timeout", slice_of("auth")), 7);
    assert_int_equal(config_int(c, "apis.*.event_fire_timeout", slice_of("authors")), 8);
    config_free(c);
}

static void what_has_no_effect_is_logged(void **state)
{
    (void)state;

    notes = 0;
    lb_log_to(count_notes, NULL);
    config_free(yaml("bus: {schema: {human_readable: false}}\n"));
    assert_int_equal(notes, 1);
    config_free(yaml("bus: {schema: {human_readable: true}}\n")); /* the default says nothing new */
    assert_int_equal(notes, 1);
    lb_log_to(NULL, NULL);
}

/* ---- Plugins ---------------------------------------------------------------------------------------- */

static void assert_values(const config *c, const char *name, const lb_plugin_option *table,
                          const char *expected)
{
    lb_value *values = NULL;
    lb_error error = {0};

    assert_ok(config_plugin_values(c, slice_of(name), table, &values, &error), &error);
    char *text = lb_value_json(values, NULL);
    assert_string_equal(text, expected);
    free(text);
    lb_value_free(values);
}

static const lb_plugin_option audit_table[] = {
    {"file", LB_PLUGIN_STR, "/var/log/\"audit\"", 0, 0},
    {"lines", LB_PLUGIN_INT, NULL, 1, 10},
    {"share", LB_PLUGIN_NUMBER, "0.5", 0, 0},
    {"quick", LB_PLUGIN_BOOL, "true", 0, 0},
    {NULL, LB_PLUGIN_STR, NULL, 0, 0},
};

static void plugins_get_what_their_sections_say(void **state)
{
    (void)state;
    config *c = yaml("plugins:\n"
                     "  internal_state: {enabled: true, ping_interval: 5}\n"
                     "  gone: null\n"
                     "  audit: {enabled: yes, library: ./audit.so, lines: 3, share: 1e3}\n"
                     "  free: {deep: {a: [1, 2.5, yes, null, 'x\\\"y', .inf], b: {}}, enabled: off}\n");
    arena memory = {0};
    lb_error error = {0};
    const char *library;

    assert_true(slice_is(config_plugin(c, 0), "internal_state"));
    assert_true(slice_is(config_plugin(c, 1), "audit")); /* what is null is not there */
    assert_null(config_plugin(c, 3).data);
    assert_true(config_plugin_enabled(c, slice_of("audit")));
    assert_false(config_plugin_enabled(c, slice_of("free")));
    assert_values(c, "internal_state", NULL, "{\"ping_enabled\":true,\"ping_interval\":5}");
    assert_values(c, "audit", audit_table,
                  "{\"file\":\"/var/log/\\\"audit\\\"\",\"lines\":3,\"share\":1000.0,\"quick\":true}");
    assert_values(c, "free", NULL, "{\"deep\":{\"a\":[1,2.5,true,null,\"x\\\\\\\"y\",Infinity],\"b\":{}}}");
    assert_ok(config_plugin_library(c, slice_of("audit"), &memory, &library, &error), &error);
    assert_string_equal(library, "./audit.so");
    assert_ok(config_plugin_library(c, slice_of("free"), &memory, &library, &error), &error);
    assert_null(library);
    arena_free(&memory);
    config_free(c);
}

static void plugins_are_told_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } wrong[] = {
        {"plugins: {audit: {lines: 11}}\n",
         "test:1:26: plugins.audit.lines: expected a whole number from 1 to 10, got the number 11"},
        {"plugins: {audit: {line: 1}}\n",
         "test:1:19: unknown key \"line\" in plugins.audit; did you mean \"lines\"?"},
        {"plugins: {audit: {share: half}}\n",
         "test:1:26: plugins.audit.share: expected a number, got the text \"half\""},
        {"plugins: {audit: {quick: 1}}\n",
         "test:1:26: plugins.audit.quick: expected true or false, got the number 1"},
    };
    lb_value *values = NULL;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        config *c = yaml(wrong[i].text);
        lb_error error = {0};
        assert_int_equal(config_plugin_values(c, slice_of("audit"), audit_table, &values, &error), LB_CONFIG);
        assert_string_equal(error.message, wrong[i].message);
        assert_null(values);
        config_free(c);
    }
    assert_refused("plugins: {audit: {enabled: 1}}\n",
                   "test:1:28: plugins.audit.enabled: expected true or false, got the number 1");
    assert_refused("plugins: {audit: on}\n",
                   "test:1:18: plugins.audit: expected a mapping, got the boolean true");
}

/* A tree that is small in the file and large when it is walked. */
static void a_section_that_unfolds_without_end_is_refused(void **state)
{
    (void)state;
    buffer text = {0};
    lb_value *values = NULL;
    lb_error error = {0};

    buffer_literal(&text, "plugins:\n  audit:\n    a0: &a0 [x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 12; i++)
        buffer_printf(&text, "    a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1,
                      i - 1, i - 1, i - 1);
    config *c = yaml(buffer_text(&text));
    assert_int_equal(config_plugin_values(c, slice_of("audit"), NULL, &values, &error), LB_CONFIG);
    assert_string_equal(error.message, "test:3:5: plugins.audit: larger than 1048576 bytes");
    config_free(c);
    buffer_free(&text);
}

static void what_the_program_says_of_plugins_wins(void **state)
{
    (void)state;
    lb_error error = {0};
    char where[WHERE_SIZE];
    config *c = yaml("plugins:\n  internal_state: &s {enabled: false, ping_interval: 5}\n"
                     "  internal_metrics: null\n  audit: {lines: 1, enabled: true}\n");

    assert_ok(config_give_plugins(c,
                                  "{\"internal_state\": {\"enabled\": true, \"ping_enabled\": false}, "
                                  "\"audit\": {\"lines\": 2}, \"new\": {\"enabled\": true}}",
                                  &error),
              &error);
    assert_true(config_plugin_enabled(c, slice_of("internal_state")));
    assert_true(config_plugin_enabled(c, slice_of("new")));
    assert_values(c, "internal_state", NULL, "{\"ping_enabled\":false,\"ping_interval\":5}");
    assert_values(c, "audit", NULL, "{\"lines\":2}");
    assert_string_equal(config_where(c, "plugins.new", no_api, where), "lb_options.plugins: plugins.new");
    assert_string_equal(config_where(c, "plugins.audit", no_api, where), "test:4:10: plugins.audit");
    assert_int_equal(config_give_plugins(c, "{\"internal_state\": {\"ping_interval\": 0}}", &error), LB_CONFIG);
    assert_string_equal(error.message,
                        "lb_options.plugins:1:38: plugins.internal_state.ping_interval: expected a "
                        "whole number from 1 to 31536000, got the number 0");
    assert_int_equal(config_give_plugins(c, "[", &error), LB_CONFIG);
    config_free(c);

    assert_int_equal(config_load(NULL, &c, &error), LB_OK); /* there is no file */
    assert_ok(config_give_plugins(c, "{\"internal_metrics\": {\"enabled\": true}}", &error), &error);
    assert_true(slice_is(config_plugin(c, 0), "internal_metrics"));
    assert_null(config_plugin(c, 1).data);
    config_free(c);
}

/* ---- Transports ------------------------------------------------------------------------------------- */

static void assert_urls(const char *text, const char *api, const char *forced, const char *otherwise,
                        const char *rpc, const char *result, const char *event, const char *schema)
{
    config *c = yaml(text);
    arena memory = {0};
    lb_error error = {0};
    transport_choice choices[TRANSPORT_KINDS];

    if (config_transports(c, slice_of(api), forced, otherwise, &memory, choices, &error) != LB_OK)
        fail_msg("%s: %s", text, error.message);
    assert_string_equal(choices[TRANSPORT_RPC].url, rpc);
    assert_string_equal(choices[TRANSPORT_RESULT].url, result);
    assert_string_equal(choices[TRANSPORT_EVENT].url, event);
    assert_string_equal(choices[TRANSPORT_SCHEMA].url, schema);
    arena_free(&memory);
    config_free(c);
}

static void selectors_become_urls(void **state)
{
    (void)state;
    const char *all = "redis://one/1";

    assert_urls("bus: {}\n", "a", NULL, all, all, all, all, all);
    /* options are shared by what reaches the same place, so that it is one instance */
    all = "redis://one/1?max_stream_length=5&result_ttl=9&stream_use=per_event";
    assert_urls("apis: {default: {event_transport: {redis: {stream_use: per_event, max_stream_length: 5}},\n"
                "  result_transport: {redis: {result_ttl: 9}}}}\n",
                "a", NULL, "redis://one/1", all, all, all, all);
    /* an API with a section of its own falls back to the transports of the default one */
    assert_urls("apis:\n"
                "  default: {event_transport: {redis: {url: 'redis://events'}}}\n"
                "  a: {rpc_transport: {redis: {url: 'unix:///run/r.sock', connection_parameters: {db: 3}}}}\n",
                "a", NULL, "redis://one/1", "redis+unix:///run/r.sock?db=3", "redis://one/1", "redis://events",
                "redis://one/1");
    /* the URL itself counts before the file's options, and a forced one before the file's URLs */
    assert_urls("apis: {default: {event_transport: {redis: {url: 'redis://x', acknowledgement_timeout: 2.5,\n"
                "  max_stream_length: null, reclaim_interval: null, tls_ca: 'a b.pem'}}}}\n",
                "a", "redis://y/0?max_stream_length=7", "redis://z",
                "redis://y/0?max_stream_length=7&acknowledgement_timeout=2.5",
                "redis://y/0?max_stream_length=7&acknowledgement_timeout=2.5",
                "redis://y/0?max_stream_length=7&acknowledgement_timeout=2.5",
                "redis://y/0?max_stream_length=7&acknowledgement_timeout=2.5");
    /* numbers in all the forms that YAML and JSON have for them */
    all = "redis://one/1?max_message_size=16777216&max_queue_length=16&result_ttl=100";
    assert_urls(
        "apis: {default: {rpc_transport: {redis: {max_message_size: 16_777_216, max_queue_length: 0x10}},\n"
        "  result_transport: {redis: {result_ttl: 1.0e+2}}}}\n",
        "a", NULL, "redis://one/1", all, all, all, all);
    /* what selects Redis takes the environment's URL if that is one; others of another kind stay apart */
    assert_urls("bus: {schema: {transport: {redis: {url: 'rediss://s', tls_ca: 'a b.pem'}}}}\n"
                "apis: {default: {event_transport: {redis: {}}, rpc_transport: {local: {url: 'local:x'}},\n"
                "  result_transport: {debug: {}}}}\n",
                "a", NULL, "local:", "local:x", "debug:", "redis://127.0.0.1:6379/0",
                "rediss://s?tls_ca=a%20b.pem");
}

static void custom_transports_name_their_object(void **state)
{
    (void)state;
    const char *text = "apis: {default: {rpc_transport: {custom: {object: mine/x.so, url: 'x://y'}}}}\n";
    arena memory = {0};
    lb_error error = {0};
    transport_choice choices[TRANSPORT_KINDS];
    config *c = NULL;

    assert_int_equal(config_parse("/etc/lightbus/c.yaml", slice_of(text), false, &c, &error), LB_OK);
    assert_int_equal(config_transports(c, no_api, NULL, "redis:", &memory, choices, &error), LB_OK);
    assert_string_equal(choices[TRANSPORT_RPC].object, "/etc/lightbus/mine/x.so");
    assert_string_equal(choices[TRANSPORT_RPC].url, "x://y");
    assert_null(choices[TRANSPORT_EVENT].object);
    config_free(c);

    c = yaml("apis:\n  default:\n    rpc_transport:\n      custom: {object: ./x.so}\n");
    assert_int_equal(config_transports(c, no_api, NULL, "redis:", &memory, choices, &error), LB_CONFIG);
    assert_string_equal(error.message, "test:4:15: custom: expected a url that the transport answers to");
    config_free(c);
    arena_free(&memory);
}

/* S33 */
static void passwords_are_masked(void **state)
{
    (void)state;
    arena memory = {0};

    assert_string_equal(url_mask(&memory, "https://me:secret@host/x?a=b:c@d"), "https://me:***@host/x?a=b:c@d");
    assert_string_equal(url_mask(&memory, "redis://:s:e@host"), "redis://:***@host");
    assert_string_equal(url_mask(&memory, "redis://host"), "redis://host");
    assert_string_equal(url_mask(&memory, "file.yaml"), "file.yaml");
    arena_free(&memory);
    assert_refused("apis:\n  default: {rpc_transport: {redis: {url: 'redis://:secret@h', ulr: 1}}}\n",
                   "test:2:63: unknown key \"ulr\" in apis.default.rpc_transport.redis; did you mean \"url\"?");
}

/* ---- What is made from the table -------------------------------------------------------------------- */

static lb_value *our_schema(void)
{
    buffer json = {0};
    lb_value *schema = NULL;
    lb_error error = {0};

    options_json_schema(&json);
    if (lb_value_parse(json.data, json.size, &schema, &error) != LB_OK)
        fail_msg("%s", error.message);
    buffer_free(&json);
    return schema;
}

/* The scalar defaults that differ, and why: docs/reference/differences-from-python.md. */
static bool differs_on_purpose(const char *name) { return strcmp(name, "batch_size") == 0; }

static void compare(const lb_value *python, const lb_value *ours, const char *path)
{
    const lb_value *theirs_any = lb_value_get(python, "anyOf"), *ours_any = lb_value_get(ours, "anyOf");
    const lb_value *properties = lb_value_get(python, "properties"), *type = lb_value_get(python, "type");
    const lb_value *other = lb_value_get(python, "default");
    const char *name = strrchr(path, '.') ? strrchr(path, '.') + 1 : path;
    bool is_scalar = lb_value_type_of(other) != LB_TYPE_DICT;

    if (theirs_any) {
        if (lb_value_count(theirs_any) != lb_value_count(ours_any))
            fail_msg("%s: other alternatives", path);
        for (size_t i = 0; i < lb_value_count(theirs_any); i++)
            compare(lb_value_at(theirs_any, i), lb_value_at(ours_any, i), path);
    }
    if (type && !lb_value_equal(type, lb_value_get(ours, "type")))
        fail_msg("%s: another type", path);
    if (other && is_scalar && !differs_on_purpose(name) &&
        !lb_value_equal(other, lb_value_get(ours, "default")))
        fail_msg("%s: another default", path);
    for (lb_value_iterator it = lb_value_iterate(properties); lb_value_next(&it);) {
        const lb_value *mine = lb_value_get(lb_value_get(ours, "properties"), it.name);
        char below[300];
        snprintf(below, sizeof below, "%s.%s", path, it.name);
        if (!mine)
            fail_msg("%s is missing", below);
        compare(it.value, mine, below);
    }
    if (lb_value_type_of(lb_value_get(python, "additionalProperties")) == LB_TYPE_DICT)
        compare(lb_value_get(python, "additionalProperties"), lb_value_get(ours, "additionalProperties"), path);
}

/* Every key of Python Lightbus is there, with its type and its default. */
static void the_schema_covers_that_of_python(void **state)
{
    (void)state;
    char *text = contents(DATA "python_schema.json");
    lb_value *python = NULL, *ours = our_schema();
    lb_error error = {0};

    assert_int_equal(lb_value_parse(text, strlen(text), &python, &error), LB_OK);
    compare(python, ours, "");
    lb_value_free(python);
    lb_value_free(ours);
    free(text);
}

static void check_row(const option *o)
{
    for (const option *m = o->members; m && m->name; m++) {
        assert_non_null(m->help);
        if (m->kind == OPTION_INT || m->kind == OPTION_NUMBER)
            assert_true(m->most > m->least);
        if (m->otherwise && (m->kind == OPTION_INT || m->kind == OPTION_NUMBER))
            assert_true(atof(m->otherwise) >= m->least && atof(m->otherwise) <= m->most);
        check_row(m);
    }
}

static void rows_of_the_table_are_whole(void **state)
{
    (void)state;

    check_row(&config_options);
    assert_ptr_equal(option_of_flag("url"), option_at("bus.url"));
    assert_ptr_equal(option_at("apis.*.rpc_timeout"), option_at("apis.auth.rpc_timeout"));
    assert_null(option_at("bus.ulr"));
    assert_null(option_of_flag("nothing"));
}

static void the_reference_page_is_up_to_date(void **state)
{
    (void)state;
    char *page = contents(TESTS_DIR "/../docs/reference/configuration.md");
    buffer made = {0};

    options_reference(&made);
    if (strcmp(page, buffer_text(&made)) != 0)
        fail_msg("docs/reference/configuration.md is stale: lightbus dumpconfigschema --reference -o it");
    buffer_free(&made);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_files_are_refused_with_their_place),
        cmocka_unit_test(places_that_cannot_be_read),
        cmocka_unit_test(many_keys_and_aliases_take_no_long),
        cmocka_unit_test(every_documented_key_loads),
        cmocka_unit_test(the_example_loads),
        cmocka_unit_test(nothing_is_all_default),
        cmocka_unit_test(yaml_means_what_python_reads),
        cmocka_unit_test(json_is_read_with_places),
        cmocka_unit_test(sections_do_not_mix),
        cmocka_unit_test(what_has_no_effect_is_logged),
        cmocka_unit_test(plugins_get_what_their_sections_say),
        cmocka_unit_test(plugins_are_told_what_is_wrong),
        cmocka_unit_test(a_section_that_unfolds_without_end_is_refused),
        cmocka_unit_test(what_the_program_says_of_plugins_wins),
        cmocka_unit_test(selectors_become_urls),
        cmocka_unit_test(custom_transports_name_their_object),
        cmocka_unit_test(passwords_are_masked),
        cmocka_unit_test(the_schema_covers_that_of_python),
        cmocka_unit_test(rows_of_the_table_are_whole),
        cmocka_unit_test(the_reference_page_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
