/* The texts of the scalars that JSON has no type for; <lightbus/types.h> is their public side. Texts come from
 * the bus: of any size, of any bytes. */
#ifndef SCHEMA_SCALARS_H
#define SCHEMA_SCALARS_H

#include <lightbus/api.h>
#include <lightbus/types.h>

#include "../base/buffer.h"
#include "signature.h"

bool date_read(lb_slice text, lb_date *date);
bool time_read(lb_slice text, lb_time *time);
bool datetime_read(lb_slice text, lb_datetime *datetime);
bool uuid_read(lb_slice text, lb_uuid *uuid);
bool decimal_is(lb_slice text);

/* At most this many bytes come out of a text. */
static inline size_t base64_most(size_t text_size) { return text_size / 4 * 3 + 3; }
/* Decodes as Python's b64decode does: what is no base64 is skipped. False: the padding is wrong. */
bool base64_decode(lb_slice text, unsigned char *out, size_t *size);
void base64_encode(buffer *out, const void *data, size_t size);

/* Whether strings of this kind have a form of their own, and what it is called in messages. */
bool scalar_has_form(type_kind kind);
const char *scalar_example(type_kind kind);
/* Whether a string can be read as that kind. */
bool scalar_reads(type_kind kind, lb_slice text);

/* The datum is one of types.h. */
static inline bool datum_is_scalar(const lb_datum *d)
{
    return d->kind >= LB_DATUM_BYTES && d->kind <= LB_DATUM_UUID;
}
/* Appends its text, without quotes. NULL, or what is wrong with it. */
const char *scalar_write(buffer *out, const lb_datum *d);

#endif
