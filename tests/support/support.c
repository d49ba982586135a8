/* Child processes, programs, shared memory, temporary directories and time for tests. Every process that is
 * started here dies with the thread that started it (PR_SET_PDEATHSIG) and is ended by its process id alone. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Time ----------------------------------------------------------------------------------------------- */

int64_t support_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void support_nap(void) { nanosleep(&(struct timespec){0, 2000000}, NULL); }

int support_scaled(int count)
{
    const char *scale = getenv("LIGHTBUS_TEST_SCALE");
    double scaled = scale ? count * strtod(scale, NULL) : count;
    return scaled < 1 ? 1 : (int)scaled;
}

/* ---- Child processes ------------------------------------------------------------------------------------ */

static void die_with_parent(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
}

static pid_t fork_or_fail(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        fail_msg("fork: %s", strerror(errno));
    return pid;
}

static pid_t start_child(int (*body)(void *data), void *data, void (*end)(int code))
{
    pid_t parent = getpid(), pid = fork_or_fail();
    if (pid == 0) {
        die_with_parent(parent);
        setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed assertion must not go on with the parent's tests */
        int code = body(data);
        fflush(NULL);
        end(code);
    }
    return pid;
}

pid_t child_start(int (*body)(void *data), void *data) { return start_child(body, data, exit); }

pid_t child_start_with_handle(int (*body)(void *data), void *data) { return start_child(body, data, _exit); }

void child_kill(pid_t pid, int signal)
{
    if (kill(pid, signal) != 0)
        fail_msg("kill %d: %s", (int)pid, strerror(errno));
}

bool child_runs(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

bool child_is_stopped(pid_t pid)
{
    char path[40], text[200] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool stopped = fd >= 0 && read(fd, text, sizeof text - 1) > 0 && strstr(text, ") T ");
    if (fd >= 0)
        close(fd);
    return stopped;
}

int child_wait(pid_t pid, int timeout_ms)
{
    int64_t deadline = support_now_ms() + timeout_ms;
    int status = 0;
    pid_t ended;
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0) {
        if (support_now_ms() > deadline) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            fail_msg("process %d still ran after %d ms", (int)pid, timeout_ms);
        }
        support_nap();
    }
    if (ended < 0)
        fail_msg("waitpid %d: %s", (int)pid, strerror(errno));
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- Programs ------------------------------------------------------------------------------------------- */

static _Noreturn void exec_program(const char *const *argv, const char *const *environment,
                                   const char *directory, int output)
{
    int input = open("/dev/null", O_RDONLY);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    for (size_t i = 0; environment && environment[i]; i++)
        putenv((char *)(uintptr_t)environment[i]);
    if (directory && chdir(directory) != 0)
        dprintf(STDERR_FILENO, "chdir %s: %s\n", directory, strerror(errno));
    else if (execvp(argv[0], (char *const *)(uintptr_t)argv) != 0)
        dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

program *program_start(const char *const *argv, const char *const *environment, const char *directory)
{
    int ends[2];
    program *p = calloc(1, sizeof *p);
    if (!p || !(p->text = calloc(1, 1)) || pipe2(ends, O_CLOEXEC) != 0)
        fail_msg("pipe: %s", strerror(errno));
    pid_t parent = getpid();
    p->pid = fork_or_fail();
    if (p->pid == 0) {
        die_with_parent(parent);
        exec_program(argv, environment, directory, ends[1]);
    }
    close(ends[1]);
    p->output = ends[0];
    return p;
}

/* Reads some output within the deadline; false at its end. */
static bool read_some(program *p, int64_t deadline, const char *wanted)
{
    char chunk[4096];
    int64_t left = deadline - support_now_ms();
    struct pollfd waits = {p->output, POLLIN, 0};
    int ready = left > 0 ? poll(&waits, 1, (int)left) : 0;
    if (ready < 0 && errno == EINTR)
        return true;
    if (ready <= 0)
        fail_msg("waited for %s; the output so far: %s", wanted, p->text);
    ssize_t got = read(p->output, chunk, sizeof chunk);
    if (got <= 0)
        return got < 0 && errno == EINTR;
    p->text = realloc(p->text, p->size + (size_t)got + 1);
    assert_non_null(p->text);
    memcpy(p->text + p->size, chunk, (size_t)got);
    p->size += (size_t)got;
    p->text[p->size] = '\0';
    return true;
}

static bool holds(const char *output, const char *text, int times)
{
    while (times-- > 0) {
        output = strstr(output, text);
        if (!output)
            return false;
        output += strlen(text);
    }
    return true;
}

void program_expect_times(program *p, const char *text, int times, int timeout_ms)
{
    int64_t deadline = support_now_ms() + timeout_ms;
    while (!holds(p->text, text, times))
        if (!read_some(p, deadline, text))
            fail_msg("it ended without the output \"%s\", %d times; its output: %s", text, times, p->text);
}

void program_expect(program *p, const char *text, int timeout_ms)
{
    program_expect_times(p, text, 1, timeout_ms);
}

int program_wait(program *p, int timeout_ms)
{
    int64_t deadline = support_now_ms() + timeout_ms;
    while (read_some(p, deadline, "the end of the program"))
        ;
    int64_t left = deadline - support_now_ms();
    int code = child_wait(p->pid, left > 1000 ? (int)left : 1000);
    p->pid = 0;
    return code;
}

void program_free(program *p)
{
    if (!p)
        return;
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    close(p->output);
    free(p->text);
    free(p);
}

/* ---- Shared memory -------------------------------------------------------------------------------------- */

void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail_msg("mmap of %zu bytes: %s", size, strerror(errno));
    return memory;
}

/* ---- Files ---------------------------------------------------------------------------------------------- */

/* The directories of this process that are to be removed when it ends; children inherit the list and leave it.
 */
typedef struct directory {
    struct directory *next;
    pid_t owner;
    char path[64];
} directory;

static directory *directories;

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    remove(path);
    return 0;
}

void remove_directory(const char *path) { nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

static void remove_directories(void)
{
    for (directory *d; (d = directories);) {
        if (d->owner == getpid())
            remove_directory(d->path);
        directories = d->next;
        free(d);
    }
}

char *temporary_directory(void)
{
    directory *d = calloc(1, sizeof *d);
    assert_non_null(d);
    strcpy(d->path, "/tmp/lightbus-test-XXXXXX");
    if (!mkdtemp(d->path))
        fail_msg("mkdtemp %s: %s", d->path, strerror(errno));
    if (!directories)
        atexit(remove_directories);
    d->owner = getpid();
    d->next = directories;
    directories = d;
    return strdup(d->path);
}

void write_file(const char *path, const char *name, const char *text)
{
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", path, name);
    FILE *file = fopen(full, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        fail_msg("write %s: %s", full, strerror(errno));
}
