/* lightbus deadletters: what is listed and shown, what is done, what is refused; in a pipe and on a terminal
 * (S13). The letters are put on the server by hand, some as nobody would make them (S32). */
#include "cli_fixture.h"
#include "terminal.h"
#include "worker.h"

#include <lightbus.h>

#define STREAM "shop.*:stream"

/* ---- What lies there -------------------------------------------------------------------------------- */

/* A command to the server, whose answer is not looked at. */
#define DO(...) lb_value_free(redis_command(c.redis, __VA_ARGS__, NULL))

static void bury_in(const char *stream, const char *id, const char *dead_id, const char *event, const char *n,
                    const char *group, const char *reason)
{
    char key[64];
    snprintf(key, sizeof key, "%s:dead", stream);
    DO("XADD", key, id, "id", "e", "api_name", "shop", "event_name", event, "version", "2", ":n", n, "dead_id",
       dead_id, "dead_reason", reason, "dead_group", group, "dead_consumer", "p1", "dead_deliveries", "10");
}

static void bury(const char *id, const char *dead_id, const char *event, const char *n, const char *group,
                 const char *reason)
{
    bury_in(STREAM, id, dead_id, event, n, group, reason);
}

/* Three events of two groups, which have read and acknowledged all that they did not give up; the one of the
 * third letter is gone. */
static int fill(void **state)
{
    static const char *const groups[] = {"mail-w", "stock-w"};
    (void)state;
    DO("FLUSHALL");
    for (int i = 1; i <= 3; i++) {
        char id[16], n[8];
        snprintf(id, sizeof id, "%d-0", i);
        snprintf(n, sizeof n, "%d", i);
        DO("XADD", STREAM, id, "id", "e", "api_name", "shop", "event_name", i == 2 ? "paid" : "ordered",
           "version", "2", ":n", n);
    }
    for (size_t i = 0; i < 2; i++) {
        DO("XGROUP", "CREATE", STREAM, groups[i], "0");
        DO("XREADGROUP", "GROUP", groups[i], "p1", "STREAMS", STREAM, ">");
        DO("XACK", STREAM, groups[i], "1-0", "2-0", "3-0");
    }
    DO("XDEL", STREAM, "3-0");
    bury("1700000000001-0", "1-0", "ordered", "1", "mail-w", "no address");
    bury("1700000000002-0", "2-0", "paid", "2", "stock-w", "out of stock");
    bury("1700000000003-0", "3-0", "ordered", "3", "mail-w", "the mail server is down");
    return 0;
}

static int64_t dead(void) { return redis_int(c.redis, "XLEN", STREAM ":dead", NULL); }

static int64_t pending(const char *group)
{
    lb_value *summary = redis_command(c.redis, "XPENDING", STREAM, group, NULL);
    int64_t count = lb_value_int(lb_value_at(summary, 0));
    lb_value_free(summary);
    return count;
}

/* ---- Running ---------------------------------------------------------------------------------------- */

/* The ids of the letters that it listed, by their last digit, with --json. */
static void lists(program *p, const char *digits)
{
    static const char before[] = "\"dead_letter\":{\"id\":\"170000000000";
    char got[32] = "";
    int code = program_wait(p, DEADLINE_MS);
    if (code != 0)
        fail_msg("exit code %d: %s", code, p->text);
    for (const char *at = p->text; (at = strstr(at, before)); at++)
        strncat(got, at + strlen(before), 1);
    if (strcmp(got, digits) != 0)
        fail_msg("expected the letters %s, not %s: %s", digits, got, p->text);
    program_free(p);
}
#define LISTS(digits, ...)       lists(START(&c, "deadletters", "list", "--json", __VA_ARGS__), (digits))
#define LETTERS(code, part, ...) RUN(&c, (code), (part), "deadletters", __VA_ARGS__)

/* ---- List and show ---------------------------------------------------------------------------------- */

static void list_is_a_table(void **state)
{
    (void)state;
    program *p = START(&c, "deadletters", "list");
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    assert_contains(p->text, "AGE    ID               EVENT         GROUP    TRIES  REASON\n");
    assert_contains(p->text, "d  1700000000001-0  shop.ordered  mail-w   10     no address\n");
    assert_contains(p->text, "d  1700000000002-0  shop.paid     stock-w  10     out of stock\n");
    assert_true(strstr(p->text, "00001-0") < strstr(p->text, "00003-0"));
    program_free(p);
    DO("FLUSHALL");
    LETTERS(0, "There are no dead letters.\n", "list");
    LETTERS(0, NULL, "list", "--json");
}

static void list_chooses(void **state)
{
    (void)state;
    LISTS("123", "--event", "shop.*");
    LISTS("13", "--event", "shop.ordered");
    LISTS("2", "--group", "stock-w");
    LISTS("", "--group", "stock");
    LISTS("13", "--group", "mail-w", "--event", "shop.ordered", "--older-than", "1s");
    LETTERS(2, "--older-than: expected a number and s, m, h or d, such as 7d; got \"7\"", "list",
            "--older-than", "7");
    DO("XADD", STREAM ":dead", "*", "id", "new");
    LETTERS(0, "no api_name", "list", "--json");
    LISTS("123", "--older-than", "1d");
    LETTERS(2, "--event: expected \"api.name\", got \"shop\"", "list", "--event", "shop");
    LETTERS(2, "--event: expected", "show", "1700000000001-0", "--event", "shop");
    LETTERS(2, "--event: expected", "purge", "1700000000001-0", "--event", "shop");
    LETTERS(2, "--event: expected", "purge", "--all", "--event", "shop");
}

static void show_tells_everything(void **state)
{
    static const char json[] =
        "{\"id\":\"e\",\"api_name\":\"shop\",\"event_name\":\"paid\",\"version\":2,\"native_id\":\"2-0\","
        "\":n\":\"2\",\"dead_letter\":{\"id\":\"1700000000002-0\",\"group\":\"stock-w\",\"consumer\":\"p1\","
        "\"deliveries\":10,\"reason\":\"out of stock\"}}\n";
    (void)state;
    LETTERS(0, json, "show", "--json", "1700000000002-0");
    LETTERS(0,
            "  Dead letter\n"
            "    id            1700000000002-0\n"
            "    time          2023-11-14T22:13:20.002Z\n"
            "    group         stock-w\n"
            "    consumer      p1\n"
            "    deliveries    10\n"
            "    reason        out of stock\n",
            "show", "1700000000002-0");
}

static void unknown_ids_are_named(void **state)
{
    static const char *const ids[] = {
        "1700000000002-1", "1700000000002", "1", "nonsense", "$", "2023-11-14", ""};
    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char text[64];
        snprintf(text, sizeof text, "no dead letter \"%s\"", ids[i]);
        LETTERS(1, text, "show", ids[i]);
        LETTERS(1, text, "replay", ids[i]);
        LETTERS(1, text, "purge", ids[i]);
    }
    LETTERS(1, "out of stock", "show", "1-0", "1700000000002-0");
    LETTERS(1, "1 purged, 1 not", "purge", "1-0", "1700000000002-0");
    assert_int_equal(dead(), 2);
}

static void an_id_in_two_streams_is_not_enough(void **state)
{
    (void)state;
    bury_in("shop.ordered:stream", "1700000000002-0", "9-0", "ordered", "4", "mail-w", "the other");
    LETTERS(1, "2 dead letters have the id 1700000000002-0: say which with --event or --group", "purge",
            "1700000000002-0");
    LETTERS(0, "the other", "show", "1700000000002-0");
    LETTERS(0, "1 purged", "purge", "1700000000002-0", "--group", "mail-w");
    LETTERS(0, "out of stock", "show", "1700000000002-0");
}

/* ---- Replay and purge ------------------------------------------------------------------------------- */

static void replay_gives_one_back_to_its_group(void **state)
{
    (void)state;
    LETTERS(0, "1 replayed\n", "replay", "1700000000002-0");
    LISTS("13", "--event", "shop.*");
    assert_int_equal(pending("stock-w"), 1);
    assert_int_equal(pending("mail-w"), 0);
    lb_value *list = redis_command(c.redis, "XPENDING", STREAM, "stock-w", "-", "+", "10", NULL);
    const lb_value *entry = lb_value_at(list, 0);
    assert_string_equal(lb_value_str(lb_value_at(entry, 0)), "2-0");
    assert_string_equal(lb_value_str(lb_value_at(entry, 1)), "p1");
    assert_true(lb_value_int(lb_value_at(entry, 2)) >= 86400000); /* idle: whoever looks may take it over */
    assert_int_equal(lb_value_int(lb_value_at(entry, 3)), 0);     /* deliveries */
    lb_value_free(list);
}

static void an_event_that_is_gone_is_fired_only_if_asked(void **state)
{
    (void)state;
    LETTERS(1, "dead letter 1700000000003-0: its event 3-0 is gone from the stream", "replay",
            "1700000000003-0");
    assert_int_equal(dead(), 3);
    assert_int_equal(redis_int(c.redis, "XLEN", STREAM, NULL), 2);
    LETTERS(0, "1 replayed\n", "replay", "--fire-again", "1700000000003-0");
    assert_int_equal(dead(), 2);
    lb_value *entries = redis_command(c.redis, "XREVRANGE", STREAM, "+", "-", "COUNT", "1", NULL);
    char *text = lb_value_json(lb_value_at(lb_value_at(entries, 0), 1), NULL);
    assert_string_equal(text,
                        "[\"id\",\"e\",\"api_name\",\"shop\",\"event_name\",\"ordered\",\"version\",\"2\","
                        "\":n\",\"3\"]"); /* as it was, and nothing that a Python listener does not know */
    free(text);
    lb_value_free(entries);
}

/* The group has it again, in somebody's hands: that one keeps it. */
static void an_event_in_hand_stays_there(void **state)
{
    (void)state;
    DO("XCLAIM", STREAM, "mail-w", "p7", "0", "1-0", "RETRYCOUNT", "4", "FORCE", "JUSTID");
    LETTERS(0, "1 replayed\n", "replay", "1700000000001-0");
    lb_value *list = redis_command(c.redis, "XPENDING", STREAM, "mail-w", "-", "+", "10", NULL);
    assert_string_equal(lb_value_str(lb_value_at(lb_value_at(list, 0), 1)), "p7");
    assert_int_equal(lb_value_int(lb_value_at(lb_value_at(list, 0), 3)), 4);
    lb_value_free(list);
    assert_int_equal(dead(), 2);
}

static void a_group_that_is_gone_is_told(void **state)
{
    (void)state;
    DO("XGROUP", "DESTROY", STREAM, "mail-w");
    LETTERS(1, "dead letter 1700000000001-0: nobody listens as mail-w any more", "replay", "--fire-again",
            "1700000000001-0");
    assert_int_equal(dead(), 3);
}

static void all_has_to_be_meant(void **state)
{
    (void)state;
    LETTERS(2, "--all would replay 3 dead letters: add --yes", "replay", "--all");
    LETTERS(2, "--all would purge 2 dead letters: add --yes", "purge", "--all", "-g", "mail-w");
    assert_int_equal(dead(), 3);
    LETTERS(1, "2 replayed, 1 not\n", "replay", "--all", "--yes");
    LISTS("3", "--event", "shop.*");
    LETTERS(0, "1 purged\n", "purge", "--all"); /* one is not asked about */
    LETTERS(0, "0 purged\n", "purge", "--all", "--yes");
    assert_int_equal(dead(), 0);
}

static void all_can_be_less(void **state)
{
    (void)state;
    LETTERS(0, "1 replayed\n", "replay", "--all", "--event", "shop.paid");
    LETTERS(0, "0 purged\n", "purge", "--all", "--event", "shop.paid", "--yes");
    LETTERS(0, "0 purged\n", "purge", "--all", "--group", "nobody");
    DO("XADD", STREAM ":dead", "*", "id", "new");
    LETTERS(0, "2 purged\n", "purge", "--all", "--older-than", "30d", "--yes");
    assert_int_equal(dead(), 1);
}

static void many_go_in_one_run(void **state)
{
    enum { COUNT = 5000 };
    static const char script[] =
        "for i = 1, 5000 do "
        " redis.call('XADD', KEYS[1], i .. '-1', 'id', 'm' .. i, 'api_name', 'shop', 'event_name', 'many', "
        "'version', "
        "  '1', ':n', i) "
        " redis.call('XADD', KEYS[2], '1700000001000-' .. i, 'id', 'm' .. i, 'api_name', 'shop', 'event_name', "
        "  'many', 'version', '1', ':n', i, 'dead_id', i .. '-1', 'dead_group', 'g', 'dead_reason', 'r', "
        "  'dead_consumer', 'p', 'dead_deliveries', '1') "
        "end";
    (void)state;
    DO("FLUSHALL");
    DO("EVAL", script, "2", STREAM, STREAM ":dead");
    DO("XGROUP", "CREATE", STREAM, "g", "$");
    program *p = START(&c, "deadletters", "list");
    assert_int_equal(program_wait(p, DEADLINE_MS), 0);
    int lines = 0;
    for (const char *at = p->text; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, COUNT + 1);
    program_free(p);
    LETTERS(0, "5000 replayed\n", "replay", "--all", "--yes");
    assert_int_equal(pending("g"), COUNT);
    assert_int_equal(dead(), 0);
}

/* ---- What nobody would make (S32) ------------------------------------------------------------------- */

static void foreign_letters_are_shown_and_refused(void **state)
{
    (void)state;
    DO("FLUSHALL");
    DO("XADD", STREAM, "5-0", "id", "e", "api_name", "shop", "event_name", "ordered", "version", "1");
    DO("XGROUP", "CREATE", STREAM, "g", "$");
    DO("XADD", STREAM ":dead", "1-0", "a", "b");
    DO("XADD", STREAM ":dead", "2-0", "a", "\033[31mred", "dead_reason", "\033]0;title\a two\nlines",
       "dead_group", "g", "dead_id", "-");
    DO("XADD", STREAM ":dead", "3-0", "", "", "dead_id", "5", "dead_group", "g", "dead_deliveries", "many");
    DO("XADD", STREAM ":dead", "4-0", "a\xff", "\xfe\xff", "dead_id", "5-0", "dead_group",
       "no\xff"
       "body");
    DO("XADD", STREAM ":dead", "5-0", "dead_id", "9-0", "dead_group", "g", "dead_fields",
       "[1, {\"a\": 2}, \"x\"]");
    DO("XADD", STREAM ":dead", "6-0", "dead_id", "9-0", "dead_group", "g", "dead_fields", "no JSON");
    DO("XADD", STREAM ":dead", "7-0", "dead_", "", "dead_id", "5-0", "dead_group", "");
    DO("SET", "noise.*:stream:dead", "not a stream");
    LETTERS(0, "?]0;title? two?lines", "list");
    LETTERS(0, "    a             \"b\"\n", "show", "1-0");
    LETTERS(0, "    problem       no id\n", "show", "1-0");
    LETTERS(0, "(bytes that are not UTF-8)", "show", "4-0");
    LETTERS(0, "    problem       it had gone from its stream when it was given up\n", "show", "7-0");
    for (int i = 1; i <= 7; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d-0", i);
        LETTERS(0, "\"problem\"", "show", "--json", id);
        LETTERS(1, "0 replayed, 1 not", "replay", "--fire-again", id);
    }
    assert_int_equal(pending("g"), 0);
    assert_int_equal(redis_int(c.redis, "XLEN", STREAM, NULL), 1);
    LETTERS(0, "7 purged", "purge", "--all", "--yes");
}

/* A letter of an event that had too many fields for the script that buried it. */
static void an_event_of_very_many_fields_comes_back(void **state)
{
    static const char script[] =
        "local f = {'id', 'e', 'api_name', 'shop', 'event_name', 'ordered', 'version', '1'} "
        "for i = 1, 2500 do f[#f + 1] = ':a' .. i f[#f + 1] = i .. '' end "
        "redis.call('XADD', KEYS[1], '1-0', 'dead_fields', cjson.encode(f), 'dead_id', '1-0', 'dead_group', "
        "'mail-w')";
    (void)state;
    DO("DEL", STREAM ":dead");
    DO("EVAL", script, "1", STREAM ":dead");
    LETTERS(0, "    a2500         2500\n", "show", "1-0");
    LETTERS(0, "1 replayed", "replay", "1-0");
    assert_int_equal(pending("mail-w"), 1);
}

/* ---- Usage ------------------------------------------------------------------------------------------ */

static void wrong_usage_is_told(void **state)
{
    (void)state;
    LETTERS(2, "expected list, show, replay or purge", "--all");
    LETTERS(2, "expected list, show, replay or purge, got \"lst\"; did you mean \"list\"?", "lst");
    LETTERS(2, "show: expected the ids of dead letters\n", "show");
    LETTERS(2, "replay: expected the ids of dead letters, or --all", "replay");
    LETTERS(2, "purge: give ids or --all, not both", "purge", "--all", "1-0");
    LETTERS(2, "list takes no --all", "list", "--all");
    LETTERS(2, "purge takes no --fire-again", "purge", "--fire-again", "1-0");
    LETTERS(2, "purge takes no --json", "purge", "--json", "1-0");
    LETTERS(2, "show takes no --older-than", "show", "--older-than", "1d", "1-0");
    LETTERS(2, "--older-than is for --all", "purge", "--older-than", "1d", "1-0");
    LETTERS(2, "list: unexpected argument \"1-0\"", "list", "1-0");
    assert_int_equal(dead(), 3);
    RUN(&c, 1, "the transport \"debug\" cannot tell what it has stored", "deadletters", "list", "--url",
        "debug:");
}

/* ---- On a terminal ---------------------------------------------------------------------------------- */

static terminal *on_terminal(const char *const *words)
{
    const char *argv[16] = {LIGHTBUS_PROGRAM, "deadletters"};
    const char *environment[] = {c.url, c.cache, c.home, NULL};
    for (size_t i = 0; words[i]; i++)
        argv[i + 2] = words[i];
    return terminal_open(80, 24, argv, environment, c.folder);
}
#define ON_TERMINAL(...) on_terminal((const char *const[]){__VA_ARGS__, NULL})

static void people_are_asked(void **state)
{
    (void)state;
    terminal *t = ON_TERMINAL("purge", "--all");
    terminal_wait_for(t, "Purge 3 dead letters? (yes/no)", DEADLINE_MS);
    terminal_line(t, "y");
    assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 1);
    terminal_wait_for(t, "Nothing was done.", DEADLINE_MS);
    terminal_close(t);
    assert_int_equal(dead(), 3);
    t = ON_TERMINAL("purge", "--all");
    terminal_wait_for(t, "(yes/no)", DEADLINE_MS);
    terminal_line(t, "yes");
    assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 0);
    terminal_wait_for(t, "3 purged", DEADLINE_MS);
    terminal_close(t);
    assert_int_equal(dead(), 0);
}

static void the_table_fits_a_terminal(void **state)
{
    (void)state;
    bury("1700000000004-0", "4-0", "an_event_of_a_quite_long_name", "4", "a_service-a_listener_of_a_long_name",
         "a reason that goes on and on, beyond the end of the line of a terminal");
    terminal *t = ON_TERMINAL("list");
    assert_int_equal(terminal_wait_exit(t, DEADLINE_MS), 0);
    terminal_wait_for(t, "1700000000004-0  shop.an_…ng_name  a_servic…ng_name  10     a reason tha…",
                      DEADLINE_MS);
    terminal_wait_for(t, "1700000000001-0  shop.ordered      mail-w            10     no address", DEADLINE_MS);
    terminal_close(t);
}

/* ---- A local bus ------------------------------------------------------------------------------------ */

static lb_status reject(const lb_event *event, void *data)
{
    int *handled = data;
    if (lb_event_deliveries(event) == 1 && shared_add(handled, 1) == 1)
        return lb_event_fail(event, LB_REJECT, "not with n = %d", (int)lb_get_int(event, "n"));
    return LB_OK;
}

/* From a listener that rejects to the one that handles it after all; the handler says why (S13). */
static void the_whole_way_on_a_local_bus(void **state)
{
    static const lb_member members[] = {LB_EVENT("ordered(n: int)"), LB_END};
    static const lb_api shop = {.name = "shop", .members = members};
    cli local;
    lb_error error = {0};
    int *handled = shared_memory(sizeof *handled);
    (void)state;
    cli_open_local(&local);
    lb_bus *bus = lb_open(&(lb_options){.url = strchr(local.url, '=') + 1, .service_name = "mail"}, &error);
    assert_non_null(bus);
    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    assert_ok(lb_listen(bus, "shop.ordered", "w", reject, handled, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    assert_ok(lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", 7)), &error), &error);
    wait_until(shared_get(handled) == 1, DEADLINE_MS);
    lb_history *h = NULL;
    const lb_event *letter = NULL;
    for (int64_t until = support_now_ms() + DEADLINE_MS; !letter && support_now_ms() < until; sleep_ms(10)) {
        lb_history_close(h);
        h = lb_history_open(bus, NULL, &(lb_history_options){.flags = LB_HISTORY_DEAD_LETTERS}, &error);
        assert_non_null(h);
        assert_ok(lb_history_next(h, &letter, &error), &error);
    }
    assert_non_null(letter);
    assert_string_equal(lb_event_dead_reason(letter), "not with n = 7");
    RUN(&local, 0, "shop.ordered  mail-w  1      not with n = 7\n", "deadletters", "list");
    RUN(&local, 1, "lightbus deadletters list", "doctor");
    RUN(&local, 0, "1 replayed", "deadletters", "replay", lb_event_dead_id(letter));
    wait_until(shared_get(handled) == 2, DEADLINE_MS);
    lb_history_close(h);
    assert_ok(lb_stop(bus, DEADLINE_MS, &error), &error);
    lb_close(bus);
    RUN(&local, 0, "There are no dead letters.", "deadletters", "list");
    RUN(&local, 0, "{\"name\":\"shop.*:dead\",\"length\":0,", "local", "info");
    cli_close(&local);
}

#define letters_test(f) cmocka_unit_test_setup(f, fill)

int main(void)
{
    const struct CMUnitTest tests[] = {
        letters_test(list_is_a_table),
        letters_test(list_chooses),
        letters_test(show_tells_everything),
        letters_test(unknown_ids_are_named),
        letters_test(an_id_in_two_streams_is_not_enough),
        letters_test(replay_gives_one_back_to_its_group),
        letters_test(an_event_that_is_gone_is_fired_only_if_asked),
        letters_test(an_event_in_hand_stays_there),
        letters_test(a_group_that_is_gone_is_told),
        letters_test(all_has_to_be_meant),
        letters_test(all_can_be_less),
        letters_test(many_go_in_one_run),
        letters_test(foreign_letters_are_shown_and_refused),
        letters_test(an_event_of_very_many_fields_comes_back),
        letters_test(wrong_usage_is_told),
        letters_test(people_are_asked),
        letters_test(the_table_fits_a_terminal),
        cmocka_unit_test(the_whole_way_on_a_local_bus),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
