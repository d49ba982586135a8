/* lightbus completion: its scripts, and the names on the bus that they ask for. */
#include "cli_harness.h"
#include "terminal.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static cli c;

/* What is offered for `wanted` after these words, in order, each with a newline. */
static void offers(const char *expected, const char *wanted, const char *setting, const char *const *typed)
{
    const char *words[16] = {"completion", "names", wanted, "--"};
    for (size_t i = 0; typed[i]; i++)
        words[i + 4] = typed[i];
    program *p = cli_start(&c, setting, words);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_string_equal(p->text, expected);
    program_free(p);
}
#define OFFERS(expected, wanted, ...)                                                                          \
    offers((expected), (wanted), NULL, (const char *const[]){__VA_ARGS__, NULL})

static void names_come_from_the_bus(void **state)
{
    (void)state;
    program *service = cli_service(&c);

    OFFERS("test.talk\n", "API", "inspect", "--api");
    OFFERS("test.talk.add\ntest.talk.echo\ntest.talk.shout\ntest.talk.find_user\n", "API.PROCEDURE", "call");
    OFFERS("test.talk.said\ntest.talk.left\n", "API.EVENT", "listen", "-s", "x");
    OFFERS("said\nleft\n", "EVENT", "inspect", "--api", "test.*", "--event");
    OFFERS("", "EVENT", "inspect", "--api", "other", "--event");
    OFFERS("a=\nb=\n", "NAME=VALUE", "call", "test.talk.add");
    OFFERS("a=\n", "NAME=VALUE", "call", "test.talk.add", "b=3", "--trace");
    OFFERS("text=\nloud=\n", "NAME=VALUE", "fire", "test.talk.said");
    cli_stop(service);
}

static void what_makes_no_sense_offers_nothing(void **state)
{
    (void)state;
    offers("", "API", NULL, (const char *const[]){NULL});
    OFFERS("", "API", "nothing");
    OFFERS("", "API", "inspect", "--nothing", "x");
    OFFERS("", "COLOUR", "inspect");
    OFFERS("", "NAME=VALUE", "call");
    OFFERS("", "NAME=VALUE", "call", "nothing");
    OFFERS("", "NAME=VALUE", "call", "no.such");
    RUN(&c, 0, NULL, "completion", "names");
}

/* A shell reads what is printed: names that it could take for more than names are left out. */
static void names_from_elsewhere_are_harmless(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"events\": {}, \"rpcs\": {\"good\": {\"parameters\": {\"properties\": {\"x\": {}, \"$(id)\": {}, "
        "\"two words\": {}, \"a\\nb\": {}, \"-y\": {}, \"\": {}}}, \"response\": {}}}}";
    lb_value_free(redis_command(c.redis, "SADD", "schemas", "shop", "$(id)", NULL));
    lb_value_free(redis_command(c.redis, "SET", "schema:shop", schema, NULL));
    lb_value_free(redis_command(c.redis, "SET", "schema:$(id)", schema, NULL));
    RUN(&c, 0, "\"two words\": {}", "dumpschema"); /* the parameters are there; such an API is refused */

    OFFERS("shop.good\n", "API.PROCEDURE", "call");
    OFFERS("x=\n", "NAME=VALUE", "call", "shop.good");
}

static void no_bus_no_noise(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    char silent[80];
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* takes connections and never answers */

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(silent, sizeof silent, "redis://127.0.0.1:%d/0", ntohs(address.sin_port));
    OFFERS("", "API.PROCEDURE", "call", "--url", silent);
    OFFERS("", "API.PROCEDURE", "call", "--url", "redis://127.0.0.1:1/0");
    OFFERS("", "API.PROCEDURE", "call", "--url", "nonsense");
    OFFERS("", "API.PROCEDURE", "call", "--config", "gone.yaml");
    snprintf(silent, sizeof silent, "LIGHTBUS_CONFIG=http://127.0.0.1:%d/", ntohs(address.sin_port));
    offers("", "API.PROCEDURE", silent, (const char *const[]){"call", NULL});
    close(fd);
}

static void a_script_for_each_shell(void **state)
{
    (void)state;
    RUN(&c, 0, "complete -F _lightbus 'lightbus'", "completion", "bash");
    RUN(&c, 0, "#compdef lightbus", "completion", "zsh");
    RUN(&c, 0, "complete -c 'lightbus'", "completion", "fish");
    RUN(&c, 2, "expected bash, zsh or fish, got \"bahs\"; did you mean \"bash\"?", "completion", "bahs");
    RUN(&c, 2, "expected bash, zsh or fish, or --out alone\n", "completion");
    RUN(&c, 2, "expected bash, zsh or fish, or --out alone\n", "completion", "bash", "zsh");
    RUN(&c, 2, "unknown flag \"--url\"", "completion", "bash", "--url", "x");
}

/* tests/completion tries the scripts' functions; here is a shell with a person at its keyboard. */
static void a_person_presses_tab(void **state)
{
    (void)state;
    char script[500];
    program *service = cli_service(&c);
    snprintf(script, sizeof script,
             "PS1='$ '; bind 'set show-all-if-ambiguous on'; bind 'set bell-style none'\n"
             "lightbus() { '%s' \"$@\"; }\nsource <(lightbus completion bash)\necho loaded\n",
             LIGHTBUS_PROGRAM);
    write_file(c.folder, "rc", script);
    const char *const argv[] = {"/bin/bash", "--noprofile", "--rcfile", "rc", "-i", NULL};
    const char *const environment[] = {c.url, c.home, NULL};
    terminal *t = terminal_open(80, 24, argv, environment, c.folder);
    static const struct {
        const char *typed, *shown; /* with Tab */
    } steps[] = {
        {"lightbus insp", "$ lightbus inspect "},
        {"--format=p", "$ lightbus inspect --format=pretty "},
        {"--api ", "$ lightbus inspect --format=pretty --api test.talk "},
        {"--event=s", "$ lightbus inspect --format=pretty --api test.talk --event=said "},
    };

    terminal_wait_for(t, "loaded\n$", DEADLINE_MS);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        terminal_type(t, steps[i].typed);
        terminal_key(t, "Tab");
        terminal_type(t, "<"); /* the screen does not show blanks at the end of a line */
        char shown[120];
        snprintf(shown, sizeof shown, "%s<", steps[i].shown);
        terminal_wait_for(t, shown, DEADLINE_MS);
        terminal_key(t, "BSpace");
    }
    terminal_key(t, "C-u");
    terminal_type(t, "lightbus call 'test.talk.a");
    terminal_key(t, "Tab");
    terminal_wait_for(t, "$ lightbus call 'test.talk.add'", DEADLINE_MS);
    terminal_key(t, "Tab");
    terminal_key(t, "C-u");
    terminal_type(t, "lightbus call test.talk.add a=1 ");
    terminal_key(t, "Tab");
    terminal_type(t, "2<");
    terminal_wait_for(t, "$ lightbus call test.talk.add a=1 b=2<", DEADLINE_MS); /* no blank after the "=" */
    terminal_close(t);
    cli_stop(service);
}

static int open_all(void **state)
{
    (void)state;
    cli_open(&c);
    return 0;
}

static int empty_bus(void **state)
{
    (void)state;
    lb_value_free(redis_command(c.redis, "FLUSHALL", NULL));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    cli_close(&c);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(names_come_from_the_bus, empty_bus),
        cmocka_unit_test_setup(what_makes_no_sense_offers_nothing, empty_bus),
        cmocka_unit_test_setup(names_from_elsewhere_are_harmless, empty_bus),
        cmocka_unit_test_setup(no_bus_no_noise, empty_bus),
        cmocka_unit_test_setup(a_script_for_each_shell, empty_bus),
        cmocka_unit_test_setup(a_person_presses_tab, empty_bus),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
