/* A configuration from an http(s) URL. */
#ifndef CONFIG_FETCH_H
#define CONFIG_FETCH_H

#include "../base/buffer.h"
#include <lightbus/error.h>

/* Gets at most `most` bytes within 5 s. `shown` is the URL for messages. *is_json: by the Content-Type, or else
 * by the end of the URL. LB_SYSTEM when nothing came, LB_CONFIG when it is too large, LB_UNSUPPORTED in a build
 * without libcurl. */
lb_status fetch_url(const char *url, const char *shown, size_t most, buffer *out, bool *is_json,
                    lb_error *error);

#endif
