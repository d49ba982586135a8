/* The completion script for fish: a line per flag and per argument. */
#include "completion.h"

#include <string.h>

static const char functions_begin[] =
    "function __lightbus_in # COMMAND: it is the one typed\n"
    "    set -l words (commandline -opc)\n"
    "    test \"$words[2]\" = \"$argv[1]\"\n"
    "end\n"
    "\n"
    "function __lightbus_names # KIND: names on the bus\n"
    "    set -l words (commandline -opc)\n"
    "    set -l program (string replace -r '^~' $HOME -- $words[1])\n"
    "    type -q $program; and $program completion names $argv[1] -- $words[2..-1] 2>/dev/null\n"
    "end\n"
    "\n"
    "function __lightbus_place # prints which argument is to come, from 1\n"
    "    set -l words (commandline -opc)\n"
    "    set -l valued\n"
    "    switch \"$words[2]\"\n";

static const char functions_end[] = "    end\n"
                                    "    set -l place 1\n"
                                    "    set -l skip 0\n"
                                    "    for word in $words[3..-1]\n"
                                    "        if test $skip = 1\n"
                                    "            set skip 0\n"
                                    "        else if contains -- $word $valued\n"
                                    "            set skip 1\n"
                                    "        else if not string match -q -- '-*' $word\n"
                                    "            set place (math $place + 1)\n"
                                    "        end\n"
                                    "    end\n"
                                    "    echo $place\n"
                                    "end\n"
                                    "\n"
                                    "function __lightbus_at # COMMAND PLACE [MOST]: this argument of this "
                                    "command, or one up to MOST, is to come\n"
                                    "    __lightbus_in $argv[1]; or return\n"
                                    "    set -l place (__lightbus_place)\n"
                                    "    test $place -ge $argv[2] -a $place -le $argv[-1]\n"
                                    "end\n"
                                    "\n";

/* In single quotes fish knows \' and \\ alone. */
static void write_quoted(FILE *out, lb_slice text)
{
    fputc('\'', out);
    for (size_t i = 0; i < text.size; i++)
        fprintf(out, "%s%c", strchr("'\\", text.data[i]) ? "\\" : "", text.data[i]);
    fputc('\'', out);
}

/* Begins a line: for the program, under a condition in which _lightbus is the program's. */
static void begin_line(FILE *out, const invocation *in)
{
    fputs("complete -c ", out);
    write_quoted(out, slice_of(in->program));
}

/* What to offer for a value. */
static void write_value(FILE *out, const invocation *in, const value_word *v)
{
    switch (v->kind) {
    case VALUE_OTHER:
        fputs(" -x", out);
        break;
    case VALUE_WORDS:
        fprintf(out, " -x -a '%s'", v->text);
        break;
    case VALUE_LIST:
        fprintf(out, " -x -a \"(__fish_complete_list , 'string split \\\" \\\" \\\"%s\\\"')\"", v->text);
        break;
    case VALUE_FILE:
        fputs(" -r -F", out);
        break;
    case VALUE_FOLDER:
        fputs(" -x -a '(__fish_complete_directories)'", out);
        break;
    case VALUE_NAME:
        completion_text(out, in, " -x -a '(__lightbus_names ");
        fprintf(out, "%s)'", v->text);
        break;
    }
}

static void write_flag(FILE *out, const invocation *in, const command *c, const flag *f)
{
    begin_line(out, in);
    completion_text(out, in, " -n '__lightbus_in ");
    fprintf(out, "%s' -l %s", c->name, f->name);
    if (f->letter)
        fprintf(out, " -s %c", f->letter);
    if (flag_value(f)) {
        value_word v = value_of_flag(f);
        write_value(out, in, &v);
    }
    fputs(" -d ", out);
    write_quoted(out, flag_summary(f));
    fputc('\n', out);
}

static void write_arguments(FILE *out, const invocation *in, const command *c)
{
    value_word v;
    bool repeats;

    for (size_t place = 1; value_of_argument(c, place, &v, &repeats); place++) {
        if (v.kind == VALUE_OTHER)
            continue;
        begin_line(out, in);
        completion_text(out, in, " -n '__lightbus_at ");
        fprintf(out, "%s %zu%s'", c->name, place, repeats ? " 1000" : "");
        write_value(out, in, &v);
        fputc('\n', out);
    }
}

static void write_valued(FILE *out, const invocation *in, const command *c, const flag *f)
{
    (void)in, (void)c;
    if (!flag_value(f))
        return;
    fprintf(out, " --%s", f->name);
    if (f->letter)
        fprintf(out, " -%c", f->letter);
}

static void write_command(FILE *out, const invocation *in, const command *c)
{
    begin_line(out, in);
    fprintf(out, " -n __fish_use_subcommand -x -a %s -d ", c->name);
    write_quoted(out, slice_of(c->summary));
    fputc('\n', out);
    completion_flags(out, in, c, write_flag);
    write_arguments(out, in, c);
}

void completion_fish(FILE *out, const invocation *in)
{
    fprintf(out, "# Completion for fish. Made by \"%s completion fish\"; do not edit.\n", in->program);
    completion_text(out, in, functions_begin);
    for (const command *const *c = cli_commands; *c; c++) {
        fprintf(out, "        case %s\n            set valued", (*c)->name);
        completion_flags(out, in, *c, write_valued);
        fputc('\n', out);
    }
    completion_text(out, in, functions_end);
    begin_line(out, in);
    fputs(" -f\n", out);
    begin_line(out, in);
    fputs(" -n __fish_use_subcommand -l help -d 'show the help'\n", out);
    begin_line(out, in);
    fputs(" -n __fish_use_subcommand -l version -d 'show the version'\n", out);
    for (const command *const *c = cli_commands; *c; c++)
        write_command(out, in, *c);
}
