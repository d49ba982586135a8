/* lightbus deadletters: what listeners have given up (S13). Lists it, shows it, hands it to them again, forgets
 * it. What is to be done with one letter is done at once, or not at all. */
#include "deadletters.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../base/clock.h"
#include "inspect.h"
#include "text.h"

/* ---- Finding ---------------------------------------------------------------------------------------- */

lb_history *dead_letters_open(const dead_letters *d, const char *from, const char *to, unsigned flags,
                              lb_error *error)
{
    const lb_history_options options = {
        .from = from, .to = to && *to ? to : NULL, .flags = flags | LB_HISTORY_DEAD_LETTERS};
    return lb_history_open(d->bus, d->in->event, &options, error);
}

lb_status dead_letters_next(const dead_letters *d, lb_history *history, const lb_event **event, lb_error *error)
{
    lb_status status;
    do
        status = lb_history_next(history, event, error);
    while (status == LB_OK && *event && d->in->group && strcmp(lb_event_dead_group(*event), d->in->group) != 0);
    return status;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static void measure(dead_letters *d, dead_survey *s, const lb_event *event)
{
    const char *id = lb_event_dead_id(event);
    if (!s->count++) /* newest first */
        snprintf(d->to, sizeof d->to, "%.*s", (int)strspn(id, "0123456789"), id);
    s->id = larger(s->id, text_columns(id));
    s->event = larger(s->event, text_columns(lb_event_api(event)) + 1 + text_columns(lb_event_name(event)));
    s->group = larger(s->group, text_columns(lb_event_dead_group(event)));
}

lb_status dead_letters_survey(dead_letters *d, dead_survey *survey, lb_error *error)
{
    const lb_event *event = NULL;
    *survey = (dead_survey){.id = strlen("ID"), .event = strlen("EVENT"), .group = strlen("GROUP")};
    lb_history *h = dead_letters_open(d, NULL, d->to, 0, error);
    lb_status status = h ? LB_OK : error->status;
    while (status == LB_OK && (status = dead_letters_next(d, h, &event, error)) == LB_OK && event)
        measure(d, survey, event);
    lb_history_close(h);
    return status;
}

/* The next letter of this id in a history that was opened for it. */
static lb_status next_of_id(const dead_letters *d, lb_history *h, const char *id, const lb_event **event,
                            lb_error *error)
{
    lb_status status;
    do
        status = dead_letters_next(d, h, event, error);
    while (status == LB_OK && *event && strcmp(lb_event_dead_id(*event), id) != 0);
    return status;
}

static lb_status no_letter(const char *id, lb_error *error)
{
    return lb_error_set(error, LB_GONE, "no dead letter \"%.60s\"", id);
}

static lb_history *open_id(const dead_letters *d, const char *id, lb_error *error)
{
    lb_history *h = dead_letters_open(d, id, id, LB_HISTORY_OLDEST_FIRST, error);
    if (!h && error->status == LB_CONFIG)
        no_letter(id, error); /* it does not look like one */
    return h;
}

/* Prints an error, and returns the exit code. */
static int trouble(const dead_letters *d, const lb_error *error)
{
    return error->status == LB_INVALID_NAME ? usage_error(d->in, "--event: %s", error->message)
                                            : failure(d->in, error);
}

/* ---- Show ------------------------------------------------------------------------------------------- */

/* Those of this id: streams number their letters on their own. */
static lb_status show_id(const dead_letters *d, inspect_printer *p, const char *id, lb_error *error)
{
    const lb_event *event;
    size_t shown = 0;
    lb_history *h = open_id(d, id, error);
    lb_status status = h ? LB_OK : error->status;
    while (status == LB_OK && (status = next_of_id(d, h, id, &event, error)) == LB_OK && event) {
        shown++;
        if (!inspect_print(p, h, event))
            status = lb_error_set(error, LB_NO_MEMORY, "out of memory");
    }
    if (status == LB_OK && !shown)
        status = no_letter(id, error);
    lb_history_close(h);
    return status;
}

static int show(dead_letters *d, char *const *ids, size_t count)
{
    inspect_printer p = {.format = d->in->json ? FORMAT_JSON : FORMAT_HUMAN,
                         .for_people = isatty(STDOUT_FILENO),
                         .colours = colours_for(stdout)};
    int code = CLI_OK;
    for (size_t i = 0; i < count; i++) {
        lb_error error = {0};
        if (show_id(d, &p, ids[i], &error) != LB_OK)
            code = trouble(d, &error);
    }
    buffer_free(&p.out);
    return finish_output(d->in) == CLI_OK ? code : CLI_FAILURE;
}

static int list(dead_letters *d, char *const *ids, size_t count)
{
    lb_error error = {0};
    (void)ids;
    (void)count;
    return dead_letters_list(d, &error) == LB_OK ? finish_output(d->in) : trouble(d, &error);
}

/* ---- Replay and purge ------------------------------------------------------------------------------- */

enum { PROGRESS_MS = 100 };

typedef struct work {
    dead_letters *d;
    bool purge;
    size_t done, failed, all;
    int64_t progress_at; /* INT64_MAX: there is nobody to see it */
    bool shown;
} work;

static void clear_progress(work *w)
{
    if (w->shown)
        fputs("\r\033[K", stderr);
    fflush(stderr); /* before what stdout prints */
    w->shown = false;
}

static void show_progress(work *w)
{
    int64_t now = clock_now();
    if (now < w->progress_at)
        return;
    fprintf(stderr, "\r\033[K%zu of %zu", w->done + w->failed, w->all);
    fflush(stderr);
    w->shown = true;
    w->progress_at = now + PROGRESS_MS * CLOCK_MS;
}

static void tell_failure(work *w, const lb_error *error)
{
    w->failed++;
    clear_progress(w);
    failure(w->d->in, error);
}

/* The letter last given. What is wrong with it alone is told, and the work goes on; else that is a failure. */
static lb_status act(work *w, lb_history *h, lb_error *error)
{
    lb_error why = {0};
    lb_status status = w->purge ? lb_dead_letter_purge(h, &why)
                                : lb_dead_letter_replay(h, w->d->in->fire_again ? LB_REPLAY_FIRE : 0, &why);
    if (status == LB_GONE || status == LB_MALFORMED)
        tell_failure(w, &why);
    else if (status == LB_OK)
        w->done++;
    else
        *error = why;
    show_progress(w);
    return status == LB_GONE || status == LB_MALFORMED ? LB_OK : status;
}

/* Is there one letter of this id, and one only? */
static lb_status check_id(const dead_letters *d, const char *id, lb_error *error)
{
    const lb_event *event = NULL;
    size_t found = 0;
    lb_history *h = open_id(d, id, error);
    lb_status status = h ? LB_OK : error->status;
    while (status == LB_OK && (status = next_of_id(d, h, id, &event, error)) == LB_OK && event)
        found++;
    lb_history_close(h);
    if (status != LB_OK || found == 1)
        return status;
    return found ? lb_error_set(error, LB_GONE,
                                "%zu dead letters have the id %s: say which with --event or --group", found, id)
                 : no_letter(id, error);
}

static lb_status act_on_id(work *w, const char *id, lb_error *error)
{
    const lb_event *event = NULL;
    lb_history *h = NULL;
    lb_status status = check_id(w->d, id, error);
    if (status == LB_OK && !(h = open_id(w->d, id, error)))
        status = error->status;
    if (status == LB_OK)
        status = next_of_id(w->d, h, id, &event, error);
    if (status == LB_OK)
        status = event ? act(w, h, error) : no_letter(id, error);
    lb_history_close(h);
    if (status != LB_GONE)
        return status;
    tell_failure(w, error);
    return LB_OK;
}

static lb_status act_on_all(work *w, lb_error *error)
{
    const lb_event *event = NULL;
    lb_history *h = dead_letters_open(w->d, NULL, w->d->to, LB_HISTORY_OLDEST_FIRST, error);
    lb_status status = h ? LB_OK : error->status;
    while (status == LB_OK && (status = dead_letters_next(w->d, h, &event, error)) == LB_OK && event)
        status = act(w, h, error);
    lb_history_close(h);
    return status;
}

/* More than one letter is asked about, where there is somebody to ask. */
static int confirm(const work *w)
{
    const char *doing = w->purge ? "purge" : "replay";
    char answer[16] = "";
    if (w->all <= 1 || w->d->in->yes)
        return CLI_OK;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return usage_error(w->d->in, "--all would %s %zu dead letters: add --yes", doing, w->all);
    fprintf(stderr, "%s %zu dead letters? (yes/no) ", w->purge ? "Purge" : "Replay", w->all);
    fflush(stderr);
    if (!fgets(answer, sizeof answer, stdin) || strcmp(answer, "yes\n") != 0) {
        fprintf(stderr, "Nothing was done.\n");
        return CLI_FAILURE;
    }
    return CLI_OK;
}

static int summarize(work *w, lb_status status, const lb_error *error)
{
    clear_progress(w);
    if (status == LB_INVALID_NAME)
        return trouble(w->d, error);
    printf("%zu %s", w->done, w->purge ? "purged" : "replayed");
    if (w->failed)
        printf(", %zu not", w->failed);
    putchar('\n');
    int code = finish_output(w->d->in);
    if (status != LB_OK)
        return failure(w->d->in, error);
    return w->failed ? CLI_FAILURE : code;
}

static int act_on(dead_letters *d, bool purge, char *const *ids, size_t count)
{
    lb_error error = {0};
    lb_status status = LB_OK;
    work w = {.d = d, .purge = purge, .all = count, .progress_at = INT64_MAX};
    if (d->in->all) {
        dead_survey survey;
        if (dead_letters_survey(d, &survey, &error) != LB_OK)
            return trouble(d, &error);
        w.all = survey.count;
        int code = confirm(&w);
        if (code != CLI_OK)
            return code;
        w.progress_at = isatty(STDERR_FILENO) ? clock_in_ms(PROGRESS_MS) : INT64_MAX;
        if (w.all)
            status = act_on_all(&w, &error);
    }
    for (size_t i = 0; i < count && status == LB_OK; i++)
        status = act_on_id(&w, ids[i], &error);
    return summarize(&w, status, &error);
}

static int replay(dead_letters *d, char *const *ids, size_t count) { return act_on(d, false, ids, count); }
static int purge(dead_letters *d, char *const *ids, size_t count) { return act_on(d, true, ids, count); }

/* ---- The command ------------------------------------------------------------------------------------ */

enum { LIST = 1, SHOW = 2, REPLAY = 4, PURGE = 8 };

static const struct action {
    const char *name;
    unsigned bit;
    int (*run)(dead_letters *d, char *const *ids, size_t count);
} actions[] = {{"list", LIST, list}, {"show", SHOW, show}, {"replay", REPLAY, replay}, {"purge", PURGE, purge}};

static const struct action *find_action(const invocation *in)
{
    static const char expected[] = "expected list, show, replay or purge";
    char text[HINT_SIZE];
    suggestion s = suggestion_for(slice_of(in->count ? in->arguments[0] : ""));
    for (size_t i = 0; in->count && i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(in->arguments[0], actions[i].name) == 0)
            return &actions[i];
        suggestion_consider(&s, slice_of(actions[i].name));
    }
    if (in->count)
        usage_error(in, "%s, got \"%s\"%s", expected, in->arguments[0], hint(&s, text));
    else
        usage_error(in, "%s", expected);
    return NULL;
}

/* Whether the flags and ids are such that the action has a meaning; false with the message printed. */
static bool check_usage(const invocation *in, const struct action *a)
{
    const struct {
        const char *given, *name;
        unsigned actions;
    } rows[] = {{in->json, "json", LIST | SHOW},
                {in->all, "all", REPLAY | PURGE},
                {in->yes, "yes", REPLAY | PURGE},
                {in->fire_again, "fire-again", REPLAY},
                {in->older_than, "older-than", LIST | REPLAY | PURGE}};
    const size_t ids = in->count - 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].given && !(rows[i].actions & a->bit))
            return usage_error(in, "%s takes no --%s", a->name, rows[i].name) == CLI_OK;
    if (a->bit == LIST && ids)
        return usage_error(in, "list: unexpected argument \"%s\"; --event API.EVENT chooses",
                           in->arguments[1]) == CLI_OK;
    if (in->all && ids)
        return usage_error(in, "%s: give ids or --all, not both", a->name) == CLI_OK;
    if (a->bit != LIST && !in->all && !ids)
        return usage_error(in, "%s: expected the ids of dead letters%s", a->name,
                           a->bit == SHOW ? "" : ", or --all") == CLI_OK;
    if (in->older_than && a->bit != LIST && !in->all)
        return usage_error(in, "--older-than is for --all") == CLI_OK;
    return true;
}

/* "7d" as the milliseconds of the clock so long ago. */
static bool read_age(const char *text, char to[32])
{
    static const char units[] = "smhd";
    static const int64_t seconds[] = {1, 60, 3600, 86400};
    struct timespec now;
    size_t digits = strspn(text, "0123456789");
    const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
    if (!digits || digits > 6 || !unit || text[digits + 1])
        return false;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t ago = strtoll(text, NULL, 10) * seconds[unit - units], at = (int64_t)now.tv_sec - ago;
    snprintf(to, 32, "%lld", at > 0 ? (long long)at * 1000 + now.tv_nsec / 1000000 : 0LL);
    return true;
}

static int deadletters(invocation *in)
{
    dead_letters d = {.in = in};
    const struct action *a = find_action(in);
    if (!a || !check_usage(in, a))
        return CLI_USAGE;
    if (in->older_than && !read_age(in->older_than, d.to))
        return usage_error(in, "--older-than: expected a number and s, m, h or d, such as 7d; got \"%s\"",
                           in->older_than);
    if (!in->log_level)
        lb_log_set_level(LB_LOG_WARNING);
    d.bus = cli_open(in, (lb_options){.service_name = "lightbus"});
    if (!d.bus)
        return CLI_FAILURE;
    int code = a->run(&d, in->arguments + 1, in->count - 1);
    lb_close(d.bus);
    return code;
}

#define SLOT(field) offsetof(invocation, field)

static const flag flags[] = {
    {"event", "API.EVENT", "only of this event; shop.* is all of an API", SLOT(event), 'e', false},
    {"group", "GROUP", "only what this listener's group gave up", SLOT(group), 'g', false},
    {"older-than", "AGE", "only what lies there for so long: 30m, 12h, 7d", SLOT(older_than), 0, false},
    {"all", NULL, "all of them: replay, purge", SLOT(all), 0, false},
    {"yes", NULL, "does not ask whether all are meant", SLOT(yes), 'y', false},
    {"fire-again", NULL, "replay: fire events anew that are gone", SLOT(fire_again), 0, false},
    {"json", NULL, "a line of JSON each: list, show", SLOT(json), 0, false},
    {0},
};

const command cmd_deadletters = {
    .name = "deadletters",
    .summary = "Lists, shows, replays or purges what listeners gave up.",
    .arguments = "list | show | replay | purge [ID ...]",
    .details = "An event that a listener rejects, or fails at too often, is put aside with the\n"
               "reason. list says which there are, show all that is known of them. replay\n"
               "takes them out and has the listener handle them again; no other listener gets\n"
               "them, unless an event is gone from its stream and --fire-again fires it anew.\n"
               "purge forgets them.\n\n"
               "  lightbus deadletters list --event shop.ordered\n"
               "  lightbus deadletters show 1700000000000-0\n"
               "  lightbus deadletters replay 1700000000000-0 1700000000500-0\n"
               "  lightbus deadletters replay --all --group mailer-welcome\n"
               "  lightbus deadletters purge --all --older-than 30d --yes\n",
    .exit_codes = "0: done, 1: an id is unknown or a letter could not be replayed",
    .flags = flags,
    .run = deadletters,
};
