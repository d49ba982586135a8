/* Bus modules: bus.c or bus.so, the files that define lb_setup. */
#ifndef CLI_MODULE_H
#define CLI_MODULE_H

#include <lightbus/main.h>

#include "process.h"

/* The module's file: `wanted` (a file, or a folder that holds bus.c or bus.so; bus.c wins), or what
 * LIGHTBUS_MODULE says, or the working directory's. LB_CONFIG says where nothing was found and what was
 * expected. */
lb_status module_find(arena *memory, const char *wanted, const char **path, lb_error *error);
/* Loads it, compiled before if it is C, and finds its entry point. It stays loaded until the process ends.
 * LB_CONFIG. It is module_build and module_open. */
lb_status module_load(arena *memory, const char *path, lb_setup_fn *setup, lb_error *error);
/* The shared object: the module itself, or what it is compiled to. `inputs`, or NULL, gets the files that it is
 * made of, also after a failure: those that are known by then. */
lb_status module_build(arena *memory, const char *path, words *inputs, const char **object, lb_error *error);
/* `path` is for messages. */
lb_status module_open(const char *object, const char *path, lb_setup_fn *setup, lb_error *error);

/* compile.c: compiles a C file to a shared object in the cache, or finds it there. The compiler's own messages
 * go to stderr. `source` is an absolute path; the files that it includes, but for those of the system, go to
 * `files` (may be NULL). LB_CONFIG: it does not compile; LB_SYSTEM, LB_ACCESS: the tools or the cache. */
lb_status module_compile(arena *memory, const char *source, words *files, const char **object, lb_error *error);
/* The cache: $XDG_CACHE_HOME/lightbus or ~/.cache/lightbus, made if need be. LB_ACCESS: it is not the user's
 * alone. */
lb_status module_cache(arena *memory, const char **directory, lb_error *error);
/* The same without making it: LB_OK also when it is not there. */
lb_status module_cache_look(arena *memory, const char **directory, lb_error *error);
/* Whether a bus.c could be compiled here: the compiler runs, whose version is given, and pkg-config knows
 * lightbus. LB_SYSTEM. */
lb_status module_tools(arena *memory, const char **compiler, lb_error *error);

#endif
