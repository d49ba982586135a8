/* The streams that somebody wants to read, with the names of the events wanted of each. */
#ifndef BASE_WANTED_H
#define BASE_WANTED_H

#include <lightbus/value.h>
#include <stdbool.h>
#include <stddef.h>

#include "arena.h"

typedef struct wanted_stream {
    lb_slice name, api_name; /* of the API, "*": of any */
    lb_slice *events;        /* "*": all */
    size_t count;
} wanted_stream;

typedef struct wanted_streams {
    wanted_stream *items; /* each name once, in the order in which they were added */
    size_t count;
    arena memory; /* of the names */
} wanted_streams;

/* Adds an event, of a stream that may be there already. What is given is copied. False when memory is short;
 * wanted_free is due in either case. */
bool wanted_add(wanted_streams *w, lb_slice stream, lb_slice api_name, lb_slice event_name);
void wanted_free(wanted_streams *w);

/* Is an event of the stream wanted? Empty names: it could not be read, and is shown where all is wanted. */
bool wanted_has(const wanted_stream *s, lb_slice api_name, lb_slice event_name);

#endif
