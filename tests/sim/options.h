/* The simulator's arguments. */
#ifndef ASSENT_TESTS_SIM_OPTIONS_H
#define ASSENT_TESTS_SIM_OPTIONS_H

#include "tests/sim/sim.h"

struct sim_options {
    struct sim_config config;
    uint64_t runs;    /* 0: not said */
    uint64_t seconds; /* begin no run after so long; 0: without end */
    bool shrink, twice, all_kinds;
    const char *seeds; /* a file; NULL: none */
    struct sim_faults only;
};

/* Zeroed but for what they say. False: one of them makes no sense, which is
 * said on stderr. */
bool sim_options_parse(int count, char *const arguments[], struct sim_options *ret_options);
/* The command that runs @config again. */
void sim_options_print(struct tpc_buf *out, const struct sim_config *config);

#endif
