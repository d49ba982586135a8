/* Lines from a person, with libedit, where the build has it. It is loaded when the shell needs it: services
 * link this library too, and never edit a line. libedit reads its characters by read_character, so that waiting
 * for a key is waiting in shell_wait as all else. */
#include "shell.h"
#include "text.h"

#ifdef LIGHTBUS_EDIT
#include <dlfcn.h>
#include <errno.h>
#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

enum { MOST_SHOWN = 200, SCHEMAS_FRESH_MS = 1000, MOST_HISTORY = 3000, PROMPT_COLUMNS = 10 };

struct shell_editor {
    shell *shell;
    EditLine *el;
    History *lines; /* libedit's; the file is ours */
    shell_history history;
    char prompt[64], continued_prompt[64];
    bool continued;
    shell_input input; /* why the line ended */
};

static struct {
    void *library; /* NULL: not there */
    __typeof__(el_init) *init;
    __typeof__(el_end) *end;
    __typeof__(el_gets) *gets;
    __typeof__(el_set) *set;
    __typeof__(el_wset) *wset;
    __typeof__(el_get) *get;
    __typeof__(el_line) *line;
    __typeof__(el_cursor) *cursor;
    __typeof__(el_insertstr) *insertstr;
    __typeof__(el_push) *push;
    __typeof__(el_resize) *resize;
    __typeof__(el_source) *source;
    __typeof__(history_init) *history_init;
    __typeof__(history_end) *history_end;
    __typeof__(history) *history;
} lib;

static bool load(void)
{
    static const char *const names[] = {"libedit.so.2", "libedit.so.0"}; /* Debian's, and others' */
    const struct {
        void *function;
        const char *name;
    } wanted[] = {
        {&lib.init, "el_init"},
        {&lib.end, "el_end"},
        {&lib.gets, "el_gets"},
        {&lib.set, "el_set"},
        {&lib.wset, "el_wset"},
        {&lib.get, "el_get"},
        {&lib.line, "el_line"},
        {&lib.cursor, "el_cursor"},
        {&lib.insertstr, "el_insertstr"},
        {&lib.push, "el_push"},
        {&lib.resize, "el_resize"},
        {&lib.source, "el_source"},
        {&lib.history_init, "history_init"},
        {&lib.history_end, "history_end"},
        {&lib.history, "history"},
    };
    void *library = NULL;
    for (int i = 0; i < 2 && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < sizeof wanted / sizeof *wanted; i++) {
        void *found = dlsym(library, wanted[i].name);
        if (!found)
            return false;
        memcpy(wanted[i].function, &found, sizeof found);
    }
    lib.library = library;
    return library != NULL;
}

static shell_editor *editor_of(EditLine *el)
{
    void *editor = NULL;
    lib.get(el, EL_CLIENTDATA, &editor);
    return editor;
}

/* ---- Keys ------------------------------------------------------------------------------------------- */

enum { CTRL_C = 3 };

/* Draws prompt and line anew, over what is there. The rows that they take up to the cursor are those of the new
 * width, since terminals wrap what they show again. */
static void draw_again(shell_editor *e)
{
    const LineInfo *line = lib.line(e->el);
    char *typed = strndup(line->buffer, (size_t)(line->cursor - line->buffer));
    size_t rows = (PROMPT_COLUMNS + text_columns(typed ? typed : "")) / (size_t)shell_width();
    free(typed);
    if (rows)
        printf("\033[%zuA", rows);
    printf("\r\033[J");
    fflush(stdout);
    lib.resize(e->el);
    lib.set(e->el, EL_REFRESH);
}

/* The next byte, 1; 0 at the end. Ctrl-C is a key like others, here, although it comes as a signal. */
static int read_key(shell_editor *e, char *byte)
{
    for (;;) {
        shell_event event = shell_wait(STDIN_FILENO, -1);
        if (event == SHELL_RESIZED)
            draw_again(e);
        if (event == SHELL_ENDED)
            return 0;
        if (event == SHELL_INTERRUPTED) {
            *byte = CTRL_C;
            return 1;
        }
        ssize_t got = event == SHELL_READY ? read(STDIN_FILENO, byte, 1) : -1;
        if (got >= 0 || (event == SHELL_READY && errno != EINTR && errno != EAGAIN))
            return (int)got;
    }
}

/* The next character of UTF-8; bytes that are none are passed over. */
static int read_character(EditLine *el, wchar_t *character)
{
    shell_editor *e = editor_of(el);
    mbstate_t state = {0};
    char byte;
    int got;
    while ((got = read_key(e, &byte)) == 1) {
        size_t size = mbrtowc(character, &byte, 1, &state);
        if (size == (size_t)-1)
            state = (mbstate_t){0};
        else if (size != (size_t)-2)
            return 1;
    }
    return got;
}

/* The line ends as if by Enter, so that libedit leaves it behind as a whole; it will not be looked at. */
static unsigned char clear(EditLine *el, wint_t key)
{
    const LineInfo *line = lib.line(el);
    (void)key;
    editor_of(el)->input = SHELL_CLEARED;
    lib.cursor(el, (int)(line->lastchar - line->cursor));
    lib.insertstr(el, "^C");
    lib.push(el, "\n");
    return CC_REFRESH;
}

/* ---- Completion ------------------------------------------------------------------------------------- */

static size_t common_size(const shell_completion *found)
{
    size_t size = strlen(found->texts[0]);
    for (size_t i = 1; i < found->count; i++)
        for (size_t at = 0; at < size; at++)
            if (found->texts[i][at] != found->texts[0][at])
                size = at;
    while (size && ((unsigned char)found->texts[0][size] & 0xc0) == 0x80) /* whole characters */
        size--;
    return size;
}

/* Candidates of a dotted name are shown by what comes behind the last dot that was typed. */
static void list(const shell_completion *found, const char *typed)
{
    const char *dot = strrchr(typed, '.');
    size_t hidden = dot && *typed != '"' && *typed != '\'' ? (size_t)(dot - typed) + 1 : 0, widest = 1;
    size_t shown = found->count < MOST_SHOWN ? found->count : MOST_SHOWN;
    for (size_t i = 0; i < shown; i++)
        if (text_columns(found->texts[i] + hidden) > widest)
            widest = text_columns(found->texts[i] + hidden);
    size_t columns = (size_t)shell_width() / (widest + 2);
    columns = columns ? columns : 1;
    for (size_t i = 0; i < shown; i++) {
        bool last = i + 1 == shown || (i + 1) % columns == 0;
        fputs(i ? "" : "\n", stdout);
        print_safe_line(stdout, found->texts[i] + hidden);
        printf("%*s", last ? 0 : (int)(widest + 2 - text_columns(found->texts[i] + hidden)), "");
        fputs(last ? "\n" : "", stdout);
    }
    if (shown < found->count)
        printf("and %zu more\n", found->count - shown);
}

static unsigned char complete_text(EditLine *el, arena *memory, const char *text, size_t size)
{
    shell *s = editor_of(el)->shell;
    shell_scope scope = shell_scope_of(s);
    shell_completion found = shell_complete(memory, s->schemas, &scope, text, size);
    if (!found.count)
        return CC_ERROR;
    size_t typed = size - found.from, common = common_size(&found);
    if (common > typed) {
        char *more = arena_copy(memory, found.texts[0] + typed, common - typed);
        return more && lib.insertstr(el, more) == 0 ? CC_REFRESH : CC_ERROR;
    }
    if (found.count == 1)
        return CC_ERROR;
    list(&found, text + found.from);
    return CC_REDISPLAY;
}

static unsigned char complete(EditLine *el, wint_t key)
{
    shell *s = editor_of(el)->shell;
    const LineInfo *line = lib.line(el);
    arena memory = {0};
    lb_error ignored = {0};
    buffer text = {0};
    (void)key;
    shell_look(s, SCHEMAS_FRESH_MS, &ignored);
    buffer_add(&text, s->statement.data, s->statement.size);
    buffer_add(&text, line->buffer, (size_t)(line->cursor - line->buffer));
    unsigned char answer = CC_ERROR;
    if (buffer_text(&text))
        answer = complete_text(el, &memory, text.data, text.size);
    buffer_free(&text);
    arena_free(&memory);
    return answer;
}

/* ---- The editor ------------------------------------------------------------------------------------- */

static char *prompt(EditLine *el)
{
    shell_editor *e = editor_of(el);
    return e->continued ? e->continued_prompt : e->prompt;
}

static void set_prompts(shell_editor *e)
{
    const colours *c = &e->shell->colours;
    bool plain = !*c->off;
    snprintf(e->prompt, sizeof e->prompt, plain ? "%s%slightbus>%s%s " : "\1%s%s\1lightbus>\1%s%s\1 ", c->bold,
             c->cyan, c->off, "");
    snprintf(e->continued_prompt, sizeof e->continued_prompt,
             plain ? "%s     ...>%s " : "\1%s\1     ...>\1%s\1 ", c->dim, c->off);
}

/* Keys as people know them from other shells, beside those that libedit binds. */
static void bind_keys(EditLine *el)
{
    static const char *const keys[][2] = {
        {"\t", "lightbus-complete"},        {"^R", "em-inc-search-prev"},  {"^W", "ed-delete-prev-word"},
        {"\033[3~", "ed-delete-next-char"}, {"\033[1~", "ed-move-to-beg"}, {"\033[4~", "ed-move-to-end"},
        {"\033[H", "ed-move-to-beg"},       {"\033[F", "ed-move-to-end"},  {"\033[1;5D", "ed-prev-word"},
        {"\033[1;5C", "em-next-word"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        lib.set(el, EL_BIND, keys[i][0], keys[i][1], NULL);
    lib.set(el, EL_BIND, "^C", "lightbus-clear", NULL);
    lib.set(el, EL_BIND, "-a", "^C", "lightbus-clear", NULL); /* of vi */
}

static void remember_in_library(shell_editor *e, const char *line)
{
    HistEvent event;
    lib.history(e->lines, &event, H_ENTER, line);
}

static void open_history(shell_editor *e)
{
    HistEvent event;
    lb_error error = {0};
    e->lines = lib.history_init();
    if (!e->lines)
        return;
    lib.history(e->lines, &event, H_SETSIZE, MOST_HISTORY);
    lib.set(e->el, EL_HIST, lib.history, e->lines);
    if (shell_history_open(&e->history, &error) != LB_OK)
        fprintf(stderr, "No history: %s\n", error.message);
    for (size_t i = 0; i < e->history.count; i++)
        remember_in_library(e, e->history.lines[i]);
}

shell_editor *shell_editor_open(shell *s)
{
    if (!lib.library && !load()) {
        fprintf(stderr, "libedit is not on this machine: lines cannot be edited.\n");
        return NULL;
    }
    shell_editor *e = calloc(1, sizeof *e);
    if (!e || !(e->el = lib.init("lightbus", stdin, stdout, stderr))) {
        free(e);
        return NULL;
    }
    e->shell = s;
    set_prompts(e);
    lib.set(e->el, EL_CLIENTDATA, e);
    lib.set(e->el, EL_PROMPT_ESC, prompt, '\1');
    lib.set(e->el, EL_EDITOR, "emacs");
    lib.set(e->el, EL_GETCFN, read_character);
    /* The narrow function would leak its copies of these texts. */
    lib.wset(e->el, EL_ADDFN, L"lightbus-complete", L"completes names and values", complete);
    lib.wset(e->el, EL_ADDFN, L"lightbus-clear", L"gives the line up", clear);
    lib.source(e->el, NULL); /* ~/.editrc, which may choose other keys */
    bind_keys(e->el);
    open_history(e);
    return e;
}

shell_input shell_editor_read(shell_editor *e, bool continued, buffer *line)
{
    int size = 0;
    e->continued = continued;
    e->input = SHELL_LINE;
    lib.set(e->el, EL_PREP_TERM, 1); /* before the prompt: what is typed behind it is echoed once */
    const char *text = lib.gets(e->el, &size);
    if (text && size > 0 && e->input == SHELL_LINE) {
        size -= text[size - 1] == '\n';
        buffer_add(line, text, (size_t)size);
        return SHELL_LINE;
    }
    if (e->input == SHELL_CLEARED)
        return SHELL_CLEARED;
    putchar('\n');
    return SHELL_END;
}

void shell_editor_remember(shell_editor *e, const buffer *statement)
{
    char *line = shell_one_line(statement->data, statement->size);
    if (line && shell_history_add(&e->history, line) && e->lines)
        remember_in_library(e, line);
    free(line);
}

void shell_editor_close(shell_editor *e)
{
    if (!e)
        return;
    lib.end(e->el);
    if (e->lines)
        lib.history_end(e->lines);
    shell_history_free(&e->history);
    free(e);
}

#else

shell_editor *shell_editor_open(shell *s)
{
    (void)s;
    fprintf(stderr, "This lightbus was built without libedit: lines cannot be edited.\n");
    return NULL;
}

/* Nobody has an editor to call these with. */
shell_input shell_editor_read(shell_editor *e, bool continued, buffer *line)
{
    (void)e, (void)continued, (void)line;
    return SHELL_END;
}

void shell_editor_remember(shell_editor *e, const buffer *statement) { (void)e, (void)statement; }

void shell_editor_close(shell_editor *e) { (void)e; }

#endif
