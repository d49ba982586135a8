/* The recordings (tests/data/vectors, described in the README there) and the recorder's notes as lists of
 * commands.
 *
 * Everything in a vector or a list of commands lives in its arena; immutable once loaded, but for notes_read.
 */
#ifndef REPLAY_VECTOR_H
#define REPLAY_VECTOR_H

#include <lightbus/value.h>
#include <stdbool.h>

#include "base/arena.h"
#include "recorder.h"

typedef struct command {
    int number;       /* in its recording, or in the recorder's notes */
    const char *role; /* the process that sent it; "" in notes */
    int connection, write;
    size_t count;
    const lb_slice *arguments; /* NUL-terminated */
    const lb_value *reply;     /* NULL: none has come */
} command;

typedef struct commands {
    arena memory;
    command *list;
    size_t count, capacity;
} commands;

bool command_is(const command *c, const char *name); /* any case */
bool argument_is(const command *c, size_t index, const char *word);
/* An argument as a number; 0 past the end. */
long long argument_int(const command *c, size_t index);
const char *argument_text(const command *c, size_t index); /* "" past the end */
bool text_starts(const char *text, const char *start);
bool text_ends(const char *text, const char *end);
void commands_free(commands *list);

/* ---- A recording */

typedef struct vector {
    char name[96];
    lb_value *document;
    const char *title;
    commands commands;
} vector;

vector *vector_load(const char *directory, const char *name); /* fails the test when it cannot be read */
void vector_free(vector *v);
/* What the recording says about one of its processes (the member "python"), or NULL: raw commands, no such
 * role. */
const lb_value *vector_role(const vector *v, const char *role);
/* An option of that process's lightbus.yaml, of the API "default": "rpc_timeout", or of a transport there. */
const lb_value *vector_option(const vector *v, const char *role, const char *section, const char *name);

/* ---- Notes of our own */

/* Reads what the recorder noted since `*position` and moves that on. */
void notes_read(commands *list, const recorder *r, size_t *position);

#endif
