/* Statements from wherever they come: typed with an editor, from a pipe or a file, or given whole. */
#include "shell.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 65536, MOST_STATEMENT = 64 << 20 };

void shell_reader_open(shell_reader *r, shell *s, const char *text)
{
    *r = (shell_reader){.shell = s, .fd = text ? -1 : STDIN_FILENO};
    if (text)
        buffer_str(&r->bytes, text);
    else if (s->interactive)
        r->editor = shell_editor_open(s);
}

void shell_reader_close(shell_reader *r)
{
    shell_editor_close(r->editor);
    buffer_free(&r->bytes);
}

/* Reads some more bytes. SHELL_END: there are none. */
static shell_input read_bytes(shell_reader *r)
{
    shell_event event = SHELL_ENDED;
    while (r->fd >= 0 && ((event = shell_wait(r->fd, -1)) == SHELL_RESIZED || event == SHELL_TIMED_OUT))
        ;
    if (event == SHELL_INTERRUPTED && r->shell->interactive)
        return SHELL_CLEARED;
    if (event == SHELL_INTERRUPTED)
        r->shell->code = CLI_FAILURE;
    if (event != SHELL_READY || !buffer_room(&r->bytes, CHUNK))
        return SHELL_END;
    ssize_t got = read(r->fd, r->bytes.data + r->bytes.size, CHUNK);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN ? SHELL_LINE : SHELL_END;
    r->bytes.size += (size_t)got;
    if (got == 0)
        r->fd = -1;
    return SHELL_LINE;
}

static void take_line(shell_reader *r, size_t size, buffer *line)
{
    buffer_add(line, r->bytes.data + r->taken, size);
    r->taken += size;
    r->taken += r->taken < r->bytes.size; /* its end */
    if (r->taken == r->bytes.size) {
        buffer_clear(&r->bytes, CHUNK);
        r->taken = 0;
    }
}

/* A line from the bytes, without its end. */
static shell_input read_line(shell_reader *r, buffer *line)
{
    for (;;) {
        size_t left = r->bytes.size - r->taken;
        const char *end = left ? memchr(r->bytes.data + r->taken, '\n', left) : NULL;
        if (end || (r->fd < 0 && left)) {
            take_line(r, end ? (size_t)(end - r->bytes.data) - r->taken : left, line);
            return SHELL_LINE;
        }
        if (r->fd < 0 || left > MOST_STATEMENT)
            return SHELL_END;
        shell_input input = read_bytes(r);
        if (input != SHELL_LINE)
            return input;
    }
}

static shell_input next_line(shell_reader *r, bool continued)
{
    buffer *statement = &r->shell->statement;
    r->lines++;
    if (r->editor)
        return shell_editor_read(r->editor, continued, statement);
    if (r->shell->interactive) {
        fputs(continued ? "     ...> " : "lightbus> ", stdout);
        fflush(stdout);
    }
    shell_input input = read_line(r, statement);
    if (r->shell->interactive && input != SHELL_LINE)
        putchar('\n');
    return input;
}

shell_input shell_read(shell_reader *r)
{
    buffer *statement = &r->shell->statement;
    shell_input input;
    bool continued = false;
    buffer_clear(statement, CHUNK);
    r->shell->line = r->lines + 1;
    for (;; continued = true) {
        if (continued)
            buffer_char(statement, '\n');
        input = next_line(r, continued);
        if (input != SHELL_LINE || statement->size > MOST_STATEMENT ||
            !shell_is_open(statement->data, statement->size))
            break;
    }
    if (input == SHELL_END && continued) /* Ctrl-D gives it up; a script's will say what is missing */
        input = r->shell->interactive ? SHELL_CLEARED : SHELL_LINE;
    if (input == SHELL_LINE && r->editor)
        shell_editor_remember(r->editor, statement);
    return input;
}
