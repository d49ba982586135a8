/* Messages, replies and ids of the Redis transport, without a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "transports/redis/codec.h"
#include "transports/redis/listener.h"
#include "transports/redis/push.h"

static const lb_kwarg two_kwargs[] = {{.name = {"a", 1}, .json = {"[1,{\"x\":null}]", 14}},
                                      {.name = {"\"q\"", 3}, .json = {"\"t\"", 3}}};

static void a_call_comes_back_as_it_was(void **state)
{
    (void)state;
    buffer b = {0}, again = {0};
    arena a = {0};
    const lb_rpc_message call = {.id = slice_of("i"),
                                 .api_name = slice_of("my.api"),
                                 .procedure_name = slice_of("p\n"),
                                 .return_path = slice_of("redis+key://r"),
                                 .kwargs = two_kwargs,
                                 .kwargs_count = 2};
    lb_rpc_message back;
    encode_call(&b, &call);
    encode_call(&again, &call);
    assert_int_equal(b.size, again.size);
    assert_memory_equal(b.data, again.data, b.size); /* withdrawing relies on it */
    assert_true(decode_call(&a, (lb_slice){b.data, b.size}, 1000, &back));
    assert_null(back.problem);
    assert_true(slice_is(back.procedure_name, "p\n"));
    assert_int_equal(back.kwargs_count, 2);
    assert_true(slice_is(back.kwargs[1].name, "\"q\""));
    assert_int_equal(lb_value_count(back.kwargs[0].value), 2);
    buffer_free(&b);
    buffer_free(&again);
    arena_free(&a);
}

/* S32 */
static void bounds_what_it_reads(void **state)
{
    (void)state;
    arena a = {0};
    buffer b = {0};
    lb_rpc_message call;
    for (int i = 0; i < 100000; i++)
        buffer_char(&b, '[');
    assert_true(decode_call(&a, (lb_slice){b.data, b.size}, 1000000, &call));
    assert_non_null(strstr(call.problem, "nested"));
    assert_true(decode_call(&a, (lb_slice){b.data, b.size}, 1000, &call));
    assert_non_null(strstr(call.problem, "max_message_size"));
    assert_true(decode_call(&a, (lb_slice){"", 0}, 1000, &call));
    assert_non_null(call.problem);

    buffer_clear(&b, 0); /* many parameters, the last one twice */
    buffer_str(&b, "{\"metadata\":{\"id\":\"i\",\"api_name\":\"a\",\"procedure_name\":\"p\",\"return_path\":"
                   "\"redis+key://r\"},\"kwargs\":{");
    for (int i = 0; i < 5000; i++)
        buffer_printf(&b, "\"k%d\":1,", i);
    size_t unique = b.size;
    buffer_str(&b, "\"k4999\":2}}");
    assert_true(decode_call(&a, (lb_slice){b.data, b.size}, 1000000, &call));
    assert_non_null(strstr(call.problem, "twice"));
    b.size = unique - 1;
    buffer_str(&b, "}}");
    assert_true(decode_call(&a, (lb_slice){b.data, b.size}, 1000000, &call));
    assert_null(call.problem);
    assert_int_equal(call.kwargs_count, 5000);
    buffer_free(&b);
    arena_free(&a);
}

/* Feeds a text in pieces of `piece` bytes and returns the first reply. */
static const reply *parse_in_pieces(reply_parser *p, const char *text, size_t piece)
{
    bool failed;
    const reply *r = NULL;
    for (size_t at = 0, size = strlen(text); at < size && !r; at += piece) {
        assert_true(parser_feed(p, text + at, size - at < piece ? size - at : piece));
        r = parser_next(p, &failed);
        assert_false(failed);
        parser_release(p); /* must keep what is still coming in, and may here because nothing else is held */
        if (r)
            break;
    }
    return r;
}

static void reads_replies_whatever_the_pieces(void **state)
{
    (void)state;
    const char *text = "*4\r\n$3\r\nabc\r\n:-7\r\n*2\r\n$-1\r\n+OK\r\n-ERR no\r\n";
    for (size_t piece = 1; piece < 20; piece++) {
        reply_parser p = {0};
        assert_true(parser_open(&p, 100));
        bool failed;
        assert_true(parser_feed(&p, "", 0));
        assert_null(parser_next(&p, &failed));
        for (size_t at = 0, size = strlen(text); at < size; at += piece)
            assert_true(parser_feed(&p, text + at, size - at < piece ? size - at : piece));
        const reply *r = parser_next(&p, &failed);
        assert_non_null(r);
        const reply *first = reply_first(r);
        assert_true(slice_is(reply_text(first), "abc"));
        assert_int_equal(reply_integer(first->next), -7);
        assert_int_equal(reply_first(first->next->next)->type, REDIS_REPLY_NIL);
        assert_true(reply_is_error_of(first->next->next->next, "ERR"));
        assert_null(first->next->next->next->next);
        parser_close(&p);

        assert_true(parser_open(&p, 100)); /* pieces parsed one by one, released in between */
        assert_non_null(parse_in_pieces(&p, text, piece));
        parser_close(&p);
    }
}

static void does_not_keep_what_is_too_large_nor_believe_lengths(void **state)
{
    (void)state;
    reply_parser p = {0};
    bool failed;
    assert_true(parser_open(&p, 5));
    assert_true(parser_feed(&p, "$6\r\nabcdef\r\n", 12));
    const reply *r = parser_next(&p, &failed);
    assert_false(reply_is_kept(r));
    assert_int_equal(r->as.text.size, 6);
    assert_true(parser_feed(&p, "*2000000000\r\n:1\r\n", 17));
    assert_null(parser_next(&p, &failed));
    assert_false(failed);
    parser_close(&p);
    assert_true(parser_open(&p, 5));
    assert_true(parser_feed(&p, "HTTP/1.1 200\r\n", 14));
    assert_null(parser_next(&p, &failed));
    assert_true(failed);
    parser_close(&p);
}

static void knows_ids(void **state)
{
    (void)state;
    entry_id id;
    char text[ENTRY_ID_TEXT];
    assert_true(entry_id_parse(slice_of("18446744073709551615-18446744073709551615"), &id));
    entry_id_text(text, id);
    assert_string_equal(text, "18446744073709551615-18446744073709551615");
    assert_true(entry_id_parse(slice_of("5"), &id));
    entry_id_text(text, id);
    assert_string_equal(text, "5-0");
    static const char *const bad[] = {"", "-", "1-", "-1", "1-2-3", "1 ", "18446744073709551616-0", "x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(entry_id_parse(slice_of(bad[i]), &id));
}

/* Against an array that tells the truth. */
static void sets_of_ids_remember(void **state)
{
    (void)state;
    enum { IDS = 2000 };
    static bool there[IDS];
    id_set s = {0};
    uint32_t random = 1;
    for (int i = 0; i < 40000; i++) {
        random = random * 1664525 + 1013904223;
        unsigned k = (random >> 8) % IDS;
        entry_id id = {1 + k / 3, k % 3};
        if (random >> 31) {
            assert_true(id_set_add(&s, id));
            there[k] = true;
        } else {
            id_set_remove(&s, id);
            there[k] = false;
        }
    }
    size_t count = 0;
    for (unsigned k = 0; k < IDS; k++) {
        assert_int_equal(id_set_has(&s, (entry_id){1 + k / 3, k % 3}), there[k]);
        count += there[k];
    }
    assert_int_equal(s.count, count);
    id_set_free(&s);
}

static void queues_of_messages_forget_from_the_front(void **state)
{
    (void)state;
    push_queue q = {0};
    static const char *const keys[] = {"a", "a", "b", "a"};
    for (size_t i = 0; i < 4; i++) {
        push *item = push_begin(&q, slice_of(keys[i]), ":q", slice_of("id"));
        buffer_printf(&q.text, "blob%zu", i);
        assert_int_equal(push_end(&q, item), 5);
    }
    assert_int_equal(push_run(&q, 0, 4), 2);
    push_forget(&q, 1);
    assert_int_equal(q.count, 3);
    assert_true(slice_is(push_key(&q, &q.items[1]), "b:q"));
    assert_memory_equal(q.text.data + q.items[1].blob, "blob2", 5);
    buffer out = {0};
    push_write(&q, &out, "RPUSH", 0, 1);
    const char *expected = "*3\r\n$5\r\nRPUSH\r\n$3\r\na:q\r\n$5\r\nblob1\r\n";
    assert_int_equal(out.size, strlen(expected));
    assert_memory_equal(out.data, expected, out.size);
    buffer_free(&out);
    push_free(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_comes_back_as_it_was),
        cmocka_unit_test(bounds_what_it_reads),
        cmocka_unit_test(reads_replies_whatever_the_pieces),
        cmocka_unit_test(does_not_keep_what_is_too_large_nor_believe_lengths),
        cmocka_unit_test(knows_ids),
        cmocka_unit_test(sets_of_ids_remember),
        cmocka_unit_test(queues_of_messages_forget_from_the_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
