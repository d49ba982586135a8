/* The bare Redis client; see resp.h. A reply may be cut anywhere by the network: parsing stops at the last
 * whole token (`open` and `depth` say where) and goes on there when more has come. */
#include "resp.h"
#include "bench.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { START_CAPACITY = 1 << 16, READ_SIZE = 1 << 14 };

static void *resize(void *memory, size_t size)
{
    memory = realloc(memory, size);
    if (!memory)
        die("out of memory");
    return memory;
}

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

resp *resp_connect(int port)
{
    resp *c = resize(NULL, sizeof *c);
    *c = (resp){.in_capacity = START_CAPACITY, .out_capacity = START_CAPACITY, .token_capacity = 256};
    c->in = resize(NULL, c->in_capacity);
    c->out = resize(NULL, c->out_capacity);
    c->tokens = resize(NULL, c->token_capacity * sizeof *c->tokens);
    c->fd = connect_to(port);
    if (c->fd < 0)
        die("connect to 127.0.0.1:%d", port);
    return c;
}

void resp_close(resp *c)
{
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c->tokens);
    free(c);
}

bool resp_ping(int port)
{
    char reply[7];
    int fd = connect_to(port);
    if (fd < 0)
        return false;
    bool answered = send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 &&
                    recv(fd, reply, sizeof reply, MSG_WAITALL) == 7 && memcmp(reply, "+PONG\r\n", 7) == 0;
    close(fd);
    return answered;
}

/* ---- Commands ---------------------------------------------------------------------------------------- */

static void put(resp *c, const void *data, size_t size)
{
    while (c->out_size + size > c->out_capacity)
        c->out = resize(c->out, c->out_capacity *= 2);
    memcpy(c->out + c->out_size, data, size);
    c->out_size += size;
}

static void put_header(resp *c, char type, size_t number)
{
    char text[24], *at = text + sizeof text;
    *--at = '\n';
    *--at = '\r';
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    *--at = type;
    put(c, at, (size_t)(text + sizeof text - at));
}

void resp_begin(resp *c, size_t count) { put_header(c, '*', count); }

void resp_arg(resp *c, const char *data, size_t size)
{
    put_header(c, '$', size);
    put(c, data, size);
    put(c, "\r\n", 2);
}

void resp_text(resp *c, const char *text) { resp_arg(c, text, strlen(text)); }

void resp_command(resp *c, ...)
{
    const char *texts[32];
    size_t count = 0;
    va_list arguments;
    va_start(arguments, c);
    while (count < 32 && (texts[count] = va_arg(arguments, const char *)))
        count++;
    va_end(arguments);
    resp_begin(c, count);
    for (size_t i = 0; i < count; i++)
        resp_text(c, texts[i]);
}

void resp_flush(resp *c)
{
    size_t sent = 0;
    while (sent < c->out_size) {
        ssize_t n = send(c->fd, c->out + sent, c->out_size - sent, MSG_NOSIGNAL);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno != EINTR)
            die("send");
    }
    c->out_size = 0;
}

/* ---- Replies ----------------------------------------------------------------------------------------- */

static void receive(resp *c)
{
    if (c->in_capacity - c->in_size < READ_SIZE)
        c->in = resize(c->in, c->in_capacity *= 2);
    for (;;) {
        ssize_t n = recv(c->fd, c->in + c->in_size, c->in_capacity - c->in_size, 0);
        if (n > 0) {
            c->in_size += (size_t)n;
            return;
        }
        if (n == 0)
            die("the server closed the connection");
        if (errno != EINTR)
            die("recv");
    }
}

static long parse_number(const char *at)
{
    bool negative = *at == '-';
    long number = 0;
    for (at += negative; *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (*at - '0');
    return negative ? -number : number;
}

/* Parses one token; false when it has not come whole yet. */
static bool parse_token(resp *c)
{
    const char *start = c->in + c->in_parsed;
    const char *newline = memchr(start, '\n', c->in_size - c->in_parsed);
    if (!newline)
        return false;
    resp_token token = {.type = *start};
    size_t next = (size_t)(newline + 1 - c->in);
    if (*start == '-')
        die("redis: %.*s", (int)(newline - start - 1), start);
    if (*start != '+')
        token.number = parse_number(start + 1);
    if (*start == '$' && token.number >= 0) {
        token.offset = next;
        next += (size_t)token.number + 2;
        if (next > c->in_size)
            return false;
    }
    if (c->token_count == c->token_capacity)
        c->tokens = resize(c->tokens, (c->token_capacity *= 2) * sizeof *c->tokens);
    c->tokens[c->token_count++] = token;
    c->in_parsed = next;
    return true;
}

/* Parses what has come; true when the reply is whole. */
static bool parse_reply(resp *c)
{
    while (parse_token(c)) {
        const resp_token *token = &c->tokens[c->token_count - 1];
        if (token->type == '*' && token->number > 0) {
            if (c->depth == (int)(sizeof c->open / sizeof *c->open))
                die("redis: a reply nested too deep");
            c->open[c->depth++] = token->number;
            continue;
        }
        while (c->depth && --c->open[c->depth - 1] == 0)
            c->depth--;
        if (c->depth == 0)
            return true;
    }
    return false;
}

void resp_read(resp *c)
{
    if (c->in_parsed == c->in_size) {
        c->in_parsed = c->in_size = 0;
    } else if (c->in_parsed > c->in_capacity / 2) {
        c->in_size -= c->in_parsed;
        memmove(c->in, c->in + c->in_parsed, c->in_size);
        c->in_parsed = 0;
    }
    c->token_count = 0;
    while (!parse_reply(c))
        receive(c);
}

void resp_skip(resp *c, size_t replies)
{
    while (replies--)
        resp_read(c);
}
