/* The URLs of the Redis transport. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "transports/redis/url.h"

static void reads_its_parts(void **state)
{
    (void)state;
    lb_error error = {0};
    redis_options o;
    assert_int_equal(
        redis_url_parse(&o, "redis://al%40ice:p%3Aw@example.org:6380/2?result_ttl=1.5&stream_use=per_event",
                        &error),
        LB_OK);
    assert_string_equal(o.user, "al@ice");
    assert_string_equal(o.password, "p:w");
    assert_string_equal(o.host, "example.org");
    assert_string_equal(o.port, "6380");
    assert_string_equal(o.place, "redis://example.org:6380");
    assert_int_equal(o.db, 2);
    assert_int_equal(o.result_ttl_ms, 1500);
    assert_true(o.stream_per_event);
    redis_url_free(&o);
}

static void has_the_defaults_of_lightbus(void **state)
{
    (void)state;
    lb_error error = {0};
    redis_options o;
    assert_int_equal(redis_url_parse(&o, "redis://", &error), LB_OK);
    assert_string_equal(o.host, "127.0.0.1");
    assert_string_equal(o.port, "6379");
    assert_int_equal(o.db, -1);
    assert_int_equal(o.result_ttl_ms, 60000);
    assert_int_equal(o.acknowledgement_timeout_ms, 60000);
    assert_int_equal(o.reclaim_interval_ms, 60000);
    assert_int_equal(o.reclaim_batch_size, 100);
    assert_int_equal(o.max_stream_length, 100000);
    assert_int_equal(o.max_message_size, 16 * 1024 * 1024);
    assert_true(o.tls_verify);
    redis_url_free(&o);
    assert_int_equal(redis_url_parse(&o, "redis://h?acknowledgement_timeout=0.5", &error), LB_OK);
    assert_int_equal(o.reclaim_interval_ms, 500);
    redis_url_free(&o);
}

static void reads_addresses_and_paths(void **state)
{
    (void)state;
    lb_error error = {0};
    redis_options o;
    assert_int_equal(redis_url_parse(&o, "rediss://[::1]:7000/0", &error), LB_OK);
    assert_string_equal(o.host, "::1");
    assert_string_equal(o.place, "rediss://[::1]:7000");
    assert_true(o.tls);
    redis_url_free(&o);
    assert_int_equal(redis_url_parse(&o, "redis+unix://:pw@/run/my%20redis.sock?db=4", &error), LB_OK);
    assert_string_equal(o.path, "/run/my redis.sock");
    assert_string_equal(o.password, "pw");
    assert_int_equal(o.db, 4);
    redis_url_free(&o);
}

/* S33, S35 */
static void refuses_what_is_wrong_and_says_what(void **state)
{
    (void)state;
    static const struct {
        const char *url, *says;
    } bad[] = {
        {"http://x", "redis://"},
        {"redis:/x", "redis://"},
        {"", "redis://"},
        {"redis://:secret@h:99999", "port"},
        {"redis://:secret@h:port", "port"},
        {"redis://:secret@h:80x", "port"},
        {"redis://[::1", "[address]:port"},
        {"redis://h/db", "database number"},
        {"redis://h/-1", "database number"},
        {"redis://:%zz@h", "password"},
        {"redis://:secret%0@h", "password"},
        {"redis://%00:secret@h", "password"},
        {"redis+unix://host/path", "three slashes"},
        {"redis+unix://", "path of a socket"},
        {"redis://:secret@h?result_tl=1", "result_ttl"},
        {"redis://:secret@h?reclaim_batchsize=1", "reclaim_batch_size"},
        {"redis://h?result_ttl", "option=value"},
        {"redis://h?result_ttl=", "seconds"},
        {"redis://h?result_ttl=-1", "seconds"},
        {"redis://h?result_ttl=nan", "seconds"},
        {"redis://h?result_ttl=0x10", "seconds"},
        {"redis://h?result_ttl=1e99", "seconds"},
        {"redis://h?reclaim_batch_size=1.5", "whole number"},
        {"redis://h?reclaim_batch_size=0", "whole number"},
        {"redis://h?stream_use=both", "per_api"},
        {"rediss://h?tls_verify=maybe", "true"},
        {"redis://h?tls_ca=/x", "rediss://"},
        {"rediss://h?tls_cert=/x", "tls_key"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lb_error error = {0};
        redis_options o;
        if (redis_url_parse(&o, bad[i].url, &error) != LB_CONFIG)
            fail_msg("%s was accepted", bad[i].url);
        if (!strstr(error.message, bad[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].url, error.message, bad[i].says);
        assert_null(strstr(error.message, "secret"));
        redis_url_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_its_parts),
        cmocka_unit_test(has_the_defaults_of_lightbus),
        cmocka_unit_test(reads_addresses_and_paths),
        cmocka_unit_test(refuses_what_is_wrong_and_says_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
