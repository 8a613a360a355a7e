/* One step from one state of the world, as the search and its traces make it. */
#ifndef ASSENT_TESTS_MODEL_STEP_H
#define ASSENT_TESTS_MODEL_STEP_H

#include "tests/model/world.h"

/* Make @move happen, judge the world afterwards, reduce it (reduce.h), and sort it. What is wrong
 * is in model_wrong(): also an assertion that has failed on the way. @names as for model_canonical.
 *
 * False: nothing can come of it that cannot come of what was there before. Then @world is of use
 * only if @whole was true. */
bool step_make(const struct model_config *config, struct world *world,
               const struct model_move *move, bool whole, struct model_names *names);

#endif
