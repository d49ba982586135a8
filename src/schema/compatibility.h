/* Whether a new version of an API keeps those working who know the old one: callers of its RPCs (what they send
 * must still be taken, what they get must be what they knew) and listeners to its events (what is fired must be
 * what they knew). Works on schemas as they are on the bus, from whatever language. */
#ifndef SCHEMA_COMPATIBILITY_H
#define SCHEMA_COMPATIBILITY_H

#include <lightbus/value.h>

/* Takes one line about a member: "auth.check_password: ..."; `breaks` false: that it keeps working. The text is
 * borrowed. */
typedef void (*compatibility_report)(void *data, bool breaks, const char *text);

/* Compares the schemas {"events": .., "rpcs": ..} of one API and reports every member. Returns the number of
 * breaks. `fresh` NULL: the API is gone. */
size_t compatibility_check(lb_slice api_name, const lb_value *old, const lb_value *fresh,
                           compatibility_report report, void *data);

#endif
