/* The history: a file with a line per statement, mode 0600, in a folder with mode 0700, since what was typed
 * may hold passwords. Lines are appended as they are typed, so that several shells share it. */
#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"

enum { MOST_LINES = 2000, KEPT_LINES = 1000, MOST_BYTES = 16 << 20 };

static bool keep(shell_history *h, const char *line, size_t size)
{
    if (h->count == h->capacity) {
        size_t capacity = h->capacity ? 2 * h->capacity : 64;
        char **lines = realloc(h->lines, capacity * sizeof *lines);
        if (!lines)
            return false;
        h->lines = lines;
        h->capacity = capacity;
    }
    char *copy = strndup(line, size);
    if (copy)
        h->lines[h->count++] = copy;
    return copy != NULL;
}

static lb_status unusable(const shell_history *h, lb_error *error)
{
    return lb_error_set(error, LB_SYSTEM, "%s: %s", h->path, strerror(errno));
}

static lb_status read_lines(shell_history *h, lb_error *error)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    struct stat info;
    int fd = open(h->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? LB_OK : unusable(h, error);
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size > MOST_BYTES) {
        close(fd);
        return lb_error_set(error, LB_SYSTEM, "%s is no history: expected a file below 16 MiB", h->path);
    }
    FILE *file = fdopen(fd, "r");
    if (!file) {
        close(fd);
        return unusable(h, error);
    }
    while ((size = getline(&line, &capacity, file)) > 0) {
        size -= line[size - 1] == '\n';
        if (size && !keep(h, line, (size_t)size))
            break;
    }
    free(line);
    fclose(file);
    return LB_OK;
}

static bool write_lines(FILE *file, char *const *lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fprintf(file, "%s\n", lines[i]);
    return fclose(file) == 0;
}

/* Another shell may append meanwhile: its line is lost then, the file is whole. */
static void shorten(shell_history *h)
{
    char *other = NULL;
    if (h->count <= MOST_LINES || asprintf(&other, "%s.%ld", h->path, (long)getpid()) < 0)
        return;
    int fd = open(other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file && fd >= 0)
        close(fd);
    if (!file || !write_lines(file, h->lines + h->count - KEPT_LINES, KEPT_LINES) || rename(other, h->path) < 0)
        unlink(other);
    free(other);
}

lb_status shell_history_open(shell_history *h, lb_error *error)
{
    arena memory = {0};
    const char *folder = NULL;
    *h = (shell_history){0};
    lb_status status =
        folder_private(&memory, "XDG_STATE_HOME", ".local/state", "the shell's history", &folder, error);
    if (status == LB_OK && asprintf(&h->path, "%s/history", folder) < 0) {
        h->path = NULL;
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory");
    }
    if (status == LB_OK)
        status = read_lines(h, error);
    if (status == LB_OK) {
        shorten(h);
    } else {
        free(h->path);
        h->path = NULL;
    }
    arena_free(&memory);
    return status;
}

static void append(const shell_history *h, const char *line)
{
    int fd = open(h->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "a");
    if (file) {
        fchmod(fd, 0600); /* of old */
        write_lines(file, (char *const[]){(char *)(uintptr_t)line}, 1);
    } else if (fd >= 0) {
        close(fd);
    }
}

bool shell_history_add(shell_history *h, const char *line)
{
    if (!*line || *line == ' ' || (h->count && strcmp(h->lines[h->count - 1], line) == 0))
        return false;
    if (!keep(h, line, strlen(line)))
        return false;
    if (h->path)
        append(h, line);
    return true;
}

void shell_history_free(shell_history *h)
{
    for (size_t i = 0; i < h->count; i++)
        free(h->lines[i]);
    free(h->lines);
    free(h->path);
    *h = (shell_history){0};
}
