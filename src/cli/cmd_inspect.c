/* lightbus inspect: prints stored events, filtered as they come. They are read page by page in the order of
 * time, over all APIs wanted, so that memory stays flat and the first one is there at once. With --follow it
 * goes on with those that are fired meanwhile, also of APIs that appear meanwhile, until a signal. What is read
 * is kept with --cache; with --cache-only the cache is opened in the bus's place. */
#include "arguments.h"
#include "inspect.h"
#include "inspect_cache.h"

#include "../base/clock.h"
#include "../base/json.h"
#include "../base/map.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_AGAIN_MS = 100, NEW_APIS_MS = 1000, RETRY_MOST_MS = 5000, PROGRESS_MS = 100, FLUSH_MS = 100 };

typedef struct inspection {
    invocation *in;
    lb_bus *bus;
    lb_value *schemas;
    map apis;               /* names of those that are read */
    lb_history **histories; /* of those there at the start; then one for each time that more appeared */
    size_t history_count, turn;
    lb_history *history;  /* the one that gave the present event */
    inspect_cache *cache; /* NULL: nothing is kept */
    int64_t apis_at;      /* when to look for more */
    char started_at[32];  /* a native id: what "$" is to an API that appears later */
    arena memory;
    inspect_filter filter;
    inspect_printer printer;
    uint64_t left; /* events still to print; UINT64_MAX: no end */
    uint64_t seen, printed;
    bool api_is_known;
    bool progress, progress_shown, unflushed;
    int64_t progress_at, flush_at;
    unsigned failures; /* in a row, of following */
    int write_error;   /* errno of a write that failed */
} inspection;

static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

/* Following ends with a signal, as a success; a second one ends the program at once. What is being written is
 * written to its end; naps are not begun again. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = stop, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- Which APIs ------------------------------------------------------------------------------------- */

static bool is_internal(const char *name) { return strncmp(name, "internal.", 9) == 0; }

static bool api_is_wanted(const invocation *in, const char *name)
{
    if (in->api && !is_pattern(in->api))
        return strcmp(in->api, name) == 0;
    return (in->internal || !is_internal(name)) && (!in->api || pattern_matches(in->api, name));
}

static void add_events(inspection *i, buffer *events, const char *api)
{
    const invocation *in = i->in;
    const char *event = in->event && !is_pattern(in->event) ? in->event : "*";
    if (map_get(&i->apis, api, strlen(api)))
        return;
    buffer_printf(events, "%s%s.%s", events->size ? " " : "", api, event);
}

static lb_status no_memory(lb_error *error) { return lb_error_set(error, LB_NO_MEMORY, "out of memory"); }

static lb_status no_api(const inspection *i, lb_error *error)
{
    const char *api = i->in->api;
    char what[256];
    if (!api)
        return lb_error_set(error, LB_UNKNOWN_API, "no API is on the bus; --api NAME shows one that was");
    snprintf(what, sizeof what, "no API \"%.100s\" is on the bus", api);
    return target_unknown(error, LB_UNKNOWN_API, what, api, i->schemas);
}

/* The events to read of APIs that are not read yet, as lb_history_open takes them; none: there are no such
 * APIs. One API that is given by its name is read whether its schema is there or not: its service may be down.
 */
static lb_status choose_events(inspection *i, buffer *events, lb_error *error)
{
    lb_value_iterator it = lb_value_iterate(i->schemas);
    while (lb_value_next(&it))
        if (api_is_wanted(i->in, it.name)) {
            add_events(i, events, it.name);
            i->api_is_known = true;
        }
    if (!events->size && i->in->api && !is_pattern(i->in->api))
        add_events(i, events, i->in->api);
    return events->failed || (events->size && !buffer_text(events)) ? no_memory(error) : LB_OK;
}

/* The APIs that add_events would choose again. */
static bool mark_chosen(inspection *i)
{
    bool good = true;
    lb_value_iterator it = lb_value_iterate(i->schemas);
    while (lb_value_next(&it))
        if (api_is_wanted(i->in, it.name))
            good = good && map_put(&i->apis, it.name, it.name_size, i);
    return good;
}

static lb_status add_history(inspection *i, const char *events, const char *from, lb_error *error)
{
    const invocation *in = i->in;
    const lb_history_options options = {
        .from = in->native_id ? in->native_id : from,
        .to = in->native_id ? in->native_id : in->to,
        .flags = in->oldest_first || in->follow ? LB_HISTORY_OLDEST_FIRST : 0,
    };
    lb_history **larger = realloc(i->histories, (i->history_count + 1) * sizeof *larger);
    if (!larger)
        return no_memory(error);
    i->histories = larger;
    i->histories[i->history_count] = lb_history_open(i->bus, events, &options, error);
    if (!i->histories[i->history_count])
        return error->status;
    i->turn = i->history_count++;
    return LB_OK;
}

/* Reads the APIs that are there and not read yet. What fails is tried again as a whole. */
static lb_status open_history(inspection *i, const char *from, lb_error *error)
{
    buffer events = {0};
    lb_value *schemas = NULL;
    lb_status status = lb_schema_dump(i->bus, &schemas, error);
    if (status != LB_OK)
        return status;
    lb_value_free(i->schemas);
    i->printer.schemas = i->schemas = schemas;
    if (i->cache)
        status = inspect_cache_keep_schemas(i->cache, schemas, error);
    if (status == LB_OK)
        status = choose_events(i, &events, error);
    if (status == LB_OK && events.size)
        status = add_history(i, events.data, from, error);
    if (status == LB_OK && !mark_chosen(i))
        status = no_memory(error);
    buffer_free(&events);
    i->apis_at = clock_in_ms(NEW_APIS_MS);
    return status;
}

static bool follows_more(const inspection *i)
{
    return i->in->follow && (!i->in->api || is_pattern(i->in->api));
}

static lb_status open_first(inspection *i, lb_error *error)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(i->started_at, sizeof i->started_at, "%lld", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    lb_status status = open_history(i, i->in->from, error);
    if (status != LB_OK || i->history_count)
        return status;
    if (!follows_more(i))
        return no_api(i, error);
    no_api(i, error);
    fprintf(stderr, "%s inspect: at present ", i->in->program);
    print_safe(stderr, error->message);
    fputc('\n', stderr);
    return LB_OK;
}

/* APIs that have appeared meanwhile, now and then. */
static lb_status open_more(inspection *i, lb_error *error)
{
    bool now = i->in->from && strcmp(i->in->from, "$") == 0;
    if (!follows_more(i) || clock_now() < i->apis_at)
        return LB_OK;
    return open_history(i, now ? i->started_at : i->in->from, error);
}

/* ---- Printing --------------------------------------------------------------------------------------- */

/* One line on the terminal of stderr that is written over. */
static void show_progress(inspection *i, int64_t now)
{
    if (!i->progress || now < i->progress_at)
        return;
    fprintf(stderr, "\r\033[K%llu events read, %llu shown", (unsigned long long)i->seen,
            (unsigned long long)i->printed);
    fflush(stderr);
    i->progress_shown = true;
    i->progress_at = now + PROGRESS_MS * CLOCK_MS;
}

static void clear_progress(inspection *i)
{
    if (!i->progress_shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr); /* before what stdout prints */
    i->progress_shown = false;
}

static void flush_output(inspection *i)
{
    if (!i->write_error)
        i->write_error = output_flush();
    i->unflushed = false;
    i->flush_at = clock_now() + FLUSH_MS * CLOCK_MS;
}

/* Output is gathered, but what has come is shown soon, the first event at once. */
static lb_status show_event(inspection *i, const lb_event *event, lb_error *error)
{
    int64_t now = clock_now();
    i->seen++;
    show_progress(i, now);
    if (i->cache) {
        lb_status status = inspect_cache_keep(i->cache, event, lb_history_problem(i->history), error);
        if (status != LB_OK)
            return status;
    }
    if (i->unflushed && now >= i->flush_at)
        flush_output(i);
    if (!inspect_filter_takes(&i->filter, event, lb_history_problem(i->history)))
        return LB_OK;
    clear_progress(i);
    if (!inspect_print(&i->printer, i->history, event))
        return no_memory(error);
    if (ferror(stdout))
        flush_output(i);
    i->printed++;
    if (i->left != UINT64_MAX)
        i->left--;
    i->unflushed = true;
    if (now >= i->flush_at)
        flush_output(i);
    return LB_OK;
}

/* ---- Going through them ----------------------------------------------------------------------------- */

static bool is_over(const inspection *i) { return stopped || !i->left || i->write_error; }

static void nap(int64_t ms)
{
    const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL); /* a signal ends it */
}

/* The connection is lost while following: told once, then tried again. False: that is a failure. */
static bool goes_on(inspection *i, const lb_error *error)
{
    if (!i->in->follow || error->status != LB_TRANSPORT)
        return false;
    if (!i->failures++) {
        clear_progress(i);
        fprintf(stderr, "%s inspect: ", i->in->program);
        print_safe(stderr, error->message);
        fputs("; trying again\n", stderr);
    }
    nap(backoff_ms(i->failures, LOOK_AGAIN_MS, RETRY_MOST_MS));
    return true;
}

/* The next event of any of the histories; NULL: none has any at present. */
static lb_status next_event(inspection *i, const lb_event **event, lb_error *error)
{
    lb_status status = LB_OK;
    *event = NULL;
    for (size_t tried = 0; tried < i->history_count && status == LB_OK; tried++) {
        i->history = i->histories[i->turn];
        status = lb_history_next(i->history, event, error);
        if (*event)
            break;
        i->turn = (i->turn + 1) % i->history_count;
    }
    if (status == LB_OK && !*event)
        status = open_more(i, error);
    return status;
}

static lb_status go_through(inspection *i, lb_error *error)
{
    lb_status status = LB_OK;
    while (status == LB_OK && !is_over(i)) {
        const lb_event *event;
        status = next_event(i, &event, error);
        if (status != LB_OK) {
            if (goes_on(i, error))
                status = LB_OK;
            continue;
        }
        i->failures = 0;
        if (event) {
            status = show_event(i, event, error);
            continue;
        }
        clear_progress(i);
        flush_output(i);
        if (!i->in->follow || !output_has_reader())
            break;
        if (i->cache)
            status = inspect_cache_flush(i->cache, error);
        nap(LOOK_AGAIN_MS);
    }
    clear_progress(i);
    flush_output(i);
    if (i->cache && status == LB_OK)
        status = inspect_cache_flush(i->cache, error);
    return status == LB_OK ? output_status(i->write_error, error) : status;
}

/* Of --from, --to or --native-id: the error begins with "from:" or "to:". */
static int wrong_place(const invocation *in, const lb_error *error)
{
    const char *colon = strchr(error->message, ':');
    if (in->native_id && colon)
        return usage_error(in, "--native-id%s", colon);
    return usage_error(in, "--%s", error->message);
}

/* In the place of the bus, and whatever is configured. */
static lb_status open_cache(inspection *i, lb_error *error)
{
    const char *url = inspect_cache_url(&i->memory, lb_url(i->bus), error);
    lb_close(i->bus);
    i->bus = NULL;
    if (!url)
        return error->status;
    unsetenv("LIGHTBUS_CONFIG");
    i->bus =
        lb_open(&(lb_options){.url = url, .service_name = "lightbus", .log_level = lb_log_get_level()}, error);
    return i->bus ? LB_OK : error->status;
}

static int inspect(inspection *i)
{
    lb_error error = {0};
    i->bus = cli_open(i->in, (lb_options){.service_name = "lightbus"});
    if (!i->bus)
        return CLI_FAILURE;
    if (i->in->cache_only && open_cache(i, &error) != LB_OK)
        return failure(i->in, &error);
    if (i->in->cache && !(i->cache = inspect_cache_open(lb_url(i->bus), &error)))
        return failure(i->in, &error);
    int code = set_up_without_serving(i->in, i->bus);
    if (code != CLI_OK)
        return code;
    if (i->in->follow)
        catch_signals();
    lb_status status = open_first(i, &error);
    if (status == LB_CONFIG)
        return wrong_place(i->in, &error);
    if (status == LB_INVALID_NAME)
        return usage_error(i->in, "%s", error.message);
    if (status == LB_OK)
        status = go_through(i, &error);
    if (status == LB_OK && !i->seen && !i->api_is_known && !stopped)
        status = no_api(i, &error);
    return status == LB_OK ? CLI_OK : failure(i->in, &error);
}

/* ---- The command ------------------------------------------------------------------------------------ */

static lb_status read_flags(inspection *i, lb_error *error)
{
    const invocation *in = i->in;
    lb_status status = inspect_filter_read(&i->memory, in, &i->filter, error);
    if (status != LB_OK)
        return status;
    inspect_format_read(in, &i->printer);
    if (in->events_count && !flags_count(in->events_count, &i->left))
        return lb_error_set(error, LB_USAGE, "--count: expected a whole number above 0, got \"%s\"",
                            in->events_count);
    if (in->cache_only && (in->cache || in->follow))
        return lb_error_set(error, LB_USAGE, "give --cache-only or --%s, not both",
                            in->cache ? "cache" : "follow");
    if (in->native_id && (in->from || in->to))
        return lb_error_set(error, LB_USAGE, "give --native-id or --from and --to, not both");
    if (in->from && strcmp(in->from, "$") == 0 && !in->follow)
        return lb_error_set(error, LB_USAGE, "--from: \"$\" (now) is for --follow");
    return LB_OK;
}

static int inspect_command(invocation *in)
{
    inspection i = {.in = in, .left = UINT64_MAX};
    lb_error error = {0};
    int code;

    if (in->count)
        return usage_error(in, "unexpected argument \"%s\"", in->arguments[0]);
    i.printer.for_people = isatty(STDOUT_FILENO);
    i.printer.colours = colours_for(stdout);
    i.printer.validate = in->validate;
    i.printer.show_casting = in->show_casting;
    i.progress = isatty(STDERR_FILENO);
    i.progress_at = clock_in_ms(PROGRESS_MS);
    if (!in->log_level)
        lb_log_set_level(LB_LOG_WARNING);
    if (read_flags(&i, &error) == LB_OK)
        code = inspect(&i);
    else
        code = usage_error(in, "%s", error.message);
    buffer_free(&i.printer.out);
    for (size_t n = 0; n < i.history_count; n++)
        lb_history_close(i.histories[n]);
    free(i.histories);
    inspect_cache_close(i.cache);
    map_free(&i.apis);
    lb_value_free(i.schemas);
    lb_close(i.bus);
    arena_free(&i.memory);
    return code;
}

#define SLOT(field) offsetof(invocation, field)

static const flag flags[] = {
    {"bus", "PATH", "with the APIs of this bus module", SLOT(bus), 'b', true},
    {"api", "API", "only this API; may be a pattern: 'shop.*'", SLOT(api), 'a', false},
    {"event", "EVENT", "only this event; may be a pattern: 'user_*'", SLOT(event), 'e', false},
    {"id", "ID", "only the event of this id", SLOT(id), 'i', false},
    {"native-id", "ID", "only the event of this id of the transport", SLOT(native_id), 'n', false},
    {"version", "N", "only this version; or a comparison: '>1'", SLOT(event_version), 'v', false},
    {"json-path", "CONDITION", "only where it holds: address.city=London", SLOT(json_path), 'j', false},
    {"from", "WHEN", "the first in time: native id, ISO 8601, $ (now)", SLOT(from), 0, false},
    {"to", "WHEN", "the last in time: native id, ISO 8601", SLOT(to), 0, false},
    {"internal", NULL, "also the APIs internal.*", SLOT(internal), 'I', false},
    {"format", "json|pretty|human", "how they are shown; json: a line each", SLOT(format), 'F', false},
    {"oldest-first", NULL, "default: the newest first", SLOT(oldest_first), 0, false},
    {"count", "N", "end after N events shown", SLOT(events_count), 0, false},
    {"follow", NULL, "oldest first, then go on with new ones", SLOT(follow), 'f', false},
    {"validate", NULL, "check them against the schema", SLOT(validate), 'd', false},
    {"cache", NULL, "keep what is read for --cache-only", SLOT(cache), 0, false},
    {"cache-only", NULL, "show what --cache has kept, without the bus", SLOT(cache_only), 'c', false},
    {"show-casting", NULL, "show what a listener would get", SLOT(show_casting), 'C', false},
    {0},
};

static const term files[] = {
    {"~/.cache/lightbus/inspect-*", "what --cache keeps, a folder for each bus; may be removed at any time",
     false},
    {0},
};

const command cmd_inspect = {
    .name = "inspect",
    .summary = "Prints stored events.",
    .arguments = "",
    .details = "A CONDITION is PATH OP VALUE, where OP is one of = != < <= > >=, and PATH begins\n"
               "with an argument: user.email, items[0].price, items[*].price, or $..price (at\n"
               "any depth).\n\n"
               "  lightbus inspect --api auth --event 'user_*' --count 10 --format human\n"
               "  lightbus inspect --json-path 'items[*].price>=100' | jq .id\n"
               "  lightbus inspect --follow --from '$' --validate\n",
    .files = files,
    .flags = flags,
    .run = inspect_command,
};
