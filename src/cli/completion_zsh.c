/* The completion script for zsh: a specification for _arguments per command. */
#include "completion.h"

#include <string.h>

#define IN_SPEC "[]:\\" /* what _arguments and _describe want a backslash before */

/* The quoted end of a specification, ":WORD:ACTION". */
static void write_action(FILE *out, const invocation *in, const value_word *v)
{
    fprintf(out, "':%s:", v->word);
    switch (v->kind) {
    case VALUE_OTHER:
        fputc(' ', out);
        break;
    case VALUE_WORDS:
        fprintf(out, "(%s)", v->text);
        break;
    case VALUE_LIST:
        fprintf(out, "_sequence compadd - %s", v->text);
        break;
    case VALUE_FILE:
        fputs("_files", out);
        break;
    case VALUE_FOLDER:
        fputs("_files -/", out);
        break;
    case VALUE_NAME:
        completion_text(out, in, " _lightbus_names ");
        fputs(v->text, out);
        break;
    }
    fputc('\'', out);
}

static void write_flag(FILE *out, const invocation *in, const command *c, const flag *f)
{
    bool valued = flag_value(f) != NULL;
    value_word v = valued ? value_of_flag(f) : (value_word){0};

    (void)c;
    fputs("            ", out);
    if (f->letter)
        fprintf(out, "'(-%c --%s)'{-%c%s,--%s%s}", f->letter, f->name, f->letter, valued ? "+" : "", f->name,
                valued ? "=" : "");
    else
        fprintf(out, "'--%s%s'", f->name, valued ? "=" : "");
    fputs("'['", out);
    completion_quote(out, flag_summary(f), IN_SPEC);
    fputs("']'", out);
    if (valued)
        write_action(out, in, &v);
    fputs(" \\\n", out);
}

static void write_arguments(FILE *out, const invocation *in, const command *c)
{
    value_word v;
    bool repeats;

    for (size_t place = 1; value_of_argument(c, place, &v, &repeats); place++) {
        if (repeats)
            fputs("            '*'", out);
        else
            fprintf(out, "            '%zu'", place);
        write_action(out, in, &v);
        fputs(" \\\n", out);
    }
}

static const char beginning[] = "_lightbus_names() { # KIND: offers names on the bus\n"
                                "    local -a found\n"
                                "    found=(${(f)\"$(\"${(Q)program/#\\~/$HOME}\" completion names $1 -- \\\n"
                                "        ${(Q)typed} 2>/dev/null)\"})\n"
                                "    if [[ $1 == NAME=VALUE ]]; then\n"
                                "        compadd -S '' -a found\n"
                                "    else\n"
                                "        compadd -a found\n"
                                "    fi\n"
                                "}\n"
                                "\n"
                                "_lightbus() {\n"
                                "    local program=$words[1] command=$words[2]\n"
                                "    local -a typed=(${words[2,CURRENT-1]}) commands\n"
                                "    if ((CURRENT == 2)); then\n"
                                "        commands=(\n";

static const char middle[] = "        )\n"
                             "        _describe command commands\n"
                             "        compadd -- --help --version\n"
                             "        return\n"
                             "    fi\n"
                             "    shift words\n"
                             "    ((CURRENT--))\n"
                             "    case $command in\n";

static const char end[] = "    esac\n"
                          "}\n"
                          "\n"
                          "if [[ $funcstack[1] == _lightbus ]]; then\n"
                          "    _lightbus \"$@\" # as a file of $fpath\n"
                          "else\n";

void completion_zsh(FILE *out, const invocation *in)
{
    fprintf(out, "#compdef %s\n# Completion for zsh. Made by \"%s completion zsh\"; do not edit.\n",
            in->program, in->program);
    completion_text(out, in, beginning);
    for (const command *const *c = cli_commands; *c; c++) {
        fprintf(out, "            %s:", (*c)->name);
        completion_quote(out, slice_of((*c)->summary), IN_SPEC);
        fputc('\n', out);
    }
    fputs(middle, out);
    for (const command *const *c = cli_commands; *c; c++) {
        fprintf(out, "    %s)\n        _arguments -s -S \\\n", (*c)->name);
        completion_flags(out, in, *c, write_flag);
        write_arguments(out, in, *c);
        fputs("            && return\n        ;;\n", out);
    }
    completion_text(out, in, end);
    completion_text(out, in, "    compdef _lightbus ");
    completion_quote(out, slice_of(in->program), "");
    fputs("\nfi\n", out);
}
