/* The folder, for people: `lightbus local`. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../base/local_folder.h"
#include "instance.h"
#include "presence.h"
#include "stream.h"

enum { WAIT_MS = 5000 };

static lb_status parse(const char *url, local_options *o, lb_error *error)
{
    char path[PATH_MAX + 16];
    lb_status status = local_options_parse(o, url, error);
    if (status != LB_OK)
        return status;
    snprintf(path, sizeof path, "%s/events", o->folder);
    return access(path, F_OK) == 0 || errno == EACCES
               ? LB_OK
               : lb_error_set(error, LB_CONFIG, "there is no local bus in %s", o->folder);
}

static void put_member(buffer *b, const char *name, int64_t value)
{
    buffer_printf(b, ",\"%s\":%lld", name, (long long)value);
}

static void put_text(buffer *b, const char *data, size_t size)
{
    if (!buffer_json_string(b, data, size))
        buffer_literal(b, "\"?\"");
}

static int put_groups(buffer *b, MDB_txn *txn, MDB_dbi table, uint64_t stream_id, const stream *s)
{
    MDB_cursor *c;
    key prefix = key_1(KEY_GROUP, stream_id);
    MDB_val k = key_val(&prefix), v;
    bool first = true;
    int result = mdb_cursor_open(txn, table, &c);
    if (result)
        return result;
    buffer_literal(b, ",\"groups\":[");
    int more = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && key_within(&k, &prefix); more = mdb_cursor_get(c, &k, &v, MDB_NEXT), first = false) {
        group g;
        presence p = {0};
        int64_t pending = 0;
        if (v.mv_size < sizeof g)
            result = MDB_CORRUPTED;
        if (result == 0)
            result = presence_of(txn, table, stream_id, key_number(&k, 1), &p);
        if (result == 0)
            result = group_count_pending(txn, table, stream_id, key_number(&k, 1), &pending);
        if (result)
            break;
        memcpy(&g, v.mv_data, sizeof g);
        buffer_str(b, first ? "{\"name\":" : ",{\"name\":");
        put_text(b, (const char *)v.mv_data + sizeof g, v.mv_size - sizeof g);
        put_member(b, "behind", (int64_t)(s->last - g.cursor));
        put_member(b, "pending", pending);
        put_member(b, "lost", (int64_t)g.lost);
        put_member(b, "listeners", (int64_t)p.listeners);
        put_member(b, "idle_s", p.idle_ms / 1000);
        buffer_str(b, p.temporary ? ",\"temporary\":true" : ",\"temporary\":false");
        buffer_char(b, '}');
    }
    buffer_char(b, ']');
    mdb_cursor_close(c);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

static int put_streams(buffer *b, MDB_txn *txn, MDB_dbi table)
{
    MDB_cursor *c;
    key prefix = key_make(KEY_STREAM, NULL, 0);
    MDB_val k = key_val(&prefix), v;
    bool first = true;
    int result = mdb_cursor_open(txn, table, &c);
    if (result)
        return result;
    buffer_literal(b, ",\"streams\":[");
    int more = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && key_within(&k, &prefix) && !result;
         more = mdb_cursor_get(c, &k, &v, MDB_NEXT), first = false) {
        stream s;
        lb_slice living;
        result = stream_get(txn, table, key_number(&k, 0), &s);
        int64_t length = (int64_t)(s.last + 1 - s.first);
        if (result == 0 && stream_is_dead(stream_name_of(&v), &living))
            result = entries_count(txn, table, key_number(&k, 0), s.first, &length);
        if (result)
            break;
        buffer_str(b, first ? "{\"name\":" : ",{\"name\":");
        lb_slice name = stream_name_of(&v);
        put_text(b, name.data, name.size);
        put_member(b, "length", length);
        result = put_groups(b, txn, table, key_number(&k, 0), &s);
        buffer_char(b, '}');
    }
    buffer_char(b, ']');
    mdb_cursor_close(c);
    return result ? result : more == MDB_NOTFOUND ? 0 : more;
}

/* What lies in `calls`. */
static int put_calls_info(buffer *b, MDB_txn *txn, MDB_dbi table)
{
    MDB_cursor *c;
    MDB_val k, v;
    int64_t calls = 0, results = 0, now = clock_now();
    buffer schemas = {0};
    int result = mdb_cursor_open(txn, table, &c);
    if (result)
        return result;
    int more = mdb_cursor_get(c, &k, &v, MDB_FIRST);
    for (; more == 0; more = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        int64_t expires_ns;
        cut record = cut_of((lb_slice){v.mv_data, v.mv_size});
        cut_bytes(&record, &expires_ns, sizeof expires_ns);
        char tag = *(const char *)k.mv_data;
        if (expires_ns < now)
            continue;
        calls += tag == KEY_CALL;
        results += tag == KEY_RESULT;
        if (tag == KEY_SCHEMA) {
            lb_slice name = cut_slice(&record);
            if (schemas.size)
                buffer_char(&schemas, ',');
            put_text(&schemas, name.data, name.size);
        }
    }
    mdb_cursor_close(c);
    put_member(b, "calls", calls);
    put_member(b, "results", results);
    buffer_literal(b, ",\"schemas\":[");
    buffer_add(b, schemas.data, schemas.size);
    buffer_char(b, ']');
    if (schemas.failed)
        b->failed = true;
    buffer_free(&schemas);
    return more == MDB_NOTFOUND ? 0 : more;
}

static void put_sizes(buffer *b, const store *s)
{
    int64_t size = 0, used = 0;
    for (int i = 0; i < STORE_PARTS; i++) {
        MDB_envinfo info;
        MDB_stat stat;
        struct stat about;
        mdb_env_info(s->parts[i].env, &info);
        mdb_env_stat(s->parts[i].env, &stat);
        if (fstat(s->parts[i].fd, &about) == 0)
            size += about.st_size;
        used +=
            (int64_t)((stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages + 2) * stat.ms_psize);
    }
    put_member(b, "size", size);
    put_member(b, "used", used);
    put_member(b, "max_size", (int64_t)s->parts[STORE_EVENTS].map_size);
}

static lb_status put_part(buffer *b, store *s, store_part part, lb_error *error)
{
    view v = {0};
    lb_status status = view_begin(&v, s, part, error);
    if (status != LB_OK)
        return status;
    MDB_dbi table = s->parts[part].table;
    int result = part == STORE_CALLS ? put_calls_info(b, v.txn, table) : put_streams(b, v.txn, table);
    view_free(&v);
    return result ? store_failed(s, part, result, "reading", error) : LB_OK;
}

lb_status local_folder_info(const char *url, buffer *json, lb_error *error)
{
    local_options o;
    store *s;
    lb_status status = parse(url, &o, error);
    o.durable = 0; /* looking changes nothing */
    if (status == LB_OK)
        status = store_open(&o, clock_in_ms(WAIT_MS), &s, error);
    if (status != LB_OK)
        return status;
    buffer_literal(json, "{\"folder\":");
    put_text(json, s->path, strlen(s->path));
    put_member(json, "format", STORE_FORMAT);
    buffer_printf(json, ",\"durability\":\"%s\"", store_durable(s) ? "disk" : "process");
    put_sizes(json, s);
    status = put_part(json, s, STORE_CALLS, error);
    if (status == LB_OK)
        status = put_part(json, s, STORE_EVENTS, error);
    buffer_char(json, '}');
    store_close(s);
    return status == LB_OK && json->failed ? lb_error_set(error, LB_NO_MEMORY, "out of memory") : status;
}

static uint64_t size_of_events(const store *s)
{
    char path[PATH_MAX + 16];
    struct stat about;
    snprintf(path, sizeof path, "%s/events", s->path);
    return stat(path, &about) == 0 ? (uint64_t)about.st_size : 0;
}

static lb_status open_alone(const char *url, store **s, lb_error *error)
{
    local_options o;
    lb_status status = parse(url, &o, error);
    return status == LB_OK ? store_open_alone(&o, clock_in_ms(WAIT_MS), s, error) : status;
}

lb_status local_folder_compact(const char *url, uint64_t *before, uint64_t *after, lb_error *error)
{
    store *s;
    lb_status status = open_alone(url, &s, error);
    if (status != LB_OK)
        return status;
    *before = size_of_events(s);
    status = store_compact(s, error);
    *after = size_of_events(s);
    store_close(s);
    return status;
}

lb_status local_folder_remove(const char *url, lb_error *error)
{
    store *s;
    lb_status status = open_alone(url, &s, error);
    if (status != LB_OK)
        return status;
    status = store_remove(s, error);
    store_close(s);
    return status;
}
