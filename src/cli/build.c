/* A report is a list of NUL-terminated texts: those of `built` in their order, then the inputs. */
#include "build.h"
#include "module.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SERVICE, SERVICE_IS_RANDOM, PROCESS, MODULE, OBJECT, IDENTITY, FIELDS };

static int read_configuration(const invocation *in, arena *memory, const char *fields[FIELDS])
{
    lb_bus *bus = cli_open(in, (lb_options){0});
    lb_value *about;

    if (!bus)
        return CLI_FAILURE;
    about = lb_describe(bus);
    fields[SERVICE] = arena_printf(memory, "%s", lb_service_name(bus));
    fields[PROCESS] = arena_printf(memory, "%s", lb_process_name(bus));
    fields[SERVICE_IS_RANDOM] = lb_value_bool(lb_value_get(about, "service_is_random")) ? "1" : "";
    lb_value_free(about);
    lb_close(bus);
    return CLI_OK;
}

/* Compiled objects are named by their content; of other files, which may be written again, the time tells. */
static const char *identity_of(arena *memory, const char *object)
{
    struct stat info;

    if (stat(object, &info) < 0)
        return "";
    return arena_printf(memory, "%s %llu %lld %lld.%09ld", object, (unsigned long long)info.st_ino,
                        (long long)info.st_size, (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

static lb_status build_module(const invocation *in, arena *memory, const char *fields[FIELDS], words *inputs,
                              lb_error *error)
{
    lb_setup_fn setup;
    lb_status status = module_find(memory, in->bus, &fields[MODULE], error);

    if (status == LB_OK)
        status = module_build(memory, fields[MODULE], inputs, &fields[OBJECT], error);
    if (status == LB_OK)
        status = module_open(fields[OBJECT], fields[MODULE], &setup, error);
    if (status == LB_OK)
        fields[IDENTITY] = identity_of(memory, fields[OBJECT]);
    return status;
}

static bool write_all(int out, const buffer *text)
{
    for (size_t done = 0; done < text->size;) {
        ssize_t size = write(out, text->data + done, text->size - done);
        if (size < 0 && errno != EINTR)
            return false;
        done += size > 0 ? (size_t)size : 0;
    }
    return !text->failed;
}

static bool write_report(int out, const char *const fields[FIELDS], const words *inputs)
{
    buffer report = {0};
    bool written;

    for (int i = 0; i < FIELDS; i++)
        buffer_add(&report, fields[i] ? fields[i] : "", fields[i] ? strlen(fields[i]) + 1 : 1);
    for (size_t i = 0; i < inputs->count; i++)
        buffer_add(&report, inputs->list[i], strlen(inputs->list[i]) + 1);
    written = write_all(out, &report);
    buffer_free(&report);
    return written;
}

int build_and_report(const invocation *in, int out)
{
    const char *fields[FIELDS] = {0};
    arena memory = {0};
    words inputs = {.memory = &memory};
    lb_error error = {0};
    int code = read_configuration(in, &memory, fields);

    if (code == CLI_OK && !in->setup && build_module(in, &memory, fields, &inputs, &error) != LB_OK)
        code = failure(in, &error);
    if (!write_report(out, fields, &inputs))
        code = CLI_FAILURE;
    arena_free(&memory);
    return code;
}

bool build_read(buffer *report, arena *memory, built *b)
{
    const char *at = buffer_text(report), **texts, *end = at + report->size;
    size_t count = 0;

    for (const char *c = at; at && c < end; c++)
        count += *c == '\0';
    texts = count >= FIELDS ? arena_alloc(memory, (count + 1) * sizeof *texts) : NULL;
    if (!texts)
        return false;
    for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
        texts[i] = at;
    texts[count] = NULL;
    *b = (built){
        .service = texts[SERVICE],
        .process = texts[PROCESS],
        .service_is_random = *texts[SERVICE_IS_RANDOM] != '\0',
        .module = texts[MODULE],
        .object = texts[OBJECT],
        .identity = texts[IDENTITY],
        .inputs = texts + FIELDS,
    };
    return true;
}
