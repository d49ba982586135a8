/* The language of `lightbus shell`, one statement at a time: calls as in Python, literals as in Python and
 * JSON, variables and indices, the shell's own words. Nothing here knows the bus. */
#ifndef CLI_SHELL_LINE_H
#define CLI_SHELL_LINE_H

#include <lightbus/api.h>

#include "../base/arena.h"

typedef enum shell_kind {
    SHELL_NOTHING, /* white space, a comment */
    SHELL_WORD,    /* `word`, and `path` if one follows: help auth */
    SHELL_VALUE,   /* `value` */
    SHELL_NAME,    /* `path` alone, which is no variable */
    SHELL_CALL,    /* `path` (`arguments`), then `steps` */
} shell_kind;

/* A step into a value: ["key"] or [0], counted from the end when negative. */
typedef struct shell_step {
    const struct shell_step *next;
    lb_slice key; /* its data is NULL: a number */
    int64_t index;
    size_t at; /* where it stands in the text */
} shell_step;

/* What a statement says. All of it lives in the arena. */
typedef struct shell_statement {
    shell_kind kind;
    const char *variable; /* what the result is assigned to, or NULL */
    const char *word;
    const char *path; /* as it was written, without spaces */
    size_t path_at;
    const lb_arg *arguments; /* a list that ends with a NULL name */
    const shell_step *steps;
    const lb_value *value;
} shell_statement;

/* The variables there are: NULL for a name that is none. `next` walks their names, NULL ends it. */
typedef struct shell_scope {
    const lb_value *(*get)(const void *data, lb_slice name);
    const char *(*next)(const void *data, const char *name);
    const void *data;
} shell_scope;

extern const char *const shell_words[]; /* help, apis, ...; NULL-terminated */

/* Parses a statement of `size` bytes. LB_MALFORMED gives the place, from 0, in *at: where something else was
 * expected, or where the name stands that is not known; LB_NO_MEMORY. */
lb_status shell_parse(arena *memory, const char *text, size_t size, const shell_scope *scope,
                      shell_statement *statement, size_t *at, lb_error *error);
/* Takes the steps into a value. LB_MALFORMED names the one that leads nowhere, its place in *at. */
lb_status shell_walk(const shell_step *steps, const lb_value **value, size_t *at, lb_error *error);

/* ---- shell_text.c: a text that is not parsed yet */

/* What a word may consist of: letters, digits, "_", "-" and what is beyond ASCII. */
bool shell_is_word_byte(char c);
bool shell_is_quote(char c);
/* Where the string that begins with a quote at `at` ends: after its closing quote, or past `size` if it has
 * none. */
size_t shell_string_end(const char *text, size_t size, size_t at);
size_t shell_comment_end(const char *text, size_t size, size_t at); /* at the line break, or `size` */
/* A bracket or a quote is open, so that the statement goes on in the next line. */
bool shell_is_open(const char *text, size_t size);
/* The same statement in one line, for the history: NUL-terminated, for free(); NULL when memory is short. */
char *shell_one_line(const char *text, size_t size);

#endif
