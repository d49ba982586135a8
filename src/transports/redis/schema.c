/* Schemas on Redis: one string per API that expires, and a set of the names. */
#include "instance.h"

#include "../../base/json.h"

#define SCHEMA_PREFIX "schema:"

static lb_status schema_store(void *self, const char *const *api_names, const lb_slice *json, size_t count,
                              int ttl_s, int64_t deadline_ns, lb_error *error)
{
    redis *r = self;
    if (!count)
        return LB_OK;
    conn *c = control_lock(r, deadline_ns, error);
    if (!c)
        return error ? error->status : LB_TRANSPORT;
    for (size_t i = 0; i < count; i++) {
        command_begin(&c->out, 5);
        command_str(&c->out, "SET");
        command_prefixed(&c->out, SCHEMA_PREFIX, slice_of(api_names[i]));
        command_slice(&c->out, json[i]);
        command_str(&c->out, "EX");
        command_int(&c->out, ttl_s > 0 ? ttl_s : 1);
        command_of(&c->out, "SADD", "schemas", api_names[i], NULL);
    }
    lb_status status = conn_exchange(c, 2 * count, "storing schemas", deadline_ns, NULL, error);
    control_unlock(r);
    return status;
}

static lb_status schema_load(void *self, void (*found)(lb_slice api_name, lb_slice json, void *data),
                             void *data, int64_t deadline_ns, lb_error *error)
{
    redis *r = self;
    const reply *names = NULL, *texts = NULL;
    conn *c = control_lock(r, deadline_ns, error);
    if (!c)
        return error ? error->status : LB_TRANSPORT;
    command_of(&c->out, "SMEMBERS", "schemas", NULL);
    lb_status status = conn_exchange(c, 1, "listing schemas", deadline_ns, &names, error);
    size_t count = 0;
    if (status == LB_OK)
        for (const reply *name = reply_first(names); name; name = name->next)
            count++;
    if (status == LB_OK && count) {
        command_begin(&c->out, count + 1);
        command_str(&c->out, "MGET");
        for (const reply *name = reply_first(names); name; name = name->next)
            command_prefixed(&c->out, SCHEMA_PREFIX, reply_text(name));
        status = conn_exchange(c, 1, "loading schemas", deadline_ns, &texts, error);
    }
    const reply *name = reply_first(names), *text = reply_first(texts);
    for (; status == LB_OK && name && text; name = name->next, text = text->next)
        if (reply_is_kept(text) && reply_is_kept(name))
            found(reply_text(name), reply_text(text), data);
    control_unlock(r);
    return status;
}

const lb_schema_transport redis_schemas = {.store = schema_store, .load = schema_load};
