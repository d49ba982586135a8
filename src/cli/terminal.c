/* Output for people and for pipes: colours on terminals alone, JSON in both shapes, texts from elsewhere made
 * harmless. */
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

colours colours_for(FILE *stream)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    if (!isatty(fileno(stream)) || (no_color && *no_color) || (term && strcmp(term, "dumb") == 0))
        return (colours){"", "", "", "", "", "", ""};
    return (colours){"\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m", "\033[36m", "\033[0m"};
}

/* The bytes at `text` that are a control character: C0, DEL, or C1 as UTF-8. */
static size_t control_size(const unsigned char *text)
{
    if (text[0] < 0x20 || text[0] == 0x7f)
        return 1;
    return text[0] == 0xc2 && text[1] >= 0x80 && text[1] < 0xa0 ? 2 : 0;
}

static void print_harmless(FILE *out, const char *text, const char *allowed)
{
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t control = strchr(allowed, *at) ? 0 : control_size(at);
        fputc(control ? '?' : *at, out);
        at += control ? control : 1;
    }
}

void print_safe(FILE *out, const char *text) { print_harmless(out, text, "\n\t"); }

void print_safe_line(FILE *out, const char *text) { print_harmless(out, text, ""); }

static bool print_json(const lb_value *value)
{
    bool for_people = isatty(STDOUT_FILENO);
    char *text = for_people ? lb_value_pretty(value, NULL) : lb_value_json(value, NULL);

    if (!text)
        return false;
    if (for_people)
        print_safe(stdout, text);
    else
        fputs(text, stdout);
    putchar('\n');
    free(text);
    return true;
}

int print_result(const invocation *in, const lb_value *value)
{
    lb_error error = {.status = LB_NO_MEMORY};

    return print_json(value) ? finish_output(in) : failure(in, &error);
}

bool output_has_reader(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO};

    return poll(&output, 1, 0) <= 0 || !(output.revents & POLLERR);
}

/* What failed before, in the middle of what was printed, has left no errno. */
int output_flush(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    if (errno)
        return errno;
    return output_has_reader() ? EIO : EPIPE;
}

lb_status output_status(int code, lb_error *error)
{
    if (code == 0 || code == EPIPE)
        return LB_OK;
    return lb_error_set(error, LB_SYSTEM, "cannot write to standard output: %s", strerror(code));
}

int finish_output(const invocation *in)
{
    lb_error error = {0};

    return output_status(output_flush(), &error) == LB_OK ? CLI_OK : failure(in, &error);
}

static void cannot_be_written(const invocation *in, const char *path)
{
    lb_error error = {0};

    lb_error_set(&error, LB_SYSTEM, "%s: cannot be written: %s", path, strerror(errno));
    failure(in, &error);
}

FILE *output_open(const invocation *in, const char *path)
{
    FILE *file = fopen(path, "w");

    if (!file)
        cannot_be_written(in, path);
    return file;
}

int output_close(const invocation *in, const char *path, FILE *file)
{
    bool failed = ferror(file);

    if (fclose(file) == 0 && !failed)
        return CLI_OK;
    cannot_be_written(in, path);
    return CLI_FAILURE;
}
