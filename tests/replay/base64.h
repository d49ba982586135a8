/* Base64 (RFC 4648): how the recordings write bytes that are not UTF-8. */
#ifndef REPLAY_BASE64_H
#define REPLAY_BASE64_H

#include "base/buffer.h"

void base64_write(buffer *out, const char *data, size_t size);
/* Appends the decoded bytes; false when the text is not base64. */
bool base64_read(buffer *out, const char *text, size_t size);

#endif
