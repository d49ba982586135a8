/* Floors: how fast the same work goes over raw sockets, with nothing in between. Each does the least that
 * Lightbus's wire protocol allows on the server's side, and almost nothing on its own: no JSON is read or
 * written, ids are copied from a fixed place in the message.
 *
 *     floor SECONDS NAME[@same]
 *
 * starts a server of its own and prints `floor.NAME metric value unit` lines. */
#include "bench.h"
#include "resp.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct run {
    const char *name; /* as printed */
    int64_t duration_ns;
    redis_server *server;
} run;

static resp *run_connect(const run *r) { return resp_connect(r->server->port); }

/* ---- RPC: messages like Lightbus's, with an id of 24 digits at the same place in call and result ------ */

#define QUEUE      "bench.api:rpc_queue"
#define EXPIRY_KEY "rpc_expiry_key:"
#define RESULT_KEY "bench.api.echo:result:"
#define REPLY_LIST "lightbus:replies:1"
#define ZERO_ID    "000000000000000000000000"
#define HEAD       "{\"metadata\": {\"id\": \""
#define CALL_TAIL                                                                                              \
    "\", \"api_name\": \"bench.api\", \"procedure_name\": \"echo\", "                                          \
    "\"return_path\": \"redis+key://" RESULT_KEY ZERO_ID "\"}, \"kwargs\": {\"n\": 12345}}"
#define RESULT_TAIL                                                                                            \
    "\", \"rpc_message_id\": \"" ZERO_ID "\", \"error\": false}, \"kwargs\": {\"result\": \"hello world\"}}"

enum { ID_SIZE = sizeof ZERO_ID - 1, ID_AT = sizeof HEAD - 1, IN_FLIGHT = 50, BATCH = 64, STAMPS = 1 << 12 };

static char call_message[] = HEAD ZERO_ID CALL_TAIL;
static char result_message[] = HEAD ZERO_ID RESULT_TAIL;

/* A key that ends with an id, NUL-terminated. */
typedef struct id_key {
    char text[64];
    size_t id_at;
} id_key;

static id_key id_key_make(const char *prefix)
{
    id_key key = {.id_at = strlen(prefix)};
    memcpy(key.text, prefix, key.id_at);
    return key;
}

static void id_key_set(id_key *key, const char *id) { memcpy(key->text + key->id_at, id, ID_SIZE); }

static void set_call_id(uint64_t number)
{
    for (char *at = call_message + ID_AT + ID_SIZE; at > call_message + ID_AT; number >>= 4)
        *--at = "0123456789abcdef"[number & 15];
}

static uint64_t get_id(const char *message)
{
    uint64_t number = 0;
    for (const char *at = message + ID_AT; at < message + ID_AT + ID_SIZE; at++)
        number = number * 16 + (uint64_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
    return number;
}

/* One call at a time, served. The result is pushed in the same write as the next pop is asked for. */
static _Noreturn void serve_one_at_a_time(const run *r)
{
    resp *c = run_connect(r);
    id_key expiry = id_key_make(EXPIRY_KEY), result = id_key_make(RESULT_KEY);
    resp_command(c, "BLPOP", QUEUE, "0", NULL);
    resp_flush(c);
    for (;;) {
        resp_read(c);
        const char *id = resp_data(c, 2) + ID_AT;
        memcpy(result_message + ID_AT, id, ID_SIZE);
        id_key_set(&result, id);
        id_key_set(&expiry, id);
        resp_command(c, "DEL", expiry.text, NULL);
        resp_flush(c);
        resp_read(c);
        if (c->tokens[0].number != 1)
            die("a call had expired");
        resp_begin(c, 3);
        resp_text(c, "LPUSH");
        resp_text(c, result.text);
        resp_arg(c, result_message, sizeof result_message - 1);
        resp_command(c, "EXPIRE", result.text, "60", NULL);
        resp_command(c, "BLPOP", QUEUE, "0", NULL);
        resp_flush(c);
        resp_skip(c, 2);
    }
}

static void call_once(resp *c, uint64_t number, id_key *expiry, id_key *result)
{
    set_call_id(number);
    id_key_set(expiry, call_message + ID_AT);
    id_key_set(result, call_message + ID_AT);
    resp_command(c, "SET", expiry->text, "1", "EX", "5", NULL); /* before the call can be popped */
    resp_begin(c, 3);
    resp_text(c, "RPUSH");
    resp_text(c, QUEUE);
    resp_arg(c, call_message, sizeof call_message - 1);
    resp_command(c, "BLPOP", result->text, "5", NULL);
    resp_flush(c);
    resp_skip(c, 3);
    if (c->tokens[0].number != 2)
        die("a call was not answered");
}

/* One call at a time, each with a result key of its own as Python's, in as few writes as possible. */
static void rpc_seq_compat(const run *r)
{
    enum { WARM_UP = 200 };
    pid_t worker = worker_fork();
    if (worker == 0)
        serve_one_at_a_time(r);
    resp *c = run_connect(r);
    id_key expiry = id_key_make(EXPIRY_KEY), result = id_key_make(RESULT_KEY);
    uint64_t number = 0;
    while (number < WARM_UP)
        call_once(c, ++number, &expiry, &result);
    histogram latencies = {0};
    meter m = meter_start(r->server, worker);
    int64_t before = m.start_ns, end = before + r->duration_ns;
    while (before < end) {
        call_once(c, ++number, &expiry, &result);
        int64_t now = now_ns();
        histogram_add(&latencies, now - before);
        before = now;
    }
    meter_emit(&m, r->name, (double)(number - WARM_UP), "call/s");
    histogram_emit(&latencies, r->name);
    worker_stop(worker, SIGKILL);
    resp_close(c);
}

/* Many calls in flight, served: a batch is popped, its expiry keys are deleted, all its results are pushed to
 * the caller's list in the write that asks for the next batch. */
static _Noreturn void serve_batches(const run *r)
{
    resp *c = run_connect(r), *d = run_connect(r);
    id_key expiry = id_key_make(EXPIRY_KEY);
    resp_command(c, "BLMPOP", "0", "1", QUEUE, "LEFT", "COUNT", "64", NULL);
    resp_flush(c);
    for (;;) {
        resp_read(c);
        size_t count = resp_size(c, 2);
        for (size_t i = 0; i < count; i++) {
            id_key_set(&expiry, resp_data(c, 3 + i) + ID_AT);
            resp_command(d, "DEL", expiry.text, NULL);
        }
        resp_flush(d);
        resp_skip(d, count);
        resp_begin(c, 2 + count);
        resp_text(c, "RPUSH");
        resp_text(c, REPLY_LIST);
        for (size_t i = 0; i < count; i++) {
            memcpy(result_message + ID_AT, resp_data(c, 3 + i) + ID_AT, ID_SIZE);
            resp_arg(c, result_message, sizeof result_message - 1);
        }
        resp_command(c, "EXPIRE", REPLY_LIST, "60", NULL);
        resp_command(c, "BLMPOP", "0", "1", QUEUE, "LEFT", "COUNT", "64", NULL);
        resp_flush(c);
        resp_skip(c, 2);
    }
}

/* Sends `count` calls in one write, none of its replies asked for. */
static void call_batch(resp *c, uint64_t first, size_t count, int64_t *stamps)
{
    id_key expiry = id_key_make(EXPIRY_KEY);
    for (size_t i = 0; i < count; i++) {
        set_call_id(first + i);
        id_key_set(&expiry, call_message + ID_AT);
        resp_command(c, "SET", expiry.text, "1", "EX", "5", NULL);
    }
    resp_begin(c, 2 + count);
    resp_text(c, "RPUSH");
    resp_text(c, QUEUE);
    int64_t now = now_ns();
    for (size_t i = 0; i < count; i++) {
        set_call_id(first + i);
        stamps[(first + i) % STAMPS] = now;
        resp_arg(c, call_message, sizeof call_message - 1);
    }
    resp_flush(c);
}

/* 50 calls in flight from one thread; one reply list per client, everything that waits in one write. */
static void rpc_c50_batched_compat(const run *r)
{
    pid_t worker = worker_fork();
    if (worker == 0)
        serve_batches(r);
    resp *calls = run_connect(r), *replies = run_connect(r);
    resp_command(calls, "CLIENT", "REPLY", "OFF", NULL);
    int64_t stamps[STAMPS];
    histogram latencies = {0};
    uint64_t sent = 0, answered = 0;
    meter m = meter_start(r->server, worker);
    int64_t now = m.start_ns, end = now + r->duration_ns;
    while (now < end) {
        size_t more = IN_FLIGHT - (size_t)(sent - answered);
        call_batch(calls, sent, more, stamps);
        sent += more;
        resp_command(replies, "BLMPOP", "5", "1", REPLY_LIST, "LEFT", "COUNT", "64", NULL);
        resp_flush(replies);
        resp_read(replies);
        if (replies->tokens[0].number != 2)
            die("calls were not answered");
        now = now_ns();
        size_t count = resp_size(replies, 2);
        for (size_t i = 0; i < count; i++)
            histogram_add(&latencies, now - stamps[get_id(resp_data(replies, 3 + i)) % STAMPS]);
        answered += count;
    }
    meter_emit(&m, r->name, (double)answered, "call/s");
    histogram_emit(&latencies, r->name);
    worker_stop(worker, SIGKILL);
    resp_close(calls);
    resp_close(replies);
}

/* ---- Events ------------------------------------------------------------------------------------------ */

#define STREAM "bench.api.*:stream"
#define FIELDS                                                                                                 \
    "id", "ZOCTLh1CEeimW3gxwcOTbg==", "api_name", "bench.api", "event_name", "thing_happened", "version", "1", \
        ":user", "\"admin\"", ":n", "12345", ":email", "\"admin@example.com\"", NULL

static char payload[100];

static void add_payload_capped(resp *c)
{
    resp_begin(c, 8);
    resp_text(c, "XADD");
    resp_text(c, STREAM);
    resp_text(c, "MAXLEN");
    resp_text(c, "~");
    resp_text(c, "100000");
    resp_text(c, "*");
    resp_text(c, "d");
    resp_arg(c, payload, sizeof payload);
}

static void add_payload(resp *c)
{
    resp_begin(c, 5);
    resp_text(c, "XADD");
    resp_text(c, STREAM);
    resp_text(c, "*");
    resp_text(c, "d");
    resp_arg(c, payload, sizeof payload);
}

static void add_fields_capped(resp *c)
{
    resp_command(c, "XADD", STREAM, "MAXLEN", "~", "100000", "*", FIELDS);
}

static void add_fields(resp *c) { resp_command(c, "XADD", STREAM, "*", FIELDS); }

/* Writes `pipeline` events and waits for all their ids, again and again. */
static void add_events(const run *r, void (*add)(resp *c), size_t pipeline)
{
    resp *c = run_connect(r);
    histogram latencies = {0};
    size_t added = 0;
    meter m = meter_start(r->server, 0);
    int64_t before = m.start_ns, end = before + r->duration_ns;
    while (before < end) {
        for (size_t i = 0; i < pipeline; i++)
            add(c);
        resp_flush(c);
        resp_skip(c, pipeline);
        int64_t now = now_ns();
        histogram_add(&latencies, now - before);
        before = now;
        added += pipeline;
    }
    meter_emit(&m, r->name, (double)added, "event/s");
    histogram_emit(&latencies, r->name);
    resp_close(c);
}

static void xadd_p1(const run *r) { add_events(r, add_payload_capped, 1); }
static void xadd_p64_lightbusfields(const run *r) { add_events(r, add_fields_capped, BATCH); }

static void fill_stream(resp *c, void (*add)(resp *c), size_t count)
{
    for (size_t i = 0; i < count; i += 500) {
        for (size_t j = 0; j < 500; j++)
            add(c);
        resp_flush(c);
        resp_skip(c, 500);
    }
    resp_command(c, "XGROUP", "CREATE", STREAM, "bench-group", "0", NULL);
    resp_flush(c);
    resp_skip(c, 1);
}

/* Appends the acknowledgement of the batch that was read last. */
static void acknowledge(resp *c, char ids[][32], size_t count)
{
    if (count == 0)
        return;
    resp_begin(c, 3 + count);
    resp_text(c, "XACK");
    resp_text(c, STREAM);
    resp_text(c, "bench-group");
    for (size_t i = 0; i < count; i++)
        resp_text(c, ids[i]);
}

/* Copies the ids out of an XREADGROUP reply: *1 *2 stream *count (*2 id *fields name value ...)... */
static size_t take_ids(const resp *c, char ids[][32])
{
    if (c->tokens[0].number <= 0)
        return 0;
    size_t count = resp_size(c, 3);
    for (size_t i = 0, at = 4; i < count; i++) {
        snprintf(ids[i], 32, "%.*s", (int)resp_size(c, at + 1), resp_data(c, at + 1));
        at += 3 + resp_size(c, at + 2);
    }
    return count;
}

/* Reads a stream of 200,000 events, 100 at a time; each batch is acknowledged in the write that asks for the
 * next. */
static void read_events(const run *r, void (*add)(resp *c))
{
    char ids[100][32];
    size_t count = 0, taken = 0;
    resp *c = run_connect(r);
    fill_stream(c, add, 200000);
    meter m = meter_start(r->server, 0);
    int64_t end = m.start_ns + r->duration_ns;
    do {
        acknowledge(c, ids, count);
        resp_command(c, "XREADGROUP", "GROUP", "bench-group", "c1", "COUNT", "100", "STREAMS", STREAM, ">",
                     NULL);
        resp_flush(c);
        resp_skip(c, count ? 2 : 1);
        taken += count = take_ids(c, ids);
    } while (count && now_ns() < end);
    meter_emit(&m, r->name, (double)taken, "event/s");
    resp_close(c);
}

static void xread_c100_fused(const run *r) { read_events(r, add_payload); }
static void xread_c100_fused_lightbusfields(const run *r) { read_events(r, add_fields); }

/* ---- For orientation --------------------------------------------------------------------------------- */

static void add_ping(resp *c) { resp_command(c, "PING", NULL); }
static void ping(const run *r) { add_events(r, add_ping, 1); }

/* ---- */

static const struct floor {
    const char *name;
    void (*measure)(const run *r);
} floors[] = {
    {"ping", ping},
    {"rpc_seq_compat", rpc_seq_compat},
    {"rpc_c50_batched_compat", rpc_c50_batched_compat},
    {"xadd_p1", xadd_p1},
    {"xadd_p64_lightbusfields", xadd_p64_lightbusfields},
    {"xread_c100_fused", xread_c100_fused},
    {"xread_c100_fused_lightbusfields", xread_c100_fused_lightbusfields},
};

static const struct floor *find_floor(const char *name)
{
    size_t size = strcspn(name, "@");
    for (size_t i = 0; i < sizeof floors / sizeof *floors; i++)
        if (strlen(floors[i].name) == size && memcmp(floors[i].name, name, size) == 0)
            return &floors[i];
    return NULL;
}

int main(int argc, char **argv)
{
    double seconds = argc == 3 ? atof(argv[1]) : 0;
    const struct floor *floor = argc == 3 ? find_floor(argv[2]) : NULL;
    if (!floor || seconds <= 0) {
        fputs("usage: floor SECONDS NAME[@same]\n", stderr);
        for (size_t i = 0; i < sizeof floors / sizeof *floors; i++)
            fprintf(stderr, "  %s\n", floors[i].name);
        return 2;
    }
    char name[96];
    snprintf(name, sizeof name, "floor.%s", argv[2]);
    memset(payload, 'x', sizeof payload);
    alarm(60);
    place(argv[2]);
    run r = {.name = name, .duration_ns = (int64_t)(seconds * 1e9), .server = server_start()};
    floor->measure(&r);
    return 0;
}
