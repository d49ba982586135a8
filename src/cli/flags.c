/* Flags: argv is read by the commands' tables, and --help is printed from them, so that neither can know what
 * the other does not. Flags and arguments may be mixed; "--" ends the flags; a flag given twice counts as its
 * last. */
#include "values.h"

#include "../base/number.h"
#include "../config/options.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const flag bus_flags[] = {
    {"config", "FILE", "YAML or JSON, or an http(s) URL (LIGHTBUS_CONFIG)", offsetof(invocation, config), 0,
     false},
    {"url", NULL, NULL, offsetof(invocation, url), 0, false},
    {"service-name", NULL, NULL, offsetof(invocation, service_name), 's', false},
    {"process-name", NULL, NULL, offsetof(invocation, process_name), 'p', false},
    {"log-level", NULL, NULL, offsetof(invocation, log_level), 0, false},
    {0},
};
static const flag general_flags[] = {
    {"help", NULL, "show this help", offsetof(invocation, help), 'h', false},
    {0},
};

const flag *flags_table(const command *c, size_t walk)
{
    const flag *tables[3] = {c->flags, c->offline ? general_flags : bus_flags,
                             c->offline ? NULL : general_flags};
    return walk < 3 ? tables[walk] : NULL;
}

const char *flag_value(const flag *f) { return f->help ? f->value : option_of_flag(f->name)->parameter; }

bool flag_is_offered(const invocation *in, const flag *f) { return !(f->without_setup && in->setup); }

static const flag *find_flag(const invocation *in, const char *name, size_t size, char letter)
{
    const flag *table;

    for (size_t t = 0; (table = flags_table(in->command, t)); t++)
        for (const flag *f = table; f->name; f++) {
            if (!flag_is_offered(in, f))
                continue;
            if (letter ? f->letter == letter : strlen(f->name) == size && strncmp(f->name, name, size) == 0)
                return f;
        }
    return NULL;
}

/* Of Python Lightbus: scripts that still have them are told why they are gone. */
static const struct {
    const char *command, *name;
    char letter;
    const char *why;
} gone[] = {
    {"version", "pyproject", 0, "there is no pyproject.toml; the version is that of the library"},
    {"version", "docs", 0, "there is one version, that of the library"},
};

static const char *why_gone(const invocation *in, const char *word)
{
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (strcmp(gone[i].command, in->command->name) == 0 &&
            (word[1] == '-' ? strcmp(word + 2, gone[i].name) == 0 : word[1] == gone[i].letter))
            return gone[i].why;
    return NULL;
}

static int unknown_flag(const invocation *in, const char *word)
{
    const flag *table;
    const char *why = why_gone(in, word);
    char text[HINT_SIZE], dashed[72];
    size_t size = strcspn(word, "="), dashes = word[1] == '-' ? 2 : 1;
    suggestion s = suggestion_for((lb_slice){word + dashes, size > dashes ? size - dashes : 0});

    if (why)
        return usage_error(in, "%s: %s", word, why);
    for (size_t t = 0; (table = flags_table(in->command, t)); t++)
        for (const flag *f = table; f->name; f++)
            if (flag_is_offered(in, f))
                suggestion_consider(&s, slice_of(f->name));
    if (s.best.size) {
        snprintf(dashed, sizeof dashed, "--%s", s.best.data);
        s.best = slice_of(dashed);
    }
    return usage_error(in, "unknown flag \"%.*s\"%s", (int)size, word, hint(&s, text));
}

/* The words of a list as "a, b or c", and the nearest of them to `value`. */
static int not_a_choice(const invocation *in, const flag *f, const char *value, char *words)
{
    char text[HINT_SIZE];
    suggestion s = suggestion_for(slice_of(value));
    buffer all = {0};
    int code;

    for (char *word = strtok_r(words, " ", &words), *next; word; word = next) {
        next = strtok_r(NULL, " ", &words);
        buffer_printf(&all, "%s%s", !all.size ? "" : next ? ", " : " or ", word);
        suggestion_consider(&s, slice_of(word));
    }
    code =
        usage_error(in, "--%s: expected %s, got \"%s\"%s", f->name, buffer_text(&all), value, hint(&s, text));
    buffer_free(&all);
    return code;
}

static bool is_choice(const char *value, const char *words)
{
    size_t size = strlen(value);

    if (!size || strchr(value, ' '))
        return false;
    for (const char *at = words; (at = strstr(at, value)); at++)
        if ((at == words || at[-1] == ' ') && (at[size] == ' ' || !at[size]))
            return true;
    return false;
}

/* False after an error: the flag takes one of a few words, and this is none of them. */
static bool check_value(const invocation *in, const flag *f, const char *value)
{
    value_word v = value_of_flag(f);

    if (v.kind != VALUE_WORDS || is_choice(value, v.text))
        return true;
    not_a_choice(in, f, value, v.text);
    return false;
}

static void store(invocation *in, const flag *f, const char *value)
{
    memcpy((char *)in + f->slot, &value, sizeof value);
}

/* Reads argv[at], a flag, and its value. Returns how many words that took, or 0 after an error. */
static int parse_flag(invocation *in, int argc, char **argv, int at)
{
    const char *word = argv[at], *value = NULL;
    bool is_long = word[1] == '-';
    size_t size = is_long ? strcspn(word + 2, "=") : 0;
    const flag *f = find_flag(in, word + 2, size, is_long ? 0 : word[1]);

    if (!f) {
        unknown_flag(in, word);
        return 0;
    }
    if (is_long && word[2 + size] == '=')
        value = word + 2 + size + 1;
    else if (!is_long && word[2])
        value = word + 2;
    if (!flag_value(f)) {
        if (value) {
            usage_error(in, "--%s takes no value", f->name);
            return 0;
        }
        store(in, f, f->name);
        return 1;
    }
    bool apart = !value;
    if (apart && at + 1 >= argc) {
        usage_error(in, "--%s needs a value: %s", f->name, flag_value(f));
        return 0;
    }
    if (apart)
        value = argv[at + 1];
    if (!check_value(in, f, value))
        return 0;
    store(in, f, value);
    return apart ? 2 : 1;
}

int flags_parse(invocation *in, int argc, char **argv)
{
    bool flags_end = false;

    in->arguments = argv;
    in->count = 0;
    for (int at = 0; at < argc;) {
        const char *word = argv[at];
        if (!flags_end && strcmp(word, "--") == 0) {
            flags_end = true;
            at++;
        } else if (flags_end || word[0] != '-' || word[1] == '\0') {
            in->arguments[in->count++] = argv[at++];
        } else {
            int taken = parse_flag(in, argc, argv, at);
            if (taken == 0)
                return CLI_USAGE;
            at += taken;
        }
    }
    return CLI_OK;
}

/* ---- Help ------------------------------------------------------------------------------------------- */

/* Of an option, the first part of what the reference says. */
lb_slice flag_summary(const flag *f)
{
    const char *help = f->help ? f->help : option_of_flag(f->name)->help;

    return (lb_slice){help, f->help ? strlen(help) : strcspn(help, ";")};
}

static void print_flag(FILE *out, const flag *f)
{
    char left[64], letter[] = "-x, ";

    letter[1] = f->letter;
    snprintf(left, sizeof left, "%s--%s%s%s", f->letter ? letter : "    ", f->name, flag_value(f) ? " " : "",
             flag_value(f) ? flag_value(f) : "");
    if (strlen(left) > 26)
        fprintf(out, "  %s\n%29s", left, "");
    else
        fprintf(out, "  %-26s ", left);
    lb_slice help = flag_summary(f);
    const char *environment = f->help ? NULL : option_of_flag(f->name)->environment;
    fprintf(out, "%.*s", (int)help.size, help.data);
    if (environment)
        fprintf(out, " (%s)", environment);
    fputc('\n', out);
}

static void command_help(FILE *out, const invocation *in)
{
    const command *c = in->command;
    const flag *table;

    fprintf(out, "Usage: %s %s [FLAGS]%s%s\n\n%s\n\nFlags:\n", in->program, c->name, *c->arguments ? " " : "",
            c->arguments, c->summary);
    for (size_t t = 0; (table = flags_table(c, t)); t++)
        for (const flag *f = table; f->name; f++)
            if (flag_is_offered(in, f))
                print_flag(out, f);
    if (c->details)
        fprintf(out, "\n%s", c->details);
    if (c->module_details && !in->setup)
        fprintf(out, "\n%s", c->module_details);
    if (c->exit_codes)
        fprintf(out, "\nExit code %s.\n", c->exit_codes);
}

static void program_help(FILE *out, const invocation *in)
{
    fprintf(out, "Usage: %s COMMAND [FLAGS] [ARGUMENTS]\n\nRPCs and events between services.\n\nCommands:\n",
            in->program);
    for (const command *const *c = cli_commands; *c; c++)
        fprintf(out, "  %-16s %s\n", (*c)->name, (*c)->summary);
    fprintf(out, "\nFlags:\n");
    fprintf(out, "  %-16s %s\n  %-16s %s\n", "--help", "show this help", "--version", "show the version");
    fprintf(out, "\n\"%s COMMAND --help\" shows the flags of a command.\n", in->program);
}

void flags_help(FILE *out, const invocation *in)
{
    if (in->command)
        command_help(out, in);
    else
        program_help(out, in);
}

/* ---- Numbers ---------------------------------------------------------------------------------------- */

bool flags_seconds(const char *text, int *milliseconds)
{
    char *end;
    double seconds = number_read(text, &end);

    if (end == text || *end || !(seconds > 0) || seconds * 1000 >= INT_MAX)
        return false;
    *milliseconds = seconds < 0.001 ? 1 : (int)(seconds * 1000 + 0.5);
    return true;
}

bool flags_count(const char *text, uint64_t *count)
{
    if (*text == '\0' || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text))
        return false;
    *count = strtoull(text, NULL, 10);
    return *count > 0;
}

/* ---- Errors ----------------------------------------------------------------------------------------- */

int usage_error(const invocation *in, const char *format, ...)
{
    char message[512];
    const char *name = in->command ? in->command->name : "", *space = in->command ? " " : "";
    va_list list;

    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    fprintf(stderr, "%s%s%s: ", in->program, space, name);
    print_safe(stderr, message);
    fprintf(stderr, "\nTry \"%s%s%s --help\".\n", in->program, space, name);
    return CLI_USAGE;
}

int failure(const invocation *in, const lb_error *error)
{
    colours c = colours_for(stderr);

    fprintf(stderr, "%s%s%s: %serror:%s ", in->program, in->command ? " " : "",
            in->command ? in->command->name : "", c.red, c.off);
    print_safe(stderr, error->message[0] ? error->message : lb_status_text(error->status));
    fputc('\n', stderr);
    return CLI_FAILURE;
}

const char *hint(const suggestion *s, char out[HINT_SIZE])
{
    out[0] = '\0';
    if (s->best.size)
        snprintf(out, HINT_SIZE, "; did you mean \"%.*s\"?", (int)s->best.size, s->best.data);
    return out;
}
