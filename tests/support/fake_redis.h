/* A server that speaks RESP and says what a test wants: for replies that no Redis at hand gives. It is a
 * process of its own, ended by its process id. */
#ifndef TESTS_FAKE_REDIS_H
#define TESTS_FAKE_REDIS_H

#include "support.h"

typedef struct fake_redis {
    pid_t pid;
    int port;
    char url[64]; /* redis://127.0.0.1:PORT */
} fake_redis;

/* What a command is answered with, as bytes; "" for nothing; fake_hang_up ends the connection; NULL for what a
 * server would say that knows CLIENT ID, CLIENT REPLY SKIP and BLMPOP, has nobody to unblock, and answers +OK
 * to all else. Called in the server's process, once for each command; `data` is for memory that is shared with
 * the test. */
typedef const char *(*fake_answer)(int count, char *const *words, void *data);

extern const char fake_hang_up[];
/* The command is one that CLIENT REPLY SKIP leaves unanswered. For a fake_answer. */
bool fake_is_skipped(void);

fake_redis *fake_redis_start(fake_answer answer, void *data);
void fake_redis_stop(fake_redis *f); /* NULL is allowed */

#endif
