/* lightbus inspect: what is stored, filtered, in all formats, followed, on a terminal and in a pipe. */
#include "cli_fixture.h"
#include "terminal.h"

#include <poll.h>

/* ---- What is stored --------------------------------------------------------------------------------- */

static void publish(const char *api, const char *events)
{
    char key[64], json[1024];
    snprintf(key, sizeof key, "schema:%s", api);
    snprintf(json, sizeof json, "{\"rpcs\":{},\"events\":{%s}}", events);
    lb_value_free(redis_command(c.redis, "SET", key, json, NULL));
    lb_value_free(redis_command(c.redis, "SADD", "schemas", api, NULL));
}

#define EVENT(name, properties)                                                                                \
    "\"" name                                                                                                  \
    "\":{\"parameters\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{" properties       \
    "},\"required\":[\"username\"]}}"
#define USERNAME "\"username\":{\"type\":\"string\"}"

static void store(const char *native_id, const char *api, const char *event, const char *version,
                  const char *field, const char *json)
{
    char stream[64], id[64];
    snprintf(stream, sizeof stream, "%s.*:stream", api);
    snprintf(id, sizeof id, "id-%s", native_id);
    lb_value_free(redis_command(c.redis, "XADD", stream, native_id, "id", id, "api_name", api, "event_name",
                                event, "version", version, field, json, NULL));
}

static int fill(void **state)
{
    (void)state;
    lb_value_free(redis_command(c.redis, "FLUSHALL", NULL));
    publish("auth",
            EVENT("user_registered", USERNAME ",\"age\":{\"type\":\"integer\",\"default\":18}") "," EVENT(
                "user_left", USERNAME) "," EVENT("login", USERNAME));
    publish("shop.orders", EVENT("placed", USERNAME));
    publish("internal.state", EVENT("ping", USERNAME));
    publish("empty", EVENT("never", USERNAME));
    store("1700000000001-0", "auth", "user_registered", "1", ":username", "\"adam\"");
    store("1700000000002-0", "shop.orders", "placed", "2", ":total", "42");
    store("1700000000003-0", "auth", "user_left", "2", ":username", "\"eve\"");
    store("1700000000004-0", "auth", "login", "3", ":username", "{\"name\": [\"eve\", 7]}");
    store("1700000000005-0", "internal.state", "ping", "1", ":username", "\"x\"");
    return 0;
}

/* ---- Running ---------------------------------------------------------------------------------------- */

#define PRINTS(text, ...) cli_prints(START(&c, "inspect", __VA_ARGS__), (text))

/* The last digits of the native ids that it printed, in order. */
static void shows(program *p, const char *digits)
{
    char got[32] = "";
    int code = program_wait(p, DEADLINE_MS);
    if (code != 0)
        fail_msg("exit code %d: %s", code, p->text);
    for (const char *at = p->text; (at = strstr(at, "\"native_id\":\"170000000000")); at++)
        strncat(got, at + strlen("\"native_id\":\"170000000000"), 1);
    if (strcmp(got, digits) != 0)
        fail_msg("got %s, expected %s: %s", got, digits, p->text);
    program_free(p);
}
#define SHOWS(digits, ...) shows(START(&c, "inspect", __VA_ARGS__), (digits))

/* ---- Filters ---------------------------------------------------------------------------------------- */

static void all_of_it_newest_first(void **state)
{
    (void)state;
    shows(START(&c, "inspect"), "4321");
    SHOWS("1234", "--oldest-first");
    SHOWS("43", "--count", "2");
    SHOWS("54321", "--internal");
    SHOWS("54321", "-I");
    SHOWS("12", "--count", "2", "--oldest-first");
}

static void by_api_and_event(void **state)
{
    (void)state;
    SHOWS("431", "--api", "auth");
    SHOWS("431", "-a", "a*");
    SHOWS("2", "-a", "shop.*");
    SHOWS("2", "-a", "shop.orders");
    SHOWS("5", "-a", "internal.state"); /* by its name */
    SHOWS("5", "-a", "internal.*", "-I");
    SHOWS("4321", "-a", "*");
    SHOWS("31", "--event", "user_*");
    SHOWS("3", "-e", "user_left");
    SHOWS("42", "-e", "[pl]*");
    SHOWS("2", "-e", "p?aced");
    SHOWS("", "-e", "user");
    SHOWS("", "-a", "empty");
    SHOWS("31", "-a", "auth", "-e", "*_*");
}

static void by_id_and_time(void **state)
{
    (void)state;
    SHOWS("3", "--id", "id-1700000000003-0");
    SHOWS("", "-i", "id-1700000000003");
    SHOWS("3", "--native-id", "1700000000003-0");
    SHOWS("", "-n", "1700000000003-1");
    SHOWS("43", "--from", "1700000000003-0");
    SHOWS("21", "--to", "1700000000002");
    SHOWS("32", "--from", "2023-11-14T22:13:20.002Z", "--to", "2023-11-14T22:13:20.003Z");
}

static void by_version(void **state)
{
    (void)state;
    SHOWS("32", "--version", "2");
    SHOWS("32", "-v", "=2");
    SHOWS("432", "-v", ">1");
    SHOWS("4", "-v", "> 2");
    SHOWS("432", "-v", ">=2");
    SHOWS("1", "-v", "<2");
    SHOWS("321", "-v", "<=2");
    SHOWS("41", "-v", "!=2");
}

static void by_content(void **state)
{
    (void)state;
    SHOWS("1", "--json-path", "username=adam");
    SHOWS("3", "-j", "username=\"eve\"");
    SHOWS("4", "-j", "username.name[*]=eve");
    SHOWS("4", "-j", "$..name[1]>=7");
    SHOWS("2", "-j", "total<=42");
    SHOWS("2", "-j", "total>5");
    SHOWS("", "-j", "total<42");
    SHOWS("3", "-j", "username!=adam", "-e", "user_*");
}

static void a_service_that_is_down(void **state)
{
    (void)state;
    store("1700000000006-0", "old", "news", "1", ":username", "1");
    SHOWS("6", "--api", "old");
    SHOWS("4321", "--api", "*"); /* nothing tells that it exists */
}

/* Its APIs are known without anything on the bus. */
static void with_a_bus_module(void **state)
{
    (void)state;
    lb_value_free(redis_command(c.redis, "FLUSHALL", NULL));
    store("1700000000001-0", "test.talk", "said", "1", ":text", "\"hello\"");
    RUN(&c, 1, "no API is on the bus", "inspect");
    RUN(&c, 0, "{\"text\":{\"type\":\"str\",\"value\":\"hello\"},\"loud\":{\"type\":\"bool\",\"value\":false}}",
        "inspect", "--bus", TESTS_DIR "/integration/cli_service", "--show-casting");
    RUN(&c, 1, "nothing.c", "inspect", "--bus", "nothing.c");
}

static void on_a_local_bus(void **state)
{
    (void)state;
    char url[160];
    snprintf(url, sizeof url, "local://%s/bus", c.folder);
    RUN(&c, 1, "no API is on the bus", "inspect", "--url", url);
    program *p = START(&c, "run", "--url", url, "--bus", TESTS_DIR "/integration/cli_service", "-s", "talker");
    program_expect(p, "Ready.", DEADLINE_MS);
    RUN(&c, 0, NULL, "fire", "--url", url, "test.talk.said", "text=one");
    RUN(&c, 0, NULL, "fire", "--url", url, "test.talk.left", "user_id=7");
    RUN(&c, 0, "\":user_id\":\"7\",\"validation\":\"passed\"}\n{", "inspect", "--url", url, "--validate");
    RUN(&c, 0, "  Data\n    text          \"one\"\n  Extra\n", "inspect", "--url", url, "-F", "human", "-j",
        "text=one");
    cli_stop(p);
}

/* APIs on two transports, in one order of time. */
static void on_several_transports(void **state)
{
    (void)state;
    char yaml[512], config[160];
    snprintf(yaml, sizeof yaml,
             "bus: {schema: {transport: {redis: {url: '%s'}}}}\n"
             "apis:\n"
             "  default: {event_transport: {redis: {url: '%s'}}}\n"
             "  test.talk: {event_transport: {local: {url: 'local://%s/other'}}}\n",
             c.redis->url, c.redis->url, c.folder);
    write_file(c.folder, "lightbus.yaml", yaml);
    snprintf(config, sizeof config, "%s/lightbus.yaml", c.folder);
    program *p = START(&c, "run", "--config", config, "--bus", TESTS_DIR "/integration/cli_service", "-s", "t");
    program_expect(p, "Ready.", DEADLINE_MS);
    RUN(&c, 0, NULL, "fire", "--config", config, "test.talk.said", "text=one");
    store("9900000000001-0", "auth", "login", "1", ":username", "\"late\""); /* in the year 2283 */
    cli_stop(p);
    p = START(&c, "inspect", "--config", config, "-e", "[sl][ao][ig][di]*");
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    const char *late = strstr(p->text, "9900000000001-0"), *one = strstr(p->text, "test.talk"),
               *early = strstr(p->text, "1700000000004-0");
    if (!late || !one || !early || late > one || one > early)
        fail_msg("not in the order of time: %s", p->text);
    program_free(p);
}

static void unknown_apis(void **state)
{
    (void)state;
    RUN(&c, 1, "no API \"auht\" is on the bus; did you mean \"auth\"?\n", "inspect", "--api", "auht");
    RUN(&c, 1, "no API \"stock*\" is on the bus; there are: ", "inspect", "--api", "stock*");
    lb_value_free(redis_command(c.redis, "FLUSHALL", NULL));
    RUN(&c, 1, "no API is on the bus; --api NAME", "inspect");
    publish("single", EVENT("placed", USERNAME));
    RUN(&c, 1, "no API \"stock\" is on the bus; there is: single\n", "inspect", "--api", "stock");
    for (int i = 0; i < 30; i++) {
        char name[32];
        snprintf(name, sizeof name, "long.name.of.an.api.number%d", i);
        publish(name, EVENT("placed", USERNAME));
    }
    RUN(&c, 1, ", ...\n", "inspect", "--api", "stock");
}

/* ---- Formats ---------------------------------------------------------------------------------------- */

static void as_json(void **state)
{
    (void)state;
    PRINTS("{\"id\":\"id-1700000000004-0\",\"api_name\":\"auth\",\"event_name\":\"login\",\"version\":3,"
           "\"native_id\":\"1700000000004-0\",\":username\":\"{\\\"name\\\":[\\\"eve\\\",7]}\"}\n",
           "-e", "login");
    PRINTS("{\"id\":\"id-1700000000004-0\",\"api_name\":\"auth\",\"event_name\":\"login\",\"version\":3,"
           "\"native_id\":\"1700000000004-0\",\":username\":\"{\\\"name\\\":[\\\"eve\\\",7]}\"}\n",
           "-e", "login", "--format", "json");
    PRINTS("{\n  \"id\": \"id-1700000000001-0\",\n  \"api_name\": \"auth\",\n"
           "  \"event_name\": \"user_registered\",\n  \"version\": 1,\n"
           "  \"native_id\": \"1700000000001-0\",\n  \":username\": \"\\\"adam\\\"\"\n}\n",
           "-j", "username=adam", "-F", "pretty");
}

static void for_people(void **state)
{
    (void)state;
    PRINTS("auth.user_registered\n"
           "  Metadata\n"
           "    id            id-1700000000001-0\n"
           "    version       1\n"
           "  Data\n"
           "    username      \"adam\"\n"
           "  Extra\n"
           "    native id     1700000000001-0\n"
           "    time          2023-11-14T22:13:20.001Z\n"
           "\n",
           "-j", "username=adam", "--format", "human");
}

static void validated(void **state)
{
    (void)state;
    RUN(&c, 0, "  Validation: Passed\n", "inspect", "-e", "user_left", "-F", "human", "--validate");
    RUN(&c, 0, "  Validation: auth.login: username: expected str", "inspect", "-e", "login", "-F", "human",
        "-d");
    RUN(&c, 0, ",\"validation\":\"passed\"}\n", "inspect", "-e", "user_left", "-d");
    RUN(&c, 0, ",\"validation\":\"auth.login: username: expected str", "inspect", "-e", "login", "-d");
    store("1700000000006-0", "old", "news", "1", ":username", "1");
    RUN(&c, 0, "Validation: not possible: no schema is known\n", "inspect", "-a", "old", "-d", "-F", "human");
    store("1700000000007-0", "auth", "renamed", "1", ":username", "1");
    RUN(&c, 0, "Validation: API auth has no event \"renamed\"", "inspect", "-e", "renamed", "-d", "-F",
        "human");
}

static void cast(void **state)
{
    (void)state;
    RUN(&c, 0,
        "    username      \"adam\"\n"
        "  Extra\n"
        "    native id     1700000000001-0\n"
        "    time          2023-11-14T22:13:20.001Z\n"
        "  Casting\n"
        "    username: str \"adam\"\n",
        "inspect", "-j", "username=adam", "-F", "human", "--show-casting");
    RUN(&c, 0, "\"casting\":{\"username\":{\"type\":\"str\",\"value\":\"adam\"}", "inspect", "-j",
        "username=adam", "-C");
}

/* S32: what cannot be understood is shown as such, and hides nothing. */
static void broken_events(void **state)
{
    (void)state;
    store("1700000000006-0", "auth", "user_left", "1", ":username", "{oops");
    lb_value_free(redis_command(c.redis, "XADD", "auth.*:stream", "1700000000007-0", "", "", NULL));
    lb_value_free(redis_command(c.redis, "XADD", "auth.*:stream", "1700000000008-0", "what", "ever", NULL));
    SHOWS("86431", "-a", "auth");
    SHOWS("631", "-a", "auth", "-e", "user_*");
    SHOWS("431", "-a", "auth", "-v", ">0");
    RUN(&c, 0, "\"problem\":\"no id\"", "inspect", "-n", "1700000000008-0");
    RUN(&c, 0, "    problem       username: ", "inspect", "-n", "1700000000006-0", "-F", "human", "-d", "-C");
}

/* ---- The cache -------------------------------------------------------------------------------------- */

/* The same bus with a cache of its own. */
static cli with_cache(const char *name)
{
    cli own = c;
    snprintf(own.cache, sizeof own.cache, "XDG_CACHE_HOME=%.100s/%s", c.folder, name);
    return own;
}
#define SHOWS_OF(own, digits, ...) shows(START((own), "inspect", __VA_ARGS__), (digits))

static void shows_what_was_kept_when_the_bus_has_lost_it(void **state)
{
    (void)state;
    cli own = with_cache("kept");
    RUN(&own, 1, "nothing is kept of this bus: lightbus inspect --cache keeps what it reads", "inspect",
        "--cache-only");
    SHOWS_OF(&own, "4321", "--cache");
    SHOWS_OF(&own, "4321", "--cache");
    lb_value_free(redis_command(c.redis, "FLUSHALL", NULL));
    SHOWS_OF(&own, "4321", "--cache-only");
    SHOWS_OF(&own, "1234", "-c", "--oldest-first");
    SHOWS_OF(&own, "43", "-c", "--count", "2");
    SHOWS_OF(&own, "31", "-c", "-e", "user_*");
    SHOWS_OF(&own, "2", "-c", "-a", "shop.*");
    SHOWS_OF(&own, "3", "-c", "-n", "1700000000003-0");
    SHOWS_OF(&own, "3", "-c", "-i", "id-1700000000003-0");
    SHOWS_OF(&own, "32", "-c", "--from", "1700000000002", "--to", "2023-11-14T22:13:20.003Z");
    SHOWS_OF(&own, "23", "-c", "--from", "1700000000002-0", "--to", "1700000000003", "--oldest-first");
    SHOWS_OF(&own, "", "-c", "--to", "2023-01-01");
    SHOWS_OF(&own, "4", "-c", "-v", ">2");
    SHOWS_OF(&own, "1", "-c", "-j", "username=adam");
    RUN(&own, 0, "\"casting\":{\"username\":{\"type\":\"str\",\"value\":\"adam\"}", "inspect", "-c", "-j",
        "username=adam", "-C");
    RUN(&own, 0, "\"validation\":\"auth.login: ", "inspect", "-c", "-n", "1700000000004-0", "-d");
    RUN(&own, 2, "--from: expected a native id or a time as ISO 8601, not \"noon\"", "inspect", "-c", "--from",
        "noon");
    RUN(&own, 1, "no API \"nobody\" is on the bus", "inspect", "-c", "-a", "nobody");
    RUN(&own, 1, "nothing is kept of this bus", "inspect", "-c", "--url", "redis://127.0.0.1:1/0");
}

/* What is read in parts is put together in the order of time; APIs whose services are gone stay. */
static void keeps_what_is_read_and_adds_to_it(void **state)
{
    (void)state;
    cli own = with_cache("added");
    SHOWS_OF(&own, "4", "--cache", "--count", "1");
    SHOWS_OF(&own, "4", "-c");
    SHOWS_OF(&own, "2", "--cache", "-a", "shop.orders");
    SHOWS_OF(&own, "42", "-c");
    lb_value_free(redis_command(c.redis, "FLUSHALL", NULL));
    publish("auth", EVENT("user_left", USERNAME));
    store("1700000000006-0", "auth", "user_left", "1", ":username", "{oops");
    store("1700000000007-0", "auth", "user_left", "1", ":username", "\"\\u001b[31mzoë\"");
    SHOWS_OF(&own, "76", "--cache");
    SHOWS_OF(&own, "7642", "--cache-only");
    RUN(&own, 0, "\"problem\":\"username: ", "inspect", "-c", "-n", "1700000000006-0");
    RUN(&own, 0, "\":username\":\"\\\"\\\\u001b[31mzoë\\\"\"", "inspect", "-c", "-n", "1700000000007-0");
}

static void follows_and_keeps(void **state)
{
    (void)state;
    cli own = with_cache("followed");
    program *p = START(&own, "inspect", "--cache", "--follow");
    program_expect(p, "1700000000004-0", DEADLINE_MS);
    store("1700000000008-0", "auth", "login", "1", ":username", "\"x\"");
    program_expect(p, "1700000000008-0", DEADLINE_MS);
    child_kill(p->pid, SIGTERM);
    cli_ends(p, 0, "1700000000001-0");
    SHOWS_OF(&own, "84321", "-c");
}

/* A damaged cache is an error, and no crash. */
static void refuses_a_damaged_cache(void **state)
{
    (void)state;
    char command[600];
    cli own = with_cache("damaged");
    SHOWS_OF(&own, "4321", "--cache");
    snprintf(command, sizeof command,
             "for f in %s/damaged/lightbus/inspect-*/data.mdb; do echo nonsense >$f; done", c.folder);
    assert_int_equal(system(command), 0);
    RUN(&own, 1, "the cache cannot be opened", "inspect", "--cache-only");
    RUN(&own, 1, "the cache cannot be opened", "inspect", "--cache");
    own = with_cache("cut");
    SHOWS_OF(&own, "4321", "--cache");
    snprintf(command, sizeof command, "truncate -s 12K %s/cut/lightbus/inspect-*/data.mdb", c.folder);
    assert_int_equal(system(command), 0);
    RUN(&own, 1, "the cache cannot be opened: it has been cut short: remove it", "inspect", "--cache-only");
    RUN(&own, 1, "the cache cannot be opened: it has been cut short: remove it", "inspect", "--cache");
    snprintf(command, sizeof command, "chmod 0755 %s/cut/lightbus", c.folder);
    assert_int_equal(system(command), 0);
    RUN(&own, 1, "is open to others; expected mode 0700", "inspect", "--cache-only");
}

/* ---- Wrong usage ------------------------------------------------------------------------------------ */

static void wrong_usage(void **state)
{
    (void)state;
    RUN(&c, 2, "unexpected argument \"auth\"", "inspect", "auth");
    RUN(&c, 2, "--format: expected json, pretty or human, got \"jsn\"; did you mean \"json\"?", "inspect", "-F",
        "jsn");
    RUN(&c, 2, "give --cache-only or --follow, not both", "inspect", "-c", "-f");
    RUN(&c, 2, "give --cache-only or --cache, not both", "inspect", "--cache-only", "--cache");
    RUN(&c, 2, "--version: expected a number, maybe after one of", "inspect", "-v", "new");
    RUN(&c, 2, "--version: expected a number", "inspect", "-v", ">");
    RUN(&c, 2, "--version: expected a number", "inspect", "-v", "99999999999");
    RUN(&c, 2, "--json-path: \"username\": expected one of = != < <= > >= at column 9", "inspect", "-j",
        "username");
    RUN(&c, 2, "--count: expected a whole number above 0", "inspect", "--count", "0");
    RUN(&c, 2, "give --native-id or --from and --to", "inspect", "-n", "1-0", "--from", "1-0");
    RUN(&c, 2, "--from: \"$\" (now) is for --follow", "inspect", "--from", "$");
    RUN(&c, 2, "unknown flag \"--oldest\"", "inspect", "--oldest");
    RUN(&c, 2, "inspect: --from: expected a native id or a time as ISO 8601, not \"noon\"", "inspect", "--from",
        "noon");
    RUN(&c, 2, "inspect: --to: expected a native id", "inspect", "--to", "noon");
    RUN(&c, 2, "inspect: --native-id: expected a native id", "inspect", "-n", "noon");
    RUN(&c, 2, "expected letters, digits and \"_\"", "inspect", "-e", "a-b");
    RUN(&c, 1, "lightbus inspect: error: ", "inspect", "--url", "redis://127.0.0.1:1/0");
    RUN(&c, 0, "Usage: lightbus inspect [FLAGS]\n", "inspect", "--help");
}

/* ---- Following -------------------------------------------------------------------------------------- */

static void follows_until_a_signal(void **state)
{
    (void)state;
    const int signals[] = {SIGINT, SIGTERM};
    for (int i = 0; i < 2; i++) {
        char id[32], expected[64];
        program *p = START(&c, "inspect", "--api", "auth", "--follow");
        program_expect(p, "1700000000001-0", DEADLINE_MS);
        program_expect(p, "1700000000004-0", DEADLINE_MS);
        snprintf(id, sizeof id, "170000000001%d-0", i);
        snprintf(expected, sizeof expected, "\"native_id\":\"%s\"", id);
        store(id, "auth", "login", "1", ":username", "\"late\"");
        program_expect(p, expected, DEADLINE_MS);
        child_kill(p->pid, signals[i]);
        assert_int_equal(program_wait(p, DEADLINE_MS), 0);
        assert_true(strstr(p->text, "1700000000001-0") < strstr(p->text, "1700000000003-0")); /* oldest first */
        program_free(p);
    }
}

/* All APIs at once, filtered, from now on, to a number. */
static void follows_what_is_new(void **state)
{
    (void)state;
    program *p = START(&c, "inspect", "-f", "--from", "$", "--count", "2", "-j", "username=late");
    for (int i = 10; child_runs(p->pid) && i < 99; i++) { /* until it listens, and has seen two */
        char id[32];
        snprintf(id, sizeof id, "17000000000%d-0", i);
        store(id, "auth", "login", "1", ":username", i % 2 ? "\"early\"" : "\"late\"");
        store(id, "shop.orders", "placed", "1", ":username", "\"early\"");
        poll(NULL, 0, 50);
    }
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_null(strstr(p->text, "170000000000"));
    assert_null(strstr(p->text, "early"));
    assert_non_null(strstr(strchr(p->text, '\n'), "late"));
    program_free(p);
}

/* With a pattern, or without any, APIs that appear later are read too: from the beginning, or from where --from
 * says; the schema of the service comes after its first events here. */
static void follows_apis_that_appear(void **state)
{
    (void)state;
    program *all = START(&c, "inspect", "--follow");
    program *one = START(&c, "inspect", "--follow", "-a", "new.*", "-e", "b*");
    program *now = START(&c, "inspect", "--follow", "--from", "$", "-a", "new.*");
    program *other = START(&c, "inspect", "--follow", "-a", "auth");
    program_expect(all, "1700000000004-0", DEADLINE_MS);
    program_expect(one, "at present no API \"new.*\" is on the bus", DEADLINE_MS);
    program_expect(now, "at present no API \"new.*\" is on the bus", DEADLINE_MS);
    program_expect(other, "1700000000004-0", DEADLINE_MS);
    store("1700000000021-0", "new.api", "began", "1", ":username", "\"old\""); /* in 2023 */
    store("9900000000022-0", "new.api", "began", "1", ":username", "\"new\"");
    store("9900000000023-0", "new.api", "ended", "1", ":username", "\"new\"");
    publish("new.api", EVENT("began", USERNAME) "," EVENT("ended", USERNAME));
    program_expect(all, "9900000000023-0", DEADLINE_MS);
    program_expect(one, "9900000000022-0", DEADLINE_MS);
    program_expect(now, "9900000000023-0", DEADLINE_MS);
    assert_contains(all->text, "1700000000021-0");
    assert_contains(one->text, "1700000000021-0");
    assert_null(strstr(now->text, "1700000000021-0")); /* not from now on */
    publish("newest", EVENT("came", USERNAME));
    store("9900000000024-0", "newest", "came", "1", ":username", "\"x\"");
    store("9900000000025-0", "auth", "login", "1", ":username", "\"x\"");
    program_expect(all, "9900000000024-0", DEADLINE_MS);
    program_expect(all, "9900000000025-0", DEADLINE_MS);
    program_expect(other, "9900000000025-0", DEADLINE_MS);
    assert_null(strstr(other->text, "new.api"));
    assert_null(strstr(one->text, "newest"));
    program *list[] = {all, one, now, other};
    for (int i = 0; i < 4; i++) {
        child_kill(list[i]->pid, SIGINT);
        assert_int_equal(program_wait(list[i], DEADLINE_MS), 0);
        const char *first = strstr(list[i]->text, "\"native_id\":\"9900000000022-0");
        assert_true(!first || !strstr(first + 1, "\"native_id\":\"9900000000022-0")); /* once */
        program_free(list[i]);
    }
}

static void follows_over_an_outage(void **state)
{
    (void)state;
    program *p = START(&c, "inspect", "-f", "-a", "auth");
    program_expect(p, "1700000000004-0", DEADLINE_MS);
    redis_server_down(c.redis);
    program_expect(p, "; trying again\n", DEADLINE_MS);
    redis_server_up(c.redis);
    store("1700000000011-0", "auth", "login", "1", ":username", "\"after\"");
    program_expect(p, "1700000000011-0", DEADLINE_MS);
    child_kill(p->pid, SIGINT);
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    program_free(p);
}

/* ---- Terminals -------------------------------------------------------------------------------------- */

/* Runs `lightbus inspect FLAGS...` on a terminal; `setting`: "NAME=value" or NULL. */
static terminal *on_terminal(const char *setting, int columns, const char *const *words)
{
    const char *argv[16] = {LIGHTBUS_PROGRAM, "inspect"};
    const char *const environment[] = {c.url, setting, NULL};
    for (size_t i = 0; words[i]; i++)
        argv[i + 2] = words[i];
    return terminal_open(columns, 24, argv, environment, c.folder);
}
#define ON_TERMINAL(setting, columns, ...)                                                                     \
    on_terminal((setting), (columns), (const char *const[]){__VA_ARGS__, NULL})

static void a_terminal_has_colours(void **state)
{
    (void)state;
    terminal *t = ON_TERMINAL(NULL, 80, "-e", "user_left", "-F", "human");
    terminal_wait_output(t, "\033[1m\033[32mauth.user_left\033[0m\r\n", DEADLINE_MS);
    terminal_wait_output(t, "\033[36musername\033[0m      \"eve\"", DEADLINE_MS);
    assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 0);
    terminal_close(t);
    t = ON_TERMINAL("NO_COLOR=1", 80, "-e", "user_left", "-F", "human");
    terminal_wait_output(t, "    time          2023-11-14T22:13:20.003Z\r\n", DEADLINE_MS);
    assert_contains(terminal_output(t), "auth.user_left\r\n");
    assert_null(strstr(terminal_output(t), "\033[0m")); /* progress, if it took long, was cleared by \033[K */
    terminal_close(t);
}

/* What comes from elsewhere cannot drive the terminal. */
static void control_characters_are_shown_as_such(void **state)
{
    (void)state;
    static const char *const formats[] = {"json", "pretty", "human"};
    store("1700000000006-0", "auth", "login", "1", ":username",
          "\"a\xc2\x9b"
          "31mred\"");
    for (int i = 0; i < 3; i++) {
        terminal *t = ON_TERMINAL("NO_COLOR=1", 80, "-n", "1700000000006-0", "-F", formats[i]);
        terminal_wait_output(t, "a?31mred", DEADLINE_MS);
        assert_null(strstr(terminal_output(t), "\xc2\x9b"));
        terminal_close(t);
    }
}

/* Progress is for a terminal, keeps off what is printed, and fits 80 columns as well as 200. */
static void progress_is_shown_and_cleared(void **state)
{
    (void)state;
    const int columns[] = {80, 200};
    char count[16]; /* which take longer to read than progress stays away: 100 ms */
    snprintf(count, sizeof count, "%d", support_scaled(300000));
    lb_value_free(
        redis_command(c.redis, "EVAL",
                      "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'id', 'id', 'api_name', "
                      "'auth', 'event_name', 'login', 'version', '1', ':username', '\"u\"') end",
                      "1", "auth.*:stream", count, NULL));
    for (int i = 0; i < 2; i++) {
        terminal *t = ON_TERMINAL(NULL, columns[i], "-j", "username=adam");
        terminal_wait_output(t, "}\r\n", DEADLINE_MS);
        assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 0);
        const char *text = terminal_output(t);
        assert_contains(text, " events read, 0 shown\r\033[K");
        assert_contains(text, "\r\033[K{\"id\":\"id-1700000000001-0\"");
        for (const char *line = text; line; line = strstr(line + 1, "\r\033[K"))
            assert_true(!strstr(line, "shown") || strcspn(line, "\r") < 80);
        assert_null(strstr(terminal_screen(t), "shown"));
        terminal_close(t);
    }
    RUN(&c, 0, "{\"id\":\"id-1700000000001-0\"", "inspect", "-j", "username=adam");
}

/* Followed for people, what comes is laid out as what was there, and Ctrl-C leaves the terminal as it was. */
static void ctrl_c_ends_following(void **state)
{
    (void)state;
    const int columns[] = {80, 200};
    for (int i = 0; i < 2; i++) {
        char id[32], expected[400];
        terminal *t = ON_TERMINAL(NULL, columns[i], "--follow", "-F", "human", "-a", "auth", "--validate");
        terminal_wait_for(t, "1700000000004-0", DEADLINE_MS);
        snprintf(id, sizeof id, "170000000001%d-0", i);
        store(id, "auth", "user_left", "2", ":username", "\"\u5a92\u4f53 \\\"late\\\"\"");
        snprintf(expected, sizeof expected,
                 "\n\n"
                 "auth.user_left\n"
                 "  Metadata\n"
                 "    id            id-%s\n"
                 "    version       2\n"
                 "  Data\n"
                 "    username      \"\u5a92\u4f53 \\\"late\\\"\"\n"
                 "  Extra\n"
                 "    native id     %s\n"
                 "    time          2023-11-14T22:13:20.01%dZ\n"
                 "  Validation: Passed\n",
                 id, id, i);
        terminal_wait_for(t, expected, DEADLINE_MS);
        assert_contains(terminal_screen_styled(t), "\033[32mPassed");
        terminal_key(t, "C-c");
        assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 0);
        terminal_assert_restored(t);
        terminal_close(t);
    }
}

/* S32: a name from the bus cannot look like another event; what is wide takes its columns. */
static void names_are_one_line(void **state)
{
    (void)state;
    store("1700000000015-0", "auth", "login", "1", ":a\nauth.user_left\n  Data\n    b", "1");
    store("1700000000016-0", "auth", "login", "1", ":\xe6\xbc\xa2\xe5\xad\x97", "1");
    PRINTS("auth.login\n  Metadata\n    id            id-1700000000015-0\n    version       1\n  Data\n"
           "    a?auth.user_left?  Data?    b 1\n"
           "  Extra\n    native id     1700000000015-0\n    time          2023-11-14T22:13:20.015Z\n\n",
           "-n", "1700000000015-0", "-F", "human");
    RUN(&c, 0, "  Data\n    \xe6\xbc\xa2\xe5\xad\x97          1\n", "inspect", "-n", "1700000000016-0", "-F",
        "human");
}

/* A value longer than a line goes on in the next one, whole. */
static void long_values_are_shown_whole(void **state)
{
    (void)state;
    char value[301], json[320];
    memset(value, 'x', 299);
    memcpy(value, "begin", 5);
    memcpy(value + 294, "theend", 7);
    snprintf(json, sizeof json, "\"%s\"", value);
    store("1700000000014-0", "auth", "login", "1", ":username", json);
    terminal *t = ON_TERMINAL(NULL, 80, "--follow", "-F", "human", "-n", "1700000000014-0");
    terminal_wait_for(t, "    username      \"beginxxx", DEADLINE_MS);
    terminal_wait_for(t, "theend\"\n  Extra\n    native id     1700000000014-0\n", DEADLINE_MS);
    terminal_key(t, "C-c");
    assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 0);
    terminal_assert_restored(t);
    terminal_close(t);
}

static void a_reader_that_goes_away_ends_it_quietly(void **state)
{
    (void)state;
    char command[400];
    snprintf(command, sizeof command, "'%s' inspect | head -n 1; echo \"${PIPESTATUS[0]}\"", LIGHTBUS_PROGRAM);
    lb_value_free(redis_command(c.redis, "EVAL",
                                "for n = 1, 20000 do redis.call('XADD', KEYS[1], '*', 'id', 'id', 'api_name', "
                                "'auth', 'event_name', 'login', 'version', '1', ':username', '\"u\"') end",
                                "1", "auth.*:stream", NULL));
    program *p = program_start((const char *const[]){"bash", "-c", command, NULL},
                               (const char *const[]){c.url, NULL}, c.folder);
    cli_ends(p, 0, "}\n0\n");
}

/* It need not wait for an event to find it out. */
static void following_ends_with_its_reader(void **state)
{
    (void)state;
    char command[400];
    snprintf(command, sizeof command, "'%s' inspect --follow | head -n 1; echo \"${PIPESTATUS[0]}\"",
             LIGHTBUS_PROGRAM);
    program *p = program_start((const char *const[]){"bash", "-c", command, NULL},
                               (const char *const[]){c.url, NULL}, c.folder);
    cli_ends(p, 0, "}\n0\n");
}

#define TEST(f) cmocka_unit_test_setup(f, fill)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_of_it_newest_first),
        TEST(by_api_and_event),
        TEST(by_id_and_time),
        TEST(by_version),
        TEST(by_content),
        TEST(a_service_that_is_down),
        TEST(with_a_bus_module),
        TEST(on_a_local_bus),
        TEST(on_several_transports),
        TEST(unknown_apis),
        TEST(as_json),
        TEST(for_people),
        TEST(validated),
        TEST(cast),
        TEST(broken_events),
        TEST(shows_what_was_kept_when_the_bus_has_lost_it),
        TEST(keeps_what_is_read_and_adds_to_it),
        TEST(follows_and_keeps),
        TEST(refuses_a_damaged_cache),
        TEST(wrong_usage),
        TEST(follows_until_a_signal),
        TEST(follows_what_is_new),
        TEST(follows_apis_that_appear),
        TEST(follows_over_an_outage),
        TEST(a_terminal_has_colours),
        TEST(control_characters_are_shown_as_such),
        TEST(progress_is_shown_and_cleared),
        TEST(ctrl_c_ends_following),
        TEST(names_are_one_line),
        TEST(long_values_are_shown_whole),
        TEST(a_reader_that_goes_away_ends_it_quietly),
        TEST(following_ends_with_its_reader),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
