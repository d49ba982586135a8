/* Reads local:[NAME][?option=value&...] and local:///path[?...]. Without a path the folder is NAME (or
 * "default") in $XDG_RUNTIME_DIR/lightbus, or where there is none, in $XDG_STATE_HOME/lightbus. */
#include "url.h"

#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../base/json.h"
#include "../../base/number.h"
#include "../../base/suggest.h"

typedef enum option_kind { OPTION_SECONDS, OPTION_COUNT, OPTION_CHOICE } option_kind;

typedef struct option_row {
    const char *name;
    option_kind kind;
    size_t offset; /* in local_options */
    double least, most;
    const char *no, *yes; /* the values of a choice */
} option_row;

#define DAY       86400.0
#define AT(field) offsetof(local_options, field)

static const option_row option_rows[] = {
    {"acknowledgement_timeout", OPTION_SECONDS, AT(acknowledgement_timeout_ms), 0.05, 365 * DAY, NULL, NULL},
    {"reclaim_interval", OPTION_SECONDS, AT(reclaim_interval_ms), 0.01, 365 * DAY, NULL, NULL},
    {"max_stream_length", OPTION_COUNT, AT(max_stream_length), 0, 1e15, NULL, NULL},
    {"max_queue_length", OPTION_COUNT, AT(max_queue_length), 1, 1e9, NULL, NULL},
    {"max_message_size", OPTION_COUNT, AT(max_message_size), 1024, 512.0 * 1024 * 1024, NULL, NULL},
    {"max_size", OPTION_COUNT, AT(max_size), 4.0 * 1024 * 1024, 1e15, NULL, NULL},
    {"result_ttl", OPTION_SECONDS, AT(result_ttl_ms), 1, 365 * DAY, NULL, NULL},
    {"group_ttl", OPTION_SECONDS, AT(group_ttl_ms), 0, 3650 * DAY, NULL, NULL},
    {"stream_use", OPTION_CHOICE, AT(stream_per_event), 0, 0, "per_api", "per_event"},
    {"durability", OPTION_CHOICE, AT(durable), 0, 0, "process", "disk"},
    {"access", OPTION_CHOICE, AT(group_access), 0, 0, "user", "group"},
};
enum { OPTION_ROWS = sizeof option_rows / sizeof *option_rows };

/* ---- Options ---------------------------------------------------------------------------------------- */

static lb_status unknown_option(const char *name, lb_error *error)
{
    suggestion s = suggestion_for(slice_of(name));
    for (const option_row *row = option_rows; row < option_rows + OPTION_ROWS; row++)
        suggestion_consider(&s, slice_of(row->name));
    if (!s.best.size)
        return lb_error_set(error, LB_CONFIG, "local: unknown option \"%.40s\"", name);
    return lb_error_set(error, LB_CONFIG, "local: unknown option \"%.40s\"; did you mean \"%.*s\"?", name,
                        (int)s.best.size, s.best.data);
}

static lb_status set_option(local_options *o, const option_row *row, const char *value, lb_error *error)
{
    if (row->kind == OPTION_CHOICE) {
        int yes = strcmp(value, row->yes) == 0;
        if (!yes && strcmp(value, row->no) != 0)
            return lb_error_set(error, LB_CONFIG, "local: option %s: expected %s or %s, not \"%.40s\"",
                                row->name, row->no, row->yes, value);
        *(int *)((char *)o + row->offset) = yes;
        return LB_OK;
    }
    bool seconds = row->kind == OPTION_SECONDS;
    char *end;
    errno = 0;
    double number = number_read(value, &end);
    bool numeric = end != value && !*end && value[0] >= '0' && value[0] <= '9' && !strpbrk(value, "xXpP");
    if (!numeric || errno || number < row->least || number > row->most ||
        (!seconds && number != (double)(int64_t)number))
        return lb_error_set(error, LB_CONFIG, "local: option %s: expected %s from %g to %g, not \"%.40s\"",
                            row->name, seconds ? "seconds" : "a whole number", row->least, row->most, value);
    *(int64_t *)((char *)o + row->offset) = (int64_t)(seconds ? number * 1000 + 0.5 : number);
    return LB_OK;
}

/* `query` is cut up. */
static lb_status parse_query(local_options *o, char *query, lb_error *error)
{
    lb_status status = LB_OK;
    for (char *save, *item = strtok_r(query, "&", &save); item && status == LB_OK;
         item = strtok_r(NULL, "&", &save)) {
        char *value = strchr(item, '=');
        if (!value)
            return lb_error_set(error, LB_CONFIG, "local: expected option=value in the query, got \"%.40s\"",
                                item);
        *value++ = '\0';
        const option_row *row = option_rows;
        while (row < option_rows + OPTION_ROWS && strcmp(row->name, item) != 0)
            row++;
        status =
            row < option_rows + OPTION_ROWS ? set_option(o, row, value, error) : unknown_option(item, error);
    }
    return status;
}

/* ---- The folder ------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX in place; false for a malformed or NUL escape. */
static bool percent_decode(char *text)
{
    char *to = text;
    for (const char *at = text; *at; at++) {
        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);
        if (low < 0 || high + low == 0)
            return false;
        *to++ = (char)(high * 16 + low);
        at += 2;
    }
    *to = '\0';
    return true;
}

/* The folder that holds the named ones. */
static bool base_folder(char out[PATH_MAX])
{
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    struct stat about;
    int size = 0;
    if (runtime && *runtime == '/' && stat(runtime, &about) == 0 && about.st_uid == geteuid())
        size = snprintf(out, PATH_MAX, "%s/lightbus", runtime);
    else if (state && *state == '/')
        size = snprintf(out, PATH_MAX, "%s/lightbus", state);
    else if (home && *home == '/')
        size = snprintf(out, PATH_MAX, "%s/.local/state/lightbus", home);
    else {
        struct passwd entry, *found = NULL;
        char text[1024];
        if (getpwuid_r(geteuid(), &entry, text, sizeof text, &found) == 0 && found && found->pw_dir[0] == '/')
            size = snprintf(out, PATH_MAX, "%s/.local/state/lightbus", found->pw_dir);
    }
    return size > 0 && size < PATH_MAX;
}

static bool is_name(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
              (c > name && strchr("._-", *c))))
            return false;
    return strlen(name) <= 100;
}

/* `place` is what is between "local:" and the query. */
static lb_status find_folder(local_options *o, char *place, lb_error *error)
{
    char base[PATH_MAX];
    if (strncmp(place, "///", 3) == 0) {
        if (!percent_decode(place) || strlen(place + 2) >= sizeof o->folder || strcmp(place, "///") == 0)
            return lb_error_set(error, LB_CONFIG, "local: expected local:///path, got \"local:%.100s\"", place);
        strcpy(o->folder, place + 2);
        return LB_OK;
    }
    if (!is_name(place))
        return lb_error_set(error, LB_CONFIG,
                            "expected local:, local:NAME (letters, digits, . _ -) or local:///path, got "
                            "\"local:%.100s\"",
                            place);
    if (!base_folder(base))
        return lb_error_set(
            error, LB_CONFIG,
            "local: there is no $XDG_RUNTIME_DIR, $XDG_STATE_HOME or home folder; name a folder: "
            "local:///path");
    int size = snprintf(o->folder, sizeof o->folder, "%s/%s", base, *place ? place : "default");
    if (size >= (int)sizeof o->folder)
        return lb_error_set(error, LB_CONFIG, "local: the path of the folder is too long");
    return LB_OK;
}

lb_status local_options_parse(local_options *options, const char *url, lb_error *error)
{
    *options = (local_options){
        .acknowledgement_timeout_ms = 60 * 1000,
        .max_stream_length = 100000,
        .max_queue_length = 100000,
        .max_message_size = 16 * 1024 * 1024,
        .max_size = INT64_C(8) * 1024 * 1024 * 1024,
        .result_ttl_ms = 60 * 1000,
        .group_ttl_ms = INT64_C(30) * 24 * 3600 * 1000,
    };
    if (strncmp(url, "local:", 6) != 0)
        return lb_error_set(error, LB_CONFIG, "expected a URL that begins with local:, got \"%.100s\"", url);
    char *copy = strdup(url + 6);
    if (!copy)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    char *query = strchr(copy, '?');
    if (query)
        *query++ = '\0';
    lb_status status = find_folder(options, copy, error);
    if (status == LB_OK && query)
        status = parse_query(options, query, error);
    if (!options->reclaim_interval_ms)
        options->reclaim_interval_ms =
            options->acknowledgement_timeout_ms < 1000 ? options->acknowledgement_timeout_ms : 1000;
    free(copy);
    return status;
}
