/* usage: conformance MEDIUM */
#include "conformance.h"

#include <stdio.h>

static const medium_kind *chosen;

int medium_setup(void **state)
{
    medium *m = calloc(1, sizeof *m);
    m->kind = chosen;
    m->self = chosen->start(m->url);
    *state = m;
    return 0;
}

int medium_teardown(void **state)
{
    medium *m = *state;
    m->kind->stop(m->self);
    free(m);
    return 0;
}

const char *medium_url(const medium *m, const char *options)
{
    static char url[512];
    snprintf(url, sizeof url, "%s%s%s", m->url, *options ? "?" : "", options);
    return url;
}

void *instance_open(const medium *m, const char *options, const char *process)
{
    void *self = NULL;
    lb_error error = {0};
    lb_transport_config config = {
        .size = sizeof config, .url = medium_url(m, options), .service_name = "tests", .process_name = process};
    assert_ok(m->kind->transport->open(&config, &self, &error), &error);
    return self;
}

lb_bus *medium_bus(const medium *m, const char *options, const char *process)
{
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = medium_url(m, options),
                                        .service_name = "tests",
                                        .process_name = process,
                                        .rpc_timeout_ms = 10000},
                          &error);
    if (!bus)
        fail_msg("lb_open: %s", error.message);
    return bus;
}

void instance_close(const medium *m, void *instance) { m->kind->transport->close(instance); }

int main(int argc, char **argv)
{
    for (size_t i = 0; i < media_count; i++)
        if (argc == 2 && strcmp(argv[1], media[i].name) == 0)
            chosen = &media[i];
    if (!chosen) {
        fprintf(stderr, "usage: conformance MEDIUM; there are:");
        for (size_t i = 0; i < media_count; i++)
            fprintf(stderr, " %s", media[i].name);
        fprintf(stderr, "\n");
        return 2;
    }
    lb_transport_register(chosen->transport, NULL); /* unless it is built in */
    int failed = run_rpc_rules() + run_event_rules() + run_copy_rules(chosen) + run_history_rules() +
                 run_dead_letter_rules() + run_other_rules() + run_hostile_rules() + run_trouble_rules();
    return failed + (chosen->without & NO_PROCESSES ? 0 : run_handler_rules() + run_process_rules());
}
