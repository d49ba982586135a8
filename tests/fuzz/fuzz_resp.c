/* Arbitrary bytes through the reply parser, cut into pieces where the input itself says; replies are walked as
 * the transport does, and given back at arbitrary moments. */
#include <stdint.h>
#include <stdlib.h>

#include "transports/redis/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t walked; /* so that no walk is optimised away */

/* The bytes that the replies hold, so that all of them are read. */
static size_t walk(const reply *r)
{
    size_t sum = 0;
    for (; r; r = r->next) {
        lb_slice text = reply_text(r);
        for (size_t i = 0; i < text.size; i++)
            sum += (unsigned char)text.data[i];
        sum += walk(reply_first(r)) + (size_t)reply_integer(r) + reply_is_error_of(r, "OOM");
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    reply_parser p = {0};
    bool failed = false;
    if (!parser_open(&p, 64))
        return 0;
    while (size && !failed) { /* a byte that gives the size of a piece, and the piece */
        size_t piece = (*data & 0x7f) + 1u;
        bool release = *data & 0x80;
        data++, size--;
        piece = piece < size ? piece : size;
        if (!parser_feed(&p, (const char *)data, piece))
            break;
        for (const reply *r; (r = parser_next(&p, &failed));)
            walked += walk(r);
        if (release)
            parser_release(&p);
        data += piece, size -= piece;
    }
    parser_close(&p);
    return 0;
}
