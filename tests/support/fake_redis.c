/* The process of the fake server: one poll loop over its listening socket and the connections. Commands are
 * read with hiredis, so that they may come in any pieces. */
#include "fake_redis.h"

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_CLIENTS = 64, MOST_WORDS = 256 };

typedef struct client {
    redisReader *reader;
    int skip; /* answers not to give: 2 when the next command is the one */
} client;

typedef struct faker {
    int listener;
    fake_answer answer;
    void *data;
    struct pollfd fds[MOST_CLIENTS + 1]; /* the last one is the listener's */
    client clients[MOST_CLIENTS];
    nfds_t count;
} faker;

static bool is(int count, char *const *words, const char *first, const char *second)
{
    return count > 1 && strcasecmp(words[0], first) == 0 && strcasecmp(words[1], second) == 0;
}

static const char *usual_answer(client *c, int count, char *const *words)
{
    if (is(count, words, "CLIENT", "ID"))
        return ":7\r\n";
    if (is(count, words, "CLIENT", "UNBLOCK"))
        return ":0\r\n";
    if (is(count, words, "COMMAND", "INFO"))
        return "*2\r\n*1\r\n+blmpop\r\n*1\r\n+lmpop\r\n";
    if (!is(count, words, "CLIENT", "REPLY"))
        return "+OK\r\n";
    c->skip = 2;
    return "";
}

const char fake_hang_up[] = "hang up";
static bool skipping;

bool fake_is_skipped(void) { return skipping; }

/* False: the connection is to end. */
static bool reply_to(faker *f, nfds_t at, const redisReply *command)
{
    char *words[MOST_WORDS];
    int count = 0;
    client *c = &f->clients[at];
    for (size_t i = 0; i < command->elements && count < MOST_WORDS; i++)
        words[count++] = command->element[i]->str;
    c->skip -= c->skip > 0;
    skipping = c->skip == 1;
    const char *said = f->answer ? f->answer(count, words, f->data) : NULL;
    if (!said)
        said = usual_answer(c, count, words);
    if (skipping)
        c->skip = 0;
    else if (said != fake_hang_up && *said && send(f->fds[at].fd, said, strlen(said), MSG_NOSIGNAL) < 0)
        return false;
    return said != fake_hang_up;
}

/* False: the client has gone. */
static bool serve(faker *f, nfds_t at)
{
    char data[16384];
    void *command = NULL;
    ssize_t n = recv(f->fds[at].fd, data, sizeof data, 0);
    if (n <= 0 || redisReaderFeed(f->clients[at].reader, data, (size_t)n) != REDIS_OK)
        return false;
    bool goes_on = true;
    while (goes_on && redisReaderGetReply(f->clients[at].reader, &command) == REDIS_OK && command) {
        goes_on = reply_to(f, at, command);
        freeReplyObject(command);
    }
    return goes_on;
}

static void welcome(faker *f)
{
    int fd = accept(f->listener, NULL, NULL);
    if (fd < 0 || f->count == MOST_CLIENTS)
        _exit(1);
    f->fds[f->count] = (struct pollfd){.fd = fd, .events = POLLIN};
    f->clients[f->count++] = (client){.reader = redisReaderCreate()};
}

static void part(faker *f, nfds_t at)
{
    close(f->fds[at].fd);
    redisReaderFree(f->clients[at].reader);
    f->fds[at] = f->fds[--f->count];
    f->clients[at] = f->clients[f->count];
}

static int faker_main(void *data)
{
    faker *f = data;
    for (;;) {
        f->fds[f->count] = (struct pollfd){.fd = f->listener, .events = POLLIN};
        if (poll(f->fds, f->count + 1, -1) < 0)
            return 1;
        bool asked = f->fds[f->count].revents != 0;
        for (nfds_t i = f->count; i-- > 0;)
            if (f->fds[i].revents && !serve(f, i))
                part(f, i);
        if (asked)
            welcome(f);
    }
}

fake_redis *fake_redis_start(fake_answer answer, void *data)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    fake_redis *fake = calloc(1, sizeof *fake);
    faker *f = calloc(1, sizeof *f);
    assert_true(fake && f);
    *f = (faker){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .answer = answer, .data = data};
    if (bind(f->listener, (struct sockaddr *)&address, size) != 0 || listen(f->listener, MOST_CLIENTS) != 0 ||
        getsockname(f->listener, (struct sockaddr *)&address, &size) != 0)
        fail_msg("no port for a fake Redis");
    fake->port = ntohs(address.sin_port);
    fake->pid = child_start(faker_main, f);
    snprintf(fake->url, sizeof fake->url, "redis://127.0.0.1:%d", fake->port);
    close(f->listener);
    free(f);
    return fake;
}

void fake_redis_stop(fake_redis *f)
{
    if (!f)
        return;
    child_kill(f->pid, SIGKILL);
    child_wait(f->pid, 5000);
    free(f);
}
