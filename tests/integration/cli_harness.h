/* What the tests of the command line share: running the built program against a bus and a cache of their own.
 */
#ifndef TESTS_CLI_HARNESS_H
#define TESTS_CLI_HARNESS_H

#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 20000

typedef struct cli {
    redis_server *redis; /* NULL: a local bus */
    char *folder;        /* temporary; the working directory of the programs, and their cache */
    char url[160], cache[160], home[160];
} cli;

static inline void cli_open_local(cli *c)
{
    c->redis = NULL;
    c->folder = temporary_directory();
    snprintf(c->url, sizeof c->url, "LIGHTBUS_URL=local://%s/bus", c->folder);
    snprintf(c->cache, sizeof c->cache, "XDG_CACHE_HOME=%s/cache", c->folder);
    snprintf(c->home, sizeof c->home, "HOME=%s", c->folder);
}

static inline void cli_open(cli *c)
{
    cli_open_local(c);
    c->redis = redis_server_start(NULL);
    snprintf(c->url, sizeof c->url, "LIGHTBUS_URL=%s", c->redis->url);
}

static inline void cli_close(cli *c)
{
    redis_server_stop(c->redis);
    free(c->folder);
}

/* Starts `lightbus WORDS...`; `setting` ("NAME=value" or NULL) is added to its environment. */
static inline program *cli_start(const cli *c, const char *setting, const char *const *words)
{
    const char *argv[16] = {LIGHTBUS_PROGRAM};
    const char *environment[] = {c->url, c->cache, c->home, "NO_COLOR=", setting, NULL};

    for (size_t i = 0; words[i]; i++)
        argv[i + 1] = words[i];
    return program_start(argv, environment, c->folder);
}
#define START(c, ...) cli_start((c), NULL, (const char *const[]){__VA_ARGS__, NULL})

/* In a child process: what a service that is a binary of its own runs. */
static inline int cli_own_main(cli *c, char **argv, lb_setup_fn setup)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    putenv(c->url);
    return lb_main(argc, argv, setup);
}

static inline void assert_contains(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        fail_msg("expected \"%s\" in: %s", part, text ? text : "(nothing)");
}

/* Waits for the program's end and checks its exit code and that its output holds `part`; NULL: that it has
 * none. */
static inline void cli_ends(program *p, int code, const char *part)
{
    int got = program_wait(p, DEADLINE_MS);

    if (got != code)
        fail_msg("exit code %d, expected %d; its output: %s", got, code, p->text);
    if (part)
        assert_contains(p->text, part);
    else
        assert_string_equal(p->text, "");
    program_free(p);
}
#define RUN(c, code, part, ...) cli_ends(START((c), __VA_ARGS__), (code), (part))

/* Checks that it ends well, and what it printed, exactly. */
static inline void cli_prints(program *p, const char *text)
{
    int code = program_wait(p, DEADLINE_MS);

    if (code != 0)
        fail_msg("exit code %d; its output: %s", code, p->text);
    assert_string_equal(p->text, text);
    program_free(p);
}

/* Checks that the list of processes does not show that text (S33). */
static inline void cli_hides(pid_t pid, const char *text)
{
    char path[64], line[4096] = "";
    FILE *file;
    size_t size;

    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    file = fopen(path, "r");
    assert_non_null(file);
    size = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    assert_true(size > 0);
    for (const char *word = line; word < line + size; word += strlen(word) + 1)
        assert_null(strstr(word, text));
}

/* Starts the service in tests/integration/cli_service, and waits until it is ready. */
static inline program *cli_service(const cli *c)
{
    program *p = START(c, "run", "--bus", TESTS_DIR "/integration/cli_service", "-s", "talker");

    program_expect(p, "Ready.", DEADLINE_MS);
    return p;
}

static inline void cli_stop(program *p)
{
    child_kill(p->pid, SIGTERM);
    cli_ends(p, 0, "Lightbus has stopped.");
}

#endif
