#include "feed.h"

#include <stdarg.h>
#include <stdlib.h>

#include "support.h"

void feed_open(feed *f, int port, const char *password, int database)
{
    *f = (feed){.redis = redisConnect("127.0.0.1", port)};
    if (!f->redis || f->redis->err)
        fail_msg("no connection to Redis: %s", f->redis ? f->redis->errstr : "out of memory");
    if (password)
        freeReplyObject(feed_command(f, "AUTH %s", password));
    freeReplyObject(feed_command(f, "SELECT %d", database));
}

void feed_close(feed *f)
{
    if (f->redis)
        redisFree(f->redis);
    f->redis = NULL;
}

void feed_add(feed *f, const lb_slice *arguments, size_t count)
{
    const char **texts = calloc(count, sizeof(*texts));
    size_t *sizes = calloc(count, sizeof(*sizes));

    for (size_t i = 0; i < count; i++) {
        texts[i] = arguments[i].data;
        sizes[i] = arguments[i].size;
    }
    redisAppendCommandArgv(f->redis, (int)count, texts, sizes);
    f->waiting++;
    free(texts);
    free(sizes);
}

static redisReply *checked(feed *f, void *reply)
{
    if (!reply)
        fail_msg("the connection to Redis: %s", f->redis->errstr);
    if (((redisReply *)reply)->type == REDIS_REPLY_ERROR)
        fail_msg("Redis refuses what the recording says: %s", ((redisReply *)reply)->str);
    return reply;
}

long long feed_send(feed *f)
{
    long long number = 0;

    for (; f->waiting; f->waiting--) {
        void *reply = NULL;
        redisGetReply(f->redis, &reply);
        number = checked(f, reply)->integer;
        freeReplyObject(reply);
    }
    return number;
}

redisReply *feed_command(feed *f, const char *format, ...)
{
    va_list args;
    void *reply;

    va_start(args, format);
    reply = redisvCommand(f->redis, format, args);
    va_end(args);
    return checked(f, reply);
}
