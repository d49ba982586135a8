/* lb_main: finds the command, has its flags parsed, runs it. */
#include "cli.h"

#include <lightbus/version.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const command *const cli_commands[] = {&cmd_run,
                                       &cmd_call,
                                       &cmd_fire,
                                       &cmd_listen,
                                       &cmd_inspect,
                                       &cmd_shell,
                                       &cmd_top,
                                       &cmd_doctor,
                                       &cmd_deadletters,
                                       &cmd_dumpschema,
                                       &cmd_schema,
                                       &cmd_local,
                                       &cmd_dumpconfigschema,
                                       &cmd_completion,
                                       &cmd_man,
                                       &cmd_version,
                                       NULL};

const command *cli_command(const char *name)
{
    for (const command *const *c = cli_commands; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

static int unknown_command(const invocation *in, const char *name)
{
    char text[HINT_SIZE];
    suggestion s = suggestion_for(slice_of(name));

    if (name[0] == '-') {
        suggestion_consider(&s, slice_of("--help"));
        suggestion_consider(&s, slice_of("--version"));
        return usage_error(in, "unknown flag \"%s\"%s", name,
                           s.best.size ? hint(&s, text) : "; the flags of a command come after its name");
    }
    for (const command *const *c = cli_commands; *c; c++)
        suggestion_consider(&s, slice_of((*c)->name));
    return usage_error(in, "unknown command \"%s\"%s", name, hint(&s, text));
}

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    if (!path || !*path)
        return "lightbus";
    return slash ? slash + 1 : path;
}

/* The flag's value is one of these: flags_parse has seen to it. */
static void set_log_level(const invocation *in)
{
    static const char *const names[] = {"debug", "info", "warning", "error", "critical"};

    for (int i = 0; i < 5; i++)
        if (strcmp(in->log_level, names[i]) == 0)
            lb_log_set_level((lb_log_level)(LB_LOG_DEBUG + i));
}

static int run_command(invocation *in, int argc, char **argv)
{
    int code = flags_parse(in, argc, argv);

    if (code != CLI_OK)
        return code;
    if (in->help) {
        flags_help(stdout, in);
        return finish_output(in);
    }
    if (in->log_level)
        set_log_level(in);
    return in->command->run(in);
}

/* Standard files that are closed get a place holder that every use fails on; else the next socket would be
 * stdout. */
static void hold_standard_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
}

int lb_main(int argc, char **argv, lb_setup_fn setup)
{
    invocation in = {.program = base_name(argc > 0 ? argv[0] : NULL), .setup = setup};
    const char *name = argc > 1 ? argv[1] : NULL;

    hold_standard_files();
    signal(SIGPIPE, SIG_IGN);         /* a reader that went away is an error of the write */
    setvbuf(stderr, NULL, _IOLBF, 0); /* lines that do not mix with those of the log */
    if (!name) {
        flags_help(stderr, &in);
        return CLI_USAGE;
    }
    if (strcmp(name, "help") == 0 && argc > 2 && !(in.command = cli_command(argv[2])))
        return unknown_command(&in, argv[2]);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        flags_help(stdout, &in);
        return finish_output(&in);
    }
    in.command = strcmp(name, "--version") == 0 ? &cmd_version : cli_command(name);
    if (!in.command)
        return unknown_command(&in, name);
    return run_command(&in, argc - 2, argv + 2);
}

void cli_hide_password(const char *url)
{
    const char *user = strstr(url, "://"), *at, *colon;

    if (!user)
        return;
    user += 3;
    at = memrchr(user, '@', strcspn(user, "/?#"));
    colon = at ? memchr(user, ':', (size_t)(at - user)) : NULL;
    if (colon)
        memset((char *)(uintptr_t)colon + 1, '*', (size_t)(at - colon - 1)); /* argv is ours to write to */
}

static void move_out(const char **url, arena *memory)
{
    const char *copy = *url ? arena_copy(memory, *url, strlen(*url)) : NULL;

    if (!copy)
        return;
    cli_hide_password(*url);
    *url = copy;
}

void cli_hide_passwords(invocation *in, arena *memory)
{
    move_out(&in->url, memory);
    move_out(&in->config, memory);
}

lb_bus *cli_try_open(const invocation *in, lb_options options, lb_error *error)
{
    lb_bus *bus;

    if (in->url)
        options.url = in->url;
    if (in->config)
        options.config = in->config;
    if (in->log_level) /* set already */
        options.log_level = lb_log_get_level();
    if (in->service_name)
        options.service_name = in->service_name;
    if (in->process_name)
        options.process_name = in->process_name;
    bus = lb_open(&options, error); /* it copies them */
    if (in->url)
        cli_hide_password(in->url);
    if (in->config)
        cli_hide_password(in->config);
    return bus;
}

lb_bus *cli_open(const invocation *in, lb_options options)
{
    lb_error error = {0};
    lb_bus *bus = cli_try_open(in, options, &error);

    if (!bus)
        failure(in, &error);
    return bus;
}
