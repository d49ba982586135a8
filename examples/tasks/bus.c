/* A service with tasks: it measures at intervals, sums up at times, and watches in the background. */
#include <lightbus.h>
#include <math.h>
#include <time.h>

typedef struct station {
    double total;
    int count;
} station;

/* Every two seconds, and when the worker starts. Tasks have threads of their own: what they share is locked,
 * or, as here, each has its own station. */
static lb_status measure(lb_bus *bus, void *data, lb_error *error)
{
    station *s = data;
    double celsius = 20 + 5 * sin((double)time(NULL) / 600);

    s->total += celsius;
    s->count++;
    return lb_fire(bus, "weather.measured", LB_ARGS(LB("celsius", celsius), LB("average", s->total / s->count)),
                   error);
}

/* At a quarter past six in the morning, from Monday to Friday. */
static lb_status report(lb_bus *bus, void *data, lb_error *error)
{
    return lb_fire(bus, "weather.day_began", LB_ARGS(LB("at", lb_datetime_now())), error);
}

/* All the time, until the worker stops. */
static lb_status watch(lb_bus *bus, void *data, lb_error *error)
{
    while (!lb_wait_stop(bus, 60))
        lb_log(LB_LOG_INFO, "the station is still there");
    return LB_OK;
}

static const lb_member members[] = {
    LB_EVENT("measured(celsius: float, average: float)"),
    LB_EVENT("day_began(at: datetime)"),
    LB_END,
};

static const lb_api weather = {.name = "weather", .members = members};

lb_status lb_setup(lb_bus *bus, lb_error *error)
{
    static station s;
    static const lb_every_options often = {.seconds = 2, .also_run_immediately = true};
    static const lb_schedule_options careful = {.flags = LB_TASK_LOG_ERRORS};
    lb_status status = lb_register(bus, &weather, NULL, error);

    if (status == LB_OK)
        status = lb_every(bus, &often, measure, &s, error);
    if (status == LB_OK)
        status = lb_schedule(bus, "15 6 * * mon-fri", &careful, report, NULL, error);
    if (status == LB_OK)
        status = lb_background(bus, NULL, watch, NULL, error);
    return status;
}
