/* Names: of services and processes, with the placeholders {hostname} {pid} {random4} {random8} {random16}
 * {friendly}; and lists of events. */
#include "bus.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const adjectives[] = {
    "amber", "brave", "calm",  "clear", "crisp", "deep",   "eager",  "fair",  "fleet",  "fresh", "gentle",
    "glad",  "grand", "green", "happy", "keen",  "light",  "lively", "lucky", "mellow", "neat",  "nimble",
    "proud", "quick", "quiet", "rapid", "sharp", "silver", "smooth", "solar", "swift",  "warm"};
static const char *const nouns[] = {"acorn",  "arrow",   "beacon", "birch",  "bridge", "brook",  "canyon",
                                    "cedar",  "cloud",   "comet",  "creek",  "dune",   "falcon", "fjord",
                                    "forest", "harbour", "heron",  "island", "lake",   "maple",  "meadow",
                                    "meteor", "orchid",  "otter",  "pebble", "river",  "robin",  "sparrow",
                                    "spring", "summit",  "willow", "wren"};

static void add_random_letters(buffer *out, int count)
{
    for (int i = 0; i < count; i++)
        buffer_char(out, (char)('a' + random_u64() % 26));
}

static void add_hostname(buffer *out)
{
    char name[256] = "localhost";
    gethostname(name, sizeof name - 1);
    for (char *c = name; *c; c++)
        buffer_char(out, (char)tolower((unsigned char)*c));
}

static bool expand(buffer *out, lb_slice placeholder)
{
    if (slice_is(placeholder, "hostname"))
        add_hostname(out);
    else if (slice_is(placeholder, "pid"))
        buffer_int(out, getpid());
    else if (slice_is(placeholder, "random4"))
        add_random_letters(out, 4);
    else if (slice_is(placeholder, "random8"))
        add_random_letters(out, 8);
    else if (slice_is(placeholder, "random16"))
        add_random_letters(out, 16);
    else if (slice_is(placeholder, "friendly"))
        buffer_printf(out, "%s-%s-%d", adjectives[random_u64() % 32], nouns[random_u64() % 32],
                      (int)(random_u64() % 1000));
    else
        return false;
    return true;
}

char *name_expand(const char *pattern, const char *what, lb_error *error)
{
    buffer out = {0};
    for (const char *at = pattern; *at;) {
        const char *end = *at == '{' ? strchr(at, '}') : NULL;
        if (!end) {
            buffer_char(&out, *at++);
            continue;
        }
        lb_slice placeholder = {at + 1, (size_t)(end - at - 1)};
        if (!expand(&out, placeholder)) {
            lb_error_set(
                error, LB_CONFIG,
                "%s: unknown placeholder {%.*s}; there are {hostname} {pid} {random4} {random8} {random16} "
                "{friendly}",
                what, (int)placeholder.size, placeholder.data);
            buffer_free(&out);
            return NULL;
        }
        at = end + 1;
    }
    char *name = buffer_text(&out);
    if (!name) {
        lb_error_set(error, LB_NO_MEMORY, "out of memory while naming the %s", what);
        buffer_free(&out);
    }
    return name;
}

static bool is_separator(char c) { return c == ',' || isspace((unsigned char)c); }

lb_status names_split(char *list, lb_slice **api_names, lb_slice **event_names, size_t *count, lb_error *error)
{
    size_t most = strlen(list) / 2 + 1;
    *count = 0;
    *api_names = calloc(most, sizeof **api_names);
    *event_names = calloc(most, sizeof **event_names);
    if (!*api_names || !*event_names)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for the names of events");
    for (char *at = list; *at;) {
        if (is_separator(*at)) {
            at++;
            continue;
        }
        char *end = at;
        while (*end && !is_separator(*end))
            end++;
        char *rest = *end ? end + 1 : end;
        *end = '\0';
        lb_status status = name_split(at, *api_names + *count, *event_names + *count, error);
        if (status != LB_OK)
            return status;
        ++*count;
        at = rest;
    }
    return LB_OK;
}
