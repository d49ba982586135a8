/* Schemas: a record per API that expires. */
#include <errno.h>

#include "instance.h"

static lb_status schema_store(void *self, const char *const *api_names, const lb_slice *json, size_t count,
                              int ttl_s, int64_t deadline_ns, lb_error *error)
{
    store *s;
    transaction t;
    buffer record = {0};
    size_t room = 0;
    int64_t expires_ns = clock_in_ms(INT64_C(1000) * (ttl_s > 0 ? ttl_s : 1));
    for (size_t i = 0; i < count; i++)
        room += json[i].size + 4096;
    lb_status status = local_store(self, deadline_ns, &s, error);
    if (status == LB_OK)
        status = write_begin(s, STORE_CALLS, room, deadline_ns, &t, error);
    if (status != LB_OK)
        return status;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        key k = key_1(KEY_SCHEMA, hash_text(slice_of(api_names[i])));
        record.size = 0;
        put_bytes(&record, &expires_ns, sizeof expires_ns);
        put_slice(&record, slice_of(api_names[i]));
        put_slice(&record, json[i]);
        MDB_val kv = key_val(&k), v = {record.size, record.data};
        result = record.failed ? ENOMEM : mdb_put(t.txn, s->parts[STORE_CALLS].table, &kv, &v, 0);
    }
    buffer_free(&record);
    return write_end(&t, result, "storing schemas", error);
}

static int copy_schemas(arena *a, MDB_cursor *cursor, lb_slice **list, size_t *count)
{
    key prefix = key_make(KEY_SCHEMA, NULL, 0);
    MDB_val k = key_val(&prefix), v;
    size_t capacity = 0;
    int more = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; more == 0 && key_within(&k, &prefix); more = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        if (*count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            lb_slice *larger = arena_alloc(a, capacity * sizeof *larger);
            if (!larger)
                return ENOMEM;
            if (*count)
                memcpy(larger, *list, *count * sizeof *larger);
            *list = larger;
        }
        (*list)[*count] = copy_value(a, &v);
        if (!(*list)[(*count)++].data)
            return ENOMEM;
    }
    return more == MDB_NOTFOUND ? 0 : more;
}

static void tell(lb_slice record, void (*found)(lb_slice api_name, lb_slice json, void *data), void *data)
{
    cut c = cut_of(record);
    int64_t expires_ns;
    cut_bytes(&c, &expires_ns, sizeof expires_ns);
    lb_slice name = cut_slice(&c), json = cut_slice(&c);
    if (!c.bad && expires_ns > clock_now())
        found(name, json, data);
}

static lb_status schema_load(void *self, void (*found)(lb_slice api_name, lb_slice json, void *data),
                             void *data, int64_t deadline_ns, lb_error *error)
{
    store *s;
    view v = {0};
    arena a = {0};
    lb_slice *list = NULL;
    size_t count = 0;
    MDB_cursor *cursor;
    lb_status status = local_store_if_any(self, deadline_ns, &s, error);
    if (status == LB_OK && s)
        status = view_begin(&v, s, STORE_CALLS, error);
    if (status != LB_OK || !s)
        return status;
    int result = mdb_cursor_open(v.txn, s->parts[STORE_CALLS].table, &cursor);
    if (result == 0) {
        result = copy_schemas(&a, cursor, &list, &count);
        mdb_cursor_close(cursor);
    }
    view_free(&v);
    for (size_t i = 0; i < count && result == 0; i++)
        tell(list[i], found, data);
    arena_free(&a);
    return result ? store_failed(s, STORE_CALLS, result, "loading schemas", error) : LB_OK;
}

const lb_schema_transport local_schemas = {.store = schema_store, .load = schema_load};
