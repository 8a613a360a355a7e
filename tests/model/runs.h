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

#endif
