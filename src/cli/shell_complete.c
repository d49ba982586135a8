/* Completion: from the text before the cursor to what could come next, by the schemas of the bus. The text is
 * unfinished by nature, so it is walked, not parsed: brackets, quotes and the last comma tell where one is. */
#include "shell.h"

#include <stdlib.h>
#include <string.h>

#include "../base/json.h"
#include "arguments.h"

enum { MOST_BRACKETS = 64, MOST_CANDIDATES = 10000 };

typedef struct bracket {
    size_t at;       /* of "(", "[" or "{" */
    size_t argument; /* behind it, or behind the last comma in it */
} bracket;

typedef struct completer {
    arena *memory;
    const lb_value *schemas;
    const shell_scope *scope;
    const char *text;
    size_t size;
    bracket open[MOST_BRACKETS];
    size_t depth;
    size_t string; /* where the string begins that is open, or SIZE_MAX */
    size_t word;   /* where the last dotted name begins, which may be empty */
    shell_completion found;
    size_t capacity;
} completer;

/* ---- Where the cursor is ---------------------------------------------------------------------------- */

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool is_path_byte(char c) { return shell_is_word_byte(c) || c == '.'; }

static size_t back_over_space(const completer *c, size_t at)
{
    while (at && is_space(c->text[at - 1]))
        at--;
    return at;
}

static size_t back_over_path(const completer *c, size_t at)
{
    while (at && is_path_byte(c->text[at - 1]))
        at--;
    return at;
}

static size_t over_space(const completer *c, size_t at)
{
    while (at < c->size && is_space(c->text[at]))
        at++;
    return at;
}

/* False where nothing can be said: in a comment, or behind brackets that do not match. */
static bool walk(completer *c)
{
    c->string = SIZE_MAX;
    for (size_t at = 0; at < c->size; at++) {
        char byte = c->text[at];
        if (byte == '#' || byte == '\0')
            return false;
        if (shell_is_quote(byte)) {
            size_t end = shell_string_end(c->text, c->size, at);
            if (end > c->size) {
                c->string = at;
                return true;
            }
            at = end - 1;
        } else if (strchr("([{", byte)) {
            if (c->depth == MOST_BRACKETS)
                return false;
            c->open[c->depth++] = (bracket){at, at + 1};
        } else if (strchr(")]}", byte)) {
            if (!c->depth--)
                return false;
        } else if (byte == ',' && c->depth) {
            c->open[c->depth - 1].argument = at + 1;
        }
    }
    c->word = back_over_path(c, c->size);
    return true;
}

/* The dotted name before the innermost bracket, if that is the bracket of a call. */
static lb_slice called_path(const completer *c)
{
    if (!c->depth || c->text[c->open[c->depth - 1].at] != '(')
        return (lb_slice){0};
    size_t end = back_over_space(c, c->open[c->depth - 1].at), start = back_over_path(c, end);
    return (lb_slice){c->text + start, end - start};
}

/* ---- Candidates ------------------------------------------------------------------------------------- */

static bool begins_with(lb_slice text, lb_slice start)
{
    return text.size >= start.size && (!start.size || memcmp(text.data, start.data, start.size) == 0);
}

static lb_slice typed(const completer *c)
{
    return (lb_slice){c->text + c->found.from, c->size - c->found.from};
}

/* Adds a text if it goes on from what was typed. */
static void offer(completer *c, lb_slice text)
{
    if (!begins_with(text, typed(c)) || text.size == 0 || c->found.count == MOST_CANDIDATES)
        return;
    if (c->found.count == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 32;
        const char **texts = arena_alloc(c->memory, capacity * sizeof *texts);
        if (!texts)
            return;
        if (c->found.count)
            memcpy(texts, c->found.texts, c->found.count * sizeof *texts);
        c->found.texts = texts;
        c->capacity = capacity;
    }
    char *copy = arena_copy(c->memory, text.data, text.size);
    if (copy)
        c->found.texts[c->found.count++] = copy;
}

static void offer_joined(completer *c, const char *one, const char *two, const char *three)
{
    char *text = arena_printf(c->memory, "%s%s%s", one, two, three);
    if (text)
        offer(c, slice_of(text));
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void sort(shell_completion *found)
{
    size_t kept = 0;
    if (found->count)
        qsort(found->texts, found->count, sizeof *found->texts, by_text);
    for (size_t i = 0; i < found->count; i++)
        if (!kept || strcmp(found->texts[kept - 1], found->texts[i]) != 0)
            found->texts[kept++] = found->texts[i];
    found->count = kept;
}

static void offer_variables(completer *c)
{
    for (const char *name = NULL; (name = c->scope->next(c->scope->data, name));)
        if (c->size > c->found.from || strcmp(name, "_") != 0)
            offer(c, slice_of(name));
}

static void offer_literals(completer *c)
{
    static const char *const words[] = {"True", "False", "None"};
    for (int i = 0; c->size > c->found.from && i < 3; i++)
        offer(c, slice_of(words[i]));
}

/* ---- Names of the bus ------------------------------------------------------------------------------- */

/* Part of a name at a time: what was typed and the rest of its part, with the dot. */
static void offer_part(completer *c, const char *api, const char *member, const char *end)
{
    char *name = arena_printf(c->memory, "%s.%s%s", api, member, end);
    size_t from = typed(c).size;
    if (!name || !begins_with(slice_of(name), typed(c)))
        return;
    size_t size = from + strcspn(name + from, ".");
    offer(c, (lb_slice){name, name[size] ? size + 1 : size});
}

static void offer_calls(completer *c)
{
    lb_value_iterator api = lb_value_iterate(c->schemas);
    while (lb_value_next(&api)) {
        lb_value_iterator rpc = lb_value_iterate(lb_value_get(api.value, "rpcs"));
        lb_value_iterator event = lb_value_iterate(lb_value_get(api.value, "events"));
        while (lb_value_next(&rpc)) {
            const lb_value *parameters = lb_value_get(rpc.value, "parameters");
            size_t count = lb_value_count(lb_value_get(parameters, "properties"));
            offer_part(c, api.name, rpc.name, count ? "(" : "()");
        }
        while (lb_value_next(&event)) {
            offer_part(c, api.name, event.name, ".fire(");
            offer_part(c, api.name, event.name, ".listen()");
        }
    }
}

static void offer_names(completer *c)
{
    static const char *const halves[] = {"rpcs", "events"};
    lb_value_iterator api = lb_value_iterate(c->schemas);
    while (lb_value_next(&api)) {
        offer(c, slice_of(api.name));
        for (int i = 0; i < 2; i++)
            for (lb_value_iterator it = lb_value_iterate(lb_value_get(api.value, halves[i]));
                 lb_value_next(&it);)
                offer_joined(c, api.name, ".", it.name);
    }
}

/* "bus." may stand before every name. */
static void skip_bus(completer *c)
{
    char *path = arena_copy(c->memory, typed(c).data, typed(c).size);
    if (path && shell_bare_path(c->schemas, path) != path)
        c->found.from += 4;
}

/* ---- Arguments -------------------------------------------------------------------------------------- */

/* The schema of the parameters of what is being called; NULL: it is not known. */
static const lb_value *called_parameters(const completer *c)
{
    shell_target t;
    target split;
    const lb_value *member = NULL;
    lb_slice path = called_path(c);
    char *name = path.size ? arena_copy(c->memory, path.data, path.size) : NULL;
    if (!name || shell_resolve(c->memory, c->schemas, name, &t, NULL) != LB_OK || t.verb == SHELL_LISTEN ||
        target_split(c->memory, t.name, &split, NULL) != LB_OK)
        return NULL;
    const char *half = t.verb == SHELL_FIRE ? "events" : "rpcs";
    if (target_find(c->schemas, &split, half, &member, NULL) != LB_OK)
        return NULL;
    return lb_value_get(member, "parameters");
}

/* An argument of that name stands between the bracket of the call and the cursor. */
static bool is_given(const completer *c, lb_slice name)
{
    const bracket *call = &c->open[c->depth - 1];
    for (size_t at = call->at + 1; at + name.size < call->argument; at++) {
        size_t end = over_space(c, at + name.size);
        if (begins_with((lb_slice){c->text + at, c->size - at}, name) && !shell_is_word_byte(c->text[at - 1]) &&
            end < c->size && c->text[end] == '=')
            return true;
    }
    return false;
}

/* A name from the bus may be anything; what cannot be typed is not offered. */
static bool is_word(lb_slice name)
{
    for (size_t i = 0; i < name.size; i++)
        if (!shell_is_word_byte(name.data[i]))
            return false;
    return name.size > 0;
}

static void offer_parameters(completer *c, const lb_value *parameters)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(parameters, "properties"));
    while (lb_value_next(&it))
        if (is_word((lb_slice){it.name, it.name_size}) && !is_given(c, (lb_slice){it.name, it.name_size}))
            offer_joined(c, it.name, "=", "");
}

/* It stands in quotes as it is. */
static bool is_plain(lb_slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] < ' ' || strchr("\"'\\\177", text.data[i]))
            return false;
    return true;
}

/* A value that a schema names, as it would be typed; strings in the quotes that have been begun. */
static void offer_value(completer *c, const lb_value *value)
{
    const char *text = lb_value_str(value), *quote = "\"";
    if (lb_value_type_of(value) == LB_TYPE_NULL) {
        offer(c, slice_of("None"));
    } else if (lb_value_type_of(value) == LB_TYPE_BOOL) {
        offer(c, slice_of(lb_value_bool(value) ? "True" : "False"));
    } else if (text) {
        if (c->string != SIZE_MAX && c->text[c->string] == '\'')
            quote = "'";
        if (is_plain((lb_slice){text, lb_value_str_size(value)}))
            offer_joined(c, quote, text, quote);
    } else {
        char *json = lb_value_json(value, NULL);
        if (json)
            offer(c, slice_of(json));
        free(json);
    }
}

static void offer_type(completer *c, lb_slice type)
{
    bool nullable = slice_is(type, "null"), boolean = slice_is(type, "boolean");
    if (nullable)
        offer(c, slice_of("None"));
    for (int i = 0; boolean && i < 2; i++)
        offer(c, slice_of(i ? "True" : "False"));
}

/* The values that a parameter can have, where the schema lists them. */
static void offer_values(completer *c, const lb_value *schema, int depth)
{
    const lb_value *type = lb_value_get(schema, "type"), *constant = lb_value_get(schema, "const");
    lb_value_iterator values = lb_value_iterate(lb_value_get(schema, "enum"));
    lb_value_iterator types = lb_value_iterate(lb_value_type_of(type) == LB_TYPE_LIST ? type : NULL);
    lb_value_iterator any_of = lb_value_iterate(lb_value_get(schema, "anyOf"));
    if (constant)
        offer_value(c, constant);
    while (lb_value_next(&values))
        offer_value(c, values.value);
    if (lb_value_type_of(type) == LB_TYPE_STR)
        offer_type(c, json_slice(type));
    while (lb_value_next(&types))
        offer_type(c, json_slice(types.value));
    while (depth < 16 && lb_value_next(&any_of))
        offer_values(c, any_of.value, depth + 1);
}

/* The argument that the cursor is in: its name, or, behind the "=", its value. */
static void complete_argument(completer *c)
{
    const lb_value *parameters = called_parameters(c);
    size_t start = over_space(c, c->open[c->depth - 1].argument), end = start;
    size_t value_at = c->string != SIZE_MAX ? c->string : c->word;
    while (end < c->size && shell_is_word_byte(c->text[end]))
        end++;
    size_t equals = over_space(c, end);
    c->found.from = value_at;
    if (equals < c->size && c->text[equals] == '=') {
        char *name = arena_copy(c->memory, c->text + start, end - start);
        if (!name || over_space(c, equals + 1) != value_at)
            return;
        offer_values(c, lb_value_get(lb_value_get(parameters, "properties"), name), 0);
        if (c->string == SIZE_MAX) {
            offer_variables(c);
            offer_literals(c);
        }
    } else if (start == value_at && c->string == SIZE_MAX) {
        offer_parameters(c, parameters);
    }
}

/* ---- Statements ------------------------------------------------------------------------------------- */

static void complete_statement(completer *c)
{
    size_t before = back_over_space(c, c->word), help = over_space(c, 0);
    c->found.from = c->word;
    if (before - help == 4 && memcmp(c->text + help, "help", 4) == 0) {
        skip_bus(c);
        offer_names(c);
        return;
    }
    if (before && c->text[before - 1] != '=')
        return;
    for (const char *const *word = shell_words; !before && *word; word++)
        offer(c, slice_of(*word));
    offer_variables(c);
    offer_literals(c);
    skip_bus(c);
    offer_calls(c);
}

shell_completion shell_complete(arena *memory, const lb_value *schemas, const shell_scope *scope,
                                const char *text, size_t size)
{
    completer c = {.memory = memory, .schemas = schemas, .scope = scope, .text = text, .size = size};
    c.found.from = size;
    if (!walk(&c))
        return c.found;
    if (called_path(&c).size) {
        complete_argument(&c);
    } else if (c.string == SIZE_MAX && c.depth) {
        c.found.from = c.word;
        offer_variables(&c);
        offer_literals(&c);
    } else if (c.string == SIZE_MAX) {
        complete_statement(&c);
    }
    sort(&c.found);
    return c.found;
}
