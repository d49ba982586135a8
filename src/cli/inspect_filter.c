/* Which events `lightbus inspect` shows. */
#include "inspect.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

bool is_pattern(const char *text) { return strpbrk(text, "*?[") != NULL; }

bool pattern_matches(const char *pattern, const char *name) { return fnmatch(pattern, name, 0) == 0; }

/* "2", "=2", "!=2", "<2", "<=2", ">2", ">=2" */
static lb_status read_version(const char *text, inspect_filter *f, lb_error *error)
{
    const char *at = text + strspn(text, " ");
    f->by_version = true;
    f->version_comparison = EQUAL;
    comparison_read(&at, &f->version_comparison);
    at += strspn(at, " ");
    if (!*at || strlen(at) > 10 || strspn(at, "0123456789") != strlen(at))
        return lb_error_set(error, LB_USAGE,
                            "--version: expected a number, maybe after one of = != < <= > >=, got \"%s\"",
                            text);
    f->version = strtoll(at, NULL, 10);
    return LB_OK;
}

lb_status inspect_filter_read(arena *memory, const invocation *in, inspect_filter *f, lb_error *error)
{
    lb_error why = {0};
    *f = (inspect_filter){.event = in->event, .id = in->id};
    if (in->json_path && json_path_parse(memory, in->json_path, &f->path, &why) != LB_OK)
        return lb_error_set(error, why.status, "--json-path: %s", why.message);
    return in->event_version ? read_version(in->event_version, f, error) : LB_OK;
}

bool inspect_filter_takes(const inspect_filter *f, const lb_event *event, const char *problem)
{
    if (f->event && !pattern_matches(f->event, lb_event_name(event)))
        return false;
    if (f->id && strcmp(f->id, lb_event_id(event)) != 0)
        return false;
    if (problem && (f->by_version || f->path))
        return false;
    int64_t version = lb_event_version(event);
    if (f->by_version &&
        !comparison_holds(f->version_comparison, (version > f->version) - (version < f->version)))
        return false;
    return !f->path || json_path_matches(f->path, lb_args(event));
}
