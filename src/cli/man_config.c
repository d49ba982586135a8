/* lightbus.yaml(5), from the table of options. */
#include "man.h"

#include "../config/options.h"

static const char example[] = "  service_name: shop\n"
                              "  bus:\n"
                              "    url: redis://127.0.0.1:6379/0\n"
                              "    log_level: warning\n"
                              "  apis:\n"
                              "    default:\n"
                              "      rpc_timeout: 10\n"
                              "    auth:\n"
                              "      event_transport:\n"
                              "        redis:\n"
                              "          url: redis://auth-events/0\n";

static void write_option(buffer *out, const option *o)
{
    buffer_literal(out, ".TP\n");
    roff_bold(out, o->name);
    buffer_char(out, '\n');
    roff_line(out, o->help);
    buffer kind = {0};
    option_kind_text(&kind, o);
    buffer_literal(out, "Type: ");
    roff_text(out, (lb_slice){kind.data, kind.size});
    buffer_free(&kind);
    if (o->otherwise) {
        buffer_literal(out, "; default: ");
        roff_bold(out, o->otherwise);
    }
    buffer_literal(out, ".\n");
    if (o->environment) {
        buffer_literal(out, "Environment: ");
        roff_bold(out, o->environment);
        buffer_literal(out, ".\n");
    }
    if (o->flag) {
        buffer_literal(out, "Flag: \\fB\\-\\-");
        roff_text(out, slice_of(o->flag));
        buffer_literal(out, "\\fR.\n");
    }
    if (o->ignored) {
        buffer_literal(out, "Without effect: ");
        roff_line(out, o->ignored);
    }
}

static void write_dict(buffer *out, const option *dict, const char *path)
{
    if (*path) {
        buffer_literal(out, ".SS ");
        roff_text(out, slice_of(path));
        buffer_char(out, '\n');
    }
    if (dict->help)
        roff_line(out, dict->help);
    if (dict->or_bool)
        buffer_literal(out, "A boolean stands for all of these keys.\n");
    if (dict->one_transport)
        buffer_literal(out, "One of these keys, or null for what the section \\fBdefault\\fR says.\n");
    for (const option *o = dict->members; o->name; o++)
        if (!o->members)
            write_option(out, o);
    for (const option *o = dict->members; o->name; o++) {
        if (!o->members)
            continue;
        buffer below = {0};
        buffer_printf(&below, "%s%s%s%s", path, *path ? "." : "", o->name,
                      o->kind == OPTION_APIS ? ".NAME" : "");
        write_dict(out, o, buffer_text(&below) ? below.data : o->name);
        buffer_free(&below);
    }
}

void man_config(buffer *out, const invocation *in)
{
    roff_begin(out, "lightbus.yaml", 5, "configuration of Lightbus");
    roff_section(out, "description");
    roff_paragraphs(out, options_introduction, false);
    roff_section(out, "keys");
    write_dict(out, &config_options, "");
    roff_section(out, "examples");
    roff_paragraphs(out, example, true);
    man_see_also(out, in, "lightbus.yaml");
}
