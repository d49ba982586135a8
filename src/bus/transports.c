/* The registry of transports: found by the scheme of a URL. */
#include "../transports/redis/redis.h"
#include "bus.h"

#include <string.h>

#define MOST_TRANSPORTS 16

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static const lb_transport *registry[MOST_TRANSPORTS] = {&redis_transport};
static size_t registry_count = 1;

static bool answers_to(const lb_transport *t, lb_slice scheme)
{
    for (const char *at = t->schemes; *at;) {
        size_t size = strcspn(at, " ");
        if (slice_equal((lb_slice){at, size}, scheme))
            return true;
        at += size + strspn(at + size, " ");
    }
    return false;
}

/* registry_lock is held */
static const lb_transport *find(lb_slice scheme)
{
    for (size_t i = 0; i < registry_count; i++)
        if (answers_to(registry[i], scheme))
            return registry[i];
    return NULL;
}

const lb_transport *transport_find(const char *url, lb_error *error)
{
    lb_slice scheme = {url, strcspn(url, ":")};
    if (url[scheme.size] != ':') {
        lb_error_set(error, LB_CONFIG, "expected a URL such as redis://127.0.0.1:6379/0, got \"%s\"", url);
        return NULL;
    }
    pthread_mutex_lock(&registry_lock);
    const lb_transport *t = find(scheme);
    char known[256] = "";
    for (size_t i = 0; i < registry_count; i++) {
        strncat(known, i ? " " : "", sizeof known - strlen(known) - 1);
        strncat(known, registry[i]->schemes, sizeof known - strlen(known) - 1);
    }
    pthread_mutex_unlock(&registry_lock);
    if (!t)
        lb_error_set(error, LB_UNSUPPORTED, "no transport for URLs that begin with \"%.*s:\"; there are: %s",
                     (int)scheme.size, scheme.data, known);
    return t;
}

lb_status lb_transport_register(const lb_transport *transport, lb_error *error)
{
    if (transport->abi != LB_TRANSPORT_ABI || transport->size != sizeof *transport)
        return lb_error_set(
            error, LB_UNSUPPORTED,
            "transport %s: made for version %u (size %zu) of the transport contract, expected %u (%zu)",
            transport->name, transport->abi, transport->size, LB_TRANSPORT_ABI, sizeof *transport);
    lb_status status = LB_OK;
    pthread_mutex_lock(&registry_lock);
    for (const char *at = transport->schemes; *at && status == LB_OK;) {
        size_t size = strcspn(at, " ");
        if (find((lb_slice){at, size}))
            status = lb_error_set(error, LB_DUPLICATE, "transport %s: URLs that begin with \"%.*s:\" are taken",
                                  transport->name, (int)size, at);
        at += size + strspn(at + size, " ");
    }
    if (status == LB_OK && registry_count == MOST_TRANSPORTS)
        status = lb_error_set(error, LB_NO_SPACE, "transport %s: %d transports are registered already",
                              transport->name, MOST_TRANSPORTS);
    if (status == LB_OK)
        registry[registry_count++] = transport;
    pthread_mutex_unlock(&registry_lock);
    return status;
}
