/* Replies that a healthy Redis 7 does not give: of a hostile server, of one that is busy, of Redis 6.2, of one
 * whose administrator took commands away. The server is a fake one; what it has been asked is counted in memory
 * that it shares with the test. */
#include <pthread.h>
#include <strings.h>

#include "fake_redis.h"
#include "redis_fixture.h"

#define CALL                                                                                                   \
    "{\"metadata\":{\"id\":\"call-1\",\"api_name\":\"auth\",\"procedure_name\":\"check\","                     \
    "\"return_path\":\"redis+key://results\"},\"kwargs\":{}}"

/* What the test says to a command, in the order in which it is given. */
typedef struct script {
    int asked; /* how often */
    struct line {
        const char *command, *answer; /* the command's first word, or its first two */
    } lines[16];
} script;

static bool is_command(const char *command, int count, char *const *words)
{
    size_t size = strcspn(command, " ");
    return strlen(words[0]) == size && strncasecmp(words[0], command, size) == 0 &&
           (!command[size] || (count > 1 && strcasecmp(words[1], command + size + 1) == 0));
}

/* The next line if it is about this command. A pop or a read that no line is about blocks. */
static const char *next_line(int count, char *const *words, void *data)
{
    script *s = data;
    const struct line *line = &s->lines[__atomic_load_n(&s->asked, __ATOMIC_SEQ_CST)];
    if (line->command && is_command(line->command, count, words)) {
        __atomic_add_fetch(&s->asked, 1, __ATOMIC_SEQ_CST);
        return line->answer;
    }
    return strstr(words[0], "POP") || strcmp(words[0], "XREADGROUP") == 0 ? "" : NULL;
}

static script *shared_script(script s)
{
    script *shared = shared_memory(sizeof *shared);
    *shared = s;
    return shared;
}

/* ---- Calls ------------------------------------------------------------------------------------------ */

/* S32: the number lies where the size of a name lay before. */
static void a_number_is_no_name_of_a_queue(void **state)
{
    (void)state;
    script *s = shared_script((script){.lines = {
                                           {"BLMPOP", "*2\r\n$14\r\nauth:rpc_queue\r\n*1\r\n$2\r\n{}\r\n"},
                                           {"BLMPOP", "*2\r\n:5\r\n*1\r\n$2\r\n{}\r\n"},
                                       }});
    fake_redis *fake = fake_redis_start(next_line, s);
    fixture f = fixture_on(fake->url);
    void *consumer = open_consumer(&f, "auth");
    assert_non_null(fetch_calls(&f, consumer, 1)->problem);
    assert_non_null(fetch_calls(&f, consumer, 1)->problem);
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
    fake_redis_stop(fake);
}

/* What the answers below count, in memory shared with the test. */
typedef struct counts {
    int pops, pushes, quiet, unblocks, acks, sets;
    int readonly; /* the server has become a replica */
} counts;

static int count_of(const int *number) { return __atomic_load_n(number, __ATOMIC_SEQ_CST); }
static void count(int *number) { __atomic_add_fetch(number, 1, __ATOMIC_SEQ_CST); }
static bool is(const char *word, const char *command) { return strcasecmp(word, command) == 0; }

#define POPPED(call) "*2\r\n$14\r\nauth:rpc_queue\r\n*1\r\n$119\r\n" call "\r\n"

static const char *refuse_while_readonly(int n, char *const *words, void *data)
{
    counts *c = data;
    bool readonly = count_of(&c->readonly), pop = is(words[0], "BLMPOP");
    (void)n;
    if (is(words[0], "LPUSH"))
        count(readonly && fake_is_skipped() ? &c->quiet : &c->pushes);
    if (readonly && (pop || is(words[0], "LPUSH") || is(words[0], "PEXPIRE")))
        return "-READONLY You can't write against a read only replica.\r\n";
    return pop ? POPPED(CALL) : is(words[0], "DEL") ? ":1\r\n" : NULL;
}

/* S30: pushes that were not to be answered are not lost when the server turns into a replica. Whether a push is
 * quiet depends on the time since the last one, so that several are tried. */
static void a_result_that_was_refused_unheard_is_sent_again(void **state)
{
    (void)state;
    counts *c = shared_memory(sizeof *c);
    fake_redis *fake = fake_redis_start(refuse_while_readonly, c);
    fixture f = fixture_on(fake->url);
    void *consumer = open_consumer(&f, "auth");
    for (int tries = 0; tries < 50 && !count_of(&c->quiet); tries++) {
        const lb_rpc_message *calls;
        size_t found;
        answer_call(&f, consumer, fetch_calls(&f, consumer, 1), "1"); /* is answered */
        answer_call(&f, consumer, fetch_calls(&f, consumer, 1), "2");
        __atomic_store_n(&c->readonly, 1, __ATOMIC_SEQ_CST);
        int before = count_of(&c->pushes);
        assert_int_equal(f.t->rpc->fetch(consumer, 100, in_ms(5000), &calls, &found, &f.error), LB_TRANSPORT);
        assert_non_null(strstr(f.error.message, "READONLY"));
        __atomic_store_n(&c->readonly, 0, __ATOMIC_SEQ_CST);
        fetch_calls(&f, consumer, 1);
        if (count_of(&c->quiet))
            assert_int_equal(count_of(&c->pushes), before + 1);
    }
    assert_true(count_of(&c->quiet));
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
    fake_redis_stop(fake);
}

static const char *hang_up_between_two_answers(int n, char *const *words, void *data)
{
    counts *c = data;
    if (n > 1 && is(words[0], "COMMAND"))
        return "*2\r\n*-1\r\n*-1\r\n";
    if (is(words[0], "BLPOP")) {
        count(&c->pops);
        return count_of(&c->pops) > 1 ? "" : "*2\r\n$14\r\nauth:rpc_queue\r\n$119\r\n" CALL "\r\n";
    }
    return is(words[0], "LPOP") ? fake_hang_up : is(words[0], "DEL") ? ":1\r\n" : NULL;
}

/* A server without BLMPOP gives the first call by one reply, the others by another. */
static void a_call_that_came_before_the_connection_broke_is_given_out(void **state)
{
    (void)state;
    counts *c = shared_memory(sizeof *c);
    fake_redis *fake = fake_redis_start(hang_up_between_two_answers, c);
    fixture f = fixture_on(fake->url);
    void *consumer = open_consumer(&f, "auth");
    assert_slice(fetch_calls(&f, consumer, 1)->id, "call-1");
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
    fake_redis_stop(fake);
}

static const char *hang_up_after_a_result(int n, char *const *words, void *data)
{
    (void)data;
    if (n > 1 && is(words[0], "COMMAND"))
        return "*2\r\n*-1\r\n*-1\r\n";
    if (is(words[0], "BRPOP"))
        return "*2\r\n$7\r\nresults\r\n$75\r\n"
               "{\"metadata\":{\"id\":\"r\",\"rpc_message_id\":\"call-1\"},\"kwargs\":{\"result\":1}}    \r\n";
    return is(words[0], "RPOP") ? fake_hang_up : NULL;
}

/* The same for results. */
static void a_result_that_came_before_the_connection_broke_is_given_out(void **state)
{
    (void)state;
    fake_redis *fake = fake_redis_start(hang_up_after_a_result, NULL);
    fixture f = fixture_on(fake->url);
    assert_slice(fetch_results(&f, 1)->rpc_message_id, "call-1");
    fixture_close(&f);
    fake_redis_stop(fake);
}

static const char *hang_up_at_the_push(int n, char *const *words, void *data)
{
    (void)n, (void)data;
    return is(words[0], "SET")     ? "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
           : is(words[0], "RPUSH") ? fake_hang_up
                                   : NULL;
}

/* S1: whether the call was sent is not known, whatever was said of its key. */
static void a_push_without_an_answer_may_have_been_taken(void **state)
{
    (void)state;
    fake_redis *fake = fake_redis_start(hang_up_at_the_push, NULL);
    fixture f = fixture_on(fake->url);
    lb_rpc_message call = make_call(&f, "call-1", "auth", "check", 5000);
    send_call(&f, &call, true);
    fixture_close(&f);
    fake_redis_stop(fake);
}

static const char *unblock_at_the_second_order(int n, char *const *words, void *data)
{
    counts *c = data;
    if (n > 1 && is(words[0], "CLIENT") && is(words[1], "UNBLOCK")) {
        count(&c->unblocks);
        return count_of(&c->unblocks) < 2 ? "-BUSY Redis is busy running a script.\r\n" : ":1\r\n";
    }
    return is(words[0], "BLMPOP") ? "" : NULL;
}

/* S30: that it is busy does not mean that it may not be asked. */
static void a_busy_server_is_asked_again_to_unblock(void **state)
{
    (void)state;
    counts *c = shared_memory(sizeof *c);
    fake_redis *fake = fake_redis_start(unblock_at_the_second_order, c);
    fixture f = fixture_on(fake->url);
    void *consumer = open_consumer(&f, "auth");
    fetch_calls(&f, consumer, 0); /* the pop stays outstanding */
    f.t->rpc->interrupt(consumer);
    fetch_calls(&f, consumer, 0);
    assert_int_equal(count_of(&c->unblocks), 2);
    f.t->rpc->consumer_close(consumer);
    fixture_close(&f);
    fake_redis_stop(fake);
}

/* ---- What is said of an error ----------------------------------------------------------------------- */

static const char *refusal; /* of XADD and EVAL; inherited by the fake server */

static const char *refuse_it(int n, char *const *words, void *data)
{
    (void)n, (void)data;
    return is(words[0], "XADD") || is(words[0], "EVAL") ? refusal : NULL;
}

/* S30 */
static void errors_have_their_class(void **state)
{
    (void)state;
    static const struct {
        const char *said;
        lb_status status;
    } cases[] = {
        {"-DENIED Redis is running in protected mode.\r\n", LB_ACCESS},
        {"-NOREPLICAS Not enough good replicas to write.\r\n", LB_TRANSPORT},
        {"-MISCONF Redis is configured to save RDB snapshots\r\n", LB_NO_SPACE},
        {"-BUSY Redis is busy running a script.\r\n", LB_BUSY},
        {"-ERR Error running script (call to f_12): @user_script:1: @user_script: 1: -OOM command not allowed "
         "when used memory > 'maxmemory'.\r\n",
         LB_BUSY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refusal = cases[i].said;
        fake_redis *fake = fake_redis_start(refuse_it, NULL);
        fixture f = fixture_on(fake->url);
        lb_event_message event = make_event("1", "shop", "sold"), *list[] = {&event};
        assert_ok(f.t->event->send(f.self, list, 1, in_ms(2000), &f.error), &f.error);
        assert_int_equal(event.status, cases[i].status);
        fixture_close(&f);
        fake_redis_stop(fake);
    }
}

static const char *say_numbers_without_bounds(int n, char *const *words, void *data)
{
    (void)data;
    if (is(words[0], "INFO"))
        return "$159\r\nredis_version:99999999999.99999999999.0\r\nused_memory:9223372036854775807\r\n"
               "maxmemory:-5\r\nmaxclients:9223372036854775807\r\nconnected_clients:"
               "9223372036854775807\r\n\r\n";
    if (is(words[0], "TIME"))
        return "*2\r\n$19\r\n9223372036854775807\r\n$19\r\n9223372036854775807\r\n";
    if (is(words[0], "CONFIG") && n > 2 && is(words[2], "client-output-buffer-limit"))
        return "*2\r\n$1\r\nx\r\n$46\r\nnormal 9223372036854775807 9223372036854775807\r\n";
    return is(words[0], "PING") ? "+PONG\r\n" : NULL;
}

static void note_finding(const lb_finding *finding, void *data)
{
    int *warnings = data;
    *warnings += finding->level == LB_FINDING_WARNING;
}

/* S32: the sanitizers see an overflow. */
static void the_doctor_bears_numbers_without_bounds(void **state)
{
    (void)state;
    fake_redis *fake = fake_redis_start(say_numbers_without_bounds, NULL);
    fixture f = fixture_on(fake->url);
    int warnings = 0;
    assert_true(f.t->diagnose(f.self, 5000, note_finding, &warnings));
    assert_true(warnings > 0); /* the clock, for one */
    fixture_close(&f);
    fake_redis_stop(fake);
}

/* ---- Deadlines -------------------------------------------------------------------------------------- */

static const char *no_word_on_set(int n, char *const *words, void *data)
{
    (void)n;
    if (!is(words[0], "SET"))
        return NULL;
    count(&((counts *)data)->sets);
    return "";
}

static void *store_slowly(void *data)
{
    fixture *f = data;
    const char *api = "shop";
    lb_slice json = slice("{}");
    lb_error error = {0};
    f->t->schema->store(f->self, &api, &json, 1, 60, in_ms(4000), &error);
    return NULL;
}

/* One connection is for the short commands of all threads. */
static void a_command_does_not_wait_past_its_deadline_for_that_of_another(void **state)
{
    (void)state;
    counts *c = shared_memory(sizeof *c);
    fake_redis *fake = fake_redis_start(no_word_on_set, c);
    fixture f = fixture_on(fake->url);
    lb_result_message result = {.id = slice("r"),
                                .rpc_message_id = slice("c"),
                                .return_path = slice("redis+key://results"),
                                .json = slice("1")};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, store_slowly, &f), 0);
    wait_until(count_of(&c->sets) == 1, 5000);
    int64_t began = support_now_ms();
    lb_error error = {0};
    assert_int_equal(f.t->result->send(f.self, NULL, &result, 1, in_ms(100), &error), LB_TRANSPORT);
    assert_true(support_now_ms() - began < 3000);
    pthread_join(thread, NULL);
    fixture_close(&f);
    fake_redis_stop(fake);
}

/* ---- Redis 6.2 -------------------------------------------------------------------------------------- */

#define SIX_STREAM                                                                                             \
    "*14\r\n$6\r\nlength\r\n:3\r\n$15\r\nradix-tree-keys\r\n:1\r\n$16\r\nradix-tree-nodes\r\n:2\r\n"           \
    "$17\r\nlast-generated-id\r\n$3\r\n5-0\r\n$6\r\ngroups\r\n:1\r\n"                                          \
    "$11\r\nfirst-entry\r\n*2\r\n$3\r\n3-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"                                    \
    "$10\r\nlast-entry\r\n*2\r\n$3\r\n5-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
#define SIX_GROUP(name, last)                                                                                  \
    "*8\r\n$4\r\nname\r\n$1\r\n" name "\r\n$9\r\nconsumers\r\n:1\r\n$7\r\npending\r\n:2\r\n"                   \
    "$17\r\nlast-delivered-id\r\n$3\r\n" last "\r\n"

static const char *as_redis_six(int n, char *const *words, void *data)
{
    counts *c = data;
    if (is(words[0], "XINFO") && n > 1)
        return is(words[1], "STREAM") ? SIX_STREAM
                                      : "*3\r\n" SIX_GROUP("a", "5-0") SIX_GROUP("b", "4-0")
                                            SIX_GROUP("c", "2-0");
    if (is(words[0], "XLEN"))
        return ":0\r\n";
    if (is(words[0], "XREADGROUP")) /* what is its own, and then what is new */
        return strcmp(words[n - 1], ">") == 0 ? "*-1\r\n" : "*1\r\n*2\r\n$13\r\nshop.*:stream\r\n*0\r\n";
    if (is(words[0], "XPENDING"))
        return n == 7 || count_of(&c->acks) ? "*0\r\n" : "*1\r\n*4\r\n$3\r\n2-0\r\n$1\r\nx\r\n:99999\r\n:1\r\n";
    if (is(words[0], "XRANGE") || is(words[0], "XREVRANGE") || is(words[0], "HGETALL"))
        return "*0\r\n";
    if (!is(words[0], "EVAL"))
        return NULL;
    if (strcmp(words[n - 1], "2-0") == 0) /* one is gone, the fourth that the group has lost */
        count(&c->acks);
    return "*3\r\n:1\r\n:4\r\n*0\r\n";
}

static char logged[4096];

static void keep_log(lb_log_level level, const char *message, void *data)
{
    (void)data;
    size_t used = strlen(logged);
    if (level >= LB_LOG_WARNING)
        snprintf(logged + used, sizeof logged - used, "%s\n", message);
}

/* What is logged while a listener of the group fetches three times. */
static const char *fetched_from_six(const char *group, counts *c)
{
    fake_redis *fake = fake_redis_start(as_redis_six, c);
    fixture f = fixture_on(fake->url);
    logged[0] = '\0';
    lb_log_to(keep_log, NULL);
    void *listener = listen_as(&f, group, "p", "shop.*", "$");
    for (int i = 0; i < 3; i++)
        fetch_events(&f, listener, 0);
    f.t->event->unlisten(listener, false);
    lb_log_to(NULL, NULL);
    fixture_close(&f);
    fake_redis_stop(fake);
    return logged;
}

/* S16 */
static void six_has_pending_events_that_are_gone_counted(void **state)
{
    (void)state;
    counts *c = shared_memory(sizeof *c);
    assert_non_null(strstr(fetched_from_six("a", c),
                           "1 events of shop.*:stream were trimmed or deleted while a had "
                           "them pending: lost (4 in all)"));
    assert_int_equal(count_of(&c->acks), 1);
    assert_null(strstr(logged, "may have been"));
}

/* S16: it cannot be counted, and is told once all the same. */
static void six_has_a_gap_before_the_first_event_told(void **state)
{
    (void)state;
    const char *told =
        strstr(fetched_from_six("c", shared_memory(sizeof(counts))), "may have been trimmed before c");
    assert_non_null(told);
    assert_null(strstr(told + 1, "may have been trimmed"));
}

static void note_lag(const lb_group_lag *lag, void *data)
{
    int64_t *undelivered = data;
    assert_int_equal(lag->stored, 3);
    assert_int_equal(lag->fired, -1);
    if (lag->group.size == 1 && *lag->group.data >= 'a' && *lag->group.data <= 'c') {
        assert_int_equal(lag->pending, 2);
        assert_int_equal(lag->lost, -1);
        undelivered[*lag->group.data - 'a'] = lag->undelivered;
    }
}

/* No counters: it is known of a group that has had all, and of one that has had nothing of what is there. */
static void six_does_not_count_how_far_a_group_is_behind(void **state)
{
    (void)state;
    counts *c = shared_memory(sizeof *c);
    fake_redis *fake = fake_redis_start(as_redis_six, c);
    fixture f = fixture_on(fake->url);
    int64_t undelivered[3] = {-9, -9, -9};
    assert_ok(
        f.t->event->lag(f.self, slice("shop"), slice("sold"), note_lag, undelivered, in_ms(2000), &f.error),
        &f.error);
    assert_int_equal(undelivered[0], 0);
    assert_int_equal(undelivered[1], -1);
    assert_int_equal(undelivered[2], 3);
    fixture_close(&f);
    fake_redis_stop(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_is_no_name_of_a_queue),
        cmocka_unit_test(a_result_that_was_refused_unheard_is_sent_again),
        cmocka_unit_test(a_call_that_came_before_the_connection_broke_is_given_out),
        cmocka_unit_test(a_result_that_came_before_the_connection_broke_is_given_out),
        cmocka_unit_test(a_push_without_an_answer_may_have_been_taken),
        cmocka_unit_test(a_busy_server_is_asked_again_to_unblock),
        cmocka_unit_test(errors_have_their_class),
        cmocka_unit_test(the_doctor_bears_numbers_without_bounds),
        cmocka_unit_test(a_command_does_not_wait_past_its_deadline_for_that_of_another),
        cmocka_unit_test(six_has_pending_events_that_are_gone_counted),
        cmocka_unit_test(six_has_a_gap_before_the_first_event_told),
        cmocka_unit_test(six_does_not_count_how_far_a_group_is_behind),
    };
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
