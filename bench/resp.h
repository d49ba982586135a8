/* A bare Redis client for the floors: commands are appended to a buffer and sent in one write; a reply is
 * parsed in place into a flat list of tokens. Nothing is copied. An error reply ends the program. */
#ifndef BENCH_RESP_H
#define BENCH_RESP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct resp_token {
    char type;     /* '+' ':' '$' '*' */
    long number;   /* the integer, the size of the string, or the number of elements; -1 for null */
    size_t offset; /* of a string's bytes in `in` */
} resp_token;

typedef struct resp {
    int fd;
    char *in, *out;
    size_t in_parsed, in_size, in_capacity; /* in[in_parsed..in_size) is yet to be parsed */
    size_t out_size, out_capacity;
    resp_token *tokens; /* the last reply, depth first */
    size_t token_count, token_capacity;
    long open[8]; /* elements left in the lists that are being parsed, outermost first */
    int depth;
} resp;

resp *resp_connect(int port);
void resp_close(resp *c);
bool resp_ping(int port); /* whether a server answers there; never ends the program */

/* Commands, for resp_flush to send: resp_begin, then `count` arguments, or resp_command in one go (up to NULL).
 */
void resp_begin(resp *c, size_t count);
void resp_arg(resp *c, const char *data, size_t size);
void resp_text(resp *c, const char *text);
void resp_command(resp *c, ...) __attribute__((sentinel));
void resp_flush(resp *c);

/* Waits for the next reply; its tokens stay valid until the next resp_read. */
void resp_read(resp *c);
void resp_skip(resp *c, size_t replies);
static inline const char *resp_data(const resp *c, size_t token) { return c->in + c->tokens[token].offset; }
static inline size_t resp_size(const resp *c, size_t token) { return (size_t)c->tokens[token].number; }

#endif
