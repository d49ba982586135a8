/* Parts of the Redis transport alone: a connection's deadline, the set of ids. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"
#include "transports/redis/listener.h"

/* S31: past its deadline a wait reads once, however many bytes there are. */
static void an_answer_without_end_ends_at_the_deadline(void **state)
{
    (void)state;
    redis_options options = {.place = "here"};
    lb_error error = {0};
    const reply *r;
    conn c;
    int ends[2], left = 0;
    char text[4096];
    memset(text, 'a', sizeof text);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(write(ends[1], "$1000000000\r\n", 13), 13);
    while (write(ends[1], text, sizeof text) > 0)
        ;
    conn_init(&c, &options, NULL, NULL, -1);
    c.fd = ends[0];
    assert_true(parser_open(&c.in, 1024));
    assert_int_equal(conn_receive(&c, clock_now() - 1, &r, &error), LB_TIMEOUT);
    assert_int_equal(ioctl(ends[0], FIONREAD, &left), 0);
    assert_true(left > 0);
    conn_close(&c);
    close(ends[1]);
}

static void a_set_of_ids_keeps_what_it_was_given(void **state)
{
    (void)state;
    id_set s = {0};
    enum { MANY = 1000 };
    for (uint64_t i = 1; i <= MANY; i++)
        assert_true(id_set_add(&s, (entry_id){i / 7, i}));
    assert_true(id_set_add(&s, (entry_id){1, 7}));
    assert_int_equal(s.count, MANY);
    for (uint64_t i = 1; i <= MANY; i += 2)
        id_set_remove(&s, (entry_id){i / 7, i});
    for (uint64_t i = 1; i <= MANY; i++)
        assert_int_equal(id_set_has(&s, (entry_id){i / 7, i}), i % 2 == 0);
    assert_int_equal(s.count, MANY / 2);
    id_set_free(&s);
}

/* S32: a free place looks like 0-0, so that a set of those would grow for ever. */
static void no_entry_has_the_id_0_0(void **state)
{
    (void)state;
    id_set s = {0};
    for (int i = 0; i < 1000; i++)
        assert_true(id_set_add(&s, (entry_id){0, 0}));
    assert_int_equal(s.count, 0);
    assert_int_equal(s.capacity, 0);
    id_set_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_without_end_ends_at_the_deadline),
        cmocka_unit_test(a_set_of_ids_keeps_what_it_was_given),
        cmocka_unit_test(no_entry_has_the_id_0_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
