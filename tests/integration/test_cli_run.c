/* lightbus run: bus modules of all kinds, the banner, the cache, the end. */
#include "cli_harness.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static cli c;

static int open_cli(void **state)
{
    (void)state;
    cli_open(&c);
    return 0;
}

static int close_cli(void **state)
{
    (void)state;
    cli_close(&c);
    return 0;
}

#define MODULE(name)                                                                                           \
    "#include <lightbus.h>\n"                                                                                  \
    "static lb_status f(lb_request *request, void *data) { (void)data; return lb_return(request, 1); }\n"      \
    "static const lb_member members[] = {LB_RPC(\"one() -> int\", f), LB_END};\n"                              \
    "static const lb_api api = {.name = \"" name "\", .members = members};\n"                                  \
    "lb_status lb_setup(lb_bus *bus, lb_error *error) { return lb_register(bus, &api, NULL, error); }\n"

/* How many finished modules, and how many files in all, are in the cache. */
static void count_cache(int *modules, int *files)
{
    char path[200];
    struct dirent *entry;
    DIR *folder;

    *modules = *files = 0;
    snprintf(path, sizeof path, "%s/cache/lightbus", c.folder);
    folder = opendir(path);
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        const char *dot = strrchr(entry->d_name, '.');
        if (entry->d_name[0] == '.')
            continue;
        ++*files;
        *modules += dot && strcmp(dot, ".so") == 0;
    }
    closedir(folder);
}

static void assert_cached(int expected)
{
    int modules, files;

    count_cache(&modules, &files);
    assert_int_equal(modules, expected);
    assert_int_equal(files, expected);
}

static void serve_until_ready(const char *bus)
{
    program *p = START(&c, "run", "--bus", bus);

    program_expect(p, "Ready.", DEADLINE_MS);
    cli_stop(p);
}

/* ---- Modules that work ------------------------------------------------------------------------------ */

static void a_source_is_compiled_once(void **state)
{
    (void)state;
    write_file(c.folder, "bus.c", MODULE("shop"));
    serve_until_ready("bus.c");
    assert_cached(1);
    serve_until_ready(".");
    assert_cached(1);
    write_file(c.folder, "bus.c", MODULE("other"));
    serve_until_ready("bus.c");
    assert_cached(2);
}

static void what_it_includes_counts_too(void **state)
{
    (void)state;
    write_file(c.folder, "bus.c", "#include \"more.h\"\n");
    write_file(c.folder, "more.h", MODULE("shop"));
    serve_until_ready("bus.c");
    write_file(c.folder, "more.h", MODULE("other"));
    serve_until_ready("bus.c");
    assert_cached(2);
}

static void cflags_and_cc_are_heeded(void **state)
{
    (void)state;
    const char *const words[] = {"run", NULL};
    program *p;

    write_file(c.folder, "bus.c", MODULE("\" NAME \""));
    p = cli_start(&c, "CFLAGS=-DNAME='\"defined\"'", words);
    program_expect(p, "API defined", DEADLINE_MS);
    program_expect(p, "Ready.", DEADLINE_MS);
    cli_stop(p);
    write_file(c.folder, "bus.c", MODULE("anew"));
    p = cli_start(&c, "CC= ", words); /* as if it were not set */
    program_expect(p, "Ready.", DEADLINE_MS);
    cli_stop(p);
    p = cli_start(&c, "CC=no-such-compiler", words);
    cli_ends(p, 1, "cannot run \"no-such-compiler\"");
}

static void modules_are_found_by_the_environment(void **state)
{
    (void)state;
    const char *const words[] = {"run", NULL};
    program *p;

    write_file(c.folder, "elsewhere.c", MODULE("shop"));
    p = cli_start(&c, "LIGHTBUS_MODULE=elsewhere.c", words);
    program_expect(p, "API shop", DEADLINE_MS);
    program_expect(p, "Ready.", DEADLINE_MS);
    cli_stop(p);
}

static void a_shared_object_is_loaded(void **state)
{
    (void)state;
    char from[400], to[200], *slash;
    struct dirent *entry;
    DIR *folder;

    write_file(c.folder, "bus.c", MODULE("shop"));
    serve_until_ready("bus.c");
    snprintf(from, sizeof from, "%s/cache/lightbus/", c.folder);
    slash = from + strlen(from);
    folder = opendir(from);
    assert_non_null(folder);
    while ((entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            snprintf(slash, sizeof from - (size_t)(slash - from), "%s", entry->d_name);
    closedir(folder);
    snprintf(to, sizeof to, "%s/bus.so", c.folder);
    assert_int_equal(rename(from, to), 0);
    serve_until_ready("bus.so");
    assert_cached(0);
}

/* ---- Modules that do not ---------------------------------------------------------------------------- */

static void without_a_module(void **state)
{
    (void)state;
    RUN(&c, 1, "no bus.c or bus.so here; name a bus module with --bus or LIGHTBUS_MODULE", "run");
    RUN(&c, 1, "\"nothing.so\": No such file or directory", "run", "--bus", "nothing.so");
}

static void a_source_that_does_not_compile(void **state)
{
    (void)state;
    program *p;

    write_file(c.folder, "bus.c",
               "#include <lightbus.h>\nlb_status lb_setup(lb_bus *bus, lb_error *error) { retrun 0; }\n");
    p = START(&c, "run");
    program_expect(p, "retrun", DEADLINE_MS); /* the compiler's own words */
    cli_ends(p, 1, "bus.c\" does not compile\n");
    assert_cached(0);
    write_file(c.folder, "bus.c", "#include <no_such_header.h>\n");
    p = START(&c, "run");
    program_expect(p, "no_such_header.h", DEADLINE_MS);
    cli_ends(p, 1, "bus.c\" does not compile\n");
    write_file(c.folder, "bus.c", MODULE("shop") "int g(void) { return lb_retrun(1); }\n");
    RUN(&c, 1, "lb_retrun", "run");
    assert_cached(0);
}

static void a_module_without_an_entry_point(void **state)
{
    (void)state;
    write_file(c.folder, "bus.c", "int nothing;\n");
    RUN(&c, 1,
        "\"./bus.c\" does not define lb_setup, expected: lb_status lb_setup(lb_bus *bus, lb_error *error)",
        "run");
    write_file(c.folder, "text.so", "no shared object");
    RUN(&c, 1, "cannot load \"text.so\"", "run", "--bus", "text.so");
}

static void a_setup_that_fails(void **state)
{
    (void)state;
    write_file(
        c.folder, "bus.c",
        "#include <lightbus.h>\nlb_status lb_setup(lb_bus *bus, lb_error *error) { return LB_FAILED; }\n");
    RUN(&c, 1, "lb_setup failed", "run");
    write_file(c.folder, "bus.c",
               "#include <lightbus.h>\nlb_status lb_setup(lb_bus *bus, lb_error *error)\n"
               "{ return lb_error_set(error, LB_CONFIG, \"the shop is closed\"); }\n");
    RUN(&c, 1, "lightbus run: error: the shop is closed\n", "run");
    write_file(c.folder, "bus.c",
               "#include <lightbus.h>\nlb_status lb_setup(lb_bus *bus, lb_error *error) { return LB_OK; }\n");
    RUN(&c, 1, "there is nothing to serve", "run");
}

static void a_cache_that_others_can_enter_is_refused(void **state)
{
    (void)state;
    char path[200];

    snprintf(path, sizeof path, "%s/cache", c.folder);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/cache/lightbus", c.folder);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chmod(path, 0755), 0);
    write_file(c.folder, "bus.c", MODULE("shop"));
    RUN(&c, 1, "is open to others; expected mode 0700", "run");
    snprintf(path, sizeof path, "rm -r '%s/cache/lightbus' && ln -s . '%s/cache/lightbus'", c.folder, c.folder);
    assert_int_equal(system(path), 0);
    RUN(&c, 1, "is a symbolic link; expected a folder", "run");
}

/* ---- Serving ---------------------------------------------------------------------------------------- */

static void the_banner_tells_who_and_what(void **state)
{
    (void)state;
    const char *const parts[] = {
        "service    talker\n",
        "process    only-one\n",
        "pid        ",
        "bus        redis://127.0.0.1:",
        "/cli_service/bus.c\n",
        "API test.talk\n",
        "    rpc    add(a: int, b: int = 1) -> int\n",
        "    event  said(text: str, loud: bool = false)\n",
        "Listener ears\n    event  test.talk.said\n    group  talker-ears\n",
    };
    program *p =
        START(&c, "run", "--bus", TESTS_DIR "/integration/cli_service", "-s", "talker", "-p", "only-one");

    program_expect(p, "Ready.", DEADLINE_MS);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_contains(p->text, parts[i]);
    assert_null(strstr(p->text, "Hint"));
    assert_null(strchr(p->text, '\033')); /* a pipe is no terminal */
    cli_stop(p);
}

static void a_random_service_name_is_pointed_out(void **state)
{
    (void)state;
    program *p = START(&c, "run", "--bus", TESTS_DIR "/integration/cli_service");

    program_expect(p, "Hint: the service name is random", DEADLINE_MS);
    program_expect(p, "Ready.", DEADLINE_MS);
    cli_stop(p);
}

/* One of the process's arguments begins with that text; as everybody can read them. */
static void assert_command_line(pid_t pid, const char *text)
{
    char path[64], line[4096];
    FILE *file;
    size_t size;

    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    file = fopen(path, "r");
    assert_non_null(file);
    size = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[size] = '\0';
    for (const char *word = line; word < line + size; word += strlen(word) + 1)
        if (strncmp(word, text, strlen(text)) == 0)
            return;
    fail_msg("no argument begins with %s", text);
}

static void s33_the_password_is_not_shown(void **state)
{
    (void)state;
    char url[200];
    lb_value *reply = redis_command(c.redis, "CONFIG", "SET", "requirepass", "s3cret", NULL);
    program *p;

    lb_value_free(reply);
    snprintf(url, sizeof url, "redis://:s3cret@127.0.0.1:%d/0", c.redis->port);
    write_file(c.folder, "bus.c", MODULE("shop"));
    p = START(&c, "run", "--url", url);
    program_expect(p, "Ready.", DEADLINE_MS);
    assert_command_line(p->pid, "redis://:******@127.0.0.1:");
    child_kill(p->pid, SIGINT);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_null(strstr(p->text, "s3cret"));
    program_free(p);
    snprintf(url, sizeof url, "redis://:wr0ng@127.0.0.1:%d/0", c.redis->port);
    p = START(&c, "run", "--url", url);
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    assert_null(strstr(p->text, "wr0ng"));
    program_free(p);
}

static void what_handlers_print_is_seen_at_once(void **state)
{
    (void)state;
    program *p = cli_service(&c);

    RUN(&c, 0, NULL, "fire", "test.talk.said", "text=hello");
    program_expect(p, "heard hello\n", DEADLINE_MS);
    cli_stop(p);
}

static void wrong_urls_are_refused(void **state)
{
    (void)state;
    write_file(c.folder, "bus.c", MODULE("shop"));
    RUN(&c, 1, "lightbus run: error: ", "run", "--url", "nonsense");
    RUN(&c, 1, "lightbus run: error: ", "run", "--url", "carrier-pigeon://x");
}

/* ---- A service that is a binary of its own ---------------------------------------------------------- */

static lb_status two(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, 2);
}

static lb_status own_setup(lb_bus *bus, lb_error *error)
{
    static const lb_member members[] = {LB_RPC("two() -> int", two), LB_END};
    static const lb_api api = {.name = "own", .members = members};
    return lb_register(bus, &api, NULL, error);
}

static int own_main(void *argv) { return cli_own_main(&c, argv, own_setup); }

static void a_binary_of_its_own_serves(void **state)
{
    (void)state;
    char *argv[] = {"/usr/bin/own", "run", NULL}, *with_bus[] = {"own", "run", "--bus", "x.c", NULL};
    pid_t pid = child_start(own_main, argv);

    wait_until(redis_int(c.redis, "EXISTS", "schema:own", NULL) == 1, DEADLINE_MS);
    RUN(&c, 0, "2\n", "call", "own.two");
    child_kill(pid, SIGTERM);
    assert_int_equal(child_wait(pid, DEADLINE_MS), 0);
    assert_int_equal(child_wait(child_start(own_main, with_bus), DEADLINE_MS), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_source_is_compiled_once, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(what_it_includes_counts_too, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(cflags_and_cc_are_heeded, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(modules_are_found_by_the_environment, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(a_shared_object_is_loaded, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(without_a_module, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(a_source_that_does_not_compile, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(a_module_without_an_entry_point, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(a_setup_that_fails, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(a_cache_that_others_can_enter_is_refused, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(the_banner_tells_who_and_what, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(a_random_service_name_is_pointed_out, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(s33_the_password_is_not_shown, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(what_handlers_print_is_seen_at_once, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(wrong_urls_are_refused, open_cli, close_cli),
        cmocka_unit_test_setup_teardown(a_binary_of_its_own_serves, open_cli, close_cli),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
