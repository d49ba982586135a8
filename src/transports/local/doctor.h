/* Looking for what is wrong with a folder: doctor.c looks at the folder and the processes that use it,
 * doctor_records.c at what lies in it. */
#ifndef LOCAL_DOCTOR_H
#define LOCAL_DOCTOR_H

#include "../../base/report.h"
#include "instance.h"
#include "stream.h"

typedef struct doctor {
    const local_options *options;
    report report;
    store *store; /* NULL: the folder could not be opened */
    int64_t check_ms;
} doctor;

/* Tell what they find. A failure means that they could not look. */
lb_status local_check_groups(doctor *d, lb_error *error); /* and dead letters */
lb_status local_check_queues(doctor *d, lb_error *error);

bool local_diagnose(void *self, int64_t check_ms, lb_finding_fn found, void *data);

#endif
