/* Taking dead letters from where they lie: handing their events to their group again, or forgetting them (S13).
 * What is done is about what is there in the transaction: the letter that was given out may have changed hands.
 */
#include <errno.h>

#include "listener.h"

#define TEXT(slice) (int)((slice).size < 100 ? (slice).size : 100), (slice).data

/* A letter in the present transaction. */
typedef struct letter {
    transaction t;
    MDB_dbi table;
    lb_slice name, stream_name; /* of the dead letters, of their stream */
    uint64_t number;
    char group_name[256]; /* a copy: what else was read is valid until the first write */
    lb_slice group;       /* empty: it does not tell */
    lb_event_message event;
    lb_slice record;
} letter;

/* 0, MDB_NOTFOUND or what went wrong. */
static int letter_find(letter *l, lb_slice id)
{
    int64_t time_ms;
    entry e;
    lb_dead_letter about;
    if (!native_id_parse(id, &time_ms, &l->number))
        return MDB_NOTFOUND;
    int result = entry_get(l->t.txn, l->table, hash_text(l->name), l->number, &e);
    if (result == 0 && (e.time_ms != time_ms || !e.record.size))
        result = MDB_NOTFOUND;
    if (result == 0 && get_letter(e.record, &about, &l->event, &l->record) &&
        about.group.size < sizeof l->group_name) {
        memcpy(l->group_name, about.group.data, about.group.size);
        l->group = (lb_slice){l->group_name, about.group.size};
    }
    return result;
}

static lb_status letter_begin(local_bus *bus, letter *l, lb_slice name, size_t room, int64_t deadline_ns,
                              lb_error *error)
{
    store *s = NULL;
    *l = (letter){.name = name, .stream_name = {name.data, name.size - strlen(DEAD_SUFFIX)}};
    lb_status status = local_store(bus, deadline_ns, &s, error);
    if (status == LB_OK)
        status = write_begin(s, STORE_EVENTS, room, deadline_ns, &l->t, error);
    if (status == LB_OK)
        l->table = s->parts[STORE_EVENTS].table;
    return status;
}

/* Makes the event pending as one that was given back, unless somebody of the group has it. */
static int hand_back(const letter *l, uint64_t number)
{
    const uint64_t stream = hash_text(l->stream_name);
    key k = key_3(KEY_PENDING, stream, hash_text(l->group), number);
    MDB_val kv = key_val(&k), v;
    int result = mdb_get(l->t.txn, l->table, &kv, &v);
    if (result != MDB_NOTFOUND)
        return result;
    result = pending_put(l->t.txn, l->table, &k, &(pending){.consumer = {"", 0}});
    return result ? result : group_reclaim_now(l->t.txn, l->table, stream, l->group);
}

static int fire_again(const letter *l, int64_t most)
{
    buffer records = {0};
    native_id id;
    put_slice(&records, l->record);
    int result = records.failed ? ENOMEM
                                : stream_append(l->t.txn, l->table, hash_text(l->stream_name), l->stream_name,
                                                (lb_slice){records.data, records.size}, wall_clock_ms(),
                                                (uint64_t)most, &id);
    buffer_free(&records);
    return result;
}

/* Is the event in its stream? */
static int look_for_event(const letter *l, uint64_t *number, bool *there)
{
    int64_t time_ms;
    entry e;
    group g;
    *there = false;
    if (!l->group.size || !native_id_parse(l->event.native_id, &time_ms, number))
        return 0;
    const uint64_t stream = hash_text(l->stream_name);
    int result = entry_get(l->t.txn, l->table, stream, *number, &e);
    *there = result == 0 && e.time_ms == time_ms;
    if (*there)
        return group_get(l->t.txn, l->table, stream, hash_text(l->group), &g);
    return result == MDB_NOTFOUND ? 0 : result;
}

static lb_status refuse(letter *l, lb_status status, const char *why, lb_slice id, lb_error *error)
{
    write_abort(&l->t);
    return lb_error_set(error, status, "dead letter %.*s%s", TEXT(id), why);
}

lb_status local_letter_replay(local_bus *bus, lb_slice name, const lb_event_message *given, bool fire,
                              int64_t deadline_ns, lb_error *error)
{
    const lb_slice id = given->dead->id;
    letter l;
    uint64_t number = 0;
    bool there = false;
    lb_status status = letter_begin(bus, &l, name, 0, deadline_ns, error);
    if (status != LB_OK)
        return status;
    int result = letter_find(&l, id);
    if (result == MDB_NOTFOUND)
        return refuse(&l, LB_GONE, " is not there any more", id, error);
    if (result == 0 && (!l.group.size || !l.event.native_id.size))
        return refuse(&l, LB_MALFORMED, " does not tell of which event and group it is", id, error);
    if (result == 0)
        result = look_for_event(&l, &number, &there);
    if (result == MDB_NOTFOUND)
        return refuse(&l, LB_GONE, ": nobody listens as the group that gave it up any more", id, error);
    if (result == 0 && !there && !fire)
        return refuse(&l, LB_GONE, ": its event is gone from the stream", id, error);
    if (result == 0 && !there && given->problem)
        return refuse(&l, LB_MALFORMED, ": the event in it cannot be fired again", id, error);
    if (result == 0)
        result = there ? hand_back(&l, number) : fire_again(&l, bus->options.max_stream_length);
    if (result == 0)
        result = stream_take_out(l.t.txn, l.table, hash_text(name), name, l.number);
    store *s = l.t.store;
    status = write_end(&l.t, result, "replaying a dead letter", error);
    if (status == LB_OK)
        wake_all(s->wake, hash_text(l.stream_name));
    return status;
}

lb_status local_letter_purge(local_bus *bus, lb_slice name, const lb_event_message *given, int64_t deadline_ns,
                             lb_error *error)
{
    letter l;
    lb_status status = letter_begin(bus, &l, name, 0, deadline_ns, error);
    if (status != LB_OK)
        return status;
    int result = letter_find(&l, given->dead->id);
    if (result == 0)
        result = stream_take_out(l.t.txn, l.table, hash_text(name), name, l.number);
    return write_end(&l.t, result == MDB_NOTFOUND ? 0 : result, "purging a dead letter", error);
}
