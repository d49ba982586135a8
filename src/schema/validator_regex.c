/* Compiling and running regular expressions. Callouts of PCRE2, which the translation puts into the pattern,
 * count the work: one step, and one for every 16 bytes between the last callout's place in the text and this
 * one's. What happens between two callouts is bounded by the largest gap of the pattern and, where there are
 * back references, by the text; it is charged with the callout. PCRE2's own match limit counts anew at every
 * start, so it bounds less. No JIT: it would cost memory for every pattern, while messages are short. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "validator_regex.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_HEAP_KIB 32768 /* for backtracking, per match */

struct regex {
    pcre2_code *code;
    lb_slice pattern;
    int64_t hidden_cost; /* of the work between two callouts, at most */
    bool refers_back;
};

struct regex_memory {
    pcre2_match_data *data;
    pcre2_match_context *context;
};

/* ---- Compiling -------------------------------------------------------------------------------------- */

static void *take(size_t size, void *memory) { return arena_alloc(memory, size); }

static void keep(void *block, void *memory)
{
    (void)block;
    (void)memory; /* goes with the arena */
}

static pcre2_code *compile(arena *memory, const buffer *translated, char *problem, size_t problem_size)
{
    pcre2_general_context *general = pcre2_general_context_create(take, keep, memory);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    const uint32_t options =
        PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C;
    int code = 0;
    PCRE2_SIZE at = 0;

    if (!context) {
        snprintf(problem, problem_size, "out of memory");
        return NULL;
    }
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)translated->data, translated->size, options, &code, &at, context);
    if (!compiled)
        pcre2_get_error_message(code, (PCRE2_UCHAR *)problem, problem_size);
    return compiled;
}

const regex *regex_compile(arena *memory, lb_slice pattern, char *problem, size_t problem_size)
{
    buffer translated = {0};
    size_t largest_gap = 0;
    uint32_t back_references = 0;
    regex *r = NULL;

    if (pattern.size > REGEX_MOST_BYTES) {
        snprintf(problem, problem_size, "it is longer than %d bytes", REGEX_MOST_BYTES);
        return NULL;
    }
    if (!regex_translate(pattern, &translated, &largest_gap, problem, problem_size))
        goto out;
    if (!buffer_text(&translated)) {
        snprintf(problem, problem_size, "out of memory");
        goto out;
    }
    pcre2_code *code = compile(memory, &translated, problem, problem_size);
    if (!code)
        goto out;
    r = arena_alloc(memory, sizeof *r);
    if (!r) {
        snprintf(problem, problem_size, "out of memory");
        goto out;
    }
    pcre2_pattern_info(code, PCRE2_INFO_BACKREFMAX, &back_references);
    *r = (regex){.code = code,
                 .pattern = pattern,
                 .hidden_cost = 1 + (int64_t)largest_gap / 16,
                 .refers_back = back_references > 0};
out:
    buffer_free(&translated);
    return r;
}

lb_slice regex_pattern(const regex *r) { return r->pattern; }

/* ---- Running ---------------------------------------------------------------------------------------- */

typedef struct meter {
    int64_t steps, cost; /* left, and per callout */
    size_t place;        /* of the last callout, in the text */
} meter;

static int count_work(pcre2_callout_block *block, void *data)
{
    meter *m = data;
    size_t place = block->current_position;

    m->steps -= m->cost + (int64_t)((place > m->place ? place - m->place : m->place - place) / 16);
    m->place = place;
    return m->steps > 0 ? 0 : PCRE2_ERROR_CALLOUT;
}

static bool prepare(regex_run *run)
{
    struct regex_memory *m = calloc(1, sizeof *m);

    if (!m)
        return false;
    run->memory = m;
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    if (!m->data || !m->context)
        return false;
    pcre2_set_heap_limit(m->context, MOST_HEAP_KIB);
    return true;
}

regex_result regex_search(const regex *r, lb_slice text, regex_run *run)
{
    meter m = {.steps = run->steps - (int64_t)(text.size / 16), .cost = r->hidden_cost};

    if (!run->memory && !prepare(run))
        return REGEX_NO_MEMORY;
    if (!run->memory->context || !run->memory->data)
        return REGEX_NO_MEMORY;
    if (r->refers_back)
        m.cost += (int64_t)(text.size / 16);
    pcre2_set_callout(run->memory->context, count_work, &m);
    int result = pcre2_match(r->code, (PCRE2_SPTR)(text.data ? text.data : ""), text.size, 0, 0,
                             run->memory->data, run->memory->context);
    run->steps = m.steps > 0 ? m.steps : 0;
    if (result >= 0)
        return REGEX_MATCHES;
    if (result == PCRE2_ERROR_NOMATCH)
        return REGEX_DIFFERS;
    return result == PCRE2_ERROR_NOMEMORY ? REGEX_NO_MEMORY : REGEX_EXHAUSTED;
}

void regex_run_end(regex_run *run)
{
    if (!run->memory)
        return;
    pcre2_match_data_free(run->memory->data);
    pcre2_match_context_free(run->memory->context);
    free(run->memory);
    run->memory = NULL;
}
