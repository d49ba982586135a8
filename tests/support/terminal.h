/* A real terminal for tests: a program in a pane of a tmux of its own (its socket in a temporary folder, no
 * configuration), which dies with the test process. What a test sees is what a person would: the screen after
 * all escape sequences. Every function fails the running test with a message and the screen instead of
 * returning an error. */
#ifndef TESTS_TERMINAL_H
#define TESTS_TERMINAL_H

#include "support.h"

typedef struct terminal terminal;

/* Starts argv on a terminal of that size; `environment` entries "NAME=value" are added (NULL: none), NO_COLOR
 * is unset and TERM is tmux's unless they say otherwise. `directory` is its working directory (NULL: ours). */
terminal *terminal_open(int columns, int rows, const char *const *argv, const char *const *environment,
                        const char *directory);
void terminal_close(terminal *t); /* kills what still runs in it; NULL is allowed */

void terminal_type(terminal *t, const char *text); /* as typed: no Enter is added */
void terminal_key(terminal *t, const char *key);   /* by tmux's name: "Enter", "Tab", "Up", "C-c", "BSpace" */
void terminal_line(terminal *t, const char *text); /* the text, and Enter */
void terminal_resize(terminal *t, int columns, int rows);

/* The screen, lines without trailing spaces, NUL-terminated; valid until the next call. The second keeps
 * colours as escape sequences. */
const char *terminal_screen(terminal *t);
const char *terminal_screen_styled(terminal *t);
/* All bytes that the program has written since its start, with every escape sequence, as far as they have come.
 */
const char *terminal_output(terminal *t);

void terminal_wait_for(terminal *t, const char *text, int timeout_ms);       /* until the screen holds it */
void terminal_wait_gone(terminal *t, const char *text, int timeout_ms);      /* until it holds it no more */
void terminal_wait_output(terminal *t, const char *text, int timeout_ms);    /* until the output holds it */
void terminal_wait_last_line(terminal *t, const char *text, int timeout_ms); /* until the last line is this */

pid_t terminal_pid(terminal *t); /* of the program */
/* The program's exit code, 128 + signal when it was killed. The screen stays. */
int terminal_wait_exit(terminal *t, int timeout_ms);
/* That the program, which has ended, has left the terminal's settings (stty -a) as it found them. */
void terminal_assert_restored(terminal *t);

#endif
