/* A transport whose medium is this process's memory: for tests, and to be read. It needs the public headers
 * alone.
 *
 * All handles with the same URL path share one `medium`, whose mutex guards all that is in it, and whose
 * condition variable wakes all who wait for something. A transport for something real replaces the medium by a
 * connection; the rules that it must keep are the same, and tests/conformance holds it to them. */
#include "memory.h"

#include <lightbus/log.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- The medium ------------------------------------------------------------------------------------- */

typedef struct argument {
    char *name, *json;
} argument;

/* A call, a result or an event as it lies in the medium: copies of everything. */
typedef struct message {
    char *id, *api, *member, *path, *trace; /* path: the call's return path; a result's receiver */
    char *rpc_id, *json;                    /* of a result */
    argument *arguments;
    size_t count;
    int version;
    bool error;
    int64_t deadline_ns; /* of a call */
    uint64_t number;     /* of an event in its stream, from 1 */
    int64_t time_ms;
    struct message *next;
} message;

typedef struct pending {    /* an event that was given out and is not acknowledged */
    uint64_t number, owner; /* owner: a listener's number; 0: it was given back */
    char *consumer;
    int64_t lease_ns;
    int deliveries;
    struct pending *next;
} pending;

typedef struct group {
    char *name;
    uint64_t cursor; /* the last event that was given to it */
    pending *pending;
    size_t listeners;
    struct group *next;
} group;

typedef struct stream {
    char *name;
    message *first, **last;
    uint64_t count, newest;
    group *groups;
    struct stream *next;
} stream;

typedef struct schema {
    char *api, *json;
    int64_t expires_ns;
    struct schema *next;
} schema;

typedef struct medium {
    char *name;
    unsigned users;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    message *calls, *results;
    stream *streams;
    schema *schemas;
    uint64_t numbers; /* of clients and listeners */
    struct medium *next;
} medium;

static pthread_mutex_t media_lock = PTHREAD_MUTEX_INITIALIZER;
static medium *media;

typedef struct instance {
    medium *medium;
    char path[40]; /* where results for this instance go */
    int64_t lease_ms, max_length, max_size;
    bool per_event;
    message *taken;             /* results that the bus may still be reading */
    lb_value **values;          /* and what they were parsed into */
    lb_result_message *results; /* as they are given out */
    size_t value_count;
    char (*native_ids)[48]; /* of the last fires */
} instance;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* An example may end the program when memory is short; a real transport returns LB_NO_MEMORY. */
static void *allocate(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    if (!memory)
        abort();
    return memory;
}

static char *copy(lb_slice s)
{
    char *text = allocate(s.size + 1);
    if (s.size)
        memcpy(text, s.data, s.size);
    return text;
}

static lb_slice slice(const char *text)
{
    return (lb_slice){text ? text : "", text ? strlen(text) : 0};
}
static bool equal(const char *text, lb_slice s)
{
    return strlen(text) == s.size && memcmp(text, s.data, s.size) == 0;
}

static void copy_arguments(message *m, const lb_kwarg *kwargs, size_t count)
{
    m->arguments = allocate(count * sizeof *m->arguments);
    m->count = count;
    for (size_t i = 0; i < count; i++)
        m->arguments[i] = (argument){copy(kwargs[i].name), copy(kwargs[i].json)};
}

static void free_message(message *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->arguments[i].name);
        free(m->arguments[i].json);
    }
    free(m->arguments);
    free(m->id);
    free(m->api);
    free(m->member);
    free(m->path);
    free(m->trace);
    free(m->rpc_id);
    free(m->json);
    free(m);
}

static void free_messages(message *m)
{
    while (m) {
        message *next = m->next;
        free_message(m);
        m = next;
    }
}

static void append(message **list, message *m)
{
    while (*list)
        list = &(*list)->next;
    *list = m;
}

static size_t arguments_size(const lb_kwarg *kwargs, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += kwargs[i].name.size + kwargs[i].json.size;
    return size;
}

/* Waits for a change until the deadline; false: it has passed. medium.lock is held. */
static bool wait_for_change(medium *m, int64_t deadline_ns)
{
    if (deadline_ns <= now_ns())
        return false;
    if (deadline_ns == LB_FOREVER)
        return pthread_cond_wait(&m->changed, &m->lock) == 0;
    struct timespec t = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    pthread_cond_timedwait(&m->changed, &m->lock, &t);
    return true;
}

/* ---- What was given out: the messages, and the values that their JSON was parsed into --------------- */

typedef struct batch {
    message *messages; /* owned, for calls */
    lb_value **values;
    lb_kwarg *kwargs;
    size_t value_count;
} batch;

static void batch_clear(batch *b)
{
    free_messages(b->messages);
    for (size_t i = 0; i < b->value_count; i++)
        lb_value_free(b->values[i]);
    free(b->values);
    free(b->kwargs);
    *b = (batch){0};
}

/* Room for so many arguments, in one piece, so that pointers into it stay. */
static void batch_begin(batch *b, size_t arguments)
{
    b->values = allocate(arguments * sizeof *b->values);
    b->kwargs = allocate(arguments * sizeof *b->kwargs);
}

/* Parses the arguments of a message. Returns what is wrong with them, or NULL. */
static const char *batch_parse(batch *b, const message *m, const lb_kwarg **kwargs)
{
    const char *problem = NULL;
    *kwargs = b->kwargs + b->value_count;
    for (size_t i = 0; i < m->count; i++) {
        lb_value *value = NULL;
        if (lb_value_parse(m->arguments[i].json, strlen(m->arguments[i].json), &value, NULL) != LB_OK)
            problem = "an argument is not JSON";
        b->values[b->value_count] = value;
        b->kwargs[b->value_count++] = (lb_kwarg){.name = slice(m->arguments[i].name), .value = value};
    }
    return problem;
}

/* ---- Calls ------------------------------------------------------------------------------------------ */

static lb_status rpc_send(void *self, const lb_rpc_message *const *calls, size_t count, bool now,
                          int64_t deadline_ns, lb_error *error)
{
    instance *in = self;
    (void)now; /* nothing is gained by waiting */
    (void)deadline_ns;
    for (size_t i = 0; i < count; i++) /* all or none */
        if (arguments_size(calls[i]->kwargs, calls[i]->kwargs_count) > (size_t)in->max_size)
            return lb_error_set(error, LB_TOO_LARGE, "call %.*s is larger than max_message_size (%lld)",
                                (int)calls[i]->id.size, calls[i]->id.data, (long long)in->max_size);
    pthread_mutex_lock(&in->medium->lock);
    for (size_t i = 0; i < count; i++) {
        message *m = allocate(sizeof *m);
        m->id = copy(calls[i]->id);
        m->api = copy(calls[i]->api_name);
        m->member = copy(calls[i]->procedure_name);
        m->path = copy(calls[i]->return_path);
        m->deadline_ns = calls[i]->deadline_ns;
        copy_arguments(m, calls[i]->kwargs, calls[i]->kwargs_count);
        append(&in->medium->calls, m);
    }
    pthread_cond_broadcast(&in->medium->changed);
    pthread_mutex_unlock(&in->medium->lock);
    return LB_OK;
}

static void rpc_withdraw(void *self, const lb_rpc_message *const *calls, size_t count)
{
    medium *m = ((instance *)self)->medium;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < count; i++)
        for (message **at = &m->calls; *at; at = &(*at)->next)
            if (equal((*at)->id, calls[i]->id)) {
                message *gone = *at;
                *at = gone->next;
                free_message(gone);
                break;
            }
    pthread_mutex_unlock(&m->lock);
}

typedef struct consumer {
    instance *in;
    char **apis;
    size_t api_count;
    bool interrupted;
    batch batch;
    lb_rpc_message *calls;
} consumer;

static lb_status rpc_consumer_open(void *self, const char *const *api_names, size_t count, int64_t deadline_ns,
                                   void **out, lb_error *error)
{
    (void)deadline_ns;
    (void)error;
    consumer *c = allocate(sizeof *c);
    c->in = self;
    c->apis = allocate(count * sizeof *c->apis);
    for (c->api_count = 0; c->api_count < count; c->api_count++)
        c->apis[c->api_count] = copy(slice(api_names[c->api_count]));
    *out = c;
    return LB_OK;
}

/* Moves up to `max` calls from the medium to the batch; those whose deadline has passed are dropped (S2). */
static size_t take_calls(consumer *c, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < c->api_count; i++)
        for (message **at = &c->in->medium->calls; *at && count < max;) {
            message *m = *at;
            if (strcmp(m->api, c->apis[i]) != 0) {
                at = &m->next;
                continue;
            }
            *at = m->next;
            m->next = NULL;
            if (m->deadline_ns <= now_ns()) {
                free_message(m);
                continue;
            }
            append(&c->batch.messages, m);
            count++;
        }
    return count;
}

static bool is_return_path(const char *path)
{
    return strncmp(path, "memory:", 7) == 0 && path[7];
}

static lb_status rpc_fetch(void *self, size_t max, int64_t deadline_ns, const lb_rpc_message **calls,
                           size_t *count, lb_error *error)
{
    consumer *c = self;
    size_t arguments = 0, n = 0;
    (void)error;
    batch_clear(&c->batch); /* what was given out before is not needed any more */
    free(c->calls);
    pthread_mutex_lock(&c->in->medium->lock);
    while (!(*count = take_calls(c, max)) && !c->interrupted && wait_for_change(c->in->medium, deadline_ns))
        ;
    if (!*count)
        c->interrupted = false;
    pthread_mutex_unlock(&c->in->medium->lock);
    for (const message *m = c->batch.messages; m; m = m->next)
        arguments += m->count;
    batch_begin(&c->batch, arguments);
    c->calls = allocate(*count * sizeof *c->calls);
    for (const message *m = c->batch.messages; m; m = m->next, n++) {
        c->calls[n] = (lb_rpc_message){.id = slice(m->id),
                                       .api_name = slice(m->api),
                                       .procedure_name = slice(m->member),
                                       .return_path = slice(m->path),
                                       .kwargs_count = m->count,
                                       .deadline_ns = m->deadline_ns};
        c->calls[n].problem = is_return_path(m->path) ? batch_parse(&c->batch, m, &c->calls[n].kwargs)
                                                      : "the call's return path leads nowhere";
    }
    *calls = c->calls;
    return LB_OK;
}

static lb_status rpc_flush(void *self, int64_t deadline_ns, lb_error *error)
{
    (void)self; /* results are sent at once */
    (void)deadline_ns;
    (void)error;
    return LB_OK;
}

/* The contract allows signal handlers to call this, where a mutex must not be taken: a transport that waits in
 * a system call sets a flag and writes to an eventfd instead. */
static void rpc_interrupt(void *self)
{
    consumer *c = self;
    pthread_mutex_lock(&c->in->medium->lock);
    c->interrupted = true;
    pthread_cond_broadcast(&c->in->medium->changed);
    pthread_mutex_unlock(&c->in->medium->lock);
}

static void rpc_consumer_close(void *self)
{
    consumer *c = self;
    if (!c)
        return;
    batch_clear(&c->batch);
    for (size_t i = 0; i < c->api_count; i++)
        free(c->apis[i]);
    free(c->apis);
    free(c->calls);
    free(c);
}

/* ---- Results ---------------------------------------------------------------------------------------- */

static lb_slice result_return_path(void *self)
{
    return slice(((instance *)self)->path);
}

static lb_status result_send(void *self, void *owner, const lb_result_message *results, size_t count,
                             int64_t deadline_ns, lb_error *error)
{
    medium *m = ((instance *)self)->medium;
    (void)owner;
    (void)deadline_ns;
    (void)error;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < count; i++) {
        message *r = allocate(sizeof *r);
        r->path = copy(results[i].return_path);
        if (!is_return_path(r->path)) { /* nobody would fetch it */
            free_messages(r);
            continue;
        }
        r->id = copy(results[i].id);
        r->rpc_id = copy(results[i].rpc_message_id);
        r->json = copy(results[i].json.size ? results[i].json : slice("null"));
        r->trace = copy(results[i].trace);
        r->error = results[i].error;
        append(&m->results, r);
    }
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    return LB_OK;
}

static void clear_results(instance *in)
{
    free_messages(in->taken);
    in->taken = NULL;
    for (size_t i = 0; i < in->value_count; i++)
        lb_value_free(in->values[i]);
    free(in->values);
    free(in->results);
    in->values = NULL;
    in->results = NULL;
    in->value_count = 0;
}

static size_t take_results(instance *in)
{
    size_t count = 0;
    for (message **at = &in->medium->results; *at;) {
        message *m = *at;
        if (strcmp(m->path, in->path) != 0) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        m->next = NULL;
        append(&in->taken, m);
        count++;
    }
    return count;
}

static lb_status result_fetch(void *self, int64_t deadline_ns, const lb_result_message **results, size_t *count,
                              lb_error *error)
{
    instance *in = self;
    (void)error;
    clear_results(in);
    pthread_mutex_lock(&in->medium->lock);
    while (!(*count = take_results(in)) && wait_for_change(in->medium, deadline_ns))
        ;
    pthread_mutex_unlock(&in->medium->lock);
    in->values = allocate(*count * sizeof *in->values);
    in->results = allocate(*count * sizeof *in->results);
    for (const message *m = in->taken; m; m = m->next) {
        lb_result_message *r = &in->results[in->value_count];
        *r = (lb_result_message){.id = slice(m->id),
                                 .rpc_message_id = slice(m->rpc_id),
                                 .error = m->error,
                                 .trace = slice(m->trace)};
        r->status = lb_value_parse(m->json, strlen(m->json), &in->values[in->value_count], NULL);
        r->problem = r->status == LB_OK ? NULL : "the result is not JSON";
        r->result = in->values[in->value_count++];
    }
    *results = in->results;
    return LB_OK;
}

/* ---- Events: firing --------------------------------------------------------------------------------- */

static stream *find_stream(medium *m, const char *name)
{
    stream *s = m->streams;
    while (s && strcmp(s->name, name) != 0)
        s = s->next;
    if (!s) {
        s = allocate(sizeof *s);
        s->name = copy(slice(name));
        s->last = &s->first;
        s->next = m->streams;
        m->streams = s;
    }
    return s;
}

static void stream_name(const instance *in, lb_slice api, lb_slice event, char out[512])
{
    snprintf(out, 512, "%.*s.%.*s", (int)api.size, api.data, in->per_event ? (int)event.size : 1,
             in->per_event ? event.data : "*");
}

static void trim(stream *s, int64_t most)
{
    while (most && s->count > (uint64_t)most) {
        message *old = s->first;
        s->first = old->next;
        s->count--;
        free_message(old);
    }
}

static void fire_one(instance *in, lb_event_message *e, char native_id[48])
{
    char name[512];
    if (arguments_size(e->kwargs, e->kwargs_count) > (size_t)in->max_size) {
        e->status = LB_TOO_LARGE;
        e->problem = "the event is larger than max_message_size";
        return;
    }
    stream_name(in, e->api_name, e->event_name, name);
    stream *s = find_stream(in->medium, name);
    message *m = allocate(sizeof *m);
    m->id = copy(e->id);
    m->api = copy(e->api_name);
    m->member = copy(e->event_name);
    m->version = e->version;
    m->number = ++s->newest;
    m->time_ms = wall_ms();
    copy_arguments(m, e->kwargs, e->kwargs_count);
    *s->last = m;
    s->last = &m->next;
    s->count++;
    trim(s, in->max_length);
    snprintf(native_id, 48, "%lld-%llu", (long long)m->time_ms, (unsigned long long)m->number);
    e->native_id = slice(native_id);
    e->status = LB_OK;
}

static lb_status event_send(void *self, lb_event_message *const *events, size_t count, int64_t deadline_ns,
                            lb_error *error)
{
    instance *in = self;
    (void)deadline_ns;
    (void)error;
    free(in->native_ids);
    in->native_ids = allocate(count * sizeof *in->native_ids);
    pthread_mutex_lock(&in->medium->lock);
    for (size_t i = 0; i < count; i++)
        fire_one(in, events[i], in->native_ids[i]);
    pthread_cond_broadcast(&in->medium->changed);
    pthread_mutex_unlock(&in->medium->lock);
    return LB_OK;
}

/* ---- Events: listening ------------------------------------------------------------------------------ */

typedef struct listener {
    instance *in;
    uint64_t number; /* owner of what is in hand */
    char *group, *consumer;
    char **apis, **events; /* pairs */
    size_t pairs;
    char (*streams)[512]; /* names, one per pair; a later pair of the same stream has "" */
    bool interrupted;
    batch batch;
    lb_event_message *given;
    char (*native_ids)[48];
} listener;

static group *find_group(stream *s, const char *name)
{
    group *g = s->groups;
    while (g && strcmp(g->name, name) != 0)
        g = g->next;
    return g;
}

static group *add_group(stream *s, const char *name, uint64_t cursor)
{
    group *g = allocate(sizeof *g);
    g->name = copy(slice(name));
    g->cursor = cursor;
    g->next = s->groups;
    s->groups = g;
    return g;
}

static void remove_pending(pending **at)
{
    pending *p = *at;
    *at = p->next;
    free(p->consumer);
    free(p);
}

static void remove_group(stream *s, const char *name)
{
    for (group **at = &s->groups; *at; at = &(*at)->next)
        if (strcmp((*at)->name, name) == 0) {
            group *g = *at;
            *at = g->next;
            while (g->pending)
                remove_pending(&g->pending);
            free(g->name);
            free(g);
            return;
        }
}

/* The group goes with its last listener, if it is not wanted any longer: what others have in hand stays. */
static void leave_group(stream *s, const char *name, bool forget)
{
    group *g = find_group(s, name);
    g->listeners--;
    if (forget && !g->listeners)
        remove_group(s, name);
}

/* The last number before a time. */
static uint64_t before_time(const stream *s, int64_t ms)
{
    uint64_t number = s->newest - s->count;
    for (const message *m = s->first; m && m->time_ms < ms; m = m->next)
        number = m->number;
    return number;
}

/* Where a new group starts; false: `since` makes no sense. */
static bool start_of(const stream *s, const char *since, uint64_t *cursor)
{
    long long ms;
    unsigned long long number;
    struct tm t = {0};
    char *rest;
    if (strcmp(since, "$") == 0)
        *cursor = s->newest;
    else if (strcmp(since, "0") == 0)
        *cursor = s->newest - s->count;
    else if (sscanf(since, "%lld-%llu", &ms, &number) == 2 && ms > 9999)
        *cursor = number;
    else if ((rest = strptime(since, "%Y-%m-%dT%H:%M:%S", &t)) && (!*rest || *rest == 'Z' || *rest == '+'))
        *cursor = before_time(s, (int64_t)timegm(&t) * 1000);
    else
        return false;
    return true;
}

static void event_unlisten(void *self, bool forget);

static lb_status event_listen(void *self, const lb_listener_config *config, int64_t deadline_ns, void **out,
                              lb_error *error)
{
    instance *in = self;
    listener *l = allocate(sizeof *l);
    const char *since = config->since ? config->since : "$";
    bool ok = true;
    (void)deadline_ns;
    *out = NULL;
    l->in = in;
    l->group = copy(slice(config->group));
    l->consumer = copy(slice(config->consumer));
    l->apis = allocate(config->count * sizeof *l->apis);
    l->events = allocate(config->count * sizeof *l->events);
    l->streams = allocate(config->count * sizeof *l->streams);
    pthread_mutex_lock(&in->medium->lock);
    l->number = ++in->medium->numbers;
    for (size_t i = 0; i < config->count && ok; i++) {
        l->apis[i] = copy(config->api_names[i]);
        l->events[i] = copy(config->event_names[i]);
        l->pairs++;
        stream_name(in, config->api_names[i], config->event_names[i], l->streams[i]);
        for (size_t j = 0; j < i; j++)
            if (strcmp(l->streams[i], l->streams[j]) == 0)
                l->streams[i][0] = '\0';
        if (!l->streams[i][0])
            continue;
        stream *s = find_stream(in->medium, l->streams[i]);
        group *g = find_group(s, l->group);
        uint64_t start = 0;
        ok = g || start_of(s, since, &start);
        if (ok && !g)
            g = add_group(s, l->group, start);
        if (g)
            g->listeners++;
        else
            l->streams[i][0] = '\0';
    }
    pthread_mutex_unlock(&in->medium->lock);
    if (!ok) {
        event_unlisten(l, false);
        return lb_error_set(error, LB_CONFIG, "since: expected \"$\", \"0\", a native id or a time, got \"%s\"",
                            since);
    }
    *out = l;
    return LB_OK;
}

static bool wants(const listener *l, const message *m)
{
    for (size_t i = 0; i < l->pairs; i++)
        if (strcmp(l->apis[i], m->api) == 0 &&
            (strcmp(l->events[i], "*") == 0 || strcmp(l->events[i], m->member) == 0))
            return true;
    return false;
}

static const message *find_message(const stream *s, uint64_t number)
{
    const message *m = s->first;
    while (m && m->number != number)
        m = m->next;
    return m;
}

/* Something to give out: an event, and its pending record. */
typedef struct candidate {
    const message *message;
    pending *pending;
    int source;
} candidate;

/* Those that this consumer's name had before, and those whose lease is over. What was trimmed meanwhile is
 * lost, and that is said (S16). */
static size_t take_pending(listener *l, stream *s, group *g, int source, candidate *list, size_t max)
{
    size_t count = 0;
    for (pending **at = &g->pending; *at && count < max;) {
        pending *p = *at;
        bool own = p->owner != l->number && strcmp(p->consumer, l->consumer) == 0;
        if (p->owner == l->number || (!own && p->lease_ns > now_ns())) {
            at = &p->next;
            continue;
        }
        const message *m = find_message(s, p->number);
        if (!m) {
            lb_log(LB_LOG_ERROR, "%s: event %llu of %s was lost: trimmed before it was handled", g->name,
                   (unsigned long long)p->number, s->name);
            remove_pending(at);
            continue;
        }
        free(p->consumer);
        p->consumer = copy(slice(l->consumer));
        p->owner = l->number;
        p->deliveries++;
        list[count++] = (candidate){m, p, source};
        at = &p->next;
    }
    return count;
}

static size_t take_new(listener *l, stream *s, group *g, int source, candidate *list, size_t max)
{
    size_t count = 0;
    uint64_t oldest = s->newest - s->count + 1;
    if (g->cursor + 1 < oldest) {
        lb_log(LB_LOG_ERROR, "%s: %llu events of %s were lost: trimmed before they were read", g->name,
               (unsigned long long)(oldest - 1 - g->cursor), s->name);
        g->cursor = oldest - 1;
    }
    pending **end = &g->pending;
    while (*end)
        end = &(*end)->next;
    for (const message *m = s->first; m && count < max; m = m->next) {
        if (m->number <= g->cursor)
            continue;
        g->cursor = m->number;
        if (!wants(l, m))
            continue;
        pending *p = allocate(sizeof *p);
        *p = (pending){
            .number = m->number, .owner = l->number, .consumer = copy(slice(l->consumer)), .deliveries = 1};
        *end = p;
        end = &p->next;
        list[count++] = (candidate){m, p, source};
    }
    return count;
}

static size_t take_events(listener *l, candidate *list, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < l->pairs; i++) {
        if (!l->streams[i][0])
            continue;
        stream *s = find_stream(l->in->medium, l->streams[i]);
        group *g = find_group(s, l->group);
        count += take_pending(l, s, g, (int)i, list + count, max - count);
        count += take_new(l, s, g, (int)i, list + count, max - count);
    }
    for (size_t i = 0; i < count; i++)
        list[i].pending->lease_ns = now_ns() + l->in->lease_ms * 1000000;
    return count;
}

/* Copies of what is given out, since the stream may be trimmed while the bus reads it. */
static void give_out(listener *l, const candidate *list, size_t count)
{
    size_t arguments = 0;
    for (size_t i = 0; i < count; i++)
        arguments += list[i].message->count;
    batch_begin(&l->batch, arguments);
    l->given = allocate(count * sizeof *l->given);
    l->native_ids = allocate(count * sizeof *l->native_ids);
    for (size_t i = 0; i < count; i++) {
        const message *m = list[i].message;
        message *mine = allocate(sizeof *mine);
        mine->id = copy(slice(m->id));
        mine->api = copy(slice(m->api));
        mine->member = copy(slice(m->member));
        mine->arguments = allocate(m->count * sizeof *mine->arguments);
        mine->count = m->count;
        for (size_t j = 0; j < m->count; j++)
            mine->arguments[j] =
                (argument){copy(slice(m->arguments[j].name)), copy(slice(m->arguments[j].json))};
        append(&l->batch.messages, mine);
        snprintf(l->native_ids[i], sizeof *l->native_ids, "%lld-%llu", (long long)m->time_ms,
                 (unsigned long long)m->number);
        l->given[i] = (lb_event_message){.id = slice(mine->id),
                                         .api_name = slice(mine->api),
                                         .event_name = slice(mine->member),
                                         .version = m->version,
                                         .kwargs_count = m->count,
                                         .native_id = slice(l->native_ids[i]),
                                         .source = list[i].source,
                                         .deliveries = list[i].pending->deliveries};
        l->given[i].problem = batch_parse(&l->batch, mine, &l->given[i].kwargs);
    }
}

/* When the first lease of others ends. */
static int64_t next_lease(const listener *l)
{
    int64_t next = LB_FOREVER;
    for (size_t i = 0; i < l->pairs; i++) {
        group *g = l->streams[i][0] ? find_group(find_stream(l->in->medium, l->streams[i]), l->group) : NULL;
        for (const pending *p = g ? g->pending : NULL; p; p = p->next)
            if (p->owner != l->number && p->lease_ns < next)
                next = p->lease_ns;
    }
    return next;
}

static lb_status event_fetch(void *self, size_t max, int64_t deadline_ns, const lb_event_message **events,
                             size_t *count, lb_error *error)
{
    listener *l = self;
    candidate *list = allocate(max * sizeof *list);
    (void)error;
    batch_clear(&l->batch);
    free(l->given);
    free(l->native_ids);
    pthread_mutex_lock(&l->in->medium->lock);
    while (!(*count = take_events(l, list, max)) && !l->interrupted && deadline_ns > now_ns()) {
        int64_t lease = next_lease(l);
        wait_for_change(l->in->medium, lease < deadline_ns ? lease : deadline_ns);
    }
    give_out(l, list, *count);
    if (!*count)
        l->interrupted = false;
    pthread_mutex_unlock(&l->in->medium->lock);
    free(list);
    *events = l->given;
    return LB_OK;
}

/* The pending record of an event that was given out; NULL: there is none. medium.lock is held. */
static pending **find_pending(const listener *l, const lb_event_message *e)
{
    long long ms;
    unsigned long long number;
    char id[48];
    snprintf(id, sizeof id, "%.*s", (int)e->native_id.size, e->native_id.data);
    if (e->source < 0 || (size_t)e->source >= l->pairs || sscanf(id, "%lld-%llu", &ms, &number) != 2)
        return NULL;
    group *g = find_group(find_stream(l->in->medium, l->streams[e->source]), l->group);
    if (!g)
        return NULL;
    for (pending **at = &g->pending; *at; at = &(*at)->next)
        if ((*at)->number == number)
            return at;
    return NULL;
}

static lb_status event_acknowledge(void *self, const lb_event_message *const *events, size_t count,
                                   lb_error *error)
{
    listener *l = self;
    (void)error;
    pthread_mutex_lock(&l->in->medium->lock);
    for (size_t i = 0; i < count; i++) {
        pending **at = find_pending(l, events[i]);
        if (at)
            remove_pending(at);
    }
    pthread_mutex_unlock(&l->in->medium->lock);
    return LB_OK;
}

static lb_status event_renew(void *self, const lb_event_message *const *events, size_t count, bool *lost,
                             lb_error *error)
{
    listener *l = self;
    (void)error;
    pthread_mutex_lock(&l->in->medium->lock);
    for (size_t i = 0; i < count; i++) {
        pending **at = find_pending(l, events[i]);
        lost[i] = !at || (*at)->owner != l->number;
        if (!lost[i])
            (*at)->lease_ns = now_ns() + l->in->lease_ms * 1000000;
    }
    pthread_mutex_unlock(&l->in->medium->lock);
    return LB_OK;
}

static lb_status event_give_back(void *self, const lb_event_message *const *events, size_t count,
                                 lb_error *error)
{
    listener *l = self;
    (void)error;
    pthread_mutex_lock(&l->in->medium->lock);
    for (size_t i = 0; i < count; i++) {
        pending **at = find_pending(l, events[i]);
        if (at && (*at)->owner == l->number)
            (*at)->owner = 0, (*at)->lease_ns = 0;
    }
    pthread_cond_broadcast(&l->in->medium->changed);
    pthread_mutex_unlock(&l->in->medium->lock);
    return LB_OK;
}

/* A real transport keeps it where a person can look at it. */
static lb_status event_dead_letter(void *self, const lb_event_message *event, const char *reason,
                                   lb_error *error)
{
    lb_log(LB_LOG_ERROR, "dead letter %.*s: %s", (int)event->id.size, event->id.data, reason);
    return event_acknowledge(self, &event, 1, error);
}

static void event_interrupt(void *self)
{
    listener *l = self;
    pthread_mutex_lock(&l->in->medium->lock);
    l->interrupted = true;
    pthread_cond_broadcast(&l->in->medium->changed);
    pthread_mutex_unlock(&l->in->medium->lock);
}

static void event_unlisten(void *self, bool forget)
{
    listener *l = self;
    if (!l)
        return;
    batch_clear(&l->batch);
    pthread_mutex_lock(&l->in->medium->lock);
    for (size_t i = 0; i < l->pairs; i++) {
        if (l->streams[i][0])
            leave_group(find_stream(l->in->medium, l->streams[i]), l->group, forget);
        free(l->apis[i]);
        free(l->events[i]);
    }
    pthread_mutex_unlock(&l->in->medium->lock);
    free(l->apis);
    free(l->events);
    free(l->streams);
    free(l->group);
    free(l->consumer);
    free(l->given);
    free(l->native_ids);
    free(l);
}

static int64_t event_lease_ms(void *self)
{
    return ((listener *)self)->in->lease_ms;
}

/* ---- Schemas ---------------------------------------------------------------------------------------- */

static lb_status schema_store(void *self, const char *const *api_names, const lb_slice *json, size_t count,
                              int ttl_s, int64_t deadline_ns, lb_error *error)
{
    medium *m = ((instance *)self)->medium;
    (void)deadline_ns;
    (void)error;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < count; i++) {
        schema *s = m->schemas;
        while (s && strcmp(s->api, api_names[i]) != 0)
            s = s->next;
        if (!s) {
            s = allocate(sizeof *s);
            s->api = copy(slice(api_names[i]));
            s->next = m->schemas;
            m->schemas = s;
        }
        free(s->json);
        s->json = copy(json[i]);
        s->expires_ns = now_ns() + (int64_t)ttl_s * 1000000000;
    }
    pthread_mutex_unlock(&m->lock);
    return LB_OK;
}

static lb_status schema_load(void *self, void (*found)(lb_slice api_name, lb_slice json, void *data),
                             void *data, int64_t deadline_ns, lb_error *error)
{
    medium *m = ((instance *)self)->medium;
    (void)deadline_ns;
    (void)error;
    pthread_mutex_lock(&m->lock);
    for (const schema *s = m->schemas; s; s = s->next)
        if (s->expires_ns > now_ns())
            found(slice(s->api), slice(s->json), data);
    pthread_mutex_unlock(&m->lock);
    return LB_OK;
}

/* ---- Instances -------------------------------------------------------------------------------------- */

static medium *medium_join(const char *name)
{
    pthread_mutex_lock(&media_lock);
    medium *m = media;
    while (m && strcmp(m->name, name) != 0)
        m = m->next;
    if (!m) {
        pthread_condattr_t monotonic;
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        m = allocate(sizeof *m);
        m->name = copy(slice(name));
        pthread_mutex_init(&m->lock, NULL);
        pthread_cond_init(&m->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
        m->next = media;
        media = m;
    }
    m->users++;
    pthread_mutex_unlock(&media_lock);
    return m;
}

static void free_streams(medium *m)
{
    while (m->streams) {
        stream *s = m->streams;
        m->streams = s->next;
        while (s->groups)
            remove_group(s, s->groups->name);
        free_messages(s->first);
        free(s->name);
        free(s);
    }
}

/* With its last user it is gone. */
static void medium_leave(medium *m)
{
    pthread_mutex_lock(&media_lock);
    if (--m->users == 0) {
        medium **at = &media;
        while (*at != m)
            at = &(*at)->next;
        *at = m->next;
        free_messages(m->calls);
        free_messages(m->results);
        free_streams(m);
        while (m->schemas) {
            schema *s = m->schemas;
            m->schemas = s->next;
            free(s->api);
            free(s->json);
            free(s);
        }
        free(m->name);
        free(m);
    }
    pthread_mutex_unlock(&media_lock);
}

static lb_status set_option(instance *in, const char *name, const char *value, lb_error *error)
{
    int64_t unused;
    const struct {
        const char *name;
        int64_t *to;
        double scale;
    } rows[] = {{"acknowledgement_timeout", &in->lease_ms, 1000},
                {"reclaim_interval", &unused, 1000}, /* it looks when a lease ends */
                {"max_stream_length", &in->max_length, 1},
                {"max_message_size", &in->max_size, 1}};
    if (strcmp(name, "stream_use") == 0 && (strcmp(value, "per_api") == 0 || strcmp(value, "per_event") == 0)) {
        in->per_event = strcmp(value, "per_event") == 0;
        return LB_OK;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0) {
            char *end;
            double number = strtod(value, &end);
            if (end == value || *end || !(number > 0 && number < 1e15))
                return lb_error_set(error, LB_CONFIG,
                                    "memory: option %s: expected a positive number, not \"%s\"", name, value);
            *rows[i].to = (int64_t)(number * rows[i].scale);
            return LB_OK;
        }
    return lb_error_set(error, LB_CONFIG,
                        "memory: unknown option \"%s\"; there are: acknowledgement_timeout, reclaim_interval, "
                        "max_stream_length, max_message_size, stream_use=per_api|per_event",
                        name);
}

static void instance_close(void *self)
{
    instance *in = self;
    if (!in)
        return;
    clear_results(in);
    free(in->native_ids);
    if (in->medium)
        medium_leave(in->medium);
    free(in);
}

static lb_status instance_open(const lb_transport_config *config, void **self, lb_error *error)
{
    instance *in = allocate(sizeof *in);
    char *url = copy(slice(config->url)), *query = strchr(url, '?'), *save = NULL;
    lb_status status = LB_OK;
    in->lease_ms = 60000;
    in->max_length = 100000;
    in->max_size = 16 << 20;
    if (query)
        *query++ = '\0';
    for (char *item = query ? strtok_r(query, "&", &save) : NULL; item && status == LB_OK;
         item = strtok_r(NULL, "&", &save)) {
        char *value = strchr(item, '=');
        if (value)
            *value++ = '\0';
        status = set_option(in, item, value ? value : "", error);
    }
    if (status == LB_OK) {
        in->medium = medium_join(url);
        pthread_mutex_lock(&in->medium->lock);
        snprintf(in->path, sizeof in->path, "memory:%llu", (unsigned long long)++in->medium->numbers);
        pthread_mutex_unlock(&in->medium->lock);
        *self = in;
    } else {
        instance_close(in);
    }
    free(url);
    return status;
}

/* The child of a fork has a copy of the medium, which no other process sees. */
static void instance_after_fork(void *self)
{
    medium *m = ((instance *)self)->medium;
    pthread_mutex_init(&m->lock, NULL);
}

static const lb_rpc_transport memory_rpc = {
    .send = rpc_send,
    .withdraw = rpc_withdraw,
    .consumer_open = rpc_consumer_open,
    .fetch = rpc_fetch,
    .flush = rpc_flush,
    .interrupt = rpc_interrupt,
    .consumer_close = rpc_consumer_close,
};

static const lb_result_transport memory_results = {
    .return_path = result_return_path,
    .send = result_send,
    .fetch = result_fetch,
};

static const lb_event_transport memory_events = {
    .send = event_send,
    .listen = event_listen,
    .fetch = event_fetch,
    .acknowledge = event_acknowledge,
    .flush = rpc_flush,
    .renew = event_renew,
    .give_back = event_give_back,
    .dead_letter = event_dead_letter,
    .interrupt = event_interrupt,
    .unlisten = event_unlisten,
    .lease_ms = event_lease_ms,
};

static const lb_schema_transport memory_schemas = {.store = schema_store, .load = schema_load};

const lb_transport memory_transport = {
    .abi = LB_TRANSPORT_ABI,
    .size = sizeof(lb_transport),
    .name = "memory",
    .schemes = "memory",
    .open = instance_open,
    .close = instance_close,
    .after_fork = instance_after_fork,
    .rpc = &memory_rpc,
    .result = &memory_results,
    .event = &memory_events,
    .schema = &memory_schemas,
};
