/* Breadth-first search over all states of the world. */
#ifndef ASSENT_TESTS_MODEL_SEARCH_H
#define ASSENT_TESTS_MODEL_SEARCH_H

#include "tests/model/world.h"

struct search_result {
    bool complete; /* every state was seen, and nothing was wrong */
    uint64_t states, moves;
    unsigned depth;
    double seconds, mebibytes;
};

/* Search from the beginning of the world. What is wrong is printed on @out, with the shortest trace
 * that leads to it. @states_max: give up, incomplete, when there are more. @quiet: no trace. */
struct search_result search_run(const struct model_config *config, uint64_t states_max, FILE *out,
                                bool quiet);

#endif
