/* The schema of an API: its members, each with compiled validators, made from a table of signatures (our own
 * APIs) or from the JSON that another process published. Immutable once made: any thread may read it; it is
 * counted by references, since calls in flight may outlast a reload. */
#ifndef SCHEMA_SCHEMA_H
#define SCHEMA_SCHEMA_H

#include <lightbus/api.h>
#include <lightbus/transport.h>

#include "../base/arena.h"
#include "../base/buffer.h"
#include "signature.h"

typedef struct validator validator; /* a compiled JSON schema; NULL accepts everything */

typedef struct member_schema {
    lb_slice name; /* NUL-terminated */
    bool is_event;
    int version; /* of a local API, else 1 */
    const validator *parameters;
    const validator *response;
    const signature *declared; /* of a local API, else NULL */
    const lb_member *row;      /* of a local API, else NULL */
    bool casts, casts_result;  /* whether casting can change or refuse an argument, or the result */
} member_schema;

typedef struct api_schema api_schema;

/* LB_INVALID_NAME unless it is a name that an API can have: parts of letters, digits, "_" and "-" with single
 * dots between, not "default" nor "default.*". */
lb_status api_name_check(lb_slice name, lb_error *error);

/* From a table: parses the signatures. Errors: LB_INVALID_NAME, LB_INVALID_SIGNATURE, LB_DUPLICATE (two members
 * of a name). */
lb_status api_schema_from_table(const lb_api *api, api_schema **result, lb_error *error);
/* From the JSON on the bus: {"events": {NAME: {"parameters": S}}, "rpcs": {NAME: {"parameters": S, "response":
 * S}}}; either half may be absent. LB_MALFORMED says what is wrong. Hostile input is expected here. */
lb_status api_schema_from_json(lb_slice api_name, lb_slice json, api_schema **result, lb_error *error);
api_schema *api_schema_ref(api_schema *schema);
void api_schema_unref(api_schema *schema); /* NULL is allowed */

lb_slice api_schema_name(const api_schema *schema); /* NUL-terminated */
/* The JSON published on the bus: byte for byte what Python Lightbus writes for the like-typed class is not
 * needed, equality as JSON is. Borrowed. */
lb_slice api_schema_json(const api_schema *schema);
const member_schema *api_schema_find(const api_schema *schema, lb_slice name, bool is_event); /* NULL: none */
size_t api_schema_count(const api_schema *schema);
const member_schema *api_schema_at(const api_schema *schema, size_t index); /* in the order of the table */
/* The signature of any member, local or remote, in canonical form, for people. */
void member_print(buffer *out, const member_schema *member);

/* ---- Marshalling ------------------------------------------------------------------------------------
 * All errors name the member and the parameter in one line:
 *     auth.check_password: password: expected str, got int (3)
 *     auth.check_password: missing argument "password"; the signature is check_password(username: str,
 * password: str) -> bool auth.check_password: unexpected argument "pasword"; did you mean "password"? ...  */

/* What is done on the way, by the settings of the API. */
enum { MARSHAL_VALIDATE = 1, MARSHAL_CAST = 2 };

/* Outbound: C arguments to JSON texts: deformed (an int to a bool where bool is declared, a datetime to its
 * text), validated (MARSHAL_VALIDATE), serialised. What goes to a parameter of a local API must be readable as
 * its type too, as the receiver's cast will have it. The texts, the array and names that are not the member's
 * are allocated in `memory`. `member` NULL: not validated. */
lb_status arguments_encode(lb_slice api_name, const member_schema *member, unsigned how, const lb_arg *args,
                           arena *memory, lb_kwarg **kwargs, size_t *count, lb_error *error);
/* The same for a result; appends the JSON text to `out` (nothing on failure). */
lb_status result_encode(lb_slice api_name, const member_schema *member, unsigned how, const lb_datum *value,
                        buffer *out, lb_error *error);

/* Inbound: validates (MARSHAL_VALIDATE), adds the declared defaults that are absent, casts to the declared
 * types (MARSHAL_CAST): what cannot be read as its type is refused, absent fields of structs get their
 * defaults.
 * `*kwargs` may be replaced by an array in `memory`. */
lb_status arguments_accept(lb_slice api_name, const member_schema *member, unsigned how, arena *memory,
                           const lb_kwarg **kwargs, size_t *count, lb_error *error);
lb_status result_accept(lb_slice api_name, const member_schema *member, const lb_value *result,
                        lb_error *error);

#endif
