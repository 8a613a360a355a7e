/* What the yardsticks have in common: they end with a line of JSON, or with a complaint. */
#ifndef ASSENT_TESTS_BENCH_YARDSTICK_H
#define ASSENT_TESTS_BENCH_YARDSTICK_H

#include "base/rc.h"
#include "cli/bench/histogram.h"

struct yardstick {
    uint64_t from_us, to_us; /* the measured time, tpc_clock_mono_us */
    uint64_t cpu_from_us;
    uint64_t committed, aborted;
    struct cli_histogram latency;
};

_Noreturn void yardstick_die(const char *format, ...) TPC_PRINTF(1, 2);
/* A whole number from 1. */
unsigned yardstick_number(const char *text);
/* The measured time begins after @warm_up_ms and lasts @run_ms. */
void yardstick_begin(struct yardstick *yardstick, unsigned warm_up_ms, unsigned run_ms);
/* A transaction that began at @began_us has committed now. */
void yardstick_commit(struct yardstick *yardstick, uint64_t began_us);
/* {"committed_per_s": …, "latency_ms": {…}, "aborted": …, "cpu_us": …}, the last of this process
 * for each transaction. */
void yardstick_print(const struct yardstick *yardstick);

#endif
