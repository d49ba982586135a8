/* What processes tell of themselves with the events of internal.state.
 *
 * A process is known by its service, name, host and number; a "stopped" that names no host ends all of that
 * name. Its last two reports are kept, since rates are differences. A process that tells nothing any longer is
 * silent once a ping is overdue, and forgotten some time later. */
#include "top.h"

#include "../base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { FORGET_SECONDS = 600, PROCESSES_MOST = 10000 };
#define OVERDUE 2.5 /* ping intervals; one may be late or lost */

/* ---- Reading events --------------------------------------------------------------------------------- */

static const lb_value *argument(const lb_event *event, const char *name)
{
    for (const lb_arg *arg = lb_args(event); arg->name; arg++)
        if (strcmp(arg->name, name) == 0)
            return arg->value.as.value;
    return NULL;
}

static double number_of(const lb_value *value)
{
    lb_value_type type = lb_value_type_of(value);
    return type == LB_TYPE_INT || type == LB_TYPE_UINT || type == LB_TYPE_FLOAT ? lb_value_float(value) : NAN;
}

static const char *text_of(const lb_value *value)
{
    const char *text = lb_value_str(value);
    return text ? text : "";
}

/* ---- Processes -------------------------------------------------------------------------------------- */

static void free_process(top_process *p)
{
    free(p->service);
    free(p->name);
    free(p->host);
    lb_value_free(p->api_names);
    lb_value_free(p->listening_for);
    lb_value_free(p->last.statistics);
    lb_value_free(p->before.statistics);
    free(p);
}

void top_state_free(top_state *s)
{
    for (top_process *p; (p = s->processes);) {
        s->processes = p->next;
        free_process(p);
    }
}

/* What an event says of who fired it. */
typedef struct sender {
    const char *service, *name, *host;
    double pid;
} sender;

static sender sender_of(const lb_event *event)
{
    return (sender){text_of(argument(event, "service_name")), text_of(argument(event, "process_name")),
                    text_of(argument(event, "hostname")), number_of(argument(event, "pid"))};
}

static bool is_of(const top_process *p, const sender *who)
{
    return strcmp(p->name, who->name) == 0 && strcmp(p->service, who->service) == 0;
}

static top_process *find(const top_state *s, const sender *who)
{
    for (top_process *p = s->processes; p; p = p->next)
        if (is_of(p, who) && strcmp(p->host, who->host) == 0 &&
            (p->pid == who->pid || (isnan(p->pid) && isnan(who->pid))))
            return p;
    return NULL;
}

static void remove_stopped(top_state *s, const sender *who)
{
    for (top_process **link = &s->processes; *link;) {
        top_process *p = *link;
        if (is_of(p, who) && (!*who->host || strcmp(p->host, who->host) == 0) &&
            (isnan(who->pid) || p->pid == who->pid)) {
            *link = p->next;
            s->count--;
            free_process(p);
        } else {
            link = &p->next;
        }
    }
}

static top_process *add(top_state *s, const sender *who)
{
    top_process *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->service = strdup(who->service);
    p->name = strdup(who->name);
    p->host = strdup(who->host);
    p->pid = who->pid;
    p->last.timestamp = p->before.timestamp = NAN;
    if (!p->service || !p->name || !p->host) {
        free_process(p);
        return NULL;
    }
    p->next = s->processes;
    s->processes = p;
    s->count++;
    return p;
}

/* A copy in place of what was there; what is not told stays. */
static bool keep(lb_value **to, const lb_value *value)
{
    lb_value *copy = value ? lb_value_copy(value) : NULL;
    if (!copy)
        return !value;
    lb_value_free(*to);
    *to = copy;
    return true;
}

static bool report(top_process *p, const lb_event *event, int64_t fired_ns)
{
    const lb_value *statistics = argument(event, "statistics"), *enabled = argument(event, "ping_enabled");
    bool pings = lb_value_type_of(enabled) != LB_TYPE_BOOL || lb_value_bool(enabled);
    lb_value_free(p->before.statistics);
    p->before = p->last;
    if (strcmp(lb_event_name(event), "worker_started") == 0) { /* it counts from zero again */
        lb_value_free(p->before.statistics);
        p->before.statistics = NULL;
    }
    p->last = (struct top_report){number_of(argument(event, "timestamp")), NULL};
    p->heard_ns = fired_ns;
    p->memory = number_of(argument(event, "max_memory_use")) * 1024; /* getrusage counts in KiB */
    p->started = number_of(argument(event, "started"));
    p->ping_interval = pings ? number_of(argument(event, "ping_interval")) : NAN;
    return keep(&p->last.statistics, statistics) && keep(&p->api_names, argument(event, "api_names")) &&
           keep(&p->listening_for, argument(event, "listening_for"));
}

bool top_state_take(top_state *s, const lb_event *event, int64_t fired_ns)
{
    const char *name = lb_event_name(event);
    sender who = sender_of(event);
    if (!*who.name)
        return true;
    if (strcmp(name, "worker_stopped") == 0) {
        remove_stopped(s, &who);
        return true;
    }
    if (strcmp(name, "worker_started") != 0 && strcmp(name, "worker_ping") != 0)
        return true;
    top_process *p = find(s, &who);
    if (!p && s->count == PROCESSES_MOST) /* S32 */
        return true;
    if (!p)
        p = add(s, &who);
    return p && report(p, event, fired_ns);
}

static double silent_seconds(const top_process *p, int64_t now_ns)
{
    double overdue = isnan(p->ping_interval) ? INFINITY : OVERDUE * p->ping_interval + 1;
    return (double)(now_ns - p->heard_ns) / CLOCK_SECOND - overdue;
}

bool top_process_is_silent(const top_process *p, int64_t now_ns) { return silent_seconds(p, now_ns) > 0; }

void top_state_forget(top_state *s, int64_t now_ns)
{
    for (top_process **link = &s->processes; *link;) {
        top_process *p = *link;
        if (silent_seconds(p, now_ns) > FORGET_SECONDS) {
            *link = p->next;
            s->count--;
            free_process(p);
        } else {
            link = &p->next;
        }
    }
}

/* ---- Between two reports ---------------------------------------------------------------------------- */

/* How much a total has grown per second; NAN when it is not told, or has begun anew. */
static double growth(const lb_value *last, const lb_value *then, const char *name, double seconds)
{
    const lb_value *before = lb_value_get(then, name);
    double more = number_of(lb_value_get(last, name)) - (before ? number_of(before) : 0);
    return more >= 0 ? more / seconds : NAN;
}

/* Its totals are less than they were: another process under the same name and number. */
static bool has_begun_anew(const lb_value *all, const lb_value *earlier, const char *total)
{
    for (lb_value_iterator it = lb_value_iterate(earlier); lb_value_next(&it);)
        if (!(number_of(lb_value_get(lb_value_get(all, it.name), total)) >=
              number_of(lb_value_get(it.value, total))))
            return true;
    return false;
}

bool top_process_work(const top_process *p, const char *kind, void (*found)(const top_work *work, void *data),
                      void *data)
{
    const lb_value *all = lb_value_get(p->last.statistics, kind);
    const lb_value *earlier = lb_value_get(p->before.statistics, kind);
    double seconds = p->last.timestamp - p->before.timestamp;
    bool calls = strcmp(kind, "rpcs") == 0;
    if (lb_value_type_of(all) != LB_TYPE_DICT || lb_value_type_of(earlier) != LB_TYPE_DICT || !(seconds > 0))
        return false;
    if (has_begun_anew(all, earlier, calls ? "calls" : "handled"))
        return false;
    for (lb_value_iterator it = lb_value_iterate(all); lb_value_next(&it);) {
        const lb_value *then = lb_value_get(earlier, it.name);
        const top_work work = {
            .name = it.name,
            .handled = growth(it.value, then, calls ? "calls" : "handled", seconds),
            .failed = growth(it.value, then, calls ? "errors" : "failed", seconds),
            .fired = calls ? NAN : growth(it.value, then, "fired", seconds),
            .busy = calls ? growth(it.value, then, "busy", seconds) : NAN,
            .last = lb_value_get(it.value, "latency"),
            .then = lb_value_get(then, "latency"),
        };
        found(&work, data);
    }
    return true;
}

/* A bucket [bound, count]. The last one may have no bound. */
static double bound_of(const lb_value *bucket)
{
    const lb_value *bound = lb_value_at(bucket, 0);
    return lb_value_type_of(bound) == LB_TYPE_NULL ? INFINITY : number_of(bound);
}

/* What was counted up to a bound. Both lists are in ascending order, so `it` goes on where it was. */
static double count_at(lb_value_iterator *it, bool *more, double bound)
{
    while (*more && bound_of(it->value) < bound)
        *more = lb_value_next(it);
    return *more && bound_of(it->value) == bound ? number_of(lb_value_at(it->value, 1)) : 0;
}

bool top_work_latency(arena *memory, const top_work *work, top_histogram *h)
{
    lb_value_iterator then = lb_value_iterate(work->then);
    bool more = lb_value_next(&then);
    for (lb_value_iterator it = lb_value_iterate(work->last); lb_value_next(&it);) {
        double bound = bound_of(it.value);
        double count = number_of(lb_value_at(it.value, 1)) - count_at(&then, &more, bound);
        if (!top_histogram_add(memory, h, bound, count))
            return false;
    }
    return true;
}
