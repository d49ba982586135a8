/* lightbus dumpconfigschema: the JSON schema of configuration files, for editors, and their reference page;
 * both from the table of options. */
#include "cli.h"

#include "../config/options.h"

#include <stdlib.h>

static char *make_schema(lb_error *error)
{
    buffer json = {0};
    lb_value *value = NULL;
    char *text = NULL;

    options_json_schema(&json);
    if (!json.failed && lb_value_parse(json.data, json.size, &value, error) == LB_OK)
        text = lb_value_pretty(value, NULL);
    if (!text)
        lb_error_set(error, LB_NO_MEMORY, "out of memory");
    lb_value_free(value);
    buffer_free(&json);
    return text;
}

static char *make_reference(lb_error *error)
{
    buffer page = {0};
    char *text;

    options_reference(&page);
    text = buffer_text(&page);
    if (!text) {
        lb_error_set(error, LB_NO_MEMORY, "out of memory");
        buffer_free(&page);
        return NULL;
    }
    return text;
}

static int write_to_file(const invocation *in, const char *text, const char *end)
{
    FILE *file = output_open(in, in->out);

    if (!file)
        return CLI_FAILURE;
    fprintf(file, "%s%s", text, end);
    return output_close(in, in->out, file);
}

static int dump(invocation *in)
{
    lb_error error = {0};
    const char *end = in->reference ? "" : "\n";
    char *text;
    int code;

    if (in->count)
        return usage_error(in, "unexpected argument \"%s\"", in->arguments[0]);
    text = in->reference ? make_reference(&error) : make_schema(&error);
    if (!text)
        return failure(in, &error);
    if (in->out) {
        code = write_to_file(in, text, end);
    } else {
        printf("%s%s", text, end);
        code = finish_output(in);
    }
    free(text);
    return code;
}

static const flag flags[] = {
    {"out", "FILE", "write to a file", offsetof(invocation, out), 'o', false},
    {"reference", NULL, "the reference page, as Markdown, instead", offsetof(invocation, reference), 0, false},
    {0},
};

const command cmd_dumpconfigschema = {
    .name = "dumpconfigschema",
    .summary = "Prints the JSON schema of configuration files.",
    .arguments = "",
    .flags = flags,
    .offline = true,
    .run = dump,
};
