/* From types and signatures to JSON schema, as Python Lightbus publishes it for the like-typed class, and back
 * to types for people to read. */
#ifndef SCHEMA_JSON_SCHEMA_H
#define SCHEMA_JSON_SCHEMA_H

#include <lightbus/value.h>

#include "../base/buffer.h"
#include "signature.h"

/* Appends the schema of a type. */
void json_schema_of_type(buffer *out, const type *t);
/* Appends what an API publishes about one member: {"parameters": S} and, of an RPC, "response". */
void json_schema_of_member(buffer *out, lb_slice api_name, const signature *s, bool is_event);

/* Appends the type of our grammar that a schema stands for; `any` for what has no such form. */
void json_schema_print_type(buffer *out, const lb_value *schema);
/* Appends a signature for a member of which only the schemas (NULL: none) are known. Parameter names that the
 * grammar does not have are shown as strings. */
void json_schema_print_signature(buffer *out, lb_slice name, const lb_value *parameters,
                                 const lb_value *response);

#endif
