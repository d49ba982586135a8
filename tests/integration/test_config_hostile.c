/* Configurations that are wrong in the ways that files, servers and shared objects can be. Whatever it is, the
 * program ends soon with exit code 1 and one line that names the place, and nothing of it has reached the bus.
 */
#include "base/buffer.h"
#include "cli_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* `call` and `run` with this configuration: exit code 1, one line with `part`, nothing on the bus. */
static void refused(const char *config, const char *part)
{
    const char *const runs[][6] = {{"call", "a.b", "--config", config},
                                   {"run", "--bus", TESTS_DIR "/integration/cli_service", "--config", config}};
    program *started[2];
    for (size_t i = 0; i < 2; i++) /* both at once: some take their time */
        started[i] = cli_start(&c, NULL, runs[i]);
    for (size_t i = 0; i < 2; i++) {
        program *p = started[i];
        int code = program_wait(p, DEADLINE_MS);
        const char *newline = strchr(p->text, '\n');
        if (code != 1 || !strstr(p->text, part) || !newline || newline[1])
            fail_msg("%s %s: exit code %d, expected 1 and one line with \"%s\", got: %s", runs[i][0], config,
                     code, part, p->text);
        assert_contains(p->text, "error: ");
        program_free(p);
    }
    assert_int_equal(redis_int(c.redis, "DBSIZE", NULL), 0);
}

static void refused_text(const char *name, const char *text, const char *part)
{
    write_file(c.folder, name, text);
    refused(name, part);
}

/* ---- Files ------------------------------------------------------------------------------------------ */

static void what_is_no_file(void **state)
{
    (void)state;
    char path[300];

    refused("gone.yaml", "gone.yaml: cannot be opened: No such file or directory");
    refused(c.folder, "cannot be read: Is a directory");
    snprintf(path, sizeof path, "%s/loop.yaml", c.folder);
    assert_int_equal(symlink("loop.yaml", path), 0);
    refused("loop.yaml", "loop.yaml: cannot be opened: Too many levels of symbolic links");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", c.folder);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    refused("socket", "socket: cannot be opened: No such device or address");
    close(fd);
    refused("/dev/zero", "/dev/zero: larger than 1048576 bytes");
    refused("/dev/null", "/dev/null:1:1: is empty");
}

static void a_pipe_does_not_hang(void **state)
{
    (void)state;
    char path[300];

    snprintf(path, sizeof path, "%s/pipe.yaml", c.folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    refused("pipe.yaml", "pipe.yaml:1:1: is empty"); /* nobody writes to it */
    int writer = open(path, O_RDWR);
    assert_true(writer >= 0);
    refused("pipe.yaml", "pipe.yaml: nothing came within 5 s");
    close(writer);
}

/* As another user, where this one may read everything. */
static int open_unreadable(void *path)
{
    lb_error error = {0};
    if (geteuid() == 0 && seteuid(65534) != 0)
        return 2;
    lb_bus *bus = lb_open(&(lb_options){.config = path}, &error);
    if (getuid() == 0 && seteuid(0) != 0) /* what looks for leaks at the end must be itself again */
        return 2;
    return !bus && error.status == LB_SYSTEM && strstr(error.message, "cannot be opened: Permission denied")
               ? 0
               : 1;
}

static void a_file_that_may_not_be_read(void **state)
{
    (void)state;
    char path[300];

    write_file(c.folder, "secret.yaml", "service_name: x\n");
    snprintf(path, sizeof path, "%s/secret.yaml", c.folder);
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(child_wait(child_start(open_unreadable, path), DEADLINE_MS), 0);
}

static void a_huge_file_is_not_read(void **state)
{
    (void)state;
    const char *const names[] = {"huge.yaml", "huge.json"};
    char path[300];

    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", c.folder, names[i]);
        write_file(c.folder, names[i], "");
        assert_int_equal(truncate(path, (off_t)1 << 30), 0);
        refused(names[i], ": larger than 1048576 bytes");
    }
}

static void texts_that_are_no_configuration(void **state)
{
    (void)state;
    refused_text("empty.yaml", "", "empty.yaml:1:1: is empty: expected a mapping");
    refused_text("empty.json", "", "empty.json:1:1: is empty: expected a mapping");
    refused_text("latin1.yaml", "service_name: caf\xe9\n", "latin1.yaml:1:18: not UTF-8: the byte 0xe9");
    refused_text("binary.yaml", "\x7f\x45LF\x02\x01\x01", "binary.yaml:1:1: not YAML: control characters");
    refused_text("loop_alias.yaml", "bus: &a\n  schema: *a\n",
                 "loop_alias.yaml:2:11: the alias *a contains itself");
    refused_text("deep.json", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "deep.json:1:");
}

/* ---- Small files that ask for much work -------------------------------------------------------------- */

static void repeat(buffer *out, const char *text, int times)
{
    while (times-- > 0)
        buffer_str(out, text);
}

static void refused_buffer(const char *name, buffer *text, const char *part)
{
    assert_non_null(buffer_text(text));
    assert_true(text->size < 1 << 20);
    refused_text(name, text->data, part);
    buffer_free(text);
}

static void aliases_that_multiply(void **state)
{
    (void)state;
    buffer text = {0};

    buffer_literal(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 20; i++)
        buffer_printf(&text, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1,
                      i - 1, i - 1, i - 1);
    refused_buffer("laughs.yaml", &text, "laughs.yaml:1:1: unknown key \"a0\"");

    buffer_literal(&text, "a: ["); /* each alias finds its anchor among all of them */
    for (int i = 0; i < 45000; i++)
        buffer_printf(&text, "&a%d 1, ", i);
    buffer_literal(&text, "]\nb: [");
    repeat(&text, "*a1 , ", 70000);
    buffer_literal(&text, "]\n");
    refused_buffer("anchors.yaml", &text, "anchors.yaml:1:1: unknown key \"a\"");
}

static void merges_that_multiply(void **state)
{
    (void)state;
    buffer text = {0};

    for (int copies = 0; copies < 2; copies++) {
        buffer_literal(&text, "a: &a {");
        for (int i = 0; i < 40000; i++)
            buffer_printf(&text, "k%d: 1, ", i);
        buffer_str(&text, copies ? "}\nb: [" : "}\nb:\n  <<: [");
        repeat(&text, copies ? "{<<: *a}, " : "*a, ", 40000); /* 1.6 billion keys */
        buffer_literal(&text, "]\n");
        refused_buffer("merges.yaml", &text, "merges.yaml:1:4: \"<<\" merges more than 100000 keys");
    }
}

static void many_apis_take_no_long(void **state)
{
    (void)state;
    buffer text = {0};

    buffer_printf(&text, "bus: {url: '%s'}\napis: {a: &a {rpc_timeout: 5}", c.redis->url);
    for (int i = 0; i < 60000; i++)
        buffer_printf(&text, ", a%d: *a", i);
    buffer_literal(&text, "}\n");
    assert_non_null(buffer_text(&text));
    write_file(c.folder, "many.yaml", text.data);
    RUN(&c, 1, "no API \"shop\" is on the bus", "call", "shop.buy", "--config", "many.yaml");
    text.size = 0;
    buffer_literal(&text, "apis: {");
    for (int i = 0; i < 15000; i++)
        buffer_printf(&text, "a%d: {event_transport: {redis: {url: 'redis://h%d'}}}, ", i, i);
    buffer_literal(&text, "}\n");
    refused_buffer("servers.yaml", &text, "more than 1000 different URLs of transports");
}

/* ---- Web servers ------------------------------------------------------------------------------------ */

typedef struct web {
    int listening;
    const char *answer; /* NULL: it never comes */
    const char *drip;   /* then this, again and again, slowly; or NULL */
} web;

/* Answers everybody in the same way, two at once. */
static int serve(void *argument)
{
    const web *w = argument;
    char request[2048];
    pid_t second = fork(); /* it ends with the first */

    if (second == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int fd; (fd = accept(w->listening, NULL, NULL)) >= 0;) {
        bool open = read(fd, request, sizeof request) > 0 && w->answer &&
                    send(fd, w->answer, strlen(w->answer), MSG_NOSIGNAL) > 0;
        while (open && w->drip && send(fd, w->drip, strlen(w->drip), MSG_NOSIGNAL) > 0)
            usleep(200 * 1000);
        if (w->answer)
            shutdown(fd, SHUT_WR);
        while (read(fd, request, sizeof request) > 0)
            ;
        close(fd);
    }
    return 0;
}

/* A server of its own for one configuration, which is refused. "PORT" in its answer is its port. */
static void refused_answer(const char *path, const char *answer, const char *drip, const char *part)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    char url[200], text[1000], *port;
    web w = {.listening = socket(AF_INET, SOCK_STREAM, 0), .drip = drip};

    assert_int_equal(bind(w.listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(w.listening, 5), 0);
    assert_int_equal(getsockname(w.listening, (struct sockaddr *)&address, &size), 0);
    if (answer) {
        port = strstr(answer, "PORT");
        int before = port ? (int)(port - answer) : (int)strlen(answer);
        snprintf(text, sizeof text, "%.*s", before, answer);
        if (port)
            snprintf(text + before, sizeof text - (size_t)before, "%d%s", ntohs(address.sin_port), port + 4);
        w.answer = text;
    }
    pid_t server = child_start(serve, &w);
    close(w.listening);
    snprintf(url, sizeof url, "http://me:secret@127.0.0.1:%d/%s", ntohs(address.sin_port), path);
    refused(url, part);
    child_kill(server, SIGKILL);
    child_wait(server, DEADLINE_MS);
}

#define OK "HTTP/1.0 200 OK\r\n"

static bool urls_are_known(void)
{
    program *p = START(&c, "call", "a.b", "--config", "http://127.0.0.1:1/");
    assert_int_equal(program_wait(p, DEADLINE_MS), 1);
    bool known = strstr(p->text, "built without libcurl") == NULL;
    program_free(p);
    return known;
}

static void servers_that_give_no_configuration(void **state)
{
    (void)state;
    if (!urls_are_known())
        skip();
    refused_answer("c", "HTTP/1.0 404 Not Found\r\n\r\nservice_name: x\n", NULL, "status 404, expected 200");
    refused_answer("c", "HTTP/1.0 500 No\r\n\r\n", NULL, "status 500, expected 200");
    refused_answer("c", "HTTP/1.0 204 Nothing\r\n\r\n", NULL, "status 204, expected 200");
    refused_answer("c", "HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:PORT/c\r\n\r\n", NULL,
                   "cannot be fetched: Maximum (3) redirects followed");
    refused_answer("c", "HTTP/1.0 302 Found\r\nLocation: file:///etc/hostname\r\n\r\n", NULL,
                   "cannot be fetched: ");
    refused_answer("c", OK "Content-Type: text/html\r\n\r\n<!DOCTYPE html>\n<p>Log in</p>\n", NULL,
                   "/c:1:1: expected a mapping, got the text");
    refused_answer("c", OK "Content-Type: application/json\r\n\r\nservice_name: x\n", NULL, "/c:1:1: not JSON");
    refused_answer("c", OK "Content-Type: image/png\r\n\r\n\x89PNG\r\n", NULL,
                   "/c:1:1: not UTF-8: the byte 0x89");
    refused_answer("c", OK "\r\n", NULL, "/c:1:1: is empty");
    refused_answer("c", OK "Content-Length: 100\r\n\r\nservice_name: x\n", NULL, "cannot be fetched: ");
    refused_answer("c", "+PONG\r\n", NULL, "cannot be fetched: ");
}

static void servers_that_take_their_time(void **state)
{
    (void)state;
    if (!urls_are_known())
        skip();
    refused_answer("c", NULL, NULL, "cannot be fetched: ");
    refused_answer("c", OK "\r\n", "# more\n",
                   "cannot be fetched: "); /* each byte is in time, the whole is not */
}

/* ---- Shared objects --------------------------------------------------------------------------------- */

static void refused_object(const char *name, const char *part)
{
    char text[400];

    snprintf(text, sizeof text, "apis: {default: {rpc_transport: {custom: {object: '%s', url: 'x://'}}}}\n",
             name);
    refused_text("custom.yaml", text, part);
}

/* Compiles the lines as name.so. */
static void compile(const char *name, const char *lines)
{
    char command[1500];

    snprintf(command, sizeof command,
             "cd '%s' && printf '%%s\\n' '#include <lightbus/transport.h>' '%s' >%s.c && "
             "cc -shared -fPIC -I '%s/../include' %s.c -o %s.so",
             c.folder, lines, name, TESTS_DIR, name, name);
    assert_int_equal(system(command), 0);
}

static void objects_that_are_no_transports(void **state)
{
    (void)state;
    char command[600];

    refused_object("gone.so", "gone.so: cannot be loaded: ");
    refused_object("../", "cannot be loaded: ");
    write_file(c.folder, "text.so", "this is no shared object, but long enough to be looked at as one\n");
    refused_object("text.so", "text.so: cannot be loaded: ");
    write_file(c.folder, "empty.so", "");
    refused_object("empty.so", "empty.so: cannot be loaded: ");
    snprintf(command, sizeof command, "mkfifo '%s/pipe.so'", c.folder);
    assert_int_equal(system(command), 0);
    refused_object("pipe.so", "pipe.so: cannot be loaded: it is no file");

    compile("none", "int nothing;");
    refused_object("none.so", "none.so: is no transport: expected it to define");
    snprintf(command, sizeof command, "head -c 3000 '%s/none.so' >'%s/cut.so'", c.folder, c.folder);
    assert_int_equal(system(command), 0);
    refused_object("cut.so", "cut.so: cannot be loaded: the file has been cut short");
    compile("function", "int lb_transport_export_(void) __asm__(\"lb_transport_export\"); "
                        "int lb_transport_export_(void) { return 1; }");
    refused_object("function.so", "function.so: is no transport");
    compile("number", "const unsigned number __asm__(\"lb_transport_export\") = LB_TRANSPORT_ABI;");
    refused_object("number.so", "number.so: is no transport");
}

static void transports_of_another_time(void **state)
{
    (void)state;
    compile("old", "struct { unsigned abi; unsigned long other[20]; } old __asm__(\"lb_transport_export\") = "
                   "{LB_TRANSPORT_ABI + 1, {1, 2, 3}};");
    refused_object("old.so", "old.so: a transport made for version 2 of the transport contract, expected 1");
    compile("size", "const lb_transport lb_transport_export = {.abi = LB_TRANSPORT_ABI, .size = 8};");
    refused_object("size.so", "size.so: a transport whose lb_transport has 8 bytes, expected ");
    compile("long", "const lb_transport lb_transport_export = {.abi = LB_TRANSPORT_ABI, .size = 4096, "
                    ".name = \"long\", .schemes = \"x\"};");
    refused_object("long.so", "long.so: is no transport"); /* it has not so many bytes */
    compile("half",
            "const lb_transport lb_transport_export = {.abi = LB_TRANSPORT_ABI, .size = sizeof(lb_transport), "
            ".name = \"half\", .schemes = \"x\"};");
    refused_object("half.so", "half.so: transport half: expected it to have a name, schemes, open, close and");
}

static void refused_plugin(const char *object, const char *part)
{
    char text[200];

    snprintf(text, sizeof text, "plugins: {mine: {enabled: true, library: %s}}\n", object);
    refused_text("plugin.yaml", text, part);
}

static void objects_that_are_no_plugins(void **state)
{
    (void)state;
    char command[600];

    write_file(c.folder, "words.so", "this is no shared object, but long enough to be looked at as one\n");
    refused_plugin("words.so", "words.so: cannot be loaded: ");
    compile("plain", "const unsigned plain __asm__(\"lb_plugin_export\") = 1;");
    refused_plugin("plain.so", "plain.so: is no plugin: expected it to define");
    snprintf(command, sizeof command, "head -c 3000 '%s/plain.so' >'%s/torn.so'", c.folder, c.folder);
    assert_int_equal(system(command), 0);
    refused_plugin("torn.so", "torn.so: cannot be loaded: the file has been cut short");
}

static void bus_modules_that_are_none(void **state)
{
    (void)state;
    char command[600];

    snprintf(command, sizeof command, "cd '%s' && head -c 3000 none.so >bus.so && mkfifo fifo.so", c.folder);
    compile("none", "int nothing;");
    assert_int_equal(system(command), 0);
    RUN(&c, 1, "the file has been cut short", "run", "--bus", "bus.so");
    RUN(&c, 1, "it is no file", "run", "--bus", "fifo.so");
    RUN(&c, 1, "does not define lb_setup", "run", "--bus", "none.so");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_file),
        cmocka_unit_test(a_pipe_does_not_hang),
        cmocka_unit_test(a_file_that_may_not_be_read),
        cmocka_unit_test(a_huge_file_is_not_read),
        cmocka_unit_test(texts_that_are_no_configuration),
        cmocka_unit_test(aliases_that_multiply),
        cmocka_unit_test(merges_that_multiply),
        cmocka_unit_test(many_apis_take_no_long),
        cmocka_unit_test(servers_that_give_no_configuration),
        cmocka_unit_test(servers_that_take_their_time),
        cmocka_unit_test(objects_that_are_no_transports),
        cmocka_unit_test(transports_of_another_time),
        cmocka_unit_test(objects_that_are_no_plugins),
        cmocka_unit_test(bus_modules_that_are_none),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
