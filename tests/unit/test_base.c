/* The ground floor: arena, buffer, map, clock, errors, log. */
#include "support.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/number.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_arena_aligns_and_keeps_what_it_gave(void **state)
{
    (void)state;
    arena a = {0};
    char *texts[200];
    for (int i = 0; i < 200; i++) {
        texts[i] = arena_alloc(&a, (size_t)i * 37 + 1);
        assert_non_null(texts[i]);
        assert_int_equal((uintptr_t)texts[i] % 16, 0);
        memset(texts[i], i, (size_t)i * 37 + 1);
    }
    for (int i = 0; i < 200; i++)
        for (int j = 0; j <= i * 37; j++)
            assert_int_equal((unsigned char)texts[i][j], i);
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 7), "x-7");
    assert_null(arena_alloc(&a, SIZE_MAX / 2));
    arena_reset(&a, 1 << 20);
    assert_non_null(a.block); /* kept */
    arena_reset(&a, 1);
    assert_null(a.block); /* too large to keep */
    arena_free(&a);
}

static void test_buffer_writes_numbers_and_strings(void **state)
{
    (void)state;
    buffer b = {0};
    buffer_int(&b, INT64_MIN);
    buffer_char(&b, ' ');
    buffer_uint(&b, UINT64_MAX);
    buffer_printf(&b, " %05.1f", 2.25);
    assert_string_equal(buffer_text(&b), "-9223372036854775808 18446744073709551615 002.2");
    b.size = 0;
    assert_true(buffer_json_string(&b, "a\"\\\n\x01\x7f\xc3\xa9\xf0\x9f\x98\x80\0z", 14));
    assert_string_equal(buffer_text(&b), "\"a\\\"\\\\\\n\\u0001\x7f\xc3\xa9\xf0\x9f\x98\x80\\u0000z\"");
    buffer_free(&b);
}

/* A text that is cut ends between two characters. */
static void test_a_cut_keeps_characters_whole(void **state)
{
    static const char *const characters[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    (void)state;
    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++)
        for (size_t room = 1; room <= 20; room++) {
            char text[64] = "", cut[20];
            size_t size = strlen(characters[i]);
            for (int n = 0; n < 8; n++)
                strcat(text, characters[i]);
            text_printf(cut, room, "%s", text);
            size_t whole = (room - 1) / size * size, all = strlen(text);
            assert_int_equal(strlen(cut), whole < all ? whole : all);
        }
    lb_error error = {0};
    char text[1024] = "";
    while (strlen(text) < 1000)
        strcat(text, "\xe2\x82\xac");
    lb_error_set(&error, LB_FAILED, "%s", text);
    assert_int_equal(strlen(error.message), (sizeof error.message - 1) / 3 * 3);
}

static void test_buffer_refuses_what_is_not_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "\xff", "\xc3",     "\xf0\x9f\x98"};
    buffer b = {0};
    buffer_literal(&b, "before");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(buffer_json_string(&b, bad[i], strlen(bad[i])));
        assert_int_equal(b.size, 6);
    }
    buffer_free(&b);
}

static void test_map_finds_what_was_put_and_not_removed(void **state)
{
    (void)state;
    map m = {0};
    char key[16];
    for (intptr_t i = 1; i <= 5000; i++)
        assert_true(map_put(&m, key, (size_t)snprintf(key, sizeof key, "key %d", (int)i), (void *)i));
    assert_true(map_put(&m, "key 7", 5, (void *)70));
    assert_int_equal(m.count, 5000);
    for (intptr_t i = 1; i <= 5000; i += 2)
        assert_non_null(map_remove(&m, key, (size_t)snprintf(key, sizeof key, "key %d", (int)i)));
    assert_null(map_remove(&m, "key 7", 5));
    size_t seen = 0;
    for (map_entry *e = NULL; (e = map_next(&m, e));)
        seen++;
    assert_int_equal(seen, 2500);
    for (intptr_t i = 1; i <= 5000; i++)
        assert_ptr_equal(map_get(&m, key, (size_t)snprintf(key, sizeof key, "key %d", (int)i)),
                         i % 2 ? NULL : (void *)i);
    map_free(&m);
    assert_null(map_get(&m, "key 2", 5));
}

static void test_backoff_grows_and_is_bounded(void **state)
{
    (void)state;
    for (unsigned attempt = 0; attempt < 70; attempt++)
        for (int i = 0; i < 20; i++) {
            int64_t full = attempt < 6 ? INT64_C(100) << attempt : 5000, delay = backoff_ms(attempt, 100, 5000);
            assert_true(delay <= (full < 5000 ? full : 5000));
            assert_true(delay >= (full < 5000 ? full : 5000) / 2);
        }
}

static void test_uuids_differ_also_after_fork(void **state)
{
    (void)state;
    char(*ids)[UUID_TEXT + 1] = shared_memory(2 * sizeof *ids);
    uuid_text(ids[0]);
    pid_t pid = fork();
    if (pid == 0) {
        uuid_text(ids[0]);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    uuid_text(ids[1]);
    assert_string_not_equal(ids[0], ids[1]);
    assert_int_equal(strlen(ids[0]), UUID_TEXT);
    assert_int_equal(ids[0][14], '4');
    assert_non_null(strchr("89ab", ids[0][19]));
}

static void test_left_ms_rounds_up_and_stops_at_zero(void **state)
{
    (void)state;
    assert_int_equal(clock_left_ms(clock_now() - 1, 100), 0);
    assert_int_equal(clock_left_ms(INT64_MAX, 100), 100);
    assert_in_range(clock_left_ms(clock_now() + CLOCK_MS / 2, 100), 0, 1);
}

static void test_statuses_have_names(void **state)
{
    (void)state;
    lb_error error = {0};
    assert_string_equal(lb_status_name(LB_OK), "OK");
    assert_string_equal(lb_status_name(LB_TIMEOUT), "TIMEOUT");
    assert_string_equal(lb_status_name((lb_status)-999), "?");
    assert_int_equal(lb_error_set(&error, LB_BUSY, "%s is full", "it"), LB_BUSY);
    assert_string_equal(error.message, "it is full");
    assert_string_equal(error.type, "BUSY");
    assert_true(error.retryable);
    assert_int_equal(lb_error_set(NULL, LB_USAGE, "nobody listens"), LB_USAGE);
}

static char logged[256];
static void log_here(lb_log_level level, const char *message, void *data)
{
    (void)level;
    snprintf(logged, sizeof logged, "%s%s", (const char *)data, message);
}

static void test_log_goes_to_the_callback_without_control_characters(void **state)
{
    (void)state;
    lb_log_to(log_here, "> ");
    lb_log(LB_LOG_WARNING, "from the bus: %s", "a\nb\x1b[2J");
    assert_string_equal(logged, "> from the bus: a b [2J");
    lb_log_set_level(LB_LOG_ERROR);
    lb_log(LB_LOG_WARNING, "too quiet");
    assert_string_equal(logged, "> from the bus: a b [2J");
    lb_log_set_level(LB_LOG_INFO);
    lb_log_to(NULL, NULL);
}

/* A program may have a locale whose numbers have a comma. */
static void test_numbers_have_a_point_in_every_locale(void **state)
{
    (void)state;
    char *folder = temporary_directory(), command[300], *end;
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", folder);
    int made = system(command);
    setenv("LOCPATH", folder, 1);
    if (made != 0 || !setlocale(LC_ALL, "de_DE.UTF-8")) {
        free(folder);
        skip(); /* the sources of locales are not installed */
    }
    double ours = number_read("2.5e1 s", &end), theirs = strtod("2.5e1", NULL);
    setlocale(LC_ALL, "C");
    free(folder);
    assert_true(theirs == 2);
    assert_true(ours == 25);
    assert_string_equal(end, " s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_aligns_and_keeps_what_it_gave),
        cmocka_unit_test(test_buffer_writes_numbers_and_strings),
        cmocka_unit_test(test_a_cut_keeps_characters_whole),
        cmocka_unit_test(test_buffer_refuses_what_is_not_utf8),
        cmocka_unit_test(test_map_finds_what_was_put_and_not_removed),
        cmocka_unit_test(test_backoff_grows_and_is_bounded),
        cmocka_unit_test(test_uuids_differ_also_after_fork),
        cmocka_unit_test(test_left_ms_rounds_up_and_stops_at_zero),
        cmocka_unit_test(test_statuses_have_names),
        cmocka_unit_test(test_numbers_have_a_point_in_every_locale),
        cmocka_unit_test(test_log_goes_to_the_callback_without_control_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
