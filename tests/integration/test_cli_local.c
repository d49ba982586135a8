/* lightbus local: what it shows of a folder, and what it does to it. */
#include "cli_harness.h"
#include "terminal.h"

#include <unistd.h>

static cli c;

static int open_bus(void **state)
{
    (void)state;
    cli_open_local(&c);
    return 0;
}

static int close_bus(void **state)
{
    (void)state;
    cli_close(&c);
    return 0;
}

static bool there_is_a_bus(void)
{
    char path[200];

    snprintf(path, sizeof path, "%s/bus", c.folder);
    return access(path, F_OK) == 0;
}

static lb_value *info(void)
{
    lb_value *value = NULL;
    lb_error error = {0};
    program *p = START(&c, "local", "info");

    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_ok(lb_value_parse(p->text, p->size, &value, &error), &error);
    program_free(p);
    return value;
}

static void info_is_json_in_a_pipe(void **state)
{
    (void)state;
    program *service = cli_service(&c);
    lb_value *value;
    const lb_value *stream;

    RUN(&c, 0, NULL, "fire", "test.talk.said", "text=x");
    value = info();
    stream = lb_value_at(lb_value_get(value, "streams"), 0);
    assert_string_equal(lb_value_str(lb_value_at(lb_value_get(value, "schemas"), 0)), "test.talk");
    assert_string_equal(lb_value_str(lb_value_get(stream, "name")), "test.talk.*");
    assert_int_equal(lb_value_int(lb_value_get(stream, "length")), 1);
    lb_value_free(value);
    cli_stop(service);
}

static void info_is_text_on_a_terminal(void **state)
{
    (void)state;
    program *service = cli_service(&c);
    terminal *t;

    RUN(&c, 0, NULL, "fire", "test.talk.said", "text=x");
    t = terminal_open(80, 24, (const char *const[]){LIGHTBUS_PROGRAM, "local", "info", NULL},
                      (const char *const[]){c.url, NULL}, NULL);
    terminal_wait_for(t, "  APIs served: test.talk\n", DEADLINE_MS);
    terminal_wait_for(t, "  test.talk.*: 1 event\n", DEADLINE_MS);
    assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 0);
    terminal_close(t);
    cli_stop(service);
}

static void a_folder_in_use_stays(void **state)
{
    (void)state;
    program *service = cli_service(&c);

    RUN(&c, 1, "is in use by another process", "local", "remove");
    RUN(&c, 1, "is in use by another process", "local", "compact");
    cli_stop(service);
    RUN(&c, 0, "events: ", "local", "compact");
    assert_true(there_is_a_bus());
    RUN(&c, 0, NULL, "local", "remove");
    assert_false(there_is_a_bus());
    RUN(&c, 1, "there is no local bus in ", "local", "compact");
}

/* The folder is that of the configuration, as for all other commands; a flag wins over it. */
static void the_configuration_names_the_folder(void **state)
{
    (void)state;
    const char *const service[] = {"run", "--bus", TESTS_DIR "/integration/cli_service", NULL};
    const char *const words[] = {"local", "info", NULL};
    char configuration[300];
    program *p;

    snprintf(configuration, sizeof configuration, "bus: {url: \"local://%s/other\"}\n", c.folder);
    write_file(c.folder, "lightbus.yaml", configuration);
    p = cli_start(&c, "LIGHTBUS_CONFIG=lightbus.yaml", service);
    program_expect(p, "Ready.", DEADLINE_MS);
    cli_ends(cli_start(&c, "LIGHTBUS_CONFIG=lightbus.yaml", words), 0, "/other\"");
    RUN(&c, 0, "/other\"", "local", "info", "--config", "lightbus.yaml");
    RUN(&c, 1, "there is no local bus in ", "local", "info");
    RUN(&c, 1, "there is no local bus in ", "local", "info", "--config", "lightbus.yaml", "--url",
        strchr(c.url, '=') + 1);
    RUN(&c, 1, "missing.yaml", "local", "info", "--config", "missing.yaml");
    cli_stop(p);
}

static void wrong_usage(void **state)
{
    (void)state;
    RUN(&c, 2, "expected info, compact or remove\n", "local");
    RUN(&c, 2, "expected info, compact or remove\n", "local", "info", "remove");
    RUN(&c, 2, "expected info, compact or remove, got \"infos\"; did you mean \"info\"?\n", "local", "infos");
    RUN(&c, 1, "expected a URL that begins with local:, got \"redis://127.0.0.1:1\"", "local", "info", "--url",
        "redis://127.0.0.1:1");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_bus, close_bus)
    const struct CMUnitTest tests[] = {
        TEST(info_is_json_in_a_pipe),
        TEST(info_is_text_on_a_terminal),
        TEST(a_folder_in_use_stays),
        TEST(wrong_usage),
        TEST(the_configuration_names_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
