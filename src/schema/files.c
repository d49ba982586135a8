/* Reading and writing files of schemas. */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/json.h"
#include "../base/map.h"
#include "schema.h"

#define MOST_BYTES (64u << 20) /* of a file */

/* ---- Reading ---------------------------------------------------------------------------------------- */

typedef struct collection {
    buffer text; /* "{" and the members so far */
    map origins; /* API name -> path; borrowed from `paths` */
} collection;

static lb_status no_memory(lb_error *error)
{
    return lb_error_set(error, LB_NO_MEMORY, "out of memory while reading schemas");
}

static lb_status system_error(const char *path, lb_error *error)
{
    return lb_error_set(error, LB_SYSTEM, "%s: %s", path, strerror(errno));
}

static lb_status read_descriptor(int fd, const char *path, buffer *out, lb_error *error)
{
    ssize_t got = 1;

    while (got > 0) {
        if (!buffer_room(out, 65536))
            return no_memory(error);
        got = read(fd, out->data + out->size, 65536);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            out->size += (size_t)got;
        if (out->size > MOST_BYTES)
            return lb_error_set(error, LB_TOO_LARGE, "%s: larger than 64 MB", path);
    }
    return got < 0 ? system_error(path, error) : LB_OK;
}

static lb_status read_text(const char *path, buffer *out, lb_error *error)
{
    if (strcmp(path, "-") == 0)
        return read_descriptor(STDIN_FILENO, "standard input", out, error);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return system_error(path, error);
    lb_status status = read_descriptor(fd, path, out, error);
    close(fd);
    return status;
}

static lb_status check_schema(const char *path, lb_slice name, const lb_value *json, lb_error *error)
{
    api_schema *schema = NULL;
    lb_error reason = {0};
    size_t size;
    char *text = lb_value_json(json, &size);
    lb_status status =
        text ? api_schema_from_json(name, (lb_slice){text, size}, &schema, &reason) : LB_NO_MEMORY;

    free(text);
    api_schema_unref(schema);
    return status == LB_OK ? LB_OK : lb_error_set(error, status, "%s: %s", path, reason.message);
}

static lb_status add_schemas(collection *c, const char *path, const lb_value *schemas, lb_error *error)
{
    lb_value_iterator it = lb_value_iterate(schemas);
    lb_status status = LB_OK;

    if (lb_value_type_of(schemas) != LB_TYPE_DICT)
        return lb_error_set(error, LB_MALFORMED, "%s: expected a dict of API name to schema", path);
    while (status == LB_OK && lb_value_next(&it)) {
        const char *origin = map_get(&c->origins, it.name, it.name_size);
        if (origin)
            return lb_error_set(error, LB_DUPLICATE, "%s: the API \"%.200s\" is in %s already", path, it.name,
                                origin);
        if (!map_put(&c->origins, it.name, it.name_size, (char *)(uintptr_t)path))
            return no_memory(error);
        status = check_schema(path, (lb_slice){it.name, it.name_size}, it.value, error);
        buffer_str(&c->text, c->text.size > 1 ? "," : "");
        buffer_json_string(&c->text, it.name, it.name_size);
        buffer_char(&c->text, ':');
        json_write(&c->text, it.value);
    }
    return status;
}

static lb_status add_file(collection *c, const char *path, lb_error *error)
{
    buffer text = {0};
    lb_value *schemas = NULL;
    lb_error reason = {0};
    bool is_input = strcmp(path, "-") == 0;
    lb_status status = read_text(path, &text, error);

    path = is_input ? "standard input" : path;
    if (status == LB_OK && (status = lb_value_parse(text.data, text.size, &schemas, &reason)) != LB_OK)
        lb_error_set(error, status, "%s: %s", path, reason.message);
    if (status == LB_OK)
        status = add_schemas(c, path, schemas, error);
    lb_value_free(schemas);
    buffer_free(&text);
    return status;
}

static int is_json_file(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);
    return size > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + size - 5, ".json") == 0;
}

static lb_status add_folder(collection *c, arena *paths, const char *folder, lb_error *error)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_json_file, alphasort);
    lb_status status = count < 0 ? system_error(folder, error) : LB_OK;

    if (count == 0)
        status = lb_error_set(error, LB_SYSTEM, "%s: there is no *.json in the folder", folder);
    for (int i = 0; i < count; i++) {
        char *path = arena_printf(paths, "%s/%s", folder, entries[i]->d_name);
        if (status == LB_OK)
            status = path ? add_file(c, path, error) : no_memory(error);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

lb_status schema_files_read(const char *path, lb_value **schemas, lb_error *error)
{
    collection c = {0};
    arena paths = {0};
    lb_status status;

    *schemas = NULL;
    buffer_char(&c.text, '{');
    status = is_folder(path) ? add_folder(&c, &paths, path, error) : add_file(&c, path, error);
    buffer_char(&c.text, '}');
    if (status == LB_OK)
        status = c.text.failed ? no_memory(error) : lb_value_parse(c.text.data, c.text.size, schemas, error);
    buffer_free(&c.text);
    map_free(&c.origins);
    arena_free(&paths);
    return status;
}

/* ---- Writing ---------------------------------------------------------------------------------------- */

typedef struct member {
    lb_slice name;
    const lb_value *value;
} member;

static int compare_members(const void *a, const void *b)
{
    const member *x = a, *y = b;
    size_t common = x->name.size < y->name.size ? x->name.size : y->name.size;
    int order = memcmp(x->name.data, y->name.data, common);
    return order ? order : (x->name.size > y->name.size) - (x->name.size < y->name.size);
}

static void new_line(buffer *out, int level)
{
    buffer_char(out, '\n');
    for (int i = 0; i < level; i++)
        buffer_literal(out, "  ");
}

static void print_sorted(buffer *out, const lb_value *value, int level)
{
    size_t count = lb_value_count(value), used = 0;
    bool is_dict = lb_value_type_of(value) == LB_TYPE_DICT;
    lb_value_iterator it = lb_value_iterate(value);
    member *members = count ? malloc(count * sizeof *members) : NULL;

    if (!members) {
        json_write(out, value); /* a scalar, or empty */
        out->failed = out->failed || count;
        return;
    }
    while (lb_value_next(&it))
        members[used++] = (member){{it.name, it.name_size}, it.value};
    if (is_dict)
        qsort(members, count, sizeof *members, compare_members);
    buffer_char(out, is_dict ? '{' : '[');
    for (size_t i = 0; i < count; i++) {
        buffer_str(out, i ? "," : "");
        new_line(out, level + 1);
        if (is_dict) {
            buffer_json_string(out, members[i].name.data, members[i].name.size);
            buffer_literal(out, ": ");
        }
        print_sorted(out, members[i].value, level + 1);
    }
    new_line(out, level);
    buffer_char(out, is_dict ? '}' : ']');
    free(members);
}

void schema_files_print(buffer *out, const lb_value *schemas)
{
    print_sorted(out, schemas, 0);
    buffer_char(out, '\n');
}

static lb_status write_text(const char *path, const buffer *text, lb_error *error)
{
    FILE *file = text->failed ? NULL : fopen(path, "we");

    if (text->failed)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while writing schemas");
    if (!file)
        return system_error(path, error);
    bool written = fwrite(text->data, 1, text->size, file) == text->size;
    if (fclose(file) != 0 || !written)
        return system_error(path, error);
    return LB_OK;
}

/* The name of an API holds nothing that a file's name may not (api_name_check). */
static lb_status write_one(const char *folder, const lb_value_iterator *it, lb_error *error)
{
    arena memory = {0};
    buffer text = {0};
    const char *path = arena_printf(&memory, "%s/%s.json", folder, it->name);
    lb_status status;

    buffer_literal(&text, "{\n  ");
    buffer_json_string(&text, it->name, it->name_size);
    buffer_literal(&text, ": ");
    print_sorted(&text, it->value, 1);
    buffer_literal(&text, "\n}\n");
    status = path ? write_text(path, &text, error) : no_memory(error);
    buffer_free(&text);
    arena_free(&memory);
    return status;
}

lb_status schema_files_write(const char *path, const lb_value *schemas, lb_error *error)
{
    lb_value_iterator it = lb_value_iterate(schemas);
    lb_status status = LB_OK;
    buffer text = {0};

    if (is_folder(path)) {
        while (status == LB_OK && lb_value_next(&it))
            status = write_one(path, &it, error);
        return status;
    }
    schema_files_print(&text, schemas);
    status = write_text(path, &text, error);
    buffer_free(&text);
    return status;
}
