/* The recordings of Python Lightbus, replayed with our library in the place of Python's clients and workers
 * (S34).
 *
 * A recording joins by one line in `scenarios`. LIGHTBUS_REPLAY=NAME in the environment replays those alone
 * whose name begins so. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"
#include "vector.h"

#define PLUGIN "its events are compared in integration/test_internal_plugins"

static const scenario scenarios[] = {
    /* Firing and listening */
    {"e01_event_fire", .directions = AS_CLIENT},
    {"e01b_event_fire_rejections", .directions = AS_CLIENT},
    {"e02_event_one_listener", .directions = AS_BOTH},
    {"e02b_event_listener_restart", .directions = AS_BOTH},
    {"e03_event_several_listeners", .directions = AS_BOTH},
    {"e04_event_two_services", .directions = AS_BOTH},
    {"e06_event_per_event", .directions = AS_BOTH},
    /* Python's listener hears nothing, since it waits on a stream that nobody writes to; ours refuses to start
     */
    {"e06b_event_per_event_wildcard", .directions = AS_CLIENT},
    {"e09_event_listener_error_shutdown", .directions = AS_BOTH, .differences = STOPS},
    {"e09b_event_on_error_log", .directions = AS_BOTH},
    {"e09c_event_on_error_log_buspath", .directions = AS_BOTH, .differences = SURVIVES},
    {"e09d_event_on_error_log_sync", .directions = AS_BOTH},
    {"e10_event_reclaim", .directions = AS_BOTH},
    {"e10b_event_reclaim_own_running", .directions = AS_BOTH, .differences = HANDLED_ONCE},
    {"e10d_event_reclaim_deleted", .directions = AS_BOTH, .differences = BURIED},
    {"e10e_event_pending_deleted", .directions = AS_BOTH, .differences = BURIED},
    {"e10f_event_reclaim_default", .directions = AS_WORKER},
    {"e10g_event_reclaim_many", .directions = AS_BOTH},
    {"e10h_event_reclaim_batch", .directions = AS_BOTH, .differences = HANDLED_ONCE},
    {"e11_event_cleanup", .directions = AS_BOTH, .differences = OTHERS_UNTOUCHED},
    {"e11b_event_cleanup_blocked_consumer", .directions = AS_BOTH, .differences = OTHERS_UNTOUCHED | SURVIVES},
    {"e12_event_trim", .directions = AS_CLIENT},
    {"e12b_event_no_trim", .directions = AS_CLIENT},
    {"e13_event_history_lag", .directions = AS_BOTH},
    {"e15_foreign_minimal_event", .directions = AS_WORKER},
    {"e15b_foreign_missing_version", .directions = AS_WORKER, .differences = BURIED},
    {"e15c_foreign_bad_json", .directions = AS_WORKER, .differences = BURIED},
    {"e15d_foreign_schema_violation", .directions = AS_WORKER, .differences = BURIED},
    {"e15e_foreign_extra_metadata", .directions = AS_WORKER, .differences = SURVIVES},
    {"e15f_foreign_version_not_int", .directions = AS_WORKER, .differences = BURIED},
    {"e15g_foreign_unknown_event_same_stream", .directions = AS_WORKER},
    {"e15i_foreign_noop", .directions = AS_WORKER},
    {"e15j_foreign_version_2", .directions = AS_WORKER},
    {"e16_event_connection_lost", .directions = AS_BOTH},
    {"e16b_event_redis_down_reclaim", .directions = AS_WORKER},
    {"e16c_event_redis_down_consume", .directions = AS_BOTH},
    {"e17_event_stream_deleted", .directions = AS_BOTH, .differences = SURVIVES},
    {"e18_event_sigterm_busy", .directions = AS_BOTH, .differences = SURVIVES},
    {"e22_event_stale_schema", .directions = AS_BOTH, .differences = SURVIVES},

    /* Plugins */
    {.vector = "p01_state_plugin", .reason = PLUGIN},
    {.vector = "p01b_state_plugin_listener", .reason = PLUGIN},
    {.vector = "p01c_state_plugin_cli", .reason = PLUGIN},
    {.vector = "p02_metrics_plugin", .reason = PLUGIN},
    {"p03_plugins_default", .directions = AS_WORKER},

    /* RPC */
    {"r01_rpc_success", .directions = AS_BOTH},
    {"r02_rpc_no_provider", .directions = AS_BOTH, .differences = FULL_TIMEOUT},
    {"r04_rpc_error_valueerror", .directions = AS_BOTH},
    {"r05_rpc_error_custom_class", .directions = AS_BOTH, .differences = OWN_ERROR_TEXT},
    {"r05b_rpc_error_chained", .directions = AS_BOTH},
    {"r05c_rpc_error_systemexit", .directions = AS_BOTH, .differences = ANSWERED},
    {"r05d_rpc_error_cancelled", .directions = AS_BOTH, .differences = ANSWERED},
    {"r06_rpc_timeout_slow", .directions = AS_BOTH},
    {"r06b_rpc_timeout_default", .directions = AS_BOTH},
    {"r06c_rpc_timeouts_differ", .directions = AS_BOTH, .differences = OWN_TIMEOUT},
    {"r06d_rpc_timeout_option", .directions = AS_BOTH, .differences = ANSWERED | OWN_TIMEOUT, .timeout_ms = 500,
     .result = "\"done after 1.0\""},
    {"r07_rpc_local_rejections", .directions = AS_CLIENT},
    {"r08_rpc_unknown_procedure_worker_validates", .directions = AS_BOTH, .differences = ANSWERED},
    {"r09_rpc_unknown_procedure_check_no_validation", .directions = AS_BOTH, .differences = OWN_ERROR_TEXT},
    {"r10_rpc_invalid_params_worker_validates", .directions = AS_BOTH, .differences = ANSWERED},
    {"r10b_rpc_missing_param_check_no_validation", .directions = AS_BOTH, .differences = OWN_ERROR_TEXT},
    {"r12_rpc_wrong_response_type", .directions = AS_BOTH, .differences = ANSWERED},
    {"r12b_rpc_wrong_response_check_only_client_validates", .directions = AS_CLIENT},
    {"r13_rpc_undeformable_result", .directions = AS_BOTH, .differences = ANSWERED},
    {"r14_rpc_not_json_result", .directions = AS_BOTH, .differences = ANSWERED},
    {"r15_foreign_not_json", .directions = AS_WORKER, .differences = ANSWERED},
    {"r15b_foreign_not_utf8", .directions = AS_WORKER, .differences = ANSWERED},
    {"r15c_foreign_json_array", .directions = AS_WORKER, .differences = ANSWERED},
    {"r16_foreign_no_metadata", .directions = AS_WORKER, .differences = ANSWERED},
    {"r16b_foreign_empty_return_path", .directions = AS_WORKER, .differences = ANSWERED},
    {"r16c_foreign_extra_metadata", .directions = AS_WORKER, .differences = ANSWERED, .result = "\"ok\""},
    {"r17_foreign_return_path_scheme", .directions = AS_WORKER, .differences = ANSWERED},
    {"r18_foreign_minimal_call", .directions = AS_WORKER},
    {"r18c_foreign_no_expiry_key", .directions = AS_WORKER},
    {"r18e_foreign_api_mismatch", .directions = AS_WORKER, .differences = OWN_ERROR_TEXT},
    {"r19_rpc_concurrency_one_worker", .directions = AS_BOTH},
    {"r21_rpc_nested_self_call", .directions = AS_BOTH, .differences = ANSWERED, .result = "\"outer:inner\""},
    {"r23_rpc_db_number", .directions = AS_BOTH},
    {"r23c_rpc_password", .directions = AS_BOTH},
    {"r24_rpc_connection_lost", .directions = AS_BOTH},
    {"r26_rpc_killed_worker", .directions = AS_BOTH},
    {"r29_rpc_worker_sigterm_busy", .directions = AS_BOTH, .differences = ANSWERED,
     .result = "\"done after 1.5\""},
    {"r30_rpc_sync_client", .directions = AS_BOTH},
    {"r31_rpc_redis_down", .directions = AS_BOTH},
    {"r32_rpc_client_poisoned", .directions = AS_CLIENT},
    {"r33_rpc_retry_duplicates", .directions = AS_BOTH, .differences = REPLIES_LOST},

    /* Schemas */
    {"s01_schema_store", .directions = AS_WORKER},
    {"s02_schema_ping", .directions = AS_WORKER},
    {"s03_schema_types", .directions = AS_WORKER},
    {"s06_foreign_schema", .directions = AS_CLIENT},
    {"s06b_foreign_result_variants", .directions = AS_CLIENT},
    {"s07_schema_redis_down", .directions = AS_WORKER},
    {"s08_corrupt_schema", .directions = AS_BOTH, .differences = SURVIVES},
    {"s08b_schema_missing_parts", .directions = AS_CLIENT},
    {"s09_dumpschema", .directions = AS_WORKER},
    {"s10_human_readable_false", .directions = AS_WORKER},
    {"s11_strict_validation", .directions = AS_CLIENT},
    {"t01_types", .directions = AS_BOTH, .differences = OWN_TIMEOUT},
    {.vector = "x01_default_timing", .reason = "125 s of idling; s02 and e10f show the same commands"},
    {.vector = "z01_event_blob_serializer",
     .reason = "a Python configuration that does not work in Python either"},
    {.vector = "z02_rpc_by_field_serializer",
     .reason = "a Python configuration that does not work in Python either"},
    {.vector = "config_schema", .reason = "the schema of Python's configuration file, not a recording"},
};

/* Calls and events that the recorded clients refuse, and outcomes that are others with us. */
static const attempt attempts[] = {
    {"e01b_event_fire_rejections", "client0", ATTEMPT_FIRE, "my_company.auth.user_registered",
     "{\"username\":\"a\"}", LB_INVALID_ARGUMENTS},
    {"e01b_event_fire_rejections", "client1", ATTEMPT_FIRE, "my_company.auth.user_registered",
     "{\"username\":\"a\",\"email\":\"b\",\"x\":1}", LB_INVALID_ARGUMENTS},
    {"e01b_event_fire_rejections", "client2", ATTEMPT_FIRE, "my_company.auth.user_registered",
     "{\"username\":\"a\",\"email\":5}", LB_INVALID_ARGUMENTS},
    {"e01b_event_fire_rejections", "client3", ATTEMPT_FIRE, "my_company.auth.no_such", "{}", LB_UNKNOWN_MEMBER},
    /* whoever knows the schema from the bus may fire, so that `lightbus fire` can */
    {"e01b_event_fire_rejections", "client4", ATTEMPT_FIRE, "my_company.auth.user_registered",
     "{\"username\":\"a\",\"email\":\"b\"}", LB_OK},
    {"e01b_event_fire_rejections", "client5", ATTEMPT_FIRE, "my_company.auth._x", "{}", LB_INVALID_NAME},
    {"r07_rpc_local_rejections", "client0", ATTEMPT_CALL, "my_company.auth.no_such", "{\"a\":1}",
     LB_UNKNOWN_MEMBER},
    {"r07_rpc_local_rejections", "client1", ATTEMPT_CALL, "my_company.auth.check_password",
     "{\"username\":\"admin\"}", LB_INVALID_ARGUMENTS},
    {"r07_rpc_local_rejections", "client2", ATTEMPT_CALL, "my_company.auth.check_password",
     "{\"username\":\"admin\",\"password\":5}", LB_INVALID_ARGUMENTS},
    {"r07_rpc_local_rejections", "client3", ATTEMPT_CALL, "my_company.auth.check_password",
     "{\"username\":\"a\",\"password\":\"b\",\"extra\":1}", LB_INVALID_ARGUMENTS},
    {"r07_rpc_local_rejections", "client4", ATTEMPT_CALL, "my_company.auth._private", "{}", LB_INVALID_NAME},
    /* the worker does not validate, the caller does */
    {"r12b_rpc_wrong_response_check_only_client_validates", "client", 0, "", "", LB_INVALID_RESULT},
    {"s06_foreign_schema", "client", ATTEMPT_CALL, "foreign.calc.add", "{\"a\":1}", LB_INVALID_ARGUMENTS},
    {"s06_foreign_schema", "client", ATTEMPT_CALL, "foreign.calc.add", "{\"a\":1,\"b\":\"x\"}",
     LB_INVALID_ARGUMENTS},
    {"s06_foreign_schema", "client", 1, "", "", LB_INVALID_RESULT},
    /* another call's id: Python looks at the key alone, we have one list for all answers */
    {"s06b_foreign_result_variants", "client6", 0, "", "", LB_TIMEOUT},
    /* a corrupt schema is somebody else's affair */
    {"s08_corrupt_schema", "client", ATTEMPT_CALL, "my_company.auth.check_password",
     "{\"username\":\"admin\",\"password\":\"x\"}", LB_TIMEOUT},
    {"s08b_schema_missing_parts", "client", ATTEMPT_CALL, "foreign.calc.add", "{\"a\":1}", LB_TIMEOUT},
    {"s11_strict_validation", "client", ATTEMPT_CALL, "nobody.api.f", "{\"a\":1}", LB_UNKNOWN_API},
    {.vector = NULL},
};

#define SCENARIOS (sizeof(scenarios) / sizeof(*scenarios))

static stage the_stage = {.directory = VECTORS_DIR, .attempts = attempts};

static int open_stage(void **state)
{
    (void)state;
    the_stage.server = redis_server_start(NULL);
    the_stage.recorder = recorder_start(the_stage.server->port);
    return 0;
}

static int close_stage(void **state)
{
    (void)state;
    recorder_stop(the_stage.recorder);
    redis_server_stop(the_stage.server);
    return 0;
}

static bool selected(const scenario *s)
{
    const char *only = getenv("LIGHTBUS_REPLAY");

    return !only || text_starts(s->vector, only);
}

static size_t replay_all(enum direction direction)
{
    size_t failures = 0;

    for (const scenario *s = scenarios; s < scenarios + SCENARIOS; s++) {
        buffer report = {0};
        int64_t began;
        if (!selected(s) || !(s->directions & direction))
            continue;
        printf("%-52s as %s ", s->vector, direction == AS_CLIENT ? "client" : "worker");
        fflush(stdout);
        began = support_now_ms();
        if (replay(&the_stage, s, direction, &report)) {
            printf("agrees  %5lld ms\n", (long long)(support_now_ms() - began));
        } else {
            printf("DIFFERS\n%s", buffer_text(&report));
            failures++;
        }
        buffer_free(&report);
    }
    return failures;
}

static void replays_recorded_clients_S34(void **state)
{
    (void)state;
    assert_int_equal(replay_all(AS_CLIENT), 0);
}

static void replays_recorded_workers_S34(void **state)
{
    (void)state;
    assert_int_equal(replay_all(AS_WORKER), 0);
}

static const scenario *find_scenario(const char *name)
{
    for (const scenario *s = scenarios; s < scenarios + SCENARIOS; s++)
        if (strcmp(s->vector, name) == 0)
            return s;
    return NULL;
}

/* No recording is forgotten, and none is left out without a reason. */
static void has_a_line_for_every_recording(void **state)
{
    DIR *directory = opendir(VECTORS_DIR);
    struct dirent *entry;
    size_t files = 0, replayed = 0;

    (void)state;
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        char name[256];
        if (!text_ends(entry->d_name, ".json"))
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)(strlen(entry->d_name) - strlen(".json")), entry->d_name);
        if (!find_scenario(name) || find_scenario(name)->reason)
            fail_msg("%s is not replayed", name);
        files++;
    }
    closedir(directory);
    for (const scenario *s = scenarios; s < scenarios + SCENARIOS; s++) {
        if (s->reason)
            printf("%-52s not replayed: %s\n", s->vector, s->reason);
        replayed += !s->reason;
        assert_true((s->directions != 0) == !s->reason);
    }
    assert_int_equal(files, replayed);
}

/* The comparison can fail: an expectation that is changed by one bit is noticed. */
static void notices_a_corrupted_expectation(void **state)
{
    static const struct {
        const char *vector, *text;
        enum direction direction;
    } corruptions[] = {
        {"r01_rpc_success", "\"password\":\"secret\"", AS_CLIENT},
        {"r01_rpc_success", "5000 ms", AS_CLIENT},
        {"r01_rpc_success", "{\"result\":true}", AS_WORKER},
        {"r01_rpc_success", "title", AS_WORKER},
        {"r04_rpc_error_valueerror", "ValueError", AS_WORKER},
        {"e01_event_fire", "MAXLEN ~ 100000", AS_CLIENT},
        {"e01_event_fire", ":is_admin=true", AS_CLIENT},
        {"e02_event_one_listener", "XACK", AS_WORKER},
        {"e02_event_one_listener", "admin@example.com", AS_WORKER},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(corruptions) / sizeof(*corruptions) && !getenv("LIGHTBUS_REPLAY"); i++) {
        stage corrupted = the_stage;
        buffer report = {0};
        corrupted.corrupt = corruptions[i].text;
        if (replay(&corrupted, find_scenario(corruptions[i].vector), corruptions[i].direction, &report))
            fail_msg("%s: \"%s\" was changed, and nobody noticed", corruptions[i].vector, corruptions[i].text);
        if (!strstr(buffer_text(&report), "expected: ") || !strstr(buffer_text(&report), "actual: "))
            fail_msg("%s: the report does not show both sides:\n%s", corruptions[i].vector,
                     buffer_text(&report));
        buffer_free(&report);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_a_line_for_every_recording),
        cmocka_unit_test(replays_recorded_clients_S34),
        cmocka_unit_test(replays_recorded_workers_S34),
        cmocka_unit_test(notices_a_corrupted_expectation),
    };

    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
