/* The formats of draft-07: date-time, email, ipv6, uri and the others. */
#ifndef SCHEMA_VALIDATOR_FORMAT_H
#define SCHEMA_VALIDATOR_FORMAT_H

#include <lightbus/value.h>
#include <stdbool.h>

typedef struct format {
    const char *name;
    bool (*fits)(lb_slice text);
} format;

/* NULL for a name that draft-07 does not know: such formats are ignored. */
const format *format_find(lb_slice name);

#endif
