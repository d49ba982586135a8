/* Reads the words that stand for values. What is not written in capitals is meant literally, COMMAND aside. */
#include "values.h"

#include "../config/options.h"

#include <ctype.h>
#include <string.h>

#define LIST_END      "[,...]"
#define LIST_END_SIZE (sizeof LIST_END - 1)

static void add_word(value_word *v, lb_slice word)
{
    size_t used = strlen(v->text);

    if (used + word.size + 2 <= sizeof v->text)
        snprintf(v->text + used, sizeof v->text - used, "%s%.*s", used ? " " : "", (int)word.size, word.data);
}

/* COMMAND stands for the names of all commands. */
static void add_choice(value_word *v, lb_slice word)
{
    if (!slice_is(word, "COMMAND")) {
        add_word(v, word);
        return;
    }
    for (const command *const *c = cli_commands; *c; c++)
        add_word(v, slice_of((*c)->name));
}

static void add_choices(value_word *v, lb_slice choices, char separator)
{
    while (choices.size) {
        const char *end = memchr(choices.data, separator, choices.size);
        size_t size = end ? (size_t)(end - choices.data) : choices.size;
        add_choice(v, (lb_slice){choices.data, size});
        size += end != NULL;
        choices = (lb_slice){choices.data + size, choices.size - size};
    }
}

static bool is_one_of(lb_slice word, const char *const *names)
{
    for (; *names; names++)
        if (slice_is(word, *names))
            return true;
    return false;
}

static bool ends_a_list(lb_slice word)
{
    return word.size > LIST_END_SIZE &&
           memcmp(word.data + word.size - LIST_END_SIZE, LIST_END, LIST_END_SIZE) == 0;
}

static bool is_literal(lb_slice word)
{
    for (size_t i = 0; i < word.size; i++)
        if (isupper((unsigned char)word.data[i]))
            return false;
    return word.size > 0;
}

static value_word read_word(lb_slice word)
{
    static const char *const files[] = {"FILE", "PATH", "OLD", "NEW", NULL};
    static const char *const names[] = {"API", "EVENT", "API.PROCEDURE", "API.EVENT", "NAME=VALUE", NULL};
    value_word v = {.kind = VALUE_OTHER};

    snprintf(v.word, sizeof v.word, "%.*s", (int)word.size, word.data);
    if (is_one_of(word, files)) {
        v.kind = VALUE_FILE;
    } else if (slice_is(word, "FOLDER")) {
        v.kind = VALUE_FOLDER;
    } else if (is_one_of(word, names)) {
        v.kind = VALUE_NAME;
        add_word(&v, word);
    } else if (ends_a_list(word)) {
        v.kind = VALUE_LIST;
        add_choices(&v, (lb_slice){word.data, word.size - LIST_END_SIZE}, '|');
    } else if (is_literal(word) || slice_is(word, "COMMAND") || memchr(word.data, '|', word.size)) {
        v.kind = VALUE_WORDS;
        add_choices(&v, word, '|');
    }
    return v;
}

value_word value_of_flag(const flag *f)
{
    value_word v = read_word(slice_of(flag_value(f)));
    const option *o = f->help ? NULL : option_of_flag(f->name);

    if (o && o->kind == OPTION_CHOICE) {
        v.kind = VALUE_WORDS;
        add_choices(&v, slice_of(o->choices), ' ');
    }
    return v;
}

/* The next word of a usage; brackets around it are left out, and "a | b" is one word. Empty after the last. */
static lb_slice next_word(const char **at, char word[256])
{
    size_t size = 0;

    do {
        *at += strspn(*at, " ");
        size_t part = strcspn(*at, " ");
        for (size_t i = 0; i < part && size < 255; i++)
            word[size++] = (*at)[i];
        *at += part;
    } while (size && (word[size - 1] == '|' || (*at)[strspn(*at, " ")] == '|'));
    word[size] = '\0';
    if (size && word[size - 1] == ']' && !ends_a_list((lb_slice){word, size}))
        size--;
    return word[0] == '[' ? (lb_slice){word + 1, size - 1} : (lb_slice){word, size};
}

bool value_of_argument(const command *c, size_t place, value_word *value, bool *repeats)
{
    const char *at = c->arguments;
    char text[256];
    lb_slice word = next_word(&at, text);

    for (size_t here = 1; word.size && here < place; here++)
        word = next_word(&at, text);
    if (!word.size || slice_is(word, "..."))
        return false;
    *value = read_word(word);
    *repeats = slice_is(next_word(&at, text), "...");
    return true;
}
