/* A TCP proxy in front of a Redis, to break connections on demand. It is a process of its own, so that the test
 * stays without threads. Every order has been carried out when its function returns; one process gives orders
 * at a time. */
#ifndef TESTS_PROXY_H
#define TESTS_PROXY_H

#include "support.h"

typedef struct proxy {
    pid_t pid;
    int port, control;
    char url[128]; /* redis://127.0.0.1:PORT/0 */
} proxy;

typedef enum proxy_direction { TO_SERVER, TO_CLIENT } proxy_direction;

proxy *proxy_start(const redis_server *server);
void proxy_cut(proxy *p);             /* resets all connections; new ones work */
void proxy_hold(proxy *p, bool hold); /* forwards nothing, tells nobody, until it is told to go on */
void proxy_freeze(proxy *p); /* half-open: the connections of now forward nothing any more; new ones work */
void proxy_refuse(proxy *p, bool refuse); /* resets all connections and accepts none */
void proxy_delay(proxy *p, int ms);       /* holds every chunk back for so long, in both directions */
/* Resets all connections when this many more bytes went in that direction: exactly so many arrive. Once. */
void proxy_cut_after(proxy *p, proxy_direction direction, int bytes);
int proxy_connections(proxy *p); /* attempts since the start that were accepted here */
void proxy_stop(proxy *p);       /* NULL is allowed */

#endif
