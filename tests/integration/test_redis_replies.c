/* Replies that a healthy Redis 7 does not give: of a hostile server, of one that is busy, of Redis 6.2, of one
 * whose administrator took commands away. The server is a fake one; what it has been asked is counted in memory
 * that it shares with the test. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_is_no_name_of_a_queue),
    };
    cmocka_set_test_filter(getenv("TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
