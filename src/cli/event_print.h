/* How an event is shown that has just come: laid out for people, or as a line of JSON. */
#ifndef CLI_EVENT_PRINT_H
#define CLI_EVENT_PRINT_H

#include "cli.h"

void event_print_for_people(const lb_event *event, const colours *c);
bool event_print_line(const lb_event *event); /* false when memory is short: nothing was printed */

#endif
