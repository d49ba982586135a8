/* What this process knows of the APIs on the bus: its own, those loaded from files, and those that others
 * publish. They count in this order. */
#include "bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../schema/compatibility.h"

#define LOOK_AGAIN_MS     1000 /* an unknown API or member is looked for on the bus this often, at most */
#define REFRESH_SHARE(ms) ((ms)*4 / 5) /* of the TTL, as Python does */

void schemas_init(struct schemas *s)
{
    pthread_rwlock_init(&s->lock, NULL);
    pthread_mutex_init(&s->gate, NULL);
    monotonic_cond_init(&s->left);
}

void schemas_after_fork(struct schemas *s)
{
    schemas_init(s);
    s->entered = false;
}

static void local_free(local_api *l)
{
    if (l)
        api_schema_unref(l->schema);
    free(l);
}

void schemas_free(struct schemas *s)
{
    for (size_t i = 0; i < s->count; i++)
        local_free(s->order[i]);
    for (map_entry *e = NULL; (e = map_next(&s->remote, e));)
        api_schema_unref(e->value);
    for (map_entry *e = NULL; (e = map_next(&s->loaded, e));)
        api_schema_unref(e->value);
    free(s->order);
    map_free(&s->local);
    map_free(&s->loaded);
    map_free(&s->remote);
    pthread_rwlock_destroy(&s->lock);
    pthread_mutex_destroy(&s->gate);
    pthread_cond_destroy(&s->left);
}

bool schemas_enter(struct schemas *s, int64_t deadline_ns)
{
    pthread_mutex_lock(&s->gate);
    while (s->entered && monotonic_wait(&s->left, &s->gate, deadline_ns) != ETIMEDOUT)
        ;
    bool enters = !s->entered;
    s->entered = true;
    pthread_mutex_unlock(&s->gate);
    return enters;
}

void schemas_leave(struct schemas *s)
{
    pthread_mutex_lock(&s->gate);
    s->entered = false;
    pthread_cond_signal(&s->left);
    pthread_mutex_unlock(&s->gate);
}

static lb_status others_are_at_it(lb_error *error)
{
    return lb_error_set(error, LB_TIMEOUT, "another thread still waits for the schemas on the bus");
}

/* ---- Local ------------------------------------------------------------------------------------------ */

lb_status lb_register(lb_bus *bus, const lb_api *api, void *data, lb_error *error)
{
    struct schemas *s = &bus->schemas;
    if (!api || !api->name || !api->members)
        return lb_error_set(error, LB_USAGE, "lb_register: expected an API with a name and members");
    if (!worker_registering(bus, "lb_register", error))
        return LB_USAGE;
    api_schema *schema;
    lb_status status = api_schema_from_table(api, &schema, error);
    if (status != LB_OK)
        return status;
    local_api *local = malloc(sizeof *local);
    pthread_rwlock_wrlock(&s->lock);
    local_api **order = realloc(s->order, (s->count + 1) * sizeof *order);
    if (order)
        s->order = order;
    if (map_get(&s->local, api->name, strlen(api->name)))
        status = lb_error_set(error, LB_DUPLICATE, "API %s is registered already", api->name);
    else if (!local || !order || !map_put(&s->local, api->name, strlen(api->name), local))
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory while registering API %s", api->name);
    if (status == LB_OK) {
        *local = (local_api){api, data, schema};
        s->order[s->count++] = local;
        __atomic_store_n(&s->announce_at, 0, __ATOMIC_RELEASE);
    }
    pthread_rwlock_unlock(&s->lock);
    if (status != LB_OK) {
        api_schema_unref(schema);
        free(local);
    }
    return status;
}

lb_status lb_unregister(lb_bus *bus, const char *api_name, lb_error *error)
{
    struct schemas *s = &bus->schemas;
    if (!api_name)
        return lb_error_set(error, LB_USAGE, "lb_unregister: expected the name of an API, got NULL");
    if (!worker_registering(bus, "lb_unregister", error))
        return LB_USAGE;
    pthread_rwlock_wrlock(&s->lock);
    local_api *local = map_remove(&s->local, api_name, strlen(api_name));
    for (size_t i = 0; local && i < s->count; i++)
        if (s->order[i] == local) {
            memmove(s->order + i, s->order + i + 1, (s->count - i - 1) * sizeof *s->order);
            s->count--;
            break;
        }
    pthread_rwlock_unlock(&s->lock);
    if (!local)
        return lb_error_set(error, LB_UNKNOWN_API, "API %s is not registered", api_name);
    local_free(local);
    return LB_OK;
}

bool api_is_internal(lb_slice api_name)
{
    const lb_slice prefix = slice_of("internal.");
    return api_name.size > prefix.size && memcmp(api_name.data, prefix.data, prefix.size) == 0;
}

bool schemas_serve(const lb_bus *bus)
{
    for (size_t i = 0; i < bus->schemas.count; i++)
        if (!api_is_internal(slice_of(bus->schemas.order[i]->api->name)))
            return true;
    return false;
}

const local_api *schemas_local(lb_bus *bus, lb_slice api_name)
{
    pthread_rwlock_rdlock(&bus->schemas.lock);
    const local_api *local = map_get(&bus->schemas.local, api_name.data, api_name.size);
    pthread_rwlock_unlock(&bus->schemas.lock);
    return local;
}

lb_status schemas_store(lb_bus *bus, int64_t deadline_ns, lb_error *error)
{
    struct schemas *s = &bus->schemas;
    if (!schemas_enter(s, deadline_ns))
        return others_are_at_it(error);
    pthread_rwlock_rdlock(&s->lock);
    size_t count = s->count;
    const char **names = malloc((count + 1) * sizeof *names);
    lb_slice *texts = malloc((count + 1) * sizeof *texts);
    api_schema **schemas = malloc((count + 1) * sizeof *schemas);
    lb_status status = LB_OK;
    if (!names || !texts || !schemas) {
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory while publishing schemas");
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        schemas[i] = api_schema_ref(s->order[i]->schema);
        names[i] = api_schema_name(schemas[i]).data;
        texts[i] = api_schema_json(schemas[i]);
    }
    pthread_rwlock_unlock(&s->lock);
    if (status == LB_OK && count)
        status = bus->schema->transport->schema->store(bus->schema->self, names, texts, count,
                                                       bus->schema_ttl_s, deadline_ns, error);
    schemas_leave(s);
    for (size_t i = 0; i < count; i++)
        api_schema_unref(schemas[i]);
    free(names);
    free(texts);
    free(schemas);
    return status;
}

static void announce(lb_bus *bus, int64_t now)
{
    lb_error error = {0};
    int64_t deadline = clock_in_ms(LOOK_AGAIN_MS), stop = worker_stop_deadline();
    if (schemas_store(bus, deadline < stop ? deadline : stop, &error) == LB_OK)
        return;
    lb_log(LB_LOG_WARNING, "the schemas of this process could not be published: %s", error.message);
    __atomic_store_n(&bus->schemas.announce_at, now + LOOK_AGAIN_MS * CLOCK_MS, __ATOMIC_RELEASE);
}

void schemas_announce(lb_bus *bus, int64_t now)
{
    int64_t *at = &bus->schemas.announce_at, due = __atomic_load_n(at, __ATOMIC_ACQUIRE);
    int64_t next = now + REFRESH_SHARE((int64_t)bus->schema_ttl_s * CLOCK_SECOND);
    if (now < due || !__atomic_compare_exchange_n(at, &due, next, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return;            /* not yet, or another thread does it */
    if (!worker_runs(bus)) /* else its timer does it */
        announce(bus, now);
}

/* ---- Remote ----------------------------------------------------------------------------------------- */

struct load {
    lb_bus *bus;
    map found;
    bool failed;
};

/* One corrupt schema is not taken, and does not keep the others from being taken. */
static void load_one(lb_slice api_name, lb_slice json, void *data)
{
    struct load *load = data;
    struct schemas *s = &load->bus->schemas;
    lb_error error = {0};
    pthread_rwlock_rdlock(&s->lock);
    bool is_local = map_get(&s->local, api_name.data, api_name.size) != NULL;
    api_schema *known = map_get(&s->remote, api_name.data, api_name.size);
    api_schema *schema = known && slice_equal(api_schema_json(known), json) ? api_schema_ref(known) : NULL;
    pthread_rwlock_unlock(&s->lock);
    if (is_local)
        return;
    if (!schema && api_schema_from_json(api_name, json, &schema, &error) != LB_OK) {
        lb_log(LB_LOG_WARNING, "the schema of API %.*s on the bus is ignored: %s", (int)api_name.size,
               api_name.data, error.message);
        return;
    }
    api_schema *twice = map_get(&load->found, api_name.data, api_name.size);
    if (!map_put(&load->found, api_name.data, api_name.size, schema)) {
        api_schema_unref(schema);
        load->failed = true;
    } else {
        api_schema_unref(twice);
    }
}

/* This thread has entered. */
static lb_status load(lb_bus *bus, int64_t deadline_ns, lb_error *error)
{
    struct schemas *s = &bus->schemas;
    struct load l = {.bus = bus};
    lb_error own = {0};
    if (!error)
        error = &own;
    lb_status status =
        bus->schema->transport->schema->load(bus->schema->self, load_one, &l, deadline_ns, error);
    if (status == LB_TRANSPORT && clock_now() < deadline_ns) /* the connection had died meanwhile: a new one */
        status = bus->schema->transport->schema->load(bus->schema->self, load_one, &l, deadline_ns, error);
    if (status == LB_OK && l.failed)
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory while loading schemas");
    if (status == LB_OK) {
        pthread_rwlock_wrlock(&s->lock);
        map old = s->remote;
        s->remote = l.found;
        l.found = old;
        pthread_rwlock_unlock(&s->lock);
        __atomic_store_n(&s->loaded_at, clock_now(), __ATOMIC_RELEASE);
    }
    s->failure = status == LB_OK ? (lb_error){.status = LB_OK} : *error;
    __atomic_store_n(&s->looked_at, clock_now(), __ATOMIC_RELEASE);
    for (map_entry *e = NULL; (e = map_next(&l.found, e));)
        api_schema_unref(e->value);
    map_free(&l.found);
    return status;
}

lb_status schemas_load(lb_bus *bus, int64_t deadline_ns, lb_error *error)
{
    if (!schemas_enter(&bus->schemas, deadline_ns))
        return others_are_at_it(error);
    lb_status status = load(bus, deadline_ns, error);
    schemas_leave(&bus->schemas);
    return status;
}

void schemas_refresh(lb_bus *bus)
{
    lb_error error = {0};
    if (schemas_load(bus, clock_in_ms(bus->rpc_timeout_ms), &error) != LB_OK)
        lb_log(LB_LOG_WARNING, "the schemas on the bus could not be loaded: %s", error.message);
}

static bool older_than(const int64_t *time, int64_t age_ms)
{
    int64_t at = __atomic_load_n(time, __ATOMIC_ACQUIRE);
    return at == 0 || clock_now() - at >= age_ms * CLOCK_MS;
}

/* Looks for what is not known. What another thread finds while this one waits for it counts, a failure too. */
static lb_status look_on_bus(lb_bus *bus, int64_t deadline_ns, lb_error *error)
{
    struct schemas *s = &bus->schemas;
    const int64_t began = clock_now();
    lb_status status;
    if (!older_than(&s->loaded_at, LOOK_AGAIN_MS))
        return LB_OK;
    if (!schemas_enter(s, deadline_ns))
        return others_are_at_it(error);
    if (__atomic_load_n(&s->looked_at, __ATOMIC_ACQUIRE) < began)
        status = load(bus, deadline_ns, error);
    else if ((status = s->failure.status) != LB_OK && error)
        *error = s->failure;
    schemas_leave(s);
    return status;
}

/* Renews what is known before it is too old. One thread does, for all, with half of the time that it has; the
 * others go on with what is known. */
static void keep_fresh(lb_bus *bus, int64_t deadline_ns)
{
    struct schemas *s = &bus->schemas;
    const int64_t age_ms = REFRESH_SHARE((int64_t)bus->schema_ttl_s * 1000), now = clock_now();
    lb_error error = {0};
    if (!older_than(&s->loaded_at, age_ms) || !older_than(&s->looked_at, LOOK_AGAIN_MS) || !schemas_enter(s, 0))
        return;
    if (older_than(&s->loaded_at, age_ms) && load(bus, now + (deadline_ns - now) / 2, &error) != LB_OK)
        lb_log(LB_LOG_WARNING, "the schemas on the bus could not be loaded: %s", error.message);
    schemas_leave(s);
}

static void look_up(struct schemas *s, lb_slice api_name, lb_slice name, bool is_event, api_schema **schema,
                    const member_schema **member)
{
    pthread_rwlock_rdlock(&s->lock);
    const local_api *local = map_get(&s->local, api_name.data, api_name.size);
    *schema = local ? local->schema : map_get(&s->loaded, api_name.data, api_name.size);
    if (!*schema)
        *schema = map_get(&s->remote, api_name.data, api_name.size);
    *schema = *schema ? api_schema_ref(*schema) : NULL;
    pthread_rwlock_unlock(&s->lock);
    *member = *schema ? api_schema_find(*schema, name, is_event) : NULL;
}

static lb_status unknown_member(const api_schema *schema, lb_slice api_name, lb_slice name, bool is_event,
                                lb_error *error)
{
    buffer members = {0};
    for (size_t i = 0; i < api_schema_count(schema); i++) {
        const member_schema *m = api_schema_at(schema, i);
        if (m->is_event == is_event)
            buffer_printf(&members, "%s%s", members.size ? ", " : "", m->name.data);
    }
    const char *known = buffer_text(&members);
    lb_status status = lb_error_set(error, LB_UNKNOWN_MEMBER, "API %.*s has no %s \"%.*s\"; it has: %.300s",
                                    (int)api_name.size, api_name.data, is_event ? "event" : "procedure",
                                    (int)name.size, name.data, known && *known ? known : "none");
    buffer_free(&members);
    return status;
}

static lb_status unknown_api(struct schemas *s, lb_slice api_name, lb_error *error)
{
    buffer names = {0};
    pthread_rwlock_rdlock(&s->lock);
    const map *all[] = {&s->local, &s->loaded, &s->remote};
    for (int i = 0; i < 3; i++)
        for (map_entry *e = NULL; (e = map_next(all[i], e)) && names.size < 300;)
            buffer_printf(&names, "%s%s", names.size ? ", " : "", e->key);
    pthread_rwlock_unlock(&s->lock);
    const char *known = buffer_text(&names);
    lb_status status =
        lb_error_set(error, LB_UNKNOWN_API,
                     "no API \"%.*s\" on the bus (no worker has published its schema); there are: %.300s",
                     (int)api_name.size, api_name.data, known && *known ? known : "none");
    buffer_free(&names);
    return status;
}

lb_status schemas_find(lb_bus *bus, lb_slice api_name, lb_slice name, bool is_event, bool api_required,
                       int64_t deadline_ns, api_schema **schema, const member_schema **member, lb_error *error)
{
    struct schemas *s = &bus->schemas;
    look_up(s, api_name, name, is_event, schema, member);
    if (*member) {
        if (!(*member)->row)
            keep_fresh(bus, deadline_ns);
        return LB_OK;
    }
    lb_status status = look_on_bus(bus, deadline_ns, error);
    api_schema_unref(*schema);
    look_up(s, api_name, name, is_event, schema, member);
    if (status != LB_OK)
        goto fail;
    if (*member || (!*schema && !api_required))
        return LB_OK;
    status =
        *schema ? unknown_member(*schema, api_name, name, is_event, error) : unknown_api(s, api_name, error);
fail:
    api_schema_unref(*schema);
    *schema = NULL;
    *member = NULL;
    return status;
}

bool schemas_knows(lb_bus *bus, lb_slice api_name)
{
    struct schemas *s = &bus->schemas;
    pthread_rwlock_rdlock(&s->lock);
    bool known =
        map_get(&s->remote, api_name.data, api_name.size) || map_get(&s->local, api_name.data, api_name.size);
    pthread_rwlock_unlock(&s->lock);
    return known;
}

/* ---- A new version of an API that is live --------------------------------------------------------------- */

struct comparison {
    lb_bus *bus;
    size_t breaks;
};

static void log_break(void *data, bool breaks, const char *text)
{
    (void)data;
    if (breaks)
        lb_log(LB_LOG_WARNING, "this worker breaks the API that is live on the bus: %s", text);
}

static void compare_one(lb_slice api_name, lb_slice json, void *data)
{
    struct comparison *c = data;
    lb_value *live = NULL, *ours = NULL;
    const local_api *local = schemas_local(c->bus, api_name);
    api_schema *checked = NULL;
    if (!local || api_is_internal(api_name) || /* each implementation writes those of its plugins */
        slice_equal(json, api_schema_json(local->schema)) ||
        api_schema_from_json(api_name, json, &checked, NULL) != LB_OK) /* bounded, or not looked at */
        return;
    lb_slice text = api_schema_json(local->schema);
    if (lb_value_parse(json.data, json.size, &live, NULL) == LB_OK &&
        lb_value_parse(text.data, text.size, &ours, NULL) == LB_OK)
        c->breaks += compatibility_check(api_name, live, ours, log_break, NULL);
    lb_value_free(live);
    lb_value_free(ours);
    api_schema_unref(checked);
}

void schemas_compare_with_live(lb_bus *bus)
{
    struct comparison c = {.bus = bus};
    lb_error error = {0};
    if (!bus->schemas.count)
        return;
    int64_t deadline = clock_in_ms(bus->rpc_timeout_ms);
    lb_status status = LB_OK;
    if (schemas_enter(&bus->schemas, deadline)) {
        status = bus->schema->transport->schema->load(bus->schema->self, compare_one, &c, deadline, &error);
        schemas_leave(&bus->schemas);
    } else {
        status = others_are_at_it(&error);
    }
    if (status != LB_OK)
        lb_log(LB_LOG_WARNING, "the schemas were not compared with those on the bus: %s", error.message);
    else if (c.breaks)
        lb_log(LB_LOG_WARNING, "%zu break%s; see docs/how-to/change-an-api.md", c.breaks,
               c.breaks > 1 ? "s" : "");
}
