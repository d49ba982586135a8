/* lightbus run --reload: what is saved is served; what does not compile is not. */
#include "run_harness.h"
#include "terminal.h"

#include <dirent.h>
#include <fcntl.h>

#define ANEW "starting the worker"

static program *start(void)
{
    program *p = START(&c, "run", "--reload", "-s", "ours", "-p", "web");

    program_expect(p, "Ready.", DEADLINE_MS);
    return p;
}

static char *in_folder(const char *name)
{
    static char paths[2][300];
    static int next;
    char *path = paths[next++ % 2];

    snprintf(path, sizeof paths[0], "%s/%s", c.folder, name);
    return path;
}

static void rename_file(const char *from, const char *to)
{
    assert_int_equal(rename(in_folder(from), in_folder(to)), 0);
}

/* Waits for workers that say so; every call on the way is answered. */
static void wait_for_version(int version) { wait_until(ask_version() == version, DEADLINE_MS); }

/* A bus.c that has its version from a header. */
static void write_service_with_header(void)
{
    write_file(c.folder, "version.h", "#define NUMBER 1\n");
    write_file(c.folder, "bus.c",
               "#include \"version.h\"\n#define VERSION NUMBER\n#define SETUP\n"
               "#include \"" TESTS_DIR "/integration/run_service/service.h\"\n");
}

/* ---- Ways to save ----------------------------------------------------------------------------------- */

static void a_change_is_served(void **state)
{
    (void)state;
    pid_t before;
    program *p;

    write_service(1, "");
    p = start();
    before = ask().pid;
    assert_int_equal(ask_version(), 1);
    write_service(2, "");
    wait_for_version(2);
    assert_int_not_equal(ask().pid, before);
    write_service(3, "");
    wait_for_version(3);
    assert_string_equal(ask().process, "web");
    assert_int_equal(count_of(p->text, "API test.run"), 1);
    cli_stop(p);
}

static void a_header_counts(void **state)
{
    (void)state;
    program *p;

    write_service_with_header();
    p = start();
    assert_int_equal(ask_version(), 1);
    write_file(c.folder, "version.h", "#define NUMBER 2\n");
    wait_for_version(2);
    cli_stop(p);
}

static void a_header_in_another_folder_counts(void **state)
{
    (void)state;
    program *p;

    assert_int_equal(mkdir(in_folder("include"), 0700), 0);
    write_file(in_folder("include"), "version.h", "#define NUMBER 1\n");
    write_file(c.folder, "bus.c",
               "#include \"include/version.h\"\n#define VERSION NUMBER\n#define SETUP\n"
               "#include \"" TESTS_DIR "/integration/run_service/service.h\"\n");
    p = start();
    write_file(in_folder("include"), "version.h", "#define NUMBER 2\n");
    wait_for_version(2);
    cli_stop(p);
}

static void a_file_that_is_renamed_to_its_place_counts(void **state)
{
    (void)state;
    program *p;

    write_service(1, "");
    p = start();
    write_named_service("bus.c~new", 2, "");
    rename_file("bus.c~new", "bus.c");
    wait_for_version(2);
    write_named_service("bus.c~new", 3, ""); /* what is watched is the name, not the former file */
    rename_file("bus.c~new", "bus.c");
    wait_for_version(3);
    cli_stop(p);
}

static void a_file_that_is_emptied_first_counts_once_it_is_written(void **state)
{
    (void)state;
    char text[1000];
    program *p;
    FILE *file;
    size_t size;

    write_named_service("later", 2, "");
    file = fopen(in_folder("later"), "r");
    assert_non_null(file);
    size = fread(text, 1, sizeof text, file);
    fclose(file);
    write_service(1, "");
    p = START(&c, "run", "--reload", "--log-level", "debug");
    program_expect(p, "Ready.", DEADLINE_MS);
    program_expect(p, "there is nothing new to run", DEADLINE_MS); /* it looks twice at first */
    file = fopen(in_folder("bus.c"), "w");
    assert_non_null(file);
    assert_int_equal(ask_version(), 1);
    fwrite(text, 1, size / 2, file);
    fflush(file);
    assert_int_equal(ask_version(), 1);
    fwrite(text + size / 2, 1, size - size / 2, file);
    fclose(file);
    wait_for_version(2);
    assert_null(strstr(p->text, "what runs goes on as it is"));
    cli_stop(p);
}

static void a_file_that_was_deleted_comes_back(void **state)
{
    (void)state;
    program *p;

    write_service(1, "");
    p = start();
    assert_int_equal(unlink(in_folder("bus.c")), 0);
    assert_int_equal(ask_version(), 1);
    write_service(2, "");
    wait_for_version(2);
    cli_stop(p);
}

static void a_folder_that_is_replaced_is_found_again(void **state)
{
    (void)state;
    program *p;

    assert_int_equal(mkdir(in_folder("service"), 0700), 0);
    assert_int_equal(mkdir(in_folder("next"), 0700), 0);
    write_named_service("service/bus.c", 1, "");
    write_named_service("next/bus.c", 2, "");
    p = START(&c, "run", "--reload", "--bus", "service");
    program_expect(p, "Ready.", DEADLINE_MS);
    rename_file("service", "former");
    assert_int_equal(ask_version(), 1);
    rename_file("next", "service");
    wait_for_version(2);
    write_named_service("service/bus.c", 3, "");
    wait_for_version(3);
    cli_stop(p);
}

static void a_link_that_is_changed_counts(void **state)
{
    (void)state;
    program *p;

    write_named_service("one.c", 1, "");
    write_named_service("two.c", 2, "");
    assert_int_equal(symlink("one.c", in_folder("bus.c")), 0);
    p = start();
    assert_int_equal(ask_version(), 1);
    assert_int_equal(symlink("two.c", in_folder("new")), 0);
    rename_file("new", "bus.c");
    wait_for_version(2);
    write_named_service("two.c", 3, ""); /* and what it points to */
    wait_for_version(3);
    cli_stop(p);
}

static void files_that_are_saved_together_are_taken_together(void **state)
{
    (void)state;
    program *p;

    write_service_with_header();
    p = start();
    write_file(c.folder, "version.h", "#define NUMBRE 2\n"); /* alone it would not compile */
    write_file(c.folder, "bus.c",
               "#include \"version.h\"\n#define VERSION NUMBRE\n#define SETUP\n"
               "#include \"" TESTS_DIR "/integration/run_service/service.h\"\n");
    wait_for_version(2);
    cli_stop(p);
}

static void saving_without_a_change_restarts_nothing(void **state)
{
    (void)state;
    program *p;

    write_service(1, "");
    p = start();
    write_service(1, "");
    write_file(c.folder, "unrelated.txt", "");
    child_kill(p->pid, SIGHUP); /* after it, what was saved has been looked at */
    program_expect(p, ANEW, DEADLINE_MS);
    wait_until(starts() == 2, DEADLINE_MS);
    write_service(2, "");
    wait_for_version(2);
    assert_int_equal(starts(), 3);
    cli_stop(p);
}

/* ---- What does not work ----------------------------------------------------------------------------- */

static void what_does_not_compile_is_shown_and_not_served(void **state)
{
    (void)state;
    pid_t before;
    program *p;

    write_service(1, "");
    p = start();
    before = ask().pid;
    write_service(2, "retrun 0");
    program_expect(p, "retrun", DEADLINE_MS); /* the compiler's own words */
    program_expect(p, "bus.c\" does not compile\n", DEADLINE_MS);
    program_expect(p, "what runs goes on as it is\n", DEADLINE_MS);
    assert_int_equal(ask().pid, before);
    assert_int_equal(ask_version(), 1);
    write_service(3, "");
    wait_for_version(3);
    cli_stop(p);
}

static void what_cannot_be_loaded_is_not_served(void **state)
{
    (void)state;
    pid_t before;
    program *p;

    write_service(1, "");
    p = start();
    before = ask().pid;
    write_file(c.folder, "bus.c", "int nothing;\n");
    program_expect(p, "does not define lb_setup", DEADLINE_MS);
    write_service(2, "extern void nowhere(void); nowhere()");
    program_expect(p, "nowhere", DEADLINE_MS);
    program_expect_times(p, "what runs goes on as it is\n", 2, DEADLINE_MS);
    assert_int_equal(ask().pid, before);
    cli_stop(p);
}

static void a_header_that_was_missing_is_taken(void **state)
{
    (void)state;
    program *p;

    write_service_with_header();
    p = start();
    write_file(c.folder, "bus.c",
               "#include \"number.h\"\n#define VERSION NUMBER\n#define SETUP\n"
               "#include \"" TESTS_DIR "/integration/run_service/service.h\"\n");
    program_expect(p, "number.h", DEADLINE_MS);
    program_expect(p, "what runs goes on as it is\n", DEADLINE_MS);
    write_file(c.folder, "number.h", "#define NUMBER 4\n");
    wait_for_version(4);
    cli_stop(p);
}

static void a_setup_that_fails_waits_for_a_change(void **state)
{
    (void)state;
    program *p;

    write_service(1, "");
    p = start();
    write_service(2, "return lb_error_set(error, LB_CONFIG, \"the shop is closed\")");
    program_expect(p, "the shop is closed", DEADLINE_MS);
    program_expect(p, "ended with exit code 1; the next change of a file starts another one\n", DEADLINE_MS);
    write_service(3, "");
    wait_for_version(3);
    assert_in_range(starts(), 3, 4); /* the failing one again, if it was saved while it was being looked at */
    cli_stop(p);
}

static void a_setup_that_failed_is_tried_again_when_saved(void **state)
{
    (void)state;
    program *p;

    write_service(1, "if (access(\"open\", F_OK) != 0) return LB_FAILED");
    p = START(&c, "run", "--reload");
    program_expect(p, "the next change of a file starts another one\n", DEADLINE_MS);
    write_file(c.folder, "open", "");
    write_service(1, "if (access(\"open\", F_OK) != 0) return LB_FAILED"); /* as it was */
    program_expect(p, "Ready.", DEADLINE_MS);
    assert_int_equal(ask_version(), 1);
    cli_stop(p);
}

static void what_does_not_compile_at_first_ends_it(void **state)
{
    (void)state;
    write_file(c.folder, "bus.c", "nonsense\n");
    RUN(&c, 1, "bus.c\" does not compile", "run", "--reload");
}

static void a_crash_is_recovered_from(void **state)
{
    (void)state;
    pid_t before;
    program *p;

    write_service(1, "");
    p = start();
    before = ask().pid;
    kill(before, SIGKILL);
    program_expect(p, "was killed by SIGKILL; restarting in", DEADLINE_MS);
    assert_int_not_equal(ask().pid, before);
    cli_stop(p);
}

/* ---- Other modules, more workers -------------------------------------------------------------------- */

static void a_shared_object_is_watched(void **state)
{
    (void)state;
    char cache[300], name[300] = "";
    struct dirent *entry;
    program *p;
    DIR *folder;

    for (int version = 1; version <= 2; version++) { /* the cache has them compiled, then */
        char to[20];
        write_service(version, "");
        RUN(&c, 0, "nothing was started", "run", "--dry-run");
        snprintf(cache, sizeof cache, "%s/cache/lightbus", c.folder);
        folder = opendir(cache);
        assert_non_null(folder);
        while ((entry = readdir(folder)))
            if (strstr(entry->d_name, ".so"))
                snprintf(name, sizeof name, "cache/lightbus/%.200s", entry->d_name);
        closedir(folder);
        snprintf(to, sizeof to, "%d.so", version);
        rename_file(name, to);
    }
    rename_file("1.so", "bus.so");
    p = START(&c, "run", "--reload", "--bus", "bus.so");
    program_expect(p, "Ready.", DEADLINE_MS);
    assert_int_equal(ask_version(), 1);
    write_file(c.folder, "broken.so", "no shared object");
    rename_file("broken.so", "bus.so");
    program_expect(p, "what runs goes on as it is\n", DEADLINE_MS);
    assert_int_equal(ask_version(), 1);
    rename_file("2.so", "bus.so");
    wait_for_version(2);
    cli_stop(p);
}

static void all_workers_are_replaced(void **state)
{
    (void)state;
    answer before[3], after[3];
    program *p;

    write_service(1, "");
    p = START(&c, "run", "--reload", "--processes", "3");
    program_expect_times(p, "Ready.", 3, DEADLINE_MS);
    find_workers(before, 3, 0);
    write_service(2, "");
    wait_for_version(2);
    program_expect_times(p, "Ready.", 6, DEADLINE_MS);
    find_workers(after, 3, 0);
    for (int i = 0; i < 3; i++) {
        assert_false(is_among(before, 3, after[i].pid));
        assert_int_equal(ask_version(), 2);
    }
    cli_stop(p);
}

static void one_that_fails_keeps_the_others(void **state)
{
    (void)state;
    answer before[2];
    program *p;

    write_service(1, "");
    p = START(&c, "run", "--reload", "--processes", "2");
    program_expect_times(p, "Ready.", 2, DEADLINE_MS);
    find_workers(before, 2, 0);
    write_service(2, "return LB_FAILED");
    program_expect(p, "the next change of a file starts another one\n", DEADLINE_MS);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask_version(), 1);
    write_service(3, "");
    program_expect_times(p, "Ready.", 4, DEADLINE_MS);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask_version(), 3);
    cli_stop(p);
}

/* A worker of the former program that does not start holds up nobody. Here the second one fails while the first
 * one, of the new program, is starting. */
static void one_of_the_former_that_fails_is_replaced(void **state)
{
    (void)state;
    program *p;

    write_service(1, "if (strstr(lb_process_name(bus), \"-2\")) { leave_mark(\"waiting\"); "
                     "while (access(\"fail\", F_OK)) usleep(2000); return LB_FAILED; }");
    p = START(&c, "run", "--reload", "--processes", "2", "-p", "web");
    program_expect(p, "[1] Ready.", DEADLINE_MS);
    wait_until(file_exists("waiting"), DEADLINE_MS);
    write_service(2, "if (strstr(lb_process_name(bus), \"-1\")) { leave_mark(\"fail\"); "
                     "while (access(\"go\", F_OK)) usleep(2000); }");
    program_expect(p, "worker 2 (pid ", DEADLINE_MS);
    write_file(c.folder, "go", "");
    program_expect(p, "[2] Ready.", DEADLINE_MS);
    program_expect_times(p, "[1] Ready.", 2, DEADLINE_MS);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask_version(), 2);
    cli_stop(p);
}

/* "stty tostop" stops processes in the background that write to the terminal, and the compiler is there. (An
 * interactive shell gives programs the signals as they should be.) */
static void the_compiler_may_write_to_the_terminal(void **state)
{
    char command[300];
    terminal *t;

    (void)state;
    write_service(1, "");
    snprintf(command, sizeof command, "stty tostop; '%s' run --reload", LIGHTBUS_PROGRAM);
    t = terminal_open(80, 24, (const char *const[]){"bash", "--norc", "-i", NULL},
                      (const char *const[]){c.url, c.cache, c.home, "PS1=$ ", NULL}, c.folder);
    terminal_wait_last_line(t, "$", DEADLINE_MS);
    terminal_line(t, command);
    terminal_wait_for(t, "Ready.", DEADLINE_MS);
    write_file(c.folder, "bus.c", "#error it is broken\n");
    terminal_wait_for(t, "it is broken", DEADLINE_MS);
    terminal_wait_for(t, "what runs goes on as it is", DEADLINE_MS);
    write_service(2, "");
    wait_for_version(2);
    terminal_key(t, "C-c");
    terminal_wait_for(t, "Lightbus has stopped.", DEADLINE_MS);
    terminal_wait_last_line(t, "$", DEADLINE_MS);
    terminal_close(t);
}

static void it_ends_while_it_compiles(void **state)
{
    (void)state;
    const char *const words[] = {"run", "--reload", NULL};
    program *p;

    write_file(c.folder, "cc.sh",
               "#!/bin/sh\nif [ -e slow ]; then touch compiling; exec sleep 1000; fi\nexec cc \"$@\"\n");
    assert_int_equal(chmod(in_folder("cc.sh"), 0700), 0);
    write_service(1, "");
    p = cli_start(&c, "CC=./cc.sh", words);
    program_expect(p, "Ready.", DEADLINE_MS);
    write_file(c.folder, "slow", "");
    write_service(2, "");
    wait_until(file_exists("compiling"), DEADLINE_MS);
    assert_int_equal(ask_version(), 1);
    cli_stop(p); /* the compiler, which holds the output open, ends too */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        service_test(a_change_is_served),
        service_test(a_header_counts),
        service_test(a_header_in_another_folder_counts),
        service_test(a_file_that_is_renamed_to_its_place_counts),
        service_test(a_file_that_is_emptied_first_counts_once_it_is_written),
        service_test(a_file_that_was_deleted_comes_back),
        service_test(a_folder_that_is_replaced_is_found_again),
        service_test(a_link_that_is_changed_counts),
        service_test(files_that_are_saved_together_are_taken_together),
        service_test(saving_without_a_change_restarts_nothing),
        service_test(what_does_not_compile_is_shown_and_not_served),
        service_test(what_cannot_be_loaded_is_not_served),
        service_test(a_header_that_was_missing_is_taken),
        service_test(a_setup_that_fails_waits_for_a_change),
        service_test(a_setup_that_failed_is_tried_again_when_saved),
        service_test(what_does_not_compile_at_first_ends_it),
        service_test(a_crash_is_recovered_from),
        service_test(a_shared_object_is_watched),
        service_test(all_workers_are_replaced),
        service_test(one_that_fails_keeps_the_others),
        service_test(one_of_the_former_that_fails_is_replaced),
        service_test(the_compiler_may_write_to_the_terminal),
        service_test(it_ends_while_it_compiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
