/* Connections to Redis: sockets, handshake, bytes with deadlines, and what error replies mean.
 *
 * Invariants: fd == -1 means that `out` is empty and no reply is outstanding. No wait is
 * without a deadline: a poll, or, where data is likely soon, a read that dozes for DOZE_MS. Nothing here shows
 * a password (S33): messages name `options->place`. */
#include "conn.h"

#include <lightbus/log.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tls.h"

enum {
    READ_SIZE = 64 * 1024,
    KEEP_OUT = 256 * 1024,
    LOW_WATER_MOST = 4096,
    DOZE_MS = 5,
    LONGEST_POLL_MS = 60 * 1000,
    USER_TIMEOUT_MS = 10 * 1000,
    CONNECT_TIMEOUT_LEAST_MS = 10,
};
#define IDLE_NS                                                                                                \
    (1 * CLOCK_MS) /* after that a look whether it has died is cheap beside what could be lost on it */

void conn_init(conn *c, const redis_options *options, server_features *features, SSL_CTX *tls, int wake_fd)
{
    *c = (conn){.options = options, .features = features, .tls = tls, .fd = -1, .wake_fd = wake_fd};
}

/* In this order: the child of a fork in between must not close what another thread has opened since. */
static void close_socket(conn *c)
{
    int fd = c->fd;
    __atomic_store_n(&c->fd, -1, __ATOMIC_RELEASE);
    if (fd >= 0)
        close(fd);
}

void leave_memory_of(const void *object, size_t size)
{
    static struct left {
        struct left *next;
        char copy[]; /* of the pointers */
    } * all;
    struct left *one = malloc(sizeof *one + size);
    if (!one)
        return;
    memcpy(one->copy, object, size);
    one->next = all;
    all = one;
}

void conn_abandon(conn *c)
{
    leave_memory_of(c, sizeof *c);
    unsigned serial = c->serial; /* the next connection is none of those before */
    close_socket(c);
    conn_init(c, c->options, c->features, c->tls, c->wake_fd);
    c->serial = serial;
}

void conn_drop(conn *c)
{
    if (c->ssl) {
        SSL_set_quiet_shutdown(c->ssl, 1);
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    close_socket(c);
    c->client_id = 0;
    c->expected = 0;
    c->unfit = false;
    buffer_clear(&c->out, KEEP_OUT);
}

void conn_close(conn *c)
{
    conn_drop(c);
    parser_close(&c->in);
    buffer_free(&c->out);
}

/* ---- Failures --------------------------------------------------------------------------------------- */

static lb_status lost(conn *c, lb_error *error, const char *what)
{
    conn_drop(c);
    return lb_error_set(error, LB_TRANSPORT, "%s: %s", c->options->place, what);
}

static lb_status lost_errno(conn *c, lb_error *error, int number)
{
    char text[128];
    const char *reason = strerror_r(number, text, sizeof text);
    char lower[128];
    snprintf(lower, sizeof lower, "%s", reason);
    lower[0] = (char)tolower((unsigned char)lower[0]);
    return lost(c, error, lower);
}

typedef struct error_class {
    const char *code;
    lb_status status;
    bool drop;
} error_class;

/* `drop`: another connection may reach a server that is better. */
static const error_class error_classes[] = {
    {"OOM", LB_BUSY, false},
    {"LOADING", LB_TRANSPORT, true},
    {"READONLY", LB_TRANSPORT, true},
    {"MASTERDOWN", LB_TRANSPORT, true},
    {"CLUSTERDOWN", LB_TRANSPORT, true},
    {"UNBLOCKED", LB_TRANSPORT, true},
    {"TRYAGAIN", LB_TRANSPORT, false},
    {"BUSY ", LB_BUSY, false},           /* a script is running */
    {"NOREPLICAS", LB_TRANSPORT, false}, /* too few of them are there for a write */
    {"DENIED", LB_ACCESS, true},         /* protected mode */
    {"NOAUTH", LB_ACCESS, true},
    {"WRONGPASS", LB_ACCESS, true},
    {"NOPERM", LB_ACCESS, false},
    {"ERR AUTH", LB_ACCESS, true},
    {"ERR invalid password", LB_ACCESS, true},
    {"ERR max number of clients", LB_BUSY, true},
    {"MISCONF", LB_NO_SPACE, false}, /* it cannot save and takes no writes */
};

static bool begins_with(lb_slice text, const char *start)
{
    size_t size = strlen(start);
    return text.size >= size && memcmp(text.data, start, size) == 0;
}

/* NULL: none of those. Before Redis 7 what a command in a script was refused for is told inside of another
 * error: "ERR Error running script (call to f_...): @user_script: 1: -OOM command not allowed ...". */
static const error_class *class_of(lb_slice text)
{
    const char *inner =
        begins_with(text, "ERR Error running script") ? memmem(text.data, text.size, ": -", 3) : NULL;
    if (inner)
        text = (lb_slice){inner + 3, (size_t)(text.data + text.size - inner - 3)};
    for (size_t i = 0; i < sizeof error_classes / sizeof *error_classes; i++)
        if (begins_with(text, error_classes[i].code))
            return &error_classes[i];
    return NULL;
}

lb_status conn_reply_error(conn *c, const reply *r, const char *doing, lb_error *error)
{
    lb_slice text = reply_text(r);
    const error_class *known = class_of(text);
    lb_status status = known ? known->status : LB_TRANSPORT;
    lb_error_set(error, status, "%s: %s: %.*s", c->options->place, doing,
                 (int)(text.size < 300 ? text.size : 300), text.data ? text.data : "");
    if (error && !known)
        error->retryable = false;
    c->unfit |= known && known->drop;
    return status;
}

/* ---- Bytes ------------------------------------------------------------------------------------------ */

/* Waits until the socket is ready: LB_TIMEOUT, LB_CANCELED when woken. */
static lb_status wait_ready(conn *c, short events, int64_t deadline_ns, bool wakeable)
{
    struct pollfd p[2] = {{.fd = c->fd, .events = events}, {.fd = c->wake_fd, .events = POLLIN}};
    nfds_t count = wakeable && c->wake_fd >= 0 ? 2 : 1;
    for (;;) {
        int timeout = deadline_ns == INT64_MAX ? LONGEST_POLL_MS : clock_left_ms(deadline_ns, LONGEST_POLL_MS);
        int ready = poll(p, count, timeout);
        if (ready > 0)
            return p[0].revents ? LB_OK : LB_CANCELED;
        if (ready == 0 && deadline_ns != INT64_MAX && clock_now() >= deadline_ns)
            return LB_TIMEOUT;
    }
}

/* Lets the kernel hold back the wake-up until the bytes worth one are there. */
static void set_low_water(conn *c)
{
    int wanted = c->expected < 1 ? 1 : c->expected < LOW_WATER_MOST ? (int)c->expected : LOW_WATER_MOST;
    if (wanted != c->low_water && setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &wanted, sizeof wanted) == 0)
        c->low_water = wanted;
}

lb_status conn_send(conn *c, int64_t deadline_ns, bool *started, lb_error *error)
{
    if (started)
        *started = false;
    if (c->out.failed) {
        conn_drop(c);
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for commands to Redis");
    }
    size_t sent = 0;
    while (sent < c->out.size) {
        short events = POLLOUT;
        const char *from = c->out.data + sent;
        size_t left = c->out.size - sent;
        ssize_t n =
            c->ssl ? tls_write(c, from, left, &events) : send(c->fd, from, left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent += (size_t)n;
            if (started)
                *started = true;
        } else if (errno == EAGAIN) {
            if (wait_ready(c, events, deadline_ns, false) != LB_OK)
                return lost(c, error, "the server takes no more data");
        } else if (errno != EINTR) {
            return lost_errno(c, error, errno);
        }
    }
    buffer_clear(&c->out, KEEP_OUT);
    return LB_OK;
}

/* Takes what a read returned into the parser. LB_TIMEOUT: nothing was there. */
static lb_status take(conn *c, const char *data, ssize_t n, lb_error *error)
{
    if (n == 0)
        return lost(c, error, "the server closed the connection");
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? LB_TIMEOUT : lost_errno(c, error, errno);
    c->expected = c->expected > (size_t)n ? c->expected - (size_t)n : 0;
    if (!parser_feed(&c->in, data, (size_t)n))
        return lost(c, error, "out of memory for replies");
    return LB_OK;
}

static lb_status read_some(conn *c, short *events, lb_error *error)
{
    char data[READ_SIZE];
    return take(c, data,
                c->ssl ? tls_read(c, data, sizeof data, events) : recv(c->fd, data, sizeof data, MSG_DONTWAIT),
                error);
}

/* Waits a moment in the read itself: what comes soon, as it does under load, needs no poll. */
static lb_status doze(conn *c, lb_error *error)
{
    char data[READ_SIZE];
    return take(c, data, recv(c->fd, data, sizeof data, 0), error);
}

/* Waits for bytes and reads them. */
static lb_status wait_and_read(conn *c, int64_t deadline_ns, bool wakeable, lb_error *error)
{
    short events = POLLIN;
    lb_status status;
    if (c->ssl) {
        while ((status = read_some(c, &events, error)) == LB_TIMEOUT)
            if ((status = wait_ready(c, events, deadline_ns, wakeable)) != LB_OK)
                return status;
        return status;
    }
    set_low_water(c);
    if (deadline_ns - clock_now() > 2 * DOZE_MS * CLOCK_MS && (status = doze(c, error)) != LB_TIMEOUT)
        return status;
    status = wait_ready(c, events, deadline_ns, wakeable);
    if (status == LB_CANCELED)
        return status;
    bool late = status == LB_TIMEOUT;
    status = read_some(c, &events, error);
    if (late) { /* fewer bytes than expected may have been there; who polls the descriptor is to see every one
                 */
        c->expected = 0;
        set_low_water(c);
    }
    return status == LB_TIMEOUT && !late ? LB_OK : status;
}

static lb_status receive(conn *c, int64_t deadline_ns, bool wakeable, const reply **r, lb_error *error)
{
    bool failed, late = false;
    if (c->fd < 0)
        return lost(c, error, "not connected");
    for (;;) {
        *r = parser_next(&c->in, &failed);
        if (failed)
            return lost(c, error, "the server does not speak the Redis protocol");
        if (*r)
            return LB_OK;
        if (late) /* there may be more bytes, without end */
            return LB_TIMEOUT;
        lb_status status = wait_and_read(c, deadline_ns, wakeable, error);
        if (status != LB_OK)
            return status;
        late = clock_now() >= deadline_ns;
    }
}

lb_status conn_receive(conn *c, int64_t deadline_ns, const reply **r, lb_error *error)
{
    return receive(c, deadline_ns, true, r, error);
}

lb_status conn_answer(conn *c, int64_t deadline_ns, const reply **r, lb_error *error)
{
    lb_status status = receive(c, deadline_ns, false, r, error);
    if (status == LB_TIMEOUT)
        status = lost(c, error, "no answer before the deadline");
    c->used_ns = clock_now();
    return status;
}

/* ---- Connecting ------------------------------------------------------------------------------------- */

static void set_socket_options(int fd)
{
    const struct {
        int level, name, value;
    } settings[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 15}, {IPPROTO_TCP, TCP_KEEPINTVL, 5},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},   {IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) /* a kernel without one of them will do */
        setsockopt(fd, settings[i].level, settings[i].name, &settings[i].value, sizeof settings[i].value);
}

/* 0, or the errno of why there is no connection to this address; c->fd is then -1. */
static int connect_address(conn *c, const struct sockaddr *address, socklen_t size, int64_t deadline_ns)
{
    c->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return errno;
    if (address->sa_family != AF_UNIX)
        set_socket_options(c->fd);
    int number = connect(c->fd, address, size) == 0 ? 0 : errno;
    if (number == EINPROGRESS) {
        socklen_t room = sizeof number;
        if (wait_ready(c, POLLOUT, deadline_ns, false) != LB_OK)
            number = ETIMEDOUT;
        else if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &number, &room) != 0)
            number = errno;
    }
    if (!number && !c->tls) { /* reads may doze; all else says MSG_DONTWAIT */
        struct timeval moment = {.tv_usec = DOZE_MS * 1000};
        int flags = fcntl(c->fd, F_GETFL);
        if (flags < 0 || fcntl(c->fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ||
            setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment) != 0)
            number = errno;
    }
    if (number)
        close_socket(c);
    return number;
}

static lb_status connect_socket(conn *c, int64_t deadline_ns, lb_error *error)
{
    const redis_options *o = c->options;
    int number = ECONNREFUSED;
    if (*o->path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, o->path, strnlen(o->path, sizeof address.sun_path - 1));
        number = connect_address(c, (struct sockaddr *)&address, sizeof address, deadline_ns);
        return number ? lost_errno(c, error, number) : LB_OK;
    }
    /* An address first: that takes no lock, which a thread of the parent may hold in a forked child for ever.
     */
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *list = NULL;
    int failed = getaddrinfo(o->host, o->port, &hints, &list);
    if (failed == EAI_NONAME) {
        hints.ai_flags = AI_ADDRCONFIG;
        failed = getaddrinfo(o->host, o->port, &hints, &list);
    }
    if (failed)
        return lost(c, error, failed == EAI_SYSTEM ? strerror(errno) : gai_strerror(failed));
    for (struct addrinfo *a = list; a && number; a = a->ai_next)
        number = connect_address(c, a->ai_addr, a->ai_addrlen, deadline_ns);
    freeaddrinfo(list);
    return number ? lost_errno(c, error, number) : LB_OK;
}

/* One reply of the greeting; `optional`: an error reply is no failure (its right may be missing). */
static lb_status greeting_reply(conn *c, const char *doing, bool optional, int64_t deadline_ns, const reply **r,
                                lb_error *error)
{
    lb_status status = conn_answer(c, deadline_ns, r, error);
    if (status == LB_OK && reply_is_error(*r) && !(optional && reply_is_error_of(*r, "NOPERM")) &&
        !(optional && reply_is_error_of(*r, "ERR"))) {
        status = conn_reply_error(c, *r, doing, error);
        conn_drop(c);
    }
    return status;
}

/* Says who we are, chooses the database, asks for our number and for what the server can do: in one write. */
static lb_status greet(conn *c, int64_t deadline_ns, lb_error *error)
{
    const redis_options *o = c->options;
    const reply *r;
    char db[16];
    bool ask = __atomic_load_n(&c->features->multi_pop, __ATOMIC_RELAXED) == 0;
    if (o->password && *o->user)
        command_of(&c->out, "AUTH", o->user, o->password, NULL);
    else if (o->password)
        command_of(&c->out, "AUTH", o->password, NULL);
    if (o->db >= 0) {
        snprintf(db, sizeof db, "%d", o->db);
        command_of(&c->out, "SELECT", db, NULL);
    }
    command_of(&c->out, "CLIENT", "ID", NULL);
    if (ask)
        command_of(&c->out, "COMMAND", "INFO", "BLMPOP", "LMPOP", NULL);

    lb_status status = conn_send(c, deadline_ns, NULL, error);
    if (status == LB_OK && o->password)
        status = greeting_reply(c, "password", false, deadline_ns, &r, error);
    if (status == LB_OK && o->db >= 0)
        status = greeting_reply(c, "choosing the database", false, deadline_ns, &r, error);
    if (status == LB_OK) {
        status = greeting_reply(c, "connecting", true, deadline_ns, &r, error);
        c->client_id = status == LB_OK ? reply_integer(r) : 0;
        if (status == LB_OK && !c->client_id) /* and so it cannot be woken */
            __atomic_store_n(&c->features->no_unblock, 1, __ATOMIC_RELAXED);
    }
    if (status == LB_OK && ask) {
        status = greeting_reply(c, "asking for its commands", true, deadline_ns, &r, error);
        const reply *first = status == LB_OK ? reply_first(r) : NULL;
        bool both = reply_first(first) && reply_first(first->next);
        if (status == LB_OK)
            __atomic_store_n(&c->features->multi_pop, both ? 1 : -1, __ATOMIC_RELAXED);
    }
    return status;
}

static bool alive(conn *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 && c->ssl) { /* session tickets come unasked; data does not */
        ERR_clear_error();
        n = SSL_peek(c->ssl, &byte, 1);
        return n <= 0 && SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

lb_status conn_ready(conn *c, int64_t deadline_ns, lb_error *error)
{
    int64_t now = clock_now();
    if (c->fd >= 0 && now - c->used_ns > IDLE_NS && !alive(c)) {
        lb_log(LB_LOG_DEBUG, "%s: an idle connection had died", c->options->place);
        conn_drop(c);
    }
    if (c->unfit)
        conn_drop(c);
    c->used_ns = now;
    if (c->fd >= 0)
        return LB_OK;

    if (!parser_open(&c->in, (size_t)c->options->max_message_size))
        return lb_error_set(error, LB_NO_MEMORY, "out of memory for a connection");
    int64_t most = now + c->options->connect_timeout_ms * CLOCK_MS;
    if (deadline_ns > most)
        deadline_ns = most;
    if (deadline_ns < now + CONNECT_TIMEOUT_LEAST_MS * CLOCK_MS)
        deadline_ns = now + CONNECT_TIMEOUT_LEAST_MS * CLOCK_MS;
    c->low_water = 1;
    c->expected = 0;
    lb_status status = connect_socket(c, deadline_ns, error);
    if (status == LB_OK && c->tls && (status = tls_start(c, deadline_ns, error)) != LB_OK)
        conn_drop(c);
    if (status == LB_OK)
        status = greet(c, deadline_ns, error);
    if (status == LB_OK)
        c->serial++;
    return status;
}
