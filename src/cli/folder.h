/* Folders of this user. */
#ifndef CLI_FOLDER_H
#define CLI_FOLDER_H

#include <lightbus/error.h>

#include "../base/arena.h"

/* The folder "lightbus" in the one that the environment variable names (XDG_CACHE_HOME), or else in `home_part`
 * (".cache") of the home folder; made if need be. `purpose` is for messages. LB_ACCESS: it cannot be made, or
 * is not the user's alone. */
lb_status folder_private(arena *memory, const char *variable, const char *home_part, const char *purpose,
                         const char **path, lb_error *error);
/* The same without making it: it need not be there. */
lb_status folder_look(arena *memory, const char *variable, const char *home_part, const char *purpose,
                      const char **path, lb_error *error);

#endif
