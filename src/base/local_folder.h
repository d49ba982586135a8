/* The folder of a local bus, for people: src/transports/local looks into it and src/cli prints it, so that
 * neither includes the other. */
#ifndef BASE_LOCAL_FOLDER_H
#define BASE_LOCAL_FOLDER_H

#include <lightbus/error.h>
#include <stdint.h>

#include "buffer.h"

/* Appends a JSON object: "folder", "format", "durability", "size" (bytes of the files), "used" (of these by
 * records), "max_size", "calls" and "results" (that wait), "schemas" (names), "streams": [{"name", "length",
 * "groups": [{"name", "behind", "pending", "lost"}]}]. LB_CONFIG: there is no bus. */
lb_status local_folder_info(const char *url, buffer *json, lb_error *error);
/* Writes the file of the events anew, without its free pages; forgets calls and schemas. LB_BUSY: it is in use.
 */
lb_status local_folder_compact(const char *url, uint64_t *before, uint64_t *after, lb_error *error);
/* Removes the bus with all that is in it. LB_BUSY: it is in use. */
lb_status local_folder_remove(const char *url, lb_error *error);

#endif
