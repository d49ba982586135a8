/* The server's settings and state: what may lose events, and what is about to run out. */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>

enum { NEARLY_FULL = 90, NEARLY_ALL_CLIENTS = 80, SHORT_TIMEOUT_S = 60 };

/* ---- Memory ----------------------------------------------------------------------------------------- */

static void check_eviction(doctor *d, int64_t most)
{
    lb_slice policy = doctor_info(d, "maxmemory_policy");
    long long evicted = (long long)doctor_info_number(d, "evicted_keys");
    bool all = policy.size > 8 && memcmp(policy.data, "allkeys-", 8) == 0;
    const char *advice = doctor_command(d, "CONFIG SET maxmemory-policy noeviction");
    if (!policy.size || slice_is(policy, "noeviction"))
        return;
    if (!most)
        report_tell(&d->report, LB_FINDING_NOTE, advice,
                    "maxmemory-policy is %.*s: without effect as long as maxmemory is 0", (int)policy.size,
                    policy.data);
    else
        report_tell(&d->report, all ? LB_FINDING_ERROR : LB_FINDING_WARNING, advice,
                    "maxmemory-policy is %.*s: when memory is full the server deletes %s (%lld keys so far)",
                    (int)policy.size, policy.data,
                    all ? "events, with all that listeners have to do" : "calls, results and schemas", evicted);
}

lb_status check_memory(doctor *d, lb_error *error)
{
    char is[BYTES_TEXT], limit[BYTES_TEXT];
    int64_t used = doctor_info_number(d, "used_memory"), most = doctor_info_number(d, "maxmemory");
    (void)error;
    check_eviction(d, most);
    if (!most)
        most = doctor_info_number(d, "total_system_memory");
    bytes_text(used, is);
    bytes_text(most, limit);
    if (most && used >= most / 100 * NEARLY_FULL)
        report_tell(&d->report, used >= most ? LB_FINDING_ERROR : LB_FINDING_WARNING,
                    "give it more memory (CONFIG SET maxmemory), or keep fewer events (max_stream_length)",
                    "%s used of %s: when it is full, calls and events are refused", is, limit);
    else if (!d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%s used of %s, nothing is evicted", is, limit);
    return LB_OK;
}

/* ---- Persistence ------------------------------------------------------------------------------------ */

static void tell_failed_writes(doctor *d)
{
    const char *advice = "look at the server's log, and at the space on its disk";
    if (slice_is(doctor_info(d, "rdb_last_bgsave_status"), "err"))
        report_tell(&d->report, LB_FINDING_ERROR, advice,
                    "the last snapshot failed: until one works the server may refuse all writes (MISCONF)");
    if (slice_is(doctor_info(d, "aof_last_write_status"), "err"))
        report_tell(&d->report, LB_FINDING_ERROR, advice,
                    "the last write to the append-only file failed: writes are refused");
}

static lb_status check_aof(doctor *d, lb_error *error)
{
    const char *sync = "";
    lb_status status = doctor_config(d, "appendfsync", &sync, error);
    if (status != LB_OK)
        return status;
    if (strcmp(sync, "no") == 0)
        report_tell(&d->report, LB_FINDING_WARNING, doctor_command(d, "CONFIG SET appendfsync everysec"),
                    "append-only file, written when the system likes to: a power cut may lose events of half a "
                    "minute");
    else
        report_tell(&d->report, LB_FINDING_OK, NULL, "append-only file, appendfsync %s%s", sync,
                    strcmp(sync, "everysec") == 0 ? ": a power cut loses a second at most" : "");
    return LB_OK;
}

static lb_status check_snapshots(doctor *d, lb_error *error)
{
    const char *save = "";
    const char *advice = doctor_command(d, "CONFIG SET appendonly yes");
    lb_status status = doctor_config(d, "save", &save, error);
    if (status != LB_OK)
        return status;
    if (*save)
        report_tell(
            &d->report, LB_FINDING_NOTE, advice,
            "snapshots only (save %s): what came after the last one, %lld changes now, is lost when the "
            "server dies",
            save, (long long)doctor_info_number(d, "rdb_changes_since_last_save"));
    else
        report_tell(&d->report, LB_FINDING_WARNING, advice,
                    "nothing is saved: all events are lost when the server ends");
    return LB_OK;
}

lb_status check_persistence(doctor *d, lb_error *error)
{
    tell_failed_writes(d);
    return doctor_info_number(d, "aof_enabled") ? check_aof(d, error) : check_snapshots(d, error);
}

/* ---- Clients ---------------------------------------------------------------------------------------- */

lb_status check_clients(doctor *d, lb_error *error)
{
    const char *limit = "";
    int64_t now = doctor_info_number(d, "connected_clients"), most = doctor_info_number(d, "maxclients");
    int64_t refused = doctor_info_number(d, "rejected_connections");
    lb_status status = most ? LB_OK : doctor_config(d, "maxclients", &limit, error);
    if (status != LB_OK)
        return status;
    if (!most)
        most = doctor_number(slice_of(limit));
    const char *advice = doctor_command(d, "CONFIG SET maxclients %lld", (long long)most * 2);
    if (most && now * 100 >= most * NEARLY_ALL_CLIENTS)
        report_tell(&d->report, LB_FINDING_WARNING, advice,
                    "%lld of at most %lld connections: past that, processes are refused", (long long)now,
                    (long long)most);
    if (refused)
        report_tell(&d->report, LB_FINDING_NOTE, advice,
                    "%lld connections were refused since the server's start, since there were too many",
                    (long long)refused);
    if (!d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%lld of at most %lld connections", (long long)now,
                    (long long)most);
    return LB_OK;
}

/* ---- Limits ----------------------------------------------------------------------------------------- */

static void check_idle_timeout(doctor *d, const char *timeout)
{
    int64_t seconds = strtoll(timeout, NULL, 10);
    if (seconds > 0)
        report_tell(&d->report, seconds < SHORT_TIMEOUT_S ? LB_FINDING_WARNING : LB_FINDING_NOTE,
                    doctor_command(d, "CONFIG SET timeout 0"),
                    "timeout %lld: connections that are idle for so many seconds are cut, and have to be made "
                    "again for the next call",
                    (long long)seconds);
}

/* "normal HARD SOFT SECONDS slave ..." */
static void check_output_buffers(doctor *d, const char *limits)
{
    long long hard = 0, soft = 0;
    char now[BYTES_TEXT], most[BYTES_TEXT];
    const char *normal = strstr(limits, "normal ");
    if (!normal || sscanf(normal, "normal %18lld %18lld", &hard, &soft) != 2)
        return;
    int64_t least = hard && soft ? (hard < soft ? hard : soft) : hard ? hard : soft;
    if (least && least < d->redis->options.max_message_size)
        report_tell(
            &d->report, LB_FINDING_WARNING,
            doctor_command(d, "CONFIG SET client-output-buffer-limit \"normal 0 0 0\""),
            "client-output-buffer-limit: connections of %s of answers are cut, and a message may have %s",
            bytes_text(least, now), bytes_text(d->redis->options.max_message_size, most));
}

static void check_argument_size(doctor *d, const char *limit)
{
    char now[BYTES_TEXT], most[BYTES_TEXT];
    int64_t bytes = strtoll(limit, NULL, 10);
    if (bytes > 0 && bytes < d->redis->options.max_message_size)
        report_tell(&d->report, LB_FINDING_WARNING, doctor_command(d, "CONFIG SET proto-max-bulk-len 512mb"),
                    "proto-max-bulk-len: the server takes %s at once, and a message may have %s",
                    bytes_text(bytes, now), bytes_text(d->redis->options.max_message_size, most));
}

lb_status check_limits(doctor *d, lb_error *error)
{
    const char *timeout, *buffers, *argument;
    lb_status status = doctor_config(d, "timeout", &timeout, error);
    if (status == LB_OK)
        status = doctor_config(d, "client-output-buffer-limit", &buffers, error);
    if (status == LB_OK)
        status = doctor_config(d, "proto-max-bulk-len", &argument, error);
    if (status != LB_OK)
        return status;
    check_idle_timeout(d, timeout);
    check_output_buffers(d, buffers);
    check_argument_size(d, argument);
    if (!d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL,
                    "idle connections stay, answers and arguments of any size are let through");
    return LB_OK;
}
