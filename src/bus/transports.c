/* The registry of transports: found by the scheme of a URL. */
#include "../base/builtin.h"
#include "../base/shared_object.h"
#include "bus.h"

#include <stddef.h>
#include <string.h>

#define MOST_TRANSPORTS 16
/* The first lb_transport of this ABI; what came later is optional. */
#define LEAST_SIZE (offsetof(lb_transport, schema) + sizeof(((lb_transport *)NULL)->schema))

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static const lb_transport *registered[MOST_TRANSPORTS];
static size_t registered_count;

/* The built-in transports, then the registered ones, then NULL. registry_lock is held. */
static const lb_transport *nth(size_t i)
{
    if (i < builtin_transports_count)
        return builtin_transports[i];
    i -= builtin_transports_count;
    return i < registered_count ? registered[i] : NULL;
}

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
    const lb_transport *t;
    for (size_t i = 0; (t = nth(i)); i++)
        if (answers_to(t, scheme))
            return t;
    return NULL;
}

const lb_transport *transport_find(const char *url, lb_error *error)
{
    lb_slice scheme = {url, strcspn(url, ":")};
    if (url[scheme.size] != ':') {
        lb_error_set(error, LB_CONFIG, "expected a URL such as local: or redis://127.0.0.1:6379/0, got \"%s\"",
                     url);
        return NULL;
    }
    pthread_mutex_lock(&registry_lock);
    const lb_transport *t = find(scheme);
    char known[256] = "";
    const lb_transport *other;
    for (size_t i = 0; (other = nth(i)); i++) {
        strncat(known, i ? " " : "", sizeof known - strlen(known) - 1);
        strncat(known, other->schemes, sizeof known - strlen(known) - 1);
    }
    pthread_mutex_unlock(&registry_lock);
    if (!t)
        lb_error_set(error, LB_UNSUPPORTED, "no transport for URLs that begin with \"%.*s:\"; there are: %s",
                     (int)scheme.size, scheme.data, known);
    return t;
}

/* What a transport must have for the bus to open it. Of another version, nothing but the number can be read. */
static lb_status check(const lb_transport *t, lb_error *error)
{
    if (t->abi != LB_TRANSPORT_ABI)
        return lb_error_set(error, LB_UNSUPPORTED,
                            "a transport made for version %u of the transport contract, expected %u", t->abi,
                            LB_TRANSPORT_ABI);
    if (t->size < LEAST_SIZE)
        return lb_error_set(error, LB_UNSUPPORTED,
                            "a transport whose lb_transport has %zu bytes, expected %zu or more", t->size,
                            LEAST_SIZE);
    if (!t->name || !t->schemes || !*t->schemes || !t->open || !t->close || !t->after_fork)
        return lb_error_set(error, LB_UNSUPPORTED,
                            "transport %s: expected it to have a name, schemes, open, close and after_fork",
                            t->name ? t->name : "without a name");
    return LB_OK;
}

lb_status lb_transport_register(const lb_transport *transport, lb_error *error)
{
    lb_status status = check(transport, error);
    if (status != LB_OK)
        return status;
    pthread_mutex_lock(&registry_lock);
    for (const char *at = transport->schemes; *at && status == LB_OK;) {
        size_t size = strcspn(at, " ");
        if (find((lb_slice){at, size}))
            status = lb_error_set(error, LB_DUPLICATE, "transport %s: URLs that begin with \"%.*s:\" are taken",
                                  transport->name, (int)size, at);
        at += size + strspn(at + size, " ");
    }
    if (status == LB_OK && registered_count == MOST_TRANSPORTS)
        status = lb_error_set(error, LB_NO_SPACE, "transport %s: %d transports are registered already",
                              transport->name, MOST_TRANSPORTS);
    if (status == LB_OK)
        registered[registered_count++] = transport;
    pthread_mutex_unlock(&registry_lock);
    return status;
}

bool transport_has(const lb_transport *t, unsigned feature)
{
    return t->size >= offsetof(lb_transport, features) + sizeof t->features && (t->features & feature);
}

lb_status transport_load(const char *object, lb_error *error)
{
    /* It stays loaded: its transport is registered for as long as the process lives. */
    lb_error why = {0};
    void *handle;
    if (shared_object_open(object, &handle, &why) != LB_OK)
        return lb_error_set(error, LB_CONFIG, "%s: cannot be loaded: %s", object, why.message);
    size_t size = 0;
    const lb_transport *transport = shared_object_variable(handle, "lb_transport_export", &size);
    if (!transport || size < sizeof transport->abi ||
        (transport->abi == LB_TRANSPORT_ABI && (size < LEAST_SIZE || size < transport->size)))
        return lb_error_set(
            error, LB_CONFIG,
            "%s: is no transport: expected it to define \"const lb_transport lb_transport_export\"", object);
    pthread_mutex_lock(&registry_lock);
    bool known = false;
    for (size_t i = 0; i < registered_count; i++)
        known = known || registered[i] == transport;
    pthread_mutex_unlock(&registry_lock);
    lb_status status = known ? LB_OK : lb_transport_register(transport, &why);
    return status == LB_OK ? LB_OK : lb_error_set(error, status, "%s: %s", object, why.message);
}
