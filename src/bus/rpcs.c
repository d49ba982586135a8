/* The worker side of RPCs: threads that take calls, handle them and answer, each on a consumer of its own.
 * Results ride with the next fetch; a call that takes long makes those before it be sent first. */
#include "bus.h"

#include <stdlib.h>
#include <string.h>

#define MOST_THREADS   64
#define MOST_BATCH     64
#define HOLD_BACK      CLOCK_MS       /* results wait for each other so long, at most */
#define BATCH_IS_SHORT (CLOCK_MS)     /* a full batch that took less: take more at once */
#define BATCH_IS_LONG  (2 * CLOCK_MS) /* other workers could have had some of these calls: take fewer */

/* The request that this thread handles. */
static _Thread_local struct {
    lb_bus *bus;
    struct client *client; /* it came through this one */
    int64_t deadline_ns;
} current = {NULL, NULL, LB_FOREVER};

int64_t handler_deadline(void)
{
    int64_t stop = worker_stop_deadline();
    return current.deadline_ns < stop ? current.deadline_ns : stop;
}

/* ---- One call --------------------------------------------------------------------------------------- */

static void refuse(lb_request *r, const char *type, const char *message)
{
    lb_log(LB_LOG_WARNING, "call %s is refused: %s", lb_request_id(r), message);
    request_fail(r, type, message, message);
}

static void run_handler(lb_request *r, const local_api *local)
{
    const lb_member *row = r->message.member->row;
    lb_status status = row->handler(r, local->data);
    if (r->deferred)
        return;
    if (r->message.misuse.status != LB_OK)
        request_fail(r, "Usage", r->message.misuse.message, r->message.misuse.message);
    else if (!r->answered && status != LB_OK)
        lb_fail(r, lb_status_name(status), "the handler failed: %s", lb_status_text(status));
    else if (!r->answered)
        lb_return_datum(r, lb_datum_null());
}

static void run_with_hooks(lb_request *r, const local_api *local)
{
    if (!hooks_before_execution(r))
        return;
    run_handler(r, local);
    if (!r->deferred)
        hooks_after_execution(r);
}

static void execute(lb_request *r, const local_api *local)
{
    lb_bus *bus = r->message.bus;
    current.bus = bus;
    current.client = route_of(bus, r->message.api_name)->client;
    current.deadline_ns = r->deadline_ns;
    if (hooks_at(bus, HOOKS_OF_RPC_HANDLERS))
        run_with_hooks(r, local);
    else
        run_handler(r, local);
    current.bus = NULL;
    current.deadline_ns = LB_FOREVER;
}

/* Fills r->out with the answer, unless it is deferred. */
static void answer(lb_request *r)
{
    const lb_rpc_message *rpc = r->rpc;
    lb_error error = {0};
    const local_api *local = schemas_local(r->message.bus, rpc->api_name);
    if (rpc->problem) {
        refuse(r, "MalformedCall", rpc->problem);
        return;
    }
    if (!local) {
        lb_error_set(&error, LB_UNKNOWN_API, "this worker does not serve API %.*s", (int)rpc->api_name.size,
                     rpc->api_name.data);
        refuse(r, "UnknownApi", error.message);
        return;
    }
    r->message.member = api_schema_find(local->schema, rpc->procedure_name, false);
    r->schema = local->schema;
    if (!r->message.member) {
        lb_error_set(&error, LB_UNKNOWN_MEMBER, "API %.*s has no procedure \"%.*s\"", (int)rpc->api_name.size,
                     rpc->api_name.data, (int)rpc->procedure_name.size, rpc->procedure_name.data);
        refuse(r, "UnknownProcedure", error.message);
        return;
    }
    if (arguments_accept(rpc->api_name, r->message.member, bus_settings(r->message.bus, rpc->api_name).incoming,
                         r->message.memory, &r->message.kwargs, &r->message.count, &error) != LB_OK) {
        refuse(r, "InvalidArguments", error.message);
        return;
    }
    execute(r, local);
}

static void handle(rpc_thread *t, const lb_rpc_message *rpc)
{
    lb_bus *bus = t->bus;
    lb_error error = {0};
    int64_t longest = clock_in_ms(route_of(bus, rpc->api_name)->rpc_timeout_ms);
    arena_reset(&t->memory, 65536);
    buffer_clear(&t->out, 1 << 20);
    lb_request r = {
        .message = {.bus = bus,
                    .api_name = rpc->api_name,
                    .name = rpc->procedure_name,
                    .kwargs = rpc->kwargs,
                    .count = rpc->kwargs_count,
                    .memory = &t->memory},
        .rpc = rpc,
        .out = &t->out,
        .deadline_ns = rpc->deadline_ns < longest ? rpc->deadline_ns : longest,
    };
    answer(&r);
    if (r.deferred)
        return;
    if (t->out.failed) {
        buffer_clear(&t->out, 0);
        request_fail(&r, "NO_MEMORY", "the worker is out of memory", "");
    }
    if (t->out.failed) {
        lb_log(LB_LOG_ERROR, "call %s is not answered: out of memory", lb_request_id(&r));
        return;
    }
    if (!rpc->id.size || !rpc->return_path.size)
        return; /* cannot be answered; it was logged */
    char id[UUID_TEXT + 1];
    uuid_text(id);
    lb_result_message result = {
        .id = {id, UUID_TEXT},
        .rpc_message_id = rpc->id,
        .return_path = rpc->return_path,
        .error = r.failed,
        .json = {t->out.data, t->out.size},
        .trace = r.trace,
    };
    const instance *to = t->client->result;
    void *consumer = to == t->client->rpc ? t->consumer : NULL;
    lb_status status =
        to->transport->result->send(to->self, consumer, &result, 1, clock_in_ms(bus->rpc_timeout_ms), &error);
    if (status != LB_OK)
        lb_log(LB_LOG_ERROR, "the result of call %s was not sent: %s", lb_request_id(&r), error.message);
}

static void handle_batch(void *argument)
{
    rpc_thread *t = argument;
    lb_bus *bus = t->bus;
    int64_t sent = clock_now();
    for (size_t i = 0; i < t->count; i++) {
        handle(t, &t->calls[i]);
        int64_t now = t->count > 1 ? clock_now() : sent;
        if (now - sent > HOLD_BACK) {
            lb_error error = {0};
            if (t->client->rpc->transport->rpc->flush(t->consumer, clock_in_ms(bus->rpc_timeout_ms), &error) !=
                LB_OK)
                lb_log(LB_LOG_WARNING, "results could not be sent: %s", error.message);
            sent = now;
        }
    }
}

/* ---- The thread ------------------------------------------------------------------------------------- */

static lb_status open_consumer(rpc_thread *t, lb_error *error)
{
    lb_bus *bus = t->bus;
    const instance *rpc = t->client->rpc;
    const char **names = malloc((bus->schemas.count + 1) * sizeof *names);
    size_t count = 0;
    void *consumer = NULL;
    if (!names)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory while starting to serve");
    for (size_t i = 0; i < bus->schemas.count; i++) {
        const char *name = bus->schemas.order[i]->api->name;
        if (route_of(bus, slice_of(name))->client == t->client)
            names[count++] = name;
    }
    lb_status status = rpc->transport->rpc->consumer_open(rpc->self, names, count,
                                                          clock_in_ms(bus->rpc_timeout_ms), &consumer, error);
    free(names);
    pthread_mutex_lock(&bus->worker.lock);
    t->consumer = consumer;
    pthread_mutex_unlock(&bus->worker.lock);
    return status;
}

static void serve(rpc_thread *t)
{
    lb_bus *bus = t->bus;
    const lb_rpc_transport *rpc = t->client->rpc->transport->rpc;
    size_t most = 1;
    unsigned failures = 0;
    while (!worker_stopping(bus)) {
        lb_error error = {0};
        t->count = 0;
        lb_status status = rpc->fetch(t->consumer, most, LB_FOREVER, &t->calls, &t->count, &error);
        if (status != LB_OK) {
            lb_log(failures ? LB_LOG_DEBUG : LB_LOG_WARNING, "waiting for calls: %s; trying again",
                   error.message);
            worker_pause(bus, failures++);
            continue;
        }
        if (failures) {
            lb_log(LB_LOG_INFO, "waiting for calls again");
            failures = 0;
        }
        if (!t->count)
            continue;
        int64_t began = clock_now();
        worker_run(bus, handle_batch, t);
        int64_t took = clock_now() - began;
        if (took > BATCH_IS_LONG && most > 1)
            most /= 2;
        else if (took < BATCH_IS_SHORT && t->count == most && most < MOST_BATCH)
            most *= 2;
    }
}

static void *rpc_thread_main(void *argument)
{
    rpc_thread *t = argument;
    lb_bus *bus = t->bus;
    lb_error error = {0};
    if (t->extra) /* nobody waits for it to be ready, and without it the worker serves as before */
        worker_ready(bus);
    lb_status status = open_consumer(t, &error);
    for (unsigned failures = 0; status != LB_OK && t->extra && worker_pause(bus, failures++);)
        status = open_consumer(t, &error);
    if (status != LB_OK && !t->extra)
        worker_fail(bus, status, &error);
    if (!t->extra)
        worker_ready(bus);
    if (status == LB_OK) {
        serve(t);
        pthread_mutex_lock(&bus->worker.lock);
        void *consumer = t->consumer;
        t->consumer = NULL;
        pthread_mutex_unlock(&bus->worker.lock);
        t->client->rpc->transport->rpc->consumer_close(consumer);
    }
    worker_thread_ends(bus);
    return NULL;
}

/* worker.lock is held */
static bool start_thread(struct client *c, bool extra)
{
    lb_bus *bus = c->bus;
    struct worker *w = &bus->worker;
    rpc_thread *t = calloc(1, sizeof *t);
    if (!t)
        return false;
    t->bus = bus;
    t->client = c;
    t->extra = extra;
    if (!worker_spawn(bus, &t->thread, rpc_thread_main, t)) {
        free(t);
        return false;
    }
    t->next = w->rpcs;
    w->rpcs = t;
    c->rpc_count++;
    return true;
}

static bool has_local_api(const struct client *c)
{
    const struct schemas *s = &c->bus->schemas;
    for (size_t i = 0; i < s->count; i++) {
        lb_slice name = slice_of(s->order[i]->api->name);
        if (!api_is_internal(name) && route_of(c->bus, name)->client == c) /* those of plugins have no RPCs */
            return true;
    }
    return false;
}

bool rpc_threads_start(lb_bus *bus)
{
    for (struct client *c = bus->clients; c; c = c->next) {
        c->rpc_count = c->rpc_waiting = 0;
        for (int i = 0; has_local_api(c) && i < bus->rpc_concurrency; i++)
            if (!start_thread(c, false))
                return false;
    }
    return true;
}

/* ---- Calls that handlers make ----------------------------------------------------------------------- */

/* When every thread that serves RPCs waits in a call of its own, a call to this very service would have nobody
 * to handle it: one more thread is started. */
void rpc_thread_waits(lb_bus *bus)
{
    struct worker *w = &bus->worker;
    if (current.bus != bus)
        return;
    pthread_mutex_lock(&w->lock);
    struct client *c = current.client;
    bool serving = w->state == WORKER_STARTING || w->state == WORKER_RUNNING;
    if (++c->rpc_waiting >= c->rpc_count && c->rpc_count < MOST_THREADS && serving)
        start_thread(c, true);
    pthread_mutex_unlock(&w->lock);
}

void rpc_thread_goes_on(lb_bus *bus)
{
    struct worker *w = &bus->worker;
    if (current.bus != bus)
        return;
    pthread_mutex_lock(&w->lock);
    current.client->rpc_waiting--;
    pthread_mutex_unlock(&w->lock);
}
