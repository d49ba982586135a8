/* Events as `listen` and the shell show them. */
#include "event_print.h"

#include "../base/json.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void write_member(buffer *out, const char *name, const char *text)
{
    buffer_json_string(out, name, strlen(name));
    buffer_char(out, ':');
    buffer_json_string(out, text, strlen(text));
    buffer_char(out, ',');
}

static void write_line(buffer *out, const lb_event *event)
{
    buffer_char(out, '{');
    write_member(out, "api", lb_event_api(event));
    write_member(out, "event", lb_event_name(event));
    write_member(out, "id", lb_event_id(event));
    write_member(out, "native_id", lb_event_native_id(event));
    buffer_literal(out, "\"arguments\":{");
    for (const lb_arg *arg = lb_args(event), *first = arg; arg->name; arg++) {
        if (arg != first)
            buffer_char(out, ',');
        buffer_json_string(out, arg->name, strlen(arg->name));
        buffer_char(out, ':');
        json_write(out, arg->value.as.value);
    }
    buffer_literal(out, "}}\n");
}

bool event_print_line(const lb_event *event)
{
    buffer out = {0};
    bool made;

    write_line(&out, event);
    made = !out.failed;
    if (made)
        fwrite(out.data, 1, out.size, stdout);
    buffer_free(&out);
    return made;
}

void event_print_for_people(const lb_event *event, const colours *c)
{
    char clock[16];
    time_t now = time(NULL);
    struct tm local;

    strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&now, &local));
    printf("%s%s%s  %s%s", c->dim, clock, c->off, c->bold, c->green);
    print_safe_line(stdout, lb_event_api(event));
    putchar('.');
    print_safe_line(stdout, lb_event_name(event));
    printf("%s  %s", c->off, c->dim);
    print_safe_line(stdout, lb_event_native_id(event));
    printf("%s\n", c->off);
    for (const lb_arg *arg = lb_args(event); arg->name; arg++) {
        char *value = lb_value_json(arg->value.as.value, NULL);
        printf("          %s", c->cyan);
        print_safe_line(stdout, arg->name);
        printf("%s ", c->off);
        print_safe(stdout, value ? value : "(out of memory)");
        putchar('\n');
        free(value);
    }
}
