/* Listening: what the parts of it share. listener.c opens and fetches, groups.c keeps the consumer groups,
 * reclaim.c takes over what others let lie, copies.c drops events that are there twice, lease.c renews, gives
 * back and buries, letters.c digs up again.
 *
 * An entry of a stream is known by its id, two numbers. Ids that were given out are "in hand" until the server
 * has confirmed their acknowledgement, so that no reading of pending entries gives them out again. */
#ifndef REDIS_LISTENER_H
#define REDIS_LISTENER_H

#include "codec.h"
#include "instance.h"

/* For a pending entry that anybody may take: older than any acknowledgement timeout in use. */
static inline int64_t given_back_idle_ms(const redis_options *options)
{
    const int64_t day = INT64_C(86400000), timeout = options->acknowledgement_timeout_ms;
    return timeout < day ? day : timeout;
}

typedef struct entry_id {
    uint64_t ms, seq;
} entry_id;

enum { ENTRY_ID_TEXT = 48 };
bool entry_id_parse(lb_slice text, entry_id *id);
size_t entry_id_text(char out[ENTRY_ID_TEXT], entry_id id);
static inline int entry_id_compare(entry_id a, entry_id b)
{
    return a.ms != b.ms ? (a.ms < b.ms ? -1 : 1) : a.seq != b.seq ? (a.seq < b.seq ? -1 : 1) : 0;
}

/* A set of ids: open addressing. Any thread may use it under the listener's lock. */
typedef struct id_set {
    entry_id *slots; /* {0, 0} is a free one: no entry has that id */
    size_t count, capacity;
} id_set;
bool id_set_has(const id_set *s, entry_id id);
bool id_set_add(id_set *s, entry_id id); /* false when memory is short */
void id_set_remove(id_set *s, entry_id id);
void id_set_free(id_set *s);

typedef struct stream {
    char *key;
    const lb_slice *api_names, *event_names; /* what is wanted of it */
    size_t wanted;
    entry_id last;      /* the newest entry known to have been delivered to the group */
    uint64_t last_mark; /* of the event in it */
    entry_id own_after; /* while own pending entries are read: the last one seen */
    bool own_pending;   /* there may be more of them */
    bool reclaim;       /* it is this stream's turn to be searched for what others let lie */
    entry_id reclaim_after;
    int64_t sure_ns;   /* when it was last read to its end, or looked at for entries that were trimmed */
    entry_id gap_told; /* where the group stood when a gap was told that nobody can measure */
    bool group_seen;
    bool made_again; /* the group: what is in hand is to be pending there */
    id_set in_hand;
    entry_id *done; /* acknowledged, and not confirmed by the server yet */
    size_t done_count, done_capacity, done_written;
} stream;

typedef struct listener {
    wakeable w; /* first: interrupt is given a pointer to it */
    char *group, *consumer, *since;
    lb_slice *api_names, *event_names;
    size_t pairs;
    stream *streams;
    size_t stream_count;
    pthread_mutex_t lock; /* guards in_hand of all streams */
    unsigned serial;      /* the connection that the groups were made on */
    int64_t reclaim_at_ns;
    bool has_read;       /* new events were asked for since the last look for old ones: each has its turn */
    size_t acks_written; /* replies of acknowledgements that are outstanding */
    bool reading;        /* the reply of a read of new entries is outstanding */
    size_t asked_for;    /* how many it is to give of a stream at most */
    int64_t read_until_ns;
    int recreated;            /* times in a row that groups had to be made again */
    int deduplicate_ms;       /* the window; 0: copies are events like others */
    uint64_t copies;          /* events that were passed over as such */
    lb_event_message *events; /* the batch */
    size_t event_count, event_capacity;
    arena arena;
} listener;

/* groups.c */
/* What XGROUP CREATE takes for `since`: "$", an id, or ISO 8601 made into one. False: none of these. */
bool since_id(const char *since, char out[ENTRY_ID_TEXT]);
/* On a new connection: makes the groups that are not there, and learns where those that are there stand. */
lb_status groups_create(listener *l, int64_t deadline_ns, lb_error *error);
/* After NOGROUP: from the last id known (S18). */
lb_status groups_recreate(listener *l, int64_t deadline_ns, lb_error *error);
/* Removes the groups of a listener that is closed, unless others listen in them. */
void groups_forget(const listener *l);

/* listener.c */
/* Adds the entries of a stream to the batch; acknowledges those not wanted. `pending`: they were pending
 * before, and may be in hand, or gone (their body is nil): both are passed over. */
lb_status take_entries(listener *l, stream *s, const reply *entries, bool pending, lb_error *error);
/* Corrects the deliveries of the batch's events from `from` on by what an XPENDING answered, and `more`. */
void note_deliveries(listener *l, size_t from, const reply *pending, int more);
bool in_hand(listener *l, const stream *s, entry_id id);
void drop_from_hand(listener *l, stream *s, entry_id id);
/* An entry that is to be acknowledged with the next write. False when memory is short. */
bool stream_done(stream *s, entry_id id);
/* Sends the acknowledgements that wait and what is in the connection's buffer already, in one write. */
lb_status send_with_acks(listener *l, int64_t deadline_ns, lb_error *error);

/* What was to be answered on a connection that is gone. */
void forget_outstanding(listener *l);

/* copies.c */
/* With deduplicate_ms, keeps the first ones of the batch and has the others acknowledged. `status`: of what
 * filled the batch. After a failure, that one or its own, the batch is empty and will be read again. */
lb_status copies_drop(listener *l, lb_status status, lb_error *error);
/* LB_ACCESS: this user may not use the keys for it. */
lb_status copies_check(listener *l, int64_t deadline_ns, lb_error *error);
/* The key that tells which copy of an event was the first; false: it is not compared. */
bool copies_key(const listener *l, const lb_event_message *event, buffer *key);

/* reclaim.c */
/* Reads a page of what was pending for this consumer when it connected. */
lb_status read_own_page(listener *l, stream *s, size_t max, lb_error *error);
/* Takes over a page of what lies too long. */
lb_status reclaim_page(listener *l, stream *s, size_t max, lb_error *error);

/* trimmed.c */
#define LOST_SUFFIX ":lost" /* {stream}:lost, a hash: for each group how many events it has lost */
/* Counts and logs the entries that vanished before the group had read them. */
lb_status find_trimmed(listener *l, stream *s, lb_error *error);
/* A stream that may have been trimmed past the group since it was last known not to be. */
stream *next_unsure(listener *l);
/* How many entries are gone that the group had not read and that were not counted yet, from XINFO STREAM and
 * the group's part of XINFO GROUPS. That can only be told while the group has read none of those that are
 * there, or all of them; 0 in between. */
int64_t stream_trimmed(const reply *about, const reply *group);
/* Only servers since Redis 7 do: the lost ones of others are not known. */
bool server_counts(const reply *about);

/* lease.c */
lb_status lease_renew(void *self, const lb_event_message *const *events, size_t count, bool *lost,
                      lb_error *error);
lb_status lease_give_back(void *self, const lb_event_message *const *events, size_t count, lb_error *error);
lb_status lease_dead_letter(void *self, const lb_event_message *event, const char *reason, lb_error *error);

/* history.c */
lb_status history_open(void *self, const lb_history_config *config, int64_t deadline_ns, void **history,
                       lb_error *error);
lb_status history_fetch(void *history, size_t max, int64_t deadline_ns, const lb_event_message **events,
                        size_t *count, bool *end, lb_error *error);
void history_close(void *history);

lb_status history_replay(void *history, const lb_event_message *letter, bool fire, int64_t deadline_ns,
                         lb_error *error);
lb_status history_purge(void *history, const lb_event_message *letter, int64_t deadline_ns, lb_error *error);

/* letters.c: on a connection that is ready; `key` is that of the dead letters */
lb_status letter_replay(conn *c, lb_slice key, const lb_event_message *letter, bool fire, int64_t deadline_ns,
                        lb_error *error);
lb_status letter_purge(conn *c, lb_slice key, const lb_event_message *letter, int64_t deadline_ns,
                       lb_error *error);

/* streams.c */
#define STREAM_SUFFIX ":stream"      /* of the keys of streams */
#define DEAD_SUFFIX   ":stream:dead" /* and of their dead letters */
/* The streams of an API that hold an event, or all of them for "*", and ("*") of any API: calls `found` with
 * each one's key and the name of its event ("*": of all events). */
typedef bool (*stream_found)(lb_slice key, lb_slice event_name, void *data); /* false: memory is short */
lb_status streams_of(redis *r, conn *c, lb_slice api_name, lb_slice event_name, const char *suffix,
                     stream_found found, void *data, int64_t deadline_ns, lb_error *error);

/* lag.c */
/* What is asked about a stream; its answers are valid until the next question. */
enum { ABOUT_STREAM, ABOUT_GROUPS, ABOUT_DEAD, ABOUT_LOST, ABOUT_ALL };
lb_status stream_ask(conn *c, lb_slice key, const reply *answers[ABOUT_ALL], int64_t deadline_ns,
                     lb_error *error);
/* How many entries the group has lost; -1: not known. */
int64_t stream_lost(const reply *const answers[ABOUT_ALL], const reply *group);
/* How many entries the group has still to read; -1: not known. */
int64_t stream_undelivered(const reply *about, const reply *group);
lb_status groups_lag(void *self, lb_slice api_name, lb_slice event_name,
                     void (*found)(const lb_group_lag *lag, void *data), void *data, int64_t deadline_ns,
                     lb_error *error);

/* fire.c */
lb_status fire_events(void *self, lb_event_message *const *events, size_t count, int64_t deadline_ns,
                      lb_error *error);

#endif
