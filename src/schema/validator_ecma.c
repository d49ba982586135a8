/* ECMA-262 regular expressions, translated to PCRE2. Everything is parsed and written anew, so that nothing of
 * PCRE2's own syntax (verbs, possessive quantifiers, POSIX classes, options) gets through. The grammar is that
 * of the flag "u", except that "{", "}", "]" may stand for themselves, and that any punctuation may be escaped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/json.h"
#include "validator_regex.h"

#define LAST_CHARACTER  0x10FFFF
#define FIRST_SURROGATE 0xD800
#define LAST_SURROGATE  0xDFFF

/* What may be repeated: the last thing written. */
typedef enum atom { ATOM_NONE, ATOM_ASSERTION, ATOM_SOLID } atom;

typedef struct translation {
    const char *at, *end;
    buffer *out;
    size_t largest_gap, repeat; /* `repeat`: of the quantifier at hand */
    const char *mark;           /* where the last callout stands */
    int groups_open;
    atom last;
    char *problem;
    size_t problem_size;
} translation;

static const char white_space[] = "\\x{9}-\\x{d}\\x{20}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"
                                  "\\x{202f}\\x{205f}\\x{3000}\\x{feff}";
static const char black_space[] =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"
    "\\x{3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}";

/* A callout, which counts the work that was done since the last one. */
static void write_mark(translation *t)
{
    size_t gap = (size_t)(t->at - t->mark);

    if (gap > t->largest_gap)
        t->largest_gap = gap;
    t->mark = t->at;
    buffer_literal(t->out, "(?C)");
}

static bool wrong(translation *t, const char *problem)
{
    snprintf(t->problem, t->problem_size, "%s", problem);
    return false;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool ahead(const translation *t, char c) { return t->at < t->end && *t->at == c; }
static bool ahead_text(const translation *t, const char *text)
{
    size_t size = strlen(text);
    return (size_t)(t->end - t->at) >= size && memcmp(t->at, text, size) == 0;
}

/* A character as PCRE2 takes it anywhere, in a class too. */
static void write_character(translation *t, uint32_t c)
{
    if (c < 0x80 && (is_letter((char)c) || is_digit((char)c)))
        buffer_char(t->out, (char)c);
    else
        buffer_printf(t->out, "\\x{%x}", (unsigned)c);
}

/* The next character of the pattern, which is UTF-8. */
static uint32_t take_character(translation *t)
{
    unsigned char first = (unsigned char)*t->at++;
    int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
    uint32_t c = more ? first & (0x3Fu >> more) : first;

    for (; more > 0 && t->at < t->end; more--)
        c = c << 6 | ((unsigned char)*t->at++ & 0x3Fu);
    return c;
}

/* ---- Escapes ---------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool take_hex(translation *t, int count, uint32_t *c)
{
    if (t->end - t->at < count)
        return false;
    *c = 0;
    for (int i = 0; i < count; i++) {
        int digit = hex_digit(t->at[i]);
        if (digit < 0)
            return false;
        *c = *c << 4 | (uint32_t)digit;
    }
    t->at += count;
    return true;
}

/* After "\u": four digits, two times four that make a pair of surrogates, or digits in braces. */
static bool take_unicode(translation *t, uint32_t *c)
{
    static const char problem[] = "\\u needs four hexadecimal digits, or some in braces";
    uint32_t low;

    if (!ahead(t, '{')) {
        if (!take_hex(t, 4, c))
            return wrong(t, problem);
        const char *back = t->at;
        if (*c < FIRST_SURROGATE || *c >= 0xDC00 || !ahead_text(t, "\\u"))
            return true;
        t->at += 2;
        if (take_hex(t, 4, &low) && low >= 0xDC00 && low <= LAST_SURROGATE)
            *c = 0x10000 + ((*c - FIRST_SURROGATE) << 10) + (low - 0xDC00);
        else
            t->at = back;
        return true;
    }
    const char *first = ++t->at;
    for (*c = 0; t->at < t->end && hex_digit(*t->at) >= 0; t->at++) {
        *c = *c << 4 | (uint32_t)hex_digit(*t->at);
        if (*c > LAST_CHARACTER)
            return wrong(t, "\\u{...} is beyond the last character");
    }
    if (t->at == first || !ahead(t, '}'))
        return wrong(t, problem);
    t->at++;
    return true;
}

/* The character that an escape stands for, its backslash taken. */
static bool take_escaped(translation *t, uint32_t *c)
{
    static const char names[] = "tnvfr", characters[] = "\t\n\v\f\r";

    if (t->at == t->end)
        return wrong(t, "it ends with a backslash");
    const char *name = strchr(names, *t->at);
    if (name && *t->at) {
        t->at++;
        *c = (unsigned char)characters[name - names];
        return true;
    }
    if (ahead(t, '0') && !(t->at + 1 < t->end && is_digit(t->at[1]))) {
        t->at++;
        *c = 0;
        return true;
    }
    if (ahead(t, 'c')) {
        if (t->end - t->at < 2 || !is_letter(t->at[1]))
            return wrong(t, "\\c needs a letter");
        *c = (uint32_t)t->at[1] & 31;
        t->at += 2;
        return true;
    }
    if (ahead(t, 'x')) {
        t->at++;
        return take_hex(t, 2, c) || wrong(t, "\\x needs two hexadecimal digits");
    }
    if (ahead(t, 'u')) {
        t->at++;
        return take_unicode(t, c);
    }
    if (is_letter(*t->at) || is_digit(*t->at)) {
        snprintf(t->problem, t->problem_size, "\\%c is no escape of ECMA-262", *t->at);
        return false;
    }
    *c = take_character(t);
    return true;
}

static const char *category(lb_slice name)
{
    static const struct {
        const char *name, *letters;
    } known[] = {
        {"Letter", "L"},
        {"Cased_Letter", "L&"},
        {"LC", "L&"},
        {"Uppercase_Letter", "Lu"},
        {"Lowercase_Letter", "Ll"},
        {"Titlecase_Letter", "Lt"},
        {"Modifier_Letter", "Lm"},
        {"Other_Letter", "Lo"},
        {"Mark", "M"},
        {"Combining_Mark", "M"},
        {"Nonspacing_Mark", "Mn"},
        {"Spacing_Mark", "Mc"},
        {"Enclosing_Mark", "Me"},
        {"Number", "N"},
        {"Decimal_Number", "Nd"},
        {"digit", "Nd"},
        {"Letter_Number", "Nl"},
        {"Other_Number", "No"},
        {"Punctuation", "P"},
        {"punct", "P"},
        {"Connector_Punctuation", "Pc"},
        {"Dash_Punctuation", "Pd"},
        {"Open_Punctuation", "Ps"},
        {"Close_Punctuation", "Pe"},
        {"Initial_Punctuation", "Pi"},
        {"Final_Punctuation", "Pf"},
        {"Other_Punctuation", "Po"},
        {"Symbol", "S"},
        {"Math_Symbol", "Sm"},
        {"Currency_Symbol", "Sc"},
        {"Modifier_Symbol", "Sk"},
        {"Other_Symbol", "So"},
        {"Separator", "Z"},
        {"Space_Separator", "Zs"},
        {"Line_Separator", "Zl"},
        {"Paragraph_Separator", "Zp"},
        {"Other", "C"},
        {"Control", "Cc"},
        {"cntrl", "Cc"},
        {"Format", "Cf"},
        {"Surrogate", "Cs"},
        {"Private_Use", "Co"},
        {"Unassigned", "Cn"},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slice_is(name, known[i].name))
            return known[i].letters;
    return NULL;
}

static bool starts_with(lb_slice text, const char *start)
{
    return text.size >= strlen(start) && memcmp(text.data, start, strlen(start)) == 0;
}

static lb_slice without(lb_slice text, size_t size) { return (lb_slice){text.data + size, text.size - size}; }

/* \p{...} and \P{...}, the letter taken. */
static bool write_property(translation *t, bool negated)
{
    const char *close = ahead(t, '{') ? memchr(t->at, '}', (size_t)(t->end - t->at)) : NULL;

    if (!close)
        return wrong(t, "\\p needs a name in braces");
    lb_slice name = {t->at + 1, (size_t)(close - t->at - 1)};
    t->at = close + 1;
    const char *prefix = "";
    if (starts_with(name, "General_Category="))
        name = without(name, strlen("General_Category="));
    else if (starts_with(name, "gc="))
        name = without(name, strlen("gc="));
    else if (starts_with(name, "Script="))
        name = without(name, strlen("Script=")), prefix = "sc:";
    else if (starts_with(name, "sc="))
        name = without(name, strlen("sc=")), prefix = "sc:";
    else if (starts_with(name, "Script_Extensions="))
        name = without(name, strlen("Script_Extensions=")), prefix = "scx:";
    else if (starts_with(name, "scx="))
        name = without(name, strlen("scx=")), prefix = "scx:";
    for (size_t i = 0; i < name.size; i++)
        if (!is_letter(name.data[i]) && !is_digit(name.data[i]) && name.data[i] != '_')
            return wrong(t, "\\p{...} names no property");
    if (slice_is(name, "Assigned")) {
        buffer_str(t->out, negated ? "\\p{Cn}" : "\\P{Cn}");
        return true;
    }
    const char *letters = *prefix ? NULL : category(name);
    buffer_printf(t->out, "\\%c{%s%.*s}", negated ? 'P' : 'p', prefix,
                  (int)(letters ? strlen(letters) : name.size), letters ? letters : name.data);
    return true;
}

/* \d \w \s \p and their opposites, the backslash taken. 0: none of them; -1: a wrong one. */
static int take_set(translation *t, bool in_class)
{
    char c = t->at < t->end ? *t->at : '\0';

    switch (c) {
    case 'd':
    case 'D':
    case 'w':
    case 'W': /* without UCP these are of ASCII in PCRE2, as ECMA-262 has them */
        t->at++;
        buffer_printf(t->out, "\\%c", c);
        return 1;
    case 's':
    case 'S':
        t->at++;
        buffer_str(t->out, in_class ? "" : "[");
        buffer_str(t->out, c == 's' ? white_space : black_space);
        buffer_str(t->out, in_class ? "" : "]");
        return 1;
    case 'p':
    case 'P':
        t->at++;
        return write_property(t, c == 'P') ? 1 : -1;
    default:
        return 0;
    }
}

/* ---- Classes ---------------------------------------------------------------------------------------- */

/* A member of a class: a character, or a set that has been written. */
static bool take_member(translation *t, uint32_t *c, bool *is_set)
{
    *is_set = false;
    if (!ahead(t, '\\')) {
        *c = take_character(t);
        return true;
    }
    t->at++;
    int set = take_set(t, true);
    if (set) {
        *is_set = true;
        return set > 0;
    }
    if (ahead(t, 'b')) {
        t->at++;
        *c = '\b';
        return true;
    }
    return take_escaped(t, c);
}

/* Texts hold no surrogates, and PCRE2 knows none: they are cut out. */
static void write_range(translation *t, uint32_t first, uint32_t last)
{
    if (first >= FIRST_SURROGATE && first <= LAST_SURROGATE)
        first = LAST_SURROGATE + 1;
    if (last >= FIRST_SURROGATE && last <= LAST_SURROGATE)
        last = FIRST_SURROGATE - 1;
    if (first > last)
        return;
    write_character(t, first);
    if (first == last)
        return;
    buffer_char(t->out, '-');
    write_character(t, last);
}

static bool write_members(translation *t)
{
    uint32_t first, last;
    bool is_set;

    while (t->at < t->end && *t->at != ']') {
        if (!take_member(t, &first, &is_set))
            return false;
        bool range = t->end - t->at >= 2 && *t->at == '-' && t->at[1] != ']';
        if (is_set && range)
            return wrong(t, "a range begins with a set of characters");
        if (is_set)
            continue;
        last = first;
        if (range) {
            t->at++;
            if (!take_member(t, &last, &is_set))
                return false;
            if (is_set)
                return wrong(t, "a range ends with a set of characters");
            if (first > last)
                return wrong(t, "the ends of a range are out of order");
        }
        write_range(t, first, last);
    }
    if (t->at == t->end)
        return wrong(t, "a class is not closed");
    t->at++;
    return true;
}

/* After "[". */
static bool write_class(translation *t)
{
    bool negated = ahead(t, '^');
    size_t start = t->out->size;

    t->at += negated;
    buffer_str(t->out, negated ? "[^" : "[");
    size_t empty = t->out->size;
    if (!write_members(t))
        return false;
    if (t->out->size == empty) { /* nothing, and anything */
        t->out->size = start;
        buffer_str(t->out, negated ? "(?s:.)" : "(?!)");
    } else {
        buffer_char(t->out, ']');
    }
    t->last = ATOM_SOLID;
    return true;
}

/* ---- Groups and quantifiers ------------------------------------------------------------------------- */

/* A name of a group, and what closes it. */
static bool write_name(translation *t, char close)
{
    const char *first = t->at;

    while (t->at < t->end && (is_letter(*t->at) || *t->at == '_' || (t->at > first && is_digit(*t->at))))
        t->at++;
    if (t->at == first || !ahead(t, close))
        return wrong(t, "the name of a group is not letters, digits and \"_\"");
    buffer_add(t->out, first, (size_t)(t->at - first));
    buffer_char(t->out, close);
    t->at++;
    return true;
}

/* After "(". */
static bool write_group(translation *t)
{
    static const char *const plain[] = {"?:", "?=", "?!", "?<=", "?<!"};

    buffer_char(t->out, '(');
    t->groups_open++;
    t->last = ATOM_NONE;
    if (!ahead(t, '?')) {
        write_mark(t);
        return true;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (ahead_text(t, plain[i])) {
            buffer_str(t->out, plain[i]);
            t->at += strlen(plain[i]);
            write_mark(t);
            return true;
        }
    if (!ahead_text(t, "?<"))
        return wrong(t, "\"(?\" begins no group of ECMA-262");
    buffer_str(t->out, "?<");
    t->at += 2;
    if (!write_name(t, '>'))
        return false;
    write_mark(t);
    return true;
}

static bool take_number(translation *t, size_t *number)
{
    const char *first = t->at;

    for (*number = 0; t->at < t->end && is_digit(*t->at); t->at++)
        if (*number < 1000000)
            *number = *number * 10 + (size_t)(*t->at - '0');
    return t->at > first;
}

/* {n}, {n,} and {n,m}; anything else in braces stands for itself. */
static bool take_braces(translation *t)
{
    const char *back = t->at++;
    size_t least, most = 0;

    if (!take_number(t, &least))
        goto literal;
    if (ahead(t, ',')) {
        t->at++;
        take_number(t, &most);
    }
    if (!ahead(t, '}'))
        goto literal;
    t->at++;
    t->repeat = least > most ? least : most;
    return true;
literal:
    t->at = back;
    return false;
}

static bool write_quantifier(translation *t, const char *start)
{
    if (t->last != ATOM_SOLID)
        return wrong(t, "there is nothing to repeat before a quantifier");
    if (t->repeat > t->largest_gap)
        t->largest_gap = t->repeat;
    buffer_add(t->out, start, (size_t)(t->at - start));
    if (ahead(t, '?')) {
        buffer_char(t->out, '?');
        t->at++;
    }
    write_mark(t);
    t->last = ATOM_NONE;
    return true;
}

/* ---- The whole -------------------------------------------------------------------------------------- */

/* After a backslash, outside of classes. */
static bool write_escape(translation *t)
{
    uint32_t c;
    size_t number;
    int set = take_set(t, false);

    t->last = ATOM_SOLID;
    if (set)
        return set > 0;
    if (ahead(t, 'b') || ahead(t, 'B')) {
        buffer_printf(t->out, "\\%c", *t->at++);
        t->last = ATOM_ASSERTION;
        return true;
    }
    if (ahead_text(t, "k<")) {
        t->at += 2;
        buffer_str(t->out, "\\k<");
        return write_name(t, '>');
    }
    if (t->at < t->end && *t->at >= '1' && *t->at <= '9') {
        take_number(t, &number);
        buffer_printf(t->out, "\\g{%zu}", number);
        return true;
    }
    if (!take_escaped(t, &c))
        return false;
    if (c >= FIRST_SURROGATE && c <= LAST_SURROGATE)
        buffer_literal(t->out, "(?!)");
    else
        write_character(t, c);
    return true;
}

static bool write_next(translation *t)
{
    const char *start = t->at;

    t->repeat = 0;
    if (*start == '{' && take_braces(t))
        return write_quantifier(t, start);
    switch (*start) {
    case '\\':
        t->at++;
        return write_escape(t);
    case '[':
        t->at++;
        return write_class(t);
    case '(':
        t->at++;
        return write_group(t);
    case ')':
        if (t->groups_open-- == 0)
            return wrong(t, "a \")\" has no \"(\"");
        t->at++;
        buffer_char(t->out, ')');
        t->last = ATOM_SOLID;
        return true;
    case '*':
    case '+':
    case '?':
        t->at++;
        return write_quantifier(t, start);
    case '^':
    case '$':
    case '|':
        buffer_char(t->out, *t->at++);
        t->last = *start == '|' ? ATOM_NONE : ATOM_ASSERTION;
        if (*start == '|')
            write_mark(t);
        return true;
    case '.':
        t->at++;
        buffer_literal(t->out, "[^\\n\\r\\x{2028}\\x{2029}]");
        t->last = ATOM_SOLID;
        return true;
    default:
        write_character(t, take_character(t));
        t->last = ATOM_SOLID;
        return true;
    }
}

bool regex_translate(lb_slice pattern, buffer *out, size_t *largest_gap, char *problem, size_t problem_size)
{
    translation t = {.at = pattern.data,
                     .end = pattern.data + pattern.size,
                     .mark = pattern.data,
                     .out = out,
                     .problem = problem,
                     .problem_size = problem_size};

    write_mark(&t);
    while (t.at < t.end)
        if (!write_next(&t))
            return false;
    write_mark(&t);
    if (t.groups_open)
        return wrong(&t, "a \"(\" has no \")\"");
    *largest_gap = t.largest_gap;
    return true;
}
