/* Does a tree fit the table of options? */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "options.h"
#include "tree.h"

/* LB_CONFIG with the place, what was expected, and the nearest valid key or value. Logs what is understood and
 * has no effect. */
lb_status config_check(const char *source, const node *root, lb_error *error);
/* The same for a part, which is at `path`. */
lb_status config_check_part(const char *source, const char *path, const option *o, const node *n,
                            lb_error *error);

#endif
