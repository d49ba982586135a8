/* Fuzzes the shell's language. What parses says what it is; a wrong place lies in the text; the one line that
 * the history keeps of a statement is one line, means the same, and is its own one line. What completes a text
 * goes on from it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/json.h"
#include "../../src/cli/shell.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static const lb_value *get(const void *data, lb_slice name) { return slice_is(name, "x") ? data : NULL; }

static const char *next(const void *data, const char *name)
{
    (void)data;
    return name ? NULL : "x";
}

static void check_statement(const shell_statement *s)
{
    require((s->kind == SHELL_VALUE) == (s->value != NULL));
    require((s->kind == SHELL_CALL) == (s->arguments != NULL));
    require(s->kind != SHELL_CALL || s->path);
    require(s->kind != SHELL_NAME || (s->path && !s->variable));
    require((s->kind == SHELL_WORD) == (s->word != NULL));
}

static bool same_value(const lb_value *a, const lb_value *b)
{
    char *left = lb_value_json(a, NULL), *right = lb_value_json(b, NULL);
    bool same = strcmp(left, right) == 0;
    free(left);
    free(right);
    return same;
}

static void check_same(const shell_statement *a, const shell_statement *b)
{
    require(a->kind == b->kind && !a->variable == !b->variable && !a->path == !b->path);
    require(!a->path || strcmp(a->path, b->path) == 0);
    require(same_value(a->value, b->value));
    for (const lb_arg *x = a->arguments, *y = b->arguments; x && x->name; x++, y++)
        require(strcmp(x->name, y->name) == 0 && same_value(x->value.as.value, y->value.as.value));
}

static void check_one_line(const char *text, size_t size, const shell_scope *scope, const shell_statement *s)
{
    arena memory = {0};
    shell_statement again;
    size_t at;
    char *once = shell_one_line(text, size), *twice = shell_one_line(once, strlen(once));
    require(!strchr(once, '\n'));
    require(strcmp(once, twice) == 0);
    require(shell_parse(&memory, once, strlen(once), scope, &again, &at, NULL) == LB_OK);
    check_same(s, &again);
    free(once);
    free(twice);
    arena_free(&memory);
}

static void check_completion(const char *text, size_t size, const shell_scope *scope)
{
    static const char json[] =
        "{\"auth\":{\"rpcs\":{\"f\":{\"parameters\":{\"properties\":{\"a\":{\"enum\":[\"p\",1]},\"b\":{}}}}},"
        "\"events\":{\"e\":{}}},\"my-shop.3d\":{\"rpcs\":{\"render\":{}},\"events\":{}}}";
    arena memory = {0};
    const lb_value *schemas = NULL;
    require(json_parse(&memory, json, sizeof json - 1, &schemas, NULL) == LB_OK);
    shell_completion found = shell_complete(&memory, schemas, scope, text, size);
    require(found.from <= size);
    for (size_t i = 0; i < found.count; i++)
        require(strncmp(found.texts[i], text + found.from, size - found.from) == 0);
    arena_free(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    arena memory = {0};
    lb_value *x = NULL;
    shell_statement s;
    size_t at;
    lb_error error = {0};

    require(text && lb_value_parse("{\"a\":[1,\"b\"]}", 13, &x, NULL) == LB_OK);
    memcpy(text, data, size);
    text[size] = '\0';
    const shell_scope scope = {get, next, x};
    if (shell_parse(&memory, text, size, &scope, &s, &at, &error) == LB_OK) {
        check_statement(&s);
        if (!memchr(text, '\0', size))
            check_one_line(text, size, &scope, &s);
    } else {
        require(error.message[0] && at <= size);
    }
    shell_is_open(text, size);
    check_completion(text, size, &scope);
    arena_free(&memory);
    lb_value_free(x);
    free(text);
    return 0;
}
