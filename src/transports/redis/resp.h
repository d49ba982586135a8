/* RESP, the language of Redis: commands out into a buffer, replies in from bytes.
 *
 * Replies are trees in an arena that is given back as a whole. The elements of an array are a list: nothing is
 * allocated for a length that was only announced. */
#ifndef REDIS_RESP_H
#define REDIS_RESP_H

#include <hiredis/read.h>
#include <lightbus/value.h>

#include "../../base/arena.h"
#include "../../base/buffer.h"

typedef struct reply {
    int type;           /* REDIS_REPLY_... */
    struct reply *next; /* in the array that holds it */
    union {
        int64_t integer;
        lb_slice text; /* strings, statuses, errors; data is NULL when it was too large to keep */
        struct {
            struct reply *first, *last;
        } array;
    } as;
} reply;

static inline bool reply_is_error(const reply *r) { return r->type == REDIS_REPLY_ERROR; }
static inline bool reply_is_text(const reply *r)
{
    return r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS || r->type == REDIS_REPLY_ERROR;
}
/* The elements of an array; NULL for an empty one and for everything else. */
static inline const reply *reply_first(const reply *r)
{
    return r && r->type == REDIS_REPLY_ARRAY ? r->as.array.first : NULL;
}
static inline bool reply_is_kept(const reply *r) { return reply_is_text(r) && r->as.text.data; }
size_t reply_count(const reply *r); /* of its elements */
/* The value of a name in a flat list of names and values; NULL: not there. */
const reply *reply_field(const reply *list, const char *name);
/* The text of a string, empty for everything else and for one that was too large. */
static inline lb_slice reply_text(const reply *r)
{
    return r && reply_is_kept(r) ? r->as.text : (lb_slice){"", 0};
}
static inline int64_t reply_integer(const reply *r)
{
    return r && r->type == REDIS_REPLY_INTEGER ? r->as.integer : 0;
}
/* An error reply that begins with this word. */
bool reply_is_error_of(const reply *r, const char *code);

typedef struct reply_parser {
    redisReader *reader;
    arena arena;
    size_t most; /* bytes of a string that are kept; longer ones are told by their size alone */
} reply_parser;

/* Begins to read a new stream of bytes, the first one or another; replies handed out before stay. False when
 * memory is short. */
bool parser_open(reply_parser *p, size_t most);
void parser_close(reply_parser *p);
/* False when memory is short. */
bool parser_feed(reply_parser *p, const char *data, size_t size);
/* The next whole reply, or NULL with *failed telling whether the bytes were not RESP (or memory was short). */
const reply *parser_next(reply_parser *p, bool *failed);
/* Gives back the replies handed out; keeps what belongs to one that is still coming in. */
void parser_release(reply_parser *p);

/* Commands: begin with the number of arguments, then exactly those. */
void command_begin(buffer *b, size_t arguments);
void command_arg(buffer *b, const char *data, size_t size);
static inline void command_slice(buffer *b, lb_slice text) { command_arg(b, text.data, text.size); }
static inline void command_str(buffer *b, const char *text) { command_arg(b, text, strlen(text)); }
void command_int(buffer *b, int64_t value);
void command_prefixed(buffer *b, const char *prefix, lb_slice text); /* one argument of two parts */
/* A whole command of strings, NULL-terminated. */
void command_of(buffer *b, ...) __attribute__((sentinel));

#endif
