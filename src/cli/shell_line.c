/* Parsing the shell's language: recursive descent over a text that may hold anything, NUL characters too. A
 * value is written down as JSON while it is parsed, variables by their values, and then read by the JSON
 * parser, so that there is one way from a text to a value. Invariant: the first failure sets `status`, the
 * place and the error; whoever sees a failure returns at once. */
#include "shell_line.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/json.h"
#include "../base/number.h"
#include "../base/suggest.h"
#include "cli.h"

#define MOST_NESTING 100

const char *const shell_words[] = {"help", "apis", "trace", "exit", "quit", NULL};

typedef struct parser {
    arena *memory;
    const char *text;
    size_t size, at;
    const shell_scope *scope;
    buffer json; /* of the value that is being parsed */
    int nesting;
    lb_status status;
    size_t *error_at;
    lb_error *error;
} parser;

static void parse_value(parser *p);

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* ---- Failures --------------------------------------------------------------------------------------- */

static void no_memory(parser *p) { p->status = lb_error_set(p->error, LB_NO_MEMORY, "out of memory"); }

/* Begins a failure at a place; the message is the caller's. Later ones are not heard. */
static bool fails(parser *p, size_t at)
{
    if (p->status != LB_OK)
        return false;
    p->status = LB_MALFORMED;
    *p->error_at = at;
    return true;
}

static void fail_at(parser *p, size_t at, const char *message)
{
    if (fails(p, at))
        lb_error_set(p->error, LB_MALFORMED, "%s", message);
}

/* "expected X", and what is there instead. */
static void expected(parser *p, const char *what)
{
    if (!fails(p, p->at))
        return;
    if (p->at >= p->size)
        lb_error_set(p->error, LB_MALFORMED, "expected %s, not the end", what);
    else
        lb_error_set(p->error, LB_MALFORMED, "expected %s", what);
}

/* A word that is no variable, with the variable, literal or shell word that was probably meant. */
static void unknown_variable(parser *p, size_t at, lb_slice name)
{
    static const char *const literals[] = {"True", "False", "None", "true", "false", "null", NULL};
    char text[HINT_SIZE];
    suggestion s = suggestion_for(name);
    for (const char *other = NULL; (other = p->scope->next(p->scope->data, other));)
        suggestion_consider(&s, slice_of(other));
    for (const char *const *literal = literals; *literal; literal++)
        suggestion_consider(&s, slice_of(*literal));
    if (fails(p, at))
        lb_error_set(p->error, LB_MALFORMED, "no variable \"%.*s\"%s", (int)(name.size < 80 ? name.size : 80),
                     name.data, hint(&s, text));
}

/* ---- Characters and words --------------------------------------------------------------------------- */

static char peek(const parser *p) { return p->at < p->size ? p->text[p->at] : '\0'; }

static void skip_space(parser *p)
{
    while (p->at < p->size) {
        char c = p->text[p->at];
        if (c == '#')
            p->at = shell_comment_end(p->text, p->size, p->at);
        else if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            p->at++;
        else
            return;
    }
}

static bool take(parser *p, char c)
{
    skip_space(p);
    if (p->at >= p->size || p->text[p->at] != c)
        return false;
    p->at++;
    return true;
}

static bool at_word(const parser *p)
{
    return shell_is_word_byte(peek(p)) && !is_digit(peek(p)) && peek(p) != '-';
}

static lb_slice take_word(parser *p)
{
    size_t start = p->at;
    while (p->at < p->size && shell_is_word_byte(p->text[p->at]))
        p->at++;
    return (lb_slice){p->text + start, p->at - start};
}

/* A dotted name: its words, however they are spaced. */
static const char *take_path(parser *p)
{
    buffer path = {0};
    char *copy = NULL;
    lb_slice word = take_word(p);
    buffer_add(&path, word.data, word.size);
    while (p->status == LB_OK && take(p, '.')) {
        skip_space(p);
        word = take_word(p);
        buffer_char(&path, '.');
        buffer_add(&path, word.data, word.size);
        if (!word.size)
            expected(p, "a name after the dot");
    }
    if (!path.failed)
        copy = arena_copy(p->memory, path.data, path.size);
    buffer_free(&path);
    if (!copy)
        no_memory(p);
    return copy;
}

/* The JSON of a word that is a literal, or NULL. */
static const char *literal_of(lb_slice word)
{
    static const char *const literals[][2] = {
        {"True", "true"},   {"False", "false"}, {"None", "null"}, {"true", "true"},
        {"false", "false"}, {"null", "null"},   {"NaN", "NaN"},   {"Infinity", "Infinity"},
    };
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++)
        if (slice_is(word, literals[i][0]))
            return literals[i][1];
    return NULL;
}

static const char *shell_word_of(lb_slice word)
{
    for (const char *const *w = shell_words; *w; w++)
        if (slice_is(word, *w))
            return *w;
    return NULL;
}

/* ---- Strings ---------------------------------------------------------------------------------------- */

static void add_utf8(buffer *out, unsigned code)
{
    if (code < 0x80) {
        buffer_char(out, (char)code);
    } else if (code < 0x800) {
        buffer_char(out, (char)(0xc0 | code >> 6));
        buffer_char(out, (char)(0x80 | (code & 0x3f)));
    } else if (code < 0x10000) {
        buffer_char(out, (char)(0xe0 | code >> 12));
        buffer_char(out, (char)(0x80 | (code >> 6 & 0x3f)));
        buffer_char(out, (char)(0x80 | (code & 0x3f)));
    } else {
        buffer_char(out, (char)(0xf0 | code >> 18));
        buffer_char(out, (char)(0x80 | (code >> 12 & 0x3f)));
        buffer_char(out, (char)(0x80 | (code >> 6 & 0x3f)));
        buffer_char(out, (char)(0x80 | (code & 0x3f)));
    }
}

/* Exactly so many hexadecimal digits. */
static unsigned take_hex(parser *p, int digits)
{
    unsigned code = 0;
    for (; digits; digits--, p->at++) {
        char c = peek(p);
        unsigned digit = is_digit(c)            ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) {
            expected(p, "a hexadecimal digit");
            return 0;
        }
        code = code << 4 | digit;
    }
    return code;
}

/* After \u: one character, or, as in JSON, the two halves of one. */
static unsigned take_unicode(parser *p, size_t start)
{
    unsigned code = take_hex(p, 4), low = 0;
    if (code < 0xd800 || code > 0xdfff || p->status != LB_OK)
        return code;
    if (code < 0xdc00 && p->size - p->at >= 6 && p->text[p->at] == '\\' && p->text[p->at + 1] == 'u') {
        p->at += 2;
        low = take_hex(p, 4);
    }
    if (low < 0xdc00 || low > 0xdfff)
        fail_at(p, start, "half of a character: expected \\uD800 to \\uDBFF and then \\uDC00 to \\uDFFF");
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

static void parse_escape(parser *p, buffer *out)
{
    static const char names[] = "\"'\\/abfnrtv", meanings[] = "\"'\\/\a\b\f\n\r\t\v";
    size_t start = p->at++; /* the backslash */
    char c = peek(p);
    const char *simple = c ? strchr(names, c) : NULL;
    p->at++;
    if (simple) {
        buffer_char(out, meanings[simple - names]);
    } else if (c == 'x') {
        add_utf8(out, take_hex(p, 2));
    } else if (c == 'u') {
        add_utf8(out, take_unicode(p, start));
    } else if (c == 'U') {
        unsigned code = take_hex(p, 8);
        if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            fail_at(p, start, "no such character: expected \\U00000000 to \\U0010FFFF");
        add_utf8(out, code);
    } else {
        fail_at(p, start,
                "unknown escape: expected one of \\\" \\' \\\\ \\/ \\a \\b \\f \\n \\r \\t \\v \\x41 "
                "\\u00e4 \\U0001F600");
    }
}

/* Appends what the string stands for; the parser is at its quote. */
static void parse_string(parser *p, buffer *out)
{
    size_t start = p->at, end = shell_string_end(p->text, p->size, start);
    if (end > p->size) {
        fail_at(p, start, "this string has no end");
        return;
    }
    p->at++;
    while (p->status == LB_OK && p->at < end - 1) {
        if (p->text[p->at] == '\\')
            parse_escape(p, out);
        else
            buffer_char(out, p->text[p->at++]);
    }
    p->at = end;
}

static void parse_string_value(parser *p)
{
    buffer text = {0};
    size_t start = p->at;
    parse_string(p, &text);
    if (p->status == LB_OK && !text.failed &&
        !buffer_json_string(&p->json, text.data ? text.data : "", text.size))
        fail_at(p, start, "this string is not UTF-8");
    p->json.failed |= text.failed;
    buffer_free(&text);
}

/* ---- Numbers ---------------------------------------------------------------------------------------- */

static size_t take_digits(parser *p)
{
    size_t start = p->at;
    while (p->at < p->size && is_digit(p->text[p->at]))
        p->at++;
    return p->at - start;
}

/* What Python takes and JSON does not (+1, .5, 5.) is written as JSON does. */
static void parse_number(parser *p)
{
    size_t start = p->at, whole_at, whole, fraction = 0;
    size_t json_start = p->json.size;
    if (peek(p) == '-')
        buffer_char(&p->json, '-');
    p->at += peek(p) == '-' || peek(p) == '+';
    if (p->size - p->at >= 8 && memcmp(p->text + p->at, "Infinity", 8) == 0) {
        p->at += 8;
        buffer_literal(&p->json, "Infinity");
        return;
    }
    whole_at = p->at;
    whole = take_digits(p);
    if (whole)
        buffer_add(&p->json, p->text + whole_at, whole);
    else
        buffer_char(&p->json, '0');
    if (peek(p) == '.') {
        size_t point = p->at++;
        fraction = take_digits(p);
        buffer_add(&p->json, p->text + point, fraction + 1);
        if (!fraction)
            buffer_char(&p->json, '0');
    }
    if (!whole && !fraction) {
        expected(p, "a digit");
        return;
    }
    if (whole > 1 && p->text[whole_at] == '0')
        fail_at(p, start, "a number does not begin with 0");
    if (peek(p) == 'e' || peek(p) == 'E') {
        size_t exponent = p->at++;
        p->at += peek(p) == '-' || peek(p) == '+';
        if (!take_digits(p))
            expected(p, "a digit of the exponent");
        buffer_add(&p->json, p->text + exponent, p->at - exponent);
    }
    if (shell_is_word_byte(peek(p)))
        expected(p, "a decimal number");
    if (buffer_text(&p->json) && isinf(number_read(p->json.data + json_start, NULL)))
        fail_at(p, start, "this number is too large");
}

/* ---- Steps ------------------------------------------------------------------------------------------ */

/* What stands between `start` and here; the text does not end with a NUL. */
static int64_t index_at(const parser *p, size_t start)
{
    bool negative = p->text[start] == '-';
    int64_t index = 0;
    for (size_t i = start + negative; i < p->at; i++)
        index = index * 10 + (p->text[i] - '0');
    return negative ? -index : index;
}

static void parse_step(parser *p, shell_step *step)
{
    skip_space(p);
    if (shell_is_quote(peek(p))) {
        buffer key = {0};
        parse_string(p, &key);
        char *copy = key.failed ? NULL : arena_copy(p->memory, key.data ? key.data : "", key.size);
        step->key = (lb_slice){copy, key.size};
        buffer_free(&key);
        if (!copy)
            no_memory(p);
    } else {
        size_t start = p->at;
        bool negative = peek(p) == '-';
        p->at += negative;
        size_t digits = take_digits(p);
        if (!digits)
            expected(p, "a key in quotes or a number");
        else if (digits > 15)
            fail_at(p, start, "this index is too large");
        else
            step->index = index_at(p, start);
    }
    if (p->status == LB_OK && !take(p, ']'))
        expected(p, "\"]\"");
}

static const shell_step *parse_steps(parser *p)
{
    shell_step *first = NULL, *last = NULL;
    for (skip_space(p); p->status == LB_OK && peek(p) == '['; skip_space(p)) {
        shell_step *step = arena_alloc(p->memory, sizeof *step);
        if (!step) {
            no_memory(p);
            return NULL;
        }
        *step = (shell_step){.at = p->at++};
        parse_step(p, step);
        if (last)
            last->next = step;
        else
            first = step;
        last = step;
    }
    return first;
}

static const lb_value *member_of(const lb_value *dict, lb_slice key)
{
    lb_value_iterator it = lb_value_iterate(dict);
    while (lb_value_next(&it))
        if (slice_equal((lb_slice){it.name, it.name_size}, key))
            return it.value;
    return NULL;
}

static lb_status take_step(const shell_step *step, const lb_value **value, lb_error *error)
{
    lb_value_type type = lb_value_type_of(*value);
    size_t count = lb_value_count(*value);
    if (step->key.data && type != LB_TYPE_DICT)
        return lb_error_set(error, LB_MALFORMED, "this is no dict: it has no keys");
    if (!step->key.data && type != LB_TYPE_LIST)
        return lb_error_set(error, LB_MALFORMED, "this is no list: it has no elements");
    if (step->key.data) {
        *value = member_of(*value, step->key);
        if (!*value)
            return lb_error_set(error, LB_MALFORMED, "there is no key \"%.100s\"", step->key.data);
        return LB_OK;
    }
    int64_t index = step->index < 0 ? step->index + (int64_t)count : step->index;
    if (index < 0 || index >= (int64_t)count)
        return lb_error_set(error, LB_MALFORMED, "there is no element %lld: the list has %zu",
                            (long long)step->index, count);
    *value = lb_value_at(*value, (size_t)index);
    return LB_OK;
}

lb_status shell_walk(const shell_step *steps, const lb_value **value, size_t *at, lb_error *error)
{
    lb_status status = LB_OK;
    for (; steps && status == LB_OK; steps = steps->next) {
        *at = steps->at;
        status = take_step(steps, value, error);
    }
    return status;
}

/* ---- Values ----------------------------------------------------------------------------------------- */

/* A word inside of a value: a literal, or a variable with steps into it. */
static void parse_named_value(parser *p)
{
    size_t start = p->at, step_at = 0;
    lb_slice word = take_word(p);
    const char *literal = literal_of(word);
    if (literal) {
        buffer_str(&p->json, literal);
        return;
    }
    const lb_value *value = p->scope->get(p->scope->data, word);
    if (!value) {
        skip_space(p);
        if (peek(p) == '(' || peek(p) == '.')
            fail_at(p, start, "a call stands alone: assign its result to a variable first");
        else
            unknown_variable(p, start, word);
        return;
    }
    const shell_step *steps = parse_steps(p);
    if (p->status == LB_OK && shell_walk(steps, &value, &step_at, p->error) != LB_OK)
        fails(p, step_at);
    if (p->status == LB_OK)
        json_write(&p->json, value);
}

/* The elements of a list or tuple, after its opening bracket. True for a tuple that is only a value in
 * brackets. */
static bool parse_elements(parser *p, char close)
{
    const char *what = close == ']' ? "\",\" or \"]\"" : "\",\" or \")\"";
    bool comma = true;
    size_t count = 0;
    while (p->status == LB_OK && !take(p, close)) {
        if (!comma) {
            expected(p, what);
            return false;
        }
        if (count++)
            buffer_char(&p->json, ',');
        parse_value(p);
        comma = take(p, ',');
    }
    return count == 1 && !comma;
}

static void parse_list(parser *p)
{
    p->at++;
    buffer_char(&p->json, '[');
    parse_elements(p, ']');
    buffer_char(&p->json, ']');
}

/* (1, 2) is a list, (1) is 1. */
static void parse_tuple(parser *p)
{
    size_t start = p->json.size;
    p->at++;
    buffer_char(&p->json, '[');
    bool alone = parse_elements(p, ')');
    if (alone && !p->json.failed)
        p->json.data[start] = ' ';
    else
        buffer_char(&p->json, ']');
}

static void parse_dict(parser *p)
{
    bool comma = true;
    size_t count = 0;
    p->at++;
    buffer_char(&p->json, '{');
    while (p->status == LB_OK && !take(p, '}')) {
        if (!comma) {
            expected(p, "\",\" or \"}\"");
            return;
        }
        if (!shell_is_quote(peek(p))) {
            expected(p, "a key in quotes, or \"}\"");
            return;
        }
        if (count++)
            buffer_char(&p->json, ',');
        parse_string_value(p);
        if (p->status == LB_OK && !take(p, ':'))
            expected(p, "\":\"");
        buffer_char(&p->json, ':');
        if (p->status == LB_OK)
            parse_value(p);
        comma = take(p, ',');
    }
    buffer_char(&p->json, '}');
}

static void parse_value(parser *p)
{
    skip_space(p);
    char c = peek(p);
    if (++p->nesting > MOST_NESTING)
        fail_at(p, p->at, "nested too deeply");
    else if (shell_is_quote(c))
        parse_string_value(p);
    else if (is_digit(c) || c == '-' || c == '+' || c == '.')
        parse_number(p);
    else if (c == '[')
        parse_list(p);
    else if (c == '{')
        parse_dict(p);
    else if (c == '(')
        parse_tuple(p);
    else if (at_word(p))
        parse_named_value(p);
    else
        expected(p, "a value");
    p->nesting--;
}

/* A whole value, in the arena. */
static const lb_value *take_value(parser *p)
{
    const lb_value *value = NULL;
    lb_error why = {0};
    skip_space(p);
    size_t start = p->at;
    p->json.size = 0;
    parse_value(p);
    if (p->json.failed)
        no_memory(p);
    if (p->status == LB_OK && json_parse(p->memory, p->json.data, p->json.size, &value, &why) != LB_OK)
        fail_at(p, start, why.message);
    return value;
}

/* ---- Statements ------------------------------------------------------------------------------------- */

typedef struct argument {
    struct argument *next;
    lb_arg arg;
} argument;

static argument *parse_argument(parser *p, const argument *before)
{
    argument *a = arena_alloc(p->memory, sizeof *a);
    size_t start = p->at;
    if (!a) {
        no_memory(p);
        return NULL;
    }
    lb_slice name = at_word(p) ? take_word(p) : (lb_slice){0};
    if (!name.size || !take(p, '=') || peek(p) == '=') {
        p->at = start;
        expected(p, "NAME=VALUE, or \")\"");
        return NULL;
    }
    for (; before; before = before->next)
        if (slice_is(name, before->arg.name))
            fail_at(p, start, "this argument is given twice");
    char *copy = arena_copy(p->memory, name.data, name.size);
    if (!copy)
        no_memory(p);
    if (p->status == LB_OK)
        *a = (argument){NULL, lb_arg_make(copy, lb_datum_value(take_value(p)))};
    return a;
}

/* The arguments of a call, after its opening bracket. */
static const lb_arg *parse_arguments(parser *p)
{
    argument *first = NULL, **next = &first;
    size_t count = 0, i = 0;
    bool comma = true;
    while (p->status == LB_OK && !take(p, ')')) {
        if (!comma) {
            expected(p, "\",\" or \")\"");
            return NULL;
        }
        *next = parse_argument(p, first);
        if (p->status != LB_OK)
            return NULL;
        next = &(*next)->next;
        count++;
        comma = take(p, ',');
    }
    lb_arg *list = arena_alloc(p->memory, (count + 1) * sizeof *list);
    if (!list) {
        no_memory(p);
        return NULL;
    }
    for (const argument *a = first; a; a = a->next)
        list[i++] = a->arg;
    list[i] = lb_arg_make(NULL, lb_datum_null());
    return list;
}

/* help, help auth, help(auth), exit, exit(). */
static void parse_shell_word(parser *p, shell_statement *s)
{
    bool bracket = take(p, '(');
    s->kind = SHELL_WORD;
    skip_space(p);
    if (strcmp(s->word, "help") == 0 && at_word(p)) {
        s->path_at = p->at;
        s->path = take_path(p);
    }
    if (bracket && p->status == LB_OK && !take(p, ')'))
        expected(p, "\")\"");
}

/* What gives a value: a call, a variable, a literal; or a name alone. */
static void parse_expression(parser *p, shell_statement *s)
{
    skip_space(p);
    size_t start = p->at;
    lb_slice word = at_word(p) ? take_word(p) : (lb_slice){0};
    bool is_value = !word.size || literal_of(word) || p->scope->get(p->scope->data, word);
    skip_space(p);
    if (is_value && !(word.size && peek(p) == '.')) {
        p->at = start;
        s->kind = SHELL_VALUE;
        s->value = take_value(p);
        return;
    }
    p->at = s->path_at = start;
    s->path = take_path(p);
    s->kind = SHELL_NAME;
    if (p->status == LB_OK && take(p, '(')) {
        s->kind = SHELL_CALL;
        s->arguments = parse_arguments(p);
        if (p->status == LB_OK)
            s->steps = parse_steps(p);
    } else if (p->status == LB_OK && s->variable) {
        unknown_variable(p, start, slice_of(s->path));
    }
}

static void begin_assignment(parser *p, shell_statement *s, size_t start, lb_slice word)
{
    if (literal_of(word) || shell_word_of(word) || memchr(word.data, '-', word.size))
        fail_at(p, start, "this cannot be the name of a variable");
    s->variable = arena_copy(p->memory, word.data, word.size);
    if (!s->variable)
        no_memory(p);
}

static void parse_statement(parser *p, shell_statement *s)
{
    skip_space(p);
    size_t start = p->at;
    if (p->at >= p->size)
        return;
    if (at_word(p)) {
        lb_slice word = take_word(p);
        if (take(p, '=')) {
            begin_assignment(p, s, start, word);
        } else if ((s->word = shell_word_of(word)) && peek(p) != '.') {
            parse_shell_word(p, s);
        } else {
            s->word = NULL;
            p->at = start;
        }
    }
    if (p->status == LB_OK && !s->word)
        parse_expression(p, s);
    skip_space(p);
    if (p->status == LB_OK && p->at < p->size)
        expected(p, "the end of the line");
}

lb_status shell_parse(arena *memory, const char *text, size_t size, const shell_scope *scope,
                      shell_statement *statement, size_t *at, lb_error *error)
{
    parser p = {.memory = memory, .text = text, .size = size, .scope = scope, .error_at = at, .error = error};
    *statement = (shell_statement){0};
    *at = 0;
    parse_statement(&p, statement);
    buffer_free(&p.json);
    return p.status;
}
