/* Messages for after a transaction. See notes.h. */
#include "notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 1000, KEEP = 4096 };

struct note {
    lb_log_level level;
    const char *text;
    struct note *next;
};

void notes_add(notes *n, lb_log_level level, const char *format, ...)
{
    char text[LONGEST];
    va_list arguments;
    if (level < lb_log_get_level())
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct note *added = arena_alloc(&n->memory, sizeof *added);
    const char *copy = arena_copy(&n->memory, text, strlen(text));
    if (!added || !copy)
        return;
    *added = (struct note){.level = level, .text = copy};
    if (n->last)
        n->last->next = added;
    else
        n->first = added;
    n->last = added;
}

void notes_end(notes *n, bool took_place)
{
    if (!n->first)
        return;
    for (const struct note *note = n->first; note && took_place; note = note->next)
        lb_log(note->level, "%s", note->text);
    n->first = n->last = NULL;
    arena_reset(&n->memory, KEEP);
}

void notes_free(notes *n) { arena_free(&n->memory); }
