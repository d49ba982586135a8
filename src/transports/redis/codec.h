/* Messages of the wire protocol: calls and results as JSON, events as fields. Pure functions on bytes.
 *
 * What is read is not trusted (S32). A message that cannot be understood is not a failure: its `problem` says
 * why, and the fields that could be read are set, so that it can be answered or buried. */
#ifndef REDIS_CODEC_H
#define REDIS_CODEC_H

#include <lightbus/transport.h>

#include "../../base/json.h"
#include "resp.h"

#define RETURN_SCHEME "redis+key://"
#define EXPIRY_PREFIX "rpc_expiry_key:" /* of the key that lives as long as the caller of a call waits */
#define SEEN_PREFIX   "lightbus:seen:"  /* of the keys that tell copies of events */

/* Encoding is deterministic: the same message gives the same bytes. */
void encode_call(buffer *b, const lb_rpc_message *call);
void encode_result(buffer *b, const lb_result_message *result);
/* The XADD of an event. most_length 0: the stream is not trimmed. */
void encode_event(buffer *b, const char *stream, size_t stream_size, int64_t most_length,
                  const lb_event_message *event);
/* The bytes that an event's own data takes. */
size_t event_size(const lb_event_message *event);

/* `text` is borrowed, what is decoded lives in the arena. False when memory is short. */
bool decode_call(arena *a, lb_slice text, size_t most, lb_rpc_message *call);
bool decode_result(arena *a, lb_slice text, size_t most, lb_result_message *result);

typedef enum decoded { DECODED, DECODED_NOOP, DECODED_NO_MEMORY } decoded;
/* `fields` is the list of names and values of a stream's entry, which must live as long as the event.
 * DECODED_NOOP: a placeholder that says nothing. */
decoded decode_event(arena *a, const reply *fields, size_t most, lb_event_message *event);

/* The same for an entry of the dead letters: the event as it was, and in `letter` all but its id. An event that
 * cannot be understood has its fields as arguments that are texts. False when memory is short. */
bool decode_letter(arena *a, const reply *fields, size_t most, lb_event_message *event, lb_dead_letter *letter);

#endif
