/* Features by their names: rpcs, events, tasks. The flags win over the environment; --skip takes from what
 * --only names. */
#include "features.h"

#include <stdlib.h>
#include <string.h>

static const struct feature {
    const char *name;
    unsigned flag; /* that leaves it out */
} features[] = {{"rpcs", LB_RUN_NO_RPCS}, {"events", LB_RUN_NO_EVENTS}, {"tasks", LB_RUN_NO_TASKS}};
enum { FEATURE_COUNT = sizeof features / sizeof *features };

static const unsigned all = LB_RUN_NO_RPCS | LB_RUN_NO_EVENTS | LB_RUN_NO_TASKS;

static lb_slice trim(lb_slice s)
{
    while (s.size && s.data[0] == ' ') {
        s.data++;
        s.size--;
    }
    while (s.size && s.data[s.size - 1] == ' ')
        s.size--;
    return s;
}

static int unknown_feature(const invocation *in, const char *where, lb_slice name)
{
    char text[HINT_SIZE];
    suggestion s = suggestion_for(name);

    for (int i = 0; i < FEATURE_COUNT; i++)
        suggestion_consider(&s, slice_of(features[i].name));
    return usage_error(in, "%s: unknown feature \"%.*s\"%s", where, (int)name.size, name.data,
                       s.best.size ? hint(&s, text) : "; there are rpcs, events, tasks");
}

/* The features in a list with commas. */
static int read_list(const invocation *in, const char *where, const char *list, unsigned *named)
{
    *named = 0;
    for (const char *at = list;; at++) {
        size_t size = strcspn(at, ","), i = 0;
        lb_slice name = trim((lb_slice){at, size});
        while (i < FEATURE_COUNT && !slice_is(name, features[i].name))
            i++;
        if (i == FEATURE_COUNT)
            return unknown_feature(in, where, name);
        *named |= features[i].flag;
        at += size;
        if (!*at)
            return CLI_OK;
    }
}

int features_read(const invocation *in, unsigned *left_out)
{
    const char *environment = getenv("LIGHTBUS_FEATURES");
    unsigned only = all, skip = 0;
    int code = CLI_OK;

    if (in->only)
        code = read_list(in, "--only", in->only, &only);
    else if (!in->skip && environment && *environment)
        code = read_list(in, "LIGHTBUS_FEATURES", environment, &only);
    if (code == CLI_OK && in->skip)
        code = read_list(in, "--skip", in->skip, &skip);
    if (code != CLI_OK)
        return code;
    *left_out = all & ~(only & ~skip);
    if (*left_out == all)
        return usage_error(in, "--skip leaves nothing to run");
    return CLI_OK;
}

const char *features_text(unsigned left_out, char out[FEATURES_SIZE])
{
    size_t size = 0;

    out[0] = '\0';
    for (int i = 0; i < FEATURE_COUNT; i++)
        if (left_out & features[i].flag)
            size +=
                (size_t)snprintf(out + size, FEATURES_SIZE - size, "%s%s", size ? ", " : "", features[i].name);
    return out;
}
