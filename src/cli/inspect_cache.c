/* The cache of `lightbus inspect`: an LMDB folder for each bus, among the caches of the user, who alone may
 * look. Events are records in the order of time. They are read through a transport that has a history and
 * schemas and nothing else, so that the rest of inspect does not know the difference.
 *
 * A key of an event is its time and number, as in a native id, big-endian; then the API and the native id,
 * which tell apart those of one moment. */
#include "inspect_cache.h"

#include <lightbus/transport.h>

#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/date.h"
#include "../base/json.h"
#include "../base/wanted.h"
#include "folder.h"

#define SCHEME "inspect-cache"

enum {
    KEY_SIZE = 500, /* LMDB takes 511 */
    PLACE_SIZE = 2 * sizeof(uint64_t),
    KEEP_MEMORY = 256 * 1024,
    MOST_WAITING = 1 << 20,
    CUT_SHORT = -1, /* beside LMDB's results */
    MOST_LOOKED_AT = 4096,
};
#define MOST_BYTES ((size_t)16 << 30) /* address space; the file grows with what is kept */

struct inspect_cache {
    char *path;
    MDB_env *env;
    MDB_dbi events, schemas;
    buffer waiting; /* records to be written, each after its head: no lock is held while output blocks */
    buffer text;
};

typedef struct key {
    unsigned char bytes[KEY_SIZE];
    size_t size;
} key;

typedef struct place { /* in time */
    uint64_t ms, number;
} place;

/* ---- The folder ------------------------------------------------------------------------------------- */

static lb_status failed(const inspect_cache *c, int result, const char *what, lb_error *error)
{
    if (result == MDB_MAP_FULL)
        return lb_error_set(error, LB_NO_SPACE, "%s: the cache holds all that it can (%zu GiB): remove it",
                            c->path, MOST_BYTES >> 30);
    return lb_error_set(error, LB_SYSTEM, "%s: %s: %s", c->path, what,
                        result == CUT_SHORT ? "it has been cut short: remove it" : mdb_strerror(result));
}

static lb_status no_memory(lb_error *error)
{
    return lb_error_set(error, LB_NO_MEMORY, "out of memory for the cache");
}

/* The URL, which may be long, names the folder by a number (FNV-1a). */
static const char *folder_of(arena *memory, const char *bus_url, bool make, lb_error *error)
{
    const char *caches, *path;
    uint64_t number = UINT64_C(14695981039346656037);
    lb_status status = (make ? folder_private : folder_look)(memory, "XDG_CACHE_HOME", ".cache",
                                                             "the cache of inspect", &caches, error);
    if (status != LB_OK)
        return NULL;
    for (const char *at = bus_url; *at; at++)
        number = (number ^ (unsigned char)*at) * UINT64_C(1099511628211);
    path = arena_printf(memory, "%s/inspect-%016llx", caches, (unsigned long long)number);
    if (!path)
        no_memory(error);
    else if (make && mkdir(path, 0700) < 0 && errno != EEXIST) {
        lb_error_set(error, LB_ACCESS, "cannot make the folder \"%s\" for the cache of inspect: %s", path,
                     strerror(errno));
        return NULL;
    }
    return path;
}

static int open_tables(inspect_cache *c, bool make)
{
    MDB_txn *txn;
    int result = mdb_txn_begin(c->env, NULL, make ? 0 : MDB_RDONLY, &txn);
    if (result)
        return result;
    result = mdb_dbi_open(txn, "events", make ? MDB_CREATE : 0, &c->events);
    if (!result)
        result = mdb_dbi_open(txn, "schemas", make ? MDB_CREATE : 0, &c->schemas);
    if (!result)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return result;
}

/* Pages that the file does not have would end the program with a signal when they are looked at. */
static int check_size(const inspect_cache *c)
{
    MDB_envinfo info;
    MDB_stat pages;
    struct stat file;
    int fd, result = mdb_env_info(c->env, &info);
    if (!result)
        result = mdb_env_stat(c->env, &pages);
    if (!result)
        result = mdb_env_get_fd(c->env, &fd);
    if (!result && fstat(fd, &file) < 0)
        result = errno;
    if (!result && (uint64_t)file.st_size < (uint64_t)(info.me_last_pgno + 1) * pages.ms_psize)
        result = CUT_SHORT;
    return result;
}

/* A cache that a crash of the machine has spoilt is no loss: nothing is synced. */
static inspect_cache *open_folder(const char *path, bool make, lb_error *error)
{
    inspect_cache *c = calloc(1, sizeof *c);
    if (c)
        c->path = strdup(path);
    if (!c || !c->path) {
        no_memory(error);
        inspect_cache_close(c);
        return NULL;
    }
    int result = mdb_env_create(&c->env);
    if (!result)
        result = mdb_env_set_maxdbs(c->env, 2);
    if (!result && make)
        result = mdb_env_set_mapsize(c->env, MOST_BYTES);
    if (!result)
        result = mdb_env_open(c->env, path, MDB_NOTLS | (make ? MDB_NOSYNC : MDB_RDONLY), 0600);
    if (!result)
        result = check_size(c);
    if (!result)
        result = open_tables(c, make);
    if (!result)
        return c;
    if (!make && (result == ENOENT || result == MDB_NOTFOUND))
        lb_error_set(error, LB_ACCESS,
                     "nothing is kept of this bus: lightbus inspect --cache keeps what it reads");
    else
        failed(c, result, "the cache cannot be opened", error);
    inspect_cache_close(c);
    return NULL;
}

inspect_cache *inspect_cache_open(const char *bus_url, lb_error *error)
{
    arena memory = {0};
    const char *path = folder_of(&memory, bus_url, true, error);
    inspect_cache *c = path ? open_folder(path, true, error) : NULL;
    arena_free(&memory);
    return c;
}

void inspect_cache_close(inspect_cache *c)
{
    if (!c)
        return;
    if (c->env)
        mdb_env_close(c->env);
    buffer_free(&c->waiting);
    buffer_free(&c->text);
    free(c->path);
    free(c);
}

/* ---- Keys ------------------------------------------------------------------------------------------- */

/* What "1700000000000-3", or another native id that begins with a time, says; false: it begins otherwise.
 * `rest` is what follows. */
static bool read_place(const char *text, place *p, const char **rest)
{
    char *end;
    *p = (place){0};
    *rest = text;
    if (*text < '0' || *text > '9')
        return false;
    p->ms = strtoull(text, &end, 10);
    if (*end == '-' && end[1] >= '0' && end[1] <= '9')
        p->number = strtoull(end + 1, &end, 10);
    *rest = end;
    return true;
}

static void write_place(unsigned char *out, place p)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (unsigned char)(p.ms >> (56 - 8 * i));
        out[8 + i] = (unsigned char)(p.number >> (56 - 8 * i));
    }
}

static void add_to_key(key *k, const char *text)
{
    size_t size = strlen(text) + 1;
    if (size > KEY_SIZE - k->size)
        size = KEY_SIZE - k->size;
    memcpy(k->bytes + k->size, text, size);
    k->size += size;
}

static key key_of(const lb_event *event)
{
    key k = {.size = PLACE_SIZE};
    place p;
    const char *rest;
    read_place(lb_event_native_id(event), &p, &rest);
    write_place(k.bytes, p);
    add_to_key(&k, lb_event_api(event));
    add_to_key(&k, lb_event_native_id(event));
    return k;
}

/* ---- Keeping ---------------------------------------------------------------------------------------- */

static void add_text(buffer *b, const char *name, const char *text)
{
    buffer_printf(b, "%s\"%s\":", b->size > 1 ? "," : "", name);
    if (!buffer_json_string(b, text, strlen(text)))
        buffer_literal(b, "\"?\"");
}

static void write_event(buffer *b, const lb_event *event, const char *problem)
{
    buffer_clear(b, KEEP_MEMORY);
    buffer_char(b, '{');
    add_text(b, "id", lb_event_id(event));
    add_text(b, "api_name", lb_event_api(event));
    add_text(b, "event_name", lb_event_name(event));
    add_text(b, "native_id", lb_event_native_id(event));
    if (problem)
        add_text(b, "problem", problem);
    buffer_printf(b, ",\"version\":%d,\"kwargs\":{", lb_event_version(event));
    const lb_arg *args = lb_args(event);
    for (const lb_arg *arg = args; arg->name; arg++) {
        if (arg != args)
            buffer_char(b, ',');
        if (!buffer_json_string(b, arg->name, strlen(arg->name)))
            buffer_literal(b, "\"?\"");
        buffer_char(b, ':');
        json_write(b, arg->value.as.value);
    }
    buffer_literal(b, "}}");
}

typedef struct head { /* of a record that waits; its key and its text follow */
    MDB_dbi table;
    size_t key_size, size;
} head;

static lb_status keep(inspect_cache *c, MDB_dbi table, const void *name, size_t name_size, lb_error *error)
{
    const head h = {table, name_size, c->text.size};
    buffer_add(&c->waiting, &h, sizeof h);
    buffer_add(&c->waiting, name, name_size);
    buffer_add(&c->waiting, c->text.data, c->text.size);
    if (c->text.failed || c->waiting.failed)
        return no_memory(error);
    return c->waiting.size < MOST_WAITING ? LB_OK : inspect_cache_flush(c, error);
}

lb_status inspect_cache_keep(inspect_cache *c, const lb_event *event, const char *problem, lb_error *error)
{
    const key k = key_of(event);
    write_event(&c->text, event, problem);
    return keep(c, c->events, k.bytes, k.size, error);
}

lb_status inspect_cache_keep_schemas(inspect_cache *c, const lb_value *schemas, lb_error *error)
{
    lb_value_iterator it = lb_value_iterate(schemas);
    lb_status status = LB_OK;
    while (status == LB_OK && lb_value_next(&it)) {
        buffer_clear(&c->text, KEEP_MEMORY);
        json_write(&c->text, it.value);
        if (it.name_size && it.name_size <= KEY_SIZE)
            status = keep(c, c->schemas, it.name, it.name_size, error);
    }
    return status;
}

static int write_waiting(inspect_cache *c, MDB_txn *txn)
{
    int result = 0;
    head h;
    for (char *at = c->waiting.data, *end = at + c->waiting.size; at < end && !result;
         at += h.key_size + h.size) {
        memcpy(&h, at, sizeof h);
        at += sizeof h;
        MDB_val k = {h.key_size, at}, v = {h.size, at + h.key_size};
        result = mdb_put(txn, h.table, &k, &v, 0);
    }
    return result;
}

lb_status inspect_cache_flush(inspect_cache *c, lb_error *error)
{
    MDB_txn *txn;
    if (!c->waiting.size)
        return LB_OK;
    int result = mdb_txn_begin(c->env, NULL, 0, &txn);
    if (!result) {
        result = write_waiting(c, txn);
        if (result)
            mdb_txn_abort(txn);
        else
            result = mdb_txn_commit(txn);
    }
    buffer_clear(&c->waiting, MOST_WAITING);
    return result ? failed(c, result, "keeping events", error) : LB_OK;
}

/* ---- The transport that reads it -------------------------------------------------------------------- */

static lb_status cache_open(const lb_transport_config *config, void **self, lb_error *error)
{
    *self = open_folder(config->url + strlen(SCHEME ":"), false, error);
    return *self ? LB_OK : error->status;
}

static void cache_close(void *self) { inspect_cache_close(self); }

/* LMDB environments do not go over a fork; this program makes none while it has one. */
static void cache_after_fork(void *self) { (void)self; }

static lb_status load(void *self, void (*found)(lb_slice api_name, lb_slice json, void *data), void *data,
                      int64_t deadline_ns, lb_error *error)
{
    inspect_cache *c = self;
    MDB_txn *txn;
    MDB_cursor *cursor = NULL;
    MDB_val k, v;
    (void)deadline_ns;
    int result = mdb_txn_begin(c->env, NULL, MDB_RDONLY, &txn);
    if (result)
        return failed(c, result, "reading schemas", error);
    result = mdb_cursor_open(txn, c->schemas, &cursor);
    while (!result && !(result = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)))
        found((lb_slice){k.mv_data, k.mv_size}, (lb_slice){v.mv_data, v.mv_size}, data);
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return result == MDB_NOTFOUND ? LB_OK : failed(c, result, "reading schemas", error);
}

typedef struct reading {
    inspect_cache *cache;
    wanted_streams wanted; /* each API is one */
    unsigned char from[PLACE_SIZE], to[PLACE_SIZE];
    bool oldest_first;
    key last; /* looked at; size 0: none */
    lb_event_message *batch;
    size_t batch_most;
    arena memory;
} reading;

static void history_close(void *history)
{
    reading *r = history;
    if (!r)
        return;
    wanted_free(&r->wanted);
    arena_free(&r->memory);
    free(r->batch);
    free(r);
}

/* A time stands for all of its millisecond. */
static lb_status read_bound(const char *text, const char *name, uint64_t number, unsigned char *out,
                            lb_error *error)
{
    place p;
    const char *rest;
    int64_t ms;
    if (!read_place(text, &p, &rest) || *rest) {
        if (!iso8601_ms(text, &ms))
            return lb_error_set(error, LB_CONFIG,
                                "%s: expected a native id or a time as ISO 8601, not \"%.60s\"", name, text);
        p = (place){ms > 0 ? (uint64_t)ms : 0, number};
    } else if (!strchr(text, '-')) {
        p.number = number;
    }
    write_place(out, p);
    return LB_OK;
}

static lb_status read_bounds(reading *r, const lb_history_config *config, lb_error *error)
{
    lb_status status = LB_OK;
    r->oldest_first = config->oldest_first;
    memset(r->to, 0xff, sizeof r->to);
    if (config->from)
        status = read_bound(config->from, "from", 0, r->from, error);
    if (status == LB_OK && config->to)
        status = read_bound(config->to, "to", UINT64_MAX, r->to, error);
    return status;
}

static lb_status history_open(void *self, const lb_history_config *config, int64_t deadline_ns, void **history,
                              lb_error *error)
{
    reading *r = calloc(1, sizeof *r);
    (void)deadline_ns;
    *history = NULL;
    if (!r)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a history");
    r->cache = self;
    lb_status status = read_bounds(r, config, error);
    for (size_t i = 0; i < config->count && status == LB_OK; i++)
        if (!wanted_add(&r->wanted, config->api_names[i], config->api_names[i], config->event_names[i]))
            status = lb_error_set(error, LB_NO_MEMORY, "out of memory for a history");
    if (status == LB_OK)
        *history = r;
    else
        history_close(r);
    return status;
}

/* From the last one that was looked at to the next. */
static int go_on(const reading *r, MDB_cursor *cursor, MDB_val *k, MDB_val *v)
{
    MDB_cursor_op next = r->oldest_first ? MDB_NEXT : MDB_PREV;
    unsigned char past[PLACE_SIZE + 1];
    int result;
    if (r->last.size) {
        *k = (MDB_val){r->last.size, (void *)(uintptr_t)r->last.bytes};
    } else if (r->oldest_first) {
        *k = (MDB_val){PLACE_SIZE, (void *)(uintptr_t)r->from};
    } else {
        memcpy(past, r->to, PLACE_SIZE);
        past[PLACE_SIZE] = 0xff; /* no name begins so */
        *k = (MDB_val){sizeof past, past};
    }
    MDB_val sought = *k;
    result = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
    if (result == MDB_NOTFOUND && !r->oldest_first)
        return mdb_cursor_get(cursor, k, v, MDB_LAST);
    if (result || (r->oldest_first &&
                   (k->mv_size != sought.mv_size || memcmp(k->mv_data, sought.mv_data, sought.mv_size) != 0)))
        return result;
    return mdb_cursor_get(cursor, k, v, next);
}

static bool is_past(const reading *r, const MDB_val *k)
{
    if (k->mv_size < PLACE_SIZE)
        return false;
    return r->oldest_first ? memcmp(k->mv_data, r->to, PLACE_SIZE) > 0
                           : memcmp(k->mv_data, r->from, PLACE_SIZE) < 0;
}

static bool is_wanted(const reading *r, lb_slice api_name, lb_slice event_name)
{
    for (size_t i = 0; i < r->wanted.count; i++)
        if ((!api_name.size || slice_equal(r->wanted.items[i].api_name, api_name)) &&
            wanted_has(&r->wanted.items[i], api_name, event_name))
            return true;
    return false;
}

static lb_slice text_of(const lb_value *record, const char *name)
{
    const lb_value *value = lb_value_get(record, name);
    return lb_value_type_of(value) == LB_TYPE_STR ? json_slice(value) : (lb_slice){"", 0};
}

static bool read_kwargs(arena *memory, const lb_value *record, lb_event_message *m)
{
    const lb_value *kwargs = lb_value_get(record, "kwargs");
    lb_value_iterator it = lb_value_iterate(kwargs);
    lb_kwarg *list = arena_alloc(memory, (lb_value_count(kwargs) + 1) * sizeof *list);
    for (m->kwargs_count = 0; list && lb_value_next(&it); m->kwargs_count++)
        list[m->kwargs_count] = (lb_kwarg){.name = {it.name, it.name_size}, .value = it.value};
    m->kwargs = list;
    return list != NULL;
}

/* False when memory is short. A record that is none of ours is passed over. */
static bool read_record(reading *r, const MDB_val *v, lb_event_message *m, bool *wanted)
{
    const lb_value *record;
    lb_error why = {0};
    *wanted = false;
    lb_status status = json_parse(&r->memory, v->mv_data, v->mv_size, &record, &why);
    if (status != LB_OK || lb_value_type_of(record) != LB_TYPE_DICT)
        return status != LB_NO_MEMORY;
    lb_slice problem = text_of(record, "problem");
    *m = (lb_event_message){.id = text_of(record, "id"),
                            .api_name = text_of(record, "api_name"),
                            .event_name = text_of(record, "event_name"),
                            .native_id = text_of(record, "native_id"),
                            .version = (int)lb_value_int(lb_value_get(record, "version")),
                            .problem = problem.size ? problem.data : NULL};
    *wanted = is_wanted(r, m->api_name, m->event_name);
    return !*wanted || read_kwargs(&r->memory, record, m);
}

static int fetch(reading *r, MDB_cursor *cursor, size_t max, size_t *count, bool *end)
{
    MDB_val k, v;
    bool wanted;
    int result = go_on(r, cursor, &k, &v);
    for (size_t looked = 0; !result; looked++) {
        if (is_past(r, &k) || *count == max || looked == MOST_LOOKED_AT)
            break;
        r->last.size = k.mv_size < KEY_SIZE ? k.mv_size : KEY_SIZE;
        memcpy(r->last.bytes, k.mv_data, r->last.size);
        if (!read_record(r, &v, &r->batch[*count], &wanted))
            return ENOMEM;
        *count += wanted;
        result = mdb_cursor_get(cursor, &k, &v, r->oldest_first ? MDB_NEXT : MDB_PREV);
    }
    *end = result == MDB_NOTFOUND || (!result && is_past(r, &k));
    return result == MDB_NOTFOUND ? 0 : result;
}

static lb_status history_fetch(void *history, size_t max, int64_t deadline_ns, const lb_event_message **events,
                               size_t *count, bool *end, lb_error *error)
{
    reading *r = history;
    MDB_txn *txn;
    MDB_cursor *cursor;
    (void)deadline_ns;
    *count = 0;
    *end = false;
    if (max > r->batch_most) {
        lb_event_message *larger = realloc(r->batch, max * sizeof *larger);
        if (!larger)
            return lb_error_set(error, LB_NO_MEMORY, "out of memory for a history");
        r->batch = larger;
        r->batch_most = max;
    }
    arena_reset(&r->memory, KEEP_MEMORY);
    int result = mdb_txn_begin(r->cache->env, NULL, MDB_RDONLY, &txn);
    if (result)
        return failed(r->cache, result, "reading events", error);
    result = mdb_cursor_open(txn, r->cache->events, &cursor);
    if (!result) {
        result = fetch(r, cursor, max, count, end);
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    *events = r->batch;
    return result ? failed(r->cache, result, "reading events", error) : LB_OK;
}

const char *inspect_cache_url(arena *memory, const char *bus_url, lb_error *error)
{
    static const lb_event_transport event = {
        .history = history_open, .history_fetch = history_fetch, .history_close = history_close};
    static const lb_schema_transport schema = {.load = load};
    static const lb_transport transport = {.abi = LB_TRANSPORT_ABI,
                                           .size = sizeof transport,
                                           .name = "cache of inspect",
                                           .schemes = SCHEME,
                                           .open = cache_open,
                                           .close = cache_close,
                                           .after_fork = cache_after_fork,
                                           .event = &event,
                                           .schema = &schema};
    const char *path = folder_of(memory, bus_url, false, error);
    lb_status status = path ? lb_transport_register(&transport, error) : error->status;
    const char *url =
        status == LB_OK || status == LB_DUPLICATE ? arena_printf(memory, SCHEME ":%s", path) : NULL;
    if (!url && status == LB_OK)
        no_memory(error);
    return url;
}
