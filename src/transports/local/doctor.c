/* What is wrong with the folder of a local bus: the folder itself, the file system, the size, the processes. */
#include "doctor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "folder.h"

enum { NEARLY_FULL = 80, FULL = 95, OLD_VIEW = 10000, MOST_PIDS = 4096 };
#define LITTLE_SPACE (INT64_C(256) << 20)
#define NO_SPACE     (INT64_C(4) << 20)

/* ---- The folder ------------------------------------------------------------------------------------- */

static const char *advice_for(doctor *d, const lb_error *error)
{
    const char *folder = report_word(&d->report, slice_of(d->options->folder));
    switch (error->status) {
    case LB_ACCESS:
        return arena_printf(&d->report.memory, "chmod 700 %s, if it is yours; or name another: local:///PATH",
                            folder);
    case LB_MALFORMED:
        return arena_printf(&d->report.memory,
                            "bring %s back from a backup, or begin anew: lightbus local remove", folder);
    case LB_NO_SPACE:
        return "make room on the disk";
    case LB_TRANSPORT:
        return "end the process that is stopped: ps -eo pid,stat,cmd shows it with the state T";
    default:
        return "name another folder: local:///PATH";
    }
}

static bool check_folder(doctor *d)
{
    const char *folder = d->options->folder;
    lb_error error = {0};
    struct stat about;
    report_begin(&d->report, "folder");
    if (stat(folder, &about) != 0 && errno == ENOENT) {
        report_tell(&d->report, LB_FINDING_NOTE, "start a service: lightbus run", "there is no bus in %s yet",
                    folder);
        return false;
    }
    if (folder_prepare(d->options, &about, &error) != LB_OK) {
        report_tell(&d->report, LB_FINDING_ERROR, advice_for(d, &error), "%s", error.message);
        return false;
    }
    report_tell(&d->report, LB_FINDING_OK, NULL, "%s, mode %04o, of user %u", folder, about.st_mode & 07777,
                about.st_uid);
    return true;
}

/* ---- The file system -------------------------------------------------------------------------------- */

static const char *file_system_name(const struct statfs *fs)
{
    static const struct {
        unsigned long type;
        const char *name;
    } known[] = {{0x01021994, "tmpfs"}, {0x858458f6, "ramfs"}, {0xef53, "ext4"},          {0x58465342, "xfs"},
                 {0x9123683e, "btrfs"}, {0x2fc12fc1, "zfs"},   {0x794c7630, "overlayfs"}, {0xf2f52010, "f2fs"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if ((unsigned long)fs->f_type == known[i].type)
            return known[i].name;
    return "a file system of this machine";
}

static void check_file_system(doctor *d)
{
    struct statfs fs;
    struct statvfs space;
    char left[BYTES_TEXT];
    report_begin(&d->report, "file system");
    if (statfs(d->options->folder, &fs) != 0 || statvfs(d->options->folder, &space) != 0) {
        report_tell(&d->report, LB_FINDING_WARNING, NULL, "not checked: %s: %s", d->options->folder,
                    strerror(errno));
        return;
    }
    const char *name = file_system_name(&fs);
    int64_t bytes = (int64_t)space.f_bavail * (int64_t)space.f_frsize;
    bytes_text(bytes, left);
    if (bytes < LITTLE_SPACE)
        report_tell(&d->report, bytes < NO_SPACE ? LB_FINDING_ERROR : LB_FINDING_WARNING,
                    "make room: when it is full, calls and events are refused", "%s with %s free", name, left);
    else if (strcmp(name, "tmpfs") == 0 || strcmp(name, "ramfs") == 0)
        report_tell(&d->report, LB_FINDING_NOTE, "for events that are to stay: local:///var/lib/NAME/bus",
                    "memory (%s) with %s free: events are gone when the machine, or the session, ends", name,
                    left);
    else
        report_tell(&d->report, LB_FINDING_OK, NULL, "%s with %s free", name, left);
}

/* ---- The files -------------------------------------------------------------------------------------- */

/* Opened as any process does, but never for more durability than the folder has. */
static bool check_files(doctor *d)
{
    char path[PATH_MAX + 16];
    struct stat about;
    lb_error error = {0};
    local_options options = *d->options;
    options.durable = 0;
    report_begin(&d->report, "files");
    snprintf(path, sizeof path, "%s/events", options.folder);
    if (stat(path, &about) != 0 || about.st_size == 0) {
        report_tell(&d->report, LB_FINDING_NOTE, "start a service: lightbus run", "there is no bus in %s yet",
                    options.folder);
        return false;
    }
    if (store_open(&options, clock_in_ms(d->check_ms), &d->store, &error) != LB_OK) {
        report_tell(&d->report, LB_FINDING_ERROR, advice_for(d, &error), "%s", error.message);
        return false;
    }
    report_tell(&d->report, LB_FINDING_OK, NULL, "format %d, undamaged", STORE_FORMAT);
    return true;
}

static void check_durability(doctor *d)
{
    report_begin(&d->report, "durability");
    if (store_durable(d->store))
        report_tell(&d->report, LB_FINDING_OK, NULL, "disk: an event that was fired survives a power cut");
    else if (d->options->durable)
        report_tell(
            &d->report, LB_FINDING_NOTE, NULL,
            "the URL asks for durability=disk, the folder has process so far: it changes with the first "
            "call or event");
    else
        report_tell(&d->report, LB_FINDING_OK, NULL,
                    "process: an event that was fired survives killed processes; a power cut may take the "
                    "newest");
}

static void check_size(doctor *d)
{
    const database *events = &d->store->parts[STORE_EVENTS];
    char now[BYTES_TEXT], most[BYTES_TEXT];
    MDB_stat s;
    report_begin(&d->report, "size");
    mdb_env_stat(events->env, &s);
    uint64_t used = (s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages + 2) * (uint64_t)s.ms_psize;
    uint64_t limit = events->map_size - STORE_RESERVE, percent = used / (limit / 100 + 1);
    bytes_text((int64_t)used, now);
    bytes_text((int64_t)limit, most);
    if (percent >= NEARLY_FULL)
        report_tell(&d->report, percent >= FULL ? LB_FINDING_ERROR : LB_FINDING_WARNING,
                    "keep fewer events (max_stream_length), or move to a folder made with a larger max_size",
                    "events take %s of at most %s: when it is full, firing is refused", now, most);
    else
        report_tell(&d->report, LB_FINDING_OK, NULL, "events take %s of at most %s", now, most);
}

/* ---- Processes -------------------------------------------------------------------------------------- */

typedef struct processes {
    doctor *doctor;
    size_t newest; /* transaction */
    pid_t pids[MOST_PIDS];
    size_t count;
} processes;

/* The name and the state of a process: "(lightbus) T" in /proc. False: it is gone. */
static bool look_at(pid_t pid, char name[64], char *state)
{
    char path[32], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    size_t size = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[size] = '\0';
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    if (!open || !close || strlen(close) < 3)
        return false;
    snprintf(name, 64, "%.*s", (int)(close - open - 1), open + 1);
    *state = close[2];
    return true;
}

static bool is_known(const processes *p, pid_t pid)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->pids[i] == pid)
            return true;
    return false;
}

/* Notes a process that has the folder open. */
static void take_process(processes *p, pid_t pid)
{
    doctor *d = p->doctor;
    char name[64], state;
    if (pid <= 0 || pid == getpid() || p->count == MOST_PIDS || is_known(p, pid) || !look_at(pid, name, &state))
        return;
    p->pids[p->count++] = pid;
    if (state == 'T' || state == 't')
        report_tell(&d->report, LB_FINDING_WARNING,
                    arena_printf(&d->report.memory, "kill -CONT %d, or end it: kill -9 %d", (int)pid, (int)pid),
                    "process %d (%s) is stopped: what it has in hand stays undone, and what it locks is locked",
                    (int)pid, name);
}

/* A line of LMDB's list of readers: process, thread, and the transaction whose view is open, or "-". */
static int take_reader(const char *line, void *data)
{
    processes *p = data;
    doctor *d = p->doctor;
    char *rest;
    pid_t pid = (pid_t)strtol(line, &rest, 10);
    rest += strspn(rest, " ");
    rest += strcspn(rest, " ");
    size_t view = strtoull(rest, NULL, 10);                     /* 0 for "-" */
    if (view && view + OLD_VIEW < p->newest && pid != getpid()) /* it may be newer: others write meanwhile */
        report_tell(&d->report, LB_FINDING_WARNING,
                    arena_printf(&d->report.memory, "end it, if it hangs: kill %d", (int)pid),
                    "process %d has been reading since %zu changes ago: the file grows meanwhile", (int)pid,
                    p->newest - view);
    take_process(p, pid);
    return 0;
}

/* Who wrote last need not be among the readers, nor be there any longer. */
static bool is_stopped(pid_t pid)
{
    char name[64], state;
    return pid > 0 && look_at(pid, name, &state) && (state == 'T' || state == 't');
}

static lb_status check_processes(doctor *d, lb_error *error)
{
    processes *p = calloc(1, sizeof *p);
    int stale = 0;
    if (!p)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    p->doctor = d;
    for (int i = 0; i < STORE_PARTS; i++) {
        MDB_envinfo info;
        mdb_env_info(d->store->parts[i].env, &info);
        p->newest = info.me_last_txnid;
        mdb_reader_list(d->store->parts[i].env, take_reader, p);
        stale += d->store->parts[i].stale;
        pid_t writer = atomic_load(&d->store->shared->guards[i].holder);
        if (is_stopped(writer))
            take_process(p, writer);
    }
    if (stale)
        report_tell(&d->report, LB_FINDING_NOTE, NULL,
                    "%d view%s of killed processes had kept the file from using its space again: cleared away",
                    stale, stale == 1 ? "" : "s");
    if (!d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%zu beside this one", p->count);
    free(p);
    return LB_OK;
}

/* ---- All of them ------------------------------------------------------------------------------------ */

static void make_check(doctor *d, const char *name, lb_status (*check)(doctor *d, lb_error *error))
{
    lb_error error = {0};
    report_begin(&d->report, name);
    if (check(d, &error) != LB_OK)
        report_unchecked(&d->report, &error);
}

/* False also where reading the schemas would make the folder durable, since that is a change. */
bool local_diagnose(void *self, int64_t check_ms, lb_finding_fn found, void *data)
{
    const local_bus *l = self;
    doctor d = {.options = &l->options, .report = {.found = found, .data = data}, .check_ms = check_ms};
    bool usable = false;
    if (check_folder(&d)) {
        check_file_system(&d);
        usable = check_files(&d);
    }
    if (usable) {
        check_durability(&d);
        check_size(&d);
        make_check(&d, "processes", check_processes);
        make_check(&d, "groups", local_check_groups);
        make_check(&d, "queues", local_check_queues);
        usable = store_durable(d.store) || !d.options->durable;
        store_close(d.store);
    }
    report_free(&d.report);
    return usable;
}
