/* Compiling a bus.c on the fly. A result is kept in a cache under the hash of all that it depends on: the
 * preprocessed text, the compiler's version, the flags. Invariants: the cache is a folder that only its user
 * may enter, since what is in it will be run; a file in it is complete, for it gets its name last. */
#include "module.h"

#include "folder.h"

#include <lightbus/version.h>

#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static lb_status no_memory(lb_error *error) { return lb_error_set(error, LB_NO_MEMORY, "out of memory"); }

/* ---- The cache -------------------------------------------------------------------------------------- */

lb_status module_cache(arena *memory, const char **directory, lb_error *error)
{
    return folder_private(memory, "XDG_CACHE_HOME", ".cache", "compiled modules", directory, error);
}

lb_status module_cache_look(arena *memory, const char **directory, lb_error *error)
{
    return folder_look(memory, "XDG_CACHE_HOME", ".cache", "compiled modules", directory, error);
}

/* ---- Flags ------------------------------------------------------------------------------------------ */

static void add_folder(buffer *path, const char *folder)
{
    buffer_str(path, folder);
    buffer_char(path, ':');
}

/* PKG_CONFIG_PATH with the folders first where the installation, or the build, of this program keeps
 * lightbus.pc. */
static const char *pkg_config_setting(arena *memory)
{
    static const char *const patterns[] = {"", "/../lib/*/pkgconfig", "/../lib/pkgconfig",
                                           "/../share/pkgconfig"};
    const char *before = getenv("PKG_CONFIG_PATH"), *result = NULL;
    char program[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    buffer path = {0};

    buffer_str(&path, "PKG_CONFIG_PATH=");
    if (size > 0) {
        program[size] = '\0';
        *strrchr(program, '/') = '\0';
    }
    for (size_t i = 0; size > 0 && i < sizeof patterns / sizeof *patterns; i++) {
        glob_t found = {0};
        char *pattern = arena_printf(memory, "%s%s", program, patterns[i]);
        if (pattern && glob(pattern, 0, NULL, &found) == 0)
            for (size_t j = 0; j < found.gl_pathc; j++)
                add_folder(&path, found.gl_pathv[j]);
        globfree(&found);
    }
    buffer_str(&path, before ? before : "");
    if (buffer_text(&path))
        result = arena_copy(memory, path.data, path.size);
    buffer_free(&path);
    return result;
}

static lb_status add_pkg_config(words *flags, lb_error *error)
{
    char *argv[] = {"pkg-config", "--cflags", "--libs", "lightbus", NULL};
    const char *setting = pkg_config_setting(flags->memory);
    buffer output = {0};
    int code = 0;
    lb_status status = setting ? process_run(argv, setting, &output, &code, error) : no_memory(error);

    if (status == LB_OK && code != 0)
        status = lb_error_set(error, LB_SYSTEM,
                              "pkg-config does not know how to compile with lightbus; "
                              "set PKG_CONFIG_PATH to the folder of lightbus.pc");
    if (status == LB_OK)
        words_split(flags, buffer_text(&output) ? output.data : "");
    buffer_free(&output);
    return status;
}

/* The module finds the very library that this program runs with. */
static void add_rpath(words *flags)
{
    char folder[PATH_MAX];
    Dl_info info;

    if (!dladdr(lb_version(), &info) || !info.dli_fname || !realpath(info.dli_fname, folder))
        return;
    *strrchr(folder, '/') = '\0';
    words_add(flags, "-Xlinker");
    words_add(flags, "-rpath");
    words_add(flags, "-Xlinker");
    words_add(flags, folder);
}

/* All flags but the names of the files. */
static lb_status collect_flags(words *flags, lb_error *error)
{
    const char *user = getenv("CFLAGS");
    lb_status status;

    words_split(flags, "-shared -fPIC -g -O2 -Wall -Werror=implicit-function-declaration");
    status = add_pkg_config(flags, error);
    add_rpath(flags);
    words_split(flags, user ? user : "");
    return status == LB_OK && flags->failed ? no_memory(error) : status;
}

/* ---- What it includes ------------------------------------------------------------------------------- */

/* A file's name in a line marker, with its backslashes. */
static void read_name(buffer *name, const char *at, const char *end)
{
    buffer_clear(name, PATH_MAX);
    for (; at < end && *at != '"'; at++)
        buffer_char(name, *at == '\\' && at + 1 < end ? *++at : *at);
}

static bool is_listed(const words *w, const char *word)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->list[i], word) == 0)
            return true;
    return false;
}

/* Preprocessed text says where its lines come from: # LINE "FILE" FLAGS, where 3 marks headers of the system. A
 * name in <> is no file, and one with a slash at its end is the working directory. */
static void add_inclusions(words *inputs, const char *text, size_t size)
{
    buffer name = {0};

    for (const char *at = text, *end; at && at < text + size; at = end ? end + 1 : NULL) {
        end = memchr(at, '\n', (size_t)(text + size - at));
        const char *stop = end ? end : text + size;
        const char *quote =
            stop - at > 2 && memcmp(at, "# ", 2) == 0 ? memchr(at, '"', (size_t)(stop - at)) : NULL;
        const char *last = quote ? memrchr(at, '"', (size_t)(stop - at)) : NULL;
        if (!quote || quote[1] == '<' || memchr(last, '3', (size_t)(stop - last)))
            continue;
        read_name(&name, quote + 1, stop);
        if (buffer_text(&name) && name.size && name.data[name.size - 1] != '/' && !is_listed(inputs, name.data))
            words_add(inputs, name.data);
    }
    buffer_free(&name);
}

/* ---- Compiling -------------------------------------------------------------------------------------- */

typedef struct compilation {
    arena *memory;
    const char *source;
    words compiler, flags;
} compilation;

/* Runs the compiler: with `first`, the source, the flags, and "-o OUT" if there is an output file. */
static lb_status run_compiler(const compilation *c, const char *first, const char *out, buffer *output,
                              int *code, lb_error *error)
{
    words argv = {.memory = c->memory};

    words_add_all(&argv, &c->compiler);
    words_split(&argv, first);
    words_add(&argv, c->source);
    words_add_all(&argv, &c->flags);
    if (out) {
        words_add(&argv, "-o");
        words_add(&argv, out);
    }
    return argv.failed ? no_memory(error) : process_run(argv.list, NULL, output, code, error);
}

static lb_status does_not_compile(const compilation *c, lb_error *error)
{
    return lb_error_set(error, LB_CONFIG, "\"%s\" does not compile", c->source);
}

/* The first line of `cc --version`. */
static lb_status add_version(const compilation *c, buffer *text, lb_error *error)
{
    words argv = {.memory = c->memory};
    size_t before = text->size;
    lb_status status;
    int code = 0;

    words_add_all(&argv, &c->compiler);
    words_add(&argv, "--version");
    if (argv.failed)
        return no_memory(error);
    status = process_run(argv.list, NULL, text, &code, error);
    if (status == LB_OK && text->size > before) {
        const char *newline = memchr(text->data + before, '\n', text->size - before);
        text->size = newline ? (size_t)(newline - text->data) : text->size;
    }
    return status;
}

/* Everything that the result depends on. */
static lb_status add_inputs(const compilation *c, words *files, buffer *text, lb_error *error)
{
    lb_status status = add_version(c, text, error);
    size_t before;
    int code = 0;

    for (size_t i = 0; i < c->flags.count; i++)
        buffer_add(text, c->flags.list[i], strlen(c->flags.list[i]) + 1);
    before = text->size;
    if (status == LB_OK)
        status = run_compiler(c, "-E -w", NULL, text, &code, error);
    if (files && text->size > before)
        add_inclusions(files, text->data + before, text->size - before);
    if (status == LB_OK && code != 0)
        status = does_not_compile(c, error);
    return status == LB_OK && text->failed ? no_memory(error) : status;
}

static const char *hash_text(arena *memory, const buffer *text)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned size = 0;

    if (!EVP_Digest(text->data, text->size, digest, &size, EVP_sha256(), NULL))
        return NULL;
    for (unsigned i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return arena_copy(memory, hex, 2 * size);
}

static lb_status compile_to(const compilation *c, const char *object, lb_error *error)
{
    char *temporary = arena_printf(c->memory, "%s.XXXXXX", object);
    lb_status status;
    int code = 0, fd;

    if (!temporary)
        return no_memory(error);
    fd = mkstemp(temporary);
    if (fd < 0)
        return lb_error_set(error, LB_ACCESS, "cannot write to \"%s\": %s", temporary, strerror(errno));
    close(fd);
    status = run_compiler(c, "", temporary, NULL, &code, error);
    if (status == LB_OK && code != 0)
        status = does_not_compile(c, error);
    if (status == LB_OK && rename(temporary, object) < 0)
        status = lb_error_set(error, LB_ACCESS, "cannot rename to \"%s\": %s", object, strerror(errno));
    if (status != LB_OK)
        unlink(temporary);
    return status;
}

static void choose_compiler(compilation *c)
{
    const char *compiler = getenv("CC");

    words_split(&c->compiler, compiler ? compiler : "");
    if (!c->compiler.count)
        words_add(&c->compiler, "cc");
}

lb_status module_tools(arena *memory, const char **compiler, lb_error *error)
{
    compilation c = {memory, NULL, {.memory = memory}, {.memory = memory}};
    buffer version = {0};

    choose_compiler(&c);
    lb_status status = add_version(&c, &version, error);
    *compiler = arena_copy(memory, version.data ? version.data : "", version.size);
    buffer_free(&version);
    if (status == LB_OK && (!*compiler || c.compiler.failed))
        return no_memory(error);
    return status == LB_OK ? add_pkg_config(&c.flags, error) : status;
}

lb_status module_compile(arena *memory, const char *source, words *files, const char **object, lb_error *error)
{
    compilation c = {memory, source, {.memory = memory}, {.memory = memory}};
    const char *folder, *hash;
    buffer inputs = {0};
    lb_status status = module_cache(memory, &folder, error);

    if (status != LB_OK)
        return status;
    choose_compiler(&c);
    status = collect_flags(&c.flags, error);
    if (status == LB_OK)
        status = add_inputs(&c, files, &inputs, error);
    if (status != LB_OK)
        goto out;
    hash = hash_text(memory, &inputs);
    *object = hash ? arena_printf(memory, "%s/%s.so", folder, hash) : NULL;
    if (!*object)
        status = no_memory(error);
    else if (access(*object, R_OK) < 0)
        status = compile_to(&c, *object, error);
out:
    buffer_free(&inputs);
    return status;
}
