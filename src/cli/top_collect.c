/* A snapshot of the bus: what is stored and who listens (lb_streams), and what processes tell of themselves
 * (the events of internal.state, read as they are stored, so that nothing is left behind on the bus).
 *
 * Rates of what the bus counts are differences to the snapshot before. APIs that were seen once stay, since
 * their listeners do, also when nobody serves them any longer. */
#include "top.h"

#include "../base/clock.h"
#include "../base/map.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SCHEMAS_EVERY_MS = 5000, LOOK_BACK_MS = 3600 * 1000, LOOK_BACK_EVENTS = 2000 };
#define STATE_EVENTS "internal.state.*"

typedef struct track {
    double value;
    int64_t at_ns;
} track;

struct top_collector {
    lb_bus *bus;
    bool internal;
    lb_value *schemas;
    int64_t schemas_at;
    map apis;            /* names that were seen */
    lb_history *reports; /* events of internal.state; NULL: not opened yet */
    bool mute;           /* the transport cannot tell what is stored */
    bool caught_up;      /* the reports that were there at the start have been read */
    top_state state;
    map tracks; /* "api\nevent[\ngroup]" -> track, of the snapshot before */
};

/* ---- Open and close --------------------------------------------------------------------------------- */

top_collector *top_collector_new(lb_bus *bus, bool internal)
{
    top_collector *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->bus = bus;
    c->internal = internal;
    return c;
}

static void free_tracks(map *tracks)
{
    for (map_entry *e = NULL; (e = map_next(tracks, e));)
        free(e->value);
    map_free(tracks);
}

void top_collector_free(top_collector *c)
{
    if (!c)
        return;
    lb_history_close(c->reports);
    lb_value_free(c->schemas);
    top_state_free(&c->state);
    free_tracks(&c->tracks);
    map_free(&c->apis);
    free(c);
}

void top_snapshot_free(top_snapshot *s)
{
    if (!s)
        return;
    arena memory = s->memory; /* it lies in it */
    arena_free(&memory);
}

static lb_status no_memory(lb_error *error) { return lb_error_set(error, LB_NO_MEMORY, "out of memory"); }

/* ---- Which APIs ------------------------------------------------------------------------------------- */

static bool is_wanted(const top_collector *c, const char *api)
{
    return c->internal || strncmp(api, "internal.", strlen("internal.")) != 0;
}

/* Parts of letters, digits, "_" and "-", with dots between. Reports may hold anything (S32). */
static bool is_name(const char *name, size_t size)
{
    bool part = false;
    for (const char *c = name; c < name + size; c++) {
        if (*c == '.' ? !part : !isalnum((unsigned char)*c) && *c != '_' && *c != '-')
            return false;
        part = *c != '.';
    }
    return part;
}

static bool see_api(top_collector *c, const char *name, size_t size)
{
    char copy[256];
    if (size >= sizeof copy || !is_name(name, size))
        return true;
    memcpy(copy, name, size);
    copy[size] = '\0';
    return !is_wanted(c, copy) || map_put(&c->apis, name, size, c);
}

/* The size of "api" in "api.event". */
static size_t api_size(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : 0;
}

static bool see_apis(top_collector *c)
{
    bool good = true;
    for (lb_value_iterator it = lb_value_iterate(c->schemas); lb_value_next(&it);)
        good = good && see_api(c, it.name, it.name_size);
    for (const top_process *p = c->state.processes; p; p = p->next) {
        for (lb_value_iterator it = lb_value_iterate(p->api_names); lb_value_next(&it);)
            good = good && see_api(c, lb_value_str(it.value), lb_value_str_size(it.value));
        for (lb_value_iterator it = lb_value_iterate(p->listening_for); lb_value_next(&it);)
            if (lb_value_str(it.value))
                good = good && see_api(c, lb_value_str(it.value), api_size(lb_value_str(it.value)));
    }
    return good;
}

static lb_status load_schemas(top_collector *c, lb_error *error)
{
    lb_value *schemas = NULL;
    if (c->schemas && clock_now() < c->schemas_at)
        return LB_OK;
    lb_status status = lb_schema_dump(c->bus, &schemas, error);
    if (status != LB_OK)
        return status;
    lb_value_free(c->schemas);
    c->schemas = schemas;
    c->schemas_at = clock_in_ms(SCHEMAS_EVERY_MS);
    return LB_OK;
}

/* ---- Reports ---------------------------------------------------------------------------------------- */

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Native ids begin with milliseconds. */
static int64_t time_of(const lb_event *event) { return strtoll(lb_event_native_id(event), NULL, 10); }

/* The native id of the report to begin with: one of the last hour before the newest one. Clocks are compared
 * with that of the bus alone. */
static lb_status find_start(const top_collector *c, char id[64], lb_error *error)
{
    const lb_event *event;
    int64_t newest = 0;
    lb_history *h = lb_history_open(c->bus, STATE_EVENTS, NULL, error);
    lb_status status = h ? LB_OK : error->status;
    snprintf(id, 64, "$");
    for (int i = 0; i < LOOK_BACK_EVENTS && status == LB_OK; i++) {
        status = lb_history_next(h, &event, error);
        if (status != LB_OK || !event)
            break;
        newest = newest ? newest : time_of(event);
        if (newest - time_of(event) > LOOK_BACK_MS)
            break;
        snprintf(id, 64, "%s", lb_event_native_id(event));
    }
    lb_history_close(h);
    return status;
}

static lb_status open_reports(top_collector *c, lb_error *error)
{
    char from[64];
    lb_status status = find_start(c, from, error);
    if (status == LB_OK && !(c->reports = lb_history_open(
                                 c->bus, STATE_EVENTS,
                                 &(lb_history_options){.from = from, .flags = LB_HISTORY_OLDEST_FIRST}, error)))
        status = error->status;
    return status;
}

static bool take_report(top_collector *c, const lb_event *event)
{
    int64_t age_ms = c->caught_up ? 0 : wall_ms() - time_of(event);
    return top_state_take(&c->state, event, clock_now() - (age_ms > 0 ? age_ms : 0) * CLOCK_MS);
}

static lb_status read_reports(top_collector *c, lb_error *error)
{
    lb_status status = c->reports ? LB_OK : open_reports(c, error);
    while (status == LB_OK) {
        const lb_event *event;
        status = lb_history_next(c->reports, &event, error);
        if (status != LB_OK || !event)
            break;
        if (!lb_history_problem(c->reports) && !take_report(c, event))
            return no_memory(error);
    }
    if (status != LB_OK)
        return status;
    c->caught_up = true;
    top_state_forget(&c->state, clock_now());
    return LB_OK;
}

/* ---- Sums ------------------------------------------------------------------------------------------- */

static const top_rates unknown_rates = {.handled = NAN, .failed = NAN, .fired = NAN, .busy = NAN};

/* What is not known adds nothing. */
static void add(double *sum, double more)
{
    if (!isnan(more))
        *sum = isnan(*sum) ? more : *sum + more;
}

static bool add_rates(arena *memory, top_rates *sum, const top_rates *more)
{
    add(&sum->handled, more->handled);
    add(&sum->failed, more->failed);
    add(&sum->fired, more->fired);
    add(&sum->busy, more->busy);
    return top_histogram_merge(memory, &sum->latency, &more->latency);
}

/* ---- Making a snapshot ------------------------------------------------------------------------------ */

typedef struct making {
    top_collector *c;
    top_snapshot *s;
    arena *memory; /* the snapshot's */
    map apis, services, rpcs, events;
    map tracks; /* of this snapshot */
    int64_t now_ns;
    top_worker *worker; /* whose work is being added */
    const top_process *process;
    bool rpc, failed;
} making;

static const char *copy(making *m, const char *text)
{
    const char *made = arena_copy(m->memory, text, strlen(text));
    m->failed |= !made;
    return made ? made : "";
}

static void enlist(making *m, top_list list, top_item *item)
{
    item->next = m->s->lists[list];
    m->s->lists[list] = item;
    m->s->counts[list]++;
}

/* A new element of `size` bytes, entered in a map; NULL when memory is short. */
static void *enter(making *m, map *in, const char *name, size_t size)
{
    void *made = arena_alloc(m->memory, size);
    if (made && map_put(in, name, strlen(name), made))
        return made;
    m->failed = true;
    return NULL;
}

static top_api *api_named(making *m, const char *name)
{
    top_api *api = map_get(&m->apis, name, strlen(name));
    if (api || !(api = enter(m, &m->apis, name, sizeof *api)))
        return api;
    *api = (top_api){.name = copy(m, name),
                     .rpcs = NAN,
                     .events = NAN,
                     .processes = NAN,
                     .fired = NAN,
                     .stored = NAN,
                     .listeners = NAN,
                     .lag = NAN,
                     .pending = NAN,
                     .dead_letters = NAN,
                     .lost = NAN,
                     .calls = unknown_rates};
    enlist(m, TOP_APIS, &api->item);
    return api;
}

static top_service *service_named(making *m, const char *name)
{
    top_service *service = map_get(&m->services, name, strlen(name));
    if (service || !(service = enter(m, &m->services, name, sizeof *service)))
        return service;
    *service =
        (top_service){.name = copy(m, name), .memory = NAN, .calls = unknown_rates, .events = unknown_rates};
    enlist(m, TOP_SERVICES, &service->item);
    return service;
}

static top_member *member_named(making *m, bool rpc, const char *name)
{
    map *in = rpc ? &m->rpcs : &m->events;
    top_member *member = map_get(in, name, strlen(name));
    if (member || !(member = enter(m, in, name, sizeof *member)))
        return member;
    *member = (top_member){.name = copy(m, name), .rates = unknown_rates};
    enlist(m, rpc ? TOP_RPCS : TOP_EVENTS, &member->item);
    return member;
}

/* How much a number has changed per second since the snapshot before; NAN when it was not known there. */
static double change(making *m, double value, const char *api, const char *event, const char *group)
{
    char *key = arena_printf(m->memory, "%s\n%s\n%s", api, event, group);
    const track *before = key ? map_get(&m->c->tracks, key, strlen(key)) : NULL;
    track *now = malloc(sizeof *now);
    if (!key || !now || !map_put(&m->tracks, key, strlen(key), now)) {
        free(now);
        m->failed = true;
        return NAN;
    }
    *now = (track){value, m->now_ns};
    return before && m->now_ns > before->at_ns
               ? (value - before->value) * CLOCK_SECOND / (double)(m->now_ns - before->at_ns)
               : NAN;
}

static void add_fired(making *m, top_api *api, double total, const char *event)
{
    double fired = change(m, total, api->name, event, "");
    fired = fired >= 0 ? fired : NAN; /* the stream has begun anew */
    add(&api->fired, fired);
    add(&m->s->fired, fired);
}

/* ---- What schemas tell ------------------------------------------------------------------------------ */

static void add_members(making *m, const char *api, const lb_value *members, bool rpc)
{
    for (lb_value_iterator it = lb_value_iterate(members); lb_value_next(&it);) {
        char name[512];
        snprintf(name, sizeof name, "%s.%s", api, it.name);
        member_named(m, rpc, name);
    }
}

static void add_behind(making *m, top_api *api, double lag, double pending)
{
    add(&api->lag, lag);
    add(&api->pending, pending);
    add(&m->s->lag, lag);
    add(&m->s->pending, pending);
}

/* What the bus has not told of was never fired, and nobody listens to it. */
static void add_nothing(making *m, top_api *api)
{
    if (!isnan(api->stored))
        return;
    api->stored = api->listeners = api->dead_letters = api->lost = 0;
    add(&m->s->dead_letters, 0);
    add(&m->s->lost, 0);
    add_behind(m, api, 0, 0);
    add_fired(m, api, 0, "*");
}

static void add_api(making *m, const char *name)
{
    const lb_value *schema = lb_value_get(m->c->schemas, name);
    top_api *api = api_named(m, name);
    if (api && !m->c->mute)
        add_nothing(m, api);
    if (!api || !schema)
        return;
    api->rpcs = (double)lb_value_count(lb_value_get(schema, "rpcs"));
    api->events = (double)lb_value_count(lb_value_get(schema, "events"));
    add_members(m, name, lb_value_get(schema, "rpcs"), true);
    add_members(m, name, lb_value_get(schema, "events"), false);
}

/* ---- What processes tell ---------------------------------------------------------------------------- */

/* A top_process_work: to the process, its service, the member and its API. */
static void add_work(const top_work *work, void *data)
{
    making *m = data;
    char api_name[512];
    size_t size = api_size(work->name);
    if (!size || size >= sizeof api_name)
        return;
    snprintf(api_name, sizeof api_name, "%.*s", (int)size, work->name);
    if (!is_wanted(m->c, api_name))
        return;
    top_rates rates = {
        .handled = work->handled, .failed = work->failed, .fired = work->fired, .busy = work->busy};
    top_service *service = service_named(m, m->process->service);
    top_member *member = member_named(m, m->rpc, work->name);
    if (!service || !member || !top_work_latency(m->memory, work, &rates.latency)) {
        m->failed = true;
        return;
    }
    member->processes++;
    bool good = add_rates(m->memory, &member->rates, &rates) &&
                add_rates(m->memory, m->rpc ? &m->worker->calls : &m->worker->events, &rates) &&
                add_rates(m->memory, m->rpc ? &service->calls : &service->events, &rates);
    if (good && m->rpc) {
        top_api *api = api_named(m, api_name);
        good = api && add_rates(m->memory, &api->calls, &rates) && add_rates(m->memory, &m->s->calls, &rates);
    }
    m->failed |= !good;
}

static const char *state_of(const top_process *p, bool silent)
{
    return silent ? "silent" : isnan(p->ping_interval) ? NULL : "up";
}

static top_worker *worker_of(making *m, const top_process *p)
{
    top_worker *w = arena_alloc(m->memory, sizeof *w);
    if (!w) {
        m->failed = true;
        return NULL;
    }
    double heard = (double)(m->now_ns - p->heard_ns) / CLOCK_SECOND;
    *w = (top_worker){
        .service = copy(m, p->service),
        .name = copy(m, p->name),
        .host = copy(m, p->host),
        .silent = top_process_is_silent(p, m->now_ns),
        .pid = p->pid,
        .memory = p->memory,
        .uptime = p->last.timestamp - p->started + heard,
        .heard = heard,
        .apis = p->api_names ? (double)lb_value_count(p->api_names) : NAN,
        .listens = p->listening_for ? (double)lb_value_count(p->listening_for) : NAN,
        .calls = unknown_rates,
        .events = unknown_rates,
    };
    w->state = state_of(p, w->silent);
    enlist(m, TOP_PROCESSES, &w->item);
    return w;
}

/* That nothing was done is known of what a process serves and has not named. */
static void add_idle(making *m, const top_process *p)
{
    static const top_rates idle = {.fired = NAN};
    for (lb_value_iterator it = lb_value_iterate(p->api_names); lb_value_next(&it);) {
        const char *name = lb_value_str(it.value);
        const lb_value *rpcs = name ? lb_value_get(lb_value_get(m->c->schemas, name), "rpcs") : NULL;
        if (!rpcs || !is_wanted(m->c, name))
            continue;
        top_api *api = api_named(m, name);
        if (!api || !lb_value_count(rpcs))
            continue;
        add_rates(m->memory, &api->calls, &idle);
        for (lb_value_iterator rpc = lb_value_iterate(rpcs); lb_value_next(&rpc);) {
            char full[512];
            snprintf(full, sizeof full, "%s.%s", name, rpc.name);
            top_member *member = member_named(m, true, full);
            if (member)
                add_rates(m->memory, &member->rates, &idle);
        }
    }
}

static void add_process(making *m, const top_process *p)
{
    static const top_rates idle = {.fired = NAN}, idle_events = {.busy = NAN};
    top_worker *w = worker_of(m, p);
    if (!w || w->silent)
        return;
    top_service *service = service_named(m, p->service);
    if (!service)
        return;
    service->processes++;
    add(&service->memory, p->memory);
    for (lb_value_iterator it = lb_value_iterate(p->api_names); lb_value_next(&it);) {
        const char *name = lb_value_str(it.value);
        top_api *api = name && is_wanted(m->c, name) ? api_named(m, name) : NULL;
        if (api)
            add(&api->processes, 1);
    }
    m->worker = w;
    m->process = p;
    m->rpc = true;
    if (top_process_work(p, "rpcs", add_work, m)) {
        add_idle(m, p);
        add_rates(m->memory, &w->calls, &idle);
        add_rates(m->memory, &service->calls, &idle);
        add_rates(m->memory, &m->s->calls, &idle);
    }
    m->rpc = false;
    if (top_process_work(p, "events", add_work, m)) {
        add_rates(m->memory, &w->events, &idle_events);
        add_rates(m->memory, &service->events, &idle_events);
    }
}

/* ---- What the bus tells ----------------------------------------------------------------------------- */

static double number(const lb_value *row, const char *name)
{
    const lb_value *value = lb_value_get(row, name);
    return lb_value_type_of(value) == LB_TYPE_NULL ? NAN : lb_value_float(value);
}

static const char *text(const lb_value *row, const char *name)
{
    const char *value = lb_value_str(lb_value_get(row, name));
    return value ? value : "";
}

static void add_listener(making *m, const lb_value *stream, const lb_value *group, top_api *api)
{
    top_listener *l = arena_alloc(m->memory, sizeof *l);
    if (!l) {
        m->failed = true;
        return;
    }
    *l = (top_listener){
        .group = copy(m, text(group, "group")),
        .api = api->name,
        .event = copy(m, text(stream, "event")),
        .lag = number(group, "undelivered"),
        .pending = number(group, "pending"),
        .consumers = number(group, "consumers"),
        .dead_letters = number(group, "dead_letters"),
        .lost = number(group, "lost"),
    };
    add(&api->listeners, 1);
    l->change = change(m, l->lag + l->pending, l->api, l->event, l->group);
    enlist(m, TOP_LISTENERS, &l->item);
    add_behind(m, api, l->lag, l->pending);
    add(&api->lost, l->lost);
    add(&m->s->lost, l->lost);
}

static void add_stream(making *m, const lb_value *stream)
{
    top_api *api = api_named(m, text(stream, "api"));
    if (!api)
        return;
    add_fired(m, api, number(stream, "fired"), text(stream, "event"));
    add(&api->stored, number(stream, "stored"));
    add(&api->dead_letters, number(stream, "dead_letters"));
    add(&m->s->dead_letters, number(stream, "dead_letters"));
    add(&api->listeners, 0);
    if (!lb_value_count(lb_value_get(stream, "groups"))) {
        add_behind(m, api, 0, 0);
        add(&api->lost, 0);
        add(&m->s->lost, 0);
    }
    for (lb_value_iterator it = lb_value_iterate(lb_value_get(stream, "groups")); lb_value_next(&it);)
        add_listener(m, stream, it.value, api);
}

/* What is stored of the APIs seen; none of them when nothing can be told. */
static lb_status ask_streams(top_collector *c, lb_value **streams, lb_error *error)
{
    buffer events = {0};
    lb_status status = LB_OK;
    *streams = NULL;
    for (map_entry *e = NULL; (e = map_next(&c->apis, e));)
        buffer_printf(&events, "%s%s.*", events.size ? " " : "", e->key);
    if (events.failed || (events.size && !buffer_text(&events)))
        status = no_memory(error);
    else if (events.size)
        status = lb_streams(c->bus, events.data, streams, error);
    buffer_free(&events);
    return status;
}

/* ---- All of it -------------------------------------------------------------------------------------- */

static top_snapshot *new_snapshot(const top_collector *c)
{
    arena memory = {0};
    top_snapshot *s = arena_alloc(&memory, sizeof *s);
    if (!s)
        return NULL;
    *s = (top_snapshot){.time = (double)wall_ms() / 1000,
                        .calls = unknown_rates,
                        .fired = NAN,
                        .lag = NAN,
                        .pending = NAN,
                        .dead_letters = NAN,
                        .lost = NAN,
                        .mute = c->mute};
    s->memory = memory;
    s->url = arena_copy(&s->memory, lb_url(c->bus), strlen(lb_url(c->bus)));
    if (s->url)
        return s;
    top_snapshot_free(s);
    return NULL;
}

static bool compose(top_collector *c, top_snapshot *s, const lb_value *streams)
{
    making m = {.c = c, .s = s, .memory = &s->memory, .now_ns = clock_now()};
    for (lb_value_iterator it = lb_value_iterate(streams); lb_value_next(&it);)
        add_stream(&m, it.value);
    for (map_entry *e = NULL; (e = map_next(&c->apis, e));)
        add_api(&m, e->key);
    for (const top_process *p = c->state.processes; p; p = p->next)
        add_process(&m, p);
    free_tracks(&c->tracks);
    c->tracks = m.tracks;
    map_free(&m.apis);
    map_free(&m.services);
    map_free(&m.rpcs);
    map_free(&m.events);
    return !m.failed;
}

static lb_status look(top_collector *c, lb_value **streams, lb_error *error)
{
    lb_status status = load_schemas(c, error);
    if (status == LB_OK && !c->mute)
        status = read_reports(c, error);
    if (status == LB_OK && !see_apis(c))
        status = no_memory(error);
    if (status == LB_OK && !c->mute)
        status = ask_streams(c, streams, error);
    return status;
}

lb_status top_collect(top_collector *c, top_snapshot **snapshot, lb_error *error)
{
    lb_value *streams = NULL;
    *snapshot = NULL;
    lb_status status = look(c, &streams, error);
    if (status == LB_UNSUPPORTED) {
        c->mute = true;
        status = look(c, &streams, error);
    }
    if (status == LB_OK && (!(*snapshot = new_snapshot(c)) || !compose(c, *snapshot, streams))) {
        top_snapshot_free(*snapshot);
        *snapshot = NULL;
        status = no_memory(error);
    }
    lb_value_free(streams);
    return status;
}
