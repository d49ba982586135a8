#include "recorder.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base64.h"
#include "support.h"

#define NOTES_MAX        (64u << 20) /* address space; only what is written takes memory */
#define CONNECTIONS_MAX  128
#define OUTSTANDING_MAX  4096 /* commands of a connection without a reply yet */
#define ORDER_REFUSE     'r'
#define ORDER_ACCEPT     'a'
#define ORDER_CUT        'c'
#define ORDER_LOSE_REPLY 'l'

typedef struct notes {
    atomic_size_t size;
    atomic_int refusals;
    char text[];
} notes;

struct recorder {
    pid_t pid;
    int port, control; /* control: our end of the socket pair that carries orders */
    notes *notes;
};

typedef struct connection {
    int number;
    int client, server; /* -1: free */
    redisReader *commands, *replies;
    int outstanding[OUTSTANDING_MAX]; /* a ring of the numbers of commands that await a reply */
    unsigned first, last;
    int silent; /* the number of commands to come that get no reply: CLIENT REPLY SKIP */
    bool lose_reply;
} connection;

typedef struct proxy { /* the recorder's own process */
    notes *notes;
    buffer line;
    int listener, control, server_port;
    int commands, connections;
    int64_t began_ms;
    bool refuse, lose_reply;
    connection *list[CONNECTIONS_MAX];
} proxy;

/* ---- Notes */

static void write_text(buffer *b, const char *data, size_t size)
{
    if (!buffer_json_string(b, data, size)) {
        buffer_literal(b, "{\"b64\":\"");
        base64_write(b, data, size);
        buffer_literal(b, "\"}");
    }
}

static void write_reply(buffer *b, const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_STRING:
        write_text(b, reply->str, reply->len);
        break;
    case REDIS_REPLY_INTEGER:
        buffer_int(b, reply->integer);
        break;
    case REDIS_REPLY_NIL:
        buffer_literal(b, "null");
        break;
    case REDIS_REPLY_ARRAY:
        buffer_char(b, '[');
        for (size_t i = 0; i < reply->elements; i++) {
            if (i)
                buffer_char(b, ',');
            write_reply(b, reply->element[i]);
        }
        buffer_char(b, ']');
        break;
    default:
        buffer_str(b, reply->type == REDIS_REPLY_ERROR ? "{\"error\":" : "{\"status\":");
        write_text(b, reply->str, reply->len);
        buffer_char(b, '}');
    }
}

static void note(proxy *p)
{
    size_t size = atomic_load(&p->notes->size);

    buffer_char(&p->line, '\n');
    if (p->line.failed || size + p->line.size > NOTES_MAX - sizeof(notes))
        _exit(3);
    memcpy(p->notes->text + size, p->line.data, p->line.size);
    atomic_store(&p->notes->size, size + p->line.size);
    buffer_clear(&p->line, 1 << 20);
}

static bool is_word(const redisReply *command, size_t index, const char *word)
{
    return index < command->elements && strcasecmp(command->element[index]->str, word) == 0;
}

static void note_command(proxy *p, connection *c, const redisReply *command)
{
    int number = p->commands++;

    buffer_printf(&p->line, "{\"seq\":%d,\"t\":%lld,\"conn\":%d,\"args\":", number,
                  (long long)(support_now_ms() - p->began_ms), c->number);
    write_reply(&p->line, command);
    buffer_char(&p->line, '}');
    note(p);

    if (is_word(command, 0, "RPUSH") && p->lose_reply) {
        p->lose_reply = false;
        c->lose_reply = true;
    }
    if (is_word(command, 0, "CLIENT") && is_word(command, 1, "REPLY") && is_word(command, 2, "SKIP"))
        c->silent = 2; /* this one and the next */
    if (c->silent) {
        c->silent--;
        return;
    }
    c->outstanding[c->last++ % OUTSTANDING_MAX] = number;
    if (c->last - c->first > OUTSTANDING_MAX)
        _exit(3);
}

static void note_reply(proxy *p, connection *c, const redisReply *reply)
{
    if (c->first == c->last) /* Redis speaks unasked when it ends a connection */
        return;
    buffer_printf(&p->line, "{\"seq\":%d,\"t\":%lld,\"reply\":", c->outstanding[c->first++ % OUTSTANDING_MAX],
                  (long long)(support_now_ms() - p->began_ms));
    write_reply(&p->line, reply);
    buffer_char(&p->line, '}');
    note(p);
}

/* ---- Connections */

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static void connection_close(proxy *p, size_t index)
{
    connection *c = p->list[index];

    close(c->client);
    close(c->server);
    redisReaderFree(c->commands);
    redisReaderFree(c->replies);
    free(c);
    p->list[index] = NULL;
}

static void close_all(proxy *p)
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (p->list[i])
            connection_close(p, i);
}

static void connection_open(proxy *p)
{
    int client = accept(p->listener, NULL, NULL), server, on = 1;
    size_t i = 0;

    if (client < 0)
        return;
    while (i < CONNECTIONS_MAX && p->list[i])
        i++;
    if (p->refuse)
        atomic_fetch_add(&p->notes->refusals, 1);
    server = p->refuse || i == CONNECTIONS_MAX ? -1 : connect_to(p->server_port);
    if (server < 0) {
        close(client);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    p->list[i] = calloc(1, sizeof(connection));
    *p->list[i] = (connection){.number = ++p->connections,
                               .client = client,
                               .server = server,
                               .commands = redisReaderCreate(),
                               .replies = redisReaderCreate()};
}

static bool send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* Moves what has come from one side to the other and notes it; false when the connection is over. */
static bool forward(proxy *p, connection *c, bool from_client)
{
    static char chunk[1 << 18];
    redisReader *reader = from_client ? c->commands : c->replies;
    ssize_t n = read(from_client ? c->client : c->server, chunk, sizeof(chunk));
    void *message;

    if (n <= 0 || redisReaderFeed(reader, chunk, (size_t)n) != REDIS_OK)
        return false;
    while (redisReaderGetReply(reader, &message) == REDIS_OK && message) {
        if (from_client)
            note_command(p, c, message);
        else
            note_reply(p, c, message);
        freeReplyObject(message);
    }
    if (reader->err)
        return false;
    if (!from_client && c->lose_reply)
        return false;
    return send_all(from_client ? c->server : c->client, chunk, (size_t)n);
}

static void obey(proxy *p)
{
    char order;

    if (read(p->control, &order, 1) != 1)
        _exit(0); /* the test has ended */
    if (order == ORDER_REFUSE || order == ORDER_CUT)
        close_all(p);
    if (order == ORDER_REFUSE || order == ORDER_ACCEPT)
        p->refuse = order == ORDER_REFUSE;
    if (order == ORDER_LOSE_REPLY)
        p->lose_reply = true;
    if (write(p->control, &order, 1) != 1)
        _exit(0);
}

static void serve(proxy *p)
{
    struct pollfd fds[2 + 2 * CONNECTIONS_MAX];
    size_t index[CONNECTIONS_MAX];

    for (;;) {
        size_t count = 0;

        fds[0] = (struct pollfd){.fd = p->listener, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = p->control, .events = POLLIN};
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
            if (!p->list[i])
                continue;
            fds[2 + 2 * count] = (struct pollfd){.fd = p->list[i]->client, .events = POLLIN};
            fds[3 + 2 * count] = (struct pollfd){.fd = p->list[i]->server, .events = POLLIN};
            index[count++] = i;
        }
        if (poll(fds, 2 + 2 * count, -1) < 0)
            continue;
        for (size_t i = 0; i < count; i++) {
            connection *c = p->list[index[i]];
            if ((fds[2 + 2 * i].revents && !forward(p, c, true)) ||
                (fds[3 + 2 * i].revents && !forward(p, c, false)))
                connection_close(p, index[i]);
        }
        if (fds[1].revents)
            obey(p);
        if (fds[0].revents)
            connection_open(p);
    }
}

/* ---- The test's side */

static int listen_somewhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        fail_msg("the recorder has no socket to listen on: %s", strerror(errno));
    *port = ntohs(address.sin_port);
    return fd;
}

recorder *recorder_start(int server_port)
{
    recorder *r = calloc(1, sizeof(*r));
    proxy p = {.server_port = server_port, .began_ms = support_now_ms()};
    int pair[2];

    p.listener = listen_somewhere(&r->port);
    r->notes = mmap(NULL, NOTES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r->notes == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        fail_msg("the recorder lacks memory or descriptors: %s", strerror(errno));
    p.notes = r->notes;
    p.control = pair[1];
    r->control = pair[0];
    r->pid = fork();
    if (r->pid < 0)
        fail_msg("fork: %s", strerror(errno));
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(r->control);
        serve(&p);
    }
    close(p.listener);
    close(p.control);
    return r;
}

int recorder_port(const recorder *r) { return r->port; }

const char *recorder_notes(const recorder *r, size_t *size)
{
    *size = atomic_load(&r->notes->size);
    return r->notes->text;
}

int recorder_refusals(const recorder *r) { return atomic_load(&r->notes->refusals); }

static void order(recorder *r, char what)
{
    char answer;

    if (write(r->control, &what, 1) != 1 || read(r->control, &answer, 1) != 1)
        fail_msg("the recorder has ended");
}

void recorder_refuse(recorder *r) { order(r, ORDER_REFUSE); }
void recorder_accept(recorder *r) { order(r, ORDER_ACCEPT); }
void recorder_cut(recorder *r) { order(r, ORDER_CUT); }
void recorder_lose_reply(recorder *r) { order(r, ORDER_LOSE_REPLY); }

void recorder_stop(recorder *r)
{
    if (!r)
        return;
    kill(r->pid, SIGKILL);
    waitpid(r->pid, NULL, 0);
    close(r->control);
    munmap(r->notes, NOTES_MAX);
    free(r);
}
