/* The program `lightbus`: lb_main without a bus module of its own. */
#include <lightbus/main.h>

int main(int argc, char **argv) { return lb_main(argc, argv, 0); }
