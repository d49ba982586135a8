/* What there is: the shell itself, the APIs, an API, a member. */
#include "shell.h"

#include <stdlib.h>
#include <string.h>

#include "../base/json.h"
#include "../schema/json_schema.h"
#include "arguments.h"
#include "text.h"

static const char about[] =
    "Call an RPC      auth.check_password(username=\"admin\", password=\"secret\")\n"
    "Fire an event    auth.user_registered.fire(username=\"x\", email=\"y\")\n"
    "Hear events      auth.user_registered.listen()   auth.listen()   Ctrl-C ends it\n"
    "                 .listen(since=\"0\", count=3)   the first three that are stored\n"
    "Keep a result    user = auth.find_user(id=7)   user   user[\"tags\"][0]\n"
    "The last one     _\n"
    "Look around      apis   help auth   help auth.check_password\n"
    "A remote trace   trace\n"
    "Leave            exit, or Ctrl-D\n"
    "\n"
    "Values are written as in Python or JSON: \"text\", 'text', 1, 2.5, True, None,\n"
    "[1, 2], {\"key\": 1}. Tab completes names, arguments and values. Up and Ctrl-R find\n"
    "what was typed before; a line that begins with a space is not remembered. Ctrl-C\n"
    "gives up a line, a call, or listening.\n";

static void add_line(const shell *s, const char *label, const char *text)
{
    printf("  %s%-*s%s", s->colours.dim, *text ? 11 : 0, label, s->colours.off);
    print_safe_line(stdout, text);
    putchar('\n');
}

/* ---- Signatures ------------------------------------------------------------------------------------- */

static void print_signature(const shell *s, const char *name, const lb_value *member, const char *kind)
{
    buffer text = {0};
    json_schema_print_signature(&text, slice_of(name), lb_value_get(member, "parameters"),
                                lb_value_get(member, "response"));
    const char *signature = buffer_text(&text) ? text.data : "(out of memory)";
    size_t name_size = strcspn(signature, "(");
    printf("  %s%-6s%s%s%.*s%s", s->colours.dim, kind, s->colours.off, s->colours.bold, (int)name_size,
           signature, s->colours.off);
    print_safe(stdout, signature + name_size);
    putchar('\n');
    buffer_free(&text);
}

static void print_members(const shell *s, const lb_value *api)
{
    lb_value_iterator rpc = lb_value_iterate(lb_value_get(api, "rpcs"));
    lb_value_iterator event = lb_value_iterate(lb_value_get(api, "events"));
    while (lb_value_next(&rpc))
        print_signature(s, rpc.name, rpc.value, "rpc");
    while (lb_value_next(&event))
        print_signature(s, event.name, event.value, "event");
}

/* ---- Members ---------------------------------------------------------------------------------------- */

static bool is_required(const lb_value *parameters, const char *name)
{
    lb_value_iterator it = lb_value_iterate(lb_value_get(parameters, "required"));
    while (lb_value_next(&it))
        if (slice_is(json_slice(it.value), name))
            return true;
    return false;
}

static void print_parameter(const shell *s, const lb_value *parameters, const lb_value_iterator *it)
{
    const lb_value *preset = lb_value_get(it->value, "default");
    buffer text = {0};
    json_schema_print_type(&text, it->value);
    if (preset) {
        buffer_literal(&text, " = ");
        json_write(&text, preset);
    } else if (!is_required(parameters, it->name)) {
        buffer_literal(&text, "  (may be left out)");
    }
    printf("    %s", s->colours.cyan);
    size_t width = text_columns(it->name);
    print_safe_line(stdout, it->name);
    printf("%s%*s", s->colours.off, width < 16 ? 16 - (int)width : 1, "");
    print_safe(stdout, buffer_text(&text) ? text.data : "(out of memory)");
    putchar('\n');
    buffer_free(&text);
}

/* Who listens, as far as the transport can tell. */
static void print_listeners(shell *s, const char *name)
{
    lb_value *lag = NULL;
    buffer text = {0};
    if (lb_lag(s->bus, name, NULL, &lag, NULL) != LB_OK)
        return;
    for (lb_value_iterator it = lb_value_iterate(lag); lb_value_next(&it);)
        buffer_printf(&text, "%s%s", text.size ? ", " : "", lb_value_str(lb_value_get(it.value, "group")));
    add_line(s, "heard by", buffer_text(&text) && text.size ? text.data : "nobody at present");
    buffer_free(&text);
    lb_value_free(lag);
}

static void print_member(shell *s, const target *t, const char *name, const lb_value *member, bool is_event)
{
    const lb_value *parameters = lb_value_get(member, "parameters"),
                   *response = lb_value_get(member, "response");
    lb_value_iterator it = lb_value_iterate(lb_value_get(parameters, "properties"));
    print_signature(s, t->member, member, is_event ? "event" : "rpc");
    if (lb_value_count(lb_value_get(parameters, "properties")))
        add_line(s, "takes", "");
    while (lb_value_next(&it))
        print_parameter(s, parameters, &it);
    if (response) {
        buffer type = {0};
        json_schema_print_type(&type, response);
        add_line(s, "returns", buffer_text(&type) ? type.data : "(out of memory)");
        buffer_free(&type);
    }
    if (is_event)
        print_listeners(s, name);
}

/* auth.user_registered.fire is asked about like auth.user_registered. */
static const char *without_verb(arena *memory, const lb_value *schemas, const char *path)
{
    shell_target t;
    if (shell_resolve(memory, schemas, path, &t, NULL) == LB_OK)
        return t.name;
    return shell_bare_path(schemas, path);
}

static void help_on_member(shell *s, arena *memory, const char *path, size_t at)
{
    const char *name = without_verb(memory, s->schemas, path);
    const lb_value *member;
    target t;
    lb_error error = {0};
    if (!strchr(name, '.')) {
        t = (target){name, ""};
        target_find(s->schemas, &t, "rpcs", &member, &error);
        shell_fail(s, &error, at);
    } else if (target_split(memory, name, &t, &error) != LB_OK) {
        shell_fail(s, &error, at);
    } else if (target_find(s->schemas, &t, "rpcs", &member, &error) == LB_OK) {
        print_member(s, &t, name, member, false);
    } else if (target_find(s->schemas, &t, "events", &member, NULL) == LB_OK) {
        print_member(s, &t, name, member, true);
    } else {
        shell_fail(s, &error, at);
    }
}

/* ---- All of it -------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void print_api(const shell *s, const char *name)
{
    const lb_value *api = lb_value_get(s->schemas, name);
    size_t rpcs = lb_value_count(lb_value_get(api, "rpcs")),
           events = lb_value_count(lb_value_get(api, "events"));
    int size = (int)strlen(name);
    printf("  %s", s->colours.bold);
    print_safe(stdout, name);
    printf("%s%*s%s%zu RPC%s, %zu event%s%s\n", s->colours.off, size < 24 ? 24 - size : 1, "", s->colours.dim,
           rpcs, rpcs == 1 ? "" : "s", events, events == 1 ? "" : "s", s->colours.off);
}

void shell_print_apis(shell *s)
{
    size_t count = lb_value_count(s->schemas), i = 0;
    const char **names = calloc(count + 1, sizeof *names);
    lb_value_iterator it = lb_value_iterate(s->schemas);
    if (!count)
        printf("No API is on the bus.\n");
    while (names && lb_value_next(&it))
        names[i++] = it.name;
    if (names)
        qsort(names, i, sizeof *names, by_name);
    for (size_t k = 0; k < i; k++)
        print_api(s, names[k]);
    free(names);
}

void shell_help(shell *s, const char *path, size_t at)
{
    arena memory = {0};
    const char *name = path ? shell_bare_path(s->schemas, path) : NULL;
    if (!path)
        fputs(about, stdout);
    else if (strcmp(path, "bus") == 0)
        shell_print_apis(s);
    else if (lb_value_get(s->schemas, name))
        print_members(s, lb_value_get(s->schemas, name));
    else
        help_on_member(s, &memory, path, at);
    arena_free(&memory);
}
