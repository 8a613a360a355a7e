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
    uint64_t seconds;     /* --seconds N: begin no run after that; 0: no bound */
    bool keep;            /* --keep: leave logs and databases where they are */
    /* Of crash_options_is_over. */
    uint64_t began_ms;
    char stopped[64];
};

/* Values that are set before are defaults. An unknown word ends the program with 2. The seed is
 * printed, so that what fails can be run again. */
void crash_options_parse(struct crash_options *options, int argc, char **argv);
/* Is --seconds over, so that no run is begun any more? What --point asks for is never cut short.
 * From then on options->stopped, else "", is ", stopped after N s", for the line that sums up. */
bool crash_options_is_over(struct crash_options *options);

#endif
