/* Carrying out statements: calls, events, variables. While the bus has a call, the shell waits for its answer
 * and for Ctrl-C at once. Invariant: a statement that fails changes no variable. */
#include "shell.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/json.h"
#include "event_print.h"

enum { LOOK_MS = 200 };

/* ---- Errors ----------------------------------------------------------------------------------------- */

static void print_trace(const lb_error *error)
{
    size_t size = strlen(error->trace);
    print_safe(stderr, size ? error->trace : "(it came without a trace)");
    fputs(size && error->trace[size - 1] == '\n' ? "" : "\n", stderr);
}

void shell_fail(shell *s, const lb_error *error, size_t at)
{
    const colours *c = &s->error_colours;
    bool remote = error->status == LB_REMOTE_ERROR;
    s->code = CLI_FAILURE;
    s->last_error = *error;
    fflush(stdout);
    if (!s->interactive)
        fprintf(stderr, "%s %s: line %zu: ", s->in->program, s->in->command->name, s->line);
    fprintf(stderr, "%s", c->red);
    print_safe(stderr, remote ? error->type : "error");
    fprintf(stderr, ":%s ", c->off);
    print_safe(stderr, error->message[0] ? error->message : lb_status_text(error->status));
    fputc('\n', stderr);
    if (at != SIZE_MAX)
        shell_print_place(stderr, s->statement.data, s->statement.size, at, shell_width());
    if (remote && s->in->trace)
        print_trace(error);
}

static void print_last_trace(const shell *s)
{
    if (s->last_error.status != LB_REMOTE_ERROR) {
        printf("The last error was not a remote one.\n");
        return;
    }
    fflush(stdout);
    print_trace(&s->last_error);
}

/* ---- Results ---------------------------------------------------------------------------------------- */

static void print_time(const shell *s, int64_t began, const char *what)
{
    double ms = (double)(clock_now() - began) / CLOCK_MS;
    if (s->interactive)
        printf("%s%s%.*f ms%s\n", s->colours.dim, what, ms < 10 ? 2 : 0, ms, s->colours.off);
}

/* Assigns a value, or shows it and keeps it as the last one. */
static void settle(shell *s, const shell_statement *statement, const lb_value *value)
{
    lb_value *copy = lb_value_copy(value);
    lb_error error = {.status = LB_NO_MEMORY};
    if (!copy || !shell_set_variable(s, statement->variable ? statement->variable : "_", copy))
        shell_fail(s, &error, SIZE_MAX);
    else if (!statement->variable)
        shell_print_value(s, value);
}

/* ---- Calls ------------------------------------------------------------------------------------------ */

typedef struct call {
    bool ended;
    lb_status status;
    lb_value *result;
    lb_error *error;
} call;

static void end_call(lb_status status, const lb_value *result, const lb_error *error, void *data)
{
    call *c = data;
    c->ended = true;
    c->status = status;
    if (status != LB_OK)
        *c->error = *error;
    else if (!(c->result = lb_value_copy(result)))
        c->status = lb_error_set(c->error, LB_NO_MEMORY, "out of memory");
}

static void wait_for_call(lb_bus *bus, int fd, lb_pending *pending, call *c)
{
    while (!c->ended) {
        lb_error ignored;
        lb_dispatch(bus, &ignored);
        if (c->ended)
            return;
        shell_event event = shell_wait(fd, LOOK_MS);
        if (event == SHELL_INTERRUPTED || event == SHELL_ENDED) {
            lb_call_cancel(pending);
            lb_error_set(c->error, LB_CANCELED, "canceled; a worker that has taken the call goes on");
            return;
        }
    }
}

static lb_status call_rpc(shell *s, const char *name, const lb_arg *args, lb_value **result, lb_error *error)
{
    call c = {.error = error, .status = LB_CANCELED};
    const lb_call_options options = {.callback = end_call, .data = &c};
    int fd = lb_fd(s->bus, error);
    if (fd < 0)
        return error->status;
    lb_pending *pending = lb_call_begin(s->bus, name, args, &options, error);
    if (!pending)
        return error->status;
    wait_for_call(s->bus, fd, pending, &c);
    *result = c.result;
    return c.status;
}

static void run_rpc(shell *s, const shell_statement *statement, const char *name)
{
    int64_t began = clock_now();
    lb_value *result = NULL;
    const lb_value *value;
    lb_error error = {0};
    size_t at = SIZE_MAX;
    lb_status status = call_rpc(s, name, statement->arguments, &result, &error);
    value = result;
    if (status == LB_OK)
        status = shell_walk(statement->steps, &value, &at, &error);
    if (status == LB_OK) {
        settle(s, statement, value);
        print_time(s, began, "");
    } else {
        shell_fail(s, &error, status == LB_MALFORMED ? at : SIZE_MAX);
    }
    lb_value_free(result);
}

/* ---- Events ----------------------------------------------------------------------------------------- */

static void run_fire(shell *s, const shell_statement *statement, const char *name)
{
    int64_t began = clock_now();
    lb_error error = {0};
    if (lb_fire(s->bus, name, statement->arguments, &error) == LB_OK)
        print_time(s, began, "fired, ");
    else
        shell_fail(s, &error, SIZE_MAX);
}

/* Shared with the listener's thread. */
typedef struct listening {
    const shell *shell;
    uint64_t left; /* events still to print; UINT64_MAX: no end */
    _Atomic bool over;
    int write_error;
} listening;

static lb_status print_event(const lb_event *event, void *data)
{
    listening *l = data;
    if (l->over)
        return LB_OK;
    if (isatty(STDOUT_FILENO))
        event_print_for_people(event, &l->shell->colours);
    else if (!event_print_line(event))
        return LB_RETRY; /* memory is short */
    l->write_error = output_flush();
    if (l->left != UINT64_MAX)
        l->left--;
    l->over = l->left == 0 || l->write_error;
    return LB_OK;
}

/* A bus of its own, whose worker ends with the listening. */
static lb_bus *open_listener(const shell *s)
{
    invocation in = *s->in;
    lb_bus *bus = NULL;
    char *url = s->url ? strdup(s->url) : NULL, *config = s->config ? strdup(s->config) : NULL;
    in.url = url;
    in.config = config;
    if (!url == !s->url && !config == !s->config)
        bus = cli_open(&in, (lb_options){.service_name = "lightbus", .log_level = LB_LOG_WARNING});
    free(url);
    free(config);
    return bus;
}

static lb_status listen_until_ctrl_c(const shell *s, lb_bus *bus, const char *name, const char *since,
                                     listening *l, lb_error *error)
{
    const lb_listen_options options = {
        .on_error = LB_ON_ERROR_ACKNOWLEDGE_AND_LOG, .since = since, .flags = LB_LISTEN_TEMPORARY};
    char listener_name[64];
    snprintf(listener_name, sizeof listener_name, "shell-%016llx", (unsigned long long)random_u64());
    lb_status status = lb_listen(bus, name, listener_name, print_event, l, &options, error);
    if (status == LB_OK)
        status = lb_start(bus, error);
    if (status != LB_OK)
        return status;
    if (s->interactive)
        fprintf(stderr, "%sListening to %s. Ctrl-C ends it.%s\n", s->error_colours.dim, name,
                s->error_colours.off);
    while (!l->over && output_has_reader()) {
        shell_event event = shell_wait(-1, LOOK_MS);
        if (event == SHELL_INTERRUPTED || event == SHELL_ENDED)
            break;
    }
    status = lb_stop(bus, -1, error);
    if (s->interactive)
        putchar('\n'); /* after the terminal's "^C" */
    return status == LB_OK ? output_status(l->write_error, error) : status;
}

/* listen(since="0", count=3) */
static lb_status read_listen_arguments(const lb_arg *args, const char **since, uint64_t *count, lb_error *error)
{
    for (; args->name; args++) {
        const lb_value *value = args->value.as.value;
        if (strcmp(args->name, "since") == 0 && lb_value_str(value))
            *since = lb_value_str(value);
        else if (strcmp(args->name, "count") == 0 && lb_value_int(value) > 0)
            *count = (uint64_t)lb_value_int(value);
        else
            return lb_error_set(error, LB_USAGE, "listen takes since=\"...\" and count=N above 0, not this %s",
                                args->name);
    }
    return LB_OK;
}

static void run_listen(shell *s, const shell_statement *statement, const char *name)
{
    listening l = {.shell = s, .left = UINT64_MAX};
    const char *since = NULL;
    lb_bus *bus = NULL;
    lb_error error = {0};
    lb_status status = read_listen_arguments(statement->arguments, &since, &l.left, &error);
    if (status == LB_OK && !(bus = open_listener(s))) {
        s->code = CLI_FAILURE;
        return;
    }
    if (status == LB_OK)
        status = listen_until_ctrl_c(s, bus, name, since, &l, &error);
    lb_close(bus);
    if (status != LB_OK)
        shell_fail(s, &error, SIZE_MAX);
    s->leaving |= l.write_error || !output_has_reader();
}

/* ---- Statements ------------------------------------------------------------------------------------- */

/* Where the name stands that is not known: the API, or, in auth.chek() and auth.chek.fire(), the member. */
static size_t place_of_name(const shell *s, const shell_statement *statement, const lb_error *error)
{
    const char *path = statement->path, *end = path + strlen(path), *dot = strrchr(path, '.');
    size_t size = (size_t)(end - path);
    if (error->status != LB_UNKNOWN_MEMBER || !dot || s->statement.size - statement->path_at < size ||
        memcmp(s->statement.data + statement->path_at, path, size) != 0) /* spaces between */
        return statement->path_at;
    if (strcmp(dot, ".fire") == 0 || strcmp(dot, ".listen") == 0)
        dot = memrchr(path, '.', (size_t)(dot - path));
    return statement->path_at + (dot ? (size_t)(dot + 1 - path) : 0);
}

static void run_call(shell *s, arena *memory, const shell_statement *statement)
{
    shell_target target;
    lb_error error = {0};
    if (shell_look(s, 0, &error) != LB_OK) {
        shell_fail(s, &error, SIZE_MAX);
        return;
    }
    if (shell_resolve(memory, s->schemas, statement->path, &target, &error) != LB_OK) {
        shell_fail(s, &error, place_of_name(s, statement, &error));
        return;
    }
    if (target.verb != SHELL_CALL_RPC && (statement->variable || statement->steps)) {
        lb_error_set(&error, LB_USAGE, "an event has no result");
        shell_fail(s, &error, statement->path_at);
        return;
    }
    if (target.verb == SHELL_CALL_RPC)
        run_rpc(s, statement, target.name);
    else if (target.verb == SHELL_FIRE)
        run_fire(s, statement, target.name);
    else
        run_listen(s, statement, target.name);
}

static void run_word(shell *s, const shell_statement *statement)
{
    lb_error error = {0};
    bool looks = strcmp(statement->word, "apis") == 0 || statement->path;
    if (looks && shell_look(s, 0, &error) != LB_OK)
        shell_fail(s, &error, SIZE_MAX);
    else if (strcmp(statement->word, "apis") == 0)
        shell_print_apis(s);
    else if (strcmp(statement->word, "help") == 0)
        shell_help(s, statement->path, statement->path_at);
    else if (strcmp(statement->word, "trace") == 0)
        print_last_trace(s);
    else
        s->leaving = true;
}

/* A name alone, typed to see what it is. */
static void run_name(shell *s, const shell_statement *statement)
{
    lb_error error = {0};
    if (shell_look(s, 0, &error) != LB_OK)
        shell_fail(s, &error, SIZE_MAX);
    else
        shell_help(s, statement->path, statement->path_at);
}

void shell_run(shell *s)
{
    arena memory = {0};
    shell_statement statement;
    shell_scope scope = shell_scope_of(s);
    size_t at = 0;
    lb_error error = {0};
    if (shell_parse(&memory, s->statement.data, s->statement.size, &scope, &statement, &at, &error) != LB_OK)
        shell_fail(s, &error, at);
    else if (statement.kind == SHELL_WORD)
        run_word(s, &statement);
    else if (statement.kind == SHELL_VALUE)
        settle(s, &statement, statement.value);
    else if (statement.kind == SHELL_NAME)
        run_name(s, &statement);
    else if (statement.kind == SHELL_CALL)
        run_call(s, &memory, &statement);
    arena_free(&memory);
    if (finish_output(s->in) != CLI_OK)
        s->code = CLI_FAILURE;
    s->leaving |= ferror(stdout) != 0;
}
