/* One bus on a Redis server of its own for all tests of a program. */
#ifndef TESTS_CLI_FIXTURE_H
#define TESTS_CLI_FIXTURE_H

#include "cli_harness.h"

static cli c;

static inline int open_all(void **state)
{
    (void)state;
    cli_open(&c);
    return 0;
}

static inline int close_all(void **state)
{
    (void)state;
    cli_close(&c);
    return 0;
}

#endif
