/* Looking at an LMDB file before it is mapped: LMDB trusts its pages, so a damaged one would end the process.
 */
#ifndef LOCAL_CHECK_H
#define LOCAL_CHECK_H

#include <lightbus/error.h>
#include <stdbool.h>

/* LB_OK: sound, or it does not exist or is empty. LB_MALFORMED: truncated or damaged. LB_UNSUPPORTED: no LMDB
 * file, or of another version. Without `whole` only the ends are looked at: the two meta pages and the size.
 * Nobody may be writing to it when `whole`. */
lb_status check_file(const char *path, bool whole, lb_error *error);

#endif
