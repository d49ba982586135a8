/* Calls and fires in flight: their memory (kept for reuse, arena and all) and their queues. */
#include "bus.h"

#include <stdlib.h>
#include <string.h>

#define MOST_FREE  256  /* kept for reuse */
#define MOST_ARENA 8192 /* bytes kept in each */

lb_pending *pending_new(lb_bus *bus, lb_pending **free_list, size_t *free_count)
{
    lb_pending *p = *free_list;
    if (p) {
        *free_list = p->next;
        --*free_count;
    } else if (!(p = calloc(1, sizeof *p))) {
        return NULL;
    }
    p->bus = bus;
    p->next = NULL;
    return p;
}

static void pending_clear(lb_pending *p)
{
    api_schema_unref(p->schema);
    lb_value_free(p->result);
    free(p->error);
    arena memory = p->memory;
    arena_reset(&memory, MOST_ARENA);
    *p = (lb_pending){.memory = memory};
}

void pending_recycle(lb_pending *p, lb_pending **free_list, size_t *free_count)
{
    if (*free_count >= MOST_FREE) {
        pending_free(p);
        return;
    }
    pending_clear(p);
    p->next = *free_list;
    *free_list = p;
    ++*free_count;
}

void pending_free(lb_pending *p)
{
    if (!p)
        return;
    pending_clear(p);
    arena_free(&p->memory);
    free(p);
}

lb_status pending_prepare(lb_pending *p, const char *name, const lb_arg *args, bool api_required, lb_slice *api,
                          lb_slice *member, lb_kwarg **kwargs, size_t *count, lb_error *error)
{
    lb_status status = name_split(name, api, member, error);
    if (status == LB_OK && slice_is(*member, "*"))
        status = lb_error_set(error, LB_INVALID_NAME, "%s: expected the name of one procedure or event", name);
    if (status == LB_OK && p->bus->closing)
        status = lb_error_set(error, LB_CLOSED, "%s: the bus is being closed", name);
    if (status != LB_OK)
        return status;
    const api_settings settings = bus_settings(p->bus, *api);
    bool is_event = p->kind == PENDING_FIRE;
    api_required = api_required || settings.strict_validation;
    status = schemas_find(p->bus, *api, *member, is_event, api_required, p->deadline_ns, &p->schema, &p->member,
                          error);
    if (status == LB_UNKNOWN_MEMBER && !is_event && !(settings.outgoing & MARSHAL_VALIDATE))
        status = LB_OK; /* the worker may know better */
    if (status != LB_OK)
        return status;
    status = arguments_encode(*api, p->member, settings.outgoing, args, &p->memory, kwargs, count, error);
    if (status != LB_OK)
        return status;
    char *copy = arena_copy(&p->memory, name, strlen(name));
    if (!copy)
        return lb_error_set(error, LB_NO_MEMORY, "%s: out of memory", name);
    *member = (lb_slice){copy + api->size + 1, member->size};
    *api = (lb_slice){copy, api->size};
    uuid_text(p->id);
    return LB_OK;
}

lb_status pending_outcome(const lb_pending *p, lb_error *error)
{
    if (p->status != LB_OK && error) {
        if (p->error)
            *error = *p->error;
        else
            lb_error_set(error, p->status, "%s", lb_status_text(p->status));
    }
    return p->status;
}

void pending_fail(lb_pending *p, lb_status status, const lb_error *error)
{
    p->status = status;
    if (error && (p->error || (p->error = malloc(sizeof *p->error))))
        *p->error = *error;
}

void queue_push(pending_queue *q, lb_pending *p)
{
    if (!q->first)
        q->last = &q->first;
    p->next = NULL;
    *q->last = p;
    q->last = &p->next;
    q->count++;
}

lb_pending *queue_pop(pending_queue *q)
{
    lb_pending *p = q->first;
    if (p) {
        q->first = p->next;
        q->count--;
    }
    return p;
}

void queue_remove(pending_queue *q, lb_pending *p)
{
    for (lb_pending **at = &q->first; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            if (!p->next)
                q->last = at;
            q->count--;
            return;
        }
}
