/* The transports that the suite runs for. */
#include "conformance.h"

#include <stdio.h>
#include <stdlib.h>

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

const medium_kind media[] = {
    {"redis", &redis_transport, redis_start, redis_stop, NO_QUEUE_LIMIT},
    {"local", &local_transport, local_start, local_stop, 0},
};
const size_t media_count = sizeof media / sizeof *media;
