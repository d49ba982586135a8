/* lightbus local: the folder of a local bus. */
#include "cli.h"

#include <string.h>
#include <unistd.h>

#include "../base/local_folder.h"
#include "../base/report.h"

static int with_url(const invocation *in, int (*action)(const invocation *in, const char *url))
{
    lb_bus *bus = cli_open(in, (lb_options){.log_level = LB_LOG_WARNING});
    int code = bus ? action(in, lb_url(bus)) : CLI_FAILURE;
    lb_close(bus);
    return code;
}

static void print_size(const char *name, int64_t bytes)
{
    char text[BYTES_TEXT];
    printf("%s%s", name, bytes_text(bytes, text));
}

static void print_group(const lb_value *group)
{
    printf("    ");
    print_safe(stdout, lb_value_str(lb_value_get(group, "name")));
    printf(": %lld behind, %lld in hand", (long long)lb_value_int(lb_value_get(group, "behind")),
           (long long)lb_value_int(lb_value_get(group, "pending")));
    int64_t listeners = lb_value_int(lb_value_get(group, "listeners"));
    if (listeners)
        printf(", %lld listening", (long long)listeners);
    else
        printf(", nobody listening");
    int64_t lost = lb_value_int(lb_value_get(group, "lost"));
    if (lost)
        printf(", %lld LOST", (long long)lost);
    printf("\n");
}

static void print_info(const lb_value *info)
{
    print_safe(stdout, lb_value_str(lb_value_get(info, "folder")));
    printf("\n  format %lld, durability %s\n", (long long)lb_value_int(lb_value_get(info, "format")),
           lb_value_str(lb_value_get(info, "durability")));
    print_size("  size ", lb_value_int(lb_value_get(info, "size")));
    print_size(", of which used ", lb_value_int(lb_value_get(info, "used")));
    print_size("; events may take ", lb_value_int(lb_value_get(info, "max_size")));
    printf("\n  %lld calls and %lld results wait\n  APIs served:",
           (long long)lb_value_int(lb_value_get(info, "calls")),
           (long long)lb_value_int(lb_value_get(info, "results")));
    for (lb_value_iterator it = lb_value_iterate(lb_value_get(info, "schemas")); lb_value_next(&it);) {
        putchar(' ');
        print_safe(stdout, lb_value_str(it.value));
    }
    printf("%s\n", lb_value_count(lb_value_get(info, "schemas")) ? "" : " none");
    for (lb_value_iterator it = lb_value_iterate(lb_value_get(info, "streams")); lb_value_next(&it);) {
        printf("  ");
        print_safe(stdout, lb_value_str(lb_value_get(it.value, "name")));
        int64_t length = lb_value_int(lb_value_get(it.value, "length"));
        printf(": %lld event%s\n", (long long)length, length == 1 ? "" : "s");
        for (lb_value_iterator g = lb_value_iterate(lb_value_get(it.value, "groups")); lb_value_next(&g);)
            print_group(g.value);
    }
}

static int info(const invocation *in, const char *url)
{
    buffer json = {0};
    lb_value *value = NULL;
    lb_error error = {0};
    int code = CLI_OK;
    if (local_folder_info(url, &json, &error) != LB_OK ||
        lb_value_parse(json.data, json.size, &value, &error) != LB_OK)
        code = failure(in, &error);
    else if (isatty(STDOUT_FILENO))
        print_info(value);
    else
        code = print_result(in, value);
    buffer_free(&json);
    lb_value_free(value);
    return code == CLI_OK ? finish_output(in) : code;
}

static int compact(const invocation *in, const char *url)
{
    uint64_t before, after;
    lb_error error = {0};
    if (local_folder_compact(url, &before, &after, &error) != LB_OK)
        return failure(in, &error);
    print_size("events: ", (int64_t)before);
    print_size(" before, ", (int64_t)after);
    printf(" after\n");
    return finish_output(in);
}

static int remove_all(const invocation *in, const char *url)
{
    lb_error error = {0};
    return local_folder_remove(url, &error) == LB_OK ? CLI_OK : failure(in, &error);
}

static int local(invocation *in)
{
    static const struct {
        const char *name;
        int (*run)(const invocation *in, const char *url);
    } actions[] = {{"info", info}, {"compact", compact}, {"remove", remove_all}};
    char text[HINT_SIZE];
    suggestion s = suggestion_for(slice_of(in->count ? in->arguments[0] : ""));
    if (in->count != 1)
        return usage_error(in, "expected info, compact or remove");
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(in->arguments[0], actions[i].name) == 0)
            return with_url(in, actions[i].run);
        suggestion_consider(&s, slice_of(actions[i].name));
    }
    return usage_error(in, "expected info, compact or remove, got \"%s\"%s", in->arguments[0], hint(&s, text));
}

static const flag flags[] = {{0}};

const command cmd_local = {
    .name = "local",
    .summary = "Shows, compacts or removes the folder of a local bus.",
    .arguments = "info | compact | remove",
    .details = "info shows what lies in the folder: streams, groups and how far behind they are.\n"
               "compact makes the file of the events as small as it can be; remove deletes the\n"
               "bus with all that is in it. These two refuse while a process uses the folder.\n\n"
               "  lightbus local info\n"
               "  lightbus local info --url local:///var/lib/shop/bus\n",
    .flags = flags,
    .run = local,
};
