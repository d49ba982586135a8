/* Looking for what is wrong with a server: shared by the doctor's files.
 *
 *   doctor.c          the list of checks; the connection, the version, the role, the clock
 *   doctor_server.c   memory, persistence, clients, limits
 *   doctor_rights.c   which commands and keys this user may use
 *   doctor_keys.c     streams and their groups, queues of calls, schemas
 *
 * Invariant: nothing is written. Commands that would write are only queued, and then discarded. */
#ifndef REDIS_DOCTOR_H
#define REDIS_DOCTOR_H

#include "../../base/report.h"
#include "instance.h"
#include "listener.h"

typedef struct key_list {
    lb_slice *items;
    size_t count, capacity;
} key_list;

typedef struct doctor {
    redis *redis;
    conn conn; /* of its own */
    report report;
    int64_t check_ms, deadline_ns; /* of the present check */
    arena memory;
    lb_slice info;   /* what INFO answered; empty: it may not be asked */
    int version;     /* 70015 for 7.0.15; 0: not known */
    const char *cli; /* how this server is reached from a shell */
    bool keys_known; /* the next three have been looked for */
    bool keys_cut;   /* there are more of them */
    key_list streams, dead, queues;
    bool apis_known;  /* so have these: */
    key_list apis;    /* that have published a schema, now or before ... */
    key_list schemas; /* ... and those of them that have one now */
} doctor;

/* A check tells what it found. A failure means that it could not look. */
typedef lb_status (*doctor_check)(doctor *d, lb_error *error);
lb_status check_memory(doctor *d, lb_error *error);
lb_status check_persistence(doctor *d, lb_error *error);
lb_status check_clients(doctor *d, lb_error *error);
lb_status check_limits(doctor *d, lb_error *error);
lb_status check_rights(doctor *d, lb_error *error);
lb_status check_groups(doctor *d, lb_error *error);
lb_status check_dead_letters(doctor *d, lb_error *error);
lb_status check_queues(doctor *d, lb_error *error);
lb_status check_published(doctor *d, lb_error *error);

/* Sends what is in the connection's buffer, and gives the one answer to it, valid until the next question. An
 * error reply is a failure. */
lb_status doctor_ask(doctor *d, const char *doing, const reply **answer, lb_error *error);
/* A number that the server says: not negative, and so small that it can be multiplied by a thousand. */
int64_t doctor_number(lb_slice value);
/* What INFO says of a name: empty, 0 where it says nothing. */
lb_slice doctor_info(const doctor *d, const char *name);
int64_t doctor_info_number(const doctor *d, const char *name);
/* What the server's configuration says, NUL-terminated, in `memory`: "" for nothing. */
lb_status doctor_config(doctor *d, const char *name, const char **value, lb_error *error);
/* A command for the shell: redis-cli, how to reach this server, and what follows. */
const char *doctor_command(doctor *d, const char *format, ...) LB_PRINTF(2, 3);
/* Looks for APIs and their schemas, once. */
lb_status doctor_find_apis(doctor *d, lb_error *error);

bool doctor_diagnose(void *self, int64_t check_ms, lb_finding_fn found, void *data);

#endif
