/* The transports that the suite runs for. */
#include "conformance.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../examples/transport/memory.h"
#include "transports/local/local.h"
#include "transports/redis/redis.h"

static void *redis_start(char url[256])
{
    redis_server *server = redis_server_start(NULL);
    snprintf(url, 256, "%s", server->url);
    return server;
}
static void redis_stop(void *server) { redis_server_stop(server); }

static void *local_start(char url[256])
{
    char *folder = temporary_directory();
    snprintf(url, 256, "local://%s/bus", folder);
    return folder;
}
static void local_stop(void *folder)
{
    remove_directory(folder);
    free(folder);
}

/* As on a machine without futexes. */
static void *semaphore_start(char url[256])
{
    setenv("LIGHTBUS_WAKING", "semaphore", 1);
    return local_start(url);
}

static void *memory_start(char url[256])
{
    static int number;
    snprintf(url, 256, "memory:test-%d", number++);
    return url;
}
static void memory_stop(void *nothing) { (void)nothing; }

const medium_kind media[] = {
    {"redis", &redis_transport, redis_start, redis_stop, NO_DEADLINES},
    {"local", &local_transport, local_start, local_stop, 0},
    {"semaphore", &local_transport, semaphore_start, local_stop, 0},
    {"memory", &memory_transport, memory_start, memory_stop, NO_PROCESSES | NO_QUEUE_LIMIT},
};
const size_t media_count = sizeof media / sizeof *media;
