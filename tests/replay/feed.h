/* The replay's own connection to Redis, beside the recorder: sends what the other side of a recording sent. */
#ifndef REPLAY_FEED_H
#define REPLAY_FEED_H

#include <hiredis/hiredis.h>
#include <lightbus/value.h>
#include <stddef.h>

typedef struct feed {
    redisContext *redis;
    size_t waiting; /* commands of the write that is being put together */
} feed;

void feed_open(feed *f, int port, const char *password, int database); /* fails the test, as all here */
void feed_close(feed *f);
/* Puts a command into the next write. */
void feed_add(feed *f, const lb_slice *arguments, size_t count);
/* Sends what was put together, in one write, and gives the last reply as a number (0 for text). */
long long feed_send(feed *f);
/* One command of words separated by spaces, as printf would make it; a word is %s or %b (pointer and size). The
 * reply is for freeReplyObject. */
redisReply *feed_command(feed *f, const char *format, ...);

#endif
