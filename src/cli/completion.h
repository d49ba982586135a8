/* Completion scripts: cmd_completion.c is the command, and what the scripts ask it for while somebody types;
 * completion_SHELL.c writes the script of a shell from the tables of commands. */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

#include "values.h"

/* Each writes a script that completes the program `in->program`. */
void completion_bash(FILE *out, const invocation *in);
void completion_zsh(FILE *out, const invocation *in);
void completion_fish(FILE *out, const invocation *in);

/* Writes a part of a script that is the same for every program; in its names, "_lightbus" becomes that of the
 * program. */
void completion_text(FILE *out, const invocation *in, const char *text);
/* Writes a text in single quotes as the POSIX shell and zsh read them, with a backslash before each of the
 * characters of `escaped` in it. */
void completion_quote(FILE *out, lb_slice text, const char *escaped);
/* Calls `body` for each flag that the program offers for a command. */
typedef void completion_flag_fn(FILE *out, const invocation *in, const command *c, const flag *f);
void completion_flags(FILE *out, const invocation *in, const command *c, completion_flag_fn *body);

#endif
