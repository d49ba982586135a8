/* Which commands and keys this user may use. They are tried without being executed: inside MULTI the server
 * checks a command's name, its rights and its keys and then only queues it; DISCARD forgets them all. */
#include "doctor.h"

enum { MOST_APIS = 50, LONGEST_LIST = 200 };

/* In `text`, {} stands for an API. */
typedef struct probe {
    const char *text;
    const char *key;  /* what the user has to be given, when it is no key of an API */
    bool optional;    /* a bus does without it */
    int from, before; /* versions of the server that it is for; 0: any */
} probe;

static const probe probes[] = {
    {"SET rpc_expiry_key:x 1 PX 1", "rpc_expiry_key:*", false, 0, 0},
    {"DEL rpc_expiry_key:x", "rpc_expiry_key:*", false, 0, 0},
    {"RPUSH {}:rpc_queue x", NULL, false, 0, 0},
    {"LREM {}:rpc_queue 1 x", NULL, false, 0, 0},
    {"BLMPOP 1 1 {}:rpc_queue LEFT", NULL, false, 70000, 0},
    {"LMPOP 1 {}:rpc_queue LEFT", NULL, false, 70000, 0},
    {"BLPOP {}:rpc_queue 1", NULL, false, 0, 70000},
    {"BRPOP {}:rpc_queue 1", NULL, false, 0, 70000},
    {"LPOP {}:rpc_queue", NULL, false, 0, 70000},
    {"RPOP {}:rpc_queue", NULL, false, 0, 70000},
    {"LPUSH lightbus:results:x x", "lightbus:results:*", false, 0, 0},
    {"PEXPIRE lightbus:results:x 1", "lightbus:results:*", false, 0, 0},
    {"XADD {}.*:stream * a b", NULL, false, 0, 0},
    {"XGROUP CREATE {}.*:stream group $", NULL, false, 0, 0},
    {"XREADGROUP GROUP group name STREAMS {}.*:stream >", NULL, false, 0, 0},
    {"XACK {}.*:stream group 1-1", NULL, false, 0, 0},
    {"XPENDING {}.*:stream group", NULL, false, 0, 0},
    {"XCLAIM {}.*:stream group name 1 1-1", NULL, false, 0, 0},
    {"XRANGE {}.*:stream - +", NULL, false, 0, 0},
    {"XREVRANGE {}.*:stream + -", NULL, false, 0, 0},
    {"XINFO STREAM {}.*:stream", NULL, false, 0, 0},
    {"XLEN {}.*:stream", NULL, false, 0, 0},
    {"EVAL 0 2 {}.*:stream {}.*:stream:dead", NULL, false, 0, 0},
    {"EVAL 0 2 {}.*:stream {}.*:stream:lost", NULL, false, 0, 0},
    {"HINCRBY {}.*:stream:lost group 1", NULL, false, 0, 0},
    {"HDEL {}.*:stream:lost group", NULL, false, 0, 0},
    {"HGETALL {}.*:stream:lost", NULL, true, 0, 0},
    {"SADD schemas x", "schemas", false, 0, 0},
    {"SMEMBERS schemas", "schemas", false, 0, 0},
    {"SET schema:x 1 EX 1", "schema:*", false, 0, 0},
    {"MGET schema:x", "schema:*", false, 0, 0},
    {"CLIENT ID", NULL, true, 0, 0},
    {"CLIENT UNBLOCK 1", NULL, true, 0, 0},
    {"SCAN 0", NULL, true, 0, 0},
    {"LLEN {}:rpc_queue", NULL, true, 0, 0},
};

typedef struct rights {
    doctor *doctor;
    buffer forbidden, missing, lesser, keys, apis, writes; /* lists, for people */
} rights;

/* Of neighbours that are the same, one. */
static void add(buffer *list, lb_slice name)
{
    bool again = list->size >= name.size &&
                 slice_equal((lb_slice){list->data + list->size - name.size, name.size}, name);
    if (list->size < LONGEST_LIST && !again)
        buffer_printf(list, "%s%.*s", list->size ? ", " : "", (int)name.size, name.data);
}

/* The command's name, for CLIENT and the like with what follows it. */
static lb_slice name_of(const char *text)
{
    size_t size = strcspn(text, " ");
    if (strncmp(text, "CLIENT ", 7) == 0)
        size += 1 + strcspn(text + size + 1, " ");
    return (lb_slice){text, size};
}

static void write_word(buffer *out, const char *word, size_t size, lb_slice api)
{
    buffer text = {0};
    for (size_t i = 0; i < size; i++) {
        if (i + 1 < size && word[i] == '{' && word[i + 1] == '}') {
            buffer_add(&text, api.data, api.size);
            i++;
        } else {
            buffer_char(&text, word[i]);
        }
    }
    command_arg(out, text.data, text.size);
    out->failed |= text.failed;
    buffer_free(&text);
}

static void write_probe(buffer *out, const char *text, lb_slice api)
{
    size_t count = 1;
    for (const char *c = text; *c; c++)
        count += *c == ' ';
    command_begin(out, count);
    for (const char *at = text; count--; at += strcspn(at, " ") + 1)
        write_word(out, at, strcspn(at, " "), api);
}

static bool about_keys(lb_slice text) { return memmem(text.data, text.size, "access", 6) != NULL; }

/* What the server said to a command that it was to queue. The keys of APIs are looked at below. */
static void judge(rights *r, const probe *p, const reply *answer)
{
    lb_slice text = reply_text(answer), name = name_of(p->text);
    bool refused = reply_is_error_of(answer, "NOPERM");
    if (refused && about_keys(text)) {
        if (p->key)
            add(&r->keys, slice_of(p->key));
    } else if (refused || reply_is_error_of(answer, "ERR unknown")) {
        add(p->optional ? &r->lesser : refused ? &r->forbidden : &r->missing, name);
    } else if (reply_is_error(answer) && !r->writes.size) {
        add(&r->writes, text);
    }
}

/* Begins; only when the server has agreed may anything follow. */
static lb_status begin(doctor *d, lb_error *error)
{
    const reply *answer;
    command_of(&d->conn.out, "MULTI", NULL);
    return doctor_ask(d, "MULTI", &answer, error);
}

static bool is_for(const probe *p, int version)
{
    return version ? version >= p->from && (!p->before || version < p->before) : !p->from && !p->before;
}

static lb_status try_commands(rights *r, lb_error *error)
{
    doctor *d = r->doctor;
    const lb_slice api = {"lightbus_doctor", 15};
    const size_t count = sizeof probes / sizeof *probes;
    const reply *answer;
    lb_status status = begin(d, error);
    if (status != LB_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        write_probe(&d->conn.out, probes[i].text, api);
    command_of(&d->conn.out, "DISCARD", NULL);
    status = conn_send(&d->conn, d->deadline_ns, NULL, error);
    for (size_t i = 0; i <= count && status == LB_OK; i++) {
        status = conn_answer(&d->conn, d->deadline_ns, &answer, error);
        if (status == LB_OK && i < count && is_for(&probes[i], d->version))
            judge(r, &probes[i], answer);
    }
    return status;
}

/* A user may be meant for some APIs alone. */
static lb_status try_apis(rights *r, lb_error *error)
{
    doctor *d = r->doctor;
    const reply *answer;
    bool refused = false;
    size_t count = d->apis.count < MOST_APIS ? d->apis.count : MOST_APIS;
    lb_status status = count ? begin(d, error) : LB_OK;
    if (status != LB_OK || !count)
        return status;
    for (size_t i = 0; i < count; i++) {
        write_probe(&d->conn.out, "RPUSH {}:rpc_queue x", d->apis.items[i]);
        write_probe(&d->conn.out, "XADD {}.*:stream * a b", d->apis.items[i]);
    }
    command_of(&d->conn.out, "DISCARD", NULL);
    status = conn_send(&d->conn, d->deadline_ns, NULL, error);
    for (size_t i = 0; i < 2 * count && status == LB_OK; i++) {
        status = conn_answer(&d->conn, d->deadline_ns, &answer, error);
        refused = status == LB_OK && ((i % 2 && refused) || reply_is_error_of(answer, "NOPERM"));
        if (i % 2 && refused)
            add(&r->apis, d->apis.items[i / 2]);
    }
    return status;
}

static bool has(buffer *list) { return list->size && buffer_text(list); }

static void tell(rights *r)
{
    doctor *d = r->doctor;
    const char *user = *d->redis->options.user ? d->redis->options.user : "default";
    const char *page = "the ACL for a bus is in docs/reference/urls.md, Permissions";
    if (has(&r->missing))
        report_tell(&d->report, LB_FINDING_ERROR,
                    "rename-command, or another program than Redis, takes them away",
                    "the server does not know: %s", r->missing.data);
    if (has(&r->forbidden))
        report_tell(&d->report, LB_FINDING_ERROR, page, "the user %s may not use: %s", user, r->forbidden.data);
    if (has(&r->keys))
        report_tell(&d->report, LB_FINDING_ERROR, page, "the user %s may not use the keys: %s", user,
                    r->keys.data);
    if (has(&r->writes))
        report_tell(&d->report, LB_FINDING_ERROR, NULL, "the server refuses writes now: %s", r->writes.data);
    if (has(&r->lesser))
        report_tell(&d->report, LB_FINDING_NOTE, page,
                    "the user %s may not use %s: workers may take a second longer to stop, and not all can be "
                    "looked at",
                    user, r->lesser.data);
    if (has(&r->apis))
        report_tell(&d->report, LB_FINDING_NOTE, NULL, "the user %s may not use the keys of: %s", user,
                    r->apis.data);
    if (!d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "the user %s may use all commands and keys of a bus",
                    user);
}

lb_status check_rights(doctor *d, lb_error *error)
{
    rights r = {.doctor = d};
    lb_error ignored = {0};
    lb_status status = try_commands(&r, error);
    if (status == LB_OK && doctor_find_apis(d, &ignored) == LB_OK)
        status = try_apis(&r, error);
    if (status == LB_OK)
        tell(&r);
    conn_drop(&d->conn); /* whatever happened, nothing is queued any longer */
    buffer_free(&r.forbidden);
    buffer_free(&r.missing);
    buffer_free(&r.lesser);
    buffer_free(&r.keys);
    buffer_free(&r.apis);
    buffer_free(&r.writes);
    return status;
}
