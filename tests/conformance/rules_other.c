/* Rules of schemas and of configuration, through the contract. */
#include "conformance.h"

#include <stdio.h>

typedef struct found {
    int count;
    char text[512];
} found;

static void note(lb_slice api_name, lb_slice json, void *data)
{
    found *f = data;
    f->count++;
    snprintf(f->text + strlen(f->text), sizeof f->text - strlen(f->text), "%.*s=%.*s;", (int)api_name.size,
             api_name.data, (int)json.size, json.data);
}

static found load(const medium *m, void *instance)
{
    found f = {0};
    lb_error error = {0};
    assert_ok(m->kind->transport->schema->load(instance, note, &f, in_ms(5000), &error), &error);
    return f;
}

static void store(const medium *m, void *instance, const char *api, const char *json, int ttl_s)
{
    lb_error error = {0};
    lb_slice text = {json, strlen(json)};
    assert_ok(m->kind->transport->schema->store(instance, &api, &text, 1, ttl_s, in_ms(5000), &error), &error);
}

static void schemas_are_seen_by_others_and_vanish_after_their_ttl(void **state)
{
    const medium *m = *state;
    void *a = instance_open(m, "", "a"), *b = instance_open(m, "", "b");
    assert_int_equal(load(m, b).count, 0);
    store(m, a, "shop", "{\"events\":{},\"rpcs\":{}}", 60);
    store(m, a, "depot", "{\"events\":{}}", 1);
    found f = load(m, b);
    assert_int_equal(f.count, 2);
    assert_contains(f.text, "shop={\"events\":{},\"rpcs\":{}};");
    store(m, a, "shop", "{}", 60);
    assert_contains(load(m, b).text, "shop={};");
    wait_until(load(m, b).count == 1, 5000);
    assert_string_equal(load(m, b).text, "shop={};");
    instance_close(m, a);
    instance_close(m, b);
}

static void s35_wrong_options_are_refused(void **state)
{
    const medium *m = *state;
    static const struct {
        const char *options, *part;
    } rows[] = {
        {"acknowledgement_timeut=5", "acknowledgement_timeout"},
        {"acknowledgement_timeout=soon", "acknowledgement_timeout"},
        {"acknowledgement_timeout=-1", "acknowledgement_timeout"},
        {"max_message_size=1e3000", "max_message_size"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        void *self = NULL;
        lb_error error = {0};
        lb_transport_config config = {.size = sizeof config,
                                      .url = medium_url(m, rows[i].options),
                                      .service_name = "tests",
                                      .process_name = "a"};
        assert_status(m->kind->transport->open(&config, &self, &error), LB_CONFIG, &error);
        assert_contains(error.message, rows[i].part);
    }
}

static void the_contract_is_filled_in(void **state)
{
    const lb_transport *t = ((const medium *)*state)->kind->transport;
    assert_int_equal(t->abi, LB_TRANSPORT_ABI);
    assert_int_equal(t->size, sizeof(lb_transport));
    assert_true(t->rpc->send && t->rpc->withdraw && t->rpc->consumer_open && t->rpc->fetch && t->rpc->flush &&
                t->rpc->interrupt && t->rpc->consumer_close);
    assert_true(t->result->return_path && t->result->send && t->result->fetch);
    assert_true(t->event->send && t->event->listen && t->event->fetch && t->event->acknowledge &&
                t->event->flush && t->event->renew && t->event->give_back && t->event->dead_letter &&
                t->event->interrupt && t->event->unlisten && t->event->lease_ms);
    const bool tells = t->event->history;
    assert_true(tells == (t->event->history_fetch != NULL) && tells == (t->event->history_close != NULL) &&
                tells == (t->event->lag != NULL) && tells == (t->event->replay != NULL) &&
                tells == (t->event->purge != NULL));
    assert_true(t->schema->store && t->schema->load && t->open && t->close && t->after_fork);
}

int run_other_rules(void)
{
    const struct CMUnitTest tests[] = {
        medium_test(schemas_are_seen_by_others_and_vanish_after_their_ttl),
        medium_test(s35_wrong_options_are_refused),
        medium_test(the_contract_is_filled_in),
    };
    return cmocka_run_group_tests_name("schemas and configuration", tests, NULL, NULL);
}
