/* What LMDB and futexes give, with nothing else: the measure for the local bus. */
#ifndef LOCAL_FLOOR_H
#define LOCAL_FLOOR_H

/* Calls per second between two processes, `in_flight` at a time: one transaction for the calls, one for the
 * answers. */
double floor_rpc(const char *folder, int in_flight, double seconds);
/* Events appended per second, `batch` to a transaction. */
double floor_append(const char *folder, int batch, double seconds);

#endif
