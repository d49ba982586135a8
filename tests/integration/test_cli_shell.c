/* lightbus shell without a person: scripts in a pipe, single lines, exit codes, on both kinds of bus. */
#include "shell_fixture.h"

enum { DEADLINE_MS = 20000 };

/* ---- Running ---------------------------------------------------------------------------------------- */

/* Runs the script of that file through a pipe; stdout and stderr come together. */
static program *start_script(const shell_fixture *f, const char *script, const char *flags)
{
    char command[512];
    write_file(f->folder, "script", script);
    snprintf(command, sizeof command, "cat script | '%s' shell %s", LIGHTBUS_PROGRAM, flags);
    return program_start((const char *const[]){"bash", "-o", "pipefail", "-c", command, NULL},
                         (const char *const[]){f->url_setting, f->state_setting, NULL}, f->folder);
}

static void script(const shell_fixture *f, const char *text, int code, const char *output)
{
    program *p = start_script(f, text, "");
    int got = program_wait(p, DEADLINE_MS);
    assert_string_equal(p->text, output);
    assert_int_equal(got, code);
    program_free(p);
}

static void runs(const shell_fixture *f, int code, const char *output, const char *const *words)
{
    const char *argv[16] = {LIGHTBUS_PROGRAM, "shell"};
    for (size_t i = 0; words[i]; i++)
        argv[i + 2] = words[i];
    program *p = program_start(argv, (const char *const[]){f->url_setting, f->state_setting, NULL}, f->folder);
    int got = program_wait(p, DEADLINE_MS);
    if (got != code || !strstr(p->text, output))
        fail_msg("exit code %d, expected %d with \"%s\": %s", got, code, output, p->text);
    program_free(p);
}
#define RUNS(f, code, output, ...)  runs((f), (code), (output), (const char *const[]){__VA_ARGS__, NULL})
#define LINE(f, code, output, line) RUNS((f), (code), (output), "-c", line)

/* ---- Scripts ---------------------------------------------------------------------------------------- */

static void a_script_is_run_line_by_line(void **state)
{
    script(*state,
           "# A comment, and an empty line\n"
           "\n"
           "auth.check_password(username=\"admin\", password='secret')\n"
           "bus.auth.check_password(username='admin', password='wrong')\n"
           "user = auth.find_user(id=7)\n"
           "user\n"
           "user[\"tags\"][-1]\n"
           "_\n"
           "auth.find_user(id=user['id'])['name']\n"
           "auth.echo(value={\n"
           "    'list': [1, 2.5, None, True],  # several lines\n"
           "    \"text\": 'a\n"
           "b',\n"
           "})\n"
           "auth.hang()\n"
           "shop.orders.place\n"
           "x = (1, user)\n"
           "x[0]",
           0,
           "true\n"
           "false\n"
           "{\"id\":7,\"name\":\"\xc3\x84nne\",\"tags\":[\"new\",\"vip\"]}\n"
           "\"vip\"\n"
           "\"vip\"\n"
           "\"\xc3\x84nne\"\n"
           "{\"list\":[1,2.5,null,true],\"text\":\"a\\nb\"}\n"
           "null\n"
           "  rpc   place(count: int = 1)\n"
           "  takes\n"
           "    count           int = 1\n"
           "  returns    any\n"
           "1\n");
}

static void the_first_error_ends_a_script(void **state)
{
    script(*state, "1\n\nauth.check_password(username=)\n2\n", 1,
           "1\n"
           "lightbus shell: line 3: error: expected a value\n"
           "  auth.check_password(username=)\n"
           "                               ^\n");
    script(*state, "auth.find_user(id=8)\n2\n", 1, "lightbus shell: line 1: UserNotFound: no user 8\n");
    script(*state, "auth.echo(value=[\n1,\n2 3])\n", 1,
           "lightbus shell: line 1: error: expected \",\" or \"]\"\n"
           "  2 3])\n"
           "    ^\n");
    script(*state, "\nauth.echo(value=[\n", 1,
           "lightbus shell: line 2: error: expected a value, not the end\n"
           "  auth.echo(value=[\n"
           "                   ^\n");
    script(*state, "exit\nnonsense(\n", 0, "");
}

/* Nothing of a terminal comes out of a pipe, even if colours are asked for. */
static void pipes_have_no_colours(void **state)
{
    program *p =
        start_script(*state, "auth.find_user(id=7)\nhelp\nhelp auth\napis\nauth.find_user(id=8)\n", "");
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    assert_null(strchr(p->text, '\033'));
    assert_null(strstr(p->text, "lightbus>"));
    program_free(p);
}

static void one_line(void **state)
{
    LINE(*state, 0, "true\n", "auth.check_password(username='admin', password='secret')");
    LINE(*state, 0, "[1,2]\n", "auth.echo(value=[1,\n2])");
    LINE(*state, 1, "line 1: error: expected \")\"", "help(auth");
    LINE(*state, 0, "", "");
    RUNS(*state, 0, "3\n", "--command", "x = 3\nx");
}

/* ---- Names ------------------------------------------------------------------------------------------ */

static void unknown_names_have_suggestions(void **state)
{
    LINE(*state, 1, "error: no API \"auht\" is on the bus; did you mean \"auth\"?\n  auht.f()\n  ^\n",
         "auht.f()");
    LINE(*state, 1,
         "the API \"auth\" has no procedure \"find_usr\"; did you mean \"find_user\"?\n"
         "  auth.find_usr(id=1)\n"
         "       ^\n",
         "auth.find_usr(id=1)");
    LINE(*state, 1,
         "the API \"auth\" has no event \"user_regstered\"; did you mean \"user_registered\"?\n"
         "  auth.user_regstered.listen()\n"
         "       ^\n",
         "auth.user_regstered.listen()");
    LINE(*state, 1, "no variable \"usr\"", "x = usr");
    LINE(*state, 1, "auth.user_registered is an event: fire it with auth.user_registered.fire(...)",
         "auth.user_registered(username='x')");
    LINE(*state, 1, "auth.find_user is an RPC, not an event: call it with auth.find_user(...)",
         "auth.find_user.fire(id=1)");
    LINE(*state, 1, "expected API.PROCEDURE(...)", "auth()");
    LINE(*state, 1, "an event has no result", "x = auth.user_registered.fire(username='a', email='b')");
    LINE(*state, 1, "no API \"foo\" is on the bus", "foo");
    LINE(*state, 1, "no API \"foo\" is on the bus", "help foo.bar");
}

static void arguments_are_checked(void **state)
{
    LINE(*state, 1, "id: expected int, got str (\"7\")", "auth.find_user(id='7')");
    LINE(*state, 1, "usernam", "auth.check_password(usernam='x', password='y')");
    LINE(*state, 1, "email", "auth.user_registered.fire(username='x')");
    LINE(*state, 1, "there is no key \"nome\"\n  auth.find_user(id=7)[\"nome\"]\n                      ^\n",
         "auth.find_user(id=7)[\"nome\"]");
}

static void help_tells_what_is_there(void **state)
{
    LINE(*state, 0, "Ctrl-D", "help");
    LINE(*state, 0, "  auth                    4 RPCs, 1 event\n  shop.orders             1 RPC, 0 events\n",
         "apis");
    LINE(*state, 0,
         "  rpc   check_password(username: str, password: str) -> bool\n"
         "  rpc   find_user(id: int)\n",
         "help auth");
    LINE(*state, 0,
         "  rpc   check_password(username: str, password: str) -> bool\n"
         "  takes\n"
         "    username        str\n"
         "    password        str\n"
         "  returns    bool\n",
         "help auth.check_password");
    LINE(*state, 0, "    level           enum(\"low\", \"high\") = \"low\"\n", "help bus.auth.echo");
    LINE(*state, 0, "  event user_registered(username: str, email: str)\n", "help auth.user_registered.fire");
    LINE(*state, 0, "  heard by   nobody at present\n", "auth.user_registered");
}

/* ---- Events ----------------------------------------------------------------------------------------- */

static void events_are_fired_and_heard(void **state)
{
    LINE(*state, 0, "", "auth.user_registered.fire(username='x', email='y')");
    LINE(*state, 0, "\"event\":\"user_registered\",", "auth.user_registered.listen(since=\"0\", count=1)");
    LINE(*state, 0, "\"arguments\":{\"username\":\"x\",\"email\":\"y\"}}\n",
         "auth.listen(since=\"0\", count=1)");
    LINE(*state, 1, "listen takes since=\"...\" and count=N above 0, not this count",
         "auth.user_registered.listen(count=0)");
    LINE(*state, 1, "not this cuont", "auth.user_registered.listen(cuont=1)");
}

/* Whoever listened leaves nothing on the bus. */
static void listening_ends_with_a_signal(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM};
    shell_fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        LINE(f, 0, "", "auth.user_registered.fire(username='x', email='y')");
        program *p = program_start((const char *const[]){LIGHTBUS_PROGRAM, "shell", "-c",
                                                         "auth.user_registered.listen(since=\"0\")", NULL},
                                   (const char *const[]){f->url_setting, NULL}, f->folder);
        program_expect(p, "\"email\":\"y\"}}\n", DEADLINE_MS);
        child_kill(p->pid, signals[i]);
        assert_int_equal(program_wait(p, DEADLINE_MS), signals[i] == SIGTERM ? 128 + SIGTERM : 0);
        program_free(p);
        LINE(f, 0, "nobody at present", "help auth.user_registered");
    }
}

/* ---- Outages ---------------------------------------------------------------------------------------- */

static void without_a_bus_it_does_not_start(void **state)
{
    char url[64];
    (void)state;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", support_free_port());
    RUNS(*state, 1, "lightbus shell: error: ", "--url", url, "-c", "1");
    RUNS(*state, 1, "lightbus shell: error: ", "--url", "nothing://here", "-c", "1");
}

static void a_hanging_call_ends(void **state)
{
    shell_fixture *f = *state;
    shared_set(f->calls_hang, 1);
    RUNS(f, 1, "line 1: error: ", "--timeout", "0.2", "-c", "auth.hang()");
    shared_set(f->calls_hang, 0);
    wait_until(shared_get(f->hanging) == 0, DEADLINE_MS);
    shared_set(f->calls_hang, 1);
    program *p = start_script(f, "auth.hang()\n1\n", "--timeout 60");
    wait_until(shared_get(f->hanging) == 1, DEADLINE_MS);
    shared_set(f->calls_hang, 0);
    program_expect(p, "null\n1\n", DEADLINE_MS);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    program_free(p);
}

/* ---- The command ------------------------------------------------------------------------------------ */

static void apis_of_a_bus_module(void **state)
{
    RUNS(*state, 0, "  rpc   shout(text: str) -> str\n", "--bus", TESTS_DIR "/integration/cli_service", "-c",
         "help test.talk");
    RUNS(*state, 1, "nothing.c", "--bus", "nothing.c");
}

static void wrong_usage(void **state)
{
    RUNS(*state, 2, "unexpected argument \"1\"; a line to run is given with --command", "1");
    RUNS(*state, 2, "--timeout: expected seconds above 0", "--timeout", "soon");
    RUNS(*state, 2, "unknown flag \"--comand\"; did you mean \"--command\"?", "--comand", "1");
    RUNS(*state, 0, "Usage: lightbus shell [FLAGS]\n", "--help");
}

/* The password of the flag is not in the list of processes, and a second bus, for listening, still has it. */
static void a_password_in_the_url(void **state)
{
    (void)state;
    redis_server *redis = redis_server_start((const char *const[]){"--requirepass", "s3cret", NULL});
    char url[160], name[64], arguments[512] = "";
    snprintf(url, sizeof url, "redis://:s3cret@127.0.0.1:%d/0", redis->port);
    lb_value_free(redis_command(redis, "SET", "schema:auth",
                                "{\"rpcs\":{},\"events\":{\"e\":{\"parameters\":{\"type\":\"object\"}}}}",
                                NULL));
    lb_value_free(redis_command(redis, "SADD", "schemas", "auth", NULL));
    lb_value_free(redis_command(redis, "XADD", "auth.e:stream", "*", "id", "1", "api_name", "auth",
                                "event_name", "e", "version", "1", NULL));
    lb_value_free(redis_command(redis, "XADD", "auth.*:stream", "*", "id", "1", "api_name", "auth",
                                "event_name", "e", "version", "1", NULL));
    program *p = program_start((const char *const[]){LIGHTBUS_PROGRAM, "shell", "--url", url, "-c",
                                                     "auth.e.listen(since=\"0\")", NULL},
                               NULL, NULL);
    program_expect(p, "\"event\":\"e\"", DEADLINE_MS);
    snprintf(name, sizeof name, "/proc/%d/cmdline", (int)p->pid);
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    size_t size = fread(arguments, 1, sizeof arguments - 1, file);
    fclose(file);
    assert_non_null(memmem(arguments, size, "127.0.0.1", 9));
    assert_null(memmem(arguments, size, "s3cret", 6));
    child_kill(p->pid, SIGINT);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    program_free(p);
    redis_server_stop(redis);
}

static void a_reader_that_goes_away_ends_it(void **state)
{
    shell_fixture *f = *state;
    char command[512];
    snprintf(command, sizeof command,
             "yes 12345678901234567890 | '%s' shell | head -n 1; echo \"${PIPESTATUS[1]}\"", LIGHTBUS_PROGRAM);
    program *p = program_start((const char *const[]){"bash", "-c", command, NULL},
                               (const char *const[]){f->url_setting, NULL}, f->folder);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_string_equal(p->text, "12345678901234567890\n0\n");
    program_free(p);
}

/* Nor does it listen on, for events that may never come. */
static void listening_ends_with_its_reader(void **state)
{
    shell_fixture *f = *state;
    char command[512];
    LINE(f, 0, "", "auth.user_registered.fire(username='x', email='y')");
    snprintf(command, sizeof command,
             "'%s' shell -c 'auth.listen(since=\"0\")' | head -n 1; echo \"${PIPESTATUS[0]}\"",
             LIGHTBUS_PROGRAM);
    program *p = program_start((const char *const[]){"bash", "-c", command, NULL},
                               (const char *const[]){f->url_setting, NULL}, f->folder);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_contains(p->text, "\"email\":\"y\"}}\n0\n");
    program_free(p);
}

/* Each of these is told with its reason, not with that of something else. */
static void a_full_disk_is_a_failure(void **state)
{
    static const char *const lines[] = {"[1, 2]", "apis", "help", "auth.listen(since=\"0\")"};
    shell_fixture *f = *state;
    if (access("/dev/full", W_OK) != 0)
        skip();
    LINE(f, 0, "", "auth.user_registered.fire(username='x', email='y')");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char command[512];
        snprintf(command, sizeof command, "'%s' shell -c '%s' >/dev/full", LIGHTBUS_PROGRAM, lines[i]);
        program *p = program_start((const char *const[]){"bash", "-c", command, NULL},
                                   (const char *const[]){f->url_setting, NULL}, f->folder);
        assert_int_equal(program_wait(p, DEADLINE_MS), 1);
        assert_contains(p->text, "error: cannot write to standard output: ");
        assert_null(strstr(p->text, "ioctl"));
        program_free(p);
    }
}

/* As for any program: what was ignored at its start is ignored. */
static void nohup_is_heeded(void **state)
{
    shell_fixture *f = *state;
    program *p = program_start((const char *const[]){"nohup", LIGHTBUS_PROGRAM, "shell", "-c",
                                                     "auth.user_registered.listen(since=\"0\", count=2)", NULL},
                               (const char *const[]){f->url_setting, NULL}, f->folder);
    LINE(f, 0, "", "auth.user_registered.fire(username='x', email='y')");
    program_expect(p, "\"email\":\"y\"}}\n", DEADLINE_MS);
    child_kill(p->pid, SIGHUP);
    LINE(f, 0, "", "auth.user_registered.fire(username='x', email='z')");
    program_expect(p, "\"email\":\"z\"}}\n", DEADLINE_MS);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    program_free(p);
}

#define ON_BOTH(f)                                                                                             \
    {#f " (local)", f, local_setup, close_fixture, NULL}, { #f " (redis)", f, redis_setup, close_fixture, NULL }
#define ON_LOCAL(f) cmocka_unit_test_setup_teardown(f, local_setup, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_script_is_run_line_by_line),
        ON_LOCAL(the_first_error_ends_a_script),
        ON_LOCAL(pipes_have_no_colours),
        ON_LOCAL(one_line),
        ON_BOTH(unknown_names_have_suggestions),
        ON_LOCAL(arguments_are_checked),
        ON_BOTH(help_tells_what_is_there),
        ON_BOTH(events_are_fired_and_heard),
        ON_BOTH(listening_ends_with_a_signal),
        ON_LOCAL(without_a_bus_it_does_not_start),
        ON_BOTH(a_hanging_call_ends),
        ON_LOCAL(apis_of_a_bus_module),
        ON_LOCAL(wrong_usage),
        cmocka_unit_test(a_password_in_the_url),
        ON_LOCAL(a_reader_that_goes_away_ends_it),
        ON_LOCAL(listening_ends_with_its_reader),
        ON_LOCAL(a_full_disk_is_a_failure),
        ON_LOCAL(nohup_is_heeded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
