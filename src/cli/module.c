/* Finding and loading bus modules. */
#include "module.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/shared_object.h"

static const char entry_point[] = "lb_status lb_setup(lb_bus *bus, lb_error *error)";

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static lb_status find_in_folder(arena *memory, const char *folder, bool by_default, const char **path,
                                lb_error *error)
{
    static const char *const names[] = {"bus.c", "bus.so"};

    for (int i = 0; i < 2; i++) {
        const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
        char *candidate = arena_printf(memory, "%s%s%s", folder, slash, names[i]);
        if (!candidate)
            return lb_error_set(error, LB_NO_MEMORY, "out of memory");
        if (is_file(candidate)) {
            *path = candidate;
            return LB_OK;
        }
    }
    if (by_default)
        return lb_error_set(error, LB_CONFIG,
                            "no bus.c or bus.so here; name a bus module with --bus or LIGHTBUS_MODULE");
    return lb_error_set(error, LB_CONFIG, "no bus.c or bus.so in the folder \"%s\"", folder);
}

lb_status module_find(arena *memory, const char *wanted, const char **path, lb_error *error)
{
    const char *from = wanted ? "--bus" : "LIGHTBUS_MODULE";
    const char *name = wanted ? wanted : getenv("LIGHTBUS_MODULE");
    bool by_default = !name || (!wanted && !*name);
    struct stat info;

    if (by_default)
        return find_in_folder(memory, ".", true, path, error);
    if (stat(name, &info) < 0)
        return lb_error_set(error, LB_CONFIG, "%s: \"%s\": %s; expected a bus.c, a bus.so or a folder with one",
                            from, name, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return find_in_folder(memory, name, false, path, error);
    *path = name;
    return LB_OK;
}

static bool is_source(const char *path)
{
    size_t size = strlen(path);
    return size > 2 && strcmp(path + size - 2, ".c") == 0;
}

lb_status module_build(arena *memory, const char *path, words *inputs, const char **object, lb_error *error)
{
    char absolute[PATH_MAX];

    if (inputs)
        words_add(inputs, path);
    if (!realpath(path, absolute))
        return lb_error_set(error, LB_CONFIG, "\"%s\": %s", path, strerror(errno));
    *object = arena_copy(memory, absolute, strlen(absolute));
    if (!*object)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    return is_source(path) ? module_compile(memory, *object, inputs, object, error) : LB_OK;
}

lb_status module_open(const char *object, const char *path, lb_setup_fn *setup, lb_error *error)
{
    void *module, *symbol;
    lb_error why = {0};

    if (shared_object_open(object, &module, &why) != LB_OK)
        return lb_error_set(error, LB_CONFIG,
                            "cannot load \"%s\", expected a bus.c or a shared object with lb_setup: %s", path,
                            why.message);
    symbol = dlsym(module, "lb_setup");
    if (!symbol) {
        dlclose(module);
        return lb_error_set(error, LB_CONFIG, "\"%s\" does not define lb_setup, expected: %s", path,
                            entry_point);
    }
    memcpy(setup, &symbol, sizeof symbol);
    return LB_OK;
}

lb_status module_load(arena *memory, const char *path, lb_setup_fn *setup, lb_error *error)
{
    const char *object;
    lb_status status = module_build(memory, path, NULL, &object, error);

    return status == LB_OK ? module_open(object, path, setup, error) : status;
}
