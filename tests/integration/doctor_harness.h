/* What the tests of the doctor share: the findings of one diagnosis, and looking for one among them. */
#ifndef TESTS_DOCTOR_HARNESS_H
#define TESTS_DOCTOR_HARNESS_H

#include "worker.h"

#include <stdio.h>

enum { MOST_FINDINGS = 300 };

typedef struct findings {
    lb_finding list[MOST_FINDINGS];
    size_t count;
} findings; /* {0} is empty; findings_free it */

static inline char *copy_or_null(const char *text) { return text ? strdup(text) : NULL; }

static inline void keep_finding(const lb_finding *finding, void *data)
{
    findings *f = data;
    assert_true(f->count < MOST_FINDINGS);
    assert_non_null(finding->check);
    assert_non_null(finding->found);
    assert_null(strchr(finding->found, '\n'));
    f->list[f->count++] =
        (lb_finding){finding->level, copy_or_null(finding->check), copy_or_null(finding->found),
                     copy_or_null(finding->advice), copy_or_null(finding->place)};
}

static inline void findings_free(findings *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free((char *)(uintptr_t)f->list[i].check);
        free((char *)(uintptr_t)f->list[i].found);
        free((char *)(uintptr_t)f->list[i].advice);
        free((char *)(uintptr_t)f->list[i].place);
    }
    f->count = 0;
}

/* What is found in the place of this URL. */
static inline findings diagnose(const char *url, int check_timeout_ms)
{
    findings f = {0};
    lb_error error = {0};
    lb_bus *bus = lb_open(&(lb_options){.url = url, .service_name = "tests"}, &error);
    if (!bus)
        fail_msg("%s: %s", url, error.message);
    lb_diagnose(bus, check_timeout_ms, keep_finding, &f);
    lb_close(bus);
    return f;
}

static inline void print_findings(const findings *f)
{
    for (size_t i = 0; i < f->count; i++)
        fprintf(stderr, "  %d %s: %s -> %s\n", (int)f->list[i].level, f->list[i].check, f->list[i].found,
                f->list[i].advice ? f->list[i].advice : "");
}

static inline const lb_finding *find(const findings *f, lb_finding_level level, const char *check,
                                     const char *part)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].level == level && strcmp(f->list[i].check, check) == 0 && strstr(f->list[i].found, part))
            return &f->list[i];
    return NULL;
}

/* A finding with these parts is there; `advice` NULL: whatever is advised. */
static inline const lb_finding *assert_finding(const findings *f, lb_finding_level level, const char *check,
                                               const char *part, const char *advice)
{
    const lb_finding *found = find(f, level, check, part);
    if (!found) {
        print_findings(f);
        fail_msg("no finding of level %d about %s with \"%s\"", (int)level, check, part);
    }
    if (advice && (!found->advice || !strstr(found->advice, advice)))
        fail_msg("\"%s\" is not advised: %s", advice, found->advice ? found->advice : "(nothing)");
    return found;
}

/* Nothing is worse than `level` but, where it is not NULL, what is found about `except`. */
static inline void assert_at_most(const findings *f, lb_finding_level level, const char *except)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].level > level && !(except && strcmp(f->list[i].check, except) == 0)) {
            print_findings(f);
            fail_msg("found about %s: %s", f->list[i].check, f->list[i].found);
        }
}

/* Diagnoses a URL once, and expects one finding. */
static inline void expect(const char *url, lb_finding_level level, const char *check, const char *part,
                          const char *advice)
{
    findings f = diagnose(url, 0);
    assert_finding(&f, level, check, part, advice);
    findings_free(&f);
}

#endif
