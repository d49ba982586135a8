/* Listening: what listener.c (opening, fetching) and lease.c (renewing, giving back, burying) share,
 * and history.c (looking at what is stored). */
#ifndef LOCAL_LISTENER_H
#define LOCAL_LISTENER_H

#include "copies.h"
#include "instance.h"
#include "notes.h"
#include "stream.h"

/* One stream that a listener reads. */
typedef struct source {
    char *name;
    uint64_t stream, group;
    uint64_t delivered;      /* the group's cursor, as it was last */
    uint64_t made;           /* the stream that it was in */
    uint64_t remade;         /* where the group stood when it was made again; under the guard of the events */
    bool own;                /* there may be pending entries of an earlier process of this name */
    uint64_t own_after;      /* which were looked at up to here */
    int64_t next_reclaim_ns; /* when to look for leases that have ended, at the earliest */
    uint64_t *done;          /* acknowledged, not written yet */
    size_t done_count, done_capacity;
} source;

typedef struct given {
    entry entry; /* its record lies in the arena */
    int source, deliveries;
} given;

typedef struct listener {
    local_bus *bus;
    char *group, *consumer, *since;
    bool temporary;
    int64_t deduplicate_ns;            /* the window; 0: copies are events like others */
    bool full;                         /* there is no room for noting ids */
    uint64_t copies;                   /* events that were passed over as such */
    lb_slice *api_names, *event_names; /* pairs */
    size_t pairs;
    source *sources;
    size_t source_count;
    size_t turn;    /* the source that comes first */
    uint64_t owner; /* the number of this listener in pending records: its own name's earlier ones are others */
    wake_set wake;
    view view;
    arena arena;
    given *batch;
    size_t batch_count, batch_capacity, batch_bytes;
    notes notes; /* of the transaction */
} listener;

/* The entry of an event that this listener was given; LB_USAGE: it is another's. */
lb_status find_entry(const listener *l, const lb_event_message *event, const source **s, uint64_t *number,
                     lb_error *error);

/* history.c */
lb_status local_history(void *self, const lb_history_config *config, int64_t deadline_ns, void **history,
                        lb_error *error);
lb_status local_history_fetch(void *history, size_t max, int64_t deadline_ns, const lb_event_message **events,
                              size_t *count, bool *end, lb_error *error);
void local_history_close(void *history);
lb_status local_history_replay(void *history, const lb_event_message *letter, bool fire, int64_t deadline_ns,
                               lb_error *error);
lb_status local_history_purge(void *history, const lb_event_message *letter, int64_t deadline_ns,
                              lb_error *error);
lb_status local_lag(void *self, lb_slice api_name, lb_slice event_name,
                    void (*found)(const lb_group_lag *lag, void *data), void *data, int64_t deadline_ns,
                    lb_error *error);

/* lease.c */
lb_status local_renew(void *self, const lb_event_message *const *events, size_t count, bool *lost,
                      lb_error *error);
lb_status local_give_back(void *self, const lb_event_message *const *events, size_t count, lb_error *error);
lb_status local_dead_letter(void *self, const lb_event_message *event, const char *reason, lb_error *error);

/* letters.c; `name` is that of the stream of dead letters */
lb_status local_letter_replay(local_bus *l, lb_slice name, const lb_event_message *letter, bool fire,
                              int64_t deadline_ns, lb_error *error);
lb_status local_letter_purge(local_bus *l, lb_slice name, const lb_event_message *letter, int64_t deadline_ns,
                             lb_error *error);

/* together.c: firing where each fire must be on the disk. A batch begins so, and goes on with the name
 * of the stream and a slice of records (as stream_append takes them) for each run. */
void together_begin(buffer *staged, int64_t most_length, uint32_t runs);
/* `ids`: of the first event of each run. */
lb_status together_fire(store *s, const buffer *staged, native_id *ids, size_t runs, int64_t deadline_ns,
                        lb_error *error);

/* fire.c */
lb_status local_fire(void *self, lb_event_message *const *events, size_t count, int64_t deadline_ns,
                     lb_error *error);

#endif
