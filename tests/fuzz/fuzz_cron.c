/* Fuzzes expressions of schedules: what is read has a next time or none, that is later, and that matches again
 * from any moment shortly before it. The first byte chooses the moment and the zone. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../src/bus/cron.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lb_error error = {0};
    cron c;

    if (size < 1)
        return 0;
    setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1);
    tzset();
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    int64_t after = 1767225600 + (data[0] >> 1) * INT64_C(250000); /* in 2026 */
    bool utc = data[0] & 1;
    if (cron_parse(text, &c, &error) != LB_OK) {
        require(error.status == LB_CONFIG && error.message[0]);
    } else {
        int64_t next, again;
        for (int i = 0; i < 20 && cron_next(&c, utc, after, &next); i++, after = next) {
            require(next > after && next % 60 == 0);
            require(cron_next(&c, utc, next - 1, &again) && again == next);
        }
    }
    free(text);
    return 0;
}
