/* Reads redis://[user[:password]@]host[:port][/db][?option=value&...], rediss:// and redis+unix://.
 * The grammar and the options are documented in docs/reference/urls.md.
 * Invariant: no message shows user information or the value of a secret (S33). */
#include "url.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/number.h"

typedef enum option_kind {
    OPTION_DURATION,
    OPTION_COUNT,
    OPTION_BOOL,
    OPTION_STREAM_USE,
    OPTION_FILE
} option_kind;

typedef struct option_row {
    const char *name;
    option_kind kind;
    size_t offset; /* in redis_options */
    double least, most;
} option_row;

#define DAY 86400.0

static const option_row option_rows[] = {
    {"result_ttl", OPTION_DURATION, offsetof(redis_options, result_ttl_ms), 1, 365 * DAY},
    {"acknowledgement_timeout", OPTION_DURATION, offsetof(redis_options, acknowledgement_timeout_ms), 0.05,
     365 * DAY},
    {"reclaim_interval", OPTION_DURATION, offsetof(redis_options, reclaim_interval_ms), 0.05, 365 * DAY},
    {"reclaim_batch_size", OPTION_COUNT, offsetof(redis_options, reclaim_batch_size), 1, 10000},
    {"max_stream_length", OPTION_COUNT, offsetof(redis_options, max_stream_length), 0, 1e15},
    {"stream_use", OPTION_STREAM_USE, offsetof(redis_options, stream_per_event), 0, 0},
    {"max_message_size", OPTION_COUNT, offsetof(redis_options, max_message_size), 1024, 512 * 1024 * 1024},
    {"max_queue_length", OPTION_COUNT, offsetof(redis_options, max_queue_length), 1, 1e9},
    {"connect_timeout", OPTION_DURATION, offsetof(redis_options, connect_timeout_ms), 0.05, 3600},
    {"db", OPTION_COUNT, offsetof(redis_options, db), 0, 1e6},
    {"tls_ca", OPTION_FILE, offsetof(redis_options, tls_ca), 0, 0},
    {"tls_cert", OPTION_FILE, offsetof(redis_options, tls_cert), 0, 0},
    {"tls_key", OPTION_FILE, offsetof(redis_options, tls_key), 0, 0},
    {"tls_verify", OPTION_BOOL, offsetof(redis_options, tls_verify), 0, 0},
};
enum { OPTION_ROWS = sizeof option_rows / sizeof *option_rows };

/* ---- Names ------------------------------------------------------------------------------------------ */

static size_t least_of(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* How many letters must be added, removed or changed to make one name of the other. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    size_t row[LONGEST + 1], b_size = strlen(b);
    if (b_size > LONGEST)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= b_size; j++) {
            size_t above = row[j];
            row[j] = least_of(row[j] + 1, row[j - 1] + 1, diagonal + (a[i] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_size];
}

static const char *nearest_option(const char *name)
{
    const option_row *nearest = option_rows;
    for (const option_row *row = option_rows; row < option_rows + OPTION_ROWS; row++)
        if (distance(name, row->name) < distance(name, nearest->name))
            nearest = row;
    return nearest->name;
}

/* ---- Values ----------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX into a new string; NULL for a malformed or NUL escape. */
static char *percent_decode(const char *text, size_t size)
{
    char *out = malloc(size + 1), *to = out;
    for (size_t i = 0; out && i < size; i++) {
        if (text[i] != '%') {
            *to++ = text[i];
            continue;
        }
        bool whole = i + 2 < size;
        int high = whole ? hex_digit(text[i + 1]) : -1, low = whole ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0)) {
            free(out);
            return NULL;
        }
        *to++ = (char)(high * 16 + low);
        i += 2;
    }
    if (out)
        *to = '\0';
    return out;
}

static lb_status set_number(redis_options *o, const option_row *row, const char *value, lb_error *error)
{
    bool seconds = row->kind == OPTION_DURATION;
    char *end;
    errno = 0;
    double number = number_read(value, &end);
    bool numeric = end != value && !*end && (value[0] >= '0' && value[0] <= '9') && !strpbrk(value, "xXpP");
    if (!numeric || errno || number < row->least || number > row->most ||
        (!seconds && number != (double)(int64_t)number))
        return lb_error_set(error, LB_CONFIG, "%s: option %s: expected %s from %g to %g, not \"%.40s\"",
                            o->place, row->name, seconds ? "seconds" : "a whole number", row->least, row->most,
                            value);
    if (row->offset == offsetof(redis_options, db))
        o->db = (int)number;
    else
        *(int64_t *)((char *)o + row->offset) = (int64_t)(seconds ? number * 1000 + 0.5 : number);
    return LB_OK;
}

static lb_status set_choice(redis_options *o, const option_row *row, const char *value, const char *yes,
                            const char *no, lb_error *error)
{
    if (strcmp(value, yes) != 0 && strcmp(value, no) != 0)
        return lb_error_set(error, LB_CONFIG, "%s: option %s: expected \"%s\" or \"%s\", not \"%.40s\"",
                            o->place, row->name, yes, no, value);
    *(bool *)((char *)o + row->offset) = strcmp(value, yes) == 0;
    return LB_OK;
}

static lb_status set_file(redis_options *o, const option_row *row, const char *value, lb_error *error)
{
    if (!o->tls)
        return lb_error_set(error, LB_CONFIG, "%s: option %s: only with rediss://", o->place, row->name);
    if (!*value)
        return lb_error_set(error, LB_CONFIG, "%s: option %s: expected the path of a file", o->place,
                            row->name);
    char **file = (char **)((char *)o + row->offset);
    free(*file);
    *file = strdup(value);
    return *file ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory");
}

static lb_status set_option(redis_options *o, const char *name, const char *value, lb_error *error)
{
    for (const option_row *row = option_rows; row < option_rows + OPTION_ROWS; row++) {
        if (strcmp(name, row->name) != 0)
            continue;
        switch (row->kind) {
        case OPTION_BOOL:
            return set_choice(o, row, value, "true", "false", error);
        case OPTION_STREAM_USE:
            return set_choice(o, row, value, "per_event", "per_api", error);
        case OPTION_FILE:
            return set_file(o, row, value, error);
        default:
            return set_number(o, row, value, error);
        }
    }
    return lb_error_set(error, LB_CONFIG, "%s: unknown option \"%.40s\"; the nearest one is \"%s\"", o->place,
                        name, nearest_option(name));
}

static lb_status read_query(redis_options *o, const char *query, lb_error *error)
{
    lb_status status = LB_OK;
    while (*query && status == LB_OK) {
        size_t size = strcspn(query, "&"), name_size = strcspn(query, "=&");
        bool has_value = query[name_size] == '=';
        char *name = percent_decode(query, name_size);
        char *value = has_value ? percent_decode(query + name_size + 1, size - name_size - 1) : NULL;
        if (!name || !value)
            status = lb_error_set(error, LB_CONFIG, "%s: expected option=value in the query, not \"%.*s\"",
                                  o->place, (int)(name_size > 40 ? 40 : name_size), query);
        else
            status = set_option(o, name, value, error);
        free(name);
        free(value);
        query += size + (query[size] == '&');
    }
    return status;
}

/* ---- Parts ------------------------------------------------------------------------------------------ */

static bool take(char *to, size_t room, const char *text, size_t size)
{
    char *decoded = percent_decode(text, size);
    bool fits = decoded && strlen(decoded) < room;
    if (fits)
        strcpy(to, decoded);
    free(decoded);
    return fits;
}

/* user:password@ (or :password@, or user@) */
static lb_status read_user(redis_options *o, const char *text, size_t size, lb_error *error)
{
    const char *colon = memchr(text, ':', size);
    size_t user_size = colon ? (size_t)(colon - text) : size;
    bool good = take(o->user, sizeof o->user, text, user_size);
    if (good && colon) {
        o->password = percent_decode(colon + 1, size - user_size - 1);
        good = o->password != NULL;
    }
    return good ? LB_OK
                : lb_error_set(error, LB_CONFIG,
                               "malformed user or password before the \"@\" of a Redis URL: "
                               "expected user:password with %%XX for special characters");
}

/* host[:port] or [address]:port */
static lb_status read_host(redis_options *o, const char *scheme, const char *text, size_t size, lb_error *error)
{
    const char *host = text, *end = text + size, *host_end = memchr(text, ':', size), *port = NULL;
    if (size && *text == '[') {
        host = text + 1;
        host_end = memchr(text, ']', size);
        if (!host_end || (host_end + 1 < end && host_end[1] != ':'))
            return lb_error_set(error, LB_CONFIG, "%s://: expected an IPv6 address as [address]:port", scheme);
        port = host_end + 1 < end ? host_end + 2 : NULL;
    } else if (host_end) {
        port = host_end + 1;
    } else {
        host_end = end;
    }
    if (!take(o->host, sizeof o->host, host, (size_t)(host_end - host)))
        return lb_error_set(error, LB_CONFIG, "%s://: malformed host name", scheme);
    if (!*o->host)
        strcpy(o->host, "127.0.0.1");
    strcpy(o->port, "6379");
    if (port && port < end) {
        char *stop;
        long number = strtol(port, &stop, 10);
        if (stop != end || number < 1 || number > 65535 || *port < '0' || *port > '9')
            return lb_error_set(error, LB_CONFIG, "%s://%s: expected a port from 1 to 65535, not \"%.*s\"",
                                scheme, o->host, (int)(end - port > 20 ? 20 : end - port), port);
        snprintf(o->port, sizeof o->port, "%ld", number);
    }
    bool v6 = strchr(o->host, ':') != NULL;
    snprintf(o->place, sizeof o->place, v6 ? "%s://[%s]:%s" : "%s://%s:%s", scheme, o->host, o->port);
    return LB_OK;
}

static lb_status read_path(redis_options *o, bool unix_socket, const char *path, size_t size, lb_error *error)
{
    if (unix_socket) {
        if (size < 2 || !take(o->path, sizeof o->path, path, size))
            return lb_error_set(error, LB_CONFIG,
                                "redis+unix://: expected the path of a socket of at most %zu bytes, "
                                "as in redis+unix:///run/redis.sock",
                                sizeof o->path - 1);
        snprintf(o->place, sizeof o->place, "redis+unix://%s", o->path);
        return LB_OK;
    }
    if (size <= 1)
        return LB_OK;
    char *end;
    long db = strtol(path + 1, &end, 10);
    if (end != path + size || path[1] < '0' || path[1] > '9' || db > 1000000)
        return lb_error_set(error, LB_CONFIG, "%s: expected a database number after the \"/\", not \"%.*s\"",
                            o->place, (int)(size > 21 ? 20 : size - 1), path + 1);
    o->db = (int)db;
    return LB_OK;
}

static const redis_options defaults = {
    .db = -1,
    .tls_verify = true,
    .result_ttl_ms = 60 * 1000,
    .acknowledgement_timeout_ms = 60 * 1000,
    .reclaim_batch_size = 100,
    .max_stream_length = 100000,
    .max_queue_length = 100000,
    .max_message_size = 16 * 1024 * 1024,
    .connect_timeout_ms = 5000,
};

lb_status redis_url_parse(redis_options *o, const char *url, lb_error *error)
{
    *o = defaults;
    const char *rest = strstr(url, "://");
    size_t scheme_size = rest ? (size_t)(rest - url) : 0;
    char scheme[16];
    snprintf(scheme, sizeof scheme, "%.*s", (int)(scheme_size < 15 ? scheme_size : 15), url);
    bool unix_socket = strcmp(scheme, "redis+unix") == 0;
    o->tls = strcmp(scheme, "rediss") == 0;
    if (!unix_socket && !o->tls && strcmp(scheme, "redis") != 0)
        return lb_error_set(error, LB_CONFIG,
                            "expected a URL that begins with redis://, rediss:// or redis+unix://");

    const char *authority = rest + 3, *query = authority + strcspn(authority, "?");
    const char *at = memrchr(authority, '@', (size_t)(query - authority));
    const char *host = at ? at + 1 : authority, *path = host + strcspn(host, "/?");
    lb_status status = at ? read_user(o, authority, (size_t)(at - authority), error) : LB_OK;
    if (status == LB_OK && !unix_socket)
        status = read_host(o, scheme, host, (size_t)(path - host), error);
    else if (status == LB_OK && path != host)
        status = lb_error_set(error, LB_CONFIG,
                              "redis+unix://: expected three slashes, as in redis+unix:///run/redis.sock");
    if (status == LB_OK)
        status = read_path(o, unix_socket, path, (size_t)(query - path), error);
    if (status == LB_OK && *query)
        status = read_query(o, query + 1, error);
    if (status == LB_OK && !o->tls_cert != !o->tls_key)
        status =
            lb_error_set(error, LB_CONFIG, "%s: expected the options tls_cert and tls_key together", o->place);
    if (!o->reclaim_interval_ms)
        o->reclaim_interval_ms = o->acknowledgement_timeout_ms;
    return status;
}

void redis_url_free(redis_options *o)
{
    if (o->password)
        explicit_bzero(o->password, strlen(o->password));
    free(o->password);
    free(o->tls_ca);
    free(o->tls_cert);
    free(o->tls_key);
    o->password = o->tls_ca = o->tls_cert = o->tls_key = NULL;
}
