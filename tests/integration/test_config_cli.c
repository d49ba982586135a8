/* Configuration on the command line: --config, what flags win over, dumpconfigschema. */
#include "cli_harness.h"

static void the_file_is_used_and_flags_win(void **state)
{
    (void)state;
    cli c;
    cli_open(&c);
    char text[400];
    snprintf(text, sizeof text, "service_name: filed\nbus: {url: '%s'}\napis: {default: {rpc_timeout: 20}}\n",
             c.redis->url);
    write_file(c.folder, "lightbus.yaml", text);

    program *p = START(&c, "run", "--bus", TESTS_DIR "/integration/cli_service", "--config", "lightbus.yaml");
    program_expect(p, "filed", DEADLINE_MS);
    program_expect(p, "Ready.", DEADLINE_MS);
    RUN(&c, 0, "5", "call", "test.talk.add", "a=2", "b=3", "--config=lightbus.yaml");
    cli_stop(p);

    p = START(&c, "run", "--bus", TESTS_DIR "/integration/cli_service", "--config", "lightbus.yaml", "-s",
              "flagged", "--log-level", "error");
    program_expect(p, "flagged", DEADLINE_MS);
    RUN(&c, 1, "connection refused", "call", "test.talk.add", "a=2", "b=3", "--config=lightbus.yaml", "--url",
        "redis://127.0.0.1:1");
    cli_stop(p);
    cli_close(&c);
}

static void a_wrong_file_ends_every_command(void **state)
{
    (void)state;
    cli c;
    cli_open(&c);
    write_file(c.folder, "wrong.yaml", "bus:\n  log_levle: debug\n");
    const char *expected =
        "error: wrong.yaml:2:3: unknown key \"log_levle\" in bus; did you mean \"log_level\"?\n";

    RUN(&c, 1, expected, "run", "--bus", TESTS_DIR "/integration/cli_service", "--config", "wrong.yaml");
    RUN(&c, 1, expected, "call", "a.b", "--config", "wrong.yaml");
    cli_ends(cli_start(&c, "LIGHTBUS_CONFIG=wrong.yaml", (const char *[]){"listen", "a.b", NULL}), 1, expected);
    RUN(&c, 1, "error: gone.yaml: cannot be opened: No such file or directory", "fire", "a.b", "--config",
        "gone.yaml");
    RUN(&c, 2, "--config needs a value: FILE", "call", "a.b", "--config");
    cli_close(&c);
}

static void the_schema_is_printed_or_written(void **state)
{
    (void)state;
    cli c;
    cli_open(&c);
    lb_value *schema = NULL;
    lb_error error = {0};

    program *p = START(&c, "dumpconfigschema");
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_ok(lb_value_parse(p->text, p->size, &schema, &error), &error);
    assert_string_equal(lb_value_str(lb_value_get(schema, "title")), "RootConfig");
    lb_value_free(schema);

    RUN(&c, 0, NULL, "dumpconfigschema", "-o", "schema.json");
    char path[300], *written = calloc(1, p->size + 2);
    snprintf(path, sizeof path, "%s/schema.json", c.folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(written, 1, p->size + 1, file), p->size);
    assert_memory_equal(written, p->text, p->size);
    fclose(file);
    free(written);
    program_free(p);

    RUN(&c, 1, "none/x: cannot be written: No such file or directory", "dumpconfigschema", "-o", "none/x");
    RUN(&c, 2, "unexpected argument \"x\"", "dumpconfigschema", "x");
    RUN(&c, 2, "unknown flag \"--config\"", "dumpconfigschema", "--config", "x");
    cli_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_used_and_flags_win),
        cmocka_unit_test(a_wrong_file_ends_every_command),
        cmocka_unit_test(the_schema_is_printed_or_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
