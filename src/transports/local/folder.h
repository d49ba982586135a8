/* The folder itself: where it is made, whose it may be, what lies in it. */
#ifndef LOCAL_FOLDER_H
#define LOCAL_FOLDER_H

#include <lightbus/error.h>
#include <sys/stat.h>

#include "url.h"

/* Makes the folder if it is missing, and checks that it is ours alone (or our group's, if the options say so),
 * on this machine, and empty or a bus's. *about is what it is. */
lb_status folder_prepare(const local_options *options, struct stat *about, lb_error *error);

#endif
