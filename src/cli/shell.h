/* lightbus shell: what its files share. Everything runs on one thread; only the events of a listen() are
 * printed by that listener's own.
 *
 * Signals are blocked but in shell_wait, so that nothing is interrupted half way: whatever waits for a person,
 * for an answer or for events, waits there, and learns there of Ctrl-C. */
#ifndef CLI_SHELL_H
#define CLI_SHELL_H

#include "../base/arena.h"
#include "../base/buffer.h"
#include "../base/map.h"
#include "cli.h"
#include "shell_line.h"

typedef struct shell {
    invocation *in;
    lb_bus *bus;
    char *url, *config;  /* copies: opening a bus wipes the password out of the flags. Or NULL */
    lb_value *schemas;   /* as they were when last looked at */
    int64_t schemas_at;  /* when that was tried; 0: never */
    map variables;       /* of lb_value, owned */
    lb_error last_error; /* for `trace` */
    colours colours, error_colours;
    bool interactive; /* a person at a terminal: prompts, times taken */
    bool leaving;
    buffer statement; /* what is being read or run, as it was typed */
    size_t line;      /* where it begins, from 1 */
    int code;         /* the exit code so far */
} shell;

/* ---- shell.c: the bus as the shell sees it */

/* The schemas, asked for again when they are older than `age_ms`. With a failure the old ones stay. */
lb_status shell_look(shell *s, int age_ms, lb_error *error);
shell_scope shell_scope_of(const shell *s);
/* Owned by the shell from now on. False when memory is short: it was freed. */
bool shell_set_variable(shell *s, const char *name, lb_value *value);

/* ---- shell_names.c: what a dotted name means */

typedef enum shell_verb { SHELL_CALL_RPC, SHELL_FIRE, SHELL_LISTEN } shell_verb;

typedef struct shell_target {
    shell_verb verb;
    const char *name; /* "auth.check_password", "auth.user_registered"; "auth.*" for all events */
} shell_target;

/* The path without a leading "bus.", unless there is such an API. */
const char *shell_bare_path(const lb_value *schemas, const char *path);
/* What calling `path` does: auth.check_password, auth.user_registered.fire, auth.user_registered.listen,
 * auth.listen. In the arena. LB_USAGE, LB_UNKNOWN_API and LB_UNKNOWN_MEMBER say what is there instead. */
lb_status shell_resolve(arena *memory, const lb_value *schemas, const char *path, shell_target *target,
                        lb_error *error);

/* ---- shell_complete.c: what could come next */

typedef struct shell_completion {
    size_t from;        /* where in the text the candidates begin */
    const char **texts; /* what could stand from there to the cursor: each begins with what does; sorted */
    size_t count;
} shell_completion;

/* Completions at the end of the text, in the arena; none when memory is short. */
shell_completion shell_complete(arena *memory, const lb_value *schemas, const shell_scope *scope,
                                const char *text, size_t size);

/* ---- shell_run.c: carrying out a statement */

void shell_run(shell *s);
/* An error of this statement: printed, with the place `at` of the text unless it is SIZE_MAX, and it makes the
 * exit code CLI_FAILURE. */
void shell_fail(shell *s, const lb_error *error, size_t at);

/* ---- shell_help.c */

void shell_help(shell *s, const char *path, size_t at); /* path: NULL for all of the shell */
void shell_print_apis(shell *s);

/* ---- shell_print.c: output */

int shell_width(void); /* of the terminal, in columns */
/* A value and a line break: for people, or as compact JSON. */
void shell_print_value(const shell *s, const lb_value *value);
/* The value as people read it, at most `width` columns wide where it can be. */
void shell_format_value(buffer *out, const lb_value *value, size_t width, const colours *c);
/* Two lines: the one of the text that `at` is in, as far as it fits in `width` columns, and a caret below. */
void shell_print_place(FILE *out, const char *text, size_t size, size_t at, int width);

/* ---- shell_wait.c: signals, and the terminal's settings */

typedef enum shell_event {
    SHELL_READY,
    SHELL_TIMED_OUT,
    SHELL_INTERRUPTED,
    SHELL_RESIZED,
    SHELL_ENDED
} shell_event;

/* From here on signals come by shell_wait, and a crash leaves the terminal as it is now. */
void shell_signals_begin(void);
/* The opposite; dies of the signal that has ended the shell, if one has. */
void shell_signals_end(void);
/* Waits until the descriptor (-1: none) can be read, for so long (-1: for ever). SHELL_INTERRUPTED: Ctrl-C,
 * once for each; SHELL_RESIZED: the terminal's contents have to be drawn again; SHELL_ENDED, from then on: the
 * process is to end. */
shell_event shell_wait(int fd, int timeout_ms);

/* ---- shell_history.c: what was typed before, in a file that is the user's alone */

typedef struct shell_history {
    char *path; /* NULL: nothing is kept */
    char **lines;
    size_t count, capacity;
} shell_history;

/* Reads the file, and shortens it when it has grown too long. LB_ACCESS, LB_SYSTEM: there will be no history
 * but of this session. */
lb_status shell_history_open(shell_history *h, lb_error *error);
/* Adds a line, unless it is the last one, empty, or begins with a space. False: it was not added. */
bool shell_history_add(shell_history *h, const char *line);
void shell_history_free(shell_history *h);

/* ---- shell_edit.c: lines from a person, with libedit */

typedef enum shell_input { SHELL_LINE, SHELL_CLEARED, SHELL_END } shell_input;

typedef struct shell_editor shell_editor;

/* NULL: there is no libedit on this machine, or memory is short. */
shell_editor *shell_editor_open(shell *s);
/* Appends a line, without its line break. SHELL_CLEARED: it was given up by Ctrl-C. */
shell_input shell_editor_read(shell_editor *e, bool continued, buffer *line);
void shell_editor_remember(shell_editor *e, const buffer *statement);
void shell_editor_close(shell_editor *e); /* NULL is allowed */

/* ---- shell_read.c: statements from wherever they come */

typedef struct shell_reader {
    shell *shell;
    shell_editor *editor; /* NULL: bytes from `fd`, or those there are */
    int fd;               /* -1: no more to come */
    buffer bytes;         /* read and not yet taken */
    size_t taken, lines;
} shell_reader;

void shell_reader_open(shell_reader *r, shell *s, const char *text); /* text: NULL for standard input */
/* Reads the next statement into s->statement. */
shell_input shell_read(shell_reader *r);
void shell_reader_close(shell_reader *r);

#endif
