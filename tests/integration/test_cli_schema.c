/* lightbus dumpschema, schema check and run --schema. */
#include "cli_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#define SERVICE(signature)                                                                                     \
    "#include <lightbus.h>\n"                                                                                  \
    "static lb_status f(lb_request *r, void *d) { (void)d; return lb_return(r, LB_NULL); }\n"                  \
    "static const lb_member members[] = {LB_RPC(\"" signature "\", f), LB_EVENT(\"e(x: int)\"), LB_END};\n"    \
    "static const lb_api api = {.name = \"check.api\", .members = members};\n"                                 \
    "lb_status lb_setup(lb_bus *bus, lb_error *error) { return lb_register(bus, &api, 0, error); }\n"

static const char *in_folder(const char *name)
{
    static char paths[4][300];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof *paths, "%s/%s", c.folder, name);
    return path;
}

static void dump_to_stdout_to_a_file_and_to_a_folder(void **state)
{
    char expected[400];
    lb_value *schemas = NULL;
    program *service = cli_service(&c), *p;

    (void)state;
    p = START(&c, "dumpschema");
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_int_equal(lb_value_parse(p->text, p->size, &schemas, NULL), LB_OK);
    assert_non_null(lb_value_get(lb_value_get(lb_value_get(schemas, "test.talk"), "rpcs"), "add"));
    lb_value_free(schemas);
    assert_int_equal(strncmp(p->text, "{\n  \"test.talk\": {\n    \"events\": {\n      \"left\": {\n", 50), 0);
    program_free(p);
    snprintf(expected, sizeof expected, "The schema of 1 API is saved to %s\n", in_folder("all.json"));
    RUN(&c, 0, expected, "dumpschema", "--out", in_folder("all.json"));
    RUN(&c, 0, "saved to", "dumpschema", "-o", c.folder);
    assert_int_equal(access(in_folder("test.talk.json"), R_OK), 0);
    RUN(&c, 0, "ok     test.talk.add: compatible\n", "schema", "check", in_folder("all.json"),
        in_folder("test.talk.json"));
    RUN(&c, 0, "ok     test.talk.said: compatible\n", "schema", "check", c.redis->url,
        TESTS_DIR "/integration/cli_service");
    RUN(&c, 1, "No such file", "dumpschema", "--out", "/nowhere/x.json");
    RUN(&c, 2, "a file is named with --out", "dumpschema", "x.json");
    cli_stop(service);
    unlink(in_folder("all.json"));
    unlink(in_folder("test.talk.json"));
}

static void check_says_what_breaks(void **state)
{
    (void)state;
    lb_value_free(redis_command(c.redis, "FLUSHALL", NULL)); /* a dump takes what lies there */
    write_file(c.folder, "old.c", SERVICE("f(x: int, y: int = 1) -> null"));
    write_file(c.folder, "new.c", SERVICE("f(x: int) -> null"));
    RUN(&c, 0, "ok     check.api.f: compatible\n", "schema", "check", in_folder("old.c"), in_folder("old.c"));
    RUN(&c, 0, "ok     check.api.e: compatible\n", "schema", "check", in_folder("new.c"), in_folder("old.c"));
    RUN(&c, 1, "BREAKS check.api.f: y has gone, and calls with it are refused", "schema", "check",
        in_folder("old.c"), in_folder("new.c"));
    RUN(&c, 0, "saved to", "dumpschema", "--bus", in_folder("old.c"), "--out", in_folder("old.json"));
    RUN(&c, 1, "1 break for those who know the old version.\n", "schema", "check", in_folder("old.json"),
        in_folder("new.c"));
}

/* An API that is missing is a break, but not where the old side is a bus with APIs of other services. */
static void an_api_that_has_gone(void **state)
{
    (void)state;
    write_file(c.folder, "two.json", "{\"a\": {\"rpcs\": {\"f\": {}}}, \"b\": {\"events\": {\"e\": {}}}}");
    write_file(c.folder, "one.json", "{\"a\": {\"rpcs\": {\"f\": {}}}}");
    RUN(&c, 1, "BREAKS b.e: the event has gone", "schema", "check", in_folder("two.json"),
        in_folder("one.json"));
    RUN(&c, 0, "ok     a.f: compatible\n", "schema", "check", in_folder("one.json"), in_folder("two.json"));
    RUN(&c, 0, "No API of the new side is known on the old one.\n", "schema", "check", c.redis->url,
        in_folder("one.json"));
}

static void s33_the_password_of_a_bus_is_hidden(void **state)
{
    const char *const words[] = {"schema", "check", NULL, "slow.c", NULL};
    const char *argv[5];
    redis_server *redis = redis_server_start((const char *[]){"--requirepass", "s3cret", NULL});
    char url[200];
    program *p;

    (void)state;
    memcpy(argv, words, sizeof words);
    snprintf(url, sizeof url, "redis://:s3cret@127.0.0.1:%d/0", redis->port);
    argv[2] = url;
    write_file(c.folder, "slow.c", "");
    write_file(c.folder, "cc.sh", "#!/bin/sh\necho compiling >&2; while kill -0 $PPID; do sleep 0.1; done\n");
    assert_int_equal(chmod(in_folder("cc.sh"), 0700), 0);
    p = cli_start(&c, "CC=./cc.sh", argv);
    program_expect(p, "compiling", DEADLINE_MS); /* the new side, after the old one */
    cli_hides(p->pid, "s3cret");
    program_free(p);
    redis_server_stop(redis);
}

/* A local bus is named without slashes, too. */
static void a_local_bus_is_a_side(void **state)
{
    char setting[200];
    const char *const words[] = {"schema", "check", "local:here", "good.json", NULL};

    (void)state;
    write_file(c.folder, "good.json", "{}");
    snprintf(setting, sizeof setting, "XDG_RUNTIME_DIR=%s", c.folder);
    cli_ends(cli_start(&c, setting, words), 0, "No API of the new side is known on the old one.\n");
}

static void what_cannot_be_compared_is_wrong_usage(void **state)
{
    (void)state;
    write_file(c.folder, "bad.json", "{");
    write_file(c.folder, "good.json", "{}");
    RUN(&c, 2, "expected check OLD NEW\n", "schema");
    RUN(&c, 2, "unknown action \"chekc\"", "schema", "chekc", "a", "b");
    RUN(&c, 2, "expected check OLD NEW\n", "schema", "check", "a");
    RUN(&c, 2, "/nowhere.json: No such file", "schema", "check", "/nowhere.json", in_folder("good.json"));
    RUN(&c, 2, "bad.json: not JSON", "schema", "check", in_folder("good.json"), in_folder("bad.json"));
    RUN(&c, 2, "", "schema", "check", "redis://127.0.0.1:1/0", in_folder("good.json"));
    RUN(&c, 2, "no transport for URLs that begin with \"nothing:\"", "schema", "check", "nothing://x",
        in_folder("good.json"));
}

/* Run with the schema of a service that is not there: calls to it are checked before they are sent. */
static void run_takes_schemas_and_does_not_publish_them(void **state)
{
    program *p;

    (void)state;
    write_file(c.folder, "service.c", SERVICE("f()"));
    write_file(c.folder, "other.json", "{\"other\": {\"rpcs\": {\"f\": {}}}}");
    p = START(&c, "run", "--bus", in_folder("service.c"), "--schema", in_folder("other.json"));
    program_expect(p, "Ready.", DEADLINE_MS);
    assert_int_equal(redis_int(c.redis, "EXISTS", "schema:check.api", NULL), 1);
    assert_int_equal(redis_int(c.redis, "EXISTS", "schema:other", NULL), 0);
    cli_stop(p);
    RUN(&c, 1, "bad.json: not JSON", "run", "--bus", in_folder("service.c"), "-m", in_folder("bad.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dump_to_stdout_to_a_file_and_to_a_folder),
        cmocka_unit_test(check_says_what_breaks),
        cmocka_unit_test(an_api_that_has_gone),
        cmocka_unit_test(s33_the_password_of_a_bus_is_hidden),
        cmocka_unit_test(a_local_bus_is_a_side),
        cmocka_unit_test(what_cannot_be_compared_is_wrong_usage),
        cmocka_unit_test(run_takes_schemas_and_does_not_publish_them),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
