/* Dates that people write. See date.h. */
#include "date.h"

#include <stdio.h>
#include <time.h>

bool iso8601_ms(const char *text, int64_t *ms)
{
    struct tm t = {0};
    int used = 0, fraction_ms = 0, zone_hours = 0, zone_minutes = 0;
    if (sscanf(text, "%4d-%2d-%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &used) != 3 || used != 10)
        return false;
    const char *at = text + used;
    if (*at == 'T' || *at == ' ') {
        used = 0;
        if (sscanf(at + 1, "%2d:%2d%n", &t.tm_hour, &t.tm_min, &used) != 2 || used != 5)
            return false;
        at += 1 + used;
        used = 0;
        if (*at == ':') {
            if (sscanf(at + 1, "%2d%n", &t.tm_sec, &used) != 1 || used != 2)
                return false;
            at += 1 + used;
        }
        if (*at == '.') {
            int weight = 100;
            for (at++; *at >= '0' && *at <= '9'; at++, weight /= 10)
                fraction_ms += (*at - '0') * weight;
        }
    }
    char sign = *at;
    if (sign == '+' || sign == '-') {
        used = 0;
        if (sscanf(at + 1, "%2d:%2d%n", &zone_hours, &zone_minutes, &used) != 2 || used != 5)
            return false;
        at += 1 + used;
    } else if (sign == 'Z') {
        at++;
    }
    bool valid = !*at && t.tm_mon >= 1 && t.tm_mon <= 12 && t.tm_mday >= 1 && t.tm_mday <= 31 &&
                 t.tm_hour >= 0 && t.tm_hour <= 23 && t.tm_min >= 0 && t.tm_min <= 59 && t.tm_sec >= 0 &&
                 t.tm_sec <= 60;
    t.tm_year -= 1900;
    t.tm_mon--;
    int64_t seconds = (int64_t)timegm(&t) - (sign == '-' ? -1 : 1) * (zone_hours * 3600 + zone_minutes * 60);
    *ms = seconds * 1000 + fraction_ms;
    return valid && seconds >= 0;
}
