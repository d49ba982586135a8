/* Answers for differential.js: reads lines of {"schema": S, "data": [values]}, writes a line of "1" (accepted)
 * and "0" (refused) for each value, or "malformed: " and why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "schema/validator.h"

static void answer(const char *text, size_t size)
{
    arena memory = {0};
    const lb_value *pair = NULL;
    const validator *v = NULL;
    lb_error error = {0};
    lb_status status = json_parse(&memory, text, size, &pair, &error);

    if (status == LB_OK)
        status = validator_compile_as(&memory, lb_value_get(pair, "schema"), FORMATS_STRICT, &v, &error);
    if (status != LB_OK) {
        printf("malformed: %s\n", error.message);
    } else {
        for (lb_value_iterator it = lb_value_iterate(lb_value_get(pair, "data")); lb_value_next(&it);)
            putchar(validator_check(v, it.value, NULL) ? '1' : '0');
        putchar('\n');
    }
    fflush(stdout);
    arena_free(&memory);
}

int main(void)
{
    char *text = NULL;
    size_t capacity = 0;
    ssize_t size;

    while ((size = getline(&text, &capacity, stdin)) > 0)
        answer(text, (size_t)size);
    free(text);
    return 0;
}
