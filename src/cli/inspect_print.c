/* How `lightbus inspect` shows an event: as a line of JSON, the same indented, or laid out for people.
 *
 * An event is printed as it is stored; what listening makes of it (validation, casting) comes after, since
 * lb_history_check changes the arguments. */
#include "inspect.h"

#include "../base/json.h"
#include "../schema/json_schema.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void inspect_format_read(const invocation *in, inspect_printer *p)
{
    const char *format = in->format ? in->format : "json";

    p->format = strcmp(format, "human") == 0    ? FORMAT_HUMAN
                : strcmp(format, "pretty") == 0 ? FORMAT_PRETTY
                                                : FORMAT_JSON;
}

/* ---- What is checked -------------------------------------------------------------------------------- */

/* "passed", or why not. */
static const char *validation(lb_history *history, lb_error *error)
{
    bool known;
    if (lb_history_check(history, &known, error) != LB_OK)
        return error->message;
    return known ? "passed" : "not possible: no schema is known";
}

static void add_type(buffer *out, const inspect_printer *p, const lb_event *event, const char *name)
{
    const lb_value *events = lb_value_get(lb_value_get(p->schemas, lb_event_api(event)), "events");
    const lb_value *parameters = lb_value_get(lb_value_get(events, lb_event_name(event)), "parameters");
    const lb_value *schema = lb_value_get(lb_value_get(parameters, "properties"), name);
    if (schema)
        json_schema_print_type(out, schema);
    else
        buffer_literal(out, "any");
}

/* ---- JSON ------------------------------------------------------------------------------------------- */

static void add_name(buffer *out, const char *name)
{
    if (out->size && out->data[out->size - 1] != '{')
        buffer_char(out, ',');
    if (!buffer_json_string(out, name, strlen(name)))
        buffer_literal(out, "\"?\"");
    buffer_char(out, ':');
}

static void add_text(buffer *out, const char *name, const char *text)
{
    add_name(out, name);
    if (!buffer_json_string(out, text, strlen(text)))
        buffer_literal(out, "\"?\"");
}

/* An argument as the stream holds it: its JSON as a text. */
static void add_argument(buffer *out, const lb_arg *arg)
{
    buffer name = {0}, json = {0};
    buffer_printf(&name, ":%s", arg->name);
    json_write(&json, arg->value.as.value);
    if (buffer_text(&name) && buffer_text(&json))
        add_text(out, name.data, json.data);
    out->failed |= name.failed || json.failed;
    buffer_free(&name);
    buffer_free(&json);
}

static void add_casting(buffer *out, const inspect_printer *p, const lb_event *event)
{
    add_name(out, "casting");
    buffer_char(out, '{');
    for (const lb_arg *arg = lb_args(event); arg->name; arg++) {
        buffer type = {0};
        add_name(out, arg->name);
        buffer_char(out, '{');
        add_type(&type, p, event, arg->name);
        add_text(out, "type", buffer_text(&type) ? type.data : "?");
        add_name(out, "value");
        json_write(out, arg->value.as.value);
        buffer_char(out, '}');
        buffer_free(&type);
    }
    buffer_char(out, '}');
}

static void add_dead_letter(buffer *out, const lb_event *event)
{
    add_name(out, "dead_letter");
    buffer_char(out, '{');
    add_text(out, "id", lb_event_dead_id(event));
    add_text(out, "group", lb_event_dead_group(event));
    add_text(out, "consumer", lb_event_dead_consumer(event));
    add_name(out, "deliveries");
    buffer_int(out, lb_event_deliveries(event));
    add_text(out, "reason", lb_event_dead_reason(event));
    buffer_char(out, '}');
}

static void add_object(inspect_printer *p, lb_history *history, const lb_event *event)
{
    buffer *out = &p->out;
    const char *problem = lb_history_problem(history);
    lb_error error = {0};
    buffer_char(out, '{');
    add_text(out, "id", lb_event_id(event));
    add_text(out, "api_name", lb_event_api(event));
    add_text(out, "event_name", lb_event_name(event));
    add_name(out, "version");
    buffer_int(out, lb_event_version(event));
    add_text(out, "native_id", lb_event_native_id(event));
    for (const lb_arg *arg = lb_args(event); arg->name; arg++)
        add_argument(out, arg);
    if (problem)
        add_text(out, "problem", problem);
    if (lb_event_dead_id(event))
        add_dead_letter(out, event);
    if (p->validate)
        add_text(out, "validation", validation(history, &error));
    else if (p->show_casting)
        lb_history_check(history, NULL, &error);
    if (p->show_casting)
        add_casting(out, p, event);
    buffer_char(out, '}');
}

static bool print_json(inspect_printer *p, lb_history *history, const lb_event *event)
{
    lb_value *value = NULL;
    char *text = NULL;
    add_object(p, history, event);
    const char *line = buffer_text(&p->out);
    if (line && p->format == FORMAT_PRETTY && lb_value_parse(line, p->out.size, &value, NULL) == LB_OK)
        line = text = lb_value_pretty(value, NULL);
    if (line) {
        if (p->for_people)
            print_safe(stdout, line);
        else
            fputs(line, stdout);
        putchar('\n');
    }
    free(text);
    lb_value_free(value);
    return line != NULL;
}

/* ---- For people ------------------------------------------------------------------------------------- */

enum { COLUMN = 14 };

static void print_row(const inspect_printer *p, const char *name, const char *type, const lb_value *value)
{
    char *text = lb_value_json(value, NULL);
    int width = (int)text_columns(name) + (type ? (int)text_columns(type) + 2 : 0);
    printf("    %s", p->colours.cyan);
    print_safe_line(stdout, name);
    printf("%s", p->colours.off);
    if (type) {
        printf("%s: ", p->colours.dim);
        print_safe_line(stdout, type);
        printf("%s", p->colours.off);
    }
    printf("%*s", width < COLUMN ? COLUMN - width : 1, "");
    print_safe(stdout, text ? text : "(out of memory)");
    putchar('\n');
    free(text);
}

static void print_fact(const inspect_printer *p, const char *name, const char *text)
{
    printf("    %s%-*s%s", p->colours.cyan, COLUMN, name, p->colours.off);
    print_safe_line(stdout, *text ? text : "-");
    putchar('\n');
}

static void print_title(const inspect_printer *p, const char *title)
{
    printf("  %s%s%s\n", p->colours.bold, title, p->colours.off);
}

/* An id that begins with milliseconds tells when the event was fired or given up. */
static void print_time(const inspect_printer *p, const char *native_id)
{
    char text[64], *end;
    long long ms = strtoll(native_id, &end, 10);
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    if (*end != '-' || ms < 100000000000 || ms > 100000000000000 || !gmtime_r(&seconds, &utc))
        return;
    size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + size, sizeof text - size, ".%03dZ", (int)(ms % 1000));
    print_fact(p, "time", text);
}

static void print_checked(const inspect_printer *p, lb_history *history, const lb_event *event)
{
    lb_error error = {0};
    bool known = false;
    lb_status status = lb_history_check(history, &known, &error);
    const colours *c = &p->colours;
    if (p->validate) {
        printf("  %sValidation:%s %s", c->bold, c->off,
               status != LB_OK ? c->red
               : known         ? c->green
                               : c->yellow);
        print_safe(stdout, status != LB_OK ? error.message
                           : known         ? "Passed"
                                           : "not possible: no schema is known");
        printf("%s\n", c->off);
    }
    if (!p->show_casting)
        return;
    print_title(p, "Casting");
    for (const lb_arg *arg = lb_args(event); arg->name; arg++) {
        buffer type = {0};
        add_type(&type, p, event, arg->name);
        print_row(p, arg->name, buffer_text(&type) ? type.data : "?", arg->value.as.value);
        buffer_free(&type);
    }
}

static void print_dead_letter(const inspect_printer *p, const lb_event *event)
{
    char deliveries[16];
    snprintf(deliveries, sizeof deliveries, "%d", lb_event_deliveries(event));
    print_title(p, "Dead letter");
    print_fact(p, "id", lb_event_dead_id(event));
    print_time(p, lb_event_dead_id(event));
    print_fact(p, "group", lb_event_dead_group(event));
    print_fact(p, "consumer", lb_event_dead_consumer(event));
    print_fact(p, "deliveries", deliveries);
    print_fact(p, "reason", lb_event_dead_reason(event));
}

static void print_human(const inspect_printer *p, lb_history *history, const lb_event *event)
{
    const char *problem = lb_history_problem(history);
    char version[16];
    snprintf(version, sizeof version, "%d", lb_event_version(event));
    printf("%s%s", p->colours.bold, p->colours.green);
    print_safe_line(stdout, lb_event_api(event));
    putchar('.');
    print_safe_line(stdout, lb_event_name(event));
    printf("%s\n", p->colours.off);
    print_title(p, "Metadata");
    print_fact(p, "id", lb_event_id(event));
    print_fact(p, "version", version);
    print_title(p, "Data");
    for (const lb_arg *arg = lb_args(event); arg->name; arg++)
        print_row(p, arg->name, NULL, arg->value.as.value);
    print_title(p, "Extra");
    print_fact(p, "native id", lb_event_native_id(event));
    print_time(p, lb_event_native_id(event));
    if (problem)
        print_fact(p, "problem", problem);
    if (lb_event_dead_id(event))
        print_dead_letter(p, event);
    if (p->validate || p->show_casting)
        print_checked(p, history, event);
    putchar('\n');
}

bool inspect_print(inspect_printer *p, lb_history *history, const lb_event *event)
{
    buffer_clear(&p->out, 64 * 1024);
    if (p->format != FORMAT_HUMAN)
        return print_json(p, history, event);
    print_human(p, history, event);
    return true;
}
