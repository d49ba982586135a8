/* What is wrong with a Redis server: the list of checks, and those of the server as a whole. */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PINGS = 5, SLOW_US = 5000, VERY_SLOW_US = 50000, LEAST_REDIS = 60200, LEAST_VALKEY = 70200 };
#define CLOCK_NOTE_US    (INT64_C(1) * 1000 * 1000)
#define CLOCK_WARNING_US (INT64_C(5) * 1000 * 1000)
#define LATEST_S         INT64_C(1000000000000)

/* ---- Asking ----------------------------------------------------------------------------------------- */

lb_status doctor_ask(doctor *d, const char *doing, const reply **answer, lb_error *error)
{
    conn_release(&d->conn);
    *answer = NULL;
    return conn_exchange(&d->conn, 1, doing, d->deadline_ns, answer, error);
}

lb_slice doctor_info(const doctor *d, const char *name)
{
    const char *end = d->info.data + d->info.size;
    size_t size = strlen(name);
    for (const char *line = d->info.data; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline ? newline : end;
        if ((size_t)(stop - line) > size && memcmp(line, name, size) == 0 && line[size] == ':') {
            const char *value = line + size + 1;
            return (lb_slice){value, (size_t)(stop - value) - (stop > value && stop[-1] == '\r')};
        }
        line = stop + 1;
    }
    return (lb_slice){"", 0};
}

int64_t doctor_number(lb_slice value)
{
    const int64_t most = INT64_C(1000000000000000);
    char text[24] = "";
    memcpy(text, value.data, value.size < sizeof text ? value.size : sizeof text - 1);
    int64_t number = strtoll(text, NULL, 10);
    return number > most ? most : number < 0 ? 0 : number;
}

int64_t doctor_info_number(const doctor *d, const char *name) { return doctor_number(doctor_info(d, name)); }

lb_status doctor_config(doctor *d, const char *name, const char **value, lb_error *error)
{
    const reply *answer;
    *value = "";
    command_of(&d->conn.out, "CONFIG", "GET", name, NULL);
    lb_status status = doctor_ask(d, "CONFIG GET", &answer, error);
    const reply *found = reply_first(answer);
    if (status != LB_OK || !found || !found->next)
        return status;
    lb_slice text = reply_text(found->next);
    *value = arena_copy(&d->memory, text.data, text.size);
    return *value ? LB_OK : lb_error_set(error, LB_NO_MEMORY, "out of memory");
}

const char *doctor_command(doctor *d, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int size = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *text = size < 0 ? NULL : arena_alloc(&d->report.memory, (size_t)size + 1);
    if (!text)
        return NULL;
    va_start(list, format);
    vsnprintf(text, (size_t)size + 1, format, list);
    va_end(list);
    return arena_printf(&d->report.memory, "%s %s", d->cli, text);
}

/* Never with a password: redis-cli asks for it. */
static void describe_cli(doctor *d)
{
    const redis_options *o = &d->redis->options;
    buffer b = {0};
    buffer_literal(&b, "redis-cli");
    if (*o->path)
        buffer_printf(&b, " -s %s", report_word(&d->report, slice_of(o->path)));
    else if (strcmp(o->host, "127.0.0.1") != 0)
        buffer_printf(&b, " -h %s", o->host);
    if (!*o->path && strcmp(o->port, "6379") != 0)
        buffer_printf(&b, " -p %s", o->port);
    if (o->tls)
        buffer_literal(&b, " --tls");
    if (*o->user)
        buffer_printf(&b, " --user %s", report_word(&d->report, slice_of(o->user)));
    if (o->password)
        buffer_literal(&b, " --askpass");
    if (o->db > 0)
        buffer_printf(&b, " -n %d", o->db);
    d->cli = buffer_text(&b) ? arena_copy(&d->memory, b.data, b.size) : NULL;
    if (!d->cli)
        d->cli = "redis-cli";
    buffer_free(&b);
}

/* ---- The connection --------------------------------------------------------------------------------- */

static const char *advice_for(const doctor *d, const lb_error *error)
{
    if (error->status == LB_ACCESS)
        return "check the user and the password in the URL, and the server's ACL";
    if (*d->redis->options.path)
        return "is the server running, does it have this unixsocket, and may this user use it?";
    return "is the server running, and reachable from here? systemctl status redis-server";
}

/* The server is there, and has something against PING: the user's rights, or that it cannot save. */
static bool is_refusal(const reply *answer)
{
    return answer && (reply_is_error_of(answer, "NOPERM") || reply_is_error_of(answer, "MISCONF"));
}

/* The shortest of a few round trips: what the network takes, not what the machine was busy with. */
static lb_status check_connection(doctor *d, lb_error *error)
{
    int64_t least = INT64_MAX;
    const reply *answer;
    for (int i = 0; i < PINGS; i++) {
        int64_t begin = clock_now();
        command_of(&d->conn.out, "PING", NULL);
        lb_status status = doctor_ask(d, "PING", &answer, error);
        if (status != LB_OK && !is_refusal(answer))
            return status;
        if (clock_now() - begin < least)
            least = clock_now() - begin;
    }
    int64_t us = least / 1000;
    if (us < SLOW_US)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%s, a round trip takes %.2f ms", d->redis->options.place,
                    (double)us / 1000);
    else
        report_tell(&d->report, us < VERY_SLOW_US ? LB_FINDING_NOTE : LB_FINDING_WARNING,
                    "put the server near its services; every RPC takes two round trips or more",
                    "%s, a round trip takes %.0f ms", d->redis->options.place, (double)us / 1000);
    return LB_OK;
}

/* ---- The version ------------------------------------------------------------------------------------ */

static int parse_version(lb_slice text)
{
    int part[3] = {0};
    char copy[32] = "";
    memcpy(copy, text.data, text.size < sizeof copy ? text.size : sizeof copy - 1);
    if (sscanf(copy, "%5d.%5d.%5d", &part[0], &part[1], &part[2]) < 1)
        return 0;
    return part[0] * 10000 + part[1] * 100 + part[2];
}

static void tell_version(doctor *d, const char *kind, lb_slice text, int version, int least)
{
    if (version < least)
        report_tell(&d->report, LB_FINDING_ERROR, "install Redis 6.2 or Valkey 7.2, or later",
                    "%s %.*s is too old: expected %d.%d or later", kind, (int)text.size, text.data,
                    least / 10000, least / 100 % 100);
    else if (version < 70000)
        report_tell(&d->report, LB_FINDING_NOTE, "Redis 7 or later is faster for RPCs, and counts lost events",
                    "%s %.*s: no BLMPOP, and groups do not tell how far they are behind", kind, (int)text.size,
                    text.data);
    else
        report_tell(&d->report, LB_FINDING_OK, NULL, "%s %.*s", kind, (int)text.size, text.data);
}

static lb_status check_version(doctor *d, lb_error *error)
{
    const reply *answer;
    command_of(&d->conn.out, "INFO", NULL);
    lb_status status = doctor_ask(d, "INFO", &answer, error);
    if (status != LB_OK)
        return status;
    lb_slice info = reply_text(answer);
    const char *copy = arena_copy(&d->memory, info.data, info.size);
    if (!copy)
        return lb_error_set(error, LB_NO_MEMORY, "out of memory");
    d->info = (lb_slice){copy, info.size};
    lb_slice valkey = doctor_info(d, "valkey_version"), text = doctor_info(d, "redis_version");
    d->version = parse_version(text);
    if (valkey.size)
        tell_version(d, "Valkey", valkey, parse_version(valkey), LEAST_VALKEY);
    else if (text.size)
        tell_version(d, "Redis", text, d->version, LEAST_REDIS);
    else
        report_tell(&d->report, LB_FINDING_WARNING, "use Redis 6.2 or Valkey 7.2, or later",
                    "the server does not tell a version: what it can do is not known");
    return LB_OK;
}

/* ---- The role --------------------------------------------------------------------------------------- */

static lb_status check_role(doctor *d, lb_error *error)
{
    (void)error;
    lb_slice role = doctor_info(d, "role"), host = doctor_info(d, "master_host");
    if (doctor_info_number(d, "cluster_enabled"))
        report_tell(&d->report, LB_FINDING_ERROR, "use a server that is no cluster: cluster-enabled no",
                    "the server is a part of a Redis Cluster: a bus must be on one server");
    else if (slice_is(role, "slave") && !slice_is(doctor_info(d, "slave_read_only"), "0"))
        report_tell(&d->report, LB_FINDING_ERROR,
                    arena_printf(&d->report.memory, "use the URL of the primary, %.*s:%lld", (int)host.size,
                                 host.data, (long long)doctor_info_number(d, "master_port")),
                    "the server is a replica and takes no writes");
    else if (slice_is(role, "slave"))
        report_tell(&d->report, LB_FINDING_ERROR, "use the URL of the primary",
                    "the server is a replica: what is written to it is lost when it synchronises");
    else if (role.size)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%.*s, with %lld replica%s", (int)role.size, role.data,
                    (long long)doctor_info_number(d, "connected_slaves"),
                    doctor_info_number(d, "connected_slaves") == 1 ? "" : "s");
    return LB_OK;
}

/* ---- The clock -------------------------------------------------------------------------------------- */

static int64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static lb_status check_clock(doctor *d, lb_error *error)
{
    const reply *answer;
    char since[DURATION_TEXT];
    command_of(&d->conn.out, "TIME", NULL);
    int64_t before = wall_us();
    lb_status status = doctor_ask(d, "TIME", &answer, error);
    int64_t ours = before + (wall_us() - before) / 2;
    const reply *first = reply_first(answer);
    if (status != LB_OK || !first || !first->next)
        return status;
    int64_t seconds = doctor_number(reply_text(first)), fraction = doctor_number(reply_text(first->next));
    int64_t ahead = (seconds < LATEST_S ? seconds : LATEST_S) * 1000000 + fraction - ours;
    int64_t size = ahead < 0 ? -ahead : ahead;
    if (size < CLOCK_NOTE_US)
        report_tell(&d->report, LB_FINDING_OK, NULL, "within a second of this machine's");
    else
        report_tell(&d->report, size < CLOCK_WARNING_US ? LB_FINDING_NOTE : LB_FINDING_WARNING,
                    "synchronise both machines: timedatectl set-ntp true",
                    "the server's clock is %s %s this machine's: times of events, as in inspect --from, differ",
                    duration_text(size / 1000, since), ahead < 0 ? "behind" : "ahead of");
    return LB_OK;
}

/* ---- All of them ------------------------------------------------------------------------------------ */

/* Checks that read INFO come after the version, which asks for it. */
static const struct {
    const char *name;
    doctor_check run;
    bool needs_info;
} checks[] = {
    {"connection", check_connection, false},
    {"version", check_version, false},
    {"role", check_role, true},
    {"clock", check_clock, false},
    {"rights", check_rights, false},
    {"memory", check_memory, true},
    {"persistence", check_persistence, true},
    {"clients", check_clients, true},
    {"limits", check_limits, false},
    {"groups", check_groups, false},
    {"dead letters", check_dead_letters, false},
    {"queues", check_queues, false},
    {"APIs", check_published, false},
};

static lb_status make_check(doctor *d, size_t i, lb_error *error)
{
    d->deadline_ns = clock_in_ms(d->check_ms);
    report_begin(&d->report, checks[i].name);
    if (checks[i].needs_info && !d->info.size)
        return lb_error_set(error, LB_ACCESS, "the server does not answer INFO to this user");
    lb_status status = conn_ready(&d->conn, d->deadline_ns, error);
    return status == LB_OK ? checks[i].run(d, error) : status;
}

/* The server's place, with which messages begin, is that of all findings here. */
static void tell_unchecked(doctor *d, lb_error *error)
{
    const char *place = d->redis->options.place;
    size_t size = strlen(place);
    if (strncmp(error->message, place, size) == 0 && strncmp(error->message + size, ": ", 2) == 0)
        memmove(error->message, error->message + size + 2, strlen(error->message + size + 2) + 1);
    report_unchecked(&d->report, error);
}

bool doctor_diagnose(void *self, int64_t check_ms, lb_finding_fn found, void *data)
{
    redis *r = self;
    doctor d = {.redis = r, .report = {.found = found, .data = data}, .check_ms = check_ms, .info = {"", 0}};
    bool connected = true;
    conn_init(&d.conn, &r->options, &r->features, r->tls, -1);
    describe_cli(&d);
    for (size_t i = 0; i < sizeof checks / sizeof *checks && connected; i++) {
        lb_error error = {0};
        lb_status status = make_check(&d, i, &error);
        connected = i > 0 || status == LB_OK;
        if (!connected)
            report_tell(&d.report, LB_FINDING_ERROR, advice_for(&d, &error), "%s", error.message);
        else if (status != LB_OK)
            tell_unchecked(&d, &error);
    }
    conn_close(&d.conn);
    free(d.streams.items);
    free(d.dead.items);
    free(d.queues.items);
    free(d.apis.items);
    free(d.schemas.items);
    arena_free(&d.memory);
    report_free(&d.report);
    return connected;
}
