/* TLS with OpenSSL on a non-blocking socket. OpenSSL's own socket BIO would raise SIGPIPE when the peer is
 * gone, and a library has no business with signal handlers: so the BIO here sends with MSG_NOSIGNAL. */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

/* ---- The BIO ---------------------------------------------------------------------------------------- */

static int socket_of(BIO *bio) { return (int)(intptr_t)BIO_get_data(bio); }

static int bio_write(BIO *bio, const char *data, int size)
{
    BIO_clear_retry_flags(bio);
    ssize_t n = send(socket_of(bio), data, (size_t)size, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)n;
}

static int bio_read(BIO *bio, char *data, int size)
{
    BIO_clear_retry_flags(bio);
    ssize_t n = recv(socket_of(bio), data, (size_t)size, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)n;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void make_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lightbus socket");
    if (method && BIO_meth_set_write(method, bio_write) && BIO_meth_set_read(method, bio_read) &&
        BIO_meth_set_ctrl(method, bio_control))
        bio_method = method;
}

static BIO *socket_bio(int fd)
{
    pthread_once(&bio_once, make_bio_method);
    BIO *bio = bio_method ? BIO_new(bio_method) : NULL;
    if (bio) {
        BIO_set_data(bio, (void *)(intptr_t)fd);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* ---- The context ------------------------------------------------------------------------------------ */

static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return reason ? reason : "unknown reason";
}

SSL_CTX *tls_context(const redis_options *o, lb_error *error)
{
    const char *option = NULL, *file = NULL;
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) {
        lb_error_set(error, LB_NO_MEMORY, "%s: TLS: %s", o->place, openssl_reason());
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(context, o->tls_verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (o->tls_ca) {
        if (SSL_CTX_load_verify_locations(context, o->tls_ca, NULL) != 1)
            option = "tls_ca", file = o->tls_ca;
    } else {
        SSL_CTX_set_default_verify_paths(context);
    }
    if (!option && o->tls_cert && SSL_CTX_use_certificate_chain_file(context, o->tls_cert) != 1)
        option = "tls_cert", file = o->tls_cert;
    if (!option && o->tls_key && SSL_CTX_use_PrivateKey_file(context, o->tls_key, SSL_FILETYPE_PEM) != 1)
        option = "tls_key", file = o->tls_key;
    if (option) {
        lb_error_set(error, LB_CONFIG, "%s: option %s: expected a PEM file that can be read, not %.200s: %s",
                     o->place, option, file, openssl_reason());
        SSL_CTX_free(context);
        context = NULL;
    }
    ERR_clear_error();
    return context;
}

/* ---- Handshake and bytes ---------------------------------------------------------------------------- */

static bool set_peer(SSL *ssl, const redis_options *o)
{
    unsigned char address[16];
    bool numeric = inet_pton(AF_INET, o->host, address) == 1 || inet_pton(AF_INET6, o->host, address) == 1;
    if (!numeric && SSL_set_tlsext_host_name(ssl, o->host) != 1)
        return false;
    if (!o->tls_verify)
        return true;
    return numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), o->host) == 1
                   : SSL_set1_host(ssl, o->host) == 1;
}

/* What SSL_get_error says, as recv and send would. */
static ssize_t outcome(SSL *ssl, int result, short *events)
{
    if (result > 0)
        return result;
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
        *events = POLLIN;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_WANT_WRITE:
        *events = POLLOUT;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        if (errno == 0 || errno == EAGAIN || errno == EINTR)
            errno = ECONNRESET;
        return -1;
    }
}

ssize_t tls_read(conn *c, char *data, size_t size, short *events)
{
    ERR_clear_error();
    errno = 0;
    return outcome(c->ssl, SSL_read(c->ssl, data, (int)size), events);
}

ssize_t tls_write(conn *c, const char *data, size_t size, short *events)
{
    ERR_clear_error();
    errno = 0;
    return outcome(c->ssl, SSL_write(c->ssl, data, size > INT32_MAX ? INT32_MAX : (int)size), events);
}

static lb_status handshake_error(conn *c, lb_error *error)
{
    long verified = SSL_get_verify_result(c->ssl);
    if (c->options->tls_verify && verified != X509_V_OK)
        return lb_error_set(error, LB_ACCESS, "%s: the server's certificate was refused: %s", c->options->place,
                            X509_verify_cert_error_string(verified));
    if (ERR_peek_last_error())
        return lb_error_set(error, LB_ACCESS, "%s: TLS handshake: %s", c->options->place, openssl_reason());
    return lb_error_set(error, LB_TRANSPORT, "%s: the connection was closed during the TLS handshake",
                        c->options->place);
}

lb_status tls_start(conn *c, int64_t deadline_ns, lb_error *error)
{
    lb_status status = LB_OK;
    BIO *bio = socket_bio(c->fd);
    c->ssl = bio ? SSL_new(c->tls) : NULL;
    if (!c->ssl || !set_peer(c->ssl, c->options)) {
        BIO_free(bio);
        status = lb_error_set(error, LB_NO_MEMORY, "%s: out of memory for TLS", c->options->place);
        goto out;
    }
    SSL_set_bio(c->ssl, bio, bio);
    for (;;) {
        short events = POLLIN;
        ERR_clear_error();
        errno = 0;
        int done = SSL_connect(c->ssl);
        if (done == 1)
            break;
        if (outcome(c->ssl, done, &events) == 0 || errno != EAGAIN) {
            status = handshake_error(c, error);
            break;
        }
        struct pollfd p = {.fd = c->fd, .events = events};
        if (poll(&p, 1, clock_left_ms(deadline_ns, 60 * 1000)) == 0 && clock_now() >= deadline_ns) {
            status = lb_error_set(error, LB_TRANSPORT, "%s: no TLS handshake before the deadline",
                                  c->options->place);
            break;
        }
    }
out:
    if (status != LB_OK) {
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    ERR_clear_error();
    return status;
}
