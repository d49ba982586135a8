/* lightbus man: prints a manual page, or writes them all into a folder, as the installation does. */
#include "man.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_PAGE "lightbus.yaml"

typedef void page_fn(buffer *out, const invocation *in);

/* For free(); NULL with the message printed. */
static char *make_page(const invocation *in, page_fn *write, const command *c)
{
    invocation of = {.program = in->program, .setup = in->setup, .command = c};
    lb_error error = {.status = LB_NO_MEMORY};
    buffer page = {0};

    write(&page, &of);
    char *text = buffer_text(&page);
    if (!text) {
        buffer_free(&page);
        failure(in, &error);
    }
    return text;
}

static int print_page(const invocation *in, page_fn *write, const command *c)
{
    char *text = make_page(in, write, c);
    int code = text ? CLI_OK : CLI_FAILURE;

    if (text)
        fputs(text, stdout);
    free(text);
    return code == CLI_OK ? finish_output(in) : code;
}

static int write_page(const invocation *in, page_fn *write, const command *c, const char *name)
{
    char path[PATH_MAX];
    char *text = make_page(in, write, c);
    FILE *file = NULL;
    int code = CLI_FAILURE;

    snprintf(path, sizeof path, "%s/%s", in->out, name);
    if (text && (file = output_open(in, path))) {
        fputs(text, file);
        code = output_close(in, path, file);
    }
    free(text);
    return code;
}

static int write_all(const invocation *in)
{
    char name[128];
    int code;

    snprintf(name, sizeof name, "%s.1", in->program);
    code = write_page(in, man_program, NULL, name);
    for (const command *const *c = cli_commands; *c && code == CLI_OK; c++) {
        snprintf(name, sizeof name, "%s-%s.1", in->program, (*c)->name);
        code = write_page(in, man_command, *c, name);
    }
    return code == CLI_OK ? write_page(in, man_config, NULL, CONFIG_PAGE ".5") : code;
}

static int unknown_page(const invocation *in, const char *name)
{
    char text[HINT_SIZE];
    suggestion s = suggestion_for(slice_of(name));

    suggestion_consider(&s, slice_of(CONFIG_PAGE));
    for (const command *const *c = cli_commands; *c; c++)
        suggestion_consider(&s, slice_of((*c)->name));
    return usage_error(in, "no page \"%s\"%s", name,
                       s.best.size ? hint(&s, text) : "; there is one for each command, and " CONFIG_PAGE);
}

static int man(invocation *in)
{
    const char *wanted = in->count ? in->arguments[0] : NULL;
    const command *c = wanted ? cli_command(wanted) : NULL;

    if (in->count > 1 || (wanted && in->out))
        return usage_error(in, "expected one page, or --out alone");
    if (in->out)
        return write_all(in);
    if (!wanted)
        return print_page(in, man_program, NULL);
    if (strcmp(wanted, CONFIG_PAGE) == 0)
        return print_page(in, man_config, NULL);
    if (c)
        return print_page(in, man_command, c);
    return unknown_page(in, wanted);
}

static const flag flags[] = {
    {"out", "FOLDER", "write all pages into this folder instead", offsetof(invocation, out), 'o', false},
    {0},
};

const command cmd_man = {
    .name = "man",
    .summary = "Prints a manual page, as roff.",
    .arguments = "[COMMAND|lightbus.yaml]",
    .details = "Without an argument, that of the program. An installed program has its pages in\n"
               "place: man lightbus, man lightbus-call, man lightbus.yaml.\n\n"
               "  lightbus man call | man -l -\n",
    .flags = flags,
    .offline = true,
    .run = man,
};
