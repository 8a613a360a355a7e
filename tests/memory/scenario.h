/* A short life of a world in which memory runs out in one process. */
#ifndef ASSENT_TESTS_MEMORY_SCENARIO_H
#define ASSENT_TESTS_MEMORY_SCENARIO_H

#include "tests/support/check.h"

/* Ask everything once: transfers of each kind, one of them a second time by its key, reads, lists,
 * the registry, malformed requests. What clients were told goes into @history, the names of the
 * transfers begin with @name. Objects to what can be seen to be wrong at once: an answer that is
 * cut, or none at all after all the time in the world. */
void memory_scenario(struct sup_world *world, struct sup_history *history, const char *name,
                     struct sup_report *report);

#endif
