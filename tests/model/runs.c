#include "tests/model/runs.h"

#define ALL_WORK (WORK_READY | WORK_READ_ONLY | WORK_REFUSED)

/* What is left out of a larger one is in a smaller one: there each single thing can go wrong. */
const struct run model_runs[] = {
    {.config = {.name = "one-phase",
                .parts = 1,
                .txns = 1,
                .one_phase = true,
                .work = ALL_WORK,
                .retention = true,
                .db_trouble = true,
                .undelivered = true,
                .loose_answers = true,
                .downtime = true}},
    {.config = {.name = "one",
                .parts = 1,
                .txns = 1,
                .work = ALL_WORK,
                .fickle = true,
                .operators = true,
                .retention = true,
                .db_trouble = true,
                .undelivered = true,
                .loose_answers = true,
                .downtime = true}},
    {.config = {.name = "two",
                .parts = 2,
                .txns = 1,
                .work = ALL_WORK,
                .fickle = true,
                .undelivered = true}},
    {.config = {.name = "lost-log",
                .parts = 1,
                .txns = 1,
                .work = ALL_WORK,
                .lost_logs = true,
                .loose_answers = true}},
    {.config = {.name = "two-txns", .parts = 1, .txns = 2, .work = WORK_READY, .retention = true},
     .full = true},
};
const size_t model_run_count = sizeof model_runs / sizeof model_runs[0];
