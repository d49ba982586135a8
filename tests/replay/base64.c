#include "base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_write(buffer *out, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i += 3) {
        unsigned bits = (unsigned)(unsigned char)data[i] << 16;
        if (i + 1 < size)
            bits |= (unsigned)(unsigned char)data[i + 1] << 8;
        if (i + 2 < size)
            bits |= (unsigned char)data[i + 2];
        buffer_char(out, alphabet[bits >> 18]);
        buffer_char(out, alphabet[bits >> 12 & 63]);
        buffer_char(out, i + 1 < size ? alphabet[bits >> 6 & 63] : '=');
        buffer_char(out, i + 2 < size ? alphabet[bits & 63] : '=');
    }
}

bool base64_read(buffer *out, const char *text, size_t size)
{
    unsigned bits = 0, count = 0;

    if (size % 4)
        return false;
    while (size && text[size - 1] == '=')
        size--;
    for (size_t i = 0; i < size; i++) {
        const char *at = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!at)
            return false;
        bits = bits << 6 | (unsigned)(at - alphabet);
        count += 6;
        if (count >= 8) {
            count -= 8;
            buffer_char(out, (char)(bits >> count & 255));
        }
    }
    return true;
}
