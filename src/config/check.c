/* Checks a configuration by the table of options: keys, types, limits. The first fault is reported. */
#include "check.h"

#include <lightbus/log.h>

#include <stdio.h>

#include "../base/suggest.h"

#define PATH_SIZE 200

typedef struct checker {
    const char *source;
    char path[PATH_SIZE]; /* of the value in hand: "apis.auth.rpc_timeout" */
    lb_error *error;
} checker;

/* ---- Messages --------------------------------------------------------------------------------------- */

static const char *describe(const node *n, char out[96])
{
    static const char *const kinds[] = {
        [NODE_NULL] = "nothing", [NODE_LIST] = "a list", [NODE_DICT] = "a mapping"};

    switch (n->kind) {
    case NODE_BOOL:
        return n->boolean ? "the boolean true" : "the boolean false";
    case NODE_INT:
    case NODE_FLOAT:
        snprintf(out, 96, "the number %.40s", n->text.data);
        return out;
    case NODE_STR:
        snprintf(out, 96, "the text \"%.60s\"", n->text.data);
        return out;
    default:
        return kinds[n->kind];
    }
}

static lb_status unfit(checker *c, const node *n, const char *expected, const char *hint)
{
    char got[96];

    return config_error(c->error, c->source, n->at, "%s%sexpected %s, got %s%s", c->path, *c->path ? ": " : "",
                        expected, describe(n, got), hint);
}

/* Where the table has a key of that name, as a path; false: nowhere. */
static bool elsewhere(const option *dict, lb_slice name, char *path, size_t size)
{
    for (const option *o = dict->members; o && o->name; o++) {
        const char *any = o->kind == OPTION_APIS ? ".default" : "";
        size_t used = (size_t)snprintf(path, size, "%s%s", o->name, any);
        if (slice_is(name, o->name))
            return true;
        if (!o->members || used + 2 >= size)
            continue;
        path[used] = '.';
        if (elsewhere(o, name, path + used + 1, size - used - 1))
            return true;
    }
    return false;
}

static lb_status unknown_key(checker *c, const option *dict, const node *n)
{
    suggestion s = suggestion_for(n->key);
    char hint[256], path[PATH_SIZE];
    size_t used = 0;

    for (const option *o = dict->members; o->name; o++)
        suggestion_consider(&s, slice_of(o->name));
    if (!dict->members->name) {
        snprintf(hint, sizeof hint, "it has no keys");
    } else if (s.best.size) {
        snprintf(hint, sizeof hint, "did you mean \"%s\"?", s.best.data);
    } else if (elsewhere(&config_options, n->key, path, sizeof path)) {
        snprintf(hint, sizeof hint, "its place is %s", path);
    } else {
        used = (size_t)snprintf(hint, sizeof hint, "there are");
        for (const option *o = dict->members; o->name && used < sizeof hint; o++)
            used += (size_t)snprintf(hint + used, sizeof hint - used, "%s%s", o == dict->members ? " " : ", ",
                                     o->name);
    }
    return config_error(c->error, c->source, n->key_at, "unknown key \"%.60s\"%s%s; %s", n->key.data,
                        *c->path ? " in " : "", c->path, hint);
}

/* ---- Scalars ---------------------------------------------------------------------------------------- */

static bool is_whole(double number)
{
    return number >= -1e15 && number <= 1e15 && number == (double)(int64_t)number;
}

static lb_status check_number(checker *c, const option *o, const node *n)
{
    const char *what = o->kind == OPTION_INT ? "a whole number" : "a number";
    char expected[96];
    bool whole = n->kind == NODE_INT || (n->kind == NODE_FLOAT && is_whole(n->number));

    snprintf(expected, sizeof expected, "%s from %.15g to %.15g", what, o->least, o->most);
    if (n->kind != NODE_INT && n->kind != NODE_FLOAT) {
        bool quoted = n->kind == NODE_STR && strspn(n->text.data, "0123456789.") == n->text.size;
        return unfit(c, n, what, quoted ? "; leave the quotes out" : "");
    }
    if (o->kind == OPTION_INT && !whole)
        return unfit(c, n, what, "");
    return n->number >= o->least && n->number <= o->most ? LB_OK : unfit(c, n, expected, "");
}

static lb_status check_choice(checker *c, const option *o, const node *n)
{
    suggestion s = suggestion_for(n->text);
    char expected[200] = "one of ", hint[160] = "";
    size_t used = strlen(expected);

    for (const char *at = o->choices; n->kind == NODE_STR && *at;) {
        lb_slice choice = {at, strcspn(at, " ")};
        if (slice_equal(choice, n->text))
            return LB_OK;
        suggestion_consider(&s, choice);
        at += choice.size + strspn(at + choice.size, " ");
    }
    if (!strchr(o->choices, ' '))
        used = 0;
    for (const char *at = o->choices; *at && used < sizeof expected - 2; at++) {
        expected[used++] = *at == ' ' ? ',' : *at;
        if (*at == ' ')
            expected[used++] = ' ';
    }
    expected[used] = '\0';
    if (n->kind == NODE_STR && s.best.size)
        snprintf(hint, sizeof hint, "; did you mean \"%.*s\"?", (int)s.best.size, s.best.data);
    return unfit(c, n, expected, hint);
}

static lb_status check_str(checker *c, const node *n)
{
    bool number = n->kind == NODE_INT || n->kind == NODE_FLOAT || n->kind == NODE_BOOL;

    if (n->kind != NODE_STR)
        return unfit(c, n, "a text", number ? "; put it in quotes" : "");
    if (!n->text.size)
        return unfit(c, n, "a text that is not empty", "");
    return strlen(n->text.data) == n->text.size ? LB_OK : unfit(c, n, "a text without NUL characters", "");
}

/* What is understood and has no effect: not in silence, unless it says what is so anyway. */
static void note_ignored(const checker *c, const option *o, const node *n)
{
    bool is_default =
        n->kind == NODE_NULL || (o->otherwise && (n->kind == NODE_BOOL ? n->boolean == (*o->otherwise == 't')
                                                                       : slice_is(n->text, o->otherwise)));

    if (!is_default)
        lb_log(LB_LOG_INFO, "%s:%d:%d: %s has no effect: %s", c->source, n->at.line, n->at.column, c->path,
               o->ignored);
}

/* ---- Dicts ------------------------------------------------------------------------------------------ */

static lb_status check_value(checker *c, const option *o, const node *n);

static lb_status check_member(checker *c, const option *o, const node *n)
{
    size_t used = strlen(c->path);

    snprintf(c->path + used, PATH_SIZE - used, "%s%.60s", used ? "." : "", n->key.data);
    lb_status status = check_value(c, o, n);
    c->path[used] = '\0';
    return status;
}

static lb_status check_dict(checker *c, const option *o, const node *dict)
{
    const node *chosen = NULL;
    lb_status status = LB_OK;

    for (const node *n = dict->first; n && status == LB_OK; n = n->next) {
        const option *member = o->members;
        while (member->name && !slice_is(n->key, member->name))
            member++;
        if (!member->name)
            return unknown_key(c, o, n);
        status = check_member(c, member, n);
        if (status != LB_OK || !o->one_transport || n->kind == NODE_NULL)
            continue;
        if (chosen)
            return config_error(c->error, c->source, n->key_at, "%s: expected one transport, got %s and %s",
                                c->path, chosen->key.data, n->key.data);
        chosen = n;
    }
    return status;
}

static lb_status check_apis(checker *c, const option *o, const node *apis)
{
    option section = *o;
    lb_status status = LB_OK;

    section.kind = OPTION_DICT;
    for (const node *n = apis->first; n && status == LB_OK; n = n->next) {
        if (!n->key.size || strlen(n->key.data) != n->key.size)
            return config_error(c->error, c->source, n->key_at,
                                "apis: expected the name of an API, or \"default\"");
        status = check_member(c, &section, n);
    }
    return status;
}

/* Of a plugin that is not built in, what is the bus's; the rest is for it to check. */
static lb_status check_other_plugin(checker *c, const node *plugin)
{
    size_t used = strlen(c->path);
    lb_status status = LB_OK;

    snprintf(c->path + used, PATH_SIZE - used, ".%.60s", plugin->key.data);
    for (const option *o = other_plugin_options; o->name && status == LB_OK; o++) {
        const node *n = node_get(plugin, slice_of(o->name));
        if (n)
            status = check_member(c, o, n);
    }
    c->path[used] = '\0';
    return status;
}

static lb_status check_plugins(checker *c, const option *o, const node *plugins)
{
    static const option other = {.kind = OPTION_DICT, .nullable = true};
    lb_status status = LB_OK;

    for (const node *n = plugins->first; n && status == LB_OK; n = n->next) {
        const option *member = o->members;
        while (member->name && !slice_is(n->key, member->name))
            member++;
        if (!member->name && n->kind == NODE_DICT)
            status = check_other_plugin(c, n);
        else
            status = check_member(c, member->name ? member : &other, n);
    }
    return status;
}

static lb_status check_value(checker *c, const option *o, const node *n)
{
    if (n->kind == NODE_NULL && o->nullable)
        return LB_OK;
    if (o->ignored)
        note_ignored(c, o, n);
    switch (o->kind) {
    case OPTION_STR:
        return check_str(c, n);
    case OPTION_INT:
    case OPTION_NUMBER:
        return check_number(c, o, n);
    case OPTION_BOOL:
        return n->kind == NODE_BOOL ? LB_OK : unfit(c, n, "true or false", "");
    case OPTION_CHOICE:
        return check_choice(c, o, n);
    default:
        break;
    }
    if (n->kind == NODE_BOOL && o->or_bool)
        return LB_OK;
    if (n->kind != NODE_DICT)
        return unfit(c, n, o->or_bool ? "a mapping, true or false" : "a mapping",
                     n->kind == NODE_NULL && *c->path ? "; leave the key out when there is nothing to say"
                                                      : "");
    return o->kind == OPTION_APIS      ? check_apis(c, o, n)
           : o->kind == OPTION_PLUGINS ? check_plugins(c, o, n)
                                       : check_dict(c, o, n);
}

lb_status config_check_part(const char *source, const char *path, const option *o, const node *n,
                            lb_error *error)
{
    checker c = {.source = source, .error = error};

    snprintf(c.path, sizeof c.path, "%s", path);
    return check_value(&c, o, n);
}

lb_status config_check(const char *source, const node *root, lb_error *error)
{
    checker c = {.source = source, .error = error};

    if (!root || (root->kind == NODE_NULL && !root->text.size))
        return config_error(error, source, (place){1, 1},
                            "is empty: expected a mapping, such as \"service_name: NAME\"");
    return check_value(&c, &config_options, root);
}
