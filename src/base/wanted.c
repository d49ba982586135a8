/* Streams that somebody wants to read. See wanted.h. */
#include "wanted.h"

#include <stdlib.h>

#include "json.h"

static bool keep(wanted_streams *w, lb_slice from, lb_slice *to)
{
    *to = (lb_slice){arena_copy(&w->memory, from.data, from.size), from.size};
    return to->data != NULL;
}

static wanted_stream *stream_of(wanted_streams *w, lb_slice name, lb_slice api_name)
{
    for (size_t i = 0; i < w->count; i++)
        if (slice_equal(w->items[i].name, name))
            return &w->items[i];
    wanted_stream *larger = realloc(w->items, (w->count + 1) * sizeof *larger);
    if (!larger)
        return NULL;
    w->items = larger;
    wanted_stream *s = &larger[w->count];
    *s = (wanted_stream){.events = NULL};
    if (!keep(w, name, &s->name) || !keep(w, api_name, &s->api_name))
        return NULL;
    w->count++;
    return s;
}

bool wanted_add(wanted_streams *w, lb_slice stream, lb_slice api_name, lb_slice event_name)
{
    wanted_stream *s = stream_of(w, stream, api_name);
    lb_slice *events = s ? realloc(s->events, (s->count + 1) * sizeof *events) : NULL;
    if (!events)
        return false;
    s->events = events;
    if (!keep(w, event_name, &events[s->count]))
        return false;
    s->count++;
    return true;
}

void wanted_free(wanted_streams *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->items[i].events);
    free(w->items);
    arena_free(&w->memory);
    w->items = NULL;
    w->count = 0;
}

bool wanted_has(const wanted_stream *s, lb_slice api_name, lb_slice event_name)
{
    bool legible = api_name.size && event_name.size;
    if (legible && !slice_is(s->api_name, "*") && !slice_equal(api_name, s->api_name))
        return false;
    for (size_t i = 0; i < s->count; i++)
        if (slice_is(s->events[i], "*") || (legible && slice_equal(s->events[i], event_name)))
            return true;
    return false;
}
