/* One step from one state of the world, as the search and its traces make it. */
#ifndef ASSENT_TESTS_MODEL_STEP_H
#define ASSENT_TESTS_MODEL_STEP_H

#include "tests/model/world.h"

/* Make @move happen, judge the world afterwards, and sort it. What is wrong is in model_wrong():
 * also an assertion that has failed on the way. @order as for model_canonical. */
void step_make(const struct model_config *config, struct world *world,
               const struct model_move *move, uint8_t *order);

#endif
