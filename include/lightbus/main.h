/* The program `lightbus` as a function, and the entry point that it looks for in a bus module. */
#ifndef LIGHTBUS_MAIN_H
#define LIGHTBUS_MAIN_H

#include <lightbus/bus.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A bus module (bus.c, bus.so) defines this: it registers APIs and listeners. `lightbus run` calls it once,
 * before the worker starts; a failure ends the program with the error shown and exit code 1. */
LB_API lb_status lb_setup(lb_bus *bus, lb_error *error);
typedef lb_status (*lb_setup_fn)(lb_bus *bus, lb_error *error);

/* The whole command line (`run`, `call`, `fire`, `listen`, ...) for a service that is a binary of its own:
 *     int main(int argc, char **argv) { return lb_main(argc, argv, lb_setup); }
 * `setup` takes the place of the bus module; NULL makes it the program `lightbus`. Returns the exit code:
 * 0 clean, 1 failure, 2 wrong usage. Call it once, from main, before there are threads: `run --processes`
 * forks, and lb_main then returns in each worker, too. */
LB_API int lb_main(int argc, char **argv, lb_setup_fn setup);

#ifdef __cplusplus
}
#endif
#endif
