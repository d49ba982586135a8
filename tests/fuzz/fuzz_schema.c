/* Fuzzes what comes from the bus: the first line is the schema of an API, the rest a message for each of its
 * members. Nothing may crash, run away or contradict itself: a default that is filled in fits, a message that
 * was accepted is accepted again with its defaults, and a refusal has a reason of one line. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/json.h"
#include "../../src/schema/schema.h"

#define MOST_ARGUMENTS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_reason(const lb_error *error)
{
    require(error->message[0] != '\0' && !strchr(error->message, '\n'));
}

static void check_member(const member_schema *m, const lb_value *message, arena *memory)
{
    lb_kwarg list[MOST_ARGUMENTS];
    const lb_kwarg *kwargs = list;
    size_t count = 0;
    buffer text = {0};
    lb_error error = {0};

    member_print(&text, m);
    require(text.size > m->name.size && !text.failed);
    buffer_free(&text);
    for (lb_value_iterator it = lb_value_iterate(message);
         it.name && lb_value_next(&it) && count < MOST_ARGUMENTS;)
        list[count++] = (lb_kwarg){.name = {it.name, it.name_size}, .value = it.value};
    if (arguments_accept(slice_of("fuzz"), m, MARSHAL_VALIDATE | MARSHAL_CAST, memory, &kwargs, &count,
                         &error) == LB_OK)
        require(arguments_accept(slice_of("fuzz"), m, MARSHAL_VALIDATE | MARSHAL_CAST, memory, &kwargs, &count,
                                 &error) == LB_OK);
    else
        require_reason(&error);
    error = (lb_error){0};
    if (result_accept(slice_of("fuzz"), m, message, &error) != LB_OK)
        require_reason(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = size ? memchr(data, '\n', size) : NULL;
    size_t first = end ? (size_t)(end - text) : size;
    arena memory = {0};
    const lb_value *message = NULL;
    api_schema *schema = NULL;
    lb_error error = {0};

    if (end)
        json_parse(&memory, end + 1, size - first - 1, &message, NULL);
    if (api_schema_from_json(slice_of("fuzz"), (lb_slice){text, first}, &schema, &error) == LB_OK) {
        for (size_t i = 0; i < api_schema_count(schema); i++)
            check_member(api_schema_at(schema, i), message, &memory);
    } else {
        require_reason(&error);
    }
    api_schema_unref(schema);
    arena_free(&memory);
    return 0;
}
