/* What the tests of `lightbus run` share: a service on a local bus whose workers say who they are. */
#ifndef TESTS_RUN_HARNESS_H
#define TESTS_RUN_HARNESS_H

#include "cli_harness.h"

#include <sys/stat.h>
#include <unistd.h>

static cli c;
static lb_bus *client;

static inline int open_service(void **state)
{
    lb_error error = {0};
    lb_options options = {.rpc_timeout_ms = DEADLINE_MS};

    (void)state;
    cli_open_local(&c);
    options.url = strchr(c.url, '=') + 1;
    client = lb_open(&options, &error);
    if (!client)
        fail_msg("lb_open: %s", error.message);
    return 0;
}

static inline int close_service(void **state)
{
    (void)state;
    lb_close(client);
    cli_close(&c);
    return 0;
}

#define service_test(f) cmocka_unit_test_setup_teardown(f, open_service, close_service)

/* A bus.c that serves test.run; `setup` is code that lb_setup begins with. */
static inline void write_named_service(const char *name, int version, const char *setup)
{
    char text[1000];

    snprintf(text, sizeof text, "#define VERSION %d\n#define SETUP %s\n#include \"%s\"\n", version, setup,
             TESTS_DIR "/integration/run_service/service.h");
    write_file(c.folder, name, text);
}

static inline void write_service(int version, const char *setup)
{
    write_named_service("bus.c", version, setup);
}

static inline bool file_exists(const char *name)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", c.folder, name);
    return access(path, F_OK) == 0;
}

/* How often lb_setup has run. */
static inline int starts(void)
{
    char path[200];
    struct stat info;

    snprintf(path, sizeof path, "%s/starts", c.folder);
    return stat(path, &info) == 0 ? (int)info.st_size : 0;
}

/* The one that answered. */
typedef struct answer {
    pid_t pid;
    char process[64], service[64];
} answer;

static inline answer ask(void)
{
    lb_value *value = NULL;
    lb_error error = {0};
    answer a = {0};

    assert_ok(lb_call(client, "test.run.who", LB_NO_ARGS, &value, &error), &error);
    assert_int_equal(sscanf(lb_value_str(value), "%d %63s %63s", &a.pid, a.process, a.service), 3);
    lb_value_free(value);
    return a;
}

static inline int64_t ask_version(void)
{
    lb_value *value = NULL;
    lb_error error = {0};
    int64_t version;

    assert_ok(lb_call(client, "test.run.version", LB_NO_ARGS, &value, &error), &error);
    version = lb_value_int(value);
    lb_value_free(value);
    return version;
}

static inline bool is_among(const answer *known, int count, pid_t pid)
{
    for (int i = 0; i < count; i++)
        if (known[i].pid == pid)
            return true;
    return false;
}

/* Asks until that many workers have answered, none of which is `gone`. Every call is answered. */
static inline void find_workers(answer *found, int count, pid_t gone)
{
    int64_t deadline = support_now_ms() + DEADLINE_MS;
    int known = 0;

    while (known < count) {
        answer a = ask();
        if (support_now_ms() > deadline)
            fail_msg("%d of %d workers have answered", known, count);
        if (a.pid != gone && !is_among(found, known, a.pid))
            found[known++] = a;
    }
}

static inline bool is_gone(pid_t pid)
{
    char path[64], text[512] = "";
    FILE *file;
    const char *after_name;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (!file)
        return true;
    after_name = fgets(text, sizeof text, file) ? strrchr(text, ')') : NULL;
    fclose(file);
    return !after_name || after_name[2] == 'Z' || after_name[2] == 'X'; /* nobody waits for it here */
}

static inline void expect_ready(program *p, int workers)
{
    char text[32];

    for (int i = 1; i <= workers; i++) {
        snprintf(text, sizeof text, "[%d] Ready.", i);
        program_expect(p, workers > 1 ? text : "Ready.", DEADLINE_MS);
    }
}

static inline int count_of(const char *text, const char *part)
{
    int count = 0;

    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

#endif
