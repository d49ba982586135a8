/* Fuzzes the texts of dates, decimals, UUIDs and bytes: what is read is written in one canonical form, which
 * reads as the same again. The text is not NUL-terminated: nobody may look past it. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/json.h"
#include "../../src/schema/scalars.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_datetime(lb_slice text)
{
    char written[LB_DATETIME_TEXT], again[LB_DATETIME_TEXT];
    lb_datetime d;
    lb_date date;
    lb_time time;

    if (datetime_read(text, &d)) {
        require(*lb_datetime_text(d, written));
        require(datetime_read(slice_of(written), &d));
        require(strcmp(lb_datetime_text(d, again), written) == 0);
        d.offset_s = 0;
        d.has_offset = true;
        lb_datetime_text(d, written);
        require(strcmp(lb_datetime_text(lb_datetime_from_unix_us(lb_datetime_unix_us(d)), again), written) ==
                0);
    }
    if (date_read(text, &date))
        require(*lb_date_text(date, written) && date_read(slice_of(written), &date));
    if (time_read(text, &time))
        require(*lb_time_text(time, written) && time_read(slice_of(written), &time));
}

static void check_bytes(lb_slice text)
{
    unsigned char *decoded = malloc(base64_most(text.size)), *again;
    buffer encoded = {0};
    size_t size = 0, size_again = 0;
    bool fits = base64_decode(text, decoded, &size);

    require(size <= base64_most(text.size));
    require(fits == scalar_reads(TYPE_BYTES, text));
    base64_encode(&encoded, decoded, size);
    again = malloc(base64_most(encoded.size));
    require(base64_decode((lb_slice){encoded.data, encoded.size}, again, &size_again));
    require(size_again == size && (size == 0 || memcmp(decoded, again, size) == 0));
    buffer_free(&encoded);
    free(again);
    free(decoded);
}

static void check_decimal(lb_slice text)
{
    char *copy = malloc(text.size + 1);
    int64_t number;

    if (text.size)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    for (int scale = 0; decimal_is(text) && scale <= 18; scale++)
        if (lb_decimal_int(LB_DECIMAL(copy), scale, &number, NULL) == LB_OK) {
            char written[LB_DECIMAL_TEXT];
            int64_t same;
            lb_decimal d = lb_decimal_of_int(number, scale, written);
            require(lb_decimal_int(d, scale, &same, NULL) == LB_OK && same == number);
        }
    lb_decimal_float(LB_DECIMAL(copy));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const lb_slice text = {(const char *)data, size};
    char written[LB_UUID_TEXT];
    lb_uuid uuid;

    check_datetime(text);
    check_bytes(text);
    check_decimal(text);
    if (uuid_read(text, &uuid))
        require(uuid_read(slice_of(lb_uuid_text(uuid, written)), &uuid));
    return 0;
}
