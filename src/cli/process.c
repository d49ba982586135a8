/* Child processes, without a shell. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Words ------------------------------------------------------------------------------------------ */

static bool words_room(words *w, size_t more)
{
    size_t capacity = w->capacity ? w->capacity : 16;
    char **list;

    if (w->count + more + 1 <= w->capacity)
        return true;
    while (capacity < w->count + more + 1)
        capacity *= 2;
    list = arena_alloc(w->memory, capacity * sizeof *list);
    if (!list) {
        w->failed = true;
        return false;
    }
    if (w->count)
        memcpy(list, w->list, w->count * sizeof *list);
    w->list = list;
    w->capacity = capacity;
    return true;
}

static void add_text(words *w, const char *data, size_t size)
{
    char *copy = words_room(w, 1) ? arena_copy(w->memory, data, size) : NULL;

    if (!copy) {
        w->failed = true;
        return;
    }
    w->list[w->count++] = copy;
    w->list[w->count] = NULL;
}

void words_add(words *w, const char *word) { add_text(w, word, strlen(word)); }

void words_add_all(words *w, const words *more)
{
    for (size_t i = 0; i < more->count; i++)
        words_add(w, more->list[i]);
    w->failed |= more->failed;
}

void words_split(words *w, const char *text)
{
    static const char space[] = " \t\r\n";
    buffer word = {0};

    for (text += strspn(text, space); *text; text += strspn(text, space)) {
        char quote = 0;
        buffer_clear(&word, 4096);
        for (; *text && (quote || !strchr(space, *text)); text++) {
            if (*text == quote)
                quote = 0;
            else if (!quote && (*text == '"' || *text == '\''))
                quote = *text;
            else if (*text == '\\' && quote != '\'' && text[1])
                buffer_char(&word, *++text);
            else
                buffer_char(&word, *text);
        }
        add_text(w, word.size ? word.data : "", word.size);
    }
    w->failed |= word.failed;
    buffer_free(&word);
}

/* ---- Running ---------------------------------------------------------------------------------------- */

/* Our environment with one setting more, or other. Only the list is new: free() it. */
static char **environment_with(const char *setting)
{
    size_t count = 0, kept = 0, name_size = setting ? strcspn(setting, "=") + 1 : 0;
    char **list;

    while (environ[count])
        count++;
    list = malloc((count + 2) * sizeof *list);
    if (!list)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (!setting || strncmp(environ[i], setting, name_size) != 0)
            list[kept++] = environ[i];
    if (setting)
        list[kept++] = (char *)setting;
    list[kept] = NULL;
    return list;
}

static bool read_all(int fd, buffer *output)
{
    char piece[16384];
    ssize_t size;

    while ((size = read(fd, piece, sizeof piece)) != 0) {
        if (size > 0)
            buffer_add(output, piece, (size_t)size);
        else if (errno != EINTR)
            return false;
    }
    return !output->failed;
}

/* posix_spawnp with stdout at `out` (-1: as it is) and SIGPIPE as new. Returns an errno. */
static int spawn(char *const *argv, char **environment, int out, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    int code;

    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    if ((code = posix_spawn_file_actions_init(&actions)) != 0)
        return code;
    if ((code = posix_spawnattr_init(&attributes)) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return code;
    }
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    if (out >= 0)
        code = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (code == 0)
        code = posix_spawnp(pid, argv[0], &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

lb_status process_run(char *const *argv, const char *setting, buffer *output, int *exit_code, lb_error *error)
{
    char **environment = environment_with(setting);
    int ends[2] = {-1, -1}, code;
    lb_status status = LB_OK;
    pid_t pid;

    if (!environment)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    if (output && pipe2(ends, O_CLOEXEC) < 0) {
        status = lb_error_set(error, LB_SYSTEM, "cannot make a pipe: %s", strerror(errno));
        goto out;
    }
    code = spawn(argv, environment, ends[1], &pid);
    if (code != 0) {
        status = lb_error_set(error, LB_SYSTEM, "cannot run \"%s\": %s", argv[0], strerror(code));
        goto out;
    }
    if (output) {
        close(ends[1]);
        ends[1] = -1;
        if (!read_all(ends[0], output))
            status = lb_error_set(error, LB_SYSTEM, "cannot read what \"%s\" writes", argv[0]);
        close(ends[0]); /* it must not wait for us to read on */
        ends[0] = -1;
    }
    *exit_code = wait_for(pid);
out:
    if (ends[0] >= 0)
        close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
    free(environment);
    return status;
}
