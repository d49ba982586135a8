/* The proxy process: one poll loop over its control socket, its listening socket and the connections.
 * Invariant: a flow reads only when its chunk is empty, so nothing is ever held but that chunk. */
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_LINKS = 256 };

typedef struct order {
    enum { CUT, HOLD, FREEZE, REFUSE, DELAY, CUT_AFTER_TO_SERVER, CUT_AFTER_TO_CLIENT, COUNT } kind;
    int value;
} order;

typedef struct flow {
    int from, to;
    size_t start, size; /* what of the chunk is still to be sent */
    int64_t due_ms;
    char chunk[32768];
} flow;

typedef struct connection {
    int client, server;
    bool frozen;
    flow flows[2]; /* by proxy_direction */
} connection;

typedef struct forwarder {
    int control, listener, port, server_port;
    bool hold;
    int delay_ms, accepted;
    int64_t budget[2]; /* bytes until the cut; -1: no cut */
    connection *links[MOST_LINKS];
    size_t count;
} forwarder;

/* ---- Connections ---------------------------------------------------------------------------------------- */

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int listen_on(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 256) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void close_with_reset(int fd)
{
    struct linger at_once = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

/* The client sees a reset; the server an orderly end, so that it reads what it was sent. */
static void drop_link(forwarder *f, size_t index)
{
    close_with_reset(f->links[index]->client);
    close(f->links[index]->server);
    free(f->links[index]);
    f->links[index] = f->links[--f->count];
}

static void drop_all(forwarder *f)
{
    while (f->count > 0)
        drop_link(f, f->count - 1);
}

static void prepare(int fd)
{
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void accept_link(forwarder *f)
{
    struct sockaddr_in address = loopback(f->server_port);
    int client = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return;
    f->accepted++;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connection *l = f->count < MOST_LINKS ? calloc(1, sizeof *l) : NULL;
    if (!l || connect(server, (struct sockaddr *)&address, sizeof address) != 0) {
        close_with_reset(client);
        close(server);
        free(l);
        return;
    }
    prepare(client);
    prepare(server);
    l->client = client;
    l->server = server;
    l->flows[TO_SERVER].from = l->flows[TO_CLIENT].to = client;
    l->flows[TO_SERVER].to = l->flows[TO_CLIENT].from = server;
    f->links[f->count++] = l;
}

/* ---- Forwarding ----------------------------------------------------------------------------------------- */

typedef enum outcome { GOES_ON, ENDED, CUT_DUE } outcome;

static outcome receive(const forwarder *f, flow *w)
{
    ssize_t got = recv(w->from, w->chunk, sizeof w->chunk, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        return ENDED;
    if (got > 0) {
        w->start = 0;
        w->size = (size_t)got;
        w->due_ms = support_now_ms() + f->delay_ms;
    }
    return GOES_ON;
}

static outcome pass_on(forwarder *f, flow *w, proxy_direction direction)
{
    int64_t *budget = &f->budget[direction];
    size_t most = *budget >= 0 && (size_t)*budget < w->size ? (size_t)*budget : w->size;
    ssize_t sent = most > 0 ? send(w->to, w->chunk + w->start, most, MSG_NOSIGNAL) : 0;
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR ? GOES_ON : ENDED;
    w->start += (size_t)sent;
    w->size -= (size_t)sent;
    if (*budget < 0)
        return GOES_ON;
    *budget -= sent;
    return *budget == 0 ? CUT_DUE : GOES_ON;
}

/* One turn of a connection: sends what is due, reads where there is room. */
static outcome turn(forwarder *f, connection *l)
{
    for (proxy_direction d = TO_SERVER; d <= TO_CLIENT; d++) {
        flow *w = &l->flows[d];
        outcome o = w->size == 0 ? receive(f, w) : GOES_ON;
        if (o == GOES_ON && w->size > 0 && support_now_ms() >= w->due_ms)
            o = pass_on(f, w, d);
        if (o != GOES_ON)
            return o;
    }
    return GOES_ON;
}

static void forward(forwarder *f)
{
    for (size_t i = f->count; i-- > 0;) {
        outcome o = f->links[i]->frozen ? GOES_ON : turn(f, f->links[i]);
        if (o == CUT_DUE) {
            f->budget[TO_SERVER] = f->budget[TO_CLIENT] = -1;
            drop_all(f);
            return;
        }
        if (o == ENDED)
            drop_link(f, i);
    }
}

/* ---- Orders --------------------------------------------------------------------------------------------- */

static int refuse(forwarder *f, bool on)
{
    drop_all(f);
    if (on && f->listener >= 0) {
        close(f->listener);
        f->listener = -1;
    } else if (!on && f->listener < 0) {
        f->listener = listen_on(f->port);
    }
    return on || f->listener >= 0 ? 0 : -1;
}

static int carry_out(forwarder *f, order o)
{
    switch (o.kind) {
    case CUT:
        drop_all(f);
        return 0;
    case HOLD:
        f->hold = o.value;
        return 0;
    case FREEZE:
        for (size_t i = 0; i < f->count; i++)
            f->links[i]->frozen = true;
        return 0;
    case REFUSE:
        return refuse(f, o.value);
    case DELAY:
        f->delay_ms = o.value;
        return 0;
    case CUT_AFTER_TO_SERVER:
        f->budget[TO_SERVER] = o.value;
        return 0;
    case CUT_AFTER_TO_CLIENT:
        f->budget[TO_CLIENT] = o.value;
        return 0;
    case COUNT:
        return f->accepted;
    }
    return -1;
}

/* What to wait for; returns how long, at most. A chunk that is not due waits by time, others by descriptor. */
static int plan(const forwarder *f, struct pollfd *waits, size_t *count)
{
    int64_t now = support_now_ms(), wait = 1000;
    waits[(*count)++] = (struct pollfd){f->control, POLLIN, 0};
    waits[(*count)++] = (struct pollfd){f->listener, POLLIN, 0};
    for (size_t i = 0; i < f->count && !f->hold; i++) {
        for (int d = 0; d < 2 && !f->links[i]->frozen; d++) {
            const flow *w = &f->links[i]->flows[d];
            if (w->size == 0)
                waits[(*count)++] = (struct pollfd){w->from, POLLIN, 0};
            else if (w->due_ms <= now)
                waits[(*count)++] = (struct pollfd){w->to, POLLOUT, 0};
            else if (w->due_ms - now < wait)
                wait = w->due_ms - now;
        }
    }
    return (int)wait;
}

static int forward_for_ever(void *data)
{
    forwarder *f = data;
    static struct pollfd waits[2 + 2 * MOST_LINKS];
    for (;;) {
        size_t count = 0;
        int wait = plan(f, waits, &count);
        poll(waits, count, wait);
        if (waits[0].revents) {
            order o;
            if (recv(f->control, &o, sizeof o, 0) != sizeof o)
                break;
            int answer = carry_out(f, o);
            send(f->control, &answer, sizeof answer, MSG_NOSIGNAL);
            continue;
        }
        if (waits[1].revents && f->listener >= 0)
            accept_link(f);
        if (!f->hold)
            forward(f);
    }
    drop_all(f);
    return 0;
}

/* ---- The test's side ------------------------------------------------------------------------------------ */

proxy *proxy_start(const redis_server *server)
{
    static forwarder f; /* the child's copy is the one that lives */
    int ends[2];
    proxy *p = calloc(1, sizeof *p);
    assert_non_null(p);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    f = (forwarder){.control = ends[1], .server_port = server->port, .budget = {-1, -1}};
    do
        f.port = support_free_port();
    while ((f.listener = listen_on(f.port)) < 0);
    p->pid = child_start(forward_for_ever, &f);
    close(ends[1]);
    close(f.listener);
    p->control = ends[0];
    p->port = f.port;
    snprintf(p->url, sizeof p->url, "redis://127.0.0.1:%d/0", p->port);
    return p;
}

static int give_order(proxy *p, int kind, int value)
{
    order o = {.kind = kind, .value = value};
    int answer = -1;
    if (send(p->control, &o, sizeof o, MSG_NOSIGNAL) != sizeof o ||
        recv(p->control, &answer, sizeof answer, 0) != sizeof answer || answer < 0)
        fail_msg("the proxy process does not obey");
    return answer;
}

void proxy_cut(proxy *p) { give_order(p, CUT, 0); }

void proxy_hold(proxy *p, bool hold) { give_order(p, HOLD, hold); }

void proxy_freeze(proxy *p) { give_order(p, FREEZE, 0); }

void proxy_refuse(proxy *p, bool refuse) { give_order(p, REFUSE, refuse); }

void proxy_delay(proxy *p, int ms) { give_order(p, DELAY, ms); }

void proxy_cut_after(proxy *p, proxy_direction direction, int bytes)
{
    give_order(p, direction == TO_SERVER ? CUT_AFTER_TO_SERVER : CUT_AFTER_TO_CLIENT, bytes);
}

int proxy_connections(proxy *p) { return give_order(p, COUNT, 0); }

void proxy_stop(proxy *p)
{
    if (!p)
        return;
    kill(p->pid, SIGKILL);
    child_wait(p->pid, 5000);
    close(p->control);
    free(p);
}
