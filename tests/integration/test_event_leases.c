/* Leases from the very start (S12): a listener that opens late, when the worker's timer has run already, has
 * its first renewal in time. */
#include "worker.h"

#include <stdio.h>

#include "transports/local/local.h"

/* The local transport, but for a slow `listen`. */
static lb_event_transport late_events;
static lb_transport late;
static int running, renewed;

static lb_status open_late(const lb_transport_config *config, void **self, lb_error *error)
{
    lb_transport_config inner = *config;
    inner.url += strlen("late:");
    return local_transport.open(&inner, self, error);
}

static lb_status listen_late(void *self, const lb_listener_config *config, int64_t deadline_ns, void **listener,
                             lb_error *error)
{
    sleep_ms(100);
    return local_transport.event->listen(self, config, deadline_ns, listener, error);
}

static lb_status renew(void *listener, const lb_event_message *const *events, size_t count, bool *lost,
                       lb_error *error)
{
    lb_status status = local_transport.event->renew(listener, events, count, lost, error);
    shared_set(&renewed, 1);
    return status;
}

static lb_status handle(const lb_event *event, void *data)
{
    (void)event, (void)data;
    shared_add(&running, 1);
    wait_until(shared_get(&renewed), PATIENCE_MS);
    return LB_OK;
}

static const lb_api shop = {.name = "shop", .members = (const lb_member[]){LB_EVENT("ordered()"), LB_END}};

static lb_bus *listener_open(const char *url, const char *process)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = url, .service_name = "tests", .process_name = process}, &error);
    assert_non_null(bus);
    assert_ok(lb_register(bus, &shop, NULL, &error), &error);
    assert_ok(lb_listen(bus, "shop.*", "stock", handle, NULL, NULL, &error), &error);
    assert_ok(lb_start(bus, &error), &error);
    return bus;
}

static void s12_the_first_lease_is_renewed_in_time(void **state)
{
    (void)state;
    char *folder = temporary_directory(), url[300];
    lb_error error = {0};
    late_events = *local_transport.event;
    late_events.listen = listen_late;
    late_events.renew = renew;
    late = local_transport;
    late.name = late.schemes = "late";
    late.open = open_late;
    late.event = &late_events;
    assert_ok(lb_transport_register(&late, &error), &error);
    snprintf(url, sizeof url, "late:local://%s/bus?acknowledgement_timeout=0.6&reclaim_interval=0.02", folder);
    lb_bus *first = listener_open(url, "p1");
    assert_ok(lb_fire(first, "shop.ordered", LB_NO_ARGS, &error), &error);
    wait_until(shared_get(&running) == 1, PATIENCE_MS);
    lb_bus *second = listener_open(url + strlen("late:"), "p2");
    wait_until(shared_get(&renewed), PATIENCE_MS);
    assert_int_equal(shared_get(&running), 1); /* the second one had no lease that had ended */
    lb_close(first);
    lb_close(second);
    assert_int_equal(shared_get(&running), 1);
    remove_directory(folder);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(s12_the_first_lease_is_renewed_in_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
