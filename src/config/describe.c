/* What is made from the table of options: the JSON schema of a configuration, and the reference page. */
#include "options.h"

#include <stdlib.h>

/* ---- JSON schema ------------------------------------------------------------------------------------ */

static void write_type(buffer *out, const option *o);

static int by_name(const void *a, const void *b)
{
    const option *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void write_property(buffer *out, const option *o)
{
    bool either = o->nullable || o->or_bool;

    buffer_json_string(out, o->name, strlen(o->name));
    buffer_literal(out, ":{");
    if (either)
        buffer_literal(out, "\"anyOf\":[{");
    write_type(out, o);
    if (either) {
        buffer_char(out, '}');
        if (o->or_bool)
            buffer_literal(out, ",{\"type\":\"boolean\"}");
        if (o->nullable)
            buffer_literal(out, ",{\"type\":\"null\"}");
        buffer_char(out, ']');
    }
    if (o->otherwise || o->nullable) {
        bool text = o->otherwise && (o->kind == OPTION_STR || o->kind == OPTION_CHOICE);
        const char *quote = text ? "\"" : "";
        buffer_printf(out, ",\"default\":%s%s%s", quote, o->otherwise ? o->otherwise : "null", quote);
    }
    buffer_literal(out, ",\"description\":");
    buffer_json_string(out, o->help, strlen(o->help));
    buffer_char(out, '}');
}

/* Of plugins that are not built in, the keys that the bus reads; they have others of their own. */
static void write_other_plugins(buffer *out)
{
    buffer_literal(out, "\"additionalProperties\":{\"anyOf\":[{\"properties\":{");
    for (const option *o = other_plugin_options; o->name; o++) {
        if (o != other_plugin_options)
            buffer_char(out, ',');
        write_property(out, o);
    }
    buffer_literal(out, "},\"type\":\"object\"},{\"type\":\"null\"}]},");
}

static void write_properties(buffer *out, const option *dict)
{
    const option *order[64];
    size_t count = 0;

    for (const option *o = dict->members; o->name && count < 64; o++)
        order[count++] = o;
    qsort(order, count, sizeof *order, by_name);
    if (dict->kind == OPTION_PLUGINS)
        write_other_plugins(out);
    else
        buffer_literal(out, "\"additionalProperties\":false,");
    buffer_literal(out, "\"properties\":{");
    for (size_t i = 0; i < count; i++) {
        if (i)
            buffer_char(out, ',');
        write_property(out, order[i]);
    }
    buffer_char(out, '}');
    if (dict->title)
        buffer_printf(out, ",\"title\":\"%s\"", dict->title);
    buffer_literal(out, ",\"type\":\"object\"");
}

static void write_choices(buffer *out, const char *choices)
{
    buffer_literal(out, "\"enum\":[");
    for (const char *at = choices; *at;) {
        size_t size = strcspn(at, " ");
        buffer_printf(out, "%s\"%.*s\"", at == choices ? "" : ",", (int)size, at);
        at += size + strspn(at + size, " ");
    }
    buffer_literal(out, "],\"type\":\"string\"");
}

static void write_type(buffer *out, const option *o)
{
    switch (o->kind) {
    case OPTION_DICT:
    case OPTION_PLUGINS:
        write_properties(out, o);
        break;
    case OPTION_APIS:
        buffer_literal(out, "\"additionalProperties\":{");
        write_properties(out, o);
        buffer_literal(out, "},\"type\":\"object\"");
        break;
    case OPTION_STR:
        buffer_literal(out, "\"minLength\":1,\"type\":\"string\"");
        break;
    case OPTION_INT:
    case OPTION_NUMBER:
        buffer_printf(out, "\"maximum\":%.15g,\"minimum\":%.15g,\"type\":\"%s\"", o->most, o->least,
                      o->kind == OPTION_INT ? "integer" : "number");
        break;
    case OPTION_BOOL:
        buffer_literal(out, "\"type\":\"boolean\"");
        break;
    case OPTION_CHOICE:
        write_choices(out, o->choices);
        break;
    }
}

void options_json_schema(buffer *out)
{
    buffer_literal(out, "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",");
    write_properties(out, &config_options);
    buffer_char(out, '}');
}

/* ---- The reference page ----------------------------------------------------------------------------- */

void option_kind_text(buffer *out, const option *o)
{
    static const char *const kinds[] = {[OPTION_STR] = "text",
                                        [OPTION_INT] = "whole number",
                                        [OPTION_NUMBER] = "number",
                                        [OPTION_BOOL] = "boolean"};

    if (o->kind == OPTION_CHOICE)
        for (const char *at = o->choices; *at;) {
            size_t size = strcspn(at, " ");
            buffer_printf(out, "%s`%.*s`", at == o->choices ? "" : ", ", (int)size, at);
            at += size + strspn(at + size, " ");
        }
    else
        buffer_str(out, kinds[o->kind]);
    if (o->kind == OPTION_INT || o->kind == OPTION_NUMBER)
        buffer_printf(out, ", %.15g to %.15g", o->least, o->most);
    if (o->nullable)
        buffer_literal(out, ", or null");
}

static void write_row(buffer *out, const option *o)
{
    buffer_printf(out, "| `%s` | ", o->name);
    option_kind_text(out, o);
    buffer_printf(out, " | %s%s%s | %s", o->otherwise ? "`" : "", o->otherwise ? o->otherwise : "",
                  o->otherwise ? "`" : "", o->help);
    if (o->environment)
        buffer_printf(out, ". Environment: `%s`", o->environment);
    if (o->flag)
        buffer_printf(out, ". Flag: `--%s`", o->flag);
    if (o->ignored)
        buffer_printf(out, ". *Without effect: %s*", o->ignored);
    buffer_literal(out, " |\n");
}

static void write_section(buffer *out, const option *dict, const char *path, const char *help)
{
    static const option other = {.kind = OPTION_DICT, .members = other_plugin_options};
    bool rows = false;

    buffer_printf(out, "\n## %s\n\n", *path ? path : "The root");
    if (help)
        buffer_printf(out, "%c%s.\n", help[0] >= 'a' && help[0] <= 'z' ? help[0] - 32 : help[0], help + 1);
    if (dict->or_bool)
        buffer_literal(out, "\nA boolean stands for all of these keys.\n");
    if (dict->one_transport)
        buffer_literal(out, "\nOne of these keys, or null for what the section `default` says.\n");
    for (const option *o = dict->members; o->name; o++) {
        if (o->members)
            continue;
        if (!rows)
            buffer_literal(out, "\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
        rows = true;
        write_row(out, o);
    }
    for (const option *o = dict->members; o->name; o++) {
        if (!o->members)
            continue;
        buffer below = {0};
        buffer_printf(&below, "%s%s%s%s", path, *path ? "." : "", o->name,
                      o->kind == OPTION_APIS ? ".NAME" : "");
        write_section(out, o, buffer_text(&below) ? below.data : o->name, o->help);
        buffer_free(&below);
    }
    if (dict->kind == OPTION_PLUGINS)
        write_section(out, &other, "plugins.NAME", "one of your own; its other keys are its own, too");
}

const char options_introduction[] =
    "A configuration is a YAML or JSON file, or an http or https URL that answers with one within 5 seconds. "
    "It is "
    "named by the flag `--config`, by `lb_options.config`, or by the environment variable `LIGHTBUS_CONFIG`. "
    "What "
    "ends with `.json`, or comes from a server that says so, is JSON; all else is YAML. It is UTF-8 and has at "
    "most "
    "1 MiB. A configuration file of Python Lightbus works as it is.\n"
    "\n"
    "The same option may be given in several ways. The first of these counts: the flag, the options of "
    "`lb_open`, "
    "the file, the environment, the default.\n"
    "\n"
    "An unknown key, a value of another type or out of its range, and a key that is given twice are refused "
    "with "
    "file, line and column. `lightbus dumpconfigschema` prints a JSON schema of all this, for editors. "
    "Durations are "
    "in seconds.\n"
    "\n"
    "An API has the section of its own name below `apis`, and if there is none, the section `default`; the two "
    "are "
    "not mixed. Transports are the exception: one that a section does not name is that of `default`. What is "
    "not "
    "given there either is `bus.url`.\n"
    "\n"
    "YAML is read as Python Lightbus reads it: `yes` and `off` are booleans. Anchors, aliases and `<<` work; "
    "tags and "
    "several documents in one file are refused.\n";

void options_reference(buffer *out)
{
    buffer_literal(
        out,
        "<!-- Made by `lightbus dumpconfigschema --reference` from the table of options. Do not edit. -->\n"
        "# Configuration\n\n");
    buffer_str(out, options_introduction);
    write_section(out, &config_options, "", NULL);
}
