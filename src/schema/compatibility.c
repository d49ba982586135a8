/* Comparing two versions of an API. At the heart is a question about two schemas: is every value that `from`
 * accepts accepted by `to`? It is answered keyword by keyword; where that does not tell, the answer is no,
 * since a false alarm costs a look and a missed break costs an outage. Schemas are hostile: the walk is bounded
 * in depth and in steps. */
#include "compatibility.h"

#include "../base/json.h"
#include "json_schema.h"
#include "line.h"
#include "validator.h"
#include "validator_value.h"

#define MOST_DEPTH  40
#define MOST_STEPS  20000              /* of one member */
#define MOST_LINES  20                 /* about one member */
#define MOST_VALUES 1000               /* of an enum */
#define MOST_WORK   (INT64_C(1) << 23) /* of comparing values of one member, in steps */

typedef const lb_value value;

enum role { ROLE_PARAMETERS, ROLE_RESULT, ROLE_EVENT };

typedef struct comparison {
    lb_slice api_name, member;
    enum role role;
    value *from_root, *to_root; /* where "$ref" begins */
    compatibility_report report;
    void *data;
    size_t breaks, steps, lines;
    int64_t work; /* that may still be done */
} comparison;

/* A place in both schemas. Quiet: only the answer is wanted. */
typedef struct spot {
    const struct spot *parent;
    lb_slice name; /* no data: elements */
    bool quiet;
    int depth;
} spot;

static bool is_dict(value *v) { return v && lb_value_type_of(v) == LB_TYPE_DICT; }
static bool is_list(value *v) { return v && lb_value_type_of(v) == LB_TYPE_LIST; }
static bool is_false(value *v) { return v && lb_value_type_of(v) == LB_TYPE_BOOL && !lb_value_bool(v); }
static bool is_text(value *v, const char *text)
{
    return v && lb_value_type_of(v) == LB_TYPE_STR && slice_is(json_slice(v), text);
}
static bool is_number(value *v)
{
    lb_value_type t = lb_value_type_of(v);
    return v && (t == LB_TYPE_INT || t == LB_TYPE_UINT || t == LB_TYPE_FLOAT);
}

/* ---- Messages --------------------------------------------------------------------------------------- */

static line begin(const comparison *c, char *memory, size_t size)
{
    line l = line_of(memory, size);
    line_add(&l, c->api_name);
    line_str(&l, ".");
    line_add(&l, c->member);
    line_str(&l, ": ");
    return l;
}

static void add_path(line *l, const spot *at)
{
    if (!at->parent)
        return;
    add_path(l, at->parent);
    if (!at->name.data) {
        line_str(l, "[]");
        return;
    }
    if (at->parent->parent)
        line_str(l, ".");
    line_add(l, at->name);
}

static void print_type(buffer *out, value *schema)
{
    if (is_false(schema))
        buffer_literal(out, "nothing");
    else
        json_schema_print_type(out, schema);
}

static void add_type(line *l, value *schema)
{
    const size_t most = 80;
    buffer text = {0};

    print_type(&text, schema);
    line_add(l, (lb_slice){text.data, text.size < most ? text.size : most});
    line_str(l, text.size > most ? "..." : "");
    buffer_free(&text);
}

/* Whether the types as people read them say what the difference is. */
static bool types_tell(value *from, value *to)
{
    buffer a = {0}, b = {0};

    print_type(&a, from);
    print_type(&b, to);
    lb_slice inner = {a.data, a.size}, outer = {b.data, b.size};
    bool tell = !slice_equal(inner, outer) && !slice_is(outer, "any");
    buffer_free(&a);
    buffer_free(&b);
    return tell;
}

static void say(comparison *c, const line *l)
{
    c->breaks++;
    if (++c->lines <= MOST_LINES)
        c->report(c->data, true, l->start);
}

/* A value that one side produces and the other does not take. `keyword` is what says so. */
static bool narrowed(comparison *c, const spot *at, value *from, value *to, const char *keyword)
{
    static const char *const hints[] = {
        "old callers send what is refused now; accept what was accepted",
        "old callers get what they do not know; add another procedure for the new result",
        "old listeners get what they do not know; fire another event besides this one",
    };
    value *old = c->role == ROLE_PARAMETERS ? from : to, *fresh = c->role == ROLE_PARAMETERS ? to : from;
    char memory[500];
    line l = begin(c, memory, sizeof memory);

    if (at->quiet)
        return false;
    line_str(&l, c->role == ROLE_RESULT ? "result" : at->parent ? "" : "the arguments");
    if (at->parent && c->role == ROLE_RESULT)
        line_str(&l, at->name.data || at->parent->parent ? "." : "");
    add_path(&l, at);
    if (!types_tell(from, to)) {
        line_str(&l, ": \"");
        line_str(&l, keyword);
        line_str(&l, "\" has changed: ");
    } else {
        line_str(&l, " was ");
        add_type(&l, old);
        line_str(&l, ", is ");
        add_type(&l, fresh);
        line_str(&l, ": ");
    }
    line_str(&l, hints[c->role]);
    say(c, &l);
    return false;
}

/* What is wrong about a member of a dict. */
static bool say_of_member(comparison *c, const spot *at, lb_slice name, const char *text)
{
    char memory[500];
    line l = begin(c, memory, sizeof memory);
    spot here = {at, name, false, 0};

    if (at->quiet)
        return false;
    add_path(&l, &here);
    line_str(&l, text);
    say(c, &l);
    return false;
}

/* A member of a dict that one side needs and the other need not send. */
static bool missing(comparison *c, const spot *at, lb_slice name)
{
    static const char *const texts[] = {
        " is required now, and old callers do not send it; give it a default",
        " may be missing from the result now, and old callers need it; go on returning it",
        " is not sent any more, and old listeners need it; go on sending it",
    };
    return say_of_member(c, at, name, texts[c->role]);
}

/* A member of a dict that one side may send and the other refuses. */
static bool unexpected(comparison *c, const spot *at, lb_slice name)
{
    static const char *const texts[] = {
        " has gone, and calls with it are refused; keep it, with a default, and ignore it",
        " is new in the result, and old callers refuse it; add another procedure",
        " is new, and old listeners refuse events with it; fire another event besides this one",
    };
    return say_of_member(c, at, name, texts[c->role]);
}

/* ---- Schemas ---------------------------------------------------------------------------------------- */

/* What "#/definitions/x" points at; NULL: nothing, or somewhere else. */
static value *resolve(value *root, value *ref)
{
    const char *at = lb_value_str(ref);
    char name[200];

    if (!at || *at != '#')
        return NULL;
    for (at++; *at == '/';) {
        size_t size = strcspn(++at, "/");
        if (size >= sizeof name || memchr(at, '~', size) || memchr(at, '%', size))
            return NULL;
        memcpy(name, at, size);
        name[size] = '\0';
        root = is_dict(root) ? lb_value_get(root, name) : NULL;
        at += size;
    }
    return *at ? NULL : root;
}

static value *follow(value *root, value *schema)
{
    for (int i = 0; i < MOST_DEPTH && is_dict(schema) && lb_value_get(schema, "$ref"); i++) {
        value *target = resolve(root, lb_value_get(schema, "$ref"));
        if (!target)
            return schema;
        schema = target;
    }
    return schema;
}

static bool is_annotation(const char *keyword)
{
    static const char *const names[] = {"title",    "description", "default",     "$schema",  "$id",
                                        "$comment", "examples",    "definitions", "readOnly", "writeOnly"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(keyword, names[i]) == 0)
            return true;
    return false;
}

static bool restricts(value *schema)
{
    lb_value_iterator it = lb_value_iterate(schema);

    if (!is_dict(schema))
        return is_false(schema);
    while (lb_value_next(&it))
        if (!is_annotation(it.name))
            return true;
    return false;
}

static bool type_allows(value *type, const char *name)
{
    lb_value_iterator it = lb_value_iterate(type);

    if (!type || is_text(type, name) || (strcmp(name, "integer") == 0 && is_text(type, "number")))
        return true;
    while (is_list(type) && lb_value_next(&it))
        if (is_text(it.value, name) || (strcmp(name, "integer") == 0 && is_text(it.value, "number")))
            return true;
    return false;
}

/* ---- Is every value that `from` accepts accepted by `to`? ------------------------------------------- */

static bool within(comparison *c, const spot *at, value *from, value *to);

static bool quietly_within(comparison *c, const spot *at, value *from, value *to)
{
    spot quiet = *at;
    quiet.quiet = true;
    return within(c, &quiet, from, to);
}

/* Whether all of the values that `from` accepts are accepted by `to`. Compiled schemas have bounds of their
 * own. */
static bool accepts_all(value *from, value *const *values, size_t count, value *to)
{
    arena memory = {0};
    const validator *inner = NULL, *outer = NULL;
    bool ok = validator_compile(&memory, from, &inner, NULL) == LB_OK &&
              validator_compile(&memory, to, &outer, NULL) == LB_OK;

    for (size_t i = 0; ok && i < count; i++)
        ok = !validator_check(inner, values[i], NULL) || validator_check(outer, values[i], NULL);
    arena_free(&memory);
    return ok;
}

static bool values_within(comparison *c, const spot *at, value *from, value *list, value *to)
{
    value *values[MOST_VALUES];
    lb_value_iterator it = lb_value_iterate(list);
    size_t count = 0;

    c->steps += lb_value_count(list);
    while (count < MOST_VALUES && lb_value_next(&it))
        values[count++] = it.value;
    if (count == lb_value_count(list) && accepts_all(from, values, count, to))
        return true;
    return narrowed(c, at, from, to, "enum");
}

/* A bound that `to` has must be as tight in `from`. `sign` 1: an upper one, -1: a lower one. */
static bool bound_within(comparison *c, const spot *at, value *from, value *to, const char *keyword, int sign)
{
    value *inner = lb_value_get(from, keyword), *outer = lb_value_get(to, keyword);

    if (!is_number(outer))
        return true;
    if (is_number(inner) && sign * lb_value_float(inner) <= sign * lb_value_float(outer))
        return true;
    return narrowed(c, at, from, to, keyword);
}

static bool bounds_within(comparison *c, const spot *at, value *from, value *to)
{
    static const struct {
        const char *keyword;
        int sign;
    } bounds[] = {{"maximum", 1},       {"exclusiveMaximum", 1}, {"maxLength", 1},         {"maxItems", 1},
                  {"maxProperties", 1}, {"minimum", -1},         {"exclusiveMinimum", -1}, {"minLength", -1},
                  {"minItems", -1},     {"minProperties", -1}};
    bool ok = true;

    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        ok = bound_within(c, at, from, to, bounds[i].keyword, bounds[i].sign) && ok;
    return ok;
}

/* Keywords that cannot be compared but for equality. */
static bool others_within(comparison *c, const spot *at, value *from, value *to)
{
    static const char *const keywords[] = {"pattern",
                                           "format",
                                           "multipleOf",
                                           "uniqueItems",
                                           "contains",
                                           "not",
                                           "if",
                                           "then",
                                           "else",
                                           "dependencies",
                                           "patternProperties",
                                           "additionalItems",
                                           "propertyNames",
                                           "$ref",
                                           "contentEncoding"};
    bool ok = true;

    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        value *inner = lb_value_get(from, keywords[i]), *outer = lb_value_get(to, keywords[i]);
        if (outer && !is_false(outer) && !(inner && values_equal(inner, outer, &c->work)))
            ok = narrowed(c, at, from, to, keywords[i]);
    }
    return ok;
}

static bool lists_name(value *names, lb_slice name)
{
    lb_value_iterator it = lb_value_iterate(names);

    while (is_list(names) && lb_value_next(&it))
        if (slice_equal(json_slice(it.value), name))
            return true;
    return false;
}

static bool properties_within(comparison *c, const spot *at, value *from, value *to)
{
    value *inner = lb_value_get(from, "properties"), *outer = lb_value_get(to, "properties");
    value *others = lb_value_get(to, "additionalProperties"),
          *more = lb_value_get(from, "additionalProperties");
    value *needed = lb_value_get(to, "required"), *sent = lb_value_get(from, "required");
    lb_value_iterator it = lb_value_iterate(inner);
    bool ok = true;

    while (is_dict(inner) && lb_value_next(&it)) {
        spot here = {at, {it.name, it.name_size}, at->quiet, at->depth + 1};
        value *same = is_dict(outer) ? lb_value_get(outer, it.name) : NULL;
        if (is_false(it.value))
            continue;
        if (!same && is_false(others))
            ok = unexpected(c, at, here.name);
        else if (same || others)
            ok = within(c, &here, it.value, same ? same : others) && ok;
    }
    it = lb_value_iterate(needed);
    while (is_list(needed) && lb_value_next(&it))
        if (!lists_name(sent, json_slice(it.value)))
            ok = missing(c, at, json_slice(it.value));
    if (others && !is_false(more) && restricts(others)) {
        spot here = {at, slice_of("*"), at->quiet, at->depth + 1};
        if (more ? !quietly_within(c, &here, more, others) : true)
            ok = narrowed(c, at, from, to, "additionalProperties");
    }
    return ok;
}

static value *item_schema(value *schema, const char *keyword, size_t index)
{
    value *items = lb_value_get(schema, keyword);
    return is_list(items) ? lb_value_at(items, index) : items;
}

static bool items_within(comparison *c, const spot *at, value *from, value *to, const char *keyword)
{
    value *outer = lb_value_get(to, keyword);
    size_t count = is_list(outer) ? lb_value_count(outer) : 1;
    lb_value *anything = NULL;
    bool ok = true;

    if (!outer || lb_value_parse("{}", 2, &anything, NULL) != LB_OK)
        return true;
    for (size_t i = 0; i < count; i++) {
        spot here = {at, {NULL, 0}, at->quiet, at->depth + 1};
        value *inner = item_schema(from, keyword, i);
        ok = within(c, &here, inner ? inner : anything, item_schema(to, keyword, i)) && ok;
    }
    lb_value_free(anything);
    return ok;
}

/* Every alternative of `from` (a list of schemas). */
static bool alternatives_within(comparison *c, const spot *at, value *alternatives, value *from, value *to)
{
    lb_value_iterator it = lb_value_iterate(alternatives);

    while (lb_value_next(&it))
        if (!quietly_within(c, at, it.value, to))
            return narrowed(c, at, from, to, "anyOf");
    return true;
}

static bool within_any(comparison *c, const spot *at, value *from, value *alternatives)
{
    lb_value_iterator it = lb_value_iterate(alternatives);

    while (lb_value_next(&it))
        if (quietly_within(c, at, from, it.value))
            return true;
    return false;
}

static bool within_all(comparison *c, const spot *at, value *from, value *conditions)
{
    lb_value_iterator it = lb_value_iterate(conditions);
    bool ok = true;

    while (is_list(conditions) && lb_value_next(&it))
        ok = within(c, at, from, it.value) && ok;
    return ok;
}

static bool types_within(value *from, value *to)
{
    static const char *const names[] = {"null", "boolean", "integer", "number", "string", "array", "object"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (type_allows(from, names[i]) && !(strcmp(names[i], "integer") == 0 && type_allows(from, "number")) &&
            !type_allows(to, names[i]))
            return false;
    return true;
}

/* `from` is no choice between schemas. */
static bool plainly_within(comparison *c, const spot *at, value *from, value *to)
{
    value *type = lb_value_get(from, "type"), *outer = lb_value_get(to, "type");
    value *any = lb_value_get(to, "anyOf"), *one = lb_value_get(to, "oneOf");
    value *values = lb_value_get(from, "enum"), *constant = lb_value_get(from, "const");
    bool ok;

    if (is_list(values))
        return values_within(c, at, from, values, to);
    if (constant)
        return accepts_all(from, &constant, 1, to) || narrowed(c, at, from, to, "const");
    if (lb_value_get(to, "enum") || lb_value_get(to, "const"))
        return narrowed(c, at, from, to, "enum");
    if (!types_within(type, outer))
        return narrowed(c, at, from, to, "type");
    if (is_list(any) && !within_any(c, at, from, any))
        return narrowed(c, at, from, to, "anyOf");
    if (is_list(one) && !within_any(c, at, from, one))
        return narrowed(c, at, from, to, "oneOf");
    ok = within_all(c, at, from, lb_value_get(to, "allOf"));
    ok = bounds_within(c, at, from, to) && ok;
    ok = others_within(c, at, from, to) && ok;
    if (type_allows(type, "array"))
        ok = items_within(c, at, from, to, "items") && items_within(c, at, from, to, "prefixItems") && ok;
    if (type_allows(type, "object"))
        ok = properties_within(c, at, from, to) && ok;
    return ok;
}

static bool within(comparison *c, const spot *at, value *from, value *to)
{
    from = follow(c->from_root, from);
    to = follow(c->to_root, to);
    if (!restricts(to) || is_false(from))
        return true;
    if (++c->steps > MOST_STEPS || at->depth > MOST_DEPTH)
        return narrowed(c, at, from, to, "size");
    if (is_false(to))
        return narrowed(c, at, from, to, "false");
    if (values_equal(from, to, &c->work) && !lb_value_get(from, "$ref"))
        return true;
    for (int i = 0; i < 2; i++) {
        value *alternatives = lb_value_get(from, i ? "oneOf" : "anyOf");
        if (is_list(alternatives))
            return alternatives_within(c, at, alternatives, from, to);
    }
    return plainly_within(c, at, from, to);
}

/* ---- Members ---------------------------------------------------------------------------------------- */

static void compare(comparison *c, enum role role, value *from, value *to)
{
    static const spot root;

    c->role = role;
    c->from_root = from;
    c->to_root = to;
    if (from && to)
        within(c, &root, from, to);
    else if (to && restricts(to)) {
        lb_value *anything = NULL;
        if (lb_value_parse("{}", 2, &anything, NULL) == LB_OK)
            within(c, &root, anything, to);
        lb_value_free(anything);
    }
}

static void compare_member(comparison *c, bool is_event, value *old, value *fresh)
{
    size_t before = c->breaks;
    char memory[500];
    line l = begin(c, memory, sizeof memory);

    c->steps = c->lines = 0;
    c->work = MOST_WORK;
    if (!fresh) {
        line_str(&l, is_event ? "the event has gone, and listeners wait for it; go on firing it"
                              : "the procedure has gone, and callers call it; keep it until none does");
        say(c, &l);
        return;
    }
    value *was = lb_value_get(old, "parameters"), *is = lb_value_get(fresh, "parameters");
    if (is_event) {
        compare(c, ROLE_EVENT, is, was);
    } else {
        compare(c, ROLE_PARAMETERS, was, is);
        compare(c, ROLE_RESULT, lb_value_get(fresh, "response"), lb_value_get(old, "response"));
    }
    if (c->lines > MOST_LINES) {
        line_str(&l, "and so on: ");
        line_int(&l, (int64_t)(c->breaks - before));
        line_str(&l, " breaks in all");
        c->report(c->data, true, l.start);
    }
    if (c->breaks == before) {
        line_str(&l, "compatible");
        c->report(c->data, false, l.start);
    }
}

size_t compatibility_check(lb_slice api_name, const lb_value *old, const lb_value *fresh,
                           compatibility_report report, void *data)
{
    comparison c = {.api_name = api_name, .report = report, .data = data};

    for (int events = 0; events < 2; events++) {
        const char *half = events ? "events" : "rpcs";
        value *was = lb_value_get(old, half), *is = lb_value_get(fresh, half);
        lb_value_iterator it = lb_value_iterate(was);
        while (is_dict(was) && lb_value_next(&it)) {
            c.member = (lb_slice){it.name, it.name_size};
            compare_member(&c, events, it.value, is_dict(is) ? lb_value_get(is, it.name) : NULL);
        }
    }
    return c.breaks;
}
