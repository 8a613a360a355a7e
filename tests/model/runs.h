/* The configurations that are searched. */
#ifndef ASSENT_TESTS_MODEL_RUNS_H
#define ASSENT_TESTS_MODEL_RUNS_H

#include "tests/model/world.h"

struct run {
    struct model_config config;
    bool full; /* only with --full */
};

extern const struct run model_runs[];
extern const size_t model_run_count;

/* Small ones for a comparison: what is wrong with them is found with reductions and without. */
extern const struct run model_small_runs[];
extern const size_t model_small_run_count;

#endif
