/* Flags, the help made from their tables, and suggestions. */
#include "cli/cli.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

typedef struct parsed {
    invocation in;
    char *argv[16];
    int code;
} parsed;

/* Parses the words (up to a NULL) as the arguments of a command. */
static parsed parse(const command *c, const char *const *words)
{
    parsed p = {.in = {.program = "lightbus", .command = c}};
    int argc = 0;

    while (words[argc]) {
        p.argv[argc] = (char *)(uintptr_t)words[argc];
        argc++;
    }
    p.code = flags_parse(&p.in, argc, p.argv);
    return p;
}
#define PARSE(c, ...) parse(&(c), (const char *const[]){__VA_ARGS__, NULL})

static void values_in_all_forms(void **state)
{
    (void)state;
    parsed p = PARSE(cmd_run, "--url", "redis://a", "-s", "one", "-ptwo", "--log-level=debug", "--bus=");

    assert_int_equal(p.code, CLI_OK);
    assert_string_equal(p.in.url, "redis://a");
    assert_string_equal(p.in.service_name, "one");
    assert_string_equal(p.in.process_name, "two");
    assert_string_equal(p.in.log_level, "debug");
    assert_string_equal(p.in.bus, "");
    assert_null(p.in.help);
    assert_int_equal(p.in.count, 0);
}

static void flags_and_arguments_mix(void **state)
{
    (void)state;
    parsed p = PARSE(cmd_call, "a.b", "--trace", "x=1", "--timeout", "-5", "-", "--", "--url", "y=2");

    assert_int_equal(p.code, CLI_OK);
    assert_non_null(p.in.trace);
    assert_string_equal(p.in.timeout, "-5");
    assert_int_equal(p.in.count, 5);
    assert_string_equal(p.argv[0], "a.b");
    assert_string_equal(p.argv[1], "x=1");
    assert_string_equal(p.argv[2], "-");
    assert_string_equal(p.argv[3], "--url");
    assert_string_equal(p.argv[4], "y=2");
    assert_null(p.in.url);
}

static void the_last_one_counts(void **state)
{
    (void)state;
    assert_string_equal(PARSE(cmd_call, "--url", "a", "--url=b").in.url, "b");
}

static void wrong_flags_are_refused(void **state)
{
    (void)state;
    assert_int_equal(PARSE(cmd_run, "--nothing").code, CLI_USAGE);
    assert_int_equal(PARSE(cmd_run, "--ur", "x").code, CLI_USAGE);
    assert_int_equal(PARSE(cmd_run, "-x").code, CLI_USAGE);
    assert_int_equal(PARSE(cmd_run, "--url").code, CLI_USAGE);
    assert_int_equal(PARSE(cmd_run, "-s").code, CLI_USAGE);
    assert_int_equal(PARSE(cmd_run, "--help=yes").code, CLI_USAGE);
    assert_int_equal(PARSE(cmd_run, "-hs").code, CLI_USAGE);
    assert_int_equal(PARSE(cmd_run, "--=x").code, CLI_USAGE);
    assert_int_equal(PARSE(cmd_run, "--trace").code, CLI_USAGE); /* another command's */
    assert_int_equal(PARSE(cmd_version, "--url", "x").code, CLI_USAGE);
    assert_int_equal(PARSE(cmd_version, "--pyproject").code, CLI_USAGE);
}

static void words_are_checked(void **state)
{
    (void)state;
    assert_string_equal(PARSE(cmd_inspect, "-F", "human").in.format, "human");
    assert_string_equal(PARSE(cmd_inspect, "--format=json").in.format, "json");
    assert_string_equal(PARSE(cmd_run, "--log-level", "critical").in.log_level, "critical");
    const char *const none[] = {"", " ", "js", "son", "jsonp", "json pretty", "JSON", "pretty|human"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(PARSE(cmd_inspect, "--format", none[i]).code, CLI_USAGE);
}

static lb_status no_setup(lb_bus *bus, lb_error *error)
{
    (void)bus;
    (void)error;
    return LB_OK;
}

static void a_binary_of_its_own_loads_no_modules(void **state)
{
    (void)state;
    char *argv[] = {"--bus", "x"};
    invocation in = {.program = "shop", .command = &cmd_run, .setup = no_setup};

    assert_int_equal(flags_parse(&in, 2, argv), CLI_USAGE);
    assert_null(in.bus);
}

/* The help of a command (NULL: of the program) as a text for free(). */
static char *help_text(const command *c, lb_setup_fn setup)
{
    invocation in = {.program = "lightbus", .command = c, .setup = setup};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    flags_help(out, &in);
    fclose(out);
    return text;
}

static void assert_narrow(const char *text)
{
    for (size_t size; *text; text += size + (text[size] == '\n')) {
        size = strcspn(text, "\n");
        if (size > 80)
            fail_msg("wider than 80 columns: %.*s", (int)size, text);
    }
}

static void help_names_every_flag_within_80_columns(void **state)
{
    (void)state;
    char *program = help_text(NULL, NULL), name[64];

    assert_narrow(program);
    for (const command *const *c = cli_commands; *c; c++) {
        char *text = help_text(*c, NULL);
        assert_narrow(text);
        assert_non_null(strstr(text, (*c)->summary));
        for (const flag *f = (*c)->flags; f->name; f++) {
            snprintf(name, sizeof name, "--%s", f->name);
            assert_non_null(strstr(text, name));
        }
        assert_non_null(strstr(text, "-h, --help"));
        assert_non_null(strstr(program, (*c)->summary));
        free(text);
    }
    free(program);
}

static void help_hides_modules_where_there_are_none(void **state)
{
    (void)state;
    char *with = help_text(&cmd_run, NULL), *without = help_text(&cmd_run, no_setup);

    assert_non_null(strstr(with, "--bus"));
    assert_null(strstr(without, "--bus"));
    free(with);
    free(without);
}

static void numbers(void **state)
{
    (void)state;
    int ms = 0;
    uint64_t count = 0;

    assert_true(flags_seconds("2.5", &ms));
    assert_int_equal(ms, 2500);
    assert_true(flags_seconds("0.0001", &ms));
    assert_int_equal(ms, 1);
    const char *const no_seconds[] = {"", "0", "-1", "x", "1s", "nan", "inf", "1e30"};
    for (size_t i = 0; i < sizeof no_seconds / sizeof *no_seconds; i++)
        assert_false(flags_seconds(no_seconds[i], &ms));
    assert_true(flags_count("12", &count));
    assert_int_equal(count, 12);
    const char *const no_counts[] = {"", "0", "-1", "1.5", " 1", "99999999999999999999", "x"};
    for (size_t i = 0; i < sizeof no_counts / sizeof *no_counts; i++)
        assert_false(flags_count(no_counts[i], &count));
}

/* The hint for a misspelt name among these. */
static const char *hint_for(const char *wanted)
{
    static char text[HINT_SIZE];
    const char *const names[] = {"run", "call", "fire", "listen", "service-name"};
    suggestion s = suggestion_for(slice_of(wanted));

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        suggestion_consider(&s, slice_of(names[i]));
    return hint(&s, text);
}

static void the_nearest_name(void **state)
{
    (void)state;
    char longest[200];

    assert_string_equal(hint_for("rnu"), "; did you mean \"run\"?");
    assert_string_equal(hint_for("lsiten"), "; did you mean \"listen\"?");
    assert_string_equal(hint_for("service_name"), "; did you mean \"service-name\"?");
    assert_string_equal(hint_for("fier"), "; did you mean \"fire\"?");
    assert_string_equal(hint_for("CALL"), "; did you mean \"call\"?");
    assert_string_equal(hint_for("deploy"), "");
    assert_string_equal(hint_for(""), "");
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_string_equal(hint_for(longest), "");
}

static void texts_from_elsewhere_are_harmless(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    print_safe(out, "a\033[31mb\x7f\tc\n\xc2\x9b"
                    "d\xc3\xa9\xc2");
    fclose(out);
    assert_string_equal(text, "a?[31mb?\tc\n?d\xc3\xa9\xc2");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_in_all_forms),
        cmocka_unit_test(flags_and_arguments_mix),
        cmocka_unit_test(the_last_one_counts),
        cmocka_unit_test(wrong_flags_are_refused),
        cmocka_unit_test(words_are_checked),
        cmocka_unit_test(a_binary_of_its_own_loads_no_modules),
        cmocka_unit_test(help_names_every_flag_within_80_columns),
        cmocka_unit_test(help_hides_modules_where_there_are_none),
        cmocka_unit_test(numbers),
        cmocka_unit_test(the_nearest_name),
        cmocka_unit_test(texts_from_elsewhere_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
