/* The command line: what its files share. Each command is one file with one table entry; parsing, --help and
 * the suggestions for misspelt names come from the tables alone. A command returns the program's exit code.
 * Results go to stdout, everything else to stderr. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <lightbus/main.h>
#include <lightbus/value.h>

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../base/json.h"
#include "../base/suggest.h"

enum { CLI_OK = 0, CLI_FAILURE = 1, CLI_USAGE = 2 }; /* exit codes */

/* One run of the program. A flag that was not given is NULL; a switch that was given is not NULL. */
typedef struct invocation {
    const char *program;           /* as in messages: "lightbus" */
    lb_setup_fn setup;             /* of a service that is a binary of its own; NULL in the program lightbus */
    const struct command *command; /* NULL until it is known */
    char **arguments;              /* what is no flag; it points into argv */
    size_t count;
    const char *help;
    const char *url, *config, *service_name, *process_name, *log_level; /* the flags that all commands have */
    const char *bus;                                                    /* run, dumpschema, inspect, shell */
    const char *schema;                                                 /* run */
    const char *only, *skip, *processes, *reload, *dry_run;             /* run */
    const char *ping_interval, *no_ping;                                /* run */
    const char *out;                                                    /* dumpschema, dumpconfigschema */
    const char *reference;                                              /* dumpconfigschema */
    const char *json, *timeout, *trace;                                 /* call, fire, shell, doctor */
    const char *events_count, *since;                                   /* listen */
    const char *line;                                                   /* shell */
    const char *api, *event, *id, *native_id, *event_version;           /* inspect: which events */
    const char *json_path, *from, *to, *internal;
    const char *format, *oldest_first, *follow, *validate, *show_casting; /* and how they are shown */
    const char *cache, *cache_only;                                       /* and where they are */
    const char *interval, *once;                                          /* top */
    const char *all, *group, *older_than, *fire_again, *yes;              /* deadletters */
} invocation;

/* Words for values, in a flag's `value` and a command's `arguments`, tell the help what to call them and shell
 * completion what to offer: "json|pretty" is one of these words, "rpcs|events[,...]" a list of them with commas
 * between; FILE and PATH are names in the file system, FOLDER is one of folders; API and EVENT are names on the
 * bus, and so are API.PROCEDURE and API.EVENT, to whose parameters NAME=VALUE belongs; COMMAND is one of ours.
 * For other words nothing is offered. */
typedef struct flag {
    const char *name;   /* without the dashes */
    const char *value;  /* the word for its value; NULL: a switch */
    const char *help;   /* NULL: that of the configuration's option with this flag */
    size_t slot;        /* offsetof the invocation's field */
    char letter;        /* of the short form, or 0 */
    bool without_setup; /* only where bus modules are loaded */
} flag;

/* A name and what it means: an environment variable, a file. */
typedef struct term {
    const char *name; /* NULL after the last one */
    const char *meaning;
    bool without_setup; /* only where bus modules are loaded */
} term;

typedef struct command {
    const char *name;
    const char *summary;        /* one line */
    const char *arguments;      /* what follows the flags: "API.EVENT [NAME=VALUE ...]" */
    const char *details;        /* the help's text after the flags, or NULL; indented lines are examples */
    const char *module_details; /* more of it, where bus modules are loaded; or NULL */
    const char *exit_codes;     /* where they mean more than usual: "0: compatible, 1: ..."; or NULL */
    const term *environment;    /* the manual page's, beside those of its flags' options; or NULL */
    const term *files;          /* the manual page's; or NULL */
    const flag *flags;          /* its own; the last one has no name */
    bool offline;               /* it takes none of the flags that are about the bus */
    int (*run)(invocation *in);
} command;

extern const command cmd_run, cmd_call, cmd_fire, cmd_listen, cmd_inspect, cmd_shell, cmd_top, cmd_doctor,
    cmd_deadletters, cmd_dumpschema, cmd_schema, cmd_local, cmd_dumpconfigschema, cmd_completion, cmd_man,
    cmd_version;
extern const command *const cli_commands[];   /* NULL-terminated */
const command *cli_command(const char *name); /* NULL: there is none */

/* ---- flags.c: argv by the tables, and the help that they give */

/* Fills *in from what follows the command's name. CLI_OK, or CLI_USAGE with the message printed. The arguments
 * are moved together at the front of argv. */
int flags_parse(invocation *in, int argc, char **argv);
void flags_help(FILE *out, const invocation *in); /* of in->command, or of the program */
/* The tables of flags that a command takes: its own, then those of all commands. NULL after the last one;
 * `walk` runs from 0. */
const flag *flags_table(const command *c, size_t walk);
bool flag_is_offered(const invocation *in, const flag *f);
const char *flag_value(const flag *f); /* the word for its value; NULL: a switch */
lb_slice flag_summary(const flag *f);  /* its help, without the environment variable of its option */
/* Numbers of flags; false when the text is none or not in range. */
bool flags_seconds(const char *text, int *milliseconds); /* above 0, at most 24 days */
bool flags_count(const char *text, uint64_t *count);     /* above 0 */

/* Prints a message with a pointer to --help, and returns CLI_USAGE. */
int usage_error(const invocation *in, const char *format, ...) LB_PRINTF(2, 3);
/* Prints an error, and returns CLI_FAILURE. */
int failure(const invocation *in, const lb_error *error);

/* "; did you mean "NAME"?", or "" when nothing is near enough; in `out`. */
#define HINT_SIZE 128
const char *hint(const suggestion *s, char out[HINT_SIZE]);

/* Opens the bus with the flags of all commands, over what `options` says. NULL with the message printed. */
lb_bus *cli_open(const invocation *in, lb_options options);
/* The same with the error in *error, and nothing printed. */
lb_bus *cli_try_open(const invocation *in, lb_options options, lb_error *error);

/* Everybody may read the command line of a process: overwrites the password of a URL in argv (S33). */
void cli_hide_password(const char *url);
/* The URLs that the invocation was given, hidden in the command line as cli_open does, which can still open
 * them later: from copies in `memory`. */
void cli_hide_passwords(invocation *in, arena *memory);

/* What the flags of run say of the plugin internal_state, for lb_options.plugins, in `out`; NULL: nothing.
 * CLI_OK, or CLI_USAGE with the message printed. */
#define PING_SIZE 128
int ping_options(const invocation *in, char out[PING_SIZE], const char **plugins);

/* What lb_setup said, or that it failed with `status`; returns CLI_FAILURE. */
int setup_failure(const invocation *in, lb_error *error, lb_status status, const char *what);
/* Has the bus module that --bus names, or this binary itself, tell its APIs to the bus, although nobody serves
 * them here. The exit code; a failure is printed. */
int set_up_without_serving(invocation *in, lb_bus *bus);

/* ---- terminal.c: output for people and for pipes */

/* Escape sequences, or "" where the stream is no terminal or NO_COLOR is set. */
typedef struct colours {
    const char *bold, *dim, *red, *green, *yellow, *cyan, *off;
} colours;
colours colours_for(FILE *stream);
/* A text from elsewhere, with control characters shown as "?", so that it cannot drive the terminal. The second
 * takes line breaks and tabs for such too: a name must not look like lines of ours. */
void print_safe(FILE *out, const char *text);
void print_safe_line(FILE *out, const char *text);
/* Prints a value on stdout as JSON, indented on a terminal, and a newline; the exit code. */
int print_result(const invocation *in, const lb_value *value);
/* Flushes stdout. 0, or the errno of what has failed on it so far, which stays so: EPIPE when its reader has
 * gone away. */
int output_flush(void);
/* The error of an output_flush. LB_OK where there is none: a reader that has gone away is no failure. */
lb_status output_status(int code, lb_error *error);
bool output_has_reader(void); /* false when stdout is a pipe that nobody reads any longer */
/* Flushes stdout: CLI_OK, or CLI_FAILURE with a message; a reader that has gone away is no failure. */
int finish_output(const invocation *in);
/* The same for a file of that name: NULL, or CLI_FAILURE, with the message printed. */
FILE *output_open(const invocation *in, const char *path);
int output_close(const invocation *in, const char *path, FILE *file);

#endif
