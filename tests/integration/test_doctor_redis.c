/* What the doctor finds on a Redis: each thing is made to happen. */
#include "doctor_harness.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void run(const redis_server *s, const char *a, const char *b, const char *c, const char *d)
{
    lb_value *reply = redis_command(s, a, b, c, d, NULL);
    const char *text = lb_value_type_of(reply) == LB_TYPE_STR ? lb_value_str(reply) : "";
    if (strncmp(text, "-ERR", 4) == 0)
        fail_msg("%s: %s", a, text);
    lb_value_free(reply);
}

static void set(const redis_server *s, const char *name, const char *value)
{
    run(s, "CONFIG", "SET", name, value);
}

static const char *url_with(const redis_server *s, const char *query)
{
    static char url[400];
    snprintf(url, sizeof url, "%s?%s", s->url, query);
    return url;
}

static int64_t info(const redis_server *s, const char *name)
{
    lb_value *text = redis_command(s, "INFO", NULL);
    const char *at = strstr(lb_value_str(text), name);
    assert_non_null(at);
    int64_t value = strtoll(at + strlen(name) + 1, NULL, 10);
    lb_value_free(text);
    return value;
}

static bool info_says(const redis_server *s, const char *line)
{
    lb_value *text = redis_command(s, "INFO", NULL);
    bool says = strstr(lb_value_str(text), line) != NULL;
    lb_value_free(text);
    return says;
}

/* ---- All is well ------------------------------------------------------------------------------------ */

static const char *const checks[] = {"version",     "role",    "clock",  "rights", "memory",
                                     "persistence", "clients", "limits", "groups", "dead letters",
                                     "queues",      "APIs",    "schemas"};

/* A busy machine may make the round trip a slow one. */
static void a_healthy_server_has_nothing_wrong(void **state)
{
    redis_server *s = *state;
    set(s, "appendonly", "yes");
    findings f = diagnose(s->url, 0);
    assert_at_most(&f, LB_FINDING_OK, "connection");
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        assert_string_equal(assert_finding(&f, LB_FINDING_OK, checks[i], "", NULL)->place, s->url);
    assert_finding(&f, LB_FINDING_OK, "names", "service tests", NULL);
    findings_free(&f);
}

static lb_status greet(lb_request *request, void *data)
{
    (void)data;
    return lb_return(request, "hello");
}

static lb_status hear(const lb_event *event, void *data)
{
    (void)event;
    (void)data;
    return LB_OK;
}

static const lb_api shop = {
    .name = "shop",
    .members = (const lb_member[]){LB_RPC("greet() -> str", greet), LB_EVENT("ordered(n: int)"), LB_END},
};

static lb_status serve(lb_bus *bus, void *data, lb_error *error)
{
    lb_status status = lb_register(bus, &shop, data, error);
    return status == LB_OK ? lb_listen(bus, "shop.ordered", "mail", hear, NULL, NULL, error) : status;
}

static void a_bus_at_work_has_nothing_wrong(void **state)
{
    redis_server *s = *state;
    set(s, "appendonly", "yes");
    pid_t pid = worker_start(&(worker){.url = s->url, .setup = serve});
    lb_bus *client = client_open(s->url, PATIENCE_MS);
    lb_error error = {0};
    assert_ok(lb_call(client, "shop.greet", LB_NO_ARGS, NULL, &error), &error);
    for (int i = 0; i < 10; i++)
        assert_ok(lb_fire(client, "shop.ordered", LB_ARGS(LB("n", i)), &error), &error);
    findings f = diagnose(s->url, 0);
    assert_at_most(&f, LB_FINDING_OK, "connection");
    assert_finding(&f, LB_FINDING_OK, "groups", "1 stream, 1 group", NULL);
    assert_finding(&f, LB_FINDING_OK, "APIs", "1 served", NULL);
    findings_free(&f);
    lb_close(client);
    worker_stop(pid);
}

static void nothing_is_written(void **state)
{
    redis_server *s = *state;
    run(s, "RPUSH", "shop:rpc_queue", "x", NULL);
    run(s, "SADD", "schemas", "shop", NULL);
    lb_value_free(redis_command(s, "XGROUP", "CREATE", "shop.*:stream", "mail-default", "0", "MKSTREAM", NULL));
    int64_t changes = info(s, "rdb_changes_since_last_save"), keys = redis_int(s, "DBSIZE", NULL);
    findings f = diagnose(s->url, 0);
    findings_free(&f);
    assert_int_equal(info(s, "rdb_changes_since_last_save"), changes);
    assert_int_equal(redis_int(s, "DBSIZE", NULL), keys);
}

/* ---- The connection --------------------------------------------------------------------------------- */

static void a_server_that_is_away_is_the_only_finding(void **state)
{
    redis_server *s = *state;
    redis_server_down(s);
    findings f = diagnose(s->url, 0);
    assert_int_equal(f.count, 2); /* names, and this */
    assert_finding(&f, LB_FINDING_ERROR, "connection", "connection refused", "is the server running");
    findings_free(&f);
    redis_server_up(s);
}

static void a_server_that_hangs_is_given_up(void **state)
{
    redis_server *s = *state;
    redis_server_pause(s);
    findings f = diagnose(s->url, 100);
    assert_int_equal(f.count, 2);
    assert_finding(&f, LB_FINDING_ERROR, "connection", "no answer before the deadline", NULL);
    findings_free(&f);
    redis_server_resume(s);
}

static void a_wrong_password_is_an_error_that_does_not_show_it(void **state)
{
    redis_server *s = *state;
    char url[200];
    set(s, "requirepass", "right");
    snprintf(url, sizeof url, "redis://:wrong@127.0.0.1:%d/0", s->port);
    findings f = diagnose(url, 0);
    const lb_finding *error =
        assert_finding(&f, LB_FINDING_ERROR, "connection", "WRONGPASS", "the password in the URL");
    assert_null(strstr(error->found, "wrong:"));
    assert_null(strstr(error->place, "wrong"));
    findings_free(&f);
    expect(s->url, LB_FINDING_ERROR, "connection", "NOAUTH", "the password in the URL");
}

static void a_slow_connection_is_told(void **state)
{
    redis_server *s = *state;
    proxy *p = proxy_start(s);
    proxy_delay(p, 5); /* 10 ms for a round trip */
    findings f = diagnose(p->url, 0);
    assert_null(find(&f, LB_FINDING_OK, "connection", ""));
    findings_free(&f);
    proxy_delay(p, 30);
    expect(p->url, LB_FINDING_WARNING, "connection", "a round trip takes", "put the server near");
    proxy_stop(p);
}

/* A check that fails does not keep the others from being made. */
static void a_lost_connection_is_made_again(void **state)
{
    redis_server *s = *state;
    proxy *p = proxy_start(s);
    proxy_cut_after(p, TO_CLIENT, 3000); /* in the answer to INFO */
    findings f = diagnose(p->url, 0);
    assert_finding(&f, LB_FINDING_WARNING, "version", "not checked", NULL);
    assert_finding(&f, LB_FINDING_OK, "clock", "", NULL);
    assert_finding(&f, LB_FINDING_OK, "queues", "", NULL);
    findings_free(&f);
    proxy_stop(p);
}

/* ---- The server ------------------------------------------------------------------------------------- */

static void a_replica_is_no_place_for_a_bus(void **state)
{
    redis_server *primary = *state, *replica = redis_server_start(NULL);
    char port[16];
    snprintf(port, sizeof port, "%d", primary->port);
    run(replica, "REPLICAOF", "127.0.0.1", port, NULL);
    expect(replica->url, LB_FINDING_ERROR, "role", "takes no writes", port);
    expect(replica->url, LB_FINDING_ERROR, "rights", "READONLY", NULL);
    wait_until(info(primary, "connected_slaves") == 1, PATIENCE_MS);
    expect(primary->url, LB_FINDING_OK, "role", "master, with 1 replica", NULL);
    set(replica, "replica-read-only", "no");
    expect(replica->url, LB_FINDING_ERROR, "role", "lost when it synchronises", NULL);
    redis_server_stop(replica);
}

static void a_cluster_is_no_place_for_a_bus(void **state)
{
    (void)state;
    redis_server *s = redis_server_start((const char *const[]){"--cluster-enabled", "yes", NULL});
    expect(s->url, LB_FINDING_ERROR, "role", "Redis Cluster", "cluster-enabled no");
    redis_server_stop(s);
}

/* Stands between, and moves the server's clock an hour back in its answers to TIME. */
static int relay(void *data)
{
    const int *ports = data; /* where to listen: a socket; where to go: a port */
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)ports[1])};
    static const char head[] = "*2\r\n$10\r\n";
    char text[65536];
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (;;) {
        int client = accept(ports[0], NULL, NULL), server = socket(AF_INET, SOCK_STREAM, 0);
        if (client < 0 || connect(server, (struct sockaddr *)&to, sizeof to) != 0)
            return 1;
        struct pollfd p[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        ssize_t size = 1;
        while (size > 0 && poll(p, 2, -1) > 0) {
            int from = p[1].revents ? 1 : 0;
            size = read(p[from].fd, text, sizeof text - 1);
            text[size > 0 ? size : 0] = '\0';
            char *time = from && size > 0 ? strstr(text, head) : NULL;
            if (time) {
                char earlier[24];
                snprintf(earlier, sizeof earlier, "%lld", strtoll(time + sizeof head - 1, NULL, 10) - 3600);
                memcpy(time + sizeof head - 1, earlier, 10);
            }
            if (size > 0 && write(p[!from].fd, text, (size_t)size) != size)
                size = 0;
        }
        close(client);
        close(server);
    }
}

static void clocks_that_differ_are_told(void **state)
{
    redis_server *s = *state;
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    int ports[2] = {socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), s->port};
    char url[100];
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(ports[0], (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(ports[0], 8), 0);
    assert_int_equal(getsockname(ports[0], (struct sockaddr *)&at, &size), 0);
    pid_t pid = child_start(relay, ports);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", ntohs(at.sin_port));
    expect(url, LB_FINDING_WARNING, "clock", "60 min behind this machine's", "set-ntp");
    child_kill(pid, SIGKILL);
    child_wait(pid, PATIENCE_MS);
    close(ports[0]);
}

/* ---- Memory ----------------------------------------------------------------------------------------- */

static void eviction_is_told_with_the_command_that_ends_it(void **state)
{
    redis_server *s = *state;
    set(s, "maxmemory-policy", "allkeys-lru");
    expect(s->url, LB_FINDING_NOTE, "memory", "without effect", "noeviction");
    set(s, "maxmemory", "100mb");
    findings f = diagnose(s->url, 0);
    const lb_finding *error =
        assert_finding(&f, LB_FINDING_ERROR, "memory", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction");
    assert_int_equal(system(error->advice), 0); /* it can be typed as it is */
    findings_free(&f);
    expect(s->url, LB_FINDING_OK, "memory", "nothing is evicted", NULL);
    set(s, "maxmemory-policy", "volatile-ttl");
    expect(s->url, LB_FINDING_WARNING, "memory", "volatile-ttl", "noeviction");
}

static void memory_that_runs_out_is_told(void **state)
{
    redis_server *s = *state;
    char bytes[32];
    run(s, "SETRANGE", "large", "20000000", "x");
    snprintf(bytes, sizeof bytes, "%lld", (long long)info(s, "used_memory") * 105 / 100);
    set(s, "maxmemory", bytes);
    expect(s->url, LB_FINDING_WARNING, "memory", "when it is full", "max_stream_length");
    set(s, "maxmemory", "100000");
    findings f = diagnose(s->url, 0);
    assert_finding(&f, LB_FINDING_ERROR, "memory", "when it is full", "max_stream_length");
    assert_finding(&f, LB_FINDING_ERROR, "rights", "refuses writes now: OOM", NULL);
    findings_free(&f);
}

/* ---- Persistence ------------------------------------------------------------------------------------ */

static void what_would_be_lost_is_told(void **state)
{
    redis_server *s = *state;
    expect(s->url, LB_FINDING_WARNING, "persistence", "nothing is saved", "CONFIG SET appendonly yes");
    set(s, "save", "3600 1");
    expect(s->url, LB_FINDING_NOTE, "persistence", "snapshots only (save 3600 1)", "CONFIG SET appendonly yes");
    set(s, "appendonly", "yes");
    expect(s->url, LB_FINDING_OK, "persistence", "appendfsync everysec: a power cut loses a second", NULL);
    set(s, "appendfsync", "always");
    expect(s->url, LB_FINDING_OK, "persistence", "appendfsync always", NULL);
    set(s, "appendfsync", "no");
    expect(s->url, LB_FINDING_WARNING, "persistence", "half a minute", "CONFIG SET appendfsync everysec");
}

static void a_failed_snapshot_is_told(void **state)
{
    redis_server *s = *state;
    char path[100];
    snprintf(path, sizeof path, "%s/dump.rdb", s->directory);
    assert_int_equal(mkdir(path, 0700), 0); /* where the file is to be */
    set(s, "save", "3600 1");
    run(s, "BGSAVE", NULL, NULL, NULL);
    wait_until(info_says(s, "rdb_last_bgsave_status:err"), PATIENCE_MS);
    findings f = diagnose(s->url, 0);
    assert_finding(&f, LB_FINDING_ERROR, "persistence", "the last snapshot failed", "the server's log");
    assert_finding(&f, LB_FINDING_ERROR, "rights", "refuses writes now: MISCONF", NULL);
    findings_free(&f);
    set(s, "save", ""); /* so that it ends without saving */
}

/* ---- Clients and limits ----------------------------------------------------------------------------- */

static int connect_plainly(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void a_full_server_is_told(void **state)
{
    enum { MOST = 20, MANY = 16 };
    redis_server *s = *state;
    int fds[MOST];
    set(s, "maxclients", "20");
    for (int i = 0; i < MANY; i++)
        fds[i] = connect_plainly(s->port);
    wait_until(info(s, "connected_clients") > MANY, PATIENCE_MS);
    expect(s->url, LB_FINDING_WARNING, "clients", "of at most 20 connections", "CONFIG SET maxclients 40");
    for (int i = MANY; i < MOST; i++)
        fds[i] = connect_plainly(s->port);
    char byte;
    int one_more = connect_plainly(s->port);
    assert_true(read(one_more, &byte, 1) == 1); /* why it is refused */
    close(one_more);
    for (int i = 0; i < MOST; i++)
        close(fds[i]);
    wait_until(info(s, "connected_clients") < 5, PATIENCE_MS);
    expect(s->url, LB_FINDING_NOTE, "clients", "were refused since the server's start", NULL);
}

static void limits_that_cut_connections_are_told(void **state)
{
    redis_server *s = *state;
    set(s, "timeout", "10");
    expect(s->url, LB_FINDING_WARNING, "limits", "timeout 10", "CONFIG SET timeout 0");
    set(s, "timeout", "3600");
    expect(s->url, LB_FINDING_NOTE, "limits", "timeout 3600", "CONFIG SET timeout 0");
    set(s, "client-output-buffer-limit", "normal 1mb 0 0");
    expect(s->url, LB_FINDING_WARNING, "limits", "1.0 MiB", "normal 0 0 0");
    set(s, "client-output-buffer-limit", "normal 0 2mb 60");
    expect(s->url, LB_FINDING_WARNING, "limits", "2.0 MiB", "normal 0 0 0");
    set(s, "proto-max-bulk-len", "1mb");
    expect(s->url, LB_FINDING_WARNING, "limits", "takes 1.0 MiB at once", "proto-max-bulk-len");
    findings f = diagnose(url_with(s, "max_message_size=1024"), 0); /* which fits into all that */
    assert_null(find(&f, LB_FINDING_WARNING, "limits", ""));
    findings_free(&f);
}

/* ---- Rights ----------------------------------------------------------------------------------------- */

static const char *as_user(redis_server *s, const char *rules)
{
    static char url[200];
    const char *argv[40] = {"ACL", "SETUSER", "app", "reset", "on", ">secret"};
    char copy[1000];
    size_t count = 6;
    snprintf(copy, sizeof copy, "%s", rules);
    for (char *rest, *word = strtok_r(copy, " ", &rest); word && count < 40; word = strtok_r(NULL, " ", &rest))
        argv[count++] = word;
    assert_true(count < 40);
    lb_value *reply = redis_command(
        s, argv[0], argv[1], argv[2], argv[3], argv[4], argv[5], argv[6], argv[7], argv[8], argv[9], argv[10],
        argv[11], argv[12], argv[13], argv[14], argv[15], argv[16], argv[17], argv[18], argv[19], argv[20],
        argv[21], argv[22], argv[23], argv[24], argv[25], argv[26], argv[27], argv[28], argv[29], argv[30],
        argv[31], argv[32], argv[33], argv[34], argv[35], argv[36], argv[37], argv[38], argv[39], NULL);
    assert_string_equal(lb_value_str(reply), "OK");
    lb_value_free(reply);
    snprintf(url, sizeof url, "redis://app:secret@127.0.0.1:%d/0", s->port);
    return url;
}

static void missing_rights_are_named(void **state)
{
    redis_server *s = *state;
    findings f = diagnose(as_user(s, "~* &* +@all"), 0);
    assert_finding(&f, LB_FINDING_OK, "rights", "the user app may use all", NULL);
    findings_free(&f);
    f = diagnose(as_user(s, "~* &* +@all -xadd -eval"), 0);
    assert_finding(&f, LB_FINDING_ERROR, "rights", "the user app may not use: XADD, EVAL",
                   "docs/reference/urls.md");
    findings_free(&f);
    f = diagnose(as_user(s, "~shop* &* +@all"), 0);
    assert_finding(&f, LB_FINDING_ERROR, "rights",
                   "may not use the keys: rpc_expiry_key:*, lightbus:results:*, schemas, schema:*",
                   "docs/reference/urls.md");
    findings_free(&f);
    f = diagnose(as_user(s, "~* &* +@all -client"), 0);
    assert_finding(&f, LB_FINDING_NOTE, "rights", "CLIENT UNBLOCK", NULL);
    assert_at_most(&f, LB_FINDING_NOTE, "persistence");
    findings_free(&f);
}

/* A user for one API alone is no mistake. */
static void apis_without_a_right_are_noted(void **state)
{
    redis_server *s = *state;
    lb_value_free(redis_command(s, "SADD", "schemas", "shop", "bank", NULL));
    findings f =
        diagnose(as_user(s, "~shop* ~rpc_expiry_key:* ~lightbus:results:* ~schema:* ~schemas &* +@all"), 0);
    const lb_finding *note =
        assert_finding(&f, LB_FINDING_NOTE, "rights", "may not use the keys of: bank", NULL);
    assert_null(strstr(note->found, "shop"));
    findings_free(&f);
}

/* With the rights that the documentation names and no others, what cannot be looked at is said to be so. */
static void what_may_not_be_looked_at_is_noted(void **state)
{
    redis_server *s = *state;
    const char *url =
        as_user(s, "~* +set +del +lrem +rpush +lpush +pexpire +blmpop +lmpop +xadd +xgroup +xreadgroup +xack "
                   "+xpending +xclaim +xrange +xrevrange +xinfo +eval +sadd +smembers +mget +select");
    findings f = diagnose(url, 0);
    assert_at_most(&f, LB_FINDING_NOTE, "connection");
    assert_finding(&f, LB_FINDING_NOTE, "version", "not checked", NULL);
    assert_finding(&f, LB_FINDING_NOTE, "memory", "not checked", NULL);
    assert_finding(&f, LB_FINDING_NOTE, "rights", "not checked", NULL);
    assert_finding(&f, LB_FINDING_OK, "schemas", "0 APIs", NULL);
    findings_free(&f);
}

static void missing_commands_are_named(void **state)
{
    (void)state;
    redis_server *s = redis_server_start((const char *const[]){"--rename-command", "XCLAIM", "", NULL});
    expect(s->url, LB_FINDING_ERROR, "rights", "does not know: XCLAIM", "rename-command");
    redis_server_stop(s);
}

/* ---- Streams ---------------------------------------------------------------------------------------- */

static void make_group(redis_server *s, const char *group)
{
    lb_value_free(redis_command(s, "XGROUP", "CREATE", "shop.*:stream", group, "0", "MKSTREAM", NULL));
}

static void fill(redis_server *s, int count)
{
    for (int i = 0; i < count; i++)
        lb_value_free(redis_command(s, "XADD", "shop.*:stream", "*", "a", "b", NULL));
}

static void groups_that_nobody_reads_are_told(void **state)
{
    redis_server *s = *state;
    make_group(s, "mail-default");
    findings f = diagnose(s->url, 0);
    const lb_finding *note =
        assert_finding(&f, LB_FINDING_NOTE, "groups", "mail-default has no consumers, and 0 events",
                       "XGROUP DESTROY 'shop.*:stream' mail-default");
    const char *command = strstr(note->advice, "redis-cli");
    assert_non_null(command);
    fill(s, 3);
    expect(s->url, LB_FINDING_WARNING, "groups", "and 3 events to read", "start a worker");
    assert_int_equal(system(command), 0);
    findings_free(&f);
    expect(s->url, LB_FINDING_OK, "groups", "1 stream, 0 groups", NULL);
}

/* S32: what is advised can be typed whatever the name is. */
static void names_cannot_smuggle_commands_into_the_advice(void **state)
{
    redis_server *s = *state;
    const char *name = "x'; touch smuggled; 'y $(touch smuggled)\nz";
    lb_value_free(redis_command(s, "SADD", "schemas", name, NULL));
    findings f = diagnose(s->url, 0);
    const lb_finding *note =
        assert_finding(&f, LB_FINDING_NOTE, "APIs", "x'; touch smuggled", "SREM schemas '");
    assert_int_equal(system(strstr(note->advice, "redis-cli")), 0);
    assert_int_equal(access("smuggled", F_OK), -1);
    assert_int_equal(redis_int(s, "SCARD", "schemas", NULL), 0);
    findings_free(&f);
}

static void random_service_names_are_told(void **state)
{
    redis_server *s = *state;
    make_group(s, "swift-otter-412-default");
    expect(s->url, LB_FINDING_NOTE, "groups", "swift-otter-412-default has a service name that looks random",
           "XGROUP DESTROY");
    fill(s, 1);
    expect(s->url, LB_FINDING_WARNING, "groups", "looks random", "XGROUP DESTROY");
    lb_value_free(
        redis_command(s, "XGROUP", "CREATECONSUMER", "shop.*:stream", "swift-otter-412-default", "p1", NULL));
    expect(s->url, LB_FINDING_NOTE, "groups", "looks random", "LIGHTBUS_SERVICE_NAME");
}

static void unread_events_about_to_be_trimmed_are_told(void **state)
{
    redis_server *s = *state;
    make_group(s, "mail-default");
    fill(s, 79);
    findings f = diagnose(url_with(s, "max_stream_length=100"), 0);
    assert_null(find(&f, LB_FINDING_WARNING, "groups", "still to read"));
    findings_free(&f);
    fill(s, 1);
    expect(url_with(s, "max_stream_length=100"), LB_FINDING_WARNING, "groups",
           "mail-default has 80 events still to read, and the stream keeps about 100", "max_stream_length");
}

/* S16 */
static void events_trimmed_unread_are_told(void **state)
{
    redis_server *s = *state;
    make_group(s, "mail-default");
    fill(s, 10);
    lb_value_free(redis_command(s, "XREADGROUP", "GROUP", "mail-default", "p1", "COUNT", "2", "STREAMS",
                                "shop.*:stream", ">", NULL));
    lb_value_free(redis_command(s, "XTRIM", "shop.*:stream", "MAXLEN", "3", NULL));
    expect(s->url, LB_FINDING_ERROR, "groups",
           "5 events were trimmed before mail-default had handled them: lost", "max_stream_length");
}

/* S16: what was counted stays told until somebody has seen to it. */
static void events_lost_before_are_told_until_they_are_forgotten(void **state)
{
    redis_server *s = *state;
    make_group(s, "mail-default");
    fill(s, 1);
    redis_int(s, "HINCRBY", "shop.*:stream:lost", "mail-default", "7", NULL);
    findings f = diagnose(s->url, 0);
    const lb_finding *error = assert_finding(
        &f, LB_FINDING_ERROR, "groups", "7 events were trimmed before mail-default had handled them", "HDEL");
    assert_int_equal(system(strstr(error->advice, "redis-cli")), 0);
    findings_free(&f);
    f = diagnose(s->url, 0);
    assert_null(find(&f, LB_FINDING_ERROR, "groups", "trimmed"));
    findings_free(&f);
}

static bool is_found(const char *url, lb_finding_level level, const char *check, const char *part)
{
    findings f = diagnose(url, 0);
    bool found = find(&f, level, check, part) != NULL;
    findings_free(&f);
    return found;
}

static void events_left_lying_are_told(void **state)
{
    redis_server *s = *state;
    make_group(s, "mail-default");
    fill(s, 2);
    lb_value_free(redis_command(s, "XREADGROUP", "GROUP", "mail-default", "p7", "COUNT", "2", "STREAMS",
                                "shop.*:stream", ">", NULL));
    assert_false(is_found(s->url, LB_FINDING_WARNING, "groups", "silent"));
    wait_until(is_found(url_with(s, "acknowledgement_timeout=0.1"), LB_FINDING_WARNING, "groups",
                        "2 events are of mail-default with p7, silent for"),
               PATIENCE_MS);
}

static void streams_per_event_are_looked_at_too(void **state)
{
    redis_server *s = *state;
    lb_value_free(
        redis_command(s, "XGROUP", "CREATE", "shop.ordered:stream", "mail-default", "0", "MKSTREAM", NULL));
    expect(url_with(s, "stream_use=per_event"), LB_FINDING_NOTE, "groups", "shop.ordered:stream", NULL);
}

static void dead_letters_are_told(void **state)
{
    redis_server *s = *state;
    lb_value_free(redis_command(s, "XADD", "shop.*:stream:dead", "*", "a", "b", NULL));
    expect(s->url, LB_FINDING_WARNING, "dead letters", "shop.*:stream: 1 event failed for good",
           "lightbus deadletters list");
}

/* ---- Queues and schemas ----------------------------------------------------------------------------- */

static void queues_that_nobody_serves_are_told(void **state)
{
    redis_server *s = *state;
    run(s, "RPUSH", "shop:rpc_queue", "x", NULL);
    expect(s->url, LB_FINDING_WARNING, "queues", "shop: 1 call waits, and no worker serves the API",
           "start a worker");
    run(s, "SADD", "schemas", "shop", NULL);
    run(s, "SET", "schema:shop", "{\"events\":{},\"rpcs\":{}}", NULL);
    expect(s->url, LB_FINDING_OK, "queues", "1 call waits", NULL);
    for (int i = 0; i < 999; i++)
        run(s, "RPUSH", "shop:rpc_queue", "x", NULL);
    expect(s->url, LB_FINDING_WARNING, "queues", "shop: 1000 calls wait: its workers do not keep up",
           "more workers");
}

static void apis_that_nobody_serves_any_longer_are_noted(void **state)
{
    redis_server *s = *state;
    run(s, "SADD", "schemas", "shop", NULL);
    findings f = diagnose(s->url, 0);
    const lb_finding *note =
        assert_finding(&f, LB_FINDING_NOTE, "APIs", "shop: no process serves it", "SREM schemas shop");
    assert_int_equal(system(strstr(note->advice, "redis-cli")), 0);
    findings_free(&f);
    expect(s->url, LB_FINDING_OK, "APIs", "0 served", NULL);
}

static void schemas_that_make_no_sense_are_told(void **state)
{
    redis_server *s = *state;
    lb_value_free(redis_command(s, "SADD", "schemas", "shop", "bank", NULL));
    run(s, "SET", "schema:shop", "{\"rpcs\":", NULL);
    run(s, "SET", "schema:bank", "{\"events\":{},\"rpcs\":{}}", NULL);
    findings f = diagnose(s->url, 0);
    assert_finding(&f, LB_FINDING_WARNING, "schemas", "the schema of API shop is not understood", NULL);
    assert_null(find(&f, LB_FINDING_WARNING, "schemas", "bank"));
    findings_free(&f);
}

static const lb_api new_shop = {
    .name = "shop",
    .members =
        (const lb_member[]){LB_RPC("greet(name: str) -> str", greet), LB_EVENT("ordered(n: int)"), LB_END},
};

static void an_api_that_breaks_the_live_one_is_told(void **state)
{
    redis_server *s = *state;
    pid_t pid = worker_start(&(worker){.url = s->url, .setup = serve});
    lb_bus *bus = client_open(s->url, 0);
    findings f = {0};
    lb_error error = {0};
    assert_ok(lb_register(bus, &new_shop, NULL, &error), &error);
    lb_diagnose(bus, 0, keep_finding, &f);
    assert_finding(&f, LB_FINDING_WARNING, "schemas", "shop.greet", "change-an-api");
    findings_free(&f);
    lb_close(bus);
    worker_stop(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(a_healthy_server_has_nothing_wrong),
        server_test(a_bus_at_work_has_nothing_wrong),
        server_test(nothing_is_written),
        server_test(a_server_that_is_away_is_the_only_finding),
        server_test(a_server_that_hangs_is_given_up),
        server_test(a_wrong_password_is_an_error_that_does_not_show_it),
        server_test(a_slow_connection_is_told),
        server_test(a_lost_connection_is_made_again),
        server_test(a_replica_is_no_place_for_a_bus),
        cmocka_unit_test(a_cluster_is_no_place_for_a_bus),
        server_test(clocks_that_differ_are_told),
        server_test(eviction_is_told_with_the_command_that_ends_it),
        server_test(memory_that_runs_out_is_told),
        server_test(what_would_be_lost_is_told),
        server_test(a_failed_snapshot_is_told),
        server_test(a_full_server_is_told),
        server_test(limits_that_cut_connections_are_told),
        server_test(missing_rights_are_named),
        server_test(apis_without_a_right_are_noted),
        server_test(what_may_not_be_looked_at_is_noted),
        cmocka_unit_test(missing_commands_are_named),
        server_test(groups_that_nobody_reads_are_told),
        server_test(names_cannot_smuggle_commands_into_the_advice),
        server_test(random_service_names_are_told),
        server_test(unread_events_about_to_be_trimmed_are_told),
        server_test(events_trimmed_unread_are_told),
        server_test(events_lost_before_are_told_until_they_are_forgotten),
        server_test(events_left_lying_are_told),
        server_test(streams_per_event_are_looked_at_too),
        server_test(dead_letters_are_told),
        server_test(queues_that_nobody_serves_are_told),
        server_test(apis_that_nobody_serves_any_longer_are_noted),
        server_test(schemas_that_make_no_sense_are_told),
        server_test(an_api_that_breaks_the_live_one_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
