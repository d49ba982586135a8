/* Expressions of schedules, as in a crontab: "MINUTE HOUR DAY MONTH WEEKDAY". */
#ifndef BUS_CRON_H
#define BUS_CRON_H

#include <lightbus/error.h>
#include <stdint.h>

/* Sets of numbers, a bit each. */
typedef struct cron {
    uint64_t minutes, hours, days, months, weekdays; /* 0 is Sunday */
    bool any_day, any_weekday;                       /* "*" was written there */
    bool every_hour;
} cron;

/* LB_CONFIG says which field is wrong and why; also for days that no month has. */
lb_status cron_parse(const char *expression, cron *c, lb_error *error);
/* The first matching time after `after`, in seconds since 1970; false: there is none within the next 40 years.
 *
 * In local time, where clocks are put forward or back: a time that is skipped counts as the moment at which
 * they are put forward; a time that comes twice counts the first time. Schedules for every hour go on in both.
 */
bool cron_next(const cron *c, bool utc, int64_t after, int64_t *next);

#endif
