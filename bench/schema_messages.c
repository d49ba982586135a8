/* What the validation of the quickstart's messages costs: a call, its result and an event, each a parsed
 * message that is checked as a worker or a client checks it. Prints `schema.NAME cost N ns` lines, medians of
 * rounds; exits with 1 when one is above the target of 1 µs. Usage: schema_messages [ROUNDS] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/base/json.h"
#include "../src/schema/schema.h"
#include "bench.h"

#define REPEATS   100000
#define TARGET_NS 1000.0

static const char schema_text[] =
    "{\"rpcs\":{\"check_password\":{\"parameters\":{\"$schema\":\"http://json-schema.org/draft-07/"
    "schema#\",\"type\":"
    "\"object\",\"title\":\"RPC auth.check_password() "
    "parameters\",\"additionalProperties\":false,\"properties\":{"
    "\"username\":{\"type\":\"string\"},\"password\":{\"type\":\"string\"}},\"required\":[\"username\","
    "\"password\"]},\"response\":{\"type\":\"boolean\"}}},\"events\":{\"user_registered\":{\"parameters\":{"
    "\"type\":"
    "\"object\",\"additionalProperties\":false,\"properties\":{\"username\":{\"type\":\"string\"},\"email\":{"
    "\"type\":"
    "\"string\"}},\"required\":[\"username\",\"email\"]}}}}";

typedef struct message {
    const char *name, *member, *text;
    bool is_event, is_result;
} message;

static const message messages[] = {
    {"call", "check_password", "{\"username\":\"admin\",\"password\":\"secret\"}", false, false},
    {"result", "check_password", "true", false, true},
    {"event", "user_registered", "{\"username\":\"admin\",\"email\":\"admin@example.com\"}", true, false},
};

static void require(lb_status status, const lb_error *error)
{
    if (status != LB_OK)
        die("%s", error->message);
}

static void check_once(const message *m, const member_schema *member, const lb_kwarg *given, size_t given_count,
                       const lb_value *value, arena *memory)
{
    lb_error error = {0};
    const lb_kwarg *kwargs = given;
    size_t count = given_count;

    if (m->is_result)
        require(result_accept(slice_of("auth"), member, value, &error), &error);
    else
        require(arguments_accept(slice_of("auth"), member, MARSHAL_VALIDATE | MARSHAL_CAST, memory, &kwargs,
                                 &count, &error),
                &error);
}

static double measure(const message *m, const api_schema *schema)
{
    const member_schema *member = api_schema_find(schema, slice_of(m->member), m->is_event);
    arena memory = {0};
    const lb_value *value = NULL;
    lb_error error = {0};
    lb_kwarg kwargs[4];
    size_t count = 0;

    require(json_parse(&memory, m->text, strlen(m->text), &value, &error), &error);
    for (lb_value_iterator it = lb_value_iterate(value); it.name && lb_value_next(&it);)
        kwargs[count++] = (lb_kwarg){.name = {it.name, it.name_size}, .value = it.value};
    int64_t start = now_ns();
    for (int i = 0; i < REPEATS; i++)
        check_once(m, member, kwargs, count, value, &memory);
    double cost = (double)(now_ns() - start) / REPEATS;
    arena_free(&memory);
    return cost;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 11;
    double costs[101];
    bool slow = false;
    api_schema *schema = NULL;
    lb_error error = {0};

    if (rounds < 1 || rounds > 101)
        die("usage: schema_messages [ROUNDS, 1 to 101]");
    require(api_schema_from_json(slice_of("auth"), slice_of(schema_text), &schema, &error), &error);
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        char name[64];
        for (int j = 0; j < rounds; j++)
            costs[j] = measure(&messages[i], schema);
        qsort(costs, (size_t)rounds, sizeof *costs, compare);
        snprintf(name, sizeof name, "schema.%s", messages[i].name);
        emit(name, "cost", costs[rounds / 2], "ns");
        slow = slow || costs[rounds / 2] > TARGET_NS;
    }
    api_schema_unref(schema);
    return slow;
}
