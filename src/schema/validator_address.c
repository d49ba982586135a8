/* Hosts, e-mail addresses and URIs, by RFC 1034, 5321, 3986, 3987 and 5890. */
#include "validator_address.h"

#include <string.h>

#include "../base/json.h"

/* ---- Characters ------------------------------------------------------------------------------------- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_alphanumeric(char c) { return is_digit(c) || is_letter(c); }
static bool is_one_of(char c, const char *set) { return c != '\0' && strchr(set, c) != NULL; }
bool address_is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static lb_slice part(const char *from, const char *to) { return (lb_slice){from, (size_t)(to - from)}; }
static const char *end_of(lb_slice text) { return text.data + text.size; }

/* The first of some characters, or the end. */
static const char *find(const char *at, const char *end, const char *set)
{
    while (at < end && !is_one_of(*at, set))
        at++;
    return at;
}

/* ---- Hosts ------------------------------------------------------------------------------------------ */

bool address_is_ipv4(lb_slice text)
{
    size_t i = 0;

    for (int parts = 0; parts < 4; parts++) {
        int number = 0;
        size_t first = i;
        if (parts && (i == text.size || text.data[i++] != '.'))
            return false;
        first = i;
        while (i < text.size && i < first + 3 && is_digit(text.data[i]))
            number = number * 10 + (text.data[i++] - '0');
        if (i == first || number > 255 || (i > first + 1 && text.data[first] == '0'))
            return false;
    }
    return i == text.size;
}

bool address_is_ipv6(lb_slice text)
{
    const char *at = text.data, *end = end_of(text);
    int groups = 0;
    bool gap = false;

    if (text.size < 2 || (at[0] == ':' && at[1] != ':'))
        return false;
    while (at < end) {
        if (*at == ':') { /* of a pair: the first was taken with the group before, or begins the text */
            if (gap)
                return false;
            gap = true;
            at += groups == 0 ? 2 : 1;
            if (at == end)
                break;
        }
        const char *group_end = find(at, end, ":");
        if (group_end == end && memchr(at, '.', (size_t)(end - at))) {
            groups += 2;
            if (!address_is_ipv4(part(at, end)))
                return false;
            at = end;
            break;
        }
        if (group_end == at || group_end - at > 4)
            return false;
        for (; at < group_end; at++)
            if (!address_is_hex(*at))
                return false;
        groups++;
        if (at < end && ++at == end)
            return false; /* one colon at the end */
    }
    return gap ? groups <= 7 : groups == 8;
}

static bool is_label(lb_slice label)
{
    if (label.size == 0 || label.size > 63 || label.data[0] == '-' || label.data[label.size - 1] == '-')
        return false;
    for (size_t i = 0; i < label.size; i++)
        if (!is_alphanumeric(label.data[i]) && label.data[i] != '-')
            return false;
    return true;
}

bool address_is_hostname(lb_slice text)
{
    const char *at = text.data, *end = end_of(text);

    if (text.size == 0 || text.size > 253)
        return false;
    for (;;) {
        const char *dot = find(at, end, ".");
        if (!is_label(part(at, dot)))
            return false;
        if (dot == end)
            return true;
        at = dot + 1;
    }
}

/* ---- Internationalised hosts ------------------------------------------------------------------------ */

static uint32_t next_character(const char **at, const char *end)
{
    unsigned char first = (unsigned char)*(*at)++;
    int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
    uint32_t c = more ? first & (0x3Fu >> more) : first;

    for (; more > 0 && *at < end; more--)
        c = c << 6 | ((unsigned char)*(*at)++ & 0x3Fu);
    return c;
}

typedef struct range {
    uint32_t first, last;
} range;

static bool is_within(uint32_t c, const range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* Symbols, punctuation, spaces, forms for compatibility, private use; and the exceptions of RFC 5892. */
static bool is_disallowed(uint32_t c)
{
    static const range ranges[] = {
        {0x80, 0xB6},        {0xB8, 0xBF},     {0xD7, 0xD7},     {0xF7, 0xF7},     {0x640, 0x640},
        {0x7FA, 0x7FA},      {0x2000, 0x200B}, {0x200E, 0x214D}, {0x214F, 0x2183}, {0x2185, 0x2BFF},
        {0x2E00, 0x2E2E},    {0x2E30, 0x2FFF}, {0x3000, 0x3004}, {0x3008, 0x3029}, {0x302E, 0x3035},
        {0x303B, 0x303B},    {0x303D, 0x3040}, {0xD800, 0xFA0D}, {0xFB00, 0xFE1F}, {0xFE30, 0xFFFF},
        {0xE0000, 0x10FFFF},
    };
    return is_within(c, ranges, sizeof ranges / sizeof *ranges);
}

static bool is_mark(uint32_t c) /* of the commonest blocks: a label begins with none */
{
    static const range ranges[] = {{0x300, 0x36F},   {0x483, 0x489},   {0x591, 0x5BD},   {0x610, 0x61A},
                                   {0x64B, 0x65F},   {0x900, 0x903},   {0x93A, 0x94F},   {0x1AB0, 0x1AFF},
                                   {0x1DC0, 0x1DFF}, {0x20D0, 0x20FF}, {0x302A, 0x302F}, {0x3099, 0x309A}};
    return is_within(c, ranges, sizeof ranges / sizeof *ranges);
}

static uint32_t adapted(uint32_t delta, uint32_t count, bool first)
{
    uint32_t k = 0;

    delta = first ? delta / 700 : delta / 2;
    for (delta += delta / count; delta > 455; k += 36)
        delta /= 35;
    return k + 36 * delta / (delta + 38);
}

/* The number of digits of one delta in Punycode (RFC 3492). */
static size_t digits_of(uint32_t delta, uint32_t bias)
{
    size_t digits = 1;

    for (uint32_t k = 36;; k += 36, digits++) {
        uint32_t threshold = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
        if (delta < threshold)
            return digits;
        delta = (delta - threshold) / (36 - threshold);
    }
}

/* The length of the label in Punycode with its prefix. At most 63 characters are given. */
static size_t punycode_size(const uint32_t *label, size_t count)
{
    uint32_t n = 0x80, delta = 0, bias = 72;
    size_t basic = 0, size;

    for (size_t i = 0; i < count; i++)
        basic += label[i] < 0x80;
    size = strlen("xn--") + basic + (basic > 0);
    for (uint32_t done = (uint32_t)basic; done < count; delta++, n++) {
        uint32_t next = UINT32_MAX;
        for (size_t i = 0; i < count; i++)
            if (label[i] >= n && label[i] < next)
                next = label[i];
        delta += (next - n) * (done + 1);
        n = next;
        for (size_t i = 0; i < count; i++) {
            delta += label[i] < n;
            if (label[i] != n)
                continue;
            size += digits_of(delta, bias);
            bias = adapted(delta, done + 1, done == basic);
            delta = 0;
            done++;
        }
    }
    return size;
}

static bool is_idn_label(lb_slice label)
{
    uint32_t characters[63];
    size_t count = 0;
    bool ascii = true;

    for (const char *at = label.data, *end = end_of(label); at < end;) {
        uint32_t c = next_character(&at, end);
        if (count == 63 || (c < 0x80 && !is_alphanumeric((char)c) && c != '-') || is_disallowed(c))
            return false;
        ascii = ascii && c < 0x80;
        characters[count++] = c;
    }
    if (ascii)
        return is_label(label);
    if (is_mark(characters[0]) || characters[0] == '-' || characters[count - 1] == '-')
        return false;
    if (count >= 4 && characters[2] == '-' && characters[3] == '-')
        return false;
    return punycode_size(characters, count) <= 63;
}

/* The dots of other scripts part labels too. */
static const char *label_end(const char *at, const char *end)
{
    for (; at < end; at++)
        if (*at == '.' ||
            (end - at >= 3 && (memcmp(at, "\xE3\x80\x82", 3) == 0 || memcmp(at, "\xEF\xBC\x8E", 3) == 0 ||
                               memcmp(at, "\xEF\xBD\xA1", 3) == 0)))
            return at;
    return end;
}

bool address_is_idn_hostname(lb_slice text)
{
    const char *at = text.data, *end = end_of(text);

    if (text.size == 0 || text.size > 1000)
        return false;
    for (;;) {
        const char *dot = label_end(at, end);
        if (!is_idn_label(part(at, dot)))
            return false;
        if (dot == end)
            return true;
        at = dot + (*dot == '.' ? 1 : 3);
    }
}

/* ---- E-mail ----------------------------------------------------------------------------------------- */

static bool is_local_part(lb_slice text, bool international)
{
    bool after_dot = true;

    if (text.size == 0 || text.size > 64)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '.' && after_dot)
            return false;
        if (c != '.' && !is_alphanumeric(c) && !is_one_of(c, "!#$%&'*+-/=?^_`{|}~") &&
            !(international && (unsigned char)c >= 0x80))
            return false;
        after_dot = c == '.';
    }
    return !after_dot;
}

static bool is_quoted_part(lb_slice text, bool international)
{
    if (text.size < 3 || text.size > 66 || text.data[0] != '"' || text.data[text.size - 1] != '"')
        return false;
    for (size_t i = 1; i < text.size - 1; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '\\' && ++i == text.size - 1)
            return false;
        if (c < ' ' || c == 0x7F || c == '"' || (c >= 0x80 && !international))
            return false;
    }
    return true;
}

static bool is_literal_address(lb_slice text)
{
    if (text.size < 2 || text.data[0] != '[' || text.data[text.size - 1] != ']')
        return false;
    lb_slice inner = {text.data + 1, text.size - 2};
    if (inner.size > 5 && memcmp(inner.data, "IPv6:", 5) == 0)
        return address_is_ipv6((lb_slice){inner.data + 5, inner.size - 5});
    return address_is_ipv4(inner);
}

static bool is_email(lb_slice text, bool international)
{
    size_t at = text.size;

    while (at > 0 && text.data[at - 1] != '@')
        at--;
    if (at == 0)
        return false;
    lb_slice local = {text.data, at - 1}, domain = {text.data + at, text.size - at};
    if (!is_local_part(local, international) && !is_quoted_part(local, international))
        return false;
    return is_literal_address(domain) ||
           (international ? address_is_idn_hostname(domain) : address_is_hostname(domain));
}

bool address_is_email(lb_slice text) { return is_email(text, false); }
bool address_is_idn_email(lb_slice text) { return is_email(text, true); }

/* ---- URIs ------------------------------------------------------------------------------------------- */

typedef struct uri {
    lb_slice scheme, authority, path, query, fragment; /* data NULL: absent */
} uri;

static size_t scheme_size(lb_slice text)
{
    size_t i = 0;

    if (!text.size || !is_letter(text.data[0]))
        return 0;
    while (i < text.size && (is_alphanumeric(text.data[i]) || is_one_of(text.data[i], "+-.")))
        i++;
    return i < text.size && text.data[i] == ':' ? i : 0;
}

static uri split(lb_slice text)
{
    uri u = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
    const char *at = text.data ? text.data : "", *end = at + text.size, *stop;
    size_t size = scheme_size(text);

    if (size) {
        u.scheme = part(at, at + size);
        at += size + 1;
    }
    if (end - at >= 2 && at[0] == '/' && at[1] == '/') {
        stop = find(at + 2, end, "/?#");
        u.authority = part(at + 2, stop);
        at = stop;
    }
    stop = find(at, end, "?#");
    u.path = part(at, stop);
    at = stop;
    if (at < end && *at == '?') {
        stop = find(at, end, "#");
        u.query = part(at + 1, stop);
        at = stop;
    }
    if (at < end)
        u.fragment = part(at + 1, end);
    return u;
}

/* Characters that may stand anywhere, those given, percent-encoded ones, and, in an IRI, others. */
static bool is_made_of(lb_slice text, const char *more, bool international)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '%') {
            if (text.size - i < 3 || !address_is_hex(text.data[i + 1]) || !address_is_hex(text.data[i + 2]))
                return false;
            i += 2;
        } else if (!is_alphanumeric(c) && !is_one_of(c, "-._~!$&'()*+,;=") && !is_one_of(c, more) &&
                   !(international && (unsigned char)c >= 0x80)) {
            return false;
        }
    }
    return true;
}

static bool is_future_address(lb_slice text)
{
    const char *dot = find(text.data, end_of(text), ".");

    if (text.size < 4 || !is_one_of(text.data[0], "vV") || dot - text.data < 2 || end_of(text) - dot < 2)
        return false;
    for (const char *at = text.data + 1; at < dot; at++)
        if (!address_is_hex(*at))
            return false;
    return !memchr(dot, '%', (size_t)(end_of(text) - dot)) &&
           is_made_of(part(dot + 1, end_of(text)), ":", false);
}

static bool is_authority(lb_slice text, bool international)
{
    const char *end = end_of(text), *user_end = find(text.data, end, "@"), *host = text.data;

    if (user_end < end) {
        if (!is_made_of(part(host, user_end), ":", international))
            return false;
        host = user_end + 1;
    }
    const char *port = find(host, end, ":");
    if (host < end && *host == '[') {
        const char *close = find(host, end, "]");
        if (close == end)
            return false;
        lb_slice address = part(host + 1, close);
        if (!address_is_ipv6(address) && !is_future_address(address))
            return false;
        port = close + 1;
        if (port < end && *port != ':')
            return false;
    } else if (!is_made_of(part(host, port), "", international)) {
        return false;
    }
    for (const char *at = port < end ? port + 1 : end; at < end; at++)
        if (!is_digit(*at))
            return false;
    return true;
}

static bool is_address(lb_slice text, bool needs_scheme, bool international)
{
    uri u = split(text);

    if (needs_scheme && !u.scheme.data)
        return false;
    if (!u.scheme.data && !u.authority.data) { /* a colon in the first segment would be a scheme's */
        const char *segment = find(u.path.data, end_of(u.path), "/");
        if (memchr(u.path.data, ':', (size_t)(segment - u.path.data)))
            return false;
    }
    return (!u.authority.data || is_authority(u.authority, international)) &&
           is_made_of(u.path, ":@/", international) && is_made_of(u.query, ":@/?", international) &&
           is_made_of(u.fragment, ":@/?", international);
}

bool address_is_uri(lb_slice text) { return is_address(text, true, false); }
bool address_is_uri_reference(lb_slice text) { return is_address(text, false, false); }
bool address_is_iri(lb_slice text) { return is_address(text, true, true); }
bool address_is_iri_reference(lb_slice text) { return is_address(text, false, true); }

/* ---- Resolution ------------------------------------------------------------------------------------- */

lb_slice address_fragment(lb_slice reference) { return split(reference).fragment; }

static bool next_is(const char *at, const char *end, const char *text)
{
    size_t size = strlen(text);
    return (size_t)(end - at) >= size && memcmp(at, text, size) == 0;
}

/* Removes "." and ".." segments from what was written since `start`. */
static void remove_dots(buffer *b, size_t start)
{
    const char *at = b->data + start, *end = b->data + b->size;
    char *out = b->data + start, *first = out;

    while (at < end) {
        const char *segment_end = at + 1;
        while (segment_end < end && *segment_end != '/')
            segment_end++;
        size_t size = (size_t)(segment_end - at);
        bool last = segment_end == end;
        if (size == 2 && next_is(at, end, "/.")) {
            if (last)
                *out++ = '/';
        } else if (size == 3 && next_is(at, end, "/..")) {
            while (out > first && *--out != '/')
                ;
            if (last)
                *out++ = '/';
        } else {
            memmove(out, at, size);
            out += size;
        }
        at = segment_end;
    }
    b->size = (size_t)(out - b->data);
}

static void add_path(buffer *b, const uri *base, const uri *reference)
{
    size_t start = b->size;

    if (reference->path.size == 0) {
        buffer_add(b, base->path.data, base->path.size);
    } else {
        if (reference->path.data[0] != '/') {
            size_t folder = base->path.size;
            while (folder > 0 && base->path.data[folder - 1] != '/')
                folder--;
            if (base->authority.data && base->path.size == 0)
                buffer_char(b, '/');
            buffer_add(b, base->path.data, folder);
        }
        buffer_add(b, reference->path.data, reference->path.size);
        if (!b->failed && b->size > start)
            remove_dots(b, start);
    }
}

lb_slice address_resolve(arena *memory, lb_slice base_text, lb_slice text)
{
    uri base = split(base_text), reference = split(text);
    buffer b = {0};
    const uri *from = &base;
    lb_slice result = {NULL, 0};

    if (reference.scheme.data || reference.authority.data)
        from = &reference;
    lb_slice scheme = reference.scheme.data ? reference.scheme : base.scheme;
    if (scheme.data) {
        buffer_add(&b, scheme.data, scheme.size);
        buffer_char(&b, ':');
    }
    if (from->authority.data) {
        buffer_literal(&b, "//");
        buffer_add(&b, from->authority.data, from->authority.size);
    }
    if (from == &reference)
        buffer_add(&b, reference.path.data, reference.path.size);
    else
        add_path(&b, &base, &reference);
    bool own_query = from == &reference || reference.path.size || reference.query.data;
    lb_slice query = own_query ? reference.query : base.query;
    if (query.data) {
        buffer_char(&b, '?');
        buffer_add(&b, query.data, query.size);
    }
    if (!b.failed)
        result = (lb_slice){arena_copy(memory, b.size ? b.data : "", b.size), b.size};
    buffer_free(&b);
    return result;
}
