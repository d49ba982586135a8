/* The instance of the local transport: options, the store at its first use, forks. */
#include "local.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "doctor.h"
#include "instance.h"

lb_status local_store(local_bus *l, int64_t deadline_ns, store **s, lb_error *error)
{
    lb_status status = LB_OK;
    *s = __atomic_load_n(&l->store, __ATOMIC_ACQUIRE);
    if (*s && !store_gone(*s))
        return LB_OK;
    pthread_mutex_lock(&l->lock);
    *s = l->store;
    if (*s && store_gone(*s)) {
        store_abandon(*s);
        *s = NULL;
    }
    if (!*s)
        status = store_open(&l->options, deadline_ns, s, error);
    __atomic_store_n(&l->store, *s, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&l->lock);
    return status;
}

lb_status local_store_if_any(local_bus *l, int64_t deadline_ns, store **s, lb_error *error)
{
    char path[PATH_MAX + 16];
    *s = __atomic_load_n(&l->store, __ATOMIC_ACQUIRE);
    if (*s && !store_gone(*s))
        return LB_OK;
    snprintf(path, sizeof path, "%s/events", l->options.folder);
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        *s = NULL;
        return LB_OK;
    }
    return local_store(l, deadline_ns, s, error);
}

static void close_instance(void *self)
{
    local_bus *l = self;
    if (!l)
        return;
    local_caller_close(l->caller);
    store_close(l->store);
    buffer_free(&l->native_ids);
    buffer_free(&l->encoded);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static lb_status open_instance(const lb_transport_config *config, void **self, lb_error *error)
{
    local_bus *l = calloc(1, sizeof *l);
    *self = NULL;
    if (!l)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    pthread_mutex_init(&l->lock, NULL);
    lb_status status = local_options_parse(&l->options, config->url, error);
    if (status == LB_OK && !(l->caller = local_caller_open(l)))
        status = lb_error_set(error, LB_NO_MEMORY, "out of memory");
    if (status == LB_OK)
        *self = l;
    else
        close_instance(l);
    return status;
}

static void after_fork(void *self)
{
    local_bus *l = self;
    l->store = NULL; /* the parent's; store.c has forgotten it */
    pthread_mutex_init(&l->lock, NULL);
    local_caller_after_fork(l->caller);
}

static const lb_rpc_transport local_rpc = {
    .send = local_caller_send,
    .withdraw = local_caller_withdraw,
    .consumer_open = local_consumer_open,
    .fetch = local_consumer_fetch,
    .flush = local_consumer_flush,
    .interrupt = local_consumer_interrupt,
    .consumer_close = local_consumer_close,
};

static const lb_result_transport local_results = {
    .return_path = local_caller_return_path,
    .send = local_results_send,
    .fetch = local_caller_fetch,
    .descriptor = local_caller_descriptor,
};

const lb_transport local_transport = {
    .abi = LB_TRANSPORT_ABI,
    .size = sizeof(lb_transport),
    .name = "local",
    .schemes = "local",
    .open = open_instance,
    .close = close_instance,
    .after_fork = after_fork,
    .rpc = &local_rpc,
    .result = &local_results,
    .event = &local_events,
    .schema = &local_schemas,
    .diagnose = local_diagnose,
    .features = LB_TRANSPORT_DEDUPLICATES,
};
