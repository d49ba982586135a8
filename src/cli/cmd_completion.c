/* lightbus completion: prints a completion script for a shell. The script knows commands, flags and fixed words
 * by itself; for names on the bus it runs `lightbus completion names`, which says what it can within a second,
 * and otherwise nothing. */
#include "completion.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "inspect.h"

enum { NAMES_PATIENCE_MS = 800 };

/* ---- Names on the bus ------------------------------------------------------------------------------- */

static void give_up(int signal_number)
{
    (void)signal_number;
    _exit(CLI_OK);
}

/* Whatever a configuration or a bus makes us wait for: somebody has pressed a key and looks at the screen. */
static void limit_time(void)
{
    const struct itimerval timer = {
        .it_value = {.tv_sec = NAMES_PATIENCE_MS / 1000, .tv_usec = NAMES_PATIENCE_MS % 1000 * 1000}};

    signal(SIGALRM, give_up);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void be_silent(void)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (nowhere >= 0)
        dup2(nowhere, STDERR_FILENO);
}

/* A name may come from anybody on the bus, and shells give some characters a meaning. (The bus itself refuses
 * such names of APIs and their members, but not of parameters.) */
static bool is_plain(lb_slice name)
{
    for (size_t i = 0; i < name.size; i++)
        if (!isalnum((unsigned char)name.data[i]) && !strchr("_.-", name.data[i]))
            return false;
    return name.size > 0 && name.data[0] != '-';
}

static void print_names(const char *prefix, const lb_value *dict, const char *suffix)
{
    for (lb_value_iterator it = lb_value_iterate(dict); lb_value_next(&it);)
        if (is_plain((lb_slice){it.name, it.name_size}))
            printf("%s%.*s%s\n", prefix, (int)it.name_size, it.name, suffix);
}

/* The members of all APIs, as API.MEMBER; or, of the APIs that `pattern` matches, their names alone. */
static void print_members(const lb_value *schemas, const char *half, const char *pattern, bool with_api)
{
    char prefix[256];

    for (lb_value_iterator it = lb_value_iterate(schemas); lb_value_next(&it);) {
        if (pattern && !pattern_matches(pattern, it.name))
            continue;
        snprintf(prefix, sizeof prefix, "%s%s", with_api ? it.name : "", with_api ? "." : "");
        print_names(prefix, lb_value_get(it.value, half), "");
    }
}

static bool is_given(const invocation *words, lb_slice name)
{
    for (size_t i = 1; i < words->count; i++)
        if (strncmp(words->arguments[i], name.data, name.size) == 0 && words->arguments[i][name.size] == '=')
            return true;
    return false;
}

/* The parameters of the procedure or event that the first argument names, without those that have a value. */
static void print_parameters(const lb_value *schemas, const invocation *words)
{
    const char *name = words->count ? words->arguments[0] : "", *dot = strrchr(name, '.');
    char api[256];

    if (!dot || (size_t)(dot - name) >= sizeof api)
        return;
    snprintf(api, sizeof api, "%.*s", (int)(dot - name), name);
    const lb_value *schema = lb_value_get(schemas, api);
    const lb_value *member = lb_value_get(lb_value_get(schema, "rpcs"), dot + 1);
    if (!member)
        member = lb_value_get(lb_value_get(schema, "events"), dot + 1);
    const lb_value *parameters = lb_value_get(lb_value_get(member, "parameters"), "properties");
    for (lb_value_iterator it = lb_value_iterate(parameters); lb_value_next(&it);) {
        lb_slice parameter = {it.name, it.name_size};
        if (is_plain(parameter) && !is_given(words, parameter))
            printf("%.*s=\n", (int)it.name_size, it.name);
    }
}

static void print_wanted(const char *wanted, const lb_value *schemas, const invocation *words)
{
    if (strcmp(wanted, "API") == 0)
        print_names("", schemas, "");
    else if (strcmp(wanted, "EVENT") == 0)
        print_members(schemas, "events", words->api, false);
    else if (strcmp(wanted, "API.PROCEDURE") == 0)
        print_members(schemas, "rpcs", NULL, true);
    else if (strcmp(wanted, "API.EVENT") == 0)
        print_members(schemas, "events", NULL, true);
    else if (strcmp(wanted, "NAME=VALUE") == 0)
        print_parameters(schemas, words);
}

/* The last word may be a flag whose value is still to come. */
static bool read_words(invocation *words, int argc, char **argv)
{
    return flags_parse(words, argc, argv) == CLI_OK ||
           (argc > 0 && flags_parse(words, argc - 1, argv) == CLI_OK);
}

/* `completion names WORD -- COMMAND WORDS...`: what may stand for WORD where WORDS were typed before. */
static int names(invocation *in)
{
    invocation words = {.program = in->program, .setup = in->setup};
    lb_value *schemas = NULL;
    lb_bus *bus = NULL;

    be_silent();
    limit_time();
    if (in->count < 3 || !(words.command = cli_command(in->arguments[2])))
        return CLI_OK;
    lb_log_set_level(LB_LOG_CRITICAL);
    if (read_words(&words, (int)in->count - 3, in->arguments + 3))
        bus = cli_open(&words, (lb_options){.log_level = LB_LOG_CRITICAL});
    if (bus && lb_schema_dump(bus, &schemas, NULL) == LB_OK)
        print_wanted(in->arguments[1], schemas, &words);
    lb_value_free(schemas);
    lb_close(bus);
    return finish_output(in);
}

/* ---- Scripts ---------------------------------------------------------------------------------------- */

void completion_quote(FILE *out, lb_slice text, const char *escaped)
{
    fputc('\'', out);
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (strchr(escaped, c))
            fputc('\\', out);
        if (c == '\'')
            fputs("'\\''", out);
        else
            fputc(c, out);
    }
    fputc('\'', out);
}

void completion_text(FILE *out, const invocation *in, const char *text)
{
    static const char stem[] = "_lightbus";
    const char *found;

    for (; (found = strstr(text, stem)); text = found + sizeof stem - 1) {
        fprintf(out, "%.*s_", (int)(found - text), text);
        for (const char *c = in->program; *c; c++)
            fputc(isalnum((unsigned char)*c) ? *c : '_', out);
    }
    fputs(text, out);
}

void completion_flags(FILE *out, const invocation *in, const command *c, completion_flag_fn *body)
{
    const flag *table;

    for (size_t t = 0; (table = flags_table(c, t)); t++)
        for (const flag *f = table; f->name; f++)
            if (flag_is_offered(in, f))
                body(out, in, c, f);
}

static const struct shell {
    const char *name;
    const char *before, *after; /* what stands around the program's name in that of its file */
    void (*write)(FILE *out, const invocation *in);
} shells[] = {
    {"bash", "", "", completion_bash},
    {"zsh", "_", "", completion_zsh},
    {"fish", "", ".fish", completion_fish},
};
enum { SHELLS = sizeof shells / sizeof *shells };

/* A file for each shell, by the name that the shell looks for. */
static int write_all(const invocation *in)
{
    char path[PATH_MAX];
    int code = CLI_OK;

    for (size_t i = 0; i < SHELLS && code == CLI_OK; i++) {
        snprintf(path, sizeof path, "%s/%s%s%s", in->out, shells[i].before, in->program, shells[i].after);
        FILE *file = output_open(in, path);
        if (!file)
            return CLI_FAILURE;
        shells[i].write(file, in);
        code = output_close(in, path, file);
    }
    return code;
}

static int completion(invocation *in)
{
    const char *wanted = in->count ? in->arguments[0] : "";
    char text[HINT_SIZE];
    suggestion s = suggestion_for(slice_of(wanted));

    if (strcmp(wanted, "names") == 0)
        return names(in);
    if (in->out && !in->count)
        return write_all(in);
    if (in->count != 1 || in->out)
        return usage_error(in, "expected bash, zsh or fish, or --out alone");
    for (size_t i = 0; i < SHELLS; i++) {
        if (strcmp(wanted, shells[i].name) == 0) {
            shells[i].write(stdout, in);
            return finish_output(in);
        }
        suggestion_consider(&s, slice_of(shells[i].name));
    }
    return usage_error(in, "expected bash, zsh or fish, got \"%s\"%s", wanted, hint(&s, text));
}

static const flag flags[] = {
    {"out", "FOLDER", "write all of them into this folder instead", offsetof(invocation, out), 'o', false},
    {0},
};

const command cmd_completion = {
    .name = "completion",
    .summary = "Prints a completion script for a shell.",
    .arguments = "bash | zsh | fish",
    .details = "An installed program has its scripts in place. By hand:\n\n"
               "  source <(lightbus completion bash)\n"
               "  source <(lightbus completion zsh)\n"
               "  lightbus completion fish | source\n\n"
               "The script asks the bus for the names of APIs, procedures, events and\n"
               "parameters, and goes without them when there is no answer at once.\n",
    .flags = flags,
    .offline = true,
    .run = completion,
};
