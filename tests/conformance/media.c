/* The transports that the suite runs for. */
#include "conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../examples/transport/memory.h"
#include "base/local_folder.h"
#include "transports/local/instance.h"
#include "transports/local/local.h"
#include "transports/local/stream.h"
#include "transports/redis/redis.h"

/* ---- Redis ------------------------------------------------------------------------------------------ */

static void *redis_start(char url[256])
{
    redis_server *server = redis_server_start(NULL);
    snprintf(url, 256, "%s", server->url);
    return server;
}
static void redis_stop(void *server) { redis_server_stop(server); }

static void redis_ends(void *server) { redis_server_down(server); }
static void redis_is_started(void *server) { redis_server_up(server); }
static void redis_is_halted(void *server) { redis_server_pause(server); }
static void redis_goes_on(void *server) { redis_server_resume(server); }

static const trouble redis_troubles[] = {
    {"the server is stopped, and started again with its data", redis_ends, redis_is_started},
    {"the server hangs, and goes on", redis_is_halted, redis_goes_on},
    {0},
};

static bool redis_spoil_queue(void *server, const char *api_name, int n)
{
    static const char *const messages[] = {
        "",
        "not JSON",
        "\xff\xfe\x01",
        "[1, 2, 3]",
        "null",
        "{\"kwargs\": {}, \"metadata\": {}}",
        "{\"kwargs\": {\"n\": 1}, \"metadata\": {\"api_name\": \"shop\", \"id\": \"x\", \"procedure_name\": "
        "\"add\", \"return_path\": \"http://example.com/\"}}",
        "{\"kwargs\": {\"n\": 1}, \"metadata\": {\"api_name\": \"shop\", \"id\": \"x\", \"procedure_name\": "
        "\"add\"",
    };
    char key[64];
    if ((size_t)n >= sizeof messages / sizeof *messages)
        return false;
    snprintf(key, sizeof key, "%s:rpc_queue", api_name);
    redis_int(server, "RPUSH", key, messages[n], NULL);
    return true;
}

static bool redis_spoil_stream(void *server, const char *api_name, int n)
{
    static const char *const entries[][8] = {
        {"x", "y"},
        {"", "x"},
        {"api_name", "shop", "event_name", "ordered", "id", "1", ":n", "{"},
        {"api_name", "shop", "event_name", "ordered", "id", "1", ":n", "\xff\xfe"},
        {"api_name", "shop", "event_name", "ordered", "version", "soon", ":n", "1"},
        {"event_name", "ordered", "id", "1", "version", "1", ":n", "1"},
    };
    char key[64];
    if ((size_t)n >= sizeof entries / sizeof *entries)
        return false;
    snprintf(key, sizeof key, "%s.*:stream", api_name);
    const char *const *e = entries[n];
    lb_value_free(
        redis_command(server, "XADD", key, "*", e[0], e[1], e[2], e[3], e[4], e[5], e[6], e[7], NULL));
    return true;
}

static void redis_drop_group(void *server, const char *api_name, const char *group)
{
    char key[64];
    snprintf(key, sizeof key, "%s.*:stream", api_name);
    redis_int(server, "XGROUP", "DESTROY", key, group, NULL);
}

/* ---- Local ------------------------------------------------------------------------------------------ */

typedef struct folder {
    char *path, url[256];
    pid_t holder;
    int *held; /* shared with the holder */
} folder;

static void *local_start(char url[256])
{
    folder *f = calloc(1, sizeof *f);
    f->path = temporary_directory();
    f->held = shared_memory(sizeof *f->held);
    snprintf(f->url, sizeof f->url, "local://%s/bus", f->path);
    snprintf(url, 256, "%s", f->url);
    return f;
}

static void local_stop(void *medium)
{
    folder *f = medium;
    remove_directory(f->path);
    free(f->path);
    free(f);
}

/* As on a machine without futexes. */
static void *semaphore_start(char url[256])
{
    setenv("LIGHTBUS_WAKING", "semaphore", 1);
    return local_start(url);
}

/* The folder's store, as an instance of its own has it. */
static store *local_open(const folder *f, local_bus **instance)
{
    lb_error error = {0};
    store *s = NULL;
    void *self = NULL;
    const lb_transport_config config = {
        .size = sizeof config, .url = f->url, .service_name = "tests", .process_name = "meddler"};
    assert_ok(local_transport.open(&config, &self, &error), &error);
    *instance = self;
    assert_ok(local_store(*instance, in_ms(5000), &s, &error), &error);
    return s;
}

/* Begins to write to both databases, and never ends. */
__attribute__((noreturn)) static int hold_both(void *medium)
{
    folder *f = medium;
    local_bus *instance;
    transaction events, calls;
    lb_error error = {0};
    store *s = local_open(f, &instance);
    assert_ok(write_begin(s, STORE_EVENTS, 0, in_ms(5000), &events, &error), &error);
    assert_ok(write_begin(s, STORE_CALLS, 0, in_ms(5000), &calls, &error), &error);
    shared_set(f->held, 1);
    for (;;)
        pause();
}

static void a_writer_hangs(void *medium)
{
    folder *f = medium;
    shared_set(f->held, 0);
    f->holder = child_start(hold_both, f);
    wait_until(shared_get(f->held), PATIENCE_MS);
}

static void the_writer_is_killed(void *medium)
{
    folder *f = medium;
    child_kill(f->holder, SIGKILL);
    assert_int_equal(child_wait(f->holder, PATIENCE_MS), 128 + SIGKILL);
}

static void compacting_is_tried(void *medium)
{
    lb_error error = {0};
    uint64_t before, after;
    assert_status(local_folder_compact(((folder *)medium)->url, &before, &after, &error), LB_BUSY, &error);
}
static void nothing_is_done(void *medium) { (void)medium; }

static const trouble local_troubles[] = {
    {"a process hangs while it writes, and is killed", a_writer_hangs, the_writer_is_killed},
    {"somebody tries to compact the folder", compacting_is_tried, nothing_is_done},
    {0},
};

/* Runs one change of a store in a transaction. */
static void meddle(folder *f, store_part part, int (*change)(transaction *t, MDB_dbi table, const void *data),
                   const void *data)
{
    local_bus *instance;
    transaction t;
    lb_error error = {0};
    store *s = local_open(f, &instance);
    assert_ok(write_begin(s, part, 1 << 16, in_ms(5000), &t, &error), &error);
    assert_ok(write_end(&t, change(&t, s->parts[part].table, data), "meddling", &error), &error);
    local_transport.close(instance);
}

typedef struct junk {
    const char *api_name;
    lb_slice bytes;
} junk;

static int add_call(transaction *t, MDB_dbi table, const void *data)
{
    const junk *j = data;
    key k = key_3(KEY_CALL, hash_text(slice(j->api_name)), mdb_txn_id(t->txn), 0);
    MDB_val kv = key_val(&k), v = {j->bytes.size, (void *)(uintptr_t)j->bytes.data};
    return mdb_put(t->txn, table, &kv, &v, 0);
}

/* A call that waits for an hour, as a record, cut short after so many bytes less; 0: junk alone. */
static void record_of_call(buffer *b, const char *api_name, size_t cut)
{
    lb_kwarg kwarg = {.name = slice("n"), .json = slice("1")};
    lb_rpc_message call = {.id = slice("x"),
                           .api_name = slice(api_name),
                           .procedure_name = slice("add"),
                           .return_path = slice("http://example.com/"),
                           .kwargs = &kwarg,
                           .kwargs_count = 1,
                           .deadline_ns = in_ms(3600000)};
    put_call(b, &call);
    b->size -= cut;
}

static bool local_spoil_queue(void *medium, const char *api_name, int n)
{
    static const size_t cuts[] = {0, 1, 12, 20, 30}; /* the first has a return path of a stranger */
    buffer record = {0};
    if ((size_t)n >= sizeof cuts / sizeof *cuts)
        return false;
    record_of_call(&record, api_name, cuts[n]);
    meddle(medium, STORE_CALLS, add_call, &(junk){api_name, {record.data, record.size}});
    buffer_free(&record);
    return true;
}

static int add_entry(transaction *t, MDB_dbi table, const void *data)
{
    const junk *j = data;
    char name[64];
    native_id first;
    buffer sized = {0};
    snprintf(name, sizeof name, "%s.*", j->api_name);
    put_slice(&sized, j->bytes);
    int result = stream_append(t->txn, table, hash_text(slice(name)), slice(name),
                               (lb_slice){sized.data, sized.size}, wall_clock_ms(), 0, &first);
    buffer_free(&sized);
    return result;
}

static bool local_spoil_stream(void *medium, const char *api_name, int n)
{
    static const lb_slice records[] = {
        {"x", 1},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12},
        {"\1\0\0\0\4\0\0\0shop\7\0\0\0ordered\1\0\0\0x\1\0\0\0{", 33},
    };
    if ((size_t)n >= sizeof records / sizeof *records)
        return false;
    meddle(medium, STORE_EVENTS, add_entry, &(junk){api_name, records[n]});
    return true;
}

static int remove_group(transaction *t, MDB_dbi table, const void *data)
{
    const junk *j = data;
    char name[64];
    snprintf(name, sizeof name, "%s.*", j->api_name);
    return group_remove(t->txn, table, hash_text(slice(name)), hash_text(j->bytes));
}

static void local_drop_group(void *medium, const char *api_name, const char *group)
{
    meddle(medium, STORE_EVENTS, remove_group, &(junk){api_name, slice(group)});
}

/* ---- Memory ----------------------------------------------------------------------------------------- */

static void *memory_start(char url[256])
{
    static int number;
    snprintf(url, 256, "memory:test-%d", number++);
    return url;
}
static void memory_stop(void *nothing) { (void)nothing; }

#define LOCAL(start)                                                                                           \
    &local_transport, start, local_stop, NO_PASSWORDS, local_troubles, local_spoil_queue, local_spoil_stream,  \
        local_drop_group

const medium_kind media[] = {
    {"redis", &redis_transport, redis_start, redis_stop, NO_DEADLINES, redis_troubles, redis_spoil_queue,
     redis_spoil_stream, redis_drop_group},
    {"local", LOCAL(local_start)},
    {"semaphore", LOCAL(semaphore_start)},
    {"memory", &memory_transport, memory_start, memory_stop, NO_PROCESSES | NO_QUEUE_LIMIT | NO_PASSWORDS, NULL,
     NULL, NULL, NULL},
};
const size_t media_count = sizeof media / sizeof *media;
