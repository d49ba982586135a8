/* The pages about the command line: manual pages, made from the tables of commands and options, are whole; and
 * docs/reference/command-line.md, written by hand, names what the tables have, and nothing else. */
#include "cli/man.h"
#include "cli/values.h"
#include "config/options.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lb_status no_setup(lb_bus *bus, lb_error *error)
{
    (void)bus, (void)error;
    return LB_OK;
}

static void assert_holds(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("expected \"%s\" in: %.2000s", part, text);
}

/* ---- Manual pages ----------------------------------------------------------------------------------- */

typedef void page_fn(buffer *out, const invocation *in);

/* For free(). */
static char *page_of(page_fn *write, const char *program, const command *c, lb_setup_fn setup)
{
    buffer out = {0};
    invocation in = {.program = program, .command = c, .setup = setup};

    write(&out, &in);
    char *text = buffer_text(&out);
    assert_non_null(text);
    return text;
}

/* As roff writes it. */
static void assert_names(const char *page, const char *text)
{
    buffer out = {0};

    buffer_literal(&out, "x"); /* in the middle of a line */
    roff_text(&out, slice_of(text));
    assert_non_null(buffer_text(&out));
    assert_holds(page, out.data + 1);
    buffer_free(&out);
}

static void assert_sections(const char *page, const char *const *titles)
{
    for (const char *at = page; *titles; titles++) {
        char line[64];
        snprintf(line, sizeof line, "\n.SH \"%s\"\n", *titles);
        const char *found = strstr(at, line);
        if (!found)
            fail_msg("no section %s, or not at its place: %.300s", *titles, page);
        at = found;
    }
}

static void a_page_of_each_command_names_all_of_it(void **state)
{
    (void)state;
    static const char *const sections[] = {"NAME",        "SYNOPSIS",    "DESCRIPTION", "COMMON OPTIONS",
                                           "EXIT STATUS", "ENVIRONMENT", "SEE ALSO",    NULL};
    const flag *table;

    for (const command *const *c = cli_commands; *c; c++) {
        char *page = page_of(man_command, "lightbus", *c, NULL), name[64];
        assert_sections(page, sections);
        for (size_t t = 0; (table = flags_table(*c, t)); t++)
            for (const flag *f = table; f->name; f++) {
                snprintf(name, sizeof name, "--%s", f->name);
                assert_names(page, name);
                lb_slice summary = flag_summary(f);
                char help[200];
                snprintf(help, sizeof help, "%.*s", (int)summary.size, summary.data);
                assert_names(page, help);
            }
        for (const term *t = (*c)->environment; t && t->name; t++)
            assert_names(page, t->name);
        for (const term *t = (*c)->files; t && t->name; t++)
            assert_names(page, t->name);
        assert_holds(page, "lightbus.yaml\\fR(5)");
        free(page);
    }
}

static void the_page_of_the_program_lists_commands(void **state)
{
    (void)state;
    static const char *const sections[] = {"NAME",           "SYNOPSIS",    "DESCRIPTION", "COMMANDS",
                                           "COMMON OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES",
                                           "EXAMPLES",       "SEE ALSO",    NULL};
    char *page = page_of(man_program, "lightbus", NULL, NULL), name[80];

    assert_sections(page, sections);
    for (const command *const *c = cli_commands; *c; c++) {
        assert_names(page, (*c)->summary);
        snprintf(name, sizeof name, "\\fBlightbus\\-%s\\fR(1)", (*c)->name);
        assert_holds(page, name);
    }
    for (const char *const *n = (const char *const[]){"LIGHTBUS_URL", "LIGHTBUS_CONFIG", "NO_COLOR", NULL}; *n;
         n++)
        assert_names(page, *n);
    free(page);
}

static void a_binary_of_its_own_has_pages_of_its_own(void **state)
{
    (void)state;
    char *page = page_of(man_command, "shop", &cmd_run, no_setup);

    assert_holds(page, ".TH \"SHOP\\-RUN\" 1");
    assert_holds(page, "\\fBshop\\-call\\fR(1)");
    assert_null(strstr(page, "bus.c is compiled")); /* it loads no modules */
    assert_null(strstr(page, "\\-\\-bus"));
    free(page);
}

static void check_keys(const char *page, const option *dict)
{
    char line[128];

    for (const option *o = dict->members; o && o->name; o++) {
        if (!o->members) {
            snprintf(line, sizeof line, "\n.TP\n\\fB%s\\fR\n", o->name);
            assert_holds(page, line);
        }
        check_keys(page, o);
    }
}

static void the_page_of_the_configuration_has_all_keys(void **state)
{
    (void)state;
    static const char *const sections[] = {"NAME", "DESCRIPTION", "KEYS", "EXAMPLES", "SEE ALSO", NULL};
    char *page = page_of(man_config, "lightbus", NULL, NULL);

    assert_sections(page, sections);
    assert_holds(page, "\n.SS apis.NAME.event_transport.redis.connection_parameters\n");
    check_keys(page, &config_options);
    free(page);
}

/* What a text holds is never a request of roff. */
static void texts_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {".SH x", "\\&.SH x"},
        {"a\n.b\n'c", "a\n\\&.b\n\\(aqc"},
        {"back\\slash", "back\\eslash"},
        {"--x", "\\-\\-x"},
        {"`code` here", "\\fBcode\\fR here"},
        {"it's \"~^\"", "it\\(aqs \\(dq\\(ti\\(ha\\(dq"},
        {"1.5", "1.5"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buffer out = {0};
        roff_text(&out, slice_of(cases[i].text));
        assert_string_equal(buffer_text(&out), cases[i].expected);
        buffer_free(&out);
    }
}

static void examples_are_told_from_text(void **state)
{
    (void)state;
    static const char text[] =
        "First.\nStill.\n\nLike this:\n\n  shown here\n\n  an example\n  of two lines\n\nEnd.\n";
    buffer out = {0};

    roff_paragraphs(&out, text, false);
    assert_string_equal(buffer_text(&out),
                        "First.\nStill.\n.PP\nLike this:\n.PP\n.nf\n.RS 4\nshown here\n.RE\n.fi\n"
                        ".PP\nEnd.\n");
    out.size = 0;
    roff_paragraphs(&out, text, true);
    assert_string_equal(buffer_text(&out), ".nf\n.RS 4\nan example\nof two lines\n.RE\n.fi\n");
    buffer_free(&out);
}

/* ---- The words for values --------------------------------------------------------------------------- */

static void words_say_what_values_are(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        value_kind kind;
        const char *text;
    } cases[] = {
        {"json|pretty|human", VALUE_WORDS, "json pretty human"},
        {"rpcs|events[,...]", VALUE_LIST, "rpcs events"},
        {"FILE", VALUE_FILE, ""},
        {"PATH", VALUE_FILE, ""},
        {"FOLDER", VALUE_FOLDER, ""},
        {"API", VALUE_NAME, "API"},
        {"API.PROCEDURE", VALUE_NAME, "API.PROCEDURE"},
        {"SECONDS", VALUE_OTHER, ""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        value_word v = value_of_flag(&(flag){.name = "x", .value = cases[i].word, .help = "y"});
        assert_int_equal(v.kind, cases[i].kind);
        assert_string_equal(v.text, cases[i].text);
        assert_string_equal(v.word, cases[i].word);
    }
    value_word v = value_of_flag(&(flag){.name = "log-level"}); /* its option knows */
    assert_int_equal(v.kind, VALUE_WORDS);
    assert_string_equal(v.text, "debug info warning error critical");
}

/* The arguments of a command with this usage, as "TEXT/KIND ...". */
static void assert_arguments(const char *usage, const char *expected)
{
    command c = {.arguments = usage};
    char got[512] = "";
    value_word v;
    bool repeats;

    for (size_t place = 1; value_of_argument(&c, place, &v, &repeats); place++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s:%d%s", *got ? " " : "", v.word, (int)v.kind,
                 repeats ? "*" : "");
    assert_string_equal(got, expected);
}

static void usages_say_what_arguments_are(void **state)
{
    (void)state;
    assert_arguments("", "");
    assert_arguments("API.PROCEDURE [NAME=VALUE ...]", "API.PROCEDURE:5 NAME=VALUE:5*");
    assert_arguments("API.EVENT ...", "API.EVENT:5*");
    assert_arguments("info | compact | remove", "info|compact|remove:1");
    assert_arguments("check OLD NEW", "check:1 OLD:3 NEW:3");
    assert_arguments("[COMMAND|other]", "COMMAND|other:1");
    assert_arguments("[a|b[,...]] N", "a|b[,...]:2 N:0");
}

/* ---- docs/reference/command-line.md ----------------------------------------------------------------- */

static char *read_reference(void)
{
    FILE *file = fopen(TESTS_DIR "/../docs/reference/command-line.md", "r");
    char *text = calloc(1, 1 << 18);
    size_t size = file ? fread(text, 1, (1 << 18) - 1, file) : 0, kept = 0;

    assert_true(size > 0 && size < (1 << 18) - 1);
    fclose(file);
    for (size_t i = 0; i < size; i++) /* a "|" in a table is written "\|" */
        if (text[i] != '\\' || text[i + 1] != '|')
            text[kept++] = text[i];
    text[kept] = '\0';
    return text;
}

/* The part below a heading, for free(). */
static char *section_of(const char *page, const char *heading)
{
    char line[80];

    snprintf(line, sizeof line, "\n## %s", heading);
    size_t size = strlen(line);
    for (const char *at = page; (at = strstr(at, line)); at++)
        if (at[size] == '\n' || at[size] == ' ') {
            const char *end = strstr(at + size, "\n## ");
            return strndup(at + size, end ? (size_t)(end - at) - size : strlen(at + size));
        }
    fail_msg("docs/reference/command-line.md: no section \"%s\"", heading);
    return NULL;
}

static void assert_documented(const char *section, const char *where, const flag *table)
{
    for (const flag *f = table; f->name; f++) {
        char cell[128], letter[] = "`-x`, ";
        letter[2] = f->letter;
        snprintf(cell, sizeof cell, "%s`--%s%s%s`", f->letter ? letter : "", f->name, flag_value(f) ? " " : "",
                 flag_value(f) ? flag_value(f) : "");
        if (!strstr(section, cell))
            fail_msg("docs/reference/command-line.md, %s: expected %s", where, cell);
    }
}

/* Is there such a flag? `name` goes up to the first character that cannot be in one. */
static bool is_flag(const command *c, bool own, const char *name)
{
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz-");
    const flag *table;

    for (size_t t = own ? 0 : 1; (table = flags_table(c, t)) && (t == 0 || !own); t++)
        for (const flag *f = table; f->name; f++)
            if (strlen(f->name) == size && strncmp(f->name, name, size) == 0)
                return true;
    return false;
}

/* The flags in the first column of tables. */
static void assert_no_others(const char *section, const char *where, const command *c, bool own)
{
    for (const char *row = section; (row = strstr(row, "\n| `-")); row++) {
        const char *end = strstr(row + 3, " | ");
        for (const char *at = row; (at = strstr(at, "`--")) && at < end; at++)
            if (!is_flag(c, own, at + 3))
                fail_msg("docs/reference/command-line.md, %s: there is no flag %.30s", where, at + 1);
    }
}

static void the_reference_names_all_flags_and_no_others(void **state)
{
    (void)state;
    char *page = read_reference(), *common = section_of(page, "Flags of all commands");
    const flag *table;

    for (size_t t = 1; (table = flags_table(&cmd_run, t)); t++)
        assert_documented(common, "Flags of all commands", table);
    assert_no_others(common, "Flags of all commands", &cmd_run, false);
    for (const command *const *c = cli_commands; *c; c++) {
        char heading[64];
        snprintf(heading, sizeof heading, "lightbus %s", (*c)->name);
        char *section = section_of(page, heading);
        assert_documented(section, heading, (*c)->flags);
        assert_no_others(section, heading, *c, true);
        free(section);
    }
    free(common);
    free(page);
}

static void the_reference_names_no_other_commands(void **state)
{
    (void)state;
    static const char heading[] = "\n## lightbus ";
    char *page = read_reference(), name[64];

    for (const char *at = page; (at = strstr(at, heading)); at++) {
        const char *begin = at + sizeof heading - 1;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(begin, " \n"), begin);
        if (!cli_command(name))
            fail_msg("docs/reference/command-line.md: there is no command \"%s\"", name);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_of_each_command_names_all_of_it),
        cmocka_unit_test(the_page_of_the_program_lists_commands),
        cmocka_unit_test(a_binary_of_its_own_has_pages_of_its_own),
        cmocka_unit_test(the_page_of_the_configuration_has_all_keys),
        cmocka_unit_test(texts_are_escaped),
        cmocka_unit_test(examples_are_told_from_text),
        cmocka_unit_test(words_say_what_values_are),
        cmocka_unit_test(usages_say_what_arguments_are),
        cmocka_unit_test(the_reference_names_all_flags_and_no_others),
        cmocka_unit_test(the_reference_names_no_other_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
