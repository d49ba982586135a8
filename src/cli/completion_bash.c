/* The completion script for bash, 4.2 or later. It needs nothing but bash; names come one per line and are
 * never expanded. */
#include "completion.h"

#include <string.h>

static const char engine[] =
    "_lightbus_offer() { # KIND: sets `offers`, of the values of that kind\n"
    "    local word\n"
    "    case $1 in\n"
    "    FILE) compopt -o filenames; mapfile -t offers < <(compgen -f -- \"$typed\") ;;\n"
    "    FOLDER) compopt -o filenames; mapfile -t offers < <(compgen -d -- \"$typed\") ;;\n"
    "    API | EVENT | API.* | NAME=VALUE)\n"
    "        mapfile -t offers < <(\"${program/#'~'/$HOME}\" completion names \"$1\" -- \\\n"
    "            \"${words[@]:1:${#words[@]}-2}\" 2>/dev/null)\n"
    "        ;;\n"
    "    *'[,...]')\n"
    "        local before=${typed%\"${typed##*,}\"}\n"
    "        IFS='|' read -ra offers <<<\"${1%'[,...]'}\"\n"
    "        offers=(\"${offers[@]/#/$before}\")\n"
    "        ;;\n"
    "    '' | OTHER) ;;\n"
    "    *[a-z]*) IFS='|' read -ra offers <<<\"$1\" ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_lightbus() {\n"
    "    local words=() offers=() line=${COMP_LINE:0:COMP_POINT} word i\n"
    "    # The words up to the cursor, put together where COMP_WORDBREAKS took them apart.\n"
    "    for ((i = 0; i <= COMP_CWORD; i++)); do\n"
    "        if ((i == 0)) || [[ $line == [[:space:]]* ]]; then\n"
    "            line=${line#\"${line%%[![:space:]]*}\"}\n"
    "            words+=('')\n"
    "        fi\n"
    "        word=${COMP_WORDS[i]}\n"
    "        ((i < COMP_CWORD)) || word=$line\n"
    "        words[${#words[@]}-1]+=$word\n"
    "        line=${line#\"$word\"}\n"
    "    done\n"
    "    words=(\"${words[@]//[\\\"\\']/}\")\n"
    "    local program=${words[0]} current=${words[${#words[@]}-1]} replaced=${word#[\\\"\\']}\n"
    "    [[ $replaced != [=:]* ]] || replaced=\n"
    "\n"
    "    local command=${words[1]} flag= ended= place=1 typed=$current kind\n"
    "    for ((i = 2; i < ${#words[@]} - 1; i++)); do\n"
    "        word=${words[i]}\n"
    "        if [[ $flag ]]; then\n"
    "            flag=\n"
    "        elif [[ $ended || $word != -?* ]]; then\n"
    "            ((place++))\n"
    "        elif [[ $word == -- ]]; then\n"
    "            ended=1\n"
    "        elif [[ ${_lightbus_values[\"$command $word\"]} ]]; then\n"
    "            flag=$word\n"
    "        fi\n"
    "    done\n"
    "    if ((${#words[@]} < 3)); then\n"
    "        offers=(\"${!_lightbus_flags[@]}\" --help --version)\n"
    "    elif [[ $flag ]]; then\n"
    "        _lightbus_offer \"${_lightbus_values[\"$command $flag\"]}\"\n"
    "    elif [[ ! $ended && $current == --*=* ]]; then\n"
    "        typed=${current#*=}\n"
    "        _lightbus_offer \"${_lightbus_values[\"$command ${current%%=*}\"]}\"\n"
    "    elif [[ ! $ended && $current == -* ]]; then\n"
    "        IFS=' ' read -ra offers <<<\"${_lightbus_flags[$command]}\"\n"
    "    else\n"
    "        kind=${_lightbus_arguments[\"$command $place\"]}\n"
    "        _lightbus_offer \"${kind:-${_lightbus_arguments[\"$command ...\"]}}\"\n"
    "    fi\n"
    "\n"
    "    local before=${current%\"$typed\"} kept=${current%\"$replaced\"}\n"
    "    COMPREPLY=()\n"
    "    for word in \"${offers[@]}\"; do\n"
    "        if [[ $word == \"$typed\"* ]]; then\n"
    "            word=$before$word\n"
    "            [[ $word == \"$kept\" ]] || COMPREPLY+=(\"${word#\"$kept\"}\")\n"
    "        fi\n"
    "    done\n"
    "    [[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace\n"
    "}\n";

/* A kind as the engine knows it; never empty. */
static void write_kind(FILE *out, const value_word *v)
{
    char text[sizeof v->text + 8];

    snprintf(text, sizeof text, "%s%s",
             v->kind == VALUE_FILE     ? "FILE"
             : v->kind == VALUE_FOLDER ? "FOLDER"
             : v->kind == VALUE_OTHER  ? "OTHER"
                                       : v->text,
             v->kind == VALUE_LIST ? "[,...]" : "");
    for (char *c = text; *c; c++)
        if (*c == ' ')
            *c = '|';
    completion_quote(out, slice_of(text), "");
}

static void write_flag(FILE *out, const invocation *in, const command *c, const flag *f)
{
    (void)in, (void)c;
    fprintf(out, "--%s ", f->name);
}

static void write_value(FILE *out, const invocation *in, const command *c, const flag *f)
{
    (void)in;
    if (!flag_value(f))
        return;
    value_word v = value_of_flag(f);
    fprintf(out, "    ['%s --%s']=", c->name, f->name);
    write_kind(out, &v);
    if (f->letter) {
        fprintf(out, " ['%s -%c']=", c->name, f->letter);
        write_kind(out, &v);
    }
    fputc('\n', out);
}

static void write_arguments(FILE *out, const command *c)
{
    value_word v;
    bool repeats;

    for (size_t place = 1; value_of_argument(c, place, &v, &repeats); place++) {
        if (repeats)
            fprintf(out, "    ['%s ...']=", c->name);
        else
            fprintf(out, "    ['%s %zu']=", c->name, place);
        write_kind(out, &v);
        fputc('\n', out);
    }
}

void completion_bash(FILE *out, const invocation *in)
{
    fprintf(out, "# Completion for bash. Made by \"%s completion bash\"; do not edit.\n", in->program);
    completion_text(out, in, "declare -gA _lightbus_flags=(\n");
    for (const command *const *c = cli_commands; *c; c++) {
        fprintf(out, "    [%s]='", (*c)->name);
        completion_flags(out, in, *c, write_flag);
        fprintf(out, "'\n");
    }
    completion_text(out, in,
                    ")\n# What the values of flags are, and the arguments.\ndeclare -gA _lightbus_values=(\n");
    for (const command *const *c = cli_commands; *c; c++)
        completion_flags(out, in, *c, write_value);
    completion_text(out, in, ")\ndeclare -gA _lightbus_arguments=(\n");
    for (const command *const *c = cli_commands; *c; c++)
        write_arguments(out, *c);
    fputs(")\n\n", out);
    completion_text(out, in, engine);
    completion_text(out, in, "complete -F _lightbus ");
    completion_quote(out, slice_of(in->program), "");
    fputc('\n', out);
}
