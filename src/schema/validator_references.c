/* "$ref" and "$id". A reference leads to a place in the same document, by JSON pointer or by "$id", or to the
 * meta-schema of draft-07; other documents are never fetched. A reference becomes a node of its own, which is
 * completed when everything else has been compiled: so schemas may refer to themselves, and the compiler does
 * not recurse along references. Invariant: after references_complete the node of every reference points to a
 * node that is none. */
#include "../base/json.h"
#include "line.h"
#include "validator_address.h"
#include "validator_compile.h"

typedef struct document { /* a schema that has a URI */
    const lb_value *schema;
    lb_slice base;
} document;

static bool is_dict(const lb_value *v) { return lb_value_type_of(v) == LB_TYPE_DICT; }
static bool is_str(const lb_value *v) { return lb_value_type_of(v) == LB_TYPE_STR; }

/* ---- What a document holds -------------------------------------------------------------------------- */

static lb_status add_document(compiler *c, lb_slice uri, const lb_value *schema, lb_slice base)
{
    document *d = arena_alloc(c->memory, sizeof *d);

    if (map_get(&c->ids, uri.data, uri.size))
        return malformed(c, NULL, "$id", "is the same in two places");
    if (!d)
        return compile_out_of_memory(c);
    *d = (document){schema, base};
    return map_put(&c->ids, uri.data, uri.size, d) ? LB_OK : compile_out_of_memory(c);
}

static const lb_value *id_of(const lb_value *schema)
{
    const lb_value *id = is_dict(schema) ? lb_value_get(schema, "$id") : NULL;
    return is_str(id) && !lb_value_get(schema, "$ref") ? id : NULL;
}

static bool is_anchor(const lb_value *id) { return lb_value_str_size(id) > 1 && lb_value_str(id)[0] == '#'; }

/* data NULL: see no_uri. Many long URIs in a short schema would take gigabytes. */
static lb_slice resolve_uri(compiler *c, lb_slice base, lb_slice reference)
{
    c->steps -= (int64_t)(base.size + reference.size);
    return c->steps < 0 ? (lb_slice){NULL, 0} : address_resolve(c->memory, base, reference);
}

lb_status references_no_uri(compiler *c)
{
    return c->steps < 0
               ? malformed(c, NULL, "$id", "is one of too many, or too long: resolving them all takes too long")
               : compile_out_of_memory(c);
}

lb_slice references_base(compiler *c, const lb_value *schema, lb_slice base)
{
    const lb_value *id = id_of(schema);
    return id && !is_anchor(id) ? resolve_uri(c, base, json_slice(id)) : base;
}

/* A URI with a fragment, as the key of a place with a name. */
static lb_slice with_fragment(compiler *c, lb_slice uri, lb_slice fragment)
{
    c->steps -= (int64_t)(uri.size + fragment.size);
    char *text = c->steps < 0 ? NULL : arena_alloc(c->memory, uri.size + 1 + fragment.size);

    if (!text)
        return (lb_slice){NULL, 0};
    if (uri.size)
        memcpy(text, uri.data, uri.size);
    text[uri.size] = '#';
    memcpy(text + uri.size + 1, fragment.data, fragment.size);
    return (lb_slice){text, uri.size + 1 + fragment.size};
}

static lb_status scan_id(compiler *c, const lb_value *schema, lb_slice outer, lb_slice base)
{
    const lb_value *id = id_of(schema);
    lb_slice fragment = id ? address_fragment(json_slice(id)) : (lb_slice){NULL, 0};
    lb_status status = LB_OK;

    if (!id)
        return LB_OK;
    if (base.size && !(base.size == outer.size && memcmp(base.data, outer.data, base.size) == 0))
        status = add_document(c, base, schema, base);
    if (status != LB_OK || fragment.size == 0)
        return status;
    lb_slice key = with_fragment(c, base, fragment);
    return key.data ? add_document(c, key, schema, base) : references_no_uri(c);
}

static lb_status scan_all(compiler *c, const lb_value *schemas, lb_slice base)
{
    lb_value_iterator it = lb_value_iterate(schemas);
    lb_status status = LB_OK;

    while (status == LB_OK && lb_value_next(&it))
        status = references_scan(c, it.value, base);
    return status;
}

lb_status references_scan(compiler *c, const lb_value *schema, lb_slice outer)
{
    static const char *const single[] = {
        "items", "additionalItems", "contains", "additionalProperties", "propertyNames", "not", "if", "then",
        "else"};
    static const char *const several[] = {
        "properties", "patternProperties", "definitions", "$defs", "dependencies", "anyOf", "allOf", "oneOf",
        "items"};
    lb_value_iterator it = lb_value_iterate(schema);

    if (!is_dict(schema))
        return LB_OK;
    lb_slice base = references_base(c, schema, outer);
    if (!base.data)
        return references_no_uri(c);
    lb_status status = scan_id(c, schema, outer, base);
    while (status == LB_OK && lb_value_next(&it)) {
        lb_slice name = {it.name, it.name_size};
        c->refers = c->refers || slice_is(name, "$ref");
        for (size_t i = 0; status == LB_OK && i < sizeof single / sizeof *single; i++)
            if (slice_is(name, single[i]))
                status = references_scan(c, it.value, base);
        for (size_t i = 0; status == LB_OK && i < sizeof several / sizeof *several; i++)
            if (slice_is(name, several[i]) && (i + 1 < sizeof several / sizeof *several || !is_dict(it.value)))
                status = scan_all(c, it.value, base);
    }
    return status;
}

/* ---- Where a reference leads ------------------------------------------------------------------------ */

static int hex(char ch) { return ch <= '9' ? ch - '0' : (ch | 0x20) - 'a' + 10; }

/* Takes the next part of a JSON pointer, its percent-encoding and its "~" resolved, into `name`. */
static size_t take_part(const char **at, const char *end, char *name)
{
    size_t size = 0;

    while (*at < end && **at != '/') {
        char ch = *(*at)++;
        if (ch == '%' && end - *at >= 2 && address_is_hex((*at)[0]) && address_is_hex((*at)[1])) {
            ch = (char)(hex((*at)[0]) << 4 | hex((*at)[1]));
            *at += 2;
        }
        if (size && name[size - 1] == '~' && (ch == '0' || ch == '1'))
            name[size - 1] = ch == '0' ? '\1' : '/'; /* '\1' until the end: "~01" is "~1" */
        else
            name[size++] = ch;
    }
    for (size_t i = 0; i < size; i++)
        if (name[i] == '\1')
            name[i] = '~';
    return size;
}

static const lb_value *child(const lb_value *value, lb_slice name)
{
    lb_value_iterator it = lb_value_iterate(value);
    size_t index = 0;

    if (is_dict(value)) {
        while (lb_value_next(&it))
            if (slice_equal((lb_slice){it.name, it.name_size}, name))
                return it.value;
        return NULL;
    }
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < '0' || name.data[i] > '9' || index > 1000000)
            return NULL;
        index = index * 10 + (size_t)(name.data[i] - '0');
    }
    return name.size ? lb_value_at(value, index) : NULL;
}

/* Follows a JSON pointer; the base changes with each "$id" on the way. NULL: there is nothing. */
static const lb_value *follow(compiler *c, const document *from, lb_slice pointer, lb_slice *base)
{
    const char *at = pointer.data, *end = at + pointer.size;
    const lb_value *value = from->schema;
    char *name = arena_alloc(c->memory, pointer.size + 1);

    *base = from->base;
    while (name && value && at < end) {
        at++; /* the "/" */
        c->steps -= (int64_t)lb_value_count(value);
        if (c->steps < 0)
            return NULL;
        size_t size = take_part(&at, end, name);
        value = child(value, (lb_slice){name, size});
        if (value && at < end)
            *base = references_base(c, value, *base);
    }
    return name ? value : NULL;
}

/* The meta-schema is parsed when the first reference leads there. */
static lb_status load_meta(compiler *c, lb_slice uri)
{
    const lb_value *meta = NULL;
    lb_status status = LB_OK;

    if (!slice_is(uri, validator_meta_uri) || map_get(&c->ids, uri.data, uri.size))
        return LB_OK;
    status = json_parse(c->memory, validator_meta_text, strlen(validator_meta_text), &meta, c->error);
    return status == LB_OK ? references_scan(c, meta, (lb_slice){"", 0}) : status;
}

static const document *find_document(compiler *c, const document *root, lb_slice uri)
{
    return uri.size ? map_get(&c->ids, uri.data, uri.size) : root;
}

static lb_status refuse(compiler *c, const place *at, const char *before, const lb_value *reference,
                        const char *after)
{
    char memory[160];
    line l = line_of(memory, sizeof memory);

    line_str(&l, before);
    line_quoted(&l, json_slice(reference));
    line_str(&l, after);
    return malformed(c, at, "$ref", memory);
}

static lb_status resolve(compiler *c, const place *at, const lb_value *reference, reference_request *r)
{
    const document root = {c->root, c->root_base};
    lb_slice uri = resolve_uri(c, at->base, json_slice(reference));
    lb_slice fragment = address_fragment(json_slice(reference));

    if (!uri.data)
        return references_no_uri(c);
    lb_status status = load_meta(c, uri);
    if (status != LB_OK)
        return status;
    const document *found = find_document(c, &root, uri);
    if (!found)
        return refuse(c, at, "leads to another document, ", reference, ": expected a place in this schema");
    r->target = found->schema;
    r->base = found->base;
    if (fragment.size && fragment.data[0] == '/') {
        r->target = follow(c, found, fragment, &r->base);
    } else if (fragment.size) {
        lb_slice key = with_fragment(c, uri, fragment);
        const document *named = key.data ? map_get(&c->ids, key.data, key.size) : NULL;
        r->target = named ? named->schema : NULL;
        r->base = named ? named->base : r->base;
    }
    if (c->steps < 0)
        return malformed(c, at, "$ref", "is one of too many: following them all takes too long");
    return r->target ? LB_OK : refuse(c, at, "leads nowhere: there is no ", reference, " in this schema");
}

/* ---- Nodes ------------------------------------------------------------------------------------------ */

lb_status references_add(compiler *c, const place *at, const lb_value *reference, const validator **result)
{
    reference_request *r = arena_alloc(c->memory, sizeof *r);
    validator *node = arena_alloc(c->memory, sizeof *node);

    if (!r || !node)
        return compile_out_of_memory(c);
    if (!is_str(reference))
        return malformed(c, at, "$ref", "must be a string");
    *node = (validator){.types = TYPES_ALL, .whole = true, .max_items = UINT64_MAX};
    *r = (reference_request){.node = node, .reference = reference};
    lb_status status = resolve(c, at, reference, r);
    if (status != LB_OK)
        return status;
    *c->next_request = r;
    c->next_request = &r->next;
    *result = node;
    return LB_OK;
}

void references_note(compiler *c, const lb_value *schema, const validator *compiled)
{
    const validator *node = compiled ? compiled : &validator_everything;

    if (!map_put(&c->places, (const char *)&schema, sizeof schema, (void *)(uintptr_t)node))
        c->short_of_memory = true;
}

static const validator *noted(compiler *c, const lb_value *schema)
{
    return map_get(&c->places, (const char *)&schema, sizeof schema);
}

/* Lets the node point past other references, to what they all stand for. False: they go in a circle. */
static bool shorten(validator *node, size_t most)
{
    const validator *end = node->reference;

    for (size_t i = 0; end->reference; i++, end = end->reference)
        if (i == most)
            return false;
    for (validator *at = node; at->reference != end;) {
        validator *next = (validator *)(uintptr_t)at->reference;
        at->reference = end;
        at = next;
    }
    return true;
}

lb_status references_complete(compiler *c)
{
    size_t count = 0;

    for (reference_request *r = c->requests; r; r = r->next, count++) {
        const place at = {.keyword = lb_value_str(r->reference), .base = r->base};
        const validator *compiled = NULL;
        if (!noted(c, r->target)) {
            lb_status status = compile_schema(c, &at, r->target, &compiled);
            if (status != LB_OK)
                return status;
        }
        r->node->reference = noted(c, r->target);
        if (c->short_of_memory || !r->node->reference)
            return compile_out_of_memory(c);
    }
    for (reference_request *r = c->requests; r; r = r->next)
        if (!shorten(r->node, count))
            return refuse(c, NULL, "leads to itself: ", r->reference, "");
    return LB_OK;
}
