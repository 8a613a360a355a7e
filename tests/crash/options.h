/* The command line of the tests that run by a seed. */
#ifndef ASSENT_TESTS_CRASH_OPTIONS_H
#define ASSENT_TESTS_CRASH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct crash_options {
    uint64_t seed;        /* --seed N; else taken from the clock */
    uint64_t count;       /* --count N */
    const char *process;  /* --process NAME */
    const char *point;    /* --point NAME */
    const char *scenario; /* --scenario NAME */
    bool full;            /* --full: the long tier */
    bool keep;            /* --keep: leave logs and databases where they are */
};

/* Values that are set before are defaults. An unknown word ends the program with 2. The seed is
 * printed, so that what fails can be run again. */
void crash_options_parse(struct crash_options *options, int argc, char **argv);

#endif
