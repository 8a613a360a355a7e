/* The load itself: clients that begin a transaction when the last one has ended (closed loop), or
 * arrivals at a fixed rate. */
#ifndef ASSENT_CLI_BENCH_DRIVE_H
#define ASSENT_CLI_BENCH_DRIVE_H

#include "cli/bench/histogram.h"
#include "cli/bench/load.h"
#include "cli/bench/sample.h"

#include <signal.h>

struct cli_drive_plan {
    struct cli_load_options load;
    const char *url;  /* of the coordinator */
    unsigned clients; /* requests at once, at most */
    unsigned rate;    /* arrivals a second; 0: closed loop */
    uint64_t warm_up_us, run_us;
    bool live;                                /* a line on stderr as it goes */
    const volatile sig_atomic_t *interrupted; /* end soon when not 0 */
    struct cli_sample_plan sample;
};

/* Counts are of transactions whose intended start lies in the measured time. */
struct cli_drive_result {
    enum tpc_rc rc; /* not TPC_OK: it was given up, err says why */
    struct tpc_err err;
    double seconds;     /* measured */
    uint64_t committed; /* answered within the measured time: what the throughput is of */
    /* Of those that committed, from the intended start: what waited for a free client has waited.
     * Of those that were never sent, what they had waited in the end. */
    struct cli_histogram latency;
    uint64_t ended, aborts[API_CAUSE_COUNT], refused, late, hazards, broken, unsent;
    struct cli_sample before, after; /* the measured time */
    /* Committed or aborted between the two, as clients count: metrics come a little later than the
     * processor times of a sample, and much later from a daemon that is behind. */
    uint64_t finished;
    /* Of the whole run. */
    int64_t sums[CLI_BENCH_MEMBERS_MAX]; /* what commits that were told add to the accounts */
    uint64_t told;                       /* commits */
    uint64_t unknown;                    /* transactions of which no outcome was told */
};

/* When the @number-th arrival is due: nothing that happened before it moves it. */
uint64_t cli_drive_due_us(uint64_t start_us, unsigned rate, uint64_t number);

void cli_drive(const struct cli_drive_plan *plan, struct cli_drive_result *result);

#endif
