/* Breadth-first search over all states of the world. */
#ifndef ASSENT_TESTS_MODEL_SEARCH_H
#define ASSENT_TESTS_MODEL_SEARCH_H

#include "tests/model/world.h"

struct search_options {
    unsigned threads;    /* 0: as many as there are processors */
    size_t memory_bytes; /* give up, incomplete, rather than take more; 0: a default */
    bool quiet;          /* no trace */
    FILE *out;           /* where what is wrong is told; borrowed */
};

enum { SEARCH_MEMORY_GIB = 12 }; /* the default */

struct search_result {
    bool complete; /* every state was seen, and nothing was wrong */
    uint64_t states, moves;
    unsigned depth;
    double seconds, mebibytes;
};

/* Search from the beginning of the world. What is wrong is told, with a shortest trace that leads
 * to it. The numbers of states and moves depend on @config alone, not on the number of threads. How
 * far it has come is told on stderr every few seconds. */
struct search_result search_run(const struct model_config *config,
                                const struct search_options *options);

#endif
