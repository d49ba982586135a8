/* Messages as records: numbers and sizes as this machine writes them, then bytes; arguments as one JSON object.
 * What is read is checked against its bounds: a record that is not what it should be is told as a message's
 * problem. */
#ifndef LOCAL_RECORD_H
#define LOCAL_RECORD_H

#include <lightbus/transport.h>

#include "../../base/arena.h"
#include "../../base/buffer.h"

/* Reads a record from its front. After a read past the end `bad` is set and all that is read is empty. */
typedef struct cut {
    const char *at, *end;
    bool bad;
} cut;

static inline cut cut_of(lb_slice record) { return (cut){record.data, record.data + record.size, false}; }
void cut_bytes(cut *c, void *out, size_t size);
lb_slice cut_slice(cut *c);

void put_bytes(buffer *b, const void *data, size_t size);
void put_slice(buffer *b, lb_slice text);
/* What is put in between becomes a slice. */
size_t put_slice_begin(buffer *b);
void put_slice_end(buffer *b, size_t begin);

/* Calls and results begin with the time when they expire (CLOCK_MONOTONIC). */
void put_call(buffer *b, const lb_rpc_message *call);
void put_result(buffer *b, const lb_result_message *result, int64_t expires_ns);
void put_event(buffer *b, const lb_event_message *event);

/* The messages refer to the record and the arena. False when memory is short. */
bool get_call(arena *a, lb_slice record, size_t most, lb_rpc_message *call);
bool get_result(arena *a, lb_slice record, size_t most, lb_result_message *result);
bool get_event(arena *a, lb_slice record, size_t most, lb_event_message *event);

/* A dead letter: whose it was and why it is dead, which event of the stream it is, and that event's record. */
void put_letter(buffer *b, const lb_dead_letter *letter, lb_slice native_id, uint64_t deliveries,
                lb_slice record);
/* Sets the event's id in its stream and its deliveries; all refers to `text`. False: it is damaged. */
bool get_letter(lb_slice text, lb_dead_letter *letter, lb_event_message *event, lb_slice *record);

/* Of which API and event it is, without decoding the rest. */
bool event_names(lb_slice record, lb_slice *api_name, lb_slice *event_name);
lb_slice event_id(lb_slice record); /* empty: it cannot be read */
/* The API that a call's record is for. */
lb_slice call_api(lb_slice record);
lb_slice call_id(lb_slice record);

#endif
