/* lightbus shell: a prompt to call, fire, listen and look around. */
#include "shell.h"

#include <langinfo.h>
#include <lightbus/version.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Characters are UTF-8, whatever the environment forgot to say. */
static void set_characters(void)
{
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static void greet(const shell *s)
{
    size_t count = lb_value_count(s->schemas);
    printf("%sLightbus " LIGHTBUS_VERSION " on ", s->colours.dim);
    print_safe(stdout, lb_url(s->bus));
    if (count)
        printf("\n%zu API%s", count, count == 1 ? "" : "s");
    else
        printf("\nNo API is on the bus yet");
    printf(". \"help\" tells more, Tab completes, Ctrl-D leaves.%s\n", s->colours.off);
}

/* A person goes on after an error; a script ends at the first one, before it does harm. */
static void read_and_run(shell *s, const char *text)
{
    shell_reader reader;
    shell_input input;
    shell_reader_open(&reader, s, text);
    while (!s->leaving && (input = shell_read(&reader)) != SHELL_END) {
        if (input == SHELL_LINE)
            shell_run(s);
        s->leaving |= !s->interactive && s->code != CLI_OK;
    }
    shell_reader_close(&reader);
}

static int open_bus(shell *s)
{
    lb_options options = {.flags = LB_OPEN_STRICT_VALIDATION, .log_level = LB_LOG_WARNING};
    invocation *in = s->in;
    lb_error error = {0};
    if (in->timeout && !flags_seconds(in->timeout, &options.rpc_timeout_ms))
        return usage_error(in, "--timeout: expected seconds above 0, like 2.5, got \"%s\"", in->timeout);
    options.event_fire_timeout_ms = options.rpc_timeout_ms;
    s->url = in->url ? strdup(in->url) : NULL;
    s->config = in->config ? strdup(in->config) : NULL;
    s->bus = cli_open(in, options);
    if (!s->bus)
        return CLI_FAILURE;
    int code = set_up_without_serving(in, s->bus);
    if (code == CLI_OK && shell_look(s, 0, &error) != LB_OK)
        code = failure(in, &error);
    return code;
}

static void free_shell(shell *s)
{
    for (map_entry *e = NULL; (e = map_next(&s->variables, e));)
        lb_value_free(e->value);
    map_free(&s->variables);
    lb_value_free(s->schemas);
    lb_close(s->bus);
    buffer_free(&s->statement);
    free(s->url);
    free(s->config);
}

static int shell_command(invocation *in)
{
    shell s = {.in = in, .colours = colours_for(stdout), .error_colours = colours_for(stderr)};
    if (in->count)
        return usage_error(in, "unexpected argument \"%s\"; a line to run is given with --command",
                           in->arguments[0]);
    s.interactive = !in->line && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    set_characters();
    int code = open_bus(&s);
    if (code != CLI_OK) {
        free_shell(&s);
        return code;
    }
    shell_signals_begin();
    if (s.interactive)
        greet(&s);
    read_and_run(&s, in->line);
    free_shell(&s);
    shell_signals_end();
    return s.interactive ? CLI_OK : s.code;
}

static const flag flags[] = {
    {"bus", "PATH", "with the APIs of this bus module", offsetof(invocation, bus), 'b', true},
    {"command", "LINE", "run this line, not standard input", offsetof(invocation, line), 'c', false},
    {"timeout", "SECONDS", "how long to wait for a result (5)", offsetof(invocation, timeout), 0, false},
    {"trace", NULL, "with remote errors, show their traces", offsetof(invocation, trace), 0, false},
    {0},
};

static const term files[] = {
    {"$XDG_STATE_HOME/lightbus/history",
     "what was typed before, for the Up key; without XDG_STATE_HOME, in ~/.local/state", false},
    {0},
};

const command cmd_shell = {
    .name = "shell",
    .summary = "A prompt to call RPCs, fire events, listen and look around.",
    .arguments = "",
    .details = "Calls are written as in Python, values as in Python or JSON; Tab completes\n"
               "names, arguments and values; \"help\" in the shell tells more. In a pipe, each\n"
               "line is run, and the first error ends it with exit code 1.\n\n"
               "  lightbus shell\n"
               "  lightbus shell -c 'auth.check_password(username=\"admin\", password=\"secret\")'\n"
               "  lightbus shell < script | jq .\n",
    .files = files,
    .flags = flags,
    .run = shell_command,
};
