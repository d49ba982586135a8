/* Fuzzes the comparison of two versions of an API, each on a line of its own: it ends, each line that it
 * reports is one line, and a version is compatible with itself. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/json.h"
#include "../../src/schema/compatibility.h"
#include "../../src/schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_line(void *data, bool breaks, const char *text)
{
    size_t *lines = data;

    *lines += breaks;
    require(text[0] != '\0' && !strchr(text, '\n'));
}

/* As the bus does: only what can be compiled is compared. */
static const lb_value *read_schema(arena *memory, const char *text, size_t size)
{
    const lb_value *value = NULL;
    api_schema *schema = NULL;

    if (api_schema_from_json(slice_of("fuzz"), (lb_slice){text, size}, &schema, NULL) == LB_OK)
        json_parse(memory, text, size, &value, NULL);
    api_schema_unref(schema);
    return value;
}

static size_t compare(const lb_value *old, const lb_value *fresh)
{
    size_t lines = 0;
    size_t breaks = compatibility_check(slice_of("fuzz"), old, fresh, check_line, &lines);

    require((lines > 0) == (breaks > 0));
    return breaks;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = size ? memchr(data, '\n', size) : NULL;
    size_t first = end ? (size_t)(end - text) : size;
    arena memory = {0};
    const lb_value *old = read_schema(&memory, text, first);
    const lb_value *fresh = end ? read_schema(&memory, end + 1, size - first - 1) : NULL;

    if (old && fresh) {
        compare(old, fresh);
        compare(fresh, old);
    }
    if (old)
        require(compare(old, old) == 0);
    arena_free(&memory);
    return 0;
}
