/* Schemas in files: {API: {"events": .., "rpcs": ..}}, one dict in a file, any number of files in a folder. */
#ifndef SCHEMA_FILES_H
#define SCHEMA_FILES_H

#include <lightbus/value.h>

#include "../base/buffer.h"

/* Reads a file, all *.json of a folder, or standard input ("-"). An owned dict of API name to schema; each was
 * compiled once, so it is well-formed. LB_SYSTEM, LB_MALFORMED, LB_DUPLICATE name the file. */
lb_status schema_files_read(const char *path, lb_value **schemas, lb_error *error);
/* Writes as Python Lightbus does: indented by two spaces, keys sorted at every level, a newline. To a file, or,
 * where `path` is a folder, to one file per API in it. LB_SYSTEM. */
lb_status schema_files_write(const char *path, const lb_value *schemas, lb_error *error);
/* The text of such a file. */
void schema_files_print(buffer *out, const lb_value *schemas);

#endif
