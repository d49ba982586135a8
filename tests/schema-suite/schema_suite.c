/* Runs all cases of the JSON schema test suite, draft-07, required and optional, against the validator, which
 * fetches no documents: where a case refers to one of the suite's, it is put into the schema's definitions. The
 * cases that are left out stand below with the reason; one that is left out though it passes is a failure too,
 * so that the list stays honest. Usage: schema_suite FOLDER (.../tests/draft7). Exits with 77 when there is no
 * such folder. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "schema/validator.h"

typedef struct exception {
    const char *file, *test; /* the end of the path, and the description of the group or of the test */
    const char *reason;
} exception;

static const char annotation[] = "draft-07 lets contentEncoding and contentMediaType be annotations";
static const exception exceptions[] = {
    {"/optional/content.json", "an invalid JSON document", annotation},
    {"/optional/content.json", "an invalid base64 string (% is not a valid character)", annotation},
    {"/optional/content.json", "a validly-encoded invalid JSON document", annotation},
    {"/optional/content.json", "an invalid base64 string that is valid JSON", annotation},
};

static const char *folder; /* of the suite */
static int passed, left_out, failed, files;

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static const exception *exception_for(const char *file, const lb_value *group, const lb_value *test)
{
    const char *names[] = {lb_value_str(lb_value_get(group, "description")),
                           lb_value_str(lb_value_get(test, "description"))};

    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        for (size_t j = 0; j < 2; j++)
            if (ends_with(file, exceptions[i].file) && names[j] && strcmp(names[j], exceptions[i].test) == 0)
                return &exceptions[i];
    return NULL;
}

static void fail(const char *file, const lb_value *group, const lb_value *test, const char *why)
{
    failed++;
    printf("FAILED %s: %s: %s: %s\n", file, lb_value_str(lb_value_get(group, "description")),
           lb_value_str(lb_value_get(test, "description")), why);
}

static void run_test(const char *file, const lb_value *group, const lb_value *test, bool compiled,
                     const validator *v, const char *problem)
{
    const exception *e = exception_for(file, group, test);
    violation why = {0};
    bool expected = lb_value_bool(lb_value_get(test, "valid"));
    bool accepted = compiled && validator_check(v, lb_value_get(test, "data"), &why);
    bool right = compiled && accepted == expected;

    if (right && e)
        fail(file, group, test, "is left out, but passes");
    else if (!right && !e)
        fail(file, group, test, !compiled ? problem : accepted ? "it was accepted" : why.reason);
    else if (e)
        left_out++;
    else
        passed++;
    if (compiled && !accepted && !why.reason[0])
        fail(file, group, test, "it was refused without a reason");
}

static char *read_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(size + 1);

    if (!file || !text || fread(text, 1, size, file) != size) {
        perror(path);
        exit(1);
    }
    text[size] = '\0';
    fclose(file);
    return text;
}

/* Adds the suite's document as a definition that has its address. */
static void add_document(buffer *schema, const char *name)
{
    char path[512];
    struct stat status;

    snprintf(path, sizeof path, "%s/../../remotes/%s", folder, name);
    if (stat(path, &status) != 0) {
        perror(path);
        exit(1);
    }
    char *text = read_file(path, (size_t)status.st_size);
    buffer_printf(schema, "\"%s\": {\"$id\": \"http://localhost:1234/%s\", %s, ", name, name,
                  strchr(text, '{') + 1);
    free(text);
}

/* The schema of a group, with the documents that it may refer to. */
static const lb_value *bundle(const lb_value *schema, arena *memory)
{
    static const char *const names[] = {"integer.json", "subSchemas.json", "name.json",
                                        "folder/folderInteger.json"};
    const lb_value *result = NULL;
    buffer text = {0};
    lb_value_iterator it = lb_value_iterate(lb_value_get(schema, "definitions"));

    buffer_literal(&text, "{\"definitions\": {");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        add_document(&text, names[i]);
    while (lb_value_next(&it)) {
        buffer_printf(&text, "\"%s\": ", it.name);
        json_write(&text, it.value);
        buffer_literal(&text, ", ");
    }
    buffer_literal(&text, "\"\": true}");
    for (it = lb_value_iterate(schema); lb_value_next(&it);) {
        if (strcmp(it.name, "definitions") == 0)
            continue;
        buffer_printf(&text, ", \"%s\": ", it.name);
        json_write(&text, it.value);
    }
    buffer_char(&text, '}');
    if (text.failed || json_parse(memory, text.data, text.size, &result, NULL) != LB_OK)
        result = NULL;
    buffer_free(&text);
    return result;
}

static void run_group(const char *file, const lb_value *group)
{
    arena memory = {0};
    const validator *v = NULL;
    lb_error error = {0};
    lb_value_iterator it = lb_value_iterate(lb_value_get(group, "tests"));
    const lb_value *schema = lb_value_get(group, "schema");
    if (ends_with(file, "/refRemote.json"))
        schema = bundle(schema, &memory);
    bool compiled = validator_compile_as(&memory, schema, FORMATS_STRICT, &v, &error) == LB_OK;

    while (lb_value_next(&it))
        run_test(file, group, it.value, compiled, v, error.message);
    arena_free(&memory);
}

static int run_file(const char *path, const struct stat *status, int type, struct FTW *place)
{
    lb_value *groups = NULL;
    lb_error error = {0};

    (void)place;
    if (type != FTW_F || !ends_with(path, ".json"))
        return 0;
    char *text = read_file(path, (size_t)status->st_size);
    if (lb_value_parse(text, (size_t)status->st_size, &groups, &error) != LB_OK) {
        printf("FAILED %s: %s\n", path, error.message);
        failed++;
    }
    for (lb_value_iterator it = lb_value_iterate(groups); lb_value_next(&it);)
        run_group(path, it.value);
    files++;
    lb_value_free(groups);
    free(text);
    return 0;
}

int main(int argc, char **argv)
{
    struct stat status;

    if (argc != 2) {
        fprintf(stderr, "usage: schema_suite FOLDER\n");
        return 2;
    }
    if (stat(argv[1], &status) != 0) {
        printf("skipped: there is no %s; tools/setup --tests installs json-schema-test-suite\n", argv[1]);
        return 77;
    }
    folder = argv[1];
    nftw(folder, run_file, 8, FTW_PHYS);
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        printf("left out: %s: %s: %s\n", exceptions[i].file + 1, exceptions[i].test, exceptions[i].reason);
    printf("%d files, %d cases passed, %d left out, %d failed\n", files, passed, left_out, failed);
    return failed || files < 40 ? 1 : 0;
}
