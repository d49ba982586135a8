/* Watching files: what counts as a change, and what does not. */
#include "cli/watch.h"
#include "support.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

static watch w;
static char *folder;

static char *at(const char *name)
{
    static char paths[2][300];
    static int next;
    char *path = paths[next++ % 2];

    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int open_watch(void **state)
{
    (void)state;
    folder = temporary_directory();
    write_file(folder, "bus.c", "one");
    assert_true(watch_open(&w));
    assert_true(watch_add(&w, at("bus.c")));
    return 0;
}

static int close_watch(void **state)
{
    (void)state;
    watch_close(&w);
    assert_int_equal(w.fd, -1);
    free(folder);
    return 0;
}

/* What has been done is told at once. */
static bool changed(void) { return watch_changed(&w, false); }

static void finished_writes_count(void **state)
{
    (void)state;
    int file;

    assert_false(changed());
    write_file(folder, "bus.c", "two");
    assert_true(changed());
    assert_false(changed());
    file = open(at("bus.c"), O_WRONLY | O_TRUNC);
    assert_int_equal(write(file, "thr", 3), 3);
    assert_false(changed());
    assert_int_equal(write(file, "ee", 2), 2);
    close(file);
    assert_true(changed());
    write_file(folder, "new", "four");
    assert_int_equal(rename(at("new"), at("bus.c")), 0);
    assert_true(changed());
}

static void reading_deleting_and_other_files_do_not(void **state)
{
    (void)state;
    close(open(at("bus.c"), O_RDONLY));
    assert_false(changed());
    write_file(folder, "bus.c~", "x");
    write_file(folder, "other.c", "x");
    assert_int_equal(mkdir(at("bus"), 0700), 0);
    assert_false(changed());
    assert_int_equal(unlink(at("bus.c")), 0);
    assert_false(changed());
    assert_int_equal(link(at("other.c"), at("bus.c")), 0);
    assert_true(changed());
}

static void any_source_may_count(void **state)
{
    (void)state;
    write_file(folder, "more.h", "x");
    assert_true(watch_changed(&w, true));
    write_file(folder, "more.c", "x");
    assert_true(watch_changed(&w, true));
    write_file(folder, "notes.txt", "x");
    write_file(folder, ".h", "x");
    write_file(folder, "more.c~", "x");
    assert_false(watch_changed(&w, true));
}

static void files_are_added_once(void **state)
{
    (void)state;
    assert_false(watch_add(&w, at("bus.c")));
    assert_true(watch_add(&w, at("later.h")));
    write_file(folder, "later.h", "x");
    assert_true(changed());
    for (int i = 0; i < 100; i++) {
        char name[20];
        snprintf(name, sizeof name, "%d.h", i);
        assert_true(watch_add(&w, at(name)));
        assert_false(watch_add(&w, at(name)));
    }
    write_file(folder, "99.h", "x");
    assert_true(changed());
}

static void both_ends_of_a_link_count(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("real"), 0700), 0);
    write_file(at("real"), "one.c", "x");
    write_file(at("real"), "two.c", "x");
    assert_int_equal(symlink("real/one.c", at("link.c")), 0);
    assert_true(watch_add(&w, at("link.c")));
    write_file(at("real"), "one.c", "y");
    assert_true(changed());
    write_file(at("real"), "two.c", "y");
    assert_false(changed());
    assert_int_equal(unlink(at("link.c")), 0);
    assert_false(changed());
    assert_int_equal(symlink("real/two.c", at("link.c")), 0);
    assert_true(changed());
}

static void a_folder_is_found_again(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("sub"), 0700), 0);
    write_file(at("sub"), "x.h", "x");
    assert_true(watch_add(&w, at("sub/x.h")));
    assert_false(watch_has_lost(&w));
    assert_int_equal(rename(at("sub"), at("moved")), 0);
    wait_until((watch_changed(&w, false), watch_has_lost(&w)), PATIENCE_MS);
    assert_false(watch_find_lost(&w));
    write_file(at("moved"), "x.h", "y");
    assert_false(changed());
    assert_int_equal(mkdir(at("sub"), 0700), 0);
    assert_true(watch_find_lost(&w));
    assert_false(watch_has_lost(&w));
    write_file(at("sub"), "x.h", "x");
    assert_true(changed());
    assert_int_equal(unlink(at("sub/x.h")), 0);
    assert_int_equal(rmdir(at("sub")), 0);
    wait_until((watch_changed(&w, false), watch_has_lost(&w)), PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finished_writes_count, open_watch, close_watch),
        cmocka_unit_test_setup_teardown(reading_deleting_and_other_files_do_not, open_watch, close_watch),
        cmocka_unit_test_setup_teardown(any_source_may_count, open_watch, close_watch),
        cmocka_unit_test_setup_teardown(files_are_added_once, open_watch, close_watch),
        cmocka_unit_test_setup_teardown(both_ends_of_a_link_count, open_watch, close_watch),
        cmocka_unit_test_setup_teardown(a_folder_is_found_again, open_watch, close_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
