/* The start-up banner: plain lines for people, coloured on a terminal; at most 80 columns where names allow it.
 */
#include "banner.h"

#include <lightbus/version.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_row(FILE *out, const colours *c, const char *label, const char *text)
{
    fprintf(out, "  %s%-10s%s ", c->dim, label, c->off);
    print_safe(out, text);
    fputc('\n', out);
}

/* A signature; one that is too long for the line goes on below, at a parameter. */
static void print_signature(FILE *out, const char *text)
{
    enum { indent = 4, width = 79 };
    int column = fprintf(out, "%*s", indent, "");

    while (*text) {
        const char *comma = strstr(text, ", ");
        size_t size = comma ? (size_t)(comma + 2 - text) : strlen(text);
        if (column > indent + 4 && column + (int)size - (comma ? 1 : 0) > width)
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
        lb_value_iterator member = lb_value_iterate(lb_value_get(api.value, "members"));
        fprintf(out, "\n  %sAPI%s %s%s%s\n", c->dim, c->off, c->bold,
                lb_value_str(lb_value_get(api.value, "name")), c->off);
        while (lb_value_next(&member))
            print_signature(out, lb_value_str(member.value));
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

/* A name that nobody chose, or one with a part that is new at every start. */
static bool is_random_name(const char *chosen)
{
    return !chosen || !*chosen || strstr(chosen, "{random") || strstr(chosen, "{friendly}") ||
           strstr(chosen, "{pid}");
}

static void print_hints(FILE *out, const colours *c, const invocation *in, const lb_value *about)
{
    const char *service = in->service_name ? in->service_name : getenv("LIGHTBUS_SERVICE_NAME");
    size_t listeners = lb_value_count(lb_value_get(about, "listeners"));

    if (listeners && is_random_name(service))
        fprintf(out,
                "\n  %sHint:%s the service name is random, so the listeners' groups are others at every\n"
                "  start, and events that come in between are missed. Set LIGHTBUS_SERVICE_NAME,\n"
                "  or use --service-name.\n",
                c->yellow, c->off);
    if (!listeners && !lb_value_count(lb_value_get(about, "apis")))
        fprintf(out, "\n  %sHint:%s lb_setup registered no API and no listener: there is nothing to do.\n",
                c->yellow, c->off);
}

void banner_print(FILE *out, const invocation *in, const lb_bus *bus, const char *module)
{
    lb_value *about = lb_describe(bus);
    colours c = colours_for(out);
    char pid[24];

    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    fprintf(out, "%sLightbus %s%s\n\n", c.bold, lb_version(), c.off);
    print_row(out, &c, "service", lb_service_name(bus));
    print_row(out, &c, "process", lb_process_name(bus));
    print_row(out, &c, "pid", pid);
    print_row(out, &c, "bus", lb_url(bus));
    if (module)
        print_row(out, &c, "module", module);
    print_apis(out, &c, lb_value_get(about, "apis"));
    print_listeners(out, &c, lb_value_get(about, "listeners"));
    print_hints(out, &c, in, about);
    fputc('\n', out);
    lb_value_free(about);
}
