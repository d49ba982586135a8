/* The folder. See folder.h. */
#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Network file systems, of which two machines may see one folder, and those that a program makes. */
static const uint32_t foreign_systems[] = {
    0x6969,     /* NFS */
    0xfe534d42, /* SMB2 */
    0xff534d42, /* CIFS */
    0x517b,     /* SMB */
    0x01021997, /* 9P */
    0x00c36400, /* Ceph */
    0x5346414f, /* AFS */
    0x0bd00bd0, /* Lustre */
    0x65735546, /* FUSE */
};

static lb_status make_folders(const char *path, mode_t mode, lb_error *error)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *c = part + 1;; c++) {
        if (*c && *c != '/')
            continue;
        char end = *c;
        *c = '\0';
        if (mkdir(part, end ? 0700 : mode) != 0 && errno != EEXIST && !(end && access(part, X_OK) == 0))
            return lb_error_set(error, errno == ENOSPC ? LB_NO_SPACE : LB_ACCESS,
                                "the folder %s cannot be made: %s: %s", path, part, strerror(errno));
        if (!end)
            return LB_OK;
        *c = end;
    }
}

static bool in_group(gid_t group)
{
    gid_t *groups = NULL;
    int count = getgroups(0, NULL);
    bool found = group == getegid();
    if (!found && count > 0 && (groups = calloc((size_t)count, sizeof *groups)))
        count = getgroups(count, groups);
    for (int i = 0; groups && i < count && !found; i++)
        found = groups[i] == group;
    free(groups);
    return found;
}

static lb_status check_owner(const char *path, const struct stat *about, bool group, lb_error *error)
{
    if (!S_ISDIR(about->st_mode))
        return lb_error_set(error, LB_CONFIG, "%s is no folder", path);
    if (about->st_uid != geteuid() && !(group && in_group(about->st_gid)))
        return lb_error_set(error, LB_ACCESS,
                            "the folder %s belongs to user %u; expected this process's user, %u%s", path,
                            about->st_uid, geteuid(), group ? ", or its group" : "");
    if (about->st_mode & S_IWOTH)
        return lb_error_set(error, LB_ACCESS, "others can write to the folder %s (mode %o); expected 0700",
                            path, about->st_mode & 07777);
    if (about->st_mode & S_IWGRP && !group)
        return lb_error_set(error, LB_ACCESS,
                            "its group can write to the folder %s (mode %o); expected 0700, or the option "
                            "access=group",
                            path, about->st_mode & 07777);
    return LB_OK;
}

/* What bears the name of a file of ours must be one: a link would lead out of the folder, and a pipe would keep
 * us waiting. */
static bool is_file(DIR *d, const char *name)
{
    struct stat about;
    return fstatat(dirfd(d), name, &about, AT_SYMLINK_NOFOLLOW) != 0 || S_ISREG(about.st_mode);
}

/* A folder with other things in it is most likely a mistake in the URL. */
static lb_status check_content(const char *path, lb_error *error)
{
    static const char *const ours[] = {"events",     "events-lock", "events-new", "calls",
                                       "calls-lock", "wake",        "open"};
    char other[256] = "", no_file[256] = "";
    bool found = false;
    DIR *d = opendir(path);
    if (!d)
        return lb_error_set(error, errno == EACCES ? LB_ACCESS : LB_SYSTEM, "%s: %s", path, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        bool known = false;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            known |= strcmp(e->d_name, ours[i]) == 0;
        found |= strcmp(e->d_name, "events") == 0;
        if (known && !is_file(d, e->d_name))
            snprintf(no_file, sizeof no_file, "%s", e->d_name);
        if (!known && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            snprintf(other, sizeof other, "%s", e->d_name);
    }
    closedir(d);
    if (*no_file)
        return lb_error_set(error, LB_ACCESS, "%s/%s: expected a file, not a link or anything else", path,
                            no_file);
    if (*other && !found)
        return lb_error_set(error, LB_CONFIG,
                            "%s holds other things (%.60s): expected an empty folder, or one of a local bus",
                            path, other);
    return LB_OK;
}

lb_status folder_prepare(const local_options *options, struct stat *about, lb_error *error)
{
    const char *path = options->folder;
    struct statfs where;
    bool made = false;
    if (stat(path, about) != 0) {
        lb_status status = make_folders(path, options->group_access ? 0770 : 0700, error);
        if (status != LB_OK)
            return status;
        made = true;
    }
    if (made && options->group_access)
        chmod(path, 02770); /* whatever the umask */
    if (stat(path, about) != 0)
        return lb_error_set(error, LB_ACCESS, "the folder %s: %s", path, strerror(errno));
    lb_status status = check_owner(path, about, options->group_access, error);
    if (status == LB_OK && statfs(path, &where) == 0) {
        for (size_t i = 0; i < sizeof foreign_systems / sizeof *foreign_systems; i++)
            if ((uint32_t)where.f_type == foreign_systems[i])
                return lb_error_set(
                    error, LB_UNSUPPORTED,
                    "the folder %s is on a network or FUSE file system; expected a disk of this machine", path);
    }
    return status == LB_OK ? check_content(path, error) : status;
}
