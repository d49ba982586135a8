/* What else there is for processes of one machine that call each other: the same work as floor_rpc, by the
 * libraries and the daemon as they come. */
#ifndef RIVALS_H
#define RIVALS_H

/* Calls per second over ZeroMQ's ipc transport, `in_flight` at a time. */
double rival_zeromq(const char *folder, int in_flight, double seconds);
/* Calls per second through a dbus-daemon of our own, one at a time. */
double rival_dbus(const char *folder, double seconds);

#endif
