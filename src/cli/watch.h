/* Watching files for `lightbus run --reload`. */
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include <stdbool.h>
#include <stddef.h>

typedef struct watch {
    int fd; /* becomes readable when something happens in a watched folder; -1: not open */
    struct watched *files;
    size_t count, capacity;
} watch; /* {.fd = -1} watches nothing */

bool watch_open(watch *w); /* false: errno says why */
void watch_close(watch *w);
/* Watches that file too, whether it exists or not; where it is a symbolic link, what it points to as well. True
 * when it was not watched before. */
bool watch_add(watch *w, const char *path);
/* Reads what has happened. True when a watched file has been written, replaced or made again; with
 * `any_source`, any C file in the watched folders. */
bool watch_changed(watch *w, bool any_source);
/* A watched folder is gone, and looked for again by watch_find_lost: true when it is back, which is a change.
 */
bool watch_has_lost(const watch *w);
bool watch_find_lost(watch *w);

#endif
