/* Watching files by way of their folders, since editors write a new file and rename it. Only finished writes
 * count: a file that is closed, renamed to its place or linked there; not one that is made, emptied or deleted,
 * after which more is to come. Invariant: an entry's `wd` is that of its folder, or -1 while the folder is
 * gone. */
#include "watch.h"

#include <lightbus/log.h>

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

struct watched {
    char *folder, *name;
    int wd;
};

bool watch_open(watch *w)
{
    *w = (watch){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    return w->fd >= 0;
}

void watch_close(watch *w)
{
    for (size_t i = 0; i < w->count; i++) {
        free(w->files[i].folder);
        free(w->files[i].name);
    }
    free(w->files);
    if (w->fd >= 0)
        close(w->fd);
    *w = (watch){.fd = -1};
}

/* ---- What is watched -------------------------------------------------------------------------------- */

static int watch_folder(const watch *w, const char *folder)
{
    return inotify_add_watch(w->fd, folder,
                             IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_MOVE_SELF | IN_ONLYDIR);
}

static bool is_watched(const watch *w, const char *folder, const char *name)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->files[i].name, name) == 0 && strcmp(w->files[i].folder, folder) == 0)
            return true;
    return false;
}

static bool room_for_one(watch *w)
{
    size_t capacity = w->capacity ? 2 * w->capacity : 32;
    struct watched *files;

    if (w->count < w->capacity)
        return true;
    files = realloc(w->files, capacity * sizeof *files);
    if (!files)
        return false;
    w->files = files;
    w->capacity = capacity;
    return true;
}

static bool add_one(watch *w, const char *path)
{
    char for_folder[PATH_MAX], for_name[PATH_MAX];
    struct watched file;
    const char *folder, *name;

    if (strlen(path) >= PATH_MAX)
        return false;
    folder = dirname(strcpy(for_folder, path));
    name = basename(strcpy(for_name, path));
    if (is_watched(w, folder, name) || !room_for_one(w))
        return false;
    file = (struct watched){.folder = strdup(folder), .name = strdup(name)};
    if (!file.folder || !file.name) {
        free(file.folder);
        free(file.name);
        return false;
    }
    file.wd = watch_folder(w, folder);
    if (file.wd < 0 && errno != ENOENT && errno != ENOTDIR)
        lb_log(LB_LOG_WARNING, "changes in the folder \"%s\" are not noticed: %s", folder, strerror(errno));
    w->files[w->count++] = file;
    return true;
}

bool watch_add(watch *w, const char *path)
{
    char target[PATH_MAX];
    bool added = add_one(w, path);

    if (realpath(path, target))
        added |= add_one(w, target);
    return added;
}

bool watch_has_lost(const watch *w)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->files[i].wd < 0)
            return true;
    return false;
}

bool watch_find_lost(watch *w)
{
    bool found = false;

    for (size_t i = 0; i < w->count; i++)
        if (w->files[i].wd < 0)
            found |= (w->files[i].wd = watch_folder(w, w->files[i].folder)) >= 0;
    return found;
}

static void lose(watch *w, int wd)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->files[i].wd == wd)
            w->files[i].wd = -1;
}

/* ---- What happens ----------------------------------------------------------------------------------- */

static bool is_source(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot != name && (strcmp(dot, ".c") == 0 || strcmp(dot, ".h") == 0);
}

/* A file that was made just now is still to be written; a link is there at once. */
static bool is_link(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat info;

    if (strlen(folder) + strlen(name) + 2 > sizeof path)
        return false;
    strcat(strcat(strcpy(path, folder), "/"), name);
    return lstat(path, &info) == 0 && (S_ISLNK(info.st_mode) || info.st_nlink > 1);
}

static bool concerns(const watch *w, const struct inotify_event *event, bool any_source)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct watched *file = &w->files[i];
        if (file->wd != event->wd ||
            !(strcmp(file->name, event->name) == 0 || (any_source && is_source(event->name))))
            continue;
        if (!(event->mask & IN_CREATE) || is_link(file->folder, event->name))
            return true;
    }
    return false;
}

static bool take(watch *w, const struct inotify_event *event, bool any_source)
{
    if (event->mask & IN_MOVE_SELF) /* the folder has another name now */
        inotify_rm_watch(w->fd, event->wd);
    if (event->mask & IN_IGNORED)
        lose(w, event->wd);
    return (event->mask & IN_Q_OVERFLOW) || (event->len && concerns(w, event, any_source));
}

bool watch_changed(watch *w, bool any_source)
{
    _Alignas(struct inotify_event) char events[16384];
    bool changed = false;
    ssize_t size;

    while ((size = read(w->fd, events, sizeof events)) > 0)
        for (char *at = events; at < events + size;) {
            const struct inotify_event *event = (const struct inotify_event *)(void *)at;
            changed |= take(w, event, any_source);
            at += sizeof *event + event->len;
        }
    return changed;
}
