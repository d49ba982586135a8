/* lightbus doctor: what its files share. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <lightbus/diagnose.h>

#include "../base/buffer.h"
#include "cli.h"

/* Prints findings as they come, or collects them as JSON. */
typedef struct doctor_printer {
    bool json;
    bool utf8; /* marks of more than ASCII */
    colours colours;
    buffer out; /* JSON */
    bool begun;
    char *place; /* of the last one; "" for the process */
    char check[32];
    lb_finding_level level;
    size_t alike, hidden; /* the last ones of the same check and level */
    size_t counts[LB_FINDING_ERROR + 1];
} doctor_printer;

void doctor_printer_open(doctor_printer *p, bool json);
void doctor_print(const lb_finding *finding, void *printer); /* an lb_finding_fn */
/* The end of the output; the exit code. */
int doctor_printer_close(doctor_printer *p, const invocation *in);

/* This machine and process: versions, configuration, environment, limits, tools. Tells whether the
 * configuration can be loaded. */
bool doctor_check_process(const invocation *in, lb_finding_fn found, void *data);

#endif
