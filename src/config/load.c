/* Loading a configuration, and reading it. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/buffer.h"
#include "check.h"
#include "fetch.h"
#include "load.h"

#define PIPE_PATIENCE_MS 5000

/* ---- Bytes ------------------------------------------------------------------------------------------ */

static lb_status read_all(int fd, const char *path, buffer *out, lb_error *error)
{
    for (;;) {
        if (!buffer_room(out, 65536))
            return lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", path);
        ssize_t got = read(fd, out->data + out->size, 65536);
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (got == 0)
            return LB_OK;
        if (got > 0)
            out->size += (size_t)got;
        else if (errno == EAGAIN && poll(&ready, 1, PIPE_PATIENCE_MS) == 0)
            return lb_error_set(error, LB_SYSTEM, "%s: nothing came within %d s", path,
                                PIPE_PATIENCE_MS / 1000);
        else if (errno != EAGAIN && errno != EINTR)
            return lb_error_set(error, LB_SYSTEM, "%s: cannot be read: %s", path, strerror(errno));
        if (out->size > CONFIG_MOST_BYTES)
            return lb_error_set(error, LB_CONFIG, "%s: larger than %d bytes", path, CONFIG_MOST_BYTES);
    }
}

static lb_status read_file(const char *path, buffer *out, lb_error *error)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return lb_error_set(error, LB_SYSTEM, "%s: cannot be opened: %s", path, strerror(errno));
    lb_status status = read_all(fd, path, out, error);
    close(fd);
    return status;
}

static lb_status check_utf8(const char *source, lb_slice text, lb_error *error)
{
    const unsigned char *bytes = (const unsigned char *)text.data;

    for (size_t at = 0, size; at < text.size; at += size) {
        size = utf8_sequence(bytes + at, text.size - at);
        if (!size)
            return config_error(error, source, place_of(text, at), "not UTF-8: the byte 0x%02x", bytes[at]);
    }
    return LB_OK;
}

static bool is_url(const char *place)
{
    return strncasecmp(place, "http://", 7) == 0 || strncasecmp(place, "https://", 8) == 0;
}

static bool ends_with_json(const char *path)
{
    size_t size = strlen(path);

    return size >= 5 && strcasecmp(path + size - 5, ".json") == 0;
}

/* ---- Loading ---------------------------------------------------------------------------------------- */

char *url_mask(arena *memory, const char *url)
{
    const char *authority = strstr(url, "://");
    size_t length;

    authority = authority ? authority + 3 : url;
    length = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', length);
    const char *colon = at ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    if (!colon)
        return arena_copy(memory, url, strlen(url));
    return arena_printf(memory, "%.*s***%s", (int)(colon + 1 - url), url, at);
}

static lb_status index_sections(config *c, lb_error *error)
{
    const node *apis = node_get(c->root, slice_of("apis"));
    size_t count = 0;

    for (const node *n = apis ? apis->first : NULL; n; n = n->next)
        count++;
    c->apis = arena_alloc(&c->memory, (count + 1) * sizeof *c->apis);
    if (!c->apis)
        return lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", c->source);
    count = 0;
    for (node *n = apis ? apis->first : NULL; n; n = n->next) {
        if (!map_put(&c->sections, n->key.data, n->key.size, n))
            return lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", c->source);
        if (!slice_is(n->key, "default"))
            c->apis[count++] = n;
    }
    c->apis[count] = NULL;
    return LB_OK;
}

lb_status config_parse(const char *source, lb_slice text, bool is_json, config **result, lb_error *error)
{
    config *c = *result = calloc(1, sizeof *c);
    lb_status status = c ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", source);

    if (text.size >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        text = (lb_slice){text.data + 3, text.size - 3};
    if (status == LB_OK && !(c->source = arena_copy(&c->memory, source, strlen(source))))
        status = lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", source);
    if (status == LB_OK)
        status = check_utf8(source, text, error);
    if (status == LB_OK)
        status = (is_json ? json_read : yaml_read)(&c->memory, source, text, &c->root, error);
    if (status == LB_OK)
        status = config_check(source, c->root, error);
    if (status == LB_OK)
        status = index_sections(c, error);
    if (status != LB_OK) {
        config_free(c);
        *result = NULL;
    }
    return status;
}

lb_status config_load(const char *place, config **c, lb_error *error)
{
    buffer text = {0};
    arena memory = {0};
    bool is_json;
    lb_status status;

    *c = NULL;
    if (!place || !*place) {
        *c = calloc(1, sizeof **c);
        return *c ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    }
    const char *shown = is_url(place) ? url_mask(&memory, place) : place;
    if (!shown) {
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory while opening the bus");
    } else if (is_url(place)) {
        status = fetch_url(place, shown, CONFIG_MOST_BYTES, &text, &is_json, error);
    } else {
        is_json = ends_with_json(place);
        status = read_file(place, &text, error);
    }
    if (status == LB_OK)
        status = config_parse(shown, (lb_slice){text.data ? text.data : "", text.size}, is_json, c, error);
    buffer_free(&text);
    arena_free(&memory);
    return status;
}

void config_free(config *c)
{
    if (!c)
        return;
    map_free(&c->sections);
    arena_free(&c->memory);
    free(c);
}

const char *config_source(const config *c) { return c->source; }

/* ---- Reading ---------------------------------------------------------------------------------------- */

const node *config_section(const config *c, lb_slice api)
{
    const node *section = api.size ? map_get(&c->sections, api.data, api.size) : NULL;

    return section ? section : map_get(&c->sections, "default", strlen("default"));
}

const node *config_node(const config *c, const char *path, lb_slice api)
{
    const node *n = c->root;

    if (strncmp(path, "apis.*.", 7) == 0) {
        n = config_section(c, api);
        path += 7;
    }
    while (n && *path) {
        size_t size = strcspn(path, ".");
        n = node_get(n, (lb_slice){path, size});
        path += size + (path[size] == '.');
    }
    return n && n->kind != NODE_NULL ? n : NULL;
}

static const char *otherwise(const char *path)
{
    const option *o = option_at(path);

    return o && o->otherwise ? o->otherwise : "";
}

bool config_says(const config *c, const char *path, lb_slice api) { return config_node(c, path, api) != NULL; }

int64_t config_int(const config *c, const char *path, lb_slice api)
{
    const node *n = config_node(c, path, api);

    return n ? (int64_t)n->number : strtoll(otherwise(path), NULL, 10);
}

bool config_bool(const config *c, const char *path, lb_slice api)
{
    const node *n = config_node(c, path, api);

    return n ? n->boolean : strcmp(otherwise(path), "true") == 0;
}

const char *config_str(const config *c, const char *path, lb_slice api)
{
    const node *n = config_node(c, path, api);

    return n ? n->text.data : NULL;
}

bool config_validates(const config *c, bool outgoing, lb_slice api)
{
    const node *n = config_node(c, "apis.*.validate", api);

    if (n && n->kind == NODE_BOOL)
        return n->boolean;
    return config_bool(c, outgoing ? "apis.*.validate.outgoing" : "apis.*.validate.incoming", api);
}

lb_slice config_api(const config *c, size_t index)
{
    return c->apis && c->apis[index] ? c->apis[index]->key : (lb_slice){NULL, 0};
}

const char *config_path(const config *c, const node *path, arena *memory)
{
    const char *slash = c->source && path->at.line ? strrchr(c->source, '/') : NULL;

    if (path->text.data[0] == '/' || !slash)
        return arena_printf(memory, "%s%s", strchr(path->text.data, '/') ? "" : "./", path->text.data);
    return arena_printf(memory, "%.*s/%s", (int)(slash - c->source), c->source, path->text.data);
}

const char *config_where(const config *c, const char *path, lb_slice api, char out[WHERE_SIZE])
{
    const node *n = config_node(c, path, api);

    if (n && n->at.line == 0)
        snprintf(out, WHERE_SIZE, "%s: %s", GIVEN_PLUGINS, path);
    else if (n)
        snprintf(out, WHERE_SIZE, "%s:%d:%d: %s", c->source, n->at.line, n->at.column, path);
    else
        snprintf(out, WHERE_SIZE, "%s", path);
    return out;
}
