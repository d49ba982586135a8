/* TLS over a connection's socket. */
#ifndef REDIS_TLS_H
#define REDIS_TLS_H

#include "conn.h"

/* Shakes hands on c->fd and checks the certificate. On failure c->ssl is NULL again. */
lb_status tls_start(conn *c, int64_t deadline_ns, lb_error *error);
/* As recv and send: the count, 0 at the end, -1 with errno EAGAIN. *events says what to poll for then. */
ssize_t tls_read(conn *c, char *data, size_t size, short *events);
ssize_t tls_write(conn *c, const char *data, size_t size, short *events);

#endif
