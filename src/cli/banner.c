/* The start-up banner: plain lines for people, coloured on a terminal; at most 80 columns where names allow it.
 */
#include "banner.h"
#include "features.h"

#include <lightbus/version.h>

#include <string.h>
#include <unistd.h>

static void print_row(FILE *out, const colours *c, const char *label, const char *text)
{
    fprintf(out, "  %s%-10s%s ", c->dim, label, c->off);
    print_safe(out, text);
    fputc('\n', out);
}

/* A member; a signature that is too long for the line goes on below, at a parameter. */
static void print_member(FILE *out, const colours *c, const lb_value *member)
{
    enum { indent = 11, width = 79 };
    const char *text = lb_value_str(lb_value_get(member, "signature"));
    int column = indent;

    fprintf(out, "    %s%-6s%s ", c->dim, lb_value_str(lb_value_get(member, "kind")), c->off);
    while (text && *text) {
        const char *comma = strstr(text, ", ");
        size_t size = comma ? (size_t)(comma + 2 - text) : strlen(text);
        if (column > indent && column + (int)size - (comma ? 1 : 0) > width)
            column = fprintf(out, "\n%*s", indent + 4, "") - 1;
        column += fprintf(out, "%.*s", (int)size, text);
        text += size;
    }
    fputc('\n', out);
}

static void print_apis(FILE *out, const colours *c, const lb_value *apis)
{
    lb_value_iterator api = lb_value_iterate(apis);

    while (lb_value_next(&api)) {
        if (strncmp(lb_value_str(lb_value_get(api.value, "name")), "internal.", 9) == 0)
            continue; /* of plugins */
        lb_value_iterator member = lb_value_iterate(lb_value_get(api.value, "members"));
        fprintf(out, "\n  %sAPI%s %s%s%s\n", c->dim, c->off, c->bold,
                lb_value_str(lb_value_get(api.value, "name")), c->off);
        while (lb_value_next(&member))
            print_member(out, c, member.value);
    }
}

static void print_listeners(FILE *out, const colours *c, const lb_value *listeners)
{
    lb_value_iterator listener = lb_value_iterate(listeners);

    while (lb_value_next(&listener)) {
        lb_value_iterator event = lb_value_iterate(lb_value_get(listener.value, "events"));
        fprintf(out, "\n  %sListener%s %s%s%s\n", c->dim, c->off, c->bold,
                lb_value_str(lb_value_get(listener.value, "name")), c->off);
        while (lb_value_next(&event))
            fprintf(out, "    %sevent%s  %s\n", c->dim, c->off, lb_value_str(event.value));
        fprintf(out, "    %sgroup%s  %s\n", c->dim, c->off,
                lb_value_str(lb_value_get(listener.value, "group")));
    }
}

static void print_plugins(FILE *out, const colours *c, const lb_value *plugins)
{
    lb_value_iterator it = lb_value_iterate(plugins);
    buffer names = {0};

    for (const char *separator = ""; lb_value_next(&it); separator = ", ")
        buffer_printf(&names, "%s%s", separator, lb_value_str(it.value));
    if (names.size && buffer_text(&names))
        print_row(out, c, "plugins", names.data);
    buffer_free(&names);
}

static void print_hint(FILE *out, const colours *c, const lb_value *about, bool service_is_random)
{
    if (!(service_is_random || lb_value_bool(lb_value_get(about, "service_is_random"))) ||
        !lb_value_count(lb_value_get(about, "listeners")))
        return;
    fprintf(out,
            "\n  %sHint:%s the service name is random, so the listeners' groups are others at every\n"
            "  start, and events that come in between are missed. Set LIGHTBUS_SERVICE_NAME,\n"
            "  or use --service-name.\n",
            c->yellow, c->off);
}

/* "web-1 to web-4", from the name of the first one. */
static void print_process(FILE *out, const colours *c, const banner *b)
{
    const char *name = lb_process_name(b->bus), *dash = strrchr(name, '-');

    if (b->workers < 2 || !dash) {
        print_row(out, c, "process", name);
        return;
    }
    fprintf(out, "  %s%-10s%s ", c->dim, "processes", c->off);
    print_safe(out, name);
    fputs(" to ", out);
    for (const char *at = name; at <= dash; at++)
        fputc(*at, out);
    fprintf(out, "%d\n", b->workers);
}

void banner_print(FILE *out, const banner *b)
{
    lb_value *about = lb_describe(b->bus);
    colours c = colours_for(out);
    char pid[24], left_out[FEATURES_SIZE];

    snprintf(pid, sizeof pid, "%ld", b->pid);
    fprintf(out, "%sLightbus %s%s\n\n", c.bold, lb_version(), c.off);
    print_row(out, &c, "service", lb_service_name(b->bus));
    print_process(out, &c, b);
    print_row(out, &c, "pid", pid);
    print_row(out, &c, "bus", lb_url(b->bus));
    if (b->module)
        print_row(out, &c, "module", b->module);
    if (b->left_out)
        print_row(out, &c, "left out", features_text(b->left_out, left_out));
    print_plugins(out, &c, lb_value_get(about, "plugins"));
    print_apis(out, &c, lb_value_get(about, "apis"));
    print_listeners(out, &c, lb_value_get(about, "listeners"));
    print_hint(out, &c, about, b->service_is_random);
    fputc('\n', out);
    lb_value_free(about);
}
