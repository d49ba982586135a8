/* Completion in the shell: what could come next, and from where; and what dotted names mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "cli/shell.h"

static lb_value *schemas;

static int make_schemas(void **state)
{
    static const char json[] =
        "{\"auth\": {\"rpcs\": {"
        "  \"check\": {\"parameters\": {\"properties\": {\"username\": {}, \"user_id\": {}, \"mode\":"
        "    {\"enum\": [\"fast\", \"it's\", \"full\", 7, true, null]}}}},"
        "  \"ping\": {\"parameters\": {\"properties\": {}}},"
        "  \"fire\": {\"parameters\": {\"properties\": {\"at\": {}}}}},"
        " \"events\": {\"left\": {\"parameters\": {\"properties\": {\"loud\": {\"type\": [\"boolean\", "
        "\"null\"]},"
        "    \"how\": {\"anyOf\": [{\"const\": \"slow\"}, {\"type\": \"boolean\"}, {\"type\": 3}]}}}}}},"
        " \"shop.orders\": {\"rpcs\": {\"place\": {}}, \"events\": {}},"
        " \"shop.stock\": {\"rpcs\": {}, \"events\": {\"low\": {\"parameters\": {\"properties\": {"
        "   \"item\": {\"enum\": [\"\\u001b[31mred\", \"two\\nlines\", \"\\u007f\", \"bolt\"]},"
        "   \"x=1) #\": {}, \"\\u001b]0;x\\u0007\": {}, \"\": {}, \"tw\\no\": {}}}}}}, \"odd\": 7}";
    (void)state;
    return lb_value_parse(json, sizeof json - 1, &schemas, NULL) == LB_OK ? 0 : -1;
}

static int free_schemas(void **state)
{
    (void)state;
    lb_value_free(schemas);
    return 0;
}

static const lb_value *get(const void *data, lb_slice name)
{
    (void)data;
    return slice_is(name, "user") || slice_is(name, "_") ? schemas : NULL;
}

static const char *next(const void *data, const char *name)
{
    (void)data;
    return !name ? "user" : strcmp(name, "user") == 0 ? "_" : NULL;
}

static const shell_scope scope = {get, next, NULL};

/* Completing the text gives these, with spaces between, from that place on. */
static void completes(const char *text, size_t from, const char *candidates)
{
    arena memory = {0};
    char got[1024] = "", *exact = malloc(strlen(text) + 1);
    assert_non_null(exact);
    strcpy(exact, text);
    shell_completion c = shell_complete(&memory, schemas, &scope, exact, strlen(text));
    for (size_t i = 0; i < c.count; i++) {
        strcat(got, i ? " " : "");
        strcat(got, c.texts[i]);
    }
    if (strcmp(got, candidates) != 0 || (c.count && c.from != from))
        fail_msg("%s: \"%s\" from %zu", text, got, c.from);
    arena_free(&memory);
    free(exact);
}

static void names_part_by_part(void **state)
{
    (void)state;
    completes("", 0, "apis auth. exit help quit shop. trace user");
    completes("au", 0, "auth.");
    completes("auth.", 0, "auth.check( auth.fire( auth.left. auth.ping()");
    completes("auth.c", 0, "auth.check(");
    completes("auth.left.", 0, "auth.left.fire( auth.left.listen()");
    completes("shop.", 0, "shop.orders. shop.stock.");
    completes("shop.orders.", 0, "shop.orders.place()");
    completes("  au", 2, "auth.");
    completes("bus.au", 4, "auth.");
    completes("bus.", 4, "auth. shop.");
    completes("nothing.", 0, "");
    completes("_", 0, "_");
    completes("Tr", 0, "True");
    completes("x = au", 4, "auth.");
    completes("x = us", 4, "user");
    completes("x =", 3, "auth. shop. user");
    completes("x = auth.", 4, "auth.check( auth.fire( auth.left. auth.ping()");
}

static void nothing_after_the_end(void **state)
{
    (void)state;
    completes("auth.ping() ", 0, "");
    completes("user ", 0, "");
    completes("auth.ping())", 0, "");
    completes("# au", 0, "");
    completes("exit ", 0, "");
    completes("'au", 0, "");
    completes("x = 'au", 0, "");
}

static void help_names(void **state)
{
    (void)state;
    completes("help ", 5,
              "auth auth.check auth.fire auth.left auth.ping odd shop.orders shop.orders.place shop.stock "
              "shop.stock.low");
    completes("help auth.l", 5, "auth.left");
    completes("help bus.auth.l", 9, "auth.left");
}

static void parameters(void **state)
{
    (void)state;
    completes("auth.check(", 11, "mode= user_id= username=");
    completes("auth.check(us", 11, "user_id= username=");
    completes("auth.check (\n us", 14, "user_id= username=");
    completes("x = bus.auth.check(m", 19, "mode=");
    completes("auth.check(username=1, ", 23, "mode= user_id=");
    completes("auth.check(user_id = [1, 2], u", 29, "username=");
    completes("auth.check(a=')', m", 18, "mode=");
    completes("auth.left.fire(", 15, "how= loud=");
    completes("auth.fire(", 10, "at="); /* an RPC of that name */
    completes("auth.nothing(", 0, "");
    completes("nothing(", 0, "");
    completes("auth.left.listen(", 0, "");
    completes("auth.check(1 ", 0, "");
}

static void values(void **state)
{
    (void)state;
    completes("auth.check(mode=", 16, "\"fast\" \"full\" 7 None True user");
    completes("auth.check(mode=\"f", 16, "\"fast\" \"full\"");
    completes("auth.check(mode='fu", 16, "'full'");
    completes("auth.check(mode = f", 18, "");
    completes("auth.check(username=u", 20, "user");
    completes("auth.check(username='u", 0, "");
    completes("auth.check(username=1", 0, "");
    completes("auth.left.fire(loud=", 20, "False None True user");
    completes("auth.left.fire(loud=F", 20, "False");
    completes("auth.left.fire(how=", 19, "\"slow\" False True user");
    completes("auth.left.fire(how=[", 20, "user");
    completes("auth.left.fire(how=[u", 20, "user");
    completes("auth.left.fire(how={'a': [N", 26, "None");
    completes("auth.left.fire(how=\"slow\" ", 0, "");
}

/* S32: what somebody on the bus calls his parameters is not typed for us. */
static void what_cannot_be_typed_is_not_offered(void **state)
{
    (void)state;
    completes("shop.stock.low.fire(", 20, "item=");
    completes("shop.stock.low.fire(item=", 25, "\"bolt\" user");
}

static void brackets_in_any_number(void **state)
{
    (void)state;
    char text[300];
    memset(text, '(', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    completes(text, 0, "");
}

/* ---- What names mean -------------------------------------------------------------------------------- */

static void means(const char *path, shell_verb verb, const char *name)
{
    arena memory = {0};
    shell_target t = {0};
    lb_error error = {0};
    if (shell_resolve(&memory, schemas, path, &t, &error) != LB_OK)
        fail_msg("%s: %s", path, error.message);
    assert_int_equal(t.verb, verb);
    assert_string_equal(t.name, name);
    arena_free(&memory);
}

static void refused(const char *path, lb_status status, const char *message)
{
    arena memory = {0};
    shell_target t;
    lb_error error = {0};
    assert_int_equal(shell_resolve(&memory, schemas, path, &t, &error), status);
    assert_string_equal(error.message, message);
    arena_free(&memory);
}

static void names_are_resolved(void **state)
{
    (void)state;
    means("auth.check", SHELL_CALL_RPC, "auth.check");
    means("bus.auth.check", SHELL_CALL_RPC, "auth.check");
    means("shop.orders.place", SHELL_CALL_RPC, "shop.orders.place");
    means("auth.fire", SHELL_CALL_RPC, "auth.fire");
    means("auth.left.fire", SHELL_FIRE, "auth.left");
    means("bus.auth.left.listen", SHELL_LISTEN, "auth.left");
    means("auth.listen", SHELL_LISTEN, "auth.*");
    means("shop.stock.low.fire", SHELL_FIRE, "shop.stock.low");
    refused("auth.left", LB_USAGE,
            "auth.left is an event: fire it with auth.left.fire(...), hear it with auth.left.listen()");
    refused("auth.check.fire", LB_USAGE, "auth.check is an RPC, not an event: call it with auth.check(...)");
    refused("auth.chek", LB_UNKNOWN_MEMBER,
            "the API \"auth\" has no procedure \"chek\"; did you mean \"check\"?");
    refused("auth.lift.fire", LB_UNKNOWN_MEMBER,
            "the API \"auth\" has no event \"lift\"; did you mean \"left\"?");
    refused("ath.check", LB_UNKNOWN_API, "no API \"ath\" is on the bus; did you mean \"auth\"?");
    refused("auth", LB_USAGE, "expected API.PROCEDURE(...), API.EVENT.fire(...) or .listen()");
    refused("shop.fire", LB_UNKNOWN_API,
            "no API \"shop\" is on the bus; there are: auth, shop.orders, shop.stock, odd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_part_by_part),
        cmocka_unit_test(nothing_after_the_end),
        cmocka_unit_test(help_names),
        cmocka_unit_test(parameters),
        cmocka_unit_test(values),
        cmocka_unit_test(what_cannot_be_typed_is_not_offered),
        cmocka_unit_test(brackets_in_any_number),
        cmocka_unit_test(names_are_resolved),
    };
    return cmocka_run_group_tests(tests, make_schemas, free_schemas);
}
