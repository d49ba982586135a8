/* Schemas: what the APIs on the bus look like. A schema is a dict {"events": {NAME: {"parameters": S}}, "rpcs":
 * {NAME: {"parameters": S, "response": S}}}, where S is a JSON schema (draft-07); a file of schemas is a dict
 * of API name to schema, as `lightbus dumpschema` writes it. Of an API that is known several times, the schema
 * of the registered one counts, then one loaded here, then the one on the bus. Any thread may call these. */
#ifndef LIGHTBUS_SCHEMA_H
#define LIGHTBUS_SCHEMA_H

#include <lightbus/api.h>
#include <lightbus/error.h>
#include <lightbus/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Loads schemas from a file, from all *.json of a folder, or, with "-", from standard input. They are used by
 * this handle to validate, and never published. What was loaded before of the same API is replaced. Nothing is
 * taken when one is wrong. Errors: LB_SYSTEM (it cannot be read), LB_MALFORMED with file and place,
 * LB_DUPLICATE (an API is in two files), LB_NO_MEMORY. */
LB_API lb_status lb_schema_load(lb_bus *bus, const char *path, lb_error *error);

/* The schemas known: of this process's APIs, loaded ones, and the others on the bus (loaded now). An owned dict
 * of API name to schema. Blocks on the transport for at most rpc_timeout_ms. */
LB_API lb_status lb_schema_dump(lb_bus *bus, lb_value **schemas, lb_error *error);
/* The same without those on the bus: only what was registered and loaded. Does not block. */
LB_API lb_status lb_schema_dump_local(lb_bus *bus, lb_value **schemas, lb_error *error);

/* Validates the arguments of "api.member" (a dict; of an RPC or an event), or the result of "api.procedure", by
 * hand. LB_INVALID_ARGUMENTS and LB_INVALID_RESULT say where and why; LB_UNKNOWN_API, LB_UNKNOWN_MEMBER. Looks
 * on the bus for an API that is not known, for at most rpc_timeout_ms. */
LB_API lb_status lb_schema_validate_parameters(lb_bus *bus, const char *name, const lb_value *parameters,
                                               lb_error *error);
LB_API lb_status lb_schema_validate_response(lb_bus *bus, const char *name, const lb_value *result,
                                             lb_error *error);

#ifdef __cplusplus
}
#endif
#endif
