/* Conditions on the content of events: lightbus inspect --json-path. */
#include "cli/json_path.h"

#include "base/json.h"
#include "support.h"

#include <string.h>

/* The arguments of an event, from one JSON object. */
static bool matches(const char *condition, const char *json)
{
    arena memory = {0};
    lb_arg args[16];
    const json_path *path = NULL;
    lb_value *all = NULL;
    lb_error error = {0};
    size_t count = 0;
    assert_ok(lb_value_parse(json, strlen(json), &all, &error), &error);
    assert_ok(json_path_parse(&memory, condition, &path, &error), &error);
    lb_value_iterator it = lb_value_iterate(all);
    while (lb_value_next(&it))
        args[count++] = lb_arg_make(it.name, lb_datum_value(it.value));
    args[count] = (lb_arg){NULL, {LB_DATUM_NULL, {0}}};
    bool result = json_path_matches(path, args);
    arena_free(&memory);
    lb_value_free(all);
    return result;
}

static void texts(void **state)
{
    (void)state;
    const char *json =
        "{\"address\": {\"city\": \"London\"}, \"when\": \"2024-05-01T10:00:00\", \"n\": \"42\"}";
    assert_true(matches("address.city=London", json));
    assert_true(matches("address.city = \"London\"", json));
    assert_true(matches("$.address.city==London", json));
    assert_false(matches("address.city=Paris", json));
    assert_false(matches("address.city=Londo", json));
    assert_false(matches("address.city=Londonx", json));
    assert_true(matches("address.city!=Paris", json));
    assert_true(matches("when>=2024-05-01", json));
    assert_true(matches("when<2024-06", json));
    assert_false(matches("when<2024-05-01", json));
    assert_true(matches("n=42", json));
    assert_true(matches("n=\"42\"", json));
}

static void numbers(void **state)
{
    (void)state;
    const char *json = "{\"n\": 42, \"f\": 1.5, \"big\": 18446744073709551615, \"small\": -9007199254740993}";
    assert_true(matches("n=42", json));
    assert_true(matches("n=42.0", json));
    assert_false(matches("n=\"42\"", json)); /* a text */
    assert_true(matches("n<=42", json));
    assert_true(matches("n>=42", json));
    assert_false(matches("n<42", json));
    assert_false(matches("n>42", json));
    assert_true(matches("n>9", json)); /* not as texts */
    assert_true(matches("n<100", json));
    assert_true(matches("n!=43", json));
    assert_false(matches("n!=42", json));
    assert_true(matches("f>1.4999", json));
    assert_true(matches("f=15e-1", json));
    assert_true(matches("big=18446744073709551615", json));
    assert_true(matches("big>18446744073709551614", json));
    assert_true(matches("small<-9007199254740992", json)); /* a double cannot tell these two */
    assert_false(matches("n<word", json));
    assert_true(matches("n!=word", json));
}

static void other_types(void **state)
{
    (void)state;
    const char *json = "{\"yes\": true, \"none\": null, \"list\": [1, 2], \"dict\": {\"a\": 1}}";
    assert_true(matches("yes=true", json));
    assert_false(matches("yes=false", json));
    assert_true(matches("yes!=false", json));
    assert_false(matches("yes>false", json));
    assert_false(matches("yes=1", json));
    assert_true(matches("none=null", json));
    assert_false(matches("none!=null", json));
    assert_true(matches("list=[1, 2]", json));
    assert_true(matches("dict={\"a\":1.0}", json));
    assert_false(matches("dict=x", json));
}

static void steps(void **state)
{
    (void)state;
    const char *json = "{\"items\": [{\"price\": 5}, {\"price\": 20, \"tags\": [\"a\", \"b\"]}], \"a.b\": 1, "
                       "\"deep\": {\"deeper\": [{\"price\": 99}]}}";
    assert_true(matches("items[0].price=5", json));
    assert_false(matches("items[1].price=5", json));
    assert_true(matches("items[*].price>=20", json));
    assert_true(matches("items.*.price>=20", json));
    assert_false(matches("items[*].price>20", json));
    assert_true(matches("items[1].tags[*]=b", json));
    assert_true(matches("$..price=99", json));
    assert_true(matches("..price=20", json));
    assert_false(matches("..price=21", json));
    assert_true(matches("deep..price=99", json));
    assert_true(matches("$[\"a.b\"]=1", json));
    assert_true(matches("['a.b']=1", json));
    assert_true(matches("*=1", json));
    assert_false(matches("items[7].price=5", json));
    assert_false(matches("items[99999999999999999999999].price!=5", json));
    assert_false(matches("items[0].price.more=5", json));
    assert_false(matches("items.0=5", json));
    assert_false(matches("nobody!=5", json)); /* what is not there is not different */
}

static void refused(const char *condition, const char *message)
{
    arena memory = {0};
    const json_path *path = NULL;
    lb_error error = {0};
    assert_int_equal(json_path_parse(&memory, condition, &path, &error), LB_USAGE);
    assert_null(path);
    if (!strstr(error.message, message))
        fail_msg("expected \"%s\" in: %s", message, error.message);
    arena_free(&memory);
}

static void malformed(void **state)
{
    (void)state;
    refused("", "expected a name at column 1");
    refused("=5", "expected a name at column 1");
    refused("$=5", "expected a name after \"$\"");
    refused("name", "expected one of = != < <= > >= at column 5");
    refused("name ~ 5", "at column 6");
    refused("name!5", "at column 5");
    refused("a.=5", "expected a name at column 3");
    refused("a..=5", "expected a name at column 4");
    refused("a[=5", "expected a number, * or a name in quotes at column 3");
    refused("a[1=5", "expected \"]\" at column 4");
    refused("a['x=5", "expected a name that ends with the quote");
    refused("a b=5", "at column 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts), cmocka_unit_test(numbers),   cmocka_unit_test(other_types),
        cmocka_unit_test(steps), cmocka_unit_test(malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
