/* Shared objects that a user names: transports, bus modules. A file that is none is an error, never a crash. */
#ifndef BASE_SHARED_OBJECT_H
#define BASE_SHARED_OBJECT_H

#include <lightbus/error.h>

#include <stddef.h>

/* dlopen(path, RTLD_NOW | RTLD_LOCAL), which ends the process when the file has been cut short. LB_CONFIG says
 * why it cannot be loaded. */
lb_status shared_object_open(const char *path, void **handle, lb_error *error);
/* A variable by its name, and how large it is; NULL: there is none. */
const void *shared_object_variable(void *handle, const char *name, size_t *size);

#endif
