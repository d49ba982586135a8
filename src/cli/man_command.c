/* The manual pages of the program and of its commands. What their tables do not say, because it holds for all
 * of them, is said here. */
#include "man.h"

#include "../config/options.h"

#include <string.h>

static const term exit_codes[] = {
    {"0", "done, or stopped by a signal after a clean end", false},
    {"1",
     "it failed: one line on standard error says what and where. A wrong configuration is such a failure, "
     "and nothing was sent then",
     false},
    {"2", "wrong usage: an unknown command or flag, or a malformed argument. Nothing was sent", false},
    {0},
};
static const term output_environment[] = {
    {"NO_COLOR", "if it is set and not empty, there are no colours on a terminal", false},
    {0},
};
static const term bus_environment[] = {
    {"LIGHTBUS_CONFIG", "the configuration, where --config is not given", false},
    {"XDG_RUNTIME_DIR, XDG_STATE_HOME", "where the folder of a local bus is, see FILES", false},
    {0},
};
static const term bus_files[] = {
    {"lightbus.yaml", "a configuration, by any name and in any place: see lightbus.yaml(5)", false},
    {"$XDG_RUNTIME_DIR/lightbus/",
     "the local buses of this user; without that variable they are in "
     "$XDG_STATE_HOME/lightbus, and without that in ~/.local/state/lightbus",
     false},
    {0},
};

static const char *page_name(const invocation *in, const command *c, char out[128])
{
    snprintf(out, 128, "%s%s%s", in->program, c ? "-" : "", c ? c->name : "");
    return out;
}

static void write_terms(buffer *out, const invocation *in, const term *terms)
{
    for (; terms && terms->name; terms++)
        if (!terms->without_setup || !in->setup)
            roff_term(out, terms);
}

/* ---- Flags ------------------------------------------------------------------------------------------ */

static void write_flag(buffer *out, const flag *f)
{
    const option *o = f->help ? NULL : option_of_flag(f->name);
    char text[80];

    buffer_literal(out, ".TP\n");
    if (f->letter) {
        snprintf(text, sizeof text, "-%c", f->letter);
        roff_bold(out, text);
        buffer_literal(out, ", ");
    }
    snprintf(text, sizeof text, "--%s", f->name);
    roff_bold(out, text);
    if (flag_value(f)) {
        buffer_char(out, ' ');
        roff_usage(out, flag_value(f));
    }
    buffer_char(out, '\n');
    roff_line(out, o ? o->help : f->help);
    if (o && o->otherwise) {
        buffer_literal(out, "The default is ");
        roff_bold(out, o->otherwise);
        buffer_literal(out, ".\n");
    }
}

/* Those of one table that the program offers, below a title. */
static void write_flags(buffer *out, const invocation *in, const char *title, const flag *table)
{
    for (const flag *f = table; f->name; f++) {
        if (!flag_is_offered(in, f))
            continue;
        if (title)
            roff_section(out, title);
        title = NULL;
        write_flag(out, f);
    }
}

static void write_option_environment(buffer *out, const flag *table)
{
    for (const flag *f = table; f->name; f++) {
        const option *o = f->help ? NULL : option_of_flag(f->name);
        if (!o || !o->environment)
            continue;
        char text[80];
        snprintf(text, sizeof text, "as --%s, where neither that nor the configuration says it", f->name);
        roff_term(out, &(term){.name = o->environment, .meaning = text});
    }
}

/* ---- The sections that all pages have --------------------------------------------------------------- */

static void write_exit_status(buffer *out, const invocation *in, const command *c)
{
    roff_section(out, "exit status");
    if (c && c->exit_codes)
        roff_line(out, c->exit_codes);
    else
        write_terms(out, in, exit_codes);
}

static void write_environment(buffer *out, const invocation *in, const command *c)
{
    const flag *table;

    roff_section(out, "environment");
    for (size_t t = 0; (table = flags_table(c, t)); t++)
        write_option_environment(out, table);
    if (!c->offline)
        write_terms(out, in, bus_environment);
    write_terms(out, in, c->environment);
    write_terms(out, in, output_environment);
}

static void write_files(buffer *out, const invocation *in, const command *c)
{
    if (c->offline && !c->files)
        return;
    roff_section(out, "files");
    write_terms(out, in, c->files);
    if (!c->offline)
        write_terms(out, in, bus_files);
}

static void see(buffer *out, const char *page, const char *self)
{
    if (strcmp(page, self) == 0)
        return;
    roff_bold(out, page);
    buffer_literal(out, "(1),\n");
}

void man_see_also(buffer *out, const invocation *in, const char *name)
{
    char page[128];

    roff_section(out, "see also");
    for (const command *const *c = cli_commands; *c; c++)
        see(out, page_name(in, *c, page), name);
    see(out, in->program, name);
    if (strcmp(name, "lightbus.yaml") == 0) {
        out->size -= out->failed ? 0 : 2; /* the last comma */
        buffer_char(out, '\n');
        return;
    }
    roff_bold(out, "lightbus.yaml");
    buffer_literal(out, "(5)\n");
}

/* ---- The pages -------------------------------------------------------------------------------------- */

void man_command(buffer *out, const invocation *in)
{
    const command *c = in->command;
    const char *modules = c->module_details && !in->setup ? c->module_details : "";
    buffer examples = {0};
    char name[128];

    roff_begin(out, page_name(in, c, name), 1, c->summary);
    roff_section(out, "synopsis");
    roff_bold(out, in->program);
    buffer_char(out, ' ');
    roff_bold(out, c->name);
    buffer_literal(out, " [\\fIFLAGS\\fR] ");
    roff_usage(out, c->arguments);
    buffer_char(out, '\n');
    roff_section(out, "description");
    roff_line(out, c->summary);
    roff_paragraphs(out, c->details ? c->details : "", false);
    roff_paragraphs(out, modules, false);
    write_flags(out, in, "options", c->flags);
    const flag *table;
    for (size_t t = 1; (table = flags_table(c, t)); t++)
        write_flags(out, in, t == 1 ? "common options" : NULL, table);
    write_exit_status(out, in, c);
    write_environment(out, in, c);
    write_files(out, in, c);
    roff_paragraphs(&examples, c->details ? c->details : "", true);
    roff_paragraphs(&examples, modules, true);
    if (examples.size) {
        roff_section(out, "examples");
        buffer_add(out, examples.data, examples.size);
    }
    buffer_free(&examples);
    man_see_also(out, in, name);
}

static const char program_details[] =
    "Services call each other's procedures (RPCs) and hear of each other's events: on one machine without any "
    "server, between machines over Redis. This program serves APIs that are written in C, calls procedures, "
    "fires events, and shows what is on a bus.\n\n"
    "Results go to standard output, everything else to standard error. Colours and indented JSON are for "
    "terminals; a pipe gets neither. Flags come after the name of the command, before or after its arguments, "
    "as --flag VALUE or --flag=VALUE; \"--\" ends them.\n";

static const char program_examples[] =
    "  lightbus run --bus auth_service/\n"
    "  lightbus call auth.check_password username=admin password=secret\n"
    "  lightbus fire auth.user_registered username=adam email=adam@example.com\n"
    "  lightbus listen 'auth.*'\n\n"
    "  LIGHTBUS_URL=redis://127.0.0.1:6379/0 lightbus inspect --format human\n";

void man_program(buffer *out, const invocation *in)
{
    roff_begin(out, in->program, 1, "RPCs and events between services");
    roff_section(out, "synopsis");
    roff_bold(out, in->program);
    buffer_literal(out, " \\fICOMMAND\\fR [\\fIFLAGS\\fR] [\\fIARGUMENTS\\fR]\n.br\n");
    roff_bold(out, in->program);
    buffer_literal(out, " \\fB\\-\\-help\\fR | \\fB\\-\\-version\\fR\n");
    roff_section(out, "description");
    roff_paragraphs(out, program_details, false);
    roff_section(out, "commands");
    for (const command *const *c = cli_commands; *c; c++)
        roff_term(out, &(term){.name = (*c)->name, .meaning = (*c)->summary});
    const flag *table; /* those of all commands: run has them all */
    for (size_t t = 1; (table = flags_table(&cmd_run, t)); t++)
        write_flags(out, in, t == 1 ? "common options" : NULL, table);
    write_exit_status(out, in, NULL);
    write_environment(out, in, &cmd_run);
    write_files(out, in, &cmd_run);
    roff_section(out, "examples");
    roff_paragraphs(out, program_examples, true);
    man_see_also(out, in, in->program);
}
