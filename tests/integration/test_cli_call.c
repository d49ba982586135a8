/* lightbus call, fire and listen, against one service for all tests, which they leave as it is; and wrong
 * usage. */
#include "cli_harness.h"

#include <fcntl.h>
#include <unistd.h>

static cli c;
static program *service;

static int open_all(void **state)
{
    (void)state;
    cli_open(&c);
    service = cli_service(&c);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    cli_stop(service);
    cli_close(&c);
    return 0;
}

#define PRINTS(text, ...) cli_prints(START(&c, __VA_ARGS__), (text))

/* ---- call ------------------------------------------------------------------------------------------- */

static void results_are_json(void **state)
{
    (void)state;
    PRINTS("5\n", "call", "test.talk.add", "a=2", "b=3");
    PRINTS("3\n", "call", "test.talk.add", "a=2"); /* the default */
    PRINTS("\"7\"\n", "call", "test.talk.shout", "text=7");
    PRINTS("\"\"\n", "call", "test.talk.shout", "text=");
    PRINTS("{\"a\":[1,null]}\n", "call", "test.talk.echo", "value={\"a\": [1, null]}");
    PRINTS("\"plain text\"\n", "call", "test.talk.echo", "value=plain text");
    PRINTS("5\n", "call", "test.talk.add", "--json", "{\"a\": 2, \"b\": 3}", "--timeout", "10");
    PRINTS("\"\\u001B[31m\"\n", "call", "test.talk.echo", "value=\"\\u001b[31m\"");
}

static void remote_errors_have_a_type(void **state)
{
    (void)state;
    RUN(&c, 1, "lightbus call: test.talk.find_user failed: UserNotFound: no user 5\n", "call",
        "test.talk.find_user", "id=5");
    RUN(&c, 1, "UserNotFound: no user 5\n", "call", "test.talk.find_user", "id=5", "--trace");
}

static void unknown_names_suggest_others(void **state)
{
    (void)state;
    RUN(&c, 1, "no API \"test.tlak\" is on the bus; did you mean \"test.talk\"?\n", "call", "test.tlak.add");
    RUN(&c, 1, "no API \"shop\" is on the bus; there", "call", "shop.sell");
    RUN(&c, 1, "the API \"test.talk\" has no procedure \"ad\"; did you mean \"add\"?\n", "call", "test.talk.ad",
        "a=1");
    RUN(&c, 1, "has no procedure \"said\"; it is an event\n", "call", "test.talk.said", "text=x");
    RUN(&c, 1, "has no event \"add\"; it is a procedure\n", "fire", "test.talk.add", "a=1");
}

static int64_t commands_processed(void) /* of the kind that sends a call or an event */
{
    lb_value *reply = redis_command(c.redis, "INFO", "commandstats", NULL);
    const char *text = lb_value_str(reply);
    const char *pushes = strstr(text, "cmdstat_rpush:calls="), *adds = strstr(text, "cmdstat_xadd:calls=");
    int64_t total = (pushes ? strtoll(strchr(pushes, '=') + 1, NULL, 10) : 0) +
                    (adds ? strtoll(strchr(adds, '=') + 1, NULL, 10) : 0);

    lb_value_free(reply);
    return total;
}

static void wrong_arguments_are_found_before_anything_is_sent(void **state)
{
    (void)state;
    int64_t before = commands_processed();

    RUN(&c, 1, "\"a\"", "call", "test.talk.add");
    RUN(&c, 1, "\"c\"", "call", "test.talk.add", "a=1", "c=2");
    RUN(&c, 1, "expected int", "call", "test.talk.add", "a=one");
    RUN(&c, 1, "expected int", "call", "test.talk.add", "--json", "{\"a\": \"1\"}");
    RUN(&c, 1, "expected bool", "fire", "test.talk.said", "text=x", "loud=very");
    RUN(&c, 1, "\"text\"", "fire", "test.talk.said");
    assert_int_equal(commands_processed(), before);
}

static void wrong_usage(void **state)
{
    (void)state;
    RUN(&c, 2, "expected API.PROCEDURE [NAME=VALUE ...]\nTry \"lightbus call --help\".\n", "call");
    RUN(&c, 2, "got \"add\"", "call", "add", "a=1");
    RUN(&c, 2, "argument \"a\": expected NAME=VALUE", "call", "test.talk.add", "a");
    RUN(&c, 2, "argument \"a\" is given twice", "call", "test.talk.add", "a=1", "a=2");
    RUN(&c, 2, "not both", "call", "test.talk.add", "a=1", "--json", "{}");
    RUN(&c, 2, "--json: ", "call", "test.talk.add", "--json", "{\"a\"");
    RUN(&c, 2, "--timeout: expected seconds above 0", "call", "test.talk.add", "a=1", "--timeout", "soon");
    RUN(&c, 2, "expected API.EVENT", "fire");
    RUN(&c, 2, "unknown flag \"--tracee\"; did you mean \"--trace\"?", "call", "--tracee", "test.talk.add");
    RUN(&c, 2, "unknown flag \"--trace\"", "fire", "--trace", "test.talk.said");
    RUN(&c, 2, "unknown command \"lsten\"; did you mean \"listen\"?", "lsten");
    RUN(&c, 2, "--log-level: expected debug, info, warning, error or critical, got \"exception\"\n", "call",
        "--log-level", "exception", "test.talk.add"); /* as the help of Python's program has it */
    RUN(&c, 2, "Usage: lightbus COMMAND [FLAGS] [ARGUMENTS]\n", NULL);
    RUN(&c, 2, "unknown flag \"-url\"; did you mean \"--url\"?", "call", "-url", "local:", "test.talk.add");
    RUN(&c, 2, "unknown command \"lsten\"; did you mean \"listen\"?", "help", "lsten");
    RUN(&c, 0, "Usage: lightbus listen [FLAGS] API.EVENT ...", "help", "listen");
    RUN(&c, 0, "Usage: lightbus COMMAND", "help");
    RUN(&c, 2, "lightbus listen: expected \"api.name\", got \"nonsense\"\nTry ", "listen", "nonsense");
    RUN(&c, 2, "lightbus listen: --since: expected \"$\"", "listen", "test.talk.said", "--since", "yesterday");
    RUN(&c, 2, "lightbus listen: --since: expected \"$\"", "listen", "test.talk.said", "--since", "yesterday",
        "--url", "local:nobody-is-here");
    RUN(&c, 2, "no page \"x\"; there is one for each command, and lightbus.yaml\n", "man", "x");
    RUN(&c, 2, "expected info, compact or remove, got \"ifno\"; did you mean \"info\"?", "local", "ifno");
    RUN(&c, 2, "--count: expected a whole number above 0", "listen", "test.talk.said", "--count", "-1");
    RUN(&c, 2, "expected API.EVENT ...", "listen");
    RUN(&c, 2, "unexpected argument \"x\"", "version", "x");
    RUN(&c, 0, "lightbus 0.", "--version");
    RUN(&c, 0, "lightbus 0.", "version");
    RUN(&c, 0, "Usage: lightbus COMMAND", "--help");
    RUN(&c, 0, "Usage: lightbus listen", "listen", "test.talk.said", "--help");
}

static void nobody_there(void **state)
{
    (void)state;
    RUN(&c, 1, "lightbus call: error: ", "call", "test.talk.add", "a=1", "--timeout", "0.5", "--url",
        "redis://127.0.0.1:1/0");
    RUN(&c, 1, "lightbus fire: error: ", "fire", "test.talk.said", "text=x", "--timeout", "0.5", "--url",
        "redis://127.0.0.1:1/0");
    RUN(&c, 1, "lightbus listen: error: ", "listen", "test.talk.said", "--url", "redis://127.0.0.1:1/0");
}

/* ---- fire and listen -------------------------------------------------------------------------------- */

static int64_t groups(void)
{
    lb_value *reply = redis_command(c.redis, "XINFO", "GROUPS", "test.talk.*:stream", NULL);
    int64_t count = lb_value_type_of(reply) == LB_TYPE_LIST ? (int64_t)lb_value_count(reply) : 0;

    lb_value_free(reply);
    return count;
}

/* A listener that has its group. */
static program *listen_and_wait(const char *const *words)
{
    int64_t before = groups();
    program *p = cli_start(&c, NULL, words);

    wait_until(groups() > before, DEADLINE_MS);
    return p;
}
#define LISTEN(...) listen_and_wait((const char *const[]){"listen", __VA_ARGS__, NULL})

static void events_are_lines_of_json(void **state)
{
    (void)state;
    program *p = LISTEN("test.talk.said", "--count", "2");
    lb_value *line = NULL;
    lb_error error = {0};

    RUN(&c, 0, NULL, "fire", "test.talk.left", "user_id=3"); /* not listened to */
    RUN(&c, 0, NULL, "fire", "test.talk.said", "text=one \"two\"");
    program_expect(p, "}}\n", DEADLINE_MS); /* at once, although it is a pipe */
    RUN(&c, 0, NULL, "fire", "test.talk.said", "text=3", "loud=true");
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_ok(lb_value_parse(p->text, strcspn(p->text, "\n"), &line, &error), &error);
    assert_int_equal(lb_value_count(line), 5);
    assert_string_equal(lb_value_str(lb_value_get(line, "api")), "test.talk");
    assert_string_equal(lb_value_str(lb_value_get(line, "event")), "said");
    assert_true(lb_value_str_size(lb_value_get(line, "id")) > 0);
    assert_non_null(strchr(lb_value_str(lb_value_get(line, "native_id")), '-'));
    assert_string_equal(lb_value_str(lb_value_get(lb_value_get(line, "arguments"), "text")), "one \"two\"");
    assert_contains(p->text, "\"text\":\"3\",\"loud\":true}}\n");
    lb_value_free(line);
    program_free(p);
}

static void a_wildcard_and_several_names(void **state)
{
    (void)state;
    program *all = LISTEN("test.talk.*", "--count", "2"),
            *two = LISTEN("test.talk.left", "test.talk.said", "--count", "2");

    RUN(&c, 0, NULL, "fire", "test.talk.left", "--json", "{\"user_id\": 3}");
    RUN(&c, 0, NULL, "fire", "test.talk.said", "text=x");
    cli_ends(all, 0, "\"event\":\"left\"");
    cli_ends(two, 0, "\"event\":\"said\"");
}

static void the_past_can_be_heard(void **state)
{
    (void)state;
    program *p;

    RUN(&c, 0, NULL, "fire", "test.talk.said", "text=in the past");
    p = START(&c, "listen", "test.talk.said", "--since", "0");
    program_expect(p, "in the past", DEADLINE_MS);
    child_kill(p->pid, SIGINT);
    cli_ends(p, 0, "in the past");
}

static void it_leaves_no_group_behind(void **state)
{
    (void)state;
    int64_t before = groups();
    program *p = LISTEN("test.talk.said");

    child_kill(p->pid, SIGINT);
    cli_ends(p, 0, NULL);
    assert_int_equal(groups(), before);
}

static void names_that_nobody_fires_are_pointed_out(void **state)
{
    (void)state;
    program *p = START(&c, "listen", "test.talk.sad", "--log-level", "error");

    program_expect(p, "at present the API \"test.talk\" has no event \"sad\"; did you mean \"said\"?\n",
                   DEADLINE_MS);
    wait_until(groups() > 1, DEADLINE_MS);
    child_kill(p->pid, SIGTERM);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    program_free(p);
}

/* Starts `listen test.talk.said` with its stdout in a pipe or in a file. */
static pid_t listen_into(int output)
{
    pid_t pid = fork();

    if (pid == 0) {
        char *argv[] = {LIGHTBUS_PROGRAM, "listen", "test.talk.said", NULL};
        putenv(c.url);
        dup2(output, STDOUT_FILENO);
        execv(LIGHTBUS_PROGRAM, argv);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static void a_reader_that_goes_away_ends_it_quietly(void **state)
{
    (void)state;
    int64_t before = groups();
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid = listen_into(ends[1]);
    close(ends[1]);
    wait_until(groups() > before, DEADLINE_MS);
    close(ends[0]); /* and no event comes that would find it out */
    assert_int_equal(child_wait(pid, DEADLINE_MS), 0);
    assert_int_equal(groups(), before);
}

static void a_full_disk_is_a_failure(void **state)
{
    (void)state;
    int64_t before = groups();
    FILE *full = fopen("/dev/full", "w");
    pid_t pid;

    if (!full)
        skip();
    pid = listen_into(fileno(full));
    wait_until(groups() > before, DEADLINE_MS);
    RUN(&c, 0, NULL, "fire", "test.talk.said", "text=x");
    assert_int_equal(child_wait(pid, DEADLINE_MS), 1);
    fclose(full);
}

/* Runs `call test.talk.add a=1` with its stdout closed. */
static int call_without_stdout(void *data)
{
    (void)data;
    putenv(c.url);
    close(STDOUT_FILENO);
    execl(LIGHTBUS_PROGRAM, LIGHTBUS_PROGRAM, "call", "test.talk.add", "a=1", (char *)NULL);
    return 127;
}

static void a_closed_stdout_is_a_failure(void **state)
{
    (void)state;
    assert_int_equal(child_wait(child_start(call_without_stdout, NULL), DEADLINE_MS), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_json),
        cmocka_unit_test(remote_errors_have_a_type),
        cmocka_unit_test(unknown_names_suggest_others),
        cmocka_unit_test(wrong_arguments_are_found_before_anything_is_sent),
        cmocka_unit_test(wrong_usage),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(events_are_lines_of_json),
        cmocka_unit_test(a_wildcard_and_several_names),
        cmocka_unit_test(the_past_can_be_heard),
        cmocka_unit_test(it_leaves_no_group_behind),
        cmocka_unit_test(names_that_nobody_fires_are_pointed_out),
        cmocka_unit_test(a_reader_that_goes_away_ends_it_quietly),
        cmocka_unit_test(a_full_disk_is_a_failure),
        cmocka_unit_test(a_closed_stdout_is_a_failure),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
