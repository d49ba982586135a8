#include "vector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base64.h"
#include "support.h"

/* ---- Commands */

bool command_is(const command *c, const char *name) { return argument_is(c, 0, name); }

bool argument_is(const command *c, size_t index, const char *word)
{
    return strcasecmp(argument_text(c, index), word) == 0;
}

long long argument_int(const command *c, size_t index) { return strtoll(argument_text(c, index), NULL, 10); }

const char *argument_text(const command *c, size_t index)
{
    return index < c->count ? c->arguments[index].data : "";
}

bool text_starts(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

bool text_ends(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);

    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* An argument is a string, or {"b64": ..} when it is not UTF-8. */
static lb_slice read_argument(arena *memory, const lb_value *value)
{
    const lb_value *encoded = lb_value_get(value, "b64");
    lb_slice slice;
    buffer bytes = {0};

    if (!encoded)
        return (lb_slice){arena_copy(memory, lb_value_str(value), lb_value_str_size(value)),
                          lb_value_str_size(value)};
    if (!base64_read(&bytes, lb_value_str(encoded), lb_value_str_size(encoded)))
        fail_msg("not base64: %s", lb_value_str(encoded));
    slice = (lb_slice){arena_copy(memory, bytes.data, bytes.size), bytes.size};
    buffer_free(&bytes);
    return slice;
}

static void add_command(commands *list, const lb_value *entry)
{
    const lb_value *arguments = lb_value_get(entry, "args"), *role = lb_value_get(entry, "role");
    lb_value_iterator it = lb_value_iterate(arguments);
    lb_slice *slices = arena_alloc(&list->memory, lb_value_count(arguments) * sizeof(lb_slice));

    while (lb_value_next(&it))
        slices[it.index] = read_argument(&list->memory, it.value);
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 64;
        list->list = realloc(list->list, list->capacity * sizeof(command));
    }
    list->list[list->count++] = (command){
        .number = (int)lb_value_int(lb_value_get(entry, "seq")),
        .role = role ? lb_value_str(role) : "",
        .connection = (int)lb_value_int(lb_value_get(entry, "conn")),
        .write = (int)lb_value_int(lb_value_get(entry, "write")),
        .count = lb_value_count(arguments),
        .arguments = slices,
        .reply = lb_value_get(entry, "reply"),
    };
}

void commands_free(commands *list)
{
    free(list->list);
    arena_free(&list->memory);
    *list = (commands){0};
}

/* ---- A recording */

static char *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text;
    long end = 0;

    if (!file || fseek(file, 0, SEEK_END) < 0 || (end = ftell(file)) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    rewind(file);
    text = malloc((size_t)end + 1);
    *size = fread(text, 1, (size_t)end, file);
    fclose(file);
    return text;
}

vector *vector_load(const char *directory, const char *name)
{
    vector *v = calloc(1, sizeof(*v));
    char path[512];
    size_t size;
    lb_error error = {0};
    lb_value_iterator it;
    char *text;

    snprintf(v->name, sizeof(v->name), "%s", name);
    snprintf(path, sizeof(path), "%s/%s.json", directory, name);
    text = read_whole(path, &size);
    if (lb_value_parse(text, size, &v->document, &error) != LB_OK)
        fail_msg("%s: %s", path, error.message);
    free(text);
    v->title = lb_value_str(lb_value_get(v->document, "title"));
    it = lb_value_iterate(lb_value_get(v->document, "commands"));
    while (lb_value_next(&it))
        if (lb_value_get(it.value, "args"))
            add_command(&v->commands, it.value);
    if (!v->title)
        fail_msg("%s is no recording", path);
    return v;
}

void vector_free(vector *v)
{
    if (!v)
        return;
    commands_free(&v->commands);
    lb_value_free(v->document);
    free(v);
}

const lb_value *vector_role(const vector *v, const char *role)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(v->document, "python"));

    while (lb_value_next(&it)) {
        const char *kind = lb_value_str(lb_value_get(it.value, "kind"));
        if (strcmp(lb_value_str(lb_value_get(it.value, "role")), role) == 0 && kind &&
            !text_starts(kind, "raw"))
            return it.value;
    }
    return NULL;
}

const lb_value *vector_option(const vector *v, const char *role, const char *section, const char *name)
{
    const lb_value *config = lb_value_get(lb_value_get(v->document, "config"), role);
    const lb_value *api = lb_value_get(lb_value_get(config, "apis"), "default");

    if (strcmp(section, "schema") == 0)
        return lb_value_get(lb_value_get(lb_value_get(config, "bus"), "schema"), name);
    if (*section)
        api = lb_value_get(lb_value_get(api, section), "redis");
    return lb_value_get(api, name);
}

/* ---- Notes of our own */

/* A line is parsed into the list's arena: replies stay there. */
static void read_note(commands *list, const char *line, size_t size)
{
    const lb_value *entry;
    lb_error error = {0};

    if (json_parse(&list->memory, line, size, &entry, &error) != LB_OK)
        fail_msg("the recorder's notes: %s", error.message);
    if (lb_value_get(entry, "args")) {
        add_command(list, entry);
        return;
    }
    for (size_t i = list->count; i-- > 0;)
        if (list->list[i].number == lb_value_int(lb_value_get(entry, "seq"))) {
            list->list[i].reply = lb_value_get(entry, "reply");
            return;
        }
}

void notes_read(commands *list, const recorder *r, size_t *position)
{
    size_t size;
    const char *text = recorder_notes(r, &size);

    while (*position < size) {
        const char *line = text + *position, *end = memchr(line, '\n', size - *position);
        read_note(list, line, (size_t)(end - line));
        *position += (size_t)(end - line) + 1;
    }
}
