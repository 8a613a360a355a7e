/* Making a failing run small. */
#ifndef ASSENT_TESTS_SIM_SHRINK_H
#define ASSENT_TESTS_SIM_SHRINK_H

#include "tests/sim/sim.h"

/* Change @config, whose run fails, so that less happens in it and it still
 * fails. The faults that are left come into @ret_faults (malloc'ed), which
 * config->only points to. False: it does not fail. */
bool sim_shrink(struct sim_config *config, struct sim_faults *ret_faults);

#endif
