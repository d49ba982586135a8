/* Plugins: how they are found, configured, opened and closed, in which order their hooks run, and how each
 * mistake is reported with its place. */
#include "worker.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <lightbus/plugin.h>

/* ---- Helpers -------------------------------------------------------------------------------------------- */

static char *folder;
static char url[160];
static char journal[2048]; /* what the plugins do, in order */

static void note(const char *format, ...) LB_PRINTF(1, 2);
static void note(const char *format, ...)
{
    va_list args;
    size_t used = strlen(journal);
    va_start(args, format);
    vsnprintf(journal + used, sizeof journal - used, format, args);
    va_end(args);
}

static void assert_journal(const char *expected)
{
    assert_string_equal(journal, expected);
    journal[0] = '\0';
}

static const char *path_of(const char *name, char out[300])
{
    snprintf(out, 300, "%s/%s", folder, name);
    return out;
}

static lb_bus *try_open(const char *config, const char *given, lb_error *error)
{
    char path[300];
    lb_options options = {.url = url, .service_name = "plugged", .process_name = "p", .plugins = given};
    if (config) {
        write_file(folder, "c.yaml", config);
        options.config = path_of("c.yaml", path);
    }
    return lb_open(&options, error);
}

static lb_bus *open_with(const char *config)
{
    lb_error error = {0};
    lb_bus *bus = try_open(config, NULL, &error);
    if (!bus)
        fail_msg("%s", error.message);
    return bus;
}

/* Not opened, with a message that begins with the file's path, and goes on like this. */
static void assert_refused(const char *config, lb_status status, const char *message)
{
    char path[300], expected[900];
    lb_error error = {0};
    assert_null(try_open(config, NULL, &error));
    snprintf(expected, sizeof expected, "%s:%s", path_of("c.yaml", path), message);
    assert_string_equal(error.message, expected);
    assert_int_equal(error.status, status);
}

/* ---- Three plugins of the program's own ----------------------------------------------------------------- */

static lb_status sign(lb_occasion *o, void *self, lb_error *error)
{
    (void)o, (void)error;
    note("%s ", (const char *)self);
    return LB_OK;
}

static lb_status open_and_note(lb_bus *bus, const lb_plugin_config *config, void **self, lb_error *error)
{
    char *json = lb_value_json(config->options, NULL);
    const char *name = strstr(config->where, "plugins.") + 8;
    const lb_value *fails = lb_value_get(config->options, "fails");
    (void)bus;
    *self = strdup(name);
    note("open %s %s\n", name, json);
    free(json);
    return fails ? lb_error_set(error, LB_ACCESS, "%s", lb_value_str(fails)) : LB_OK;
}

static void close_and_note(void *self)
{
    note("close %s\n", self ? (const char *)self : "nothing");
    free(self);
}

static const lb_plugin_option early_options[] = {
    {.name = "size", .kind = LB_PLUGIN_INT, .otherwise = "7", .least = 1, .most = 9},
    {.name = "label", .kind = LB_PLUGIN_STR, .otherwise = "x y"},
    {.name = "fails", .kind = LB_PLUGIN_STR},
    {0},
};
static const lb_plugin_hook signing[] = {{LB_HOOK_BEFORE_RPC_CALL, sign}, {0}};

#define PLUGIN(plugin_name, ...)                                                                               \
    {                                                                                                          \
        .abi = LB_PLUGIN_ABI, .size = sizeof(lb_plugin), .name = plugin_name, .open = open_and_note,           \
        .close = close_and_note, .hooks = signing, __VA_ARGS__                                                 \
    }
static const lb_plugin early = PLUGIN("early", .priority = 10, .options = early_options);
static const lb_plugin usual = PLUGIN("usual", .priority = 0); /* 1000 */
static const lb_plugin late = PLUGIN("late", .priority = 2000);

static lb_status add(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, lb_get_int(request, "a") + 1);
}

static const lb_member members[] = {LB_RPC("add(a: int) -> int", add), LB_EVENT("added(n: int)"), LB_END};
static const lb_api calc = {.name = "calc", .members = members};

/* ---- Order and options ---------------------------------------------------------------------------------- */

static void hooks_of_plugins_run_by_priority_between_the_others(void **state)
{
    (void)state;
    static const lb_hook_options before = {.before_plugins = true};
    lb_error error = {0};
    lb_value *sum = NULL;
    lb_bus *bus = open_with("plugins:\n  late: {enabled: true}\n  usual: {enabled: true}\n"
                            "  early: {enabled: true}\n");
    assert_journal("open early {\"size\":7,\"label\":\"x y\"}\nopen usual {}\nopen late {}\n");
    assert_ok(lb_register(bus, &calc, NULL, &error), &error);
    assert_ok(lb_hook(bus, LB_HOOK_BEFORE_RPC_CALL, sign, "after", NULL, &error), &error);
    assert_ok(lb_hook(bus, LB_HOOK_BEFORE_RPC_CALL, sign, "before", &before, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    assert_ok(lb_call(bus, "calc.add", LB_ARGS(LB("a", 1)), &sum, &error), &error);
    assert_int_equal(lb_value_int(sum), 2);
    lb_value_free(sum);
    assert_journal("before early usual late after ");
    lb_value *about = lb_describe(bus);
    char *plugins = lb_value_json(lb_value_get(about, "plugins"), NULL);
    assert_string_equal(plugins, "[\"early\",\"usual\",\"late\"]");
    free(plugins);
    lb_value_free(about);
    lb_close(bus);
    assert_journal("close early\nclose usual\nclose late\n");
}

static void sections_are_options(void **state)
{
    (void)state;
    lb_bus *bus =
        open_with("plugins:\n  early: {enabled: true, size: 3, label: 'a'}\n"
                  "  usual: {enabled: true, anything: {goes: [1, null]}}\n  late: {enabled: false}\n");
    assert_journal("open early {\"size\":3,\"label\":\"a\"}\nopen usual {\"anything\":{\"goes\":[1,null]}}\n");
    lb_close(bus);
    assert_journal("close early\nclose usual\n");
}

static void what_the_program_gives_wins(void **state)
{
    (void)state;
    lb_error error = {0};
    lb_bus *bus = try_open(
        "plugins:\n  early: {enabled: false, size: 3}\n  late: {enabled: true}\n",
        "{\"early\": {\"enabled\": true, \"label\": \"given\"}, \"late\": {\"enabled\": false}}", &error);
    assert_non_null(bus);
    assert_journal("open early {\"size\":3,\"label\":\"given\"}\n");
    lb_close(bus);
    assert_journal("close early\n");
    bus = try_open(NULL, "{\"late\": {\"enabled\": true}}", &error);
    assert_non_null(bus);
    lb_close(bus);
    assert_journal("open late {}\nclose late\n");
    assert_null(try_open(NULL, "{\"early\": {\"enabled\": true, \"size\": 10}}", &error));
    assert_string_equal(
        error.message,
        "lb_options.plugins: plugins.early.size: expected a whole number from 1 to 9, got the number 10");
    assert_null(try_open(NULL, "{\"erly\": {\"enabled\": true}}", &error));
    assert_string_equal(error.message,
                        "lb_options.plugins: unknown key \"erly\" in plugins; did you mean \"early\"?");
    assert_null(try_open(NULL, "[]", &error));
    assert_int_equal(error.status, LB_CONFIG);
    assert_journal("");
}

/* ---- Mistakes ------------------------------------------------------------------------------------------- */

static void unknown_names_are_refused_with_the_nearest(void **state)
{
    (void)state;
    assert_refused("plugins:\n  internal_stats: {}\n", LB_CONFIG,
                   "2:3: unknown key \"internal_stats\" in plugins; did you mean \"internal_state\"?");
    assert_refused("plugins:\n  usal: {enabled: true}\n", LB_CONFIG,
                   "2:3: unknown key \"usal\" in plugins; did you mean \"usual\"?");
    assert_refused(
        "plugins:\n  something: {enabled: false}\n", LB_CONFIG,
        "2:3: unknown key \"something\" in plugins; a plugin that is not built in needs its \"library\"");
    lb_close(open_with("plugins:\n  something: null\n")); /* that is nothing */
}

static void wrong_options_are_refused_before_anything_is_opened(void **state)
{
    (void)state;
    assert_refused("plugins:\n  usual: {enabled: true}\n  early: {enabled: true, sise: 3}\n", LB_CONFIG,
                   "3:26: unknown key \"sise\" in plugins.early; did you mean \"size\"?");
    assert_refused("plugins:\n  early: {enabled: false, size: 12}\n",
                   LB_CONFIG, /* also of what is not enabled */
                   "2:33: plugins.early.size: expected a whole number from 1 to 9, got the number 12");
    assert_refused(
        "plugins:\n  internal_state: {ping_interval: never}\n", LB_CONFIG,
        "2:35: plugins.internal_state.ping_interval: expected a whole number, got the text \"never\"");
    assert_journal("");
}

static void a_plugin_that_fails_fails_lb_open(void **state)
{
    (void)state;
    assert_refused("plugins:\n  late: {enabled: true}\n  usual: {enabled: true, fails: no luck}\n"
                   "  early: {enabled: true}\n",
                   LB_ACCESS, "3:10: plugins.usual: no luck");
    assert_journal("open early {\"size\":7,\"label\":\"x y\"}\nopen usual {\"fails\":\"no luck\"}\n"
                   "close early\nclose usual\n"); /* and `late` was not opened */
}

static const lb_plugin_hook nowhere[] = {{LB_HOOK_POINTS, sign}, {0}};
static const lb_plugin misplaced = {
    .abi = LB_PLUGIN_ABI, .size = sizeof(lb_plugin), .name = "misplaced", .hooks = nowhere};

static void a_hook_at_no_point_fails_lb_open(void **state)
{
    (void)state;
    assert_refused("plugins:\n  misplaced: {enabled: true}\n", LB_USAGE,
                   "2:14: plugins.misplaced: lb_hook: expected an LB_HOOK_ constant and a function, got 11");
}

static void plugins_are_checked_when_they_are_registered(void **state)
{
    (void)state;
    static const lb_plugin_option no_kind[] = {{.name = "size"}, {0}};
    lb_error error = {0};
    lb_plugin p = early;
    assert_status(lb_plugin_register(&early, &error), LB_DUPLICATE, &error);
    assert_string_equal(error.message, "plugin early: there is one of that name already");
    p.name = "internal_state";
    assert_status(lb_plugin_register(&p, &error), LB_DUPLICATE, &error);
    p.name = "a.b";
    assert_status(lb_plugin_register(&p, &error), LB_INVALID_NAME, &error);
    p.name = NULL;
    assert_status(lb_plugin_register(&p, &error), LB_INVALID_NAME, &error);
    p.name = "new";
    p.options = no_kind;
    assert_status(lb_plugin_register(&p, &error), LB_USAGE, &error);
    p.abi = 2;
    assert_status(lb_plugin_register(&p, &error), LB_UNSUPPORTED, &error);
    p.abi = LB_PLUGIN_ABI;
    p.size--;
    assert_status(lb_plugin_register(&p, &error), LB_UNSUPPORTED, &error);
}

/* ---- Shared objects ------------------------------------------------------------------------------------- */

/* Compiles folder/NAME.c to folder/NAME.so. */
static void compile(const char *name, const char *text)
{
    char file[80], command[1200];
    snprintf(file, sizeof file, "%s.c", name);
    if (text)
        write_file(folder, file, text);
    snprintf(command, sizeof command, "cc -shared -fPIC -I '%s/../include' '%s/%s.c' -o '%s/%s.so'", TESTS_DIR,
             text ? folder : TESTS_DIR "/../examples/plugin", name, folder, name);
    assert_int_equal(system(command), 0);
}

#define SOURCE(name, abi)                                                                                      \
    "#include <lightbus/plugin.h>\n"                                                                           \
    "static lb_status refuse(lb_occasion *o, void *self, lb_error *e)\n"                                       \
    "{ (void)o; (void)self; __builtin_strcpy(e->message, \"from the object\"); return LB_ACCESS; }\n"          \
    "static const lb_plugin_hook hooks[] = {{LB_HOOK_BEFORE_RPC_CALL, refuse}, {0}};\n"                        \
    "const lb_plugin lb_plugin_export = {.abi = " abi ", .size = sizeof(lb_plugin), .name = \"" name           \
    "\", .hooks = hooks};\n"

static void plugins_come_from_shared_objects(void **state)
{
    (void)state;
    lb_error error = {0};
    compile("guard", SOURCE("guard", "LB_PLUGIN_ABI"));
    for (int i = 0; i < 2; i++) { /* loaded once, used twice; the path begins at the file */
        lb_bus *bus = open_with("plugins:\n  guard: {enabled: true, library: ./guard.so, more: 1}\n");
        assert_ok(lb_register(bus, &calc, NULL, &error), &error);
        assert_status(lb_call(bus, "calc.add", LB_ARGS(LB("a", 1)), NULL, &error), LB_ACCESS, &error);
        assert_string_equal(error.message, "from the object");
        lb_close(bus);
    }
    lb_close(open_with("plugins:\n  other: {enabled: false, library: gone.so}\n")); /* not looked at */
}

static void objects_that_are_no_plugins_are_refused(void **state)
{
    (void)state;
    char expected[900];
    compile("old", SOURCE("old", "7"));
    compile("none", "int nothing;\n");
    compile("alias", SOURCE("something_else", "LB_PLUGIN_ABI"));
    snprintf(expected, sizeof expected,
             "2:8: plugins.old: %s/old.so: the plugin is made for version 7 (size %zu) of the plugin contract, "
             "expected 1 (%zu)",
             folder, sizeof(lb_plugin), sizeof(lb_plugin));
    assert_refused("plugins:\n  old: {enabled: true, library: old.so}\n", LB_UNSUPPORTED, expected);
    snprintf(expected, sizeof expected,
             "2:9: plugins.none: %s/none.so: is no plugin: expected it to define \"const lb_plugin "
             "lb_plugin_export\"",
             folder);
    assert_refused("plugins:\n  none: {enabled: true, library: none.so}\n", LB_CONFIG, expected);
    snprintf(expected, sizeof expected,
             "2:10: plugins.alias: %s/alias.so: is the plugin \"something_else\", expected \"alias\"", folder);
    assert_refused("plugins:\n  alias: {enabled: true, library: alias.so}\n", LB_CONFIG, expected);
    lb_error error = {0};
    assert_null(try_open("plugins:\n  gone: {enabled: true, library: gone.so}\n", NULL, &error));
    assert_contains(error.message, "c.yaml:2:9: plugins.gone: ");
    assert_contains(error.message, "gone.so: cannot be loaded: ");
}

/* ---- What a plugin may do when it is opened ------------------------------------------------------------- */

static int ticks, heard;

static lb_status tick(lb_bus *bus, void *data, lb_error *error)
{
    shared_add(data, 1);
    return lb_fire(bus, "calc.added", LB_ARGS(LB("n", 1)), error);
}

static lb_status hear(const lb_event *event, void *data)
{
    (void)event;
    shared_add(data, 1);
    return LB_OK;
}

static lb_status open_busy(lb_bus *bus, const lb_plugin_config *config, void **self, lb_error *error)
{
    lb_status status = lb_register(bus, &calc, NULL, error);
    (void)config, (void)self;
    if (status == LB_OK)
        status = lb_listen(bus, "calc.added", "busy", hear, &heard, NULL, error);
    return status == LB_OK ? lb_every(bus, &(lb_every_options){.seconds = 0.01}, tick, &ticks, error) : status;
}

static const lb_plugin busy = {
    .abi = LB_PLUGIN_ABI, .size = sizeof(lb_plugin), .name = "busy", .open = open_busy};

static void plugins_bring_apis_listeners_and_tasks(void **state)
{
    (void)state;
    lb_error error = {0};
    lb_bus *bus = open_with("plugins: {busy: {enabled: true}}\n");
    assert_ok(lb_start(bus, &error), &error);
    wait_until(shared_get(&ticks) >= 2 && shared_get(&heard) >= 2, PATIENCE_MS);
    lb_close(bus);
}

/* ---- The example, in the program ------------------------------------------------------------------------ */

static const char module[] =
    "#include <lightbus.h>\n"
    "static lb_status add(lb_request *r, void *d)\n"
    "{ (void)d; if (lb_get_int(r, \"a\") < 0) return lb_fail(r, \"Negative\", \"no\");\n"
    "  return lb_return(r, lb_get_int(r, \"a\") + 1); }\n"
    "static const lb_member members[] = {LB_RPC(\"add(a: int) -> int\", add), LB_END};\n"
    "static const lb_api calc = {.name = \"calc\", .members = members};\n"
    "lb_status lb_setup(lb_bus *bus, lb_error *e)\n"
    "{ return lb_register(bus, &calc, NULL, e); }\n";

static program *lightbus(const char *const *words)
{
    const char *argv[12] = {LIGHTBUS_PROGRAM};
    char bus[200], cache[300];
    snprintf(bus, sizeof bus, "LIGHTBUS_URL=%s", url);
    snprintf(cache, sizeof cache, "XDG_CACHE_HOME=%s/cache", folder);
    const char *environment[] = {bus, cache, "NO_COLOR=", NULL};
    for (size_t i = 0; words[i]; i++)
        argv[i + 1] = words[i];
    return program_start(argv, environment, folder);
}
#define LIGHTBUS(...) lightbus((const char *const[]){__VA_ARGS__, NULL})

static void the_example_writes_its_file(void **state)
{
    (void)state;
    char path[300], line[200];
    compile("audit", NULL);
    write_file(folder, "bus.c", module);
    write_file(folder, "audit.yaml",
               "plugins:\n  audit: {enabled: true, library: audit.so, file: audit.log, slower_than: 0}\n");
    program *worker = LIGHTBUS("run", "--config", "audit.yaml");
    program_expect(worker, "plugins    audit", PATIENCE_MS);
    program_expect(worker, "Ready.", PATIENCE_MS);
    for (int i = 0; i < 2; i++) {
        program *call = LIGHTBUS("call", "calc.add", i ? "a=-1" : "a=1");
        assert_int_equal(program_wait(call, PATIENCE_MS), i);
        program_free(call);
    }
    child_kill(worker->pid, SIGTERM);
    assert_int_equal(program_wait(worker, PATIENCE_MS), 0);
    program_free(worker);
    FILE *file = fopen(path_of("audit.log", path), "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    assert_contains(line, "calc.add ok 0.0");
    assert_non_null(fgets(line, sizeof line, file));
    assert_contains(line, "calc.add Negative 0.0");
    assert_null(fgets(line, sizeof line, file));
    fclose(file);

    write_file(folder, "audit.yaml", "plugins:\n  audit: {enabled: true, library: audit.so}\n");
    worker = LIGHTBUS("run", "--config", "audit.yaml");
    assert_int_equal(program_wait(worker, PATIENCE_MS), 1);
    assert_contains(worker->text, "audit.yaml:2:10: plugins.audit: expected a file");
    program_free(worker);
}

/* ---- */

static int open_folder(void **state)
{
    lb_error error = {0};
    (void)state;
    folder = temporary_directory();
    snprintf(url, sizeof url, "local://%s/bus", folder);
    const lb_plugin *const own[] = {&late, &usual, &early, &misplaced, &busy};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        assert_ok(lb_plugin_register(own[i], &error), &error);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    free(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_writes_its_file),
        cmocka_unit_test(hooks_of_plugins_run_by_priority_between_the_others),
        cmocka_unit_test(sections_are_options),
        cmocka_unit_test(what_the_program_gives_wins),
        cmocka_unit_test(unknown_names_are_refused_with_the_nearest),
        cmocka_unit_test(wrong_options_are_refused_before_anything_is_opened),
        cmocka_unit_test(a_plugin_that_fails_fails_lb_open),
        cmocka_unit_test(a_hook_at_no_point_fails_lb_open),
        cmocka_unit_test(plugins_are_checked_when_they_are_registered),
        cmocka_unit_test(plugins_come_from_shared_objects),
        cmocka_unit_test(objects_that_are_no_plugins_are_refused),
        cmocka_unit_test(plugins_bring_apis_listeners_and_tasks),
    };

    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
