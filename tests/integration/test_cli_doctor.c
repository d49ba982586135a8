/* lightbus doctor: what is found on this side, and how all of it is shown. */
#include "cli_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* On a server that would keep everything. */
static int make_healthy(void **state)
{
    (void)state;
    lb_value_free(redis_command(c.redis, "FLUSHALL", NULL));
    lb_value_free(redis_command(c.redis, "CONFIG", "SET", "appendonly", "yes", NULL));
    return 0;
}

static program *doctor_with(const char *setting)
{
    return cli_start(&c, setting, (const char *const[]){"doctor", "-s", "tests", NULL});
}

/* ---- What it looks like ----------------------------------------------------------------------------- */

static void assert_width(const char *text, size_t most)
{
    while (*text) {
        size_t size = strcspn(text, "\n");
        if (size > most)
            fail_msg("%zu columns: %.*s", size, (int)size, text);
        text += size + (text[size] == '\n');
    }
}

static void a_healthy_setup_ends_with_0(void **state)
{
    program *p = doctor_with(NULL);
    (void)state;
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_true(strncmp(p->text, "This process\n  + ok      version        ", 40) == 0);
    assert_contains(p->text, "\nredis://127.0.0.1:");
    assert_contains(p->text, "  + ok      persistence    append-only file, appendfsync everysec: a power cut\n"
                             "                           loses a second at most\n");
    assert_contains(p->text, "\n\nNothing is wrong");
    assert_width(p->text, 79);
    program_free(p);
}

static void findings_come_with_what_to_do(void **state)
{
    (void)state;
    lb_value_free(redis_command(c.redis, "CONFIG", "SET", "appendonly", "no", NULL));
    program *p = doctor_with(NULL);
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    assert_contains(p->text, "  ! warning persistence    nothing is saved: all events are lost when the\n"
                             "                           server ends\n"
                             "            > redis-cli -p ");
    assert_contains(p->text, "\n\n1 warning");
    assert_width(p->text, 79);
    program_free(p);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    while ((text = strstr(text, part))) {
        count++;
        text += strlen(part);
    }
    return count;
}

static void make_dead_letters(int streams)
{
    for (int i = 0; i < streams; i++) {
        char key[40];
        snprintf(key, sizeof key, "api%d.*:stream:dead", i);
        lb_value_free(redis_command(c.redis, "XADD", key, "*", "a", "b", NULL));
    }
}

static void what_repeats_itself_is_cut_short(void **state)
{
    (void)state;
    make_dead_letters(12);
    program *p = doctor_with(NULL);
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    assert_int_equal(count_of(p->text, "failed for good"), 5);
    assert_contains(p->text, "and 7 more like these: --json shows all\n");
    assert_contains(p->text, "\n\n12 warnings");
    program_free(p);
}

static void json_has_all_of_it(void **state)
{
    lb_value *all = NULL;
    lb_error error = {0};
    size_t dead = 0;
    (void)state;
    make_dead_letters(12);
    program *p = START(&c, "doctor", "--json");
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    assert_ok(lb_value_parse(p->text, p->size, &all, &error), &error);
    assert_int_equal(lb_value_int(lb_value_get(all, "warnings")), 12);
    assert_int_equal(lb_value_int(lb_value_get(all, "errors")), 0);
    assert_true(lb_value_int(lb_value_get(all, "notes")) >= 1); /* the random name */
    for (lb_value_iterator it = lb_value_iterate(lb_value_get(all, "findings")); lb_value_next(&it);) {
        const char *check = lb_value_str(lb_value_get(it.value, "check"));
        if (strcmp(check, "dead letters") == 0) {
            assert_string_equal(lb_value_str(lb_value_get(it.value, "level")), "warning");
            assert_contains(lb_value_str(lb_value_get(it.value, "found")), "1 event failed for good");
            assert_contains(lb_value_str(lb_value_get(it.value, "advice")), "lightbus deadletters list");
            assert_string_equal(lb_value_str(lb_value_get(it.value, "place")), c.redis->url);
            dead++;
        } else if (strcmp(check, "version") == 0 && !dead) {
            assert_string_equal(lb_value_str(lb_value_get(it.value, "level")), "ok");
        }
    }
    assert_int_equal(dead, 12);
    lb_value_free(all);
    program_free(p);
}

static void names_from_the_bus_do_not_drive_the_terminal(void **state)
{
    (void)state;
    lb_value_free(redis_command(c.redis, "XADD", "a\033[31m.*:stream:dead", "*", "a", "b", NULL));
    program *p = doctor_with(NULL);
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    assert_contains(p->text, "a?[31m.*:stream");
    assert_null(strchr(p->text, '\033'));
    program_free(p);
}

/* ---- This side -------------------------------------------------------------------------------------- */

static void unknown_variables_are_told_with_the_nearest_known(void **state)
{
    (void)state;
    cli_ends(doctor_with("LIGHTBUS_SERVICE_NAM=x"), 1,
             "  ! warning environment    LIGHTBUS_SERVICE_NAM means nothing to Lightbus; did\n"
             "                           you mean \"LIGHTBUS_SERVICE_NAME\"?\n"
             "            > unset LIGHTBUS_SERVICE_NAM\n");
    cli_ends(doctor_with("LIGHTBUS_XYZZY=x"), 1, "LIGHTBUS_XYZZY means nothing to Lightbus\n");
    cli_ends(doctor_with("LIGHTBUS_MODULE=bus.c"), 0, "Nothing is wrong");
}

static void the_configuration_is_named(void **state)
{
    (void)state;
    write_file(c.folder, "good.yaml", "service_name: shop\n");
    cli_ends(START(&c, "doctor", "--config", "good.yaml"), 0, "good.yaml, from --config\n");
    cli_ends(cli_start(&c, "LIGHTBUS_CONFIG=good.yaml", (const char *const[]){"doctor", NULL}), 0,
             "good.yaml, from LIGHTBUS_CONFIG\n");
    cli_ends(doctor_with(NULL), 0, "no file: flags, environment and defaults\n");
}

/* The rest of this side is looked at all the same. */
static void a_wrong_configuration_is_an_error(void **state)
{
    (void)state;
    write_file(c.folder, "wrong.yaml", "bus:\n  log_levle: debug\n");
    program *p = START(&c, "doctor", "--config", "wrong.yaml");
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    assert_contains(p->text, "  x error   configuration  wrong.yaml:2:3: unknown key \"log_levle\"");
    assert_contains(p->text, "open files");
    assert_contains(p->text, "cache");
    assert_contains(p->text, "\n\n1 error");
    program_free(p);
    cli_ends(START(&c, "doctor", "--config", "missing.yaml"), 1, "x error   configuration  missing.yaml");
}

static void a_bus_that_cannot_be_opened_is_an_error(void **state)
{
    (void)state;
    cli_ends(START(&c, "doctor", "--url", "redis://127.0.0.1/0?max_lenght=3"), 1, "  x error   bus");
    cli_ends(START(&c, "doctor", "--url", "kafka://x"), 1, "no transport for URLs that begin with \"kafka:\"");
}

static void a_server_that_is_away_is_an_error(void **state)
{
    char url[60];
    (void)state;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", support_free_port());
    cli_ends(START(&c, "doctor", "--url", url, "--timeout", "2"), 1, "  x error   connection     ");
}

static void a_mode_that_lets_others_in_is_told(void **state)
{
    char path[300];
    (void)state;
    snprintf(path, sizeof path, "%s/cache", c.folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/cache/lightbus", c.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    chmod(path, 0755);
    cli_ends(doctor_with(NULL), 1, "! warning cache");
    chmod(path, 0700);
    cli_ends(doctor_with(NULL), 0, path);
    rmdir(path);
    program *p = doctor_with(NULL);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_int_equal(access(path, F_OK), -1); /* looking does not make it */
    program_free(p);
}

static void a_missing_compiler_is_a_note(void **state)
{
    (void)state;
    cli_ends(doctor_with("CC=no-such-compiler"), 0, "  - note    compiler");
}

/* The limit of this test is handed down to the program. */
static void few_open_files_are_told(void **state)
{
    struct rlimit limit, few;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    program *p = doctor_with(NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cli_ends(p, 1, "  ! warning open files     up to 100: ");
}

static void run_and_expect_0(const char *const *argv)
{
    program *p = program_start(argv, (const char *const[]){NULL}, c.folder);
    if (program_wait(p, DEADLINE_MS) != 0)
        fail_msg("%s: %s", argv[0], p->text);
    program_free(p);
}

static void a_library_of_another_version_is_told(void **state)
{
    char preload[300];
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* the sanitizer's library has to be the first */
#endif
    write_file(c.folder, "other.c", "const char *lb_version(void) { return \"9.8.7\"; }\n");
    run_and_expect_0((const char *const[]){"cc", "-shared", "-fPIC", "-o", "other.so", "other.c", NULL});
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/other.so", c.folder);
    cli_ends(doctor_with(preload), 1, "the library is 9.8.7");
}

/* One whose lb_transport ends before `diagnose`. */
static void a_transport_made_earlier_is_taken(void **state)
{
    char include[300];
    (void)state;
    write_file(
        c.folder, "earlier.c",
        "#include <lightbus/transport.h>\n"
        "static lb_status open_it(const lb_transport_config *c, void **self, lb_error *e)\n"
        "{ (void)c; (void)e; *self = NULL; return LB_OK; }\n"
        "static void nothing(void *self) { (void)self; }\n"
        "static lb_status load(void *self, void (*found)(lb_slice, lb_slice, void *), void *data,\n"
        "                      int64_t deadline, lb_error *e)\n"
        "{ (void)self; (void)found; (void)data; (void)deadline; (void)e; return LB_OK; }\n"
        "static const lb_rpc_transport rpc; static const lb_result_transport result;\n"
        "static const lb_event_transport event; static const lb_schema_transport schema = {.load = load};\n"
        "const struct { unsigned abi; size_t size; const char *name, *schemes; void *open, *close, *fork;\n"
        "  const void *tables[4]; } earlier __asm__(\"lb_transport_export\") = {LB_TRANSPORT_ABI,\n"
        "  sizeof earlier, \"earlier\", \"earlier\", open_it, nothing, nothing,\n"
        "  {&rpc, &result, &event, &schema}};\n");
    snprintf(include, sizeof include, "-I%s/../include", TESTS_DIR);
    run_and_expect_0(
        (const char *const[]){"cc", "-shared", "-fPIC", include, "-o", "earlier.so", "earlier.c", NULL});
    write_file(c.folder, "earlier.yaml",
               "bus: {schema: {transport: {custom: {object: earlier.so, url: 'earlier:'}}}}\n"
               "apis: {default: {rpc_transport: {custom: {object: earlier.so, url: 'earlier:'}},\n"
               "  result_transport: {custom: {object: earlier.so, url: 'earlier:'}},\n"
               "  event_transport: {custom: {object: earlier.so, url: 'earlier:'}}}}\n");
    cli_ends(START(&c, "doctor", "--config", "earlier.yaml"), 0,
             "the transport \"earlier\" has no checks of its own\n");
}

static void an_api_is_compared_with_the_one_on_the_bus(void **state)
{
    (void)state;
    program *service = cli_service(&c);
    write_file(
        c.folder, "bus.c",
        "#include <lightbus.h>\n"
        "static const lb_member members[] = {LB_EVENT(\"nothing()\"), LB_END};\n"
        "static const lb_api api = {.name = \"test.talk\", .members = members};\n"
        "lb_status lb_setup(lb_bus *bus, lb_error *error) { return lb_register(bus, &api, NULL, error); }\n");
    cli_ends(START(&c, "doctor", "--bus", "bus.c"), 1, "breaks the one on the bus:\n");
    cli_ends(START(&c, "doctor", "--bus", "missing.c"), 1, "  x error   bus module");
    cli_stop(service);
}

static void wrong_usage_is_refused(void **state)
{
    (void)state;
    RUN(&c, 2, "unexpected argument \"redis\"", "doctor", "redis");
    RUN(&c, 2, "--timeout: expected seconds above 0, got \"0\"", "doctor", "--timeout", "0");
    RUN(&c, 2, "unknown flag \"--jsno\"; did you mean \"--json\"?", "doctor", "--jsno");
    RUN(&c, 0, "Usage: lightbus doctor [FLAGS]\n", "doctor", "--help");
}

#define doctor_test(f) cmocka_unit_test_setup(f, make_healthy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        doctor_test(a_healthy_setup_ends_with_0),
        doctor_test(findings_come_with_what_to_do),
        doctor_test(what_repeats_itself_is_cut_short),
        doctor_test(json_has_all_of_it),
        doctor_test(names_from_the_bus_do_not_drive_the_terminal),
        doctor_test(unknown_variables_are_told_with_the_nearest_known),
        doctor_test(the_configuration_is_named),
        doctor_test(a_wrong_configuration_is_an_error),
        doctor_test(a_bus_that_cannot_be_opened_is_an_error),
        doctor_test(a_server_that_is_away_is_an_error),
        doctor_test(a_mode_that_lets_others_in_is_told),
        doctor_test(a_missing_compiler_is_a_note),
        doctor_test(few_open_files_are_told),
        doctor_test(a_library_of_another_version_is_told),
        doctor_test(a_transport_made_earlier_is_taken),
        doctor_test(an_api_is_compared_with_the_one_on_the_bus),
        doctor_test(wrong_usage_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
