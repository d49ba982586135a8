/* Folders that only their user may enter: what is in them will be run, or tells what he did. */
#include "folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static lb_status make_folders(char *path, const char *purpose, lb_error *error)
{
    for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return lb_error_set(error, LB_ACCESS, "cannot make the folder \"%s\" for %s: %s", path, purpose,
                                strerror(errno));
        if (!slash)
            return LB_OK;
        *slash = '/';
    }
}

static lb_status check_private(const char *path, const char *purpose, lb_error *error)
{
    struct stat info;

    if (lstat(path, &info) < 0)
        return lb_error_set(error, LB_ACCESS, "\"%s\": %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return lb_error_set(error, LB_ACCESS, "\"%s\", for %s, is %s", path, purpose,
                            S_ISLNK(info.st_mode) ? "a symbolic link; expected a folder" : "no folder");
    if (info.st_uid != geteuid())
        return lb_error_set(error, LB_ACCESS, "\"%s\", for %s, belongs to another user", path, purpose);
    if (info.st_mode & 077)
        return lb_error_set(error, LB_ACCESS, "\"%s\", for %s, is open to others; expected mode 0700", path,
                            purpose);
    return LB_OK;
}

static lb_status folder_path(arena *memory, const char *variable, const char *home_part, const char *purpose,
                             char **path, lb_error *error)
{
    const char *xdg = getenv(variable), *home = getenv("HOME");

    if (xdg && xdg[0] == '/')
        *path = arena_printf(memory, "%s/lightbus", xdg);
    else if (home && home[0] == '/')
        *path = arena_printf(memory, "%s/%s/lightbus", home, home_part);
    else
        return lb_error_set(error, LB_ACCESS, "no folder for %s; set HOME or %s", purpose, variable);
    return *path ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory");
}

lb_status folder_private(arena *memory, const char *variable, const char *home_part, const char *purpose,
                         const char **path, lb_error *error)
{
    char *folder = NULL;
    lb_status status = folder_path(memory, variable, home_part, purpose, &folder, error);

    if (status == LB_OK)
        status = make_folders(folder, purpose, error);
    if (status == LB_OK)
        status = check_private(folder, purpose, error);
    *path = folder;
    return status;
}

lb_status folder_look(arena *memory, const char *variable, const char *home_part, const char *purpose,
                      const char **path, lb_error *error)
{
    char *folder = NULL;
    lb_status status = folder_path(memory, variable, home_part, purpose, &folder, error);

    if (status == LB_OK && access(folder, F_OK) == 0)
        status = check_private(folder, purpose, error);
    *path = folder;
    return status;
}
