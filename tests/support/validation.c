/* What tests of the validator share. See validation.h. */
#include "validation.h"

#include <string.h>

arena memory;
validator_formats formats_checked = FORMATS_LIGHTBUS;

int empty_memory(void **state)
{
    (void)state;
    arena_free(&memory);
    return 0;
}

const lb_value *json(const char *text)
{
    const lb_value *value = NULL;
    lb_error error = {0};

    if (json_parse(&memory, text, strlen(text), &value, &error) != LB_OK)
        fail_msg("%.100s: %s", text, error.message);
    return value;
}

const validator *compiled(const char *schema)
{
    const validator *v = NULL;
    lb_error error = {0};

    if (validator_compile_as(&memory, json(schema), formats_checked, &v, &error) != LB_OK)
        fail_msg("%.100s: %s", schema, error.message);
    return v;
}

void assert_accepts(const char *schema, const char *value)
{
    violation why;

    if (!validator_check(compiled(schema), json(value), &why))
        fail_msg("%s refuses %s: %s: %s", schema, value, why.path, why.reason);
}

void assert_refuses(const char *schema, const char *value, const char *path, const char *reason)
{
    violation why = {0};
    const validator *v = compiled(schema);

    if (validator_check(v, json(value), &why))
        fail_msg("%s accepts %s", schema, value);
    assert_string_equal(why.path, path);
    assert_string_equal(why.reason, reason);
    assert_false(validator_check(v, json(value), NULL));
}

void assert_malformed(const char *schema, const char *message)
{
    const validator *v = NULL;
    lb_error error = {0};

    assert_int_equal(validator_compile(&memory, json(schema), &v, &error), LB_MALFORMED);
    assert_string_equal(error.message, message);
}
