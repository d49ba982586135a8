/* Findings in the making: what is judged in the same way for all transports. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/report.h"

typedef struct told {
    lb_finding_level levels[10];
    char found[10][1024], advice[10][512];
    size_t count;
} told;

static void keep(const lb_finding *finding, void *data)
{
    told *t = data;
    assert_string_equal(finding->check, "groups");
    assert_null(finding->place);
    t->levels[t->count] = finding->level;
    snprintf(t->found[t->count], sizeof t->found[0], "%s", finding->found);
    snprintf(t->advice[t->count++], sizeof t->advice[0], "%s", finding->advice ? finding->advice : "-");
}

static group_facts facts(void)
{
    return (group_facts){.stream = {"s", 1}, .group = {"mail-default", 12}, .length = 10, .consumers = 2};
}

static told judge(group_facts g)
{
    told t = {.count = 0};
    report r = {.found = keep, .data = &t};
    report_begin(&r, "groups");
    report_group(&r, &g);
    assert_int_equal(r.told, t.count);
    report_free(&r);
    return t;
}

static void a_group_that_is_read_is_no_finding(void **state)
{
    group_facts g = facts();
    (void)state;
    assert_int_equal(judge(g).count, 0);
    g.consumers = -1;
    g.undelivered = -1;
    assert_int_equal(judge(g).count, 0);
}

static void a_stream_that_is_not_trimmed_loses_nothing(void **state)
{
    group_facts g = facts();
    (void)state;
    g.undelivered = 1000000;
    assert_int_equal(judge(g).count, 0);
    g.most = 1250000;
    told t = judge(g);
    assert_int_equal(t.count, 1);
    assert_int_equal(t.levels[0], LB_FINDING_WARNING);
    g.most = 1250013;
    assert_int_equal(judge(g).count, 0);
}

static void all_that_is_wrong_with_a_group_is_told(void **state)
{
    group_facts g = facts();
    (void)state;
    g.lost = 3;
    g.most = 10;
    g.undelivered = 10;
    g.overdue = 1;
    g.overdue_ms = 200000;
    g.holder = (lb_slice){"p1", 2};
    g.consumers = 0;
    g.remove = "rm group";
    told t = judge(g);
    assert_int_equal(t.count, 4);
    assert_string_equal(t.found[0], "s: 3 events were trimmed before mail-default had handled them: lost");
    assert_string_equal(t.found[2],
                        "s: 1 event is of mail-default with p1, silent for 3 min, and nobody takes it over");
    assert_string_equal(t.found[3], "s: the group mail-default has no consumers, and 10 events to read");
    g = facts();
    g.consumers = 0;
    g.remove = "rm group";
    t = judge(g);
    assert_int_equal(t.levels[0], LB_FINDING_NOTE);
    assert_string_equal(t.advice[0], "if the listener is gone for good: rm group");
}

static void made_up_names_are_told_from_others(void **state)
{
    static const char *const made_up[] = {"swift-otter-412-default", "a-b-1-x", "broken-hill-0-on-order"};
    static const char *const others[] = {"mail-default",
                                         "mail-sender-default",
                                         "mail-sender-2",
                                         "swift-otter-412",
                                         "Swift-otter-412-x",
                                         "swift-otter--x",
                                         "",
                                         "-",
                                         "a-b-123456-x",
                                         "42-a-1-b",
                                         "swift-otter-412x-default"};
    (void)state;
    for (size_t i = 0; i < sizeof made_up / sizeof *made_up; i++)
        if (!is_random_group(slice_of(made_up[i])))
            fail_msg("%s", made_up[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (is_random_group(slice_of(others[i])))
            fail_msg("%s", others[i]);
}

static void what_cannot_be_checked_is_a_note_only_where_it_is_forbidden(void **state)
{
    told t = {.count = 0};
    report r = {.found = keep, .data = &t};
    lb_error error = {0};
    (void)state;
    report_begin(&r, "groups");
    lb_error_set(&error, LB_ACCESS, "no right");
    report_unchecked(&r, &error);
    lb_error_set(&error, LB_TRANSPORT, "lost");
    report_unchecked(&r, &error);
    report_unchecked(&r, &(lb_error){.status = LB_NO_MEMORY});
    assert_int_equal(t.levels[0], LB_FINDING_NOTE);
    assert_string_equal(t.found[0], "not checked: no right");
    assert_int_equal(t.levels[1], LB_FINDING_WARNING);
    assert_string_equal(t.found[2], "not checked: out of memory");
}

static void words_are_quoted_where_the_shell_needs_it(void **state)
{
    static const char *const words[][2] = {
        {"mail-default", "mail-default"}, {"shop.*:stream", "'shop.*:stream'"}, {"", "''"}, {"a b", "'a b'"},
        {"it's", "'it'\\''s'"},           {"$(x)`y`\\", "'$(x)`y`\\'"}};
    report r = {.found = keep};
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_string_equal(report_word(&r, slice_of(words[i][0])), words[i][1]);
    report_free(&r);
}

static void sizes_and_durations_read_well(void **state)
{
    char text[DURATION_TEXT], size[BYTES_TEXT];
    (void)state;
    assert_string_equal(bytes_text(0, size), "0 bytes");
    assert_string_equal(bytes_text(1023, size), "1023 bytes");
    assert_string_equal(bytes_text(1536, size), "1.5 KiB");
    assert_string_equal(bytes_text(INT64_MAX, size), "8388608.0 TiB");
    assert_string_equal(duration_text(0, text), "0.0 s");
    assert_string_equal(duration_text(1500, text), "1.5 s");
    assert_string_equal(duration_text(119000, text), "119 s");
    assert_string_equal(duration_text(120000, text), "2 min");
    assert_string_equal(duration_text(INT64_C(7200) * 1000, text), "2 hours");
    assert_string_equal(duration_text(INT64_C(3) * 86400 * 1000, text), "3 days");
    assert_string_equal(duration_text(INT64_C(36500) * 86400 * 1000, text), "36500 days");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_that_is_read_is_no_finding),
        cmocka_unit_test(a_stream_that_is_not_trimmed_loses_nothing),
        cmocka_unit_test(all_that_is_wrong_with_a_group_is_told),
        cmocka_unit_test(made_up_names_are_told_from_others),
        cmocka_unit_test(what_cannot_be_checked_is_a_note_only_where_it_is_forbidden),
        cmocka_unit_test(words_are_quoted_where_the_shell_needs_it),
        cmocka_unit_test(sizes_and_durations_read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
