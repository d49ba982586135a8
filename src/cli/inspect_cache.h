/* What `lightbus inspect --cache` keeps of a bus, for `--cache-only` to show without it. */
#ifndef CLI_INSPECT_CACHE_H
#define CLI_INSPECT_CACHE_H

#include <lightbus/bus.h>

#include "../base/arena.h"
#include "../base/buffer.h"

typedef struct inspect_cache inspect_cache;

/* The cache of the bus with this URL, to write to; made if need be. NULL on failure: LB_ACCESS, LB_SYSTEM. */
inspect_cache *inspect_cache_open(const char *bus_url, lb_error *error);
/* Keeps the schemas ({api: schema}) beside those of APIs that are gone, and an event as it is stored, once
 * however often it is given. They are there for others after inspect_cache_flush. */
lb_status inspect_cache_keep_schemas(inspect_cache *c, const lb_value *schemas, lb_error *error);
lb_status inspect_cache_keep(inspect_cache *c, const lb_event *event, const char *problem, lb_error *error);
lb_status inspect_cache_flush(inspect_cache *c, lb_error *error);
void inspect_cache_close(inspect_cache *c); /* NULL is allowed */

/* The URL, in `memory`, at which lb_open finds what is kept of a bus, with its history and its schemas alone.
 * NULL on failure: LB_ACCESS. */
const char *inspect_cache_url(arena *memory, const char *bus_url, lb_error *error);

#endif
