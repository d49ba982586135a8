/* A power cut with durability=disk: what LMDB writes and syncs is recorded, system call by system call; for
 * random moments the file is made again as a disk may hold it then: all that was synced, and any part of what
 * was not. No event that was fired with LB_OK may be missing, and the file must be sound (S10). */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* ---- The recording: these take the place of libc's for this program and for liblmdb. */

typedef struct step {
    off_t at;
    size_t size;
    char *data;  /* NULL: everything before is on the disk */
    bool synced; /* by O_DSYNC, when it returned */
} step;

static int *syncs;     /* counted, and made as slow as a disk, where this is set */
static ino_t recorded; /* the file's inode; 0: nothing is recorded */
static step *steps;
static size_t step_count, step_capacity;
static pthread_mutex_t recording = PTHREAD_MUTEX_INITIALIZER;

static void record(int fd, off_t at, const void *data, size_t size)
{
    struct stat about;
    if (!recorded || fstat(fd, &about) != 0 || about.st_ino != recorded)
        return;
    pthread_mutex_lock(&recording);
    if (step_count == step_capacity)
        steps = realloc(steps, (step_capacity = step_capacity ? 2 * step_capacity : 1024) * sizeof *steps);
    step s = {.at = at, .size = size, .synced = fcntl(fd, F_GETFL) & O_DSYNC};
    if (data) {
        s.data = malloc(size);
        memcpy(s.data, data, size);
    }
    steps[step_count++] = s;
    pthread_mutex_unlock(&recording);
}

#define TAKES_THE_PLACE_OF(name) __asm__(name) __attribute__((visibility("default")))
ssize_t recorded_pwrite(int fd, const void *data, size_t size, off_t at) TAKES_THE_PLACE_OF("pwrite");
ssize_t recorded_writev(int fd, const struct iovec *parts, int count) TAKES_THE_PLACE_OF("writev");
int recorded_fdatasync(int fd) TAKES_THE_PLACE_OF("fdatasync");

ssize_t recorded_pwrite(int fd, const void *data, size_t size, off_t at)
{
    record(fd, at, data, size);
    return syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t recorded_writev(int fd, const struct iovec *parts, int count)
{
    off_t at = lseek(fd, 0, SEEK_CUR);
    for (int i = 0; i < count; i++) {
        record(fd, at, parts[i].iov_base, parts[i].iov_len);
        at += (off_t)parts[i].iov_len;
    }
    return syscall(SYS_writev, fd, parts, count);
}

int recorded_fdatasync(int fd)
{
    int result = (int)syscall(SYS_fdatasync, fd);
    if (syncs) {
        shared_add(syncs, 1);
        sleep_ms(5);
    }
    if (result == 0)
        record(fd, 0, NULL, 0);
    return result;
}

/* ---- Firing ----------------------------------------------------------------------------------------- */

enum { EVENTS = 150, CUTS = 60 };

static const lb_api api = {
    .name = "shop",
    .members = (const lb_member[]){LB_EVENT("ordered(n: int, text: str)"), LB_END},
};

static lb_bus *bus_open(const char *folder, const char *options)
{
    char url[400];
    lb_error error = {0};
    snprintf(url, sizeof url, "local://%s?%s", folder, options);
    lb_bus *bus = client_open(url, 0);
    assert_ok(lb_register(bus, &api, NULL, &error), &error);
    return bus;
}

typedef struct heard {
    unsigned char seen[EVENTS];
    int count;
} heard;

static lb_status hear(const lb_event *event, void *data)
{
    heard *h = data;
    int64_t n = lb_get_int(event, "n");
    if (n >= 0 && n < EVENTS && !h->seen[n]) {
        h->seen[n] = 1;
        shared_add(&h->count, 1);
    }
    return LB_OK;
}

/* Listens from the beginning for a while, on another thread: its commits lie between those of the fires. */
static void listen_start(lb_bus *bus, heard *h)
{
    lb_error error = {0};
    assert_ok(lb_listen(bus, "shop.ordered", "all", hear, h, &(lb_listen_options){.since = "0"}, &error),
              &error);
    assert_ok(lb_start(bus, &error), &error);
}

/* The number of steps that were recorded when the nth event was there. */
static void fire_events(const char *folder, size_t *acknowledged)
{
    lb_error error = {0};
    heard meanwhile = {.count = 0};
    char text[3000];
    lb_bus *bus = bus_open(folder, "durability=disk");
    listen_start(bus, &meanwhile);
    memset(text, 'x', sizeof text);
    for (int n = 0; n < EVENTS; n++) {
        text[n % 7 == 0 ? 2999 : 100] = '\0';
        assert_ok(lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", n), LB("text", text)), &error), &error);
        text[n % 7 == 0 ? 2999 : 100] = 'x';
        pthread_mutex_lock(&recording);
        acknowledged[n] = step_count;
        pthread_mutex_unlock(&recording);
    }
    wait_until(shared_get(&meanwhile.count) == EVENTS, PATIENCE_MS);
    lb_close(bus);
}

/* ---- Cutting the power ------------------------------------------------------------------------------ */

static void put(int fd, const step *s)
{
    assert_int_equal(syscall(SYS_pwrite64, fd, s->data, s->size, s->at), s->size);
}

/* The file after `moment` steps: each write since the last sync is there, or not, or in part. */
static void restore(const char *path, size_t moment, unsigned *seed)
{
    size_t synced = 0;
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t i = 0; i < moment; i++)
        if (!steps[i].data)
            synced = i;
    for (size_t i = 0; i < moment; i++) {
        if (!steps[i].data)
            continue;
        if (i < synced || steps[i].synced) {
            put(fd, &steps[i]);
            continue;
        }
        step torn = steps[i];
        int luck = rand_r(seed) % 3;
        if (luck == 0 && torn.size > 512)
            torn.size = torn.size / 1024 * 512; /* sectors */
        if (luck < 2)
            put(fd, &torn);
    }
    assert_int_equal(ftruncate(fd, 64 << 20), 0); /* sizes are metadata: they were allocated before */
    close(fd);
}

static void s10_no_event_is_missing_after_a_power_cut(void **state)
{
    (void)state;
    char *folder = temporary_directory(), path[300], place[200];
    size_t acknowledged[EVENTS];
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    snprintf(place, sizeof place, "%s/bus", folder);
    assert_int_equal(mkdir(place, 0700), 0);
    snprintf(path, sizeof path, "%s/events", place);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    struct stat about;
    assert_true(fd >= 0 && fstat(fd, &about) == 0);
    close(fd);
    recorded = about.st_ino;
    fire_events(place, acknowledged);
    recorded = 0;
    assert_true(step_count > 2 * EVENTS);
    for (int cut = 0; cut < CUTS; cut++) {
        size_t moment = acknowledged[0] + (size_t)rand_r(&seed) % (step_count - acknowledged[0]);
        heard h = {.count = 0};
        int expected = 0;
        snprintf(place, sizeof place, "%s/cut-%d", folder, cut);
        assert_int_equal(mkdir(place, 0700), 0);
        snprintf(path, sizeof path, "%s/events", place);
        restore(path, moment, &seed);
        while (expected < EVENTS && acknowledged[expected] <= moment)
            expected++;
        lb_bus *bus = bus_open(place, "");
        lb_error error = {0};
        assert_ok(lb_listen(bus, "shop.ordered", "after", hear, &h, &(lb_listen_options){.since = "0"}, &error),
                  &error);
        assert_ok(lb_start(bus, &error), &error);
        wait_until(shared_get(&h.count) >= expected, 5000);
        for (int n = 0; n < expected; n++)
            assert_true(h.seen[n]);
        lb_close(bus);
    }
    for (size_t i = 0; i < step_count; i++)
        free(steps[i].data);
    free(steps);
    free(folder);
}

static int fire_some(void *data)
{
    lb_error error = {0};
    lb_bus *bus = bus_open(data, "durability=disk");
    for (int n = 0; n < 40; n++)
        assert_ok(lb_fire(bus, "shop.ordered", LB_ARGS(LB("n", n), LB("text", "")), &error), &error);
    lb_close(bus);
    return 0;
}

static void fires_of_several_processes_share_a_sync(void **state)
{
    (void)state;
    char *folder = temporary_directory(), place[200];
    pid_t children[4];
    heard h = {.count = 0};
    lb_error error = {0};
    snprintf(place, sizeof place, "%s/bus", folder);
    syncs = shared_memory(sizeof *syncs);
    for (int i = 0; i < 4; i++)
        children[i] = child_start(fire_some, place);
    for (int i = 0; i < 4; i++)
        assert_int_equal(child_wait(children[i], PATIENCE_MS), 0);
    print_message("%d syncs for 160 fires\n", *syncs);
    assert_true(*syncs < 160);
    syncs = NULL;
    lb_bus *bus = bus_open(place, "");
    assert_ok(lb_listen(bus, "shop.ordered", "after", hear, &h, &(lb_listen_options){.since = "0"}, &error),
              &error);
    assert_ok(lb_start(bus, &error), &error);
    wait_until(shared_get(&h.count) == 40, 10000);
    lb_close(bus);
    free(folder);
}

int main(void)
{
    lb_log_set_level(LB_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s10_no_event_is_missing_after_a_power_cut),
        cmocka_unit_test(fires_of_several_processes_share_a_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
