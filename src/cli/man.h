/* Manual pages: cmd_man.c is the command and says which pages there are; man_command.c and man_config.c write
 * them from the tables of commands and of options; man_roff.c is how a page is written. Pages use the man(7)
 * macros and nothing else. */
#ifndef CLI_MAN_H
#define CLI_MAN_H

#include "cli.h"

#include "../base/buffer.h"

/* in->command is the one that the page is of; NULL: the program's own. */
void man_program(buffer *out, const invocation *in);
void man_command(buffer *out, const invocation *in);
void man_config(buffer *out, const invocation *in); /* lightbus.yaml(5) */
/* The other pages; `name` is that of this one, without its section. */
void man_see_also(buffer *out, const invocation *in, const char *name);

/* ---- man_roff.c */

void roff_begin(buffer *out, const char *name, int section, const char *summary);
void roff_section(buffer *out, const char *title);
/* A text as it is, with what roff would take for its own escaped; `code` between backquotes is bold. */
void roff_text(buffer *out, lb_slice text);
void roff_line(buffer *out, const char *text); /* the same, ended as a sentence and a line */
void roff_bold(buffer *out, const char *text);
void roff_italic(buffer *out, const char *text);
/* A usage: what is written in capitals is italic, other words are bold. */
void roff_usage(buffer *out, const char *text);
/* Paragraphs, separated by empty lines, in which indented ones are examples. Those of them that no paragraph
 * with a colon at its end leads to are written when `examples`, everything else when not. */
void roff_paragraphs(buffer *out, const char *text, bool examples);
/* A name and its meaning. */
void roff_term(buffer *out, const term *t);

#endif
