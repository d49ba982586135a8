/* What is wrong with the set-up of a handle: what its transports find, and the schemas on them. */
#include <stddef.h>
#include <string.h>

#include "../base/report.h"
#include "../schema/compatibility.h"
#include "bus.h"

enum { CHECK_MS = 5000 };

typedef struct diagnosis {
    lb_bus *bus;
    lb_finding_fn found;
    void *data;
    const char *place; /* of what is told now */
    report report;
    size_t schemas; /* on the bus */
} diagnosis;

static void pass_on(const lb_finding *finding, void *data)
{
    const diagnosis *d = data;
    lb_finding placed = *finding;
    placed.place = d->place;
    d->found(&placed, d->data);
}

/* ---- The handle ------------------------------------------------------------------------------------- */

static void check_names(diagnosis *d)
{
    report_begin(&d->report, "names");
    if (d->bus->service_name_is_random)
        report_tell(&d->report, LB_FINDING_NOTE,
                    "set LIGHTBUS_SERVICE_NAME, or service_name in the configuration, for services that listen",
                    "the service name is random (%s): listeners get another group at every start, and miss "
                    "events in between",
                    d->bus->service_name);
    else
        report_tell(&d->report, LB_FINDING_OK, NULL, "service %s, process %s", d->bus->service_name,
                    d->bus->process_name);
}

/* ---- Transports ------------------------------------------------------------------------------------- */

/* A transport made for an earlier header ends before it. */
static bool can_diagnose(const lb_transport *t)
{
    return t->size >= offsetof(lb_transport, diagnose) + sizeof t->diagnose && t->diagnose;
}

static bool diagnose_instance(diagnosis *d, const instance *i, int64_t check_ms)
{
    d->place = i->place;
    if (can_diagnose(i->transport))
        return i->transport->diagnose(i->self, check_ms, pass_on, d);
    report_begin(&d->report, "transport");
    report_tell(&d->report, LB_FINDING_NOTE, NULL, "the transport \"%s\" has no checks of its own",
                i->transport->name);
    return true;
}

/* One place may be reached by several instances. */
static const instance *first_of_place(const lb_bus *bus, const char *place)
{
    const instance *i = bus->instances;
    while (strcmp(i->place, place) != 0)
        i = i->next;
    return i;
}

/* Tells whether there are schemas to be looked at. */
static bool diagnose_instances(diagnosis *d, int64_t check_ms)
{
    const instance *of_schemas = first_of_place(d->bus, d->bus->schema->place);
    bool usable = false;
    for (const instance *i = d->bus->instances; i; i = i->next) {
        if (first_of_place(d->bus, i->place) != i)
            continue;
        bool good = diagnose_instance(d, i, check_ms);
        usable |= good && i == of_schemas;
    }
    return usable && d->bus->schema->transport->schema;
}

/* ---- Schemas ---------------------------------------------------------------------------------------- */

static void tell_break(void *data, bool breaks, const char *text)
{
    diagnosis *d = data;
    if (breaks)
        report_tell(&d->report, LB_FINDING_WARNING, "see docs/how-to/change-an-api.md",
                    "the API of the bus module breaks the one on the bus: %s", text);
}

static void compare(diagnosis *d, lb_slice api_name, lb_slice json)
{
    lb_value *live = NULL, *ours = NULL;
    const local_api *local = schemas_local(d->bus, api_name);
    if (!local || slice_equal(json, api_schema_json(local->schema)))
        return;
    lb_slice text = api_schema_json(local->schema);
    if (lb_value_parse(json.data, json.size, &live, NULL) == LB_OK &&
        lb_value_parse(text.data, text.size, &ours, NULL) == LB_OK)
        compatibility_check(api_name, live, ours, tell_break, d);
    lb_value_free(live);
    lb_value_free(ours);
}

static void check_schema(lb_slice api_name, lb_slice json, void *data)
{
    diagnosis *d = data;
    api_schema *schema = NULL;
    lb_error error = {0};
    d->schemas++;
    if (api_schema_from_json(api_name, json, &schema, &error) == LB_OK)
        compare(d, api_name, json);
    else
        report_tell(&d->report, LB_FINDING_WARNING,
                    "end the process that publishes it, or mend its API; until then nothing is validated",
                    "the schema of API %.*s is not understood: %s", (int)api_name.size, api_name.data,
                    error.message);
    api_schema_unref(schema);
}

static void check_schemas(diagnosis *d, int64_t check_ms)
{
    const instance *i = d->bus->schema;
    lb_error error = {0};
    d->place = i->place;
    report_begin(&d->report, "schemas");
    int64_t deadline = clock_in_ms(check_ms);
    lb_status status = LB_TIMEOUT;
    if (schemas_enter(&d->bus->schemas, deadline)) {
        status = i->transport->schema->load(i->self, check_schema, d, deadline, &error);
        schemas_leave(&d->bus->schemas);
    } else {
        lb_error_set(&error, status, "another thread still waits for them");
    }
    if (status != LB_OK)
        report_unchecked(&d->report, &error);
    else if (!d->report.told)
        report_tell(&d->report, LB_FINDING_OK, NULL, "%zu API%s on the bus", d->schemas,
                    d->schemas == 1 ? "" : "s");
}

void lb_diagnose(lb_bus *bus, int check_timeout_ms, lb_finding_fn found, void *data)
{
    diagnosis d = {.bus = bus, .found = found, .data = data};
    int64_t check_ms = check_timeout_ms > 0 ? check_timeout_ms : CHECK_MS;
    bus_check_fork(bus);
    d.report = (report){.found = pass_on, .data = &d};
    check_names(&d);
    if (diagnose_instances(&d, check_ms))
        check_schemas(&d, check_ms);
    report_free(&d.report);
}
